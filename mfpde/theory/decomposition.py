"""The error of a trained network as a telescoping sum, the law of each term, and the constant of the statistical one.

    f^{N,n}_{t,dt} - f* = [f^{N,n}_{t,dt} - f^{N,n}_t] + [f^{N,n}_t - f^n_t] + [f^n_t - f^n_inf]
                        + [f^n_inf - f_inf] + [f_inf - f_S] + [f_S - f*]

with N neurons, n samples, time t, step dt; f_inf the network of the population's stationary measure and f_S the sparse
part of the target.  The identity is exact: the Gram matrix of the terms sums to the squared error.  This is mfpde's
reading of the decomposition of arXiv:2605.24710, which names four terms; the article's text was not available.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.compare.fluctuations import linear_response
from mfpde.compare.rates import Rate, fit_rate
from mfpde.core import noise
from mfpde.core.quadrature import hermite_functions
from mfpde.ensemble import step_count
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw
from mfpde.problem import DataLaw, Problem
from mfpde.stationary import Stationary, stationary
from mfpde.steppers import particles
from mfpde.steppers.forces import NodeForce, NodeLaw, activation_arguments, exact_force
from mfpde.steppers.particles import Scheme
from mfpde.tabulate import Tabulated, tabulate

Array = NDArray[np.float64]


class TermLaw(NamedTuple):
    """How the squared norm of a term behaves: like ``variable``^``exponent``, or exp(-rate t) on an exponential scale.

    ``exponent`` is None where no power is proved (the optimization term has its own rate 2 Lambda, the sparse residual
    depends on target and activation alone).
    """

    name: str
    text: str
    variable: str
    exponent: float | None
    scale: Literal["power", "exponential"] = "power"


LAWS: tuple[TermLaw, ...] = (
    TermLaw("time_step", "with the same Brownian paths: strong order 1 for additive noise", "dt", 2.0),
    TermLaw("propagation_of_chaos", "C_PoC/N, at most tr Sigma/N at rest", "N", -1.0),
    TermLaw("optimization", "half of it is below F - F*, which falls like exp(-2 Lambda t)", "t", None, "exponential"),
    TermLaw("statistical", "C_stat/n at fixed temperature and weight decay", "n", -1.0),
    TermLaw("entropic_bias", "O(tau log 1/tau) in the risk for smooth atoms", "tau", None),
    TermLaw("sparse_residual", "tail of the target's coefficients; no initial law in it", "threshold", None),
)
NAMES = tuple(law.name for law in LAWS)
# the four terms of the article: the time step is part of the finite network, the bias part of what the sparse sum lacks
FOUR_TERMS = {
    "statistical": ("statistical",),
    "optimization": ("optimization",),
    "propagation_of_chaos": ("time_step", "propagation_of_chaos"),
    "sparse_residual": ("entropic_bias", "sparse_residual"),
}


@dataclass(frozen=True, eq=False)
class Decomposition:
    """T terms on n nodes and R replicas : terms [T, R, n]; norms and inner products of L^2(data), means over replicas.

    ``squared`` [T] squared norms; ``gram`` [T, T]; ``total`` the squared error; ``closure`` = |total - sum of gram|
    over the sum of ``squared``, round-off; ``triangle`` = (sum of norms)^2 and ``count_bound`` = T sum of ``squared``
    are both at least ``total``.
    """

    names: tuple[str, ...]
    terms: Array
    weights: Array
    squared: Array
    gram: Array
    total: float
    closure: float
    triangle: float
    count_bound: float


def decompose(
    weights: Array,
    *,
    stepped: ArrayLike,
    finite: ArrayLike,
    limit: ArrayLike,
    rested: ArrayLike,
    population: ArrayLike,
    sparse: ArrayLike,
    target: ArrayLike,
) -> Decomposition:
    """The six terms from the functions between which they stand, each [n] or [R, n] on nodes of ``weights`` [n].

    In the order of the module: f^{N,n}_{t,dt}, f^{N,n}_t, f^n_t, f^n_inf, f_inf, f_S, f*.  Raises ConfigError where
    they do not live on the same nodes.
    """
    members = [np.atleast_2d(np.asarray(f, float)) for f in (stepped, finite, limit, rested, population)]
    members += [np.atleast_2d(np.asarray(f, float)) for f in (sparse, target)]
    replicas = max(len(f) for f in members)
    if any(f.shape not in {(1, len(weights)), (replicas, len(weights))} for f in members):
        shapes = ", ".join(str(f.shape) for f in members)
        raise ConfigError("members", f"have shapes {shapes}; each needs {len(weights)} nodes and 1 or {replicas} rows")
    chain = np.stack([np.broadcast_to(f, (replicas, len(weights))) for f in members])
    error = chain[0] - chain[-1]
    return _decomposition(NAMES, chain[:-1] - chain[1:], weights, float(np.mean(error**2 @ weights)))


def merged(found: Decomposition, groups: dict[str, tuple[str, ...]] = FOUR_TERMS) -> Decomposition:
    """The same error in fewer terms, each the sum of the old ones it names."""
    terms = [found.terms[[found.names.index(name) for name in group]].sum(axis=0) for group in groups.values()]
    return _decomposition(tuple(groups), np.stack(terms), found.weights, found.total)


def _decomposition(names: tuple[str, ...], terms: Array, weights: Array, total: float) -> Decomposition:
    gram = np.einsum("irq,jrq,q->ij", terms, terms, weights, optimize=True) / terms.shape[1]
    squared = np.diagonal(gram).copy()
    size = float(np.sum(squared))
    return Decomposition(
        names=names,
        terms=terms,
        weights=weights,
        squared=squared,
        gram=gram,
        total=total,
        closure=abs(total - float(np.sum(gram))) / (size if size > 0.0 else 1.0),
        triangle=float(np.sum(np.sqrt(squared))) ** 2,
        count_bound=len(terms) * size,
    )


def refined_step(
    problem: Problem,
    law: InitialLaw,
    x: Array,
    *,
    width: int,
    replicas: int,
    time: float,
    step: float,
    seed: int = 0,
    refinement: int = 8,
    scheme: Scheme = "heun",
) -> tuple[Array, Array]:
    """(f_{N, dt}, f_{N, dt/refinement}) at ``time`` on inputs x [m, d], [R, m] each, of one draw and Brownian paths.

    The normals of a step are the normalised sums of those of its parts: the difference is what the step alone does.
    Strong errors do not extrapolate (they fluctuate inside a step), so the finer network stands for dt -> 0, up to
    1/refinement of the difference.  ConfigError where the force on the particles is not exact.
    """
    force = exact_force(problem)
    if force is None:
        raise ConfigError("data", "gives no exact force on the particles: a step error would drown in its sampling")
    key, move = particles.width_seed(seed, width), particles.motion(problem, True)
    steps = step_count(time, step)

    def finest(k: int, out: Array) -> None:
        for replica in range(replicas):
            noise.normals(key, noise.BROWNIAN, replica, k, out[replica])

    def summed(k: int, out: Array) -> None:
        part, total = np.empty_like(out), np.zeros_like(out)
        for j in range(refinement):
            finest(k * refinement + j, part)
            total += part
        out[:] = total / np.sqrt(refinement)

    values = []
    for normals, count in ((summed, steps), (finest, steps * refinement)):
        theta = particles.draw(problem, law, width, range(replicas), key)
        system = (theta, lambda one, k, out: force.gradient(one, out))
        particles.integrate([system], normals, move, time / count, count, scheme)
        values.append(network_values(problem, theta, x))
    return values[0], values[1]


def network_values(problem: Problem, theta: Array, x: Array) -> Array:
    """f_N of full-dimensional particles theta [R, p, N] at inputs x [m, d] : [R, m]."""
    code, hermite = activation_arguments(problem)
    inputs = np.ascontiguousarray(x, dtype=np.float64)
    nodes = NodeLaw(inputs, np.zeros(len(x)), np.full(len(x), 1.0 / len(x)), "square")
    return NodeForce("inputs", code, hermite, problem.scale, nodes).predict(theta)


def sparse_function(data: DataLaw, coefficients: ArrayLike) -> Array:
    """f_S = sum_k s_k h_k(x_0) at the nodes : [n], from the kept or thresholded coefficients s [K] of the target.

    Only for single-index Gaussian laws, whose x_0 is standard normal; ConfigError elsewhere.
    """
    if data.population is None:
        raise ConfigError("data.law", "has no Gaussian index: Hermite coefficients of its target are not defined")
    s = np.asarray(coefficients, float)
    return np.asarray(np.tensordot(s, hermite_functions(len(s) - 1, data.x[:, 0]), axes=1))


@dataclass(frozen=True, eq=False)
class TermSweep:
    """Squared norms of one term over values [K] of its variable: ``samples`` holds one array per value."""

    term: str
    values: Array
    samples: tuple[Array, ...]


def sweep_rate(sweep: TermSweep) -> Rate:
    """The measured law: slope of log(term) in log(variable), in t itself for the exponential one: minus its rate."""
    law = next(law for law in LAWS if law.name == sweep.term)
    exponential = law.scale == "exponential"
    return fit_rate(np.exp(sweep.values) if exponential else sweep.values, sweep.samples)


def statistical_constant(table: Tabulated, end: Stationary) -> float:
    """C_stat = lim n E|f_{pi_n} - f_pi|^2 in L^2(data), for n independent samples at fixed temperature and decay.

    With Sigma(x', x) = Cov_pi(phi(x'), phi(x)) (scale^2 included, frozen parameters held), L = l'' and noise variance
    s^2, which adds to the squared slope alone:

        C = E[(r^2 + s^2) |(tau + Sigma L)^-1 Sigma(., x)|^2] - |E[r (tau + Sigma L)^-1 Sigma(., x)]|^2,

    r = l'(f_pi(x), y): the linear response of the Gibbs fixed point to the fluctuation of the sampled first variation
    (derived here; for the square loss docs/theory.md).  ``table`` holds the population law and ``end`` its measure.
    """
    problem, found = table.problem, linear_response(table, end)
    r = problems.loss_slopes(problem, end.f)
    # (tau + Sigma L)^-1 Sigma between functions times the root of the weights
    response = found.modes / (found.temperature + found.eigenvalues) @ found.modes.T
    # the part of the risk that no network changes is half the noise variance (square loss; zero for the logistic one)
    squared = (r**2 + 2.0 * problem.data.offset) @ np.sum(response**2, axis=0)
    return float(squared - np.sum((response @ (found.root * r)) ** 2))


def statistical_sweep(
    table: Tabulated, end: Stationary, sizes: Sequence[int], draws: int, seed: int = 0
) -> tuple[TermSweep, tuple[Array, ...]]:
    """|f_{pi_n} - f_pi|^2 for ``draws`` data sets of every size n, and f_{pi_n} itself [draws, n nodes] per size.

    ``table`` and ``end`` as in ``statistical_constant``; the law must be Gaussian in one dimension (ConfigError).
    Data sets are functions of (``seed``, n, draw); every measure pi_n is certified on the grid of ``table``.
    """
    weights = table.problem.data.weights
    functions = []
    for size in sizes:
        laws = _samples(table.problem, size, draws, seed)
        functions.append(np.stack([_empirical_rest(table, end, law) for law in laws]))
    squared = tuple((f - end.f) ** 2 @ weights for f in functions)
    return TermSweep("statistical", np.asarray(sizes, float), squared), tuple(functions)


def _samples(problem: Problem, size: int, draws: int, seed: int) -> Iterator[DataLaw]:
    law = problem.data.single_index
    if law is None or law.dimension != 1:
        raise ConfigError("data.law", "must be gaussian with dimension 1 to draw data sets for a grid")
    for draw in range(draws):
        rng = np.random.default_rng([seed, size, draw])
        x = rng.standard_normal(size)
        y = datalaws.target_values(law, x)
        if problem.loss == "logistic":
            y = np.where(rng.random(size) < 1.0 / (1.0 + np.exp(-y)), 1.0, -1.0)
        else:
            y = y + law.noise * rng.standard_normal(size)
        yield datalaws.nodes(x[:, None], y)


def _empirical_rest(table: Tabulated, end: Stationary, law: DataLaw) -> Array:
    """f_{pi_n} at the nodes of the population, Newton started from the population's measure."""
    empirical = tabulate(replace(table.problem, data=law), table.grid)
    return table.predict(stationary(empirical, empirical.predict(end.measure.mass)).measure.mass)
