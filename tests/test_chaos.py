"""Measures of propagation of chaos and of the step's bias on synthetic data, Gaussian systems and small runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde import datalaws, ensemble
from mfpde.compare import chaos, transport
from mfpde.compare.rates import fit_rate
from mfpde.compare.step_bias import WEAK_ORDER, extrapolate_in_step, fit_step_bias
from mfpde.ensemble import EnsembleSettings
from mfpde.errors import ConfigError, NumericalError
from mfpde.exact import gaussian_pairs, ornstein_uhlenbeck
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.steppers.drive import Drive

WIDTHS = np.array([32, 64, 128, 256, 512, 1024, 2048])
SPREAD = 1.35
NORMAL, POINT, ONE = GroupLaw("normal"), GroupLaw("point"), GroupLaw("point", 1.0)


def gamma(rng, size, spread=SPREAD):
    """Positive noise of mean 1 with the relative spread of coupling errors."""
    return rng.gamma(spread**-2, spread**2, size=size)


def paths(rng, replicas, curve, widths=WIDTHS):
    """Errors curve/N with noise [K, R] most of which one replica keeps through time, mean 1 and spread 1.35."""
    shape, shared = SPREAD**-2, 0.8
    kept = [rng.gamma(shared * shape, 1 / shape, size=(1, replicas)) for _ in widths]
    fresh = [rng.gamma((1 - shared) * shape, 1 / shape, size=(len(curve), replicas)) for _ in widths]
    return [curve[:, None] / n * (a + b) for n, a, b in zip(widths, kept, fresh, strict=True)]


# --- the table of distances


def test_the_law_of_empirical_measures_depends_on_the_dimension(rng):
    """In dimension 1 uniform samples have N·E W2² → 1/6; in dimension 3 two clouds come closer much more slowly."""
    ot = pytest.importorskip("ot")
    assert [chaos.kinds(d)["empirical"].exponent for d in (1, 2, 3, 4)] == [-1.0, None, -2 / 3, -0.5]
    assert [chaos.kinds(3)[name].exponent for name in ("coupling", "function", "sliced")] == [-1.0] * 3
    assert chaos.kinds(1)["one_particle"].exponent == -2.0
    density, sizes = transport.quantile_of_cells([0.0, 1.0], [1.0]), [32, 128, 512]
    line, cube = [], []
    for n in sizes:
        samples = [transport.quantile_of_atoms(rng.random(n)) for _ in range(200)]
        line.append([transport.wasserstein_line(one, density) for one in samples])
    for n, replicas in zip(sizes, (40, 12, 3), strict=True):
        clouds = rng.random((replicas, 2, n, 3))
        cube.append([ot.emd2([], [], ot.dist(a, b)) for a, b in clouds])
    assert_allclose(np.mean(line[-1]) * sizes[-1], 1 / 6, rtol=0.15)
    assert_allclose(fit_rate(sizes, line).slope, chaos.kinds(1)["empirical"].exponent, atol=0.08)
    assert_allclose(fit_rate(sizes, cube).slope, chaos.kinds(3)["empirical"].exponent, atol=0.1)


# --- slopes and how many replicas they need


def test_slopes_over_time_are_covered_at_their_level(rng):
    """200 studies of 24 replicas, law 1/N at the first time and N^-1.1 at the second."""
    hits, slopes = np.zeros(2), []
    for study in range(200):
        samples = [np.stack([gamma(rng, 24) / n, gamma(rng, 24) / n**1.1]) for n in WIDTHS]
        rates = chaos.rates_over_time(WIDTHS[::-1], samples[::-1], [0.0, 1.0], seed=study)
        hits += [r.ci[0] <= s <= r.ci[1] for r, s in zip(rates, (-1.0, -1.1), strict=True)]
        slopes.append([r.slope for r in rates])
    assert np.all(hits >= 0.9 * 200) and np.all(hits <= 0.99 * 200)
    spread = SPREAD / np.sqrt(24) / np.sqrt(np.sum((np.log(WIDTHS) - np.log(WIDTHS).mean()) ** 2))
    assert_allclose(np.mean(slopes, axis=0), [-1.0, -1.1], atol=4 * spread / np.sqrt(200))


def test_copies_that_still_stand_on_their_particles_have_no_rate(rng):
    samples = [np.stack([np.zeros(10), gamma(rng, 10) / n]) for n in WIDTHS]
    first, second = chaos.rates_over_time(WIDTHS, samples, [0.0, 1.0])
    assert first is None
    assert second == replace(second, slope=fit_rate(WIDTHS, [s[1] for s in samples]).slope)
    with pytest.raises(NumericalError):
        chaos.rates_over_time([8, 16], [[[1.0, 1.0]], [[0.0, 0.0]]], [0.0])


@pytest.mark.parametrize("spreads", [np.full(7, SPREAD), np.linspace(0.4, 1.2, 7)])
def test_needed_replicas_come_true(spreads, rng):
    """A long pilot predicts replicas; studies of that size have the wanted intervals, errors and scatter of slopes."""
    pilot = [gamma(rng, 4000, s) / n for s, n in zip(spreads, WIDTHS, strict=True)]
    needed = chaos.needed_replicas(WIDTHS, pilot, relative_error=0.1, half_width=0.12)
    assert_allclose(needed.spread, spreads, rtol=0.1)
    assert_allclose(needed.for_mean, (spreads / 0.1) ** 2, rtol=0.2)
    x, weights = np.log(WIDTHS), spreads**-2
    variance = 1 / np.sum(weights * (x - np.average(x, weights=weights)) ** 2)
    assert_allclose(needed.for_slope, (1.96 / 0.12) ** 2 * variance, rtol=0.2, atol=3)
    half, slopes = [], []
    for study in range(150):
        samples = [gamma(rng, needed.for_slope, s) / n for s, n in zip(spreads, WIDTHS, strict=True)]
        rate = fit_rate(WIDTHS, samples, seed=study)
        half.append(0.5 * (rate.ci[1] - rate.ci[0]))
        slopes.append(rate.slope)
    assert_allclose(np.median(half), 0.12, rtol=0.12)
    assert_allclose(1.96 * np.std(slopes), 0.12, rtol=0.25)
    k = 4
    means = gamma(rng, (1000, needed.for_mean[k]), spreads[k]).mean(axis=1)
    assert_allclose(means.std(), 0.1, rtol=0.15)


def test_more_precision_needs_more_replicas_and_few_replicas_need_students_quantile(rng):
    pilot = [gamma(rng, 500) / n for n in WIDTHS]
    rough, fine = (chaos.needed_replicas(WIDTHS, pilot, half_width=h) for h in (0.1, 0.05))
    assert_allclose(fine.for_slope / rough.for_slope, 4.0, rtol=0.1)
    assert np.array_equal(rough.for_mean, fine.for_mean)
    # two widths a factor e apart, spread and half width 1/10: R ≥ 2t², so 8 by Gauss; 2 (2.228)² = 9.9 < 11 by Student,
    # and 2 (2.262)² = 10.2 > 10
    exact = [np.array([0.9, 1.1]) * np.sqrt(0.5) + 1 - np.sqrt(0.5)] * 2
    assert chaos.needed_replicas([1.0, np.e], exact, half_width=0.1).for_slope == 11


# --- uniformity in time


@pytest.mark.parametrize("shape", ["flat", "peak"])
def test_bands_hold_the_whole_curve_and_the_sup(shape, rng):
    curve = np.ones(9) if shape == "flat" else np.exp(-(np.linspace(-2, 2, 9) ** 2))
    widths, studies = WIDTHS[::3], 50
    held, sup, overall, naive, corrected = 0, 0, 0, [], []
    for study in range(studies):
        found = chaos.uniformity(widths, paths(rng, 40, curve, widths), np.arange(9.0), seed=study)
        held += np.mean(np.all((found.low <= curve) & (curve <= found.high), axis=1)) / studies
        sup += np.mean([s.interval[0] <= 1.0 <= s.interval[1] for s in found.sups]) / studies
        overall += (found.overall.interval[0] <= 1.0 <= found.overall.interval[1]) / studies
        naive.append(found.overall.value)
        corrected.append(found.overall.corrected)
    assert 0.9 <= held <= 0.99
    assert min(sup, overall) >= 0.93
    # 27 noisy means of 1: their largest lies well above, the one chosen by other replicas does not
    noise = np.std(corrected) / np.sqrt(studies)
    assert np.mean(naive) > 1.1
    assert np.mean(corrected) < 1.0 + 3 * noise
    assert np.mean(corrected) > (1.0 if shape == "flat" else 0.9) - 3 * noise


def test_the_scaled_curve_its_band_and_where_it_peaks(rng):
    times, curve = np.array([0.0, 1.0, 2.5, 4.0]), np.array([0.2, 0.5, 3.0, 0.7])
    samples = paths(rng, 200, curve, [16, 64])
    samples[1] *= 2.0
    found = chaos.uniformity([64, 16], samples[::-1], times)
    assert list(found.widths) == [16, 64] and found.scaled.shape == (2, 4)
    assert_allclose(found.scaled[1], 64 * samples[1].mean(axis=1), rtol=1e-13)
    assert_allclose(found.sem[0], 16 * samples[0].std(axis=1, ddof=1) / np.sqrt(200), rtol=1e-12)
    assert [(s.width, s.time) for s in (*found.sups, found.overall)] == [(16, 2.5), (64, 2.5), (64, 2.5)]
    assert found.overall.value == found.scaled[1, 2] == found.sups[1].value
    assert_allclose(found.overall.corrected, found.scaled[1, 2], rtol=0.02)
    assert np.all(found.low < found.scaled) and np.all(found.scaled < found.high)
    # errors have a long tail above, which the band allows for
    assert np.all(found.high - found.scaled > 1.2 * (found.scaled - found.low))
    assert found.sups[0].interval == (found.low[0].max(), found.high[0].max())
    # a band for two curves at once is wider than either
    assert (
        found.overall.interval[1] > found.sups[1].interval[1] or found.overall.interval[0] < found.sups[1].interval[0]
    )
    assert found.overall == chaos.uniformity([64, 16], samples[::-1], times).overall
    narrow = chaos.uniformity([64, 16], samples[::-1], times, level=0.5)
    assert np.all(narrow.low > found.low) and np.all(narrow.high < found.high)


def test_a_single_time_has_the_interval_of_a_mean(rng):
    for level, score in ((0.95, 1.96), (0.5, 0.674)):
        found = chaos.uniformity([1.0], [5.0 + rng.normal(size=(1, 800))], [0.0], level=level)
        assert_allclose(found.scaled - found.low, score * found.sem, rtol=0.1)
        assert_allclose(found.high - found.scaled, score * found.sem, rtol=0.1)


def test_a_common_start_is_exact_and_does_not_spoil_the_band(rng):
    """Rows that all replicas share, zero or equal to round-off, have no error; the others keep theirs."""
    noisy = gamma(rng, (3, 50))
    shared = 0.1 * (1.0 + 1e-16 * rng.normal(size=(1, 50)))
    found = chaos.uniformity([1.0], [np.concatenate([np.zeros((1, 50)), shared, noisy])], np.arange(5.0))
    alone = chaos.uniformity([1.0], [noisy], np.arange(3.0))
    assert_allclose(found.low[0, :2], [0.0, 0.1], rtol=1e-14)
    assert_allclose(found.high[0, :2], [0.0, 0.1], rtol=1e-14)
    assert_allclose(found.low[0, 2:], alone.low[0], rtol=1e-13)
    assert_allclose(found.high[0, 2:], alone.high[0], rtol=1e-13)
    # two or three replicas are often all the same one when redrawn: no spread, and not one of 1e-8 by cancellation
    for few in (2, 3):
        for path in gamma(rng, (20, 1, few)):
            assert chaos.uniformity([1.0], [path], [0.0]).overall.interval == (-np.inf, np.inf)


def test_time_averages_carry_the_error_of_replicas_and_not_of_snapshots(rng):
    """Correlated in time: 400 studies of 12 replicas have standardised errors of Student's size."""
    times, scores = np.linspace(0.0, 10.0, 21), []
    for _ in range(400):
        kept = 1.0 + rng.normal(size=(1, 12)) + 0.5 * rng.normal(size=(21, 12))
        path = kept + 5.0 * np.exp(-3.0 * times[:, None])
        average = chaos.stationary_average(path, times, 5.0)
        scores.append((average.mean - 1.0) / average.sem)
    assert_allclose(np.std(scores), np.sqrt(11 / 9), rtol=0.12)
    assert abs(np.mean(scores)) < 3 / np.sqrt(400)
    assert chaos.stationary_average(path, times, 10.0).mean == pytest.approx(path[-1].mean(), rel=1e-14)


