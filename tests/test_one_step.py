"""Ridge regression after one gradient step: verified tables, identities, and an own Mei-Montanari formula."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import erf

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.one_step import ridge as ridge_module
from mfpde.theory.one_step.loadings import learned_function
from mfpde.theory.one_step.model import FirstLayer, Group, SpikedFeatures, random_features, spiked_layer
from mfpde.theory.one_step.optimum import optimal_ridge
from mfpde.theory.one_step.ridge import ridge_readout
from mfpde.theory.one_step.scalar import ScalarFunction, activation, target
from mfpde.theory.one_step.tables import tabulate, target_moments

ONE = ((1.0, 1.0),)


def model(student, teacher, bulk, spike, alignment, width=1.0, variance=0.0, rows="sphere", readout=ONE):
    """A spiked model by numbers; ``variance`` of the label noise, as the tables below give it."""
    layer = spiked_layer(spike, bulk, alignment, rows, readout)
    return SpikedFeatures(activation(student), target(teacher), layer, width, float(np.sqrt(variance)))


def errors_of(spiked, ratios, ridge):
    table = tabulate(spiked)
    return [ridge_readout(table, ratio, ridge).test_error for ratio in ratios]


SET_B = ("tanh", "sin", 1.3, 2.0, 0.7)
NOTEBOOK = ("tanh", "sin", 1.01897320, 1.13405551, 0.97185444)


def mei_montanari(function, teacher_moments, width, samples, ridge, variance):
    """Test error of random features, Mei and Montanari 2019 (Theorem 2), for odd functions; nu_1 nu_2 = -a b."""

    def average(g):
        return quad(lambda x: g(x) * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi), -14, 14, epsabs=1e-14, limit=400)[0]

    linear = average(lambda x: x * function(x))
    rest = average(lambda x: function(x) ** 2) - linear**2
    z2 = linear**2 / rest
    k = np.sqrt(width * samples * (ridge / samples) / rest)
    a = b = 1.0
    for _ in range(100_000):
        new_a = width / (k + b + z2 * b / (1 + z2 * a * b))
        new_b = samples / (k + new_a + z2 * new_a / (1 + z2 * new_a * b))
        done = abs(new_a - a) + abs(new_b - b) < 1e-15 * (a + b)
        a, b = 0.5 * (a + new_a), 0.5 * (b + new_b)
        if done:
            break
    x = -a * b
    p1, p2 = width, samples
    e0 = (
        -(x**5) * z2**3
        + 3 * x**4 * z2**2
        + (p1 * p2 - p2 - p1 + 1) * x**3 * z2**3
        - 2 * x**3 * z2**2
        - 3 * x**3 * z2
        + (p1 + p2 - 3 * p1 * p2 + 1) * x**2 * z2**2
        + 2 * x**2 * z2
        + x**2
        + 3 * p1 * p2 * x * z2
        - p1 * p2
    )
    e1 = p2 * x**3 * z2**2 - p2 * x**2 * z2 + p1 * p2 * x * z2 - p1 * p2
    e2 = (
        x**5 * z2**3
        - 3 * x**4 * z2**2
        + (p1 - 1) * x**3 * z2**3
        + 2 * x**3 * z2**2
        + 3 * x**3 * z2
        + (-p1 - 1) * x**2 * z2**2
        - 2 * x**2 * z2
        - x**2
    )
    signal, nonlinear = teacher_moments(average)
    return signal * e1 / e0 + (variance + nonlinear) * e2 / e0 + nonlinear


@pytest.mark.parametrize("student", ["tanh", "erf"])
@pytest.mark.parametrize(
    "samples, width, ridge, variance",
    [(0.5, 1.5, 0.01, 0.0), (1.0, 1.5, 0.01, 0.0), (1.5, 1.5, 1e-4, 0.1), (3.0, 1.0, 0.1, 0.2), (0.7, 0.4, 1.0, 0.0)],
)
def test_without_a_spike_it_is_mei_and_montanari(student, samples, width, ridge, variance):
    def sine(average):
        linear = average(lambda x: x * np.sin(x)) ** 2
        return linear, average(lambda x: np.sin(x) ** 2) - linear

    function = {"tanh": np.tanh, "erf": lambda x: erf(x / np.sqrt(2))}[student]
    expected = mei_montanari(function, sine, width, samples, ridge, variance)
    for alignment in (0.0, 0.6, 1.0):
        found = errors_of(model(student, "sin", 1.0, 0.0, alignment, width, variance), [samples], ridge)
        assert_allclose(found, expected, atol=1e-9)


def test_the_quoted_value_of_mei_and_montanari():
    assert_allclose(errors_of(model("tanh", "sin", 1.0, 0.0, 0.3, 1.5), [1.0], 0.01), 0.338038943, atol=1e-9)


def test_the_parameters_of_the_authors_notebook():
    table = tabulate(model(*NOTEBOOK))
    curve = [ridge_readout(table, ratio, 0.1) for ratio in (0.2, 0.9, 1.6, 2.3, 3.0)]
    expected = [0.04848290, 0.04250393, 0.03731133, 0.03430466, 0.03251821]
    assert_allclose([r.test_error for r in curve], expected, atol=1e-7)
    assert_allclose([curve[0].train_error, curve[-1].train_error], [0.01249380, 0.02219793], atol=1e-7)
    last = curve[-1]
    assert_allclose(last.overlaps.mean, 1.12578861, atol=1e-7)
    assert_allclose(last.overlaps.spike, 0.07209424, atol=1e-7)
    assert_allclose(last.overlaps.orthogonal, 0.18892175, atol=1e-7)
    assert_allclose(last.traces, [1.13060936, 2.47513641], atol=1e-7)
    assert_allclose(last.noise_overlaps[0] + last.overlaps.orthogonal[0] ** 2, 0.06383304, atol=1e-7)
    assert_allclose(last.weight_norm, 0.08526352, atol=1e-7)


def test_the_printed_numbers_of_the_notebook_leave_out_the_loadings_along_the_spike():
    """They were made with Gamma_tt = 0 and an older c: 2e-3 from the limit, what its one matrix of d = 2000 differs."""
    slope = quad(lambda x: (1 - np.tanh(x) ** 2) * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi), -12, 12)[0]
    bulk = 1.0 + 0.01897320 * slope**2
    layer = FirstLayer((Group(1.0, 1.0, NOTEBOOK[3], bulk, np.diag([0.0, bulk, 0.0])),), NOTEBOOK[4], "sphere")
    found = errors_of(SpikedFeatures(activation("tanh"), target("sin"), layer), (0.2, 0.9, 1.6, 2.3, 3.0), 0.1)
    assert_allclose(found, [0.048595389, 0.043118053, 0.038072438, 0.035111507, 0.033340015], rtol=2e-3)
    assert_allclose(found, [0.048621, 0.043165, 0.038113, 0.035155, 0.033392], atol=1e-6)


def test_set_b_on_the_sphere_and_with_gaussian_rows():
    sphere, gaussian = (tabulate(model(*SET_B, rows=rows)) for rows in ("sphere", "gaussian"))
    errors = [ridge_readout(sphere, ratio, 0.01) for ratio in (0.5, 1.0, 3.0)]
    assert_allclose([r.test_error for r in errors], [0.32241801, 0.34991477, 0.18913888], atol=1e-8)
    assert_allclose([r.train_error for r in errors], [0.01418531, 0.02658337, 0.08450356], atol=1e-8)
    found = [ridge_readout(gaussian, ratio, 0.01).test_error for ratio in (0.5, 1.0, 3.0)]
    assert_allclose(found, [0.32189671, 0.34924822, 0.18891368], atol=1e-8)


@pytest.mark.parametrize(
    "spiked, ridge, expected",
    [
        (model("relu", "tanh", 1.2, 1.0, 0.8, 1.5, 0.1), 0.1, [0.35988008, 0.36262177, 0.29519280]),
        (model("relu", "identity", 1.0, 0.5, 1.0, 2.0), 0.1, [0.75389479, 0.66442678, 0.49988607]),
        (model("relu", "identity", 1.0, 0.5, 1.0, 2.0, rows="gaussian"), 0.1, [0.73102804, 0.63682142, 0.47924043]),
        (model("tanh", "sin", 1.0, 0.0, 0.5), 0.1, [0.38243238, 0.31227225, 0.20811891]),
    ],
    ids=["C", "F sphere", "F gaussian", "D"],
)
def test_the_other_sets(spiked, ridge, expected):
    assert_allclose(errors_of(spiked, (0.5, 1.0, 3.0), ridge), expected, atol=1e-7)


def test_readouts_of_both_signs_express_an_even_function():
    """ReLU student, |x| target: a kink in student and target, and an error 2.5 times below that of equal readouts."""
    setting = ("relu", "absolute", 1.2, 1.0, 0.9, 1.2)
    both = errors_of(model(*setting, readout=((1.0, 0.5), (-1.0, 0.5))), (0.5, 1.2, 3.0), 0.05)
    alike = errors_of(model(*setting), (0.5, 1.2, 3.0), 0.05)
    assert_allclose(both, [0.25334, 0.28825, 0.21493], atol=1e-5)
    assert_allclose(alike, [0.761, 0.771, 0.585], atol=1e-3)
    assert (np.array(alike) > 2.5 * np.array(both)).all()


def test_two_sizes_of_readout():
    spiked = model("tanh", "sin", 1.1, 1.5, 0.9, 0.8, readout=((0.5, 0.4), (1.5, 0.6)))
    assert_allclose(errors_of(spiked, (0.5, 1.2, 3.0), 0.01), [0.15631, 0.13289, 0.07903], atol=1e-5)


@pytest.mark.parametrize("rows", ["sphere", "gaussian"])
def test_identical_groups_are_one_group(rows):
    setting = ("relu", "tanh", 1.2, 1.0, 0.8, 1.5, 0.1, rows)
    one = ridge_readout(tabulate(model(*setting)), 0.7, 0.1)
    many = ridge_readout(tabulate(model(*setting, readout=((1.0, 0.2), (1.0, 0.3), (1.0, 0.5)))), 0.7, 0.1)
    for name in ("test_error", "train_error", "weight_norm", "learned", "orthogonal_slope", "error", "variance"):
        assert_allclose(getattr(many, name), getattr(one, name), atol=1e-10, err_msg=name)


def test_without_a_spike_its_direction_is_nowhere():
    found = [errors_of(model("tanh", "sin", 1.0, 0.0, gamma), (0.5, 2.0), 0.05) for gamma in (-1.0, 0.0, 0.4, 1.0)]
    assert_allclose(found, np.broadcast_to(found[0], (4, 2)), atol=1e-13)


def test_the_scale_of_a_homogeneous_student_is_that_of_the_ridge():
    one = errors_of(model("relu", "tanh", 1.2, 1.0, 0.8, 1.5, 0.1), (0.5, 1.0, 2.0), 0.1)
    two = errors_of(model("relu", "tanh", 4.8, 2.0, 0.8, 1.5, 0.1), (0.5, 1.0, 2.0), 0.4)
    assert_allclose(two, one, rtol=1e-11)


def test_a_large_ridge_leaves_the_mean_feature():
    table = tabulate(model(*SET_B))
    h, mu0, weights = table.target.mean, table.features.mu0[0], table.weights
    limit = weights @ table.target.square - (weights @ (mu0 * h)) ** 2 / (weights @ mu0**2)
    assert_allclose(limit, 0.2481097, atol=1e-7)
    assert_allclose(ridge_readout(table, 1.0, 1e10).test_error, limit, atol=1e-9)


def test_many_samples_leave_what_the_features_cannot_express():
    found = errors_of(model(*SET_B), (1e2, 1e4, 1e6), 0.01)
    assert_allclose(found, [0.126337, 0.125131, 0.125119], atol=1e-6)


def test_the_training_error_vanishes_with_the_ridge_below_the_interpolation_threshold_only():
    table = tabulate(model("relu", "tanh", 1.2, 0.5, 0.8, 1.0, 0.1))
    below = [ridge_readout(table, 0.6, ridge).train_error for ridge in (1e-3, 1e-5)]
    above = [ridge_readout(table, 1.6, ridge).train_error for ridge in (1e-3, 1e-5)]
    assert below[1] < 1e-3 * below[0]
    assert_allclose(above[1], above[0], rtol=1e-2)


@pytest.mark.parametrize(
    "spiked",
    [
        model("relu", "tanh", 1.2, 0.5, 0.8, 1.0, 0.1),
        model("tanh", "sin", 1.0, 0.0, 0.0),
        model("sin", "sin", 1.0, 1.0, 0.6),
    ],
)
@pytest.mark.parametrize("samples", [0.5, 1.7])
def test_ridge_zero_is_the_limit_of_small_ridges(spiked, samples):
    """Errors approach it linearly in the ridge: the distance falls tenfold with it."""
    table = tabulate(spiked)
    limit = ridge_readout(table, samples, 0.0)
    near, nearer = (ridge_readout(table, samples, ridge) for ridge in (1e-5, 1e-6))
    for name in ("test_error", "weight_norm", "learned", "variance"):
        far = np.max(np.abs(getattr(near, name) - getattr(limit, name)))
        close = np.max(np.abs(getattr(nearer, name) - getattr(limit, name)))
        assert close < 1e-3
        assert_allclose(close, 0.1 * far, rtol=0.02, atol=1e-12, err_msg=name)
    assert (limit.train_error == 0.0) == (samples < 1.0)
    assert np.isinf(limit.traces[-1]) == (samples < 1.0)


def test_a_saturating_student_with_a_spike_gets_worse_without_bound():
    table = tabulate(model(*SET_B))
    found = [ridge_readout(table, 0.5, ridge).test_error for ridge in (1e-3, 1e-4, 1e-5, 1e-7)]
    assert_allclose(found, [0.576, 1.259, 4.018, 82.1], rtol=1e-3)


def test_the_peak_at_a_small_ridge_converges():
    found = ridge_readout(tabulate(model(*SET_B)), 1.0, 1e-5)
    assert_allclose(found.test_error, 13.670, atol=1e-3)
    assert found.residual <= ridge_module.TOLERANCE


def test_an_iteration_cut_short_raises(monkeypatch):
    monkeypatch.setattr(ridge_module, "MAX_STEPS", 3)
    with pytest.raises(NotConverged, match=r"in the last of 3 steps; 1e-12 is required"):
        ridge_readout(tabulate(model(*SET_B)), 1.0, 1e-5)


@pytest.mark.parametrize(
    "ratio, best, error, best_features, error_features",
    [
        (0.5, 0.2688, 0.22328, 0.3185, 0.36421),
        (1.0, 0.2260, 0.20348, 0.1845, 0.30709),
        (3.0, 0.1691, 0.16279, 0.0856, 0.20796),
    ],
)
def test_the_best_ridge_of_the_spike_and_of_plain_random_features(ratio, best, error, best_features, error_features):
    spiked = model(*SET_B)
    for table, ridge, value in (
        (tabulate(spiked), best, error),
        (tabulate(random_features(spiked)), best_features, error_features),
    ):
        found = optimal_ridge(table, ratio)
        assert found.interior
        assert_allclose(found.readout.ridge, ridge, atol=1e-4)
        assert_allclose(found.readout.test_error, value, atol=1e-5)
        aside = [ridge_readout(table, ratio, found.readout.ridge * factor).test_error for factor in (0.99, 1.01)]
        assert min(aside) > found.readout.test_error


def test_a_best_ridge_outside_the_bracket_is_said_to_be_outside():
    table = tabulate(model(*SET_B))
    found = optimal_ridge(table, 1.0, bracket=(1e-3, 1e-1))
    assert not found.interior
    assert found.readout.ridge == pytest.approx(1e-1, rel=1e-12)
    # no noise, a student that is the target, many samples: less ridge is better down to the end
    exact = optimal_ridge(tabulate(model("identity", "identity", 1.0, 0.0, 0.0, 0.5)), 3.0)
    assert exact.interior or exact.readout.ridge == pytest.approx(exact.bracket[0], rel=1e-9)


def test_the_learned_function_off_the_grid_is_the_one_on_it():
    spiked = model("relu", "absolute", 1.2, 1.0, 0.9, 1.2, readout=((1.0, 0.5), (-1.0, 0.5)))
    found = ridge_readout(tabulate(spiked), 1.2, 0.05)
    learned, slope = learned_function(spiked, found.overlaps, found.kappa[::7])
    assert_allclose(learned, found.learned[::7], atol=1e-12)
    assert_allclose(slope, found.orthogonal_slope[::7], atol=1e-12)
    mirrored, _ = learned_function(spiked, found.overlaps, -found.kappa[::7])
    assert_allclose(mirrored, learned, atol=1e-9)


def test_a_narrow_kink_of_the_target_is_resolved():
    """sign seen almost along the spike: the error moves continuously into that of alignment 1."""
    errors = [errors_of(model("tanh", "sign", 1.1, 1.0, gamma), [1.0], 0.1)[0] for gamma in (1 - 1e-4, 1 - 1e-8, 1.0)]
    assert 0.0 < errors[0] - errors[2] < 0.05
    assert abs(errors[1] - errors[2]) < 2e-4 * 2.0
    # an own integration at an alignment where the trapezoidal rule of 401 nodes would be 1e-3 off
    gamma, kappa = 0.9999, np.linspace(-0.1, 0.1, 7)
    spiked = model("tanh", "sign", 1.1, 1.0, gamma)
    assert_allclose(target_moments(spiked, kappa).mean, erf(gamma * kappa / np.sqrt(2 * (1 - gamma**2))), atol=1e-12)


def test_any_callable_can_be_student_or_target():
    tanh = ScalarFunction("mine", np.tanh)
    layer = spiked_layer(2.0, 1.3, 0.7)
    assert_allclose(
        errors_of(SpikedFeatures(tanh, ScalarFunction("sine", np.sin), layer), [1.0], 0.01), 0.34991477, atol=1e-8
    )


def test_a_point_takes_less_than_25_ms():
    table = tabulate(model(*SET_B))
    spent = []
    for ratio in np.linspace(0.2, 3.0, 15):
        start = process_time()
        ridge_readout(table, ratio, 0.01)
        spent.append(process_time() - start)
    assert np.median(spent) < 0.025


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: ridge_readout(tabulate(model(*SET_B)), 0.0, 0.1),
            r"sample_ratio is 0; the ratio n / d must be above 0",
        ),
        (lambda: ridge_readout(tabulate(model(*SET_B)), -1.0, 0.1), r"sample_ratio is -1"),
        (lambda: ridge_readout(tabulate(model(*SET_B)), np.nan, 0.1), r"sample_ratio is nan"),
        (lambda: ridge_readout(tabulate(model(*SET_B)), 1.0, -0.1), r"ridge is -0.1; it must be at least 0"),
        (lambda: ridge_readout(tabulate(model(*SET_B)), 1.0, np.inf), r"ridge is inf"),
        (lambda: ridge_readout(tabulate(model(*SET_B)), 0.5, 0.0), r"ridge is 0 and tanh saturates along the spike"),
        (lambda: ridge_readout(tabulate(model(*SET_B)), 2.0, 0.0), r"ridge is 0 and tanh saturates along the spike"),
        (lambda: ridge_readout(tabulate(model("tanh", "sin", 1, 0, 0)), 1.0, 0.0), r"as many samples as neurons"),
        (lambda: ridge_readout(tabulate(model("relu", "sin", 1, 1.5, 0)), 0.5, 0.0), r"no variance of their own"),
        (lambda: ridge_readout(tabulate(model("identity", "sin", 1, 0, 0)), 0.5, 0.0), r"no variance of their own"),
        (lambda: model("tanh", "sin", 1.0, 1.0, 1.01), r"alignment is 1.01; .* lies in \[-1, 1\]"),
        (lambda: model("tanh", "sin", 1.0, 1.0, np.nan), r"alignment is nan"),
        (lambda: model("tanh", "sin", 0.0, 1.0, 0.5), r"bulk is 0; the variance of the bulk must be above 0"),
        (lambda: model("tanh", "sin", 1.0, np.inf, 0.5), r"spike is inf"),
        (lambda: model("tanh", "sin", 1.0, 1.0, 0.5, width=0.0), r"width_ratio is 0"),
        (lambda: SpikedFeatures(activation("tanh"), target("sin"), spiked_layer(1, 1, 0), 1.0, -0.1), r"noise is -0.1"),
        (lambda: model("tanh", "sin", 1.0, 1.0, 0.5, rows="cube"), r"rows is 'cube'; allowed are sphere, gaussian"),
        (lambda: model("tanh", "sin", 1.0, 1.0, 0.5, readout=()), r"readout is empty"),
        (lambda: model("tanh", "sin", 1.0, 1.0, 0.5, readout=((1.0, 0.0),)), r"readout has the pair \(1, 0\)"),
        (lambda: activation("sign"), r"activation is 'sign'; allowed are relu, tanh"),
        (lambda: target("cosine"), r"target is 'cosine'; allowed are relu, .*absolute, sign"),
        (lambda: optimal_ridge(tabulate(model(*SET_B)), 1.0, (1.0, 0.1)), r"bracket is \(1, 0.1\)"),
    ],
)
def test_refusals_are_one_sentence(call, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        call()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
