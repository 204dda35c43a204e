"""Standard normal numbers per second: mfpde's counter-based generator against NumPy, PyTorch and JAX.

Random numbers cannot be compared with a reference, their law can: mean, variance and fourth moment of every variant
must lie within six standard errors of 0, 1 and 3. mfpde draws doubles whatever the precision of the arithmetic, so that
a seed means the same path; the peers' float32 stands beside them. GB/s are those of the numbers written; the fraction
of the peak is that of the floating-point part of Box-Muller, the integer work of the counter not counted.
Run: python benchmarks/noise.py
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from harness import Part, Setting, Variant, absence, compare, main, peer, record
from machine import peak_flops
from numpy.typing import NDArray
from tables import Table, clock_of, median_ratio, number, thread_count

from mfpde.core import noise, parallel

SHAPE = {"full": (4, 1 << 18), "quick": (4, 1 << 12)}
DEVIATION = 6.0
# per number: log, root, sine and cosine of Box-Muller by polynomials to round-off
OPERATIONS = 37
GENERATORS = {"PCG64": np.random.PCG64, "SFC64": np.random.SFC64, "Philox 4x64": np.random.Philox}

Values = NDArray[np.floating]


def deviation(values: Any) -> float:
    """Largest distance of the first, second and fourth moment from the normal ones, in standard errors."""
    z = np.asarray(values, np.float64).ravel()
    moments = ((z, 0.0, 1.0), (z**2, 1.0, 2.0), (z**4, 3.0, 96.0))
    return max(abs(float(power.mean()) - mean) * np.sqrt(z.size / variance) for power, mean, variance in moments)


def ours(shape: tuple[int, int]) -> Variant:
    """A new step of the Brownian stream at every call."""
    out, step = np.empty(shape), [0]

    def call() -> Values:
        step[0] += 1
        noise.normals(7, noise.BROWNIAN, 0, step[0], out)
        return out

    return Variant("mfpde, Philox 4x32, float64", call)


def numpy_generator(kind: Callable[[Any], Any], shape: tuple[int, int], dtype: str, threads: int) -> Variant:
    """One stream per thread, spawned from one seed, each on its rows: the way NumPy's manual shows."""
    out = np.empty(shape, dtype)
    streams = [np.random.Generator(kind(seed)) for seed in np.random.SeedSequence(7).spawn(threads)]
    parts = np.array_split(out.reshape(-1), threads)
    pool = ThreadPoolExecutor(threads)

    def fill(t: int) -> None:
        streams[t].standard_normal(out=parts[t], dtype=np.dtype(dtype).type)

    def call() -> Values:
        if threads == 1:
            fill(0)
        else:
            list(pool.map(fill, range(threads)))
        return out

    return Variant(f"NumPy {kind.__name__}", call)


def variants(shape: tuple[int, int], dtype: str, setting: Setting) -> list[Variant]:
    found = [ours(shape)]
    found += [numpy_generator(kind, shape, dtype, setting.threads) for kind in GENERATORS.values()]
    torch = peer("torch", setting)
    if torch is None:
        found.append(Variant("PyTorch", None, absence("torch", setting)))
    else:
        torch.set_num_threads(setting.threads)
        out, generator = torch.empty(shape, dtype=getattr(torch, dtype)), torch.Generator().manual_seed(7)
        found.append(Variant("PyTorch normal_", lambda: out.normal_(generator=generator)))
    jax = peer("jax", setting)
    if jax is None:
        found.append(Variant("JAX", None, absence("jax", setting)))
    else:
        key = jax.random.key(7)
        draw = jax.jit(lambda step: jax.random.normal(jax.random.fold_in(key, step), shape, dtype))
        step = [0]

        def call() -> Any:
            step[0] += 1
            return jax.block_until_ready(draw(step[0]))

        found.append(Variant("JAX random.normal (threefry)", call))
    return found


def measure(setting: Setting) -> Part:
    part, clock = Part(), clock_of(setting.threads)
    threads = thread_count(setting.threads)
    shape = SHAPE[setting.pick("full", "quick")]
    count = shape[0] * shape[1]
    peak = peak_flops("float64", setting.threads, setting.pick(200, 10))
    for dtype in ("float64", "float32"):
        with parallel.team(setting.threads):
            timed = compare(variants(shape, dtype, setting), deviation, DEVIATION, setting.pick(60, 3), patience=2.0)
        rows = []
        for timing in timed:
            seconds = timing.seconds(clock)
            ratio = median_ratio(timing, timed[0], clock)
            if not seconds:
                rows.append([timing.name, "–", "–", "–", "–", "–", timing.note])
                continue
            rate = count / statistics.median(seconds)
            first = timing is timed[0]
            size = 8 if first else np.dtype(dtype).itemsize
            rows.append(
                [
                    timing.name,
                    number(count / min(seconds) / 1e6),
                    number(rate / 1e6),
                    "–" if ratio is None else f"{ratio:.2f}",
                    number(rate * size / 1e9),
                    f"{100.0 * rate * OPERATIONS / peak:.0f} %" if first else "–",
                    timing.note,
                ]
            )
        columns = ["variant", "best M/s", "median M/s", "time ratio", "GB/s", "Box–Muller, of the peak", "note"]
        title = f"{shape[0]} x {shape[1]} numbers, {dtype} of the peers, {threads}, {clock} time"
        part.tables.append(Table(title, columns, rows, f"Peak of double precision: {number(peak / 1e9)} GFLOP/s."))
        record(part, timed, clock, f"{dtype}, {threads}", numbers=count, peak=peak)
    return part


if __name__ == "__main__":
    main("noise", measure, __doc__)
