"""Integrate the limit: ``evolve`` yields every accepted step, ``solve`` collects them and says why it stopped.

The time loop is a generator: who writes files, draws a bar or stops early pulls from it.  A ``State`` holds what an
exact continuation needs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde import labelled, meanfield
from mfpde import problem as problems
from mfpde.display import Facts, Shown
from mfpde.errors import NumericalError
from mfpde.measures import SMALLEST_MASS, Grid, GridMeasure
from mfpde.problem import Problem
from mfpde.steppers import grid as exponential
from mfpde.steppers import limited
from mfpde.tabulate import Tabulated, tabulate

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

# of every step, over which a solution knows them
CURVES = ("dt", "free_energy", "risk", "gap", "dissipation", "mass_error", "min_density", "boundary_mass", "defect")
EDGE_MASS = 1e-10
EXTENSION = 0.125
FIRST_STEP = 1e-3
GROWTH, SHRINK = 3.0, 0.2


@dataclass(frozen=True)
class Control:
    """How time is stepped: local error ``tolerance`` in total variation, or a ``fixed_step``.

    ``extend`` lets the box grow where mass reaches its edge; ``flux`` is the exponential (default) or the limited one.
    """

    tolerance: float = 1e-5
    fixed_step: float | None = None
    flux: Literal["exponential", "limited"] = "exponential"
    extend: bool = True


@dataclass(frozen=True, eq=False)
class State:
    """Everything an exact continuation needs besides problem and control."""

    measure: GridMeasure
    time: float
    step: int = 0
    dt: float = 0.0
    slope: Array | None = None
    best_dual: float = -np.inf
    rejected: int = 0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One accepted step.

    ``f`` [n] predictions, ``gap`` = F - (best dual bound so far): rigorous for a convex risk, tau KL(rho|p_rho)
    otherwise; ``dissipation`` = int rho |grad mu|^2; ``mass_error`` = |total - 1|; ``increase`` = max(0, F - F before);
    ``energy_scale`` the size of the terms F is the sum of; ``boundary_mass`` the largest mass in an outermost layer of
    cells; ``defect`` the open energy balance of the step; ``sweeps`` grid passes; ``output`` whether a requested time.
    """

    state: State
    f: Array
    dt: float
    free_energy: float
    risk: float
    gap: float
    dissipation: float
    mass_error: float
    min_density: float
    boundary_mass: float
    increase: float
    energy_scale: float
    defect: float
    iterations: int
    sweeps: int
    output: bool

    @property
    def time(self) -> float:
        return self.state.time

    @property
    def measure(self) -> GridMeasure:
        return self.state.measure


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Shown):
    """Snapshots at the requested times, the history of all steps, and the reason for stopping in words."""

    snapshots: tuple[Snapshot, ...]
    history: tuple[Snapshot, ...]
    reason: str

    @property
    def final(self) -> Snapshot:
        return self.snapshots[-1]

    def to_xarray(self) -> xarray.Dataset:
        """density(time, coordinates), f(time, node) at the stored times, and the history over ``step`` with its t.

        Raises ImportError that says what to install where xarray is absent.
        """
        data = labelled.densities([s.time for s in self.snapshots], [s.measure for s in self.snapshots])
        data["f"] = (("time", "node"), np.stack([s.f for s in self.snapshots]))
        data = data.assign_coords(t=("step", [s.time for s in self.history]))
        for name in CURVES:
            data[name] = ("step", [getattr(s, name) for s in self.history])
        return data.assign_attrs(reason=self.reason)

    def facts(self) -> Facts:
        """Why it stopped, steps, grid, and what the last snapshot says."""
        last = self.final
        grid = " × ".join(f"{axis.name} {axis.cells}" for axis in last.measure.grid.axes)
        return [
            ("stopped", self.reason),
            ("stored", f"{len(self.snapshots)} times, {last.state.step} steps, {last.state.rejected} rejected"),
            ("grid", grid),
            ("free energy", f"{last.free_energy:.10g}, gap {last.gap:.3g}"),
            ("risk", f"{last.risk:.6g}"),
            ("mass error", f"{max(s.mass_error for s in self.history):.2g}"),
        ]


