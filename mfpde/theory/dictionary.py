"""A target in Hermite polynomials of a Gaussian input, and how many neurons of an activation it takes.

    f* = sum_j sum_k c_jk h_k(<u_j, x>),   x ~ N(0, I),   sigma_k = E[sigma(Z) h_k(Z)].

In the orthonormal atoms h_k(<u_j, .>) the penalised problem  min over beta of 1/2 sum (sigma_k beta_jk - c_jk)^2 +
penalty sum |beta_jk|  has the solution beta = sign(sigma c) (|sigma c| - penalty)_+ / sigma^2: S_up counts the entries
that survive, E_sparse is what is then missed, and the Barron-Hermite norm sum |c|/|sigma| bounds both,

    S_up <= max sigma_k^2 |f*|_BH / penalty,      E_sparse <= penalty |f*|_BH        (docs/theory.md).

All names here are mfpde's reading of arXiv:2605.24710; the article's text was not available.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.core import quadrature
from mfpde.core.activations import HOMOGENEITY
from mfpde.errors import ConfigError
from mfpde.problem import Population
from mfpde.theory import neurons, refit, total_variation
from mfpde.theory.neurons import Domain, Regression
from mfpde.theory.ridge import Atoms, monomials, ridge_coefficients
from mfpde.theory.total_variation import Search, State

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# a coefficient below this is one that the activation lacks
LACKING = 1e-13
# S* is searched up to here, from so many starts each, until PATIENCE neurons more leave SLOW of the distance
MAX_NEURONS = 24
GREEDY_STARTS, RANDOM_STARTS = 3, 8
PATIENCE, SLOW = 3, 0.97
MAX_TENSOR_DIMENSION = 3
# monomials of one degree in the unfoldings of the lower bound
LARGEST_UNFOLDING = 120


@dataclass(frozen=True, eq=False)
class Target:
    """f* = sum_jk coefficients[j, k] h_k(<directions[j], x>) + what lies above kmax.

    directions [m, d] of length 1, coefficients [m, kmax + 1] with the constant in the first row; ``energy`` E f*^2.
    """

    directions: Array
    coefficients: Array
    energy: float

    @property
    def kmax(self) -> int:
        return self.coefficients.shape[1] - 1


def target(ridges: Sequence[tuple[ArrayLike, ArrayLike]], kmax: int | None = None) -> Target:
    """The target of (direction [d], Hermite coefficients [..]) pairs; directions are brought to length 1.

    ConfigError for no ridge, a direction of length 0 or of another dimension, coefficients that are not finite.
    """
    if not ridges:
        raise ConfigError("target", "has no ridge; one direction with its coefficients is needed")
    directions = [np.asarray(u, np.float64).reshape(-1) for u, _ in ridges]
    series = [np.asarray(c, np.float64).reshape(-1) for _, c in ridges]
    lengths = [float(np.linalg.norm(u)) for u in directions]
    if len({u.size for u in directions}) > 1 or min(lengths) == 0.0 or not all(np.isfinite(c).all() for c in series):
        raise ConfigError("target", "needs directions of one dimension and positive length, and finite coefficients")
    top = max(c.size for c in series) - 1 if kmax is None else kmax
    if max(c.size for c in series) - 1 > top:
        raise ConfigError("target", f"has coefficients beyond the degree {top}")
    coefficients = np.zeros((len(series), top + 1))
    for row, c in zip(coefficients, series, strict=True):
        row[: c.size] = c
    coefficients[0, 0], coefficients[1:, 0] = coefficients[:, 0].sum(), 0.0
    units = np.stack([u / length for u, length in zip(directions, lengths, strict=True)])
    return Target(units, coefficients, float(np.sum(_degree_energies(units, coefficients))))


def target_coefficients(population: Population, kmax: int) -> Target:
    """The single-index target of a population, along the first input: its coefficients, or those of scale tanh(gain z).

    ConfigError if a Hermite target has a degree above ``kmax``.
    """
    direction = np.eye(1, population.dimension)[0]
    if population.target == "hermite":
        return target([(direction, population.coefficients)], kmax)
    c = population.scale * np.sign(population.gain) * ridge_coefficients("tanh", kmax, abs(population.gain))
    nodes, weights = quadrature.gauss_hermite(400)
    energy = float(weights @ (population.scale * np.tanh(population.gain * nodes)) ** 2)
    return Target(direction[None], c[None], max(energy, float(np.sum(c**2))))


def target_values(f: Target, x: ArrayLike) -> Array:
    """sum_jk c_jk h_k(<u_j, x_q>) at x [n, d] : [n]."""
    projections = np.asarray(x, np.float64) @ f.directions.T
    return np.asarray(np.einsum("jk,knj->n", f.coefficients, quadrature.hermite_functions(f.kmax, projections)))


def tail(f: Target, degree: int) -> float:
    """sum over k > ``degree`` of |T_k(f*)|^2: the risk that Hermite polynomials up to ``degree`` leave."""
    head = _degree_energies(f.directions, f.coefficients)
    return float(np.sum(head[degree + 1 :])) + max(0.0, f.energy - float(np.sum(head)))


def _degree_energies(directions: Array, coefficients: Array) -> Array:
    """|T_k|^2 = sum_jl c_jk c_lk <u_j, u_l>^k : [kmax + 1]."""
    cosines = directions @ directions.T
    return np.array([c @ cosines**k @ c for k, c in enumerate(coefficients.T)])


def barron_hermite_norm(coefficients: ArrayLike, sigma: ArrayLike, weights: ArrayLike = 1.0) -> float:
    """|f*|_BH = sum |c_jk| / (|sigma_k| weight_k), coefficients [.., kmax + 1], sigma [kmax + 1].

    Infinite if a coefficient meets a degree the activation lacks: then no measure on the unit sphere realizes f*.
    """
    c, scale = np.abs(np.asarray(coefficients, np.float64)), np.abs(np.asarray(sigma, np.float64))
    scale = np.broadcast_to(scale * np.asarray(weights, np.float64), c.shape)
    lacking = scale <= LACKING
    if np.any(c[lacking] > LACKING):
        return math.inf
    return float(np.sum(c[~lacking] / scale[~lacking]))


def require_realizable(coefficients: ArrayLike, sigma: ArrayLike, activation: str) -> None:
    """ConfigError naming the degrees of the target that the activation lacks."""
    c = np.max(np.abs(np.atleast_2d(np.asarray(coefficients, np.float64))), axis=0)
    missing = np.flatnonzero((c > LACKING) & (np.abs(np.asarray(sigma, np.float64)) <= LACKING))
    if missing.size:
        names = ", ".join(str(k) for k in missing)
        raise ConfigError(
            "data.target",
            f"has Hermite degree {names}, which {activation} without bias lacks",
            "choose an activation with this degree, or give the neurons a bias",
        )


def soft_threshold(coefficients: ArrayLike, sigma: ArrayLike, penalty: float) -> Array:
    """argmin over beta of 1/2 (sigma beta - c)^2 + penalty |beta|, entry by entry : [.., kmax + 1]."""
    c, scale = np.asarray(coefficients, np.float64), np.asarray(sigma, np.float64)
    _check_penalty(penalty)
    excess = np.maximum(np.abs(scale * c) - penalty, 0.0)
    return np.sign(scale * c) * excess / np.where(excess > 0.0, np.broadcast_to(scale**2, c.shape), 1.0)


def active_coefficients(
    coefficients: ArrayLike, sigma: ArrayLike, penalty: float, reading: Literal["kkt", "ratio"] = "kkt"
) -> NDArray[np.bool_]:
    """Which entries count: |sigma_k c_jk| > penalty ("kkt", exact for the penalised problem) or |c_jk|/|sigma_k| >
    penalty ("ratio") : [.., kmax + 1]."""
    c, scale = np.abs(np.asarray(coefficients, np.float64)), np.abs(np.asarray(sigma, np.float64))
    _check_penalty(penalty)
    return np.asarray(scale * c > penalty if reading == "kkt" else c > penalty * scale)


def coefficient_threshold_number(
    coefficients: ArrayLike, sigma: ArrayLike, penalty: float, reading: Literal["kkt", "ratio"] = "kkt"
) -> int:
    """S_up = #{(j, k) : |sigma_k c_jk| > penalty}, or by the other reading; non-increasing in the penalty."""
    return int(np.count_nonzero(active_coefficients(coefficients, sigma, penalty, reading)))


