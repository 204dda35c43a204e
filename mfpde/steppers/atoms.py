"""Temperature zero: the flow transports atoms, dtheta/dt = -rate grad Psi, with weights that never change.

The initial law becomes weighted atoms at the nodes of Gauss rules, so that smooth integrals over it converge faster
than any power; between requested times an adaptive Runge-Kutta pair of order 8 (DOP853) integrates all atoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.core import activations, interaction
from mfpde.errors import NumericalError
from mfpde.initial import InitialLaw, gauss_nodes
from mfpde.measures import ParticleMeasure
from mfpde.pairwise import pairwise_features, pairwise_gradient, pairwise_potential
from mfpde.problem import Pairwise, Problem

Array = NDArray[np.float64]

ORDER = 8
# nodes per moving coordinate: as many as the work of one right-hand side (atoms x data nodes) allows, between these
FEWEST_NODES, MOST_NODES = 14, {1: 400, 2: 96, 3: 36}
WORK = 2e6
RELATIVE_TOLERANCE = 1e-8
# predictions are kept at this many times per interval: what drives the copies of an ensemble
PATH_POINTS = 8


@dataclass(frozen=True, eq=False)
class AtomSnapshot:
    """The atoms at a requested time; ``evaluations`` counts right-hand sides since the one before.

    path_times [m], path_f [m, n]: predictions since the requested time before, itself excluded.
    """

    measure: ParticleMeasure
    time: float
    f: Array
    free_energy: float
    risk: float
    evaluations: int
    next_step: float | None
    path_times: Array
    path_f: Array


def initial_atoms(problem: Problem, law: InitialLaw) -> ParticleMeasure:
    """Product Gauss rule of the initial law over all coordinates, frozen ones included."""
    count = _node_count(problem)
    values, weights = np.zeros((1, 0)), np.ones(1)
    for coordinate in problem.coordinates:
        x, p = gauss_nodes(law, coordinate, count)
        values = np.concatenate([np.repeat(values, len(x), axis=0), np.tile(x, len(values))[:, None]], axis=1)
        weights = np.repeat(weights, len(x)) * np.tile(p, len(weights))
        keep = weights > datalaws.SMALLEST_WEIGHT
        values, weights = values[keep], weights[keep]
    return ParticleMeasure(tuple(c.name for c in problem.coordinates), values, weights / weights.sum())


def _node_count(problem: Problem) -> int:
    """Analytic flows converge with a dozen nodes; where neurons part ways only many small atoms resolve the divide."""
    moving, model = len(problem.moving), problem.model
    if moving not in MOST_NODES:
        return 8
    nodes = len(problem.data.y)
    if not isinstance(model, Pairwise):
        nodes *= len(datalaws.rotation_average(problem.data, model.activation != "relu")[1])
    return int(np.clip((WORK / nodes) ** (1.0 / moving), FEWEST_NODES, MOST_NODES[moving]))


class AtomFlow:
    """Predictions, energy and velocity of weighted atoms in the reduced coordinates."""

    def __init__(self, problem: Problem) -> None:
        self.problem, model = problem, problem.model
        self.names = tuple(c.name for c in problem.coordinates)
        self.rates = np.array([c.rate if c.trained else 0.0 for c in problem.coordinates])
        self.decay = np.array([c.weight_decay for c in problem.coordinates])
        if not isinstance(model, Pairwise):
            x, self._average = datalaws.rotation_average(problem.data, model.activation != "relu")
            self._x = np.ascontiguousarray(x.reshape(-1, x.shape[2]))
            self._code = activations.CODES[model.activation]
            self._hermite = np.asarray(model.hermite or (0.0,), float)

    def predict(self, atoms: Array, weights: Array) -> Array:
        """f at the nodes : [n], from atoms [m, p] and weights [m]."""
        model = self.problem.model
        if isinstance(model, Pairwise):
            return weights @ pairwise_features(model, atoms)
        out = np.empty(len(self._x))
        interaction.predict(self._code, self._hermite, self._theta(atoms), weights, self._x, out)
        return self.problem.scale * (out.reshape(-1, len(self._average)) @ self._average)

    def velocity(self, atoms: Array, weights: Array) -> Array:
        """-rate grad Psi per atom : [m, p]."""
        problem, model = self.problem, self.problem.model
        r = problems.residual(problem, self.predict(atoms, weights))
        if isinstance(model, Pairwise):
            return -self.rates * (pairwise_gradient(model, atoms, r) + self.decay * atoms)
        pulled = np.empty((self._x.shape[1] + 2, len(atoms)))
        r_all = problem.scale * (r[:, None] * self._average).reshape(-1)
        interaction.pullback(self._code, self._hermite, self._theta(atoms), self._x, r_all, pulled)
        return -self.rates * (pulled[: len(self.names)].T + self.decay * atoms)

    def energy(self, atoms: Array, weights: Array, f: Array) -> float:
        """risk + int V: the free energy at temperature zero."""
        value = 0.5 * float(np.sum(weights[:, None] * self.decay * atoms**2))
        if isinstance(self.problem.model, Pairwise):
            value += float(weights @ pairwise_potential(self.problem.model, atoms))
        return problems.risk(self.problem, f) + value

    def _theta(self, atoms: Array) -> Array:
        theta = np.zeros((self._x.shape[1] + 2, len(atoms)))
        theta[: atoms.shape[1]] = atoms.T
        return theta


def evolve_atoms(
    problem: Problem, measure: ParticleMeasure, times: Array, start: int = 0, next_step: float | None = None
) -> Iterator[AtomSnapshot]:
    """Yield a snapshot at each of ``times`` after index ``start`` (and at the start itself when it is 0).

    Every interval is a fresh integration from ``next_step``, so that a continued run takes the same steps.
    Raises NumericalError if the integrator fails or the energy rises by more than its tolerance explains.
    """
    from scipy.integrate import solve_ivp  # a tenth of a second that only temperature zero needs

    flow = AtomFlow(problem)
    weights, shape = measure.weights, measure.atoms.shape
    atoms = measure.atoms

    def right_hand_side(_: float, flat: Array) -> Array:
        return flow.velocity(flat.reshape(shape), weights).reshape(-1)

    if start == 0:
        f = flow.predict(atoms, weights)
        energy = flow.energy(atoms, weights, f)
        start_path = (times[:1].astype(float), f[None])
        yield AtomSnapshot(measure, float(times[0]), f, energy, problems.risk(problem, f), 0, None, *start_path)
    for k in range(start, len(times) - 1):
        span = (float(times[k]), float(times[k + 1]))
        solution = solve_ivp(
            right_hand_side,
            span,
            atoms.reshape(-1),
            method="DOP853",
            rtol=RELATIVE_TOLERANCE,
            atol=1e-3 * RELATIVE_TOLERANCE,
            first_step=next_step,
            dense_output=True,
        )
        if not solution.success or not np.all(np.isfinite(solution.y[:, -1])):
            raise NumericalError(f"the atoms could not be integrated past t = {solution.t[-1]:g}: {solution.message}")
        atoms = solution.y[:, -1].reshape(shape)
        following = times[k + 2] - times[k + 1] if k + 2 < len(times) else np.inf
        next_step = float(min(np.max(np.diff(solution.t)), following))
        path_times = np.linspace(*span, PATH_POINTS + 1)[1:]
        path = [flow.predict(solution.sol(t).reshape(shape), weights) for t in path_times[:-1]]
        f = flow.predict(atoms, weights)
        yield AtomSnapshot(
            ParticleMeasure(measure.names, atoms, weights),
            span[1],
            f,
            flow.energy(atoms, weights, f),
            problems.risk(problem, f),
            int(solution.nfev),
            next_step,
            path_times,
            np.stack([*path, f]),
        )
