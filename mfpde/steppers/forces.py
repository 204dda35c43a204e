"""What drives a finite ensemble: the gradient of the first variation at the ensemble itself, and the risk it lowers.

Every force works on theta[R, p, N], replicas by components by particles, and gives the gradient of

    Psi[rho^N](theta) = scale * sum_q r_q phi_q(theta),      rho^N = (1/N) sum_i delta_{theta_i},

without the weight decay, which the stepper adds.  It is N times the gradient of the risk of the N-neuron network.
Results of a replica do not depend on which other replicas are computed with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.core import activations, pairs, quadrature
from mfpde.core.gradient import Room
from mfpde.core.ranks import Share
from mfpde.datalaws import target_values
from mfpde.errors import ConfigError
from mfpde.pairwise import pairwise_features, pairwise_gradient
from mfpde.problem import Network, Pairwise, Population, Problem, TwoGaussians
from mfpde.steppers.kernels import DOUBLE, Kernels

Array = NDArray[np.float64]
Loss = Literal["square", "logistic"]

# The Hermite expansion of a target stops where its tail is 1e-8 of its norm, at the latest at this degree, and is used
# if the tail is below 1e-4 there: the force then errs by that times the neuron's own coefficients of such a degree,
# which is orders below what any sampling of the data gives.
TARGET_DEGREE = 200
TARGET_CUT = 1e-8
TARGET_TAIL = 1e-4


@dataclass(frozen=True, eq=False)
class NodeLaw:
    """Weighted nodes in the full dimension: x [n, d], target [n], weights [n], sum 1.

    ``target`` is y for the square loss and the probability of the label +1 for the logistic one, so that a law of
    labels given x needs a node only once; ``offset`` is the part of the risk that no network can change.
    """

    x: Array
    target: Array
    weights: Array
    loss: Loss
    offset: float = 0.0


def node_values(law: NodeLaw, f: Array) -> Array:
    """l(f_q) averaged over the labels : [..., n]."""
    if law.loss == "square":
        return 0.5 * (f - law.target) ** 2
    return np.logaddexp(0.0, f) - law.target * f


def node_slopes(law: NodeLaw, f: Array) -> Array:
    """l'(f_q) averaged over the labels : [..., n]."""
    if law.loss == "square":
        return f - law.target
    return logistic(f) - law.target


