"""SGD against its limit, for a study: the settings of every sweep, the numbers for JSON, and the file sgd.h5."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw
from mfpde.io import schema, store
from mfpde.io.build import Study, build
from mfpde.io.origin import root_attributes
from mfpde.io.theory.subject import Subject
from mfpde.problem import Problem
from mfpde.theory.dimension_free import sweeps
from mfpde.theory.dimension_free.laws import Exponent
from mfpde.theory.dimension_free.limit import Limit, follow
from mfpde.theory.dimension_free.steps import Neurons, measured, neurons_beside, require_exact
from mfpde.theory.dimension_free.widths import independent

Array = NDArray[np.float64]
# progress(label) gives what a sweep reports its share done to
Progress = Callable[[str], AbstractContextManager[Callable[[float], None]]]

# parts of the run in which particles in continuous time are integrated, their longest step, and that of the limit
PARTS, LONGEST = 20, 0.05
# the widest network gets the replicas of the study, narrower ones more, at most so many
MOST = 192
# eps is swept over so many doublings of the study's, at this width (or the narrowest of the study, if that is less)
DOUBLINGS, WIDTH, REPLICAS = 5, 100, 64
# over d: a quarter of the study's eps, a fifth of its time, so that eps d stays below one
SMALLER, SHORTER, DIMENSION_REPLICAS = 0.25, 0.2, 16
# particles whose error gives the needed width
NEEDED_WIDTH, NEEDED_REPLICAS = 64, 256


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured: ``sweeps`` of N, eps, d, t; the dimensions; replicas of the widest network; the tolerance."""

    sweeps: tuple[str, ...]
    dimensions: tuple[int, ...]
    replicas: int | None
    tolerance: float


