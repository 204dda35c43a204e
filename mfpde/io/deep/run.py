"""Run a study of a deep network: its limit and its finite widths over a pool, with checkpoints, and what follows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from mfpde.errors import MfpdeError
from mfpde.io.deep import build, file
from mfpde.io.deep.config import Loaded
from mfpde.io.deep.data import Samples
from mfpde.io.deep.estimate import seconds_of
from mfpde.io.deep.file import Progress
from mfpde.io.deep.findings import Findings, findings
from mfpde.io.deep.groups import derived_groups
from mfpde.io.deep.work import Piece, Record, Task, extended, run_piece, tasks_of
from mfpde.io.interrupt import held
from mfpde.io.one_step.pool import run_slices

# a piece of the limit is no longer, so that progress is seen
_SLICE = 5.0


def run_study(
    study: Loaded,
    samples: Samples,
    path: str,
    *,
    only: str | None,
    resume: bool,
    processes: int,
    checkpoint: float,
    report: Callable[[float], None],
) -> Findings:
    """Compute what is missing of the part ``only`` (None: of all) and write ``path``.

    ``report`` gets the share of the work that is done. What is finished survives every interruption, and so does the
    beginning of a replicate up to the last checkpoint; the file is the same for any number of processes.
    """
    config = study.config
    job = build.job(config, samples)
    progress = file.load(path, config) if resume and os.path.exists(path) else Progress()
    tasks = tasks_of(config, job.problem, only)
    work = {task: seconds_of(config, samples.x.shape, task.kind, task.width, task.count) for task in tasks}
    missing = [task for task in tasks if progress.lacks(task)]
    pieces = [Piece(task, progress.begun[task][1] if task in progress.begun else None) for task in missing]
    length = min(_SLICE, checkpoint)
    last = time.perf_counter()
    try:
        for index, record, rest in run_slices(partial(run_piece, job, length), pieces, processes):
            with held():
                _record(progress, missing[index], record, rest, study)
            report(_share(progress, work, config.training.steps))
            if time.perf_counter() - last >= checkpoint:
                file.save(path, study, samples, progress, {}, finished=False)
                last = time.perf_counter()
    except (KeyboardInterrupt, MfpdeError):
        if progress.done or progress.begun:
            file.save(path, study, samples, progress, {}, finished=False)
        raise
    found = findings(config, samples, job, progress)
    file.save(path, study, samples, progress, derived_groups(found), finished=True)
    return found


def _record(progress: Progress, task: Task, record: Record, rest: Piece | None, study: Loaded) -> None:
    before = progress.begun.pop(task, None)
    whole = extended(None if before is None else before[0], record)
    if rest is None:
        progress.done[task] = whole
        progress.settle(study.config)
    else:
        assert rest.state is not None
        progress.begun[task] = (whole, rest.state)


def _share(progress: Progress, work: dict[Task, float], steps: int) -> float:
    total = sum(work.values())
    done = sum(cost for task, cost in work.items() if not progress.lacks(task))
    begun = {task: record["times"][-1] + 1 for task, (record, _) in progress.begun.items() if task in work}
    done += sum(work[task] * taken / (steps + 1) for task, taken in begun.items())
    return float(done / total)
