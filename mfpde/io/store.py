"""Files that are complete or absent: HDF5 that xarray and the netCDF tools open, saved atomically.

The image is built in memory (HDF5 itself crashes on a full disk) and saved by ``mfpde.io.atomic``. Every dataset
carries a checksum, every header too (format of HDF5 1.10), and all text has fixed length, so that a flipped bit is an
error and never a wrong number.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import mfpde
from mfpde.errors import DataFileError
from mfpde.io import vet
from mfpde.io.atomic import lock as lock
from mfpde.io.atomic import save as save
from mfpde.io.interrupt import held

CONVENTIONS = "mfpde-1"
SCHEMA = 1
# An attribute lives in an object header message of at most 64 KiB; longer study texts become a dataset.
MAX_CONFIG_ATTRIBUTE = 32 << 10
CONFIG_GROUP = "/study"
_ONE_CHUNK = 1 << 20
_CHUNK = 8 << 20
# Axis names once more as text: DIMENSION_LIST, which xarray follows, lies in the global heap, the one part of a file
# without checksum, where a flipped bit sends the HDF5 library into an endless loop.
_AXES = "axes"
_HIDDEN = {
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
}


@dataclass(frozen=True)
class Variable:
    """An array with one name per axis. ``data`` holds integers, floats or text; attributes numbers, text or lists."""

    dims: tuple[str, ...]
    data: NDArray[Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Variables by name, in order. One named like its only axis is a coordinate; missing ones are numbered 0, 1, …"""

    variables: Mapping[str, Variable] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """What a file holds: root attributes and groups by absolute path ('/limit')."""

    attributes: dict[str, Any]
    groups: dict[str, Group]


# ---- writing ---------------------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], groups: Mapping[str, Group], attributes: Mapping[str, Any]) -> None:
    """Save groups (absolute path -> Group) and root attributes as one HDF5 file, whole or not at all.

    An existing file is replaced. FileSystemError in one sentence if the system refuses (full disk, read-only, …).
    """
    with held():  # an exception of a signal inside the HDF5 library comes out as a SystemError
        save(path, image(groups, attributes))


def image(groups: Mapping[str, Group], attributes: Mapping[str, Any]) -> memoryview:
    """The bytes of the HDF5 file: equal input gives equal bytes."""
    _check_axes(groups)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v114"), track_order=True) as file:
        root = dict(attributes)
        config = str(root.get("config", ""))
        if len(config.encode()) > MAX_CONFIG_ATTRIBUTE:
            del root["config"]
            text = np.frombuffer(config.encode(), dtype=np.uint8)
            groups = {**groups, CONFIG_GROUP: Group({"config": Variable(("byte",), text)})}
        _write_attributes(file, root)
        for name, group in groups.items():
            _write_group(file.require_group(name) if name in file else _create(file, name), group)
    return buffer.getbuffer()


def _create(file: h5py.File, name: str) -> h5py.Group:
    group: h5py.Group = file
    for part in name.strip("/").split("/"):
        group = group[part] if part in group else group.create_group(part, track_order=True)
    return group


def _check_axes(groups: Mapping[str, Group]) -> None:
    """Refuse an axis that a child group redefines: xarray aligns groups with their parents."""
    sizes = {f"/{name.strip('/')}": _sizes(name, group) for name, group in groups.items()}
    for name, own in sizes.items():
        for parent, inherited in sizes.items():
            if name != parent and name.startswith(parent.rstrip("/") + "/") and own.keys() & inherited.keys():
                raise ValueError(
                    f"{name} and its parent {parent} share an axis: {sorted(own.keys() & inherited.keys())}"
                )


