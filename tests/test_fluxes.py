"""The finite-volume kernels against dense twins, and the laws they keep for every potential."""

from __future__ import annotations

from dataclasses import replace

import naive_fluxes as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.linalg import expm

from mfpde.core import fluxes, parallel, propagation
from mfpde.core.compilation import kernel
from mfpde.core.transfers import lanes, load, store
from mfpde.errors import NumericalError
from mfpde.measures import Axis, Grid, Species
from mfpde.problem import Coordinate
from mfpde.steppers.grid import Propagator

NO_SPECIES = Species((), np.zeros((1, 0)), np.ones(1))
TWO_SPECIES = Species(("a",), np.array([[-1.0], [1.0]]), np.array([0.4, 0.6]))
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
    "line x circle": (LINE, CIRCLE),
    "circle x shell": (CIRCLE, SHELL),
    "line x circle x disc": (LINE, CIRCLE, DISC),
    "circle x line x circle": (CIRCLE, LINE, CIRCLE),
    "line x disc x shell": (LINE, DISC, SHELL),
}
NO_CAP = 1e6
EPSILON = np.finfo(float).eps


@kernel
def bernoulli_of_vectors(x: np.ndarray, out: np.ndarray) -> None:
    for k in range(0, x.shape[0], lanes(x)):
        store(out, k, fluxes.bernoulli(load(x, k)))


@kernel
def bernoulli_of_numbers(x: np.ndarray, out: np.ndarray) -> None:
    for k in range(x.shape[0]):
        out[k] = fluxes.bernoulli(x[k])


@kernel
def rates_of_numbers(x: np.ndarray, forward: float, backward: float, up: np.ndarray, down: np.ndarray) -> None:
    for k in range(x.shape[0]):
        up[k], down[k] = fluxes.face_rates(x[k], forward, backward)


def bernoulli(x: np.ndarray) -> np.ndarray:
    """By vectors, which must give the bits of single numbers."""
    padded = np.concatenate([x, np.ones(-len(x) % 256)])
    found, single = np.empty_like(padded), np.empty_like(padded)
    bernoulli_of_vectors(padded, found)
    bernoulli_of_numbers(padded, single)
    assert np.array_equal(found, single, equal_nan=True)
    return found[: len(x)]


