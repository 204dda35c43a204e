"""Time to a given error on the mean-field Ornstein-Uhlenbeck equation: mfpde, SciPy, py-pde, FiPy and fplanck.

Every code climbs a ladder of resolutions, all rungs of all codes in turn in one process; the error is the L1 distance
from the exact cell averages at the end. The seconds to reach an error are read off the lower envelope of (error, time)
by interpolation in the logarithms. Peers at their best: py-pde through its compiled right-hand side and SciPy's
integrator with the band or pattern of the Jacobian, its compilation not counted but shown; FiPy with exponential
convection; fplanck with numpy.product restored, which NumPy 2 removed. One thread, processor time.
Run: python benchmarks/ornstein_uhlenbeck.py
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
from harness import Part, Setting, Variant, absence, compare, main, peer
from numpy.typing import NDArray
from peers import ornstein_uhlenbeck as peers
from peers.ornstein_uhlenbeck import Call, Case
from tables import Table, Timing, number

from mfpde import evolve
from mfpde.initial import GroupLaw, InitialLaw, initial_measure
from mfpde.measures import Axis, Grid, Species
from mfpde.pairwise import pairwise_problem

Array = NDArray[np.float64]
Rung = tuple[object, ...]

OURS, LINES, PDE, FIPY, FPLANCK = "mfpde", "SciPy, method of lines", "py-pde", "FiPy", "fplanck"
# cells per axis, then the setting of the time steps: a tolerance, a method and a tolerance, or a number of steps
LADDERS: dict[int, dict[str, Sequence[Rung]]] = {
    1: {
        OURS: (
            (64, 1e-3),
            (128, 1e-3),
            (256, 1e-4),
            (256, 1e-5),
            (512, 1e-5),
            (512, 1e-6),
            (1024, 1e-6),
            (1024, 1e-7),
            (2048, 1e-7),
        ),
        LINES: tuple((n, "LSODA", 1e-4) for n in (64, 128, 256, 512, 1024, 2048)),
        PDE: tuple((n, "LSODA", 1e-4) for n in (64, 128, 256, 512, 1024)),
        FIPY: ((64, 50), (128, 50), (128, 100), (256, 200), (512, 400)),
        FPLANCK: ((64, 5), (128, 10), (256, 20), (512, 40), (1024, 60)),
    },
    2: {
        OURS: ((64, 1e-3), (128, 1e-3), (128, 1e-4), (256, 1e-4), (256, 1e-5), (512, 1e-5)),
        LINES: tuple((n, "RK23", 1e-4) for n in (64, 128, 256)),
        PDE: tuple((n, "RK23", 1e-4) for n in (32, 64, 128, 256)),
        FIPY: ((64, 40), (128, 80), (128, 160)),
        FPLANCK: ((32, 4), (64, 4), (128, 6)),
    },
}
QUICK: dict[int, dict[str, Sequence[Rung]]] = {
    1: {
        OURS: ((32, 1e-2), (64, 1e-3)),
        LINES: ((32, "LSODA", 1e-3), (64, "LSODA", 1e-3)),
        PDE: ((32, "LSODA", 1e-3),),
        FIPY: ((32, 10),),
        FPLANCK: ((32, 2),),
    },
    2: {OURS: ((32, 1e-2),), LINES: ((32, "RK23", 1e-3),), PDE: (), FIPY: ((16, 4),), FPLANCK: ((16, 2),)},
}
ERRORS = {1: (1e-2, 1e-3, 2e-4), 2: (2e-2, 5e-3, 2e-3)}
MODULES = {PDE: "pde", FIPY: "fipy", FPLANCK: "fplanck"}


def ours(case: Case, cells: int, tolerance: float) -> Call:
    """The certified exponential scheme with adaptive steps on a fixed box."""
    problem = pairwise_problem(case.temperature, dimension=case.dimension, matrix=case.matrix, strength=case.attraction)
    axes = tuple(Axis(coordinate, -case.box, case.box, cells) for coordinate in problem.moving)
    grid = Grid(axes, Species((), np.zeros((1, 0)), np.ones(1)))
    point, std = GroupLaw("point"), math.sqrt(case.variance * case.dimension)  # std of the norm
    law = InitialLaw(point, GroupLaw("normal", mean=tuple(case.mean), std=std), point, case.dimension)
    start, control = initial_measure(law, grid), evolve.Control(tolerance=tolerance, extend=False)

    def call() -> Array:
        solution = evolve.solve(problem, start, np.array([0.0, case.time]), control)
        return solution.final.measure.density[0]

    return call


def solvers(setting: Setting) -> dict[str, Callable[..., Call] | None]:
    """solver(case, *rung) of every code; None for a code that is missing."""
    found: dict[str, Callable[..., Call] | None] = {OURS: ours, LINES: peers.scipy_lines}
    pde, fipy, fplanck = (peer(name, setting) for name in MODULES.values())
    found[PDE] = None if pde is None else partial(peers.py_pde, pde)
    found[FIPY] = None if fipy is None else peers.fipy_call
    vars(np).setdefault("product", np.prod)  # for fplanck
    found[FPLANCK] = None if fplanck is None else partial(peers.fplanck_call, fplanck)
    return found


def envelope(errors: Sequence[float], seconds: Sequence[float]) -> list[tuple[float, float]]:
    """The (error, seconds) that no other point beats in both, errors falling."""
    kept: list[tuple[float, float]] = []
    for second, error in sorted(zip(seconds, errors, strict=True)):
        if not kept or error < kept[-1][0]:
            kept.append((error, second))
    return kept


def seconds_to(error: float, errors: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Seconds to reach ``error`` by interpolation in the logarithms; None if no rung reaches it.

    An error that the first rung already reaches costs the seconds of that rung.
    """
    points = envelope(errors, seconds)
    if not points or points[-1][0] > error:
        return None
    if points[0][0] <= error:
        return points[0][1]
    k = next(k for k, (reached, _) in enumerate(points) if reached <= error)
    (coarse, before), (fine, after) = points[k - 1], points[k]
    share = math.log(coarse / error) / math.log(coarse / fine)
    return before * (after / before) ** share


