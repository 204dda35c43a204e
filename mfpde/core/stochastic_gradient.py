"""Stochastic gradient descent on one to four samples a step, fused: parameters cross the memory once in four samples.

A step k on samples (x_q, y_q), q < B, of a network f = (scale/N) sum_i a_i sigma(w_i . x + b_i) is, for a step size h,

    r_q = h scale l'(f(x_q), y_q) / B,
    a_i <- (1 - rate decay h) a_i - rate sum_q r_q sigma_qi + s sqrt(h) normal,      w_i, b_i alike with their gradient,

every parameter taken at the start of the step; rate, decay and s = sqrt(2 tau rate) are those of its group.  Written
like that, 2 N d products wait for 3 N d transfers.  Here the samples of a block, NODES of them, are projected together
while the update of the block before is applied; what the earlier samples of a block do to the projections of the later
ones follows from the inner products of the samples, without touching the parameters:

    w^(k + 1) . x' = q w^k . x' - r g_i x . x',      q = 1 - rate decay h,  g_i = a_i sigma'_i.

With noise a block is one step: the noise has to pass through the parameters.  One thread moves one network; sums run in
a fixed order, and random numbers are functions of (seed, replica, step), so that neither the number of threads nor the
cutting of a run into calls changes a number beyond round-off; cut after whole blocks, they change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core import activations, noise
from mfpde.core.activations import value_and_slope
from mfpde.core.box_muller import box_muller
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.noise import LANE_NUMBERS, philox
from mfpde.core.tiles import NODES, clear, workspace
from mfpde.core.transfers import SUMS, add_product, lanes, load, load_as, spread_as, store, zero_piece
from mfpde.core.vector import bits_of, fma

Array = NDArray[np.float64]
Kernel = Callable[..., None]

LARGEST_BATCH = NODES
_A, _W, _B = 0, 1, 2
_LANES = LANE_NUMBERS.size


@dataclass(frozen=True, eq=False)
class Descent:
    """How the groups a, w and b move: rates, decays and noise intensities sqrt(2 tau rate), each [3]; rate 0 rests.

    ``logistic`` instead of the square loss; targets are then the probabilities of the label +1.
    """

    scale: float
    logistic: bool
    rate: Array
    decay: Array
    sigma: Array

    @property
    def noisy(self) -> bool:
        return bool(np.any(self.sigma > 0.0))


def advance(
    code: int,
    parameters: Array,
    theta: Array,
    x: Array,
    y: Array,
    sizes: Array,
    descent: Descent,
    seed: int | np.uint64 = 0,
    replica: int = 0,
    step: int = 0,
) -> None:
    """Move one network theta [d + 2, N] in place by the steps ``sizes`` [K] on samples x [K, B, d], y [K, B].

    ``code`` and ``parameters`` as in core.activations; B at most LARGEST_BATCH.  Step k of the call has the noise of
    ``step`` + k in core.noise, whose components are the moving rows of theta in their order.
    """
    rows, width = theta.shape
    size = -(-width // _LANES) * _LANES
    # tiles of particles, [tile][row][lane]: rows w_1 .. w_d, b
    hidden = np.zeros((size // _LANES, rows - 1, _LANES))
    for k in range(rows - 1):
        padded = np.zeros(size)
        padded[:width] = theta[k + 1]
        hidden[:, k] = padded.reshape(-1, _LANES)
    outer = np.zeros(size)
    outer[:width] = theta[0]
    _kernel(code, descent.noisy)(
        activations.series(code, parameters), outer, hidden.reshape(-1), width, x, y, sizes,
        descent.scale, descent.logistic, descent.rate, descent.decay, descent.sigma,
        *noise.normal_address(seed, noise.BROWNIAN), replica, step,
    )  # fmt: skip
    theta[0] = outer[:width]
    theta[1:] = hidden.transpose(1, 0, 2).reshape(rows - 1, size)[:, :width]


@njit(**HELPER)
def _product(q: Array, group: int, start: int, stop: int) -> float:
    """What decay leaves of a parameter of a group over the steps start .. stop - 1 of a block."""
    left = 1.0
    for step in range(start, stop):
        left *= q[group, step]
    return left


@njit(**HELPER)
def _project_on(x: Array, k0: int, steps: int, batch: int, q: Array, toward: Array) -> None:
    """toward [d + 1][NODES]: samples of the steps k0 .. k0 + steps - 1, times what decay leaves until their own step.

    So they project the parameters of the start of the block, row d being the bias; unused nodes are zero.
    """
    d = x.shape[2]
    for node in range(NODES):
        j = node // batch
        used = j < steps
        left = _product(q, _W, 0, j) if used else 0.0
        for k in range(d):
            toward[k * NODES + node] = left * x[k0 + j, node % batch, k] if used else 0.0
        toward[d * NODES + node] = _product(q, _B, 0, j) if used else 0.0


@njit(**HELPER)
def _react(x: Array, k0: int, steps: int, batch: int, rate: Array, q: Array, push: Array, gram: Array) -> None:
    """What the samples of a block do, per unit of residual times slope.

    push [d + 1][NODES]: change of the parameters at the end of the block; gram [NODES, NODES]: what sample l takes from
    the projection of a sample of a later step.
    """
    d = x.shape[2]
    for node in range(NODES):
        j = node // batch
        used = j < steps
        left = -rate[_W] * _product(q, _W, j + 1, steps) if used else 0.0
        for k in range(d):
            push[k * NODES + node] = left * x[k0 + j, node % batch, k] if used else 0.0
        push[d * NODES + node] = -rate[_B] * _product(q, _B, j + 1, steps) if used else 0.0
        for other in range(node):
            before = other // batch
            gram[other, node] = 0.0
            if used and before < j:
                inner = 0.0
                for k in range(d):
                    inner += x[k0 + before, other % batch, k] * x[k0 + j, node % batch, k]
                through = rate[_W] * _product(q, _W, before + 1, j) * inner
                gram[other, node] = through + rate[_B] * _product(q, _B, before + 1, j)


@njit(**HELPER)
def _slope(f: float, y: float, logistic: bool) -> float:
    """l'(f, y)."""
    if not logistic:
        return f - y
    e = np.exp(-abs(f))
    return (1.0 if f >= 0.0 else e) / (1.0 + e) - y


