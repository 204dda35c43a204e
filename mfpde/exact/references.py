"""Numbers of one network problem, computed once to many digits, that every solver must reproduce."""

from __future__ import annotations

from typing import NamedTuple


class ReferenceRow(NamedTuple):
    """A frozen-output network on quadrature nodes, its stationary measure π and its fluctuation constants.

    The problem: φ(x; θ) = tanh(θx) with one weight per neuron, f* = target_scale·tanh(target_gain·x), square loss
    with its ½, confinement (weight_decay/2) θ², and x on the ``nodes``-point Gauss–Hermite rule of N(0, 1). The rule
    belongs to the problem: with 120 nodes the free energy is 0.0039855, because tanh(θx) is steep for large θ.

    With Σ = Cov_π(φ_θ) on L² of the nodes and eigenvalues s_i: ``trace`` = Σ s_i = N·E‖f_N − f‖² of independent
    draws, ``chaos_constant`` = Σ s_i/(1 + s_i/τ) its value for the stationary particle system as N → ∞, and
    ``log_determinant`` = (τ/2) Σ log(1 + s_i/τ) the limit of N·[F^(N)_min/N − F].
    """

    weight_decay: float
    temperature: float
    target_scale: float
    target_gain: float
    nodes: int
    free_energy: float
    risk: float
    first_moment: float
    second_moment: float
    poincare_gap: float
    asymptotic_rate: float
    trace: float
    chaos_constant: float
    log_determinant: float


TANH_NEURON = ReferenceRow(
    weight_decay=0.5,
    temperature=0.2,
    target_scale=0.8,
    target_gain=1.5,
    nodes=60,
    free_energy=0.003986481987,
    risk=0.05597046791,
    first_moment=0.3910396095,
    second_moment=0.4994618868,
    poincare_gap=2.79297,
    asymptotic_rate=1.76035,
    trace=0.1374367569,
    chaos_constant=0.08268814406,
    log_determinant=0.05269252772,
)
"""λ = 0.5, τ = 0.2, computed by the dual Newton iteration on a trapezoidal rule. ``poincare_gap`` is the gap of
−Δ + ∇Ψ/τ·∇ in L²(π); the free-energy gap decays like exp(−``asymptotic_rate``·t)."""
