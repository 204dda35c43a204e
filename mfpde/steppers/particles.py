"""Time steps of finite ensembles: stochastic Heun (weak order 2 for additive noise) and Euler-Maruyama (weak order 1).

    d theta_i = -rate grad Psi dt + sqrt(2 tau rate) dB_i,      per moving row of theta[R, p, N]

Euler-Maruyama with step dt is noisy gradient descent with learning rate dt.  Rows of a network are a, w_0 .. w_{d-1},
b, those of an explicit problem its D positions.  Noise is a function of (seed, replica, step, row, particle).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core import noise
from mfpde.core.elementary import KERNEL
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.problem import Pairwise, Problem
from mfpde.steppers.forces import full_dimension

Array = NDArray[np.float64]
Scheme = Literal["heun", "euler"]
# writes the gradient of the potential at theta [R, p, N] and time index k to the last argument
Gradient = Callable[[Array, int, Array], None]

_MASK = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class Motion:
    """Rows that move [m], with learning rates, weight decays and noise intensities sqrt(2 tau rate), each [m]."""

    rows: NDArray[np.int64]
    rate: Array
    decay: Array
    sigma: Array

    @property
    def noisy(self) -> bool:
        return bool(np.any(self.sigma > 0.0))


def row_groups(problem: Problem) -> list[tuple[str, str, slice]]:
    """(group, reduced coordinate that carries its rate, rows) of every group of theta, frozen ones included."""
    if isinstance(problem.model, Pairwise):
        return [("w", c.name, slice(k, k + 1)) for k, c in enumerate(problem.coordinates)]
    d = full_dimension(problem)
    rows = {"a": slice(0, 1), "w": slice(1, d + 1), "b": slice(d + 1, d + 2)}
    first = {c.group: c.name for c in reversed(problem.coordinates)}
    return [(group, first[group], rows[group]) for group in ("a", "w", "b") if group in first]


def row_count(problem: Problem) -> int:
    """p of theta[R, p, N]: d + 2 for a network (with the row of b even without a bias), D for an explicit problem."""
    d = full_dimension(problem)
    return d if isinstance(problem.model, Pairwise) else d + 2


def kept_rows(problem: Problem) -> int:
    """Rows that are parameters: all but the row of b of a network without bias."""
    return max(rows.stop for _, _, rows in row_groups(problem))


def motion(problem: Problem, noisy: bool) -> Motion:
    """The moving rows of a problem; without noise sigma is zero."""
    coordinates = {c.name: c for c in problem.coordinates}
    rows: list[int] = []
    rate: list[float] = []
    decay: list[float] = []
    for _, name, span in row_groups(problem):
        c = coordinates[name]
        if c.trained:
            count = span.stop - span.start
            rows += range(span.start, span.stop)
            rate += [c.rate] * count
            decay += [c.weight_decay] * count
    temperature = problem.temperature if noisy else 0.0
    rates = np.array(rate)
    return Motion(np.array(rows, np.int64), rates, np.array(decay), np.sqrt(2.0 * temperature * rates))


def width_seed(seed: int, width: int) -> np.uint64:
    """A 64-bit key per (seed, width), so that widths are independent (SplitMix64 finaliser, Steele et al. 2014)."""
    z = (seed + 0x9E3779B97F4A7C15 * (width + 1)) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return np.uint64(z ^ (z >> 31))


def draw(problem: Problem, law: InitialLaw, width: int, replicas: range, seed: np.uint64) -> Array:
    """Independent draws from the initial law : theta [R, p, N]."""
    p = row_count(problem)
    theta = np.zeros((len(replicas), p, width))
    normal, uniform = np.empty((p, width)), np.empty((p, width))
    for k, replica in enumerate(replicas):
        noise.normals(seed, noise.INITIAL, replica, 0, normal)
        noise.uniforms(seed, noise.INITIAL, replica, 0, uniform)
        for group, _, rows in row_groups(problem):
            one = law.group(group)
            std = one.std / np.sqrt(law.dimension) if group == "w" else one.std
            for position, row in enumerate(range(rows.start, rows.stop)):
                index = row if isinstance(problem.model, Pairwise) else position
                theta[k, row] = _values(one, index, std, normal[row], uniform[row])
    return theta


def _values(law: GroupLaw, position: int, std: float, normal: Array, uniform: Array) -> Array:
    if law.law == "point":
        return np.full_like(normal, law.value)
    if law.law == "rademacher":
        return np.where(uniform < 0.5, -1.0, 1.0)
    if law.law == "uniform":
        return law.low + (law.high - law.low) * uniform
    return law.mean_along(position) + std * normal


def integrate(
    systems: Sequence[tuple[Array, Gradient]],
    brownian: Callable[[int, Array], None],
    move: Motion,
    dt: float,
    steps: int,
    scheme: Scheme,
) -> None:
    """Advance every system (theta [R, p, N], its gradient) by ``steps`` steps in place, all with the same noise.

    ``brownian(k, out [R, m, N])`` gives the standard normals of step k; a gradient is asked for at time index k (start
    of step k) and, by Heun's scheme, k + 1.
    """
    shape = systems[0][0].shape
    increments = np.zeros((shape[0], len(move.rows), shape[2]))
    first, second = np.empty(shape), np.empty(shape)
    predicted = [theta.copy() for theta, _ in systems] if scheme == "heun" else []
    for k in range(steps):
        if move.noisy:
            brownian(k, increments)
        for index, (theta, gradient) in enumerate(systems):
            gradient(theta, k, first)
            if scheme == "euler":
                _euler(theta, first, increments, move.rows, move.rate, move.decay, move.sigma, dt, theta)
                continue
            star = predicted[index]
            _euler(theta, first, increments, move.rows, move.rate, move.decay, move.sigma, dt, star)
            gradient(star, k + 1, second)
            _heun(theta, star, first, second, increments, move.rows, move.rate, move.decay, move.sigma, dt)


@njit(**KERNEL)
def _euler(
    theta: Array,
    gradient: Array,
    normal: Array,
    rows: Array,
    rate: Array,
    decay: Array,
    sigma: Array,
    dt: float,
    out: Array,
) -> None:
    """out = theta - rate (gradient + decay theta) dt + sigma sqrt(dt) normal on the moving rows."""
    for replica in range(theta.shape[0]):
        for m in range(len(rows)):
            row = rows[m]
            drift, spread = rate[m] * dt, sigma[m] * np.sqrt(dt)
            for i in range(theta.shape[2]):
                x = theta[replica, row, i]
                slope = gradient[replica, row, i] + decay[m] * x
                out[replica, row, i] = x - drift * slope + spread * normal[replica, m, i]


@njit(**KERNEL)
def _heun(
    theta: Array,
    star: Array,
    first: Array,
    second: Array,
    normal: Array,
    rows: Array,
    rate: Array,
    decay: Array,
    sigma: Array,
    dt: float,
) -> None:
    """theta <- theta - rate (slope(theta) + slope(star)) dt/2 + sigma sqrt(dt) normal on the moving rows."""
    for replica in range(theta.shape[0]):
        for m in range(len(rows)):
            row = rows[m]
            drift, spread = 0.5 * rate[m] * dt, sigma[m] * np.sqrt(dt)
            for i in range(theta.shape[2]):
                x, y = theta[replica, row, i], star[replica, row, i]
                slope = first[replica, row, i] + second[replica, row, i] + decay[m] * (x + y)
                theta[replica, row, i] = x - drift * slope + spread * normal[replica, m, i]
