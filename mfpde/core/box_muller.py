"""Two normal numbers from 128 random bits: the transformation of Box and Muller (1958), branch-free, on vectors.

    radius = sqrt(-2 log u),   u = (j + 1/2) 2^-52,   j the low 52 bits of the first word
    angle  = pi v,             v = k 2^-52 - 1/2,     k the low 52 bits of the second word

The angle covers the right half plane, and the highest bit of the second word chooses the sign of the cosine. Knowing
the range of u and v saves what general functions spend: u is a normal double below 1, and an angle in half turns needs
no reduction. Cosine and sine come from one quotient p / q = tan(angle / 2), and the radius is doubled under the root so
that  x = radius (q^2 - p^2) / (q^2 + p^2)  and  y = radius 2 p q / (q^2 + p^2)  share one factor. Relative error
of the radius and absolute error of cosine and sine 3e-16; the largest radius is 8.57. Coefficients: minimax (Remez;
Lawson for the quotient) in 60 digits; "fit" is the error of the formula before they were rounded.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from mfpde.core.compilation import HELPER
from mfpde.core.vector import bits_of, fma, of_bits, polynomial, sqrt

_MANTISSA = (1 << 52) - 1
_EXPONENT = -(1 << 52)
_SIGN = -(1 << 63)
_ONE = 0x3FF0000000000000  # the bits of 1
_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_ROUND = 6755399441055744.0  # 1.5 * 2^52: the integer k as a double is the one with bits _ROUND_BITS + k, less _ROUND
_ROUND_BITS = 0x4338000000000000
_EIGHT_LOG_2 = 8.0 * math.log(2.0)

# -16 atanh(s) / s in s^2 for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1) (relative fit 2e-16)
_log_series = polynomial(
    (
        -1.3471284935303283,
        -1.4497445441134942,
        -1.7778751016114802,
        -2.285713276539914,
        -3.2000000049747642,
        -5.333333333324145,
        -16.000000000000004,
    ),
    (),
)
# tan(pi v / 2) = v P / Q in v^2 for |v| <= 1/2 (fit 3e-17)
_tangent_top = polynomial((-0.00017660094970844457, 0.026834022308756332, -0.49720165474121986, 1.5707963267948966), ())
_tangent_bottom = polynomial((-0.0031314038005103013, 0.14212684260750896, -1.1389954376862457, 1.0), ())


@njit(**HELPER)
def _one_to_two(word: Any) -> Any:
    """1 + j 2^-52 with j the low 52 bits of the word."""
    return of_bits((word & _MANTISSA) | _ONE)


@njit(**HELPER)
def unit(word: Any) -> Any:
    """(j + 1/2) 2^-52 with j the low 52 bits of the word: the open interval (0, 1), symmetric, exact."""
    return _one_to_two(word) - (1.0 - 2.0**-53)


@njit(**HELPER)
def minus_eight_log(u: Any) -> Any:
    """-8 log u for normal 0 < u < 1, u = 2^k m with m in [0.7, 1.42]: -8 k log 2 - 16 atanh((m - 1) / (m + 1))."""
    bits = bits_of(u)
    # Subtracting the bits of sqrt(1/2) leaves the exponent of u / m in the top bits.
    shifted = bits - _ROOT_HALF
    m = of_bits(bits - (shifted & _EXPONENT))
    k = of_bits((shifted >> 52) + _ROUND_BITS) - _ROUND
    s = (m - 1.0) / (m + 1.0)
    return fma(s, _log_series(s * s), k * -_EIGHT_LOG_2)


@njit(**HELPER)
def box_muller(first: Any, second: Any) -> tuple[Any, Any]:
    """Two independent standard normal numbers (per lane) from two words of 64 random bits, as int64."""
    v = _one_to_two(second) - 1.5
    square = v * v
    p, q = v * _tangent_top(square), _tangent_bottom(square)
    p_squared = p * p
    norm = fma(q, q, p_squared)
    half_difference = fma(norm, 0.5, -p_squared)
    signed = of_bits(bits_of(half_difference) ^ (second & _SIGN))
    # Written as a product so that the division need not wait for the root.
    factor = sqrt(minus_eight_log(unit(first))) * (1.0 / norm)
    return factor * signed, factor * (p * q)