@njit(**HELPER)
def _rest(outer: Array, count: int) -> None:
    """The padding neurons keep a = 0."""
    for i in range(count, outer.shape[0]):
        outer[i] = 0.0


@njit(**HELPER)
def _place_noise(rate: Array, d: int, component: Array) -> int:
    """First component of the noise of each group, components counting the rows that move; returns their number.

    A group that rests has intensity 0, wherever it looks.
    """
    component[_W] = 1 if rate[_A] > 0.0 else 0
    component[_B] = component[_W] + (d if rate[_W] > 0.0 else 0)
    return component[_B] + (1 if rate[_B] > 0.0 else 0)


@njit(**HELPER)
def _move_outer(
    outer: Array, count: int, values: Array, first: int, stop: int, rate: float, keep: float, residual: Array
) -> None:
    """a <- keep a - rate sum_q r_q sigma_q over the samples first .. stop - 1 of one step."""
    size = outer.shape[0]
    for at in range(0, size, lanes(outer)):
        a = load(outer, at) * keep
        for node in range(first, stop):
            a = fma(load(values, node * size + at), -rate * residual[node], a)
        store(outer, at, a)
    _rest(outer, count)


@njit(**HELPER)
def _folded(sums: Array, node: int) -> float:
    s = sums[node * SUMS : (node + 1) * SUMS]
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))


