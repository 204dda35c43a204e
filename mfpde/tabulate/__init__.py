"""A problem on a grid: the maps mass -> predictions -> potential of every cell.

phi is linear in the output weight a, so its axis, and species that differ in a alone, are integrated out before any
feature is touched; and the n node features are combinations of R of them, f = C^T z with z the predictions at R
skeleton nodes, where a few carry all to 1e-12.  Features are kept as a table or evaluated anew: see ``choice``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.measures import Grid
from mfpde.pairwise import pairwise_potential
from mfpde.problem import Network, Pairwise, Problem
from mfpde.tabulate.choice import ACTIVATION, Choice, Way, choose, machine_memory
from mfpde.tabulate.features import Cells, Direct, Index, Stored, network_points, node_features, stored
from mfpde.tabulate.skeleton import MOST_CANDIDATES, interpolative, skeleton

__all__ = [
    "ACTIVATION",
    "MOST_CANDIDATES",
    "Tabulated",
    "external_potential",
    "interpolative",
    "machine_memory",
    "network_points",
    "node_features",
    "plan",
    "tabulate",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tabulated:
    """``features`` of the skeleton nodes [R], ``coefficients`` [R, n] of all nodes in them, None where they are all.

    ``amplitude`` broadcasts the output weight over [K, n_1, ..., n_D] (ones for explicit interactions);
    ``kinds`` [K] numbers the species that differ in more than the output weight;
    ``potential`` [K, n_1, ..., n_D] is the external potential, weight decay of frozen parameters included.
    """

    problem: Problem
    grid: Grid
    features: Stored | Direct
    coefficients: Array | None
    amplitude: Array
    kinds: Index
    potential: Array
    choice: Choice

    @property
    def rank(self) -> int:
        return self.features.rank

    def collapse(self, mass: Array) -> Array:
        """int a rho da of the (species, w, b) cells, species of one kind together : flat."""
        return _by_kind(self.kinds, self._without_a(mass, 1))

    def skeleton(self, mass: Array) -> Array:
        """z_j = int phi_j drho at the R skeleton nodes (scale not included)."""
        return self.features.gather(self.collapse(mass))

    def expand(self, z: Array) -> Array:
        """f [n] from z [R]: the predictions at all nodes."""
        return self.problem.scale * (z if self.coefficients is None else z @ self.coefficients)

    def predict(self, mass: Array) -> Array:
        """f_q = scale int phi_q drho : [n]."""
        return self.expand(self.skeleton(mass))

    def first_variation(self, r: Array) -> Array:
        """Psi = scale sum_q r_q phi_q + V on all cells, from r [n]."""
        few = self.problem.scale * (r if self.coefficients is None else self.coefficients @ r)
        shape = self.grid.shape
        inner = (1, *shape[2:]) if "a" in self.grid.names else shape[1:]
        psi = self.features.spread(few).reshape(-1, *inner)
        out: Array = self.amplitude * (psi if len(psi) == len(self.kinds) else psi[self.kinds])
        out += self.potential
        return out

    def covariance(self, mass: Array) -> Array:
        """sum_k p_k Cov_k(phi) over the species k, at all nodes, scale not included : [n, n]."""
        first, squared = self._without_a(mass, 1), _by_kind(self.kinds, self._without_a(mass, 2))
        count = first.shape[1]
        second, means = np.zeros((self.rank, self.rank)), np.zeros((len(self.kinds), self.rank))
        for kind in range(squared.size // count):
            members = np.flatnonzero(self.kinds == kind)
            start = kind * count
            for cells, phi in self.features.rows(start, start + count):
                scaled = np.sqrt(squared[cells, None]) * phi
                second += scaled.T @ scaled  # of one array and itself, BLAS computes half
                for k in members:
                    means[k] += first[k, cells.start - start : cells.stop - start] @ phi
        for mean, share in zip(means, self.grid.species.probabilities, strict=True):
            second -= np.outer(mean, mean) / share
        return second if self.coefficients is None else self.coefficients.T @ second @ self.coefficients

    def _without_a(self, mass: Array, power: int) -> Array:
        """int a^power rho da : [K, cells without a]."""
        amplitude = self.amplitude if power == 1 else self.amplitude**power
        if "a" in self.grid.names:
            return np.asarray(np.matmul(amplitude.reshape(-1), mass.reshape(*mass.shape[:2], -1)))
        return (mass * amplitude).reshape(len(mass), -1)


def _by_kind(kinds: Index, values: Array) -> Array:
    """Sums of values [K, cells] over the species of each kind : flat."""
    count = int(kinds.max()) + 1
    if count == len(kinds):
        return values.reshape(-1)
    total = np.zeros((count, values.shape[1]))
    for kind, one in zip(kinds, values, strict=True):
        total[kind] += one
    return total.reshape(-1)


def tabulate(problem: Problem, grid: Grid, way: Way | None = None, budget: int | None = None) -> Tabulated:
    """Prepare the features and the external potential of ``problem`` on ``grid``; the cheapest way by default.

    ``way`` and ``budget`` (bytes for a table) overrule the choice.
    """
    kinds, cells = _feature_cells(problem, grid)
    choice, found = _planned(problem, cells, way, budget)
    few, coefficients = found if found is not None and choice.taken.way != "precomputed" else (None, None)
    features: Stored | Direct
    if choice.taken.way == "direct":
        features = Direct(problem, cells, np.arange(choice.nodes) if few is None else few)
    else:
        features = stored(problem, cells, few)
    amplitude = _coordinate_values(grid, "a") if isinstance(problem.model, Network) else np.ones((1,) * len(grid.shape))
    potential = external_potential(problem, grid)
    return Tabulated(problem, grid, features, coefficients, amplitude, kinds, potential, choice)


def plan(problem: Problem, grid: Grid) -> Choice:
    """What ``tabulate`` would choose."""
    return _planned(problem, _feature_cells(problem, grid)[1], None, None)[0]


def _planned(
    problem: Problem, cells: Cells, way: Way | None, budget: int | None
) -> tuple[Choice, tuple[Index, Array] | None]:
    found = None if way == "precomputed" else skeleton(problem, cells)
    return choose(problem, cells.count, None if found is None else len(found[0]), way, budget), found


def _coordinate_values(grid: Grid, name: str) -> Array:
    """One parameter, shaped to broadcast over [K, n_1, ..., n_D]."""
    if name in grid.names:
        k = grid.names.index(name)
        return grid.along(k, grid.axes[k].centers)[None]
    values = grid.species.values[:, grid.species.names.index(name)]
    return values.reshape([-1] + [1] * len(grid.axes))


def external_potential(problem: Problem, grid: Grid) -> Array:
    """V on all cells: weight decay, or the potential of an explicit problem with its interaction's own part."""
    total = np.zeros(grid.shape)
    for c in problem.coordinates:
        if c.weight_decay != 0.0:
            total += 0.5 * c.weight_decay * _coordinate_values(grid, c.name) ** 2
    if isinstance(problem.model, Pairwise):
        stacked = np.stack([np.broadcast_to(_coordinate_values(grid, n), grid.shape) for n in grid.names], axis=-1)
        total += pairwise_potential(problem.model, stacked)
    return total


def _feature_cells(problem: Problem, grid: Grid) -> tuple[Index, Cells]:
    """(kinds [K] of the species, the cells of every kind without the output weight), in the order of collapse."""
    inner = [k for k, name in enumerate(grid.species.names) if name != "a"]
    number: dict[tuple[float, ...], int] = {}
    kinds = np.array([number.setdefault(tuple(row), len(number)) for row in grid.species.values[:, inner].tolist()])
    first = np.unique(kinds, return_index=True)[1]
    axes = [axis for axis in grid.axes if axis.name != "a"]
    columns = []
    for name in (c.name for c in problem.coordinates if c.name != "a"):
        if name in grid.names:
            k = next(k for k, axis in enumerate(axes) if axis.name == name)
            columns.append((k + 1, axes[k].centers))
        else:
            columns.append((0, grid.species.values[first, grid.species.names.index(name)]))
    return kinds, Cells((len(first), *(axis.cells for axis in axes)), tuple(columns))
