"""Finite networks against the limit: reduced coordinates of particles, moments, Wasserstein distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.compare import laws
from mfpde.compare.laws import Law
from mfpde.measures import GridMeasure, ParticleMeasure
from mfpde.problem import Problem

Array = NDArray[np.float64]


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


def replica_laws(problem: Problem, atoms: dict[str, Array]) -> Law:
    """One measure of equal atoms per replica, from values [R, N] of every reduced coordinate."""
    names = tuple(c.name for c in problem.coordinates)
    stacked = np.stack([atoms[name] for name in names], axis=-1)
    weights = np.full(stacked.shape[1], 1.0 / stacked.shape[1])
    return tuple(ParticleMeasure(names, cloud, weights) for cloud in stacked)


def distances_to_limit(
    problem: Problem, limit: GridMeasure | ParticleMeasure, law: Law
) -> tuple[Array, dict[str, Array]]:
    """(joint, per coordinate) W2^2 of every replica [R] to the limit over the moving coordinates.

    Exact for each coordinate; the joint one is exact in one dimension and sliced in more, with fixed directions.
    """
    names = tuple(c.name for c in problem.moving)
    circles = tuple(c.name for c in problem.moving if c.kind == "circle")
    each = laws.coordinate_distances((limit,), law, names, circles)
    joint = each[names[0]] if len(names) == 1 else laws.joint_distances((limit,), law, names)
    return joint, each


def particle_moments(atoms: dict[str, Array], order: int = 4) -> dict[str, Array]:
    """E theta^k, k = 1..order, per replica : name -> [order, ...] from values [..., N]."""
    return {name: np.stack([np.mean(x**k, axis=-1) for k in range(1, order + 1)]) for name, x in atoms.items()}
