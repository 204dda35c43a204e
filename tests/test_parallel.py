"""The team of threads: results in order, one error for all, nothing begun after an interrupt, no team within a team."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfpde.core import parallel


@given(st.integers(0, 60), st.integers(1, 5))
def test_results_come_in_the_order_of_the_items(count: int, threads: int) -> None:
    with parallel.team(threads):
        assert parallel.collect(lambda k: (time.sleep(1e-4 * (k % 3)), k * k)[1], range(count)) == [
            k * k for k in range(count)
        ]


@pytest.mark.parametrize("threads", [2, 3])
def test_the_error_of_the_first_item_is_raised_whoever_meets_it(threads: int) -> None:
    def work(k: int) -> int:
        time.sleep(1e-3 * (10 - k))  # the later ones fail earlier
        if k >= 3:
            raise ValueError(f"item {k}")
        return k

    with parallel.team(threads), pytest.raises(ValueError, match="item 3"):
        parallel.collect(work, range(8))


def test_the_caller_and_the_workers_of_a_team_work_at_once_and_find_no_team_of_their_own() -> None:
    together = threading.Barrier(3, timeout=30.0)
    workers = set()

    def work(k: int) -> tuple[int, list[int]]:
        together.wait()  # would break if fewer than three worked at once
        workers.add(threading.get_ident())
        return parallel.size(), parallel.collect(lambda j: j, range(k))

    with parallel.team(3):
        assert parallel.size() == 3
        assert parallel.collect(work, [1, 2, 3]) == [(1, [0]), (1, [0, 1]), (1, [0, 1, 2])]
        assert parallel.size() == 3
    assert len(workers) == 3
    assert threading.get_ident() in workers


def test_after_an_interrupt_no_further_item_is_begun() -> None:
    begun: list[int] = []
    main = threading.main_thread().ident or 0

    def work(k: int) -> None:
        begun.append(k)
        if len(begun) == 3:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt), parallel.team(2):
        parallel.collect(work, range(1000))
    assert 3 <= len(begun) < 100


@pytest.mark.parametrize(
    "place", ["llvmlite.binding.ffi:_LLVMLock.__enter__", "numba.core.compiler_lock:_CompilerLock.acquire"]
)
def test_an_interrupt_leaves_no_lock_of_the_compiler_behind(place: str) -> None:
    """It comes just when the calling thread has taken the lock that the other one needs to end."""
    code = f"""
import importlib, inspect, os, signal, sys, threading, time
import numba
from mfpde.core import parallel
module, name = {place!r}.split(":")
function = getattr(getattr(importlib.import_module(module), name.split(".")[0]), name.split(".")[1])
lines, first = inspect.getsourcelines(function)
taken = first + next(k for k, line in enumerate(lines) if "_lock.acquire()" in line)
sent = []
def trace(frame, event, argument):
    if frame.f_code is function.__code__ and not sent and (event == "return" or frame.f_lineno > taken):
        sent.append(os.kill(os.getpid(), signal.SIGINT))
    return trace
@numba.njit(nogil=True)
def square(x):
    return x * x
def work(k):
    while threading.current_thread() is not threading.main_thread() and not sent:
        time.sleep(0.001)  # the calling thread compiles
    time.sleep(0.01)
    return square(k)
try:
    with parallel.team(2):
        sys.settrace(trace)
        parallel.collect(work, range(100))
except KeyboardInterrupt:
    sys.settrace(None)
    print(len(sent), square(3), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 9 True\n", "")
