"""Finite-N ensembles: widths x replicas of interacting particles, with synchronous copies driven by the limit.

A copy starts where its particle starts and sees the same noise, but moves in the field of the limit: copies of one
width are independent draws from the limit law, and E |theta_i - copy_i|^2 = O(1/N) is the coupling form of propagation
of chaos.  Snapshots are the same to the last bit for any number of threads, any cut of the replicas and any restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mfpde.core import noise
from mfpde.errors import ConfigError, NumericalError
from mfpde.initial import InitialLaw
from mfpde.problem import Pairwise, Problem
from mfpde.steppers import forces, particles, sampling
from mfpde.steppers.drive import Drive, Fields, Guide, guide
from mfpde.steppers.forces import Force, Reference
from mfpde.steppers.particles import Gradient, Motion
from mfpde.steppers.sampling import BatchForce, IntegrationError

Array = NDArray[np.float64]
T = TypeVar("T")

# time nodes tabulated at once: bounds the memory of the limit's fields
FIELD_STEPS = 64
# particles whose drifts are compared between two scramblings
ERROR_WIDTH = 256


@dataclass(frozen=True)
class EnsembleSettings:
    """Widths x replicas and how they move.

    ``dynamics`` langevin (noise of the problem's temperature), gradient (none) or sgd (``batch`` fresh samples per
    step, Euler scheme, and the noise of the temperature); ``coupling`` synchronous copies or none; ``nodes``
    quasi-random nodes where no exact force exists.
    """

    widths: tuple[int, ...]
    replicas: int
    step: float
    dynamics: Literal["langevin", "gradient", "sgd"] = "langevin"
    scheme: Literal["heun", "euler"] = "heun"
    batch: int = 0
    coupling: Literal["synchronous", "independent"] = "synchronous"
    nodes: int = 4096
    seed: int = 0


@dataclass(frozen=True, eq=False)
class EnsembleState:
    """All that an exact continuation needs: snapshot index reached, steps done, theta [R, p, N] and copies by width."""

    index: int
    step: int
    theta: Mapping[int, Array]
    copies: Mapping[int, Array] | None = None


@dataclass(frozen=True, eq=False)
class WidthRecord:
    """One width at one time: theta [R, N, p] in the order a, w .., b (angles in [-pi, pi)), and per replica [R]

    the risk, |f_N - f|^2 against the limit of the particles and of their copies (independent draws from the limit law),
    and the mean of |theta_i - copy_i|^2 over particles, moving parameters only, along the arc on
    a circle.  None without a limit or copies.
    """

    width: int
    theta: Array
    risk: Array
    function_error: Array | None
    function_error_iid: Array | None
    coupling_error: Array | None


@dataclass(frozen=True, eq=False)
class EnsembleSnapshot:
    """All widths at times[index]; ``wall`` seconds of work per width since the last snapshot."""

    time: float
    index: int
    state: EnsembleState
    records: tuple[WidthRecord, ...]
    wall: Mapping[int, float]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What ``evolve_ensemble`` runs.  ``force`` measures risk and errors; ``batches`` moves the particles under sgd.

    ``integration_error`` is that of quasi-random nodes, None for an exact force.
    """

    problem: Problem
    law: InitialLaw
    settings: EnsembleSettings
    motion: Motion
    force: Force
    batches: BatchForce | None
    guide: Guide | None
    integration_error: IntegrationError | None

    @property
    def copying(self) -> bool:
        return self.guide is not None and self.settings.coupling == "synchronous"

    @property
    def scheme(self) -> particles.Scheme:
        return "euler" if self.settings.dynamics == "sgd" else self.settings.scheme

    @property
    def description(self) -> str:
        """What moves the particles and by which scheme."""
        moved = self.force.description if self.batches is None else self.batches.description
        name = "stochastic Heun" if self.scheme == "heun" else "Euler-Maruyama"
        return f"{moved}; {name}" + ("" if self.motion.noisy else " without noise")


