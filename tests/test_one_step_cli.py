"""``mfpde one-step``: theory, seeds over a pool, files that do not depend on it, comparison, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import legibility
import numpy as np
import pytest

from mfpde import figures
from mfpde.cli.main import main
from mfpde.cli.one_step_figures import draw
from mfpde.io import store, studies
from mfpde.io.one_step import config, pool, run
from mfpde.io.one_step.simulate import Task, run_task, tasks_of
from mfpde.io.tables import to_toml
from mfpde.theory.one_step.curves import agreement
from mfpde.theory.one_step.gradient_step import GradientStep
from mfpde.theory.one_step.model import SpikedFeatures, spiked_layer
from mfpde.theory.one_step.scalar import activation, target
from mfpde.theory.one_step.twins import TwinSettings, network_twin, spiked_twin

SMALL = """
title = "small"
[spiked]
spike = 2.0
bulk = 1.3
alignment = 0.7
[readout]
ridge = 0.01
[curve]
points = 4
[simulation]
at = [0.5, 1.0]
dimensions = [12, 24]
seeds = [5, 4]
test_samples = 200
spectra = 2
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a study of a second; outputs carry one date, so that equal ones have equal bytes."""
    original = store.provenance
    monkeypatch.setattr(store, "provenance", lambda *given: {**original(*given), "created": "2026-01-01T00:00:00Z"})
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    return str(tmp_path / "small.toml")


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["one-step", *arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["ok"] is (code == 0)
    return found


# ---- theory ----------------------------------------------------------------------------------------------------------


def test_the_default_study_has_the_numbers_of_the_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "--no-simulation", "-q", "--no-figures", "-o", str(tmp_path / "a"), "--set", "curve.points=5")
    assert found["values"] == pytest.approx([0.2, 0.9, 1.6, 2.3, 3.0])
    plain = found["curves"]["plain"]
    expected = [0.04848290, 0.04250393, 0.03731133, 0.03430466, 0.03251821]
    assert plain["test_error"] == pytest.approx(expected, abs=1e-7)
    assert plain["ridge"] == [0.1] * 5
    assert found["curves"]["refined"]["test_error"][-1] == pytest.approx(0.03152560, abs=1e-7)
    assert found["main"] == "refined"
    best = found["curves"]["refined, optimal ridge"]
    assert (np.array(best["test_error"]) < found["curves"]["refined"]["test_error"]).all()
    layer = found["layers"]["plain"]["groups"][0]
    assert (layer["bulk"], layer["spike"]) == pytest.approx((1.01897320, 1.13405551), abs=1e-7)
    assert found["comparison"] == []
    assert found["spectrum"]["histogram"] is None
    contents = store.read(tmp_path / "a" / "one-step.h5")
    assert contents.attributes["finished"] == 1
    assert contents.groups["/theory/curve"].variables["test_error"].data[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    "study, values, quantity, expected",
    [
        ("one-step-spike", (0.5, 1.0, 1.5), "test_error", (0.32242, 0.34991, 0.29895)),
        ("one-step-groups", (0.6, 1.2, 1.8), "test_error", (None, 0.28825, None)),
        ("one-step-logistic", (0.5, 3.0), "wrong_sign", (0.19444, 0.15980)),
    ],
)
def test_studies_reproduce_verified_tables(study, values, quantity, expected, tmp_path, capsys) -> None:
    sets = ["--set", f"curve.range=[{values[0]},{values[-1]}]", "--set", f"curve.points={len(values)}"]
    sets += ["--set", "simulation.at=[0.5]"]
    found = told(capsys, study, "--no-simulation", "-q", "--no-figures", "-o", str(tmp_path / "a"), *sets)
    line = found["curves"]["sphere"][quantity]
    for value, known in zip(line, expected, strict=True):
        assert known is None or value == pytest.approx(known, abs=1e-5)
    assert found["quantities"][0] == quantity


_SLOW = [pytest.param(over, marks=pytest.mark.slow) for over in ("noise", "batch", "spike", "bulk")]


@pytest.mark.parametrize("over", ["ridge", "width", "step", "alignment", *_SLOW])
def test_every_variable_can_be_swept(over: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = "one-step-spike" if over in ("spike", "bulk", "alignment") else "one-step"
    settings = ["curve.points=3", f'curve.over="{over}"', "simulation.dimensions=[20,40]", "simulation.seeds=3"]
    settings += ["simulation.test_samples=100", "simulation.at=[0.5,0.9]", "simulation.spectra=1"]
    limits = "[0.3,0.9]"
    sets = [part for text in (*settings, f"curve.range={limits}") for part in ("--set", text)]
    found = told(capsys, study, "-q", "--threads", "1", "-o", str(tmp_path / "a"), *sets)
    main_line = found["curves"][found["main"]]
    errors = main_line["test_error"]
    assert len(set(errors)) == 3
    rows = [row for row in found["comparison"] if row["quantity"] == "test_error" and row["dimension"] == 40]
    assert [row[over] for row in rows] == [0.5, 0.9]
    # the simulated value at the end of the range is the last of the curve
    assert rows[-1]["theory"][found["main"]] == pytest.approx(errors[-1], rel=1e-12)
    assert rows[0]["mean"] != rows[1]["mean"]
    if over == "ridge":
        assert main_line["ridge"] == found["values"]
        assert len(set(found["curves"][f"{found['main']}, optimal ridge"]["ridge"])) == 1


def test_the_measured_map_is_named_and_belongs_to_one_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ['model.student="relu"', 'model.target="tanh"', "step.size=1.0", "step.maps=['plain','measured']"]
    settings += ["simulation.dimensions=[50,100]", "simulation.seeds=3", "simulation.test_samples=200"]
    sets = [part for text in (*settings, "curve.points=2", "simulation.spectra=1") for part in ("--set", text)]
    found = told(capsys, "-q", "--threads", "1", "-o", str(tmp_path / "a"), *sets)
    assert found["main"] == "measured"
    # the bulk of a student that is not odd is rescaled (docs/one-step.md), .707 at many samples and d
    assert found["layers"]["measured"]["groups"][0]["bulk"] == pytest.approx(0.71, abs=0.04)
    assert found["layers"]["plain"]["groups"][0]["bulk"] > 1.0
    for row in found["comparison"]:
        assert (row["z"]["measured"] is None) == (row["dimension"] is None)
        assert row["z"]["plain"] is not None
    assert main(["check", str(tmp_path / "a" / "one-step.h5")]) == 0


def test_learned_function_is_the_target_of_an_easy_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups at +1 and -1 learn an even function; one group cannot, nor can random features."""
    arguments = ["one-step-groups", "--no-simulation", "-q", "--no-figures", "--set", "curve.points=2"]
    two = told(capsys, *arguments, "-o", str(tmp_path / "two"))
    one = told(capsys, *arguments, "-o", str(tmp_path / "one"), "--set", "spiked.readout=[[1.0,1.0]]")
    target_values = np.array(two["learned"]["target"])
    kappa = np.array(two["learned"]["kappa"])
    weights = np.exp(-0.5 * kappa**2) / np.sum(np.exp(-0.5 * kappa**2))

    def misfit(found: dict[str, Any], line: str) -> float:
        return float(weights @ (np.array(found["learned"]["lines"][line]) - target_values) ** 2)

    # what remains of two groups is the roundness of the target at 0, which two means of ReLU cannot follow
    assert misfit(two, "sphere") < 0.04 < 0.3 < misfit(one, "sphere")
    assert misfit(two, "random features") > 0.15
    learned = np.array(two["learned"]["lines"]["sphere"])
    assert learned == pytest.approx(learned[::-1], abs=1e-9)


