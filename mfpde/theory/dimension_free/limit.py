"""The limit of a problem along some times, whatever carries it: atoms at temperature 0, a grid above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve
from mfpde import problem as problems
from mfpde.domain import MAX_DIMENSION, choose_grid
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw, initial_measure
from mfpde.measures import Measure
from mfpde.problem import Problem
from mfpde.steppers.atoms import evolve_atoms, initial_atoms
from mfpde.steppers.drive import Drive

Array = NDArray[np.float64]

# room beyond the atoms, as a share of their range, where the field of the copies is tabulated
ROOM = 0.1


@dataclass(frozen=True, eq=False)
class Limit:
    """rho_t at ``times`` [K]: measures [K], f [K, n] at the data nodes, risk [K]; ``drive`` has f at more times.

    ``bounds``: an interval per reduced coordinate that holds nearly all of the mass at all times.
    """

    problem: Problem
    law: InitialLaw
    times: Array
    measures: tuple[Measure, ...]
    f: Array
    risk: Array
    drive: Drive
    bounds: dict[str, tuple[float, float]]


def follow(problem: Problem, law: InitialLaw, times: Array, tolerance: float = 1e-6) -> Limit:
    """Integrate the limit: exact in the number of neurons, with the ``tolerance`` of the time step on a grid.

    Raises ConfigError where neither carries it (more than three moving coordinates, or none).
    """
    if not 1 <= len(problem.moving) <= MAX_DIMENSION:
        raise ConfigError(
            "network.train", f"moves {len(problem.moving)} coordinates; the limit takes 1 to {MAX_DIMENSION}"
        )
    if problem.temperature == 0.0:
        atoms = list(evolve_atoms(problem, initial_atoms(problem, law), times))
        measures: tuple[Measure, ...] = tuple(one.measure for one in atoms)
        f = np.stack([one.f for one in atoms])
        drive = Drive(np.concatenate([a.path_times for a in atoms]), np.concatenate([a.path_f for a in atoms]))
        return Limit(problem, law, times, measures, f, _risks(problem, f), drive, _range(measures))
    grid = choose_grid(problem, law)
    # one box for all times, so that the field of the copies is tabulated once
    solution = evolve.solve(problem, initial_measure(law, grid), times, evolve.Control(tolerance, extend=False))
    f = np.stack([one.f for one in solution.snapshots])
    drive = Drive(np.array([one.time for one in solution.history]), np.stack([one.f for one in solution.history]))
    bounds = {axis.name: (float(axis.edges[0]), float(axis.edges[-1])) for axis in grid.axes}
    return Limit(
        problem, law, times, tuple(one.measure for one in solution.snapshots), f, _risks(problem, f), drive, bounds
    )


def _risks(problem: Problem, f: Array) -> Array:
    return np.array([problems.risk(problem, one) for one in f])


def _range(measures: tuple[Measure, ...]) -> dict[str, tuple[float, float]]:
    values = np.concatenate([one.atoms for one in measures])
    low, high = values.min(axis=0), values.max(axis=0)
    room = ROOM * (high - low) + 1e-3
    return {
        name: (float(a - r), float(b + r)) for name, a, b, r in zip(measures[0].names, low, high, room, strict=True)
    }
