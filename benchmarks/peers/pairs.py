"""All-pairs forces under Gaussian inputs as the users of NumPy, PyTorch, JAX and KeOps would write them.

    out_a,i = (1/N) sum_j a_j K_ij,   out_w,i = (a_i/N) sum_j a_j (K_p w_j + 2 K_q w_i),   p = w_i . w_j,  q = |w_i|^2

    erf    K = (2/pi) atan(p / root),  root^2 = (1 + q)(1 + q') - p^2,  K_p = (2/pi)/root,  2 K_q = -K_p p/(1 + q)
    relu   K = |w||w'| (s + t c)/(2 pi),  c = cos of the angle, t = acos(-c), s^2 = 1 - c^2,  K_p = t/(2 pi),
           2 K_q = s |w'|/(2 pi |w|)

Blocks of rows against all columns, so that nothing of size N^2 is stored. Results are (out_a [N], out_w [N, d]).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Values = NDArray[np.floating]
Result = tuple[Any, Any]
Call = Callable[[], Result]

TWO_OVER_PI = 2.0 / math.pi
BY_TWO_PI = 0.5 / math.pi


def make(dtype: str, neurons: int, dimension: int) -> tuple[Values, Values]:
    """a [N] and w [N, d] of order one."""
    rng = np.random.default_rng(2)
    w = rng.standard_normal((neurons, dimension)) / np.sqrt(dimension)
    return (1.0 + 0.5 * rng.standard_normal(neurons)).astype(dtype), w.astype(dtype)


def reference(activation: str, a: Values, w: Values) -> Result:
    """In double precision, formula by formula."""
    a, w = a.astype(np.float64), w.astype(np.float64)
    q = np.sum(w * w, axis=1)
    out_a, out_w = np.empty_like(a), np.empty_like(w)
    for start in range(0, len(a), 256):
        i = slice(start, min(start + 256, len(a)))
        p = w[i] @ w.T
        if activation == "erf":
            root = np.sqrt((1.0 + q[i, None]) * (1.0 + q) - p * p)
            kernel = TWO_OVER_PI * np.arctan2(p, root)
            by_p, by_q = TWO_OVER_PI / root, -0.5 * TWO_OVER_PI * p / root / (1.0 + q[i, None])
        else:
            root = np.sqrt(np.maximum(q[i, None] * q - p * p, 0.0))
            angle = np.pi - np.arctan2(root, p)
            kernel = BY_TWO_PI * (root + angle * p)
            by_p, by_q = BY_TWO_PI * angle, 0.5 * BY_TWO_PI * root / q[i, None]
        out_a[i] = kernel @ a / len(a)
        out_w[i] = a[i, None] * ((by_p * a) @ w + 2.0 * w[i] * (by_q @ a)[:, None]) / len(a)
    return out_a, out_w


def distance(result: Result, expected: Result) -> float:
    pairs = [(np.asarray(r, np.float64), np.asarray(e)) for r, e in zip(result, expected, strict=True)]
    return max(float(np.linalg.norm(r - e) / np.linalg.norm(e)) for r, e in pairs)


def numpy_blocked(activation: str, a: Values, w: Values, threads: int, rows: int) -> Call:
    """In place in blocks that stay in the cache, threads outside of a single-threaded BLAS."""
    n = len(w)
    norms = np.sqrt(np.sum(w * w, axis=1))
    unit = w / norms[:, None]
    aw, reach = a[:, None] * w, a * norms
    excess = 1 + norms * norms
    shape = (threads, 2, rows, n)
    buffers, pool, controller = np.empty(shape, w.dtype), ThreadPoolExecutor(threads), ThreadpoolController()
    out_a, out_w = np.empty_like(a), np.empty_like(w)
    lower, one = w.dtype.type(-1), w.dtype.type(1)

    def erf(p: Values, other: Values, i: slice) -> None:
        np.multiply(excess[i, None], excess, out=other)
        other -= p * p
        np.sqrt(other, out=other)
        np.divide(one, other, out=other)
        p *= other
        out_w[i] = other @ aw - w[i] * ((p @ a) / excess[i])[:, None]
        out_a[i] = np.arctan(p, out=p) @ a

    def relu(c: Values, other: Values, i: slice) -> None:
        np.clip(c, lower, one, out=c)  # minus the cosine
        np.arccos(c, out=other)
        out_w[i] = other @ aw
        other *= c
        bent = other @ reach
        np.multiply(c, c, out=c)
        np.subtract(one, c, out=c)
        np.sqrt(c, out=c)
        sines = c @ reach
        out_w[i] += w[i] * (sines / norms[i])[:, None]
        out_a[i] = norms[i] * (sines - bent)

    def work(t: int) -> None:
        for start in range(t * rows, n, threads * rows):
            i = slice(start, min(start + rows, n))
            block, other = buffers[t, :, : i.stop - i.start]
            if activation == "erf":
                erf(np.matmul(w[i], w.T, out=block), other, i)
            else:
                relu(np.matmul(-unit[i], unit.T, out=block), other, i)

    constant = w.dtype.type((TWO_OVER_PI if activation == "erf" else BY_TWO_PI) / n)

    def call() -> Result:
        with controller.limit(limits=1, user_api="blas"):
            list(pool.map(work, range(threads)) if threads > 1 else [work(0)])
        return out_a * constant, out_w * (constant * a)[:, None]

    return call


def _block(np_: Any, activation: str) -> Callable[..., tuple[Any, Any]]:
    """(out_a, out_w) of a block of rows, constants left out, by functions that PyTorch and JAX call the same."""

    def erf(wi: Any, ai: Any, w: Any, a: Any, aw: Any) -> tuple[Any, Any]:
        p = wi @ w.T
        excess_i, excess = 1 + (wi * wi).sum(1), 1 + (w * w).sum(1)
        inverse = 1 / np_.sqrt(excess_i[:, None] * excess - p * p)
        ratio = p * inverse
        out = inverse @ aw - wi * ((ratio @ a) / excess_i)[:, None]
        return np_.arctan(ratio) @ a, ai[:, None] * out

    def relu(wi: Any, ai: Any, w: Any, a: Any, aw: Any) -> tuple[Any, Any]:
        norm_i, norm = np_.sqrt((wi * wi).sum(1)), np_.sqrt((w * w).sum(1))
        c = np_.clip((wi / norm_i[:, None]) @ (w / norm[:, None]).T, -1.0, 1.0)
        t, s = np_.arccos(-c), np_.sqrt(1 - c * c)
        reach = a * norm
        out = t @ aw + wi * ((s @ reach) / norm_i)[:, None]
        return norm_i * ((s + t * c) @ reach), ai[:, None] * out

    return erf if activation == "erf" else relu


def torch_blocked(torch: ModuleType, activation: str, a: Values, w: Values, rows: int, compiled: bool) -> Call:
    a_, w_ = torch.from_numpy(a), torch.from_numpy(w)
    block = _block(torch, activation)
    if compiled:
        torch.compiler.reset()  # after eight sizes of one function it would leave the rest uncompiled
        block = torch.compile(block, dynamic=False)
    constant = (TWO_OVER_PI if activation == "erf" else BY_TWO_PI) / len(a)

    def call() -> Result:
        aw = a_[:, None] * w_
        parts = [block(w_[k : k + rows], a_[k : k + rows], w_, a_, aw) for k in range(0, len(a), rows)]
        out_a, out_w = (torch.cat(found) for found in zip(*parts, strict=True))
        return constant * out_a, constant * out_w

    return call


def jax_blocked(jax: ModuleType, activation: str, a: Values, w: Values, rows: int) -> Call:
    """A map over blocks inside one jit; ``rows`` divides N."""
    np_ = jax.numpy
    block = _block(np_, activation)
    n, d = w.shape
    constant = (TWO_OVER_PI if activation == "erf" else BY_TWO_PI) / n

    @jax.jit
    def force(a: Any, w: Any) -> Result:
        aw = a[:, None] * w
        cut = (w.reshape(-1, rows, d), a.reshape(-1, rows))
        out_a, out_w = jax.lax.map(lambda part: block(*part, w, a, aw), cut)
        return constant * out_a.reshape(n), constant * out_w.reshape(n, d)

    arrays = np_.asarray(a), np_.asarray(w)
    return lambda: jax.block_until_ready(force(*arrays))


def keops(pykeops: ModuleType, activation: str, a: Values, w: Values) -> Call:
    """One symbolic reduction with all columns of the result side by side."""
    from pykeops.numpy import LazyTensor

    n = len(a)
    q = np.sum(w * w, axis=1)[:, None]
    wi, wj, aj = LazyTensor(w[:, None, :]), LazyTensor(w[None, :, :]), LazyTensor(a[None, :, None].copy())
    qi, qj = LazyTensor(q[:, None, :]), LazyTensor(q[None, :, :])

    def call() -> Result:
        p = (wi * wj).sum(-1)
        if activation == "erf":
            inverse = ((1 + qi) * (1 + qj) - p * p).rsqrt()
            kernel, by_p, by_q, constant = (p * inverse).atan(), inverse, -1 * p * inverse / (1 + qi), TWO_OVER_PI / n
        else:
            root = (qi * qj - p * p).relu().sqrt()
            angle = math.pi - root.atan2(p)
            kernel, by_p, by_q, constant = root + angle * p, angle, root / qi, BY_TWO_PI / n
        total = (aj * kernel.concat(by_q).concat(by_p * wj)).sum(axis=1)
        return constant * total[:, 0], constant * a[:, None] * (total[:, 2:] + w * total[:, 1:2])

    return call
