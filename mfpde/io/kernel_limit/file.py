"""``kernel-limit.h5``: limit, flows and rates in the common layout; and the flows read back to go on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mfpde.compare.rates import Rate
from mfpde.errors import DataFileError
from mfpde.io import store
from mfpde.io.kernel_limit.build import Setting
from mfpde.io.kernel_limit.config import Loaded
from mfpde.io.kernel_limit.limit import Errors, Limit
from mfpde.io.kernel_limit.records import IN_TIME, INITIAL, SKEWED, Record, Row, Task
from mfpde.io.kernel_limit.schema import Config
from mfpde.io.store import Group, Variable
from mfpde.io.tables import sha256, to_toml

KIND = "kernel-limit"


def save(
    path: str,
    study: Loaded,
    setting: Setting,
    limit: Limit,
    rows: Record,
    rates: Mapping[str, Mapping[str, Rate | None]] | None = None,
    *,
    finished: bool,
) -> None:
    """Write all of it, whole or not at all."""
    config = study.config
    groups = _theory_groups(setting, limit) | _flow_groups(setting, rows)
    for law, fits in (rates or {}).items():
        groups[f"/compare/{law}"] = _rate_group(fits)
    root = store.provenance(to_toml(config), config.title or study.name, config.output.seed, finished)
    store.write(path, groups, {**root, "study": study.name, "kind": KIND})


def load_rows(path: str, config: Config) -> Record:
    """The flows that a file of this very study holds.  Raises DataFileError for another study or kind of file."""
    contents = store.read(path, ["/ensemble"])
    hint = "use --overwrite, or another output directory"
    if contents.attributes.get("kind") != KIND:
        raise DataFileError(f"{path} holds the kind '{contents.attributes.get('kind')}', not '{KIND}'", hint)
    if contents.attributes["config_sha256"] != sha256(config):
        raise DataFileError(f"{path} was made by another study", hint)
    rows: Record = {}
    for law in (INITIAL, SKEWED):
        group = contents.groups.get(f"/ensemble/{law}")
        if group is None:
            continue
        kept = {name: variable.data for name, variable in group.variables.items()}
        for k, scale in enumerate(kept["scale"]):
            values = {name: kept[name][k] for name in (*IN_TIME, "f", "f_test") if name in kept}
            # left out of a file: what has no meaning without test rows, or without classes
            unknown = np.full(len(values["f"]), np.nan)
            values = dict.fromkeys(IN_TIME, unknown) | {"f_test": unknown[:, None][:, :0]} | values
            rows[Task(law == SKEWED, float(scale))] = Row(evaluations=kept["evaluations"][k : k + 1], **values)
    return rows


def _theory_groups(setting: Setting, limit: Limit) -> dict[str, Group]:
    data, spectrum = setting.problem.data, limit.kernels.spectrum
    rows = {
        "y": Variable(("row",), data.y),
        "weight": Variable(("row",), data.weights),
        "kernel": Variable(("row", "with"), limit.kernels.train),
    }
    tests = {
        "y": Variable(("test_row",), setting.y_test),
        "final": Variable(("test_row",), limit.final),
        "ridgeless": Variable(("test_row",), limit.ridgeless),
        "kernel": Variable(("test_row", "row"), limit.kernels.cross),
    }
    modes = {
        "eigenvalue": Variable(("mode",), spectrum.eigenvalues),
        "target": Variable(("mode",), limit.modes),
    }
    found = {
        "/theory/kernel": Group(rows, {"how": limit.how} | ({} if limit.check is None else {"check": limit.check})),
        "/theory/spectrum": Group(modes, {"rank": spectrum.rank, "tolerance": spectrum.tolerance}),
        "/theory/stopping": _error_group("time", limit.times, limit.stopping),
        "/theory/ridge": _error_group("ridge", limit.ridges, limit.decayed),
    }
    return found | ({"/theory/prediction": Group(tests)} if len(setting.y_test) else {})


def _error_group(axis: str, values: np.ndarray, errors: Errors) -> Group:
    columns = {"train_error": errors.train, "test_error": errors.test, "wrong_sign": errors.wrong_sign}
    told = {name: Variable((axis,), column) for name, column in columns.items() if np.isfinite(column).all()}
    return Group({axis: Variable((axis,), values)} | told)


def _flow_groups(setting: Setting, rows: Record) -> dict[str, Group]:
    """One group per law with the scales that are finished, in order."""
    groups = {}
    for law in (INITIAL, SKEWED):
        tasks = sorted(task for task in rows if task.law == law)
        if not tasks:
            continue
        variables = {
            "scale": Variable(("scale",), np.array([task.scale for task in tasks])),
            "time": Variable(("time",), setting.times),
        }
        for name in IN_TIME:
            values = np.stack([getattr(rows[task], name) for task in tasks])
            if np.isfinite(values).all():
                variables[name] = Variable(("scale", "time"), values)
        variables["f"] = Variable(("scale", "time", "row"), np.stack([rows[task].f for task in tasks]))
        if len(setting.y_test):
            variables["f_test"] = Variable(("scale", "time", "test_row"), np.stack([rows[t].f_test for t in tasks]))
        variables["evaluations"] = Variable(("scale",), np.concatenate([rows[task].evaluations for task in tasks]))
        groups[f"/ensemble/{law}"] = Group(variables)
    return groups


def _rate_group(fits: Mapping[str, Rate | None]) -> Group:
    told = {name: fit for name, fit in fits.items() if fit is not None}
    if not told:
        return Group()
    variables = {
        "quantity": Variable(("quantity",), np.array(list(told))),
        "slope": Variable(("quantity",), np.array([fit.slope for fit in told.values()])),
        "prefactor": Variable(("quantity",), np.array([fit.prefactor for fit in told.values()])),
    }
    ends = [fit.ci for fit in told.values() if fit.ci is not None]
    if len(ends) == len(told):
        variables["low"] = Variable(("quantity",), np.array([low for low, _ in ends]))
        variables["high"] = Variable(("quantity",), np.array([high for _, high in ends]))
    return Group(variables)
