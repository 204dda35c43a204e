"""Hermite coefficients of ridge functions, moment tensors and overlaps against formulas, quadrature and Parseval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde.core.activations import CODES, derivative, evaluate
from mfpde.core.pairs import KERNELS, hermite_profile
from mfpde.core.quadrature import hermite_functions
from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.overlaps import gaussian_distance, node_distance, overlaps
from mfpde.theory.ridge import (
    Atoms,
    active_degrees,
    exponents,
    joined,
    monomial_gradients,
    monomials,
    network,
    neurons,
    radial_derivative,
    require_degrees,
    ridge_coefficients,
    tensor_coordinates,
    tensor_distances,
    tensor_products,
)

# piecewise-linear has kinks that no rule of these coefficients sees; `mfpde theory` refuses it
RIDGES = sorted(CODES.keys() - {"piecewise-linear"})
HERMITE = (0.3, -0.5, 0.2, 0.7, 0.1)


def series(activation: str) -> tuple[float, ...]:
    return HERMITE if activation == "hermite" else ()


def panels(kinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's rule for N(0, 1) on panels of width 1/2 that end at the kinks: another method altogether."""
    edges = np.unique(np.concatenate([np.linspace(-13.5, 13.5, 55), kinks[np.abs(kinks) < 13.5]]))
    points, weights = np.polynomial.legendre.leggauss(30)
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    z = (middle[:, None] + half[:, None] * points).reshape(-1)
    return z, (half[:, None] * weights).reshape(-1) * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)


def random_atoms(rng: np.random.Generator, count: int, dimension: int, bias: float = 1.0) -> Atoms:
    return Atoms(rng.standard_normal(count), rng.standard_normal((count, dimension)), bias * rng.standard_normal(count))


@pytest.mark.parametrize("activation", RIDGES)
@pytest.mark.parametrize("bias", [0.0, 0.7, -1.9, 4.0])
def test_coefficients_are_the_integrals_that_define_them(activation: str, bias: float) -> None:
    for radius in (0.0, 1e-3, 0.3, 1.0, 2.5, 6.0):
        if activation == "relu" and radius == bias == 0.0:
            continue  # relu'(0) is a convention
        z, weights = panels(np.array([-bias / radius if radius > 0.0 else 0.0]))
        basis = hermite_functions(14, z) * weights
        kind, scale = series(activation), max(1.0, radius, abs(bias)) ** (4 if activation == "hermite" else 2)
        values = basis @ evaluate(activation, radius * z + bias, kind)
        slopes = basis @ derivative(activation, radius * z + bias, kind)
        assert_allclose(ridge_coefficients(activation, 14, radius, bias, kind), values, rtol=0, atol=1e-13 * scale)
        found = ridge_coefficients(activation, 14, radius, bias, kind, derivative=True)
        assert_allclose(found, slopes, rtol=0, atol=1e-13 * scale)


def test_numbers_by_another_program() -> None:
    relu = ridge_coefficients("relu", 10)
    assert_allclose(
        relu[[0, 1, 2, 4, 6, 8, 10]],
        [0.3989423, 0.5, 0.2820948, -0.0814338, 0.0446031, -0.0298017, 0.0219896],
        atol=5e-8,
    )
    assert_allclose(ridge_coefficients("erf", 7)[1::2], [0.5641896, -0.1151647, 0.0386274, -0.0149009], atol=5e-8)
    table = {
        1.0: [0.60570551, -0.14843719, 0.06254752, -0.03144542, 0.01741993],
        2.0: [0.72947753, -0.2506566, 0.1426998, -0.09412078, 0.06681316],
        0.5: [0.41324193, -0.05094652, 0.01175412, -0.00345331, 0.00117558],
    }
    for radius, values in table.items():
        assert_allclose(ridge_coefficients("tanh", 9, radius)[1::2], values, atol=6e-9)
    assert abs(np.sum(ridge_coefficients("tanh", 400) ** 2) - 0.39429449) < 5e-9


@pytest.mark.parametrize("activation", KERNELS)
def test_pair_kernels_expand_in_the_same_coefficients(activation: str) -> None:
    kind = np.asarray(series(activation) or (0.0,))
    for radius in (0.4, 1.0, 1.7):
        profile = hermite_profile(CODES[activation], kind, 12, radius**2) * radius ** np.arange(13)
        assert_allclose(ridge_coefficients(activation, 12, radius, 0.0, series(activation)), profile, atol=2e-13)


