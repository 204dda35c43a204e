"""What an error of training is measured on: the law trained on, the nodes of the norm, and what is undefined.

Training is on n samples of the population law, or on the law itself; norms are those of L^2(population), of an
empirical law those of L^2(data).  Every limit, sampled or not, lives on the grid of the study.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.core import quadrature
from mfpde.datalaws import SMALLEST_WEIGHT
from mfpde.errors import ConfigError
from mfpde.io.build import Study
from mfpde.io.theory.subject import Subject, require_expansions
from mfpde.problem import DataLaw, Network, Population, Problem
from mfpde.steppers.forces import reduced
from mfpde.steppers.sampling import carry_to_nodes, sobol_law
from mfpde.tabulate import Tabulated, tabulate

Array = NDArray[np.float64]

SAMPLES = 100
# where networks live in more inputs than the grid sees: Gauss nodes along the index, quasi-random rests for each
INDEX_NODES, RESTS = 32, 128
# of an empirical law: what is left at rest against the labels, in place of bias and sparse residual
REST = "rest_to_labels"


@dataclass(frozen=True, eq=False)
class Setting:
    """What is trained on what, and where networks are compared.

    ``table`` holds the population law (an empirical law is its own), ``trained`` the law trained on; ``nodes`` are the
    inputs, targets and weights of the norm in full dimension, ``carry`` takes f at the nodes of ``table`` there.
    ``samples`` is n, None where training is on the law itself; ``undefined`` term -> reason.
    """

    study: Study
    table: Tabulated
    trained: Tabulated
    nodes: DataLaw
    carry: Callable[[Array], Array]
    samples: int | None
    undefined: dict[str, str]

    @property
    def population(self) -> Population | None:
        return self.table.problem.data.single_index

    @property
    def in_full(self) -> bool:
        """Whether networks have more inputs than the grid sees."""
        return reduced(self.table.problem)


def setting(subject: Subject, samples: int | None) -> Setting:
    """``samples`` n, 0 for the population law itself, None for the default.

    Raises ConfigError where the limit has no grid, or a data set of n samples has none.
    """
    study = subject.study
    _require_grid(study)
    require_expansions(study)
    problem, grid = study.problem, study.grid
    table, population = tabulate(problem, grid), problem.data.single_index
    if population is None:
        return _empirical(study, table, samples)
    if reduced(problem):
        return _reduced(study, table, population, samples)
    nodes = replace(problem.data, y=datalaws.target_values(population, problem.data.x[:, 0]))
    count = SAMPLES if samples is None else samples
    if count == 0:
        undefined = {"statistical": "training is on the population law itself: there are no samples, the term is 0"}
        return Setting(study, table, table, nodes, lambda f: f, None, undefined)
    drawn = replace(problem, data=_sample(problem, population, count, study.config.output.seed))
    return Setting(study, table, tabulate(drawn, grid), nodes, lambda f: f, count, {})


def _require_grid(study: Study) -> None:
    problem, dynamics = study.problem, study.config.particles.dynamics
    if not isinstance(problem.model, Network):
        raise ConfigError("pairwise", "is an explicit interaction: there is no target to err from")
    if not study.on_grid:
        raise ConfigError(
            "network.train",
            f"moves {len(problem.moving)} coordinates; the decomposition needs the limit, and a grid takes up to 3",
        )
    if problem.temperature == 0.0:
        raise ConfigError("training.temperature", "is 0; the decomposition needs a stationary density")
    if dynamics != "langevin":
        raise ConfigError("particles.dynamics", f'is "{dynamics}"; the decomposition is that of "langevin"')


def _empirical(study: Study, table: Tabulated, samples: int | None) -> Setting:
    data = table.problem.data
    if samples is not None:
        raise ConfigError(
            "--samples", f"has no population to draw from: the law is {len(data.y)} given nodes", "omit it"
        )
    why = "an empirical law has no population behind it"
    undefined = {"statistical": why, "entropic_bias": f"{why}: no f_oo", "sparse_residual": f"{why}: no f*, no f_S"}
    if table.problem.loss == "logistic":
        undefined[REST] = "labels +-1 are no function to compare f with: the total is taken to f^n_oo"
    return Setting(study, table, table, data, lambda f: f, None, undefined)


def _reduced(study: Study, table: Tabulated, population: Population, samples: int | None) -> Setting:
    d = population.dimension
    why = f"a data set in {d} inputs has not the rotation symmetry by which the limit fits on a grid: no f^n"
    if samples:
        raise ConfigError("--samples", f"is {samples}, but {why}", "omit it: training on the population law is exact")
    nodes = _full_nodes(table.problem, population, study.config.output.seed)

    def carry(f: Array) -> Array:
        return carry_to_nodes(table.problem.data, f, nodes.x)

    undefined = {"statistical": f"{why}; training is on the population law, where the term is 0"}
    return Setting(study, table, table, nodes, carry, None, undefined)


def _full_nodes(problem: Problem, population: Population, seed: int) -> DataLaw:
    """Inputs in full dimension whose norm is exact in x_0, and quasi-random in the other inputs."""
    x0, p0 = quadrature.gauss_hermite(INDEX_NODES, SMALLEST_WEIGHT)
    others = replace(population, dimension=population.dimension - 1)
    count = len(x0) * RESTS
    rest = sobol_law(replace(problem, data=replace(problem.data, population=others)), count, seed).x[:count]
    x = np.column_stack([np.repeat(x0, RESTS), rest])
    y = datalaws.target_values(population, x[:, 0])
    return DataLaw(x, y, np.repeat(p0 / RESTS, RESTS), (1,) * population.dimension, population=population)


def _sample(problem: Problem, population: Population, count: int, seed: int) -> DataLaw:
    """n independent samples, a function of (seed, n): the first draw of ``decomposition.statistical_sweep``."""
    rng = np.random.default_rng([seed, count, 0])
    x = rng.standard_normal((count, population.dimension))
    y = datalaws.target_values(population, x[:, 0])
    if problem.loss == "logistic":
        return datalaws.nodes(x, np.where(rng.random(count) < 1.0 / (1.0 + np.exp(-y)), 1.0, -1.0))
    return datalaws.nodes(x, y + population.noise * rng.standard_normal(count))


def training(s: Setting) -> str:
    if s.samples is not None:
        return f"{s.samples} samples of the population law"
    return f"{len(s.nodes.y)} data nodes" if s.population is None else "the population law"


def norm(s: Setting) -> str:
    """The norm in which the terms are measured, in words: the law of the data and the nodes that stand for it."""
    count = len(s.nodes.y)
    if s.population is None:
        return f"L2 of the {count} data nodes"
    if not s.in_full:
        return f"L2 of the population law, {count} quadrature nodes"
    where = f"{count} inputs in dimension {s.nodes.x.shape[1]}"
    return f"L2 of the population law, {where}: Gauss nodes along the index, quasi-random beside it"
