"""Step schedules of stochastic gradient descent: how long a step is, in the theory's clock and in that of the limit.

Mei, Misiakiewicz and Montanari (2019) move theta by 2 s_k (y - f) grad sigma with s_k = eps xi(k eps): their time is
t = k eps, their limit d rho/dt = 2 xi(t) div(rho grad Psi).  The limit here has no factor,
d rho/dT = div(rho grad Psi), so that a step of theirs is one of size 2 s_k and

    T(t) = 2 int_0^t xi,      particles.step = 2 eps.

A step takes exactly its share of T, 2 int xi over [k eps, (k + 1) eps]: it differs from 2 eps xi(k eps) by O(eps^2),
and the steps of a run add up to the time of the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import boxcox, inv_boxcox

Array = NDArray[np.float64]


class Steps(NamedTuple):
    """``times`` [n + 1] of the limit's clock between n steps of ``sizes`` [n]."""

    times: Array
    sizes: Array


@dataclass(frozen=True)
class Schedule:
    """xi(t) = max(t, cutoff)^exponent in the theory's clock; exponent 0 is the constant 1, whatever the cut-off."""

    exponent: float = 0.0
    cutoff: float = 1.0

    def rate(self, t: ArrayLike) -> Array:
        """xi(t)."""
        return np.asarray(np.maximum(t, self.cutoff) ** self.exponent, float)

    def limit_time(self, t: ArrayLike) -> Array:
        """T(t) = 2 int_0^t xi."""
        e, c = self.exponent, self.cutoff
        t = np.asarray(t, float)
        if e == 0.0:
            return 2.0 * t
        # (x^k - 1)/k without cancellation, log x for k = 0
        beyond = c ** (1.0 + e) * boxcox(np.maximum(t, c) / c, 1.0 + e)
        return np.asarray(2.0 * (c**e * np.minimum(t, c) + beyond))

    def theory_time(self, limit: ArrayLike) -> Array:
        """t of T(t) = ``limit``."""
        e, c = self.exponent, self.cutoff
        half = 0.5 * np.asarray(limit, float)
        if e == 0.0:
            return half
        beyond = np.maximum(half - c ** (1.0 + e), 0.0)
        late = c * inv_boxcox(beyond / c ** (1.0 + e), 1.0 + e)
        return np.asarray(np.where(beyond > 0.0, late, half / c**e))

    def count(self, before: float, now: float, step: float) -> int:
        """Steps of eps at most ``step``/2, equal in the theory's clock, between two times of the limit."""
        spent = 2.0 * float(self.theory_time(now) - self.theory_time(before))
        return max(1, int(np.ceil(spent / step - 1e-9)))

    def steps(self, before: float, now: float, step: float) -> Steps:
        """The steps between two times of the limit."""
        count = self.count(before, now, step)
        if self.exponent == 0.0:
            size = (now - before) / count
            return Steps(before + size * np.arange(count + 1, dtype=np.float64), np.full(count, size))
        t = np.linspace(self.theory_time(before), self.theory_time(now), count + 1)
        times = self.limit_time(t)
        times[0], times[-1] = before, now
        return Steps(times, np.diff(times))


CONSTANT = Schedule()