def measure_sgd(subject: Subject, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Every sweep of the plan, as numbers ready for JSON. ConfigError where the study does not allow one."""
    study = subject.study
    if study.config.network is None:
        raise ConfigError("pairwise", "is an explicit interaction; it has no data to descend on")
    if "d" in plan.sweeps:
        in_dimension(study, plan.dimensions[0])
    exact = True
    try:
        require_exact(study.problem)
    except ConfigError:
        # the width that independent neurons need follows from the limit alone
        exact = False
        if plan.sweeps != ("d",) or study.problem.loss != "square":
            raise
    began = perf_counter()
    result = _heading(study, plan)
    needs_limit = "N" in plan.sweeps or "t" in plan.sweeps
    limit = None
    if needs_limit:
        with progress("limit") as report:
            limit = follow(study.problem, study.law, study.times)
            report(1.0)
    base: Neurons | None = None
    if limit is not None and "N" in plan.sweeps:
        with progress("over N") as report:
            base = _over_width(result, study, limit, plan, report)
    if "eps" in plan.sweeps:
        with progress("over eps") as report:
            _over_step(result, study, report)
    if limit is not None and "t" in plan.sweeps:
        with progress("over t") as report:
            _over_time(result, study, limit, base)
            report(1.0)
    if "d" in plan.sweeps:
        if exact:
            with progress("over d") as report:
                _over_dimension(result, study, plan, report)
        with progress("needed width") as report:
            _needed(result, study, plan, NEEDED_REPLICAS if exact else 0, report)
    result["wall_s"] = perf_counter() - began
    return result


def in_dimension(study: Study, dimension: int) -> tuple[Problem, InitialLaw]:
    """The problem and initial law of the study with inputs of another dimension; temperature times d is held.

    The theory has the noise tau/D.  ConfigError for data that are not of a Gaussian law.
    """
    config, data = study.config, study.config.data
    if not isinstance(data, (schema.GaussianData, schema.TwoGaussiansData)):
        told = "must be Gaussian for a sweep over d: a data set has one dimension"
        raise ConfigError("data.law", told, "--sweeps N,eps,t goes without")
    changes: dict[str, int] = {"dimension": dimension}
    if isinstance(data, schema.TwoGaussiansData) and data.informative is not None:
        changes["informative"] = max(1, round(data.informative * dimension / data.dimension))
    law = config.initial.w
    if isinstance(law, schema.Normal) and isinstance(law.mean, tuple):
        law = replace(law, mean=(law.mean[0], *[0.0] * (dimension - 1)))
    temperature = config.training.temperature * data.dimension / dimension
    changed = replace(
        config,
        data=replace(data, **changes),
        training=replace(config.training, temperature=temperature),
        initial=replace(config.initial, w=law),
    )
    other = build(changed, study.name, None)
    return other.problem, other.law


def _heading(study: Study, plan: Plan) -> dict[str, Any]:
    config = study.config
    return {
        "title": config.title or study.name,
        "data": study.data_description,
        "activation": study.problem.model.activation,  # type: ignore[union-attr]
        "temperature": study.problem.temperature,
        "time": float(study.times[-1]),
        "theory_time": 0.5 * float(study.times[-1]),
        "eps": 0.5 * config.particles.step,
        "batch": max(1, config.particles.batch),
        "seed": config.output.seed,
        "sweeps": list(plan.sweeps),
        "exponents": [],
        "identity": None,
        "over_time": None,
        "needed": None,
    }


def _base_width(study: Study) -> int:
    return min(WIDTH, *study.config.particles.widths)


def _particle_step(study: Study) -> float:
    return min(LONGEST, float(study.times[-1]) / PARTS)


def _over_width(
    result: dict[str, Any], study: Study, limit: Limit, plan: Plan, report: Callable[[float], None]
) -> Neurons:
    widths = sorted(study.config.particles.widths)
    fewest = plan.replicas or study.config.particles.replicas
    if len(widths) < 2 or fewest < 2:
        raise ConfigError("particles.widths", "and replicas must be at least 2 each for a sweep over N")
    replicas = [max(fewest, min(MOST, fewest * widths[-1] // width)) for width in widths]
    found = sweeps.over_width(limit, widths, replicas, _particle_step(study), study.config.output.seed, report)
    result["exponents"] += [exponent_numbers(one) for one in found.exponents]
    result["identity"] = {
        "widths": widths,
        "replicas": replicas,
        "measured": found.identity.tolist(),
        "sem": found.identity_sem.tolist(),
        "exact": found.constants.bias,
        "fluctuation_exact": found.constants.fluctuation,
        "fluctuation": [float(one.width * np.mean(one.first_order[-1] ** 2)) for one in found.neurons],
        "risk": found.constants.risk,
    }
    return found.neurons[0]


def _over_step(result: dict[str, Any], study: Study, report: Callable[[float], None]) -> None:
    p, time = study.config.particles, float(study.times[-1])
    steps = [p.step * 2**k for k in range(DOUBLINGS) if p.step * 2**k <= 0.1 * time]
    if len(steps) < 2:
        raise ConfigError("particles.step", f"is {p.step:g}; a sweep over eps doubles it, and needs {0.05 * time:g}")
    found = sweeps.over_step(
        study.problem, study.law, _base_width(study), REPLICAS, steps, time, study.config.output.seed,
        result["batch"], report,
    )  # fmt: skip
    result["exponents"] += [exponent_numbers(one) for one in found]


def _over_time(result: dict[str, Any], study: Study, limit: Limit, base: Neurons | None) -> None:
    seed = study.config.output.seed
    if base is None or base.width != _base_width(study):
        base = measured(neurons_beside(limit, _particle_step(study), seed), limit, _base_width(study), REPLICAS)
    found = sweeps.over_time(limit, base, study.config.particles.step, REPLICAS, seed, result["batch"])
    result["over_time"] = {
        "width": base.width,
        "replicas": REPLICAS,
        "times": found.times.tolist(),
        "theory_times": (0.5 * found.times).tolist(),
        "risk": limit.risk.tolist(),
        "errors": {name: values.tolist() for name, values in found.errors.items()},
        "independent_exact": [
            independent(limit.problem, measure, f).error(base.width)
            for measure, f in zip(limit.measures, limit.f, strict=True)
        ],
    }


def _over_dimension(result: dict[str, Any], study: Study, plan: Plan, report: Callable[[float], None]) -> None:
    p, time = study.config.particles, float(study.times[-1])
    found = sweeps.over_dimension(
        partial(in_dimension, study), plan.dimensions, min(NEEDED_WIDTH, *p.widths), DIMENSION_REPLICAS,
        SMALLER * p.step, SHORTER * time, study.config.output.seed, result["batch"], report,
    )  # fmt: skip
    result["exponents"] += [exponent_numbers(one) for one in found]


def _needed(result: dict[str, Any], study: Study, plan: Plan, replicas: int, report: Callable[[float], None]) -> None:
    width = min(NEEDED_WIDTH, *study.config.particles.widths)
    rows = sweeps.needed_widths(
        partial(in_dimension, study), plan.dimensions, np.array([0.0, float(study.times[-1])]), plan.tolerance,
        width, replicas, _particle_step(study), study.config.output.seed, report,
    )  # fmt: skip
    result["needed"] = {
        "tolerance": plan.tolerance,
        "dimensions": [row.dimension for row in rows],
        "independent": [row.independent for row in rows],
        "measured": [row.measured for row in rows] if replicas else None,
        "interval": [row.interval for row in rows] if replicas else None,
        "fluctuation": [row.constants.fluctuation for row in rows],
        "bias": [row.constants.bias for row in rows],
        "width": width,
        "replicas": replicas,
        "spread": sweeps.spread(rows),
        "slope": None if len(rows) < 2 else sweeps.dimension_rate(rows).slope,
    }


def exponent_numbers(found: Exponent) -> dict[str, Any]:
    """One exponent beside what is proved, for JSON."""
    law = found.law
    return {
        "name": law.name,
        "step": law.step,
        "quantity": law.quantity,
        "variable": law.variable,
        "proved": law.exponent,
        "bound": law.bound,
        "slope": found.slope,
        "interval": None if found.interval is None else list(found.interval),
        "prefactor": found.prefactor,
        "verdict": found.verdict,
        "values": found.values.tolist(),
        "errors": found.errors.tolist(),
        "sems": found.sems.tolist(),
    }


def write_sgd(subject: Subject, result: dict[str, Any], path: str) -> None:
    """The curves of all sweeps under /theory, in the layout that all outputs share."""
    variables: dict[str, store.Variable] = {}
    attributes: dict[str, Any] = {name: result[name] for name in ("time", "theory_time", "eps", "temperature")}
    for one in result["exponents"]:
        name, values = str(one["variable"]), one["values"]
        variables.setdefault(name, store.Variable((name,), np.asarray(values)))
        for key in ("errors", "sems"):
            variables[f"{one['name']}_{key}"] = store.Variable((name,), np.asarray(one[key]))
        attributes[f"{one['name']}_slope"] = one["slope"]
    if result["identity"] is not None:
        attributes["bias"] = result["identity"]["exact"]
        variables["bias_scaled"] = store.Variable(("N",), np.asarray(result["identity"]["measured"]))
    if result["over_time"] is not None:
        over = result["over_time"]
        variables["t"] = store.Variable(("t",), np.asarray(over["times"]))
        for name, values in over["errors"].items():
            variables[f"{name}_over_time"] = store.Variable(("t",), np.asarray(values))
    if result["needed"] is not None:
        needed = result["needed"]
        variables["d"] = store.Variable(("d",), np.asarray(needed["dimensions"], float))
        for name in ("independent", "measured"):
            if needed[name] is not None:
                variables[f"needed_{name}"] = store.Variable(("d",), np.asarray(needed[name]))
        attributes["tolerance"] = needed["tolerance"]
    store.write(path, {"/theory": store.Group(variables, attributes)}, root_attributes(subject.study, "theory", True))
