"""Numbers known to many digits: closed forms and published branches, against the grid."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from mfpde import meanfield
from mfpde.exact import desai_zwanzig, kuramoto, linear_network, references
from mfpde.measures import Grid, moments
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Population, Problem
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import tabulate
from mfpde.verification import cases
from mfpde.verification.check import Check, at_most, near
from mfpde.verification.structure import gaussian_start


def certified(problem: Problem, grid: Grid, mean: tuple[float, ...], variance: float) -> Stationary:
    """The stationary measure reached from a Gaussian start on ``grid``."""
    table = tabulate(problem, grid)
    return stationary(table, table.predict(gaussian_start(grid, mean, variance).mass))


def linear_network_numbers() -> list[Check]:
    """Overlap M = E a w of mfpde.exact.linear_network: at rest, and at t = 4 by Richardson over two grids."""
    case = cases.linear_network_case()
    exact = linear_network.stationary(target=1.0, weight_decay=0.5, temperature=0.1)
    end = certified(case.problem, cases.box_grid(case.problem, ((-8.0, 8.0),) * 2, 128), (0.8, 0.5), 0.15)
    weights, atoms = end.measure.weights, end.measure.atoms
    overlaps = []
    for cells in (48, 96):
        wide = cases.ExactCase(case.name, case.problem, ((-5.0, 5.0),) * 2, 4.0, case.density)
        measure = cases.run(wide, cells, 4.8 / cells).measure
        overlaps.append(float(np.sum(measure.weights * np.prod(measure.atoms, axis=1))))
    return [
        near("M at rest, linear network", float(np.sum(weights * np.prod(atoms, axis=1))), 0.578958409190, 1e-10),
        near("E a^2 at rest, linear network", float(np.sum(weights * atoms[:, 0] ** 2)), exact.covariance[0, 0], 1e-10),
        near("F at rest, linear network", end.free_energy, exact.free_energy, 1e-10),
        near("M at t = 4, linear network", (4.0 * overlaps[1] - overlaps[0]) / 3.0, 0.5784805146, 2e-6),
    ]


def desai_zwanzig_numbers() -> list[Check]:
    """The magnetised branch at kappa = 1, critical temperatures at kappa = 1/2 and 1 (mfpde.exact.desai_zwanzig)."""
    branch = {0.1: 0.9410911404347, 0.2: 0.8514788571765, 0.3: 0.7054952732089, 0.4: 0.4471064266634}
    rows = []
    for temperature, mean in branch.items():
        problem = pairwise_problem(temperature, potential="double-well", strength=1.0)
        end = certified(problem, cases.box_grid(problem, ((-4.0, 4.0),), 160), (1.0,), 0.1)
        rows.append(near(f"mean, double well, tau = {temperature}", moments(end.measure)["w"][0], mean, 1e-10))
    for strength, critical in ((0.5, 0.26450487655348), (1.0, 0.45694658104446)):
        rows.append(near(f"critical temperature, kappa = {strength}", _critical_temperature(strength), critical, 1e-10))
    state = desai_zwanzig.stationary(1.0, 0.3)
    problem = pairwise_problem(0.3, potential="double-well", strength=1.0)
    end = certified(problem, cases.box_grid(problem, ((-4.0, 4.0),), 160), (1.0,), 0.1)
    return [*rows, near("free energy, double well, tau = 0.3", end.free_energy, state.free_energy, 1e-10)]


def _critical_temperature(strength: float) -> float:
    """The temperature at which kappa E_0 x^2 = tau under the symmetric Gibbs measure of the grid."""

    def excess(temperature: float) -> float:
        problem = pairwise_problem(temperature, potential="double-well", strength=strength)
        table = tabulate(problem, cases.box_grid(problem, ((-4.5, 4.5),), 160))
        mass = meanfield.gibbs(table, table.first_variation(np.zeros(1))).mass[0]
        return strength * float(np.sum(mass * table.grid.axes[0].centers ** 2)) - temperature

    return float(brentq(excess, 0.1, 1.0, xtol=1e-13))


def kuramoto_numbers() -> list[Check]:
    """Order parameter at K/K_c = 1.05, 1.1 and 2, free energy of the synchronised law (mfpde.exact.kuramoto)."""
    rows = []
    for ratio, r in ((1.05, 0.303689343806), (1.1, 0.413388513064), (2.0, 0.831462024754)):
        problem = pairwise_problem(0.5, potential="none", interaction="cosine", strength=ratio)
        end = certified(problem, cases.box_grid(problem, ((-np.pi, np.pi),), 128), (0.4,), 0.5)
        rows.append(near(f"r, Kuramoto, K/K_c = {ratio}", float(np.hypot(*end.f)), r, 1e-10))
    law = kuramoto.modes_of(lambda theta: kuramoto.stationary_density(theta, 2.0, 0.5))
    exact = kuramoto.free_energy(law, 2.0, 0.5)
    return [*rows, near("free energy, Kuramoto, K/K_c = 2", end.free_energy, exact, 1e-10)]


def tanh_neuron_numbers() -> list[Check]:
    """mfpde.exact.references.TANH_NEURON: tanh(theta x) on 60 Gauss-Hermite nodes, to six digits and better."""
    row = references.TANH_NEURON
    law = Population(1, "tanh", gain=row.target_gain, scale=row.target_scale)
    problem = cases.network_problem("tanh", law, ("w",), row.temperature, row.weight_decay)
    end = certified(problem, cases.box_grid(problem, ((-6.0, 6.0),), 256), (0.0,), 1.0)
    first, second = moments(end.measure)["w"][:2]
    return [
        near("F, tanh neuron", end.free_energy, row.free_energy, 1e-9),
        near("risk, tanh neuron", end.risk, row.risk, 1e-8),
        near("E theta, tanh neuron", first, row.first_moment, 1e-8),
        near("E theta^2, tanh neuron", second, row.second_moment, 1e-8),
        at_most("gap, tanh neuron", end.gap, 1e-10),
    ]
