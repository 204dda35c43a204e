"""The limit as a force: synchronous copies move in the field that the limit's residual r(t) makes.

Where the nodes of the data law live in the full dimension, the field is a pullback of r(t).  Behind a symmetry
reduction it is the potential psi(s, r, b) = scale sum_q r_q phi_q(s, r, b) of block coordinates (without a bias
tabulated once per time and shared by all widths and replicas), carried to R^d by

    grad psi = d_s psi e_0 + (d_r psi / r) w_perp.

The drift -tau (d - 2)/r of the reduced equation is no part of it: the copies diffuse in R^d.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.initial import InitialLaw, interval
from mfpde.problem import Coordinate, Pairwise, Problem, TwoGaussians
from mfpde.steppers.forces import (
    Force,
    NodeForce,
    Reference,
    activation_arguments,
    explicit_gradient,
    reduced,
)
from mfpde.steppers.kernels import DOUBLE, Kernels
from mfpde.steppers.radial import RadialGuide
from mfpde.steppers.sampling import carry_to_nodes
from mfpde.steppers.table import Table, interpolate, tabulate_fields

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drive:
    """Predictions of the limit in time: times [m] increasing, f [m, n] at the nodes of the data law."""

    times: Array
    f: Array

    @cached_property
    def _spline(self) -> Callable[[Array], Array]:
        from scipy.interpolate import CubicSpline  # not needed to say what a study would do

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
    """``fields`` tabulates an interval, times [T]; ``reference`` is what a force compares its networks with.

    ``divisible``: the field at a particle does not depend on which others are computed with it, to the last bit.
    """

    @property
    def divisible(self) -> bool: ...
    def fields(self, times: Array) -> Fields: ...
    def reference(self, force: Force, time: float) -> Reference: ...


@dataclass(frozen=True, eq=False)
class NodeFields:
    """Residuals r [T, n], scale included, on nodes x [n, d]."""

    code: int
    hermite: Array
    x: Array
    r: Array
    kernels: Kernels

    def gradient(self, theta: Array, index: int, out: Array) -> None:
        r = np.repeat(self.r[index : index + 1], len(theta), axis=0)
        self.kernels.pullback(self.code, self.hermite, theta, self.x, r, out)


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
    kernels: Kernels

    @property
    def divisible(self) -> bool:
        return self.kernels.divisible and not isinstance(self.problem.model, Pairwise)

    def fields(self, times: Array) -> Fields:
        r = problems.residual(self.problem, self.drive.at(times))
        if isinstance(self.problem.model, Pairwise):
            return ExplicitFields(self.problem.model, r)
        code, hermite = activation_arguments(self.problem)
        x = np.ascontiguousarray(self.problem.data.x, dtype=np.float64)
        return NodeFields(code, hermite, x, self.problem.scale * r, self.kernels)

    def reference(self, force: Force, time: float) -> Reference:
        return Reference(values=self.drive.at(np.array([time]))[0])


@dataclass(frozen=True, eq=False)
class BlockNodes:
    """The nodes of a reduced law with their rotation sub-nodes: x [n T, 2], average [T]; gradients without a table."""

    code: int
    hermite: Array
    x: Array
    average: Array
    kernels: Kernels

    def gradient(self, theta: Array, r: Array) -> Array:
        """Gradient of a psi(w_0, |w_perp|, b) at theta [d + 2, N], psi of residuals r [n] : [d + 2, N]."""
        square = np.zeros(theta.shape[1])
        for row in theta[2:-1]:
            square += row * row
        radius = np.sqrt(square)
        blocks = np.stack([theta[0], theta[1], radius, theta[-1]])
        slope = np.empty_like(blocks)
        weights = (r[:, None] * self.average).reshape(-1)
        self.kernels.pullback(self.code, self.hermite, blocks[None], self.x, weights[None], slope[None])
        out = np.empty_like(theta)
        out[0], out[1], out[-1] = slope[0], slope[1], slope[3]
        # psi is even in r: its slope vanishes at the axis
        radial = np.where(radius > 0.0, slope[2] / np.where(radius > 0.0, radius, 1.0), 0.0)
        np.multiply(radial, theta[2:-1], out=out[2:-1])
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
class ReducedGuide:
    """Reduced laws with blocks (1, d - 1): a table over (s, r); with a bias, direct sums over block nodes."""

    problem: Problem
    drive: Drive
    nodes: BlockNodes
    table: Table | None

    @property
    def divisible(self) -> bool:
        return self.nodes.kernels.divisible

    def _fields(self, r: Array) -> TableFields:
        return TableFields(self, None if self.table is None else self.table.fields(r), r)

    def fields(self, times: Array) -> Fields:
        return self._fields(self.problem.scale * problems.residual(self.problem, self.drive.at(times)))

    def reference(self, force: Force, time: float) -> Reference:
        """E f_N f = (1/N) sum_i a_i psi(w_i) with c_q f_q as residual; for sampled nodes f itself, carried to them."""
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
    problem: Problem,
    law: InitialLaw,
    drive: Drive,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    kernels: Kernels = DOUBLE,
) -> Guide:
    """The limit as a force.

    ``bounds`` are intervals of the reduced coordinates (those of the limit's grid) that a table covers; points outside
    it are evaluated directly.  ``kernels`` are those of the particles; a table, computed once, is double.
    """
    if not reduced(problem):
        return NodeGuide(problem, drive, kernels)
    if isinstance(problem.data.population, TwoGaussians):
        return RadialGuide(problem, drive.at)
    moving = [c for c in problem.coordinates if c.group != "a"]
    code, hermite = activation_arguments(problem)
    # 32 rotations for kinked activations too: block nodes are for few points, or for laws that sampling errors dominate
    x, average = datalaws.rotation_average(problem.data)
    nodes = BlockNodes(code, hermite, np.ascontiguousarray(x.reshape(-1, x.shape[2])), average, kernels)
    if len(moving) > 2:
        return ReducedGuide(problem, drive, nodes, None)
    (s_low, s_high), (_, r_high) = (_range(law, c, bounds) for c in moving)
    return ReducedGuide(problem, drive, nodes, tabulate_fields(problem, drive.f, (s_low, s_high), r_high))


def _range(law: InitialLaw, c: Coordinate, bounds: Mapping[str, tuple[float, float]] | None) -> tuple[float, float]:
    """The given interval, or that of the initial law with room for the flow."""
    if bounds is not None and c.name in bounds:
        return bounds[c.name]
    low, high = interval(law, c, 1e-6)
    room = 0.5 + 0.25 * (high - low) if c.trained else 0.0
    return low - room, high + room
