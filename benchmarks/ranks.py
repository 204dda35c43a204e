"""Ranks: one wide network shared by MPI processes, the same bits, strong and weak scaling, bytes and flops of a step.

Every rank has one thread, and all are pinned to the two cores of this process, so that four ranks are two on a core. A
number is the median, and the least, of the wall time of a step over intervals of several steps, exchanges included,
snapshots not; the launches come in turn. On a machine that others use too, more processes get more of it: what a rank
has to do is its processor time in the forces, exchanges left out, and what it waits for the least time of an exchange.
Bytes are counted where they are sent, flops come from the formulas: 4 d + 6 and the activation for a neuron on a node,
whose value tells the slope, 4 d and 40 for a pair of neurons. Run: python benchmarks/ranks.py
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import Part, Setting, main
from interaction import BOTH
from tables import Table, number

from mfpde import datalaws, ensemble
from mfpde.core import parallel
from mfpde.core.ranks import ALONE
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.problem import Network, Population, Problem, network_coordinates

PAIR_OPERATIONS = 40  # of the closed form of a pair, beside its products of d numbers


@dataclass(frozen=True)
class Case:
    """One network of N = ``width``: on ``nodes`` data points in d = ``inputs``, or with pair forces where nodes = 0."""

    name: str
    width: int
    nodes: int
    inputs: int
    steps: int

    @property
    def flops(self) -> float:
        """Of one step of Euler's scheme, noise and update left out."""
        if self.nodes:
            return float(self.width) * self.nodes * (4 * self.inputs + 6 + BOTH["tanh"]["float64"])
        return float(self.width) ** 2 * (4 * self.inputs + PAIR_OPERATIONS)


@dataclass(frozen=True)
class Launch:
    """``ranks`` processes of ``threads`` threads."""

    ranks: int
    threads: int = 1

    @property
    def name(self) -> str:
        if self.threads > 1:
            return f"1 rank, {self.threads} threads"
        return {1: "1 rank", 4: "4 ranks, two on a core"}.get(self.ranks, f"{self.ranks} ranks")


def problem_of(case: Case) -> Problem:
    """A tanh network on random data, or the erf network of a single-index target in the full dimension."""
    decay = dict.fromkeys("awb", 0.1)
    if case.nodes:
        rng = np.random.default_rng(5)
        data = datalaws.nodes(rng.standard_normal((case.nodes, case.inputs)), rng.standard_normal(case.nodes))
    else:
        data = datalaws.gaussian(Population(case.inputs, "hermite", (0.0, 1.0, 0.0, 0.4)))
    coordinates = network_coordinates(data.blocks, ("w",), False, decay, dict.fromkeys("awb", 1.0))
    return Problem(Network("tanh" if case.nodes else "erf"), data, "square", 0.02, coordinates)


@dataclass
class Ledger:
    """Of one rank: bytes sent, seconds of every exchange by both clocks, processor time of every call of the forces."""

    sent: int = 0
    waited: list[float] = field(default_factory=list)
    exchanging: float = 0.0
    forces: list[float] = field(default_factory=list)


class Timed:
    """A force that notes the processor time it takes without exchanges."""

    def __init__(self, force: Any, ledger: Ledger) -> None:
        self._force, self._ledger = force, ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._force, name)

    def gradient(self, *arguments: Any) -> None:
        began, before = time.process_time(), self._ledger.exchanging
        self._force.gradient(*arguments)
        self._ledger.forces.append(time.process_time() - began - (self._ledger.exchanging - before))


def world(ledger: Ledger) -> Any:
    """The ranks of this launch, which keep the ledger."""
    from mpi4py import MPI

    from mfpde.cli.messages import World

    class Counted(World):
        def everywhere(self, part: Any, counts: Sequence[int]) -> Any:
            ledger.sent += 8 * (part.size + 1)
            process, wall = time.process_time(), time.perf_counter()
            found = super().everywhere(part, counts)
            ledger.waited.append(time.perf_counter() - wall)
            ledger.exchanging += time.process_time() - process
            return found

    return Counted(MPI)


def work(case: Case, launch: Launch, intervals: int, report: Path) -> None:
    """What every launched process does; the first one writes ``report``."""
    ledger = Ledger()
    ranks = ALONE if launch.ranks == 1 else world(ledger)
    law = InitialLaw(GroupLaw("rademacher"), GroupLaw("normal"), GroupLaw("normal"), case.inputs)
    settings = ensemble.EnsembleSettings((case.width,), 1, 0.01, scheme="euler", coupling="independent")
    prepared = ensemble.prepare(problem_of(case), law, settings, ranks=ranks)
    prepared = replace(prepared, force=Timed(prepared.force, ledger))
    times = 0.01 * case.steps * np.arange(intervals + 2)
    seconds, sent, last = [], [], 0
    with parallel.team(launch.threads) if launch.threads > 1 else nullcontext():
        for snapshot in ensemble.evolve_ensemble(prepared, times):
            seconds.append(snapshot.wall[case.width] / case.steps)
            sent.append(ledger.sent - last)
            last = ledger.sent
            if snapshot.index == len(times) - 1 and snapshot.records:
                found = {
                    "seconds": seconds[2:],  # the first interval compiles
                    "forces": ledger.forces[case.steps :],
                    "waited": ledger.waited,
                    "digest": hashlib.sha256(snapshot.records[0].theta.tobytes()).hexdigest(),
                    "sent": (sent[-1] - sent[0]) / case.steps,  # what a snapshot exchanges is its own
                }
                report.write_text(json.dumps(found), encoding="utf-8")


