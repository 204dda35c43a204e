"""``mfpde export --to openpmd`` passes the validator and reads back equal in openPMD-api; ``--to npz`` holds it all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import measured, refused

from mfpde.io import store
from mfpde.io.store import Group, Variable

TIMES = np.array([0.0, 0.5, 2.0])
WIDTHS = (3, 10)


def _centers(lower: float, upper: float, count: int) -> np.ndarray:
    return lower + (upper - lower) * (np.arange(count) + 0.5) / count


def _ensemble(width: int, rng: np.random.Generator) -> Group:
    return Group(
        {
            "time": Variable(("time",), TIMES),
            "parameter": Variable(("parameter",), np.array(["a", "w0", "w1"])),
            "theta": Variable(("time", "replica", "particle", "parameter"), rng.normal(size=(3, 2, width, 3))),
        },
        {"width": width},
    )


@pytest.fixture
def directory(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A run with two species of density on a grid of two axes, a stationary measure and networks of two widths."""
    where = tmp_path / "run"
    where.mkdir()
    axes = {
        "w0": Variable(("w0",), _centers(-2.0, 2.0, 5)),
        "w1": Variable(("w1",), _centers(0.0, 3.0, 4)),
        "species_a": Variable(("species",), np.array([-1.0, 1.0])),
        "species_probability": Variable(("species",), np.array([0.5, 0.5])),
    }
    density = Variable(("time", "species", "w0", "w1"), rng.random((3, 2, 5, 4)))
    limit = {
        "/limit": Group({"time": Variable(("time",), TIMES), **axes, "density": density}, {"flux": "exponential"}),
        "/stationary": Group({**axes, "density": Variable(("species", "w0", "w1"), rng.random((2, 5, 4)))}),
        "/restart": Group({"mass": Variable(("cell",), np.ones(3))}),
    }
    particles = {f"/ensemble/N{width:06d}": _ensemble(width, rng) for width in WIDTHS}
    origin = store.provenance('title = "ρ"\n', "a title with ρ", 0, True)
    store.write(where / "limit.h5", limit, origin | {"kind": "limit"})
    store.write(where / "particles.h5", particles, origin | {"kind": "particles"})
    return where


