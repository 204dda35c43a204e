"""Ranks: whatever their number, every bit of an ensemble is that of one process; launched, they end as one program."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from mfpde import datalaws, ensemble
from mfpde.cli.main import main
from mfpde.core import pairs, parallel, passes
from mfpde.core.activations import CODES
from mfpde.core.gradient import Room, gradient_batch
from mfpde.core.ranks import ALONE, Ranks, divide, network_spans
from mfpde.core.tiles import WIDEST
from mfpde.ensemble import EnsembleSettings, EnsembleSnapshot
from mfpde.errors import NumericalError
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.io import store
from mfpde.io.difference import differences
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, TwoGaussians, network_coordinates
from mfpde.steppers.drive import Drive

NONE = np.zeros(1)
NORMAL = GroupLaw("normal")


# ---- ranks that are threads of this process ------------------------------------------------------------------------


class Group:
    """Ranks of one process: what each gives lies on a table that all read between two barriers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.table: list[Any] = [None] * size
        self.barrier = threading.Barrier(size)
        self.numbers = 0  # sent to all others, summed over the ranks

    def run(self, work: Callable[[Ranks], Any]) -> list[Any]:
        """work(rank) on every rank; an error of one is raised here."""
        results: list[Any] = [None] * self.size
        errors: list[BaseException | None] = [None] * self.size

        def one(rank: int) -> None:
            try:
                results[rank] = work(Member(self, rank))
            except threading.BrokenBarrierError:
                pass
            except BaseException as error:
                errors[rank] = error
                self.barrier.abort()

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120.0)
        found = [error for error in errors if error is not None]
        if found:
            raise found[0]
        return results


