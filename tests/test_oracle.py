"""Networks at rest by importance sampling: exact sums over pairs of cells, Gaussian closed forms, honest refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.compare import oracle
from mfpde.compare.fluctuations import Fluctuations, fluctuations, linear_response
from mfpde.compare.oracle import OracleEstimate, stationary_width, stationary_widths
from mfpde.errors import ConfigError, NumericalError
from mfpde.exact import linear_neuron, references
from mfpde.initial import GroupLaw, InitialLaw, frozen_species
from mfpde.measures import Axis, Grid
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.verification import cases

Rest = tuple[Tabulated, Stationary]

ONE, SIGNS, SPREAD = GroupLaw("point", 1.0), GroupLaw("rademacher"), GroupLaw("uniform", low=-0.5, high=2.0)


def small(seed: int, loss: str, train: tuple[str, ...], a: GroupLaw, temperature: float, cells: int = 9) -> Rest:
    """A sigmoid network on five random nodes and a coarse grid, frozen a of the given law."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((5, 1)), rng.standard_normal(5)
    law = datalaws.nodes(x, np.where(y > 0.0, 1.0, -1.0) if loss == "logistic" else y, rng.random(5) + 0.1)
    decay = dict.fromkeys("awb", 0.5)
    coordinates = network_coordinates((1,), train, "b" in train, decay, dict.fromkeys("awb", 1.0))
    problem = Problem(Network("sigmoid", scale=1.7), law, loss, temperature, coordinates)  # type: ignore[arg-type]
    species = frozen_species(InitialLaw(a, GroupLaw("normal"), ONE, 1), problem.frozen)
    table = tabulate(problem, Grid(tuple(Axis(c, -3.0, 3.5, cells) for c in problem.moving), species))
    return table, stationary(table, np.zeros(5))


def toy() -> Rest:
    """The network of mfpde.exact.references."""
    row = references.TANH_NEURON
    law = Population(1, "tanh", gain=row.target_gain, scale=row.target_scale)
    problem = cases.network_problem("tanh", law, ("w",), row.temperature, row.weight_decay)
    table = tabulate(problem, cases.box_grid(problem, ((-6.0, 6.0),), 256))
    return table, stationary(table, np.zeros(len(problem.data.y)))


def many_modes() -> Rest:
    """Three directions with s/tau = 99 each: of a hundred draws less than one counts."""
    problem = pairwise_problem(1e-3, dimension=3, strength=-0.99)
    table = tabulate(problem, cases.box_grid(problem, ((-2.0, 2.0),) * 3, 24))
    return table, stationary(table, np.zeros(3))


def values(found: OracleEstimate) -> np.ndarray:
    return np.array([found.function_error, found.free_energy_gap, found.relative_entropy])


def sems(found: OracleEstimate) -> np.ndarray:
    return np.array([found.function_error_sem, found.free_energy_gap_sem, found.relative_entropy_sem])


def limits(found: Fluctuations) -> np.ndarray:
    return np.array([found.propagation_of_chaos, found.log_determinant_gap, found.relative_entropy])


def pairs_of_cells(table: Tabulated, rest: Stationary) -> np.ndarray:
    """Function error, gap and entropy of two neurons: all pairs of species, all pairs of cells, loss by its formula."""
    problem, measure = table.problem, rest.measure
    assert isinstance(problem.model, Network)
    columns = {name: measure.atoms[:, k] for k, name in enumerate(measure.names)}
    z = np.outer(columns["w"], problem.data.x[:, 0]) + columns.get("b", np.zeros(1))[:, None]
    phi = problem.scale * columns["a"][:, None] * naive.activation(problem.model.activation, z)
    count, c, tau = table.grid.shape[0], problem.data.weights, problem.temperature
    phi, mass = phi.reshape(count, -1, len(c)), measure.mass.reshape(count, -1)
    share = mass.sum(axis=1)
    limit = np.einsum("ki,kiq->q", mass, phi)
    risk, slope = problems.loss_values(problem, limit), problems.loss_slopes(problem, limit)
    total = np.zeros(3)
    for k, j in product(range(count), range(count)):
        u = 0.5 * (phi[k][:, None] + phi[j]) - limit
        tilt = -(2.0 / tau) * (problems.loss_values(problem, limit + u) - risk - slope * u) @ c
        weight = np.outer(mass[k] / share[k], mass[j] / share[j]) * np.exp(tilt)
        z = float(weight.sum())
        square = float(np.sum(weight * (2.0 * u**2 @ c))) / z
        entropy = float(np.sum(weight * tilt)) / z - np.log(z)
        total += share[k] * share[j] * np.array([square, -tau * np.log(z), entropy])
    return total


