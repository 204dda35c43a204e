"""Finite widths against the limit: the mean over seeds off by b/N, a seed off its mean by s/sqrt(N).

Over seeds f_i of a width the squared bias |mean f - f_limit|^2 - (variance of the mean) is unbiased; the rate is fitted
to the bias along one direction, which the other half of the seeds shows at the narrowest width, so that noise does not
choose its own direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.compare.rates import Rate, fit_rate
from mfpde.errors import ConfigError, NumericalError

Array = NDArray[np.float64]

# a bias is told from the noise of the seeds when it exceeds this many standard errors
_SEEN = 2.0


@dataclass(frozen=True, eq=False)
class WidthLaw:
    """At W widths: rms over times, points and outputs of the bias (noise taken out) and of the deviation of one seed.

    ``bias`` 0 where the noise covers it.  ``bias_rate`` (expected slope -1) and ``fluctuation_rate`` (-1/2) as in
    ``compare.rates``, None where they cannot be fitted; a rate of the bias needs two widths that show one.
    ``limit_error``: rms standard error of the limit, which ``bias_sem`` includes.
    """

    widths: Array
    bias: Array
    bias_sem: Array
    fluctuation: Array
    fluctuation_sem: Array
    bias_rate: Rate | None
    fluctuation_rate: Rate | None
    limit_error: float
    sentence: str


def width_law(limit: Array, limit_sem: Array | None, widths: Sequence[int], runs: Sequence[Array]) -> WidthLaw:
    """Bias and fluctuation of ``runs``, one array [B, K, P, C] per width, against the limit [K, P, C].

    ``limit_sem`` [K, P, C]: its standard error, None if exact.  Raises ConfigError for a width with less than four
    seeds.
    """
    order = np.argsort(widths)
    sizes = np.asarray(widths, dtype=np.float64)[order]
    if any(len(run) < 4 for run in runs):
        raise ConfigError(
            "finite.seeds", f"are {[len(run) for run in runs]}; a width law needs at least 4 at every width"
        )
    off = [np.reshape(runs[k] - limit, (len(runs[k]), -1)) for k in order]
    error = 0.0 if limit_sem is None else float(np.sqrt(np.mean(np.nan_to_num(limit_sem) ** 2)))
    bias, bias_sem, spread, spread_sem = np.array([_bias(values, error) + _fluctuation(values) for values in off]).T
    seen = int(np.count_nonzero(bias > _SEEN * bias_sem))
    bias_rate, fluctuation_rate = _bias_rate(sizes, off) if seen > 1 else None, _fluctuation_rate(sizes, off)
    sentence = "; ".join(
        [_told("bias", bias_rate, "-1", error), _told("fluctuation of a seed", fluctuation_rate, "-1/2", 0.0)]
    )
    return WidthLaw(sizes, bias, bias_sem, spread, spread_sem, bias_rate, fluctuation_rate, error, sentence)


def _bias(off: Array, error: float) -> tuple[float, float]:
    """Rms bias of seeds [B, n] against a limit with the rms ``error``, and its standard error by the delta method."""
    count, size = off.shape
    mean = off.mean(axis=0)
    noise = off - mean
    square = float(mean @ mean - np.sum(noise**2) / (count * (count - 1))) / size - error**2
    # variance of |mean|^2: 4 b^T C b / B + 2 tr C^2 / B^2
    along = float(np.var(noise @ mean, ddof=1))
    small = noise @ noise.T if count < size else noise.T @ noise
    variance = (4.0 * along / count + 2.0 * float(np.sum(small**2)) / (count - 1) ** 2 / count**2) / size**2
    root = float(np.sqrt(max(square, 0.0)))
    sem = float(np.sqrt(variance) / (2.0 * max(root, variance**0.25)))
    return root, float(np.hypot(sem, error))


def _fluctuation(off: Array) -> tuple[float, float]:
    """Rms deviation of a seed from the mean and its standard error."""
    squares = _squares(off)
    root = float(np.sqrt(squares.mean()))
    return root, float(squares.std(ddof=1) / np.sqrt(len(squares))) / (2.0 * root)


def _squares(off: Array) -> Array:
    """Mean-square deviation of every seed, unbiased for the variance."""
    count = len(off)
    return np.asarray(np.mean((off - off.mean(axis=0)) ** 2, axis=1) * (count / (count - 1.0)))


def _bias_rate(sizes: Array, off: list[Array]) -> Rate | None:
    samples = []
    directions = [off[0][half::2].mean(axis=0) for half in range(2)]
    for values in off:
        projected = np.empty(len(values))
        for half, direction in enumerate(directions):
            # seeds 0, 2, .. along what 1, 3, .. show, and the reverse
            projected[1 - half :: 2] = values[1 - half :: 2] @ direction / np.linalg.norm(direction)
        samples.append(projected / np.sqrt(values.shape[1]))
    return _fitted(sizes, samples)


def _fluctuation_rate(sizes: Array, off: list[Array]) -> Rate | None:
    found = _fitted(sizes, [_squares(values) for values in off])
    if found is None:
        return None
    ci = None if found.ci is None else (0.5 * found.ci[0], 0.5 * found.ci[1])
    means = np.sqrt(found.means)
    sems = None if found.sems is None else found.sems / (2.0 * means)
    return replace(
        found, slope=0.5 * found.slope, ci=ci, prefactor=float(np.sqrt(found.prefactor)), means=means, sems=sems
    )


def _fitted(sizes: Array, samples: list[Array]) -> Rate | None:
    try:
        return fit_rate(sizes, samples)
    except (NumericalError, ConfigError):
        return None


def _told(what: str, rate: Rate | None, expected: str, error: float) -> str:
    if rate is None:
        return f"{what}: no rate, the noise of the seeds covers it at all widths but one, or at all"
    interval = "" if rate.ci is None else f", {rate.level:.0%} interval {rate.ci[0]:.2f} to {rate.ci[1]:.2f}"
    known = f", limit known to {error:.1e}" if error else ""
    return f"{what} ~ N^{rate.slope:.2f} (expected {expected}{interval}{known})"
