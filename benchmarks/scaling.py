"""How cost grows: with neurons, data, inputs, pairs, cells and threads; and what the largest runs take in memory.

Every row of the first table is one kernel over two decades of one size, all sizes in turn, processor time of one
thread after two untimed calls; the slope is the least-squares line through the logarithms of the medians, 1 if linear;
in the number of inputs a cost is affine, because the activation costs the same for any. With two threads the table is
wall time with one over wall time with two. The large runs are processes whose largest resident size is compared with
what `mfpde solve --dry-run` announces. Run: python benchmarks/scaling.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from fluxes import TEMPERATURE, explicit_step, fields, grid_of
from harness import Part, Setting, Variant, compare, main
from numpy.typing import NDArray
from peers.fluxes import largest_exit_rate
from start import cost_of
from tables import Table, number

from mfpde.core import noise, pairs, parallel
from mfpde.core.activations import CODES
from mfpde.core.gradient import Room, gradient_batch
from mfpde.steppers.grid import Propagator

Array = NDArray[np.float64]
Call = Callable[[], object]

STAGES = 12
NONE = np.zeros(1)


def gradient(neurons: int, nodes: int, inputs: int, activation: str = "tanh") -> Call:
    """Forward and backward pass."""
    rng = np.random.default_rng(3)
    theta, x = rng.standard_normal((1, inputs + 2, neurons)), rng.standard_normal((nodes, inputs))
    out, room = np.empty_like(theta), Room()
    return lambda: gradient_batch(CODES[activation], NONE, theta, x, lambda f: f, out, room)


def forces(neurons: int, inputs: int) -> Call:
    """All pairs with relu."""
    theta = np.random.default_rng(3).standard_normal((inputs + 2, neurons))
    out = np.empty_like(theta)
    return lambda: pairs.pair_force(CODES["relu"], NONE, theta, out)


def sweeps(shape: tuple[int, ...]) -> Call:
    """New rates and a dozen stages."""
    psi, mass = fields(shape)
    rate = largest_exit_rate(psi, TEMPERATURE, [6.0 / n for n in shape])
    propagator, dt = Propagator(grid_of(shape), TEMPERATURE), 0.95 * (STAGES - 1.5) / rate
    out = np.empty_like(mass[None])
    return lambda: propagator(psi[None], mass[None], dt, out=out)


def single_stages(shape: tuple[int, ...]) -> Call:
    """New rates and one stage."""
    return explicit_step(*fields(shape), 1e-7, 1)


def normals(count: int) -> Call:
    out = np.empty((4, count))
    return lambda: noise.normals(1, noise.BROWNIAN, 0, 0, out)


@dataclass(frozen=True)
class Family:
    """``make(size)`` for sizes that span two decades, and the slope a linear cost has."""

    name: str
    sizes: Sequence[int]
    make: Callable[[int], Call]
    expected: str = "1"


FAMILIES = (
    Family(
        # no size of these crosses core.gradient.LARGEST, where the values are no longer kept
        "gradient, neurons N (100 data, 10 inputs)",
        (10_000, 30_000, 100_000, 300_000, 1_000_000),
        lambda n: gradient(n, 100, 10),
    ),
    Family(
        "gradient, data Q (2000 neurons, 10 inputs)",
        (500, 1600, 5000, 16_000, 50_000),
        lambda q: gradient(2000, q, 10),
    ),
    Family(
        "gradient, inputs d (20 000 neurons, 256 data)",
        (2, 6, 20, 60, 200),
        lambda d: gradient(20_000, 256, d),
        "affine",
    ),
    Family("pair forces, neurons N (10 inputs)", (500, 1600, 5000, 16_000, 50_000), lambda n: forces(n, 10), "2"),
    Family("pair forces, inputs d (4000 neurons)", (2, 6, 20, 60, 200), lambda d: forces(4000, d), "affine"),
    # of grids that fit a near cache the rates are held for all stages, which is faster: these are larger
    Family("sweeps of 12 stages in 1-D, cells", (1 << 18, 1 << 20, 1 << 22, 1 << 23, 1 << 25), lambda n: sweeps((n,))),
    Family(
        "sweeps of 12 stages in 2-D, cells",
        (500**2, 900**2, 1600**2, 2800**2, 5000**2),
        lambda n: sweeps((round(n**0.5),) * 2),
    ),
    # twelve planes of the first two stay in the last cache, which saves half of the rates: a step, so two families
    Family(
        "sweeps of 12 stages in 3-D, from within the last cache, cells",
        (64**3, 96**3, 140**3, 200**3, 300**3),
        lambda n: sweeps((round(np.cbrt(n)),) * 3),
    ),
    Family(
        "sweeps of 12 stages in 3-D, beyond the last cache, cells",
        (130**3, 200**3, 300**3, 420**3, 604**3),
        lambda n: sweeps((round(np.cbrt(n)),) * 3),
    ),
    Family(
        "single stages in 3-D, cells",
        (64**3, 96**3, 140**3, 200**3, 300**3),
        lambda n: single_stages((round(np.cbrt(n)),) * 3),
    ),
    Family("normal numbers, 4 per particle", (1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 23), normals),
)
QUICK = (
    Family("gradient, neurons N", (1000, 4000), lambda n: gradient(n, 64, 4)),
    Family("sweeps in 2-D, cells", (30**2, 60**2), lambda n: sweeps((round(n**0.5),) * 2)),
)

THREADED: dict[str, Callable[[], Call]] = {
    "tanh gradient, N = 100 000, Q = 256, d = 10": lambda: gradient(100_000, 256, 10),
    "tanh gradient, N = 10 000, Q = 4096, d = 50": lambda: gradient(10_000, 4096, 50),
    "tanh gradient, N = 1 000 000, Q = 64, d = 2": lambda: gradient(1_000_000, 64, 2),
    "erf gradient, N = 100 000, Q = 256, d = 10": lambda: gradient(100_000, 256, 10, "erf"),
    "erf gradient, N = 10 000, Q = 4096, d = 50": lambda: gradient(10_000, 4096, 50, "erf"),
    "erf gradient, N = 1 000 000, Q = 64, d = 2": lambda: gradient(1_000_000, 64, 2, "erf"),
    "pair forces, N = 10 000, d = 10": lambda: forces(10_000, 10),
    "sweeps, 4 194 304 cells": lambda: sweeps((1 << 22,)),
    "sweeps, 2048 x 2048 cells": lambda: sweeps((2048, 2048)),
    "sweeps, 160 x 160 x 160 cells": lambda: sweeps((160, 160, 160)),
    "normal numbers, 4 x 16 777 216": lambda: normals(1 << 24),
}
THREADED_QUICK = {"gradient, N = 4000, Q = 64, d = 4": lambda: gradient(4000, 64, 4)}

PARTICLES = """
[network]
activation = "tanh"
train = ["a", "w"]

