"""Few nodes that carry all: features of n nodes as combinations of those of R of them (interpolative decomposition).

On the cells of a grid phi = phi_J C with columns J of phi and a matrix C, to the numerical rank (Cheng, Gimbutas,
Martinsson and Rokhlin 2005); columns and cells are sampled first, and what was found is checked on other cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from mfpde.problem import KINKED, Network, Problem
from mfpde.tabulate.averages import averaged
from mfpde.tabulate.features import HELD, Cells, Index, node_features

Array = NDArray[np.float64]

# largest error on a cell that was not fitted, relative to the largest feature
TOLERANCE = 1e-12
# pivots are kept down to round-off: what the check then finds is what cells in between add
_PIVOTS = 1e-14
# nodes among which the few are sought, at first and at most; cells per node to fit, and as many to check
FIRST_CANDIDATES, MOST_CANDIDATES = 512, 1024
_CELLS_PER_NODE = 4
# a kink may show in few cells: then as many as this are checked
_KINKED_CELLS = 1 << 20
_COLUMNS = 4096


def skeleton(problem: Problem, cells: Cells) -> tuple[Index, Array] | None:
    """Nodes J [R] and coefficients [R, n] with which all n features of ``cells`` follow; None if no fewer do."""
    n = len(problem.data.y)
    rng = np.random.default_rng(20261122)
    candidates = np.sort(rng.permutation(n)[:FIRST_CANDIDATES])
    kinked = isinstance(problem.model, Network) and problem.model.activation in KINKED and not averaged(problem)
    while True:
        fit = _CELLS_PER_NODE * len(candidates)
        # all cells of a small grid are fitted: then there are no others to check
        few = cells.count <= 2 * fit
        wanted = min(cells.count, _KINKED_CELLS) if few or kinked else 2 * fit
        chosen = cells.at(rng.choice(cells.count, wanted, replace=False))
        fitted, others = (chosen, chosen) if few else (chosen[:fit], chosen[fit:])
        among, coefficients = interpolative(node_features(problem, fitted, candidates), _PIVOTS)
        if len(among) == n:
            return None
        nodes = candidates[among]
        if len(candidates) < n:
            coefficients = _combinations(problem, fitted, nodes)
        errors = _errors(problem, others, nodes, coefficients)
        if np.max(errors) <= TOLERANCE:
            return nodes, coefficients
        if len(candidates) >= min(n, MOST_CANDIDATES):
            return None
        # the nodes that were missed most join: outliers of the data, or simply more of full rank
        errors[candidates] = -1.0
        missed = np.argsort(-errors, kind="stable")[: min(len(candidates), n - len(candidates))]
        candidates = np.sort(np.concatenate([candidates, missed]))


def interpolative(matrix: Array, tolerance: float) -> tuple[Index, Array]:
    """Columns J, coefficients: matrix = matrix[:, J] @ coefficients to ``tolerance`` times the largest column."""
    if len(matrix) > matrix.shape[1]:
        # the triangle has the same columns up to a rotation, and blocked elimination is faster than pivoting
        matrix = qr(matrix, mode="r")[0][: matrix.shape[1]]
    triangle, order = qr(matrix, mode="r", pivoting=True)
    size = np.abs(np.diag(triangle))
    rank = max(1, int(np.sum(size > tolerance * max(size[0], 1e-300))))
    coefficients = np.zeros((rank, matrix.shape[1]))
    coefficients[:, order[:rank]] = np.eye(rank)
    if rank < matrix.shape[1] and size[0] > 0.0:
        coefficients[:, order[rank:]] = solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:])
    return order[:rank], coefficients


def _combinations(problem: Problem, points: Array, nodes: Index) -> Array:
    """Coefficients [R, n] of all nodes in few, by least squares on the cells at ``points``."""
    n = len(problem.data.y)
    rotation, triangle = qr(node_features(problem, points, nodes), mode="economic")
    coefficients = np.empty((len(nodes), n))
    for columns in _column_blocks(n):
        coefficients[:, columns] = solve_triangular(
            triangle, rotation.T @ node_features(problem, points, np.arange(n)[columns])
        )
    coefficients[:, nodes] = np.eye(len(nodes))
    return coefficients


def _errors(problem: Problem, points: Array, nodes: Index, coefficients: Array) -> Array:
    """The largest error of every feature [n] on the cells at ``points``, relative to the largest feature there."""
    n = coefficients.shape[1]
    worst, size = np.zeros(n), 1e-300
    rows = max(64, HELD // min(n, _COLUMNS))
    for start in range(0, len(points), rows):
        block = points[start : start + rows]
        few = node_features(problem, block, nodes)
        for columns in _column_blocks(n):
            exact = node_features(problem, block, np.arange(n)[columns])
            size = max(size, float(np.max(np.abs(exact))))
            error = np.max(np.abs(exact - few @ coefficients[:, columns]), axis=0)
            worst[columns] = np.maximum(worst[columns], error)
    return worst / size


def _column_blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _COLUMNS, n)) for start in range(0, n, _COLUMNS)]
