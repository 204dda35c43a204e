"""Finite networks at rest without time stepping: importance sampling from the certified stationary measure.

With pi the stationary measure and u = f_N - f_pi, the law of N neurons at rest is, for a convex risk R,

    mu^{1:N}(d theta) = exp(-(N/tau) B(u)) pi^N(d theta) / Z_N,    B(u) = R(f_pi + u) - R(f_pi) - R'(f_pi) u,

with B = |u|^2/2 for the square loss; hence N [(1/N) F^N_min - F] = -tau log Z_N (docs/propagation-of-chaos.md).
It holds as well for the measures on the cells of a grid, so cells are drawn, without jitter, and nothing but the number
of draws limits the accuracy.  Frozen parameters are drawn first and kept: Z_N and the law at rest are those given their
values, and what is reported is the mean over them.

The weights exp(-(N/tau) B) are at most 1 and converge in law: the effective sample size does not fall with N.  Frozen
parameters move f by their own fluctuation; given those, cells are drawn from pi bent by its linear response to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from mfpde import problem as problems
from mfpde.compare.fluctuations import Response, linear_response
from mfpde.core import noise
from mfpde.core.compilation import kernel
from mfpde.errors import ConfigError, NumericalError
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]
Index = NDArray[np.int32]

DRAWS = 20_000
MINIMUM_SAMPLE_SIZE = 400.0
# frozen parameters: fewest draws of them; the effective sample size that each is to have, and the least that it may
_FEWEST_FROZEN, _EFFECTIVE_EACH, _LEAST_EACH = 16, 64.0, 8.0
# directions of u left out hold less than this share of the variance
_LEFT_OUT = 1e-12
# streams of core.noise next to those of the particles: cells, and frozen parameters
_CELLS, _FROZEN = 3, 4
# particles drawn at once
_HELD = 1 << 20


@dataclass(frozen=True)
class OracleEstimate:
    """Estimates for networks of one width at rest, each with its standard error over the draws.

    ``function_error``: N E|f_N - f_pi|^2; ``free_energy_gap``: N [(1/N) F^N_min - F(pi)]; ``relative_entropy``:
    KL(mu^{1:N} | pi^N), given the frozen parameters and averaged over them.  ``effective_sample_size``: (sum w)^2 over
    sum w^2, added up over the draws of the frozen parameters.
    """

    width: int
    draws: int
    effective_sample_size: float
    function_error: float
    function_error_sem: float
    free_energy_gap: float
    free_energy_gap_sem: float
    relative_entropy: float
    relative_entropy_sem: float


@dataclass(frozen=True, eq=False)
class _Law:
    """pi as something to draw from, and what each cell adds to u.

    ``log_mass`` [K, cells]: that of the cells within their species; ``point`` [K, cells]: the row of ``scores`` of a
    cell, to be multiplied by ``amplitude`` [K, cells]; ``center`` [k]: the mean of the scores; ``readout`` [n, k]:
    sqrt(c) u from the scores.
    """

    log_mass: Array
    point: Index
    amplitude: Array
    scores: Array
    center: Array
    readout: Array


def stationary_width(
    table: Tabulated, rest: Stationary, width: int, *, draws: int = DRAWS, seed: int = 0
) -> OracleEstimate:
    """The statistics at rest of networks of ``width`` neurons: see ``stationary_widths``."""
    return stationary_widths(table, rest, (width,), draws=draws, seed=seed)[0]


def stationary_widths(
    table: Tabulated, rest: Stationary, widths: Sequence[int], *, draws: int = DRAWS, seed: int = 0
) -> tuple[OracleEstimate, ...]:
    """Statistics at rest of networks of the given widths from ``draws`` networks each; ``seed`` decides every bit.

    One species: ratio estimators.  Several: networks that share their frozen parameters give a ratio, whose mean over
    these draws is taken, less the linear response to the frozen parameters, whose mean is known.  Ratios are corrected
    for their bias; standard errors are those of the infinitesimal jackknife (Efron 1982), or of the mean over frozen
    draws.  Raises ConfigError where no stationary measure is certified, NumericalError where the effective sample size
    stays below MINIMUM_SAMPLE_SIZE.
    """
    if rest.dual is None:
        raise ConfigError(
            "pairwise.interaction",
            "attracts, so that the energy is not convex: no stationary measure is certified to be the only one, and"
            " draws from one would miss the others",
        )
    if any(c.kind == "radius" for c in table.problem.coordinates):
        raise ConfigError(
            "data.law",
            "is reduced by a symmetry: cells stand for whole shells of neurons, and a network of such draws is not one",
        )
    if min(widths, default=1) < 1 or draws < 1:
        raise ConfigError("particles.widths", f"are {list(widths)} with {draws} draws; all must be at least 1")
    response = linear_response(table, rest)
    law = _law(table, rest, response)
    return tuple(_estimate(table, rest, response, law, width, draws, seed) for width in widths)


def log_efficiency(response: Response) -> float:
    """log of (effective sample size)/draws as N grows: prod (1 + 2s/tau)^1/2/(1 + s/tau), s the eigenvalues of S_w L.

    It is (E w)^2/E w^2 of w = exp(-x.L x/(2 tau)), x ~ N(0, S_w), for every N.
    """
    ratio = response.eigenvalues / response.temperature
    return float(np.sum(0.5 * np.log1p(2.0 * ratio) - np.log1p(ratio)))


def _law(table: Tabulated, rest: Stationary, response: Response) -> _Law:
    """pi and scores: coordinates of u in which the tilt is simple.

    Square loss: leading directions of the covariance in sqrt(c) u, so that |u|^2 is the sum of squares.  Logistic: the
    predictions at the skeleton nodes, from which those at all nodes follow.
    """
    grid, mass, scale = table.grid, rest.measure.mass, table.problem.scale
    combine = np.eye(table.rank) if table.coefficients is None else table.coefficients
    if table.problem.loss == "square":
        readout = _leading(response)
        projection = scale * combine @ (response.root[:, None] * readout)
    else:
        readout, projection = scale * response.root[:, None] * combine.T, np.eye(table.rank)
    inner = int(np.prod(grid.shape[2:] if "a" in grid.names else grid.shape[1:]))
    scores = np.empty(((int(table.kinds.max()) + 1) * inner, projection.shape[1]))
    for block, phi in table.features.rows(0, len(scores)):
        scores[block] = phi @ projection
    species, cells = grid.shape[0], int(np.prod(grid.shape[1:]))
    point = table.kinds[:, None] * inner + np.arange(cells) % inner
    amplitude = np.broadcast_to(table.amplitude, grid.shape).reshape(species, cells)
    log_mass = np.log(mass.reshape(species, cells) / grid.species_weights(1))
    center = table.skeleton(mass) @ projection
    return _Law(log_mass, point.astype(np.int32), amplitude, scores, center, readout)


def _leading(response: Response) -> Array:
    """Orthonormal directions of sqrt(|c|) u [n, k] that hold all of its variance but a share of _LEFT_OUT."""
    modes, between = response.modes, response.between
    variances, vectors = eigh(modes @ modes.T + between.T @ between)
    below = np.cumsum(np.maximum(variances, 0.0))
    return np.asarray(vectors[:, below > _LEFT_OUT * below[-1]])


def _estimate(
    table: Tabulated, rest: Stationary, response: Response, law: _Law, width: int, draws: int, seed: int
) -> OracleEstimate:
    frozen = 1
    if len(law.log_mass) > 1:
        frozen = max(_FEWEST_FROZEN, int(draws / _draws_needed(response, _EFFECTIVE_EACH)))
    species = _frozen_species(table, width, frozen, seed)
    drawn = _frozen_fluctuations(table, response, species)
    # in linear response to y = sqrt(N) Y the law of a neuron is pi times exp(-L A y . phi/(sqrt(N) tau))
    slopes = (response.curvature * response.relaxed(drawn)) @ law.readout / (np.sqrt(width) * response.temperature)
    each = max(draws // frozen, 1)
    samples = [_networks(table, rest, law, species[o], slopes[o], o * each, each, seed) for o in range(frozen)]
    log_weight, tilt, square = (np.stack(parts) for parts in zip(*samples, strict=True))
    values, influence, found = _ratios(log_weight, tilt, square, response.temperature)
    _check_sample_size(response, found, width, each)
    # what the frozen parameters do in linear response is quadratic in their fluctuation: its mean is known for every N
    values += np.sum(response.frozen_terms(response.between), axis=0) - response.frozen_terms(drawn)
    sems = np.sqrt(np.sum(influence[0] ** 2, axis=0))
    if frozen > 1:
        sems = np.std(values, axis=0, ddof=1) / np.sqrt(frozen)
    error, gap, entropy = (float(v) for v in np.mean(values, axis=0))
    return OracleEstimate(
        width, frozen * each, float(np.sum(found)), error, float(sems[0]), gap, float(sems[1]), entropy, float(sems[2])
    )


def _check_sample_size(response: Response, found: Array, width: int, each: int) -> None:
    """Raise NumericalError if the effective sample sizes ``found`` [frozen] are too small, together or one of them."""
    total, least, taken = float(np.sum(found)), float(np.min(found)), each * len(found)
    if total < MINIMUM_SAMPLE_SIZE:
        raise NumericalError(
            f"importance sampling at width {width} has an effective sample size of {total:.3g} where"
            f" {MINIMUM_SAMPLE_SIZE:g} is the minimum: about {_draws_needed(response, MINIMUM_SAMPLE_SIZE):.2g} draws"
            f" would be needed, not {taken}",
            "raise the number of draws, or the temperature",
        )
    if least < _LEAST_EACH:
        raise NumericalError(
            f"importance sampling at width {width} leaves one draw of the frozen parameters an effective sample size of"
            f" {least:.3g} where {_LEAST_EACH:g} is the minimum: about {taken * _LEAST_EACH / least:.2g} draws would be"
            f" needed, not {taken}",
            "raise the number of draws, or the width",
        )


def _draws_needed(response: Response, sample_size: float) -> float:
    """Draws that give an effective sample size; the exponent is cut before a number overflows."""
    return float(sample_size * np.exp(min(-log_efficiency(response), 600.0)))


def _frozen_species(table: Tabulated, width: int, frozen: int, seed: int) -> Index:
    """The species of every neuron in every draw of the frozen parameters : [frozen, N]."""
    levels = np.cumsum(table.grid.species.probabilities)[:-1]
    uniform = np.empty((frozen, 1, width))
    noise.uniforms(seed, _FROZEN, 0, width, uniform)
    return np.searchsorted(levels, uniform[:, 0]).astype(np.int32)


def _frozen_fluctuations(table: Tabulated, response: Response, species: Index) -> Array:
    """sqrt(N) Y of each draw of the frozen parameters, in the coordinates of ``response`` : [frozen, n]."""
    p, width = table.grid.species.probabilities, species.shape[1]
    shares = np.stack([np.mean(species == k, axis=1) for k in range(len(p))], axis=1)
    return np.asarray(np.sqrt(width) * (shares / np.sqrt(p)) @ response.between)


def _networks(
    table: Tabulated, rest: Stationary, law: _Law, species: Index, slope: Array, start: int, count: int, seed: int
) -> tuple[Array, Array, Array]:
    """(log w, -(N/tau) B(u), N|u|^2) of ``count`` networks whose neurons are of the given ``species`` [N].

    Cells are drawn from pi times exp(-slope . score) in each species, and w is the weight against that: the networks
    that share unlikely frozen parameters then keep their effective sample size.
    """
    width, cells = len(species), law.log_mass.shape[1]
    lowered = law.log_mass - law.amplitude * (law.scores @ slope)[law.point]
    log_partition = logsumexp(lowered, axis=1)
    accept, alias = _walker(cells * np.exp(lowered - log_partition[:, None]))
    parts = []
    rows = max(1, _HELD // width)
    for first in range(start, start + count, rows):
        uniform = np.empty((min(rows, start + count - first), 1, width))
        # the step of the counter is the width: networks of different widths share no numbers
        noise.uniforms(seed, _CELLS, first, width, uniform)
        position = cells * uniform[:, 0]
        column = np.minimum(position.astype(np.int32), cells - 1)
        rejected = position - column >= accept[species, column]
        cell = cells * species + np.where(rejected, alias[species, column], column)
        entries = (law.amplitude.reshape(-1)[cell].reshape(-1), law.point.reshape(-1)[cell].reshape(-1))
        sums = csr_matrix((*entries, width * np.arange(len(cell) + 1)), shape=(len(cell), len(law.scores))) @ law.scores
        tilt, square = _tilts(table, rest, sums / width - law.center, width)
        parts.append((tilt + np.sum(log_partition[species]) + sums @ slope, tilt, square))
    log_weight, tilt, square = (np.concatenate(part) for part in zip(*parts, strict=True))
    return log_weight, tilt, square


@kernel
def _walker(shares: Array) -> tuple[Array, Index]:
    """Walker's alias method (Vose 1991) for rows of shares [K, M], mean 1: (accept, alias), both [K, M].

    Cell i, drawn uniformly, is kept with probability accept_i and replaced by alias_i otherwise.
    """
    count = shares.shape[1]
    left, accept = shares.copy(), np.ones(shares.shape)
    alias = np.empty(shares.shape, np.int32)
    waiting = np.empty(count, np.int32)
    for k in range(len(shares)):
        # cells below the mean wait on the left of the array, those above on its right
        low, high = 0, count
        for i in range(count):
            alias[k, i] = i
            if left[k, i] < 1.0:
                waiting[low] = i
                low += 1
            else:
                high -= 1
                waiting[high] = i
        while low > 0 and high < count:
            low -= 1
            i, j = waiting[low], waiting[high]
            accept[k, i], alias[k, i] = left[k, i], j
            left[k, j] -= 1.0 - left[k, i]
            if left[k, j] < 1.0:
                high += 1
                waiting[low] = j
                low += 1
    return accept, alias


def _tilts(table: Tabulated, rest: Stationary, score: Array, width: int) -> tuple[Array, Array]:
    """(-(N/tau) B(u), N|u|^2) from the scores of u [m, k]."""
    problem = table.problem
    if problem.loss == "square":
        square = width * np.sum(score**2, axis=1)
        return -0.5 * square / problem.temperature, square
    c, u = problem.data.weights, table.expand(score)
    rise = problems.loss_values(problem, rest.f + u) - problems.loss_values(problem, rest.f)
    energy = (rise - problems.loss_slopes(problem, rest.f) * u) @ c
    return -width * energy / problem.temperature, width * (u**2 @ c)


def _ratios(log_weight: Array, tilt: Array, square: Array, temperature: float) -> tuple[Array, Array, Array]:
    """Function error, gap and entropy: (values [o, 3], influence of the draws [o, m, 3], effective sample sizes [o]).

    With r = w/mean w, mean(r x) is off by -sum r^2 (x - its value)/m^2 on average, and -log mean w by
    sum (r - 1)^2/(2 m^2): both are taken off.
    """
    m = log_weight.shape[1]
    shift = np.max(log_weight, axis=1, keepdims=True)
    weight = np.exp(log_weight - shift)
    mean_weight = np.mean(weight, axis=1, keepdims=True)
    r = weight / mean_weight

    def tilted_mean(x: Array) -> tuple[Array, Array]:
        pull = r * (x - np.mean(r * x, axis=1, keepdims=True))
        return np.mean(r * x, axis=1) + np.sum(r * pull, axis=1) / m**2, pull

    error, error_pull = tilted_mean(square)
    mean_tilt, tilt_pull = tilted_mean(tilt)
    log_partition = (shift + np.log(mean_weight))[:, 0] + 0.5 * np.sum((r - 1.0) ** 2, axis=1) / m**2
    values = np.stack([error, -temperature * log_partition, mean_tilt - log_partition], axis=-1)
    influence = np.stack([error_pull, -temperature * (r - 1.0), tilt_pull - (r - 1.0)], axis=-1) / m
    return values, influence, m**2 / np.sum(r**2, axis=1)
