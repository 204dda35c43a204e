"""Mean and slopes of every activation under a Gaussian pre-activation: E sigma(r Z + b), E[sigma'(r Z + b) h_k(Z)].

With s = sqrt(1 + r^2), x = b/s, beta = b/r, phi and Phi the normal density and distribution, h_k = He_k / sqrt(k!):
  relu       mean b Phi(beta) + r phi(beta);  s_0 = Phi(beta), s_k = phi(beta) h_(k-1)(-beta) / sqrt(k)
  erf        mean 2 Phi(x) - 1;               s_k = 2 phi(x)/s (-r/s)^k h_k(x)
  gelu       mean b Phi(x) + r^2 phi(x)/s;    s_0 = Phi(x) + x phi(x)/s^2, the others from gelu'' = phi - phi''
  sin        mean exp(-r^2/2) sin b;          s_k = exp(-r^2/2) r^k / sqrt(k!) cos(b + k pi/2)
quadratic, identity and hermite are polynomials; sigmoid is tanh at half its argument and softplus' is sigmoid. The mean
and slopes of tanh and the mean of softplus are left to the trapezoidal rule, which converges like exp(-2 pi delta/h) in
the width delta of the strip where the function is analytic: pi/(2r), against exp(-2 delta sqrt(n)) for n Gauss nodes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, gammaln, log_ndtr, xlogy

from mfpde.core.activations import derivative, evaluate
from mfpde.core.quadrature import gauss_hermite, hermite_functions
from mfpde.errors import ConfigError, NotConverged, NumericalError

Array = NDArray[np.float64]

# Beyond this the normal density times any normalised Hermite polynomial is below 1e-140 (Cramer's inequality).
_FAR = 37.0
# |h_k(z)| phi(z) <= 0.44 exp(-z^2/4), which at this point is below 1e-19: where the trapezoidal rule may end.
_END = 13.5
_MOST_NODES = 1 << 17
_CHUNK = 1 << 22
# halving the step squares the error
_COARSE_ERROR = 1e-6

# (radii [m], biases [m], kmax, hermite) -> (means [m], slopes [m, kmax + 1])
Expansion = Callable[[Array, Array, int, tuple[float, ...]], tuple[Array, Array]]


def _density(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi))


def _distribution(x: Array) -> Array:
    return np.asarray(np.exp(log_ndtr(x)))


def _relu(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    # at r = 0 the neuron is off for b <= 0 and on for b > 0
    beta = np.divide(b, r, out=np.where(b > 0.0, _FAR, -_FAR), where=np.abs(b) < _FAR * r)
    density, below = _density(beta), _distribution(beta)
    slopes = np.empty((len(r), kmax + 1))
    slopes[:, 0] = below
    if kmax:
        rows = hermite_functions(kmax - 1, -beta) * density
        slopes[:, 1:] = rows.T / np.sqrt(np.arange(1.0, kmax + 1.0))
    return b * below + r * density, slopes


def _bells(r: Array, b: Array, kmax: int) -> tuple[Array, Array, Array]:
    """(s, x = b/s, E[phi(r Z + b) h_k(Z)] = phi(x)/s (-r/s)^k h_k(x)  [kmax + 1, m]), s = sqrt(1 + r^2)."""
    s = np.hypot(1.0, r)
    x = b / s
    near = np.clip(x, -_FAR, _FAR)
    powers = (-r / s) ** np.arange(kmax + 1.0)[:, None]
    return s, x, hermite_functions(kmax, near) * powers * (_density(near) / s)


def _erf(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    _, x, bells = _bells(r, b, kmax)
    return erf(x / np.sqrt(2.0)), 2.0 * bells.T


def _gelu(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    s, x, _ = _bells(r, b, 0)
    near = np.clip(x, -_FAR, _FAR)
    density, below = _density(near), _distribution(x)
    rows = hermite_functions(kmax + 1, near)
    k = np.arange(1.0, kmax + 1.0)[:, None]
    slopes = np.empty((len(r), kmax + 1))
    slopes[:, 0] = below + near * density / s**2
    curved = rows[:kmax] - np.sqrt(k * (k + 1.0)) * rows[2:] / s**2
    slopes[:, 1:] = (r / np.sqrt(k) * (density / s) * (-r / s) ** (k - 1.0) * curved).T
    return b * below + r**2 * density / s, slopes


def _sin(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    k = np.arange(kmax + 1.0)
    size = np.exp(xlogy(k, r[:, None]) - 0.5 * r[:, None] ** 2 - 0.5 * gammaln(k + 1.0))
    turns = np.stack([np.cos(b), -np.sin(b), -np.cos(b), np.sin(b)], axis=1)
    return np.exp(-0.5 * r**2) * np.sin(b), size * turns[:, np.arange(kmax + 1) % 4]


def _quadratic(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    return r**2 + b**2, _padded([2.0 * b, 2.0 * r], kmax)


def _identity(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    return b.copy(), _padded([np.ones_like(b)], kmax)


def _hermite(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    """Gauss's rule is exact for these degrees."""
    degree = len(hermite) - 1
    if degree < 0:
        raise ConfigError("hermite", "is empty; the activation 'hermite' needs its coefficients")
    nodes, weights = gauss_hermite(degree + 1, prune=0.0)
    arguments = r[:, None] * nodes + b[:, None]
    mean = evaluate("hermite", arguments, hermite) @ weights
    slopes = derivative("hermite", arguments, hermite) @ (hermite_functions(max(degree - 1, 0), nodes) * weights).T
    given = np.asarray(hermite) != 0.0
    centred = b == 0.0
    mean[centred] *= np.any(given[::2])
    for k in range(slopes.shape[1]):
        slopes[centred, k] *= np.any(given[k + 1 :: 2])
    return mean, _padded(list(slopes.T), kmax)


