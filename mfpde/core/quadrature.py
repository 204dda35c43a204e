"""Gauss rules for Gaussian inputs in any dimension, and Hermite expansions under them.

The rules come from the symmetric tridiagonal matrix of the recurrence coefficients of their orthogonal polynomials
(Golub and Welsch 1969): nodes are its eigenvalues, weights follow from its orthonormal polynomials there. No power of
a large dimension is ever formed, so blocks up to 1e6 are as accurate as small ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh_tridiagonal

Array = NDArray[np.float64]

_GROWN = 1e200


def gauss_hermite(n: int, prune: float = 1e-18) -> tuple[Array, Array]:
    """Gauss rule for x ~ N(0, 1) with n nodes: (nodes, weights), weights summing to 1.

    Nodes whose weight is below ``prune`` are dropped and the rest renormalised: they carry nothing in double precision
    but lie far out, where a growing integrand overflows. Exact for degree 2n - 1 up to the dropped mass.
    """
    _check_count(n)
    nodes, weights = _golub_welsch(np.zeros(n), np.sqrt(np.arange(1.0, n)))
    nodes = 0.5 * (nodes - nodes[::-1])
    weights = 0.5 * (weights + weights[::-1])
    kept = weights >= prune
    return nodes[kept], weights[kept] / weights[kept].sum()


def radius(block: int, n: int) -> tuple[Array, Array]:
    """Gauss rule in |x|^2 for the norm |x| of x ~ N(0, I_block), block >= 2: (nodes, weights), weights summing to 1.

    s = |x|^2 / 2 has the Gamma(block/2) law, whose generalised Laguerre polynomials (alpha = block/2 - 1) have diagonal
    2k + alpha + 1 and off-diagonal sqrt(k (k + alpha)). Polynomials in |x|^2 of degree 2n - 1 are exact.
    """
    _check_block(block)
    _check_count(n)
    k = np.arange(float(n))
    alpha = 0.5 * block - 1.0
    off_diagonal = np.sqrt(k[1:] * (k[1:] + alpha))
    # The diagonal is shifted by its mean: the eigenvalues then lose no digits to the common part block/2.
    shift = 0.5 * block
    deviations, weights = _golub_welsch(2.0 * k + (alpha + 1.0 - shift), off_diagonal)
    return np.sqrt(2.0 * np.maximum(shift + deviations, 0.0)), weights


def sphere_coordinate(block: int, n: int) -> tuple[Array, Array]:
    """Gauss rule for the first coordinate t of a uniform point of the sphere S^(block-1), block >= 2: (nodes, weights).

    The density is proportional to (1 - t^2)^((block-3)/2) on [-1, 1] (Gegenbauer, lambda = block/2 - 1): zero diagonal
    and squared off-diagonal k (k + 2 lambda - 1) / (4 (k + lambda) (k + lambda - 1)), whose k = 1 term is 1/block. For
    block = 2 this is the arcsine law, whose rule is Gauss-Chebyshev with equal weights.
    """
    _check_block(block)
    _check_count(n)
    if block == 2:
        angles = np.pi * (2.0 * np.arange(n, 0, -1) - 1.0) / (2.0 * n)
        nodes = np.cos(angles)
        return 0.5 * (nodes - nodes[::-1]), np.full(n, 1.0 / n)
    order = 0.5 * block - 1.0
    k = np.arange(1.0, n)
    squared = np.full(k.shape, 1.0 / block)
    later = k[1:]
    squared[1:] = later * (later + 2.0 * order - 1.0) / (4.0 * (later + order) * (later + order - 1.0))
    nodes, weights = _golub_welsch(np.zeros(n), np.sqrt(squared))
    return 0.5 * (nodes - nodes[::-1]), 0.5 * (weights + weights[::-1])


def hermite_functions(kmax: int, z: ArrayLike) -> Array:
    """Normalised Hermite polynomials h_k = He_k / sqrt(k!), k = 0..kmax, at z (any shape): array [kmax + 1, *z.shape].

    Orthonormal under N(0, 1); recurrence sqrt(k + 1) h_(k+1) = z h_k - sqrt(k) h_(k-1).
    """
    if kmax < 0:
        raise ValueError(f"kmax is {kmax}; it must be at least 0")
    points = np.asarray(z, dtype=np.float64)
    values = np.empty((kmax + 1, *points.shape))
    values[0] = 1.0
    if kmax >= 1:
        values[1] = points
    for k in range(1, kmax):
        values[k + 1] = (points * values[k] - np.sqrt(k) * values[k - 1]) / np.sqrt(k + 1.0)
    return values


def laguerre_functions(degree: int, alpha: float, s: Array) -> Array:
    """Laguerre polynomials orthonormal under the Gamma(alpha + 1) law, degrees 0..degree : [degree + 1, len(s)].

    s = |x|^2/2 of x ~ N(0, I_block) has that law with alpha = block/2 - 1.
    """
    values = np.ones((degree + 1, *s.shape))
    previous = np.zeros_like(s)
    for k in range(degree):
        below = np.sqrt(k * (k + alpha)) * previous
        previous = values[k]
        values[k + 1] = ((2.0 * k + alpha + 1.0 - s) * values[k] - below) / np.sqrt((k + 1.0) * (k + 1.0 + alpha))
    return values


def hermite_coefficients(function: Callable[[Array], Array], kmax: int, n: int = 200) -> Array:
    """Coefficients E[g(Z) h_k(Z)], k = 0..kmax, Z ~ N(0, 1), by the n-node Gauss-Hermite rule; g maps arrays to arrays.

    Spectrally accurate for entire g; slow in n for a kink.
    """
    nodes, weights = gauss_hermite(n, prune=1e-60)
    return np.asarray(hermite_functions(kmax, nodes) @ (weights * function(nodes)))


def _golub_welsch(diagonal: Array, off_diagonal: Array) -> tuple[Array, Array]:
    """Nodes and weights of the unit-mass Gauss rule of a symmetric tridiagonal recurrence matrix.

    Weights are 1 / sum_k p_k(node)^2 over the orthonormal polynomials, which keeps the relative accuracy of the
    smallest, where eigenvectors are noise; the recurrence is rescaled whenever it grows, with the logarithm kept
    beside.
    """
    if diagonal.size == 1:
        return diagonal.copy(), np.ones(1)
    nodes = eigh_tridiagonal(diagonal, off_diagonal, eigvals_only=True)
    before, current, total, log_scale = (
        np.zeros_like(nodes),
        np.ones_like(nodes),
        np.ones_like(nodes),
        np.zeros_like(nodes),
    )
    last = 0.0
    for k, following in enumerate(off_diagonal):
        before, current = current, ((nodes - diagonal[k]) * current - last * before) / following
        last = following
        total = total + current**2
        grown = np.sqrt(np.where(total > _GROWN, total, 1.0))
        before, current, total, log_scale = before / grown, current / grown, total / grown**2, log_scale + np.log(grown)
    log_weights = -np.log(total) - 2.0 * log_scale
    weights = np.exp(log_weights - log_weights.max())
    return nodes, weights / weights.sum()


def _check_block(block: int) -> None:
    if block < 2:
        raise ValueError(f"block is {block}; it must be at least 2")


def _check_count(n: int) -> None:
    if n < 1:
        raise ValueError(f"the number of nodes is {n}; it must be at least 1")
