"""How many Hermite degrees of a network determine its neurons: moment-variety depth and orbit depth.

For S atoms and x ~ N(0, I_d), let T_k, k in K(sigma), be the moment tensors of mfpde.theory.ridge. Two depths
(docs/theory.md; mfpde's reading of arXiv:2605.24710, whose text was not available):
  variety depth  the least D for which T_(<=D) is finite-to-one near generic atoms, up to continuous symmetries: the
                 Jacobian has the rank of the parameters less the dimension of the orbit;
  orbit depth    the least D for which equal T_(<=D) of any two S-atomic networks make them one orbit.
Variety depth <= orbit depth of generic atoms <= orbit depth. What moves: "direction", amplitudes and unit vectors (the
closed forms); "weight", (a, w) free; "weight and bias", (a, w, b) free. The parity classes "odd", "even" and "all"
stand for any activation with all degrees of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.core.activations import derivative as slope_of
from mfpde.core.activations import evaluate
from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.parity import homogeneity, polynomial, reflection
from mfpde.theory.ridge import (
    Atoms,
    active_degrees,
    monomial_gradients,
    monomials,
    radial_derivative,
    ridge_coefficients,
)

Array = NDArray[np.float64]
Free = Literal["direction", "weight", "weight and bias"]

CLASSES = ("odd", "even", "all")
RANK_TOLERANCE = 1e-9
_LARGEST_JACOBIAN = 1 << 25
# At radius 1 a coefficient of a polynomial may vanish that does not vanish at others.
_GENERIC_RADIUS = 1.37


@dataclass(frozen=True)
class VarietyDepth:
    """``depth`` is None when no degree reaches the rank ``expected`` = parameters - dim orbit, for ``reason``.

    ``ranks``, ``smallest`` and ``largest_dropped`` go with ``degrees``: the rank of the Jacobian of T_(<=D), its
    smallest singular value that counts and the largest that does not, both relative to the largest of all.
    """

    depth: int | None
    expected: int
    degrees: tuple[int, ...]
    ranks: tuple[int, ...]
    smallest: tuple[float, ...]
    largest_dropped: tuple[float, ...]
    reason: str = ""


@dataclass(frozen=True)
class OrbitDepth:
    """``depth`` is None when no degree of the activation suffices; ``exact`` is False for an upper bound."""

    depth: int | None
    exact: bool
    reference: str


@dataclass(frozen=True)
class LawRank:
    """What a data law on finitely many nodes sees of the parameters near given atoms.

    ``rank`` of the Jacobian of f at the nodes, ``expected`` = parameters - dim orbit, ``nodes`` the number of different
    inputs, which bounds the rank; ``identifiable``: rank = expected. The other two as in VarietyDepth.
    """

    rank: int
    expected: int
    nodes: int
    identifiable: bool
    smallest: float
    largest_dropped: float


def variety_depth(
    activation: str,
    dimension: int,
    atoms: int,
    free: Free = "direction",
    hermite: Sequence[float] = (),
    largest: int | None = None,
    seed: int = 0,
    tolerance: float = RANK_TOLERANCE,
) -> VarietyDepth:
    """Least degree at which the analytic Jacobian of T_(<=D) at random atoms has full rank modulo the orbit.

    ``activation`` is a name or, for free directions, a parity class. Singular values below ``tolerance`` times the
    largest count as zero; each degree is scaled to size 1. The depth is None for polynomial activations whose degrees
    end before (their relations have finite codimension) and for more neurons than a line has directions. ConfigError
    for sizes below 1; NotConverged when the rank is not reached up to ``largest`` (default 4 atoms + 2), which
    infinitely many degrees promise.
    """
    parameters = _parameters(activation, dimension, atoms, free, hermite)
    degrees, capped = degrees_of(activation, 4 * atoms + 2 if largest is None else largest, free, hermite)
    point = random_atoms(dimension, atoms, free, seed)
    blocks: list[Array] = []
    found: list[tuple[int, int, float, float]] = []
    for degree in degrees:
        if comb(degree + dimension - 1, degree) * parameters[0] > _LARGEST_JACOBIAN:
            raise NotConverged(f"degree {degree} in dimension {dimension} has too many tensor coordinates")
        block = jacobian(activation, point, degree, free, hermite)
        blocks.append(block / max(float(np.max(np.abs(block))), 1e-300))
        found.append((degree, *numerical_rank(np.concatenate(blocks), tolerance)))
        if found[-1][1] == parameters[1]:
            break
    # on a line there are two directions, whatever the degree
    capped |= dimension == 1 and (free == "direction" or (free == "weight" and parameters[1] < parameters[0]))
    depth = found[-1][0] if found and found[-1][1] == parameters[1] else None
    degrees, ranks, smallest, dropped = zip(*found, strict=True) if found else ((), (), (), ())
    reason = ""
    if depth is None:
        reason = f"the {len(found)} degrees of the activation carry rank {max(ranks, default=0)} of {parameters[1]}"
        if not capped:
            raise NotConverged(f"the rank {parameters[1]} is not reached: {reason}", hint="allow larger degrees")
    return VarietyDepth(depth, parameters[1], degrees, ranks, smallest, dropped, reason)


def jacobian(activation: str, atoms: Atoms, degree: int, free: Free, hermite: Sequence[float] = ()) -> Array:
    """Derivatives of T_degree in orthonormal coordinates by the free parameters: [C(degree + d - 1, degree), p].

    Columns: amplitudes, then the free coordinates of w atom by atom (tangent to the sphere for "direction"), then b.
    For directions c_k(1) is left out: it scales a whole degree. The atoms must have w != 0.
    """
    radius = np.linalg.norm(atoms.w, axis=1)
    directions = atoms.w / radius[:, None]
    values = monomials(directions, degree)
    gradients = monomial_gradients(directions, degree)
    a = atoms.a[:, None, None]
    if free == "direction":
        columns = [values.T]
        columns += [amplitude * rows @ tangents(u) for amplitude, rows, u in zip(atoms.a, gradients, directions)]
        return np.concatenate(columns, axis=1)
    c = ridge_coefficients(activation, degree, radius, atoms.b, hermite)[:, degree]
    radial = radial_derivative(activation, degree, radius, atoms.b, hermite)[:, degree]
    # the monomials are homogeneous: their gradient has the radial part degree * value, which is no rotation
    turning = gradients - degree * values[:, :, None] * directions[:, None, :]
    by_weight = radial[:, None, None] * values[:, :, None] * directions[:, None, :]
    by_weight = a * (by_weight + (c / radius)[:, None, None] * turning)
    columns = [(c[:, None] * values).T, by_weight.transpose(1, 0, 2).reshape(values.shape[1], -1)]
    if free == "weight and bias":
        slopes = ridge_coefficients(activation, degree, radius, atoms.b, hermite, derivative=True)[:, degree]
        columns.append((atoms.a[:, None] * slopes[:, None] * values).T)
    return np.concatenate(columns, axis=1)


def numerical_rank(matrix: Array, tolerance: float = RANK_TOLERANCE) -> tuple[int, float, float]:
    """(rank, smallest singular value that counts, largest that does not), both over the largest; 0 for none."""
    values = np.linalg.svd(matrix, compute_uv=False)
    if not len(values) or values[0] == 0.0:
        return 0, 0.0, 0.0
    values = values / values[0]
    rank = int(np.sum(values > tolerance))
    return rank, float(values[rank - 1]), float(values[rank]) if rank < len(values) else 0.0


def law_rank(
    activation: str,
    atoms: Atoms,
    x: Array,
    weights: Array,
    free: Free = "weight",
    hermite: Sequence[float] = (),
    tolerance: float = RANK_TOLERANCE,
) -> LawRank:
    """Whether the values of f at the nodes x [n, d] with weights [n] determine the parameters near ``atoms``.

    An empirical law caps every depth: with fewer distinct nodes than parameters modulo the orbit the variety depth is
    infinite (docs/theory.md). The derivative by each parameter is scaled to size 1 before ranks are counted; the norm
    of w is free unless ``free`` is "direction".
    """
    z = x @ atoms.w.T + atoms.b
    values, slopes = evaluate(activation, z, hermite), atoms.a * slope_of(activation, z, hermite)
    columns = [values]
    for s, w in enumerate(atoms.w):
        along = x @ tangents(w / np.linalg.norm(w)) if free == "direction" else x
        columns.append(slopes[:, [s]] * along)
    if free == "weight and bias":
        columns.append(slopes)
    matrix = np.sqrt(weights)[:, None] * np.concatenate(columns, axis=1)
    sizes = np.linalg.norm(matrix, axis=0)
    rank, smallest, dropped = numerical_rank(matrix / np.where(sizes > 0.0, sizes, 1.0), tolerance)
    expected = _parameters(activation, atoms.w.shape[1], len(atoms.a), free, hermite)[1]
    nodes = len(np.unique(x[weights > 0.0], axis=0))
    return LawRank(rank, expected, nodes, rank == expected, smallest, dropped)


def orbit_depth(activation: str, dimension: int, atoms: int, hermite: Sequence[float] = ()) -> OrbitDepth:
    """Worst-case orbit depth for unit vectors and Gaussian inputs, dimension >= 2 (docs/theory.md).

    T_k on the sphere contains T_(k-2), ..., so that only the largest odd and even degree up to D matter. Equal tensors
    mean a signed measure on 2S points that annihilates these polynomials: products of S affine forms (2S - 1 linear
    forms for one parity) separate them, and on a great circle fewer functions than points do not. For relu, gelu and
    softplus the same for the even part, with the first moment beside it: S up to S = 2, then 2S, an upper bound that
    mfpde.theory.twins shows to be sharp. ConfigError for dimension < 2, where the sphere is two points.
    """
    if dimension < 2 or atoms < 1:
        raise ConfigError("dimension", f"is {dimension} with {atoms} atoms; closed forms need at least 2 and 1")
    degrees = np.array(degrees_of(activation, max(2 * atoms + 2, len(hermite)), "direction", hermite)[0])
    odd, even = degrees[degrees % 2 == 1], degrees[degrees % 2 == 0]
    if not len(even):
        return _first(odd, 2 * atoms - 1, f"2S - 1 = {2 * atoms - 1}: products of linear forms, great circle")
    if not len(odd):
        return _first(even, 2 * atoms, f"2S = {2 * atoms}: products of linear forms, great circle")
    top = atoms - atoms % 2, atoms - 1 + atoms % 2
    full = [d for d in degrees if even[even <= d].max(initial=-1) >= top[0] and odd[odd <= d].max(initial=-1) >= top[1]]
    if full:
        exact = int(full[0]) == atoms
        return OrbitDepth(int(full[0]), exact, f"all degrees up to S = {atoms}: products of affine forms, great circle")
    if polynomial(activation, hermite) is not None:
        return OrbitDepth(None, False, "the polynomial has too few degrees for the closed forms")
    if odd.max() <= 1:
        return OrbitDepth(2 * atoms, True, f"2S = {2 * atoms}: even part and first moment, great circle")
    # the constant is one more function on the circle, too few still
    return OrbitDepth(2 * atoms - 1, True, f"2S - 1 = {2 * atoms - 1}: odd part, great circle with the constant")


def _first(degrees: NDArray[np.intp], needed: int, reference: str) -> OrbitDepth:
    enough = degrees[degrees >= needed]
    return OrbitDepth(int(enough[0]) if len(enough) else None, True, reference)


def degrees_of(
    activation: str, largest: int, free: Free, hermite: Sequence[float] = ()
) -> tuple[tuple[int, ...], bool]:
    """(active degrees up to ``largest``, whether there are no others). ConfigError for a class and free weights."""
    if activation in CLASSES:
        if free != "direction":
            raise ConfigError("free", f"must be 'direction' for the parity class {activation!r}; name an activation")
        start, step = {"odd": (1, 2), "even": (0, 2), "all": (0, 1)}[activation]
        return tuple(range(start, largest + 1, step)), False
    powers = polynomial(activation, hermite)
    if powers is not None:
        top = len(powers) - 1
        capped, largest = largest >= top, min(largest, top)
        radius = 1.0 if free == "direction" else _GENERIC_RADIUS
        active = active_degrees(activation, largest, 1e-12, radius, hermite)
        return tuple(range(largest + 1)) if free == "weight and bias" else active, capped
    if free == "weight and bias":
        return tuple(range(largest + 1)), False
    # infinitely many degrees follow from the parity; their coefficients fall below any tolerance in the end
    parity = 1 if reflection(activation).kind == "odd" else 0
    low = {k for k in active_degrees(activation, 1) if k <= largest}
    return tuple(sorted(low | set(range(parity, largest + 1, 2)))), False


def _parameters(activation: str, dimension: int, atoms: int, free: Free, hermite: Sequence[float]) -> tuple[int, int]:
    """(number of free parameters, the same less the dimension of the orbit: one per atom for a free scale)."""
    if dimension < 1 or atoms < 1:
        raise ConfigError("dimension, atoms", f"must be at least 1, not {dimension} and {atoms}")
    each = {"direction": dimension, "weight": dimension + 1, "weight and bias": dimension + 2}[free]
    scales = activation not in CLASSES and free != "direction" and homogeneity(activation, hermite) is not None
    return atoms * each, atoms * (each - scales)


def random_atoms(dimension: int, atoms: int, free: Free, seed: int) -> Atoms:
    """Atoms in general position, amplitudes away from zero; radii spread, for they make the degrees differ."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((atoms, dimension))
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    if free != "direction":
        w *= np.linspace(0.6, 2.4, atoms)[:, None] if atoms > 1 else 1.2
    a = rng.choice([-1.0, 1.0], atoms) * rng.uniform(0.5, 1.5, atoms)
    b = rng.uniform(-1.0, 1.0, atoms) if free == "weight and bias" else np.zeros(atoms)
    return Atoms(a, w, b)


def tangents(u: Array) -> Array:
    """An orthonormal basis of the tangent space of the sphere at u [d]: [d, d - 1]."""
    return np.asarray(np.linalg.qr(np.column_stack([u, np.eye(len(u))]))[0][:, 1:])
