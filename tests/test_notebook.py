"""Objects that show themselves in a notebook, labelled arrays, and any output opened as one object."""

from __future__ import annotations

import builtins
import html.parser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import toy_study

import mfpde
from mfpde.errors import ConfigError, DataFileError, FileSystemError
from mfpde.evolve import CURVES, Solution
from mfpde.io import store
from mfpde.io.store import Group, Variable
from mfpde.theory.cell import LearningCell, learning_cell

xarray = pytest.importorskip("xarray")


@pytest.fixture(scope="module")
def solution() -> Solution:
    study = mfpde.load_study("linear-network", ["training.time=0.3", "grid.cells=[24, 20]", "output.snapshots=4"])
    return mfpde.solve(study.problem, mfpde.initial_measure(study.law, study.grid), study.times)


class _Cells(html.parser.HTMLParser):
    """The texts of the cells of a table, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def _shown(value: object) -> str:
    """The text of an object, after checking that its HTML says the same."""
    text = repr(value)
    cells = _Cells(value._repr_html_())  # type: ignore[attr-defined]
    assert cells.open == []
    assert cells.cells[0] == type(value).__name__ == text.splitlines()[0]
    assert all(cell.strip() in text for cell in cells.cells)
    assert len(text.splitlines()) < 20
    return text


def test_problems_show_what_they_are() -> None:
    text = _shown(mfpde.load_study("single-index").problem)
    assert "network, erf, scale 1" in text
    assert "Gaussian law in dimension 20, inputs in blocks of 1 + 19" in text
    assert "square, convex in the measure" in text
    assert "w1 (radius, decay 0.1, rate 1)" in text
    text = _shown(mfpde.load_study("desai-zwanzig").problem)
    assert "potential double-well, interaction quadratic of strength" in text
    assert "array(" not in text


def test_solution_shows_why_it_stopped_and_its_last_energy(solution: Solution) -> None:
    text = _shown(solution)
    assert "reached t = 0.3" in text
    assert f"{solution.final.free_energy:.10g}" in text
    assert "a 24 × w 20" in text


def test_learning_cell_shows_its_three_members() -> None:
    problem = mfpde.load_study("cell-tanh").problem
    cell = learning_cell(problem, 0.1, weight="no limit was solved", active="no limit was solved", atoms=2)
    assert isinstance(cell, LearningCell)
    text = _shown(cell)
    assert "no limit was solved" in text
    assert all(member in text for member in ("w*", "D*_orb", "S*", "tanh, 2 inputs"))
    assert f"S_up = {cell.sparsity.threshold_number} at penalty 0.1" in text  # type: ignore[union-attr]
    assert f"{cell.depths[0].orbit} for 1" in text
    assert "&lt;" in replace(cell, activation="<b>")._repr_html_()


def test_solution_to_xarray_holds_the_arrays_with_their_axes(solution: Solution) -> None:
    data = solution.to_xarray()
    assert data.density.dims == ("time", "a", "w")
    assert data.attrs["reason"] == solution.reason
    for k, snapshot in enumerate(solution.snapshots):
        at = data.isel(time=k)
        assert float(at.time) == snapshot.time
        np.testing.assert_array_equal(at.density, snapshot.measure.density[0])
        np.testing.assert_array_equal(at.f, snapshot.f)
    for axis in solution.final.measure.grid.axes:
        np.testing.assert_array_equal(data[axis.name], axis.centers)
    for name in CURVES:
        np.testing.assert_array_equal(data[name], [getattr(s, name) for s in solution.history])
    np.testing.assert_array_equal(data.t, [s.time for s in solution.history])
    a, w = np.meshgrid(data.a, data.w, indexing="ij")
    grid = solution.final.measure.grid
    found = float((data.density * a * w).isel(time=-1).sum()) * grid.cell_size
    expected = mfpde.expect(solution.final.measure, lambda x: x[:, 0] * x[:, 1])
    assert found == pytest.approx(expected, rel=1e-12)


def test_labelled_densities_of_a_growing_box_and_of_species() -> None:
    study = mfpde.load_study(
        "single-index", ["network.train=['w']", "initial.a={law='rademacher'}", "grid.cells=[12, 10]"]
    )
    small = mfpde.initial_measure(study.law, study.grid)
    large_grid = study.grid.extend(0, 3, 1).extend(1, 0, 2)
    large = mfpde.GridMeasure(large_grid, np.full(large_grid.shape, 1.0 / np.prod(large_grid.shape)))
    from mfpde.labelled import densities

    data = densities([0.0, 1.0], [small, large])
    assert data.density.dims == ("time", "species", "w0", "w1")
    assert sorted(data.species_a.values) == [-1.0, 1.0]
    inner = data.density.isel(time=0).sel(w0=study.grid.axes[0].centers, method="nearest")
    np.testing.assert_array_equal(inner.isel(w1=slice(0, 10)), small.density)
    assert float(data.density.isel(time=0).sum()) * small.grid.cell_size == pytest.approx(1.0, rel=1e-12)


# ---- mfpde.open ----------------------------------------------------------------------------------------------------


@pytest.fixture
def output(tmp_path: Path, rng: np.random.Generator) -> Path:
    groups = {
        "/limit": Group(
            {
                "time": Variable(("time",), np.array([0.0, 1.0])),
                "w": Variable(("w",), np.array([-1.0, 0.0, 1.0]), {"kind": "line"}),
                "density": Variable(("time", "w"), rng.random((2, 3))),
            },
            {"flux": "exponential"},
        ),
        "/ensemble/N000004": Group({"risk": Variable(("time", "replica"), rng.random((2, 5)))}, {"width": 4}),
    }
    store.write(tmp_path / "x.h5", groups, store.provenance('title = "t"\n', "a <title>", 3, True))
    return tmp_path / "x.h5"


def test_open_shows_and_reads_any_output(output: Path) -> None:
    found = mfpde.open(output)
    assert found.attributes["seed"] == 3
    assert found.finished
    assert found.study == 'title = "t"\n'
    assert list(found.groups) == ["limit", "ensemble", "ensemble/N000004"]
    stored = store.read(output).groups
    np.testing.assert_array_equal(found["limit/density"], stored["/limit"].variables["density"].data)
    assert found.groups["/ensemble/N000004"].attributes["width"] == 4
    text = _shown(found)
    assert "density 2×3" in text
    assert "seed 3, finished" in text


def test_open_reads_numbers_only_when_asked(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    original = store.read
    monkeypatch.setattr(store, "read", lambda path, groups: read.append(groups) or original(path, groups))
    found = mfpde.open(output)
    repr(found)
    assert read == []
    assert found["limit/time"].tolist() == [0.0, 1.0]
    assert found["limit/w"].size == 3
    assert read == [["limit"]]


def test_open_to_xarray_is_what_xarray_opens_itself(output: Path) -> None:
    pytest.importorskip("h5netcdf")
    found = mfpde.open(output).to_xarray("limit")
    with xarray.open_dataset(output, group="limit", engine="h5netcdf") as other:
        xarray.testing.assert_equal(found, other)
    tree = mfpde.open(output).to_xarray()
    assert tree["ensemble/N000004"].attrs["width"] == 4
    xarray.testing.assert_equal(tree["limit"].to_dataset(inherit=False), found)
    assert tree.attrs["title"] == "a <title>"


def test_open_refuses_in_words(output: Path, tmp_path: Path) -> None:
    found = mfpde.open(output)
    with pytest.raises(KeyError, match=r"holds no 'limit/rho'; limit holds time, w, density"):
        found["limit/rho"]
    with pytest.raises(KeyError, match="holds no group 'theory'"):
        found.groups["theory"]
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DataFileError):
        mfpde.open(tmp_path / "text.h5")
    with pytest.raises(FileSystemError):
        mfpde.open(tmp_path / "none.h5")


def test_star_import_leaves_the_open_of_python_alone() -> None:
    names: dict[str, object] = {}
    exec("from mfpde import *", names)
    assert "open" not in names
    assert names["Problem"] is mfpde.Problem
    assert mfpde.open is not builtins.open


def test_a_command_line_from_python_answers_and_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.toml").write_text(toy_study(time=0.5, widths=(8,), replicas=2, tolerance=1e-2, snapshots=2))
    found = mfpde.run("solve", tmp_path / "toy.toml", "-o", tmp_path / "out", "--no-figures")
    assert found["ok"]
    assert found["limit"]["free_energy"] == mfpde.open(tmp_path / "out" / "limit.h5")["history/free_energy"][-1]
    assert mfpde.run("theory", "cell", "cell-polynomial", "-o", tmp_path / "cell")["ok"]
    other = mfpde.run("compare", tmp_path / "out" / "limit.h5", tmp_path / "out" / "limit.h5", "--rtol", "0")
    assert other["ok"]
    with pytest.raises(ConfigError, match=r"training\.tim"):
        mfpde.run("solve", tmp_path / "toy.toml", "--set", "training.tim=1.0", "-o", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert capsys.readouterr().out == ""
