"""Two Gaussians: the reduced law, trajectories of another program on atoms and grid, infinite dimension, identities.

Printed risks and times are those of the papers: twice and half of mfpde's.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gaussians import FAILURE, TRUNCATED, normal_start, problem, quantiles, radial_grid
from scipy.integrate import quad
from scipy.special import gammaincinv

from mfpde import datalaws, evolve, meanfield
from mfpde.core import quadrature, sphere
from mfpde.evolve import Control, Solution
from mfpde.exact import two_gaussians
from mfpde.exact.two_gaussians import gaussian_mean
from mfpde.initial import initial_measure, quantile_nodes
from mfpde.measures import Axis, Grid, GridMeasure, ParticleMeasure, Species, deposit, moments, origin_mass
from mfpde.problem import Problem, TwoGaussians
from mfpde.stationary import stationary
from mfpde.steppers import forces, radial, sampling
from mfpde.steppers.atoms import AtomFlow, AtomSnapshot, evolve_atoms, initial_atoms
from mfpde.tabulate import node_features, tabulate

Array = np.ndarray

# by another program: d = 40, Delta = 0.8, start N(0, 0.8^2/40 I): t, R, mean of r, its standard deviation
ISOTROPIC = (
    (0.01, 1.631855, 0.82165, 0.08516),
    (0.1, 1.338984, 0.97980, 0.06722),
    (0.3, 1.180588, 1.15370, 0.05742),
    (1.0, 1.070615, 1.42286, 0.06867),
    (3.0, 0.949676, 1.88317, 0.22897),
)
# the same with 800 atoms of the quantile rule of ``initial_atoms``, for which nothing changes any more
CONVERGED = (1.6318815, 1.3389795, 1.1805816, 1.0706070, 0.9496319)


def path(one: Problem, start: ParticleMeasure, times: list[float]) -> list[AtomSnapshot]:
    """Snapshots at 0 and at times of the papers."""
    return list(evolve_atoms(one, start, 2.0 * np.array([0.0, *times])))


def spread(x: Array, weights: Array | None = None) -> float:
    """Standard deviation."""
    weights = np.full(len(x), 1.0 / len(x)) if weights is None else weights
    mean = np.sum(weights * x)
    return float(np.sqrt(np.sum(weights * (x - mean) ** 2)))


def on_grid(one: Problem, std: float, upper: float, cells: int, times: list[float]) -> Solution:
    start = initial_measure(normal_start(one.data.population.dimension, std), radial_grid(one, upper, cells))
    control = Control(flux="limited", extend=False)
    return evolve.solve(one, start, 2.0 * np.array([0.0, *times]), control)


# ---- the law -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [(1, 0), (1, 1), (40, 0), (1, 9), (9, 1), (60, 260), (3000, 7000), (10**6, 0)])
def test_moments_of_the_reduced_law(blocks: tuple[int, int]) -> None:
    population = TwoGaussians(sum(blocks), blocks[0], 0.3)
    law = datalaws.two_gaussians(population)
    assert law.blocks == (blocks if blocks[1] else blocks[:1])
    assert law.weights.sum() == pytest.approx(1.0, rel=1e-14)
    assert np.sum(law.weights * law.y) == pytest.approx(0.0, abs=1e-15)
    for label, deviation in ((1.0, 1.3), (-1.0, 0.7)):
        share = 2.0 * law.weights * (law.y == label)
        for k, block in enumerate(law.blocks):
            scale = deviation if k == 0 else 1.0
            assert np.sum(share * law.x[:, k] ** 2) == pytest.approx(scale**2 * block, rel=1e-12)
            assert np.sum(share * law.x[:, k] ** 4) == pytest.approx(scale**4 * block * (block + 2.0), rel=1e-11)


@pytest.mark.parametrize("pair", [(40, 40), (320, 320), (10_000, 10_000), (60, 15), (320, 60), (5, 2)])
def test_the_linear_potential_is_that_of_a_gaussian(pair: tuple[int, int]) -> None:
    """E y phi = (q(S_+) - q(S_-))/2 in every dimension: rotations and radii together make a Gaussian of <w, x>.

    Blocks of a few dimensions leave kinks for the rule over the radius of x, which then converges slowly.
    """
    dimension, informative = pair
    one = problem(dimension, 0.5, informative, pieces=FAILURE, count=32)
    radii = np.array([0.1, 0.7, 1.5, 3.0])
    points = radii[:, None] if informative == dimension else np.stack([radii, 0.4 + 0.5 * radii[::-1]], axis=1)
    found = node_features(one, points) @ (one.data.weights * one.data.y)
    q = gaussian_mean(*FAILURE, two_gaussians.deviations(0.5, points))[0]
    np.testing.assert_allclose(found, 0.5 * (q[0] - q[1]), atol=1e-10 if min(one.data.blocks) > 14 else 2e-3)


def test_a_bias_moves_the_knots_and_a_table_keeps_what_direct_sums_give() -> None:
    one = problem(40, 0.5, train=("w", "b"), count=8)
    points = np.array([[0.7, 0.3], [1.9, -0.8]])
    moved = tuple(problem(40, 0.5, pieces=(TRUNCATED[0] - b, *TRUNCATED[1:]), count=8) for b in points[:, 1])
    expected = np.concatenate([node_features(p, points[k : k + 1, :1]) for k, p in enumerate(moved)])
    np.testing.assert_allclose(node_features(one, points), expected, atol=2e-14)
    grid = Grid(
        (Axis(one.moving[0], 0.0, 3.0, 12), Axis(one.moving[1], -1.0, 1.0, 8)),
        Species(("a",), np.ones((1, 1)), np.ones(1)),
    )
    mass = np.random.default_rng(1).random(grid.shape)
    tables = [tabulate(one, grid, way) for way in ("precomputed", "compressed", "direct")]
    values = [table.predict(mass) for table in tables]
    potentials = [table.first_variation(one.data.weights * one.data.y) for table in tables]
    for value, potential in zip(values[1:], potentials[1:], strict=True):
        np.testing.assert_allclose(value, values[0], rtol=1e-10)
        np.testing.assert_allclose(potential, potentials[0], atol=1e-11)


# ---- trajectories --------------------------------------------------------------------------------------------------


def test_isotropic_atoms() -> None:
    """ISOTROPIC with the 400 particles of its program, to all digits but the last, and with the rule of mfpde."""
    one = problem(40, 0.8)
    printed = path(one, quantiles(40, 0.8, 400), [row[0] for row in ISOTROPIC])
    for snapshot, (_, risk, mean, std) in zip(printed[1:], ISOTROPIC, strict=True):
        radii = snapshot.measure.atoms[:, 1]
        assert 2.0 * snapshot.risk == pytest.approx(risk, abs=1.5e-6)
        assert (radii.mean(), spread(radii)) == (pytest.approx(mean, abs=2e-5), pytest.approx(std, abs=1e-5))
    start = initial_atoms(one, normal_start(40, 0.8))
    assert 380 <= len(start.weights) <= 400
    for snapshot, risk in zip(path(one, start, [row[0] for row in ISOTROPIC])[1:], CONVERGED, strict=True):
        assert 2.0 * snapshot.risk == pytest.approx(risk, abs=3e-6)


def test_quantile_nodes_are_the_law_of_the_radius() -> None:
    one = problem(40, 0.8)
    r, p = quantile_nodes(normal_start(40, 0.8), one.moving[0], 400)
    assert p.sum() == pytest.approx(1.0, rel=1e-14)
    assert np.sum(p * r**2) == pytest.approx(0.64, abs=1e-6)
    assert np.sum(p * r**4) == pytest.approx(0.64**2 * 42.0 / 40.0, abs=1e-5)
    # the quantile of the level below which the nodes up to it lie, half of its own weight included
    level = np.cumsum(p) - 0.5 * p
    expected = 0.8 / np.sqrt(40.0) * np.sqrt(2.0 * gammaincinv(20.0, level[100]))
    assert r[100] == pytest.approx(expected, abs=1e-5)


def test_isotropic_on_the_grid() -> None:
    """400 cells: risk to 2e-4, standard deviation to 1 %, mass to round-off, positive, the energy never up."""
    one = problem(40, 0.8)
    found = on_grid(one, 0.8, 3.0, 400, [row[0] for row in ISOTROPIC])
    for snapshot, (_, _, mean, std), risk in zip(found.snapshots[1:], ISOTROPIC, CONVERGED, strict=True):
        first, second = moments(snapshot.measure)["w"][:2]
        assert 2.0 * snapshot.risk == pytest.approx(risk, abs=2e-4)
        assert first == pytest.approx(mean, abs=3e-4)
        assert np.sqrt(second - first**2) == pytest.approx(std, rel=0.01)
    assert max(s.mass_error for s in found.history) < 1e-13
    assert min(s.min_density for s in found.history) > 0.0
    assert max(s.increase for s in found.history) == 0.0


@pytest.mark.slow
def test_isotropic_until_the_law_has_split() -> None:
    """t = 10: R = .1753 with two digits of the quantiles, 5e-4 between 200 and 400 atoms; grid and atoms agree."""
    one = problem(40, 0.8)
    final = path(one, quantiles(40, 0.8, 400), [10.0])[-1]
    radii = final.measure.atoms[:, 1]
    assert 2.0 * final.risk == pytest.approx(0.1753, abs=1e-4)
    assert (radii.mean(), spread(radii)) == (pytest.approx(3.454, abs=1e-3), pytest.approx(1.537, abs=1e-3))
    np.testing.assert_allclose(np.quantile(radii, [0.05, 0.5, 0.95]), [0.071, 4.03, 4.90], atol=0.006)
    ours = path(one, initial_atoms(one, normal_start(40, 0.8)), [10.0])[-1]
    grid = on_grid(one, 0.8, 8.0, 1600, [10.0]).final
    assert ours.risk == pytest.approx(final.risk, abs=1e-4)
    assert grid.risk == pytest.approx(ours.risk, abs=5e-4)
    assert grid.boundary_mass < 1e-12


def test_a_start_that_is_absorbed_and_one_that_is_not() -> None:
    """d = 320, Delta = 0.5, 100 quantile particles: R = 7.25 with all at w = 0, and R = 0.0143."""
    one = problem(320, 0.5, pieces=FAILURE)
    narrow = path(one, quantiles(320, 0.1, 100), [0.01, 0.03, 0.1])
    assert 2.0 * narrow[0].risk == pytest.approx(7.98444, abs=1e-5)
    assert 2.0 * narrow[1].risk == pytest.approx(7.43788, abs=2e-5)
    for snapshot in narrow[2:]:
        # E (y - sigma(0))^2 = 1 + 2.5^2: every atom is at 0 and stays there
        assert 2.0 * snapshot.risk == pytest.approx(7.25, abs=1e-12)
        assert not np.any(snapshot.measure.atoms[:, 1])
        assert origin_mass(snapshot.measure, ("w",)) == {"w": pytest.approx(1.0, rel=1e-12)}
    wide = path(one, quantiles(320, 0.4, 100), [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
    printed = (6.77451, 5.34604, 3.57239, 1.53642, 0.358811, 0.027697, 0.014315, 0.014303)
    np.testing.assert_allclose([2.0 * s.risk for s in wide], printed, atol=1e-5)
    assert wide[-1].measure.atoms[:, 1].mean() == pytest.approx(2.0882, abs=1e-4)
    assert origin_mass(wide[-1].measure, ("w",)) == {"w": 0.0}


def test_a_start_on_both_sides_of_the_barrier() -> None:
    """Part of the atoms is absorbed and held while the others go on: times asked for in between change nothing."""
    one, start = problem(320, 0.5, pieces=FAILURE, count=12), quantiles(320, 0.2, 30)
    once = path(one, start, [0.2])[-1]
    often = path(one, start, list(0.2 * np.arange(1, 41) / 40.0))[-1]
    mass = origin_mass(once.measure, ("w",))["w"]
    assert 0.1 < mass < 0.9
    assert origin_mass(often.measure, ("w",))["w"] == mass
    np.testing.assert_allclose(often.measure.atoms, once.measure.atoms, atol=1e-7)


def test_absorption_on_the_grid_is_reported() -> None:
    """All mass ends in the first cell, half a cell from the cusp: the risk misses 7.25 to first order in the cell."""
    one = problem(320, 0.5, pieces=FAILURE)
    errors = []
    for cells in (100, 200):
        final = on_grid(one, 0.1, 0.4, cells, [0.1]).final
        assert origin_mass(final.measure, ("w",))["w"] == pytest.approx(1.0, abs=1e-12)
        assert final.mass_error < 1e-13
        cell = one.data.x[:, 0] * 0.5 * 0.4 / cells
        phi = sphere.one_sphere(*FAILURE, 320, np.zeros_like(cell), cell)[0]
        assert final.risk == pytest.approx(0.5 * np.sum(one.data.weights * (phi - one.data.y) ** 2), abs=1e-12)
        errors.append(abs(2.0 * final.risk - 7.25))
    assert errors[0] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.05)


def test_an_absorbed_atom_leaves_when_the_force_turns() -> None:
    """Targets below sigma(0), which the slope -3 beside the kink lowers: w = 0 repels, and an atom there moves off."""
    one = problem(320, 0.5, pieces=FAILURE)
    flipped = Problem(
        one.model,
        datalaws.DataLaw(one.data.x, np.full_like(one.data.y, -4.0), one.data.weights, one.data.blocks),
        "square",
        0.0,
        one.coordinates,
    )
    start = ParticleMeasure(("a", "w"), np.array([[1.0, 0.0], [1.0, 0.3]]), np.array([0.5, 0.5]))
    final = list(evolve_atoms(flipped, start, np.array([0.0, 0.1])))[-1]
    assert final.measure.atoms[0, 1] > 0.01


# ---- one atom, infinite dimension ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "rows"),
    [
        (
            np.inf,
            ((0.1, 1.080254, 0.660339), (0.3, 1.363939, 0.190026), (1, 1.509699, 0.139427), (3, 1.519832, 0.139238)),
        ),
        (40, ((0.1, 1.078151, 0.719973), (0.3, 1.364020, 0.243562), (1, 1.513733, 0.190742), (3, 1.524700, 0.190525))),
    ],
)
def test_one_atom_stays_one(dimension: float, rows: tuple[tuple[float, float, float], ...]) -> None:
    """Delta = .3, r_0 = .5, to the six digits that are printed."""
    times = [row[0] for row in rows]
    if np.isinf(dimension):
        knots, slopes, value = TRUNCATED
        found = two_gaussians.path(
            2.0 * np.array([0.0, *times]), [[0.5]], [1.0], knots=knots, slopes=slopes, value=value, separation=0.3
        )
        radii, risks = found.radii[1:, 0, 0], 2.0 * found.risk[1:]
    else:
        start = ParticleMeasure(("a", "w"), np.array([[1.0, 0.5]]), np.ones(1))
        snapshots = path(problem(int(dimension), 0.3), start, times)[1:]
        radii, risks = [s.measure.atoms[0, 1] for s in snapshots], [2.0 * s.risk for s in snapshots]
    np.testing.assert_allclose(radii, [row[1] for row in rows], rtol=0.0, atol=6e-7)
    np.testing.assert_allclose(risks, [row[2] for row in rows], rtol=0.0, atol=6e-7)


@pytest.mark.parametrize(
    ("separation", "start", "rows"),
    [
        (
            0.3,
            (np.sqrt(0.1), np.sqrt(0.9)),
            (
                (1, 1.02653, 0.98835, 0.468225),
                (3, 1.43806, 0.39738, 0.178142),
                (10, 1.51969, 0.01673, 0.139301),
                (30, 1.51984, 0.0, 0.139238),
            ),
        ),
        (0.5, (0.8 * np.sqrt(0.1875), 0.8 * np.sqrt(0.8125)), ((30, 1.70293, 0.34831, 0.0),)),
    ],
)
def test_feature_selection_in_infinite_dimension(
    separation: float, start: tuple[float, float], rows: tuple[tuple[float, float, float, float], ...]
) -> None:
    """Below the transition r_2 vanishes, above it does not."""
    knots, slopes, value = TRUNCATED
    times = 2.0 * np.array([0.0, *(row[0] for row in rows)])
    law = {"knots": knots, "slopes": slopes, "value": value, "separation": separation}
    found = two_gaussians.path(times, [start], [1.0], **law)
    # radii are printed with five digits
    np.testing.assert_allclose(found.radii[1:, 0], [row[1:3] for row in rows], rtol=0.0, atol=6e-6)
    np.testing.assert_allclose(2.0 * found.risk[1:], [row[3] for row in rows], rtol=0.0, atol=1e-6)


def test_the_two_numbers_are_the_limit_of_the_dimension() -> None:
    """Blocks of 2 10^3 .. 2 10^5: the atoms of the reduced law come to those of the closure at the rate 1/d."""
    knots, slopes, value = TRUNCATED
    start, weights = np.array([[0.35, 0.9], [0.8, 0.5]]), np.array([0.4, 0.6])
    law = {"knots": knots, "slopes": slopes, "value": value, "separation": 0.3}
    exact = two_gaussians.path([0.0, 1.0, 3.0], start, weights, **law)
    errors = []
    for dimension in (2_000, 20_000, 200_000):
        one = problem(dimension, 0.3, dimension // 10, count=6)
        atoms = ParticleMeasure(("a", "w0", "w1"), np.column_stack([np.ones(2), start]), weights)
        final = list(evolve_atoms(one, atoms, np.array([0.0, 1.0, 3.0])))[-1]
        errors.append(np.max(np.abs(final.measure.atoms[:, 1:] - exact.radii[-1])))
        assert final.risk == pytest.approx(exact.risk[-1], abs=200.0 / dimension)
    assert errors[2] < 1e-4
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 10.0, rtol=0.05)


def test_q_is_a_gaussian_mean_with_its_slope() -> None:
    s = np.array([0.2, 1.0, 4.0])
    q, slope = gaussian_mean(*FAILURE, s)
    for size, found in zip(s, q, strict=True):

        def integrand(z: float, size: float = size) -> float:
            return float(np.interp(size * z, [0.0, 0.5, 1.5], [-2.5, -4.0, 7.5]) * np.exp(-0.5 * z * z))

        edges = [-12.0, 0.0, 0.5 / size, min(1.5 / size, 11.0), 12.0]
        pieces = [quad(integrand, *pair, epsabs=1e-13)[0] for pair in itertools.pairwise(edges)]
        assert found == pytest.approx(sum(pieces) / np.sqrt(2.0 * np.pi), abs=1e-11)
    step = 1e-6
    np.testing.assert_allclose(
        slope, (gaussian_mean(*FAILURE, s + step)[0] - gaussian_mean(*FAILURE, s - step)[0]) / (2.0 * step), atol=1e-8
    )
    # at 0: sigma(0) and the cusp, -3 E G_+ from the right slope and nothing from the flat left
    assert gaussian_mean(*FAILURE, 0.0)[0] == pytest.approx(-2.5, rel=1e-15)
    assert gaussian_mean(*FAILURE, 0.0)[1] == pytest.approx(-3.0 / np.sqrt(2.0 * np.pi), rel=1e-14)


# ---- identities ----------------------------------------------------------------------------------------------------


def test_energy_of_atoms_falls_by_the_square_of_their_speed() -> None:
    """dR/dt = -int |grad Psi|^2 drho (in the papers' units -4 xi int), by Gauss-Legendre nodes in time."""
    one, start = problem(40, 0.8), quantiles(40, 0.8, 60)
    flow = AtomFlow(one)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    times = np.concatenate([[0.0], 0.1 * (1.0 + nodes), [0.2]])
    snapshots = list(evolve_atoms(one, start, times))
    squares = [
        float(np.sum(s.measure.weights[:, None] * flow.velocity(s.measure.atoms, s.measure.weights) ** 2))
        for s in snapshots[1:-1]
    ]
    assert snapshots[-1].risk - snapshots[0].risk == pytest.approx(-0.1 * float(weights @ squares), rel=1e-8)


@pytest.mark.parametrize("temperature", [0.0, 0.02])
def test_free_energy_on_the_grid_falls_by_the_dissipation(temperature: float) -> None:
    """Without noise, to second order in the cells of the limited flux, and with noise: dF/dt = -int |grad mu|^2."""
    one = problem(40, 0.8, temperature=temperature, decay=0.05 if temperature else 0.0)
    errors = []
    for cells in (100, 200):
        grid = radial_grid(one, 2.6, cells)
        start = initial_measure(normal_start(40, 0.8), grid)
        control = Control(flux="limited", extend=False)
        history = evolve.solve(one, start, np.array([0.0, 0.2]), control).history
        time, energy, loss = (
            np.array([getattr(s, k) for s in history]) for k in ("time", "free_energy", "dissipation")
        )
        change = energy[-1] - energy[0]
        errors.append(abs(change + np.trapezoid(loss, time)) / abs(change))
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 3.2


def test_the_linear_part_of_the_risk() -> None:
    """R = E y^2 + 2 int V + int int U, with V in closed form, against the sum of squares that is computed."""
    one = problem(40, 0.8)
    radii, weights = np.array([0.6, 1.4, 3.0]), np.array([0.5, 0.2, 0.3])
    phi = node_features(one, radii[:, None])
    interaction = (phi * one.data.weights) @ phi.T
    q = gaussian_mean(*TRUNCATED, two_gaussians.deviations(0.8, radii[:, None]))[0]
    expected = 1.0 - weights @ (q[0] - q[1]) + weights @ interaction @ weights
    flow = AtomFlow(one)
    atoms = np.column_stack([np.ones(3), radii])
    assert 2.0 * flow.energy(atoms, weights, flow.predict(atoms, weights)) == pytest.approx(expected, abs=1e-12)


def test_with_noise_the_stationary_measure_is_certified() -> None:
    one = problem(40, 0.8, temperature=0.02, decay=0.1)
    grid = radial_grid(one, 9.0, 300)
    table = tabulate(one, grid)
    start = initial_measure(normal_start(40, 0.8), grid)
    rest = stationary(table, table.predict(start.mass))
    assert 0.0 <= rest.gap < 1e-10
    assert rest.free_energy < meanfield.free_energy(table, start.mass)


def test_lower_bound_at_temperature_zero() -> None:
    """int Psi drho - min Psi bounds R - min R: the minimum over the same cells is the least of non-negative squares."""
    from scipy.optimize import nnls

    one = problem(40, 0.5)
    grid = radial_grid(one, 6.0, 240)
    table = tabulate(one, grid)
    mass = initial_measure(normal_start(40, 1.0), grid).mass
    f = table.predict(mass)
    root = np.sqrt(one.data.weights)
    phi = node_features(one, grid.axes[0].centers[:, None])
    best = nnls(np.vstack([(root * (phi - one.data.y)).T, np.ones(240)]), np.append(np.zeros(len(root)), 1.0))[0]
    least = 0.5 * float(np.sum((root * (best @ phi / best.sum() - one.data.y)) ** 2))
    risk = 0.5 * float(np.sum((root * (f - one.data.y)) ** 2))
    assert risk - meanfield.optimality_gap(table, mass, f) <= least <= risk
    # at the minimiser the bound is attained
    ideal = GridMeasure(grid, np.maximum(best / best.sum(), 1e-200)[None])
    assert meanfield.optimality_gap(table, ideal.mass, table.predict(ideal.mass)) < 1e-9


def test_a_grid_without_noise_needs_the_limited_flux() -> None:
    one = problem(40, 0.5)
    grid = radial_grid(one, 3.0, 20)
    with pytest.raises(ValueError, match="limited"):
        evolve.solve(one, initial_measure(normal_start(40, 0.8), grid), np.array([0.0, 0.1]))


def test_mass_at_the_edge_of_the_box_is_kept_and_reported() -> None:
    """Above the transition mass moves out: a box too small holds it in its last cells, one that grows lets it go."""
    one = problem(40, 0.8)
    grid = radial_grid(one, 1.6, 80)
    start = initial_measure(normal_start(40, 0.8), grid)
    shut = evolve.solve(one, start, np.array([0.0, 4.0]), Control(flux="limited", extend=False)).final
    free = evolve.solve(one, start, np.array([0.0, 4.0]), Control(flux="limited")).final
    assert shut.boundary_mass > 0.05
    assert shut.mass_error < 1e-13
    assert free.boundary_mass < 1e-9
    assert free.measure.grid.axes[0].upper > 1.8
    assert free.risk < shut.risk


# ---- full dimension ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("informative", [6, 2])
def test_the_force_of_the_limit_in_full_dimension(informative: int, rng: np.random.Generator) -> None:
    """grad of psi(|w_1|, |w_2|), against differences of the potential itself."""
    one = problem(6, 0.6, informative, count=8)
    theta = rng.normal(size=(8, 5))
    theta[-1] = 0.0
    r = one.data.weights * rng.normal(size=len(one.data.y))
    found = radial.block_gradient(one, theta, r)

    def psi(w: Array) -> Array:
        edges = np.concatenate([[0], np.cumsum(one.data.blocks)])
        sizes = [np.linalg.norm(w[a:b], axis=0) for a, b in itertools.pairwise(edges)]
        return node_features(one, np.stack(sizes, axis=1)) @ r

    np.testing.assert_allclose(found[0], psi(theta[1:-1]), atol=1e-13)
    for k in range(6):
        step = np.zeros((6, 1))
        step[k] = 1e-6
        slope = (psi(theta[1:-1] + step) - psi(theta[1:-1] - step)) / 2e-6
        np.testing.assert_allclose(found[1 + k], theta[0] * slope, atol=1e-7)


@pytest.mark.parametrize(
    ("informative", "activation"), [(30, "piecewise-linear"), (12, "piecewise-linear"), (30, "erf")]
)
def test_a_limit_is_carried_to_inputs_in_full_dimension(
    informative: int, activation: str, rng: np.random.Generator
) -> None:
    one = problem(30, 0.4, informative, activation=activation, count=24)
    radii = np.array([[1.3, 0.8]])[:, : len(one.data.blocks)]
    f = node_features(one, radii)[0]
    law = sampling.sobol_law(one, 256, 3)
    assert sorted(np.unique(law.target)) == [-1.0, 1.0] and law.x.shape == (256, 30)
    np.testing.assert_allclose(law.x[:128, informative:], law.x[128:, informative:], atol=0.0)
    np.testing.assert_allclose(law.x[:128, :informative] / 1.4, law.x[128:, :informative] / 0.6, rtol=1e-14)
    carried = radial.carry_to_inputs(one.data, f, law.x, law.target)
    edges = np.concatenate([[0], np.cumsum(one.data.blocks)])
    sizes = np.stack([np.linalg.norm(law.x[:, a:b], axis=1) for a, b in itertools.pairwise(edges)], axis=1)
    data = datalaws.DataLaw(sizes, law.target, law.weights, one.data.blocks)
    expected = node_features(Problem(one.model, data, "square", 0.0, one.coordinates), radii)[0]
    np.testing.assert_allclose(carried, expected, atol=2e-5)


def test_no_pair_kernel_is_taken_for_a_law_that_is_not_gaussian() -> None:
    assert forces.exact_force(problem(10, 0.3, activation="erf")) is None
    # one input: the nodes of the law are those of the particles
    assert isinstance(forces.exact_force(problem(1, 0.3)), forces.NodeForce)


def test_the_laguerre_polynomials_are_orthonormal() -> None:
    r, p = quadrature.radius(320, 24)
    values = quadrature.laguerre_functions(20, 159.0, 0.5 * r * r)
    np.testing.assert_allclose((values * p) @ values.T, np.eye(21), atol=1e-9)


def test_deposit_and_origin_mass() -> None:
    grid = radial_grid(problem(40, 0.8), 1.0, 10)
    measure = deposit(grid, np.array([[0.0], [0.55]]), np.array([0.25, 0.75]))
    assert origin_mass(measure, ("w",)) == {"w": pytest.approx(0.25)}
    assert origin_mass(measure, ()) == {}
