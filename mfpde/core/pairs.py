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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpde.core.activations import CODES, ERF, HERMITE, IDENTITY, QUADRATIC, RELU, SIN
from mfpde.core.compilation import kernel
from mfpde.core.pair_sums import closed_form_sums, series_sums
from mfpde.core.passes import DTYPES, Precision, each_span
from mfpde.core.ranks import Share
from mfpde.core.tiles import NODES, clear, pack_nodes

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
    _, potential = _pair_sums(code, hermite, a, w, precision, share)
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
    out[1:-1], out[0] = _pair_sums(code, hermite, everyone[0], everyone[1:-1], precision, share)
    out[1:-1] *= theta[0]
    out[-1] = 0.0


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


class _Formula(NamedTuple):
    """A kernel by sums over scaled sources, x = scale w and b = reach a, numbers or arrays [N].

    With V and F as in core.pair_sums, and F again or the third sum of a series as G:
    sum_j a_j K_ij = value F + pull x.V,  sum_j a_j grad_u K_ij = slope V + (radial G + project x.V) x.
    A closed form is told a number ``own`` [N] of both particles besides.
    """

    value: Any = 1.0
    pull: Any = 0.0
    slope: Any = 1.0
    radial: Any = 0.0
    project: Any = 0.0
    scale: Any = 1.0
    reach: Any = 1.0
    own: Any = None


def _formula(code: int, q: Array) -> _Formula:
    """How the kernel of particles with |w|^2 = q[N] is made."""
    if code == ERF:
        scale = 1.0 / np.sqrt(1.0 + q)
        slope = 2.0 / np.pi * scale
        # 1 - p^2 >= 1/(1 + q)
        return _Formula(2.0 / np.pi, slope=slope, project=-slope, scale=scale, own=1.0 / (1.0 + q))
    if code == RELU:
        # homogeneous: K = u.grad_u K; relu'(0) = 0
        norm, here = np.sqrt(q), q != 0.0
        half = np.where(here, 0.5 / np.pi, 0.0)
        scale = np.divide(1.0, norm, out=np.zeros_like(q), where=here)
        return _Formula(0.5 / np.pi * norm, 0.5 / np.pi * norm, half, half, scale=scale, reach=norm, own=q)
    if code == SIN:
        return _Formula(radial=-1.0, own=q)
    if code == QUADRATIC:
        return _Formula(value=q, pull=0.5, radial=2.0, own=q)
    return _Formula(value=0.0, pull=1.0, own=q) if code == IDENTITY else _Formula(radial=2.0)


def _pair_sums(
    code: int, hermite: Array, a: Array, w: Array, precision: Precision, share: Share | None
) -> tuple[Array, Array]:
    """((1/N) sum_j a_j grad_u K_ij [d, n], (1/N) sum_j a_j K_ij [n]) at the particles of the share, or at all."""
    if code not in [CODES[name] for name in KERNELS]:
        raise ValueError(f"activation code {code} has no closed-form pair kernel; known are {', '.join(KERNELS)}")
    dtype, (d, count) = DTYPES[precision], w.shape
    here = slice(0, count) if share is None else slice(share.first, share.stop)
    with np.errstate(over="ignore", invalid="ignore"):  # a particle that diverges shows in the result
        squares = _inner(w, w)
        formula = _formula(code, squares)
        x = w * formula.scale
        if code == HERMITE:
            series, slopes = _profiles(code, np.asarray(hermite, np.float64), squares)
            kernel, own, others = series_sums, np.concatenate([series, slopes]), pack_nodes(series.T, dtype)
        else:
            kernel, own = closed_form_sums(code), formula.own[None]
            others = _whole(formula.own, dtype)
        sources, amplitude = pack_nodes(x.T, dtype), _whole(a * formula.reach, dtype)
        sums = np.empty((d + (2 if code == HERMITE else 1), count))  # memory is taken for what is written

        def part(span: tuple[int, int]) -> None:
            kernel(x, own, sources, others, amplitude, here.start + span[0], here.start + span[1], sums)

        each_span(count, count, part, share)
        x, along, rest, last = x[:, here], sums[:d, here], sums[d, here], sums[-1, here]
        value, pull, slope, radial, project = (np.broadcast_to(factor, count)[here] for factor in formula[:5])
        inner = _inner(x, along)
        return (slope * along + (radial * last + project * inner) * x) / count, (value * rest + pull * inner) / count


def _inner(x: Array, y: Array) -> Array:
    """sum_k x[k, i] y[k, i], row after row, whatever the processor and the number of columns."""
    total = np.zeros(x.shape[1])
    for row, other in zip(x, y, strict=True):
        total += row * other
    return total


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
