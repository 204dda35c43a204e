"""The benchmarks measure what they say: the logic of the harness on fake clocks, and a smoke run of every script.

No test here asserts a time.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"
SCRIPTS = (
    "machine",
    "interaction",
    "pairs",
    "stored",
    "noise",
    "fluxes",
    "ornstein_uhlenbeck",
    "transport",
    "start",
    "scaling",
    "ranks",
    "deep",
    "literature",
)


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a script of benchmarks/ by name, and forget it afterwards: its name may be that of another module."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class Clock:
    """A clock that moves only when told, so that a fake variant takes a known time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _variants(harness: ModuleType, clock: Clock, costs: dict[str, list[float]], log: list[str]) -> list[Any]:
    """Variants that return their name and take the next of their costs at each call; the last cost repeats."""

    def make(name: str) -> Any:
        remaining = list(costs[name])

        def call() -> str:
            log.append(name)
            clock.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]
            return name

        return harness.Variant(name, call)

    return [make(name) for name in costs]


def test_variants_run_in_turn_and_the_first_call_is_not_timed(benchmark_module: Any) -> None:
    harness, clock, log = benchmark_module("harness"), Clock(), []
    tables = benchmark_module("tables")
    variants = _variants(harness, clock, {"mfpde": [9.0, 1.0, 2.0, 6.0], "peer": [9.0, 4.0, 4.0, 4.0]}, log)
    mfpde, peer = harness.compare(variants, lambda _: 0.0, 0.0, rounds=3, patience=100.0, clocks=(clock, clock))
    assert log == ["mfpde", "peer"] * 4
    assert mfpde.cpu == [1.0, 2.0, 6.0]
    assert peer.wall == [4.0, 4.0, 4.0]
    assert tables.median_ratio(peer, mfpde, "cpu") == 2.0
    assert tables.timing_cells(peer, mfpde, "cpu", 1.0) == ["4.00", "4.00", "2.00"]
    assert tables.timing_cells(mfpde, mfpde, "wall", 1.0) == ["1.00", "2.00", "1.00"]


def test_a_timed_call_can_follow_untimed_ones_of_the_same_variant(benchmark_module: Any) -> None:
    harness, clock, log = benchmark_module("harness"), Clock(), []
    variants = _variants(harness, clock, {"mfpde": [9.0, 8.0, 7.0, 1.0, 8.0, 7.0, 2.0], "peer": [4.0]}, log)
    mfpde, _ = harness.compare(variants, lambda _: 0.0, 0.0, rounds=2, clocks=(clock, clock), untimed=2)
    assert log == ["mfpde", "peer", *(["mfpde"] * 3 + ["peer"] * 3) * 2]
    assert mfpde.cpu == [1.0, 2.0]


def test_a_slow_variant_stops_when_its_patience_is_used_up(benchmark_module: Any) -> None:
    harness, clock, log = benchmark_module("harness"), Clock(), []
    variants = _variants(harness, clock, {"mfpde": [1.0], "slow": [7.0]}, log)
    mfpde, slow = harness.compare(variants, lambda _: 0.0, 0.0, rounds=9, patience=5.0, clocks=(clock, clock))
    assert slow.cpu == [7.0]
    assert len(mfpde.cpu) == 6  # the sixth second is begun when five are used


def test_a_wrong_result_is_a_defect_and_has_no_times(benchmark_module: Any) -> None:
    harness, clock = benchmark_module("harness"), Clock()
    tables = benchmark_module("tables")
    variants = _variants(harness, clock, {"mfpde": [1.0], "liar": [0.1]}, [])
    found = harness.compare(
        variants, lambda name: 1e-3 if name == "liar" else 0.0, 1e-6, rounds=2, clocks=(clock, clock)
    )
    part = harness.Part()
    harness.record(part, found, "cpu", "some case", size=3)
    assert found[1].cpu == []
    assert part.defects == ["some case, liar: wrong: differs by 1.0e-03"]
    assert part.ahead == []
    assert part.measurements[0] == {
        "comparison": "some case",
        "size": 3,
        "name": "mfpde",
        "cpu": [1.0, 1.0],
        "wall": [1.0, 1.0],
        "error": 0.0,
        "note": "",
    }
    assert tables.timing_cells(found[1], found[0], "cpu") == ["–", "–", "–"]


def test_nan_is_a_wrong_result(benchmark_module: Any) -> None:
    harness, clock = benchmark_module("harness"), Clock()
    found = harness.compare(
        _variants(harness, clock, {"mfpde": [1.0]}, []), lambda _: math.nan, 1.0, rounds=1, clocks=(clock, clock)
    )
    assert found[0].cpu == []
    assert found[0].note.startswith("wrong")