def _padded(columns: list[Array], kmax: int) -> Array:
    found = np.zeros((len(columns[0]), kmax + 1))
    for k, column in enumerate(columns[: kmax + 1]):
        found[:, k] = column
    return found


def _tanh(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    mean = _averages("tanh", evaluate, r, b, 0, 1.0)[:, 0]
    slopes = _averages("tanh", derivative, r, b, kmax, 1.0)
    mean[b == 0.0] = 0.0
    slopes[b == 0.0, 1::2] = 0.0
    return mean, slopes


def _sigmoid(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    mean, slopes = _tanh(0.5 * r, 0.5 * b, kmax, hermite)
    return 0.5 + 0.5 * mean, 0.25 * slopes


def _softplus(r: Array, b: Array, kmax: int, hermite: tuple[float, ...]) -> tuple[Array, Array]:
    below, slopes = _sigmoid(r, b, kmax, hermite)
    found = np.empty_like(slopes)
    found[:, 0] = below
    found[:, 1:] = r[:, None] * slopes[:, :-1] / np.sqrt(np.arange(1.0, kmax + 1.0))
    return _averages("softplus", evaluate, r, b, 0, 0.5)[:, 0], found


def _averages(name: str, function: Callable[[str, Array], Array], r: Array, b: Array, kmax: int, steep: float) -> Array:
    """E[g(r Z + b) h_k(Z)], g with its nearest pole at distance pi/(2 steep), by the trapezoidal rule: [m, kmax + 1].

    The step, a power of 1/2, shrinks with r and with the wave number sqrt(k) of h_k. The rule with twice the step uses
    every other value; its error is the root of the error, which is asked to be below 1e-12 max(1, r, |b|).
    """
    wanted = np.maximum(8.0, 4.0 * steep * r + 0.4 * np.sqrt(kmax))
    levels = np.ceil(np.log2(wanted)).astype(int)
    found = np.empty((len(r), kmax + 1))
    for level in np.unique(levels):
        here = np.flatnonzero(levels == level)
        half = int(_END * 2.0**level / 2.0) * 2
        if 2 * half > _MOST_NODES:
            raise NotConverged(
                f"the Hermite coefficients of {name} at radius {r[here].max():.3g} and degree {kmax} need more than "
                f"{_MOST_NODES} nodes"
            )
        z = np.arange(-half, half + 1) * 2.0**-level
        basis = hermite_functions(kmax, z) * (_density(z) * 2.0**-level)
        rows = max(_CHUNK // len(z), 1)
        for start in range(0, len(here), rows):
            part = here[start : start + rows]
            values = function(name, r[part, None] * z + b[part, None])
            found[part] = values @ basis.T
            coarse = 2.0 * (values[:, ::2] @ basis[:, ::2].T)
            scale = np.maximum(1.0, np.maximum(r[part], np.abs(b[part])))
            error = float(np.max(np.abs(found[part] - coarse) / scale[:, None], initial=0.0))
            if not error <= _COARSE_ERROR:
                raise NumericalError(f"the Hermite coefficients of {name} are off by {error:.1e}, more than allowed")
    return found


EXPANSIONS: dict[str, Expansion] = {
    "relu": _relu,
    "tanh": _tanh,
    "erf": _erf,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "softplus": _softplus,
    "sin": _sin,
    "quadratic": _quadratic,
    "identity": _identity,
    "hermite": _hermite,
}
