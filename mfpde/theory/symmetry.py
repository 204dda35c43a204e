"""The realization symmetry of each activation: a canonical form of atomic measures, and when two networks are one.

Two finite networks are in one orbit when permutations, merging of equal neurons, dropping of inactive ones, the sign
and scale symmetries of the activation and its linear relations of finite rank turn one into the other (docs/theory.md;
mfpde's reading of "finite-rank realization symmetry" in arXiv:2605.24710, whose text was not available). The relations
come from
  sigma(-z) = 2c - sigma(z)      tanh, erf, sin (c = 0), sigmoid (c = 1/2): a flip leaves a constant,
  sigma(-z) = sigma(z) - 2l z    quadratic (l = 0), relu, softplus, gelu (l = 1/2): a flip leaves a linear function,
so the canonical form of a network is a set of neurons, a linear function and a constant. With it orbits are functions:
for tanh by Sussmann (1992); for erf and gelu because Gaussians of different exponents are independent over the
polynomials, for softplus and sigmoid by their poles, for relu by the kinks, for sin as different frequencies.
Polynomials of degree three and more have relations that no canonical form here removes; there the coefficients decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mfpde.core.activations import evaluate
from mfpde.theory.overlaps import Distance, gaussian_distance, node_distance
from mfpde.theory.parity import Reflection, homogeneity, polynomial, reflection
from mfpde.theory.ridge import Atoms, joined, network, neurons, tensor_coordinates

Array = NDArray[np.float64]

TOLERANCE = 1e-9
# Nodes at which two networks that should be one are compared where the quadratic form cannot see; any number above
# the number of their neurons tells different analytic functions apart.
_NODES = 1024


@dataclass(frozen=True, eq=False)
class Canonical:
    """f(x) = sum_s a_s sigma(<w_s, x> + b_s) + <linear, x> + constant; linear [d]."""

    atoms: Atoms
    linear: Array
    constant: float


@dataclass(frozen=True)
class Comparison:
    """Whether two networks are one function; ``distance`` in L2 with its ``resolution``; ``orbit_equal`` by symmetry.

    ``scale`` is the L2 size of the terms of both, against which ``same`` measures.
    """

    same: bool
    orbit_equal: bool
    distance: float
    resolution: float
    scale: float


def realise(activation: str, measure: Canonical, x: Array, hermite: Sequence[float] = ()) -> Array:
    """f(x_q) for inputs x [n, d]: [n]."""
    return network(activation, measure.atoms, x, hermite) + x @ measure.linear + measure.constant


def canonicalise(
    activation: str, measure: Atoms | Canonical, hermite: Sequence[float] = (), tolerance: float = TOLERANCE
) -> Canonical:
    """The representative of the orbit of a network; applying it twice changes nothing beyond round-off.

    Neurons with w = 0 become part of the constant; homogeneous activations get (w, b) of Euclidean norm 1; sin gets
    b in (-pi/2, pi/2]; the first coordinate of w that is not zero becomes positive, what the flip leaves goes to the
    linear function and the constant; equal (w, b) merge (for sin equal w); amplitudes that cancel vanish; neurons are
    sorted by (w, b). Polynomials of degree at most two become their quadratic form: orthonormal w, b = 0. Two numbers
    are equal when they differ by at most ``tolerance`` times the largest of their kind, or 1.
    """
    start = measure if isinstance(measure, Canonical) else Canonical(measure, np.zeros(measure.w.shape[1]), 0.0)
    powers = polynomial(activation, hermite)
    if powers is not None and len(powers) <= 3:
        return _quadratic_form(np.append(powers, np.zeros(3 - len(powers))), start, tolerance)
    found = _without_constants(activation, start, hermite, tolerance)
    degree = homogeneity(activation, hermite)
    if degree is not None:
        found = Canonical(_rescaled(found.atoms, degree), found.linear, found.constant)
    found = _in_half_space(found, reflection(activation, hermite), tolerance)
    atoms = _merged_phases(found.atoms, tolerance) if activation == "sin" else _merged(found.atoms, tolerance)
    return Canonical(_in_order(atoms, tolerance), *_cleaned(found, start, tolerance))


def same_function(
    activation: str,
    first: Atoms,
    second: Atoms,
    nodes: tuple[Array, Array] | None = None,
    hermite: Sequence[float] = (),
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Whether two networks are one function under a data law, and whether the symmetry group says so.

    The law is N(0, I_d) (exact overlaps), or ``nodes`` = (x [n, d], weights [n]). A distance below the resolution of
    the overlaps is replaced by the root mean square over 1024 fixed normal inputs, which sees differences down to
    round-off where those inputs lie; the resolution still bounds the distance. ``same`` asks for a distance of at most
    ``tolerance`` times the scale; the orbit knows nothing of the law, so that a law that sees too little makes networks
    of different orbits the same. ConfigError when dimensions differ; NotConverged for weights too large for overlaps.
    """
    x, weights = nodes if nodes is not None else _normal_nodes(first.w.shape[1])
    distance = node_distance(activation, first, second, x, weights, hermite)
    if nodes is None:
        exact = gaussian_distance(activation, first, second, hermite)
        seen = exact.value > 10.0 * exact.resolution
        distance = exact if seen else Distance(distance.value, exact.resolution)
    difference = joined(first, second)
    scale = float(np.abs(difference.a) @ np.sqrt(weights @ neurons(activation, difference, x, hermite) ** 2))
    same = distance.value <= tolerance * max(scale, 1e-300)
    orbit = _one_orbit(activation, first, second, hermite, tolerance)
    return Comparison(bool(same), orbit, distance.value, distance.resolution, scale)


