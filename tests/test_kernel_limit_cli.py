"""``mfpde kernel-limit``: numbers, files that survive interruption, data of users, studies of solve, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import legibility
import numpy as np
import pytest

from mfpde import figures
from mfpde.cli.kernel_limit_figures import draw
from mfpde.cli.main import main
from mfpde.errors import ConfigError
from mfpde.io import store
from mfpde.io.kernel_limit import config, run
from mfpde.io.kernel_limit.build import build

SMALL = """
title = "small"
[network]
activation = "erf"
train = ["a", "w"]
[data]
law = "empirical"
file = "rows.csv"
inputs = ["p", "q", "r"]
targets = "y"
[training]
time = 20.0
[initial]
a = { law = "rademacher" }
[output]
snapshots = 6
[kernel_limit]
scales = [300.0, 1.0, 100.0]
neurons = 20
skewed = true
fit_from = 100.0
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> str:
    """The path of a study of a second on rows of a csv file; outputs carry one date, so that equal ones are equal."""
    original = store.provenance
    monkeypatch.setattr(store, "provenance", lambda *given: {**original(*given), "created": "2026-01-01T00:00:00Z"})
    x = rng.normal(size=(20, 3))
    lines = [",".join(f"{v:.6f}" for v in (*row, np.sin(row[0]) + row[1] * row[2])) for row in x]
    (tmp_path / "rows.csv").write_text("\n".join(["p,q,r,y", *lines]), encoding="utf-8")
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    return str(tmp_path / "small.toml")


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["kernel-limit", *arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["ok"] is (code == 0)
    return found


def test_a_user_gets_errors_kernel_and_slopes(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "a"
    found = told(capsys, small, "-q", "-o", str(where))
    assert (found["data"]["train"], found["data"]["test"]) == (14, 6)
    assert found["kernel"]["how"] == "closed form" and found["kernel"]["check"] < 1e-10
    assert found["rates"]["initial"]["distance"]["slope"] == pytest.approx(-2.0, abs=0.1)
    assert found["rates"]["skewed"]["distance"]["slope"] == pytest.approx(-1.0, abs=0.1)
    assert [row["scale"] for row in found["scales"]["initial"]] == [1.0, 100.0, 300.0]
    assert json.loads((where / "summary.json").read_text(encoding="utf-8"))["rates"] == found["rates"]
    assert sorted(path.name for path in where.iterdir()) == ["kernel-limit.h5", "kernel-limit.png", "summary.json"]
    contents = store.read(where / "kernel-limit.h5")
    assert contents.attributes["finished"] == 1
    flows, prediction = contents.groups["/ensemble/initial"].variables, contents.groups["/theory/prediction"].variables
    error = np.mean((flows["f_test"].data[0, -1] - prediction["y"].data) ** 2)
    assert found["scales"]["initial"][0]["test_error"] == pytest.approx(error)
    rows = contents.groups["/theory/kernel"].variables
    interpolated = prediction["kernel"].data @ np.linalg.solve(rows["kernel"].data, rows["y"].data)
    np.testing.assert_allclose(prediction["ridgeless"].data, interpolated, atol=1e-8)
    assert main(["check", str(where / "kernel-limit.h5")]) == 0


def test_the_table_and_the_figure_can_be_read(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel-limit", small, "-q", "--no-figures", "-o", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr().out
    for words in ("14 to train, 6 to test", "closed form", "interpolation", "slope of |u - u*|", "next: mfpde info"):
        assert words in shown
    study = config.load(small)
    found = run.run_study(study, str(tmp_path / "again.h5"), resume=False, report=lambda done: None)
    figure = draw(study.config, found)
    figures.settle(figure)
    figure.canvas.draw()
    assert legibility.faults(figure) == []


def test_what_is_finished_survives_and_threads_leave_no_trace(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    told(capsys, small, "-q", "--no-figures", "--threads", "1", "-o", str(whole))
    original, calls = run.finite_scale, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments[2])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(run, "finite_scale", interrupted)
    told(capsys, small, "-q", "--no-figures", "--threads", "2", "-o", str(cut), code=130)
    assert store.read(cut / "kernel-limit.h5").attributes["finished"] == 0
    refused = told(capsys, small, "-q", "--no-figures", "-o", str(cut), code=2)
    assert "--resume keeps its finished scales" in refused["hint"]
    told(capsys, small, "-q", "--no-figures", "--threads", "2", "-o", str(cut), "--resume")
    assert len(calls) == 4 + 3
    assert (whole / "kernel-limit.h5").read_bytes() == (cut / "kernel-limit.h5").read_bytes()
    other = told(capsys, small, "-q", "-o", str(cut), "--resume", "--set", "training.time=5", code=4)
    assert "another study" in other["error"]


def test_studies_of_solve_and_nodes_run_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Gaussian law is drawn; weights of nodes count; no test rows, a relu, a ridge, uniform w."""
    sets = ["network.activation=relu", 'initial.a={law="normal",std=1.0}', "kernel_limit.samples=15"]
    sets += ["kernel_limit.scales=[30.0]", "kernel_limit.neurons=10", "training.time=3.0", "data.dimension=4"]
    found = told(capsys, "single-index", "-q", "-o", str(tmp_path / "a"), *_set(sets))
    assert found["data"]["train"] == 11 and "drawn from N(0, I_4)" in found["data"]["description"]
    study = """
    [network]
    train = ["a"]
    activation = "tanh"
    [data]
    law = "nodes"
    x = [[0.5, 1.0, 0.0], [1.0, -1.0, 0.3], [-0.2, 0.4, 1.0]]
    y = [1.0, -1.0, 0.5]
    weights = [1.0, 2.0, 3.0]
    [training]
    time = 5.0
    [initial]
    a = { law = "uniform", low = -1.0, high = 1.0 }
    w = { law = "uniform", low = -1.0, high = 1.0 }
    [kernel_limit]
    scales = [2.0, 50.0]
    neurons = 12
    test = 0.0
    ridge = 0.1
    """
    (tmp_path / "nodes.toml").write_text(study, encoding="utf-8")
    found = told(capsys, str(tmp_path / "nodes.toml"), "-q", "-o", str(tmp_path / "b"))
    assert found["kernel"]["how"] == "neurons" and found["data"]["test"] == 0
    # f is linear in a: every scale is in the limit
    assert max(row["distance"] for row in found["scales"]["initial"]) < 1e-7
    assert found["scales"]["initial"][0]["test_error"] is None
    setting = build(config.load(str(tmp_path / "nodes.toml")))
    np.testing.assert_allclose(setting.problem.data.weights, [1 / 6, 2 / 6, 3 / 6])


def test_rows_are_held_out_at_random_and_once(small: str) -> None:
    one, two = (build(config.load(small, [f"output.seed={seed}"])) for seed in (0, 1))
    for setting in (one, two):
        every = np.concatenate([setting.problem.data.y, setting.y_test])
        assert len(np.unique(every)) == 20
    assert not np.array_equal(one.y_test, two.y_test)


def _set(settings: list[str]) -> list[str]:
    return [part for text in settings for part in ("--set", text)]


@pytest.mark.parametrize(
    ("study", "setting", "words"),
    [
        ("digits", "output.seed=1", 'training.loss is "logistic"'),
        ("single-index", "output.seed=1", "initial.a is the point 1"),
        ("kuramoto", "output.seed=1", "pairwise states a problem without a network"),
        ("diabetes-bmi", "initial.a={law='normal',mean=0.5}", "initial.a has the mean 0.5"),
        ("diabetes-bmi", "kernel_limit.scales=[1.0,1.0]", "kernel_limit.scales holds a value twice"),
        ("diabetes-bmi", "kernel_limit.scale=[1.0]", "kernel_limit.scale is not a known key"),
        ("diabetes-bmi", "data.rows=1", "of 1 rows none is left"),
        ("diabetes-bmi", "kernel_limit.ridge=-1", "kernel_limit.ridge"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    study: str, setting: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "a"
    found = told(capsys, study, "-q", "-o", str(where), "--set", setting, "--set", "kernel_limit.test=0.6", code=2)
    assert words in found["error"]
    assert not where.exists()


def test_a_dry_run_writes_nothing(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, small, "--dry-run", "-o", str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    assert found["estimate"]["flows"] == 6 and found["estimate"]["atoms"] == 40
    again = config.parse(found["config"])
    assert again == config.load(small).config
    assert again.training.temperature == 0.0


def test_a_study_of_another_verb_is_told_apart() -> None:
    with pytest.raises(ConfigError, match="mfpde one-step"):
        config.load("one-step")


@pytest.mark.slow
def test_the_digits_study_shows_both_slopes_and_the_crossover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, "-q", "-o", str(tmp_path / "a"))
    initial, skewed = (found["rates"][law]["distance"] for law in ("initial", "skewed"))
    assert initial["slope"] == pytest.approx(-2.0, abs=0.1) and initial["ci"][0] < -1.98 < initial["ci"][1]
    assert skewed["slope"] == pytest.approx(-1.0, abs=0.1)
    rows = found["scales"]["initial"]
    # features that move generalise better here than the kernel at any time
    assert rows[0]["test_error"] < 0.5 * found["limit"]["best_stopping"]["test_error"]
    assert rows[0]["kernel_change"] > 0.5 and rows[-1]["kernel_change"] < 1e-3
