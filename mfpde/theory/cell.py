"""The learning cell of an activation and a data law: (w*, D*_orb, S*) and what surrounds the three, as one object.

    w*      the maximal admissible weight on the moments: growth order and type (mfpde.theory.weights)
    D*_orb  the degree up to which moments determine S neurons up to symmetry, beside D*_var (mfpde.theory.depths)
    S*      how many neurons a target takes, between proved and found numbers, and S_up, its coefficient-threshold
            number at a penalty (mfpde.theory.dictionary)

mfpde's reading of "the natural learning cell of the architecture-data pair" of arXiv:2605.24710, of which only the
abstract was available.  Degrees, depths and coefficients belong to Gaussian inputs; for another law there is the rank
with which its nodes see S neurons, and the rest is absent, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.display import Facts, Shown
from mfpde.errors import ConfigError, MfpdeError
from mfpde.problem import Network, Problem
from mfpde.theory import dictionary
from mfpde.theory.active import ActiveComponent
from mfpde.theory.depths import law_rank, orbit_depth, random_atoms, variety_depth
from mfpde.theory.dictionary import SparseDepth, Target
from mfpde.theory.generators import generators
from mfpde.theory.neurons import Domain
from mfpde.theory.parity import reflection
from mfpde.theory.ridge import active_degrees, ridge_coefficients
from mfpde.theory.weights import AdmissibilityMargin, AdmissibleWeight

Array = NDArray[np.float64]

# degrees looked at, and S up to which depths are listed
DEGREES, ATOMS = 20, 6
# a coefficient of sigma below this belongs to a degree that it lacks
ACTIVE = 1e-12
# neurons of S* are searched in the ball of this radius, with biases up to a half turn
RADIUS, LARGEST_BIAS = 5.0, float(np.pi)


@dataclass(frozen=True)
class Depths:
    """S neurons on the unit sphere: D*_var (generic), D*_orb (worst case; an upper bound unless ``orbit_exact``).

    None where no degree suffices; ``rank`` of the Jacobian at the nodes of an empirical law and the ``expected`` one,
    None for Gaussian inputs.
    """

    atoms: int
    variety: int | None
    orbit: int | None
    orbit_exact: bool
    reference: str
    rank: int | None = None
    expected: int | None = None


@dataclass(frozen=True, eq=False)
class Sparsity:
    """The target against the activation at ``penalty``: c_k [K], sigma_k [K], numbers of docs/theory.md section 3.

    ``tails`` [K]: the risk that degrees up to k leave.  ``depth``: S* at E_sparse for neurons of any weight
    up to RADIUS; None where the search does not apply, for ``depth_reason``.
    """

    penalty: float
    coefficients: Array
    sigma: Array
    barron_hermite_norm: float
    threshold_number: int
    threshold_number_ratio: int
    threshold_directions: int
    residual: float
    tails: Array
    depth: SparseDepth | None
    depth_reason: str


@dataclass(frozen=True, eq=False, repr=False)
class LearningCell(Shown):
    """All parts; those that the law, the activation or the run does not define are None, each with its reason."""

    activation: str
    dimension: int
    gaussian: bool
    parity: str
    degrees: tuple[int, ...]
    sigma: Array | None
    symmetries: tuple[str, ...]
    depths: tuple[Depths, ...]
    depths_reason: str
    sparsity: Sparsity | None
    sparsity_reason: str
    weight: AdmissibleWeight | None
    weight_reason: str
    margin: AdmissibilityMargin | None
    active: ActiveComponent | None
    active_reason: str

    def facts(self) -> Facts:
        """The three members of the cell, or why one is absent, and what they belong to."""
        w, s = self.weight, self.sparsity
        order = self.weight_reason if w is None else w.reason
        if w is not None and w.order is not None:
            order = f"1/w*_k grows like (k!)^{w.order:.3f}, orders up to {w.largest_order}"
        depths = ", ".join(f"{'∞' if d.orbit is None else d.orbit} for {d.atoms}" for d in self.depths)
        ranked = not self.depths or self.depths[0].rank is not None
        sparsity = self.sparsity_reason
        if s is not None:
            sparsity = f"S_up = {s.threshold_number} at penalty {s.penalty:.4g}"
            if s.depth is not None:
                sparsity = f"{s.depth.lower:g} to {s.depth.upper:g} neurons; {sparsity}"
        return [
            ("activation", f"{self.activation}, {self.dimension} inputs, parity {self.parity}"),
            ("w*", order),
            ("D*_orb", self.depths_reason if ranked else f"{depths} neurons"),
            ("S*", sparsity),
            ("symmetries", ", ".join(self.symmetries) or "none"),
        ]


def learning_cell(
    problem: Problem,
    penalty: float,
    *,
    weight: AdmissibleWeight | str,
    active: ActiveComponent | str,
    margin: AdmissibilityMargin | None = None,
    atoms: int = ATOMS,
) -> LearningCell:
    """The cell of the activation and the data law of ``problem``; ``weight`` and ``active`` of its run, or why none.

    ``penalty`` is that of the total variation.  Raises ConfigError for an explicit interaction, which has no network.
    """
    model, population = problem.model, problem.data.population
    if not isinstance(model, Network):
        raise ConfigError("pairwise", "is an explicit interaction: a learning cell belongs to an activation and data")
    dimension = problem.data.x.shape[1] if population is None else population.dimension
    symmetries = tuple(f"{g.name}: {g.description}" for g in generators(model.activation, model.hermite))
    depths, reason = _depths(problem, model, dimension, atoms)
    found, sparsity_reason = sparsity(problem, penalty)
    gaussian = population is not None
    return LearningCell(
        model.activation,
        dimension,
        gaussian,
        _parity(model),
        active_degrees(model.activation, DEGREES, ACTIVE, hermite=model.hermite) if gaussian else (),
        ridge_coefficients(model.activation, DEGREES, hermite=model.hermite) if gaussian else None,
        symmetries,
        depths,
        reason,
        found,
        sparsity_reason,
        None if isinstance(weight, str) else weight,
        weight if isinstance(weight, str) else weight.reason,
        margin,
        None if isinstance(active, str) else active,
        active if isinstance(active, str) else "",
    )


def _parity(model: Network) -> str:
    mirror = reflection(model.activation, model.hermite)
    if mirror.offset == 0.0:
        return mirror.kind
    return "odd up to a constant" if mirror.kind == "odd" else "even up to a linear function"


def _biased(problem: Problem) -> bool:
    return any(c.group == "b" for c in problem.coordinates)


def _depths(problem: Problem, model: Network, dimension: int, atoms: int) -> tuple[tuple[Depths, ...], str]:
    if problem.data.population is None:
        return _ranks(problem, model, atoms), "degrees are those of Gaussian inputs; an empirical law has ranks"
    found = []
    if _biased(problem):
        for count in range(1, atoms + 1):
            free = variety_depth(model.activation, dimension, count, "weight and bias", model.hermite)
            found.append(Depths(count, free.depth, None, False, "no closed form with biases"))
        return tuple(found), "weights and biases are free; orbit depths are known without biases only"
    if dimension < 2:
        return (), "unit weights of one input are two points: depths need two inputs or more"
    for count in range(1, atoms + 1):
        orbit = orbit_depth(model.activation, dimension, count, model.hermite)
        variety = variety_depth(model.activation, dimension, count, hermite=model.hermite).depth
        found.append(Depths(count, variety, orbit.depth, orbit.exact, orbit.reference))
    return tuple(found), ""


def _ranks(problem: Problem, model: Network, atoms: int) -> tuple[Depths, ...]:
    data, found = problem.data, []
    for count in range(1, atoms + 1):
        point = random_atoms(data.x.shape[1], count, "weight", 0)
        seen = law_rank(model.activation, point, data.x, data.weights, "weight", model.hermite)
        found.append(Depths(count, None, None, False, "rank at the nodes", seen.rank, seen.expected))
    return tuple(found)


def sparsity(problem: Problem, penalty: float) -> tuple[Sparsity | None, str]:
    """The coefficients of the target against those of the activation, or None and why: no Gaussian single-index law."""
    model, population = problem.model, problem.data.single_index
    if population is None or not isinstance(model, Network):
        return None, "an empirical law has no Hermite coefficients; mfpde theory atoms solves its penalised problem"
    try:
        f = dictionary.target_coefficients(population, max(DEGREES, len(population.coefficients) - 1))
    except ConfigError as error:
        return None, str(error)
    sigma = ridge_coefficients(model.activation, f.kmax, hermite=model.hermite)
    c = f.coefficients
    residual = dictionary.sparse_residual(c, sigma, penalty)
    depth, reason = _depth(f, model, residual, _biased(problem))
    return (
        Sparsity(
            penalty,
            c[0],
            sigma,
            dictionary.barron_hermite_norm(c, sigma),
            dictionary.coefficient_threshold_number(c, sigma, penalty),
            dictionary.coefficient_threshold_number(c, sigma, penalty, "ratio"),
            dictionary.active_directions(c, sigma, penalty),
            residual,
            np.array([dictionary.tail(f, k) for k in range(f.kmax + 1)]),
            depth,
            reason,
        ),
        "",
    )


def _depth(f: Target, model: Network, residual: float, biased: bool) -> tuple[SparseDepth | None, str]:
    """S* at the residual for neurons of the ball |w| <= RADIUS, in the plane of the target's direction and one more."""
    plane = in_a_plane(f)
    try:
        regression = dictionary.gaussian_regression(plane, model.activation, neurons_of(biased), model.hermite)
        return dictionary.sparse_depth(regression, residual, dictionary.direction_bound(plane, residual)), ""
    except MfpdeError as error:
        return None, str(error)


def in_a_plane(f: Target) -> Target:
    """A single-index target on its direction and one more: a third input would only be another place to stand aside."""
    return Target(f.directions[:, :2], f.coefficients, f.energy)


def neurons_of(biased: bool) -> Domain:
    """The ball of weights in which S* is searched, with biases up to a half turn where the network has them."""
    return Domain("ball", RADIUS, LARGEST_BIAS if biased else 0.0)
