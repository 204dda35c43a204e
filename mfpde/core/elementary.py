"""Branch-free elementary functions of scalars and vectors; every compiled loop of the package is built on them.

Library calls (math.exp, math.tanh, math.erf) keep a loop scalar, ten to twenty times slower. Each function is written
once, over the arithmetic of core.vector: on a float64 scalar LLVM vectorises the loop around it, on a vector of either
precision it is vector code as it stands. The coefficients are minimax fits found by linearised least squares with
Lawson weights (in 900-bit arithmetic for double precision); "fit" states the largest error of the formula, double then
single, before its coefficients were rounded, and tests/test_core_elementary.py holds the error of the code.

NaN gives NaN, except where a docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numba import njit

from mfpde.core.compilation import HELPER
from mfpde.core.vector import absolute, bits_of, constant, copysign, fma, of_bits, polynomial, select, sqrt

# Adding and subtracting 1.5 * 2^52 (2^23) rounds to the nearest integer and leaves it in the low bits of the mantissa.
_round = constant(6755399441055744.0, 12582912.0)
_mantissa = constant(52, 23)
_sign = constant(63, 31)
_one_bits = constant(1023 << 52, 127 << 23)
_LN2 = math.log(2.0)
_LOG2_E = 1.0 / _LN2
# log 2 and pi in parts whose products with the integers that occur are exact
_ln2_high = constant(0.6931471803691238, 0.693359375)
_ln2_low = constant(1.9082149292705877e-10, -0.00021219444005469057)
_pi_1 = constant(3.141592651605606, 3.140625)
_pi_2 = constant(1.9841871479187034e-09, 0.0009675025939941406)
_pi_3 = constant(1.1442377452219664e-17, 1.509957990978376e-07)
_DENSITY = math.sqrt(2.0 / math.pi)

_largest_exponent = constant(709.0, 88.0)
_smallest_exponent = constant(-708.0, -87.0)
# (e^r - 1 - r) / r^2 for |r| <= log(2) / 2 (fit 4e-18, 3e-9)
_EXPONENTIAL = (
    2.5000071142806018e-08,
    2.763024976058964e-07,
    2.755758635113909e-06,
    2.4801493094781307e-05,
    0.0001984126950659248,
    0.0013888888943634368,
    0.008333333333494463,
    0.04166666666653014,
    0.16666666666666413,
    0.5000000000000011,
)
_EXPONENTIAL_SINGLE = (0.00139506003, 0.0083689537, 0.0416662042, 0.166665183, 0.50000001)


def _of_decay(series: Sequence[float]) -> list[float]:
    """Coefficients of (e^(-r / 2) - 1) / r from those of (e^r - 1 - r) / r^2, exact."""
    return [*(c * (-0.5) ** (len(series) + 1 - k) for k, c in enumerate(series)), -0.5]


_exponential_series = polynomial(_EXPONENTIAL, _EXPONENTIAL_SINGLE)
_density_series = polynomial(_of_decay(_EXPONENTIAL), _of_decay(_EXPONENTIAL_SINGLE))
# (tanh(r) / r - 1) / r^2 in r^2 for |r| <= log(2) / 4 (fit 4e-18, 2e-10)
_tanh_series = polynomial(
    (
        0.0034447156771269666,
        -0.008857298765524067,
        0.02186937041140857,
        -0.05396825277786324,
        0.1333333333278128,
        -0.3333333333333248,
    ),
    (-0.052725995, 0.1333118, -0.333333227),
)
# (atanh(s) / s - 1) / s^2 in s^2 for 0 <= s <= 1/3 (fit 5e-17, 5e-9)
_atanh_series = polynomial(
    (
        0.08874422506593085,
        0.049491543457315816,
        0.06793623074411183,
        0.07682096016786374,
        0.09091410370474406,
        0.11111096327084459,
        0.1428571453160291,
        0.1999999999799863,
        0.3333333333333894,
    ),
    (0.140122328, 0.139995697, 0.200108496, 0.333332066),
)
# (sin(r) / r - 1) / r^2 in r^2 for |r| <= pi / 2 (fit 2e-19, 5e-9)
_sine_series = polynomial(
    (
        2.7222508093601284e-15,
        -7.643097329884678e-13,
        1.6058943926649418e-10,
        -2.505210696012346e-08,
        2.7557319212131404e-06,
        -0.00019841269841215284,
        0.008333333333333212,
        -0.16666666666666666,
    ),
    (2.60878929e-06, -0.000198110533, 0.00833308744, -0.166666604),
)
# (cos(r) - 1 + r^2 / 2) / r^4 in r^2 for |r| <= pi / 2 (fit 6e-18, 4e-10)
_cosine_series = polynomial(
    (
        4.616101850423237e-14,
        -1.1463632520864482e-11,
        2.0876592490629503e-09,
        -2.7557317066717094e-07,
        2.480158728576733e-05,
        -0.0013888888888829974,
        0.04166666666666583,
    ),
    (-2.61924785e-07, 2.476924e-05, -0.00138885682, 0.0416666557),
)
# from here on e^(-z^2 / 2) is below the normal numbers: z^2 log2(e) / 2 rounds to 1023 (127), whose power of two is 0
_density_limit = constant(37.65, 13.26)
# (1 - e^(z^2 / 2) erfc(z / sqrt 2)) / z = P / Q for z >= 0, weighted for the error in erf(z / sqrt 2) (fit 2e-17,
# 2e-10): all coefficients are positive, so that no digits are lost
_mills_top = polynomial(
    (
        0.00015524101464117456,
        0.003124304313107936,
        0.028473910195776924,
        0.1497878342223395,
        0.4807084030281848,
        0.900271363054172,
        0.7978845608028654,
    ),
    (0.019198481, 0.165950083, 0.55912013, 0.797884561),
)
_mills_bottom = polynomial(
    (
        0.00015524050352886995,
        0.003248190627302451,
        0.031065111538323895,
        0.1744571159663417,
        0.6172429795668811,
        1.3689158609088963,
        1.7549798953938431,
        1.0,
    ),
    (0.019213525, 0.180978011, 0.706485589, 1.3274102, 1.0),
)
# t / sin t = P / Q in c = cos t for 0 <= c <= 1 (fit 1.4e-16, 3e-8), the double or single of pi / 2 at c = 0
_angle_top = polynomial(
    (
        0.002965441203314740,
        0.1024941123625201,
        0.8571462706600926,
        2.686594771603369,
        3.477908538786112,
        0.5 * math.pi,
    ),
    (0.189096924, 1.34307139, 1.57079637),
)
_angle_bottom = polynomial(
    (
        0.0005036462829417318,
        0.02713144868434057,
        0.3237697042644257,
        1.470608222020702,
        3.025167325513076,
        2.850725114644821,
        1.0,
    ),
    (0.0413069133, 0.570012563, 1.49164530, 1.0),
)


@njit(**HELPER)
def _exponential_parts(x: Any) -> Any:
    """(p, scale) with e^x = scale (1 + p), scale a power of two and |p| < 0.42, while scale is in range."""
    shifted = fma(x, _LOG2_E, _round(x))
    k = shifted - _round(x)
    r = fma(k, -_ln2_low(x), fma(k, -_ln2_high(x), x))
    p = fma(_exponential_series(r), r * r, r)
    return p, of_bits((bits_of(shifted) << _mantissa(x)) + _one_bits(x))


@njit(**HELPER)
def exponential(x: Any) -> Any:
    """e^x to an ulp; clamped above 709 (single: 88), exactly 0 below -708 (-87)."""
    high, low = _largest_exponent(x), _smallest_exponent(x)
    inside = select(x > high, high, x)
    p, scale = _exponential_parts(select(inside < low, low, inside))
    return select(x < low, 0.0, fma(p, scale, scale))


@njit(**HELPER)
def log_one_plus(t: Any) -> Any:
    """log(1 + t) for 0 <= t <= 1 through 2 atanh(t / (2 + t)); relative error a few ulp."""
    s = t / (2.0 + t)
    u = s * s
    return 2.0 * fma(s, u * _atanh_series(u), s)


@njit(**HELPER)
def tanh(x: Any) -> Any:
    """tanh x, the sign restored at the end; absolute error 3e-16, never beyond [-1, 1].

    With |x| = r - k log(2) / 2, s = 2^k and t = tanh r, e^(-2 |x|) = s (1 - t) / (1 + t) makes (1 - e^(-2 |x|)) /
    (1 + e^(-2 |x|)) to (1 - s + t (1 + s)) / (1 + s + t (1 - s)); k log 2 in one part, since its error shrinks with s.
    """
    size = absolute(x)
    size = select(size > 20.0, 20.0, size)
    shifted = fma(size, -2.0 * _LOG2_E, _round(x))
    r = fma(shifted - _round(x), 0.5 * _LN2, size)
    scale = of_bits((bits_of(shifted) << _mantissa(x)) + _one_bits(x))
    u, less, more = r * r, 1.0 - scale, 1.0 + scale
    t = fma(r * u, _tanh_series(u), r)
    return copysign(fma(t, more, less) / fma(t, less, more), x)


@njit(**HELPER)
def erf_scaled_with_slope(z: Any) -> Any:
    """(erf(z / sqrt 2), its derivative sqrt(2 / pi) e^(-z^2 / 2)), both from one exponential.

    With g = e^(-z^2 / 2) = s (1 + p), s = 2^k, and erf(|z| / sqrt 2) = 1 - g e^(z^2 / 2) erfc(|z| / sqrt 2)
    = (1 - s) - s p + g |z| P(|z|) / Q(|z|): near 0, where s = 1, no digits of a small value are lost. Relative error of
    the value a few ulp, never beyond [-1, 1]; absolute error of the slope 3e-16, exactly 0 beyond |z| = 37.65 (13.26).
    """
    limit, size = _density_limit(z), absolute(z)
    y = select(size > limit, limit, size)
    u = y * y
    shifted = fma(u, -0.5 * _LOG2_E, _round(u))
    # k log 2 in one part, as in tanh; its relative error is that of the square
    r = fma(shifted - _round(u), 2.0 * _LN2, u)
    scale = of_bits((bits_of(shifted) << _mantissa(u)) + _one_bits(u))
    scaled, series = r * scale, _density_series(r)
    g = fma(scaled, series, scale)
    value = fma(g, y * _mills_top(y) / _mills_bottom(y), fma(-scaled, series, 1.0 - scale))
    return copysign(value, z), _DENSITY * g


@njit(**HELPER)
def erf_scaled(z: Any) -> Any:
    """erf(z / sqrt 2), see erf_scaled_with_slope."""
    return erf_scaled_with_slope(z)[0]


@njit(**HELPER)
def erf_scaled_slope(z: Any) -> Any:
    """Derivative of erf(z / sqrt 2), twice the standard normal density, see erf_scaled_with_slope."""
    return erf_scaled_with_slope(z)[1]


@njit(**HELPER)
def _sine_on_half_turn(r: Any) -> Any:
    u = r * r
    return fma(r, u * _sine_series(u), r)


@njit(**HELPER)
def _cosine_on_half_turn(r: Any) -> Any:
    u = r * r
    return 1.0 + fma(u, u * _cosine_series(u), -0.5 * u)


@njit(**HELPER)
def _reduce_by_pi(z: Any) -> Any:
    """(r, sign bit) with z = k pi + r, |r| <= pi / 2, the bit being the parity of k."""
    shifted = fma(z, 1.0 / math.pi, _round(z))
    k = shifted - _round(z)
    r = fma(k, -_pi_3(z), fma(k, -_pi_2(z), fma(k, -_pi_1(z), z)))
    return r, bits_of(shifted) << _sign(z)


@njit(**HELPER)
def sine(z: Any) -> Any:
    """sin z for |z| <= 1e8 (single: 1e4), absolute error 2e-16 (2e-7)."""
    r, sign = _reduce_by_pi(z)
    return of_bits(bits_of(_sine_on_half_turn(r)) ^ sign)


@njit(**HELPER)
def cosine(z: Any) -> Any:
    """cos z for |z| <= 1e8 (single: 1e4), absolute error 4e-16 (3e-7)."""
    r, sign = _reduce_by_pi(z)
    return of_bits(bits_of(_cosine_on_half_turn(r)) ^ sign)


@njit(**HELPER)
def arcsine_parts(s: Any, least: Any) -> tuple[Any, Any, Any]:
    """(P, Q, c) with asin s = s P / Q and c = sqrt(1 - s^2), its cosine, for |s| <= 1.

    1 - s^2 is taken as ``least`` where rounding puts it below. An angle over its sine is an analytic function of its
    cosine from 0 to 1, ends included: neither small nor right angles need a case of their own.
    """
    rest = fma(-s, s, 1.0)
    cosine = sqrt(select(rest < least, least, rest))
    return _angle_top(cosine), _angle_bottom(cosine), cosine


@njit(**HELPER)
def sigmoid(z: Any) -> Any:
    """1 / (1 + e^-z), accurate relative to its value in both tails."""
    t = exponential(-absolute(z))
    return select(z < 0.0, t, 1.0) / (1.0 + t)


@njit(**HELPER)
def softplus(z: Any) -> Any:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    return select(z < 0.0, 0.0, z) + log_one_plus(exponential(-absolute(z)))
