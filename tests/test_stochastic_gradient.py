"""Stochastic gradient descent: the fused step against its formula, its noise, its samples, its clock, its limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mfpde import datalaws, ensemble
from mfpde.core import noise, stochastic_gradient
from mfpde.core.activations import CODES
from mfpde.core.stochastic_gradient import Descent, advance
from mfpde.ensemble import EnsembleSettings
from mfpde.errors import ConfigError
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.io import config as configs
from mfpde.io.build import build
from mfpde.io.particles import settings_of
from mfpde.problem import Network, Population, Problem, TwoGaussians, network_coordinates
from mfpde.steppers import forces, particles, sampling
from mfpde.steppers.schedule import CONSTANT, Schedule

SERIES = np.array([0.3, -1.0, 0.5, 0.25])
NORMAL, ZERO = GroupLaw("normal"), GroupLaw("point", 0.0)
POWER = Schedule(-0.25, 1e-3)


def one_step(
    name: str, theta: np.ndarray, x: np.ndarray, y: np.ndarray, size: float, d: Descent, normal: np.ndarray
) -> np.ndarray:
    """theta [d + 2, N] after a step on x [B, d], y [B]; ``normal`` [moving rows, N]."""
    z = naive.preactivations(theta, x)
    value, slope = naive.activation(name, z, SERIES), naive.activation_slope(name, z, SERIES)
    f = d.scale * theta[0] @ value / theta.shape[1]
    r = d.scale * ((1.0 / (1.0 + np.exp(-f)) if d.logistic else f) - y) / len(y)
    back = theta[0][:, None] * slope * r
    gradient = np.concatenate([(value @ r)[None], (back @ x).T, back.sum(axis=1)[None]])
    new, groups = theta.copy(), [0, *[1] * (len(theta) - 2), 2]
    moving = [row for row, group in enumerate(groups) if d.rate[group] > 0.0]
    for m, row in enumerate(moving):
        group = groups[row]
        pull = gradient[row] + d.decay[group] * theta[row]
        new[row] += -size * d.rate[group] * pull + np.sqrt(size) * d.sigma[group] * normal[m]
    return new


def setting(d: int, width: int, steps: int, batch: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(d + 2, width))
    return theta, rng.normal(size=(steps, batch, d)), rng.random((steps, batch)), 0.3 * rng.random(steps)


@pytest.mark.parametrize("logistic", [False, True])
@pytest.mark.parametrize("rates", [(0.0, 1.0, 0.0), (1.0, 0.7, 0.3), (0.0, 0.0, 1.0), (1.0, 0.0, 0.5)])
@pytest.mark.parametrize("temperature", [0.0, 0.1])
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_the_fused_steps_are_the_formula(
    batch: int, temperature: float, rates: tuple[float, ...], logistic: bool
) -> None:
    """Any group moving or resting, decay and noise of each, both losses, whole and broken blocks."""
    rate = np.array(rates)
    descent = Descent(1.3, logistic, rate, np.array([0.1, 0.2, 0.3]), np.sqrt(2.0 * temperature * rate))
    theta, x, y, sizes = setting(5, 37, 11, batch)
    rows = int(rate[0] > 0.0) + 5 * int(rate[1] > 0.0) + int(rate[2] > 0.0)
    expected, found = theta, theta.copy()
    for k in range(11):
        normal = np.empty((rows, 37))
        noise.normals(7, noise.BROWNIAN, 3, 20 + k, normal)
        expected = one_step("erf", expected, x[k], y[k], sizes[k], descent, normal)
    advance(CODES["erf"], SERIES, found, x, y, sizes, descent, 7, 3, 20)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["relu", "tanh", "hermite", "quadratic"])
def test_other_activations_step_alike(name: str) -> None:
    """Unbounded ones among them; one vector of neurons and several, with neurons missing in the last."""
    still = np.zeros(3)
    descent = Descent(0.5, False, np.array([0.5, 1.0, 1.0]), still, still)
    for width in (1, 32, 70):
        theta, x, y, sizes = setting(3, width, 9, 1, seed=width)
        theta *= 0.3
        expected, found = theta, theta.copy()
        for k in range(9):
            expected = one_step(name, expected, x[k], y[k], sizes[k], descent, np.zeros((5, width)))
        advance(CODES[name], SERIES, found, x, y, sizes, descent)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.integers(1, 4), st.booleans())
def test_a_run_cut_after_whole_blocks_has_the_same_bits(blocks: int, batch: int, noisy: bool) -> None:
    theta, x, y, sizes = setting(4, 40, 21, batch)
    rate = np.array([1.0, 1.0, 0.0])
    descent = Descent(1.0, False, rate, 0.1 * rate, (0.2 if noisy else 0.0) * rate)
    whole, cut, at = theta.copy(), theta.copy(), 4 * blocks
    advance(CODES["relu"], SERIES, whole, x, y, sizes, descent, 5, 1, 100)
    for part, first in ((slice(0, at), 100), (slice(at, None), 100 + at)):
        advance(CODES["relu"], SERIES, cut, x[part], y[part], sizes[part], descent, 5, 1, first)
    assert np.array_equal(whole, cut)


@pytest.mark.parametrize(("components", "count"), [(5, 1), (6, 31), (1, 64)])
def test_numbers_drawn_by_step_are_those_drawn_step_by_step(components: int, count: int) -> None:
    draws = ((noise.normals_by_step, noise.normals), (noise.uniforms_by_step, noise.uniforms))
    for together, alone in draws:
        many = np.empty((components, 3, count))
        together(9, noise.DATA, 2, 100, many)
        for k in (0, count - 1):
            one = np.empty((components, 3))
            alone(9, noise.DATA, 2, 100 + k, one)
            assert np.array_equal(one, many[:, :, k])


def network(data: Any, activation: str, train: str, temperature: float = 0.0, decay: float = 0.0) -> Problem:
    rates = {"a": 0.5, "w": 1.0, "b": 2.0}
    coordinates = network_coordinates(data.blocks, tuple(train), "b" in train, dict.fromkeys("awb", decay), rates)
    return Problem(Network(activation, scale=1.5), data, "square", temperature, coordinates)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("law", ["population", "nodes"])
def test_fused_and_general_steps_agree(law: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums over samples of core.interaction with Euler's scheme, copies and a power schedule beside them."""
    data = datalaws.gaussian(Population(3, "tanh", gain=1.0, noise=0.1))
    if law == "nodes":
        rng = np.random.default_rng(0)
        data = datalaws.nodes(rng.normal(size=(9, 3)), rng.normal(size=9), rng.random(9) + 0.1)
    problem = network(data, "tanh", "awb", 0.05, 0.1)
    start = InitialLaw(NORMAL, NORMAL, NORMAL, 3)
    run = EnsembleSettings((5, 33), 3, 0.02, dynamics="sgd", batch=batch, nodes=64, seed=4, schedule=POWER)
    found = []
    for largest in (stochastic_gradient.LARGEST_BATCH, 0):
        monkeypatch.setattr(stochastic_gradient, "LARGEST_BATCH", largest)
        prepared = ensemble.prepare(problem, start, run)
        assert prepared.batches is not None and prepared.batches.fused == (largest > 0)
        found.append(list(ensemble.evolve_ensemble(prepared, np.array([0.0, 0.13, 0.5])))[-1])
    for one, two in zip(found[0].records, found[1].records, strict=True):
        np.testing.assert_allclose(one.theta, two.theta, rtol=1e-10, atol=1e-11)


