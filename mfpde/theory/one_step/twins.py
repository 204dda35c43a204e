"""Finite-size twins of the asymptotics: spiked random features drawn at size d, and the actual network after its step.

Every function is a pure function of its seed, so that a pool can run seeds in any order. One seed draws the largest
training set and uses its first n samples for every n / d: the errors of one seed are correlated along a curve, and the
deviation from the limit has one sign there. The bias at size d is O(1 / d): ``compare.rates.extrapolate_in_width``
takes it out of several d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh

from mfpde.errors import ConfigError
from mfpde.theory.one_step.fits import fit_convex, fit_ridge, loss_terms
from mfpde.theory.one_step.gradient_step import GradientStep, measured, plain
from mfpde.theory.one_step.losses import SQUARE, Loss, check_labels
from mfpde.theory.one_step.model import FirstLayer, SpikedFeatures, shares_of
from mfpde.theory.one_step.ridge import check_ratio
from mfpde.theory.one_step.scalar import ScalarFunction

Array = NDArray[np.float64]

# rows of the input held at once: bounds the memory of a large batch
_CHUNK = 2048
_SPIKED, _NETWORK = 0, 1


@dataclass(frozen=True)
class TwinSettings:
    """A sample ratios and L ridges, the loss, how many test samples, and independent sample sets per first layer."""

    sample_ratios: tuple[float, ...]
    ridges: tuple[float, ...]
    loss: Loss = SQUARE
    test_samples: int = 10_000
    draws: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for values without a meaning."""
        if not self.sample_ratios or not self.ridges:
            raise ConfigError("sample_ratios", "and ridges need at least one value each")
        for ratio in self.sample_ratios:
            check_ratio(ratio)
        for ridge in self.ridges:
            if not (np.isfinite(ridge) and ridge > 0.0):
                raise ConfigError("ridges", f"holds {ridge:g}; at finite size every ridge must be above 0")
        if self.test_samples < 1 or self.draws < 1:
            raise ConfigError("test_samples", f"is {self.test_samples} with draws {self.draws}; both are at least 1")


@dataclass(frozen=True, eq=False)
class TwinErrors:
    """One seed at size ``dimension``: entries [A, L] over sample ratios and ridges.

    ``test_error`` mean square on noiseless labels of fresh inputs, ``train_error`` the mean squared residual,
    ``test_loss`` and ``train_loss`` means of the loss on noisy labels, ``wrong_sign`` share of test inputs with the
    wrong sign, ``mean`` m = sum a_i / sqrt(p) and ``weight_norm`` |a|^2 / p.  ``layer``: numbers measured from the
    weights of an actual network, else None.
    """

    dimension: int
    seed: int
    settings: TwinSettings
    test_error: Array
    train_error: Array
    test_loss: Array
    train_loss: Array
    wrong_sign: Array
    mean: Array
    weight_norm: Array
    layer: FirstLayer | None


def spiked_twin(model: SpikedFeatures, dimension: int, settings: TwinSettings, seed: int) -> TwinErrors:
    """The spiked model drawn at size ``dimension``, its readout trained and tested.

    Raises ConfigError for a layer that is not given by a law of rows, for sizes below one neuron, one sample or
    dimension 2, and for labels that the loss does not take.
    """
    check_labels(model, settings.loss)
    rng = np.random.default_rng([_SPIKED, dimension, seed])
    weights, theta = spiked_weights(model, dimension, rng)
    return _trained(rng, model, weights, theta, settings, seed, None)


def network_twin(
    step: GradientStep, width_ratio: float, dimension: int, settings: TwinSettings, seed: int
) -> TwinErrors:
    """The two-layer network of width p = ``width_ratio`` d after its actual step, readout trained on fresh samples.

    Raises ConfigError as ``spiked_twin`` does, and for a batch of less than one sample.
    """
    rng = np.random.default_rng([_NETWORK, dimension, seed])
    before, after, theta, readout = network_weights(step, width_ratio, dimension, rng)
    moved = not np.array_equal(before, after)
    layer = measured(before, after, theta, readout) if moved else plain(step)
    model = SpikedFeatures(step.student, step.target, layer, width_ratio, step.noise)
    check_labels(model, settings.loss)
    return _trained(rng, model, after, theta, settings, seed, layer)


def feature_eigenvalues(model: SpikedFeatures, dimension: int, sample_ratio: float, seed: int) -> Array:
    """Eigenvalues of Phi^T Phi / p, increasing : [p]; the last, of order p where E phi is not 0, is no bulk value."""
    rng = np.random.default_rng([_SPIKED, dimension, seed])
    weights, _ = spiked_weights(model, dimension, rng)
    x = rng.standard_normal((_samples(sample_ratio, dimension), dimension))
    features = _features(model.student, x, weights)
    return np.asarray(eigvalsh(features.T @ features))


