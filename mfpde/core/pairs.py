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
the mean field needs no exception. All pairs are visited tile by tile; nothing of size N^2 is stored. A pair of erf or
relu costs a function of one angle: that between x = w / sqrt(A), or x = w / |w|, whose scalar product is its cosine;
what grad_u K has along u follows from the sums, by K_q = -K_p p / (2 A) for erf and K = u.grad_u K for relu. The
gradient of relu at u = 0 is set to 0, as relu'(0) is. Threads and precision: as in core.interaction. With a ``share``
of the particles every rank sees them all and computes the rows of its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core.activations import CODES, ERF, HERMITE, IDENTITY, QUADRATIC, RELU, SIN
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.pair_sums import closed_form_sums, series_sums
from mfpde.core.passes import DTYPES, Precision, each_span
from mfpde.core.ranks import Share
from mfpde.core.tiles import NODES, clear, pack_nodes
from mfpde.core.vector import fma

Array = NDArray[np.float64]
Packed = NDArray[Any]

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


def pair_energy(
    code: int, hermite: Array, a: Array, w: Array, precision: Precision = "double", share: Share | None = None
) -> float:
    """E f_N^2 = (1/N^2) sum_ij a_i a_j K_ij for a[N], w[d, N]. ValueError for an activation outside KERNELS.

    With a ``share`` a and w are those of all particles, and the rows of the sum are shared out.
    """
    potential = _pair_sums(code, hermite, a, w, precision, share)[0]
    if share is not None:
        potential = share.whole(potential)
    # a dot product by BLAS may round differently from one machine to the next
    return float(np.sum(a * potential)) / w.shape[1]


def pair_force(
    code: int, hermite: Array, theta: Array, out: Array, precision: Precision = "double", share: Share | None = None
) -> None:
    """Gradient in theta_i, theta_j held fixed, of (1/N) sum_j a_i a_j K_ij, j = i included: theta, out [d + 2, N].

    Rows as in interaction: a, w_1 .. w_d, b; the row of b is set to zero. ValueError for an activation outside KERNELS.
    With a ``share`` theta and out are those of its particles.
    """
    everyone = theta if share is None else share.whole(theta)
    out[...] = _pair_sums(code, hermite, everyone[0], everyone[1:-1], precision, share)


@kernel
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


@kernel
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


def _pair_sums(code: int, hermite: Array, a: Array, w: Array, precision: Precision, share: Share | None) -> Array:
    """Rows of pair_force at the particles of the share, or at all, from a [N] and w [d, N] of all."""
    if code not in [CODES[name] for name in KERNELS]:
        raise ValueError(f"activation code {code} has no closed-form pair kernel; known are {', '.join(KERNELS)}")
    dtype, (d, count) = DTYPES[precision], w.shape
    start, stop = (0, count) if share is None else (share.first, share.stop)
    x, squares, own, amplitude = _scaled(code, a, w)
    if code == HERMITE:
        series, slopes = _profiles(code, np.asarray(hermite, np.float64), squares)
        kernel, rows, traits, others = series_sums, d + 2, np.concatenate([series, slopes]), pack_nodes(series.T, dtype)
    else:
        kernel, rows, traits, others = closed_form_sums(code), d + 1, own[None], _whole(own, dtype)
    sources, amplitudes = pack_nodes(x.T, dtype), _whole(amplitude, dtype)
    sums = np.empty((rows, count))  # memory is taken for what is written

    def part(span: tuple[int, int]) -> None:
        kernel(x, traits, sources, others, amplitudes, start + span[0], start + span[1], sums)

    each_span(count, count, part, share)
    out = np.empty((d + 2, stop - start))
    _combine(code, a, x, squares, sums, start, out)
    return out


@njit(**HELPER)
def _scaling(code: int, q: float) -> tuple[float, float, float]:
    """(x / w, b / a, the number that a closed form is told of both particles) for |w|^2 = q."""
    if code == ERF:
        # 1 - p^2 >= 1/(1 + q)
        return 1.0 / math.sqrt(1.0 + q), 1.0, 1.0 / (1.0 + q)
    if code == RELU:
        norm = math.sqrt(q)
        return 1.0 / norm if q != 0.0 else 0.0, norm, 0.0
    return 1.0, 1.0, q


