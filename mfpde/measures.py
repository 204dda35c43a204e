"""Measures over the parameters of one neuron: a tensor grid of masses, or weighted atoms; both are weighted atoms.

An axis of kind "radius" stands for a rotation block of dimension m > 1: its cell i has the volume |S^{m-1}| r_i^{m-1} h
of the full-dimensional shell (in logarithms, so m may be 10^6), and the entropy of a grid measure is the one of the
full-dimensional law.  A frozen parameter splits the measure into K species of fixed mass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from mfpde.problem import Coordinate

Array = NDArray[np.float64]

# Cells further out than this carry no mass anyone can see, but a positive one: logarithms and ratios stay finite.
SMALLEST_MASS = 1e-200


class Measure(Protocol):
    """Anything that is a set of weighted atoms: ``atoms`` [m, p] in the order of ``names``, ``weights`` [m], sum 1."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def atoms(self) -> Array: ...
    @property
    def weights(self) -> Array: ...


@dataclass(frozen=True)
class Axis:
    """Equal cells on [lower, upper] of one moving coordinate."""

    coordinate: Coordinate
    lower: float
    upper: float
    cells: int

    @property
    def name(self) -> str:
        return self.coordinate.name

    @property
    def width(self) -> float:
        return (self.upper - self.lower) / self.cells

    @property
    def power(self) -> int:
        """k of the volume weight r^k: block dimension - 1."""
        return self.coordinate.block - 1 if self.coordinate.kind == "radius" else 0

    @property
    def periodic(self) -> bool:
        return self.coordinate.kind == "circle"

    @cached_property
    def centers(self) -> Array:
        return np.asarray(self.lower + (np.arange(self.cells) + 0.5) * self.width, dtype=np.float64)

    @cached_property
    def edges(self) -> Array:
        return np.asarray(self.lower + np.arange(self.cells + 1) * self.width, dtype=np.float64)

    @cached_property
    def log_volume(self) -> Array:
        """log of the full-dimensional volume of each cell: log h + log |S^k| + k log r, k = power."""
        log_width = np.full(self.cells, np.log(self.width))
        k = self.power
        if k == 0:
            return log_width
        log_area = np.log(2.0) + 0.5 * (k + 1) * np.log(np.pi) - gammaln(0.5 * (k + 1))
        return log_width + log_area + k * np.log(self.centers)

    def face_geometry(self, temperature: float) -> tuple[Array, Array, Array]:
        """(shift, forward, backward) of core.fluxes for each face, learning rate included.

        With A = r_face^k and y = z - k h/r_face, the exponential flux of the weighted measure has the rates
        rate tau/h^2 (A/r_i^k) exp(-shift/2) B(y) and rate tau/h^2 (A/r_{i+1}^k) exp(shift/2) B(-y): detailed balance
        with r^k exp(-Psi/tau), and accurate both near r = 0 and where r^k is steep.
        """
        base = np.full(self.cells, self.coordinate.rate * temperature / self.width**2)
        k = self.power
        if k == 0:
            return np.zeros(self.cells), base, base.copy()
        face, here = self.edges[1:], self.centers
        following = np.append(here[1:], here[-1] + self.width)
        shift = k * self.width / face
        with np.errstate(over="ignore"):  # an infinite rate is refused by the step, in words
            forward = base * np.exp(k * np.log(face / here) - 0.5 * shift)
            backward = base * np.exp(k * np.log(face / following) + 0.5 * shift)
        return shift, forward, backward


@dataclass(frozen=True, eq=False)
class Species:
    """The law of the frozen coordinates: values [K, m] in the order of ``names`` [m], probabilities [K]."""

    names: tuple[str, ...]
    values: Array
    probabilities: Array


