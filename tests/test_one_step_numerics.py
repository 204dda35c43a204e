"""Parts of the one-step asymptotics against second ways: closed forms, random matrices, differences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import erf, ndtr

from mfpde.errors import ConfigError
from mfpde.theory.one_step import averages, resolvent
from mfpde.theory.one_step.model import SpikedFeatures, spiked_layer
from mfpde.theory.one_step.ridge import ridge_readout
from mfpde.theory.one_step.scalar import ScalarFunction, activation, is_odd, saturates, target
from mfpde.theory.one_step.spectrum import bulk_spectrum, upper_bound
from mfpde.theory.one_step.tables import feature_moments, tabulate
from mfpde.theory.one_step.twins import feature_eigenvalues

KAPPA = np.linspace(-4.0, 4.0, 17)


def table_of(student="tanh", teacher="sin", bulk=1.3, spike=2.0, alignment=0.7, width=1.0, readout=((1.0, 1.0),)):
    layer = spiked_layer(spike, bulk, alignment, readout=readout)
    return tabulate(SpikedFeatures(activation(student), target(teacher), layer, width))


@pytest.mark.parametrize("bulk, spike", [(1.2, 1.0), (0.4, -3.0), (1.0, 0.0)])
def test_moments_of_relu_in_closed_form(bulk, spike):
    spiked = SpikedFeatures(activation("relu"), target("sin"), spiked_layer(spike, bulk, 0.5))
    found = feature_moments(spiked, KAPPA)
    h, s = spike * KAPPA, np.sqrt(bulk)
    density, below = np.exp(-0.5 * (h / s) ** 2) / np.sqrt(2 * np.pi), ndtr(h / s)
    mu0 = h * below + s * density
    assert_allclose(found.mu0[0], mu0, atol=1e-13)
    assert_allclose(found.mu1[0], below, atol=1e-13)
    assert_allclose(found.nu[0], density / (2 * s), atol=1e-13)
    rest = (h**2 + bulk) * below + h * s * density - mu0**2 - bulk * below**2
    assert_allclose(found.mu2_squared[0], rest, atol=1e-12)


@pytest.mark.parametrize("bulk", [0.3, 1.2, 40.0])
def test_moments_of_erf_and_sin_in_closed_form(bulk):
    layer = spiked_layer(1.5, bulk, 0.5)
    h = 1.5 * KAPPA
    found = feature_moments(SpikedFeatures(activation("erf"), target("sin"), layer), KAPPA)
    assert_allclose(found.mu0[0], erf(h / np.sqrt(2 * (1 + bulk))), atol=1e-13)
    slope = np.sqrt(2 / np.pi / (1 + bulk)) * np.exp(-0.5 * h**2 / (1 + bulk))
    assert_allclose(found.mu1[0], slope, atol=1e-13)
    assert_allclose(found.nu[0], -0.5 * h / (1 + bulk) * slope, atol=1e-13)
    found = feature_moments(SpikedFeatures(activation("sin"), target("sin"), layer), KAPPA)
    decay = np.exp(-0.5 * bulk)
    assert_allclose(found.mu0[0], decay * np.sin(h), atol=1e-13)
    assert_allclose(found.mu1[0], decay * np.cos(h), atol=1e-13)
    square = 0.5 * (1 - decay**4 * np.cos(2 * h))
    assert_allclose(found.mu2_squared[0], square - decay**2 * (np.sin(h) ** 2 + bulk * np.cos(h) ** 2), atol=1e-13)


def test_mu2_is_not_lost_in_the_tail_of_a_saturating_function():
    """Var tanh(h + xi) for large h is that of -2 exp(-2 h - 2 xi): far below round-off of the second moment."""
    spiked = SpikedFeatures(activation("tanh"), target("sin"), spiked_layer(1.0, 0.01, 0.5))
    h = 12.0
    found = feature_moments(spiked, np.array([h])).mu2_squared[0, 0]
    bulk = 0.01
    variance = 4 * np.exp(-4 * h) * (np.exp(8 * bulk) - np.exp(4 * bulk) - 4 * bulk * np.exp(4 * bulk))
    assert found < 1e-20
    assert_allclose(found, variance, rtol=0.3, atol=1e-31)


@pytest.mark.parametrize("alignment", [0.5, 0.999, 0.999999, 1.0, -0.9999])
def test_the_rule_for_kappa_follows_a_blurred_kink(alignment):
    """E over kappa of E[|y| given kappa]^2 and of sign: closed by the arcsine law of two correlated normal numbers."""
    sign = target("sign")
    kappa, weights = averages.spike_rule(sign, alignment, 1.0)
    rho = np.sqrt(1 - alignment**2)
    given = averages.expand(sign, alignment * kappa, rho).constant
    assert_allclose(weights @ given**2, 2 / np.pi * np.arcsin(alignment**2), atol=1e-12)
    assert_allclose(weights @ kappa**2, 1.0, atol=1e-13)


def test_the_rule_refines_for_steep_students_and_keeps_kinks_of_the_callers_functions():
    coarse, fine = (len(averages.spike_rule(target("sin"), 0.5, steep)[0]) for steep in (1.0, 60.0))
    assert fine > 4 * coarse
    clipped = ScalarFunction("clip", lambda z: np.clip(z, -1.0, 1.0), kinks=(-1.0, 1.0))
    part = averages.expand(clipped, np.array([0.0]), 1.0)
    assert_allclose(part.linear, 2 * ndtr(1.0) - 1, atol=1e-14)
    density = np.exp(-0.5) / np.sqrt(2 * np.pi)
    square = (2 * ndtr(1.0) - 1) - 2 * density + 2 * ndtr(-1.0)
    assert_allclose(part.constant**2 + part.linear**2 + part.remainder, square, atol=1e-14)


def marchenko_pastur(ridge, v1hat, v2hat, bulk, beta):
    """Traces of one group from the quadratic of the Marchenko-Pastur law, and their responses."""
    a, b = ridge + v2hat, bulk * v1hat
    big = a + b * (1 - beta)
    root = np.sqrt(big**2 + 4 * a * b * beta)
    v2 = 2 / (big + root) if big > 0 else (root - big) / (2 * a * b * beta)
    v1 = bulk * v2 / (1 + beta * b * v2)
    q = 2 * beta * a * b * v2 + big
    da, db = -(beta * b * v2**2 + v2) / q, -(beta * a * v2**2 + (1 - beta) * v2) / q
    t11 = -(bulk**2) * (db - beta * v2**2) / (1 + beta * b * v2) ** 2
    return np.array([v1, v2]), np.array([[t11, -bulk * db], [-bulk * db, -da]])


@pytest.mark.parametrize("ridge, v1hat, v2hat", [(0.1, 0.5, 0.3), (1e-6, 2.0, 1e-7), (3.0, 1e-9, 1.0), (0.0, 0.7, 0.2)])
@pytest.mark.parametrize("bulk, beta", [(1.0, 1.0), (1.3, 0.4), (0.5, 3.0)])
def test_one_group_is_the_marchenko_pastur_law(ridge, v1hat, v2hat, bulk, beta):
    found = resolvent.traces(table_of(bulk=bulk, width=beta), ridge, np.array([v1hat, v2hat]))
    values, response = marchenko_pastur(ridge, v1hat, v2hat, bulk, beta)
    assert_allclose(found.values, values, rtol=1e-9)
    assert_allclose(found.response, response, rtol=1e-7)


GROUPS = ((1.0, 0.3), (-0.5, 0.5), (2.0, 0.2))


def test_traces_of_several_groups_are_those_of_a_random_matrix(rng):
    table = table_of(width=0.8, readout=GROUPS, bulk=1.3)
    kernel = np.array([[0.9, -0.3, 0.4], [-0.3, 0.5, 0.1], [0.4, 0.1, 1.1]])
    own = np.array([0.2, 0.5, 0.1])
    first, second = np.triu_indices(3)
    found = resolvent.traces(table, 0.05, np.concatenate([kernel[first, second], own]))
    d = 1500
    counts = [int(0.8 * d * share) for _, share in GROUPS]
    w = rng.standard_normal((sum(counts), d)) * np.sqrt(1.3 / d)
    group = np.repeat([0, 1, 2], counts)
    matrix = (w @ w.T) * kernel[np.ix_(group, group)] + np.diag(0.05 + own[group])
    inverse = np.linalg.inv(matrix)
    p = len(w)
    v2 = [inverse.diagonal()[group == g].sum() / p for g in range(3)]
    overlap = (w @ w.T) * inverse
    v1 = [overlap[np.ix_(group == g, group == h)].sum() / p for g, h in zip(first, second, strict=True)]
    assert_allclose(found.values, [*v1, *v2], rtol=3e-3, atol=3e-4)


def test_the_response_is_the_derivative():
    table = table_of(width=0.8, readout=GROUPS)
    base = np.array([0.9, -0.3, 0.4, 0.5, 0.1, 1.1, 0.2, 0.5, 0.1])
    found = resolvent.traces(table, 0.05, base)
    step = 1e-5
    for k in range(len(base)):
        move = np.eye(len(base))[k] * step
        difference = (
            resolvent.traces(table, 0.05, base - move).values - resolvent.traces(table, 0.05, base + move).values
        )
        assert_allclose(found.response[:, k], difference / (2 * step), rtol=1e-6, atol=1e-8)


def distribution(spectrum):
    steps = 0.5 * (spectrum.density[1:] + spectrum.density[:-1]) * np.diff(spectrum.eigenvalues)
    return np.concatenate([[0.0], np.cumsum(steps)])


def test_the_spectrum_has_the_quantiles_of_the_verified_table():
    table = table_of()
    top = upper_bound(table, 3.0)
    grid = np.geomspace(1e-4, top, 500)
    found = bulk_spectrum(table, 3.0, grid)
    mass = distribution(found)
    assert found.atom == 0.0
    assert_allclose(mass[-1], 1.0, atol=1e-3)
    quantiles = np.interp([0.25, 0.5, 0.75, 0.9, 0.99], mass, grid)
    assert_allclose(quantiles, [0.128, 0.356, 0.958, 1.792, 2.962], rtol=0.015)
    assert found.density[-1] < 1e-6 and found.density.min() > -1e-9


@pytest.mark.parametrize(
    "ratio, setting",
    [
        (0.6, {}),
        (
            3.0,
            {
                "student": "relu",
                "teacher": "absolute",
                "spike": 1.0,
                "width": 1.5,
                "readout": ((1.0, 0.5), (-1.0, 0.5)),
            },
        ),
    ],
    ids=["fewer samples than neurons", "two groups of relu"],
)
def test_the_spectrum_is_that_of_drawn_features(ratio, setting):
    """Mean quantiles of 16 draws at d = 200: the samples' spikes are independent, hence one draw is not enough."""
    table = table_of(**setting)
    drawn = np.stack([feature_eigenvalues(table.model, 200, ratio, seed) for seed in range(16)])
    grid = np.geomspace(1e-6, upper_bound(table, ratio), 400)
    found = bulk_spectrum(table, ratio, grid)
    mass = distribution(found)
    assert_allclose(mass[-1], 1.0 - found.atom, atol=6e-3)
    assert_allclose(found.atom, np.mean(drawn < 1e-9), atol=1e-12)
    levels = found.atom + (1.0 - found.atom) * np.array([0.25, 0.5, 0.75, 0.9])
    expected = np.mean(np.quantile(drawn, levels, axis=1), axis=1)
    assert_allclose(np.interp(levels - found.atom, mass, grid), expected, rtol=0.05)


