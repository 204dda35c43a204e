"""The groups /theory and /compare of ``deep.h5``: what follows from the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mfpde.io.deep.findings import PER_LAYER, Band, Findings, LimitFindings, WidthFindings
from mfpde.io.store import Group, Variable
from mfpde.theory.deep.diagnostics import Certificate, KernelBound
from mfpde.theory.deep.width_law import WidthLaw


def derived_groups(found: Findings) -> dict[str, Group]:
    """Everything that is not a record: means with standard errors, certificate, kernel bound, widths in comparison."""
    groups: dict[str, Group] = {}
    limit = found.limit
    if limit is not None:
        groups["/theory/limit"] = _limit(limit)
        groups["/theory/certificate"] = _certificate(limit.certificate)
        if limit.bound is not None:
            groups["/theory/kernel_bound"] = _bound(limit.bound)
    for kind, widths in found.finite.items():
        groups[f"/compare/{kind}"] = _widths(widths)
    if found.law is not None:
        groups["/compare/width_law"] = _law(found.law)
    return groups


def _banded(name: str, axes: tuple[str, ...], band: Band) -> dict[str, Variable]:
    return {name: Variable(axes, band.mean), f"{name}_sem": Variable(axes, band.sem)}


def _limit(limit: LimitFindings) -> Group:
    mean, sem = limit.summary.mean, limit.summary.sem
    variables = {"step": Variable(("step",), limit.times)}
    variables |= _banded("loss", ("step",), limit.loss)
    variables |= _banded("f", ("step", "sample", "output"), Band(mean.f, sem.f))
    for name in ("phi", "back"):
        axes = ("step", "layer", "probe", "with")
        variables |= _banded(name, axes, Band(getattr(mean, name), getattr(sem, name)))
    for name in PER_LAYER:
        variables |= _banded(name, ("step", "layer"), limit.layers[name])
    if limit.test_f is not None:
        variables |= _banded("test_f", ("test", "output"), limit.test_f)
    return Group(variables, {"replicates": limit.summary.replicates})


def _certificate(one: Certificate) -> Group:
    names = ("movement", "eigenvalue", "bound", "squares")
    variables = {name: Variable(("step",), np.asarray(getattr(one, name))) for name in names}
    return Group({"step": Variable(("step",), np.asarray(one.times))} | variables, {"holds": int(one.holds)})


def _bound(one: KernelBound) -> Group:
    variables = {"step": Variable(("step",), np.asarray(one.times))}
    variables |= {name: Variable(("step",), getattr(one, name)) for name in ("lowest", "highest", "sharpness")}
    variables |= {name: Variable(("interval",), getattr(one, name)) for name in ("rate", "bound")}
    return Group(variables)


def _widths(widths: Sequence[WidthFindings]) -> Group:
    """The values after the last step, one row per width."""
    variables = {
        "width": Variable(("width",), np.array([one.width for one in widths])),
        "seeds": Variable(("width",), np.array([one.seeds for one in widths])),
    }
    variables |= _rows("loss", ("width",), [Band(one.loss.mean[-1], one.loss.sem[-1]) for one in widths])
    for name in PER_LAYER:
        last = [Band(one.layers[name].mean[-1], one.layers[name].sem[-1]) for one in widths]
        variables |= _rows(name, ("width", "layer"), last)
    for name in ("distance", "test_distance"):
        bands = [getattr(one, name) for one in widths]
        if bands[0] is not None:
            variables |= _rows(name, ("width",), bands)
    return Group(variables)


def _rows(name: str, axes: tuple[str, ...], bands: Sequence[Band]) -> dict[str, Variable]:
    return _banded(name, axes, Band(np.stack([b.mean for b in bands]), np.stack([b.sem for b in bands])))


def _law(law: WidthLaw) -> Group:
    variables = {"width": Variable(("width",), np.asarray(law.widths))}
    for name in ("bias", "bias_sem", "fluctuation", "fluctuation_sem"):
        variables[name] = Variable(("width",), np.asarray(getattr(law, name)))
    attributes: dict[str, Any] = {"sentence": law.sentence}
    for name in ("bias_rate", "fluctuation_rate"):
        rate = getattr(law, name)
        if rate is not None:
            attributes[f"{name}_slope"] = rate.slope
    return Group(variables, attributes)
