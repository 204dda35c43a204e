"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011) and Box-Muller.

A number is a function of (seed, stream, replica, step, component, particle) and of nothing else, so that a run does not
depend on how it was cut among threads, processes, restarts or array widths. The key is the seed; the four counter words
are particle, (kind, stream, component // 2), step and replica. One evaluation gives 128 bits: two uniform or normal
numbers, for the components 2g and 2g + 1 of one particle.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core.elementary import HELPER, KERNEL, cosine_of_turn, logarithm, sine_of_turn
from mfpde.core.vector import of_bits

Array = NDArray[np.float64]
Word = np.uint64

INITIAL, BROWNIAN, DATA = 0, 1, 2

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_STREAM_SHIFT = 24  # component pairs below 2^24, streams below 2^7, one bit for the kind
# Kinds of number; typed, since Numba would compile one more version for each literal.
_UNIFORM = np.int64(0)
_NORMAL = np.int64(1 << 31)


@njit(**HELPER)
def _round(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, Word, Word, Word]:
    first = _MULTIPLIER_0 * c0
    second = _MULTIPLIER_1 * c2
    return (second >> _HALF) ^ c1 ^ k0, second & _MASK, (first >> _HALF) ^ c3 ^ k1, first & _MASK


@njit(**HELPER)
def philox(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, Word, Word, Word]:
    """Ten rounds of Philox4x32 on four counter words and two key words, each below 2^32 in a uint64."""
    for _ in range(9):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = (k0 + _WEYL_0) & _MASK, (k1 + _WEYL_1) & _MASK
    return _round(c0, c1, c2, c3, k0, k1)


@njit(**HELPER)
def _unit(high: Word, low: Word) -> float:
    """(k + 1/2) 2^-52 with k the upper 52 of 64 bits: the open interval (0, 1), symmetric, exact."""
    bits = (high << np.uint64(20)) | (low >> np.uint64(12))
    return of_bits(np.int64(bits | np.uint64(0x3FF0000000000000))) - (1.0 - 2.0**-53)


@njit(**KERNEL)
def _fill(seed: int, stream: int, replica: int, step: int, kind: int, out: Array) -> None:
    count = out.shape[1]
    key = np.uint64(seed)
    k0, k1 = key & _MASK, key >> _HALF
    c2, c3 = np.uint64(step) & _MASK, np.uint64(replica) & _MASK
    spare = np.empty(count if out.shape[0] % 2 == 1 else 0)
    for pair in range((out.shape[0] + 1) // 2):
        c1 = np.uint64(pair + (stream << _STREAM_SHIFT) + kind)
        first = out[2 * pair]
        second = out[2 * pair + 1] if 2 * pair + 1 < out.shape[0] else spare
        if kind == _NORMAL:
            for i in range(count):
                w0, w1, w2, w3 = philox(np.uint64(i), c1, c2, c3, k0, k1)
                radius = math.sqrt(-2.0 * logarithm(_unit(w0, w1)))
                turn = _unit(w2, w3)
                first[i] = radius * cosine_of_turn(turn)
                second[i] = radius * sine_of_turn(turn)
        else:
            for i in range(count):
                w0, w1, w2, w3 = philox(np.uint64(i), c1, c2, c3, k0, k1)
                first[i] = _unit(w0, w1)
                second[i] = _unit(w2, w3)


@njit(**KERNEL)
def normals(seed: int, stream: int, replica: int, step: int, out: Array) -> None:
    """Standard normal numbers out[p, N]: entry (component, particle) of (seed, stream, replica, step).

    seed below 2^63, as a numpy uint64 below 2^64; stream one of INITIAL, BROWNIAN, DATA (below 2^7); replica, step and
    N below 2^32; p below 2^25.
    """
    _fill(seed, stream, replica, step, _NORMAL, out)


@njit(**KERNEL)
def uniforms(seed: int, stream: int, replica: int, step: int, out: Array) -> None:
    """Uniform numbers on the open interval (0, 1), indexed as in normals and independent of those."""
    _fill(seed, stream, replica, step, _UNIFORM, out)
