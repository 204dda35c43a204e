"""Piecewise-linear activations averaged over spheres, in closed form.

With t the first coordinate of a uniform point of S^(d-1) and Lambda = Gamma(d/2) / (sqrt(pi) Gamma((d-1)/2)),

    E (t - u)_+ = e(u) - u T(u),  e = Lambda (1 - u^2)^((d-1)/2) / (d-1),  T = P(t > u) = I_(1-u^2)((d-1)/2, 1/2) / 2

for 0 <= u <= 1 (derived here; I the incomplete beta function), sigma = v + s_0 (z - t_1) + sum_j c_j (z - t_j)_+
with the jumps c_j of its slope. Both functions are entire in the angle arccos u, where kernels take them from a table
of quintic Hermite polynomials, to 1e-14 of their scale.

A second sphere is averaged over by a quadrature of the first one's closed form: the sphere that spreads the argument
more is done in closed form, and where its dimension is small, so that its edges show, the quadrature is cut there.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import betainc, gamma

from mfpde.core import parallel, quadrature
from mfpde.core.compilation import HELPER, kernel

Array = NDArray[np.float64]

# the law of sqrt(d) t beyond this many standard deviations is dropped: a probability of 1e-19
REACH = 9.0
# table cells per standard deviation of t
_CELLS = 50.0
# nodes of the rule over the second sphere, and the dimension of the first from which on its edges need no cut
OUTER_NODES, SMOOTH_DIMENSION = 48, 16
# nodes per piece where the rule is cut, and the length of a piece in standard deviations at most
_PIECE_NODES, _PIECE = 20, 3.0
_SPANS, _SPAN = 64, 1 << 14


def density_constant(block: int) -> float:
    """Lambda of the density Lambda (1 - t^2)^((d-3)/2) of the first coordinate on S^(d-1), d = block >= 2."""
    x = 0.5 * (block - 1.0)
    if x < 100.0:
        return float(gamma(x + 0.5) / gamma(x) / np.sqrt(np.pi))
    # the asymptotic series of the quotient; logarithms of the two gammas would cancel
    y = 1.0 / x
    series = 1.0 + y * (-1 / 8 + y * (1 / 128 + y * (5 / 1024 + y * (-21 / 32768 - y * 399 / 262144))))
    return float(np.sqrt(x / np.pi) * series)


def tail(block: int, u: Array) -> Array:
    """T(u) = P(t > u) for u of any shape."""
    u = np.clip(np.asarray(u, np.float64), -1.0, 1.0)
    a = 0.5 * (block - 1.0)
    # the smaller argument of the two: near u = 0 the function of 1 - u^2 has a root, which doubles its rounding
    middle = 0.5 - 0.5 * betainc(0.5, a, u * u)
    upper = np.where(u * u < 1.0 / block, middle, 0.5 * betainc(a, 0.5, (1.0 - u) * (1.0 + u)))
    return np.asarray(np.where(u < 0.0, 1.0 - upper, upper))


def edge(block: int, u: Array) -> Array:
    """e(u) = E t 1(t > u) for u of any shape."""
    u = np.clip(np.asarray(u, np.float64), -1.0, 1.0)
    return np.asarray(density_constant(block) / (block - 1.0) * ((1.0 - u) * (1.0 + u)) ** (0.5 * (block - 1.0)))


@cache
def _table(block: int) -> tuple[Array, float, float]:
    """(coefficients [cells, 12] of T and e in the angle, first angle, cells per radian)."""
    reach = min(0.5 * np.pi, REACH / np.sqrt(block))
    cells = int(np.ceil(2.0 * reach * np.sqrt(block) * _CELLS))
    angle = 0.5 * np.pi + np.linspace(-reach, reach, cells + 1)
    sine, cosine = np.sin(angle), np.cos(angle)
    scale, h = density_constant(block), 2.0 * reach / cells
    with np.errstate(divide="ignore", invalid="ignore"):
        density = scale * sine ** (block - 2.0)
        bend = scale * (block - 2.0) * sine ** (block - 3.0) * cosine if block > 2 else np.zeros_like(sine)
    values = tail(block, cosine), density, bend
    weights = edge(block, cosine), density * cosine, bend * cosine - density * sine
    return np.hstack([_quintic(*values, h), _quintic(*weights, h)]), float(angle[0]), 1.0 / h


def _quintic(f: Array, slope: Array, bend: Array, h: float) -> Array:
    """Coefficients [cells, 6] in x = 0 .. 1 of the polynomials with value, slope and second derivative at both ends."""
    f0, f1, g0, g1 = f[:-1], f[1:], h * slope[:-1], h * slope[1:]
    b0, b1 = 0.5 * h * h * bend[:-1], 0.5 * h * h * bend[1:]
    a, b, c = f1 - f0 - g0 - b0, g1 - g0 - 2.0 * b0, b1 - b0
    return np.stack([f0, g0, b0, 10.0 * a - 4.0 * b + c, -15.0 * a + 7.0 * b - 2.0 * c, 6.0 * a - 3.0 * b + c], axis=1)


@njit(**HELPER)
def _read(table: Array, cell: int, first: int, x: float) -> float:
    value = table[cell, first + 5]
    for k in range(4, -1, -1):
        value = value * x + table[cell, first + k]
    return value


@njit(**HELPER)
def _edge_functions(table: Array, origin: float, density: float, u: float) -> tuple[float, float]:
    """(T(u), e(u)) for -1 < u < 1."""
    x = (math.acos(u) - origin) * density
    if x <= 0.0:
        return 0.0, 0.0
    if x >= table.shape[0]:
        return 1.0, 0.0
    cell = int(x)
    return _read(table, cell, 0, x - cell), _read(table, cell, 6, x - cell)


@njit(**HELPER)
def _ramps(
    knots: Array,
    jumps: Array,
    base: tuple[float, float],
    table: Array,
    origin: float,
    density: float,
    c: float,
    s: float,
) -> tuple[float, float, float]:
    """E sigma(c + s t) with its derivatives in c and s; base = (sigma, slope) of the leftmost line at 0."""
    value, along, across = base[0] + base[1] * c, base[1], 0.0
    for j in range(knots.shape[0]):
        distance = knots[j] - c
        if distance >= s and not (distance == 0.0 and s == 0.0):
            continue
        if distance <= -s and not (distance == 0.0 and s == 0.0):
            value -= jumps[j] * distance
            along += jumps[j]
            continue
        # at s = 0 on a knot: the limit from above
        upper, weight = _edge_functions(table, origin, density, distance / s if s > 0.0 else 0.0)
        value += jumps[j] * (s * weight - distance * upper)
        along += jumps[j] * upper
        across += jumps[j] * weight
    return value, along, across


@kernel
def _one_sphere(
    knots: Array,
    jumps: Array,
    base: tuple[float, float],
    table: Array,
    origin: float,
    density: float,
    shift: Array,
    size: Array,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """out[:, i] = value and derivatives in shift_i, size_i of E sigma(shift + size t)."""
    for i in range(start, stop):
        value, along, across = _ramps(knots, jumps, base, table, origin, density, shift[i], size[i])
        out[0, i], out[1, i], out[2, i] = value, along, across


@kernel
def _two_spheres(
    knots: Array,
    jumps: Array,
    base: tuple[float, float],
    table: Array,
    origin: float,
    density: float,
    nodes: Array,
    weights: Array,
    shift: Array,
    size: Array,
    other: Array,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """out[:, i] = value and derivatives in shift_i, size_i, other_i of E sigma(shift + size t + other t')."""
    for i in range(start, stop):
        value, along, across, beyond = 0.0, 0.0, 0.0, 0.0
        for k in range(nodes.shape[0]):
            v, a, b = _ramps(knots, jumps, base, table, origin, density, shift[i] + other[i] * nodes[k], size[i])
            value += weights[k] * v
            along += weights[k] * a
            across += weights[k] * b
            beyond += weights[k] * nodes[k] * a
        out[0, i], out[1, i], out[2, i], out[3, i] = value, along, across, beyond


@kernel
def _two_spheres_cut(
    knots: Array,
    jumps: Array,
    base: tuple[float, float],
    table: Array,
    origin: float,
    density: float,
    legendre: Array,
    outer: int,
    scale: float,
    reach: float,
    shift: Array,
    size: Array,
    other: Array,
    start: int,
    stop: int,
    out: Array,
) -> None:
    """The same with the rule over t' cut where a knot meets an edge of the sphere, |t_j - shift - other t'| = size.

    legendre [2, n]: nodes and weights on (0, 1), pulled towards both ends of a piece: half powers become smooth there.
    """
    ends = np.empty(2 * knots.shape[0] + 2)
    piece = _PIECE / np.sqrt(outer)
    for i in range(start, stop):
        count, ends[0], ends[1] = 2, 0.5 * np.pi - reach, 0.5 * np.pi + reach
        for j in range(knots.shape[0]):
            for side in (-1.0, 1.0):
                at = knots[j] - shift[i] + side * size[i]
                if abs(at) < other[i]:
                    angle = math.acos(at / other[i])
                    if ends[0] < angle < ends[1]:
                        ends[count] = angle
                        count += 1
        cuts = np.sort(ends[:count])
        value, along, across, beyond = 0.0, 0.0, 0.0, 0.0
        for m in range(count - 1):
            parts = max(1, int(np.ceil((cuts[m + 1] - cuts[m]) / piece)))
            length = (cuts[m + 1] - cuts[m]) / parts
            for part in range(parts):
                first = cuts[m] + part * length
                for k in range(legendre.shape[1]):
                    angle = first + length * legendre[0, k]
                    t, sine = math.cos(angle), math.sin(angle)
                    weight = scale * length * legendre[1, k] * sine ** (outer - 2)
                    v, a, b = _ramps(knots, jumps, base, table, origin, density, shift[i] + other[i] * t, size[i])
                    value, along = value + weight * v, along + weight * a
                    across, beyond = across + weight * b, beyond + weight * t * a
        out[0, i], out[1, i], out[2, i], out[3, i] = value, along, across, beyond


def one_sphere(knots: Array, slopes: Array, value: float, block: int, shift: Array, size: Array) -> Array:
    """E sigma(shift + size t), t on S^(block-1), with its derivatives in shift and size >= 0 : [3, m] from [m]."""
    out = np.empty((3, len(shift)))
    arguments = (knots, np.diff(slopes), _base(knots, slopes, value), *_table(block), shift, size)
    _each(len(shift), lambda start, stop: _one_sphere(*arguments, start, stop, out))
    return out


def two_spheres(
    knots: Array, slopes: Array, value: float, blocks: tuple[int, int], shift: Array, sizes: tuple[Array, Array]
) -> Array:
    """E sigma(shift + sizes[0] t + sizes[1] t'), t, t' on S^(blocks-1), and d/d(shift, sizes) : [4, m] from [m]."""
    out = np.empty((4, len(shift)))
    first = sizes[0] ** 2 * blocks[1] >= sizes[1] ** 2 * blocks[0]
    for inner, chosen in ((0, first), (1, ~first)):
        where = np.flatnonzero(chosen)
        if len(where):
            part = _two(knots, slopes, value, blocks, inner, shift[where], [size[where] for size in sizes])
            out[:, where] = part if inner == 0 else part[[0, 1, 3, 2]]
    return out


def _two(
    knots: Array, slopes: Array, value: float, blocks: tuple[int, int], inner: int, shift: Array, sizes: list[Array]
) -> Array:
    out = np.empty((4, len(shift)))
    outer = blocks[1 - inner]
    common = (knots, np.diff(slopes), _base(knots, slopes, value), *_table(blocks[inner]))
    points = (shift, sizes[inner], sizes[1 - inner])
    if blocks[inner] >= SMOOTH_DIMENSION:
        rule = _rule(outer)
        _each(len(shift), lambda start, stop: _two_spheres(*common, *rule, *points, start, stop, out))
        return out
    reach = min(0.5 * np.pi, REACH / np.sqrt(outer))
    piece = (_pulled(), outer, density_constant(outer), reach)
    _each(len(shift), lambda start, stop: _two_spheres_cut(*common, *piece, *points, start, stop, out))
    return out


@cache
def _rule(block: int) -> tuple[Array, Array]:
    nodes, weights = quadrature.sphere_coordinate(block, OUTER_NODES)
    kept = weights > 1e-18
    return nodes[kept], weights[kept] / weights[kept].sum()


@cache
def _pulled() -> Array:
    """Gauss-Legendre nodes and weights on (0, 1) under x -> 3 x^2 - 2 x^3."""
    x, w = np.polynomial.legendre.leggauss(_PIECE_NODES)
    x, w = 0.5 * (1.0 + x), 0.5 * w
    return np.stack([x * x * (3.0 - 2.0 * x), 6.0 * w * x * (1.0 - x)])


def _base(knots: Array, slopes: Array, value: float) -> tuple[float, float]:
    return float(value - slopes[0] * knots[0]), float(slopes[0])


def _each(count: int, work: Any) -> None:
    parallel.collect(lambda span: work(*span), parallel.spans(count, _SPANS, 8, _SPAN))
