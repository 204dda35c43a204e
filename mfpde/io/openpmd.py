"""An output of solve as an openPMD 1.1 series in one HDF5 file: densities as meshes, networks and atoms as particles.

One iteration per stored time, group-based. openPMD readers ask for less than our own files hold: text of fixed length
in ASCII, no dimension scales (openPMD-api skips a mesh that carries them), uniform axes, names of species that do not
end in digits. What openPMD has no place for (predictions, risks, the history) is left out.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import DataFileError
from mfpde.io import store

Array = NDArray[np.float64]

PARTICLE_AXES = ("time", "replica", "particle", "parameter")
ATOM_AXES = ("time", "atom", "parameter")
# centers of cells may be this far from equal distances, as a share of one
UNEVEN = 1e-6
_DIMENSIONLESS = np.zeros(7)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A density at times [K] (none: it holds for all): data [K, species, n_1, ..., n_D] and the centers of its axes."""

    times: Array
    labels: tuple[str, ...]
    centers: tuple[Array, ...]
    data: Array
    extras: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Species:
    """Particles at times [K]: theta [K, R, N, p], the mass of each [N], the names of the p parameters."""

    times: Array
    parameters: tuple[str, ...]
    theta: Array
    mass: Array


@dataclass(frozen=True, eq=False)
class Series:
    """Meshes and particles by name, with the root attributes of the output they come from."""

    attributes: Mapping[str, Any]
    meshes: Mapping[str, Mesh]
    species: Mapping[str, Species]

    @property
    def times(self) -> Array:
        """Every stored time once; 0 where there is a stationary measure alone."""
        stored = [mesh.times for mesh in self.meshes.values()] + [one.times for one in self.species.values()]
        times = np.unique(np.concatenate(stored))
        return times if len(times) else np.zeros(1)


def read_series(paths: Sequence[str | os.PathLike[str]], last: bool = False) -> Series:
    """What of the output files openPMD can hold; ``last``: their final times alone.

    Raises DataFileError where that is nothing, or where an axis is not uniform.
    """
    attributes: dict[str, Any] = {}
    meshes: dict[str, Mesh] = {}
    species: dict[str, Species] = {}
    for path in paths:
        contents = store.read(path, ["/limit", "/stationary", "/ensemble"])
        attributes = attributes or contents.attributes
        for name, group in contents.groups.items():
            if "density" in group.variables:
                meshes["density" if name == "/limit" else "stationary_density"] = _mesh(path, group, last)
            theta = group.variables.get("theta")
            if theta is not None and theta.dims == PARTICLE_AXES:
                species[f"width_{int(group.attributes['width'])}_neurons"] = _particles(group, last)
            elif theta is not None and theta.dims == ATOM_AXES:
                species["atoms"] = _atoms(group, last)
    if not meshes and not species:
        where = " nor ".join(str(path) for path in paths)
        raise DataFileError(f"{where} holds neither a density nor particles", "--to csv or npz takes any output")
    return Series(attributes, meshes, species)


