"""Look at an HDF5 file before believing it.

A hostile file can name other files of the machine (soft, external links, external or virtual storage), declare
terabytes in a kilobyte, loop through hard links, or ask for a filter plug-in. Everything but plain numbers and
fixed-length text reached through hard links is refused, as is whatever the HDF5 library fails on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
from h5py import h5d, h5l, h5o, h5s, h5t

from mfpde.errors import DataFileError, FileSystemError
from mfpde.io import trust

SIGNATURE = b"\x89HDF\r\n\x1a\n"
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
MAX_BYTES = 8 << 30
MAX_RATIO = 1000
MAX_CHUNK = 64 << 20
MAX_DEPTH = 16
MAX_OBJECTS = 10_000
MAX_ATTRIBUTES = 1000
MAX_ATTRIBUTE = 1 << 20
# Written by the dimension-scale interface; made of references, never read here.
SCALE_ATTRIBUTES = (b"DIMENSION_LIST", b"REFERENCE_LIST")

_FAILURES = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open an HDF5 file read-only; whatever HDF5 or numpy fails on inside the block becomes DataFileError.

    FileSystemError if the file is missing, a directory or not readable.
    """
    name = os.fspath(path)
    _check_signature(name)
    try:
        with h5py.File(name, "r", locking=False) as file:
            yield file
    except _FAILURES as error:
        first = str(error).strip("'\"").split("\n")[0][:200] or type(error).__name__
        raise DataFileError(f"{name} is damaged or not readable as HDF5: {first}") from error


def _check_signature(name: str) -> None:
    try:
        with open(name, "rb") as file:
            start = file.read(len(SIGNATURE))
    except (OSError, ValueError) as error:
        raise FileSystemError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
    if start != SIGNATURE:
        raise DataFileError(f"{name} is not an HDF5 file (no signature at its start)")


def vet(file: h5py.File) -> None:
    """Walk every object of an open file; DataFileError names the first that is not allowed.

    Allowed: groups and datasets over hard links, integers, floats and fixed-length text in compact, contiguous or
    chunked storage with the filters deflate, shuffle, fletcher32, 8 GiB in all, 1000 times the stored size at most.
    Nothing is looked at where the user trusts the file.
    """
    if trust.given():
        return
    seen: set[int] = set()
    total, objects = 0, 1
    stack: list[tuple[str, int]] = [("/", 0)]
    _vet_attributes(file.id, "/", file.filename)
    seen.add(_address(file["/"].id))
    while stack:
        path, depth = stack.pop()
        # counted before a single one is opened: a walk over millions of them would take minutes
        objects += len(file[path])
        if objects > MAX_OBJECTS:
            raise _refuse(file.filename, path, f"brings the file beyond the {MAX_OBJECTS} objects allowed")
        for name in _links(file, path):
            child = f"{path.rstrip('/')}/{name}"
            item = file[child]
            address = _address(item.id)
            if address in seen:
                raise _refuse(file.filename, child, "is reached by two hard links")
            seen.add(address)
            if isinstance(item, h5py.Group):
                if depth + 1 > MAX_DEPTH:
                    raise _refuse(file.filename, child, f"is nested deeper than {MAX_DEPTH} groups")
                stack.append((child, depth + 1))
            elif isinstance(item, h5py.Dataset):
                total += vet_dataset(item)
                if total > MAX_BYTES:
                    raise _refuse(file.filename, child, f"brings the file beyond {MAX_BYTES >> 30} GiB")
            else:
                raise _refuse(file.filename, child, "is neither a group nor a dataset")
            _vet_attributes(item.id, child, file.filename)


def dataset(file: h5py.File, path: str) -> h5py.Dataset | None:
    """The dataset at ``path`` of a foreign file, every component of the path and the dataset itself vetted.

    None if there is none; DataFileError if it is not allowed. The rest of the file is not looked at.
    """
    group: h5py.Group = file["/"]
    parts = [part for part in path.split("/") if part]
    for i, part in enumerate(parts):
        if part in (".", "..") or part.encode() not in group.id:
            return None
        here = "/" + "/".join(parts[: i + 1])
        if group.id.links.get_info(part.encode()).type != h5l.TYPE_HARD and not trust.given():
            raise _refuse(file.filename, here, "is not a hard link")
        item = group[part]
        if i == len(parts) - 1:
            if not isinstance(item, h5py.Dataset):
                return None
            if not trust.given():
                vet_dataset(item)
            return item
        if not isinstance(item, h5py.Group):
            return None
        group = item
    return None


