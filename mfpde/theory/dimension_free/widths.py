"""How many neurons an error needs: fluctuation and bias of the risk of N independent neurons, in closed form.

For neurons drawn independently from rho, with r = f - y on the data and psi = scale E r phi the first variation of the
risk (loss 1/2 (f - y)^2, no weight decay),

    R_N - R = (1/N) sum_i (psi(theta_i) - int psi drho) + 1/2 E|f_N - f|^2:

a sum of independent terms of mean zero, and a square whose mean is exact,

    E R_N - R = (1/2N) [int U(theta, theta) drho - int int U drho drho],      U(theta, theta') = scale^2 E phi phi'.

U(theta, theta) is taken in the full dimension of the inputs, not averaged over rotations: two neurons of one reduced
coordinate differ.  The root mean square of R_N - R is then sqrt(v/N + (c/N)^2) up to the variance of the square, a
term of its own order 1/N^2 that is smaller than (c/N)^2 by the number of directions in which f_N fluctuates.
(Mei, Misiakiewicz and Montanari 2019, who write the risk without the 1/2.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.core import activations, interaction, quadrature
from mfpde.errors import ConfigError
from mfpde.measures import Measure
from mfpde.problem import KINKED, Network, Problem, TwoGaussians
from mfpde.steppers.forces import activation_arguments, reduced
from mfpde.tabulate.averages import averaged, averaged_features

Array = NDArray[np.float64]

# Gauss-Hermite nodes of E sigma(z)^2, and atoms taken at once
NODES, CHUNK = 200, 4096


@dataclass(frozen=True)
class Independent:
    """N independent neurons: N Var(first-order part of R_N) = ``fluctuation``, N (E R_N - R) = ``bias``; ``risk`` R."""

    risk: float
    fluctuation: float
    bias: float

    def error(self, width: float) -> float:
        """Root mean square of R_N - R."""
        return float(np.sqrt(self.fluctuation / width + (self.bias / width) ** 2))

    def needed(self, tolerance: float) -> float:
        """N with ``error(N)`` = tolerance."""
        v, c = self.fluctuation, self.bias
        return float((v + np.sqrt(v**2 + 4.0 * (tolerance * c) ** 2)) / (2.0 * tolerance**2))


def independent(problem: Problem, measure: Measure, f: Array) -> Independent:
    """The constants for neurons drawn from ``measure``, whose network is f [n] at the data nodes.

    ConfigError for a loss that is not the square, for which the identity does not hold.
    """
    if problem.loss != "square" or not isinstance(problem.model, Network):
        raise ConfigError("training.loss", f'is "{problem.loss}"; the identity of the bias holds for the square loss')
    atoms, weights = coordinates(problem, measure), measure.weights
    psi = first_variation(problem, atoms, problems.residual(problem, f))
    fluctuation = float(weights @ (psi - weights @ psi) ** 2)
    own = float(weights @ self_energies(problem, atoms))
    bias = 0.5 * (own - float(problem.data.weights @ f**2))
    return Independent(problems.risk(problem, f), fluctuation, bias)


def coordinates(problem: Problem, measure: Measure) -> Array:
    """Atoms in the order of the problem's coordinates : [m, p]."""
    names = list(measure.names)
    return np.ascontiguousarray(measure.atoms[:, [names.index(c.name) for c in problem.coordinates]])


def first_variation(problem: Problem, atoms: Array, residual: Array) -> Array:
    """scale sum_q r_q phi_q at reduced atoms [m, p], features averaged over rotations : [m]."""
    if averaged(problem):
        return np.asarray(problem.scale * atoms[:, 0] * (averaged_features(problem, atoms[:, 1:])[0] @ residual))
    code, parameters = activation_arguments(problem)
    x, average = datalaws.rotation_average(problem.data, _model(problem).activation not in KINKED)
    nodes = np.ascontiguousarray(x.reshape(-1, x.shape[2]))
    r = (problem.scale * residual[:, None] * average).reshape(-1)
    psi = np.empty(len(atoms))
    interaction.potential(code, parameters, _theta(atoms, nodes.shape[1]), nodes, r, psi)
    return psi


def self_energies(problem: Problem, atoms: Array) -> Array:
    """U(theta, theta) = scale^2 E a^2 sigma(<w, x> + b)^2 at reduced atoms [m, p], in the full dimension : [m]."""
    code, parameters = activation_arguments(problem)
    data = problem.data
    blocks = len(data.blocks)
    a, w = atoms[:, 0], atoms[:, 1 : 1 + blocks]
    b = atoms[:, 1 + blocks] if atoms.shape[1] > 1 + blocks else np.zeros(len(atoms))
    own = np.zeros(len(atoms))
    if data.population is None or not (reduced(problem) or isinstance(data.population, TwoGaussians)):
        for start in range(0, len(atoms), CHUNK):
            part = slice(start, start + CHUNK)
            values = np.empty((len(own[part]), len(data.y)))
            x = np.ascontiguousarray(data.x)[:, None, :]
            interaction.features(code, parameters, _theta(atoms[part], blocks), x, np.ones(1), values)
            own[part] = values**2 @ data.weights
        return problem.scale**2 * a**2 * own
    # <w, x> is normal given the label; its standard deviation depends on the blocks alone
    nodes, weights = quadrature.gauss_hermite(NODES)
    for stretched in _stretched(problem, w):
        length = np.sqrt(np.sum(stretched**2, axis=1))
        for start in range(0, len(atoms), CHUNK):
            part = slice(start, start + CHUNK)
            values = activations.fill(code, parameters, np.outer(length[part], nodes) + b[part, None])[0]
            own[part] += values**2 @ weights
    return problem.scale**2 * a**2 * own / len(_stretched(problem, w))


def _stretched(problem: Problem, w: Array) -> list[Array]:
    """Block coordinates of w times the standard deviations of the inputs, for every label."""
    population = problem.data.population
    if not isinstance(population, TwoGaussians):
        return [w]
    rows = []
    for label in (1, -1):
        scaled = w.copy()
        scaled[:, 0] *= population.deviation(label)
        rows.append(scaled)
    return rows


def _theta(atoms: Array, inputs: int) -> Array:
    theta = np.zeros((inputs + 2, len(atoms)))
    theta[: atoms.shape[1]] = atoms.T
    return theta


def _model(problem: Problem) -> Network:
    assert isinstance(problem.model, Network)
    return problem.model
