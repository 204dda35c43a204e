"""Widths x replicas of finite networks, and how their work is portioned out to the threads of one rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from mfpde.core import parallel
from mfpde.core.ranks import ALONE, Part, divide
from mfpde.steppers.kernels import DOUBLE, Kernels
from mfpde.steppers.schedule import CONSTANT, Schedule

CHUNKS_PER_THREAD = 4.0
# neurons from which the kernels cut a network into several spans, so that threads can share it
WIDE = 8192


@dataclass(frozen=True)
class EnsembleSettings:
    """Widths x replicas and how they move.

    ``dynamics`` langevin (noise of the problem's temperature), gradient (none) or sgd (``batch`` fresh samples per
    step, Euler scheme, and the noise of the temperature); ``coupling`` synchronous copies or none; ``nodes``
    quasi-random nodes where no exact force exists; ``kernels`` that sum over neurons and data; ``schedule`` how sgd
    divides the limit's clock into steps, of ``step`` where it is constant.
    """

    widths: tuple[int, ...]
    replicas: int
    step: float
    dynamics: Literal["langevin", "gradient", "sgd"] = "langevin"
    scheme: Literal["heun", "euler"] = "heun"
    batch: int = 0
    coupling: Literal["synchronous", "independent"] = "synchronous"
    nodes: int = 4096
    seed: int = 0
    kernels: Kernels = DOUBLE
    schedule: Schedule = CONSTANT


@dataclass(frozen=True)
class Chunk:
    """Replicas first .. stop - 1 of one width, counted from the first one that this rank holds."""

    width: int
    first: int
    stop: int

    @property
    def span(self) -> slice:
        return slice(self.first, self.stop)


def chunks(
    settings: EnsembleSettings, operations: Callable[[int], float], parts: Mapping[int, Part] | None = None
) -> tuple[list[Chunk], list[Chunk]]:
    """Chunks that take the whole team of core.parallel one after the other, and chunks that its threads share.

    ``operations(width)`` is the cost of one replica.  A shared chunk is at most an even share, costly ones come first,
    and cheap replicas stay together.  Where a single replica exceeds that share it is left to the threads of its
    kernels, which cut wide networks into spans; on a GPU all replicas of a width go together.  ``parts`` are those of
    this rank; replicas whose particles are shared among the ranks come one by one, in the same order everywhere.
    """
    threads = parallel.size()
    parts = parts or {width: divide(width, settings.replicas, ALONE, False) for width in settings.widths}
    cost = {width: operations(width) + 1e3 * width for width in settings.widths}
    share = sum(cost[w] * len(part.replicas) for w, part in parts.items()) / (CHUNKS_PER_THREAD * threads)
    whole, shared = [], []
    for width, part in parts.items():
        replicas = len(part.replicas)
        if part.share is not None or (width >= WIDE and cost[width] > share and settings.kernels.device == "cpu"):
            whole += [Chunk(width, k, k + 1) for k in range(replicas)]
        elif settings.kernels.device == "cuda":
            whole += [Chunk(width, 0, replicas)] if replicas else []
        else:
            size = max(1, min(int(share / cost[width]), -(-replicas // threads)))
            shared += [Chunk(width, k, min(k + size, replicas)) for k in range(0, replicas, size)]
    return whole, sorted(shared, key=lambda chunk: -cost[chunk.width] * (chunk.stop - chunk.first))
