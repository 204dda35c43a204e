"""Propagation of chaos, measured: which distance to the limit falls how fast in the width N, and uniformly in time.

Four different rates go by the name "squared Wasserstein" (docs/propagation-of-chaos.md); here each has a name and an
expected law of its own. Samples of an error are arrays [K, R], times × replicas, one per width. Intervals are
bootstraps over replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from mfpde.compare.rates import RESAMPLES, Rate, fit_rate
from mfpde.compare.transport import gaussian_squared
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw
from mfpde.problem import Pairwise, Problem

Array = NDArray[np.float64]

FITS = 500
"""Resampled Gaussians, each of which costs two matrix roots."""


@dataclass(frozen=True)
class Kind:
    """One way to measure the distance from the limit; ``exponent`` of N, None where the law is no pure power."""

    name: str
    meaning: str
    law: str
    exponent: float | None


def kinds(dimension: int) -> dict[str, Kind]:
    """The distances of networks of N neurons from their limit, by name; D = ``dimension`` parameters that move.

    Sources: 1/N at all times Chen, Ren and Wang (2022), 1/N² of one particle Kook et al. (2024, theorem 4, for weak
    interaction); clouds Fournier and Guillin (2015), Divol (2021) and, recalled, Bobkov and Ledoux (2019).
    """
    line, plane = ("1/N; with Gaussian tails (log log N)/N", -1.0), ("(log N)/N up to another log N", None)
    law, exponent = {1: line, 2: plane}.get(dimension, (f"N^(-2/{dimension})", -2.0 / dimension))
    table = (
        Kind("coupling", "E|θᵢ − θ̄ᵢ|² to a copy with the same start and noise in the limit", "1/N at all times", -1.0),
        Kind("function", "E‖f_N − f‖² over the data", "1/N at all times", -1.0),
        Kind("function_iid", "E‖f̄_N − f‖² of N independent draws from the limit", "iid trace/N, exact", -1.0),
        Kind("empirical", "E W2²(ρ^N, ρ), mostly sampling noise", law, exponent),
        Kind("sliced", "mean W2² of one-dimensional projections of ρ^N and ρ", *line),
        Kind("one_particle", "W2²(law of θ₁, ρ), no sampling noise", "1/N²", -2.0),
    )
    return {kind.name: kind for kind in table}


def rates_over_time(
    widths: ArrayLike, samples: Sequence[ArrayLike], times: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> tuple[Rate | None, ...]:
    """The fit mean ≈ prefactor·N^slope at every one of ``times`` [K]; ``samples`` [K, R] for each of ``widths`` [W].

    None where all samples are exactly zero: synchronous copies at the start. The same replicas are redrawn at all
    times. Raises ConfigError for shapes that disagree, and as :func:`mfpde.compare.rates.fit_rate`.
    """
    sizes, moments, paths = _checked(widths, samples, times, 1)

    def fit(k: int) -> Rate | None:
        now = [path[k] for path in paths]
        return fit_rate(sizes, now, level=level, seed=seed) if any(np.any(values) for values in now) else None

    return tuple(fit(k) for k in range(moments.size))


@dataclass(frozen=True, eq=False)
class NeededReplicas:
    """Replicas for the error of the mean, ``for_mean`` [W], and at every width for the slope, ``for_slope``.

    ``spread`` [W]: the standard deviation of one replica over the mean, in the pilot.
    """

    widths: Array
    spread: Array
    for_mean: NDArray[np.int64]
    for_slope: int


def needed_replicas(
    widths: ArrayLike,
    samples: Sequence[ArrayLike],
    *,
    relative_error: float = 0.05,
    half_width: float = 0.05,
    level: float = 0.95,
) -> NeededReplicas:
    """How many replicas the wanted precision needs, from pilot ``samples`` [R] for each of ``widths`` [W].

    A mean has the relative standard error s/√R for the spread s. The weighted line through log means has the slope
    variance 1/(R S), S = Σ s⁻²(x − x̄)² with x = log N and x̄ its mean under the weights s⁻², and the interval of
    :func:`mfpde.compare.rates.fit_rate` reaches t_{R−1}/√(R S) to either side, t Student's quantile.
    Heavy tails hide from a short pilot: where 208 are needed for the slope (seven widths, gamma noise, s = 1.35), 95
    of 100 pilots of 24 find 124 to 258, of 60 find 153 to 253. Raises ConfigError for one width, or no spread.
    """
    sizes, _, paths = _checked(widths, [np.asarray(values, float)[None] for values in samples], [0.0], 2)
    spread = np.array([path.std(ddof=1) / abs(path.mean()) for path in paths])
    if sizes.size < 2 or not spread.min() > 0.0:
        raise ConfigError("particles.widths", "need two or more of them, and replicas that differ, to plan a slope")
    weights, x = spread**-2.0, np.log(sizes)
    lever = float(weights @ (x - weights @ x / weights.sum()) ** 2)
    count = max(2, int(np.ceil((ndtri(0.5 * (1.0 + level)) / half_width) ** 2 / lever)))
    # Student's quantile asks for a handful more than Gauss's
    while stdtrit(count - 1, 0.5 * (1.0 + level)) > half_width * np.sqrt(count * lever):
        count += 1
    for_mean = np.maximum(np.ceil((spread / relative_error) ** 2), 2.0).astype(np.int64)
    return NeededReplicas(sizes, spread, for_mean, count)


@dataclass(frozen=True)
class Sup:
    """The largest point of a curve: ``value`` that of the means, biased upward, found at ``time`` and ``width``.

    ``corrected``: chosen by one half of the replicas and read from the other, mean over random halves: never above the
    true sup in expectation, equal to it where the curve is flat. ``interval``: the sups of the band's two edges.
    """

    value: float
    corrected: float
    interval: tuple[float, float]
    time: float
    width: float


@dataclass(frozen=True, eq=False)
class Uniformity:
    """N × mean error over time: ``scaled`` and ``sem`` [W, K] for ``widths`` [W] and ``times`` [K].

    ``low`` and ``high`` [W, K]: per width, a band that holds the whole curve with probability ``level``. ``sups``: the
    largest value of each width; ``overall``: that of all widths, from a band that holds all curves at once.
    """

    widths: Array
    times: Array
    scaled: Array
    sem: Array
    low: Array
    high: Array
    sups: tuple[Sup, ...]
    overall: Sup
    level: float


def uniformity(
    widths: ArrayLike, samples: Sequence[ArrayLike], times: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> Uniformity:
    """Whether N·E(error) stays bounded in time: its curve per width, with bands, and its sup over ``times`` [K].

    ``samples`` [K, R] for each of ``widths`` [W]. Bands are simultaneous and studentised: mean − q·sem with q the
    quantile of the largest (resampled mean − mean)/(resampled sem) along the curve, whole replicas resampled. With
    eight replicas they are wide, with two or three infinite. Raises ConfigError for shapes that disagree or R < 2.
    """
    sizes, moments, paths = _checked(widths, samples, times, 2)
    generator = np.random.default_rng(seed)
    curves = [_curve(n * path, generator) for n, path in zip(sizes, paths, strict=True)]
    mean, sem = np.stack([curve.mean for curve in curves]), np.stack([curve.sem for curve in curves])
    bands = [_band(curve.mean, curve.sem, curve.scores, level) for curve in curves]
    joint = _band(mean.ravel(), sem.ravel(), np.concatenate([curve.scores for curve in curves], axis=1), level)

    def sup(rows: slice, band: tuple[Array, Array]) -> Sup:
        width, time = np.unravel_index(np.argmax(mean[rows]), mean[rows].shape)
        first, second = (np.concatenate([curve.halves[k] for curve in curves[rows]], axis=1) for k in (0, 1))
        corrected = np.take_along_axis(second, np.argmax(first, axis=1)[:, None], axis=1).mean()
        edges = float(np.max(band[0])), float(np.max(band[1]))
        return Sup(float(mean[rows].max()), float(corrected), edges, float(moments[time]), float(sizes[rows][width]))

    low, high = (np.stack([band[k] for band in bands]) for k in (0, 1))
    sups = tuple(sup(slice(k, k + 1), band) for k, band in enumerate(bands))
    return Uniformity(sizes, moments, mean, sem, low, high, sups, sup(slice(None), joint), level)


class _Curve(NamedTuple):
    """Mean and standard error [K]; studentised resampled means [RESAMPLES, K]; means over random halves, the same."""

    mean: Array
    sem: Array
    scores: Array
    halves: tuple[Array, Array]


def _curve(path: Array, generator: np.random.Generator) -> _Curve:
    replicas = path.shape[1]
    mean = path.mean(axis=1)
    sem = path.std(axis=1, ddof=1) / np.sqrt(replicas)
    sem = np.where(sem > 1e-12 * np.abs(mean), sem, 0.0)  # replicas that agree to round-off, as at a common start
    centred, counts = path - mean[:, None], _draws(replicas, generator)
    shift = _resampled(centred, counts)
    spread = np.sqrt(np.maximum(_resampled(centred**2, counts) - shift**2, 0.0) / (replicas - 1.0))
    known = spread > 1e-6 * sem  # otherwise one replica was drawn every time, and what is left is cancellation
    scores = np.where(known, shift / np.where(known, spread, 1.0), np.copysign(np.inf, shift))
    first = np.asarray(np.argsort(generator.random(counts.shape), axis=1) < replicas // 2, float)
    halves = _resampled(path, first), _resampled(path, 1.0 - first)
    return _Curve(mean, sem, np.where(sem > 0.0, scores, 0.0), halves)


def _draws(replicas: int, generator: np.random.Generator, size: int = RESAMPLES) -> Array:
    """How often each replica is drawn, [size, R]."""
    return np.asarray(generator.multinomial(replicas, np.full(replicas, 1.0 / replicas), size), float)


def _resampled(values: Array, counts: Array) -> Array:
    """Means [B, K] of values [K, R] under counts [B, R]; in a fixed order, not by threaded linear algebra."""
    return np.asarray(np.einsum("br,kr->bk", counts, values, optimize=False) / counts.sum(axis=1)[:, None])


def _band(mean: Array, sem: Array, scores: Array, level: float) -> tuple[Array, Array]:
    """Edges [K] that hold the whole curve: the lower from the largest score of a resample, the upper from the least."""
    reach = np.quantile(scores.max(axis=1), 0.5 * (1.0 + level), method="higher")
    drop = np.quantile(scores.min(axis=1), 0.5 * (1.0 - level), method="lower")
    scale = np.where(sem > 0.0, sem, 1.0)
    return np.where(sem > 0.0, mean - reach * scale, mean), np.where(sem > 0.0, mean - drop * scale, mean)


class Average(NamedTuple):
    """Mean over replicas of their averages over time, and its standard error."""

    mean: float
    sem: float


def stationary_average(samples: ArrayLike, times: ArrayLike, after: float) -> Average:
    """The average over the stored ``times`` [K] from ``after`` on, of ``samples`` [K, R] at one width.

    Every replica is averaged over time first, so that correlation in time does not enter the error. Raises ConfigError
    if no time is left, or for a single replica.
    """
    _, moments, (path,) = _checked([1.0], [samples], times, 2)
    if not np.any(moments >= after):
        raise ConfigError("after", f"is {after:g}, beyond the last stored time {moments.max():g}")
    each = path[moments >= after].mean(axis=0)
    return Average(float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size)))


class Gain(NamedTuple):
    """``ratio`` [W, K] of the error of independent draws to that of the network, and its interval."""

    ratio: Array
    low: Array
    high: Array


def iid_gain(
    function: Sequence[ArrayLike], function_iid: Sequence[ArrayLike], *, level: float = 0.95, seed: int = 0
) -> Gain:
    """How many times closer to the limit networks are than as many independent neurons, per width and time.

    ``function`` and ``function_iid`` hold [K, R] per width, replica r of both from one start and one noise: they are
    resampled together. At stationarity → iid trace/C_PoC. Raises ConfigError for shapes that disagree, or R < 2.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for own, iid in zip(map(np.asarray, function), map(np.asarray, function_iid), strict=True):
        if own.ndim != 2 or own.shape != iid.shape or own.shape[1] < 2:
            raise ConfigError("samples", f"have the shapes {own.shape} and {iid.shape}; [K, R] is needed, R above 1")
        replicas = own.shape[1]
        counts = _draws(replicas, generator)
        ratios = _resampled(iid, counts) / _resampled(own, counts)
        # moved outward so that few replicas give the width of Student, not of Gauss
        tail = ndtr(np.sqrt(replicas / (replicas - 1.0)) * stdtrit(replicas - 1, 0.5 * (1.0 - level)))
        rows.append((iid.mean(axis=1) / own.mean(axis=1), *np.quantile(ratios, [tail, 1.0 - tail], axis=0)))
    return Gain(*(np.stack([row[k] for row in rows]) for k in range(3)))


