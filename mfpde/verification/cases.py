"""Exact solutions put on grids: a problem, a box, and its density at any time, for measuring orders of convergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.core import quadrature
from mfpde.evolve import Control, Snapshot, State, evolve
from mfpde.exact import gaussian, kuramoto, linear_network, linear_neuron, manufactured, ornstein_uhlenbeck
from mfpde.measures import Axis, Grid, GridMeasure, Species, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates

Array = NDArray[np.float64]

TANH_TARGET = Population(1, "tanh", gain=1.5, scale=0.8)
# mean and covariance of (a, w) at the start of the linear network
LINEAR_START = (np.array([0.8, 0.5]), 0.15 * np.eye(2))


@dataclass(frozen=True, eq=False)
class ExactCase:
    """``density(points [..., D], t)`` [...] is the exact density of ``problem`` in its moving coordinates.

    ``box`` holds one interval per coordinate; ``end`` the time at which errors are taken; ``external(points, t)`` a
    time-dependent potential that belongs to the problem.
    """

    name: str
    problem: Problem
    box: tuple[tuple[float, float], ...]
    end: float
    density: Callable[[Array, float], Array]
    external: Callable[[Array, float], Array] | None = None


def single_species(names: Sequence[str] = (), values: Sequence[float] = ()) -> Species:
    """Frozen coordinates at one point (none by default)."""
    return Species(tuple(names), np.array([list(values)], float).reshape(1, len(names)), np.ones(1))


def box_grid(problem: Problem, box: Sequence[tuple[float, float]], cells: int | Sequence[int]) -> Grid:
    """A grid on ``box``; every frozen coordinate sits at 1 (an output weight of one)."""
    counts = [cells] * len(box) if isinstance(cells, int) else cells
    frozen = [c.name for c in problem.frozen]
    axes = tuple(Axis(c, *interval, n) for c, interval, n in zip(problem.moving, box, counts, strict=True))
    return Grid(axes, single_species(frozen, [1.0] * len(frozen)))


def points_of(grid: Grid) -> Array:
    """Cell centres : [n_1, ..., n_D, D]."""
    return np.stack(np.meshgrid(*[axis.centers for axis in grid.axes], indexing="ij"), axis=-1)


def network_problem(
    activation: str,
    law: Population,
    train: tuple[str, ...],
    temperature: float,
    weight_decay: float,
    count: int = datalaws.FIRST_NODES,
) -> Problem:
    """A square-loss network on ``count`` nodes of a Gaussian single-index law, equal weight decay in all groups."""
    data = datalaws.gaussian(law, count=count)
    decay, rates = dict.fromkeys("awb", weight_decay), dict.fromkeys("awb", 1.0)
    coordinates = network_coordinates(data.blocks, train, "b" in train, decay, rates)
    return Problem(Network(activation), data, "square", temperature, coordinates)


def run(case: ExactCase, cells: int, step: float, flux: str = "exponential") -> Snapshot:
    """The last snapshot of ``case`` on ``cells`` per axis with fixed steps."""
    grid = box_grid(case.problem, case.box, cells)
    points = points_of(grid)
    start = normalised(grid, case.density(points, 0.0)[None])
    external = None if case.external is None else (lambda _, t: case.external(points, t)[None])  # type: ignore[misc]
    control = Control(fixed_step=step, flux=flux, extend=False)  # type: ignore[arg-type]
    *_, last = evolve(case.problem, State(start, 0.0), np.array([0.0, case.end]), control, external=external)
    return last


def total_variation(case: ExactCase, measure: GridMeasure) -> float:
    """L1 distance between the masses of ``measure`` and the exact density at the end, at the cell centres."""
    exact = case.density(points_of(measure.grid), case.end) * measure.grid.cell_size
    return float(np.sum(np.abs(measure.mass[0] - exact)))


def ornstein_uhlenbeck_case(dimension: int, temperature: float = 0.4, attraction: float = 0.5) -> ExactCase:
    """Mean-field Ornstein-Uhlenbeck with a rotated, non-separable stiffness in dimension 1, 2 or 3."""
    mixing = np.array([[1.0, 0.4, -0.3], [0.2, 1.0, 0.5], [0.3, -0.6, 1.0]])[:dimension, :dimension]
    basis, _ = np.linalg.qr(mixing)
    stiffness = basis @ np.diag([1.5, 0.6, 1.0][:dimension]) @ basis.T
    mean0 = np.array([0.8, -0.6, 0.4])[:dimension]
    covariance0 = 0.3 * np.eye(dimension) + 0.05
    problem = pairwise_problem(temperature, dimension=dimension, matrix=stiffness, strength=attraction)

    def density(points: Array, time: float) -> Array:
        path = ornstein_uhlenbeck.path(
            [time], mean0, covariance0, stiffness=stiffness, interaction=attraction, temperature=temperature
        )
        return gaussian.density(points, path.mean[0], path.covariance[0])

    box = ((-4.0, 4.0),) * dimension
    return ExactCase(f"Ornstein-Uhlenbeck {dimension}-D", problem, box, 0.8, density)


def small_temperature_case() -> ExactCase:
    """A cold Ornstein-Uhlenbeck cloud in 1-D, where the drift dominates within a cell: for the limited flux."""
    problem = pairwise_problem(0.01, strength=0.5)

    def density(points: Array, time: float) -> Array:
        path = ornstein_uhlenbeck.path([time], [1.0], [[0.09]], stiffness=1.0, interaction=0.5, temperature=0.01)
        return gaussian.density(points, path.mean[0], path.covariance[0])

    return ExactCase("limited flux, tau = 0.01, 1-D", problem, ((-1.5, 3.5),), 0.5, density)


def linear_network_case() -> ExactCase:
    """Both layers of f(x) = int a w x drho trained on y = x (mfpde.exact.linear_network)."""
    problem = network_problem("identity", Population(1, "hermite", (0.0, 1.0)), ("a", "w"), 0.1, 0.5, count=12)

    def density(points: Array, time: float) -> Array:
        path = linear_network.path([time], *LINEAR_START, target=1.0, weight_decay=0.5, temperature=0.1)
        return gaussian.density(points, path.mean[0], path.covariance[0])

    return ExactCase("linear network 2-D", problem, ((-3.5, 4.5),) * 2, 1.0, density)


def radial_case(dimension: int) -> ExactCase:
    """phi = <w, x> in dimension d, w trained: (w_0, |w_perp|) is a Gaussian and a chi law of dimension d - 1."""
    decay, temperature, start, target = 0.5, 0.2, (0.5, 0.15), 1.0
    law = Population(dimension, "hermite", (0.0, target))
    problem = network_problem("identity", law, ("w",), temperature, decay, count=12)

    def density(points: Array, time: float) -> Array:
        path = linear_neuron.path(
            [time], 1, *start, second_moment=1.0, target=target, weight_decay=decay, temperature=temperature
        )
        along = gaussian.density(points[..., :1], path.mean, path.variance[:, None])
        return along * gaussian.radius_density(points[..., 1], float(path.variance[0]), dimension - 1)

    reach = (0.0, 4.0) if dimension < 10 else (0.3, 5.3)
    return ExactCase(f"radius, d = {dimension}, 2-D", problem, ((-2.5, 3.5), reach), 1.0, density)


def radial_network_case(dimension: int) -> ExactCase:
    """The linear network in dimension d with both layers trained: (a, w_0) Gaussian, |w_perp| a chi law; 3-D."""
    law = Population(dimension, "hermite", (0.0, 1.0))
    problem = network_problem("identity", law, ("a", "w"), 0.2, 0.5, count=12)
    mean0 = np.concatenate([LINEAR_START[0], np.zeros(dimension - 1)])
    target = np.eye(dimension)[0]

    def density(points: Array, time: float) -> Array:
        path = linear_network.path(
            [time], mean0, 0.2 * np.eye(dimension + 1), target=target, weight_decay=0.5, temperature=0.2
        )
        plane = gaussian.density(points[..., :2], path.mean[0, :2], path.covariance[0, :2, :2])
        return plane * gaussian.radius_density(points[..., 2], float(path.covariance[0, 2, 2]), dimension - 1)

    return ExactCase(
        f"linear network, d = {dimension}, 3-D", problem, ((-3.0, 4.0), (-3.0, 4.0), (0.0, 4.0)), 0.8, density
    )


def circle_case() -> ExactCase:
    """Kuramoto above the critical coupling, against forty Fourier modes."""
    coupling, temperature = 1.2, 0.5
    problem = pairwise_problem(temperature, potential="none", interaction="cosine", strength=coupling)
    start = kuramoto.modes_of(lambda theta: 1.0 + 0.4 * np.cos(theta - 0.3) + 0.2 * np.sin(2.0 * theta))

    def density(points: Array, time: float) -> Array:
        modes = kuramoto.evolve_modes([time], start, coupling, temperature)[0] if time > 0.0 else start
        return kuramoto.density_of(modes, points[..., 0])

    return ExactCase("Kuramoto, circle 1-D", problem, ((-np.pi, np.pi),), 1.0, density)


def manufactured_case() -> ExactCase:
    """A moving, breathing Gaussian made exact for a tanh network (a, w) by a time-dependent external potential."""
    temperature, decay = 0.2, 0.3
    problem = network_problem("tanh", TANH_TARGET, ("a", "w"), temperature, decay, count=20)
    x, y, c = problem.data.x[:, 0], problem.data.y, problem.data.weights
    z, p = quadrature.gauss_hermite(80)

    def density(points: Array, time: float) -> Array:
        return manufactured.profile_density(points, manufactured.breathing_profile(time, 2))

    def external(points: Array, time: float) -> Array:
        profile = manufactured.breathing_profile(time, 2)
        f = profile.mean[0] * (np.tanh(np.outer(x, profile.mean[1] + profile.std * z)) @ p)
        w = points[0, :, 1]
        network = points[..., 0] * (np.tanh(np.outer(w, x)) @ (c * (f - y)))
        confinement = 0.5 * decay * np.sum(points**2, axis=-1)
        return manufactured.external_potential(points, profile, temperature, network + confinement)

    return ExactCase("manufactured, tanh network 2-D", problem, ((-4.5, 4.5),) * 2, 1.0, density, external)
