"""``mfpde export --to csv``: every number of an output, tidy, with all its digits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mfpde.cli.main import main
from mfpde.io import store
from mfpde.io.store import Group, Variable


@pytest.fixture
def output(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[str, Group]]:
    time = np.array([0.0, 0.5])
    groups = {
        "/limit": Group(
            {
                "time": Variable(("time",), time),
                "a": Variable(("a",), rng.normal(size=3)),
                "w": Variable(("w",), rng.normal(size=4)),
                "density": Variable(("time", "a", "w"), rng.normal(size=(2, 3, 4))),
                "f": Variable(("time", "node"), rng.normal(size=(2, 5))),
                "x": Variable(("node", "block"), rng.normal(size=(5, 2))),
                "target": Variable(("node",), rng.normal(size=5)),
            }
        ),
        "/history": Group({"t": Variable(("step",), time), "risk": Variable(("step",), np.array([1.0, np.nan]))}),
        "/restart": Group({"mass": Variable(("cell",), np.ones(12))}),
    }
    for width in (2, 3):
        groups[f"/ensemble/N{width:06d}"] = Group(
            {
                "time": Variable(("time",), time),
                "parameter": Variable(("parameter",), np.array(["a", "w0"])),
                "theta": Variable(("time", "replica", "particle", "parameter"), rng.normal(size=(2, 2, width, 2))),
                "risk": Variable(("time", "replica"), rng.normal(size=(2, 2))),
            },
            {"width": width},
        )
    store.write(tmp_path / "x.h5", groups, store.provenance("", "", 0, True))
    return tmp_path / "x.h5", groups


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_is_there(
    output: tuple[Path, dict[str, Group]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, groups = output
    assert main(["export", str(path), "--to", "csv", "--particles", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows == {
        "limit.time-a-w.csv": 24,
        "limit.time-node.csv": 10,
        "limit.node.csv": 5,
        "history.step.csv": 2,
        "ensemble.time-replica-particle.csv": 20,
        "ensemble.time-replica.csv": 8,
    }
    directory = tmp_path / "x-csv"
    assert sorted(rows) == sorted(file.name for file in directory.iterdir())
    limit = groups["/limit"].variables
    table = _rows(directory / "limit.time-a-w.csv")
    assert list(table[0]) == ["time", "a", "w", "density"]
    for row, (i, j, k) in zip(table, np.ndindex(2, 3, 4), strict=True):
        expected = [limit["time"].data[i], limit["a"].data[j], limit["w"].data[k], limit["density"].data[i, j, k]]
        assert [float(value) for value in row.values()] == expected
    nodes = _rows(directory / "limit.node.csv")
    assert list(nodes[0]) == ["node", "x0", "x1", "target"]
    assert [[float(row["x0"]), float(row["x1"])] for row in nodes] == limit["x"].data.tolist()
    assert _rows(directory / "history.step.csv")[1]["risk"] == "nan"
    theta = _rows(directory / "ensemble.time-replica-particle.csv")
    assert list(theta[0]) == ["width", "time", "replica", "particle", "a", "w0"]
    found = [[float(row["a"]), float(row["w0"])] for row in theta if row["width"] == "3"]
    np.testing.assert_array_equal(found, groups["/ensemble/N000003"].variables["theta"].data.reshape(-1, 2))


def test_particles_and_past_times_only_on_demand(output: tuple[Path, dict[str, Group]], tmp_path: Path) -> None:
    assert main(["export", str(output[0]), "--to", "csv", "--last", "-o", str(tmp_path / "last")]) == 0
    names = {path.name for path in (tmp_path / "last").iterdir()}
    assert "ensemble.time-replica-particle.csv" not in names
    assert {row["time"] for row in _rows(tmp_path / "last" / "limit.time-a-w.csv")} == {"0.5"}
    assert len(_rows(tmp_path / "last" / "limit.node.csv")) == 5


def test_refusals(output: tuple[Path, dict[str, Group]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(output[0])
    arguments = ["--to", "csv", "-o", str(tmp_path / "out")]
    assert main(["export", path, *arguments]) == 0
    assert main(["export", path, *arguments]) == 2
    assert main(["export", path, *arguments, "--overwrite"]) == 0
    assert main(["export", path]) == 2
    assert main(["export", path, "--to", "xml"]) == 2
    assert main(["export", path, "--to", "csv", "-o", f"{path}/below"]) == 6
    assert main(["export", str(tmp_path / "none.h5"), *arguments]) == 6
    (tmp_path / "text.h5").write_text("text")
    assert main(["export", str(tmp_path / "text.h5"), *arguments]) == 4
    store.write(tmp_path / "empty.h5", {"/restart": Group({})}, store.provenance("", "", 0, True))
    assert main(["export", str(tmp_path / "empty.h5"), *arguments]) == 4
    assert "Traceback" not in capsys.readouterr().err


def test_members_of_an_ensemble_that_differ_in_no_size_have_tables_of_their_own(tmp_path: Path) -> None:
    """The flows of ``kernel-limit`` from two initial laws."""
    time = Variable(("time",), np.array([0.0, 1.0]))
    risk = {name: np.array([k + 1.0, k + 2.0]) for k, name in enumerate(("initial", "skewed"))}
    groups = {f"/ensemble/{name}": Group({"time": time, "risk": Variable(("time",), risk[name])}) for name in risk}
    store.write(tmp_path / "x.h5", groups, store.provenance("", "", 0, True))
    assert main(["export", str(tmp_path / "x.h5"), "--to", "csv"]) == 0
    for name, expected in risk.items():
        table = _rows(tmp_path / "x-csv" / f"ensemble-{name}.time.csv")
        assert list(table[0]) == ["time", "risk"]
        assert [float(row["risk"]) for row in table] == expected.tolist()
