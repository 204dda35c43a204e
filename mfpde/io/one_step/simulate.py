"""Finite sizes of a study, one seed at a time: pure functions of study, kind, dimension and seed, for a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.io.one_step.build import drawn_model, gradient_step, loss_of, seed_of
from mfpde.io.one_step.config import seeds_at, with_value
from mfpde.io.one_step.schema import Config
from mfpde.theory.one_step.twins import TwinErrors, TwinSettings, feature_eigenvalues, network_twin, spiked_twin

Array = NDArray[np.float64]

SPECTRUM = "spectrum"
FIELDS = ("test_error", "train_error", "test_loss", "train_loss", "wrong_sign", "mean", "weight_norm")


@dataclass(frozen=True, order=True)
class Task:
    """One seed at one size: ``kind`` is network or spiked, or spectrum for the eigenvalues of drawn features."""

    kind: str
    dimension: int
    index: int


Record = dict[Task, Mapping[str, Array]]


def tasks_of(config: Config) -> list[Task]:
    """All tasks of a study, the largest sizes first: they end a pool's work evenly."""
    s = config.simulation
    assert s.twins is not None
    sizes = list(zip(s.dimensions, seeds_at(config), strict=True))
    found = [Task(kind, d, k) for kind in s.twins for d, count in sizes for k in range(count)]
    found += [Task(SPECTRUM, max(s.dimensions), k) for k in range(s.spectra)]
    return sorted(found, key=lambda task: (-task.dimension, task))


def run_task(config: Config, task: Task) -> dict[str, Array]:
    """A twin: every one of FIELDS at the simulated values [S]; a spectrum: ``eigenvalues`` [p]."""
    seed = seed_of(config, task.index)
    if task.kind == SPECTRUM:
        model = drawn_model(config)
        return {"eigenvalues": feature_eigenvalues(model, task.dimension, config.readout.samples, seed)}
    s, over = config.simulation, config.curve.over
    assert s.at is not None
    if over == "samples":
        found = [_twin(config, task, s.at, (config.readout.ridge,))]
    elif over == "ridge":
        found = [_twin(config, task, (config.readout.samples,), s.at)]
    else:
        varied = (with_value(config, value) for value in s.at)
        found = [_twin(one, task, (one.readout.samples,), (one.readout.ridge,)) for one in varied]
    return {name: np.concatenate([getattr(twin, name).ravel() for twin in found]) for name in FIELDS}


def _twin(config: Config, task: Task, ratios: tuple[float, ...], ridges: tuple[float, ...]) -> TwinErrors:
    s = config.simulation
    settings = TwinSettings(ratios, ridges, loss_of(config), s.test_samples, s.draws or 1)
    seed = seed_of(config, task.index)
    if task.kind == "network":
        return network_twin(gradient_step(config), config.model.width, task.dimension, settings, seed)
    return spiked_twin(drawn_model(config), task.dimension, settings, seed)
