"""The total-variation problem on neurons: certificates, brute force, closed forms; teachers recovered to round-off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import nnls

from mfpde.core import quadrature
from mfpde.errors import ConfigError, NotConverged
from mfpde.theory import neurons, refit, total_variation
from mfpde.theory.neurons import Domain, Regression, regression
from mfpde.theory.ridge import Atoms, network
from mfpde.theory.total_variation import TotalVariation, solve

Array = NDArray[np.float64]
ODD = ("tanh", "erf", "sin")


def teacher(rng: np.random.Generator, count: int, dimension: int, degrees: float) -> Atoms:
    """Unit directions whose lines are at least ``degrees`` apart, amplitudes of either sign in [0.5, 1.5]."""
    while True:
        w = rng.standard_normal((count, dimension))
        w /= np.linalg.norm(w, axis=1, keepdims=True)
        cosines = np.abs(w @ w.T) - 2.0 * np.eye(count)
        if cosines.max() < np.cos(np.deg2rad(degrees)):
            return Atoms(rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 1.5, count), w, np.zeros(count))


def noiseless(activation: str, truth: Atoms, rng: np.random.Generator, count: int = 400) -> Regression:
    x = rng.standard_normal((count, truth.w.shape[1]))
    return regression(activation, x, network(activation, truth, x))


def position_error(activation: str, found: Atoms, truth: Atoms) -> float:
    """The largest distance of a true neuron to the nearest found one, modulo the sign of an odd activation."""
    rows = [np.linalg.norm(truth.w[:, None] - sign * found.w[None], axis=2) for sign in (1.0, -1.0)]
    return float((np.minimum(*rows) if activation in ODD else rows[0]).min(axis=1).max())


def eta(problem: Regression, solution: TotalVariation, units: Array) -> Array:
    """The certificate at units [k, D], from its definition."""
    lifted = neurons.features(problem, units)
    f = solution.atoms.a @ neurons.features(problem, neurons.from_atoms(problem, solution.atoms))
    return lifted @ (problem.weights * (problem.y - f)) / solution.penalty


@pytest.mark.parametrize(
    ("activation", "dimension", "domain"),
    [
        ("tanh", 2, Domain()),
        ("relu", 2, Domain()),
        ("gelu", 3, Domain("sphere", 2.0)),
        ("quadratic", 3, Domain()),
        ("tanh", 1, Domain("ball", 3.0, 2.0)),
        ("softplus", 2, Domain("ball", 1.5)),
        ("sigmoid", 2, Domain("sphere", 1.0, 1.0)),
    ],
)
def test_the_certificate_holds_on_a_fine_set_it_was_not_made_from(
    activation: str, dimension: int, domain: Domain, rng: np.random.Generator
) -> None:
    """sup |eta| <= 1 + 1e-6 over 20000 fresh places; eta is the sign of nu on its atoms; the gap closes."""
    x = rng.standard_normal((120, dimension))
    problem = regression(activation, x, np.sin(2.0 * x[:, 0]) + 0.5 * np.abs(x).sum(axis=1), domain=domain)
    penalty = 0.05 * total_variation.largest_penalty(problem)
    solution = solve(problem, penalty)
    fresh = neurons.normalised(problem, rng.standard_normal((20000, problem.lifted.shape[1])))
    assert np.max(np.abs(eta(problem, solution, fresh))) <= 1.0 + 1e-6
    units = neurons.from_atoms(problem, solution.atoms)
    assert_allclose(eta(problem, solution, units), np.sign(solution.atoms.a), atol=2e-4)
    assert 0.0 <= solution.gap <= 1e-6 * solution.objective
    assert solution.certificate <= 1.0 + 1e-6
    assert np.all(np.diff(solution.trace[:, 0]) <= 1e-12 * solution.objective)
    assert np.all(np.linalg.norm(solution.atoms.w, axis=1) <= domain.radius * (1.0 + 1e-12))


def test_copies_of_a_neuron_are_made_one() -> None:
    """Noisy data for which insertion leaves two neurons of one sign beside each other."""
    rng = np.random.default_rng(1)
    truth = teacher(rng, 3, 2, 30.0)
    clean = noiseless("erf", truth, rng, 200)
    problem = regression("erf", clean.lifted, clean.y + 0.1 * rng.standard_normal(200))
    solution = solve(problem, 3e-3 * total_variation.largest_penalty(problem))
    assert len(solution.atoms.a) == 3
    assert solution.certificate <= 1.0 + 1e-6


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_brute_force_on_a_circle_of_directions_lies_between_dual_and_a_little_above(
    activation: str, rng: np.random.Generator
) -> None:
    """The lasso over 1440 directions, by non-negative least squares with both signs: a second method."""
    x = rng.standard_normal((60, 2))
    y = x[:, 0] * x[:, 1] + x[:, 0]
    problem = regression(activation, x, y)
    penalty = 0.1 * total_variation.largest_penalty(problem)
    solution = solve(problem, penalty)
    angles = np.linspace(0.0, 2.0 * np.pi, 1440, endpoint=False)
    phi = neurons.features(problem, np.stack([np.cos(angles), np.sin(angles)], axis=1)).T / np.sqrt(60)
    # min |phi z - y|^2/2 + penalty sum z over z >= 0: the last row and a large factor would cost digits; complete it
    signed = np.concatenate([phi, -phi], axis=1)
    q, s, vt = np.linalg.svd(signed, full_matrices=False)
    kept = s > 1e-10 * s[0]
    target = q[:, kept].T @ (y / np.sqrt(60))
    # ones is not in the row space in general: the penalty row keeps it, weighted so that its square is second order
    weight = 1e-4
    rows = np.concatenate([s[kept, None] * vt[kept], weight * np.ones((1, 2880))])
    z, _ = nnls(rows, np.append(target, -penalty / weight), maxiter=30000)
    best = 0.5 * np.sum((signed @ z - y / np.sqrt(60)) ** 2) + penalty * z.sum()
    assert solution.dual <= best + 1e-12
    assert solution.objective <= best + 1e-12
    assert best - solution.objective <= 1e-4 * best


@given(seed=st.integers(0, 2**31), share=st.floats(0.02, 0.9), activation=st.sampled_from(("tanh", "erf", "gelu")))
@settings(max_examples=12, deadline=None)
def test_the_dual_value_is_below_the_objective_of_every_measure(seed: int, share: float, activation: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 2))
    problem = regression(activation, x, rng.standard_normal(40), rng.random(40) + 0.1)
    penalty = share * total_variation.largest_penalty(problem)
    solution = solve(problem, penalty)
    for count in (0, 1, 4):
        a, w = 0.3 * rng.standard_normal(count), rng.standard_normal((count, 2))
        other = Atoms(a, w / np.linalg.norm(w, axis=1, keepdims=True), np.zeros(count))
        missed = network(activation, other, x) - problem.y
        objective = 0.5 * float(problem.weights @ missed**2) + penalty * float(np.abs(a).sum())
        assert solution.dual <= objective + 1e-12
    assert solution.gap <= 2e-6 * solution.objective


def test_orthogonal_neurons_are_soft_thresholded() -> None:
    """d = 1: relu(x) and relu(-x) never meet, so that a = sign(c) (|c| - penalty)_+ / |relu|^2 each."""
    x = np.array([[-2.0], [-1.0], [0.5], [1.0], [3.0]])
    y = np.array([1.0, -3.0, 1.0, 2.0, 1.5])
    problem = regression("relu", x, y)
    right, left = np.maximum(x[:, 0], 0.0), np.maximum(-x[:, 0], 0.0)
    c_right, c_left = right @ y / 5.0, left @ y / 5.0
    penalty = 0.15
    solution = solve(problem, penalty)
    expected = {
        1.0: np.sign(c_right) * max(abs(c_right) - penalty, 0.0) / (right @ right / 5.0),
        -1.0: np.sign(c_left) * max(abs(c_left) - penalty, 0.0) / (left @ left / 5.0),
    }
    assert {float(w): pytest.approx(float(a), abs=1e-13) for a, w in zip(solution.atoms.a, solution.atoms.w[:, 0])} == {
        side: value for side, value in expected.items() if value != 0.0
    }


def test_nothing_is_optimal_exactly_from_the_largest_penalty_on() -> None:
    """f* = x_0 under a law symmetric about 0: sup_u <f*, relu(u x)> = sup_u u_0/2 = 1/2, at u = e_0."""
    nodes, weights = quadrature.gauss_hermite(12)
    x = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    problem = regression("relu", x, x[:, 0], np.outer(weights, weights).reshape(-1))
    assert total_variation.largest_penalty(problem) == pytest.approx(0.5, abs=1e-12)
    above, below = solve(problem, 0.5 * (1.0 + 1e-6)), solve(problem, 0.5 * (1.0 - 1e-3))
    assert len(above.atoms.a) == 0
    assert above.objective == pytest.approx(0.5, abs=1e-12)
    assert len(below.atoms.a) > 0
    assert below.objective < above.objective


@pytest.mark.parametrize(("activation", "domain"), [("tanh", Domain("ball", 2.0, 1.0)), ("gelu", Domain())])
def test_derivatives_of_a_correlation(activation: str, domain: Domain, rng: np.random.Generator) -> None:
    """Gradient and Hessian in tangent coordinates against differences along great circles."""
    x = rng.standard_normal((30, 2))
    problem = regression(activation, x, rng.standard_normal(30), domain=domain)
    unit = neurons.normalised(problem, rng.standard_normal((1, problem.lifted.shape[1])))
    q = neurons.tangents(problem, unit)
    assert_allclose(q[0].T @ q[0], np.eye(q.shape[2]), atol=1e-14)
    local = neurons.jet(problem, unit, q, problem.y)
    h = 1e-4

    def along(step: Array) -> float:
        """The value after a geodesic of every sphere."""
        ambient, out = q[0] @ step, unit[0].copy()
        for block in problem.blocks:
            length = np.linalg.norm(ambient[block])
            if length > 0.0:
                out[block] = np.cos(length) * unit[0, block] + np.sin(length) / length * ambient[block]
        return float(neurons.correlations(problem, out[None], problem.y)[0])

    for _ in range(4):
        direction = rng.standard_normal(q.shape[2])
        slope = (along(h * direction) - along(-h * direction)) / (2.0 * h)
        bend = (along(h * direction) - 2.0 * along(0.0 * direction) + along(-h * direction)) / h**2
        assert slope == pytest.approx(float(local.gradient[0] @ direction), abs=1e-7)
        assert bend == pytest.approx(float(direction @ local.hessian[0] @ direction), abs=1e-6)


@pytest.mark.parametrize(
    "domain", [Domain(), Domain("ball", 2.0), Domain("sphere", 0.5, 1.5), Domain("ball", 3.0, 2.0)]
)
def test_atoms_and_units_are_one_and_candidates_fill_the_domain(domain: Domain, rng: np.random.Generator) -> None:
    problem = regression("tanh", rng.standard_normal((9, 2)), rng.standard_normal(9), domain=domain)
    units = neurons.candidates(problem, 2000)
    atoms = neurons.to_atoms(problem, np.ones(len(units)), units)
    z = problem.lifted[:, :2] / domain.radius @ atoms.w.T + atoms.b
    assert_allclose(neurons.pre_activation(problem, units), z.T, atol=1e-12)
    assert_allclose(neurons.pre_activation(problem, neurons.from_atoms(problem, atoms)), z.T, atol=1e-7)
    anywhere = neurons.normalised(problem, rng.standard_normal((200, units.shape[1])))
    assert np.max(np.min(neurons.chords(problem, anywhere, units), axis=1)) < (0.5 if domain.bias else 0.2)
    # one of each family: the hidden coordinates of balls and intervals are never negative
    hidden = ~np.any(problem.lifted, axis=0)
    assert np.all(units[:, hidden] >= 0.0)
    # a twin is the same function up to its factor
    for signs, factor in zip(problem.twin_signs, problem.twin_factors, strict=True):
        twin = factor * neurons.features(problem, signs * anywhere)
        assert_allclose(twin, neurons.features(problem, anywhere), atol=1e-13)


def check_recovery(activation: str, count: int, dimension: int, degrees: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = teacher(rng, count, dimension, degrees)
    found = refit.recover(noiseless(activation, truth, rng))
    assert len(found.atoms.a) == count
    assert position_error(activation, found.atoms, truth) <= 1e-6
    assert_allclose(np.sort(np.abs(found.atoms.a)), np.sort(np.abs(truth.a)), rtol=1e-6)
    assert found.exact
    assert found.solution.certificate <= 1.0 + 1e-6


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("activation", ["tanh", "erf"])
def test_teachers_of_a_few_neurons_are_recovered(activation: str, count: int) -> None:
    for seed in range(5):
        check_recovery(activation, count, 3, 30.0, 100 * count + seed)


def test_a_relu_teacher_is_found_where_opposite_neurons_stand_for_a_linear_function() -> None:
    check_recovery("relu", 4, 2, 25.0, 400)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("activation", ["tanh", "erf"])
def test_twenty_teachers_of_up_to_five_neurons_are_recovered(activation: str, count: int) -> None:
    """S_hat = S_0, positions to 1e-6, no false atom: unit neurons of R^3 whose lines are 30 degrees apart."""
    for seed in range(20):
        check_recovery(activation, count, 3, 30.0, 100 * count + seed)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_relu_teachers_are_recovered_on_a_sample(count: int) -> None:
    """Kinks at 400 inputs make the penalised solution many neurons; polishing and thinning find the teacher's."""
    for seed in range(4):
        check_recovery("relu", count, 2, 25.0, 100 * count + seed)


