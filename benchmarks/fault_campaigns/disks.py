"""A disk that is full at any level, and every system call of a save that may fail or be the last one."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fault_campaigns import study as studies
from fault_campaigns.child import Ended, Tell, fork
from fault_campaigns.tally import Tally
from mfpde.errors import MfpdeError
from mfpde.io import store

CAPACITY = 4 << 20
# saves after which a run is stopped, to be continued on a full disk: in the limit, in the networks, before the summary
STAGES = ("limit.h5", "particles.h5", "summary.json")
CALLS = {"open": errno.EACCES, "write": errno.ENOSPC, "fsync": errno.EIO, "replace": errno.EACCES, "close": errno.EIO}
WAYS = ("error", "SIGKILL before", "SIGKILL after")


def full_disk(size: int, folder: Path) -> Tally:
    """A run goes on while the disk has room for a part of its next file: exit 6, every old file as it was."""
    tally, study = Tally("full disk"), studies.write(folder)
    for _ in range(2):
        studies.solve(study, folder / "straight", "noise", "--overwrite")
    stopped = {stage: _stopped(study, folder / f"stopped-{stage}", stage) for stage in STAGES}
    with _small_disk(folder / "disk") as (disk, kind):
        tally.note = kind
        for level in range(size):
            stage = STAGES[level % 5 // 2] if size >= 5 else STAGES[level % 3]
            needed = (folder / "straight" / stage).stat().st_size
            # the file beside the old one: whatever is less than all of it is too little
            room = needed * (level + 1) // (size + 1)
            _fill_up(tally, study, stopped[stage], disk, room, folder / "straight", kind)
    return tally


def _stopped(study: Path, directory: Path, stage: str) -> Path:
    """A run that ended before it wrote ``stage`` for the last time."""

    def work(_: Tell) -> int:
        write, saves = store.write, itertools.count(1)

        def stopping(path: str, *arguments: Any) -> None:
            if stage == "summary.json" and path.endswith("particles.h5") and arguments[1]["finished"]:
                write(path, *arguments)
                os._exit(0)
            if path.endswith(stage) and next(saves) == 4:
                os._exit(0)
            write(path, *arguments)

        store.write = stopping
        return studies.solve(study, directory)

    if fork(work).code != 0:
        raise RuntimeError(f"no run that stopped at {stage}")
    return directory


def _fill_up(tally: Tally, study: Path, before: Path, disk: Path, room: int, straight: Path, kind: str) -> None:
    directory = disk / "run"
    shutil.copytree(before, directory)
    for name in (".mfpde.lock", *(path.name for path in directory.glob("*.part"))):
        (directory / name).unlink(missing_ok=True)
    old = {path.name: path.read_bytes() for path in directory.iterdir()}
    with _filled(disk, room, kind):
        ended = fork(lambda _: _limited(study, directory, None if kind.startswith("tmpfs") else room))
        tally.cases += 1
        tally.happened[f"exit code {ended.code}"] += 1
        tally.require(ended.code == 6, "exits other than 6", (before.name, room, ended.code, ended.stderr))
        tally.require(ended.code >= 0, "ends by a signal", ended.stderr)
        tally.require("Traceback" not in ended.stderr, "tracebacks", ended.stderr)
        now = {path.name: path.read_bytes() for path in directory.iterdir()}
        _compare_old(tally, old, now, before, directory)
        tally.require(now.keys() == old.keys(), "litter", sorted(now))
    again = fork(lambda _: studies.solve(study, directory, "noise", "--resume"))
    tally.require(again.code == 0 and not studies.unequal(straight, directory), "resumed runs that differ", again)
    shutil.rmtree(directory)


def _compare_old(tally: Tally, old: dict[str, bytes], now: dict[str, bytes], before: Path, directory: Path) -> None:
    """Every file is the old one, or a later one that just fitted and is whole."""
    for name, data in old.items():
        if now.get(name) == data:
            tally.require(True, "old files lost")
            continue
        newer = name in now and name.endswith(".h5")
        newer = newer and studies.stored(directory / name) > studies.stored(before / name)
        tally.require(newer, "old files lost", name)
        tally.happened["later checkpoints that fitted"] += newer


def _limited(study: Path, directory: Path, most: int | None) -> int:
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return studies.solve(study, directory, "noise", "--resume")


@contextlib.contextmanager
def _small_disk(path: Path) -> Iterator[tuple[Path, str]]:
    """A file system of a few MiB where the system lets us mount one; else a folder and a limit on sizes of files."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={CAPACITY}", "mfpde-faults", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield path, "tmpfs that is full" if mounted else "limit on the size of a file (no file system can be mounted)"
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=False)


