"""The limit at temperature 0 into ``limit.h5``: atoms instead of a density; checkpoints at stored times."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.io import store
from mfpde.io.breakdown import numerical
from mfpde.io.build import Study
from mfpde.io.origin import read_own, root_attributes
from mfpde.measures import ParticleMeasure
from mfpde.steppers import atoms

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AtomLimit:
    """Atoms along stored times: theta [K, m, p], weights [m], f [K, n]; drive_f [T, n] at denser drive_times [T]."""

    study: Study
    times: Array
    names: tuple[str, ...]
    theta: Array
    weights: Array
    f: Array
    free_energy: Array
    risk: Array
    drive_times: Array
    drive_f: Array
    evaluations: int
    wall: float
    next_step: float | None
    finished: bool

    def measure(self, k: int) -> ParticleMeasure:
        """The atoms at stored time k."""
        return ParticleMeasure(self.names, self.theta[k], self.weights)


@numerical
def run_atoms(
    study: Study,
    path: str,
    *,
    resume: bool = False,
    checkpoint: float = 30.0,
    report: Callable[[float, float], None] | None = None,
) -> AtomLimit:
    """Integrate the atoms of ``study`` and write ``path``; ``report(time, free_energy)`` at stored times."""
    before = load_atoms(study, path) if resume and os.path.exists(path) else None
    if before is not None and before.finished:
        return before
    if before is not None and len(before.times) == 1:  # the start alone is computed again: it would come twice
        before = None
    if before is None:
        measure, next_step, start, wall = atoms.initial_atoms(study.problem, study.law), None, 0, 0.0
    else:
        start, wall, next_step = len(before.times) - 1, before.wall, before.next_step
        measure = before.measure(start)
    found: list[atoms.AtomSnapshot] = []
    began = last_save = time.perf_counter()
    try:
        for snapshot in atoms.evolve_atoms(study.problem, measure, study.times, start, next_step):
            found.append(snapshot)
            if report is not None:
                report(snapshot.time, snapshot.free_energy)
            if time.perf_counter() - last_save >= checkpoint:
                _save(_joined(study, before, found, wall + time.perf_counter() - began, False), path)
                last_save = time.perf_counter()
    except (KeyboardInterrupt, Exception):
        if found or before is not None:
            _save(_joined(study, before, found, wall + time.perf_counter() - began, False), path)
        raise
    limit = _joined(study, before, found, wall + time.perf_counter() - began, True)
    _save(limit, path)
    return limit


def _joined(
    study: Study, before: AtomLimit | None, found: list[atoms.AtomSnapshot], wall: float, finished: bool
) -> AtomLimit:
    def rows(name: str, new: list[Array]) -> Array:
        stacked = [np.stack(new)] if new else []
        return np.concatenate(([] if before is None else [getattr(before, name)]) + stacked)

    first = found[0] if found else None
    measure = first.measure if first is not None else before.measure(0)  # type: ignore[union-attr]
    paths = ([] if before is None else [(before.drive_times, before.drive_f)]) + [
        (s.path_times, s.path_f) for s in found
    ]
    return AtomLimit(
        study,
        rows("times", [np.asarray(s.time) for s in found]),
        measure.names,
        rows("theta", [s.measure.atoms for s in found]),
        measure.weights,
        rows("f", [s.f for s in found]),
        rows("free_energy", [np.asarray(s.free_energy) for s in found]),
        rows("risk", [np.asarray(s.risk) for s in found]),
        np.concatenate([t for t, _ in paths]),
        np.concatenate([f for _, f in paths]),
        sum(s.evaluations for s in found) + (0 if before is None else before.evaluations),
        wall,
        found[-1].next_step if found else (None if before is None else before.next_step),
        finished,
    )


def _save(limit: AtomLimit, path: str) -> None:
    problem = limit.study.problem
    residual = np.stack([problems.residual(problem, f) for f in limit.f])
    groups = {
        "/limit": store.Group(
            {
                "time": store.Variable(("time",), limit.times),
                "parameter": store.Variable(("parameter",), np.array(limit.names)),
                "theta": store.Variable(("time", "atom", "parameter"), limit.theta),
                "atom_weight": store.Variable(("atom",), limit.weights),
                "f": store.Variable(("time", "node"), limit.f),
                "residual": store.Variable(("time", "node"), residual),
                "weight": store.Variable(("node",), problem.data.weights),
                "target": store.Variable(("node",), problem.data.y),
            },
        ),
        "/history": store.Group(
            {
                "t": store.Variable(("step",), limit.times),
                "free_energy": store.Variable(("step",), limit.free_energy),
                "risk": store.Variable(("step",), limit.risk),
            }
        ),
        "/restart": store.Group(
            {
                "drive_time": store.Variable(("drive_step",), limit.drive_times),
                "drive_f": store.Variable(("drive_step", "node"), limit.drive_f),
            },
            {
                "next_step": np.nan if limit.next_step is None else limit.next_step,
                "evaluations": limit.evaluations,
                "wall_s": limit.wall,
            },
        ),
    }
    if not isinstance(problem.model, problems.Pairwise):
        groups["/limit"] = store.Group(
            {**groups["/limit"].variables, "x": store.Variable(("node", "block"), problem.data.x)}
        )
    store.write(path, groups, root_attributes(limit.study, "atoms", limit.finished))


def load_atoms(study: Study, path: str) -> AtomLimit:
    """The atoms of ``study`` from their file."""
    contents = read_own(study, path, "atoms")
    v = contents.groups["/limit"].variables
    h = contents.groups["/history"].variables
    restart = contents.groups["/restart"]
    a = restart.attributes
    return AtomLimit(
        study,
        v["time"].data,
        tuple(str(n) for n in v["parameter"].data),
        v["theta"].data,
        v["atom_weight"].data,
        v["f"].data,
        h["free_energy"].data,
        h["risk"].data,
        restart.variables["drive_time"].data,
        restart.variables["drive_f"].data,
        int(a["evaluations"]),
        float(a["wall_s"]),
        None if np.isnan(a["next_step"]) else float(a["next_step"]),
        bool(contents.attributes["finished"]),
    )
