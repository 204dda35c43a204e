"""When one radius is optimal for two isotropic Gaussians: the phase transition of Mei, Montanari and Nguyen (2018).

With y = +-1 and x | y ~ N(0, (1 + y Delta)^2 I_d), a measure of neurons that is invariant under rotations is a law of
the radius r = |w|, its risk a quadratic form,

    risk = 1/2 + int v drho + 1/2 int int u drho drho,   v(r) = -(q(tau_+ r) - q(tau_- r))/2,
    u(r, r') = 1/2 sum_+- E_chi m_d(tau_+- chi r) m_d(tau_+- chi r'),   m_d(s) = E sigma(s t), t on the sphere,

and the uniform law on the sphere of radius r has the risk (1 + 2 v(r) + u(r, r))/2. At its minimiser r_* it is optimal
among all measures if and only if psi(r) = v(r) + u(r, r_*) is nowhere below psi(r_*). That holds for Delta between two
numbers; above the upper one mass gains by going to r = infinity, where an activation with flat ends saturates. Radii
run to infinity included, so that the minimum over measures is attained, unless a ``largest`` one is named: psi
approaches its limit like 1/r, and radii up to 400 put the upper number 4e-5 too high for d = 20. Risks are those of
mfpde, half of the papers'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar, nnls

from mfpde.core import sphere
from mfpde.datalaws import two_gaussians
from mfpde.errors import NotConverged
from mfpde.exact.two_gaussians import gaussian_mean
from mfpde.problem import TwoGaussians

Array = NDArray[np.float64]

# nodes of the radius of x, and radii of w that are looked at, from the scale of the knots to where sigma is saturated
NODES, RADII, LARGEST = 64, 1200, 400.0
# radii this close to the optimal one are not held against it: psi is flat there
NEAR = 0.3


@dataclass(frozen=True)
class SingleRadius:
    """The best single radius: ``radius``, its ``risk``, and ``excess`` = min psi - psi(radius) away from it.

    The minimum is at radius ``where`` (inf: of saturated neurons); one radius is optimal if and only if excess >= 0.
    """

    radius: float
    risk: float
    excess: float
    where: float


@dataclass(frozen=True, eq=False)
class RadialMinimum:
    """The measure of least risk: radii [m] (inf: saturated neurons), weights [m]; ``gap`` bounds risk - minimum."""

    radii: Array
    weights: Array
    risk: float
    gap: float


def single_radius(
    knots: ArrayLike,
    slopes: ArrayLike,
    value: float,
    dimension: float,
    separation: float,
    largest: float = np.inf,
) -> SingleRadius:
    """The best sphere for inputs of ``dimension`` d (inf: each label sees one number) and whether it is optimal."""
    law = Law(np.asarray(knots, float), np.asarray(slopes, float), value, dimension, separation)
    grid = _radii(law.saturates, largest)
    features = law.features(grid)
    best = int(np.argmin((features - law.y) ** 2 @ law.weights))
    bracket = grid[max(best - 1, 0)], grid[best + 1]
    found = minimize_scalar(law.sphere_risk, bounds=bracket, method="bounded", options={"xatol": 1e-12})
    radius = float(found.x)
    here = law.features(np.array([radius]))[0]
    residual = law.weights * (here - law.y)
    psi = np.where(np.abs(grid - radius) > NEAR, features @ residual, np.inf)
    lowest = int(np.argmin(psi))
    return SingleRadius(radius, float(found.fun), float(psi[lowest] - here @ residual), float(grid[lowest]))


def upper_transition(
    knots: ArrayLike, slopes: ArrayLike, value: float, dimension: int, largest: float = np.inf
) -> float:
    """Delta_d^h, beyond which one radius is not optimal, to 1e-10; sigma must be flat at its ends.

    Raises ValueError if one radius is optimal, or is not, over all of the interval searched, (0.2, 0.9).
    """

    def excess(separation: float) -> float:
        return single_radius(knots, slopes, value, dimension, separation, largest).excess

    return float(brentq(excess, 0.2, 0.9, xtol=1e-10))


def lower_transition(knots: ArrayLike, slopes: ArrayLike, value: float, dimension: int) -> float:
    """Delta_d^l, below which one radius is not optimal, to 1e-6; psi is flat there, its third digit hangs on NEAR."""

    def excess(separation: float) -> float:
        return single_radius(knots, slopes, value, dimension, separation).excess

    return float(brentq(excess, 1e-4, 0.2, xtol=1e-6))


def infinite_transition(knots: ArrayLike, slopes: ArrayLike, value: float) -> tuple[float, float]:
    """(Delta, r_*) in infinite dimension: q(s_+-) = +-1 is solved by one radius, s_+- = (1 +- Delta) r_*.

    Raises ValueError if q does not pass -1 and 1 between 0.05 and 50.
    """

    def offset(s: float, level: float) -> float:
        return float(gaussian_mean(knots, slopes, value, s)[0]) - level

    high, low = (float(brentq(offset, 0.05, 50.0, args=(level,), xtol=1e-14)) for level in (1.0, -1.0))
    return (high - low) / (high + low), 0.5 * (high + low)


def radial_minimum(
    knots: ArrayLike,
    slopes: ArrayLike,
    value: float,
    dimension: float,
    separation: float,
    largest: float = np.inf,
) -> RadialMinimum:
    """The least risk over measures on a grid of radii, from 0 to ``largest``: non-negative least squares.

    ``gap`` = int psi drho - min psi over the grid. Raises NotConverged if it exceeds 1e-8.
    """
    law = Law(np.asarray(knots, float), np.asarray(slopes, float), value, dimension, separation)
    radii = np.append(0.0, _radii(law.saturates, largest))
    root = np.sqrt(law.weights)
    features = law.features(radii)
    # total mass 1 as one more equation: exact, since scaling features and targets alike leaves no compromise
    scaled = root * (features - law.y)
    solution, _ = nnls(np.vstack([scaled.T, np.ones(len(radii))]), np.append(np.zeros(len(root)), 1.0))
    weights = solution / solution.sum()
    f = weights @ features
    psi = features @ (law.weights * (f - law.y))
    gap = float(weights @ psi - psi.min())
    if gap > 1e-8:
        raise NotConverged(f"the least risk over radii was found with a gap of {gap:.3g} only")
    kept = weights > 0.0
    return RadialMinimum(radii[kept], weights[kept], law.risk(f), gap)


def _radii(saturates: bool, largest: float) -> Array:
    """Radii above 0, closest where neurons settle; infinity where it is allowed and has a meaning."""
    near, far = np.linspace(0.01, 8.0, RADII, endpoint=False), np.geomspace(8.0, min(LARGEST, largest), RADII // 4)
    return np.concatenate([near, far, [np.inf] if saturates and np.isinf(largest) else []])


class Law:
    """Features of radii at the nodes of the law; y and weights [n] of the nodes, and whether sigma ``saturates``."""

    def __init__(self, knots: Array, slopes: Array, value: float, dimension: float, separation: float) -> None:
        self._pieces = knots, slopes, value
        self._dimension = dimension
        self.saturates = slopes[0] == 0.0 and slopes[-1] == 0.0
        if np.isinf(dimension):
            self._x = np.array([1.0 + separation, 1.0 - separation])
            self.y, self.weights = np.array([1.0, -1.0]), np.full(2, 0.5)
        else:
            d = int(dimension)
            data = two_gaussians(TwoGaussians(d, d, separation), NODES)
            self._x, self.y, self.weights = data.x[:, 0], data.y, data.weights

    def features(self, radii: Array) -> Array:
        """m_d(r x_q), in infinite dimension q(r x_q), of radii [m] : [m, n]; at infinity the mean of the two ends."""
        knots, slopes, value = self._pieces
        finite = np.where(np.isinf(radii), 1.0, radii)
        sizes = np.outer(finite, self._x)
        if np.isinf(self._dimension):
            out = gaussian_mean(*self._pieces, sizes)[0]
        else:
            flat = sizes.reshape(-1)
            out = sphere.one_sphere(knots, slopes, value, int(self._dimension), np.zeros_like(flat), flat)[0]
            out = out.reshape(sizes.shape)
        if self.saturates:
            rise = float(np.sum(slopes[1:-1] * np.diff(knots)))
            out[np.isinf(radii)] = value + 0.5 * rise
        return out

    def risk(self, f: Array) -> float:
        """The risk of predictions f [n]."""
        return float(0.5 * np.sum(self.weights * (f - self.y) ** 2))

    def sphere_risk(self, radius: float) -> float:
        """The risk of the uniform law on a sphere."""
        return self.risk(self.features(np.array([radius]))[0])
