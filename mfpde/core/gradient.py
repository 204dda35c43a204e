"""Both halves of the interaction in one go: what a neuron answered on the way to the data serves on the way back too.

    f_q = (1/N) sum_i a_i sigma(z_iq),    z_iq = w_i . x_q + b_i,    out_i = grad_i of sum_q r_q a_i sigma(z_iq)

with r = residual(f). The values sigma(z_iq) are kept from the first pass to the second, which for activations that tell
their slope by their value needs neither w nor z again: a quarter to a half of the arithmetic. Small networks keep them
in a near cache, several replicas after the other; large ones stream them through memory where this costs less than
another evaluation. The results have the same bits either way, and for any number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from mfpde.core import interaction
from mfpde.core.activations import FROM_VALUE, OPERATIONS, slope_of_value, value_and_slope
from mfpde.core.activations import series as parameters_of
from mfpde.core.compilation import kernel
from mfpde.core.interaction import BLOCKS, DTYPES, Array, Kernel, Packed, Precision, each_span
from mfpde.core.tiles import (
    NODES,
    accumulate_outer,
    add_to,
    clear,
    load_product,
    pack,
    pack_nodes,
    project,
    spread_block,
    workspace,
    write,
    write_products,
)
from mfpde.core.vector import CACHE_LINE, SUMS, add_product, fma, lanes, load, prefetch, store, stream

NEAR = 1 << 20  # bytes that replicas computed together may keep: they stay in the cache of their core
LARGEST = 1 << 30  # bytes that a single network may keep
# Operations per value that keeping it must spare, in a cache and beyond; measured: a value costs 16 bytes of traffic,
# which overlap with the arithmetic as long as there is enough of it (benchmarks/interaction.py)
WORTH_NEAR, WORTH_FAR = 16, 40
FURTHEST = 16  # blocks of nodes between a number's request and its use


class Room:
    """Memory for what is kept between the passes, one piece per thread; it lives as long as its owner."""

    def __init__(self) -> None:
        self._local = threading.local()

    def of(self, size: int, dtype: Any) -> Packed:
        """``size`` bytes of uninitialised numbers that start on a cache line."""
        needed = size + CACHE_LINE
        held = getattr(self._local, "bytes", None)
        if held is None or held.nbytes < needed:
            self._local.bytes = held = np.empty(needed, np.uint8)
        skip = -held.ctypes.data % CACHE_LINE
        return held[skip : skip + size].view(dtype)


def kept_bytes(code: int, replicas: int, neurons: int, nodes: int, inputs: int, precision: Precision = "double") -> int:
    """Bytes that ``gradient_batch`` of this size holds between the passes; 0 where it evaluates twice instead."""
    at_once = _replicas_at_once(code, neurons, nodes, inputs, precision)
    return min(at_once, replicas) * _bytes(neurons, nodes, precision)


def _bytes(neurons: int, nodes: int, precision: Precision) -> int:
    """Of the values of one network, padded to whole vectors and blocks."""
    like = np.empty(0, DTYPES[precision])
    return -(-neurons // lanes(like)) * lanes(like) * -(-nodes // NODES) * NODES * like.itemsize


def _replicas_at_once(code: int, neurons: int, nodes: int, inputs: int, precision: Precision) -> int:
    size = _bytes(neurons, nodes, precision)
    spared = OPERATIONS[code] + (2 * inputs if code in FROM_VALUE else 0)
    if size > LARGEST or spared < (WORTH_NEAR if size <= NEAR else WORTH_FAR):
        return 0
    return max(1, NEAR // size)


def gradient_batch(
    code: int,
    hermite: Array,
    theta: Array,
    x: Array,
    residual: Callable[[Array], Array],
    out: Array,
    room: Room,
    precision: Precision = "double",
) -> None:
    """interaction.pullback_batch of residual(predict_batch): theta, out [R, d + 2, N], x [n, d].

    ``residual`` maps networks [R', n] to r [R', n], for some replicas at a time and each on its own.
    """
    (replicas, _, neurons), (n, d) = theta.shape, x.shape
    group = _replicas_at_once(code, neurons, n, d, precision)
    if group == 0:
        f = np.empty((replicas, n))
        interaction.predict_batch(code, hermite, theta, x, f, precision)
        interaction.pullback_batch(code, hermite, theta, x, residual(f), out, precision)
        return
    dtype = DTYPES[precision]
    size = _bytes(neurons, n, precision)
    streams = size > NEAR
    nodes, series = pack_nodes(x, dtype), parameters_of(code, hermite)
    mass = np.full(neurons, 1.0 / neurons)
    for first in range(0, replicas, group):
        some = slice(first, min(first + group, replicas))
        kept = room.of((some.stop - first) * size, dtype)
        f = _predict(code, series, theta[some], mass, nodes, n, kept, streams)
        padded = np.zeros((some.stop - first, nodes.size // max(1, d)), dtype)
        padded[:, :n] = residual(f)
        _pull(code, series, theta[some], nodes, padded, n, kept, out[some])


def _predict(
    code: int, series: Array, theta: Array, mass: Array, nodes: Packed, n: int, kept: Packed, streams: bool
) -> Array:
    sums = nodes.size // (theta.shape[1] - 2) * SUMS
    run = _forward(code)

    def part(span: tuple[int, int]) -> Array:
        partial = np.empty((len(theta), n))
        run(series, theta, mass, nodes, *span, np.empty(sums), kept, streams, partial)
        return partial

    total, *rest = each_span(theta.shape[2], len(theta) * n, part)
    for partial in rest:
        total += partial
    return np.asarray(total)


def _pull(code: int, series: Array, theta: Array, nodes: Packed, r: Packed, n: int, kept: Packed, out: Array) -> None:
    run = _backward(code)
    each_span(theta.shape[2], len(theta) * n, lambda span: run(series, theta, nodes, r, *span, kept, out))


@cache
def _forward(code: int) -> Kernel:
    @kernel
    def forward(
        series: Array,
        theta: Array,
        mass: Array,
        nodes: Packed,
        start: int,
        stop: int,
        sums: Array,
        kept: Packed,
        streams: bool,
        out: Array,
    ) -> None:
        """out[R, n] of the particles start .. stop - 1 of theta[R, d + 2, N], and what is kept of them."""
        d = theta.shape[1] - 2
        width, n = lanes(nodes), out.shape[1]
        blocks = nodes.shape[0] // (d * NODES)
        vectors = (theta.shape[2] + width - 1) // width
        weights = workspace((d + 1) * width, nodes)
        amplitude = workspace(width, nodes)
        for replica in range(theta.shape[0]):
            clear(sums)
            outer, hidden = theta[replica, 0], theta[replica, 1:]
            for first in range(start, stop, width):
                pack(hidden, first, width, weights)
                a = load_product(nodes, mass, outer, first, min(width, stop - first), amplitude)
                b = load(weights, d * width)
                at = (replica * vectors + first // width) * blocks * NODES * width
                for block in range(blocks):
                    z0, z1, z2, z3 = project(weights, nodes, block, d, b)
                    v0 = value_and_slope(code, series, z0)[0]
                    v1 = value_and_slope(code, series, z1)[0]
                    v2 = value_and_slope(code, series, z2)[0]
                    v3 = value_and_slope(code, series, z3)[0]
                    to = block * NODES * SUMS
                    add_product(sums, to, a, v0)
                    add_product(sums, to + SUMS, a, v1)
                    add_product(sums, to + 2 * SUMS, a, v2)
                    add_product(sums, to + 3 * SUMS, a, v3)
                    if streams:
                        stream(kept, at, v0)
                        stream(kept, at + width, v1)
                        stream(kept, at + 2 * width, v2)
                        stream(kept, at + 3 * width, v3)
                    else:
                        store(kept, at, v0)
                        store(kept, at + width, v1)
                        store(kept, at + 2 * width, v2)
                        store(kept, at + 3 * width, v3)
                    at += NODES * width
            for q in range(n):
                s = sums[q * SUMS : (q + 1) * SUMS]
                out[replica, q] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))

    return forward


@cache
def _backward(code: int) -> Kernel:
    tells = code in FROM_VALUE

    @kernel
    def backward(
        series: Array, theta: Array, nodes: Packed, r: Packed, start: int, stop: int, kept: Packed, out: Array
    ) -> None:
        """out[R, d + 2, N] at the particles start .. stop - 1 from the kept values; r[R, blocks NODES]."""
        d = theta.shape[1] - 2
        width = lanes(nodes)
        blocks = nodes.shape[0] // (d * NODES)
        vectors = (theta.shape[2] + width - 1) // width
        weights = workspace((d + 1) * width, nodes)
        # rows: w_1 .. w_d, b, a
        stretch = workspace((d + 2) * width, nodes)
        gradient = workspace((d + 2) * width, theta)
        row_b, row_a = d * width, (d + 1) * width
        for replica in range(theta.shape[0]):
            outer, hidden, factor, result = theta[replica, 0], theta[replica, 1:], r[replica], out[replica]
            for first in range(start, stop, width):
                count = min(width, stop - first)
                if not tells:
                    pack(hidden, first, width, weights)
                clear(gradient)
                at = (replica * vectors + first // width) * blocks * NODES * width
                for begin in range(0, blocks, BLOCKS):
                    clear(stretch)
                    for block in range(begin, min(begin + BLOCKS, blocks)):
                        r0, r1, r2, r3 = spread_block(factor, block)
                        for k in range(NODES):
                            prefetch(kept, at + (FURTHEST * NODES + k) * width)
                        v0, v1 = load(kept, at), load(kept, at + width)
                        v2, v3 = load(kept, at + 2 * width), load(kept, at + 3 * width)
                        at += NODES * width
                        value = fma(r3, v3, fma(r2, v2, fma(r1, v1, fma(r0, v0, load(stretch, row_a)))))
                        store(stretch, row_a, value)
                        if tells:
                            s0, s1 = slope_of_value(code, v0), slope_of_value(code, v1)
                            s2, s3 = slope_of_value(code, v2), slope_of_value(code, v3)
                        else:
                            z0, z1, z2, z3 = project(weights, nodes, block, d, load(weights, row_b))
                            s0, s1 = value_and_slope(code, series, z0)[1], value_and_slope(code, series, z1)[1]
                            s2, s3 = value_and_slope(code, series, z2)[1], value_and_slope(code, series, z3)[1]
                        s0, s1, s2, s3 = r0 * s0, r1 * s1, r2 * s2, r3 * s3
                        store(stretch, row_b, load(stretch, row_b) + ((s0 + s1) + (s2 + s3)))
                        accumulate_outer(nodes, block, d, s0, s1, s2, s3, stretch)
                    add_to(gradient, stretch)
                write(gradient, row_a, first, count, result[0])
                for k in range(d + 1):
                    write_products(outer, gradient, k * width, first, count, result[k + 1])

    return backward
