"""What a run says about features: change, independence, the certificate of a global minimum, the rate, reliability.

Chen, Yang, Zhao, Gu (2025): features stay linearly independent at every step (theorem 4.5), hence training that
converges has reached a global minimum (corollary 4.6).  Measured here: lambda_min of the second moments, and

    E |V_(t+1) - V_t|^2 = c_t^T Phi^L_t c_t,   hence   sum_mu c_t,mu^2 <= E |V_(t+1) - V_t|^2 / lambda_min(Phi^L_t)
    -dloss/dt >= (2 eta/P) lambda_min(Theta_t) loss    (square loss, to first order in eta),   Theta_t >= Phi^L_t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.deep.space import SAMPLES_PER_COLUMN, LimitSettings
from mfpde.theory.deep.tangent import theta_of
from mfpde.theory.deep.trajectory import Summary, Trajectory

Array = NDArray[np.float64]

# a smallest eigenvalue below this part of the largest is rounding
_SINGULAR = 1e-11
# a loss this many times its smallest so far has jumped up; under mini-batches and momentum it oscillates by itself
_SPIKE, _NOISY_SPIKE = 1.1, 3.0
# jumps below this part of the first loss do not spoil a run
_NEGLIGIBLE = 1e-3


@dataclass(frozen=True, eq=False)
class Certificate:
    """At K times: ``squares`` sum c^2 <= ``bound`` = ``movement`` / ``eigenvalue`` (of Phi^L); NaN where that is 0.

    ``holds``: Phi^L was positive definite at all times, so that standing still would be a global minimum.
    """

    times: NDArray[np.int64]
    movement: Array
    eigenvalue: Array
    bound: Array
    squares: Array
    holds: bool


@dataclass(frozen=True, eq=False)
class KernelBound:
    """At K times: ``lowest`` and ``highest`` eigenvalue of Theta, ``sharpness`` = eta highest / P.

    ``rate`` [K-1]: decay of log loss per step; ``bound`` [K-1] = 2 eta lowest / P; NaN but for the square loss without
    momentum.  ``unstable_from``: first time with a sharpness above 2 (1 + momentum), the edge of stability, or None.
    """

    times: NDArray[np.int64]
    lowest: Array
    highest: Array
    sharpness: Array
    rate: Array
    bound: Array
    unstable_from: int | None


@dataclass(frozen=True, eq=False)
class Reliability:
    """Times from which a loss spike, a step beyond the edge of stability or too few samples spoil a run, or None.

    ``error`` [K]: the largest standard error of f over points; ``precise``: it stays below the precision wanted.
    """

    spike_time: int | None
    unstable_time: int | None
    crowded_time: int | None
    error: Array
    precise: bool


def smallest_eigenvalue(grams: Array) -> Array:
    """lambda_min of symmetric matrices [..., Q, Q] : [...]."""
    return np.asarray(np.linalg.eigvalsh(grams)[..., 0])


def feature_change(pre: Array, cross: Array) -> Array:
    """Mean over points of sqrt(E (h_t - h_0)^2 / E h_0^2) : [..., K, L] from [..., K, L, Q, Q], time 0 first."""
    now, both, start = (np.diagonal(grams, axis1=-2, axis2=-1) for grams in (pre, cross, pre[..., :1, :, :, :]))
    return np.asarray(np.mean(np.sqrt(np.maximum(now - 2.0 * both + start, 0.0) / start), axis=-1))


def space_time_eigenvalue(pre: Array, cross: Array) -> Array:
    """lambda_min of the second moments [2Q, 2Q] of (h_0, h_t) : [..., K, L]; 0 to rounding at time 0."""
    start = np.broadcast_to(pre[..., :1, :, :, :], pre.shape)
    above = np.concatenate([start, cross], axis=-1)
    below = np.concatenate([np.swapaxes(cross, -1, -2), pre], axis=-1)
    return smallest_eigenvalue(np.concatenate([above, below], axis=-2))


def global_minimum(trajectory: Trajectory) -> Certificate:
    """The quantified corollary 4.6 along a run: how far from a global minimum a readout that moves so little can be."""
    values = np.linalg.eigvalsh(trajectory.phi[:, -1])
    lowest = np.asarray(values[:, 0], dtype=np.float64)
    positive = lowest > _SINGULAR * values[:, -1]
    bound = np.full(len(values), np.nan)
    np.divide(trajectory.readout_step, lowest, out=bound, where=positive)
    squares = np.sum(trajectory.coefficients**2, axis=1)
    return Certificate(trajectory.times, trajectory.readout_step, lowest, bound, squares, bool(positive.all()))


def kernel_bound(trajectory: Trajectory, problem: DeepProblem) -> KernelBound | None:
    """The kernel lower bound on the rate and the edge of stability along a full-batch run of one output.

    None for several outputs, mini-batches, or more training points than probes.
    """
    if problem.outputs > 1 or problem.order is not None or trajectory.phi.shape[-1] < problem.samples:
        return None
    values = np.linalg.eigvalsh(theta_of(problem, trajectory.phi, trajectory.back))
    lowest, highest = (np.asarray(values[:, k], dtype=np.float64) for k in (0, -1))
    per_point = problem.rate / problem.samples
    # the curvature of the logistic loss is at most 1/4
    sharpness: Array = per_point * highest * (1.0 if problem.loss == "square" else 0.25)
    over = np.flatnonzero(sharpness > 2.0 * (1.0 + problem.momentum))
    rate, bound = np.full(len(values) - 1, np.nan), np.full(len(values) - 1, np.nan)
    if problem.loss == "square" and not problem.momentum:
        before, after = trajectory.loss[:-1], trajectory.loss[1:]
        known = (before > 0.0) & (after > 0.0)
        rate[known] = np.log(before[known] / after[known]) / np.diff(trajectory.times)[known]
        bound = 2.0 * per_point * lowest[:-1]
    unstable = int(trajectory.times[over[0]]) if len(over) else None
    return KernelBound(trajectory.times, lowest, highest, sharpness, rate, bound, unstable)


def spike(loss: Array, times: NDArray[np.int64], noisy: bool) -> int | None:
    """The first time at which a loss [K] has jumped above its smallest value so far, or None.

    Beyond it differences between replicates and widths are amplified.  ``noisy``: mini-batches or momentum.
    """
    lowest = np.minimum.accumulate(loss)
    jumped = loss > (_NOISY_SPIKE if noisy else _SPIKE) * lowest
    jumped &= loss - lowest > _NEGLIGIBLE * loss[0]
    found = np.flatnonzero(jumped)
    return int(times[found[0]]) if len(found) else None


def reliability(
    summary: Summary, problem: DeepProblem, settings: LimitSettings | None, precision: float = 1e-3
) -> Reliability:
    """What spoils a run, and whether f is known to ``precision``; ``settings`` None: an exact limit."""
    mean = summary.mean
    noisy = problem.order is not None or problem.momentum > 0.0
    bound = kernel_bound(mean, problem)
    unstable = None if bound is None else bound.unstable_from
    if settings is None:
        error = np.zeros(len(mean.times))
        return Reliability(spike(mean.loss, mean.times, noisy), unstable, None, error, True)
    crowded = np.flatnonzero(SAMPLES_PER_COLUMN * mean.columns.max(axis=1) > settings.samples)
    if settings.matching == "none":
        crowded = crowded[:0]
    error = summary.sem.f.max(axis=(1, 2))
    return Reliability(
        spike_time=spike(mean.loss, mean.times, noisy),
        unstable_time=unstable,
        crowded_time=int(mean.times[crowded[0]]) if len(crowded) else None,
        error=error,
        precise=bool(np.all(error <= precision)),
    )
