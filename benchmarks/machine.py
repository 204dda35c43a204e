"""What this machine can do at most: fused multiply-adds per second, bytes per second from each cache and from memory.

The other scripts divide by the peaks measured here, in the same process and on the same cores. Every figure is the best
of many runs of a millisecond or two: a ceiling is not an average. Run: python benchmarks/machine.py [--quick]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from harness import Part, Setting, main
from numba import njit
from numpy.typing import NDArray
from tables import Table, number, thread_count

from mfpde.core.transfers import load, store
from mfpde.core.vector import LANES, fma

OPTIONS = {"nogil": True, "error_model": "numpy"}
# Independent vectors, four registers of 512 bits or eight of 256 each: enough to cover the latency of the multiply-add
# units, and few enough for the registers there are; the better of both is the peak
CHAINS = (1, 3)
WIDTH = {np.dtype(kind.name): count for kind, count in LANES.items()}
# bytes per core; the L1 buffer leaves room for what else lives there
BUFFERS = {"L1": 24 << 10, "L2": 512 << 10, "L3": 8 << 20, "memory": 256 << 20}
TRIAD_BYTES = 64 << 20

Buffer = NDArray[Any]


@njit(**OPTIONS)
def _multiply_add_one(buffer: Buffer, steps: int) -> None:
    x = load(buffer, 0)
    a = x + x
    for _ in range(steps):
        a = fma(a, x, x)
    store(buffer, 0, a)


@njit(**OPTIONS)
def _multiply_add_three(buffer: Buffer, steps: int) -> None:
    x = load(buffer, 0)
    a, b, c = x, x + x, x + (x + x)
    for _ in range(steps):
        a, b, c = fma(a, x, x), fma(b, x, x), fma(c, x, x)
    store(buffer, 0, (a + b) + c)


@njit(**OPTIONS)
def _read(buffer: Buffer, passes: int) -> None:
    """Exclusive or of all words: a sum that may be taken in any order, so LLVM loads full registers line after line."""
    total = np.int64(0)
    for repeat in range(passes):
        part = np.int64(repeat)
        for i in range(buffer.shape[0]):
            part ^= buffer[i]
        total += part
    buffer[0] = total


@njit(fastmath={"contract"}, **OPTIONS)
def _triad(a: Buffer, b: Buffer, c: Buffer, factor: float) -> None:
    for i in range(a.shape[0]):
        a[i] = b[i] + factor * c[i]


def buffer_of(size: int, dtype: str = "float64") -> Buffer:
    """``size`` bytes of ones that start on a cache line."""
    kind = np.dtype(dtype)
    room = np.ones(size // kind.itemsize + 64, kind)
    skip = (-(room.ctypes.data // kind.itemsize)) % (64 // kind.itemsize)
    return room[skip : skip + size // kind.itemsize]


def best_rate(kernel: Callable[[int], None], amount: float, threads: int, runs: int) -> float:
    """Units of ``amount`` per second, the best run; ``kernel(t)`` is the share of thread t. Wall time for several."""
    clock = time.process_time if threads == 1 else time.perf_counter
    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(runs):
            began = clock()
            if threads == 1:
                kernel(0)
            else:
                list(pool.map(kernel, range(threads)))
            best = min(best, clock() - began)
    return threads * amount / best


def peak_flops(dtype: str, threads: int, runs: int = 100) -> float:
    """Most floating-point operations per second of ``threads`` cores in fused multiply-adds (counted as two)."""
    buffers = [np.full_like(buffer_of(8 * 64, dtype), 0.5) for _ in range(threads)]
    lanes, best = WIDTH[np.dtype(dtype)], 0.0
    for chains, kernel in zip(CHAINS, (_multiply_add_one, _multiply_add_three), strict=True):
        steps = 6_000_000 // chains
        for buffer in buffers:
            kernel(buffer, 10)

        def run(t: int, kernel: Any = kernel, steps: int = steps) -> None:
            kernel(buffers[t], steps)

        best = max(best, best_rate(run, 2.0 * chains * lanes * steps, threads, runs))
    return best


def read_bandwidth(level: str, threads: int, runs: int = 60) -> float:
    """Most bytes per second that ``threads`` cores load from one level, each from a buffer of its own."""
    size = BUFFERS[level]
    buffers = [buffer_of(size, "int64") for _ in range(threads)]
    passes = max(1, (1 << 30) // size)
    for buffer in buffers:
        _read(buffer, 1)
    return best_rate(lambda t: _read(buffers[t], passes), float(size * passes), threads, runs)


def triad_bandwidth(threads: int, runs: int = 15) -> float:
    """Bytes per second of a = b + s c far beyond the caches, 24 per element (what the program asks for)."""
    arrays = [[buffer_of(TRIAD_BYTES) for _ in range(3)] for _ in range(threads)]
    _triad(*(array[:8] for array in arrays[0]), 0.5)
    return best_rate(lambda t: _triad(*arrays[t], 0.5), 3.0 * TRIAD_BYTES, threads, runs)


def measure(setting: Setting) -> Part:
    t = setting.threads
    rows: dict[str, float] = {}
    for dtype in ("float64", "float32"):
        rows[f"fused multiply-add, {dtype}, GFLOP/s"] = peak_flops(dtype, t, setting.pick(400, 20)) / 1e9
    for level in BUFFERS:
        runs = setting.pick(30 if level == "memory" else 100, 3)
        rows[f"load, {level}, GB/s"] = read_bandwidth(level, t, runs) / 1e9
    rows["triad in memory, GB/s"] = triad_bandwidth(t, setting.pick(30, 2)) / 1e9
    table = Table(f"Peaks, {thread_count(t)}", ["quantity", "best"], [[k, number(v)] for k, v in rows.items()])
    return Part([table], [{"threads": t, **rows}])


if __name__ == "__main__":
    main("machine", measure, __doc__)
