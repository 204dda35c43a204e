"""``mfpde solve`` from one end to the other: results, files, interruptions, refusals."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfpde import evolve
from mfpde.cli import common
from mfpde.cli.directory import SUMMARY_FILE
from mfpde.cli.main import main
from mfpde.core import cuda
from mfpde.io import atoms, build, config, interrupt, limit, limit_file, particles, store
from mfpde.io.difference import differences
from mfpde.measures import SMALLEST_MASS, Grid
from mfpde.problem import Problem
from mfpde.tabulate import Tabulated, tabulate

STUDY = """
title = "small"
[network]
activation = "tanh"
train = ["w"]
[data]
law = "gaussian"
dimension = 1
target = { index = "tanh", gain = 1.5, scale = 0.8 }
[training]
temperature = 0.05
weight_decay = 0.1
time = 1.0
[initial]
w = { law = "normal", std = 1.0 }
[grid]
cells = [48]
[particles]
widths = [8, 16]
replicas = 4
step = 0.05
[output]
snapshots = 6
"""

LOGISTIC = """
[network]
activation = "tanh"
train = ["a", "w"]
[data]
law = "nodes"
x = [[-1.0], [-0.4], [0.5], [1.2]]
y = [-1.0, -1.0, 1.0, 1.0]
[training]
loss = "logistic"
temperature = 0.02
weight_decay = 0.1
time = 1.0
[grid]
cells = [32, 32]
[particles]
widths = [8, 16]
replicas = 3
step = 0.1
[output]
snapshots = 3
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(STUDY)
    return path


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "mfpde", *map(str, arguments)]


def _solve(study: str | Path, directory: Path, *arguments: str) -> int:
    """In this process, where every floating-point accident raises."""
    return main(["solve", str(study), "-o", str(directory), "--no-figures", "-q", *arguments])


def _summary(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "summary.json").read_text()))


def _same(first: Path, second: Path) -> None:
    names = sorted(path.name for path in first.glob("*.h5"))
    assert names == sorted(path.name for path in second.glob("*.h5"))
    assert names
    for name in names:
        assert differences(str(first / name), str(second / name)) == []


@pytest.fixture(scope="module")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The run that the others are compared with: a process of its own, one thread."""
    directory = tmp_path_factory.mktemp("run") / "finished"
    command = _command("solve", study, "-o", directory, "--no-figures", "--json", "--threads", "1")
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return directory, result


# ---- results ---------------------------------------------------------------------------------------------------


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(_numbers, value.values()))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_numbers, value))
    elif isinstance(value, int | float):
        yield float(value)


def test_summary_holds_every_promised_key(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    summary = _summary(finished[0])
    assert summary["ok"] is True
    assert summary["study"] == "small"
    promised = {
        "limit": "free_energy risk mass_error min_density boundary_mass steps rejected wall_s energy_increases moments",
        "stationary": "free_energy dual gap risk newton_steps moments",
        "distance_to_stationary": "free_energy_gap kl function",
    }
    for section, keys in promised.items():
        assert set(keys.split()) <= summary[section].keys()
        numbers = list(_numbers({key: summary[section][key] for key in keys.split()}))
        assert len(numbers) >= len(keys.split())
        assert all(map(math.isfinite, numbers))
    keys = "width replicas risk_mean risk_sem function_error coupling_error w2"
    assert [p["width"] for p in summary["particles"]] == [8, 16]
    for p in summary["particles"]:
        assert all(isinstance(p[key], int | float) and math.isfinite(p[key]) for key in keys.split())
    for name in ("function_error", "coupling_error"):
        assert math.isfinite(summary["rates"][name]["slope"])
        low, high = summary["rates"][name]["ci"]
        assert low < summary["rates"][name]["slope"] < high
    for section in ("limit", "stationary"):
        assert set(summary[section]["moments"]) == {"a", "w"}
        assert all(len(values) == 4 for values in summary[section]["moments"].values())


def test_summary_tells_the_truth(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Invariants that hold whatever the numbers: mass, energy, certificate, the exact identity of the distance."""
    summary = _summary(finished[0])
    run, rest, distance = summary["limit"], summary["stationary"], summary["distance_to_stationary"]
    assert run["mass_error"] <= 1e-13
    assert run["min_density"] > 0.0
    assert run["energy_increases"] == 0
    assert abs(rest["gap"]) <= 1e-10
    assert distance["free_energy_gap"] == pytest.approx(run["free_energy"] - rest["free_energy"], rel=1e-12)
    identity = 0.05 * distance["kl"] + 0.5 * distance["function"] ** 2
    assert distance["free_energy_gap"] == pytest.approx(identity, rel=1e-8)
    assert run["moments"]["a"] == [1.0, 1.0, 1.0, 1.0]
    with store.vet.reading(finished[0] / "limit.h5") as file:
        density, w = file["limit/density"][-1], file["limit/w"][...]
    width = w[1] - w[0]
    assert run["moments"]["w"] == pytest.approx(
        [float(np.sum(density * w**k) * width) for k in (1, 2, 3, 4)], rel=1e-12
    )


