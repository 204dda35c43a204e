"""Rates of convergence: power laws in the width with intervals over replicas, extrapolation in 1/N, observed orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from mfpde.errors import ConfigError, NumericalError

Array = NDArray[np.float64]

RESAMPLES = 2000


@dataclass(frozen=True)
class Rate:
    """The fit mean ≈ ``prefactor``·N^``slope`` over ``widths`` [K] (increasing) with mean values ``means`` [K].

    ``sems`` [K]: standard errors of the means, None where a width has a single replica. ``ci``: the interval of the
    slope at ``level``, None where the data cannot give one; ``method`` says where it comes from, or why there is none.
    """

    slope: float
    ci: tuple[float, float] | None
    prefactor: float
    widths: Array
    means: Array
    sems: Array | None
    level: float
    method: str


class Extrapolation(NamedTuple):
    """The value at 1/N → 0 and its standard error, shaped like one replica's sample."""

    value: Array
    sem: Array


def _sorted_samples(widths: ArrayLike, samples: Sequence[ArrayLike]) -> tuple[Array, list[Array]]:
    sizes = np.asarray(widths, float).ravel()
    if sizes.size < 2 or sizes.size != len(samples):
        raise ConfigError(
            "particles.widths", f"gives {sizes.size} widths for {len(samples)} sets of samples; two of each are needed"
        )
    if sizes.min() <= 0.0 or np.unique(sizes).size != sizes.size:
        raise ConfigError(
            "particles.widths", f"is {sizes.tolist()}; widths must be positive and differ from each other"
        )
    arrays = [np.atleast_1d(np.asarray(values, float)) for values in samples]
    order = np.argsort(sizes)
    return sizes[order], [arrays[k] for k in order]


def _check_pairing(paired: bool, arrays: list[Array]) -> None:
    if paired and len({values.shape[0] for values in arrays}) > 1:
        raise ConfigError(
            "particles.replicas", f"is {[v.shape[0] for v in arrays]}; coupled widths must have one number of replicas"
        )


