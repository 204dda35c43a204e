"""What a campaign counts: cases, what happened in them, and how often a promise was broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SHOWN = 5


@dataclass
class Tally:
    """Counts of one campaign. ``broken`` holds every promise that was looked at, 0 where it was always kept."""

    name: str
    cases: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    largest: dict[str, float] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    note: str = ""

    def require(self, kept: bool, promise: str, detail: Any = "") -> bool:
        """Count a broken ``promise`` (named by what must not be, such as "unreadable files"); returns ``kept``."""
        self.broken[promise] += 0 if kept else 1
        if not kept and len(self.examples) < SHOWN:
            self.examples.append(f"{promise}: {str(detail)[-1500:]}")
        return kept

    def watch(self, what: str, value: float) -> None:
        """Keep the largest ``value``."""
        self.largest[what] = max(value, self.largest.get(what, 0.0))

    def report(self) -> dict[str, Any]:
        """As one entry of a JSON report."""
        return {
            "campaign": self.name,
            "cases": self.cases,
            "broken": dict(self.broken),
            "happened": dict(self.happened),
            "largest": self.largest,
            "examples": self.examples,
            "note": self.note,
        }

    def row(self) -> list[str]:
        """Cells of a table: campaign, cases, promises with the number of times each was broken, the rest."""
        kept = ", ".join(f"{count} {promise}" for promise, count in self.broken.items())
        rest = [f"{count} {what}" for what, count in sorted(self.happened.items())]
        rest += [f"{what} {value:.3g}" for what, value in self.largest.items()]
        return [self.name, str(self.cases), kept, "; ".join([*rest, *([self.note] if self.note else [])])]