@dataclass(frozen=True)
class OneParticle:
    """W2² between the law of one particle and the limit, both Gaussian.

    ``squared``: of the Gaussian fitted to all particles; ``floor``: what as many replicas show on average where the
    laws agree, and ``ceiling`` its quantile; ``corrected`` = squared − floor, with its standard error ``sem``.
    """

    squared: float
    floor: float
    ceiling: float
    corrected: float
    sem: float

    @property
    def resolved(self) -> bool:
        """Whether the distance rises above sampling noise; if not, ``corrected`` says nothing."""
        return self.squared > self.ceiling


def one_particle_gaussian(
    theta: ArrayLike, mean: ArrayLike, covariance: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> OneParticle:
    """W2² of the Gaussian fitted to particles ``theta`` [R, N, p] to the limit N(``mean`` [p], ``covariance`` [p, p]).

    The fit has an error ~ tr(covariance)/(R N), so that the distance ~ 1/N² shows only where R ≫ N; it is measured as
    W2² between fits to resampled replicas and the fit itself. Raises ConfigError for shapes that disagree, or R < 2.
    """
    x, center = np.asarray(theta, float), np.atleast_1d(np.asarray(mean, float))
    limit, p = np.atleast_2d(np.asarray(covariance, float)), center.size
    if x.ndim != 3 or x.shape[0] < 2 or x.shape[2] != p or limit.shape != (p, p):
        raise ConfigError("theta", f"has the shape {x.shape}; [R, N, {p}] is needed with this limit, R above 1")
    x, replicas = x - center, len(x)
    second = np.einsum("rni,rnj->rij", x, x, optimize=False) / x.shape[1]
    moments = np.concatenate([x.mean(axis=1), second.reshape(replicas, -1)], axis=1)

    def gaussian(values: Array) -> tuple[Array, Array]:
        m = values[:p]
        return m, values[p:].reshape(p, p) - np.outer(m, m)

    fit, zero = gaussian(moments.mean(axis=0)), np.zeros(p)
    counts = _draws(replicas, np.random.default_rng(seed), FITS)
    fits = [gaussian(one) for one in _resampled(moments.T, counts)]
    # R replicas resampled show (R − 1)/R of their variance
    noise = np.array([gaussian_squared(*one, *fit) for one in fits]) * replicas / (replicas - 1.0)
    squared, floor = gaussian_squared(*fit, zero, limit), float(noise.mean())
    sem = float(np.std([gaussian_squared(*one, zero, limit) for one in fits], ddof=1))
    return OneParticle(squared, floor, float(np.quantile(noise, level)), squared - floor, sem)


def has_gaussian_law(problem: Problem, law: InitialLaw) -> bool:
    """Whether every particle of a network of any width, started from ``law``, has a Gaussian law for all time.

    In its reduced coordinates, so that none is a radius. True where the joint drift is linear and the start Gaussian:
    pairs and potential quadratic or none; identity activation, square loss and a point a that stays. Not for sgd.
    """
    if isinstance(problem.model, Pairwise):
        linear = problem.model.potential in ("quadratic", "none") and problem.model.interaction in ("quadratic", "none")
        return linear and law.w.law in ("normal", "point")
    still = law.a.law == "point" and not any(c.trained for c in problem.coordinates if c.group == "a")
    start = all(c.kind == "line" and law.group(c.group).law in ("normal", "point") for c in problem.coordinates)
    return problem.model.activation == "identity" and problem.loss == "square" and still and start


def _checked(
    widths: ArrayLike, samples: Sequence[ArrayLike], times: ArrayLike, least: int
) -> tuple[Array, Array, list[Array]]:
    """(widths [W] rising, times [K], samples [K, R] in that order, R at least ``least``)."""
    sizes, moments = np.asarray(widths, float).ravel(), np.asarray(times, float).ravel()
    paths = [np.asarray(values, float) for values in samples]
    if sizes.size != len(paths) or np.unique(sizes).size != max(sizes.size, 1) or not sizes.min() > 0.0:
        raise ConfigError("particles.widths", f"is {sizes.tolist()} for {len(paths)} sets of samples; one for each")
    for path in paths:
        if path.ndim != 2 or path.shape[0] != moments.size:
            raise ConfigError("samples", f"have the shape {path.shape} for {moments.size} times; [K, R] is needed")
        if path.shape[1] < least:
            raise ConfigError("particles.replicas", f"is {path.shape[1]}; at least {least} are needed")
    order = np.argsort(sizes)
    return sizes[order], moments, [paths[k] for k in order]
