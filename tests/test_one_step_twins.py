"""Finite sizes against the limit: the spiked model drawn at size d, and the actual network after its step."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde.compare.rates import extrapolate_in_width, fit_rate
from mfpde.errors import ConfigError
from mfpde.theory.one_step.curves import agreement, gather
from mfpde.theory.one_step.gradient_step import GradientStep, plain, refined
from mfpde.theory.one_step.model import SpikedFeatures, spiked_layer
from mfpde.theory.one_step.ridge import ridge_readout
from mfpde.theory.one_step.scalar import activation, target
from mfpde.theory.one_step.tables import tabulate
from mfpde.theory.one_step.twins import TwinSettings, network_twin, network_weights, spiked_twin, spiked_weights


def model(student, teacher, bulk, spike, alignment, width=1.0, variance=0.0, rows="sphere", readout=((1.0, 1.0),)):
    layer = spiked_layer(spike, bulk, alignment, rows, readout)
    return SpikedFeatures(activation(student), target(teacher), layer, width, float(np.sqrt(variance)))


def deviations(twins, theory, name="test_error"):
    """(mean - theory) / standard error for every sample ratio, at the first ridge."""
    values = np.array([getattr(twin, name)[:, 0] for twin in twins])
    return (values.mean(axis=0) - theory) / (values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def limit(spiked, ratios, ridge):
    table = tabulate(spiked)
    return np.array([ridge_readout(table, ratio, ridge).test_error for ratio in ratios])


@pytest.mark.slow
def test_set_b_at_d_200():
    spiked = model("tanh", "sin", 1.3, 2.0, 0.7)
    ratios = (0.5, 1.0, 3.0)
    settings = TwinSettings(ratios, (0.01,), test_samples=2000)
    twins = [spiked_twin(spiked, 200, settings, seed) for seed in range(80)]
    readouts = [ridge_readout(tabulate(spiked), ratio, 0.01) for ratio in ratios]
    assert (np.abs(deviations(twins, [r.test_error for r in readouts])) < 3.0).all()
    assert (np.abs(deviations(twins, [r.train_error for r in readouts], "train_error")) < 3.0).all()
    spread = np.std([twin.test_error[:, 0] for twin in twins], axis=0) / np.sqrt(80)
    assert (spread < 0.02 * np.array([r.test_error for r in readouts])).all()


@pytest.mark.slow
def test_two_groups_with_noise_and_gaussian_rows_at_d_200():
    spiked = model("relu", "absolute", 1.2, 1.0, 0.9, 1.2, 0.1, "gaussian", ((1.0, 0.5), (-1.0, 0.5)))
    twins = [spiked_twin(spiked, 200, TwinSettings((0.5, 3.0), (0.05,), test_samples=2000), seed) for seed in range(40)]
    assert (np.abs(deviations(twins, limit(spiked, (0.5, 3.0), 0.05))) < 3.5).all()


def test_a_seed_is_a_pure_function_and_travels_to_a_pool():
    spiked = model("tanh", "sin", 1.3, 2.0, 0.7)
    settings = TwinSettings((0.5, 2.0), (0.01, 0.1), test_samples=100, draws=2)
    one = spiked_twin(spiked, 30, settings, 5)
    again = spiked_twin(*pickle.loads(pickle.dumps((spiked, 30, settings, 5))))
    other = spiked_twin(spiked, 30, settings, 6)
    assert one.test_error.shape == (2, 2)
    for name in ("test_error", "train_error", "test_loss", "train_loss", "wrong_sign", "mean", "weight_norm"):
        assert np.array_equal(getattr(one, name), getattr(again, name)), name
        assert not np.array_equal(getattr(one, name), getattr(other, name)), name
    step = GradientStep(activation("tanh"), target("sin"), 3.0, 2.0)
    net = network_twin(step, 1.0, 30, settings, 5)
    copy = network_twin(*pickle.loads(pickle.dumps((step, 1.0, 30, settings, 5))))
    assert np.array_equal(net.test_error, copy.test_error)
    assert net.layer is not None and net.layer.origin == "measured"


def test_drawn_weights_have_their_law(rng):
    sphere = model("tanh", "sin", 1.44, 2.0, 0.6, 2.0, readout=((1.0, 0.25), (-0.5, 0.75)))
    weights, theta = spiked_weights(sphere, 60, rng)
    assert weights.shape == (120, 60)
    assert_allclose(theta @ theta, 1.0)
    assert theta[0] == 0.6
    spikes = np.repeat([2.0, -1.0], [30, 90])
    bulk = weights - spikes[:, None] * np.eye(60)[0]
    assert_allclose(np.linalg.norm(bulk, axis=1), 1.2)
    loose, _ = spiked_weights(model("tanh", "sin", 1.44, 0.0, 0.6, 2.0, rows="gaussian"), 60, rng)
    assert np.std(np.linalg.norm(loose, axis=1)) == pytest.approx(1.2 / np.sqrt(2 * 60), rel=0.25)


def test_the_step_of_the_network_is_the_gradient_of_its_loss(rng):
    """-p d / dW of mean (y - f)^2 / 2 by differences, on the batch that the seed draws."""
    step = GradientStep(activation("tanh"), target("sin"), 0.7, 3.0, 0.4, readout=((1.0, 0.5), (-2.0, 0.5)))
    before, after, theta, u = network_weights(step, 0.5, 8, np.random.default_rng(4))
    twin = np.random.default_rng(4)
    rows = twin.standard_normal((4, 8)) / np.sqrt(8)
    assert_allclose(before, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    z = twin.standard_normal((24, 8))
    y = np.sin(z @ theta) + 0.4 * twin.standard_normal(24)

    def half_risk(weights):
        return 0.5 * np.mean((y - np.tanh(z @ weights.T) @ u / 4) ** 2)

    gradient = np.empty_like(before)
    for index in np.ndindex(before.shape):
        move = np.zeros_like(before)
        move[index] = 1e-5
        gradient[index] = (half_risk(before + move) - half_risk(before - move)) / 2e-5
    assert_allclose(after - before, -0.7 * 4 * gradient, atol=1e-9)


@pytest.mark.parametrize("size, batch", [(0.0, 2.0), (1.0, 0.0)])
def test_a_network_without_a_step_has_random_features(size, batch):
    step = GradientStep(activation("tanh"), target("sin"), size, batch)
    twins = [network_twin(step, 1.0, 100, TwinSettings((1.0,), (0.1,), test_samples=1000), seed) for seed in range(20)]
    spiked = SpikedFeatures(step.student, step.target, plain(step))
    assert abs(deviations(twins, limit(spiked, (1.0,), 0.1))[0]) < 3.5
    assert_allclose(limit(spiked, (1.0,), 0.1), 0.31227225, atol=1e-8)


def test_gathered_seeds_are_compared_entry_by_entry():
    spiked = model("tanh", "sin", 1.3, 2.0, 0.7)
    settings = TwinSettings((0.5, 2.0), (0.01, 0.1), test_samples=200)
    twins = [spiked_twin(spiked, 40, settings, seed) for seed in range(5)]
    readouts = [ridge_readout(tabulate(spiked), ratio, 0.1) for ratio in (0.5, 2.0)]
    curve = gather(readouts)
    assert_allclose(curve.test_error, [r.test_error for r in readouts])
    assert curve.mean.shape == (2, 1)
    assert_allclose(curve.sample_ratios, [0.5, 2.0])
    found = agreement(curve.test_error[:, None], twins)
    drawn = np.array([twin.test_error[1, 0] for twin in twins])
    assert_allclose(found.mean[1, 0], drawn.mean())
    assert_allclose(found.z[1, 0], (drawn.mean() - readouts[1].test_error) / (drawn.std(ddof=1) / np.sqrt(5)))
    assert_allclose(found.relative[1, 0], drawn.mean() / readouts[1].test_error - 1)
    with pytest.raises(ConfigError, match="seeds gives 1"):
        agreement(0.1, twins[:1])


@pytest.mark.slow
def test_spherical_and_gaussian_rows_are_told_apart():
    """Set F, d = 800, 24 seeds each: 2.5 standard errors from its own theory, more than 4 from the other's."""
    found = {}
    for rows in ("sphere", "gaussian"):
        spiked = model("relu", "identity", 1.0, 0.5, 1.0, 2.0, rows=rows)
        twins = [spiked_twin(spiked, 800, TwinSettings((3.0,), (0.1,), test_samples=5000), seed) for seed in range(24)]
        found[rows] = (twins, limit(spiked, (3.0,), 0.1))
    for own, other in (("sphere", "gaussian"), ("gaussian", "sphere")):
        assert abs(deviations(found[own][0], found[own][1])[0]) < 2.5
        assert abs(deviations(found[own][0], found[other][1])[0]) > 4.0