def solve(problem: Problem, initial: GridMeasure, times: Array, control: Control = Control()) -> Solution:
    """Integrate to the last of ``times`` [K] (increasing, the first is the start)."""
    history = tuple(evolve(problem, State(initial, float(times[0])), times, control))
    return Solution(tuple(s for s in history if s.output), history, f"reached t = {times[-1]:g}")


def evolve(
    problem: Problem,
    state: State,
    times: Array,
    control: Control = Control(),
    table: Tabulated | None = None,
    external: Callable[[Grid, float], Array] | None = None,
) -> Generator[Snapshot, None, Tabulated]:
    """Yield a Snapshot at the start and after every accepted step until the last of ``times``; return the last table.

    A continued run (state.step > 0) yields nothing for its starting point.  ``external(grid, t)`` adds a
    time-dependent potential.  Raises NumericalError on a non-finite mass or a step that cannot be solved, ValueError
    for the exponential flux at temperature 0.
    """
    if problem.temperature == 0.0 and control.flux != "limited":
        raise ValueError("at temperature 0 a grid needs the limited flux")
    table = tabulate(problem, state.measure.grid) if table is None else table
    propagator = exponential.Propagator(table.grid, problem.temperature)
    z = table.skeleton(state.measure.mass)
    before: Snapshot | None = None
    if state.step == 0:
        before = _observe(table, state, table.expand(z), 0.0, None, None, True)
        state = before.state
        yield before
    while state.time < times[-1]:
        target = float(times[np.searchsorted(times, state.time, side="right")])
        widened = _widened(state.measure.grid, state.measure) if control.extend else state.measure
        if widened is not state.measure:
            del table, propagator  # either may be most of the memory: first these, then those of the larger box
            table = tabulate(problem, widened.grid)
            propagator = exponential.Propagator(table.grid, problem.temperature)
            # a dual bound belongs to its box: the larger one starts its own
            state = State(widened, state.time, state.step, state.dt, None, -np.inf, state.rejected)
            z = table.skeleton(widened.mass)
        if control.flux == "limited":
            result, state = _limited_step(table, state, z, target, control, external)
        else:
            result, state = _exponential_step(table, propagator, state, z, target, times, control, external)
        z = result.z
        before = _observe(table, state, result.f, result.dt, result, before, state.time == target)
        state = before.state
        yield before
    return table


@dataclass(frozen=True, eq=False)
class _Result:
    z: Array
    f: Array
    dt: float
    defect: float
    iterations: int
    sweeps: int


def _exponential_step(
    table: Tabulated,
    propagator: exponential.Propagator,
    state: State,
    z: Array,
    target: float,
    times: Array,
    control: Control,
    external: Callable[[Grid, float], Array] | None,
) -> tuple[_Result, State]:
    remaining = target - state.time
    wanted = state.dt if state.dt > 0.0 else FIRST_STEP * float(times[-1] - times[0])
    wanted = control.fixed_step or wanted
    rejected = state.rejected
    while True:
        # equal steps up to the next requested time: no sliver steps, no overshoot
        parts = max(1, int(np.ceil(remaining / wanted * (1.0 - 1e-9))))
        dt = remaining / parts
        forcing = None if external is None else external(table.grid, state.time + 0.5 * dt)
        step = exponential.step(table, propagator, state.measure.mass, z, dt, state.slope, forcing)
        if not np.all(np.isfinite(step.f)):
            raise NumericalError(f"the limit became non-finite at t = {state.time:g}, step {state.step}")
        if control.fixed_step is not None:
            if not step.converged:
                raise NumericalError(
                    f"the midpoint iteration did not converge at t = {state.time:g} with fixed step {dt:g}",
                    "use an adaptive step",
                )
            proposal = control.fixed_step
            break
        factor = 0.9 * (control.tolerance / max(step.error, 1e-300)) ** (1.0 / 3.0)
        if step.converged and step.error <= 2.0 * control.tolerance:
            proposal = dt * min(GROWTH, max(SHRINK, factor))
            if factor >= 1.0:
                # a step cut short by a requested time says nothing against the longer one
                proposal = max(proposal, wanted)
            break
        rejected += 1
        wanted = dt * (min(0.7, max(SHRINK, factor)) if step.converged else 0.25)
        if wanted < 1e-12 * max(1.0, abs(state.time)):
            raise NumericalError(f"the time step fell to {wanted:g} at t = {state.time:g}")
    time = target if parts == 1 else state.time + dt
    slope = (step.z - z) / dt
    result = _Result(step.z, step.f, dt, step.defect, step.iterations, step.sweeps)
    measure = GridMeasure(table.grid, step.mass)
    return result, State(measure, time, state.step + 1, proposal, slope, state.best_dual, rejected)