@pytest.mark.parametrize("activation", ["relu", "tanh", "erf", "sigmoid", "gelu", "softplus", "sin"])
@settings(max_examples=15, deadline=None)
@given(radius=st.floats(0.0, 8.0), bias=st.floats(-6.0, 6.0))
def test_the_squares_add_up_to_the_second_moment(activation: str, radius: float, bias: float) -> None:
    z, weights = panels(np.array([-bias / radius if radius > 0.1 else 0.0]))
    whole = float(weights @ evaluate(activation, radius * z + bias) ** 2)
    squares = np.cumsum(ridge_coefficients(activation, 300, radius, bias) ** 2)
    assert np.all(squares <= whole * (1.0 + 1e-10) + 1e-14)
    # relu's squares fall like r^2 phi(t) (2 / pi) k^(-5/2), r the radius and t = bias / r: little is left at 300, but
    # beyond t = 4 the whole is as small
    left = 1e-4 * radius**2 * np.exp(-0.5 * (bias / radius) ** 2) / np.sqrt(2.0 * np.pi) if radius > 0.1 else 0.0
    assert whole - squares[-1] <= 1e-3 * whole + left + 1e-14


@pytest.mark.parametrize("activation", RIDGES)
def test_derivatives_are_slopes_of_the_coefficients(activation: str) -> None:
    step, kind = 1e-5, series(activation)
    for radius, bias in ((1.0, 0.0), (0.8, 0.6), (2.0, -1.1)):
        up, down = (ridge_coefficients(activation, 9, radius + s, bias, kind) for s in (step, -step))
        assert_allclose(radial_derivative(activation, 9, radius, bias, kind), (up - down) / (2 * step), atol=2e-8)
        up, down = (ridge_coefficients(activation, 9, radius, bias + s, kind) for s in (step, -step))
        found = ridge_coefficients(activation, 9, radius, bias, kind, derivative=True)
        assert_allclose(found, (up - down) / (2 * step), atol=2e-8)


def test_arrays_of_radii_and_biases_broadcast() -> None:
    radius, bias = np.array([[0.5], [1.0], [9.0]]), np.array([0.0, -0.4])
    table = ridge_coefficients("tanh", 6, radius, bias)
    assert table.shape == (3, 2, 7)
    for i, r in enumerate(radius[:, 0]):
        for j, b in enumerate(bias):
            assert_allclose(table[i, j], ridge_coefficients("tanh", 6, r, b), atol=1e-15)


def test_steep_neurons_approach_the_step_and_too_steep_ones_are_refused() -> None:
    step = ridge_coefficients("relu", 7, 1.0, 0.0, derivative=True)
    steep = ridge_coefficients("sigmoid", 7, 300.0)
    # the transition layer has width 1/r: the first correction is pi^2 / (6 r^2) times a derivative of the density
    assert_allclose(steep, step, atol=3e-5)
    assert ridge_coefficients("gelu", 3, 1e-300)[1] == pytest.approx(0.5e-300)
    with pytest.raises(NotConverged, match="tanh at radius 1e\\+04"):
        ridge_coefficients("tanh", 5, 1e4)


def test_far_biases_are_limits_and_not_accidents() -> None:
    for activation in ("relu", "gelu", "softplus"):
        high = ridge_coefficients(activation, 8, 1.3, 200.0)
        assert_allclose(high, [200.0, 1.3, 0, 0, 0, 0, 0, 0, 0], atol=1e-12)
        assert_allclose(ridge_coefficients(activation, 8, 1.3, -200.0), np.zeros(9), atol=1e-15)
    assert_allclose(ridge_coefficients("erf", 4, 0.0, 50.0), [1, 0, 0, 0, 0], atol=0)


def test_active_degrees_by_parity() -> None:
    assert active_degrees("tanh", 8) == active_degrees("erf", 8) == active_degrees("sin", 8) == (1, 3, 5, 7)
    assert active_degrees("sigmoid", 6) == (0, 1, 3, 5)
    assert active_degrees("relu", 8) == active_degrees("gelu", 8) == active_degrees("softplus", 8) == (0, 1, 2, 4, 6, 8)
    assert active_degrees("quadratic", 8) == (0, 2)
    assert active_degrees("hermite", 9, hermite=(0.0, 0.0, 0.0, 1.0)) == (3,)
    # away from radius 1 the same polynomial has its lower degree too
    assert active_degrees("hermite", 9, radius=1.5, hermite=(0.0, 0.0, 0.0, 1.0)) == (1, 3)
    assert active_degrees("tanh", 9, tolerance=0.05) == (1, 3, 5)


