"""What it costs to start: imports, answers without numerics, the first and the second run of a study.

Every command is a process of its own, the commands in turn; processor time of the whole process, threads included. The
compiled functions go to an empty directory first, so that the first run is a first run. The overhead of a run is its
processor time less that of the same run repeated inside one process, where everything is imported, compiled and loaded;
it is taken from a study cut short, because it would be lost in the noise of the seconds that the whole one computes.
Run: python benchmarks/start.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import Part, Setting, main
from tables import Table, number

TARGET = 1.5  # seconds of overhead

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import numba": ["-c", "import numba"],
    "import mfpde": ["-c", "import mfpde"],
    "mfpde --help": ["-m", "mfpde", "--help"],
    "mfpde solve --help": ["-m", "mfpde", "solve", "--help"],
    "mfpde studies": ["-m", "mfpde", "studies"],
    "mfpde solve --dry-run": ["-m", "mfpde", "solve", "--dry-run", "--json"],
}
STUDY = ["solve", "--overwrite", "-q", "-o"]
SHORT = ["--set", "training.time=0.2", "--set", "grid.cells=[24, 24]", "--set", "particles.widths=[16]"]

# runs a command line once, counts what Numba compiles, then runs it again in the same process
TWICE = """
import json, sys, time
from numba.core import event
from mfpde.cli.main import main
with event.install_recorder("numba:compile") as record:
    code = main(sys.argv[2:])
compiled = sum(1 for _, found in record.buffer if found.is_start)
process, wall = time.process_time(), time.perf_counter()
code = code or main(sys.argv[2:])
again = {"cpu": time.process_time() - process, "wall": time.perf_counter() - wall}
with open(sys.argv[1], "w") as file:
    json.dump({"compiled": compiled, **again}, file)
sys.exit(code)
"""


# runs a command line and notes what it cost. The largest resident size of a process counts that of the one that started
# it, so that a benchmark, which holds much memory itself, starts this small one in between
BETWEEN = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[2:])
wall = time.perf_counter() - began
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump({"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "memory": usage.ru_maxrss}, file)
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one process, and its largest resident size in bytes."""

    cpu: float
    wall: float
    memory: int


def cost_of(arguments: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run the interpreter with ``arguments``; RuntimeError with its last line if it fails."""
    with tempfile.NamedTemporaryFile() as noted, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-c", BETWEEN, noted.name, sys.executable, *arguments]
        if subprocess.run(command, env=dict(environment), stdout=log, stderr=log).returncode != 0:
            log.seek(0)
            raise RuntimeError(f"{' '.join(arguments)[:80]}: {log.read().decode(errors='replace').strip()[-300:]}")
        cost = Cost(**json.load(noted))
    return cost if sys.platform == "darwin" else replace(cost, memory=1024 * cost.memory)


def measure(setting: Setting) -> Part:
    part = Part()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        short = [*STUDY, str(Path(folder) / "out"), *SHORT]
        study = short if setting.quick else short[: -len(SHORT)]
        noted = Path(folder) / "noted.json"
        both = cost_of(["-c", TWICE, str(noted), *study], environment)
        cold = json.loads(noted.read_text(encoding="utf-8"))
        part.tables.append(_imports(part, setting, environment))
        repeats = setting.pick(5, 1)
        seconds = [cost_of(["-m", "mfpde", *study], environment) for _ in range(repeats)]
        cost_of(["-c", TWICE, str(noted), *study], environment)
        warm = json.loads(noted.read_text(encoding="utf-8"))
        differences = [_overhead(short, noted, environment) for _ in range(repeats)]
    first = {clock: getattr(both, clock) - cold[clock] for clock in ("cpu", "wall")}
    second = statistics.median(cost.cpu for cost in seconds)
    overhead = statistics.median(differences)
    rows = [
        ["first run, nothing compiled", number(first["cpu"]), number(first["wall"]), str(cold["compiled"])],
        [
            "second run",
            number(second),
            number(statistics.median(cost.wall for cost in seconds)),
            str(warm["compiled"]),
        ],
        ["the same inside a process that has run it", number(warm["cpu"]), number(warm["wall"]), "–"],
        [f"overhead of a run, from a short one (target {TARGET} s)", number(overhead), "–", "–"],
    ]
    columns = ["`mfpde solve`, the default study", "cpu s", "wall s", "functions compiled"]
    part.tables.append(Table("Runs of a study", columns, rows))
    part.measurements.append(
        {
            "first": first,
            "second": [vars(cost) for cost in seconds],
            "again": warm,
            "compiled_first": cold["compiled"],
            "overhead": differences,
        }
    )
    return part


def _overhead(study: Sequence[str], noted: Path, environment: Mapping[str, str]) -> float:
    """Seconds of processor time that a process spends on a study beside what the study itself takes."""
    cost_of(["-c", TWICE, str(noted), *study], environment)
    again = json.loads(noted.read_text(encoding="utf-8"))["cpu"]
    return cost_of(["-m", "mfpde", *study], environment).cpu - float(again)


def _imports(part: Part, setting: Setting, environment: Mapping[str, str]) -> Table:
    costs: dict[str, list[Cost]] = {name: [] for name in COMMANDS}
    for _ in range(setting.pick(9, 1) + 1):
        for name, arguments in COMMANDS.items():
            costs[name].append(cost_of(arguments, environment))
    rows = []
    for name, found in costs.items():
        timed = found[1:]  # the first one reads files that later ones find in memory
        cpu, wall = [1e3 * cost.cpu for cost in timed], [1e3 * cost.wall for cost in timed]
        rows.append([f"`{name}`", number(min(cpu)), number(statistics.median(cpu)), number(statistics.median(wall))])
        part.measurements.append({"command": name, "cpu": cpu, "wall": wall})
    return Table("Processes without numerics, ms", ["process", "cpu min", "cpu median", "wall median"], rows)


if __name__ == "__main__":
    main("start", measure, __doc__, threads=(2,))
