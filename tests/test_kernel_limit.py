"""The kernel limit: kernels in closed form, filters, the flow at finite scale, slopes, ridge by decay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kernel_problems import SKEWED, SYMMETRIC, problem_on, product
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from mfpde import evolve
from mfpde.compare.rates import fit_rate
from mfpde.core.activations import derivative, evaluate
from mfpde.core.quadrature import gauss_hermite
from mfpde.errors import ConfigError, NumericalError
from mfpde.initial import GroupLaw, InitialLaw, initial_measure
from mfpde.measures import Axis, Grid, ParticleMeasure, Species
from mfpde.steppers.atoms import evolve_atoms
from mfpde.theory.deep.limit import DeepLimit, snapshots
from mfpde.theory.deep.linear import LinearLimit
from mfpde.theory.deep.problem import DeepProblem, Multipliers
from mfpde.theory.deep.space import LimitSettings
from mfpde.theory.deep.tangent import tangent_kernel
from mfpde.theory.deep.trajectory import collect
from mfpde.theory.kernel_limit.crossover import distances, slope_in_scale
from mfpde.theory.kernel_limit.duals import duals
from mfpde.theory.kernel_limit.finite_scale import finite_scale
from mfpde.theory.kernel_limit.kernels import (
    GaussianNeuron,
    Tangent,
    gaussian_kernel,
    gaussian_neuron,
    measure_kernel,
    tangent_of,
)
from mfpde.theory.kernel_limit.linearised import coordinates, decompose, gains, predict, residual
from mfpde.theory.kernel_limit.plane import plane_average
from mfpde.theory.kernel_limit.start import start
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]


def inputs(rng: np.random.Generator, n: int, d: int) -> Array:
    """Rows with one twice, one opposite to another, and one almost parallel: where closed forms lose digits."""
    x = rng.normal(size=(n, d))
    x[1], x[2], x[3] = x[0], -x[0], x[0] * (1.0 + 1e-9)
    return x


def ridges(x: Array, b: float | Array = 0.0) -> Atoms:
    return Atoms(np.ones(len(x)), x, np.broadcast_to(b, (len(x),)).astype(float))


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "gelu", "sin", "softplus", "sigmoid", "quadratic"])
def test_duals_agree_with_quadrature_in_the_plane(activation: str, rng: np.random.Generator) -> None:
    x = inputs(rng, 6, 3)
    found = duals(activation, ridges(x), ridges(x))
    for matrix, function in zip(found, (evaluate, derivative), strict=True):

        def at(z: Array, function: Callable[..., Array] = function) -> Array:
            return function(activation, z)

        for i in range(6):
            for j in range(i + 1):
                assert matrix[i, j] == pytest.approx(plane_average(at, at, x[i], x[j]), abs=1e-10)


def test_relu_kernel_is_the_formula_of_the_spec(rng: np.random.Generator) -> None:
    """H = |x||z|/(2 pi) [sin + (pi - phi) cos] + A2 <x, z> (pi - phi)/(2 pi) for w ~ N(0, I); std enters as std^2."""
    x, z = rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    cosines = x @ z.T / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(z, axis=1))
    phi = np.arccos(cosines)
    first = (
        np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(z, axis=1))
        * (np.sin(phi) + (np.pi - phi) * cosines)
        / (2.0 * np.pi)
    )
    second = 1.7 * (x @ z.T) * (np.pi - phi) / (2.0 * np.pi)
    for std in (1.0, 0.3):
        neuron = GaussianNeuron(1.7, np.zeros(5), std, np.zeros(1), np.ones(1), 0.0)
        found = gaussian_kernel("relu", neuron, Tangent(1.0, 1.0, 0.0), x, z)
        np.testing.assert_allclose(found, std**2 * first + second, rtol=1e-12)


def test_quadrants_of_biased_relu_are_normal_probabilities(rng: np.random.Generator) -> None:
    x, z = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    b, c = rng.normal(size=5), rng.normal(size=4)
    b[0] = c[1] = 0.0
    found = duals("relu", ridges(x, b), ridges(z, c)).slopes
    for i in range(5):
        for j in range(4):
            covariance = np.array([[x[i] @ x[i], x[i] @ z[j]], [x[i] @ z[j], z[j] @ z[j]]])
            assert found[i, j] == pytest.approx(multivariate_normal.cdf([b[i], c[j]], cov=covariance), abs=1e-10)
    still = duals("relu", ridges(np.zeros((2, 3)), np.array([1.0, -1.0])), ridges(z, c)).slopes
    np.testing.assert_allclose(still[0], [multivariate_normal.cdf(c[j] / np.linalg.norm(z[j])) for j in range(4)])
    assert not still[1].any()


@pytest.mark.parametrize("activation", ["tanh", "erf"])
@pytest.mark.parametrize("train", [("a",), ("w",), ("a", "w", "b")])
def test_gaussian_kernel_is_that_of_a_gauss_rule(
    activation: str, train: tuple[str, ...], rng: np.random.Generator
) -> None:
    """Mean and deviation of w, a bias of signs or normal, rates of the groups: against atoms of the same law."""
    x, z, rates = 0.4 * rng.normal(size=(4, 2)), 0.4 * rng.normal(size=(3, 2)), (0.5, 2.0, 3.0)
    problem = problem_on(x, np.zeros(4), activation=activation, train=train, bias=True, rates=rates)
    nodes, shares = gauss_hermite(40)
    for b, points, parts in (
        (GroupLaw("rademacher"), np.array([-1.0, 1.0]), np.full(2, 0.5)),
        (GroupLaw("normal", mean=(0.3,), std=0.4), 0.3 + 0.4 * nodes, shares),
    ):
        law = InitialLaw(GroupLaw("rademacher"), GroupLaw("normal", mean=(0.2, -0.1), std=0.9), b, 2)
        std = 0.9 / np.sqrt(2.0)
        grid = np.meshgrid([-1.0, 1.0], 0.2 + std * nodes, -0.1 + std * nodes, points, indexing="ij")
        mass = np.einsum("i,j,k,l->ijkl", np.full(2, 0.5), shares, shares, parts)
        atoms = np.stack([axis.reshape(-1) for axis in grid], axis=1)
        measure = ParticleMeasure(("a", "w0", "w1", "b"), atoms, mass.reshape(-1))
        neuron = gaussian_neuron(problem, law)
        assert neuron is not None
        found = gaussian_kernel(activation, neuron, tangent_of(problem), x, z)
        np.testing.assert_allclose(found, measure_kernel(problem, measure, x, z), atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, (6, 2), elements=st.floats(-3.0, 3.0, width=32)), st.sampled_from(["relu", "erf", "tanh"]))
def test_kernels_are_positive_semidefinite(x: Array, activation: str) -> None:
    neuron = GaussianNeuron(1.0, np.zeros(2), 0.8, np.zeros(1), np.ones(1), 0.3)
    matrix = gaussian_kernel(activation, neuron, Tangent(1.0, 1.0, 1.0), x, x)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.trace(matrix)


def test_prediction_is_the_formula_of_the_article(rng: np.random.Generator) -> None:
    """h(z)^T H^-1 (I - exp(-H t/n)) y, and h^T H^-1 y in the end."""
    root = rng.normal(size=(7, 7))
    matrix, cross, y = root @ root.T, rng.normal(size=(3, 7)), rng.normal(size=7)
    spectrum = decompose(matrix, np.full(7, 1.0 / 7.0))
    for time in (0.1, 3.0, 50.0):
        left = expm(-matrix * time / 7.0) @ y
        np.testing.assert_allclose(residual(spectrum, y, time), left, atol=1e-11)
        expected = cross @ np.linalg.solve(matrix, y - left)
        np.testing.assert_allclose(predict(spectrum, cross, y, time), expected, rtol=1e-7)
    np.testing.assert_allclose(predict(spectrum, cross, y, np.inf), cross @ np.linalg.solve(matrix, y), rtol=1e-7)


def test_linearised_flow_solves_its_equation_with_weights_and_decay(rng: np.random.Generator) -> None:
    """u' = -H C u - mu (u - u_0), by central differences; at infinity ridge regression with weighted squares."""
    root, c = rng.normal(size=(6, 6)), rng.dirichlet(np.ones(6))
    matrix, y, mu = root @ root.T, rng.normal(size=6), 0.4
    spectrum = decompose(matrix, c)
    h, time = 1e-4, 0.7
    slope = (residual(spectrum, y, time + h, mu) - residual(spectrum, y, time - h, mu)) / (2.0 * h)
    u = residual(spectrum, y, time, mu)
    np.testing.assert_allclose(slope, -matrix @ (c * u) - mu * (u - y), atol=1e-6)
    ridge = matrix @ np.linalg.solve(matrix + mu * np.diag(1.0 / c), y)
    np.testing.assert_allclose(y - residual(spectrum, y, np.inf, mu), ridge, atol=1e-10)
    equal = decompose(matrix, np.full(6, 1.0 / 6.0))
    corrected = matrix @ np.linalg.solve(matrix + 6.0 * mu * np.eye(6), y)
    np.testing.assert_allclose(predict(equal, matrix, y, np.inf, mu), corrected, atol=1e-10)


