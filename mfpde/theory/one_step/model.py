"""Spiked random features: phi_i(x) = sigma(sqrt(c) <w_i, x> + r kappa), kappa = <v, x>, target g(<theta, x>) + noise.

A first layer is a few groups of neurons, each with its own spike r and bulk variance c, and one unit vector v at an
angle with the index theta, <v, theta> = alignment.  Beyond r and c the limit sees three numbers of every neuron, of
order d^(-1/2) each but of leading order in sum,

    t_i = <W_i, v> - r,   s_i = <W_i, zeta>,   delta_i = |W_i bulk|^2 - mean,      theta = alignment v + rho zeta,

through their covariance Gamma / d: diag(c, c, 0) for rows on a sphere, diag(c, c, 2 c^2) for Gaussian rows, a full
matrix after an actual gradient step.  Source: Cui et al. 2024 (arXiv 2402.04980) and the authors' code for the model;
Gamma as in docs/one-step.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.theory.one_step.scalar import ScalarFunction

Array = NDArray[np.float64]
Rows = Literal["sphere", "gaussian"]
Origin = Literal["sphere", "gaussian", "plain", "refined", "measured"]


@dataclass(frozen=True, eq=False)
class Group:
    """A share of the neurons with one readout value u before the step: spike r, bulk c, covariance Gamma [3, 3]."""

    share: float
    readout: float
    spike: float
    bulk: float
    loadings: Array


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """Groups whose shares sum to 1, <v, theta>, and where the numbers come from: a law of rows, a map of the step."""

    groups: tuple[Group, ...]
    alignment: float
    origin: Origin


@dataclass(frozen=True, eq=False)
class SpikedFeatures:
    """p neurons on d inputs, ``width_ratio`` = p / d, labels target(<theta, x>) + ``noise`` N(0, 1)."""

    student: ScalarFunction
    target: ScalarFunction
    layer: FirstLayer
    width_ratio: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigError for values without a meaning."""
        if not (np.isfinite(self.width_ratio) and self.width_ratio > 0.0):
            raise ConfigError("width_ratio", f"is {self.width_ratio:g}; the ratio p / d must be above 0")
        if not (np.isfinite(self.noise) and self.noise >= 0.0):
            raise ConfigError("noise", f"is {self.noise:g}; the standard deviation of the labels must be at least 0")


def spiked_layer(
    spike: float,
    bulk: float,
    alignment: float,
    rows: Rows = "sphere",
    readout: Sequence[tuple[float, float]] = ((1.0, 1.0),),
) -> FirstLayer:
    """A first layer given by its numbers: W = sqrt(bulk) (rows of the law) + spike u v^T.

    ``readout`` lists (u, share) of the groups; each has the spike r u, all have the same bulk. Raises ConfigError.
    """
    if rows not in ("sphere", "gaussian"):
        raise ConfigError("rows", f"is {rows!r}; allowed are sphere, gaussian")
    if not (np.isfinite(bulk) and bulk > 0.0):
        raise ConfigError("bulk", f"is {bulk:g}; the variance of the bulk must be above 0")
    if not np.isfinite(spike):
        raise ConfigError("spike", f"is {spike:g}; it must be finite")
    loadings = np.diag([bulk, bulk, 0.0 if rows == "sphere" else 2.0 * bulk**2])
    groups = tuple(Group(w, u, spike * u, bulk, loadings) for u, w in shares_of(readout))
    return first_layer(groups, alignment, rows)


def first_layer(groups: tuple[Group, ...], alignment: float, origin: Origin) -> FirstLayer:
    """Groups and alignment with |alignment| <= 1 checked (ConfigError)."""
    if not abs(alignment) <= 1.0:
        raise ConfigError("alignment", f"is {alignment:g}; <v, theta> of two unit vectors lies in [-1, 1]")
    return FirstLayer(groups, float(alignment), origin)


def shares_of(readout: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(u, share) with shares normalised to sum 1.  Raises ConfigError for none, or for a share not above 0."""
    if not readout:
        raise ConfigError("readout", "is empty; at least one pair (value, share) is needed")
    total = sum(share for _, share in readout)
    for value, share in readout:
        if not (np.isfinite(value) and np.isfinite(share) and share > 0.0):
            raise ConfigError("readout", f"has the pair ({value:g}, {share:g}); values are finite and shares above 0")
    return [(float(value), float(share) / total) for value, share in readout]


def random_features(model: SpikedFeatures) -> SpikedFeatures:
    """The same student, target and width without a spike, bulk 1; Gaussian rows only if the model has them."""
    rows: Rows = "gaussian" if model.layer.origin == "gaussian" else "sphere"
    return replace(model, layer=spiked_layer(0.0, 1.0, 0.0, rows))
