"""What two passers-by do to each other, as device functions: activations with slopes, and Gaussian pair kernels.

Every function has the signature element(z, table, replica, i, j) -> (value, slope, across), where z is the product
of owner i with passer j, value and slope are K(z) and dK/dz, and across is the derivative in the squared norm of the
owner (zero for a network). The formulas are those of core.activations and core.pairs; ``table`` holds what they need
beyond z. One function is made per formula and precision, so that no branch on either is left in a kernel.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from mfpde.core.activations import ERF, GELU, HERMITE, IDENTITY, QUADRATIC, RELU, SIGMOID, SIN, SOFTPLUS, TANH

Array = NDArray[np.float64]
Element = tuple[float, float, float]


@cache
def activation(code: int, real: Any) -> Any:
    """sigma(z), sigma'(z), 0; for hermite ``table`` is that of ``hermite_table``, else it is not read."""
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    root_half, density = real(math.sqrt(0.5)), real(math.sqrt(0.5 / math.pi))

    @cuda.jit(device=True)
    def relu(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return (z, one, zero) if z > zero else (zero, zero, zero)

    @cuda.jit(device=True)
    def tanh(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        value = math.tanh(z)
        return value, one - value * value, zero

    @cuda.jit(device=True)
    def erf(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return math.erf(z * root_half), two * density * math.exp(-half * z * z), zero

    @cuda.jit(device=True)
    def sigmoid(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        t = math.exp(-abs(z))
        large = one / (one + t)
        return large if z >= zero else t * large, t * large * large, zero

    @cuda.jit(device=True)
    def gelu(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        below = half * math.erfc(-z * root_half)
        return z * below, below + z * density * math.exp(-half * z * z), zero

    @cuda.jit(device=True)
    def softplus(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        t = math.exp(-abs(z))
        large = one / (one + t)
        return max(z, zero) + math.log1p(t), large if z >= zero else t * large, zero

    @cuda.jit(device=True)
    def sine(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return math.sin(z), math.cos(z), zero

    @cuda.jit(device=True)
    def quadratic(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return z * z, two * z, zero

    @cuda.jit(device=True)
    def identity(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        return z, one, zero

    @cuda.jit(device=True)
    def hermite(z: float, table: Array, replica: int, i: int, j: int) -> Element:
        before, current = zero, one
        value, slope = table[0, 0, 0], zero
        for k in range(1, table.shape[2]):
            slope += table[0, 1, k] * current
            before, current = current, table[0, 2, k] * z * current - table[0, 3, k] * before
            value += table[0, 0, k] * current
        return value, slope, zero

    return {
        RELU: relu,
        TANH: tanh,
        ERF: erf,
        SIGMOID: sigmoid,
        GELU: gelu,
        SOFTPLUS: softplus,
        SIN: sine,
        QUADRATIC: quadratic,
        IDENTITY: identity,
        HERMITE: hermite,
    }[code]


def hermite_table(hermite: Array) -> Array:
    """[1, 4, K]: c_k; sqrt(k) c_k; and the two factors of h_k = z h_(k-1) / sqrt(k) - sqrt((k-1)/k) h_(k-2)."""
    k = np.arange(len(hermite), dtype=np.float64)
    scale = 1.0 / np.sqrt(np.maximum(k, 1.0))
    return np.stack([hermite, np.sqrt(k) * hermite, scale, np.sqrt(np.maximum(k - 1.0, 0.0)) * scale])[None]


@cache
def pair_kernel(code: int, real: Any) -> Any:
    """K(p, q, q'), K_p, K_q of core.pairs; ``table`` [R, 1 + 2 K, N] holds q and, for hermite, C_k(q), C_k'(q).

    ValueError for an activation without a closed form.
    """
    zero, half, one, two, four = real(0.0), real(0.5), real(1.0), real(2.0), real(4.0)
    right_angle, over_pi = real(0.5 * math.pi), real(1.0 / math.pi)

    @cuda.jit(device=True)
    def erf(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        q, other = table[replica, 0, i], table[replica, 0, j]
        root = math.sqrt((one + q + other) + max(q * other - p * p, zero))
        slope = two * over_pi / root
        return two * over_pi * math.atan2(p, root), slope, -half * slope * p / (one + q)

    @cuda.jit(device=True)
    def relu(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        q, other = table[replica, 0, i], table[replica, 0, j]
        root = math.sqrt(max(q * other - p * p, zero))
        angle = right_angle + math.atan2(p, root)
        value = half * over_pi * (root + angle * p)
        if q > zero:
            return value, half * over_pi * angle, half * half * over_pi * root / q
        return value, zero, zero

    @cuda.jit(device=True)
    def sine(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        mean = half * (table[replica, 0, i] + table[replica, 0, j])
        plus, minus = half * math.exp(p - mean), half * math.exp(-p - mean)
        return plus - minus, plus + minus, half * (minus - plus)

    @cuda.jit(device=True)
    def quadratic(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        q, other = table[replica, 0, i], table[replica, 0, j]
        return q * other + two * p * p, four * p, other

    @cuda.jit(device=True)
    def identity(p: float, table: Array, replica: int, i: int, j: int) -> Element:
        return p, one, zero

    @cuda.jit(device=True)
    def hermite(p: float, table: Array, replica: int, i: int, j: int) -> Element:
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

    formulas = {RELU: relu, ERF: erf, SIN: sine, QUADRATIC: quadratic, IDENTITY: identity, HERMITE: hermite}
    if code not in formulas:
        raise ValueError("this activation has no closed-form pair kernel")
    return formulas[code]
