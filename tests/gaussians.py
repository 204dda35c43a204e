"""Problems of two Gaussians with the activations of Mei, Montanari and Nguyen, for several test files.

Their risk R is twice that of mfpde and their time half of it: ``risk = R/2`` at ``t = 2 k eps``.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv

from mfpde import datalaws
from mfpde.core.activations import flatten_pieces
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.measures import Axis, Grid, ParticleMeasure, Species
from mfpde.problem import Network, Problem, TwoGaussians, network_coordinates

Array = np.ndarray
Pieces = tuple[Array, Array, float]

# knots, slopes, value at the first knot: the truncated ReLU, and the activation of the predictable failure
TRUNCATED: Pieces = (np.array([0.5, 1.5]), np.array([0.0, 10.0, 0.0]), -2.5)
FAILURE: Pieces = (np.array([0.0, 0.5, 1.5]), np.array([0.0, -3.0, 11.5, 0.0]), -2.5)


def problem(
    dimension: int,
    separation: float,
    informative: int | None = None,
    *,
    pieces: Pieces = TRUNCATED,
    activation: str = "piecewise-linear",
    train: tuple[str, ...] = ("w",),
    temperature: float = 0.0,
    decay: float = 0.0,
    count: int | None = None,
) -> Problem:
    """Two Gaussians, output weights frozen unless trained."""
    law = datalaws.two_gaussians(TwoGaussians(dimension, informative or dimension, separation), count)
    rates, decays = dict.fromkeys("awb", 1.0), dict.fromkeys("awb", decay)
    coordinates = network_coordinates(law.blocks, train, "b" in train, decays, rates)
    parameters = tuple(flatten_pieces(*pieces).tolist()) if activation == "piecewise-linear" else ()
    return Problem(Network(activation, parameters), law, "square", temperature, coordinates)


def quantiles(dimension: int, std: float, count: int) -> ParticleMeasure:
    """Equal atoms at the midpoint quantiles of |w|, w ~ N(0, std^2/d I), with a = 1."""
    level = (np.arange(count) + 0.5) / count
    radii = std / np.sqrt(dimension) * np.sqrt(2.0 * gammaincinv(0.5 * dimension, level))
    return ParticleMeasure(("a", "w"), np.stack([np.ones(count), radii], axis=1), np.full(count, 1.0 / count))


def normal_start(dimension: int, std: float) -> InitialLaw:
    """w ~ N(0, std^2/d I), a = 1, b = 0."""
    return InitialLaw(GroupLaw("point", 1.0), GroupLaw("normal", std=std), GroupLaw("point", 0.0), dimension)


def radial_grid(one: Problem, upper: float, cells: int) -> Grid:
    """Cells on [0, upper] of |w|, with a = 1."""
    return Grid((Axis(one.moving[0], 0.0, upper, cells),), Species(("a",), np.ones((1, 1)), np.ones(1)))