@njit(**HELPER)
def _draw_tile(
    normal: Array, components: int, first: int, step: int, label: int, replica: int, k0: int, k1: int
) -> None:
    """normal[component][lane] of the particles from ``first`` on."""
    width = lanes(normal)
    particle = bits_of(load(LANE_NUMBERS, 0)) + first
    for pair in range((components + 1) // 2):
        a, b = philox(step, particle, label + pair, replica, k0, k1)
        u, v = box_muller(a, b)
        store(normal, 2 * pair * width, u)
        store(normal, (2 * pair + 1) * width, v)


@njit(**HELPER)
def _move_and_project(
    hidden: Array, tile: int, size: int, d: int, slopes: Array, residual: Array, keep: Array, push: Array,
    noisy: bool, strength: Array, normal: Array, component: Array, toward: Array, z: Array,
) -> None:  # fmt: skip
    """One tile: the update of the last block on all rows, and the projections on the next block of what comes out."""
    width, none = lanes(hidden), zero_piece(hidden)
    for lane in range(0, width, lanes(none)):
        at, base = tile * width + lane, tile * (d + 1) * width + lane
        g0 = load_as(none, slopes, at) * residual[0]
        g1 = load_as(none, slopes, size + at) * residual[1]
        g2 = load_as(none, slopes, 2 * size + at) * residual[2]
        g3 = load_as(none, slopes, 3 * size + at) * residual[3]
        z0, z1, z2, z3 = none, none, none, none
        for k in range(d + 1):
            group = _W if k < d else _B
            node = k * NODES
            w = load_as(none, hidden, base + k * width) * keep[group]
            w = fma(g0, spread_as(none, push, node), w)
            w = fma(g1, spread_as(none, push, node + 1), w)
            w = fma(g2, spread_as(none, push, node + 2), w)
            w = fma(g3, spread_as(none, push, node + 3), w)
            if noisy:
                row = component[group] * width + (k * width if k < d else 0)
                w = fma(load_as(none, normal, row + lane), strength[group], w)
            store(hidden, base + k * width, w)
            z0 = fma(w, spread_as(none, toward, node), z0)
            z1 = fma(w, spread_as(none, toward, node + 1), z1)
            z2 = fma(w, spread_as(none, toward, node + 2), z2)
            z3 = fma(w, spread_as(none, toward, node + 3), z3)
        store(z, at, z0)
        store(z, size + at, z1)
        store(z, 2 * size + at, z2)
        store(z, 3 * size + at, z3)


@cache
def _kernel(code: int, noisy: bool) -> Kernel:
    @kernel
    def steps(
        series: Array, outer: Array, hidden: Array, count: int, x: Array, y: Array, sizes: Array, scale: float,
        logistic: bool, rate: Array, decay: Array, sigma: Array, key0: int, key1: int, label: int, replica: int,
        first_step: int,
    ) -> None:  # fmt: skip
        """All steps of one network; outer [size], hidden [tile][d + 1][lane], padded by neurons of a = 0."""
        total, batch, d = x.shape
        width, size = lanes(outer), outer.shape[0]
        z, slopes = workspace(NODES * size, outer), workspace(NODES * size, outer)
        values = workspace(NODES * size, outer)
        toward, push = workspace((d + 1) * NODES, outer), workspace((d + 1) * NODES, outer)
        normal, sums = workspace((d + 4) * width, outer), workspace(NODES * SUMS, outer)
        gram, residual, q = np.zeros((NODES, NODES)), np.zeros(NODES), np.ones((3, NODES))
        keep, strength, component = np.ones(3), np.zeros(3), np.zeros(3, np.int64)
        components = _place_noise(rate, d, component)
        clear(slopes)
        clear(push)
        clear(normal)
        k0, here = 0, min(1 if noisy else NODES // batch, total)
        while True:
            for group in range(3):
                for j in range(here):
                    q[group, j] = 1.0 - rate[group] * decay[group] * sizes[k0 + j]
            _project_on(x, k0, here, batch, q, toward)
            for tile in range(size // width):
                if noisy and k0 > 0:
                    _draw_tile(normal, components, tile * width, first_step + k0 - 1, label, replica, key0, key1)
                    store(outer, tile * width, fma(load(normal, 0), strength[_A], load(outer, tile * width)))
                    _rest(outer, count)
                _move_and_project(
                    hidden, tile, size, d, slopes, residual, keep, push, noisy, strength, normal, component, toward, z
                )
            if here == 0:
                break
            _react(x, k0, here, batch, rate, q, push, gram)
            for group in range(3):
                keep[group] = _product(q, group, 0, here)
                strength[group] = sigma[group] * np.sqrt(sizes[k0])
            for node in range(NODES):
                residual[node] = 0.0
            for j in range(here):
                clear(sums)
                for at in range(0, size, width):
                    a = load(outer, at)
                    for node in range(j * batch, (j + 1) * batch):
                        p = load(z, node * size + at)
                        for other in range(j * batch):
                            p = fma(load(slopes, other * size + at), -gram[other, node] * residual[other], p)
                        value, slope = value_and_slope(code, series, p)
                        store(values, node * size + at, value)
                        store(slopes, node * size + at, a * slope)
                        add_product(sums, node * SUMS, a, value)
                for node in range(j * batch, (j + 1) * batch):
                    f = scale * _folded(sums, node) / count
                    residual[node] = sizes[k0 + j] * scale / batch * _slope(f, y[k0 + j, node % batch], logistic)
                if rate[_A] > 0.0:
                    _move_outer(outer, count, values, j * batch, (j + 1) * batch, rate[_A], q[_A, j], residual)
            k0 += here
            here = min(here, total - k0)

    return steps
