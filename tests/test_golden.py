"""Files of every released schema open in this version, with the numbers that the version that wrote them told."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
from command_line import measured

import mfpde
from mfpde.cli.main import main
from mfpde.errors import DataFileError
from mfpde.io import keys, store
from mfpde.io.outputs import law, open_output
from mfpde.io.tables import to_toml

HERE = Path(__file__).resolve().parent / "data" / "golden"
FILES = sorted(HERE.glob("schema-*/*.h5"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in FILES]
OF_SOLVE = [path for path in FILES if path.stem in ("limit", "particles", "atoms", "stationary", "swept")]
# file -> verb whose studies it holds, for what other verbs than solve write
OTHER = {"one-step": "one-step", "deep": "deep", "kernel-limit": "kernel-limit", "cell": "solve", "sgd": "solve"}


@pytest.fixture(scope="module")
def make() -> ModuleType:
    specification = importlib.util.spec_from_file_location("golden_make", HERE / "make.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _numbers(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))


def test_every_schema_has_its_files() -> None:
    assert sorted({path.parent.name for path in FILES}) == [f"schema-{k}" for k in range(1, store.SCHEMA + 1)]
    for schema in range(1, store.SCHEMA + 1):
        kinds = {path.stem for path in FILES if path.parent.name == f"schema-{schema}"}
        assert kinds >= {"limit", "particles", "atoms", "stationary", "swept", *OTHER}
        assert kinds >= {"one-step-finite", "deep-finite"}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_golden_file_is_small(path: Path, make: ModuleType) -> None:
    assert path.stat().st_size <= make.MOST_BYTES == 50_000


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_golden_file_says_what_it_said(path: Path, make: ModuleType) -> None:
    found, expected = make.told(path), _numbers(path)
    assert found["attributes"] == expected["attributes"]
    assert found["groups"].keys() == expected["groups"].keys()
    for name, group in expected["groups"].items():
        assert found["groups"][name] == group, name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_digest_is_that_of_the_stored_bytes(path: Path) -> None:
    """By plain h5py: what ``store.read`` returns is not its own witness."""
    count = 0
    with h5py.File(path) as file:
        for name, group in _numbers(path)["groups"].items():
            for key, variable in group["variables"].items():
                data = file[f"{name}/{key}"][()]
                if data.dtype.kind != "S":
                    assert hashlib.sha256(data.tobytes()).hexdigest() == variable["sha256"], (name, key)
                    count += 1
    assert count > 3


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_verbs_read_a_golden_file(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert measured(capsys, "check", str(path))["files"] == [str(path)]
    outline = measured(capsys, "info", str(path))
    assert outline["attributes"]["schema"] == int(path.parent.name.removeprefix("schema-"))
    assert measured(capsys, "compare", str(path), str(path), "--rtol", "0")["same"] is True
    assert main(["export", str(path), "--to", "csv", "-o", str(tmp_path / "csv"), "-q"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_study_in_a_golden_file_is_still_understood(path: Path) -> None:
    text = store.outline(path)["attributes"]["config"]
    parser = keys.modules(OTHER.get(path.stem.removesuffix("-finite"), "solve"))[0]
    study = parser.parse(text)
    assert parser.parse(to_toml(study)) == study
    assert study.title == store.outline(path)["attributes"]["title"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_golden_file_opens_from_python(path: Path) -> None:
    opened = mfpde.open(str(path))
    expected = _numbers(path)["groups"]
    assert {f"/{name}" for name in opened.groups} == expected.keys()
    for name, group in expected.items():
        for key, variable in group["variables"].items():
            assert opened[f"{name.strip('/')}/{key}"].shape == tuple(variable["shape"])


@pytest.mark.parametrize("path", OF_SOLVE, ids=[path.stem for path in OF_SOLVE])
def test_an_output_of_solve_is_read_as_laws(path: Path) -> None:
    output = open_output(str(path))
    expected = _numbers(path)["groups"]
    for k in range(len(output.times)):
        for width in output.widths:
            for measure in law(output, k, width):
                total = measure.mass.sum() if hasattr(measure, "mass") else measure.weights.sum()
                assert total == pytest.approx(1.0, abs=1e-12)
    if path.stem in ("limit", "swept"):
        ends = expected["/history"]["variables"]["risk"]["ends"]
        np.testing.assert_array_equal([output.risk[0][0, 0], output.risk[0][-1, 0]], ends)
    if path.stem == "stationary":
        assert output.risk[0][0, 0] == expected["/stationary"]["attributes"]["risk"]


def test_a_file_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(FILES[0].read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = store.SCHEMA + 1
    with pytest.raises(DataFileError, match=f"has schema {store.SCHEMA + 1}"):
        store.read(path)
