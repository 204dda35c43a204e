"""What every step must keep: mass, signs, energy decay, stationary measures; and the symmetry reduction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.core import quadrature
from mfpde.evolve import Control, Snapshot, State, evolve
from mfpde.measures import Grid, GridMeasure, moments, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.steppers import grid as exponential
from mfpde.tabulate import node_features, tabulate
from mfpde.verification import cases
from mfpde.verification.check import Check, at_most, near, positive

Array = NDArray[np.float64]

STEPS = (0.01, 0.1, 1.0, 10.0)
STEPS_EACH = 12
MASS_TOLERANCE = 1e-13
ENERGY_TOLERANCE = 1e-13


def gaussian_start(grid: Grid, mean: tuple[float, ...], variance: float) -> GridMeasure:
    """An isotropic Gaussian on a grid of lines, the same for every species."""
    shifted = cases.points_of(grid) - np.array(mean)
    return normalised(grid, np.broadcast_to(np.exp(-0.5 * np.sum(shifted**2, axis=-1) / variance), grid.shape))


def structure_problems() -> tuple[tuple[str, Problem, GridMeasure], ...]:
    """Attraction in a double well (not convex), a tanh network on a plane, and one on a 3-D grid."""
    well = pairwise_problem(0.1, potential="double-well", strength=1.0)
    well_start = gaussian_start(cases.box_grid(well, ((-3.0, 3.0),), 128), (0.3,), 0.25)
    plane = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.1, 0.5)
    plane_start = gaussian_start(cases.box_grid(plane, ((-4.0, 4.5),) * 2, 64), (0.8, 0.5), 0.15)
    space = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w", "b"), 0.2, 0.5, count=20)
    space_start = gaussian_start(cases.box_grid(space, ((-4.0, 4.0),) * 3, 16), (0.5, 0.5, 0.3), 0.3)
    return (
        ("Desai-Zwanzig 1-D", well, well_start),
        ("tanh network 2-D", plane, plane_start),
        (
            "tanh network 3-D",
            space,
            space_start,
        ),
    )


def fixed_steps(problem: Problem, start: GridMeasure, dt: float, count: int) -> list[Snapshot]:
    """``count`` steps of one length, the start included."""
    control = Control(fixed_step=dt, extend=False)
    return list(evolve(problem, State(start, 0.0), np.array([0.0, count * dt]), control))


def mass_sign_energy() -> list[Check]:
    """Mass drift, smallest density and largest relative rise of the free energy over steps from 0.01 to 10."""
    rows = []
    for name, problem, start in structure_problems():
        history = [s for dt in STEPS for s in fixed_steps(problem, start, dt, STEPS_EACH)]
        rows += [
            at_most(f"mass drift, {name}", max(s.mass_error for s in history), MASS_TOLERANCE),
            positive(f"smallest density, {name}", min(s.min_density for s in history)),
            at_most(
                f"energy rise / energy, {name}", max(s.increase / s.energy_scale for s in history), ENERGY_TOLERANCE
            ),
        ]
    return rows


def fixed_point() -> list[Check]:
    """The certified stationary measure does not move under a step of the stepper, and neither do its predictions."""
    rows = []
    for name, problem, start in structure_problems()[1:]:
        table = tabulate(problem, start.grid)
        end = stationary(table, table.predict(start.mass))
        for dt in (0.1, 10.0):
            propagator = exponential.Propagator(start.grid, problem.temperature)
            moved = exponential.step(table, propagator, end.measure.mass, table.skeleton(end.measure.mass), dt, None)
            change = float(np.sum(np.abs(moved.mass - end.measure.mass)))
            rows.append(at_most(f"change of the stationary measure, dt = {dt:g}, {name}", change, 1e-12))
    return rows


def pure_decay_problem(dimension: int, temperature: float, decay: float) -> Problem:
    """A neuron that sees no signal: y = 0 and output weight 0, so w is a Gaussian of variance tau/lambda in R^d."""
    data = datalaws.gaussian(Population(dimension, "hermite", (0.0,)), count=4)
    rates = dict.fromkeys("awb", 1.0)
    coordinates = network_coordinates(data.blocks, ("w",), False, dict.fromkeys("awb", decay), rates)
    return Problem(Network("identity", scale=0.0), data, "square", temperature, coordinates)


def radial_weight() -> list[Check]:
    """Pure weight decay has E r^2 = (tau/lambda)(d - 1) and F = tau int rho log rho + lambda/2 E|w|^2 of a Gaussian."""
    rows = []
    for dimension in (4, 20, 1000):
        temperature, decay = 0.2, 0.5
        variance = temperature / decay
        problem = pure_decay_problem(dimension, temperature, decay)
        centre, reach = np.sqrt(variance * (dimension - 1)), 8.5 * np.sqrt(variance)
        grid = cases.box_grid(problem, ((-reach, reach), (max(0.0, centre - reach), centre + reach)), 96)
        table = tabulate(problem, grid)
        end = stationary(table, np.zeros(len(problem.data.y)))
        exact = -0.5 * dimension * temperature * np.log(2.0 * np.pi * variance)
        rows += [
            near(
                f"E r^2, d = {dimension}", moments(end.measure)["w1"][1], variance * (dimension - 1), 1e-9 * dimension
            ),
            near(f"free energy, d = {dimension}", end.free_energy, exact, 1e-10 * dimension),
        ]
    return rows


def symmetry_reduction() -> list[Check]:
    """The reduced first variation in d = 3 against a direct Gauss-Hermite quadrature over x in R^3.

    An invariant measure of three orbits (s_j, r_j): f(x) = sum_j m_j mean over the circle of sigma(s_j x_0 + r_j
    (x_1 cos + x_2 sin)), and Psi(w) = E_x (f(x) - g(x_0)) sigma(<w, x>), directly and on the reduced nodes.
    """
    law = Population(3, "hermite", (0.0, 1.0, 0.0, 0.4))
    problem = cases.network_problem("erf", law, ("w",), 0.1, 0.0, count=40)
    orbits, shares = np.array([[0.9, 0.5], [-0.4, 1.1], [0.3, 0.2]]), np.array([0.5, 0.2, 0.3])
    probes = np.array([[0.7, 0.4], [-0.3, 0.9], [1.1, 1.3]])
    f = shares @ node_features(problem, orbits)
    reduced = node_features(problem, probes) @ problems.residual(problem, f)
    direct_risk, direct = _direct_riskirst_variation(law, orbits, shares, probes)
    energy = problems.risk(problem, f)
    return [
        at_most("first variation, d = 3", float(np.max(np.abs(reduced - direct))), 1e-12),
        near("risk, d = 3", energy, direct_risk, 1e-11),
    ]


def _direct_riskirst_variation(law: Population, orbits: Array, shares: Array, probes: Array) -> tuple[float, Array]:
    x0, p0 = quadrature.gauss_hermite(40, 1e-14)
    x = np.stack([axis.reshape(-1) for axis in np.meshgrid(x0, x0, x0, indexing="ij")], axis=1)
    p = np.einsum("i,j,k->ijk", p0, p0, p0).reshape(-1)
    angle = 2.0 * np.pi * np.arange(24) / 24
    f = np.zeros(len(x))
    for (s, r), share in zip(orbits, shares, strict=True):
        for cosine, sine in zip(np.cos(angle), np.sin(angle), strict=True):
            f += share / len(angle) * erf((x @ np.array([s, r * cosine, r * sine])) / np.sqrt(2.0))
    r = f - datalaws.target_values(law, x[:, 0])
    features = erf((x[:, :2] @ probes.T) / np.sqrt(2.0))
    return 0.5 * float(p @ r**2), (p * r) @ features


def duality_bound() -> list[Check]:
    """D <= F* <= F at every step of a run, D the best dual bound met so far."""
    name, problem, start = structure_problems()[1]
    table = tabulate(problem, start.grid)
    end = stationary(table, table.predict(start.mass))
    history = evolve(problem, State(start, 0.0), np.array([0.0, 10.0]), Control(extend=False))
    worst = max(max(end.free_energy - s.free_energy, s.free_energy - s.gap - end.free_energy) for s in history)
    return [at_most(f"violation of D <= F* <= F, {name}", worst, 1e-12)]