def active_directions(
    coefficients: ArrayLike, sigma: ArrayLike, penalty: float, reading: Literal["kkt", "ratio"] = "kkt"
) -> int:
    """S_up_dir: how many directions j (rows of ``coefficients``) have an active entry."""
    return int(np.count_nonzero(np.any(active_coefficients(coefficients, sigma, penalty, reading), axis=-1)))


def sparse_residual(coefficients: ArrayLike, sigma: ArrayLike, penalty: float) -> float:
    """E_sparse = sum over inactive c^2 + penalty^2 sum over active 1/sigma_k^2 = |f_beta - f*|^2, orthonormal atoms."""
    c = np.asarray(coefficients, np.float64)
    active = active_coefficients(c, sigma, penalty)
    scale = np.broadcast_to(np.asarray(sigma, np.float64), c.shape)
    return float(np.sum(c[~active] ** 2) + penalty**2 * np.sum(scale[active] ** -2.0))


def weight_decay_penalty(activation: str, decay_a: float, decay_w: float) -> float:
    """sqrt(lambda_a lambda_w): the total-variation penalty that weight decay is for a 1-homogeneous activation.

    min over a r = A of (lambda_a a^2 + lambda_w r^2)/2 = sqrt(lambda_a lambda_w) |A|.  ConfigError for any other
    activation: its decay is not proportional to the amplitude.
    """
    if HOMOGENEITY.get(activation) != 1:
        raise ConfigError(
            "network.activation",
            f"is {activation}; weight decay is a total-variation penalty only for relu and identity",
            "give the penalty itself",
        )
    return math.sqrt(decay_a * decay_w)


