"""The total-variation problem on measures of neurons, solved by sliding Frank-Wolfe with a dual certificate.

    min over nu of  J(nu) = 1/2 sum_q c_q (f_nu(x_q) - y_q)^2 + penalty |nu|_TV,      f_nu = int sigma(<w, x> + b) dnu,
    max over p of   1/2 |y|^2 - 1/2 |y - p|^2   with   |sum_q c_q p_q sigma(<w, x_q> + b)| <= penalty for all (w, b).

nu is optimal iff eta = <y - f_nu, sigma(<w, .> + b)> / penalty has sup |eta| <= 1 and is the sign of nu on its support;
any nu gives a lower bound, its residual scaled into the constraint.  Each iteration adds neurons where |eta| > 1 is
largest, solves for the amplitudes alone, then moves amplitudes and neurons together (Denoyelle, Duval, Peyre, Soubies
2019, arXiv 1811.06416; Boyd, Schiebinger, Recht 2017, arXiv 1507.01562).  mfpde's reading of the sparse dictionary of
arXiv:2605.24710; the article's text was not available.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory import neurons
from mfpde.theory.neurons import Regression
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]

MAX_ITERATIONS = 200
# places where |eta| is evaluated, and from how many of their summits it is maximised
CANDIDATES, STARTS = 4096, 24
# features kept for all candidates: 128 MB
_LARGEST_TABLE = 1 << 24
# neurons of one sign closer than this chord are tried as one
CLOSE = 0.3
_SLIDES = 100
_LARGEST_TURN = 0.3


@dataclass(frozen=True, eq=False)
class TotalVariation:
    """The measure found: ``atoms``, ``objective`` J, ``dual`` <= min J, ``gap`` = J - dual, ``certificate`` sup |eta|.

    The dual value is as rigorous as the maximum of |eta| is global: the largest over all candidates, followed by
    Newton ascents from the best of them and from the atoms.  ``trace`` [iterations, 4]: J, dual, sup |eta|, atoms.
    """

    atoms: Atoms
    penalty: float
    objective: float
    dual: float
    gap: float
    certificate: float
    iterations: int
    trace: Array


class State(NamedTuple):
    """Amplitudes [S] and units [S, D]."""

    a: Array
    u: Array


class Search(NamedTuple):
    """Candidates [count, D], the nearest of each [count, k], and their features [count, n] where they fit."""

    units: Array
    neighbours: NDArray[np.intp]
    features: Array | None


def largest_penalty(problem: Regression, places: Search | None = None) -> float:
    """sup |<y, sigma_u>|: at this penalty and above the zero measure is optimal."""
    places = search(problem) if places is None else places
    return float(np.max(np.abs(peaks(problem, problem.y, places)[1])))


def solve(
    problem: Regression,
    penalty: float,
    tolerance: float = 5e-7,
    start: Atoms | None = None,
    places: Search | None = None,
) -> TotalVariation:
    """Minimise J until sup |eta| <= 1 + ``tolerance``; ``start`` warms it up, ``places`` are the candidates.

    ConfigError for a penalty that is not positive; NotConverged after MAX_ITERATIONS.
    """
    if not penalty > 0.0:
        raise ConfigError("penalty", f"is {penalty:g}; the total-variation problem needs a positive one")
    places = search(problem) if places is None else places
    state = State(np.zeros(0), np.zeros((0, problem.lifted.shape[1])))
    if start is not None and len(start.a):
        state = _improved(problem, State(start.a, neurons.from_atoms(problem, start)), penalty)
    trace: list[tuple[float, float, float, float]] = []
    while True:
        r = residual(problem, state)
        units, values = peaks(problem, r, places, state.u)
        certificate = float(np.max(np.abs(values))) / penalty
        objective, dual = _bounds(problem, r, state.a, penalty, certificate)
        trace.append((objective, dual, certificate, len(state.a)))
        if certificate <= 1.0 + tolerance:
            break
        if len(trace) >= MAX_ITERATIONS:
            raise NotConverged(
                f"the total-variation problem still has sup|eta| = 1 + {certificate - 1.0:.2g} after"
                f" {MAX_ITERATIONS} iterations",
                "raise the penalty or the tolerance",
            )
        above = np.abs(values) > penalty * (1.0 + 0.1 * min(certificate - 1.0, 1.0))
        state = _inserted(problem, state, units[above], np.sign(values[above]), penalty)
    atoms = neurons.to_atoms(problem, *state)
    return TotalVariation(atoms, penalty, objective, dual, objective - dual, certificate, len(trace), np.array(trace))


def residual(problem: Regression, state: State) -> Array:
    """y - f at the nodes : [n]."""
    return problem.y - state.a @ neurons.features(problem, state.u) if len(state.a) else problem.y.copy()


def _bounds(problem: Regression, r: Array, a: Array, penalty: float, certificate: float) -> tuple[float, float]:
    """(J, the dual value of the residual scaled by the best feasible factor)."""
    square, along = float(problem.weights @ r**2), float(problem.weights @ (problem.y * r))
    reach = 1.0 / max(certificate, 1e-300)
    factor = float(np.clip(along / square, -reach, reach)) if square > 0.0 else 0.0
    # |y|^2/2 - |y - s r|^2/2
    return 0.5 * square + penalty * float(np.sum(np.abs(a))), factor * along - 0.5 * factor**2 * square


def search(problem: Regression, count: int = CANDIDATES) -> Search:
    """``count`` candidates over the domain, one of every family of twins."""
    units = neurons.candidates(problem, count)
    neighbours = cKDTree(units).query(units, 2 * units.shape[1] + 1)[1]
    fits = units.shape[0] * len(problem.y) <= _LARGEST_TABLE
    return Search(units, neighbours, neurons.features(problem, units) if fits else None)


def peaks(problem: Regression, r: Array, places: Search, atoms: Array | None = None) -> tuple[Array, Array]:
    """Distinct local maxima of |<r, sigma_u>| : (units [k, D], signed values [k]), from candidates and atoms."""
    if places.features is None:
        sizes = np.abs(neurons.correlations(problem, places.units, r))
    else:
        sizes = np.abs(places.features @ (problem.weights * r))
    summits = np.flatnonzero(sizes >= np.max(sizes[places.neighbours], axis=1))
    best = summits[np.argsort(-sizes[summits], kind="stable")[:STARTS]]
    first = places.units[best] if atoms is None else np.concatenate([places.units[best], atoms])
    units, values = neurons.ascend(problem, first, r)
    kept: list[int] = []
    for k in np.argsort(-np.abs(values), kind="stable"):
        if not kept or np.min(neurons.chords(problem, units[k : k + 1], units[kept])) > 1e-3:
            kept.append(int(k))
    return units[kept], values[kept]


def _inserted(problem: Regression, state: State, units: Array, signs: Array, penalty: float) -> State:
    """The state after adding neurons, best amplitudes, and a joint move of everything."""
    u = np.concatenate([state.u, units])
    signs = np.concatenate([np.sign(state.a), signs])
    return _improved(problem, State(_amplitudes(problem, u, signs, penalty), u), penalty)


def _improved(problem: Regression, state: State, penalty: float) -> State:
    """Neurons without amplitude dropped, the others moved; close ones of one sign made one where that is no worse."""
    state = slide(problem, _pruned(state), penalty)
    while True:
        pair = _closest(problem, state)
        if pair is None:
            return state
        joined = slide(problem, merged(problem, state, *pair), penalty)
        if _objective(problem, joined, penalty) > _objective(problem, state, penalty) * (1.0 + 1e-13):
            return state
        state = joined


def _pruned(state: State) -> State:
    kept = state.a != 0.0
    return State(state.a[kept], state.u[kept])


def _closest(problem: Regression, state: State) -> tuple[int, int] | None:
    """The two neurons that are closest, if closer than CLOSE and of one sign as twins."""
    if len(state.a) < 2:
        return None
    chords = neurons.chords(problem, state.u, state.u)
    for i, j in np.stack(np.unravel_index(np.argsort(chords, axis=None, kind="stable"), chords.shape), axis=1):
        if chords[i, j] >= CLOSE:
            return None
        if i < j and state.a[i] * state.a[j] * neurons.nearest_twin(problem, state.u[j], state.u[i])[1] > 0.0:
            return int(i), int(j)
    return None


def merged(problem: Regression, state: State, i: int, j: int) -> State:
    """Neurons i and j as one at their weighted mean, the nearest twin of j taken."""
    twin, factor = neurons.nearest_twin(problem, state.u[j], state.u[i])
    share = np.abs(state.a[[i, j]])
    mean = neurons.normalised(problem, share[0] * state.u[i] + share[1] * twin)
    rest = np.delete(np.arange(len(state.a)), [i, j])
    amplitude = state.a[i] + factor * state.a[j]
    return State(np.append(state.a[rest], amplitude), np.concatenate([state.u[rest], mean[None]]))


def _amplitudes(problem: Regression, u: Array, signs: Array, penalty: float) -> Array:
    """argmin of J over amplitudes with the given signs [S]: least squares in z >= 0 with the penalty completed."""
    root = np.sqrt(problem.weights)
    columns = (signs[:, None] * neurons.features(problem, u) * root).T
    scale = np.linalg.norm(columns, axis=0)
    scale[scale == 0.0] = 1.0
    size = 1e-7 * np.eye(len(signs))  # a ridge of 1e-14: neurons that coincide would make R singular
    q, upper = np.linalg.qr(np.concatenate([columns / scale, size]))
    shift = np.linalg.solve(upper.T, penalty / scale)
    z, _ = nnls(upper, q[: len(root)].T @ (root * problem.y) - shift, maxiter=100 * len(signs))
    return np.asarray(signs * z / scale)


def _objective(problem: Regression, state: State, penalty: float) -> float:
    return 0.5 * float(problem.weights @ residual(problem, state) ** 2) + penalty * float(np.sum(np.abs(state.a)))


def slide(problem: Regression, state: State, penalty: float) -> State:
    """A local minimum of J over amplitudes of fixed sign and neurons, by damped Newton steps.

    A neuron whose amplitude a step would turn stops at zero and is dropped.
    """
    value = _objective(problem, state, penalty)
    size = np.inf
    for _ in range(_SLIDES):
        if not len(state.a):
            break
        q = neurons.tangents(problem, state.u)
        step, reached = _descent(problem, state, penalty, q)
        amplitudes, turns = step[:, 0], step[:, 1:]
        longest = float(np.max(np.linalg.norm(turns, axis=1), initial=0.0))
        scale = min(1.0, _LARGEST_TURN / max(longest, 1e-300))
        crossing = amplitudes * np.sign(state.a) < -np.abs(state.a)
        limit = np.min(np.abs(state.a[crossing] / amplitudes[crossing]), initial=1.0)
        hits = limit < scale
        scale = min(scale, float(limit))
        for _ in range(30):
            a = state.a + scale * amplitudes
            if hits:
                a[np.abs(a) < 1e-12 * np.abs(state.a)] = 0.0
            trial = State(a, neurons.moved(problem, state.u, q, scale * turns))
            trial_value = _objective(problem, trial, penalty)
            if trial_value < value:
                break
            scale, hits = 0.5 * scale, False
        # near the minimum J no longer shows progress, the gradient still does
        if trial_value >= value and not (reached < size and trial_value <= value * (1.0 + 1e-14)):
            break
        stalled = trial_value >= value
        state, value = _pruned(trial), trial_value
        size = reached if stalled else np.inf
        if reached <= 1e-15 * value and stalled:
            break
    return state


def _descent(problem: Regression, state: State, penalty: float, q: Array) -> tuple[Array, float]:
    """(|H|^(-1)-scaled descent step [S, 1 + m], predicted decrease) of J in amplitudes and tangent coordinates.

    Turns are scaled by sqrt(|a|): their curvature is then of one size for weak and strong neurons.
    """
    a, u = state
    c, r = problem.weights, residual(problem, state)
    local = neurons.jet(problem, u, q, r)
    count, m = len(a), q.shape[2]
    weight = np.sqrt(np.abs(a))
    turns = (np.sign(a) * weight)[:, None, None] * neurons.turned(problem, u, q)
    jacobian = np.concatenate([neurons.features(problem, u)[:, None], turns], axis=1).reshape(count * (1 + m), -1)
    gradient = np.concatenate(
        [(penalty * np.sign(a) - local.value)[:, None], -(np.sign(a) * weight)[:, None] * local.gradient], axis=1
    )
    hessian = ((jacobian * c) @ jacobian.T).reshape(count, 1 + m, count, 1 + m)
    mixed = -local.gradient / weight[:, None]
    for k in range(count):
        hessian[k, 0, k, 1:] += mixed[k]
        hessian[k, 1:, k, 0] += mixed[k]
        hessian[k, 1:, k, 1:] -= np.sign(a[k]) * local.hessian[k]
    curvature, basis = np.linalg.eigh(hessian.reshape(count * (1 + m), -1))
    along = basis.T @ gradient.reshape(-1)
    curvature = np.maximum(np.abs(curvature), 1e-14 * np.max(np.abs(curvature)))
    step = -(basis @ (along / curvature)).reshape(count, 1 + m)
    step[:, 1:] /= weight[:, None]
    return step, 0.5 * float(np.sum(along**2 / curvature))
