"""Readouts of a finite number of features: ridge regression in closed form, other convex losses by Newton's method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from mfpde.errors import NotConverged
from mfpde.theory.one_step.losses import Loss

Array = NDArray[np.float64]

MAX_STEPS = 100
# of the squared Newton decrement against the objective
_TOLERANCE = 1e-16


def fit_ridge(features: Array, labels: Array, ridges: Array) -> Array:
    """argmin |y - F a|^2 + ridge |a|^2 for every ridge : [L, p]; ``features`` F [n, p], already over sqrt(p)."""
    n, p = features.shape
    few = n < p
    gram = features @ features.T if few else features.T @ features
    right = labels if few else features.T @ labels
    readouts = []
    for ridge in ridges:
        shifted = gram + ridge * np.eye(len(gram))
        solved = cho_solve(cho_factor(shifted, overwrite_a=True), right)
        readouts.append(features.T @ solved if few else solved)
    return np.stack(readouts)


def fit_convex(features: Array, labels: Array, ridges: Array, which: Loss) -> Array:
    """argmin sum l(y, F a) + (ridge / 2) |a|^2 for every ridge > 0 : [L, p].  Raises NotConverged."""
    return np.stack([_newton(features, labels, float(ridge), which) for ridge in ridges])


def _newton(features: Array, labels: Array, ridge: float, which: Loss) -> Array:
    p = features.shape[1]
    readout = np.zeros(p)
    value, slope, curvature = loss_terms(which, labels, np.zeros(len(labels)))
    objective = float(value.sum())
    for _ in range(MAX_STEPS):
        gradient = features.T @ slope + ridge * readout
        hessian = (features.T * curvature) @ features
        hessian[np.diag_indices(p)] += ridge
        direction = -cho_solve(cho_factor(hessian, overwrite_a=True), gradient)
        decrement = -float(gradient @ direction)
        step = 1.0
        while True:
            trial = readout + step * direction
            value, slope, curvature = loss_terms(which, labels, features @ trial)
            reached = float(value.sum()) + 0.5 * ridge * float(trial @ trial)
            if reached <= objective - 1e-4 * step * decrement or step < 1e-8:
                break
            step *= 0.5
        readout, objective = trial, reached
        if decrement <= _TOLERANCE * max(objective, 1e-300):
            return readout
    raise NotConverged(f"the readout with the loss {which.name} was not found in {MAX_STEPS} Newton steps")


def loss_terms(which: Loss, labels: Array, predictions: Array) -> tuple[Array, Array, Array]:
    """l, dl/dyhat and d^2l/dyhat^2 of every sample."""
    if which.name == "logistic":
        margin = labels * predictions
        wrong = expit(-margin)
        return np.logaddexp(0.0, -margin), -labels * wrong, wrong * (1.0 - wrong)
    error = predictions - labels
    clipped = np.clip(error, -which.threshold, which.threshold)
    inside = (np.abs(error) < which.threshold).astype(np.float64)
    return clipped * (error - 0.5 * clipped), clipped, inside
