"""What an L-layer network under muP is trained on and how: data, layers, loss, steps; no width, no samples.

    h^1 = w.xi / sqrt(d) + b^1,   x^l = phi(h^l),   h^l = W^l x^(l-1) + b^l,   f = (V.x^L / N + b^(L+1)) / gamma
    c_t,mu = eta gamma weight_t,mu dloss/df_t,mu           (weight 1/P, or 1/batch for the samples of a mini-batch)
    V   <- V   - m_o sum_mu c_mu x^L(mu)
    W^l <- W^l - (m_h/N) sum_mu c_mu g^l(mu) x^(l-1)(mu)^T      g^l = N gamma df/dh^l
    w   <- w   - m_1 sum_mu c_mu g^1(mu) xi_mu / sqrt(d)
    b^l <- b^l - m_b sum_mu c_mu g^l(mu),   b^(L+1) <- b^(L+1) - m_b sum_mu c_mu

gamma = 1 is muP; gamma -> 0 the lazy (kernel) limit.  In mfpde's two-layer notation gamma = 1/alpha and one step is the
time eta gamma^2 (the factors 1/N of the gradients are the mean-field clock).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.core.activations import CODES
from mfpde.errors import ConfigError
from mfpde.theory.deep.losses import LOSSES

Array = NDArray[np.float64]

# a singular value of the inputs below this part of the largest is rounding
_RANK_TOLERANCE = 1e-12
MOST_LAYERS = 60


@dataclass(frozen=True)
class Multipliers:
    """Learning rates per kind of parameter, as multiples of ``rate``: first layer, hidden layers, readout, biases."""

    input: float = 1.0
    hidden: float = 1.0
    output: float = 1.0
    bias: float = 1.0


@dataclass(frozen=True, eq=False)
class DeepProblem:
    """Training of an L-layer network: inputs [P, d], targets [P, C], and everything but the width.

    ``loss`` "square" (half the squared distance, summed over outputs, mean over points) or "cross-entropy" (C >= 2:
    rows of ``targets`` are probabilities; C = 1: targets are -1 and +1).  ``order`` [T, batch] holds the samples of
    every step's mini-batch; None is full-batch gradient descent.  ``bias_std``: standard deviation of biases at the
    start.  ``momentum`` beta: a velocity u <- beta u + gradient takes the place of the gradient.
    Raises ConfigError for what has no meaning.
    """

    inputs: Array
    targets: Array
    depth: int = 3
    activation: str = "tanh"
    hermite: tuple[float, ...] = ()
    loss: Literal["square", "cross-entropy"] = "square"
    rate: float = 1.0
    steps: int = 40
    richness: float = 1.0
    multipliers: Multipliers = field(default_factory=Multipliers)
    momentum: float = 0.0
    bias: bool = False
    bias_std: float = 0.0
    order: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Convert the arrays and raise ConfigError for values without a meaning."""
        inputs, targets = np.array(self.inputs, dtype=np.float64), np.array(self.targets, dtype=np.float64)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets[:, None] if targets.ndim == 1 else targets)
        object.__setattr__(self, "hermite", tuple(float(c) for c in self.hermite))
        if self.order is not None:
            object.__setattr__(self, "order", np.array(self.order, dtype=np.int64))
        _check_data(self)
        _check_network(self)
        _check_training(self)

    @property
    def samples(self) -> int:
        """Number P of training points."""
        return len(self.inputs)

    @property
    def outputs(self) -> int:
        """Number C of outputs."""
        return self.targets.shape[1]

    @cached_property
    def gram(self) -> Array:
        """K = X X^T / d : [P, P], the covariance of first-layer preactivations at the start."""
        return np.asarray(self.inputs @ self.inputs.T / self.inputs.shape[1])

    @cached_property
    def frame(self) -> Array:
        """Orthonormal basis of the span of the inputs : [d, r]; weights across it are never trained."""
        _, values, rows = np.linalg.svd(self.inputs, full_matrices=False)
        return np.ascontiguousarray(rows[values > _RANK_TOLERANCE * values[0]].T)

    @cached_property
    def coordinates(self) -> Array:
        """The inputs in ``frame``, over sqrt(d) : [P, r], with coordinates coordinates^T = ``gram``."""
        return np.asarray(self.inputs @ self.frame / np.sqrt(self.inputs.shape[1]))

    def batch(self, time: int) -> NDArray[np.int64]:
        """Samples of step ``time``."""
        return np.arange(self.samples) if self.order is None else self.order[time]


