"""N particles with quadratic confinement and quadratic pairs at stationarity: every marginal in closed form.

The Gaussian example of Kook, Zhang, Chewi, Erdogdu and Li (COLT 2024, appendix C): V = ½ xᵀAx,
W = (λ/2)|x|² between pairs with the coupling c per pair,

    dx_i = −A x_i dt − c Σ_j (x_i − x_j) dt + √(2τ) dB_i,      c = λ/(N − 1) or λ/N,

in their notation τ = σ²/2. Its stationary law is N(0, τ(I_N ⊗ A + c C ⊗ I)⁻¹) with C = N I − J (J all ones), and that
of the limit π = N(0, τ(A + λI)⁻¹). C vanishes on the mean of the particles and is N on what has mean zero, so that

    covariance = τ [ J/N ⊗ A⁻¹ + (I − J/N) ⊗ (A + cN I)⁻¹ ] :

one block on the diagonal, one off it. λ < 0 (repulsion; the linear neuron) is allowed while both rates are positive.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mfpde.errors import ConfigError
from mfpde.exact.gaussian import Array

Pairs = Literal["others", "all"]
"""What λ is shared among: "others", λ/(N − 1) as in the paper; "all", λ/N as for the particles of mfpde."""

# below this size the power series of x − log(1 + x) is used, twelve terms reaching round-off
SERIES = 0.3


class Blocks(NamedTuple):
    """Covariances [D, D] of one particle and between two particles of N."""

    diagonal: Array
    off_diagonal: Array


def blocks(width: int, *, stiffness: ArrayLike, interaction: float, temperature: float, pairs: Pairs = "all") -> Blocks:
    """The two blocks of the stationary covariance of N = ``width`` particles.

    ``stiffness`` is A [D, D] symmetric (or a number, D = 1), ``interaction`` λ. Off the diagonal stands
    (τ/N)(A⁻¹ − (A + cN)⁻¹) = τc A⁻¹(A + cN)⁻¹, on it τ(A + cN)⁻¹ + the same.
    Raises ConfigError unless A, A + λI and A + cN I are positive definite.
    """
    rates, basis = np.linalg.eigh(np.atleast_2d(np.asarray(stiffness, float)))
    share = _share(np.asarray(width), interaction, pairs)
    within = _rates(rates, interaction, share * width)
    between = temperature * share / (rates * within)
    off_diagonal = (basis * between) @ basis.T
    return Blocks((basis * (temperature / within)) @ basis.T + off_diagonal, off_diagonal)


def covariance(
    count: int, width: int, *, stiffness: ArrayLike, interaction: float, temperature: float, pairs: Pairs = "all"
) -> Array:
    """Stationary covariance [kD, kD] of k = ``count`` among N = ``width`` particles, particle by particle."""
    one, two = blocks(width, stiffness=stiffness, interaction=interaction, temperature=temperature, pairs=pairs)
    return np.kron(np.eye(count), one - two) + np.kron(np.ones((count, count)), two)


def relative_entropy(
    count: ArrayLike, width: ArrayLike, *, stiffness: ArrayLike, interaction: float, pairs: Pairs = "all"
) -> Array:
    """KL(μ^{1:k} ‖ π^{⊗k}) of k = ``count`` among N = ``width`` particles, arrays that broadcast; ~ k²/N².

    Relative to π the covariance of k particles has, for every eigenvalue a of A, k − 1 times the eigenvalue 1 + δ₁
    and once 1 + δ₂, and KL = ½ Σ_a [(k − 1) h(δ₁) + h(δ₂)] with h(δ) = δ − log(1 + δ). With s = 1 for "others" and 0
    for "all",

        δ₁ = −s c/(a + cN),      δ₂ = c [k(a + λ)/a − s]/(a + cN),

    whose difference of large terms has been taken on paper: exact to round-off however small. The temperature does
    not enter. Raises ConfigError as :func:`blocks`, and unless 1 ≤ k ≤ N.
    """
    k, first, second, _ = _excess(count, width, stiffness, interaction, pairs)
    return np.asarray(0.5 * np.sum((k - 1.0) * _without_logarithm(first) + _without_logarithm(second), axis=-1))


def squared_distance(
    count: ArrayLike,
    width: ArrayLike,
    *,
    stiffness: ArrayLike,
    interaction: float,
    temperature: float,
    pairs: Pairs = "all",
) -> Array:
    """W2²(μ^{1:k}, π^{⊗k}) of k = ``count`` among N = ``width`` particles, arrays that broadcast.

    One particle, k = 1: O(1/N²). All of them, k = N, divided by N: O(1/N), the squared Wasserstein distance of the
    whole law per particle. The covariances commute: Σ_a τ/(a + λ) [(k − 1) q(δ₁)² + q(δ₂)²] with
    q(δ) = √(1 + δ) − 1 and δ as in :func:`relative_entropy`, whose errors it raises.
    """
    k, first, second, variance = _excess(count, width, stiffness, interaction, pairs)
    squares = (k - 1.0) * _root_excess(first) ** 2 + _root_excess(second) ** 2
    return np.asarray(temperature * np.sum(variance * squares, axis=-1))


def _share(width: Array, interaction: float, pairs: Pairs) -> Array:
    """The coupling c of one pair."""
    if np.any(width < (2 if pairs == "others" else 1)):
        raise ConfigError("particles.widths", f"holds {int(np.min(width))}; a pair needs two particles")
    return np.asarray(interaction / (width - 1.0 if pairs == "others" else width))


def _rates(rates: Array, interaction: float, total: Array) -> Array:
    """a + cN of what has mean zero, checked along with the rates a of the mean and a + λ of the limit."""
    within = np.asarray(rates + total)
    lowest = min(float(np.min(rates)), float(np.min(within)), float(np.min(rates)) + interaction)
    if not lowest > 0.0:
        raise ConfigError(
            "pairwise.strength", f"is {interaction:g}; a rate of the particles is then {lowest:g}, it must be above 0"
        )
    return within


def _excess(
    count: ArrayLike, width: ArrayLike, stiffness: ArrayLike, interaction: float, pairs: Pairs
) -> tuple[Array, Array, Array, Array]:
    """(k [..., 1], δ₁ [..., D], δ₂ [..., D], 1/(a + λ) [D])."""
    k, n = np.broadcast_arrays(np.asarray(count, float)[..., None], np.asarray(width, float)[..., None])
    if np.any(k < 1.0) or np.any(k > n):
        raise ConfigError("count", f"reaches from {np.min(k):g} to {np.max(k):g}; it must lie between 1 and the width")
    rates = np.linalg.eigvalsh(np.atleast_2d(np.asarray(stiffness, float)))
    share = _share(n, interaction, pairs)
    within = _rates(rates, interaction, share * n)
    if pairs == "others":
        return k, -share / within, share * (k - 1.0 + k * interaction / rates) / within, 1.0 / (rates + interaction)
    return k, np.zeros_like(within), share * k / rates, 1.0 / (rates + interaction)


def _without_logarithm(x: Array) -> Array:
    """x − log(1 + x): with y = x/(2 + x), log(1 + x) = 2 artanh y, it is xy − 2(y³/3 + y⁵/5 + …) near zero."""
    small = np.abs(x) < SERIES
    near = np.where(small, x, 0.0)
    y = near / (2.0 + near)
    tail = np.zeros_like(y)
    for power in range(25, 1, -2):
        tail = tail * y * y + 1.0 / power
    far = np.where(small, 1.0, x)
    return np.asarray(np.where(small, near * y - 2.0 * y**3 * tail, far - np.log1p(far)))


def _root_excess(x: Array) -> Array:
    return np.asarray(x / (1.0 + np.sqrt(1.0 + x)))
