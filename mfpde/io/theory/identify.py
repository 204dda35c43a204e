"""What the network's function tells about its neurons, as the numbers that ``mfpde theory identify`` prints.

Active degrees, symmetries and depths belong to the activation and the inputs; the active component to the long-time
measure; canonical form and equality to the networks of an ensemble. All definitions are mfpde's reading of
arXiv:2605.24710, of which the abstract alone was available.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError, MfpdeError, NotConverged
from mfpde.io import outputs, vet
from mfpde.io.particles import group_name
from mfpde.io.theory.identify_depths import depth_rows, free_of, separation
from mfpde.io.theory.subject import Subject, require_expansions, stationary_measure
from mfpde.problem import Network
from mfpde.theory.active import TOLERANCE, ActiveComponent, active_atoms, active_part, visible
from mfpde.theory.depths import degrees_of, random_atoms
from mfpde.theory.generators import generators
from mfpde.theory.parity import homogeneity, polynomial, reflection
from mfpde.theory.ridge import Atoms, network, neurons, ridge_coefficients
from mfpde.theory.symmetry import Canonical, canonicalise, realise, same_function

Array = NDArray[np.float64]

# degrees listed with their coefficients
LARGEST_DEGREE = 12
# eigenvalues below the tolerance that are still listed
BELOW = 12
# neurons of two networks together up to which their Gaussian overlaps are summed exactly, and inputs drawn beyond
MOST_EXACT, DRAWN = 1200, 1 << 14
# inputs at which a symmetry and a canonical form are held against the network they came from
PROBES = 256


def identification(
    subject: Subject,
    other: Subject | None,
    *,
    atoms: int,
    dimension: int | None,
    free: str | None,
    width: int | None,
    replica: int,
    report: Callable[[float], None],
) -> dict[str, Any]:
    """Everything above, ready for JSON; ``report(done)`` from 0 to ``atoms`` + 1.

    ``free`` is "sphere", "all" or None: the sphere unless the inputs have dimension 1. ConfigError for an explicit
    interaction, a dimension below 1, the sphere on a line, or a network that SOURCE or OTHER does not hold.
    """
    require_expansions(subject.study)
    model, hermite = _model(subject), _model(subject).hermite
    chosen = _network(subject, width, replica) if subject.ensemble is not None else None
    if chosen is None and (other is not None or width is not None or replica):
        key = "OTHER" if other is not None else "--width" if width is not None else "--replica"
        raise ConfigError(key, f"needs the networks of an ensemble, which {subject.name} does not hold")
    equality = None if other is None or chosen is None else _equality(subject, chosen, other, width, replica)
    d = subject.study.law.dimension if dimension is None else dimension
    has_bias = any(c.group == "b" for c in subject.study.problem.coordinates)
    moves = free_of(model, d, free, has_bias)
    rows, pairs = depth_rows(model, d, atoms, moves, _data(subject, d), report)
    active, reason = _active(subject, chosen)
    report(atoms + 1)
    return {
        "source": subject.name,
        "title": subject.study.config.title or subject.study.name,
        "data": subject.study.data_description,
        "inputs": subject.study.law.dimension,
        "gaussian": subject.study.problem.data.population is not None,
        "activation": model.activation,
        "polynomial_degree": None if (powers := polynomial(model.activation, hermite)) is None else len(powers) - 1,
        "parity": reflection(model.activation, hermite).kind,
        "parity_offset": reflection(model.activation, hermite).offset,
        "homogeneity": homogeneity(model.activation, hermite),
        "degrees": _degrees(model),
        "symmetries": _symmetries(model, min(d, 3)),
        "free": moves,
        "dimension": d,
        "has_bias": has_bias,
        "depths": rows,
        "separation": separation(model, rows, pairs),
        "active": active,
        "active_reason": reason,
        "network": None if chosen is None else _canonical(subject, chosen),
        "same_function": equality,
    }


def _model(subject: Subject) -> Network:
    model = subject.study.problem.model
    if not isinstance(model, Network):
        raise ConfigError("pairwise", "is an explicit interaction: what can be identified is a network's")
    return model


def _data(subject: Subject, dimension: int) -> tuple[Array, Array] | None:
    """Inputs [n, d] and weights [n] of a law on finitely many points, None for a Gaussian law or another dimension."""
    law = subject.study.problem.data
    if law.population is not None or law.x.shape[1] != dimension:
        return None
    return law.x, law.weights


# ---- the activation --------------------------------------------------------------------------------------------


def _degrees(model: Network) -> dict[str, Any]:
    """Degrees up to LARGEST_DEGREE that the activation has, all of them in words, and what of a measure they show."""
    largest = max(LARGEST_DEGREE, len(model.hermite) - 1)
    active, ended = degrees_of(model.activation, largest, "direction", model.hermite)
    values = ridge_coefficients(model.activation, largest, 1.0, 0.0, model.hermite)
    mirror = reflection(model.activation, model.hermite).kind
    if ended:
        shown = sorted({low for k in active for low in range(k, -1, -2)})
        names = ", ".join(map(str, shown))
        words = f"{', '.join(map(str, active))} and no others"
        part = f"the spherical harmonics of degree {names} of the amplitude measure"
    else:
        own = 1 if mirror == "odd" else 0
        alone = [k for k in active if k % 2 != own]
        words = "".join(f"{k} and " for k in alone) + f"every {mirror} degree"
        rest = {(): "", (0,): " and its total mass", (1,): " and its first moment"}[tuple(alone)]
        part = f"the {mirror} part of the amplitude measure{rest}"
    return {
        "active": list(active),
        "coefficients": [float(values[k]) for k in active],
        "words": words,
        "visible_on_the_sphere": part,
    }


def _symmetries(model: Network, dimension: int) -> list[dict[str, Any]]:
    """The generators, each with what one random move changes of f at random inputs, relative to the terms of f."""
    rng = np.random.default_rng(0)
    start = random_atoms(dimension, 4, "weight and bias", 0)
    x = rng.standard_normal((PROBES, dimension))
    found = []
    for one in generators(model.activation, model.hermite):
        moved = one.move(start, rng)
        gap = _values(model, moved, x) - _values(model, start, x)
        size = np.abs(neurons(model.activation, moved, x, model.hermite)) @ np.abs(moved.a)
        change = float(np.max(np.abs(gap)) / max(float(np.max(size)), 1e-300))
        found.append({"name": one.name, "description": one.description, "change": change})
    return found


def _values(model: Network, atoms: Atoms, x: Array) -> Array:
    return network(model.activation, atoms, x, model.hermite)


# ---- the long-time measure -------------------------------------------------------------------------------------


def _active(subject: Subject, chosen: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str | None]:
    """Active component of the stationary measure, of the atoms at temperature 0, else of the chosen network."""
    study, limit = subject.study, subject.limit
    try:
        if limit is not None and limit.kind == "atoms":
            final = outputs.law(limit, len(limit.times) - 1)[0]
            return _component(active_part(study.problem, final), "atoms of the limit", float(limit.times[-1])), None
        if study.on_grid and study.problem.temperature > 0.0:
            # the stationary measure alone lacks the limit around it, and is found again
            source = replace(subject, limit=None) if limit is not None and limit.kind == "stationary" else subject
            return _component(active_part(study.problem, stationary_measure(source)[1].measure), "stationary"), None
        if chosen is None:
            what = "temperature 0" if study.on_grid else f"{len(study.problem.moving)} moving coordinates, no grid"
            return None, f"{what} and no stored measure: name the output of a run"
        data = _law_nodes(subject)
        if data is None:
            return None, f"no grid, and no nodes of the law in dimension {study.law.dimension}"
        model = _model(subject)
        found = active_atoms(model.activation, chosen["atoms"], *data, model.hermite)
        return _component(found, "chosen network", chosen["time"]), None
    except MfpdeError as error:
        return None, str(error)


def _component(found: ActiveComponent, measure: str, time: float | None = None) -> dict[str, Any]:
    return {
        "measure": measure,
        "time": time,
        "fraction": found.fraction,
        "rank": found.rank,
        "size": len(found.amplitude),
        "possible": len(found.spectrum),
        "tolerance": TOLERANCE,
        "function_error": found.function_error,
        "spectrum": found.spectrum[: found.rank + BELOW].tolist(),
    }


def _law_nodes(subject: Subject) -> tuple[Array, Array] | None:
    """The law in the full dimension as nodes [n, d] and weights [n]; None where it is reduced by its symmetry."""
    law = subject.study.problem.data
    return (law.x, law.weights) if all(block == 1 for block in law.blocks) else None


# ---- networks of an ensemble -----------------------------------------------------------------------------------


def _network(subject: Subject, width: int | None, replica: int) -> dict[str, Any]:
    """One network at the last stored time with the factor scale/N in its amplitudes; the widest by default."""
    ensemble = subject.ensemble
    assert ensemble is not None
    widths = sorted(ensemble.widths)
    n = widths[-1] if width is None else width
    if n not in widths:
        raise ConfigError("--width", f"is {n}; {ensemble.path} holds {', '.join(map(str, widths))}")
    replicas = ensemble.risk[n].shape[1]
    if not 0 <= replica < replicas:
        raise ConfigError("--replica", f"is {replica}; {ensemble.path} holds 0 to {replicas - 1}")
    with vet.reading(ensemble.path) as file:
        vet.vet(file)
        group = file[group_name(n)]
        names = [name.decode() for name in group["parameter"][...]]
        theta = group["theta"][-1, replica]
    columns = dict(zip(names, theta.T, strict=True))
    w = np.stack([columns[name] for name in names if name.startswith("w")], axis=1)
    a = columns["a"] * _model(subject).scale / n
    atoms = Atoms(np.ascontiguousarray(a), w, np.ascontiguousarray(columns.get("b", np.zeros(n))))
    return {"file": ensemble.path, "width": n, "replica": replica, "time": float(ensemble.times[-1]), "atoms": atoms}


def _named(chosen: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in chosen.items() if key != "atoms"}


def _canonical(subject: Subject, chosen: dict[str, Any]) -> dict[str, Any]:
    """How many neurons a network has, how many the inputs see, and how many its canonical form keeps."""
    model, data, atoms = _model(subject), _data(subject, subject.study.law.dimension), chosen["atoms"]
    seen = atoms if data is None else visible(model.activation, atoms, data[0], model.hermite)
    form = canonicalise(model.activation, seen, model.hermite)
    x = data[0] if data is not None else np.random.default_rng(0).standard_normal((PROBES, atoms.w.shape[1]))
    size = np.abs(neurons(model.activation, atoms, x, model.hermite)) @ np.abs(atoms.a)
    gap = realise(model.activation, form, x, model.hermite) - _values(model, atoms, x)
    return _named(chosen) | {
        "neurons": len(atoms.a),
        "seen_by_the_data": None if data is None else len(seen.a),
        "canonical": len(form.atoms.a),
        "constant": form.constant,
        "linear": float(np.linalg.norm(form.linear)),
        "change": float(np.max(np.abs(gap)) / max(float(np.max(size)), 1e-300)),
        "words": _remainder(model, form),
    }


def _remainder(model: Network, form: Canonical) -> str:
    powers = polynomial(model.activation, model.hermite)
    if powers is not None and len(powers) > 3:
        return f"relations of a polynomial of degree {len(powers) - 1} are left in"
    parts = [f"{len(form.atoms.a)} neurons"]
    parts += ["a linear function"] if np.any(form.linear) else []
    parts += ["a constant"] if form.constant else []
    return " + ".join(parts)


def _equality(
    subject: Subject, chosen: dict[str, Any], other: Subject, width: int | None, replica: int
) -> dict[str, Any]:
    """Whether the chosen networks of both are one function under the law of the first, and one orbit."""
    model, second = _model(subject), _model(other)
    if other.ensemble is None:
        raise ConfigError("OTHER", f"needs the networks of an ensemble, which {other.name} does not hold")
    if (model.activation, model.hermite) != (second.activation, second.hermite):
        raise ConfigError("OTHER", f"has the activation {second.activation}, and SOURCE {model.activation}")
    against = _network(other, width, replica)
    first, last = chosen["atoms"], against["atoms"]
    d = first.w.shape[1]
    if last.w.shape[1] != d:
        raise ConfigError("OTHER", f"has {last.w.shape[1]} inputs, and SOURCE {d}")
    nodes, law = _law_nodes(subject), f"the data of SOURCE, {len(subject.study.problem.data.y)} nodes"
    if nodes is None and len(first.a) + len(last.a) <= MOST_EXACT:
        try:
            found = same_function(model.activation, first, last, None, model.hermite)
            return _compared(against, found, f"N(0, I_{d}), exact overlaps")
        except NotConverged:
            pass  # neurons too steep for their series: draw
    if nodes is None:
        nodes = np.random.default_rng(0).standard_normal((DRAWN, d)), np.full(DRAWN, 1.0 / DRAWN)
        law = f"N(0, I_{d}), {DRAWN} inputs drawn: the distance is known to {100.0 * (2.0 / DRAWN) ** 0.5:.1f} % or so"
    return _compared(against, same_function(model.activation, first, last, nodes, model.hermite), law)


def _compared(against: dict[str, Any], found: Any, law: str) -> dict[str, Any]:
    return _named(against) | {
        "same": found.same,
        "orbit_equal": found.orbit_equal,
        "distance": found.distance,
        "resolution": found.resolution,
        "scale": found.scale,
        "law": law,
    }
