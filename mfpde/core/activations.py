"""Activations and their derivatives by integer code, on vectors and scalars.

Formulas: erf is erf(z / sqrt 2), gelu z Phi(z), softplus log(1 + e^z), quadratic z^2, hermite
sum_k c_k He_k(z) / sqrt(k!), piecewise-linear continuous with slopes between knots. Kernels are compiled once per
code: a function argument would not survive Numba's cache, a branch on the code inside a loop would cost more than the
activation.

Infinite arguments give the limit where there is one (erf, relu, sigmoid, softplus, tanh; gelu at -inf and
piecewise-linear where it is flat: NaN), NaN for sin and hermite; NaN gives NaN, but for relu 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import ArrayLike, NDArray

from mfpde.core.compilation import HELPER, kernel
from mfpde.core.elementary import cosine, erf_scaled_with_slope, sigmoid, sine, softplus, tanh
from mfpde.core.transfers import filled, lanes, load, store
from mfpde.core.vector import fma, select

Array = NDArray[np.float64]
Kernel = Callable[..., None]

RELU, TANH, ERF, SIGMOID, GELU, SOFTPLUS, SIN, QUADRATIC, IDENTITY, HERMITE, PIECEWISE = range(11)
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
    "piecewise-linear": PIECEWISE,
}
HOMOGENEITY: dict[str, int] = {"relu": 1, "identity": 1, "quadratic": 2}


@njit(**HELPER)
def _relu_slope(value: Any) -> Any:
    return select(value > 0.0, filled(value, 1.0), 0.0)


@njit(**HELPER)
def _relu(series: Array, z: Any) -> Any:
    return select(z > 0.0, z, 0.0), _relu_slope(z)


@njit(**HELPER)
def _tanh_slope(value: Any) -> Any:
    return fma(-value, value, 1.0)


@njit(**HELPER)
def _tanh(series: Array, z: Any) -> Any:
    value = tanh(z)
    return value, _tanh_slope(value)


@njit(**HELPER)
def _erf(series: Array, z: Any) -> Any:
    return erf_scaled_with_slope(z)


@njit(**HELPER)
def _sigmoid(series: Array, z: Any) -> Any:
    value = sigmoid(z)
    return value, value * sigmoid(-z)


@njit(**HELPER)
def _gelu(series: Array, z: Any) -> Any:
    value, slope = erf_scaled_with_slope(z)
    twice = 1.0 + value
    return 0.5 * (z * twice), 0.5 * fma(z, slope, twice)


@njit(**HELPER)
def _softplus(series: Array, z: Any) -> Any:
    return softplus(z), sigmoid(z)


@njit(**HELPER)
def _sin(series: Array, z: Any) -> Any:
    return sine(z), cosine(z)


@njit(**HELPER)
def _quadratic(series: Array, z: Any) -> Any:
    return z * z, 2.0 * z


@njit(**HELPER)
def _identity_slope(value: Any) -> Any:
    return filled(value, 1.0)


@njit(**HELPER)
def _identity(series: Array, z: Any) -> Any:
    return z, _identity_slope(z)


@njit(**HELPER)
def _hermite(series: Array, z: Any) -> Any:
    """sum_k c_k h_k and sum_k d_k h_k by h_(k+1) = s_k z h_k - t_k h_(k-1); rows of ``series``: c, d, s, t."""
    before, current = filled(z, 0.0), filled(z, 1.0)
    value, slope = series[0] * current, series[1] * current
    for k in range(4, series.shape[0], 4):
        following = fma(series[k + 2] * z, current, -series[k + 3] * before)
        before, current = current, following
        value = fma(series[k], current, value)
        slope = fma(series[k + 1], current, slope)
    return value, slope


@njit(**HELPER)
def _piecewise(series: Array, z: Any) -> Any:
    """The piece in which z lies: value + slope (z - knot); rows of ``series``: knot, value there, slope; left-open."""
    knot, value, slope = filled(z, series[0]), filled(z, series[1]), filled(z, series[2])
    for k in range(3, series.shape[0], 3):
        above = z > series[k]
        knot = select(above, series[k], knot)
        value = select(above, series[k + 1], value)
        slope = select(above, series[k + 2], slope)
    return fma(slope, z - knot, value), slope


_FORMULAS = {
    RELU: _relu,
    TANH: _tanh,
    ERF: _erf,
    SIGMOID: _sigmoid,
    GELU: _gelu,
    SOFTPLUS: _softplus,
    SIN: _sin,
    QUADRATIC: _quadratic,
    IDENTITY: _identity,
    HERMITE: _hermite,
    PIECEWISE: _piecewise,
}


def value_and_slope(code: int, series: Array, z: Any) -> Any:
    """(sigma(z), sigma'(z)) inside kernels, for a code known at compilation; relu'(0) = 0.

    LLVM drops what is not used. ``series`` is that of the code, which those without parameters do not look at.
    """
    raise NotImplementedError("for compiled code")


@overload(value_and_slope, prefer_literal=True, strict=False, jit_options=HELPER)
def _value_and_slope(code: Any, series: Any, z: Any) -> Any:
    if not isinstance(code, types.IntegerLiteral):
        return None
    formula = _FORMULAS[code.literal_value]
    return lambda code, series, z: formula(series, z)


# slopes that the value tells without another elementary function, by the same arithmetic as the formulas above
_SLOPES = {RELU: _relu_slope, TANH: _tanh_slope, IDENTITY: _identity_slope}
FROM_VALUE = frozenset(_SLOPES)
# about how many operations the value takes, and the slope where it is evaluated on its own; a division as sixteen
OPERATIONS = {
    RELU: 1,
    TANH: 40,
    ERF: 78,
    SIGMOID: 52,
    GELU: 82,
    SOFTPLUS: 80,
    SIN: 30,
    QUADRATIC: 1,
    IDENTITY: 0,
    HERMITE: 20,
    PIECEWISE: 10,
}
SLOPE_OPERATIONS = {ERF: 32, SIGMOID: 70, GELU: 90, SOFTPLUS: 52, SIN: 32, QUADRATIC: 1, HERMITE: 20, PIECEWISE: 10}


def slope_of_value(code: int, value: Any) -> Any:
    """sigma'(z) inside kernels from sigma(z), for a code of FROM_VALUE known at compilation."""
    raise NotImplementedError("for compiled code")


@overload(slope_of_value, prefer_literal=True, strict=False, jit_options=HELPER)
def _slope_of_value(code: Any, value: Any) -> Any:
    if not isinstance(code, types.IntegerLiteral):
        return None
    formula = _SLOPES.get(code.literal_value, _identity_slope)
    return lambda code, value: formula(value)


def series(code: int, parameters: ArrayLike) -> Array:
    """What kernels read of an activation's parameters: h_k for HERMITE, ``flatten_pieces`` for PIECEWISE."""
    return piecewise_series(parameters) if code == PIECEWISE else hermite_series(parameters)


def hermite_series(coefficients: ArrayLike) -> Array:
    """Rows (c_k, d_k, s_k, t_k), flat: sigma = sum_k c_k h_k, sigma' = sum_k d_k h_k, and the recurrence of h_k.

    h_k = s_k z h_(k-1) - t_k h_(k-2) and h_k' = sqrt(k) h_(k-1).
    """
    c = np.atleast_1d(np.asarray(coefficients, dtype=np.float64))
    k = np.arange(1, len(c), dtype=np.float64)
    rows = np.zeros((len(c), 4))
    rows[:, 0] = c
    rows[:-1, 1] = np.sqrt(k) * c[1:]
    rows[1:, 2] = 1.0 / np.sqrt(k)
    rows[1:, 3] = np.sqrt((k - 1.0) / k)
    return rows.reshape(-1)


def flatten_pieces(knots: ArrayLike, slopes: ArrayLike, value: float) -> Array:
    """Parameters of PIECEWISE in one array: knots [K] increasing, slopes [K + 1], sigma at the first knot."""
    return np.concatenate([np.asarray(knots, np.float64), np.asarray(slopes, np.float64), [value]])


def pieces(parameters: ArrayLike) -> tuple[Array, Array, float]:
    """(knots [K], slopes [K + 1], value at the first knot) from ``flatten_pieces``."""
    flat = np.asarray(parameters, np.float64)
    if len(flat) < 4 or len(flat) % 2:
        raise ValueError(f"piecewise-linear has {len(flat)} parameters; it needs knots, one slope more, and a value")
    count = len(flat) // 2 - 1
    return flat[:count], flat[count:-1], float(flat[-1])


def piecewise_series(parameters: ArrayLike) -> Array:
    """Rows (knot, value there, slope), flat, one per piece; the first starts from the first knot to the left."""
    knots, slopes, value = pieces(parameters)
    values = value + np.concatenate([[0.0], np.cumsum(slopes[1:-1] * np.diff(knots))])
    rows = np.stack([knots, values, slopes[1:]], axis=1)
    return np.concatenate([[[knots[0], value, slopes[0]]], rows]).reshape(-1)


@cache
def _elementwise(code: int) -> Kernel:
    @kernel
    def fill(series: Array, z: Array, value: Array, slope: Array) -> None:
        for i in range(0, z.shape[0], lanes(z)):
            v, s = value_and_slope(code, series, load(z, i))
            store(value, i, v)
            store(slope, i, s)

    return fill


def fill(code: int, parameters: ArrayLike, z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(sigma(z_i), sigma'(z_i)) for z of any shape, float32 in single precision, else in double."""
    dtype = np.float32 if np.asarray(z).dtype == np.float32 else np.float64
    points = np.asarray(z, dtype=dtype)
    width = lanes(points)
    padded = np.zeros(-(-points.size // width) * width, dtype)
    padded[: points.size] = points.reshape(-1)
    value, slope = np.empty_like(padded), np.empty_like(padded)
    _elementwise(code)(series(code, parameters), padded, value, slope)
    return value[: points.size].reshape(points.shape), slope[: points.size].reshape(points.shape)


def evaluate(name: str, z: ArrayLike, hermite: Sequence[float] = ()) -> Array:
    """sigma(z) of the activation called ``name``, for z of any shape. ValueError for an unknown name.

    ``hermite`` are the parameters of the activation: h_k of "hermite", flatten_pieces of "piecewise-linear".
    """
    return fill(_code(name), hermite if len(hermite) else (0.0,), np.asarray(z, np.float64))[0]


def derivative(name: str, z: ArrayLike, hermite: Sequence[float] = ()) -> Array:
    """sigma'(z) of the activation called ``name``, for z of any shape, at a knot that from the left; see evaluate."""
    return fill(_code(name), hermite if len(hermite) else (0.0,), np.asarray(z, np.float64))[1]


def _code(name: str) -> int:
    if name not in CODES:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(CODES)}")
    return CODES[name]
