"""Read the data of an empirical law: columns of a csv file, or arrays of an HDF5 or npz file.

What the study says wrong (a column that does not exist) is a ConfigError; what the file holds wrong (text for a number,
NaN, damage) a DataFileError that names row and column. Nothing is ever unpickled.
"""

from __future__ import annotations

import csv
import difflib
import os
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError, DataFileError
from mfpde.io import vet

Array = NDArray[np.float64]

MAX_BYTES = 2 << 30
MAX_VALUE = 1e100


def read_table(
    path: str | os.PathLike[str],
    inputs: str | Sequence[str],
    targets: str,
    rows: int | tuple[int, ...] | None = None,
    standardize: bool = False,
    classes: tuple[float, ...] | None = None,
) -> tuple[Array, Array, str]:
    """Inputs x[n, d], targets y[n] and one sentence that describes them.

    ``rows`` counts rows of the file (the first so many, or start:stop); ``classes`` = (negative, positive) then keeps
    the rows with one of the two targets and calls them -1 and +1; ``standardize`` gives every column mean 0 and
    variance 1 over the rows kept (a column that never varies becomes 0; targets that are all -1 or +1 stay).
    Raises ConfigError (missing file, column or row), DataFileError (damaged file, not a finite number).
    """
    name = os.fspath(path)
    names = [inputs] if isinstance(inputs, str) else list(inputs)
    columns = _read(name, [*names, targets])
    y = columns[-1]
    if y.shape[1] != 1:
        raise ConfigError("data.targets", f'is "{targets}", which has {y.shape[1]} columns in {name}; one is allowed')
    _check_lengths(name, [*names, targets], columns)
    x = np.concatenate(columns[:-1], axis=1)
    start, stop = _range(rows, len(x), name)
    x, y = x[start:stop], y[start:stop, 0]
    _check_finite(name, [*names, targets], columns, start, x, y)
    if classes is not None:
        x, y = _select(x, y, classes, name)
    if standardize:
        x = _standardize(x)
        if np.any(np.abs(y) != 1.0):
            y = _standardize(y[:, None])[:, 0]
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    made = ", standardised" if standardize else ""
    return x, y, f"{len(x)} rows of {os.path.basename(name)}: {shown} (d = {x.shape[1]}) to {targets}{made}"


def _read(name: str, wanted: list[str]) -> list[Array]:
    """One array [rows, k] per wanted name; the kind of file is told by its content."""
    try:
        size = os.path.getsize(name)
        with open(name, "rb") as file:
            start = file.read(8)
    except FileNotFoundError:
        raise ConfigError("data.file", f'is "{name}", which does not exist') from None
    except OSError as error:
        raise ConfigError("data.file", f'is "{name}", which cannot be read: {error.strerror}') from None
    if size > MAX_BYTES:
        raise DataFileError(f"{name} has {size} bytes; at most {MAX_BYTES} are allowed")
    if start == vet.SIGNATURE:
        return _read_hdf5(name, wanted)
    if start.startswith(b"PK"):
        return _read_npz(name, wanted)
    return _read_csv(name, wanted)


def _read_hdf5(name: str, wanted: list[str]) -> list[Array]:
    columns = []
    with vet.reading(name) as file:
        for key in wanted:
            item = vet.dataset(file, key)
            if item is None:
                present = [link.decode(errors="replace") for link in file.id]
                raise _absent(key, wanted, name, present)
            columns.append(_as_columns(name, key, item[...]))
    return columns


def _read_npz(name: str, wanted: list[str]) -> list[Array]:
    columns = []
    try:
        with zipfile.ZipFile(name) as archive:
            declared = sum(info.file_size for info in archive.infolist())
        if declared > MAX_BYTES:
            raise DataFileError(f"{name} unpacks to {declared} bytes; at most {MAX_BYTES} are allowed")
        with np.load(name, allow_pickle=False) as arrays:
            for key in wanted:
                if key not in arrays.files:
                    raise _absent(key, wanted, name, arrays.files)
                columns.append(_as_columns(name, key, arrays[key]))
    except (
        OSError,
        ValueError,
        EOFError,
        LookupError,
        RuntimeError,
        MemoryError,
        SyntaxError,
        zipfile.BadZipFile,
    ) as error:
        raise DataFileError(f"{name} is damaged or not an npz file: {str(error)[:200]}") from error
    return columns


