"""The ridge with the smallest test error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from mfpde.errors import ConfigError
from mfpde.theory.one_step.ridge import Readout, ridge_readout
from mfpde.theory.one_step.tables import Table

# ridges in units of the variance of one neuron; two per decade find the basin, Brent's method its bottom
BRACKET = (1e-6, 1e4)
_PER_DECADE = 2
# of log ridge: the error is flat there, and below sqrt(round-off) its values no longer differ
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class OptimalRidge:
    """``readout`` at the best ridge of ``bracket``; ``interior`` is False where the best is an end of the bracket."""

    readout: Readout
    bracket: tuple[float, float]
    interior: bool


def optimal_ridge(table: Table, sample_ratio: float, bracket: tuple[float, float] | None = None) -> OptimalRidge:
    """The minimum of the test error over the ridge, by default between 1e-6 and 1e4 variances of a neuron given kappa.

    The whole bracket is scanned first, so that one of several minima is the lowest one seen. Raises ConfigError unless
    0 < bracket[0] < bracket[1].
    """
    low, high = _default_bracket(table) if bracket is None else bracket
    if not 0.0 < low < high < np.inf:
        raise ConfigError("bracket", f"is ({low:g}, {high:g}); two increasing positive ridges are allowed")
    start, end = float(np.log(low)), float(np.log(high))
    logs = np.linspace(start, end, max(3, round((end - start) / np.log(10.0) * _PER_DECADE) + 1))
    readouts = [ridge_readout(table, sample_ratio, float(np.exp(log))) for log in logs]
    best = int(np.argmin([readout.test_error for readout in readouts]))
    if best in (0, len(logs) - 1):
        return OptimalRidge(readouts[best], (low, high), interior=False)
    found = minimize_scalar(
        lambda log: ridge_readout(table, sample_ratio, float(np.exp(log))).test_error,
        bracket=tuple(logs[best - 1 : best + 2]),
        method="brent",
        options={"xtol": _TOLERANCE},
    )
    return OptimalRidge(ridge_readout(table, sample_ratio, float(np.exp(found.x))), (low, high), interior=True)


def _default_bracket(table: Table) -> tuple[float, float]:
    own = table.bulks[:, None] * table.features.mu1**2 + table.features.mu2_squared
    variance = float(table.shares @ own @ table.weights)
    return BRACKET[0] * variance, BRACKET[1] * variance