def measure(setting: Setting) -> Part:
    part = Part()
    for dimension, case in ((1, peers.one_dimensional()), (2, peers.two_dimensional())):
        ladders = setting.pick(LADDERS, QUICK)[dimension]
        rungs: list[tuple[str, Rung]] = []
        variants: list[Variant] = []
        first: list[float] = []
        ends: list[Array | None] = []
        for code, solver in solvers(setting).items():
            for rung in ladders[code]:
                rungs.append((code, rung))
                first.append(math.nan)
                ends.append(None)
                reason = absence(MODULES[code], setting) if solver is None else ""
                variants.append(Variant(f"{code} {rung}", _kept(solver, case, rung, first, ends), reason))
        timed = compare(variants, case.error, math.inf, setting.pick(7, 2), patience=4.0)
        part.measurements += [
            {"dimension": dimension, "code": code, "first": once, **asdict(timing)}
            for timing, (code, _), once in zip(timed, rungs, first, strict=True)
        ]
        part.tables.append(_table(part, dimension, case, [code for code, _ in rungs], timed, first, ends))
    return part


def _kept(
    solver: Callable[..., Call] | None, case: Case, rung: Rung, first: list[float], ends: list[Array | None]
) -> Call | None:
    """Prepare and solve at the first call, which is not timed: note its seconds and its result; only solve later."""
    if solver is None:
        return None
    place = len(first) - 1
    ready: list[Call] = []

    def call() -> Array:
        if ready:
            return ready[0]()
        began = time.perf_counter()
        ready.append(solver(case, *rung))
        ends[place] = end = ready[0]()
        first[place] = time.perf_counter() - began
        return end

    return call


def _table(
    part: Part,
    dimension: int,
    case: Case,
    codes: list[str],
    timed: list[Timing],
    first: list[float],
    ends: list[Array | None],
) -> Table:
    columns = ["code"]
    for error in ERRORS[dimension]:
        columns += [f"ms to {error:g}", "ratio"]
    columns += ["best error", "in ms", "first call there, s", "least density", "mass − 1", "note"]
    rows, ours_to = [], {}
    for code in dict.fromkeys(codes):
        mine = [k for k, name in enumerate(codes) if name == code]
        done = [k for k in mine if timed[k].cpu and timed[k].error is not None]
        errors = [float(timed[k].error or 0.0) for k in done]
        seconds = [statistics.median(timed[k].cpu) for k in done]
        row = [code]
        for target in ERRORS[dimension]:
            found = seconds_to(target, errors, seconds)
            if code == OURS:
                ours_to[target] = found
            base = ours_to[target]
            row.append("–" if found is None else number(1e3 * found))
            row.append("–" if found is None or base is None else f"{found / base:.2f}")
            if found is not None and base is not None and found < base:
                part.ahead.append([f"{dimension}-D to an error of {target:g}", code, f"{base / found:.2f}"])
        notes = "; ".join(dict.fromkeys(timed[k].note for k in mine if timed[k].note))
        if done:
            best = int(np.argmin(errors))
            end = ends[done[best]]
            assert end is not None
            mass = float(end.sum()) * (2.0 * case.box / end.shape[0]) ** dimension
            row += [number(errors[best]), number(1e3 * seconds[best]), number(first[done[best]])]
            row += [f"{end.min():.0e}", f"{mass - 1.0:.0e}", notes]
        else:
            row += ["–", "–", "–", "–", "–", notes]
        rows.append(row)
    return Table(f"{dimension}-D, medians of cpu time of one thread, ratio to mfpde", columns, rows)


if __name__ == "__main__":
    main("ornstein_uhlenbeck", measure, __doc__, threads=(1,))
