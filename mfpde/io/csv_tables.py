"""An output file as csv tables: GROUP.AXES.csv holds all variables of a group that live on the same axes.

The axes ``parameter`` and ``block`` become columns; the widths (or dimensions) of an ensemble share a table, with a
column ``width`` (or ``dimension``). Rows run over the other axes in stored order; /restart is no result and left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import DataFileError
from mfpde.io import store
from mfpde.io.store import Group, Variable

SPREAD = ("parameter", "block")
PARTICLES = "particle"
# attributes that tell the members of an ensemble apart
SIZES = ("width", "dimension")


def table_names(path: str, particles: bool) -> list[str]:
    """Names of the tables ``write_tables`` would write."""
    names = []
    for name, group in store.outline(path)["groups"].items():
        if not name.startswith("/restart"):
            empty = {
                key: Variable(tuple(v["dims"]), np.empty([0] * len(v["dims"]))) for key, v in group["variables"].items()
            }
            member = _size(group["attributes"]) is not None
            names += [_file_name(name, axes, member) for axes in _tables(Group(empty), particles)]
    if not names:
        raise DataFileError(f"{path} holds no results to write")
    return list(dict.fromkeys(names))


def write_tables(path: str, directory: Path, particles: bool, last: bool) -> dict[str, int]:
    """Write the tables of an output into ``directory`` and return their numbers of rows; ``last``: final time only.

    Raises DataFileError and FileSystemError as ``store.read`` and ``store.save``.
    """
    texts: dict[str, io.StringIO] = {}
    rows: dict[str, int] = {}
    for name in store.outline(path)["groups"]:
        group = store.read(path, [name]).groups.get(name)
        if group is None or name.startswith("/restart"):
            continue
        group = _at_last_time(group) if last else group
        size = _size(group.attributes)
        for axes, variables in _tables(group, particles).items():
            columns = _columns(group, axes, variables)
            length = len(next(iter(columns.values())))
            if size is not None and name.startswith("/ensemble/"):
                columns = {size: np.full(length, int(group.attributes[size])), **columns}
            file = _file_name(name, axes, size is not None)
            writer = csv.writer(texts.setdefault(file, io.StringIO()), lineterminator="\n")
            if file not in rows:
                writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
            rows[file] = rows.get(file, 0) + length
    for file, text in texts.items():
        store.save(directory / file, text.getvalue().encode())
    return rows


def _size(attributes: Mapping[str, object]) -> str | None:
    """The attribute with the size of a member of an ensemble; None where the group is no such member."""
    return next((name for name in SIZES if name in attributes), None)


def _file_name(group: str, axes: tuple[str, ...], member: bool) -> str:
    """The members of an ensemble share the name of their parent."""
    parts = group.strip("/").split("/")
    base = "-".join(parts[:-1] if member and parts[0] == "ensemble" else parts)
    return f"{base}.{'-'.join(axes)}.csv"


def _tables(group: Group, particles: bool) -> dict[tuple[str, ...], list[str]]:
    """Row axes -> variables on them; an axis that no variable but its own coordinate uses has no table."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, variable in group.variables.items():
        axes = tuple(axis for axis in variable.dims if axis not in SPREAD)
        if variable.dims != (name,) and axes and (particles or PARTICLES not in axes):
            found.setdefault(axes, []).append(name)
    return found


def _columns(group: Group, axes: tuple[str, ...], names: list[str]) -> dict[str, NDArray[np.generic]]:
    shape = tuple(len(group.variables[axis].data) for axis in axes)
    mesh = np.meshgrid(*(group.variables[axis].data for axis in axes), indexing="ij")
    columns: dict[str, NDArray[np.generic]] = {axis: m.reshape(-1) for axis, m in zip(axes, mesh, strict=True)}
    for name in names:
        columns |= dict(_values(group, name, shape))
    return columns


def _values(group: Group, name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The columns of one variable: itself, or one per parameter (by its name) or input block (x0, x1, …)."""
    variable = group.variables[name]
    if variable.dims[-1] not in SPREAD:
        yield name, variable.data.reshape(-1)
        return
    flat = variable.data.reshape(*shape, -1).reshape(int(np.prod(shape)), -1)
    labels = group.variables[variable.dims[-1]].data
    for k in range(flat.shape[1]):
        yield str(labels[k]) if variable.dims[-1] == "parameter" else f"{name}{k}", flat[:, k]


def _at_last_time(group: Group) -> Group:
    cut = {}
    for name, variable in group.variables.items():
        data = variable.data[-1:] if variable.dims[:1] == ("time",) else variable.data
        cut[name] = Variable(variable.dims, data, variable.attrs)
    return Group(cut, group.attributes)