def test_neurons_with_biases_are_recovered_on_a_sphere_of_any_radius(rng: np.random.Generator) -> None:
    w = 1.5 * teacher(rng, 3, 2, 40.0).w
    truth = Atoms(np.array([1.0, -0.8, 0.6]), w, np.array([0.5, -0.7, 0.0]))
    x = rng.standard_normal((300, 2))
    found = refit.recover(regression("tanh", x, network("tanh", truth, x), domain=Domain("sphere", 1.5, 2.0)))
    assert found.exact
    assert len(found.atoms.a) == 3
    others = np.column_stack([found.atoms.w, found.atoms.b])
    for row in np.column_stack([truth.w, truth.b]):
        assert min(np.linalg.norm(others - row, axis=1).min(), np.linalg.norm(others + row, axis=1).min()) <= 1e-6


def test_neurons_of_different_radii_are_recovered_in_a_ball_without_biases(rng: np.random.Generator) -> None:
    truth = Atoms(np.array([1.2, -0.7]), np.array([[1.9, 0.2], [-0.4, 0.9]]), np.zeros(2))
    x = rng.standard_normal((300, 2))
    found = refit.recover(regression("erf", x, network("erf", truth, x), domain=Domain("ball", 3.0)))
    assert found.exact
    assert len(found.atoms.a) == 2
    assert position_error("erf", found.atoms, truth) <= 1e-6


