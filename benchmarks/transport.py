"""Wasserstein distances: mfpde.compare.transport against POT called plainly on the same laws.

On the line and on the circle mfpde integrates quantile functions exactly; in two and three dimensions it hands its cost
matrix to POT's network simplex itself, and the sliced distance uses the same directions on both sides. All are W_2
squared. One thread, processor time. Run: python benchmarks/transport.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from harness import Part, Setting, Variant, absence, compare, main, peer, record
from numpy.typing import NDArray
from tables import Table, Timing, side_by_side

from mfpde.compare import transport

Array = NDArray[np.float64]

TOLERANCE = 1e-9
ATOMS = {"line": (1000, 100_000), "circle": (1000, 10_000), "exact": (300, 1500), "sliced": (1000, 10_000)}
QUICK = {"line": (1000,), "circle": (200,), "exact": (60,), "sliced": (200,)}


def clouds(count: int, dimension: int) -> tuple[Array, Array, Array, Array]:
    """Two weighted clouds that overlap."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((count, dimension)), 0.5 + 1.2 * rng.standard_normal((count // 2, dimension))
    p, q = rng.random(count) + 0.1, rng.random(count // 2) + 0.1
    return x, y, p / p.sum(), q / q.sum()


def pairs(setting: Setting) -> dict[str, tuple[Callable[[], float], Callable[[], float] | None]]:
    """name -> (mfpde, POT) of every problem."""
    ot = peer("ot", setting)
    found: dict[str, tuple[Callable[[], float], Callable[[], float] | None]] = {}
    sizes = setting.pick(ATOMS, QUICK)
    for count in sizes["line"]:
        x, y, p, q = clouds(count, 1)
        found[f"line, {count} and {count // 2} atoms"] = (
            lambda x=x, y=y, p=p, q=q: transport.wasserstein_line(
                transport.quantile_of_atoms(x, p), transport.quantile_of_atoms(y, q)
            ),
            None if ot is None else lambda x=x, y=y, p=p, q=q: float(ot.wasserstein_1d(x[:, 0], y[:, 0], p, q, p=2)),
        )
    for count in sizes["circle"]:
        x, y, p, q = clouds(count, 1)
        x, y = np.mod(x[:, 0], 1.0), np.mod(y[:, 0], 1.0)
        found[f"circle, {count} and {count // 2} atoms"] = (
            lambda x=x, y=y, p=p, q=q: transport.wasserstein_circle(
                transport.quantile_of_atoms(x, p), transport.quantile_of_atoms(y, q), 1.0
            ),
            None if ot is None else lambda x=x, y=y, p=p, q=q: float(ot.wasserstein_circle(x, y, p, q, p=2)[0]),
        )
    for dimension in (2, 3):
        for count in sizes["exact"]:
            x, y, p, q = clouds(count, dimension)
            found[f"{dimension}-D exact, {count} and {count // 2} atoms"] = (
                lambda x=x, y=y, p=p, q=q: transport.discrete(x, y, p, q).squared,
                None
                if ot is None
                else lambda x=x, y=y, p=p, q=q: float(ot.emd2(p, q, ot.dist(x, y), numItermax=10_000_000)),
            )
    for count in sizes["sliced"]:
        x, y, p, q = clouds(count, 3)
        directions = transport.directions(3)
        found[f"3-D sliced, 200 directions, {count} and {count // 2} atoms"] = (
            lambda x=x, y=y, p=p, q=q: transport.sliced(x, y, p, q).squared,
            None
            if ot is None
            else lambda x=x, y=y, p=p, q=q, u=directions: (
                float(ot.sliced_wasserstein_distance(x, y, p, q, projections=u.T)) ** 2
            ),
        )
    return found


def measure(setting: Setting) -> Part:
    part = Part()
    rows: list[list[str]] = []
    reason = absence("ot", setting)
    for name, (ours, pot) in pairs(setting).items():
        try:
            expected = ours() if pot is None else pot()
        except Exception as error:  # without a peer that answers, our own value is only repeated, not checked
            expected, pot, reason = float("nan"), None, f"failed: {type(error).__name__}"

        def distance(value: float, expected: float = expected) -> float:
            return abs(value - expected) / abs(expected) if np.isfinite(expected) else 0.0

        timed = compare(
            [Variant("mfpde", ours), Variant("POT", pot, reason)],
            distance,
            TOLERANCE,
            setting.pick(15, 2),
            patience=3.0,
        )
        rows += _rows(name, timed)
        record(part, timed, "cpu", name)
    columns = ["problem", "variant", "min", "median", "ratio", "note"]
    part.tables.append(Table("W₂ squared, ms of cpu time of one thread", columns, rows))
    return part


def _rows(name: str, timed: list[Timing]) -> list[list[str]]:
    columns, rows = side_by_side({name: timed}, "cpu")
    width = len(columns)
    return [[name if k == 0 else "", *row, *[""] * (5 - width)] for k, row in enumerate(rows)]


if __name__ == "__main__":
    main("transport", measure, __doc__, threads=(1,))
