"""The Desai–Zwanzig model: a double well with attraction to the mean.

V(x) = x⁴/4 − x²/2, interaction (κ/2)(x − x')², noise √(2τ). Stationary laws are
ρ ∝ exp(−(V(x) + (κ/2)(x − m)²)/τ) with m = ∫ xρ; below the critical temperature two of them have m ≠ 0.
Sources: Desai and Zwanzig (1978); Gomes, Kalliadasis, Pavliotis and Yatsyshin (arXiv:1810.06371).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.optimize import brentq

from mfpde.exact.gaussian import Array


@dataclass(frozen=True)
class DesaiZwanzigState:
    """A stationary law: ``mean`` m ≥ 0, ``second_moment`` E x², ``free_energy``, ``log_partition`` log ∫ e^{−(…)/τ}."""

    mean: float
    second_moment: float
    free_energy: float
    log_partition: float


def _gibbs(interaction: float, temperature: float, mean: float) -> tuple[float, float, float]:
    """(E x)/m, E x² and log Z of the Gibbs law at the given mean m ≥ 0, by adaptive quadrature on x > 0.

    The even part of the exponent stays, the odd part becomes a cosh or a sinh, so that all integrands are positive
    and no digits cancel as m → 0, where (E x)/m tends to (κ/τ) E x².
    """
    slope = interaction * mean / temperature
    quadratic = 0.5 * (interaction - 1.0)
    stationary_points = np.roots([1.0, 0.0, interaction - 1.0, -interaction * mean])
    peak = float(np.max(stationary_points.real))

    def exponent(x: float) -> float:
        return (0.25 * x**4 + quadratic * x**2 - interaction * mean * x) / temperature

    bottom = min(exponent(peak), 0.0)
    end = peak + 1.0
    while exponent(end) - bottom < 60.0:
        end += 0.5

    def integral(weight: Callable[[float], float]) -> float:
        breaks = [peak] if 0.0 < peak < end else None
        value, _ = quad(
            lambda x: weight(x) * np.exp(bottom - exponent(x)),
            0.0,
            end,
            points=breaks,
            epsabs=0.0,
            epsrel=2e-13,
            limit=400,
        )
        return float(value)

    def odd(x: float) -> float:
        return x * x * 2.0 if slope == 0.0 else -x * np.expm1(-2.0 * slope * x) / slope

    total = integral(lambda x: 1.0 + np.exp(-2.0 * slope * x))
    ratio = interaction / temperature * integral(odd) / total
    second = integral(lambda x: x * x * (1.0 + np.exp(-2.0 * slope * x))) / total
    log_partition = np.log(total) - bottom - 0.5 * interaction * mean**2 / temperature
    return ratio, second, float(log_partition)


def critical_temperature(interaction: float) -> float:
    """The τ_c with κ E₀[x²] = τ_c, E₀ under exp(−(V + κx²/2)/τ): 0.45694658104446 at κ = 1, 0.26450487655348 at ½."""
    upper = 1.0
    while _gibbs(interaction, upper, 0.0)[0] > 1.0:
        upper *= 2.0
    lower = 0.5 * upper
    while _gibbs(interaction, lower, 0.0)[0] < 1.0:
        lower *= 0.5
    return float(brentq(lambda tau: _gibbs(interaction, tau, 0.0)[0] - 1.0, lower, upper, xtol=1e-15, rtol=1e-14))


def stationary(interaction: float, temperature: float, symmetric: bool = False) -> DesaiZwanzigState:
    """The stationary law with the largest mean: m*(τ) > 0 below τ_c (its mirror image is the other one), else m = 0.

    ``symmetric`` asks for the law with m = 0 also below τ_c. At κ = 1, m* = 0.9410911404347, 0.8514788571765,
    0.7054952732089, 0.4471064266634 for τ = 0.1, 0.2, 0.3, 0.4. F = −τ log Z.
    """
    mean = 0.0
    if not symmetric and _gibbs(interaction, temperature, 0.0)[0] > 1.0:
        upper = 1.0
        while _gibbs(interaction, temperature, upper)[0] > 1.0:
            upper *= 1.5
        mean = float(brentq(lambda m: _gibbs(interaction, temperature, m)[0] - 1.0, 0.0, upper, xtol=1e-15, rtol=1e-14))
    _, second, log_partition = _gibbs(interaction, temperature, mean)
    return DesaiZwanzigState(mean, second, -temperature * log_partition, log_partition)


def density(points: ArrayLike, interaction: float, temperature: float, state: DesaiZwanzigState) -> Array:
    """The stationary density of ``state`` at ``points`` [...]."""
    x = np.asarray(points, float)
    potential = 0.25 * x**4 - 0.5 * x**2 + 0.5 * interaction * (x - state.mean) ** 2
    return np.exp(-potential / temperature - state.log_partition)