def test_threads_and_restarts_change_no_bit() -> None:
    problem = network(datalaws.gaussian(Population(4, "tanh")), "erf", "w")
    start = InitialLaw(GroupLaw("point", 1.0), NORMAL, ZERO, 4)
    prepared = ensemble.prepare(problem, start, EnsembleSettings((8, 50), 5, 0.003, dynamics="sgd", batch=1))
    times = np.array([0.0, 0.1, 0.25])
    one, other = (list(ensemble.evolve_ensemble(prepared, times, threads=threads)) for threads in (1, 3))
    resumed = list(ensemble.evolve_ensemble(prepared, times, one[1].state))[-1]
    for k in range(2):
        for run in (other[-1], resumed):
            assert np.array_equal(one[-1].records[k].theta, run.records[k].theta)
    assert one[-1].state.step == 34 + 50


def test_ridge_alone_has_the_stationary_variance_of_the_limit() -> None:
    """lambda = tau/D = 1: variance tau/lambda = 1; noise of half the variance, as printed, would give 1/2.

    Euler's scheme shows 1/(1 - h/2) for a step h.
    """
    data = datalaws.nodes(np.ones((1, 3)), np.zeros(1))
    problem = network(data, "erf", "w", temperature=1.0, decay=1.0)
    start, step = InitialLaw(ZERO, NORMAL, ZERO, 3), 0.02
    prepared = ensemble.prepare(problem, start, EnsembleSettings((4000,), 2, step, dynamics="sgd", batch=1))
    last = list(ensemble.evolve_ensemble(prepared, np.array([0.0, 6.0])))[-1]
    w = last.records[0].theta[..., 1:4]
    assert np.mean(w**2) == pytest.approx(1.0 / (1.0 - 0.5 * step), abs=4.0 * np.sqrt(2.0 / w.size))


