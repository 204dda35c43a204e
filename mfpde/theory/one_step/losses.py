"""Convex losses of the readout, as averages over what a prediction is not sure of.

Given kappa, a prediction that has not seen the sample is omega = A + z B + sqrt(q) xi; training on it with the gain V
moves it to the proximal point u of V l(y, .) at omega and leaves the force f = (u - omega) / V.  The asymptotics need

    E f,   E[z f],   E f^2,   -E df/domega        given kappa.

For the square and the Huber loss f depends on y - omega alone, a Gaussian variable given z, and the average over xi
(and over label noise) is closed.  For the logistic loss y is a sign: z given omega is Gaussian, the average over it
is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.one_step import labels
from mfpde.theory.one_step.averages import trapezoid
from mfpde.theory.one_step.model import SpikedFeatures
from mfpde.theory.one_step.tables import Table

Array = NDArray[np.float64]

# largest and smallest spacing of the rule for omega, in standard deviations
_SPACINGS = (0.2, 0.02)
_FAR = 38.0
_PROXIMAL_STEPS = 100


@dataclass(frozen=True)
class Loss:
    """``square`` (y - yhat)^2 / 2, ``huber`` (linear beyond ``threshold``) or ``logistic`` log(1 + exp(-y yhat))."""

    name: Literal["square", "huber", "logistic"]
    threshold: float = np.inf


SQUARE = Loss("square")


def loss(name: str, threshold: float = 1.0) -> Loss:
    """A loss by name; ``threshold`` matters for huber only.  Raises ConfigError."""
    if name == "huber":
        if not threshold > 0.0:
            raise ConfigError("threshold", f"is {threshold:g}; the Huber loss needs one above 0")
        return Loss("huber", float(threshold))
    if name == "square":
        return SQUARE
    if name == "logistic":
        return Loss("logistic")
    raise ConfigError("loss", f"is {name!r}; allowed are square, huber, logistic")


def check_labels(model: SpikedFeatures, which: Loss) -> None:
    """Raise ConfigError unless the labels of the model are what the loss takes."""
    if which.name == "logistic":
        labels.require_signs(model, "the logistic loss")


@dataclass(frozen=True, eq=False)
class Prediction:
    """A prediction given kappa before it has seen the sample: A, B, the variance q and the gain V, [N] each."""

    mean: Array
    slope: Array
    variance: Array
    gain: Array


@dataclass(frozen=True, eq=False)
class Forces:
    """E f, E[z f], E f^2 and -E df/domega given kappa : [N] each."""

    mean: Array
    along: Array
    square: Array
    stiffness: Array


def forces(table: Table, which: Loss, prediction: Prediction) -> Forces:
    """Averages of the forces of a loss over z, omega and label noise, on the rule for kappa."""
    if which.name != "logistic":
        z, share, mean, spread = _errors(table, prediction)
        shrink = 1.0 + prediction.gain[:, None]
        force, square, stiffness = _clipped_moments(mean, spread, shrink, which.threshold)
        return Forces(*(np.sum(share * part, axis=1) for part in (force, z * force, square, stiffness)))
    omega, share, label_laws = _margins(table, prediction)
    gain = prediction.gain[:, None]
    total = np.zeros((4, *omega.shape))
    for sign, probability, along in label_laws:
        force = expit(-_logistic_proximal(sign * omega, gain))
        curvature = force * (1.0 - force)
        total[0] += probability * sign * force
        total[1] += along * sign * force
        total[2] += probability * force**2
        total[3] += probability * curvature / (1.0 + gain * curvature)
    return Forces(*(total @ share))


def largest_stiffness(which: Loss, prediction: Prediction) -> Array:
    """What -E df/domega cannot exceed, given kappa: k / (1 + k V) with the largest curvature k of the loss : [N]."""
    curvature = 0.25 if which.name == "logistic" else 1.0
    return curvature / (1.0 + curvature * prediction.gain)


def mean_losses(table: Table, which: Loss, prediction: Prediction) -> tuple[float, float]:
    """The mean loss on samples that were trained on, and on fresh ones."""
    if which.name != "logistic":
        _, share, mean, spread = _errors(table, prediction)
        shrinks = (1.0 + prediction.gain[:, None], np.ones((len(mean), 1)))
        parts = [np.sum(share * _huber_mean(mean, spread, shrink, which.threshold), axis=1) for shrink in shrinks]
    else:
        omega, share, label_laws = _margins(table, prediction)
        total = np.zeros((2, *omega.shape))
        for sign, probability, _ in label_laws:
            total[0] += probability * np.logaddexp(0.0, -_logistic_proximal(sign * omega, prediction.gain[:, None]))
            total[1] += probability * np.logaddexp(0.0, -sign * omega)
        parts = list(total @ share)
    return float(table.weights @ parts[0]), float(table.weights @ parts[1])


def _errors(table: Table, prediction: Prediction) -> tuple[Array, Array, Array, Array]:
    """z and its weights, mean and standard deviation of y - omega given z : [N, Z] each, the last [N, 1]."""
    z, share, y = labels.label_rule(table)
    mean = y - prediction.mean[:, None] - prediction.slope[:, None] * z
    return z, share, mean, np.sqrt(np.maximum(prediction.variance + table.model.noise**2, 1e-300))[:, None]


def _clipped_moments(mean: Array, spread: Array, shrink: Array, threshold: float) -> tuple[Array, Array, Array]:
    """E f, E f^2 and P(|e| < threshold shrink) / shrink for e ~ N(mean, spread^2)."""
    inside, first, second, below, above = _truncated(mean, spread, threshold * shrink)
    if np.isinf(threshold):
        return first / shrink, second / shrink**2, inside / shrink
    force = first / shrink + threshold * (above - below)
    return force, second / shrink**2 + threshold**2 * (above + below), inside / shrink


def _huber_mean(mean: Array, spread: Array, shrink: Array, threshold: float) -> Array:
    """Mean Huber loss at the proximal point: (e / shrink)^2 / 2 inside, threshold (|e| - (shrink - 1/2) threshold)."""
    _, _, second, below, above = _truncated(mean, spread, threshold * shrink)
    if np.isinf(threshold):
        return 0.5 * second / shrink**2
    # E|e| outside = (first moment above) - (first moment below), by what the interval leaves of the whole
    cut = threshold * shrink
    density_above = _density((cut - mean) / spread) * spread
    density_below = _density((-cut - mean) / spread) * spread
    outside = mean * (above - below) + density_above + density_below
    return 0.5 * second / shrink**2 + threshold * (outside - (shrink - 0.5) * threshold * (above + below))


def _truncated(mean: Array, spread: Array, cut: Array) -> tuple[Array, Array, Array, Array, Array]:
    """P, E e and E e^2 on |e| < cut, and the probabilities below and above, for e ~ N(mean, spread^2)."""
    if np.isinf(cut).all():
        zero = np.zeros_like(mean)
        return zero + 1.0, mean, mean**2 + spread**2, zero, zero
    low, high = (np.clip((end - mean) / spread, -_FAR, _FAR) for end in (-cut, cut))
    below, above = ndtr(low), ndtr(-high)
    inside = 1.0 - below - above
    slope = _density(low) - _density(high)
    first = mean * inside + spread * slope
    second = mean**2 * inside + 2.0 * mean * spread * slope
    return inside, first, second + spread**2 * (inside + low * _density(low) - high * _density(high)), below, above


def _margins(table: Table, prediction: Prediction) -> tuple[Array, Array, list[tuple[float, Array, Array]]]:
    """omega [N, W], its weights [W], and for every label y = 1, -1: (y, P(y | omega), E[z; y | omega])."""
    spread = np.sqrt(np.maximum(prediction.slope**2 + prediction.variance, 1e-300))[:, None]
    w, share = trapezoid(_omega_spacing(prediction, spread))
    gamma = table.model.layer.alignment
    rho = np.sqrt(max(0.0, 1.0 - gamma**2))
    # z given omega is normal with mean lean w and standard deviation loose
    lean = prediction.slope[:, None] / spread
    loose = np.sqrt(np.maximum(prediction.variance, 0.0))[:, None] / spread
    mean = gamma * table.kappa[:, None] + rho * lean * w
    blur = np.maximum(rho * loose, 1e-12)
    edges = [np.clip((kink - mean) / blur, -_FAR, _FAR) for kink in sorted(table.model.target.kinks)]
    edges = [np.full_like(mean, -_FAR), *edges, np.full_like(mean, _FAR)]
    laws = []
    for sign in (1.0, -1.0):
        probability, drift = np.zeros_like(mean), np.zeros_like(mean)
        for value, low, high in zip(labels.between_kinks(table.model.target), edges[:-1], edges[1:], strict=True):
            if value == sign:
                probability += ndtr(high) - ndtr(low)
                drift += _density(low) - _density(high)
        laws.append((sign, probability, lean * w * probability + loose * drift))
    return prediction.mean[:, None] + spread * w, share, laws


def _omega_spacing(prediction: Prediction, spread: Array) -> float:
    """Fine enough for the pole i pi of the logistic function, and for a label that omega nearly decides."""
    pole = 1.5 / float(np.max(spread))
    blur = 0.5 * float(np.min(np.sqrt(prediction.variance) / np.maximum(np.abs(prediction.slope), 1e-300)))
    return float(np.clip(min(pole, blur), _SPACINGS[1], _SPACINGS[0]))


def _logistic_proximal(margin: Array, gain: Array) -> Array:
    """u = margin + gain expit(-u) : Newton's method kept inside the interval that the sign of the misfit leaves."""
    low, high = margin + np.zeros_like(gain), margin + gain
    u = np.clip(np.zeros_like(low), low, high)
    for _ in range(_PROXIMAL_STEPS):
        pull = expit(-u)
        misfit = u - margin - gain * pull
        low, high = np.where(misfit < 0.0, u, low), np.where(misfit > 0.0, u, high)
        step = misfit / (1.0 + gain * pull * (1.0 - pull))
        following = u - step
        following = np.where((following < low) | (following > high), 0.5 * (low + high), following)
        # the next error is the square of this one
        done = np.max(np.abs(following - u) / (1.0 + np.abs(u))) <= 1e-7
        u = following
        if done:
            return u
    raise NotConverged(f"the proximal point of the logistic loss was not found in {_PROXIMAL_STEPS} steps")


def _density(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
