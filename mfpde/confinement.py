"""Does weight decay confine the neurons?  The normalisability margin of positively homogeneous activations.

For phi = a relu(<w, x> + b) with a and w trained, the Gibbs measure of Psi = a g(w, b) + weight decay can be normalised
only if   lambda_a (lambda_w |w|^2 + lambda_b b^2) > g(w, b)^2   in every direction, g(w, b) = E[r relu(<w, x> + b)].
At the stationary measure of a square loss this holds by itself (the free energy is coercive); at the initial residual
it may fail, and then moments first grow exponentially and no domain can be chosen in advance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw, gauss_nodes
from mfpde.measures import ParticleMeasure
from mfpde.problem import Network, Problem
from mfpde.steppers.atoms import AtomFlow, initial_atoms
from mfpde.tabulate import node_features

Array = NDArray[np.float64]

DIRECTIONS = 4096


def homogeneity_margin(problem: Problem, law: InitialLaw) -> float:
    """lambda_a - sup g(u)^2 over unit directions u of (sqrt(lambda_w) w, sqrt(lambda_b) b), at the initial residual.

    Negative: not normalisable.  Infinite where the condition does not arise.
    """
    model, trained = problem.model, {c.group for c in problem.moving}
    if not isinstance(model, Network) or model.activation != "relu" or not {"a", "w"} <= trained:
        return np.inf
    atoms = initial_atoms(problem, law) if len(problem.coordinates) <= 4 else _sampled_atoms(problem, law)
    f = AtomFlow(problem).predict(atoms.atoms, atoms.weights)
    r = problem.scale * problems.residual(problem, f)
    inner = [c for c in problem.coordinates if c.name != "a"]
    decay = np.array([c.weight_decay for c in inner])
    active = np.array([c.trained for c in inner])
    if np.any(decay[active] == 0.0):
        return -np.inf
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((DIRECTIONS, len(inner)))
    directions = np.concatenate([directions, np.eye(len(inner)), -np.eye(len(inner))])
    directions[:, ~active] = 0.0
    directions = directions[np.linalg.norm(directions, axis=1) > 0.0]
    for k, c in enumerate(inner):
        if c.kind == "radius":
            directions[:, k] = np.abs(directions[:, k])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[:, active] /= np.sqrt(decay[active])
    g = node_features(problem, directions) @ r
    decay_a = next(c.weight_decay for c in problem.coordinates if c.name == "a")
    return decay_a - float(np.max(g**2))


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
    margin = homogeneity_margin(problem, law)
    if margin > 0.0:
        return
    decay = {c.group: c.weight_decay for c in problem.moving}
    pair = f"{{a = {decay['a']:g}, w = {decay['w']:g}}}"
    needed = "" if not np.isfinite(margin) else f" (short by {-margin:.3g} in lambda_a)"
    raise ConfigError(
        "training.weight_decay",
        f"is {pair}: too small for relu with a and w trained, the Gibbs measure cannot be normalised{needed}",
        "lambda_a lambda_w must exceed sup over unit u of E[r relu(<u, x>)]^2 at the initial residual",
    )