@pytest.mark.parametrize(
    ("loss", "train", "a", "temperature"),
    [
        ("square", ("w",), ONE, 0.05),
        ("square", ("a", "w"), ONE, 0.02),
        ("square", ("w", "b"), ONE, 0.02),
        ("logistic", ("w",), ONE, 0.05),
        ("square", ("w",), SIGNS, 0.05),
        ("square", ("w", "b"), SIGNS, 0.1),
        ("square", ("w",), SPREAD, 0.1),
        ("logistic", ("w",), SIGNS, 0.02),
        ("logistic", ("a",), SPREAD, 0.02),
    ],
)
def test_two_neurons_summed_over_all_pairs_of_cells(
    loss: str, train: tuple[str, ...], a: GroupLaw, temperature: float
) -> None:
    """Also on average over 24 seeds, where a bias of the ratios, or of the quenched mean, would show."""
    table, rest = small(3, loss, train, a, temperature)
    exact = pairs_of_cells(table, rest)
    found = [stationary_width(table, rest, 2, draws=8000, seed=seed) for seed in range(24)]
    scores = np.array([(values(one) - exact) / sems(one) for one in found])
    assert np.max(np.abs(scores)) < 4.0
    mean, spread = np.mean([values(one) for one in found], axis=0), np.mean([sems(one) for one in found], axis=0)
    assert np.all(np.abs(mean - exact) < 4.0 * spread / np.sqrt(24.0))
    # chi squared of more than 24 degrees of freedom: wrong standard errors, not chance, leave this interval
    assert 0.45 < np.mean(scores**2) < 1.8


@pytest.mark.parametrize("width", [20, 80, 320])
def test_the_constants_of_the_reference_network(width: int) -> None:
    """Within three standard errors of the limits for N >= 20; below the bounds tr and tr/2 of every N."""
    row = references.TANH_NEURON
    found = stationary_width(*toy(), width)
    entropy = (row.log_determinant - 0.5 * row.chaos_constant) / row.temperature
    expected = np.array([row.chaos_constant, row.log_determinant, entropy])
    assert np.all(np.abs(values(found) - expected) < 3.0 * sems(found))
    assert sems(found)[0] < 0.01 * row.chaos_constant
    assert found.function_error < row.trace and found.free_energy_gap < 0.5 * row.trace


def test_the_bound_holds_at_every_width() -> None:
    """N E|u|^2 <= iid trace, gap <= half of it, for one, two and many species, however few neurons."""
    for table, rest in (small(3, "square", ("w",), a, 0.1) for a in (ONE, SIGNS, SPREAD)):
        trace = fluctuations(table, rest).iid_trace
        for found in stationary_widths(table, rest, (1, 3, 10, 100), draws=8000):
            assert found.function_error <= trace + 3.0 * found.function_error_sem
            assert found.free_energy_gap <= 0.5 * trace + 3.0 * found.free_energy_gap_sem
            assert found.relative_entropy >= -3.0 * found.relative_entropy_sem


@pytest.mark.parametrize("a", [ONE, SIGNS])
def test_pythagoras_of_the_law_of_all_neurons_closes(a: GroupLaw) -> None:
    """At the law at rest: gap = N E|u|^2/2 + tau KL, to round-off, whatever the draws."""
    table, rest = small(3, "square", ("w",), a, 0.1)
    for found in stationary_widths(table, rest, (1, 6, 50), draws=3000):
        closed = 0.5 * found.function_error + table.problem.temperature * found.relative_entropy
        assert_allclose(found.free_energy_gap, closed, rtol=1e-11)


