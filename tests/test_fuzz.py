"""Whatever is handed over, the answer is a result or one sentence: the inputs and the assertions are in fuzzed.py."""

from __future__ import annotations

from pathlib import Path

import fuzzed
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfpde.errors import ConfigError
from mfpde.io import config
from mfpde.io.one_step import config as one_step

FEW, MANY = 400, 4000


def _feed(kind: str, folder: Path, examples: int) -> None:
    feed, share = fuzzed.CASES[kind]
    count = max(10, int(share * examples))

    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def fed(draw: st.DataObject) -> None:
        feed(draw, folder)

    fed()


@pytest.mark.parametrize("kind", fuzzed.CASES)
def test_input_of_this_kind(kind: str, tmp_path: Path) -> None:
    _feed(kind, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", fuzzed.CASES)
def test_much_input_of_this_kind(kind: str, tmp_path: Path) -> None:
    _feed(kind, tmp_path, MANY)


@pytest.mark.parametrize("text", ["0\n0=0", "0\r0=0", " - at=1", "`=1", "$.x=1"])
def test_names_that_break_a_message_are_told(text: str) -> None:
    """Found by the fuzzer: a newline in a key was once taken for a wrong table without a name."""
    for load in (lambda: config.load("linear-network", [text]), lambda: one_step.load("one-step", [text])):
        with pytest.raises(ConfigError, match="is not a known key") as caught:
            load()
        assert caught.value.key


def test_the_shares_are_all_of_it() -> None:
    assert sum(share for _, share in fuzzed.CASES.values()) == pytest.approx(1.0)


def test_a_command_line_that_fails_as_it_must_not_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The assertions of the fuzzer can fail."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("mfpde.cli.main._dispatch", broken)
    with pytest.raises(AssertionError):
        fuzzed.told(["info", "x"])