# --- against independent neurons


def test_the_gain_is_a_ratio_of_means_with_a_paired_interval(rng):
    """Errors that share their noise have a sharp ratio; 200 studies of partly shared noise are covered."""
    own = [gamma(rng, (2, 30)) / n for n in (32, 64)]
    exact = chaos.iid_gain(own, [5.0 * one for one in own])
    for values in exact:
        assert_allclose(values, 5.0, rtol=1e-12)
    hits = 0
    for study in range(200):
        function = gamma(rng, (1, 40))
        iid = 5.2 * (0.5 * function + 0.5 * gamma(rng, (1, 40), 0.9))
        gain = chaos.iid_gain([0.025 * function], [0.025 * iid], seed=study)
        hits += gain.low[0, 0] <= 5.2 <= gain.high[0, 0]
        assert gain.ratio[0, 0] == pytest.approx(iid.mean() / function.mean(), rel=1e-12)
    assert 0.9 * 200 <= hits < 200


# --- mean-field Ornstein–Uhlenbeck, run


@pytest.fixture(scope="module")
def attraction():
    """α = κ = 1, τ = ½, v₀ = ¼: widths, times, coupling error, function error and that of copies, [K, R] per width."""
    problem = pairwise_problem(0.5)
    law = InitialLaw(POINT, GroupLaw("normal", mean=(2.0,), std=0.5), POINT, 1)
    times, dense = np.linspace(0.0, 8.0, 17), np.linspace(0.0, 8.0, 161)
    drive = Drive(dense, 2.0 * np.exp(-dense)[:, None])
    settings = EnsembleSettings((8, 32), 1000, 0.04, seed=7)
    with np.errstate(all="raise", under="ignore"):
        run = list(ensemble.evolve_ensemble(ensemble.prepare(problem, law, settings, drive), times, threads=1))
    names = ("coupling_error", "function_error", "function_error_iid")
    errors = [[np.stack([getattr(s.records[k], name) for s in run]) for k in (0, 1)] for name in names]
    return np.array([8.0, 32.0]), times, *errors


