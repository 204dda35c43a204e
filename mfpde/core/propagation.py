"""Powers of the stochastic matrix I + c A of a grid: its parts, the size of their scratch, and the team that works.

A part that is held whole computes its rates once; of larger grids they are recomputed for every ``block`` of stages,
which a tile or a few planes at a time pass together; large planes go in bands of rows, one after the other. The parts
of a grid meet between blocks only: for the stages in between, each computes as much of its neighbours as it depends on,
with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.core import parallel
from mfpde.core.lines import HALO, Line, Segment, advance_line
from mfpde.core.one_stage import advance_once, scratch_size
from mfpde.core.piles import Pile, Slab, advance_pile
from mfpde.core.stages import LANES, Field, Update

Array = NDArray[np.float64]
Shape = tuple[int, int, int, int]
Face = tuple[int, Array, Array, Array, bool]

TILE = 4096  # cells of a line whose rates and masses stay in a near cache
WHOLE_LINE = 8192  # a line as short as this is one tile
NEAR_CACHE = 3 << 18  # bytes that stages taken together may touch and still be fast
FAR_CACHE, ALL_CACHE = 12 << 20, 24 << 20  # the same, one cache further out, and of all threads together
WHOLE_PILE = 8 << 20  # bytes of rates and masses up to which all planes of a grid are held
FEWEST, MOST = 8, 32  # slots of a ring: where the near cache has no room for the first, the far one serves
PARALLEL_CELLS = 1 << 18  # with fewer, waking threads and computing for neighbours cost what is gained
THINNEST = 16  # planes of a slab
BANDED = 16, 8  # slots of a ring that holds bands of the rows, where a cache holds fewer planes than that


class _Memory:
    """Arrays that kernels know by their address."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []

    def keep(self, array: Array) -> int:
        """The address of an array, which lives as long as this does."""
        self._arrays.append(np.ascontiguousarray(array))
        return int(self._arrays[-1].ctypes.data)

    def zeros(self, size: int) -> int:
        """The address of zeros, on a cache line: vector loads that straddle two lines cost twice as much."""
        return (self.keep(np.zeros(size + 8)) + 63) // 64 * 64


Part = tuple[int, Sequence[Line | Pile], Segment | Slab]


@dataclass(frozen=True, eq=False)
class Plan:
    """Parts of a grid of masses [K, n1, n2, n3], each with its species and the grid, or its bands one after the other.

    ``singles`` are the parts for a single stage, which need no bands.
    ``memory`` holds the arrays whose addresses they know. ``depth`` stages are taken together, ``block`` between two
    meetings of the parts, where the masses lie ``between``; 0: the parts are whole species and never meet. ``shared``:
    the team takes part.
    """

    shape: Shape
    grid: Line | Pile
    parts: tuple[Part, ...]
    singles: tuple[Part, ...]
    memory: _Memory
    depth: int
    block: int
    between: Array
    shared: bool

    @property
    def whole(self) -> bool:
        return self.block == 0


