"""Activations and their derivatives by integer code.

Formulas: erf is erf(z / sqrt 2), gelu z Phi(z), softplus log(1 + e^z), quadratic z^2, hermite
sum_k c_k He_k(z) / sqrt(k!). A code, not a function, is passed to the kernels: Numba's cache does not survive function
arguments. Branches on the code stand outside the loops, whose bodies vectorise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from mfpde.core.elementary import (
    KERNEL,
    cosine,
    erf_scaled,
    erf_scaled_slope,
    sigmoid,
    sine,
    softplus,
    tanh,
)

Array = NDArray[np.float64]

RELU, TANH, ERF, SIGMOID, GELU, SOFTPLUS, SIN, QUADRATIC, IDENTITY, HERMITE = range(10)
CODES: dict[str, int] = {
    "relu": RELU,
    "tanh": TANH,
    "erf": ERF,
    "sigmoid": SIGMOID,
    "gelu": GELU,
    "softplus": SOFTPLUS,
    "sin": SIN,
    "quadratic": QUADRATIC,
    "identity": IDENTITY,
    "hermite": HERMITE,
}
HOMOGENEITY: dict[str, int] = {"relu": 1, "identity": 1, "quadratic": 2}


@njit(**KERNEL)
def fill(code: int, hermite: Array, z: Array, value: Array) -> None:
    """value_i = sigma(z_i); z and value of equal length, contiguous."""
    n = z.shape[0]
    if code == RELU:
        for i in range(n):
            value[i] = z[i] if z[i] > 0.0 else 0.0
    elif code == TANH:
        for i in range(n):
            value[i] = tanh(z[i])
    elif code == ERF:
        for i in range(n):
            value[i] = erf_scaled(z[i])
    elif code == SIGMOID:
        for i in range(n):
            value[i] = sigmoid(z[i])
    elif code == GELU:
        for i in range(n):
            value[i] = 0.5 * z[i] * (1.0 + erf_scaled(z[i]))
    elif code == SOFTPLUS:
        for i in range(n):
            value[i] = softplus(z[i])
    elif code == SIN:
        for i in range(n):
            value[i] = sine(z[i])
    elif code == QUADRATIC:
        for i in range(n):
            value[i] = z[i] * z[i]
    elif code == IDENTITY:
        for i in range(n):
            value[i] = z[i]
    else:
        _fill_hermite(hermite, z, value)


@njit(**KERNEL)
def fill_slope(code: int, hermite: Array, z: Array, slope: Array) -> None:
    """slope_i = sigma'(z_i), with relu'(0) = 0."""
    n = z.shape[0]
    if code == RELU:
        for i in range(n):
            slope[i] = 1.0 if z[i] > 0.0 else 0.0
    elif code == TANH:
        for i in range(n):
            value = tanh(z[i])
            slope[i] = 1.0 - value * value
    elif code == ERF:
        for i in range(n):
            slope[i] = erf_scaled_slope(z[i])
    elif code == SIGMOID:
        for i in range(n):
            slope[i] = sigmoid(z[i]) * sigmoid(-z[i])
    elif code == GELU:
        for i in range(n):
            slope[i] = 0.5 * (1.0 + erf_scaled(z[i]) + z[i] * erf_scaled_slope(z[i]))
    elif code == SOFTPLUS:
        for i in range(n):
            slope[i] = sigmoid(z[i])
    elif code == SIN:
        for i in range(n):
            slope[i] = cosine(z[i])
    elif code == QUADRATIC:
        for i in range(n):
            slope[i] = 2.0 * z[i]
    elif code == IDENTITY:
        for i in range(n):
            slope[i] = 1.0
    else:
        _fill_hermite(_derivative_coefficients(hermite), z, slope)


@njit(**KERNEL)
def fill_both(code: int, hermite: Array, z: Array, value: Array, slope: Array) -> None:
    """value_i = sigma(z_i) and slope_i = sigma'(z_i) in one pass where they share work."""
    n = z.shape[0]
    if code == TANH:
        for i in range(n):
            t = tanh(z[i])
            value[i] = t
            slope[i] = 1.0 - t * t
    elif code == ERF:
        for i in range(n):
            value[i] = erf_scaled(z[i])
            slope[i] = erf_scaled_slope(z[i])
    else:
        fill(code, hermite, z, value)
        fill_slope(code, hermite, z, slope)


@njit(**KERNEL)
def _derivative_coefficients(hermite: Array) -> Array:
    """Coefficients of the derivative: h_k' = sqrt(k) h_(k-1)."""
    derived = np.zeros(max(hermite.shape[0] - 1, 1))
    for k in range(1, hermite.shape[0]):
        derived[k - 1] = np.sqrt(k) * hermite[k]
    return derived


@njit(**KERNEL)
def _fill_hermite(hermite: Array, z: Array, value: Array) -> None:
    """value_i = sum_k c_k h_k(z_i), by the recurrence sqrt(k+1) h_(k+1) = z h_k - sqrt(k) h_(k-1)."""
    n = z.shape[0]
    before = np.zeros(n)
    current = np.ones(n)
    for i in range(n):
        value[i] = hermite[0]
    for k in range(1, hermite.shape[0]):
        scale = 1.0 / np.sqrt(k)
        back = np.sqrt(k - 1.0) * scale
        coefficient = hermite[k]
        for i in range(n):
            following = scale * z[i] * current[i] - back * before[i]
            before[i] = current[i]
            current[i] = following
            value[i] += coefficient * following


def evaluate(name: str, z: ArrayLike, hermite: Sequence[float] = ()) -> Array:
    """sigma(z) of the activation called ``name``, for z of any shape. ValueError for an unknown name."""
    return _elementwise(fill, name, z, hermite)


def derivative(name: str, z: ArrayLike, hermite: Sequence[float] = ()) -> Array:
    """sigma'(z) of the activation called ``name``, for z of any shape. ValueError for an unknown name."""
    return _elementwise(fill_slope, name, z, hermite)


def _elementwise(kernel: Callable[..., None], name: str, z: ArrayLike, hermite: Sequence[float]) -> Array:
    if name not in CODES:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(CODES)}")
    points = np.asarray(z, dtype=np.float64, order="C")
    result = np.empty(points.shape)
    coefficients = np.array(hermite if len(hermite) else (0.0,), dtype=np.float64)
    kernel(CODES[name], coefficients, points.reshape(-1), result.reshape(-1))
    return result
