"""Linear networks, phi(h) = h: the limit in coordinates, without a sample; and two closed forms for L = 1.

A random variable of a linear network is a linear form in the Gaussian columns of its layer: it is kept by its
coefficients, <a, b> is their product and a fresh column the next unit vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.theory.deep.limit import CausalLimit
from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.deep.space import ExactSpace, Space

Array = NDArray[np.float64]

# residuals below are rounding
_TOLERANCE = 1e-12


class LinearLimit(CausalLimit):
    """The exact limit of a linear network: what ``DeepLimit`` offers, without error.

    Raises ConfigError for any other activation.
    """

    def __init__(self, problem: DeepProblem) -> None:
        super().__init__(problem, _exact(problem), _TOLERANCE)
        self._begin()

    @classmethod
    def restore(cls, problem: DeepProblem, state: dict[str, Array]) -> LinearLimit:
        """The limit whose ``state`` was taken, with the same problem."""
        limit = cls.__new__(cls)
        CausalLimit.__init__(limit, problem, _exact(problem), _TOLERANCE)
        limit._restore(state)
        return limit


class SingleNeuronLaw(NamedTuple):
    """L = 1, P = 1, K = 1, gamma = 1 at times 0 .. T: predictions f and kernels E h^2 = E V^2, [T + 1] each."""

    f: Array
    kernel: Array


def exact_single(steps: int, rate: float, target: float) -> SingleNeuronLaw:
    """Gradient descent of the linear network with one point, by the variables p = h + V and m = h - V.

    E p^2 <- (1 + a)^2 E p^2, E m^2 <- (1 - a)^2 E m^2 with a = rate (target - f), f = (E p^2 - E m^2) / 4.
    """
    f, kernel = np.empty(steps + 1), np.empty(steps + 1)
    plus, minus = 2.0, 2.0
    for t in range(steps + 1):
        f[t], kernel[t] = (plus - minus) / 4.0, (plus + minus) / 4.0
        a = rate * (target - f[t])
        plus, minus = (1.0 + a) ** 2 * plus, (1.0 - a) ** 2 * minus
    return SingleNeuronLaw(f, kernel)


def exact_flow(time: float, target: float) -> float:
    """f at ``time`` under gradient flow of the same network: f = sinh(2 tau), dtau/dt = target - f.

    With u = e^(2 tau): du/dt = 2 u y - u^2 + 1, whose zeros are y + r and y - r, r = sqrt(1 + y^2).
    """
    r = float(np.hypot(1.0, target))
    # (u - y - r) / (u - y + r) decays at the rate 2 r from its value at u = 1
    ratio = (1.0 - target - r) / (1.0 - target + r) * np.exp(-2.0 * r * time)
    u = (target + r - (target - r) * ratio) / (1.0 - ratio)
    return float(0.5 * (u - 1.0 / u))


def _exact(problem: DeepProblem) -> list[Space]:
    if problem.activation != "identity":
        raise ConfigError("network.activation", f'is "{problem.activation}"; the exact limit needs "identity"')
    # Columns a layer can get: forward, one per dimension of the layer below; backward, one per output and time.
    spaces: list[Space] = []
    below = problem.coordinates.shape[1]
    for _ in range(problem.depth):
        below += (problem.steps + 2) * problem.outputs + 2
        # a temporary query adds what lies across the training inputs
        spaces.append(ExactSpace(below + problem.inputs.shape[1]))
    return spaces