def test_bad_requests_are_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="hold 2, which the activation 'tanh' without bias lacks"):
        require_degrees("tanh", (1, 2, 3))
    assert_allclose(require_degrees("tanh", (1, 3)), [0.60570551, -0.14843719], atol=6e-9)
    with pytest.raises(ConfigError, match="unknown"):
        ridge_coefficients("swish", 3)
    with pytest.raises(ConfigError, match="radii"):
        ridge_coefficients("tanh", 3, -1.0)
    with pytest.raises(ConfigError, match="needs its coefficients"):
        ridge_coefficients("hermite", 3)
    with pytest.raises(ConfigError, match=r"a \[S\]"):
        Atoms(np.zeros(2), np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(ConfigError, match="dimensions 2 and 3"):
        joined(Atoms(np.ones(1), np.ones((1, 2)), np.ones(1)), Atoms(np.ones(1), np.ones((1, 3)), np.ones(1)))


def test_monomials_have_the_inner_products_of_tensor_powers(rng: np.random.Generator) -> None:
    for dimension in (1, 2, 4):
        v = rng.standard_normal((5, dimension))
        for degree in range(6):
            assert len(exponents(dimension, degree)) == monomials(v, degree).shape[1]
            assert_allclose(monomials(v, degree) @ monomials(v, degree).T, (v @ v.T) ** degree, rtol=1e-10, atol=1e-12)
            gradient, step = monomial_gradients(v, degree), 1e-6
            for j in range(dimension):
                shift = step * np.eye(dimension)[j]
                slope = (monomials(v + shift, degree) - monomials(v - shift, degree)) / (2 * step)
                assert_allclose(gradient[:, :, j], slope, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "hermite"])
def test_tensors_by_inner_products_and_in_coordinates_agree(activation: str, rng: np.random.Generator) -> None:
    first, second = random_atoms(rng, 4, 3), random_atoms(rng, 3, 3)
    by_products = tensor_distances(activation, first, second, 6, series(activation))
    for k in range(7):
        gap = tensor_coordinates(activation, first, k, series(activation)) - tensor_coordinates(
            activation, second, k, series(activation)
        )
        assert_allclose(by_products[k], gap @ gap, rtol=1e-10, atol=1e-13)
    crossed = tensor_products(activation, first, second, 6, series(activation))
    assert np.all(crossed**2 <= 1.0000001 * _norms(activation, first) * _norms(activation, second))


def _norms(activation: str, atoms: Atoms) -> np.ndarray:
    return tensor_products(activation, atoms, atoms, 6, series(activation)) + 1e-300


@pytest.mark.parametrize("activation", RIDGES)
def test_parseval_in_the_plane(activation: str, rng: np.random.Generator) -> None:
    """sum_k ||T_k - T'_k||^2, the overlaps and a rule over the plane: three ways to one distance."""
    first, second = random_atoms(rng, 3, 2, 0.5), random_atoms(rng, 2, 2, 0.5)
    z = np.arange(-216, 217) / 16.0
    weights = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi) / 16.0
    x = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    kind = series(activation)
    at_nodes = node_distance(activation, first, second, x, np.outer(weights, weights).reshape(-1), kind)
    exact = gaussian_distance(activation, first, second, kind)
    assert 0.0 < exact.resolution < 1e-5 * exact.value
    # the trapezoidal rule has the kink of relu to pay for
    assert_allclose(exact.value, at_nodes.value, rtol=2e-4 if activation == "relu" else 1e-9)
    tensors = np.sqrt(np.sum(tensor_distances(activation, first, second, 300, kind)))
    assert_allclose(tensors, exact.value, rtol=1e-3 if activation == "relu" else 1e-9)


def test_overlaps_in_closed_form(rng: np.random.Generator) -> None:
    atoms = random_atoms(rng, 6, 3, 0.0)
    p, q = atoms.w @ atoms.w.T, np.sum(atoms.w**2, axis=1)
    arcsine = 2.0 / np.pi * np.arcsin(p / np.sqrt(np.outer(1.0 + q, 1.0 + q)))
    assert_allclose(overlaps("erf", atoms, atoms), arcsine, atol=1e-13)
    norms = np.sqrt(np.outer(q, q))
    t = np.arccos(np.clip(p / norms, -1.0, 1.0))
    assert_allclose(
        overlaps("relu", atoms, atoms), norms * (np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi), atol=1e-13
    )


def test_overlaps_of_parallel_relu_neurons_with_near_thresholds() -> None:
    """Where the series is slowest and Plackett's density most concentrated."""
    w = np.array([[1.0], [1.0], [-1.0], [2.0], [-1.0], [0.0]])
    atoms = Atoms(np.ones(6), w, np.array([0.3, 0.3 + 1e-3, 0.5, -0.6 + 1e-8, -0.3, 0.7]))
    kinks = -atoms.b[:5] / w[:5, 0]
    z, weights = panels(kinks)
    values = neurons("relu", atoms, z[:, None])
    assert_allclose(overlaps("relu", atoms, atoms), values.T @ (weights[:, None] * values), atol=2e-15)


def test_steep_overlaps_are_refused_and_networks_are_sums(rng: np.random.Generator) -> None:
    steep = Atoms(np.ones(1), np.array([[40.0]]), np.zeros(1))
    with pytest.raises(NotConverged, match=r"tanh at \|w\| = 40"):
        overlaps("tanh", steep, steep)
    atoms, x = random_atoms(rng, 4, 2), rng.standard_normal((9, 2))
    by_hand = sum(a * np.tanh(x @ w + b) for a, w, b in zip(atoms.a, atoms.w, atoms.b, strict=True))
    assert_allclose(network("tanh", atoms, x), by_hand, rtol=1e-13)
