"""Mean-field Ornstein–Uhlenbeck in D dimensions.

Ψ[ρ](θ) = ½ θᵀAθ + b·θ + (κ/2) ∫ |θ − θ'|² ρ(dθ'), with A symmetric, κ the attraction and τ the temperature.
A Gaussian start stays Gaussian: ṁ = −Am − b, Ċ = −(A + κI)C − C(A + κI) + 2τI. Everything is written in the
eigenbasis of A, where the two equations decouple. Derived here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mfpde.exact.coupling import squared_coupling_error, stationary_squared_coupling_error
from mfpde.exact.gaussian import Array, GaussianPath, GaussianState, entropy_integral


def _relaxation(rate: Array, time: Array) -> Array:
    """∫_0^t e^{−rate·s} ds, with its limit t where the rate vanishes."""
    safe = np.where(rate == 0.0, 1.0, rate)
    return np.where(rate == 0.0, time, -np.expm1(-safe * time) / safe)


def _arrays(stiffness: ArrayLike, tilt: ArrayLike, dimension: int) -> tuple[Array, Array]:
    matrix = np.asarray(stiffness, float)
    matrix = matrix * np.eye(dimension) if matrix.ndim == 0 else matrix
    return matrix, np.broadcast_to(np.asarray(tilt, float), (dimension,))


def free_energy(
    mean: ArrayLike,
    covariance: ArrayLike,
    *,
    stiffness: ArrayLike,
    interaction: float,
    temperature: float,
    tilt: ArrayLike = 0.0,
) -> Array:
    """F = ½ mᵀAm + b·m + ½ tr((A + κI)C) − (τ/2) log det(2πe C) for ``mean`` [..., D], ``covariance`` [..., D, D]."""
    m, c = np.asarray(mean, float), np.asarray(covariance, float)
    matrix, b = _arrays(stiffness, tilt, m.shape[-1])
    energy = 0.5 * np.einsum("...i,ij,...j->...", m, matrix, m) + m @ b
    energy = energy + 0.5 * np.einsum("ij,...ji->...", matrix + interaction * np.eye(m.shape[-1]), c)
    return energy if temperature == 0.0 else energy + temperature * entropy_integral(c)


def path(
    time: ArrayLike,
    mean0: ArrayLike,
    covariance0: ArrayLike,
    *,
    stiffness: ArrayLike,
    interaction: float,
    temperature: float,
    tilt: ArrayLike = 0.0,
) -> GaussianPath:
    """The exact law at ``time`` [K] from N(``mean0`` [D], ``covariance0`` [D, D]).

    ``stiffness`` is A [D, D] symmetric (or a number times the identity; any sign), ``tilt`` b [D], ``interaction`` κ.
    """
    t = np.atleast_1d(np.asarray(time, float))
    m0 = np.atleast_1d(np.asarray(mean0, float))
    c0 = np.asarray(covariance0, float) * (np.eye(m0.size) if np.ndim(covariance0) == 0 else 1.0)
    matrix, b = _arrays(stiffness, tilt, m0.size)
    eigenvalues, basis = np.linalg.eigh(matrix)
    column = t[:, None]
    mean = np.exp(-eigenvalues * column) * (basis.T @ m0) - _relaxation(eigenvalues, column) * (basis.T @ b)
    rates = eigenvalues + interaction
    decay = np.exp(-rates * column)
    covariance = decay[:, :, None] * (basis.T @ c0 @ basis) * decay[:, None, :]
    diagonal = np.arange(m0.size)
    covariance[:, diagonal, diagonal] += 2.0 * temperature * _relaxation(2.0 * rates, column)
    mean, covariance = mean @ basis.T, basis @ covariance @ basis.T
    energy = free_energy(mean, covariance, stiffness=matrix, interaction=interaction, temperature=temperature, tilt=b)
    return GaussianPath(t, mean, covariance, energy)


def stationary(
    *, stiffness: ArrayLike, interaction: float, temperature: float, tilt: ArrayLike = 0.0, dimension: int = 1
) -> GaussianState:
    """The stationary law N(−A⁻¹b, τ(A + κI)⁻¹) and its free energy; A and A + κI must be positive definite."""
    matrix, b = _arrays(stiffness, tilt, np.shape(stiffness)[0] if np.ndim(stiffness) else dimension)
    mean = np.asarray(-np.linalg.solve(matrix, b), float)
    covariance = np.asarray(temperature * np.linalg.inv(matrix + interaction * np.eye(b.size)), float)
    energy = free_energy(mean, covariance, stiffness=matrix, interaction=interaction, temperature=temperature, tilt=b)
    return GaussianState(mean, covariance, float(energy))


def coupling_constant(
    time: ArrayLike, covariance0: ArrayLike, *, stiffness: ArrayLike, interaction: float, temperature: float
) -> Array:
    """N·E|X − X̄|² at ``time`` [K] for synchronous copies of N particles started independently; exact for every N.

    Particles: dX_i = −(AX_i + b) dt − κ(X_i − mean_j X_j) dt + √(2τ) dB_i; copies see the limit's mean instead.
    At (α, κ, τ, v0, t) = (1, 1, ½, ¼, 2) it is 0.079168; equations: mfpde.exact.coupling.
    """
    c0 = np.atleast_2d(np.asarray(covariance0, float))
    matrix, _ = _arrays(stiffness, 0.0, c0.shape[0])
    eigenvalues, basis = np.linalg.eigh(matrix)
    variances = np.einsum("ij,ik,kj->j", basis, c0, basis)
    terms = [
        squared_coupling_error(time, alpha, alpha + interaction, interaction, temperature, variance)
        for alpha, variance in zip(eigenvalues, variances, strict=True)
    ]
    return np.sum(terms, axis=0)


def stationary_coupling_constant(*, stiffness: ArrayLike, interaction: float, temperature: float) -> float:
    """The limit t → ∞ of :func:`coupling_constant`: Σ κ²τ/(α(α + κ)(2α + κ)) over the eigenvalues α of A."""
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.asarray(stiffness, float)))
    return float(
        sum(
            stationary_squared_coupling_error(alpha, alpha + interaction, interaction, temperature)
            for alpha in eigenvalues
        )
    )
