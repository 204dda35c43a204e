"""Forces, schemes and limit fields of finite ensembles: gradients by differences, orders, exact integrals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mfpde import datalaws
from mfpde.core import pairs, parallel, quadrature
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.pairwise import pairwise_problem
from mfpde.problem import DataLaw, Network, Population, Problem, network_coordinates
from mfpde.steppers import drive, forces, particles, sampling
from mfpde.steppers.forces import NodeForce, PairForce

ONES = {"a": 1.0, "w": 1.0, "b": 1.0}
NONE = {"a": 0.0, "w": 0.0, "b": 0.0}
TARGET = (0.2, 1.0, -0.3, 0.4)


def network(
    data: DataLaw,
    activation: str = "tanh",
    train: str = "awb",
    loss: str = "square",
    scale: float = 1.0,
    bias: bool = True,
) -> Problem:
    hermite = (0.1, 1.0, 0.3, -0.2) if activation == "hermite" else ()
    coordinates = network_coordinates(data.blocks, tuple(train), bias, NONE, ONES)
    return Problem(Network(activation, hermite, scale), data, loss, 0.1, coordinates)  # type: ignore[arg-type]


def gaussian_problem(dimension: int, activation: str = "erf", train: str = "aw", scale: float = 1.0) -> Problem:
    data = datalaws.gaussian(Population(dimension, "hermite", TARGET, noise=0.3))
    return network(data, activation, train, scale=scale, bias=False)


def particles_at_random(rng: np.random.Generator, replicas: int, d: int, width: int, bias: bool = True) -> np.ndarray:
    theta = rng.normal(size=(replicas, d + 2, width)) * 0.8
    theta[:, -1] *= bias
    return theta


def finite_difference(force: forces.Force, theta: np.ndarray, row: int, particle: int, h: float = 1e-5) -> np.ndarray:
    up, down = theta.copy(), theta.copy()
    up[:, row, particle] += h
    down[:, row, particle] -= h
    return theta.shape[2] * (force.observe(up, None)[0] - force.observe(down, None)[0]) / (2.0 * h)


def test_linear_drift_is_stepped_with_the_stated_weak_orders() -> None:
    """OU: X_T is linear in the start and the increments, so impulse responses give E X_T^2 of the scheme exactly."""
    problem = pairwise_problem(0.5, interaction="none")
    force = forces.exact_force(problem)
    move = particles.motion(problem, True)
    exact = 2.0 * np.exp(-2.0) + 0.5 * (1.0 - np.exp(-2.0))
    for scheme, order in (("euler", 1.0), ("heun", 2.0)):
        errors = []
        for steps in (32, 64, 128, 256):
            theta = np.zeros((1, 1, steps + 1))
            theta[0, 0, 0] = np.sqrt(2.0)

            def impulse(k: int, out: np.ndarray) -> None:
                out[:] = 0.0
                out[0, 0, k + 1] = 1.0

            gradient = lambda x, _, out: force.gradient(x, out)  # noqa: E731
            particles.integrate([(theta, gradient)], impulse, move, 1.0 / steps, steps, scheme)  # type: ignore[arg-type]
            errors.append(abs(np.sum(theta**2) - exact))
        rates = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
        assert rates[-1] == pytest.approx(order, abs=0.05)


def test_nonlinear_drift_is_stepped_with_the_stated_weak_orders() -> None:
    """Double well: three-point Gauss noise has the moments of the normal law, so all paths of it give E X^2 exactly."""
    problem = pairwise_problem(0.1, potential="double-well", interaction="none")
    force = forces.exact_force(problem)
    move = particles.motion(problem, True)
    z, p = quadrature.gauss_hermite(3)
    for scheme, order in (("euler", 1.0), ("heun", 2.0)):
        moments = []
        for steps in (1, 2, 4, 8):
            path = np.array(list(itertools.product(range(3), repeat=steps)))
            theta = np.full((1, 1, len(path)), 0.5)

            def tree(k: int, out: np.ndarray, path: np.ndarray = path) -> None:
                out[0, 0] = z[path[:, k]]

            gradient = lambda x, _, out: force.gradient(x, out)  # noqa: E731
            particles.integrate([(theta, gradient)], tree, move, 0.5 / steps, steps, scheme)  # type: ignore[arg-type]
            moments.append(np.sum(np.prod(p[path], axis=1) * theta[0, 0] ** 2))
        jumps = np.abs(np.diff(moments))
        assert np.log2(jumps[1] / jumps[2]) == pytest.approx(order, abs=0.25)


def textbook_heun(
    systems: list[tuple[np.ndarray, particles.Gradient]], noise: np.ndarray, move: particles.Motion, dt: float
) -> None:
    """Stochastic Heun as it is written down: both slopes and the noise kept."""
    for theta, gradient in systems:
        for k, z in enumerate(noise):
            first, second, star = np.empty_like(theta), np.empty_like(theta), theta.copy()
            gradient(theta, k, first)
            for m, row in enumerate(move.rows):
                slope = -move.rate[m] * (first[:, row] + move.decay[m] * theta[:, row])
                star[:, row] += slope * dt + move.sigma[m] * np.sqrt(dt) * z[:, m]
            gradient(star, k + 1, second)
            for m, row in enumerate(move.rows):
                slope = first[:, row] + second[:, row] + move.decay[m] * (theta[:, row] + star[:, row])
                theta[:, row] += -0.5 * move.rate[m] * slope * dt + move.sigma[m] * np.sqrt(dt) * z[:, m]


def several_systems(rng: np.random.Generator, width: int) -> tuple[list[np.ndarray], list[particles.Gradient]]:
    """Two systems of 2 replicas and 4 rows with unlike frozen rows and gradients that know time; frozen slopes NaN."""

    def gradient_of(strength: float) -> particles.Gradient:
        def gradient(theta: np.ndarray, k: int, out: np.ndarray) -> None:
            out[:, 1:3] = strength * np.sin(theta[:, 1:3] + theta[:, :1]) * (1.0 + 0.1 * k) + theta[:, 3:]
            out[:, 0] = out[:, 3] = np.nan

        return gradient

    return [rng.normal(size=(2, 4, width)) for _ in range(2)], [gradient_of(1.0), gradient_of(0.3)]


MOVE = particles.Motion(np.array([1, 2]), np.array([1.0, 0.5]), np.array([0.1, 0.3]), np.array([0.4, 0.2]))


def test_heun_with_one_slope_buffer_is_the_textbook_scheme(rng: np.random.Generator) -> None:
    starts, gradients = several_systems(rng, 37)
    z = rng.normal(size=(6, 2, 2, 37))

    def brownian(k: int, out: np.ndarray) -> None:
        out[:] = z[k]

    ours, expected = ([(x.copy(), g) for x, g in zip(starts, gradients, strict=True)] for _ in range(2))
    particles.integrate(ours, brownian, MOVE, 0.05, 6, "heun")
    textbook_heun(expected, z, MOVE, 0.05)
    for (one, _), (other, _), before in zip(ours, expected, starts, strict=True):
        assert one == pytest.approx(other, rel=1e-13, abs=1e-14)
        assert np.array_equal(one[:, ::3], before[:, ::3])


@pytest.mark.parametrize("scheme", ["heun", "euler"])
def test_any_number_of_threads_makes_the_same_steps(
    scheme: particles.Scheme, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(particles, "_SHARE", 64)
    starts, gradients = several_systems(rng, 203)
    z = rng.normal(size=(3, 2, 2, 203))

    def brownian(k: int, out: np.ndarray) -> None:
        out[:] = z[k]

    ends = []
    for threads in (1, 2, 3, 4):
        systems = [(x.copy(), g) for x, g in zip(starts, gradients, strict=True)]
        with parallel.team(threads):
            particles.integrate(systems, brownian, MOVE, 0.05, 3, scheme)
        ends.append(np.stack([theta for theta, _ in systems]))
    assert all(np.array_equal(end, ends[0]) for end in ends)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "hermite"])
@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_node_drift_is_n_times_the_gradient_of_the_risk(activation: str, loss: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 3))
    y = np.sign(x[:, 0] + 0.1) if loss == "logistic" else x[:, 0] - x[:, 1]
    problem = network(datalaws.nodes(x, y, rng.random(30) + 0.1), activation, loss=loss, scale=1.7)
    force = forces.exact_force(problem)
    assert isinstance(force, NodeForce)
    theta = particles_at_random(rng, 2, 3, 5)
    out = np.empty_like(theta)
    force.gradient(theta, out)
    for row in range(5):
        assert out[:, row, 3] == pytest.approx(finite_difference(force, theta, row, 3), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("activation", ["erf", "relu", "sin", "quadratic", "hermite"])
def test_pair_drift_is_n_times_the_gradient_of_the_closed_risk(activation: str, rng: np.random.Generator) -> None:
    force = forces.exact_force(gaussian_problem(4, activation, scale=1.3))
    assert isinstance(force, PairForce)
    theta = 0.6 * particles_at_random(rng, 2, 4, 6, bias=False)
    out = np.empty_like(theta)
    force.gradient(theta, out)
    for row in range(5):
        assert out[:, row, 2] == pytest.approx(finite_difference(force, theta, row, 2), rel=1e-5, abs=1e-6)


def test_pair_kernel_and_quasi_random_nodes_agree_within_the_estimated_error(rng: np.random.Generator) -> None:
    problem = gaussian_problem(3)
    exact = forces.exact_force(problem)
    assert exact is not None
    theta = particles_at_random(rng, 1, 3, 32, bias=False)
    sampled = sampling.sobol_force(problem, 1 << 14, 5)
    error = sampling.integration_error(problem, 1 << 14, 5, theta)
    out, other = np.empty_like(theta), np.empty_like(theta)
    exact.gradient(theta, out)
    sampled.gradient(theta, other)
    distance = np.sqrt(np.mean((out - other)[:, :-1] ** 2) / np.mean(out[:, :-1] ** 2))
    assert distance < 4.0 * error.drift < 0.02
    assert abs(exact.observe(theta, None)[0][0] / sampled.observe(theta, None)[0][0] - 1.0) < 6.0 * error.risk + 1e-5


def test_tanh_target_is_expanded_far_below_sampling_errors() -> None:
    for gain in (0.5, 1.0):
        population = Population(4, "tanh", gain=gain, scale=0.7)
        expansion = forces.target_expansion(population)
        assert expansion is not None
        t, norm = expansion
        z, p = quadrature.gauss_hermite(300)
        assert norm == pytest.approx(np.sum(p * datalaws.target_values(population, z) ** 2), rel=1e-12)
        assert np.sum(t**2) == pytest.approx(norm, rel=1e-12)
    assert forces.target_expansion(Population(4, "tanh", gain=20.0)) is None


def test_logistic_population_averages_over_the_label(rng: np.random.Generator) -> None:
    """Log-odds target: the slope sigmoid(f) - sigmoid(g) is the mean of the slopes of both labels."""
    population = Population(3, "tanh", gain=1.5, scale=2.0)
    problem = network(datalaws.gaussian(population, "logistic"), loss="logistic")
    law = sampling.sobol_law(problem, 64, 3)
    f = rng.normal(size=64)
    plus = 1.0 / (1.0 + np.exp(-datalaws.target_values(population, law.x[:, 0])))
    slope = -plus / (1.0 + np.exp(f)) + (1.0 - plus) / (1.0 + np.exp(-f))
    value = plus * np.log1p(np.exp(-f)) + (1.0 - plus) * np.log1p(np.exp(f))
    assert forces.node_slopes(law, f) == pytest.approx(slope, rel=1e-12)
    assert forces.node_values(law, f) == pytest.approx(value, rel=1e-12)


def invariant(x0: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A rotation-invariant function, a polynomial that block quadratures integrate exactly."""
    return 0.4 * x0 + 0.2 - 0.1 * x0**2 + 0.05 * x0 * radius**2


