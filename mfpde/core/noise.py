"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011), uniform or normal.

A number is a function of (seed, stream, replica, step, component, particle) and of nothing else, so that a run does not
depend on how it was cut among threads, processes, restarts or array widths. The key is the seed; the four counter words
are step, particle, (kind, stream, component // 2) and replica. One evaluation gives 128 bits: two uniform or normal
numbers, for the components 2g and 2g + 1 of one particle. The lanes of a vector are consecutive particles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from mfpde.core import parallel
from mfpde.core.box_muller import box_muller, unit
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.transfers import lanes, load, store
from mfpde.core.vector import LANES, bits_of

Array = NDArray[np.float64]

INITIAL, BROWNIAN, DATA = 0, 1, 2

_MASK = 0xFFFFFFFF
_MULTIPLIER_0 = 0xD2511F53
_MULTIPLIER_1 = 0xCD9E8D57
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_STREAM_SHIFT = 24  # component pairs below 2^24, streams below 2^7, one bit for the kind
_UNIFORM = 0
_NORMAL = 1 << 31
_WIDTH = LANES[types.float64]
LANE_NUMBERS = np.arange(_WIDTH, dtype=np.int64).view(np.float64)
# numbers per thread below which handing them over costs more than it saves, about 0.15 ms
_SHARE = 1 << 18


@njit(**HELPER)
def _products(c0: Any, c2: Any) -> tuple[Any, Any]:
    return (c0 & _MASK) * _MULTIPLIER_0, (c2 & _MASK) * _MULTIPLIER_1


@njit(**HELPER)
def _round(c0: Any, c1: Any, c2: Any, c3: Any, k0: int, k1: int) -> tuple[Any, Any, Any, Any]:
    p, q = _products(c0, c2)
    return (q >> 32) ^ c1 ^ k0, q, (p >> 32) ^ c3 ^ k1, p


@njit(**HELPER)
def _three_rounds(c0: Any, c1: Any, c2: Any, c3: Any, k0: int, k1: int) -> tuple[Any, Any, Any, Any]:
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + _WEYL_0, k1 + _WEYL_1)
    return _round(c0, c1, c2, c3, k0 + 2 * _WEYL_0, k1 + 2 * _WEYL_1)


