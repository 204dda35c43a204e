"""The box of the grid: from the confinement, the initial law and the stationary measure on a coarse grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mfpde import initial as initial_laws
from mfpde.errors import ConfigError, NotConverged
from mfpde.initial import InitialLaw
from mfpde.measures import Axis, Grid, GridMeasure
from mfpde.problem import Coordinate, Pairwise, Problem
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate

Array = NDArray[np.float64]
Interval = tuple[float, float]

TAIL = 1e-12
# the share of the initial law that given bounds may cut off on a side
CUT = 1e-3
MAX_DIMENSION = 3
AUTO_CELLS = {1: 512, 2: 128, 3: 48}
COARSE_CELLS = {1: 400, 2: 56, 3: 28}


def choose_grid(
    problem: Problem,
    law: InitialLaw,
    cells: tuple[int, ...] | None = None,
    bounds: tuple[Interval, ...] | None = None,
) -> Grid:
    """A grid with ``cells`` per moving coordinate on ``bounds``, each chosen here where it is None.

    Raises ConfigError where there is nothing to put on a grid, or more than three coordinates.
    """
    moving = problem.moving
    if not 1 <= len(moving) <= MAX_DIMENSION:
        names = ", ".join(c.name for c in moving)
        raise ConfigError(
            "grid",
            f"would need {len(moving)} coordinates ({names}); a grid has 1 to {MAX_DIMENSION}",
            "run the particles alone: --only particles",
        )
    counts = (AUTO_CELLS[len(moving)],) * len(moving) if cells is None else cells
    for key, given in (("grid.cells", counts), ("grid.bounds", bounds)):
        if given is not None and len(given) != len(moving):
            names = ", ".join(c.name for c in moving)
            raise ConfigError(key, f"has {len(given)} entries; this problem needs one for each of {names}")
    species = initial_laws.frozen_species(law, problem.frozen)
    box = bounds if bounds is not None else choose_box(problem, law)
    for c, (lower, _) in zip(moving, box, strict=True):
        if c.kind == "radius" and lower < 0.0:
            raise ConfigError("grid.bounds", f"starts at {lower:g} for the radius {c.name}; it must be at least 0")
    if bounds is not None:
        _check_start(law, moving, bounds)
    return Grid(
        tuple(Axis(c, *interval, count) for c, interval, count in zip(moving, box, counts, strict=True)), species
    )


def _check_start(law: InitialLaw, moving: tuple[Coordinate, ...], bounds: tuple[Interval, ...]) -> None:
    """Raise ConfigError where given bounds cut off more than CUT of the initial law on a side."""
    for c, (lower, upper) in zip(moving, bounds, strict=True):
        low, high = initial_laws.interval(law, c, CUT)
        if c.kind != "circle" and (low < lower or high > upper):
            raise ConfigError(
                "grid.bounds",
                f"is [{lower:g}, {upper:g}] for {c.name}, which cuts the initial law: [{low:.4g}, {high:.4g}] holds all"
                f" but {CUT:g} of it on either side",
                'widen it, or "auto"',
            )


def choose_box(problem: Problem, law: InitialLaw) -> tuple[Interval, ...]:
    """Intervals that hold the initial and the stationary law up to about 1e-12 per side."""
    start = [initial_laws.interval(law, c, TAIL) for c in problem.moving]
    rest = [_confined(problem, c) for c in problem.moving]
    if problem.convex and problem.temperature > 0.0:
        rest = _stationary_box(problem, law, [_union(a, b) for a, b in zip(start, rest, strict=True)])
    if problem.temperature == 0.0:
        return tuple(_with_room(c, interval) for c, interval in zip(problem.moving, start, strict=True))
    return tuple(_with_margin(c, _union(a, b)) for c, a, b in zip(problem.moving, start, rest, strict=True))


def _union(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _with_margin(c: Coordinate, interval: Interval) -> Interval:
    if c.kind == "circle":
        return -np.pi, np.pi
    lower, upper = interval
    margin = 0.02 * (upper - lower)
    if c.kind == "radius":
        # small blocks start at 0; large ones have no mass there, and r^k would make the first cells needlessly stiff
        return (0.0 if lower < 2.0 * margin and c.block <= 4 else 0.9 * lower), upper + margin
    return lower - margin, upper + margin


def _with_room(c: Coordinate, interval: Interval) -> Interval:
    """A first box for transport, which nothing confines: a radius may fall to 0, what goes further widens the box."""
    if c.kind == "circle":
        return -np.pi, np.pi
    lower, upper = interval
    room = max(0.5 * (upper - lower), 0.1)
    return (0.0 if c.kind == "radius" else lower - room), upper + room


def _confined(problem: Problem, c: Coordinate) -> Interval:
    """Where the external potential alone keeps all but TAIL of a Gibbs measure."""
    tau, model = problem.temperature, problem.model
    reach = -float(ndtri(TAIL))
    if c.kind == "circle":
        return -np.pi, np.pi
    if isinstance(model, Pairwise) and model.potential != "none":
        x = np.linspace(-1.0, 1.0, 4001) * _pairwise_reach(model, tau)
        k = int(c.name[1:] or 0)
        stiffness = 1.0 / np.linalg.inv(model.matrix)[k, k] if model.potential == "quadratic" else 0.0
        well = 0.5 * stiffness * x**2
        if model.potential == "double-well":
            well = model.potential_strength * (0.25 * x**4 - 0.5 * x**2)
        inside = x[well - well.min() <= 0.5 * reach**2 * max(tau, 1e-12)]
        return float(inside[0]), float(inside[-1])
    if c.weight_decay <= 0.0 or tau == 0.0:
        return 0.0, 0.0
    std = np.sqrt(tau / c.weight_decay)
    if c.kind == "radius":
        return initial_laws.chi_interval(c.block, TAIL, std)
    return -reach * std, reach * std


def _pairwise_reach(model: Pairwise, tau: float) -> float:
    if model.potential == "quadratic":
        return 10.0 * float(np.sqrt(max(tau, 1e-6) * np.max(np.diag(np.linalg.inv(model.matrix)))))
    return 2.0 + 4.0 * float(max(tau, 1e-6) / model.potential_strength) ** 0.25 * 2.5


def _stationary_box(problem: Problem, law: InitialLaw, box: list[Interval]) -> list[Interval]:
    """Tails of the stationary measure on coarse grids, enlarged until it fits."""
    species = initial_laws.frozen_species(law, problem.frozen)
    moving = problem.moving
    count = COARSE_CELLS[len(moving)]
    for attempt in range(16):
        box = [_scaled(c, interval, 1.3 if attempt == 0 else 1.6) for c, interval in zip(moving, box, strict=True)]
        grid = Grid(tuple(Axis(c, *i, count) for c, i in zip(moving, box, strict=True)), species)
        table = tabulate(problem, grid)
        start = initial_laws.initial_measure(law, grid)
        try:
            measure = stationary(table, table.predict(start.mass)).measure
        except NotConverged:
            continue
        tails = [_quantiles(measure, axis) for axis in grid.axes]
        if all(inside for _, inside in tails):
            return [interval for interval, _ in tails]
    raise ConfigError(
        "training.weight_decay", "does not confine the neurons: no box holds the stationary measure", "raise it"
    )


def _scaled(c: Coordinate, interval: Interval, factor: float) -> Interval:
    centre, half = 0.5 * (interval[0] + interval[1]), 0.5 * factor * (interval[1] - interval[0])
    lower = centre - half
    return (max(0.0, lower) if c.kind == "radius" else lower), centre + half


def _quantiles(measure: GridMeasure, axis: Axis) -> tuple[Interval, bool]:
    mass = measure.marginal(axis.name)[1]
    inside = np.flatnonzero((np.cumsum(mass) > TAIL) & (np.cumsum(mass[::-1])[::-1] > TAIL))
    low, high = int(inside[0]), int(inside[-1])
    open_below = low == 0 and not (axis.coordinate.kind == "radius" and axis.lower == 0.0)
    fits = axis.periodic or not (open_below or high == axis.cells - 1)
    return (float(axis.edges[low]), float(axis.edges[high + 1])), fits
