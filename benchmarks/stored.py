"""The two sums of a grid over a table of features, z = mass^T Phi and psi = Phi r: every step of a limit takes some.

Their peers are matrix-vector products. NumPy takes the table as mfpde stores it, feature after feature of a cell, and
turned around, which suits it better. Results are compared with sums in extended precision. GB/s: the table once for
either sum; a table that the last cache holds can be faster than the memory.
Run: python benchmarks/stored.py
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from harness import Part, Setting, Variant, absence, compare, main, peer, record
from machine import read_bandwidth
from numpy.typing import NDArray
from tables import Table, Timing, clock_of, number, side_by_side, thread_count

from mfpde.core import parallel
from mfpde.tabulate.features import Stored

# the default study, the same on a finer grid, and a grid of three axes
SIZES = {"full": ((128**2, 206), (512**2, 206), (128**3, 24)), "quick": ((1000, 20), (300, 3))}
TOLERANCE = 1e-12
# bytes of tables after which no thread of the variant before waits busily: those of OpenBLAS do for 2^26 cycles
SETTLED = 1 << 30

Values = NDArray[np.float64]
Sums = tuple[Any, Any]


def reference(table: Values, mass: Values, r: Values) -> Sums:
    """Both sums in extended precision, block by block."""
    over_cells, over_features = np.zeros(len(r), np.longdouble), np.empty(len(mass))
    for start in range(0, len(mass), 4096):
        block = table[start : start + 4096].astype(np.longdouble)
        over_cells += mass[start : start + 4096] @ block
        over_features[start : start + 4096] = block @ r
    return over_cells.astype(float), over_features


def distance(found: Sums, expected: Sums) -> float:
    """The largest error of either sum, relative to its largest number."""
    pairs = zip(found, expected, strict=True)
    return max(float(np.max(np.abs(np.asarray(f) - e)) / np.max(np.abs(e))) for f, e in pairs)


def variants(table: Values, mass: Values, r: Values, setting: Setting) -> list[Variant]:
    stored, turned = Stored(table), np.ascontiguousarray(table.T)
    found = [
        Variant("mfpde", lambda: (stored.gather(mass), stored.spread(r))),
        Variant("NumPy", lambda: (mass @ table, table @ r)),
        Variant("NumPy, table turned around", lambda: (turned @ mass, r @ turned)),
    ]
    torch = peer("torch", setting)
    if torch is None:
        found.append(Variant("PyTorch", None, absence("torch", setting)))
    else:
        torch.set_num_threads(setting.threads)
        matrix, weights, factors = (torch.from_numpy(values) for values in (table, mass, r))
        found.append(Variant("PyTorch", lambda: (weights @ matrix, matrix @ factors)))
    jax = peer("jax", setting)
    if jax is None:
        found.append(Variant("JAX jit", None, absence("jax", setting)))
    else:
        operands = [jax.numpy.asarray(values) for values in (table, mass, r)]
        both = jax.jit(lambda phi, m, w: (m @ phi, phi @ w))
        found.append(Variant("JAX jit", lambda: jax.block_until_ready(both(*operands))))
    return found


def measure(setting: Setting) -> Part:
    part, clock = Part(), clock_of(setting.threads)
    threads = thread_count(setting.threads)
    peak = read_bandwidth("memory", setting.threads, setting.pick(30, 2))
    timed: dict[str, list[Timing]] = {}
    roof: list[list[str]] = []
    for cells, rank in SIZES[setting.pick("full", "quick")]:
        rng = np.random.default_rng(5)
        table, mass, r = rng.standard_normal((cells, rank)), rng.random(cells), rng.standard_normal(rank)
        expected = reference(table, mass, r)
        with parallel.team(setting.threads):
            timed[f"{cells} x {rank}"] = found = compare(
                variants(table, mass, r, setting),
                lambda sums, expected=expected: distance(sums, expected),
                TOLERANCE,
                setting.pick(25, 2),
                untimed=max(1, SETTLED // table.nbytes),
            )
        seconds = found[0].seconds(clock)
        rate = 2 * table.nbytes / statistics.median(seconds) if seconds else 0.0
        roof.append(
            [f"{cells} x {rank}", number(table.nbytes / 2**20), number(rate / 1e9), f"{100 * rate / peak:.0f} %"]
        )
        record(part, found, clock, f"table of {cells} cells, {rank} features, {threads}", bandwidth=peak)
    columns, rows = side_by_side(timed, clock)
    part.tables.append(Table(f"Both sums over a table, {threads}, ms of {clock} time", columns, rows))
    columns = ["cells x features", "MiB", "GB/s", "of the memory's"]
    note = f"The memory gives {number(peak / 1e9)} GB/s."
    part.tables.append(Table(f"mfpde, both sums over a table, {threads}, medians", columns, roof, note))
    return part


if __name__ == "__main__":
    main("stored", measure, __doc__)