def plan(shape: Shape, faces: Sequence[Face], threads: int = 1) -> Plan:
    """Parts and scratch for masses of this shape.

    faces : per coupled axis its number (0, 1, 2) and the shift, forward and backward prefactor [n_axis] of its faces
    (core.fluxes), and whether it is periodic: the last face wraps around then, and is closed otherwise.
    Scratch takes 64 bytes per cell where the grid is held whole, else some tiles, or planes, per thread.
    """
    geometry = {face[0]: face for face in faces}
    shared = math.prod(shape) >= PARALLEL_CELLS
    wanted = -(-threads // shape[0]) if shared else 1
    if shape[1] * shape[2] == 1:
        return _line_plan(shape, geometry.get(2), wanted, shared)
    return _pile_plan(shape, geometry, threads, wanted, shared)


def fields(psi: Array, temperature: float, cap: float) -> list[Field]:
    """The potential [K, n1, n2, n3] of every species, cut ``cap`` temperatures above its minimum."""
    flat = _flat(psi)
    scale = 1.0 / (math.log(2.0) * temperature)
    lowest = flat.min(axis=1).tolist()
    return [Field(one, low, cap * temperature, scale) for one, low in zip(flat, lowest, strict=True)]


def largest_exit_rate(plan: Plan, potential: list[Field]) -> float:
    """The largest total rate at which any cell is left, the stiffness q of A; NaN if any rate is."""
    unused = [Update(field.psi, field.psi, field.psi, 0.0, 0.0, 0.0) for field in potential]
    return _largest(_run(plan, potential, unused, 0, False))


def propagate(
    plan: Plan,
    potential: list[Field],
    mass: Array,
    step: float,
    stages: int,
    weight: float = 0.0,
    floor: float = 0.0,
    known: bool = False,
    out: Array | None = None,
) -> Array:
    """max((1 - weight) (I + step A)^stages mass + weight mass, floor) : [K, n1, n2, n3]; ``mass`` is left as it is.

    Weight 0 leaves the floor out. Signs are kept where step times the largest exit rate is below 1. ``known``: the last
    call with this plan was ``largest_exit_rate`` of the same potential.
    """
    initial = _flat(mass)
    out = np.empty(plan.shape) if out is None else out
    count = -(-stages // plan.block) if plan.block else 1
    targets = [out.reshape(initial.shape)]
    if count > 1:
        targets.append(plan.between)
    source = initial
    for k in range(count):
        target = targets[(count - 1 - k) % len(targets)]
        taken = stages * (k + 1) // count - stages * k // count
        share = weight if k == count - 1 else 0.0
        updates = [Update(*rows, step, share, floor) for rows in zip(source, target, initial, strict=True)]
        _run(plan, potential, updates, taken, known and plan.whole)
        source = target
    return out


def _run(plan: Plan, potential: list[Field], updates: list[Update], stages: int, known: bool) -> list[float]:
    # planes that no later call needs want no more room than the stages ask for
    kept = plan.whole and (known or stages != 1)
    needed = _power_of_two(stages + 2)
    closed = isinstance(plan.grid, Pile) and plan.grid.ghost_rows + plan.grid.ghost_columns == 0
    once = closed and stages == 1 and not known and all(update.weight == 0.0 for update in updates)

    def work(item: Part) -> float:
        species, pieces, part = item
        field, update = potential[species], updates[species]
        if isinstance(part, Segment):
            return _largest(advance_line(piece, part, field, update, stages, known) for piece in pieces)
        if once:
            for piece in pieces:
                advance_once(piece, part, field, update)
            return 0.0
        slab = part if kept or needed >= part.slots else part._replace(slots=needed)
        return _largest(advance_pile(piece, slab, field, update, stages, plan.depth, known) for piece in pieces)

    parts = plan.singles if once else plan.parts
    return parallel.collect(work, parts) if plan.shared else [work(item) for item in parts]


def _largest(rates: Iterable[float]) -> float:
    """The largest rate, NaN if any is."""
    found = list(rates)
    return math.nan if any(map(math.isnan, found)) else float(max(found))


def _line_plan(shape: Shape, face: Face | None, wanted: int, shared: bool) -> Plan:
    species, cells, memory = shape[0], shape[3], _Memory()
    whole = cells <= WHOLE_LINE
    tile = cells if whole else TILE
    periodic = face is not None and face[4]
    geometry = _geometry(face, cells, False)
    uniform = bool(np.all(geometry[:, :-1] == geometry[:, :1]))
    beyond = ((0, 0), (HALO, HALO))
    geometry = np.pad(geometry, beyond, "wrap") if periodic else np.pad(geometry, beyond)
    geometry = np.pad(geometry, ((0, 0), (0, 2 * LANES)))
    line = Line(cells, tile, periodic, uniform, *(memory.keep(values) for values in geometry))
    size = -(-(tile + 2 * HALO) // LANES) * LANES + 2 * LANES
    spans = parallel.spans(cells, 1 if whole else wanted, tile, tile)
    parts = tuple(
        (s, [line], Segment(*span, *(memory.zeros(size) for _ in range(5)))) for s in range(species) for span in spans
    )
    block = 0 if whole else HALO
    return Plan(shape, line, parts, parts, memory, 1, block, _between(shape, block), shared)


def _pile_plan(shape: Shape, geometry: dict[int, Face], threads: int, wanted: int, shared: bool) -> Plan:
    memory = _Memory()
    pile = _pile(shape, geometry, memory)
    species, plane_bytes = shape[0], 8 * 8 * pile.stride
    spans = parallel.spans(pile.planes, wanted, 1, THINNEST)
    alone = len(spans) == 1 and not pile.periodic
    near, bands = NEAR_CACHE // plane_bytes, [pile]
    if alone and math.prod(shape) * 64 <= WHOLE_PILE:
        depth, block, slots = min(max(near - 2, 1), MOST), 0, _power_of_two(pile.planes + 1)
    else:
        budget = min(FAR_CACHE, ALL_CACHE // min(threads, species * len(spans)))
        room = near if near >= FEWEST else budget // plane_bytes
        most = MOST if alone else min(MOST, spans[0][1] // 4 + 2)
        closed = pile.ghost_rows + pile.ghost_columns == 0
        slots = max(4, _power_of_two(min(room, most) // 2 + 1))
        for banded in BANDED if closed and pile.rows > 1 else ():
            if len(bands) == 1 and room < banded <= most:
                bands = _bands(shape, geometry, memory, pile, budget, banded)
                slots = banded if len(bands) > 1 else slots
        # a ring that leaves the caches costs more than rates computed anew for every stage (core.one_stage)
        depth = block = 1 if len(bands) == 1 and min(room, most) < 4 and closed else slots - 2

    where = [(s, span) for s in range(species) for span in spans]
    piece = bands[0]  # they are equally high

    def ring(start: int, stop: int) -> Slab:
        sizes = [count * piece.stride + 2 * piece.margin for count in (6 * slots, 2 * slots, 2)]
        sizes.append((slots - 3) * (stop - start + 2 * slots) * 2 * piece.width if len(bands) > 1 else 0)
        return Slab(start, stop, slots, *map(memory.zeros, [*sizes, scratch_size(piece.rows, piece.columns)]))

    def alone_at(start: int, stop: int) -> Slab:
        return Slab(start, stop, 0, 0, 0, 0, 0, memory.zeros(scratch_size(pile.rows, pile.columns)))

    parts = tuple((s, bands, ring(*span)) for s, span in where)
    singles = tuple((s, [pile], alone_at(*span)) for s, span in where) if len(bands) > 1 else parts
    return Plan(shape, pile, parts, singles, memory, depth, block, _between(shape, block), shared)


def _between(shape: Shape, block: int) -> Array:
    """Masses that wait for the next block of stages: kept, as a large array costs page faults whenever it is new."""
    return np.empty((shape[0], math.prod(shape[1:]) if block else 0))


def _bands(shape: Shape, geometry: dict[int, Face], memory: _Memory, pile: Pile, budget: int, slots: int) -> list[Pile]:
    """Bands of rows of which ``budget`` bytes hold ``slots`` planes; the pile itself where they would be too thin."""
    halo = slots - 1  # rows of rates below a band that its last stage depends on
    most = budget // (slots * 64 * pile.columns)
    if most < 2 * halo:
        return [pile]
    count = -(-(pile.rows - halo) // (most - halo))
    kept = -(-(pile.rows - halo) // count)
    bands = []
    for start in range(halo, pile.rows, kept):
        low = min(start - halo, pile.rows - kept - halo)
        high = low + kept + halo
        band = _pile((*shape[:2], high - low, shape[3]), _cut(geometry, low, high), memory)
        skipped = 0 if low == 0 else start - low
        above = int(high < pile.rows)
        bands.append(
            band._replace(plane_cells=pile.plane_cells, first=low * pile.columns, skipped=skipped, open_above=above)
        )
    return bands


def _cut(geometry: dict[int, Face], low: int, high: int) -> dict[int, Face]:
    """The faces of the middle axis between the rows of a band."""
    if 1 not in geometry:
        return geometry
    axis, *values = geometry[1][:4]
    shift, forward, backward = (np.asarray(value)[low:high] for value in values)
    return {**geometry, 1: (axis, shift, forward, backward, False)}


def _pile(shape: Shape, geometry: dict[int, Face], memory: _Memory) -> Pile:
    _, planes, rows, columns = shape
    axes = (0, 1, 2)
    if planes == 1:
        planes, rows, axes = rows, 1, (1, 0, 2)
    faces = [geometry.get(axis) for axis in axes]
    periodic, ghost_rows, ghost_columns = (face is not None and face[4] for face in faces)
    height, width = rows + 2 * ghost_rows, columns + 2 * ghost_columns
    margin = LANES if height == 1 else -(-(width + LANES) // LANES) * LANES
    stride = -(-height * width // LANES) * LANES + margin
    outer, middle = _geometry(faces[0], planes, False), _geometry(faces[1], rows, True)
    inner = _geometry(faces[2], columns, True)
    inner = np.pad(inner, ((0, 0), (0, -width % LANES)))
    places = [memory.keep(values) for values in (outer, middle, inner)]
    return Pile(
        planes,
        rows,
        columns,
        int(ghost_rows),
        int(ghost_columns),
        height,
        width,
        stride,
        margin,
        periodic,
        places[0],
        places[1],
        places[2],
        plane_cells=rows * columns,
        first=0,
        skipped=0,
        open_above=0,
    )


def _geometry(face: Face | None, cells: int, ghosts: bool) -> Array:
    """[3, n]: shift in octaves, prefactors for rates per octave, 0 at closed ends; the copies at periodic ones."""
    values = np.zeros((3, cells)) if face is None else np.stack([np.asarray(v, dtype=float) for v in face[1:4]])
    values *= np.array([[1.0 / math.log(2.0)], [math.log(2.0)], [math.log(2.0)]])
    if face is None or not face[4]:
        values[:, -1] = 0.0
    elif ghosts:
        values = np.concatenate([values[:, -1:], values, np.zeros((3, 1))], axis=1)
    return values


def _power_of_two(least: int) -> int:
    """The smallest power of two that is at least this."""
    return 1 << (least - 1).bit_length()


def _flat(values: Array) -> Array:
    """[K, cells], contiguous and writable, so that kernels are compiled for one type of array."""
    return np.require(values, requirements=["C", "W"]).reshape(len(values), -1)
