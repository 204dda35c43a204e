"""Rates at the end of a run: closed forms, the numbers of mfpde.exact.references, and the linearised solver itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.compare import spectrum
from mfpde.errors import ConfigError, NumericalError
from mfpde.exact import references
from mfpde.measures import Axis, Grid, Species
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Coordinate, DataLaw, Network, Population, Problem, network_coordinates
from mfpde.stationary import Stationary, stationary
from mfpde.steppers.grid import Propagator
from mfpde.tabulate import Tabulated, tabulate
from mfpde.verification import cases

Array = np.ndarray
Box = tuple[tuple[float, float], ...]


def at_rest(problem: Problem, grid: Grid, f: float = 0.0) -> tuple[Tabulated, Stationary]:
    table = tabulate(problem, grid)
    return table, stationary(table, np.full(len(problem.data.y), f))


def in_box(problem: Problem, box: Box, cells: int, f: float = 0.0) -> tuple[Tabulated, Stationary]:
    return at_rest(problem, cases.box_grid(problem, box, cells), f)


def numbers(problem: Problem, box: Box, cells: int, f: float = 0.0) -> Array:
    """lambda_PI and four rates."""
    found = spectrum.spectrum(*in_box(problem, box, cells, f))
    assert found.neutral == 0
    return np.append(found.poincare, found.rates)


def extrapolated(problem: Problem, box: Box, cells: int, f: float = 0.0) -> Array:
    """Richardson's value for h^2 from ``cells`` and twice as many."""
    coarse, fine = (numbers(problem, box, n, f) for n in (cells, 2 * cells))
    return fine + (fine - coarse) / 3.0


def linear_neuron(decay: float, temperature: float) -> Problem:
    """phi = w x with E x^2 = 1."""
    law = Population(1, "hermite", (0.0, 1.0))
    return cases.network_problem("identity", law, ("w",), temperature, decay, count=12)


def test_numbers_by_another_program() -> None:
    row = references.TANH_NEURON
    problem = cases.network_problem("tanh", cases.TANH_TARGET, ("w",), row.temperature, row.weight_decay, row.nodes)
    values = [numbers(problem, ((-5.0, 5.0),), n)[:2] for n in (100, 200, 400)]
    order = np.log2((values[1] - values[0]) / (values[2] - values[1]))
    assert_allclose(order, 2.0, atol=0.02)
    best = values[2] + (values[2] - values[1]) / 3.0
    assert best[0] == pytest.approx(row.poincare_gap, abs=1e-5)
    assert best[1] == pytest.approx(row.asymptotic_rate, abs=1e-5)


def test_linear_neuron() -> None:
    """The mean decays at K + lambda, the Hermite modes k >= 2 at k lambda; lambda_PI = lambda/tau."""
    found = extrapolated(linear_neuron(0.7, 0.2), ((-4.0, 5.0),), 160)
    assert_allclose(found, [0.7 / 0.2, 2.8, 2.0 * 1.7, 4.2, 5.6], rtol=1e-5)
    table, rest = in_box(linear_neuron(0.7, 0.2), ((-4.0, 5.0),), 80)
    both = spectrum.spectrum(table, rest, 1)
    assert spectrum.poincare_constant(table, rest) == pytest.approx(both.poincare, rel=1e-12)
    assert spectrum.asymptotic_rate(table, rest) == pytest.approx(both.asymptotic, rel=1e-12)


@pytest.mark.parametrize("attraction", [0.5, -0.2])
def test_attraction_and_repulsion_with_a_rotated_stiffness(attraction: float) -> None:
    """Means decay at the eigenvalues of A, every other product of Hermite modes with A + kappa."""
    case = cases.ornstein_uhlenbeck_case(2, 0.4, attraction)
    low, high = 0.6 + attraction, 1.5 + attraction
    found = extrapolated(case.problem, ((-6.5, 6.5),) * 2, 80)
    rates = np.sort([0.6, 1.5, 2.0 * low, 3.0 * low, 4.0 * low, low + high, 2.0 * low + high, 2.0 * high])[:4]
    assert_allclose(found, [low / 0.4, *(2.0 * rates)], rtol=1e-4)


@pytest.mark.parametrize("dimension", [2, 3, 9])
def test_a_radius_sees_the_laguerre_modes(dimension: int) -> None:
    """Radial modes of the Ornstein-Uhlenbeck generator in R^d: 2k lambda/tau; a learning rate multiplies all."""
    rate, decay, temperature = 0.7, 0.5, 0.2
    law = DataLaw(np.ones((1, 1)), np.zeros(1), np.ones(1), (dimension,))
    coordinates = network_coordinates(
        law.blocks, ("w",), False, dict.fromkeys("awb", decay), dict.fromkeys("awb", rate)
    )
    # a linear feature vanishes under the rotations: nothing interacts
    problem = Problem(Network("identity"), law, "square", temperature, coordinates)
    expected = rate * decay * np.array([2.0 / temperature, 4.0, 8.0, 12.0, 16.0])
    assert_allclose(extrapolated(problem, ((0.0, 5.5),), 200), expected, rtol=2e-4)