def _normal_nodes(dimension: int) -> tuple[Array, Array]:
    return np.random.default_rng(0).standard_normal((_NODES, dimension)), np.full(_NODES, 1.0 / _NODES)


def _one_orbit(activation: str, first: Atoms, second: Atoms, hermite: Sequence[float], tolerance: float) -> bool:
    """Equal canonical forms; equal coefficients for polynomials of degree three and more."""
    powers = polynomial(activation, hermite)
    if powers is not None and len(powers) > 3:
        return _equal_coefficients(activation, first, second, hermite, len(powers) - 1, tolerance)
    one, other = (canonicalise(activation, atoms, hermite, tolerance) for atoms in (first, second))
    if one.atoms.w.shape != other.atoms.w.shape:
        return False
    pairs = [
        (one.atoms.a, other.atoms.a),
        (one.atoms.w, other.atoms.w),
        (one.atoms.b, other.atoms.b),
        (one.linear, other.linear),
        (np.array([one.constant]), np.array([other.constant])),
    ]
    size = max(1.0, *(float(np.max(np.abs(x), initial=0.0)) for pair in pairs for x in pair))
    # merging, flips and the eigenvectors of a quadratic form each spend some of the tolerance
    return all(bool(np.all(np.abs(x - y) <= 1e2 * tolerance * size)) for x, y in pairs)


def _equal_coefficients(
    activation: str, first: Atoms, second: Atoms, hermite: Sequence[float], degree: int, tolerance: float
) -> bool:
    """Whether T_0, ..., T_degree agree: all a polynomial activation can realise."""
    difference = joined(first, second)
    size = Atoms(np.abs(difference.a), difference.w, difference.b)
    for k in range(degree + 1):
        gap = np.linalg.norm(tensor_coordinates(activation, difference, k, hermite))
        scale = max(
            np.linalg.norm(tensor_coordinates(activation, Atoms(a, w[None], b[None]), k, hermite))
            for a, w, b in zip(size.a[:, None], size.w, size.b, strict=True)
        )
        if gap > 1e2 * tolerance * max(float(scale), 1.0):
            return False
    return True


