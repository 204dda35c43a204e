"""Any output file as laws at stored times: grid densities, atoms, ensembles, the stationary measure; read as needed.

Works from the file alone and the study stored in it. Particles are reduced to the coordinates of their problem; where
its data file is gone the law of the data has no symmetry to reduce by, and the parameters are the coordinates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.compare.agreement import reduced_atoms
from mfpde.compare.laws import Law
from mfpde.errors import ConfigError, DataFileError
from mfpde.io import store, vet
from mfpde.io.build import build
from mfpde.io.config import parse
from mfpde.io.particles import SERIES, group_name
from mfpde.io.schema import Config
from mfpde.measures import Axis, Grid, GridMeasure, ParticleMeasure, Species
from mfpde.problem import Coordinate, Problem

Array = NDArray[np.float64]
Kind = Literal["limit", "atoms", "particles", "stationary"]

AT_REST = np.array([np.inf])


@dataclass(frozen=True, eq=False)
class Output:
    """An output: stored ``times`` [K] (infinity for the stationary measure) and the curves that need no density.

    ``risk`` width -> [K, replicas], the limit under width 0 with one column; ``f`` [K, n] at ``nodes`` (name -> array);
    ``series`` width -> name -> [K, replicas]; ``free_energy`` [K]; the last three empty where the file has none.
    """

    path: str
    kind: Kind
    config: Config
    finished: bool
    times: Array
    risk: dict[int, Array]
    free_energy: Array | None = None
    f: Array | None = None
    nodes: dict[str, Array] = field(default_factory=dict)
    series: dict[int, dict[str, Array]] = field(default_factory=dict)
    rest: float | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of an ensemble; (0,) for anything else."""
        return tuple(self.risk)

    @property
    def moving(self) -> tuple[str, ...]:
        """Groups of parameters that move, by the study."""
        return ("w",) if self.config.network is None else self.config.network.train

    @property
    def circular(self) -> bool:
        """Whether the coordinate is an angle."""
        return self.config.pairwise is not None and self.config.pairwise.circle


def open_output(path: str) -> Output:
    """Vet an output file and read its curves.

    Raises DataFileError for a file that is damaged or not an output of solve, FileSystemError if it cannot be read.
    """
    outline = store.outline(path)
    attributes, groups = outline["attributes"], outline["groups"]
    try:
        config = parse(str(attributes.get("config", "")))
    except ConfigError as error:
        raise DataFileError(f"{path} holds no study this version understands: {error}") from None
    common = (path, config, bool(attributes.get("finished")))
    widths = [name for name in groups if name.startswith("/ensemble/")]
    with _file(path) as file:
        if widths:
            return _particles(*common, file)
        if "/limit" in groups and "theta" in groups["/limit"]["variables"]:
            return _limit(*common, file, "atoms")
        if "/limit" in groups:
            return _limit(*common, file, "limit")
        if "/stationary" in groups:
            return _stationary(*common, file)
    raise DataFileError(f"{path} holds neither a limit nor particles nor a stationary measure")


def at_rest(output: Output) -> Output:
    """The stationary measure that an output of the limit carries; the output itself if it has none."""
    if output.kind != "limit" or output.rest is None:
        return output
    with _file(output.path) as file:
        return _stationary(output.path, output.config, output.finished, file)


def law(output: Output, k: int, width: int = 0) -> Law:
    """The law at stored time k; of an ensemble the replicas of one width."""
    if output.kind == "particles":
        return _replicas(output, k, width)
    with _file(output.path) as file:
        group = file["/stationary" if output.kind == "stationary" else "/limit"]
        if output.kind == "atoms":
            names = tuple(name.decode() for name in group["parameter"][...])
            return (ParticleMeasure(names, group["theta"][k], group["atom_weight"][...]),)
        return (_density(group, None if output.kind == "stationary" else k),)


@contextmanager
def _file(path: str) -> Iterator[h5py.File]:
    with vet.reading(path) as file:
        vet.vet(file)
        yield file


