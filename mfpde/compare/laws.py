"""Distances and moments between any two laws over the parameters: grid densities, weighted atoms, replicas of particles.

A law is a tuple of measures: one for a density or a set of atoms, one per replica for an ensemble. A law with one
measure is compared with every replica of the other; two ensembles are compared as the pools of their replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpde.compare import transport
from mfpde.compare.agreement import NEGLIGIBLE
from mfpde.measures import GridMeasure, Measure, ParticleMeasure, moments

Array = NDArray[np.float64]
Law = tuple[GridMeasure | ParticleMeasure, ...]

DIRECTIONS = 100


def pooled(law: Law) -> Law:
    """The mean of the replicas as a law of one measure."""
    if len(law) == 1:
        return law
    weights = np.concatenate([measure.weights for measure in law]) / len(law)
    return (ParticleMeasure(law[0].names, np.concatenate([measure.atoms for measure in law]), weights),)


def paired(a: Law, b: Law) -> tuple[GridMeasure | ParticleMeasure, Law]:
    """(one measure, the measures it is compared with): the single one first, pools where both are ensembles."""
    if len(a) > 1 and len(b) > 1:
        return pooled(a)[0], pooled(b)
    return (a[0], b) if len(a) == 1 else (b[0], a)


def coordinate_distances(a: Law, b: Law, names: Sequence[str], circles: Sequence[str] = ()) -> dict[str, Array]:
    """Exact one-dimensional W2^2 of the marginals of ``names``: name -> [replicas]; ``circles`` names the angles."""
    one, many = paired(a, b)
    found = {}
    for name in names:
        distance = transport.wasserstein_circle if name in circles else transport.wasserstein_line
        q = quantile(one, name, name in circles)
        found[name] = np.array([distance(q, quantile(other, name, name in circles)) for other in many])
    return found


def quantile(measure: Measure, name: str, circle: bool = False) -> transport.Quantile:
    """Quantile function of one parameter: piecewise linear for a moving coordinate of a grid, steps otherwise."""
    if isinstance(measure, GridMeasure) and name in measure.grid.names:
        axis = measure.grid.axes[measure.grid.names.index(name)]
        return transport.quantile_of_cells(axis.edges, measure.marginal(name)[1])
    if isinstance(measure, GridMeasure):
        return transport.quantile_of_atoms(*measure.marginal(name))
    values = measure.atoms[:, measure.names.index(name)]
    values = np.mod(values + np.pi, 2.0 * np.pi) - np.pi if circle else values
    return transport.quantile_of_atoms(values, measure.weights)


def joint_distances(a: Law, b: Law, names: Sequence[str], count: int = DIRECTIONS) -> Array:
    """Sliced W2^2 over the coordinates ``names`` (two or more): [replicas], the same directions for all of them.

    Cells are atoms at their centres. The directions are those of ``transport.directions``.
    """
    one, many = paired(a, b)
    x, mass = cloud(one, names)
    others = [cloud(other, names) for other in many]
    if len(others) == 1:
        return np.array([transport.sliced(x, others[0][0], mass, others[0][1], count=count).squared])
    equal = all(np.ptp(weights) == 0.0 and len(weights) == len(others[0][1]) for _, weights in others)
    if not equal:
        return np.array([transport.sliced(x, y, mass, weights, count=count).squared for y, weights in others])
    return _sliced_to_replicas(x, mass, np.stack([y for y, _ in others]), transport.directions(len(names), count))


def _sliced_to_replicas(x: Array, mass: Array, clouds: Array, vectors: Array) -> Array:
    """Mean over ``vectors`` [V, D] of W2^2 between atoms x [m, D] and each of R clouds [R, N, D] of equal weights.

    W2^2 = int Q_x^2 + mean y^2 - 2 sum_j y_(j) int_{(j-1)/N}^{j/N} Q_x: x is sorted once per direction for all
    replicas, and the integral of its quantile function is piecewise linear. Both are centred at the mean of x first.
    """
    mass = mass / mass.sum()
    centre = mass @ x
    x, clouds = x - centre, clouds - centre
    levels = np.arange(clouds.shape[1] + 1) / clouds.shape[1]
    total = np.zeros(len(clouds))
    for u in vectors:
        z = x @ u
        order = np.argsort(z, kind="stable")
        z, m = z[order], mass[order]
        level = np.concatenate([[0.0], np.cumsum(m)])
        integral = np.concatenate([[0.0], np.cumsum(m * z)])
        means = np.diff(np.interp(levels, level / level[-1], integral))
        y = np.sort(clouds @ u, axis=-1)
        total += m @ z**2 + np.mean(y**2, axis=-1) - 2.0 * (y @ means)
    return np.asarray(np.maximum(total / len(vectors), 0.0))


def exact_distances(a: Law, b: Law, names: Sequence[str]) -> Array:
    """Exact discrete W2^2 of the joint laws by POT: [replicas]; cells are atoms at their centres.

    Raises ConfigError without POT or for too many atoms, NotConverged if the solver stops early.
    """
    one, many = paired(a, b)
    x, mass = cloud(one, names)
    return np.array([transport.discrete(x, y, mass, weights).squared for y, weights in (cloud(m, names) for m in many)])


def cloud(measure: Measure, names: Sequence[str]) -> tuple[Array, Array]:
    """(points [m, D], weights [m]) of some coordinates, without cells of negligible mass."""
    if isinstance(measure, GridMeasure):
        mass = measure.mass.sum(axis=0) if set(names) <= set(measure.grid.names) else measure.mass
        keep = mass.reshape(-1) > NEGLIGIBLE
        columns = [np.broadcast_to(_values(measure, name), mass.shape).reshape(-1)[keep] for name in names]
        return np.stack(columns, axis=1), mass.reshape(-1)[keep]
    return measure.atoms[:, [measure.names.index(name) for name in names]], measure.weights


def _values(measure: GridMeasure, name: str) -> Array:
    values = measure.coordinate(name)
    return values[0] if name in measure.grid.names else values


def mean_moments(law: Law, order: int = 4) -> dict[str, tuple[list[float], list[float] | None]]:
    """name -> (E theta^k for k = 1..order, means over replicas; their standard errors, None for a single measure)."""
    each = [moments(measure, order) for measure in law]
    found: dict[str, tuple[list[float], list[float] | None]] = {}
    for name in each[0]:
        values = np.array([one[name] for one in each])
        sem = None if len(each) == 1 else [float(s) for s in values.std(axis=0, ddof=1) / np.sqrt(len(each))]
        found[name] = [float(v) for v in values.mean(axis=0)], sem
    return found
