"""docs/tutorial.md as a newcomer uses it: every block copied in order into an empty directory, its numbers compared."""

from __future__ import annotations

import json
import re
import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from documents import ROOT, Block, agrees, blocks, environment, missing_line, prose, run, unfounded
from PIL import Image

PAGE = ROOT / "docs" / "tutorial.md"
TEXT = PAGE.read_text(encoding="utf-8")
# the one block that is not run: the tests have the package already
INSTALLATION = "pip install .\n"


@dataclass(frozen=True)
class Tried:
    """The directory in which the tutorial was followed, what each block printed, and seconds of processor time."""

    directory: Path
    outputs: list[tuple[Block, str]]
    seconds: float


def _follow(directory: Path, shims: Path) -> Tried:
    """Run every block once; those of text are what the blocks before have printed."""
    variables = environment(shims)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outputs = []
    for block in blocks(TEXT):
        if block.language in ("", "python") and block.text != INSTALLATION:
            outputs.append((block, run(block, directory, variables)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Tried(directory, outputs, seconds)


def _number(tried: Tried, *path: str) -> float:
    value = json.loads((tried.directory / "run" / "summary.json").read_text(encoding="utf-8"))
    for key in path:
        value = value[key]
    return float(value)


def test_the_blocks_are_of_known_kinds_and_one_installs() -> None:
    found = blocks(TEXT)
    assert {block.language for block in found} == {"", "python", "text"}
    assert [block.text for block in found if "pip" in block.text] == [INSTALLATION]
    assert found[0].text == INSTALLATION


def test_a_quoted_line_is_held_to_its_words_and_digits() -> None:
    """The comparison itself: it must be able to fail."""
    line = "     512       32    3.4447e-01 +- 3e-04    1.7416e-04 +- 2e-05"
    assert agrees("512 32 3.4447e-01 +- 3e-04 …", line)
    assert agrees("512 32 3.44e-01 …", line)
    assert not agrees("512 32 3.4447e-01 +- 3e-04", line)
    assert not agrees("512 32 3.4547e-01 …", line)
    assert not agrees("511 32 3.4447e-01 …", line)
    assert not agrees("risk 32 3.4447e-01 …", line)
    assert missing_line("512 …\n…\nend\n", f"{line}\nmore\nend") is None
    assert missing_line("end\n512 …\n", f"{line}\nmore\nend") == "512 …"
    assert unfounded("a share of 0.344, or 0.345", ["3.4401e-01"]) == []
    assert unfounded("a share of 0.344, or 0.346", ["3.4401e-01"]) == ["0.346"]


# ---- what must hold once it has been followed ----------------------------------------------------------------------


def _every_quoted_output_is_what_is_printed(tried: Tried) -> None:
    for block in blocks(TEXT):
        if block.language == "text":
            earlier = [output for ran, output in tried.outputs if ran.line < block.line]
            missing = [missing_line(block.text, output) for output in earlier]
            assert None in missing, f"line {block.line}: {missing[-1]}\n{earlier[-1][-3000:]}"


def _every_number_in_the_prose_is_one_that_was_printed(tried: Tried) -> None:
    assert len(re.findall(r"\d\.\d", prose(TEXT))) > 8
    assert unfounded(prose(TEXT), [output for _, output in tried.outputs]) == []


def _what_the_prose_derives_from_them_is_right(tried: Tried) -> None:
    assert f"{100 * (1 - 2 * _number(tried, 'limit', 'risk')):.0f} % of it" in TEXT
    assert abs(_number(tried, "stationary", "gap")) < 1e-25
    assert _number(tried, "limit", "energy_increases") == 0
    assert _number(tried, "limit", "boundary_mass") < 1e-10
    low, high = json.loads((tried.directory / "run" / "summary.json").read_text())["rates"]["function_error"]["ci"]
    assert low < -1.0 < high
    constants = json.loads((tried.directory / "chaos" / "chaos.json").read_text())["stationary"]["constants"]
    assert round(constants["iid_trace"] / constants["propagation_of_chaos"]) == 4
    ten = json.loads((tried.directory / "ten" / "summary.json").read_text(encoding="utf-8"))
    assert ten["limit"] is None
    narrow, wide = ten["particles"]
    assert f"{100 * (1 - 2 * wide['risk_mean']):.0f} %" in TEXT
    assert abs(narrow["risk_mean"] - wide["risk_mean"]) < 2 * (narrow["risk_sem"] + wide["risk_sem"])


def _every_file_named_in_the_text_is_there(tried: Tried) -> None:
    named = re.findall(r"`([\w/.-]+\.(?:csv|toml|h5|json|png|pdf|html|bib))`", TEXT)
    assert len(set(named)) > 10
    inside = {path.name for path in (tried.directory / "run").iterdir()}
    assert [name for name in named if not (tried.directory / name).is_file() and name not in inside] == []
    assert any((tried.directory / "tables").glob("*.csv"))
    assert "@software{mfpde," in (tried.directory / "references.bib").read_text(encoding="utf-8")


def _the_picture_on_the_page_is_the_one_that_was_drawn(tried: Tried) -> None:
    """To the eye: another version of the drawing library may shift edges."""
    drawn = tried.directory / "figure.png"
    shown = ROOT / "docs" / "images" / "tutorial.png"
    pictures = [np.asarray(Image.open(path).convert("L"), float) for path in (drawn, shown)]
    assert pictures[0].shape == pictures[1].shape, f"copy {drawn} to {shown}"
    assert np.abs(pictures[0] - pictures[1]).mean() < 2.0, f"copy {drawn} to {shown}"


def _it_takes_two_minutes_on_two_cores(tried: Tried) -> None:
    assert tried.seconds < 240.0


@pytest.mark.slow
def test_followed_to_the_letter(tmp_path: Path) -> None:
    """One test: following it once takes a minute."""
    directory = tmp_path / "empty"
    directory.mkdir()
    tried = _follow(directory, tmp_path / "shims")
    _every_quoted_output_is_what_is_printed(tried)
    _every_number_in_the_prose_is_one_that_was_printed(tried)
    _what_the_prose_derives_from_them_is_right(tried)
    _every_file_named_in_the_text_is_there(tried)
    _the_picture_on_the_page_is_the_one_that_was_drawn(tried)
    _it_takes_two_minutes_on_two_cores(tried)