def test_coupling_constant_over_time_from_a_run(attraction):
    """N E|X − X̄|² = 0.079168 at T = 2 and 1/12 at the end, for every N; its sup is uniform in time and width."""
    widths, times, coupling, _, _ = attraction
    problem = {"stiffness": 1.0, "interaction": 1.0, "temperature": 0.5}
    exact = ornstein_uhlenbeck.coupling_constant(times, 0.25, **problem)
    assert_allclose([exact[4], exact[-1]], [0.079168, 1 / 12], atol=1e-6)
    found = chaos.uniformity(widths, coupling, times, level=0.999)
    assert np.all(found.scaled[:, 0] == 0.0) and np.all(found.high[:, 0] == 0.0)
    assert np.all(np.abs(found.scaled[:, 4] - exact[4]) < 3 * found.sem[:, 4])
    assert np.all(found.sem[:, 4] < 0.05 * exact[4])
    assert np.all((found.low <= exact) & (exact <= found.high))
    assert found.overall.interval[0] <= 1 / 12 <= found.overall.interval[1]
    assert found.overall.corrected < found.overall.value < 1.15 / 12
    for width, path in zip(widths, coupling, strict=True):
        average = chaos.stationary_average(width * path, times, 4.0)
        assert abs(average.mean - exact[times >= 4.0].mean()) < 3 * average.sem
        assert average.sem < 0.03 / 12
    rates = chaos.rates_over_time(widths, coupling, times, level=0.999)
    assert rates[0] is None
    assert all(rate.ci[0] <= -1.0 <= rate.ci[1] for rate in rates[1:])