@pytest.mark.parametrize("ratio", [0.6, 2.0])
def test_the_spectrum_has_the_traces_of_real_ridges(ratio):
    table = table_of("relu", "absolute", spike=0.8, readout=GROUPS)
    grid = np.geomspace(1e-7, upper_bound(table, ratio), 1200)
    found = bulk_spectrum(table, ratio, grid)
    for ridge in (0.03, 1.0):
        trace = found.atom / ridge + np.trapezoid(found.density / (grid + ridge), grid)
        assert_allclose(ridge_readout(table, ratio, ridge).traces[-3:].sum(), trace, rtol=5e-3)


def test_eigenvalues_of_a_spectrum_are_checked():
    with pytest.raises(ConfigError, match="eigenvalues do not increase from a positive number"):
        bulk_spectrum(table_of(), 1.0, np.array([0.0, 1.0]))


def test_which_functions_saturate_and_which_are_odd():
    names = ("relu", "tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "quadratic", "identity")
    assert [n for n in names if saturates(activation(n))] == ["tanh", "erf", "sigmoid"]
    assert [n for n in names if is_odd(activation(n))] == ["tanh", "erf", "sin", "identity"]
    assert is_odd(activation("hermite", (0.0, 1.0, 0.0, 0.5)))
    assert not is_odd(activation("hermite", (0.0, 1.0, 0.5)))
