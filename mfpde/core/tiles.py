"""The inner loops of every particle sum: one vector of particles against NODES data nodes, or other particles.

A tile is NODES vectors that stay in registers. Points are packed by component, [d][LANES] or [d][NODES], so that every
load is contiguous; what is missing in the last pack is zero. Each loop runs over the components of the packs, and is
told that there is one: beside a branch for none, LLVM puts off all that only the loop needs, square roots and quotients
in a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from mfpde.core.compilation import CACHE_LINE, HELPER, kernel
from mfpde.core.transfers import (
    filled,
    in_one_piece,
    joined,
    lanes,
    load,
    load_as,
    prefetch,
    quarters,
    spread,
    spread_as,
    store,
)
from mfpde.core.vector import LANES, fma

Array = NDArray[Any]

NODES = 4
WIDEST = max(LANES.values())


@njit(**HELPER)
def workspace(size: int, like: Array) -> Array:
    """Uninitialised numbers of the type of ``like`` that start on a cache line: loads across two lines cost twice."""
    room = np.empty(size + CACHE_LINE // like.itemsize, like.dtype)
    skip = (-(room.ctypes.data // like.itemsize)) % (CACHE_LINE // like.itemsize)
    return room[skip : skip + size]


@njit(**HELPER)
def clear(buffer: Array) -> None:
    """Zeros. A loop at the end because assigning to a slice costs Numba seconds of compilation."""
    whole = buffer.shape[0] - buffer.shape[0] % lanes(buffer)
    for i in range(0, whole, lanes(buffer)):
        store(buffer, i, filled(buffer, 0.0))
    for i in range(whole, buffer.shape[0]):
        buffer[i] = 0.0


@njit(**HELPER)
def add_to(total: Array, stretch: Array) -> None:
    """total += stretch, workspaces of whole vectors, in the type of the total."""
    for i in range(0, total.shape[0], lanes(total)):
        store(total, i, load(total, i) + load_as(total, stretch, i))


@kernel
def pack(source: Array, start: int, size: int, out: Array) -> None:
    """out[k][i] = source[k, start + i] for i < size, flat, converted to the type of out; zero beyond the end.

    Every row is a stream of its own that the processor would follow too late: the pack after the next is asked for.
    """
    width = min(size, source.shape[1] - start)
    for k in range(source.shape[0]):
        row = source[k]
        if width == size and row.strides[0] == row.itemsize:
            store(out, k * size, load_as(out, row, start))
            prefetch(row, start + 2 * size)
        else:
            to = out[k * size : (k + 1) * size]
            for i in range(width):
                to[i] = row[start + i]
            for i in range(width, size):
                to[i] = 0.0


@njit(**HELPER)
def load_product(like: Array, factor: Array, other: Array, first: int, count: int, scratch: Array) -> Any:
    """factor[first + i] other[first + i] as a vector of the type of ``like``, zero from i = count on."""
    if count == lanes(like) and factor.strides[0] == factor.itemsize and other.strides[0] == other.itemsize:
        return load_as(like, factor, first) * load_as(like, other, first)
    clear(scratch)
    for i in range(count):
        scratch[i] = factor[first + i]
    left = load(scratch, 0)
    for i in range(count):
        scratch[i] = other[first + i]
    return left * load(scratch, 0)


@njit(**HELPER)
def write(numbers: Array, at: int, first: int, count: int, out: Array) -> None:
    """out[first + i] = numbers[at + i] for i < count, all doubles; rows may have any stride."""
    whole = count - count % lanes(out) if out.strides[0] == out.itemsize else 0
    for i in range(0, whole, lanes(out)):
        store(out, first + i, load(numbers, at + i))
        prefetch(out, first + i + 2 * lanes(out))
    for i in range(whole, count):
        out[first + i] = numbers[at + i]


@njit(**HELPER)
def write_products(factor: Array, numbers: Array, at: int, first: int, count: int, out: Array) -> None:
    """out[first + i] = factor[first + i] numbers[at + i] for i < count, all doubles; rows may have any stride."""
    adjacent = factor.strides[0] == factor.itemsize and out.strides[0] == out.itemsize
    whole = count - count % lanes(out) if adjacent else 0
    for i in range(0, whole, lanes(out)):
        store(out, first + i, load(factor, first + i) * load(numbers, at + i))
        prefetch(out, first + i + 2 * lanes(out))
    for i in range(whole, count):
        out[first + i] = factor[first + i] * numbers[at + i]


@njit(**HELPER)
def _project(points: Array, nodes: Array, block: int, d: int, z: Any, lane: int) -> Any:
    z0, z1, z2, z3 = z, z, z, z
    at = block * d * NODES
    for k in range(max(1, d)):
        w = load_as(z, points, k * lanes(points) + lane)
        z0 = fma(w, spread_as(z, nodes, at), z0)
        z1 = fma(w, spread_as(z, nodes, at + 1), z1)
        z2 = fma(w, spread_as(z, nodes, at + 2), z2)
        z3 = fma(w, spread_as(z, nodes, at + 3), z3)
        at += NODES
    return z0, z1, z2, z3


def project(points: Array, nodes: Array, block: int, d: int, z: Any) -> Any:
    """z + sum_k points[k] nodes[block][k] for the NODES nodes of a block, all from the vector z, inside kernels."""
    raise NotImplementedError("for compiled code")


@overload(project, strict=False, jit_options=HELPER)
def _project_overload(points: Any, nodes: Any, block: Any, d: Any, z: Any) -> Any:
    def whole(points: Array, nodes: Array, block: int, d: int, z: Any) -> Any:
        return _project(points, nodes, block, d, z, 0)

    def by_quarters(points: Array, nodes: Array, block: int, d: int, z: Any) -> Any:
        q0, q1, q2, q3 = quarters(z)
        size = lanes(points) // 4
        a0, a1, a2, a3 = _project(points, nodes, block, d, q0, 0)
        b0, b1, b2, b3 = _project(points, nodes, block, d, q1, size)
        c0, c1, c2, c3 = _project(points, nodes, block, d, q2, 2 * size)
        e0, e1, e2, e3 = _project(points, nodes, block, d, q3, 3 * size)
        return (
            joined(joined(a0, b0), joined(c0, e0)),
            joined(joined(a1, b1), joined(c1, e1)),
            joined(joined(a2, b2), joined(c2, e2)),
            joined(joined(a3, b3), joined(c3, e3)),
        )

    return whole if in_one_piece() else by_quarters


@njit(**HELPER)
def spread_block(numbers: Array, block: int) -> Any:
    """The NODES numbers of one block, each in every lane."""
    at = block * NODES
    return spread(numbers, at), spread(numbers, at + 1), spread(numbers, at + 2), spread(numbers, at + 3)


@njit(**HELPER)
def _accumulate(nodes: Array, block: int, d: int, v0: Any, v1: Any, v2: Any, v3: Any, total: Array, lane: int) -> None:
    at = block * d * NODES
    for k in range(max(1, d)):
        row = k * lanes(total) + lane
        sum_ = fma(spread_as(v0, nodes, at), v0, load_as(v0, total, row))
        sum_ = fma(spread_as(v0, nodes, at + 1), v1, sum_)
        sum_ = fma(spread_as(v0, nodes, at + 2), v2, sum_)
        store(total, row, fma(spread_as(v0, nodes, at + 3), v3, sum_))
        at += NODES


def accumulate_outer(nodes: Array, block: int, d: int, v0: Any, v1: Any, v2: Any, v3: Any, total: Array) -> None:
    """total[k] += sum_j nodes[block][k][j] v_j, inside kernels."""
    raise NotImplementedError("for compiled code")


@overload(accumulate_outer, strict=False, jit_options=HELPER)
def _accumulate_overload(nodes: Any, block: Any, d: Any, v0: Any, v1: Any, v2: Any, v3: Any, total: Any) -> Any:
    def whole(nodes: Array, block: int, d: int, v0: Any, v1: Any, v2: Any, v3: Any, total: Array) -> None:
        _accumulate(nodes, block, d, v0, v1, v2, v3, total, 0)

    def by_quarters(nodes: Array, block: int, d: int, v0: Any, v1: Any, v2: Any, v3: Any, total: Array) -> None:
        a, b, c, e = quarters(v0), quarters(v1), quarters(v2), quarters(v3)
        size = lanes(total) // 4
        _accumulate(nodes, block, d, a[0], b[0], c[0], e[0], total, 0)
        _accumulate(nodes, block, d, a[1], b[1], c[1], e[1], total, size)
        _accumulate(nodes, block, d, a[2], b[2], c[2], e[2], total, 2 * size)
        _accumulate(nodes, block, d, a[3], b[3], c[3], e[3], total, 3 * size)

    return whole if in_one_piece() else by_quarters


def pack_nodes(x: Array, dtype: Any) -> Array:
    """Rows of x[n, d] as blocks [ceil(n / NODES)][d][NODES], flat; missing rows are zero."""
    n, d = x.shape
    blocks = -(-n // NODES)
    padded = np.zeros((blocks * NODES, d), dtype)
    padded[:n] = x
    return np.ascontiguousarray(padded.reshape(blocks, NODES, d).transpose(0, 2, 1)).reshape(-1)