def reduced_guide(problem: Problem, std: float = 1.0) -> drive.ReducedGuide:
    f = invariant(problem.data.x[:, 0], problem.data.x[:, 1])
    law = InitialLaw(
        GroupLaw("point", 1.0), GroupLaw("normal", std=std), GroupLaw("normal", std=0.5), problem.data.blocks[1]
    )
    guide = drive.guide(problem, law, drive.Drive(np.array([0.0, 1.0]), np.stack([f, 0.5 * f])))
    assert isinstance(guide, drive.ReducedGuide)
    return guide


@pytest.mark.parametrize("activation", ["erf", "gelu", "tanh"])
def test_table_of_the_limit_agrees_with_direct_sums_and_differences(activation: str, rng: np.random.Generator) -> None:
    problem = gaussian_problem(6, activation, scale=1.4)
    guide = reduced_guide(problem)
    assert guide.table is not None
    fields = guide.fields(np.array([0.0, 0.4]))
    theta = particles_at_random(rng, 2, 6, 400, bias=False) * 0.6
    theta[:, 2:, :20] *= 1e-3  # near the axis, where the table is mirrored
    theta[:, 1, -3:] = 40.0  # outside the table
    out = np.empty_like(theta)
    fields.gradient(theta, 1, out)
    direct = np.stack([guide.nodes.gradient(one, fields.r[1]) for one in theta])
    assert np.max(np.abs(out - direct)[:, :-1]) < 1e-6 * np.max(np.abs(direct))
    h = 1e-5
    for row in range(1, 7):
        up, down, slope = theta.copy(), theta.copy(), np.empty_like(theta)
        up[:, row] += h
        down[:, row] -= h
        values = []
        for moved in (up, down):
            fields.gradient(moved, 1, slope)
            values.append(theta[:, 0] * slope[:, 0])
        assert np.max(np.abs((values[0] - values[1]) / (2.0 * h) - out[:, row])) < 5e-6