# ---- finite sizes ----------------------------------------------------------------------------------------------------


def test_rows_are_the_twins_of_the_library(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, small, "-q", "--threads", "1", "-o", str(tmp_path / "a"))
    model = SpikedFeatures(activation("tanh"), target("sin"), spiked_layer(2.0, 1.3, 0.7))
    settings = TwinSettings((0.5, 1.0), (0.01,), test_samples=200)
    twins = [spiked_twin(model, 12, settings, seed) for seed in range(5)]
    rows = [r for r in found["comparison"] if r["quantity"] == "train_error"]
    expected = agreement(
        np.array([[r["theory"]["sphere"]] for r in rows if r["dimension"] == 12]), twins, "train_error"
    )
    for k, row in enumerate(row for row in rows if row["dimension"] == 12):
        assert row["seeds"] == 5
        assert row["mean"] == pytest.approx(expected.mean[k, 0], rel=1e-12)
        assert row["sem"] == pytest.approx(expected.sem[k, 0], rel=1e-12)
        assert row["z"]["sphere"] == pytest.approx(expected.z[k, 0], rel=1e-9)
        assert row["relative"]["sphere"] == pytest.approx(expected.relative[k, 0], rel=1e-9)
    # two sizes: Richardson's extrapolation
    for value in (0.5, 1.0):
        coarse, fine, limit = (
            next(r for r in rows if r["samples"] == value and r["dimension"] == d) for d in (12, 24, None)
        )
        assert limit["mean"] == pytest.approx(2.0 * fine["mean"] - coarse["mean"], rel=1e-9)
        assert limit["sem"] == pytest.approx(np.hypot(2.0 * fine["sem"], coarse["sem"]), rel=1e-9)


