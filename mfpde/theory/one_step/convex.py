"""Readouts with any convex loss: the equations of ``ridge`` with forces in place of residuals.

    readout = argmin sum_mu l(y_mu, a phi(x_mu) / sqrt(p)) + (ridge / 2) |a|^2

With the averages of ``losses`` given kappa: xhat = alpha E[C f], Vhat = alpha E[basis (-df/domega)], qhat = alpha
E[basis f^2] plus the loadings' share; traces, x and q as for the square loss, to which everything reduces for l = (y
- yhat)^2 / 2.

Every sweep linearises the force, f(omega + d) = f - D d with D = -df/domega, and solves the three stages of ``ridge``
with D in place of 1 / (1 + V): for the square loss that is Newton's method, for others close to it.  Source: the
proximal form of the same cavity computation, docs/one-step.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.one_step.loadings import Overlaps, loading_noise, normal_equations, predictor, solve_loadings
from mfpde.theory.one_step.losses import Forces, Loss, Prediction, check_labels, forces, largest_stiffness, mean_losses
from mfpde.theory.one_step.resolvent import feedback, traces
from mfpde.theory.one_step.ridge import check_ratio, coupling
from mfpde.theory.one_step.tables import Table

Array = NDArray[np.float64]

TOLERANCE = 1e-10
MAX_SWEEPS = 200
# residual below which forces are linearised with their own slope, or this share of the largest at least
_NEAR, _LEAST = 0.1, 1e-3
# damping after a residual that grew, and its recovery
_SHORTER, _LONGER, _SHORTEST = 0.5, 1.3, 0.05


@dataclass(frozen=True, eq=False)
class ConvexReadout:
    """The limit of a readout with a convex loss; shapes and names as in ``ridge.Readout``.

    ``test_error`` is the mean squared error on noiseless labels, ``test_loss`` and ``train_loss`` means of the loss;
    ``variance`` [N] is that of a prediction given kappa and z.  ``iterations`` sweeps, ``residual`` the largest
    relative change of the last.
    """

    sample_ratio: float
    ridge: float
    loss: str
    test_error: float
    test_loss: float
    train_loss: float
    overlaps: Overlaps
    traces: Array
    noise_overlaps: Array
    weight_norm: float
    kappa: Array
    learned: Array
    orthogonal_slope: Array
    variance: Array
    iterations: int
    residual: float


def convex_readout(table: Table, sample_ratio: float, ridge: float, which: Loss) -> ConvexReadout:
    """The limit at n / d = ``sample_ratio`` and ``ridge`` > 0.

    Raises ConfigError for values without a meaning, or labels that the loss does not take; NotConverged.
    """
    check_ratio(sample_ratio)
    if not (np.isfinite(ridge) and ridge > 0.0):
        raise ConfigError("ridge", f"is {ridge:g}; with the loss {which.name} it must be above 0")
    check_labels(table.model, which)
    size, pairs = len(table.shares), table.pairs.shape[1]
    alpha = sample_ratio / table.model.width_ratio
    x = np.zeros((4, size))
    gains = traces(table, ridge, np.zeros(pairs + size)).values
    noise = np.zeros(pairs + size)
    noise[pairs:] = table.shares
    label_size = float(np.sqrt(table.weights @ table.target.square))
    residual, sweeps, part = np.inf, 0, 1.0
    while not residual <= TOLERANCE:
        if sweeps == MAX_SWEEPS:
            raise NotConverged(
                f"the overlaps at n/d = {sample_ratio:g}, ridge {ridge:g} still changed by {residual:.1e} in the last "
                f"of {MAX_SWEEPS} sweeps; {TOLERANCE:.0e} is required",
                hint="labels that the mean features separate have no finite readout; elsewhere a larger ridge helps",
            )
        sweeps += 1
        prediction = _prediction(table, x, gains, noise)
        felt = forces(table, which, prediction)
        # far from the end a force linearised with its own slope overshoots where the loss is nearly flat; with the
        # largest slope it never does
        largest = largest_stiffness(which, prediction)
        slope = np.maximum(felt.stiffness, _LEAST * largest) if residual < _NEAR else largest
        new_x, new_gains, new_noise = _sweep(table, alpha, ridge, felt, slope, x, gains, noise)
        before = residual
        moved = _moved(table, new_x, x, label_size)
        # NumPy's maximum passes on what is not a number
        residual = float(np.max([moved, _change(new_gains, gains), _change(new_noise, noise)]))
        part = min(1.0, _LONGER * part) if residual < before else max(_SHORTEST, _SHORTER * part)
        x = x + part * (new_x - x)
        gains = gains + part * (new_gains - gains)
        noise = noise + part * (new_noise - noise)
    return _readout(table, which, sample_ratio, ridge, x, gains, noise, sweeps, residual)


def _readout(
    table: Table,
    which: Loss,
    sample_ratio: float,
    ridge: float,
    x: Array,
    gains: Array,
    noise: Array,
    sweeps: int,
    residual: float,
) -> ConvexReadout:
    """What the fixed point (x, gains, noise) says of errors, losses and the learned function."""
    prediction = _prediction(table, x, gains, noise)
    train_loss, test_loss = mean_losses(table, which, prediction)
    target, mean, slope = table.target, prediction.mean, prediction.slope
    error = target.square - 2.0 * mean * target.mean - 2.0 * slope * target.slope + mean**2 + slope**2
    return ConvexReadout(
        float(sample_ratio),
        float(ridge),
        which.name,
        float(table.weights @ (error + prediction.variance)) - table.model.noise**2,
        test_loss,
        train_loss,
        Overlaps(*x),
        gains,
        noise,
        float(np.sum(noise[table.pairs.shape[1] :])),
        table.kappa,
        mean,
        slope,
        prediction.variance,
        sweeps,
        residual,
    )


def _prediction(table: Table, x: Array, gains: Array, noise: Array) -> Prediction:
    mean, slope = predictor(table, Overlaps(*x))
    variance, gain = ((table.multiplicity * part) @ table.basis for part in (noise, gains))
    return Prediction(mean, slope, variance, gain)


def _sweep(
    table: Table, alpha: float, ridge: float, felt: Forces, slope: Array, x: Array, gains: Array, noise: Array
) -> tuple[Array, Array, Array]:
    """One linearised solve with forces of ``slope`` [N]: overlaps [4, K], traces, noise overlaps [P + K]."""
    pairs = table.pairs.shape[1]
    density = alpha * table.weights * felt.stiffness
    found = traces(table, ridge, table.basis @ density)
    weights = alpha * table.weights
    gram, drive = normal_equations(table, weights * slope, weights * felt.mean, weights * felt.along)
    drive = drive + gram @ x.reshape(-1)
    overlaps, pull = solve_loadings(table, gram, drive, gains[pairs:], float(weights @ slope))
    curvature = coupling(table, density * felt.stiffness)
    source = table.basis @ (alpha * table.weights * felt.square) + loading_noise(table, pull)
    new_gains = gains + feedback(found.response, curvature, found.values - gains)
    new_noise = feedback(found.response, curvature, found.response @ (source - curvature @ noise))
    new_x = np.stack([overlaps.mean, overlaps.spike, overlaps.orthogonal, overlaps.norm])
    return (
        new_x,
        new_gains if new_gains[pairs:].min() > 0.0 else found.values,
        new_noise if new_noise[pairs:].min() > 0.0 else found.response @ source,
    )


def _moved(table: Table, new: Array, old: Array, label_size: float) -> float:
    """Root mean square change of the predictions by the overlaps, relative to that of the labels or predictions.

    The overlaps themselves may wander where groups express the same function.
    """
    change, size = (sum(part**2 for part in predictor(table, Overlaps(*x))) for x in (new - old, new))
    return float(np.sqrt(table.weights @ change)) / max(label_size, float(np.sqrt(table.weights @ size)))


def _change(new: Array, old: Array) -> float:
    size = float(np.max(np.abs(new)))
    return float(np.max(np.abs(new - old))) / size if size > 0.0 else 0.0