def test_gains_are_filters_between_zero_and_one() -> None:
    spectrum = decompose(np.diag([2.0, 0.5, 1e-3, 0.0]), np.ones(4))
    np.testing.assert_allclose(gains(spectrum, 3.0), 1.0 - np.exp(-3.0 * np.array([2.0, 0.5, 1e-3, 0.0])), atol=1e-15)
    np.testing.assert_allclose(gains(spectrum, np.inf, 0.5), [0.8, 0.5, 1e-3 / 0.501, 0.0], rtol=1e-12)
    assert list(gains(spectrum, np.inf)) == [1.0, 1.0, 1.0, 0.0]


def test_what_lies_in_the_null_space_is_never_learned(rng: np.random.Generator) -> None:
    """Lemma 7: u*_inf is the projection of u*_0 on the null space of H; the prediction is that of least squares."""
    x = rng.normal(size=(8, 3))
    problem = problem_on(x, rng.normal(size=8), activation="identity", train=("a",))
    measure = product(problem, rng.normal(size=(50, 3)))
    matrix = measure_kernel(problem, measure, x, x)
    y, z = problem.data.y, rng.normal(size=(4, 3))
    spectrum = decompose(matrix, problem.data.weights)
    assert spectrum.rank == 3
    left = residual(spectrum, y, np.inf)
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(left, y - x @ coefficients, atol=1e-10)
    np.testing.assert_allclose(matrix @ left, 0.0, atol=1e-10)
    found = predict(spectrum, measure_kernel(problem, measure, z, x), y, np.inf)
    np.testing.assert_allclose(found, z @ coefficients, atol=1e-9)


