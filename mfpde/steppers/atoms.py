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
from mfpde.initial import InitialLaw, gauss_nodes, quantile_nodes
from mfpde.measures import ParticleMeasure
from mfpde.pairwise import pairwise_features, pairwise_gradient, pairwise_potential
from mfpde.problem import KINKED, Coordinate, Network, Pairwise, Problem
from mfpde.tabulate.averages import average_cost, averaged, averaged_features

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ORDER = 8
# nodes per moving coordinate: as many as the work of one right-hand side (atoms x data nodes) allows, between these
FEWEST_NODES, MOST_NODES = 14, {1: 400, 2: 96, 3: 36}
WORK = 2e6
# seconds that an average in closed form counts as one evaluation of WORK
AVERAGE = 1e-9
RELATIVE_TOLERANCE = 1e-8
# radii below this are at 0: ten times the absolute tolerance
ABSORBED = 1e-10
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
    """Product Gauss rule of the initial law over all coordinates, frozen ones included.

    One radius alone under a kinked activation takes quantiles instead: such neurons part ways, and the atoms of a Gauss
    rule are large near the divide.
    """
    count = _node_count(problem)
    values, weights = np.zeros((1, 0)), np.ones(1)
    for coordinate in problem.coordinates:
        alone = len(problem.moving) == 1 and coordinate.kind == "radius" and averaged(problem)
        x, p = (quantile_nodes if alone and coordinate.trained else gauss_nodes)(law, coordinate, count)
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
    nodes = float(len(problem.data.y))
    if averaged(problem):
        nodes *= average_cost(problem) / AVERAGE
    elif not isinstance(model, Pairwise):
        nodes *= len(datalaws.rotation_average(problem.data, model.activation not in KINKED)[1])
    return int(np.clip((WORK / nodes) ** (1.0 / moving), FEWEST_NODES, MOST_NODES[moving]))


def _cusped(problem: Problem, coordinate: Coordinate) -> bool:
    """Whether Psi has a cusp where all weights of a neuron vanish: a radius then arrives at 0 in a finite time.

    That is so for a kink of sigma at 0, one radius alone, and no bias that would move the kink.
    """
    model = problem.model
    if not averaged(problem) or not coordinate.trained or coordinate.kind != "radius" or len(problem.data.blocks) > 1:
        return False
    assert isinstance(model, Network)
    return 0.0 in activations.pieces(model.parameters)[0] and all(c.group != "b" for c in problem.coordinates)


class AtomFlow:
    """Predictions, energy and velocity of weighted atoms in the reduced coordinates."""

    def __init__(self, problem: Problem) -> None:
        self.problem, model = problem, problem.model
        self.names = tuple(c.name for c in problem.coordinates)
        self.rates = np.array([c.rate if c.trained else 0.0 for c in problem.coordinates])
        self.decay = np.array([c.weight_decay for c in problem.coordinates])
        self._closed = averaged(problem)
        self.absorbing = np.array([_cusped(problem, c) for c in problem.coordinates])
        if not isinstance(model, Pairwise) and not self._closed:
            x, self._average = datalaws.rotation_average(problem.data, model.activation not in KINKED)
            self._x = np.ascontiguousarray(x.reshape(-1, x.shape[2]))
            self._code = activations.CODES[model.activation]
            self._hermite = model.parameters

    def predict(self, atoms: Array, weights: Array) -> Array:
        """f at the nodes : [n], from atoms [m, p] and weights [m]."""
        model = self.problem.model
        if isinstance(model, Pairwise):
            return weights @ pairwise_features(model, atoms)
        if self._closed:
            return self._weighted(atoms, weights, self._features(atoms)[0])
        out = np.empty(len(self._x))
        interaction.predict(self._code, self._hermite, self._theta(atoms), weights, self._x, out)
        return self.problem.scale * (out.reshape(-1, len(self._average)) @ self._average)

    def velocity(self, atoms: Array, weights: Array) -> Array:
        """-rate grad Psi per atom : [m, p]."""
        problem, model = self.problem, self.problem.model
        if self._closed:
            features = self._features(atoms)
            r = problem.scale * problems.residual(problem, self._weighted(atoms, weights, features[0]))
            slopes = features @ r
            slopes[1:] *= atoms[:, 0]
            return -self.rates * (slopes.T + self.decay * atoms)
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

    def _features(self, atoms: Array) -> Array:
        """phi and its derivatives; within a step a radius may pass 0, where phi goes on along its tangent.

        The integrator then sees a smooth force until the step is cut at 0.
        """
        points = atoms[:, 1:]
        features = averaged_features(self.problem, np.where(self.absorbing[1:], np.maximum(points, 0.0), points))
        for column in np.flatnonzero(self.absorbing[1:]):
            features[0] += np.minimum(points[:, column], 0.0)[:, None] * features[1 + column]
        return features

    def _weighted(self, atoms: Array, weights: Array, features: Array) -> Array:
        """f [n] from the features [m, n] of atoms."""
        return np.asarray(self.problem.scale * ((weights * atoms[:, 0]) @ features))

    def _theta(self, atoms: Array) -> Array:
        theta = np.zeros((self._x.shape[1] + 2, len(atoms)))
        theta[: atoms.shape[1]] = atoms.T
        return theta


