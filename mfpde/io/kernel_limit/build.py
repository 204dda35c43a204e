"""From a study to training and test rows, the problem on them, and the initial law."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.core import noise
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw
from mfpde.io import build as builds
from mfpde.io import schema
from mfpde.io.kernel_limit.config import Loaded, held_out
from mfpde.problem import Coordinate, DataLaw, Population, Problem, network_coordinates
from mfpde.theory.kernel_limit.start import check_centred

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Setting:
    """A study ready to run: ``problem`` on the rows trained on, x_test [m, d] and y_test [m], ``times`` [K], from 0.

    ``description`` one sentence on the data; ``signs`` whether every target is -1 or +1.
    """

    problem: Problem
    law: InitialLaw
    x_test: Array
    y_test: Array
    times: Array
    description: str

    @property
    def signs(self) -> bool:
        """Whether the targets are classes, -1 and +1."""
        return bool(np.all(np.abs(np.append(self.problem.data.y, self.y_test)) == 1.0))


def build(study: Loaded) -> Setting:
    """Split the rows and put the problem on those to train on.

    A Gaussian data law gives ``kernel_limit.samples`` rows.  Times rise in equal ratios from 1e-4 of the last.
    """
    config = study.config
    base = builds.build(config, study.name, study.directory)
    check_centred(base.law)
    data, problem, description = base.problem.data, base.problem, base.data_description
    if isinstance(data.population, Population):
        data = _drawn(data.population, config.kernel_limit.samples, config.output.seed)
        description = f"{len(data.y)} rows drawn from N(0, I_{data.x.shape[1]})"
        problem = replace(problem, coordinates=_inputs(config, data))
    elif any(block > 1 for block in data.blocks):
        raise ConfigError(
            "data.law",
            "has no rows in the inputs of the network",
            'the kernel limit takes "empirical", "nodes", "gaussian"',
        )
    count = held_out(config, len(data.y))
    test, train = _split(len(data.y), count, config.output.seed)
    # a study of nodes may weigh them; the held-out rows count equally
    kept = datalaws.nodes(data.x[train], data.y[train], data.weights[train])
    last = config.training.time
    times = np.append(0.0, np.geomspace(1e-4 * last, last, config.output.snapshots - 1))
    times[-1] = last
    described = f"{description}; {len(train)} to train, {len(test)} to test"
    return Setting(replace(problem, data=kept), base.law, data.x[test], data.y[test], times, described)


def _split(rows: int, count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of ``count`` test rows and of the others, each in the order of the file."""
    keys = np.empty((1, rows))
    noise.uniforms(seed, noise.DATA, 0, 0, keys)
    shuffled = np.argsort(keys[0], kind="stable")
    return np.sort(shuffled[:count]), np.sort(shuffled[count:])


def _drawn(population: Population, rows: int, seed: int) -> DataLaw:
    """Rows x ~ N(0, I_d) with targets, label noise included."""
    numbers = np.empty((population.dimension + 1, rows))
    noise.normals(seed, noise.DATA, 1, 0, numbers)
    x = np.ascontiguousarray(numbers[:-1].T)
    return datalaws.nodes(x, datalaws.target_values(population, x[:, 0]) + population.noise * numbers[-1])


def _inputs(config: schema.Config, data: DataLaw) -> tuple[Coordinate, ...]:
    """Coordinates of a neuron on rows: no symmetry is left to reduce by."""
    network = config.network
    assert network is not None
    rates = {group: getattr(config.training.rates, group) for group in schema.GROUPS}
    none = dict.fromkeys(schema.GROUPS, 0.0)
    return network_coordinates(data.blocks, network.train, network.has_bias, none, rates)
