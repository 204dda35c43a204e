"""The loops over all pairs of particles: for every particle of a vector two sums over the sources j,

    V = sum_j b_j v(p_ij) x_j,    F = sum_j b_j f(p_ij),    p_ij = x_i . x_j,

from which core.pairs makes the kernel and its gradients; x and b are the scaled weights and amplitudes of its formula.
A Hermite series takes a third sum. A tile is a vector of particles against NODES sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from mfpde.core.activations import ERF, IDENTITY, QUADRATIC, RELU, SIN
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.elementary import arcsine_parts, exponential
from mfpde.core.passes import BLOCKS
from mfpde.core.tiles import NODES, accumulate_outer, add_to, clear, pack, project, spread_block, workspace, write
from mfpde.core.transfers import filled, lanes, load, spread, store
from mfpde.core.vector import fma

Array = NDArray[np.float64]
Packed = NDArray[Any]


# (b v, total + b f) at p; ``own`` and ``other`` are what core.pairs adds to x of the particle and of the source


@njit(**HELPER)
def _erf(p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    """The slope and the value of asin p; ``own`` bounds 1 - p^2 from below."""
    top, bottom, cosine = arcsine_parts(p, own)
    both = b / (cosine * bottom)  # one division for two quotients
    return both * bottom, fma(p * top, both * cosine, total)


@njit(**HELPER)
def _relu(p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    """pi - t and sin t, t the angle between the two."""
    top, bottom, cosine = arcsine_parts(p, own)
    return b * fma(p, top / bottom, 0.5 * math.pi), fma(b, cosine, total)


@njit(**HELPER)
def _sin(p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    half = 0.5 * (own + other)
    plus, minus = 0.5 * exponential(p - half), 0.5 * exponential(-p - half)
    return b * (plus + minus), fma(b, plus - minus, total)


@njit(**HELPER)
def _quadratic(p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    return 4.0 * b * p, fma(b, other, total)


@njit(**HELPER)
def _identity(p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    return b, total


_FORMULAS = {ERF: _erf, RELU: _relu, SIN: _sin, QUADRATIC: _quadratic, IDENTITY: _identity}


def pair_terms(code: int, p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    """(b v, total + b f) inside kernels, for a code known at compilation."""
    raise NotImplementedError("for compiled code")


@overload(pair_terms, prefer_literal=True, strict=False, jit_options=HELPER)
def _pair_terms(code: Any, p: Any, b: Any, own: Any, other: Any, total: Any) -> Any:
    if not isinstance(code, types.IntegerLiteral):
        return None
    formula = _FORMULAS[code.literal_value]
    return lambda code, p, b, own, other, total: formula(p, b, own, other, total)


@njit(**HELPER)
def _write(total: Packed, width: int, first: int, stop: int, out: Array) -> None:
    """out[row, particle] from the sums of one vector of particles."""
    for row in range(out.shape[0]):
        write(total, row * width, first, min(width, stop - first), out[row])


@cache
def closed_form_sums(code: int) -> Callable[..., None]:
    """The kernel of one activation, for numbers ``own`` [1, N] of the points, the sources' packed; out [d + 1, N]."""

    @kernel
    def sums(
        x: Array, own: Array, sources: Packed, others: Packed, amplitude: Packed, start: int, stop: int, out: Array
    ) -> None:
        d, width, rows = x.shape[0], lanes(sources), out.shape[0]
        points, mine = workspace(d * width, sources), workspace(width, sources)
        # rows: V, F
        stretch, total = workspace(rows * width, sources), workspace(rows * width, x)
        for first in range(start, stop, width):
            pack(x, first, width, points)
            pack(own, first, width, mine)
            o = load(mine, 0)
            clear(total)
            for begin in range(0, amplitude.shape[0] // NODES, BLOCKS):
                clear(stretch)
                for block in range(begin, min(begin + BLOCKS, amplitude.shape[0] // NODES)):
                    p0, p1, p2, p3 = project(points, sources, block, d, filled(o, 0.0))
                    b0, b1, b2, b3 = spread_block(amplitude, block)
                    o0, o1, o2, o3 = spread_block(others, block)
                    at = d * width
                    v0, f = pair_terms(code, p0, b0, o, o0, load(stretch, at))
                    v1, f = pair_terms(code, p1, b1, o, o1, f)
                    v2, f = pair_terms(code, p2, b2, o, o2, f)
                    v3, f = pair_terms(code, p3, b3, o, o3, f)
                    store(stretch, at, f)
                    accumulate_outer(sources, block, d, v0, v1, v2, v3, stretch)
                add_to(total, stretch)
            _write(total, width, first, stop, out)

    return sums


@kernel
def series_sums(
    x: Array, series: Array, sources: Packed, packed: Packed, amplitude: Packed, start: int, stop: int, out: Array
) -> None:
    """V of K_p, then the sums of K = sum_k C_k(q) C_k(q') p^k and of K_q: out [d + 2, N].

    series[2 K, N] holds C and C', packed the C of the sources in blocks.
    """
    d, orders = x.shape[0], series.shape[0] // 2
    width, rows = lanes(sources), out.shape[0]
    points, profile = workspace(d * width, sources), workspace(2 * orders * width, sources)
    stretch, total = workspace(rows * width, sources), workspace(rows * width, x)
    for first in range(start, stop, width):
        pack(x, first, width, points)
        pack(series, first, width, profile)
        clear(total)
        for begin in range(0, amplitude.shape[0] // NODES, BLOCKS):
            clear(stretch)
            for block in range(begin, min(begin + BLOCKS, amplitude.shape[0] // NODES)):
                p = project(points, sources, block, d, filled(sources, 0.0))
                b = spread_block(amplitude, block)
                at = block * orders * NODES
                k0, v0, r0 = _series_terms(p[0], b[0], profile, packed, at, orders)
                k1, v1, r1 = _series_terms(p[1], b[1], profile, packed, at + 1, orders)
                k2, v2, r2 = _series_terms(p[2], b[2], profile, packed, at + 2, orders)
                k3, v3, r3 = _series_terms(p[3], b[3], profile, packed, at + 3, orders)
                store(stretch, d * width, load(stretch, d * width) + ((k0 + k1) + (k2 + k3)))
                store(stretch, (d + 1) * width, load(stretch, (d + 1) * width) + ((r0 + r1) + (r2 + r3)))
                accumulate_outer(sources, block, d, v0, v1, v2, v3, stretch)
            add_to(total, stretch)
        _write(total, width, first, stop, out)


@njit(**HELPER)
def _series_terms(p: Any, a: Any, profile: Packed, packed: Packed, at: int, orders: int) -> Any:
    """a times K, K_p and K_q by the powers of p; source orders stand NODES apart from ``at`` on."""
    width = lanes(profile)
    source = a * spread(packed, at)
    value, radial = source * load(profile, 0), source * load(profile, orders * width)
    along, power = filled(p, 0.0), filled(p, 1.0)
    for k in range(1, orders):
        source = a * spread(packed, at + k * NODES)
        series = source * load(profile, k * width)
        along = fma(float(k) * series, power, along)
        power = power * p
        value = fma(series, power, value)
        radial = fma(source * load(profile, (orders + k) * width), power, radial)
    return value, along, radial
