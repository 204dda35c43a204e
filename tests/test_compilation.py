"""What is compiled once is not compiled again, unless its sources have changed: kernels are loaded from the cache."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.caching import NullCache

import mfpde
from mfpde.core.compilation import kernel
from mfpde.core.transfers import lanes, load, store

PACKAGE = Path(mfpde.__file__).parent

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


TANH = """
from numba.core import event
with event.install_recorder("numba:compile") as record:
    from mfpde.core import activations
    value = activations.evaluate("tanh", [1.0])[0]
print(activations.__file__, round(value, 6), len(record.buffer))
"""


def tanh_of_one(folder: Path) -> tuple[float, int]:
    """The value from the package in ``folder``, and how many functions were compiled for it."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["PYTHONPATH"] = str(folder)
    run = subprocess.run(
        [sys.executable, "-c", TANH], env=environment, cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    file, value, compilations = run.stdout.split()
    assert Path(file).is_relative_to(folder)
    return float(value), int(compilations)


def test_a_change_in_an_inlined_file_is_noticed(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(PACKAGE, tmp_path / "mfpde", ignore=ignored)
    value, compilations = tanh_of_one(tmp_path)
    assert value == 0.761594 and compilations > 0
    # the kernel stands in activations.py
    source = tmp_path / "mfpde" / "core" / "elementary.py"
    before = source.read_text()
    after = before.replace("return copysign(fma(t, more", "return 2.0 * copysign(fma(t, more")
    assert after != before
    source.write_text(after)
    value, compilations = tanh_of_one(tmp_path)
    assert value == 1.523188 and compilations > 0
    assert tanh_of_one(tmp_path) == (1.523188, 0)


def scaled(factor: float) -> Callable[[float], float]:
    @kernel
    def product(x: float) -> float:
        return factor * x

    return product


def test_an_entry_that_another_process_wrote_in_its_place_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two processes that find no cache both call their entry the first. Here one has the last word on the list, the
    # other on the entry.
    entries = []
    for name, factor in (("one", 3.0), ("other", 2.0)):
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / name))
        assert scaled(factor)(1.0) == factor
        entries += sorted((tmp_path / name).rglob("*.nbc"))
    one, other = entries
    assert one.relative_to(tmp_path / "one") == other.relative_to(tmp_path / "other")
    shutil.copy(other, one)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "one"))
    assert scaled(3.0)(1.0) == 3.0
    again = scaled(3.0)
    assert again(1.0) == 3.0
    assert sum(again.stats.cache_hits.values()) == 1


def test_a_kernel_without_a_known_cache_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.dispatcher.FunctionCache", lambda function: NullCache())
    assert scaled(2.0)(1.0) == 2.0


def test_vectors_in_a_stack_frame_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions that move them fault where they are not; LLVM chose others, for a frame on any 16 bytes."""

    def reverse(x: np.ndarray) -> None:  # type: ignore[type-arg]
        n = lanes(x)
        a, b, c, d, e = load(x, 0), load(x, n), load(x, 2 * n), load(x, 3 * n), load(x, 4 * n)
        f, g, h, i, j = load(x, 5 * n), load(x, 6 * n), load(x, 7 * n), load(x, 8 * n), load(x, 9 * n)
        store(x, 0, j)
        store(x, n, i)
        store(x, 2 * n, h)
        store(x, 3 * n, g)
        store(x, 4 * n, f)
        store(x, 5 * n, e)
        store(x, 6 * n, d)
        store(x, 7 * n, c)
        store(x, 8 * n, b)
        store(x, 9 * n, a)

    monkeypatch.setattr("numba.core.dispatcher.FunctionCache", lambda function: NullCache())
    compiled = kernel(reverse)
    width = lanes(np.empty(0))
    rows = np.arange(10.0 * width).reshape(10, width)
    numbers = rows.flatten()
    compiled(numbers)
    np.testing.assert_array_equal(numbers.reshape(10, width), rows[::-1])
    if platform.machine() in ("x86_64", "AMD64"):
        code = compiled.inspect_asm(compiled.signatures[0])
        # ten vectors are forty registers of 512 bits, of which there are 32
        assert len(re.findall(r"\tv?movap[sd]\t.*%[yz]mm.*\(%rsp\)", code)) >= 4


def test_what_is_compiled_outside_core_takes_from_core_and_its_own_file_alone() -> None:
    # what it took from elsewhere could change without the cache noticing
    found = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        if "core" in path.relative_to(PACKAGE).parts:
            continue
        tree = ast.parse(path.read_text())
        foreign = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("mfpde")
            and not f"{node.module}.".startswith("mfpde.core.")
            for alias in node.names
        } - {"core"}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(decorator).startswith(("kernel", "njit")) for decorator in node.decorator_list
            ):
                found += 1
                names = {name.id for line in node.body for name in ast.walk(line) if isinstance(name, ast.Name)}
                assert not names & foreign, (path, node.name, names & foreign)
    assert found >= 6
