"""A problem tabulated on a grid: features of every cell, once, and the maps mass -> predictions -> potential.

phi is linear in the output weight a, so its axis is integrated out before any feature is touched; and the n node
features are combinations of a few of them, f = C^T z with z the predictions at R skeleton nodes (interpolative
decomposition to 1e-12, checked on other cells), so that both maps cost cells x R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from mfpde import datalaws
from mfpde.core import activations, interaction
from mfpde.measures import Grid
from mfpde.pairwise import pairwise_features, pairwise_potential
from mfpde.problem import Network, Pairwise, Problem

Array = NDArray[np.float64]

RANK_TOLERANCE = 1e-12
CHECK_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class Tabulated:
    """``basis`` [cells without a, R] features at the skeleton nodes, ``coefficients`` [R, n] of all nodes in them.

    ``amplitude`` broadcasts the output weight over [K, n_1, ..., n_D] (ones for explicit interactions);
    ``potential`` [K, n_1, ..., n_D] is the external potential, weight decay of frozen parameters included.
    """

    problem: Problem
    grid: Grid
    basis: Array
    coefficients: Array
    amplitude: Array
    potential: Array

    @property
    def rank(self) -> int:
        return self.basis.shape[1]

    @property
    def _axis_a(self) -> bool:
        return "a" in self.grid.names

    def collapse(self, mass: Array) -> Array:
        """int a rho da per (species, w, b) cell : flat."""
        weighted = mass * self.amplitude
        return (weighted.sum(axis=1) if self._axis_a else weighted).reshape(-1)

    def skeleton(self, mass: Array) -> Array:
        """z_j = int phi_j drho at the R skeleton nodes (scale not included)."""
        return self.collapse(mass) @ self.basis

    def expand(self, z: Array) -> Array:
        """f [n] from z [R]: the predictions at all nodes."""
        return self.problem.scale * (z @ self.coefficients)

    def predict(self, mass: Array) -> Array:
        """f_q = scale int phi_q drho : [n]."""
        return self.expand(self.skeleton(mass))

    def first_variation(self, r: Array) -> Array:
        """Psi = scale sum_q r_q phi_q + V on all cells, from r [n]."""
        psi = self.basis @ (self.problem.scale * (self.coefficients @ r))
        shape = self.grid.shape
        psi = psi.reshape((shape[0], 1, *shape[2:]) if self._axis_a else shape)
        return self.potential + self.amplitude * psi


def tabulate(problem: Problem, grid: Grid) -> Tabulated:
    """Evaluate the features and the external potential of ``problem`` on ``grid``."""
    amplitude = _coordinate_values(grid, "a") if isinstance(problem.model, Network) else np.ones((1,) * len(grid.shape))
    potential = external_potential(problem, grid)
    points = _feature_points(problem, grid)
    basis, coefficients = _compressed(problem, points)
    return Tabulated(problem, grid, basis, coefficients, amplitude, potential)


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
            total = total + 0.5 * c.weight_decay * _coordinate_values(grid, c.name) ** 2
    if isinstance(problem.model, Pairwise):
        stacked = np.stack([np.broadcast_to(_coordinate_values(grid, n), grid.shape) for n in grid.names], axis=-1)
        total = total + pairwise_potential(problem.model, stacked)
    return total


def _feature_points(problem: Problem, grid: Grid) -> Array:
    """(w, b) of every (species, w, b) cell : [cells, p], flat order of Tabulated.collapse."""
    shape = grid.shape
    reduced = (shape[0], 1, *shape[2:]) if "a" in grid.names else shape
    names = [c.name for c in problem.coordinates if c.name != "a"]
    columns = [np.broadcast_to(_coordinate_values(grid, n), reduced).reshape(-1) for n in names]
    return np.stack(columns, axis=1)


def node_features(problem: Problem, points: Array, select: NDArray[np.intp] | None = None) -> Array:
    """phi_q without the output weight at points [m, p] (columns w, b) : [m, n], or only the nodes in ``select``."""
    model = problem.model
    if isinstance(model, Pairwise):
        values = pairwise_features(model, points)
        return values if select is None else values[:, select]
    theta, hermite = network_points(problem, points), np.asarray(model.hermite or (0.0,), float)
    x, average = datalaws.rotation_average(problem.data, model.activation != "relu")
    x = x if select is None else x[select]
    out = np.empty((len(points), len(x)))
    code = activations.CODES[model.activation]
    for start in range(0, len(points), 8192):
        block = np.ascontiguousarray(theta[:, start : start + 8192])
        interaction.features(code, hermite, block, np.ascontiguousarray(x), average, out[start : start + 8192])
    return out


def network_points(problem: Problem, points: Array) -> Array:
    """theta [k + 2, m] of the interaction kernels, with unit output weight, from points [m, p] (columns w, b)."""
    k = problem.data.x.shape[1]
    theta = np.zeros((k + 2, len(points)))
    theta[0] = 1.0
    theta[1 : 1 + points.shape[1]] = points.T
    return theta


def _compressed(problem: Problem, points: Array) -> tuple[Array, Array]:
    n = len(problem.data.y)
    rng = np.random.default_rng(20261122)
    count = min(len(points), 2 * n + 200)
    chosen = rng.permutation(len(points))[:count]
    sampled = node_features(problem, points[chosen])
    half = sampled[: (count + 1) // 2] if count < len(points) else sampled
    nodes, coefficients = interpolative(half, RANK_TOLERANCE)
    error = np.max(np.abs(sampled - sampled[:, nodes] @ coefficients), initial=0.0)
    if len(nodes) >= n or error > CHECK_TOLERANCE * max(1.0, float(np.max(np.abs(sampled)))):
        return node_features(problem, points), np.eye(n)
    return node_features(problem, points, nodes), coefficients


def interpolative(matrix: Array, tolerance: float) -> tuple[NDArray[np.intp], Array]:
    """Columns J, coefficients: matrix = matrix[:, J] @ coefficients to ``tolerance`` times the largest column."""
    triangle, order = qr(matrix, mode="r", pivoting=True)
    size = np.abs(np.diag(triangle))
    rank = max(1, int(np.sum(size > tolerance * max(size[0], 1e-300))))
    coefficients = np.zeros((rank, matrix.shape[1]))
    coefficients[:, order[:rank]] = np.eye(rank)
    if rank < matrix.shape[1] and size[0] > 0.0:
        coefficients[:, order[rank:]] = solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:])
    return order[:rank], coefficients
