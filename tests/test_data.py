"""The vendored data are the ones their README describes."""

from __future__ import annotations

import csv
import hashlib
import re
import warnings
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

DATA = Path(__file__).resolve().parent.parent / "data"


def _sums() -> dict[str, str]:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([\w.]+)` \| `([0-9a-f]{64})` \|$", text, flags=re.MULTILINE))


def test_every_data_file_has_a_sum_and_matches_it() -> None:
    sums = _sums()
    assert set(sums) == {path.name for path in DATA.iterdir() if path.suffix in {".csv", ".h5"}}
    for name, expected in sums.items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == expected, name


def test_package_carries_the_same_bytes() -> None:
    for name, expected in _sums().items():
        assert hashlib.sha256((files("mfpde") / "data" / name).read_bytes()).hexdigest() == expected, name


def test_diabetes_table() -> None:
    with (DATA / "diabetes.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    table = np.array(rows, dtype=float)
    assert header == ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression"]
    assert table.shape == (442, 11)
    # Sums over the table published with Efron et al. (2004); the mean progression is 152.13 there.
    progression = table[:, -1]
    assert progression.sum() == 67243
    assert (progression.min(), progression.max()) == (25, 346)
    bmi = table[:, 2]
    assert (bmi.min(), bmi.max()) == (18.0, 42.2)
    # Least squares of progression on standardised bmi: R² = 0.3439, as in every text that uses the set.
    assert np.corrcoef(bmi, progression)[0, 1] ** 2 == pytest.approx(0.3439, abs=5e-5)


def test_digits_arrays() -> None:
    with h5py.File(DATA / "digits.h5", "r") as file:
        pixels, label, row = file["pixels"][...], file["label"][...], file["row"][...]
        for dataset in file.values():
            assert dataset.fletcher32
            assert dataset.chunks is not None
    assert pixels.shape == (357, 64)
    assert np.count_nonzero(label == -1) == 183
    assert np.count_nonzero(label == 1) == 174
    assert np.all(np.diff(row) > 0)
    counts = 16 * pixels.astype(float)
    np.testing.assert_array_equal(counts, np.round(counts))
    assert (counts.min(), counts.max()) == (0, 16)
    # An eight closes its left side, a three leaves it open: pixels 26 and 42 (lines 3 and 5, column 2).
    left = pixels[:, [26, 42]].mean(axis=1)
    assert left[label == 1].mean() > left[label == -1].mean() + 0.3


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_digits_open_labelled_in_xarray(engine: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(DATA / "digits.h5", engine=engine) as data:
            assert data["pixels"].dims == ("row", "pixel")
            assert data["label"].dims == ("row",)