@pytest.mark.parametrize("coupling", [0.6, -0.6])
def test_the_circle_is_exact_on_the_grid(coupling: float) -> None:
    """Cosines are the eigenvectors of the grid: (2 sin(kh/2)/h)^2, and the first one feels -coupling/2."""
    temperature, cells = 0.4, 48
    problem = pairwise_problem(temperature, potential="none", interaction="cosine", strength=coupling)
    h = 2.0 * np.pi / cells
    first, second = (4.0 * np.sin(0.5 * k * h) ** 2 / h**2 for k in (1, 2))
    slow = 2.0 * first * (temperature - 0.5 * coupling)
    expected = [first, slow, slow, 2.0 * second * temperature, 2.0 * second * temperature]
    assert_allclose(numbers(problem, ((-np.pi, np.pi),), cells), expected, rtol=1e-9)


def test_two_species_share_one_interaction() -> None:
    """Frozen a: along a the mean feels K E a^2, across it nothing; the Hermite modes k >= 2 come twice."""
    problem = linear_neuron(0.7, 0.2)
    species = Species(("a",), np.array([[2.0], [-1.0]]), np.array([0.3, 0.7]))
    found = []
    for cells in (200, 400):
        grid = Grid((Axis(problem.moving[0], -6.0, 6.0, cells),), species)
        found.append(spectrum.spectrum(*at_rest(problem, grid), count=6).rates)
    rates = found[1] + (found[1] - found[0]) / 3.0
    assert_allclose(rates, 2.0 * np.array([0.7, 1.4, 1.4, 2.1, 2.1, 0.7 + 1.9]), rtol=1e-5)


def right_hand_side(table: Tabulated, propagator: Propagator, mass: Array) -> Array:
    """d mass/dt of the solver, from a step so short that it has two stages: P = 1 + dt Q + dt^2 Q^2/2."""
    dt = 1e-7
    psi = table.first_variation(problems.residual(table.problem, table.predict(mass)))
    forward, stages = propagator(psi, mass, dt)
    assert stages == 2
    return np.asarray((forward - mass) / dt)


def linearised(table: Tabulated, mass: Array) -> Array:
    """Decay rates 2 Lambda by central differences of the solver's right-hand side, ascending."""
    propagator = Propagator(table.grid, table.problem.temperature)
    columns = []
    for k in range(mass.size):
        step = np.zeros(mass.size)
        step[k] = 1e-3 * mass.reshape(-1)[k]
        up, down = (right_hand_side(table, propagator, mass + s * step.reshape(mass.shape)) for s in (1.0, -1.0))
        columns.append((up - down).reshape(-1) / (2.0 * step[k]))
    # in the coordinates sqrt(pi) g, where no entry is huge
    root = np.sqrt(mass.reshape(-1))
    matrix = np.stack(columns, axis=1) * root[None, :] / root[:, None]
    return np.sort(-2.0 * np.linalg.eigvals(matrix).real)


def random_network(loss: str, train: tuple[str, ...], blocks: tuple[int, ...]) -> Problem:
    rng = np.random.default_rng(5)
    x, y = np.abs(rng.standard_normal((6, len(blocks)))), rng.standard_normal(6)
    weights = rng.random(6) + 0.1
    law = DataLaw(x, np.where(y > 0.0, 1.0, -1.0) if loss == "logistic" else y, weights / weights.sum(), blocks)
    rates = {"a": 1.3, "w": 0.6, "b": 0.9}
    coordinates = network_coordinates(blocks, train, "b" in train, dict.fromkeys("awb", 0.8), rates)
    return Problem(Network("tanh", scale=1.7), law, loss, 0.3, coordinates)  # type: ignore[arg-type]


LINEARISED = {
    "logistic loss": (random_network("logistic", ("w",), (1,)), ((-3.5, 3.5),), 40),
    "line and radius": (random_network("square", ("w",), (1, 4)), ((-3.0, 3.0), (0.0, 3.0)), 10),
    "three coordinates": (random_network("square", ("a", "w", "b"), (1,)), ((-2.5, 2.5),) * 3, 7),
    "double well": (pairwise_problem(0.3, potential="double-well", strength=1.0), ((-2.2, 2.2),), 40),
}


@pytest.mark.parametrize("name", LINEARISED)
def test_rates_of_the_linearised_solver(name: str) -> None:
    problem, box, cells = LINEARISED[name]
    table, rest = in_box(problem, box, cells, 0.5)
    found = spectrum.spectrum(table, rest)
    dense = linearised(table, rest.measure.mass)
    assert dense[0] == pytest.approx(0.0, abs=1e-4)
    assert_allclose(found.rates, dense[1:5], rtol=1e-4)