@pytest.mark.slow
@pytest.mark.parametrize("batch, draws", [(20.0, 2), (0.5, 1)])
def test_the_refined_map_is_that_of_the_actual_network(batch, draws):
    """tanh, sin, step 3, d = 800, 30 networks at n = 3 d: the plain map is excluded, the refined one is not."""
    step = GradientStep(activation("tanh"), target("sin"), 3.0, batch)
    settings = TwinSettings((3.0,), (0.1,), draws=draws)
    twins = [network_twin(step, 1.0, 800, settings, seed) for seed in range(30)]
    z = {}
    for name in (plain, refined):
        z[name] = deviations(twins, limit(SpikedFeatures(step.student, step.target, name(step)), (3.0,), 0.1))[0]
    assert abs(z[refined]) < 2.5
    assert abs(z[plain]) > 3.0


@pytest.mark.slow
def test_a_measured_layer_describes_a_student_that_is_not_odd():
    """ReLU after a step, d = 400, 16 networks: within 2 % where the plain map is far off."""
    step = GradientStep(activation("relu"), target("tanh"), 2.0, 3.0)
    twins = [network_twin(step, 1.0, 400, TwinSettings((1.5,), (0.1,), test_samples=5000), seed) for seed in range(16)]
    drawn = np.mean([twin.test_error[0, 0] for twin in twins])
    seen = [limit(SpikedFeatures(step.student, step.target, twin.layer), (1.5,), 0.1)[0] for twin in twins]
    assert_allclose(np.mean(seen), drawn, rtol=0.02)
    by_plain = limit(SpikedFeatures(step.student, step.target, plain(step)), (1.5,), 0.1)[0]
    assert abs(by_plain / drawn - 1.0) > 0.04