@pytest.mark.parametrize("bias", [False, True])
def test_limit_field_in_full_dimension_is_the_unreduced_gradient(bias: bool, rng: np.random.Generator) -> None:
    """d = 3: the field carried from block coordinates against a tensor quadrature of R^3."""
    population = Population(3, "hermite", TARGET)
    problem = network(datalaws.gaussian(population), "erf", "awb" if bias else "aw", scale=1.3, bias=bias)
    guide = reduced_guide(problem)
    fields = guide.fields(np.array([0.0]))
    z, p = quadrature.gauss_hermite(40)
    x = np.stack([g.reshape(-1) for g in np.meshgrid(z, z, z, indexing="ij")], axis=1)
    weights = (p[:, None, None] * p[:, None] * p).reshape(-1)
    f = invariant(x[:, 0], np.hypot(x[:, 1], x[:, 2]))
    law = datalaws.nodes(x, datalaws.target_values(population, x[:, 0]), weights)
    full = network(law, "erf", "awb" if bias else "aw", scale=1.3, bias=bias)
    unreduced = drive.guide(full, _any_law(3), drive.Drive(np.array([0.0]), f[None])).fields(np.array([0.0]))
    theta = 0.5 * particles_at_random(rng, 1, 3, 20, bias=bias)
    out, expected = np.empty_like(theta), np.empty_like(theta)
    fields.gradient(theta, 0, out)
    unreduced.gradient(theta, 0, expected)
    rows = slice(0, 5 if bias else 4)
    assert np.max(np.abs(out - expected)[:, rows]) < 2e-6


