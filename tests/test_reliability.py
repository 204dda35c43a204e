"""What docs/reliability.md promises and no other test holds: trust, breakdowns, rivals, disks that fill up late."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hostile
import numpy as np
import pytest
from command_line import measured, refused

from mfpde import figures
from mfpde.cli import directory as directories
from mfpde.cli import solve
from mfpde.cli.main import main
from mfpde.errors import FileSystemError, NumericalError
from mfpde.io import atomic, data, store, trust, vet
from mfpde.io.breakdown import numerical
from mfpde.steppers import grid
from mfpde.tabulate import Tabulated

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "data" / "golden" / "schema-1"
STUDY = """
[network]
activation = "tanh"
train = ["w"]
[data]
law = "gaussian"
dimension = 1
quadrature = 12
target = { index = "tanh", gain = 1.5, scale = 0.8 }
[training]
temperature = 0.05
weight_decay = 0.1
time = 0.5
[grid]
cells = [16]
tolerance = 1e-3
flux = "exponential"
[particles]
widths = [4]
replicas = 2
step = 0.05
[output]
snapshots = 3
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def study(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    return str(path)


def _solve(study: str, directory: Path, *flags: str) -> int:
    return main(["solve", study, "-o", str(directory), "--no-figures", "-q", *flags])


# ---- trust ---------------------------------------------------------------------------------------------------------


def test_a_file_that_vetting_refuses_is_read_on_trust(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "limit.h5"
    path.write_bytes((GOLDEN / "limit.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["limit/again"] = file["limit/density"]  # a second hard link
    refused(capsys, "check", str(path), words="two hard links", code=4)
    assert measured(capsys, "check", str(path), "--trust")["ok"] is True
    refused(capsys, "check", str(path), words="two hard links", code=4)  # for one command only


def test_trust_holds_for_data_tables_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["real"] = np.arange(4.0)
        file["x"], file["y"] = h5py.SoftLink("/real"), h5py.SoftLink("/real")
        file.create_dataset("packed", data=np.arange(4), chunks=(4,), scaleoffset=True)  # a filter that vetting refuses
    with trust.files(True):
        found = data.read_table(path, "x", "y")
        packed = data.read_table(path, "packed", "y")
    np.testing.assert_array_equal(found[1], np.arange(4.0))
    np.testing.assert_array_equal(packed[0][:, 0], np.arange(4.0))
    with pytest.raises(vet.DataFileError, match="needs filter"):
        data.read_table(path, "packed", "real")
    with pytest.raises(vet.DataFileError, match="not a hard link"):
        data.read_table(path, "x", "y")
    with trust.files(False):
        assert not trust.given()


def test_trust_does_not_switch_off_checksums(tmp_path: Path, capsys: Capture) -> None:
    whole = (GOLDEN / "particles.h5").read_bytes()
    theta = store.read(GOLDEN / "particles.h5").groups["/ensemble/N000004"].variables["theta"].data
    damaged = bytearray(whole)
    damaged[whole.index(theta.tobytes()[:32])] ^= 1
    path = tmp_path / "particles.h5"
    path.write_bytes(damaged)
    refused(capsys, "check", str(path), "--trust", words="damaged", code=4)


def test_a_million_objects_are_refused_before_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    address = vet._address
    monkeypatch.setattr(vet, "_address", lambda item: (opened.append("x"), address(item))[1])
    hostile.write("many objects", tmp_path / "x.h5", tmp_path / "secret")
    with pytest.raises(vet.DataFileError, match="10000 objects"):
        store.read(tmp_path / "x.h5")
    assert len(opened) <= 2


# ---- breakdowns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "named"),
    [
        (np.linalg.LinAlgError("SVD did not converge"), NumericalError),
        (FloatingPointError("overflow"), NumericalError),
        (ValueError("array must not contain infs or NaNs"), NumericalError),
        (ValueError("a wrong argument"), ValueError),
        (KeyError("x"), KeyError),
    ],
)
def test_breakdowns_of_linear_algebra_are_numerical_failures(raised: Exception, named: type[Exception]) -> None:
    @numerical
    def broken() -> None:
        raise raised

    with pytest.raises(named):
        broken()


@pytest.mark.parametrize("owner", [grid.Propagator, Tabulated])
@pytest.mark.parametrize("call", [1, 4, 9, 10])
def test_nan_from_a_kernel_is_a_numerical_failure_and_the_state_is_saved(
    owner: Any, call: int, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert _solve(study, tmp_path / "straight", "--only", "limit") == 0
    name = "__call__" if owner is grid.Propagator else "skeleton"
    genuine, calls = getattr(owner, name), [0]

    def poisoned(*arguments: Any) -> Any:
        calls[0] += 1
        result = genuine(*arguments)
        if calls[0] != call:
            return result
        return (result[0] * np.nan, result[1]) if owner is grid.Propagator else result * np.nan

    with monkeypatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(owner, name, poisoned)
        assert _solve(study, tmp_path / "run", "--only", "limit", "--checkpoint", "1e9") == 5
    assert capsys.readouterr().err.startswith("mfpde: numerical error: ")
    path = tmp_path / "run" / "limit.h5"
    if path.exists():
        assert store.read(path).attributes["finished"] == 0
        assert store.not_finite(path) == {}
    assert _solve(study, tmp_path / "run", "--only", "limit", *["--resume"] * path.exists()) == 0
    files = [str(tmp_path / name / "limit.h5") for name in ("straight", "run")]
    assert measured(capsys, "compare", *files, "--rtol", "0")["same"] is True


def test_a_bug_saves_the_state_too(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    genuine, calls = grid.step, [0]

    def broken(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("a bug")
        return genuine(*arguments, **named)

    monkeypatch.setattr(grid, "step", broken)
    assert _solve(study, tmp_path / "run", "--only", "limit", "--checkpoint", "1e9") == 70
    assert "internal error: RuntimeError: a bug" in capsys.readouterr().err
    assert store.read(tmp_path / "run" / "limit.h5").groups["/restart"].attributes["step"] >= 1


# ---- rivals and disks ----------------------------------------------------------------------------------------------


def test_a_run_that_ended_while_another_started_is_not_replaced(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The rival comes to its end between the first look at the directory and the lock."""
    claimed, target = directories.claimed, tmp_path / "run"

    def late(directory: Path) -> Any:
        monkeypatch.setattr(directories, "claimed", claimed)
        assert _solve(study, directory) == 0
        return claimed(directory)

    monkeypatch.setattr(solve.directories, "claimed", late)
    assert _solve(study, target) == 2
    assert "already holds limit.h5" in capsys.readouterr().err


def test_a_lock_that_cannot_be_signed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(FileSystemError, match="cannot lock"), atomic.lock(tmp_path):
            pass
    assert not list(tmp_path.iterdir())
    with atomic.lock(tmp_path):
        pass


def test_measured_numbers_sweep_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / "chaos.json.12-0123abcd.part").touch()
    assert directories.write_measured(tmp_path, "chaos", {"ok": True}, lambda _: None) == [str(tmp_path / "chaos.json")]
    assert [path.name for path in tmp_path.iterdir()] == ["chaos.json"]
    assert json.loads((tmp_path / "chaos.json").read_text())["ok"] is True


def test_a_figure_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with figures.style():
        figure, _ = figures.sheet()
    (tmp_path / "x.png").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        figures.save(figure, tmp_path / "x.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.png", b"old")]


def test_what_the_system_refuses_anywhere_is_a_file_system_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "somewhere")

    monkeypatch.setattr("mfpde.cli.main._dispatch", fail)
    refused(capsys, "info", "x", words="mfpde: file system error: Input/output error: somewhere", code=6, lines=1)


# ---- the campaigns -------------------------------------------------------------------------------------------------


@pytest.fixture
def campaigns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield lambda name: importlib.import_module(name)
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_campaign_counts_what_is_broken(campaigns: Any) -> None:
    tally = campaigns("fault_campaigns.tally").Tally("x", cases=3)
    assert tally.require(True, "lost files") is True
    assert tally.row() == ["x", "3", "0 lost files", ""]
    assert tally.require(False, "lost files", "a.h5") is False
    tally.watch("seconds", 2.0)
    tally.watch("seconds", 1.0)
    assert tally.row() == ["x", "3", "1 lost files", "seconds 2"]
    assert tally.report()["examples"] == ["lost files: a.h5"]


def test_a_child_is_killed_timed_out_and_heard(campaigns: Any) -> None:
    child = campaigns("fault_campaigns.child")

    def work(tell: Any) -> int:
        tell("here")
        if os.environ.get("MFPDE_TEST_CHILD") == "fail":
            raise RuntimeError("a bug")
        while True:
            pass

    ended = child.fork(work, after=0.2)
    assert (ended.code, ended.lines, ended.timed_out) == (-9, ["here"], False)
    ended = child.fork(work, limit=0.2)
    assert (ended.code, ended.timed_out) == (-9, True)
    os.environ["MFPDE_TEST_CHILD"] = "fail"
    try:
        ended = child.fork(work)
    finally:
        del os.environ["MFPDE_TEST_CHILD"]
    assert ended.code == child.FAILED
    assert "RuntimeError: a bug" in ended.stderr
    assert ended.peak_bytes > 0


def test_a_value_that_changed_is_told_from_one_that_did_not(campaigns: Any) -> None:
    damage = campaigns("fault_campaigns.damage")
    contents = store.read(GOLDEN / "limit.h5")
    assert damage._equal(contents, store.read(GOLDEN / "limit.h5"))
    contents.groups["/limit"].variables["density"].data[0, 0] *= 1.0 + 1e-15
    assert not damage._equal(contents, store.read(GOLDEN / "limit.h5"))
    assert not damage._equal(contents, store.read(GOLDEN / "particles.h5"))


def test_the_page_names_every_campaign(campaigns: Any) -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert re.findall(r"^\|.*\| `(\w+)` \|", page, flags=re.MULTILINE) == list(campaigns("faults").CAMPAIGNS)


@pytest.mark.slow
def test_smoke_run_of_all_campaigns(tmp_path: Path) -> None:
    output = tmp_path / "faults.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "faults.py"), "--quick", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["defects"] == []
    assert all(entry["cases"] > 0 for entry in report["measurements"])
    assert "| SIGKILL of solve and resume |" in done.stdout


# ---- nothing outside the output directory --------------------------------------------------------------------------

_WATCHED = """
import os, sys
written, changing = [], os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & changing:
        written.append(os.path.realpath(os.fsdecode(arguments[0])))
    elif event in ("os.rename", "os.mkdir", "os.remove", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"):
        written.extend(os.path.realpath(os.fsdecode(a)) for a in arguments[:2] if isinstance(a, (str, bytes)))
sys.addaudithook(hook)
from mfpde.cli.main import main
code = main(sys.argv[1:])
print("written", code, *written, sep="\\n")
"""


def test_a_run_writes_nothing_outside_its_directory(study: str, tmp_path: Path) -> None:
    """Every open for writing, rename, removal and new directory of a whole run; compiled kernels are cached."""
    command = [sys.executable, "-c", _WATCHED, "solve", study, "-o", str(tmp_path / "run"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    code, *written = done.stdout.rsplit("written\n", 1)[1].splitlines()
    assert code == "0", done.stderr
    caches = ("__pycache__", "/numba", "matplotlib", "/dev/null", "/proc/self")
    outside = [path for path in written if not any(part in path for part in caches)]
    assert len(outside) > 5
    assert [path for path in outside if not path.startswith(str(tmp_path / "run"))] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tiny.toml"]
