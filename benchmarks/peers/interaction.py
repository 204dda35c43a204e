"""The gradient evaluation of a two-layer network as the users of NumPy, PyTorch, JAX and KeOps would write it.

    f_q = (1/N) sum_i a_i sigma(w_i . x_q + b_i),   r_q = (f_q - y_q)/Q,   G_i = grad_theta_i sum_q r_q a_i sigma(z_iq)

Every function returns callables that give (f [Q], g_a [N], g_w [N, d], g_b [N]). The bias is a last component of w
against an input of 1, so that one matrix product gives z; layouts are each library's own and prepared beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from threadpoolctl import ThreadpoolController

Values = NDArray[np.floating]
Result = tuple[Any, Any, Any, Any]
Call = Callable[[], Result]

DENSITY = math.sqrt(2.0 / math.pi)  # of the slope of erf(z / sqrt 2)


@dataclass(frozen=True, eq=False)
class Case:
    """Neurons a [N], w [N, d + 1] (the bias last), inputs x [Q, d + 1] (a one last), targets y [Q]."""

    activation: str
    a: Values
    w: Values
    x: Values
    y: Values

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.w.dtype


def make(activation: str, dtype: str, neurons: int, nodes: int, dimension: int) -> Case:
    """Weights and inputs of order one, as in a network during training."""
    rng = np.random.default_rng(1)
    w = np.concatenate(
        [rng.standard_normal((neurons, dimension)) / np.sqrt(dimension), 0.3 * rng.standard_normal((neurons, 1))],
        axis=1,
    )
    x = np.concatenate([rng.standard_normal((nodes, dimension)), np.ones((nodes, 1))], axis=1)
    a, y = 1.0 + 0.5 * rng.standard_normal(neurons), rng.standard_normal(nodes)
    return Case(activation, *(np.ascontiguousarray(v.astype(dtype)) for v in (a, w, x, y)))


def reference(case: Case) -> Result:
    """In double precision, a thousand neurons at a time, formula by formula."""
    a, w, x, y = (v.astype(np.float64) for v in (case.a, case.w, case.x, case.y))
    value, slope = {
        "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
        "erf": (lambda z: erf(z / np.sqrt(2.0)), lambda z: DENSITY * np.exp(-0.5 * z**2)),
        "relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0.0).astype(float)),
    }[case.activation]
    blocks = [slice(start, start + 1000) for start in range(0, len(a), 1000)]
    f = sum(a[rows] @ value(w[rows] @ x.T) for rows in blocks) / len(a)
    r = (f - y) / len(y)
    g_a, g = np.empty_like(a), np.empty_like(w)
    for rows in blocks:
        z = w[rows] @ x.T
        g_a[rows] = value(z) @ r
        g[rows] = a[rows, None] * ((slope(z) * r) @ x)
    return f, g_a, g[:, :-1], g[:, -1]


def distance(result: Result, expected: Result) -> float:
    """Largest relative distance in the mean square of the four arrays (a relu may flip where z is round-off)."""
    pairs = [(np.asarray(r, np.float64), np.asarray(e)) for r, e in zip(result, expected, strict=True)]
    return max(float(np.linalg.norm(r - e) / np.linalg.norm(e)) for r, e in pairs)


# NumPy --------------------------------------------------------------------------------------------------------------


def numpy_plain(case: Case) -> Call:
    """Whole arrays, as on paper."""
    a, w, x, y = case.a, case.w, case.x, case.y
    root = case.dtype.type(math.sqrt(0.5))

    def call() -> Result:
        z = w @ x.T
        if case.activation == "tanh":
            value = np.tanh(z)
            slope = 1 - value**2
        elif case.activation == "erf":
            value = erf(root * z)
            slope = case.dtype.type(DENSITY) * np.exp(-(z**2) / 2)
        else:
            value = np.maximum(z, 0)
            slope = (z > 0).astype(case.dtype)
        f = a @ value / len(a)
        r = (f - y) / len(y)
        g = a[:, None] * ((slope * r) @ x)
        return f, value @ r, g[:, :-1], g[:, -1]

    return call


def numpy_blocked(case: Case, threads: int, rows: int, columns: int, keep: bool = False) -> Call:
    """Blocks that stay in the cache, in place, threads outside of a single-threaded BLAS.

    The slope is c0 + c1 s(z) with s cheap (tanh squared, the exponential, the step), the residual is folded into x.
    ``keep``: the values of the first pass are kept for the second, which computes z again for erf alone.
    """
    a, y = case.a, case.y
    n, q = len(a), len(y)
    scale = math.sqrt(0.5) if case.activation == "erf" else 1.0
    w, transposed = case.w * case.dtype.type(scale), np.ascontiguousarray(case.x.T)
    c0, c1 = {"tanh": (1.0, -1.0), "erf": (0.0, DENSITY), "relu": (0.0, 1.0)}[case.activation]
    starts = [list(range(t * rows, n, threads * rows)) for t in range(threads)]
    buffers = [np.empty(rows * columns, case.dtype) for _ in range(threads)]
    stored = np.zeros(n * q if keep else 0, case.dtype)
    pool = ThreadPoolExecutor(threads)

    def blocks(t: int) -> Iterator[tuple[slice, slice, Values, Values]]:
        """Neurons, data, room for z, and what is kept of the block (the room itself where nothing is)."""
        for start in starts[t]:
            here = slice(start, min(start + rows, n))
            for first in range(0, q, columns):
                there = slice(first, min(first + columns, q))
                shape = (here.stop - here.start, there.stop - there.start)
                z = buffers[t][: shape[0] * shape[1]].reshape(shape)
                at = start * q + first * shape[0]
                yield here, there, z, stored[at : at + z.size].reshape(shape) if keep else z

    def project(here: slice, there: slice, z: Values) -> Values:
        return np.matmul(w[here], transposed[:, there], out=z)

    def value(z: Values) -> Values:
        if case.activation == "tanh":
            return np.tanh(z, out=z)
        return erf(z, out=z) if case.activation == "erf" else np.maximum(z, 0, out=z)

    def bend(values: Values, out: Values) -> Values:
        """s(z), from the values, or for erf from z itself, which lies in ``out``."""
        if case.activation == "erf":
            np.multiply(out, out, out=out)
            np.negative(out, out=out)
            return np.exp(out, out=out)
        return np.multiply(values, values, out=out) if case.activation == "tanh" else np.greater(values, 0, out=out)

    spare = [np.empty(rows * columns if case.activation == "erf" else 0, case.dtype) for _ in range(threads)]

    def forward(t: int) -> Values:
        total = np.zeros(q, case.dtype)
        for here, there, _, held in blocks(t):
            total[there] += a[here] @ value(project(here, there, held))
        return total

    def call() -> Result:
        f = sum(pool.map(forward, range(threads)) if threads > 1 else [forward(0)]) / n
        r = (f - y) / case.dtype.type(q)
        weighted = r[:, None] * case.x
        g_a, g = np.zeros(n, case.dtype), np.zeros_like(w)

        def backward(t: int) -> None:
            for here, there, z, held in blocks(t):
                exponent = z
                if case.activation == "erf":
                    exponent = spare[t][: z.size].reshape(z.shape)
                    project(here, there, exponent)
                if not keep:
                    np.copyto(z, exponent) if exponent is not z else project(here, there, z)
                    value(z)
                g_a[here] += held @ r[there]
                g[here] += bend(held, exponent) @ weighted[there]

        list(pool.map(backward, range(threads)) if threads > 1 else [backward(0)])
        g *= case.dtype.type(c1)
        g += case.dtype.type(c0) * weighted.sum(axis=0)
        g *= a[:, None]
        return f, g_a, g[:, :-1], g[:, -1]

    controller = ThreadpoolController()

    def limited() -> Result:
        with controller.limit(limits=1, user_api="blas"):
            return call()

    return limited if threads > 1 else call


# PyTorch ------------------------------------------------------------------------------------------------------------


def torch_variants(torch: ModuleType, case: Case, compiled: bool) -> dict[str, Call]:
    """The formulas by hand, by automatic differentiation, and (if asked) by hand through torch.compile."""
    a, w, x, y = (torch.from_numpy(v) for v in (case.a, case.w, case.x, case.y))
    n, q, root = len(a), len(y), math.sqrt(0.5)

    def sigma(z: Any) -> Any:
        if case.activation == "erf":
            return torch.erf(root * z)
        return torch.tanh(z) if case.activation == "tanh" else torch.relu(z)

    def by_hand(a: Any, w: Any, x: Any, y: Any) -> Result:
        z = w @ x.T
        value = sigma(z)
        if case.activation == "tanh":
            slope = 1 - value * value
        elif case.activation == "erf":
            slope = DENSITY * torch.exp(-0.5 * z * z)
        else:
            slope = (z > 0).to(z.dtype)
        f = a @ value / n
        r = (f - y) / q
        g = a[:, None] * ((slope * r) @ x)
        return f, value @ r, g[:, :-1], g[:, -1]

    def automatic() -> Result:
        ag, wg = a.clone().requires_grad_(True), w.clone().requires_grad_(True)
        f = ag @ sigma(wg @ x.T) / n
        (0.5 * n / q * ((f - y) ** 2).sum()).backward()
        return f.detach(), ag.grad, wg.grad[:, :-1], wg.grad[:, -1]

    found: dict[str, Call] = {"PyTorch eager": lambda: by_hand(a, w, x, y), "PyTorch autograd": automatic}
    if compiled:
        torch.compiler.reset()  # after eight sizes of one function it would leave the rest uncompiled
        fused = torch.compile(by_hand, dynamic=False)
        found["torch.compile"] = lambda: fused(a, w, x, y)
    return found


def torch_blocked(torch: ModuleType, case: Case, rows: int, keep: bool = False) -> Call:
    """Blocks of neurons, in place; ``keep``: the values of the first pass are kept for the second."""
    a, w, x, y = (torch.from_numpy(v) for v in (case.a, case.w, case.x, case.y))
    n, q = len(a), len(y)
    scaled = w * math.sqrt(0.5) if case.activation == "erf" else w
    c0, c1 = {"tanh": (1.0, -1.0), "erf": (0.0, DENSITY), "relu": (0.0, 1.0)}[case.activation]
    buffer = torch.empty((min(rows, n), q), dtype=w.dtype)
    value_ = {"tanh": torch.tanh_, "erf": torch.erf_, "relu": torch.relu_}[case.activation]
    blocks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
    stored = torch.empty((n, q) if keep else (0, q), dtype=w.dtype)

    def z_of(here: slice) -> Any:
        return torch.mm(scaled[here], x.T, out=buffer[: here.stop - here.start])

    def values_of(here: slice) -> Any:
        return value_(torch.mm(scaled[here], x.T, out=stored[here])) if keep else value_(z_of(here))

    def call() -> Result:
        f = torch.zeros(q, dtype=w.dtype)
        for here in blocks:
            f += a[here] @ values_of(here)
        f /= n
        r = (f - y) / q
        weighted = r[:, None] * x
        g_a, g = torch.empty_like(a), torch.empty_like(w)
        for here in blocks:
            z = z_of(here) if case.activation == "erf" or not keep else None
            if case.activation == "erf":
                bent = torch.exp_((z * z).neg_())
            value = stored[here] if keep else value_(z)
            torch.mv(value, r, out=g_a[here])
            if case.activation == "tanh":
                bent = torch.mul(value, value, out=buffer[: here.stop - here.start])
            elif case.activation == "relu":
                bent = torch.gt(value, 0).to(value.dtype) if keep else value.gt_(0)
            torch.mm(bent, weighted, out=g[here])
        g = a[:, None] * (c1 * g + c0 * weighted.sum(0))
        return f, g_a, g[:, :-1], g[:, -1]

    return call


# JAX ----------------------------------------------------------------------------------------------------------------


def _jax_sigma(jax: ModuleType, activation: str) -> Callable[[Any], Any]:
    if activation == "erf":
        return lambda z: jax.scipy.special.erf(math.sqrt(0.5) * z)
    return jax.numpy.tanh if activation == "tanh" else lambda z: jax.numpy.maximum(z, 0)


def _jax_slope(jax: ModuleType, activation: str) -> Callable[[Any, Any], Any]:
    np_ = jax.numpy
    if activation == "tanh":
        return lambda z, value: 1 - value * value
    if activation == "erf":
        return lambda z, value: DENSITY * np_.exp(-0.5 * z * z)
    return lambda z, value: (z > 0).astype(z.dtype)


def jax_variants(jax: ModuleType, case: Case) -> dict[str, Call]:
    """jit of the formulas by hand, and jit of the gradient of the loss."""
    np_ = jax.numpy
    arrays = [np_.asarray(v) for v in (case.a, case.w, case.x, case.y)]
    n, q = len(case.a), len(case.y)
    sigma, slope = _jax_sigma(jax, case.activation), _jax_slope(jax, case.activation)

    @jax.jit
    def by_hand(a: Any, w: Any, x: Any, y: Any) -> Result:
        z = w @ x.T
        value = sigma(z)
        f = a @ value / n
        r = (f - y) / q
        g = a[:, None] * ((slope(z, value) * r) @ x)
        return f, value @ r, g[:, :-1], g[:, -1]

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        a, w = parameters
        f = a @ sigma(w @ x.T) / n
        return 0.5 * n / q * np_.sum((f - y) ** 2), f

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def automatic() -> Result:
        (_, f), (g_a, g) = jax.block_until_ready(gradient((arrays[0], arrays[1]), arrays[2], arrays[3]))
        return f, g_a, g[:, :-1], g[:, -1]

    return {"JAX jit": lambda: jax.block_until_ready(by_hand(*arrays)), "JAX jit grad": automatic}


def jax_blocked(jax: ModuleType, case: Case, rows: int, keep: bool = False) -> Call:
    """A scan over blocks of neurons, in which nothing of size N Q is stored but the values, if ``keep``.

    ``rows`` divides N.
    """
    np_, lax = jax.numpy, jax.lax
    n, q, width = len(case.a), len(case.y), case.w.shape[1]
    sigma, slope = _jax_sigma(jax, case.activation), _jax_slope(jax, case.activation)
    a = np_.asarray(case.a.reshape(-1, rows))
    w, x, y = np_.asarray(case.w.reshape(-1, rows, width)), np_.asarray(case.x), np_.asarray(case.y)

    @jax.jit
    def blocked(a: Any, w: Any, x: Any, y: Any) -> Result:
        def forward(total: Any, block: Any) -> Any:
            value = sigma(block[1] @ x.T)
            return total + block[0] @ value, value if keep else None

        total, kept = lax.scan(forward, np_.zeros(q, w.dtype), (a, w))
        f = total / n
        r = (f - y) / q
        weighted = r[:, None] * x

        def backward(block: Any) -> Any:
            # the compiler drops z where the slope follows from the value; that of relu does
            z = block[1] @ x.T if case.activation == "erf" or not keep else block[2]
            value = block[2] if keep else sigma(z)
            return value @ r, block[0][:, None] * (slope(z, value) @ weighted)

        g_a, g = lax.map(backward, (a, w, kept) if keep else (a, w))
        g = g.reshape(n, width)
        return f, g_a.reshape(n), g[:, :-1], g[:, -1]

    return lambda: jax.block_until_ready(blocked(a, w, x, y))


# KeOps --------------------------------------------------------------------------------------------------------------


def keops(pykeops: ModuleType, case: Case) -> Call:
    """Symbolic matrices reduced on the fly; tanh through the exponential. KeOps has no erf."""
    from pykeops.numpy import LazyTensor

    n, q = len(case.a), len(case.y)
    w, a = LazyTensor(case.w[:, None, :]), LazyTensor(np.ascontiguousarray(case.a[:, None, None]))
    x = LazyTensor(case.x[None, :, :])

    def value(z: Any) -> Any:
        return 1 - 2 / (1 + (2 * z).exp()) if case.activation == "tanh" else z.relu()

    def call() -> Result:
        z = (w * x).sum(-1)
        t = value(z)
        f = (a * t).sum(axis=0).ravel() / n
        residual = (f - case.y) / q
        r = LazyTensor(np.ascontiguousarray(residual[None, :, None].astype(case.dtype)))
        g_a = (r * t).sum(axis=1).ravel()
        slope = 1 - t * t if case.activation == "tanh" else z.step()
        g = case.a[:, None] * (r * slope * x).sum(axis=1)
        return f, g_a, g[:, :-1], g[:, -1]

    return call
