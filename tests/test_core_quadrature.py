"""Gauss rules against moments, closed forms and scipy's tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import roots_genlaguerre, roots_hermitenorm, roots_jacobi

from mfpde.core import quadrature


def double_factorial(k: int) -> float:
    return math.prod(range(k, 0, -2)) if k > 0 else 1.0


@pytest.mark.parametrize("n", [1, 2, 7, 40, 150])
def test_gauss_hermite_integrates_every_polynomial_up_to_its_degree(n: int) -> None:
    nodes, weights = quadrature.gauss_hermite(n, prune=0.0)
    assert nodes.size == n
    for degree in range(min(2 * n, 40)):
        exact = double_factorial(degree - 1) if degree % 2 == 0 else 0.0
        scale = weights @ np.abs(nodes) ** degree
        assert abs(weights @ nodes**degree - exact) <= 1e-13 * max(scale, 1.0)


def test_gauss_hermite_agrees_with_scipy_down_to_the_smallest_weights() -> None:
    nodes, weights = quadrature.gauss_hermite(60, prune=0.0)
    expected_nodes, expected_weights = roots_hermitenorm(60)
    np.testing.assert_allclose(nodes, expected_nodes, rtol=0, atol=1e-12)
    np.testing.assert_allclose(weights, expected_weights / math.sqrt(2.0 * math.pi), rtol=1e-10)


def test_gauss_hermite_pruning_keeps_the_law() -> None:
    nodes, weights = quadrature.gauss_hermite(1000)
    assert nodes.size < 200
    assert weights.min() > 0.9e-18
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert weights @ nodes**2 == pytest.approx(1.0, rel=1e-13)
    assert weights @ np.cos(nodes) == pytest.approx(math.exp(-0.5), rel=1e-13)


@pytest.mark.parametrize("block", [2, 3, 4, 9, 100, 10_000, 1_000_000])
@pytest.mark.parametrize("n", [3, 16, 48])
def test_radius_and_sphere_moments(block: int, n: int) -> None:
    radii, weights = quadrature.radius(block, n)
    assert np.all(radii >= 0.0) and np.all(weights >= 0.0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert weights @ radii**2 == pytest.approx(block, rel=1e-13)
    assert weights @ radii**4 == pytest.approx(block * (block + 2.0), rel=1e-13)
    centred = weights @ (radii**2 - block) ** 2
    assert centred == pytest.approx(2.0 * block, rel=1e-8)
    t, mass = quadrature.sphere_coordinate(block, n)
    assert mass.sum() == pytest.approx(1.0, abs=1e-14)
    assert np.all(np.abs(t) <= 1.0) and np.array_equal(t, -t[::-1]) and np.array_equal(mass, mass[::-1])
    assert block * (mass @ t**2) == pytest.approx(1.0, rel=1e-13)
    assert block * (block + 2.0) * (mass @ t**4) == pytest.approx(3.0, rel=1e-13)


@pytest.mark.parametrize("block", [2, 3, 5, 12])
def test_radius_and_sphere_coordinate_agree_with_scipy(block: int) -> None:
    radii, weights = quadrature.radius(block, 20)
    half_squares, gamma_weights = roots_genlaguerre(20, 0.5 * block - 1.0)
    np.testing.assert_allclose(radii, np.sqrt(2.0 * half_squares), rtol=1e-12)
    np.testing.assert_allclose(weights, gamma_weights / gamma_weights.sum(), rtol=1e-9)
    t, mass = quadrature.sphere_coordinate(block, 20)
    exponent = 0.5 * (block - 3.0)
    nodes, jacobi_weights = roots_jacobi(20, exponent, exponent)
    np.testing.assert_allclose(t, nodes, atol=1e-13)
    np.testing.assert_allclose(mass, jacobi_weights / jacobi_weights.sum(), rtol=1e-10)


def test_sphere_coordinate_of_the_circle_is_the_arcsine_law() -> None:
    t, mass = quadrature.sphere_coordinate(2, 9)
    np.testing.assert_allclose(t, np.sort(np.cos(np.pi * (np.arange(9) + 0.5) / 9)), atol=1e-15)
    np.testing.assert_array_equal(mass, np.full(9, 1.0 / 9.0))


@pytest.mark.parametrize("block", [2, 3, 7, 1000])
def test_radius_times_sphere_coordinate_is_a_gaussian_coordinate(block: int) -> None:
    radii, weights = quadrature.radius(block, 40)
    t, mass = quadrature.sphere_coordinate(block, 40)
    characteristic = weights @ np.cos(1.3 * radii[:, None] * t) @ mass
    assert characteristic == pytest.approx(math.exp(-0.5 * 1.3**2), rel=1e-12)


def test_hermite_functions_are_orthonormal() -> None:
    nodes, weights = quadrature.gauss_hermite(60, prune=0.0)
    values = quadrature.hermite_functions(30, nodes)
    np.testing.assert_allclose((values * weights) @ values.T, np.eye(31), atol=1e-12)
    assert quadrature.hermite_functions(0, np.zeros((2, 3))).shape == (1, 2, 3)


def test_hermite_coefficients_of_an_exponential() -> None:
    # E[exp(s Z) h_k(Z)] = exp(s^2 / 2) s^k / sqrt(k!), the generating function of He_k.
    coefficients = quadrature.hermite_coefficients(lambda z: np.exp(0.7 * z), 12)
    exact = [math.exp(0.245) * 0.7**k / math.sqrt(math.factorial(k)) for k in range(13)]
    np.testing.assert_allclose(coefficients, exact, rtol=0, atol=1e-14)


def test_hermite_coefficients_of_tanh_match_the_published_values() -> None:
    coefficients = quadrature.hermite_coefficients(np.tanh, 9)
    expected = [0.60570551, -0.14843719, 0.06254752, -0.03144542, 0.01741993]
    np.testing.assert_allclose(coefficients[1::2], expected, atol=5e-9)
    np.testing.assert_allclose(coefficients[::2], 0.0, atol=1e-15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: quadrature.radius(1, 4),
        lambda: quadrature.sphere_coordinate(1, 4),
        lambda: quadrature.gauss_hermite(0),
        lambda: quadrature.hermite_functions(-1, np.zeros(1)),
    ],
)
def test_sizes_out_of_range_are_refused(call) -> None:
    with pytest.raises(ValueError, match="at least"):
        call()
