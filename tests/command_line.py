"""What the tests of the command line share: a verb's JSON, its table, its refusals, and the toy of known constants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mfpde.cli.main import main

Capture = pytest.CaptureFixture[str]


def toy_study(
    *,
    time: float = 8.0,
    noise: float = 0.0,
    tolerance: float = 1e-7,
    widths: Sequence[int] = (32,),
    replicas: int = 8,
    step: float = 0.1,
    snapshots: int = 9,
) -> str:
    """The neuron of mfpde.exact.references as TOML: tanh(wx) fits 0.8 tanh(1.5 x); constants known to six digits."""
    return f"""
[network]
activation = "tanh"
train = ["w"]

[data]
law = "gaussian"
dimension = 1
quadrature = 60
target = {{ index = "tanh", gain = 1.5, scale = 0.8 }}
noise = {noise}

[training]
temperature = 0.2
weight_decay = 0.5
time = {time}

[initial]
w = {{ law = "normal", std = 0.5 }}

[grid]
cells = [200]
tolerance = {tolerance}

[particles]
widths = {list(widths)}
replicas = {replicas}
step = {step}

[output]
snapshots = {snapshots}
"""


def measured(capsys: Capture, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The JSON object that a command line prints; ``ok`` says whether it exits with 0, as it must with ``code``."""
    capsys.readouterr()
    assert main([*arguments, "--json", "-q"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["ok"] is (code == 0)
    return found


def told(capsys: Capture, *arguments: str, words: Sequence[str], columns: int = 140) -> str:
    """The table that a command line prints: it holds all ``words``, and no line is longer than ``columns``."""
    capsys.readouterr()
    assert main([*arguments, "-q"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words), out
    assert out.endswith("\n")
    assert max(len(line) for line in out.splitlines()) < columns
    return out


def refused(capsys: Capture, *arguments: str, words: str, code: int = 2, lines: int = 3) -> None:
    """A command line is refused with ``code`` and a message of few ``lines`` that holds ``words``."""
    capsys.readouterr()
    assert main([*arguments, "-q"]) == code
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= lines


ROOT = Path(__file__).resolve().parent.parent
IMPORTED = """
import sys
try:
    {work}
except SystemExit:
    pass
print("modules", *sys.modules)
"""


def modules_after(work: str, directory: Path = ROOT) -> set[str]:
    """The modules that a fresh interpreter in ``directory`` holds after the statement ``work``."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(work=work)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])
