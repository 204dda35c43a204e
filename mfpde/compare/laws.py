"""Distances and moments between any two laws of a neuron: grid densities, weighted atoms, replicas of particles.

A law is a tuple of measures: one for a density or a set of atoms, one per replica for an ensemble. A law with one
measure is compared with every replica of the other; two ensembles are compared as the pools of their replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpde.compare import transport
from mfpde.measures import GridMeasure, Measure, ParticleMeasure, moments

Array = NDArray[np.float64]
Law = tuple[GridMeasure | ParticleMeasure, ...]

DIRECTIONS = 100
# cells whose share is below this move W2 by less than round-off of the distances
NEGLIGIBLE = 1e-10


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
    """Sliced W2^2 over the coordinates ``names`` (two or more): [replicas], the same directions for all of them."""
    one, many = paired(a, b)
    vectors = transport.directions(len(names), count)
    clouds = _equal_clouds(many, names)
    total = np.zeros(len(many))
    for u in vectors:
        q = projection(one, names, u)
        if clouds is None:
            total += [transport.wasserstein_line(q, projection(other, names, u)) for other in many]
        else:
            total += _to_replicas(q, clouds @ u)
    return np.asarray(total / count)


def projection(measure: Measure, names: Sequence[str], u: Array) -> transport.Quantile:
    """Quantile function of sum_k u_k theta_k for the coordinates ``names`` [D] and a vector u [D].

    A cell projects on a uniform interval of the variance that the projection of its box has, sum_k u_k^2 h_k^2/12:
    cells taken as atoms at their centres would put W2 off by h/sqrt(12). The density is then piecewise constant
    between the 2m ends of the intervals.
    """
    points, mass = cloud(measure, names)
    z = points @ u
    half = 0.5 * float(np.linalg.norm(u * _widths(measure, names)))
    if half == 0.0:
        return transport.quantile_of_atoms(z, mass)
    ends = np.concatenate([z - half, z + half])
    order = np.argsort(ends, kind="stable")
    ends = ends[order]
    # cumulative sums of +-mass: what is left of a cancelled density is round-off, not negative mass
    density = np.maximum(np.cumsum(np.concatenate([mass, -mass])[order])[:-1], 0.0)
    return transport.quantile_of_cells(ends, density * np.diff(ends))


def _widths(measure: Measure, names: Sequence[str]) -> Array:
    if not isinstance(measure, GridMeasure):
        return np.zeros(len(names))
    width = {axis.name: axis.width for axis in measure.grid.axes}
    return np.array([width.get(name, 0.0) for name in names])


def _equal_clouds(many: Law, names: Sequence[str]) -> Array | None:
    """[R, N, D] where ``many`` are several replicas of as many equal atoms each."""
    if len(many) == 1 or any(isinstance(measure, GridMeasure) for measure in many):
        return None
    if len({len(measure.weights) for measure in many}) > 1 or any(np.ptp(measure.weights) > 0.0 for measure in many):
        return None
    return np.stack([cloud(measure, names)[0] for measure in many])


def _to_replicas(q: transport.Quantile, values: Array) -> Array:
    """W2^2 between one law and R sets of equal atoms, values [R, N] in any order: [R].

    W2^2 = int Q^2 + mean y^2 - 2 sum_j y_(j) int_{(j-1)/N}^{j/N} Q, the integrals of Q once for all replicas; centred
    at the mean of Q, because the three terms cancel.
    """
    share, left, rise = np.diff(q.level), q.left, q.right - q.left
    mean = float(np.sum(share * (left + 0.5 * rise)))
    left, y = left - mean, np.sort(values - mean, axis=-1)
    square = float(np.sum(share * (left**2 + left * rise + rise**2 / 3.0)))
    integral = np.concatenate([[0.0], np.cumsum(share * (left + 0.5 * rise))])
    levels = np.arange(1, y.shape[1]) / y.shape[1]
    piece = np.searchsorted(q.level, levels, side="right") - 1
    inside = levels - q.level[piece]
    at = integral[piece] + inside * (left[piece] + 0.5 * rise[piece] * (inside / share[piece]))
    means = np.diff(np.concatenate([[0.0], at, integral[-1:]]))
    return np.asarray(np.maximum(square + np.mean(y**2, axis=-1) - 2.0 * (y @ means), 0.0))


def exact_distances(a: Law, b: Law, names: Sequence[str]) -> Array:
    """Exact discrete W2^2 of the joint laws by POT: [replicas]; cells are atoms at their centres.

    Raises ConfigError without POT or for too many atoms, NotConverged if the solver stops early.
    """
    one, many = paired(a, b)
    x, mass = cloud(one, names)
    return np.array([transport.discrete(x, y, mass, weights).squared for y, weights in (cloud(m, names) for m in many)])


def cell_error(a: Law, b: Law, names: Sequence[str]) -> float:
    """How far ``exact_distances`` can put W2 off because cells were moved to their centres: sqrt(sum_k h_k^2/12).

    The largest over the measures of each side, added up; 0 between atoms.
    """
    reach = [max(float(np.sqrt(np.sum(_widths(measure, names) ** 2) / 12.0)) for measure in law) for law in (a, b)]
    return sum(reach)


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
