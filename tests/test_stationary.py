"""The stationary measure and its certificate; losses and their conjugates; the box that holds it all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws, domain, meanfield
from mfpde import problem as problems
from mfpde.errors import ConfigError
from mfpde.exact import linear_network, ornstein_uhlenbeck, references
from mfpde.initial import GroupLaw, InitialLaw, axis_mass, frozen_species, initial_measure
from mfpde.measures import Axis, Grid, Species, moments, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import DataLaw, Network, Population, Problem, network_coordinates
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.verification import cases, identities, structure
from mfpde.verification import references as numbers

SMOOTH = ("tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "identity")
ONES = dict.fromkeys("awb", 1.0)
NORMAL = GroupLaw("normal", std=0.7)
POINT = GroupLaw("point", 1.0)


def random_problem(seed: int, activation: str, loss: str, temperature: float, train: tuple[str, ...]) -> Problem:
    """Seven random nodes; confinement strong enough for a box of six."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((7, 1)), rng.standard_normal(7)
    law = datalaws.nodes(x, np.where(y > 0.0, 1.0, -1.0) if loss == "logistic" else y, rng.random(7) + 0.1)
    coordinates = network_coordinates((1,), train, "b" in train, dict.fromkeys("awb", 0.6), ONES)
    return Problem(Network(activation), law, loss, temperature, coordinates)  # type: ignore[arg-type]


def table_of(problem: Problem, cells: int = 32, reach: float = 5.0) -> Tabulated:
    return tabulate(problem, cases.box_grid(problem, ((-reach, reach),) * len(problem.moving), cells))


def rested(problem: Problem, table: Tabulated) -> Stationary:
    return stationary(table, np.zeros(len(problem.data.y)))


anything = {
    "seed": st.integers(0, 2**31),
    "activation": st.sampled_from(SMOOTH),
    "loss": st.sampled_from(("square", "logistic")),
    "temperature": st.floats(0.05, 2.0),
    "train": st.sampled_from((("w",), ("a", "w"), ("a",), ("w", "b"))),
}


@given(**anything)
@settings(max_examples=40, deadline=None)
def test_the_certificate_closes_and_brackets_every_measure(
    seed: int, activation: str, loss: str, temperature: float, train: tuple[str, ...]
) -> None:
    """D(g) <= F* <= F(rho) for random g and rho; the gap at rest; tau KL(rho | p_rho) = F - D(l'(f))."""
    rng = np.random.default_rng(seed)
    problem = random_problem(seed, activation, loss, temperature, train)
    table = table_of(problem)
    end = rested(problem, table)
    assert 0.0 <= end.gap <= 1e-10
    assert end.dual == pytest.approx(end.free_energy, abs=1e-10)
    measure = normalised(table.grid, rng.random(table.grid.shape))
    f = table.predict(measure.mass)
    energy = meanfield.free_energy(table, measure.mass, f)
    slopes = problems.loss_slopes(problem, f)
    assert meanfield.dual_energy(table, slopes) <= end.free_energy + 1e-10
    assert end.free_energy <= energy + 1e-10
    duality = energy - meanfield.dual_energy(table, slopes)
    proximal = meanfield.gibbs(table, table.first_variation(problems.residual(problem, f))).mass
    distance = temperature * meanfield.relative_entropy(measure.mass, proximal)
    assert duality == pytest.approx(distance, rel=1e-9, abs=1e-11)
    assert meanfield.optimality_gap(table, measure.mass, f) == pytest.approx(distance, rel=1e-9, abs=1e-11)


