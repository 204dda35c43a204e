"""What two passers-by do to each other, as device functions: activations with slopes, and Gaussian pair kernels.

Every function has the signature element(z, table, replica, i, j) -> (value, slope, across), where z is the product
of owner i with passer j, value and slope are K(z) and dK/dz, and across is the derivative in the squared norm of the
owner (zero for a network). The formulas are those of core.activations and core.pairs; ``table`` holds what they need
beyond z. One function is made per formula and precision, so that no branch on either is left in a kernel: a formula is
a factory that gets the type of its numbers, ``real``, and closes over constants of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from mfpde.core.activations import ERF, GELU, HERMITE, IDENTITY, QUADRATIC, RELU, SIGMOID, SIN, SOFTPLUS, TANH

Array = NDArray[np.float64]
Element = tuple[float, float, float]


# ---- activations ---------------------------------------------------------------------------------------------------


def _relu(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return (z, one, zero) if z > zero else (zero, zero, zero)

    return element


def _tanh(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        value = math.tanh(z)
        return value, one - value * value, zero

    return element


def _erf(real: Any) -> Any:
    zero, half, two = real(0.0), real(0.5), real(2.0)
    root_half, density = real(math.sqrt(0.5)), real(math.sqrt(0.5 / math.pi))

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return math.erf(z * root_half), two * density * math.exp(-half * z * z), zero

    return element


def _sigmoid(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        t = math.exp(-abs(z))
        large = one / (one + t)
        return large if z >= zero else t * large, t * large * large, zero

    return element


def _gelu(real: Any) -> Any:
    zero, half = real(0.0), real(0.5)
    root_half, density = real(math.sqrt(0.5)), real(math.sqrt(0.5 / math.pi))

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        below = half * math.erfc(-z * root_half)
        return z * below, below + z * density * math.exp(-half * z * z), zero

    return element


def _softplus(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        t = math.exp(-abs(z))
        large = one / (one + t)
        return max(z, zero) + math.log1p(t), large if z >= zero else t * large, zero

    return element


def _sine(real: Any) -> Any:
    zero = real(0.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return math.sin(z), math.cos(z), zero

    return element


def _quadratic(real: Any) -> Any:
    zero, two = real(0.0), real(2.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return z * z, two * z, zero

    return element


def _identity(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return z, one, zero

    return element


def _hermite(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        before, current = zero, one
        value, slope = table[0, 0, 0], zero
        for k in range(1, table.shape[2]):
            slope += table[0, 1, k] * current
            before, current = current, table[0, 2, k] * z * current - table[0, 3, k] * before
            value += table[0, 0, k] * current
        return value, slope, zero

    return element


_ACTIVATIONS: dict[int, Callable[[Any], Any]] = {
    RELU: _relu,
    TANH: _tanh,
    ERF: _erf,
    SIGMOID: _sigmoid,
    GELU: _gelu,
    SOFTPLUS: _softplus,
    SIN: _sine,
    QUADRATIC: _quadratic,
    IDENTITY: _identity,
    HERMITE: _hermite,
}


@cache
def activation(code: int, real: Any) -> Any:
    """sigma(z), sigma'(z), 0; for hermite ``table`` is that of ``hermite_table``, else it is not read."""
    return _ACTIVATIONS[code](real)


def hermite_table(hermite: Array) -> Array:
    """[1, 4, K]: c_k; sqrt(k) c_k; and the two factors of h_k = z h_(k-1) / sqrt(k) - sqrt((k-1)/k) h_(k-2)."""
    k = np.arange(len(hermite), dtype=np.float64)
    scale = 1.0 / np.sqrt(np.maximum(k, 1.0))
    return np.stack([hermite, np.sqrt(k) * hermite, scale, np.sqrt(np.maximum(k - 1.0, 0.0)) * scale])[None]


# ---- Gaussian pair kernels ------------------------------------------------------------------------------------------


def _erf_pair(real: Any) -> Any:
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    over_pi = real(1.0 / math.pi)

    @cuda.jit(device=True)
    def element(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        q, other = table[replica, 0, i], table[replica, 0, j]
        root = math.sqrt((one + q + other) + max(q * other - p * p, zero))
        slope = two * over_pi / root
        return two * over_pi * math.atan2(p, root), slope, -half * slope * p / (one + q)

    return element


def _relu_pair(real: Any) -> Any:
    zero, half = real(0.0), real(0.5)
    right_angle, over_pi = real(0.5 * math.pi), real(1.0 / math.pi)

    @cuda.jit(device=True)
    def element(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        q, other = table[replica, 0, i], table[replica, 0, j]
        root = math.sqrt(max(q * other - p * p, zero))
        angle = right_angle + math.atan2(p, root)
        value = half * over_pi * (root + angle * p)
        if q > zero:
            return value, half * over_pi * angle, half * half * over_pi * root / q
        return value, zero, zero

    return element


def _sine_pair(real: Any) -> Any:
    half = real(0.5)

    @cuda.jit(device=True)
    def element(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        mean = half * (table[replica, 0, i] + table[replica, 0, j])
        plus, minus = half * math.exp(p - mean), half * math.exp(-p - mean)
        return plus - minus, plus + minus, half * (minus - plus)

    return element


def _quadratic_pair(real: Any) -> Any:
    two, four = real(2.0), real(4.0)

    @cuda.jit(device=True)
    def element(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        q, other = table[replica, 0, i], table[replica, 0, j]
        return q * other + two * p * p, four * p, other

    return element


def _hermite_pair(real: Any) -> Any:
    zero, one = real(0.0), real(1.0)

    @cuda.jit(device=True)
    def element(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        orders = table.shape[1] // 2
        value = table[replica, 1, i] * table[replica, 1, j]
        across = table[replica, orders + 1, i] * table[replica, 1, j]
        slope, power, degree = zero, one, zero
        for k in range(1, orders):
            own, other = table[replica, k + 1, i], table[replica, k + 1, j]
            degree += one
            slope += degree * own * other * power
            power *= p
            value += own * other * power
            across += table[replica, orders + k + 1, i] * other * power
        return value, slope, across

    return element


_PAIR_KERNELS: dict[int, Callable[[Any], Any]] = {
    RELU: _relu_pair,
    ERF: _erf_pair,
    SIN: _sine_pair,
    QUADRATIC: _quadratic_pair,
    IDENTITY: _identity,
    HERMITE: _hermite_pair,
}


@cache
def pair_kernel(code: int, real: Any) -> Any:
    """K(p, q, q'), K_p, K_q of core.pairs; ``table`` [R, 1 + 2 K, N] holds q and, for hermite, C_k(q), C_k'(q).

    ValueError for an activation without a closed form.
    """
    if code not in _PAIR_KERNELS:
        raise ValueError("this activation has no closed-form pair kernel")
    return _PAIR_KERNELS[code](real)
