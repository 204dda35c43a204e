"""Targets in Hermite polynomials, the soft-thresholded dictionary and its inequalities, and S* between two bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from mfpde import datalaws
from mfpde.core import quadrature
from mfpde.errors import ConfigError
from mfpde.problem import Population
from mfpde.theory import dictionary, neurons
from mfpde.theory.dictionary import Target
from mfpde.theory.neurons import Domain, regression
from mfpde.theory.ridge import Atoms, network, ridge_coefficients

Array = NDArray[np.float64]

spectra = st.tuples(st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 12), st.floats(1e-4, 2.0))


def random_spectrum(seed: int, directions: int, kmax: int) -> tuple[Array, Array]:
    """Coefficients [m, kmax + 1] of falling size with zeros among them, sigma [kmax + 1] of either sign."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((directions, kmax + 1)) * 0.7 ** np.arange(kmax + 1) * (rng.random((1, kmax + 1)) < 0.8)
    return c, rng.choice([-1.0, 1.0], kmax + 1) * rng.uniform(0.05, 1.5, kmax + 1)


def of_teacher(activation: str, truth: Atoms, kmax: int) -> Target:
    """The Hermite target of a network of unit neurons, up to kmax."""
    sigma = ridge_coefficients(activation, kmax)
    return dictionary.target([(w, a * sigma) for a, w in zip(truth.a, truth.w, strict=True)])


def random_teacher(rng: np.random.Generator, count: int, dimension: int) -> Atoms:
    w = rng.standard_normal((count, dimension))
    return Atoms(rng.uniform(0.5, 1.5, count), w / np.linalg.norm(w, axis=1, keepdims=True), np.zeros(count))


def plane(count: int = 40) -> tuple[Array, Array]:
    """A tensor Gauss-Hermite rule in two dimensions."""
    nodes, weights = quadrature.gauss_hermite(count)
    return np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2), np.outer(weights, weights).reshape(-1)


@given(spectra)
def test_the_soft_threshold_is_the_minimiser_and_its_residual_the_closed_form(
    case: tuple[int, int, int, float],
) -> None:
    c, sigma = random_spectrum(*case[:3])
    penalty = case[3]
    beta = dictionary.soft_threshold(c, sigma, penalty)

    def objective(b: Array | float) -> Array:
        return 0.5 * (sigma * b - c) ** 2 + penalty * np.abs(b)

    for nudge in (1e-3, -1e-3, 0.3, -0.3):
        assert np.all(objective(beta) <= objective(beta + nudge) + 1e-15)
    assert np.sum((sigma * beta - c) ** 2) == pytest.approx(
        dictionary.sparse_residual(c, sigma, penalty), rel=1e-12, abs=1e-15
    )
    active = dictionary.active_coefficients(c, sigma, penalty)
    assert np.array_equal(active, beta != 0.0)


def test_the_soft_threshold_against_a_scalar_minimiser() -> None:
    for c, sigma, penalty in ((0.9, 0.6, 0.1), (-0.4, -1.2, 0.2), (0.3, 0.2, 0.1)):
        found = minimize_scalar(
            lambda b, c=c, s=sigma, p=penalty: 0.5 * (s * b - c) ** 2 + p * abs(b), bounds=(-5, 5), method="bounded",
            options={"xatol": 1e-10},
        )  # fmt: skip
        assert float(dictionary.soft_threshold(c, sigma, penalty)) == pytest.approx(found.x, abs=1e-6)


@given(spectra)
def test_both_inequalities_and_both_readings(case: tuple[int, int, int, float]) -> None:
    """S_up <= max sigma^2 BH/penalty, E_sparse <= penalty BH; the ratio reading has S_up <= BH/penalty."""
    c, sigma = random_spectrum(*case[:3])
    penalty = case[3]
    norm = dictionary.barron_hermite_norm(c, sigma)
    count = dictionary.coefficient_threshold_number(c, sigma, penalty)
    assert count <= np.max(sigma**2) * norm / penalty * (1.0 + 1e-12)
    assert dictionary.sparse_residual(c, sigma, penalty) <= penalty * norm * (1.0 + 1e-12)
    assert dictionary.coefficient_threshold_number(c, sigma, penalty, "ratio") <= norm / penalty * (1.0 + 1e-12)
    assert dictionary.coefficient_threshold_number(c, sigma, 2.0 * penalty) <= count
    assert dictionary.coefficient_threshold_number(c, sigma, 1e-300) == np.count_nonzero(c)
    rows = dictionary.active_directions(c, sigma, penalty)
    assert rows <= count <= rows * c.shape[1]
    assert rows == sum(dictionary.coefficient_threshold_number(row, sigma, penalty) > 0 for row in c)