@given(seed=st.integers(0, 2**31), loss=st.sampled_from(("square", "logistic")), size=st.floats(0.01, 20.0))
@settings(max_examples=100, deadline=None)
def test_the_secant_slope_closes_the_energy_balance_exactly(seed: int, loss: str, size: float) -> None:
    """(l(f1) - l(f0)) = secant (f1 - f0), far apart and as close as 1e-9; symmetric; between the two slopes."""
    rng = np.random.default_rng(seed)
    law = DataLaw(np.zeros((9, 1)), rng.choice([-1.0, 1.0], 9), np.full(9, 1.0 / 9.0), (1,))
    problem = Problem(Network("tanh"), law, loss, 0.1, ())  # type: ignore[arg-type]
    f0 = size * rng.standard_normal(9)
    for distance in (1e-9, 1e-4, 9.9e-4, 1.01e-3, 0.1, 3.0):
        f1 = f0 + distance * rng.standard_normal(9)
        secant = problems.loss_secants(problem, f0, f1)
        rise = problems.loss_values(problem, f1) - problems.loss_values(problem, f0)
        assert_allclose(secant * (f1 - f0), rise, rtol=1e-11, atol=3e-15 * (1.0 + size**2))
        assert_allclose(secant, problems.loss_secants(problem, f1, f0), rtol=1e-10, atol=1e-13)
        slopes = np.sort(np.stack([problems.loss_slopes(problem, f0), problems.loss_slopes(problem, f1)]), axis=0)
        assert np.all(slopes[0] - 1e-11 <= secant) and np.all(secant <= slopes[1] + 1e-11)


@given(seed=st.integers(0, 2**31), loss=st.sampled_from(("square", "logistic")))
@settings(max_examples=60, deadline=None)
def test_conjugate_losses_obey_fenchel_and_young(seed: int, loss: str) -> None:
    """l(f) + l*(g) >= f g with equality at g = l'(f); (l*)' inverts l'; (l*)'' is its derivative."""
    rng = np.random.default_rng(seed)
    law = DataLaw(np.zeros((9, 1)), rng.choice([-1.0, 1.0], 9), np.full(9, 1.0 / 9.0), (1,))
    problem = Problem(Network("tanh"), law, loss, 0.1, ())  # type: ignore[arg-type]
    f, other = 3.0 * rng.standard_normal(9), 3.0 * rng.standard_normal(9)
    g = problems.loss_slopes(problem, f)
    value = problems.loss_values(problem, f) + problems.conjugate_values(problem, g)
    assert_allclose(value, f * g, rtol=1e-9, atol=1e-12)
    h = problems.loss_slopes(problem, other)
    assert np.all(problems.loss_values(problem, f) + problems.conjugate_values(problem, h) >= f * h - 1e-12)
    assert_allclose(problems.conjugate_slopes(problem, g), f, rtol=1e-8, atol=1e-10)
    step = 1e-6
    curvature = (
        problems.conjugate_slopes(problem, g + step * np.abs(g))
        - problems.conjugate_slopes(problem, g - step * np.abs(g))
    ) / (2.0 * step * np.abs(g))
    if loss == "square" or np.max(np.abs(g)) < 0.99:
        assert_allclose(problems.conjugate_curvatures(problem, g), curvature, rtol=1e-4)


def test_frozen_species_keep_their_mass_and_have_one_gibbs_measure_each() -> None:
    """a = +-1 frozen: each half has mass 1/2 and its own normalisation; the certificate still closes."""
    problem = random_problem(3, "softplus", "square", 0.2, ("w",))
    law = InitialLaw(GroupLaw("rademacher"), NORMAL, POINT, 1)
    grid = Grid((Axis(problem.moving[0], -5.0, 5.0, 64),), frozen_species(law, problem.frozen))
    table = tabulate(problem, grid)
    end = stationary(table, np.zeros(7))
    assert end.gap <= 1e-12
    assert meanfield.dual_energy(table, end.g) == pytest.approx(end.free_energy, abs=1e-12)
    assert_allclose(end.measure.mass.sum(axis=1), [0.5, 0.5], rtol=1e-13)
    psi = table.first_variation(problems.residual(problem, end.f))
    log_ratio = np.log(end.measure.mass) + psi / problem.temperature
    assert_allclose(np.ptp(log_ratio, axis=1), 0.0, atol=1e-8)
    assert abs(log_ratio[0, 0] - log_ratio[1, 0]) > 1e-3


def test_nodes_of_weight_zero_change_nothing() -> None:
    problem = random_problem(4, "tanh", "square", 0.2, ("w",))
    data = problem.data
    padded = DataLaw(np.append(data.x, [[9.0]], axis=0), np.append(data.y, 5.0), np.append(data.weights, 0.0), (1,))
    ends = [rested(p, table_of(p)) for p in (problem, replace(problem, data=padded))]
    assert_allclose(ends[1].measure.mass, ends[0].measure.mass, rtol=1e-9)
    assert ends[1].gap <= 1e-12