def test_attraction_makes_networks_worse_than_independent_draws(attraction):
    """N E|f_N − f|² = τ/α + (v₀ − τ/α) exp(−2αt), copies ¼: the gain falls from 1 to ½."""
    _, times, _, function, iid = attraction
    gain = chaos.iid_gain(function, iid, level=0.999)
    exact = 0.25 / (0.5 - 0.25 * np.exp(-2.0 * times))
    assert np.all((gain.low <= exact) & (exact <= gain.high))
    assert_allclose(gain.ratio[:, 0], 1.0, rtol=1e-12)
    assert np.all(gain.high[:, -1] < 0.7)


# --- the law of one particle


def stationary_particles(rng, replicas, width, problem):
    """Exact draws [R, N, D] of N particles at stationarity."""
    factor = np.linalg.cholesky(gaussian_pairs.covariance(width, width, **problem))
    return (rng.normal(size=(replicas, len(factor))) @ factor.T).reshape(replicas, width, -1)


def test_one_particle_distance_is_found_where_replicas_suffice_and_called_noise_where_not(rng):
    problem = {"stiffness": np.array([[1.2, 0.4], [0.4, 0.7]]), "interaction": 1.0, "temperature": 0.5}
    mean, limit = np.array([0.3, -1.0]), 0.5 * np.linalg.inv(problem["stiffness"] + np.eye(2))
    for width in (8, 16):
        theta = mean + stationary_particles(rng, 2000, width, problem)
        found = chaos.one_particle_gaussian(theta, mean, limit)
        exact = gaussian_pairs.squared_distance(1, width, **problem)
        assert found.resolved
        assert abs(found.corrected - exact) < 3 * found.sem < 0.8 * exact
        assert found.corrected == found.squared - found.floor
    few = chaos.one_particle_gaussian(stationary_particles(rng, 40, 64, problem), np.zeros(2), limit)
    assert not few.resolved
    # sampling noise of the mean alone: tr Var(mean of N)/R, with N Var → τ A⁻¹
    noise = np.trace(0.5 * np.linalg.inv(problem["stiffness"])) / 64 / 40
    assert noise < few.floor < 3 * noise
    assert few.floor > 3 * gaussian_pairs.squared_distance(1, 64, **problem)


