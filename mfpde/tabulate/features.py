"""Features of a problem at points, and the two sums of a grid over them, from a table or evaluated anew each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.core import activations, interaction, parallel, table_sums
from mfpde.pairwise import pairwise_features
from mfpde.problem import KINKED, Network, Pairwise, Problem
from mfpde.tabulate.averages import averaged, averaged_features

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# cells that a kernel is given at once, and features held at once where there is no table
BLOCK, HELD = 8192, 1 << 20
# numbers of a table that one thread takes at least, and pieces at most
_SPAN, _SPANS = 1 << 18, 64


@dataclass(frozen=True, eq=False)
class Cells:
    """The (w, b) at which features are needed: a tensor product, of which nothing is stored but its factors.

    ``columns`` names for each parameter the axis of ``shape`` along which it varies, and its values there.
    """

    shape: tuple[int, ...]
    columns: tuple[tuple[int, Array], ...]

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))

    def at(self, index: Index) -> Array:
        """Points [m, p] (columns w, b) of the cells with flat numbers ``index`` [m]."""
        position = np.unravel_index(index, self.shape)
        return np.stack([values[position[axis]] for axis, values in self.columns], axis=1)


def node_features(problem: Problem, points: Array, select: Index | None = None) -> Array:
    """phi_q without the output weight at points [m, p] (columns w, b) : [m, n], or only the nodes in ``select``."""
    out = np.empty((len(points), len(problem.data.y) if select is None else len(select)))
    _fill(problem, points, select, out)
    return out


def _fill(problem: Problem, points: Array, select: Index | None, out: Array) -> None:
    model = problem.model
    if isinstance(model, Pairwise):
        values = pairwise_features(model, points)
        out[...] = values if select is None else values[:, select]
        return
    if averaged(problem):
        for cells in _blocks(0, len(points), HELD // out.shape[1]):
            out[cells] = averaged_features(problem, points[cells], select)[0]
        return
    theta = network_points(problem, points)
    x, average = rotated_nodes(problem, select)
    code, hermite = _activation(model)
    for start in range(0, len(points), BLOCK):
        block = np.ascontiguousarray(theta[:, start : start + BLOCK])
        interaction.features(code, hermite, block, x, average, out[start : start + BLOCK])


def network_points(problem: Problem, points: Array) -> Array:
    """theta [k + 2, m] of the interaction kernels, with unit output weight, from points [m, p] (columns w, b)."""
    k = problem.data.x.shape[1]
    theta = np.zeros((k + 2, len(points)))
    theta[0] = 1.0
    theta[1 : 1 + points.shape[1]] = points.T
    return theta


def rotated_nodes(problem: Problem, select: Index | None = None) -> tuple[Array, Array]:
    """The nodes with the rotations that average them: x [n, T, k] contiguous, average [T]."""
    assert isinstance(problem.model, Network)
    x, average = datalaws.rotation_average(problem.data, problem.model.activation not in KINKED)
    return np.ascontiguousarray(x if select is None else x[select]), average


def _activation(model: Network) -> tuple[int, Array]:
    return activations.CODES[model.activation], model.parameters


def stored(problem: Problem, cells: Cells, select: Index | None) -> Stored:
    """The table of all nodes, or only those in ``select``."""
    count = len(problem.data.y) if select is None else len(select)
    table = np.empty((cells.count, count))

    def fill(block: slice) -> None:
        _fill(problem, cells.at(np.arange(block.start, block.stop)), select, table[block])

    parallel.collect(fill, list(_blocks(0, cells.count)))
    return Stored(table)


@dataclass(frozen=True, eq=False)
class Stored:
    """A table [cells, R] of features."""

    table: Array

    @property
    def rank(self) -> int:
        return self.table.shape[1]

    def gather(self, mass: Array) -> Array:
        """sum over cells of mass [cells] phi : [R]."""
        mass = _plain(mass)

        def part(span: tuple[int, int]) -> Array:
            total = np.empty(self.rank)
            table_sums.gather(self.table[slice(*span)], mass[slice(*span)], total)
            return total

        parts = parallel.collect(part, self._spans)
        return np.asarray(sum(parts[1:], parts[0]))

    def spread(self, r: Array) -> Array:
        """sum_q r_q phi_q : [cells], from r [R]."""
        out, r = np.empty(len(self.table)), _plain(r)
        parallel.collect(lambda span: table_sums.spread(self.table[slice(*span)], r, out[slice(*span)]), self._spans)
        return out

    def rows(self, start: int, stop: int) -> Iterator[tuple[slice, Array]]:
        """(cells, their features) of cells start .. stop - 1, block by block."""
        for block in _blocks(start, stop, HELD // self.rank):
            yield block, self.table[block]

    @property
    def _spans(self) -> list[tuple[int, int]]:
        cells, rank = self.table.shape
        return parallel.spans(cells, _SPANS, 8, max(1, _SPAN // rank))


@dataclass(frozen=True, eq=False)
class Direct:
    """Features of the nodes ``select`` [R], evaluated whenever they are needed."""

    problem: Problem
    cells: Cells
    select: Index

    @property
    def rank(self) -> int:
        return len(self.select)

    @cached_property
    def _theta(self) -> Array:
        theta = np.empty((self.problem.data.x.shape[1] + 2, self.cells.count))
        for block in _blocks(0, self.cells.count):
            theta[:, block] = network_points(self.problem, self.cells.at(np.arange(block.start, block.stop)))
        return theta

    @cached_property
    def _nodes(self) -> tuple[Array, Array]:
        """Nodes and rotations as rows [R T, k], average [T]."""
        x, average = rotated_nodes(self.problem, self.select)
        return x.reshape(-1, x.shape[2]), average

    def gather(self, mass: Array) -> Array:
        """sum over cells of mass [cells] phi : [R]."""
        model = self.problem.model
        if isinstance(model, Pairwise) or averaged(self.problem):
            total = np.zeros(self.rank)
            for block, phi in self.rows(0, self.cells.count):
                total += mass[block] @ phi
            return total
        x, average = self._nodes
        f = np.empty(len(x))
        interaction.predict(*_activation(model), self._theta, mass, x, f)
        return np.asarray(f.reshape(-1, len(average)) @ average)

    def spread(self, r: Array) -> Array:
        """sum_q r_q phi_q : [cells], from r [R]."""
        model, out = self.problem.model, np.empty(self.cells.count)
        if isinstance(model, Pairwise) or averaged(self.problem):
            for block, phi in self.rows(0, self.cells.count):
                out[block] = phi @ r
            return out
        x, average = self._nodes
        interaction.potential(*_activation(model), self._theta, x, np.outer(r, average).reshape(-1), out)
        return out

    def rows(self, start: int, stop: int) -> Iterator[tuple[slice, Array]]:
        """(cells, their features) of cells start .. stop - 1, block by block."""
        for block in _blocks(start, stop, HELD // self.rank):
            yield block, node_features(self.problem, self.cells.at(np.arange(block.start, block.stop)), self.select)


def _plain(values: Array) -> Array:
    """Contiguous and writable, so that kernels are compiled for one type of array."""
    return np.require(values, requirements=["C", "W"])


def _blocks(start: int, stop: int, most: int = BLOCK) -> Iterator[slice]:
    size = min(BLOCK, max(64, most))
    for low in range(start, stop, size):
        yield slice(low, min(low + size, stop))