def test_learning_rates_do_not_move_the_stationary_measure() -> None:
    problem = random_problem(5, "tanh", "square", 0.2, ("a", "w"))
    slow = replace(problem, coordinates=tuple(replace(c, rate=0.1 + i) for i, c in enumerate(problem.coordinates)))
    ends = [rested(p, table_of(p)) for p in (problem, slow)]
    assert np.array_equal(ends[0].measure.mass, ends[1].measure.mass)


def test_ornstein_uhlenbeck_at_rest_in_three_dimensions() -> None:
    case = cases.ornstein_uhlenbeck_case(3)
    table = tabulate(case.problem, cases.box_grid(case.problem, case.box, 40))
    end = stationary(table, np.zeros(3))
    assert isinstance(case.problem.model, problems.Pairwise)
    exact = ornstein_uhlenbeck.stationary(stiffness=case.problem.model.matrix, interaction=0.5, temperature=0.4)
    centred = end.measure.atoms
    covariance = (end.measure.weights[:, None] * centred).T @ centred
    assert_allclose(covariance, exact.covariance, atol=1e-5)
    assert end.free_energy == pytest.approx(exact.free_energy, abs=1e-5)


@pytest.mark.parametrize("dimension", [2, 5])
def test_linear_network_at_rest_in_dimension_d_through_the_reduction(dimension: int) -> None:
    """Moments and free energy, entropies of the spheres included, against the closed form in R^(d+1)."""
    law = Population(dimension, "hermite", (0.0, 1.0))
    problem = cases.network_problem("identity", law, ("a", "w"), 0.1, 0.5, count=8)
    radial = (0.0, 3.6) if dimension > 2 else (-3.3, 3.3)
    grid = cases.box_grid(problem, ((-4.6, 4.6), (-4.6, 4.6), radial), 44)
    end = stationary(tabulate(problem, grid), np.zeros(len(problem.data.y)))
    exact = linear_network.stationary(target=np.eye(dimension)[0], weight_decay=0.5, temperature=0.1)
    found = moments(end.measure)
    assert found["a"][1] == pytest.approx(exact.covariance[0, 0], abs=1e-6)
    assert found["w1"][1] == pytest.approx((dimension - 1) * 0.2, abs=1e-5)
    overlap = float(np.sum(end.measure.weights * np.prod(end.measure.atoms[:, :2], axis=1)))
    assert overlap == pytest.approx(exact.overlap[0], abs=1e-6)
    assert end.risk == pytest.approx(exact.risk, abs=1e-6)
    assert end.free_energy == pytest.approx(exact.free_energy, abs=1e-5)


def test_row_one_of_the_reference_table() -> None:
    assert all(row.passed for row in numbers.tanh_neuron_numbers())
    assert references.TANH_NEURON.nodes == datalaws.FIRST_NODES


@pytest.mark.parametrize(
    "group",
    [
        numbers.linear_network_numbers,
        numbers.desai_zwanzig_numbers,
        numbers.kuramoto_numbers,
        structure.fixed_point,
        structure.radial_weight,
        structure.symmetry_reduction,
        identities.gap_identities,
        identities.virial,
        identities.logistic_certificate,
    ],
)
def test_closed_forms_and_identities(group) -> None:  # type: ignore[no-untyped-def]
    failed = [row for row in group() if not row.passed]
    assert not failed


def test_an_interaction_that_is_not_convex_has_no_dual_and_several_rests() -> None:
    problem = pairwise_problem(0.2, potential="double-well")
    table = tabulate(problem, cases.box_grid(problem, ((-3.5, 3.5),), 128))
    left, middle, right = (stationary(table, np.array([start])) for start in (-0.8, 0.0, 0.8))
    assert left.dual is None and not problem.convex
    assert left.f[0] == pytest.approx(-right.f[0], abs=1e-10)
    assert middle.f[0] == pytest.approx(0.0, abs=1e-12)
    assert right.free_energy < middle.free_energy
    assert right.gap <= 1e-12


