"""``deep.h5``: the limit, the finite widths and what follows from them in the common layout; and read back to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mfpde.errors import DataFileError
from mfpde.io import store
from mfpde.io.deep.config import Loaded, is_linear, seeds_at
from mfpde.io.deep.data import Samples
from mfpde.io.deep.schema import Config
from mfpde.io.deep.work import LIMIT, MEANS, Array, Record, Task, merged
from mfpde.io.store import Group, Variable
from mfpde.io.tables import sha256, to_toml

KIND = "deep"

# axes behind the first, which is the recorded step
_LIMIT_AXES: dict[str, tuple[str, ...]] = {
    "f": ("sample", "output"),
    "loss": (),
    "phi": ("layer", "probe", "with"),
    "pre": ("layer", "probe", "with"),
    "cross": ("layer", "probe", "with"),
    "back": ("layer", "probe", "with"),
    "readout_step": (),
    "coefficients": ("sample",),
    "rank": ("operator", "direction"),
    "dropped": ("operator", "direction"),
    "columns": ("layer",),
}
# all axes
_FINITE_AXES: dict[str, tuple[str, ...]] = {
    "f": ("seed", "step", "sample", "output"),
    "loss": ("seed", "step"),
    "feature_change": ("seed", "step", "layer"),
    "feature_eigenvalue": ("seed", "step", "layer"),
    "preactivation_eigenvalue": ("seed", "step", "layer"),
    "space_time_eigenvalue": ("seed", "step", "layer"),
    "phi": ("step", "layer", "probe", "with"),
    "back": ("step", "layer", "probe", "with"),
    "test_f": ("seed", "test", "output"),
}
_NAMES = {
    "f": "predictions at the training inputs",
    "loss": "mean loss over the training inputs",
    "phi": "feature kernel E x x' of each hidden layer",
    "pre": "E h h', h the preactivations",
    "cross": "E h_0 h_t'",
    "back": "gradient kernel E g g' of each hidden layer",
    "readout_step": "squared length of the next step of the readout, E (V_(t+1) - V_t)^2",
    "coefficients": "weight of every sample in the next step",
    "rank": "columns that the operator of a hidden matrix keeps",
    "dropped": "largest relative residual that was dropped so far",
    "columns": "Gaussian and feature columns of a layer",
    "test_f": "predictions at the held-out inputs after the last step",
    "feature_change": "|h_t - h_0| / |h_0|",
    "feature_eigenvalue": "smallest eigenvalue of phi",
    "preactivation_eigenvalue": "smallest eigenvalue of E h h'",
    "space_time_eigenvalue": "smallest eigenvalue of the Gram matrix of (h_0, h_t) at all samples",
}


@dataclass(eq=False)
class Progress:
    """What a run holds: complete records by task, the beginnings of others with the state they go on from.

    A width that is complete is a single record, under the task that counts all of its seeds.
    """

    done: dict[Task, Record] = field(default_factory=dict)
    begun: dict[Task, tuple[Record, dict[str, Array]]] = field(default_factory=dict)

    def settle(self, config: Config) -> None:
        """Join the parts of every width whose seeds are all there."""
        for width, seeds in zip(config.finite.widths, seeds_at(config), strict=True):
            for kind in config.finite.parametrizations:
                parts = sorted(task for task in self.done if (task.kind, task.width) == (kind, width))
                if len(parts) > 1 and sum(task.count for task in parts) == seeds:
                    joined = merged([self.done.pop(task) for task in parts])
                    self.done[Task(kind, width, 0, seeds)] = joined

    def lacks(self, task: Task) -> bool:
        """Whether the seeds of a task, or its replicate, are neither here nor part of a complete width."""
        return not any(
            (one.kind, one.width) == (task.kind, task.width) and one.first <= task.first < one.first + one.count
            for one in self.done
        )


def save(
    path: str, study: Loaded, samples: Samples, progress: Progress, derived: Mapping[str, Group], *, finished: bool
) -> None:
    """Write all of it, whole or not at all; ``derived`` are the groups /theory and /compare."""
    config = study.config
    groups = {"/data": _data_group(samples)} | _limit_groups(config, progress)
    groups |= _finite_groups(config, progress) | dict(derived)
    root = store.provenance(to_toml(config), config.title or study.name, config.output.seed, finished)
    store.write(path, groups, {**root, "study": study.name, "kind": KIND})


def load(path: str, config: Config) -> Progress:
    """What a file of this very study holds.  Raises DataFileError for another study or kind of file."""
    contents = store.read(path, ["/limit", "/ensemble", "/restart"])
    hint = "use --overwrite, or another output directory"
    if contents.attributes.get("kind") != KIND:
        raise DataFileError(f"{path} holds the kind '{contents.attributes.get('kind')}', not '{KIND}'", hint)
    if contents.attributes["config_sha256"] != sha256(config):
        raise DataFileError(f"{path} was made by another study", hint)
    progress = Progress()
    for name, group in contents.groups.items():
        if name == "/limit":
            values = {key: variable.data for key, variable in group.variables.items()}
            for row, replicate in enumerate(values["replicate"]):
                progress.done[Task(LIMIT, 0, int(replicate), 1)] = _replicate(values, row)
        elif "first" in group.attributes:
            task, record, state = _task(name, group), _record(group), _state(group)
            if state:
                progress.begun[task] = (record, state)
            else:
                progress.done[task] = record
    return progress


def _data_group(samples: Samples) -> Group:
    variables = {
        "x": Variable(("sample", "input"), samples.x, {"long_name": "inputs"}),
        "y": Variable(("sample", "output"), samples.y, {"long_name": "targets"}),
    }
    if len(samples.test):
        variables["test_x"] = Variable(("test", "input"), samples.test, {"long_name": "held-out inputs"})
    if samples.test_y is not None:
        variables["test_y"] = Variable(("test", "output"), samples.test_y, {"long_name": "their targets"})
    if len(samples.labels):
        variables["label"] = Variable(("output",), samples.labels, {"long_name": "class of an output"})
    return Group(variables, {"description": samples.description})


def _limit_groups(config: Config, progress: Progress) -> dict[str, Group]:
    """All replicates in one group once none is missing; until then each for itself under /restart."""
    tasks = sorted(task for task in progress.done if task.kind == LIMIT)
    begun = sorted(task for task in progress.begun if task.kind == LIMIT)
    expected = 1 if is_linear(config) else config.limit.replicates
    if len(tasks) == expected:
        return {"/limit": _limit_group(tasks, [progress.done[task] for task in tasks])}
    groups = {f"/restart/limit/R{task.first:04d}": _restart_group(task, progress.done[task], {}) for task in tasks}
    groups |= {f"/restart/limit/R{task.first:04d}": _restart_group(task, *progress.begun[task]) for task in begun}
    return groups


def _limit_group(tasks: Sequence[Task], records: Sequence[Record]) -> Group:
    variables = {
        "replicate": Variable(("replicate",), np.array([task.first for task in tasks])),
        "step": Variable(("step",), records[0]["times"], {"long_name": "steps of gradient descent"}),
        "direction": Variable(("direction",), np.array(["forward", "backward"])),
    }
    for name, axes in _LIMIT_AXES.items():
        stacked = np.stack([record[name] for record in records])
        variables[name] = Variable(("replicate", "step", *axes), stacked, {"long_name": _NAMES[name]})
    if "test_f" in records[0]:
        stacked = np.stack([record["test_f"] for record in records])
        variables["test_f"] = Variable(("replicate", "test", "output"), stacked, {"long_name": _NAMES["test_f"]})
    return Group(variables)


def _replicate(values: Mapping[str, Array], row: int) -> Record:
    record = {name: values[name][row] for name in (*_LIMIT_AXES, "test_f") if name in values}
    return record | {"times": values["step"]}


def _finite_groups(config: Config, progress: Progress) -> dict[str, Group]:
    """A width in its place once all of its seeds are there; until then its parts under /restart."""
    seeds = dict(zip(config.finite.widths, seeds_at(config), strict=True))
    groups = {}
    for task in sorted(task for task in progress.done if task.kind != LIMIT):
        name, record = f"{task.kind}/N{task.width:06d}", progress.done[task]
        if task.count == seeds[task.width]:
            groups[f"/ensemble/{name}"] = _finite_group(task, record)
        else:
            groups[f"/restart/{name}/S{task.first:06d}"] = _restart_group(task, record, {})
    return groups


def _finite_group(task: Task, record: Record) -> Group:
    variables = {
        "seed": Variable(("seed",), record["seeds"]),
        "step": Variable(("step",), record["times"], {"long_name": "steps of gradient descent"}),
    }
    for name, axes in _FINITE_AXES.items():
        if name in record:
            note = _NAMES[name] + (", mean over seeds" if name in MEANS else "")
            variables[name] = Variable(axes, record[name], {"long_name": note})
    return Group(variables, _numbers(task))


def _restart_group(task: Task, record: Record, state: Mapping[str, Array]) -> Group:
    """A record that is not complete, as it is."""
    arrays = {f"record_{name}": values for name, values in record.items()}
    arrays |= {f"state_{name.replace('/', '.')}": np.asarray(values) for name, values in state.items()}  # no subgroups
    variables = {name: Variable(_axes(values.shape), values) for name, values in arrays.items()}
    return Group(variables, _numbers(task) | {"kind": task.kind})


def _axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Axes that are told apart by their length alone, and within one array by number."""
    return tuple(f"axis_{size}_{shape[:k].count(size)}" for k, size in enumerate(shape))


def _numbers(task: Task) -> dict[str, Any]:
    return {"width": task.width, "first": task.first, "count": task.count}


def _task(name: str, group: Group) -> Task:
    kind = str(group.attributes.get("kind", name.split("/")[2]))
    return Task(kind, *(int(group.attributes[key]) for key in ("width", "first", "count")))


def _record(group: Group) -> Record:
    values = {key: variable.data for key, variable in group.variables.items()}
    found = {key.removeprefix("record_"): v for key, v in values.items() if key.startswith("record_")}
    if found:
        return found
    found = {name: values[name] for name in _FINITE_AXES if name in values}
    return found | {"seeds": values["seed"], "times": values["step"]}


def _state(group: Group) -> dict[str, Array]:
    return {
        key.removeprefix("state_").replace(".", "/"): variable.data
        for key, variable in group.variables.items()
        if key.startswith("state_")
    }
