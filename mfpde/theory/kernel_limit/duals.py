"""E sigma(u) sigma(v) and E sigma'(u) sigma'(v) for (u, v) jointly Gaussian: what weights see of two inputs.

An input x enters a neuron <w, x> + b with w ~ N(m, s^2 I), b ~ N(m_b, s_b^2) as the vector (s x, s_b) with the offset
<m, x> + m_b: a ridge function of a standard Gaussian, ``ridge.Atoms`` with inputs in the place of weights.

Without offsets, k = <(s x, s_b), (s z, s_b)> and phi the angle between the two:
  relu   |.||.'| (sin phi + (pi - phi) cos phi)/(2 pi)              (pi - phi)/(2 pi)             (Cho, Saul 2009)
  erf    (2/pi) arcsin(k / sqrt((1 + k_xx)(1 + k_zz)))              (2/pi)/sqrt((1 + k_xx)(1 + k_zz) - k^2)
                                                                                                  (Williams 1998)
Every other case is a series in the cosine (``overlaps``, whose coefficients are closed or one-dimensional averages),
but for relu with offsets, where E sigma' sigma' is the normal distribution of a quadrant by Owen's function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, owens_t

from mfpde.errors import NotConverged
from mfpde.theory.overlaps import overlaps
from mfpde.theory.ridge import Atoms, polar, ridge_coefficients

Array = NDArray[np.float64]

CLOSED = ("relu", "erf")
_FIRST_DEGREES, _MOST_DEGREES = 64, 1 << 13
_TAIL = 1e-15
# stands for an offset of 0 in Owen's formula, whose limits it gives
_TINY = 1e-300


class Duals(NamedTuple):
    """``values`` E sigma(u_i) sigma(v_j) and ``slopes`` E sigma'(u_i) sigma'(v_j) : [n, m]."""

    values: Array
    slopes: Array


def duals(activation: str, first: Atoms, second: Atoms, hermite: Sequence[float] = ()) -> Duals:
    """Both averages of every pair of ridge functions: n of ``first``, m of ``second``, amplitudes left out.

    Relative accuracy about 1e-14.  NotConverged for a tanh, sigmoid or softplus so steep that its series needs more
    than 8192 degrees.
    """
    centred = not (first.b.any() or second.b.any())
    if activation == "relu" and centred:
        return _relu(first, second)
    if activation == "erf" and centred:
        return _erf(first, second)
    values = overlaps(activation, first, second, hermite)
    if activation == "relu":
        return Duals(values, _quadrants(first, second))
    return Duals(values, _slope_series(activation, first, second, hermite))


def angles(first: Array, second: Array) -> Array:
    """Angles between directions [n, d] and [m, d], accurate near 0 and pi (Kahan): [n, m]."""
    found = np.empty((len(first), len(second)))
    for i, one in enumerate(first):
        apart, along = np.linalg.norm(one - second, axis=1), np.linalg.norm(one + second, axis=1)
        found[i] = 2.0 * np.arctan2(apart, along)
    return found


def _relu(first: Atoms, second: Atoms) -> Duals:
    radius, directions = polar(first)
    others, other_directions = polar(second)
    phi = angles(directions, other_directions)
    values = np.outer(radius, others) * (np.sin(phi) + (np.pi - phi) * np.cos(phi)) / (2.0 * np.pi)
    # relu'(0) = 0: a neuron whose pre-activation vanishes has no slope
    alive = np.outer(radius > 0.0, others > 0.0)
    return Duals(values, np.where(alive, (np.pi - phi) / (2.0 * np.pi), 0.0))


def _erf(first: Atoms, second: Atoms) -> Duals:
    k = first.w @ second.w.T
    product = np.outer(1.0 + np.sum(first.w**2, axis=1), 1.0 + np.sum(second.w**2, axis=1))
    return Duals(2.0 / np.pi * np.arcsin(k / np.sqrt(product)), 2.0 / np.pi / np.sqrt(product - k**2))


def _slope_series(activation: str, first: Atoms, second: Atoms, hermite: Sequence[float]) -> Array:
    """sum_k s_k(|u|, b) s_k(|v|, b') cos^k by Horner; s_k the Hermite coefficients of sigma'."""
    radius, directions = polar(first)
    others, other_directions = polar(second)
    cosines = np.clip(directions @ other_directions.T, -1.0, 1.0)
    rows = _slope_rows(activation, np.append(radius, others), np.append(first.b, second.b), hermite)
    here, there = rows[: len(radius)], rows[len(radius) :]
    found = np.zeros_like(cosines)
    for k in range(rows.shape[1] - 1, -1, -1):
        found = found * cosines + np.outer(here[:, k], there[:, k])
    return found


def _slope_rows(activation: str, radius: Array, bias: Array, hermite: Sequence[float]) -> Array:
    """Coefficients up to a degree whose last eighth adds less than 1e-15 to the squares: [n + m, kmax + 1]."""
    kmax = max(_FIRST_DEGREES, len(hermite) - 1)
    while kmax <= _MOST_DEGREES:
        rows = ridge_coefficients(activation, kmax, radius, bias, hermite, derivative=True)
        squares = rows**2
        if np.all(squares[:, kmax - kmax // 8 :].sum(axis=1) <= _TAIL * squares.sum(axis=1)):
            return rows
        kmax *= 2
    raise NotConverged(
        f"the Hermite series of the derivative of {activation} at |w| = {radius.max():.3g} needs more than "
        f"{_MOST_DEGREES} degrees",
        hint="use smaller initial weights, or standardised inputs",
    )


def _quadrants(first: Atoms, second: Atoms) -> Array:
    """P(u > 0, v > 0) with thresholds h = b/|u|, k = b'/|v| (Owen 1956), correlations away from the ends exact.

    P = (Phi(h) + Phi(k))/2 - T(h, (k - c h)/(h s)) - T(k, (h - c k)/(k s)) - (1/2 where h k < 0),  s = sqrt(1 - c^2).
    """
    radius, directions = polar(first)
    others, other_directions = polar(second)
    phi = angles(directions, other_directions)
    cosines, sines = np.cos(phi), np.maximum(np.sin(phi), _TINY)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        h = np.where(first.b == 0.0, _TINY, first.b / radius)[:, None]
        k = np.where(second.b == 0.0, _TINY, second.b / others)[None, :]
        half = np.where((h < 0.0) != (k < 0.0), 0.5, 0.0)
        one, two = (k - cosines * h) / (h * sines), (h - cosines * k) / (k * sines)
        found = 0.5 * (ndtr(h) + ndtr(k)) - owens_t(h, one) - owens_t(k, two) - half
    # a constant: on or off for sure, and of slope 0 at the kink
    dead = ((radius == 0.0) & (first.b <= 0.0))[:, None] | ((others == 0.0) & (second.b <= 0.0))[None, :]
    sure_one, sure_two = ((radius == 0.0) & (first.b > 0.0))[:, None], ((others == 0.0) & (second.b > 0.0))[None, :]
    found = np.where(sure_one, ndtr(k), np.where(sure_two, ndtr(h), found))
    found = np.where(sure_one & sure_two, 1.0, found)
    return np.where(dead, 0.0, np.clip(found, 0.0, 1.0))
