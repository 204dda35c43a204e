"""A hidden weight matrix of infinite width, known only where it was asked: the lazy Gaussian operator.

    W_t = U D*  +  E Eps*  +  E M_t D*            (a b* : x -> a <b, x>)

D: orthonormal basis of all forward queries x^(l-1); U: standard Gaussian columns of layer l, one per column of D;
E: orthonormal basis of all backward queries g^l; Eps: standard Gaussian columns of layer l-1; M: what was learned.
U a carries the covariance of the tensor program; E Eps* x and D U* g are its two response terms by Stein's lemma, the
equal-time block included.  A query costs products of blocks and no fixed point; the tests compare with the tables of
dynamical mean-field theory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.theory.deep.columns import Columns, Table, extend, largest_mean_square, mean_products
from mfpde.theory.deep.space import Space

Array = NDArray[np.float64]
Mark = tuple[int, int]


class GaussianOperator:
    """The matrix W^l from the space of layer l-1 (``source``) to that of layer l (``target``).

    New columns of D and E are those residuals of a query whose root mean square exceeds ``tolerance`` times a scale:
    that of the block, or, for backward queries with ``remember``, the largest block so far (queries that carry the
    slope of the loss fade away, and a relative rule would keep resolving their rounding).
    """

    def __init__(self, source: Space, target: Space, tolerance: float, remember: bool) -> None:
        self.source, self.target = source, target
        self.features, self.fresh_out = Columns(source.rows), Columns(target.rows)
        self.gradients, self.fresh_back = Columns(target.rows), Columns(source.rows)
        self.learned, self.velocity = Table(), Table()
        self.dropped = np.zeros(2)
        self.largest = 0.0
        self._tolerance, self._remember = tolerance, remember

    @property
    def rank(self) -> tuple[int, int]:
        """(R_f, R_b): columns of D and of E."""
        return self.features.count, self.gradients.count

    def forward(self, x: Array) -> tuple[Array, Array]:
        """W x for a block x [S, k] of layer l-1: (W x [S, k], coordinates a = D* x [R_f, k])."""
        scale = float(np.sqrt(largest_mean_square(x, self.source.norm)))
        a, new = self._ask(0, self.features, x, self.source, scale)
        if new:
            self.fresh_out.append(self.target.fresh(new))
        learned = mean_products(self.fresh_back.view, x, self.source.norm) + self.learned.view @ a
        return self.fresh_out.view @ a + self.gradients.view @ learned, a

    def backward(self, g: Array) -> tuple[Array, Array]:
        """W* g for a block g [S, k] of layer l: (W* g [S, k], coordinates b = E* g [R_b, k])."""
        scale = float(np.sqrt(largest_mean_square(g, self.target.norm)))
        if self._remember:
            scale = self.largest = max(self.largest, scale)
        b, new = self._ask(1, self.gradients, g, self.target, scale)
        if new:
            self.fresh_back.append(self.source.fresh(new))
        learned = mean_products(self.fresh_out.view, g, self.target.norm) + self.learned.view.T @ b
        return self.fresh_back.view @ b + self.features.view @ learned, b

    def update(self, c: Array, a: Array, b: Array, rate: float, momentum: float) -> None:
        """W <- W - rate sum_mu c_mu g(mu) x(mu)*: c [k], coordinates a [R_f, k] and b [R_b, k] of this step."""
        gradient = (b * c) @ a.T
        if momentum:
            self.velocity.view[...] = momentum * self.velocity.view + gradient
            gradient = self.velocity.view
        self.learned.view[...] -= rate * gradient

    def mark(self) -> tuple[Mark, Array, float]:
        """Where the operator stands, for ``cut``."""
        return self.rank, self.dropped.copy(), self.largest

    def cut(self, mark: tuple[Mark, Array, float]) -> None:
        """Forget every query since ``mark``."""
        (forward, backward), self.dropped, self.largest = mark
        self.features.cut(forward)
        self.fresh_out.cut(forward)
        self.gradients.cut(backward)
        self.fresh_back.cut(backward)
        self._resize()

    def arrays(self) -> dict[str, Array]:
        """Everything a continuation needs."""
        return {
            "features": self.features.view.copy(),
            "fresh_out": self.fresh_out.view.copy(),
            "gradients": self.gradients.view.copy(),
            "fresh_back": self.fresh_back.view.copy(),
            "learned": self.learned.view.copy(),
            "velocity": self.velocity.view.copy(),
            "dropped": self.dropped.copy(),
            "largest": np.array(self.largest),
        }

    def restore(self, arrays: dict[str, Array]) -> None:
        """Take over what ``arrays`` of another operator gave."""
        for name in ("features", "fresh_out", "gradients", "fresh_back"):
            columns: Columns = getattr(self, name)
            columns.cut(0)
            columns.append(arrays[name])
        self._resize()
        self.learned.view[...] = arrays["learned"]
        self.velocity.view[...] = arrays["velocity"]
        self.dropped, self.largest = arrays["dropped"].copy(), float(arrays["largest"])

    def _ask(self, side: int, basis: Columns, block: Array, space: Space, scale: float) -> tuple[Array, int]:
        """Extend D (side 0) or E (side 1) to the block; its coordinates and the number of new columns."""
        if scale == 0.0:
            return np.zeros((basis.count, block.shape[1])), 0
        columns, left, coordinates = extend(basis.view, block, space.norm, self._tolerance * scale)
        self.dropped[side] = max(self.dropped[side], left / scale)
        basis.append(columns)
        space.absorb(columns)
        self._resize()
        return coordinates, columns.shape[1]

    def _resize(self) -> None:
        shape = self.gradients.count, self.features.count
        self.learned.resize(*shape)
        self.velocity.resize(*shape)
