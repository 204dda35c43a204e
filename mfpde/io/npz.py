"""An output as one npz file: every variable under its path, axes and attributes as JSON text beside them."""

from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import DataFileError
from mfpde.io import store

# a zip entry holds its date: one for all, so that equal outputs give equal bytes
_DATE = (1980, 1, 1, 0, 0, 0)


def arrays_of(path: str | os.PathLike[str], last: bool = False) -> dict[str, NDArray[np.generic]]:
    """Name "limit/density", "history/t", … -> array; "axes" and "attributes" are JSON text; ``last``: final time only.

    /restart is no result and is left out.  Raises DataFileError where nothing is left; else as ``store.read``.
    """
    contents = store.read(path)
    arrays: dict[str, NDArray[np.generic]] = {}
    axes: dict[str, list[str]] = {}
    attributes = {"/": contents.attributes}
    for name, group in contents.groups.items():
        if name.startswith("/restart"):
            continue
        attributes[name] = dict(group.attributes)
        for key, variable in group.variables.items():
            cut = last and variable.dims[:1] == ("time",)
            full = f"{name}/{key}".lstrip("/")
            arrays[full] = variable.data[-1:] if cut else variable.data
            axes[full] = list(variable.dims)
    if not arrays:
        raise DataFileError(f"{path} holds no results to write")
    text = json.dumps(attributes, default=lambda value: value.tolist())
    return {**arrays, "axes": np.array(json.dumps(axes)), "attributes": np.array(text)}


def image(arrays: dict[str, NDArray[np.generic]]) -> memoryview:
    """The bytes of the npz file, which ``numpy.load`` reads without pickles."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy", _DATE), entry.getbuffer())
    return buffer.getbuffer()
