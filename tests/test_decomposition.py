"""The telescoping decomposition closes, its terms obey their laws, the statistical constant is a linear response."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde.core.quadrature import hermite_coefficients
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare
from mfpde.errors import ConfigError
from mfpde.evolve import Control, solve
from mfpde.exact import references
from mfpde.initial import GroupLaw, InitialLaw, initial_measure
from mfpde.measures import Grid, Species
from mfpde.problem import DataLaw, Network, Population, Problem, network_coordinates
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.theory import decomposition
from mfpde.theory.decomposition import Decomposition, TermSweep
from mfpde.verification import cases

ROW = references.TANH_NEURON
TARGET = Population(1, "tanh", gain=ROW.target_gain, scale=ROW.target_scale)
ONES = dict.fromkeys("awb", 1.0)


def start_law(mean: float, std: float) -> InitialLaw:
    return InitialLaw(GroupLaw("point", 1.0), GroupLaw("normal", mean=(mean,), std=std), GroupLaw("point"), 1)


def neuron(noise: float = 0.0) -> tuple[Tabulated, Stationary]:
    """The neuron of mfpde.exact.references on its population nodes, at rest."""
    problem = cases.network_problem("tanh", replace(TARGET, noise=noise), ("w",), ROW.temperature, ROW.weight_decay)
    return at_rest(problem, cases.box_grid(problem, ((-6.0, 6.0),), 192))


def at_rest(problem: Problem, grid: Grid) -> tuple[Tabulated, Stationary]:
    table = tabulate(problem, grid)
    return table, stationary(table, np.zeros(len(problem.data.y)))


# the identity


@given(seed=st.integers(0, 2**31), replicas=st.integers(1, 6), size=st.floats(-8.0, 8.0))
@settings(max_examples=60, deadline=None)
def test_the_gram_matrix_closes_and_bounds_hold(seed: int, replicas: int, size: float) -> None:
    """Random members with and without replicas, terms of very different size: sum of Gram = squared error to 1e-12."""
    rng = np.random.default_rng(seed)
    n = 11
    weights = rng.dirichlet(np.ones(n))
    shapes = [(replicas, n), (replicas, n), (n,), (n,), (n,), (n,), (n,)]
    f = [rng.standard_normal(shape) * np.exp(size * rng.random()) for shape in shapes]
    names = ("stepped", "finite", "limit", "rested", "population", "sparse", "target")
    found = decomposition.decompose(weights, **dict(zip(names, f, strict=True)))
    direct = np.mean([weights @ row**2 for row in np.broadcast_to(f[0] - f[-1], (replicas, n))])
    assert found.total == pytest.approx(float(direct), rel=1e-12)
    assert found.closure <= 1e-12
    assert_allclose(found.terms.sum(axis=0), np.broadcast_to(f[0] - f[-1], (replicas, n)), atol=1e-12 * np.exp(9.0))
    assert_allclose(found.terms[3, 0], f[3] - f[4], atol=1e-12 * np.exp(9.0))
    assert np.min(np.linalg.eigvalsh(found.gram)) >= -1e-12 * np.trace(found.gram)
    assert found.total <= found.triangle * (1.0 + 1e-12)
    assert found.triangle <= found.count_bound * (1.0 + 1e-12)
    four = decomposition.merged(found)
    assert four.closure <= 1e-12
    assert four.total == found.total
    assert four.names == ("statistical", "optimization", "propagation_of_chaos", "sparse_residual")
    assert_allclose(four.terms[3], found.terms[4] + found.terms[5])
    assert four.count_bound <= 4.0 * np.sum(found.squared) * 2.0 * (1.0 + 1e-12)


def test_six_terms_need_the_factor_six() -> None:
    """Six equal terms: |sum|^2 = 36 = 6 sum |.|^2; a factor of five, as for five terms, would be violated."""
    chain = np.arange(6.0, -1.0, -1.0)[:, None] * np.ones(3)
    names = ("stepped", "finite", "limit", "rested", "population", "sparse", "target")
    found = decomposition.decompose(np.full(3, 1 / 3), **dict(zip(names, chain, strict=True)))
    assert found.total == pytest.approx(36.0)
    assert found.count_bound == pytest.approx(36.0)
    assert 5.0 * float(np.sum(found.squared)) < found.total


def test_members_on_other_nodes_are_refused() -> None:
    f = np.zeros(4)
    with pytest.raises(ConfigError, match="each needs 4 nodes and 1 or 2 rows"):
        decomposition.decompose(
            np.full(4, 0.25),
            stepped=np.zeros((2, 4)),
            finite=np.zeros((3, 4))[:2],
            limit=np.zeros(5),
            rested=f,
            population=f,
            sparse=f,
            target=f,
        )


def whole(mean: float, std: float) -> Decomposition:
    """All six terms of one data set of 80 noisy samples, from actual runs, on the nodes of the population."""
    table, end = neuron()
    weights, x = table.problem.data.weights, table.problem.data.x
    rng = np.random.default_rng(7)
    inputs = rng.standard_normal(80)
    labels = datalaws.target_values(TARGET, inputs) + 0.2 * rng.standard_normal(80)
    sampled = replace(table.problem, data=datalaws.nodes(inputs[:, None], labels))
    law = start_law(mean, std)
    start = initial_measure(law, table.grid)
    run = solve(sampled, start, np.array([0.0, 1.5]), Control(tolerance=1e-6, extend=False)).final
    rest = at_rest(sampled, table.grid)[1]
    coarse, fine = decomposition.refined_step(sampled, law, x, width=64, replicas=6, time=1.5, step=0.1)
    coefficients = hermite_coefficients(lambda z: datalaws.target_values(TARGET, z), 41)
    kept = np.sign(coefficients) * np.maximum(np.abs(coefficients) - 0.05, 0.0)
    return decomposition.decompose(
        weights,
        stepped=coarse,
        finite=fine,
        limit=table.predict(run.measure.mass),
        rested=table.predict(rest.measure.mass),
        population=end.f,
        sparse=decomposition.sparse_function(table.problem.data, kept),
        target=table.problem.data.y,
    )


def test_the_sparse_term_does_not_see_the_initial_law_and_the_optimization_term_does() -> None:
    first, second = whole(0.0, 0.6), whole(1.5, 0.3)
    for found in (first, second):
        assert found.closure <= 1e-12
        assert np.all(found.squared > 0.0)
    names = list(first.names)
    for name, tolerance in (("sparse_residual", 0.0), ("entropic_bias", 0.0), ("statistical", 1e-9)):
        k = names.index(name)
        assert_allclose(first.terms[k, 0], second.terms[k, 0], rtol=0.0, atol=tolerance)
    k = names.index("optimization")
    assert not 0.5 < first.squared[k] / second.squared[k] < 2.0
    # the step is the smallest part of what is finite
    assert first.squared[names.index("time_step")] < 0.1 * first.squared[names.index("propagation_of_chaos")]


# the laws


def test_every_term_has_its_law() -> None:
    assert decomposition.NAMES == (
        "time_step",
        "propagation_of_chaos",
        "optimization",
        "statistical",
        "entropic_bias",
        "sparse_residual",
    )
    exponents = {law.name: law.exponent for law in decomposition.LAWS}
    assert exponents["propagation_of_chaos"] == exponents["statistical"] == -1.0


def test_the_optimization_term_falls_at_twice_the_linearised_rate() -> None:
    """log |f_t - f_inf|^2 has slope -2 Lambda = -1.76035 at late times (mfpde.exact.references), within 2 %."""
    table, end = neuron()
    times = np.linspace(0.0, 10.0, 41)
    start = initial_measure(start_law(0.0, 0.6), table.grid)
    run = solve(table.problem, start, times, Control(tolerance=1e-7, extend=False)).snapshots
    squared = [np.array([np.sum(table.problem.data.weights * (s.f - end.f) ** 2)]) for s in run[24:]]
    rate = decomposition.sweep_rate(TermSweep("optimization", times[24:], tuple(squared)))
    assert rate.slope == pytest.approx(-ROW.asymptotic_rate, rel=0.02)


def test_the_time_step_term_is_of_second_order_and_vanishes_without_refinement() -> None:
    """Same Brownian paths: |f_dt - f|^2 ~ dt^2 for Euler and for Heun, whose strong order is 1 as well, but smaller."""
    table, _ = neuron()
    problem, law, x = table.problem, start_law(0.2, 0.8), np.linspace(-2.0, 2.0, 9)[:, None]
    steps, largest = np.array([0.04, 0.08, 0.16]), {}
    for scheme in ("euler", "heun"):
        samples = []
        for dt in steps:
            coarse, fine = decomposition.refined_step(
                problem, law, x, width=64, replicas=96, time=0.8, step=dt, refinement=16, scheme=scheme
            )
            samples.append(np.mean((coarse - fine) ** 2, axis=1))
        rate = decomposition.sweep_rate(TermSweep("time_step", steps, tuple(samples)))
        assert rate.slope == pytest.approx(2.0, abs=0.2)
        largest[scheme] = rate.means[-1]
    assert largest["heun"] < 0.5 * largest["euler"]
    coarse, fine = decomposition.refined_step(problem, law, x, width=8, replicas=2, time=0.5, step=0.1, refinement=1)
    assert np.array_equal(coarse, fine)


def test_values_of_a_network_are_the_mean_of_its_neurons(rng: np.random.Generator) -> None:
    problem = neuron()[0].problem
    problem = replace(problem, model=Network("tanh", scale=2.0))
    theta, x = rng.standard_normal((3, 3, 5)), rng.standard_normal((4, 1))
    theta[:, 2] = 0.0
    expected = 2.0 * np.mean(theta[:, 0, None] * np.tanh(x * theta[:, 1, None]), axis=2)
    assert_allclose(decomposition.network_values(problem, theta, x), expected, rtol=1e-12)


def test_a_step_error_needs_an_exact_force() -> None:
    data = datalaws.gaussian(Population(5, "hermite", (0.0, 1.0)))
    problem = Problem(Network("tanh"), data, "square", 0.1, network_coordinates(data.blocks, ("w",), False, ONES, ONES))
    with pytest.raises(ConfigError, match="no exact force"):
        decomposition.refined_step(problem, start_law(0.0, 1.0), np.zeros((1, 5)), width=4, replicas=1, time=1, step=1)


def test_the_sparse_function_and_its_error_are_those_of_the_coefficients() -> None:
    """|f_S - f*|^2 = inactive c^2 + active (lambda/sigma_k)^2 for the soft threshold at lambda/sigma_k (Parseval)."""
    c = (0.0, 0.9, 0.0, -0.4, 0.03)
    data = datalaws.gaussian(Population(7, "hermite", c))
    level = np.array([1.0, 0.1, 1.0, 0.2, 0.3])
    kept = np.sign(c) * np.maximum(np.abs(c) - level, 0.0)
    error = data.weights @ (decomposition.sparse_function(data, kept) - data.y) ** 2
    assert error == pytest.approx(0.1**2 + 0.2**2 + 0.03**2, rel=1e-10)
    with pytest.raises(ConfigError, match="no Gaussian index"):
        decomposition.sparse_function(datalaws.nodes(np.zeros((2, 1)), np.zeros(2)), kept)


# the statistical constant


def two_point_noise(problem: Problem, size: float) -> Problem:
    """Label noise +-size as nodes of their own: a law of (x, y) without an offset."""
    data = problem.data
    y = np.concatenate([data.y + size, data.y - size])
    weights = 0.5 * np.concatenate([data.weights] * 2)
    return replace(problem, data=DataLaw(np.concatenate([data.x] * 2), y, weights, data.blocks))


def small_problem(activation: str, loss: str, train: tuple[str, ...], scale: float) -> tuple[Problem, Grid]:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((6, 1)), rng.standard_normal(6)
    data = datalaws.nodes(x, np.where(y > 0.0, 1.0, -1.0) if loss == "logistic" else y, rng.random(6) + 0.2)
    coordinates = network_coordinates((1,), train, False, dict.fromkeys("awb", 0.6), ONES)
    problem = Problem(Network(activation, scale=scale), data, loss, 0.15, coordinates)  # type: ignore[arg-type]
    frozen = Species(("a",), np.array([[-0.5], [1.5]]), np.array([0.3, 0.7]))
    grid = cases.box_grid(problem, ((-5.0, 5.0),) * len(train), 64)
    return problem, grid if "a" in train else Grid(grid.axes, frozen)


@pytest.mark.parametrize("loss", ["square", "logistic"])
@pytest.mark.parametrize(("train", "scale"), [(("w",), 1.0), (("w",), 2.5), (("a", "w"), 1.0)])
def test_the_constant_is_the_variance_of_the_influence_function(
    loss: str, train: tuple[str, ...], scale: float
) -> None:
    """C = sum_j c_j |IF_j|^2, IF_j = d/de f[(1 - e) law + e delta_j] of the certified stationary measure itself."""
    problem, grid = small_problem("erf", loss, train, scale)
    table, end = at_rest(problem, grid)
    c, step = problem.data.weights, 1e-4
    squares = []
    for j in range(len(c)):
        moved = []
        for e in (step, 2.0 * step):
            weights = (1.0 - e) * c + e * (np.arange(len(c)) == j)
            other = replace(problem, data=replace(problem.data, weights=weights))
            # from far away: a start this close may stop with f good to 1e-8
            moved.append(at_rest(other, grid)[1].f)
        influence = (-3.0 * end.f + 4.0 * moved[0] - moved[1]) / (2.0 * step)
        squares.append(c @ influence**2)
    assert decomposition.statistical_constant(table, end) == pytest.approx(float(c @ squares), rel=1e-5)


def test_label_noise_adds_to_the_squared_slope_alone() -> None:
    """The offset of a Gaussian law with noise s gives what nodes y +- s give; and more than without noise."""
    noisy, end = neuron(0.3)
    split = two_point_noise(neuron()[0].problem, 0.3)
    found = decomposition.statistical_constant(noisy, end)
    assert decomposition.statistical_constant(*at_rest(split, noisy.grid)) == pytest.approx(found, rel=1e-9)
    assert decomposition.statistical_constant(*neuron()) < 0.5 * found


def test_data_sets_are_a_function_of_seed_size_and_draw() -> None:
    table, end = neuron(0.3)
    first, f = decomposition.statistical_sweep(table, end, [20, 30], 3, seed=1)
    again, _ = decomposition.statistical_sweep(table, end, [30], 2, seed=1)
    other, _ = decomposition.statistical_sweep(table, end, [30], 2, seed=2)
    assert np.array_equal(first.samples[1][:2], again.samples[0])
    assert not np.any(first.samples[1][:2] == other.samples[0])
    assert [one.shape for one in f] == [(3, len(end.f))] * 2
    assert_allclose(first.samples[0], (f[0] - end.f) ** 2 @ table.problem.data.weights)
    with pytest.raises(ConfigError, match="must be gaussian with dimension 1"):
        decomposition.statistical_sweep(*at_rest(two_point_noise(table.problem, 0.1), table.grid), [5], 1)


@pytest.mark.slow
def test_the_statistical_term_matches_its_constant_roughly() -> None:
    """n E|f_n - f|^2 over 60 draws of 100 samples, within three standard errors of C_stat."""
    table, end = neuron(0.3)
    samples = 100 * decomposition.statistical_sweep(table, end, [100], 60)[0].samples[0]
    sem = float(np.std(samples, ddof=1)) / np.sqrt(60)
    assert abs(np.mean(samples) - decomposition.statistical_constant(table, end)) < 3.0 * sem


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_statistical_constant_of_many_draws(noise: float) -> None:
    """n = 400, 700 draws: within three standard errors, themselves below 6 %."""
    table, end = neuron(noise)
    samples = 400 * decomposition.statistical_sweep(table, end, [400], 700)[0].samples[0]
    sem = float(np.std(samples, ddof=1)) / np.sqrt(700)
    constant = decomposition.statistical_constant(table, end)
    assert sem < 0.06 * constant
    assert abs(np.mean(samples) - constant) < 3.0 * sem


@pytest.mark.slow
def test_the_statistical_term_falls_like_one_over_n() -> None:
    table, end = neuron(0.3)
    sweep, _ = decomposition.statistical_sweep(table, end, [50, 100, 200, 400], 400)
    assert decomposition.sweep_rate(sweep).slope == pytest.approx(-1.0, abs=0.1)


@pytest.mark.slow
def test_the_logistic_constant_of_many_draws() -> None:
    """Labels drawn with log-odds 2 tanh(1.5 x): the curvature of the loss enters the response."""
    law = Population(1, "tanh", gain=1.5, scale=2.0)
    data = datalaws.gaussian(law, "logistic")
    problem = replace(neuron()[0].problem, data=data, loss="logistic")
    table, end = at_rest(problem, cases.box_grid(problem, ((-6.0, 6.0),), 192))
    samples = 400 * decomposition.statistical_sweep(table, end, [400], 300)[0].samples[0]
    constant = decomposition.statistical_constant(table, end)
    assert abs(np.mean(samples) - constant) < 3.0 * float(np.std(samples, ddof=1)) / np.sqrt(300)


@pytest.mark.slow
def test_propagation_of_chaos_falls_like_one_over_the_width() -> None:
    """|f_N - f|^2 at t = 3 over widths 32 to 1024, 512 replicas: slope -1 within 0.05."""
    table, _ = neuron()
    problem, law, times = table.problem, start_law(0.0, 0.6), np.array([0.0, 3.0])
    limit = solve(problem, initial_measure(law, table.grid), times, Control(tolerance=1e-6, extend=False)).final.f
    widths = (32, 64, 128, 256, 512, 1024)
    settings = EnsembleSettings(widths, 512, 0.05, coupling="independent", seed=3)
    *_, last = evolve_ensemble(prepare(problem, law, settings), times)
    f = [decomposition.network_values(problem, last.state.theta[n], problem.data.x) for n in widths]
    samples = tuple((one - limit) ** 2 @ problem.data.weights for one in f)
    rate = decomposition.sweep_rate(TermSweep("propagation_of_chaos", np.array(widths, float), samples))
    assert rate.slope == pytest.approx(-1.0, abs=0.05)