def test_rates_of_the_linearised_solver_with_two_species() -> None:
    problem = random_network("square", ("w",), (1,))
    species = Species(("a",), np.array([[1.5], [-0.5]]), np.array([0.4, 0.6]))
    table, rest = at_rest(problem, Grid((Axis(problem.moving[0], -3.5, 3.5, 32),), species))
    dense = linearised(table, rest.measure.mass)
    assert_allclose(dense[:2], 0.0, atol=1e-4)
    assert_allclose(spectrum.spectrum(table, rest).rates, dense[2:6], rtol=1e-4)


def test_a_synchronised_law_turns_freely() -> None:
    """Above the critical coupling one direction is neutral; the others agree with the linearised solver."""
    problem = pairwise_problem(0.5, potential="none", interaction="cosine", strength=1.4)
    table, rest = at_rest(problem, cases.box_grid(problem, ((-np.pi, np.pi),), 48), 0.5)
    assert np.hypot(*rest.f) > 0.5
    found = spectrum.spectrum(table, rest)
    assert found.neutral == 1
    dense = linearised(table, rest.measure.mass)
    assert_allclose(dense[:2], 0.0, atol=1e-4)
    assert_allclose(found.rates, dense[2:6], rtol=1e-4)


@pytest.mark.parametrize(("temperature", "stable"), [(0.44, False), (0.47, True)])
def test_the_symmetric_law_of_a_double_well_loses_stability_at_the_critical_temperature(
    temperature: float, stable: bool
) -> None:
    """tau_c = 0.45694658 at kappa = 1 (mfpde.exact.desai_zwanzig)."""
    problem = pairwise_problem(temperature, potential="double-well", strength=1.0)
    table, rest = in_box(problem, ((-3.5, 3.5),), 120)
    assert abs(rest.f[0]) < 1e-10
    if stable:
        assert 0.0 < spectrum.asymptotic_rate(table, rest) < 0.2
        return
    with pytest.raises(NumericalError, match="unstable"):
        spectrum.asymptotic_rate(table, rest)


@pytest.mark.parametrize("seed", range(4))
def test_a_convex_risk_decays_faster_than_poincare_says(seed: int) -> None:
    """2 Lambda >= 2 tau lambda_PI, and equality without an interaction."""
    rng = np.random.default_rng(seed)
    law = datalaws.nodes(rng.standard_normal((5, 1)), rng.standard_normal(5))
    coordinates = network_coordinates((1,), ("w", "b"), True, dict.fromkeys("awb", 0.5), dict.fromkeys("awb", 1.0))
    problem = Problem(Network("sin"), law, "square", 0.2, coordinates)
    found = spectrum.spectrum(*in_box(problem, ((-3.5, 3.5),) * 2, 40))
    assert found.asymptotic >= 2.0 * 0.2 * found.poincare * (1.0 - 1e-9)
    silent = replace(problem, model=Network("sin", scale=1e-9))
    found = spectrum.spectrum(*in_box(silent, ((-3.5, 3.5),) * 2, 40))
    assert found.asymptotic == pytest.approx(2.0 * 0.2 * found.poincare, rel=1e-9)


def test_gaps_of_single_modes_sum_to_the_energy_of_a_small_deviation() -> None:
    """mass = pi (1 + e theta) on the linear neuron: only the mean moves, 1/2 <g, (tau + K) g> = e^2 v (tau + K v)/2."""
    table, rest = in_box(linear_neuron(0.7, 0.2), ((-4.0, 5.0),), 200)
    found = spectrum.spectrum(table, rest)
    pi = rest.measure.mass
    theta = rest.measure.coordinate("w") - float(np.sum(pi * rest.measure.coordinate("w")))
    gaps = spectrum.mode_gaps(found, rest, pi * (1.0 + 1e-3 * theta))
    variance = 0.2 / 0.7
    assert gaps[1] == pytest.approx(0.5e-6 * variance * (0.2 + variance), rel=1e-3)
    assert np.max(gaps[[0, 2, 3]]) < 1e-6 * gaps[1]


def test_too_many_cells_and_too_few_rates_are_refused() -> None:
    problem = linear_neuron(0.7, 0.2)
    table, rest = in_box(problem, ((-4.0, 5.0),), 40)
    with pytest.raises(ConfigError, match="count"):
        spectrum.spectrum(table, rest, 0)
    coordinates = tuple(Coordinate(f"w{k}", "w") for k in range(3))
    cube = Grid(tuple(Axis(c, 0.0, 1.0, 80) for c in coordinates), cases.single_species())
    with pytest.raises(ConfigError, match="512000 cells") as caught:
        spectrum.spectrum(replace(table, grid=cube), rest)
    assert "coarser" in str(caught.value.hint)