class Member:
    """One rank of a group."""

    def __init__(self, group: Group, rank: int) -> None:
        self.group, self.rank, self.size = group, rank, group.size

    def _laid_out(self, value: Any) -> list[Any]:
        # a copy, as a message is: the sender goes on before all have read
        self.group.table[self.rank] = value.copy() if isinstance(value, np.ndarray) else value
        self.group.barrier.wait(60.0)
        values = list(self.group.table)
        self.group.barrier.wait(60.0)
        return values

    def everywhere(self, part: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        parts = self._laid_out(part)
        assert [len(one) for one in parts] == list(counts)
        if self.rank == 0:
            self.group.numbers += sum(counts)
        return np.concatenate(parts)

    def at_first(self, part: np.ndarray, counts: Sequence[int]) -> np.ndarray | None:
        parts = self._laid_out(part)
        assert [len(one) for one in parts] == list(counts)
        return np.concatenate(parts) if self.rank == 0 else None

    def from_first(self, whole: np.ndarray | None, counts: Sequence[int]) -> np.ndarray:
        edges = np.concatenate([[0], np.cumsum(counts)])
        found = self._laid_out(whole)[0]
        assert edges[-1] == len(found)
        return found[edges[self.rank] : edges[self.rank + 1]].copy()

    def told(self, value: Any) -> Any:
        return self._laid_out(value)[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        self.told(None)
        yield


# ---- how a width is cut --------------------------------------------------------------------------------------------


@given(width=st.integers(1, 400_000), replicas=st.integers(1, 12), size=st.integers(1, 9), divisible=st.booleans())
def test_every_particle_of_every_replica_lies_on_one_rank(
    width: int, replicas: int, size: int, divisible: bool
) -> None:
    """Whole spans, nothing twice, nothing missing, the first rank never idle, and nobody busier than by replicas."""
    parts = [divide(width, replicas, Member(Group(size), rank), divisible) for rank in range(size)]
    assert sum(len(part.replicas) * len(part.particles) for part in parts) == width * replicas
    assert len(parts[0].replicas) * len(parts[0].particles) > 0
    busiest = max(len(part.replicas) * len(part.particles) for part in parts)
    assert busiest <= -(-replicas // size) * width
    shares = [part.share for part in parts]
    if shares[0] is None:
        assert [k for part in parts for k in part.replicas] == list(range(replicas))
    else:
        assert divisible and busiest < -(-replicas // size) * width
        spans = [(a + s.first, b + s.first) for s in shares if s is not None for a, b in s.spans]
        assert spans == network_spans(width)


# ---- kernels -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    width=st.one_of(st.integers(4097, 20_000), st.sampled_from([4097, 8192, 8193, 300_001])),
    size=st.integers(2, 5),
    nodes=st.integers(1, 9),
    inputs=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_a_gradient_has_the_same_bits_on_any_number_of_ranks(
    width: int, size: int, nodes: int, inputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    theta, x, y = rng.standard_normal((1, inputs + 2, width)), rng.standard_normal((nodes, inputs)), rng.random(nodes)

    def residual(f: np.ndarray) -> np.ndarray:
        return (f - y) / nodes

    whole, code = np.empty_like(theta), CODES["tanh"]
    gradient_batch(code, NONE, theta, x, residual, whole, Room())

    def on(ranks: Ranks) -> np.ndarray:
        part = divide(width, 1, ranks, True)
        own = np.ascontiguousarray(theta[:, :, part.particles.start : part.particles.stop])
        out = np.empty_like(own)
        gradient_batch(code, NONE, own, x, residual, out, Room(), "double", part.share)
        found = part.gathered(out)
        back = part.dealt(found, inputs + 2)
        assert np.array_equal(back, out)
        return found

    group = Group(size)
    found = group.run(on)
    assert np.array_equal(found[0], whole) and all(one is None for one in found[1:])
    assert group.numbers == len(network_spans(width)) * nodes  # partial sums and nothing else


@pytest.mark.parametrize("activation", ["erf", "hermite"])
@pytest.mark.parametrize(("width", "size"), [(4097, 2), (9000, 2), (9000, 4)])
def test_pair_forces_and_energy_have_the_same_bits(activation: str, width: int, size: int, rng: Any) -> None:
    theta, series = rng.standard_normal((5, width)), np.array([0.1, 1.0, 0.2, 0.3])
    whole, code = np.empty_like(theta), CODES[activation]
    pairs.pair_force(code, series, theta, whole)
    energy = pairs.pair_energy(code, series, theta[0], theta[1:-1])

    def on(ranks: Ranks) -> Any:
        part = divide(width, 1, ranks, True)
        assert part.share is not None
        own = np.ascontiguousarray(theta[:, part.share.first : part.share.stop])
        out = np.empty_like(own)
        pairs.pair_force(code, series, own, out, "double", part.share)
        return part.share.whole(out), pairs.pair_energy(code, series, theta[0], theta[1:-1], "double", part.share)

    for forces, value in Group(size).run(on):
        assert np.array_equal(forces, whole) and value == energy


# ---- ensembles -----------------------------------------------------------------------------------------------------


def single_index(dimension: int, activation: str = "erf", train: str = "w", bias: bool = False) -> Problem:
    data = datalaws.gaussian(Population(dimension, "hermite", (0.0, 1.0, 0.0, 0.4), noise=0.1))
    decay = dict.fromkeys("awb", 0.1)
    coordinates = network_coordinates(data.blocks, tuple(train), bias, decay, dict.fromkeys("awb", 1.0))
    return Problem(Network(activation), data, "square", 0.02, coordinates)


def standing_drive(problem: Problem, end: float) -> Drive:
    """A smooth path of predictions, not the true limit."""
    f = 0.3 * np.tanh(problem.data.x[:, 0])
    return Drive(np.linspace(0.0, end, 5), np.stack([f * np.cos(t) for t in range(5)]))


def cases() -> dict[str, tuple[Problem, InitialLaw, EnsembleSettings, bool]]:
    """Problem, law, settings, and whether a wide network is cut by particles."""
    wide, three = EnsembleSettings((33, 9000), 1, 0.1, seed=3), EnsembleSettings((33, 9000), 3, 0.1, seed=3)
    plane = InitialLaw(GroupLaw("rademacher"), NORMAL, NORMAL, 4)
    line = InitialLaw(NORMAL, NORMAL, NORMAL, 1)
    return {
        "pairs": (single_index(4), plane, replace(wide, widths=(33, 4500)), True),
        "nodes": (single_index(1, "tanh", "awb", True), line, wide, True),
        "sobol": (single_index(4, "tanh", "aw", True), plane, replace(wide, nodes=16, widths=(33, 4500)), True),
        "sgd": (single_index(4), plane, replace(wide, dynamics="sgd", batch=10, widths=(33, 4500)), True),
        "fused": (single_index(4), plane, replace(three, dynamics="sgd", batch=2, widths=(33, 4500)), False),
        "explicit": (pairwise_problem(0.2, potential="none", interaction="cosine"), line, three, False),
    }


def prepared(name: str) -> ensemble.Ensemble:
    problem, law, chosen, _ = cases()[name]
    return ensemble.prepare(problem, law, chosen, standing_drive(problem, 0.2))


def run(
    one: ensemble.Ensemble, ranks: Ranks = ALONE, state: ensemble.EnsembleState | None = None, threads: int = 1
) -> list[EnsembleSnapshot]:
    return list(ensemble.evolve_ensemble(replace(one, ranks=ranks), np.array([0.0, 0.1, 0.2]), state, threads))


def same(one: EnsembleSnapshot, two: EnsembleSnapshot) -> bool:
    parts = ("theta", "risk", "function_error", "function_error_iid", "coupling_error")
    pairs_ = [(getattr(a, n), getattr(b, n)) for a, b in zip(one.records, two.records, strict=True) for n in parts]
    records = all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs_)
    assert one.state.copies is not None and two.state.copies is not None
    return records and all(np.array_equal(one.state.copies[w], two.state.copies[w]) for w in one.state.copies)


@pytest.mark.parametrize("name", list(cases()))
def test_ensembles_have_the_same_bits_on_any_number_of_ranks_and_go_on_with_another(name: str) -> None:
    _, _, chosen, divisible = cases()[name]
    one = prepared(name)
    alone = run(one)
    for size in (2, 4):
        found = Group(size).run(lambda ranks: run(one, ranks, threads=2 if ranks.rank else 1))
        assert len(found[0]) == 3 and all(same(a, b) for a, b in zip(found[0], alone, strict=True))
        assert all(snapshot.records == () for snapshots in found[1:] for snapshot in snapshots)
        part = divide(chosen.widths[-1], chosen.replicas, Member(Group(size), 0), divisible)
        assert (part.share is not None) == divisible
    resumed = Group(3).run(lambda ranks: run(one, ranks, found[0][1].state if ranks.rank == 0 else None))
    assert len(resumed[0]) == 1 and same(resumed[0][0], alone[2])


def test_networks_that_ranks_share_are_moved_one_by_one_in_the_same_order() -> None:
    """Two threads that exchange would meet those of another rank in another order."""
    chosen = EnsembleSettings((9000, 33, 4500), 1, 0.1)
    for rank in range(2):
        parts = {w: divide(w, 1, Member(Group(2), rank), True) for w in chosen.widths}
        with parallel.team(2):
            whole, shared = ensemble.chunks(chosen, float, parts)
        assert [(c.width, c.first, c.stop) for c in whole] == [(9000, 0, 1), (4500, 0, 1)]
        assert [c.width for c in shared] == ([33] if rank == 0 else [])


def test_copies_under_two_gaussians_keep_networks_whole() -> None:
    """Their fields are products of matrices, which may round differently in another batch."""
    data = datalaws.two_gaussians(TwoGaussians(4, 4, 0.5))
    coordinates = network_coordinates(data.blocks, ("w",), False, dict.fromkeys("awb", 0.1), dict.fromkeys("awb", 1.0))
    problem, law = Problem(Network("tanh"), data, "square", 0.02, coordinates), InitialLaw(NORMAL, NORMAL, NORMAL, 4)
    drive = Drive(np.zeros(1), np.zeros((1, len(data.y))))
    chosen = EnsembleSettings((9000,), 1, 0.1, nodes=16)
    for guided in (None, drive):
        one = ensemble.prepare(problem, law, chosen, guided, ranks=Member(Group(2), 0))
        assert (one.parts[9000].share is None) == (guided is not None)


def test_an_explosion_is_told_by_all_ranks_in_the_same_words() -> None:
    problem, law, chosen, _ = cases()["nodes"]
    wild = replace(chosen, step=1e8, scheme="euler")
    times, words = np.array([0.0, 1e10]), []

    def on(ranks: Ranks) -> None:
        with pytest.raises(NumericalError) as caught:
            list(ensemble.evolve_ensemble(ensemble.prepare(problem, law, wild, ranks=ranks), times))
        words.append(str(caught.value))

    on(ALONE)
    Group(2).run(on)
    assert len(words) == 3 and len(set(words)) == 1 and "replica" in words[0]


def test_bounds_fall_between_spans() -> None:
    """A rank may have nothing: two spans for three ranks."""
    parts = [divide(5000, 1, Member(Group(3), rank), True) for rank in range(3)]
    assert [len(part.particles) for part in parts] == [2496, 2504, 0]
    assert all(part.share is not None for part in parts)
    assert [b - a for a, b in pairwise(parts[0].bounds)] == [2496, 2504, 0]
    assert passes.each_span(0, 10**9, lambda span: span, parts[2].share) == []


@given(st.integers(1, 10_000_000))
def test_spans_of_a_network_are_equal_for_any_number_of_threads_that_is_a_power_of_two(width: int) -> None:
    spans = network_spans(width)
    lengths = [stop - start for start, stop in spans]
    assert len(lengths) in (1, 2, 4, 8, 16, 32, 64) and sum(lengths) == width
    assert all(start % WIDEST == 0 for start, _ in spans) and max(lengths) - min(lengths) < 2 * WIDEST


# ---- processes that mpiexec starts ---------------------------------------------------------------------------------

HEAD = """
[training]
temperature = 0.1
weight_decay = 0.5
time = 0.2
[grid]
cells = [24, 24]
tolerance = 1e-3
[initial]
a = { law = "normal", std = 1.0 }
w = { law = "normal", std = 0.5 }
[output]
snapshots = 3
"""
STUDIES = {
    "data": """
[network]
activation = "tanh"
train = ["a", "w"]
[data]
law = "gaussian"
dimension = 1
quadrature = 12
target = { index = "tanh", gain = 1.5, scale = 0.8 }
[particles]
widths = [50, 9000]
replicas = 1
step = 0.05
"""
    + HEAD,
    "pairs": """
[network]
activation = "erf"
train = ["w"]
[data]
law = "gaussian"
dimension = 5
target = { index = "hermite", coefficients = [0.0, 1.0, 0.0, 0.4] }
[particles]
widths = [64, 4500]
replicas = 1
step = 0.1
"""
    + HEAD,
}
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
MISSING = [
    what
    for what, there in (("mpi4py", importlib.util.find_spec("mpi4py")), ("mpiexec of the package mpich", MPIEXEC))
    if not there
]
launches = pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}")


@pytest.fixture
def studies(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.toml" for name in STUDIES}
    for name, path in paths.items():
        path.write_text(STUDIES[name])
    return paths


def start(ranks: int, *arguments: object, program: Sequence[str] = ("-m", "mfpde")) -> subprocess.Popen[str]:
    # the loopback interface: a machine without a network, and MPI among processes of root, need to be told
    command = [str(MPIEXEC), "-iface", "lo", "-n", str(ranks), sys.executable, *program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FI_TCP_IFACE": "lo"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def launched(ranks: int, *arguments: object, program: Sequence[str] = ("-m", "mfpde")) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; more than two minutes are a hang."""
    process = start(ranks, *arguments, program=program)
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def solved(study: Path, directory: Path, *arguments: str) -> Path:
    assert main(["solve", str(study), "-o", str(directory), "--no-figures", "-q", *arguments]) == 0
    return directory


def assert_same(one: Path, two: Path) -> None:
    for name in ("limit.h5", "particles.h5"):
        assert differences(str(one / name), str(two / name)) == []


@launches
def test_two_processes_write_the_files_of_one(studies: dict[str, Path], tmp_path: Path) -> None:
    """One JSON object, one set of files, nothing left behind."""
    one = solved(studies["data"], tmp_path / "one")
    code, out, err = launched(2, "solve", studies["data"], "-o", tmp_path / "two", "--no-figures", "--json", "-q")
    assert (code, err) == (0, "")
    assert json.loads(out)["ok"] is True
    assert_same(one, tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["limit.h5", "particles.h5", "summary.json"]


@launches
@pytest.mark.slow
@pytest.mark.parametrize("name", list(STUDIES))
def test_ranks_and_threads_give_the_same_bytes(name: str, studies: dict[str, Path], tmp_path: Path) -> None:
    one = solved(studies[name], tmp_path / "one", "--threads", "1")
    assert_same(one, solved(studies[name], tmp_path / "threads", "--threads", "2"))
    for ranks in (1, 2, 4):
        out = tmp_path / f"ranks-{ranks}"
        assert launched(ranks, "solve", studies[name], "-o", out, "--no-figures", "-q")[0] == 0
        assert main(["compare", str(one), str(out), "--rtol", "0", "--atol", "0"]) == 0


def interrupted(number: int, process: subprocess.Popen[str], percent: int) -> tuple[int, str]:
    """Exit code and the last of stderr of a launch that gets a signal once its particles are so far."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"particles {percent:3d} %"):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@launches
@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_any_number_of_ranks(studies: dict[str, Path], tmp_path: Path) -> None:
    """SIGTERM to two ranks, SIGINT to four that go on, one process to the end: the bytes of a run in one go."""
    longer = ["--set", "particles.step=1e-4", "--set", "output.snapshots=101"]
    straight, out = solved(studies["data"], tmp_path / "straight", *longer), tmp_path / "out"
    arguments = ["solve", studies["data"], "-o", out, "--no-figures", *longer]
    code, err = interrupted(signal.SIGTERM, start(2, *arguments), 20)
    assert code == 143
    assert err.count("mfpde: terminated") == 1
    first = store.outline(out / "particles.h5")
    assert first["attributes"]["finished"] == 0
    code, err = interrupted(signal.SIGINT, start(4, *arguments, "--resume"), 50)
    assert code == 130
    assert err.count("mfpde: interrupted") == 1
    second = store.outline(out / "particles.h5")
    reached = [found["attributes"]["index"] for found in (first, second)]
    assert 20 <= reached[0] < 50 <= reached[1] < 100
    assert not (out / ".mfpde.lock").exists()
    assert_same(straight, solved(studies["data"], out, *longer, "--resume"))


@launches
def test_a_mistake_is_told_once(studies: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, err = launched(2, "solve", studies["data"], "--set", "particles.stp=1", "-o", out)
    assert (code, err.count("particles.stp is not a known key")) == (2, 1)
    code, _, err = launched(2, "info", out)
    assert (code, err.count("info is done by one process, and mpiexec started 2")) == (2, 1)
    assert not out.exists()


FULL_DISK = """
import sys
from mfpde.cli.main import main
from mfpde.errors import FileSystemError
from mfpde.io import particles, store
def full(*arguments):
    raise FileSystemError("cannot write: no space left on the device")
particles.store.write = full
sys.exit(main(sys.argv[1:]))
"""
ONE_FAILS = """
import os, sys
from mfpde.cli.main import main
from mfpde.steppers.forces import NodeForce
def gradient(*arguments):
    raise MemoryError("no memory left")
if os.environ["PMI_RANK"] == "1":
    NodeForce.gradient = gradient
sys.exit(main(sys.argv[1:]))
"""
EXPLODING = ["training.weight_decay=1000.0", "particles.step=1e4", "training.time=1e6"]


@launches
@pytest.mark.slow
def test_an_error_of_one_rank_ends_all(studies: dict[str, Path], tmp_path: Path) -> None:
    """Of the first between exchanges, of all in the same step, and, unforeseen, of another one in the midst of them."""
    arguments = ["solve", studies["data"], "--no-figures", "-q", "--only", "particles", "-o"]
    code, _, err = launched(2, *arguments, tmp_path / "full", program=("-c", FULL_DISK))
    assert (code, err.count("no space left on the device")) == (6, 1)
    sets = [word for text in EXPLODING for word in ("--set", text)]
    code, _, err = launched(2, *arguments, tmp_path / "wild", *sets)
    assert (code, err.count("became non-finite")) == (5, 1)
    assert store.outline(tmp_path / "wild" / "particles.h5")["attributes"]["finished"] == 0
    code, _, err = launched(2, *arguments, tmp_path / "broken", program=("-c", ONE_FAILS))
    assert code == 70
    assert "internal error on rank 1: MemoryError: no memory left" in err


def test_processes_that_cannot_share_are_refused(
    studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without mpi4py K processes would write one output; the first says so, the others are silent."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for rank, words in (("0", "mpiexec started 2 processes, which need mpi4py to share the work"), ("1", "")):
        monkeypatch.setenv("PMI_RANK", rank)
        assert main(["solve", str(studies["data"]), "-o", str(tmp_path / "out")]) == 2
        out, err = capsys.readouterr()
        assert out == "" and words in err and bool(err) == bool(words)
        assert ("pip install 'mfpde[mpi]'" in err) == bool(words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["sweep", "verify"])
def test_verbs_for_one_process_say_so(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    arguments = ["data", "--grid", "output.seed=1"] if verb == "sweep" else []
    assert main([verb, *arguments]) == 2
    err = capsys.readouterr().err
    assert f"{verb} is done by one process, and mpiexec started 3" in err
    assert ("--jobs" in err) == (verb == "sweep")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    assert main([verb, *arguments]) == 0
    assert capsys.readouterr().err == ""


def test_a_dry_run_knows_the_ranks(studies: dict[str, Path]) -> None:
    """The part of one rank, and on the first one all that gathers there."""
    from mfpde.io import build, config
    from mfpde.io.estimate import estimate

    loaded = config.load(str(studies["data"]), ["particles.widths=[1000000]", "output.snapshots=2"])
    study = build.build(loaded.config, "data", None)
    alone, first = (estimate(study, ranks=ranks)["particles"] for ranks in (ALONE, Member(Group(4), 0)))
    state = 2 * 8 * 3 * 1_000_000  # particles and copies, rows a, w, b
    assert alone["others"] == 0 and first["operations"] == alone["operations"]
    assert first["seconds"] < 0.3 * alone["seconds"]
    assert state / 2 < first["others"] - 190 * 2**20 < 2 * state  # before and after a step: a quarter each, and scratch
    assert first["bytes"] > 2 * state
