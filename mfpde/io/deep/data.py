"""The samples of a study: inputs scaled, targets by output, rows held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.io.data import read_table
from mfpde.io.deep.config import Loaded
from mfpde.io.deep.schema import EmpiricalData, NodesData
from mfpde.io.studies import find_data
from mfpde.theory.deep.problem import prepare_inputs

Array = NDArray[np.float64]

# kernels of all samples at all stored steps are kept
MAX_SAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Samples:
    """``x`` [P, d] and ``y`` [P, C] to train on, ``test`` [Q, d] with ``test_y`` [Q, C] or None; ``description``.

    C = 1 but for the cross-entropy, whose y hold a single 1 each; ``labels`` [C] are then the classes, else empty.
    """

    x: Array
    y: Array
    test: Array
    test_y: Array | None
    labels: Array
    description: str


def read_samples(study: Loaded) -> Samples:
    """The samples of a study.  Raises ConfigError (missing file, column, row) or DataFileError."""
    data = study.config.data
    found = _nodes(study, data) if isinstance(data, NodesData) else _empirical(study, data)
    if len(found.x) > MAX_SAMPLES:
        raise ConfigError("data.rows", f"leaves {len(found.x)} samples to train on; at most {MAX_SAMPLES} are allowed")
    batch = study.config.training.batch
    if batch > len(found.x):
        raise ConfigError("training.batch", f"is {batch}; there are {len(found.x)} samples to draw from")
    return found


def _nodes(study: Loaded, data: NodesData) -> Samples:
    x, y = np.array(data.x), np.array(data.y)
    test = np.array(data.test) if data.test is not None else np.zeros((0, x.shape[1]))
    test_y = None if data.test_y is None else np.array(data.test_y)
    what = f"{len(x)} samples in {x.shape[1]} dimensions"
    return _finish(study, x, y, test, test_y, np.unique(y), np.concatenate([x, test]), what)


def _empirical(study: Loaded, data: EmpiricalData) -> Samples:
    path = find_data(data.file, study.directory)
    x, y, what = read_table(path, data.inputs, data.targets, data.rows)
    test, test_y = np.zeros((0, x.shape[1])), None
    if data.test is not None:
        test, test_y, _ = read_table(path, data.inputs, data.targets, data.test)
    everything, targets, _ = read_table(path, data.inputs, data.targets)
    labels = np.unique(y) if data.classes is None else np.array(data.classes)
    if data.classes is not None:
        x, y = _keep(x, y, labels, "data.rows")
        _check_classes(y, labels)
        everything, _ = _keep(everything, targets, labels, "data.rows")
        if test_y is not None:
            test, test_y = _keep(test, test_y, labels, "data.test")
        if study.config.training.loss != "cross-entropy":
            y = np.where(y == labels[1], 1.0, -1.0)
            test_y = None if test_y is None else np.where(test_y == labels[1], 1.0, -1.0)
    what = f"{len(x)}{what[what.index(' ') :]}" + (f", {len(test)} held out" if len(test) else "")
    return _finish(study, x, y, test, test_y, labels, everything, what)


def _keep(x: Array, y: Array, labels: Array, key: str) -> tuple[Array, Array]:
    """The rows of the classes; at least one."""
    kept = np.isin(y, labels)
    if not kept.any():
        raise ConfigError(key, "holds no row of the classes")
    return x[kept], y[kept]


def _finish(
    study: Loaded,
    x: Array,
    y: Array,
    test: Array,
    test_y: Array | None,
    labels: Array,
    everything: Array,
    description: str,
) -> Samples:
    """Targets by output, and inputs scaled if so wanted: the mean is that of ``everything``.

    Less their own mean P inputs would be linearly dependent, and with them the preactivations of the first layer.
    """
    loss, scaled = study.config.training.loss, study.config.data.standardize
    if loss == "cross-entropy":
        _check_classes(y, labels)
        if test_y is not None and not np.isin(test_y, labels).all():
            stray = test_y[~np.isin(test_y, labels)][0]
            raise ConfigError("data.test", f"holds the class {stray:g}, which no row to train on has")
        y, test_y = _by_class(y, labels), None if test_y is None else _by_class(test_y, labels)
    else:
        if loss == "logistic" and np.any(np.abs(y) != 1.0):
            raise ConfigError(
                "training.loss", 'is "logistic", which takes targets -1 and +1', "data.classes = [a, b] makes them so"
            )
        labels = np.zeros(0)
        y, test_y = y[:, None], None if test_y is None else test_y[:, None]
        if scaled and np.any(np.abs(y) != 1.0):
            y, test_y = _like_training(y, test_y)
    if scaled:
        x, test = prepare_inputs(x, everything), prepare_inputs(test, everything)
        description += ", centred, rows of norm sqrt(d)"
    return Samples(x, y, test, test_y, labels, description)


def _check_classes(y: Array, labels: Array) -> None:
    if len(labels) < 2:
        raise ConfigError("training.loss", 'is "cross-entropy", which needs at least two classes in the rows')
    if len(labels) > 100:
        raise ConfigError("data.targets", f"has {len(labels)} different values; at most 100 classes are allowed")
    missing = [value for value in labels if not np.any(y == value)]
    if missing:
        raise ConfigError("data.classes", f"names {missing[0]:g}, which no row to train on has")


def _by_class(y: Array, labels: Array) -> Array:
    """One output per class: 1 for the class of a row, else 0."""
    return np.asarray(y[:, None] == labels, dtype=np.float64)


def _like_training(y: Array, test_y: Array | None) -> tuple[Array, Array | None]:
    """Targets with mean 0 and variance 1 over the training rows."""
    mean, scale = y.mean(), y.std()
    scale = scale if scale > 1e-12 * np.abs(y).max() else 1.0
    return (y - mean) / scale, None if test_y is None else (test_y - mean) / scale
