"""The bias of the particles' time step, separated from what falls like 1/N.

A mean over networks of width N moved with step dt is value + c/N + b dt^p up to higher orders, p the weak order of the
scheme: b dt^p does not fall with N, and an unseen one ends every line of slope −1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.compare.rates import Extrapolation, extrapolate_in_width
from mfpde.errors import ConfigError, NumericalError
from mfpde.steppers.particles import Scheme

Array = NDArray[np.float64]

WEAK_ORDER: dict[Scheme, int] = {"heun": 2, "euler": 1}
"""What steppers/particles.py states and its tests hold, for additive noise."""


def extrapolate_in_step(
    steps: ArrayLike, samples: Sequence[ArrayLike], order: int, *, paired: bool = False
) -> Extrapolation:
    """The limit dt → 0 of a mean that behaves like value + b dt^p, p = ``order``, with its error over replicas.

    ``samples`` holds for each of ``steps`` [M] an array [replicas, ...]. Two steps give Richardson's
    (h₂ᵖ m₁ − h₁ᵖ m₂)/(h₂ᵖ − h₁ᵖ); more are fitted by weighted least squares. ``paired``: replica r of all steps comes
    from one seed, whose start it shares; its combination is formed first, which is right for any dependence between
    the steps. With dt and 2dt the error is √(4ᵖ + 1)/(2ᵖ − 1) times that of one mean: 2.2 times for Euler's scheme,
    1.4 times for Heun's. Raises ConfigError for equal steps, one that lacks samples, or a single replica.
    """
    powers = _powers(steps, order)
    if np.unique(powers).size != powers.size or powers.size != len(samples):
        raise ConfigError(
            "particles.step", f"gives {np.size(steps)} steps for {len(samples)} sets; one each, no two equal"
        )
    # value + c/n with 1/n = dt^p
    return extrapolate_in_width(1.0 / powers, samples, paired=paired)


@dataclass(frozen=True, eq=False)
class StepBias:
    """The fit value + c/N + b dt^p: ``value``, ``per_width`` c, ``per_step`` b, and their ``covariance`` [3, 3].

    ``chi_square``, the sum of (residual/sem)², is near ``freedom`` where the model holds, mixed terms dt^p/N being
    negligible; None for a table of three entries, which fits in any case.
    """

    value: float
    per_width: float
    per_step: float
    covariance: Array
    chi_square: float | None
    freedom: int
    order: int

    @property
    def sems(self) -> Array:
        """Standard errors [3] of value, c and b."""
        return np.sqrt(np.diag(self.covariance))

    def bias(self, step: float) -> Extrapolation:
        """b dt^p and its standard error: what a run with this step shows at every width."""
        power = step**self.order
        return Extrapolation(np.asarray(self.per_step * power), np.asarray(self.sems[2] * power))


def fit_step_bias(widths: ArrayLike, steps: ArrayLike, samples: Sequence[ArrayLike], order: int) -> StepBias:
    """Weighted least squares of value + c/N + b dt^p, p = ``order``, over a table of runs.

    Entry m has the width ``widths`` [M], the step ``steps`` [M] and independent replicas ``samples`` [R] of the
    quantity: a mean of any kind, or N times an error, whose value is then the constant of the 1/N law. Weights are
    1/sem². Raises ConfigError unless there are two widths and two steps in three or more combinations that tell them
    apart, each with two or more replicas; NumericalError where replicas do not differ.
    """
    sizes, powers = np.asarray(widths, float).ravel(), _powers(steps, order)
    arrays = [np.asarray(values, float).ravel() for values in samples]
    if not (sizes.size == powers.size == len(arrays) and sizes.size > 0 and sizes.min() > 0.0):
        raise ConfigError(
            "particles.widths", f"are {sizes.size} for {powers.size} steps and {len(arrays)} sets of samples"
        )
    if min(values.size for values in arrays) < 2:
        raise ConfigError("particles.replicas", "is 1; a standard error needs at least 2")
    means = np.array([values.mean() for values in arrays])
    sems = np.array([values.std(ddof=1) / np.sqrt(values.size) for values in arrays])
    if not sems.min() > 0.0:
        raise NumericalError("replicas of one width and step are equal; the fit has no weight for them")
    # columns of size one, so that the rank is judged whatever the units of the step
    scale = np.array([1.0, 1.0 / sizes.min(), powers.max()])
    columns = np.stack([np.ones_like(sizes), 1.0 / sizes, powers], axis=1) / scale
    if sizes.size < 3 or np.linalg.matrix_rank(columns, tol=1e-6) < 3:
        raise ConfigError(
            "particles.step", "and widths do not tell 1/N from the step; give two of each, not only changed together"
        )
    whitened, target = columns / sems[:, None], means / sems
    normal = np.linalg.inv(whitened.T @ whitened)
    fit = normal @ (whitened.T @ target)
    freedom = sizes.size - 3
    chi_square = float(np.sum((target - whitened @ fit) ** 2)) if freedom else None
    value, per_width, per_step = (float(v) for v in fit / scale)
    return StepBias(value, per_width, per_step, normal / np.outer(scale, scale), chi_square, freedom, order)


def _powers(steps: ArrayLike, order: int) -> Array:
    values = np.asarray(steps, float).ravel()
    if values.size == 0 or not values.min() > 0.0 or np.unique(values).size < 2:
        raise ConfigError("particles.step", f"is {values.tolist()}; two different positive steps are needed")
    return np.asarray(values**order)