def test_the_readings_differ_where_sigma_is_small() -> None:
    c, sigma = np.array([0.0, 1.0, 0.0, 0.1]), np.array([0.0, 0.5, 0.0, 0.1])
    assert dictionary.coefficient_threshold_number(c, sigma, 0.05, "kkt") == 1
    assert dictionary.coefficient_threshold_number(c, sigma, 0.05, "ratio") == 2


def test_the_norm_is_infinite_where_the_activation_lacks_a_degree() -> None:
    sigma = ridge_coefficients("tanh", 4)
    even, odd = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.5]
    assert dictionary.barron_hermite_norm([*even, 0.0, 0.0], sigma) == math.inf
    expected = 1.0 / 0.60570551 + 0.5 / 0.14843719
    assert dictionary.barron_hermite_norm([*odd, 0.0], sigma) == pytest.approx(expected, rel=1e-7)
    weighted = dictionary.barron_hermite_norm([*odd, 0.0], sigma, 2.0 ** -np.arange(5.0))
    assert weighted == pytest.approx(2.0 / 0.60570551 + 4.0 / 0.14843719, rel=1e-7)
    dictionary.require_realizable([*odd, 0.0], sigma, "tanh")
    with pytest.raises(ConfigError, match="has Hermite degree 2, which tanh without bias lacks"):
        dictionary.require_realizable([*even, 0.0, 0.0], sigma, "tanh")


@pytest.mark.parametrize("gain", [1.5, -0.7])
def test_coefficients_of_populations(gain: float) -> None:
    population = Population(3, "tanh", gain=gain, scale=0.8)
    f = dictionary.target_coefficients(population, 25)
    z = np.linspace(-2.0, 2.0, 9)
    direct = quadrature.hermite_coefficients(lambda z: 0.8 * np.tanh(gain * z), 25)
    assert_allclose(f.coefficients[0], direct, atol=1e-10)
    missed = f.energy - np.sum(f.coefficients**2)
    assert dictionary.tail(f, 25) == pytest.approx(missed, abs=1e-12)
    assert dictionary.tail(f, 4) == pytest.approx(missed + np.sum(f.coefficients[0, 5:] ** 2), abs=1e-12)
    series = Population(2, "hermite", coefficients=(0.1, 1.0, 0.0, 0.4))
    g = dictionary.target_coefficients(series, 6)
    x = np.stack([z, z[::-1]], axis=1)
    assert_allclose(dictionary.target_values(g, x), datalaws.target_values(series, z), atol=1e-13)
    assert g.energy == pytest.approx(0.01 + 1.0 + 0.16, abs=1e-14)
    with pytest.raises(ConfigError, match="beyond the degree 2"):
        dictionary.target_coefficients(series, 2)


def test_tails_of_several_directions_by_projection() -> None:
    """|T_k|^2 = sum c_j c_l <u_j, u_l>^k, against E f^2 and the mean and gradient by quadrature."""
    f = dictionary.target([([1.0, 0.0], [0.3, 0.5, 0.0, 0.2]), ([1.0, 2.0], [0.1, -0.4, 0.6])])
    x, weights = plane(12)
    values = dictionary.target_values(f, x)
    energy, mean = weights @ values**2, weights @ values
    first = (weights * values) @ x
    assert f.energy == pytest.approx(energy, abs=1e-12)
    assert dictionary.tail(f, 0) == pytest.approx(energy - mean**2, abs=1e-12)
    assert dictionary.tail(f, 1) == pytest.approx(energy - mean**2 - first @ first, abs=1e-12)
    assert dictionary.tail(f, 3) == pytest.approx(0.0, abs=1e-14)
    # h_0 is one atom, whatever its direction
    assert_allclose(f.coefficients[:, 0], [0.4, 0.0], atol=1e-15)


