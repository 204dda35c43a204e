"""What is compiled once is not compiled again: a second process loads every kernel from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from numba.core import event
with event.install_recorder("numba:compile") as record:
    from mfpde.cli.main import main
    try:
        code = main(sys.argv[1:])
    except SystemExit as stop:
        code = stop.code
assert not code, code
names = sorted({str(item.data["dispatcher"]) for _, item in record.buffer})
print("compiled", len(names), *names)
"""
SMALL = {
    "single-index": ["grid.cells=[24, 24]", "training.time=0.2", "particles.widths=[16]", "particles.replicas=2"],
    "teacher-1d": ["training.time=0.1", "particles.widths=[16]", "particles.replicas=2", "output.snapshots=3"],
    "desai-zwanzig": ["training.time=0.1", "particles.widths=[16]", "particles.replicas=2", "output.snapshots=3"],
}


def compiled(study: str, settings: list[str], cache: Path, out: Path) -> list[str]:
    arguments = ["solve", study, "-o", str(out), "-q", "--overwrite", "--no-figures"]
    for setting in settings:
        arguments += ["--set", setting]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    words = run.stdout.splitlines()[-1].split()
    assert words[0] == "compiled"
    return words[2:]


@pytest.mark.slow
@pytest.mark.parametrize("study", SMALL)
def test_a_second_solve_compiles_nothing(study: str, tmp_path: Path) -> None:
    first = compiled(study, SMALL[study], tmp_path / "cache", tmp_path / "out")
    assert len(first) > 5, first
    assert compiled(study, SMALL[study], tmp_path / "cache", tmp_path / "out") == []


@pytest.mark.slow
def test_another_precision_or_activation_is_compiled_apart(tmp_path: Path) -> None:
    # the kernels of two activations share their source; the cache must not take one for the other
    settings = [*SMALL["teacher-1d"], "network.activation=erf"]
    compiled("teacher-1d", SMALL["teacher-1d"], tmp_path / "cache", tmp_path / "out")
    assert compiled("teacher-1d", settings, tmp_path / "cache", tmp_path / "out") != []
    assert compiled("teacher-1d", settings, tmp_path / "cache", tmp_path / "out") == []
