"""Write diabetes.csv and digits.h5 beside this file from the copies that scikit-learn carries.

Run once, by hand, with scikit-learn installed: ``python data/make.py``. The package itself never imports scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

HERE = Path(__file__).parent
CLASSES = (3, 8)


def write_diabetes(path: Path) -> None:
    """The ten baseline measurements in their own units and the progression after one year, 442 rows."""
    bunch = load_diabetes(scaled=False)
    rows = np.column_stack([bunch.data, bunch.target])
    lines = [",".join([*bunch.feature_names, "progression"])]
    lines += [",".join(f"{value:.10g}" for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_digits(path: Path) -> None:
    """Two classes of 8x8 digits: pixels[row, pixel] = count / 16 (exact in float32) and label[row] = -1 or +1."""
    bunch = load_digits()
    rows = np.flatnonzero(np.isin(bunch.target, CLASSES))
    pixels = (bunch.data[rows] / 16.0).astype(np.float32)
    label = np.where(bunch.target[rows] == CLASSES[1], 1.0, -1.0).astype(np.float32)
    with h5py.File(path, "w", libver=("v110", "v114"), track_order=True) as file:
        for name, text in {
            "title": f"8x8 handwritten digits, {CLASSES[0]} (label -1) and {CLASSES[1]} (label +1)",
            "source": "UCI Optical Recognition of Handwritten Digits, test set, as in sklearn.datasets.load_digits",
            "license": "CC BY 4.0",
        }.items():
            file.attrs[name] = np.bytes_(text)
        plain = {"fletcher32": True, "track_times": False}
        file.create_dataset("row", data=rows.astype(np.int32), chunks=rows.shape, **plain)
        file.create_dataset("pixel", data=np.arange(64, dtype=np.int32), chunks=(64,), **plain)
        file.create_dataset("pixels", data=pixels, chunks=pixels.shape, **plain)
        file.create_dataset("label", data=label, chunks=label.shape, **plain)
        for name in ("row", "pixel"):
            file[name].make_scale(name)
        file["row"].attrs["long_name"] = np.bytes_("row of the full data set")
        file["pixel"].attrs["long_name"] = np.bytes_("8 * line + column, from the upper left corner")
        file["pixels"].attrs["long_name"] = np.bytes_("ink per pixel, 0 to 1")
        file["label"].attrs["long_name"] = np.bytes_("class")
        for axis, name in enumerate(("row", "pixel")):
            file["pixels"].dims[axis].attach_scale(file[name])
        file["label"].dims[0].attach_scale(file["row"])


if __name__ == "__main__":
    write_diabetes(HERE / "diabetes.csv")
    write_digits(HERE / "digits.h5")