def test_with_biases_a_neuron_is_a_mixture_of_steeper_ones_of_the_same_variation(rng: np.random.Generator) -> None:
    """tanh(z) = 2/pi int tanh(2 (z - t)) sech(2 t) dt, whose density is positive with integral 1."""
    t = np.linspace(-25.0, 25.0, 5001)
    density = 2.0 / np.pi / np.cosh(2.0 * t) * (t[1] - t[0])
    z = np.linspace(-4.0, 4.0, 17)
    assert density.sum() == pytest.approx(1.0, abs=1e-12)
    assert_allclose(np.tanh(2.0 * (z[:, None] - t)) @ density, np.tanh(z), atol=1e-12)
    x = rng.standard_normal((30, 1))
    with pytest.raises(ConfigError, match="ball with biases"):
        refit.recover(regression("tanh", x, np.tanh(x[:, 0]), domain=Domain("ball", 3.0, 4.0)))


def test_noise_is_not_called_exact(rng: np.random.Generator) -> None:
    truth = teacher(rng, 2, 2, 40.0)
    clean = noiseless("erf", truth, rng, 80)
    noisy = regression("erf", clean.lifted, clean.y + 0.05 * rng.standard_normal(80))
    found = refit.recover(noisy, shares=(0.1,))
    assert not found.exact
    assert found.residual > 1e-3
    assert position_error("erf", found.atoms, truth) < 0.2


