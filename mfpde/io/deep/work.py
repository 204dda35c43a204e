"""Pieces of work for a pool: some steps of one replicate of the limit, or all steps of a few seeds of a width."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.io.deep.config import is_linear, seeds_at
from mfpde.io.deep.schema import Config
from mfpde.theory.deep.diagnostics import feature_change, smallest_eigenvalue, space_time_eigenvalue
from mfpde.theory.deep.finite import FiniteRuns, chunk_size, train_widths
from mfpde.theory.deep.limit import DeepLimit
from mfpde.theory.deep.linear import LinearLimit
from mfpde.theory.deep.parametrizations import PARAMETRIZATIONS
from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.deep.space import LimitSettings
from mfpde.theory.deep.trajectory import Snapshot, Trajectory, collect

Array = NDArray[Any]
Record = dict[str, Array]

LIMIT = "limit"
# means over the seeds of a record; all other entries have the seed as first axis
MEANS = ("phi", "back")


@dataclass(frozen=True, eq=False)
class Job:
    """What all pieces share: ``test`` inputs [Q, d], one of ``every`` steps recorded, the first seed."""

    problem: DeepProblem
    settings: LimitSettings
    test: NDArray[np.float64]
    every: int
    first_seed: int


@dataclass(frozen=True, order=True)
class Task:
    """``count`` seeds from ``first`` on of a width, parametrization ``kind``; or replicate ``first`` of the limit."""

    kind: str
    width: int
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class Piece:
    """A task from the ``state`` on that an earlier piece left; None at its beginning."""

    task: Task
    state: dict[str, Array] | None = None


def tasks_of(config: Config, problem: DeepProblem, only: str | None) -> list[Task]:
    """All tasks of a study, or those of the part ``only`` ("limit" or "widths"), the longest first."""
    found = []
    if only != "widths":
        replicates = 1 if is_linear(config) else config.limit.replicates
        found += [Task(LIMIT, 0, k, 1) for k in range(replicates)]
    if only != LIMIT:
        sizes = sorted(zip(config.finite.widths, seeds_at(config), strict=True), reverse=True)
        for width, seeds in sizes:
            chunk = chunk_size(problem, width)
            for kind in config.finite.parametrizations:
                found += [Task(kind, width, k, min(chunk, seeds - k)) for k in range(0, seeds, chunk)]
    return found


def run_piece(job: Job, seconds: float, piece: Piece) -> tuple[Record, Piece | None]:
    """The record of a piece, and the piece that goes on where this one stopped after ``seconds`` (None: at the end)."""
    if piece.task.kind == LIMIT:
        return _run_limit(job, seconds, piece)
    first = job.first_seed + piece.task.first
    seeds = range(first, first + piece.task.count)
    test = job.test if len(job.test) else None
    runs = train_widths(
        job.problem, PARAMETRIZATIONS[piece.task.kind], piece.task.width, seeds, every=job.every, test=test
    )
    return reduced(runs), None


def _run_limit(job: Job, seconds: float, piece: Piece) -> tuple[Record, Piece | None]:
    limit, steps = _limit(job, piece), job.problem.steps
    end = time.perf_counter() + seconds
    found: list[Snapshot] = []
    while not limit.finished:
        snapshot = limit.advance(limit.time % job.every == 0 or limit.time == steps)
        if snapshot is not None:
            found.append(snapshot)
            if time.perf_counter() >= end:
                break
    record = as_record(collect(found))
    if not limit.finished:
        return record, Piece(piece.task, limit.state())
    if len(job.test):
        record["test_f"] = limit.predict(job.test)
    return record, None


def _limit(job: Job, piece: Piece) -> DeepLimit | LinearLimit:
    replicate = piece.task.first
    if job.problem.activation == "identity":
        return LinearLimit(job.problem) if piece.state is None else LinearLimit.restore(job.problem, piece.state)
    if piece.state is None:
        return DeepLimit(job.problem, job.settings, replicate)
    return DeepLimit.restore(job.problem, job.settings, replicate, piece.state)


def as_record(trajectory: Trajectory) -> Record:
    """The fields of a trajectory by name, each with the recorded steps as first axis."""
    return {field.name: np.asarray(getattr(trajectory, field.name)) for field in fields(trajectory)}


def as_trajectory(record: Mapping[str, Array]) -> Trajectory:
    """The trajectory of a complete record."""
    return Trajectory(**{field.name: record[field.name] for field in fields(Trajectory)})


def extended(record: Record | None, more: Record) -> Record:
    """A limit's record with the steps that follow it."""
    if record is None:
        return more
    joined = {name: np.concatenate([record[name], more[name]]) for name in record}
    return joined | {name: values for name, values in more.items() if name not in record}


def reduced(runs: FiniteRuns) -> Record:
    """What is kept of finite widths: per seed [B, K, ...] all but the kernels, of which the mean over seeds."""
    record: Record = {
        "seeds": np.asarray(runs.seeds),
        "times": np.asarray(runs.times),
        "f": runs.f,
        "loss": runs.loss,
        "feature_change": feature_change(runs.pre, runs.cross),
        "feature_eigenvalue": smallest_eigenvalue(runs.phi),
        "preactivation_eigenvalue": smallest_eigenvalue(runs.pre),
        "space_time_eigenvalue": space_time_eigenvalue(runs.pre, runs.cross),
        "phi": runs.phi.mean(axis=0),
        "back": runs.back.mean(axis=0),
    }
    if runs.test_f is not None:
        record["test_f"] = runs.test_f
    return record


def merged(records: Sequence[Record]) -> Record:
    """One record of all seeds, in the order given."""
    counts = np.array([len(one["seeds"]) for one in records])
    found = {}
    for name in records[0]:
        values = [one[name] for one in records]
        if name == "times":
            found[name] = values[0]
        elif name in MEANS:
            weighted = [count * value for count, value in zip(counts, values, strict=True)]
            found[name] = np.sum(weighted, axis=0) / counts.sum()
        else:
            found[name] = np.concatenate(values)
    return found
