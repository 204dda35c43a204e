"""Every step measured over the width N, the step eps, the dimension d and time, and the width that 1 % error needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.compare.rates import Rate, fit_rate
from mfpde.initial import InitialLaw
from mfpde.problem import Problem
from mfpde.theory.dimension_free.laws import Exponent, exponent, named
from mfpde.theory.dimension_free.limit import Limit, follow
from mfpde.theory.dimension_free.steps import (
    Neurons,
    descent_beside_particles,
    measured,
    neurons_beside,
    sgd_beside_descent,
)
from mfpde.theory.dimension_free.widths import Independent, independent

Array = NDArray[np.float64]
Report = Callable[[float], None]
# the problem and its initial law in another dimension
InDimension = Callable[[int], tuple[Problem, InitialLaw]]


@dataclass(frozen=True, eq=False)
class OverWidth:
    """The first two steps: ``neurons`` per width, exponents at the last time, and the bias identity.

    ``identity`` [W]: N times the measured bias, with ``identity_sem`` [W], beside the exact constant of ``constants``.
    """

    neurons: tuple[Neurons, ...]
    exponents: tuple[Exponent, ...]
    constants: Independent
    identity: Array
    identity_sem: Array


def over_width(
    limit: Limit, widths: Sequence[int], replicas: Sequence[int], step: float, seed: int, report: Report
) -> OverWidth:
    """Independent neurons and particles at ``widths`` with ``replicas`` each; ``step`` of the particles' scheme."""
    beside = neurons_beside(limit, step, seed)
    work = np.cumsum([float(n) ** 2 * r for n, r in zip(widths, replicas, strict=True)])
    found: list[Neurons] = []
    for k, (width, count) in enumerate(zip(widths, replicas, strict=True)):
        found.append(measured(beside, limit, width, count))
        report(float(work[k] / work[-1]))
    last = [(one.first_order[-1], one.square[-1], one.pair.risk[-1], one.pair.displacement[-1]) for one in found]
    first, square, risk, displacement = (list(column) for column in zip(*last, strict=True))
    exponents = (
        exponent(named("fluctuation"), widths, [v**2 for v in first]),
        exponent(named("bias"), widths, square, squared=False),
        exponent(named("particles"), widths, [v**2 for v in risk]),
        exponent(named("particle_displacement"), widths, displacement),
    )
    scaled = [n * v for n, v in zip(widths, square, strict=True)]
    identity = np.array([v.mean() for v in scaled])
    sem = np.array([v.std(ddof=1) / np.sqrt(v.size) for v in scaled])
    constants = independent(limit.problem, limit.measures[-1], limit.f[-1])
    return OverWidth(tuple(found), exponents, constants, identity, sem)


def over_step(
    problem: Problem,
    law: InitialLaw,
    width: int,
    replicas: int,
    steps: Sequence[float],
    time: float,
    seed: int,
    batch: int,
    report: Report,
) -> tuple[Exponent, ...]:
    """The last two steps over eps = step/2, at one width: exponents of risk and of parameters."""
    times = np.array([0.0, time])
    work = np.cumsum([1.0 / step for step in steps])
    pairs = []
    for k, step in enumerate(steps):
        plain = descent_beside_particles(problem, law, width, replicas, times, step, seed)
        pairs.append((plain, sgd_beside_descent(problem, law, width, replicas, times, step, seed, batch)))
        report(float(work[k] / work[-1]))
    eps = 0.5 * np.asarray(steps, float)
    found = []
    for which, name in enumerate(("descent", "stochastic")):
        found.append(exponent(named(name), eps, [pair[which].risk[-1] ** 2 for pair in pairs]))
        found.append(exponent(named(f"{name}_displacement"), eps, [pair[which].displacement[-1] for pair in pairs]))
    return tuple(found)


