"""Clusters of the amplitude of a measure: basins of |a| rho on a grid or among particles, joined modulo sign.

Both follow the density uphill: a cell goes to the highest of its neighbours, a particle to the highest within the
bandwidth (quick shift: Vedaldi and Soatto 2008), where its density is that of all |a|-weighted particles smoothed by
the bandwidth.  What arrives at one mode is one cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.measures import GridMeasure, ParticleMeasure
from mfpde.problem import Network, Problem
from mfpde.theory.neurons import mirror_sign

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# a basin with less than this share of all |a| rho is left out
SMALLEST_SHARE = 0.01
# cells below this share of the highest belong to no basin
_NEGLIGIBLE = 1e-12
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class Cluster:
    """Amplitude scale int a drho, size int |a| drho, and probability of a cluster; its place (center [p] of the moving
    coordinates, w [d], b) weighted by |a|, its covariance [p, p] by mass."""

    amplitude: float
    size: float
    probability: float
    center: Array
    covariance: Array
    w: Array
    b: float


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Points of a measure: theta [m, p] of the moving coordinates, mass, a [m], w [m, d], b [m], labels (-1: none)."""

    theta: Array
    mass: Array
    a: Array
    w: Array
    b: Array
    labels: Index


def clusters(problem: Problem, measure: GridMeasure | ParticleMeasure, bandwidth: float) -> list[Cluster]:
    """Clusters of a measure, the largest amplitude first, those closer than the bandwidth modulo sign joined.

    w points into the half space where its first coordinate that is not zero is positive, as in theory.symmetry.
    """
    cloud = _cells(problem, measure) if isinstance(measure, GridMeasure) else _particles(problem, measure, bandwidth)
    return _joined(problem, _of_labels(problem, cloud), bandwidth)


def network_of(problem: Problem) -> Network:
    """The network whose neurons can be told apart; ConfigError for pairwise problems and for block radii."""
    if not isinstance(problem.model, Network):
        raise ConfigError("pairwise", "has no neurons: atoms are those of a network")
    if any(c.kind == "radius" for c in problem.coordinates):
        raise ConfigError(
            "data.dimension",
            "is reduced to block radii, on which a rotation-invariant measure has no atoms",
            "use the full weights: d <= 2, an empirical law, or nodes",
        )
    return problem.model


def parameters(problem: Problem, names: Sequence[str], points: Array) -> tuple[Array, Array, Array]:
    """(a [m], w [m, d], b [m]) of points [m, p] whose columns are ``names``."""
    column = {name: k for k, name in enumerate(names)}
    w = points[:, [column[c.name] for c in problem.coordinates if c.group == "w"]]
    b = points[:, column["b"]] if "b" in column else np.zeros(len(points))
    return points[:, column["a"]], w, b


def apart(problem: Problem, w: Array, b: float, v: Array, c: float) -> tuple[float, bool]:
    """(distance of the neurons (w, b) and (v, c) modulo sign, whether the second is to be turned)."""
    plain = float(np.sqrt(np.sum((w - v) ** 2) + (b - c) ** 2))
    turned = float(np.sqrt(np.sum((w + v) ** 2) + (b + c) ** 2)) if _sign(problem) else np.inf
    return min(plain, turned), turned < plain


def _sign(problem: Problem) -> float:
    """s with sigma(-z) = s sigma(z), or 0."""
    model = network_of(problem)
    return mirror_sign(model.activation, model.hermite)


def _cells(problem: Problem, measure: GridMeasure) -> _Cloud:
    """The cells of a grid, labelled by the basin of |a| rho they lie in, species by species."""
    points, mass = measure.atoms, measure.weights
    a, w, b = parameters(problem, measure.names, points)
    height = (np.abs(a) * mass).reshape(measure.mass.shape)
    labels = np.concatenate([_basins(one).reshape(-1) + k * one.size for k, one in enumerate(height)])
    labels[height.reshape(-1) <= _NEGLIGIBLE * height.max()] = -1
    theta = points[:, [measure.names.index(c.name) for c in problem.moving]]
    return _Cloud(theta, mass, a, w, b, labels)


def _basins(height: Array) -> Index:
    """The flat index of the local maximum that steepest ascent over the 3^D - 1 neighbours reaches from each cell."""
    padded = np.pad(height, 1, constant_values=-1.0)
    cells = np.arange(height.size).reshape(height.shape)
    numbers = np.pad(cells, 1, constant_values=-1)
    best, parent = height.copy(), cells.copy()
    for shift in product((0, 1, 2), repeat=height.ndim):
        window = tuple(slice(s, s + n) for s, n in zip(shift, height.shape, strict=True))
        # of equal cells the one with the larger number: a plateau has one top
        higher = (padded[window] > best) | ((padded[window] == best) & (numbers[window] > parent))
        best, parent = np.where(higher, padded[window], best), np.where(higher, numbers[window], parent)
    return _roots(parent.reshape(-1)).reshape(height.shape)


