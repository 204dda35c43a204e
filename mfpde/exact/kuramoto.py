"""Noisy oscillators on the circle of length 2π: U(θ, θ') = −K cos(θ − θ'), noise √(2τ).

Stationary laws are ρ ∝ exp((K r/τ) cos(θ − ψ)) with r = I₁(Kr/τ)/I₀(Kr/τ); K_c = 2τ. Near the uniform law the
mode e^{iθ} grows at rate K/2 − τ. The positive-definite twin U = +K cos has the uniform law as its only minimiser
and the mode decays at rate τ + K/2; pass −K for it. The model is reviewed by Acebrón et al. (2005).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import i0e, i1e

from mfpde.errors import NumericalError
from mfpde.exact.gaussian import Array

Modes = NDArray[np.complex128]


def order_parameter(coupling: float, temperature: float) -> float:
    """The largest root of r = I₁(Kr/τ)/I₀(Kr/τ): 0 up to K_c = 2τ; 0.413388513064 at K/K_c = 1.1."""
    strength = coupling / temperature
    if strength <= 2.0:
        return 0.0

    def excess(r: float) -> float:
        return float(i1e(strength * r) / i0e(strength * r)) / r - 1.0

    return float(brentq(excess, 1e-9, 1.0, xtol=1e-15, rtol=1e-14))


def stationary_density(theta: ArrayLike, coupling: float, temperature: float, phase: float = 0.0) -> Array:
    """The von Mises density of the synchronised law (uniform below K_c) at angles ``theta`` [...]."""
    kappa = coupling / temperature * order_parameter(coupling, temperature)
    return np.exp(kappa * (np.cos(np.asarray(theta, float) - phase) - 1.0)) / (2.0 * np.pi * i0e(kappa))


def growth_rate(coupling: float, temperature: float) -> float:
    """Growth rate K/2 − τ of the first Fourier mode about the uniform law (negative: decay)."""
    return 0.5 * coupling - temperature


def modes_of(density: Callable[[Array], Array], count: int = 40) -> Modes:
    """Fourier modes z_k = ∫ e^{ikθ} ρ dθ, k = 1 … ``count``, of a density on the circle, normalised to mass 1.

    By the trapezoidal rule on 8·count points, exact for trigonometric polynomials of degree below 7·count.
    """
    theta = 2.0 * np.pi * np.arange(8 * count) / (8 * count)
    values = np.asarray(density(theta), float)
    return np.asarray(np.fft.ifft(values)[1 : count + 1] / values.mean())


def evolve_modes(time: ArrayLike, modes0: ArrayLike, coupling: float, temperature: float) -> Modes:
    """Modes [K, count] at ``time`` [K], increasing from 0, of the mean-field equation started at ``modes0`` [count].

    ż_k = −k²τ z_k + (kK/2)(z₁ z_{k−1} − z̄₁ z_{k+1}), z_0 = 1, closed by z_{count+1} = 0; DOP853 at relative
    tolerance 1e-12. Forty modes are exact to round-off for |K|/τ up to about 20 from a smooth start.
    Raises NumericalError if the integrator stops early.
    """
    t = np.atleast_1d(np.asarray(time, float))
    start = np.asarray(modes0, complex)
    order = np.arange(1, start.size + 1)
    damping, gain = -temperature * order**2, 0.5 * coupling * order

    def derivative(_: float, z: Modes) -> Modes:
        lower = np.concatenate([[1.0], z[:-1]])
        upper = np.concatenate([z[1:], [0.0]])
        return np.asarray(damping * z + gain * (z[0] * lower - np.conj(z[0]) * upper))

    end = t[-1] if t[-1] > 0.0 else 1.0  # the integrator refuses an empty interval
    solution = solve_ivp(derivative, (0.0, end), start, "DOP853", t_eval=t, rtol=1e-12, atol=1e-14)
    if not solution.success:
        raise NumericalError(f"the Fourier modes could not be integrated: {solution.message}")
    return np.asarray(solution.y.T)


def density_of(modes: ArrayLike, theta: ArrayLike, width: float = 0.0) -> Array:
    """(1/2π)(1 + 2 Re Σ z̄_k e^{ikθ}) at ``theta`` [...] for ``modes`` [count], averaged over cells of ``width``."""
    z = np.asarray(modes, complex)
    order = np.arange(1, z.size + 1)
    averaged = np.conj(z) * np.sinc(order * width / (2.0 * np.pi))
    waves = np.exp(1j * np.asarray(theta, float)[..., None] * order)
    return np.asarray((1.0 + 2.0 * (waves @ averaged).real) / (2.0 * np.pi))


def free_energy(modes: ArrayLike, coupling: float, temperature: float) -> float:
    """F = −(K/2)|z₁|² + τ ∫ ρ log ρ of the law with these ``modes`` [count]; the entropy by the trapezoidal rule.

    The density must be positive at all 32·count points.
    """
    z = np.asarray(modes, complex)
    points = 32 * z.size
    rho = density_of(z, 2.0 * np.pi * np.arange(points) / points)
    entropy = 2.0 * np.pi * float(np.mean(rho * np.log(rho)))
    return -0.5 * coupling * float(abs(z[0]) ** 2) + temperature * entropy
