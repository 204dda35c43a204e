"""The error of training of a study in its terms, ready for JSON: who stands in the telescope, and what each term is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve
from mfpde.compare.convergence import energy_gap
from mfpde.compare.fluctuations import fluctuations, variance_trace
from mfpde.errors import ConfigError, NumericalError
from mfpde.initial import initial_measure
from mfpde.io.build import Study
from mfpde.io.summary import sem
from mfpde.io.theory.error_setting import REST, Setting, norm, training
from mfpde.io.theory.subject import Subject
from mfpde.measures import GridMeasure
from mfpde.problem import Network, Population
from mfpde.stationary import Stationary, stationary
from mfpde.theory import decomposition, dictionary
from mfpde.theory.cell import DEGREES
from mfpde.theory.decomposition import LAWS, Decomposition
from mfpde.theory.ridge import ridge_coefficients

Array = NDArray[np.float64]
Report = Callable[[float], None]

REPLICAS, REFINEMENT = 32, 8
DIFFERENCES = {
    "time_step": "f^{N,n}_{t,dt} - f^{N,n}_t",
    "propagation_of_chaos": "f^{N,n}_t - f^n_t",
    "optimization": "f^n_t - f^n_oo",
    "statistical": "f^n_oo - f_oo",
    "entropic_bias": "f_oo - f_S",
    "sparse_residual": "f_S - f*",
    REST: "f^n_oo - y",
}


@dataclass(frozen=True, eq=False)
class Members:
    """The functions of the telescope and the states behind them; ``penalty`` of the sparse part, None without one."""

    setting: Setting
    width: int
    replicas: int
    time: float
    step: float
    start: GridMeasure
    moved: GridMeasure
    rest: Stationary
    end: Stationary
    stepped: Array
    finite: Array
    penalty: float | None
    kept: Array | None

    @property
    def sparse(self) -> Array | None:
        """f_S at the nodes of the norm."""
        return None if self.kept is None else decomposition.sparse_function(self.setting.nodes, self.kept)


# ---- the members -----------------------------------------------------------------------------------------------------


def members(
    s: Setting, *, width: int | None, replicas: int | None, time: float | None, penalty: float | None, report: Report
) -> Members:
    """Run the flow, both stationary measures and the networks; ``report`` gets the share that is done."""
    study = s.study
    config, problem = study.config, s.trained.problem
    t, count = config.training.time if time is None else time, REPLICAS if replicas is None else replicas
    n = min(config.particles.widths) if width is None else width
    start = initial_measure(study.law, study.grid)
    report(0.05)
    end = stationary(s.table, s.table.predict(start.mass))
    rest = end if s.trained is s.table else stationary(s.trained, s.trained.predict(start.mass))
    report(0.2)
    moved = start
    control = evolve.Control(config.grid.tolerance, extend=False)
    for snapshot in evolve.evolve(problem, evolve.State(start, 0.0), np.array([0.0, t]), control, s.trained):
        moved = snapshot.measure
        report(0.2 + 0.2 * snapshot.time / t)
    stepped, finite = decomposition.refined_step(
        problem,
        study.law,
        s.nodes.x,
        width=n,
        replicas=count,
        time=t,
        step=config.particles.step,
        seed=config.output.seed,
        refinement=REFINEMENT,
        scheme=config.particles.scheme,
    )
    report(1.0)
    strength, kept = (None, None) if s.population is None else _sparse_part(study, s.population, penalty)
    return Members(s, n, count, t, config.particles.step, start, moved, rest, end, stepped, finite, strength, kept)


def _sparse_part(study: Study, population: Population, penalty: float | None) -> tuple[float, Array]:
    """(penalty, soft-thresholded Hermite coefficients of the target): |w| = 1, no bias."""
    decay = study.config.training.decay
    strength = math.sqrt(decay("a") * decay("w")) if penalty is None else penalty
    if strength == 0.0:
        raise ConfigError("--penalty", "is missing: sqrt(lambda_a lambda_w), its default, is 0 in this study")
    c, sigma = coefficients(study, population)
    return strength, sigma * dictionary.soft_threshold(c, sigma, strength)


def coefficients(study: Study, population: Population) -> tuple[Array, Array]:
    """Hermite coefficients (c_k, sigma_k) of the target and of the activation at |w| = 1."""
    model = study.problem.model
    assert isinstance(model, Network)
    target = dictionary.target_coefficients(population, max(DEGREES, len(population.coefficients) - 1))
    return target.coefficients[0], ridge_coefficients(model.activation, target.kmax, hermite=model.hermite)


def decomposed(m: Members) -> Decomposition:
    """The telescope; members that are not defined are passed over, so that their terms vanish."""
    s = m.setting
    rested, end = s.carry(s.table.predict(m.rest.measure.mass)), s.carry(m.end.f)
    sparse = m.sparse
    return decomposition.decompose(
        s.nodes.weights,
        stepped=m.stepped,
        finite=m.finite,
        limit=s.carry(s.table.predict(m.moved.mass)),
        rested=rested,
        population=end,
        sparse=end if sparse is None else sparse,
        target=end if REST in s.undefined else s.nodes.y,
    )


# ---- numbers ---------------------------------------------------------------------------------------------------------


def error_numbers(subject: Subject, m: Members) -> dict[str, Any]:
    """Terms with law and reference values, Gram matrix, four-term version, bounds; undefined terms with the reason."""
    s, study, found = m.setting, m.setting.study, decomposed(m)
    columns = [REST if s.population is None and name == "sparse_residual" else name for name in found.names]
    defined = [k for k, name in enumerate(columns) if name not in s.undefined]
    names = tuple(columns[k] for k in defined)
    four = {
        group: tuple(name for name in found.names if name in parts)
        for group, parts in decomposition.FOUR_TERMS.items()
        if any(columns[found.names.index(name)] in names for name in parts)
    }
    merged = decomposition.merged(found, four)
    renamed = [REST if s.population is None and name == "sparse_residual" else name for name in merged.names]
    terms = [_term(name, found, columns, m) for name in (*found.names, REST) if name in (*columns, *s.undefined)]
    return {
        "source": subject.name,
        "title": study.config.title or study.name,
        "training": training(s),
        "norm": norm(s),
        "samples": s.samples,
        "width": m.width,
        "replicas": m.replicas,
        "time": m.time,
        "step": m.step,
        "refinement": REFINEMENT,
        "seed": study.config.output.seed,
        "penalty": m.penalty,
        "terms": terms,
        "total": found.total,
        "closure": found.closure,
        "triangle_bound": found.triangle,
        "count_bound": len(names) * float(np.sum(found.squared)),
        "gram": {"names": list(names), "matrix": found.gram[np.ix_(defined, defined)].tolist()},
        "merged": {
            "names": renamed,
            "squared": merged.squared.tolist(),
            "gram": merged.gram.tolist(),
            "closure": merged.closure,
        },
        "sweeps": {},
    }


def _term(name: str, found: Decomposition, columns: list[str], m: Members) -> dict[str, Any]:
    s = m.setting
    law = next((law for law in LAWS if law.name == name), None)
    term: dict[str, Any] = {"name": name, "difference": DIFFERENCES[name], "squared": None, "standard_error": None}
    term["law"] = "risk and entropic bias of the data set itself" if law is None else law.text
    term["reference"], term["undefined"] = None, s.undefined.get(name)
    if name in s.undefined:
        return term
    values = found.terms[columns.index(name)] ** 2 @ found.weights
    random = name in ("time_step", "propagation_of_chaos")
    term["squared"] = float(values.mean())
    term["standard_error"] = sem(values) if random else None
    term["reference"] = _REFERENCES[name](m) if name in _REFERENCES else None
    return term


def _chaos_reference(m: Members) -> dict[str, Any] | None:
    """Constants over N: independent neurons of the limit now, and the network at rest in the norm of its own data."""
    if m.setting.in_full:
        return None  # the grid knows a neuron averaged over rotations, whose variance is smaller
    found: dict[str, Any] = {"independent_neurons": variance_trace(m.setting.table, m.moved.mass) / m.width}
    try:
        found["network_at_rest"] = fluctuations(m.setting.trained, m.rest).propagation_of_chaos / m.width
    except NumericalError:
        found["network_at_rest"] = None
    return found


def _optimization_reference(m: Members) -> dict[str, Any]:
    """2 (F - F*) bounds the term in the norm of the data trained on (I1 of mfpde.verification)."""
    table = m.setting.trained
    gap = energy_gap(table, m.moved.mass, table.predict(m.moved.mass), m.rest)
    return {"twice_free_energy_gap": 2.0 * gap}


def _statistical_reference(m: Members) -> dict[str, Any]:
    assert m.setting.samples is not None
    return {"linear_response": decomposition.statistical_constant(m.setting.table, m.end) / m.setting.samples}


def _sparse_reference(m: Members) -> dict[str, Any]:
    """E_sparse in closed form, tail included, and its bound penalty |f*|_BH (None where that norm is infinite)."""
    population, penalty = m.setting.population, m.penalty
    assert population is not None and penalty is not None
    c, sigma = coefficients(m.setting.study, population)
    target = dictionary.target_coefficients(population, len(c) - 1)
    tail = dictionary.tail(target, target.kmax)
    norm = dictionary.barron_hermite_norm(c, sigma)
    bound = penalty * norm + tail if math.isfinite(norm) else None
    return {"closed_form": dictionary.sparse_residual(c, sigma, penalty) + tail, "barron_hermite_bound": bound}


_REFERENCES: dict[str, Callable[[Members], dict[str, Any] | None]] = {
    "propagation_of_chaos": _chaos_reference,
    "optimization": _optimization_reference,
    "statistical": _statistical_reference,
    "sparse_residual": _sparse_reference,
}
