"""Does weight decay confine the neurons?  The normalisability margin of positively homogeneous activations.

For phi = a relu(<w, x> + b) with a and w trained, the Gibbs measure of Psi = a g(w, b) + weight decay can be normalised
only if   lambda_a (lambda_w |w|^2 + lambda_b b^2) > g(w, b)^2   in every direction, g(w, b) = E[r relu(<w, x> + b)].
At the stationary measure of a square loss this holds by itself (the free energy is coercive); at the initial residual
it may fail, and then moments first grow exponentially and no domain can be chosen in advance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.core import interaction
from mfpde.core.activations import CODES, HOMOGENEITY
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw, gauss_nodes
from mfpde.measures import ParticleMeasure
from mfpde.problem import Network, Problem
from mfpde.steppers.atoms import AtomFlow, initial_atoms
from mfpde.tabulate import network_points
from mfpde.tabulate.features import rotated_nodes

Array = NDArray[np.float64]

SCAN, POLISHED = 4096, 8


@dataclass(frozen=True, eq=False)
class AdmissibilityMargin:
    """min over unit u of lambda_a lambda(u) - g(u)^2 : positive if and only if the Gibbs measure can be normalised.

    ``direction`` is the minimiser in the moving coordinates but a; ``smallest_eigenvalue`` of [[lambda_a, g],
    [g, lambda(u)]] over u gives the type sqrt(tau/eigenvalue).  All None, with the reason, where it does not arise.
    """

    margin: float | None
    direction: Array | None
    smallest_eigenvalue: float | None
    reason: str


def admissibility_margin(problem: Problem, residual: Array) -> AdmissibilityMargin:
    """The margin at a residual r_q = c_q l'(f_q, y_q) [n], for an activation of homogeneity 1 with a and w trained.

    g(u) = scale sum_q r_q sigma(<u, x_q>), with a trained bias among the u; lambda(u) = sum lambda_c u_c^2.
    """
    model, trained = problem.model, {c.group for c in problem.moving}
    if not isinstance(model, Network) or HOMOGENEITY.get(model.activation) != 1:
        return AdmissibilityMargin(None, None, None, "the activation is not homogeneous of degree 1")
    if not {"a", "w"} <= trained:
        return AdmissibilityMargin(None, None, None, "a and w are not both trained: the data's part grows linearly")
    activation = model.activation
    inner = [c for c in problem.coordinates if c.name != "a"]
    active = np.flatnonzero([c.trained for c in inner])
    decay = np.array([inner[k].weight_decay for k in active])
    decay_a = next(c.weight_decay for c in problem.coordinates if c.name == "a")

    x, average = rotated_nodes(problem)
    nodes, r = x.reshape(-1, x.shape[2]), problem.scale * np.outer(residual, average).reshape(-1)

    def parts(directions: Array) -> tuple[Array, Array]:
        """(g, lambda) at directions [m, D] of any length, made unit."""
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        points = np.zeros((len(unit), len(inner)))
        points[:, active] = unit
        g = np.empty(len(unit))
        interaction.potential(CODES[activation], np.zeros(1), network_points(problem, points), nodes, r, g)
        return g, unit**2 @ decay

    def gap(directions: Array) -> Array:
        g, lam = parts(directions)
        return np.asarray(decay_a * lam - g**2)

    def eigenvalue(directions: Array) -> Array:
        g, lam = parts(directions)
        return np.asarray(0.5 * (decay_a + lam) - np.hypot(0.5 * (decay_a - lam), g))

    starts = _candidates(problem, active)
    u, margin = _minimum(gap, starts)
    return AdmissibilityMargin(margin, u, _minimum(eigenvalue, starts)[1], f"{activation} with a and w trained")


def _candidates(problem: Problem, active: NDArray[np.intp]) -> Array:
    """Directions to start from: both signs, a fine fan in the plane, else random ones, the axes and the data nodes."""
    size = len(active)
    if size == 1:
        return np.array([[1.0], [-1.0]])
    if size == 2:
        angle = 2.0 * np.pi * np.arange(SCAN) / SCAN
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nodes = np.column_stack([problem.data.x, np.ones(len(problem.data.y))])[:, active]
    nodes = nodes[np.linalg.norm(nodes, axis=1) > 0.0]
    random = np.random.default_rng(0).standard_normal((SCAN, size))
    return np.concatenate([random, np.eye(size), -np.eye(size), nodes, -nodes])


def _minimum(function: Callable[[Array], Array], starts: Array) -> tuple[Array, float]:
    """(unit vector, value) of the least value of a function of directions [m, D], polished from the best starts."""
    values = function(starts)
    order = np.argsort(values, kind="stable")
    best, least = starts[order[0]] / np.linalg.norm(starts[order[0]]), float(values[order[0]])
    if starts.shape[1] == 1:
        return best, least
    for start in starts[order[:POLISHED]]:
        u, value = _turned(function, start) if len(start) == 2 else _descended(function, start)
        if value < least:
            best, least = u, value
    return best, least


def _turned(function: Callable[[Array], Array], start: Array) -> tuple[Array, float]:
    from scipy.optimize import minimize_scalar  # a tenth of a second, and few studies need it

    centre, step = float(np.arctan2(start[1], start[0])), 2.0 * np.pi / SCAN

    def at(angle: float) -> Array:
        return np.array([np.cos(angle), np.sin(angle)])

    found = minimize_scalar(
        lambda t: float(function(at(t)[None])[0]), bounds=(centre - step, centre + step), options={"xatol": 1e-12}
    )
    return at(float(found.x)), float(found.fun)


def _descended(function: Callable[[Array], Array], start: Array) -> tuple[Array, float]:
    from scipy.optimize import minimize  # as above

    step = 1e-6

    def value_and_slope(v: Array) -> tuple[float, Array]:
        moves = np.concatenate([np.eye(len(v)), -np.eye(len(v))]) * step
        values = function(np.concatenate([v[None], v + moves]))
        return float(values[0]), (values[1 : len(v) + 1] - values[len(v) + 1 :]) / (2.0 * step)

    found = minimize(value_and_slope, start / np.linalg.norm(start), jac=True, method="BFGS", options={"gtol": 1e-9})
    return found.x / np.linalg.norm(found.x), float(found.fun)


def initial_margin(problem: Problem, law: InitialLaw) -> AdmissibilityMargin:
    """The margin at the residual of the initial law, for relu; identity has none.

    Whatever the margin, the moments of identity close (mfpde.exact.linear_network).
    """
    model, trained = problem.model, {c.group for c in problem.moving}
    if not isinstance(model, Network) or model.activation != "relu" or not {"a", "w"} <= trained:
        return AdmissibilityMargin(None, None, None, "not relu with a and w trained")
    atoms = initial_atoms(problem, law) if len(problem.coordinates) <= 4 else _sampled_atoms(problem, law)
    f = AtomFlow(problem).predict(atoms.atoms, atoms.weights)
    return admissibility_margin(problem, problems.residual(problem, f))


def _sampled_atoms(problem: Problem, law: InitialLaw) -> ParticleMeasure:
    """Independent draws, where a product rule over many input coordinates would explode."""
    rng = np.random.default_rng(0)
    columns = [rng.choice(x, size=4096, p=p) for x, p in (gauss_nodes(law, c) for c in problem.coordinates)]
    return ParticleMeasure(
        tuple(c.name for c in problem.coordinates), np.stack(columns, axis=1), np.full(4096, 1 / 4096)
    )


def check_normalisable(problem: Problem, law: InitialLaw) -> None:
    """Raise ConfigError if the margin is not positive at a positive temperature."""
    if problem.temperature == 0.0:
        return
    margin = initial_margin(problem, law).margin
    if margin is None or margin > 0.0:
        return
    decay = {c.group: c.weight_decay for c in problem.moving}
    pair = f"{{a = {decay['a']:g}, w = {decay['w']:g}}}"
    raise ConfigError(
        "training.weight_decay",
        f"is {pair}: too small for relu with a and w trained, the Gibbs measure cannot be normalised"
        f" (lambda_a lambda_w - sup g^2 = {margin:.3g})",
        "lambda_a lambda_w must exceed sup over unit u of E[r relu(<u, x>)]^2 at the initial residual",
    )
