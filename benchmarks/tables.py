"""Times as cells of tables: what is shown of the repeats of a call, and Markdown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Timing:
    """Seconds of every call by both clocks and the distance of the result from the reference; or why there are none."""

    name: str
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    error: float | None = None
    note: str = ""

    def seconds(self, clock: str) -> list[float]:
        return self.cpu if clock == "cpu" else self.wall


@dataclass
class Table:
    """Cells ready to print; ``note`` stands below the table."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


def clock_of(threads: int) -> str:
    """Processor time for one thread, where waiting for a busy core does not count; wall time for more."""
    return "cpu" if threads == 1 else "wall"


def thread_count(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def median_ratio(timing: Timing, base: Timing, clock: str) -> float | None:
    """Median of ``timing`` over the median of ``base``; None if either has no times."""
    mine, other = timing.seconds(clock), base.seconds(clock)
    return statistics.median(mine) / statistics.median(other) if mine and other else None


def timing_cells(timing: Timing, base: Timing, clock: str, scale: float = 1e3) -> list[str]:
    """Minimum and median (milliseconds by default) and the ratio of the medians to those of ``base``."""
    seconds = timing.seconds(clock)
    if not seconds:
        return ["–", "–", "–"]
    ratio = median_ratio(timing, base, clock)
    return [
        number(scale * min(seconds)),
        number(scale * statistics.median(seconds)),
        "–" if ratio is None else f"{ratio:.2f}",
    ]


def side_by_side(cases: dict[str, list[Timing]], clock: str, scale: float = 1e3) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: one row per variant, (min, median, ratio to the first variant) per case, notes at the end."""
    columns = ["variant"]
    for case in cases:
        columns += [f"{case}: min", "median", "ratio"]
    rows: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for timings in cases.values():
        for timing in timings:
            row = rows.setdefault(timing.name, [])
            row += timing_cells(timing, timings[0], clock, scale)
            if timing.note and timing.note not in notes.setdefault(timing.name, []):
                notes[timing.name].append(timing.note)
    noted = any(notes.values())
    table = [[name, *row, *(["; ".join(notes.get(name, []))] if noted else [])] for name, row in rows.items()]
    return columns + (["note"] if noted else []), table


def number(value: float) -> str:
    """Three significant digits, without an exponent between 0.001 and a million."""
    if value == 0.0 or not np.isfinite(value):
        return f"{value:g}"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def render_table(table: dict[str, Any]) -> str:
    lines = [f"**{table['title']}**", ""] if table["title"] else []
    lines += ["| " + " | ".join(table["columns"]) + " |", "|" + "---|" * len(table["columns"])]
    lines += ["| " + " | ".join(row) + " |" for row in table["rows"]]
    if table["note"]:
        lines += ["", table["note"]]
    return "\n".join(lines)
