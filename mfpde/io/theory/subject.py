"""What ``mfpde theory`` works on: a study, alone or with the outputs of its run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve, stationary
from mfpde.errors import ConfigError
from mfpde.initial import initial_measure
from mfpde.io.build import Study, build, load_study
from mfpde.io.outputs import Output, open_output
from mfpde.io.rest import open_limit
from mfpde.measures import GridMeasure
from mfpde.problem import Network, TwoGaussians
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated, tabulate

Array = NDArray[np.float64]

FILES = ("limit.h5", "particles.h5")


@dataclass(frozen=True, eq=False)
class Subject:
    """A study, with the limit and the ensemble of its run where the source is an output; ``name`` is the source."""

    study: Study
    name: str
    limit: Output | None = None
    ensemble: Output | None = None


@dataclass(frozen=True, eq=False)
class LimitPath:
    """The limit at ``times`` [K] on one grid: measures [K], predictions f [K, n], and the stationary measure."""

    table: Tabulated
    times: Array
    measures: tuple[GridMeasure, ...]
    f: Array
    rest: Stationary | None


def open_subject(source: str, overrides: Sequence[str] = ()) -> Subject:
    """The study or output called ``source``: a run directory, an .h5 file, a TOML file, - or a built-in name.

    ``overrides`` change keys of a study; an output is what it is, and any is a ConfigError.
    """
    if os.path.isdir(source):
        files = [os.path.join(source, name) for name in FILES if os.path.isfile(os.path.join(source, name))]
        if not files:
            raise ConfigError("SOURCE", f"{source} is a directory without {' or '.join(FILES)}")
    elif source.endswith(".h5"):
        files = [source]
    else:
        study = load_study(source, overrides)
        return Subject(study, study.name)
    if overrides:
        raise ConfigError("--set", f"changes a study, and {source} is an output; name its study instead")
    outputs = [open_output(file) for file in files]
    name = os.path.basename(os.path.normpath(source if os.path.isdir(source) else os.path.dirname(source) or source))
    found = {"particles" if output.kind == "particles" else "limit": output for output in outputs}
    study = build(outputs[0].config, name, Path(source) if os.path.isdir(source) else Path(source).parent)
    return Subject(study, source, found.get("limit"), found.get("particles"))


def require_expansions(study: Study) -> None:
    """Raise ConfigError for an activation or a data law of which no expansion in polynomials is known here."""
    model, population = study.problem.model, study.problem.data.population
    if isinstance(model, Network) and model.activation == "piecewise-linear":
        raise ConfigError(
            "network.activation",
            f'is "{model.activation}", whose expansion this topic does not know; any other has one',
        )
    if isinstance(population, TwoGaussians):
        raise ConfigError("data.law", 'is "two-gaussians"; this topic needs "gaussian", "empirical" or "nodes"')


@lru_cache(maxsize=1)  # several parts of one answer ask for it, and it may take a minute
def limit_path(subject: Subject) -> LimitPath:
    """The limit of the subject at its stored times: read from its output, else integrated now and kept in memory.

    Raises ConfigError where the limit does not fit on a grid or the temperature is 0.
    """
    study = subject.study
    if subject.limit is not None:
        _, limit = open_limit(subject.limit)
        table = tabulate(study.problem, limit.grid)
        measures = tuple(limit.measure(k) for k in range(len(limit.times)))
        return LimitPath(table, limit.times, measures, limit.f, limit.rest)
    if not study.on_grid:
        raise ConfigError("network.train", f"moves {len(study.problem.moving)} coordinates; a grid takes up to 3")
    if study.problem.temperature == 0.0:
        raise ConfigError("training.temperature", "is 0; densities need a positive one")
    # one box for all times: what grows would need every earlier density moved over
    control = evolve.Control(study.config.grid.tolerance, extend=False)
    solution = evolve.solve(study.problem, initial_measure(study.law, study.grid), study.times, control)
    table = tabulate(study.problem, study.grid)
    f = np.stack([one.f for one in solution.snapshots])
    return LimitPath(
        table, study.times, tuple(one.measure for one in solution.snapshots), f, stationary.stationary(table, f[-1])
    )


def stationary_measure(subject: Subject) -> tuple[Tabulated, Stationary]:
    """The stationary measure alone, without integrating a limit that is not stored."""
    if subject.limit is not None:
        found = limit_path(subject)
        if found.rest is not None:
            return found.table, found.rest
    study = subject.study
    if not study.on_grid or study.problem.temperature == 0.0:
        raise ConfigError("training.temperature", "and moving coordinates leave no stationary density on a grid")
    table = tabulate(study.problem, study.grid)
    start = initial_measure(study.law, study.grid)
    return table, stationary.stationary(table, table.predict(start.mass))