@pytest.mark.parametrize(("activation", "tolerance"), [("erf", 1e-7), ("sin", 1e-7), ("relu", 2e-3)])
def test_field_of_the_zero_network_is_the_closed_form_of_the_target(
    activation: str, tolerance: float, rng: np.random.Generator
) -> None:
    """f = 0 leaves -y: the tabulated field is minus the target force, which knows no quadrature and no table."""
    problem = gaussian_problem(6, activation, scale=1.5)
    force = forces.exact_force(problem)
    assert isinstance(force, PairForce)
    zero = drive.Drive(np.array([0.0]), np.zeros((1, len(problem.data.y))))
    theta = 0.5 * particles_at_random(rng, 1, 6, 500, bias=False)
    out, target = np.empty_like(theta), np.empty_like(theta[0])
    drive.guide(problem, _any_law(6), zero).fields(np.array([0.0])).gradient(theta, 0, out)
    pairs.target_force(force.code, force.hermite, force.coefficients, theta[0], target)
    assert np.max(np.abs(out[0] + 1.5 * target)) < tolerance


def _any_law(dimension: int) -> InitialLaw:
    return InitialLaw(GroupLaw("normal"), GroupLaw("normal"), GroupLaw("normal", std=0.5), dimension)


def test_function_error_by_pair_kernels_is_that_of_quasi_random_nodes(rng: np.random.Generator) -> None:
    problem = gaussian_problem(5)
    guide = reduced_guide(problem)
    exact, sampled = forces.exact_force(problem), sampling.sobol_force(problem, 1 << 13, 1)
    assert exact is not None
    theta = particles_at_random(rng, 3, 5, 64, bias=False)
    one = exact.observe(theta, guide.reference(exact, 0.3))[1]
    two = sampled.observe(theta, guide.reference(sampled, 0.3))[1]
    assert one == pytest.approx(two, rel=5e-3)


def test_projection_carries_invariant_polynomials_exactly(rng: np.random.Generator) -> None:
    data = gaussian_problem(7).data
    x = rng.normal(size=(50, 7))
    carried = sampling.carry_to_nodes(data, invariant(data.x[:, 0], data.x[:, 1]), x)
    assert carried == pytest.approx(invariant(x[:, 0], np.sqrt(np.sum(x[:, 1:] ** 2, axis=1))), abs=1e-6)


