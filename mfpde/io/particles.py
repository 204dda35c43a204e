"""Run the finite-N ensemble of a study into ``particles.h5``, with checkpoints; and read it back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import ensemble as ensembles
from mfpde.core.ranks import ALONE, Ranks
from mfpde.io import schema, store
from mfpde.io.breakdown import numerical
from mfpde.io.build import Study
from mfpde.io.interrupt import held
from mfpde.io.origin import read_own, root_attributes
from mfpde.steppers.drive import Drive
from mfpde.steppers.kernels import Kernels
from mfpde.steppers.schedule import CONSTANT, Schedule

Array = NDArray[np.float64]

log = logging.getLogger("mfpde")

SERIES = ("risk", "function_error", "function_error_iid", "coupling_error")


@dataclass(frozen=True, eq=False)
class Width:
    """One width along stored times: theta [K, R, N, p] in the order of ``parameters``; series name -> [K, R]."""

    width: int
    theta: Array
    parameters: tuple[str, ...]
    series: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Particles:
    """The ensemble of a study: times [K], widths, how forces were computed and with which integration error."""

    study: Study
    times: Array
    widths: tuple[Width, ...]
    description: str
    integration_error: float
    wall: float
    finished: bool


@numerical
def run_particles(
    study: Study,
    drive: Drive | None,
    path: str,
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    resume: bool = False,
    checkpoint: float = 30.0,
    report: Callable[[float], None] | None = None,
    ranks: Ranks = ALONE,
) -> Particles:
    """Run every width and replica and write ``path``; ``report(time)`` after every stored time.

    ``drive`` holds the limit's predictions and drives the synchronous copies; without it there are none.  ``bounds`` of
    the limit's grid say where its fields are tabulated.  The threads of core.parallel share the work, and ``ranks``, of
    which this is the first; on the others ``join_particles`` runs.
    """
    ensemble = ensembles.prepare(study.problem, study.law, settings_of(study), drive, bounds, ranks)
    log.info("particles: %s", ensemble.description)
    run = _load(study, path) if resume and os.path.exists(path) else None
    if run is not None and run.finished:
        return run.pack(ensemble)
    run = run or _Run(study)
    began, last_save = time.perf_counter() - run.wall, time.perf_counter()
    try:
        for snapshot in ensembles.evolve_ensemble(ensemble, study.times, run.state):
            with held():
                run.record(snapshot, time.perf_counter() - began)
            if report is not None:
                report(snapshot.time)
            del snapshot  # recorded, and as large as all networks
            if time.perf_counter() - last_save >= checkpoint:
                _save(run, ensemble, path)
                last_save = time.perf_counter()
        run.finished = True
        _save(run, ensemble, path)
    except (KeyboardInterrupt, Exception):
        if run.state is not None:
            _save(run, ensemble, path)
        raise
    return run.pack(ensemble)


@numerical
def join_particles(
    study: Study, drive: Drive | None, bounds: Mapping[str, tuple[float, float]] | None, ranks: Ranks
) -> None:
    """What ``run_particles`` of the first rank needs from this one: its part of every step; nothing is written."""
    ensemble = ensembles.prepare(study.problem, study.law, settings_of(study), drive, bounds, ranks)
    for snapshot in ensembles.evolve_ensemble(ensemble, study.times):
        del snapshot


def settings_of(study: Study) -> ensembles.EnsembleSettings:
    """The ensemble settings of a study."""
    p, numerics = study.config.particles, study.config.numerics
    return ensembles.EnsembleSettings(
        widths=p.widths,
        replicas=p.replicas,
        step=p.step,
        dynamics=p.dynamics,
        scheme=p.scheme,
        batch=p.batch,
        coupling=p.coupling,
        nodes=p.nodes,
        seed=study.config.output.seed,
        kernels=Kernels(numerics.precision, numerics.device),
        schedule=_schedule(p.schedule),
    )


def _schedule(one: schema.ConstantSchedule | schema.PowerSchedule) -> Schedule:
    return Schedule(one.exponent, one.cutoff) if isinstance(one, schema.PowerSchedule) else CONSTANT


class _Run:
    """A growing record of the ensemble; theta has room for all stored times, so that nothing is copied to save it."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.state: ensembles.EnsembleState | None = None
        self.times: list[float] = []
        self.theta: dict[int, Array] = {}
        self.series: dict[int, dict[str, list[Array]]] = {w: {} for w in study.config.particles.widths}
        self.wall = 0.0
        self.finished = False

    def record(self, snapshot: ensembles.EnsembleSnapshot, wall: float) -> None:
        self.state, self.wall = snapshot.state, wall
        self.times.append(snapshot.time)
        for one in snapshot.records:
            self.keep(one.width, len(self.times) - 1, one.theta)
            for name in SERIES:
                value = getattr(one, name)
                if value is not None:
                    self.series[one.width].setdefault(name, []).append(value)

    def keep(self, width: int, index: int, theta: Array) -> None:
        """Store theta [R, N, p] of one time."""
        if width not in self.theta:
            self.theta[width] = np.empty((len(self.study.times), *theta.shape))
        self.theta[width][index] = theta

    def pack(self, ensemble: ensembles.Ensemble) -> Particles:
        names = parameter_names(self.study)
        widths = tuple(
            Width(
                width,
                self.theta[width][: len(self.times)],
                names,
                {name: np.stack(values) for name, values in self.series[width].items()},
            )
            for width in self.theta
        )
        return Particles(
            self.study,
            np.array(self.times),
            widths,
            ensemble.description,
            0.0 if ensemble.integration_error is None else ensemble.integration_error.drift,
            self.wall,
            self.finished,
        )


