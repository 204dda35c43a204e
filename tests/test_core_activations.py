"""Activations against scipy and against long-arithmetic values; derivatives against differences."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest

from mfpde.core.activations import CODES, HOMOGENEITY, derivative, evaluate, fill, hermite_series

# coefficients of "hermite", and knots, slopes and value of "piecewise-linear"
HERMITE = (-0.5, 0.7, 0.3, -1.0, 0.5, 0.25)
NAMES = list(CODES)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    generator = np.random.default_rng(7)
    spread = [generator.uniform(-s, s, 4000) for s in (1e-8, 1e-3, 1.0, 3.0, 8.0, 20.0, 40.0)]
    return np.concatenate([*spread, np.linspace(-12.0, 12.0, 20_001), [0.0]])


@pytest.mark.parametrize("name", NAMES)
def test_value_and_slope_agree_with_scipy(name: str, points: np.ndarray) -> None:
    expected = naive.activation(name, points, HERMITE)
    slope = naive.activation_slope(name, points, HERMITE)
    # Values that grow with z carry the rounding of their argument: the scale is that of the largest term.
    scale = np.maximum(1.0, np.abs(points)) ** (5 if name == "hermite" else 1)
    assert np.max(np.abs(evaluate(name, points, HERMITE) - expected) / scale) < 1.5e-15
    assert np.max(np.abs(derivative(name, points, HERMITE) - slope) / scale) < 3e-15


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_saturating_activations_are_accurate_bounded_and_odd(name: str, points: np.ndarray) -> None:
    values = evaluate(name, points)
    expected = naive.activation(name, points)
    assert np.max(np.abs(values - expected)) < 6e-16  # 5e-16 of the code, half an ulp of the reference
    near = (np.abs(points) < 1.0) & (points != 0.0)
    assert np.max(np.abs(values[near] / expected[near] - 1.0)) < 1e-14
    assert np.max(np.abs(values)) <= 1.0
    assert np.array_equal(evaluate(name, -points), -values)


# 30-digit values from arbitrary-precision arithmetic, rounded to double.
EXACT = [
    ("tanh", 0.5, 0.46211715726000975850),
    ("tanh", 3.0, 0.99505475368673045133),
    ("erf", 0.5, 0.38292492254802620728),
    ("erf", 3.0, 0.99730020393673981094),
    ("sigmoid", -30.0, 9.3576229688392989e-14),
    ("softplus", -30.0, 9.3576229688397368e-14),
    ("gelu", 1.0, 0.84134474606854294859),
    ("sin", 1e8, 0.93163902710972619890),
]


@pytest.mark.parametrize(("name", "z", "expected"), EXACT)
def test_values_from_long_arithmetic(name: str, z: float, expected: float) -> None:
    assert evaluate(name, z) == pytest.approx(expected, rel=5e-15, abs=0.0)


def test_sine_and_cosine_keep_their_phase_far_out() -> None:
    z = np.random.default_rng(3).uniform(-1e8, 1e8, 20_000)
    assert np.max(np.abs(evaluate("sin", z) - np.sin(z))) < 4e-16
    assert np.max(np.abs(derivative("sin", z) - np.cos(z))) < 4e-16
    assert np.max(np.abs(evaluate("sin", z) ** 2 + derivative("sin", z) ** 2 - 1.0)) < 1e-15


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("hermite", "piecewise-linear")])
def test_huge_arguments_stay_finite(name: str) -> None:
    z = np.array([-1e8, -1e4, -750.0, -709.0, 709.0, 750.0, 1e4, 1e8])
    values, slopes = evaluate(name, z), derivative(name, z)
    assert np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))
    expected = naive.activation(name, z)
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_not_a_number_is_passed_on(name: str) -> None:
    assert np.isnan(evaluate(name, math.nan, HERMITE)) or name == "relu"


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_the_derivative(name: str) -> None:
    z = np.linspace(-4.0, 4.0, 801) + 1e-3
    step = 1e-5
    difference = (evaluate(name, z + step, HERMITE) - evaluate(name, z - step, HERMITE)) / (2.0 * step)
    np.testing.assert_allclose(derivative(name, z, HERMITE), difference, atol=2e-8)
    if name == "relu":
        assert derivative(name, 0.0) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_accurate_to_its_own_rounding(name: str, points: np.ndarray) -> None:
    z = points.astype(np.float32)
    value, slope = fill(CODES[name], HERMITE, z)
    assert value.dtype == slope.dtype == np.float32
    exact = z.astype(float)
    scale = np.maximum(1.0, np.abs(exact)) ** (5 if name == "hermite" else 2 if name == "quadratic" else 1)
    assert np.max(np.abs(value - naive.activation(name, exact, HERMITE)) / scale) < 4e-7
    assert np.max(np.abs(slope - naive.activation_slope(name, exact, HERMITE)) / scale) < 4e-7


@pytest.mark.parametrize("name", ["relu", "tanh", "erf", "sigmoid", "softplus", "quadratic", "identity"])
def test_infinite_arguments_give_the_limit(name: str) -> None:
    z = np.array([-np.inf, np.inf])
    limits = {
        "relu": (0.0, np.inf, 0.0, 1.0),
        "tanh": (-1.0, 1.0, 0.0, 0.0),
        "erf": (-1.0, 1.0, 0.0, 0.0),
        "sigmoid": (0.0, 1.0, 0.0, 0.0),
        "softplus": (0.0, np.inf, 0.0, 1.0),
        "quadratic": (np.inf, np.inf, -np.inf, np.inf),
        "identity": (-np.inf, np.inf, 1.0, 1.0),
    }
    assert (*evaluate(name, z), *derivative(name, z)) == limits[name]


def test_series_of_the_derivative_is_that_of_numpy() -> None:
    # h_k' = sqrt(k) h_(k-1), row 1 of the table; numpy differentiates He_k
    table = hermite_series(HERMITE).reshape(-1, 4)
    factorials = np.array([math.factorial(k) for k in range(len(HERMITE))], dtype=float)
    derived = np.polynomial.hermite_e.hermeder(np.array(HERMITE) / np.sqrt(factorials))
    np.testing.assert_allclose(table[:-1, 1], derived * np.sqrt(factorials[:-1]), rtol=1e-14)


@pytest.mark.parametrize("name", HOMOGENEITY)
def test_homogeneous_activations_scale(name: str) -> None:
    z = np.linspace(-2.0, 2.0, 41)
    np.testing.assert_allclose(evaluate(name, 3.0 * z), 3.0 ** HOMOGENEITY[name] * evaluate(name, z), rtol=1e-15)


def test_shapes_are_kept_and_unknown_names_refused() -> None:
    assert evaluate("tanh", np.zeros((2, 3))).shape == (2, 3)
    assert evaluate("tanh", 0.5).shape == ()
    with pytest.raises(ValueError, match="relu"):
        evaluate("swish", 0.0)
    with pytest.raises(ValueError, match="knots"):
        evaluate("piecewise-linear", 0.0)
