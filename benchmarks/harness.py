"""What the benchmarks share: a clean process per run, variants in turn, results checked before they are timed.

A script hands ``main`` a function ``measure(setting)``. For one thread and for two it is called in its own process,
pinned to as many cores, where every library has been told how many threads to use and NumPy's BLAS chooses the code
for this processor by itself. Variants run round-robin; a call is timed by processor time and by wall time, and a
variant whose result differs from the reference is a defect, not a competitor. A library that is absent is named.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from installation import DISTRIBUTIONS, blas, environment, machine, versions
from tables import Table, Timing, median_ratio, render_table
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Setting:
    """How one process measures: cores it may use, a smoke run, and whether other libraries take part."""

    threads: int
    quick: bool
    peers: bool

    def pick(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full


@dataclass(frozen=True)
class Variant:
    """A competitor: ``call`` does the work once and returns its result; None: it cannot run, for ``reason``."""

    name: str
    call: Callable[[], Any] | None
    reason: str = ""


@dataclass
class Part:
    """What one process found.

    ``ahead`` lists (where, peer, how many times faster than mfpde) wherever a peer wins; ``defects`` are competitors
    with a wrong result, and any makes the script fail.
    """

    tables: list[Table] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    ahead: list[list[str]] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)


def compare(
    variants: Sequence[Variant],
    check: Callable[[Any], float],
    tolerance: float,
    rounds: int = 9,
    patience: float = 5.0,
    clocks: tuple[Callable[[], float], Callable[[], float]] = (time.process_time, time.perf_counter),
    untimed: int = 0,
) -> list[Timing]:
    """Time the variants in turn, ``rounds`` times each or until one of them has used up ``patience`` seconds.

    The first call of each, compilation included, is not timed but checked: ``check(result)`` is its distance from the
    reference and must not exceed ``tolerance``. A variant that fails or errs keeps a note instead of times. Every
    timed call follows ``untimed`` ones of the same variant, so that nobody pays for what the variant before it left
    behind: memory that a library gives back to the system after its call (JAX, milliseconds), and caches, of which the
    last one, filled by what the others let go, takes several calls.
    """
    timings = [Timing(variant.name, note=variant.reason) for variant in variants]
    running: list[tuple[Callable[[], Any], Timing]] = []
    for variant, timing in zip(variants, timings, strict=True):
        if variant.call is None:
            continue
        try:
            timing.error = check(variant.call())
        except Exception as error:  # whatever a peer raises must not end the comparison of the others
            timing.note = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:90] if str(error) else ''}"
            continue
        if timing.error <= tolerance:
            running.append((variant.call, timing))
        else:
            timing.note = f"wrong: differs by {timing.error:.1e}"
    process_clock, wall_clock = clocks
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for call, timing in running:
                if sum(timing.wall) > patience:
                    continue
                for _ in range(untimed):
                    call()
                process, wall = process_clock(), wall_clock()
                call()
                timing.wall.append(wall_clock() - wall)
                timing.cpu.append(process_clock() - process)
    finally:
        gc.enable()
    return timings


def record(part: Part, timings: Sequence[Timing], clock: str, label: str, **where: Any) -> None:
    """Enter the timings of one comparison, the first being mfpde's: raw times, wrong results, peers that are ahead."""
    for timing in timings:
        part.measurements.append({"comparison": label, **where, **asdict(timing)})
        if timing.note.startswith("wrong"):
            part.defects.append(f"{label}, {timing.name}: {timing.note}")
        ratio = median_ratio(timing, timings[0], clock)
        if ratio is not None and ratio < 1.0:
            part.ahead.append([label, timing.name, f"{1.0 / ratio:.2f}"])


def peer(name: str, setting: Setting) -> ModuleType | None:
    """The module of another library, or None; see ``absence`` for the reason to print."""
    if not setting.peers:
        return None
    try:
        return importlib.import_module(name)
    except Exception:  # broken installations raise anything from ImportError to AttributeError
        return None