def spiked_weights(model: SpikedFeatures, dimension: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """First layer [p, d] and theta [d] of a spiked model with v along the first axis."""
    origin = model.layer.origin
    if origin in ("refined", "measured"):
        raise ConfigError("layer", f"is {origin}; rows are drawn for sphere, gaussian and plain, a network by its step")
    width = _size("neurons", model.width_ratio, dimension)
    rows = []
    for group, count in zip(model.layer.groups, _counts([g.share for g in model.layer.groups], width), strict=True):
        w = _rows(rng, count, dimension, origin != "gaussian") * np.sqrt(group.bulk)
        w[:, 0] += group.spike
        rows.append(w)
    gamma = model.layer.alignment
    theta = np.zeros(dimension)
    theta[:2] = gamma, np.sqrt(max(0.0, 1.0 - gamma**2))
    return np.concatenate(rows), theta


def network_weights(
    step: GradientStep, width_ratio: float, dimension: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Weights before and after the step [p, d], theta [d] along the first axis and readouts u [p]."""
    if step.student.slope is None:
        raise ConfigError("student", f"is {step.student.name!r}, whose slope gives no gradient step")
    width = _size("neurons", width_ratio, dimension)
    pairs = shares_of(step.readout)
    readout = np.repeat([u for u, _ in pairs], _counts([share for _, share in pairs], width))
    before = _rows(rng, width, dimension, on_sphere=True)
    theta = np.zeros(dimension)
    theta[0] = 1.0
    batch = round(step.batch_ratio * dimension)
    if step.batch_ratio == 0.0:
        return before, before, theta, readout
    if batch < 1:
        raise ConfigError("batch_ratio", f"is {step.batch_ratio:g}; at dimension {dimension} that is no sample at all")
    gradient = np.zeros_like(before)
    for start in range(0, batch, _CHUNK):
        z = rng.standard_normal((min(_CHUNK, batch - start), dimension))
        labels = step.target.value(z @ theta) + step.noise * rng.standard_normal(len(z))
        hidden = z @ before.T
        residual = labels - step.student.value(hidden) @ readout / width
        gradient += (residual[:, None] * step.student.slope(hidden)).T @ z
    after = before + step.step * readout[:, None] * gradient / batch
    return before, after, theta, readout


def _trained(
    rng: np.random.Generator,
    model: SpikedFeatures,
    weights: Array,
    theta: Array,
    settings: TwinSettings,
    seed: int,
    layer: FirstLayer | None,
) -> TwinErrors:
    """Readouts and errors on ``settings.draws`` independent draws of the samples, averaged."""
    drawn = [_one_draw(rng, model, weights, theta, settings) for _ in range(settings.draws)]
    error, train, loss, train_loss, wrong, mean, norm = np.mean(drawn, axis=0)
    return TwinErrors(weights.shape[1], seed, settings, error, train, loss, train_loss, wrong, mean, norm, layer)


def _one_draw(
    rng: np.random.Generator, model: SpikedFeatures, weights: Array, theta: Array, settings: TwinSettings
) -> Array:
    """The fields of ``TwinErrors`` from test_error to weight_norm, in order : [7, A, L]."""
    width, dimension = weights.shape
    which, ridges = settings.loss, np.asarray(settings.ridges, dtype=np.float64)
    counts = [_samples(ratio, dimension) for ratio in settings.sample_ratios]
    x = rng.standard_normal((max(counts), dimension))
    labels = model.target.value(x @ theta) + model.noise * rng.standard_normal(len(x))
    features = _features(model.student, x, weights)
    readouts = np.empty((len(counts), len(ridges), width))
    train = np.empty((2, len(counts), len(ridges)))
    for i, count in enumerate(counts):
        seen, y = features[:count], labels[:count]
        readouts[i] = fit_ridge(seen, y, ridges) if which.name == "square" else fit_convex(seen, y, ridges, which)
        for j, readout in enumerate(readouts[i]):
            fitted = seen @ readout
            train[:, i, j] = np.mean((y - fitted) ** 2), np.mean(loss_terms(which, y, fitted)[0])

    flat = readouts.reshape(-1, width)
    test = np.zeros((3, len(flat)))
    for start in range(0, settings.test_samples, _CHUNK):
        x = rng.standard_normal((min(_CHUNK, settings.test_samples - start), dimension))
        clean = model.target.value(x @ theta)
        noisy = clean + model.noise * rng.standard_normal(len(x))
        predicted = flat @ _features(model.student, x, weights).T
        test[0] += np.sum((predicted - clean) ** 2, axis=1)
        test[1] += np.sum(loss_terms(which, noisy, predicted)[0], axis=1)
        test[2] += np.sum(np.sign(predicted) != np.sign(clean), axis=1)
    error, loss, wrong = (test / settings.test_samples).reshape(3, len(counts), len(ridges))
    mean, norm = readouts.sum(axis=2) / np.sqrt(width), np.mean(readouts**2, axis=2)
    return np.stack([error, train[0], loss, train[1], wrong, mean, norm])


def _features(student: ScalarFunction, x: Array, weights: Array) -> Array:
    return student.value(x @ weights.T) / np.sqrt(len(weights))


def _rows(rng: np.random.Generator, count: int, dimension: int, on_sphere: bool) -> Array:
    """Rows of mean square length 1, of length 1 exactly on the sphere : [count, d]."""
    rows = rng.standard_normal((count, dimension)) / np.sqrt(dimension)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if on_sphere else rows


def _counts(shares: Sequence[float], width: int) -> list[int]:
    """Whole numbers of neurons with the given shares and the sum ``width``."""
    ends = np.round(np.cumsum(shares) * width).astype(int)
    return [int(count) for count in np.diff(ends, prepend=0)]


def _samples(sample_ratio: float, dimension: int) -> int:
    check_ratio(sample_ratio)
    return _size("samples", sample_ratio, dimension)


def _size(what: str, ratio: float, dimension: int) -> int:
    if dimension < 2:
        raise ConfigError("dimension", f"is {dimension}; it must be at least 2")
    size = round(ratio * dimension)
    if size < 1:
        raise ConfigError("dimension", f"is {dimension}, which leaves none of the {what} at the ratio {ratio:g}")
    return size
