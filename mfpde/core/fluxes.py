"""Finite-volume fluxes between two cells: reversible exponential rates, and a limited upwind flux.

With z = (Psi_j - Psi_i)/tau and the geometry of a face (shift delta, prefactors g) from ``measures.Axis``,

    rate(i -> j) = g_forward B(z - delta),   rate(j -> i) = g_backward B(delta - z),   B(y) = y / (exp(y) - 1),

which is the Scharfetter-Gummel (Chang-Cooper) flux for delta = 0 and, for a radius with volume weight r^k, the same
flux for the weighted measure. Both rates are in detailed balance with volume * exp(-Psi/tau), to round-off at any size
of y. Kernels count potentials in octaves, x = y / log 2, where exp(y) = 2^x splits without rounding: B(y) = log 2 b(x)
with b(x) = x / (2^x - 1), and log 2 goes into the prefactors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core.compilation import HELPER, kernel
from mfpde.core.vector import absolute, bits_of, copysign, fma, of_bits, polynomial, select

Array = NDArray[np.float64]

LARGEST = 1000.0  # octaves: b is below 1e-297 from here on, and stays what it is here
_SMALLEST = 1e-150
# Adding 1.5 * 2^52 + 1023 rounds to the nearest integer and leaves it, as the exponent of a double, in the low bits.
_ROUND = 6755399441055744.0 + 1023.0
# tanh(r log(2) / 2) = r odd(r^2) / even(r^2) on |r| <= 1/2: a minimax fit in 80 digits, relative error 5e-18
_odd = polynomial((0.02309440843762557, 20.201667276231642, 1513.860357434965), (1.0,))
_EVEN_0, _EVEN_1 = 4368.077660539635, 233.17769681379843


@njit(**HELPER)
def bernoulli(x: Any) -> Any:
    """b(x) = x / (2^x - 1) for x >= 0, 2 ulp; b(LARGEST) beyond LARGEST; NaN gives NaN.

    With x = k + r, |r| <= 1/2, 2^x = 2^k (even + odd) / (even - odd) and 2^x - 1 is a sum without cancellation.
    """
    x = x + _SMALLEST  # no 0 / 0, and no square that underflows
    x = select(x > LARGEST, LARGEST, x)
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)
    u = r * r
    odd = r * _odd(u)
    even = fma(u + _EVEN_1, u, _EVEN_0)
    power = of_bits(bits_of(shifted) << 52)
    return x * (even - odd) / fma(power + 1.0, odd, (power - 1.0) * even)


@njit(**HELPER)
def face_rates(x: Any, forward: Any, backward: Any) -> Any:
    """(forward b(x), backward b(-x)); b(-x) = b(x) + x from the smaller of the two, so that neither loses digits."""
    size = absolute(x)
    b = bernoulli(size)
    return forward * fma(0.5, size - x, b), backward * fma(0.5, size + x, b)


@njit(**HELPER)
def _median_slope(left: float, centre: float, right: float) -> float:
    """Monotonised-central slope (van Leer): second order, and both face values stay between the neighbours."""
    a, b = centre - left, right - centre
    steepest, mean = 2.0 * absolute(a), 0.5 * absolute(a + b)
    steepest = select(2.0 * absolute(b) < steepest, 2.0 * absolute(b), steepest)
    return select(a * b > 0.0, copysign(select(mean < steepest, mean, steepest), a), 0.0)


@njit(**HELPER)
def _limited_flows(
    mass: Array, mu: Array, at: tuple[int, int, int, int], count: int, scale: float, largest: int, flows: Array
) -> int:
    """flows[:count] of the faces between cells from at[1] and from at[2] on; at[0], at[3] are the neighbours behind.

    Returns the bits of the largest |speed|: without signs, bits are ordered like the numbers, with NaN on top.
    """
    before, left = mass[at[0] : at[0] + count], mass[at[1] : at[1] + count]
    right, after = mass[at[2] : at[2] + count], mass[at[3] : at[3] + count]
    low, high = mu[at[1] : at[1] + count], mu[at[2] : at[2] + count]
    for k in range(count):
        speed = scale * (low[k] - high[k])
        east = left[k] + 0.5 * _median_slope(before[k], left[k], right[k])
        west = right[k] - 0.5 * _median_slope(left[k], right[k], after[k])
        flows[k] = speed * select(speed > 0.0, east, west)
        largest = max(largest, bits_of(absolute(speed)))
    return largest


@njit(**HELPER)
def _pass_on(flows: Array, count: int, share: float, out: Array, left: int, right: int) -> None:
    """Move share * flows from the cells at ``left`` to those at ``right``."""
    source, target = out[left : left + count], out[right : right + count]
    for k in range(count):
        source[k] -= share * flows[k]
    for k in range(count):
        target[k] += share * flows[k]


@kernel
def limited_divergence(
    mass: Array, potential: Array, axis: int, width: float, rate: float, periodic: bool, out: Array
) -> float:
    """Subtract from ``out`` the divergence of the limited upwind flux of one axis; return the largest face speed.

    J = u+ rho^E_i + u- rho^W_{i+1},  u = -rate (mu_{i+1} - mu_i)/width,  mu = Psi + tau log(rho/volume) supplied as
    ``potential`` (Carrillo, Chertock, Huang 2015, arXiv 1402.4252), with rho^E, rho^W monotonised-central.
    mass, potential, out : [K, n1, n2, n3]; masses stand for densities because the cells of an axis are equal.
    """
    n, step = mass.shape[axis + 1], 1
    for k in range(axis + 2, 4):
        step *= mass.shape[k]
    rho, mu, change = mass.reshape(-1), potential.reshape(-1), out.reshape(-1)
    flows, largest, scale = np.empty(max(step, n)), 0, rate / width
    # along the last axis the inner faces of a line are one stretch, along the others the faces behind a cell are
    together = n - 3 if step == 1 and n > 3 else 1
    for base in range(0, rho.shape[0], n * step):
        i = 0
        while i < (n if periodic else n - 1):
            count = together if i == 1 else 1
            if periodic:
                cells = ((i - 1) % n, i, (i + 1) % n, (i + 2) % n)
            else:
                # a neighbour that is missing is the cell itself: its slope is zero
                cells = (max(i - 1, 0), i, i + 1, min(i + 2, n - 1))
            at = (base + cells[0] * step, base + cells[1] * step, base + cells[2] * step, base + cells[3] * step)
            largest = _limited_flows(rho, mu, at, count * step, scale, largest, flows)
            _pass_on(flows, count * step, 1.0 / width, change, at[1], at[2])
            i += count
    return float(of_bits(largest))
