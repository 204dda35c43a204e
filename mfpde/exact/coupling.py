"""The error of synchronous copies in systems with linear drift, exact for every width and time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm

from mfpde.exact.gaussian import Array


def squared_coupling_error(
    time: ArrayLike, mean_rate: float, copy_rate: float, forcing: float, temperature: float, variance0: float
) -> Array:
    """N·E|X − X̄|² of one coordinate at ``time`` [K], where X̄ is the limit's copy with the same start and noise.

    Let e = (1/N) Σ_j X_j − m be the error of the empirical mean and D = X_i − X̄_i. Where

        e' = −mean_rate·e + √(2τ/N) Ẇ,      D' = −copy_rate·D + forcing·e,

    the numbers A = N·E D², B = N·E D e, Z = N·E e² solve, with no remainder in 1/N,

        A' = −2 copy_rate A + 2 forcing B,   B' = −(mean_rate + copy_rate) B + forcing Z,   Z' = −2 mean_rate Z + 2τ,

    from (0, 0, variance0) for an independent start. Integrated by the matrix exponential of the system with a
    constant fourth component that carries 2τ. Derived here.
    """
    generator = np.array(
        [
            [-2.0 * copy_rate, 2.0 * forcing, 0.0, 0.0],
            [0.0, -(mean_rate + copy_rate), forcing, 0.0],
            [0.0, 0.0, -2.0 * mean_rate, 2.0 * temperature],
            [0.0, 0.0, 0.0, 0.0],
        ]
    )
    flows = expm(np.atleast_1d(np.asarray(time, float))[:, None, None] * generator)
    return np.asarray(flows[:, 0, 2] * variance0 + flows[:, 0, 3])


def stationary_squared_coupling_error(mean_rate: float, copy_rate: float, forcing: float, temperature: float) -> float:
    """The limit t → ∞ of :func:`squared_coupling_error`: forcing² τ/(copy_rate·mean_rate·(mean_rate + copy_rate))."""
    return forcing**2 * temperature / (copy_rate * mean_rate * (mean_rate + copy_rate))