def box_problems() -> dict[str, tuple[Problem, InitialLaw]]:
    index = Population(20, "hermite", (0.0, 1.0, 0.0, 0.4))
    reduced = cases.network_problem("erf", index, ("w",), 0.02, 0.1, count=24)
    plane = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.1, 0.3)
    wide = InitialLaw(GroupLaw("normal", std=2.0), GroupLaw("normal", mean=(1.0,), std=0.2), POINT, 1)
    return {
        "single index, d = 20": (reduced, InitialLaw(POINT, GroupLaw("normal"), POINT, 20)),
        "plane": (plane, wide),
        "double well": (pairwise_problem(0.3, potential="double-well"), InitialLaw(POINT, NORMAL, POINT, 1)),
        "Ornstein-Uhlenbeck": (pairwise_problem(0.5, dimension=2), InitialLaw(POINT, NORMAL, POINT, 2)),
        "circle": (
            pairwise_problem(0.5, potential="none", interaction="cosine"),
            InitialLaw(POINT, NORMAL, POINT, 1),
        ),
    }


@pytest.mark.parametrize("name", box_problems())
def test_the_box_holds_the_initial_and_the_stationary_law(name: str) -> None:
    """All but 1e-11 of both, measured on a box one and a half times as wide."""
    problem, law = box_problems()[name]
    grid = domain.choose_grid(problem, law, cells=(90,) * len(problem.moving))
    wider = Grid(
        tuple(
            axis
            if axis.periodic
            else Axis(
                axis.coordinate,
                max(0.0, axis.lower - 0.25 * (axis.upper - axis.lower))
                if axis.coordinate.kind == "radius"
                else axis.lower - 0.25 * (axis.upper - axis.lower),
                axis.upper + 0.25 * (axis.upper - axis.lower),
                135,
            )
            for axis in grid.axes
        ),
        grid.species,
    )
    table = tabulate(problem, wider)
    start = initial_measure(law, wider)
    end = stationary(table, table.predict(start.mass)).measure
    for axis in grid.axes:
        for measure in (start, end):
            x, p = measure.marginal(axis.name)
            outside = float(np.sum(p[(x < axis.lower) | (x > axis.upper)]))
            assert outside <= 1e-11


def test_what_cannot_be_put_on_a_grid_is_refused() -> None:
    law = InitialLaw(NORMAL, NORMAL, NORMAL, 4)
    coordinates = network_coordinates((1, 1, 1), ("a", "w"), False, dict.fromkeys("awb", 0.1), ONES)
    data = datalaws.nodes(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ConfigError, match="would need 4 coordinates"):
        domain.choose_grid(Problem(Network("tanh"), data, "square", 0.1, coordinates), law)
    plane = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.1, 0.3, count=12)
    with pytest.raises(ConfigError, match=r"grid\.cells.*2|grid\.cells"):
        domain.choose_grid(plane, law, cells=(10,))
    with pytest.raises(ConfigError, match=r"grid\.bounds"):
        domain.choose_grid(plane, law, bounds=((-1.0, 1.0),) * 3)
    index = cases.network_problem("erf", Population(5, "tanh"), ("w",), 0.1, 0.3, count=12)
    with pytest.raises(ConfigError, match="at least 0"):
        domain.choose_grid(index, law, bounds=((-1.0, 1.0), (-0.5, 1.0)))
    free = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.1, 0.0, count=12)
    with pytest.raises(ConfigError, match="weight_decay"):
        domain.choose_grid(free, law)


def test_axis_mass_is_what_the_box_is_chosen_for() -> None:
    """A point mass needs no width of its own; the box then comes from the stationary law alone."""
    problem = random_problem(1, "tanh", "square", 0.2, ("w",))
    law = InitialLaw(POINT, GroupLaw("point", 0.4), POINT, 1)
    grid = domain.choose_grid(problem, law, cells=(101,))
    assert grid.axes[0].lower < 0.4 < grid.axes[0].upper
    assert np.count_nonzero(axis_mass(law, grid.axes[0])) in (1, 2)
    assert isinstance(grid.species, Species)
