"""NaN that appears at any step of a run, and what checkpoints cost."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fault_campaigns import study as studies
from fault_campaigns.child import Tell, fork
from fault_campaigns.tally import Tally
from mfpde.io import store
from mfpde.steppers import grid, particles
from mfpde.tabulate import Tabulated

NUMERICAL = 5
# what returns NaN at its k-th call
PLACES = ("propagator", "predictions", "forces")


def not_a_number(size: int, folder: Path) -> Tally:
    """At every k-th call of a kernel of the limit or of the networks: exit 5, what was computed is saved and finite,
    and without the fault the run goes on to the same numbers."""
    tally, study = Tally("NaN from the k-th call of a kernel"), studies.write(folder)
    for _ in range(2):
        studies.solve(study, folder / "straight", "noise", "--overwrite")
    for place in PLACES:
        counted = fork(partial(_poisoned, study=study, directory=folder / "counted", place=place, k=0))
        shutil.rmtree(folder / "counted")
        total = int(counted.lines[-1])
        most = min(total, -(-size // len(PLACES)))
        for k in sorted({1 + i * total // most for i in range(most)}):
            _poison(tally, study, folder, place, k)
        tally.happened[f"calls of {place} in a run"] = total
    return tally


def _poison(tally: Tally, study: Path, folder: Path, place: str, k: int) -> None:
    directory, where = folder / "poisoned", f"{place}, call {k}"
    ended = fork(lambda tell: _poisoned(tell, study, directory, place, k))
    tally.cases += 1
    tally.happened[f"exit code {ended.code}"] += 1
    tally.require(ended.code == NUMERICAL, "exits other than 5", (where, ended))
    tally.require("Traceback" not in ended.stderr, "tracebacks", (where, ended.stderr))
    saved = {path.name for path in directory.glob("*.h5")} if directory.exists() else set()
    recorded = {line.split()[1] for line in ended.lines if line.startswith("recorded")}
    tally.require(recorded <= saved, "states that were not saved", (where, recorded, saved))
    for name in saved:
        bad = {k: v for k, v in store.not_finite(directory / name).items() if not k.endswith("dual")}
        tally.require(not bad, "saved numbers that are not finite", (where, bad))
    flags = ["--resume"] * directory.exists()
    again = fork(lambda _: studies.solve(study, directory, "noise", *flags))
    differs = again.code != 0 or studies.unequal(folder / "straight", directory)
    tally.require(not differs, "resumed runs that differ", (where, again))
    shutil.rmtree(directory)


def _poisoned(tell: Tell, study: Path, directory: Path, place: str, k: int) -> int:
    from mfpde.io import limit
    from mfpde.io import particles as networks

    for module, name in ((limit, "limit.h5"), (networks, "particles.h5")):
        _told(module._Run, name, tell)
    count = itertools.count(1)
    with np.errstate(all="ignore"), _patched(place, lambda: next(count) == k):
        code = studies.solve(study, directory, "noise", "--checkpoint", "1e9")
    tell(str(next(count) - 1))
    return code


def _told(run: type, name: str, tell: Tell) -> None:
    record = run.record  # type: ignore[attr-defined]

    def told(self: object, *arguments: object) -> None:
        record(self, *arguments)
        tell(f"recorded {name}")

    run.record = told  # type: ignore[attr-defined]


@contextmanager
def _patched(place: str, now: Any) -> Iterator[None]:
    owner, name = {
        "propagator": (grid.Propagator, "__call__"),
        "predictions": (Tabulated, "skeleton"),
        "forces": (particles, "integrate"),
    }[place]
    genuine = getattr(owner, name)

    def poisoned(*arguments: Any, **named: Any) -> Any:
        result = genuine(*arguments, **named)
        if not now():
            return result
        if place == "propagator":
            return np.full_like(result[0], np.nan), result[1]
        if place == "predictions":
            return np.full_like(result, np.nan)
        moved = arguments[0][0][0]  # of the first system, the networks themselves
        moved[0, 0, 0] = np.nan
        return result

    setattr(owner, name, poisoned)
    try:
        yield
    finally:
        setattr(owner, name, genuine)


# ---- checkpoints ---------------------------------------------------------------------------------------------------


def cadence(_: int, folder: Path) -> Tally:
    """Processor seconds of one save of the default study, as a share of the default interval of 30 seconds."""
    from mfpde.cli.main import main

    tally, spent = Tally("checkpoints of the default study"), [0.0]
    write = store.write

    def timed(*arguments: Any) -> None:
        began = time.perf_counter(), time.process_time()
        write(*arguments)
        tally.watch("seconds of one save, wall", time.perf_counter() - began[0])
        tally.watch("seconds of one save, processor", time.process_time() - began[1])
        spent[0] += time.process_time() - began[1]
        tally.cases += 1

    store.write = timed
    try:
        if main(["solve", "-o", str(folder / "run"), "--no-figures", "-q", "--threads", "1"]) != 0:
            raise RuntimeError("the default study failed")
    finally:
        store.write = write
    share = tally.largest["seconds of one save, processor"] / 30.0
    tally.watch("share of the default interval, per cent", 100.0 * share)
    tally.require(share <= 0.02, "shares above 2 %", share)
    return tally
