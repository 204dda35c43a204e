"""Cost of the infinite-width limit: against samples S, steps T, points P, layers L and rank; and of a finite width.

Every row is one replicate of the limit, tanh, normal data on a sphere, over a range of one size with the others at
S = 4096, T = 30, P = 8, L = 3, tolerance 1e-3; processor time of one thread. The ranks are those of all operators at
the end, added up. Ranks grow with P and, slowly, with T: at a smaller step the path is no richer, only longer. The last
table sets a replicate beside a network of finite width, whose cost is quadratic. Run: python benchmarks/deep.py
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from harness import Part, Setting, Variant, compare, main
from scaling import slope
from tables import Table, number
from threadpoolctl import threadpool_limits

from mfpde.core import parallel
from mfpde.theory.deep.finite import train_widths
from mfpde.theory.deep.limit import run
from mfpde.theory.deep.parametrizations import PARAMETRIZATIONS
from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.deep.space import LimitSettings

DIMENSION = 64
# eta T of the family of steps: a longer run at the same time is a finer one
TIME = 60.0


@dataclass(frozen=True)
class Size:
    """One replicate: samples, steps, points, layers, tolerance; the rate follows from the steps if ``fine``."""

    samples: int = 4096
    steps: int = 30
    points: int = 8
    depth: int = 3
    tolerance: float = 1e-3
    fine: bool = False


def problem(size: Size) -> DeepProblem:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((size.points, DIMENSION))
    x *= np.sqrt(DIMENSION) / np.linalg.norm(x, axis=1, keepdims=True)
    rate = TIME / size.steps if size.fine else 2.0
    y = np.where(np.arange(size.points) % 2 == 0, 1.0, -1.0)
    return DeepProblem(x, y, depth=size.depth, rate=rate, steps=size.steps)


def replicate(size: Size) -> Callable[[], int]:
    """A call that returns the sum of all ranks."""
    case = problem(size)
    settings = LimitSettings(samples=size.samples, tolerance=size.tolerance)
    return lambda: int(run(case, settings, every=size.steps).rank[-1].sum())


@dataclass(frozen=True)
class Family:
    """Sizes that differ in one number, its values, and the slope of the cost in it that theory gives."""

    name: str
    values: Sequence[float]
    sizes: Sequence[Size]
    expected: str


def families(setting: Setting) -> list[Family]:
    """All rows of the table; a smoke run has two small ones."""
    if setting.quick:
        small = [Size(samples=256, steps=steps, points=3, depth=2, tolerance=1e-2) for steps in (2, 4)]
        return [Family("steps T", [2, 4], small, "–")]
    samples, steps, points, depths = (1024, 2048, 4096, 8192, 16384), (30, 60, 120, 240), (2, 4, 8, 16), (2, 3, 4, 6, 8)
    tolerances = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4)
    return [
        Family("samples S", samples, [Size(samples=s) for s in samples], "1"),
        Family("steps T at the rate 2", steps, [Size(steps=t) for t in steps], "1 + growth of the rank"),
        Family("steps T at the time 60", steps, [Size(steps=t, fine=True) for t in steps], "1 + growth of the rank"),
        Family("points P", points, [Size(points=p) for p in points], "1 + growth of the rank"),
        Family("hidden matrices L − 1", [d - 1 for d in depths], [Size(depth=d) for d in depths], "1"),
        Family(
            "all ranks, by the tolerance",
            tolerances,
            [Size(tolerance=tol) for tol in tolerances],
            "1 (queries) to 2 (new columns)",
        ),
    ]


def measure(setting: Setting) -> Part:
    part = Part()
    if setting.threads > 1:
        part.tables.append(_threads(setting, part))
        return part
    rows = [_growth(family, setting, part) for family in families(setting)]
    columns = ["cost against", "from … to", "ranks", "ms at the first", "ms at the last", "slope", "theory"]
    part.tables.append(Table("One replicate of the limit, one thread", columns, rows))
    part.tables.append(_widths(setting, part))
    return part


def _growth(family: Family, setting: Setting, part: Part) -> list[str]:
    ranks: list[int] = []

    def check(found: int) -> float:
        ranks.append(found)
        return 0.0

    variants = [Variant(number(v), replicate(size)) for v, size in zip(family.values, family.sizes)]
    timed = compare(variants, check, 0.0, setting.pick(5, 2), patience=setting.pick(20.0, 1.0))
    medians = [statistics.median(timing.cpu) for timing in timed]
    part.measurements += [{"family": family.name, "ranks": ranks, **asdict(timing)} for timing in timed]
    against = ranks if "rank" in family.name else family.values
    found, error = slope(against, medians)
    ends = [number(1e3 * medians[0]), number(1e3 * medians[-1])]
    span = f"{family.values[0]:g} … {family.values[-1]:g}"
    return [family.name, span, f"{ranks[0]} … {ranks[-1]}", *ends, f"{found:.2f} ± {error:.2f}", family.expected]


def _widths(setting: Setting, part: Part) -> Table:
    """A replicate, and one seed of a network of finite width on the same problem."""
    size = setting.pick(Size(), Size(samples=256, steps=2, points=3, depth=2))
    widths = setting.pick((256, 512, 1024, 2048), (8, 16))
    case, mup = problem(size), PARAMETRIZATIONS["mup"]
    calls: dict[str, Callable[[], Any]] = {f"limit, S = {size.samples}": replicate(size)}
    for n in widths:
        calls[f"network, N = {n}"] = lambda n=n: train_widths(case, mup, n, [0], every=size.steps)
    timed = compare([Variant(name, call) for name, call in calls.items()], lambda _: 0.0, 0.0, setting.pick(5, 2))
    rows = [[timing.name, number(1e3 * statistics.median(timing.cpu))] for timing in timed]
    part.measurements += [{"beside": timing.name, **asdict(timing)} for timing in timed]
    return Table(f"P = {size.points}, T = {size.steps}, L = {size.depth}, one thread", ["run", "ms"], rows)


def _threads(setting: Setting, part: Part) -> Table:
    """Replicates are independent: as many at a time as threads, each with one thread of BLAS, as the command has it."""
    size = setting.pick(Size(), Size(samples=256, steps=2, points=3, depth=2))
    calls = [replicate(size)] * setting.threads

    def together() -> list[int]:
        with parallel.team(setting.threads):
            return parallel.collect(lambda call: call(), calls)

    variants = [Variant("one after the other", lambda: [call() for call in calls]), Variant("at a time", together)]
    with threadpool_limits(1):
        timed = compare(variants, lambda _: 0.0, 0.0, setting.pick(7, 2))
    one, more = (1e3 * statistics.median(timing.wall) for timing in timed)
    part.measurements += [{"replicates": timing.name, **asdict(timing)} for timing in timed]
    row = [str(len(calls)), number(one), number(more), f"{one / more:.2f}"]
    return Table("Replicates by threads, wall time", ["replicates", "in turn, ms", "at a time, ms", "speed-up"], [row])


if __name__ == "__main__":
    main("deep", measure, __doc__)
