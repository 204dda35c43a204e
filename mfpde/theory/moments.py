"""Radial moments m_k(t) = int |theta|^k drho_t of a path of measures, which of them can be trusted, and two proofs.

Measured moments come with a guard: a box or a sample carries only so many.  A-priori moments follow from

    d m_k/dt <= -k Lambda m_k + k B m_{k-1} + tau k (P + (k - 2) eta) m_{k-2},      k >= 2,

with Lambda = min rate*lambda, P = sum of the rates over all p moving parameters, eta the largest rate and B a bound of
the data's drift: Ito's formula for |theta|^k, where tr(D Hess |theta|^k) <= k |theta|^{k-2} (P + (k - 2) eta).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import meanfield
from mfpde.compare.convergence import STEEPEST
from mfpde.compare.laws import Law
from mfpde.errors import ConfigError
from mfpde.measures import GridMeasure, Measure
from mfpde.problem import Coordinate, Network, Problem, loss_slopes
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]

# orders looked at where none is asked for
MOST_ORDERS = 24
# the outer shell of a box, as a share of each axis from every open end, and the share of an integral it may hold
SHELL, SHELL_SHARE = 0.05, 1e-3
RELATIVE_ERROR = 0.05
# parts that one sample of equal atoms is cut into, to estimate errors as from replicas
PARTS = 16

# sup |sigma| where there is one
SUP_VALUE = {"tanh": 1.0, "erf": 1.0, "sin": 1.0, "sigmoid": 1.0}


@dataclass(frozen=True, eq=False)
class MomentPath:
    """m_k(t) for k = 0 .. ``largest_order`` : moments [T, k] at ``times`` [T] of the coordinates ``names``.

    ``dimension`` is p, the number of full-dimensional parameters behind ``names``.  ``samples`` [T, S, k] are what
    ``moments`` is the mean of: replicas, parts of a sample, or a grid alone (S = 1).  ``reason`` says what ends the
    orders; ``start`` is the law at the first time, from which certificates start.
    """

    times: Array
    moments: Array
    samples: Array
    names: tuple[str, ...]
    dimension: int
    largest_order: int
    reason: str
    start: Law


@dataclass(frozen=True, eq=False)
class Certificate:
    """A-priori bounds of sup_t m_k(t) : moments [k], with ``drift`` = B per unit output weight; None with a reason."""

    moments: Array | None
    drift: float | None
    reason: str


def block_names(problem: Problem, block: str) -> tuple[str, ...]:
    """Moving coordinates of ``block``: "all", a group "a", "w", "b", or one coordinate.  Raises ConfigError."""
    chosen = tuple(c.name for c in problem.moving if block in ("all", c.group, c.name))
    if not chosen:
        allowed = sorted({"all"} | {c.group for c in problem.moving} | {c.name for c in problem.moving})
        raise ConfigError("block", f'is "{block}"; this problem moves {", ".join(allowed)}', "frozen laws never change")
    return chosen


def moment_path(
    problem: Problem, laws: Sequence[Law], times: Array, kmax: int | None = None, block: str = "all"
) -> MomentPath:
    """Moments of ``laws`` (one per time, each one measure or one per replica), up to the largest order they carry.

    |theta| is the norm over the moving parameters of ``block``, in full dimension: a radius counts with its value;
    frozen parameters never count.  On a grid an order is refused if the outer 5 % of an axis hold more than 1e-3 of
    its integral at any time; for atoms if the relative standard error sqrt((m_2k/m_k^2 - 1)/(N R)) is above 5 %.
    ``kmax`` demands an order: ConfigError if it is not carried.
    """
    names = block_names(problem, block)
    if kmax is not None and kmax < 1:
        raise ConfigError("kmax", f"is {kmax}; it must be at least 1")
    top = MOST_ORDERS if kmax is None else kmax
    found = [_moments_and_doubts(law, names, top) for law in laws]
    samples, doubts = np.stack([one for one, _ in found]), np.stack([doubt for _, doubt in found])
    on_grid = isinstance(laws[0][0], GridMeasure)
    refused = np.any(doubts > (SHELL_SHARE if on_grid else RELATIVE_ERROR), axis=0)
    largest, reason = top, f"order {top} is the largest asked for"
    if np.any(refused):
        k = int(np.argmax(refused))
        largest, reason = k - 1, _doubt(k, times, doubts[:, k], laws, on_grid)
        if kmax is not None:
            raise ConfigError("kmax", f"is {kmax}, but only orders up to {largest} are carried: {reason}")
    samples = samples[..., : largest + 1]
    dimension = sum(c.block for c in problem.moving if c.name in names)
    return MomentPath(
        np.asarray(times, float), samples.mean(axis=1), samples, names, dimension, largest, reason, laws[0]
    )


def _doubt(k: int, times: Array, doubts: Array, laws: Sequence[Law], on_grid: bool) -> str:
    worst = int(np.argmax(doubts))
    if on_grid:
        return (
            f"at order {k} the outer {SHELL:.0%} of the box hold {doubts[worst]:.2g} of the integral"
            f" at t = {times[worst]:g}, more than {SHELL_SHARE:g}"
        )
    count = sum(len(measure.weights) for measure in laws[worst])
    return (
        f"at order {k} the relative standard error over {count} atoms is {doubts[worst]:.2g}"
        f" at t = {times[worst]:g}, more than {RELATIVE_ERROR:g}"
    )


def _moments_and_doubts(law: Law, names: tuple[str, ...], top: int) -> tuple[Array, Array]:
    """(samples [S, top + 1], the number of each order [top + 1] that its guard looks at)."""
    first = law[0]
    if isinstance(first, GridMeasure):
        powers = _norm(first, names)[:, None] ** np.arange(top + 1)
        total = first.weights @ powers
        outside = _shell(first).reshape(-1)
        return total[None], (first.weights[outside] @ powers[outside]) / np.where(total > 0.0, total, 1.0)
    parts = [part for one in law for part in _parts(one, names, 1 if len(law) > 1 else PARTS)]
    samples, squares = np.empty((len(parts), top + 1)), np.zeros(top + 1)
    for k, (radius, weights) in enumerate(parts):
        powers = radius[:, None] ** np.arange(top + 1)
        samples[k] = weights @ powers
        squares += weights @ powers**2 / len(parts)
    mean = samples.mean(axis=0)
    ratio = squares / np.where(mean > 0.0, mean, 1.0) ** 2 - 1.0
    atoms = sum(1.0 / float(np.sum(one.weights**2)) for one in law)
    return samples, np.sqrt(np.maximum(ratio, 0.0) / atoms)


def _norm(measure: Measure, names: tuple[str, ...]) -> Array:
    """|theta| over the coordinates ``names`` on all cells or atoms : flat."""
    if isinstance(measure, GridMeasure):
        squares = np.zeros(measure.mass.shape)
        for name in names:
            squares += measure.coordinate(name) ** 2
        return np.sqrt(squares).reshape(-1)
    columns = [measure.names.index(name) for name in names]
    return np.asarray(np.sqrt(np.sum(measure.atoms[:, columns] ** 2, axis=1)))


def _parts(measure: Measure, names: tuple[str, ...], count: int) -> list[tuple[Array, Array]]:
    """(|theta|, weights of sum 1) of up to ``count`` parts; atoms of unequal weight are no sample and stay together."""
    radius, weights = _norm(measure, names), measure.weights
    count = count if len(radius) >= 2 * count and np.ptp(weights) <= 1e-12 * weights[0] else 1
    cuts = np.array_split(np.arange(len(radius)), count)
    return [(radius[cut], weights[cut] / np.sum(weights[cut])) for cut in cuts]


def _shell(measure: GridMeasure) -> NDArray[np.bool_]:
    """Cells within SHELL of an open end of an axis; a radius that starts at 0 and a circle have no end there."""
    grid = measure.grid
    outside = np.zeros(grid.shape, bool)
    for k, axis in enumerate(grid.axes):
        if axis.periodic:
            continue
        depth = SHELL * (axis.upper - axis.lower)
        bottom = -np.inf if axis.coordinate.kind == "radius" and axis.lower == 0.0 else axis.lower + depth
        centers = grid.along(k, axis.centers)[None]
        outside |= (centers > axis.upper - depth) | (centers < bottom)
    return outside


def certified_moments(problem: Problem, start: Law, kmax: int, free_energy: float | None = None) -> Certificate:
    """Rigorous bounds of sup_t m_k(t) over the moving parameters, k = 0 .. kmax, of the limit started at ``start``.

    With Lambda, P, eta, B of the module, M_0 = 1 and

        M_2 = max(m_2(0), ((B + sqrt(B^2 + 4 Lambda tau P))/(2 Lambda))^2),      M_1 = sqrt(M_2),
        M_k = max(m_k(0), (B M_{k-1} + tau (P + (k - 2) eta) M_{k-2})/Lambda)    for k >= 3,

    for every value of the frozen output weight, then averaged; for particles they bound the mean over the noise.
    ``free_energy`` F(start) sharpens B (square loss) and is needed where the activation is unbounded.  There is no
    bound where a moves or the activation's slope is unbounded.
    """
    rates = np.array([c.rate for c in problem.moving])
    contraction = float(np.min(rates * [c.weight_decay for c in problem.moving]))
    if contraction <= 0.0:
        return Certificate(None, None, "a moving parameter has no weight decay")
    drift, reason = _drift_bound(problem, start, free_energy)
    if drift is None:
        return Certificate(None, None, reason)
    heat, fastest = float(rates @ [c.block for c in problem.moving]) * problem.temperature, float(rates.max())
    amplitude, share, initial = _by_amplitude(problem, start, max(kmax, 2))
    b = drift * amplitude
    bound = np.ones((len(b), max(kmax, 2) + 1))
    still = (b + np.sqrt(b**2 + 4.0 * contraction * heat)) / (2.0 * contraction)
    bound[:, 2] = np.maximum(initial[:, 2], still**2)
    bound[:, 1] = np.sqrt(bound[:, 2])
    for k in range(3, kmax + 1):
        diffusion = heat + (k - 2) * fastest * problem.temperature
        bound[:, k] = np.maximum(initial[:, k], (b * bound[:, k - 1] + diffusion * bound[:, k - 2]) / contraction)
    return Certificate(share @ bound[:, : kmax + 1], drift, reason)


def _drift_bound(problem: Problem, start: Law, free_energy: float | None) -> tuple[float | None, str]:
    """(sup over t and theta of |rate grad int r phi| per unit of |a|, where it comes from)."""
    model, data = problem.model, problem.data
    if not isinstance(model, Network):
        return None, "an explicit interaction has no activation to bound the drift with"
    moving = {c.group: c.rate for c in problem.moving}
    if "a" in moving:
        return None, "the output weight moves: the drift of w grows with it"
    if model.activation not in STEEPEST:
        return None, f"the slope of {model.activation} is unbounded"
    lever = np.sqrt((moving.get("w", 0.0) ** 2) * np.sum(data.x**2, axis=1) + moving.get("b", 0.0) ** 2)
    slope = problem.scale * STEEPEST[model.activation]
    found: list[tuple[float, str]] = []
    if problem.loss == "logistic":
        found.append((float(data.weights @ lever), "the logistic loss has slopes below 1"))
    elif model.activation in SUP_VALUE:
        mean = float(np.mean([one.weights @ np.abs(_column(one, "a")) for one in start]))
        largest = np.abs(data.y) + problem.scale * SUP_VALUE[model.activation] * mean
        found.append((float(data.weights @ (largest * lever)), "the activation is bounded"))
    if problem.loss == "square" and free_energy is not None:
        # F >= risk - tau log int exp(-V/tau), and F does not rise: the risk stays below this
        risk = free_energy - data.offset + sum(_log_partition(problem.temperature, c) for c in problem.moving)
        size = np.sqrt(2.0 * risk * float(data.weights @ lever**2))
        found.append((float(size), "the free energy does not rise"))
    if not found:
        return None, f"{model.activation} is unbounded and the initial free energy is not given"
    bound, why = min(found)
    return slope * bound, why


def _log_partition(temperature: float, c: Coordinate) -> float:
    """tau log int exp(-lambda |theta|^2/(2 tau)) over the block of one coordinate; 0 at temperature 0."""
    return (
        0.5 * temperature * c.block * float(np.log(2.0 * np.pi * temperature / c.weight_decay)) if temperature else 0.0
    )


def _column(measure: Measure, name: str) -> Array:
    if isinstance(measure, GridMeasure):
        return measure.coordinate(name).reshape(-1)
    return measure.atoms[:, measure.names.index(name)]


def _by_amplitude(problem: Problem, start: Law, kmax: int) -> tuple[Array, Array, Array]:
    """(|a| [G], shares [G], moments [G, kmax + 1] of the moving parameters) over the values of the frozen |a|."""
    names = tuple(c.name for c in problem.moving)
    size = np.concatenate([np.abs(_column(one, "a")) for one in start])
    weight = np.concatenate([one.weights / len(start) for one in start])
    norm = np.concatenate([_norm(one, names) for one in start])
    amplitude, group = np.unique(size, return_inverse=True)
    share = np.bincount(group, weight)
    moments = [np.bincount(group, weight * norm**k) / share for k in range(kmax + 1)]
    return np.asarray(amplitude, float), np.asarray(share), np.stack(moments, axis=1)


def gaussian_bracket(table: Tabulated, f: Array, kmax: int) -> tuple[Array, Array, Array]:
    """(lower, upper, reference), each [kmax + 1]: bounds of the moments of the Gibbs measure of Psi[f], f [n].

    exp(-osc/tau) <= m_k/m_k(Gaussian) <= exp(osc/tau) with osc the largest oscillation of the data's part of Psi over
    the cells of a species, for every k (a bounded density ratio); the reference is the Gibbs measure of the weight
    decay alone, sqrt(tau/lambda) Z per parameter.
    """
    problem, names = table.problem, tuple(c.name for c in table.problem.moving)
    data_part = table.first_variation(problem.data.weights * loss_slopes(problem, f)) - table.potential
    trailing = tuple(range(1, data_part.ndim))
    oscillation = float(np.max(np.ptp(data_part, axis=trailing))) / problem.temperature
    gaussian = GridMeasure(table.grid, meanfield.gibbs(table, table.potential).mass)
    reference = gaussian.weights @ _norm(gaussian, names)[:, None] ** np.arange(kmax + 1)
    return reference * np.exp(-oscillation), reference * np.exp(oscillation), reference
