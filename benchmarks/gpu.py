"""The particle kernels on an NVIDIA GPU: mfpde against its own kernels on the processor and against PyTorch on the GPU.

Cases, operations and references are those of interaction.py and pairs.py. "Data on the device" leaves the transfers
out and is what PyTorch is compared with; the others take and give NumPy arrays, as a run does. Peaks are measured
here: multiply-adds, a copy in device memory, transfers from and to NumPy arrays. All times are wall times after the
device has finished. Without a GPU nothing is run or written. (Not called cuda.py: numba-cuda imports a package of that
name, which a script in this folder would hide.) Run: python benchmarks/gpu.py
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import interaction as gradients
import numpy as np
import pairs as forces
from harness import Part, Setting, Variant, absence, compare, main, peer, record
from numba import cuda
from peers import interaction as peers
from peers import pairs as pair_peers
from tables import Table, Timing, number, side_by_side

from mfpde.core import cuda as backend
from mfpde.core import pairs, parallel
from mfpde.core.activations import CODES
from mfpde.core.gradient import Room, gradient_batch

NEURONS = {"full": 20_000, "quick": 40}
QUICK = {"A": (70, 40, 3)}
# neurons, replicas, nodes and inputs of the ensembles whose calls are short
SMALL = {"full": [(n, 8, 256, 10) for n in (64, 256, 1024, 4096, 16_384)], "quick": [(40, 2, 9, 3)]}
BLOCK_ENTRIES = 1 << 26  # of a block of neurons against all nodes, for PyTorch


@cuda.jit
def multiply_add(out: Any, start: Any, steps: int) -> None:
    """Eight independent chains in every thread."""
    i = cuda.grid(1)
    x = start[0]
    a, b, c, d = x, x + x, x * x, x - x
    e, f, g, h = a * x, b * x, c * x, d * x
    for _ in range(steps):
        a, b, c, d = a * x + x, b * x + x, c * x + x, d * x + x
        e, f, g, h = e * x + x, f * x + x, g * x + x, h * x + x
    out[i] = (a + b + c + d) + (e + f + g + h)


@cuda.jit
def copy(source: Any, target: Any) -> None:
    i = cuda.grid(1)
    if i < source.shape[0]:
        target[i] = source[i]


def best(call: Callable[[], Any], runs: int) -> float:
    """Seconds of the fastest of ``runs`` calls, the device having finished; one more before them is not timed."""
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        call()
        cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def peaks(setting: Setting) -> dict[str, float]:
    """GFLOP/s of multiply-adds in both precisions and GB/s of a copy and of the transfers."""
    found = {}
    blocks, threads, steps = setting.pick((4096, 256, 4096), (2, 4, 3))
    runs = setting.pick(20, 1)
    for dtype in gradients.PRECISIONS:
        out, start = cuda.device_array(blocks * threads, dtype), cuda.to_device(np.full(1, 0.5, dtype))
        seconds = best(lambda out=out, start=start: multiply_add[blocks, threads](out, start, steps), runs)
        found[f"multiply-add, {dtype}, GFLOP/s"] = 16.0 * blocks * threads * steps / seconds / 1e9
    size = setting.pick(1 << 27, 1 << 6)
    host = np.ones(size)
    source, target = cuda.to_device(host), cuda.device_array(size, np.float64)
    grid = -(-size // 256)
    found["copy in device memory, GB/s"] = 16.0 * size / best(lambda: copy[grid, 256](source, target), runs) / 1e9
    found["from NumPy to the device, GB/s"] = 8.0 * size / best(lambda: target.copy_to_device(host), 5) / 1e9
    found["from the device to NumPy, GB/s"] = 8.0 * size / best(lambda: target.copy_to_host(host), 5) / 1e9
    return found


def fetched(result: Any) -> Any:
    """Results left on the device are given as a function that brings them."""
    return result() if callable(result) else result


def gradient_variants(case: peers.Case, setting: Setting) -> list[Variant]:
    from mfpde.core.cuda import device as shared
    from mfpde.core.cuda import interaction as on_device

    n, q = len(case.a), len(case.y)
    precision = gradients.PRECISIONS[case.dtype.name]
    theta = np.ascontiguousarray(np.concatenate([case.a[None], case.w.T]).astype(np.float64))
    x, y = np.ascontiguousarray(case.x[:, :-1], np.float64), case.y.astype(np.float64)
    code, none = CODES[case.activation], np.zeros(1)
    f, out = np.empty((1, q)), np.empty((1, *theta.shape))
    at = on_device.nodes(x, precision)
    real = shared.REAL[precision]
    particles = cuda.to_device(theta.astype(real).reshape(1, -1))
    expected = peers.reference(case)[0]
    factor = cuda.to_device(((expected - y) / q).astype(real).reshape(1, -1))
    table = cuda.to_device(np.zeros((1, 1, 1), real))
    element = on_device.activation(code, real)
    nodes, neurons = (at.values, 0, q), (particles, 1, n)

    def result(f: Any, out: Any) -> peers.Result:
        return f, out[0], out[1:-1].T, out[-1]

    def resident() -> Callable[[], peers.Result]:
        partial = shared.sums(element, real, nodes, neurons, at.size, particles, table, gradient=False)
        shared.gathered(partial, 1, particles, 1.0 / n)
        partial = shared.sums(element, real, neurons, nodes, at.size, factor, table, gradient=True)
        gradient = shared.gathered(partial, at.size + 1, particles, 1.0)
        cuda.synchronize()
        # the networks went the way of all scratch; gradient_batch checks them
        return lambda: result(expected, gradient.copy_to_host().reshape(theta.shape))

    def one_transfer() -> peers.Result:
        def residual(values: Any) -> Any:
            f[...] = values
            return (values - y) / q

        on_device.gradient_batch(code, none, theta[None], at, residual, out, precision)
        return result(f[0], out[0])

    def two_calls() -> peers.Result:
        on_device.predict_batch(code, none, theta[None], at, f, precision)
        on_device.pullback_batch(code, none, theta[None], at, (f - y) / q, out, precision)
        return result(f[0], out[0])

    room = Room()

    def processor() -> peers.Result:
        def residual(values: Any) -> Any:
            f[...] = values
            return (values - y) / q

        gradient_batch(code, none, theta[None], x, residual, out, room, precision)
        return result(f[0], out[0])

    found = [
        Variant("mfpde, data on the device", resident),
        Variant("mfpde, gradient_batch", one_transfer),
        Variant("mfpde, predict_batch and pullback_batch", two_calls),
        Variant("mfpde on the processor", processor),
    ]
    torch = gpu_torch(setting)
    if torch is None:
        return [*found, Variant("PyTorch, data on the device", None, no_torch(setting))]
    calls = torch_gradients(torch, case, compiled=not setting.quick)
    return found + [Variant(f"{name}, data on the device", call) for name, call in calls.items()]


def gpu_torch(setting: Setting) -> ModuleType | None:
    torch = peer("torch", setting)
    return torch if torch is not None and torch.cuda.is_available() else None


def no_torch(setting: Setting) -> str:
    return absence("torch", setting) or "missing: this PyTorch uses no GPU"


def torch_gradients(torch: ModuleType, case: peers.Case, compiled: bool) -> dict[str, Callable[[], Any]]:
    """The formulas in blocks of neurons that fit into memory, eager and through torch.compile."""
    a, w, x, y = (torch.from_numpy(v).cuda() for v in (case.a, case.w, case.x, case.y))
    n, q = len(a), len(y)
    rows = max(1, BLOCK_ENTRIES // q)
    blocks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]

    def sigma(z: Any) -> Any:
        if case.activation == "erf":
            return torch.erf(2.0**-0.5 * z)
        return torch.tanh(z) if case.activation == "tanh" else torch.relu(z)

    def forward(a: Any, w: Any, x: Any) -> Any:
        return a @ sigma(w @ x.T)

    def backward(a: Any, w: Any, x: Any, r: Any) -> tuple[Any, Any]:
        z = w @ x.T
        value = sigma(z)
        if case.activation == "tanh":
            slope = 1 - value * value
        elif case.activation == "erf":
            slope = peers.DENSITY * torch.exp(-0.5 * z * z)
        else:
            slope = (z > 0).to(z.dtype)
        return value @ r, a[:, None] * ((slope * r) @ x)

    def caller(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[[], Any]:
        def call() -> Callable[[], peers.Result]:
            f = sum(forward(a[i], w[i], x) for i in blocks) / n
            r = (f - y) / q
            parts = [backward(a[i], w[i], x, r) for i in blocks]
            g_a, g = (torch.cat(part) for part in zip(*parts, strict=True))
            torch.cuda.synchronize()
            return lambda: (f.cpu().numpy(), g_a.cpu().numpy(), g[:, :-1].cpu().numpy(), g[:, -1].cpu().numpy())

        return call

    found = {"PyTorch": caller(forward, backward)}
    if compiled:
        found["torch.compile"] = caller(torch.compile(forward), torch.compile(backward))
    return found


def pair_variants(activation: str, a: pair_peers.Values, w: pair_peers.Values, setting: Setting) -> list[Variant]:
    from mfpde.core.cuda import pairs as on_device

    theta = np.zeros((w.shape[1] + 2, len(a)))
    theta[0], theta[1:-1] = a, w.T
    out, none, code = np.empty_like(theta), np.zeros(1), CODES[activation]
    precision = gradients.PRECISIONS[w.dtype.name]

    def caller(kernel: Callable[..., None]) -> Callable[[], pair_peers.Result]:
        def call() -> pair_peers.Result:
            kernel(code, none, theta, out, precision=precision)
            return out[0], out[1:-1].T

        return call

    found = [
        Variant("mfpde, NumPy in and out", caller(on_device.pair_force)),
        Variant("mfpde on the processor", caller(pairs.pair_force)),
    ]
    torch = gpu_torch(setting)
    if torch is None:
        return [*found, Variant("PyTorch, data on the device", None, no_torch(setting))]
    return [*found, Variant("PyTorch, data on the device", torch_pairs(torch, activation, a, w))]


def torch_pairs(torch: ModuleType, activation: str, a: pair_peers.Values, w: pair_peers.Values) -> Callable[[], Any]:
    """Blocks of rows against all columns."""
    at, wt = torch.from_numpy(a).cuda(), torch.from_numpy(w).cuda()
    n = len(a)
    q = torch.sum(wt * wt, dim=1)
    rows = max(1, BLOCK_ENTRIES // n)

    def block(i: slice) -> tuple[Any, Any]:
        p = wt[i] @ wt.T
        if activation == "erf":
            root = torch.sqrt((1 + q[i, None]) * (1 + q) - p * p)
            kernel, by_p = pair_peers.TWO_OVER_PI * torch.atan2(p, root), pair_peers.TWO_OVER_PI / root
            across = -by_p * p / (1 + q[i, None])
        else:
            root = torch.sqrt(torch.clamp(q[i, None] * q - p * p, min=0))
            angle = torch.pi - torch.atan2(root, p)
            kernel, by_p = pair_peers.BY_TWO_PI * (root + angle * p), pair_peers.BY_TWO_PI * angle
            across = pair_peers.BY_TWO_PI * root / q[i, None]
        return kernel @ at / n, at[i, None] * ((by_p * at) @ wt + wt[i] * (across @ at)[:, None]) / n

    def call() -> Callable[[], pair_peers.Result]:
        parts = [block(slice(start, min(start + rows, n))) for start in range(0, n, rows)]
        out_a, out_w = (torch.cat(part) for part in zip(*parts, strict=True))
        torch.cuda.synchronize()
        return lambda: (out_a.cpu().numpy(), out_w.cpu().numpy())

    return call


def measure_gradients(setting: Setting, part: Part, roof: dict[str, float]) -> None:
    rows: list[list[str]] = []
    cases = setting.pick(gradients.CASES, QUICK)
    for dtype, precision in gradients.PRECISIONS.items():
        peak = roof[f"multiply-add, {dtype}, GFLOP/s"]
        for activation in gradients.VALUE:
            timed: dict[str, list[Timing]] = {}
            for name, (n, q, d) in cases.items():
                case = peers.make(activation, dtype, n, q, d)
                expected = peers.reference(case)
                with parallel.team(setting.threads):
                    timed[name] = found = compare(
                        gradient_variants(case, setting),
                        lambda result, expected=expected: peers.distance(fetched(result), expected),
                        gradients.TOLERANCE[dtype],
                        setting.pick(15, 1),
                    )
                operations = gradients.operations(activation, dtype, d)
                for timing in found[:2]:
                    if timing.wall:
                        rate = n * q * operations / statistics.median(timing.wall) / 1e9
                        share = f"{100.0 * rate / peak:.0f} %"
                        rows.append([timing.name, activation, dtype, name, str(operations), number(rate), share])
                record(part, found, "wall", f"GPU, {activation}, {dtype}, case {name}", precision=precision, peak=peak)
            columns, table = side_by_side(timed, "wall")
            part.tables.append(Table(f"Gradient on the GPU, {activation}, {dtype}, ms", columns, table))
    columns = ["variant", "activation", "type", "case", "operations per pair", "GFLOP/s", "of the peak"]
    part.tables.append(Table("Gradient on the GPU against the measured peak, medians", columns, rows))


def measure_pairs(setting: Setting, part: Part) -> None:
    n = NEURONS[setting.pick("full", "quick")]
    rows: list[list[str]] = []
    for dtype in gradients.PRECISIONS:
        for activation in forces.KERNEL:
            a, w = pair_peers.make(dtype, n, 10)
            expected = pair_peers.reference(activation, a, w)
            with parallel.team(setting.threads):
                found = compare(
                    pair_variants(activation, a, w, setting),
                    lambda result, expected=expected: pair_peers.distance(fetched(result), expected),
                    forces.TOLERANCE[dtype],
                    setting.pick(15, 1),
                )
            record(part, found, "wall", f"GPU, pairs, {activation}, {dtype}", neurons=n)
            for timing in found:
                seconds = statistics.median(timing.wall) if timing.wall else np.nan
                rows.append(
                    [activation, dtype, timing.name, number(1e3 * seconds), number(n * n / seconds / 1e9), timing.note]
                )
    columns = ["activation", "type", "variant", "ms", "Gpair/s", "note"]
    part.tables.append(Table(f"Pair forces on the GPU, N = {n}, d = 10, medians", columns, rows))


def measure_small(setting: Setting, part: Part) -> None:
    """From which width on the GPU pays: an ensemble in one call."""
    from mfpde.core.cuda import interaction as on_device

    rows: list[list[str]] = []
    code, none = CODES["tanh"], np.zeros(1)
    for n, replicas, q, d in SMALL[setting.pick("full", "quick")]:
        rng = np.random.default_rng(4)
        theta, x = rng.standard_normal((replicas, d + 2, n)), rng.standard_normal((q, d))
        out, at, room = np.empty_like(theta), on_device.nodes(x), Room()

        def processor(theta: Any = theta, x: Any = x, out: Any = out, room: Any = room) -> None:
            gradient_batch(code, none, theta, x, lambda values: values, out, room)

        def gpu(theta: Any = theta, at: Any = at, out: Any = out) -> None:
            on_device.gradient_batch(code, none, theta, at, lambda values: values, out)

        runs = setting.pick(30, 1)
        with parallel.team(setting.threads):
            seconds = best(gpu, runs), best(processor, runs)
        rows.append([str(n), str(replicas), *(number(1e3 * s) for s in seconds), f"{seconds[1] / seconds[0]:.2f}"])
        part.measurements.append({"comparison": "GPU, ensembles", "neurons": n, "gpu": seconds[0], "cpu": seconds[1]})
    columns = ["N", "replicas", "GPU, ms", "processor, ms", "processor/GPU"]
    part.tables.append(Table("Ensembles on the GPU, tanh, float64, 256 nodes in d = 10, best of 30", columns, rows))


def measure(setting: Setting) -> Part:
    part, roof = Part(), peaks(setting)
    part.tables.append(Table("Peaks of the GPU", ["quantity", "best"], [[k, number(v)] for k, v in roof.items()]))
    part.measurements.append({"comparison": "GPU, peaks", **roof})
    measure_gradients(setting, part, roof)
    measure_pairs(setting, part)
    measure_small(setting, part)
    return part


if __name__ == "__main__":
    missing = backend.available()
    if missing is not None:
        print(f"gpu: not run: {missing}")
    else:
        main("gpu", measure, __doc__, threads=(len(os.sched_getaffinity(0)),))
