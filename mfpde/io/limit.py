"""Run the limit of a study into ``limit.h5``: time loop, checkpoints, stationary measure; and read it back.

The file is rewritten whole at every checkpoint and at the end.  A run that was killed continues from /restart with the
same steps: the state holds masses, time, step size, predictor slope and box.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve, stationary
from mfpde import problem as problems
from mfpde.errors import MfpdeError
from mfpde.initial import frozen_species, initial_measure
from mfpde.io import store
from mfpde.io.build import Study
from mfpde.io.interrupt import held
from mfpde.io.origin import read_own, root_attributes
from mfpde.measures import SMALLEST_MASS, Axis, Grid, GridMeasure
from mfpde.tabulate import Tabulated, tabulate

Array = NDArray[np.float64]
Report = Callable[[float, float, float], None]
Flux = Literal["exponential", "limited"]

log = logging.getLogger("mfpde")

HISTORY = (
    "t",
    "dt",
    "free_energy",
    "risk",
    "gap",
    "dissipation",
    "mass_error",
    "min_density",
    "boundary_mass",
    "increase",
    "energy_scale",
    "defect",
    "iterations",
    "sweeps",
    "wall_s",
)
# at a cell Peclet number above the first the user is told, above the second the limited flux is chosen
PECLET_ADVICE, PECLET_LIMITED = 1.0, 25.0
# an energy increase is one that round-off of the terms of F does not explain
ENERGY_ROUND_OFF = 1e-13
# mass in an outermost layer of cells from which on the user is told that the box is too small
EDGE_WARNING = 1e-6


@dataclass(frozen=True, eq=False)
class Limit:
    """The limit along stored times.

    times [K]; density [K, species, n_1, ..., n_D] on the last grid (1e-200 where a cell was added later); f [K, n];
    history name -> [steps + 1]; drive_f [steps + 1, n] predictions after every step; ``rest`` the stationary measure
    or None; ``rejected`` steps; ``features`` how those of the first grid were kept.
    """

    study: Study
    grid: Grid
    times: Array
    density: Array
    f: Array
    history: dict[str, Array]
    drive_f: Array
    rest: stationary.Stationary | None
    rejected: int
    flux: Flux
    features: str
    finished: bool

    def measure(self, k: int) -> GridMeasure:
        """The measure at stored time k."""
        return GridMeasure(self.grid, self.density[k] * self.grid.cell_size)


def run_limit(
    study: Study, path: str, *, resume: bool = False, checkpoint: float = 10.0, report: Report | None = None
) -> Limit:
    """Integrate the limit of ``study`` and write it to ``path``; ``report(time, free_energy, gap)`` after every step.

    With ``resume`` a file of the same study continues, a finished one is only read.  An interruption or a numerical
    failure writes a checkpoint and goes on as the exception it was.
    """
    run = None
    if resume and os.path.exists(path):
        run, finished = _load(study, path)
        if finished:
            return run.pack(True)
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
                save(run.pack(False), path, run.state)
                last_save = time.perf_counter()
        edge = max(run.history["boundary_mass"])
        if edge > EDGE_WARNING:
            log.warning("up to %.2g of the mass stood at the edge of the box: widen grid.bounds", edge)
        run.rest = stationary.stationary(run.take_table(), run.f[-1])
        limit = run.pack(True)
        save(limit, path, run.state)
    except (KeyboardInterrupt, MfpdeError):
        if run.times:
            save(run.pack(False), path, run.state)
        raise
    return limit


def save_stationary(study: Study, path: str) -> stationary.Stationary:
    """The stationary measure alone, from the initial law as first guess, written to ``path``."""
    table = tabulate(study.problem, study.grid)
    _tell(study.grid, table)
    rest = stationary.stationary(table, table.predict(initial_measure(study.law, study.grid).mass))
    store.write(path, {"/stationary": stationary_group(study, rest)}, root_attributes(study, "stationary", True))
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
        """The steps from the present state on."""
        grid = self.study.config.grid
        control = evolve.Control(grid.tolerance, flux=self.flux, extend=grid.bounds == "auto")
        table, state = self.take_table(), self.state
        if state.slope is not None and len(state.slope) != table.rank:
            # round-off of another processor found another number of skeleton nodes: the predictor starts anew
            state = replace(state, slope=None)
        return evolve.evolve(self.study.problem, state, self.study.times, control, table)

    def record(self, snapshot: evolve.Snapshot, wall: float) -> None:
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
    flux = _choose_flux(study, evolve.weighted_peclet(table, measure.mass))
    run = _Run(study, evolve.State(measure, 0.0), flux, table.choice.summary)
    run.table = table
    return run


def _tell(grid: Grid, table: Tabulated) -> None:
    log.info("grid %s: %s", " x ".join(str(a.cells) for a in grid.axes), table.choice.description)


def _choose_flux(study: Study, peclet: float) -> Flux:
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


# ---- file -------------------------------------------------------------------------------------------------------


def _axis_variables(grid: Grid) -> tuple[tuple[str, ...], dict[str, store.Variable]]:
    """Dimension names of densities and their coordinate variables; frozen species only where there are several."""
    variables: dict[str, store.Variable] = {}
    dims: tuple[str, ...] = ()
    species = grid.species
    if len(species.probabilities) > 1:
        dims = ("species",)
        variables["species_probability"] = store.Variable(dims, species.probabilities)
        for k, name in enumerate(species.names):
            variables[f"species_{name}"] = store.Variable(dims, species.values[:, k])
    for axis in grid.axes:
        dims = (*dims, axis.name)
        note = {"long_name": f"cell centres of {axis.name}", "kind": axis.coordinate.kind, "width": axis.width}
        variables[axis.name] = store.Variable((axis.name,), axis.centers, note)
    return dims, variables


def _squeezed(density: Array, grid: Grid) -> Array:
    """Without the species axis where there is a single one; density : [..., species, n_1, ..., n_D]."""
    return density if grid.shape[0] > 1 else np.squeeze(density, axis=-len(grid.shape))


def groups_of(limit: Limit) -> dict[str, store.Group]:
    """The groups /limit, /history and, if known, /stationary of the output layout."""
    problem = limit.study.problem
    dims, axes = _axis_variables(limit.grid)
    data = _node_variables(problem)
    residual = np.stack([problems.residual(problem, f) for f in limit.f])
    found = {
        "/limit": store.Group(
            {
                "time": store.Variable(("time",), limit.times),
                **axes,
                "density": store.Variable(
                    ("time", *dims),
                    _squeezed(limit.density, limit.grid),
                    {"long_name": "density in the reduced coordinates"},
                ),
                "f": store.Variable(("time", "node"), limit.f, {"long_name": "predictions at the data nodes"}),
                "residual": store.Variable(("time", "node"), residual, {"long_name": "weight times loss slope"}),
                **data,
            },
            {"flux": limit.flux, "features": limit.features, "convex": int(problem.convex)},
        ),
        "/history": store.Group(
            {name: store.Variable(("step",), limit.history[name]) for name in HISTORY}, {"rejected": limit.rejected}
        ),
    }
    if limit.rest is not None:
        found["/stationary"] = stationary_group(limit.study, limit.rest)
    return found


def stationary_group(study: Study, rest: stationary.Stationary) -> store.Group:
    """The group /stationary; ``dual`` is NaN where the risk is not convex, and the gap then tau KL(rho|p_rho)."""
    dims, axes = _axis_variables(rest.measure.grid)
    return store.Group(
        {
            **axes,
            "density": store.Variable(dims, _squeezed(rest.measure.density, rest.measure.grid)),
            "f": store.Variable(("node",), rest.f),
            "g": store.Variable(("node",), rest.g, {"long_name": "dual variables: loss slopes"}),
            **_node_variables(study.problem),
        },
        {
            "free_energy": rest.free_energy,
            "dual": np.nan if rest.dual is None else rest.dual,
            "gap": rest.gap,
            "risk": rest.risk,
            "newton_steps": rest.newton_steps,
        },
    )


def _node_variables(problem: problems.Problem) -> dict[str, store.Variable]:
    data = problem.data
    variables = {
        "weight": store.Variable(("node",), data.weights),
        "target": store.Variable(("node",), data.y),
    }
    if len(data.x) == len(data.y) and not isinstance(problem.model, problems.Pairwise):
        variables["x"] = store.Variable(("node", "block"), data.x)
    return variables


def save(limit: Limit, path: str, state: evolve.State) -> None:
    """Write limit.h5, complete or not at all."""
    groups = groups_of(limit)
    grid = state.measure.grid
    restart = {
        "mass": store.Variable(("cell",), state.measure.mass.reshape(-1)),
        "lower": store.Variable(("axis",), np.array([a.lower for a in grid.axes])),
        "upper": store.Variable(("axis",), np.array([a.upper for a in grid.axes])),
        "cells": store.Variable(("axis",), np.array([a.cells for a in grid.axes])),
        "drive_f": store.Variable(("drive_step", "node"), limit.drive_f),
    }
    if state.slope is not None:
        restart["slope"] = store.Variable(("skeleton",), state.slope)
    attributes = {
        "time": state.time,
        "step": state.step,
        "dt": state.dt,
        "best_dual": state.best_dual,
        "rejected": state.rejected,
    }
    groups["/restart"] = store.Group(restart, attributes)
    store.write(path, groups, root_attributes(limit.study, "limit", limit.finished))


def load_limit(study: Study, path: str) -> Limit:
    """The limit of ``study`` from its file."""
    run, finished = _load(study, path)
    return run.pack(finished)


def _load(study: Study, path: str) -> tuple[_Run, bool]:
    contents = read_own(study, path, "limit")
    attributes, groups = contents.attributes, contents.groups
    restart = groups["/restart"]
    start = {name: variable.data for name, variable in restart.variables.items()}
    axes = tuple(
        Axis(c, float(lo), float(hi), int(n))
        for c, lo, hi, n in zip(study.problem.moving, start["lower"], start["upper"], start["cells"], strict=True)
    )
    grid = Grid(axes, frozen_species(study.law, study.problem.frozen))
    a = restart.attributes
    state = evolve.State(
        GridMeasure(grid, start["mass"].reshape(grid.shape)),
        float(a["time"]),
        int(a["step"]),
        float(a["dt"]),
        start.get("slope"),
        float(a["best_dual"]),
        int(a["rejected"]),
    )
    attrs = groups["/limit"].attributes
    run = _Run(study, state, attrs["flux"], attrs["features"])
    stored = groups["/limit"].variables
    run.times = [float(t) for t in stored["time"].data]
    run.density[: len(run.times)] = stored["density"].data.reshape((-1, *grid.shape))
    run.f = list(stored["f"].data)
    run.drive = list(start["drive_f"])
    run.history = {name: [float(v) for v in groups["/history"].variables[name].data] for name in HISTORY}
    run.wall = run.history["wall_s"][-1]
    run.rest = _load_stationary(study, groups.get("/stationary"), grid)
    return run, bool(attributes["finished"])


def _load_stationary(study: Study, group: store.Group | None, grid: Grid) -> stationary.Stationary | None:
    if group is None:
        return None
    v, a = group.variables, group.attributes
    measure = GridMeasure(grid, v["density"].data.reshape(grid.shape) * grid.cell_size)
    dual = None if np.isnan(a["dual"]) else float(a["dual"])
    return stationary.Stationary(
        measure,
        v["f"].data,
        v["g"].data,
        float(a["free_energy"]),
        dual,
        float(a["gap"]),
        float(a["risk"]),
        int(a["newton_steps"]),
    )