@given(st.integers(0, 2**31), st.integers(1, 4), st.sampled_from(["relu", "erf", "tanh"]))
@settings(deadline=None)
def test_tails_of_networks_obey_the_variation_bound(seed: int, count: int, activation: str) -> None:
    """tail_D <= |nu|_TV^2 sum over k > D of sigma_k^2 for unit neurons: |T_k| <= |sigma_k| |nu|_TV."""
    truth = random_teacher(np.random.default_rng(seed), count, 3)
    f, sigma = of_teacher(activation, truth, 12), ridge_coefficients(activation, 12)
    for degree in range(12):
        bound = np.abs(truth.a).sum() ** 2 * np.sum(sigma[degree + 1 :] ** 2)
        assert dictionary.tail(f, degree) <= bound * (1.0 + 1e-10) + 1e-14


def test_weight_decay_is_a_variation_penalty_of_relu_alone() -> None:
    """min over a r = A of (lambda_a a^2 + lambda_w r^2)/2 by brute force."""
    r = np.geomspace(1e-2, 1e2, 20001)
    for amplitude, decay_a, decay_w in ((0.7, 0.1, 0.3), (2.0, 0.05, 0.05)):
        brute = np.min(0.5 * decay_a * (amplitude / r) ** 2 + 0.5 * decay_w * r**2)
        penalty = dictionary.weight_decay_penalty("relu", decay_a, decay_w)
        assert penalty * amplitude == pytest.approx(brute, rel=1e-6)
    with pytest.raises(ConfigError, match="only for relu and identity"):
        dictionary.weight_decay_penalty("tanh", 0.1, 0.1)


@given(st.integers(0, 2**31), st.integers(1, 4), st.sampled_from(["relu", "erf", "tanh", "softplus"]))
@settings(max_examples=40, deadline=None)
def test_no_teacher_is_sparser_than_its_lower_bound(seed: int, count: int, activation: str) -> None:
    """The bounds at epsilon = distance of a network to a perturbed target are at most its number of neurons."""
    rng = np.random.default_rng(seed)
    truth = random_teacher(rng, count, 2)
    f, sigma = of_teacher(activation, truth, 9), ridge_coefficients(activation, 9)
    # a neuron perturbs the target by its own energy, |a|^2 E sigma^2
    small = Atoms(np.append(truth.a, 0.02), np.concatenate([truth.w, [[0.6, 0.8]]]), np.zeros(count + 1))
    epsilon = 0.02**2 * float(np.sum(sigma**2)) * (1.0 + 1e-9)
    near = of_teacher(activation, small, 9)
    assert dictionary.direction_bound(f, 1e-20) == min(count, 2)
    for target in (f, near):
        lower = dictionary.sphere_bound(target, sigma, epsilon)
        assert dictionary.direction_bound(target, epsilon) <= lower <= count
    assert dictionary.sphere_bound(f, sigma, f.energy) == 0.0