def test_a_network_is_a_network_and_seeds_are_disjoint() -> None:
    study = config.load("one-step", ["output.seed=3", "simulation.at=[0.5]", "simulation.test_samples=50"]).config
    found = run_task(study, Task("network", 20, 2))
    step = GradientStep(activation("tanh"), target("sin"), 3.0, 20.0)
    settings = TwinSettings((0.5,), (0.1,), test_samples=50, draws=4)
    assert found["test_error"] == network_twin(step, 1.0, 20, settings, 3 * 2**20 + 2).test_error[0]


def test_the_file_is_the_same_for_any_number_of_processes(small: str, tmp_path: Path) -> None:
    for threads in ("1", "3"):
        assert main(["one-step", small, "-q", "--threads", threads, "-o", str(tmp_path / threads)]) == 0
    for name in ("one-step.h5", "one-step.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_finished_seeds_survive_an_interruption(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["one-step", small, "-q", "--threads", "1", "-o", str(tmp_path / "whole")]) == 0
    seen: list[Task] = []

    def counting(study: config.Config, task: Task, stop: int = 4) -> dict[str, Any]:
        if len(seen) == stop:
            raise KeyboardInterrupt
        seen.append(task)
        return run_task(study, task)

    monkeypatch.setattr(run, "run_task", counting)
    broken = ["one-step", small, "-q", "--threads", "1", "-o", str(tmp_path / "broken")]
    assert main(broken) == 130
    contents = store.read(tmp_path / "broken" / "one-step.h5")
    assert contents.attributes["finished"] == 0
    assert sum(len(g.variables["seed"].data) for g in contents.groups.values() if "seed" in g.variables) == 4
    assert not any(name.startswith("/compare") for name in contents.groups)
    assert main(broken) == 2
    assert "--resume" in capsys.readouterr().err
    monkeypatch.setattr(run, "run_task", lambda study, task: counting(study, task, stop=1000))
    assert main([*broken, "--resume"]) == 0
    assert sorted(seen) == sorted(tasks_of(config.load(small).config))
    assert (tmp_path / "broken" / "one-step.h5").read_bytes() == (tmp_path / "whole" / "one-step.h5").read_bytes()
    # nothing is left to do, and the file stays what it is
    assert main([*broken, "--resume"]) == 0
    assert len(seen) == len(set(seen))
    capsys.readouterr()
    assert main([*broken, "--resume", "--seed", "1"]) == 4
    assert "another study" in capsys.readouterr().err
    assert main([*broken, "--overwrite", "--seed", "1", "--no-simulation"]) == 0
    assert main([*broken, "--resume", "--seed", "1"]) == 0
    assert store.read(tmp_path / "broken" / "one-step.h5").attributes["seed"] == 1


def _square_or_fail(value: int) -> int:
    if value == 3:
        from mfpde.errors import ConfigError

        raise ConfigError("value", "is 3; others are allowed", "take 2")
    if value == 4:
        os._exit(9)
    return value * value


def test_a_pool_returns_everything_and_passes_failures_on() -> None:
    for processes in (1, 2):
        assert sorted(pool.run_all(_square_or_fail, [0, 1, 2], processes)) == [(0, 0), (1, 1), (2, 4)]
    with pytest.raises(Exception, match="value is 3; others are allowed") as caught:
        list(pool.run_all(_square_or_fail, [0, 3], 2))
    assert caught.value.hint == "take 2"
    with pytest.raises(Exception, match="a process of the pool was killed"):
        list(pool.run_all(_square_or_fail, [0, 4], 2))


def _blas_threads(_: int) -> int:
    from threadpoolctl import threadpool_info

    return max(int(library["num_threads"]) for library in threadpool_info())


def test_workers_leave_blas_one_thread() -> None:
    """More would change sums with the number of processors, and spin."""
    assert [count for _, count in pool.run_all(_blas_threads, [0, 1], 2)] == [1, 1]


def test_a_killed_run_leaves_no_process_behind(small: str, tmp_path: Path) -> None:
    """SIGKILL while the pool works: the workers see the end of their pipe."""
    import signal
    import time

    psutil_free = "import sys; from mfpde.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = [
        "one-step",
        small,
        "-q",
        "--threads",
        "2",
        "--set",
        "simulation.seeds=20000",
        "-o",
        str(tmp_path / "k"),
    ]
    run_it = [sys.executable, "-c", psutil_free, *arguments, "--checkpoint", "0"]
    process = subprocess.Popen(run_it, start_new_session=True)
    try:
        deadline = time.monotonic() + 60.0
        while not (tmp_path / "k" / "one-step.h5").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # the group is gone as soon as nobody is left in it
        while time.monotonic() < deadline:
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("a worker outlived the run")
    finally:
        if process.poll() is None:
            process.kill()
    assert store.read(tmp_path / "k" / "one-step.h5").attributes["finished"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("study", ["one-step", "one-step-spike"])
def test_a_study_agrees_with_its_theory(study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Extrapolated in 1/d from a quarter of its draws, every headline error within 3.5 standard errors of the limit."""
    fewer = ("--set", "simulation.seeds=[80, 40, 20]")
    found = told(capsys, study, "-q", "-o", str(tmp_path / "a"), *fewer)
    rows = [r for r in found["comparison"] if r["quantity"] == "test_error" and r["dimension"] is None]
    assert max(abs(row["z"][found["main"]]) for row in rows) < 3.5


def test_the_histogram_lies_under_the_spectrum(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["--set", "simulation.dimensions=[300]", "--set", "simulation.seeds=2", "--set", "simulation.at=[0.5]"]
    found = told(capsys, small, "-q", "--threads", "1", "-o", str(tmp_path / "a"), *sets)["spectrum"]
    bars = found["histogram"]
    edges, density = np.array(bars["edges"]), np.array(bars["density"])
    assert density @ np.diff(edges) == pytest.approx(1.0, abs=0.01)
    assert 1 <= bars["beyond"] <= 3
    curve = np.concatenate(
        [[0.0], np.cumsum(0.5 * np.diff(found["eigenvalues"]) * np.add(found["density"][1:], found["density"][:-1]))]
    )
    mass = np.diff(np.interp(edges, found["eigenvalues"], curve))
    counted = density * np.diff(edges)
    assert np.abs(np.cumsum(counted) - np.cumsum(mass)).max() < 0.02


# ---- studies, figures, refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", studies.names("one-step"))
def test_built_in_studies_survive_a_round_trip(name: str) -> None:
    loaded = config.load(name)
    assert loaded.config.title
    assert config.parse(to_toml(loaded.config)) == loaded.config
    assert studies.text(name).startswith("#")


def test_studies_know_their_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies"]) == 0
    assert "one-step-groups" in capsys.readouterr().out
    assert main(["studies", "show", "one-step"]) == 0
    assert capsys.readouterr().out == studies.text("one-step")
    for verb, study in (("solve", "one-step"), ("one-step", "single-index"), ("sweep", "one-step-spike")):
        grid = ["--grid", "output.seed=1,2"] if verb == "sweep" else []
        assert main([verb, study, *grid]) == 2
        other = "solve" if verb == "one-step" else "one-step"
        assert f'study "{study}" is a study of `mfpde {other}`' in capsys.readouterr().err


@pytest.mark.parametrize("simulated", [True, False])
def test_the_figure_is_legible(small: str, tmp_path: Path, simulated: bool) -> None:
    study = config.load(small)
    theory = run.run_theory(study, 1, lambda share: None)
    found = run.run_study(
        study, theory, str(tmp_path / "a.h5"), simulate=simulated, resume=False, processes=1, checkpoint=9.0,
        report=lambda count: None,
    )  # fmt: skip
    figure = draw(study.config, found)
    figures.render(figure)
    assert legibility.faults(figure) == []
    assert len(figure.axes) == (4 if simulated else 3)


def test_a_dry_run_writes_nothing(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, small, "--dry-run", "--threads", "2", "-o", str(tmp_path / "a"))
    assert found["estimate"]["seeds"] == 9
    assert found["estimate"]["processes"] == 2
    assert config.parse(found["config"]) == config.load(small).config
    assert not (tmp_path / "a").exists()
    code = (
        "import sys; from mfpde.cli.main import main; main(['one-step', '--dry-run']); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("readout.ridge=-1", "readout.ridge is -1; it must be a number from 0 to"),
        ("readout.ridge=0", "readout.ridge is 0; at finite sizes it must be above 0"),
        ("spiked.alignment=1.5", "spiked.alignment is 1.5; it must be a number from -1 to 1"),
        ("curve.range=[0.0,1.0]", "curve.range holds 0; every value of samples must be above 0"),
        ("curve.range=[2.0,1.0]", "curve.range is [2, 1]; it must increase"),
        ("simulation.at=[0.0]", "simulation.at holds 0; every value of samples must be above 0"),
        ("simulation.at=[0.01]", "simulation.dimensions holds 12, at which readout.samples = 0.01 leaves not a single"),
        ("simulation.at=[1.0,1.0]", "simulation.at holds a value twice"),
        ("simulation.seeds=[3]", "simulation.seeds lists 1 numbers for 2 dimensions"),
        ('simulation.twins=["network"]', 'simulation.twins holds "network", which needs a [step]'),
        ('curve.over="step"', 'curve.over is "step" of [step], absent here; allowed: samples, ridge'),
        ("step.size=1.0", "spiked cannot stand beside [step]"),
        ('model.student="hermite"', "model.student_hermite is missing"),
        ("model.target_hermite=[1.0]", "model.target_hermite is given"),
        ('readout.loss="logistic"', 'readout.loss is "logistic", which takes labels +1 and -1'),
        ("spiked.readout=[[1.0,0.0]]", "spiked.readout holds the pair [1, 0]; shares must be above 0"),
        ("spiked.spke=1.0", "spiked.spke is not a known key"),
    ],
)
def test_refusals_are_one_sentence(setting, sentence, small, tmp_path, capsys) -> None:
    found = told(capsys, small, "-o", str(tmp_path / "a"), "--set", setting, code=2)
    assert found["error"].startswith(sentence)
    assert "\n" not in found["error"]
    assert not (tmp_path / "a").exists()


def test_refusals_of_the_theory_leave_nothing_behind(small: str, tmp_path: Path, capsys) -> None:
    arguments = ["--no-simulation", "-q", "-o", str(tmp_path / "a"), "--set", "readout.ridge=0.0"]
    assert "saturates along the spike" in told(capsys, small, *arguments, code=2)["error"]
    refined = ["--set", 'model.student="relu"', "--set", "step.maps=['refined']"]
    assert "not odd" in told(capsys, "one-step", *arguments[:4], *refined, code=2)["error"]
    both = ["--set", 'simulation.twins=["spiked"]', "--set", "step.maps=['refined']"]
    assert "step.maps lacks" in told(capsys, "one-step", *arguments[:4], *both, code=2)["error"]
    assert "step is missing" in told(capsys, str(_written(tmp_path, "title = 'none'")), code=2)["error"]
    assert not (tmp_path / "a").exists()


def _written(directory: Path, text: str) -> Path:
    path = directory / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path
