"""Finite-N ensembles: widths x replicas of interacting particles, with synchronous copies driven by the limit.

A copy starts where its particle starts and sees the same noise, but moves in the field of the limit: copies of one
width are independent draws from the limit law, and E |theta_i - copy_i|^2 = O(1/N) is the coupling form of propagation
of chaos.  Snapshots are the same to the last bit for any number of threads, any cut of the replicas and any restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mfpde.core import noise, parallel
from mfpde.errors import ConfigError, NumericalError
from mfpde.initial import InitialLaw
from mfpde.problem import Pairwise, Problem
from mfpde.steppers import forces, particles, sampling
from mfpde.steppers.drive import Drive, Fields, Guide, guide
from mfpde.steppers.forces import Force, Reference
from mfpde.steppers.kernels import DOUBLE, Kernels, require_device
from mfpde.steppers.particles import Gradient, Motion
from mfpde.steppers.sampling import BatchForce, IntegrationError
from mfpde.steppers.schedule import CONSTANT, Schedule

Array = NDArray[np.float64]
T = TypeVar("T")

# time nodes tabulated at once: bounds the memory of the limit's fields
FIELD_STEPS = 64
# steps of stochastic gradient descent between two looks at whether it diverged; whole blocks of the fused kernel
SGD_STEPS = 1 << 14
# particles whose drifts are compared between two scramblings
ERROR_WIDTH = 256
CHUNKS_PER_THREAD = 4.0
# neurons from which the kernels cut a network into several spans, so that threads can share it
WIDE = 8192


@dataclass(frozen=True)
class EnsembleSettings:
    """Widths x replicas and how they move.

    ``dynamics`` langevin (noise of the problem's temperature), gradient (none) or sgd (``batch`` fresh samples per
    step, Euler scheme, and the noise of the temperature); ``coupling`` synchronous copies or none; ``nodes``
    quasi-random nodes where no exact force exists; ``kernels`` that sum over neurons and data; ``schedule`` how sgd
    divides the limit's clock into steps, of ``step`` where it is constant.
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
    kernels: Kernels = DOUBLE
    schedule: Schedule = CONSTANT


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

    Raises ConfigError for settings that have no meaning for the problem, or a device that cannot be used here.
    """
    _check(problem, settings)
    kernels = settings.kernels
    require_device(kernels)
    force, error = forces.exact_force(problem, kernels), None
    if force is None:
        force = sampling.sobol_force(problem, settings.nodes, settings.seed, kernels)
        width = min(max(settings.widths), ERROR_WIDTH)
        theta = particles.draw(problem, law, width, range(1), particles.width_seed(settings.seed, width))
        error = sampling.integration_error(problem, settings.nodes, settings.seed, theta, kernels)
    batches = None
    if settings.dynamics == "sgd":
        nodes = forces.data_nodes(problem) if problem.data.population is None else None
        batches = sampling.batch_force(problem, settings.batch, nodes, kernels)
    move = particles.motion(problem, settings.dynamics != "gradient")
    limit = None if drive is None else guide(problem, law, drive, bounds, kernels)
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
    elif settings.schedule.exponent != 0.0:
        raise ConfigError("particles.schedule", f'belongs to dynamics "sgd"; it is "{settings.dynamics}"')


def step_count(interval: float, step: float) -> int:
    """Equal steps of at most ``step`` between two snapshots."""
    return CONSTANT.count(0.0, interval, step)


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
    ensemble: Ensemble, times: Array, state: EnsembleState | None = None, threads: int | None = None
) -> Iterator[EnsembleSnapshot]:
    """Yield a snapshot at each of ``times`` [K], increasing, the start included; after ``state`` only what follows.

    ``threads`` None leaves it to the team of core.parallel that the caller has opened.
    Raises NumericalError naming width, replica and time if a particle becomes non-finite.
    """
    if state is None:
        with _team(threads):
            state = start(ensemble)
            snapshot = _snapshot(ensemble, state, float(times[0]), dict.fromkeys(ensemble.settings.widths, 0.0))
        yield snapshot
        del snapshot  # a record may be as large as all networks: nothing here keeps it while the next one is computed
    for index in range(state.index + 1, len(times)):
        before, now = float(times[index - 1]), float(times[index])
        with _team(threads):
            state, wall = _interval(ensemble, state, before, now)
            snapshot = _snapshot(ensemble, state, now, wall)
        yield snapshot
        del snapshot


def _team(threads: int | None) -> AbstractContextManager[None]:
    return nullcontext() if threads is None else parallel.team(threads)


@dataclass(frozen=True)
class Chunk:
    """Replicas first .. stop - 1 of one width."""

    width: int
    first: int
    stop: int

    @property
    def span(self) -> slice:
        return slice(self.first, self.stop)


def chunks(settings: EnsembleSettings, operations: Callable[[int], float]) -> tuple[list[Chunk], list[Chunk]]:
    """Chunks that take the whole team of core.parallel one after the other, and chunks that its threads share.

    ``operations(width)`` is the cost of one replica.  A shared chunk is at most an even share, costly ones come first,
    and cheap replicas stay together.  Where a single replica exceeds that share it is left to the threads of its
    kernels, which cut wide networks into spans; on a GPU all replicas of a width go together.
    """
    threads = parallel.size()
    cost = {width: operations(width) + 1e3 * width for width in settings.widths}
    share = sum(cost.values()) * settings.replicas / (CHUNKS_PER_THREAD * threads)
    whole, shared = [], []
    for width in settings.widths:
        if settings.kernels.device == "cuda":
            whole.append(Chunk(width, 0, settings.replicas))
        elif width >= WIDE and cost[width] > share:
            whole += [Chunk(width, k, k + 1) for k in range(settings.replicas)]
        else:
            size = max(1, min(int(share / cost[width]), -(-settings.replicas // threads)))
            shared += [Chunk(width, k, min(k + size, settings.replicas)) for k in range(0, settings.replicas, size)]
    return whole, sorted(shared, key=lambda chunk: -cost[chunk.width] * (chunk.stop - chunk.first))


def _each(ensemble: Ensemble, work: Callable[[Chunk], T], alone: bool = False) -> list[tuple[Chunk, T]]:
    """(chunk, work(chunk)) of all replicas; ``alone`` where a replica has no use for more than one thread."""
    moved = ensemble.force if ensemble.batches is None else ensemble.batches
    whole, shared = chunks(ensemble.settings, moved.operations)
    if alone:
        whole, shared = [], [*whole, *shared]
    return [(chunk, work(chunk)) for chunk in whole] + list(zip(shared, parallel.collect(work, shared), strict=True))


def _interval(
    ensemble: Ensemble, state: EnsembleState, before: float, now: float
) -> tuple[EnsembleState, dict[int, float]]:
    """Advance all widths from one snapshot to the next, FIELD_STEPS steps at a time."""
    steps = ensemble.settings.schedule.steps(before, now, ensemble.settings.step)
    theta = {w: x.copy() for w, x in state.theta.items()}
    copies = None if state.copies is None else {w: x.copy() for w, x in state.copies.items()}
    wall = dict.fromkeys(theta, 0.0)
    fused = ensemble.batches is not None and ensemble.batches.fused
    at_once = SGD_STEPS if fused and copies is None else FIELD_STEPS
    for done in range(0, len(steps.sizes), at_once):
        sizes = steps.sizes[done : done + at_once]
        fields = None
        if ensemble.guide is not None and copies is not None:
            fields = ensemble.guide.fields(steps.times[done : done + len(sizes) + 1])
        work = partial(_advance, ensemble, theta, copies, fields, state.step + done, sizes)
        for chunk, seconds in _each(ensemble, work, alone=fused):
            wall[chunk.width] += seconds
        _require_finite(theta, copies, float(steps.times[done + len(sizes)]))
    return EnsembleState(state.index + 1, state.step + len(steps.sizes), theta, copies), wall


def _advance(
    ensemble: Ensemble,
    theta: Mapping[int, Array],
    copies: Mapping[int, Array] | None,
    fields: Fields | None,
    step: int,
    sizes: Array,
    chunk: Chunk,
) -> float:
    """Move one chunk of replicas, and its copies, by steps of ``sizes`` in place; returns the seconds it took."""
    began = perf_counter()
    seed, batches = particles.width_seed(ensemble.settings.seed, chunk.width), ensemble.batches

    def brownian(k: int, out: Array) -> None:
        for row, replica in enumerate(range(chunk.first, chunk.stop)):
            noise.normals(seed, noise.BROWNIAN, replica, step + k, out[row])

    def own(one: Array, k: int, out: Array) -> None:
        if batches is None:
            ensemble.force.gradient(one, out)
        else:
            batches.gradient(one, seed, chunk.first, step + k, out)

    systems: list[tuple[Array, Gradient]] = []
    # a run that diverges is reported by name after the interval
    with np.errstate(all="ignore"):
        if batches is not None and batches.fused:
            batches.advance(theta[chunk.width][chunk.span], seed, chunk.first, step, sizes, ensemble.motion)
        else:
            systems.append((theta[chunk.width][chunk.span], own))
        if copies is not None and fields is not None:
            systems.append((copies[chunk.width][chunk.span], fields.gradient))
        if systems:
            particles.integrate(systems, brownian, ensemble.motion, sizes, len(sizes), ensemble.scheme)
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


def _snapshot(ensemble: Ensemble, state: EnsembleState, time: float, wall: dict[int, float]) -> EnsembleSnapshot:
    reference = None if ensemble.guide is None else ensemble.guide.reference(ensemble.force, time)
    parts = _each(ensemble, partial(_measure, ensemble, state, reference))
    records = []
    for width in ensemble.settings.widths:
        mine = [part for chunk, part in sorted(parts, key=lambda pair: pair[0].first) if chunk.width == width]
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
    ensemble: Ensemble, state: EnsembleState, reference: Reference | None, chunk: Chunk
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """(risk, function error, that of the copies, coupling error) of one chunk of replicas."""
    theta = state.theta[chunk.width][chunk.span]
    risk, error = ensemble.force.observe(theta, reference)
    if state.copies is None:
        return risk, error, None, None
    copies = state.copies[chunk.width][chunk.span]
    distance = np.zeros(len(theta))
    for replica in range(len(theta)):
        for row in ensemble.motion.rows:
            apart = theta[replica, row] - copies[replica, row]
            # on the circle a slip by a whole turn is no distance
            apart = _wrapped(apart) if _on_circle(ensemble.problem) else apart
            distance[replica] += np.sum(apart**2) / chunk.width
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
