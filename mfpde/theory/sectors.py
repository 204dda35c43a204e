"""Fluctuations of finite networks behind a symmetry reduction: the directions that the reduced grid does not see.

For Gaussian inputs and a law of w = (s, r omega) that is invariant under rotations of omega on the sphere S^(m-1), the
limit is invariant, but N neurons are not. With cos = s/|w|, sin = r/|w| and t = <omega, omega'>, the covariance of
their outputs is

    E_x[phi phi'] = a a' sum_k c_k(|w|) c_k(|w'|) (cos cos' + sin sin' t)^k,      c_k of mfpde.theory.ridge,

and t^j acts on spherical harmonics of degree l as lambda_jl = E[t^j P_l(t)] (Funk, Hecke). So the covariance operator
splits into sectors l of multiplicity mult(l), each the Gram operator of the features
a c_k (binomial(k, j) lambda_jl)^(1/2) cos^(k-j) sin^j over the reduced measure. The sector l = 0 is what the reduced
grid carries (mfpde.compare.fluctuations); in the others every mean vanishes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, gammaln

from mfpde.compare.fluctuations import Fluctuations, fluctuations, variance_trace
from mfpde.core import activations, quadrature
from mfpde.errors import ConfigError
from mfpde.problem import Network, Problem
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated
from mfpde.theory.ridge import active_degrees, ridge_coefficients

Array = NDArray[np.float64]

# degrees k of the expansion; what they miss of the trace is added as fluctuations too small to be damped
DEGREES = 40
# eigenvalues below this share of the largest change nothing
NEGLIGIBLE = 1e-14
# cells with less than this share of the largest mass are passed over; the trace holds what they add
EMPTY = 1e-14
# Gauss-Hermite nodes of E sigma(|w| Z)^2
NODES = 200
_CHUNK = 4096


def is_reduced(problem: Problem) -> bool:
    """Whether a radius stands for a whole block of inputs, so that networks fluctuate where the grid does not look."""
    return any(c.kind == "radius" for c in problem.coordinates)


def independent_trace(table: Tabulated, mass: Array) -> float:
    """N E|f_N - f|^2 of N neurons drawn independently from a grid measure, in the full dimension of the inputs.

    ``mass`` [K, n_1, ..., n_D], total 1.  Behind a reduction it is scale^2 E a^2 sigma(<w, x>)^2 - |f|^2, with
    E_x sigma(<w, x>)^2 a Gaussian integral over |w|; otherwise ``variance_trace``.  ConfigError as for
    ``full_fluctuations``.
    """
    problem = table.problem
    if not is_reduced(problem):
        return variance_trace(table, mass)
    cosine, _, length, squared = _reduced_cells(table, mass)
    nodes, weights = quadrature.gauss_hermite(NODES)
    total = 0.0
    for start in range(0, len(cosine), _CHUNK):
        part = slice(start, start + _CHUNK)
        values = activations.evaluate(
            _model(problem).activation, np.outer(length[part], nodes), _model(problem).hermite
        )
        total += float(squared[part] @ (values**2 @ weights))
    return problem.scale**2 * total - float(problem.data.weights @ table.predict(mass) ** 2)


def full_fluctuations(table: Tabulated, rest: Stationary) -> Fluctuations:
    """The constants of ``mfpde.compare.fluctuations`` for networks in the full dimension of the inputs.

    Square loss, inputs N(0, I_d) in blocks (1, d - 1), no bias: ConfigError for any other reduction.
    """
    found = fluctuations(table, rest)
    problem = table.problem
    if not is_reduced(problem):
        return found
    tau, values, counts = problem.temperature, [found.eigenvalues], [np.ones(len(found.eigenvalues))]
    for one, multiplicity in _sectors(table, rest.measure.mass):
        values.append(one)
        counts.append(np.full(len(one), multiplicity))
    s, count = np.concatenate(values[1:]), np.concatenate(counts[1:])
    missed = max(0.0, independent_trace(table, rest.measure.mass) - found.iid_trace - float(count @ s))
    logs = np.log1p(s / tau)
    order = np.argsort(-np.concatenate(values), kind="stable")
    return replace(
        found,
        iid_trace=found.iid_trace + float(count @ s) + missed,
        propagation_of_chaos=found.propagation_of_chaos + float(count @ (s / (1.0 + s / tau))) + missed,
        log_determinant_gap=found.log_determinant_gap + 0.5 * tau * float(count @ logs) + 0.5 * missed,
        relative_entropy=found.relative_entropy + 0.5 * float(count @ (logs - s / (tau + s))),
        eigenvalues=np.concatenate(values)[order],
    )


def _sectors(table: Tabulated, mass: Array) -> list[tuple[Array, float]]:
    """(eigenvalues, multiplicity) of the sectors l = 1, 2, ... until they are negligible."""
    problem, model = table.problem, _model(table.problem)
    cosine, sine, length, squared = _reduced_cells(table, mass)
    degrees = [k for k in active_degrees(model.activation, DEGREES, 1e-14, hermite=model.hermite) if k > 0]
    pairs = [(k, j) for k in degrees for j in range(1, k + 1)]
    gram, ways = np.zeros((len(pairs), len(pairs))), [np.sqrt(comb(k, j)) for k, j in pairs]
    present = np.flatnonzero(squared > EMPTY * np.max(squared))
    for start in range(0, len(present), _CHUNK):
        part = present[start : start + _CHUNK]
        c = ridge_coefficients(model.activation, DEGREES, length[part], hermite=model.hermite)
        along, across = (one[part, None] ** np.arange(DEGREES + 1) for one in (cosine, sine))
        columns = [way * c[:, k] * along[:, k - j] * across[:, j] for way, (k, j) in zip(ways, pairs, strict=True)]
        features = np.stack(columns, axis=1)
        gram += features.T @ (squared[part, None] * features)
    gram *= problem.scale**2
    sphere = problem.data.blocks[1]
    acted = _funk_hecke(sphere, DEGREES)
    found: list[tuple[Array, float]] = []
    for degree in range(1, DEGREES + 1):
        root = np.sqrt(np.maximum([acted[j, degree] for _, j in pairs], 0.0))
        values = np.linalg.eigvalsh(root[:, None] * gram * root)[::-1]
        largest = max([float(values[0]), *(float(one[0]) for one, _ in found)])
        kept = values[values > NEGLIGIBLE * largest]
        if len(kept):
            found.append((np.asarray(kept, np.float64), _multiplicity(sphere, degree)))
    return found


def _funk_hecke(sphere: int, largest: int) -> Array:
    """lambda_jl = E[t^j P_l(t)], P_l(1) = 1, t the first coordinate on the sphere in R^``sphere`` : [j, l]."""
    t, weights = quadrature.sphere_coordinate(sphere, largest + 1)
    legendre = [np.ones_like(t), t]
    for degree in range(1, largest):
        following = (2 * degree + sphere - 2) * t * legendre[degree] - degree * legendre[degree - 1]
        legendre.append(following / (degree + sphere - 2))
    powers = t ** np.arange(largest + 1)[:, None]
    return np.asarray((powers * weights) @ np.stack(legendre).T)


def _multiplicity(sphere: int, degree: int) -> float:
    """Dimension of the spherical harmonics of a degree >= 1 in R^``sphere``."""
    if sphere == 2:
        return 2.0
    log_count = gammaln(degree + sphere - 2) - gammaln(degree + 1) - gammaln(sphere - 1)
    return float(np.exp(log_count) * (2 * degree + sphere - 2))


def _reduced_cells(table: Tabulated, mass: Array) -> tuple[Array, Array, Array, Array]:
    """(cos, sin, |w|, int a^2 rho da) of the cells of (s, r), all species together : flat, each."""
    problem = table.problem
    names = [c.name for c in problem.coordinates if c.name != "a"]
    blocks = problem.data.blocks
    if problem.data.population is None or len(names) != 2 or len(blocks) != 2 or blocks[0] != 1:
        raise ConfigError(
            "network.bias",
            "and the data reduce to other coordinates than (s, r): fluctuations in the full dimension are not known",
        )
    squared = replace(table, amplitude=table.amplitude**2).collapse(mass)
    grid = table.grid
    values = []
    for name in names:
        if name not in grid.names:
            raise ConfigError("network.train", "freezes w behind a symmetry reduction: fluctuations are not known")
        axes = [axis for axis in grid.axes if axis.name != "a"]
        k = [axis.name for axis in axes].index(name)
        shape = [-1 if i == k else 1 for i in range(len(axes))]
        values.append(np.broadcast_to(axes[k].centers.reshape(shape), [axis.cells for axis in axes]).reshape(-1))
    s, r = (np.tile(one, len(squared) // len(one)) for one in values)
    length = np.hypot(s, r)
    safe = np.where(length > 0.0, length, 1.0)
    return s / safe, r / safe, length, squared


def _model(problem: Problem) -> Network:
    assert isinstance(problem.model, Network)
    return problem.model
