"""Threads for the kernels: a team that a caller opens and belongs to, and spans of work that do not depend on its size.

Kernels release the interpreter's lock, so plain threads serve. A team belongs to the thread that opened it: code that
it runs finds none and computes alone, so that nested loops never wait for each other. Results are the same for any
number of threads because spans depend on the size of the work alone and partial sums are added in their order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from mfpde.core.signals import interrupts_spare_the_compiler

Item = TypeVar("Item")
Result = TypeVar("Result")

_local = threading.local()


@contextmanager
def team(threads: int) -> Iterator[None]:
    """Let ``collect`` use this many threads inside the block; 1 means the calling thread alone."""
    outer = getattr(_local, "team", None)
    if threads <= 1:
        _local.team = None
        try:
            yield
        finally:
            _local.team = outer
        return
    with interrupts_spare_the_compiler(), ThreadPoolExecutor(threads - 1) as pool:
        _local.team = (pool, threads)
        try:
            yield
        finally:
            _local.team = outer


def size() -> int:
    """Threads that ``collect`` would use here."""
    found = getattr(_local, "team", None)
    return 1 if found is None else int(found[1])


def collect(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """[work(item), ...] in the order of the items, by the team of this thread if it has one.

    Of several errors the one of the first item is raised; after an interrupt nothing more is begun.
    """
    found = getattr(_local, "team", None)
    if found is None or len(items) < 2:
        return [work(item) for item in items]
    pool, threads = found
    results: dict[int, Result] = {}
    errors: dict[int, Exception] = {}
    # every worker takes the next item when it is free: starting one task for each costs more than many of them take
    remaining = enumerate(items)

    def some() -> None:
        for k, item in remaining:
            try:
                results[k] = work(item)
            except Exception as error:
                errors[k] = error

    # the caller is one of the team: Linux puts two workers that a busy thread wakes together on one core
    tasks = [pool.submit(some) for _ in range(min(threads, len(items)) - 1)]
    try:
        _local.team = None
        some()
        for task in tasks:
            task.result()
    finally:
        _local.team = found
        for _ in remaining:
            pass
    if errors:
        raise errors[min(errors)]
    return [results[k] for k in range(len(items))]


def spans(count: int, most: int, multiple: int, least: int) -> list[tuple[int, int]]:
    """At most ``most`` pieces (start, stop) of range(count), each of at least ``least``, cut at multiples."""
    piece = max(least, -(-count // most))
    piece = -(-piece // multiple) * multiple
    return [(start, min(start + piece, count)) for start in range(0, count, piece)]
