"""Several stages of an explicit method on a grid of two or three axes in one pass.

A grid is a pile of planes along its outer axis, each a flat run of rows; the planes of a 2-D grid are its rows. They
enter one after the other: plane f brings its rates, stage 1 acts on plane f, stage 2 on plane f - 1, and so on, chunk
by chunk. What a stage needs is then still in a cache, and a grid that fills the memory is read once for many stages.
Rates and the levels between stages live in rings of a few planes; where the ring holds the whole grid, rates are
computed once. What a cell gets does not depend on the size of rings, chunks or slabs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from mfpde.core.compilation import HELPER, kernel
from mfpde.core.fluxes import face_rates
from mfpde.core.stages import (
    LANES,
    Field,
    Update,
    by_address,
    clear,
    copy,
    expect,
    larger,
    largest_lane,
    net_flow,
    number_at,
    put,
    read_potential,
    vector_at,
    write,
)
from mfpde.core.vector import absolute, fma

CHUNK = 1024  # cells that enter at a time: their rates and masses pass from loop to loop within the nearest caches


class Pile(NamedTuple):
    """How a grid [planes, rows, columns] lies in padded planes, and the geometry of its faces.

    A periodic axis of the plane carries a copy of its far cell at either end (``ghost_rows``, ``ghost_columns`` are 1),
    which ``height`` and ``width`` count in; planes are ``stride`` apart with ``margin`` zeros before each. The geometry
    lies at outer, middle, inner: [3, n] shift in octaves, forward, backward prefactor of every face, 0 at closed ends.

    A band is a pile of some rows of every plane, of ``plane_cells``, and begins ``first`` cells after it. Every stage
    of a band begins one row lower and ends one row lower than the stage before, so that bands tile all stages: the rows
    that it lacks below are those that the band before it left at the seam. A stage s treats the rows from
    ``skipped`` - s on, to ``height`` - s where ``open_above`` is 1, or to the end of the plane.
    """

    planes: int
    rows: int
    columns: int
    ghost_rows: int
    ghost_columns: int
    height: int
    width: int
    stride: int
    margin: int
    periodic: bool
    outer: int
    middle: int
    inner: int
    plane_cells: int
    first: int
    skipped: int
    open_above: int


class Slab(NamedTuple):
    """Planes start .. stop - 1 and the addresses of their scratch.

    ``faces`` holds per slot of the ring six planes of rates (outer up and down, middle, inner), ``levels`` two of
    masses, ``potential`` two planes in all. The number of slots is a power of two. ``seam`` holds the highest two rows
    of a band for every plane and every stage but the last. ``once`` is for core.one_stage.
    """

    start: int
    stop: int
    slots: int
    faces: int
    levels: int
    potential: int
    seam: int
    once: int


@njit(**HELPER)
def _face(pile: Pile, slab: Slab, plane: int) -> int:
    """Where the rates of the faces after ``plane`` begin."""
    return (plane & slab.slots - 1) * 6 * pile.stride + pile.margin


@njit(**HELPER)
def _level(pile: Pile, slab: Slab, stage: int, plane: int) -> int:
    """Where the masses of a plane after ``stage`` begin; two stages later they are overwritten, needed no more."""
    return ((stage & 1) * slab.slots + (plane & slab.slots - 1)) * pile.stride + pile.margin


@njit(**HELPER)
def _potential(pile: Pile, plane: int) -> int:
    return (plane & 1) * pile.stride + pile.margin


@njit(**HELPER)
def _wrap(pile: Pile, planes: int, base: int) -> None:
    """Renew the copies of the far cells at the ends of periodic axes."""
    width, rows, columns = pile.width, pile.rows, pile.columns
    if pile.ghost_columns:
        for row in range(base, base + pile.height * width, width):
            put(planes, row, number_at(planes, row + columns))
            put(planes, row + columns + 1, number_at(planes, row + 1))
    if pile.ghost_rows:
        copy(planes, base + rows * width, planes, base, width)
        copy(planes, base + width, planes, base + (rows + 1) * width, width)


@njit(**HELPER)
def _runs(pile: Pile, begin: int, end: int) -> tuple[int, int, int, int, int]:
    """(count, length, offset in the grid, offset in the plane, step in the plane) of the contiguous runs of a chunk.

    Without ghosts a chunk is one run; with them the first chunk stands for the rows of the whole plane.
    """
    columns, width = pile.columns, pile.width
    if pile.ghost_rows + pile.ghost_columns == 0:
        return 1, end - begin, begin, begin, 0
    return pile.rows if begin == 0 else 0, columns, 0, pile.ghost_rows * width + pile.ghost_columns, width


@njit(**HELPER)
def _enter(
    pile: Pile,
    slab: Slab,
    field: Field,
    update: Update,
    plane: int,
    begin: int,
    end: int,
    rates: bool,
    masses: bool,
) -> None:
    """Read a chunk of a plane into the rings."""
    runs, length, at, to, step = _runs(pile, begin, end)
    at += plane % pile.planes * pile.plane_cells + pile.first
    for run in range(runs):
        if rates:
            place = _potential(pile, plane) + to + run * step
            read_potential(field, at + run * length, slab.potential, place, length)
        if masses:
            place = _level(pile, slab, 0, plane) + to + run * step
            copy(update.source, at + run * length, slab.levels, place, length)
    if step > 0 and runs > 0:
        _wrap(pile, slab.potential, _potential(pile, plane))
        _wrap(pile, slab.levels, _level(pile, slab, 0, plane))


@njit(**HELPER)
def _rows(pile: Pile, stage: int) -> tuple[int, int]:
    """The rows of a plane that a stage treats, as cells."""
    return max(pile.skipped - stage, 0) * pile.width, (pile.height - pile.open_above * stage) * pile.width


@njit(**HELPER)
def _leave(pile: Pile, slab: Slab, update: Update, stage: int, plane: int) -> None:
    """Write the last level of a plane."""
    begin, end = _rows(pile, stage)
    runs, length, offset, to, step = _runs(pile, begin, end)
    at, level = plane * pile.plane_cells + pile.first + offset, _level(pile, slab, stage, plane) + to
    for run in range(runs):
        write(slab.levels, level + run * step, update, at + run * length, length)


@njit(**HELPER)
def _flow_at(slab: Slab, face: int, stride: int, here: int, there: int) -> Any:
    up, down = vector_at(slab.faces, face), vector_at(slab.faces, face + stride)
    return net_flow(up, down, vector_at(slab.levels, here), vector_at(slab.levels, there))


@njit(**HELPER)
def _keep(slab: Slab, face: int, stride: int, rates: Any) -> None:
    """Store the rates of a face."""
    put(slab.faces, face, rates[0])
    put(slab.faces, face + stride, rates[1])


@njit(**HELPER)
def _open_within(pile: Pile, slab: Slab, field: Field, plane: int, begin: int, end: int) -> None:
    """Rates of the faces between the cells of a chunk and their followers in the plane."""
    width, height, stride, s = pile.width, pile.height, pile.stride, slab.potential
    inner, middle, padded = pile.inner, pile.middle, (width + LANES - 1) // LANES * LANES
    here, face = _potential(pile, plane), _face(pile, slab, plane)
    soon = (plane + 1) * pile.plane_cells + pile.first + end - begin
    for j in range(begin // width, (end + width - 1) // width):
        start, stop = max(begin, j * width), min(end, (j + 1) * width)
        for q in range(start, stop, LANES):
            expect(field.psi, soon + q)
            k = q - j * width
            x = vector_at(s, here + q + 1) - vector_at(s, here + q) - vector_at(inner, k)
            rates = face_rates(x, vector_at(inner, padded + k), vector_at(inner, 2 * padded + k))
            _keep(slab, face + 4 * stride + q, stride, rates)
        if height > 1:
            shift, forward = number_at(middle, j), number_at(middle, height + j)
            backward = number_at(middle, 2 * height + j)
            for q in range(start, stop, LANES):
                rates = face_rates(vector_at(s, here + q + width) - vector_at(s, here + q) - shift, forward, backward)
                _keep(slab, face + 2 * stride + q, stride, rates)


@njit(**HELPER)
def _open_between(pile: Pile, slab: Slab, update: Update, plane: int, following: int, begin: int, end: int) -> None:
    """Rates of the faces between the cells of a chunk and the ``following`` plane."""
    planes, outer, s = pile.planes, pile.outer, slab.potential
    f, face = plane % planes, _face(pile, slab, plane)
    shift, forward, backward = number_at(outer, f), number_at(outer, planes + f), number_at(outer, 2 * planes + f)
    here, there = _potential(pile, plane), _potential(pile, following)
    soon = (plane + 1) * pile.plane_cells + pile.first + end - begin
    for q in range(begin, end, LANES):
        expect(update.source, soon + q)
        rates = face_rates(vector_at(s, there + q) - vector_at(s, here + q) - shift, forward, backward)
        _keep(slab, face + q, pile.stride, rates)


@njit(**HELPER)
def _exit_rate(pile: Pile, slab: Slab, plane: int, begin: int, end: int, largest: Any) -> Any:
    """The larger of ``largest`` and the total rates at which cells are left."""
    stride, width, faces = pile.stride, pile.width, slab.faces
    face, below = _face(pile, slab, plane), _face(pile, slab, plane - 1)
    for q in range(begin, end, LANES):
        total = vector_at(faces, face + 4 * stride + q) + vector_at(faces, face + 5 * stride + q - 1)
        if pile.height > 1:
            total = total + (vector_at(faces, face + 2 * stride + q) + vector_at(faces, face + 3 * stride + q - width))
        total = total + (vector_at(faces, face + q) + vector_at(faces, below + stride + q))
        largest = larger(absolute(total), largest)
    return largest


@njit(**HELPER)
def _stage(pile: Pile, slab: Slab, update: Update, stage: int, plane: int, begin: int, end: int) -> None:
    """Level ``stage`` of a stretch of a plane from the level before it."""
    stride, width, levels = pile.stride, pile.width, slab.levels
    face, below = _face(pile, slab, plane), _face(pile, slab, plane - 1)
    before, after = _level(pile, slab, stage - 1, plane - 1), _level(pile, slab, stage - 1, plane + 1)
    here, target = _level(pile, slab, stage - 1, plane), _level(pile, slab, stage, plane)
    inner, middle = face + 4 * stride, face + 2 * stride
    for q in range(begin, end, LANES):
        r = here + q
        net = _flow_at(slab, inner + q - 1, stride, r - 1, r) - _flow_at(slab, inner + q, stride, r, r + 1)
        if pile.height > 1:
            coming = _flow_at(slab, middle + q - width, stride, r - width, r)
            net = net + (coming - _flow_at(slab, middle + q, stride, r, r + width))
        coming = _flow_at(slab, below + q, stride, before + q, r)
        net = net + (coming - _flow_at(slab, face + q, stride, r, after + q))
        put(levels, target + q, fma(update.c, net, vector_at(levels, r)))


@njit(**HELPER)
def _takes_part(pile: Pile, slab: Slab, plane: int, spread: int) -> bool:
    """Whether a stage that ``spread`` stages follow must treat this plane."""
    inside = slab.start - spread <= plane < slab.stop + spread
    return inside and (pile.periodic or 0 <= plane < pile.planes)


@njit(**HELPER)
def _vectors(pile: Pile, stage: int, begin: int, end: int) -> tuple[int, int]:
    """The part of begin .. end - 1 with cells that a stage treats, in whole vectors."""
    low, high = _rows(pile, stage)
    return max(begin, low // LANES * LANES), min(end, (high + LANES - 1) // LANES * LANES)


@njit(**HELPER)
def _seam(pile: Pile, slab: Slab, stage: int, plane: int) -> int:
    """Where the two rows of a plane at the seam begin."""
    most = slab.slots - 2  # stages taken together, and planes of either neighbour
    planes = slab.stop - slab.start + 2 * most
    return ((stage - 1) * planes + plane - slab.start + most) * 2 * pile.width


@njit(**HELPER)
def _take_over(pile: Pile, slab: Slab, stage: int, plane: int, begin: int, end: int) -> None:
    """The rows of the band before this one that the next stage depends on, as far as they lie in begin .. end - 1."""
    highest = (pile.skipped - stage) * pile.width
    lowest = highest - 2 * pile.width
    begin, end = max(begin, lowest), min(end, highest)
    if begin < end:
        place, level = _seam(pile, slab, stage, plane) - lowest, _level(pile, slab, stage, plane)
        copy(slab.seam, place + begin, slab.levels, level + begin, end - begin)


@njit(**HELPER)
def _hand_over(pile: Pile, slab: Slab, stage: int, plane: int) -> None:
    """Leave the highest two rows of a stage at the seam."""
    level = _level(pile, slab, stage, plane) + _rows(pile, stage + 2)[1]
    copy(slab.levels, level, slab.seam, _seam(pile, slab, stage, plane), 2 * pile.width)


@kernel
def advance_pile(pile: Pile, slab: Slab, field: Field, update: Update, stages: int, depth: int, known: bool) -> float:
    """Write ``update.out`` on the planes of the slab after ``stages`` stages with the rates of the field.

    0 stages: only compute the rates, and return the largest one at which a cell of these planes is left, NaN if any is.
    ``depth`` stages go together: all of them, unless the ring holds every plane. ``known``: it holds the rates as well.
    """
    reading, change = by_address(field, update)
    planes, width = pile.planes, pile.width
    ghosts = pile.ghost_rows + pile.ghost_columns > 0
    reach = max(stages, 1)  # the planes of the neighbours that this slab depends on
    first, last = slab.start - reach, slab.stop + reach - 1
    if not pile.periodic:
        first, last = max(first, 0), min(last, planes - 1)
        if first == 0 and not known:
            ground = _face(pile, slab, -1)
            clear(slab.faces, ground, ground + 2 * pile.stride - pile.margin)
    # the rates that stages depend on, of whole rows, and around the cells that fill up the first vector
    bottom, top = max(pile.skipped - reach - 2 - LANES // width, 0) * width, pile.height * width
    step = max(1, CHUNK // width) * width if pile.height > 1 else CHUNK
    largest = absolute(0.0 * vector_at(slab.potential, 0))
    for done in range(0, reach, depth):
        count = min(depth, stages - done)
        for front in range(first - 1 if done == 0 else first, last + max(count, 1)):
            entering = done == 0 and front < last
            opening = done == 0 and first <= front <= last and not known
            for begin in range(bottom, (top + LANES - 1) // LANES * LANES, step):
                end = min(begin + step, top)
                if entering:
                    _enter(pile, slab, reading, change, front + 1, begin, end, not known, stages > 0)
                if opening:
                    _open_within(pile, slab, reading, front, begin, end)
                    _open_between(pile, slab, change, front, min(front + 1, last), begin, end)
                # whole vectors that are complete, the padding of the plane with the last
                a, b = begin // LANES * LANES, (begin + step) // LANES * LANES
                if stages == 0 and slab.start <= front < slab.stop:
                    low, high = _vectors(pile, 1, a, b)
                    largest = _exit_rate(pile, slab, front, low, high, largest)
                for i in range(count):
                    stage, plane = done + i + 1, front - i
                    if _takes_part(pile, slab, plane, stages - stage):
                        low, high = _vectors(pile, stage, a, b)
                        _stage(pile, slab, change, stage, plane, low, high)
                        if pile.skipped > 0 and stage < stages:
                            _take_over(pile, slab, stage, plane, a, b)
            for i in range(count if ghosts or pile.open_above else 0):
                stage, plane = done + i + 1, front - i
                if _takes_part(pile, slab, plane, stages - stage):
                    if ghosts:
                        _wrap(pile, slab.levels, _level(pile, slab, stage, plane))
                    elif stage < stages:
                        _hand_over(pile, slab, stage, plane)
            plane = front - count + 1
            if 0 < stages == done + count and slab.start <= plane < slab.stop:
                _leave(pile, slab, change, stages, plane)
    return largest_lane(largest)
