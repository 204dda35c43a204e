"""What the figures need of a run, read from its files alone: the arrays of limit.h5 and particles.h5, reduced.

Nothing here knows a Study: the variables, their attributes and the study text inside the files suffice.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.cli.coordinates import Coordinate, atom_coordinates, free_coordinates, with_columns
from mfpde.cli.sources import Source
from mfpde.errors import DataFileError, MfpdeError
from mfpde.io import store

if TYPE_CHECKING:
    from mfpde.compare.rates import Rate

Array = NDArray[np.float64]

ERRORS = ("function_error", "function_error_iid", "coupling_error")
SERIES = ("risk", *ERRORS)


@dataclass(frozen=True, eq=False)
class Grid:
    """The limit on a grid: times [K], centers, density [K, species, n_1, ..., n_D] (no times: stationary alone).

    species: parameter -> [species] values of frozen parameters, with their probabilities.
    """

    times: Array
    centers: tuple[Array, ...]
    density: Array
    stationary: Array | None
    species: Mapping[str, Array]
    probabilities: Array


@dataclass(frozen=True, eq=False)
class Atoms:
    """The limit at temperature 0: times [K], theta [K, m, D] in the drawn coordinates, weights [m]."""

    times: Array
    theta: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class Nodes:
    """The data: x [n, blocks], target [n], weight [n]; predictions f [K, n] at times [K], f_rest [n] at rest."""

    x: Array
    target: Array
    weight: Array
    times: Array
    f: Array
    f_rest: Array | None


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One width: times [K], values [K, R, N, D] in the drawn coordinates, species [R, N], series name -> [K, R]."""

    width: int
    times: Array
    values: Array
    species: NDArray[np.int64]
    series: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Output:
    """All that one run left; what it lacks is None or empty. ``law`` of the data as in the study, or "pairwise"."""

    title: str
    coordinates: tuple[Coordinate, ...]
    grid: Grid | None = None
    atoms: Atoms | None = None
    nodes: Nodes | None = None
    history: Mapping[str, Array] = field(default_factory=dict)
    free_energy: float | None = None
    convex: bool = True
    law: str = ""
    logistic: bool = False
    ensembles: tuple[Ensemble, ...] = ()

    @cached_property
    def rates(self) -> dict[str, Rate]:
        """The power law in N of every error at the last time; one without (a single width, zeros) is left out."""
        from mfpde.compare.rates import fit_rate

        found = {}
        for name in ERRORS:
            known = [one for one in self.ensembles if name in one.series]
            with contextlib.suppress(MfpdeError):
                found[name] = fit_rate([one.width for one in known], [one.series[name][-1] for one in known])
        return found


def read(source: Source) -> Output:
    """The arrays of a run. Raises DataFileError, naming file and variable, if something essential is missing."""
    names = _parameters(source)
    if source.limit is None:
        return _particles_only(source, names)
    contents = store.read(source.limit, ["/limit", "/history", "/stationary"])
    study = _study(contents.attributes)
    where = "/limit" if "/limit" in contents.groups else "/stationary"
    group = contents.groups.get(where)
    if group is None:
        raise DataFileError(f"{source.limit} holds neither /limit nor /stationary")
    rest = contents.groups.get("/stationary")
    grid, atoms = None, None
    if "theta" in group.variables:
        coordinates = with_columns(atom_coordinates(group, names, study), names, study)
        atoms = _atoms(group, coordinates)
    else:
        coordinates = with_columns(_grid_coordinates(source.limit, group), names, study)
        grid = _grid(source.limit, contents, where, coordinates)
    history = contents.groups.get("/history", store.Group())
    return Output(
        title=str(contents.attributes.get("title", "")),
        coordinates=coordinates,
        grid=grid,
        atoms=atoms,
        nodes=_nodes(group, rest),
        history={name: variable.data for name, variable in history.variables.items()},
        free_energy=None if rest is None else float(rest.attributes["free_energy"]),
        convex=bool(group.attributes.get("convex", "pairwise" not in study)),
        law=_law(study),
        logistic=study.get("training", {}).get("loss") == "logistic",
        ensembles=_ensembles(source, names, coordinates, {} if grid is None else grid.species),
    )


