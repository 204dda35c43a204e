"""Prediction, pullback and features against their formulas, and the identities that tie them together."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from mfpde.core import interaction
from mfpde.core.activations import CODES

HERMITE = np.array([0.3, -1.0, 0.5, 0.25])
NAMES = list(CODES)
SIZES = [(1, 1, 1), (2, 3, 5), (3, 127, 6), (10, 300, 33), (50, 129, 8)]


def setting(d: int, points: int, nodes: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    theta = generator.normal(size=(d + 2, points))
    theta[1:-1] /= np.sqrt(d)
    mass = generator.uniform(0.5, 1.5, points) / points
    return theta, mass, generator.normal(size=(nodes, d)), generator.normal(size=nodes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("d", "points", "nodes"), SIZES)
def test_predict_pullback_and_potential_match_the_formulas(name: str, d: int, points: int, nodes: int) -> None:
    theta, mass, x, r = setting(d, points, nodes)
    f, psi, gradient = np.empty(nodes), np.empty(points), np.empty_like(theta)
    interaction.predict(CODES[name], HERMITE, theta, mass, x, f)
    interaction.potential(CODES[name], HERMITE, theta, x, r, psi)
    interaction.pullback(CODES[name], HERMITE, theta, x, r, gradient)
    np.testing.assert_allclose(f, naive.predict(name, HERMITE, theta, mass, x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(psi, naive.potential(name, HERMITE, theta, x, r), rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(gradient, naive.pullback(name, HERMITE, theta, x, r), rtol=1e-12, atol=1e-11)


def test_pullback_is_the_adjoint_derivative_of_predict() -> None:
    theta, mass, x, r = setting(7, 50, 21)
    direction = np.random.default_rng(9).normal(size=theta.shape)
    gradient = np.empty_like(theta)
    interaction.pullback(CODES["gelu"], HERMITE, theta, x, r, gradient)
    step = 1e-5
    forward, backward = np.empty(21), np.empty(21)
    interaction.predict(CODES["gelu"], HERMITE, theta + step * direction, mass, x, forward)
    interaction.predict(CODES["gelu"], HERMITE, theta - step * direction, mass, x, backward)
    assert r @ (forward - backward) / (2 * step) == pytest.approx(np.sum(mass * gradient * direction), rel=1e-8)


def test_batches_repeat_the_single_network() -> None:
    theta, _, x, r = setting(4, 200, 17)
    batch = np.stack([theta, theta[:, ::-1], 2.0 * theta])
    residuals = np.stack([r, -r, 0.5 * r])
    f, gradients = np.empty((3, 17)), np.empty_like(batch)
    interaction.predict_batch(CODES["erf"], HERMITE, batch, x, f)
    interaction.pullback_batch(CODES["erf"], HERMITE, batch, x, residuals, gradients)
    for replica in range(3):
        one, gradient = np.empty(17), np.empty_like(theta)
        interaction.predict(CODES["erf"], HERMITE, batch[replica], np.full(200, 1.0 / 200), x, one)
        interaction.pullback(CODES["erf"], HERMITE, batch[replica], x, residuals[replica], gradient)
        assert np.array_equal(f[replica], one)
        assert np.array_equal(gradients[replica], gradient)


def test_values_of_a_point_do_not_depend_on_its_company() -> None:
    theta, _, x, r = setting(5, 333, 10)
    gradient, part = np.empty_like(theta), np.empty((7, 100))
    interaction.pullback(CODES["tanh"], HERMITE, theta, x, r, gradient)
    interaction.pullback(CODES["tanh"], HERMITE, np.ascontiguousarray(theta[:, 50:150]), x, r, part)
    assert np.array_equal(part, gradient[:, 50:150])


def test_massless_atoms_leave_no_trace() -> None:
    theta, mass, x, _ = setting(5, 128, 10)
    padded = np.hstack([theta, 1e8 * np.ones((7, 100))])
    alone, together = np.empty(10), np.empty(10)
    interaction.predict(CODES["tanh"], HERMITE, theta, mass, x, alone)
    interaction.predict(CODES["tanh"], HERMITE, padded, np.append(mass, np.zeros(100)), x, together)
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("d", "points", "nodes", "angles"), [(1, 5, 3, 1), (2, 130, 9, 5), (3, 300, 4, 8)])
def test_features_and_their_derivatives(name: str, d: int, points: int, nodes: int, angles: int) -> None:
    generator = np.random.default_rng(2)
    theta, x = generator.normal(size=(d + 2, points)), generator.normal(size=(nodes, angles, d))
    average = generator.uniform(0.0, 1.0, angles)
    out = np.empty((points, nodes))
    interaction.features(CODES[name], HERMITE, theta, x, average, out)
    expected = naive.features(name, HERMITE, theta, x, average)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    for k in range(d + 1):
        interaction.features_derivative(CODES[name], HERMITE, theta, x, average, k, out)
        expected = naive.features_derivative(name, HERMITE, theta, x, average, k)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-11)
