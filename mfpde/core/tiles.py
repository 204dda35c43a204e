"""The inner loops of every particle sum: tiles of TILE particles by BLOCK rows (data nodes, or other particles).

A tile stays in the first-level cache and every innermost loop runs over contiguous particles with a fixed trip count,
so that LLVM turns it into full-width fused multiply-adds; short tiles are padded with zeros. Buffers are flat: row k
of a tile starts at k * TILE, and a constant distance between rows is what lets LLVM see that they do not overlap. No
sum over contiguous elements is left to the vectoriser, hence none depends on the width of a vector.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core.elementary import HELPER, KERNEL

Array = NDArray[np.float64]

TILE = 128
BLOCK = 4
AREA = TILE * BLOCK
LANES = 8


@njit(**HELPER)
def aligned(size: int) -> Array:
    """Uninitialised doubles that start on a cache line: vector loads that straddle two lines cost twice as much."""
    room = np.empty(size + LANES)
    skip = (-(room.ctypes.data // 8)) % LANES
    return room[skip : skip + size]


@njit(**HELPER)
def padded(rows: int) -> int:
    """Rows of a tile buffer: the next multiple of four."""
    return (rows + 3) // 4 * 4


@njit(**HELPER)
def clear(buffer: Array) -> None:
    """Zeros. A loop, here and elsewhere, because assigning to a slice costs Numba seconds of compilation."""
    for i in range(buffer.shape[0]):
        buffer[i] = 0.0


@njit(**KERNEL)
def load_tile(source: Array, start: int, tile: Array) -> None:
    """Columns start .. start + TILE - 1 of source[rows, N]; zeros beyond the end and in the padding rows."""
    width = min(TILE, source.shape[1] - start)
    clear(tile)
    for k in range(source.shape[0]):
        to = tile[k * TILE : (k + 1) * TILE]
        row = source[k]
        for i in range(width):
            to[i] = row[start + i]


@njit(**KERNEL)
def combine(tile: Array, block: Array, z: Array) -> None:
    """z[j, i] = sum_k block[k, j] tile[k, i], four rows k at a time."""
    clear(z)
    for k in range(0, tile.shape[0] // TILE, 4):
        x = block[k * BLOCK : (k + 4) * BLOCK]
        w = tile[k * TILE : (k + 4) * TILE]
        a0, a1, a2, a3 = x[0], x[1], x[2], x[3]
        b0, b1, b2, b3 = x[4], x[5], x[6], x[7]
        c0, c1, c2, c3 = x[8], x[9], x[10], x[11]
        d0, d1, d2, d3 = x[12], x[13], x[14], x[15]
        for i in range(TILE):
            wa, wb, wc, wd = w[i], w[i + TILE], w[i + 2 * TILE], w[i + 3 * TILE]
            z[i] += a0 * wa + b0 * wb + c0 * wc + d0 * wd
            z[i + TILE] += a1 * wa + b1 * wb + c1 * wc + d1 * wd
            z[i + 2 * TILE] += a2 * wa + b2 * wb + c2 * wc + d2 * wd
            z[i + 3 * TILE] += a3 * wa + b3 * wb + c3 * wc + d3 * wd


@njit(**KERNEL)
def accumulate(factor: Array, value: Array, total: Array) -> None:
    """total_i += sum_j factor_j value[j, i]."""
    f0, f1, f2, f3 = factor[0], factor[1], factor[2], factor[3]
    for i in range(TILE):
        total[i] += f0 * value[i] + f1 * value[i + TILE] + f2 * value[i + 2 * TILE] + f3 * value[i + 3 * TILE]


@njit(**KERNEL)
def accumulate_outer(factor: Array, block: Array, value: Array, total: Array) -> None:
    """total[k, i] += sum_j factor_j block[k, j] value[j, i], four rows k at a time."""
    f0, f1, f2, f3 = factor[0], factor[1], factor[2], factor[3]
    for k in range(0, total.shape[0] // TILE, 4):
        x = block[k * BLOCK : (k + 4) * BLOCK]
        g = total[k * TILE : (k + 4) * TILE]
        a0, a1, a2, a3 = f0 * x[0], f1 * x[1], f2 * x[2], f3 * x[3]
        b0, b1, b2, b3 = f0 * x[4], f1 * x[5], f2 * x[6], f3 * x[7]
        c0, c1, c2, c3 = f0 * x[8], f1 * x[9], f2 * x[10], f3 * x[11]
        d0, d1, d2, d3 = f0 * x[12], f1 * x[13], f2 * x[14], f3 * x[15]
        for i in range(TILE):
            v0, v1, v2, v3 = value[i], value[i + TILE], value[i + 2 * TILE], value[i + 3 * TILE]
            g[i] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
            g[i + TILE] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
            g[i + 2 * TILE] += c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
            g[i + 3 * TILE] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3


@njit(**KERNEL)
def fold(factor: Array, value: Array, row: int, lanes: Array) -> None:
    """Add sum_i factor_i value[j, i] to eight running sums for row + j, i to the sum i mod 8; overwrites value."""
    sums = lanes[row * LANES : (row + BLOCK) * LANES]
    for j in range(BLOCK):
        v = value[j * TILE : (j + 1) * TILE]
        for i in range(TILE // 4):
            near = factor[i] * v[i] + factor[i + TILE // 4] * v[i + TILE // 4]
            far = factor[i + TILE // 2] * v[i + TILE // 2] + factor[i + 3 * TILE // 4] * v[i + 3 * TILE // 4]
            v[i] = near + far
    for i in range(LANES):
        for j in range(BLOCK):
            v = value[j * TILE : (j + 1) * TILE]
            sums[j * LANES + i] += (v[i] + v[i + 8]) + (v[i + 16] + v[i + 24])


@njit(**HELPER)
def unfold(lanes: Array, row: int) -> float:
    """The sum of the eight running sums of one row."""
    s = lanes[row * LANES : (row + 1) * LANES]
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