def _without_constants(activation: str, start: Canonical, hermite: Sequence[float], tolerance: float) -> Canonical:
    """Neurons with w = 0, and those with a = 0, taken out."""
    atoms = start.atoms
    flat = np.linalg.norm(atoms.w, axis=1) <= tolerance * np.maximum(1.0, np.abs(atoms.b))
    if homogeneity(activation, hermite) is not None:
        flat = np.linalg.norm(atoms.w, axis=1) <= tolerance * np.hypot(np.linalg.norm(atoms.w, axis=1), atoms.b)
    constant = start.constant + float(np.sum(atoms.a[flat] * evaluate(activation, atoms.b[flat], hermite)))
    return Canonical(_chosen(atoms, ~flat & (atoms.a != 0.0)), start.linear, constant)


def _chosen(atoms: Atoms, which: NDArray[Any]) -> Atoms:
    return Atoms(atoms.a[which], atoms.w[which], atoms.b[which])


def _rescaled(atoms: Atoms, degree: int) -> Atoms:
    """|(w, b)| = 1, the amplitude times the norm to the power of homogeneity."""
    norm = np.sqrt(np.sum(atoms.w**2, axis=1) + atoms.b**2)
    return Atoms(atoms.a * norm**degree, atoms.w / norm[:, None], atoms.b / norm)


def _in_half_space(start: Canonical, mirror: Reflection, tolerance: float) -> Canonical:
    """The first coordinate of w that is not zero made positive."""
    atoms = start.atoms
    if mirror.kind == "none" or not len(atoms.a):
        return start
    flip = _leading(atoms.w, tolerance) < 0.0
    sign = np.where(flip, -1.0, 1.0)
    amplitude = atoms.a * (sign if mirror.kind == "odd" else 1.0)
    turned = Atoms(amplitude, atoms.w * sign[:, None], atoms.b * sign)
    left = 2.0 * mirror.offset * atoms.a[flip]
    if mirror.kind == "odd":
        return Canonical(turned, start.linear, start.constant + float(np.sum(left)))
    return Canonical(turned, start.linear + left @ atoms.w[flip], start.constant + float(left @ atoms.b[flip]))


def _leading(w: Array, tolerance: float) -> Array:
    """The first coordinate of each row that is not zero against the row: [S]."""
    clear = np.abs(w) > tolerance * np.max(np.abs(w), axis=1, keepdims=True)
    return np.take_along_axis(w, np.argmax(clear, axis=1)[:, None], axis=1)[:, 0]


def _merged(atoms: Atoms, tolerance: float) -> Atoms:
    """One neuron for each (w, b), at the mean of its copies; those whose amplitudes cancel are dropped."""
    if not len(atoms.a):
        return atoms
    points = np.column_stack([atoms.w, atoms.b])
    group, count = _groups(points, tolerance)
    means = _means(group, points, count)
    a, total = _sums(group, atoms.a, count), _sums(group, np.abs(atoms.a), count)
    kept = np.abs(a) > tolerance * total
    return Atoms(a[kept], means[kept, :-1], means[kept, -1])


def _merged_phases(atoms: Atoms, tolerance: float) -> Atoms:
    """a sin(z + b) of equal frequency added as phasors a exp(i b); b in (-pi/2, pi/2]."""
    if not len(atoms.a):
        return atoms
    group, count = _groups(atoms.w, tolerance)
    w = _means(group, atoms.w, count)
    real, imaginary = (_sums(group, atoms.a * part, count) for part in (np.cos(atoms.b), np.sin(atoms.b)))
    size, total = np.hypot(real, imaginary), _sums(group, np.abs(atoms.a), count)
    # a phase at the end of its range must not change sides by round-off
    left = (real < 0.0) & (np.abs(real) > tolerance * size) | (np.abs(real) <= tolerance * size) & (imaginary < 0.0)
    sign = np.where(left, -1.0, 1.0)
    kept = size > tolerance * total
    return Atoms((sign * size)[kept], w[kept], np.arctan2(sign * imaginary, sign * real)[kept])


