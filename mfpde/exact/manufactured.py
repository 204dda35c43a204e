"""Manufactured solutions: the external potential under which a chosen moving Gaussian is exact.

The law ρ_M = N(m(t), s(t)² I) is carried by the velocity ṁ + (ṡ/s)(θ − m), a gradient. It solves
∂_t ρ = ∇·(ρ∇(V_M + I)) + τΔρ, where I is the rest of the first variation at ρ_M (interaction and confinement), if

    V_M(θ, t) = −ṁ·(θ − m) − (ṡ/2s)|θ − m|² − τ log ρ_M(θ) − I(θ, t)     up to a function of time.

No source term appears: mass, positivity and the gradient structure are those of the true equation. Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mfpde.exact.gaussian import Array, density


@dataclass(frozen=True)
class Profile:
    """N(``mean`` [D], ``std``² I) at one time, with the time derivatives ``mean_rate`` [D] and ``std_rate``."""

    mean: Array
    mean_rate: Array
    std: float
    std_rate: float


def breathing_profile(
    time: float, dimension: int, *, amplitude: float = 0.5, std: float = 0.6, breath: float = 0.25
) -> Profile:
    """A Gaussian that drifts on a circle-like path and breathes, smooth for all time and different in every direction.

    m_j(t) = amplitude·sin(t + j), s(t) = std·(1 + breath·sin 2t), j = 0 … D − 1.
    """
    phase = time + np.arange(dimension)
    return Profile(
        mean=amplitude * np.sin(phase),
        mean_rate=amplitude * np.cos(phase),
        std=float(std * (1.0 + breath * np.sin(2.0 * time))),
        std_rate=float(2.0 * std * breath * np.cos(2.0 * time)),
    )


def profile_density(points: ArrayLike, profile: Profile) -> Array:
    """The exact solution at ``points`` [..., D]."""
    return density(points, profile.mean, profile.std**2 * np.eye(profile.mean.size))


def external_potential(points: ArrayLike, profile: Profile, temperature: float, interaction: ArrayLike = 0.0) -> Array:
    """V_M at ``points`` [..., D], up to a constant; ``interaction`` [...] is I, everything else in Ψ at the exact law.

    For a network I(θ) = Σ_q c_q ℓ'(f_q, y_q) φ(x_q; θ) + conf(θ) with f_q = ∫ φ(x_q; ·) dρ_M.
    """
    shifted = np.asarray(points, float) - profile.mean
    square = np.einsum("...i,...i->...", shifted, shifted)
    curvature = 0.5 * (temperature / profile.std**2 - profile.std_rate / profile.std)
    return np.asarray(curvature * square - shifted @ profile.mean_rate - np.asarray(interaction, float))