@pytest.fixture
def atoms(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A limit at temperature 0: weighted atoms, without a density."""
    group = Group(
        {
            "time": Variable(("time",), TIMES),
            "parameter": Variable(("parameter",), np.array(["w"])),
            "theta": Variable(("time", "atom", "parameter"), rng.normal(size=(3, 4, 1))),
            "atom_weight": Variable(("atom",), np.array([0.1, 0.2, 0.3, 0.4])),
        }
    )
    store.write(tmp_path / "limit.h5", {"/limit": group}, store.provenance("", "", 0, True))
    return tmp_path / "limit.h5"


def _export(capsys: pytest.CaptureFixture[str], source: Path, *more: str) -> Path:
    target = source.parent / "series.h5"
    found = measured(capsys, "export", str(source), "--to", "openpmd", "-o", str(target), *more)
    assert found["file"] == str(target)
    return target


def test_validator_finds_no_error(directory: Path, atoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openpmd_validator", reason="the extra [test] brings openpmd-validator")
    for source in (directory, directory / "particles.h5", atoms):
        target = _export(capsys, source, "--overwrite")
        command = [sys.executable, "-m", "openpmd_validator.check_h5", "-i", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert "Result: 0 Errors" in done.stdout, done.stdout + done.stderr


def test_reads_back_equal_in_openpmd_api(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = pytest.importorskip("openpmd_api", reason="the extra [test] brings openpmd-api")
    target = _export(capsys, directory)
    limit = store.read(directory / "limit.h5").groups
    series = api.Series(str(target), api.Access.read_only)
    assert (series.openPMD, series.software, series.comment) == ("1.1.0", "mfpde", "a title with ?")
    assert [iteration.time for _, iteration in series.iterations.items()] == TIMES.tolist()

    def loaded(component: object) -> np.ndarray:
        data = component.load_chunk()  # type: ignore[attr-defined]
        series.flush()
        return np.array(data)

    for k in range(len(TIMES)):
        meshes = series.iterations[k].meshes
        mesh = meshes["density"]
        assert (mesh.axis_labels, mesh.data_order) == (["w0", "w1"], "C")
        np.testing.assert_allclose(mesh.grid_spacing, [0.8, 0.75], rtol=1e-14)
        np.testing.assert_allclose(mesh.grid_global_offset, [-2.0, 0.0], atol=1e-14)
        assert mesh["species_0"].position == [0.5, 0.5]
        for s in range(2):
            stored = limit["/limit"].variables["density"].data[k, s]
            np.testing.assert_array_equal(loaded(mesh[f"species_{s}"]), stored)
        assert ("stationary_density" in list(meshes)) is (k == 2)
    rest = series.iterations[2].meshes["stationary_density"]
    np.testing.assert_array_equal(loaded(rest["species_1"]), limit["/stationary"].variables["density"].data[1])
    for width in WIDTHS:
        theta = store.read(directory / "particles.h5").groups[f"/ensemble/N{width:06d}"].variables["theta"].data
        for k in range(len(TIMES)):
            neurons = series.iterations[k].particles[f"width_{width}_neurons"]
            for p, name in enumerate(("a", "w0", "w1")):
                np.testing.assert_array_equal(loaded(neurons["position"][name]), theta[k, ..., p].reshape(-1))
            assert float(np.sum(loaded(neurons["weighting"]))) == pytest.approx(2.0, rel=1e-14)
            np.testing.assert_array_equal(loaded(neurons["replica"]), np.repeat([0, 1], width))
            np.testing.assert_array_equal(loaded(neurons["id"]), np.arange(2 * width))


def test_atoms_carry_their_weights(atoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = pytest.importorskip("openpmd_api", reason="the extra [test] brings openpmd-api")
    series = api.Series(str(_export(capsys, atoms, "--last")), api.Access.read_only)
    assert len(series.iterations) == 1
    record = series.iterations[0].particles["atoms"]
    weights = record["weighting"][api.Record_Component.SCALAR].load_chunk()
    place = record["position"]["w"].load_chunk()
    series.flush()
    assert series.iterations[0].time == 2.0
    np.testing.assert_array_equal(weights, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(place, store.read(atoms).groups["/limit"].variables["theta"].data[-1, :, 0])


def test_file_has_no_dimension_scales_and_text_of_fixed_length(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import h5py

    found: list[str] = []

    def visit(name: str, item: h5py.HLObject) -> None:
        found.extend(item.attrs)
        for key in item.attrs:
            assert not h5py.check_string_dtype(item.attrs.get_id(key).dtype) or item.attrs[key].dtype.kind == "S"

    with h5py.File(_export(capsys, directory)) as file:
        file.visititems(visit)
        assert all(isinstance(file.attrs[key], np.bytes_ | np.uint32) for key in file.attrs)
    assert "gridSpacing" in found
    assert not {"DIMENSION_LIST", "CLASS", "REFERENCE_LIST"} & set(found)


def test_equal_outputs_give_equal_bytes(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, ending in (("openpmd", "h5"), ("npz", "npz")):
        images = []
        for name in ("first", "second"):
            target = directory / f"{name}.{ending}"
            measured(capsys, "export", str(directory / "limit.h5"), "--to", kind, "-o", str(target))
            images.append(target.read_bytes())
        assert images[0] == images[1]


def test_npz_holds_every_result(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "export", str(directory / "limit.h5"), "--to", "npz")
    groups = store.read(directory / "limit.h5").groups
    with np.load(directory / "limit.npz", allow_pickle=False) as file:
        assert len(file.files) == found["arrays"]
        axes, attributes = json.loads(str(file["axes"])), json.loads(str(file["attributes"]))
        assert set(axes) == set(file.files) - {"axes", "attributes"}
        assert not [name for name in axes if name.startswith("restart")]
        assert attributes["/limit"] == {"flux": "exponential"}
        assert attributes["/"]["title"] == "a title with ρ"
        for name, dims in axes.items():
            group, _, key = name.rpartition("/")
            variable = groups[f"/{group}"].variables[key]
            assert tuple(dims) == variable.dims
            np.testing.assert_array_equal(file[name], variable.data)
    measured(capsys, "export", str(directory / "limit.h5"), "--to", "npz", "--last", "--overwrite")
    with np.load(directory / "limit.npz", allow_pickle=False) as file:
        assert file["limit/time"].tolist() == [2.0]
        assert file["limit/density"].shape == (1, 2, 5, 4)
        assert file["stationary/density"].shape == (2, 5, 4)


def test_refusals(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limit = directory / "limit.h5"
    to = ("export", str(limit), "--to", "openpmd", "-o")
    refused(capsys, *to, str(tmp_path / "series2.h5"), words="ends in a digit")
    refused(capsys, *to, str(limit), "--overwrite", words="the output itself")
    assert store.read(limit).groups
    (tmp_path / "there.h5").write_text("kept")
    refused(capsys, *to, str(tmp_path / "there.h5"), words="exists")
    assert (tmp_path / "there.h5").read_text() == "kept"
    refused(capsys, *to, str(tmp_path / "no" / "such.h5"), words="such", code=6)
    origin = store.provenance("", "", 0, True)
    curve = Group({"t": Variable(("step",), TIMES)})
    store.write(tmp_path / "curve.h5", {"/history": curve}, origin)
    refused(capsys, "export", str(tmp_path / "curve.h5"), "--to", "openpmd", words="neither a density", code=4)
    uneven = {"w": Variable(("w",), np.array([0.0, 1.0, 3.0])), "density": Variable(("w",), np.ones(3))}
    store.write(tmp_path / "uneven.h5", {"/stationary": Group(uneven)}, origin)
    refused(capsys, "export", str(tmp_path / "uneven.h5"), "--to", "openpmd", words="not uniform", code=4)
    store.write(tmp_path / "empty.h5", {"/restart": Group({})}, origin)
    refused(capsys, "export", str(tmp_path / "empty.h5"), "--to", "npz", words="no results", code=4)
    refused(capsys, "export", str(tmp_path / "none.h5"), "--to", "npz", words="none.h5", code=6)