def absence(name: str, setting: Setting) -> str:
    """Why ``peer`` gave None."""
    distribution = DISTRIBUTIONS[name]
    if not setting.peers:
        return f"missing: {distribution} left out by --without-peers"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return f"missing: {distribution} is not installed"
    except Exception as error:
        return f"missing: {distribution} {metadata.version(distribution)} does not load ({type(error).__name__})"
    return ""


def fastest(candidates: dict[str, Callable[[], Any]]) -> tuple[str, Callable[[], Any]]:
    """The candidate with the shortest call: a peer whose block size can be chosen is measured at its best."""
    seconds: dict[str, float] = {}
    for name, call in candidates.items():
        call()  # compilation is not part of the choice
        began = time.process_time()
        call()
        seconds[name] = time.process_time() - began
    best = min(seconds, key=lambda name: seconds[name])
    return best, candidates[best]


def main(name: str, measure: Callable[[Setting], Part], description: str, threads: Sequence[int] = (1, 2)) -> None:
    """Run ``measure`` for each number of threads, print Markdown, write ``results/NAME.json``; exit 1 on a defect."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: small cases, few repeats")
    parser.add_argument("--without-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--threads", type=int, nargs="+", default=list(threads), metavar="N")
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json", metavar="FILE")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)  # of a measuring process: where its part goes
    args = parser.parse_args()
    if args.part is not None:
        setting = Setting(args.threads[0], args.quick, not args.without_peers)
        with threadpool_limits(setting.threads):
            part = measure(setting)
        args.part.write_text(json.dumps({**asdict(part), "blas": blas()}), encoding="utf-8")
        return
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    usable = [count for count in args.threads if count <= available]
    parts = [_measure_apart(count, sys.argv) for count in usable]
    report = assemble(name, args.quick, parts)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=1), encoding="utf-8")
    tables = "\n\n".join(render_table(table) for table in report["tables"])
    print(f"# {name}\n\n{summary_line(report)}\n\n{tables}")
    for count in sorted(set(args.threads) - set(usable)):
        print(f"\nnot run: {count} threads, {available} cores may be used")
    if report["defects"]:
        raise SystemExit("wrong results: " + "; ".join(report["defects"]))


def assemble(name: str, quick: bool, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The JSON report of one benchmark from the parts of its processes."""
    return {
        "benchmark": name,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "quick": quick,
        "machine": machine(),
        "versions": versions(),
        "missing": sorted(set(DISTRIBUTIONS.values()) - set(versions())),
        "blas": sorted({line for part in parts for line in part["blas"]}),
        "tables": [table for part in parts for table in part["tables"]],
        "measurements": [entry for part in parts for entry in part["measurements"]],
        "ahead": [row for part in parts for row in part["ahead"]],
        "defects": [line for part in parts for line in part["defects"]],
    }


def summary_line(report: dict[str, Any]) -> str:
    """Machine, versions, BLAS and missing libraries in a few sentences."""
    m = report["machine"]
    caches = ", ".join(f"{key} {value}" for key, value in m.items() if key.startswith("L"))
    listed = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    missing = f" Missing: {', '.join(report['missing'])}." if report["missing"] else ""
    smoke = " A smoke run: the figures mean nothing." if report["quick"] else ""
    return (
        f"{m['processor']} (family {m['family']}), {m['cores']} cores, {m.get('memory_gib', '?')} GiB, {caches}; "
        f"Python {m['python']}, {listed}. BLAS: {'; '.join(report['blas'])}.{missing}{smoke}"
    )


def _measure_apart(threads: int, argv: Sequence[str]) -> dict[str, Any]:
    """Run this script again in a clean environment on ``threads`` cores and read what it found."""

    def pin() -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])

    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.json"
        command = [sys.executable, *argv, "--threads", str(threads), "--part", str(part)]
        done = subprocess.run(command, env=environment(threads), preexec_fn=pin, stdout=sys.stderr, check=False)
        if done.returncode != 0 or not part.is_file():
            raise SystemExit(f"{argv[0]} failed with {threads} threads")
        found: dict[str, Any] = json.loads(part.read_text(encoding="utf-8"))
        return found