def _groups(points: Array, tolerance: float) -> tuple[NDArray[np.intp], int]:
    """(label of each point, number of labels): points closer than the tolerance in every coordinate share one."""
    reach = tolerance * max(1.0, float(np.max(np.abs(points))))
    pairs = cKDTree(points).query_pairs(reach, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    count, labels = connected_components(links, directed=False)
    return labels.astype(np.intp), int(count)


def _sums(group: NDArray[np.intp], values: Array, count: int) -> Array:
    return np.asarray(np.bincount(group, values, count), np.float64)


def _means(group: NDArray[np.intp], points: Array, count: int) -> Array:
    sizes = _sums(group, np.ones(len(group)), count)
    return np.stack([_sums(group, column, count) / sizes for column in points.T], axis=1)


def _in_order(atoms: Atoms, tolerance: float) -> Atoms:
    """Sorted by w_1, ..., w_d, b, where values that differ by round-off count as equal."""
    if not len(atoms.a):
        return atoms
    columns = np.column_stack([atoms.w, atoms.b]).T
    ranks = []
    for column in columns:
        order = np.argsort(column, kind="stable")
        gaps = np.diff(column[order]) > tolerance * max(1.0, float(np.max(np.abs(column))))
        rank = np.empty(len(column), np.intp)
        rank[order] = np.concatenate([[0], np.cumsum(gaps)])
        ranks.append(rank)
    return _chosen(atoms, np.lexsort(ranks[::-1]))


def _cleaned(found: Canonical, start: Canonical, tolerance: float) -> tuple[Array, float]:
    """The linear function and the constant, zero where they are the round-off of what was added up."""
    atoms = start.atoms
    slope = np.abs(start.linear).sum() + np.sum(np.abs(atoms.a) * np.linalg.norm(atoms.w, axis=1))
    level = abs(start.constant) + np.sum(np.abs(atoms.a) * np.maximum(1.0, np.abs(atoms.b)))
    linear = np.where(np.abs(found.linear) > tolerance * slope, found.linear, 0.0)
    return linear, found.constant if abs(found.constant) > tolerance * level else 0.0


def _quadratic_form(powers: Array, start: Canonical, tolerance: float) -> Canonical:
    """Every network of sigma = p_0 + p_1 z + p_2 z^2 is <x, Q x> + <l, x> + c: neurons at the eigenvectors of Q."""
    a, w, b = start.atoms.a, start.atoms.w, start.atoms.b
    linear = start.linear + (a * (powers[1] + 2.0 * powers[2] * b)) @ w
    constant = start.constant + float(np.sum(a * (powers[0] + powers[1] * b + powers[2] * b**2)))
    values, vectors = _eigenvectors((a[:, None] * w).T @ w if powers[2] else np.zeros((w.shape[1],) * 2), tolerance)
    size = float(np.sum(np.abs(a) * np.sum(w**2, axis=1)))
    kept = np.abs(values) > tolerance * size
    values, vectors = values[kept], vectors[kept]
    linear = linear - powers[1] * values @ vectors
    constant -= powers[0] * float(np.sum(values))
    found = Canonical(Atoms(values, vectors, np.zeros(len(values))), linear, constant)
    return Canonical(_in_order(found.atoms, tolerance), *_cleaned(found, start, tolerance))


def _eigenvectors(matrix: Array, tolerance: float) -> tuple[Array, Array]:
    """(eigenvalues, rows of eigenvectors) with a basis of each eigenspace that depends on the space alone."""
    values, columns = np.linalg.eigh(matrix)
    rows = columns.T.copy()
    ends = np.flatnonzero(np.diff(values) > tolerance * max(float(np.max(np.abs(values))), 1e-300)) + 1
    for space in np.split(np.arange(len(values)), ends):
        projector = rows[space].T @ rows[space]
        for position in space:
            sizes = np.sqrt(np.maximum(np.diag(projector), 0.0))
            pivot = int(np.argmax(sizes > sizes.max() - 1e-6))
            rows[position] = projector[pivot] / sizes[pivot]
            projector = projector - np.outer(rows[position], rows[position])
    flip = _leading(rows, tolerance) < 0.0
    return values, np.where(flip[:, None], -rows, rows)
