"""The two passes between the neurons of networks and their data nodes, and what stays between them.

    forward    f_q = sum_i mass_i a_i sigma(z_iq),    z_iq = w_i . x_q + b_i
    backward   grad_i of sum_q r_q a_i sigma(z_iq)

One vector of particles meets the data NODES at a time, and z never leaves the registers. The values of the activation,
and its slopes with them, may be kept on the way to the data for the way back (core.gradient says when); the results
have the same bits either way. In single precision z, sigma and the sums over a vector or a stretch of BLOCKS blocks of
nodes are single; parameters, results and the sums over those are double.

Results are the same bits for any number of threads: particles are cut into spans by their number alone, a span owns
what it writes, and the partial predictions of the spans are added in their order. With a ``share`` the particles are
those of one rank (core.ranks), and the partial predictions are exchanged: again the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mfpde.core import parallel
from mfpde.core.activations import FROM_VALUE, slope_of_value, value_and_slope
from mfpde.core.compilation import HELPER, kernel
from mfpde.core.ranks import Share, network_spans
from mfpde.core.tiles import (
    NODES,
    accumulate_outer,
    add_to,
    clear,
    load_product,
    pack,
    project,
    spread_block,
    workspace,
    write,
    write_products,
)
from mfpde.core.transfers import SUMS, add_product, lanes, load, prefetch, store, stream
from mfpde.core.vector import fma

Array = NDArray[np.float64]
Packed = NDArray[Any]
Kernel = Callable[..., None]
Precision = Literal["double", "single"]

DTYPES: dict[str, Any] = {"double": np.float64, "single": np.float32}
BLOCKS = 64
# where the kernels keep: nowhere, through the caches, past them
NOTHING, NEAR, FAR = 0, 1, 2
AHEAD = 32  # vectors between the request of what was kept and its use
_WORTH_THREADS = 100_000  # pairs; below, starting a thread costs as much


class Keeping(NamedTuple):
    """What stays between the passes: the values of the activation near or far, and its slopes with them or not."""

    where: int
    slopes: bool = False


@njit(**HELPER)
def _put(kept: Packed, at: int, where: int, number: Any) -> None:
    """A vector to kept[at:], through the caches or past them."""
    if where == NEAR:
        store(kept, at, number)
    else:
        stream(kept, at, number)


@njit(**HELPER)
def _take(kept: Packed, at: int) -> Any:
    """The vectors of one block from kept[at:]."""
    width = lanes(kept)
    return load(kept, at), load(kept, at + width), load(kept, at + 2 * width), load(kept, at + 3 * width)


@njit(**HELPER)
def _ask(kept: Packed, at: int, count: int) -> None:
    """Request vectors from kept[at:] on."""
    for k in range(count):
        prefetch(kept, at + k * lanes(kept))


@cache
def _forward(code: int, keeps: bool, slopes: bool) -> Kernel:
    @kernel
    def forward(
        series: Array,
        theta: Array,
        mass: Array,
        nodes: Packed,
        start: int,
        stop: int,
        sums: Array,
        kept: Packed,
        where: int,
        out: Array,
    ) -> None:
        """out[R, n] of the particles start .. stop - 1 of theta[R, d + 2, N]; sums is scratch.

        If it keeps, values of the activation go to kept[replica][vector][block], NEAR through the caches or FAR past
        them, and after those of a block its slopes.
        """
        d = theta.shape[1] - 2
        width, n = lanes(nodes), out.shape[1]
        blocks = nodes.shape[0] // (d * NODES)
        stride = (2 if slopes else 1) * NODES * width
        vectors = (theta.shape[2] + width - 1) // width
        weights = workspace((d + 1) * width, nodes)
        amplitude = workspace(width, nodes)
        for replica in range(theta.shape[0]):
            clear(sums)
            outer, hidden = theta[replica, 0], theta[replica, 1:]
            for first in range(start, stop, width):
                pack(hidden, first, width, weights)
                a = load_product(nodes, mass, outer, first, min(width, stop - first), amplitude)
                b = load(weights, d * width)
                at = (replica * vectors + first // width) * blocks * stride
                for block in range(blocks):
                    z0, z1, z2, z3 = project(weights, nodes, block, d, b)
                    to = block * NODES * SUMS
                    v0, s0 = value_and_slope(code, series, z0)
                    if keeps:
                        _put(kept, at, where, v0)
                    if slopes:
                        _put(kept, at + NODES * width, where, s0)
                    add_product(sums, to, a, v0)
                    v1, s1 = value_and_slope(code, series, z1)
                    if keeps:
                        _put(kept, at + width, where, v1)
                    if slopes:
                        _put(kept, at + (NODES + 1) * width, where, s1)
                    add_product(sums, to + SUMS, a, v1)
                    v2, s2 = value_and_slope(code, series, z2)
                    if keeps:
                        _put(kept, at + 2 * width, where, v2)
                    if slopes:
                        _put(kept, at + (NODES + 2) * width, where, s2)
                    add_product(sums, to + 2 * SUMS, a, v2)
                    v3, s3 = value_and_slope(code, series, z3)
                    if keeps:
                        _put(kept, at + 3 * width, where, v3)
                    if slopes:
                        _put(kept, at + (NODES + 3) * width, where, s3)
                    add_product(sums, to + 3 * SUMS, a, v3)
                    at += stride
            for q in range(n):
                s = sums[q * SUMS : (q + 1) * SUMS]
                out[replica, q] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))

    return forward


@cache
def _backward(code: int, keeps: bool, slopes: bool) -> Kernel:
    tells = code in FROM_VALUE

    @kernel
    def backward(
        series: Array,
        theta: Array,
        nodes: Packed,
        r: Packed,
        start: int,
        stop: int,
        kept: Packed,
        out: Array,
    ) -> None:
        """out[R, d + 2, N] at the particles start .. stop - 1; r[R, blocks NODES] of the type of the nodes.

        If it keeps, what ``forward`` kept is not evaluated again.
        """
        d = theta.shape[1] - 2
        width = lanes(nodes)
        blocks = nodes.shape[0] // (d * NODES)
        stride = (2 if slopes else 1) * NODES * width
        # misses in a row would fill the buffers of the core: a quarter of a block is asked for at a time
        quarter = stride // (4 * width) if keeps else 0
        evaluates = not keeps or not (tells or slopes)
        vectors = (theta.shape[2] + width - 1) // width
        weights = workspace((d + 1) * width, nodes)
        # rows: w_1 .. w_d, b, a
        stretch = workspace((d + 2) * width, nodes)
        gradient = workspace((d + 2) * width, theta)
        row_b, row_a = d * width, (d + 1) * width
        for replica in range(theta.shape[0]):
            outer, hidden, factor, result = theta[replica, 0], theta[replica, 1:], r[replica], out[replica]
            for first in range(start, stop, width):
                count = min(width, stop - first)
                if evaluates:
                    pack(hidden, first, width, weights)
                at = (replica * vectors + first // width) * blocks * stride
                clear(gradient)
                for begin in range(0, blocks, BLOCKS):
                    clear(stretch)
                    for block in range(begin, min(begin + BLOCKS, blocks)):
                        r0, r1, r2, r3 = spread_block(factor, block)
                        if not keeps:
                            z0, z1, z2, z3 = project(weights, nodes, block, d, load(weights, row_b))
                            v0, s0 = value_and_slope(code, series, z0)
                            v1, s1 = value_and_slope(code, series, z1)
                            v2, s2 = value_and_slope(code, series, z2)
                            v3, s3 = value_and_slope(code, series, z3)
                        else:
                            v0, v1, v2, v3 = _take(kept, at)
                            if tells:
                                s0, s1 = slope_of_value(code, v0), slope_of_value(code, v1)
                                s2, s3 = slope_of_value(code, v2), slope_of_value(code, v3)
                            elif slopes:
                                s0, s1, s2, s3 = _take(kept, at + NODES * width)
                            else:
                                z0, z1, z2, z3 = project(weights, nodes, block, d, load(weights, row_b))
                                s0, s1 = value_and_slope(code, series, z0)[1], value_and_slope(code, series, z1)[1]
                                s2, s3 = value_and_slope(code, series, z2)[1], value_and_slope(code, series, z3)[1]
                            at += stride
                        ahead = at + AHEAD * width
                        _ask(kept, ahead, quarter)
                        value = fma(r3, v3, fma(r2, v2, fma(r1, v1, fma(r0, v0, load(stretch, row_a)))))
                        store(stretch, row_a, value)
                        _ask(kept, ahead + quarter * width, quarter)
                        s0, s1, s2, s3 = r0 * s0, r1 * s1, r2 * s2, r3 * s3
                        store(stretch, row_b, load(stretch, row_b) + ((s0 + s1) + (s2 + s3)))
                        _ask(kept, ahead + 2 * quarter * width, quarter)
                        accumulate_outer(nodes, block, d, s0, s1, s2, s3, stretch)
                        _ask(kept, ahead + 3 * quarter * width, quarter)
                    add_to(gradient, stretch)
                write(gradient, row_a, first, count, result[0])
                for k in range(d + 1):
                    write_products(outer, gradient, k * width, first, count, result[k + 1])

    return backward


def carry_forward(
    code: int,
    series: Array,
    theta: Array,
    mass: Array,
    nodes: Packed,
    n: int,
    kept: Packed,
    keeping: Keeping,
    share: Share | None = None,
) -> Array:
    """Networks theta[R, d + 2, N] on packed nodes : [R, n]; what is kept as in the kernel."""
    sums = nodes.size // (theta.shape[1] - 2) * SUMS
    run = _forward(code, keeping.where != NOTHING, keeping.slopes)

    def part(span: tuple[int, int]) -> Array:
        partial = np.empty((len(theta), n))
        run(series, theta, mass, nodes, *span, np.empty(sums), kept, keeping.where, partial)
        return partial

    own = each_span(theta.shape[2], len(theta) * n, part, share)
    total, *rest = own if share is None else share.partials(own, (len(theta), n))
    for partial in rest:
        total += partial
    return np.asarray(total)


def pull_back(
    code: int,
    series: Array,
    theta: Array,
    nodes: Packed,
    r: Array,
    kept: Packed,
    keeping: Keeping,
    out: Array,
    share: Share | None = None,
) -> None:
    """Pullbacks of r[R, n] at packed nodes to out[R, d + 2, N]; what is kept as in the kernel."""
    padded = np.zeros((len(r), nodes.size // max(1, theta.shape[1] - 2)), nodes.dtype)
    padded[:, : r.shape[1]] = r
    run = _backward(code, keeping.where != NOTHING, keeping.slopes)
    each_span(theta.shape[2], r.size, lambda span: run(series, theta, nodes, padded, *span, kept, out), share)


def equal_masses(theta: Array, share: Share | None) -> Array:
    """1/N for every particle of theta[..., N], or of a share of N."""
    return np.full(theta.shape[-1], 1.0 / (theta.shape[-1] if share is None else share.width))


def each_span(
    particles: int, nodes: int, work: Callable[[tuple[int, int]], Any], share: Share | None = None
) -> list[Any]:
    """work((start, stop)) over the spans of the particles, by the team of this thread where it is worth one."""
    spans = network_spans(particles) if share is None else share.spans
    if particles * nodes < _WORTH_THREADS:
        return [work(span) for span in spans]
    return parallel.collect(work, spans)
