"""Everything the README says: its commands, studies, snippets, papers and figures of merit.

That its two commands are those of CI, and that its links lead somewhere, is in test_packaging.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from documents import ROOT, blocks, environment, run
from PIL import Image

from mfpde.cli.main import VERBS, parse
from mfpde.exact import kuramoto
from mfpde.io import build, config, keys, schema, studies

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# what stands for something of the reader's in the commands
PLACES = {"NAME": "single-index", "RUN": "out", "DIR": "out", "A.h5": "out/limit.h5", "B.h5": "again/limit.h5"}


def _table(heading: str) -> list[list[str]]:
    """The rows below the head of the table whose first line starts so, cut into cells."""
    lines = TEXT[TEXT.index(heading) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _commands() -> list[list[str]]:
    """Every command of mfpde between backticks, with something of ours in the places of the reader's."""
    found = re.findall(r"`mfpde ([^`]+)`", TEXT)
    return [[PLACES.get(word, word) for word in shlex.split(command)] for command in found]


def test_it_is_short_and_says_what_it_is_in_two_sentences() -> None:
    assert len(TEXT.splitlines()) < 120
    first = TEXT.split("\n\n")[1]
    assert len(re.findall(r"\.(?:\s|$)", first)) == 2


def test_every_table_is_whole() -> None:
    """A blank line in a table cuts it in two: rows without a head."""
    for part in TEXT.split("\n\n"):
        lines = part.splitlines()
        if lines and lines[0].startswith("|"):
            assert re.fullmatch(r"(\|-+)+\|", lines[1])
            assert len({line.replace("\\|", "").count(" | ") for line in lines[2:]}) == 1, lines[0]


def test_every_command_can_be_parsed() -> None:
    commands = _commands()
    assert len(commands) > 8
    for command in commands:
        verb, _ = parse(command)
        assert verb in VERBS


def test_what_it_computes_names_verbs_and_known_papers() -> None:
    rows = _table("| | verb | after |")
    assert len(rows) > 8
    verbs = {verb for row in rows for verb in re.findall(r"`([^`]+)`", row[1])}
    assert verbs - {"theory"} <= set(VERBS)
    assert {"solve", "compare", "theory", "kernel-limit", "deep", "one-step"} <= verbs
    sources = (ROOT / "mfpde" / "io" / "references.bib").read_text(encoding="utf-8").replace("{\\'o}", "ó")
    sources += (ROOT / "docs" / "theory-main.md").read_text(encoding="utf-8")
    for row in rows:
        years = re.findall(r"((?:[^\W\d]+(?:, | et al\. )?)+) ?(\d{4})", row[2])
        assert years, row[2]
        for names, year in years:
            assert all(name in sources for name in re.findall(r"[^\W\d_]{3,}", names)), names
            assert year in sources


def test_the_table_of_studies_is_the_list_of_studies() -> None:
    listed: list[str] = []
    for row in _table("| name | problem |"):
        names = re.findall(r"`([^`]+)`", row[0])
        base = names[0] if names[0] in ("one-step",) else names[0].rpartition("-")[0]
        listed += [base + name if name.startswith("-") else name for name in names]
    known = [name for verb in keys.VERBS for name in studies.names(verb)]
    assert sorted(listed) == sorted(known)


def test_the_study_is_valid_and_its_comments_true() -> None:
    (block,) = (block.text for block in blocks(TEXT) if block.language == "toml")
    study = config.parse(block)
    built = build.build(study, "readme", None)
    assert built.on_grid
    (comment,) = re.findall(r"activation = .*# (.*)", block)
    allowed = msgspec.json.schema(schema.Network)["$defs"]["Network"]["properties"]["activation"]["enum"]
    assert sorted(comment.split()) == sorted(allowed)


def test_the_lines_of_python_run(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(TEXT) if block.language == "python")
    printed = run(block, tmp_path, environment(tmp_path / "shims"))
    found = re.fullmatch(r"reached t = 20 (\S+) (\S+)\n(\S+) \[ *(\S+) +(\S+)\]\n", printed)
    assert found is not None, printed
    distance, gap, energy, cosine, sine = map(float, found.groups())
    assert 0.0 < distance < 0.01
    assert abs(gap) < 1e-12
    # what the solution of the command line rests on: the order parameter of the Bessel functions
    assert np.isfinite(energy)
    assert np.hypot(cosine, sine) == pytest.approx(kuramoto.order_parameter(2.0, 0.5), abs=1e-3)