@pytest.mark.slow
def test_the_excess_at_finite_size_is_one_over_d():
    """Set A at n = d / 2, where the error is small: 15 % at d = 75, a slope of -1, and the limit by extrapolation."""
    spiked = model("tanh", "sin", 1.01897320, 1.13405551, 0.97185444)
    (expected,) = limit(spiked, (0.5,), 0.1)
    sizes, seeds = (75, 150, 300), (800, 500, 300)
    settings = TwinSettings((0.5,), (0.1,), test_samples=4000)
    samples = [
        np.array([spiked_twin(spiked, d, settings, seed).test_error[0, 0] for seed in range(count)])
        for d, count in zip(sizes, seeds, strict=True)
    ]
    rate = fit_rate(sizes, [values / expected - 1.0 for values in samples])
    assert rate.ci is not None
    assert rate.ci[0] < -1.0 < rate.ci[1]
    assert rate.ci[1] - rate.ci[0] < 0.8
    value, sem = extrapolate_in_width(sizes, samples)
    assert abs(value - expected) < 3.0 * sem
    assert sem < 0.01 * expected


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda s: TwinSettings((), (0.1,)), r"sample_ratios and ridges need at least one value each"),
        (lambda s: TwinSettings((0.0,), (0.1,)), r"sample_ratio is 0"),
        (lambda s: TwinSettings((1.0,), (0.0,)), r"ridges holds 0; at finite size every ridge must be above 0"),
        (lambda s: TwinSettings((1.0,), (0.1,), draws=0), r"test_samples is 10000 with draws 0"),
        (lambda s: spiked_twin(model("tanh", "sin", 1, 1, 0.5), 1, s, 0), r"dimension is 1; it must be at least 2"),
        (lambda s: spiked_twin(model("tanh", "sin", 1, 1, 0.5, 0.01), 10, s, 0), r"leaves none of the neurons"),
        (
            lambda s: spiked_twin(
                SpikedFeatures(
                    activation("tanh"),
                    target("sin"),
                    refined(GradientStep(activation("tanh"), target("sin"), 1.0, 1.0)),
                ),
                10,
                s,
                0,
            ),
            r"layer is refined; rows are drawn for sphere, gaussian and plain",
        ),
    ],
)
def test_refusals_are_one_sentence(call, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        call(TwinSettings((1.0,), (0.1,)))
    assert "\n" not in str(caught.value)