def evolve_atoms(
    problem: Problem, measure: ParticleMeasure, times: Array, start: int = 0, next_step: float | None = None
) -> Iterator[AtomSnapshot]:
    """Yield a snapshot at each of ``times`` after index ``start`` (and at the start itself when it is 0).

    Every interval is a fresh integration from ``next_step``, so that a continued run takes the same steps.
    A radius that reaches 0 with a speed left, as behind a knot at 0, is absorbed there until the force turns outward.
    Raises NumericalError if the integrator fails or the energy rises by more than its tolerance explains.
    """
    flow = AtomFlow(problem)
    weights, atoms = measure.weights, measure.atoms
    if start == 0:
        f = flow.predict(atoms, weights)
        energy = flow.energy(atoms, weights, f)
        start_path = (times[:1].astype(float), f[None])
        yield AtomSnapshot(measure, float(times[0]), f, energy, problems.risk(problem, f), 0, None, *start_path)
    for k in range(start, len(times) - 1):
        span = (float(times[k]), float(times[k + 1]))
        path_times = np.linspace(*span, PATH_POINTS + 1)[1:]
        moved = _interval(flow, atoms, weights, span, next_step, path_times[:-1])
        atoms = moved.atoms
        following = times[k + 2] - times[k + 1] if k + 2 < len(times) else np.inf
        next_step = min(moved.step, float(following))
        path = [flow.predict(one, weights) for one in moved.path]
        f = flow.predict(atoms, weights)
        yield AtomSnapshot(
            ParticleMeasure(measure.names, atoms, weights),
            span[1],
            f,
            flow.energy(atoms, weights, f),
            problems.risk(problem, f),
            moved.evaluations,
            next_step,
            path_times,
            np.stack([*path, f]),
        )


@dataclass(frozen=True, eq=False)
class _Moved:
    """Atoms after an interval and at the inner times asked for, the longest step taken, right-hand sides evaluated."""

    atoms: Array
    path: list[Array]
    step: float
    evaluations: int


def _interval(
    flow: AtomFlow, atoms: Array, weights: Array, span: tuple[float, float], step: float | None, inner: Array
) -> _Moved:
    """Integrate over ``span``, piece by piece between absorptions; ``inner`` times are those of ``path``."""
    from scipy.integrate import solve_ivp  # a tenth of a second that only temperature zero needs

    shape, radii = atoms.shape, flow.absorbing
    path: list[Array] = []
    evaluations, longest, time = 0, 0.0, span[0]
    while True:
        # an atom at rest at 0 is held there; one whose force points outward is let go
        held = (atoms <= 0.0) & radii & (flow.velocity(atoms, weights) <= 0.0)

        def right_hand_side(_: float, flat: Array, held: Mask = held) -> Array:
            speed = flow.velocity(flat.reshape(shape), weights)
            speed[held] = 0.0
            return speed.reshape(-1)

        def lowest(_: float, flat: Array, free: Mask = radii & ~held) -> float:
            """The smallest free radius: the integration stops where it passes 0 from above."""
            return float(np.min(flat.reshape(shape), where=free, initial=1.0))

        lowest.terminal, lowest.direction = True, -1.0  # type: ignore[attr-defined]
        solution = solve_ivp(
            right_hand_side,
            (time, span[1]),
            atoms.reshape(-1),
            method="DOP853",
            rtol=RELATIVE_TOLERANCE,
            atol=1e-3 * RELATIVE_TOLERANCE,
            first_step=None if step is None else min(step, span[1] - time),
            dense_output=True,
            events=lowest if np.any(radii) else None,
        )
        end = float(solution.t[-1])
        if not solution.success or not np.all(np.isfinite(solution.y[:, -1])):
            raise NumericalError(f"the atoms could not be integrated past t = {end:g}: {solution.message}")
        evaluations += int(solution.nfev) + 1
        path += [_clamped(solution.sol(t).reshape(shape), radii) for t in inner[len(path) :] if t <= end]
        if len(solution.t) > 1:
            step = float(np.max(np.diff(solution.t)))
            longest = max(longest, step)
        atoms, time = _clamped(solution.y[:, -1].reshape(shape), radii), end
        if solution.status == 0:
            return _Moved(atoms, path, longest, evaluations)


def _clamped(atoms: Array, radii: Mask) -> Array:
    """Atoms with absorbing radii that passed 0, or are within the integrator's error of it, at 0."""
    return np.where(radii & (atoms < ABSORBED), 0.0, atoms)
