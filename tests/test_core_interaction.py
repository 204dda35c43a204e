"""Prediction, pullback and features against their formulas, and the identities that tie them together."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from mfpde.core import interaction, parallel
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("d", "points", "nodes"), [(1, 1, 1), (3, 127, 6), (10, 300, 533)])
def test_single_precision_errs_by_its_own_rounding(name: str, d: int, points: int, nodes: int) -> None:
    theta, mass, x, r = setting(d, points, nodes)
    # relu jumps where z changes sign, so its slope is compared away from the kink
    theta[-1] += 5.0 if name == "relu" else 0.0
    r /= nodes
    f, psi, gradient = np.empty(nodes), np.empty(points), np.empty_like(theta)
    interaction.predict(CODES[name], HERMITE, theta, mass, x, f, "single")
    interaction.potential(CODES[name], HERMITE, theta, x, r, psi, "single")
    interaction.pullback(CODES[name], HERMITE, theta, x, r, gradient, "single")
    # sums over 4 * BLOCKS nodes are single: a few ulp times the sum of the absolute terms
    scale = np.max(np.abs(naive.activation(name, naive.preactivations(theta, x), HERMITE))) + 1.0
    np.testing.assert_allclose(f, naive.predict(name, HERMITE, theta, mass, x), rtol=0, atol=2e-6 * scale)
    np.testing.assert_allclose(psi, naive.potential(name, HERMITE, theta, x, r), rtol=0, atol=8e-6 * scale)
    expected = naive.pullback(name, HERMITE, theta, x, r)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-5 * scale)
    assert not np.array_equal(gradient, expected)


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize(("points", "nodes"), [(10_000, 37), (70_001, 5), (300_000, 3)])
def test_any_number_of_threads_gives_the_same_bits(points: int, nodes: int, precision: str) -> None:
    theta, mass, x, r = setting(3, points, nodes)
    results = []
    for threads in (1, 2, 4):
        f, psi, gradient = np.empty(nodes), np.empty(points), np.empty_like(theta)
        with parallel.team(threads):
            interaction.predict(CODES["tanh"], HERMITE, theta, mass, x, f, precision)
            interaction.potential(CODES["tanh"], HERMITE, theta, x, r, psi, precision)
            interaction.pullback(CODES["tanh"], HERMITE, theta, x, r, gradient, precision)
        results.append((f, psi, gradient))
    for other in results[1:]:
        assert all(np.array_equal(one, two) for one, two in zip(results[0], other, strict=True))
    np.testing.assert_allclose(
        results[0][0], naive.predict("tanh", (), theta, mass, x), rtol=0, atol=1e-14 if precision == "double" else 1e-7
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 1e3])
def test_small_and_large_arguments_match_the_formulas(name: str, size: float) -> None:
    theta, mass, x, r = setting(4, 60, 9)
    theta[1:] *= size
    f, gradient = np.empty(9), np.empty_like(theta)
    interaction.predict(CODES[name], HERMITE, theta, mass, x, f)
    interaction.pullback(CODES[name], HERMITE, theta, x, r, gradient)
    z = naive.preactivations(theta, x)
    # an argument z is known to eps |z|, hence sigma to eps |z sigma'|
    value = np.abs(naive.activation(name, z, HERMITE)) + np.abs(z * naive.activation_slope(name, z, HERMITE)) + 1e-3
    bound = 1e-12 * (np.abs(mass * theta[0]) @ value)
    assert np.all(np.abs(f - naive.predict(name, HERMITE, theta, mass, x)) <= bound)
    expected = naive.pullback(name, HERMITE, theta, x, r)
    curvature = (np.max(np.abs(z)) + 1.0) ** (2 if name == "hermite" else 1 if name != "quadratic" else 2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-13 * curvature * np.max(np.abs(expected)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_parameter_is_seen_in_the_prediction(bad: float) -> None:
    theta, mass, x, r = setting(4, 60, 9)
    theta[0, 3] = bad
    f, gradient = np.empty(9), np.empty_like(theta)
    interaction.predict(CODES["tanh"], HERMITE, theta, mass, x, f)
    interaction.pullback(CODES["tanh"], HERMITE, theta, x, r, gradient)
    assert not np.any(np.isfinite(f))
    theta[0, 3], theta[2, 3] = 1.0, np.nan
    interaction.predict(CODES["tanh"], HERMITE, theta, mass, x, f)
    interaction.pullback(CODES["tanh"], HERMITE, theta, x, r, gradient)
    assert np.all(np.isnan(f)) and np.all(np.isnan(gradient[:, 3]))
    # the others do not notice
    assert np.all(np.isfinite(np.delete(gradient, 3, axis=1)))


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


@pytest.mark.parametrize("precision", ["double", "single"])
def test_arrays_of_any_layout_give_the_same_bits(precision: str) -> None:
    theta, mass, x, r = setting(3, 300, 9)
    strided, target = np.asfortranarray(theta), np.empty_like(theta, order="F")
    wide = np.repeat(theta, 2, axis=1)
    f, g, gradient, potential = np.empty(9), np.empty(9), np.empty_like(theta), np.empty(300)
    interaction.predict(CODES["tanh"], HERMITE, theta, mass, x, f, precision)
    interaction.pullback(CODES["tanh"], HERMITE, theta, x, r, gradient, precision)
    interaction.potential(CODES["tanh"], HERMITE, theta, x, r, potential, precision)
    for view in (strided, wide[:, ::2]):
        interaction.predict(CODES["tanh"], HERMITE, view, mass, x, g, precision)
        assert np.array_equal(g, f)
        interaction.pullback(CODES["tanh"], HERMITE, view, x, r, target, precision)
        assert np.array_equal(target, gradient)
        again = np.empty(600)[::2]
        interaction.potential(CODES["tanh"], HERMITE, view, x, r, again, precision)
        assert np.array_equal(again, potential)


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
