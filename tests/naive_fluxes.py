"""Readable, slow twins of the finite-volume kernels: dense generators and one flux at a time."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bernoulli(y: float) -> float:
    """B(y) = y/(exp(y) - 1) through the even function (y/2)/sinh(y/2)."""
    return math.exp(-0.5 * y) * (0.5 * y / math.sinh(0.5 * y) if y != 0.0 else 1.0)


def face_rates(psi: Array, tau: float, axis: int, shift: Array, forward: Array, backward: Array, periodic: bool):
    """(up, down) of every face of one axis of psi [K, n1, n2, n3], by the formula, one face at a time."""
    up, down = np.zeros_like(psi), np.zeros_like(psi)
    n = psi.shape[axis + 1]
    for index in np.ndindex(*psi.shape):
        here = index[axis + 1]
        if here == n - 1 and not periodic:
            continue
        other = list(index)
        other[axis + 1] = (here + 1) % n
        y = (psi[tuple(other)] - psi[index]) / tau - shift[here]
        up[index] = forward[here] * bernoulli(y)
        down[index] = backward[here] * bernoulli(-y)
    return up, down


def generator(shape: tuple[int, ...], rates: list[tuple[int, Array, Array]]) -> Array:
    """Dense A with (A rho)_i = sum_j rate(j -> i) rho_j - rate(i -> j) rho_i, from (axis, up, down)."""
    size = math.prod(shape)
    number = np.arange(size).reshape(shape)
    matrix = np.zeros((size, size))
    for axis, up, down in rates:
        n = shape[axis + 1]
        if n == 1:
            continue
        for index in np.ndindex(*shape):
            other = list(index)
            other[axis + 1] = (index[axis + 1] + 1) % n
            i, j = number[index], number[tuple(other)]
            for source, target, rate in ((i, j, up[index]), (j, i, down[index])):
                matrix[target, source] += rate
                matrix[source, source] -= rate
    return matrix


def stability_polynomial(matrix: Array, step: float, stages: int) -> Array:
    """r(A) = (s-1)/s (I + step A/(s-1))^s + I/s of the SSPRK(s, 2) method."""
    one = np.eye(len(matrix))
    power = np.linalg.matrix_power(one + step / (stages - 1) * matrix, stages)
    return (stages - 1) / stages * power + one / stages


def limited_change(mass: Array, potential: Array, axis: int, width: float, rate: float, periodic: bool):
    """(d mass/dt of the limited flux along one axis, largest face speed), one face at a time."""

    def median_slope(left: float, centre: float, right: float) -> float:
        a, b = centre - left, right - centre
        if a * b <= 0.0:
            return 0.0
        return math.copysign(min(2.0 * abs(a), 2.0 * abs(b), 0.5 * abs(a + b)), a)

    change, fastest = np.zeros_like(mass), 0.0
    n = mass.shape[axis + 1]
    lines = product(*[range(k) for i, k in enumerate(mass.shape) if i != axis + 1])
    for line in lines:
        where = (*line[: axis + 1], slice(None), *line[axis + 1 :])
        rho, mu = mass[where], potential[where]
        inner = range(n) if periodic else range(1, n - 1)
        slope = {i: median_slope(rho[i - 1], rho[i], rho[(i + 1) % n]) for i in inner}
        for i in range(n if periodic else n - 1):
            j = (i + 1) % n
            speed = -rate * (mu[j] - mu[i]) / width
            upwind = rho[i] + 0.5 * slope.get(i, 0.0) if speed > 0.0 else rho[j] - 0.5 * slope.get(j, 0.0)
            change[where][i] -= speed * upwind / width
            change[where][j] += speed * upwind / width
            fastest = max(fastest, abs(speed))
    return change, fastest
