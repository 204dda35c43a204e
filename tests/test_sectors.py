"""Fluctuations in the full dimension behind a reduction: against an explicit circle of neurons and the exact trace."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde.compare.fluctuations import fluctuations
from mfpde.compare.oracle import stationary_widths
from mfpde.errors import ConfigError
from mfpde.measures import Axis, Grid, Species
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.theory import sectors

TAU, DECAY = 0.1, 0.3


def rested(dimension: int, activation: str = "erf", cells: int = 10) -> tuple[Tabulated, Stationary]:
    """A single-index network at rest, w trained, on (s, r)."""
    data = datalaws.gaussian(Population(dimension, "hermite", (0.0, 1.0, 0.0, 0.4)), count=30)
    decay, ones = dict.fromkeys("awb", DECAY), dict.fromkeys("awb", 1.0)
    problem = Problem(
        Network(activation), data, "square", TAU, network_coordinates(data.blocks, ("w",), False, decay, ones)
    )
    s, r = problem.moving
    reach = np.sqrt(TAU * dimension / DECAY)
    grid = Grid(
        (Axis(s, -2.0, 3.0, cells), Axis(r, 0.0, 2.5 * reach, cells)), Species(("a",), np.ones((1, 1)), np.ones(1))
    )
    table = tabulate(problem, grid)
    return table, stationary(table, np.zeros(len(data.y)))


def test_eigenvalues_are_those_of_an_explicit_circle_of_neurons() -> None:
    """d = 3: every cell (s, r) becomes 24 neurons at equal angles; their Gram matrix by the arcsine kernel."""
    table, rest = rested(3, cells=8)
    found = sectors.full_fluctuations(table, rest)
    measure, angles = rest.measure, 2.0 * np.pi * np.arange(24) / 24
    s, r = (np.broadcast_to(measure.coordinate(name), measure.mass.shape).reshape(-1) for name in ("w0", "w1"))
    w = np.stack(
        [np.repeat(s, 24), np.outer(r, np.cos(angles)).reshape(-1), np.outer(r, np.sin(angles)).reshape(-1)], axis=1
    )
    mass = np.repeat(measure.weights / 24, 24)
    w, mass = w[mass > 1e-9 * mass.max()], mass[mass > 1e-9 * mass.max()]
    mass /= mass.sum()
    norm = 1.0 + np.sum(w**2, axis=1)
    kernel = 2.0 / np.pi * np.arcsin(w @ w.T / np.sqrt(np.outer(norm, norm)))
    mean = kernel @ mass
    centred = kernel - mean[:, None] - mean + mass @ mean
    root = np.sqrt(mass)
    explicit = np.linalg.eigvalsh(root[:, None] * centred * root)[::-1]
    # sectors beyond l = 0 count twice on a circle; the largest explicit values tell both
    invariant = fluctuations(table, rest).eigenvalues
    others = np.concatenate([values for values, _ in sectors._sectors(table, measure.mass)])
    listed = np.sort(np.concatenate([invariant, others, others]))[::-1]
    assert_allclose(listed[:10], explicit[:10], rtol=2e-4, atol=1e-9)
    assert found.iid_trace == pytest.approx(np.sum(explicit), rel=1e-4)
    damped = np.sum(explicit / (1.0 + explicit / TAU))
    assert found.propagation_of_chaos == pytest.approx(damped, rel=1e-4)
    assert found.log_determinant_gap == pytest.approx(0.5 * TAU * np.sum(np.log1p(explicit / TAU)), rel=1e-4)


@pytest.mark.parametrize(("dimension", "missed"), [(3, 1e-5), (7, 1e-5), (20, 1e-3)])
def test_sectors_carry_the_exact_trace(dimension: int, missed: float) -> None:
    """E a^2 sigma(<w, x>)^2 - |f|^2 needs no expansion; erf's degrees fall like (|w|^2/(1 + |w|^2))^k."""
    table, rest = rested(dimension)
    mass = rest.measure.mass
    summed = fluctuations(table, rest).iid_trace
    summed += sum(count * float(np.sum(values)) for values, count in sectors._sectors(table, mass))
    exact = sectors.independent_trace(table, mass)
    assert (1.0 - missed) * exact <= summed <= (1.0 + 1e-5) * exact
    assert sectors.full_fluctuations(table, rest).iid_trace == pytest.approx(exact, rel=1e-5)


def test_inequalities_and_the_part_that_the_grid_sees() -> None:
    table, rest = rested(10, "tanh")
    full, seen = sectors.full_fluctuations(table, rest), fluctuations(table, rest)
    assert full.propagation_of_chaos < full.iid_trace
    assert full.log_determinant_gap <= 0.5 * full.iid_trace
    assert full.iid_trace > 3.0 * seen.iid_trace
    assert full.propagation_of_chaos > seen.propagation_of_chaos


def test_harmonics_are_counted_and_orthogonal() -> None:
    """dim H_l: 2 l + 1 on the sphere of R^3; t = P_1 alone for j = 1; lambda_jl = 0 below the diagonal."""
    assert [sectors._multiplicity(3, degree) for degree in (1, 2, 5)] == pytest.approx([3.0, 5.0, 11.0])
    assert [sectors._multiplicity(4, degree) for degree in (1, 2, 3)] == pytest.approx([4.0, 9.0, 16.0])
    acted = sectors._funk_hecke(5, 8)
    assert acted[1, 1] == pytest.approx(1.0 / 5.0)
    for j in range(9):
        assert_allclose(acted[j, j + 1 :], 0.0, atol=1e-14)
    assert np.min(acted) > -1e-15
    # at t = 1 the expansion of t^j is 1: sum_l mult(l) lambda_jl = 1
    counts = [1.0, *(sectors._multiplicity(5, degree) for degree in range(1, 9))]
    assert_allclose(acted @ counts, 1.0, rtol=1e-12)


def test_draws_of_shells_are_refused() -> None:
    table, rest = rested(3)
    with pytest.raises(ConfigError, match="reduced by a symmetry"):
        stationary_widths(table, rest, (4,))