def vet_dataset(item: h5py.Dataset) -> int:
    """Bytes the dataset occupies in memory; DataFileError if its type, storage, filters or size are not allowed."""
    file, path = item.file.filename, item.name
    space, plist = item.id.get_space(), item.id.get_create_plist()
    _vet_type(item.id.get_type(), file, path)
    if space.get_simple_extent_type() == h5s.NULL:
        raise _refuse(file, path, "has no shape")
    if plist.get_external_count() > 0:
        raise _refuse(file, path, "keeps its data in another file")
    if plist.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
        raise _refuse(file, path, "is a virtual dataset")
    for i in range(plist.get_nfilters()):
        code = plist.get_filter(i)[0]
        if code not in FILTERS:
            raise _refuse(file, path, f"needs filter {code}; allowed: {', '.join(FILTERS.values())}")
    size = item.id.get_type().get_size()
    logical = space.get_simple_extent_npoints() * size
    if logical > MAX_BYTES:
        raise _refuse(file, path, f"declares {logical} bytes; at most {MAX_BYTES} are allowed")
    stored = item.id.get_storage_size()
    if stored > os.path.getsize(file):
        raise _refuse(file, path, f"claims {stored} stored bytes, more than the file has")
    if logical > MAX_RATIO * max(stored, 1024):
        raise _refuse(file, path, f"declares {logical} bytes and stores {stored}: more than {MAX_RATIO} times")
    if plist.get_layout() == h5d.CHUNKED:
        chunk = size
        for length in plist.get_chunk():
            chunk *= length
        if chunk > MAX_CHUNK:
            raise _refuse(file, path, f"has chunks of {chunk} bytes; at most {MAX_CHUNK} are allowed")
    return int(logical)


def _links(file: h5py.File, path: str) -> list[str]:
    """Names in the group at ``path`` in stored order, all of them hard links."""
    group = file[path]
    names = []
    for name in group.id:
        if group.id.links.get_info(name).type != h5l.TYPE_HARD:
            raise _refuse(file.filename, f"{path.rstrip('/')}/{name.decode(errors='replace')}", "is not a hard link")
        names.append(name.decode())
    return names


def _address(item: h5py.h5g.GroupID | h5d.DatasetID) -> int:
    return int(h5o.get_info(item).addr)


def _vet_attributes(item: h5py.h5g.GroupID | h5d.DatasetID, path: str, file: str) -> None:
    count = h5py.h5a.get_num_attrs(item)
    if count > MAX_ATTRIBUTES:
        raise _refuse(file, path, f"has {count} attributes; at most {MAX_ATTRIBUTES} are allowed")
    for i in range(count):
        attribute = h5py.h5a.open(item, index=i)
        if attribute.name in SCALE_ATTRIBUTES:
            continue
        where = f"{path}@{attribute.name.decode(errors='replace')}"
        _vet_type(attribute.get_type(), file, where)
        if attribute.get_storage_size() > MAX_ATTRIBUTE:
            raise _refuse(file, where, f"is an attribute larger than {MAX_ATTRIBUTE} bytes")


def _vet_type(kind: h5t.TypeID, file: str, path: str) -> None:
    plain = kind.get_class() in (h5t.INTEGER, h5t.FLOAT)
    fixed = kind.get_class() == h5t.STRING and not kind.is_variable_str()
    if not plain and not fixed:
        raise _refuse(file, path, "is neither integer, float nor fixed-length text")
    if plain and kind.get_size() not in (1, 2, 4, 8):
        raise _refuse(file, path, f"has numbers of {kind.get_size()} bytes")


def _refuse(file: str, path: str, reason: str) -> DataFileError:
    return DataFileError(f"{file}: {path[:200]} {reason}", "the file is not one that mfpde writes; it was not read")
