"""Gaussian averages of two functions of two inputs by quadrature in the plane that the inputs span.

In polar coordinates w = r (cos t, sin t), (u, v) = r (|x| cos t, |z| cos(t - phi)): kinks at u = 0 and v = 0 are rays,
at which the angle is cut; smooth functions change fastest near these rays, where Gauss's nodes are dense. An oracle
for ``duals``, which shares nothing with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# exp(-r^2/2) at this radius is below 1e-36
_END, _PANELS, _POINTS = 13.0, 26, 12


def plane_average(
    one: Callable[[Array], Array], two: Callable[[Array], Array], x: Array, z: Array, angles: int = 64
) -> float:
    """E one(<w, x>) two(<w, z>) for w ~ N(0, I_d) and inputs x, z [d]; functions with a kink at 0 at most.

    ``angles`` between two rays.  Absolute error about 1e-13 while the functions' width is not far below 1/(8 |x|).
    """
    length, other = float(np.linalg.norm(x)), float(np.linalg.norm(z))
    e, g = x / (length or 1.0), z / (other or 1.0)
    phi = 2.0 * np.arctan2(np.linalg.norm(e - g), np.linalg.norm(e + g)) if length and other else 0.0
    quarter = 0.5 * np.pi
    rays = np.sort(np.mod([quarter, -quarter, phi + quarter, phi - quarter], 2.0 * np.pi))
    turn, share = _panels(np.append(rays, rays[0] + 2.0 * np.pi), angles)
    r, weight = _panels(np.linspace(0.0, _END, _PANELS + 1), _POINTS)
    weight *= r * np.exp(-0.5 * r**2) / (2.0 * np.pi)
    u, v = np.outer(r, length * np.cos(turn)), np.outer(r, other * np.cos(turn - phi))
    return float(weight @ (one(u) * two(v)) @ share)


def _panels(ends: Array, count: int) -> tuple[Array, Array]:
    """Gauss-Legendre rules of ``count`` nodes on consecutive intervals, one after the other."""
    t, p = np.polynomial.legendre.leggauss(count)
    middle, half = 0.5 * (ends[1:] + ends[:-1])[:, None], 0.5 * np.diff(ends)[:, None]
    return (middle + half * t).reshape(-1), (half * p).reshape(-1)