def rates(x: np.ndarray, forward: float = 1.0, backward: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    up, down = np.empty_like(x), np.empty_like(x)
    rates_of_numbers(x, forward, backward, up, down)
    return up, down


def faces_of(grid: Grid, tau: float) -> list[tuple[int, np.ndarray, np.ndarray, np.ndarray, bool]]:
    place = 3 - len(grid.axes)
    return [(place + k, *axis.face_geometry(tau), axis.periodic) for k, axis in enumerate(grid.axes)]


def twin(grid: Grid, psi: np.ndarray, tau: float) -> np.ndarray:
    """The dense generator, one face at a time; psi in the padded shape."""
    found = [(face[0], *naive.face_rates(psi, tau, *face)) for face in faces_of(grid, tau)]
    return naive.generator(grid.padded_shape, found)


def generator(grid: Grid, psi: np.ndarray, tau: float) -> np.ndarray:
    """The generator of the kernels: what one stage of length one does to each unit mass."""
    plan = propagation.plan(grid.padded_shape, faces_of(grid, tau))
    potential = propagation.fields(psi, tau, NO_CAP)
    one = np.eye(psi.size)
    stages = [propagation.propagate(plan, potential, row.reshape(psi.shape), 1.0, 1).reshape(-1) for row in one]
    return np.stack(stages, axis=1) - one


@pytest.mark.parametrize("x", [np.geomspace(1e-12, 1e3, 4001)[:-1], np.linspace(0.0, 6.0, 4000)])
def test_the_bernoulli_function_is_exact_to_round_off(x: np.ndarray) -> None:
    expected = np.array([naive.bernoulli(np.log(2.0) * v) / np.log(2.0) for v in x])
    # the twin itself rounds the product in its exponent
    assert_allclose(bernoulli(x) / expected, 1.0, atol=EPSILON * (4.0 + x.max()), rtol=0.0)
    steps = np.arange(1.0, 900.0)
    assert_allclose(bernoulli(steps) / (steps / (2.0**steps - 1.0)), 1.0, atol=4.0 * EPSILON, rtol=0.0)


def test_the_bernoulli_function_at_the_ends_of_the_numbers() -> None:
    at_zero = bernoulli(np.array([0.0, 5e-324, 1e-310, 1e-200, 1e-150, 1e-17]))
    assert_allclose(at_zero, 1.0 / np.log(2.0), rtol=3.0 * EPSILON)
    beyond = bernoulli(np.array([fluxes.LARGEST, 1001.0, 1e4, 1e300, np.inf]))
    assert np.all(beyond == beyond[0]) and 0.0 < beyond[0] < 1e-297
    assert np.isnan(bernoulli(np.array([np.nan]))[0])


def test_both_rates_of_a_face_are_in_detailed_balance_at_any_difference() -> None:
    x = np.concatenate([np.geomspace(1e-12, 990.0, 2001), [0.0, 1.0, 0.5, 1.5]])
    for sign in (1.0, -1.0):
        up, down = rates(sign * x, 0.7, 1.3)
        assert_allclose(up / 0.7 * 2.0 ** (sign * x) / (down / 1.3), 1.0, atol=1e-13, rtol=0.0)
        assert_allclose(down / 1.3 - up / 0.7, sign * x, rtol=4.0 * EPSILON, atol=4.0 * EPSILON)
    forth, back = rates(x), rates(-x)
    assert np.array_equal(forth[0], back[1]) and np.array_equal(forth[1], back[0])


@pytest.mark.parametrize("difference", [0.0, 1e-7, 1e-4, 0.3, 40.0, 800.0, -800.0, 1e5])
def test_rates_stay_finite_and_non_negative_for_any_potential_difference(difference: float) -> None:
    psi = np.array([0.0, difference]).reshape(1, 1, 1, 2)
    matrix = generator(Grid((Axis(Coordinate("w", "w"), 0.0, 2.0, 2),), NO_SPECIES), psi, 1.0)
    up, down = matrix[1, 0], matrix[0, 1]
    assert up >= 0.0 and down >= 0.0
    assert_allclose(down - up, difference, rtol=1e-12, atol=1e-15)
    if abs(difference) < 690.0:
        assert_allclose(up, naive.bernoulli(difference), rtol=1e-12)


@pytest.mark.parametrize("species", [NO_SPECIES, TWO_SPECIES], ids=["one", "two"])
@pytest.mark.parametrize("name", GRIDS)
def test_the_generator_equals_its_dense_twin(name: str, species: Species, rng: np.random.Generator) -> None:
    grid, tau = Grid(GRIDS[name], species), 0.3
    psi = 0.8 * rng.standard_normal(grid.padded_shape)
    found, expected = generator(grid, psi, tau), twin(grid, psi, tau)
    off = ~np.eye(len(found), dtype=bool)
    assert_allclose(found[off], expected[off], rtol=2e-12)
    assert_allclose(np.diag(found), np.diag(expected), rtol=1e-12, atol=EPSILON)
    plan = propagation.plan(grid.padded_shape, faces_of(grid, tau))
    stiffness = propagation.largest_exit_rate(plan, propagation.fields(psi, tau, NO_CAP))
    assert_allclose(stiffness, -np.diag(expected).min(), rtol=1e-13)


@pytest.mark.parametrize("name", GRIDS)
def test_rates_are_in_detailed_balance_with_the_full_dimensional_gibbs_measure(
    name: str, rng: np.random.Generator
) -> None:
    """Fails without r^(d-1) in the face geometry, or with another power of it."""
    grid = Grid(GRIDS[name], NO_SPECIES)
    tau = 0.4
    psi = 3.0 * rng.standard_normal(grid.padded_shape)
    log_gibbs = (grid.log_volume - psi.reshape(grid.shape[1:]) / tau).reshape(-1)
    matrix = generator(grid, psi, tau)
    there, here = np.nonzero(np.triu(matrix, 1))
    assert len(there) == np.count_nonzero(np.tril(matrix, -1)) > 0
    ratio = np.log(matrix[there, here] / matrix[here, there])
    assert_allclose(ratio, log_gibbs[there] - log_gibbs[here], rtol=1e-12, atol=1e-11)


def variants(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], faces: list) -> list[propagation.Plan]:
    """Plans for one grid: held whole or not, deep and shallow, cut for three threads."""
    plans = [propagation.plan(shape, faces)]
    monkeypatch.setattr(propagation, "WHOLE_PILE", 0)
    monkeypatch.setattr(propagation, "WHOLE_LINE", 0)
    monkeypatch.setattr(propagation, "TILE", 3)
    for near, far in ((propagation.NEAR_CACHE, 0), (0, propagation.FAR_CACHE), (0, 0)):
        monkeypatch.setattr(propagation, "NEAR_CACHE", near)
        monkeypatch.setattr(propagation, "FAR_CACHE", far)
        plans.append(propagation.plan(shape, faces))
    monkeypatch.setattr(propagation, "PARALLEL_CELLS", 0)
    monkeypatch.setattr(propagation, "THINNEST", 2)
    plans.append(propagation.plan(shape, faces, 3))
    assert plans[0].whole or plans[0].grid.periodic
    assert not any(plan.whole for plan in plans[1:]) and len(plans[-1].parts) > len(plans[0].parts)
    return plans