def _line(x: Array, y: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted least squares y ≈ intercept + slope·x along the last axis; ``y`` [..., K], ``x`` and ``weights`` [K]."""
    share = weights / weights.sum()
    center = float(share @ x)
    lever = share * (x - center)
    slope = (y @ lever) / float(lever @ (x - center))
    return y @ share - slope * center, slope


def _bootstrap_means(arrays: list[Array], paired: bool, seed: int) -> Array:
    """Means [RESAMPLES, K] over replicas drawn with replacement; the same draw for all widths if ``paired``."""
    generator = np.random.default_rng(seed)
    columns: list[Array] = []
    drawn: NDArray[np.int64] | None = None
    for values in arrays:
        if drawn is None or not paired:
            drawn = generator.integers(values.size, size=(RESAMPLES, values.size))
        columns.append(values[drawn].mean(axis=1))
    return np.stack(columns, axis=-1)


def _percentiles(slopes: Array, replicas: int, level: float) -> tuple[float, float]:
    """Expanded percentile interval: moved outward so that few replicas give the width of Student, not of Gauss."""
    tail = ndtr(np.sqrt(replicas / (replicas - 1.0)) * stdtrit(replicas - 1, 0.5 * (1.0 - level)))
    low, high = np.quantile(slopes, [tail, 1.0 - tail])
    return float(low), float(high)


def _residual_interval(x: Array, y: Array, level: float) -> tuple[tuple[float, float] | None, str]:
    if x.size < 3:
        return None, "no interval: two widths, and too few replicas to resample"
    intercept, slope = _line(x, y, np.ones_like(x))
    residuals = y - intercept - slope * x
    variance = float(residuals @ residuals) / (x.size - 2) / float(np.sum((x - x.mean()) ** 2))
    reach = float(stdtrit(x.size - 2, 0.5 * (1.0 + level))) * np.sqrt(variance)
    return (float(slope - reach), float(slope + reach)), "residuals of the fit, Student's t"


def fit_rate(
    widths: ArrayLike,
    samples: Sequence[ArrayLike],
    *,
    level: float = 0.95,
    paired: bool = False,
    seed: int = 0,
) -> Rate:
    """Fit log(mean over replicas) = log(prefactor) + slope·log N by weighted least squares.

    ``samples`` holds for each of ``widths`` [K] an array [replicas] of a positive error. Weights are (mean/sem)², the
    inverse variance of log mean. The interval is a bootstrap over replicas, 2000 resamples seeded by ``seed``, with
    expanded percentiles (Hesterberg, The American Statistician 69, 2015), which keep their coverage down to eight
    replicas. ``paired``: replica r uses the same noise at every width, so replicas are redrawn jointly. With a single
    replica, or no spread, the fit is unweighted and its interval comes from the residuals of three or more widths.
    Raises ConfigError for unusable widths, NumericalError if a mean is not positive and finite.
    """
    sizes, arrays = _sorted_samples(widths, samples)
    arrays = [values.ravel() for values in arrays]
    _check_pairing(paired, arrays)
    means = np.array([values.mean() for values in arrays])
    if not (np.isfinite(means).all() and means.min() > 0.0):
        raise NumericalError(f"a rate needs positive means at every width; they are {means.tolist()}")
    x, y = np.log(sizes), np.log(means)
    replicas = min(values.size for values in arrays)
    sems = np.array([v.std(ddof=1) / np.sqrt(v.size) for v in arrays]) if replicas > 1 else None
    if sems is None or sems.min() == 0.0:
        intercept, slope = _line(x, y, np.ones_like(x))
        ci, method = _residual_interval(x, y, level)
    else:
        weights = (means / sems) ** 2
        intercept, slope = _line(x, y, weights)
        resampled = _bootstrap_means(arrays, paired, seed)
        # A sample may have either sign (a difference of risks); a resample with a negative mean has no logarithm.
        usable = resampled[(resampled > 0.0).all(axis=-1)]
        if len(usable) >= 0.99 * RESAMPLES:
            _, slopes = _line(x, np.log(usable), weights)
            ci, method = _percentiles(slopes, replicas, level), "bootstrap over replicas, expanded percentiles"
        else:
            ci, method = None, "no interval: more than 1 % of the resampled means are not positive"
    return Rate(float(slope), ci, float(np.exp(intercept)), sizes, means, sems, level, method)


def extrapolate_in_width(widths: ArrayLike, samples: Sequence[ArrayLike], *, paired: bool = False) -> Extrapolation:
    """The limit N → ∞ of a mean that behaves like value + c/N, with its standard error over replicas.

    ``samples`` holds for each of ``widths`` [K] an array [replicas, ...]; trailing axes (snapshots) are treated entry
    by entry. Two widths give Richardson's (N₂ m₂ − N₁ m₁)/(N₂ − N₁); more are fitted by least squares in 1/N with
    weights 1/sem². ``paired``: replica r uses the same noise at every width; its combination is then formed first,
    and the errors of different widths cancel as they should. Raises ConfigError for fewer than two replicas.
    """
    sizes, arrays = _sorted_samples(widths, samples)
    _check_pairing(paired, arrays)
    replicas = min(values.shape[0] for values in arrays)
    if replicas < 2:
        raise ConfigError("particles.replicas", "is 1; a standard error needs at least 2")
    means = np.stack([values.mean(axis=0) for values in arrays])
    sems = np.stack([values.std(axis=0, ddof=1) / np.sqrt(values.shape[0]) for values in arrays])
    known = (sems > 0.0).all(axis=0)
    weights = np.where(known, 1.0 / np.where(known, sems, 1.0) ** 2, 1.0)
    weights = weights / weights.sum(axis=0)
    x = (1.0 / sizes).reshape(-1, *[1] * (means.ndim - 1))
    center = (weights * x).sum(axis=0)
    spread = (weights * (x - center) ** 2).sum(axis=0)
    combination = weights * (1.0 - center * (x - center) / spread)
    value = (combination * means).sum(axis=0)
    if paired:
        combined = sum(c * values for c, values in zip(combination, arrays, strict=True))
        sem = np.asarray(combined).std(axis=0, ddof=1) / np.sqrt(replicas)
    else:
        sem = np.sqrt(((combination * sems) ** 2).sum(axis=0))
    return Extrapolation(np.asarray(value), np.asarray(sem))


def observed_order(h: ArrayLike, errors: ArrayLike) -> Array:
    """Orders log(e_i/e_{i+1})/log(h_i/h_{i+1}) between successive steps ``h`` [K] with ``errors`` [K]; result [K−1]."""
    steps, values = np.asarray(h, float), np.asarray(errors, float)
    if steps.size < 2 or steps.shape != values.shape or steps.min() <= 0.0:
        raise ConfigError("h", f"is {steps.tolist()} for {values.size} errors; two or more positive steps are needed")
    if not (np.isfinite(values).all() and values.min() > 0.0):
        raise NumericalError(f"an observed order needs positive errors; they are {values.tolist()}")
    return np.asarray(np.diff(np.log(values)) / np.diff(np.log(steps)))
