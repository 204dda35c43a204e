"""Square loss and cross-entropy of several outputs: values and slopes in the predictions, any leading shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Array = NDArray[np.float64]

LOSSES = ("square", "cross-entropy")


def loss_value(loss: str, f: Array, y: Array) -> Array:
    """Mean over the P points of l(f, y) : [...], for predictions f [..., P, C] and targets y [P, C].

    "square": l = |f - y|^2 / 2.  "cross-entropy": l = -sum_k y_k log softmax(f)_k, and for C = 1, y = -1 or +1,
    l = log(1 + exp(-y f)).
    """
    if loss == "square":
        return np.asarray(0.5 * np.sum((f - y) ** 2, axis=-1).mean(axis=-1))
    if y.shape[-1] == 1:
        return np.asarray(np.logaddexp(0.0, -y * f)[..., 0].mean(axis=-1))
    return np.asarray(-np.sum(y * log_softmax(f, axis=-1), axis=-1).mean(axis=-1))


def loss_slope(loss: str, f: Array, y: Array) -> Array:
    """dl/df at every point : [..., P, C], without the weight of the point."""
    if loss == "square":
        return np.asarray(f - y)
    if y.shape[-1] == 1:
        return np.asarray(-y * expit(-y * f))
    return np.asarray(softmax(f, axis=-1) - y)
