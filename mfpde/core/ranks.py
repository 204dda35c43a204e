"""Ranks: processes that run one ensemble together, what each holds of it, and what they tell each other.

A width is cut in one of two ways, whichever leaves the busiest rank less, by replicas where both leave the same:

    by replicas    a rank holds whole networks, and needs nothing of the others to move them;
    by particles   a rank holds some particles of every network, in whole spans of core.passes: partial sums over
                   spans go to all ranks, and each adds them in the order of the spans.

So no sum depends on the number of ranks. Whoever launches the processes implements ``Ranks``; ALONE is one by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.core.tiles import WIDEST

Array = NDArray[np.float64]

_SPANS = 64
_SMALLEST_SPAN = 2048


class Ranks(Protocol):
    """Rank ``rank`` of ``size``. All ranks make the same calls in the same order, each from one thread.

    Arrays go flat: ``counts`` [size] numbers of every rank, rank after rank.
    """

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...

    def everywhere(self, part: Array, counts: Sequence[int]) -> Array:
        """The parts of all ranks, on all ranks."""
        ...

    def at_first(self, part: Array, counts: Sequence[int]) -> Array | None:
        """The parts of all ranks, on the first one; None on the others."""
        ...

    def from_first(self, whole: Array | None, counts: Sequence[int]) -> Array:
        """The part of this rank of what the first one has."""
        ...

    def told(self, value: Any) -> Any:
        """What the first rank says, on all ranks."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Around work with exchanges: an error inside is raised by all ranks at once, or ends them all."""
        ...


class _Alone:
    """A single process."""

    rank, size = 0, 1

    def everywhere(self, part: Array, counts: Sequence[int]) -> Array:
        return part

    def at_first(self, part: Array, counts: Sequence[int]) -> Array | None:
        return part

    def from_first(self, whole: Array | None, counts: Sequence[int]) -> Array:
        assert whole is not None
        return whole

    def told(self, value: Any) -> Any:
        return value

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()


ALONE: Ranks = _Alone()


