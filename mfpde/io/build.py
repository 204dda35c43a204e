"""From a validated study to the objects of the numerics: problem, initial law, grid, control, ensemble settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.confinement import check_normalisable
from mfpde.core import activations
from mfpde.domain import MAX_DIMENSION, choose_grid
from mfpde.errors import ConfigError
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.io import config as configs
from mfpde.io import data, schema, studies
from mfpde.io.breakdown import numerical
from mfpde.measures import Grid
from mfpde.pairwise import pairwise_problem
from mfpde.problem import DataLaw, Network, Population, Problem, TwoGaussians, network_coordinates

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Study:
    """A study ready to run; ``times`` [K] are the stored times, ``data_description`` one sentence on the data."""

    config: schema.Config
    name: str
    problem: Problem
    law: InitialLaw
    times: Array
    data_description: str

    @property
    def on_grid(self) -> bool:
        """Whether the limit fits on a grid (or, at temperature 0, on atoms of a product rule)."""
        return 1 <= len(self.problem.moving) <= MAX_DIMENSION

    @property
    def by_atoms(self) -> bool:
        """Whether the limit is carried by atoms: at temperature 0, unless the flux of a grid is asked for."""
        return self.problem.temperature == 0.0 and self.config.grid.flux != "limited"

    @cached_property
    @numerical
    def grid(self) -> Grid:
        """The grid of the study; raises ConfigError if there is none, NumericalError where the search breaks down."""
        cells, bounds = self.config.grid.cells, self.config.grid.bounds
        return choose_grid(
            self.problem,
            self.law,
            None if isinstance(cells, str) else cells,
            None if isinstance(bounds, str) else tuple((float(lo), float(hi)) for lo, hi in bounds),
        )


def load_study(source: str, overrides: Sequence[str] = ()) -> Study:
    """The study of a TOML file or a built-in name, with keys changed: load_study("kuramoto", ["training.time=5.0"]).

    Raises ConfigError, or DataFileError where its data cannot be read.
    """
    loaded = configs.load(source, overrides)
    return build(loaded.config, loaded.name, loaded.directory)


def build(config: schema.Config, name: str, directory: Path | None) -> Study:
    """Study from a config; raises ConfigError for what only numerics can find wrong."""
    times = np.linspace(0.0, config.training.time, config.output.snapshots)
    if config.pairwise is not None:
        problem = _pairwise(config, config.pairwise)
        law = _initial_law(config, problem, config.pairwise.dimension)
        return Study(config, name, problem, law, times, "no data: an explicit interaction")
    assert config.network is not None and config.data is not None
    law_of_data, dimension, description = _data_law(config, directory)
    training, network = config.training, config.network
    coordinates = network_coordinates(
        law_of_data.blocks,
        network.train,
        network.has_bias,
        {group: training.decay(group) for group in schema.GROUPS},
        {group: getattr(training.rates, group) for group in schema.GROUPS},
    )
    parameters = network.hermite
    if network.activation == "piecewise-linear":
        parameters = tuple(activations.flatten_pieces(network.knots, network.slopes, network.value).tolist())
    model = Network(network.activation, parameters, network.scale)
    problem = Problem(model, law_of_data, training.loss, training.temperature, coordinates)
    law = _initial_law(config, problem, dimension)
    check_normalisable(problem, law)
    return Study(config, name, problem, law, times, description)


def _pairwise(config: schema.Config, pairwise: schema.Pairwise) -> Problem:
    potential, interaction = pairwise.potential, pairwise.interaction
    return pairwise_problem(
        temperature=config.training.temperature,
        dimension=pairwise.dimension,
        potential=type(potential).name,
        potential_strength=getattr(potential, "strength", None) or 1.0,
        matrix=getattr(potential, "matrix", None),
        interaction=type(interaction).name,
        strength=getattr(interaction, "strength", 0.0),
        width=getattr(interaction, "width", 1.0),
        reach=_reach(config),
        rate=config.training.rates.w,
        weight_decay=config.training.decay("w"),
    )


def _reach(config: schema.Config) -> float:
    """A distance no two neurons exceed: bounds where given, else initial spread and confinement, generously."""
    bounds = config.grid.bounds
    if not isinstance(bounds, str):
        return max(hi - lo for lo, hi in bounds)
    law = config.initial.w
    std, mean = getattr(law, "std", 1.0), np.max(np.abs(getattr(law, "mean", 0.0)))
    return float(16.0 * max(std, np.sqrt(config.training.temperature), 0.5) + 2.0 * mean)


def _data_law(config: schema.Config, directory: Path | None) -> tuple[DataLaw, int, str]:
    law, loss = config.data, config.training.loss
    if isinstance(law, schema.GaussianData):
        target = law.target
        if isinstance(target, schema.HermiteTarget):
            population = Population(law.dimension, "hermite", target.coefficients, noise=law.noise)
        else:
            population = Population(law.dimension, "tanh", gain=target.gain, scale=target.scale, noise=law.noise)
        nodes = datalaws.gaussian(population, loss, law.quadrature)
        return nodes, law.dimension, f"x ~ N(0, I_{law.dimension}), {len(nodes.y)} quadrature nodes"
    if isinstance(law, schema.TwoGaussiansData):
        gaussians = TwoGaussians(law.dimension, law.informative or law.dimension, law.separation)
        found = datalaws.two_gaussians(gaussians, law.quadrature)
        what = f"y = +-1, x | y Gaussian in dimension {law.dimension}, {gaussians.informative} inputs informative"
        return found, law.dimension, f"{what}, {len(found.y)} quadrature nodes"
    if isinstance(law, schema.EmpiricalData):
        file = studies.find_data(law.file, directory)
        x, y, description = data.read_table(
            file, law.inputs, law.targets, law.rows, law.standardize, getattr(law, "classes", None)
        )
        _check_labels(loss, y, "data.targets")
        return datalaws.nodes(x, y), x.shape[1], description
    assert isinstance(law, schema.NodesData)
    x, y = np.asarray(law.x, float), np.asarray(law.y, float)
    _check_labels(loss, y, "data.y")
    weights = None if law.weights is None else np.asarray(law.weights, float)
    return datalaws.nodes(x, y, weights), x.shape[1], f"{len(y)} nodes given in the study"


def _check_labels(loss: str, y: Array, key: str) -> None:
    if loss == "logistic" and np.any(np.abs(y) != 1.0):
        wrong = y[np.abs(y) != 1.0][0]
        raise ConfigError(key, f"holds {wrong:g}; the logistic loss needs labels -1 and +1")


def _initial_law(config: schema.Config, problem: Problem, dimension: int) -> InitialLaw:
    laws = {group: _group_law(getattr(config.initial, group)) for group in schema.GROUPS}
    law = InitialLaw(laws["a"], laws["w"], laws["b"], dimension)
    if len(law.w.mean) > dimension:
        raise ConfigError("initial.w.mean", f"has {len(law.w.mean)} entries; the inputs have dimension {dimension}")
    if any(c.kind == "radius" for c in problem.coordinates):
        if law.w.law != "normal":
            raise ConfigError(
                "initial.w.law", f'is "{law.w.law}"; the symmetry reduction needs a rotation-invariant law: "normal"'
            )
        if any(law.w.mean[1:]):
            raise ConfigError("initial.w.mean", "must point along the first input, the index direction of the target")
    return law


def _group_law(law: schema.InitialLaw | None) -> GroupLaw:
    if law is None:
        return GroupLaw("point", 0.0)
    if isinstance(law, schema.Point):
        return GroupLaw("point", value=float(law.value))
    if isinstance(law, schema.Normal):
        mean = law.mean if isinstance(law.mean, tuple) else (law.mean,)
        return GroupLaw("normal", mean=tuple(float(m) for m in mean), std=float(law.std))
    if isinstance(law, schema.Uniform):
        return GroupLaw("uniform", low=float(law.low), high=float(law.high))
    return GroupLaw("rademacher")
