"""Several stages of an explicit method on a grid of one axis, tile by tile.

A tile is read with HALO cells beyond either end. What stands there goes wrong by one cell more with every stage, and
after HALO stages the tile is written and read anew; a line of one tile is held for as many stages as wanted.
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
    copy,
    expect,
    larger,
    largest_lane,
    net_flow,
    number_at,
    octaves,
    put,
    read_potential,
    vector_at,
    write,
)
from mfpde.core.vector import absolute, fma

HALO = 32  # whole vectors


class Line(NamedTuple):
    """``cells`` in tiles of at most ``tile``, and the addresses of the geometry of the face after cell k at HALO + k.

    shift in octaves, prefactors for rates per octave: zero at closed ends and beyond, around the circle if periodic.
    ``uniform``: all faces but those are alike.
    """

    cells: int
    tile: int
    periodic: bool
    uniform: bool
    shift: int
    forward: int
    backward: int


class Segment(NamedTuple):
    """Cells start .. stop - 1 of a line, and the addresses of scratch for a tile, each behind a vector of zeros."""

    start: int
    stop: int
    potential: int
    up: int
    down: int
    even: int
    odd: int


@njit(**HELPER)
def _read(line: Line, segment: Segment, field: Field, update: Update, first: int, count: int, known: bool) -> None:
    """Cells first .. first + count - 1 into the scratch; zeros stand beyond closed ends."""
    begin, end = max(first, 0), min(first + count, line.cells)
    lower, upper = LANES + begin - first, LANES + end - first
    if not known:
        read_potential(field, begin, segment.potential, lower, end - begin)
    copy(update.source, begin, segment.even, lower, end - begin)
    for stretch in ((LANES, lower), (upper, LANES + count)):
        for i in range(stretch[0], stretch[1]):
            k = (first + i - LANES) % line.cells
            put(segment.potential, i, octaves(field, number_at(field.psi, k)) if line.periodic else 0.0)
            put(segment.even, i, number_at(update.source, k) if line.periodic else 0.0)


@njit(**HELPER)
def _keep(segment: Segment, q: int, rates: Any, alone: bool) -> None:
    """Store the rates of a face; of a single stage the flow is all that is needed."""
    up, down = rates
    if alone:
        put(segment.up, q, net_flow(up, down, vector_at(segment.even, q), vector_at(segment.even, q + 1)))
    else:
        put(segment.up, q, up)
        put(segment.down, q, down)


@njit(**HELPER)
def _open(line: Line, segment: Segment, field: Field, update: Update, first: int, count: int, alone: bool) -> None:
    """Rates of the faces after the cells of the scratch."""
    s, shift, forward, backward = segment.potential, line.shift, line.forward, line.backward
    if line.uniform and first >= 0 and first + count < line.cells:
        common = number_at(shift, HALO), number_at(forward, HALO), number_at(backward, HALO)
        for q in range(LANES, LANES + count, LANES):
            expect(field.psi, first + q + line.tile)
            expect(update.source, first + q + line.tile)
            x = vector_at(s, q + 1) - vector_at(s, q) - common[0]
            _keep(segment, q, face_rates(x, common[1], common[2]), alone)
    else:
        for q in range(LANES, LANES + count, LANES):
            k = first + q + HALO - LANES
            x = vector_at(s, q + 1) - vector_at(s, q) - vector_at(shift, k)
            _keep(segment, q, face_rates(x, vector_at(forward, k), vector_at(backward, k)), alone)


@njit(**HELPER)
def _exit_rate(segment: Segment, begin: int, end: int, largest: Any) -> Any:
    """The larger of ``largest`` and the total rates at which cells are left."""
    for q in range(begin, end, LANES):
        largest = larger(absolute(vector_at(segment.up, q) + vector_at(segment.down, q - 1)), largest)
    return largest


@njit(**HELPER)
def _stage(segment: Segment, here: int, there: int, count: int, c: float, alone: bool) -> None:
    """there = (I + c A) here."""
    up, down = segment.up, segment.down
    for q in range(LANES, LANES + count, LANES):
        if alone:
            coming, going = vector_at(up, q - 1), vector_at(up, q)
        else:
            coming = net_flow(vector_at(up, q - 1), vector_at(down, q - 1), vector_at(here, q - 1), vector_at(here, q))
            going = net_flow(vector_at(up, q), vector_at(down, q), vector_at(here, q), vector_at(here, q + 1))
        put(there, q, fma(c, coming - going, vector_at(here, q)))


@njit(**HELPER)
def _wrap(level: int, count: int) -> None:
    """Renew the halo of a circle of ``count`` cells."""
    inside = LANES + HALO
    for k in range(HALO):
        put(level, LANES + k, number_at(level, inside + (k - HALO) % count))
        put(level, inside + count + k, number_at(level, inside + k % count))


@kernel
def advance_line(line: Line, segment: Segment, field: Field, update: Update, stages: int, known: bool) -> float:
    """Write ``update.out`` on the cells of the segment after ``stages`` stages with the rates of the field.

    0 stages: only compute the rates, and return the largest one at which a cell is left, NaN if any is. More than HALO
    stages, or ``known`` rates, those of the last call, are for a line that is one tile.
    """
    reading, change = by_address(field, update)
    alone = stages == 1 and not known
    inside = LANES + HALO
    largest = absolute(0.0 * vector_at(segment.potential, 0))
    for start in range(segment.start, segment.stop, line.tile):
        count = min(line.tile, segment.stop - start)
        _read(line, segment, reading, change, start - HALO, count + 2 * HALO, known)
        if not known:
            _open(line, segment, reading, change, start - HALO, count + 2 * HALO, alone)
        if stages == 0:
            largest = _exit_rate(segment, inside, inside + count, largest)
            continue
        here, there = segment.even, segment.odd
        for stage in range(stages):
            if line.periodic and stage > 0 and stage % HALO == 0:
                _wrap(here, count)
            _stage(segment, here, there, count + 2 * HALO, change.c, alone)
            here, there = there, here
        write(here, inside, change, start, count)
    return largest_lane(largest)