def network_spans(width: int) -> list[tuple[int, int]]:
    """The spans of particles by which sums over a network of N = ``width`` are cut, whoever computes them.

    A power of two of them, equal to within one vector, so that two or four threads have equal shares.
    """
    most = max(1, min(_SPANS, width // _SMALLEST_SPAN))
    count, vectors = 1 << most.bit_length() - 1, -(-width // WIDEST)
    return list(pairwise(min(WIDEST * (vectors * k // count), width) for k in range(count + 1)))


@dataclass(frozen=True, eq=False)
class Share:
    """The particles bounds[k] .. bounds[k + 1] - 1 of every network are those of rank k, in whole spans."""

    ranks: Ranks
    bounds: tuple[int, ...]

    @property
    def width(self) -> int:
        """N of the whole network."""
        return self.bounds[-1]

    @property
    def first(self) -> int:
        return self.bounds[self.ranks.rank]

    @property
    def stop(self) -> int:
        return self.bounds[self.ranks.rank + 1]

    @cached_property
    def _spans_by_rank(self) -> list[list[tuple[int, int]]]:
        spans = network_spans(self.width)
        return [[span for span in spans if low <= span[0] < high] for low, high in pairwise(self.bounds)]

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """The spans of this rank, counted in its own particles."""
        return [(start - self.first, stop - self.first) for start, stop in self._spans_by_rank[self.ranks.rank]]

    def partials(self, own: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """Partial sums of this rank's spans, each of ``shape``, to those of all spans in their order : [S, *shape]."""
        one = int(np.prod(shape))
        counts = [one * len(spans) for spans in self._spans_by_rank]
        flat = np.concatenate([part.reshape(-1) for part in own]) if own else np.empty(0)
        return self.ranks.everywhere(flat, counts).reshape(-1, *shape)

    def whole(self, part: Array) -> Array:
        """Columns of this rank's particles, [..., own N], to those of all : [..., N], on all ranks."""
        rows = int(np.prod(part.shape[:-1]))
        flat = self.ranks.everywhere(part.reshape(-1), [rows * (high - low) for low, high in pairwise(self.bounds)])
        return self.joined(flat, part.shape[:-1])

    def joined(self, flat: Array, shape: tuple[int, ...]) -> Array:
        """[*shape, N] from the columns of all ranks, one rank after the other."""
        rows = int(np.prod(shape))
        blocks = [flat[rows * low : rows * high].reshape(*shape, high - low) for low, high in pairwise(self.bounds)]
        return np.concatenate(blocks, axis=-1)


@dataclass(frozen=True, eq=False)
class Part:
    """What this rank holds of R networks of one width: some of the replicas, or its ``share`` of every network's N.

    ``bounds`` are those of the replicas, replicas bounds[k] .. bounds[k + 1] - 1 on rank k, or of the share.
    """

    ranks: Ranks
    width: int
    count: int
    bounds: tuple[int, ...]
    share: Share | None = None

    @property
    def replicas(self) -> range:
        if self.share is not None:
            return range(self.count)
        return range(self.bounds[self.ranks.rank], self.bounds[self.ranks.rank + 1])

    @property
    def particles(self) -> range:
        return range(self.width) if self.share is None else range(self.share.first, self.share.stop)

    def _counts(self, rows: int) -> list[int]:
        one = rows * (self.width if self.share is None else self.count)
        return [one * (high - low) for low, high in pairwise(self.bounds)]

    def gathered(self, own: Array) -> Array | None:
        """theta [own R, p, own N] of all ranks as [R, p, N] on the first rank; None on the others."""
        if self.ranks.size == 1:
            return own
        rows = own.shape[1]
        flat = self.ranks.at_first(own.reshape(-1), self._counts(rows))
        if flat is None or self.share is None:
            return None if flat is None else flat.reshape(self.count, rows, self.width)
        return self.share.joined(flat, (self.count, rows))

    def dealt(self, whole: Array | None, rows: int) -> Array:
        """theta [own R, p, own N] of this rank, from [R, p, N] on the first rank; p = ``rows``."""
        if self.ranks.size == 1 and whole is not None:
            return whole
        flat = None
        if whole is not None and self.share is not None:
            flat = np.concatenate([whole[:, :, low:high].reshape(-1) for low, high in pairwise(self.bounds)])
        elif whole is not None:
            flat = whole.reshape(-1)
        own = self.ranks.from_first(flat, self._counts(rows))
        return own.reshape(len(self.replicas), rows, len(self.particles))

    def listed(self, own: Array) -> Array | None:
        """Numbers [own R, k] of every replica as [R, k] on the first rank; None on the others."""
        if self.share is not None:  # all ranks know them
            return own if self.ranks.rank == 0 else None
        columns = own.shape[1]
        flat = self.ranks.at_first(own.reshape(-1), [columns * (high - low) for low, high in pairwise(self.bounds)])
        return None if flat is None else flat.reshape(self.count, columns)


def divide(width: int, replicas: int, ranks: Ranks, divisible: bool) -> Part:
    """The part of this rank; by particles only where the forces are ``divisible``.

    The first rank has a part of everything; where there is less work than ranks, the last ones have none.
    """
    by_replica = tuple(-(-replicas * k // ranks.size) for k in range(ranks.size + 1))
    spans = network_spans(width)
    edges = [*(start for start, _ in spans), width]
    by_particle = tuple(edges[-(-len(spans) * k // ranks.size)] for k in range(ranks.size + 1))
    busiest_replicas, busiest = (max(b - a for a, b in pairwise(bounds)) for bounds in (by_replica, by_particle))
    if divisible and busiest * replicas < busiest_replicas * width:
        return Part(ranks, width, replicas, by_particle, Share(ranks, by_particle))
    return Part(ranks, width, replicas, by_replica)
