"""``mfpde verify``: every line passes here, a line that fails fails the command, the table shows both."""

from __future__ import annotations

import json
import math

import pytest

from mfpde import verification
from mfpde.cli import main
from mfpde.verification import check, orders
from mfpde.verification.check import Check


def test_a_line_passes_within_its_tolerance_only() -> None:
    assert check.near("x", 1.01, 1.0, 0.02).passed
    assert not check.near("x", 1.03, 1.0, 0.02).passed
    assert check.at_most("x", 1e-14, 1e-13).passed
    assert not check.at_most("x", 2e-13, 1e-13).passed
    assert check.positive("x", 1e-300).passed
    assert not check.positive("x", 0.0).passed


def test_a_measurement_that_is_not_a_number_fails() -> None:
    assert not check.near("x", math.nan, 1.0, 0.1).passed
    assert not check.at_most("x", math.nan, 0.1).passed
    assert not check.positive("x", math.nan).passed


def test_sums_over_halved_cells_keep_the_mass(rng) -> None:  # type: ignore[no-untyped-def]
    mass = rng.random((4, 6, 2))
    coarse = orders.halved(mass)
    assert coarse.shape == (2, 3, 1)
    assert coarse[1, 2, 0] == pytest.approx(mass[2:, 4:, :].sum(), rel=1e-14)


def test_titles_and_names_tell_the_lines_apart() -> None:
    titles = [title for title, _ in verification.GROUPS]
    assert len(set(titles)) == len(titles)


def test_the_command_prints_a_table_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["verify", "--only", "kuramoto"]) == 0
    streams = capsys.readouterr()
    assert streams.out.count("pass") == 5  # four lines and the verdict
    assert "all passed" in streams.out
    assert "100 %" in streams.err and "100 %" not in streams.out


def test_one_json_object_holds_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["verify", "--only", "tanh neuron", "--json", "-q"]) == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    assert streams.err == ""
    assert result["ok"] is True and result["failed"] == 0
    (group,) = result["groups"]
    assert group["title"] == "tanh neuron"
    energy = group["checks"][0]
    assert energy["measured"] == pytest.approx(0.0039865, abs=5e-8)
    assert energy["passed"] is True


def test_a_failed_line_fails_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Check("good", 1.0, 1.0, "+- 0.1", True), Check("bad", 3.0, 1.0, "+- 0.1", False)]
    monkeypatch.setattr(verification, "GROUPS", (("made up", lambda: rows),))
    assert main.main(["verify", "-q"]) == 1
    out = capsys.readouterr().out
    assert "1 FAILED" in out and out.count("FAIL") == 2
    assert main.main(["verify", "-q", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is False and result["failed"] == 1


def test_an_unknown_group_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["verify", "--only", "alchemy"]) == 2
    assert "alchemy" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title, _ in verification.GROUPS])
def test_every_group_passes(title: str) -> None:
    failed = [row for row in dict(verification.GROUPS)[title]() if not row.passed]
    assert not failed
