"""Cost and error of the grid scheme against a method-of-lines solution by SciPy, mean-field Ornstein-Uhlenbeck in 1-D.

    d rho/dt = d/dx (rho (x + (x - m))) + 1/2 d^2 rho/dx^2,  rho_0 = N(2, 1/4),  t = 1

Peer: the same exponential fluxes with the mean inside the right-hand side, by LSODA with its banded Jacobian.
Every row is one process, variants taken in turn; medians of CPU seconds. Run: python benchmarks/limit.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

from mfpde import evolve
from mfpde.exact import gaussian, ornstein_uhlenbeck
from mfpde.initial import GroupLaw, InitialLaw, initial_measure
from mfpde.measures import Axis, Grid, Species
from mfpde.pairwise import pairwise_problem

Array = NDArray[np.float64]

TEMPERATURE, BOX, HORIZON = 0.5, 6.0, 1.0


def exact_density(x: Array) -> Array:
    path = ornstein_uhlenbeck.path(
        np.array([HORIZON]), 2.0, 0.25, stiffness=1.0, interaction=1.0, temperature=TEMPERATURE
    )
    return gaussian.density(x[:, None], path.mean[0], path.covariance[0])


def ours(cells: int) -> tuple[Array, Array]:
    problem = pairwise_problem(TEMPERATURE)
    grid = Grid((Axis(problem.moving[0], -BOX, BOX, cells),), Species((), np.zeros((1, 0)), np.ones(1)))
    point = GroupLaw("point")
    law = InitialLaw(point, GroupLaw("normal", mean=(2.0,), std=0.5), point, 1)
    # the local error in time falls with the third power of the step: keep it below the error in space
    control = evolve.Control(tolerance=1e-5 * (256 / cells) ** 3, extend=False)
    solution = evolve.solve(problem, initial_measure(law, grid), np.array([0.0, HORIZON]), control)
    return grid.axes[0].centers, solution.final.measure.density[0]


def method_of_lines(cells: int) -> tuple[Array, Array]:
    h = 2.0 * BOX / cells
    x = -BOX + (np.arange(cells) + 0.5) * h
    start = np.exp(-2.0 * (x - 2.0) ** 2)
    start /= start.sum() * h

    def change(_: float, rho: Array) -> Array:
        psi = 0.5 * x**2 + 0.5 * x**2 - x * float(np.sum(x * rho)) * h
        z = np.diff(psi) / TEMPERATURE
        b = z / np.expm1(np.where(z == 0.0, 1e-300, z))
        flux = TEMPERATURE / h * (b * rho[:-1] - (b + z) * rho[1:])
        total = np.zeros(cells)
        total[:-1] -= flux / h
        total[1:] += flux / h
        return total

    found = solve_ivp(change, (0.0, HORIZON), start, method="LSODA", lband=1, uband=1, rtol=1e-6, atol=1e-9)
    return x, found.y[:, -1]


def measure(solver: Callable[[int], tuple[Array, Array]], cells: int, repeats: int) -> dict[str, float]:
    x, density = solver(cells)
    error = float(np.sum(np.abs(density - exact_density(x)))) * 2.0 * BOX / cells
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        solver(cells)
        seconds.append(time.process_time() - began)
    return {
        "l1_error": error,
        "cpu_s": statistics.median(seconds),
        "min_density": float(density.min()),
        "mass_error": abs(float(density.sum()) * 2.0 * BOX / cells - 1.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rows = []
    with threadpool_limits(1):
        for cells in (128, 256, 512, 1024):
            for name, solver in (("mfpde, certified", ours), ("SciPy LSODA, banded", method_of_lines)):
                rows.append({"cells": cells, "solver": name, **measure(solver, cells, args.repeats)})
    if args.json:
        print(json.dumps({"benchmark": "limit", "rows": rows}))
        return
    print(f"{'cells':>6} {'solver':<20} {'L1 error':>10} {'CPU s':>8} {'min density':>12} {'|mass-1|':>9}")
    for r in rows:
        print(
            f"{r['cells']:>6} {r['solver']:<20} {r['l1_error']:>10.2e} {r['cpu_s']:>8.4f}"
            f" {r['min_density']:>12.1e} {r['mass_error']:>9.1e}"
        )


if __name__ == "__main__":
    main()
