"""Run a study of one gradient step: its theory, its seeds over a pool with checkpoints, their comparison."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mfpde.errors import MfpdeError
from mfpde.io.interrupt import held
from mfpde.io.one_step import file
from mfpde.io.one_step.comparison import Comparison, Histogram, compare, histogram
from mfpde.io.one_step.config import Loaded
from mfpde.io.one_step.pool import run_all
from mfpde.io.one_step.simulate import Record, run_task
from mfpde.io.one_step.simulate import tasks_of as tasks_of
from mfpde.io.one_step.theory import Theory, compute_theory

Report = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run has found; without finite sizes no comparison and no histogram."""

    theory: Theory
    comparisons: list[Comparison]
    histogram: Histogram | None


def run_theory(study: Loaded, processes: int, report: Report) -> Theory:
    """The theory of a study."""
    return compute_theory(study.config, processes, report)


def run_study(
    study: Loaded,
    theory: Theory,
    path: str,
    *,
    simulate: bool,
    resume: bool,
    processes: int,
    checkpoint: float,
    report: Report,
) -> Outcome:
    """Simulate what is missing and write ``path``; ``report`` gets the number of finished seeds.

    Finished seeds survive every interruption; the file is the same for any number of processes.
    """
    record: Record = file.load_record(path, study.config) if resume and os.path.exists(path) else {}
    if simulate:
        _simulate(study, theory, path, record, processes, checkpoint, report)
    if not set(tasks_of(study.config)) <= set(record):
        file.save(path, study, theory, record, finished=not simulate and not record)
        return Outcome(theory, [], None)
    comparisons, bars = compare(study.config, theory, record), histogram(study.config, theory, record)
    file.save(path, study, theory, record, comparisons, bars, finished=True)
    return Outcome(theory, comparisons, bars)


def _simulate(
    study: Loaded, theory: Theory, path: str, record: Record, processes: int, checkpoint: float, report: Report
) -> None:
    """Add the missing seeds to the record."""
    missing = [task for task in tasks_of(study.config) if task not in record]
    last = time.perf_counter()
    try:
        for index, found in run_all(partial(run_task, study.config), missing, processes):
            with held():
                record[missing[index]] = found
            report(len(record))
            if time.perf_counter() - last >= checkpoint:
                file.save(path, study, theory, record, finished=False)
                last = time.perf_counter()
    except (KeyboardInterrupt, MfpdeError):
        if record:
            file.save(path, study, theory, record, finished=False)
        raise
