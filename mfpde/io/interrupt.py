"""SIGINT and SIGTERM between two records of a run, never inside one.

Python raises the exception of a signal between any two bytecodes. A record that is half made when a checkpoint is
written would continue as another run; ``held`` lets the signal wait for the end of the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _Arrived:
    """The first signal that has arrived, as the exception it stands for, and whether it has to wait."""

    kind: type[KeyboardInterrupt] | None = None
    waits = False


def arrive(kind: type[KeyboardInterrupt]) -> None:
    """For signal handlers: raise ``kind`` here and now, or at the end of the block that holds it back."""
    _Arrived.kind = _Arrived.kind or kind
    if not _Arrived.waits:
        raise kind


def arrived() -> type[KeyboardInterrupt] | None:
    """The signal that has arrived, if any: libraries may turn its exception into another."""
    return _Arrived.kind


def forget() -> None:
    """No signal has arrived yet: for the start of a command."""
    _Arrived.kind, _Arrived.waits = None, False


@contextmanager
def held() -> Iterator[None]:
    """A signal that arrives inside the block raises its exception at the end, of the outermost block where they nest.

    So does an earlier one whose exception was lost: Python drops those raised in callbacks of the garbage collector.
    """
    outer, _Arrived.waits = _Arrived.waits, True
    try:
        yield
    finally:
        _Arrived.waits = outer
    if _Arrived.kind is not None and not outer:
        raise _Arrived.kind
