"""From the keys of a study and its samples to the objects of ``mfpde.theory.deep``."""

from __future__ import annotations

from mfpde.io.deep.config import every
from mfpde.io.deep.data import Samples
from mfpde.io.deep.schema import Config
from mfpde.io.deep.work import Job
from mfpde.theory.deep.problem import DeepProblem, Multipliers, data_order
from mfpde.theory.deep.space import LimitSettings

# seeds of two studies must not meet; no width has as many
SEEDS = 1 << 20


def job(config: Config, samples: Samples) -> Job:
    """What every piece of work of a study needs.  Raises ConfigError."""
    limit, seed = config.limit, config.output.seed
    settings = LimitSettings(limit.samples, limit.tolerance, limit.sampler, limit.matching, seed)
    return Job(problem(config, samples), settings, samples.test, every(config), seed * SEEDS)


def problem(config: Config, samples: Samples) -> DeepProblem:
    """The training of a study, which the limit and the finite widths share.  Raises ConfigError."""
    network, training = config.network, config.training
    m = training.multipliers
    order = None
    if 0 < training.batch < len(samples.x):
        order = data_order(len(samples.x), training.batch, training.steps, config.output.seed)
    return DeepProblem(
        inputs=samples.x,
        targets=samples.y,
        depth=network.depth,
        activation=network.activation,
        hermite=network.hermite,
        loss="square" if training.loss == "square" else "cross-entropy",
        rate=training.rate,
        steps=training.steps,
        richness=training.richness,
        multipliers=Multipliers(m.input, m.hidden, m.output, m.bias),
        momentum=training.momentum,
        bias=network.bias,
        bias_std=network.bias_std,
        order=order,
    )
