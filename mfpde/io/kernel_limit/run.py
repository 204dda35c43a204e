"""Run a study of the kernel limit: its limit, then the flow at every scale, saved as they end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.compare.rates import Rate
from mfpde.errors import MfpdeError
from mfpde.io.interrupt import held
from mfpde.io.kernel_limit import file
from mfpde.io.kernel_limit.build import Setting, build
from mfpde.io.kernel_limit.config import Loaded
from mfpde.io.kernel_limit.limit import Errors, Kernels, Limit, compute_limit, errors_at, kernels_of
from mfpde.io.kernel_limit.records import Record, Row, Task, record_of, tasks_of
from mfpde.io.kernel_limit.schema import Config
from mfpde.measures import ParticleMeasure
from mfpde.theory.kernel_limit.crossover import slope_in_scale
from mfpde.theory.kernel_limit.finite_scale import finite_scale
from mfpde.theory.kernel_limit.kernels import measure_kernel
from mfpde.theory.kernel_limit.start import start

Array = NDArray[np.float64]
Report = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run has found: rows by task, rates by law and quantity.

    ``own`` is the kernel of the neurons that the flows start from, ``own_end`` its errors at the last time;
    ``width_error`` ||H_N - H||/||H|| on the rows.
    """

    setting: Setting
    limit: Limit
    rows: Record
    rates: Mapping[str, Mapping[str, Rate | None]]
    own: Kernels
    own_end: Errors
    width_error: float


def run_study(study: Loaded, path: str, *, resume: bool, report: Report) -> Outcome:
    """Compute what is missing and write ``path``; ``report`` gets the number of flows that are done, parts included.

    Finished scales survive every interruption.
    """
    config = study.config
    setting = build(study)
    rows: Record = file.load_rows(path, config) if resume and os.path.exists(path) else {}
    neurons = {skewed: _start(config, setting, skewed) for skewed in {task.skewed for task in tasks_of(config)}}
    limit = compute_limit(config, setting, neurons[False])
    tolerance = config.kernel_limit.rank_tolerance
    own = {skewed: _own(setting, measure, tolerance) for skewed, measure in neurons.items()}
    missing = [task for task in tasks_of(config) if task not in rows]
    done = len(rows)
    try:
        for task in missing:
            row = _flow(config, setting, task, neurons[task.skewed], own[task.skewed], _within(report, done, setting))
            with held():
                rows[task] = row
            done += 1
            report(float(done))
            file.save(path, study, setting, limit, rows, finished=False)
    except (KeyboardInterrupt, MfpdeError):
        if rows:
            file.save(path, study, setting, limit, rows, finished=False)
        raise
    rates = rates_of(config, rows)
    file.save(path, study, setting, limit, rows, rates, finished=True)
    seen, wanted = own[False].train, limit.kernels.train
    off = float(np.linalg.norm(seen - wanted) / np.linalg.norm(wanted))
    own_end = errors_at(setting, own[False], float(setting.times[-1]), config.kernel_limit.ridge)
    return Outcome(setting, limit, rows, rates, own[False], own_end, off)


def _start(config: Config, setting: Setting, skewed: bool) -> ParticleMeasure:
    return start(setting.problem, setting.law, config.kernel_limit.neurons, config.output.seed, skewed)


def _own(setting: Setting, neurons: ParticleMeasure, tolerance: float | None) -> Kernels:
    """The kernel of the neurons themselves, which is what their flow approaches."""
    return kernels_of(setting, lambda x, z: measure_kernel(setting.problem, neurons, x, z), tolerance)


def _within(report: Report, done: int, setting: Setting) -> Report:
    """Progress inside one flow: times rise in equal ratios, the steps of the integrator hardly do."""
    last = float(setting.times[-1])
    return lambda time: report(done + 0.999 * time / last)


def _flow(
    config: Config, setting: Setting, task: Task, neurons: ParticleMeasure, kernels: Kernels, report: Report
) -> Row:
    path = finite_scale(
        setting.problem,
        neurons,
        task.scale,
        setting.times,
        setting.x_test,
        config.kernel_limit.ridge,
        report,
    )
    return record_of(config, setting, path, kernels)


def rates_of(config: Config, rows: Record) -> dict[str, dict[str, Rate | None]]:
    """Powers of alpha of the last distances and of the displacement, by law; None where too few scales tell."""
    found: dict[str, dict[str, Rate | None]] = {}
    for skewed in sorted({task.skewed for task in rows}):
        tasks = sorted(task for task in rows if task.skewed == skewed)
        scales = [task.scale for task in tasks]
        last = {
            "distance": [float(rows[task].distance[-1]) for task in tasks],
            "test_distance": [float(rows[task].test_distance[-1]) for task in tasks],
            "displacement": [float(rows[task].displacement[-1]) for task in tasks],
        }
        least = config.kernel_limit.fit_from
        found[tasks[0].law] = {name: slope_in_scale(scales, values, least) for name, values in last.items()}
    return found
