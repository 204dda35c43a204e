"""Two Gaussians in infinitely many dimensions: the limit closes on two numbers (Mei, Misiakiewicz, Montanari 2019).

As d grows with the share of informative inputs, block radii of x concentrate and <w, x> given y is Gaussian of standard
deviation S_+- = sqrt((1 +- Delta)^2 r_1^2 + r_2^2), r_1 and r_2 the radii of w in the two blocks. With
q(s) = E sigma(s G), G standard normal, and Q_+- = int q(S_+-) drho,

    risk = ((1 - Q_+)^2 + (1 + Q_-)^2) / 4,      Psi = ((Q_+ - 1) q(S_+) + (Q_- + 1) q(S_-)) / 2,
    dr_j/dt = -d Psi/d r_j.

Units are those of mfpde: the risk of the paper is twice this one, and its time t = k eps half of this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from mfpde.exact.gaussian import Array


@dataclass(frozen=True, eq=False)
class InfinitePath:
    """``radii`` [K, m, k] of m atoms, k = 1 (one block) or 2 (informative, other inputs), ``risk`` [K] at ``time``."""

    time: Array
    radii: Array
    risk: Array


def gaussian_mean(knots: ArrayLike, slopes: ArrayLike, value: float, s: ArrayLike) -> tuple[Array, Array]:
    """q(s) = E sigma(s G) and q'(s), s >= 0 of any shape, of the piecewise-linear sigma (knots, slopes, value).

    q = v_0 + s_0 (0 - t_1) + sum_j c_j [s phi(t_j/s) - t_j Phi(-t_j/s)], q' = sum_j c_j phi(t_j/s), c_j the jumps of
    the slope; q'(0) is the limit from above.
    """
    t, steps, size = np.asarray(knots, float), np.asarray(slopes, float), np.asarray(s, float)[..., None]
    jumps = np.diff(steps)
    beyond = np.where(t == 0.0, 0.0, np.copysign(np.inf, t))
    z = np.where(size > 0.0, t / np.where(size > 0.0, size, 1.0), beyond)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    mean = value - steps[0] * t[0] + np.sum(jumps * (size * density - t * ndtr(-z)), axis=-1)
    return np.asarray(mean), np.asarray(np.sum(jumps * density, axis=-1))


def deviations(separation: float, radii: Array) -> Array:
    """S_+ and S_- of radii [m, k] : [2, m]."""
    rest = radii[:, 1] ** 2 if radii.shape[1] == 2 else 0.0
    return np.stack([np.sqrt((1.0 + y * separation) ** 2 * radii[:, 0] ** 2 + rest) for y in (1.0, -1.0)])


def risk(knots: ArrayLike, slopes: ArrayLike, value: float, separation: float, radii: Array, weights: Array) -> float:
    """Risk of weighted atoms with radii [m, k], weights [m]."""
    q = gaussian_mean(knots, slopes, value, deviations(separation, radii))[0] @ weights
    return float(0.25 * ((1.0 - q[0]) ** 2 + (1.0 + q[1]) ** 2))


def velocity(
    knots: ArrayLike, slopes: ArrayLike, value: float, separation: float, radii: Array, weights: Array
) -> Array:
    """dr/dt of weighted atoms with radii [m, k] : [m, k]; an atom at a cusp at the origin is not handled."""
    s = deviations(separation, radii)
    q, slope = gaussian_mean(knots, slopes, value, s)
    mean = q @ weights
    force = 0.5 * np.array([mean[0] - 1.0, mean[1] + 1.0])[:, None] * slope / np.where(s > 0.0, s, 1.0)
    stretch = np.array([(1.0 + separation) ** 2, (1.0 - separation) ** 2])
    speeds = [-radii[:, 0] * (stretch @ force)]
    if radii.shape[1] == 2:
        speeds.append(-radii[:, 1] * force.sum(axis=0))
    return np.stack(speeds, axis=1)


def path(
    time: ArrayLike,
    radii: ArrayLike,
    weights: ArrayLike,
    *,
    knots: ArrayLike,
    slopes: ArrayLike,
    value: float,
    separation: float,
    tolerance: float = 1e-11,
) -> InfinitePath:
    """Atoms with ``radii`` [m, k] at time[0] and ``weights`` [m], at ``time`` [K] increasing, by DOP853.

    Exact to ``tolerance`` for any number of atoms: one atom stays one (docs/dimension-free.md).
    """
    from scipy.integrate import solve_ivp

    t, start, mass = np.atleast_1d(np.asarray(time, float)), np.asarray(radii, float), np.asarray(weights, float)
    law = (knots, slopes, value, separation)

    def right_hand_side(_: float, flat: Array) -> Array:
        return velocity(*law, flat.reshape(start.shape), mass).reshape(-1)

    found = solve_ivp(
        right_hand_side,
        (t[0], t[-1]),
        start.reshape(-1),
        method="DOP853",
        t_eval=t,
        rtol=tolerance,
        atol=1e-3 * tolerance,
    )
    moved = found.y.T.reshape(len(t), *start.shape)
    return InfinitePath(t, moved, np.array([risk(*law, one, mass) for one in moved]))
