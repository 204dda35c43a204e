"""What a study keeps of every flow: a task is a law of a and a scale, a row what was found at all times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.io.kernel_limit.build import Setting
from mfpde.io.kernel_limit.limit import Kernels, errors
from mfpde.io.kernel_limit.schema import Config
from mfpde.theory.kernel_limit.crossover import distances
from mfpde.theory.kernel_limit.finite_scale import ScalePath

Array = NDArray[np.float64]

INITIAL, SKEWED = "initial", "skewed"


@dataclass(frozen=True, order=True)
class Task:
    """One flow: from the initial law of the study or from its skewed twin, at one scale."""

    skewed: bool
    scale: float

    @property
    def law(self) -> str:
        """Name of the law of a."""
        return SKEWED if self.skewed else INITIAL


@dataclass(frozen=True, eq=False)
class Row:
    """One flow at K times: errors, distances to the linearised flow, neurons and kernel; f [K, n], f_test [K, m].

    ``evaluations`` [1] of the right-hand side.
    """

    train_error: Array
    test_error: Array
    wrong_sign: Array
    distance: Array
    test_distance: Array
    displacement: Array
    kernel_change: Array
    alignment: Array
    f: Array
    f_test: Array
    evaluations: Array


Record = dict[Task, Row]

IN_TIME = (
    "train_error",
    "test_error",
    "wrong_sign",
    "distance",
    "test_distance",
    "displacement",
    "kernel_change",
    "alignment",
)


def tasks_of(config: Config) -> list[Task]:
    """All flows of a study, the initial law first, scales as they rise."""
    laws = (False, True) if config.kernel_limit.skewed else (False,)
    return [Task(skewed, scale) for skewed in laws for scale in sorted(config.kernel_limit.scales)]


def record_of(config: Config, setting: Setting, path: ScalePath, kernels: Kernels) -> Row:
    """The row of a flow; ``kernels`` those of the neurons it started from."""
    found = errors(setting, path.f, path.f_test)
    y = setting.problem.data.y
    off = distances(path, kernels.spectrum, kernels.cross, y, config.kernel_limit.ridge)
    return Row(
        found.train,
        found.test,
        found.wrong_sign,
        off.data,
        off.test,
        path.displacement,
        path.kernel_change,
        path.alignment,
        path.f,
        path.f_test,
        np.array([path.evaluations]),
    )
