"""The two sums of a grid over its stored features: over the cells, and over the features of every cell.

A table is larger than the caches, and either sum needs every number of it once. So it is read in the order in which it
lies, as one stream: with two rows or more at a time, as BLAS has it, the memory gives half as much or less.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from mfpde.core.compilation import HELPER, kernel
from mfpde.core.stages import address_of, clear, lane, number_at, put, reader
from mfpde.core.tiles import workspace
from mfpde.core.transfers import filled
from mfpde.core.vector import Vector, fma

Array = NDArray[np.float64]

NARROW = 8  # features: rows that are shorter fill no vector, and are left to BLAS
_vector_at = reader(Vector(types.float64, NARROW))


def gather(table: Array, mass: Array, out: Array) -> None:
    """out_q = sum_i mass_i table_iq : table [cells, R], mass [cells], out [R], all contiguous."""
    if table.shape[1] < NARROW:
        np.matmul(mass, table, out=out)
    else:
        _gather(table, mass, out)


def spread(table: Array, r: Array, out: Array) -> None:
    """out_i = sum_q table_iq r_q : table [cells, R], r [R], out [cells], all contiguous."""
    if table.shape[1] < NARROW:
        np.matmul(table, r, out=out)
    else:
        _spread(table, r, out)


@njit(**HELPER)
def _total(sums: Any) -> float:
    """The sum of eight lanes."""
    even, odd = lane(sums, 0) + lane(sums, 2), lane(sums, 1) + lane(sums, 3)
    return (even + (lane(sums, 4) + lane(sums, 6))) + (odd + (lane(sums, 5) + lane(sums, 7)))


@kernel
def _gather(table: Array, mass: Array, out: Array) -> None:
    rank = table.shape[1]
    whole = rank - rank % NARROW
    sums = workspace(rank, out)
    numbers, total = address_of(table), address_of(sums)
    clear(total, 0, rank)
    for i in range(table.shape[0]):
        row, factor = i * rank, mass[i]
        for q in range(0, whole, NARROW):
            put(total, q, fma(factor, _vector_at(numbers, row + q), _vector_at(total, q)))
        for q in range(whole, rank):
            put(total, q, fma(factor, number_at(numbers, row + q), number_at(total, q)))
    for q in range(rank):
        out[q] = sums[q]


@kernel
def _spread(table: Array, r: Array, out: Array) -> None:
    rank = table.shape[1]
    # four sums at once, so that none waits for the one before it
    fours, whole = rank - rank % (4 * NARROW), rank - rank % NARROW
    numbers, factors = address_of(table), address_of(r)
    zero = filled(_vector_at(factors, 0), 0.0)
    for i in range(table.shape[0]):
        row = i * rank
        s0, s1, s2, s3 = zero, zero, zero, zero
        for q in range(0, fours, 4 * NARROW):
            s0 = fma(_vector_at(factors, q), _vector_at(numbers, row + q), s0)
            s1 = fma(_vector_at(factors, q + NARROW), _vector_at(numbers, row + q + NARROW), s1)
            s2 = fma(_vector_at(factors, q + 2 * NARROW), _vector_at(numbers, row + q + 2 * NARROW), s2)
            s3 = fma(_vector_at(factors, q + 3 * NARROW), _vector_at(numbers, row + q + 3 * NARROW), s3)
        for q in range(fours, whole, NARROW):
            s0 = fma(_vector_at(factors, q), _vector_at(numbers, row + q), s0)
        total = _total((s0 + s1) + (s2 + s3))
        for q in range(whole, rank):
            total = fma(number_at(factors, q), number_at(numbers, row + q), total)
        out[i] = total