def test_particles_that_have_the_limits_law_are_not_told_from_it(rng):
    found = [chaos.one_particle_gaussian(rng.normal(size=(40, 8, 1)), 0.0, 1.0, seed=s) for s in range(25)]
    assert sum(one.resolved for one in found) <= 4
    # W2² of a Gaussian fit: 1/n for the mean, 1/(2n) for the standard deviation, n = 320 particles
    assert_allclose(np.mean([one.floor for one in found]), 1.5 / 320, rtol=0.1)
    assert_allclose(np.mean([one.squared for one in found]), 1.5 / 320, rtol=0.4)
    away = chaos.one_particle_gaussian(2.0 + 1.5 * rng.normal(size=(400, 8, 1)), 1.0, 1.0)
    assert away.resolved
    assert abs(away.corrected - 1.25) < 3 * away.sem < 0.2


def network(activation="identity", train=("w",), loss="square", a=ONE, w=NORMAL, bias=False, inputs=1):
    data = datalaws.gaussian(Population(inputs, "hermite", (0.0, 1.0)))
    coordinates = network_coordinates(data.blocks, train, bias, dict.fromkeys("awb", 0.1), dict.fromkeys("awb", 1.0))
    return Problem(Network(activation), data, loss, 0.1, coordinates), InitialLaw(a, w, NORMAL, inputs)


@pytest.mark.parametrize(
    ("case", "gaussian"),
    [
        (network(), True),
        (network(train=("w", "b"), bias=True), True),
        (network(train=("b",), bias=True), True),
        (network(train=("b",), w=GroupLaw("rademacher"), bias=True), False),
        (network(train=("a", "w")), False),
        (network(a=GroupLaw("rademacher")), False),
        (network(w=GroupLaw("uniform")), False),
        (network("tanh"), False),
        (network(inputs=2), True),
        # the length of the 19 inputs across the index
        (network(inputs=20), False),
        (network(loss="logistic"), False),
        ((pairwise_problem(0.5, 2), InitialLaw(POINT, NORMAL, POINT, 2)), True),
        ((pairwise_problem(0.5, interaction="none"), InitialLaw(POINT, POINT, POINT, 1)), True),
        ((pairwise_problem(0.5), InitialLaw(POINT, GroupLaw("uniform"), POINT, 1)), False),
        ((pairwise_problem(0.5, potential="double-well"), InitialLaw(POINT, NORMAL, POINT, 1)), False),
        ((pairwise_problem(0.5, interaction="gaussian"), InitialLaw(POINT, NORMAL, POINT, 1)), False),
        ((pairwise_problem(0.5, potential="none", interaction="cosine"), InitialLaw(POINT, NORMAL, POINT, 1)), False),
    ],
)
def test_where_particles_are_gaussian(case, gaussian):
    assert chaos.has_gaussian_law(*case) is gaussian


# --- the bias of the time step