@pytest.mark.parametrize("name", GRIDS)
def test_stages_are_powers_of_the_twin_to_the_same_bits_however_they_are_cut(
    name: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every ring, tile and slab, rates known or not, one thread or three."""
    grid, tau = Grid(GRIDS[name], TWO_SPECIES), 0.3
    shape, faces = grid.padded_shape, faces_of(grid, tau)
    psi, mass = 0.8 * rng.standard_normal(shape), rng.random(shape)
    before, matrix = mass.copy(), twin(grid, psi, tau)
    step = 0.9 / -np.diag(matrix).min()
    plans = variants(monkeypatch, shape, faces)
    potential = propagation.fields(psi, tau, NO_CAP)
    for stages in (1, 2, 3, 8, 250):
        first = propagation.propagate(plans[0], potential, mass, step, stages, 1.0 / stages, 1e-200)
        power = np.linalg.matrix_power(np.eye(mass.size) + step * matrix, stages) @ mass.reshape(-1)
        expected = (1.0 - 1.0 / stages) * power + mass.reshape(-1) / stages
        assert_allclose(first.reshape(-1), expected, rtol=1e-11)
        for plan in plans:
            for known in (False, True):
                with parallel.team(3 if plan is plans[-1] else 1):
                    stiffness = propagation.largest_exit_rate(plan, potential)
                    found = propagation.propagate(plan, potential, mass, step, stages, 1.0 / stages, 1e-200, known)
                assert stiffness == propagation.largest_exit_rate(plans[0], potential)
                assert np.array_equal(found, first)
    assert np.array_equal(mass, before)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.integers(1, 80)),
    periodic=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=120, deadline=None)
def test_two_single_stages_have_the_bits_of_two_taken_together(
    shape: tuple[int, int, int, int], periodic: bool, seed: int
) -> None:
    """Whole or in slabs, for rows of any length, with or without an outer circle; nothing is written beyond the end."""
    rng = np.random.default_rng(seed)
    around = next((k for k, n in enumerate(shape[1:]) if n > 1), 3) if periodic else 3

    def geometry(n: int) -> tuple[np.ndarray, ...]:
        return 0.2 * rng.standard_normal(n), 0.2 + rng.random(n), 0.2 + rng.random(n)

    faces = [(k, *geometry(n), k == around) for k, n in enumerate(shape[1:]) if n > 1]
    psi, mass = 3.0 * rng.standard_normal(shape), rng.random(shape)
    potential = propagation.fields(psi, 0.7, NO_CAP)
    whole = propagation.plan(shape, faces)
    expected = propagation.propagate(whole, potential, mass, 0.05, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(propagation, "PARALLEL_CELLS", 0)
        patch.setattr(propagation, "THINNEST", 1)
        cut = propagation.plan(shape, faces, 3 * shape[0])
    for plan in (whole, cut):
        room = np.full(mass.size + 64, 7.0)
        found = room[: mass.size].reshape(shape)
        first = propagation.propagate(plan, potential, mass, 0.05, 1)
        propagation.propagate(plan, potential, first, 0.05, 1, out=found)
        assert np.array_equal(found, expected) and np.all(room[mass.size :] == 7.0)


@pytest.mark.parametrize(("slots", "columns"), [(4, 7), (8, 7), (4, 2), (8, 19), (8, 331), (16, 7)])
@pytest.mark.parametrize("around", [False, True], ids=["closed", "outer circle"])
@pytest.mark.parametrize("threads", [1, 3])
def test_bands_of_rows_give_the_bits_of_whole_planes(
    threads: int, around: bool, slots: int, columns: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (2, 8 * slots - 11, 2 * slots + 25, columns)
    psi, mass = 3.0 * rng.standard_normal(shape), rng.random(shape)
    faces = [
        (k, 0.2 * rng.standard_normal(n), 0.2 + rng.random(n), 0.2 + rng.random(n), around and k == 0)
        for k, n in enumerate(shape[1:])
    ]
    potential = propagation.fields(psi, 0.7, NO_CAP)
    monkeypatch.setattr(propagation, "WHOLE_PILE", 0)
    monkeypatch.setattr(propagation, "BANDED", ())
    whole = propagation.plan(shape, faces)
    monkeypatch.setattr(propagation, "BANDED", (4 * slots, slots))
    monkeypatch.setattr(propagation, "NEAR_CACHE", 0)
    monkeypatch.setattr(propagation, "FAR_CACHE", slots * 64 * columns * (2 * slots + 1))
    monkeypatch.setattr(propagation, "PARALLEL_CELLS", 0)
    monkeypatch.setattr(propagation, "THINNEST", 2)
    cut = propagation.plan(shape, faces, threads)
    assert all(len(bands) > 2 for _, bands, _ in cut.parts) and len(whole.parts[0][1]) == 1
    with parallel.team(threads):
        stiffness = propagation.largest_exit_rate(cut, potential)
        assert stiffness == propagation.largest_exit_rate(whole, potential)
        for row in range(shape[2]):  # a cell that is left far faster than all others, in every row of every band
            steep = psi.copy()
            steep[1, 20, row, columns // 2] += 100.0
            steep_potential = propagation.fields(steep, 0.7, NO_CAP)
            largest = propagation.largest_exit_rate(cut, steep_potential)
            assert largest == propagation.largest_exit_rate(whole, steep_potential) > 2.0 * stiffness
        for stages in (1, 2, 3, 8, 25):
            for weight in (0.0, 0.3):
                arguments = (potential, mass, 0.9 / stiffness, stages, weight)
                expected = propagation.propagate(whole, *arguments)
                assert np.array_equal(propagation.propagate(cut, *arguments), expected)


def test_lines_and_planes_longer_than_their_chunks_equal_the_twin(rng: np.random.Generator) -> None:
    """Several tiles, several chunks of a row and of a plane, with rows that fill no whole vector."""
    for shape in ((1, 1, 1, propagation.WHOLE_LINE + 77), (1, 1, 5, 2500), (1, 5, 61, 67)):
        psi, mass = rng.standard_normal(shape), rng.random(shape)
        faces = [(k, np.zeros(n), np.ones(n), np.ones(n), False) for k, n in enumerate(shape[1:]) if n > 1]
        expected = mass.copy()
        for axis, *_ in faces:
            n = shape[axis + 1] - 1
            jump = np.diff(psi, axis=axis + 1)
            up = np.where(jump == 0.0, 1.0, jump / np.expm1(jump))
            here, there = (np.take(mass, range(k, n + k), axis=axis + 1) for k in (0, 1))
            flow = 0.05 * (up * here - (up + jump) * there)
            pad = [(0, 0)] * 4
            expected -= np.pad(flow, [*pad[: axis + 1], (0, 1), *pad[axis + 2 :]])
            expected += np.pad(flow, [*pad[: axis + 1], (1, 0), *pad[axis + 2 :]])
        plan, potential = propagation.plan(shape, faces), propagation.fields(psi, 1.0, NO_CAP)
        assert_allclose(propagation.propagate(plan, potential, mass, 0.05, 1), expected, rtol=1e-12)
        both = propagation.propagate(plan, potential, mass, 0.05, 2)
        again = propagation.propagate(plan, potential, expected, 0.05, 1)
        assert_allclose(both, again, rtol=1e-11)


def test_the_bits_of_a_large_grid_do_not_depend_on_the_threads(rng: np.random.Generator) -> None:
    axes = tuple(Axis(Coordinate(f"w{k}", "w"), -2.0, 2.0, n) for k, n in enumerate((90, 50, 60)))
    grid = Grid(axes, NO_SPECIES)
    psi, mass = 5.0 * rng.random(grid.shape), rng.random(grid.shape)
    results = []
    for threads in (1, 2, 4):
        with parallel.team(threads):
            results.append(Propagator(grid, 0.5)(psi, mass, 0.02))
    out = np.empty_like(mass)
    results.append(Propagator(grid, 0.5)(psi, mass, 0.02, out=out))
    assert np.shares_memory(results[-1][0], out) and results[0][1] > 30
    assert all(np.array_equal(results[0][0], mass) and results[0][1] == stages for mass, stages in results[1:])
    assert abs(results[0][0].sum() / mass.sum() - 1.0) < 1e-14


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
        change = generator(Grid((axis,), NO_SPECIES), 0.5 * decay * (r * r).reshape(1, 1, 1, -1), tau) @ mass
        exact = 2.0 * tau * block - 2.0 * decay * np.sum(mass * r * r)
        errors.append(abs(np.sum(change * r * r) - exact))
    assert errors[1] < 0.01 * tau * block
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.6)


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


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
@pytest.mark.parametrize("name", ["line", "line x disc", "line x circle x disc"])
def test_a_potential_that_is_no_number_does_not_vanish(name: str, wrong: float) -> None:
    grid = Grid(GRIDS[name], TWO_SPECIES)
    psi, mass = np.zeros(grid.shape), np.full(grid.shape, 1.0 / np.prod(grid.shape))
    psi[(1, *(2,) * len(grid.axes))] = wrong
    with pytest.raises(NumericalError, match="rate nan"):
        Propagator(grid, 0.5)(psi, mass, 0.1)
    # the scratch has forgotten it
    psi[(1, *(2,) * len(grid.axes))] = np.inf
    assert np.all(np.isfinite(Propagator(grid, 0.5)(psi, mass, 1e-3)[0]))


def test_an_infinite_rate_is_refused_in_words() -> None:
    axis = replace(SHELL, coordinate=Coordinate("w1", "w", "radius", 10**6), lower=0.0)
    propagator = Propagator(Grid((axis,), NO_SPECIES), 0.5)
    with pytest.raises(NumericalError, match="some cell empties at the rate"):
        propagator(np.zeros((1, 6)), np.full((1, 6), 1.0 / 6.0), 0.1)


def test_propagation_approaches_the_exponential_of_the_generator(rng: np.random.Generator) -> None:
    """Second order: halving the step of SSPRK(2, 2) divides the error by four."""
    grid = Grid((LINE,), NO_SPECIES)
    psi = rng.random(grid.padded_shape)
    plan = propagation.plan(grid.padded_shape, faces_of(grid, 0.5))
    potential = propagation.fields(psi, 0.5, NO_CAP)
    mass = rng.random(grid.padded_shape)
    exact = expm(0.2 * twin(grid, psi, 0.5)) @ mass.reshape(-1)
    errors = []
    for count in (40, 80):
        state = mass
        for _ in range(count):
            state = propagation.propagate(plan, potential, state, 0.2 / count, 2, 0.5)
        errors.append(np.max(np.abs(state.reshape(-1) - exact)))
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(2, 4, 5, 6), (1, 7, 3, 37), (1, 2, 2, 2), (1, 3, 3, 3)])
def test_limited_divergence_equals_its_twin_and_conserves(
    axis: int, periodic: bool, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    mass, potential = rng.random(shape), rng.standard_normal(shape)
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


def test_the_speed_of_the_limited_flux_is_nan_where_the_potential_is() -> None:
    mass, potential = np.ones((1, 1, 4, 9)), np.zeros((1, 1, 4, 9))
    potential[0, 0, 1, 3] = np.nan
    for axis in (1, 2):
        assert np.isnan(fluxes.limited_divergence(mass, potential, axis, 0.1, 1.0, False, np.zeros_like(mass)))