def test_missing_and_failing_peers_are_named(benchmark_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    harness, clock = benchmark_module("harness"), Clock()
    tables = benchmark_module("tables")
    monkeypatch.setitem(harness.DISTRIBUTIONS, "no_such_module", "no-such-distribution")
    setting = harness.Setting(1, True, True)
    assert harness.peer("no_such_module", setting) is None
    reason = harness.absence("no_such_module", setting)
    assert reason == "missing: no-such-distribution is not installed"

    def broken() -> None:
        raise TypeError("unexpected keyword\nand a long story")

    variants = [*_variants(harness, clock, {"mfpde": [1.0]}, []), harness.Variant("gone", None, reason)]
    variants.append(harness.Variant("broken", broken))
    timings = harness.compare(variants, lambda _: 0.0, 0.0, rounds=1, clocks=(clock, clock))
    columns, rows = tables.side_by_side({"A": timings}, "cpu")
    assert columns == ["variant", "A: min", "median", "ratio", "note"]
    assert rows[1] == ["gone", "–", "–", "–", reason]
    assert rows[2] == ["broken", "–", "–", "–", "failed: TypeError: unexpected keyword"]
    assert harness.peer("torch", harness.Setting(1, True, False)) is None


def test_a_faster_peer_is_listed(benchmark_module: Any) -> None:
    harness, clock = benchmark_module("harness"), Clock()
    variants = _variants(harness, clock, {"mfpde": [3.0], "peer": [2.0]}, [])
    part = harness.Part()
    harness.record(part, harness.compare(variants, lambda _: 0.0, 0.0, 3, 99.0, (clock, clock)), "wall", "here")
    assert part.ahead == [["here", "peer", "1.50"]]


def test_the_measuring_process_lets_openblas_choose(benchmark_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = benchmark_module("harness")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    clean = harness.environment(1)
    assert not {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & set(clean)
    assert clean["OMP_NUM_THREADS"] == clean["OPENBLAS_NUM_THREADS"] == "1"
    assert "XLA_FLAGS" not in harness.environment(2)


def test_numbers_have_three_digits(benchmark_module: Any) -> None:
    number = benchmark_module("tables").number
    values = [0.0, 1234.6, 999.7, 123.4, 12.34, 9.996, 1.0, 0.012345, 2e-5, 3.4e7]
    assert [number(value) for value in values] == [
        *("0", "1235", "1000", "123", "12.3", "10.0", "1.00", "0.0123", "2.0e-05", "3.4e+07")
    ]


def test_slopes_of_power_laws(benchmark_module: Any) -> None:
    scaling, sizes = benchmark_module("scaling"), np.array([10.0, 30.0, 100.0, 1000.0])
    for power in (0.5, 1.0, 2.0):
        found, error = scaling.slope(sizes, 3e-7 * sizes**power)
        assert abs(found - power) < 1e-12
        assert error < 1e-12


def test_time_to_an_error_follows_the_lower_envelope(benchmark_module: Any) -> None:
    module = benchmark_module("ornstein_uhlenbeck")
    # error = seconds^-2, and two rungs that are beaten in both
    errors, seconds = [1.0, 1e-2, 1e-4, 0.5, 1e-2], [1.0, 10.0, 100.0, 20.0, 11.0]
    assert abs(module.seconds_to(1e-3, errors, seconds) - 10.0**1.5) < 1e-9
    assert module.seconds_to(2.0, errors, seconds) == 1.0
    assert module.seconds_to(1e-5, errors, seconds) is None
    assert module.envelope(errors, seconds) == [(1.0, 1.0), (1e-2, 10.0), (1e-4, 100.0)]


def test_peers_agree_with_the_formulas(benchmark_module: Any) -> None:
    """The blocked NumPy peers against the plain references, also where blocks do not divide the sizes."""
    peers = benchmark_module("peers.interaction")
    for activation in ("tanh", "erf", "relu"):
        case = peers.make(activation, "float64", 37, 23, 3)
        expected = peers.reference(case)
        blocked = [
            peers.numpy_blocked(case, *sizes, keep) for sizes in ((1, 10, 7), (2, 8, 23)) for keep in (False, True)
        ]
        for call in (peers.numpy_plain(case), *blocked):
            assert peers.distance(call(), expected) < 1e-13
    peers = benchmark_module("peers.pairs")
    for activation in ("erf", "relu"):
        a, w = peers.make("float64", 41, 4)
        blocked = peers.numpy_blocked(activation, a, w, 2, 7)
        assert peers.distance(blocked(), peers.reference(activation, a, w)) < 1e-8
    peers = benchmark_module("peers.fluxes")
    rng = np.random.default_rng(0)
    psi, mass = rng.standard_normal((9, 7)), rng.random((9, 7))
    arguments = (psi, mass, 0.3, (0.5, 0.4), 0.01, 5)
    np.testing.assert_allclose(peers.numpy_in_place(*arguments)(), peers.reference(*arguments), rtol=1e-13)


def test_pages_are_filled_from_reports(benchmark_module: Any) -> None:
    run = benchmark_module("run")
    table = {"title": "tanh, float64", "columns": ["a", "b"], "rows": [["1", "2"]], "note": "so"}
    reports = {"pairs": {"tables": [table, {**table, "title": "erf"}], "ahead": [["here", "JAX", "1.20"]]}}
    page = "x\n<!-- begin pairs: tanh -->\nold\n<!-- end -->\n<!-- begin ahead -->\n<!-- end -->\n"
    filled = run.fill(page, reports)
    assert "| 1 | 2 |" in filled
    assert "**erf**" not in filled
    assert "old" not in filled
    assert "| pairs | here | JAX | 1.20 |" in filled
    assert run.fill(filled, reports) == filled
    assert "Not measured." in run.fill("<!-- begin gpu -->\n<!-- end -->\n", reports)


def test_the_pages_name_every_benchmark(benchmark_module: Any) -> None:
    run = benchmark_module("run")
    blocks = {match[2] for page in run.PAGES for match in run.BLOCK.finditer(page.read_text(encoding="utf-8"))}
    assert blocks == {"setup", "ahead", *run.SCRIPTS}
    assert {name for name in run.SCRIPTS if name != "gpu"} == set(SCRIPTS)
    assert all((FOLDER / f"{name}.py").is_file() for name in SCRIPTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_smoke_run(name: str, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--without-peers", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["benchmark"] == name
    assert report["quick"] is True
    assert {"created", "machine", "versions", "missing", "blas", "ahead"} <= set(report)
    assert report["defects"] == []
    assert report["measurements"]
    notes = [entry.get("note", "") for entry in report["measurements"]]
    assert [note for note in notes if note.startswith(("failed", "wrong"))] == []
    for table in report["tables"]:
        assert table["rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert f"**{table['title']}**" in done.stdout