def launched(case: Case, launch: Launch, intervals: int) -> dict[str, Any]:
    """What the first process of a launch reports."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        told = json.dumps({"case": asdict(case), "launch": asdict(launch), "intervals": intervals})
        command = [sys.executable, __file__, "--work", told, str(report)]
        if launch.ranks > 1:
            command = [str(mpiexec()), "-iface", "lo", "-n", str(launch.ranks), *command]
        subprocess.run(command, env={**os.environ, "FI_TCP_IFACE": "lo"}, stdout=sys.stderr, check=True)
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def mpiexec() -> str | None:
    """That of the environment this runs in, else the first on the path."""
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    return shutil.which("mpiexec", path=os.pathsep.join(folders))


def measure(setting: Setting) -> Part:
    """Strong scaling of both kinds of forces, weak scaling on data."""
    if importlib.util.find_spec("mpi4py") is None or mpiexec() is None:
        why = "Not measured: mpi4py or mpiexec is missing, pip install 'mfpde[mpi]'."
        return Part(tables=[Table("Ranks", ["launch"], [[why]])], measurements=[{"note": why}])
    part = Part()
    launches = [Launch(1), Launch(2), *setting.pick([Launch(1, 2), Launch(4)], [])]
    n, pairs, steps = setting.pick((262_144, 16_384, 4), (8192, 8192, 2))
    strong = {launch: Case("data nodes, strong", n, 256, 10, steps) for launch in launches}
    by_pairs = {launch: Case("pair forces, strong", pairs, 0, 10, 1) for launch in launches}
    weak = {
        launch: Case("data nodes, weak", n // 2 * launch.ranks, 256, 10, steps)
        for launch in launches
        if launch.threads == 1
    }
    for title, cases in (
        (f"Strong scaling on 256 data nodes in 10 inputs, N = {n}", strong),
        (f"Strong scaling of pair forces in 10 inputs, N = {pairs}", by_pairs),
        (f"Weak scaling on 256 data nodes in 10 inputs, N = {n // 2} per rank", weak),
    ):
        part.tables.append(_table(title, cases, setting, part))
    return part


def _table(title: str, cases: dict[Launch, Case], setting: Setting, part: Part) -> Table:
    rounds, intervals = setting.pick((2, 5), (1, 2))
    found: dict[Launch, list[dict[str, Any]]] = {launch: [] for launch in cases}
    for _ in range(rounds):
        for launch, case in cases.items():
            found[launch].append(launched(case, launch, intervals))
    digests = {one["digest"] for runs in found.values() for one in runs}
    alike = len({case.width for case in cases.values()}) == 1
    if alike and len(digests) > 1:
        part.defects.append(f"{title}: the launches do not give the same bits")

    def all_of(launch: Launch, what: str) -> list[float]:
        return [value for one in found[launch] for value in one[what]]

    first = next(iter(cases))
    rows = []
    for launch, case in cases.items():
        wall, forces, waited = (all_of(launch, what) for what in ("seconds", "forces", "waited"))
        growth, share = case.flops / cases[first].flops, statistics.median(forces)
        rows.append(
            [
                launch.name,
                str(case.width),
                number(1e3 * statistics.median(wall)),
                number(1e3 * min(wall)),
                f"{growth * min(all_of(first, 'seconds')) / min(wall):.2f}",
                number(1e3 * share),
                f"{growth * statistics.median(all_of(first, 'forces')) / share:.2f}",
                number(1e3 * min(waited)) if waited else "–",
                f"{found[launch][0]['sent']:.0f}",
                number(case.flops / launch.ranks / 1e6),
            ]
        )
        runs = [{"launch": asdict(launch), "case": asdict(case), **one} for one in found[launch]]
        part.measurements += [{"table": title, **one} for one in runs]
    columns = ["launch", "N", "step, ms", "least, ms", "gain of the least", "forces of a rank, cpu ms", "gain"]
    columns += ["least exchange, ms", "bytes sent per step by rank 0", "Mflop per step and rank"]
    return Table(title, columns, rows, "All launches end in the same bits." if alike and not part.defects else "")


if __name__ == "__main__":
    if "--work" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--work", nargs=2)
        given, path = parser.parse_args().work
        plan = json.loads(given)
        work(Case(**plan["case"]), Launch(**plan["launch"]), plan["intervals"], Path(path))
    else:
        main("ranks", measure, __doc__, threads=(2,))
