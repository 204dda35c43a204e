"""Closed-form forces between all pairs of neurons: mfpde against NumPy, PyTorch, JAX and KeOps on the same numbers.

Operations are counted per pair, a fused multiply-add as two: 4 d for the scalar product and for the sum of vectors,
and KERNEL below for the kernel, its derivatives and the scalar sum by the shortest way known to round-off: a square
root, a quotient and the two polynomials of an angle over its sine. Run: python benchmarks/pairs.py
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from harness import Part, Setting, Variant, absence, compare, fastest, main, peer, record
from machine import peak_flops
from peers import pairs as peers
from tables import Table, Timing, clock_of, number, side_by_side, thread_count

from mfpde.core import pairs, parallel
from mfpde.core.activations import CODES

NEURONS = {"full": 10_000, "quick": 1000}
DIMENSIONS = (10, 20)
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
KERNEL = {"erf": {"float64": 33, "float32": 21}, "relu": {"float64": 32, "float32": 20}}


def ours(activation: str, a: peers.Values, w: peers.Values) -> Variant:
    theta = np.zeros((w.shape[1] + 2, len(a)))
    theta[0], theta[1:-1] = a, w.T
    out, none, code = np.empty_like(theta), np.zeros(1), CODES[activation]
    options: dict[str, Any] = {} if w.dtype == np.float64 else {"precision": "single"}

    def call() -> peers.Result:
        pairs.pair_force(code, none, theta, out, **options)
        return out[0], out[1:-1].T

    return Variant("mfpde", call)


def variants(activation: str, a: peers.Values, w: peers.Values, setting: Setting) -> list[Variant]:
    n = len(a)
    rows = setting.pick((4, 8, 20, 50, 200), (20,))
    found = [ours(activation, a, w)]
    blocked = {str(r): peers.numpy_blocked(activation, a, w, setting.threads, r) for r in rows}
    found.append(Variant("NumPy, in blocks", fastest(blocked)[1]))
    jax = peer("jax", setting)
    if jax is None:
        found.append(Variant("JAX", None, absence("jax", setting)))
    else:
        scans = {str(r): peers.jax_blocked(jax, activation, a, w, r) for r in rows if n % r == 0}
        found.append(Variant("JAX jit, in blocks", fastest(scans)[1]))
    torch = peer("torch", setting)
    if torch is None:
        found.append(Variant("PyTorch", None, absence("torch", setting)))
    else:
        torch.set_num_threads(setting.threads)
        eager = {str(r): peers.torch_blocked(torch, activation, a, w, r, False) for r in rows}
        best, call = fastest(eager)
        found.append(Variant("PyTorch, in blocks", call))
        if not setting.quick:
            fused = peers.torch_blocked(torch, activation, a, w, max(50, int(best)), True)
            found.append(Variant("torch.compile, in blocks", fused))
    pykeops = peer("pykeops", setting)
    if pykeops is None:
        found.append(Variant("KeOps", None, absence("pykeops", setting)))
    else:
        found.append(Variant("KeOps", peers.keops(pykeops, activation, a, w)))
    return found


def measure(setting: Setting) -> Part:
    part, clock = Part(), clock_of(setting.threads)
    threads = thread_count(setting.threads)
    n = NEURONS[setting.pick("full", "quick")]
    roof: list[list[str]] = []
    for dtype in TOLERANCE:
        peak = peak_flops(dtype, setting.threads, setting.pick(200, 10))
        for activation in KERNEL:
            timed: dict[str, list[Timing]] = {}
            for d in DIMENSIONS:
                a, w = peers.make(dtype, n, d)
                expected = peers.reference(activation, a, w)
                with parallel.team(setting.threads):
                    timed[f"d = {d}"] = found = compare(
                        variants(activation, a, w, setting),
                        lambda result, expected=expected: peers.distance(result, expected),
                        TOLERANCE[dtype],
                        setting.pick(7, 2),
                        patience=3.0,
                    )
                peak = max(peak, peak_flops(dtype, setting.threads, setting.pick(50, 5)))
                seconds = found[0].seconds(clock)
                rate = n * n / statistics.median(seconds) if seconds else 0.0
                work = 4 * d + KERNEL[activation][dtype]
                share = f"{100.0 * rate * work / peak:.0f} %"
                roof.append(
                    [activation, dtype, str(d), number(rate / 1e9), str(work), number(rate * work / 1e9), share]
                )
                record(part, found, clock, f"{activation}, {dtype}, d = {d}, {threads}", neurons=n, peak=peak)
            columns, rows = side_by_side(timed, clock)
            part.tables.append(Table(f"{activation}, {dtype}, N = {n}, {threads}, ms of {clock} time", columns, rows))
    columns = ["activation", "type", "d", "Gpair/s", "operations per pair", "GFLOP/s", "of the peak"]
    part.tables.append(Table(f"mfpde, all pairs, {threads}, medians", columns, roof))
    return part


if __name__ == "__main__":
    main("pairs", measure, __doc__)