def _check_penalty(penalty: float) -> None:
    if not penalty > 0.0:
        raise ConfigError("penalty", f"is {penalty:g}; a threshold must be positive")


# S*(epsilon) ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SparseDepth:
    """S*(epsilon) lies between ``lower`` (proved; infinite if no number suffices) and ``upper`` neurons.

    ``atoms`` reach |f - f*|^2 = ``risk`` <= epsilon with ``upper`` neurons.  Where the search ended before that,
    ``upper`` is infinite and they are the best it found.
    """

    epsilon: float
    lower: float
    upper: float
    atoms: Atoms
    risk: float


def gaussian_regression(
    f: Target, activation: str, domain: Domain | None = None, hermite: tuple[float, ...] = (), count: int = 24
) -> Regression:
    """The target on a tensor Gauss-Hermite rule of ``count`` nodes per input, for the neurons of ``domain``.

    ConfigError for more than three inputs: sample them, or take those that the target depends on.
    """
    d = f.directions.shape[1]
    if d > MAX_TENSOR_DIMENSION:
        raise ConfigError("data.dimension", f"is {d}; a tensor rule carries at most {MAX_TENSOR_DIMENSION} inputs")
    nodes, weights = quadrature.gauss_hermite(count, prune=1e-12)
    x = np.array(list(product(nodes, repeat=d)))
    c = np.array([math.prod(w) for w in product(weights, repeat=d)])
    kept = c > 1e-16
    return neurons.regression(activation, x[kept], target_values(f, x[kept]), c[kept], domain, hermite)


def sparse_depth(problem: Regression, epsilon: float, lower: float = 0.0) -> SparseDepth:
    """S*(epsilon) = min {S : some S neurons have |f - y|^2 <= epsilon} from above: insertion, refit, thinning.

    ``lower`` is a bound known otherwise (``direction_bound``, ``sphere_bound``); one neuron is needed if |y|^2 >
    epsilon.  An epsilon below round-off asks for an exact fit.  ConfigError for a negative epsilon.
    """
    if not epsilon >= 0.0:
        raise ConfigError("epsilon", f"is {epsilon:g}; a risk is at least 0")
    energy = float(problem.weights @ problem.y**2)
    state = State(np.zeros(0), np.zeros((0, problem.lifted.shape[1])))
    if energy <= epsilon:
        return SparseDepth(epsilon, 0.0, 0.0, neurons.to_atoms(problem, *state), energy)
    tolerance = max(math.sqrt(epsilon / energy), refit.EXACT)
    places, rng = total_variation.search(problem), np.random.default_rng(0)
    missed = [1.0]
    while missed[-1] > tolerance and len(state.a) < MAX_NEURONS:
        state = _one_more(problem, state, places, rng)
        missed.append(refit.relative_residual(problem, state))
        if len(missed) > PATIENCE and missed[-1] > SLOW * missed[-1 - PATIENCE]:
            break
    reached = missed[-1] <= tolerance
    if reached:
        state = refit.thinned(problem, state, tolerance)
    upper = float(len(state.a)) if reached else math.inf
    risk = refit.relative_residual(problem, state) ** 2 * energy
    return SparseDepth(epsilon, max(lower, 1.0), upper, neurons.to_atoms(problem, *state), risk)