@njit(**HELPER)
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: int, k1: int) -> tuple[Any, Any]:
    """Ten rounds of Philox4x32 on the low halves of four counter and two key words, each int64 or a vector of int64.

    Returns the result x as (2^32 x_0 + x_1, 2^32 x_2 + x_3). Upper halves are never cleared on the way: a product takes
    the lower half of its operand, and the last two products are the result but for an exclusive or. Not a loop, which
    LLVM would leave rolled; and what the first rounds do to words that all lanes share is done once.
    """
    c0, c1, c2, c3 = _three_rounds(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3 = _three_rounds(c0, c1, c2, c3, k0 + 3 * _WEYL_0, k1 + 3 * _WEYL_1)
    c0, c1, c2, c3 = _three_rounds(c0, c1, c2, c3, k0 + 6 * _WEYL_0, k1 + 6 * _WEYL_1)
    p, q = _products(c0, c2)
    return q ^ ((c1 ^ (k0 + 9 * _WEYL_0)) << 32), p ^ ((c3 ^ (k1 + 9 * _WEYL_1)) << 32)


@kernel
def _fill(k0: int, k1: int, step: int, label: int, replica: int, first: int, out: Array, start: int, stop: int) -> None:
    """Columns start .. stop - 1 of out[R, p, N], N at least one vector: column i is the particle first + i."""
    width = lanes(out)
    replicas, components, columns = out.shape
    for r in range(replicas):
        for pair in range((components + 1) // 2):
            # A last component without partner gives its row to both: what is written first is lost.
            x, y = out[r, 2 * pair], out[r, min(2 * pair + 1, components - 1)]
            for block in range((stop - start + width - 1) // width):
                # The last vector may overlap its neighbour and write the same bits again: a number knows its particle.
                i = min(start + block * width, columns - width)
                particle = bits_of(load(LANE_NUMBERS, 0)) + (first + i)
                a, b = philox(step, particle, label + pair, replica + r, k0, k1)
                if label >= _NORMAL:
                    u, v = box_muller(a, b)
                else:
                    u, v = unit(a), unit(b)
                store(y, i, v)
                store(x, i, u)


@kernel
def _fill_steps(k0: int, k1: int, step: int, label: int, replica: int, out: Array) -> None:
    """out[components, particles, steps], steps whole vectors: column k is the step ``step`` + k of one replica."""
    components, particles, steps = out.shape
    for pair in range((components + 1) // 2):
        for particle in range(particles):
            # as in _fill: a last component without partner is written twice
            x, y = out[2 * pair, particle], out[min(2 * pair + 1, components - 1), particle]
            for first in range(0, steps, lanes(out)):
                counter = bits_of(load(LANE_NUMBERS, 0)) + (step + first)
                a, b = philox(counter, particle, label + pair, replica, k0, k1)
                if label >= _NORMAL:
                    u, v = box_muller(a, b)
                else:
                    u, v = unit(a), unit(b)
                store(y, first, v)
                store(x, first, u)


def _draw_steps(kind: int, seed: int | np.uint64, stream: int, replica: int, step: int, out: Array) -> None:
    steps = out.shape[2]
    whole = -(-steps // _WIDTH) * _WIDTH
    numbers = out if whole == steps and out.flags.c_contiguous else np.empty((*out.shape[:2], whole))
    key = int(seed)
    _fill_steps(key & _MASK, key >> 32, step, kind + (stream << _STREAM_SHIFT), replica, numbers)
    if numbers is not out:
        out[...] = numbers[..., :steps]


def _draw(kind: int, seed: int | np.uint64, stream: int, replica: int, step: int, out: Array, first: int) -> None:
    columns = out.shape[-1]
    if columns < _WIDTH or not out.flags.c_contiguous or out.dtype != np.float64:
        plain = np.empty((*out.shape[:-1], max(columns, _WIDTH)))
        _draw(kind, seed, stream, replica, step, plain, first)
        out[...] = plain[..., :columns]
        return
    key = int(seed)
    address = (key & _MASK, key >> 32, step, kind + (stream << _STREAM_SHIFT), replica, first)
    numbers = out if out.ndim == 3 else out[None]
    if out.size < 2 * _SHARE:
        _fill(*address, numbers, 0, columns)
        return
    pieces = parallel.spans(columns, parallel.size(), _WIDTH, _SHARE * columns // out.size)
    parallel.collect(lambda piece: _fill(*address, numbers, *piece), pieces)


def normals(seed: int | np.uint64, stream: int, replica: int, step: int, out: Array, first: int = 0) -> None:
    """Standard normal numbers out[p, N] of a replica, or out[R, p, N] of R replicas from ``replica`` on.

    A row is a component, column i the particle ``first`` + i. seed below 2^64; stream one of INITIAL, BROWNIAN, DATA
    (below 2^7); replica, step and particle below 2^32; p below 2^25. The team of core.parallel shares wide arrays.
    """
    _draw(_NORMAL, seed, stream, replica, step, out, first)


def uniforms(seed: int | np.uint64, stream: int, replica: int, step: int, out: Array, first: int = 0) -> None:
    """Uniform numbers on the open interval (0, 1), indexed as in normals and independent of those."""
    _draw(_UNIFORM, seed, stream, replica, step, out, first)


def normals_by_step(seed: int | np.uint64, stream: int, replica: int, step: int, out: Array) -> None:
    """The numbers of ``normals`` for many steps at once: out[components, particles, steps], from ``step`` on."""
    _draw_steps(_NORMAL, seed, stream, replica, step, out)


def uniforms_by_step(seed: int | np.uint64, stream: int, replica: int, step: int, out: Array) -> None:
    """The numbers of ``uniforms`` for many steps at once, indexed as in ``normals_by_step``."""
    _draw_steps(_UNIFORM, seed, stream, replica, step, out)


def normal_address(seed: int | np.uint64, stream: int) -> tuple[int, int, int]:
    """(k0, k1, label) for kernels that draw for themselves: philox(step, particle, label + pair, replica, k0, k1)."""
    key = int(seed)
    return key & _MASK, key >> 32, _NORMAL + (stream << _STREAM_SHIFT)
