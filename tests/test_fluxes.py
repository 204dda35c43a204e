"""The finite-volume kernels against dense twins, and the laws they keep for every potential."""

from __future__ import annotations

import naive_fluxes as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import expm

from mfpde.core import fluxes
from mfpde.measures import Axis, Grid, Species
from mfpde.problem import Coordinate
from mfpde.steppers.grid import Propagator

NO_SPECIES = Species((), np.zeros((1, 0)), np.ones(1))
LINE = Axis(Coordinate("w0", "w"), -2.0, 1.5, 7)
CIRCLE = Axis(Coordinate("w1", "w", "circle"), -np.pi, np.pi, 6)
DISC = Axis(Coordinate("w1", "w", "radius", 2), 0.0, 2.5, 5)
SHELL = Axis(Coordinate("w1", "w", "radius", 1000, rate=0.7), 3.0, 4.0, 6)
GRIDS = {
    "line": (LINE,),
    "circle": (CIRCLE,),
    "disc": (DISC,),
    "shell": (SHELL,),
    "line x disc": (LINE, DISC),
    "circle x shell": (CIRCLE, SHELL),
    "three": (LINE, CIRCLE, DISC),
}


def rates_of(grid: Grid, psi: np.ndarray, tau: float) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Rates by the kernel for every axis of a grid; psi in the padded shape."""
    found = []
    for k, axis in enumerate(grid.axes):
        place = 3 - len(grid.axes) + k
        up, down = np.zeros_like(psi), np.zeros_like(psi)
        fluxes.exponential_rates(psi, tau, place, *axis.face_geometry(tau), axis.periodic, up, down)
        found.append((place, up, down))
    return found


def six(rates: list[tuple[int, np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """The six rate arrays of the kernels, zeros of one cell for unused axes."""
    arrays = [np.zeros((1, 1, 1, 1))] * 6
    for place, up, down in rates:
        arrays[2 * place : 2 * place + 2] = [up, down]
    return arrays


@pytest.mark.parametrize("name", GRIDS)
def test_rates_exit_rates_and_propagation_equal_the_dense_twins(name: str, rng: np.random.Generator) -> None:
    grid = Grid(GRIDS[name], Species(("a",), np.array([[-1.0], [1.0]]), np.array([0.4, 0.6])))
    tau, shape = 0.3, grid.padded_shape
    psi = 0.8 * rng.standard_normal(shape)
    rates = rates_of(grid, psi, tau)
    for (place, up, down), axis in zip(rates, grid.axes, strict=True):
        twin = naive.face_rates(psi, tau, place, *axis.face_geometry(tau), axis.periodic)
        assert_allclose(up, twin[0], rtol=2e-12)
        assert_allclose(down, twin[1], rtol=2e-12)
    matrix = naive.generator(shape, rates)
    assert_allclose(fluxes.largest_exit_rate(*six(rates)), -np.diag(matrix).min(), rtol=1e-13)
    mass = rng.random(shape)
    for stages in (2, 5, 8):
        dt = (stages - 1) / -np.diag(matrix).min()
        out, work = np.empty(shape), np.empty(shape)
        before = mass.copy()
        fluxes.propagate(mass, dt, stages, *six(rates), work, out)
        assert_allclose(out.reshape(-1), naive.stability_polynomial(matrix, dt, stages) @ mass.reshape(-1), rtol=1e-11)
        assert np.array_equal(mass, before)


@pytest.mark.parametrize("name", GRIDS)
def test_rates_are_in_detailed_balance_with_the_full_dimensional_gibbs_measure(
    name: str, rng: np.random.Generator
) -> None:
    """Fails without r^(d-1) in the face geometry, or with another power of it."""
    grid = Grid(GRIDS[name], NO_SPECIES)
    tau = 0.4
    psi = rng.standard_normal(grid.padded_shape)
    log_gibbs = grid.log_volume - psi.reshape(grid.shape[1:]) / tau
    gibbs = np.exp(log_gibbs - log_gibbs.max()).reshape(grid.padded_shape)
    for place, up, down in rates_of(grid, psi, tau):
        forth, back = up * gibbs, down * np.roll(gibbs, -1, axis=place + 1)
        assert_allclose(forth, back, rtol=1e-11)


@pytest.mark.parametrize("block", [2, 3, 20, 1000])
def test_radial_rates_are_consistent_with_the_laplacian_in_dimension_d(block: int) -> None:
    """d/dt E r^2 = 2 tau d - 2 E r Psi', for a Gaussian bump in r and a quadratic Psi, to second order."""
    tau, decay, errors = 0.3, 0.5, []
    centre = np.sqrt(block)
    for cells in (100, 200):
        axis = Axis(Coordinate("w1", "w", "radius", block), max(0.0, centre - 2.0), centre + 2.0, cells)
        r = axis.centers
        density = np.exp(-((r - centre - 0.2) ** 2) / 0.1)
        mass = density / density.sum()
        rates = rates_of(Grid((axis,), NO_SPECIES), 0.5 * decay * (r * r).reshape(1, 1, 1, -1), tau)
        change = naive.generator((1, 1, 1, cells), rates) @ mass
        exact = 2.0 * tau * block - 2.0 * decay * np.sum(mass * r * r)
        errors.append(abs(np.sum(change * r * r) - exact))
    assert errors[1] < 0.01 * tau * block
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize("difference", [0.0, 1e-7, 1e-4, 0.3, 40.0, 800.0, -800.0, 1e5])
def test_rates_stay_finite_and_non_negative_for_any_potential_difference(difference: float) -> None:
    psi = np.array([0.0, difference]).reshape(1, 1, 1, 2)
    (_, up, down), *_ = rates_of(Grid((Axis(Coordinate("w", "w"), 0.0, 2.0, 2),), NO_SPECIES), psi, 1.0)
    assert up[0, 0, 0, 0] >= 0.0 and down[0, 0, 0, 0] >= 0.0
    assert_allclose(down[0, 0, 0, 0] - up[0, 0, 0, 0], difference, rtol=1e-12, atol=1e-15)
    if abs(difference) < 700.0:
        assert_allclose(up[0, 0, 0, 0], naive.bernoulli(difference), rtol=1e-10)


