"""Two different networks with equal moment tensors up to a degree: witnesses that bound the orbit depth from below.

``twins`` builds them where docs/theory.md proves that they exist, on a great circle: there polynomials of degree D have
2D + 1 dimensions (D + 1 for one parity), and a signed measure on 2S points annihilates them if that is fewer than 2S;
its halves are the two networks. ``find_twin`` looks for them by Gauss and Newton's method where no closed form is known
(free weights, generic atoms): a twin that it finds bounds the depth from below, none found over all starts is evidence,
not proof. The worst case and the case of given, generic atoms are two depths, kept apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from mfpde.errors import ConfigError
from mfpde.theory.depths import CLASSES, Free, degrees_of, jacobian, orbit_depth, tangents, variety_depth
from mfpde.theory.parity import reflection
from mfpde.theory.ridge import Atoms, monomials, ridge_coefficients

Array = NDArray[np.float64]

_STEPS = 80
_EXACT = 1e-12
# Lines closer than this, and amplitudes outside these bounds, are degenerate: limits in which two neurons become one.
_APART, _SMALLEST, _LARGEST = 0.05, 1e-3, 1e3


@dataclass(frozen=True, eq=False)
class NumericDepth:
    """The least degree at which no twin was found, after ``starts`` searches at every degree.

    ``depth`` is None if even the largest degree tried had a twin; ``twin`` are the networks found at the last degree
    that had one, which prove that the depth is larger than that degree.
    """

    depth: int | None
    starts: int
    twin: tuple[Atoms, Atoms] | None


def twins(activation: str, dimension: int, atoms: int, hermite: Sequence[float] = ()) -> tuple[Atoms, Atoms]:
    """Two networks of ``atoms`` unit directions, equal in every T_k with k < orbit depth and not the same function.

    The separation example of docs/theory.md for tanh, dimension 3 and 3 atoms: equal up to degree 4, variety depth 3.
    All directions lie in the plane of the first two coordinates. ConfigError where there is no closed form.
    """
    known = orbit_depth(activation, dimension, atoms, hermite)
    if known.depth is None or not known.exact:
        raise ConfigError("activation", f"{activation!r} has no known depth for {atoms} atoms: {known.reference}")
    degrees = degrees_of(activation, known.depth - 1, "direction", hermite)[0]
    # two functions more than fit on a circle: the even part and the first moment of relu, gelu and softplus
    if known.depth == 2 * atoms and 1 in degrees:
        angles, a = _with_first_moment(atoms)
    else:
        angles = np.pi * (np.arange(2 * atoms) + 0.2 * np.sin(1.0 + 2.0 * np.arange(2 * atoms))) / (2 * atoms)
        a = _annihilating(angles, degrees)
    w = _on_circle(angles, dimension)
    even, odd = slice(0, None, 2), slice(1, None, 2)
    return Atoms(a[even], w[even], np.zeros(atoms)), Atoms(-a[odd], w[odd], np.zeros(atoms))


def worst_case_depth(
    activation: str,
    dimension: int,
    atoms: int,
    free: Free = "direction",
    hermite: Sequence[float] = (),
    largest: int | None = None,
    starts: int = 40,
    seed: int = 0,
) -> NumericDepth:
    """Orbit depth by search: the least degree (default up to 4 atoms + 2) at which no two networks were found equal."""
    return _search(activation, dimension, atoms, None, free, hermite, largest, starts, seed)


def generic_depth(
    activation: str,
    given: Atoms,
    free: Free = "direction",
    hermite: Sequence[float] = (),
    largest: int | None = None,
    starts: int = 40,
    seed: int = 0,
) -> NumericDepth:
    """Orbit depth of one network: the least degree, from the variety depth on, at which no other network was found."""
    return _search(activation, given.w.shape[1], len(given.a), given, free, hermite, largest, starts, seed)


def _search(
    activation: str,
    dimension: int,
    atoms: int,
    given: Atoms | None,
    free: Free,
    hermite: Sequence[float],
    largest: int | None,
    starts: int,
    seed: int,
) -> NumericDepth:
    lowest = variety_depth(activation, dimension, atoms, free, hermite).depth
    if lowest is None:
        return NumericDepth(None, starts, None)
    twin = None
    for degree in degrees_of(activation, 4 * atoms + 2 if largest is None else largest, free, hermite)[0]:
        if degree < lowest:
            continue
        found = find_twin(activation, dimension, atoms, degree, given, free, hermite, starts, seed)
        if found is None:
            return NumericDepth(degree, starts, twin)
        twin = found
    return NumericDepth(None, starts, twin)


def find_twin(
    activation: str,
    dimension: int,
    atoms: int,
    degree: int,
    given: Atoms | None = None,
    free: Free = "direction",
    hermite: Sequence[float] = (),
    starts: int = 40,
    seed: int = 0,
) -> tuple[Atoms, Atoms] | None:
    """Two networks with equal T_k, k <= degree, of different orbits: any two, or ``given`` and another one; else None.

    Levenberg and Marquardt's method from random atoms, the starts in turn in general position, in one plane and (free
    weights) on one line, where the worst cases lie and where the steps remain. Solutions where neurons of one function
    nearly coincide, vanish or run away are not counted.
    """
    degrees = degrees_of(activation, degree, free, hermite)[0]
    beyond = degrees_of(activation, degree + 4 * atoms, free, hermite)[0]
    count = 2 * atoms if given is None else atoms
    two_sided = activation != "all" and (activation in CLASSES or reflection(activation, hermite).kind != "none")
    for start in range(starts):
        rng = np.random.default_rng([seed, degree, start])
        begun = _start(dimension, count, free, rng, (dimension, 2, 1 if free != "direction" else 2)[start % 3])
        targets = [np.zeros(1) if given is None else _tensor(activation, given, k, free, hermite) for k in degrees]
        solved = _matched(activation, begun, targets, degrees, free, hermite, pinned=given is None)
        if solved is None or not _proper(solved, two_sided):
            continue
        first, second = solved, given
        if second is None:
            first, second = _part(solved, 0, atoms, 1.0), _part(solved, atoms, count, -1.0)
        # equal beyond the degree as well: the same function, by a symmetry that the angles of neurons do not show
        gaps = [np.subtract(*(_tensor(activation, one, k, free, hermite) for one in (first, second))) for k in beyond]
        if max(float(np.max(np.abs(gap))) for gap in gaps) > 1e-6:
            return second, first
    return None


def _matched(
    activation: str,
    start: Atoms,
    targets: list[Array],
    degrees: Sequence[int],
    free: Free,
    hermite: Sequence[float],
    pinned: bool,
) -> Atoms | None:
    """Atoms with the given tensors, or None; ``pinned`` keeps <a, a_start> = |a_start|^2, lest all a vanish."""
    scales = [max(float(np.max(np.abs(jacobian(activation, start, k, free, hermite)))), 1e-300) for k in degrees]

    def residual(atoms: Atoms) -> Array:
        rows = [(_tensor(activation, atoms, k, free, hermite) - t) / s for k, t, s in zip(degrees, targets, scales)]
        rows.append(np.atleast_1d(atoms.a @ start.a - start.a @ start.a if pinned else 0.0))
        return np.concatenate(rows)

    atoms, damping = start, 1e-2
    current = residual(atoms)
    for _ in range(_STEPS):
        slopes = np.concatenate([jacobian(activation, atoms, k, free, hermite) / s for k, s in zip(degrees, scales)])
        pin = np.zeros((1, slopes.shape[1]))
        pin[0, : len(start.a)] = start.a * pinned
        slopes = np.concatenate([slopes, pin])
        normal = slopes.T @ slopes + damping * np.eye(slopes.shape[1])
        trial = _moved(atoms, np.linalg.solve(normal, -slopes.T @ current), free)
        following = residual(trial)
        if np.linalg.norm(following) < np.linalg.norm(current):
            atoms, current, damping = trial, following, max(0.1 * damping, 1e-12)
        else:
            damping *= 5.0
        if np.linalg.norm(current) < _EXACT:
            return atoms
        if damping > 1e8:
            return None
    return None


def _tensor(activation: str, atoms: Atoms, degree: int, free: Free, hermite: Sequence[float]) -> Array:
    """T_degree in coordinates; without c_degree(1) for free directions, as in depths.jacobian."""
    radius = np.linalg.norm(atoms.w, axis=1)
    values = monomials(atoms.w / radius[:, None], degree)
    if free == "direction":
        return np.asarray(atoms.a @ values)
    return np.asarray((atoms.a * ridge_coefficients(activation, degree, radius, atoms.b, hermite)[:, degree]) @ values)


def _moved(atoms: Atoms, step: Array, free: Free) -> Atoms:
    """One step in the coordinates of depths.jacobian, unit vectors brought back to the sphere."""
    count, dimension = atoms.w.shape
    a = atoms.a + step[:count]
    if free == "direction":
        turns = step[count:].reshape(count, dimension - 1)
        w = atoms.w + np.stack([tangents(u) @ turn for u, turn in zip(atoms.w, turns, strict=True)])
        return Atoms(a, w / np.linalg.norm(w, axis=1, keepdims=True), atoms.b)
    end = count * (dimension + 1)
    b = atoms.b + step[end:] if free == "weight and bias" else atoms.b
    return Atoms(a, atoms.w + step[count:end].reshape(count, dimension), b)


def _start(dimension: int, count: int, free: Free, rng: np.random.Generator, rank: int) -> Atoms:
    w = rng.standard_normal((count, dimension))
    w[:, rank:] = 0.0
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    if free != "direction":
        w *= rng.uniform(0.5, 2.5, (count, 1))
    a = rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 1.5, count)
    return Atoms(a, w, rng.uniform(-1.0, 1.0, count) if free == "weight and bias" else np.zeros(count))


def _proper(atoms: Atoms, two_sided: bool) -> bool:
    """Whether no two neurons coincide (up to sign if ``two_sided``), none vanishes and none runs away."""
    points = np.column_stack([atoms.w, atoms.b])
    gaps = [np.linalg.norm(points[:, None] - sign * points[None], axis=2) for sign in ((1, -1) if two_sided else (1,))]
    nearest = np.min(gaps, axis=0) + np.eye(len(points))
    radius, size = np.linalg.norm(atoms.w, axis=1), np.abs(atoms.a)
    inside = np.all((radius > _APART) & (radius < 1.0 / _APART) & (size > _SMALLEST) & (size < _LARGEST))
    return bool(inside and nearest.min() > _APART)


def _part(atoms: Atoms, start: int, end: int, sign: float) -> Atoms:
    return Atoms(sign * atoms.a[start:end], atoms.w[start:end], atoms.b[start:end])


def _on_circle(angles: Array, dimension: int) -> Array:
    w = np.zeros((len(angles), dimension))
    w[:, 0], w[:, 1] = np.cos(angles), np.sin(angles)
    return w


def _annihilating(angles: Array, degrees: Sequence[int]) -> Array:
    """A signed measure on points of the circle that annihilates the monomials of the given degrees: its amplitudes."""
    rows = [np.zeros((1, len(angles))), *(monomials(_on_circle(angles, 2), k).T for k in degrees)]
    _, values, vectors = np.linalg.svd(np.concatenate(rows))
    kernel = vectors[int(np.sum(values > 1e-12)) :]
    # a fixed generic vector, projected: no amplitude vanishes by chance
    found = kernel.T @ (kernel @ np.cos(1.0 + np.arange(len(angles)) ** 2))
    return np.asarray(found / np.max(np.abs(found)))


def _with_first_moment(atoms: int) -> tuple[Array, Array]:
    """(angles, amplitudes): even degrees up to 2 atoms - 2 and the first moment vanish on 2 atoms lines of a plane.

    The even degrees leave the amplitudes 1 / prod_j sin(t_i - t_j). At angles +-t_j they are odd in t, so that the
    first moment has one component; in u = sin^2 t it is the divided difference of g(u) = (1 - u)^(-1/2) at the u_j,
    positive, less twice one of its terms where a pair of points changes sides. That is negative while u_S is moderate
    and positive as u_S -> 1, where g is infinite: there is a root for every S >= 3.
    """
    lower = 0.4 * (1.0 - np.cos(np.pi * (np.arange(atoms - 1) + 0.5) / (atoms - 1)))
    # the outermost term of the divided difference with a positive sign
    turned = 1 - atoms % 2

    def moment(log_rest: float) -> float:
        u = np.append(lower, 1.0 - np.exp(log_rest))
        rest = np.append(np.sqrt(1.0 - lower), np.exp(0.5 * log_rest))
        terms = 1.0 / (rest * np.prod(u[:, None] - u[None] + np.eye(atoms), axis=1))
        return float(np.sum(terms) - 2.0 * terms[turned])

    root = brentq(moment, np.log(0.9 * (1.0 - lower[-1])), np.log(1e-9), xtol=1e-15, rtol=1e-15)
    half = np.append(np.arcsin(np.sqrt(lower)), np.arccos(np.exp(0.5 * root)))
    angles = np.concatenate([half, -half])
    a = 1.0 / np.prod(np.sin(angles[:, None] - angles[None]) + np.eye(2 * atoms), axis=1)
    # the even part does not see on which side of its line a point lies
    angles[[turned, atoms + turned]] += np.pi
    return angles, a / np.max(np.abs(a))
