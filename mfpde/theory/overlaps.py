"""Inner products of ridge functions in L2 of the standard Gaussian law, with biases, and L2 distances of networks.

E[sigma(<v, x> + b) sigma(<v', x> + b')] = sum_k c_k(|v|, b) c_k(|v'|, b') cos^k of the angle (Mehler). The
series ends for polynomials and converges geometrically for entire sigma and like exp(-delta sqrt(k)) for tanh, sigmoid
and softplus. For relu it is too slow, but its second derivative in the cosine is a normal density (Plackett 1954):
with the standardised thresholds beta = b/|v|,
  G(c) = E (Z + beta)+ (Z' + beta')+ = m m' + c Phi(beta) Phi(beta') + int_0^c (c - t) phi_2(beta, beta'; t) dt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import NotConverged
from mfpde.theory.ridge import Atoms, joined, neurons, polar, ridge_coefficients

Array = NDArray[np.float64]

_FIRST_DEGREES, _MOST_DEGREES = 64, 1 << 13
_TAIL = 1e-15
# pi/2 over the distance of the poles of sigma
_STEEPNESS = {"tanh": 1.0, "sigmoid": 0.5, "softplus": 0.5}
_PANELS, _POINTS = 40, 12


@dataclass(frozen=True)
class Distance:
    """||f - f'|| in L2; ``resolution`` is the round-off of the quadratic form that gave it, 0 if it came from nodes."""

    value: float
    resolution: float


def overlaps(activation: str, first: Atoms, second: Atoms, hermite: Sequence[float] = ()) -> Array:
    """E[sigma(<w_s, x> + b_s) sigma(<w'_t, x> + b'_t)] for x ~ N(0, I_d), amplitudes left out: [S, S'].

    Relative accuracy about 1e-14. NotConverged for a tanh, sigmoid or softplus so steep that 8192 degrees do not
    suffice (|w| above 8, sigmoid and softplus 16).
    """
    radius, directions = polar(first)
    others, other_directions = polar(second)
    cosines = np.clip(directions @ other_directions.T, -1.0, 1.0)
    if activation == "relu":
        return _relu(radius, first.b, others, second.b, cosines)
    rows = _series(activation, np.append(radius, others), np.append(first.b, second.b), hermite)
    here, there = rows[: len(radius)], rows[len(radius) :]
    # Horner in the cosine, the highest degree first
    found = np.zeros_like(cosines)
    for k in range(rows.shape[1] - 1, -1, -1):
        found = found * cosines + np.outer(here[:, k], there[:, k])
    return found


def gaussian_distance(activation: str, first: Atoms, second: Atoms, hermite: Sequence[float] = ()) -> Distance:
    """||f - f'|| in L2(N(0, I_d)) from the exact quadratic form of the overlaps; errors as there."""
    difference = joined(first, second)
    gram = overlaps(activation, difference, difference, hermite)
    square = float(difference.a @ gram @ difference.a)
    terms = float(np.abs(difference.a) @ np.abs(gram) @ np.abs(difference.a))
    resolution = np.sqrt(1e-15 * max(len(difference.a), 1) * terms)
    return Distance(float(np.sqrt(max(square, 0.0))), float(resolution))


def node_distance(
    activation: str, first: Atoms, second: Atoms, x: Array, weights: Array, hermite: Sequence[float] = ()
) -> Distance:
    """(sum_q c_q (f - f')(x_q)^2)^(1/2) for nodes x [n, d], weights c [n], where f - f' alone cancels."""
    difference = joined(first, second)
    values = neurons(activation, difference, x, hermite) @ difference.a
    return Distance(float(np.sqrt(np.sum(weights * values**2))), 0.0)


def _series(activation: str, radius: Array, bias: Array, hermite: Sequence[float]) -> Array:
    """Coefficients up to a degree whose last eighth adds less than 1e-15 to the squares: [m, kmax + 1]."""
    # with the distance delta of the nearest pole squares fall like exp(-2 delta sqrt(k)): 1e-15 at k = (17.3 / delta)^2
    needed = int((11.0 * _STEEPNESS.get(activation, 0.0) * float(np.max(radius, initial=0.0))) ** 2)
    kmax = max(_FIRST_DEGREES, len(hermite) - 1, needed + needed // 4)
    while kmax <= _MOST_DEGREES:
        rows = ridge_coefficients(activation, kmax, radius, bias, hermite)
        squares = rows**2
        if np.all(squares[:, kmax - kmax // 8 :].sum(axis=1) <= _TAIL * squares.sum(axis=1)):
            return rows
        kmax *= 2
    raise NotConverged(
        f"the Hermite series of {activation} at |w| = {radius.max():.3g} needs more than {_MOST_DEGREES} degrees",
        hint="compare the networks on nodes of the law",
    )


def _relu(radius: Array, b: Array, others: Array, other_b: Array, cosines: Array) -> Array:
    """E relu relu; neurons with w = 0 are constants, and c_0 c_0' is right for them."""
    first, second = ridge_coefficients("relu", 1, radius, b), ridge_coefficients("relu", 1, others, other_b)
    found = np.outer(first[:, 0], second[:, 0]) + cosines * np.outer(first[:, 1], second[:, 1])
    alive, other_alive = radius > 0.0, others > 0.0
    beta = b[alive] / radius[alive]
    other_beta = other_b[other_alive] / others[other_alive]
    block = np.ix_(alive, other_alive)
    curved = _curvature(beta[:, None], other_beta[None, :], cosines[block])
    found[block] += np.outer(radius[alive], others[other_alive]) * curved
    return found


def _curvature(beta: Array, other: Array, cosines: Array) -> Array:
    """int_0^c (c - t) phi_2(beta, beta'; t) dt with t = sin(angle), on panels that halve towards the end.

    There, for |c| near 1, the density falls within |beta -+ beta'| of the end.
    """
    end = np.arcsin(cosines)
    sign = np.where(end < 0.0, -1.0, 1.0)
    apart, product = (beta - sign * other) ** 2, sign * beta * other
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    found = np.zeros(np.broadcast_shapes(beta.shape, other.shape))
    for panel in range(_PANELS):
        near, far = 2.0**-panel, 2.0 ** -(panel + 1) if panel < _PANELS - 1 else 0.0
        for point, weight in zip(points, weights, strict=True):
            angle = end * (1.0 - 0.5 * (near + far) - 0.5 * (near - far) * point)
            sine, cosine = np.sin(angle), np.cos(angle)
            # (beta^2 + beta'^2 - 2 t beta beta') / (2 (1 - t^2)) without the cancellation at t = +-1
            exponent = apart / (2.0 * np.maximum(cosine**2, 1e-40)) + product / (1.0 + np.abs(sine))
            found += 0.5 * weight * (near - far) * end * (cosines - sine) * np.exp(-exponent) / (2.0 * np.pi)
    return found
