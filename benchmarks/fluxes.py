"""Grid sweeps in one, two and three dimensions: mfpde's propagator against NumPy in place and JAX on the same numbers.

A call computes the exponential rates of a new potential and takes s explicit stages with them. With the fewest stages
(s = 2) the rates weigh most, with s = 24 the stages do. Mcells/s are cells times stages over the time of the whole
call; GB/s count what a stage must read and write when rates are stored: 8 (2 D + 2) bytes per cell.
Run: python benchmarks/fluxes.py
"""

from __future__ import annotations

import math
import statistics

import numpy as np
from harness import Part, Setting, Variant, absence, compare, main, peer, record
from machine import read_bandwidth
from numpy.typing import NDArray
from peers import fluxes as peers
from tables import Table, Timing, clock_of, number, side_by_side, thread_count

from mfpde.core import parallel
from mfpde.measures import Axis, Grid, Species
from mfpde.problem import Coordinate
from mfpde.steppers.grid import Propagator

Array = NDArray[np.float64]

# the first of each dimension fits the second-level cache, the last lives in memory
SHAPES = ((32_768,), (1 << 22,), (512, 512), (2048, 2048), (32, 32, 32), (160, 160, 160))
QUICK = ((1024,), (48, 48), (16, 16, 16))
STAGES = (2, 24)
TEMPERATURE, BOX, TOLERANCE = 0.1, 3.0, 1e-12


def grid_of(shape: tuple[int, ...]) -> Grid:
    axes = tuple(Axis(Coordinate(f"w{k}", "w"), -BOX, BOX, cells) for k, cells in enumerate(shape))
    return Grid(axes, Species((), np.zeros((1, 0)), np.ones(1)))


def fields(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """A potential with wells and ridges, and masses of order one that no symmetry makes special."""
    centers = [-BOX + (np.arange(n) + 0.5) * 2.0 * BOX / n for n in shape]
    mesh = np.meshgrid(*centers, indexing="ij")
    psi = sum(0.5 * x * x + 0.3 * np.cos(2.0 * x + k) for k, x in enumerate(mesh)) + 0.2 * np.prod(mesh, axis=0)
    mass = 1.0 + 0.5 * np.sin(sum((k + 1.0) * x for k, x in enumerate(mesh)))
    return np.asarray(psi), np.asarray(mass / mass.sum())


def variants(psi: Array, mass: Array, dt: float, stages: int, setting: Setting) -> list[Variant]:
    widths = [2.0 * BOX / n for n in psi.shape]
    propagator = Propagator(grid_of(psi.shape), TEMPERATURE)

    def ours() -> Array:
        new, taken = propagator(psi[None], mass[None], dt)
        if taken != stages:
            raise AssertionError(f"{taken} stages instead of {stages}")
        return new[0]

    found = [Variant("mfpde", ours)]
    found.append(
        Variant("NumPy, in place", peers.numpy_in_place(psi, mass, TEMPERATURE, widths, dt, stages)),
    )
    jax = peer("jax", setting)
    if jax is None:
        found.append(Variant("JAX", None, absence("jax", setting)))
    else:
        found.append(Variant("JAX jit", peers.jax_jit(jax, psi, mass, TEMPERATURE, widths, dt, stages)))
    return found


def measure(setting: Setting) -> Part:
    part, clock = Part(), clock_of(setting.threads)
    threads = thread_count(setting.threads)
    bandwidth = read_bandwidth("memory", setting.threads, setting.pick(20, 2))
    roof: list[list[str]] = []
    for dimension in (1, 2, 3):
        timed: dict[str, list[Timing]] = {}
        for shape in (shape for shape in setting.pick(SHAPES, QUICK) if len(shape) == dimension):
            for stages in STAGES:
                name = " x ".join(str(n) for n in shape)
                with parallel.team(setting.threads):
                    timed[f"{name}, s = {stages}"] = found = _compare(shape, stages, setting)
                seconds = found[0].seconds(clock)
                rate = math.prod(shape) * stages / statistics.median(seconds) if seconds else 0.0
                traffic = rate * 8 * (2 * dimension + 2)
                share = f"{100.0 * traffic / bandwidth:.0f} %"
                roof.append([name, str(stages), number(rate / 1e6), number(traffic / 1e9), share])
                record(part, found, clock, f"{name} cells, {stages} stages, {threads}", bandwidth=bandwidth)
        columns, rows = side_by_side(timed, clock)
        part.tables.append(Table(f"{dimension}-D, {threads}, ms of {clock} time", columns, rows))
    columns = ["cells", "stages", "Mcells/s", "GB/s", "of the load bandwidth of memory"]
    note = f"Loads from memory: {number(bandwidth / 1e9)} GB/s. Above 100 %: the arrays live in a cache."
    part.tables.append(Table(f"mfpde, {threads}, medians", columns, roof, note))
    return part


def _compare(shape: tuple[int, ...], stages: int, setting: Setting) -> list[Timing]:
    psi, mass = fields(shape)
    widths = [2.0 * BOX / n for n in shape]
    # the propagator takes ceil(q dt / 0.95) + 1 stages: aim at the middle of the last unit
    dt = 0.95 * (stages - 1.5) / peers.largest_exit_rate(psi, TEMPERATURE, widths)
    expected = peers.reference(psi, mass, TEMPERATURE, widths, dt, stages)

    def distance(found: Array) -> float:
        return float(np.max(np.abs(np.asarray(found) - expected)) / np.max(expected))

    competitors = variants(psi, mass, dt, stages, setting)
    return compare(competitors, distance, TOLERANCE, setting.pick(15, 2), patience=3.0)


if __name__ == "__main__":
    main("fluxes", measure, __doc__)