def data_order(samples: int, batch: int, steps: int, seed: int) -> NDArray[np.int64]:
    """Mini-batches [steps, batch]: every epoch a new permutation, dealt out in turn; a batch may span two epochs and
    then hold a sample twice, which counts twice.

    Raises ConfigError unless 1 <= batch <= samples.
    """
    if not 1 <= batch <= samples:
        raise ConfigError("training.batch", f"is {batch}; allowed is 1 to {samples}, the number of training points")
    rng = np.random.default_rng([seed, samples])
    epochs = -(-steps * batch // samples)
    order = np.concatenate([rng.permutation(samples) for _ in range(epochs)])[: steps * batch].reshape(steps, batch)
    return np.asarray(order, dtype=np.int64)


def prepare_inputs(x: ArrayLike, reference: ArrayLike | None = None) -> Array:
    """Inputs [n, d] minus the mean over the rows of ``reference`` (else their own), rows scaled to norm sqrt(d).

    Then K has ones on its diagonal.  Raises ConfigError for a row that equals the mean.
    """
    values = np.asarray(x, dtype=np.float64)
    centred = values - (values if reference is None else np.asarray(reference, dtype=np.float64)).mean(axis=0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    if np.any(norms == 0.0):
        raise ConfigError(
            "data.inputs", f"holds row {int(np.argmin(norms))}, which equals the mean and has no direction"
        )
    return np.asarray(centred / norms * np.sqrt(values.shape[1]))


def one_hot(labels: ArrayLike, classes: int) -> Array:
    """Rows of the identity : [P, classes], for labels 0 .. classes - 1.  Raises ConfigError for any other."""
    numbers = np.asarray(labels)
    if classes < 2 or np.any((numbers < 0) | (numbers >= classes) | (numbers != np.floor(numbers))):
        raise ConfigError("data.targets", f"are {np.unique(numbers).tolist()}; allowed are classes 0 to {classes - 1}")
    return np.asarray(np.eye(classes)[numbers.astype(np.int64)])


def _check_data(problem: DeepProblem) -> None:
    x, y = problem.inputs, problem.targets
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or min(*x.shape, *y.shape) < 1:
        raise ConfigError(
            "data.inputs", f"has shape {x.shape} for targets of shape {y.shape}; [P, d] and [P, C] are due"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ConfigError("data.inputs", "or targets hold a value that is not a finite number")
    if not np.any(x):
        raise ConfigError("data.inputs", "are all zero")
    if problem.loss == "cross-entropy":
        signs = y.shape[1] == 1 and bool(np.all(np.abs(y) == 1.0))
        shares = y.shape[1] > 1 and bool(np.all(y >= 0.0) and np.allclose(y.sum(axis=1), 1.0))
        if not (signs or shares):
            raise ConfigError(
                "data.targets", "must be -1 and +1, or rows of class probabilities, for the cross-entropy"
            )


def _check_network(problem: DeepProblem) -> None:
    if not 1 <= problem.depth <= MOST_LAYERS:
        raise ConfigError("network.depth", f"is {problem.depth}; allowed is 1 to {MOST_LAYERS}")
    if problem.activation not in CODES:
        raise ConfigError("network.activation", f'is "{problem.activation}"; known are {", ".join(CODES)}')
    if problem.activation == "hermite" and not problem.hermite:
        raise ConfigError("network.hermite", "is empty; the activation hermite needs its coefficients")
    if not problem.bias_std >= 0.0 or (problem.bias_std > 0.0 and not problem.bias):
        raise ConfigError("network.bias_std", f"is {problem.bias_std:g}; allowed is 0 or more, and 0 without biases")


def _check_training(problem: DeepProblem) -> None:
    if problem.loss not in LOSSES:
        raise ConfigError("training.loss", f'is "{problem.loss}"; allowed are {", ".join(LOSSES)}')
    positive: dict[str, Any] = {"training.rate": problem.rate, "training.richness": problem.richness}
    for key, value in positive.items():
        if not (np.isfinite(value) and value > 0.0):
            raise ConfigError(key, f"is {value:g}; it must be a finite number above 0")
    if problem.steps < 1:
        raise ConfigError("training.steps", f"is {problem.steps}; it must be at least 1")
    if not 0.0 <= problem.momentum < 1.0:
        raise ConfigError("training.momentum", f"is {problem.momentum:g}; allowed is 0 to below 1")
    for name, value in vars(problem.multipliers).items():
        if not (np.isfinite(value) and value >= 0.0):
            raise ConfigError("training.multipliers", f"has {name} = {value:g}; allowed is a finite number, 0 or more")
    order = problem.order
    if order is not None and (
        order.ndim != 2
        or len(order) < problem.steps
        or order.shape[1] < 1
        or order.min() < 0
        or order.max() >= problem.samples
    ):
        raise ConfigError(
            "training.batch",
            f"gives an order of shape {order.shape}; [steps, batch] of points 0 to {problem.samples - 1}",
        )
