"""The limit as a force: synchronous copies move in the field that the limit's residual r(t) makes.

Where the nodes of the data law live in the full dimension, the field is a pullback of r(t).  Behind a symmetry reduction
it is the potential psi(s, r, b) = scale sum_q r_q phi_q(s, r, b) of block coordinates (without a bias tabulated once per
time and shared by all widths and replicas), carried to R^d by grad = d_s psi e_0 + (d_r psi / r) w_perp.  The drift -tau (d - 2)/r of
the reduced equation is no part of it: the copies diffuse in R^d.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.core import interaction
from mfpde.core.elementary import KERNEL
from mfpde.initial import InitialLaw, interval
from mfpde.problem import Coordinate, Network, Pairwise, Problem
from mfpde.steppers.forces import (
    Force,
    NodeForce,
    Reference,
    activation_arguments,
    explicit_gradient,
    reduced,
)
from mfpde.steppers.sampling import carry_to_nodes
from mfpde.tabulate import interpolative, network_points, node_features

Array = NDArray[np.float64]

# spacing of the table: the eight-point formula then errs by less than 1e-6 for an activation with unit scale
SPACING = 1.0 / 20.0
LARGEST_AXIS = 384
SKELETON_TOLERANCE = 1e-13
SKELETON_POINTS = 500
SPAN_TOLERANCE = 1e-13
_STENCIL = 8


@dataclass(frozen=True, eq=False)
class Drive:
    """Predictions of the limit in time: times [m] increasing, f [m, n] at the nodes of the data law."""

    times: Array
    f: Array

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self.times, self.f, axis=0)

    def at(self, times: Array) -> Array:
        """f at ``times`` [T] by a cubic spline : [T, n]."""
        if len(self.times) == 1:
            return np.repeat(self.f, len(times), axis=0)
        return np.asarray(self._spline(times))


class Fields(Protocol):
    """The limit's fields at the times of an interval: ``gradient`` writes that of time ``index`` at theta [R, p, N]."""

    def gradient(self, theta: Array, index: int, out: Array) -> None: ...


class Guide(Protocol):
    """``fields`` tabulates an interval, times [T]; ``reference`` is what a force compares its networks with."""

    def fields(self, times: Array) -> Fields: ...
    def reference(self, force: Force, time: float) -> Reference: ...


@dataclass(frozen=True, eq=False)
class NodeFields:
    """Residuals r [T, n], scale included, on nodes x [n, d]."""

    code: int
    hermite: Array
    x: Array
    r: Array

    def gradient(self, theta: Array, index: int, out: Array) -> None:
        for replica, one in enumerate(theta):
            interaction.pullback(self.code, self.hermite, one, self.x, self.r[index], out[replica])


@dataclass(frozen=True, eq=False)
class ExplicitFields:
    """Residuals r [T, n] of an explicit interaction."""

    model: Pairwise
    r: Array

    def gradient(self, theta: Array, index: int, out: Array) -> None:
        explicit_gradient(self.model, theta, self.r[index], out)


@dataclass(frozen=True, eq=False)
class NodeGuide:
    """Problems whose data nodes, or features, need no reduction."""

    problem: Problem
    drive: Drive

    def fields(self, times: Array) -> Fields:
        r = problems.residual(self.problem, self.drive.at(times))
        if isinstance(self.problem.model, Pairwise):
            return ExplicitFields(self.problem.model, r)
        code, hermite = activation_arguments(self.problem)
        x = np.ascontiguousarray(self.problem.data.x, dtype=np.float64)
        return NodeFields(code, hermite, x, self.problem.scale * r)

    def reference(self, force: Force, time: float) -> Reference:
        return Reference(values=self.drive.at(np.array([time]))[0])


@dataclass(frozen=True, eq=False)
class BlockNodes:
    """The nodes of a reduced law with their rotation sub-nodes: x [n T, 2], average [T]; gradients without a table."""

    code: int
    hermite: Array
    x: Array
    average: Array

    def gradient(self, theta: Array, r: Array) -> Array:
        """Gradient of a psi(w_0, |w_perp|, b) at theta [d + 2, N], psi of residuals r [n] : [d + 2, N]."""
        radius = np.sqrt(np.sum(theta[2:-1] ** 2, axis=0))
        blocks = np.ascontiguousarray(np.stack([theta[0], theta[1], radius, theta[-1]]))
        slope = np.empty_like(blocks)
        weights = np.ascontiguousarray((r[:, None] * self.average).reshape(-1))
        interaction.pullback(self.code, self.hermite, blocks, self.x, weights, slope)
        out = np.empty_like(theta)
        out[0], out[1], out[-1] = slope[0], slope[1], slope[3]
        # psi is even in r: its slope vanishes at the axis
        out[2:-1] = np.where(radius > 0.0, slope[2] / np.where(radius > 0.0, radius, 1.0), 0.0) * theta[2:-1]
        return out


@dataclass(frozen=True, eq=False)
class TableFields:
    """Tables [T, n_s, n_r, 3] of an interval, None for direct sums; residuals r [T, n] for points outside the box."""

    guide: ReducedGuide
    tables: Array | None
    r: Array

    def gradient(self, theta: Array, index: int, out: Array) -> None:
        nodes, box = self.guide.nodes, self.guide.table
        outside = np.ones(theta.shape[2], np.bool_)
        for replica, one in enumerate(theta):
            if box is None or self.tables is None:
                out[replica] = nodes.gradient(one, self.r[index])
            elif interpolate(self.tables[index], box.origin, box.spacing, one, outside, out[replica]):
                beyond = np.flatnonzero(outside)
                out[replica][:, beyond] = nodes.gradient(np.ascontiguousarray(one[:, beyond]), self.r[index])


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


