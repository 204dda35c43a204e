"""The limit's field behind a symmetry reduction, tabulated over the block coordinates (s, r) = (w_0, |w_perp|).

psi = sum_q r_q phi_q(s, r) is smooth and even in r.  Over a run its residuals r(t) span a dozen directions, whose
fields are computed once; a table of one time is a small linear combination, read off by tensor Lagrange interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.core import interaction
from mfpde.core.compilation import kernel
from mfpde.problem import KINKED, Network, Problem
from mfpde.steppers.forces import activation_arguments
from mfpde.tabulate import interpolative, network_points, node_features
from mfpde.tabulate.averages import averaged, averaged_features

Array = NDArray[np.float64]

# spacing of the table: the eight-point formula then errs by less than 1e-6 for an activation with unit scale
SPACING = 1.0 / 20.0
LARGEST_AXIS = 384
SKELETON_TOLERANCE = 1e-13
SKELETON_POINTS = 500
SPAN_TOLERANCE = 1e-13
_STENCIL = 8


@dataclass(frozen=True, eq=False)
class Table:
    """Nodes s_i = origin + i spacing_0 and r_j = (j + 1/2) spacing_1, shape (n_s, n_r), and the fields there.

    ``basis`` [k, n_s n_r 3] holds psi, d_s psi and (d_r psi)/r, all even in r, of k residuals that span those of the
    drive; ``projection`` [n, k] carries a residual to its coefficients.
    """

    origin: float
    spacing: tuple[float, float]
    shape: tuple[int, int]
    basis: Array
    projection: Array

    def fields(self, r: Array) -> Array:
        """Fields of residuals r [T, n] : [T, n_s, n_r, 3]."""
        flat = np.empty((len(r), self.basis.shape[1]))
        combine(np.einsum("tn,nk->tk", r, self.projection, optimize=False), self.basis, flat)
        return flat.reshape(len(r), *self.shape, 3)


def tabulate_fields(problem: Problem, f: Array, s_range: tuple[float, float], r_high: float) -> Table:
    """The fields of all residuals that predictions f [m, n] and what lies between them can have."""
    s_low, s_high = s_range
    h_s, h_r = (max(SPACING, size / LARGEST_AXIS) for size in (s_high - s_low, r_high))
    shape = int(np.ceil((s_high - s_low) / h_s)) + _STENCIL, int(np.ceil(r_high / h_r)) + _STENCIL // 2
    origin = 0.5 * (s_low + s_high) - 0.5 * (shape[0] - 1) * h_s
    s, r = origin + np.arange(shape[0]) * h_s, (np.arange(shape[1]) + 0.5) * h_r
    points = np.stack([np.repeat(s, len(r)), np.tile(r, len(s))], axis=1)
    chosen = points[np.random.default_rng(20261122).permutation(len(points))[:SKELETON_POINTS]]
    select, coefficients = interpolative(node_features(problem, chosen), SKELETON_TOLERANCE)
    directions = _directions(problem, f, coefficients)
    basis = np.empty((len(directions), len(points), 3))
    for start in range(0, len(points), 4096):
        block = slice(start, start + 4096)
        basis[:, block] = np.tensordot(directions, _node_fields(problem, points[block], select), axes=(1, 2))
    projection = coefficients.T @ directions.T
    return Table(origin, (h_s, h_r), shape, basis.reshape(len(directions), -1), projection)


def _directions(problem: Problem, f: Array, coefficients: Array) -> Array:
    """Orthonormal skeleton residuals [k, R] that span, to SPAN_TOLERANCE, those of the predictions f and c f."""
    history = np.concatenate([problems.residual(problem, f), problem.data.weights * f])
    _, size, directions = np.linalg.svd(history @ coefficients.T, full_matrices=False)
    return directions[: max(1, int(np.sum(size > SPAN_TOLERANCE * size[0])))]


def _node_fields(problem: Problem, points: Array, select: NDArray[np.intp]) -> Array:
    """psi, d_s psi and (d_r psi)/r of single nodes at points [m, 2] of (s, r) : [m, 3, R]."""
    assert isinstance(problem.model, Network)
    if averaged(problem):
        out = averaged_features(problem, points, select)
        out[2] /= points[:, 1, None]
        return out.transpose(1, 0, 2)
    code, hermite = activation_arguments(problem)
    x, average = datalaws.rotation_average(problem.data, problem.model.activation not in KINKED)
    x, theta = np.ascontiguousarray(x[select]), network_points(problem, points)
    out = np.empty((3, len(points), len(x)))
    interaction.features(code, hermite, theta, x, average, out[0])
    interaction.features_derivative(code, hermite, theta, x, average, 0, out[1])
    interaction.features_derivative(code, hermite, theta, x, average, 1, out[2])
    out[2] /= points[:, 1, None]
    return out.transpose(1, 0, 2)


@kernel
def combine(coefficients: Array, basis: Array, out: Array) -> None:
    """out[t] = sum_k coefficients[t, k] basis[k], block by block of the columns; sums run over k in order."""
    times, rank = coefficients.shape
    for start in range(0, basis.shape[1], 1024):
        stop = min(start + 1024, basis.shape[1])
        for t in range(times):
            row = out[t, start:stop]
            row[:] = 0.0
            for k in range(rank):
                factor = coefficients[t, k]
                column = basis[k, start:stop]
                for i in range(stop - start):
                    row[i] += factor * column[i]


@kernel
def _lagrange(t: float, weights: Array) -> None:
    """Weights of the eight equidistant nodes -3 .. 4 for a point t in [0, 1)."""
    a, b, c, d, e, f, g, h = t + 3.0, t + 2.0, t + 1.0, t, t - 1.0, t - 2.0, t - 3.0, t - 4.0
    low, high = a * b * c * d, e * f * g * h
    weights[0] = b * c * d * high / -5040.0
    weights[1] = a * c * d * high / 720.0
    weights[2] = a * b * d * high / -240.0
    weights[3] = a * b * c * high / 144.0
    weights[4] = low * f * g * h / -144.0
    weights[5] = low * e * g * h / 240.0
    weights[6] = low * e * f * h / -720.0
    weights[7] = low * e * f * g / 5040.0


@kernel
def interpolate(
    table: Array, origin: float, spacing: tuple[float, float], theta: Array, outside: Array, out: Array
) -> int:
    """Gradient of a psi(w_0, |w_perp|) with respect to theta [d + 2, N] by eight-point Lagrange interpolation.

    table [n_s, n_r, 3] of psi, d_s psi, (d_r psi)/r; marks the points outside the table and returns their count.
    """
    count = theta.shape[1]
    last = theta.shape[0] - 1
    radius = np.zeros(count)
    radial = np.zeros(count)
    for k in range(2, last):
        for i in range(count):
            radius[i] += theta[k, i] * theta[k, i]
    ws, wr = np.empty(_STENCIL), np.empty(_STENCIL)
    missed = 0
    for i in range(count):
        s = (theta[1, i] - origin) / spacing[0]
        r = np.sqrt(radius[i]) / spacing[1] - 0.5
        outside[i] = not (s >= 3.0 and s < table.shape[0] - 4.0 and r < table.shape[1] - 4.0)
        if outside[i]:
            missed += 1
            continue
        js, jr = int(np.floor(s)), int(np.floor(r))
        _lagrange(s - js, ws)
        _lagrange(r - jr, wr)
        psi, along, across = 0.0, 0.0, 0.0
        for m in range(_STENCIL):
            for n in range(_STENCIL):
                at = jr - 3 + n
                # fields are even in r and r = 0 lies half a cell below the first node
                cell = table[js - 3 + m, -1 - at if at < 0 else at]
                weight = ws[m] * wr[n]
                psi += weight * cell[0]
                along += weight * cell[1]
                across += weight * cell[2]
        out[0, i] = psi
        out[1, i] = theta[0, i] * along
        radial[i] = theta[0, i] * across
        out[last, i] = 0.0
    for k in range(2, last):
        for i in range(count):
            out[k, i] = radial[i] * theta[k, i]
    return missed