# ---- the default study, the commands on it, and what is measured ---------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A directory with the default study in out/ and again/, its summary, the checks of ``verify``, and seconds."""

    directory: Path
    summary: dict[str, Any]
    checks: dict[str, dict[str, float]]
    seconds: float


def _measure(directory: Path, shims: Path) -> Measured:
    variables = environment(shims)

    def result(command: str) -> dict[str, Any]:
        done = subprocess.run(
            command.split(), cwd=directory, env=variables, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return dict(json.loads(done.stdout))

    began = time.perf_counter()
    summary = result("python -m mfpde solve -o out --json -q")
    seconds = time.perf_counter() - began
    result("python -m mfpde solve -o again --only limit --threads 1 --no-figures --json -q")
    groups = result("mfpde verify --json -q")["groups"]
    checks = {group["title"]: {one["name"]: one["measured"] for one in group["checks"]} for group in groups}
    return Measured(directory, summary, checks, seconds)


def _the_first_command_writes_what_is_named_and_draws_the_picture(measured: Measured) -> None:
    assert {"limit.h5", "particles.h5", "summary.json", "overview.png"} <= set(os.listdir(measured.directory / "out"))
    assert measured.seconds < 120.0
    drawn, shown = measured.directory / "out" / "overview.png", ROOT / "docs" / "images" / "single-index.png"
    pictures = [np.asarray(Image.open(path).convert("L"), float) for path in (drawn, shown)]
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).mean() < 2.0


def _every_other_command_ends_with_zero(measured: Measured, directory: Path, shims: Path) -> None:
    variables = environment(shims)
    (study,) = (block.text for block in blocks(TEXT) if block.language == "toml")
    (directory / "study.toml").write_text(study, encoding="utf-8")
    long = {"verify", *(verb for verb in keys.VERBS if verb != "solve")}  # run by the fixture; have tests of their own
    for command in _commands():
        if command[0] in long:
            continue
        where = directory if command[0] == "solve" else measured.directory
        done = subprocess.run(
            ["mfpde", *command, "-q"],
            cwd=where,
            env=variables,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr[-2000:])
    import xarray

    (opened,) = re.findall(r"xarray\.open_dataset\(\"(.*?)\", group=\"(.*?)\"\)", TEXT)
    with xarray.open_dataset(measured.directory / opened[0], group=opened[1]) as dataset:
        assert set(dataset.density.dims) == set(dataset.density.coords) == {"time", "w0", "w1"}


def _measured_numbers_are_those_of_this_installation(measured: Measured) -> None:
    rows = {row[0]: row[1] for row in _table("| measured | |")}

    def row(words: str) -> list[float]:
        (text,) = (value for name, value in rows.items() if words in name)
        return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text.replace("−", "-"))]

    orders = row("order in space")
    for (low, high), title in zip((orders[:2], orders[2:]), ("order in space", "order in time"), strict=True):
        found = measured.checks[title].values()
        assert [round(min(found), 2), round(max(found), 2)] == pytest.approx([low, high], abs=0.011)
    (title,) = (title for title in measured.checks if title.startswith("mass, sign, energy for steps 0.01 to 10"))
    drift = [value for name, value in measured.checks[title].items() if name.startswith("mass drift")]
    rise = [value for name, value in measured.checks[title].items() if name.startswith("energy rise")]
    assert max(drift) <= row("mass error")[0]
    assert rise
    assert max(rise) <= row("mass error")[1]
    assert abs(measured.summary["stationary"]["gap"]) <= row("gap F − D")[0]
    rates = [measured.summary["rates"][name] for name in ("function_error", "coupling_error")]
    found = [value for rate in rates for value in (rate["slope"], *rate["ci"])]
    assert found == pytest.approx(row("slope of the function error"), abs=0.0151)
    (name,) = (name for name in rows if "slope" in name)
    assert "N = 32, 128, 512 with 16 replicas, t = 20" in name
    assert [(one["width"], one["replicas"]) for one in measured.summary["particles"]] == [
        (32, 16),
        (128, 16),
        (512, 16),
    ]


@pytest.mark.slow
def test_the_default_study_and_the_commands_on_it(tmp_path: Path) -> None:
    """One test: what it measures takes half a minute."""
    for name in ("default", "own"):
        (tmp_path / name).mkdir()
    measured = _measure(tmp_path / "default", tmp_path / "shims")
    _the_first_command_writes_what_is_named_and_draws_the_picture(measured)
    _every_other_command_ends_with_zero(measured, tmp_path / "own", tmp_path / "shims")
    _measured_numbers_are_those_of_this_installation(measured)