def test_noisy_sgd_of_linear_neurons_rests_at_the_gibbs_law() -> None:
    """f = <mean w, x>, y = x_0: mean e_0/(1 + lambda), variance tau/lambda, whatever N."""
    data = datalaws.gaussian(Population(2, "hermite", (0.0, 1.0)))
    rates = dict.fromkeys("awb", 1.0)
    coordinates = network_coordinates(data.blocks, ("w",), False, dict.fromkeys("awb", 0.5), rates)
    problem = Problem(Network("identity"), data, "square", 0.2, coordinates)
    start, step = InitialLaw(GroupLaw("point", 1.0), NORMAL, ZERO, 2), 0.01
    prepared = ensemble.prepare(problem, start, EnsembleSettings((500,), 12, step, dynamics="sgd", batch=1))
    w = list(ensemble.evolve_ensemble(prepared, np.array([0.0, 12.0])))[-1].records[0].theta[..., 1:]
    means = w.mean(axis=1)
    reach = 4.0 * means.std(axis=0, ddof=1) / np.sqrt(12.0)
    assert np.all(np.abs(means.mean(axis=0) - [1.0 / 1.5, 0.0]) < reach + 2e-3)
    within = np.mean(w.var(axis=1))
    assert within == pytest.approx(0.2 / 0.5 / (1.0 - 0.25 * step), rel=4.0 * np.sqrt(2.0 / w.size) + 0.01)


def test_samples_of_two_gaussians_have_their_covariances() -> None:
    """Labels of either sign; the first inputs stretched by 1 + y separation, the others not."""
    data = datalaws.two_gaussians(TwoGaussians(3, 2, 0.6), 8)
    problem = Problem(Network("tanh"), data, "square", 0.0, network_coordinates(
        data.blocks, ("w",), False, dict.fromkeys("awb", 0.0), dict.fromkeys("awb", 1.0)
    ))  # fmt: skip
    x, y = sampling.batch_force(problem, 2, None).samples(np.uint64(3), 0, 0, 20_000)
    x, y = x.reshape(-1, 3), y.reshape(-1)
    assert set(np.unique(y)) == {-1.0, 1.0} and abs(y.mean()) < 4.0 / np.sqrt(len(y))
    for label, variances in ((1.0, [2.56, 2.56, 1.0]), (-1.0, [0.16, 0.16, 1.0])):
        mine = x[y == label]
        assert np.mean(mine**2, axis=0) == pytest.approx(variances, rel=4.0 * np.sqrt(2.0 / len(mine)))
        assert np.abs(np.corrcoef(mine.T) - np.eye(3)).max() < 5.0 / np.sqrt(len(mine))
    labels = sampling.batch_force(replace(problem, loss="logistic"), 2, None).samples(np.uint64(3), 0, 0, 4)[1]
    assert set(np.unique(labels)) <= {0.0, 1.0}


