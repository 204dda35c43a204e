"""From one gradient step to a first layer: plain, refined, and measured from weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde.errors import ConfigError
from mfpde.theory.one_step.gradient_step import GradientStep, measured, plain, refined
from mfpde.theory.one_step.model import SpikedFeatures, spiked_layer
from mfpde.theory.one_step.ridge import ridge_readout
from mfpde.theory.one_step.scalar import activation, target
from mfpde.theory.one_step.tables import tabulate
from mfpde.theory.one_step.twins import network_weights, spiked_weights


def step_of(student="tanh", teacher="sin", size=3.0, batch=20.0, **more):
    return GradientStep(activation(student), target(teacher), size, batch, **more)


def errors(step, layer, ridge, ratios=(0.5, 1.5, 3.0)):
    table = tabulate(SpikedFeatures(step.student, step.target, layer, 1.0, step.noise))
    return [ridge_readout(table, ratio, ridge).test_error for ratio in ratios]


def test_the_plain_map_at_the_parameters_of_the_notebook():
    layer = plain(step_of())
    (group,) = layer.groups
    assert_allclose([group.bulk, group.spike, layer.alignment], [1.01897320, 1.13405551, 0.97185444], atol=1e-8)
    assert_allclose(group.loadings, np.diag([group.bulk, group.bulk, 0.0]))
    assert layer.origin == "plain"


def test_no_samples_are_no_step_and_no_slope_no_spike():
    layer = plain(step_of(batch=0.0))
    (group,) = layer.groups
    assert (group.bulk, group.spike, layer.alignment) == (1.0, 0.0, 0.0)
    assert_allclose(refined(step_of(batch=0.0)).groups[0].loadings, np.diag([1.0, 1.0, 0.0]))
    even = plain(step_of(student="quadratic"))
    assert_allclose(even.groups[0].spike, 0.0, atol=1e-12)


def test_label_noise_counts_as_label_power():
    """With noise of variance D, E y^2 becomes E y^2 + D: an own evaluation with closed moments of erf and sin."""
    variance, size, batch = 0.3, 1.5, 4.0
    layer = plain(step_of("erf", "sin", size, batch, noise=np.sqrt(variance)))
    slope = 1 / np.sqrt(np.pi)  # E erf'(z) = sqrt(2 / pi) / sqrt(2)
    slope_square = 2 / np.pi / np.sqrt(3)
    power = 0.5 * (1 - np.exp(-2)) + variance
    linear = np.exp(-0.5)
    length = np.sqrt(power / batch + linear**2)
    (group,) = layer.groups
    assert_allclose(group.spike, size * slope * length, rtol=1e-12)
    assert_allclose(group.bulk, 1 + size**2 * power * (slope_square - slope**2) / batch, rtol=1e-12)
    assert_allclose(layer.alignment, linear / length, rtol=1e-12)


def test_the_refined_covariance_and_its_errors():
    step = step_of()
    layer = refined(step)
    expected = [
        [1.0333309, -0.0035626, -1.3618230],
        [-0.0035626, 1.0180541, -2.5e-6],
        [-1.3618230, -2.5e-6, 1.8927362],
    ]
    assert_allclose(layer.groups[0].loadings, expected, atol=1e-7)
    assert_allclose(errors(step, layer, 0.1), [0.04562633, 0.03693501, 0.03152560], atol=1e-8)
    other = step_of("tanh", "tanh", 1.0, 0.5)
    assert_allclose(errors(other, refined(other), 0.01), [0.30570453, 0.22098501, 0.14430969], atol=1e-8)


def test_groups_of_readouts_take_steps_of_their_own():
    step = step_of(size=2.0, batch=5.0, readout=((0.5, 0.4), (1.5, 0.6)))
    for name, expected in ((refined, [0.10179, 0.07700, 0.06053]), (plain, [0.10154, 0.07674, 0.06032])):
        assert_allclose(errors(step, name(step), 0.05), expected, atol=1e-5)
    for (u, share), group in zip(step.readout, refined(step).groups, strict=True):
        alone = refined(step_of(size=2.0 * u, batch=5.0)).groups[0]
        assert (group.share, group.readout) == (pytest.approx(share), u)
        assert_allclose(group.loadings, alone.loadings, rtol=1e-12)
        assert_allclose([group.spike, group.bulk], [alone.spike, alone.bulk], rtol=1e-12)


def test_a_readout_of_the_other_sign_mirrors_its_group():
    one, other = refined(step_of(readout=((1.0, 0.5), (-1.0, 0.5)))).groups
    assert_allclose(other.spike, -one.spike)
    mirror = np.diag([-1.0, 1.0, 1.0])
    assert_allclose(other.loadings[[0, 1, 2], [0, 1, 2]], one.loadings[[0, 1, 2], [0, 1, 2]])
    assert_allclose(other.loadings[0, 2], (mirror @ one.loadings @ mirror)[0, 2])


def test_what_is_measured_in_a_spiked_layer_is_what_was_drawn(rng):
    layer = spiked_layer(1.5, 1.3, 0.6, "gaussian")
    model = SpikedFeatures(activation("tanh"), target("sin"), layer, 4.0)
    after, theta = spiked_weights(model, 900, rng)
    before = np.zeros_like(after)
    before[:, 1:] = after[:, 1:]  # the change is along v alone
    found = measured(before, after, theta, np.ones(len(after)))
    (group,) = found.groups
    # the mean of v over 3600 rows is off by sqrt(1.3 / (3600 x 900)), and |w|^2 is short of one of 900 directions
    assert_allclose([group.spike, group.bulk, found.alignment], [1.5, 1.3 * 899 / 900, 0.6], atol=3e-3)
    assert_allclose(group.loadings, np.diag([1.3, 1.3, 2 * 1.3**2]), atol=0.25)
    assert found.origin == "measured"


@pytest.mark.parametrize(
    "teacher, size, batch, readout", [("sin", 3.0, 2.0, ((1.0, 1.0),)), ("tanh", 2.0, 1.0, ((1.0, 0.5), (-0.5, 0.5)))]
)
def test_the_refined_map_is_measured_in_a_network(teacher, size, batch, readout):
    """Loadings of single neurons of six networks at d = 400; a covariance of 2400 draws is good to 3 %."""
    step = step_of(teacher=teacher, size=size, batch=batch, readout=readout)
    layers = []
    for seed in range(6):
        before, after, theta, u = network_weights(step, 1.0, 400, np.random.default_rng(seed))
        layers.append(measured(before, after, theta, u))
    predicted = refined(step)
    assert_allclose(np.mean([layer.alignment for layer in layers]), predicted.alignment, atol=0.02)
    order = np.argsort([group.readout for group in predicted.groups])
    for place, k in enumerate(order):
        group = predicted.groups[k]
        drawn = [layer.groups[place] for layer in layers]
        assert drawn[0].readout == group.readout
        assert_allclose(np.mean([g.spike for g in drawn]), group.spike, rtol=0.02)
        assert_allclose(np.mean([g.bulk for g in drawn]), group.bulk, rtol=0.01)
        found = np.mean([g.loadings for g in drawn], axis=0)
        scale = np.sqrt(np.outer(group.loadings.diagonal(), group.loadings.diagonal()))
        assert_allclose(found / scale, group.loadings / scale, atol=0.08)
        assert abs(group.loadings[0, 2]) > 0.4 * scale[0, 2]


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: refined(step_of("relu")), r"mapping is 'refined' and relu is not odd"),
        (lambda: refined(step_of("softplus")), r"allowed are measured and plain"),
        (lambda: step_of(batch=-1.0), r"batch_ratio is -1; the ratio n0 / d must be at least 0"),
        (lambda: step_of(batch=np.inf), r"batch_ratio is inf"),
        (lambda: step_of(size=np.nan), r"step is nan"),
        (lambda: step_of(noise=-0.1), r"noise is -0.1"),
        (lambda: GradientStep(target("sign"), target("sin"), 1.0, 1.0), r"student is 'sign'"),
        (lambda: step_of(readout=()), r"readout is empty"),
        (lambda: plain(GradientStep(activation("tanh"), target("hermite", (0.0, 0.0)), 1.0, 1.0)), r"without a label"),
        (lambda: measured(np.ones((3, 2)), np.ones((3, 2)), np.ones(2), np.ones(3)), r"are the same before and after"),
        (lambda: measured(np.ones((3, 2)), np.ones((3, 2)), np.ones(2), np.arange(3)), r"has the value 0 once"),
        (lambda: measured(np.ones((3, 2)), np.ones((4, 2)), np.ones(2), np.ones(3)), r"weights of shape \(4, 2\)"),
        (lambda: measured(np.ones((3, 2)), np.full((3, 2), np.nan), np.ones(2), np.ones(3)), r"not finite"),
        (lambda: network_weights(step_of(batch=1e-4), 1.0, 100, np.random.default_rng(0)), r"no sample at all"),
    ],
)
def test_refusals_are_one_sentence(call, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