def test_lower_bounds_count_neurons_and_directions() -> None:
    sigma = ridge_coefficients("erf", 9)
    truth = Atoms(
        np.array([1.0, 1.2, 0.8]), np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)], [-0.5, np.sqrt(0.75)]]), np.zeros(3)
    )
    assert dictionary.sphere_bound(of_teacher("erf", truth, 9), sigma, 1e-24) == 3.0
    frame = dictionary.target([(u, [0.0, 1.0 / (j + 1)]) for j, u in enumerate(np.eye(4))])
    assert dictionary.direction_bound(frame, 1e-12) == 1.0  # the sum of linear functions is one of them
    cubes = dictionary.target([(u, [0.0, 0.0, 0.0, 1.0 / (j + 1)]) for j, u in enumerate(np.eye(4))])
    assert dictionary.direction_bound(cubes, 1e-12) == 4.0
    assert dictionary.direction_bound(cubes, 1.0 / 16.0 + 1e-9) == 3.0
    even = dictionary.target([([1.0, 0.0], [0.0, 0.0, 1.0])], 9)
    assert dictionary.sphere_bound(even, sigma, 0.5) == math.inf
    assert dictionary.sphere_bound(even, sigma, 1.1) == 0.0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_depth_of_a_teacher_is_its_number_of_neurons(count: int) -> None:
    rng = np.random.default_rng(count)
    angles = np.pi * (np.arange(count) + 0.3 * rng.random(count)) / count
    truth = Atoms(rng.uniform(0.5, 1.5, count), np.stack([np.cos(angles), np.sin(angles)], axis=1), np.zeros(count))
    f = of_teacher("erf", truth, 17)
    lower = dictionary.sphere_bound(f, ridge_coefficients("erf", 17), 1e-24)
    x, weights = plane(16)
    problem = regression("erf", x, network("erf", truth, x), weights)
    depth = dictionary.sparse_depth(problem, 0.0, lower)
    assert depth.lower == depth.upper == count
    assert depth.risk <= 1e-18
    energy = float(weights @ problem.y**2)
    assert dictionary.sparse_depth(problem, 1.01 * energy).upper == 0.0
    assert dictionary.sparse_depth(problem, 0.99 * energy).lower == 1.0


def test_depth_falls_as_more_risk_is_allowed_and_two_steep_neurons_make_a_cubic() -> None:
    """h_3(<u, x>): tanh(r z) - r tanh(z)-like pairs reach it as closely as one likes, with amplitudes as large."""
    f = dictionary.target([([1.0, 0.0], [0.0, 0.0, 0.0, 1.0])])
    problem = dictionary.gaussian_regression(f, "erf", Domain("ball", 4.0), count=16)
    depths = [
        dictionary.sparse_depth(problem, epsilon, dictionary.direction_bound(f, epsilon)) for epsilon in (0.9, 1e-3)
    ]
    assert [depth.upper for depth in depths] == [1.0, 2.0]
    assert all(depth.lower <= depth.upper and depth.risk <= depth.epsilon for depth in depths)
    assert np.abs(depths[1].atoms.a).sum() > 10.0


def test_a_finite_norm_does_not_make_a_target_realizable_on_the_sphere() -> None:
    """T_3 = sigma_3 sum a w^3 has the trace sigma_3 T_1/sigma_1 for unit w: h_3 stays far from every measure.

    Its dictionary norm is finite because its atoms are h_k ridges, not neurons.
    """
    sigma = ridge_coefficients("erf", 9)
    f = dictionary.target([([1.0, 0.0], [0.0, 0.0, 0.0, 1.0])], 9)
    assert dictionary.barron_hermite_norm(f.coefficients, sigma) == pytest.approx(8.6832, abs=1e-3)
    problem = dictionary.gaussian_regression(f, "erf", count=20)
    angles = np.linspace(0.0, np.pi, 200, endpoint=False)
    phi = neurons.features(problem, np.stack([np.cos(angles), np.sin(angles)], axis=1)).T
    root = np.sqrt(problem.weights)
    a = np.linalg.lstsq(root[:, None] * phi, root * problem.y, rcond=1e-13)[0]
    nearest = float(problem.weights @ (phi @ a - problem.y) ** 2)
    assert nearest > 0.74
    depth = dictionary.sparse_depth(problem, 0.5, dictionary.sphere_bound(f, sigma, 0.5))
    assert depth.upper == math.inf
    assert depth.risk == pytest.approx(nearest, rel=1e-3)


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ConfigError, match="penalty is 0"):
        dictionary.soft_threshold([1.0], [1.0], 0.0)
    with pytest.raises(ConfigError, match="no ridge"):
        dictionary.target([])
    with pytest.raises(ConfigError, match="positive length"):
        dictionary.target([([0.0, 0.0], [1.0])])
    with pytest.raises(ConfigError, match="at most 3 inputs"):
        dictionary.gaussian_regression(dictionary.target([(np.eye(4)[0], [0.0, 1.0])]), "relu")
    problem = dictionary.gaussian_regression(dictionary.target([([1.0], [0.0, 1.0])]), "relu", count=6)
    with pytest.raises(ConfigError, match="epsilon is -1"):
        dictionary.sparse_depth(problem, -1.0)