def test_data_nodes_are_drawn_with_replacement_by_their_weights() -> None:
    data = datalaws.nodes(np.arange(4.0)[:, None], np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0]))
    problem = network(data, "tanh", "w")
    x, _ = sampling.batch_force(problem, 1, forces.data_nodes(problem)).samples(np.uint64(1), 0, 0, 40_000)
    share = np.bincount(x.astype(int).reshape(-1), minlength=4) / 40_000
    assert share == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=4.0 * 0.5 / np.sqrt(40_000))


@settings(max_examples=60, deadline=None)
@given(st.floats(-1.0, 2.0), st.floats(1e-3, 1.0), st.floats(0.0, 5.0))
@example(-1.0, 1e-3, 4.0)
@example(-0.9999999999999999, 0.5, 1.0)
def test_the_two_clocks_of_a_schedule_are_inverse(power: float, cutoff: float, t: float) -> None:
    """T(t) is twice the integral of xi, and theory_time its inverse."""
    schedule = Schedule(power, cutoff)
    # xi is constant up to the cutoff, and a power from there on: nodes in proportion
    nodes = np.concatenate([[0.0], np.geomspace(min(cutoff, t), t, 4001)]) if t > 0.0 else np.zeros(2)
    middle = schedule.rate(0.5 * (nodes[1:] + nodes[:-1]))
    assert schedule.limit_time(t) == pytest.approx(2.0 * np.sum(middle * np.diff(nodes)), rel=1e-5, abs=1e-300)
    assert schedule.theory_time(schedule.limit_time(t)) == pytest.approx(t, rel=1e-9, abs=1e-12)


def test_steps_fill_the_time_of_the_limit_and_follow_xi() -> None:
    found = POWER.steps(0.5, 2.0, 1e-3)
    assert found.times[0] == 0.5 and found.times[-1] == 2.0 and np.sum(found.sizes) == pytest.approx(1.5, abs=1e-12)
    t = POWER.theory_time(found.times)
    np.testing.assert_allclose(np.diff(t), t[1] - t[0], rtol=1e-9)
    assert t[1] - t[0] <= 0.5e-3
    np.testing.assert_allclose(found.sizes, 2.0 * (t[1] - t[0]) * POWER.rate(0.5 * (t[1:] + t[:-1])), rtol=1e-6)
    plain = CONSTANT.steps(0.5, 2.0, 0.4)
    assert plain.sizes.tolist() == [0.375] * 4 and CONSTANT.count(0.5, 2.0, 0.4) == 4


@pytest.mark.parametrize("schedule", [CONSTANT, POWER, Schedule(0.5, 0.1)])
def test_every_schedule_reaches_the_same_limit(schedule: Schedule) -> None:
    """Linear neurons on noiseless data: E x_0 component of the mean is 1 - exp(-T) in the clock T of the limit."""
    data = datalaws.gaussian(Population(1, "hermite", (0.0, 1.0)))
    rates = dict.fromkeys("awb", 1.0)
    coordinates = network_coordinates(data.blocks, ("w",), False, dict.fromkeys("awb", 0.0), rates)
    problem = Problem(Network("identity"), data, "square", 0.0, coordinates)
    start = InitialLaw(GroupLaw("point", 1.0), ZERO, ZERO, 1)
    run = EnsembleSettings((1,), 200, 4e-3, dynamics="sgd", batch=1, schedule=schedule)
    times = np.array([0.0, 0.4, 1.0])
    for snapshot in ensemble.evolve_ensemble(ensemble.prepare(problem, start, run), times):
        m = snapshot.records[0].theta[:, 0, 1]
        reach = 4.0 * m.std() / np.sqrt(200.0) + 2e-3
        assert m.mean() == pytest.approx(1.0 - np.exp(-snapshot.time), abs=reach)


