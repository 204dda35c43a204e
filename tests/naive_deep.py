"""Independent twins of theory.deep for the tests: loops in the formulas' own order, and the tables of the DMFT.

``particles`` is the two-layer system, ``network`` one network of finite width in its effective form, ``tables`` the
limit as single-site processes with kernels and response tables over (time, point).
"""

from __future__ import annotations

from typing import NamedTuple

import naive
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def toy(points: int = 8, dimension: int = 10, seed: int = 5) -> tuple[Array, Array]:
    """Points on the sphere of radius sqrt(d), the first half labelled +1, the rest -1."""
    x = np.random.default_rng(seed).standard_normal((points, dimension))
    x *= np.sqrt(dimension) / np.linalg.norm(x, axis=1, keepdims=True)
    return x, np.where(np.arange(points) < points // 2, 1.0, -1.0)


def particles(w: Array, v: Array, x: Array, y: Array, rate: float, steps: int, activation: str = "tanh") -> Array:
    """f [T + 1, P] of the particles w [S, d], v [S], one at a time: square loss (1/2P) sum, inputs already scaled."""
    w, v, f = w.copy(), v.copy(), []
    for _ in range(steps + 1):
        f.append([sum(v[i] * naive.activation(activation, w[i] @ p) for i in range(len(v))) / len(v) for p in x])
        c = rate / len(y) * (np.array(f[-1]) - y)
        for i in range(len(v)):
            h = x @ w[i]
            slope = naive.activation_slope(activation, h) * v[i]
            v[i] -= np.sum(c * naive.activation(activation, h))
            w[i] -= (c * slope) @ x
    return np.array(f)


class Weights(NamedTuple):
    """Effective weights W^1 [N, d], hidden [N, N], W^(L+1) [C, N], biases [N], bias of the output [C]."""

    first: Array
    hidden: list[Array]
    readout: Array
    biases: list[Array]
    bias_out: Array


def network(weights: Weights, x: Array, activation: str = "tanh") -> Array:
    """f [P, C] of one network, inputs already scaled."""
    state = naive.activation(activation, x @ weights.first.T + weights.biases[0])
    for matrix, bias in zip(weights.hidden, weights.biases[1:]):
        state = naive.activation(activation, state @ matrix.T + bias)
    return np.asarray(state @ weights.readout.T + weights.bias_out)


class Tables(NamedTuple):
    """f [T + 1, P] and the response tables A, B [L - 1, TP, TP] between layers l and l + 1."""

    f: Array
    forward: Array
    backward: Array


def tables(
    gram: Array, y: Array, depth: int, rate: float, steps: int, samples: int, seed: int, responses: str
) -> Tables:
    """The limit for tanh by kernels and responses over indices k = (t, mu), one block row per step.

    ``responses``: "pathwise" derivatives of every sample, "stein" (integration by parts) or "none" (left out).
    """
    points = len(gram)
    size = points * (steps + 1)
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(samples)
    start -= start.mean()
    start /= np.sqrt(np.mean(start**2))
    layers = [_Layer(samples, size, pathwise=responses == "pathwise") for _ in range(depth)]
    a, b = np.zeros((depth - 1, size, size)), np.zeros((depth - 1, size, size))
    c, f = np.zeros(size), np.zeros((steps + 1, points))
    whole = np.kron(np.ones((steps + 1, steps + 1)), gram)
    for t in range(steps + 1):
        now, past, known = slice(t * points, (t + 1) * points), slice(0, t * points), slice(0, (t + 1) * points)
        for n, layer in enumerate(layers):
            kernel = whole if n == 0 else layers[n - 1].phi
            layer.extend("u", kernel, now, known, rng)
            response = a[n - 1][now, past] if n > 0 else 0.0
            layer.forward(now, past, response - c[past] * kernel[now, past])
            layer.phi[now, known] = layer.x[:, now].T @ layer.x[:, known] / samples
            layer.phi[known, now] = layer.phi[now, known].T
            if n < depth - 1 and responses != "none":
                a[n][now, past] = layer.response(responses, "x", now, past)
        f[t] = start @ layers[-1].x[:, now] / samples
        # the readout is a process too: V_t = V_0 - sum c x
        f[t] -= np.mean((layers[-1].x[:, past] @ c[past])[:, None] * layers[-1].x[:, now], axis=0)
        c[now] = rate / points * (f[t] - y)
        for n in range(depth - 1, -1, -1):
            layer, last = layers[n], n == depth - 1
            kernel = np.ones((size, size)) if last else layers[n + 1].g_kernel
            if last:
                layer.r[:, now] = start[:, None]
            else:
                layer.extend("r", kernel, now, known, rng)
            coupling = np.zeros((points, known.stop))
            coupling[:, past] = -c[past] * kernel[now, past]
            if not last:
                coupling += b[n][now, known]
            layer.backward(now, known, coupling)
            layer.g_kernel[now, known] = layer.g[:, now].T @ layer.g[:, known] / samples
            layer.g_kernel[known, now] = layer.g_kernel[now, known].T
            if n > 0 and responses != "none":
                b[n - 1][now, known] = layer.response(responses, "g", now, known)
    return Tables(f, a, b)


class _Layer:
    """One layer's processes u, h, x, r, z, g [S, TP], their Gaussian factors, and, pathwise, derivatives in u and r."""

    def __init__(self, samples: int, size: int, pathwise: bool) -> None:
        self.u, self.h, self.x, self.r, self.z, self.g = (np.zeros((samples, size)) for _ in range(6))
        self.slope, self.curvature = np.zeros((samples, size)), np.zeros((samples, size))
        self.phi, self.g_kernel = np.zeros((size, size)), np.zeros((size, size))
        self.noise = {"u": np.zeros((samples, size)), "r": np.zeros((samples, size))}
        self.factor = {"u": np.zeros((size, size)), "r": np.zeros((size, size))}
        shape = (samples, size, size) if pathwise else (0, 0, 0)
        self.hu, self.hr, self.zu, self.zr, self.xr, self.gu = (np.zeros(shape) for _ in range(6))
        self.xu, self.gr = np.zeros(shape), np.zeros(shape)

    def extend(self, name: str, kernel: Array, now: slice, known: slice, rng: np.random.Generator) -> None:
        """Draw the block row ``now`` of a Gaussian process with this kernel by the next rows of its Cholesky factor."""
        factor, noise = self.factor[name], self.noise[name]
        past = slice(0, now.start)
        cross = kernel[now, past]
        left = np.linalg.lstsq(factor[past, past], cross.T, rcond=1e-10)[0].T if now.start else cross
        rest = kernel[now, now] - left @ left.T
        values, vectors = np.linalg.eigh(0.5 * (rest + rest.T))
        factor[now, past] = left
        factor[now, now] = vectors * np.sqrt(np.maximum(values, 1e-14))
        fresh = rng.standard_normal((len(noise), now.stop - now.start))
        before = np.concatenate([np.ones((len(noise), 1)), noise[:, past]], axis=1)
        fresh -= before @ np.linalg.lstsq(before, fresh, rcond=None)[0]
        fresh = np.linalg.qr(fresh)[0] * np.sqrt(len(noise))
        noise[:, now] = fresh
        getattr(self, name)[:, now] = noise[:, known] @ factor[now, known].T

    def forward(self, now: slice, past: slice, coupling: Array) -> None:
        self.h[:, now] = (
            self.u[:, now] + self.g[:, past] @ np.broadcast_to(coupling, (now.stop - now.start, past.stop)).T
        )
        self.x[:, now] = np.tanh(self.h[:, now])
        self.slope[:, now] = 1.0 - self.x[:, now] ** 2
        self.curvature[:, now] = -2.0 * self.x[:, now] * self.slope[:, now]
        if self.hu.size:
            self.hu[:, now] = np.eye(self.hu.shape[2])[now] + np.einsum("mk,skj->smj", coupling, self.gu[:, past])
            self.hr[:, now] = np.einsum("mk,skj->smj", coupling, self.gr[:, past])
            self.xu[:, now] = self.slope[:, now, None] * self.hu[:, now]
            self.xr[:, now] = self.slope[:, now, None] * self.hr[:, now]

    def backward(self, now: slice, known: slice, coupling: Array) -> None:
        self.z[:, now] = self.r[:, now] + self.x[:, known] @ coupling.T
        self.g[:, now] = self.slope[:, now] * self.z[:, now]
        if self.hu.size:
            self.zr[:, now] = np.eye(self.hu.shape[2])[now] + np.einsum("mk,skj->smj", coupling, self.xr[:, known])
            self.zu[:, now] = np.einsum("mk,skj->smj", coupling, self.xu[:, known])
            bend, slope = (self.curvature * self.z)[:, now, None], self.slope[:, now, None]
            self.gu[:, now] = bend * self.hu[:, now] + slope * self.zu[:, now]
            self.gr[:, now] = bend * self.hr[:, now] + slope * self.zr[:, now]

    def response(self, kind: str, of: str, now: slice, at: slice) -> Array:
        """E d x/d r ("x") or E d g/d u ("g"), rows ``now``, columns ``at``."""
        if kind == "pathwise":
            return np.asarray((self.xr if of == "x" else self.gu)[:, now, at].mean(axis=0))
        name, values = ("r", self.x) if of == "x" else ("u", self.g)
        moments = values[:, now].T @ self.noise[name][:, at] / len(values)
        factor = self.factor[name][at, at]
        return np.asarray(np.linalg.lstsq(factor.T, moments.T, rcond=1e-10)[0].T)
