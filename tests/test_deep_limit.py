"""The infinite-width limit: against the two-layer particles, exact linear networks, the reference table, and itself."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from naive_deep import particles, toy
from numpy.testing import assert_allclose, assert_array_equal

from mfpde.core import interaction
from mfpde.core.activations import CODES
from mfpde.errors import ConfigError, NumericalError
from mfpde.theory.deep.limit import DeepLimit, run, snapshots
from mfpde.theory.deep.linear import LinearLimit, exact_flow, exact_single
from mfpde.theory.deep.problem import DeepProblem, Multipliers, data_order, one_hot, prepare_inputs
from mfpde.theory.deep.space import LimitSettings, SampledSpace
from mfpde.theory.deep.trajectory import Summary, collect, summarise

# by another program with 2 to 48 times the samples: loss at the times, f_5 of four points, lambda_min of Phi^l at
# t = 30 (eta = 2, tanh, eight points)
TIMES = (1, 2, 5, 10, 20, 30)
REFERENCE = {
    1: ([0.282625, 0.150490, 0.020416, 0.006936, 0.001483, 0.000369], [0.91727, 0.77775, 0.95578, 0.78449], [0.0336]),
    2: (
        [0.30431, 0.14145, 0.006669, 0.002589, 0.000598, 0.000155],
        [0.98604, 0.90281, 1.00883, 0.89684],
        [0.0321, 0.0178],
    ),
    3: (
        [0.31968, 0.12469, 0.002766, 0.001286, 0.000437, 0.000160],
        [0.99338, 0.94094, 1.01638, 0.93871],
        [0.0310, 0.0194, 0.0096],
    ),
}


def problem(depth: int, **changes: object) -> DeepProblem:
    x, y = toy()
    return DeepProblem(**({"inputs": x, "targets": y, "depth": depth, "rate": 2.0, "steps": 30} | changes))


@cache
def reference_runs(depth: int) -> Summary:
    settings = LimitSettings(samples=4096)
    return summarise([run(problem(depth), settings, replicate) for replicate in range(4)])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_table_of_reference_values(depth: int) -> None:
    found, (loss, f, lowest) = reference_runs(depth).mean, REFERENCE[depth]
    assert_allclose(found.loss[5], loss[2], rtol=0.02 if depth == 1 else 0.04)
    assert_allclose(found.loss[list(TIMES)], loss, rtol=0.04)
    assert_allclose(found.f[5, :4, 0], f, atol=5e-3)
    assert_allclose(np.linalg.eigvalsh(found.phi[-1])[:, 0], lowest, rtol=0.05)
    assert np.all(np.linalg.eigvalsh(found.phi)[..., 0] >= 5e-3)
    assert np.all(np.linalg.eigvalsh(found.pre)[..., 0] >= 5e-3)


def test_kernels_of_the_reference() -> None:
    """Phi^l_30, G^l_30[0, 0] and ranks of the same program."""
    two, three = reference_runs(2).mean, reference_runs(3).mean
    assert_allclose(two.phi[-1, :, 0, 0], [0.4452, 0.4055], atol=2e-3)
    assert_allclose(three.phi[-1, :, 0, 1], [0.1485, 0.2163, 0.3445], atol=2e-3)
    assert_allclose(two.back[-1, :, 0, 0], [0.7281, 0.7894], atol=0.03)
    assert_allclose(three.back[-1, :, 0, 0], [0.3889, 0.4688, 0.5540], atol=0.02)
    assert_allclose(two.rank[-1, 0], [81, 110], rtol=0.06)
    assert two.dropped.max() <= 1e-3


def test_predictions_start_at_zero_and_errors_are_reported() -> None:
    summary = reference_runs(3)
    assert np.abs(summary.mean.f[0]).max() < 1e-12
    assert 0.0 < summary.sem.f[5:].max() < 4e-3
    assert summary.replicates == 4
    alone = summarise([run(problem(1, steps=1), LimitSettings(samples=64))])
    assert np.isnan(alone.sem.f).all()


def test_one_layer_is_the_particle_system() -> None:
    """Step by step: the same draws in a loop over single neurons."""
    settings = LimitSettings(samples=32)
    case = problem(1, steps=4, activation="erf")
    state = DeepLimit(case, settings).state()
    w, v = state["parameter/first"], state["parameter/readout"][:, 0]
    expected = particles(w, v, case.coordinates, case.targets[:, 0], case.rate, 4, "erf")
    assert_allclose(run(case, settings).f[..., 0], expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("richness", [1.0, 0.5])
def test_one_layer_is_the_mean_field_gradient_descent_of_the_package(richness: float) -> None:
    """The interaction kernels with output scale 1/gamma and the time step eta gamma^2 take the same path."""
    settings = LimitSettings(samples=256)
    case = problem(1, steps=6, richness=richness)
    limit = DeepLimit(case, settings)
    state = limit.state()
    none, code, x = np.zeros(1), CODES["tanh"], np.ascontiguousarray(case.coordinates)
    theta = np.concatenate([state["parameter/readout"].T, state["parameter/first"].T, np.zeros((1, 256))])
    scale, step, f, gradient = 1.0 / richness, case.rate * richness**2, np.empty(8), np.empty_like(theta)
    for seen in snapshots(limit):
        interaction.predict(code, none, theta, np.full(256, 1.0 / 256), x, f)
        assert_allclose(seen.f[:, 0], scale * f, rtol=0.0, atol=1e-12)
        residual = scale * (scale * f - case.targets[:, 0]) / case.samples
        interaction.pullback(code, none, theta, x, residual, gradient)
        theta[:-1] -= step * gradient[:-1]


def test_one_linear_neuron_in_closed_form() -> None:
    case = DeepProblem(np.ones((1, 1)), np.array([1.7]), depth=1, activation="identity", rate=0.1, steps=60)
    law, found = exact_single(60, 0.1, 1.7), collect(snapshots(LinearLimit(case)))
    assert_allclose(found.f[:, 0, 0], law.f, rtol=0.0, atol=1e-12)
    assert_allclose(found.phi[:, 0, 0, 0], law.kernel, rtol=0.0, atol=1e-12)


def test_descent_approaches_the_flow_at_first_order() -> None:
    errors = []
    for rate in (0.1, 0.05, 0.025, 0.0125):
        law = exact_single(round(6.0 / rate), rate, 1.7)
        flow = [exact_flow(rate * t, 1.7) for t in range(len(law.f))]
        errors.append(np.abs(law.f - flow).max())
    assert_allclose(errors, [6.5e-2, 3.1e-2, 1.55e-2, 7.7e-3], rtol=0.02)
    ratios = np.array(errors[:-1]) / errors[1:]
    assert np.all((ratios > 1.9) & (ratios < 2.15)) and ratios[-1] < 2.1


@pytest.mark.parametrize(("depth", "rate"), [(2, 0.5), (3, 0.2), (4, 0.1)])
def test_linear_networks_are_exact_under_full_matching(depth: int, rate: float) -> None:
    x, y = toy(4, 8)
    case = DeepProblem(x, y, depth=depth, activation="identity", rate=rate, steps=20)
    exact = collect(snapshots(LinearLimit(case)))
    sampled = run(case, LimitSettings(samples=600, tolerance=1e-9, sampler="normal"))
    assert_allclose(sampled.f, exact.f, rtol=0.0, atol=1e-11)
    assert_allclose(sampled.back, exact.back, rtol=0.0, atol=1e-10)
    assert exact.rank[-1].max() <= 4 + 21 * depth
    assert exact.loss[-1] < 0.2 * exact.loss[0]


def test_linear_networks_with_everything_are_exact_under_full_matching() -> None:
    """Biases, momentum, mini-batches, several outputs, rates: the sampled limit and the exact one."""
    x, y = toy(4, 8)
    case = DeepProblem(
        x,
        np.stack([y, 0.5 * y[::-1] + 0.2], axis=1),
        depth=3,
        activation="identity",
        rate=0.2,
        steps=12,
        richness=0.7,
        multipliers=Multipliers(0.5, 1.5, 0.8, 0.3),
        momentum=0.5,
        bias=True,
        bias_std=0.4,
        order=data_order(4, 3, 12, 1),
    )
    exact = collect(snapshots(LinearLimit(case)))
    sampled = run(case, LimitSettings(samples=600, tolerance=1e-9, sampler="normal"))
    # without matching means the drawn biases are neither orthogonal nor of norm one
    assert_allclose(sampled.f, exact.f, rtol=0.0, atol=1e-11)
    assert_allclose(sampled.phi, exact.phi, rtol=0.0, atol=1e-10)


def test_truncation_changes_little() -> None:
    """Common random numbers, tolerance 1e-3 against 1e-6."""
    case = problem(2)
    coarse, fine = (run(case, LimitSettings(samples=2048, tolerance=tol)) for tol in (1e-3, 1e-6))
    assert np.abs(coarse.f - fine.f).max() < 5e-4
    assert np.all(coarse.rank[-1] < fine.rank[-1])


def test_ranks_stop_growing_when_the_slope_of_the_loss_fades() -> None:
    """Several outputs: backward queries carry dloss/df, and a relative rule would resolve them for ever."""
    x, y = toy(4, 10)
    case = DeepProblem(x, np.stack([y, -0.5 * y], axis=1), depth=2, rate=1.5, steps=60)
    found = run(case, LimitSettings(samples=1024, tolerance=1e-2), every=20)
    assert found.loss[-1] < 1e-5 * found.loss[0]
    assert found.rank[-1, 0, 1] <= found.rank[1, 0, 1] + 2
    alone = run(replace(case, targets=y), LimitSettings(samples=1024, tolerance=1e-2), every=20)
    assert alone.rank[-1, 0, 1] > found.rank[-1, 0, 1]


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("batch", [None, 2])
def test_a_restored_limit_continues_to_the_same_bits(batch: int | None, outputs: int) -> None:
    x, y = toy()
    targets = y if outputs == 1 else one_hot(y > 0.0, 2)
    order = None if batch is None else data_order(8, batch, 8, 3)
    case = DeepProblem(x, targets, 3, "tanh", rate=1.0, steps=8, momentum=0.3, bias=True, bias_std=0.1, order=order)
    settings = LimitSettings(samples=512, tolerance=1e-2)
    whole = list(snapshots(DeepLimit(case, settings, 2)))
    first = DeepLimit(case, settings, 2)
    for _ in range(3):
        first.advance()
    state = {name: np.array(values) for name, values in first.state().items()}
    first.predict(2.0 * x)
    second = DeepLimit.restore(case, settings, 2, state)
    for limit in (first, second):
        for seen, expected in zip(snapshots(limit), whole[3:], strict=True):
            for name, value in vars(expected).items():
                assert_array_equal(getattr(seen, name), value, err_msg=name)


def test_a_restored_linear_limit_continues_to_the_same_bits() -> None:
    x, y = toy(4, 8)
    case = DeepProblem(x, y, depth=2, activation="identity", rate=0.3, steps=6)
    whole, first = list(snapshots(LinearLimit(case))), LinearLimit(case)
    first.advance()
    for seen, expected in zip(snapshots(LinearLimit.restore(case, first.state())), whole[1:], strict=True):
        assert_array_equal(seen.f, expected.f)


def test_recording_does_not_change_the_run() -> None:
    x, y = toy()
    case = DeepProblem(x, y, 2, "tanh", rate=1.0, steps=8, order=data_order(8, 2, 8, 3))
    settings = LimitSettings(samples=256)
    every, some = (run(case, settings, every=k) for k in (1, 4))
    assert_array_equal(some.times, [0, 4, 8])
    assert_array_equal(some.f, every.f[::4])
    assert_array_equal(some.coefficients, every.coefficients[::4])
    assert np.count_nonzero(every.coefficients[0]) == 2 and not every.coefficients[-1].any()


@pytest.mark.parametrize("depth", [1, 3])
def test_prediction_at_training_points_is_the_prediction(depth: int) -> None:
    case = problem(depth, steps=5)
    limit = DeepLimit(case, LimitSettings(samples=512, tolerance=1e-8))
    for _ in range(4):
        limit.advance()
    predicted, here = limit.predict(case.inputs), limit.advance()
    assert here is not None
    assert_allclose(predicted, here.f, rtol=0.0, atol=1e-7)


def test_more_points_than_probes() -> None:
    """Second moments are told for 256 points, predictions for all; one layer under mini-batches, written out."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((260, 3)), rng.standard_normal(260)
    settings = LimitSettings(samples=512)
    case = DeepProblem(x, y, 1, rate=0.5, steps=2, order=np.array([[0, 259], [7, 8]]))
    state, found = DeepLimit(case, settings).state(), run(case, settings)
    w, v, points = state["parameter/first"], state["parameter/readout"][:, 0], case.coordinates
    for t in range(3):
        hidden = np.tanh(w @ points.T)
        f = v @ hidden / 512.0
        assert_allclose(found.f[t, :, 0], f, rtol=0.0, atol=1e-12)
        if t < 2:
            batch = case.order[t]
            c = 0.25 * (f - y)[batch]
            slopes = (1.0 - hidden[:, batch] ** 2) * v[:, None] * c
            v, w = v - hidden[:, batch] @ c, w - slopes @ points[batch]
    assert found.phi.shape == (3, 1, 256, 256)
    full = run(replace(case, order=None), settings, every=2)
    assert full.f.shape == (2, 260, 1) and full.back.shape == (2, 1, 256, 256)


