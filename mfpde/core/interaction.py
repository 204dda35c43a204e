"""Network values on the data and what the data send back to the parameters: the two halves of the interaction.

    predict    f_q = sum_i mass_i a_i sigma(w_i . x_q + b_i)
    pullback   grad_i of sum_q r_q a_i sigma(w_i . x_q + b_i)

Parameters are stored by component, theta[d + 2, N]: row 0 = a, rows 1..d = w, row d + 1 = b. Nothing of the size N n
is stored; precision, threads and ranks as in core.passes, whose kernels these are but for potential and features.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mfpde.core.activations import series as parameters_of
from mfpde.core.activations import value_and_slope
from mfpde.core.compilation import kernel
from mfpde.core.passes import (
    BLOCKS,
    DTYPES,
    NOTHING,
    Array,
    Keeping,
    Kernel,
    Packed,
    Precision,
    carry_forward,
    each_span,
    equal_masses,
    pull_back,
)
from mfpde.core.ranks import Share
from mfpde.core.tiles import NODES, pack, pack_nodes, project, spread_block, workspace
from mfpde.core.transfers import filled, lanes, load, store
from mfpde.core.vector import fma


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


def _average(kernel: Kernel, code: int, hermite: Array, theta: Array, x: Array, factor: Array, out: Array) -> None:
    """Run a feature kernel on x[n, T, d], an average padded to whole blocks of zero factor."""
    n, angles, d = x.shape
    whole = -(-angles // NODES) * NODES if angles > 1 else 1
    points, padded = np.zeros((n, whole, d)), np.zeros(-(-n * whole // NODES) * NODES)
    points[:, :angles] = x
    padded[: n * whole].reshape(n, whole)[:, :angles] = factor
    kernel(parameters_of(code, hermite), theta, pack_nodes(points.reshape(-1, d), np.float64), padded, n, out)
