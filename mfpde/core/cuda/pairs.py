"""Exact interaction of particles under Gaussian inputs, on the device: see core.pairs for the kernels K(p, q, q').

theta[R, d + 2, N] by component (a, w, b). The table that goes with a kernel holds q = |w|^2 of every particle and, for
hermite, its profile C_k(q) with the derivative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from mfpde.core.activations import HERMITE
from mfpde.core.cuda.device import REAL, batches, download, gathered, lock, room, sums, upload
from mfpde.core.cuda.elements import pair_kernel
from mfpde.core.cuda.sweep import pieces
from mfpde.core.passes import Precision

Array = NDArray[np.float64]

THREADS = 128


def pair_force(code: int, hermite: Array, theta: Array, out: Array, precision: Precision = "double") -> None:
    """Gradient in theta_i, theta_j held fixed, of (1/N) sum_j a_i a_j K_ij, j = i included: theta, out [d + 2, N]."""
    pair_force_batch(code, hermite, theta[None], out[None], precision)


def pair_force_batch(code: int, hermite: Array, theta: Array, out: Array, precision: Precision = "double") -> None:
    """pair_force of R replicas: theta, out [R, d + 2, N]; the row of b is set to zero."""
    replicas, rows, count = theta.shape
    with lock:
        for batch in batches(replicas, (2 * rows + pieces(count, count)[1] * (rows - 1)) * count):
            particles = upload("theta", theta[batch], REAL[precision]).reshape(len(theta[batch]), -1)
            partial = _sums(code, hermite, particles, rows - 2, count, precision, gradient=True)
            download(gathered(partial, rows, particles, 1.0 / count), out[batch])


def pair_energy(code: int, hermite: Array, a: Array, w: Array, precision: Precision = "double") -> float:
    """E f_N(x)^2 = (1/N^2) sum_ij a_i a_j K_ij for a[N], w[d, N]."""
    size, count = w.shape
    total = np.empty(count)
    with lock:
        particles = upload("theta", np.vstack([a, w]), REAL[precision]).reshape(1, -1)
        partial = _sums(code, hermite, particles, size, count, precision, gradient=False)
        download(gathered(partial, 1, particles, 1.0), total)
    return float(np.sum(a * total)) / (float(count) * float(count))


def _sums(
    code: int, hermite: Array, particles: Any, size: int, count: int, precision: Precision, *, gradient: bool
) -> Any:
    real = REAL[precision]
    kernel = pair_kernel(code, real)
    polynomials = _profile(hermite) if code == HERMITE else np.zeros((0, 1))
    shape = (particles.shape[0], 1 + 2 * len(polynomials), count)
    coefficients = upload("profile", polynomials if len(polynomials) else np.zeros((1, 1)), np.float64)
    table = room("table", math.prod(shape), real).reshape(*shape)
    tabulate[(-(-count // THREADS), particles.shape[0]), THREADS](
        particles, size, coefficients.reshape(-1, polynomials.shape[1]), table
    )
    owners = (particles, 1, count)
    return sums(kernel, real, owners, owners, size, particles, table, gradient=gradient, radial=gradient)


def _profile(hermite: Array) -> Array:
    """[K, .] such that C_m(q) = sum_i c_mi (q - 1)^i, c_mi = hermite_(m+2i) sqrt((m+2i)!/m!) / (2^i i!)."""
    orders = len(hermite)
    polynomials = np.zeros((orders, (orders + 1) // 2))
    for m in range(orders):
        for i in range((orders - 1 - m) // 2 + 1):
            factor = math.sqrt(math.perm(m + 2 * i, 2 * i)) / (2.0**i * math.factorial(i))
            polynomials[m, i] = hermite[m + 2 * i] * factor
    return polynomials


@cuda.jit(cache=True)
def tabulate(particles: Any, size: int, polynomials: Any, table: Any) -> None:
    """table_0i = q_i = |w_i|^2, then the values and after them the slopes of the polynomials at q_i."""
    i, replica = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.blockIdx.y
    orders, count = table.shape[1] // 2, table.shape[2]
    if i < count:
        q = particles[replica, count + i] * particles[replica, count + i]
        for k in range(1, size):
            w = particles[replica, (1 + k) * count + i]
            q += w * w
        table[replica, 0, i] = q
        for m in range(orders):
            value, slope = 0.0, 0.0
            for power in range(polynomials.shape[1] - 1, -1, -1):
                slope = slope * (q - 1.0) + value
                value = value * (q - 1.0) + polynomials[m, power]
            table[replica, 1 + m, i] = value
            table[replica, 1 + orders + m, i] = slope