def _limited_step(
    table: Tabulated,
    state: State,
    z: Array,
    target: float,
    control: Control,
    external: Callable[[Grid, float], Array] | None,
) -> tuple[_Result, State]:
    remaining = target - state.time
    forcing = None if external is None else external(table.grid, state.time)
    mass, dt = limited.step(table, state.measure.mass, min(remaining, control.fixed_step or np.inf), forcing)
    time = target if dt >= remaining else state.time + dt
    new_z = table.skeleton(mass)
    f = table.expand(new_z)
    if not np.all(np.isfinite(f)):
        raise NumericalError(f"the limit became non-finite at t = {state.time:g}, step {state.step}")
    result = _Result(new_z, f, dt, 0.0, 1, 3)
    measure = GridMeasure(table.grid, mass)
    return result, State(measure, time, state.step + 1, dt, (new_z - z) / dt, state.best_dual, state.rejected)


def _observe(
    table: Tabulated,
    state: State,
    f: Array,
    dt: float,
    result: _Result | None,
    before: Snapshot | None,
    output: bool,
) -> Snapshot:
    mass, problem = state.measure.mass, table.problem
    risk = problems.risk(problem, f)
    confinement = float(np.sum(mass * table.potential))
    heat = problem.temperature * meanfield.entropy(table, mass) if problem.temperature > 0.0 else 0.0
    energy = risk + confinement + heat
    local = meanfield.optimality_gap(table, mass, f)
    best = max(state.best_dual, energy - local)
    sides = meanfield.boundary_mass(state.measure)
    increase = 0.0 if before is None else max(0.0, energy - before.free_energy)
    return Snapshot(
        state=State(state.measure, state.time, state.step, state.dt, state.slope, best, state.rejected),
        f=f,
        dt=dt,
        free_energy=energy,
        risk=risk,
        gap=energy - best if problem.convex else local,
        dissipation=meanfield.dissipation(table, mass, f),
        mass_error=abs(float(np.sum(mass)) - 1.0),
        min_density=float(np.min(mass)) / table.grid.cell_size,
        boundary_mass=max(sides.values(), default=0.0),
        increase=increase,
        energy_scale=abs(risk) + abs(confinement) + abs(heat),
        defect=0.0 if result is None else result.defect,
        iterations=0 if result is None else result.iterations,
        sweeps=0 if result is None else result.sweeps,
        output=output,
    )


def _widened(grid: Grid, measure: GridMeasure) -> GridMeasure:
    """The measure on a box extended by whole cells where an outermost layer holds more than EDGE_MASS."""
    mass = measure.mass
    for (k, side), edge in meanfield.boundary_mass(measure).items():
        if edge <= EDGE_MASS:
            continue
        cells = max(4, int(EXTENSION * grid.axes[k].cells))
        if side < 0 and grid.axes[k].coordinate.kind == "radius":
            cells = min(cells, int(grid.axes[k].lower / grid.axes[k].width))
            if cells == 0:
                continue
        grid = grid.extend(k, cells if side < 0 else 0, cells if side > 0 else 0)
        pad = [(0, 0)] * mass.ndim
        pad[k + 1] = (cells, 0) if side < 0 else (0, cells)
        mass = np.pad(mass, pad, constant_values=SMALLEST_MASS)
    return measure if grid is measure.grid else GridMeasure(grid, mass)


def weighted_peclet(table: Tabulated, mass: Array) -> float:
    """int rho sum_k (h_k |d_k Psi|/tau)^2: above 1 the exponential flux is only first order where the mass is."""
    psi = table.first_variation(problems.residual(table.problem, table.predict(mass)))
    total = 0.0
    for k in range(len(table.grid.axes)):
        jump = np.diff(psi, axis=k + 1) / table.problem.temperature
        total += float(np.sum(meanfield.below_faces(mass, k) * jump**2))
    return total
