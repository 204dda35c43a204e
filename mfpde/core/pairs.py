"""Exact population interaction of particles under Gaussian inputs x ~ N(0, I_d), neurons without bias.

E[sigma(u.x) sigma(v.x)] is a function K(p, q, q') of p = u.v, q = |u|^2, q' = |v|^2. With t their angle and A = 1 + q:
  erf        (2/pi) asin(p / sqrt(A A'))                         (Williams 1998)
  relu       (sqrt(q q') sin t + (pi - t) p) / (2 pi)            (Cho and Saul 2009)
  sin        exp(-(q + q') / 2) sinh p
  quadratic  q q' + 2 p^2
  identity   p
  hermite    sum_k C_k(q) C_k(q') p^k                            (Mehler)
and a target h_k(x_0), h_k = He_k / sqrt(k!), gives E[h_k(x_0) sigma(w.x)] = C_k(q) w_0^k, where
C_k(q) = c_k(r) / r^k with r = sqrt(q) and c_k(r) = E[sigma(r Z) h_k(Z)].

Forces are gradients with respect to the first argument alone, grad_u K = K_p v + 2 K_q u, so that the term j = i of
the mean field needs no exception. All pairs are visited tile by tile; nothing of size N^2 is stored. The gradient of
relu at u = 0 is set to 0, as relu'(0) is.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core.activations import CODES, ERF, HERMITE, IDENTITY, QUADRATIC, RELU, SIN
from mfpde.core.elementary import KERNEL, angle_above_axis, exponential
from mfpde.core.tiles import AREA, BLOCK, TILE, accumulate, accumulate_outer, aligned, clear, combine, load_tile, padded

Array = NDArray[np.float64]

KERNELS = ("relu", "erf", "sin", "quadratic", "identity", "hermite")


def hermite_profile(code: int, hermite: Array, kmax: int, q: float) -> Array:
    """C_k(q) = E[sigma(r Z) h_k(Z)] / r^k, r = sqrt(q), for k = 0..kmax: array [kmax + 1].

    For relu at q = 0 the entries k != 1 are set to 0. ValueError for an activation outside KERNELS.
    """
    if code not in [CODES[name] for name in KERNELS]:
        raise ValueError(f"activation code {code} has no closed-form profile; known are {', '.join(KERNELS)}")
    value, slope = np.zeros(kmax + 1), np.zeros(kmax + 1)
    _profile(code, np.asarray(hermite, dtype=np.float64), float(q), 1.0, value, slope)
    return value


@njit(**KERNEL)
def pair_energy(code: int, hermite: Array, a: Array, w: Array) -> float:
    """E f_N(x)^2 = (1/N^2) sum_ij a_i a_j K_ij for a[N], w[d, N]."""
    count = w.shape[1]
    total = aligned(TILE)
    across = aligned(TILE)
    gradient = aligned(0)
    energy = 0.0
    squares, series, series_slope = _particle_tables(code, hermite, w)
    for start in range(0, count, TILE):
        _sum_over_sources(code, a, w, squares, series, series_slope, start, total, across, gradient)
        for i in range(min(TILE, count - start)):
            energy += a[start + i] * total[i]
    return energy / (float(count) * float(count))


@njit(**KERNEL)
def pair_force(code: int, hermite: Array, theta: Array, out: Array) -> None:
    """Gradient in theta_i, theta_j held fixed, of (1/N) sum_j a_i a_j K_ij, j = i included: theta, out [d + 2, N].

    Rows as in interaction: a, w_1 .. w_d, b; the row of b is set to zero.
    """
    d = theta.shape[0] - 2
    count = theta.shape[1]
    a = theta[0]
    w = theta[1 : d + 1]
    total = aligned(TILE)
    across = aligned(TILE)
    gradient = aligned(padded(d) * TILE)
    squares, series, series_slope = _particle_tables(code, hermite, w)
    for start in range(0, count, TILE):
        _sum_over_sources(code, a, w, squares, series, series_slope, start, total, across, gradient)
        for i in range(min(TILE, count - start)):
            out[0, start + i] = total[i] / count
        for k in range(d):
            row = gradient[k * TILE : (k + 1) * TILE]
            for i in range(min(TILE, count - start)):
                along = row[i] + 2.0 * across[i] * w[k, start + i]
                out[k + 1, start + i] = a[start + i] * along / count
    clear(out[d + 1])


@njit(**KERNEL)
def target_energy(code: int, hermite: Array, coefficients: Array, a: Array, w: Array) -> float:
    """E y f_N = (1/N) sum_i a_i sum_k t_k C_k(q_i) w_0i^k for y = sum_k t_k h_k(x_0); t[K], a[N], w[d, N]."""
    value = np.zeros(coefficients.shape[0])
    slope = np.zeros(coefficients.shape[0])
    squares = _squared_norms(w)
    energy = 0.0
    for i in range(a.shape[0]):
        potential, _, _ = _target(code, hermite, coefficients, w[0, i], squares[i], value, slope)
        energy += a[i] * potential
    return energy / a.shape[0]


@njit(**KERNEL)
def target_force(code: int, hermite: Array, coefficients: Array, theta: Array, out: Array) -> None:
    """Gradient of a sum_k t_k C_k(q) w_0^k in theta, per particle; theta, out [d + 2, N], the row of b set to zero."""
    d = theta.shape[0] - 2
    w = theta[1 : d + 1]
    value = np.zeros(coefficients.shape[0])
    slope = np.zeros(coefficients.shape[0])
    squares = _squared_norms(w)
    for i in range(theta.shape[1]):
        potential, along, radial = _target(code, hermite, coefficients, w[0, i], squares[i], value, slope)
        out[0, i] = potential
        for k in range(d):
            out[k + 1, i] = 2.0 * theta[0, i] * radial * w[k, i]
        out[1, i] += theta[0, i] * along
        out[d + 1, i] = 0.0


@njit(**KERNEL)
def _sum_over_sources(
    code: int,
    a: Array,
    w: Array,
    squares: Array,
    series: Array,
    series_slope: Array,
    start: int,
    total: Array,
    across: Array,
    gradient: Array,
) -> None:
    """Tile at start: total = sum_j a_j K, across = sum_j a_j K_q, gradient = sum_j a_j K_p w_j (skipped if empty)."""
    d, count = w.shape
    orders = series.shape[0]
    tile = aligned(padded(d) * TILE)
    tile_square = aligned(TILE)
    tile_series = aligned(padded(orders) * TILE)
    tile_slope = aligned(padded(orders) * TILE)
    block = aligned(padded(d) * BLOCK)
    block_square = np.empty(BLOCK)
    block_series = aligned(padded(orders) * BLOCK)
    amplitude = np.empty(BLOCK)
    p, value, by_p, by_q = aligned(AREA), aligned(AREA), aligned(AREA), aligned(AREA)
    load_tile(w, start, tile)
    load_tile(squares.reshape(1, count), start, tile_square)
    load_tile(series, start, tile_series)
    load_tile(series_slope, start, tile_slope)
    clear(total)
    clear(across)
    clear(gradient)
    for j in range(0, count, BLOCK):
        _load_sources(w, j, block)
        _load_sources(series, j, block_series)
        for m in range(BLOCK):
            block_square[m] = squares[min(j + m, count - 1)]
            amplitude[m] = a[j + m] if j + m < count else 0.0
        combine(tile, block, p)
        if code == HERMITE:
            _series_kernel(p, tile_series, tile_slope, block_series, orders, value, by_p, by_q)
        else:
            _kernel(code, p, tile_square, block_square, value, by_p, by_q)
        accumulate(amplitude, value, total)
        accumulate(amplitude, by_q, across)
        accumulate_outer(amplitude, block, by_p, gradient)


@njit(**KERNEL)
def _kernel(code: int, p: Array, q: Array, q_source: Array, value: Array, by_p: Array, by_q: Array) -> None:
    """K, K_p, K_q (first argument) of a tile q[TILE] against a block q_source[BLOCK]; p and results [BLOCK, TILE]."""
    for j in range(BLOCK):
        other = q_source[j]
        pj = p[j * TILE : (j + 1) * TILE]
        vj = value[j * TILE : (j + 1) * TILE]
        dj = by_p[j * TILE : (j + 1) * TILE]
        qj = by_q[j * TILE : (j + 1) * TILE]
        if code == ERF:
            for i in range(TILE):
                excess = q[i] * other - pj[i] * pj[i]
                root = math.sqrt((1.0 + q[i] + other) + (excess if excess > 0.0 else 0.0))
                vj[i] = (2.0 / math.pi) * angle_above_axis(pj[i], root)
                slope = (2.0 / math.pi) / root
                dj[i] = slope
                qj[i] = -0.5 * slope * pj[i] / (1.0 + q[i])
        elif code == RELU:
            for i in range(TILE):
                excess = q[i] * other - pj[i] * pj[i]
                root = math.sqrt(excess if excess > 0.0 else 0.0)
                open_angle = 0.5 * math.pi + angle_above_axis(pj[i], root)
                present = q[i] > 0.0
                vj[i] = (0.5 / math.pi) * (root + open_angle * pj[i])
                dj[i] = (0.5 / math.pi) * open_angle if present else 0.0
                qj[i] = (0.25 / math.pi) * root / (q[i] if present else 1.0)
        elif code == SIN:
            for i in range(TILE):
                half = 0.5 * (q[i] + other)
                plus = 0.5 * exponential(pj[i] - half)
                minus = 0.5 * exponential(-pj[i] - half)
                vj[i] = plus - minus
                dj[i] = plus + minus
                qj[i] = -0.5 * (plus - minus)
        elif code == QUADRATIC:
            for i in range(TILE):
                vj[i] = q[i] * other + 2.0 * pj[i] * pj[i]
                dj[i] = 4.0 * pj[i]
                qj[i] = other
        else:
            for i in range(TILE):
                vj[i] = pj[i]
                dj[i] = 1.0
                qj[i] = 0.0


@njit(**KERNEL)
def _series_kernel(
    p: Array,
    tile_series: Array,
    tile_slope: Array,
    block_series: Array,
    orders: int,
    value: Array,
    by_p: Array,
    by_q: Array,
) -> None:
    """K = sum_k C_k(q) C_k(q') p^k and its derivatives in p and q, for a tile against a block."""
    power = aligned(TILE)
    for j in range(BLOCK):
        pj = p[j * TILE : (j + 1) * TILE]
        vj = value[j * TILE : (j + 1) * TILE]
        dj = by_p[j * TILE : (j + 1) * TILE]
        qj = by_q[j * TILE : (j + 1) * TILE]
        source = block_series[j]
        for i in range(TILE):
            vj[i] = source * tile_series[i]
            qj[i] = source * tile_slope[i]
            dj[i] = 0.0
            power[i] = 1.0
        for k in range(1, orders):
            source = block_series[k * BLOCK + j]
            series = tile_series[k * TILE : (k + 1) * TILE]
            slope = tile_slope[k * TILE : (k + 1) * TILE]
            for i in range(TILE):
                dj[i] += (k * source) * series[i] * power[i]
                power[i] *= pj[i]
                vj[i] += source * series[i] * power[i]
                qj[i] += source * slope[i] * power[i]


@njit(**KERNEL)
def _load_sources(source: Array, j: int, block: Array) -> None:
    """Columns j .. j + BLOCK - 1 of source[rows, N], the last one repeated beyond the end; padding rows zero."""
    clear(block)
    for k in range(source.shape[0]):
        for m in range(BLOCK):
            block[k * BLOCK + m] = source[k, min(j + m, source.shape[1] - 1)]


@njit(**KERNEL)
def _particle_tables(code: int, hermite: Array, w: Array) -> tuple[Array, Array, Array]:
    """q[N], and for hermite the profile C_k(q_i) with its derivative, [K, N] each (else without rows)."""
    if not (code == ERF or code == RELU or code == SIN or code == QUADRATIC or code == IDENTITY or code == HERMITE):
        raise ValueError("this activation has no closed-form pair kernel")
    count = w.shape[1]
    squares = _squared_norms(w)
    orders = hermite.shape[0] if code == HERMITE else 0
    series, series_slope = np.empty((orders, count)), np.empty((orders, count))
    value, slope = np.empty(orders), np.empty(orders)
    for i in range(count if orders > 0 else 0):
        _profile(code, hermite, squares[i], 1.0, value, slope)
        for k in range(orders):
            series[k, i] = value[k]
            series_slope[k, i] = slope[k]
    return squares, series, series_slope


@njit(**KERNEL)
def _squared_norms(w: Array) -> Array:
    squares = np.zeros(w.shape[1])
    for k in range(w.shape[0]):
        row = w[k]
        for i in range(row.shape[0]):
            squares[i] += row[i] * row[i]
    return squares


@njit(**KERNEL)
def _target(
    code: int, hermite: Array, coefficients: Array, w_first: float, q: float, value: Array, slope: Array
) -> tuple[float, float, float]:
    """V = sum_k t_k C_k(q) w_0^k with its partial derivatives in w_0 and q; value and slope are scratch of length K."""
    scale = 1.0
    if code == RELU:
        if q == 0.0:
            return 0.0, 0.0, 0.0
        scale = math.sqrt(q)
    _profile(code, hermite, q, scale, value, slope)
    ratio = w_first / scale
    potential = coefficients[0] * value[0]
    radial = coefficients[0] * slope[0]
    along = 0.0
    power = 1.0
    for k in range(1, coefficients.shape[0]):
        along += coefficients[k] * value[k] * k * power / scale
        power *= ratio
        potential += coefficients[k] * value[k] * power
        radial += coefficients[k] * slope[k] * power
    return potential, along, radial


@njit(**KERNEL)
def _profile(code: int, hermite: Array, q: float, scale: float, value: Array, slope: Array) -> None:
    """value_k = C_k(q) scale^k and slope_k = C_k'(q) scale^k; scale = sqrt(q) keeps relu's negative powers in range."""
    clear(value)
    clear(slope)
    size = value.shape[0]
    if code == ERF:
        # c_k(r) = (-1)^m (2m)!/m! sqrt(2/pi) r (1+r^2)^(-1/2) (r^2/(2(1+r^2)))^m / sqrt(k!), k = 2m + 1.
        term = math.sqrt(2.0 / math.pi / (1.0 + q)) * scale
        for k in range(1, size, 2):
            if k > 1:
                term *= -(k - 2.0) / math.sqrt(k * (k - 1.0)) * (scale * scale / (1.0 + q))
            value[k] = term
            slope[k] = -0.5 * k / (1.0 + q) * term
    elif code == RELU:
        _relu_profile(q, scale, value, slope)
    elif code == SIN:
        # c_k(r) = (-1)^m r^k exp(-r^2/2) / sqrt(k!), k = 2m + 1.
        term = math.exp(-0.5 * q) * scale
        for k in range(1, size, 2):
            if k > 1:
                term *= -scale * scale / math.sqrt(k * (k - 1.0))
            value[k] = term
            slope[k] = -0.5 * term
    elif code == QUADRATIC:
        value[0] = q
        slope[0] = 1.0
        if size > 2:
            value[2] = math.sqrt(2.0) * scale * scale
    elif code == IDENTITY:
        if size > 1:
            value[1] = scale
    else:
        _series_profile(hermite, q, scale, value, slope)


@njit(**KERNEL)
def _relu_profile(q: float, scale: float, value: Array, slope: Array) -> None:
    """c_k(r) = r sigma_k: sigma_0 = 1/sqrt(2 pi), sigma_1 = 1/2, sigma_k = -(k-3)/sqrt(k(k-1)) sigma_(k-2), k even."""
    if value.shape[0] > 1:
        value[1] = 0.5 * scale
    if q > 0.0:
        r = math.sqrt(q)
        term = r / math.sqrt(2.0 * math.pi)
        for k in range(0, value.shape[0], 2):
            if k > 0:
                term *= -(k - 3.0) / math.sqrt(k * (k - 1.0)) * ((scale / r) * (scale / r))
            value[k] = term
            slope[k] = 0.5 * (1.0 - k) * term / q


@njit(**KERNEL)
def _series_profile(hermite: Array, q: float, scale: float, value: Array, slope: Array) -> None:
    """C_m(q) = sum_i hermite_(m+2i) sqrt((m+2i)!/m!) / (2^i i!) (q-1)^i.

    From He_n(g z) = sum_i n!/(2^i i! (n-2i)!) g^(n-2i) (g^2-1)^i He_(n-2i)(z).
    """
    degree = hermite.shape[0] - 1
    factor = 1.0
    for m in range(min(value.shape[0], degree + 1)):
        weight = factor
        power = 1.0
        value[m] = weight * hermite[m]
        for i in range(1, (degree - m) // 2 + 1):
            top = m + 2 * i
            weight *= math.sqrt(top * (top - 1.0)) / (2.0 * i)
            slope[m] += weight * hermite[top] * i * power
            power *= q - 1.0
            value[m] += weight * hermite[top] * power
        factor *= scale
