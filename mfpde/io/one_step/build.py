"""From the keys of a study to the objects of ``mfpde.theory.one_step``, for the study itself or at one swept value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfpde.io.one_step.config import with_value
from mfpde.io.one_step.schema import Config
from mfpde.theory.one_step.gradient_step import GradientStep, measured, plain, refined
from mfpde.theory.one_step.losses import Loss, loss
from mfpde.theory.one_step.model import FirstLayer, Group, SpikedFeatures, first_layer, spiked_layer
from mfpde.theory.one_step.scalar import activation, target
from mfpde.theory.one_step.twins import network_weights

# what is swept without a change of the features
READOUT_ONLY = ("samples", "ridge")
# seeds of two studies must not meet; no dimension has as many
_SEEDS = 1 << 20


def gradient_step(config: Config) -> GradientStep:
    """The step of a study that has one."""
    model, step = config.model, config.step
    assert step is not None
    return GradientStep(
        activation(model.student, model.student_hermite),
        target(model.target, model.target_hermite),
        step.size,
        step.batch,
        model.noise,
        tuple((u, share) for u, share in step.readout),
    )


def features(config: Config, layer: FirstLayer) -> SpikedFeatures:
    """The model of a study with a given first layer."""
    model = config.model
    student = activation(model.student, model.student_hermite)
    return SpikedFeatures(student, target(model.target, model.target_hermite), layer, model.width, model.noise)


def layers(config: Config, at_size: FirstLayer | None) -> dict[str, FirstLayer]:
    """First layers by the name of their map; "measured" is ``at_size``, a spiked layer goes by its rows."""
    if config.spiked is not None:
        s = config.spiked
        readout = tuple((u, share) for u, share in s.readout)
        return {s.rows: spiked_layer(s.spike, s.bulk, s.alignment, s.rows, readout)}
    step = gradient_step(config)
    found: dict[str, FirstLayer] = {}
    assert config.step is not None and config.step.maps is not None
    for name in config.step.maps:
        if name == "measured":
            found[name] = plain(step) if at_size is None else at_size
        else:
            found[name] = plain(step) if name == "plain" else refined(step)
    return found


def main_map(names: Sequence[str]) -> str:
    """The map trusted most: refined where it exists, then measured, then plain; of a spiked layer its rows."""
    return next((name for name in ("refined", "measured", "plain") if name in names), names[0])


def drawn_model(config: Config) -> SpikedFeatures:
    """The spiked model that is drawn at finite size: the rows of [spiked], or the plain map of [step]."""
    if config.spiked is not None:
        return features(config, next(iter(layers(config, None).values())))
    return features(config, plain(gradient_step(config)))


def seed_of(config: Config, index: int) -> int:
    """The seed of the twin number ``index``."""
    return config.output.seed * _SEEDS + index


def needs_networks(config: Config) -> bool:
    """Whether the map "measured" has a step to measure."""
    return config.step is not None and config.step.maps is not None and "measured" in config.step.maps


def step_variants(config: Config, values: Sequence[float]) -> list[Config]:
    """The studies, one for every swept value, or the one study if no value changes the features."""
    return [config] if config.curve.over in READOUT_ONLY else [with_value(config, value) for value in values]


def measured_layer(config: Config) -> FirstLayer | None:
    """The layer seen in networks of the largest simulated dimension, averaged over step.networks of them.

    They are the first networks that the simulation draws. None where a step of size or batch 0 moves no weight.
    """
    step = gradient_step(config)
    if step.step == 0.0 or step.batch_ratio == 0.0:
        return None
    assert config.step is not None
    dimension = max(config.simulation.dimensions)
    seen = []
    for index in range(config.step.networks):
        rng = np.random.default_rng([1, dimension, seed_of(config, index)])
        before, after, theta, readout = network_weights(step, config.model.width, dimension, rng)
        seen.append(measured(before, after, theta, readout))
    return _average(seen)


def _average(seen: Sequence[FirstLayer]) -> FirstLayer:
    groups = []
    for same in zip(*(layer.groups for layer in seen), strict=True):
        share, readout, spike, bulk = np.mean([(g.share, g.readout, g.spike, g.bulk) for g in same], axis=0).tolist()
        groups.append(Group(share, readout, spike, bulk, np.mean([g.loadings for g in same], axis=0)))
    return first_layer(tuple(groups), float(np.mean([layer.alignment for layer in seen])), "measured")


def loss_of(config: Config) -> Loss:
    """The loss of the readout."""
    return loss(config.readout.loss, config.readout.threshold)
