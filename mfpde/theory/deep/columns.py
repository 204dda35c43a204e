"""Columns of random variables on one probability space: storage that grows, and block Gram-Schmidt.

A random variable is a column of S samples with <a, b> = a.b / S, or, exactly, of its coordinates in a Gaussian basis
with <a, b> = a.b; ``norm`` is S or 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

Array = NDArray[np.float64]

_FIRST = 16


class Columns:
    """Columns [rows, count] held in Fortran order with room to grow: appending copies only when the room doubles."""

    def __init__(self, rows: int) -> None:
        self._data = np.empty((rows, _FIRST), order="F")
        self.count = 0

    @property
    def view(self) -> Array:
        """The columns so far : [rows, count], no copy."""
        return self._data[:, : self.count]

    def append(self, block: Array) -> None:
        """Add columns [rows, k]."""
        needed = self.count + block.shape[1]
        if needed > self._data.shape[1]:
            grown = np.empty((len(self._data), max(needed, 2 * self._data.shape[1])), order="F")
            grown[:, : self.count] = self.view
            self._data = grown
        self._data[:, self.count : needed] = block
        self.count = needed

    def cut(self, count: int) -> None:
        """Forget all columns from ``count`` on."""
        self.count = count


class Table:
    """A matrix [rows, columns] that grows in both directions; new entries are zero."""

    def __init__(self) -> None:
        self._data = np.zeros((_FIRST, _FIRST))
        self.shape = (0, 0)

    @property
    def view(self) -> Array:
        """The matrix so far, no copy."""
        return self._data[: self.shape[0], : self.shape[1]]

    def resize(self, rows: int, columns: int) -> None:
        """Give the matrix another size; what is cut off is forgotten."""
        if rows > self._data.shape[0] or columns > self._data.shape[1]:
            grown = np.zeros((max(rows, 2 * self._data.shape[0]), max(columns, 2 * self._data.shape[1])))
            grown[: self.shape[0], : self.shape[1]] = self.view
            self._data = grown
        self._data[rows : self.shape[0]] = 0.0
        self._data[:, columns : self.shape[1]] = 0.0
        self.shape = (rows, columns)


def mean_products(a: Array, b: Array, norm: float) -> Array:
    """<a_i, b_j> : [i, j]."""
    return np.asarray(a.T @ b / norm)


def largest_mean_square(block: Array, norm: float) -> float:
    """The largest <a, a> among the columns of a block."""
    return float(np.max(np.einsum("ij,ij->j", block, block), initial=0.0)) / norm


class Extension(NamedTuple):
    """New orthonormal ``columns`` [rows, j], the largest residual ``left`` out, coordinates of the block [R + j, k]."""

    columns: Array
    left: float
    coordinates: Array


def extend(basis: Array, block: Array, norm: float, floor: float) -> Extension:
    """Orthonormal columns that extend ``basis`` [rows, R] to span ``block`` up to residuals of rms <= ``floor``.

    Block Gram-Schmidt with two passes ("twice is enough"); inside the block Householder QR with column pivoting, which
    meets the largest residual first.
    """
    coordinates = mean_products(basis, block, norm)
    residual = block - basis @ coordinates
    if min(residual.shape) == 0:
        return Extension(residual[:, :0], 0.0, coordinates)
    columns, triangle, _ = qr(residual, mode="economic", pivoting=True, overwrite_a=True, check_finite=False)
    sizes = np.abs(np.diag(triangle)) / np.sqrt(norm)
    kept = int(np.count_nonzero(sizes > floor))
    left = float(sizes[kept]) if kept < len(sizes) else 0.0
    # The columns have lost orthogonality to the basis by as much as they were cancelled in the first pass.
    new = orthonormalise(columns[:, :kept] * np.sqrt(norm), basis, norm, passes=1)
    return Extension(new, left, np.concatenate([coordinates, mean_products(new, block, norm)]))


def orthonormalise(block: Array, basis: Array, norm: float, passes: int = 2) -> Array:
    """The block made orthonormal, and orthogonal to the orthonormal ``basis``, column by column from the left."""
    if block.shape[1] == 0:
        return block
    columns = block
    for _ in range(passes):
        columns = columns - basis @ mean_products(basis, columns, norm)
        columns, triangle = qr(columns, mode="economic", overwrite_a=True, check_finite=False)
        # keeps the direction of every column: a positive diagonal
        columns = columns * (np.sqrt(norm) * np.where(np.diag(triangle) < 0.0, -1.0, 1.0))
    return columns