[data]
law = "nodes"
x = {x}
y = {y}
weights = {weights}

[training]
temperature = 0.02
weight_decay = 0.1
time = {time}

[initial]
a = {{ law = "normal", std = 1.0 }}
w = {{ law = "normal", std = 1.0 }}

[particles]
widths = [{width}]
replicas = 1
step = 0.02

[output]
snapshots = 2
"""


def particle_study(width: int, nodes: int, inputs: int) -> str:
    """Two time steps of one wide network, as TOML."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((nodes, inputs)).round(3), rng.standard_normal(nodes).round(3)
    return PARTICLES.format(x=x.tolist(), y=y.tolist(), weights=[1.0 / nodes] * nodes, time=0.04, width=width)


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """(slope, its standard error) of the least-squares line through the logarithms."""
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(seconds, float))
    centred = x - x.mean()
    found = float(centred @ y / (centred @ centred))
    misfit = y - y.mean() - found * centred
    freedom = max(1, len(x) - 2)
    return found, float(np.sqrt(misfit @ misfit / freedom / (centred @ centred)))


def measure(setting: Setting) -> Part:
    return _growth(setting) if setting.threads == 1 else _threads(setting)


def _growth(setting: Setting) -> Part:
    part, rows = Part(), []
    for family in setting.pick(FAMILIES, QUICK):
        variants = [Variant(str(size), family.make(size)) for size in family.sizes]
        timed = compare(variants, lambda _: 0.0, 0.0, setting.pick(9, 2), patience=3.0, untimed=2)
        medians = [statistics.median(timing.cpu) for timing in timed]
        found, error = slope(family.sizes, medians)
        span = f"{family.sizes[0]} to {family.sizes[-1]}"
        least, most = number(1e3 * medians[0]), number(1e3 * medians[-1])
        rows.append([family.name, span, least, most, f"{found:.3f} ± {error:.3f}", family.expected])
        part.measurements += [{"family": family.name, **asdict(timing)} for timing in timed]
    columns = ["cost against", "from … to", "ms at the first", "ms at the last", "slope", "linear cost has"]
    part.tables.append(Table("Growth over two decades, one thread", columns, rows))
    part.tables.append(_large(setting, part))
    return part


