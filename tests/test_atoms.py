"""Atoms of stationary measures and of particles; widths like the square root of the temperature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.core import quadrature
from mfpde.errors import ConfigError, NumericalError
from mfpde.measures import Axis, Grid, GridMeasure, ParticleMeasure, Species, normalised, sample
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate
from mfpde.theory import clusters
from mfpde.theory.atoms import atoms_of_measure, laplace_covariance, zero_temperature_limit
from mfpde.theory.ridge import Atoms, network
from mfpde.verification import cases

Array = NDArray[np.float64]
ONES = dict.fromkeys("awb", 1.0)
TEMPERATURES = np.geomspace(1e-3, 2e-2, 5)


def one_neuron() -> Problem:
    """y = 3 tanh(2 x) in one dimension, a and w trained, weight decay 0.1."""
    return cases.network_problem("tanh", Population(1, "tanh", gain=2.0, scale=3.0), ("a", "w"), 1e-3, 0.1)


def two_neurons() -> Problem:
    """y = 2 tanh(3 x_0) + 2 tanh(3 x_1), w in the plane, every output weight 1, scale 4: half of the mass each."""
    nodes, weights = quadrature.gauss_hermite(12, prune=1e-10)
    x = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    data = datalaws.nodes(x, 2.0 * np.tanh(3.0 * x).sum(axis=1), np.outer(weights, weights).reshape(-1))
    coordinates = network_coordinates((1, 1), ("w",), False, dict.fromkeys("awb", 0.1), ONES)
    return Problem(Network("tanh", scale=4.0), data, "square", 1e-3, coordinates)


def at_rest(problem: Problem, temperature: float, reach: float, cells: int) -> GridMeasure:
    study = replace(problem, temperature=float(temperature))
    table = tabulate(study, cases.box_grid(study, ((-reach, reach),) * len(study.moving), cells))
    return stationary(table, np.zeros(len(study.data.y))).measure


@pytest.fixture(scope="module")
def narrow() -> list[GridMeasure]:
    return [at_rest(one_neuron(), tau, 4.0, 160) for tau in TEMPERATURES]


@pytest.fixture(scope="module")
def planar() -> list[GridMeasure]:
    return [at_rest(two_neurons(), tau, 4.0, 128) for tau in TEMPERATURES]


def test_widths_fall_like_the_root_of_the_temperature(narrow: list[GridMeasure], planar: list[GridMeasure]) -> None:
    """Slope 1/2 +- 0.05, a stable number of atoms, tau (Hess Psi)^(-1) within a percent at the lowest temperature."""
    for problem, measures, count in ((one_neuron(), narrow, 1), (two_neurons(), planar, 2)):
        limit = zero_temperature_limit(problem, TEMPERATURES[::-1], measures[::-1])
        assert_allclose(limit.temperatures, TEMPERATURES)
        assert limit.counts.tolist() == [count] * len(TEMPERATURES)
        assert limit.widths.shape == (len(TEMPERATURES), count)
        for rate in limit.rates:
            assert rate.slope == pytest.approx(0.5, abs=0.05)
            assert rate.ci is not None
            assert rate.ci[0] - 0.02 <= 0.5 <= rate.ci[1] + 0.02
        assert_allclose(limit.widths[0], limit.laplace[0], rtol=1e-2)
        # anharmonic corrections are of relative size tau
        apart = np.abs(limit.widths / limit.laplace - 1.0).max(axis=1)
        assert np.all(apart < 1e-3 + 5.0 * TEMPERATURES)


def test_the_covariance_of_a_cluster_is_that_of_laplace(narrow: list[GridMeasure]) -> None:
    """Entry by entry, correlation of a and w included; the Hessian against differences of Psi on the grid."""
    problem, measure = replace(one_neuron(), temperature=float(TEMPERATURES[0])), narrow[0]
    found = atoms_of_measure(problem, measure)
    table = tabulate(problem, measure.grid)
    predicted = laplace_covariance(problem, table.predict(measure.mass), found.centers[0])
    assert found.names == ("a", "w")
    assert_allclose(found.covariances[0], predicted, rtol=0.01)
    assert abs(found.covariances[0][0, 1]) > 0.1 * found.covariances[0][0, 0]
    r = problem.data.weights * (table.predict(measure.mass) - problem.data.y)
    psi = table.first_variation(r)[0]
    here = np.unravel_index(int(np.argmin(psi)), psi.shape)
    steps = [axis.width for axis in measure.grid.axes]
    around = psi[here[0] - 1 : here[0] + 2, here[1] - 1 : here[1] + 2]
    mixed = (around[2, 2] - around[2, 0] - around[0, 2] + around[0, 0]) / (4.0 * steps[0] * steps[1])
    hessian = np.array(
        [
            [(around[2, 1] - 2.0 * around[1, 1] + around[0, 1]) / steps[0] ** 2, mixed],
            [mixed, (around[1, 2] - 2.0 * around[1, 1] + around[1, 0]) / steps[1] ** 2],
        ]
    )
    assert_allclose(predicted, problem.temperature * np.linalg.inv(hessian), rtol=0.03)


def test_grid_and_particles_show_the_same_atoms(planar: list[GridMeasure]) -> None:
    for tau, measure in zip(TEMPERATURES, planar, strict=True):
        problem = replace(two_neurons(), temperature=float(tau))
        exact = atoms_of_measure(problem, measure)
        draws = sample(measure, 1500, np.random.default_rng(1))
        drawn = atoms_of_measure(problem, ParticleMeasure(measure.names, draws, np.full(1500, 1.0 / 1500)))
        assert len(exact.atoms.a) == len(drawn.atoms.a) == 2
        # spread of a mean over 750 particles, and what falls to the wrong side of the pass between the two
        reach = 5.0 * np.sqrt(np.trace(exact.covariances[0]) / 750.0) + 0.02
        for w in exact.atoms.w:
            assert np.min(np.linalg.norm(drawn.atoms.w - w, axis=1)) < reach
        assert exact.explained > 0.99
        assert drawn.explained > 0.98
        assert exact.misfit < 2.0 * tau
        assert_allclose(exact.probabilities, 0.5, atol=1e-3)


@pytest.mark.parametrize(("activation", "odd"), [("tanh", True), ("quadratic", False)])
def test_exact_atoms_come_back_modulo_sign(activation: str, odd: bool, rng: np.random.Generator) -> None:
    """Particles on three neurons, each copy turned at random by the symmetry: amplitudes and places to round-off."""
    x = rng.standard_normal((50, 2))
    coordinates = network_coordinates((1, 1), ("a", "w", "b"), True, dict.fromkeys("awb", 0.1), ONES)
    problem = Problem(Network(activation, scale=2.0), datalaws.nodes(x, x[:, 0]), "square", 0.01, coordinates)
    truth = np.array([[1.0, 2.0, 0.1, 0.5], [0.5, -0.02, 1.5, 0.3], [2.0, 1.0, 1.2, -1.1]])
    index = rng.integers(0, 3, 300)
    side = rng.choice([-1.0, 1.0], 300)
    points = truth[index] * np.stack([side if odd else np.ones(300), side, side, side], axis=1)
    measure = ParticleMeasure(("a", "w0", "w1", "b"), points, np.full(300, 1.0 / 300))
    found = atoms_of_measure(problem, measure, bandwidth=0.3)
    share = np.bincount(index) / 300.0
    canonical = np.sign(truth[:, 1])
    expected = {
        tuple(side * row[1:]): 2.0 * (side if odd else 1.0) * row[0] * p
        for row, side, p in zip(truth, canonical, share, strict=True)
    }
    assert len(found.atoms.a) == 3
    assert np.all(found.atoms.w[:, 0] > 0.0)
    for a, w, b in zip(found.atoms.a, found.atoms.w, found.atoms.b, strict=True):
        place = min(expected, key=lambda p: float(np.hypot(*(np.array(p[:2]) - w))))
        assert_allclose([*w, b], place, atol=1e-12)
        assert a == pytest.approx(expected[place], abs=1e-11)
    assert found.misfit < 1e-12
    assert found.explained == pytest.approx(1.0)
    assert_allclose(found.covariances, 0.0, atol=1e-12)
    f = network(activation, Atoms(2.0 * points[:, 0] / 300.0, points[:, 1:3], points[:, 3]), x)
    assert_allclose(network(activation, found.atoms, x), f, atol=1e-11)


def test_weak_atoms_are_pruned_and_the_threshold_is_said(rng: np.random.Generator) -> None:
    coordinates = network_coordinates((1,), ("a", "w"), False, dict.fromkeys("awb", 0.1), ONES)
    x = rng.standard_normal((40, 1))
    problem = Problem(Network("erf"), datalaws.nodes(x, x[:, 0]), "square", 0.01, coordinates)
    points = np.array([[1.0, 2.0], [1.0, 0.5]])
    measure = ParticleMeasure(("a", "w"), points, np.array([0.93, 0.07]))
    assert len(atoms_of_measure(problem, measure, bandwidth=0.2).atoms.a) == 2
    pruned = atoms_of_measure(problem, measure, bandwidth=0.2, threshold=0.1)
    assert pruned.atoms.w[:, 0].tolist() == [2.0]
    assert pruned.threshold == 0.1
    assert pruned.explained == pytest.approx(0.93)
    assert 0.0 < pruned.misfit < 0.2
    nothing = atoms_of_measure(problem, measure, bandwidth=0.2, threshold=10.0)
    assert len(nothing.atoms.a) == 0
    assert nothing.misfit == pytest.approx(1.0)


def test_species_of_opposite_output_weights_are_one_neuron() -> None:
    """a = +-1 frozen: the bump at w = 1.2 of the one and at -1.2 of the other are the same tanh."""
    problem = cases.network_problem("tanh", Population(1, "tanh"), ("w",), 0.01, 0.2)
    axis = Axis(problem.moving[0], -3.0, 3.0, 240)
    grid = Grid((axis,), Species(("a",), np.array([[-1.0], [1.0]]), np.array([0.5, 0.5])))
    bump = np.exp(-0.5 * ((axis.centers - np.array([[-1.2], [1.2]])) / 0.1) ** 2)
    found = atoms_of_measure(problem, normalised(grid, bump))
    assert len(found.atoms.a) == 1
    assert_allclose(found.atoms.w, [[1.2]], atol=1e-10)
    assert found.amplitudes[0] == pytest.approx(1.0, abs=1e-12)
    assert found.covariances[0, 0, 0] == pytest.approx(0.01, rel=1e-6)
    assert found.probabilities[0] == pytest.approx(1.0)


def test_basins_end_at_the_pass_and_a_plateau_has_one_top() -> None:
    x, y = np.meshgrid(np.linspace(-2.0, 2.0, 81), np.linspace(-1.0, 1.0, 41), indexing="ij")
    height = np.exp(-8.0 * ((x - 1.0) ** 2 + y**2)) + np.exp(-8.0 * ((x + 1.0) ** 2 + y**2))
    labels = clusters._basins(height)
    tops = np.unique(labels)
    assert len(tops) == 2
    assert np.all((labels == labels[10, 20]) == (x < 0.0)) or np.all((labels == labels[10, 20]) == (x <= 0.0))
    assert len(np.unique(clusters._basins(np.ones((5, 7))))) == 1


def test_what_has_no_atoms_is_refused(narrow: list[GridMeasure]) -> None:
    reduced = cases.network_problem("erf", Population(5, "tanh"), ("w",), 0.01, 0.1)
    grid = cases.box_grid(reduced, ((-2.0, 2.0), (0.0, 3.0)), 8)
    with pytest.raises(ConfigError, match="block radii"):
        atoms_of_measure(reduced, normalised(grid, np.ones(grid.shape)))
    explicit = pairwise_problem(0.1)
    line = cases.box_grid(explicit, ((-2.0, 2.0),), 8)
    with pytest.raises(ConfigError, match="has no neurons"):
        atoms_of_measure(explicit, normalised(line, np.ones(line.shape)), 0.1)
    silent = ParticleMeasure(("a", "w"), np.array([[0.0, 1.0]]), np.ones(1))
    with pytest.raises(NumericalError, match="no amplitude"):
        atoms_of_measure(one_neuron(), silent)
    free = cases.network_problem("tanh", Population(1, "tanh"), ("a", "w"), 0.01, 0.0)
    with pytest.raises(ConfigError, match="bandwidth does not follow"):
        atoms_of_measure(free, silent)
    with pytest.raises(ConfigError, match="two or more positive"):
        zero_temperature_limit(one_neuron(), TEMPERATURES[:1], narrow[:1])
    with pytest.raises(NumericalError, match="not positive"):
        laplace_covariance(free, np.zeros(len(free.data.y)), np.zeros(2))
