"""Rules that join several keys of a study, and the defaults that depend on others.

``resolve`` fills such defaults; ``check`` raises ConfigError for what cannot be meant. Both are pure Python: a config
error must not wait for numpy. Conditions that need numerics (the margin of a positively homogeneous activation) are
checked where the problem is built.
"""

from __future__ import annotations

import itertools
from typing import Any

from msgspec.structs import replace

from mfpde.errors import ConfigError
from mfpde.io import pairwise_rules, schema


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
        pairwise_rules.check(config, config.pairwise)
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
    if network.activation == "piecewise-linear":
        _check_pieces(network)
        return
    for key in ("knots", "slopes", "value"):
        if getattr(network, key):
            raise ConfigError(
                f"network.{key}",
                f'belongs to activation "piecewise-linear" only; network.activation is "{network.activation}"',
            )


def _check_pieces(network: schema.Network) -> None:
    knots, slopes = network.knots, network.slopes
    if not knots:
        raise ConfigError("network.knots", 'is empty; activation "piecewise-linear" needs increasing knots t_1, t_2, …')
    for low, high in itertools.pairwise(knots):
        if not low < high:
            raise ConfigError("network.knots", f"has {low:g} before {high:g}; knots must increase")
    if len(slopes) != len(knots) + 1:
        raise ConfigError(
            "network.slopes",
            f"has {len(slopes)} numbers for {len(knots)} knots; it must have {len(knots) + 1}: below the first knot,"
            " between the knots, above the last",
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
    if isinstance(data, schema.TwoGaussiansData) and (data.informative or 0) > data.dimension:
        raise ConfigError(
            "data.informative", f"is {data.informative}; it must be at most data.dimension, which is {data.dimension}"
        )
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
    if isinstance(config.data, schema.TwoGaussiansData) and config.data.dimension >= 2:
        _check_centred(config.initial.w, config.data)


def _check_centred(law: schema.InitialLaw | None, data: schema.TwoGaussiansData) -> None:
    """Two Gaussians: rotations of the informative inputs, and of the others, must leave the law of w as it is."""
    if data.dimension == 2 and data.informative == 1:
        return
    if isinstance(law, schema.Normal):
        means = law.mean if isinstance(law.mean, tuple) else (law.mean,)
        if any(means):
            raise ConfigError(
                "initial.w.mean", 'must be 0 with data.law "two-gaussians": the grid uses its rotation symmetry'
            )
        return
    name = "missing" if law is None else law.law
    raise ConfigError(
        "initial.w.law", f'is "{name}"; with data.law "two-gaussians" it must be rotation-invariant: "normal"'
    )


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
    if isinstance(config.data, (schema.GaussianData, schema.TwoGaussiansData)):
        return config.data.dimension
    if isinstance(config.data, schema.NodesData):
        return len(config.data.x[0])
    return None


def _check_grid(config: schema.Config) -> None:
    grid = config.grid
    if grid.flux == "exponential" and config.training.temperature == 0.0:
        raise ConfigError(
            "grid.flux",
            'is "exponential", which needs a positive training.temperature; at 0 it must be "limited" for a grid, or'
            ' "auto" for deterministic particles',
        )
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
    if config.numerics.device == "cuda" and config.network and config.network.activation == "piecewise-linear":
        raise ConfigError("numerics.device", 'is "cuda", which has no activation "piecewise-linear"; it must be "cpu"')
    if len(set(particles.widths)) != len(particles.widths):
        raise ConfigError("particles.widths", f"is {list(particles.widths)}; every width must appear once")
    if particles.step > training.time:
        raise ConfigError(
            "particles.step", f"is {particles.step:g}; it must be at most training.time, which is {training.time:g}"
        )
    if particles.dynamics == "sgd" and particles.batch < 1:
        raise ConfigError("particles.batch", f'is {particles.batch}; dynamics "sgd" needs at least 1')
    if particles.dynamics != "sgd" and isinstance(particles.schedule, schema.PowerSchedule):
        raise ConfigError("particles.schedule", f'is "power", for dynamics "sgd"; it is "{particles.dynamics}"')
    if particles.dynamics == "gradient" and training.temperature > 0.0:
        raise ConfigError(
            "particles.dynamics",
            f'is "gradient", which has no noise; with training.temperature {training.temperature:g} it must be'
            ' "langevin" or "sgd"',
        )