def _threads(setting: Setting) -> Part:
    part, rows = Part(), []
    for name, make in setting.pick(THREADED, THREADED_QUICK).items():
        # each with its own plan and scratch, which depend on the number of threads
        one_thread, call = make(), make()

        def alone(call: Call = one_thread) -> None:
            with parallel.team(1):
                call()

        variants = [Variant("1", alone), Variant(str(setting.threads), call)]
        with parallel.team(setting.threads):
            timed = compare(variants, lambda _: 0.0, 0.0, setting.pick(15, 2), patience=3.0, untimed=1)
        one, more = (1e3 * statistics.median(timing.wall) for timing in timed)
        best = min(timed[0].wall) / min(timed[1].wall)
        rows.append([name, number(one), number(more), f"{one / more:.2f}", f"{best:.2f}"])
        part.measurements += [{"work": name, **asdict(timing)} for timing in timed]
    columns = ["work", "1 thread, ms", f"{setting.threads} threads, ms", "speed-up", "of the minima"]
    part.tables.append(Table(f"{setting.threads} threads, medians of wall time", columns, rows))
    return part


def _large(setting: Setting, part: Part) -> Table:
    """The two largest runs that the project promises, as separate processes."""
    width, cells = setting.pick(10_000_000, 20_000), setting.pick(128, 16)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "wide.toml"
        study.write_text(particle_study(width, 64, 10), encoding="utf-8")
        grid = ["teacher-1d", "--set", f"grid.cells=[{cells}, {cells}, {cells}]"]
        grid += ["--set", "training.time=0.1", "--set", "output.snapshots=2"]
        runs = {
            f"{width} particles in 12 dimensions, two steps": [str(study), "--only", "particles"],
            f"a {cells}³ grid, from 0 to 0.1": [*grid, "--only", "limit"],
        }
        for name, arguments in runs.items():
            out = ["-o", str(Path(folder) / "out"), "--overwrite", "-q", "--no-figures"]
            cost = cost_of(["-m", "mfpde", "solve", *arguments, *out], os.environ)
            announced = announced_bytes(arguments)
            gib = [number(value / 2**30) for value in (cost.memory, announced)]
            rows.append([name, number(cost.cpu), *gib, f"{announced / cost.memory:.2f}"])
            part.measurements.append({"run": name, **vars(cost), "announced": announced})
    columns = ["run", "cpu s", "largest resident size, GiB", "announced by --dry-run, GiB", "ratio"]
    return Table("Memory of the largest runs", columns, rows)


def announced_bytes(arguments: Sequence[str]) -> float:
    """What --dry-run says of the largest resident size of the whole run."""
    command = [sys.executable, "-m", "mfpde", "solve", *arguments, "--no-figures", "--dry-run", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout)["estimate"]["bytes"])


if __name__ == "__main__":
    main("scaling", measure, __doc__)
