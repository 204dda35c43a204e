"""Run the limit of a study into ``limit.h5``: time loop, checkpoints, stationary measure.

The file is rewritten whole at every checkpoint and at the end.  A run that was killed continues with the same steps.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve, stationary
from mfpde.errors import NumericalError
from mfpde.initial import initial_measure
from mfpde.io import limit_file, store
from mfpde.io.breakdown import numerical
from mfpde.io.build import Study
from mfpde.io.interrupt import held
from mfpde.io.limit_file import HISTORY, Flux, Limit
from mfpde.io.origin import root_attributes
from mfpde.measures import SMALLEST_MASS, Grid
from mfpde.tabulate import Tabulated, tabulate

Array = NDArray[np.float64]
Report = Callable[[float, float, float], None]

log = logging.getLogger("mfpde")

# at a cell Peclet number above the first the user is told, above the second the limited flux is chosen
PECLET_ADVICE, PECLET_LIMITED = 1.0, 25.0
# an energy increase is one that round-off of the terms of F does not explain
ENERGY_ROUND_OFF = 1e-13
# mass in an outermost layer of cells from which on the user is told that the box is too small
EDGE_WARNING = 1e-6


@numerical
def run_limit(
    study: Study, path: str, *, resume: bool = False, checkpoint: float = 30.0, report: Report | None = None
) -> Limit:
    """Integrate the limit of ``study`` and write it to ``path``; ``report(time, free_energy, gap)`` after every step.

    With ``resume`` a file of the same study continues, a finished one is only read.  An interruption or a failure
    writes a checkpoint and goes on as the exception it was.
    """
    run = None
    if resume and os.path.exists(path):
        stored, state = limit_file.load(study, path)
        if stored.finished:
            return stored
        run = _continued(stored, state)
    if run is None or run.state.step == 0:  # the start alone is computed again: it would come twice
        run = _start(study)
    began, last_save = time.perf_counter() - run.wall, time.perf_counter()
    try:
        for snapshot in run.snapshots():
            with held():
                run.record(snapshot, time.perf_counter() - began)
            if report is not None:
                report(snapshot.time, snapshot.free_energy, snapshot.gap)
            if time.perf_counter() - last_save >= checkpoint:
                limit_file.save(run.pack(False), path, run.state)
                last_save = time.perf_counter()
        edge = max(run.history["boundary_mass"])
        if edge > EDGE_WARNING:
            log.warning("up to %.2g of the mass stood at the edge of the box: widen grid.bounds", edge)
        if study.problem.temperature > 0.0:  # at 0 there is no Gibbs measure, and minimisers need not be one
            run.rest = stationary.stationary(run.take_table(), run.f[-1])
        limit = run.pack(True)
        limit_file.save(limit, path, run.state)
    except (KeyboardInterrupt, Exception):
        if run.times:
            limit_file.save(run.pack(False), path, run.state)
        raise
    return limit


def load_limit(study: Study, path: str) -> Limit:
    """The limit of ``study`` from its file."""
    return limit_file.load(study, path)[0]


@numerical
def save_stationary(study: Study, path: str) -> stationary.Stationary:
    """The stationary measure alone, from the initial law as first guess, written to ``path``."""
    table = tabulate(study.problem, study.grid)
    _tell(study.grid, table)
    rest = stationary.stationary(table, table.predict(initial_measure(study.law, study.grid).mass))
    store.write(
        path, {"/stationary": limit_file.stationary_group(study, rest)}, root_attributes(study, "stationary", True)
    )
    return rest


class _Run:
    """A growing record; densities have room for all stored times, so that nothing is copied to save them."""

    def __init__(self, study: Study, state: evolve.State, flux: Flux, features: str) -> None:
        self.study, self.state, self.flux, self.features = study, state, flux, features
        self.grid = state.measure.grid
        self.table: Tabulated | None = None
        self.told: Grid | None = None
        self.times: list[float] = []
        self.density = np.empty((len(study.times), *self.grid.shape))
        self.f: list[Array] = []
        self.drive: list[Array] = []
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
        self.rest: stationary.Stationary | None = None
        self.wall = 0.0

    def take_table(self) -> Tabulated:
        """The problem tabulated on the present grid; handed over and not kept, for it can be most of the memory."""
        table, self.table = self.table, None
        if table is None:
            table = tabulate(self.study.problem, self.grid)
        if self.told is not self.grid:
            self.told = self.grid
            _tell(self.grid, table)
        return table

    def snapshots(self) -> Iterator[evolve.Snapshot]:
        """The steps from the present state on; after the last, their table serves again."""
        grid = self.study.config.grid
        control = evolve.Control(grid.tolerance, flux=self.flux, extend=grid.bounds == "auto")
        table, state = self.take_table(), self.state
        if state.slope is not None and len(state.slope) != table.rank:
            # round-off of another processor found another number of skeleton nodes: the predictor starts anew
            state = replace(state, slope=None)
        steps = evolve.evolve(self.study.problem, state, self.study.times, control, table)
        del table  # with the box it may be given up for a larger one
        self.table = yield from steps

    def record(self, snapshot: evolve.Snapshot, wall: float) -> None:
        if not np.all(np.isfinite(snapshot.f)):  # of the start; later steps are looked at where they are made
            raise NumericalError(f"the predictions are not finite at t = {snapshot.time:g}")
        self.state = snapshot.state
        if snapshot.measure.grid is not self.grid:
            self._widen(snapshot.measure.grid)
        values = {name: getattr(snapshot, name, 0.0) for name in HISTORY}
        values["t"], values["wall_s"] = snapshot.time, wall
        for name, value in values.items():
            self.history[name].append(float(value))
        self.drive.append(snapshot.f)
        if snapshot.output:
            np.divide(snapshot.measure.mass, self.grid.cell_size, out=self.density[len(self.times)])
            self.times.append(snapshot.time)
            self.f.append(snapshot.f)

    def _widen(self, grid: Grid) -> None:
        """Go over to a larger grid with the same cells; the new ones hold next to nothing, as when they are added."""
        stored = len(self.times)
        density = np.empty((len(self.study.times), *grid.shape))
        density[:stored] = SMALLEST_MASS
        inside = [slice(stored), slice(None)]
        for inner, outer in zip(self.grid.axes, grid.axes, strict=True):
            before = round((inner.lower - outer.lower) / outer.width)
            inside.append(slice(before, before + inner.cells))
        density[tuple(inside)] = self.density[:stored]
        self.grid, self.density = grid, density

    def pack(self, finished: bool) -> Limit:
        return Limit(
            self.study,
            self.grid,
            np.array(self.times),
            self.density[: len(self.times)],
            np.stack(self.f),
            {name: np.array(values) for name, values in self.history.items()},
            np.stack(self.drive),
            self.rest,
            self.state.rejected,
            self.flux,
            self.features,
            finished,
        )


def _start(study: Study) -> _Run:
    grid = study.grid
    measure = initial_measure(study.law, grid)
    table = tabulate(study.problem, grid)
    noisy = study.problem.temperature > 0.0
    flux = _choose_flux(study, evolve.weighted_peclet(table, measure.mass)) if noisy else "limited"
    run = _Run(study, evolve.State(measure, 0.0), flux, table.choice.summary)
    run.table = table
    return run


def _continued(stored: Limit, state: evolve.State) -> _Run:
    run = _Run(stored.study, state, stored.flux, stored.features)
    run.times = stored.times.tolist()
    run.density[: len(run.times)] = stored.density
    run.f, run.drive = list(stored.f), list(stored.drive_f)
    run.history = {name: values.tolist() for name, values in stored.history.items()}
    run.rest, run.wall = stored.rest, run.history["wall_s"][-1]
    return run


def _tell(grid: Grid, table: Tabulated) -> None:
    log.info("grid %s: %s", " x ".join(str(a.cells) for a in grid.axes), table.choice.description)


def _choose_flux(study: Study, peclet: float) -> Flux:
    if np.isnan(peclet):
        raise NumericalError("the first variation of the initial law is not finite")
    wanted = study.config.grid.flux
    if wanted != "auto":
        return wanted
    if peclet > PECLET_LIMITED:
        log.warning("cell Peclet number^2 %.3g: taking the second-order limited flux (grid.flux)", peclet)
        return "limited"
    if peclet > PECLET_ADVICE:
        log.info(
            'cell Peclet number^2 %.3g at the start: finer grid.cells, or grid.flux = "limited", would resolve it',
            peclet,
        )
    return "exponential"
