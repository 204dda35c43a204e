"""Finite-N ensembles: widths x replicas of interacting particles, with synchronous copies driven by the limit.

A copy starts where its particle starts and sees the same noise, but moves in the field of the limit: copies of one
width are independent draws from the limit law, and E |theta_i - copy_i|^2 = O(1/N) is the coupling form of propagation
of chaos.  Snapshots are the same to the last bit for any number of threads and ranks, any cut of the replicas and any
restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mfpde.core import noise, parallel
from mfpde.core.ranks import ALONE, Part, Ranks, divide
from mfpde.errors import ConfigError, NumericalError
from mfpde.initial import InitialLaw
from mfpde.problem import Pairwise, Problem
from mfpde.steppers import forces, particles, sampling
from mfpde.steppers.drive import Drive, Fields, Guide, guide
from mfpde.steppers.forces import Force, Reference
from mfpde.steppers.kernels import require_device
from mfpde.steppers.particles import Gradient, Motion
from mfpde.steppers.portions import Chunk, EnsembleSettings, chunks
from mfpde.steppers.sampling import BatchForce, IntegrationError
from mfpde.steppers.schedule import CONSTANT

Array = NDArray[np.float64]
T = TypeVar("T")

# time nodes tabulated at once: bounds the memory of the limit's fields
FIELD_STEPS = 64
# steps of stochastic gradient descent between two looks at whether it diverged; whole blocks of the fused kernel
SGD_STEPS = 1 << 14
# particles whose drifts are compared between two scramblings
ERROR_WIDTH = 256


@dataclass(frozen=True, eq=False)
class EnsembleState:
    """All that an exact continuation needs: snapshot index reached, steps done, theta [R, p, N] and copies by width.

    Inside, among several ranks, what this rank holds of it.
    """

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
    """All widths at times[index]; ``wall`` seconds of work per width since the last snapshot, on this rank.

    Of several ranks the first has the whole state and the records, the others have their part and no records.
    """

    time: float
    index: int
    state: EnsembleState
    records: tuple[WidthRecord, ...]
    wall: Mapping[int, float]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What ``evolve_ensemble`` runs.  ``force`` measures risk and errors; ``batches`` moves the particles under sgd.

    ``integration_error`` is that of quasi-random nodes, None for an exact force.  ``ranks`` run it together.
    """

    problem: Problem
    law: InitialLaw
    settings: EnsembleSettings
    motion: Motion
    force: Force
    batches: BatchForce | None
    guide: Guide | None
    integration_error: IntegrationError | None
    ranks: Ranks = ALONE

    @property
    def moved(self) -> Force | BatchForce:
        """What moves the particles."""
        return self.force if self.batches is None else self.batches

    @cached_property
    def parts(self) -> dict[int, Part]:
        """What this rank holds of every width."""
        guided = self.guide is None or self.guide.divisible
        divisible = self.force.divisible and self.moved.divisible and guided
        return {w: divide(w, self.settings.replicas, self.ranks, divisible) for w in self.settings.widths}

    @property
    def copying(self) -> bool:
        return self.guide is not None and self.settings.coupling == "synchronous"

    @property
    def scheme(self) -> particles.Scheme:
        return "euler" if self.settings.dynamics == "sgd" else self.settings.scheme

    @property
    def description(self) -> str:
        """What moves the particles and by which scheme."""
        name = "stochastic Heun" if self.scheme == "heun" else "Euler-Maruyama"
        return f"{self.moved.description}; {name}" + ("" if self.motion.noisy else " without noise")