def over_dimension(
    at: InDimension,
    dimensions: Sequence[int],
    width: int,
    replicas: int,
    step: float,
    time: float,
    seed: int,
    batch: int,
    report: Report,
) -> tuple[Exponent, ...]:
    """The last step over the dimension d of the inputs, at one width and eps: risk and parameters."""
    times, pairs = np.array([0.0, time]), []
    for k, d in enumerate(dimensions):
        pairs.append(sgd_beside_descent(*at(d), width, replicas, times, step, seed, batch))
        report(sum(dimensions[: k + 1]) / sum(dimensions))
    return (
        exponent(named("stochastic_dimension"), dimensions, [pair.risk[-1] ** 2 for pair in pairs]),
        exponent(named("stochastic_displacement_dimension"), dimensions, [pair.displacement[-1] for pair in pairs]),
    )


@dataclass(frozen=True, eq=False)
class OverTime:
    """Root mean square risk errors of the four steps along ``times`` [K] of the limit: name -> [K]."""

    times: Array
    errors: dict[str, Array]


def over_time(limit: Limit, neurons: Neurons, step: float, replicas: int, seed: int, batch: int) -> OverTime:
    """The four steps along time, at the width of ``neurons`` and eps = step/2."""
    problem, law, width = limit.problem, limit.law, neurons.width
    plain = descent_beside_particles(problem, law, width, replicas, limit.times, step, seed)
    stochastic = sgd_beside_descent(problem, law, width, replicas, limit.times, step, seed, batch)
    both = neurons.first_order + neurons.square
    rows = {"independent": both, "particles": neurons.pair.risk, "descent": plain.risk, "stochastic": stochastic.risk}
    return OverTime(limit.times, {name: np.sqrt(np.mean(v**2, axis=1)) for name, v in rows.items()})


@dataclass(frozen=True, eq=False)
class NeededWidth:
    """The width at which the root mean square of R_N - R is ``tolerance`` of the first risk, at one dimension.

    ``independent``: for neurons drawn from rho_t, by the exact constants; ``measured`` with ``interval``: for the
    particles, from the error of some, which falls like N^(-1/2); None where they have no exact gradient.
    """

    dimension: int
    constants: Independent
    independent: float
    measured: float | None = None
    interval: tuple[float, float] | None = None


def needed_widths(
    at: InDimension,
    dimensions: Sequence[int],
    times: Array,
    tolerance: float,
    width: int,
    replicas: int,
    step: float,
    seed: int,
    report: Report,
) -> tuple[NeededWidth, ...]:
    """N for an error of ``tolerance`` R(rho_0) at the last of ``times``, against the dimension of the inputs.

    ``replicas`` networks of ``width`` particles moved by ``step`` are measured; with 0 of them only the constants.
    """
    rows = []
    for k, d in enumerate(dimensions):
        limit = follow(*at(d), times)
        allowed = tolerance * float(limit.risk[0])
        constants = independent(limit.problem, limit.measures[-1], limit.f[-1])
        row = NeededWidth(d, constants, constants.needed(allowed))
        if replicas:
            squares = measured(neurons_beside(limit, step, seed), limit, width, replicas).error[-1] ** 2
            scaled = width * squares / allowed**2
            reach, mean = 1.96 * float(scaled.std(ddof=1)) / np.sqrt(replicas), float(scaled.mean())
            row = replace(row, measured=mean, interval=(mean - reach, mean + reach))
        rows.append(row)
        report((k + 1) / len(dimensions))
    return tuple(rows)


def spread(rows: Sequence[NeededWidth]) -> float:
    """Largest deviation of the needed widths of independent neurons from their mean, as a share of it."""
    values = np.array([row.independent for row in rows])
    return float(np.max(np.abs(values - values.mean())) / values.mean())


def dimension_rate(rows: Sequence[NeededWidth]) -> Rate:
    """The power of d in the needed width of independent neurons: 0 where the claim holds."""
    return fit_rate([row.dimension for row in rows], [[row.independent] for row in rows])