def test_mini_batches_estimate_the_gradient_without_bias(rng: np.random.Generator) -> None:
    """Population and node sources: the mean over many steps within 4 standard errors of the exact gradient."""
    nodes = network(datalaws.nodes(rng.normal(size=(9, 3)), rng.normal(size=9), rng.random(9) + 0.1), "erf", bias=False)
    for problem, law in ((gaussian_problem(3, "relu"), None), (nodes, forces.data_nodes(nodes))):
        exact, batches = forces.exact_force(problem), sampling.batch_force(problem, 32, law)
        assert exact is not None
        theta = particles_at_random(rng, 1, 3, 8, bias=False)
        out, sums = np.empty_like(theta), []
        for step in range(600):
            batches.gradient(theta, np.uint64(7), 0, step, out)
            sums.append(out[0, :-1].copy())
        exact.gradient(theta, out)
        z = (np.mean(sums, axis=0) - out[0, :-1]) / (np.std(sums, axis=0) / np.sqrt(len(sums)))
        assert np.max(np.abs(z)) < 4.5
        assert np.std(sums, axis=0).min() > 0.0


def test_draws_have_the_moments_of_the_initial_law() -> None:
    problem = gaussian_problem(4, "erf", "w")
    law = InitialLaw(GroupLaw("rademacher"), GroupLaw("normal", mean=(0.5,), std=2.0), GroupLaw("point"), 4)
    theta = particles.draw(problem, law, 20_000, range(2), np.uint64(1))
    assert set(np.unique(theta[:, 0])) == {-1.0, 1.0}
    assert np.mean(theta[:, 0]) == pytest.approx(0.0, abs=4.0 / np.sqrt(40_000))
    assert np.mean(theta[:, 1:5], axis=(0, 2)) == pytest.approx([0.5, 0.0, 0.0, 0.0], abs=4.0 / np.sqrt(40_000))
    assert np.mean(np.sum((theta[:, 1:5] - np.array([0.5, 0, 0, 0])[:, None]) ** 2, axis=1)) == pytest.approx(
        4.0, rel=0.03
    )
    uniform = InitialLaw(GroupLaw("point", 3.0), GroupLaw("uniform", low=1.0, high=2.0), GroupLaw("point"), 4)
    other = particles.draw(problem, uniform, 20_000, range(1), np.uint64(1))
    assert np.all(other[:, 0] == 3.0) and np.all((other[:, 1:5] > 1.0) & (other[:, 1:5] < 2.0))
    assert np.var(other[:, 1:5]) == pytest.approx(1.0 / 12.0, rel=0.03)


def test_a_draw_does_not_depend_on_width_or_on_how_much_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = gaussian_problem(3, "erf", "aw")
    law = InitialLaw(GroupLaw("rademacher"), GroupLaw("normal", std=2.0), GroupLaw("uniform"), 3)
    whole = particles.draw(problem, law, 500, range(1, 3), np.uint64(2**63 + 1))
    monkeypatch.setattr(particles, "_DRAWN", 64)
    assert np.array_equal(particles.draw(problem, law, 500, range(1, 3), np.uint64(2**63 + 1)), whole)
    assert np.array_equal(particles.draw(problem, law, 67, range(2, 3), np.uint64(2**63 + 1)), whole[1:, :, :67])


def test_a_rate_is_a_change_of_clock(rng: np.random.Generator) -> None:
    """Rate 2 for all groups with step h makes the same steps as rate 1 with step 2h."""
    data = datalaws.nodes(rng.normal(size=(10, 2)), rng.normal(size=10))
    ends = []
    for rate, dt in ((1.0, 0.02), (2.0, 0.01)):
        coordinates = network_coordinates(
            data.blocks, ("a", "w"), False, {"a": 0.1, "w": 0.2, "b": 0.0}, {"a": rate, "w": rate, "b": rate}
        )
        problem = Problem(Network("tanh"), data, "square", 0.1, coordinates)
        force = forces.exact_force(problem)
        theta = np.random.default_rng(1).normal(size=(1, 4, 6))
        before = theta.copy()
        noise = np.random.default_rng(2).normal(size=(30, 1, 3, 6))

        def brownian(k: int, out: np.ndarray, noise: np.ndarray = noise) -> None:
            out[:] = noise[k]

        gradient = lambda x, _, out: force.gradient(x, out)  # noqa: B023, E731
        particles.integrate([(theta, gradient)], brownian, particles.motion(problem, True), dt, 30, "heun")
        assert np.array_equal(theta[:, 3], before[:, 3])
        ends.append(theta)
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)