def prepare(
    problem: Problem,
    law: InitialLaw,
    settings: EnsembleSettings,
    drive: Drive | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Ensemble:
    """Choose the force, and tabulate the limit's fields on ``bounds`` of the reduced coordinates (those of its grid).

    Raises ConfigError for settings that have no meaning for the problem.
    """
    _check(problem, settings)
    force, error = forces.exact_force(problem), None
    if force is None:
        force = sampling.sobol_force(problem, settings.nodes, settings.seed)
        width = min(max(settings.widths), ERROR_WIDTH)
        theta = particles.draw(problem, law, width, range(1), particles.width_seed(settings.seed, width))
        error = sampling.integration_error(problem, settings.nodes, settings.seed, theta)
    batches = None
    if settings.dynamics == "sgd":
        nodes = forces.data_nodes(problem) if problem.data.population is None else None
        batches = sampling.batch_force(problem, settings.batch, nodes)
    move = particles.motion(problem, settings.dynamics != "gradient")
    limit = None if drive is None else guide(problem, law, drive, bounds)
    return Ensemble(problem, law, settings, move, force, batches, limit, error)


def _check(problem: Problem, settings: EnsembleSettings) -> None:
    if any(width < 1 for width in settings.widths) or len(set(settings.widths)) != len(settings.widths):
        raise ConfigError("particles.widths", f"is {list(settings.widths)}; distinct positive numbers are allowed")
    if settings.replicas < 1:
        raise ConfigError("particles.replicas", f"is {settings.replicas}; it must be at least 1")
    if not settings.step > 0.0:
        raise ConfigError("particles.step", f"is {settings.step}; it must be above 0")
    if settings.dynamics == "sgd":
        if isinstance(problem.model, Pairwise):
            raise ConfigError("particles.dynamics", 'is "sgd"; a [pairwise] problem has no data: langevin or gradient')
        if settings.batch < 1:
            raise ConfigError("particles.batch", f'is {settings.batch}; dynamics "sgd" needs at least 1')


def step_count(interval: float, step: float) -> int:
    """Equal steps of at most ``step`` between two snapshots."""
    return max(1, int(np.ceil(interval / step - 1e-9)))


def estimate_cost(problem: Problem, settings: EnsembleSettings, time: float) -> tuple[float, float]:
    """(evaluations of a pair or of a neuron on a node, bytes of one snapshot) of a run to ``time``, in advance."""
    force: Force | BatchForce | None
    if settings.dynamics == "sgd":
        force = sampling.batch_force(problem, settings.batch, None)
    else:
        force = forces.exact_force(problem)
    stages = 2.0 if settings.scheme == "heun" and settings.dynamics != "sgd" else 1.0
    per_stage = sum(2.0 * w * settings.nodes if force is None else force.operations(w) for w in settings.widths)
    systems = 2.0 if settings.coupling == "synchronous" else 1.0
    numbers = sum(settings.widths) * settings.replicas * particles.row_count(problem)
    return step_count(time, settings.step) * stages * settings.replicas * per_stage, 8.0 * systems * numbers


def start(ensemble: Ensemble) -> EnsembleState:
    """The initial draws; copies start where their particles do."""
    s = ensemble.settings
    theta = {
        width: particles.draw(
            ensemble.problem, ensemble.law, width, range(s.replicas), particles.width_seed(s.seed, width)
        )
        for width in s.widths
    }
    return EnsembleState(0, 0, theta, {w: x.copy() for w, x in theta.items()} if ensemble.copying else None)


def evolve_ensemble(
    ensemble: Ensemble, times: Array, state: EnsembleState | None = None, threads: int = 1
) -> Iterator[EnsembleSnapshot]:
    """Yield a snapshot at each of ``times`` [K], increasing, the start included; after ``state`` only what follows.

    Raises NumericalError naming width, replica and time if a particle becomes non-finite.
    """
    with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
        if state is None:
            state = start(ensemble)
            yield _snapshot(
                ensemble, state, float(times[0]), dict.fromkeys(ensemble.settings.widths, 0.0), pool, threads
            )
        for index in range(state.index + 1, len(times)):
            before, now = float(times[index - 1]), float(times[index])
            state, wall = _interval(ensemble, state, before, now, pool, threads)
            yield _snapshot(ensemble, state, now, wall, pool, threads)


@dataclass(frozen=True)
class _Task:
    width: int
    first: int
    stop: int

    @property
    def span(self) -> slice:
        return slice(self.first, self.stop)


def _tasks(ensemble: Ensemble, threads: int) -> list[_Task]:
    """Chunks of replicas, the costly ones first; a chunk is at most an even share and cheap replicas stay together."""
    s = ensemble.settings
    operations = (ensemble.force if ensemble.batches is None else ensemble.batches).operations
    cost = {width: operations(width) + 1e3 * width for width in s.widths}
    share = sum(cost.values()) * s.replicas / (4.0 * threads)
    tasks = []
    for width in s.widths:
        size = max(1, min(int(share / cost[width]), -(-s.replicas // threads)))
        tasks += [_Task(width, k, min(k + size, s.replicas)) for k in range(0, s.replicas, size)]
    return sorted(tasks, key=lambda task: -cost[task.width] * (task.stop - task.first))


def _interval(
    ensemble: Ensemble, state: EnsembleState, before: float, now: float, pool: Executor | None, threads: int
) -> tuple[EnsembleState, dict[int, float]]:
    """Advance all widths from one snapshot to the next, FIELD_STEPS steps at a time."""
    steps = step_count(now - before, ensemble.settings.step)
    dt = (now - before) / steps
    theta = {w: x.copy() for w, x in state.theta.items()}
    copies = None if state.copies is None else {w: x.copy() for w, x in state.copies.items()}
    tasks = _tasks(ensemble, threads)
    wall = dict.fromkeys(theta, 0.0)
    for done in range(0, steps, FIELD_STEPS):
        count = min(FIELD_STEPS, steps - done)
        fields = None
        if ensemble.guide is not None and copies is not None:
            fields = ensemble.guide.fields(before + dt * np.arange(done, done + count + 1, dtype=np.float64))
        work = partial(_advance, ensemble, theta, copies, fields, state.step + done, count, dt)
        for task, seconds in zip(tasks, _map(pool, work, tasks), strict=True):
            wall[task.width] += seconds
        _require_finite(theta, copies, before + dt * (done + count))
    return EnsembleState(state.index + 1, state.step + steps, theta, copies), wall


def _map(pool: Executor | None, work: partial[T], tasks: Sequence[_Task]) -> list[T]:
    return [work(task) for task in tasks] if pool is None else list(pool.map(work, tasks))


def _advance(
    ensemble: Ensemble,
    theta: Mapping[int, Array],
    copies: Mapping[int, Array] | None,
    fields: Fields | None,
    step: int,
    count: int,
    dt: float,
    task: _Task,
) -> float:
    """Move one chunk of replicas, and its copies, ``count`` steps in place; returns the seconds it took."""
    began = perf_counter()
    seed = particles.width_seed(ensemble.settings.seed, task.width)

    def brownian(k: int, out: Array) -> None:
        for row, replica in enumerate(range(task.first, task.stop)):
            noise.normals(seed, noise.BROWNIAN, replica, step + k, out[row])

    def own(one: Array, k: int, out: Array) -> None:
        if ensemble.batches is None:
            ensemble.force.gradient(one, out)
        else:
            ensemble.batches.gradient(one, seed, task.first, step + k, out)

    systems: list[tuple[Array, Gradient]] = [(theta[task.width][task.span], own)]
    if copies is not None and fields is not None:
        systems.append((copies[task.width][task.span], fields.gradient))
    # a run that diverges is reported by name after the interval
    with np.errstate(all="ignore"):
        particles.integrate(systems, brownian, ensemble.motion, dt, count, ensemble.scheme)
    return perf_counter() - began


def _require_finite(theta: Mapping[int, Array], copies: Mapping[int, Array] | None, time: float) -> None:
    for who, arrays in (("particles", theta), ("copies", copies or {})):
        for width, values in arrays.items():
            bad = ~np.all(np.isfinite(values), axis=(1, 2))
            if np.any(bad):
                raise NumericalError(
                    f"{who} of width {width}, replica {int(np.argmax(bad))} became non-finite before t = {time:g}",
                    "use a smaller particles.step",
                )


def _snapshot(
    ensemble: Ensemble,
    state: EnsembleState,
    time: float,
    wall: dict[int, float],
    pool: Executor | None,
    threads: int,
) -> EnsembleSnapshot:
    reference = None if ensemble.guide is None else ensemble.guide.reference(ensemble.force, time)
    tasks = _tasks(ensemble, threads)
    work = partial(_measure, ensemble, state, reference)
    parts = dict(zip(tasks, _map(pool, work, tasks), strict=True))
    records = []
    for width in ensemble.settings.widths:
        mine = [parts[task] for task in sorted(tasks, key=lambda task: task.first) if task.width == width]
        risk, error, iid, coupling = (_joined([part[k] for part in mine]) for k in range(4))
        assert risk is not None
        records.append(
            WidthRecord(width, _parameters(ensemble.problem, state.theta[width]), risk, error, iid, coupling)
        )
    return EnsembleSnapshot(time, state.index, state, tuple(records), wall)


def _joined(parts: list[Array | None]) -> Array | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _measure(
    ensemble: Ensemble, state: EnsembleState, reference: Reference | None, task: _Task
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """(risk, function error, that of the copies, coupling error) of one chunk of replicas."""
    theta = state.theta[task.width][task.span]
    risk, error = ensemble.force.observe(theta, reference)
    if state.copies is None:
        return risk, error, None, None
    copies = state.copies[task.width][task.span]
    rows = ensemble.motion.rows
    distance = np.zeros(len(theta))
    for replica in range(len(theta)):
        apart = theta[replica, rows] - copies[replica, rows]
        # on the circle a slip by a whole turn is no distance
        apart = _wrapped(apart) if _on_circle(ensemble.problem) else apart
        distance[replica] = np.sum(apart**2) / task.width
    return risk, error, ensemble.force.observe(copies, reference)[1], distance


def _parameters(problem: Problem, theta: Array) -> Array:
    """theta [R, p, N] as [R, N, parameters that exist], angles wrapped to [-pi, pi)."""
    values = np.ascontiguousarray(theta[:, : particles.kept_rows(problem)].transpose(0, 2, 1))
    return _wrapped(values) if _on_circle(problem) else values


def _on_circle(problem: Problem) -> bool:
    return problem.coordinates[0].kind == "circle"


def _wrapped(angle: Array) -> Array:
    """Angles in [-pi, pi)."""
    return np.asarray(np.mod(angle + np.pi, 2.0 * np.pi) - np.pi)
