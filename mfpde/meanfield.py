"""Energies of a measure on a grid: risk, entropy, free energy, dual, dissipation, Gibbs measures.

    F(rho) = risk + int V drho + tau H(rho),      H(rho) = sum_k p_k int rho_k log rho_k  (full-dimensional densities)
    D(g)   = -sum_q c_q l*(g_q) - tau sum_k p_k log int exp(-Psi_g/tau),      D <= min F <= F  for a convex risk
    F(rho) - D(l'(f_rho)) = tau KL(rho | p_rho),      p_rho the Gibbs measure of Psi[rho]

(Nitanda, Wu, Suzuki 2022, arXiv 2201.10469, Theorem 3.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mfpde import problem as problems
from mfpde.measures import GridMeasure
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gibbs:
    """exp(-Psi/tau) normalised in each species: masses and the log of the partition function of each species [K]."""

    mass: Array
    log_partition: Array


def predict(table: Tabulated, measure: GridMeasure) -> Array:
    """f_rho at the nodes : [n]."""
    return table.predict(measure.mass)


def risk(table: Tabulated, measure: GridMeasure) -> float:
    """sum_q c_q l(f_q, y_q)."""
    return problems.risk(table.problem, predict(table, measure))


def first_variation(table: Tabulated, measure: GridMeasure) -> Array:
    """Psi[rho] on all cells : [K, n_1, ..., n_D]."""
    return table.first_variation(problems.residual(table.problem, predict(table, measure)))


def entropy(table: Tabulated, mass: Array) -> float:
    """H(rho), the entropy of the full-dimensional law conditional on the frozen parameters."""
    grid = table.grid
    share = grid.species_weights(mass.ndim - 1)
    return float(np.sum(mass * (np.log(mass / share) - grid.log_volume)))


def free_energy(table: Tabulated, mass: Array, f: Array | None = None) -> float:
    """F(rho); pass the predictions ``f`` if they are known."""
    f = table.predict(mass) if f is None else f
    confinement = float(np.sum(mass * table.potential))
    tau = table.problem.temperature
    return problems.risk(table.problem, f) + confinement + (tau * entropy(table, mass) if tau > 0.0 else 0.0)


def gibbs(table: Tabulated, psi: Array) -> Gibbs:
    """The Gibbs measure of a potential on all cells, species by species."""
    log_weight = table.grid.log_volume - psi / table.problem.temperature
    trailing = tuple(range(1, psi.ndim))
    log_partition = logsumexp(log_weight, axis=trailing, keepdims=True)
    mass = np.exp(log_weight - log_partition) * table.grid.species_weights(psi.ndim - 1)
    return Gibbs(mass, log_partition.reshape(-1))


def dual_energy(table: Tabulated, g: Array, psi: Array | None = None) -> float:
    """D(g) of the residual variables g [n]; a lower bound of F for a convex risk."""
    c, tau = table.problem.data.weights, table.problem.temperature
    psi = table.first_variation(c * g) if psi is None else psi
    trailing = tuple(range(1, psi.ndim))
    log_partition = logsumexp(table.grid.log_volume - psi / tau, axis=trailing)
    conjugate = float(np.sum(c * problems.conjugate_values(table.problem, g))) - table.problem.data.offset
    return -conjugate - tau * float(np.sum(table.grid.species.probabilities * log_partition))


def relative_entropy(mass: Array, reference: Array) -> float:
    """KL(rho | pi) of two mass arrays of the same grid and species."""
    return float(np.sum(mass * (np.log(mass) - np.log(np.maximum(reference, 1e-300)))))


def optimality_gap(table: Tabulated, mass: Array, f: Array) -> float:
    """F(rho) - D(l'(f_rho)) = tau KL(rho | p_rho) : bounds F(rho) - min F from above for a convex risk.

    At temperature 0 its limit int Psi drho - min Psi, a bound for measures on the cells of this grid.
    """
    tau = table.problem.temperature
    if tau == 0.0:
        psi = table.first_variation(problems.residual(table.problem, f))
        lowest = psi.min(axis=tuple(range(1, mass.ndim)))
        return float(np.sum(mass * psi) - np.sum(table.grid.species.probabilities * lowest))
    log_weight = table.grid.log_volume - table.first_variation(problems.residual(table.problem, f)) / tau
    trailing = tuple(range(1, mass.ndim))
    log_partition = logsumexp(log_weight, axis=trailing, keepdims=True)
    share = table.grid.species_weights(mass.ndim - 1)
    return tau * float(np.sum(mass * (np.log(mass / share) - log_weight + log_partition)))


def dissipation(table: Tabulated, mass: Array, f: Array) -> float:
    """int rho |grad(Psi + tau log rho)|^2 (learning rates included), by centred differences on the faces."""
    mu = table.first_variation(problems.residual(table.problem, f))
    if table.problem.temperature > 0.0:
        mu += table.problem.temperature * (np.log(mass) - table.grid.log_volume)
    total = 0.0
    for k, axis in enumerate(table.grid.axes):
        slope = np.diff(mu, axis=k + 1) / axis.width
        ratio = np.diff(np.log(mass), axis=k + 1)
        lower = below_faces(mass, k)
        # logarithmic mean of the two masses: the weight for which the discrete chain rule is exact
        small = np.abs(ratio) < 1e-6
        weight = np.where(small, lower * (1.0 + 0.5 * ratio), np.diff(mass, axis=k + 1) / np.where(small, 1.0, ratio))
        total += axis.coordinate.rate * float(np.sum(weight * slope**2))
        if axis.periodic:
            first, last = np.take(mu, 0, axis=k + 1), np.take(mu, -1, axis=k + 1)
            mean = 0.5 * (np.take(mass, 0, axis=k + 1) + np.take(mass, -1, axis=k + 1))
            total += axis.coordinate.rate * float(np.sum(mean * ((first - last) / axis.width) ** 2))
    return total


def below_faces(values: Array, k: int) -> Array:
    """Values [K, n_1, ..., n_D] of the cell below every inner face of axis k: all but the last, a view."""
    return values[(slice(None),) * (k + 1) + (slice(-1),)]


def boundary_mass(measure: GridMeasure) -> dict[tuple[int, int], float]:
    """Mass in the outermost cells of each open side, keyed (axis, -1 or +1); a radius from 0 has no lower side."""
    sides: dict[tuple[int, int], float] = {}
    for k, axis in enumerate(measure.grid.axes):
        if axis.periodic:
            continue
        one = measure.marginal(axis.name)[1]
        if not (axis.coordinate.kind == "radius" and axis.lower == 0.0):
            sides[k, -1] = float(one[0])
        sides[k, 1] = float(one[-1])
    return sides