@njit(**HELPER)
def _factors(code: int, q: float) -> tuple[float, float, float, float, float]:
    """(value, pull, slope, radial, project) of a particle with |w|^2 = q.

    With V and F as in core.pair_sums, and F again or the third sum of a series as G:
    sum_j a_j K_ij = value F + pull x.V,  sum_j a_j grad_u K_ij = slope V + (radial G + project x.V) x.
    """
    if code == ERF:
        slope = 2.0 / math.pi / math.sqrt(1.0 + q)
        return 2.0 / math.pi, 0.0, slope, 0.0, -slope
    if code == RELU:
        # homogeneous: K = u.grad_u K; relu'(0) = 0
        reach, half = 0.5 / math.pi * math.sqrt(q), 0.5 / math.pi if q != 0.0 else 0.0
        return reach, reach, half, half, 0.0
    if code == SIN:
        return 1.0, 0.0, 1.0, -1.0, 0.0
    if code == QUADRATIC:
        return q, 0.5, 1.0, 2.0, 0.0
    if code == IDENTITY:
        return 0.0, 1.0, 1.0, 0.0, 0.0
    return 1.0, 0.0, 1.0, 2.0, 0.0


@kernel
def _scaled(code: int, a: Array, w: Array) -> tuple[Array, Array, Array, Array]:
    """x[d, N], |w|^2, what closed forms are told, and b: [N] each."""
    x, squares = np.empty(w.shape), _squared_norms(w)
    scale, own, b = np.empty(a.shape[0]), np.empty(a.shape[0]), np.empty(a.shape[0])
    for i in range(a.shape[0]):
        scale[i], reach, own[i] = _scaling(code, squares[i])
        b[i] = a[i] * reach
    for k in range(w.shape[0]):
        row, scaled = w[k], x[k]
        for i in range(row.shape[0]):
            scaled[i] = row[i] * scale[i]
    return x, squares, own, b


@kernel
def _combine(code: int, a: Array, x: Array, squares: Array, sums: Array, first: int, out: Array) -> None:
    """out[d + 2, n] of the particles from ``first`` on; roundings are those that are written, on every processor."""
    d, count = x.shape
    here = slice(first, first + out.shape[1])
    along, last = np.zeros(out.shape[1]), sums[sums.shape[0] - 1, here]
    for k in range(d):
        row, total = x[k, here], sums[k, here]
        for i in range(row.shape[0]):
            along[i] = fma(row[i], total[i], along[i])
    slopes = np.empty(out.shape[1])
    for i in range(out.shape[1]):
        value, pull, slope, radial, project = _factors(code, squares[first + i])
        out[0, i] = fma(value, sums[d, first + i], pull * along[i]) / count
        along[i] = fma(radial, last[i], project * along[i])
        slopes[i] = slope
        out[d + 1, i] = 0.0
    for k in range(d):
        row, total, force = x[k, here], sums[k, here], out[k + 1]
        for i in range(row.shape[0]):
            force[i] = a[first + i] / count * fma(along[i], row[i], slopes[i] * total[i])


def _whole(values: Array, dtype: Any) -> Packed:
    """Values [N] with zeros up to a whole number of blocks."""
    padded = np.zeros(-(-len(values) // NODES) * NODES, dtype)
    padded[: len(values)] = values
    return padded


@kernel
def _profiles(code: int, hermite: Array, squares: Array) -> tuple[Array, Array]:
    """C_k(q_i) and C_k'(q_i), k = 0 .. degree : [K, N] each."""
    orders, count = hermite.shape[0], squares.shape[0]
    series, slopes = np.empty((orders, count)), np.empty((orders, count))
    value, slope = np.empty(orders), np.empty(orders)
    for i in range(count):
        _profile(code, hermite, squares[i], 1.0, value, slope)
        for k in range(orders):
            series[k, i] = value[k]
            slopes[k, i] = slope[k]
    return series, slopes


@kernel
def _squared_norms(w: Array) -> Array:
    squares = np.zeros(w.shape[1])
    for k in range(w.shape[0]):
        row = w[k]
        for i in range(row.shape[0]):
            squares[i] += row[i] * row[i]
    return squares


@kernel
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


@kernel
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


@kernel
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


@kernel
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
