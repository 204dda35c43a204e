"""Wasserstein distances between particles, weighted atoms and densities on a grid.

In one dimension every law is its quantile function, piecewise linear: constant on the mass of an atom, linear on the
mass of a cell. Two such functions are merged at their breakpoints and |difference|^p is integrated exactly, so the
distance between N particles and a grid density of n cells is exact at cost O((n + N) log (n + N)). In higher
dimension: sliced distances, exact discrete transport through POT, and the closed form for Gaussians. All distances
are returned as W_p^p (for p = 2 the square). Masses are normalised to 1 first. The merge is derived here; POT is the
package of Flamary et al. (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import ConfigError, NotConverged

Array = NDArray[np.float64]

GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
LARGEST_PLAN = 10**8
"""Largest number of entries of a cost matrix handed to the exact solver: 0.8 GB, and minutes of work."""


@dataclass(frozen=True)
class Quantile:
    """A piecewise linear quantile function of k pieces: on (level[j], level[j+1]) it runs from left[j] to right[j].

    ``level`` [k+1] increases strictly from 0 to 1; ``left`` and ``right`` [k] are nondecreasing along the pieces.
    """

    level: Array
    left: Array
    right: Array


@dataclass(frozen=True)
class SlicedDistance:
    """``squared``: the mean over directions of the one-dimensional W2²; ``sem``: its Monte-Carlo standard error."""

    squared: float
    sem: float


@dataclass(frozen=True)
class DiscreteDistance:
    """``squared``: W2² between the atoms; ``cell_error``: how far W2 (not squared) can be off because cells of a grid
    were moved to their centres; ``dropped_mass``: mass of the atoms left out as negligible, of both sides together."""

    squared: float
    cell_error: float
    dropped_mass: float


def _masses(mass: ArrayLike | None, count: int) -> Array:
    if count == 0:
        raise ConfigError("transport", "got a law without atoms; at least one is needed")
    if mass is None:
        return np.full(count, 1.0 / count)
    values = np.asarray(mass, float).ravel()
    if values.size != count:
        raise ConfigError("transport", f"got {values.size} masses for {count} atoms or cells; the numbers must agree")
    total = float(values.sum())
    if not (np.isfinite(total) and total > 0.0 and values.min() >= 0.0):
        raise ConfigError("transport", f"got masses with sum {total:g}; they must be finite, not negative, not all 0")
    return values / total


def _assemble(mass: Array, left: Array, right: Array) -> Quantile:
    """Drop the pieces whose mass does not move the cumulative sum in double precision."""
    level = np.concatenate([[0.0], np.cumsum(mass)])
    level /= level[-1]
    kept = level[1:] > level[:-1]
    return Quantile(np.concatenate([[0.0], level[1:][kept]]), left[kept], right[kept])


def quantile_of_atoms(positions: ArrayLike, mass: ArrayLike | None = None) -> Quantile:
    """The quantile function of atoms at ``positions`` [m] with ``mass`` [m] (equal if left out), in any order."""
    x = np.asarray(positions, float).ravel()
    weights = _masses(mass, x.size)
    order = np.argsort(x, kind="stable")
    return _assemble(weights[order], x[order], x[order])


def quantile_of_cells(edges: ArrayLike, mass: ArrayLike) -> Quantile:
    """The quantile function of a density constant on the cells between ``edges`` [n+1], with ``mass`` [n] per cell."""
    e = np.asarray(edges, float).ravel()
    return _assemble(_masses(mass, e.size - 1), e[:-1], e[1:])


def _evaluate(law: Quantile, level: Array, middle: Array) -> tuple[Array, Array]:
    """Values at the two ends of the intervals between ``level`` [m+1], each inside the piece that holds ``middle``."""
    piece = np.clip(np.searchsorted(law.level, middle, side="right") - 1, 0, law.left.size - 1)
    start, left = law.level[piece], law.left[piece]
    length, rise = law.level[piece + 1] - start, law.right[piece] - left
    # Fractions before products: in the far tail a piece may be 1e-300 long, and a slope would overflow.
    first = np.clip((level[:-1] - start) / length, 0.0, 1.0)
    last = np.clip((level[1:] - start) / length, 0.0, 1.0)
    return left + rise * first, left + rise * last


def _cost(a: Quantile, b: Quantile, p: int) -> float:
    """∫_0^1 |Q_a − Q_b|^p du: both linear between merged levels; b may reach beyond [0, 1]."""
    level = np.concatenate([a.level, b.level[(b.level > 0.0) & (b.level < 1.0)]])
    level.sort()
    width = np.diff(level)
    middle = 0.5 * (level[:-1] + level[1:])
    a0, a1 = _evaluate(a, level, middle)
    b0, b1 = _evaluate(b, level, middle)
    d0, d1 = a0 - b0, a1 - b1
    if p == 2:
        return float(np.sum(width * (d0 * d0 + d0 * d1 + d1 * d1)) / 3.0)
    size = np.abs(d0) + np.abs(d1)
    crossing = d0 * d1 < 0.0
    # Two triangles where the difference changes sign, a trapezoid elsewhere.
    integral = np.where(crossing, (d0 * d0 + d1 * d1) / np.where(crossing, size, 1.0), size)
    return float(0.5 * np.sum(width * integral))


def _checked_power(p: int) -> None:
    if p not in (1, 2):
        raise ConfigError("transport", f"got the power p = {p}; it must be 1 or 2")


def wasserstein_line(a: Quantile, b: Quantile, p: int = 2) -> float:
    """W_p^p on the line, p = 1 or 2, exact: ∫_0^1 |Q_a(u) − Q_b(u)|^p du."""
    _checked_power(p)
    return _cost(a, b, p)


def wasserstein_circle(a: Quantile, b: Quantile, period: float = 2.0 * np.pi, p: int = 2) -> float:
    """W_p^p on the circle of length ``period``, p = 1 or 2; both laws given on one common period [c, c + period].

    With Q(u + 1) = Q(u) + period, W_p^p = min_s ∫_0^1 |Q_a(u) − Q_b(u + s)|^p du, and the integral is convex in s
    with its minimum in [−1, 1] (Delon, Salomon, Sobolevski, SIAM J. Appl. Math. 70, 2010). Minimised by golden
    section down to round-off, because between atoms the integral has kinks.
    """
    _checked_power(p)
    low, high = min(a.left[0], b.left[0]), max(a.right[-1], b.right[-1])
    if high - low > period * (1.0 + 1e-12):
        raise ConfigError(
            "transport", f"got positions from {low:g} to {high:g}; they must fit in one period {period:g}"
        )
    turns = np.arange(-1.0, 2.0)
    level = np.concatenate([(turns[:, None] + b.level[None, :-1]).ravel(), [2.0]])
    left = (turns[:, None] * period + b.left[None, :]).ravel()
    right = (turns[:, None] * period + b.right[None, :]).ravel()

    def rotated(shift: float) -> float:
        return _cost(a, Quantile(level - shift, left, right), p)

    lower, upper = -1.0, 1.0
    inner, outer = upper - GOLDEN * (upper - lower), lower + GOLDEN * (upper - lower)
    inner_cost, outer_cost = rotated(inner), rotated(outer)
    best = min(inner_cost, outer_cost, rotated(0.0))
    while upper - lower > 4e-16:
        if inner_cost <= outer_cost:
            upper, outer, outer_cost = outer, inner, inner_cost
            inner = upper - GOLDEN * (upper - lower)
            inner_cost = rotated(inner)
        else:
            lower, inner, inner_cost = inner, outer, outer_cost
            outer = lower + GOLDEN * (upper - lower)
            outer_cost = rotated(outer)
        best = min(best, inner_cost, outer_cost)
    return best


def _cloud(points: ArrayLike, mass: ArrayLike | None) -> tuple[Array, Array]:
    x = np.asarray(points, float)
    x = x[:, None] if x.ndim == 1 else x
    weights = _masses(mass, x.shape[0])
    return x[weights > 0.0], weights[weights > 0.0]


def directions(dimension: int, count: int = 200, seed: int = 0) -> Array:
    """``count`` uniform random unit vectors [count, dimension], a function of ``seed`` alone."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def sliced(
    a: ArrayLike,
    b: ArrayLike,
    mass_a: ArrayLike | None = None,
    mass_b: ArrayLike | None = None,
    *,
    count: int = 200,
    seed: int = 0,
) -> SlicedDistance:
    """Sliced W2²: the mean over unit vectors u of W2² between the projections on u of two weighted clouds.

    ``a`` [m, D], ``b`` [k, D], masses [m], [k]; a grid is its cell centres with cell masses. The ``count`` directions
    are fixed by ``seed``, so that they are common to all widths and the differences between widths carry no noise of
    the directions. At most W2²/D.
    """
    x, mass_x = _cloud(a, mass_a)
    y, mass_y = _cloud(b, mass_b)
    vectors = directions(x.shape[1], count, seed) if x.shape[1] > 1 else np.ones((1, 1))
    values = np.array([_cost(quantile_of_atoms(x @ u, mass_x), quantile_of_atoms(y @ u, mass_y), 2) for u in vectors])
    sem = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else 0.0
    return SlicedDistance(float(values.mean()), sem)