def test_a_gaussian_network_is_known_at_every_width() -> None:
    """phi = theta x: N E|u|^2 = K tau/(K + lambda), gap = tau/2 log(1 + K/lambda), whatever N."""
    decay, tau, target = 0.4, 0.3, 0.8
    law = Population(1, "hermite", (0.0, target))
    problem = cases.network_problem("identity", law, ("w",), tau, decay, count=12)
    table = tabulate(problem, cases.box_grid(problem, ((-6.5, 7.5),), 300))
    rest = stationary(table, np.zeros(len(problem.data.y)))
    moment = float(problem.data.weights @ problem.data.x[:, 0] ** 2)
    constants = {"second_moment": moment, "target": target, "weight_decay": decay, "temperature": tau}
    ratio = moment / decay
    for found in stationary_widths(table, rest, (1, 2, 7, 64, 1000)):
        error = found.width * linear_neuron.path(np.inf, found.width, 0.0, 1.0, **constants).function_error[0]
        exact = [error, 0.5 * tau * np.log1p(ratio), 0.5 * (np.log1p(ratio) - ratio / (1.0 + ratio))]
        assert np.all(np.abs(values(found) - exact) < 4.0 * sems(found))
        # E w = (1 + s/tau)^-1/2 and E w^2 = (1 + 2s/tau)^-1/2 for every N
        efficiency = np.sqrt(1.0 + 2.0 * ratio) / (1.0 + ratio)
        assert_allclose(found.effective_sample_size, efficiency * found.draws, rtol=0.02)


def test_quadratic_repulsion_in_two_dimensions() -> None:
    """The empirical mean of N repelling particles has covariance tau A^-1/N, whatever N."""
    tau, kappa, stiffness = 0.3, 0.4, np.array([[1.5, 0.2], [0.2, 0.8]])
    problem = pairwise_problem(tau, dimension=2, matrix=stiffness, strength=-kappa)
    table = tabulate(problem, cases.box_grid(problem, ((-7.0, 7.0),) * 2, 64))
    a = np.linalg.eigvalsh(stiffness)
    exact = [kappa * tau * np.sum(1.0 / a), 0.5 * tau * np.sum(np.log(a / (a - kappa)))]
    for found in stationary_widths(table, stationary(table, np.zeros(2)), (1, 5, 100)):
        assert np.all(np.abs(values(found)[:2] - exact) < 4.0 * sems(found)[:2])


@pytest.mark.parametrize(("loss", "a"), [("square", SIGNS), ("logistic", SIGNS), ("square", SPREAD)])
def test_wide_networks_with_frozen_parameters_reach_their_constants(loss: str, a: GroupLaw) -> None:
    """The quenched limits, with the part S_b between species; draws keep the closed-form efficiency."""
    table, rest = small(3, loss, ("w",), a, 0.1, cells=24)
    constants = fluctuations(table, rest)
    within = float(np.sum(linear_response(table, rest).modes ** 2))
    assert constants.iid_trace > 1.2 * within
    found = stationary_width(table, rest, 1000)
    assert np.all(np.abs(values(found) - limits(constants)) < 4.0 * sems(found))
    # the response to frozen parameters is taken off: what is left is as small as the noise of one species
    assert found.function_error_sem < 0.02 * found.function_error
    efficiency = np.exp(oracle.log_efficiency(linear_response(table, rest)))
    assert_allclose(found.effective_sample_size / found.draws, efficiency, rtol=0.05)