@contextlib.contextmanager
def _filled(disk: Path, room: int, kind: str) -> Iterator[None]:
    """Leave ``room`` bytes, rounded down to pages."""
    ballast = disk / "ballast"
    if kind.startswith("tmpfs"):
        status = os.statvfs(disk)
        free = status.f_bavail - room // status.f_frsize
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free * status.f_frsize)
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


# ---- every system call ---------------------------------------------------------------------------------------------


def failing_calls(size: int, folder: Path) -> Tally:
    """At every k-th call of open, write, fsync, rename and close: an error once, or death before or after it.

    Then every file is one that the uninterrupted run also had, and the continued run is the same. ``size`` bounds the
    calls of a kind that are tried, evenly spread; the run makes some dozens of each.
    """
    tally, study = Tally("every k-th system call of a save"), studies.write(folder)
    for _ in range(2):
        studies.solve(study, folder / "straight", "noise", "--overwrite", *studies.SHORT)
    for call, way in itertools.product(CALLS, WAYS):
        counted = fork(partial(_faulty, study=study, directory=folder / "counted", call=call, way="count", k=0))
        shutil.rmtree(folder / "counted")
        total = int(counted.lines[-1])
        for k in sorted({1 + i * total // min(size, total) for i in range(min(size, total))}):
            _fail_once(tally, study, folder, call, way, k)
        tally.happened[f"calls of {call} in a run"] = total
    return tally


def _fail_once(tally: Tally, study: Path, folder: Path, call: str, way: str, k: int) -> None:
    directory = folder / "faulty"
    ended = fork(lambda tell: _faulty(tell, study, directory, call, way, k))
    tally.cases += 1
    where = f"{call} {k}, {way}"
    _check_exit(tally, ended, way, where)
    for path in directory.glob("*.h5") if directory.exists() else ():
        try:
            studies.stored(path)
        except MfpdeError as error:
            tally.require(False, "unreadable files", (where, error))
    tally.require(True, "unreadable files")
    if way == "error" and directory.exists():
        found = set(studies.listing(directory)) - set(studies.FILES)
        tally.require(not found, "litter", (where, found))
    flags = ["--resume"] * directory.exists()
    again = fork(lambda _: studies.solve(study, directory, "noise", *flags, *studies.SHORT))
    differs = again.code != 0 or studies.unequal(folder / "straight", directory)
    tally.require(not differs, "resumed runs that differ", (where, again))
    tally.require(studies.listing(directory) == studies.FILES, "litter", (where, studies.listing(directory)))
    shutil.rmtree(directory)


def _check_exit(tally: Tally, ended: Ended, way: str, where: str) -> None:
    wanted = (6,) if way == "error" else (-signal.SIGKILL,)
    if way == "error" and ended.code == 0:
        tally.happened["errors that the run survived"] += 1
        return
    tally.require(ended.code in wanted, "wrong exit codes", (where, ended))
    tally.require("Traceback" not in ended.stderr, "tracebacks", (where, ended.stderr))


def _faulty(tell: Tell, study: Path, directory: Path, call: str, way: str, k: int) -> int:
    genuine: Callable[..., Any] = getattr(os, call)
    count = itertools.count(1)

    def faulty(*arguments: Any, **named: Any) -> Any:
        here = next(count) == k
        if here and way == "error":
            if call == "close":  # the descriptor is gone all the same
                genuine(*arguments)
            raise OSError(CALLS[call], os.strerror(CALLS[call]))
        if here and way == "SIGKILL before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = genuine(*arguments, **named)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, call, faulty)
    try:
        return studies.solve(study, directory, "noise", *studies.SHORT)
    finally:
        setattr(os, call, genuine)
        if way == "count":
            tell(str(next(count) - 1))
