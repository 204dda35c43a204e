"""Measures on grids and of atoms: volumes, initial laws, deposit, sampling, extension."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import gammaln

from mfpde import measures
from mfpde.errors import ConfigError
from mfpde.exact import gaussian
from mfpde.initial import TURNS, GroupLaw, InitialLaw, axis_mass, frozen_species, initial_measure, interval
from mfpde.measures import (
    Axis,
    Grid,
    GridMeasure,
    ParticleMeasure,
    Species,
    deposit,
    expect,
    moments,
    normalised,
    sample,
)
from mfpde.problem import Coordinate

NO_SPECIES = Species((), np.zeros((1, 0)), np.ones(1))
A, W0, W1 = Coordinate("a", "a"), Coordinate("w0", "w"), Coordinate("w1", "w", "radius", 4)
POINT = GroupLaw("point", 0.0)


def law_of(a: GroupLaw = POINT, w: GroupLaw = POINT, b: GroupLaw = POINT, dimension: int = 1) -> InitialLaw:
    return InitialLaw(a, w, b, dimension)


@pytest.mark.parametrize("block", [2, 3, 7, 50])
def test_cell_volumes_of_a_radius_fill_the_ball_in_dimension_d(block: int) -> None:
    """Sum of the volumes = |B_R|, to second order; fails without the area of the sphere or with another power."""
    radius, errors = 2.0, []
    log_ball = 0.5 * block * np.log(np.pi) - gammaln(0.5 * block + 1.0) + block * np.log(radius)
    for cells in (200, 400):
        axis = Axis(Coordinate("w1", "w", "radius", block), 0.0, radius, cells)
        errors.append(abs(np.exp(axis.log_volume - log_ball).sum() - 1.0))
    assert errors[1] < 1e-3
    if block > 3:
        assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.2)


def test_a_block_of_a_million_overflows_nothing() -> None:
    axis = Axis(Coordinate("w1", "w", "radius", 10**6), 995.0, 1005.0, 64)
    assert np.all(np.isfinite(axis.log_volume))
    assert all(np.all(np.isfinite(part)) for part in axis.face_geometry(0.1))


@given(
    seed=st.integers(0, 2**31),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    count=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_deposit_keeps_mass_and_mean(seed: int, shape: list[int], count: int) -> None:
    rng = np.random.default_rng(seed)
    axes = tuple(Axis(Coordinate(f"w{k}", "w"), -1.0 - k, 2.0, n) for k, n in enumerate(shape))
    grid = Grid(axes, NO_SPECIES)
    inner = [(axis.centers[0], axis.centers[-1]) for axis in axes]
    atoms = np.stack([low + (high - low) * rng.random(count) for low, high in inner], axis=1)
    weights = rng.dirichlet(np.ones(count))
    measure = deposit(grid, atoms, weights)
    assert measure.mass.sum() == pytest.approx(1.0, abs=1e-14)
    assert np.min(measure.mass) > 0.0
    assert_allclose(measure.weights @ measure.atoms, weights @ atoms, atol=1e-13)


def test_deposit_moves_what_lies_outside_to_the_edge() -> None:
    grid = Grid((Axis(W0, 0.0, 1.0, 4),), NO_SPECIES)
    measure = deposit(grid, np.array([[-5.0], [9.0]]), np.array([0.25, 0.75]))
    assert_allclose(measure.mass[0], [0.25, 0.0, 0.0, 0.75], atol=1e-15)


def test_atoms_weights_marginals_and_moments_agree(rng: np.random.Generator) -> None:
    species = Species(("a",), np.array([[-1.0], [1.0]]), np.array([0.3, 0.7]))
    grid = Grid((Axis(W0, -1.0, 2.0, 6), Axis(W1, 0.0, 2.0, 5)), species)
    measure = normalised(grid, rng.random(grid.shape))
    assert measure.names == ("a", "w0", "w1")
    assert_allclose(measure.mass.sum(axis=(1, 2)), [0.3, 0.7], rtol=1e-14)
    particles = ParticleMeasure(measure.names, measure.atoms, measure.weights)
    for name in measure.names:
        assert_allclose(moments(measure)[name], moments(particles)[name], rtol=1e-12)
        x, p = measure.marginal(name)
        direct = expect(measure, lambda atoms, name=name: atoms[:, measure.names.index(name)] ** 2)
        assert np.sum(p * x**2) == pytest.approx(direct, rel=1e-13)
    assert measure.density.sum() * grid.cell_size == pytest.approx(1.0, rel=1e-13)


def test_samples_follow_the_measure(rng: np.random.Generator) -> None:
    """Kolmogorov-Smirnov against the piecewise uniform law of the cells, and the share of each species."""
    species = Species(("a",), np.array([[-1.0], [1.0]]), np.array([0.25, 0.75]))
    grid = Grid((Axis(W0, -3.0, 3.0, 12),), species)
    mass = np.exp(-0.5 * (grid.axes[0].centers - np.array([[1.0], [-1.0]])) ** 2)
    measure = normalised(grid, mass)
    draws = sample(measure, 20000, rng)
    edges, cumulative = grid.axes[0].edges, np.concatenate([[0.0], np.cumsum(measure.marginal("w0")[1])])
    assert stats.kstest(draws[:, 1], lambda x: np.interp(x, edges, cumulative)).pvalue > 1e-3
    assert np.mean(draws[:, 0] == 1.0) == pytest.approx(0.75, abs=0.015)


def test_extension_keeps_centres_and_refuses_nothing() -> None:
    grid = Grid((Axis(W0, -1.0, 1.0, 8), Axis(A, 0.0, 1.0, 4)), NO_SPECIES)
    longer = grid.extend(0, 3, 2)
    assert longer.shape == (1, 13, 4)
    assert_allclose(longer.axes[0].centers[3:-2], grid.axes[0].centers, atol=1e-15)
    assert longer.axes[0].width == pytest.approx(grid.axes[0].width, rel=1e-14)


@pytest.mark.parametrize(("std", "cells", "tolerance"), [(0.5, 64, 1e-12), (0.05, 64, 1e-2), (0.3, 400, 1e-12)])
def test_normal_initial_law_has_its_moments(std: float, cells: int, tolerance: float) -> None:
    """Resolved: to all orders. Narrower than a cell: exact cell probabilities, so up to the width of the cell."""
    axis = Axis(W0, -5.0, 5.0, cells)
    law = law_of(w=GroupLaw("normal", mean=(0.37, 0.0, 0.0), std=std * np.sqrt(3.0)), dimension=3)
    mass = axis_mass(law, axis)
    mass = mass / mass.sum()
    exact = gaussian.normal_moments(0.37, std**2)
    assert np.sum(mass * axis.centers) == pytest.approx(exact[0], abs=tolerance)
    assert np.sum(mass * axis.centers**2) == pytest.approx(exact[1], abs=tolerance)


def test_radial_initial_law_is_the_chi_law() -> None:
    """E r^k of the norm of the last d - 1 of d coordinates, each of standard deviation std/sqrt(d)."""
    dimension, std = 5, 1.3
    law = law_of(w=GroupLaw("normal", std=std), dimension=dimension)
    axis = Axis(W1, 0.0, 6.0, 400)
    mass = axis_mass(law, axis)
    mass = mass / mass.sum()
    exact = gaussian.radius_moments(std**2 / dimension, dimension - 1)
    for k in range(1, 5):
        assert np.sum(mass * axis.centers**k) == pytest.approx(exact[k - 1], rel=1e-7)
    low, high = interval(law, W1, 1e-12)
    chi = stats.chi(dimension - 1, scale=std / np.sqrt(dimension))
    assert chi.cdf(low) < 2e-12 and chi.sf(high) < 2e-12


def test_point_rademacher_and_uniform_laws() -> None:
    axis = Axis(A, -2.0, 2.0, 37)
    point = axis_mass(law_of(a=GroupLaw("point", 0.513)), axis)
    assert point.sum() == pytest.approx(1.0, rel=1e-13)
    assert np.sum(point * axis.centers) == pytest.approx(0.513, rel=1e-13)
    coins = axis_mass(law_of(a=GroupLaw("rademacher")), axis) / 2.0
    assert np.sum(coins * axis.centers) == pytest.approx(0.0, abs=1e-14)
    assert np.sum(coins) == pytest.approx(1.0, rel=1e-13)
    flat = axis_mass(law_of(a=GroupLaw("uniform", low=-0.7, high=1.1)), axis)
    assert flat.sum() == pytest.approx(1.8, rel=1e-13)
    assert np.sum(flat * axis.centers) / 1.8 == pytest.approx(0.2, abs=axis.width**2)


def test_normal_law_wraps_around_the_circle() -> None:
    axis = Axis(Coordinate("w", "w", "circle"), -np.pi, np.pi, 64)
    mass = axis_mass(law_of(w=GroupLaw("normal", mean=(0.4,), std=1.5)), axis)
    mass = mass / mass.sum()
    for k in (1, 2, 3):
        assert np.sum(mass * np.exp(1j * k * axis.centers)) == pytest.approx(
            np.exp(0.4j * k - 0.5 * (1.5 * k) ** 2), abs=1e-13
        )


def test_a_fine_circle_takes_little_memory_and_keeps_its_bits() -> None:
    """Its cells are taken block by block: the same numbers, and not those of all turns at once."""
    axis, law = Axis(Coordinate("w", "w", "circle"), -np.pi, np.pi, 100_001), law_of(w=GroupLaw("normal", mean=(0.4,)))
    turns = 2.0 * np.pi * np.arange(-TURNS, TURNS + 1)
    whole = np.exp(-0.5 * (axis.centers[:, None] + turns - 0.4) ** 2).sum(axis=1)
    tracemalloc.start()
    mass = axis_mass(law, axis)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(mass, whole)
    assert peak < 0.5 * 8 * len(turns) * len(mass)


def test_initial_measure_is_a_product_and_refuses_a_box_that_misses_it() -> None:
    law = law_of(GroupLaw("normal", mean=(0.2,), std=0.5), GroupLaw("normal", std=2.0), dimension=5)
    grid = Grid((Axis(A, -3.0, 3.0, 40), Axis(W0, -6.0, 6.0, 50), Axis(W1, 0.0, 7.0, 60)), NO_SPECIES)
    found = moments(initial_measure(law, grid))
    assert found["a"][0] == pytest.approx(0.2, abs=1e-6)
    assert found["w0"][1] + found["w1"][1] == pytest.approx(4.0, rel=1e-6)
    far = Grid((replace(grid.axes[0], lower=50.0, upper=60.0),), NO_SPECIES)
    with pytest.raises(ConfigError, match=r"\[50, 60\] for a"):
        initial_measure(law_of(GroupLaw("point", 1.0)), far)


def test_frozen_laws_become_atoms_with_their_moments() -> None:
    frozen = (replace(A, trained=False), replace(W0, trained=False))
    law = law_of(GroupLaw("rademacher"), GroupLaw("normal", mean=(0.3,), std=0.8))
    species = frozen_species(law, frozen)
    assert species.names == ("a", "w0")
    assert species.probabilities.sum() == pytest.approx(1.0, rel=1e-14)
    assert set(species.values[:, 0]) == {-1.0, 1.0}
    exact = gaussian.normal_moments(0.3, 0.64)
    for k in range(1, 5):
        assert species.probabilities @ species.values[:, 1] ** k == pytest.approx(exact[k - 1], rel=1e-12)
    uniform = frozen_species(law_of(GroupLaw("uniform", low=1.0, high=4.0)), (replace(A, trained=False),))
    assert uniform.probabilities @ uniform.values[:, 0] ** 3 == pytest.approx((4.0**4 - 1.0) / 12.0, rel=1e-12)


def test_normalisation_keeps_every_mass_positive() -> None:
    grid = Grid((Axis(W0, 0.0, 1.0, 3),), NO_SPECIES)
    measure = normalised(grid, np.array([[0.0, 2.0, -1e-17]]))
    assert isinstance(measure, GridMeasure)
    assert np.min(measure.mass) >= 0.5 * measures.SMALLEST_MASS
    assert measure.mass.sum() == 1.0