def _study(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return tomllib.loads(str(attributes.get("config", "")))


def _law(study: Mapping[str, Any]) -> str:
    return "pairwise" if "pairwise" in study else str(study.get("data", {}).get("law", ""))


def _need(path: Path, group: store.Group, where: str, name: str) -> Array:
    if name not in group.variables:
        raise DataFileError(f"{path} holds no {where}/{name}")
    return np.asarray(group.variables[name].data)


# ---- the limit ---------------------------------------------------------------------------------------------------


def _grid_coordinates(path: Path, group: store.Group) -> tuple[Coordinate, ...]:
    if "density" not in group.variables:
        raise DataFileError(f"{path} holds no density")
    axes = [dim for dim in group.variables["density"].dims if dim not in ("time", "species")]
    return tuple(Coordinate(name, str(group.variables[name].attrs.get("kind", "line"))) for name in axes)


def _grid(path: Path, contents: store.Contents, where: str, coordinates: tuple[Coordinate, ...]) -> Grid:
    group = contents.groups[where]
    centers = tuple(_need(path, group, where, c.name) for c in coordinates)
    rest = contents.groups.get("/stationary")
    stationary = None
    if rest is not None and "density" in rest.variables:
        stationary = _with_species(rest.variables["density"])
        if stationary.shape[1:] != tuple(len(x) for x in centers):
            stationary = None  # on a grid of its own
    density = _with_species(group.variables["density"])
    species = {
        name.removeprefix("species_"): variable.data
        for name, variable in group.variables.items()
        if name.startswith("species_") and name != "species_probability"
    }
    count = density.shape[-len(centers) - 1]
    has = "species_probability" in group.variables
    probabilities = group.variables["species_probability"].data if has else np.ones(count)
    if where == "/stationary":
        return Grid(np.zeros(0), centers, density[None], density, species, probabilities)
    return Grid(_need(path, group, where, "time"), centers, density, stationary, species, probabilities)


def _with_species(variable: store.Variable) -> Array:
    """The density with a species axis, of length one if the file has none."""
    if "species" in variable.dims:
        return np.asarray(variable.data)
    return np.expand_dims(variable.data, 1 if variable.dims[0] == "time" else 0)


def _atoms(group: store.Group, coordinates: tuple[Coordinate, ...]) -> Atoms:
    own = [str(name) for name in group.variables["parameter"].data]
    columns = [own.index(c.name) for c in coordinates]
    v = group.variables
    return Atoms(v["time"].data, v["theta"].data[..., columns], v["atom_weight"].data)


def _nodes(group: store.Group, rest: store.Group | None) -> Nodes | None:
    v = group.variables
    if not {"x", "f", "target", "weight"} <= v.keys():
        return None
    f, times = v["f"].data, v["time"].data if "time" in v else np.zeros(0)
    f_rest = rest.variables["f"].data if rest is not None and "f" in rest.variables else None
    return Nodes(v["x"].data, v["target"].data, v["weight"].data, times, f[: len(times)], f_rest)


# ---- the particles -----------------------------------------------------------------------------------------------


def _parameters(source: Source) -> tuple[str, ...]:
    """Names of the columns of a particle; () without particles."""
    groups = _widths(source)
    if not groups:
        return ()
    assert source.particles is not None
    return tuple(str(name) for name in _width(source.particles, groups[0]).variables["parameter"].data)


def _widths(source: Source) -> list[str]:
    if source.particles is None:
        return []
    return sorted(name for name in store.outline(source.particles)["groups"] if name.startswith("/ensemble/"))


def _width(path: Path, name: str) -> store.Group:
    return store.read(path, [name]).groups[name]


def _ensembles(
    source: Source, names: tuple[str, ...], coordinates: tuple[Coordinate, ...], species: Mapping[str, Array]
) -> tuple[Ensemble, ...]:
    """Every width in turn, reduced at once: full-dimensional particles of all widths need not fit into memory."""
    found = []
    for name in _widths(source):
        assert source.particles is not None
        group = _width(source.particles, name)
        theta = _need(source.particles, group, name, "theta")
        found.append(
            Ensemble(
                int(group.attributes["width"]),
                _need(source.particles, group, name, "time"),
                np.stack([_reduced(theta, c) for c in coordinates], axis=-1),
                _nearest_species(theta[0], names, species),
                {key: group.variables[key].data for key in SERIES if key in group.variables},
            )
        )
    return tuple(sorted(found, key=lambda one: one.width))


def _reduced(theta: Array, coordinate: Coordinate) -> Array:
    if coordinate.kind == "radius":
        return np.sqrt(sum(theta[..., column] ** 2 for column in coordinate.columns))
    values = theta[..., coordinate.columns[0]]
    return np.mod(values + np.pi, 2.0 * np.pi) - np.pi if coordinate.kind == "circle" else values


def _nearest_species(theta: Array, names: tuple[str, ...], species: Mapping[str, Array]) -> NDArray[np.int64]:
    """Index of the species whose frozen values lie nearest to those of theta [R, N, p] : [R, N]."""
    known = [name for name in species if name in names]
    if not known:
        return np.zeros(theta.shape[:-1], dtype=np.int64)
    distance = sum((theta[..., names.index(name), None] - species[name]) ** 2 for name in known)
    return np.argmin(np.asarray(distance), axis=-1)


def _particles_only(source: Source, names: tuple[str, ...]) -> Output:
    """Particles without a limit: what moves, the input weights reduced as the law allows, at most three coordinates."""
    assert source.particles is not None
    groups = _widths(source)
    if not groups:
        raise DataFileError(f"{source.particles} holds no /ensemble")
    study = _study(store.outline(source.particles)["attributes"])
    first = _width(source.particles, groups[0])
    theta = _need(source.particles, first, groups[0], "theta")
    moving = [name for k, name in enumerate(names) if len(theta) == 1 or np.any(theta[-1, ..., k] != theta[0, ..., k])]
    coordinates = with_columns(free_coordinates(moving, study), names, study)
    return Output(
        title=str(study.get("title", "")),
        coordinates=coordinates,
        law=_law(study),
        logistic=study.get("training", {}).get("loss") == "logistic",
        ensembles=_ensembles(source, names, coordinates, {}),
    )
