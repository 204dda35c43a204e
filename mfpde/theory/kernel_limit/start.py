"""Finite measures at time zero whose network is 0: every (w, b) with every value of a, and E a = 0.

Such a product keeps E f = 0 and the kernel exactly at any number of neurons, so that what is seen at finite alpha is
alpha alone. The skewed law has mean, variance and hence kernel of the symmetric one, but E a^3 > 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.initial import GroupLaw, InitialLaw, gauss_nodes
from mfpde.measures import ParticleMeasure
from mfpde.problem import Problem
from mfpde.steppers.atoms import initial_atoms
from mfpde.steppers.particles import draw, width_seed
from mfpde.theory.kernel_limit.kernels import second_moment

Array = NDArray[np.float64]

# Gauss nodes of a continuous law of a: moments to order 7
A_NODES = 4
# up to this many parameters of a neuron the law is a product of Gauss rules, not drawn
MOST_TENSOR = 3


def check_centred(law: InitialLaw) -> None:
    """Raise ConfigError unless E a = 0: otherwise the output at time zero grows like alpha."""
    a = law.a
    mean = {"point": a.value, "normal": a.mean_along(0), "uniform": 0.5 * (a.low + a.high), "rademacher": 0.0}[a.law]
    if abs(mean) > 1e-14:
        raise ConfigError(
            "initial.a",
            f"has the mean {mean:g}; the output alpha f would be of size alpha at the start, it must be 0",
            'use a symmetric law: initial.a = { law = "rademacher" }, or normal with mean 0',
        )
    if second_moment(law) == 0.0:
        raise ConfigError("initial.a", "is 0 for all neurons; none would move", 'initial.a = { law = "rademacher" }')


def coefficients(problem: Problem, law: InitialLaw, skewed: bool) -> tuple[Array, Array]:
    """Values and shares of a at time zero; ``skewed``: two values of mean 0, as 2 and -1, of the same E a^2."""
    if skewed:
        size = np.sqrt(0.5 * second_moment(law))
        return np.array([2.0 * size, -size]), np.array([1.0 / 3.0, 2.0 / 3.0])
    values, shares = gauss_nodes(law, problem.coordinates[0], A_NODES)
    return 0.5 * (values - values[::-1]), 0.5 * (shares + shares[::-1])


def is_tensor(problem: Problem) -> bool:
    """Whether the atoms of (w, b) are a product of Gauss rules."""
    return len(problem.coordinates) <= MOST_TENSOR


def start(problem: Problem, law: InitialLaw, draws: int, seed: int, skewed: bool = False) -> ParticleMeasure:
    """The measure at time zero: Gauss nodes or ``draws`` independent draws of (w, b), each with every value of a.

    Atoms in the order of ``problem.coordinates``.  ConfigError unless E a = 0.
    """
    check_centred(law)
    silent = replace(law, a=GroupLaw("point"))
    if is_tensor(problem):
        base = initial_atoms(problem, silent)
        hidden, weights = base.atoms[:, 1:], base.weights
    else:
        theta = draw(problem, silent, draws, range(1), width_seed(seed, draws))[0]
        hidden = theta[1 : len(problem.coordinates)].T
        weights = np.full(draws, 1.0 / draws)
    values, shares = coefficients(problem, law, skewed)
    atoms = np.concatenate([np.repeat(values, len(hidden))[:, None], np.tile(hidden, (len(values), 1))], axis=1)
    names = tuple(c.name for c in problem.coordinates)
    return ParticleMeasure(names, atoms, np.repeat(shares, len(weights)) * np.tile(weights, len(shares)))