def logistic(z: Array) -> Array:
    """1/(1 + exp(-z)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


class Force(Protocol):
    """``gradient`` writes grad Psi[rho^N] of theta [R, p, N] to out; ``observe`` measures each replica.

    observe(theta, reference) -> (risk [R], |f_N - f|^2 [R] or None); ``reference`` is what ``Guide.reference`` of the
    limit gives for this force, None without a limit.  Where the force is ``divisible``, both take a ``share``: theta
    and out then hold the particles of one rank, one replica at a time.
    """

    @property
    def description(self) -> str: ...
    @property
    def operations(self) -> Callable[[int], float]: ...
    @property
    def divisible(self) -> bool: ...
    def gradient(self, theta: Array, out: Array, share: Share | None = None) -> None: ...
    def observe(
        self, theta: Array, reference: Reference | None, share: Share | None = None
    ) -> tuple[Array, Array | None]: ...


@dataclass(frozen=True, eq=False)
class Reference:
    """The limit network at one time: ``values`` [n] at the nodes of the force, or, for pair kernels, its squared norm
    and the map theta [R, p, N] -> E f_N f [R]."""

    values: Array | None = None
    square: float = 0.0
    product: Callable[[Array], Array] | None = None


@dataclass(frozen=True, eq=False)
class NodeForce:
    """Sums over data nodes: exact for a data set, a quadrature for a population law."""

    description: str
    code: int
    hermite: Array
    scale: float
    law: NodeLaw
    kernels: Kernels = DOUBLE

    @property
    def divisible(self) -> bool:
        return self.kernels.divisible

    def predict(self, theta: Array, share: Share | None = None) -> Array:
        """f_N at the nodes : [R, n]."""
        f = np.empty((len(theta), len(self.law.target)))
        self.kernels.predict(self.code, self.hermite, theta, self._nodes, f, share)
        f *= self.scale
        return f

    @cached_property
    def _nodes(self) -> Any:
        return self.kernels.at(self.law.x)

    @cached_property
    def _room(self) -> Room:
        return Room()

    def _residual(self, f: Array) -> Array:
        """r_q of networks without their output scale : [R, n]."""
        r = node_slopes(self.law, self.scale * f)
        r *= self.scale * self.law.weights
        return r

    def gradient(self, theta: Array, out: Array, share: Share | None = None) -> None:
        self.kernels.gradient(self.code, self.hermite, theta, self._nodes, self._residual, out, self._room, share)

    def observe(
        self, theta: Array, reference: Reference | None, share: Share | None = None
    ) -> tuple[Array, Array | None]:
        f = self.predict(theta, share)
        risk = np.sum(self.law.weights * node_values(self.law, f), axis=-1) + self.law.offset
        if reference is None or reference.values is None:
            return risk, None
        return risk, np.sum(self.law.weights * (f - reference.values) ** 2, axis=-1)

    def operations(self, width: int) -> float:
        """Evaluations of a neuron on a node per gradient of one replica."""
        return 2.0 * width * len(self.law.target)


@dataclass(frozen=True, eq=False)
class PairForce:
    """Gaussian inputs in closed form: E f_N^2 = (scale/N)^2 sum_ij a_i a_j U(w_i, w_j), no sampling of the data.

    ``coefficients`` [K] are those of the target, y = sum_k t_k He_k(x_0)/sqrt(k!) + noise, and ``norm`` = E y^2.
    """

    description: str
    code: int
    hermite: Array
    scale: float
    coefficients: Array
    norm: float
    kernels: Kernels = DOUBLE

    @property
    def divisible(self) -> bool:
        return self.kernels.divisible

    def gradient(self, theta: Array, out: Array, share: Share | None = None) -> None:
        target = np.empty(theta.shape[1:])
        self.kernels.pair_forces(self.code, self.hermite, theta, out, share)
        for replica in range(len(theta)):
            pairs.target_force(self.code, self.hermite, self.coefficients, theta[replica], target)
            if self.scale != 1.0:
                out[replica] *= self.scale**2
                target *= self.scale
            out[replica] -= target

    def observe(
        self, theta: Array, reference: Reference | None, share: Share | None = None
    ) -> tuple[Array, Array | None]:
        theta = theta if share is None else share.whole(theta)
        square, correlation = np.empty(len(theta)), np.empty(len(theta))
        for replica, one in enumerate(theta):
            a, w = one[0], one[1:-1]
            square[replica] = self.scale**2 * self.kernels.pair_energy(self.code, self.hermite, a, w, share)
            correlation[replica] = self.scale * pairs.target_energy(self.code, self.hermite, self.coefficients, a, w)
        risk = 0.5 * square - correlation + 0.5 * self.norm
        if reference is None or reference.product is None:
            return risk, None
        return risk, square - 2.0 * reference.product(theta) + reference.square

    def operations(self, width: int) -> float:
        """Pairs of neurons per gradient of one replica."""
        return float(width) ** 2


@dataclass(frozen=True, eq=False)
class ExplicitForce:
    """An explicit interaction: theta [R, D, N], f_q = (1/N) sum_i phi_q(theta_i), r_q = weight_q f_q."""

    description: str
    model: Pairwise
    weights: Array
    divisible: bool = False  # sums over the particles are NumPy's, of a whole replica

    def means(self, theta: Array) -> Array:
        """f_q : [R, n]."""
        x = positions(theta)
        count, width, size = x.shape
        if self.model.interaction == "gaussian":
            # one replica at a time: a matrix product may round differently in another batch
            phi = np.stack([pairwise_features(self.model, one) for one in x])
        else:
            phi = pairwise_features(self.model, x.reshape(-1, size)).reshape(count, width, -1)
        return np.sum(np.ascontiguousarray(phi.transpose(0, 2, 1)), axis=2) / width

    def gradient(self, theta: Array, out: Array, share: Share | None = None) -> None:
        explicit_gradient(self.model, theta, self.weights * self.means(theta), out)

    def observe(
        self, theta: Array, reference: Reference | None, share: Share | None = None
    ) -> tuple[Array, Array | None]:
        f = self.means(theta)
        risk = 0.5 * np.sum(self.weights * f**2, axis=-1)
        if reference is None or reference.values is None:
            return risk, None
        return risk, np.sum((f - reference.values) ** 2, axis=-1)

    def operations(self, width: int) -> float:
        """Evaluations of a feature per gradient of one replica."""
        return 2.0 * width * len(self.weights)


def positions(theta: Array) -> Array:
    """[R, N, D] from theta [R, D, N]."""
    return np.ascontiguousarray(theta.transpose(0, 2, 1))


def explicit_gradient(model: Pairwise, theta: Array, r: Array, out: Array) -> None:
    """Gradient of V + sum_q r_q phi_q at theta [R, D, N], r [R, n] or [n], to out [R, D, N]."""
    x = positions(theta)
    r = np.broadcast_to(r, (len(x), r.shape[-1]))
    if model.interaction != "gaussian":
        out[...] = pairwise_gradient(model, x, r[:, None, :]).transpose(0, 2, 1)
        return
    for replica in range(len(x)):
        out[replica] = pairwise_gradient(model, x[replica], r[replica][None, :]).T


def full_dimension(problem: Problem) -> int:
    """d of the particles: that of the population law behind a reduction, else the number of inputs."""
    if isinstance(problem.model, Pairwise):
        return problem.model.dimension
    if problem.data.population is not None:
        return problem.data.population.dimension
    return len(problem.data.blocks)


def reduced(problem: Problem) -> bool:
    """Whether the nodes of the data law live in block coordinates and not in the full dimension."""
    return any(block > 1 for block in problem.data.blocks)


def activation_arguments(problem: Problem) -> tuple[int, Array]:
    """(code, Hermite coefficients) that the kernels take."""
    assert isinstance(problem.model, Network)
    return activations.CODES[problem.model.activation], problem.model.parameters


def data_nodes(problem: Problem) -> NodeLaw:
    """The nodes of a data law without reduction."""
    data = problem.data
    target = data.y if problem.loss == "square" else 0.5 * (1.0 + data.y)
    x = np.ascontiguousarray(data.x, dtype=np.float64)
    return NodeLaw(x, target, data.weights, problem.loss, data.offset)


def exact_force(problem: Problem, kernels: Kernels = DOUBLE) -> Force | None:
    """The force that needs no sampling of the data, if the problem has one: explicit, data nodes or pair kernels."""
    data = problem.data
    if isinstance(problem.model, Pairwise):
        return ExplicitForce("explicit interaction", problem.model, data.weights)
    code, hermite = activation_arguments(problem)
    scale = problem.model.scale
    if not reduced(problem):
        what = "data nodes" if data.population is None else "quadrature nodes"
        description = f"{len(data.y)} {what} in dimension {data.x.shape[1]}{kernels.description}"
        return NodeForce(description, code, hermite, scale, data_nodes(problem), kernels)
    if data.population is None:
        raise ConfigError("data.law", "has rotation blocks but no population law; particles need the full dimension")
    if isinstance(data.population, TwoGaussians):
        return None
    biased = any(c.group == "b" for c in problem.coordinates)
    if problem.loss != "square" or biased or problem.model.activation not in pairs.KERNELS:
        return None
    expansion = target_expansion(data.population)
    if expansion is None:
        return None
    coefficients, norm = expansion
    what = f"exact {problem.model.activation} pair kernel in dimension {data.population.dimension}"
    norm += data.population.noise**2
    return PairForce(what + kernels.description, code, hermite, scale, coefficients, norm, kernels)


def target_expansion(population: Population) -> tuple[Array, float] | None:
    """Hermite coefficients t_k of the target and E g^2; None if too large a tail remains beyond TARGET_DEGREE."""
    if population.target == "hermite":
        t = np.asarray(population.coefficients, float)
        return t, float(np.sum(t**2))
    nodes, weights = quadrature.gauss_hermite(400)
    g = target_values(population, nodes)
    t = quadrature.hermite_functions(2 * TARGET_DEGREE, nodes) @ (weights * g)
    norm = float(np.sum(weights * g**2))
    tail = np.sqrt(np.cumsum(t[::-1] ** 2)[::-1] / max(norm, 1e-300))
    if tail[TARGET_DEGREE] > TARGET_TAIL:
        return None
    below = np.flatnonzero(tail[:TARGET_DEGREE] <= TARGET_CUT)
    return t[: below[0] if len(below) else TARGET_DEGREE], norm