def test_a_matrix_that_is_no_kernel_is_refused() -> None:
    with pytest.raises(NumericalError, match="eigenvalue"):
        decompose(np.diag([1.0, -0.1]), np.ones(2))


# ---- the flow at finite scale ------------------------------------------------------------------------------------


def five_points(rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """n = 5 points in d = 2, with 40 directions: x, y, w, points to test on."""
    return rng.normal(size=(5, 2)), rng.normal(size=5), rng.normal(size=(40, 2)), rng.normal(size=(3, 2))


@pytest.mark.parametrize(("law", "power"), [(SKEWED, 1.0), (SYMMETRIC, 2.0)])
def test_the_flow_approaches_its_limit_at_the_rate_of_the_law(
    law: tuple[tuple[float, ...], tuple[float, ...]], power: float, rng: np.random.Generator
) -> None:
    """alpha^-1 from a skewed law of a, alpha^-2 from a symmetric one, displacement alpha^-1 (docs/kernel-limit.md).

    Between alpha = 100 and 300 that is 3 and 9; another program found 3.2 and 9.2 on points of its own.
    """
    x, y, w, z = five_points(rng)
    problem = problem_on(x, y)
    measure = product(problem, w, law)
    matrix, cross = measure_kernel(problem, measure, x, x), measure_kernel(problem, measure, z, x)
    spectrum = decompose(matrix, problem.data.weights)
    scales, times = [30.0, 100.0, 300.0, 1000.0], np.array([0.0, 20.0])
    paths = [finite_scale(problem, measure, scale, times, z) for scale in scales]
    off = [distances(path, spectrum, cross, y) for path in paths]
    for errors in ([one.data[-1] for one in off], [one.test[-1] for one in off]):
        rate = slope_in_scale(scales, errors, 100.0)
        assert rate is not None and rate.ci is not None
        assert rate.slope == pytest.approx(-power, abs=0.05)
        assert rate.ci[0] <= -power + 0.02 and rate.ci[1] >= -power - 0.02
        assert errors[1] / errors[2] == pytest.approx(3.0**power, rel=0.08)
    moved = fit_rate(scales, [[path.displacement[-1]] for path in paths])
    assert moved.slope == pytest.approx(-1.0, abs=0.01)
    # the prediction itself: h^T H^-1 (I - exp(-H t/n)) y
    expected = cross @ np.linalg.solve(matrix, y - expm(-matrix * 20.0 / 5.0) @ y)
    np.testing.assert_allclose(paths[-1].f_test[-1], expected, atol=(1e-3, 1e-5)[int(power) - 1])


def test_both_limits_in_turn_interpolate(rng: np.random.Generator) -> None:
    """Scale, then time to infinity: f -> h(z)^T H^-1 y, without a ridge."""
    x, y, w, z = five_points(rng)
    problem = problem_on(x, y)
    measure = product(problem, w)
    matrix, cross = measure_kernel(problem, measure, x, x), measure_kernel(problem, measure, z, x)
    slowest = np.linalg.eigvalsh(matrix)[0] / 5.0
    path = finite_scale(problem, measure, 3e4, np.array([0.0, 14.0 / slowest]), z)
    np.testing.assert_allclose(path.f_test[-1], cross @ np.linalg.solve(matrix, y), atol=1e-5)
    np.testing.assert_allclose(path.f[-1], y, atol=1e-5)


def test_the_rescaled_clock_is_that_of_solve(rng: np.random.Generator) -> None:
    """s = alpha^2 t: the same network from the engine of ``solve`` at temperature 0, groups at rates of their own."""
    x, y, w, z = five_points(rng)
    scale, times = 4.0, np.array([0.0, 0.5, 8.0])
    problem = problem_on(x, y, scale=scale, rates=(0.5, 2.0, 1.0))
    measure = product(problem, w)
    path = finite_scale(problem, measure, scale, times, z)
    engine = list(evolve_atoms(problem, measure, times / scale**2))
    np.testing.assert_allclose(path.f, np.stack([snapshot.f for snapshot in engine]), atol=1e-6)
    moved = [np.sqrt(s.measure.weights @ np.sum((s.measure.atoms - measure.atoms) ** 2, axis=1)) for s in engine]
    np.testing.assert_allclose(path.displacement, moved, atol=1e-6)


def test_residual_identity_of_the_particle_flow(rng: np.random.Generator) -> None:
    """df(x_i)/dt = alpha^2 sum_j H_t(x_i, x_j) c_j (y_j - f_j), H rebuilt from the law at t; order 2 in h."""
    x, y, w, _ = five_points(rng)
    problem = problem_on(x, y, scale=2.0, weights=rng.dirichlet(np.ones(5)), train=("a", "w"))
    measure = product(problem, w, SKEWED)
    worst = []
    for h in (0.02, 0.01):
        before, now, after = list(evolve_atoms(problem, measure, np.array([0.5 - h, 0.5, 0.5 + h])))
        rebuilt = measure_kernel(problem, now.measure, x, x)
        expected = 4.0 * rebuilt @ (problem.data.weights * (y - now.f))
        worst.append(float(np.max(np.abs((after.f - before.f) / (2.0 * h) - expected))))
    assert worst[0] / worst[1] == pytest.approx(4.0, rel=0.1)
    assert worst[1] < 1e-2 * np.max(np.abs(expected))


def test_residual_identity_of_the_grid_flow(rng: np.random.Generator) -> None:
    """The same for the density: the noise adds tau int Lap sigma*, the decay -lambda int <theta, grad sigma*>."""
    x, y, tau, decay = rng.normal(size=(6, 1)), rng.normal(size=6), 0.05, 0.2
    problem = replace(problem_on(x, y, train=("w",), decay=decay), temperature=tau)
    species = Species(("a",), np.array([[1.0], [-1.0]]), np.full(2, 0.5))
    law = InitialLaw(GroupLaw("rademacher"), GroupLaw("normal", mean=(0.5,), std=0.6), GroupLaw("point"), 1)
    h, worst = 0.01, []
    for cells in (120, 240):
        grid = Grid((Axis(problem.moving[0], -6.0, 6.0, cells),), species)
        control = evolve.Control(tolerance=1e-7, extend=False)
        found = evolve.solve(problem, initial_measure(law, grid), np.array([0.0, 0.3 - h, 0.3, 0.3 + h]), control)
        before, now, after = found.snapshots[1:]
        a, w, mass = now.measure.coordinate("a"), now.measure.coordinate("w"), now.measure.mass
        z = w[..., None] * x[:, 0]
        slope = 1.0 - np.tanh(z) ** 2
        laplace = -2.0 * x[:, 0] ** 2 * np.tanh(z) * slope
        drift = tau * laplace - decay * w[..., None] * x[:, 0] * slope
        expected = measure_kernel(problem, now.measure, x, x) @ (problem.data.weights * (y - now.f))
        expected += np.sum((mass * a)[..., None] * drift, axis=(0, 1))
        worst.append(float(np.max(np.abs((after.f - before.f) / (2.0 * h) - expected)) / np.max(np.abs(expected))))
    assert worst[1] < 2e-3 and worst[0] / worst[1] > 3.0


def test_the_training_error_never_rises(rng: np.random.Generator) -> None:
    """d|u|^2/ds = -2 <u, H u> <= 0, at every scale."""
    x, y, w, z = five_points(rng)
    problem = problem_on(x, y, activation="relu")
    for scale in (0.2, 1.0, 30.0):
        path = finite_scale(problem, product(problem, w, SKEWED), scale, np.linspace(0.0, 20.0, 30), z)
        errors = np.sum((path.f - y) ** 2, axis=1)
        assert np.all(np.diff(errors) <= 1e-9)
        assert path.kernel_change[0] == 0.0 and path.displacement[0] == 0.0
        assert np.all(np.abs(path.alignment) <= 1.0 + 1e-12)


# ---- ridge by decay ----------------------------------------------------------------------------------------------


def test_decay_towards_the_start_is_ridge_regression_in_the_limit(rng: np.random.Generator) -> None:
    x, y, w, z = five_points(rng)
    problem, mu = problem_on(x, y), 0.05
    measure = product(problem, w)
    matrix, cross = measure_kernel(problem, measure, x, x), measure_kernel(problem, measure, z, x)
    expected = cross @ np.linalg.solve(matrix + 5.0 * mu * np.eye(5), y)
    off = []
    for scale in (100.0, 300.0):
        path = finite_scale(problem, measure, scale, np.array([0.0, 400.0]), z, decay=mu)
        off.append(float(np.max(np.abs(path.f_test[-1] - expected))))
    assert off[1] < 1e-4 and off[0] / off[1] == pytest.approx(9.0, rel=0.1)


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_plain_weight_decay_is_ridge_regression_at_every_scale_if_a_alone_moves(
    scale: float, rng: np.random.Generator
) -> None:
    """f is linear in a: with weight decay lambda of ``solve`` it is ridge regression with mu = lambda/alpha^2."""
    x, y, w, _ = five_points(rng)
    mu = 0.05
    problem = problem_on(x, y, train=("a",), scale=scale, decay=mu * scale**2)
    measure = product(problem, w)
    matrix = measure_kernel(problem, measure, x, x)
    for time in (2.0, 500.0):
        end = list(evolve_atoms(problem, measure, np.array([0.0, time / scale**2])))[-1]
        expected = y - residual(decompose(matrix, problem.data.weights), y, time, mu)
        np.testing.assert_allclose(end.f, expected, atol=2e-6)
    np.testing.assert_allclose(end.f, matrix @ np.linalg.solve(matrix + 5.0 * mu * np.eye(5), y), atol=2e-6)


def test_plain_weight_decay_of_both_layers_forgets_the_kernel(rng: np.random.Generator) -> None:
    """Homogeneous of degree 2: f' = exp(-2 mu s) H C u - 2 mu f in the limit, hence f -> 0: no ridge regression."""
    x, y, w, _ = five_points(rng)
    scale, mu = 1000.0, 0.1
    problem = problem_on(x, y, activation="relu", scale=scale, decay=mu * scale**2)
    measure = product(problem, w)
    matrix = measure_kernel(problem, measure, x, x)
    f, steps, last = np.zeros(5), 600, 3.0
    for k in range(steps):  # midpoint rule
        h = last / steps

        def slope(s: float, f: Array) -> Array:
            return np.exp(-2.0 * mu * s) * matrix @ (y - f) / 5.0 - 2.0 * mu * f

        f = f + h * slope((k + 0.5) * h, f + 0.5 * h * slope(k * h, f))
    end = list(evolve_atoms(problem, measure, np.array([0.0, last, 40.0]) / scale**2))
    np.testing.assert_allclose(end[1].f, f, atol=2e-3)
    assert np.max(np.abs(end[2].f)) < 0.02 * np.max(np.abs(f))


# ---- laws at time zero -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "a", [GroupLaw("rademacher"), GroupLaw("normal", std=1.5), GroupLaw("uniform", low=-2, high=2)]
)
@pytest.mark.parametrize("dimension", [2, 5])
def test_the_start_has_output_zero_and_one_kernel(a: GroupLaw, dimension: int, rng: np.random.Generator) -> None:
    x = 0.3 * rng.normal(size=(6, dimension))
    problem = problem_on(x, rng.normal(size=6))
    law = InitialLaw(a, GroupLaw("normal", std=1.0), GroupLaw("point"), dimension)
    symmetric, skewed = (start(problem, law, 30, 3, one) for one in (False, True))
    neuron = gaussian_neuron(problem, law)
    assert neuron is not None
    for measure in (symmetric, skewed):
        assert measure.weights.sum() == pytest.approx(1.0)
        assert measure.weights @ measure.atoms[:, 0] == pytest.approx(0.0, abs=1e-15)
        assert measure.weights @ measure.atoms[:, 0] ** 2 == pytest.approx(neuron.a_square)
    one, two = (measure_kernel(problem, measure, x, x) for measure in (symmetric, skewed))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    assert skewed.weights @ skewed.atoms[:, 0] ** 3 > 0.5 * neuron.a_square**1.5
    if dimension == 2:  # a product of Gauss rules: the kernel of the law itself
        wanted = gaussian_kernel("tanh", neuron, tangent_of(problem), x, x)
        np.testing.assert_allclose(one, wanted, atol=1e-6)


