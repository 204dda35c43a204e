"""The active component of a measure of neurons: what of its amplitudes the network's function can feel.

The amplitude measure nu(dw, db) = int a rho(da, dw, db) enters f = int sigma(<w, x> + b) nu alone, and only modulo the
kernel of nu -> f. With a reference measure on (w, b) and the density n = dnu/dref, the canonical representative is the
projection of n on the orthogonal complement of the kernel in L2(ref), the element of least norm (docs/theory.md;
mfpde's reading of "active component" in arXiv:2605.24710, whose text was not available). Its spectrum is that of the
Gram matrix G = E[phi phi'] weighted by the reference; directions with eigenvalues below 1e-10 of the largest count as
inactive, so that the fraction is a statement at that resolution: for smooth activations the spectrum falls
exponentially, and a rough nu is mostly inactive.

Reference: the volume of the (w, b) cells for a grid (full-dimensional shells for radii, times the probability of frozen
values); the weights of the particles themselves for particles; one per atom for atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.measures import Grid, GridMeasure, ParticleMeasure
from mfpde.problem import Network, Problem
from mfpde.tabulate import node_features, tabulate
from mfpde.tabulate.features import Stored
from mfpde.theory.ridge import Atoms, neurons

Array = NDArray[np.float64]

TOLERANCE = 1e-10
# bytes that a table of features may take
_BUDGET = 1 << 31
_LOWEST_LOG_VOLUME = -600.0


@dataclass(frozen=True, eq=False)
class ActiveComponent:
    """``fraction`` = ||P nu||^2 / ||nu||^2 in L2(ref), 0 for nu = 0; ``rank`` of the Gram matrix at the tolerance.

    spectrum [min(m, n)]: eigenvalues of the Gram matrix over the largest, descending; amplitude [m] and
    representative [m]: masses of nu and P nu on the m cells, particles or atoms; function_error: the relative L2
    distance of the functions of the two under the data law, which the tolerance bounds.
    """

    fraction: float
    rank: int
    spectrum: Array
    amplitude: Array
    representative: Array
    function_error: float


def active_component(
    features: Array, weights: Array, amplitude: Array, reference: Array, tolerance: float = TOLERANCE
) -> ActiveComponent:
    """Active part of masses amplitude [m] with features [m, n] on data of weights [n], reference masses [m] > 0.

    By the singular values of (ref_j^(1/2) phi_jq c_q^(1/2)), whose squares are the spectrum; the m x m Gram matrix is
    not formed. ConfigError for reference masses that are not positive or sizes that do not fit.
    """
    if features.shape != (len(amplitude), len(weights)) or len(reference) != len(amplitude):
        sizes = f"{features.shape}, {len(weights)}, {len(amplitude)} and {len(reference)}"
        raise ConfigError("features", f"[m, n], weights [n], amplitude [m] and reference [m] do not fit: {sizes}")
    if not np.all(reference > 0.0):
        raise ConfigError("reference", "must be positive on every cell")
    root = np.sqrt(reference)
    left, values, _ = np.linalg.svd(root[:, None] * features * np.sqrt(weights), full_matrices=False)
    spectrum = (values / max(float(values[0]), 1e-300)) ** 2 if len(values) else values
    rank = int(np.sum(spectrum > tolerance)) if len(values) and values[0] > 0.0 else 0
    density = amplitude / root
    along = left.T @ density
    total = float(density @ density)
    function, lost = values * along, values[rank:] * along[rank:]
    size = float(np.linalg.norm(function))
    return ActiveComponent(
        float(along[:rank] @ along[:rank]) / total if total > 0.0 else 0.0,
        rank,
        spectrum,
        amplitude,
        root * (left[:, :rank] @ along[:rank]),
        float(np.linalg.norm(lost)) / size if size > 0.0 else 0.0,
    )


def active_part(
    problem: Problem, measure: GridMeasure | ParticleMeasure, tolerance: float = TOLERANCE
) -> ActiveComponent:
    """Active part of a measure over neurons under the data law of ``problem``, the output weight integrated out first.

    On a grid the m entries are the (w, b) cells in the order of ``Tabulated.collapse``; for particles the particles.
    ConfigError for an explicit interaction, which has no network, and for a grid whose features do not fit in memory.
    """
    if not isinstance(problem.model, Network):
        raise ConfigError("model", "is an explicit interaction; the active component is that of a network")
    weights = problem.data.weights
    if isinstance(measure, GridMeasure):
        cells = int(np.prod([axis.cells for axis in measure.grid.axes if axis.name != "a"]))
        if 8 * cells * len(measure.grid.species.probabilities) * len(weights) > _BUDGET:
            raise ConfigError("grid", f"has {cells} cells of (w, b) and {len(weights)} nodes, too many for one table")
        table = tabulate(problem, measure.grid, way="precomputed", budget=_BUDGET)
        assert isinstance(table.features, Stored)
        reference = _cell_volumes(measure.grid, np.asarray(table.kinds))
        return active_component(table.features.table, weights, table.collapse(measure.mass), reference, tolerance)
    names = [c.name for c in problem.coordinates if c.name != "a"]
    points = measure.atoms[:, [measure.names.index(name) for name in names]]
    a = measure.atoms[:, measure.names.index("a")]
    return active_component(node_features(problem, points), weights, measure.weights * a, measure.weights, tolerance)


def active_atoms(
    activation: str,
    atoms: Atoms,
    x: Array,
    weights: Array,
    hermite: Sequence[float] = (),
    tolerance: float = TOLERANCE,
) -> ActiveComponent:
    """Active part of an atomic amplitude measure on nodes x [n, d] of weights [n]; every atom has reference mass 1."""
    features = neurons(activation, atoms, x, hermite).T
    return active_component(features, weights, atoms.a, np.ones(len(atoms.a)), tolerance)


def visible(activation: str, atoms: Atoms, x: Array, hermite: Sequence[float] = (), tolerance: float = 1e-12) -> Atoms:
    """The atoms as the nodes x [n, d] see them: w projected on their span, neurons that vanish there dropped.

    The function on the nodes stays the same. What is dropped is inactive: a = 0, dead relu neurons, sigma(0) = 0 = w.
    """
    _, values, rows = np.linalg.svd(np.atleast_2d(x), full_matrices=False)
    seen = rows[values > tolerance * max(float(np.max(values, initial=0.0)), 1e-300)]
    w = atoms.w @ seen.T @ seen
    outputs = np.abs(atoms.a * neurons(activation, Atoms(atoms.a, w, atoms.b), x, hermite))
    alive = np.max(outputs, axis=0, initial=0.0) > 0.0
    return Atoms(atoms.a[alive], w[alive], atoms.b[alive])


def _cell_volumes(grid: Grid, kinds: NDArray[np.intp]) -> Array:
    """Volumes of the (w, b) cells of each kind of species, times its probability, up to a common factor : flat."""
    logs = np.zeros([axis.cells for axis in grid.axes])
    for k, axis in enumerate(grid.axes):
        if axis.name != "a":
            logs = logs + grid.along(k, axis.log_volume)
    if "a" in grid.names:
        logs = np.take(logs, 0, axis=grid.names.index("a"))
    # only ratios matter: a block of dimension 10^4 has volumes that no double holds
    volumes = np.exp(np.maximum(logs - logs.max(), _LOWEST_LOG_VOLUME)).reshape(-1)
    shares = np.bincount(kinds, grid.species.probabilities)
    return np.outer(shares, volumes).reshape(-1)
