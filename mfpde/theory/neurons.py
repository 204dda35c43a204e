"""Neurons as points of a product of unit spheres, their features on weighted data, and the maxima of a correlation.

A neuron is sigma(<w, x> + b) with |w| = R on a sphere or |w| <= R in a ball, and |b| <= B.  A ball of R^d is the shadow
of the unit sphere of R^(d+1), an interval that of the circle: with u = (u_w, u_b) on these spheres

    w = R (u_w)_{1..d},   b = B (u_b)_1,   <w, x> + b = <lifted x, u>,     lifted x = (R x [, 0] [, B, 0]),

so that every domain is smooth and has no boundary, and the pre-activation is linear in u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mfpde.core import activations
from mfpde.errors import ConfigError
from mfpde.theory.parity import reflection
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]

# half the distance of the difference quotient of sigma'
_STEP = 1e-4
# features evaluated at a time
_CHUNK = 1 << 22
_ASCENT_STEPS = 40
_LARGEST_TURN = 0.3


@dataclass(frozen=True)
class Domain:
    """Where neurons may be: weights on the sphere |w| = ``radius`` or in its ball, and |b| <= ``bias`` (0: no bias)."""

    kind: Literal["sphere", "ball"] = "sphere"
    radius: float = 1.0
    bias: float = 0.0


@dataclass(frozen=True, eq=False)
class Regression:
    """Weighted data seen by the neurons of a domain.

    y [n] and weights [n] (sum 1); lifted [n, D] with <lifted, u> = <w, x> + b; ``blocks`` the slices of u on a unit
    sphere each; ``dimension`` d of the inputs.  ``twin_signs`` [T, D] times u gives the units of the same ridge
    function, ``twin_factors`` [T] times the amplitude.
    """

    activation: str
    hermite: tuple[float, ...]
    domain: Domain
    lifted: Array
    y: Array
    weights: Array
    blocks: tuple[slice, ...]
    dimension: int
    twin_signs: Array
    twin_factors: Array


class Jet(NamedTuple):
    """Value [k], gradient in tangent coordinates [k, m] and Riemannian Hessian [k, m, m] of a function of a neuron."""

    value: Array
    gradient: Array
    hessian: Array


def regression(
    activation: str,
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike | None = None,
    domain: Domain | None = None,
    hermite: tuple[float, ...] = (),
) -> Regression:
    """Data x [n, d], y [n], weights [n] (equal by default, normalised here) for neurons of ``domain`` (unit sphere).

    ConfigError for empty, non-finite or mismatched data, for a law that does not span its inputs (weights across the
    missing directions would change nothing), and for a domain without extent.
    """
    if activation not in activations.CODES:
        raise ConfigError("activation", f"{activation!r} is unknown; known are {', '.join(activations.CODES)}")
    domain = Domain() if domain is None else domain
    inputs, targets = np.atleast_2d(np.asarray(x, np.float64)), np.asarray(y, np.float64)
    n, d = inputs.shape
    c = np.full(n, 1.0 / max(n, 1)) if weights is None else np.asarray(weights, np.float64)
    if n == 0 or d == 0 or targets.shape != (n,) or c.shape != (n,):
        raise ConfigError(
            "data",
            f"has inputs {inputs.shape}, targets {targets.shape} and weights {c.shape}; one or"
            " more nodes of each are needed",
        )
    if not (np.isfinite(inputs).all() and np.isfinite(targets).all() and np.isfinite(c).all()):
        raise ConfigError("data", "holds numbers that are not finite")
    if c.min() < 0.0 or c.sum() <= 0.0:
        raise ConfigError("data", "has negative weights, or none that is positive")
    if domain.kind not in ("sphere", "ball") or domain.radius <= 0.0 or domain.bias < 0.0:
        raise ConfigError(
            "domain", f"is {domain}; it needs a sphere or ball of positive radius and a bias of at least 0"
        )
    c = c / c.sum()
    rank = int(np.linalg.matrix_rank(np.sqrt(c)[:, None] * inputs))
    if rank < d:
        raise ConfigError(
            "data",
            f"spans {rank} of its {d} input dimensions: weights across the others change no prediction",
            "project the inputs on their span first",
        )
    columns = [domain.radius * inputs]
    blocks = [slice(0, d)]
    if domain.kind == "ball":
        columns.append(np.zeros((n, 1)))
        blocks = [slice(0, d + 1)]
    if domain.bias > 0.0:
        columns += [np.full((n, 1), domain.bias), np.zeros((n, 1))]
        blocks.append(slice(blocks[0].stop, blocks[0].stop + 2))
    lifted = np.concatenate(columns, axis=1)
    twins = _twins(lifted, mirror_sign(activation, hermite))
    return Regression(activation, tuple(hermite), domain, lifted, targets, c, tuple(blocks), d, *twins)


def to_atoms(problem: Regression, amplitudes: Array, units: Array) -> Atoms:
    """Amplitudes [S] and units u [S, D] as atoms (a, w, b)."""
    d, domain = problem.dimension, problem.domain
    bias = domain.bias * units[:, problem.blocks[1].start] if domain.bias > 0.0 else np.zeros(len(units))
    return Atoms(amplitudes.copy(), domain.radius * units[:, :d], bias)


def from_atoms(problem: Regression, atoms: Atoms) -> Array:
    """Units u [S, D] of atoms; those outside the domain go to its nearest point."""
    d, domain = problem.dimension, problem.domain
    u = np.zeros((len(atoms.a), problem.lifted.shape[1]))
    u[:, :d] = atoms.w / domain.radius
    if domain.kind == "ball":
        u[:, d] = np.sqrt(np.maximum(0.0, 1.0 - np.sum(u[:, :d] ** 2, axis=1)))
    if domain.bias > 0.0:
        start = problem.blocks[1].start
        u[:, start] = np.clip(atoms.b / domain.bias, -1.0, 1.0)
        u[:, start + 1] = np.sqrt(1.0 - u[:, start] ** 2)
    return normalised(problem, u)


def mirror_sign(activation: str, hermite: tuple[float, ...] = ()) -> float:
    """s with sigma(-z) = s sigma(z): 1 for an even activation, -1 for an odd one; 0 for neither."""
    mirror = reflection(activation, hermite)
    return {"even": 1.0, "odd": -1.0, "none": 0.0}[mirror.kind] if mirror.offset == 0.0 else 0.0


def _twins(lifted: Array, even: float) -> tuple[Array, Array]:
    """The two sides of a ball or an interval seen from above are one; an odd or even activation joins u and -u."""
    signs, factors = np.ones((1, lifted.shape[1])), np.ones(1)
    for column in np.flatnonzero(~np.any(lifted, axis=0)):
        other = signs.copy()
        other[:, column] *= -1.0
        signs, factors = np.concatenate([signs, other]), np.concatenate([factors, factors])
    if even != 0:
        signs, factors = np.concatenate([signs, -signs]), np.concatenate([factors, even * factors])
    return signs, factors


def chords(problem: Regression, units: Array, others: Array) -> Array:
    """Distances [k, l] between units [k, D] and others [l, D], the nearest of the twins counting."""
    apart = units[:, None, None, :] - problem.twin_signs[None, :, None, :] * others[None, None, :, :]
    return np.asarray(np.sqrt(np.min(np.sum(apart**2, axis=3), axis=1)))


def nearest_twin(problem: Regression, unit: Array, reference: Array) -> tuple[Array, float]:
    """The twin of ``unit`` [D] nearest to ``reference`` [D], and its amplitude factor."""
    k = int(np.argmin(np.sum((problem.twin_signs * unit - reference) ** 2, axis=1)))
    return problem.twin_signs[k] * unit, float(problem.twin_factors[k])


def normalised(problem: Regression, units: Array) -> Array:
    """Units [..., D] with every block brought to length 1."""
    out = units.copy()
    for block in problem.blocks:
        out[..., block] /= np.linalg.norm(out[..., block], axis=-1, keepdims=True)
    return out


def candidates(problem: Regression, count: int) -> Array:
    """About ``count`` evenly spread units [count, D], none the twin of another.

    Equal angles on a circle, elsewhere an additive recurrence (Roberts 2018) through the normal quantile.
    """
    size, families = problem.lifted.shape[1], len(problem.twin_signs)
    if size == 2 and len(problem.blocks) == 1:
        angles = 2.0 * np.pi / families * (np.arange(count) + 0.5) / count
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ratio = 2.0
    for _ in range(60):  # the root of r^(size + 1) = r + 1
        ratio = (1.0 + ratio) ** (1.0 / (size + 1.0))
    shares = ratio ** -np.arange(1.0, size + 1.0)
    units = normalised(problem, ndtri((0.5 + np.outer(np.arange(1.0, count + 1.0), shares)) % 1.0))
    for signs in problem.twin_signs[:0:-1]:
        changed = int(np.flatnonzero(signs < 0.0)[0])
        mirrored = units[:, changed] < 0.0
        units[mirrored] *= signs
    return units


def pre_activation(problem: Regression, units: Array) -> Array:
    """<w, x_q> + b : [k, n]."""
    return units @ problem.lifted.T


def features(problem: Regression, units: Array) -> Array:
    """sigma(<w, x_q> + b) : [k, n]."""
    return activations.evaluate(problem.activation, pre_activation(problem, units), problem.hermite)


def slopes(problem: Regression, units: Array) -> Array:
    """sigma'(<w, x_q> + b) : [k, n]."""
    return activations.derivative(problem.activation, pre_activation(problem, units), problem.hermite)


