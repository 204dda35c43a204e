"""Closed-form Gaussian pair kernels against quadrature, and forces against differences of their energies."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest

from mfpde.core import pairs, parallel
from mfpde.core.activations import CODES
from mfpde.core.interaction import predict
from mfpde.core.quadrature import hermite_coefficients

HERMITE = np.array([0.2, -0.7, 0.5, 0.3, 0.15])
TARGET = np.array([0.3, 1.0, -0.4, 0.5, 0.2])
SMOOTH = [name for name in pairs.KERNELS if name != "relu"]


def setting(d: int, count: int, seed: int = 1) -> np.ndarray:
    theta = np.random.default_rng(seed).normal(size=(d + 2, count))
    theta[1:-1] *= 0.9 / math.sqrt(d)
    return theta


def energy(name: str, theta: np.ndarray) -> float:
    return pairs.pair_energy(CODES[name], HERMITE, theta[0], theta[1:-1])


def force(name: str, theta: np.ndarray) -> np.ndarray:
    out = np.full_like(theta, np.nan)
    pairs.pair_force(CODES[name], HERMITE, theta, out)
    return out


@pytest.mark.parametrize("name", pairs.KERNELS)
@pytest.mark.parametrize(("d", "count"), [(1, 1), (2, 3), (5, 6)])
def test_energy_is_the_expected_square_of_the_network(name: str, d: int, count: int) -> None:
    theta = setting(d, count)
    expected = naive.pair_energy(name, HERMITE, theta[0], theta[1:-1])
    assert energy(name, theta) == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_arc_cosine_kernel_against_an_integral_over_angles() -> None:
    # E relu(u.x) relu(v.x) in the plane: E r^2 = 2 times the mean over directions, a kinked periodic integrand.
    theta = setting(2, 2, seed=4)
    angles = 2.0 * np.pi * (np.arange(200_000) + 0.5) / 200_000
    network = theta[0] @ np.maximum(theta[1:-1].T @ np.array([np.cos(angles), np.sin(angles)]), 0.0) / 2.0
    assert energy("relu", theta) == pytest.approx(2.0 * np.mean(network**2), rel=1e-9)


def test_large_ensembles_agree_with_a_direct_sum() -> None:
    theta = setting(20, 301)
    w = theta[1:-1]
    p, q = w.T @ w, np.sum(w**2, axis=0)
    amplitudes = np.outer(theta[0], theta[0])
    kernel = 2.0 / np.pi * np.arcsin(p / np.sqrt(np.outer(1.0 + q, 1.0 + q)))
    assert energy("erf", theta) == pytest.approx(np.mean(amplitudes * kernel), rel=1e-12)
    root = np.sqrt(np.outer(1.0 + q, 1.0 + q) - p**2)
    slope = 2.0 / np.pi * theta[0] / root
    direct = theta[0] * (w @ slope.T - w * np.sum(slope * p / (1.0 + q)[:, None], axis=1)) / 301.0
    np.testing.assert_allclose(force("erf", theta)[1:-1], direct, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(force("erf", theta)[0], kernel @ theta[0] / 301.0, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", pairs.KERNELS)
@pytest.mark.parametrize(("d", "count"), [(1, 2), (3, 7), (6, 130)])
def test_force_is_half_the_gradient_of_the_energy(name: str, d: int, count: int) -> None:
    # The energy holds every pair twice and the diagonal with both arguments: its gradient is 2/N times the force.
    theta = setting(d, count)
    out = force(name, theta)
    assert np.all(out[-1] == 0.0)
    step = 1e-6
    for row in range(d + 1):
        for i in (0, count // 2, count - 1):
            moved = theta.copy()
            moved[row, i] += step
            above = energy(name, moved)
            moved[row, i] -= 2.0 * step
            slope = (above - energy(name, moved)) / (2.0 * step)
            assert out[row, i] == pytest.approx(0.5 * count * slope, rel=1e-6, abs=2e-9 * count)


@pytest.mark.parametrize("name", pairs.KERNELS)
def test_single_precision_errs_by_its_own_rounding(name: str) -> None:
    theta = setting(10, 700)
    exact, single = force(name, theta), np.empty_like(theta)
    pairs.pair_force(CODES[name], HERMITE, theta, single, "single")
    np.testing.assert_allclose(single, exact, rtol=0, atol=3e-6 * np.max(np.abs(exact)))
    energies = [pairs.pair_energy(CODES[name], HERMITE, theta[0], theta[1:-1], p) for p in ("double", "single")]
    assert energies[1] == pytest.approx(energies[0], rel=1e-5)
    assert not np.array_equal(single, exact)


@pytest.mark.parametrize("name", pairs.KERNELS)
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    theta = setting(2, 9001 if name == "erf" else 4500)
    results = []
    for threads in (1, 2, 4):
        with parallel.team(threads):
            results.append(np.vstack([force(name, theta), np.full(theta.shape[1], energy(name, theta))]))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_relu_is_finite_at_coincident_opposite_and_vanishing_weights() -> None:
    theta = setting(4, 5)
    theta[1:-1, 1] = theta[1:-1, 0]
    theta[1:-1, 2] = -theta[1:-1, 0]
    theta[1:-1, 3] = 0.0
    out = force("relu", theta)
    assert np.all(np.isfinite(out)) and np.isfinite(energy("relu", theta))
    assert np.all(out[1:-1, 3] == 0.0)
    assert energy("relu", theta) == pytest.approx(naive.pair_energy("relu", (), theta[0], theta[1:-1]), rel=1e-12)
    # Two equal neurons with unit entries: each of the two terms, averaged, is w / 2; K = q / 2 = 1.
    twins = np.ones((4, 2))
    np.testing.assert_allclose(force("relu", twins)[1:-1], 0.5, rtol=1e-14)
    np.testing.assert_allclose(force("relu", twins)[0], 1.0, rtol=1e-14)


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_weights_of_every_size_against_extended_precision(name: str) -> None:
    theta = setting(5, 90)
    theta[1:-1] *= 10.0 ** np.random.default_rng(6).uniform(-12, 3, 90)
    a, w = theta[0].astype(np.longdouble), theta[1:-1].astype(np.longdouble)
    p, q = w.T @ w, np.sum(w**2, axis=0)
    if name == "erf":
        # the difference that cancels, without its large part
        wedge = [np.multiply.outer(w[k], w[m]) - np.multiply.outer(w[m], w[k]) for k in range(5) for m in range(k)]
        root = np.sqrt(1 + q[:, None] + q + sum(part**2 for part in wedge))
        kernel, by_p = np.arctan2(p, root) / np.pi * 2, 2 / np.pi / root
        by_q = -by_p * p / (2 * (1 + q[:, None]))
    else:
        sine = np.sqrt(sum((np.multiply.outer(u, v) - np.multiply.outer(v, u)) ** 2 for u in w for v in w) / 2)
        open_angle = np.pi - np.arctan2(sine, p)
        kernel, by_p = (sine + open_angle * p) / (2 * np.pi), open_angle / (2 * np.pi)
        by_q = sine / (4 * np.pi) / q[:, None]
    out = force(name, theta)
    terms = a * kernel
    np.testing.assert_array_less(np.abs(out[0] - terms.mean(axis=1)), 1e-12 * np.abs(terms).mean(axis=1))
    for k in range(5):
        terms = a[:, None] * a * (by_p * w[k] + 2 * by_q * w[k][:, None])
        size = np.abs(a[:, None] * a) * (by_p * np.sqrt(q) + 2 * np.abs(by_q) * np.sqrt(q[:, None]))
        np.testing.assert_array_less(np.abs(out[1 + k] - terms.mean(axis=1)), 1e-12 * size.mean(axis=1))


@pytest.mark.parametrize("size", [1e4, 1e9])
def test_far_weights_stay_finite(size: float) -> None:
    theta = size * setting(3, 9)
    for name in ("erf", "relu", "sin"):
        assert np.all(np.isfinite(force(name, theta))) and np.isfinite(energy(name, theta))


def test_activations_without_a_kernel_are_refused() -> None:
    with pytest.raises(ValueError, match="no closed-form"):
        energy("tanh", setting(2, 3))
    with pytest.raises(ValueError, match="no closed-form"):
        pairs.hermite_profile(CODES["tanh"], HERMITE, 3, 1.0)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("r", [0.3, 1.0, 1.7])
def test_profiles_are_the_hermite_coefficients(name: str, r: float) -> None:
    expected = hermite_coefficients(lambda z: naive.activation(name, r * z, HERMITE), 9)
    profile = pairs.hermite_profile(CODES[name], HERMITE, 9, r**2)
    np.testing.assert_allclose(profile * r ** np.arange(10), expected, rtol=0, atol=1e-12)


def test_profiles_match_the_published_values() -> None:
    erf = pairs.hermite_profile(CODES["erf"], HERMITE, 7, 1.0)
    np.testing.assert_allclose(erf[1::2], [0.5641896, -0.1151647, 0.0386274, -0.0149009], atol=5e-8)
    relu = pairs.hermite_profile(CODES["relu"], HERMITE, 10, 1.0)
    published = [0.3989423, 0.5, 0.2820948, 0.0, -0.0814338, 0.0, 0.0446031, 0.0, -0.0298017, 0.0, 0.0219896]
    np.testing.assert_allclose(relu, published, atol=5e-8)
    scaled = pairs.hermite_profile(CODES["relu"], HERMITE, 10, 4.0) * 2.0 ** np.arange(11)
    np.testing.assert_allclose(scaled, 2.0 * relu, rtol=1e-14)
    assert np.array_equal(pairs.hermite_profile(CODES["relu"], HERMITE, 3, 0.0), [0.0, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("name", ["erf", "relu", "sin"])
def test_profiles_sum_to_the_pair_kernel(name: str) -> None:
    # Mehler: K(p, q, q') = sum_k C_k(q) C_k(q') p^k, here at a ratio that converges fast.
    u, v = np.array([0.5, 0.3]), np.array([-0.2, 0.6])
    terms = 60
    first = pairs.hermite_profile(CODES[name], HERMITE, terms, u @ u)
    second = pairs.hermite_profile(CODES[name], HERMITE, terms, v @ v)
    series = np.sum(first * second * (u @ v) ** np.arange(terms + 1))
    assert series == pytest.approx(naive.pair_kernel(name, (), u, v), rel=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_target_energy_is_the_expected_product(name: str, d: int) -> None:
    theta = setting(d, 4)
    computed = pairs.target_energy(CODES[name], HERMITE, TARGET, theta[0], theta[1:-1])
    expected = naive.target_energy(name, HERMITE, TARGET, theta[0], theta[1:-1])
    assert computed == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_target_energy_of_relu_on_a_line() -> None:
    # d = 1, w > 0: E relu(w x) h_k(x) = w sigma_k; w < 0 reflects.
    sigma = pairs.hermite_profile(CODES["relu"], HERMITE, 4, 1.0)
    a, w = np.array([1.5, -0.5]), np.array([[2.0, -3.0]])
    reflected = sigma * (-1.0) ** np.arange(5)
    expected = (1.5 * 2.0 * (TARGET @ sigma) - 0.5 * 3.0 * (TARGET @ reflected)) / 2.0
    assert pairs.target_energy(CODES["relu"], HERMITE, TARGET, a, w) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", pairs.KERNELS)
@pytest.mark.parametrize(("d", "terms"), [(1, 5), (4, 5), (4, 1), (3, 2)])
def test_target_force_is_the_gradient_of_the_target_energy(name: str, d: int, terms: int) -> None:
    theta, target = setting(d, 5), TARGET[:terms]
    out = np.full_like(theta, np.nan)
    pairs.target_force(CODES[name], HERMITE, target, theta, out)
    assert np.all(out[-1] == 0.0)
    step = 1e-6
    for row in range(d + 1):
        for i in range(5):
            moved = theta.copy()
            moved[row, i] += step
            above = pairs.target_energy(CODES[name], HERMITE, target, moved[0], moved[1:-1])
            moved[row, i] -= 2.0 * step
            below = pairs.target_energy(CODES[name], HERMITE, target, moved[0], moved[1:-1])
            assert out[row, i] == pytest.approx(5.0 * (above - below) / (2.0 * step), rel=1e-6, abs=1e-8)


def test_relu_target_is_finite_at_and_near_the_origin() -> None:
    theta = np.zeros((5, 3))
    theta[0] = 1.0
    theta[1:-1, 1] = 1e-160
    theta[1, 2] = 1e-30
    out = np.empty_like(theta)
    pairs.target_force(CODES["relu"], HERMITE, TARGET, theta, out)
    assert np.all(np.isfinite(out)) and np.all(out[1:-1, 0] == 0.0)
    assert out[1, 2] == pytest.approx(TARGET @ pairs.hermite_profile(CODES["relu"], HERMITE, 4, 1.0), rel=1e-12)


def test_energy_is_the_mean_square_of_predictions_on_quadrature_nodes() -> None:
    # A second way through the other half of the package: predict on a tensor rule in two dimensions.
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    x = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    law = np.outer(weights, weights).ravel() / (2.0 * np.pi)
    theta = setting(2, 40)
    theta[-1] = 0.0
    f = np.empty(x.shape[0])
    predict(CODES["erf"], HERMITE, theta, np.full(40, 1.0 / 40.0), x, f)
    assert energy("erf", theta) == pytest.approx(law @ f**2, rel=1e-11)
