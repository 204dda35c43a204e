"""SIGKILL at random moments of solve, of its continuation and of compare; SIGTERM and SIGINT of solve."""

from __future__ import annotations

import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from fault_campaigns import study as studies
from fault_campaigns.child import Ended, Tell, fork
from fault_campaigns.tally import Tally
from mfpde.cli.main import main
from mfpde.errors import MfpdeError

# a run is killed so often, then it may come to its end
MOST_KILLS_OF_A_RUN = 30
KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 130, 143)


def solve_kills(size: int, folder: Path) -> Tally:
    """``size`` SIGKILLs: no file unreadable, nothing that was acknowledged lost, the continued run the same."""
    return _kills(Tally("SIGKILL of solve and resume"), signal.SIGKILL, size, folder)


def signals(size: int, folder: Path) -> Tally:
    """The same with SIGTERM and SIGINT in turn."""
    tally = _kills(Tally("SIGTERM and SIGINT of solve and resume"), signal.SIGTERM, size - size // 2, folder / "term")
    return _kills(tally, signal.SIGINT, size // 2, folder / "int")


def _kills(tally: Tally, number: int, size: int, folder: Path) -> Tally:
    chance, runs, goal = random.Random(int(number)), 0, tally.happened["signals"] + size
    folder.mkdir(exist_ok=True)
    study = studies.write(folder)
    straight = {name: _straight(study, folder, name) for name in studies.VARIANTS}
    while tally.happened["signals"] < goal:
        variant = list(studies.VARIANTS)[runs % len(studies.VARIANTS)]
        directory, runs = folder / "killed", runs + 1
        shutil.rmtree(directory, ignore_errors=True)
        kills = min(chance.randint(5, MOST_KILLS_OF_A_RUN), goal - tally.happened["signals"])
        before = tally.happened["signals"]
        while True:
            left = kills - (tally.happened["signals"] - before)
            # each continuation gets a little further, so the moments spread over the whole of the run
            after = chance.uniform(0.0, 0.4 * straight[variant]) if left > 0 else None
            ended = fork(
                partial(_resumed, study=study, directory=directory, variant=variant), after=after, number=number
            )
            _examine(tally, ended, directory, number)
            if ended.code not in KILLED:
                break
        tally.happened["runs that came to their end"] += 1
        if tally.require(ended.code == 0, "runs that failed", ended.stderr):
            found = studies.unequal(folder / f"straight-{variant}", directory)
            tally.require(not found, "resumed runs that differ", found[:3])
            tally.require(studies.listing(directory) == studies.FILES, "litter", studies.listing(directory))
    tally.cases = tally.happened["signals"]
    return tally


def _straight(study: Path, folder: Path, variant: str) -> float:
    """Seconds of an uninterrupted run, the second one: the first compiles, in this process, for all forks."""
    for _ in range(2):
        began = time.monotonic()
        if studies.solve(study, folder / f"straight-{variant}", variant, "--overwrite") != 0:
            raise RuntimeError(f"the uninterrupted run of {variant} failed")
    return time.monotonic() - began


def _resumed(tell: Tell, study: Path, directory: Path, variant: str) -> int:
    studies.acknowledging(tell)
    return studies.solve(study, directory, variant, *["--resume"] * directory.exists())


def _examine(tally: Tally, ended: Ended, directory: Path, number: int) -> None:
    """What a killed run has left: readable, and at least as far as it had told."""
    tally.happened["signals"] += ended.code in KILLED
    tally.require(not ended.timed_out, "hangs", ended.stderr)
    tally.require("Traceback" not in ended.stderr, "tracebacks", ended.stderr)
    if number != signal.SIGKILL and ended.code > 0:
        tally.happened[f"exit code {ended.code}"] += 1
        told = {signal.SIGTERM: 143, signal.SIGINT: 130}[signal.Signals(number)]
        tally.require(ended.code == told, "wrong exit codes", ended)
    if ended.code == -number:
        tally.happened["killed on the spot"] += 1
    for name in (path.name for path in directory.glob("*.h5")):
        tally.happened["files read"] += 1
        try:
            reached = studies.stored(directory / name)
        except MfpdeError as error:
            tally.require(False, "unreadable files", error)
            continue
        tally.require(True, "unreadable files")
        told = [tuple(map(int, line.split()[1:])) for line in ended.lines if line.split()[0] == name]
        tally.happened["acknowledged saves"] += len(told)
        tally.require(reached >= max(told, default=(0, 0)), "acknowledged saves lost", (name, reached, told[-1:]))
    lost = {line.split()[0] for line in ended.lines} - {path.name for path in directory.glob("*.h5")}
    tally.require(not lost, "acknowledged saves lost", lost)


# ---- a signal at the default cadence -------------------------------------------------------------------------------


def last_checkpoint(size: int, folder: Path) -> Tally:
    """A signal where no save was due: what a run has recorded is in the file before it exits."""
    tally, chance = Tally("signal between two checkpoints"), random.Random(5)
    study = studies.write(folder)
    _straight(study, folder, "noise")
    directory = folder / "run"
    seconds = min(fork(partial(_recording, study=study, directory=folder / f"timed-{k}")).seconds for k in range(3))
    for case in range(2 * size):
        if tally.cases == size:
            break
        number, code = ((signal.SIGTERM, 143), (signal.SIGINT, 130))[case % 2]
        shutil.rmtree(directory, ignore_errors=True)
        after = chance.uniform(0.2, 1.0) * seconds
        ended = fork(partial(_recording, study=study, directory=directory), after=after, number=number)
        recorded: dict[str, int] = {}
        for line in ended.lines:
            recorded[line.split()[0]] = recorded.get(line.split()[0], 0) + 1
        if ended.code != code or not recorded:
            tally.happened["before the first record, or after the end"] += 1
            tally.require(ended.code in (0, code, -number), "wrong exit codes", ended)
            continue
        tally.cases += 1
        tally.require("Traceback" not in ended.stderr, "tracebacks", ended.stderr)
        for name, count in recorded.items():
            path = directory / name
            reached = studies.stored(path)[1] + (name == "particles.h5") if path.exists() else 0
            tally.require(reached == count, "records that are not in the file", (name, reached, count))
    return tally


def _recording(tell: Tell, study: Path, directory: Path) -> int:
    from mfpde.io import limit, particles

    for module, name in ((limit, "limit.h5"), (particles, "particles.h5")):
        _spy(module._Run, name, tell)
    return studies.solve(study, directory, "noise", "--checkpoint", "1e9")


def _spy(run: type, name: str, tell: Tell) -> None:
    record = run.record  # type: ignore[attr-defined]

    def told(self: object, *arguments: object) -> None:
        record(self, *arguments)
        tell(name)

    run.record = told  # type: ignore[attr-defined]


# ---- compare -------------------------------------------------------------------------------------------------------


def compare_kills(size: int, folder: Path) -> Tally:
    """SIGKILL of ``compare -o``: its inputs stay, its outputs are whole or absent, and the next one cleans up."""
    tally, chance = Tally("SIGKILL of compare"), random.Random(7)
    study, run = studies.write(folder), folder / "run"
    if studies.solve(study, run) != 0:
        raise RuntimeError("the run to compare failed")
    inputs = {path.name: path.read_bytes() for path in run.iterdir()}
    for _ in range(2):
        began = time.monotonic()
        _compare(None, run, folder / "straight")
        seconds = time.monotonic() - began
    whole = {path.name: path.read_bytes() for path in (folder / "straight").iterdir()}
    target = folder / "killed"
    work = partial(_compare, run=run, target=target)
    while tally.cases < size:
        shutil.rmtree(target, ignore_errors=True)
        for _ in range(min(10, size - tally.cases)):
            # the end is where it writes
            ended = fork(work, after=seconds * (1.1 - chance.random() ** 2))
            tally.cases += ended.code == -signal.SIGKILL
            tally.require(ended.code in (0, -signal.SIGKILL), "wrong exit codes", ended.stderr)
            for path in target.iterdir() if target.exists() else ():
                if path.name in whole:
                    tally.require(path.read_bytes() == whole[path.name], "torn outputs", path.name)
        tally.require(fork(work).code == 0, "runs that failed")
        found = {path.name: path.read_bytes() for path in target.iterdir()}
        tally.require(found.keys() == whole.keys(), "litter", sorted(found))
        tally.require(all(found.get(name) == data for name, data in whole.items()), "outputs that differ")
    tally.require({p.name: p.read_bytes() for p in run.iterdir()} == inputs, "inputs that were touched")
    return tally


def _compare(_: Tell | None, run: Path, target: Path) -> int:
    return main(["compare", str(run), "--metric", "convergence", "-o", str(target), "-q"])