def test_a_law_with_a_mean_is_refused(rng: np.random.Generator) -> None:
    problem = problem_on(rng.normal(size=(3, 2)), np.zeros(3))
    law = InitialLaw(GroupLaw("normal", mean=(0.5,)), GroupLaw("normal"), GroupLaw("point"), 2)
    with pytest.raises(ConfigError, match=r"mean 0\.5"):
        start(problem, law, 10, 0)


def test_slopes_leave_out_what_the_integrator_cannot_tell() -> None:
    scales = [1.0, 10.0, 100.0, 1000.0]
    rate = slope_in_scale(scales, [5.0, 1e-2, 1e-4, 1e-12], 10.0)
    assert rate is not None and rate.slope == pytest.approx(-2.0) and len(rate.widths) == 2
    assert slope_in_scale(scales, [1.0, 1e-9, 1e-9, 1e-9], 10.0) is None


# ---- the same limit from the solver of deep networks -------------------------------------------------------------


def test_one_layer_of_the_deep_solver_has_this_kernel(rng: np.random.Generator) -> None:
    """L = 1, inputs over sqrt(d), E a^2 = 1; the rates of the groups are the multipliers; its output bias adds m_b."""
    x, rates = rng.normal(size=(5, 3)), Multipliers(input=0.5, output=2.0, bias=0.3)
    case = DeepProblem(x, np.zeros(5), 1, "relu", multipliers=rates, bias=True, bias_std=0.4)
    neuron = GaussianNeuron(1.0, np.zeros(3), 1.0, np.zeros(1), np.ones(1), 0.4)
    scaled = x / np.sqrt(3.0)
    found = gaussian_kernel("relu", neuron, Tangent(2.0, 0.5, 0.3), scaled, scaled)
    np.testing.assert_allclose(tangent_kernel(case).theta, found + 0.3, rtol=1e-12)


