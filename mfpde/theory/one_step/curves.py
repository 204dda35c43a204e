"""Readouts and finite-size twins gathered into arrays, to be stored, tabulated and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import ConfigError
from mfpde.theory.one_step.ridge import Readout
from mfpde.theory.one_step.twins import TwinErrors

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Readouts along any sweep of A points, K groups in all: [A] each, the four overlaps [A, K]."""

    sample_ratios: Array
    ridges: Array
    test_error: Array
    train_error: Array
    weight_norm: Array
    mean: Array
    spike: Array
    orthogonal: Array
    norm: Array
    iterations: NDArray[np.int64]
    residual: Array


@dataclass(frozen=True, eq=False)
class Agreement:
    """Seeds against the limit, arrays shaped like ``expected``: mean and its standard error over seeds,

    ``z`` = (mean - expected) / sem and ``relative`` = mean / expected - 1.
    """

    expected: Array
    mean: Array
    sem: Array
    z: Array
    relative: Array


def gather(readouts: Sequence[Readout]) -> Curve:
    """The numbers of a non-empty sequence of readouts with the same number of groups."""

    def column(name: str) -> Array:
        return np.array([getattr(readout, name) for readout in readouts], dtype=np.float64)

    overlaps = [readout.overlaps for readout in readouts]
    return Curve(
        column("sample_ratio"),
        column("ridge"),
        column("test_error"),
        column("train_error"),
        column("weight_norm"),
        np.stack([x.mean for x in overlaps]),
        np.stack([x.spike for x in overlaps]),
        np.stack([x.orthogonal for x in overlaps]),
        np.stack([x.norm for x in overlaps]),
        np.array([readout.iterations for readout in readouts], dtype=np.int64),
        column("residual"),
    )


def agreement(expected: ArrayLike, twins: Sequence[TwinErrors], field: str = "test_error") -> Agreement:
    """A field of the twins, [A, L] each, against its limit ``expected``.  Raises ConfigError for fewer than two seeds.

    z leaves out the bias of order 1 / d, and entries of one seed are correlated along a curve: read it point by point.
    """
    return agreement_of_samples(expected, [getattr(twin, field) for twin in twins])


def agreement_of_samples(expected: ArrayLike, samples: Sequence[Array]) -> Agreement:
    """``agreement`` of what every seed gave, arrays of one shape."""
    if len(samples) < 2:
        raise ConfigError("seeds", f"gives {len(samples)}; a standard error needs at least 2")
    stacked = np.stack(samples)
    limit = np.broadcast_to(np.asarray(expected, dtype=np.float64), stacked.shape[1:])
    mean = stacked.mean(axis=0)
    sem = stacked.std(axis=0, ddof=1) / np.sqrt(len(stacked))
    return Agreement(limit, mean, sem, (mean - limit) / sem, mean / limit - 1.0)
