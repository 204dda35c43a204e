"""Branch-free scalar functions that LLVM inlines and vectorises; every compiled loop of the package is built on them.

Library calls (math.exp, math.tanh, math.erf) keep a loop scalar, ten to twenty times slower. The coefficients below are
minimax fits found in 900-bit arithmetic by linearised least squares with Lawson weights; "fit" states the largest error
of the formula before its coefficients were rounded, and tests/test_core_activations.py holds the error of the code. All
coefficients of erf are positive, so that its polynomials lose no digits.

``HELPER`` and ``KERNEL`` are the compilation options of the package. Contraction to fused multiply-add is allowed,
re-association is not: a result never depends on how a loop was vectorised. NaN is not assumed away, so that a run that
diverges shows.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_STRICT: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}
HELPER: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_STRICT}
KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "no_cfunc_wrapper": True, **_STRICT}

# Adding and subtracting 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits of the mantissa.
_ROUND = 6755399441055744.0
_ROUND_BITS = 0x4338000000000000  # its bits
_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = 0.6931471803691238  # 32 bits, so that its product with an exponent is exact
_LN2_LOW = 1.9082149292705877e-10
_PI_1 = 3.141592651605606  # 27 bits each, so that products with |k| < 2^26 are exact
_PI_2 = 1.9841871479187034e-09
_PI_3 = 1.1442377452219664e-17
_DENSITY = math.sqrt(2.0 / math.pi)
_ERF_LIMIT = 8.3  # 1 - erf(z / sqrt 2) is below half an ulp of 1 from here on


@intrinsic
def bits_of(typingctx: Any, value: Any) -> Any:
    """The 64 bits of a double as an int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def double_of(typingctx: Any, bits: Any) -> Any:
    """The double that has these 64 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@njit(**HELPER)
def _exponential_parts(x: float) -> tuple[float, float]:
    """(p, scale) with e^x = scale (1 + p), scale a power of two and |p| < 0.42, for -708 <= x <= 709 (fit 4e-18)."""
    shifted = x * _LOG2_E + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 2.5000071142806018e-08
    p = p * r + 2.763024976058964e-07
    p = p * r + 2.755758635113909e-06
    p = p * r + 2.4801493094781307e-05
    p = p * r + 0.0001984126950659248
    p = p * r + 0.0013888888943634368
    p = p * r + 0.008333333333494463
    p = p * r + 0.04166666666653014
    p = p * r + 0.16666666666666413
    p = p * r + 0.5000000000000011
    return p * (r * r) + r, double_of((bits_of(shifted) << 52) + (1023 << 52))


@njit(**HELPER)
def exponential(x: float) -> float:
    """e^x for x <= 709 (clamped there), exactly 0 below -708; relative error under 1 ulp."""
    inside = 709.0 if x > 709.0 else x
    inside = -708.0 if inside < -708.0 else inside
    p, scale = _exponential_parts(inside)
    return 0.0 if x < -708.0 else p * scale + scale


@njit(**HELPER)
def log_one_plus(t: float) -> float:
    """log(1 + t) for 0 <= t <= 1 through 2 atanh(t / (2 + t)); relative error a few ulp (fit 5e-17)."""
    s = t / (2.0 + t)
    u = s * s
    p = 0.08874422506593085
    p = p * u + 0.049491543457315816
    p = p * u + 0.06793623074411183
    p = p * u + 0.07682096016786374
    p = p * u + 0.09091410370474406
    p = p * u + 0.11111096327084459
    p = p * u + 0.1428571453160291
    p = p * u + 0.1999999999799863
    p = p * u + 0.3333333333333894
    return 2.0 * (s + s * (u * p))


@njit(**HELPER)
def tanh(x: float) -> float:
    """tanh x = -e / (2 + e) with e = expm1(-2 |x|), the sign restored; absolute error 3e-16, never beyond [-1, 1]."""
    inside = -2.0 * abs(x)
    inside = -40.0 if inside < -40.0 else inside
    p, scale = _exponential_parts(inside)
    e = p * scale + (scale - 1.0)
    return math.copysign(e / (2.0 + e), x)


@njit(**HELPER)
def erf_scaled(z: float) -> float:
    """erf(z / sqrt 2) = z P(z^2) / Q(z^2), degrees 12/12 on |z| <= 8.3 (fit 2e-17), clamped to [-1, 1]; error 5e-16.

    Estrin's scheme: fewer roundings on the way than Horner's, and the errors of the powers cancel between p and q.
    """
    size = abs(z)
    y = _ERF_LIMIT if size > _ERF_LIMIT else size
    u = y * y
    u2 = u * u
    u4 = u2 * u2
    u8 = u4 * u4
    p0 = (0.7978845608028653 + 0.07749560571508762 * u) + (0.01165863332599483 + 0.0006042820612147603 * u) * u2
    p1 = (3.760974964401514e-05 + 1.2453524957837248e-06 * u) + (4.275910324864088e-08 + 9.253497867109608e-10 * u) * u2
    p2 = (1.852928493008807e-11 + 2.353637856113869e-13 * u) + (2.316092769284248e-15 + 7.865908868062793e-18 * u) * u2
    p = (p0 + p1 * u4) + (p2 + 2.811600374240824e-21 * u4) * u8
    q0 = (1.0 + 0.263793004889213 * u) + (0.033577430784121585 + 0.0027349590682117517 * u) * u2
    q1 = (0.00015927394970169977 + 7.010577117635796e-06 * u) + (
        2.4000067067462974e-07 + 6.460174518674367e-09 * u
    ) * u2
    q2 = (1.359809783813167e-10 + 2.1779793581565897e-12 * u) + (2.479539444475657e-14 + 1.644661641488603e-16 * u) * u2
    q = (q0 + q1 * u4) + (q2 + 2.226063527987475e-19 * u4) * u8
    result = y * (p / q)
    result = 1.0 if result > 1.0 else result
    return math.copysign(1.0 if size >= _ERF_LIMIT else result, z)


@njit(**HELPER)
def erf_scaled_slope(z: float) -> float:
    """Derivative of erf(z / sqrt 2): sqrt(2 / pi) e^(-z^2 / 2), twice the standard normal density."""
    return _DENSITY * exponential(-0.5 * (z * z))


@njit(**HELPER)
def logarithm(x: float) -> float:
    """log x for normal positive x = 2^k m, m in [0.7, 1.42]: k log 2 + 2 atanh((m-1) / (m+1)); 2 ulp (fit 1e-18)."""
    bits = bits_of(x)
    # Subtracting the bits of sqrt(1/2) leaves the exponent of x / m in the top bits.
    k = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = double_of(bits - (k << 52))
    s = (m - 1.0) / (m + 1.0)
    u = s * s
    p = 0.07399536050980286
    p = p * u + 0.0765687756150605
    p = p * u + 0.09091787596129115
    p = p * u + 0.11111099188956698
    p = p * u + 0.1428571437207378
    p = p * u + 0.19999999999703727
    p = p * u + 0.33333333333333676
    tail = s * (u * p)
    # k lies within the exponents of doubles, so the shift by _ROUND converts it exactly.
    exponent = double_of(k + _ROUND_BITS) - _ROUND
    return exponent * _LN2_HIGH + (2.0 * (s + tail) + exponent * _LN2_LOW)


@njit(**HELPER)
def _sine_on_half_turn(r: float) -> float:
    """sin r for |r| <= pi / 2 (fit 2e-19)."""
    u = r * r
    p = 2.7222508093601284e-15
    p = p * u - 7.643097329884678e-13
    p = p * u + 1.6058943926649418e-10
    p = p * u - 2.505210696012346e-08
    p = p * u + 2.7557319212131404e-06
    p = p * u - 0.00019841269841215284
    p = p * u + 0.008333333333333212
    p = p * u - 0.16666666666666666
    return r + r * (u * p)


@njit(**HELPER)
def _cosine_on_half_turn(r: float) -> float:
    """cos r for |r| <= pi / 2 (fit 6e-18)."""
    u = r * r
    p = 4.616101850423237e-14
    p = p * u - 1.1463632520864482e-11
    p = p * u + 2.0876592490629503e-09
    p = p * u - 2.7557317066717094e-07
    p = p * u + 2.480158728576733e-05
    p = p * u - 0.0013888888888829974
    p = p * u + 0.04166666666666583
    return 1.0 + (u * (u * p) - 0.5 * u)


@njit(**HELPER)
def _reduce_by_pi(z: float) -> tuple[float, int]:
    """(r, sign bit) with z = k pi + r, |r| <= pi / 2, the bit being the parity of k; r to 1e-16 for |z| <= 1e8."""
    shifted = z * (1.0 / math.pi) + _ROUND
    k = shifted - _ROUND
    return ((z - k * _PI_1) - k * _PI_2) - k * _PI_3, bits_of(shifted) << 63


@njit(**HELPER)
def sine(z: float) -> float:
    """sin z for |z| <= 1e8, absolute error 2e-16."""
    r, sign = _reduce_by_pi(z)
    return double_of(bits_of(_sine_on_half_turn(r)) ^ sign)


@njit(**HELPER)
def cosine(z: float) -> float:
    """cos z for |z| <= 1e8, absolute error 4e-16."""
    r, sign = _reduce_by_pi(z)
    return double_of(bits_of(_cosine_on_half_turn(r)) ^ sign)


@njit(**HELPER)
def _reduce_by_half(turn: float) -> tuple[float, int]:
    shifted = 2.0 * turn + _ROUND
    return 2.0 * math.pi * (turn - 0.5 * (shifted - _ROUND)), bits_of(shifted) << 63


@njit(**HELPER)
def sine_of_turn(turn: float) -> float:
    """sin(2 pi turn)."""
    r, sign = _reduce_by_half(turn)
    return double_of(bits_of(_sine_on_half_turn(r)) ^ sign)


@njit(**HELPER)
def cosine_of_turn(turn: float) -> float:
    """cos(2 pi turn)."""
    r, sign = _reduce_by_half(turn)
    return double_of(bits_of(_cosine_on_half_turn(r)) ^ sign)


@njit(**HELPER)
def angle_above_axis(y: float, x: float) -> float:
    """atan(y / x) for x >= 0, in [-pi/2, pi/2], 0 at the origin: t P(t^2) / Q(t^2), degrees 6/6 (fit 6e-18)."""
    size = abs(y)
    steep = size > x
    large = size if steep else x
    small = x if steep else size
    t = small / (large if large > 0.0 else 1.0)
    u = t * t
    p = 8.069997602103467e-05
    p = p * u + 0.00935906712986334
    p = p * u + 0.15918909603170667
    p = p * u + 0.9209582664553144
    p = p * u + 2.282887273812316
    p = p * u + 2.5055426637672236
    p = p * u + 1.0
    q = 0.0008266142805186301
    q = q * u + 0.03299674517281844
    q = q * u + 0.3497180557197211
    q = q * u + 1.5057666341676577
    q = q * u + 3.0291792728460525
    q = q * u + 2.838875997100554
    q = q * u + 1.0
    angle = t * (p / q)
    return math.copysign(0.5 * math.pi - angle if steep else angle, y)


@njit(**HELPER)
def sigmoid(z: float) -> float:
    """1 / (1 + e^-z), accurate relative to its value in both tails."""
    t = exponential(-abs(z))
    large = 1.0 / (1.0 + t)
    return t * large if z < 0.0 else large


@njit(**HELPER)
def softplus(z: float) -> float:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    return (z if z > 0.0 else 0.0) + log_one_plus(exponential(-abs(z)))
