"""What a study tells: the limit with its error bars, the finite widths beside it, the claims of the theorem checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpde.io.deep.config import is_linear, seeds_at
from mfpde.io.deep.data import Samples
from mfpde.io.deep.file import Progress
from mfpde.io.deep.schema import Config
from mfpde.io.deep.work import LIMIT, Job, Record, as_trajectory
from mfpde.theory.deep.assumptions import ActivationCheck, InputCheck, check_activation, check_inputs
from mfpde.theory.deep.diagnostics import (
    Certificate,
    KernelBound,
    Reliability,
    feature_change,
    global_minimum,
    kernel_bound,
    reliability,
    smallest_eigenvalue,
    space_time_eigenvalue,
)
from mfpde.theory.deep.trajectory import Summary, summarise
from mfpde.theory.deep.width_law import WidthLaw, width_law

Array = NDArray[np.float64]

# a smallest eigenvalue below this part of the largest is round-off
SINGULAR = 1e-11
# seeds that a width needs for its bias to be told from its noise
_FEWEST_SEEDS = 4
# quantities per layer that limit and finite widths share
PER_LAYER = ("feature_change", "feature_eigenvalue", "preactivation_eigenvalue", "space_time_eigenvalue")


class Band(NamedTuple):
    """Mean and standard error; NaN where there is a single sample."""

    mean: Array
    sem: Array


@dataclass(frozen=True, eq=False)
class Dependence:
    """First recorded ``step`` and ``layer`` (from 1) whose features are linearly dependent; ``pairs`` that coincide."""

    step: int
    layer: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class LimitFindings:
    """The limit at recorded ``times`` [K]: ``layers`` quantity -> band [K, L], ``test_f`` [Q, C] after the last step.

    Eigenvalues are those of the mean kernels, whose own sampling error lowers them least; their standard errors come
    from the replicates. ``dependence`` None: features were independent at all recorded steps. ``bound`` and
    ``certificate`` None where they are not defined.
    """

    times: NDArray[np.int64]
    summary: Summary
    loss: Band
    layers: Mapping[str, Band]
    test_f: Band | None
    certificate: Certificate
    bound: KernelBound | None
    reliability: Reliability
    dependence: Dependence | None

    @property
    def unreliable_from(self) -> int | None:
        """The first step from which a spike of the loss, a step too large or too few samples spoil the answer."""
        one = self.reliability
        times = [t for t in (one.spike_time, one.unstable_time, one.crowded_time) if t is not None]
        return min(times) if times else None


@dataclass(frozen=True, eq=False)
class WidthFindings:
    """One width in one parametrization: loss band [K], ``layers`` quantity -> band [K, L], distances to the limit.

    ``distance``: rms of f - f_limit over recorded steps, samples and outputs, a seed each; ``test_distance`` after the
    last step over the held-out inputs; both are means over seeds with their errors, None without a limit.
    """

    width: int
    seeds: int
    loss: Band
    layers: Mapping[str, Band]
    record: Record
    distance: Band | None
    test_distance: Band | None


@dataclass(frozen=True, eq=False)
class Findings:
    """All of it; ``limit`` None under --only widths; ``finite`` by parametrization, empty under --only limit."""

    job: Job
    inputs: InputCheck
    activation: ActivationCheck
    limit: LimitFindings | None
    finite: Mapping[str, Sequence[WidthFindings]]
    law: WidthLaw | None


def findings(config: Config, samples: Samples, job: Job, progress: Progress) -> Findings:
    """What the complete records tell; the beginnings of others are left out."""
    limit = _limit(job, progress)
    finite = _finite(config, progress, limit)
    return Findings(
        job,
        check_inputs(samples.x),
        check_activation(config.network.activation, config.network.hermite),
        limit,
        finite,
        _law(config, limit, finite.get("mup", ())),
    )


def _law(config: Config, limit: LimitFindings | None, widths: Sequence[WidthFindings]) -> WidthLaw | None:
    """The width law of muP from the widths that have enough seeds; None where fewer than two do."""
    usable = [one for one in widths if one.seeds >= _FEWEST_SEEDS]
    if limit is None or len(usable) < 2:
        return None
    sem = None if is_linear(config) else limit.summary.sem.f
    return width_law(limit.summary.mean.f, sem, [one.width for one in usable], [one.record["f"] for one in usable])


def band(values: Array) -> Band:
    """Mean and standard error over the first axis."""
    missing = np.full(values.shape[1:], np.nan)
    return Band(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else missing)


def _limit(job: Job, progress: Progress) -> LimitFindings | None:
    tasks = sorted(task for task in progress.done if task.kind == LIMIT)
    if not tasks:
        return None
    runs = [as_trajectory(progress.done[task]) for task in tasks]
    summary = summarise(runs)
    mean = summary.mean
    of_mean = {
        "feature_change": feature_change(mean.pre, mean.cross),
        "feature_eigenvalue": smallest_eigenvalue(mean.phi),
        "preactivation_eigenvalue": smallest_eigenvalue(mean.pre),
        "space_time_eigenvalue": space_time_eigenvalue(mean.pre, mean.cross),
    }
    of_each = {
        "feature_change": [feature_change(run.pre, run.cross) for run in runs],
        "feature_eigenvalue": [smallest_eigenvalue(run.phi) for run in runs],
        "preactivation_eigenvalue": [smallest_eigenvalue(run.pre) for run in runs],
        "space_time_eigenvalue": [space_time_eigenvalue(run.pre, run.cross) for run in runs],
    }
    exact = job.problem.activation == "identity"
    test = [progress.done[task]["test_f"] for task in tasks if "test_f" in progress.done[task]]
    return LimitFindings(
        times=mean.times,
        summary=summary,
        loss=band(np.stack([run.loss for run in runs])),
        layers={name: Band(of_mean[name], band(np.stack(of_each[name])).sem) for name in PER_LAYER},
        test_f=band(np.stack(test)) if test else None,
        certificate=global_minimum(mean),
        bound=kernel_bound(mean, job.problem),
        reliability=reliability(summary, job.problem, None if exact else job.settings),
        dependence=_dependence(mean.times, mean.phi),
    )


def _dependence(times: NDArray[np.int64], phi: Array) -> Dependence | None:
    """Where a feature kernel [K, L, Q, Q] is singular to round-off, and which pairs of samples coincide up to sign."""
    values = np.linalg.eigvalsh(phi)
    singular = values[..., 0] <= SINGULAR * values[..., -1]
    if not singular.any():
        return None
    at, layer = (int(k) for k in np.argwhere(singular)[0])
    kernel = phi[at, layer]
    norms = np.sqrt(np.diagonal(kernel))
    scale = np.outer(norms, norms)
    cosine = np.divide(kernel, scale, out=np.zeros_like(kernel), where=scale > 0.0)
    parallel = np.argwhere(np.triu(np.abs(cosine) > 1.0 - SINGULAR, 1))
    return Dependence(int(times[at]), layer + 1, tuple((int(i), int(j)) for i, j in parallel))


def _finite(config: Config, progress: Progress, limit: LimitFindings | None) -> dict[str, list[WidthFindings]]:
    seeds = dict(zip(config.finite.widths, seeds_at(config), strict=True))
    found: dict[str, list[WidthFindings]] = {}
    for kind in config.finite.parametrizations:
        tasks = sorted(task for task in progress.done if task.kind == kind and task.count == seeds[task.width])
        if tasks:
            found[kind] = [_width(task.width, progress.done[task], limit) for task in tasks]
    return found


def _width(width: int, record: Record, limit: LimitFindings | None) -> WidthFindings:
    distance = test_distance = None
    if limit is not None:
        away = record["f"] - limit.summary.mean.f
        distance = band(np.sqrt(np.mean(away**2, axis=(1, 2, 3))))
        if limit.test_f is not None:
            test_distance = band(np.sqrt(np.mean((record["test_f"] - limit.test_f.mean) ** 2, axis=(1, 2))))
    layers = {name: band(record[name]) for name in PER_LAYER}
    return WidthFindings(width, len(record["seeds"]), band(record["loss"]), layers, record, distance, test_distance)
