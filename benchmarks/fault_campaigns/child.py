"""A child process that may be killed, may crash and may hang, forked from a parent that has everything compiled."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

# Linux: fcntl has the name from Python 3.10 on, the size is what an unprivileged process may ask for
PIPE_BYTES = 1 << 20
FAILED = 99
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """How a child ended: exit code (minus the signal), lines it told, stderr, seconds and the peak of its memory."""

    code: int
    lines: list[str]
    stderr: str
    seconds: float
    peak_bytes: int
    timed_out: bool


def fork(
    work: Callable[[Tell], int], *, limit: float = 300.0, after: float | None = None, number: int = signal.SIGKILL
) -> Ended:
    """Run ``work(tell)`` in a fork and wait; the signal ``number`` is sent ``after`` seconds, SIGKILL at the limit.

    ``tell`` hands a line over at once and for good: it stands in a pipe when it returns, whatever then happens.
    """
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with tempfile.TemporaryFile() as errors:
        began = time.monotonic()
        process = os.fork()
        if process == 0:
            _run(work, write, errors.fileno())
        os.close(write)
        timed_out = False
        if after is not None and not _ends(process, after):
            os.kill(process, number)
        if not _ends(process, limit):
            os.kill(process, signal.SIGKILL)
            timed_out = True
        _, status, usage = os.wait4(process, 0)
        seconds = time.monotonic() - began
        with os.fdopen(read, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        errors.seek(0)
        stderr = errors.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), lines, stderr, seconds, usage.ru_maxrss << 10, timed_out)


def _ends(process: int, seconds: float) -> bool:
    """Whether the child ends within ``seconds``; it is not reaped."""
    descriptor = os.pidfd_open(process)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1e3))
    finally:
        os.close(descriptor)


def _run(work: Callable[[Tell], int], pipe: int, errors: int) -> None:
    """The child: never returns."""
    code = FAILED
    try:
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)
        # a campaign in the background of a shell ignores SIGINT, and children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = work(lambda line: _tell(pipe, line))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tell(pipe: int, line: str) -> None:
    whole = line.encode() + b"\n"
    if _WRITE(pipe, whole) != len(whole):
        raise OSError("the pipe of the campaign is full")


_WRITE = os.write  # campaigns make os.write fail