def _limit(path: str, config: Config, finished: bool, file: h5py.File, kind: Kind) -> Output:
    limit, history = file["/limit"], file["/history"]
    times = limit["time"][...]
    found = Output(path, kind, config, finished, times, {0: _at(history, "risk", times)[:, None]})
    return replace(
        found,
        free_energy=_at(history, "free_energy", times),
        f=limit["f"][...],
        nodes=_nodes(limit),
        rest=float(file["/stationary"].attrs["free_energy"]) if "stationary" in file else None,
    )


def _at(history: h5py.Group, name: str, times: Array) -> Array:
    """The history at stored times, every one of which ended a step."""
    index = np.searchsorted(history["t"][...], times)
    return np.asarray(history[name][...][index])


def _stationary(path: str, config: Config, finished: bool, file: h5py.File) -> Output:
    group = file["/stationary"]
    energy = float(group.attrs["free_energy"])
    risk = {0: np.array([[float(group.attrs["risk"])]])}
    return Output(
        path,
        "stationary",
        config,
        finished,
        AT_REST,
        risk,
        np.array([energy]),
        group["f"][...][None],
        _nodes(group),
        rest=energy,
    )


def _nodes(group: h5py.Group) -> dict[str, Array]:
    return {name: group[name][...] for name in ("weight", "target", "x") if name in group}


def _particles(path: str, config: Config, finished: bool, file: h5py.File) -> Output:
    groups = {int(group.attrs["width"]): group for group in file["/ensemble"].values()}
    series = {
        width: {name: group[name][...] for name in SERIES if name in group} for width, group in sorted(groups.items())
    }
    times = next(iter(groups.values()))["time"][...]
    risk = {width: values["risk"] for width, values in series.items()}
    return Output(path, "particles", config, finished, times, risk, series=series)


def _replicas(output: Output, k: int, width: int) -> Law:
    with _file(output.path) as file:
        group = file[group_name(width)]
        parameters, theta = tuple(name.decode() for name in group["parameter"][...]), group["theta"][k]
    problem = _problem(output)
    if problem is None:
        values = {name: theta[..., column] for column, name in enumerate(parameters)}
    else:
        values = reduced_atoms(problem, parameters, theta)
    names = tuple(values)
    points = np.stack([values[name] for name in names], axis=-1)
    weights = np.full(points.shape[1], 1.0 / points.shape[1])
    return tuple(ParticleMeasure(names, replica, weights) for replica in points)


def _problem(output: Output) -> Problem | None:
    """The problem of the study, for the coordinates it reduces to; None if its data file is gone."""
    try:
        return build(output.config, os.path.basename(output.path), None).problem
    except ConfigError:
        return None


def _density(group: h5py.Group, k: int | None) -> GridMeasure:
    density = group["density"]
    dims = np.asarray(density.attrs["axes"]).item().decode().split()
    dims = dims if k is None else dims[1:]
    values = density[...] if k is None else density[k]
    species = Species((), np.zeros((1, 0)), np.ones(1))
    if dims[0] == "species":
        dims = dims[1:]
        stored = [name for name in group if name.startswith("species_") and name != "species_probability"]
        columns = np.stack([group[name][...] for name in stored], axis=1)
        names = tuple(name.removeprefix("species_") for name in stored)
        species = Species(names, columns, group["species_probability"][...])
    else:
        values = values[None]
    grid = Grid(tuple(_axis(group[name]) for name in dims), species)
    return GridMeasure(grid, values * grid.cell_size)


def _axis(item: h5py.Dataset) -> Axis:
    """An axis from its centres and width; the block behind a radius is not needed to compare reduced densities."""
    name = item.name.rsplit("/", 1)[-1]
    centers, width = item[...], float(item.attrs["width"])
    coordinate = Coordinate(name, name[0], kind=np.asarray(item.attrs["kind"]).item().decode())
    return Axis(coordinate, float(centers[0] - 0.5 * width), float(centers[-1] + 0.5 * width), len(centers))