def correlations(problem: Regression, units: Array, r: Array) -> Array:
    """<r, sigma_u> = sum_q c_q r_q sigma(<w, x_q> + b) : [k], a few units at a time."""
    weighted = problem.weights * r
    step = max(1, _CHUNK // len(weighted))
    return np.concatenate([features(problem, units[k : k + step]) @ weighted for k in range(0, len(units), step)])


def tangents(problem: Regression, units: Array) -> Array:
    """Orthonormal bases Q [k, D, m] of the tangent spaces at units [k, D], by Householder reflections."""
    count, size = units.shape
    q = np.zeros((count, size, size - len(problem.blocks)))
    column = 0
    for block in problem.blocks:
        u = units[:, block]
        p = u.shape[1]
        v = u.copy()
        v[:, 0] += np.where(u[:, 0] < 0.0, -1.0, 1.0)
        reflection = np.eye(p) - 2.0 * v[:, :, None] * v[:, None, :] / np.sum(v * v, axis=1)[:, None, None]
        q[:, block, column : column + p - 1] = reflection[:, :, 1:]
        column += p - 1
    return q


def moved(problem: Regression, units: Array, q: Array, steps: Array) -> Array:
    """Units after tangent steps [k, m], brought back to their spheres."""
    return normalised(problem, units + (q @ steps[:, :, None])[:, :, 0])


def turned(problem: Regression, units: Array, q: Array) -> Array:
    """Derivatives of the features in the tangent coordinates of ``q`` : [k, m, n]."""
    return np.asarray(slopes(problem, units)[:, None] * (problem.lifted @ q).transpose(0, 2, 1))


def jet(problem: Regression, units: Array, q: Array, r: Array) -> Jet:
    """The correlation <r, sigma_u> at units [k, D] to second order in the tangent coordinates of ``q``."""
    z, weighted = pre_activation(problem, units), problem.weights * r
    slope = activations.derivative(problem.activation, z, problem.hermite) * weighted
    ambient = slope @ problem.lifted
    # sigma'' of a kinked activation lives on a null set of weights
    kinked = problem.activation == "relu"
    high, low = (activations.derivative(problem.activation, z + s, problem.hermite) for s in (_STEP, -_STEP))
    curvature = np.zeros_like(z) if kinked else (high - low) / (2.0 * _STEP) * weighted
    along = problem.lifted @ q
    hessian = along.transpose(0, 2, 1) @ (curvature[:, :, None] * along)
    for block in problem.blocks:
        normal = np.sum(ambient[:, block] * units[:, block], axis=1)
        hessian -= normal[:, None, None] * (q[:, block].transpose(0, 2, 1) @ q[:, block])
    value = activations.evaluate(problem.activation, z, problem.hermite) @ weighted
    return Jet(value, (ambient[:, None] @ q)[:, 0], hessian)


def ascend(problem: Regression, units: Array, r: Array) -> tuple[Array, Array]:
    """Local maxima of |<r, sigma_u>| from units [k, D] by damped Newton steps: (units [k, D], signed values [k])."""
    units = units.copy()
    signs = np.where(correlations(problem, units, r) < 0.0, -1.0, 1.0)
    values = signs * correlations(problem, units, r)
    active = np.ones(len(units), bool)
    for _ in range(_ASCENT_STEPS):
        here = np.flatnonzero(active)
        if here.size == 0:
            break
        q = tangents(problem, units[here])
        local = jet(problem, units[here], q, r)
        step = _uphill(signs[here, None] * local.gradient, signs[here, None, None] * local.hessian)
        best, gained = units[here], values[here].copy()
        for scale in (1.0, 0.5, 0.25, 0.0625, 2.0**-8):
            trial = moved(problem, units[here], q, scale * step)
            reached = signs[here] * correlations(problem, trial, r)
            better = (reached > gained) & (gained == values[here])
            best[better], gained[better] = trial[better], reached[better]
        active[here] = gained - values[here] > 1e-15 * np.abs(values[here])
        units[here], values[here] = best, gained
    return units, signs * values


def _uphill(gradient: Array, hessian: Array) -> Array:
    """|H|^(-1) g, no longer than a largest turn: Newton near a maximum, away from saddles."""
    curvature, basis = np.linalg.eigh(hessian)
    floor = 1e-12 * np.max(np.abs(curvature), axis=1, keepdims=True, initial=1e-300)
    along = np.einsum("kmp,km->kp", basis, gradient) / np.maximum(np.abs(curvature), floor)
    step = np.einsum("kmp,kp->km", basis, along)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, _LARGEST_TURN / np.maximum(length, 1e-300)))
