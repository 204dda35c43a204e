"""Least-squares refits of atomic measures without a penalty: polishing, thinning, and the recovery of a teacher.

A total-variation solution is biased: amplitudes shrink by about penalty/|sigma_u|^2, and neurons move with them.  From
it, Levenberg-Marquardt on all amplitudes and neurons reaches the least-squares fit; a noise-free teacher is then met to
round-off.  Neurons that are not needed are found by leaving one out, or making one of two, and polishing again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.theory import neurons, total_variation
from mfpde.theory.neurons import Regression
from mfpde.theory.parity import reflection
from mfpde.theory.ridge import Atoms
from mfpde.theory.total_variation import State, TotalVariation

Array = NDArray[np.float64]

# relative residual below which a fit counts as exact
EXACT = 1e-10
# penalties tried, as shares of the largest
SHARES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_POLISH_STEPS = 300
_DAMPING = 1e-16, 1e-3, 1e8
# chord below which neurons count as on one line; lines whose sides are all tried, and how many choices are polished
_ONE_LINE = 0.1
_MOST_LINES = 10
_FEW = 4


@dataclass(frozen=True, eq=False)
class Recovery:
    """``atoms`` refitted without penalty, ``residual`` |f - y|/|y|, ``exact`` whether it is at most EXACT.

    ``solution`` is the total-variation solution they come from, with its certificate.
    """

    atoms: Atoms
    residual: float
    exact: bool
    solution: TotalVariation


def recover(problem: Regression, shares: tuple[float, ...] = SHARES, tolerance: float = 5e-7) -> Recovery:
    """The fewest neurons found that fit the data exactly: total variation at falling penalties, polish, thin.

    Stops at the first penalty, ``shares`` of the largest, whose polished solution is exact; otherwise the fit at the
    last one is returned with ``exact`` False (noisy or unrealizable targets, neurons too close for double precision).
    ConfigError for a ball with biases: there a neuron is a positive mixture of steeper ones of the same variation,
    tanh(z) = 2/pi int tanh(2 (z - t)) sech(2 t) dt, and no penalty tells them apart.
    """
    if problem.domain.kind == "ball" and problem.domain.bias > 0.0:
        raise ConfigError(
            "domain",
            "is a ball with biases, where mixtures of steeper neurons cost as much as the teacher's",
            "fix |w| by a sphere, or search with sparse_depth(problem, 0)",
        )
    places = total_variation.search(problem)
    largest = total_variation.largest_penalty(problem, places)
    start: Atoms | None = None
    for share in shares:
        solution = total_variation.solve(problem, share * largest, tolerance, start, places)
        start = solution.atoms
        state = polish(problem, State(start.a, neurons.from_atoms(problem, start)))
        missed = relative_residual(problem, state)
        if missed <= EXACT:
            state = thinned(problem, state, EXACT)
            missed = relative_residual(problem, state)
            break
    return Recovery(neurons.to_atoms(problem, *state), missed, missed <= EXACT, solution)


def relative_residual(problem: Regression, state: State) -> float:
    """|f - y|/|y| in L2 of the data law; |f| where y = 0."""
    c = problem.weights
    size = float(c @ problem.y**2)
    missed = float(c @ total_variation.residual(problem, state) ** 2)
    return float(np.sqrt(missed / size)) if size > 0.0 else float(np.sqrt(missed))


def refitted(problem: Regression, units: Array) -> State:
    """Units [S, D] with their least-squares amplitudes."""
    root = np.sqrt(problem.weights)
    columns = (neurons.features(problem, units) * root).T
    return State(np.asarray(np.linalg.lstsq(columns, root * problem.y, rcond=1e-14)[0], np.float64), units)


def polish(problem: Regression, state: State) -> State:
    """A local least-squares fit in amplitudes and neurons: Levenberg-Marquardt in tangent coordinates, columns scaled.

    One decomposition of the Jacobian serves all dampings of a step; its condition number enters once, not squared.
    """
    root = np.sqrt(problem.weights)
    missed = root * total_variation.residual(problem, state)
    damping = _DAMPING[1]
    for _ in range(_POLISH_STEPS if len(state.a) else 0):
        q = neurons.tangents(problem, state.u)
        turns = state.a[:, None, None] * neurons.turned(problem, state.u, q)
        columns = np.concatenate([neurons.features(problem, state.u)[:, None], turns], axis=1)
        jacobian = (columns.reshape(-1, len(root)) * root).T
        scale = np.linalg.norm(jacobian, axis=0)
        scale[scale == 0.0] = 1.0
        left, singular, right = np.linalg.svd(jacobian / scale, full_matrices=False)
        before, along = float(missed @ missed), left.T @ missed
        while True:
            step = ((right.T @ (singular * along / (singular**2 + damping))) / scale).reshape(len(state.a), -1)
            trial = State(state.a + step[:, 0], neurons.moved(problem, state.u, q, step[:, 1:]))
            trial_missed = root * total_variation.residual(problem, trial)
            after = float(trial_missed @ trial_missed)
            if after < before or damping >= _DAMPING[2]:
                break
            damping *= 10.0
        if after >= before:
            break
        state, missed, damping = trial, trial_missed, max(0.03 * damping, _DAMPING[0])
        if before - after < 1e-9 * before and damping < 1e-6:
            break
    return state


def thinned(problem: Regression, state: State, tolerance: float) -> State:
    """Fewer neurons with a relative residual of at most ``tolerance``.

    Weak ones left out, close ones made one, and for sigma(z) - sigma(-z) linear in z some reflected: neurons on
    opposite sides may stand for a linear function that the reflections take up.
    """
    while len(state.a):
        ways = (_without_one(problem, state), _with_two_as_one(problem, state), _reflected(problem, state))
        for smaller in chain(*ways):
            trial = polish(problem, smaller)
            if relative_residual(problem, trial) <= tolerance:
                state = trial
                break
        else:
            break
    return state


def _without_one(problem: Regression, state: State) -> list[State]:
    """The states with one neuron left out, the weakest first."""
    size = np.abs(state.a) * np.sqrt(neurons.features(problem, state.u) ** 2 @ problem.weights)
    return [refitted(problem, np.delete(state.u, k, axis=0)) for k in np.argsort(size, kind="stable")]


def _with_two_as_one(problem: Regression, state: State) -> list[State]:
    """The states with two close neurons made one, the closest first."""
    chords = neurons.chords(problem, state.u, state.u)
    pairs = [(i, j) for i, j in zip(*np.triu_indices(len(state.a), 1)) if chords[i, j] < total_variation.CLOSE]
    pairs.sort(key=lambda pair: float(chords[pair]))
    return [total_variation.merged(problem, state, int(i), int(j)) for i, j in pairs]


def _reflected(problem: Regression, state: State) -> list[State]:
    """One neuron on each line, on either side, where that is fewer: the choices that fit best before polishing."""
    mirror = reflection(problem.activation, problem.hermite)
    if mirror.kind != "even" or mirror.offset == 0.0:
        return []
    lines: list[Array] = []
    for u in state.u[np.argsort(-np.abs(state.a), kind="stable")]:
        if not lines or np.min(neurons.chords(problem, np.stack([u, -u]), np.stack(lines))) > _ONE_LINE:
            lines.append(u)
    if len(lines) >= len(state.a) or len(lines) > _MOST_LINES:
        return []
    choices = [np.array(sides)[:, None] * np.stack(lines) for sides in product((1.0, -1.0), repeat=len(lines))]
    trials = [refitted(problem, units) for units in choices]
    return sorted(trials, key=lambda trial: relative_residual(problem, trial))[:_FEW]
