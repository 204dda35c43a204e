"""Runs on grids: orders, the laws every step keeps, continuation, extension, learning rates, frozen species."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws, meanfield
from mfpde.errors import NumericalError
from mfpde.evolve import Control, Snapshot, State, evolve, solve, weighted_peclet
from mfpde.exact import kuramoto, linear_network
from mfpde.initial import GroupLaw, InitialLaw, frozen_species, initial_measure
from mfpde.measures import Axis, Grid, GridMeasure, Species, deposit, moments, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.steppers import grid as exponential
from mfpde.steppers import limited
from mfpde.tabulate import tabulate
from mfpde.verification import cases, identities, orders, structure
from mfpde.verification.check import Check

ONES = dict.fromkeys("awb", 1.0)
NORMAL = GroupLaw("normal", std=0.7)
POINT = GroupLaw("point", 1.0)
FIXED = Control(fixed_step=0.1, extend=False)


def assert_passed(rows: list[Check]) -> None:
    assert rows and all(row.passed for row in rows), [row for row in rows if not row.passed]


CASES = {
    "Ornstein-Uhlenbeck 1-D": (cases.ornstein_uhlenbeck_case(1), 64, 128, 256, 0.2),
    "Ornstein-Uhlenbeck 2-D": (cases.ornstein_uhlenbeck_case(2), 48, 96, 96, 0.2),
    "Ornstein-Uhlenbeck 3-D": (cases.ornstein_uhlenbeck_case(3), 32, 44, 48, 0.4),
    "linear network": (cases.linear_network_case(), 48, 96, 96, 0.2),
    "manufactured": (cases.manufactured_case(), 48, 96, 96, 0.2),
    "circle": (cases.circle_case(), 128, 256, 128, 0.2),
    "radius, d = 3": (cases.radial_case(3), 48, 96, 64, 0.2),
    "radius, d = 5": (cases.radial_case(5), 48, 96, 96, 0.2),
    "linear network, d = 5": (cases.radial_network_case(5), 24, 36, 40, 0.4),
}


@pytest.mark.parametrize("name", CASES)
def test_order_two_in_space(name: str) -> None:
    case, coarse, fine, _, _ = CASES[name]
    assert orders.space_order(case, coarse, fine) == pytest.approx(2.0, abs=orders.TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_order_two_in_time(name: str) -> None:
    case, _, _, cells, step = CASES[name]
    assert orders.time_order(case, cells, step) == pytest.approx(2.0, abs=orders.TOLERANCE)


@pytest.mark.parametrize("dimension", [20, 200])
def test_order_two_in_space_for_a_large_block(dimension: int) -> None:
    case = cases.radial_case(dimension)
    cells = (48, 96)
    if dimension > 20:
        # a thin shell, |w| = 5.5 to 7.8 within 0.4: it takes more cells to be resolved
        cells = (96, 160)
        case = replace(case, box=((-2.5, 3.5), (3.7, 10.6)))
    assert orders.space_order(case, *cells) == pytest.approx(2.0, abs=orders.TOLERANCE)


def test_order_of_the_limited_flux_at_small_temperature() -> None:
    assert_passed(orders.order_of_limited_flux())


def test_mass_sign_and_energy_for_steps_from_a_hundredth_to_ten() -> None:
    assert_passed(structure.mass_sign_energy())


def test_duality_brackets_every_step() -> None:
    assert_passed(structure.duality_bound())


def test_dissipation_is_the_rate_of_the_free_energy() -> None:
    assert_passed(identities.dissipation_identity())


def random_network(seed: int, activation: str, loss: str, temperature: float, train: tuple[str, ...]) -> Problem:
    """Six random nodes in one dimension, output scale and learning rates random as well."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((6, 1)), rng.standard_normal(6)
    law = datalaws.nodes(x, np.where(y > 0.0, 1.0, -1.0) if loss == "logistic" else y, rng.random(6) + 0.1)
    rates = dict(zip("awb", rng.uniform(0.2, 1.0, 3), strict=True))
    coordinates = network_coordinates((1,), train, "b" in train, dict.fromkeys("awb", 0.5), rates)
    return Problem(Network(activation, scale=float(rng.uniform(0.5, 1.0))), law, loss, temperature, coordinates)  # type: ignore[arg-type]