def image(series: Series) -> memoryview:
    """The bytes of the HDF5 file: equal input gives equal bytes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v114"), track_order=True) as file:
        _write_root(file, series.attributes)
        # a path that is announced must exist in every iteration
        parts = [part for part, held in (("meshes", series.meshes), ("particles", series.species)) if held]
        _annotate(file, **{f"{part}Path": f"{part}/" for part in parts})
        times = series.times
        steps = np.diff(times, prepend=times[0])
        for k, time in enumerate(times):
            group = file.create_group(f"/data/{k}", track_order=True)
            _annotate(group, time=float(time), dt=float(steps[k]), timeUnitSI=1.0)
            for part in parts:
                group.create_group(part, track_order=True)
            for name, mesh in series.meshes.items():
                _write_mesh(group, name, mesh, float(time), k == len(times) - 1)
            for name, one in series.species.items():
                _write_species(group, name, one, float(time))
    return buffer.getbuffer()


# ---- reading -------------------------------------------------------------------------------------------------------


def _mesh(path: str | os.PathLike[str], group: store.Group, last: bool) -> Mesh:
    density = group.variables["density"]
    labels = tuple(axis for axis in density.dims if axis not in ("time", "species"))
    centers = tuple(np.asarray(group.variables[label].data, dtype=float) for label in labels)
    for label, x in zip(labels, centers, strict=True):
        spacing = np.diff(x)
        if len(x) < 2 or np.ptp(spacing) > UNEVEN * abs(spacing[0]):
            raise DataFileError(f"the axis {label} of {path} is not uniform, as a mesh of openPMD 1.1 must be")
    data = density.data if "species" in density.dims else np.expand_dims(density.data, -len(labels) - 1)
    extras = {name: v.data for name, v in group.variables.items() if name.startswith("species_")}
    if "time" not in density.dims:
        return Mesh(np.zeros(0), labels, centers, data[None], extras)
    first = -1 if last else 0
    return Mesh(group.variables["time"].data[first:], labels, centers, data[first:], extras)


def _particles(group: store.Group, last: bool) -> Species:
    first = -1 if last else 0
    theta = group.variables["theta"].data[first:]
    count = theta.shape[2]
    return Species(group.variables["time"].data[first:], _parameters(group), theta, np.full(count, 1.0 / count))


def _atoms(group: store.Group, last: bool) -> Species:
    first = -1 if last else 0
    theta = group.variables["theta"].data[first:, None]
    return Species(group.variables["time"].data[first:], _parameters(group), theta, group.variables["atom_weight"].data)


def _parameters(group: store.Group) -> tuple[str, ...]:
    return tuple(str(name) for name in group.variables["parameter"].data)


# ---- writing -------------------------------------------------------------------------------------------------------


def _write_root(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    software, _, version = str(attributes.get("source", "mfpde")).partition(" ")
    created = re.sub(r"Z$", " +0000", str(attributes.get("created", "")).replace("T", " "))
    _annotate(
        file,
        openPMD="1.1.0",
        openPMDextension=np.uint32(0),
        basePath="/data/%T/",
        iterationEncoding="groupBased",
        iterationFormat="/data/%T/",
        author="unknown",
        software=software,
        softwareVersion=version or "unknown",
        date=created or "1970-01-01 00:00:00 +0000",
        comment=str(attributes.get("title", "")) or "no title",
        config_sha256=str(attributes.get("config_sha256", "")) or "unknown",
    )


def _write_mesh(iteration: h5py.Group, name: str, mesh: Mesh, time: float, final: bool) -> None:
    """The mesh at one time; what does not change stands in the last iteration."""
    if len(mesh.times):
        places = np.flatnonzero(mesh.times == time)
        if not len(places):
            return
        data = mesh.data[places[0]]
    elif final:
        data = mesh.data[0]
    else:
        return
    parent = iteration["meshes"]
    spacing = [(x[-1] - x[0]) / (len(x) - 1) for x in mesh.centers]
    record: dict[str, Any] = {
        "geometry": "cartesian",
        "dataOrder": "C",
        "axisLabels": list(mesh.labels),
        "gridSpacing": spacing,
        "gridGlobalOffset": [x[0] - 0.5 * h for x, h in zip(mesh.centers, spacing, strict=True)],
        "gridUnitSI": 1.0,
        "unitDimension": _DIMENSIONLESS,
        "timeOffset": 0.0,
    }
    component: dict[str, Any] = {"position": [0.5] * len(mesh.labels), "unitSI": 1.0}
    if len(data) == 1:
        _annotate(_dataset(parent, name, data[0]), **record, **component)
        return
    group = parent.create_group(name, track_order=True)
    _annotate(group, **record, **mesh.extras)
    for k, values in enumerate(data):
        _annotate(_dataset(group, f"species_{k}", values), **component)


def _write_species(iteration: h5py.Group, name: str, species: Species, time: float) -> None:
    places = np.flatnonzero(species.times == time)
    if not len(places):
        return
    theta = species.theta[places[0]]
    replicas, count = theta.shape[:2]
    group = iteration["particles"].create_group(name, track_order=True)
    each = {"unitDimension": _DIMENSIONLESS, "timeOffset": 0.0, "macroWeighted": np.uint32(0), "weightingPower": 0.0}
    for record in ("position", "positionOffset"):
        _annotate(group.create_group(record, track_order=True), **each)
    for k, parameter in enumerate(species.parameters):
        _annotate(_dataset(group["position"], parameter, theta[..., k].reshape(-1)), unitSI=1.0)
        shape = np.array([replicas * count], dtype=np.uint64)
        _annotate(group["positionOffset"].create_group(parameter), value=0.0, shape=shape, unitSI=1.0)
    numbers = np.arange(replicas * count, dtype=np.uint64)
    _annotate(_dataset(group, "id", numbers), **each, unitSI=1.0)
    _annotate(_dataset(group, "replica", numbers // np.uint64(count)), **each, unitSI=1.0)
    weighted = each | {"macroWeighted": np.uint32(1), "weightingPower": 1.0}
    _annotate(_dataset(group, "weighting", np.tile(species.mass, replicas)), **weighted, unitSI=1.0)


def _dataset(parent: h5py.Group, name: str, data: NDArray[Any]) -> h5py.Dataset:
    values = np.ascontiguousarray(data)
    return parent.create_dataset(name, data=values, chunks=values.shape, fletcher32=True, track_times=False)


def _annotate(target: h5py.HLObject, **attributes: Any) -> None:
    """Text as fixed-length ASCII: openPMD readers refuse the variable-length text that h5py writes by itself."""
    for name, value in attributes.items():
        if isinstance(value, str):
            target.attrs.create(name, np.bytes_(value.encode("ascii", "replace")))
        elif isinstance(value, list) and isinstance(value[0], str):
            target.attrs.create(name, np.array([item.encode("ascii", "replace") for item in value]))
        else:
            target.attrs.create(name, np.asarray(value))
