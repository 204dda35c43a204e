"""Gaussian laws on R^D: density, cell averages, entropy, moments, and the radius of a centred block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianPath:
    """A Gaussian law followed in time: ``time`` [K], ``mean`` [K, D], ``covariance`` [K, D, D], ``free_energy`` [K]."""

    time: Array
    mean: Array
    covariance: Array
    free_energy: Array


@dataclass(frozen=True)
class GaussianState:
    """One Gaussian law: ``mean`` [D], ``covariance`` [D, D], and the free energy it has in its problem."""

    mean: Array
    covariance: Array
    free_energy: float


def log_density(points: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> Array:
    """Logarithm of the N(mean, covariance) density at ``points`` [..., D]; result [...]."""
    mean_, covariance_ = np.atleast_1d(np.asarray(mean, float)), np.atleast_2d(np.asarray(covariance, float))
    factor = np.linalg.cholesky(covariance_)
    shifted = np.asarray(points, float) - mean_
    whitened = np.linalg.solve(factor, shifted.reshape(-1, mean_.size).T)
    log_volume = 0.5 * mean_.size * np.log(2.0 * np.pi) + np.log(np.diag(factor)).sum()
    return (-0.5 * np.einsum("ij,ij->j", whitened, whitened) - log_volume).reshape(shifted.shape[:-1])


def density(points: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> Array:
    """Density of N(mean [D], covariance [D, D]) at ``points`` [..., D]; result [...]."""
    return np.exp(log_density(points, mean, covariance))


def cell_averages(function: Callable[[Array], Array], centers: Sequence[Array], order: int = 4) -> Array:
    """Averages of ``function`` over the cells of a uniform tensor grid, by Gauss–Legendre points in every direction.

    ``function`` takes points [..., D] and gives [...]; ``centers`` holds one array of cell centres per direction.
    Finite volumes store averages, which differ from midpoint values by O(h²); with ``order`` points per direction
    the average is exact for polynomials of degree 2·order − 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(order)
    widths = [float(axis[1] - axis[0]) for axis in centers]
    total = np.zeros([len(axis) for axis in centers])
    for index in np.ndindex(*(order,) * len(centers)):
        shifted = [axis + 0.5 * width * nodes[i] for axis, width, i in zip(centers, widths, index, strict=True)]
        points = np.stack(np.meshgrid(*shifted, indexing="ij"), axis=-1)
        total += float(np.prod(0.5 * weights[list(index)])) * function(points)
    return total


def entropy_integral(covariance: ArrayLike) -> Array:
    """∫ ρ log ρ = −½ log det(2πe C) for ``covariance`` C [..., D, D]; result [...]."""
    covariance_ = np.asarray(covariance, float)
    _, log_determinant = np.linalg.slogdet(covariance_)
    return np.asarray(-0.5 * (log_determinant + covariance_.shape[-1] * np.log(2.0 * np.pi * np.e)))


def normal_moments(mean: ArrayLike, variance: ArrayLike) -> Array:
    """E θ, E θ², E θ³, E θ⁴ of N(mean, variance), stacked on a last axis of length 4."""
    m, v = np.broadcast_arrays(np.asarray(mean, float), np.asarray(variance, float))
    return np.stack([m, m**2 + v, m**3 + 3.0 * m * v, m**4 + 6.0 * m**2 * v + 3.0 * v**2], axis=-1)


def radius_moments(variance: ArrayLike, block: int) -> Array:
    """E r, E r², E r³, E r⁴ of r = |z|, z ~ N(0, variance·I) in dimension ``block``, on a last axis of length 4.

    E rᵏ = (2v)^{k/2} Γ((block + k)/2) / Γ(block/2), the moments of the chi law.
    """
    order = np.arange(1, 5)
    log_ratio = gammaln(0.5 * (block + order)) - gammaln(0.5 * block)
    return np.asarray((2.0 * np.asarray(variance, float)[..., None]) ** (0.5 * order) * np.exp(log_ratio))


def radius_density(radius: ArrayLike, variance: float, block: int) -> Array:
    """Density with respect to dr of r = |z|, z ~ N(0, variance·I) in dimension ``block`` (the chi law), at r > 0."""
    r = np.asarray(radius, float)
    log_constant = np.log(2.0) - gammaln(0.5 * block) - 0.5 * block * np.log(2.0 * variance)
    return np.exp(log_constant + (block - 1) * np.log(r) - 0.5 * r**2 / variance)
