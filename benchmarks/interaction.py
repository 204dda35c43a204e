"""One gradient of a two-layer network: mfpde's kernels against NumPy, PyTorch, JAX and KeOps on the same numbers.

    f_q = (1/N) sum_i a_i sigma(w_i . x_q + b_i),   r_q = (f_q - y_q)/Q,   G_i = grad_theta_i sum_q r_q a_i sigma(z_iq)

Operations are counted per pair (neuron, datum), a fused multiply-add as two, in two ways, each the same for every
variant. Plain: of an algorithm that keeps nothing between its two passes and takes rational minimax functions for the
activation, 6 d + 2 VALUE + SLOPE + 10; a rate in plain operations is a speed in units of that algorithm, and can exceed
the peak. Least: 4 d + BOTH + 10, what has to be executed with the shortest formulas known to reach round-off and with
everything evaluated once; it says how much of the machine is used. Run: python benchmarks/interaction.py
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from harness import Part, Setting, Variant, absence, compare, fastest, main, peer, record
from machine import peak_flops
from peers import interaction as peers
from peers.interaction import Case, Result
from tables import Table, Timing, clock_of, number, side_by_side, thread_count

from mfpde.core import parallel
from mfpde.core.activations import CODES
from mfpde.core.gradient import Room, gradient_batch
from mfpde.core.passes import Precision

CASES = {"A": (100_000, 256, 10), "B": (10_000, 4096, 50), "C": (1_000_000, 64, 2)}  # neurons, data, inputs
QUICK = {"A": (2_000, 64, 10), "B": (500, 256, 50), "C": (4_000, 32, 2)}
PRECISIONS: dict[str, Precision] = {"float64": "double", "float32": "single"}
TOLERANCE = {"float64": 1e-11, "float32": 1e-4}
KINK = 20.0  # times the tolerance for relu, whose slope jumps where the sign of z is a matter of rounding
VALUE = {
    "tanh": {"float64": 41, "float32": 23},
    "erf": {"float64": 53, "float32": 27},
    "relu": {"float64": 1, "float32": 1},
}
SLOPE = {
    "tanh": {"float64": 0, "float32": 0},  # 1 - tanh^2 is among the ten
    "erf": {"float64": 32, "float32": 22},
    "relu": {"float64": 1, "float32": 1},
}
BOTH = {
    "tanh": {"float64": 26, "float32": 20},
    "erf": {"float64": 63, "float32": 41},
    "relu": {"float64": 2, "float32": 2},
}


def operations(activation: str, dtype: str, dimension: int) -> int:
    """Plain operations per pair of forward and backward pass."""
    return 6 * dimension + 2 * VALUE[activation][dtype] + SLOPE[activation][dtype] + 10


def least_operations(activation: str, dtype: str, dimension: int) -> int:
    """Operations per pair of forward and backward pass that have to be executed."""
    return 4 * dimension + BOTH[activation][dtype] + 10


def ours(case: Case) -> Variant:
    """mfpde: parameters by component and in double precision, arithmetic in the precision of the case."""
    q = len(case.y)
    theta = np.ascontiguousarray(np.concatenate([case.a[None], case.w.T]), np.float64)
    x = np.ascontiguousarray(case.x[:, :-1], np.float64)
    y, code, none = case.y.astype(np.float64), CODES[case.activation], np.zeros(1)
    f, out, room = np.empty((1, q)), np.empty_like(theta), Room()

    def residual(networks: Any) -> Any:
        f[...] = networks
        return (networks - y) / q

    def call() -> Result:
        gradient_batch(code, none, theta[None], x, residual, out[None], room, PRECISIONS[case.dtype.name])
        return f[0], out[0], out[1:-1].T, out[-1]

    return Variant("mfpde", call)


def _blocks(neurons: int, nodes: int) -> list[tuple[int, int]]:
    """Block shapes worth trying: a quarter of a megabyte to a few."""
    columns = sorted({min(nodes, 256), min(nodes, 1024)})
    return sorted({(min(neurons, size // c), c) for c in columns for size in (1 << 15, 1 << 16, 1 << 17, 1 << 18)})


def variants(case: Case, setting: Setting) -> list[Variant]:
    n, q = len(case.a), len(case.y)
    found = [ours(case)]
    blocked = {
        f"{r} x {c}, {keep}": peers.numpy_blocked(case, setting.threads, r, c, keep)
        for keep in (False, True)
        for r, c in _blocks(n, q)
    }
    found.append(Variant("NumPy, in blocks", fastest(blocked)[1]))
    found.append(Variant("NumPy", peers.numpy_plain(case)))
    divisors = [r for r in (40, 200, 500, 1000, 5000, 20_000) if n % r == 0 and r * q <= 1 << 22]
    jax = peer("jax", setting)
    if jax is not None:
        sizes = setting.pick(divisors, divisors[:1])
        scans = {f"{r}, {keep}": peers.jax_blocked(jax, case, r, keep) for keep in (False, True) for r in sizes}
        found.append(Variant("JAX scan over blocks", fastest(scans)[1]))
        found += [Variant(name, call) for name, call in peers.jax_variants(jax, case).items()]
    else:
        found.append(Variant("JAX", None, absence("jax", setting)))
    torch = peer("torch", setting)
    if torch is not None:
        torch.set_num_threads(setting.threads)
        sizes = setting.pick(divisors, divisors[:1])
        loops = {f"{r}, {keep}": peers.torch_blocked(torch, case, r, keep) for keep in (False, True) for r in sizes}
        found.append(Variant("PyTorch, in blocks", fastest(loops)[1]))
        compiled = not setting.quick  # half a minute of compilation each
        found += [Variant(name, call) for name, call in peers.torch_variants(torch, case, compiled).items()]
    else:
        found.append(Variant("PyTorch", None, absence("torch", setting)))
    pykeops = peer("pykeops", setting)
    if pykeops is None:
        found.append(Variant("KeOps", None, absence("pykeops", setting)))
    elif case.activation == "erf":
        found.append(Variant("KeOps", None, "missing: KeOps has no erf"))
    else:
        found.append(Variant("KeOps", peers.keops(pykeops, case)))
    return found


def measure(setting: Setting) -> Part:
    part, clock = Part(), clock_of(setting.threads)
    threads = thread_count(setting.threads)
    roof: list[list[str]] = []
    for dtype in PRECISIONS:
        peak = peak_flops(dtype, setting.threads, setting.pick(200, 10))
        for activation in VALUE:
            timed: dict[str, list[Timing]] = {}
            shares: list[str] = []
            for name, (n, q, d) in setting.pick(CASES, QUICK).items():
                case = peers.make(activation, dtype, n, q, d)
                expected = peers.reference(case)
                with parallel.team(setting.threads):
                    timed[name] = compare(
                        variants(case, setting),
                        lambda result, expected=expected: peers.distance(result, expected),
                        TOLERANCE[dtype] * (KINK if activation == "relu" else 1.0),
                        setting.pick(7, 2),
                        patience=2.0,
                    )
                # the best of two moments: the peak must not be what the machine lacked while it was measured
                peak = max(peak, peak_flops(dtype, setting.threads, setting.pick(50, 5)))
                seconds = timed[name][0].seconds(clock)
                pairs = n * q / statistics.median(seconds) if seconds else 0.0
                for count in (operations(activation, dtype, d), least_operations(activation, dtype, d)):
                    shares += [f"{count} at {number(pairs * count / 1e9)}", f"{100.0 * pairs * count / peak:.0f} %"]
                label = f"{activation}, {dtype}, case {name}, {threads}"
                record(part, timed[name], clock, label, neurons=n, nodes=q, inputs=d, peak=peak)
            columns, rows = side_by_side(timed, clock)
            part.tables.append(Table(f"{activation}, {dtype}, {threads}, ms of {clock} time", columns, rows))
            roof.append([activation, dtype, number(peak / 1e9), *shares])
    columns = ["activation", "type", "peak GFLOP/s"]
    for name in CASES:
        columns += [f"{name}: plain operations per pair at GFLOP/s", "of the peak", "least", "of the peak"]
    part.tables.append(Table(f"mfpde against the measured peak, {threads}, medians", columns, roof))
    return part


if __name__ == "__main__":
    main("interaction", measure, __doc__)
