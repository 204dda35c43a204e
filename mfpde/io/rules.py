"""Rules that join several keys of a study, and the defaults that depend on others.

``resolve`` fills such defaults; ``check`` raises ConfigError for what cannot be meant. Both are pure Python: a config
error must not wait for numpy. Conditions that need numerics (the margin of a positively homogeneous activation) are
checked where the problem is built.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from mfpde.errors import ConfigError
from mfpde.io import schema


def resolve(config: schema.Config) -> schema.Config:
    """Fill network, weight decay and initial laws, whose defaults depend on other keys; ``train`` in order a, w, b."""
    training, initial = config.training, config.initial
    if config.pairwise is not None:
        decay = 0.0 if training.weight_decay is None else training.weight_decay
        return replace(
            config,
            pairwise=_resolve_pairwise(config.pairwise),
            training=replace(training, weight_decay=decay),
            initial=replace(initial, w=initial.w or schema.Normal()),
        )
    network = config.network or schema.Network()
    network = replace(network, train=tuple(g for g in schema.GROUPS if g in network.train))
    decay = 0.1 if training.weight_decay is None else training.weight_decay
    laws: dict[str, Any] = {"a": initial.a, "w": initial.w or schema.Normal(), "b": initial.b}
    for group, frozen in (("a", schema.Point(value=1.0)), ("b", schema.Point(value=0.0))):
        if laws[group] is None and (group == "a" or network.has_bias):
            laws[group] = schema.Normal() if group in network.train else frozen
    return replace(
        config, network=network, training=replace(training, weight_decay=decay), initial=schema.Initial(**laws)
    )


def _resolve_pairwise(pairwise: schema.Pairwise) -> schema.Pairwise:
    potential = pairwise.potential
    if isinstance(potential, schema.QuadraticPotential) and potential.strength is None and potential.matrix is None:
        return replace(pairwise, potential=schema.QuadraticPotential(strength=1.0))
    return pairwise


def check_sections(config: schema.Config) -> None:
    """Exactly one of [data] (with [network]) and [pairwise] describes the problem; runs before ``resolve``."""
    if config.pairwise is None:
        if config.data is None:
            raise ConfigError("data", "is missing; a study needs a [data] section, or [pairwise] instead")
        return
    for section in ("network", "data"):
        if getattr(config, section) is not None:
            raise ConfigError(section, "cannot stand beside [pairwise], which states the whole problem; keep one")


def check(config: schema.Config) -> None:
    """Raise ConfigError, naming key, value and what is allowed, for a resolved study that cannot be run."""
    if config.pairwise is not None:
        _check_pairwise(config, config.pairwise)
    elif config.network is not None:
        _check_network(config.network)
        _check_data(config)
        _check_confinement(config, config.network)
    _check_initial(config)
    _check_grid(config)
    _check_particles(config)


def _check_network(network: schema.Network) -> None:
    if network.activation == "hermite":
        if not any(network.hermite):
            raise ConfigError(
                "network.hermite", 'has no non-zero coefficient; activation "hermite" needs h_0, h_1, … of sum h_k He_k'
            )
    elif network.hermite:
        raise ConfigError(
            "network.hermite", f'belongs to activation "hermite" only; network.activation is "{network.activation}"'
        )


def _check_data(config: schema.Config) -> None:
    data = config.data
    if isinstance(data, schema.NodesData):
        _check_nodes(data)
    if isinstance(data, schema.EmpiricalData):
        if isinstance(data.rows, tuple) and data.rows[0] >= data.rows[1]:
            raise ConfigError("data.rows", f"is {list(data.rows)}; [start, stop] must have start < stop")
        if data.classes is not None and data.classes[0] == data.classes[1]:
            raise ConfigError("data.classes", f"is {list(data.classes)}; the two classes must differ")
        names = data.inputs if isinstance(data.inputs, tuple) else (data.inputs,)
        if len(set(names)) != len(names):
            raise ConfigError("data.inputs", "names an input twice; every input must be named once")
    if config.training.loss == "logistic":
        if isinstance(data, schema.GaussianData) and data.noise > 0.0:
            raise ConfigError(
                "data.noise", f"is {data.noise:g}; with the logistic loss the target is a log-odds: it must be 0"
            )
        if isinstance(data, schema.NodesData) and any(abs(y) != 1.0 for y in data.y):
            bad = next(y for y in data.y if abs(y) != 1.0)
            raise ConfigError("data.y", f"holds {bad!r}; the logistic loss needs targets -1 and +1")


def _check_nodes(data: schema.NodesData) -> None:
    width = len(data.x[0])
    for i, row in enumerate(data.x):
        if len(row) != width:
            raise ConfigError(f"data.x[{i}]", f"has {len(row)} numbers; every node needs as many as the first: {width}")
    for key in ("y", "weights"):
        values = getattr(data, key)
        if values is not None and len(values) != len(data.x):
            raise ConfigError(f"data.{key}", f"has {len(values)} numbers; data.x has {len(data.x)} nodes")


def _check_confinement(config: schema.Config, network: schema.Network) -> None:
    """At positive temperature exp(-Psi/temperature) must have a finite integral over the parameters that move."""
    temperature = config.training.temperature
    if temperature == 0.0:
        return
    for group in network.train:
        if config.training.decay(group) == 0.0:
            raise ConfigError(
                "training.weight_decay",
                f"is 0 for the trained group {group}; with temperature {temperature:g} it must be positive,"
                " otherwise no stationary law exists",
            )
    degree = max((k for k, h in enumerate(network.hermite) if h != 0.0), default=0)
    polynomial = network.activation == "quadratic" or (network.activation == "hermite" and degree >= 2)
    if polynomial and "a" in network.train and len(network.train) > 1:
        raise ConfigError(
            "network.train",
            f"is {list(network.train)}; with temperature {temperature:g} and the polynomial activation"
            f' "{network.activation}" training a together with w or b admits no stationary law at any weight decay'
            ' (a * w^2 beats a^2 + w^2); train ["w"] alone, or set training.temperature = 0',
        )


def _check_pairwise(config: schema.Config, pairwise: schema.Pairwise) -> None:
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


def _check_initial(config: schema.Config) -> None:
    for group in schema.GROUPS:
        law = getattr(config.initial, group)
        if isinstance(law, schema.Uniform) and not law.low < law.high:
            raise ConfigError(f"initial.{group}", f"has low {law.low:g} and high {law.high:g}; low must be below high")
        if isinstance(law, schema.Normal) and isinstance(law.mean, tuple):
            dimension = _input_dimension(config) if group == "w" else 1
            if dimension is not None and len(law.mean) != dimension:
                raise ConfigError(
                    f"initial.{group}.mean",
                    f"has {len(law.mean)} numbers; one number, or a list of {dimension}, is allowed",
                )
    if config.network is not None and config.initial.b is not None and not config.network.has_bias:
        raise ConfigError("initial.b", "is set, but the network has no bias; set network.bias = true or drop it")
    if isinstance(config.data, schema.GaussianData) and config.data.dimension >= 3:
        _check_invariance(config.initial.w, config.data.dimension)


def _check_invariance(law: schema.InitialLaw | None, dimension: int) -> None:
    """Gaussian inputs, dimension >= 3: rotations that fix the index direction must leave the law of w as it is."""
    if isinstance(law, schema.Normal):
        offset = law.mean[1:] if isinstance(law.mean, tuple) else (law.mean,)
        if any(offset):
            raise ConfigError(
                "initial.w.mean",
                f"must vanish outside the index direction (data.dimension is {dimension}, the grid uses its rotation"
                " symmetry); give a list whose first entry alone is not 0",
            )
        return
    if isinstance(law, schema.Point) and law.value == 0.0:
        return
    name = "missing" if law is None else law.law
    raise ConfigError(
        "initial.w.law",
        f'is "{name}"; with Gaussian data of dimension {dimension} it must be rotation-invariant: "normal"',
    )


def _input_dimension(config: schema.Config) -> int | None:
    """Number of inputs if the config alone tells it (a file may name one dataset that holds several columns)."""
    if config.pairwise is not None:
        return config.pairwise.dimension
    if isinstance(config.data, schema.GaussianData):
        return config.data.dimension
    if isinstance(config.data, schema.NodesData):
        return len(config.data.x[0])
    return None


def _check_grid(config: schema.Config) -> None:
    grid = config.grid
    if grid.bounds != "auto":
        for i, (low, high) in enumerate(grid.bounds):
            if not low < high:
                raise ConfigError(f"grid.bounds[{i}]", f"is [{low:g}, {high:g}]; the lower bound must be the smaller")
        if grid.cells != "auto" and len(grid.cells) != len(grid.bounds):
            raise ConfigError(
                "grid.bounds",
                f"has {len(grid.bounds)} intervals, grid.cells {len(grid.cells)} numbers; they must agree",
            )
    if grid.cells != "auto":
        total = 1
        for cells in grid.cells:
            total *= cells
        if total > 100_000_000:
            raise ConfigError("grid.cells", f"is {list(grid.cells)}, {total} cells; at most 100000000 are allowed")


def _check_particles(config: schema.Config) -> None:
    particles, training = config.particles, config.training
    if len(set(particles.widths)) != len(particles.widths):
        raise ConfigError("particles.widths", f"is {list(particles.widths)}; every width must appear once")
    if particles.step > training.time:
        raise ConfigError(
            "particles.step", f"is {particles.step:g}; it must be at most training.time, which is {training.time:g}"
        )
    if particles.dynamics == "sgd" and particles.batch < 1:
        raise ConfigError("particles.batch", f'is {particles.batch}; dynamics "sgd" needs at least 1')
    if particles.dynamics == "gradient" and training.temperature > 0.0:
        raise ConfigError(
            "particles.dynamics",
            f'is "gradient", which has no noise; with training.temperature {training.temperature:g} it must be'
            ' "langevin" or "sgd"',
        )
