"""``mfpde sweep``: combinations, their names, isolation of failures, resuming, the index."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mfpde.cli import sweep
from mfpde.cli.jobs import run_commands
from mfpde.cli.main import main
from mfpde.io import store
from mfpde.io.difference import differences

STUDY = """
[pairwise]
potential = { name = "double-well" }
interaction = { name = "quadratic", strength = 1.0 }
[training]
temperature = 0.3
time = 20.0
[initial]
w = { law = "normal", mean = 1.0, std = 0.5 }
[grid]
cells = [32]
[particles]
widths = [4, 8]
replicas = 2
step = 0.1
[output]
snapshots = 3
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    return path


# ---- what to run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.2", ["0.1", "0.2"]),
        (" 1 , 2 ", ["1", "2"]),
        ("[32,32],[64, 64]", ["[32,32]", "[64, 64]"]),
        ('"a,b","c"', ['"a,b"', '"c"']),
        (
            '{law="normal",std=1.0},{law="uniform",low=-1,high=1}',
            ['{law="normal",std=1.0}', '{law="uniform",low=-1,high=1}'],
        ),
        ("tanh,erf", ["tanh", "erf"]),
        ("", [""]),
    ],
)
def test_values_are_split_between_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert sweep._split(text) == values


def test_names_are_readable_safe_and_different() -> None:
    combinations = [
        {"training.temperature": "0.1", "network.scale": "2"},
        {"grid.cells": "[32, 32]"},
        {"initial.a": '{law="normal"}'},
        {"data.file": '"../../etc/passwd"'},
        {"data.file": '"etc/passwd"'},
        {"title": '"' + "x" * 1000 + '"'},
        {"title": "../" * 400},
    ]
    names = sweep.directory_names(combinations)
    assert names[0] == "training.temperature=0.1,network.scale=2"
    assert names[1] == "grid.cells=32_32"
    assert len(set(names)) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=,+-")
        assert len(name) < 200
        assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    ("grids", "said"),
    [
        (["training.temperature=0.1,-0.1"], "training.temperature is -0.1"),
        (["training.temperatur=0.1"], "did you mean 'temperature'?; in the run training.temperatur=0.1"),
        (["training.temperature"], "it must be KEY=V1,V2"),
        (["training.temperature=0.1,,0.2"], "it must be KEY=V1,V2"),
        (["training.temperature=0.1,0.1"], "twice"),
        (["training.time=1", "training.time=2"], "gives training.time twice"),
        (["grid.cells=[32],[16,16]"], "grid.cells has 2 entries"),
        (
            [
                "output.seed=" + ",".join(map(str, range(200))),
                "particles.replicas=" + ",".join(map(str, range(1, 100))),
            ],
            "19800",
        ),
    ],
)
def test_everything_is_checked_before_anything_runs(
    grids: list[str], said: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument for grid in grids for argument in ("--grid", grid)]
    assert main(["sweep", str(study), *arguments, "-o", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--grid and --run are missing"),
        (["--run", "training.time"], "it must be KEY=V,KEY=V"),
        (["--run", "training.time=1,,output.seed=2"], "it must be KEY=V,KEY=V"),
        (["--run", "training.time="], "it must be KEY=V,KEY=V"),
        (["--run", "output.seed=1,output.seed=2"], "sets output.seed twice"),
        (["--run", "output.seed=1,training.time=2", "--run", "training.time=2, output.seed=1"], "twice"),
        (["--run", "output.seed=1", "--grid", "output.seed=1,2"], "varies output.seed, which a --run sets"),
        (["--run", "output.seed=1", "--run", "training.temperature=-1"], "in the run training.temperature=-1"),
    ],
)
def test_listed_runs_are_checked_too(
    arguments: list[str], said: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(study), *arguments, "-o", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err
    assert not (tmp_path / "out").exists()


def test_listed_runs_are_combined_with_the_grid(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs with tables, arrays and words; what a run does not set is the study's, and shown as such."""
    listed = ['initial.w={law="normal",std=2.0},training.time=3', 'grid.cells=[16],title="a,b"', "training.time=3"]
    arguments = ["sweep", str(study), *(word for text in listed for word in ("--run", text))]
    found = []
    for grid in ([], ["--grid", "output.seed=4,5"]):
        assert main([*arguments, *grid, "--dry-run", "-o", str(tmp_path / "out"), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    runs = [
        {"initial.w": {"law": "normal", "std": 2.0}, "training.time": 3},
        {"grid.cells": [16], "title": "a,b"},
        {"training.time": 3},
    ]
    assert [one["values"] for one in found[0]["runs"]] == runs
    assert [one["values"] for one in found[1]["runs"]] == [{**one, "output.seed": s} for one in runs for s in (4, 5)]
    assert found[1]["keys"] == ["initial.w", "training.time", "output.seed", "grid.cells", "title"]
    assert len({one["directory"] for one in found[1]["runs"]}) == 6
    assert main([*arguments, "--dry-run", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:5] == ["-", "3", "-", "-", "waiting"]


def test_a_listed_run_is_the_run_of_solve_and_is_kept(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--run", "output.seed=1,training.temperature=0.4", "--run", "particles.step=9", "--only", "particles"]
    result = _sweep(study, out, *arguments, "--jobs", "2")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    index = json.loads((out / "sweep.json").read_text())
    assert [one["state"] for one in index["runs"]] == ["done", "failed"]
    sets = ["--set", "output.seed=1", "--set", "training.temperature=0.4", "--only", "particles"]
    assert main(["solve", str(study), "-o", str(tmp_path / "one"), "--no-figures", "-q", *sets]) == 0
    there = f"{index['runs'][0]['directory']}/particles.h5"
    assert differences(str(tmp_path / "one" / "particles.h5"), there) == []
    again = _sweep(study, out, *arguments, "--resume", "--json")
    assert [one["state"] for one in json.loads(again.stdout)["runs"]] == ["kept", "failed"]


def test_dry_run(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", str(study), "--grid", "training.time=1,2", "--grid", "output.seed=3,4", "--dry-run"]
    assert main([*arguments, "-o", str(tmp_path / "out"), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["values"] for run in runs] == [{"training.time": t, "output.seed": s} for t in (1, 2) for s in (3, 4)]
    assert {run["state"] for run in runs} == {"waiting"}
    assert not (tmp_path / "out").exists()


# ---- running ---------------------------------------------------------------------------------------------------


def _sweep(study: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mfpde", "sweep", str(study), "-o", str(out), "--no-figures", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_failing_run_stops_no_other_and_is_all_that_is_resumed(study: Path, tmp_path: Path) -> None:
    """A step of 9 blows the double well up. The others are the very files that solve writes."""
    out = tmp_path / "out"
    arguments = ["--grid", "particles.step=0.1,9,0.2", "--jobs", "2"]
    result = _sweep(study, out, *arguments)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    index = json.loads((out / "sweep.json").read_text())
    assert index["ok"] is False
    assert [run["state"] for run in index["runs"]] == ["done", "failed", "done"]
    assert index["runs"][1]["exit_code"] == 5
    assert "became non-finite" in index["runs"][1]["error"]
    assert "became non-finite" in result.stdout
    for run, step in ((index["runs"][0], "0.1"), (index["runs"][2], "0.2")):
        straight = tmp_path / f"straight-{step}"
        assert (
            main(["solve", str(study), "-o", str(straight), "--no-figures", "-q", "--set", f"particles.step={step}"])
            == 0
        )
        for name in ("limit.h5", "particles.h5"):
            assert differences(str(straight / name), f"{run['directory']}/{name}") == []
        summary = json.loads((straight / "summary.json").read_text())
        assert run["free_energy"] == summary["limit"]["free_energy"]
        assert run["risk"] == summary["limit"]["risk"]
        assert run["rates"]["coupling_error"] == summary["rates"]["coupling_error"]["slope"]
    assert _sweep(study, out, *arguments).returncode == 2  # refused without a flag
    finished = [out / f"particles.step={step}" / "particles.h5" for step in ("0.1", "0.2")]
    before = [path.stat().st_mtime_ns for path in finished]
    result = _sweep(study, out, *arguments, "--resume", "--json")
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    assert [run["state"] for run in answer["runs"]] == ["kept", "failed", "kept"]
    assert answer["runs"][0]["free_energy"] == index["runs"][0]["free_energy"]
    assert before == [path.stat().st_mtime_ns for path in finished]


def test_standard_input_and_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STUDY.encode())))
    assert main(["sweep", "-", "--grid", "training.temperature=0.3,0.6", "--only", "stationary", "-q", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    first, second = answer["runs"]
    # below the critical temperature 0.45694... there is a magnetised law, above it none
    assert first["free_energy"] != second["free_energy"]
    assert sorted(path.name for path in (tmp_path / "stdin-sweep").iterdir()) == [
        "sweep.json",
        "training.temperature=0.3",
        "training.temperature=0.6",
    ]


def test_an_interrupted_sweep_goes_on(study: Path, tmp_path: Path) -> None:
    """SIGTERM reaches the runs, which leave checkpoints; nothing of them stays alive."""
    out = tmp_path / "out"
    arguments = ["--grid", "output.seed=1,2", "--set", "particles.step=4e-3", "--set", "output.snapshots=51"]
    command = [
        sys.executable,
        "-m",
        "mfpde",
        "sweep",
        str(study),
        "-o",
        str(out),
        "--no-figures",
        *arguments,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60.0
    while not list(out.glob("*/limit.h5")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert not list(out.glob("*/.mfpde.lock"))
    assert {run["state"] for run in json.loads((out / "sweep.json").read_text())["runs"]} == {"waiting"}
    assert _sweep(study, out, *arguments, "--jobs", "2", "--resume").returncode == 0
    for seed in (1, 2):
        assert store.outline(out / f"output.seed={seed}" / "particles.h5")["attributes"]["finished"] == 1


def test_commands_end_apart_from_each_other() -> None:
    """Codes, both streams and standard input of each, killed ones too; at most as many at a time as asked for."""
    code = "import sys; k = sys.argv[1]; print(sys.stdin.read(), k); print('e', file=sys.stderr); sys.exit(int(k))"
    commands: list[list[str]] = [[sys.executable, "-c", code, str(k)] for k in range(3)]
    commands.append([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    ended: dict[int, Any] = {k: rest for k, *rest in run_commands(commands, 2, b"in")}
    assert ended == {0: [0, "in 0\n", "e\n"], 1: [1, "in 1\n", "e\n"], 2: [2, "in 2\n", "e\n"], 3: [-9, "", ""]}


def test_leaving_early_ends_what_runs() -> None:
    commands = [[sys.executable, "-c", "pass"], *[[sys.executable, "-c", "import time; time.sleep(60)"]] * 3]
    began = time.monotonic()
    running = run_commands(commands, 2)
    assert next(running)[:2] == (0, 0)
    running.close()
    assert time.monotonic() - began < 20.0
