"""Two runs that want one directory, and a reader that looks at a file while it is rewritten."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np

from fault_campaigns import study as studies
from fault_campaigns.child import Tell, fork
from fault_campaigns.tally import Tally
from mfpde.errors import MfpdeError
from mfpde.io import store

IN_USE, TAKEN = 6, 2


def two_writers(size: int, folder: Path) -> Tally:
    """Two ``solve`` start at once into one directory: one wins, the other is told so, and the output is whole."""
    tally, study = Tally("two writers on one output"), studies.write(folder)
    for _ in range(2):
        studies.solve(study, folder / "straight", "noise", "--overwrite")
    for _ in range(size):
        directory = folder / "both"
        ended = fork(partial(_two, study=study, directory=directory))
        codes, seconds = zip(*((int(c), float(s)) for c, s in (line.split() for line in ended.lines)), strict=True)
        tally.cases += 1
        tally.require(codes.count(0) == 1, "rounds without exactly one winner", codes)
        loser = max(range(2), key=lambda k: codes[k])
        tally.happened[f"loser exits {codes[loser]}"] += 1
        tally.require(codes[loser] in (IN_USE, TAKEN), "losers with another exit code", ended)
        if codes[loser] == IN_USE:
            tally.watch("processor seconds until it is told", seconds[loser])
        tally.require(not studies.unequal(folder / "straight", directory), "outputs that differ")
        tally.require(studies.listing(directory) == studies.FILES, "litter", studies.listing(directory))
        shutil.rmtree(directory)
    return tally


def _two(tell: Tell, study: Path, directory: Path) -> int:
    """Both wait for one pipe to close, then start."""
    read, write = os.pipe()
    children = []
    for _ in range(2):
        process = os.fork()
        if process == 0:
            os.close(write)
            os.read(read, 1)
            began = time.process_time()
            code = studies.solve(study, directory)
            tell(f"{code} {time.process_time() - began}")
            os._exit(0)
        children.append(process)
    os.close(write)
    for process in children:
        os.waitpid(process, 0)
    return 0


def reader(size: int, folder: Path) -> Tally:
    """A file is rewritten ``size`` times while another process reads it: always one whole version, never an older one
    after a newer one."""
    tally, path = Tally("reader during rewrites"), folder / "x.h5"
    _version(path, 0)
    process = os.fork()
    if process == 0:
        for k in range(1, size + 1):
            _version(path, k)
        os._exit(0)
    last = 0
    while os.waitpid(process, os.WNOHANG)[0] == 0:
        last = _look(tally, path, last)
    last = _look(tally, path, last)
    tally.cases = size
    tally.require(last == size, "last version not seen", last)
    return tally


def _version(path: Path, k: int) -> None:
    values = np.full((50, 40), float(k))
    group = store.Group({"x": store.Variable(("time", "node"), values)})
    store.write(path, {"/limit": group}, store.provenance("", "", k, False))


def _look(tally: Tally, path: Path, last: int) -> int:
    try:
        contents = store.read(path)
    except MfpdeError as error:
        tally.require(False, "reads that failed", error)
        return last
    k = int(contents.attributes["seed"])
    tally.happened["reads"] += 1
    tally.require(True, "reads that failed")
    tally.require(bool(np.all(contents.groups["/limit"].variables["x"].data == k)), "torn reads", k)
    tally.require(k >= last, "older versions after newer ones", (k, last))
    return k