def discrete(
    a: ArrayLike,
    b: ArrayLike,
    mass_a: ArrayLike | None = None,
    mass_b: ArrayLike | None = None,
    *,
    cell_widths: ArrayLike = (),
    negligible: float = 1e-9,
) -> DiscreteDistance:
    """W2² between two weighted clouds ``a`` [m, D], ``b`` [k, D], exact, by the network simplex of the package POT.

    Where a cloud stands for a grid, ``cell_widths`` holds its cell widths h_j: moving every cell to its centre costs
    W2 = √(Σ h_j²/12), which is h√(D/12) for cubes. Atoms below ``negligible`` of the mass are dropped.
    Raises ConfigError if POT is missing or m·k exceeds 1e8, NotConverged if the simplex stops early.
    """
    (x, mass_x), (y, mass_y) = _cloud(a, mass_a), _cloud(b, mass_b)
    keep_x, keep_y = mass_x >= negligible, mass_y >= negligible
    dropped = float(mass_x[~keep_x].sum() + mass_y[~keep_y].sum())
    x, mass_x, y, mass_y = x[keep_x], mass_x[keep_x], y[keep_y], mass_y[keep_y]
    if x.shape[0] * y.shape[0] > LARGEST_PLAN:
        raise ConfigError(
            "metric",
            f"w2 would need a transport plan of {x.shape[0]} x {y.shape[0]} atoms; at most 1e8 pairs are allowed",
            hint="use the sliced distance, or a coarser grid",
        )
    try:
        import ot
    except ImportError as error:
        raise ConfigError(
            "metric", "w2 needs the package POT, which is not installed", hint="pip install POT, or use sliced"
        ) from error
    cost = np.maximum(
        np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)[None, :] - 2.0 * (x @ y.T), 0.0
    )
    value, log = ot.emd2(mass_x / mass_x.sum(), mass_y / mass_y.sum(), cost, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise NotConverged(f"the exact transport solver stopped early: {log['warning']}")
    cell_error = float(np.sqrt(np.sum(np.asarray(cell_widths, float) ** 2) / 12.0))
    return DiscreteDistance(float(value), cell_error, dropped)


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def gaussian_squared(mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike) -> float:
    """W2² of two Gaussians (Bures): |m₁ − m₂|² + tr(C₁ + C₂ − 2(C₁^½ C₂ C₁^½)^½); means [D], covariances [D, D].

    The trace of the cross root is the nuclear norm of C₂^½ C₁^½, which loses no digits when the laws nearly agree.
    """
    shift = np.atleast_1d(np.asarray(mean_a, float)) - np.atleast_1d(np.asarray(mean_b, float))
    first, second = (np.atleast_2d(np.asarray(c, float)) for c in (covariance_a, covariance_b))
    root_first, root_second = _root(first), _root(second)
    left, _, right = np.linalg.svd(root_second @ root_first)
    # min over rotations R of |C₁^½ − R C₂^½|²: the Procrustes form of the Bures distance.
    difference = root_first - right.T @ left.T @ root_second
    return float(shift @ shift + np.sum(difference**2))
