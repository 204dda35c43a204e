"""The learning cell of a study or of a run, as numbers for JSON and as a file in the common layout."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from mfpde.confinement import admissibility_margin
from mfpde.errors import ConfigError, MfpdeError
from mfpde.io import store
from mfpde.io.origin import root_attributes
from mfpde.io.outputs import law
from mfpde.io.theory.sparsity import sparsity_numbers
from mfpde.io.theory.subject import LimitPath, Subject, limit_path, require_expansions
from mfpde.io.theory.weights import weight_of
from mfpde.measures import GridMeasure, ParticleMeasure
from mfpde.problem import residual
from mfpde.theory.active import ActiveComponent, active_part
from mfpde.theory.cell import LearningCell, learning_cell
from mfpde.theory.weights import AdmissibleWeight


def cell_of(subject: Subject, penalty: float | None, atoms: int) -> LearningCell:
    """The cell; its weight and its active part need the limit, which is read or integrated where a grid carries it."""
    study = subject.study
    if study.config.network is None:
        raise ConfigError("pairwise", "is an explicit interaction: a learning cell belongs to an activation and data")
    require_expansions(study)
    decay = [study.config.training.decay(group) for group in ("a", "w")]
    penalty = math.sqrt(decay[0] * decay[1]) if penalty is None else penalty
    try:
        path: LimitPath | str = limit_path(subject)
    except ConfigError as error:
        path = f"no limit on a grid: {error}"
    weight, active, margin = _weight(subject), _active(subject, path), None
    if not isinstance(path, str):
        margin = admissibility_margin(study.problem, residual(study.problem, path.f[-1]))
    return learning_cell(study.problem, penalty, weight=weight, active=active, margin=margin, atoms=atoms)


def _weight(subject: Subject) -> AdmissibleWeight | str:
    try:
        return weight_of(subject)
    except MfpdeError as error:
        return str(error)


def _active(subject: Subject, path: LimitPath | str) -> ActiveComponent | str:
    """Of the measure at rest, of the last one, or of one of the widest networks."""
    if isinstance(path, str) and subject.ensemble is None:
        return path
    try:
        return active_part(subject.study.problem, _last(subject, path))
    except MfpdeError as error:
        return str(error)


def _last(subject: Subject, path: LimitPath | str) -> GridMeasure | ParticleMeasure:
    if not isinstance(path, str):
        return path.measures[-1] if path.rest is None else path.rest.measure
    assert subject.ensemble is not None
    return law(subject.ensemble, len(subject.ensemble.times) - 1, max(subject.ensemble.widths))[0]


def cell_numbers(subject: Subject, cell: LearningCell) -> dict[str, Any]:
    """The cell, ready for JSON."""
    s, w, a = cell.sparsity, cell.weight, cell.active
    return {
        "source": subject.name,
        "title": subject.study.config.title or subject.study.name,
        "data": subject.study.data_description,
        "activation": cell.activation,
        "dimension": cell.dimension,
        "gaussian": cell.gaussian,
        "parity": cell.parity,
        "active_degrees": list(cell.degrees),
        "sigma": None if cell.sigma is None else cell.sigma.tolist(),
        "symmetries": list(cell.symmetries),
        "depths": [asdict(one) for one in cell.depths],
        "depths_reason": cell.depths_reason,
        "sparsity": None
        if s is None
        else sparsity_numbers(s)
        | {
            "sparse_depth": None
            if s.depth is None
            else {
                "lower": s.depth.lower if math.isfinite(s.depth.lower) else None,
                "upper": s.depth.upper if math.isfinite(s.depth.upper) else None,
                "risk": s.depth.risk,
            },
        },
        "sparsity_reason": cell.sparsity_reason,
        "weight": None
        if w is None
        else {
            "order": w.order,
            "order_interval": w.order_interval,
            "type": w.type,
            "type_interval": w.type_interval,
            "k": w.k.tolist(),
            "w_star": w.w_star.tolist(),
            "w_init": w.w_init.tolist(),
            "w_cert": None if w.w_cert is None else w.w_cert.tolist(),
            "largest_order": w.largest_order,
            "certificate_reason": w.certificate_reason,
        },
        "weight_reason": cell.weight_reason,
        "margin": None if cell.margin is None else cell.margin.margin,
        "active_fraction": None if a is None else a.fraction,
        "active_rank": None if a is None else a.rank,
        "active_reason": cell.active_reason,
    }


def write_cell(subject: Subject, cell: LearningCell, path: str) -> None:
    """The curves and scalars of the cell under /theory, in the layout that all outputs share."""
    variables: dict[str, store.Variable] = {}
    attributes: dict[str, Any] = {"activation": cell.activation, "parity": cell.parity, "dimension": cell.dimension}
    if cell.sparsity is not None:
        s = cell.sparsity
        variables["degree"] = store.Variable(("degree",), np.arange(len(s.sigma)))
        for name in ("sigma", "coefficients", "tails"):
            variables[name] = store.Variable(("degree",), np.asarray(getattr(s, name)))
        attributes |= {"penalty": s.penalty, "threshold_number": s.threshold_number, "residual": s.residual}
        attributes["barron_hermite_norm"] = s.barron_hermite_norm
    if cell.weight is not None:
        w = cell.weight
        variables["order"] = store.Variable(("order",), w.k)
        for name in ("w_star", "w_init", "moments"):
            variables[name] = store.Variable(("order",), np.asarray(getattr(w, name)))
        if w.w_cert is not None:
            variables["w_cert"] = store.Variable(("order",), w.w_cert)
    if cell.depths:
        variables["atoms"] = store.Variable(("atoms",), np.array([d.atoms for d in cell.depths]))
        for name in ("variety", "orbit", "rank", "expected"):
            values = [getattr(d, name) for d in cell.depths]
            # a depth that no degree reaches is stored as -1: integers have no NaN
            variables[name] = store.Variable(("atoms",), np.array([-1 if v is None else v for v in values]))
    if cell.active is not None:
        variables["mode"] = store.Variable(("mode",), np.arange(len(cell.active.spectrum)))
        variables["spectrum"] = store.Variable(("mode",), cell.active.spectrum)
        attributes |= {"active_fraction": cell.active.fraction, "active_rank": cell.active.rank}
    store.write(path, {"/theory": store.Group(variables, attributes)}, root_attributes(subject.study, "theory", True))