def test_json_is_one_object_and_the_log_goes_to_stderr(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    directory, result = finished
    answer = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    written = _summary(directory)
    assert {key: answer[key] for key in written if key != "files"} == {k: v for k, v in written.items() if k != "files"}
    assert sorted(Path(name).name for name in answer["files"]) == ["limit.h5", "particles.h5", "summary.json"]
    assert "limit 100 %" in result.stderr
    # how the features are kept, said once for the one grid of this run
    assert result.stderr.count("grid 48: 40 features of 48 cells") == 1
    assert re.fullmatch(r"compressed, 1\d of 40 nodes", answer["limit"]["features"])
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
@pytest.mark.parametrize("name", ["limit.h5", "particles.h5"])
def test_xarray_opens_the_files_without_a_warning(
    finished: tuple[Path, subprocess.CompletedProcess[str]], name: str, engine: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only the import may complain
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        pytest.importorskip("netCDF4")
    path = finished[0] / name
    for group in store.outline(path)["groups"]:
        with xarray.open_dataset(path, group=group, engine=engine) as found:
            found.load()
            assert not any(axis.startswith("phony") for axis in found.sizes)
    with xarray.open_datatree(path, engine=engine) as tree:
        if name == "limit.h5":
            assert tree["/limit"]["density"].sel(time=1.0).interp(w=0.3).shape == ()
        else:
            assert tree["/ensemble/N000016"]["theta"].sel(time=0.4).dims == ("replica", "particle", "parameter")


def test_threads_do_not_change_a_bit(
    study: Path, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    assert _solve(study, tmp_path / "two", "--threads", "2") == 0
    assert main(["compare", str(finished[0]), str(tmp_path / "two"), "--rtol", "0", "--atol", "0"]) == 0
    assert _solve(study, tmp_path / "other", "--threads", "2", "--seed", "1") == 0
    assert main(["compare", str(finished[0]), str(tmp_path / "other"), "--rtol", "0", "--atol", "0"]) == 1


# ---- kinds of studies ------------------------------------------------------------------------------------------


def test_temperature_zero_moves_atoms(study: Path, tmp_path: Path) -> None:
    arguments = ["--set", "training.temperature=0", "--set", "particles.dynamics=gradient", "--set", "training.time=30"]
    assert _solve(study, tmp_path / "run", *arguments) == 0
    summary = _summary(tmp_path / "run")
    assert summary["limit"]["kind"] == "atoms"
    assert summary["limit"]["energy_increases"] == 0
    assert summary["stationary"] is None
    contents = store.read(tmp_path / "run" / "limit.h5")
    assert contents.attributes["kind"] == "atoms"
    group = contents.groups["/limit"].variables
    predicted = group["atom_weight"].data @ np.tanh(group["theta"].data[-1][:, 1:] * group["x"].data[:, 0])
    np.testing.assert_allclose(group["f"].data[-1], predicted, rtol=1e-12, atol=1e-14)


def test_ornstein_uhlenbeck_follows_the_closed_form(tmp_path: Path) -> None:
    """Mean 2 exp(-t), variance 1/4 at t = 2, with an error that falls fourfold when the cells are halved."""
    mean = 2.0 * math.exp(-2.0)
    errors = []
    for cells in (128, 256, 512):
        run = tmp_path / str(cells)
        arguments = ["--only", "limit", "--set", f"grid.cells=[{cells}]", "--set", "grid.tolerance=1e-8"]
        assert _solve("ornstein-uhlenbeck", run, *arguments) == 0
        first, second = _summary(run)["limit"]["moments"]["w"][:2]
        errors.append([first - mean, second - first**2 - 0.25])
    assert abs(errors[2][0]) < 2e-4
    assert abs(errors[2][1]) < 2e-4
    for k in range(2):
        assert errors[0][0] / errors[1][0] == pytest.approx(4.0, abs=0.1)
        assert abs((4.0 * errors[2][k] - errors[1][k]) / 3.0) < 5e-6
    assert _summary(run)["stationary"]["dual"] is None  # an attraction is not convex in the measure


def test_circle(tmp_path: Path) -> None:
    """r = I_1(4r)/I_0(4r) at rest: 0.83..., by a fixed-point iteration of its own."""
    from scipy.special import iv

    arguments = ["--set", "particles.replicas=2", "--set", "particles.widths=[8]", "--set", "grid.cells=[64]"]
    assert _solve("kuramoto", tmp_path / "run", *arguments, "--set", "output.snapshots=3") == 0
    r = 0.9
    for _ in range(200):
        r = float(iv(1, 4.0 * r) / iv(0, 4.0 * r))
    assert _summary(tmp_path / "run")["stationary"]["order_parameter"] == pytest.approx(r, abs=1e-8)


def test_a_frozen_law_keeps_its_shares(study: Path, tmp_path: Path) -> None:
    assert _solve(study, tmp_path / "run", "--set", 'initial.a={law="rademacher"}') == 0
    group = store.read(tmp_path / "run" / "limit.h5").groups["/limit"].variables
    assert group["density"].dims == ("time", "species", "w")
    np.testing.assert_array_equal(np.sort(group["species_a"].data), [-1.0, 1.0])
    width = group["w"].attrs["width"]
    np.testing.assert_allclose(group["density"].data.sum(axis=-1) * width, 0.5, rtol=1e-13)
    theta = store.read(tmp_path / "run" / "particles.h5", ["/ensemble/N000016"]).groups["/ensemble/N000016"]
    a = theta.variables["theta"].data[..., 0]
    np.testing.assert_array_equal(np.abs(a), 1.0)
    np.testing.assert_array_equal(a, np.broadcast_to(a[0], a.shape))


def test_logistic_nodes(tmp_path: Path) -> None:
    (tmp_path / "logistic.toml").write_text(LOGISTIC)
    assert _solve(tmp_path / "logistic.toml", tmp_path / "run") == 0
    summary = _summary(tmp_path / "run")
    assert abs(summary["stationary"]["gap"]) <= 1e-10
    assert summary["stationary"]["risk"] < summary["limit"]["risk"] < math.log(2.0)
    assert set(summary["particles"][0]["w2_coordinates"]) == {"a", "w"}


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STUDY.encode())))
    assert main(["solve", "-", "--only", "limit", "--no-figures", "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["directory"] == "stdin"
    assert sorted(path.name for path in (tmp_path / "stdin").iterdir()) == ["limit.h5", "summary.json"]


# ---- parts -----------------------------------------------------------------------------------------------------


def test_parts_make_the_whole(
    study: Path, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The limit alone, then particles alone beside it, give the files of a whole run."""
    assert _solve(study, tmp_path / "parts", "--only", "limit") == 0
    assert not (tmp_path / "parts" / "particles.h5").exists()
    assert _summary(tmp_path / "parts")["particles"] == []
    assert _solve(study, tmp_path / "parts", "--only", "particles") == 0
    _same(finished[0], tmp_path / "parts")
    first, second = _summary(finished[0]), _summary(tmp_path / "parts")
    assert first["rates"] == second["rates"]
    assert first["limit"]["free_energy"] == second["limit"]["free_energy"]
    assert _solve(study, tmp_path / "parts", "--only", "particles", "--overwrite") == 0
    _same(finished[0], tmp_path / "parts")


def test_particles_alone_have_no_limit_to_compare_with(study: Path, tmp_path: Path) -> None:
    assert _solve(study, tmp_path / "run", "--only", "particles") == 0
    summary = _summary(tmp_path / "run")
    assert summary["limit"] is None
    assert summary["particles"][0]["function_error"] is None
    assert math.isfinite(summary["particles"][0]["risk_mean"])


def test_stationary_alone(
    study: Path,
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _solve(study, tmp_path / "run", "--only", "stationary") == 0
    alone, after = _summary(tmp_path / "run")["stationary"], _summary(finished[0])["stationary"]
    assert alone["free_energy"] == pytest.approx(after["free_energy"], abs=1e-12)
    assert abs(alone["gap"]) <= 1e-10
    capsys.readouterr()
    assert _solve(study, tmp_path / "run", "--resume") == 4  # no limit to continue
    assert "not the kind 'limit'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits", "--only", "limit"], "65 coordinates move"),
        (["kuramoto", "--only", "stationary", "--set", "training.temperature=0"], "temperature above 0"),
        (["kuramoto", "--only", "everything"], "invalid choice"),
        (["kuramoto", "--checkpoint", "nan"], "number of seconds"),
    ],
)
def test_impossible_parts(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", *arguments, "-o", str(tmp_path / "run"), "--no-figures"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_device_that_cannot_be_used_is_refused_before_anything_is_written(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "available", lambda: "there is no GPU")
    for arguments in ([], ["--dry-run"]):
        assert _solve(study, tmp_path / "run", "--set", "numerics.device=cuda", *arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == 'mfpde: config error: numerics.device is "cuda", but there is no GPU'
        assert lines[1].startswith("hint: ")
        assert not (tmp_path / "run").exists()


def test_single_precision_is_part_of_the_study(
    study: Path, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Stored, told, the same bits again by more threads, and other numbers than double: by round-off for the risk."""
    single = ["--set", "numerics.precision=single"]
    assert _solve(study, tmp_path / "one", *single, "--threads", "1") == 0
    assert _solve(study, tmp_path / "two", *single, "--threads", "2") == 0
    _same(tmp_path / "one", tmp_path / "two")
    assert 'precision = "single"' in store.read(tmp_path / "one" / "particles.h5", []).attributes["config"]
    double, rounded = _summary(finished[0]), _summary(tmp_path / "one")
    assert "in single precision" in rounded["forces"]["description"]
    assert double["limit"]["free_energy"] == rounded["limit"]["free_energy"]
    for one, two in zip(double["particles"], rounded["particles"], strict=True):
        assert one["risk_mean"] != two["risk_mean"]
        assert one["risk_mean"] == pytest.approx(two["risk_mean"], rel=1e-4)
    assert _solve(study, tmp_path / "one", "--resume") == 4  # another study


def test_a_predictor_of_another_skeleton_is_dropped(study: Path) -> None:
    """A run continued on another processor may find one skeleton node more or less; the next step starts without."""
    loaded = config.load(str(study))
    run = limit._start(build.build(loaded.config, loaded.name, loaded.directory))
    run.state = replace(run.state, step=1, slope=np.ones(run.take_table().rank + 1))
    assert next(iter(run.snapshots())).state.step == 2


@pytest.mark.parametrize("grows", [False, True])
def test_every_box_is_tabulated_once(grows: bool, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps and the stationary state share the table of their box; a larger box needs another, in its place."""
    boxes: list[int] = []
    tables: list[weakref.ref[Tabulated]] = []

    def counting(problem: Problem, grid: Grid) -> Tabulated:
        assert all(earlier() is None for earlier in tables), "two tables at a time: either may be most of the memory"
        boxes.append(grid.axes[0].cells)
        table = tabulate(problem, grid)
        tables.append(weakref.ref(table))
        return table

    loaded = config.load(str(study))
    built = build.build(loaded.config, loaded.name, loaded.directory)
    if grows:
        narrow = replace(built.grid.axes[0], lower=-1.5, upper=1.5)
        vars(built)["grid"] = replace(built.grid, axes=(narrow,))  # in the place of the box that was chosen
    monkeypatch.setattr(limit, "tabulate", counting)
    monkeypatch.setattr(evolve, "tabulate", counting)
    found = limit.run_limit(built, str(tmp_path / "limit.h5"))
    assert found.rest is not None and found.rest.measure.grid.axes[0].cells == boxes[-1]
    assert len(set(boxes)) == len(boxes)
    assert (len(boxes) > 1) == grows


def test_stored_densities_keep_their_place_in_a_larger_box(study: Path) -> None:
    loaded = config.load(str(study))
    run = limit._start(build.build(loaded.config, loaded.name, loaded.directory))
    run.record(next(iter(run.snapshots())), 0.0)
    before, small = run.density[0].copy(), run.grid
    run._widen(small.extend(0, 5, 3))
    assert run.density.shape == (6, 1, 56)
    np.testing.assert_array_equal(run.density[0, :, 5:53], before)
    np.testing.assert_array_equal(np.delete(run.density[0], np.s_[5:53], axis=1), SMALLEST_MASS)
    centers = run.grid.axes[0].centers
    np.testing.assert_allclose(centers[5:53], small.axes[0].centers, atol=1e-12)


def test_what_has_no_limit_says_so_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "no limit on a grid: a neuron has 65 moving coordinates, a grid takes up to 3; particles alone"
    assert _solve("digits", tmp_path / "run", "--dry-run") == 0
    assert f"# {sentence}" in capsys.readouterr().out.splitlines()
    small = ["training.time=0.1", "particles.widths=[2]", "particles.replicas=2", "output.snapshots=2"]
    sets = [word for text in small for word in ("--set", text)]
    assert main(["solve", "digits", "-o", str(tmp_path / "run"), *sets, "--no-figures"]) == 0
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "\n\n\n" not in printed.out


def test_dry_run_writes_nothing(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _solve(study, tmp_path / "run", "--dry-run") == 0
    assert "# particles:" in capsys.readouterr().out
    assert _solve(study, tmp_path / "run", "--dry-run", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["estimate"]["limit"]["cells"] == [48]
    assert not (tmp_path / "run").exists()


# ---- refusals --------------------------------------------------------------------------------------------------

RELU = ["network.activation=relu", 'network.train=["a","w"]', "training.weight_decay=0.001"]
REFUSED = {
    "bad key": (["training.temperatur=1"], "training.temperatur is not a known key", "did you mean 'temperature'?"),
    "bad value": (['training.loss="cubic"'], 'training.loss is "cubic"', None),
    "negative temperature": (["training.temperature=-1.0"], "training.temperature is -1.0", None),
    "no particles": (["particles.widths=[0]"], "particles.widths[0] is 0", None),
    "not normalisable": (
        [*RELU, 'data.target={index="hermite",coefficients=[0.0,1.0]}'],
        "cannot be normalised",
        "lambda_a lambda_w",
    ),
    "missing data": (
        ["data={law='empirical',file='no.csv',inputs=['x'],targets='y'}"],
        'data.file is "no.csv", which does not exist',
        None,
    ),
    "box beside the initial law": (["grid.bounds=[[50,60]]"], "cuts the initial law", "widen it"),
    "more than the memory": (
        ["particles.widths=[10000000]", "particles.replicas=1000000"],
        "this machine has",
        "fewer cells, widths, replicas or snapshots",
    ),
}


@pytest.mark.parametrize("json_wanted", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence_with_nothing_written(
    case: str, json_wanted: bool, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, said, hint = REFUSED[case]
    arguments = [argument for override in overrides for argument in ("--set", override)]
    assert _solve(study, tmp_path / "run", *arguments, *["--json"] * json_wanted) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[0].startswith("mfpde: config error: ")
    assert said in lines[0]
    assert len(lines) == (2 if hint else 1) or lines[1].startswith("hint: ")
    assert hint is None or hint in lines[1]
    assert not (tmp_path / "run").exists()
    if json_wanted:
        answer = json.loads(out)
        assert out.count("\n") == 1
        assert answer["ok"] is False
        assert said in answer["error"]
    else:
        assert out == ""


def test_missing_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _solve(tmp_path / "none.toml", tmp_path / "run") == 2
    assert "neither a TOML file nor a built-in study" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_existing_output_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _solve(study, tmp_path / "run", "--only", "limit") == 0
    before = (tmp_path / "run" / "limit.h5").read_bytes()
    capsys.readouterr()
    assert _solve(study, tmp_path / "run") == 2
    assert "--resume continues that run, --overwrite replaces it" in capsys.readouterr().err
    assert _solve(study, tmp_path / "run", "--only", "stationary", "--resume") == 2
    assert _solve(study, tmp_path / "run", "--resume", "--set", "training.time=2") == 4
    assert "another study" in capsys.readouterr().err
    assert (tmp_path / "run" / "limit.h5").read_bytes() == before
    assert _solve(study, tmp_path / "run", "--only", "limit", "--overwrite", "--set", "training.time=2") == 0
    assert _summary(tmp_path / "run")["limit"]["time"] == 2.0
    (tmp_path / "file").touch()
    assert _solve(study, tmp_path / "file") == 6
    assert _solve(study, tmp_path / "file" / "below") == 6


def test_damaged_or_foreign_files_are_not_continued(
    study: Path,
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "run").mkdir()
    whole = (finished[0] / "limit.h5").read_bytes()
    for content in (b"text", whole[: len(whole) // 2], (finished[0] / "particles.h5").read_bytes()):
        (tmp_path / "run" / "limit.h5").write_bytes(content)
        assert _solve(study, tmp_path / "run", "--resume") == 4
        assert capsys.readouterr().err.startswith("mfpde: data file error: ")
        assert (tmp_path / "run" / "limit.h5").read_bytes() == content


def test_a_blow_up_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "particles.step=10",
        "training.time=40",
        "output.snapshots=5",
        "grid.cells=[48]",
        "particles.widths=[4]",
    ]
    code = _solve("desai-zwanzig", tmp_path / "run", *(a for text in arguments for a in ("--set", text)))
    assert code == 5
    assert "became non-finite" in capsys.readouterr().err


# ---- interruptions ---------------------------------------------------------------------------------------------

LONGER = ["--set", "training.time=3", "--set", "output.snapshots=16", "--set", "particles.step=0.02"]


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        (limit_file, "save", []),
        (limit_file, "save", ["--set", "grid.flux=limited"]),
        (atoms, "_save", ["--set", "training.temperature=0", "--set", "particles.dynamics=gradient"]),
        (particles, "_save", []),
        (particles, "_save", ["--set", "particles.dynamics=sgd", "--set", "particles.batch=8"]),
    ],
)
def test_stopped_at_any_checkpoint_a_run_goes_on_as_if_nothing_had_happened(
    module: Any, name: str, extra: list[str], study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at the start, then after every second checkpoint, each run resuming the one before."""
    extra = [*extra, "--only", "limit"] if module is not particles else extra
    assert _solve(study, tmp_path / "straight", *extra) == 0
    original = getattr(module, name)
    codes: list[int] = []
    saves = itertools.count(1)

    def save_and_stop(*arguments: Any) -> None:
        original(*arguments)
        if next(saves) >= min(len(codes) + 1, 2):
            raise KeyboardInterrupt

    while not codes or codes[-1] == 130:
        assert len(codes) < 100
        saves = itertools.count(1)
        monkeypatch.setattr(module, name, save_and_stop)
        codes.append(_solve(study, tmp_path / "stopped", *extra, "--checkpoint", "0", *["--resume"] * bool(codes)))
        monkeypatch.setattr(module, name, original)
    # the interrupted save of the finished file has written it: the last run only reads
    assert codes[-1] == 0
    assert len(codes) >= 4
    _same(tmp_path / "straight", tmp_path / "stopped")


def test_a_signal_waits_for_the_end_of_a_record() -> None:
    done = []
    with common.termination_as_exception():
        with pytest.raises(common.Terminated), interrupt.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("record")
        assert done == ["record"]
    with common.termination_as_exception():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # outside at once; here lost, as in a callback of the garbage collector
        with pytest.raises(KeyboardInterrupt), interrupt.held():
            done.append("next")
        assert done == ["record", "next"]
    with common.termination_as_exception(), interrupt.held():
        assert interrupt.arrived() is None


@pytest.mark.parametrize("module", [limit, particles])
def test_a_signal_inside_a_record_or_a_save_leaves_both_whole(
    module: Any, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _solve(study, tmp_path / "straight") == 0
    record, image = module._Run.record, store.image
    calls = itertools.count(1)

    def record_signalled(self: Any, *arguments: Any) -> None:
        if next(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        record(self, *arguments)

    def image_signalled(*arguments: Any) -> memoryview:
        if next(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return image(*arguments)

    monkeypatch.setattr(module._Run, "record", record_signalled)
    assert _solve(study, tmp_path / "stopped") == 143
    monkeypatch.setattr(module._Run, "record", record)
    name = "limit.h5" if module is limit else "particles.h5"
    attributes = store.read(tmp_path / "stopped" / name)
    reached = attributes.groups["/restart"].attributes["step"] if module is limit else attributes.attributes["index"]
    assert reached == 2  # the third record is in the checkpoint
    calls = itertools.count(1)
    monkeypatch.setattr(store, "image", image_signalled)
    assert _solve(study, tmp_path / "stopped", "--resume", "--checkpoint", "0") == 143
    monkeypatch.setattr(store, "image", image)
    assert _solve(study, tmp_path / "stopped", "--resume") == 0
    _same(tmp_path / "straight", tmp_path / "stopped")


_FORKS = """
import os, random, signal, sys, time
from mfpde.cli.main import main
signals = (signal.SIGINT, signal.SIGTERM)
number, count, longest, directory, *arguments = sys.argv[1:]
random.seed(0)
assert main(["solve", *arguments, "-o", directory + "-straight", "--no-figures", "-q"]) == 0
codes = []
while True:
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    process = os.fork()  # from a parent that has everything imported and compiled
    if process == 0:
        for one in signals:
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        flags = ["--resume"] * os.path.exists(directory)
        code = main(["solve", *arguments, "-o", directory, "--no-figures", "-q", "--checkpoint", "0", *flags])
        sys.stdout.flush()
        os._exit(code)
    ended = 0
    if len(codes) < int(count):
        until = time.monotonic() + random.uniform(0.0, float(longest))
        while time.monotonic() < until and not ended:
            time.sleep(0.0005)
            ended, status = os.waitpid(process, os.WNOHANG)
        if not ended:
            os.kill(process, int(number))
    if not ended:
        _, status = os.waitpid(process, 0)
    codes.append(os.waitstatus_to_exitcode(status))
    # a signal that comes before its handler, or after, kills as it always does
    if codes[-1] not in (-9, -2, -15, 130, 143):
        break
print("codes:", *codes)
"""


def _kill_at_random(number: int, count: int, longest: float, study: Path, directory: Path, *arguments: str) -> None:
    command = [
        sys.executable,
        "-c",
        _FORKS,
        str(number),
        str(count),
        str(longest),
        str(directory),
        str(study),
        *arguments,
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    codes = result.stdout.rsplit("codes:", 1)[1].split()
    assert codes[-1] == "0", result.stderr[-2000:]
    assert len(codes) > 3
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    _same(Path(f"{directory}-straight"), directory)
    assert sorted(path.name for path in directory.iterdir()) == ["limit.h5", "particles.h5", "summary.json"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_at_random_moments(number: int, study: Path, tmp_path: Path) -> None:
    _kill_at_random(number, 15, 0.15, study, tmp_path / "killed", *LONGER)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["training.temperature=0", "particles.dynamics=gradient"],
        ["grid.flux=limited"],
        ["data.dimension=5", "grid.cells=[24,24]", "network.activation=erf"],
        ["data.dimension=5", "grid.cells=[24,24]", "particles.nodes=64"],
        ['initial.a={law="rademacher"}', "particles.dynamics=sgd", "particles.batch=8"],
    ],
)
def test_killed_at_many_random_moments(number: int, extra: list[str], study: Path, tmp_path: Path) -> None:
    arguments = [argument for text in extra for argument in ("--set", text)]
    _kill_at_random(number, 40, 0.2, study, tmp_path / "killed", *LONGER, *arguments)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint(number: int, code: int, study: Path, tmp_path: Path) -> None:
    """The limit is done, the particles run: they stop within seconds, and the resumed run is the same."""
    arguments = ["--set", "particles.step=2e-3", "--set", "output.snapshots=101", "--set", "particles.widths=[8]"]
    directory = tmp_path / "run"
    process = subprocess.Popen(
        _command("solve", study, "-o", directory, "--no-figures", "-q", "--checkpoint", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background of a shell ignores SIGINT, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 60.0
    while not (directory / "particles.h5").exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10.0
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert "hint: continue with --resume" in err
    assert sorted(path.name for path in directory.iterdir()) == ["limit.h5", "particles.h5"]
    contents = store.read(directory / "particles.h5")
    assert contents.attributes["finished"] == 0
    assert 0 <= contents.attributes["index"] < 100
    shorter = contents.groups["/ensemble/N000008"].variables["theta"].data
    assert len(shorter) == contents.attributes["index"] + 1
    assert _solve(study, directory, "--resume", *arguments) == 0
    assert os.path.exists(directory / SUMMARY_FILE)
    assert _solve(study, tmp_path / "straight", *arguments) == 0
    _same(tmp_path / "straight", directory)