def test_the_exact_deep_solver_approaches_the_kernel_limit(rng: np.random.Generator) -> None:
    """L = 1, gamma = 1/alpha -> 0, a linear network without sampling: the limit up to gamma^2, then the step."""
    x, y, rate, steps = rng.normal(size=(5, 2)), rng.normal(size=5), 0.2, 40
    neuron = GaussianNeuron(1.0, np.zeros(2), 1.0, np.zeros(1), np.ones(1), 0.0)
    scaled = x / np.sqrt(2.0)
    spectrum = decompose(
        gaussian_kernel("identity", neuron, Tangent(1.0, 1.0, 0.0), scaled, scaled), np.full(5, 1.0 / 5.0)
    )
    flow = y - residual(spectrum, y, rate * steps)
    shares = 1.0 - (1.0 - rate * spectrum.eigenvalues) ** steps
    descent = (spectrum.modes @ (shares * coordinates(spectrum, y))) / spectrum.roots
    off = []
    for richness in (0.1, 0.05):
        case = DeepProblem(x, y, 1, "identity", rate=rate, steps=steps, richness=richness)
        off.append(float(np.max(np.abs(collect(snapshots(LinearLimit(case))).f[-1, :, 0] - descent))))
    assert off[1] < 1e-2 and off[0] / off[1] == pytest.approx(4.0, rel=0.1)
    assert np.max(np.abs(descent - flow)) < 0.1
    finer = DeepProblem(x, y, 1, "identity", rate=rate / 32, steps=32 * steps, richness=1e-3)
    np.testing.assert_allclose(collect(snapshots(LinearLimit(finer))).f[-1, :, 0], flow, atol=5e-3)


def test_the_sampled_deep_solver_approaches_the_kernel_limit(rng: np.random.Generator) -> None:
    """L = 1, erf, gamma = 0.01: within the error of 4096 samples."""
    x, y, rate, steps = rng.normal(size=(5, 2)), rng.normal(size=5), 0.1, 60
    neuron = GaussianNeuron(1.0, np.zeros(2), 1.0, np.zeros(1), np.ones(1), 0.0)
    scaled = x / np.sqrt(2.0)
    spectrum = decompose(gaussian_kernel("erf", neuron, Tangent(1.0, 1.0, 0.0), scaled, scaled), np.full(5, 0.2))
    case = DeepProblem(x, y, 1, "erf", rate=rate, steps=steps, richness=0.01)
    seen = collect(snapshots(DeepLimit(case, LimitSettings(samples=4096)))).f[:, :, 0]
    for step in (10, 60):
        np.testing.assert_allclose(seen[step] - seen[0], y - residual(spectrum, y, rate * step), atol=0.03)
