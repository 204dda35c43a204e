"""Ridge regression on spiked random features in the proportional limit: three explicit stages.

    readout = argmin sum_mu (y_mu - a phi(x_mu) / sqrt(p))^2 + ridge |a|^2,     n / d = sample_ratio.

1. How much the features give: V(kappa) = sum_i multiplicity_i basis_i V_i, with conjugates
   Vhat_i = alpha E[basis_i / (1 + V)], alpha = n / p, and (V1, V2) = traces(Vhat): Newton's method.
2. What is learned: loadings x = (m, t, s, delta) of every group solve a linear system; E[yhat | kappa, z] = A + B z.
3. What is not: R(kappa), the test error given kappa, is linear in the noise overlaps q = T (qhat0 + M q) with T the
   response of the traces and M_ij = alpha E[basis_i basis_j / (1 + V)^2] multiplicity_j; stage 1 has the same Jacobian.

Test error E R - noise^2, training error E R / (1 + V)^2.  A vanishing ridge is taken in units in which it stays finite:
with V = v / scale and ridge = scale l, only 1 / (scale + v) enters, and (scale, l) = (0, 1) below the interpolation
threshold, (1, 0) above.  Source: cavity computation, docs/one-step.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError, NotConverged, NumericalError
from mfpde.theory.one_step.loadings import Overlaps, loading_noise, normal_equations, predictor, solve_loadings
from mfpde.theory.one_step.resolvent import Traces, feedback, traces
from mfpde.theory.one_step.scalar import saturates
from mfpde.theory.one_step.tables import Table

Array = NDArray[np.float64]

TOLERANCE = 1e-12
MAX_STEPS = 200
# where weights / mu2^2 still matter at the end of the rule for kappa, an integral over it is not resolved
_RESOLVED_TAIL = 1e-8


@dataclass(frozen=True, eq=False)
class Readout:
    """The limit of one readout.  P pairs of K groups as in ``Table``, N nodes of kappa.

    ``traces`` [P + K]: V1 by pair, V2 by group (infinite for a vanishing ridge with fewer samples than neurons);
    ``noise_overlaps`` [P + K]: q1, q2, with sum q2 = ``weight_norm`` = |a|^2 / p.  On ``kappa``: ``learned`` A =
    E[yhat | kappa], ``orthogonal_slope`` B of yhat along zeta, ``variance`` of yhat given kappa and z, ``error`` the
    test error.  ``iterations`` and ``residual`` (relative) of stage 1.
    """

    sample_ratio: float
    ridge: float
    test_error: float
    train_error: float
    overlaps: Overlaps
    traces: Array
    noise_overlaps: Array
    weight_norm: float
    kappa: Array
    learned: Array
    orthogonal_slope: Array
    variance: Array
    error: Array
    iterations: int
    residual: float


def ridge_readout(table: Table, sample_ratio: float, ridge: float) -> Readout:
    """The limit at n / d = ``sample_ratio`` and ``ridge`` >= 0.

    Raises ConfigError for values without a meaning or without a limit, NotConverged if stage 1 has not converged,
    NumericalError if an invariant (positive traces, overlaps and errors) is lost.
    """
    check_ratio(sample_ratio)
    if not (np.isfinite(ridge) and ridge >= 0.0):
        raise ConfigError("ridge", f"is {ridge:g}; it must be at least 0")
    alpha = sample_ratio / table.model.width_ratio
    if ridge == 0.0:
        _check_ridgeless(table, alpha)
    scale, floor = (1.0, ridge) if ridge > 0.0 or alpha > 1.0 else (0.0, 1.0)

    found, gain, iterations, residual = _resolve(table, alpha, scale, floor)
    pairs = table.pairs.shape[1]
    sample_weight = 1.0 / (scale + gain)
    density = alpha * table.weights * sample_weight
    gram, drive = normal_equations(table, density, density * table.target.mean, density * table.target.slope)
    overlaps, forces = solve_loadings(table, gram, drive, found.values[pairs:], float(np.sum(density)))
    learned, slope = predictor(table, overlaps)

    target, weights = table.target, table.weights
    base = target.square - 2.0 * learned * target.mean - 2.0 * slope * target.slope + learned**2 + slope**2
    squared = density * sample_weight
    source = table.basis @ (squared * base) + loading_noise(table, forces)
    noise_overlaps = feedback(found.response, coupling(table, squared), found.response @ source)
    variance = (table.multiplicity * noise_overlaps) @ table.basis
    error = base + variance
    _check_invariants(found.values[pairs:], noise_overlaps[pairs:], error)
    gains = found.values / scale if scale > 0.0 else np.where(found.values > 0.0, np.inf, 0.0)
    return Readout(
        float(sample_ratio),
        float(ridge),
        float(weights @ error) - table.model.noise**2,
        float(weights @ (error * (scale * sample_weight) ** 2)),
        overlaps,
        gains,
        noise_overlaps,
        float(np.sum(noise_overlaps[pairs:])),
        table.kappa,
        learned,
        slope,
        variance,
        error - table.model.noise**2,
        iterations,
        residual,
    )


def check_ratio(sample_ratio: float) -> None:
    """Raise ConfigError unless n / d is positive and finite."""
    if not (np.isfinite(sample_ratio) and sample_ratio > 0.0):
        raise ConfigError("sample_ratio", f"is {sample_ratio:g}; the ratio n / d must be above 0")


def coupling(table: Table, density: Array) -> Array:
    """M [P + K, P + K], E[basis_i basis_j density] multiplicity_j, with the weights of the rule in ``density`` [N]."""
    return np.asarray((table.basis * density) @ table.basis.T * table.multiplicity)


def _resolve(table: Table, alpha: float, scale: float, floor: float) -> tuple[Traces, Array, int, float]:
    """Stage 1 in units of ``scale``: traces, v(kappa) [N], iterations and relative residual.

    The map of the traces to themselves is increasing and concave: from above, Newton comes down to the fixed point.
    """
    pairs = table.pairs.shape[1]
    diagonal = table.pairs[0] == table.pairs[1]
    values = np.concatenate([np.where(diagonal, (table.shares * table.bulks)[table.pairs[0]], 0.0), table.shares])
    if floor > 0.0:
        values /= floor
    residual = np.inf
    for iteration in range(1, MAX_STEPS + 1):
        gain = (table.multiplicity * values) @ table.basis
        density = alpha * table.weights / (scale + gain)
        found = traces(table, floor, table.basis @ density)
        gap = found.values - values
        residual = float(np.max(np.abs(gap)) / np.max(np.abs(found.values)))
        if residual <= TOLERANCE:
            return found, gain, iteration, residual
        trial = values + feedback(found.response, coupling(table, density / (scale + gain)), gap)
        inside = trial[pairs:].min() > 0.0 and ((table.multiplicity * trial) @ table.basis).min() >= 0.0
        values = trial if inside else found.values
    raise NotConverged(
        f"the traces at n/d = {alpha * table.model.width_ratio:g}, ridge {floor * scale:g} changed by {residual:.1e} "
        f"in the last of {MAX_STEPS} steps; {TOLERANCE:.0e} is required",
        hint="a larger ridge is better conditioned",
    )


def _check_ridgeless(table: Table, alpha: float) -> None:
    """Raise ConfigError where no ridgeless limit exists, or none that the rule for kappa resolves."""
    model = table.model
    if saturates(model.student) and any(group.spike != 0.0 for group in model.layer.groups):
        raise ConfigError(
            "ridge",
            f"is 0 and {model.student.name} saturates along the spike, where neurons then differ by less than any "
            "power of kappa: the error grows without a useful bound as the ridge falls; it must be above 0",
        )
    if alpha == 1.0:
        raise ConfigError("ridge", "is 0 with as many samples as neurons, where the error diverges; it must be above 0")
    own = table.features.mu2_squared.sum(axis=0)
    if not own.min() > 1e-300 or own.max() <= 1e-12 * float(np.max(table.features.mu1**2)):
        lost = 1.0
    else:
        shape = table.weights / own
        lost = max(float(shape[0]), float(shape[-1])) / float(shape.max())
    if lost > _RESOLVED_TAIL:
        raise ConfigError(
            "ridge",
            f"is 0 and the features of {model.student.name} have no variance of their own on part of the spike: "
            "interpolation has no limit there; it must be above 0",
        )


def _check_invariants(gains: Array, norms: Array, error: Array) -> None:
    """Raise NumericalError unless V2, q2 and R(kappa) are positive."""
    if not (gains.min() > 0.0 and norms.min() >= 0.0 and error.min() >= -1e-12 * max(1.0, float(error.max()))):
        raise NumericalError(
            f"the overlaps lost their sign: V2 = {gains.min():.3g}, q2 = {norms.min():.3g}, R = {error.min():.3g}"
        )
