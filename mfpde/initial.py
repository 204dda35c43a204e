"""Initial laws, one per parameter group, on the reduced coordinates: cell masses, frozen species, quantile ranges.

A law for w is isotropic with ``std`` that of the norm: each of the d coordinates has standard deviation std/sqrt(d).
Its mean points along the first input coordinate, which is the index direction of a single-index target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammainccinv, gammaincinv, ndtr, ndtri

from mfpde.core import quadrature
from mfpde.errors import ConfigError
from mfpde.measures import Axis, Grid, GridMeasure, Species, normalised
from mfpde.problem import Coordinate

Array = NDArray[np.float64]

# nodes per continuous frozen parameter, by how many there are: Gauss rules, whose error stays below that of the grid
FROZEN_NODES = {1: 64, 2: 16, 3: 8}
# turns of the circle to either side on which a normal law is laid, and cells for which that is done at once
TURNS, BLOCK = 40, 8192


@dataclass(frozen=True)
class GroupLaw:
    """Law of one parameter group; ``mean`` holds one value per input dimension for w (or a single one)."""

    law: Literal["point", "normal", "uniform", "rademacher"]
    value: float = 0.0
    mean: tuple[float, ...] = (0.0,)
    std: float = 1.0
    low: float = -1.0
    high: float = 1.0

    def mean_along(self, position: int) -> float:
        """Mean of input coordinate ``position``; a single number means the first coordinate only."""
        return self.mean[position] if position < len(self.mean) else 0.0


@dataclass(frozen=True)
class InitialLaw:
    """Product law over the groups a, w, b; ``dimension`` is the number of inputs d."""

    a: GroupLaw
    w: GroupLaw
    b: GroupLaw
    dimension: int

    def group(self, name: str) -> GroupLaw:
        return {"a": self.a, "w": self.w, "b": self.b}[name]

    def coordinate_std(self, coordinate: Coordinate) -> float:
        law = self.group(coordinate.group)
        return law.std / np.sqrt(self.dimension) if coordinate.group == "w" else law.std


def _position(coordinate: Coordinate) -> int:
    digits = coordinate.name[1:]
    return int(digits) if digits else 0


def interval(law: InitialLaw, coordinate: Coordinate, tail: float) -> tuple[float, float]:
    """An interval that holds all but about ``tail`` of the initial mass of one coordinate."""
    group = law.group(coordinate.group)
    if group.law == "point":
        return group.value, group.value
    if group.law == "rademacher":
        return -1.0, 1.0
    if group.law == "uniform":
        return group.low, group.high
    std = law.coordinate_std(coordinate)
    if coordinate.kind == "radius":
        return chi_interval(coordinate.block, tail, std)
    centre = group.mean_along(_position(coordinate))
    reach = -float(ndtri(tail)) * std
    return centre - reach, centre + reach


def chi_interval(m: int, tail: float, std: float) -> tuple[float, float]:
    """The ``tail`` quantiles, lower and upper, of std |Z|, Z standard normal in m dimensions."""
    # scipy.special, not scipy.stats: the latter takes a quarter of a second to import
    low, high = (float(np.sqrt(2.0 * inverse(0.5 * m, tail))) for inverse in (gammaincinv, gammainccinv))
    return low * std, high * std


def axis_mass(law: InitialLaw, axis: Axis) -> Array:
    """Probabilities of the cells of one axis : [cells], unnormalised where the box cuts a tail off.

    A resolved normal law is sampled at the centres (sums over cells are then exact to all orders), anything else by
    exact cell probabilities; a point is shared by its two nearest cells so that the mean is exact.
    """
    coordinate, x = axis.coordinate, axis.centers
    group = law.group(coordinate.group)
    if group.law == "uniform":
        overlap = np.minimum(axis.edges[1:], group.high) - np.maximum(axis.edges[:-1], group.low)
        return np.maximum(overlap, 0.0)
    if group.law in ("point", "rademacher"):
        values = [group.value] if group.law == "point" else [-1.0, 1.0]
        share = [np.maximum(0.0, 1.0 - np.abs(x - value) / axis.width) for value in values]
        return np.sum(share, axis=0)
    std = law.coordinate_std(coordinate)
    if std == 0.0:
        centre = group.mean_along(_position(coordinate))
        return np.maximum(0.0, 1.0 - np.abs(x - centre) / axis.width)
    if axis.periodic:
        return _wrapped_normal(x, group.mean_along(_position(coordinate)), std)
    if coordinate.kind == "radius":
        m, z = coordinate.block, x / std
        if std >= axis.width:
            peak = np.sqrt(max(m - 1, 1))
            return np.exp((m - 1) * np.log(z / peak) - 0.5 * (z**2 - peak**2))
        return np.diff(gammainc(0.5 * m, 0.5 * (axis.edges / std) ** 2))
    z = (x - group.mean_along(_position(coordinate))) / std
    if std >= axis.width:
        return np.exp(-0.5 * z**2)
    # expected share of each draw that falls to its two nearest centres, as for a point: the mean stays exact
    ends = np.concatenate([[x[0] - axis.width], x, [x[-1] + axis.width]])
    z_ends = (ends - group.mean_along(_position(coordinate))) / std
    ramp = z_ends * ndtr(z_ends) + np.exp(-0.5 * z_ends**2) / np.sqrt(2.0 * np.pi)
    return np.maximum(np.diff(ramp, n=2), 0.0)


def _wrapped_normal(x: Array, mean: float, std: float) -> Array:
    """sum_k exp(-(x + 2 pi k - mean)^2 / (2 std^2)) : [cells]."""
    turns = 2.0 * np.pi * np.arange(-TURNS, TURNS + 1)
    out = np.empty_like(x)
    # some cells at a time: their images on all turns would be far more memory than a run needs
    for start in range(0, len(x), BLOCK):
        z = (x[start : start + BLOCK, None] + turns - mean) / std
        out[start : start + BLOCK] = np.exp(-0.5 * z**2).sum(axis=1)
    return out


def initial_measure(law: InitialLaw, grid: Grid) -> GridMeasure:
    """The product law on a grid; raises ConfigError if the box misses it."""
    mass = np.ones(grid.shape)
    for k, axis in enumerate(grid.axes):
        one = axis_mass(law, axis)
        if not np.sum(one) > 0.0:
            raise ConfigError(
                "grid.bounds",
                f"[{axis.lower:g}, {axis.upper:g}] for {axis.name} holds none of the initial law; widen it",
            )
        mass = mass * grid.along(k, one / np.sum(one))[None]
    return normalised(grid, mass)


def frozen_species(law: InitialLaw, frozen: tuple[Coordinate, ...]) -> Species:
    """Atoms of the frozen coordinates: exact for point and Rademacher laws, Gauss nodes for normal and uniform ones."""
    values, probabilities = np.zeros((1, 0)), np.ones(1)
    continuous = sum(law.group(c.group).law in ("normal", "uniform") for c in frozen)
    count = FROZEN_NODES.get(continuous, 8)
    for coordinate in frozen:
        x, p = gauss_nodes(law, coordinate, count)
        values = np.concatenate([np.repeat(values, len(x), axis=0), np.tile(x, len(values))[:, None]], axis=1)
        probabilities = np.repeat(probabilities, len(x)) * np.tile(p, len(probabilities))
    return Species(tuple(c.name for c in frozen), values, probabilities / probabilities.sum())


def quantile_nodes(law: InitialLaw, coordinate: Coordinate, count: int) -> tuple[Array, Array]:
    """Quantiles of a radius and nearly equal probabilities : [count] each; for what is not smooth in the radius.

    The midpoint rule in s of the level u = 3 s^2 - 2 s^3, whose slope vanishes where the quantiles are singular.
    """
    s = (np.arange(count) + 0.5) / count
    # from either side, as the last levels are too close to 1
    below, half = s * s * (3.0 - 2.0 * s), 0.5 * coordinate.block
    above = (1.0 - s) ** 2 * (1.0 + 2.0 * s)
    square = np.where(s < 0.5, gammaincinv(half, below), gammainccinv(half, above))
    p = 6.0 * s * (1.0 - s)
    return law.coordinate_std(coordinate) * np.sqrt(2.0 * square), p / p.sum()


def gauss_nodes(law: InitialLaw, coordinate: Coordinate, count: int = 12) -> tuple[Array, Array]:
    """Nodes and probabilities of one coordinate: exact atoms, or a Gauss rule of ``count`` nodes."""
    group = law.group(coordinate.group)
    if group.law == "point":
        return np.array([group.value]), np.ones(1)
    if group.law == "rademacher":
        return np.array([-1.0, 1.0]), np.full(2, 0.5)
    if group.law == "uniform":
        x, p = np.polynomial.legendre.leggauss(count)
        return 0.5 * (group.low + group.high) + 0.5 * (group.high - group.low) * x, 0.5 * p
    std = law.coordinate_std(coordinate)
    if coordinate.kind == "radius":
        x, p = quadrature.radius(coordinate.block, count)
        return std * x, p
    x, p = quadrature.gauss_hermite(count)
    return group.mean_along(_position(coordinate)) + std * x, p