def test_a_schedule_belongs_to_sgd() -> None:
    problem = network(datalaws.gaussian(Population(1, "tanh")), "erf", "w")
    with pytest.raises(ConfigError, match=r'particles\.schedule belongs to dynamics "sgd"; it is "langevin"'):
        ensemble.prepare(problem, InitialLaw(ZERO, NORMAL, ZERO, 1), EnsembleSettings((4,), 1, 0.1, schedule=POWER))
    power = ['particles.schedule={law="power",exponent=-0.25,cutoff=0.001}']
    with pytest.raises(ConfigError, match=r'particles\.schedule is "power", for dynamics "sgd"; it is "langevin"'):
        configs.load("single-index", power)
    loaded = configs.load("single-index", [*power, 'particles.dynamics="sgd"', "particles.batch=1"])
    assert settings_of(build(loaded.config, loaded.name, loaded.directory)).schedule == POWER
    with pytest.raises(ConfigError, match=r"particles\.schedule\.exponent"):
        configs.load("single-index", ['particles.schedule={law="power",exponent=-2.0}'])


@pytest.mark.slow
def test_a_million_steps_of_one_network_reach_the_radial_limit() -> None:
    """N = 800, eps = 1e-6, t = 1 on two isotropic Gaussians: mean radius 1.42286 and risk 1.0706 (docs/sgd.md)."""
    changes = ["particles.widths=[800]", "particles.replicas=1", "particles.step=2e-6", "training.time=2.0"]
    loaded = configs.load("mei-isotropic", changes)
    study = build(loaded.config, loaded.name, loaded.directory)
    prepared = ensemble.prepare(study.problem, study.law, settings_of(study))
    *_, last = ensemble.evolve_ensemble(prepared, np.array([0.0, 2.0]), threads=1)
    assert last.state.step == 1_000_000
    radius = np.sqrt(np.sum(last.state.theta[800][0, 1:-1] ** 2, axis=0))
    assert abs(radius.mean() - 1.42286) < 4.0 * 0.09 / np.sqrt(800.0)
    assert radius.std() == pytest.approx(0.06867, rel=0.15)
    # the bias of the risk is 10.2/N, its first-order fluctuation far smaller; 4096 nodes measure it to 0.01
    assert abs(2.0 * last.records[0].risk[0] - 1.0706) < 0.04
    assert last.wall[800] < 60.0


def test_rows_that_rest_keep_their_bits() -> None:
    problem = network(datalaws.gaussian(Population(3, "tanh")), "relu", "w")
    start = InitialLaw(NORMAL, NORMAL, ZERO, 3)
    prepared = ensemble.prepare(problem, start, EnsembleSettings((40,), 2, 0.01, dynamics="sgd", batch=1, nodes=64))
    first, last = ensemble.evolve_ensemble(prepared, np.array([0.0, 0.2]))
    assert np.array_equal(first.records[0].theta[..., 0], last.records[0].theta[..., 0])
    assert np.abs(first.records[0].theta[..., 1:] - last.records[0].theta[..., 1:]).min() > 0.0


def test_groups_are_read_off_the_moving_rows() -> None:
    problem = network(datalaws.gaussian(Population(3, "tanh")), "relu", "ab", 0.3, 0.1)
    move = particles.motion(problem, True)
    assert sampling._by_group(move.rows, move.rate, 5).tolist() == [0.5, 0.0, 2.0]
    assert sampling._by_group(move.rows, move.sigma**2, 5) == pytest.approx([0.3, 0.0, 1.2])
