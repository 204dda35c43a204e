"""Any output of mfpde as one object: what it holds at once, its numbers when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.display import Facts, Shown
from mfpde.io import store

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Groups(Mapping[str, store.Group]):
    """The groups of a file by path ("limit", "ensemble/N000064"); each is read when it is asked for, and kept."""

    path: str
    names: tuple[str, ...]
    _read: dict[str, store.Group] = field(default_factory=dict)

    def __getitem__(self, name: str) -> store.Group:
        """Raises KeyError that names the groups there are; DataFileError if the file has been damaged meanwhile."""
        name = name.strip("/")
        if name not in self.names:
            raise KeyError(f"{self.path} holds no group {name!r}; it holds {', '.join(self.names)}")
        if name not in self._read:
            self._read[name] = store.read(self.path, [name]).groups[f"/{name}"]
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Groups({', '.join(self.names)})"


@dataclass(frozen=True, eq=False, repr=False)
class Opened(Shown):
    """An output: attributes of its root (title, study as TOML, seed, …), groups, and ``output["limit/density"]``."""

    path: str
    attributes: Mapping[str, Any]
    groups: Groups
    shapes: Mapping[str, tuple[str, ...]]

    @property
    def study(self) -> str:
        """The study that reproduces the file, as TOML."""
        return str(self.attributes.get("config", ""))

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.attributes.get("finished"))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The array "group/variable".  Raises KeyError that names what there is."""
        group, _, variable = name.strip("/").rpartition("/")
        found = self.groups[group].variables
        if variable not in found:
            raise KeyError(f"{self.path} holds no {name!r}; {group} holds {', '.join(found)}")
        return np.asarray(found[variable].data)

    def to_xarray(self, group: str | None = None) -> xarray.Dataset | xarray.DataTree:
        """One group as a Dataset, or the whole file as a DataTree, in memory.  Needs the package xarray."""
        try:
            import xarray
        except ImportError:
            raise ImportError("to_xarray needs the package xarray: pip install xarray") from None

        def dataset(name: str) -> xarray.Dataset:
            one = self.groups[name]
            variables = {key: (v.dims, v.data, dict(v.attrs)) for key, v in one.variables.items()}
            return xarray.Dataset(variables, attrs=dict(one.attributes))

        if group is not None:
            return dataset(group)
        root = xarray.Dataset(attrs=dict(self.attributes))
        return xarray.DataTree.from_dict({"/": root, **{name: dataset(name) for name in self.groups}})

    def facts(self) -> Facts:
        """Title, origin, state, and what every group holds."""
        a = self.attributes
        origin = f"{a.get('source', '?')}, {a.get('created', '?')}, seed {a.get('seed', '?')}"
        state = "finished" if self.finished else "NOT finished"
        held = [(name, ", ".join(self.shapes[name]) or "-") for name in self.groups]
        return [("file", self.path), ("title", str(a.get("title", ""))), ("from", f"{origin}, {state}"), *held]


def open(path: str | os.PathLike[str]) -> Opened:
    """Open any output of mfpde; its numbers are read when they are asked for.

    Raises DataFileError for what is no sound output, FileSystemError where the system refuses.
    """
    outline = store.outline(path)
    groups = {name.strip("/"): group for name, group in outline["groups"].items()}
    shapes = {
        name: tuple(f"{key} {'×'.join(map(str, v['shape'])) or 'scalar'}" for key, v in group["variables"].items())
        for name, group in groups.items()
    }
    return Opened(os.fspath(path), outline["attributes"], Groups(os.fspath(path), tuple(groups)), shapes)
