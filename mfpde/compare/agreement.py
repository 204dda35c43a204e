"""Finite networks against the limit: reduced coordinates of particles, moments, Wasserstein distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.compare import transport
from mfpde.measures import GridMeasure
from mfpde.problem import Coordinate, Problem

Array = NDArray[np.float64]

# cells whose share is below this move W2 by less than round-off of the distances
NEGLIGIBLE = 1e-10


def reduced_atoms(problem: Problem, parameters: tuple[str, ...], theta: Array) -> dict[str, Array]:
    """Values of every reduced coordinate from full-dimensional particles theta [..., p] : name -> [...].

    A block of inputs shows itself through its radius; ``parameters`` [p] names the columns.
    """
    values: dict[str, Array] = {}
    start = 0
    first = next((k for k, name in enumerate(parameters) if name.startswith("w")), 0)
    for c in problem.coordinates:
        if c.group != "w":
            values[c.name] = theta[..., parameters.index(c.name)]
            continue
        block = theta[..., first + start : first + start + c.block]
        values[c.name] = np.sqrt(np.sum(block**2, axis=-1)) if c.kind == "radius" else block[..., 0]
        start += c.block
    return values


def coordinate_distances(measure: GridMeasure, atoms: dict[str, Array]) -> dict[str, Array]:
    """Exact one-dimensional W2^2 between the limit's marginal density and the particles of every replica.

    atoms : name -> [R, N]; result : name -> [R], for every moving coordinate.
    """
    found = {}
    for axis in measure.grid.axes:
        density = transport.quantile_of_cells(axis.edges, measure.marginal(axis.name)[1])
        found[axis.name] = np.array(
            [_line_or_circle(axis.coordinate, density, transport.quantile_of_atoms(x)) for x in atoms[axis.name]]
        )
    return found


def _line_or_circle(coordinate: Coordinate, a: transport.Quantile, b: transport.Quantile) -> float:
    if coordinate.kind == "circle":
        return transport.wasserstein_circle(a, b)
    return transport.wasserstein_line(a, b)


def joint_distance(measure: GridMeasure, atoms: dict[str, Array], count: int = 64) -> Array:
    """W2^2 between limit and particles of every replica : [R]; exact in one dimension, sliced in more.

    The sliced distance takes cells as atoms at their centres; its ``count`` directions are the same for all widths.
    """
    grid = measure.grid
    if len(grid.axes) == 1:
        return coordinate_distances(measure, atoms)[grid.names[0]]
    mass = measure.mass.sum(axis=0).reshape(-1)
    keep = mass > NEGLIGIBLE
    full = measure.mass.shape[1:]
    cells = np.stack([np.broadcast_to(grid.along(k, a.centers), full).reshape(-1) for k, a in enumerate(grid.axes)])
    clouds = np.stack([atoms[name] for name in grid.names])
    total = np.zeros(clouds.shape[1])
    for u in transport.directions(len(grid.axes), count):
        limit = transport.quantile_of_atoms(u @ cells[:, keep], mass[keep])
        projected = np.tensordot(u, clouds, axes=1)
        total += [transport.wasserstein_line(limit, transport.quantile_of_atoms(x)) for x in projected]
    return total / count


def particle_moments(atoms: dict[str, Array], order: int = 4) -> dict[str, Array]:
    """E theta^k, k = 1..order, per replica : name -> [order, ...] from values [..., N]."""
    return {name: np.stack([np.mean(x**k, axis=-1) for k in range(1, order + 1)]) for name, x in atoms.items()}
