"""Numbers that the figures show and the files do not hold: means over replicas, moments, the function along a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.cli.arrays import Coordinate, Nodes, Output

Array = NDArray[np.float64]
Series = tuple[Array, Array]

# nodes of a quadrature whose weight is below this share of the largest lie where no datum ever falls
SMALLEST_SHARE = 1e-2
# values between two nodes of a Gauss rule, for a smooth curve
FINE = 400


def mean_sem(values: Array) -> Series:
    """Mean and standard error over the last axis, the replicas; the error of a single one is zero."""
    count = values.shape[-1]
    sem = np.std(values, axis=-1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(values.shape[:-1])
    return np.mean(values, axis=-1), np.asarray(sem)


# ---- moments -----------------------------------------------------------------------------------------------------


def limit_moments(output: Output) -> tuple[Array, tuple[dict[str, Array], dict[str, Array]]]:
    """Times [K] and label -> E theta [K], label -> E theta^2 [K]; on a circle the direction and |E exp(i theta)|."""
    if output.grid is not None and len(output.grid.times):
        return output.grid.times, _grid_moments(output, output.grid.density)
    if output.atoms is not None:
        weights, theta = output.atoms.weights, output.atoms.theta
        return output.atoms.times, _moments(output.coordinates, lambda g, k: g(theta[..., k]) @ weights)
    return np.zeros(0), ({}, {})


def stationary_moments(output: Output) -> tuple[dict[str, float], dict[str, float]]:
    """The same of the stationary measure; empty without one."""
    if output.grid is None or output.grid.stationary is None:
        return {}, {}
    first, second = _grid_moments(output, output.grid.stationary[None])
    return {name: float(v[0]) for name, v in first.items()}, {name: float(v[0]) for name, v in second.items()}


def ensemble_moments(output: Output) -> tuple[dict[str, Series], dict[str, Series]]:
    """The same of the widest networks: label -> (mean [K], standard error [K]) over replicas."""
    if not output.ensembles:
        return {}, {}
    values = output.ensembles[-1].values
    first, second = _moments(output.coordinates, lambda g, k: np.mean(g(values[..., k]), axis=-1))
    return {n: mean_sem(v) for n, v in first.items()}, {n: mean_sem(v) for n, v in second.items()}


def _grid_moments(output: Output, density: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Moments of density [K, species, n_1, ..., n_D]."""
    grid = output.grid
    assert grid is not None

    def expect(g: Callable[[Array], Array], k: int) -> Array:
        away = tuple(axis for axis in range(1, density.ndim) if axis != k + 2)
        marginal = density.sum(axis=away)
        return np.asarray((marginal @ g(grid.centers[k])) / marginal.sum(axis=1))

    return _moments(output.coordinates, expect)


def _moments(
    coordinates: tuple[Coordinate, ...], expect: Callable[[Callable[[Array], Array], int], Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    first, second = {}, {}
    for k, c in enumerate(coordinates):
        symbol = f"{c.name[0]}_{{{c.name[1:]}}}" if c.name[1:] else "|w|" if c.kind == "radius" else c.name
        if c.kind == "circle":
            cosine, sine = expect(np.cos, k), expect(np.sin, k)
            first[f"$\\mathrm{{E}}\\,\\cos {symbol}$"], first[f"$\\mathrm{{E}}\\,\\sin {symbol}$"] = cosine, sine
            second[f"$|\\mathrm{{E}}\\,e^{{i{symbol}}}|$"] = np.hypot(cosine, sine)
            continue
        first[f"$\\mathrm{{E}}\\,{symbol}$"] = expect(lambda x: x, k)
        second[f"$\\mathrm{{E}}\\,{symbol}^2$"] = expect(np.square, k)
    return first, second


# ---- the learned function ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Line:
    """Predictions along one input: x [n] rising, f [K, n] at times, f_rest [n], target [n] where it is a function of x.

    data: the points (inputs, outputs) where it is not; mean: whether f is the mean over the other inputs.
    """

    x: Array
    times: Array
    f: Array
    f_rest: Array | None
    target: Array | None
    data: tuple[Array, Array] | None
    mean: bool


def along_index(output: Output) -> Line | None:
    """The function over the only input, or over the index direction of a Gaussian law; None for other data.

    With several inputs f is replaced by its mean given the first one. Classes of a Gaussian law give the log-odds.
    """
    nodes = output.nodes
    if nodes is None or (nodes.x.shape[1] > 1 and output.law != "gaussian"):
        return None
    x, place = np.unique(nodes.x[:, 0].round(12), return_inverse=True)
    weight = np.asarray(np.bincount(place, nodes.weight), dtype=float)

    def mean(values: Array) -> Array:
        return np.bincount(place, nodes.weight * values) / weight

    f = np.stack([mean(values) for values in nodes.f]) if len(nodes.f) else np.zeros((0, len(x)))
    rest = None if nodes.f_rest is None else mean(nodes.f_rest)
    if output.law != "gaussian":
        data = None if output.logistic else (nodes.x[:, 0], nodes.target)
        return Line(x, nodes.times, f, rest, None, data, False)
    target = mean(nodes.target)
    if output.logistic:
        inside = np.abs(target) < 1.0 - 1e-12
        target = np.where(inside, 2.0 * np.arctanh(np.where(inside, target, 0.0)), np.nan)
    return _smooth(Line(x, nodes.times, f, rest, target, None, nodes.x.shape[1] > 1), weight)


def _smooth(line: Line, weight: Array) -> Line:
    """Values between the nodes of a Gauss rule, where their weight is not negligible."""
    from scipy.interpolate import CubicSpline

    target = line.x if line.target is None else line.target
    keep = (weight > SMALLEST_SHARE * weight.max()) & np.isfinite(target)
    if np.count_nonzero(keep) < 4:
        return line
    x = line.x[keep]
    fine = np.linspace(x[0], x[-1], FINE)

    def between(values: Array) -> Array:
        return np.asarray(CubicSpline(x, values[..., keep], axis=-1)(fine))

    rest = None if line.f_rest is None else between(line.f_rest)
    f = between(line.f) if len(line.f) else np.zeros((0, FINE))
    return Line(fine, line.times, f, rest, between(target), None, line.mean)


def final_prediction(nodes: Nodes) -> Array | None:
    """Predictions at the last stored time, else at rest : [n]."""
    return nodes.f[-1] if len(nodes.f) else nodes.f_rest
