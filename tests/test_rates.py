"""Rate fits on synthetic data of known law: coverage of the interval, exact power laws, Richardson extrapolation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde.compare.rates import extrapolate_in_width, fit_rate, observed_order
from mfpde.errors import ConfigError, NumericalError

WIDTHS = np.array([32, 64, 128, 256, 512, 1024, 2048])


def heavy_samples(rng, replicas, prefactor=0.2, slope=-1.0):
    """Positive errors with the relative spread 1.35 per replica that coupling errors have at every width."""
    shape = 1 / 1.35**2
    return [prefactor * n**slope * rng.gamma(shape, 1 / shape, size=replicas) for n in WIDTHS.astype(float)]


def test_an_exact_power_law_is_found_exactly(rng):
    noise = rng.gamma(2.0, 0.5, size=50)
    noise /= noise.mean()
    rate = fit_rate(WIDTHS[::-1], [3.0 * n**-1.25 * noise for n in WIDTHS[::-1].astype(float)], paired=True)
    assert_allclose([rate.slope, rate.prefactor], [-1.25, 3.0], rtol=1e-12)
    assert_allclose(rate.ci, [-1.25, -1.25], rtol=1e-10)
    assert_allclose(rate.means, 3.0 * WIDTHS**-1.25, rtol=1e-12)
    assert_allclose(rate.sems, rate.means * noise.std(ddof=1) / np.sqrt(50), rtol=1e-12)
    assert list(rate.widths) == list(WIDTHS)
    assert "bootstrap" in rate.method


@pytest.mark.parametrize("replicas", [8, 24, 100])
def test_the_interval_covers_the_true_slope_at_its_level(replicas, rng):
    """150 studies: the count of covering 95 % intervals lies within what a true coverage of 0.90 to 0.97 gives."""
    hits, widths = 0, []
    for study in range(150):
        rate = fit_rate(WIDTHS, heavy_samples(rng, replicas), seed=study)
        hits += rate.ci[0] <= -1.0 <= rate.ci[1]
        widths.append(rate.ci[1] - rate.ci[0])
    assert 0.87 <= hits / 150 <= 0.99
    # The spread of a least-squares slope with relative error 1.35/√replicas per mean sets the size.
    log_n = np.log(WIDTHS)
    ideal = 2 * 1.96 * 1.35 / np.sqrt(replicas) / np.sqrt(np.sum((log_n - log_n.mean()) ** 2))
    assert 0.8 < np.median(widths) / ideal < 1.4


def test_the_level_sets_the_width_and_the_seed_the_draw(rng):
    samples = heavy_samples(rng, 60)
    narrow, wide = fit_rate(WIDTHS, samples, level=0.5), fit_rate(WIDTHS, samples, level=0.99)
    assert wide.ci[0] < narrow.ci[0] < narrow.slope < narrow.ci[1] < wide.ci[1]
    assert fit_rate(WIDTHS, samples).ci == fit_rate(WIDTHS, samples).ci
    assert fit_rate(WIDTHS, samples, seed=1).ci != fit_rate(WIDTHS, samples).ci
    assert fit_rate(WIDTHS, samples, seed=1).slope == fit_rate(WIDTHS, samples).slope


def test_pairing_removes_the_common_noise_and_covers(rng):
    """Replicas that share a factor at all widths: paired intervals are narrower and still cover."""
    hits, paired_width, independent_width = 0, 0.0, 0.0
    for study in range(100):
        common = rng.gamma(2.0, 0.5, size=40)
        samples = [common * rng.gamma(20.0, 0.05, size=40) / n for n in WIDTHS]
        paired, independent = (fit_rate(WIDTHS, samples, paired=flag, seed=study) for flag in (True, False))
        hits += paired.ci[0] <= -1.0 <= paired.ci[1]
        paired_width += paired.ci[1] - paired.ci[0]
        independent_width += independent.ci[1] - independent.ci[0]
    assert hits >= 86
    assert paired_width < 0.6 * independent_width


def test_weights_favour_the_precise_widths(rng):
    """One width with a thousand times the noise must not move the fit."""
    samples = [rng.normal(1.0, 0.01, size=40) / n for n in WIDTHS[:-1]]
    samples.append(rng.normal(3.0, 10.0, size=40) ** 2 / WIDTHS[-1])
    rate = fit_rate(WIDTHS, samples)
    assert_allclose(rate.slope, -1.0, atol=0.01)


def test_single_replicas_use_the_residuals_of_the_fit(rng):
    hits = 0
    for _ in range(200):
        rate = fit_rate(WIDTHS, [[np.exp(rng.normal(0.0, 0.3)) / n] for n in WIDTHS])
        hits += rate.ci[0] <= -1.0 <= rate.ci[1]
    assert rate.sems is None
    assert "residuals" in rate.method
    assert 0.90 <= hits / 200 <= 0.99


def test_two_widths_with_single_replicas_have_no_interval():
    rate = fit_rate([10, 100], [[1.0], [0.1]])
    assert_allclose(rate.slope, -1.0, rtol=1e-14)
    assert rate.ci is None
    assert "two widths" in rate.method


def test_deterministic_replicas_fall_back_to_the_residuals():
    rate = fit_rate([10, 100, 1000], [[1.0, 1.0], [0.1, 0.1], [0.01, 0.01]])
    assert_allclose(rate.ci, [-1.0, -1.0], atol=1e-12)
    assert "residuals" in rate.method


def test_samples_of_either_sign(rng):
    rate = fit_rate(WIDTHS, [rng.normal(1.0, 2.0, size=200) / n for n in WIDTHS])
    assert rate.ci[0] < -1.0 < rate.ci[1]
    lost = fit_rate([10, 20], [[-1.0, 1.001], [-0.5, 0.501]])
    assert lost.ci is None
    assert "not positive" in lost.method


@pytest.mark.parametrize("widths", [[10], [10, 10], [0, 10], [10, 20, 30]])
def test_unusable_widths_are_refused(widths):
    with pytest.raises(ConfigError, match=r"particles\.widths"):
        fit_rate(widths, [[1.0, 2.0], [0.5, 0.6]])


def test_unusable_samples_are_refused():
    with pytest.raises(NumericalError, match="positive means"):
        fit_rate([10, 20], [[1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ConfigError, match=r"particles\.replicas"):
        fit_rate([10, 20], [[1.0, 1.0], [0.5, 0.6, 0.7]], paired=True)
    with pytest.raises(ConfigError, match=r"particles\.replicas"):
        extrapolate_in_width([10, 20], [[1.0], [2.0]])


def test_two_widths_give_richardson_with_the_propagated_error(rng):
    a, b = rng.normal(2.0, 0.3, size=20), rng.normal(1.5, 0.2, size=30)
    value, sem = extrapolate_in_width([512, 256], [b, a])
    assert_allclose(value, 2 * b.mean() - a.mean(), rtol=1e-13)
    assert_allclose(sem, np.sqrt(4 * b.var(ddof=1) / 30 + a.var(ddof=1) / 20), rtol=1e-13)


def test_extrapolation_is_exact_and_entrywise_for_a_law_linear_in_the_inverse_width(rng):
    widths = np.array([64, 256, 1024])
    noise = rng.normal(size=(12, 5))
    noise -= noise.mean(axis=0)
    limit, constant = np.arange(5.0), np.linspace(-3, 3, 5)
    value, sem = extrapolate_in_width(widths, [limit + constant / n + noise / np.sqrt(n) for n in widths])
    assert_allclose(value, limit, atol=1e-13)
    assert sem.shape == (5,)
    quiet = extrapolate_in_width(widths, [np.tile(limit + constant / n, (3, 1)) for n in widths])
    assert_allclose(quiet.value, limit, atol=1e-13)
    assert_allclose(quiet.sem, 0.0, atol=1e-15)


@pytest.mark.parametrize("paired", [True, False])
def test_standardised_errors_of_the_extrapolation_are_standard(paired, rng):
    widths, scores = np.array([64.0, 256.0, 1024.0]), []
    for _ in range(400):
        common = rng.normal(size=50) if paired else np.zeros(50)
        samples = [1.0 + 2.0 / n + (2 * common + rng.normal(size=50)) / np.sqrt(n) for n in widths]
        value, sem = extrapolate_in_width(widths, samples, paired=paired)
        scores.append(float((value - 1.0) / sem))
    assert abs(np.mean(scores)) < 0.2
    assert_allclose(np.std(scores), 1.0, atol=0.12)


def test_observed_order():
    h = np.array([0.4, 0.2, 0.05])
    assert_allclose(observed_order(h, 3.0 * h**2), [2.0, 2.0], rtol=1e-13)
    assert_allclose(observed_order(h[::-1], 3.0 * h[::-1] ** 1.5), [1.5, 1.5], rtol=1e-13)
    with pytest.raises(NumericalError):
        observed_order(h, [1.0, 0.0, 0.1])
    with pytest.raises(ConfigError):
        observed_order([0.1], [0.1])
