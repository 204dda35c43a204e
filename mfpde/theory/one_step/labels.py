"""Labels given the spike projection: rules that know the kinks of the target, and targets that are signs."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mfpde.errors import ConfigError
from mfpde.theory.one_step.averages import SPACING, normal_rules, trapezoid
from mfpde.theory.one_step.model import SpikedFeatures
from mfpde.theory.one_step.scalar import ScalarFunction
from mfpde.theory.one_step.tables import Table

Array = NDArray[np.float64]

_FAR = 38.0


class Predictor(Protocol):
    """A prediction A + z B + sqrt(q) xi given kappa: A, B and q on the rule for kappa, [N] each."""

    @property
    def learned(self) -> Array: ...
    @property
    def orthogonal_slope(self) -> Array: ...
    @property
    def variance(self) -> Array: ...


def between_kinks(target: ScalarFunction, place: float = 0.5) -> Array:
    """The target at a ``place`` in (0, 1) of every interval that its kinks leave : [kinks + 1]."""
    ends = np.concatenate([[-_FAR], np.sort(np.asarray(target.kinks, dtype=np.float64)), [_FAR]])
    return target.value(ends[:-1] + place * np.diff(ends))


def require_signs(model: SpikedFeatures, purpose: str) -> None:
    """Raise ConfigError unless the labels are +1 and -1 without noise; ``purpose`` says who needs that."""
    if model.noise != 0.0:
        raise ConfigError("noise", f"is {model.noise:g}; {purpose} takes labels +1 and -1, without noise")
    values = between_kinks(model.target)
    if not (np.abs(values) == 1.0).all() or not np.array_equal(values, between_kinks(model.target, 0.25)):
        raise ConfigError("target", f"is {model.target.name!r}; {purpose} takes labels +1 and -1, as those of sign")


def label_rule(table: Table) -> tuple[Array, Array, Array]:
    """A rule for z split at the kinks of the target: nodes, weights and noiseless labels, [N, Z] each."""
    gamma = table.model.layer.alignment
    rho = float(np.sqrt(max(0.0, 1.0 - gamma**2)))
    target = table.model.target
    along = gamma * table.kappa[:, None]
    if target.kinks and rho > 0.0:
        z, share = normal_rules((np.sort(target.kinks) - along) / rho)
    else:
        # z enters through smooth averages only: twice the spacing of kappa leaves an error of 1e-13
        z, share = (np.broadcast_to(part, (len(along), len(part))) for part in trapezoid(2.0 * SPACING))
    return z, share, target.value(along + rho * z)


def misclassified(table: Table, readout: Predictor) -> float:
    """Probability that the sign of the prediction differs from the label, for labels +1 and -1 (else ConfigError)."""
    require_signs(table.model, "a classification error")
    z, share, y = label_rule(table)
    spread = np.sqrt(np.maximum(readout.variance, 1e-300))[:, None]
    argument = -y * (readout.learned[:, None] + readout.orthogonal_slope[:, None] * z) / spread
    return float(table.weights @ np.sum(share * ndtr(np.clip(argument, -_FAR, _FAR)), axis=1))
