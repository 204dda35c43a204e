"""``mfpde compare --metric chaos|oracle|convergence|step``: from a study to constants, rates, figures and messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import measured, refused, told, toy_study

from mfpde.cli.main import main

# the neuron of mfpde.exact.references, whose constants are known to six digits
TOY = toy_study(widths=(16, 32, 64), replicas=24)
TRACE, POC, LOG_DETERMINANT, SHARP, POINCARE = 0.1374368, 0.0826881, 0.0526925, 1.76035, 2.79297


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("toy")
    (directory / "toy.toml").write_text(TOY, encoding="utf-8")
    for name, step in (("fine", "0.1"), ("coarse", "0.2")):
        study = [str(directory / "toy.toml"), "--set", f"particles.step={step}"]
        assert main(["solve", *study, "-o", str(directory / name), "-q", "--no-figures"]) == 0
    return directory


def test_chaos_has_the_constants_and_the_laws(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "compare", str(run / "fine"), "--metric", "chaos", "-o", str(tmp_path))
    constants = found["stationary"]["constants"]
    # 200 cells are 1e-4 away from the limit of fine grids
    assert constants["iid_trace"] == pytest.approx(TRACE, rel=1e-3)
    assert constants["propagation_of_chaos"] == pytest.approx(POC, rel=1e-3)
    assert constants["log_determinant_gap"] == pytest.approx(LOG_DETERMINANT, rel=1e-3)
    for one in found["stationary"]["oracle"]["widths"]:
        assert abs(one["function_error"] - POC) < 4 * one["function_error_sem"] + 0.02 * POC
    for one in found["stationary"]["averages"]:
        assert abs(one["function"] - POC) < 4 * one["function_sem"] + 0.05 * POC
        assert abs(one["function_iid"] - TRACE) < 4 * one["function_iid_sem"]
    assert found["iid_exact"][-1] == pytest.approx(TRACE, rel=1e-2)
    assert found["shown"] == [1.0, 3.0, 4.0, 6.0, 8.0]
    for kind in ("coupling", "function", "function_iid", "empirical"):
        assert found["kinds"][kind]["exponent"] == -1.0
        for rate in found["rates"][kind]:
            assert rate["ci"][0] < rate["slope"] < rate["ci"][1]
            assert abs(rate["slope"] + 1.0) < 3.0 * (rate["ci"][1] - rate["ci"][0])
    assert found["needed_replicas"]["function"]["for_slope"] > 24
    overall = found["uniformity"]["coupling"]["overall"]
    assert overall["interval"][0] <= overall["value"] <= overall["interval"][1]
    assert [Path(file).name for file in found["files"]] == ["chaos.json", "chaos.png"]
    assert json.loads((tmp_path / "chaos.json").read_text())["rates"] == found["rates"]
    assert (tmp_path / "chaos.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_two_files_say_the_same_as_their_directory(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = run / "fine"
    whole = measured(capsys, "compare", str(directory), "--metric", "chaos", "--draws", "500")
    files = [str(directory / "particles.h5"), str(directory / "limit.h5")]
    assert measured(capsys, "compare", *files, "--metric", "chaos", "--draws", "500") == whole


def test_convergence_ends_at_the_sharp_rate_and_never_falls_below_the_certified(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(capsys, "compare", str(run / "fine"), "--metric", "convergence")
    assert found["sharp"] == pytest.approx(SHARP, rel=2e-3)
    assert found["poincare"] == pytest.approx(2 * 0.2 * POINCARE, rel=2e-3)
    assert found["measured"] == pytest.approx(SHARP, rel=0.02)
    assert found["never_slower_than_certified"] is True
    assert np.all(np.array(found["gaps"]) <= np.array(found["certified_bound"]) * (1 + 1e-9))
    assert 0 < found["certified"][-1] < found["poincare"] < found["sharp"]


def test_oracle_of_chosen_widths(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (str(run / "fine" / "limit.h5"), "--metric", "oracle", "--widths", "20", "400", "-o", str(tmp_path))
    found = measured(capsys, "compare", *arguments)["stationary"]["oracle"]["widths"]
    assert [one["width"] for one in found] == [20, 400]
    for one in found:
        assert abs(one["function_error"] - POC) < 3.5 * one["function_error_sem"]
        assert one["function_error"] - 3.5 * one["function_error_sem"] < TRACE
        assert abs(one["free_energy_gap"] - LOG_DETERMINANT) < 3.5 * one["free_energy_gap_sem"] + 0.002
    assert (tmp_path / "oracle.png").exists()


def test_step_extrapolates_between_two_ensembles(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (str(run / "fine"), str(run / "coarse"), "--metric", "step", "-o", str(tmp_path))
    found = measured(capsys, "compare", *arguments)
    assert found["order"] == 2
    assert found["steps"] == [0.1, 0.2]
    for row in found["quantities"]["function_error"]["widths"]:
        fine, coarse = (entry["mean"] for entry in row["at_steps"])
        assert row["extrapolated"] == pytest.approx((4 * fine - coarse) / 3, rel=1e-12)
    constant = found["quantities"]["function_error"]
    assert abs(constant["constant"] - POC) < 4 * constant["constant_sem"]
    assert (tmp_path / "step.png").exists()


def test_tables_are_printed_and_end_in_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for metric, words in {
        "chaos": ("exponent in N", "sup over t and N", "replicas for an exponent"),
        "oracle": ("effective draws", "at rest"),
        "convergence": ("2 Lambda", "never slower"),
    }.items():
        told(capsys, "compare", str(run / "fine"), "--metric", metric, "--draws", "2000", words=words, columns=160)
    told(capsys, "compare", str(run / "fine"), str(run / "coarse"), "--metric", "step", words=["weak order 2"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fine/limit.h5"], "B is missing"),
        (["fine/limit.h5", "--metric", "chaos"], "a limit and the ensemble"),
        (["fine/limit.h5", "coarse/particles.h5", "--metric", "chaos"], "different studies"),
        (["fine/particles.h5", "--metric", "oracle"], "one limit"),
        (["fine", "--metric", "step"], "two ensembles"),
        (["fine", "fine", "--metric", "step"], "two different ones"),
        (["fine", "--metric", "chaos", "--rtol", "0"], "no diff"),
        (["fine", "--metric", "oracle", "--draws", "0"], "integer from 1"),
        (["fine", "--metric", "oracle", "--widths", "x"], "integer from 1"),
    ],
)
def test_mistakes_are_named_in_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    paths = [str(run / a) if a.startswith(("fine", "coarse")) else a for a in arguments]
    refused(capsys, "compare", *paths, words=words, lines=2)
