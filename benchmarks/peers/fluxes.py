"""Exponential rates and explicit stages on a tensor grid as the users of NumPy and JAX would write them.

    up = g B(z), down = g B(-z),  z = difference of psi across the face / tau,  g = tau/h^2,  B(z) = z/(e^z - 1)
    mass' = (1 - 1/s) (I + dt/(s-1) A)^s mass + mass/s,      A mass = - difference of (up mass_left - down mass_right)

and mass' = (I + dt A) mass for s = 1.

B(z) = E - z/2 and B(-z) = E + z/2 with E = (z/2)/tanh(z/2): one hyperbolic tangent per face and no case distinction.
Closed boundaries; arrays of one to three axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Call = Callable[[], Any]


def _side(axis: int, side: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, side)


LEFT, RIGHT = slice(None, -1), slice(1, None)


def rates(psi: Array, temperature: float, widths: Sequence[float]) -> list[tuple[Array, Array]]:
    """(up, down) of the inner faces of every axis, by the formula as it stands."""
    found = []
    for axis, h in enumerate(widths):
        z = np.diff(psi, axis=axis) / temperature
        factor = np.where(z == 0.0, 1.0, z / np.where(z == 0.0, 1.0, np.expm1(z)))
        found.append((temperature / h**2 * factor, temperature / h**2 * (factor + z)))
    return found


def largest_exit_rate(psi: Array, temperature: float, widths: Sequence[float]) -> float:
    total = np.zeros_like(psi)
    for axis, (up, down) in enumerate(rates(psi, temperature, widths)):
        total[_side(axis, LEFT)] += up
        total[_side(axis, RIGHT)] += down
    return float(total.max())


def reference(psi: Array, mass: Array, temperature: float, widths: Sequence[float], dt: float, stages: int) -> Array:
    """The formulas as they stand."""
    faces = rates(psi, temperature, widths)
    now = mass
    for _ in range(stages):
        after = now.copy()
        for axis, (up, down) in enumerate(faces):
            flux = dt / max(stages - 1, 1) * (up * now[_side(axis, LEFT)] - down * now[_side(axis, RIGHT)])
            after[_side(axis, LEFT)] -= flux
            after[_side(axis, RIGHT)] += flux
        now = after
    return now if stages == 1 else (1.0 - 1.0 / stages) * now + mass / stages


def numpy_step(psi: Array, mass: Array, temperature: float, widths: Sequence[float], dt: float, block: int) -> Call:
    """(I + dt A) mass without stored rates, blocks of the outer axis of about ``block`` cells that stay in the cache.

    flux = c (E (left - right) - z/2 (left + right)),  E = (z/2)/tanh(z/2).
    """
    planes = max(1, round(block / (psi.size // len(psi))))
    pieces = [(start, min(start + planes, len(psi))) for start in range(0, len(psi), planes)]
    room = [np.empty((planes + 1, *psi.shape[1:])).reshape(-1) for _ in range(4)]
    out = np.empty_like(mass)

    def call() -> Array:
        np.copyto(out, mass)
        for start, stop in pieces:
            for axis, h in enumerate(widths):
                # the last face of a piece along the outer axis lies between it and the next piece
                rows = slice(start, min(stop + 1, len(psi)) if axis == 0 else stop)
                left, right = (_side(axis, side) for side in (LEFT, RIGHT))
                v, rho = psi[rows], mass[rows]
                if v.shape[axis] < 2:
                    continue
                shape = v[left].shape
                half, even, flux, total = (buffer[: v[left].size].reshape(shape) for buffer in room)
                np.subtract(v[right], v[left], out=half)
                half *= 0.5 / temperature
                half += 1e-300
                np.tanh(half, out=even)
                np.divide(half, even, out=even)
                np.subtract(rho[left], rho[right], out=flux)
                flux *= even
                np.add(rho[left], rho[right], out=total)
                total *= half
                flux -= total
                flux *= dt * temperature / h**2
                target = out[rows]
                target[left] -= flux
                target[right] += flux
        return out

    return call


def numpy_in_place(
    psi: Array, mass: Array, temperature: float, widths: Sequence[float], dt: float, stages: int
) -> Call:
    """No temporary is allocated; flux factors hold dt/(s - 1)."""
    up = [np.empty_like(np.diff(psi, axis=axis)) for axis in range(psi.ndim)]
    down = [np.empty_like(u) for u in up]
    flux, other = [np.empty_like(u) for u in up], [np.empty_like(u) for u in up]
    buffers = np.empty_like(mass), np.empty_like(mass)

    def call() -> Array:
        for axis, h in enumerate(widths):
            half, even = up[axis], down[axis]
            np.subtract(psi[_side(axis, RIGHT)], psi[_side(axis, LEFT)], out=half)
            half *= 0.5 / temperature
            half += 1e-300
            np.tanh(half, out=even)
            np.divide(half, even, out=even)
            factor = dt / max(stages - 1, 1) * temperature / h**2
            half *= factor
            even *= factor
            np.subtract(even, half, out=flux[axis])
            even += half
            np.copyto(half, flux[axis])
        now = mass
        for stage in range(stages):
            after = buffers[stage % 2]
            np.copyto(after, now)
            for axis in range(psi.ndim):
                np.multiply(up[axis], now[_side(axis, LEFT)], out=flux[axis])
                np.multiply(down[axis], now[_side(axis, RIGHT)], out=other[axis])
                flux[axis] -= other[axis]
                after[_side(axis, LEFT)] -= flux[axis]
                after[_side(axis, RIGHT)] += flux[axis]
            now = after
        now *= 1.0 - 1.0 / stages
        now += mass / stages
        return now

    return call


def jax_jit(
    jax: ModuleType, psi: Array, mass: Array, temperature: float, widths: Sequence[float], dt: float, stages: int
) -> Call:
    """One jit of rates and stages; XLA fuses what it can."""
    np_ = jax.numpy

    @jax.jit
    def propagate(psi: Any, mass: Any) -> Any:
        faces = []
        for axis, h in enumerate(widths):
            half = np_.diff(psi, axis=axis) * (0.5 / temperature) + 1e-300
            even = half / np_.tanh(half)
            factor = dt / max(stages - 1, 1) * temperature / h**2
            faces.append((factor * (even - half), factor * (even + half)))

        def stage(_: int, now: Any) -> Any:
            after = now
            for axis, (up, down) in enumerate(faces):
                flux = up * now[_side(axis, LEFT)] - down * now[_side(axis, RIGHT)]
                edge = [(0, 0)] * now.ndim
                edge[axis] = (1, 1)
                after = after - np_.diff(np_.pad(flux, edge), axis=axis)
            return after

        now = jax.lax.fori_loop(0, stages, stage, mass)
        return now if stages == 1 else (1.0 - 1.0 / stages) * now + mass / stages

    arrays = np_.asarray(psi), np_.asarray(mass)
    return lambda: jax.block_until_ready(propagate(*arrays))