def stationary_variance(scheme, rate, temperature, step):
    """Of x' = −rate x with noise √(2τ), discrete in time: the fixed point of the scheme's map of variances."""
    x = rate * step
    if scheme == "euler":
        return temperature / (rate * (1.0 - 0.5 * x))
    return 2.0 * temperature * step * (1.0 - 0.5 * x) ** 2 / (1.0 - (1.0 - x + 0.5 * x * x) ** 2)


@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_extrapolation_removes_the_leading_bias_of_each_scheme(scheme):
    order, truth = WEAK_ORDER[scheme], 0.3 / 1.4
    raw, left = [], []
    for step in (0.1, 0.05, 0.025):
        biased = [stationary_variance(scheme, 1.4, 0.3, h) for h in (step, 2 * step)]
        noise = np.array([1.0, -1.0]) * 1e-6
        value, sem = extrapolate_in_step([step, 2 * step], [v + noise for v in biased], order)
        # two values v ± e have the standard error e, combined here with the factor √(4ᵖ + 1)/(2ᵖ − 1)
        assert_allclose(sem, 1e-6 * np.sqrt(4.0**order + 1) / (2**order - 1), rtol=1e-9)
        raw.append(abs(biased[0] - truth))
        left.append(abs(value - truth))
    assert_allclose(np.log2(np.array(raw[:-1]) / raw[1:]), order, atol=0.15)
    assert np.all(np.log2(np.array(left[:-1]) / left[1:]) > order + 0.8)
    assert left[-1] < 0.05 * raw[-1]


def test_extrapolated_particles_reach_the_variance_of_the_continuous_equation():
    """Independent particles by Euler's scheme, dt = 0.1 and 0.2: τ/(1 − dt/2) instead of τ, ten errors away."""
    law = InitialLaw(POINT, GroupLaw("normal", std=np.sqrt(0.5)), POINT, 1)
    samples = []
    for step in (0.1, 0.2):
        settings = EnsembleSettings((64,), 600, step, scheme="euler", seed=3)
        prepared = ensemble.prepare(pairwise_problem(0.5, interaction="none"), law, settings)
        last = list(ensemble.evolve_ensemble(prepared, np.array([0.0, 5.0]), threads=1))[-1]
        samples.append(np.mean(last.records[0].theta[..., 0] ** 2, axis=1))
        sem = samples[-1].std(ddof=1) / np.sqrt(600)
        assert abs(samples[-1].mean() - stationary_variance("euler", 1.0, 0.5, step)) < 3 * sem
        assert samples[-1].mean() - 0.5 > 6 * sem
    for paired in (False, True):
        value, sem = extrapolate_in_step([0.1, 0.2], samples, WEAK_ORDER["euler"], paired=paired)
        assert abs(value - 0.5) < 3 * sem < 0.03


@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_the_fit_separates_the_step_from_the_width(scheme):
    """Var θ_i of coupled particles, (1 − 1/N) v(r) + v(s)/N with rates r of deviations and s of the mean."""
    tau, rate, mean_rate, order = 0.3, 2.0, 1.0, WEAK_ORDER[scheme]
    table = [(n, step) for n in (1e3, 4e3, 1.6e4) for step in (0.005, 0.01, 0.02)]
    samples = []
    for n, step in table:
        within, mean = (stationary_variance(scheme, r, tau, step) for r in (rate, mean_rate))
        samples.append((1 - 1 / n) * within + mean / n + 1e-9 * np.array([1.0, -1.0]))
    found = fit_step_bias(*zip(*table, strict=True), samples, order)
    # v = τ/r (1 + rh/2 + …) for Euler's scheme, τ/r (1 − r²h²/4 + …) for Heun's
    coefficient = tau / 2 if scheme == "euler" else -tau * rate / 4
    assert_allclose(found.value, tau / rate, rtol=2e-4)
    assert_allclose(found.per_width, tau / mean_rate - tau / rate, rtol=0.02)
    assert_allclose(found.per_step, coefficient, rtol=0.05)
    assert_allclose(found.bias(0.01)[0], stationary_variance(scheme, rate, tau, 0.01) - tau / rate, rtol=0.05)
    raw = np.mean(samples[0]) - tau / rate
    assert abs(found.value - tau / rate) < 0.1 * abs(raw)