@dataclass(frozen=True, eq=False)
class Grid:
    """A tensor grid over the moving coordinates, one copy per species of the frozen ones."""

    axes: tuple[Axis, ...]
    species: Species

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, n_1, ..., n_D)."""
        return (len(self.species.probabilities), *(axis.cells for axis in self.axes))

    @property
    def padded_shape(self) -> tuple[int, int, int, int]:
        """(K, n1, n2, n3) with leading axes of length 1, the layout of core.fluxes."""
        cells = [axis.cells for axis in self.axes]
        return (self.shape[0], *([1] * (3 - len(cells)) + cells))  # type: ignore[return-value]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def cell_size(self) -> float:
        """Product of the cell widths: masses over it are densities in the reduced coordinates."""
        return float(np.prod([axis.width for axis in self.axes]))

    @cached_property
    def log_volume(self) -> Array:
        """log of the full-dimensional volume of every cell : [n_1, ..., n_D]."""
        total = np.zeros([axis.cells for axis in self.axes])
        for k, axis in enumerate(self.axes):
            total = total + self.along(k, axis.log_volume)
        return total

    def along(self, k: int, values: Array) -> Array:
        """``values`` [n_k] shaped to broadcast along axis k of [n_1, ..., n_D]."""
        return values.reshape([-1 if j == k else 1 for j in range(len(self.axes))])

    def species_weights(self, shape_like: int) -> Array:
        """Species probabilities shaped to broadcast against [K, ...] arrays of ``shape_like`` trailing axes."""
        return self.species.probabilities.reshape([-1] + [1] * shape_like)

    def extend(self, k: int, lower_cells: int, upper_cells: int) -> Grid:
        """The same grid with whole cells added at the ends of axis k; existing centres stay where they are."""
        axis = self.axes[k]
        longer = replace(
            axis,
            lower=axis.lower - lower_cells * axis.width,
            upper=axis.upper + upper_cells * axis.width,
            cells=axis.cells + lower_cells + upper_cells,
        )
        return Grid((*self.axes[:k], longer, *self.axes[k + 1 :]), self.species)


@dataclass(frozen=True, eq=False)
class GridMeasure:
    """Masses [K, n_1, ..., n_D] on the cells of a grid, total 1, strictly positive."""

    grid: Grid
    mass: Array

    @property
    def names(self) -> tuple[str, ...]:
        return self.grid.species.names + self.grid.names

    @property
    def density(self) -> Array:
        """Density in the reduced coordinates, joint with the species probabilities."""
        return self.mass / self.grid.cell_size

    @property
    def weights(self) -> Array:
        return self.mass.reshape(-1)

    @property
    def atoms(self) -> Array:
        return np.stack([self.coordinate(name).reshape(-1) for name in self.names], axis=1)

    def coordinate(self, name: str) -> Array:
        """The values of one parameter on all cells, as an array of the shape of ``mass``."""
        grid = self.grid
        if name in grid.names:
            k = grid.names.index(name)
            return np.broadcast_to(grid.along(k, grid.axes[k].centers), grid.shape)
        values = grid.species.values[:, grid.species.names.index(name)]
        return np.broadcast_to(values.reshape([-1] + [1] * len(grid.axes)), grid.shape)

    def marginal(self, name: str) -> tuple[Array, Array]:
        """(values, masses) of one parameter."""
        if name in self.grid.names:
            k = self.grid.names.index(name)
            other = tuple(j for j in range(self.mass.ndim) if j != k + 1)
            return self.grid.axes[k].centers, self.mass.sum(axis=other)
        k = self.grid.species.names.index(name)
        return self.grid.species.values[:, k], self.grid.species.probabilities


@dataclass(frozen=True, eq=False)
class ParticleMeasure:
    """Weighted atoms: atoms [m, p] in the order of ``names``, weights [m], sum 1."""

    names: tuple[str, ...]
    atoms: Array
    weights: Array


def expect(measure: Measure, function: Callable[[Array], Array]) -> float:
    """int function dmeasure; ``function`` maps atoms [m, p] to [m]."""
    return float(np.sum(measure.weights * function(measure.atoms)))


def moments(measure: Measure, order: int = 4) -> dict[str, list[float]]:
    """E theta, E theta^2, ... up to ``order``, for every parameter."""
    if isinstance(measure, GridMeasure):
        pairs = {name: measure.marginal(name) for name in measure.names}
    else:
        pairs = {name: (measure.atoms[:, k], measure.weights) for k, name in enumerate(measure.names)}
    return {name: [float(np.sum(w * x**k)) for k in range(1, order + 1)] for name, (x, w) in pairs.items()}


def origin_mass(measure: Measure, radii: tuple[str, ...]) -> dict[str, float]:
    """Mass at 0 of the coordinates ``radii``: in the first cell of an axis that starts at 0, or in atoms at 0."""
    if isinstance(measure, GridMeasure):
        starts = [axis.name for axis in measure.grid.axes if axis.name in radii and axis.lower == 0.0]
        return {name: float(measure.marginal(name)[1][0]) for name in starts}
    columns = {name: measure.atoms[:, measure.names.index(name)] for name in radii}
    return {name: float(np.sum(measure.weights, where=values <= 0.0)) for name, values in columns.items()}


def deposit(grid: Grid, atoms: Array, weights: Array) -> GridMeasure:
    """Spread weighted atoms [m, D] over the two nearest cells of each axis: mass and mean are kept exactly.

    Only for grids with a single species.  Atoms outside the box go to its outermost cells.
    """
    mass = np.zeros(grid.shape[1:])
    parts: list[tuple[NDArray[np.intp], Array]] = [(np.zeros(len(weights), np.intp), weights)]
    for k, axis in enumerate(grid.axes):
        position = np.clip((atoms[:, k] - axis.lower) / axis.width - 0.5, 0.0, axis.cells - 1.0)
        left = np.minimum(position.astype(np.intp), max(axis.cells - 2, 0))
        right_share = position - left if axis.cells > 1 else np.zeros_like(position)
        step = 1 if axis.cells > 1 else 0
        parts = [
            (index * axis.cells + left + shift, share * part)
            for index, share in parts
            for shift, part in ((0, 1.0 - right_share), (step, right_share))
        ]
    for index, share in parts:
        np.add.at(mass.reshape(-1), index, share)
    return normalised(grid, mass[None])


def sample(measure: Measure, count: int, rng: np.random.Generator) -> Array:
    """``count`` independent draws : [count, p]; on a grid uniformly jittered inside their cells."""
    index = rng.choice(len(measure.weights), size=count, p=measure.weights / np.sum(measure.weights))
    draws = measure.atoms[index].copy()
    if isinstance(measure, GridMeasure):
        for axis in measure.grid.axes:
            column = measure.names.index(axis.name)
            draws[:, column] += (rng.random(count) - 0.5) * axis.width
    return draws


def normalised(grid: Grid, mass: Array) -> GridMeasure:
    """Make masses strictly positive and give every species its own total."""
    positive = np.maximum(mass, 0.0)
    trailing = tuple(range(1, mass.ndim))
    positive = positive / positive.sum(axis=trailing, keepdims=True)
    positive = np.maximum(positive, SMALLEST_MASS)
    positive *= grid.species_weights(mass.ndim - 1) / positive.sum(axis=trailing, keepdims=True)
    return GridMeasure(grid, positive)
