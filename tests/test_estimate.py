"""What ``--dry-run`` says of memory and time: against the peak of real runs, and against counts of operations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mfpde
from mfpde import ensemble
from mfpde.core import parallel
from mfpde.io import build, config
from mfpde.io.estimate import MIB, estimate

DATA = """
[network]
activation = "tanh"
train = ["a", "w"]
[data]
law = "empirical"
file = "rows.csv"
inputs = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"]
targets = "y"
[training]
temperature = 0.001
weight_decay = 0.01
time = 0.2
[particles]
step = 0.1
replicas = 1
[output]
snapshots = 2
"""
# runs of a few hundred MB each; a first one of the kind, of next to no size, compiles what is not yet compiled
RUNS: dict[str, tuple[str, list[str], list[str]]] = {
    "particles": ("data.toml", ["particles.widths=[1500000]"], ["particles.widths=[10000]"]),
    "many snapshots": (
        "data.toml",
        ["particles.widths=[20000,40000]", "particles.replicas=8", "output.snapshots=9", "training.time=0.8"],
        ["particles.widths=[10000]"],
    ),
    "limit in three dimensions": (
        "teacher-1d",
        ["training.time=0.05", "grid.cells=[128,128,128]", "output.snapshots=5", "particles.widths=[8]"],
        ["training.time=0.05", "grid.cells=[16,16,16]", "particles.widths=[8]"],
    ),
    "limit in two dimensions": (
        "linear-network",
        ["training.time=0.02", "grid.cells=[1500,1500]", "output.snapshots=3", "particles.widths=[8]"],
        ["training.time=0.02", "grid.cells=[16,16]", "particles.widths=[8]"],
    ),
    "limit on the circle": (
        "kuramoto",
        ["training.time=1e-7", "particles.step=1e-8", "grid.cells=[1000000]", "output.snapshots=2"],
        ["training.time=0.02"],
    ),
    "a map with figures": (
        "linear-network",
        ["training.time=0.02", "grid.cells=[1000,1000]", "output.snapshots=6"],
        ["training.time=0.02", "grid.cells=[16,16]"],
    ),
    "copies": (
        "single-index",
        ["training.time=0.2", "particles.widths=[512]", "particles.replicas=512", "output.snapshots=5"],
        ["training.time=0.2", "particles.widths=[8]"],
    ),
}  # fmt: skip
LIMITS = ("limit on the circle", "a map with figures")

# the peak of a process started by a large one counts the pages of its parent: a small one stands between
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def study(name: str, *overrides: str) -> build.Study:
    loaded = config.load(name, overrides)
    return build.build(loaded.config, loaded.name, loaded.directory)


def _solve(directory: Path, name: str, overrides: list[str], *flags: str) -> list[str]:
    values = [part for value in overrides for part in ("--set", value)]
    command = [sys.executable, "-m", "mfpde", "solve", name, "-o", str(directory / "run"), "-q"]
    return [*command, "--threads", "2", "--json", *values, *flags]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(mfpde.__file__).parent.parent)}


@pytest.mark.slow
@pytest.mark.parametrize("case", RUNS)
def test_the_memory_stated_is_the_peak_of_the_run_to_a_fifth(case: str, tmp_path: Path) -> None:
    name, large, small = RUNS[case]
    flags = ["--only", "limit"] if case in LIMITS else []
    flags += [] if case.endswith("figures") else ["--no-figures"]
    names = ",".join(f"x{k}" for k in range(10))
    rows = [",".join(f"{(7 * i + 3 * k) % 11 / 5.0 - 1.0:g}" for k in range(11)) for i in range(256)]
    (tmp_path / "rows.csv").write_text("\n".join([f"{names},y", *rows]) + "\n")
    (tmp_path / "data.toml").write_text(DATA)
    if name.endswith(".toml"):
        name = str(tmp_path / name)
    run: dict[str, Any] = {"capture_output": True, "text": True, "env": _environment(), "cwd": tmp_path}
    assert subprocess.run(_solve(tmp_path, name, small, "--overwrite", *flags), check=False, **run).returncode == 0
    told = subprocess.run(_solve(tmp_path, name, large, "--dry-run", *flags), check=False, **run)
    stated = json.loads(told.stdout)["estimate"]["bytes"]
    command = _solve(tmp_path, name, large, "--overwrite", *flags)
    code, peak = subprocess.run([sys.executable, "-c", MEASURE, *command], check=False, **run).stdout.split()
    assert code == "0"
    assert int(peak) * (1 if sys.platform == "darwin" else 1024) == pytest.approx(stated, rel=0.2)


def test_operations_are_pairs_or_evaluations_of_neurons_on_nodes() -> None:
    """Steps x stages x replicas x what a gradient of a width takes."""
    pairs = study("single-index", "particles.widths=[8,33]", "particles.replicas=5", "training.time=1")
    steps = ensemble.step_count(1.0, 0.1)
    assert estimate(pairs)["particles"]["operations"] == steps * 2 * 5 * (8**2 + 33**2)
    euler = study("digits", "particles.widths=[10]", "particles.scheme=euler")
    assert estimate(euler)["particles"]["operations"] == 200 * 8 * 2 * 10 * len(euler.problem.data.y)


def test_memory_grows_with_what_is_kept() -> None:
    """Neurons, replicas and snapshots of the particles; cells and snapshots of the limit; a table and its features."""

    def total(*overrides: str) -> dict[str, Any]:
        found = estimate(study("teacher-1d", *overrides), figures=False)
        return {part: found[part]["bytes"] for part in ("limit", "particles")} | {"all": found["bytes"]}

    base = total("particles.widths=[100000]", "particles.replicas=1")
    four, six, eight = (total(f"particles.widths=[{n}00000]", "particles.replicas=1") for n in (4, 6, 8))
    assert eight["particles"] == pytest.approx(2 * six["particles"] - four["particles"], rel=1e-3)
    assert eight["particles"] == pytest.approx(2 * four["particles"], rel=0.1)
    assert eight["limit"] == base["limit"]
    longer = total("particles.widths=[100000]", "particles.replicas=1", "output.snapshots=41")
    assert longer["particles"] > 1.5 * base["particles"]
    assert longer["all"] > longer["particles"]
    finer = total("grid.cells=[112,96,96]", "particles.widths=[100000]", "particles.replicas=1")
    assert finer["limit"] == pytest.approx(8 * base["limit"], rel=0.25)


def test_figures_and_axes_count_where_they_are_large() -> None:
    cells = 1_000_000
    line = study("kuramoto", f"grid.cells=[{cells}]", "output.snapshots=2")
    plane = study("linear-network", "grid.cells=[1000,1000]", "output.snapshots=2")
    alone, drawn = (
        [estimate(one, "limit", figures=figures)["bytes"] for one in (line, plane)] for figures in (False, True)
    )
    # in one dimension centres, volumes and the geometry of the faces are as large as a field
    assert 25 * 8 * cells < alone[0] - 190 * MIB < 30 * 8 * cells
    assert alone[1] < alone[0]
    # curves of all cells, or maps of them
    assert drawn[0] - alone[0] > 15 * 8 * cells
    assert drawn[1] - alone[1] > 5 * 8 * cells
    small = study("kuramoto", "output.snapshots=2")
    assert estimate(small, "limit", figures=True)["bytes"] < 350 * MIB


def test_copies_and_parts_count_only_where_they_run() -> None:
    one = study("single-index", "particles.widths=[100000]", "particles.replicas=1")
    both, alone = estimate(one), estimate(one, only="particles", driven=False)
    assert alone["particles"]["bytes"] < both["particles"]["bytes"]
    assert "limit" not in alone
    assert "particles" not in estimate(one, only="limit")
    assert estimate(one, only="limit")["bytes"] < both["bytes"]


def test_time_is_shared_by_the_threads_and_shorter_in_single_precision() -> None:
    overrides = ["particles.widths=[100000]", "particles.replicas=1", "training.time=1"]
    double = study("digits", *overrides)
    with parallel.team(2):
        shared = estimate(double)["particles"]["seconds"]
    assert estimate(double)["particles"]["seconds"] == pytest.approx(2 * shared)
    single = estimate(study("digits", *overrides, "numerics.precision=single"))["particles"]["seconds"]
    assert single < 1.5 * shared
    assert estimate(study("digits", *overrides, "numerics.device=cuda"))["particles"]["seconds"] is None


def test_a_study_too_large_to_run_is_estimated_without_its_arrays() -> None:
    """10^8 cells would be gigabytes; the plan looks at samples of them."""
    huge = study("teacher-1d", "grid.cells=[464,464,464]")
    assert estimate(huge)["limit"]["bytes"] > 20 * 8 * 464**3


def test_atoms_at_temperature_zero_are_counted() -> None:
    cold = study("teacher-1d", "training.temperature=0", "particles.dynamics=gradient")
    found = estimate(cold)["limit"]
    assert found["atoms"] > 1000
    assert found["bytes"] > 8 * 3 * found["atoms"] * 21
