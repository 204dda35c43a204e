"""Signals that wait for the end of what Numba is compiling, so that no thread waits for a lock that nobody holds.

Python raises the exception of a signal between any two bytecodes of the main thread. Inside Numba and llvmlite that may
be between the taking of a lock and the block that gives it back: other threads then wait for it for good (one Ctrl-C in
twenty during a compilation). It may also be between two steps of LLVM, which then frees a module twice and aborts.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True)
class OutsideTheCompiler:
    """A handler of signals that calls ``handler`` when neither Numba nor llvmlite is at work in the main thread.

    A kernel takes a few seconds at most to compile; those that are compiled already do not delay anything.
    """

    handler: Callable[[int, FrameType | None], object]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _in_compiler(frame):
            _thread.start_new_thread(_again, (signal.Signals(number),))
        else:
            self.handler(number, frame)


@contextmanager
def interrupts_spare_the_compiler() -> Iterator[None]:
    """Inside the block SIGINT waits for the compiler, if Python handles it; for blocks in which threads compile."""
    handler = signal.getsignal(signal.SIGINT)
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not on_main_thread or isinstance(handler, int | OutsideTheCompiler) or handler is None:
        yield
        return
    deferring = OutsideTheCompiler(handler)
    signal.signal(signal.SIGINT, deferring)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is deferring:
            signal.signal(signal.SIGINT, handler)


def _again(number: signal.Signals) -> None:
    time.sleep(0.01)
    _thread.interrupt_main(number)


def _in_compiler(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(("numba.", "llvmlite.binding")):
            return True
        frame = frame.f_back
    return False
