"""The team of threads: results in order, one error for all, nothing begun after an interrupt, no team within a team."""

from __future__ import annotations

import signal
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


def test_all_threads_of_a_team_work_at_once_and_find_no_team_of_their_own() -> None:
    together = threading.Barrier(3, timeout=30.0)

    def work(k: int) -> tuple[int, list[int]]:
        together.wait()  # would break if fewer than three worked at once
        return parallel.size(), parallel.collect(lambda j: j, range(k))

    with parallel.team(3):
        assert parallel.size() == 3
        assert parallel.collect(work, [1, 2, 3]) == [(1, [0]), (1, [0, 1]), (1, [0, 1, 2])]


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
