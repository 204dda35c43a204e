"""The loops over all pairs of particles: a kernel K(p, q, q') and its derivatives, summed over the sources.

For a vector of particles i, with p_ij = w_i . w_j, q_i = |w_i|^2, the sums over j of a_j K, a_j K_q and a_j K_p w_j; a
tile is that vector against NODES sources. With ``energy`` the derivatives are left out.
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

from mfpde.core.activations import ERF, HERMITE, IDENTITY, QUADRATIC, RELU, SIN
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.elementary import angle_above_axis, exponential
from mfpde.core.passes import BLOCKS
from mfpde.core.tiles import NODES, accumulate_outer, add_to, clear, pack, project, spread_block, workspace
from mfpde.core.vector import filled, fma, lanes, load, select, spread, sqrt, store

Array = NDArray[np.float64]
Packed = NDArray[Any]


@njit(**HELPER)
def _erf(p: Any, q: Any, other: Any) -> Any:
    excess = fma(q, other, -p * p)
    root = sqrt((1.0 + q) + (other + select(excess > 0.0, excess, 0.0)))
    slope = (2.0 / math.pi) / root
    return (2.0 / math.pi) * angle_above_axis(p, root), slope, slope * p


@njit(**HELPER)
def _relu(p: Any, q: Any, other: Any) -> Any:
    excess = fma(q, other, -p * p)
    root = sqrt(select(excess > 0.0, excess, 0.0))
    open_angle = 0.5 * math.pi + angle_above_axis(p, root)
    return (0.5 / math.pi) * fma(open_angle, p, root), (0.5 / math.pi) * open_angle, root


@njit(**HELPER)
def _sin(p: Any, q: Any, other: Any) -> Any:
    half = 0.5 * (q + other)
    plus, minus = 0.5 * exponential(p - half), 0.5 * exponential(-p - half)
    return plus - minus, plus + minus, plus - minus


@njit(**HELPER)
def _quadratic(p: Any, q: Any, other: Any) -> Any:
    return fma(q, other, 2.0 * (p * p)), 4.0 * p, other


@njit(**HELPER)
def _identity(p: Any, q: Any, other: Any) -> Any:
    return p, filled(p, 1.0), filled(p, 0.0)


_FORMULAS = {ERF: _erf, RELU: _relu, SIN: _sin, QUADRATIC: _quadratic, IDENTITY: _identity}


def pair_terms(code: int, p: Any, q: Any, other: Any) -> Any:
    """(K, K_p, K_q / radial_factor(q)) inside kernels, for a code known at compilation."""
    raise NotImplementedError("for compiled code")


@overload(pair_terms, prefer_literal=True, strict=False, jit_options=HELPER)
def _pair_terms(code: Any, p: Any, q: Any, other: Any) -> Any:
    if not isinstance(code, types.IntegerLiteral):
        return None
    formula = _FORMULAS[code.literal_value]
    return lambda code, p, q, other: formula(p, q, other)


@njit(**HELPER)
def _radial_factor(code: int, q: float) -> float:
    if code == ERF:
        return -0.5 / (1.0 + q)
    if code == RELU:
        return 0.25 / math.pi / q if q > 0.0 else 0.0
    return -0.5 if code == SIN else 1.0


@njit(**HELPER)
def _write(
    code: int, energy: bool, theta: Array, squares: Array, total: Array, first: int, width: int, out: Array
) -> None:
    """Rows of pair_force from the sums of one vector of particles: grad_u K = K_p v + 2 K_q u."""
    d, count = theta.shape[0] - 2, theta.shape[1]
    stride = total.shape[0] // (d + 2)
    for i in range(width):
        particle = first + i
        out[0, particle] = total[d * stride + i] / count
        if not energy:
            scale = theta[0, particle] / count
            # relu'(0) = 0
            scale = 0.0 if code == RELU and squares[particle] == 0.0 else scale
            radial = 2.0 * _radial_factor(code, squares[particle]) * total[(d + 1) * stride + i]
            for k in range(d):
                out[k + 1, particle] = scale * (total[k * stride + i] + radial * theta[k + 1, particle])
            out[d + 1, particle] = 0.0


@cache
def closed_form_sums(code: int, energy: bool) -> Callable[..., None]:
    """The kernel (theta, squares, sources, their squares, amplitudes, start, stop, out) of one activation."""

    @kernel
    def sums(
        theta: Array,
        squares: Array,
        sources: Packed,
        others: Packed,
        amplitude: Packed,
        start: int,
        stop: int,
        out: Array,
    ) -> None:
        d, count = theta.shape[0] - 2, theta.shape[1]
        width, rows = lanes(sources), d + 2
        points, square = workspace(d * width, sources), workspace(width, sources)
        # rows: sum_j a_j K_p w_j, sum_j a_j K, sum_j a_j K_q
        stretch, total = workspace(rows * width, sources), workspace(rows * width, theta)
        for first in range(start, stop, width):
            pack(theta[1 : d + 1], first, width, points)
            pack(squares.reshape(1, count), first, width, square)
            q = load(square, 0)
            clear(total)
            for begin in range(0, others.shape[0] // NODES, BLOCKS):
                clear(stretch)
                for block in range(begin, min(begin + BLOCKS, others.shape[0] // NODES)):
                    p0, p1, p2, p3 = project(points, sources, block, d, filled(q, 0.0))
                    a0, a1, a2, a3 = spread_block(amplitude, block)
                    o0, o1, o2, o3 = spread_block(others, block)
                    k0, v0, r0 = pair_terms(code, p0, q, o0)
                    k1, v1, r1 = pair_terms(code, p1, q, o1)
                    k2, v2, r2 = pair_terms(code, p2, q, o2)
                    k3, v3, r3 = pair_terms(code, p3, q, o3)
                    at = d * width
                    store(stretch, at, fma(a3, k3, fma(a2, k2, fma(a1, k1, fma(a0, k0, load(stretch, at))))))
                    if not energy:
                        at += width
                        store(stretch, at, fma(a3, r3, fma(a2, r2, fma(a1, r1, fma(a0, r0, load(stretch, at))))))
                        accumulate_outer(sources, block, d, a0 * v0, a1 * v1, a2 * v2, a3 * v3, stretch)
                add_to(total, stretch)
            _write(code, energy, theta, squares, total, first, min(width, stop - first), out)

    return sums


@cache
def series_sums(energy: bool) -> Callable[..., None]:
    """The kernel (theta, profiles, sources, their profiles, amplitudes, start, stop, out) of a Hermite series."""

    @kernel
    def sums(
        theta: Array,
        series: Array,
        sources: Packed,
        packed: Packed,
        amplitude: Packed,
        start: int,
        stop: int,
        out: Array,
    ) -> None:
        """K = sum_k C_k(q) C_k(q') p^k: series[2 K, N] holds C and C', packed the C of the sources in blocks."""
        d = theta.shape[0] - 2
        orders = series.shape[0] // 2
        width, rows = lanes(sources), d + 2
        points, profile = workspace(d * width, sources), workspace(2 * orders * width, sources)
        stretch, total = workspace(rows * width, sources), workspace(rows * width, theta)
        for first in range(start, stop, width):
            pack(theta[1 : d + 1], first, width, points)
            pack(series, first, width, profile)
            clear(total)
            for begin in range(0, amplitude.shape[0] // NODES, BLOCKS):
                clear(stretch)
                for block in range(begin, min(begin + BLOCKS, amplitude.shape[0] // NODES)):
                    p = project(points, sources, block, d, filled(sources, 0.0))
                    a = spread_block(amplitude, block)
                    at = block * orders * NODES
                    k0, v0, r0 = _series_terms(p[0], a[0], profile, packed, at, orders)
                    k1, v1, r1 = _series_terms(p[1], a[1], profile, packed, at + 1, orders)
                    k2, v2, r2 = _series_terms(p[2], a[2], profile, packed, at + 2, orders)
                    k3, v3, r3 = _series_terms(p[3], a[3], profile, packed, at + 3, orders)
                    store(stretch, d * width, load(stretch, d * width) + ((k0 + k1) + (k2 + k3)))
                    store(stretch, (d + 1) * width, load(stretch, (d + 1) * width) + ((r0 + r1) + (r2 + r3)))
                    accumulate_outer(sources, block, d, v0, v1, v2, v3, stretch)
                add_to(total, stretch)
            _write(HERMITE, energy, theta, theta[0], total, first, min(width, stop - first), out)

    return sums


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