@given(
    seed=st.integers(0, 2**31),
    activation=st.sampled_from(("tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "identity")),
    loss=st.sampled_from(("square", "logistic")),
    temperature=st.floats(0.05, 1.0),
    train=st.sampled_from((("w",), ("a", "w"), ("w", "b"))),
    log_step=st.floats(-2.0, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_every_step_of_every_network_keeps_mass_and_sign_and_lowers_the_energy(
    seed: int, activation: str, loss: str, temperature: float, train: tuple[str, ...], log_step: float
) -> None:
    problem = random_network(seed, activation, loss, temperature, train)
    rng = np.random.default_rng(seed)
    grid = cases.box_grid(problem, ((-4.0, 4.0),) * len(problem.moving), 18)
    mean = rng.uniform(-1.0, 1.0, len(grid.axes))
    start = normalised(grid, np.exp(-np.sum((cases.points_of(grid) - mean) ** 2, axis=-1))[None])
    dt = 10.0**log_step
    try:
        history = structure.fixed_steps(problem, start, dt, 4)
    except NumericalError:
        reject()  # a step too stiff for the iteration is refused, not taken
    for snapshot in history:
        assert snapshot.mass_error <= 1e-13
        assert snapshot.min_density > 0.0
        assert snapshot.increase <= 1e-13 * snapshot.energy_scale
        assert snapshot.defect <= 1e-14 * max(1.0, snapshot.energy_scale)
        assert snapshot.gap >= -1e-12
    # the energy of the snapshots is the energy of the measures
    table = tabulate(problem, grid)
    assert history[-1].free_energy == pytest.approx(meanfield.free_energy(table, history[-1].measure.mass), rel=1e-12)


@given(
    interaction=st.sampled_from(("quadratic", "gaussian", "cosine")),
    strength=st.floats(-0.8, 2.0),
    temperature=st.floats(0.05, 1.0),
    log_step=st.floats(-2.0, 1.0),
    mean=st.floats(-1.0, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_every_step_of_every_explicit_interaction_lowers_the_energy(
    interaction: str, strength: float, temperature: float, log_step: float, mean: float
) -> None:
    """Attractive and repulsive, convex or not."""
    potential = "none" if interaction == "cosine" else "double-well"
    problem = pairwise_problem(temperature, potential=potential, interaction=interaction, strength=strength)
    reach = np.pi if interaction == "cosine" else 3.5
    grid = cases.box_grid(problem, ((-reach, reach),), 32)
    start = structure.gaussian_start(grid, (mean,), 0.3)
    for snapshot in structure.fixed_steps(problem, start, 10.0**log_step, 5):
        assert snapshot.mass_error <= 1e-13
        assert snapshot.min_density > 0.0
        assert snapshot.increase <= 1e-13 * snapshot.energy_scale


def plane_start(cells: int = 40) -> tuple[Problem, GridMeasure]:
    problem = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.1, 0.5, count=20)
    grid = cases.box_grid(problem, ((-4.0, 4.5),) * 2, cells)
    return problem, structure.gaussian_start(grid, (0.8, 0.5), 0.15)


@pytest.mark.parametrize("control", [Control(), Control(fixed_step=0.07), Control(flux="limited")])
def test_a_run_continued_from_any_state_is_bitwise_the_same(control: Control) -> None:
    problem, start = plane_start(24)
    times = np.array([0.0, 0.3, 0.5])
    whole = list(evolve(problem, State(start, 0.0), times, control))
    cut = whole[len(whole) // 2]
    rest = list(evolve(problem, cut.state, times, control))
    assert len(rest) == len(whole) - 1 - len(whole) // 2
    for one, other in zip(rest, whole[len(whole) // 2 + 1 :], strict=True):
        assert np.array_equal(one.measure.mass, other.measure.mass)
        assert one.time == other.time and one.free_energy == other.free_energy and one.gap == other.gap
        assert one.state.dt == other.state.dt and one.state.step == other.state.step


def test_requested_times_are_met_exactly_and_the_history_is_complete() -> None:
    problem, start = plane_start(24)
    times = np.array([0.0, 0.1, 0.35, 1.0])
    solution = solve(problem, start, times, Control(tolerance=1e-4))
    assert np.array_equal([s.time for s in solution.snapshots], times)
    assert np.all(np.diff([s.time for s in solution.history]) > 0.0)
    assert [s.state.step for s in solution.history] == list(range(len(solution.history)))
    assert solution.reason == "reached t = 1"


def test_the_adaptive_step_honours_its_tolerance() -> None:
    """Each tenfold tolerance costs about 10^(1/3) steps, and the error against a fine run falls along."""
    case = cases.ornstein_uhlenbeck_case(1)
    grid = cases.box_grid(case.problem, case.box, 128)
    start = normalised(grid, case.density(cases.points_of(grid), 0.0)[None])
    times = np.array([0.0, 1.0])
    fine = solve(case.problem, start, times, Control(fixed_step=0.001)).final.measure.mass
    errors, counts = [], []
    for tolerance in (1e-3, 1e-4, 1e-5):
        solution = solve(case.problem, start, times, Control(tolerance=tolerance))
        errors.append(float(np.sum(np.abs(solution.final.measure.mass - fine))))
        counts.append(len(solution.history))
    assert errors[0] > 3.0 * errors[1] > 9.0 * errors[2]
    assert errors[2] < 1e-3
    # the predictor is of second order: the local error estimate, of third, costs no more than the cube root
    assert counts[0] < counts[1] < counts[2] < 1.15 * 10.0 ** (1.0 / 3.0) * counts[1]


def test_the_box_grows_where_mass_arrives_and_time_goes_on() -> None:
    """A cloud that drifts out of a box too small: mass exact, centres kept, and the result of a large box."""
    problem = pairwise_problem(0.2, strength=0.0)
    small = Grid((Axis(problem.moving[0], -1.0, 4.0, 80),), Species((), np.zeros((1, 0)), np.ones(1)))
    large = Grid((Axis(problem.moving[0], -4.0, 7.0, 176),), small.species)
    times = np.array([0.0, 1.5])
    ends = []
    for grid, extend in ((small, True), (large, False)):
        start = normalised(grid, np.exp(-0.5 * (grid.axes[0].centers - 2.5) ** 2 / 0.04)[None])
        history = list(evolve(problem, State(start, 0.0), times, Control(fixed_step=0.02, extend=extend)))
        assert max(s.mass_error for s in history) < 1e-13
        assert_allclose([s.dt for s in history[1:]], 0.02, rtol=1e-9)
        ends.append(history[-1])
    assert ends[0].measure.grid.axes[0].lower < -1.0
    offset = round((ends[0].measure.grid.axes[0].lower + 4.0) / large.axes[0].width)
    inside = ends[1].measure.mass[0, offset : offset + ends[0].measure.grid.shape[1]]
    assert np.sum(np.abs(ends[0].measure.mass[0] - inside)) < 1e-8
    assert ends[0].boundary_mass < 1e-8


def test_a_run_that_extends_its_box_can_be_continued_bitwise() -> None:
    problem = pairwise_problem(0.2, strength=0.5)
    grid = Grid((Axis(problem.moving[0], 0.5, 4.0, 64),), Species((), np.zeros((1, 0)), np.ones(1)))
    start = normalised(grid, np.exp(-0.5 * (grid.axes[0].centers - 2.5) ** 2 / 0.04)[None])
    times = np.array([0.0, 1.5])
    whole = list(evolve(problem, State(start, 0.0), times))
    assert whole[-1].measure.grid.shape != grid.shape
    for cut in (1, len(whole) // 3, len(whole) - 3):
        rest = list(evolve(problem, whole[cut].state, times))
        assert np.array_equal(rest[-1].measure.mass, whole[-1].measure.mass)


def test_learning_rates_change_the_path_and_not_the_end() -> None:
    """A tiny rate freezes its group: its marginal stays where it began while the other moves."""
    plain, start = plane_start(32)

    def run(a: float, w: float, times: tuple[float, float], dt: float) -> Snapshot:
        rates = {"a": a, "w": w}
        problem = replace(plain, coordinates=tuple(replace(c, rate=rates[c.name]) for c in plain.coordinates))
        grid = cases.box_grid(problem, [(axis.lower, axis.upper) for axis in start.grid.axes], 32)
        control = Control(fixed_step=dt, extend=False)
        return solve(problem, GridMeasure(grid, start.mass), np.array(times), control).final

    usual, slow = run(1.0, 1.0, (0.0, 0.5), 0.1), run(1e-9, 1.0, (0.0, 0.5), 0.1)
    assert_allclose(slow.measure.marginal("a")[1], start.marginal("a")[1], atol=1e-8)
    assert abs(moments(slow.measure)["w"][0] - moments(start)["w"][0]) > 1e-2
    assert abs(moments(slow.measure)["a"][1] - moments(usual.measure)["a"][1]) > 1e-2
    # all rates doubled is time run at double speed
    assert_allclose(run(2.0, 2.0, (0.0, 0.25), 0.05).measure.mass, usual.measure.mass, rtol=1e-8, atol=1e-16)
    ends = [run(1.0, 1.0, (0.0, 100.0), 1.0), run(0.5, 2.0, (0.0, 100.0), 1.0)]
    rest = stationary(tabulate(plain, start.grid), ends[0].f)
    for end in ends:
        assert np.sum(np.abs(end.measure.mass - rest.measure.mass)) < 5e-6


def test_frozen_rademacher_output_weights_keep_the_mass_of_both_species() -> None:
    problem = random_network(11, "softplus", "square", 0.2, ("w",))
    law = InitialLaw(GroupLaw("rademacher"), NORMAL, POINT, 1)
    grid = Grid((Axis(problem.moving[0], -5.0, 5.0, 80),), frozen_species(law, problem.frozen))
    history = structure.fixed_steps(problem, initial_measure(law, grid), 0.5, 20)
    for snapshot in history:
        assert_allclose(snapshot.measure.mass.sum(axis=1), [0.5, 0.5], rtol=1e-13)
        assert snapshot.increase <= 1e-13 * snapshot.energy_scale
    assert np.sum(np.abs(np.diff(history[-1].measure.mass, axis=0))) > 1e-2


def test_a_frozen_point_equals_a_trained_group_of_rate_zero_limit() -> None:
    """(a = 1 frozen, w) on one axis against (a, w) with a's rate near 0 from the same point."""
    frozen = cases.network_problem("tanh", cases.TANH_TARGET, ("w",), 0.1, 0.5, count=20)
    both = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.1, 0.5, count=20)
    both = replace(both, coordinates=tuple(replace(c, rate=1e-12 if c.name == "a" else 1.0) for c in both.coordinates))
    line = cases.box_grid(frozen, ((-4.0, 4.0),), 64)
    plane = Grid(
        (Axis(both.moving[0], 0.5, 1.5, 5), replace(line.axes[0], coordinate=both.moving[1])),
        Species((), np.zeros((1, 0)), np.ones(1)),
    )
    w = np.exp(-0.5 * (line.axes[0].centers - 0.3) ** 2 / 0.2)
    one = normalised(line, w[None])
    two = normalised(plane, np.eye(5)[2][None, :, None] * w[None, None, :])
    times = np.array([0.0, 1.0])
    ends = [solve(p, m, times, FIXED).final for p, m in ((frozen, one), (both, two))]
    assert_allclose(ends[1].measure.marginal("w")[1], ends[0].measure.marginal("w")[1], atol=1e-9)
    assert ends[1].risk == pytest.approx(ends[0].risk, rel=1e-9)


def test_free_energy_is_the_same_reduced_or_not() -> None:
    """An isotropic law on the plane (w0, w1) and on its radius: the same F, which decays alike."""
    line = pairwise_problem(0.3, dimension=2, potential_strength=0.7, strength=0.0)
    law = Population(3, "hermite", (0.0,))
    disc = replace(
        cases.network_problem("identity", law, ("w",), 0.3, 0.7, count=4),
        model=Network("identity", scale=0.0),
    )
    disc = replace(
        disc, coordinates=tuple(c if c.name != "w0" else replace(c, trained=False) for c in disc.coordinates)
    )
    times = np.array([0.0, 0.5])
    square = cases.box_grid(line, ((-4.0, 4.0),) * 2, 80)
    start = normalised(square, np.exp(-0.5 * np.sum(cases.points_of(square) ** 2, axis=-1) / 0.2)[None])
    species = Species(("a", "w0"), np.array([[1.0, 0.0]]), np.ones(1))
    radius = Grid((Axis(disc.moving[0], 0.0, 4.0, 160),), species)
    r = radius.axes[0].centers
    start_radial = normalised(radius, (r * np.exp(-0.5 * r**2 / 0.2))[None])
    control = Control(fixed_step=0.02, extend=False)
    flat, round_ = (solve(p, m, times, control) for p, m in ((line, start), (disc, start_radial)))
    for one, other in zip(flat.snapshots, round_.snapshots, strict=True):
        assert other.free_energy == pytest.approx(one.free_energy, abs=1e-3)


def test_linear_network_follows_its_moments() -> None:
    """Means and covariances at t = 4 against the closed moment equations; M by Richardson."""
    problem = cases.linear_network_case().problem
    exact = linear_network.path([4.0], *cases.LINEAR_START, target=1.0, weight_decay=0.5, temperature=0.1)
    overlaps, means = [], []
    for cells in (40, 80):
        grid = cases.box_grid(problem, ((-5.0, 5.0),) * 2, cells)
        start = structure.gaussian_start(grid, (0.8, 0.5), 0.15)
        end = solve(problem, start, np.array([0.0, 4.0]), Control(fixed_step=4.0 / cells, extend=False)).final
        overlaps.append(float(np.sum(end.measure.weights * np.prod(end.measure.atoms, axis=1))))
        means.append(end.measure.weights @ end.measure.atoms)
    assert (4.0 * overlaps[1] - overlaps[0]) / 3.0 == pytest.approx(exact.overlap[0, 0], abs=4e-6)
    assert_allclose((4.0 * means[1] - means[0]) / 3.0, exact.mean[0], atol=1e-4)


@pytest.mark.parametrize(("coupling", "rate"), [(1.4, 0.2), (-0.6, -0.8)])
def test_the_first_mode_on_the_circle_grows_or_decays_at_its_rate(coupling: float, rate: float) -> None:
    """K/2 - tau, also for the twin of opposite sign."""
    problem = pairwise_problem(0.5, potential="none", interaction="cosine", strength=coupling)
    grid = cases.box_grid(problem, ((-np.pi, np.pi),), 128)
    start = normalised(grid, (1.0 + 1e-6 * np.cos(grid.axes[0].centers))[None])
    history = structure.fixed_steps(problem, start, 0.02, 50)
    size = [np.hypot(*s.f) for s in (history[0], history[-1])]
    assert np.log(size[1] / size[0]) == pytest.approx(rate, abs=1e-3)
    assert kuramoto.growth_rate(coupling, 0.5) == pytest.approx(rate)


def test_the_limited_flux_follows_a_time_dependent_potential() -> None:
    """The manufactured solution; its steps are of the order of the square of the width, so order two remains."""
    case = cases.manufactured_case()
    errors = [cases.total_variation(case, cases.run(case, n, 1.0, "limited").measure) for n in (24, 48)]
    assert np.log2(errors[0] / errors[1]) > 1.5


def test_limited_steps_are_positive_and_conservative_at_any_temperature(rng: np.random.Generator) -> None:
    for temperature in (0.0, 1e-3, 0.5):
        problem = replace(plane_start()[0], temperature=temperature)
        grid = cases.box_grid(problem, ((-3.0, 3.0),) * 2, 24)
        mass = deposit(grid, rng.standard_normal((200, 2)), np.full(200, 1.0 / 200.0)).mass
        table = tabulate(problem, grid)
        for _ in range(5):
            mass, dt = limited.step(table, mass, 0.5)
            assert dt > 0.0
            assert np.min(mass) > 0.0
            assert np.sum(mass) == pytest.approx(1.0, abs=1e-13)


def test_the_limited_flux_feels_the_volume_of_the_shells_in_a_large_block() -> None:
    """d/dt E r^2 = 2 tau d - 2 lambda E r^2 where a cell without mass is e^1000 times as dense as the ones with it."""
    block, decay = 5000, 0.5
    temperature = decay / block
    problem = structure.pure_decay_problem(block + 1, temperature, decay)
    frozen = tuple(c if c.name != "w0" else replace(c, trained=False) for c in problem.coordinates)
    problem = replace(problem, coordinates=frozen)
    grid = Grid((Axis(problem.moving[0], 0.8, 1.25, 150),), Species(("a", "w0"), np.array([[1.0, 0.0]]), np.ones(1)))
    r = grid.axes[0].centers
    start = normalised(grid, np.exp(-0.5 * (r - 1.1) ** 2 / 0.02**2)[None])
    solution = solve(problem, start, np.array([0.0, 1.0]), Control(flux="limited", extend=False))
    before, after = (float(np.sum(s.measure.mass[0] * r * r)) for s in solution.snapshots)
    assert after == pytest.approx(1.0 + (before - 1.0) * np.exp(-2.0 * decay), rel=1e-4)
    assert max(s.increase for s in solution.history) == 0.0


def test_a_velocity_that_is_no_number_stops_the_limited_flux() -> None:
    problem, start = plane_start(12)
    forcing = np.zeros(start.grid.shape)
    forcing[0, 3, 4] = np.nan
    with pytest.raises(NumericalError, match="velocity"):
        limited.step(tabulate(problem, start.grid), start.mass, 0.1, forcing)


def test_the_cell_peclet_number_tells_when_the_exponential_flux_is_too_coarse() -> None:
    """int rho (h x/tau)^2 of a Gaussian at its rest in a quadratic well: h^2/tau to leading order."""
    problem = pairwise_problem(0.3, strength=0.0)
    grid = cases.box_grid(problem, ((-4.0, 4.0),), 200)
    table = tabulate(problem, grid)
    end = stationary(table, np.zeros(1))
    width = grid.axes[0].width
    assert weighted_peclet(table, end.measure.mass) == pytest.approx(width**2 / 0.3, rel=0.05)


def test_a_step_that_cannot_be_solved_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed step says so; an adaptive one is shortened until that makes no sense any more."""
    problem, start = plane_start(12)
    monkeypatch.setattr(exponential, "step", partial(exponential.step, max_iterations=1))
    times = np.array([0.0, 1.0])
    with pytest.raises(NumericalError, match=r"did not converge at t = 0 with fixed step 0\.1"):
        solve(problem, start, times, FIXED)
    with pytest.raises(NumericalError, match="time step fell"):
        solve(problem, start, times)


@pytest.mark.parametrize("seed", range(8))
def test_a_step_solved_to_round_off_is_accepted_however_stiff(seed: int) -> None:
    """A stiff interaction leaves the open balance a round-off of its own, which no iteration lowers."""
    rng = np.random.default_rng(seed)
    law = datalaws.nodes(1.5 * rng.standard_normal((6, 1)), 2.0 * rng.standard_normal(6))
    coordinates = network_coordinates((1,), ("w",), False, dict.fromkeys("awb", 0.5), ONES)
    problem = Problem(Network("identity", scale=2.0), law, "square", 0.7, coordinates)
    grid = cases.box_grid(problem, ((-4.0, 4.0),), 18)
    history = structure.fixed_steps(problem, structure.gaussian_start(grid, (0.3,), 1.0), 7.6, 4)
    assert max(s.increase / s.energy_scale for s in history) <= 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_orders_stay_two_on_finer_grids(dimension: int) -> None:
    cells = {1: (256, 512), 2: (128, 192), 3: (48, 64)}[dimension]
    case = cases.ornstein_uhlenbeck_case(dimension)
    assert orders.space_order(case, *cells) == pytest.approx(2.0, abs=0.05)


@pytest.mark.slow
def test_a_long_run_reaches_the_certified_rest() -> None:
    """Single index in d = 20: F(rho_t) falls to F* within the certificate, which shrinks exponentially."""
    law = Population(20, "hermite", (0.0, 1.0, 0.0, 0.4))
    problem = cases.network_problem("erf", law, ("w",), 0.05, 0.2)
    initial = InitialLaw(POINT, GroupLaw("normal"), POINT, 20)
    grid = cases.box_grid(problem, ((-3.0, 4.0), (0.2, 4.5)), 48)
    solution = solve(problem, initial_measure(initial, grid), np.linspace(0.0, 60.0, 7))
    rest = stationary(tabulate(problem, solution.final.measure.grid), solution.final.f)
    excess = [s.free_energy - rest.free_energy for s in solution.snapshots]
    assert all(-1e-13 <= e <= s.gap + 1e-12 for e, s in zip(excess, solution.snapshots, strict=True))
    assert excess[-1] < 1e-6 * excess[0]
    assert rest.gap <= 1e-10