def _sizes(name: str, group: Group) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for key, variable in group.variables.items():
        if len(variable.dims) != np.ndim(variable.data) or len(set(variable.dims)) != len(variable.dims):
            raise ValueError(f"{name}/{key}: axes {variable.dims} do not name the shape {np.shape(variable.data)}")
        for axis, size in zip(variable.dims, np.shape(variable.data), strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ValueError(f"{name}/{key}: axis {axis} has length {size}, elsewhere {sizes[axis]}")
    return sizes


def _write_group(target: h5py.Group, group: Group) -> None:
    _write_attributes(target, group.attributes)
    sizes = _sizes(target.name, group)
    missing = {
        axis: Variable((axis,), np.arange(size, dtype=np.int32))
        for axis, size in sizes.items()
        if axis not in group.variables
    }
    variables = {**missing, **group.variables}
    scales = {axis: variables[axis] for axis in sizes}
    for axis, variable in scales.items():
        if variable.dims != (axis,):
            raise ValueError(f"{target.name}/{axis} is named like an axis but has the axes {variable.dims}")
        _write_variable(target, axis, variable).make_scale(axis)
    for name, variable in variables.items():
        if name not in scales:
            dataset = _write_variable(target, name, variable)
            for i, axis in enumerate(variable.dims):
                dataset.dims[i].attach_scale(target[axis])


def _write_variable(target: h5py.Group, name: str, variable: Variable) -> h5py.Dataset:
    data = _plain(variable.data)
    if data.size == 0 or data.ndim == 0:
        dataset = _write_compact(target, name, data)
    else:
        chunks = _chunks(variable.dims, data)
        dataset = target.create_dataset(name, data=data, track_order=True, chunks=chunks, fletcher32=True)
    _write_attributes(dataset, {**variable.attrs, _AXES: " ".join(variable.dims)})
    return dataset


def _write_compact(target: h5py.Group, name: str, data: NDArray[Any]) -> h5py.Dataset:
    """A scalar or empty array cannot be chunked; here its bytes sit inside the checksummed object header."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    plist.set_obj_track_times(False)
    plist.set_attr_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    kind = h5py.h5t.py_create(data.dtype, logical=True)
    space = h5py.h5s.create_simple(data.shape) if data.ndim else h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.Dataset(h5py.h5d.create(target.id, name.encode(), kind, space, plist))
    if data.size:
        dataset[...] = data
    return dataset


def _plain(data: NDArray[Any]) -> NDArray[Any]:
    """Little-endian numbers or fixed-length bytes, C order."""
    array = np.asarray(data)
    if array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    if array.dtype.kind == "S" and array.dtype.itemsize == 0:
        array = array.astype("S1")
    if array.dtype.kind == "b":
        array = array.astype(np.int8)
    if array.dtype.kind not in "iufS" or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        raise TypeError(f"cannot store the type {array.dtype}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


def _chunks(dims: tuple[str, ...], data: NDArray[Any]) -> tuple[int, ...]:
    """Small arrays whole, larger ones one snapshot at a time, at most 8 MiB, cut evenly: a chunk is stored whole."""
    chunk = list(data.shape)
    if data.nbytes > _ONE_CHUNK and dims[0] == "time":
        chunk[0] = 1
    for axis in range(len(chunk)):
        rest = data.dtype.itemsize * int(np.prod(chunk[axis + 1 :]))
        if chunk[axis] * rest > _CHUNK:
            pieces = -(-chunk[axis] // max(1, _CHUNK // rest))
            chunk[axis] = -(-chunk[axis] // pieces)
    return tuple(chunk)


def _write_attributes(target: h5py.HLObject, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        array = _plain(np.asarray(value))
        kind = None
        if array.dtype.kind == "S" and any(byte > 127 for byte in array.tobytes()):
            kind = h5py.string_dtype("utf-8", array.dtype.itemsize)
        target.attrs.create(name, array, dtype=kind)


# ---- reading ---------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], groups: Iterable[str] | None = None) -> Contents:
    """Vetted contents of a file that ``write`` made; ``groups`` limits the reading to those and what lies below them.

    DataFileError if it is not such a file, is damaged or not safe; FileSystemError if it cannot be opened.
    """
    wanted = None if groups is None else [f"/{name.strip('/')}" for name in groups]
    with vet.reading(path) as file:
        attributes = _root(file, os.fspath(path))
        found: dict[str, Group] = {}
        for name, item in _walk(file):
            if wanted is None or any(name == want or name.startswith(want.rstrip("/") + "/") for want in wanted):
                found[name] = _read_group(item)
    return Contents(attributes, found)


def outline(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Attributes, and per group the attributes and {name: {dims, shape, type}} of its variables, without their numbers.

    The first, last and number of times of a group are under "time". Errors as ``read``.
    """
    with vet.reading(path) as file:
        attributes = _root(file, os.fspath(path))
        groups = {name: _outline_group(item) for name, item in _walk(file)}
    return {"attributes": attributes, "groups": groups}


def _outline_group(group: h5py.Group) -> dict[str, Any]:
    items = {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}
    result: dict[str, Any] = {
        "attributes": _read_attributes(group),
        "variables": {
            name: {"dims": list(_dims(item)), "shape": list(item.shape), "type": item.dtype.str.lstrip("<|")}
            for name, item in items.items()
        },
    }
    if "time" in items and items["time"].ndim == 1 and items["time"].size:
        time_axis = items["time"]
        result["time"] = {"count": time_axis.size, "first": float(time_axis[0]), "last": float(time_axis[-1])}
    return result


def not_finite(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read every number of a file, which verifies all checksums, and count those per variable that are NaN or infinite.

    Variables without any are left out. Errors as ``read``.
    """
    counts = {}
    with vet.reading(path) as file:
        _root(file, os.fspath(path))
        for name, group in _walk(file):
            for key, variable in _read_group(group).variables.items():
                if variable.data.dtype.kind == "f" and not np.isfinite(variable.data).all():
                    counts[f"{name}/{key}"] = int(np.count_nonzero(~np.isfinite(variable.data)))
    return counts


def _root(file: h5py.File, path: str) -> dict[str, Any]:
    """Vet an open file and return its root attributes, the study text checked against its digest."""
    vet.vet(file)
    attributes = _read_attributes(file)
    _check_kind(path, attributes)
    if CONFIG_GROUP in file:
        attributes["config"] = file[f"{CONFIG_GROUP}/config"][...].tobytes().decode()
    if "config" in attributes and _digest(attributes["config"]) != attributes.get("config_sha256"):
        raise DataFileError(f"{path} is damaged: its study text does not match config_sha256")
    return attributes


def _check_kind(path: str, attributes: Mapping[str, Any]) -> None:
    if attributes.get("Conventions") != CONVENTIONS:
        raise DataFileError(f"{path} is not an mfpde output: its Conventions are {attributes.get('Conventions')!r}")
    schema = attributes.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise DataFileError(f"{path} has schema {schema}; this version reads up to {SCHEMA}", "install a newer mfpde")


def _walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    for item in group.values():
        if isinstance(item, h5py.Group) and item.name != CONFIG_GROUP:
            yield item.name, item
            yield from _walk(item)


def _read_group(group: h5py.Group) -> Group:
    variables = {}
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            attributes = _read_attributes(item)
            del attributes[_AXES]
            variables[name] = Variable(_dims(item), _text(item[...]), attributes)
    return Group(variables, _read_attributes(group))


def _dims(item: h5py.Dataset) -> tuple[str, ...]:
    return tuple(np.asarray(item.attrs[_AXES]).item().decode().split())


def _read_attributes(item: h5py.HLObject) -> dict[str, Any]:
    attributes = {}
    for name in item.attrs:
        if name not in _HIDDEN:
            value = _text(np.asarray(item.attrs[name]))
            attributes[name] = value.item() if value.ndim == 0 else value
    return attributes


def _text(array: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


# ---- provenance ------------------------------------------------------------------------------------------------


def provenance(config_toml: str, title: str, seed: int, finished: bool) -> dict[str, Any]:
    """Root attributes of every output: conventions, schema, title, source, time of writing, study and its digest."""
    return {
        "Conventions": CONVENTIONS,
        "schema": SCHEMA,
        "title": title,
        "source": f"mfpde {version()}",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": config_toml,
        "config_sha256": _digest(config_toml),
        "seed": seed,
        "finished": int(finished),
    }


def version() -> str:
    """Version of mfpde."""
    return str(getattr(mfpde, "__version__", "0+unknown"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
