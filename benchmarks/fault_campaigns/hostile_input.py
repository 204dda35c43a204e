"""Files and words that were made to do harm, and those that hypothesis makes up: the inputs of the tests, in number."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fault_campaigns import study as studies
from fault_campaigns.child import Tell, fork
from fault_campaigns.tally import Tally
from mfpde.cli.main import main

TESTS = Path(__file__).resolve().parent.parent.parent / "tests"
sys.path.insert(0, str(TESTS))

SECONDS, BYTES = 1.0, 500_000_000
# every verb that reads an output, and a study that names the file as its data
READERS = {
    "check": ["check", "{file}"],
    "info": ["info", "{file}"],
    "compare": ["compare", "{file}", "{file}"],
    "diff": ["compare", "{file}", "{file}", "--rtol", "0"],
    "plot": ["plot", "{file}", "-o", "{folder}"],
    "export": ["export", "{file}", "--to", "csv", "-o", "{folder}"],
}


def hostile_files(size: int, folder: Path) -> Tally:
    """Every kind of hostile file under every verb that reads one: exit 4, within a second and 500 MB."""
    import hostile

    tally, secret = Tally("hostile HDF5 files"), folder / "secret.txt"
    studies.solve(studies.write(folder), folder / "run")  # imports what a verb imports, once for all forks
    for command in READERS.values():
        fork(partial(_timed, command=command, path=folder / "run" / "limit.h5", folder=folder / "drawn"))
    kinds = list(hostile.KINDS)[:size]
    for number, kind in enumerate(kinds):
        path = folder / f"hostile-{number}.h5"
        hostile.write(kind, path, secret)
        for verb, command in READERS.items():
            target = folder / f"out-{number}-{verb}"
            ended = fork(partial(_timed, command=command, path=path, folder=target), limit=60.0)
            tally.cases += 1
            seconds = float(ended.lines[0]) if ended.lines else ended.seconds
            tally.watch("seconds", seconds)
            tally.watch("peak MB, libraries included", ended.peak_bytes / 1e6)
            tally.require(ended.code == 4, "files that were read", (kind, verb, ended))
            tally.require(seconds < SECONDS, "refusals that took a second", (kind, verb, seconds))
            tally.require(ended.peak_bytes < BYTES, "refusals that took 500 MB", (kind, verb, ended.peak_bytes))
            tally.require(hostile.SECRET not in ended.stderr, "secrets told", (kind, verb))
            tally.require(not target.exists(), "litter", (kind, verb))
    tally.note = f"{len(kinds)} kinds x {len(READERS)} verbs"
    return tally


def _timed(tell: Tell, command: list[str], path: Path, folder: Path) -> int:
    began = time.process_time()
    code = _run(command, path, folder)
    tell(str(time.process_time() - began))
    return code


def _run(command: list[str], path: Path, folder: Path) -> int:
    return main([word.format(file=path, folder=folder) for word in command])


def fuzzed_input(size: int, folder: Path) -> Tally:
    """Made-up studies, ``--set`` values, data files, outputs and command lines: never a traceback, always a name."""
    import fuzzed

    tally = Tally("fuzzed input")
    for kind, (feed, share) in fuzzed.CASES.items():
        count = max(1, round(share * size))
        ended = fork(partial(_fuzz, feed=feed, count=count, folder=folder), limit=3600.0)
        fed = int(ended.lines[-1]) if ended.lines else 0
        tally.cases += fed
        tally.happened[kind] = fed
        tally.require(ended.code == 0, "inputs with another answer than a result or a sentence", (kind, ended.stderr))
    return tally


def _fuzz(tell: Tell, feed: Callable[[Any, Path], None], count: int, folder: Path) -> int:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    seen = [0]

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def fed(draw: st.DataObject) -> None:
        seen[0] += 1
        feed(draw, folder)

    try:
        fed()
    finally:
        tell(str(seen[0]))
    return 0
