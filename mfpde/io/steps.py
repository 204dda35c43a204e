"""The time-step bias of the particles from two ensembles of one study that differ in their step."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from mfpde.compare.rates import extrapolate_in_width, fit_rate
from mfpde.compare.step_bias import WEAK_ORDER, extrapolate_in_step, fit_step_bias
from mfpde.errors import ConfigError, MfpdeError
from mfpde.io.outputs import Output
from mfpde.io.summary import sem

Array = NDArray[np.float64]

QUANTITIES = ("risk", "function_error", "coupling_error")


def step_bias(a: Output, b: Output) -> dict[str, Any]:
    """Every error at the last time, at both steps and extrapolated to step 0, ready for JSON.

    Equal seeds start replica r alike, so replicas are combined in pairs. ``constant`` is N times the error as N grows,
    without the bias: the constant of the 1/N law. Raises ConfigError unless the outputs are ensembles of one study, its
    step apart.
    """
    _require_pair(a, b)
    particles = a.config.particles
    scheme = "euler" if particles.dynamics == "sgd" else particles.scheme
    order = WEAK_ORDER[scheme]
    steps = [a.config.particles.step, b.config.particles.step]
    widths = sorted(set(a.series) & set(b.series))
    found: dict[str, Any] = {
        "a": a.path,
        "b": b.path,
        "title": a.config.title,
        "steps": steps,
        "scheme": scheme,
        "order": order,
        "time": float(a.times[-1]),
        "quantities": {},
    }
    paired = a.config.output.seed == b.config.output.seed
    for name in QUANTITIES:
        if all(name in output.series[width] for output in (a, b) for width in widths):
            samples = {width: [output.series[width][name][-1] for output in (a, b)] for width in widths}
            found["quantities"][name] = _quantity(samples, steps, order, paired, name)
    return found


def _require_pair(a: Output, b: Output) -> None:
    for output in (a, b):
        if output.kind != "particles":
            raise ConfigError("--metric", f"is step, which compares two ensembles; {output.path} holds {output.kind}")
        if not output.finished:
            raise ConfigError("--metric", f"is step, and {output.path} is not finished", "mfpde solve --resume")
    one, other = (replace(o.config, particles=replace(o.config.particles, step=1.0)) for o in (a, b))
    if one != other:
        raise ConfigError(
            "--metric", f"is step: {a.path} and {b.path} must come from studies that differ in particles.step alone"
        )
    if a.config.particles.step == b.config.particles.step:
        raise ConfigError("particles.step", f"is {a.config.particles.step} in both outputs; two different ones needed")
    if a.config.particles.replicas < 2:
        raise ConfigError("particles.replicas", "is 1; a standard error needs at least 2")


def _quantity(
    samples: dict[int, list[Array]], steps: list[float], order: int, paired: bool, name: str
) -> dict[str, Any]:
    rows = []
    for width, values in samples.items():
        limit = extrapolate_in_step(steps, values, order, paired=paired)
        row: dict[str, Any] = {"width": width, "extrapolated": float(limit.value), "extrapolated_sem": float(limit.sem)}
        row["at_steps"] = [{"mean": float(v.mean()), "sem": sem(v)} for v in values]
        rows.append(row)
    found: dict[str, Any] = {"widths": rows}
    if name == "risk":
        return found
    found["rates"] = [_slope([(width, values[k]) for width, values in samples.items()]) for k in range(2)]
    if len(samples) > 1:
        found["constant"], found["constant_sem"] = _constant(samples, steps, order, paired)
    return found


def _constant(samples: dict[int, list[Array]], steps: list[float], order: int, paired: bool) -> tuple[float, float]:
    """The limit of N times the error as N grows and the step falls, and its standard error."""
    widths = list(samples)
    if paired:
        # Richardson's weights replica by replica: what both steps of one replica share then counts once
        power = np.array(steps) ** order
        first, second = power[1] / (power[1] - power[0]), power[0] / (power[1] - power[0])
        combined = [width * (first * v[0] - second * v[1]) for width, v in samples.items()]
        limit = extrapolate_in_width(widths, combined)
        return float(limit.value), float(limit.sem)
    entries = [(width, step, width * v) for width, pair in samples.items() for step, v in zip(steps, pair, strict=True)]
    fit = fit_step_bias([e[0] for e in entries], [e[1] for e in entries], [e[2] for e in entries], order)
    return fit.value, float(fit.sems[0])


def _slope(samples: list[tuple[int, Array]]) -> dict[str, Any] | None:
    try:
        rate = fit_rate([width for width, _ in samples], [values for _, values in samples])
    except MfpdeError:  # a single width
        return None
    return {"slope": rate.slope, "ci": None if rate.ci is None else list(rate.ci)}
