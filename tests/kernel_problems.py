"""Small problems on given data that the tests of the kernel limit share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.measures import ParticleMeasure
from mfpde.problem import Network, Problem, network_coordinates

Array = NDArray[np.float64]
SYMMETRIC = ((1.0, -1.0), (0.5, 0.5))
SKEWED = ((2.0, -1.0), (1.0 / 3.0, 2.0 / 3.0))


def problem_on(
    x: Array,
    y: Array,
    *,
    activation: str = "tanh",
    train: Sequence[str] = ("a", "w"),
    bias: bool = False,
    scale: float = 1.0,
    decay: float = 0.0,
    rates: Sequence[float] = (1.0, 1.0, 1.0),
    weights: Array | None = None,
) -> Problem:
    """A network at temperature 0 on rows x [n, d], y [n]."""
    coordinates = network_coordinates(
        (1,) * x.shape[1], tuple(train), bias, dict.fromkeys("awb", decay), dict(zip("awb", rates, strict=True))
    )
    return Problem(Network(activation, (), scale), datalaws.nodes(x, y, weights), "square", 0.0, coordinates)


def product(
    problem: Problem, hidden: Array, law: tuple[Sequence[float], Sequence[float]] = SYMMETRIC
) -> ParticleMeasure:
    """Every row of hidden [N, d or d + 1] with every value of a."""
    values, shares = (np.array(one) for one in law)
    atoms = np.concatenate([np.repeat(values, len(hidden))[:, None], np.tile(hidden, (len(values), 1))], axis=1)
    names = tuple(c.name for c in problem.coordinates)
    return ParticleMeasure(names, atoms, np.repeat(shares / len(hidden), len(hidden)))
