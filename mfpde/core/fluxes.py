"""Finite-volume fluxes on a tensor grid: reversible exponential rates, their stochastic sweeps, and a limited flux.

Arrays have shape (K, n1, n2, n3): K frozen species (no flux between them), then three axes, of which unused ones have
length 1.  A face on axis k lies between cell i and i + 1 and is stored at index i.  With z = (Psi_{i+1} - Psi_i)/tau
and the geometry arrays (shift delta, forward and backward prefactors g) of ``measures.Axis``,

    rate(i -> i+1) = g_forward B(z - delta),   rate(i+1 -> i) = g_backward B(delta - z),   B(y) = y / (exp(y) - 1),

which is the Scharfetter-Gummel (Chang-Cooper) flux for delta = 0 and, for a radius with volume weight r^k, the same
flux for the weighted measure.  Both rates are in detailed balance with volume * exp(-Psi/tau), exactly.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, nogil=True)
def _bernoulli(y: float) -> float:
    """B(y) = y/(exp(y) - 1), to round-off for every finite y >= 0."""
    if y < 1e-5:
        return 1.0 - 0.5 * y + y * y / 12.0
    if y > 700.0:
        return 0.0
    return y / math.expm1(y)


@njit(cache=True, nogil=True)
def exponential_rates(
    psi: Array,
    temperature: float,
    axis: int,
    shift: Array,
    forward: Array,
    backward: Array,
    periodic: bool,
    up: Array,
    down: Array,
) -> None:
    """Jump rates across the faces of one axis (0, 1, 2), written to ``up`` and ``down`` of the shape of ``psi``.

    shift, forward, backward : [n_axis], the face geometry; the last face is the wrap-around face if ``periodic``,
    otherwise closed (rate 0): no flux leaves the box.
    """
    species, n1, n2, n3 = psi.shape
    for s in range(species):
        for i in range(n1):
            for j in range(n2):
                for k in range(n3):
                    if axis == 0:
                        here, last = i, n1 - 1
                        other = psi[s, i + 1 if i < last else 0, j, k]
                    elif axis == 1:
                        here, last = j, n2 - 1
                        other = psi[s, i, j + 1 if j < last else 0, k]
                    else:
                        here, last = k, n3 - 1
                        other = psi[s, i, j, k + 1 if k < last else 0]
                    if here == last and not periodic:
                        up[s, i, j, k] = 0.0
                        down[s, i, j, k] = 0.0
                        continue
                    y = (other - psi[s, i, j, k]) / temperature - shift[here]
                    # B(-y) = B(y) + y from the smaller of the two: no cancellation, so detailed balance is exact
                    rate = _bernoulli(abs(y))
                    up[s, i, j, k] = forward[here] * (rate + max(-y, 0.0))
                    down[s, i, j, k] = backward[here] * (rate + max(y, 0.0))


@njit(cache=True, nogil=True)
def largest_exit_rate(up1: Array, down1: Array, up2: Array, down2: Array, up3: Array, down3: Array) -> float:
    """The largest total rate at which any cell is left: the stiffness q of the generator."""
    species, n1, n2, n3 = up3.shape
    largest = 0.0
    for s in range(species):
        for i in range(n1):
            for j in range(n2):
                for k in range(n3):
                    total = up3[s, i, j, k] + down3[s, i, j, k - 1]
                    if n2 > 1:
                        total += up2[s, i, j, k] + down2[s, i, j - 1, k]
                    if n1 > 1:
                        total += up1[s, i, j, k] + down1[s, i - 1, j, k]
                    largest = max(largest, total)
    return largest


@njit(cache=True, nogil=True)
def _add_face_flow(
    c: float,
    out: Array,
    rho: Array,
    before: Array,
    up_before: Array,
    down_before: Array,
    up_here: Array,
    down_here: Array,
    after: Array,
) -> None:
    """out += c * (inflow - outflow) across the two faces of every cell of one row."""
    for k in range(out.shape[0]):
        inflow = up_before[k] * before[k] + down_here[k] * after[k]
        out[k] += c * (inflow - (up_here[k] + down_before[k]) * rho[k])


@njit(cache=True, nogil=True)
def _sweep(
    c: float,
    rho: Array,
    out: Array,
    up1: Array,
    down1: Array,
    up2: Array,
    down2: Array,
    up3: Array,
    down3: Array,
) -> None:
    """out = (I + c A) rho for the generator A of the rates; mass is conserved to round-off, signs are kept."""
    # the wrap-around rates are zero on an axis that is not periodic, so one formula serves every end
    species, n1, n2, n3 = rho.shape
    for s in range(species):
        for i in range(n1):
            for j in range(n2):
                row, target = rho[s, i, j], out[s, i, j]
                u, d = up3[s, i, j], down3[s, i, j]
                last = n3 - 1
                if n3 == 1:
                    target[0] = row[0]
                else:
                    inflow = u[last] * row[last] + d[0] * row[1]
                    target[0] = row[0] + c * (inflow - (u[0] + d[last]) * row[0])
                    middle, inner = target[1:last], row[1:last]
                    left, right = row[: last - 1], row[2:]
                    u_left, d_left, u_mid, d_mid = u[: last - 1], d[: last - 1], u[1:last], d[1:last]
                    for k in range(middle.shape[0]):
                        gain = u_left[k] * left[k] + d_mid[k] * right[k]
                        middle[k] = inner[k] + c * (gain - (u_mid[k] + d_left[k]) * inner[k])
                    inflow = u[last - 1] * row[last - 1] + d[last] * row[0]
                    target[last] = row[last] + c * (inflow - (u[last] + d[last - 1]) * row[last])
                if n2 > 1:
                    b, a = (j - 1) % n2, (j + 1) % n2
                    before, after = rho[s, i, b], rho[s, i, a]
                    _add_face_flow(
                        c, target, row, before, up2[s, i, b], down2[s, i, b], up2[s, i, j], down2[s, i, j], after
                    )
                if n1 > 1:
                    b, a = (i - 1) % n1, (i + 1) % n1
                    before, after = rho[s, b, j], rho[s, a, j]
                    _add_face_flow(
                        c, target, row, before, up1[s, b, j], down1[s, b, j], up1[s, i, j], down1[s, i, j], after
                    )


@njit(cache=True, nogil=True)
def propagate(
    mass: Array,
    step: float,
    stages: int,
    up1: Array,
    down1: Array,
    up2: Array,
    down2: Array,
    up3: Array,
    down3: Array,
    work: Array,
    out: Array,
) -> None:
    """out = P(step) mass by the strong-stability-preserving Runge-Kutta method of order 2 with s = ``stages`` stages.

    r(A) = (s-1)/s (I + step A/(s-1))^s + I/s (Ketcheson 2008): for step * q <= s - 1 a convex combination of powers
    of one stochastic matrix that leaves volume * exp(-Psi/tau) invariant, hence positive, conservative, and
    dissipating the relative entropy.  ``work`` and ``out`` have the shape of ``mass``; ``mass`` is left as it is.
    """
    c = step / (stages - 1)
    source, target = mass, out if stages % 2 == 1 else work
    for stage in range(stages):
        _sweep(c, source, target, up1, down1, up2, down2, up3, down3)
        source = target
        target = work if (stages - stage) % 2 == 1 else out
    weight = 1.0 / stages
    flat_out, flat_in = out.reshape(-1), mass.reshape(-1)
    for i in range(flat_out.shape[0]):
        flat_out[i] = (1.0 - weight) * flat_out[i] + weight * flat_in[i]


@njit(cache=True, nogil=True)
def _median_slope(left: float, centre: float, right: float) -> float:
    """Monotonised-central slope (van Leer): second order, and both face values stay between the neighbours."""
    a, b = centre - left, right - centre
    if a * b <= 0.0:
        return 0.0
    size = min(min(2.0 * abs(a), 2.0 * abs(b)), 0.5 * abs(a + b))
    return size if a > 0.0 else -size


@njit(cache=True, nogil=True)
def limited_divergence(
    mass: Array, potential: Array, axis: int, width: float, rate: float, periodic: bool, out: Array
) -> float:
    """Subtract from ``out`` the divergence of the limited upwind flux of one axis; return the largest face speed.

    J = u+ rho^E_i + u- rho^W_{i+1},  u = -rate (mu_{i+1} - mu_i)/width,  mu = Psi + tau log(rho/volume) supplied as
    ``potential`` (Carrillo, Chertock, Huang 2015, arXiv 1402.4252), with rho^E, rho^W monotonised-central.
    mass, potential, out : [K, n1, n2, n3]; masses stand for densities because the cells of an axis are equal.
    """
    species, n1, n2, n3 = mass.shape
    n = (n1, n2, n3)[axis]
    fastest = 0.0
    outer, inner = (n1 if axis != 0 else n2), (n3 if axis != 2 else n2)
    line = np.empty(n)
    energy = np.empty(n)
    slope = np.zeros(n)
    for s in range(species):
        for p in range(outer):
            for q in range(inner):
                for i in range(n):
                    a, b, c = (i, p, q) if axis == 0 else ((p, i, q) if axis == 1 else (p, q, i))
                    line[i], energy[i] = mass[s, a, b, c], potential[s, a, b, c]
                for i in range(n):
                    if periodic or (0 < i < n - 1):
                        slope[i] = _median_slope(line[i - 1], line[i], line[(i + 1) % n])
                for i in range(n if periodic else n - 1):
                    j = (i + 1) % n
                    u = -rate * (energy[j] - energy[i]) / width
                    fastest = max(fastest, abs(u))
                    flux = u * (line[i] + 0.5 * slope[i]) if u > 0.0 else u * (line[j] - 0.5 * slope[j])
                    flux /= width
                    a, b, c = (i, p, q) if axis == 0 else ((p, i, q) if axis == 1 else (p, q, i))
                    out[s, a, b, c] -= flux
                    a, b, c = (j, p, q) if axis == 0 else ((p, j, q) if axis == 1 else (p, q, j))
                    out[s, a, b, c] += flux
    return fastest
