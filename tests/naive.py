"""Readable, slow twins of the compiled kernels: the formulas themselves, for tests to compare against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, expit, ndtr

Array = NDArray[np.float64]


def hermite_polynomial(k: int, z: Array) -> Array:
    """h_k = He_k / sqrt(k!) from numpy's Hermite series."""
    coefficients = np.zeros(k + 1)
    coefficients[k] = 1.0 / math.sqrt(math.factorial(k))
    return np.asarray(np.polynomial.hermite_e.hermeval(z, coefficients))


def activation(name: str, z: ArrayLike, hermite: ArrayLike = ()) -> Array:
    """sigma(z) by scipy and numpy."""
    z = np.asarray(z, dtype=float)
    formulas = {
        "relu": lambda: np.maximum(z, 0.0),
        "tanh": lambda: np.tanh(z),
        "erf": lambda: erf(z / math.sqrt(2.0)),
        "sigmoid": lambda: expit(z),
        "gelu": lambda: z * ndtr(z),
        "softplus": lambda: np.logaddexp(0.0, z),
        "sin": lambda: np.sin(z),
        "quadratic": lambda: z**2,
        "identity": lambda: z + 0.0,
        "hermite": lambda: sum(c * hermite_polynomial(k, z) for k, c in enumerate(np.asarray(hermite, dtype=float))),
        "piecewise-linear": lambda: piecewise_linear(z, hermite)[0],
    }
    return np.asarray(formulas[name]())


def activation_slope(name: str, z: ArrayLike, hermite: ArrayLike = ()) -> Array:
    """sigma'(z) by scipy and numpy."""
    z = np.asarray(z, dtype=float)
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    formulas = {
        "relu": lambda: (z > 0.0) * 1.0,
        "tanh": lambda: 1.0 / np.cosh(np.clip(z, -300.0, 300.0)) ** 2,
        "erf": lambda: 2.0 * density,
        "sigmoid": lambda: expit(z) * expit(-z),
        "gelu": lambda: ndtr(z) + z * density,
        "softplus": lambda: expit(z),
        "sin": lambda: np.cos(z),
        "quadratic": lambda: 2.0 * z,
        "identity": lambda: np.ones_like(z),
        "hermite": lambda: sum(
            c * math.sqrt(k) * hermite_polynomial(k - 1, z)
            for k, c in enumerate(np.asarray(hermite, dtype=float))
            if k > 0
        ),
        "piecewise-linear": lambda: piecewise_linear(z, hermite)[1],
    }
    return np.asarray(formulas[name]() + np.zeros_like(z))


def piecewise_linear(z: Array, parameters: ArrayLike) -> tuple[Array, Array]:
    """Value and left slope as sums over jumps of the slope; parameters: knots, slopes, value at the first knot."""
    flat = list(np.asarray(parameters, dtype=float))
    count = len(flat) // 2 - 1
    knots, slopes = flat[:count], flat[count:-1]
    value, slope = flat[-1] + slopes[0] * (z - knots[0]), np.full_like(z, slopes[0])
    for knot, jump in zip(knots, np.diff(slopes), strict=True):
        value, slope = value + jump * np.maximum(z - knot, 0.0), slope + jump * (z > knot)
    return value, slope


def preactivations(theta: Array, x: Array) -> Array:
    """z[i, ...] = w_i . x + b_i for theta[d + 2, N] and x[..., d]."""
    return np.moveaxis(x @ theta[1:-1] + theta[-1], -1, 0)


def predict(name: str, hermite: ArrayLike, theta: Array, mass: Array, x: Array) -> Array:
    """f[n] = sum_i mass_i a_i sigma(w_i . x_q + b_i)."""
    return (mass * theta[0]) @ activation(name, preactivations(theta, x), hermite)


def potential(name: str, hermite: ArrayLike, theta: Array, x: Array, r: Array) -> Array:
    """[N] sum_q r_q a_i sigma(w_i . x_q + b_i)."""
    return theta[0] * (activation(name, preactivations(theta, x), hermite) @ r)


def pullback(name: str, hermite: ArrayLike, theta: Array, x: Array, r: Array) -> Array:
    """[d + 2, N] gradient of the potential with respect to theta_i."""
    z = preactivations(theta, x)
    slope = activation_slope(name, z, hermite) * r
    return np.vstack([activation(name, z, hermite) @ r, theta[0] * (slope @ x).T, theta[0] * slope.sum(axis=1)])


def features(name: str, hermite: ArrayLike, theta: Array, x: Array, average: Array) -> Array:
    """[N, n] sum_t average_t sigma(w_i . x_qt + b_i) for x[n, T, d]."""
    return activation(name, preactivations(theta, x), hermite) @ average


def features_derivative(name: str, hermite: ArrayLike, theta: Array, x: Array, average: Array, k: int) -> Array:
    """[N, n] derivative of features with respect to w_k (k < d) or b (k = d)."""
    slope = activation_slope(name, preactivations(theta, x), hermite)
    return (slope * x[:, :, k] if k < x.shape[2] else slope) @ average


def gaussian_expectation(function, u: Array, v: Array, n: int = 80) -> float:
    """E[g(u.x, v.x)] for x ~ N(0, I) by a tensor Gauss-Hermite rule in the plane spanned by u and v."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    weights = weights / weights.sum()
    length = np.linalg.norm(u)
    along = u @ v / length if length > 0.0 else 0.0
    across = math.sqrt(max(v @ v - along**2, 0.0))
    first = length * nodes[:, None] + 0.0 * nodes
    second = along * nodes[:, None] + across * nodes
    return float(weights @ function(first, second) @ weights)


def pair_kernel(name: str, hermite: ArrayLike, u: Array, v: Array) -> float:
    """E[sigma(u.x) sigma(v.x)], x ~ N(0, I): by quadrature, for relu (kinked) by the arc-cosine formula."""
    if name == "relu":
        lengths = np.linalg.norm(u) * np.linalg.norm(v)
        if lengths == 0.0:
            return 0.0
        t = math.acos(min(max(u @ v / lengths, -1.0), 1.0))
        return float(lengths * (math.sin(t) + (math.pi - t) * math.cos(t)) / (2.0 * math.pi))
    return gaussian_expectation(lambda s, t: activation(name, s, hermite) * activation(name, t, hermite), u, v)


def pair_energy(name: str, hermite: ArrayLike, a: Array, w: Array) -> float:
    """(1/N^2) sum_ij a_i a_j K(w_i, w_j) for a[N], w[d, N]."""
    count = a.size
    terms = [a[i] * a[j] * pair_kernel(name, hermite, w[:, i], w[:, j]) for i in range(count) for j in range(count)]
    return sum(terms) / count**2


def target_energy(name: str, hermite: ArrayLike, coefficients: Array, a: Array, w: Array) -> float:
    """(1/N) sum_i a_i E[y sigma(w_i.x)] for y = sum_k t_k h_k(x_0), smooth activations."""
    first = np.zeros(w.shape[0])
    first[0] = 1.0
    target = lambda s: sum(t * hermite_polynomial(k, s) for k, t in enumerate(coefficients))  # noqa: E731
    terms = [
        a[i] * gaussian_expectation(lambda s, t: activation(name, s, hermite) * target(t), w[:, i], first)
        for i in range(a.size)
    ]
    return sum(terms) / a.size