def test_strong_frozen_fluctuations_leave_no_bias() -> None:
    """Frozen a that move f by three times what the temperature does: draws from pi itself would miss the entropy."""
    table, rest = small(3, "square", ("w",), GroupLaw("normal"), 0.02, cells=24)
    constants, response = fluctuations(table, rest), linear_response(table, rest)
    assert np.sum(response.between**2) > 9.0 * np.sum(response.modes**2)
    found = [stationary_width(table, rest, 1000, draws=4000, seed=seed) for seed in range(8)]
    mean, spread = np.mean([values(one) for one in found], axis=0), np.mean([sems(one) for one in found], axis=0)
    assert np.all(np.abs(mean - limits(constants)) < 4.0 * spread / np.sqrt(8.0))
    assert np.all(spread < np.array([0.002, 0.001, 0.05]) * mean)
    efficiency = np.exp(oracle.log_efficiency(response))
    assert_allclose(found[0].effective_sample_size / found[0].draws, efficiency, rtol=0.02)


def test_ratios_of_few_draws_lose_most_of_their_bias_and_know_their_errors(rng: np.random.Generator) -> None:
    """x ~ N(0, s) tilted by exp(-x^2/(2 tau)), in many batches of 30 and of 1000 draws."""
    tau, ratio = 0.5, 3.0
    exact = np.array([ratio * tau / (1.0 + ratio), 0.5 * tau * np.log1p(ratio), 0.0])
    exact[2] = (exact[1] - 0.5 * exact[0]) / tau
    square = rng.standard_normal((40_000, 30)) ** 2 * ratio * tau
    tilt = -0.5 * square / tau
    plain = np.stack([np.exp(tilt) * square, np.exp(tilt) * tilt]).mean(axis=2) / np.exp(tilt).mean(axis=1)
    log_mean = np.log(np.exp(tilt).mean(axis=1))
    plain_bias = np.mean([plain[0], -tau * log_mean, plain[1] - log_mean], axis=1) - exact
    bias = oracle._ratios(tilt, tilt, square, tau)[0].mean(axis=0) - exact
    assert np.all(np.abs(plain_bias[:2]) > 0.01 * exact[:2])
    assert np.all(np.abs(bias[:2]) < 0.2 * np.abs(plain_bias[:2]))
    square = square.reshape(1200, 1000)
    found, influence, size = oracle._ratios(-0.5 * square / tau, -0.5 * square / tau, square, tau)
    assert_allclose(np.sqrt(np.sum(influence**2, axis=1)).mean(axis=0), found.std(axis=0), rtol=0.08)
    assert_allclose(np.mean(size), 1000.0 * np.sqrt(1.0 + 2.0 * ratio) / (1.0 + ratio), rtol=0.01)


@pytest.mark.parametrize("a", [ONE, SIGNS])
def test_scores_hold_all_of_the_variance(a: GroupLaw) -> None:
    """sum_k Var(score_k) = iid trace, summed over the cells: no direction of f is lost that matters."""
    table, rest = small(3, "square", ("w",), a, 0.1, cells=24)
    law = oracle._law(table, rest, linear_response(table, rest))
    score = law.amplitude[..., None] * law.scores[law.point] - law.center
    mass = rest.measure.mass.reshape(law.point.shape)
    assert_allclose(np.einsum("ki,kid->d", mass, score), 0.0, atol=1e-13)
    assert_allclose(np.einsum("ki,kid->", mass, score**2), fluctuations(table, rest).iid_trace, rtol=1e-11)


def test_the_seed_decides_every_bit_and_blocks_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for table, rest in (small(3, "square", ("w",), a, 0.1) for a in (ONE, SIGNS)):
        first = stationary_width(table, rest, 13, draws=3000, seed=5)
        assert stationary_widths(table, rest, (4, 13), draws=3000, seed=5)[1] == first
        assert stationary_width(table, rest, 13, draws=3000, seed=6) != first
        monkeypatch.setattr(oracle, "_HELD", 100)
        other = stationary_width(table, rest, 13, draws=3000, seed=5)
        monkeypatch.undo()
        assert_allclose(values(other), values(first), rtol=1e-12)


