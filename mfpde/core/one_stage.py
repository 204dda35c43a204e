"""A single explicit stage on a grid of two or three axes, for a potential that changes with every stage.

No rate is needed twice then, and one loop does all: a vector of cells computes the flows to its followers along each
axis. Those within its row stay in registers; those to the next row and the next plane wait in a row and a plane of
flows until these come. The numbers are those of core.piles, to the last bit. Axes within a plane must be closed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from mfpde.core.compilation import HELPER, kernel
from mfpde.core.fluxes import face_rates
from mfpde.core.piles import Pile, Slab
from mfpde.core.stages import LANES as WHOLE
from mfpde.core.stages import (
    Field,
    Update,
    by_address,
    clear,
    copy,
    expect,
    net_flow,
    number_at,
    octaves,
    put,
    reader,
)
from mfpde.core.vector import Vector, fma

LANES = 16  # with more to a quantity, much of this long loop would wait in memory
AHEAD = 1024  # cells by which requests to the memory precede their use
_VECTOR = Vector(types.float64, LANES)
_vector_at = reader(_VECTOR)


def _joint(first: int) -> Any:
    """(a, b) -> the lanes from ``first`` on of a, then those of b, LANES in all."""

    def take(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            number = ir.IntType(32)
            order = [ir.Constant(number, first + k) for k in range(LANES)]
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(number, LANES), order))

        return _VECTOR(_VECTOR, _VECTOR), codegen

    return intrinsic(take)


_next_cells = _joint(1)  # of a vector and the one after it: the cells one further
_previous_cells = _joint(LANES - 1)  # of a vector and the one after it: the cells before those of the latter


@intrinsic
def _zeros(typingctx: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return ir.Constant(context.get_value_type(sig.return_type), None)

    return _VECTOR(), codegen


class _Rows(NamedTuple):
    """Addresses of the first cells of rows: a row of the grid, the one beside it in its plane, the one above it.

    ``potential`` is that of the row, in octaves, and becomes that of the one above. ``entering`` holds the flows from
    the plane below and becomes those to the plane above, ``sideways`` those from and to the rows beside it.
    """

    mass: int
    beside: int
    above: int
    psi_above: int
    out: int
    potential: int
    potential_beside: int
    entering: int
    sideways: int


@njit(**HELPER)
def _flow(x: Any, face: tuple[Any, Any, Any], here: Any, there: Any) -> Any:
    up, down = face_rates(x - face[0], face[1], face[2])
    return net_flow(up, down, here, there)


@njit(**HELPER)
def _face(geometry: int, faces: int, k: int) -> tuple[float, float, float]:
    return number_at(geometry, k), number_at(geometry, faces + k), number_at(geometry, 2 * faces + k)


@njit(**HELPER)
def _advance(
    rows: _Rows, field: Field, c: float, q: int, own: Any, inner: Any, middle: Any, outer: Any, spatial: bool
) -> Any:
    """A vector of cells; ``own``: its potential, its masses, and the flows that start in the vector before it."""
    here, mass, came = own
    expect(rows.psi_above, q + AHEAD, LANES)
    expect(rows.above, q + AHEAD, LANES)
    expect(rows.out, q + AHEAD, LANES)
    after, mass_after = _vector_at(rows.potential, q + LANES), _vector_at(rows.mass, q + LANES)
    going = _flow(_next_cells(here, after) - here, inner, mass, _next_cells(mass, mass_after))
    net = _previous_cells(came, going) - going
    if spatial:
        aside = _flow(_vector_at(rows.potential_beside, q) - here, middle, mass, _vector_at(rows.beside, q))
        net = net + (_vector_at(rows.sideways, q) - aside)
        put(rows.sideways, q, aside)
    above = octaves(field, _vector_at(rows.psi_above, q))
    upwards = _flow(above - here, outer, mass, _vector_at(rows.above, q))
    net = net + (_vector_at(rows.entering, q) - upwards)
    put(rows.potential, q, above)
    put(rows.entering, q, upwards)
    put(rows.out, q, fma(c, net, mass))
    return after, mass_after, going


@njit(**HELPER)
def _inner(pile: Pile, width: int, q: int) -> tuple[Any, Any, Any]:
    return _vector_at(pile.inner, q), _vector_at(pile.inner, width + q), _vector_at(pile.inner, 2 * width + q)


def scratch_size(rows: int, columns: int) -> int:
    """How many doubles ``advance_once`` needs: two planes, three rows, and the end of the grid twice."""
    width = -(-columns // WHOLE) * WHOLE
    return (2 * rows + 3) * width + 4 * (width + LANES)


class _Scratch(NamedTuple):
    """Addresses. ``potential`` and ``entering`` are planes of rows of ``width``, ``sideways`` and ``leaving`` rows.

    The cells of the grid from ``tail`` on are copied to ``mass`` and ``psi``, where vectors may go beyond the last.
    """

    width: int
    potential: int
    entering: int
    sideways: int
    leaving: int
    tail: int
    mass: int
    psi: int


@njit(**HELPER)
def _divided(pile: Pile, scratch: int) -> _Scratch:
    width = (pile.columns + WHOLE - 1) // WHOLE * WHOLE  # that of the geometry, too
    entering = scratch + 8 * (pile.rows + 1) * width
    sideways = entering + 8 * pile.rows * width
    leaving, mass = sideways + 8 * width, sideways + 16 * width
    tail = max(pile.planes * pile.rows * pile.columns - width - LANES, 0)
    return _Scratch(width, scratch, entering, sideways, leaving, tail, mass, mass + 16 * (width + LANES))


@njit(**HELPER)
def _row(array: int, at: int, scratch: _Scratch, copied: int) -> int:
    return copied + 8 * (at - scratch.tail) if at >= scratch.tail else array + 8 * at


@njit(**HELPER)
def _arrive(pile: Pile, slab: Slab, scratch: _Scratch, field: Field, source: int) -> None:
    """The potential of the first plane, and the flows that enter it; at a closed end they are 0."""
    size, before = pile.rows * pile.columns, (slab.start - 1) % pile.planes
    outer = _face(pile.outer, pile.planes, before)
    for j in range(pile.rows):
        below, here = before * size + j * pile.columns, slab.start * size + j * pile.columns
        masses = _row(source, below, scratch, scratch.mass), _row(source, here, scratch, scratch.mass)
        psi = _row(field.psi, below, scratch, scratch.psi), _row(field.psi, here, scratch, scratch.psi)
        to = 8 * j * scratch.width
        for q in range(0, pile.columns, LANES):
            above = octaves(field, _vector_at(psi[1], q))
            x = above - octaves(field, _vector_at(psi[0], q))
            put(scratch.entering + to, q, _flow(x, outer, _vector_at(masses[0], q), _vector_at(masses[1], q)))
            put(scratch.potential + to, q, above)


@kernel
def advance_once(pile: Pile, slab: Slab, field: Field, update: Update) -> None:
    """Write ``update.out`` on the planes of the slab after one stage with the rates of the field.

    The outer axis may be periodic; those of a plane are closed (no ghosts). The weight of the update must be 0.
    """
    reading, change = by_address(field, update)
    psi, source, scratch = reading.psi, change.source, _divided(pile, slab.once)
    planes, rows, columns, size = pile.planes, pile.rows, pile.columns, pile.rows * pile.columns
    width = scratch.width
    copy(source, scratch.tail, scratch.mass, 0, planes * size - scratch.tail)
    copy(psi, scratch.tail, scratch.psi, 0, planes * size - scratch.tail)
    _arrive(pile, slab, scratch, reading, source)
    for plane in range(slab.start, slab.stop):
        outer, above = _face(pile.outer, planes, plane), (plane + 1) % planes * size
        clear(scratch.sideways, 0, width)
        for j in range(rows):
            at, to = plane * size + j * columns, 8 * j * width
            # whole vectors spoil the beginning of the next rows, which are written next; at the end they are others'
            last = at + width > slab.stop * size
            line = _Rows(
                _row(source, at, scratch, scratch.mass),
                _row(source, at + columns if j < rows - 1 else at, scratch, scratch.mass),
                _row(source, above + j * columns, scratch, scratch.mass),
                _row(psi, above + j * columns, scratch, scratch.psi),
                scratch.leaving if last else change.out + 8 * at,
                scratch.potential + to,
                scratch.potential + to + 8 * width,
                scratch.entering + to,
                scratch.sideways,
            )
            middle = _face(pile.middle, rows, j)
            own = _vector_at(line.potential, 0), _vector_at(line.mass, 0), _zeros()
            if rows == 1:
                for q in range(0, columns, LANES):
                    own = _advance(line, reading, change.c, q, own, _inner(pile, width, q), middle, outer, False)
            else:
                for q in range(0, columns, LANES):
                    own = _advance(line, reading, change.c, q, own, _inner(pile, width, q), middle, outer, True)
            if last:
                copy(scratch.leaving, 0, change.out, at, columns)
