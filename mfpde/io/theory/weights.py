"""The admissible weight of a limit or of an ensemble as numbers for JSON: moments, bracket, growth, margin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import meanfield
from mfpde.compare.convergence import STEEPEST
from mfpde.compare.laws import Law
from mfpde.confinement import AdmissibilityMargin, admissibility_margin
from mfpde.errors import ConfigError
from mfpde.io.outputs import Output, law
from mfpde.io.theory.subject import Subject, limit_path
from mfpde.problem import Coordinate, Network, Problem, residual
from mfpde.steppers.atoms import AtomFlow
from mfpde.theory.moments import (
    SUP_VALUE,
    Certificate,
    MomentPath,
    block_names,
    certified_moments,
    gaussian_bracket,
    moment_path,
)
from mfpde.theory.weights import AdmissibleWeight, admissible_weight, gaussian_types, transient_type

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Path:
    """Laws at ``times`` [K], what they are, and where known: F at the start, f at [start, end, rest]."""

    what: str
    times: Array
    laws: list[Law]
    free_energy: float | None
    f: dict[str, Array]
    rest: Law | None
    bracket: tuple[Array, Array, Array] | None


def weight_numbers(subject: Subject, block: str, orders: int | None, width: int | None) -> dict[str, Any]:
    """The weight of the limit, or of an ensemble named by its file: table over k, growth, bracket, margins.

    ``block``: "all" moving parameters or one group; ``orders`` demands that many (ConfigError if they are not
    carried); ``width`` of an ensemble, None for the widest.
    """
    problem = subject.study.problem
    names = _named(problem, block)
    path = _path(subject, width)
    moments = _moments(problem, path, orders, block)
    certificate = _certificate(subject, path, moments)
    found = admissible_weight(moments, certificate, subject.study.config.output.seed)
    growth = {key: value for key, value in asdict(found).items() if key not in ("largest_order", "reason")}
    return {
        "source": subject.name,
        "title": subject.study.config.title or subject.study.name,
        "law": path.what,
        "block": block,
        "coordinates": list(names),
        "dimension": moments.dimension,
        "times": path.times.tolist(),
        "largest_order": found.largest_order,
        "largest_order_reason": found.reason,
        **growth,
        "supremum_time": path.times[np.argmax(moments.moments, axis=0)].tolist(),
        "drift_bound": None if certificate.moments is None else certificate.drift,
        "proved": _proved(problem, subject, names, path),
        "at_rest": _at_rest(problem, path, block, found.largest_order),
        "margin": _margins(problem, path),
    }


def weight_of(subject: Subject) -> AdmissibleWeight:
    """The weight over all moving parameters of the limit, or of the widest networks where the source has no limit."""
    path = _path(subject, None)
    moments = _moments(subject.study.problem, path, None, "all")
    return admissible_weight(moments, _certificate(subject, path, moments), subject.study.config.output.seed)


def _named(problem: Problem, block: str) -> tuple[str, ...]:
    try:
        return block_names(problem, block)
    except ConfigError as error:
        raise ConfigError("--block", str(error).removeprefix("block "), error.hint) from None


# ---- the laws --------------------------------------------------------------------------------------------------------


def _path(subject: Subject, width: int | None) -> Path:
    limit, ensemble = subject.limit, subject.ensemble
    if limit is None and ensemble is not None:
        return _of_ensemble(subject, ensemble, width)
    if width is not None:
        raise ConfigError("--width", "chooses among the networks of an ensemble: name its particles.h5")
    if limit is not None and limit.kind == "atoms":
        return _of_atoms(limit)
    if limit is not None and (limit.kind != "limit" or not limit.finished):
        what = "an unfinished limit" if limit.kind == "limit" else "a stationary measure alone"
        raise ConfigError("SOURCE", f"{limit.path} holds {what}; moments along a path need a finished limit")
    study = subject.study
    if limit is None and not study.on_grid:
        raise ConfigError(
            "network.train",
            f"moves {len(study.problem.moving)} coordinates, and a grid carries up to 3: this limit has no moments",
            f"mfpde solve {subject.name} --only particles -o DIR, then mfpde theory weights DIR",
        )
    found = limit_path(subject)
    at = {"start": found.f[0], "end": found.f[-1]}
    rest, bracket = None, None
    if found.rest is not None:
        rest = (found.rest.measure,)
        at["rest"] = found.rest.f
        if isinstance(study.problem.model, Network) and "a" not in {c.group for c in study.problem.moving}:
            bracket = gaussian_bracket(found.table, found.rest.f, 1)
    energy = meanfield.free_energy(found.table, found.measures[0].mass, found.f[0])
    cells = " x ".join(str(axis.cells) for axis in found.table.grid.axes)
    what = f"the limit on {cells} cells"
    return Path(what, found.times, [(one,) for one in found.measures], energy, at, rest, bracket)


def _of_atoms(output: Output) -> Path:
    laws = [law(output, k) for k in range(len(output.times))]
    what = f"the limit at temperature 0, {len(laws[0][0].weights)} atoms of a product rule"
    return Path(what, output.times, laws, None, {}, None, None)


def _of_ensemble(subject: Subject, output: Output, width: int | None) -> Path:
    chosen = max(output.widths) if width is None else width
    if chosen not in output.widths:
        raise ConfigError("--width", f"is {chosen}; {output.path} holds {', '.join(map(str, sorted(output.widths)))}")
    laws = [law(output, k, chosen) for k in range(len(output.times))]
    at = {}
    if isinstance(subject.study.problem.model, Network):
        flow = AtomFlow(subject.study.problem)
        for name, one in (("start", laws[0]), ("end", laws[-1])):
            at[name] = np.mean([flow.predict(cloud.atoms, cloud.weights) for cloud in one], axis=0)
    what = f"{len(laws[0])} networks of {chosen} neurons"
    return Path(what, output.times, laws, None, at, None, None)


def _moments(problem: Problem, path: Path, orders: int | None, block: str) -> MomentPath:
    try:
        found = moment_path(problem, path.laws, path.times, orders, block)
    except ConfigError as error:
        if error.key != "kmax":
            raise
        raise ConfigError("--orders", str(error).removeprefix("kmax "), "leave it out to see what is carried") from None
    if found.largest_order < 1:
        raise ConfigError("SOURCE", f"carries no moment: {found.reason}", "more particles or replicas, or a wider box")
    return found


def _certificate(subject: Subject, path: Path, moments: MomentPath) -> Certificate:
    """Bounds of the same path; those of all moving parameters bound every block."""
    if path.times[0] != 0.0:
        return Certificate(None, None, "the path does not begin at time 0")
    if not isinstance(subject.study.problem.model, Network):
        return Certificate(None, None, "an explicit interaction has no activation to bound the drift with")
    if _dynamics(subject) == "sgd":
        return Certificate(None, None, "fresh samples in every step add noise that the bound does not know")
    top = max(2, moments.largest_order)
    return certified_moments(subject.study.problem, moments.start, top, path.free_energy)


def _dynamics(subject: Subject) -> str:
    """What moves the neurons; the limit is that of langevin."""
    return subject.study.config.particles.dynamics if subject.limit is None and subject.ensemble else "langevin"


# ---- what is proved of the type --------------------------------------------------------------------------------------


def _proved(problem: Problem, subject: Subject, names: tuple[str, ...], path: Path) -> dict[str, Any]:
    """Order 1/2 and the type of sup_t m_k where the confinement is quadratic and the data's part grows linearly."""
    found: dict[str, Any] = {"order": None, "type": None, "type_at_start": None, "type_at_rest": None}
    coordinates = [c for c in problem.moving if c.name in names]
    widths = [_start_width(subject, c) for c in coordinates]
    found["type_at_start"] = max(widths)
    reason = _unproved(problem, _dynamics(subject))
    if reason is not None:
        return found | {"reason": reason}
    tau, time = problem.temperature, float(path.times[-1])
    rests = [float(np.sqrt(tau / c.weight_decay)) for c in coordinates]
    ends = [
        float(transient_type(width, c.weight_decay, tau, c.rate * time))
        for width, c in zip(widths, coordinates, strict=True)
    ]
    found["type_at_rest"] = max(rests)
    found["type"] = max(*widths, *ends)
    found["order"] = 0.5 if found["type"] > 0.0 else 0.0
    return found | {"reason": "quadratic confinement, and a data part of Psi that grows at most linearly"}