def test_widths_share_no_numbers() -> None:
    """Errors of neighbouring widths are uncorrelated over seeds."""
    table, rest = small(3, "square", ("w",), ONE, 0.1)
    errors = np.array(
        [[e.function_error for e in stationary_widths(table, rest, (30, 31), draws=500, seed=s)] for s in range(60)]
    )
    assert abs(np.corrcoef(errors.T)[0, 1]) < 0.4


@given(shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40), power=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_walkers_tables_hold_the_probabilities(shares: list[float], power: int) -> None:
    p = np.array([shares, shares[::-1]]) ** power + 1e-300
    p /= p.sum(axis=1, keepdims=True)
    accept, alias = oracle._walker(p.shape[1] * p)
    assert np.all((0.0 <= accept) & (accept <= 1.0))
    for row, kept, other in zip(p, accept, alias, strict=True):
        found = kept.copy()
        np.add.at(found, other, 1.0 - kept)
        assert_allclose(found / len(row), row, atol=1e-14)


def test_too_few_effective_draws_are_refused_and_the_number_needed_is_enough() -> None:
    table, rest = many_modes()
    efficiency = np.sqrt(199.0) ** 3 / 100.0**3
    assert_allclose(np.exp(oracle.log_efficiency(linear_response(table, rest))), efficiency, rtol=0.02)
    with pytest.raises(NumericalError, match=r"width 40 has an effective sample size of .* where 400") as caught:
        stationary_width(table, rest, 40)
    found, needed = (float(re.search(rf"{key} ([0-9.e+]+)", str(caught.value))[1]) for key in ("size of", "about"))  # type: ignore[index]
    assert_allclose(needed, 400.0 / efficiency, rtol=0.05)
    assert_allclose(found, 20_000 * efficiency, rtol=0.5)
    assert caught.value.hint is not None
    estimate = stationary_width(table, rest, 40, draws=int(1.5 * needed))
    assert 400.0 <= estimate.effective_sample_size < 800.0
    expected = [3.0 * 0.99e-3, 1.5e-3 * np.log(100.0)]
    assert np.all(np.abs(values(estimate)[:2] - expected) < 4.0 * sems(estimate)[:2])


def test_frozen_parameters_that_leave_too_few_draws_are_refused() -> None:
    """Two neurons with long-tailed a are far from Gaussian: some draws of a leave few networks that count."""
    table, rest = small(3, "square", ("w",), GroupLaw("normal", std=3.0), 0.02)
    with pytest.raises(NumericalError, match=r"width 2 leaves one draw of the frozen parameters") as caught:
        for seed in range(10):
            stationary_width(table, rest, 2, seed=seed)
    assert "is the minimum" in str(caught.value)


def test_without_a_certificate_or_draws_there_is_no_answer() -> None:
    problem = pairwise_problem(0.2, strength=0.5)
    table = tabulate(problem, cases.box_grid(problem, ((-4.0, 4.0),), 64))
    with pytest.raises(ConfigError, match="not convex"):
        stationary_width(table, stationary(table, np.zeros(1)), 10)
    table, rest = small(3, "square", ("w",), ONE, 0.1)
    with pytest.raises(ConfigError, match="not convex"):
        stationary_width(table, replace(rest, dual=None), 10)
    with pytest.raises(ConfigError, match="at least 1"):
        stationary_width(table, rest, 0)
    with pytest.raises(ConfigError, match="at least 1"):
        stationary_width(table, rest, 10, draws=0)
    with pytest.raises(NumericalError, match="sample size of 1 "):
        stationary_width(table, rest, 10, draws=1)


def test_no_interaction_leaves_independent_neurons() -> None:
    """All weights are one: nothing fluctuates in f, all draws count."""
    problem = pairwise_problem(0.3, interaction="none")
    table = tabulate(problem, cases.box_grid(problem, ((-4.0, 4.0),), 64))
    found = stationary_width(table, stationary(table, np.zeros(1)), 4, draws=1000)
    assert np.all(values(found) == 0.0) and found.effective_sample_size == 1000.0
