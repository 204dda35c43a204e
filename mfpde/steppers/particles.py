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
from numpy.typing import NDArray

from mfpde.core import noise, parallel
from mfpde.core.compilation import kernel
from mfpde.core.ranks import Share
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.problem import Pairwise, Problem
from mfpde.steppers.forces import full_dimension

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Scheme = Literal["heun", "euler"]
# writes the gradient of the potential at theta [R, p, N] and time index k to the last argument
Gradient = Callable[[Array, int, Array], None]

_MASK = (1 << 64) - 1
# particles whose initial numbers are drawn at once, and coordinates that are worth a thread of their own
_DRAWN = 1 << 16
_SHARE = 1 << 18
# spans of particles are cut at multiples of a cache line
_LINE = 8


@dataclass(frozen=True, eq=False)
class Motion:
    """Rows that move [m], with learning rates, weight decays and noise intensities sqrt(2 tau rate), each [m]."""

    rows: Rows
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


def draw(problem: Problem, law: InitialLaw, count: int, replicas: range, seed: np.uint64, first: int = 0) -> Array:
    """Independent draws from the initial law : theta [R, p, N] of N = ``count`` particles from ``first`` on."""
    theta = np.zeros((len(replicas), row_count(problem), count))
    for k, replica in enumerate(replicas):
        for start in range(0, count, _DRAWN):
            part = theta[k, :, start : start + _DRAWN]
            normal, uniform = np.empty(part.shape), np.empty(part.shape)
            noise.normals(seed, noise.INITIAL, replica, 0, normal, first + start)
            noise.uniforms(seed, noise.INITIAL, replica, 0, uniform, first + start)
            for group, _, rows in row_groups(problem):
                one = law.group(group)
                std = one.std / np.sqrt(law.dimension) if group == "w" else one.std
                for position, row in enumerate(range(rows.start, rows.stop)):
                    index = row if isinstance(problem.model, Pairwise) else position
                    part[row] = _values(one, index, std, normal[row], uniform[row])
    return theta


def _values(law: GroupLaw, position: int, std: float, normal: Array, uniform: Array) -> Array:
    if law.law == "point":
        return np.full_like(normal, law.value)
    if law.law == "rademacher":
        return np.where(uniform < 0.5, -1.0, 1.0)
    if law.law == "uniform":
        return law.low + (law.high - law.low) * uniform
    return law.mean_along(position) + std * normal


def parameters(problem: Problem, theta: Array) -> Array:
    """theta [R, p, N] as [R, N, parameters that exist], angles wrapped to [-pi, pi)."""
    values = np.ascontiguousarray(theta[:, : kept_rows(problem)].transpose(0, 2, 1))
    return _wrapped(values) if _on_circle(problem) else values


def mean_square_distance(problem: Problem, move: Motion, one: Array, two: Array, share: Share | None = None) -> Array:
    """Mean over the particles of |one_i - two_i|^2 in the moving rows, [R, p, N] each, a share of N or all : [R].

    On a circle a slip by a whole turn is no distance.
    """
    width = one.shape[2] if share is None else share.width
    distance = np.zeros(len(one))
    for replica in range(len(one)):
        for row in move.rows:
            apart = one[replica, row] - two[replica, row]
            apart = _wrapped(apart) if _on_circle(problem) else apart
            apart = apart if share is None else share.whole(apart)
            distance[replica] += np.sum(apart**2) / width
    return distance


def _on_circle(problem: Problem) -> bool:
    return problem.coordinates[0].kind == "circle"


def _wrapped(angle: Array) -> Array:
    """Angles in [-pi, pi)."""
    return np.asarray(np.mod(angle + np.pi, 2.0 * np.pi) - np.pi)