def parameter_names(study: Study) -> tuple[str, ...]:
    """Names of the parameters of a full-dimensional particle: a, w (w0, w1, ... for several inputs), b."""
    d = study.law.dimension
    weights = ("w",) if d == 1 else tuple(f"w{k}" for k in range(d))
    groups = {c.group for c in study.problem.coordinates}
    return (*(("a",) if "a" in groups else ()), *weights, *(("b",) if "b" in groups else ()))


def group_name(width: int) -> str:
    """Group of one width in the file."""
    return f"/ensemble/N{width:06d}"


def _save(run: _Run, ensemble: ensembles.Ensemble, path: str) -> None:
    assert run.state is not None
    packed = run.pack(ensemble)
    groups: dict[str, store.Group] = {}
    for one in packed.widths:
        variables = {
            "time": store.Variable(("time",), packed.times),
            "parameter": store.Variable(("parameter",), np.array(one.parameters)),
            "theta": store.Variable(("time", "replica", "particle", "parameter"), one.theta),
        }
        for name, values in one.series.items():
            variables[name] = store.Variable(("time", "replica"), values)
        groups[group_name(one.width)] = store.Group(variables, {"width": one.width})
    for width, theta in run.state.theta.items():
        variables = {"theta": store.Variable(("replica", "row", "particle"), theta)}
        if run.state.copies is not None:
            variables["copies"] = store.Variable(("replica", "row", "particle"), run.state.copies[width])
        groups[f"/restart/N{width:06d}"] = store.Group(variables)
    root = root_attributes(run.study, "particles", run.finished)
    extra = {
        "forces": packed.description,
        "integration_error": packed.integration_error,
        "wall_s": run.wall,
        "index": run.state.index,
        "step": run.state.step,
    }
    store.write(path, groups, {**root, **extra})


def load_particles(study: Study, path: str) -> Particles:
    """The ensemble of ``study`` from its file."""
    contents = store.read(path, ["/ensemble"])
    widths = tuple(_width(group) for name, group in sorted(contents.groups.items()) if name != "/ensemble")
    a = contents.attributes
    return Particles(
        study,
        _first(contents)["time"].data,
        widths,
        str(a["forces"]),
        float(a["integration_error"]),
        float(a["wall_s"]),
        bool(a["finished"]),
    )


def _first(contents: store.Contents) -> dict[str, store.Variable]:
    return dict(next(group for name, group in sorted(contents.groups.items()) if name != "/ensemble").variables)


def _width(group: store.Group) -> Width:
    v = group.variables
    series = {name: v[name].data for name in SERIES if name in v}
    return Width(int(group.attributes["width"]), v["theta"].data, tuple(str(n) for n in v["parameter"].data), series)


def _load(study: Study, path: str) -> _Run:
    contents = read_own(study, path, "particles")
    a, groups = contents.attributes, contents.groups
    run = _Run(study)
    theta, copies = {}, {}
    for width in study.config.particles.widths:
        one = _width(groups[group_name(width)])
        for index, stored in enumerate(one.theta):
            run.keep(width, index, stored)
        run.series[width] = {name: list(values) for name, values in one.series.items()}
        run.times = [float(t) for t in groups[group_name(width)].variables["time"].data]
        restart = groups[f"/restart/N{width:06d}"].variables
        theta[width] = restart["theta"].data
        if "copies" in restart:
            copies[width] = restart["copies"].data
    run.state = ensembles.EnsembleState(int(a["index"]), int(a["step"]), theta, copies or None)
    run.wall, run.finished = float(a["wall_s"]), bool(a["finished"])
    return run
