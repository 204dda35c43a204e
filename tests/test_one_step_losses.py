"""Readouts with convex losses: the square loss, verified logistic numbers, proximal points, finite sizes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.one_step import convex, labels, losses
from mfpde.theory.one_step.convex import convex_readout
from mfpde.theory.one_step.fits import fit_convex, fit_ridge, loss_terms
from mfpde.theory.one_step.losses import Prediction, loss
from mfpde.theory.one_step.model import SpikedFeatures, spiked_layer
from mfpde.theory.one_step.ridge import ridge_readout
from mfpde.theory.one_step.scalar import ScalarFunction, activation, target
from mfpde.theory.one_step.tables import tabulate
from mfpde.theory.one_step.twins import TwinSettings, spiked_twin


def table_of(
    student="tanh", teacher="sign", bulk=1.1, spike=1.0, alignment=0.8, width=1.0, noise=0.0, readout=((1.0, 1.0),)
):
    layer = spiked_layer(spike, bulk, alignment, readout=readout)
    return tabulate(SpikedFeatures(activation(student), target(teacher), layer, width, noise))


@pytest.mark.parametrize(
    "setting",
    [
        {"teacher": "sin", "bulk": 1.3, "spike": 2.0, "alignment": 0.7},
        {"student": "relu", "teacher": "absolute", "noise": 0.3, "readout": ((1.0, 0.5), (-1.0, 0.5))},
    ],
    ids=["set B", "two groups, kinks, noise"],
)
def test_the_square_loss_is_ridge_regression(setting):
    table = table_of(**setting)
    closed, general = ridge_readout(table, 1.0, 0.01), convex_readout(table, 1.0, 0.01, loss("square"))
    assert_allclose(general.test_error, closed.test_error, atol=1e-9)
    assert_allclose(2 * general.train_loss, closed.train_error, atol=1e-9)
    assert_allclose(2 * general.test_loss, closed.test_error + table.model.noise**2, atol=1e-9)
    for name in ("weight_norm", "traces", "learned", "orthogonal_slope", "variance"):
        assert_allclose(getattr(general, name), getattr(closed, name), rtol=1e-7, atol=1e-8, err_msg=name)


def test_the_huber_loss_with_a_far_threshold_is_the_square_loss():
    table = table_of(teacher="sin", bulk=1.3, spike=2.0, alignment=0.7, noise=0.2)
    square, huber = (convex_readout(table, 1.0, 0.1, which) for which in (loss("square"), loss("huber", 30.0)))
    for name in ("test_error", "train_loss", "test_loss", "weight_norm"):
        assert_allclose(getattr(huber, name), getattr(square, name), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    "student, wrong, mean, norm",
    [
        ("tanh", [0.19443997, 0.18507649, 0.15980024], [4.868, 4.967, 5.231], [0.756, 1.387, 3.325]),
        ("softplus", [0.38553, 0.34697, 0.27334], None, None),
    ],
)
def test_logistic_regression_on_signs(student, wrong, mean, norm):
    table = table_of(student)
    found = [convex_readout(table, ratio, 0.1, loss("logistic")) for ratio in (0.5, 1.0, 3.0)]
    assert_allclose([labels.misclassified(table, r) for r in found], wrong, atol=1e-8 if mean else 1e-5)
    if mean:
        assert_allclose([r.overlaps.mean[0] for r in found], mean, atol=1e-3)
        assert_allclose([r.weight_norm for r in found], norm, atol=1e-3)


def test_identical_groups_are_one_group():
    one = convex_readout(table_of("relu"), 1.0, 0.1, loss("logistic"))
    two = convex_readout(table_of("relu", readout=((1.0, 0.3), (1.0, 0.7))), 1.0, 0.1, loss("logistic"))
    assert_allclose(two.test_loss, one.test_loss, atol=1e-9)
    assert_allclose(two.learned, one.learned, atol=1e-8)
    assert_allclose(two.weight_norm, one.weight_norm, rtol=1e-8)


@pytest.mark.parametrize("which", [loss("huber", 0.4), loss("logistic")], ids=["huber", "logistic"])
def test_forces_given_kappa_are_those_of_a_sampled_proximal_point(which, rng):
    """At one kappa, 300 000 draws of z, noise and omega, every proximal point by its own equation."""
    noise = 0.3 if which.name == "huber" else 0.0
    table = table_of(teacher="sin" if which.name == "huber" else "sign", noise=noise)
    size = len(table.kappa)
    given = {"mean": 0.3, "slope": 0.5, "variance": 0.2, "gain": 1.7}
    prediction = Prediction(*(np.full(size, value) for value in given.values()))
    felt = losses.forces(table, which, prediction)
    k = size // 2 + 9
    draws = 300_000
    z = rng.standard_normal(draws)
    y = table.model.target.value(0.8 * table.kappa[k] + 0.6 * z) + noise * rng.standard_normal(draws)
    omega = 0.3 + 0.5 * z + np.sqrt(0.2) * rng.standard_normal(draws)
    if which.name == "huber":
        u = y + np.sign(omega - y) * np.maximum(np.abs(omega - y) / 2.7, np.abs(omega - y) - 1.7 * 0.4)
    else:
        low, high = y * omega, y * omega + 1.7
        for _ in range(40):
            middle = 0.5 * (low + high)
            below = middle < y * omega + 1.7 * expit(-middle)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        u = y * low
    value, slope, curvature = loss_terms(which, y, u)
    assert_allclose(u - omega, -1.7 * slope, atol=1e-9)
    force = -slope
    expected = [force.mean(), (z * force).mean(), (force**2).mean(), (curvature / (1 + 1.7 * curvature)).mean()]
    found = [felt.mean[k], felt.along[k], felt.square[k], felt.stiffness[k]]
    assert_allclose(found, expected, atol=6e-3)
    # the mean losses weigh this kappa as any other: with one kappa for all, they are those of the sample
    there = dataclasses.replace(table, weights=np.eye(size)[k])
    given_there = losses.mean_losses(there, which, prediction)
    assert_allclose(given_there, [value.mean(), loss_terms(which, y, omega)[0].mean()], atol=6e-3)


@pytest.mark.parametrize("which", [loss("square"), loss("huber", 0.3), loss("logistic")], ids=lambda which: which.name)
@pytest.mark.parametrize("n, p", [(30, 12), (12, 30)])
def test_a_finite_readout_is_stationary(which, n, p, rng):
    features = rng.standard_normal((n, p)) / np.sqrt(p)
    y = np.sign(rng.standard_normal(n))
    (readout,) = fit_convex(features, y, np.array([0.05]), which)
    gradient = features.T @ loss_terms(which, y, features @ readout)[1] + 0.05 * readout
    assert_allclose(gradient, 0.0, atol=1e-9)
    if which.name == "square":
        assert_allclose(fit_ridge(features, y, np.array([0.05]))[0], readout, atol=1e-9)


@pytest.mark.parametrize("which", [loss("huber", 0.3), loss("logistic")], ids=lambda which: which.name)
def test_slopes_and_curvatures_are_derivatives(which, rng):
    y, at = np.sign(rng.standard_normal(50)), 1.5 * rng.standard_normal(50)
    _, slope, curvature = loss_terms(which, y, at)
    up, down = loss_terms(which, y, at + 1e-6), loss_terms(which, y, at - 1e-6)
    assert_allclose((up[0] - down[0]) / 2e-6, slope, atol=1e-8)
    assert_allclose((up[1] - down[1]) / 2e-6, curvature, atol=1e-6)


def sampled(table, settings, dimension, seeds):
    twins = [spiked_twin(table.model, dimension, settings, seed) for seed in range(seeds)]
    return {
        name: (
            np.mean([getattr(t, name)[0, 0] for t in twins]),
            np.std([getattr(t, name)[0, 0] for t in twins], ddof=1) / np.sqrt(seeds),
        )
        for name in ("test_error", "test_loss", "train_loss", "wrong_sign")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "which, setting",
    [(loss("huber", 0.3), {"teacher": "sin", "noise": 0.5}), (loss("logistic"), {})],
    ids=["huber", "logistic"],
)
def test_finite_sizes_agree(which, setting):
    """d = 200, 16 seeds: every mean within 3.5 standard errors, which are 1 to 3 % of it."""
    table = table_of(**setting)
    theory = convex_readout(table, 1.0, 0.1, which)
    found = sampled(table, TwinSettings((1.0,), (0.1,), which, test_samples=3000), 200, 16)
    expected = {name: getattr(theory, name) for name in ("test_loss", "train_loss")}
    if which.name == "logistic":
        expected["wrong_sign"] = labels.misclassified(table, theory)
    else:
        expected["test_error"] = theory.test_error
    for name, value in expected.items():
        mean, sem = found[name]
        assert sem < 0.05 * value
        assert abs(mean - value) < 3.5 * sem, name


def test_an_iteration_cut_short_raises(monkeypatch):
    monkeypatch.setattr(convex, "MAX_SWEEPS", 4)
    with pytest.raises(NotConverged, match=r"in the last of 4 sweeps; 1e-10 is required"):
        convex_readout(table_of(), 1.0, 0.1, loss("logistic"))


def test_numbers_that_are_lost_do_not_pass_for_converged(monkeypatch):
    monkeypatch.setattr(convex, "_change", lambda *_: np.nan)
    monkeypatch.setattr(convex, "MAX_SWEEPS", 2)
    with pytest.raises(NotConverged):
        convex_readout(table_of(teacher="sin"), 1.0, 0.1, loss("square"))


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: loss("hinge"), r"loss is 'hinge'; allowed are square, huber, logistic"),
        (lambda: loss("huber", 0.0), r"threshold is 0; the Huber loss needs one above 0"),
        (
            lambda: convex_readout(table_of(), 1.0, 0.0, loss("logistic")),
            r"ridge is 0; with the loss logistic it must be above 0",
        ),
        (lambda: convex_readout(table_of(), 0.0, 0.1, loss("square")), r"sample_ratio is 0"),
        (
            lambda: convex_readout(table_of(teacher="sin"), 1.0, 0.1, loss("logistic")),
            r"target is 'sin'; the logistic loss",
        ),
        (lambda: convex_readout(table_of(noise=0.1), 1.0, 0.1, loss("logistic")), r"noise is 0.1; the logistic loss"),
        (lambda: labels.misclassified(table_of(teacher="relu"), None), r"target is 'relu'; a classification error"),
        (
            lambda: labels.require_signs(
                SpikedFeatures(
                    activation("tanh"),
                    ScalarFunction("half", lambda z: np.sign(z) * (np.abs(z) < 15), kinks=(0.0,)),
                    spiked_layer(1, 1, 0),
                ),
                "this",
            ),
            r"target is 'half'",
        ),
        (
            lambda: spiked_twin(table_of(teacher="sin").model, 10, TwinSettings((1.0,), (0.1,), loss("logistic")), 0),
            r"target is 'sin'",
        ),
    ],
)
def test_refusals_are_one_sentence(call, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
