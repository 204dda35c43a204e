"""Wasserstein distances against closed forms, SciPy, assignment by brute force, and the axioms of a metric."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm, wasserstein_distance

from mfpde.compare import transport
from mfpde.compare.transport import quantile_of_atoms, quantile_of_cells, wasserstein_circle, wasserstein_line
from mfpde.errors import ConfigError

positions = arrays(float, st.integers(1, 12), elements=st.floats(-5, 5, width=32))
masses = st.lists(st.floats(0.015625, 1.0, width=32), min_size=12, max_size=12).map(np.array)


def gaussian_cells(mean, std, cells=800, reach=9.0):
    edges = np.linspace(mean - reach * std, mean + reach * std, cells + 1)
    return edges, np.diff(norm.cdf(edges, mean, std))


# --- on the line


def test_atoms_against_a_gaussian_by_the_closed_quantile_sum(rng):
    """W2² = Σ [x_i²/N − 2 x_i ΔA_i + ΔB_i], A(u) = −φ(Φ⁻¹(u)), B(u) = u − Φ⁻¹(u)φ(Φ⁻¹(u)); cells add O(h²)."""
    x = np.sort(rng.normal(0.3, 1.2, size=500))
    inner = norm.ppf(np.arange(1, 500) / 500)
    a = np.concatenate([[0.0], -norm.pdf(inner), [0.0]])
    b = np.concatenate([[0.0], np.arange(1, 500) / 500 - inner * norm.pdf(inner), [1.0]])
    exact = np.sum(x**2 / 500 - 2 * x * np.diff(a) + np.diff(b))
    errors = []
    for cells in (200, 400, 800):
        density = quantile_of_cells(*gaussian_cells(0.0, 1.0, cells))
        errors.append(abs(wasserstein_line(quantile_of_atoms(rng.permutation(x)), density) - exact))
    assert errors[-1] < 2e-5
    assert_allclose(np.log2(errors[0] / errors[2]) / 2, 2.0, atol=0.1)


def test_one_atom_against_one_cell():
    atom, cell = quantile_of_atoms([0.0]), quantile_of_cells([-1.0, 3.0], [2.0])
    assert_allclose(wasserstein_line(atom, cell, 2), (27 + 1) / 12, rtol=1e-15)
    assert_allclose(wasserstein_line(atom, cell, 1), (0.5 + 4.5) / 4, rtol=1e-15)


def test_two_densities_in_closed_form():
    # Q_a = u on [0, 1]; Q_b = 2u on the first half of the mass, 1 + 4(u − ½) on the second.
    a, b = quantile_of_cells([0.0, 1.0], [1.0]), quantile_of_cells([0.0, 1.0, 3.0], [0.5, 0.5])
    assert_allclose(wasserstein_line(a, b, 2), 1 / 24 + (2.0**3 - 0.5**3) / 9, rtol=1e-14)
    assert_allclose(wasserstein_line(a, b, 1), 1 / 8 + (0.5 + 2.0) / 4, rtol=1e-14)


@pytest.mark.parametrize("p", [1, 2])
def test_translation_and_dilation_of_a_density(p):
    edges, mass = gaussian_cells(0.0, 1.0)
    law = quantile_of_cells(edges, mass)
    assert_allclose(wasserstein_line(law, quantile_of_cells(edges + 0.75, mass), p), 0.75**p, rtol=1e-13)
    assert_allclose(
        wasserstein_line(law, quantile_of_cells(3 * edges, mass), p),
        [2 * np.sqrt(2 / np.pi), 4.0][p - 1],
        rtol=[1e-4, 2e-4][p - 1],
    )


def test_first_power_agrees_with_scipy(rng):
    for _ in range(10):
        x, y = rng.normal(size=60), rng.normal(0.2, 1.4, size=45)
        u, v = rng.random(60), rng.random(45)
        ours = wasserstein_line(quantile_of_atoms(x, u), quantile_of_atoms(y, v), 1)
        assert_allclose(ours, wasserstein_distance(x, y, u, v), rtol=1e-12)


@pytest.mark.parametrize("p", [1, 2])
def test_weighted_atoms_agree_with_pot(p, rng):
    ot = pytest.importorskip("ot")
    for _ in range(20):
        x, y = rng.normal(size=70), rng.normal(0.2, 1.4, size=45)
        x[:10] = y[:10]
        u, v = rng.dirichlet(np.ones(70)), rng.dirichlet(np.full(45, 0.3))
        ours = wasserstein_line(quantile_of_atoms(x, u), quantile_of_atoms(y, v), p)
        metric = "euclidean" if p == 1 else "sqeuclidean"
        assert_allclose(ours, ot.emd2_1d(x, y, u, v, metric=metric), rtol=1e-12)
        assert_allclose(ours, ot.wasserstein_1d(x, y, u, v, p=p), rtol=1e-12)
    integers = rng.integers(-3, 4, size=(2, 200)).astype(float)
    ours = wasserstein_line(*(quantile_of_atoms(one) for one in integers), p)
    assert_allclose(ours, ot.wasserstein_1d(*integers, p=p), rtol=1e-12)
    if p == 1:
        assert_allclose(ours, wasserstein_distance(*integers), rtol=1e-12)


def test_second_power_of_equal_atoms_is_the_sorted_matching(rng):
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    ours = wasserstein_line(quantile_of_atoms(x), quantile_of_atoms(y))
    assert_allclose(ours, np.mean((np.sort(x) - np.sort(y)) ** 2), rtol=1e-12)


def test_density_is_the_limit_of_its_subdivision(rng):
    edges, mass = np.sort(rng.normal(size=9)), rng.random(8)
    fine = (edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(4000) + 0.5) / 4000).ravel()
    atoms = quantile_of_atoms(fine, np.repeat(mass / 4000, 4000))
    other = quantile_of_atoms(rng.normal(size=30))
    for p in (1, 2):
        exact = wasserstein_line(quantile_of_cells(edges, mass), other, p)
        assert_allclose(wasserstein_line(atoms, other, p), exact, rtol=1e-5)


def test_far_tails_do_not_overflow():
    """Cells with masses down to 1e-300 and exact zeros, as a solved density has them."""
    edges = np.linspace(-40, 40, 2001)
    mass = np.diff(norm.cdf(edges))
    assert mass.min() < 1e-300
    law = quantile_of_cells(edges, mass)
    assert_allclose(wasserstein_line(law, quantile_of_cells(edges + 1e-3, mass)), 1e-6, rtol=1e-10)
    assert_allclose(wasserstein_line(law, quantile_of_atoms([0.0])), 1 + 0.04**2 / 6, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(positions, positions, positions, masses, masses, st.floats(-3, 3), st.sampled_from([1, 2]))
def test_metric_axioms_on_the_line(x, y, z, u, v, shift, p):
    a, b, c = quantile_of_atoms(x, u[: x.size]), quantile_of_atoms(y, v[: y.size]), quantile_of_atoms(z)

    def distance(first, second):
        return wasserstein_line(first, second, p) ** (1 / p)

    assert distance(a, b) >= 0.0
    assert wasserstein_line(a, a, p) == 0.0
    assert_allclose(distance(a, b), distance(b, a), rtol=1e-12)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12
    moved = quantile_of_atoms(x + shift, u[: x.size]), quantile_of_atoms(y + shift, v[: y.size])
    assert_allclose(wasserstein_line(*moved, p), wasserstein_line(a, b, p), rtol=1e-9, atol=1e-13)
    mean_difference = np.average(x, weights=u[: x.size]) - np.average(y, weights=v[: y.size])
    assert distance(a, b) >= abs(mean_difference) - 1e-12
    translated = quantile_of_atoms(x + shift, u[: x.size])
    assert_allclose(distance(a, translated), abs(shift), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(masses, masses, st.sampled_from([1, 2]))
def test_metric_axioms_between_densities(u, v, p):
    a, b = quantile_of_cells(np.linspace(-1, 2, 13), u), quantile_of_cells(np.linspace(0, 1, 13) ** 2, v)
    assert wasserstein_line(a, a, p) == 0.0
    assert wasserstein_line(a, b, p) > 0.0
    assert_allclose(wasserstein_line(a, b, p), wasserstein_line(b, a, p), rtol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda: quantile_of_atoms([]),
        lambda: quantile_of_atoms([0.0, 1.0], [1.0]),
        lambda: quantile_of_atoms([0.0, 1.0], [1.0, -0.5]),
        lambda: quantile_of_cells([0.0, 1.0, 2.0], [0.0, 0.0]),
        lambda: wasserstein_line(quantile_of_atoms([0.0]), quantile_of_atoms([1.0]), 3),
        lambda: wasserstein_circle(quantile_of_atoms([0.0]), quantile_of_atoms([7.0])),
    ],
)
def test_unusable_input_is_refused_by_name(build):
    with pytest.raises(ConfigError):
        build()


# --- on the circle


def circle_cost(x, y, period, p):
    gap = np.abs(x[:, None] - y)
    return np.minimum(gap, period - gap) ** p


@pytest.mark.parametrize("p", [1, 2])
def test_circle_against_the_assignment_problem(p, rng):
    for _ in range(20):
        count = int(rng.integers(1, 25))
        x, y = rng.random(count) * 3, rng.random(count) * 3
        cost = circle_cost(x, y, 3.0, p)
        expected = cost[linear_sum_assignment(cost)].mean()
        ours = wasserstein_circle(quantile_of_atoms(x), quantile_of_atoms(y), 3.0, p)
        assert_allclose(ours, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("p", [1, 2])
def test_circle_with_weights_against_linear_programming(p, rng):
    ot = pytest.importorskip("ot")
    for _ in range(10):
        x, y = rng.random(13) * 2 * np.pi, rng.random(9) * 2 * np.pi
        u, v = rng.dirichlet(np.ones(13)), rng.dirichlet(np.ones(9))
        expected = ot.emd2(u, v, circle_cost(x, y, 2 * np.pi, p))
        ours = wasserstein_circle(quantile_of_atoms(x, u), quantile_of_atoms(y, v), p=p)
        assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.parametrize("p", [1, 2])
def test_circle_does_not_see_the_cut(p, rng):
    """Particles against a density: rotating both by whole cells, so that mass crosses the cut, changes nothing."""
    edges = np.linspace(-np.pi, np.pi, 65)
    centers = 0.5 * (edges[1:] + edges[:-1])
    mass = np.exp(2 * np.cos(centers - 2.5))
    x = rng.vonmises(2.0, 1.0, size=40)
    before = wasserstein_circle(quantile_of_atoms(x), quantile_of_cells(edges, mass), p=p)
    turned = np.mod(x + 20 * 2 * np.pi / 64 + np.pi, 2 * np.pi) - np.pi
    after = wasserstein_circle(quantile_of_atoms(turned), quantile_of_cells(edges, np.roll(mass, 20)), p=p)
    assert_allclose(after, before, rtol=1e-11)
    assert before < wasserstein_line(quantile_of_atoms(x), quantile_of_cells(edges, mass), p)


def test_circle_between_two_atoms_takes_the_short_way():
    close = wasserstein_circle(quantile_of_atoms([0.1]), quantile_of_atoms([6.2]))
    assert_allclose(close, (0.1 + 2 * np.pi - 6.2) ** 2, rtol=1e-12)


@settings(max_examples=15, deadline=None)
@given(positions, positions, positions, masses, masses, st.floats(-3, 3), st.sampled_from([1, 2]))
def test_metric_axioms_on_the_circle(x, y, z, u, v, turn, p):
    """Between points of [−5, 5] on the circle of length 11, which leaves no way around unused."""
    a, b, c = quantile_of_atoms(x, u[: x.size]), quantile_of_atoms(y, v[: y.size]), quantile_of_atoms(z)

    def distance(first, second):
        return wasserstein_circle(first, second, 11.0, p) ** (1 / p)

    assert wasserstein_circle(a, a, 11.0, p) == 0.0
    # a root turns round-off of the square into 1e-8 where the laws coincide
    assert_allclose(distance(a, b), distance(b, a), rtol=1e-9, atol=1e-7)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-7
    assert distance(a, b) <= wasserstein_line(a, b, p) ** (1 / p) + 1e-12
    assert distance(a, b) <= 5.5 + 1e-12
    turned = (np.mod(one + turn + 5.5, 11.0) - 5.5 for one in (x, y))
    laws = (quantile_of_atoms(one, m[: one.size]) for one, m in zip(turned, (u, v), strict=True))
    assert_allclose(distance(*laws), distance(a, b), rtol=1e-9, atol=1e-7)


# --- sliced


def test_sliced_translation_and_the_gaussian_average(rng):
    x = rng.normal(size=(300, 3))
    move = np.array([0.3, -0.2, 0.5])
    vectors = transport.directions(3)
    result = transport.sliced(x, x + move)
    assert_allclose(result.squared, np.mean((vectors @ move) ** 2), rtol=1e-11)
    assert abs(result.squared - move @ move / 3) < 4 * result.sem
    assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-15)


def test_sliced_is_seeded_symmetric_and_below_the_full_distance(rng):
    x, y = rng.normal(size=(80, 2)), rng.normal(0.5, 1.3, size=(50, 2))
    u = rng.random(80)
    value = transport.sliced(x, y, u).squared
    assert transport.sliced(x, y, u).squared == value
    assert transport.sliced(x, y, u, seed=1).squared != value
    assert_allclose(transport.sliced(y, x, None, u).squared, value, rtol=1e-12)
    assert value <= transport.discrete(x, y, u).squared / 2 * 1.1
    assert transport.sliced(x, x).squared == 0.0


def test_sliced_in_one_dimension_is_the_distance_itself(rng):
    x, y = rng.normal(size=50), rng.normal(size=70)
    assert_allclose(
        transport.sliced(x, y).squared, wasserstein_line(quantile_of_atoms(x), quantile_of_atoms(y)), rtol=1e-14
    )


clouds = arrays(float, st.tuples(st.integers(1, 8), st.just(2)), elements=st.floats(-5, 5, width=32))


@settings(max_examples=30, deadline=None)
@given(clouds, clouds, clouds, masses, masses)
def test_metric_axioms_of_sliced_and_discrete_distances(x, y, z, u, v):
    """Both are metrics, the sliced one on its fixed directions too, and at least the distance of the means."""
    pytest.importorskip("ot")
    first, second, third = (x, u[: len(x)]), (y, v[: len(y)]), (z, np.ones(len(z)))
    mean_difference = np.average(x, axis=0, weights=first[1]) - np.average(y, axis=0, weights=second[1])
    seen = np.sqrt(np.mean((transport.directions(2, 20) @ mean_difference) ** 2))
    sliced = partial(transport.sliced, count=20)
    for measure, bound in ((sliced, seen), (transport.discrete, np.linalg.norm(mean_difference))):

        def distance(a, b, measure=measure):
            return np.sqrt(measure(a[0], b[0], a[1], b[1]).squared)

        # |x|² + |y|² − 2⟨x, y⟩ has the round-off of 50, and its root is 1e-7
        assert distance(first, first) <= 3e-7
        assert_allclose(distance(first, second), distance(second, first), rtol=1e-9, atol=3e-7)
        assert distance(first, third) <= distance(first, second) + distance(second, third) + 1e-6
        assert distance(first, second) >= bound - 1e-6
    weights = first[1], second[1]
    assert sliced(x, y, *weights).squared <= transport.discrete(x, y, *weights).squared + 1e-9


# --- exact discrete transport


def test_discrete_agrees_with_assignment_and_with_the_line(rng):
    pytest.importorskip("ot")
    x, y = rng.normal(size=(60, 3)), rng.normal(0.4, 1.1, size=(60, 3))
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    assert_allclose(transport.discrete(x, y).squared, cost[linear_sum_assignment(cost)].mean(), rtol=1e-10)
    u, v = rng.random(60), rng.random(60)
    line = wasserstein_line(quantile_of_atoms(x[:, 0], u), quantile_of_atoms(y[:, 0], v))
    assert_allclose(transport.discrete(x[:, 0], y[:, 0], u, v).squared, line, rtol=1e-9)


def test_discrete_translation_error_bar_and_dropped_mass():
    pytest.importorskip("ot")
    centers = np.stack(np.meshgrid(*[np.linspace(-3, 3, 25)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(-3 * np.sum(centers**2, axis=1))
    result = transport.discrete(centers, centers + np.array([0.3, 0.4]), mass, mass, cell_widths=[0.25, 0.25])
    assert_allclose(result.squared, 0.25, rtol=1e-9)
    assert_allclose(result.cell_error, 0.25 * np.sqrt(2 / 12), rtol=1e-15)
    assert 0.0 < result.dropped_mass < 1e-6


def test_discrete_refuses_large_plans_and_a_missing_package(monkeypatch):
    with pytest.raises(ConfigError, match="10001 x 10001"):
        transport.discrete(np.zeros((10001, 2)), np.zeros((10001, 2)), negligible=0.0)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ConfigError, match="POT"):
        transport.discrete(np.zeros((2, 2)), np.ones((2, 2)))


# --- Gaussian closed form


def test_gaussian_distance_of_commuting_and_one_dimensional_laws():
    assert_allclose(transport.gaussian_squared(0.5, 4.0, -0.5, 1.0), 1.0 + 1.0, rtol=1e-14)
    first, second = np.diag([1.0, 4.0]), np.diag([9.0, 0.25])
    assert_allclose(transport.gaussian_squared([0, 0], first, [1, 2], second), 5 + 4 + 2.25, rtol=1e-14)


def test_gaussian_distance_of_a_linear_monotone_map(rng):
    """T = a symmetric positive matrix is optimal from C to TCT: W2² = tr((T − I) C (T − I))."""
    factor, other = rng.normal(size=(2, 3, 3))
    covariance, transform = factor @ factor.T + 0.1 * np.eye(3), other @ other.T + 0.2 * np.eye(3)
    change = transform - np.eye(3)
    expected = np.trace(change @ covariance @ change)
    ours = transport.gaussian_squared(np.zeros(3), covariance, np.zeros(3), transform @ covariance @ transform)
    assert_allclose(ours, expected, rtol=1e-10)
    near = np.eye(3) + 1e-7 * transform
    nearby = transport.gaussian_squared(np.zeros(3), covariance, np.zeros(3), near @ covariance @ near)
    assert_allclose(nearby, 1e-14 * np.trace(transform @ covariance @ transform), rtol=1e-6)


def test_gaussian_distance_against_samples_on_every_slice(rng):
    mean, covariance = np.array([0.4, -0.1]), np.array([[1.0, 0.6], [0.6, 0.8]])
    x = rng.multivariate_normal(mean, covariance, size=10000)
    y = rng.multivariate_normal([0, 0], np.eye(2), size=10000)
    vectors = transport.directions(2)
    expected = np.mean((vectors @ mean) ** 2 + (np.sqrt(np.sum((vectors @ covariance) * vectors, axis=1)) - 1) ** 2)
    assert_allclose(transport.sliced(x, y).squared, expected, atol=1e-2)


def test_gaussian_distance_agrees_with_pot(rng):
    ot = pytest.importorskip("ot")
    for dimension in (1, 2, 5):
        factors = rng.normal(size=(2, dimension, dimension))
        means, covariances = rng.normal(size=(2, dimension)), factors @ factors.transpose(0, 2, 1)
        expected = ot.gaussian.bures_wasserstein_distance(*means, *covariances) ** 2
        ours = transport.gaussian_squared(means[0], covariances[0], means[1], covariances[1])
        assert_allclose(ours, expected, rtol=1e-9)


factors = arrays(float, (3, 2, 3), elements=st.floats(-2, 2, width=32))


@settings(max_examples=60, deadline=None)
@given(factors, arrays(float, (3, 2), elements=st.floats(-2, 2, width=32)))
def test_metric_axioms_between_gaussians(factor, means):
    """Any covariances FFᵀ, singular ones among them."""
    laws = [(mean, f @ f.T) for mean, f in zip(means, factor, strict=True)]

    def distance(a, b):
        return np.sqrt(transport.gaussian_squared(*a, *b))

    a, b, c = laws
    assert distance(a, a) <= 1e-7
    assert_allclose(distance(a, b), distance(b, a), rtol=1e-9, atol=1e-6)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-6
    # Gelbrich: between the distance of the means and that of the independent coupling
    gap = np.sum((a[0] - b[0]) ** 2)
    assert gap - 1e-12 <= distance(a, b) ** 2 <= gap + np.trace(a[1] + b[1]) + 1e-12