@dataclass(frozen=True, eq=False)
class ReducedGuide:
    """Reduced laws with blocks (1, d - 1): a table over (s, r); with a bias, direct sums over block nodes."""

    problem: Problem
    drive: Drive
    nodes: BlockNodes
    table: Table | None

    def _fields(self, r: Array) -> TableFields:
        return TableFields(self, None if self.table is None else self.table.fields(r), r)

    def fields(self, times: Array) -> Fields:
        return self._fields(self.problem.scale * problems.residual(self.problem, self.drive.at(times)))

    def reference(self, force: Force, time: float) -> Reference:
        """E f_N f = (1/N) sum_i a_i psi(w_i) with c_q f_q for the residual; for sampled nodes f itself, carried to them."""
        f, data = self.drive.at(np.array([time]))[0], self.problem.data
        if isinstance(force, NodeForce):
            return Reference(values=carry_to_nodes(data, f, force.law.x))
        fields = self._fields((self.problem.scale * data.weights * f)[None])

        def product(theta: Array) -> Array:
            psi = np.empty_like(theta)
            fields.gradient(theta, 0, psi)
            return np.sum(theta[:, 0] * psi[:, 0], axis=-1) / theta.shape[2]

        return Reference(square=float(np.sum(data.weights * f**2)), product=product)


def guide(
    problem: Problem, law: InitialLaw, drive: Drive, bounds: Mapping[str, tuple[float, float]] | None = None
) -> Guide:
    """The limit as a force.  ``bounds`` are intervals of the reduced coordinates (those of the limit's grid) that a table
    covers; points outside it are evaluated directly."""
    if not reduced(problem):
        return NodeGuide(problem, drive)
    moving = [c for c in problem.coordinates if c.group != "a"]
    code, hermite = activation_arguments(problem)
    # 32 rotations for kinked activations too: block nodes are for few points, or for laws that sampling errors dominate
    x, average = datalaws.rotation_average(problem.data)
    nodes = BlockNodes(code, hermite, np.ascontiguousarray(x.reshape(-1, x.shape[2])), average)
    if len(moving) > 2:
        return ReducedGuide(problem, drive, nodes, None)
    (s_low, s_high), (_, r_high) = (_range(law, c, bounds) for c in moving)
    return ReducedGuide(problem, drive, nodes, _table(problem, drive, s_low, s_high, r_high))


def _range(law: InitialLaw, c: Coordinate, bounds: Mapping[str, tuple[float, float]] | None) -> tuple[float, float]:
    """The given interval, or that of the initial law with room for the flow."""
    if bounds is not None and c.name in bounds:
        return bounds[c.name]
    low, high = interval(law, c, 1e-6)
    room = 0.5 + 0.25 * (high - low) if c.trained else 0.0
    return low - room, high + room


def _table(problem: Problem, drive: Drive, s_low: float, s_high: float, r_high: float) -> Table:
    h_s, h_r = (max(SPACING, size / LARGEST_AXIS) for size in (s_high - s_low, r_high))
    shape = int(np.ceil((s_high - s_low) / h_s)) + _STENCIL, int(np.ceil(r_high / h_r)) + _STENCIL // 2
    origin = 0.5 * (s_low + s_high) - 0.5 * (shape[0] - 1) * h_s
    s, r = origin + np.arange(shape[0]) * h_s, (np.arange(shape[1]) + 0.5) * h_r
    points = np.stack([np.repeat(s, len(r)), np.tile(r, len(s))], axis=1)
    chosen = points[np.random.default_rng(20261122).permutation(len(points))[:SKELETON_POINTS]]
    select, coefficients = interpolative(node_features(problem, chosen), SKELETON_TOLERANCE)
    directions = _directions(problem, drive, coefficients)
    basis = np.empty((len(directions), len(points), 3))
    for start in range(0, len(points), 4096):
        block = slice(start, start + 4096)
        basis[:, block] = np.tensordot(directions, _node_fields(problem, points[block], select), axes=(1, 2))
    projection = coefficients.T @ directions.T
    return Table(origin, (h_s, h_r), shape, basis.reshape(len(directions), -1), projection)


def _directions(problem: Problem, drive: Drive, coefficients: Array) -> Array:
    """Orthonormal skeleton residuals [k, R] that span, to SPAN_TOLERANCE, those of the drive and its predictions."""
    history = np.concatenate([problems.residual(problem, drive.f), problem.data.weights * drive.f])
    _, size, directions = np.linalg.svd(history @ coefficients.T, full_matrices=False)
    return directions[: max(1, int(np.sum(size > SPAN_TOLERANCE * size[0])))]


def _node_fields(problem: Problem, points: Array, select: NDArray[np.intp]) -> Array:
    """psi, d_s psi and (d_r psi)/r of single nodes at points [m, 2] of (s, r) : [m, 3, R]."""
    assert isinstance(problem.model, Network)
    code, hermite = activation_arguments(problem)
    x, average = datalaws.rotation_average(problem.data, problem.model.activation != "relu")
    x, theta = np.ascontiguousarray(x[select]), network_points(problem, points)
    out = np.empty((3, len(points), len(x)))
    interaction.features(code, hermite, theta, x, average, out[0])
    interaction.features_derivative(code, hermite, theta, x, average, 0, out[1])
    interaction.features_derivative(code, hermite, theta, x, average, 1, out[2])
    out[2] /= points[:, 1, None]
    return out.transpose(1, 0, 2)


@njit(**KERNEL)
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


@njit(**KERNEL)
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


@njit(**KERNEL)
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
