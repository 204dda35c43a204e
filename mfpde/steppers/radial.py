"""The limit as a force where all of a neuron is the radii of its blocks: the law of two Gaussians.

psi(r_1, .., r_k, b) = scale sum_q r_q phi_q is evaluated anew at every neuron and carried to R^d block by block,
grad_j psi = (d psi/d r_j) w_j / r_j.  A function of the limit that is known at the nodes, given the label and the block
radii of the input, goes to other inputs by its expansion in the polynomials that the nodes are a rule for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.core import interaction, quadrature
from mfpde.problem import DataLaw, Network, Problem, TwoGaussians
from mfpde.steppers.forces import Force, NodeForce, Reference, activation_arguments
from mfpde.tabulate import network_points
from mfpde.tabulate.averages import averaged, averaged_features
from mfpde.tabulate.features import rotated_nodes

Array = NDArray[np.float64]

# degree of the expansion per block: what is beyond it is below 1e-10 for functions as smooth as averages are
DEGREE = 24


@dataclass(frozen=True, eq=False)
class RadialFields:
    """Residuals r [T, n], scale included."""

    problem: Problem
    r: Array

    def gradient(self, theta: Array, index: int, out: Array) -> None:
        """grad psi of time ``index`` at theta [R, p, N] to out."""
        for replica, one in enumerate(theta):
            out[replica] = block_gradient(self.problem, one, self.r[index])


def block_gradient(problem: Problem, theta: Array, r: Array) -> Array:
    """Gradient of a psi(|w_1|, .., |w_k|, b) at theta [d + 2, N], psi of residuals r [n] : [d + 2, N]."""
    blocks = problem.data.blocks
    edges = np.concatenate([[1], 1 + np.cumsum(blocks)])
    spans = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
    sizes = [
        theta[span][0] if block == 1 else np.sqrt(np.sum(theta[span] ** 2, axis=0))
        for span, block in zip(spans, blocks, strict=True)
    ]
    slope = _reduced_gradient(problem, np.stack([*sizes, theta[-1]], axis=1), r)
    out = np.empty_like(theta)
    out[0], out[-1] = slope[0], theta[0] * slope[-1]
    for span, block, size, one in zip(spans, blocks, sizes, slope[1:-1], strict=True):
        # a psi that is smooth is even in a radius: its slope vanishes at the axis, and at a cusp the neuron rests
        along = one if block == 1 else np.where(size > 0.0, one / np.where(size > 0.0, size, 1.0), 0.0)
        out[span] = theta[0] * along if block == 1 else (theta[0] * along) * theta[span]
    return out


def _reduced_gradient(problem: Problem, points: Array, r: Array) -> Array:
    """psi and its derivatives at points [N, k + 1] (block coordinates, b), unit output weight : [k + 2, N]."""
    if averaged(problem):
        return np.asarray(averaged_features(problem, points) @ r)
    code, parameters = activation_arguments(problem)
    x, average = rotated_nodes(problem)
    out = np.empty((points.shape[1] + 1, len(points)))
    weights = np.outer(r, average).reshape(-1)
    theta = np.ascontiguousarray(network_points(problem, points))
    interaction.pullback(code, parameters, theta, x.reshape(-1, x.shape[2]), weights, out)
    return out


@dataclass(frozen=True, eq=False)
class RadialGuide:
    """The limit of a problem whose data are two Gaussians; ``at`` gives its predictions [T, n] at times [T]."""

    problem: Problem
    at: Callable[[Array], Array]
    divisible: bool = False  # averages are products of matrices, which may round differently in another batch

    def fields(self, times: Array) -> RadialFields:
        """The fields at ``times`` [T]."""
        return RadialFields(self.problem, self.problem.scale * problems.residual(self.problem, self.at(times)))

    def reference(self, force: Force, time: float) -> Reference:
        """f of the limit at the nodes of the force."""
        assert isinstance(force, NodeForce) and isinstance(self.problem.model, Network)
        f = self.at(np.array([time]))[0]
        return Reference(values=carry_to_inputs(self.problem.data, f, force.law.x, force.law.target))


def carry_to_inputs(data: DataLaw, f: Array, x: Array, target: Array) -> Array:
    """A function of the block radii known at the nodes, f [n], at inputs x [m, d] of labels with sign(target - 1/2).

    Expansion in Laguerre polynomials of |z_j|^2/2 (a block of 1: Hermite polynomials), z the standard normals behind x.
    """
    population = data.population
    assert isinstance(population, TwoGaussians)
    plus, out = target > 0.5, np.empty(len(x))
    edges = np.concatenate([[0], np.cumsum(data.blocks)])
    for label, chosen in ((1, plus), (-1, ~plus)):
        nodes = np.flatnonzero(data.y == label)
        scale = np.array([population.deviation(label), 1.0][: len(data.blocks)])
        sizes = np.stack(
            [
                x[chosen, start] if stop - start == 1 else np.sqrt(np.sum(x[chosen, start:stop] ** 2, axis=1))
                for start, stop in itertools.pairwise(edges)
            ],
            axis=1,
        )
        z = data.x[nodes] / scale
        # never as many as there are distinct nodes: the rule is exact for products of two
        degrees = [min(DEGREE, len(np.unique(column)) - 1) for column in z.T]
        known, wanted = (_polynomials(data.blocks, degrees, points) for points in (z, sizes / scale))
        share = data.weights[nodes] / data.weights[nodes].sum()
        out[chosen] = (known @ (share * f[nodes])) @ wanted
    return out


def _polynomials(blocks: tuple[int, ...], degrees: list[int], z: Array) -> Array:
    """Products over the blocks of orthonormal polynomials of the block sizes z [m, k] : [terms, m]."""
    product = np.ones((1, len(z)))
    for k, (block, degree) in enumerate(zip(blocks, degrees, strict=True)):
        if block == 1:
            one = quadrature.hermite_functions(degree, z[:, k])
        else:
            one = quadrature.laguerre_functions(degree, 0.5 * block - 1.0, 0.5 * z[:, k] ** 2)
        product = (product[:, None, :] * one[None, :, :]).reshape(-1, len(z))
    return product
