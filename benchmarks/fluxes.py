"""Grid sweeps in one, two and three dimensions: mfpde's propagator against NumPy in place and JAX on the same numbers.

A call computes the exponential rates of a new potential and takes s explicit stages with them: s = 1 is the explicit
step of a scheme whose potential changes at every step (no joining of stages, no search for the largest rate), s = 2
and 24 are whole calls of the propagator. Mcells/s are cells times stages over the time of the call. Operations per
cell, a fused multiply-add as two: 36 D + 2 with the first stage, 8 D + 1 in every other (both ends of a face compute
its flow), and 31 D once more where the propagator looks for the largest rate of a grid too large to keep them. A timed
call follows untimed ones of the same variant, six stages in all or more, as steps of a scheme follow each other.
Run: python benchmarks/fluxes.py
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
from harness import Part, Setting, Variant, absence, compare, fastest, main, peer, record
from machine import peak_flops
from numpy.typing import NDArray
from peers import fluxes as peers
from tables import Table, Timing, clock_of, number, side_by_side, thread_count

from mfpde.core import parallel, propagation
from mfpde.measures import Axis, Grid, Species
from mfpde.problem import Coordinate
from mfpde.steppers.grid import POTENTIAL_CAP, Propagator

Array = NDArray[np.float64]

# the first of each dimension fits the second-level cache, the last lives in memory
SHAPES = ((32_768,), (1 << 22,), (512, 512), (2048, 2048), (32, 32, 32), (160, 160, 160))
SETTLED = 6  # stages after which the last cache has forgotten other variants
QUICK = ((1024,), (48, 48), (16, 16, 16))
STAGES = (1, 2, 24)
HELD = 131_072  # cells up to which the propagator keeps all rates
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


def explicit_step(psi: Array, mass: Array, dt: float, threads: int) -> Callable[[], Array]:
    """(I + dt A) mass with the rates of psi."""
    grid = grid_of(psi.shape)
    place = 3 - len(grid.axes)
    faces = [(place + k, *axis.face_geometry(TEMPERATURE), axis.periodic) for k, axis in enumerate(grid.axes)]
    shape = grid.padded_shape
    plan = propagation.plan(shape, faces, threads)
    out = np.empty(shape)

    def step() -> Array:
        potential = propagation.fields(psi.reshape(shape), TEMPERATURE, POTENTIAL_CAP)
        return propagation.propagate(plan, potential, mass.reshape(shape), dt, 1, out=out).reshape(psi.shape)

    return step


def variants(psi: Array, mass: Array, dt: float, stages: int, setting: Setting) -> list[Variant]:
    widths = [2.0 * BOX / n for n in psi.shape]
    if stages == 1:
        step = explicit_step(psi, mass, dt, setting.threads)
        blocks = {str(b): peers.numpy_step(psi, mass, TEMPERATURE, widths, dt, b) for b in (8_192, 32_768, psi.size)}
        found = [Variant("mfpde", step), Variant("NumPy, in place", fastest(blocks)[1])]
        return [*found, _jax(psi, mass, widths, dt, stages, setting)]
    propagator, out = Propagator(grid_of(psi.shape), TEMPERATURE), np.empty_like(mass[None])

    def ours() -> Array:
        new, taken = propagator(psi[None], mass[None], dt, out=out)
        if taken != stages:
            raise AssertionError(f"{taken} stages instead of {stages}")
        return new[0]

    found = [Variant("mfpde", ours)]
    found.append(
        Variant("NumPy, in place", peers.numpy_in_place(psi, mass, TEMPERATURE, widths, dt, stages)),
    )
    return [*found, _jax(psi, mass, widths, dt, stages, setting)]


def _jax(psi: Array, mass: Array, widths: list[float], dt: float, stages: int, setting: Setting) -> Variant:
    jax = peer("jax", setting)
    if jax is None:
        return Variant("JAX", None, absence("jax", setting))
    return Variant("JAX jit", peers.jax_jit(jax, psi, mass, TEMPERATURE, widths, dt, stages))


def measure(setting: Setting) -> Part:
    part, clock = Part(), clock_of(setting.threads)
    threads = thread_count(setting.threads)
    peak = peak_flops("float64", setting.threads, setting.pick(200, 10))
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
                speed = rate / stages * operations(shape, stages)
                share = f"{100.0 * speed / peak:.0f} %"
                roof.append([name, str(stages), number(rate / 1e6), number(speed / 1e9), share])
                record(part, found, clock, f"{name} cells, {stages} stages, {threads}", peak=peak)
        columns, rows = side_by_side(timed, clock)
        part.tables.append(Table(f"{dimension}-D, {threads}, ms of {clock} time", columns, rows))
    columns = ["cells", "stages", "Mcells/s", "GFLOP/s", "of the peak"]
    note = f"Peak of double precision: {number(peak / 1e9)} GFLOP/s."
    part.tables.append(Table(f"mfpde, {threads}, medians", columns, roof, note))
    return part


def operations(shape: tuple[int, ...], stages: int) -> float:
    """Floating-point operations per cell of a call."""
    dimension = len(shape)
    again = 31 * dimension if stages > 1 and math.prod(shape) > HELD else 0
    return 36 * dimension + 2 + again + (stages - 1) * (8 * dimension + 1)


def _compare(shape: tuple[int, ...], stages: int, setting: Setting) -> list[Timing]:
    psi, mass = fields(shape)
    widths = [2.0 * BOX / n for n in shape]
    # the propagator takes ceil(q dt / 0.95) + 1 stages: aim at the middle of the last unit
    dt = 0.95 * (max(stages, 2) - 1.5) / peers.largest_exit_rate(psi, TEMPERATURE, widths)
    expected = peers.reference(psi, mass, TEMPERATURE, widths, dt, stages)

    def distance(found: Array) -> float:
        return float(np.max(np.abs(np.asarray(found) - expected)) / np.max(expected))

    competitors = variants(psi, mass, dt, stages, setting)
    return compare(competitors, distance, TOLERANCE, setting.pick(15, 2), patience=3.0, untimed=-(-SETTLED // stages))


if __name__ == "__main__":
    main("fluxes", measure, __doc__)
