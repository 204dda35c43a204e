"""Networks on the data and what the data send back, on the device: see core.interaction for the meaning of both.

theta[R, d + 2, N] by component (a, w, b), x[n, d]. Arrays are NumPy's and contiguous; ``nodes`` puts x on the device
once for many calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from mfpde.core.activations import HERMITE
from mfpde.core.cuda.device import REAL, batches, download, gathered, lock, sums, upload
from mfpde.core.cuda.elements import activation, hermite_table
from mfpde.core.cuda.sweep import pieces
from mfpde.core.passes import Precision

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Nodes:
    """Data nodes on the device, [1, (d + 1) n] by component with a row of ones that multiplies b."""

    values: Any
    size: int
    count: int
    precision: Precision


def nodes(x: Array, precision: Precision = "double") -> Nodes:
    """Put x[n, d] on the device, to be given to the functions here in place of x; later changes of x do not show."""
    real = REAL[precision]
    values = np.vstack([x.T, np.ones(len(x))]).astype(real)
    return Nodes(cuda.to_device(values.reshape(1, -1)), len(values), len(x), precision)


def predict_batch(
    code: int, hermite: Array, theta: Array, x: Array | Nodes, out: Array, precision: Precision = "double"
) -> None:
    """Networks of R replicas, out[R, n]: the means over particles of a sigma(w . x_q + b)."""

    def work(batch: slice, particles: Any, table: Any, at: Nodes) -> None:
        download(_predict(code, table, particles, theta.shape[2], at), out[batch])

    _by_batches(work, code, hermite, theta, x, precision)


def pullback_batch(
    code: int, hermite: Array, theta: Array, x: Array | Nodes, r: Array, out: Array, precision: Precision = "double"
) -> None:
    """Gradients in theta of sum_q r_q a sigma(w . x_q + b) for R replicas: r[R, n], out[R, d + 2, N]."""

    def work(batch: slice, particles: Any, table: Any, at: Nodes) -> None:
        download(_pullback(code, table, particles, theta.shape[2], at, r[batch]), out[batch])

    _by_batches(work, code, hermite, theta, x, precision)


def gradient_batch(
    code: int,
    hermite: Array,
    theta: Array,
    x: Array | Nodes,
    residual: Callable[[Array], Array],
    out: Array,
    precision: Precision = "double",
) -> None:
    """pullback_batch of residual(predict_batch): both halves with theta sent to the device once.

    ``residual`` maps networks [R', n] of some of the replicas to r [R', n] and must not call the device.
    """

    def work(batch: slice, particles: Any, table: Any, at: Nodes) -> None:
        f = np.empty((len(particles), at.count))
        download(_predict(code, table, particles, theta.shape[2], at), f)
        download(_pullback(code, table, particles, theta.shape[2], at, residual(f)), out[batch])

    _by_batches(work, code, hermite, theta, x, precision)


def _by_batches(
    work: Callable[[slice, Any, Any, Nodes], None],
    code: int,
    hermite: Array,
    theta: Array,
    x: Array | Nodes,
    precision: Precision,
) -> None:
    """work(batch of replicas, their particles, table, nodes) for one batch after the other, all three on the device."""
    at = _on_device(x, precision)
    with lock:
        table = _table(code, hermite, precision)
        for batch in _batches(theta, at):
            work(batch, _upload(theta[batch], precision), table, at)


def _predict(code: int, table: Any, particles: Any, count: int, at: Nodes) -> Any:
    real = REAL[at.precision]
    owners, passers = (at.values, 0, at.count), (particles, 1, count)
    partial = sums(activation(code, real), real, owners, passers, at.size, particles, table, gradient=False)
    return gathered(partial, 1, particles, 1.0 / count)


def _pullback(code: int, table: Any, particles: Any, count: int, at: Nodes, r: Array) -> Any:
    real = REAL[at.precision]
    factor = upload("r", r, real).reshape(*r.shape)
    owners, passers = (particles, 1, count), (at.values, 0, at.count)
    partial = sums(activation(code, real), real, owners, passers, at.size, factor, table, gradient=True)
    return gathered(partial, at.size + 1, particles, 1.0)


def _on_device(x: Array | Nodes, precision: Precision) -> Nodes:
    if not isinstance(x, Nodes):
        return nodes(x, precision)
    if x.precision != precision:
        raise ValueError(f"the nodes are in {x.precision} precision, the call asks for {precision}")
    return x


def _upload(theta: Array, precision: Precision) -> Any:
    return upload("theta", theta, REAL[precision]).reshape(len(theta), -1)


def _table(code: int, hermite: Array, precision: Precision) -> Any:
    values = hermite_table(hermite) if code == HERMITE else np.zeros((1, 1, 1))
    return upload("table", values, REAL[precision]).reshape(*values.shape)


def _batches(theta: Array, at: Nodes) -> Iterator[slice]:
    replicas, rows, count = theta.shape
    partial = max(pieces(at.count, count)[1] * at.count, pieces(count, at.count)[1] * rows * count)
    return batches(replicas, 2 * rows * count + partial)