def _read_csv(name: str, wanted: list[str]) -> list[Array]:
    try:
        with open(name, encoding="utf-8-sig", newline="") as file:
            lines = [(i, line) for i, line in enumerate(file, 1) if line.strip() and not line.startswith("#")]
    except UnicodeDecodeError:
        raise DataFileError(f"{name} is neither HDF5 nor npz nor csv text in UTF-8") from None
    if any("\0" in line for _, line in lines):
        raise DataFileError(f"{name} is neither HDF5 nor npz nor csv text")
    if not lines:
        raise DataFileError(f"{name} is empty")
    delimiter = max(",;\t", key=lines[0][1].count)
    try:
        table = list(csv.reader((line for _, line in lines), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataFileError(f"{name} is not a csv file: {error}") from None
    header = [cell.strip() for cell in table[0]]
    for key in wanted:
        if key not in header:
            nameless = all(_is_number(cell) for cell in header)
            raise _absent(key, wanted, name, header, "the first line has to name the columns" if nameless else None)
    if len(table) != len(lines):
        raise DataFileError(f"{name} has a quoted field that spans lines, which is not allowed")
    if len(table) == 1:
        raise DataFileError(f"{name} has a header and no rows")
    for (line, _), row in zip(lines, table, strict=True):
        if len(row) != len(header):
            raise DataFileError(f"{name} line {line} has {len(row)} fields, the header {len(header)}")
    numbers = [line for line, _ in lines[1:]]
    return [_csv_column(name, key, [row[header.index(key)] for row in table[1:]], numbers) for key in wanted]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _csv_column(name: str, key: str, cells: list[str], lines: list[int]) -> Array:
    values = np.empty((len(cells), 1))
    for i, cell in enumerate(cells):
        try:
            values[i, 0] = float(cell.replace("_", "?"))  # float() would read 1_0 as 10
        except ValueError:
            shown = "is empty" if not cell.strip() else f"holds {cell[:40]!r}, which is not a number"
            hint = "every row needs a number in every column that the study names"
            raise DataFileError(f"{name} line {lines[i]}, column {key}: {shown}", hint) from None
    return values


def _as_columns(name: str, key: str, array: NDArray[Any]) -> Array:
    if array.dtype.kind not in "iufb":
        raise DataFileError(f"{name}: {key} has the type {array.dtype}; numbers are needed")
    if array.ndim not in (1, 2) or array.size == 0:
        raise DataFileError(f"{name}: {key} has the shape {array.shape}; rows, or rows x columns, are needed")
    return np.array(array.reshape(len(array), -1), dtype=np.float64)


def _absent(key: str, wanted: list[str], name: str, present: Iterable[str], hint: str | None = None) -> ConfigError:
    names = list(present)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.4)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    setting = "data.targets" if wanted.index(key) == len(wanted) - 1 else "data.inputs"
    if hint is None and close:
        hint = f"did you mean '{close[0]}'?"
    return ConfigError(setting, f'names "{key}", which {name} does not have; it has {shown}', hint)


def _check_lengths(name: str, names: list[str], columns: list[Array]) -> None:
    for key, column in zip(names, columns, strict=True):
        if len(column) != len(columns[-1]):
            raise DataFileError(f"{name}: {key} has {len(column)} rows, {names[-1]} has {len(columns[-1])}")


def _range(rows: int | tuple[int, ...] | None, length: int, name: str) -> tuple[int, int]:
    start, stop = (0, length) if rows is None else (0, rows) if isinstance(rows, int) else (rows[0], rows[1])
    if stop > length:
        shown = rows if isinstance(rows, int) else list(rows or ())
        raise ConfigError("data.rows", f"is {shown}; {name} has {length} rows")
    return start, stop


def _check_finite(name: str, names: list[str], columns: list[Array], start: int, x: Array, y: Array) -> None:
    """DataFileError names the first row (counted from 0, after the header) and column that is not a usable number."""
    values = np.column_stack([x, y])
    bad = ~(np.abs(values) <= MAX_VALUE)
    if not bad.any():
        return
    row, column = (int(i) for i in np.argwhere(bad)[0])
    labels = [
        key if a.shape[1] == 1 else f"{key}[{j}]"
        for key, a in zip(names, columns, strict=True)
        for j in range(a.shape[1])
    ]
    raise DataFileError(
        f"{name}: row {row + start}, column {labels[column]} is {values[row, column]:g}; finite numbers are needed"
    )


def _select(x: Array, y: Array, classes: tuple[float, ...], name: str) -> tuple[Array, Array]:
    for value in classes:
        if not np.any(y == value):
            present = ", ".join(f"{v:g}" for v in np.unique(y)[:12])
            raise ConfigError(
                "data.classes", f"names {value:g}, which is no target in these rows of {name}; it has {present}"
            )
    keep = (y == classes[0]) | (y == classes[1])
    return x[keep], np.where(y[keep] == classes[1], 1.0, -1.0)


def _standardize(values: Array) -> Array:
    """Columns with mean 0 and variance 1; one that varies by round-off only becomes 0."""
    centred = values - values.mean(axis=0)
    scale = np.sqrt(np.mean(centred**2, axis=0))
    constant = scale <= 1e-12 * np.abs(values).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, scale))