def test_errors_of_the_fit_are_standard_and_its_residuals_chi_square(rng):
    table = [(n, step) for n in (16, 64, 256) for step in (0.05, 0.1)]
    truth, scores, squares = np.array([0.5, 3.0, 2.0]), [], []
    for _ in range(300):
        samples = [truth @ [1, 1 / n, h * h] + rng.normal(size=200) / np.sqrt(n) for n, h in table]
        found = fit_step_bias(*zip(*table, strict=True), samples, 2)
        scores.append((np.array([found.value, found.per_width, found.per_step]) - truth) / found.sems)
        squares.append(found.chi_square)
        assert_allclose(found.bias(0.1)[1], 0.01 * found.sems[2], rtol=1e-12)
    assert_allclose(np.std(scores, axis=0), 1.0, atol=0.13)
    assert np.all(np.abs(np.mean(scores, axis=0)) < 3.5 / np.sqrt(300))
    assert found.freedom == 3
    assert_allclose(np.mean(squares), 3.0, atol=3.5 * np.sqrt(6 / 300))
    # a model without the term of the step is told by its residuals
    bent = [truth @ [1, 1 / n, 0] + 50.0 * h + rng.normal(size=200) / np.sqrt(n) for n, h in [*table, (256, 0.2)]]
    assert fit_step_bias(*zip(*table, (256, 0.2), strict=True), bent, 2).chi_square > 100.0
    three = fit_step_bias([16, 64, 64], [0.1, 0.1, 0.05], bent[:3], 2)
    assert three.chi_square is None and three.freedom == 0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: chaos.rates_over_time([8, 16], [np.ones((2, 4))] * 2, [0.0]), "samples"),
        (lambda: chaos.rates_over_time([8, 8], [np.ones((1, 4))] * 2, [0.0]), r"particles\.widths"),
        (lambda: chaos.uniformity([8, 16], [np.ones((1, 4))], [0.0]), r"particles\.widths"),
        (lambda: chaos.uniformity([], [], [0.0]), r"particles\.widths"),
        (lambda: chaos.uniformity([8], [np.ones((1, 1))], [0.0]), r"particles\.replicas"),
        (lambda: chaos.stationary_average(np.ones((2, 3)), [0.0, 1.0], 2.0), "after"),
        (lambda: chaos.needed_replicas([8], [[1.0, 2.0]]), r"particles\.widths"),
        (lambda: chaos.needed_replicas([8, 16], [[1.0, 1.0], [1.0, 2.0]]), r"particles\.widths"),
        (lambda: chaos.needed_replicas([8, 16], [[1.0], [1.0]]), r"particles\.replicas"),
        (lambda: chaos.iid_gain([np.ones((1, 3))], [np.ones((1, 4))]), "samples"),
        (lambda: chaos.one_particle_gaussian(np.ones((5, 3, 2)), 0.0, 1.0), "theta"),
        (lambda: extrapolate_in_step([0.1, 0.1], [[1.0, 2.0]] * 2, 1), r"particles\.step"),
        (lambda: extrapolate_in_step([0.1, 0.2, 0.1], [[1.0, 2.0]] * 3, 1), r"particles\.step"),
        (lambda: extrapolate_in_step([0.1, 0.2], [[1.0], [2.0]], 1), r"particles\.replicas"),
        (lambda: fit_step_bias([8, 16, 32], [0.1, 0.1, 0.1], [[1.0, 2.0]] * 3, 1), r"particles\.step"),
        (lambda: fit_step_bias([8, 16], [0.1, 0.2], [[1.0, 2.0]] * 2, 1), r"particles\.step"),
        # 1/N and dt in proportion: nothing tells them apart
        (lambda: fit_step_bias([8, 16, 32], [0.4, 0.2, 0.1], [[1.0, 2.0]] * 3, 1), r"particles\.step"),
        (lambda: fit_step_bias([8, 16, 32], [0.4, 0.2, 0.2], [[1.0]] * 3, 1), r"particles\.replicas"),
        (lambda: fit_step_bias([8, 16, 32], [0.4, 0.2], [[1.0, 2.0]] * 3, 1), r"particles\.widths"),
    ],
)
def test_unusable_input_is_refused_by_name(call, word):
    with pytest.raises(ConfigError, match=word):
        call()


def test_replicas_without_spread_have_no_weight():
    with pytest.raises(NumericalError, match="replicas"):
        fit_step_bias([8, 16, 32], [0.4, 0.2, 0.2], [[1.0, 1.0], [1.0, 2.0], [1.0, 2.0]], 1)
