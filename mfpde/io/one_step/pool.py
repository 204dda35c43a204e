"""Independent pieces of work in processes of their own, which end when this one does, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from mfpde.errors import ConfigError, NumericalError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(work: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[tuple[int, Result]]:
    """Yield (index, ``work(item)``) as they end; ``work`` is a function of a module, or a partial one.

    With one process, or one item, nothing is started. If the generator is closed early the rest is given up at once.
    """
    if min(processes, len(items)) <= 1:
        for index, item in enumerate(items):
            yield index, work(item)
        return
    # forking would copy threads of BLAS and of this package in the middle of whatever they do
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        min(processes, len(items)), mp_context=context, initializer=_begin, initargs=(reader,)
    ) as pool:
        futures: dict[Future[Result], int] = {
            pool.submit(_guarded, work, item): index for index, item in enumerate(items)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise NumericalError(
                "a process of the pool was killed, perhaps for the memory it took; finished seeds are kept",
                "fewer --threads, or smaller simulation.dimensions",
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            writer.close()
    reader.close()


def run_slices(
    work: Callable[[Item], tuple[Result, Item | None]], items: Sequence[Item], processes: int
) -> Iterator[tuple[int, Result, Item | None]]:
    """Yield (index, result, rest) for ``work(item) = (result, rest)`` and go on with the rest until it is None.

    A piece of work that has begun goes on before another begins.  Closing, and one process, as ``run_all``.
    """
    waiting = list(enumerate(items))[::-1]
    if min(processes, len(items)) <= 1:
        while waiting:
            index, item = waiting.pop()
            result, rest = work(item)
            if rest is not None:
                waiting.append((index, rest))
            yield index, result, rest
        return
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        min(processes, len(items)), mp_context=context, initializer=_begin, initargs=(reader,)
    ) as pool:
        running: dict[Future[tuple[Result, Item | None]], int] = {}
        ended: list[tuple[int, Result, Item | None]] = []
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    index, item = waiting.pop()
                    running[pool.submit(_guarded, work, item)] = index
                yield from ended  # only now, so that no process waits for what the caller does
                ended = []
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index = running.pop(future)
                    result, rest = future.result()
                    if rest is not None:
                        waiting.append((index, rest))
                    ended.append((index, result, rest))
            yield from ended
        except BrokenProcessPool:
            raise NumericalError(
                "a process of the pool was killed, perhaps for the memory it took; finished work is kept",
                "fewer --threads, or a smaller study",
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            writer.close()
    reader.close()


def _guarded(work: Callable[[Any], Any], item: Any) -> Any:
    try:
        return work(item)
    except ConfigError as error:  # whose two arguments do not survive the way back
        raise NumericalError(str(error), error.hint) from None


def _begin(parent: Connection) -> None:
    """One thread of BLAS; interruptions are the parent's business; no life after the parent's."""
    # a limit holds for libraries that are loaded
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """Nothing is ever sent: the pipe wakes up when its other end is closed, by the parent or by its death."""
    parent.poll(None)
    os._exit(1)