@given(
    name=st.sampled_from(sorted(GRIDS)),
    seed=st.integers(0, 2**31),
    tau=st.floats(0.02, 5.0),
    size=st.floats(0.0, 20.0),
    dt=st.floats(1e-3, 10.0),
)
@settings(max_examples=80, deadline=None)
def test_a_step_is_a_stochastic_matrix_with_the_gibbs_measure_as_fixed_point(
    name: str, seed: int, tau: float, size: float, dt: float
) -> None:
    """Mass, signs, invariance and the decay of the relative entropy, for every potential and step."""
    rng = np.random.default_rng(seed)
    grid = Grid(GRIDS[name], NO_SPECIES)
    psi = size * rng.random(grid.shape)
    log_gibbs = grid.log_volume - psi / tau
    gibbs = np.exp(log_gibbs - log_gibbs.max())
    gibbs /= gibbs.sum()
    gibbs = np.maximum(gibbs, 1e-150)
    mass = rng.dirichlet(np.full(gibbs.size, 0.5)).reshape(grid.shape) + 1e-12
    propagator = Propagator(grid, tau)
    fixed, sweeps = propagator(psi, gibbs, dt)
    assert_allclose(fixed, gibbs, rtol=1e-13 * (sweeps + 20), atol=1e-15)
    moved, _ = propagator(psi, mass, dt)
    assert np.min(moved) > 0.0
    assert abs(moved.sum() / mass.sum() - 1.0) <= 1e-15 * (sweeps + 20)

    def relative_entropy(p: np.ndarray) -> float:
        return float(np.sum(p * np.log(p / gibbs)))

    assert relative_entropy(moved) <= relative_entropy(mass) + 1e-12 * (1.0 + abs(relative_entropy(mass)))


def test_propagation_approaches_the_exponential_of_the_generator(rng: np.random.Generator) -> None:
    """Second order: halving the step of SSPRK(2, 2) divides the error by four."""
    grid = Grid((LINE,), NO_SPECIES)
    psi = rng.random(grid.padded_shape)
    rates = rates_of(grid, psi, 0.5)
    matrix = naive.generator(grid.padded_shape, rates)
    mass = rng.random(grid.padded_shape)
    exact = expm(0.2 * matrix) @ mass.reshape(-1)
    errors = []
    for count in (40, 80):
        state = mass.copy()
        for _ in range(count):
            out = np.empty_like(state)
            fluxes.propagate(state, 0.2 / count, 2, *six(rates), np.empty_like(state), out)
            state = out
        errors.append(np.max(np.abs(state.reshape(-1) - exact)))
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("periodic", [False, True])
def test_limited_divergence_equals_its_twin_and_conserves(axis: int, periodic: bool, rng: np.random.Generator) -> None:
    mass, potential = rng.random((2, 4, 5, 6)), rng.standard_normal((2, 4, 5, 6))
    out = np.zeros_like(mass)
    fastest = fluxes.limited_divergence(mass, potential, axis, 0.3, 1.7, periodic, out)
    change, speed = naive.limited_change(mass, potential, axis, 0.3, 1.7, periodic)
    assert_allclose(out, change, rtol=1e-12, atol=1e-13)
    assert fastest == pytest.approx(speed, rel=1e-14)
    assert_allclose(out.sum(axis=axis + 1), 0.0, atol=1e-12)


def test_limited_flux_is_exact_for_a_linear_density_in_a_constant_wind() -> None:
    x = np.linspace(0.0, 1.0, 11)
    mass, potential = (2.0 + x).reshape(1, 1, 1, -1), (-3.0 * x).reshape(1, 1, 1, -1)
    out = np.zeros_like(mass)
    fluxes.limited_divergence(mass, potential, 2, 0.1, 1.0, False, out)
    assert_allclose(out[0, 0, 0, 2:-2], -3.0, rtol=1e-12)
