"""The lazy limit: neural tangent kernel of an L-layer network at the start, kernel gradient descent, Theta along a run.

    Theta = m_o Phi^L + m_h sum_(l>=2) G^l o Phi^(l-1) + m_1 G^1 o K + m_b (sum_l G^l + 1)        (o: entrywise)

with Phi^l = E x^l x^l, G^l = E g^l g^l; one step of full-batch descent is f <- f - (eta/P) Theta dloss/df to first
order in eta, exactly as gamma -> 0.  At the start Phi^l and G^l follow from Gaussian averages layer by layer
(``kernel_limit.duals``: arcsine for erf, arc-cosine for relu, series for the others), and L = 1 is the kernel of
``kernel_limit.kernels`` with E a^2 = 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpde.theory.deep.losses import loss_slope
from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.kernel_limit.duals import duals
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]


class TangentKernel(NamedTuple):
    """At the start: ``phi`` and ``back`` (G) [L, P, P], ``theta`` [P, P]."""

    phi: Array
    back: Array
    theta: Array


def tangent_kernel(problem: DeepProblem) -> TangentKernel:
    """Kernels at the start; for several outputs they hold for each, and outputs do not see one another.

    Raises NotConverged for preactivations so large that the series of a steep activation does not end.
    """
    covariance, phi, slopes = problem.gram, [], []
    for _ in range(problem.depth):
        points = _atoms(covariance + problem.bias_std**2)
        pair = duals(problem.activation, points, points, problem.hermite)
        covariance = 0.5 * (pair.values + pair.values.T)
        phi.append(covariance)
        slopes.append(0.5 * (pair.slopes + pair.slopes.T))
    back = [slopes[-1]]
    for slope in slopes[-2::-1]:
        back.append(slope * back[-1])
    stacked = np.stack(phi), np.stack(back[::-1])
    return TangentKernel(*stacked, theta_of(problem, *stacked))


def theta_of(problem: DeepProblem, phi: Array, back: Array) -> Array:
    """Theta [..., P, P] from second moments phi and back [..., L, P, P] at all training points."""
    rates = problem.multipliers
    theta = rates.output * phi[..., -1, :, :] + rates.input * back[..., 0, :, :] * problem.gram
    if problem.depth > 1:
        theta = theta + rates.hidden * np.sum(back[..., 1:, :, :] * phi[..., :-1, :, :], axis=-3)
    if problem.bias:
        theta = theta + rates.bias * (back.sum(axis=-3) + 1.0)
    return np.asarray(theta)


def lazy_trajectory(problem: DeepProblem, theta: Array, start: Array | None = None) -> Array:
    """Predictions [T + 1, P, C] of descent with the fixed kernel ``theta`` [P, P], from ``start`` [P, C] or 0."""
    f = np.zeros((problem.steps + 1, problem.samples, problem.outputs))
    f[0] = 0.0 if start is None else start
    velocity = np.zeros_like(f[0])
    for t in range(problem.steps):
        batch, gradient = problem.batch(t), np.zeros_like(f[0])
        np.add.at(gradient, batch, loss_slope(problem.loss, f[t][batch], problem.targets[batch]) / len(batch))
        velocity = problem.momentum * velocity + gradient
        f[t + 1] = f[t] - problem.rate * (theta @ velocity)
    return f


def _atoms(covariance: Array) -> Atoms:
    """Ridge functions of a standard Gaussian with this covariance of their arguments."""
    values, vectors = np.linalg.eigh(covariance)
    rows = vectors * np.sqrt(np.maximum(values, 0.0))
    return Atoms(np.ones(len(rows)), rows, np.zeros(len(rows)))
