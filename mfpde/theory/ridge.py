"""Ridge functions sigma(<w, x> + b) in Hermite polynomials of a Gaussian input, and atomic measures of them.

For x ~ N(0, I_d) and u = w/|w| a neuron is sum_k c_k(|w|, b) h_k(<u, x>), c_k(r, b) = E[sigma(r Z + b) h_k(Z)] with
h_k = He_k / sqrt(k!), so that f = sum_s a_s sigma(<w_s, x> + b_s) has the moment tensors T_k = sum_s a_s c_k u_s^(x k)
in Sym^k(R^d) and, by Parseval, ||f||^2 = sum_k ||T_k||^2 (docs/theory.md).

Everything follows from the mean E sigma(r Z + b) and the slopes s_k = E[sigma'(r Z + b) h_k(Z)]: by parts
c_k = r s_(k-1) / sqrt(k), dc_k/db = s_k, dc_k/dr = sqrt(k) s_(k-1) + sqrt(k+1) s_(k+1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from mfpde.core.activations import CODES, evaluate
from mfpde.errors import ConfigError
from mfpde.theory.expansions import EXPANSIONS

Array = NDArray[np.float64]

_ACCURACY = 1e-12


@dataclass(frozen=True, eq=False)
class Atoms:
    """f(x) = sum_s a_s sigma(<w_s, x> + b_s): a [S], w [S, d], b [S]; a sum, not an average."""

    a: Array
    w: Array
    b: Array

    def __post_init__(self) -> None:
        shapes = (self.a.ndim, self.w.ndim, self.b.ndim) == (1, 2, 1)
        if not shapes or not len(self.a) == len(self.w) == len(self.b):
            found = f"{self.a.shape}, {self.w.shape} and {self.b.shape}"
            raise ConfigError("atoms", f"need arrays a [S], w [S, d] and b [S], not {found}")


def network(activation: str, atoms: Atoms, x: ArrayLike, hermite: Sequence[float] = ()) -> Array:
    """f(x_q) = sum_s a_s sigma(<w_s, x_q> + b_s) for inputs x [n, d]: [n]."""
    return np.asarray(neurons(activation, atoms, x, hermite) @ atoms.a)


def neurons(activation: str, atoms: Atoms, x: ArrayLike, hermite: Sequence[float] = ()) -> Array:
    """sigma(<w_s, x_q> + b_s) for inputs x [n, d]: [n, S], amplitudes left out."""
    return evaluate(_known(activation), np.asarray(x, np.float64) @ atoms.w.T + atoms.b, hermite)


def ridge_coefficients(
    activation: str,
    kmax: int,
    radius: ArrayLike = 1.0,
    bias: ArrayLike = 0.0,
    hermite: Sequence[float] = (),
    derivative: bool = False,
) -> Array:
    """c_k(r, b) = E[sigma(r Z + b) h_k(Z)], k = 0..kmax, for radius and bias that broadcast to [..]: [.., kmax + 1].

    With ``derivative`` the same of sigma', s_k = E[sigma'(r Z + b) h_k(Z)], from which dc_k/db = s_k and
    dc_k/dr = sqrt(k) s_(k-1) + sqrt(k+1) s_(k+1) (see radial_derivative). Absolute error below 1e-12 max(1, r, |b|);
    coefficients that vanish by symmetry are exactly zero. ConfigError for an unknown activation, a negative radius or
    kmax; NotConverged for a tanh, sigmoid or softplus so steep that the rule would need more than 131072 nodes.
    """
    r, b = np.broadcast_arrays(np.asarray(radius, np.float64), np.asarray(bias, np.float64))
    if kmax < 0 or np.any(r < 0.0) or not np.all(np.isfinite(r)) or not np.all(np.isfinite(b)):
        raise ConfigError("kmax, radius, bias", f"need kmax >= 0, finite biases and radii >= 0; kmax is {kmax}")
    mean, slopes = EXPANSIONS[_known(activation)](r.ravel(), b.ravel(), kmax, tuple(hermite))
    if derivative:
        return slopes.reshape(*r.shape, kmax + 1)
    found = np.empty_like(slopes)
    found[:, 0] = mean
    found[:, 1:] = r.reshape(-1, 1) * slopes[:, :-1] / np.sqrt(np.arange(1.0, kmax + 1.0))
    return found.reshape(*r.shape, kmax + 1)


def radial_derivative(
    activation: str, kmax: int, radius: ArrayLike = 1.0, bias: ArrayLike = 0.0, hermite: Sequence[float] = ()
) -> Array:
    """dc_k/dr = E[sigma'(r Z + b) Z h_k(Z)], k = 0..kmax: [.., kmax + 1]; errors of ridge_coefficients."""
    slopes = ridge_coefficients(activation, kmax + 1, radius, bias, hermite, derivative=True)
    k = np.arange(kmax + 2.0)
    found = np.sqrt(k[1:]) * slopes[..., 1:]
    found[..., 1:] += np.sqrt(k[1:-1]) * slopes[..., :kmax]
    return np.asarray(found)


def active_degrees(
    activation: str, kmax: int, tolerance: float = 1e-12, radius: float = 1.0, hermite: Sequence[float] = ()
) -> tuple[int, ...]:
    """K(sigma) up to kmax: the degrees k with |c_k(radius, 0)| > tolerance (docs/theory.md).

    mfpde's reading of arXiv:2605.24710; the article's text was not available.
    """
    found = np.abs(ridge_coefficients(activation, kmax, radius, 0.0, hermite)) > tolerance
    return tuple(int(k) for k in np.flatnonzero(found))


def require_degrees(activation: str, degrees: Sequence[int], hermite: Sequence[float] = ()) -> Array:
    """c_k(1, 0) for the given degrees: [len]. ConfigError for a degree that the activation lacks."""
    values = ridge_coefficients(activation, max(degrees, default=0), 1.0, 0.0, hermite)[list(degrees)]
    lacking = [str(k) for k, value in zip(degrees, values, strict=True) if abs(value) <= _ACCURACY]
    if lacking:
        raise ConfigError(
            "degrees",
            f"hold {', '.join(lacking)}, which the activation {activation!r} without bias lacks",
            hint="use an activation with that parity, or neurons with a bias",
        )
    return np.asarray(values)


def polar(atoms: Atoms) -> tuple[Array, Array]:
    """(|w| [S], w/|w| [S, d]); the direction of w = 0 is set to 0, right because c_k(0, b) = 0 for k >= 1."""
    radius = np.linalg.norm(atoms.w, axis=1)
    return radius, atoms.w / np.where(radius > 0.0, radius, 1.0)[:, None]


def joined(first: Atoms, second: Atoms) -> Atoms:
    """The atoms of first minus second: amplitudes of the second with the other sign."""
    if first.w.shape[1] != second.w.shape[1]:
        raise ConfigError("atoms", f"live in dimensions {first.w.shape[1]} and {second.w.shape[1]}, which must agree")
    return Atoms(*(np.concatenate(pair) for pair in ((first.a, -second.a), (first.w, second.w), (first.b, second.b))))


def tensor_products(activation: str, first: Atoms, second: Atoms, kmax: int, hermite: Sequence[float] = ()) -> Array:
    """<T_k(first), T_k(second)> for k = 0..kmax, through inner products alone: [kmax + 1].

    sum_st a_s a'_t c_k(|w_s|, b_s) c_k(|w'_t|, b'_t) <u_s, u'_t>^k, no tensor is formed.
    """
    weighted, directions = _weighted(activation, first, kmax, hermite)
    others, other_directions = _weighted(activation, second, kmax, hermite)
    cosines = directions @ other_directions.T
    powers = np.ones_like(cosines)
    found = np.empty(kmax + 1)
    for k in range(kmax + 1):
        found[k] = weighted[:, k] @ powers @ others[:, k]
        powers *= cosines
    return found


def tensor_distances(activation: str, first: Atoms, second: Atoms, kmax: int, hermite: Sequence[float] = ()) -> Array:
    """||T_k(first) - T_k(second)||^2, k = 0..kmax: [kmax + 1]; their sum is ||f - f'||^2 but for the tail (Parseval).

    Differences below 1e-8 of the norms drown in round-off, as in every quadratic form; see tensor_coordinates.
    """
    difference = joined(first, second)
    return np.maximum(tensor_products(activation, difference, difference, kmax, hermite), 0.0)


def tensor_coordinates(activation: str, atoms: Atoms, degree: int, hermite: Sequence[float] = ()) -> Array:
    """T_k in the orthonormal coordinates of Sym^k(R^d), k = degree: [C(k + d - 1, k)], norms as in tensor_products."""
    weighted, directions = _weighted(activation, atoms, degree, hermite)
    return np.asarray(weighted[:, degree] @ monomials(directions, degree))


@cache
def exponents(dimension: int, degree: int) -> NDArray[np.intp]:
    """The multi-indices alpha with |alpha| = degree: [C(degree + d - 1, degree), d], not to be written to."""
    factors = _factors(dimension, degree)
    found = np.zeros((len(factors), dimension), np.intp)
    for position in range(degree):
        found[np.arange(len(factors)), factors[:, position]] += 1
    found.flags.writeable = False
    return found


def monomials(points: Array, degree: int) -> Array:
    """sqrt(k!/alpha!) v^alpha for |alpha| = k = degree and points v [S, d]: [S, C(k + d - 1, k)].

    The coordinates of v^(x k): rows have the inner products <v, v'>^k.
    """
    factors = _factors(points.shape[1], degree)
    return np.asarray(_scales(points.shape[1], degree) * np.prod(points[:, factors], axis=2))


def monomial_gradients(points: Array, degree: int) -> Array:
    """Gradients of monomials(points, degree) in the coordinates of each point: [S, C(k + d - 1, k), d]."""
    factors = _factors(points.shape[1], degree)
    found = np.zeros((len(points), len(factors), points.shape[1]))
    for position in range(degree):
        others = np.prod(points[:, np.delete(factors, position, axis=1)], axis=2)
        found[:, np.arange(len(factors)), factors[:, position]] += others
    return found * _scales(points.shape[1], degree)[:, None]


@cache
def _factors(dimension: int, degree: int) -> NDArray[np.intp]:
    """Every monomial as the coordinates that it multiplies: [C(degree + d - 1, degree), degree]."""
    chosen = list(combinations_with_replacement(range(dimension), degree))
    return np.array(chosen, np.intp).reshape(len(chosen), degree)


@cache
def _scales(dimension: int, degree: int) -> Array:
    alpha = exponents(dimension, degree)
    return np.asarray(np.exp(0.5 * (gammaln(degree + 1.0) - gammaln(alpha + 1.0).sum(axis=1))))


def _weighted(activation: str, atoms: Atoms, kmax: int, hermite: Sequence[float]) -> tuple[Array, Array]:
    """(a_s c_k(|w_s|, b_s) [S, kmax + 1], directions [S, d])."""
    radius, directions = polar(atoms)
    return atoms.a[:, None] * ridge_coefficients(activation, kmax, radius, atoms.b, hermite), directions


def _known(activation: str) -> str:
    if activation not in CODES:
        raise ConfigError("activation", f"{activation!r} is unknown; known are {', '.join(CODES)}")
    return activation
