"""The sparse dictionary of a study or of a run: target, penalised problem, atoms of the long-time measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde import domain as domains
from mfpde import stationary
from mfpde.errors import ConfigError, MfpdeError
from mfpde.initial import initial_measure
from mfpde.io.theory.sparsity import sparsity_numbers
from mfpde.io.theory.subject import Subject, require_expansions, stationary_measure
from mfpde.measures import Axis, Grid, GridMeasure
from mfpde.problem import Network, Problem
from mfpde.tabulate import tabulate
from mfpde.theory import dictionary, neurons, total_variation
from mfpde.theory.atoms import MeasureAtoms, atoms_of_measure, zero_temperature_limit
from mfpde.theory.cell import LARGEST_BIAS, RADIUS, Sparsity, in_a_plane, sparsity
from mfpde.theory.neurons import Domain, Regression
from mfpde.theory.ridge import Atoms, network
from mfpde.theory.ridge import neurons as features

Array = NDArray[np.float64]

# places of the curve of the certificate in the figure
CURVE = 721
LARGEST_SAMPLE = 20_000
# a box is drawn in again while a cell shrinks to less than this share, about all but this share of the mass
SHRUNK, BEYOND = 0.8, 1e-12


def sparse_dictionary(
    subject: Subject,
    penalty: float | None,
    kind: Literal["sphere", "ball"] | None,
    temperatures: Sequence[float],
) -> dict[str, Any]:
    """Target numbers, the total-variation problem with its certificate, atoms at rest and as temperatures fall.

    ``kind`` of domain: the unit sphere (default with two inputs or more) or the ball of radius RADIUS.  Raises
    ConfigError for an explicit interaction, a degree of the target that the activation lacks, a rank-deficient law.
    """
    study = subject.study
    problem, model = study.problem, study.problem.model
    if not isinstance(model, Network):
        raise ConfigError("pairwise", "is an explicit interaction: a dictionary belongs to an activation and data")
    require_expansions(study)
    decay = [study.config.training.decay(group) for group in ("a", "w")]
    penalty = math.sqrt(decay[0] * decay[1]) if penalty is None else penalty
    target, reason = sparsity(problem, penalty)
    if target is not None and not any(c.group == "b" for c in problem.coordinates):
        dictionary.require_realizable(target.coefficients, target.sigma, model.activation)
    regression = _regression(problem, model, kind)
    found: dict[str, Any] = {
        "source": subject.name,
        "title": study.config.title or study.name,
        "data": study.data_description,
        "activation": model.activation,
        "target": None if target is None else _target(target),
        "target_reason": reason,
        "total_variation": _total_variation(regression, model, penalty),
        "measure": None,
        "measure_reason": "",
        "zero_temperature": None,
    }
    try:
        _, rest = stationary_measure(subject)
        found["measure"] = _measure(atoms_of_measure(problem, rest.measure))
    except MfpdeError as error:
        found["measure_reason"] = str(error)
    if temperatures:
        found["zero_temperature"] = _falling(subject, temperatures)
    return found


def _regression(problem: Problem, model: Network, kind: Literal["sphere", "ball"] | None) -> Regression:
    population, data = problem.data.single_index, problem.data
    biased = any(c.group == "b" for c in problem.coordinates)
    dimension = data.x.shape[1] if population is None else population.dimension
    chosen = kind or ("sphere" if dimension > 1 else "ball")
    place = Domain(chosen, 1.0 if chosen == "sphere" else RADIUS, LARGEST_BIAS if biased else 0.0)
    if population is not None:
        f = dictionary.target_coefficients(population, max(24, len(population.coefficients) - 1))
        return dictionary.gaussian_regression(in_a_plane(f), model.activation, place, model.hermite)
    if len(data.y) > LARGEST_SAMPLE:
        raise ConfigError("data.rows", f"gives {len(data.y)} nodes; the penalised problem takes up to {LARGEST_SAMPLE}")
    return neurons.regression(model.activation, data.x, data.y, data.weights, place, model.hermite)


def _target(s: Sparsity) -> dict[str, Any]:
    depth = s.depth
    return sparsity_numbers(s) | {
        "sparse_depth_lower": None if depth is None or not math.isfinite(depth.lower) else depth.lower,
        "sparse_depth_upper": None if depth is None or not math.isfinite(depth.upper) else depth.upper,
    }


def _total_variation(problem: Regression, model: Network, penalty: float) -> dict[str, Any]:
    largest = total_variation.largest_penalty(problem)
    solution = total_variation.solve(problem, penalty)
    atoms = solution.atoms
    return {
        "domain": problem.domain.kind,
        "radius": problem.domain.radius,
        "largest_bias": problem.domain.bias,
        "inputs": problem.dimension,
        "penalty": penalty,
        "largest_penalty": largest,
        "objective": solution.objective,
        "dual": solution.dual,
        "gap": solution.gap,
        "certificate": solution.certificate,
        "iterations": solution.iterations,
        "total_variation": float(np.sum(np.abs(atoms.a))),
        "atoms": _listed(atoms),
        "curve": _curve(problem, model, atoms, penalty),
    }


def _listed(atoms: Atoms) -> list[dict[str, Any]]:
    order = np.argsort(-np.abs(atoms.a), kind="stable")
    return [{"a": float(atoms.a[s]), "w": atoms.w[s].tolist(), "b": float(atoms.b[s])} for s in order]


def _curve(problem: Regression, model: Network, atoms: Atoms, penalty: float) -> dict[str, Any] | None:
    """eta along a circle of weights, or along the line of one input, biases 0; None in more inputs."""
    if problem.dimension > 2:
        return None
    radius = problem.domain.radius
    if problem.dimension == 2:
        place = np.linspace(-np.pi, np.pi, CURVE)
        w = radius * np.stack([np.cos(place), np.sin(place)], axis=1)
    else:
        place = np.linspace(-radius, radius, CURVE)
        w = place[:, None]
    # the first columns of the lifted inputs are the inputs times the radius
    x = problem.lifted[:, : problem.dimension] / radius
    left = problem.weights * (problem.y - network(model.activation, atoms, x, model.hermite))
    seen = features(model.activation, Atoms(np.ones(len(w)), w, np.zeros(len(w))), x, model.hermite)
    return {"place": place.tolist(), "eta": (left @ seen / penalty).tolist()}


def _measure(found: MeasureAtoms) -> dict[str, Any]:
    widths = np.sqrt(np.trace(found.covariances, axis1=1, axis2=2) / max(len(found.names), 1))
    return {
        "count": len(found.atoms.a),
        "atoms": _listed(found.atoms),
        "names": list(found.names),
        "amplitudes": found.amplitudes.tolist(),
        "probabilities": found.probabilities.tolist(),
        "widths": widths.tolist(),
        "threshold": found.threshold,
        "explained": found.explained,
        "misfit": found.misfit,
    }


def _falling(subject: Subject, temperatures: Sequence[float]) -> dict[str, Any]:
    """Stationary measures of the study at several temperatures, each on a box that its own mass fills."""
    study = subject.study
    problems = [replace(study.problem, temperature=float(temperature)) for temperature in temperatures]
    measures = [_resting(problem, subject) for problem in problems]
    found = zero_temperature_limit(study.problem, temperatures, measures)
    return {
        "temperatures": found.temperatures.tolist(),
        "counts": found.counts.tolist(),
        "widths": found.widths.tolist(),
        "laplace": found.laplace.tolist(),
        "slopes": [{"slope": r.slope, "ci": None if r.ci is None else list(r.ci)} for r in found.rates],
        "atoms": _listed(found.atoms),
    }


def _resting(problem: Problem, subject: Subject) -> GridMeasure:
    """The stationary measure on a box drawn in around its mass: the one of a run covers the start as well."""
    study, counts = subject.study, subject.study.config.grid.cells
    grid = domains.choose_grid(problem, study.law, None if isinstance(counts, str) else counts)
    start = initial_measure(study.law, grid).mass
    while True:
        table = tabulate(problem, grid)
        measure = stationary.stationary(table, table.predict(start)).measure
        drawn = tuple(_drawn_in(measure, axis) for axis in grid.axes)
        if all(one.width > SHRUNK * axis.width for one, axis in zip(drawn, grid.axes, strict=True)):
            return measure
        grid = Grid(drawn, grid.species)
        start = np.exp(grid.log_volume) * np.ones(grid.shape)
        start *= grid.species_weights(start.ndim - 1) / start.sum(axis=tuple(range(1, start.ndim)), keepdims=True)


def _drawn_in(measure: GridMeasure, axis: Axis) -> Axis:
    """The axis with as many cells over the part that holds all but 1e-12 of the mass, and a tenth more."""
    if axis.periodic:
        return axis
    mass = measure.marginal(axis.name)[1]
    kept = np.flatnonzero((np.cumsum(mass) > BEYOND) & (np.cumsum(mass[::-1])[::-1] > BEYOND))
    margin = max(2.0, 0.1 * (kept[-1] - kept[0])) * axis.width
    lower, upper = axis.edges[kept[0]] - margin, axis.edges[kept[-1] + 1] + margin
    if axis.coordinate.kind == "radius":
        lower = max(lower, 0.0)
    return replace(axis, lower=float(max(lower, axis.lower)), upper=float(min(upper, axis.upper)))