def test_prediction_at_new_inputs_tends_to_that_of_the_particles() -> None:
    """L = 1: a new input across the training span sees weights that were never trained."""
    x, y = toy(4, 8)
    case = DeepProblem(x, y, depth=1, rate=2.0, steps=5)
    new = np.random.default_rng(1).standard_normal((70, 8))
    limits = [DeepLimit(case, LimitSettings(samples=8192), replicate) for replicate in range(4)]
    for limit in limits:
        for _ in snapshots(limit):
            pass
    found = np.mean([limit.predict(new)[:, 0] for limit in limits], axis=0)
    rng = np.random.default_rng(7)
    w, v = rng.standard_normal((400_000, 8)), rng.standard_normal(400_000)
    inputs = x / np.sqrt(8.0)
    for _ in range(5):
        h = np.tanh(w @ inputs.T)
        c = 2.0 / 4.0 * (v @ h / len(v) - y)
        v, w = v - h @ c, w - ((1.0 - h**2) * v[:, None] * c) @ inputs
    expected = v @ np.tanh(w @ new.T / np.sqrt(8.0)) / len(v)
    assert_allclose(found, expected, atol=0.01)


def test_time_step_is_first_order() -> None:
    """eta T = 20 for one layer: another program saw |f| change on halving eta by 2.5e-3, 1.4e-3, 7.2e-4."""
    ends = []
    for rate in (2.0, 1.0, 0.5, 0.25):
        case = problem(1, rate=rate, steps=round(20.0 / rate))
        ends.append(run(case, LimitSettings(samples=8192), every=1000).f[-1])
    changes = [np.sqrt(np.mean((b - a) ** 2)) for a, b in pairwise(ends)]
    assert np.all((np.divide(changes[:-1], changes[1:]) > 1.6) & (np.divide(changes[:-1], changes[1:]) < 2.2))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"depth": 0}, "network.depth"),
        ({"activation": "swish"}, "network.activation"),
        ({"activation": "hermite"}, "network.hermite"),
        ({"bias_std": 0.1}, "network.bias_std"),
        ({"loss": "hinge"}, "training.loss"),
        ({"rate": -1.0}, "training.rate"),
        ({"rate": np.inf}, "training.rate"),
        ({"richness": 0.0}, "training.richness"),
        ({"steps": 0}, "training.steps"),
        ({"momentum": 1.0}, "training.momentum"),
        ({"multipliers": Multipliers(hidden=-1.0)}, "training.multipliers"),
        ({"order": np.array([[9]])}, "training.batch"),
        ({"targets": np.zeros(3)}, "data.inputs"),
        ({"inputs": np.full((8, 2), np.nan)}, "data.inputs"),
        ({"inputs": np.zeros((8, 2))}, "data.inputs"),
        ({"loss": "cross-entropy", "targets": np.full((8, 3), 0.5)}, "data.targets"),
    ],
)
def test_wrong_problems_are_named(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        problem(**({"depth": 2} | changes))
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"samples": 1}, "limit.samples"),
        ({"samples": 1000}, "limit.samples"),
        ({"tolerance": 0.0}, "limit.tolerance"),
        ({"sampler": "halton"}, "limit.sampler"),
        ({"matching": "half"}, "limit.matching"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LimitSettings(**changes)
    assert caught.value.key == key


def test_other_mistakes_are_named() -> None:
    x, _ = toy()
    with pytest.raises(ConfigError, match="identity"):
        LinearLimit(problem(2))
    with pytest.raises(ConfigError, match=r"training\.batch"):
        data_order(8, 9, 4, 0)
    with pytest.raises(ConfigError, match="classes 0 to 2"):
        one_hot([0, 3], 3)
    with pytest.raises(ConfigError, match="row 1"):
        prepare_inputs([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    limit = DeepLimit(problem(1, steps=1), LimitSettings(samples=64))
    with pytest.raises(ConfigError, match=r"\[Q, 10\]"):
        limit.predict(x[:, :3])
    list(snapshots(limit))
    with pytest.raises(ConfigError, match="have been taken"):
        limit.advance()
    with pytest.raises(NumericalError, match="columns on 32 samples"):
        run(problem(3), LimitSettings(samples=32, sampler="normal"))


def test_a_diverging_run_stops() -> None:
    case = problem(1, activation="identity", rate=50.0, steps=400)
    with np.errstate(all="ignore"), pytest.raises(NumericalError, match="are not finite"):
        run(case, LimitSettings(samples=64))


def test_inputs_are_prepared_and_batches_dealt() -> None:
    x = np.random.default_rng(0).standard_normal((20, 5)) + 3.0
    ready = prepare_inputs(x)
    assert_allclose(np.linalg.norm(ready, axis=1), np.sqrt(5.0))
    assert_allclose(prepare_inputs(x[:3], reference=x), ready[:3])
    order = data_order(6, 4, 9, 11)
    assert order.shape == (9, 4)
    assert_array_equal(np.sort(order.ravel()[:36].reshape(6, 6), axis=1), np.tile(np.arange(6), (6, 1)))


def test_matching_of_columns(rng: np.random.Generator) -> None:
    """Gaussian columns orthonormal with mean zero; under "full" orthogonal to the features before them as well."""
    features = np.linalg.qr(rng.standard_normal((128, 5)))[0] * np.sqrt(128.0)
    for matching in ("none", "gauss", "full"):
        space = SampledSpace(LimitSettings(samples=128, matching=matching), 1, 0, 20)
        first = space.fresh(3)
        space.absorb(features)
        columns = np.concatenate([first, space.fresh(4)], axis=1)
        moments, means, across = columns.T @ columns / 128.0, columns.mean(axis=0), features.T @ columns[:, 3:] / 128.0
        assert (np.abs(moments - np.eye(7)).max() < 1e-13) == (matching != "none")
        assert (np.abs(means).max() < 1e-13) == (matching != "none")
        assert (np.abs(across).max() < 1e-13) == (matching == "full")
        assert space.columns == 12


def test_matching_lowers_the_noise() -> None:
    """L = 2, S = 1024; another program: sd sqrt(S) of f from .476 (none) through .185 (gauss) to .12 (Sobol, full)."""
    case = problem(2, steps=8)
    spread = {}
    for name, sampler, matching in (
        ("none", "normal", "none"),
        ("gauss", "normal", "gauss"),
        ("best", "sobol", "full"),
    ):
        settings = LimitSettings(samples=1024, sampler=sampler, matching=matching)
        f = np.array([run(case, settings, replicate).f[1:] for replicate in range(8)])
        spread[name] = float(np.sqrt(f.var(axis=0, ddof=1).mean() * 1024))
    assert 0.3 < spread["none"] < 0.7
    assert spread["gauss"] < 0.6 * spread["none"]
    assert spread["best"] < 0.9 * spread["gauss"]
