"""The rules of ``mfpde.io.rules`` for explicit interactions: pure Python, like those."""

from __future__ import annotations

from mfpde.errors import ConfigError
from mfpde.io import schema


def check(config: schema.Config, pairwise: schema.Pairwise) -> None:
    """Raise ConfigError, naming key, value and what is allowed, for a [pairwise] study that cannot be run."""
    potential, training = pairwise.potential, config.training
    if training.loss != "square":
        raise ConfigError("training.loss", f'is "{training.loss}"; a [pairwise] problem has no loss')
    for group in ("a", "b"):
        if getattr(config.initial, group) is not None:
            raise ConfigError(f"initial.{group}", "is set; a [pairwise] problem has the one group w")
    if config.particles.dynamics == "sgd":
        raise ConfigError("particles.dynamics", 'is "sgd"; a [pairwise] problem has no data: langevin or gradient')
    for key, only in (("precision", "double"), ("device", "cpu")):
        value = getattr(config.numerics, key)
        if value != only:
            raise ConfigError(
                f"numerics.{key}", f'is "{value}", which a [pairwise] problem does not know; it must be "{only}"'
            )
    if pairwise.circle:
        _check_circle(config, pairwise)
        return
    if isinstance(potential, schema.QuadraticPotential):
        _check_quadratic(config, pairwise, potential)
    elif isinstance(potential, schema.NoPotential) and training.temperature > 0.0 and training.decay("w") == 0.0:
        raise ConfigError(
            "pairwise.potential",
            'is "none"; with positive temperature a potential or training.weight_decay > 0 must hold the mass together',
        )


def _check_circle(config: schema.Config, pairwise: schema.Pairwise) -> None:
    if pairwise.dimension != 1:
        raise ConfigError(
            "pairwise.dimension", f'is {pairwise.dimension}; the interaction "cosine" lives in dimension 1'
        )
    if not isinstance(pairwise.potential, schema.NoPotential):
        name = pairwise.potential.name
        raise ConfigError(
            "pairwise.potential", f'is "{name}", which is not periodic; beside "cosine" it must be "none"'
        )
    if config.training.decay("w") != 0.0:
        raise ConfigError("training.weight_decay", 'is not periodic; beside the interaction "cosine" it must be 0')
    if config.grid.bounds != "auto":
        raise ConfigError("grid.bounds", 'is given; the circle has [-pi, pi), so it must be "auto"')


def _check_quadratic(config: schema.Config, pairwise: schema.Pairwise, potential: schema.QuadraticPotential) -> None:
    if potential.strength is not None and potential.matrix is not None:
        raise ConfigError("pairwise.potential", "has strength and matrix; give one of them")
    dimension, matrix = pairwise.dimension, potential.matrix
    if matrix is None:
        strength = potential.strength or 1.0
        matrix = tuple(tuple(strength * (i == j) for j in range(dimension)) for i in range(dimension))
    if len(matrix) != dimension or any(len(row) != dimension for row in matrix):
        raise ConfigError("pairwise.potential.matrix", f"must be {dimension} x {dimension}: pairwise.dimension")
    if any(matrix[i][j] != matrix[j][i] for i in range(dimension) for j in range(i)):
        raise ConfigError("pairwise.potential.matrix", "must be symmetric")
    if config.training.temperature == 0.0:
        return
    decay = config.training.decay("w")
    if not _positive_definite(matrix, decay):
        raise ConfigError("pairwise.potential.matrix", "plus the weight decay must be positive definite")
    interaction = pairwise.interaction
    if isinstance(interaction, schema.QuadraticInteraction) and not _positive_definite(
        matrix, decay + interaction.strength
    ):
        raise ConfigError(
            "pairwise.interaction.strength",
            f"is {interaction.strength:g}; with a quadratic potential, potential + weight decay + strength must be"
            " positive definite, otherwise no stationary law exists",
        )


def _positive_definite(matrix: tuple[tuple[float, ...], ...], shift: float) -> bool:
    """Whether matrix + shift * I has positive pivots (symmetric Gaussian elimination)."""
    rows = [[value + shift * (i == j) for j, value in enumerate(row)] for i, row in enumerate(matrix)]
    for k, pivot in enumerate(rows):
        if not pivot[k] > 0.0:
            return False
        for row in rows[k + 1 :]:
            factor = row[k] / pivot[k]
            row[:] = [value - factor * above for value, above in zip(row, pivot, strict=True)]
    return True