def prepare(
    problem: Problem,
    law: InitialLaw,
    settings: EnsembleSettings,
    drive: Drive | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    ranks: Ranks = ALONE,
) -> Ensemble:
    """Choose the force, and tabulate the limit's fields on ``bounds`` of the reduced coordinates (those of its grid).

    Every one of several ``ranks`` does so with the same arguments.
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
    return Ensemble(problem, law, settings, move, force, batches, limit, error, ranks)


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
    """The initial draws of this rank; copies start where their particles do."""
    theta = {}
    for width, part in ensemble.parts.items():
        seed, own = particles.width_seed(ensemble.settings.seed, width), part.particles
        theta[width] = particles.draw(ensemble.problem, ensemble.law, len(own), part.replicas, seed, own.start)
    return EnsembleState(0, 0, theta, {w: x.copy() for w, x in theta.items()} if ensemble.copying else None)


def _dealt(ensemble: Ensemble, state: EnsembleState | None) -> EnsembleState | None:
    """What this rank holds of the state that the first rank has; None where there is none."""
    if ensemble.ranks.size == 1:
        return state
    reached = ensemble.ranks.told(None if state is None else (state.index, state.step, state.copies is not None))
    if reached is None:
        return None
    index, step, copying = reached
    rows = particles.row_count(ensemble.problem)
    own: list[dict[int, Array]] = []
    for whole in [None if state is None else state.theta, None if state is None else state.copies][: 1 + copying]:
        own.append({w: p.dealt(None if whole is None else whole[w], rows) for w, p in ensemble.parts.items()})
    return EnsembleState(index, step, own[0], own[1] if copying else None)


def _gathered(ensemble: Ensemble, state: EnsembleState) -> EnsembleState:
    """The whole state on the first rank, their own part on the others."""
    if ensemble.ranks.size == 1:
        return state

    def whole(own: Mapping[int, Array]) -> dict[int, Array]:
        found = {width: part.gathered(own[width]) for width, part in ensemble.parts.items()}
        return {width: own[width] if theta is None else theta for width, theta in found.items()}

    return EnsembleState(
        state.index, state.step, whole(state.theta), None if state.copies is None else whole(state.copies)
    )


def evolve_ensemble(
    ensemble: Ensemble, times: Array, state: EnsembleState | None = None, threads: int | None = None
) -> Iterator[EnsembleSnapshot]:
    """Yield a snapshot at each of ``times`` [K], increasing, the start included; after ``state`` only what follows.

    ``threads`` None leaves it to the team of core.parallel that the caller has opened.  Of several ranks the first
    gives ``state``, all of it.  Raises NumericalError naming width, replica and time if a particle becomes non-finite.
    """
    snapshot: EnsembleSnapshot | None = None
    with _team(threads), ensemble.ranks.together():
        own = _dealt(ensemble, state)
        if own is None:
            own = start(ensemble)
            snapshot = _snapshot(ensemble, own, float(times[0]), dict.fromkeys(ensemble.settings.widths, 0.0))
    del state
    if snapshot is not None:
        yield snapshot
    del snapshot  # a record may be as large as all networks: nothing here keeps it while the next one is computed
    for index in range(own.index + 1, len(times)):
        before, now = float(times[index - 1]), float(times[index])
        with _team(threads), ensemble.ranks.together():
            own, wall = _interval(ensemble, own, before, now)
            snapshot = _snapshot(ensemble, own, now, wall)
        yield snapshot
        del snapshot


def _team(threads: int | None) -> AbstractContextManager[None]:
    return nullcontext() if threads is None else parallel.team(threads)


def _each(ensemble: Ensemble, work: Callable[[Chunk], T], alone: bool = False) -> list[tuple[Chunk, T]]:
    """(chunk, work(chunk)) of this rank; ``alone`` where a replica has no use for more than one thread."""
    whole, shared = chunks(ensemble.settings, ensemble.moved.operations, ensemble.parts)
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
        _require_finite(ensemble, theta, copies, float(steps.times[done + len(sizes)]))
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
    part = ensemble.parts[chunk.width]
    replicas, share = part.replicas[chunk.span], part.share

    def brownian(k: int, out: Array) -> None:
        for row, replica in enumerate(replicas):
            noise.normals(seed, noise.BROWNIAN, replica, step + k, out[row], part.particles.start)

    def own(one: Array, k: int, out: Array) -> None:
        if batches is None:
            ensemble.force.gradient(one, out, share)
        else:
            batches.gradient(one, seed, replicas.start, step + k, out, share)

    systems: list[tuple[Array, Gradient]] = []
    # a run that diverges is reported by name after the interval
    with np.errstate(all="ignore"):
        if batches is not None and batches.fused:
            batches.advance(theta[chunk.width][chunk.span], seed, replicas.start, step, sizes, ensemble.motion)
        else:
            systems.append((theta[chunk.width][chunk.span], own))
        if copies is not None and fields is not None:
            systems.append((copies[chunk.width][chunk.span], fields.gradient))
        if systems:
            particles.integrate(systems, brownian, ensemble.motion, sizes, len(sizes), ensemble.scheme)
    return perf_counter() - began


def _require_finite(
    ensemble: Ensemble, theta: Mapping[int, Array], copies: Mapping[int, Array] | None, time: float
) -> None:
    """NumericalError that names the first replica with a non-finite number, the same one on all ranks."""
    systems = [(who, w) for who, arrays in (("particles", theta), ("copies", copies or {})) for w in arrays]
    count, first = ensemble.settings.replicas, len(systems) * ensemble.settings.replicas
    for k, (who, width) in enumerate(systems):
        values = theta[width] if who == "particles" or copies is None else copies[width]
        bad = np.flatnonzero(~np.all(np.isfinite(values), axis=(1, 2)))
        if len(bad):
            first = min(first, k * count + ensemble.parts[width].replicas[bad[0]])
    found = ensemble.ranks.everywhere(np.array([float(first)]), [1] * ensemble.ranks.size)
    first = int(np.min(found))
    if first < len(systems) * count:
        who, width = systems[first // count]
        raise NumericalError(
            f"{who} of width {width}, replica {first % count} became non-finite before t = {time:g}",
            "use a smaller particles.step",
        )


def _snapshot(ensemble: Ensemble, own: EnsembleState, time: float, wall: dict[int, float]) -> EnsembleSnapshot:
    reference = None if ensemble.guide is None else ensemble.guide.reference(ensemble.force, time)
    measured = _each(ensemble, partial(_measure, ensemble, own, reference))
    state, records = _gathered(ensemble, own), []
    for width, part in ensemble.parts.items():
        mine = [numbers for chunk, numbers in sorted(measured, key=lambda pair: pair[0].first) if chunk.width == width]
        risk, *errors = (_listed(part, [numbers[k] for numbers in mine]) for k in range(4))
        if risk is not None:
            theta = particles.parameters(ensemble.problem, state.theta[width])
            records.append(WidthRecord(width, theta, risk, *errors))
    return EnsembleSnapshot(time, state.index, state, tuple(records), wall)


def _listed(part: Part, own: list[Array | None]) -> Array | None:
    """One number per replica [R] on the first rank, from those of the chunks of every rank; None if there is none.

    The first rank holds a replica of every width: it knows whether the number exists.
    """
    known = [numbers for numbers in own if numbers is not None]
    numbers = np.concatenate(known) if known else np.full(len(part.replicas), np.nan)
    found = part.listed(numbers[:, None])
    return None if found is None or not known else found[:, 0]


def _measure(
    ensemble: Ensemble, state: EnsembleState, reference: Reference | None, chunk: Chunk
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """(risk, function error, that of the copies, coupling error) of one chunk of replicas."""
    share = ensemble.parts[chunk.width].share
    theta = state.theta[chunk.width][chunk.span]
    risk, error = ensemble.force.observe(theta, reference, share)
    if state.copies is None:
        return risk, error, None, None
    copies = state.copies[chunk.width][chunk.span]
    distance = particles.mean_square_distance(ensemble.problem, ensemble.motion, theta, copies, share)
    return risk, error, ensemble.force.observe(copies, reference, share)[1], distance
