"""Gaussian averages of scalar functions that may have kinks, and the rule for the spike projection kappa ~ N(0, 1).

Smooth integrands take the trapezoidal rule on [-10, 10], whose error falls exponentially with the spacing;
Gauss-Hermite converges only algebraically here, because tanh has poles near the real axis and mu_2(kappa) vanishes in
its tails. Integrands with kinks take Gauss-Legendre panels that end at them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.theory.one_step.scalar import ScalarFunction

Array = NDArray[np.float64]

# beyond it the normal law has mass 1e-23: enough for ridges down to 1e-7, where tails of kappa weigh 1 / mu_2^2
REACH = 10.0
SPACING = 0.05
# largest spacing of the trapezoidal rule for a feature of width one: exp(-2 pi (pi / 2) / 0.25) = 7e-18 is the error
# that the pole i pi / 2 of tanh leaves, exp(-2 pi^2 / 0.7^2) = 3e-18 that of a kink blurred by a Gaussian
_POLE_SPACING = 0.25
_BLUR_SPACING = 0.7
# of one Gauss-Legendre panel: 96 resolve exp(-x^2 / 2) on all of [-10, 10], 20 a panel no wider than one
_WIDE_PANEL = 96
_NARROW_PANEL = 20

_LEGENDRE = {count: np.polynomial.legendre.leggauss(count) for count in (_WIDE_PANEL, _NARROW_PANEL)}


@dataclass(frozen=True, eq=False)
class Expansion:
    """g(m + s xi), xi ~ N(0, 1), to second order in Hermite polynomials for every mean m : [N] each.

    ``constant`` E g, ``linear`` E[g xi], ``quadratic`` E[g (xi^2 - 1)], ``remainder`` the mean square of what is left
    after the first two, so that E g^2 = constant^2 + linear^2 + remainder.
    """

    constant: Array
    linear: Array
    quadratic: Array
    remainder: Array


def expand(function: ScalarFunction, mean: Array, spread: float) -> Expansion:
    """The expansion of ``function`` around each of ``mean`` [N] with standard deviation ``spread`` >= 0."""
    if spread == 0.0:
        zero = np.zeros_like(mean)
        return Expansion(function.value(mean), zero, zero, zero)
    if function.kinks:
        cuts = np.sort((np.asarray(function.kinks)[None, :] - mean[:, None]) / spread, axis=1)
        xi, weights = normal_rules(cuts)
        values = function.value(mean[:, None] + spread * xi)
        constant, linear, quadratic = (np.sum(weights * p * values, axis=1) for p in (1.0, xi, xi * xi - 1.0))
        rest = values - constant[:, None] - linear[:, None] * xi
        return Expansion(constant, linear, quadratic, np.sum(weights * rest * rest, axis=1))
    nodes, share = trapezoid(min(SPACING, _POLE_SPACING / spread))
    values = function.value(mean[:, None] + spread * nodes)
    constant, linear, quadratic = (share * np.stack([np.ones_like(nodes), nodes, nodes * nodes - 1.0])) @ values.T
    # as a sum of squares, not as a difference of moments: in the tails of a saturating function it is tiny
    values -= constant[:, None]
    values -= linear[:, None] * nodes
    np.square(values, out=values)
    return Expansion(constant, linear, quadratic, values @ share)


def trapezoid(spacing: float) -> tuple[Array, Array]:
    """Trapezoidal rule for N(0, 1): nodes and weights [N], N odd, symmetric, weights summing to 1."""
    half = int(np.ceil(REACH / spacing))
    nodes = np.arange(-half, half + 1, dtype=np.float64) * (REACH / half)
    weights: Array = np.exp(-0.5 * nodes * nodes)
    return nodes, weights / weights.sum()


def spike_rule(target: ScalarFunction, alignment: float, steepness: float) -> tuple[Array, Array]:
    """Nodes and weights [N] for kappa ~ N(0, 1), weights summing to 1.

    ``steepness`` is the largest |r| / sqrt(c), the inverse of the width over which a kink of the student is blurred.
    A kink of the target at k shows at kappa = k / alignment, blurred over sqrt(1 - alignment^2) / |alignment|.
    """
    spacing = min(SPACING, _BLUR_SPACING / steepness) if steepness > 0.0 else SPACING
    if target.kinks and alignment != 0.0:
        blur = float(np.sqrt(max(0.0, 1.0 - alignment**2))) / abs(alignment)
        if blur * _BLUR_SPACING < spacing:
            return _graded(tuple(k / alignment for k in target.kinks), blur, spacing)
    return trapezoid(spacing)


def normal_rules(cuts: Array) -> tuple[Array, Array]:
    """Rules for N(0, 1) split at the increasing ``cuts`` [N, k] of each row: nodes and weights [N, (k + 1) M]."""
    ends = np.full((len(cuts), 1), REACH)
    edges = np.concatenate([-ends, np.clip(cuts, -REACH, REACH), ends], axis=1)
    return _normal_rule(edges, _WIDE_PANEL)


def normal_rule(kinks: tuple[float, ...]) -> tuple[Array, Array]:
    """A rule for N(0, 1) and functions with ``kinks``: nodes and weights [N]."""
    if not kinks:
        return trapezoid(SPACING)
    nodes, weights = normal_rules(np.sort(kinks)[None, :])
    return nodes[0], weights[0]


def _graded(kinks: tuple[float, ...], blur: float, spacing: float) -> tuple[Array, Array]:
    """Panels that shrink geometrically towards each kink, down to the width over which it is blurred."""
    width = spacing * _NARROW_PANEL
    edges = list(np.arange(-REACH, REACH + 0.5 * width, width).clip(-REACH, REACH))
    for kink in kinks:
        edges.append(kink)
        step = blur
        while 0.0 < step < width:
            edges += [kink - step, kink + step]
            step *= 2.0
    inside = np.unique([e for e in edges if -REACH <= e <= REACH])
    nodes, weights = _normal_rule(inside[None, :], _NARROW_PANEL)
    return nodes[0], weights[0]


def _normal_rule(edges: Array, count: int) -> tuple[Array, Array]:
    """Gauss-Legendre between successive ``edges`` [N, P + 1], times the normal density: [N, P count] each."""
    points, share = _LEGENDRE[count]
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    nodes = (edges[:, :-1, None] + half + half * points).reshape(len(edges), -1)
    weights = (half * share).reshape(len(edges), -1) * np.exp(-0.5 * nodes * nodes)
    return nodes, weights / weights.sum(axis=1, keepdims=True)
