"""``mfpde deep``: numbers, verdicts, tables, figures, kills, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import command_line
import legibility
import numpy as np
import pytest
from command_line import measured, refused, told
from deep_studies import written

from mfpde import figures
from mfpde.cli.deep_figures import draw
from mfpde.cli.main import main
from mfpde.io import store, studies
from mfpde.io.deep import config
from mfpde.io.deep.data import read_samples
from mfpde.io.deep.run import run_study
from mfpde.theory.deep.linear import exact_single

Capture = command_line.Capture


def sets(*overrides: str) -> list[str]:
    return [part for one in overrides for part in ("--set", one)]


# ---- numbers and verdicts --------------------------------------------------------------------------------------------


def test_one_linear_neuron_has_its_closed_form(tmp_path: Path, capsys: Capture) -> None:
    study = written(tmp_path, '[network]\ndepth=1\nactivation="identity"\n[data]\nx=[[1.0]]\ny=[1.7]\n')
    found = measured(
        capsys, "deep", study, "-o", str(tmp_path / "a"), "--threads", "1", "--no-figures",
        *sets("training.rate=0.1", "training.steps=60", "output.snapshots=61", "finite.widths=[16,64]",
              'finite.parametrizations=["mup"]', "finite.seeds=200"),
    )  # fmt: skip
    exact = exact_single(60, 0.1, 1.7)
    assert found["limit"]["exact"] is True and found["limit"]["samples"] is None
    assert found["limit"]["loss"]["mean"] == pytest.approx(0.5 * (exact.f - 1.7) ** 2, abs=1e-12)
    assert found["limit"]["f"] == [[pytest.approx(exact.f[-1], abs=1e-12)]]
    assert found["limit"]["f_sem"] == [[None]]
    # a single point: Theta = Phi + K = E h^2 + E V^2... of the closed form, both sides of the bound
    assert found["kernel_bound"]["lowest"] == pytest.approx(2.0 * exact.kernel, abs=1e-12)
    assert found["assumptions"]["activation"]["good"] is False
    law = found["width_law"]
    assert law["fluctuation_rate"]["slope"] == pytest.approx(-0.5, abs=0.15)
    distances = [row["distance"]["mean"] for row in found["widths"]]
    assert distances[0] > 1.5 * distances[1]


def test_the_toy_has_the_reference_values(tmp_path: Path, capsys: Capture) -> None:
    """Those of test_deep_limit.REFERENCE, by two replicates of 2048 samples: four standard errors."""
    found = measured(
        capsys, "deep", "deep-toy", "-o", str(tmp_path / "a"), "--threads", "1", "--no-figures", "--only", "limit",
        *sets("limit.samples=2048", "limit.replicates=2", "training.steps=10"),
    )  # fmt: skip
    loss = found["limit"]["loss"]["mean"]
    assert [loss[1], loss[2], loss[5], loss[10]] == pytest.approx([0.31968, 0.12469, 0.002766, 0.001286], rel=0.04)
    assert found["limit"]["feature_eigenvalue"]["mean"][0] == pytest.approx([0.0294, 0.0221, 0.0172], rel=0.04)
    assert found["assumptions"]["hold"] is True
    assert found["assumptions"]["inputs"]["duplicates"] == []
    assert found["verdict"]["answer"] == "open"  # ten steps do not end training
    assert "training has not ended" in found["verdict"]["sentence"]
    bound = found["kernel_bound"]
    assert min(r / b for r, b in zip(bound["rate"], bound["bound"], strict=True)) > 0.8
    certificate = found["certificate"]
    assert certificate["holds"] is True
    assert (np.array(certificate["squares"])[:-1] <= np.array(certificate["bound"], float)[:-1] * (1 + 1e-9)).all()
    # the rms residual before the last recorded step is known too: the bound is above it
    residual = np.sqrt(2.0 * loss[9])
    assert residual <= found["verdict"]["residual_bound"] < 3.0 * residual
    assert found["widths"] == [] and found["width_law"] is None


def test_the_controls_are_told_no(tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "a")
    few = ["limit.samples=512", "limit.replicates=2", "finite.widths=[64]", "finite.seeds=3", "training.steps=60"]
    found = measured(capsys, "deep", "deep-controls", "-o", out, "--threads", "1", *sets(*few))
    verdict = found["verdict"]
    assert verdict["answer"] == "no"
    assert [0, 1] in verdict["dependent_samples"] and [6, 7] in verdict["dependent_samples"]
    assert len(verdict["dependent_samples"]) == 2
    assert abs(verdict["smallest_eigenvalue"]) < 1e-12
    assert verdict["loss"][1] == pytest.approx(0.25, abs=1e-3)
    inputs = found["assumptions"]["inputs"]
    assert found["assumptions"]["hold"] is False
    assert inputs["antipodal"] == [[0, 1]] and inputs["duplicates"] == [[6, 7]]
    assert found["certificate"]["holds"] is False and verdict["residual_bound"] is None
    words = ["do NOT hold", "verdict: no", "samples 0 and 1, 6 and 7", "1 antipodal pair"]
    told(capsys, "deep", "deep-controls", "-o", out, "--resume", "--threads", "1", *sets(*few), words=words)


def test_antipodal_points_are_no_obstacle_for_an_activation_that_is_not_odd(tmp_path: Path, capsys: Capture) -> None:
    found = measured(
        capsys, "deep", "deep-controls", "-o", str(tmp_path / "a"), "--threads", "1", "--only", "limit", "--no-figures",
        *sets("limit.samples=512", "training.steps=20", 'network.activation="gelu"'),
    )  # fmt: skip
    # the duplicate remains
    assert found["verdict"]["dependent_samples"] == [[6, 7]]


def test_a_step_too_large_is_told_from_where_on(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["-o", str(tmp_path / "a"), "--threads", "1", "--only", "limit", "--no-figures"]
    changed = sets("limit.samples=512", "limit.replicates=2", "training.rate=14.0", "training.steps=12")
    found = measured(capsys, "deep", "deep-toy", *arguments, *changed)
    trust = found["reliability"]
    assert trust["unreliable_from"] == min(
        t for t in (trust["spike"], trust["unstable"], trust["crowded"]) if t is not None
    )
    assert trust["unreliable_from"] < 12
    assert found["verdict"]["answer"] == "open" and "unreliable from step" in found["verdict"]["sentence"]
    words = ["UNRELIABLE", "verdict: open"]
    told(capsys, "deep", "deep-toy", *arguments, "--resume", *changed, words=words)


def test_classes_get_an_output_each(tmp_path: Path, capsys: Capture) -> None:
    found = measured(
        capsys, "deep", "deep-digits", "-o", str(tmp_path / "a"), "--threads", "1",
        *sets('training.loss="cross-entropy"', "training.steps=4", "training.batch=8", "training.momentum=0.5",
              "limit.samples=1024", "limit.replicates=2", "network.depth=2", "finite.widths=[32,64]",
              "finite.seeds=4", "data.test=[57,97]", "network.bias=true"),
    )  # fmt: skip
    assert found["kernel_bound"] is None and found["verdict"]["residual_bound"] is None
    assert np.shape(found["limit"]["f"]) == (16, 2)
    assert found["limit"]["loss"]["mean"][0] == pytest.approx(np.log(2.0), abs=1e-12)
    assert found["test"]["rows"] == 40
    assert found["test"]["limit"]["accuracy"] > 0.6
    with store.vet.reading(str(tmp_path / "a" / "deep.h5")) as file:
        assert file["data/label"][...].tolist() == [-1.0, 1.0]


# ---- the command -----------------------------------------------------------------------------------------------------


def test_table_summary_and_figures(tmp_path: Path, capsys: Capture) -> None:
    study, out = written(tmp_path), tmp_path / "a"
    words = ["small", "verdict:", "NTK", "limit", "error of f", "2 held-out rows", "deep-widths.png", "width law"]
    told(capsys, "deep", study, "-o", str(out), "--threads", "1", words=words)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["ok"] is True
    rows = summary["widths"]
    assert [(row["parametrization"], row["width"]) for row in rows] == [
        ("mup", 8),
        ("mup", 32),
        ("ntk", 8),
        ("ntk", 32),
    ]
    layers = {"feature_change", "feature_eigenvalue", "preactivation_eigenvalue", "space_time_eigenvalue"}
    for row in rows:
        assert all(len(row[name]["mean"]) == 2 for name in layers)
        assert row["distance"]["sem"] > 0.0
    assert len(summary["limit"]["steps"]) == 7
    assert {Path(path).name for path in summary["figures"]} == {
        "deep-widths.png",
        "deep-training.png",
        "deep-kernels.png",
    }
    assert all((out / Path(path).name).stat().st_size > 10_000 for path in summary["figures"])
    assert main(["info", str(out / "deep.h5"), "-q"]) == 0
    assert "/theory/limit" in capsys.readouterr().out
    assert main(["check", str(out / "deep.h5"), "-q"]) == 0


@pytest.mark.parametrize(
    "only, extra", [(None, []), ("limit", []), (None, ["network.depth=1"]), (None, ["finite.seeds=2"])]
)
def test_figures_are_legible(only: str | None, extra: list[str], tmp_path: Path) -> None:
    study = config.load(written(tmp_path), ["training.steps=3", *extra])
    samples = read_samples(study)
    settings = {"resume": False, "processes": 1, "checkpoint": 1e9, "report": lambda share: None}
    found = run_study(study, samples, str(tmp_path / "a.h5"), only=only, **settings)
    sheets = draw(study.config, samples, found)
    assert ("deep-widths" in sheets) == (only is None)
    for figure in sheets.values():
        figures.render(figure)
        assert legibility.faults(figure) == []


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    study = written(tmp_path)
    found = measured(capsys, "deep", study, "--dry-run", "--threads", "2", "-o", str(tmp_path / "a"))
    assert found["estimate"]["processes"] == 2 and found["estimate"]["bytes"] > 1e8
    assert config.parse(found["config"]) == config.load(study).config
    told(capsys, "deep", study, "--dry-run", words=["[limit]", "# 3 samples in 3 dimensions", "MiB at a time"])
    assert not (tmp_path / "a").exists()


def test_a_wrong_key_answers_without_the_numerics() -> None:
    code = (
        "import sys; from mfpde.cli.main import main; code = main(['deep', '--set', 'network.depht=2', '-q']);"
        "sys.exit(10 if 'numpy' in sys.modules else code)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    "arguments, words, code",
    [
        (["deep-toyy"], "neither a TOML file nor a built-in study", 2),
        (["one-step"], 'study "one-step" is a study of `mfpde one-step`', 2),
        (["--set", "limit.sample=3"], "limit.sample is not a known key", 2),
        (["--set", "data.y=[1.0]"], "data.y has 1 numbers; data.x has 8 inputs", 2),
        (["--only", "twins"], "invalid choice: 'twins'", 2),
        (["--checkpoint", "-1"], "is not a number of seconds", 2),
        (sets("finite.widths=[60000]", "finite.seeds=1", "network.depth=32"), "finite.widths asks for about", 2),
        (["--resume", "--overwrite"], "not allowed with argument", 2),
    ],
)
def test_refusals(arguments: list[str], words: str, code: int, tmp_path: Path, capsys: Capture) -> None:
    first = [] if arguments[0].startswith("--") else [arguments[0]]
    rest = arguments[len(first) :]
    only = ["--only", "widths"] if "asks for" in words else []
    refused(capsys, "deep", *(first or ["deep-toy"]), "-o", str(tmp_path / "a"), *only, *rest, words=words, code=code)
    assert not (tmp_path / "a").exists()


def test_output_is_not_lost_by_accident(tmp_path: Path, capsys: Capture) -> None:
    study, out = written(tmp_path), str(tmp_path / "a")
    quick = ["-o", out, "--threads", "1", "--only", "limit", "--no-figures"]
    measured(capsys, "deep", study, *quick)
    refused(capsys, "deep", study, *quick, words="already holds deep.h5")
    refused(capsys, "deep", study, *quick, "--resume", "--seed", "5", words="was made by another study", code=4)
    found = measured(capsys, "deep", study, *quick, "--overwrite", "--seed", "5")
    assert found["limit"]["replicates"] == 3
    assert store.read(tmp_path / "a" / "deep.h5").attributes["seed"] == 5


def test_a_run_that_is_no_longer_finite_keeps_what_it_has(tmp_path: Path, capsys: Capture) -> None:
    study = written(tmp_path)
    wild = sets("training.rate=1e6", 'network.activation="quadratic"', "training.steps=40")
    with np.errstate(over="ignore", invalid="ignore"):
        refused(capsys, "deep", study, "-o", str(tmp_path / "a"), "--threads", "1", *wild, words="finite", code=5)


def test_studies_are_listed_with_their_verb(capsys: Capture) -> None:
    listed = measured(capsys, "studies")["studies"]
    assert [one["name"] for one in listed if one["verb"] == "deep"] == list(studies.names("deep"))
    assert main(["studies", "show", "deep-toy"]) == 0
    assert capsys.readouterr().out == studies.text("deep-toy")
    refused(capsys, "solve", "deep-toy", words="is a study of `mfpde deep`")


# ---- kills -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_command_goes_on_to_the_same_data(number: signal.Signals, tmp_path: Path, capsys: Capture) -> None:
    study = written(tmp_path)
    longer = sets(
        "training.steps=60", "limit.samples=4096", "output.snapshots=61", "finite.widths=[8]", "finite.seeds=4"
    )
    home = str(Path(figures.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "mfpde", "deep", study, "--no-figures", "-o", str(tmp_path / "part"), *longer]
    process = subprocess.Popen(
        [*command, "--checkpoint", "0", "--threads", "1"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    path = tmp_path / "part" / "deep.h5"
    end = time.monotonic() + 60.0
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert b"Traceback" not in message
    assert store.read(path).attributes["finished"] == 0
    measured(
        capsys, *command[3 : -len(longer) - 2], "-o", str(tmp_path / "part"), "--resume", "--threads", "1", *longer
    )
    measured(capsys, *command[3 : -len(longer) - 2], "-o", str(tmp_path / "whole"), "--threads", "1", *longer)
    one, other = store.read(path), store.read(tmp_path / "whole" / "deep.h5")
    assert one.groups.keys() == other.groups.keys()
    for name, group in one.groups.items():
        for key, variable in group.variables.items():
            assert np.array_equal(
                variable.data, other.groups[name].variables[key].data, equal_nan=variable.data.dtype.kind == "f"
            )
    left = {name.name for name in (tmp_path / "part").iterdir()}
    assert left == {"deep.h5", "summary.json"}


def test_tables_of_csv_keep_the_parametrizations_apart(tmp_path: Path, capsys: Capture) -> None:
    study, out = written(tmp_path), tmp_path / "a"
    measured(capsys, "deep", study, "-o", str(out), "--threads", "1", "--no-figures", "--only", "widths")
    measured(capsys, "export", str(out / "deep.h5"), "--to", "csv", "-o", str(out / "csv"))
    for kind in ("mup", "ntk"):
        lines = (out / "csv" / f"ensemble-{kind}.seed-step.csv").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "width,seed,step,loss"
        assert len(lines) == 1 + 7 * (7 + 4)