def test_polishing_never_worsens_and_thinning_keeps_the_function(rng: np.random.Generator) -> None:
    truth = teacher(rng, 3, 2, 30.0)
    problem = noiseless("tanh", truth, rng)
    wrong = neurons.normalised(problem, rng.standard_normal((3, 2)))
    start = refit.refitted(problem, wrong)
    assert refit.relative_residual(problem, refit.polish(problem, start)) <= refit.relative_residual(problem, start)
    split = np.concatenate([truth.w, truth.w[:1] + 1e-3, -truth.w[1:2]])
    crowded = refit.refitted(problem, neurons.normalised(problem, split))
    thin = refit.thinned(problem, crowded, refit.EXACT)
    assert len(thin.a) == 3
    assert position_error("tanh", neurons.to_atoms(problem, *thin), truth) <= 1e-6


def test_what_cannot_be_posed_is_refused_in_one_sentence(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = rng.standard_normal((20, 2)), rng.standard_normal(20)
    with pytest.raises(ConfigError, match="penalty is 0"):
        solve(regression("tanh", x, y), 0.0)
    with pytest.raises(ConfigError, match="one or more nodes"):
        regression("tanh", np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(ConfigError, match="spans 1 of its 2 input dimensions"):
        regression("tanh", x[:, :1] * np.array([1.0, 2.0]), y)
    with pytest.raises(ConfigError, match="not finite"):
        regression("tanh", x, np.full(20, np.nan))
    with pytest.raises(ConfigError, match="negative weights"):
        regression("tanh", x, y, np.linspace(-1.0, 1.0, 20))
    with pytest.raises(ConfigError, match="positive radius"):
        regression("tanh", x, y, domain=Domain("ball", 0.0))
    with pytest.raises(ConfigError, match="unknown"):
        regression("tangent", x, y)
    monkeypatch.setattr(total_variation, "MAX_ITERATIONS", 1)
    with pytest.raises(NotConverged, match=r"after 1 iterations"):
        solve(regression("tanh", x, y), 1e-4)
