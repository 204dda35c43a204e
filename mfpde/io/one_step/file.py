"""``one-step.h5``: theory, seeds and their comparison in the common layout; and the seeds read back to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfpde.errors import DataFileError
from mfpde.io import store
from mfpde.io.one_step.comparison import Comparison, Histogram
from mfpde.io.one_step.config import Loaded
from mfpde.io.one_step.schema import Config
from mfpde.io.one_step.simulate import SPECTRUM, Record, Task
from mfpde.io.one_step.theory import Theory
from mfpde.io.store import Group, Variable
from mfpde.io.tables import sha256, to_toml
from mfpde.theory.one_step.model import FirstLayer

KIND = "one-step"


def save(
    path: str,
    study: Loaded,
    theory: Theory,
    record: Record,
    comparisons: Sequence[Comparison] = (),
    histogram: Histogram | None = None,
    *,
    finished: bool,
) -> None:
    """Write all of it, whole or not at all."""
    config = study.config
    groups = _theory_groups(config, theory) | _ensemble_groups(config, record)
    for one in comparisons:
        groups[f"/compare/{one.kind}/{one.quantity}"] = _comparison_group(config, one)
    if histogram is not None:
        groups["/compare/spectrum"] = Group(
            {
                "low": Variable(("bin",), histogram.edges[:-1]),
                "high": Variable(("bin",), histogram.edges[1:]),
                "density": Variable(("bin",), histogram.density),
            },
            {"dimension": histogram.dimension, "seeds": histogram.seeds, "beyond": histogram.beyond},
        )
    root = store.provenance(to_toml(config), config.title or study.name, config.output.seed, finished)
    store.write(path, groups, {**root, "study": study.name, "kind": KIND})


def load_record(path: str, config: Config) -> Record:
    """The seeds that a file of this very study holds.  Raises DataFileError for another study or kind of file."""
    contents = store.read(path, ["/ensemble"])
    hint = "use --overwrite, or another output directory"
    if contents.attributes.get("kind") != KIND:
        raise DataFileError(f"{path} holds the kind '{contents.attributes.get('kind')}', not '{KIND}'", hint)
    if contents.attributes["config_sha256"] != sha256(config):
        raise DataFileError(f"{path} was made by another study", hint)
    record: Record = {}
    for name, group in contents.groups.items():
        if "seed" in group.variables:
            kind = name.split("/")[2]
            fields = {key: v.data for key, v in group.variables.items() if v.dims[:1] == ("seed",) and len(v.dims) == 2}
            for row, index in enumerate(group.variables["seed"].data):
                task = Task(kind, int(group.attributes["dimension"]), int(index))
                record[task] = {key: values[row] for key, values in fields.items()}
    return record


def _theory_groups(config: Config, theory: Theory) -> dict[str, Group]:
    over = config.curve.over
    names, expected = list(theory.lines), list(theory.expected)
    quantities = list(next(iter(theory.lines.values())).quantities)
    curve = {"line": _text("line", names), over: Variable((over,), theory.values)}
    for q in quantities:
        curve[q] = Variable(("line", over), np.stack([theory.lines[name].quantities[q] for name in names]))
    best = "optimal_ridge" if over == "ridge" else "ridge"
    curve[best] = Variable(("line", over), np.stack([theory.lines[name].ridge for name in names]))
    at = {"line": _text("line", expected), over: Variable((over,), theory.at)}
    for q in quantities:
        at[q] = Variable(("line", over), np.stack([theory.expected[name][q] for name in expected]))
    learned = {
        "line": _text("line", list(theory.learned)),
        "kappa": Variable(("kappa",), theory.kappa),
        "target": Variable(("kappa",), theory.target),
        "learned": Variable(("line", "kappa"), np.stack(list(theory.learned.values()))),
    }
    spectrum = {
        "eigenvalue": Variable(("eigenvalue",), theory.eigenvalues),
        "density": Variable(("eigenvalue",), theory.density),
    }
    samples = {"samples": config.readout.samples}
    return {
        "/theory/curve": Group(curve, {"main": theory.main, "over": over}),
        "/theory/simulated": Group(at, {"over": over}),
        "/theory/layer": _layer_group(theory.layers),
        "/theory/learned": Group(learned, samples),
        "/theory/spectrum": Group(spectrum, samples | {"atom": theory.atom}),
    }


def _layer_group(layers: Mapping[str, FirstLayer]) -> Group:
    def each(name: str) -> Any:
        return np.array([[getattr(group, name) for group in layer.groups] for layer in layers.values()])

    return Group(
        {
            "map": _text("map", list(layers)),
            "loading": _text("loading", ["t", "s", "delta"]),
            "alignment": Variable(("map",), np.array([layer.alignment for layer in layers.values()])),
            "share": Variable(("map", "group"), each("share")),
            "readout": Variable(("map", "group"), each("readout")),
            "spike": Variable(("map", "group"), each("spike")),
            "bulk": Variable(("map", "group"), each("bulk")),
            "covariance": Variable(("map", "group", "loading", "with"), each("loadings")),
        }
    )


def _ensemble_groups(config: Config, record: Record) -> dict[str, Group]:
    """One group per kind and size with the seeds that are finished, in order: who finished first leaves no trace."""
    groups = {}
    for kind, dimension in sorted({(task.kind, task.dimension) for task in record}):
        tasks = sorted(task for task in record if (task.kind, task.dimension) == (kind, dimension))
        axis = "mode" if kind == SPECTRUM else config.curve.over
        variables = {"seed": Variable(("seed",), np.array([task.index for task in tasks]))}
        if kind != SPECTRUM:
            variables[axis] = Variable((axis,), np.array(config.simulation.at))
        for name in record[tasks[0]]:
            variables[name] = Variable(("seed", axis), np.stack([record[task][name] for task in tasks]))
        groups[f"/ensemble/{kind}/D{dimension:06d}"] = Group(variables, {"dimension": dimension})
    return groups


def _comparison_group(config: Config, one: Comparison) -> Group:
    over = config.curve.over
    deviations = one.deviations.values()
    variables = {
        "line": _text("line", list(one.deviations)),
        over: Variable((over,), np.array(config.simulation.at)),
        "dimension": Variable(("dimension",), np.array(one.dimensions)),
        "seeds": Variable(("dimension",), np.array(one.seeds)),
        "mean": Variable(("dimension", over), one.mean),
        "sem": Variable(("dimension", over), one.sem),
        "expected": Variable(("line", over), np.stack([d.expected for d in deviations])),
        "z": Variable(("line", "dimension", over), np.stack([d.z for d in deviations])),
        "relative": Variable(("line", "dimension", over), np.stack([d.relative for d in deviations])),
    }
    if one.limit is not None and one.limit_sem is not None:
        told = {name: d for name, d in one.deviations.items() if d.limit_z is not None}
        variables |= {
            "extrapolated": Variable((over,), one.limit),
            "extrapolated_sem": Variable((over,), one.limit_sem),
            "extrapolated_line": _text("extrapolated_line", list(told)),
        }
        for name in ("z", "relative"):
            values = [np.asarray(getattr(d, f"limit_{name}")) for d in told.values()]
            if values:
                variables[f"extrapolated_{name}"] = Variable(("extrapolated_line", over), np.stack(values))
    return Group(variables)


def _text(axis: str, names: Sequence[str]) -> Variable:
    return Variable((axis,), np.array(names))
