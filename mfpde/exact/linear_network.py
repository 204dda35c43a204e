"""The linear two-layer network f(x) = ∫ a ⟨w, x⟩ dρ(a, w), both layers trained.

Inputs have second moment Σ, targets are y = ⟨β, x⟩. With M = ∫ a w dρ ∈ R^d and g = Σ(M − β),

    Ψ[ρ](a, w) = a ⟨w, g⟩ + (λ/2)(a² + |w|²),     F[ρ] = ½ (M − β)ᵀΣ(M − β) + (λ/2) tr S + τ ∫ ρ log ρ.

The drift is linear in θ = (a, w) with the matrix λI + H, H = [[0, gᵀ], [g, 0]], so the mean m and the second
moment S close, ṁ = −(H + λ)m and Ṡ = −(H + λ)S − S(H + λ) + 2τI, for any start, and a Gaussian stays Gaussian.
Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from mfpde.errors import NumericalError
from mfpde.exact.gaussian import Array, entropy_integral


@dataclass(frozen=True)
class LinearNetworkPath:
    """Moments of θ = (a, w) in time: ``mean`` [K, 1+d], ``second_moment`` and ``covariance`` [K, 1+d, 1+d].

    ``overlap`` M = E a w [K, d]; ``risk`` ½(M − β)ᵀΣ(M − β) [K]; ``free_energy`` [K] (that of a Gaussian start).
    """

    time: Array
    mean: Array
    second_moment: Array
    covariance: Array
    overlap: Array
    risk: Array
    free_energy: Array


@dataclass(frozen=True)
class LinearNetworkStationary:
    """The stationary Gaussian: mean 0, ``covariance`` τ(λI + H)⁻¹ [1+d, 1+d], ``residual`` g [d], ``overlap`` M [d]."""

    residual: Array
    overlap: Array
    covariance: Array
    risk: float
    free_energy: float


def _data(target: ArrayLike, input_covariance: ArrayLike) -> tuple[Array, Array]:
    beta = np.atleast_1d(np.asarray(target, float))
    sigma = np.asarray(input_covariance, float)
    return beta, sigma * np.eye(beta.size) if sigma.ndim == 0 else sigma


def _coupling_matrix(residual: Array) -> Array:
    matrix = np.zeros((residual.size + 1, residual.size + 1))
    matrix[0, 1:] = matrix[1:, 0] = residual
    return matrix


def path(
    time: ArrayLike,
    mean0: ArrayLike,
    covariance0: ArrayLike,
    *,
    target: ArrayLike,
    weight_decay: float,
    temperature: float,
    input_covariance: ArrayLike = 1.0,
) -> LinearNetworkPath:
    """Moments at ``time`` [K], increasing from 0, from mean ``mean0`` [1+d] and ``covariance0`` [1+d, 1+d].

    ``target`` is β [d], ``input_covariance`` Σ [d, d] or a number. DOP853 at relative tolerance 1e-12. At
    (β, λ, τ) = (1, ½, 0.1) from mean (0.8, 0.5), covariance 0.15·I: M = 0.5784805146 at t = 4.
    Raises NumericalError if the integrator stops early.
    """
    beta, sigma = _data(target, input_covariance)
    t = np.atleast_1d(np.asarray(time, float))
    mean_start, size = np.asarray(mean0, float), beta.size + 1
    second_start = np.asarray(covariance0, float) + np.outer(mean_start, mean_start)

    def derivative(_: float, state: Array) -> Array:
        mean, second = state[:size], state[size:].reshape(size, size)
        drift = _coupling_matrix(sigma @ (second[0, 1:] - beta)) + weight_decay * np.eye(size)
        product = drift @ second
        change = -product - product.T + 2.0 * temperature * np.eye(size)
        return np.concatenate([-drift @ mean, change.ravel()])

    start = np.concatenate([mean_start, second_start.ravel()])
    end = t[-1] if t[-1] > 0.0 else 1.0  # the integrator refuses an empty interval
    solution = solve_ivp(derivative, (0.0, end), start, "DOP853", t_eval=t, rtol=1e-12, atol=1e-14)
    if not solution.success:
        raise NumericalError(f"the moments of the linear network could not be integrated: {solution.message}")
    mean = solution.y[:size].T
    second = solution.y[size:].T.reshape(-1, size, size)
    covariance = second - mean[:, :, None] * mean[:, None, :]
    overlap = second[:, 0, 1:]
    risk = 0.5 * np.einsum("ki,ij,kj->k", overlap - beta, sigma, overlap - beta)
    energy = risk + 0.5 * weight_decay * np.trace(second, axis1=1, axis2=2)
    if temperature > 0.0:
        energy = energy + temperature * entropy_integral(covariance)
    return LinearNetworkPath(t, mean, second, covariance, overlap, risk, energy)


def stationary(
    *, target: ArrayLike, weight_decay: float, temperature: float, input_covariance: ArrayLike = 1.0
) -> LinearNetworkStationary:
    """The unique stationary law for weight decay λ > 0 and temperature τ > 0, to round-off.

    The Gibbs law of g is Gaussian with precision (λI + H)/τ, hence M = −c g with c = τ/(λ² − |g|²), and
    g = −(I + cΣ)⁻¹Σβ. What remains is |g(c)|² = λ² − τ/c in one unknown: the left side falls, the right side
    rises, and |g(c)| ≤ |β|/c brackets the root. In dimension 1 this is (g/Σ + β)(λ² − g²) + τg = 0;
    at (β, λ, τ) = (1, ½, 0.1): g = −0.421041590810, M = 0.578958409190.
    """
    beta, sigma = _data(target, input_covariance)
    identity = np.eye(beta.size)

    def residual(c: float) -> Array:
        return np.asarray(-np.linalg.solve(identity + c * sigma, sigma @ beta), float)

    def excess(c: float) -> float:
        return float(residual(c) @ residual(c)) - weight_decay**2 + temperature / c

    lower = temperature / weight_decay**2
    discriminant = np.sqrt(temperature**2 + 4.0 * weight_decay**2 * float(beta @ beta))
    upper = (temperature + discriminant) / (2.0 * weight_decay**2) * (1.0 + 1e-12)
    c = brentq(excess, lower * (1.0 - 1e-12), upper, xtol=1e-300, rtol=1e-15) if np.any(beta) else lower
    g = residual(c)
    overlap = -c * g
    precision = weight_decay * np.eye(beta.size + 1) + _coupling_matrix(g)
    covariance = np.asarray(temperature * np.linalg.inv(precision), float)
    risk = 0.5 * float((overlap - beta) @ sigma @ (overlap - beta))
    energy = risk + 0.5 * weight_decay * np.trace(covariance) + temperature * entropy_integral(covariance)
    return LinearNetworkStationary(g, overlap, covariance, risk, float(energy))
