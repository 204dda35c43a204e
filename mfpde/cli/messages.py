"""The ranks of one run as MPI processes: exchanges, the first rank's word to the others, and the end of all.

Every exchange carries one number more per rank: which signal has reached it.  So SIGTERM and SIGINT end all ranks at
the same exchange, wherever they arrived, and the first rank writes the checkpoint.  Between exchanges the first rank
works alone (the limit, files, figures) while the others wait for its word, asleep; whatever goes wrong there, they are
told to end.  An error of one rank in the midst of exchanges, which nobody expects, ends all at once.
"""

from __future__ import annotations

import logging
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.cli.common import Terminated
from mfpde.errors import MfpdeError
from mfpde.io import interrupt

Array = NDArray[np.float64]

_SIGNALS: tuple[type[KeyboardInterrupt] | None, ...] = (None, KeyboardInterrupt, Terminated)
# seconds between two looks at whether the first rank has spoken
_NAPS = (1e-4, 2e-2)
BROKEN = 70


class Ended(Exception):
    """The first rank has come to its end."""


class World:
    """All processes of one launch, as the ``Ranks`` of core.ranks; ``mpi`` is the module mpi4py.MPI."""

    def __init__(self, mpi: Any) -> None:
        self._mpi, self._comm = mpi, mpi.COMM_WORLD
        self.rank, self.size = int(self._comm.Get_rank()), int(self._comm.Get_size())
        # ranks that share the cores and the memory of this machine
        self.on_this_machine = int(self._comm.Split_type(mpi.COMM_TYPE_SHARED).Get_size())
        self._stopped = False
        self.broken = False

    def everywhere(self, part: Array, counts: Sequence[int]) -> Array:
        """As in ``Ranks``; raises what a signal stands for, on all ranks, where it has reached one."""
        message = np.append(part, float(_SIGNALS.index(interrupt.arrived())))
        ends = np.cumsum([count + 1 for count in counts])
        found = np.empty(ends[-1])
        starts = [0, *ends[:-1].tolist()]
        self._comm.Allgatherv(message, [found, ([count + 1 for count in counts], starts), self._mpi.DOUBLE])
        kind = _SIGNALS[int(np.max(found[ends - 1]))]
        if kind is not None and not self._stopped:
            self._stopped = True
            raise kind
        return np.delete(found, ends - 1)

    def at_first(self, part: Array, counts: Sequence[int]) -> Array | None:
        """As in ``Ranks``."""
        found = np.empty(sum(counts)) if self.rank == 0 else None
        target = None if found is None else [found, (list(counts), _starts(counts)), self._mpi.DOUBLE]
        self._comm.Gatherv(np.ascontiguousarray(part), target, root=0)
        return found

    def from_first(self, whole: Array | None, counts: Sequence[int]) -> Array:
        """As in ``Ranks``."""
        own = np.empty(counts[self.rank])
        source = None if whole is None else [whole, (list(counts), _starts(counts)), self._mpi.DOUBLE]
        self._comm.Scatterv(source, own, root=0)
        return own

    def told(self, value: Any) -> Any:
        """As in ``Ranks``; raises Ended on the others where the first rank has ended."""
        found = self._spread((True, value))
        if not found[0]:
            raise Ended
        return found[1]

    def end(self) -> None:
        """Of the first rank: the others hear that it is over."""
        self._spread((False, None))

    def _spread(self, value: Any) -> Any:
        with interrupt.held():  # half a message would leave the others waiting for the rest
            body = np.frombuffer(pickle.dumps(value) if self.rank == 0 else b"", np.uint8)
            size = np.array([body.size])
            self._patiently(self._comm.Ibcast(size, root=0))
            if self.rank != 0:
                body = np.empty(int(size[0]), np.uint8)
            self._patiently(self._comm.Ibcast(body, root=0))
        return value if self.rank == 0 else pickle.loads(body.tobytes())

    @staticmethod
    def _patiently(request: Any) -> None:
        """Wait, asleep: MPI itself would keep a core busy, which the first rank may need for an hour."""
        nap, longest = _NAPS
        while not request.Test():
            time.sleep(nap)
            nap = min(2.0 * nap, longest)

    @contextmanager
    def together(self) -> Iterator[None]:
        """As in ``Ranks``; signals wait for the next exchange."""
        with interrupt.held():
            self.told(None)
            try:
                yield
            except (MfpdeError, KeyboardInterrupt):
                raise
            except BaseException:
                self.broken = True
                raise

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Around all that the first rank does: however it ends, the others end too."""
        try:
            yield
        except BaseException as error:
            if self.broken:
                self.abort(error)
            raise
        finally:
            self.end()

    def abort(self, error: BaseException) -> None:
        """End all ranks at once, saying why."""
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"mfpde: internal error on rank {self.rank}: {words}", file=sys.stderr, flush=True)
        self._comm.Abort(BROKEN)


def _starts(counts: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(counts)[:-1].tolist()]


def follow(world: World, threads: int) -> None:
    """All that a rank other than the first does: its part of the particles, where there are any, and wait."""
    logging.getLogger("mfpde").setLevel(logging.CRITICAL)
    try:
        with interrupt.held():
            _join(world, threads)
    except KeyboardInterrupt:
        pass  # the first rank says so, with its exit code
    except Exception as error:
        world.abort(error)


def _join(world: World, threads: int) -> None:
    try:
        study, drive, bounds = world.told(None)
        from threadpoolctl import threadpool_limits

        from mfpde.core import parallel
        from mfpde.io.particles import join_particles

        try:
            with threadpool_limits(1), parallel.team(threads):
                join_particles(study, drive, bounds, world)
        except (MfpdeError, KeyboardInterrupt) as error:
            if world.broken:
                world.abort(error)
        world.told(None)
    except Ended:
        pass
