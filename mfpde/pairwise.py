"""Explicit McKean-Vlasov problems: an external potential V and an interaction W(x - y), by name.

    F(rho) = int V drho + 1/2 int int W(x - y) rho rho + tau int rho log rho

written with features so that grids and particles treat them as a network with loss f^2/2 and signed weights:
W = strength |x-y|^2/2 gives phi = x, weight -strength, and strength |x|^2/2 joins V; W = -strength cos(x-y) gives
phi = (cos, sin), weights -strength; a gaussian W gives the cosines of its Fourier series on a long period.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.problem import Coordinate, DataLaw, Kind, Pairwise, Problem

Array = NDArray[np.float64]

POTENTIALS = ("quadratic", "double-well", "none")
INTERACTIONS = ("quadratic", "gaussian", "cosine", "none")


def pairwise_problem(
    temperature: float,
    dimension: int = 1,
    potential: str = "quadratic",
    potential_strength: float = 1.0,
    matrix: Sequence[Sequence[float]] | Array | None = None,
    interaction: str = "quadratic",
    strength: float = 1.0,
    width: float = 1.0,
    reach: float = 8.0,
    rate: float = 1.0,
    weight_decay: float = 0.0,
) -> Problem:
    """A Problem with the potential and the interaction of the given names (see ``Pairwise`` for their formulas).

    matrix : [D, D] of a quadratic potential, ``potential_strength`` times the identity by default;
    reach : the largest |x - y| at which a gaussian interaction must be exact.
    Raises ConfigError for an unknown name or a combination that has no meaning.
    """
    if potential not in POTENTIALS:
        raise ConfigError("pairwise.potential", f"is {potential!r}; allowed are {', '.join(POTENTIALS)}")
    if interaction not in INTERACTIONS:
        raise ConfigError("pairwise.interaction", f"is {interaction!r}; allowed are {', '.join(INTERACTIONS)}")
    circle = interaction == "cosine"
    if circle and (dimension != 1 or potential != "none"):
        raise ConfigError("pairwise.interaction", "'cosine' lives on the circle: dimension 1 and potential 'none'")
    if interaction == "gaussian" and dimension > 2:
        raise ConfigError(
            "pairwise.dimension", f"is {dimension}; a gaussian interaction is offered in dimension 1 and 2"
        )
    form = potential_strength * np.eye(dimension) if matrix is None else np.asarray(matrix, float)
    frequencies, modes = np.zeros((0, dimension)), np.zeros(0)
    if interaction == "gaussian":
        frequencies, modes = gaussian_modes(dimension, width, reach)
    model = Pairwise(dimension, potential, potential_strength, form, interaction, strength, width, frequencies)
    names = ("w",) if dimension == 1 else tuple(f"w{k}" for k in range(dimension))
    kind: Kind = "circle" if circle else "line"
    coordinates = tuple(Coordinate(n, "w", kind, rate=rate, weight_decay=weight_decay) for n in names)
    weights = {
        "quadratic": np.full(dimension, -strength),
        "cosine": np.full(2, -strength),
        "gaussian": strength * np.concatenate([modes, modes]),
        "none": np.zeros(1),
    }[interaction]
    data = DataLaw(np.zeros((len(weights), 1)), np.zeros(len(weights)), weights, (1,) * dimension)
    return Problem(model, data, "square", temperature, coordinates)


def gaussian_modes(dimension: int, width: float, reach: float) -> tuple[Array, Array]:
    """(frequencies [m, D], weights [m]): exp(-|r|^2/(2 width^2)) = sum_m weights_m cos(frequencies_m . r).

    Exact for |r| <= reach: Poisson summation on a period 2L with L = reach/2 + 4.5 width, where aliases and the cut
    tail are below 1e-16.
    """
    spacing = 2.0 * np.pi / (reach + 9.0 * width)
    count = int(np.ceil(8.7 / (width * spacing)))
    one = spacing * np.arange(-count, count + 1)
    weight = spacing * width / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * (width * one) ** 2)
    grids = np.meshgrid(*([one] * dimension), indexing="ij")
    frequencies = np.stack([g.reshape(-1) for g in grids], axis=1)
    weights = np.prod(np.stack(np.meshgrid(*([weight] * dimension), indexing="ij")), axis=0).reshape(-1)
    # cosines are even: keep one half of the frequencies with twice the weight
    half = len(weights) // 2
    weights[half + 1 :] *= 2.0
    keep = np.arange(half, len(weights))
    keep = keep[weights[keep] > 1e-17]
    return frequencies[keep], weights[keep]


def pairwise_potential(model: Pairwise, x: Array) -> Array:
    """V(x) with the |x|^2/2 part of a quadratic interaction; x : [..., D]."""
    square = np.sum(x * x, axis=-1)
    value = np.zeros(x.shape[:-1])
    if model.potential == "quadratic":
        value = 0.5 * np.einsum("...i,ij,...j->...", x, model.matrix, x, optimize=False)
    elif model.potential == "double-well":
        value = model.potential_strength * (0.25 * square**2 - 0.5 * square)
    return value + 0.5 * model.strength * square if model.interaction == "quadratic" else value


def pairwise_features(model: Pairwise, x: Array) -> Array:
    """phi_q(x) in the order of the signed weights; x : [m, D] -> [m, n]."""
    if model.interaction == "quadratic":
        return x
    if model.interaction == "cosine":
        return np.concatenate([np.cos(x), np.sin(x)], axis=1)
    if model.interaction == "gaussian":
        phase = x @ model.frequencies.T
        return np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    return np.zeros((len(x), 1))


def pairwise_gradient(model: Pairwise, x: Array, r: Array) -> Array:
    """Gradient of V(x) + sum_q r_q phi_q(x) : [..., D] from x [..., D] and r [n] or [..., n] broadcastable."""
    square = np.sum(x * x, axis=-1, keepdims=True)
    value = np.zeros_like(x)
    if model.potential == "quadratic":
        value = np.einsum("...i,ij->...j", x, model.matrix, optimize=False)
    elif model.potential == "double-well":
        value = model.potential_strength * (square - 1.0) * x
    if model.interaction == "quadratic":
        return value + model.strength * x + r
    if model.interaction == "cosine":
        return value - np.sin(x) * r[..., :1] + np.cos(x) * r[..., 1:]
    if model.interaction == "gaussian":
        phase = x @ model.frequencies.T
        m = len(model.frequencies)
        wave = np.cos(phase) * r[..., m:] - np.sin(phase) * r[..., :m]
        return value + wave @ model.frequencies
    return value