def _one_more(problem: Regression, state: State, places: Search, rng: np.random.Generator) -> State:
    """The best fit found with one neuron more: added where the residual is felt most, or all of them anew."""
    peaks, _ = total_variation.peaks(problem, total_variation.residual(problem, state), places)
    starts = [np.concatenate([state.u, unit[None]]) for unit in peaks[:GREEDY_STARTS]]
    starts += [places.units[rng.choice(len(places.units), len(state.a) + 1)] for _ in range(RANDOM_STARTS)]
    fits = [refit.polish(problem, refit.refitted(problem, units)) for units in starts]
    return min(fits, key=lambda fit: refit.relative_residual(problem, fit))


def direction_bound(f: Target, epsilon: float) -> float:
    """A proved lower bound of S*(epsilon) for neurons of any weights and biases under the Gaussian law.

    The unfoldings of T_1, T_2, ... along one index, beside each other, have their columns in the span of w_1 .. w_S;
    rank S misses at least the squared singular values beyond S (Eckart, Young), which Parseval bounds by epsilon.
    """
    cosines = f.directions @ f.directions.T
    series = f.coefficients[:, 1:]
    weights = sum(np.outer(c, c) * cosines**k for k, c in enumerate(series.T)) * np.ones_like(cosines)
    # the rows u_j carry the matrix u^T weights u, whose eigenvalues are the squared singular values
    squares = np.maximum(np.linalg.eigvalsh(f.directions.T @ weights @ f.directions), 0.0)[::-1]
    return float(_rank_needed(squares, epsilon))


def sphere_bound(f: Target, sigma: ArrayLike, epsilon: float) -> float:
    """A proved lower bound of S*(epsilon) for neurons on the unit sphere without bias, under the Gaussian law.

    S of them have T_k = sigma_k sum_s a_s w_s^(x k), so that the unfoldings of T_(i+j)/sigma_(i+j), rows Sym^i, columns
    Sym^j, make one matrix B of rank at most S.  Scaled by A g^i and A g^j with A^2 #{i + j = k} g^k <=
    sigma_k^2, it differs from that of f* by at most sqrt(epsilon) in the Frobenius norm (Parseval; then Eckart and
    Young).  Degrees that sigma lacks are missed at any S: the bound is infinite if they carry more than epsilon.
    """
    scale = np.asarray(sigma, np.float64)
    active = np.abs(scale) > LACKING
    epsilon = epsilon - float(np.sum(_degree_energies(f.directions, f.coefficients)[~active]))
    if epsilon < 0.0:
        return math.inf
    basis = np.linalg.svd(f.directions, full_matrices=False)[2][: np.linalg.matrix_rank(f.directions)]
    bound = direction_bound(replace(f, coefficients=f.coefficients * active), epsilon)
    for step, first, second in product((1, 2), (0, 1), (0, 1, 2)):
        for rows in range(first, f.kmax + 1, step):
            i = np.arange(first, rows + 1, step, dtype=np.intp)
            j = np.arange(second, f.kmax - rows + 1, step, dtype=np.intp)
            small = max(math.comb(len(basis) + k - 1, k) for k in (*i, *j)) <= LARGEST_UNFOLDING if j.size else False
            if small and np.all(active[np.add.outer(i, j)]):
                bound = max(bound, _moment_rank(f, scale, basis, i, j, epsilon))
    return bound


def _rank_needed(squares: Array, epsilon: float) -> int:
    """The least S whose remaining squared singular values (falling) sum to at most epsilon, round-off allowed."""
    left_out = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    return int(np.argmax(left_out <= epsilon + 1e-12 * left_out[0]))


def _moment_rank(f: Target, sigma: Array, basis: Array, i: Index, j: Index, epsilon: float) -> int:
    """The least rank within sqrt(epsilon) of the scaled matrix B of ``sphere_bound``, the best of a few g."""
    degrees = np.add.outer(i, j)
    cosines = f.directions @ basis.T
    left, right = ([monomials(cosines, int(k)) for k in ks] for ks in (i, j))
    row, column = (np.repeat(ks, [part.shape[1] for part in parts]) for ks, parts in ((i, left), (j, right)))
    total = np.add.outer(row, column)
    factors = np.concatenate(left, axis=1), np.concatenate(right, axis=1), f.coefficients[:, total]
    matrix = np.einsum("mr,mc,mrc->rc", *factors) / sigma[total]
    met, counts = np.unique(degrees, return_counts=True)
    rank = 0
    for ratio in np.geomspace(0.02, 1.0, 12):
        size = np.min(sigma[met] ** 2 / (counts * ratio ** met.astype(float)))
        scaled = matrix * np.sqrt(size * ratio ** total.astype(float))
        rank = max(rank, _rank_needed(np.linalg.svd(scaled, compute_uv=False) ** 2, epsilon))
    return rank
