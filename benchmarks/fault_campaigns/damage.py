"""Flipped bits and truncations of real outputs, read in children that may crash or hang."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fault_campaigns import study as studies
from fault_campaigns.child import Tell, fork
from fault_campaigns.tally import Tally
from mfpde.cli.main import main
from mfpde.errors import MfpdeError
from mfpde.io import store

GOLDEN = Path(__file__).resolve().parent.parent.parent / "tests" / "data" / "golden"
BATCH = 50
# seconds in which a batch is read, many times over
LIMIT = 120.0

Damage = tuple[str, int]


def flipped_bits(size: int, folder: Path) -> Tally:
    """One bit each: the file is refused with exit code 4, or every value and attribute still reads the same."""
    return _damaged(Tally("single flipped bits"), size, folder, "flip")


def truncations(size: int, folder: Path) -> Tally:
    """Cut anywhere: always refused."""
    tally = _damaged(Tally("truncations"), size, folder, "cut")
    tally.require(tally.happened["read the same"] == 0, "truncated files that were read")
    return tally


def _outputs(folder: Path) -> list[Path]:
    """limit.h5 and particles.h5 of a run of this version, and the stored outputs of all kinds."""
    if studies.solve(studies.write(folder), folder / "run") != 0:
        raise RuntimeError("the run to damage failed")
    return sorted((folder / "run").glob("*.h5")) + sorted(GOLDEN.glob("**/*.h5"))


def _damaged(tally: Tally, size: int, folder: Path, kind: str) -> Tally:
    chance, outputs = random.Random(kind), _outputs(folder)
    tally.note = ", ".join(f"{path.name} {path.stat().st_size} bytes" for path in outputs)
    for number, path in enumerate(outputs):
        length = path.stat().st_size
        count = size * (number + 1) // len(outputs) - size * number // len(outputs)
        places = [(kind, chance.randrange(8 * length if kind == "flip" else length)) for _ in range(count)]
        for first in range(0, count, BATCH):
            _read_batch(tally, path, places[first : first + BATCH])
    return tally


def _read_batch(tally: Tally, path: Path, batch: Sequence[Damage]) -> None:
    """Read all of them in a child; where it dies the rest goes to another."""
    while batch:
        part = list(batch)
        ended = fork(partial(_read_all, path=path, batch=part), limit=LIMIT)
        for place, line in zip(part, ended.lines, strict=False):
            if line in ("refused", "read the same"):
                tally.happened[line] += 1
            tally.require(line != "silently wrong", "silent wrong values", (path.name, place))
            tally.require(not line.startswith("exit"), "exits other than 0 and 4", line)
        done = len(ended.lines)
        tally.cases += done
        if tally.require(ended.code == 0, "crashes", (path.name, part[done : done + 1], ended)):
            return
        tally.cases, batch = tally.cases + 1, batch[done + 1 :]


def _read_all(tell: Tell, path: Path, batch: Sequence[Damage]) -> int:
    whole, reference = path.read_bytes(), store.read(path)
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / path.name
        for kind, place in batch:
            data = bytearray(whole[:place] if kind == "cut" else whole)
            if kind == "flip":
                data[place // 8] ^= 1 << place % 8
            damaged.write_bytes(data)
            tell(_outcome(damaged, reference))
    return 0


def _outcome(path: Path, reference: store.Contents) -> str:
    try:
        same = _equal(store.read(path), reference)
    except MfpdeError as error:
        return "refused" if error.exit_code == 4 else f"exit {error.exit_code}"
    if not same:
        return "silently wrong"
    code = main(["check", str(path), "-q"])
    return "read the same" if code in (0, 4) else f"exit {code}"


def _equal(one: store.Contents, other: store.Contents) -> bool:
    found, wanted = list(_everything(one)), list(_everything(other))
    return len(found) == len(wanted) and all(map(_same, found, wanted))


def _everything(contents: store.Contents) -> Iterator[Any]:
    yield contents.attributes
    for name, group in contents.groups.items():
        yield name, group.attributes
        for key, variable in group.variables.items():
            yield key, variable.dims, variable.attrs
            yield variable.data


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return repr(one) == repr(other)
