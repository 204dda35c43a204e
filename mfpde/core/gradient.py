"""Both halves of the interaction in one go: what a neuron answered on the way to the data serves on the way back too.

    f_q = (1/N) sum_i a_i sigma(z_iq),    z_iq = w_i . x_q + b_i,    out_i = grad_i of sum_q r_q a_i sigma(z_iq)

with r = residual(f). The values sigma(z_iq) are kept from the first pass to the second, which for activations that tell
their slope by their value needs neither w nor z again: a quarter to a half of the arithmetic. Where the value does not
tell it, the slopes are kept as well if there are many inputs. Small networks keep in a near cache, several replicas
after the other; large ones stream through memory where this costs less than another evaluation. The results have the
same bits either way, and for any number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from mfpde.core import interaction
from mfpde.core.activations import FROM_VALUE, OPERATIONS, SLOPE_OPERATIONS
from mfpde.core.activations import series as parameters_of
from mfpde.core.compilation import CACHE_LINE
from mfpde.core.passes import (
    DTYPES,
    FAR,
    NEAR,
    NOTHING,
    Array,
    Keeping,
    Packed,
    Precision,
    carry_forward,
    equal_masses,
    pull_back,
)
from mfpde.core.ranks import Share
from mfpde.core.tiles import NODES, pack_nodes
from mfpde.core.transfers import in_one_piece, lanes

NEAR_CACHE = 1 << 20  # bytes that replicas computed together may keep: they stay in the cache of their core
LARGEST = 1 << 30  # bytes that a single network may keep
# Operations that cost as much as keeping a number, in a cache and beyond, each with registers of 512 bits and of 256.
# Measured: 16 bytes of traffic overlap with the arithmetic as long as there is enough of it (benchmarks/interaction.py)
COST_NEAR, COST_FAR = (16, 8), (40, 20)


class Room:
    """What calls of ``gradient_batch`` need again, one piece per thread; it lives as long as its owner."""

    def __init__(self) -> None:
        self._local = threading.local()

    def of(self, size: int, dtype: Any) -> Packed:
        """``size`` bytes of uninitialised numbers that start on a cache line, for what is kept between the passes."""
        needed = size + CACHE_LINE
        held = getattr(self._local, "bytes", None)
        if held is None or held.nbytes < needed:
            self._local.bytes = held = np.empty(needed, np.uint8)
        skip = -held.ctypes.data % CACHE_LINE
        return held[skip : skip + size].view(dtype)

    def masses(self, theta: Array, share: Share | None) -> Array:
        """``equal_masses``, made once for calls of one size: one thread alone would make them for a wide network."""
        wanted = theta.shape[-1], None if share is None else share.width
        if getattr(self._local, "sizes", None) != wanted:
            self._local.sizes, self._local.masses = wanted, equal_masses(theta, share)
        return np.asarray(self._local.masses)


def kept_bytes(code: int, replicas: int, neurons: int, nodes: int, inputs: int, precision: Precision = "double") -> int:
    """Bytes that ``gradient_batch`` of this size holds between the passes; 0 where it evaluates twice instead."""
    keeping, size = _keeping(code, neurons, nodes, inputs, precision)
    return min(_at_once(keeping, size), replicas) * size


def _keeping(code: int, neurons: int, nodes: int, inputs: int, precision: Precision) -> tuple[Keeping, int]:
    """What is worth keeping of one network, and its bytes, padded to whole vectors and blocks."""
    like = np.empty(0, DTYPES[precision])
    size = -(-neurons // lanes(like)) * lanes(like) * -(-nodes // NODES) * NODES * like.itemsize
    value, slope, projection = OPERATIONS[code], SLOPE_OPERATIONS.get(code, 0), 2 * inputs
    tells = code in FROM_VALUE
    # (numbers kept, operations of the way back): nothing, values, values and slopes
    choices = [(0, value + slope + projection), (1, 0 if tells else slope + projection), (2, 0)]
    narrow = int(not in_one_piece())
    found, least = (Keeping(NOTHING), 0), float(choices[0][1])
    for count, again in choices[1 : 2 if tells else 3]:
        where = NEAR if count * size <= NEAR_CACHE else FAR
        cost = again + count * (COST_NEAR if where == NEAR else COST_FAR)[narrow]
        if count * size <= LARGEST and cost <= least:
            found, least = (Keeping(where, slopes=count == 2), count * size), cost
    return found


def _at_once(keeping: Keeping, size: int) -> int:
    """Replicas that are computed together."""
    return 0 if keeping.where == NOTHING else max(1, NEAR_CACHE // max(1, size))


def gradient_batch(
    code: int,
    hermite: Array,
    theta: Array,
    x: Array,
    residual: Callable[[Array], Array],
    out: Array,
    room: Room,
    precision: Precision = "double",
    share: Share | None = None,
) -> None:
    """interaction.pullback_batch of residual(predict_batch): theta, out [R, d + 2, N], x [n, d].

    ``residual`` maps networks [R', n] to r [R', n], for some replicas at a time and each on its own.  With a ``share``
    theta and out are those of its particles, R = 1: how many replicas go at once depends on the number of particles,
    and the ranks would not make the same exchanges.
    """
    (replicas, _, neurons), (n, d) = theta.shape, x.shape
    keeping, size = _keeping(code, neurons, n, d, precision)
    if keeping.where == NOTHING:
        f = np.empty((replicas, n))
        interaction.predict_batch(code, hermite, theta, x, f, precision, share)
        interaction.pullback_batch(code, hermite, theta, x, residual(f), out, precision)
        return
    dtype, group = DTYPES[precision], _at_once(keeping, size)
    nodes, series = pack_nodes(x, dtype), parameters_of(code, hermite)
    mass = room.masses(theta, share)
    for first in range(0, replicas, group):
        some = slice(first, min(first + group, replicas))
        kept = room.of((some.stop - first) * size, dtype)
        f = carry_forward(code, series, theta[some], mass, nodes, n, kept, keeping, share)
        pull_back(code, series, theta[some], nodes, residual(f), kept, keeping, out[some], share)