def _particles(problem: Problem, measure: ParticleMeasure, bandwidth: float) -> _Cloud:
    """Particles, turned to a >= 0 where the activation is odd, labelled by the mode they climb to."""
    names, points, mass = list(measure.names), measure.atoms.copy(), measure.weights
    if _sign(problem) < 0.0:
        points *= np.where(points[:, names.index("a")] < 0.0, -1.0, 1.0)[:, None]
    a, w, b = parameters(problem, names, points)
    theta = points[:, [names.index(c.name) for c in problem.moving]]
    size = np.abs(a) * mass
    step = max(1, _CHUNK // len(theta))
    spans = [slice(start, start + step) for start in range(0, len(theta), step)]
    height = np.concatenate([np.exp(-0.5 * _squares(theta[s], theta) / bandwidth**2) @ size for s in spans])
    parent = np.concatenate(
        [np.argmax(np.where(_squares(theta[s], theta) <= bandwidth**2, height, -1.0), axis=1) for s in spans]
    )
    return _Cloud(theta, mass, a, w, b, _roots(parent))


def _squares(points: Array, others: Array) -> Array:
    """Squared distances [k, m]."""
    return np.asarray(np.sum((points[:, None, :] - others[None, :, :]) ** 2, axis=2))


def _roots(parent: Index) -> Index:
    """Where following the parents [m] ends."""
    while np.any(parent[parent] != parent):
        parent = parent[parent]
    return parent.astype(np.intp)


def _of_labels(problem: Problem, cloud: _Cloud) -> list[Cluster]:
    """One for each label: amplitude-weighted place, mass-weighted covariance; the largest |amplitude| first."""
    found = []
    total = float(np.sum(cloud.mass * np.abs(cloud.a)))
    for label in np.unique(cloud.labels[cloud.labels >= 0]):
        here = cloud.labels == label
        mass, size = cloud.mass[here], cloud.mass[here] * np.abs(cloud.a[here])
        if size.sum() <= SMALLEST_SHARE * total:
            continue
        mean = mass @ cloud.theta[here] / mass.sum()
        apart = cloud.theta[here] - mean
        found.append(
            Cluster(
                problem.scale * float(mass @ cloud.a[here]),
                float(size.sum()),
                float(mass.sum()),
                size @ cloud.theta[here] / size.sum(),
                (apart * mass[:, None]).T @ apart / mass.sum(),
                size @ cloud.w[here] / size.sum(),
                float(size @ cloud.b[here] / size.sum()),
            )
        )
    return sorted(found, key=lambda cluster: -abs(cluster.amplitude))


def _joined(problem: Problem, clusters: list[Cluster], bandwidth: float) -> list[Cluster]:
    """Clusters of one neuron made one, from the strongest downwards."""
    sign = _sign(problem)
    flip = np.array([sign if c.group == "a" else -1.0 for c in problem.moving])
    kept: list[Cluster] = []
    for cluster in clusters:
        for k, strong in enumerate(kept):
            distance, turn = apart(problem, strong.w, strong.b, cluster.w, cluster.b)
            if distance < bandwidth:
                kept[k] = _sum(strong, _turned(cluster, flip, sign) if turn else cluster)
                break
        else:
            kept.append(cluster)
    # the first coordinate of w that is not zero positive, as in theory.symmetry
    return [_turned(c, flip, sign) if sign and _leading(c.w) < 0.0 else c for c in kept]


def _leading(w: Array) -> float:
    """The first coordinate of w [d] that is not zero against the largest."""
    return float(w[np.argmax(np.abs(w) > 1e-9 * np.max(np.abs(w)))])


def _turned(cluster: Cluster, flip: Array, sign: float) -> Cluster:
    return replace(
        cluster,
        amplitude=sign * cluster.amplitude,
        center=flip * cluster.center,
        covariance=flip[:, None] * cluster.covariance * flip,
        w=-cluster.w,
        b=-cluster.b,
    )


def _sum(first: Cluster, second: Cluster) -> Cluster:
    """Both as one: places by amplitude, covariances within by mass."""
    size, mass = first.size + second.size, first.probability + second.probability
    share, part = first.size / size, first.probability / mass
    return Cluster(
        first.amplitude + second.amplitude,
        size,
        mass,
        share * first.center + (1.0 - share) * second.center,
        part * first.covariance + (1.0 - part) * second.covariance,
        share * first.w + (1.0 - share) * second.w,
        share * first.b + (1.0 - share) * second.b,
    )
