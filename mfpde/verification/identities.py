"""The exact identities I1 to I5 on networks, and the certificate for the logistic loss.

For the square loss they are the table of docs/theory-main.md: I1 the distance to the end (Pythagoras), I2 both
together, I3 dissipation, I4 the duality gap, I5 virial. I4 is due to Nitanda, Wu and Suzuki (2022), known here from
notes on their article; the others are derived here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws, meanfield
from mfpde import problem as problems
from mfpde.core import activations
from mfpde.evolve import Control, State, evolve
from mfpde.measures import GridMeasure, normalised
from mfpde.problem import Population, Problem
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.verification import cases
from mfpde.verification.check import Check, at_most, near
from mfpde.verification.structure import fixed_steps, structure_problems

Array = NDArray[np.float64]

TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Transient:
    """A measure on its way, the stationary measure, and the table of their grid."""

    name: str
    table: Tabulated
    measure: GridMeasure
    f: Array
    end: Stationary


def transients() -> list[Transient]:
    """A tanh network (a, w) and a reduced erf network with a radius, both at t = 1."""
    name, problem, start = structure_problems()[1]
    radial = radial_problem()
    grid = cases.box_grid(radial, ((-3.5, 5.0), (0.0, 4.5)), 72)
    shape = np.exp(-((cases.points_of(grid)[..., 0] - 0.3) ** 2) - 2.0 * (grid.axes[1].centers - 1.0) ** 2)
    start_radial = GridMeasure(grid, (shape / shape.sum())[None])
    found = []
    for title, one, measure in ((name, problem, start), ("erf network d = 4", radial, start_radial)):
        last = fixed_steps(one, measure, 0.1, 10)[-1]
        table = tabulate(one, measure.grid)
        found.append(Transient(title, table, last.measure, last.f, stationary(table, last.f)))
    return found


def radial_problem() -> Problem:
    """A reduced single-index problem in d = 4 with few nodes: erf, w trained."""
    law = Population(4, "hermite", (0.0, 1.0, 0.0, 0.4))
    return cases.network_problem("erf", law, ("w",), 0.1, 0.4, count=12)


def _distance(problem: Problem, f: Array, g: Array) -> float:
    return float(np.sum(problem.data.weights * (f - g) ** 2))


def gap_identities() -> list[Check]:
    """I1, I2 and I4: the free-energy gap, the relative entropies and the duality gap, relative to the energy gap."""
    rows = []
    for case in transients():
        table, mass, end = case.table, case.measure.mass, case.end
        problem, tau = table.problem, table.problem.temperature
        gap = meanfield.free_energy(table, mass, case.f) - end.free_energy
        function = 0.5 * _distance(problem, case.f, end.f)
        psi = table.first_variation(problems.residual(problem, case.f))
        proximal = meanfield.gibbs(table, psi).mass
        forward = tau * meanfield.relative_entropy(mass, proximal)
        backward = tau * meanfield.relative_entropy(end.measure.mass, proximal)
        to_end = tau * meanfield.relative_entropy(mass, end.measure.mass)
        dual = meanfield.dual_energy(table, problems.loss_slopes(problem, case.f))
        duality = meanfield.free_energy(table, mass, case.f) - dual
        rows += [
            at_most(f"I1 Pythagoras, {case.name}", abs(gap - function - to_end) / gap, TOLERANCE),
            at_most(f"I2 dual identity, {case.name}", abs(forward - gap - backward - function) / gap, TOLERANCE),
            at_most(f"I4 duality gap = tau KL, {case.name}", abs(duality - forward) / gap, TOLERANCE),
            at_most(f"certificate at rest, {case.name}", end.gap, TOLERANCE),
        ]
    return rows


def dissipation_identity() -> list[Check]:
    """I3: F(0) - F(T) = int int rho |grad mu|^2; the defect of the discrete balance falls with order two."""
    problem = structure_problems()[1][1]
    law = cases.linear_network_case().density
    defects = []
    for cells in (48, 96):
        case = cases.ExactCase("", problem, ((-4.0, 4.5),) * 2, 1.0, law)
        grid = cases.box_grid(problem, case.box, cells)
        start = normalised(grid, law(cases.points_of(grid), 0.0)[None])
        history = fixed_steps(problem, start, 2.4 / cells, cells * 5 // 12)
        energy = np.array([s.free_energy for s in history])
        power = np.array([s.dissipation for s in history])
        dt = np.array([s.dt for s in history[1:]])
        defects.append(abs(energy[-1] - energy[0] + np.sum(0.5 * dt * (power[1:] + power[:-1]))))
    return [
        near("I3 order of dF/dt = -dissipation", float(np.log2(defects[0] / defects[1])), 2.0, 0.1),
        at_most("I3 relative defect", defects[1] / float(energy[0] - energy[-1]), 5e-3),
    ]


def virial() -> list[Check]:
    """I5: int theta_k d_k Psi dpi = tau per coordinate of R^p, so tau (d - 1) for the radius; analytic slopes."""
    rows = []
    for case in transients():
        problem, end = case.table.problem, case.end
        r = problems.residual(problem, end.f)
        for name, count in _dimensions(problem).items():
            integral = float(np.sum(end.measure.mass * _scaled_slope(case.table, end.measure, name, r)))
            rows.append(near(f"I5 virial of {name} / tau, {case.name}", integral / problem.temperature, count, 1e-8))
    return rows


def _dimensions(problem: Problem) -> dict[str, int]:
    return {c.name: c.block for c in problem.moving}


def _scaled_slope(table: Tabulated, measure: GridMeasure, name: str, r: Array) -> Array:
    """theta_k dPsi/dtheta_k on all cells, from the derivative of the activation, written out anew."""
    problem = table.problem
    x, average = datalaws.rotation_average(problem.data)
    coordinate = next(c for c in problem.coordinates if c.name == name)
    value = measure.coordinate(name)
    data = np.zeros(measure.mass.shape)
    names = [c.name for c in problem.coordinates if c.group == "w"]
    amplitude, weights = measure.coordinate("a"), [measure.coordinate(n) for n in names]
    activation = problem.model.activation  # type: ignore[union-attr]
    for t, share in enumerate(average):
        for q in np.flatnonzero(np.abs(r) > 1e-18):
            z = sum(w * x[q, t, k] for k, w in enumerate(weights))
            if name == "a":
                data += share * r[q] * value * activations.evaluate(activation, z)
            else:
                slope = activations.derivative(activation, z)
                data += share * r[q] * amplitude * value * x[q, t, names.index(name)] * slope
    return data + coordinate.weight_decay * value**2


def logistic_problem() -> Problem:
    """The tanh network (a, w) with labels drawn from a log-odds, logistic loss."""
    law = Population(1, "tanh", gain=1.5, scale=2.0)
    square = cases.network_problem("tanh", law, ("a", "w"), 0.05, 0.2)
    return replace(square, data=datalaws.gaussian(law, "logistic", 30), loss="logistic")


def logistic_certificate() -> list[Check]:
    """The duality gap of the logistic loss at rest, and I4 on the way there."""
    problem = logistic_problem()
    start = wide_start(problem)
    table = tabulate(problem, start.grid)
    *_, last = evolve(problem, State(start, 0.0), np.array([0.0, 1.0]), Control(fixed_step=0.1, extend=False))
    end = stationary(table, last.f)
    duality = last.free_energy - meanfield.dual_energy(table, problems.loss_slopes(problem, last.f))
    proximal = meanfield.gibbs(table, table.first_variation(problems.residual(problem, last.f))).mass
    forward = problem.temperature * meanfield.relative_entropy(last.measure.mass, proximal)
    return [
        at_most("certificate at rest, logistic loss", end.gap, TOLERANCE),
        at_most("I4 duality gap = tau KL, logistic loss", abs(duality - forward) / forward, TOLERANCE),
    ]


def wide_start(problem: Problem) -> GridMeasure:
    """The start of the plane problem on a box wide enough for weak weight decay."""
    grid = cases.box_grid(problem, ((-6.0, 6.0),) * 2, 72)
    density = cases.linear_network_case().density(cases.points_of(grid), 0.0)
    return normalised(grid, density[None])