def _start_width(subject: Subject, c: Coordinate) -> float:
    """The Gaussian type of one coordinate at the start: 0 for bounded laws."""
    group = subject.study.law.group(c.group)
    return float(subject.study.law.coordinate_std(c)) if group.law == "normal" else 0.0


def _unproved(problem: Problem, dynamics: str) -> str | None:
    """Why sqrt(tau/lambda) is not proved to be the type, None where it is."""
    model, moving = problem.model, problem.moving
    if dynamics != "langevin":
        return f"these networks move by {dynamics}, not by Langevin dynamics"
    if not isinstance(model, Network):
        return "an explicit interaction: its confinement need not be quadratic"
    if any(c.weight_decay <= 0.0 for c in moving):
        return "a moving parameter has no weight decay"
    groups = {c.group for c in moving}
    if groups == {"a"} or model.activation in SUP_VALUE:
        return None
    if "a" in groups:
        return f"{model.activation} is unbounded and the output weight moves: the margin below decides"
    return None if model.activation in STEEPEST else f"the slope of {model.activation} is unbounded"


# ---- at rest ---------------------------------------------------------------------------------------------------------


def _at_rest(problem: Problem, path: Path, block: str, largest: int) -> dict[str, Any] | None:
    """m_k and c_k of the stationary measure, with osc/tau where the data's part of Psi is bounded on the grid."""
    if path.rest is None:
        return None
    found = moment_path(problem, [path.rest], np.zeros(1), None, block)
    top = min(largest, found.largest_order)
    moments = found.moments[0, : top + 1]
    oscillation = None if path.bracket is None else float(np.log(path.bracket[1][0]))
    return {
        "moments": moments.tolist(),
        "c": gaussian_types(moments, found.dimension).tolist(),
        "oscillation_over_temperature": oscillation,
    }


def _margins(problem: Problem, path: Path) -> dict[str, Any]:
    """The admissibility margin at the residuals that are known, or why there is none."""
    found: dict[str, Any] = {"reason": None, "at": {}}
    for name, f in path.f.items():
        one = admissibility_margin(problem, residual(problem, f))
        found["reason"] = one.reason
        if one.margin is not None:
            found["at"][name] = _margin(one, problem.temperature)
    if not path.f:
        found["reason"] = "no predictions are stored with this law"
    return found


def _margin(one: AdmissibilityMargin, temperature: float) -> dict[str, Any]:
    assert one.margin is not None and one.smallest_eigenvalue is not None and one.direction is not None
    positive = one.smallest_eigenvalue > 0.0
    return {
        "margin": one.margin,
        "normalisable": one.margin > 0.0,
        "direction": one.direction.tolist(),
        "smallest_eigenvalue": one.smallest_eigenvalue,
        "type": float(np.sqrt(temperature / one.smallest_eigenvalue)) if positive else None,
    }
