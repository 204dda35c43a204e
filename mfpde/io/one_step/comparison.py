"""Finite sizes against the limit: per size and extrapolated in 1 / d, with z-scores and relative deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.compare.rates import extrapolate_in_width
from mfpde.io.one_step.config import seeds_at
from mfpde.io.one_step.schema import Config
from mfpde.io.one_step.simulate import SPECTRUM, Record, Task
from mfpde.io.one_step.theory import BASELINE, QUANTITIES, Theory
from mfpde.theory.one_step.curves import agreement_of_samples

Array = NDArray[np.float64]

_BINS = 60


@dataclass(frozen=True, eq=False)
class Deviation:
    """One line of theory: ``expected`` [S]; ``z`` and ``relative`` [D, S], and both of the extrapolation [S].

    The last two are None at a single size, and for the map "measured", which is that of the largest size.
    """

    expected: Array
    z: Array
    relative: Array
    limit_z: Array | None
    limit_relative: Array | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """One quantity of one kind of twin at D sizes and S values: means over ``seeds`` [D], ``limit`` [S] at 1/d -> 0.

    ``deviations`` by line of theory; the extrapolation is None at a single size.
    """

    kind: str
    quantity: str
    dimensions: tuple[int, ...]
    seeds: tuple[int, ...]
    mean: Array
    sem: Array
    limit: Array | None
    limit_sem: Array | None
    deviations: Mapping[str, Deviation]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Eigenvalues of drawn features, averaged over seeds: ``density`` between ``edges`` [B + 1], ``beyond`` per seed.

    The density is one of all p eigenvalues: it integrates to the share that lies between the edges.
    """

    dimension: int
    seeds: int
    edges: Array
    density: Array
    beyond: float


def compare(config: Config, theory: Theory, record: Record) -> list[Comparison]:
    """Every quantity of every kind of twin; the record is complete."""
    kinds = config.simulation.twins or ()
    return [_one(config, theory, record, kind, name) for kind in kinds for name in QUANTITIES[config.readout.loss]]


def _one(config: Config, theory: Theory, record: Record, kind: str, quantity: str) -> Comparison:
    dimensions, seeds = config.simulation.dimensions, seeds_at(config)
    samples = [
        [record[Task(kind, d, k)][quantity] for k in range(count)] for d, count in zip(dimensions, seeds, strict=True)
    ]
    limit = extrapolate_in_width(dimensions, [np.stack(one) for one in samples]) if len(dimensions) > 1 else None
    deviations = {}
    for name in _lines(config, theory, kind):
        expected = theory.expected[name][quantity]
        found = [agreement_of_samples(expected, one) for one in samples]
        deviations[name] = Deviation(
            expected,
            np.stack([one.z for one in found]),
            np.stack([one.relative for one in found]),
            None if limit is None or name == "measured" else (limit.value - expected) / limit.sem,
            None if limit is None or name == "measured" else limit.value / expected - 1.0,
        )
    return Comparison(
        kind,
        quantity,
        dimensions,
        seeds,
        np.stack([one.mean for one in found]),
        np.stack([one.sem for one in found]),
        None if limit is None else limit.value,
        None if limit is None else limit.sem,
        deviations,
    )


def _lines(config: Config, theory: Theory, kind: str) -> Sequence[str]:
    """A network is told against every map, a drawn model against the one that it was drawn by."""
    if kind == "spiked" and config.step is not None:
        return ("plain",)
    return [name for name in theory.expected if name != BASELINE]


def histogram(config: Config, theory: Theory, record: Record) -> Histogram:
    """Eigenvalues inside the bulk of the theory; those at 0 and outliers are left out."""
    dimension, seeds = max(config.simulation.dimensions), config.simulation.spectra
    values = np.stack([record[Task(SPECTRUM, dimension, k)]["eigenvalues"] for k in range(seeds)])
    edge = float(theory.eigenvalues[-1])
    # as the rule for the density, finer towards 0; eigenvalues that are 0 but for round-off lie below the first edge
    edges = edge * (np.arange(_BINS + 1) / _BINS) ** 2
    edges[0] = 1e-10 * edge
    counts, _ = np.histogram(values, edges)
    beyond = float(np.count_nonzero(values > edge)) / seeds
    return Histogram(dimension, seeds, edges, counts / (values.size * np.diff(edges)), beyond)


def rows(config: Config, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """One row for every kind, quantity, value and size (``dimension`` None: extrapolated), ready for JSON."""
    found: list[dict[str, Any]] = []
    for one in comparisons:
        for s, value in enumerate(config.simulation.at or ()):
            base: dict[str, Any] = {"twin": one.kind, "quantity": one.quantity, config.curve.over: value}
            base["theory"] = {name: float(d.expected[s]) for name, d in one.deviations.items()}
            for k, dimension in enumerate(one.dimensions):
                z = {name: _at(d.z[k], s) for name, d in one.deviations.items()}
                relative = {name: _at(d.relative[k], s) for name, d in one.deviations.items()}
                size = {"dimension": dimension, "seeds": one.seeds[k]}
                mean = {"mean": float(one.mean[k, s]), "sem": float(one.sem[k, s])}
                found.append({**base, **size, **mean, "z": z, "relative": relative})
            if one.limit is not None and one.limit_sem is not None:
                z = {name: _at(d.limit_z, s) for name, d in one.deviations.items()}
                relative = {name: _at(d.limit_relative, s) for name, d in one.deviations.items()}
                mean = {"mean": float(one.limit[s]), "sem": float(one.limit_sem[s])}
                found.append({**base, "dimension": None, "seeds": sum(one.seeds), **mean, "z": z, "relative": relative})
    return found


def _at(values: Array | None, index: int) -> float | None:
    return None if values is None else float(values[index])
