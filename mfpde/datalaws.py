"""Data laws as weighted nodes, and the exact symmetry reduction of the Gaussian laws.

x ~ N(0, I_d), y = g(x_0): both are invariant under rotations of the last d - 1 inputs, so a neuron enters only through
s = w_0 and r = |(w_1, ..., w_{d-1})|, and its feature is averaged over the rotations,

    phi(x_0, R; s, r, b) = E_t sigma(s x_0 + r R t + b),     R = |(x_1, ..., x_{d-1})|,

with t the first coordinate of a uniform point of the sphere S^{d-2}.  The law of two Gaussians has the rotations of the
informative inputs and of the others, and a neuron enters through one radius or two.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.core import quadrature
from mfpde.problem import DataLaw, Population, TwoGaussians

Array = NDArray[np.float64]

# Gauss-Hermite nodes for the first input, and the weight below which a node is dropped
FIRST_NODES = 60
SMALLEST_WEIGHT = 1e-16
# nodes per block radius of the two Gaussians, with one block and with two: concentrated laws need few
ONE_BLOCK, TWO_BLOCKS = 32, 12
# two inputs take the square of the count: capped, or kinked activations of full rank become slow
LARGEST_SQUARE = 40


def target_values(population: Population, z: Array) -> Array:
    """g(z) of the single-index target; z : any shape."""
    if population.target == "tanh":
        return population.scale * np.tanh(population.gain * z)
    degree = len(population.coefficients) - 1
    functions = quadrature.hermite_functions(degree, z)
    return np.tensordot(np.asarray(population.coefficients, float), functions, axes=1)


def gaussian(
    population: Population, loss: Literal["square", "logistic"] = "square", count: int = FIRST_NODES
) -> DataLaw:
    """Quadrature of the Gaussian single-index law in block coordinates, ``count`` nodes along the index direction.

    Blocks (1,), (1, 1) or (1, d - 1) for d = 1, 2, larger.  For the logistic loss the target is the log-odds of
    y = +1, and every node appears with both labels.
    """
    d = population.dimension
    blocks: tuple[int, ...] = (1,) if d == 1 else (1, d - 1)
    x0, p0 = quadrature.gauss_hermite(count if d != 2 else min(count, LARGEST_SQUARE), SMALLEST_WEIGHT)
    if d == 1:
        x, weights = x0[:, None], p0
    else:
        x1, p1 = (x0, p0) if d == 2 else quadrature.radius(d - 1, 24 if d < 10 else 12)
        x = np.stack([np.repeat(x0, len(x1)), np.tile(x1, len(x0))], axis=1)
        weights = np.outer(p0, p1).reshape(-1)
        keep = weights > SMALLEST_WEIGHT
        x, weights = x[keep], weights[keep] / weights[keep].sum()
    g = target_values(population, x[:, 0])
    if loss == "square":
        return DataLaw(x, g, weights, blocks, 0.5 * population.noise**2, population)
    plus = np.exp(-np.logaddexp(0.0, -g))
    labels = np.concatenate([np.ones_like(g), -np.ones_like(g)])
    both = np.concatenate([weights * plus, weights * (1.0 - plus)])
    keep = both > 0.0
    return DataLaw(np.concatenate([x, x])[keep], labels[keep], both[keep], blocks, 0.0, population)


def two_gaussians(population: TwoGaussians, count: int | None = None) -> DataLaw:
    """Quadrature of the law of two Gaussians in block coordinates, one set of nodes for each label, y = +1 first.

    ``count`` nodes per block (ONE_BLOCK or TWO_BLOCKS of them by default); block radii given y are tau_y chi.
    """
    blocks = population.blocks
    count = count or (ONE_BLOCK if len(blocks) == 1 else TWO_BLOCKS)
    z, weights = np.ones((1, 0)), np.ones(1)
    for block in blocks:
        # half of a rule would do for a signed coordinate, but for the bias no symmetry is left
        one, p = quadrature.gauss_hermite(count) if block == 1 else quadrature.radius(block, count)
        z = np.concatenate([np.repeat(z, len(one), axis=0), np.tile(one, len(z))[:, None]], axis=1)
        weights = np.repeat(weights, len(one)) * np.tile(p, len(weights))
    keep = weights > SMALLEST_WEIGHT
    z, weights = z[keep], 0.5 * weights[keep] / weights[keep].sum()
    # the first block alone is stretched
    x = np.concatenate([z * np.array([population.deviation(label), 1.0][: len(blocks)]) for label in (1, -1)])
    y = np.repeat([1.0, -1.0], len(z))
    return DataLaw(x, y, np.tile(weights, 2), blocks, 0.0, population)


def stretch(population: TwoGaussians, z: Array, label: int) -> Array:
    """Inputs x [n, d] of one label, +1 or -1, from standard normals z [n, d]."""
    x = z.copy()
    x[:, : population.informative] *= population.deviation(label)
    return x


def nodes(x: Array, y: Array, weights: Array | None = None, noise: float = 0.0) -> DataLaw:
    """A data set or any weighted nodes: x [n, d], y [n], weights [n] (equal by default, normalised to sum 1)."""
    c = np.full(len(y), 1.0 / len(y)) if weights is None else weights / np.sum(weights)
    return DataLaw(x, y, c, (1,) * x.shape[1], 0.5 * noise**2)


def rotation_average(law: DataLaw, smooth: bool = True) -> tuple[Array, Array]:
    """Sub-nodes that average each node over the rotations of its blocks: (x [n, T, k], average [T], sum 1).

    ``smooth`` says that the activation is analytic; a kinked one takes more points.
    """
    factors, average = np.ones((1, 0)), np.ones(1)
    for block in law.blocks:
        if block == 1:
            t, p = np.ones(1), np.ones(1)
        else:
            t, p = quadrature.sphere_coordinate(block, 32 if smooth else 400)
            keep = p > SMALLEST_WEIGHT
            t, p = t[keep], p[keep] / p[keep].sum()
        factors = np.concatenate([np.repeat(factors, len(t), axis=0), np.tile(t, len(factors))[:, None]], axis=1)
        average = np.repeat(average, len(t)) * np.tile(p, len(average))
    return law.x[:, None, :] * factors[None, :, :], average
