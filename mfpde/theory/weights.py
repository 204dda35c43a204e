"""The maximal admissible weight w*_k = 1/sup_t m_k(t), its growth, and the margin of homogeneous activations.

A weight w = (w_k) is admissible for a run if the initial measure and the whole path stay bounded in sup_k w_k m_k; w*
is the largest one up to a factor ("the reciprocal parameter-moment-growth boundary").  This is mfpde's reading of
arXiv:2605.24710; the article's text was not available.  Three versions are ordered, w_cert <= w_star <= w_init.

For quadratic confinement and bounded data terms M_k = sup_t m_k(t) grows like c^k E|Z_p|^k, Z_p normal in p dimensions:
order 1/2 in (k!)^order, and type c = sqrt(max(sigma_0^2, tau/lambda)) from a normal start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import gammaln, stdtrit

from mfpde.confinement import AdmissibilityMargin, admissibility_margin
from mfpde.theory.moments import Certificate, MomentPath

__all__ = [
    "AdmissibilityMargin",
    "AdmissibleWeight",
    "admissibility_margin",
    "admissible_weight",
    "gaussian_types",
    "log_gaussian_moments",
    "transient_type",
]

Array = NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 200
# orders 2 .. 7 at least: up to five constants are fitted
FEWEST_ORDERS = 7
# slower terms of log M_k, one fit for each set: log k for a density r^gamma times a normal one, sqrt(k) for shifted
# tails.  The first gives the value, all give the interval; where samples are noisy the last two would only fit noise.
TERMS: tuple[tuple[Callable[[Array], Array], ...], ...] = ((np.log,), (), (np.sqrt,), (np.log, np.sqrt))
NOISY_TERMS = TERMS[:2]
# what bounded data terms leave undetermined at orders up to K: these over sqrt(K) (measured on problems of known order)
ORDER_ALLOWANCE, TYPE_ALLOWANCE = 0.2, 0.15


@dataclass(frozen=True, eq=False)
class AdmissibleWeight:
    """w* of one path for the orders ``k`` [K] = 0 .. ``largest_order``, with what limits and what certifies it.

    ``moments`` [K] M_k = sup_t m_k(t); ``w_star`` = 1/M_k; ``w_init`` = 1/m_k(0) >= w_star; ``w_cert`` <= w_star from
    a-priori bounds, None with ``certificate_reason``; ``c`` [K] = (M_k/E|Z_p|^k)^(1/k), nan at 0.  ``order`` 1/s and
    ``type`` (of order 1/2; None where its interval excludes 1/2) with intervals, None below seven orders.
    """

    k: NDArray[np.int64]
    moments: Array
    w_star: Array
    w_init: Array
    w_cert: Array | None
    c: Array
    order: float | None
    order_interval: Interval | None
    type: float | None
    type_interval: Interval | None
    largest_order: int
    reason: str
    certificate_reason: str


def admissible_weight(path: MomentPath, certificate: Certificate | None = None, seed: int = 0) -> AdmissibleWeight:
    """The weight of a path from its start; ``certificate`` of the same start, to its largest order at least.

    Intervals hold the fits with several kinds of slower terms, over all orders and without the lowest third, plus
    what resampling the replicas moves (``seed``) and a fixed allowance: a finite number of orders cannot exclude
    slower terms still.
    """
    k = np.arange(path.largest_order + 1)
    bounds = path.moments.max(axis=0)
    certified = None
    if certificate is not None and certificate.moments is not None:
        certified = 1.0 / certificate.moments[: len(k)]
    order = order_interval = kind = kind_interval = None
    if len(k) > FEWEST_ORDERS and np.all(bounds > 0.0):
        resampled = _resampled_bounds(path, seed)
        reach = 1.0 / np.sqrt(path.largest_order)
        order, order_interval = _interval(_order, bounds, resampled, path, ORDER_ALLOWANCE * reach)
        if order_interval[0] <= 0.5 <= order_interval[1]:
            logarithm, ends = _interval(_log_type, bounds, resampled, path, TYPE_ALLOWANCE * reach)
            kind, kind_interval = float(np.exp(logarithm)), (float(np.exp(ends[0])), float(np.exp(ends[1])))
    with np.errstate(divide="ignore"):  # neurons that all start and stay at zero admit any weight
        w_star, w_init = 1.0 / bounds, 1.0 / path.moments[0]
    return AdmissibleWeight(
        k=k,
        moments=bounds,
        w_star=w_star,
        w_init=w_init,
        w_cert=certified,
        c=gaussian_types(bounds, path.dimension),
        order=order,
        order_interval=order_interval,
        type=kind,
        type_interval=kind_interval,
        largest_order=path.largest_order,
        reason=path.reason,
        certificate_reason="not asked for" if certificate is None else certificate.reason,
    )


def log_gaussian_moments(k: ArrayLike, dimension: int, order: float = 0.5) -> Array:
    """log E|Z|^k of the density proportional to exp(-|z|^(1/order)) in ``dimension``; order 1/2 has variance 1/2.

    = log Gamma(order (k + p)) - log Gamma(order p).
    """
    orders = np.asarray(k, float)
    return np.asarray(gammaln(order * (orders + dimension)) - gammaln(order * dimension))


def gaussian_types(moments: Array, dimension: int) -> Array:
    """c_k = (m_k/E|Z_p|^k)^(1/k) of moments [K], k = 0 .. K - 1, Z_p standard normal; nan at k = 0."""
    k = np.arange(len(moments), dtype=float)
    reference = 0.5 * k * np.log(2.0) + log_gaussian_moments(k, dimension)
    with np.errstate(divide="ignore"):
        excess = np.log(moments[1:]) - reference[1:]
    return np.concatenate([[np.nan], np.exp(excess / k[1:])])


def transient_type(initial: float, weight_decay: float, temperature: float, times: ArrayLike) -> Array:
    """sqrt(s0^2 e^(-2 lambda t) + (tau/lambda)(1 - e^(-2 lambda t))): the type at ``times`` from a normal start.

    ``initial`` is s0 per coordinate; exact without data and unchanged by a bounded drift.  A learning rate eta
    multiplies lambda and tau, that is, t.
    """
    decay = np.exp(-2.0 * weight_decay * np.asarray(times, float))
    return np.asarray(np.sqrt(initial**2 * decay + temperature / weight_decay * (1.0 - decay)))


def _resampled_bounds(path: MomentPath, seed: int) -> Array | None:
    """sup_t of the means over samples drawn with replacement : [RESAMPLES, K]; None for a single sample."""
    count = path.samples.shape[1]
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    return np.stack([path.samples[:, one].mean(axis=1).max(axis=0) for one in drawn])


def _interval(
    fit: Callable[[Array, Array, Array, int], float],
    bounds: Array,
    resampled: Array | None,
    path: MomentPath,
    allowance: float,
) -> tuple[float, Interval]:
    """(the value of ``fit`` with a logarithm over all orders, the interval), see ``admissible_weight``."""
    k, y = np.arange(2.0, len(bounds)), np.log(bounds[2:])
    values = []
    for start in (0, len(k) // 3):
        for terms in TERMS if resampled is None else NOISY_TERMS:
            if len(k) - start >= len(terms) + 4:
                values.append(fit(k[start:], y[start:], _basis(k[start:], terms), path.dimension))
    reach = allowance
    if resampled is not None:
        count = path.samples.shape[1]
        logs = np.log(resampled[:, 2:])
        spread = float(np.std([fit(k, one, _basis(k, TERMS[0]), path.dimension) for one in logs], ddof=1))
        reach += spread * float(stdtrit(count - 1, 0.5 * (1.0 + LEVEL))) * np.sqrt(count / (count - 1.0))
    return values[0], (min(values) - reach, max(values) + reach)


def _basis(k: Array, terms: tuple[Callable[[Array], Array], ...]) -> Array:
    return np.stack([np.ones_like(k), k, *(term(k) for term in terms)], axis=1)


def _order(k: Array, y: Array, basis: Array, dimension: int) -> float:
    """1/s of y = log M_k = basis + log E|Z|^k, Z of density exp(-|z|^s) in p dimensions."""
    q, _ = np.linalg.qr(basis)

    def misfit(order: Array) -> Array:
        rest = log_gaussian_moments(k, dimension, float(order[0])) - y
        return np.asarray(rest - q @ (q.T @ rest))

    return float(least_squares(misfit, [0.5], bounds=([1e-3], [10.0]), xtol=1e-14, ftol=1e-14, gtol=1e-14).x[0])


def _log_type(k: Array, y: Array, basis: Array, dimension: int) -> float:
    """log c of the same fit with the order held at 1/2; c is per coordinate, exp(-|z|^2) has variance 1/2."""
    rest = y - log_gaussian_moments(k, dimension)
    return float(np.linalg.lstsq(basis, rest, rcond=None)[0][1]) - 0.5 * float(np.log(2.0))
