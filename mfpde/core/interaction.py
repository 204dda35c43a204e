"""Network values on the data and what the data send back to the parameters: the two halves of the interaction.

    predict    f_q = sum_i mass_i a_i sigma(w_i . x_q + b_i)
    pullback   grad_i of sum_q r_q a_i sigma(w_i . x_q + b_i)

Parameters are stored by component, theta[d + 2, N]: row 0 = a, rows 1..d = w, row d + 1 = b. One vector of particles
meets the data NODES at a time; values of size N n are stored for core.gradient alone. In single precision z, sigma and
the sums over a vector or a stretch of BLOCKS blocks of nodes are single; parameters, results and the sums over those
are double.

Results are the same bits for any number of threads: particles are cut into spans by their number alone, a span owns
what it writes, and the partial predictions of the spans are added in their order. With a ``share`` the particles are
those of one rank (core.ranks), and the partial predictions are exchanged: again the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core import parallel
from mfpde.core.activations import FROM_VALUE, slope_of_value, value_and_slope
from mfpde.core.activations import series as parameters_of
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.ranks import Share, network_spans
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
from mfpde.core.vector import SUMS, add_product, filled, fma, lanes, load, prefetch, store, stream

Array = NDArray[np.float64]
Packed = NDArray[Any]
Kernel = Callable[..., None]
Precision = Literal["double", "single"]

DTYPES: dict[str, Any] = {"double": np.float64, "single": np.float32}
BLOCKS = 64
# where the kernels keep: nowhere, through the caches, past them
NOTHING, NEAR, FAR = 0, 1, 2
AHEAD = 32  # vectors between the request of what was kept and its use
_WORTH_THREADS = 100_000  # pairs; below, starting a thread costs as much


class Keeping(NamedTuple):
    """What stays between the passes: the values of the activation near or far, and its slopes with them or not."""

    where: int
    slopes: bool = False


@njit(**HELPER)
def _put(kept: Packed, at: int, keeps: int, number: Any) -> None:
    """A vector to kept[at:], through the caches or past them."""
    if keeps == NEAR:
        store(kept, at, number)
    else:
        stream(kept, at, number)


@njit(**HELPER)
def _take(kept: Packed, at: int) -> Any:
    """The vectors of one block from kept[at:]."""
    width = lanes(kept)
    return load(kept, at), load(kept, at + width), load(kept, at + 2 * width), load(kept, at + 3 * width)


@njit(**HELPER)
def _ask(kept: Packed, at: int, count: int) -> None:
    """Request vectors from kept[at:] on."""
    for k in range(count):
        prefetch(kept, at + k * lanes(kept))


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
        keeps: int,
        slopes: bool,
        out: Array,
    ) -> None:
        """out[R, n] of the particles start .. stop - 1 of theta[R, d + 2, N]; sums is scratch.

        keeps NEAR or FAR: the values of the activation go to kept[replica][vector][block], through the caches or past,
        after those of a block its ``slopes``.
        """
        d = theta.shape[1] - 2
        width, n = lanes(nodes), out.shape[1]
        blocks = nodes.shape[0] // (d * NODES)
        stride = (2 if slopes else 1) * NODES * width
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
                at = (replica * vectors + first // width) * blocks * stride
                for block in range(blocks):
                    z0, z1, z2, z3 = project(weights, nodes, block, d, b)
                    to = block * NODES * SUMS
                    if keeps == NOTHING:
                        add_product(sums, to, a, value_and_slope(code, series, z0)[0])
                        add_product(sums, to + SUMS, a, value_and_slope(code, series, z1)[0])
                        add_product(sums, to + 2 * SUMS, a, value_and_slope(code, series, z2)[0])
                        add_product(sums, to + 3 * SUMS, a, value_and_slope(code, series, z3)[0])
                        continue
                    v0, s0 = value_and_slope(code, series, z0)
                    _put(kept, at, keeps, v0)
                    if slopes:
                        _put(kept, at + NODES * width, keeps, s0)
                    add_product(sums, to, a, v0)
                    v1, s1 = value_and_slope(code, series, z1)
                    _put(kept, at + width, keeps, v1)
                    if slopes:
                        _put(kept, at + (NODES + 1) * width, keeps, s1)
                    add_product(sums, to + SUMS, a, v1)
                    v2, s2 = value_and_slope(code, series, z2)
                    _put(kept, at + 2 * width, keeps, v2)
                    if slopes:
                        _put(kept, at + (NODES + 2) * width, keeps, s2)
                    add_product(sums, to + 2 * SUMS, a, v2)
                    v3, s3 = value_and_slope(code, series, z3)
                    _put(kept, at + 3 * width, keeps, v3)
                    if slopes:
                        _put(kept, at + (NODES + 3) * width, keeps, s3)
                    add_product(sums, to + 3 * SUMS, a, v3)
                    at += stride
            for q in range(n):
                s = sums[q * SUMS : (q + 1) * SUMS]
                out[replica, q] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))

    return forward


@cache
def _backward(code: int) -> Kernel:
    tells = code in FROM_VALUE

    @kernel
    def backward(
        series: Array,
        theta: Array,
        nodes: Packed,
        r: Packed,
        start: int,
        stop: int,
        kept: Packed,
        keeps: int,
        slopes: bool,
        out: Array,
    ) -> None:
        """out[R, d + 2, N] at the particles start .. stop - 1; r[R, blocks NODES] of the type of the nodes.

        keeps NEAR or FAR: what ``forward`` kept is not evaluated again.
        """
        d = theta.shape[1] - 2
        width = lanes(nodes)
        blocks = nodes.shape[0] // (d * NODES)
        stride = (2 if slopes else 1) * NODES * width
        # misses in a row would fill the buffers of the core: a quarter of a block is asked for at a time
        quarter = stride // (4 * width) if keeps != NOTHING else 0
        evaluates = keeps == NOTHING or not (tells or slopes)
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
                if evaluates:
                    pack(hidden, first, width, weights)
                at = (replica * vectors + first // width) * blocks * stride
                clear(gradient)
                for begin in range(0, blocks, BLOCKS):
                    clear(stretch)
                    for block in range(begin, min(begin + BLOCKS, blocks)):
                        r0, r1, r2, r3 = spread_block(factor, block)
                        if keeps == NOTHING:
                            z0, z1, z2, z3 = project(weights, nodes, block, d, load(weights, row_b))
                            v0, s0 = value_and_slope(code, series, z0)
                            v1, s1 = value_and_slope(code, series, z1)
                            v2, s2 = value_and_slope(code, series, z2)
                            v3, s3 = value_and_slope(code, series, z3)
                        else:
                            v0, v1, v2, v3 = _take(kept, at)
                            if tells:
                                s0, s1 = slope_of_value(code, v0), slope_of_value(code, v1)
                                s2, s3 = slope_of_value(code, v2), slope_of_value(code, v3)
                            elif slopes:
                                s0, s1, s2, s3 = _take(kept, at + NODES * width)
                            else:
                                z0, z1, z2, z3 = project(weights, nodes, block, d, load(weights, row_b))
                                s0, s1 = value_and_slope(code, series, z0)[1], value_and_slope(code, series, z1)[1]
                                s2, s3 = value_and_slope(code, series, z2)[1], value_and_slope(code, series, z3)[1]
                            at += stride
                        ahead = at + AHEAD * width
                        _ask(kept, ahead, quarter)
                        value = fma(r3, v3, fma(r2, v2, fma(r1, v1, fma(r0, v0, load(stretch, row_a)))))
                        store(stretch, row_a, value)
                        _ask(kept, ahead + quarter * width, quarter)
                        s0, s1, s2, s3 = r0 * s0, r1 * s1, r2 * s2, r3 * s3
                        store(stretch, row_b, load(stretch, row_b) + ((s0 + s1) + (s2 + s3)))
                        _ask(kept, ahead + 2 * quarter * width, quarter)
                        accumulate_outer(nodes, block, d, s0, s1, s2, s3, stretch)
                        _ask(kept, ahead + 3 * quarter * width, quarter)
                    add_to(gradient, stretch)
                write(gradient, row_a, first, count, result[0])
                for k in range(d + 1):
                    write_products(outer, gradient, k * width, first, count, result[k + 1])

    return backward


@cache
def _potential(code: int) -> Kernel:
    @kernel
    def potential(series: Array, theta: Array, nodes: Packed, r: Packed, start: int, stop: int, out: Array) -> None:
        """out_i = sum_q r_q a_i sigma(w_i . x_q + b_i) at the particles start .. stop - 1; theta[d + 2, N], out[N]."""
        d = theta.shape[0] - 2
        width = lanes(nodes)
        blocks = nodes.shape[0] // (d * NODES)
        weights = workspace((d + 1) * width, nodes)
        stretch = workspace(width, nodes)
        for first in range(start, stop, width):
            pack(theta[1:], first, width, weights)
            b = load(weights, d * width)
            for i in range(min(width, stop - first)):
                out[first + i] = 0.0
            for begin in range(0, blocks, BLOCKS):
                total = filled(nodes, 0.0)
                for block in range(begin, min(begin + BLOCKS, blocks)):
                    z0, z1, z2, z3 = project(weights, nodes, block, d, b)
                    r0, r1, r2, r3 = spread_block(r, block)
                    total = fma(r0, value_and_slope(code, series, z0)[0], total)
                    total = fma(r1, value_and_slope(code, series, z1)[0], total)
                    total = fma(r2, value_and_slope(code, series, z2)[0], total)
                    total = fma(r3, value_and_slope(code, series, z3)[0], total)
                store(stretch, 0, total)
                for i in range(min(width, stop - first)):
                    out[first + i] += stretch[i]
            for i in range(min(width, stop - first)):
                out[first + i] *= theta[0, first + i]

    return potential


@cache
def _features(code: int, slope: bool, averaged: bool) -> Kernel:
    part = 1 if slope else 0

    @kernel
    def features(series: Array, theta: Array, nodes: Packed, factor: Packed, n: int, out: Array) -> None:
        """out_iq = sum_t factor_qt sigma(w_i . x_qt + b_i), or of its derivative: blocks of one q follow each other.

        Without an average a block holds NODES nodes q instead, the last block zeros.
        """
        d = theta.shape[0] - 2
        width = lanes(nodes)
        blocks = nodes.shape[0] // (d * NODES)
        weights = workspace((d + 1) * width, nodes)
        columns = workspace((n if averaged else blocks * NODES) * width, nodes)
        for first in range(0, theta.shape[1], width):
            pack(theta[1:], first, width, weights)
            b = load(weights, d * width)
            for block in range(0 if averaged else blocks):
                z0, z1, z2, z3 = project(weights, nodes, block, d, b)
                f0, f1, f2, f3 = spread_block(factor, block)
                at = block * NODES * width
                store(columns, at, f0 * value_and_slope(code, series, z0)[part])
                store(columns, at + width, f1 * value_and_slope(code, series, z1)[part])
                store(columns, at + 2 * width, f2 * value_and_slope(code, series, z2)[part])
                store(columns, at + 3 * width, f3 * value_and_slope(code, series, z3)[part])
            for q in range(n if averaged else 0):
                total = filled(nodes, 0.0)
                for block in range(q * (blocks // n), (q + 1) * (blocks // n)):
                    z0, z1, z2, z3 = project(weights, nodes, block, d, b)
                    f0, f1, f2, f3 = spread_block(factor, block)
                    total = fma(f0, value_and_slope(code, series, z0)[part], total)
                    total = fma(f1, value_and_slope(code, series, z1)[part], total)
                    total = fma(f2, value_and_slope(code, series, z2)[part], total)
                    total = fma(f3, value_and_slope(code, series, z3)[part], total)
                store(columns, q * width, total)
            for i in range(min(width, theta.shape[1] - first)):
                for q in range(n):
                    out[first + i, q] = columns[q * width + i]

    return features


def predict(
    code: int, hermite: Array, theta: Array, mass: Array, x: Array, out: Array, precision: Precision = "double"
) -> None:
    """out_q = sum_i mass_i a_i sigma(w_i . x_q + b_i); theta[d + 2, N], mass[N], x[n, d], out[n]."""
    _predict(code, hermite, theta[None], mass, x, out[None], precision)


def predict_batch(
    code: int,
    hermite: Array,
    theta: Array,
    x: Array,
    out: Array,
    precision: Precision = "double",
    share: Share | None = None,
) -> None:
    """Networks of R replicas: out[R, n] = predict of each theta[R, d + 2, N] with masses 1/N.

    With a ``share`` theta holds its particles alone, and out is that of the whole network.
    """
    _predict(code, hermite, theta, equal_masses(theta, share), x, out, precision, share)


def equal_masses(theta: Array, share: Share | None) -> Array:
    """1/N for every particle of theta[..., N], or of a share of N."""
    return np.full(theta.shape[-1], 1.0 / (theta.shape[-1] if share is None else share.width))


def pullback(
    code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array, precision: Precision = "double"
) -> None:
    """Gradient in theta_i of sum_q r_q a_i sigma(w_i . x_q + b_i): theta[d + 2, N], x[n, d], r[n], out[d + 2, N]."""
    pullback_batch(code, hermite, theta[None], x, r[None], out[None], precision)


def pullback_batch(
    code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array, precision: Precision = "double"
) -> None:
    """Pullbacks of R replicas: theta[R, d + 2, N], x[n, d], r[R, n], out[R, d + 2, N]."""
    dtype = DTYPES[precision]
    nodes, series = pack_nodes(x, dtype), parameters_of(code, hermite)
    pull_back(code, series, theta, nodes, r, np.empty(0, dtype), Keeping(NOTHING), out)


def potential(
    code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array, precision: Precision = "double"
) -> None:
    """out_i = sum_q r_q a_i sigma(w_i . x_q + b_i); theta[d + 2, N], x[n, d], r[n], out[N]."""
    dtype = DTYPES[precision]
    nodes, series = pack_nodes(x, dtype), parameters_of(code, hermite)
    padded = np.zeros(nodes.size // x.shape[1], dtype)
    padded[: len(r)] = r
    kernel = _potential(code)
    each_span(theta.shape[1], len(r), lambda span: kernel(series, theta, nodes, padded, *span, out))


def features(code: int, hermite: Array, theta: Array, x: Array, average: Array, out: Array) -> None:
    """out_iq = sum_t average_t sigma(w_i . x_qt + b_i), no a; theta[d + 2, N], x[n, T, d], average[T], out[N, n]."""
    _average(
        _features(code, False, x.shape[1] > 1), code, hermite, theta, x, np.broadcast_to(average, x.shape[:2]), out
    )


def features_derivative(code: int, hermite: Array, theta: Array, x: Array, average: Array, k: int, out: Array) -> None:
    """Derivative of features with respect to w_k (k < d) or b (k = d); shapes as in features."""
    factor = average * x[:, :, k] if k < x.shape[2] else np.broadcast_to(average, x.shape[:2])
    _average(_features(code, True, x.shape[1] > 1), code, hermite, theta, x, factor, out)


def _predict(
    code: int,
    hermite: Array,
    theta: Array,
    mass: Array,
    x: Array,
    out: Array,
    precision: Precision,
    share: Share | None = None,
) -> None:
    nodes, series = pack_nodes(x, DTYPES[precision]), parameters_of(code, hermite)
    out[...] = carry_forward(
        code, series, theta, mass, nodes, len(x), np.empty(0, DTYPES[precision]), Keeping(NOTHING), share
    )


def carry_forward(
    code: int,
    series: Array,
    theta: Array,
    mass: Array,
    nodes: Packed,
    n: int,
    kept: Packed,
    keeping: Keeping,
    share: Share | None = None,
) -> Array:
    """Networks theta[R, d + 2, N] on packed nodes : [R, n]; what is kept as in the kernel."""
    sums = nodes.size // (theta.shape[1] - 2) * SUMS
    run = _forward(code)

    def part(span: tuple[int, int]) -> Array:
        partial = np.empty((len(theta), n))
        run(series, theta, mass, nodes, *span, np.empty(sums), kept, *keeping, partial)
        return partial

    own = each_span(theta.shape[2], len(theta) * n, part, share)
    total, *rest = own if share is None else share.partials(own, (len(theta), n))
    for partial in rest:
        total += partial
    return np.asarray(total)


def pull_back(
    code: int,
    series: Array,
    theta: Array,
    nodes: Packed,
    r: Array,
    kept: Packed,
    keeping: Keeping,
    out: Array,
    share: Share | None = None,
) -> None:
    """Pullbacks of r[R, n] at packed nodes to out[R, d + 2, N]; what is kept as in the kernel."""
    padded = np.zeros((len(r), nodes.size // max(1, theta.shape[1] - 2)), nodes.dtype)
    padded[:, : r.shape[1]] = r
    run = _backward(code)
    each_span(theta.shape[2], r.size, lambda span: run(series, theta, nodes, padded, *span, kept, *keeping, out), share)


def each_span(
    particles: int, nodes: int, work: Callable[[tuple[int, int]], Any], share: Share | None = None
) -> list[Any]:
    """work((start, stop)) over the spans of the particles, by the team of this thread where it is worth one."""
    spans = network_spans(particles) if share is None else share.spans
    if particles * nodes < _WORTH_THREADS:
        return [work(span) for span in spans]
    return parallel.collect(work, spans)


def _average(kernel: Kernel, code: int, hermite: Array, theta: Array, x: Array, factor: Array, out: Array) -> None:
    """Run a feature kernel on x[n, T, d], an average padded to whole blocks of zero factor."""
    n, angles, d = x.shape
    whole = -(-angles // NODES) * NODES if angles > 1 else 1
    points, padded = np.zeros((n, whole, d)), np.zeros(-(-n * whole // NODES) * NODES)
    points[:, :angles] = x
    padded[: n * whole].reshape(n, whole)[:, :angles] = factor
    kernel(parameters_of(code, hermite), theta, pack_nodes(points.reshape(-1, d), np.float64), padded, n, out)
