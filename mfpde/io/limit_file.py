"""The limit of a study and its file ``limit.h5``: densities at stored times, history of all steps, stationary measure.

The group /restart holds what an exact continuation needs: masses, time, step size, predictor slope and box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve, stationary
from mfpde import problem as problems
from mfpde.initial import frozen_species
from mfpde.io import store
from mfpde.io.build import Study
from mfpde.io.origin import read_own, root_attributes
from mfpde.measures import Axis, Grid, GridMeasure

Array = NDArray[np.float64]
Flux = Literal["exponential", "limited"]

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


def load(study: Study, path: str) -> tuple[Limit, evolve.State]:
    """The limit of ``study`` from its file, and the state from which it goes on."""
    contents = read_own(study, path, "limit")
    groups = contents.groups
    state = _load_state(study, groups["/restart"])
    grid, attributes = state.measure.grid, groups["/limit"].attributes
    stored = {name: variable.data for name, variable in groups["/limit"].variables.items()}
    limit = Limit(
        study,
        grid,
        stored["time"],
        stored["density"].reshape((-1, *grid.shape)),
        stored["f"],
        {name: groups["/history"].variables[name].data for name in HISTORY},
        groups["/restart"].variables["drive_f"].data,
        _load_stationary(study, groups.get("/stationary"), grid),
        state.rejected,
        attributes["flux"],
        attributes["features"],
        bool(contents.attributes["finished"]),
    )
    return limit, state


def _load_state(study: Study, restart: store.Group) -> evolve.State:
    start = {name: variable.data for name, variable in restart.variables.items()}
    axes = tuple(
        Axis(c, float(lo), float(hi), int(n))
        for c, lo, hi, n in zip(study.problem.moving, start["lower"], start["upper"], start["cells"], strict=True)
    )
    grid = Grid(axes, frozen_species(study.law, study.problem.frozen))
    a = restart.attributes
    return evolve.State(
        GridMeasure(grid, start["mass"].reshape(grid.shape)),
        float(a["time"]),
        int(a["step"]),
        float(a["dt"]),
        start.get("slope"),
        float(a["best_dual"]),
        int(a["rejected"]),
    )


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
