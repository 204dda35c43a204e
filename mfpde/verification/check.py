"""One line of the table of ``verify``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """``measured`` against ``expected`` within ``tolerance`` (in words), and whether it passed."""

    name: str
    measured: float
    expected: float
    tolerance: str
    passed: bool


def near(name: str, measured: float, expected: float, tolerance: float) -> Check:
    """Passes if |measured - expected| <= tolerance."""
    passed = abs(measured - expected) <= tolerance
    return Check(name, float(measured), float(expected), f"+- {tolerance:.2g}", bool(passed))


def at_most(name: str, measured: float, bound: float) -> Check:
    """Passes if measured <= bound, for errors and defects that should be zero."""
    return Check(name, float(measured), 0.0, f"<= {bound:.2g}", bool(measured <= bound))


def positive(name: str, measured: float) -> Check:
    """Passes if measured > 0."""
    return Check(name, float(measured), 0.0, "> 0", bool(measured > 0.0))