def integrate(
    systems: Sequence[tuple[Array, Gradient]],
    brownian: Callable[[int, Array], None],
    move: Motion,
    dt: float | Array,
    steps: int,
    scheme: Scheme,
) -> None:
    """Advance every system (theta [R, p, N], its gradient) by ``steps`` steps in place, all with the same noise.

    ``dt`` is the size of every step, or of each [steps].  ``brownian(k, out [R, m, N])`` gives the standard normals of
    step k; a gradient is asked for at time index k (start of step k) and, by Heun's scheme, k + 1.
    """
    replicas, rows, width = systems[0][0].shape
    still = np.setdiff1d(np.arange(rows), move.rows)
    normal, slope = np.zeros((replicas, len(move.rows), width)), np.empty((replicas, rows, width))
    star = np.empty((replicas, rows, width if scheme == "heun" else 0))
    sizes = np.broadcast_to(np.asarray(dt, np.float64), (steps,))
    pieces = parallel.spans(width, parallel.size(), _LINE, _SHARE // (replicas * rows))

    def update(kernel: Callable[..., None], *arguments: Array | Rows) -> None:
        parallel.collect(lambda piece: kernel(*piece, *arguments), pieces)

    for k, size in enumerate(sizes):
        drift, spread = move.rate * size, move.sigma * np.sqrt(size)
        if move.noisy:
            brownian(k, normal)
        for theta, gradient in systems:
            gradient(theta, k, slope)
            if scheme == "euler":
                update(_euler, theta, slope, normal, move.rows, drift, move.decay, spread)
                continue
            update(_predict, theta, slope, normal, star, still, move.rows, drift, move.decay, spread)
            gradient(star, k + 1, slope)
            update(_correct, theta, slope, star, move.rows, drift, move.decay)


@kernel
def _euler(
    start: int,
    stop: int,
    theta: Array,
    gradient: Array,
    normal: Array,
    rows: Rows,
    drift: Array,
    decay: Array,
    spread: Array,
) -> None:
    """theta <- theta - drift (gradient + decay theta) + spread normal on the moving rows."""
    for replica in range(theta.shape[0]):
        for m in range(len(rows)):
            c, lam, s = drift[m], decay[m], spread[m]
            x = theta[replica, rows[m]][start:stop]
            g, z = gradient[replica, rows[m]][start:stop], normal[replica, m][start:stop]
            for i in range(x.shape[0]):
                x[i] = x[i] - c * (g[i] + lam * x[i]) + s * z[i]


@kernel
def _predict(
    start: int,
    stop: int,
    theta: Array,
    gradient: Array,
    normal: Array,
    star: Array,
    still: Rows,
    rows: Rows,
    drift: Array,
    decay: Array,
    spread: Array,
) -> None:
    """star = Euler's step from theta, then theta <- (theta + star + spread normal) / 2.

    That is Heun's step but for half the slope at star, so neither the first slope nor the noise need be kept for it.
    """
    for replica in range(theta.shape[0]):
        for row in still:
            x, y = theta[replica, row][start:stop], star[replica, row][start:stop]
            for i in range(x.shape[0]):
                y[i] = x[i]
        for m in range(len(rows)):
            c, lam, s = drift[m], decay[m], spread[m]
            x, y = theta[replica, rows[m]][start:stop], star[replica, rows[m]][start:stop]
            g, z = gradient[replica, rows[m]][start:stop], normal[replica, m][start:stop]
            for i in range(x.shape[0]):
                y[i] = x[i] - c * (g[i] + lam * x[i]) + s * z[i]
                x[i] = 0.5 * (x[i] + y[i] + s * z[i])


@kernel
def _correct(
    start: int, stop: int, theta: Array, gradient: Array, star: Array, rows: Rows, drift: Array, decay: Array
) -> None:
    """theta <- theta - drift (gradient + decay star) / 2, the gradient being that at star, on the moving rows."""
    for replica in range(theta.shape[0]):
        for m in range(len(rows)):
            c, lam = 0.5 * drift[m], decay[m]
            x, y = theta[replica, rows[m]][start:stop], star[replica, rows[m]][start:stop]
            g = gradient[replica, rows[m]][start:stop]
            for i in range(x.shape[0]):
                x[i] = x[i] - c * (g[i] + lam * y[i])
