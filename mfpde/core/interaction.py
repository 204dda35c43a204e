"""Network values on the data and what the data send back to the parameters: the two halves of the interaction.

Parameters are stored by component, theta[d + 2, N]: row 0 = a, rows 1..d = w, row d + 1 = b. The sum over parameters in
predict goes tile by tile into eight running sums: its rounding depends on the number of parameters alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core.activations import fill, fill_both, fill_slope
from mfpde.core.elementary import KERNEL
from mfpde.core.tiles import (
    AREA,
    BLOCK,
    LANES,
    TILE,
    accumulate,
    accumulate_outer,
    aligned,
    clear,
    combine,
    fold,
    load_tile,
    padded,
    unfold,
)

Array = NDArray[np.float64]

_VALUE = np.int64(-1)  # instead of a derivative; typed, since Numba would compile one more version for a literal


@njit(**KERNEL)
def predict(code: int, hermite: Array, theta: Array, mass: Array, x: Array, out: Array) -> None:
    """out_q = sum_i mass_i a_i sigma(w_i . x_q + b_i); theta[d + 2, N], mass[N], x[n, d], out[n]."""
    n, d = x.shape
    count = theta.shape[1]
    weights = aligned(padded(d + 1) * TILE)
    nodes = aligned(padded(d + 1) * BLOCK)
    amplitude = aligned(TILE)
    lanes = aligned((n + BLOCK - 1) * LANES)
    z = aligned(AREA)
    value = aligned(AREA)
    clear(lanes)
    for start in range(0, count, TILE):
        load_tile(theta[1:], start, weights)
        clear(amplitude)
        for i in range(min(TILE, count - start)):
            amplitude[i] = mass[start + i] * theta[0, start + i]
        for q in range(0, n, BLOCK):
            _load_nodes(x, q, nodes)
            combine(weights, nodes, z)
            fill(code, hermite, z, value)
            fold(amplitude, value, q, lanes)
    for q in range(n):
        out[q] = unfold(lanes, q)


@njit(**KERNEL)
def pullback(code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array) -> None:
    """Gradient in theta_i of sum_q r_q a_i sigma(w_i . x_q + b_i): theta[d + 2, N], x[n, d], r[n], out[d + 2, N]."""
    n, d = x.shape
    count = theta.shape[1]
    weights = aligned(padded(d + 1) * TILE)
    gradient = aligned(padded(d + 1) * TILE)
    nodes = aligned(padded(d + 1) * BLOCK)
    residual = np.empty(BLOCK)
    z = aligned(AREA)
    value = aligned(AREA)
    slope = aligned(AREA)
    total = aligned(TILE)
    for start in range(0, count, TILE):
        load_tile(theta[1:], start, weights)
        clear(gradient)
        clear(total)
        for q in range(0, n, BLOCK):
            _load_nodes(x, q, nodes)
            _load_residual(r, q, residual)
            combine(weights, nodes, z)
            fill_both(code, hermite, z, value, slope)
            accumulate(residual, value, total)
            accumulate_outer(residual, nodes, slope, gradient)
        width = min(TILE, count - start)
        for i in range(width):
            out[0, start + i] = total[i]
        for k in range(d + 1):
            row = gradient[k * TILE : (k + 1) * TILE]
            for i in range(width):
                out[k + 1, start + i] = theta[0, start + i] * row[i]


@njit(**KERNEL)
def potential(code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array) -> None:
    """out_i = sum_q r_q a_i sigma(w_i . x_q + b_i); theta[d + 2, N], x[n, d], r[n], out[N]."""
    n, d = x.shape
    count = theta.shape[1]
    weights = aligned(padded(d + 1) * TILE)
    nodes = aligned(padded(d + 1) * BLOCK)
    residual = np.empty(BLOCK)
    z = aligned(AREA)
    value = aligned(AREA)
    total = aligned(TILE)
    for start in range(0, count, TILE):
        load_tile(theta[1:], start, weights)
        clear(total)
        for q in range(0, n, BLOCK):
            _load_nodes(x, q, nodes)
            _load_residual(r, q, residual)
            combine(weights, nodes, z)
            fill(code, hermite, z, value)
            accumulate(residual, value, total)
        for i in range(min(TILE, count - start)):
            out[start + i] = theta[0, start + i] * total[i]


@njit(**KERNEL)
def predict_batch(code: int, hermite: Array, theta: Array, x: Array, out: Array) -> None:
    """Networks of R replicas: out[R, n] = predict of each theta[R, d + 2, N] with masses 1/N."""
    mass = np.empty(theta.shape[2])
    for i in range(mass.shape[0]):
        mass[i] = 1.0 / mass.shape[0]
    for replica in range(theta.shape[0]):
        predict(code, hermite, theta[replica], mass, x, out[replica])


@njit(**KERNEL)
def pullback_batch(code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array) -> None:
    """Pullbacks of R replicas: theta[R, d + 2, N], x[n, d], r[R, n], out[R, d + 2, N]."""
    for replica in range(theta.shape[0]):
        pullback(code, hermite, theta[replica], x, r[replica], out[replica])


@njit(**KERNEL)
def features(code: int, hermite: Array, theta: Array, x: Array, average: Array, out: Array) -> None:
    """out_iq = sum_t average_t sigma(w_i . x_qt + b_i), no a; theta[d + 2, N], x[n, T, d], average[T], out[N, n]."""
    _features(code, hermite, theta, x, average, _VALUE, out)


@njit(**KERNEL)
def features_derivative(code: int, hermite: Array, theta: Array, x: Array, average: Array, k: int, out: Array) -> None:
    """Derivative of features with respect to w_k (k < d) or b (k = d); shapes as in features."""
    _features(code, hermite, theta, x, average, k, out)


@njit(**KERNEL)
def _features(code: int, hermite: Array, theta: Array, x: Array, average: Array, k: int, out: Array) -> None:
    """Averages over t of sigma (k < 0) or of its derivative with respect to w_k or b (k = d)."""
    n, angles, d = x.shape
    count = theta.shape[1]
    points = x.reshape(n * angles, d)
    weights = aligned(padded(d + 1) * TILE)
    nodes = aligned(padded(d + 1) * BLOCK)
    z = aligned(AREA)
    value = aligned(AREA)
    total = aligned(TILE)
    clear(total)
    for start in range(0, count, TILE):
        load_tile(theta[1:], start, weights)
        width = min(TILE, count - start)
        for m in range(0, n * angles, BLOCK):
            _load_nodes(points, m, nodes)
            combine(weights, nodes, z)
            if k < 0:
                fill(code, hermite, z, value)
            else:
                fill_slope(code, hermite, z, value)
            for j in range(min(BLOCK, n * angles - m)):
                q = (m + j) // angles
                t = m + j - q * angles
                factor = average[t]
                if 0 <= k < d:
                    factor *= points[m + j, k]
                row = value[j * TILE : (j + 1) * TILE]
                for i in range(TILE):
                    total[i] += factor * row[i]
                if t == angles - 1:
                    for i in range(width):
                        out[start + i, q] = total[i]
                    clear(total)


@njit(**KERNEL)
def _load_nodes(x: Array, q: int, nodes: Array) -> None:
    """Nodes q .. q + BLOCK - 1 by component (the last one repeated beyond the end), with a one to multiply b."""
    n, d = x.shape
    clear(nodes)
    for j in range(BLOCK):
        row = min(q + j, n - 1)
        for k in range(d):
            nodes[k * BLOCK + j] = x[row, k]
        nodes[d * BLOCK + j] = 1.0


@njit(**KERNEL)
def _load_residual(r: Array, q: int, residual: Array) -> None:
    for j in range(BLOCK):
        residual[j] = r[q + j] if q + j < r.shape[0] else 0.0
