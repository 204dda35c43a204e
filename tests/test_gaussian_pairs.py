"""Quadratic pairs (Kook et al. 2024, appendix C) against dense matrices, rational arithmetic and the linear neuron."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import solve_continuous_lyapunov, sqrtm

from mfpde.compare.transport import gaussian_squared
from mfpde.errors import ConfigError
from mfpde.exact import gaussian_pairs, linear_neuron, ornstein_uhlenbeck

STIFFNESS = np.array([[1.2, 0.4, 0.0], [0.4, 0.7, -0.1], [0.0, -0.1, 2.0]])
TAU = 0.35
BOTH = pytest.mark.parametrize("pairs", ["others", "all"])
SIGNS = pytest.mark.parametrize("strength", [0.9, -0.3])


def share(width, strength, pairs):
    return strength / (width - 1 if pairs == "others" else width)


def rate_matrix(width, strength, pairs):
    """Of the full system, from C_ii = N − 1, C_ij = −1 as in the paper."""
    c = width * np.eye(width) - np.ones((width, width))
    return np.kron(np.eye(width), STIFFNESS) + share(width, strength, pairs) * np.kron(c, np.eye(3))


def dense_entropy(covariance, reference):
    """KL of two centred Gaussians by the eigenvalues of reference⁻¹ covariance."""
    ratio = np.linalg.eigvals(np.linalg.solve(reference, covariance)).real
    return 0.5 * np.sum(ratio - 1.0 - np.log(ratio))


@BOTH
@SIGNS
def test_covariance_is_the_inverse_precision_and_solves_the_lyapunov_equation(pairs, strength):
    n = 7
    rates = rate_matrix(n, strength, pairs)
    ours = gaussian_pairs.covariance(n, n, stiffness=STIFFNESS, interaction=strength, temperature=TAU, pairs=pairs)
    assert_allclose(ours, TAU * np.linalg.inv(rates), rtol=1e-12, atol=1e-15)
    assert_allclose(ours, solve_continuous_lyapunov(rates, 2 * TAU * np.eye(3 * n)), rtol=1e-12, atol=1e-15)
    some = gaussian_pairs.covariance(3, n, stiffness=STIFFNESS, interaction=strength, temperature=TAU, pairs=pairs)
    assert_allclose(some, ours[6:15, 6:15], rtol=1e-14)


def test_the_limit_is_that_of_the_mean_field_problem():
    limit = ornstein_uhlenbeck.stationary(stiffness=STIFFNESS, interaction=0.9, temperature=TAU, dimension=3)
    for pairs in ("others", "all"):
        one, two = gaussian_pairs.blocks(10**9, stiffness=STIFFNESS, interaction=0.9, temperature=TAU, pairs=pairs)
        assert_allclose(one, limit.covariance, atol=1e-8)
        assert_allclose(two, 0.0, atol=1e-8)


@BOTH
@SIGNS
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_entropy_and_distance_of_every_marginal_against_dense_gaussians(pairs, strength, count):
    n, problem = 8, {"stiffness": STIFFNESS, "interaction": strength, "pairs": pairs}
    law = (TAU * np.linalg.inv(rate_matrix(n, strength, pairs)))[: 3 * count, : 3 * count]
    product = np.kron(np.eye(count), TAU * np.linalg.inv(STIFFNESS + strength * np.eye(3)))
    assert_allclose(gaussian_pairs.relative_entropy(count, n, **problem), dense_entropy(law, product), rtol=1e-11)
    zero = np.zeros(3 * count)
    distance = gaussian_pairs.squared_distance(count, n, temperature=TAU, **problem)
    assert_allclose(distance, gaussian_squared(zero, law, zero, product), rtol=1e-11)
    root = sqrtm(law)
    cross = np.trace(sqrtm(root @ product @ root)).real
    assert_allclose(distance, np.trace(law + product) - 2 * cross, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("width", [41, 10**4, 10**8, 10**10])
def test_tiny_entropies_against_rational_arithmetic(pairs, count, width):
    """h = δ − log(1 + δ) by its series of exact fractions, δ from the covariance, not from the formula under test."""
    a, strength = Fraction(3, 4), Fraction(5, 8)
    c = strength / (width - 1 if pairs == "others" else width)
    diagonal_less = 1 / (a + c * width)
    off = c / (a * (a + c * width))
    first, second = (v * (a + strength) - 1 for v in (diagonal_less, diagonal_less + count * off))

    def without_logarithm(x):
        if abs(x) > Fraction(1, 10):
            return float(x) - np.log1p(float(x))
        return float(sum((-1) ** j * x**j / j for j in range(2, 20)))

    exact = 0.5 * ((count - 1) * without_logarithm(first) + without_logarithm(second))
    ours = gaussian_pairs.relative_entropy(count, width, stiffness=0.75, interaction=0.625, pairs=pairs)
    assert_allclose(ours, exact, rtol=1e-13)
    if width == 10**8 and count == 1:
        assert 1e-18 < exact < 1e-16


@BOTH
def test_entropy_falls_with_slope_minus_two_in_the_width_and_rises_with_slope_two_in_the_count(pairs):
    """N² KL → ¼ Σ_a λ²/(a + λ)² [(k − 1)s + (k(1 + λ/a) − s)²]: the square of k up to 1/k, of 1/N up to 1/N."""
    problem = {"stiffness": STIFFNESS, "interaction": 0.9, "pairs": pairs}
    widths = np.logspace(4, 8, 9).round()
    slope = np.polyfit(np.log(widths), np.log(gaussian_pairs.relative_entropy(3, widths, **problem)), 1)[0]
    assert_allclose(slope, -2.0, atol=2e-4)
    counts = np.logspace(2, 5, 7).round()
    slope = np.polyfit(np.log(counts), np.log(gaussian_pairs.relative_entropy(counts, 10**9, **problem)), 1)[0]
    assert_allclose(slope, 2.0, atol=3e-3)
    a, s = np.linalg.eigvalsh(STIFFNESS), float(pairs == "others")
    for k in (1, 2, 50):
        constant = 0.25 * np.sum((0.9 / (a + 0.9)) ** 2 * ((k - 1) * s + (k * (1 + 0.9 / a) - s) ** 2))
        assert_allclose(10**16 * gaussian_pairs.relative_entropy(k, 10**8, **problem), constant, rtol=2e-6)


@BOTH
def test_distances_of_one_particle_and_of_the_whole_law(pairs):
    problem = {"stiffness": STIFFNESS, "interaction": 0.9, "temperature": TAU, "pairs": pairs}
    widths = np.logspace(4, 8, 9).round()
    one = gaussian_pairs.squared_distance(1, widths, **problem)
    assert_allclose(np.polyfit(np.log(widths), np.log(one), 1)[0], -2.0, atol=2e-4)
    whole = gaussian_pairs.squared_distance(widths, widths, **problem) / widths
    assert_allclose(np.polyfit(np.log(widths), np.log(whole), 1)[0], -1.0, atol=2e-4)
    # one variance is off by the factor 1 + δ with Nδ → λ/a, or λ²/(a(a + λ)): W2² = τ/(a + λ) (δ/2)²
    a = np.linalg.eigvalsh(STIFFNESS)
    excess = 0.9 / a if pairs == "all" else 0.9**2 / (a * (a + 0.9))
    scaled = 1e20 * gaussian_pairs.squared_distance(1, 10**10, **problem)
    assert_allclose(scaled, np.sum(TAU / (a + 0.9) * (excess / 2) ** 2), rtol=1e-8)
    # the mean relaxes with A alone: N · (1/N) W2² → tr (√(τ/A) − √(τ/(A + λ)))², the other modes adding λ²/N
    assert_allclose(whole[-1] * widths[-1], np.sum((np.sqrt(TAU / a) - np.sqrt(TAU / (a + 0.9))) ** 2), rtol=1e-7)


def test_the_linear_neuron_is_a_repulsion():
    """φ = θx: the mean has the rate K + λ and the deviations λ, so A = K + λ and the pairs are −K/N."""
    moment, decay, tau = 1.7, 0.4, 0.3
    for n in (1, 2, 9, 1000):
        law = linear_neuron.path(
            [np.inf], n, 0.2, 0.6, second_moment=moment, target=0.6, weight_decay=decay, temperature=tau
        )
        problem = {"stiffness": moment + decay, "interaction": -moment, "temperature": tau}
        one, two = gaussian_pairs.blocks(n, **problem)
        assert_allclose(one[0, 0], law.particle_variance[0], rtol=1e-14)
        assert_allclose((one + (n - 1) * two)[0, 0] / n, law.mean_variance[0], rtol=1e-12)
        one_particle = gaussian_pairs.squared_distance(1, n, **problem)
        assert_allclose(one_particle, law.one_particle_distance[0], rtol=1e-12, atol=1e-17)
        assert_allclose(gaussian_pairs.squared_distance(n, n, **problem) / n, law.joint_distance[0], rtol=1e-12)


def test_values_broadcast_and_the_temperature_only_scales_distances():
    widths, counts = np.array([10, 100, 1000]), np.array([[1], [4]])
    problem = {"stiffness": STIFFNESS, "interaction": 0.9}
    table = gaussian_pairs.relative_entropy(counts, widths, **problem)
    assert table.shape == (2, 3)
    assert_allclose(table[1, 2], gaussian_pairs.relative_entropy(4, 1000, **problem), rtol=1e-15)
    cold, warm = (gaussian_pairs.squared_distance(counts, widths, temperature=t, **problem) for t in (0.1, 0.2))
    assert_allclose(warm, 2 * cold, rtol=1e-14)
    assert np.all(gaussian_pairs.relative_entropy(counts, widths, stiffness=STIFFNESS, interaction=0.0) == 0.0)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: gaussian_pairs.relative_entropy(5, 4, stiffness=1.0, interaction=1.0), "count"),
        (lambda: gaussian_pairs.relative_entropy(0, 4, stiffness=1.0, interaction=1.0), "count"),
        (
            lambda: gaussian_pairs.relative_entropy(1, 1, stiffness=1.0, interaction=1.0, pairs="others"),
            "two particles",
        ),
        (lambda: gaussian_pairs.relative_entropy(1, 4, stiffness=1.0, interaction=-1.0), r"pairwise\.strength"),
        (lambda: gaussian_pairs.blocks(4, stiffness=-0.1, interaction=1.0, temperature=1.0), r"pairwise\.strength"),
        # N/(N − 1) times a repulsion that the limit still bears
        (
            lambda: gaussian_pairs.blocks(2, stiffness=1.0, interaction=-0.6, temperature=1.0, pairs="others"),
            r"pairwise\.strength",
        ),
    ],
)
def test_laws_that_do_not_exist_are_refused(call, word):
    with pytest.raises(ConfigError, match=word):
        call()
