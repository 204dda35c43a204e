"""Population laws by samples: scrambled quasi-random nodes with an error estimate, and fresh mini-batches.

x ~ N(0, I_d), y = g(x_0) + noise, or, for the logistic loss, P(y = +1 | x) = 1/(1 + exp(-g(x_0))).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mfpde.core import noise, quadrature, stochastic_gradient
from mfpde.core.ranks import Share
from mfpde.datalaws import stretch, target_values
from mfpde.problem import DataLaw, Population, Problem, TwoGaussians
from mfpde.steppers.forces import NodeForce, NodeLaw, activation_arguments, logistic, node_slopes
from mfpde.steppers.kernels import DOUBLE, Kernels
from mfpde.steppers.particles import Motion

Array = NDArray[np.float64]

# random numbers of samples drawn at once, for many steps
NUMBERS = 1 << 20
# degree of the Hermite expansion in x_0 by which a limit network is carried from block coordinates to R^d
PROJECTION_DEGREE = 40


@dataclass(frozen=True)
class IntegrationError:
    """Relative difference between two independent scramblings, of the risk and (root mean square) of the drift."""

    risk: float
    drift: float


def sobol_law(problem: Problem, count: int, seed: int) -> NodeLaw:
    """Scrambled Sobol nodes, mapped to the Gaussian law by its quantile; ``count`` is rounded up to a power of 2."""
    population = problem.data.population
    assert population is not None
    two = isinstance(population, TwoGaussians)
    # two Gaussians take every point once with each label
    power = max(0, int(np.ceil(np.log2(count))) - two)
    from scipy.stats import qmc  # a quarter of a second, and few studies need it

    generator = qmc.Sobol(population.dimension, scramble=True, rng=np.random.default_rng(seed))
    # points lie in [0, 1); half of the finest cell keeps the quantile finite
    u = generator.random_base2(power) + 2.0**-54
    x = np.ascontiguousarray(ndtri(np.clip(u, 2.0**-54, 1.0 - 2.0**-53)))
    if isinstance(population, TwoGaussians):
        labels = np.repeat([1.0, -1.0], len(x))
        x = np.concatenate([stretch(population, x, label) for label in (1, -1)])
        target = labels if problem.loss == "square" else 0.5 * (1.0 + labels)
        return NodeLaw(x, target, np.full(len(x), 1.0 / len(x)), problem.loss, problem.data.offset)
    g = target_values(population, x[:, 0])
    target = g if problem.loss == "square" else logistic(g)
    return NodeLaw(x, target, np.full(len(x), 1.0 / len(x)), problem.loss, problem.data.offset)


def sobol_force(problem: Problem, count: int, seed: int, kernels: Kernels = DOUBLE) -> NodeForce:
    """The force of quasi-random nodes."""
    law = sobol_law(problem, count, seed)
    code, hermite = activation_arguments(problem)
    what = f"{len(law.target)} scrambled Sobol nodes in dimension {law.x.shape[1]}{kernels.description}"
    return NodeForce(what, code, hermite, problem.scale, law, kernels)


def integration_error(
    problem: Problem, count: int, seed: int, theta: Array, kernels: Kernels = DOUBLE
) -> IntegrationError:
    """Difference of two scramblings at theta [R, p, N], over sqrt(2): an estimate of the error of either."""
    one, two = (sobol_force(problem, count, seed + shift, kernels) for shift in (0, 1))
    risks = [force.observe(theta, None)[0] for force in (one, two)]
    drifts = []
    for force in (one, two):
        out = np.empty_like(theta)
        force.gradient(theta, out)
        drifts.append(out[:, :-1])
    root = np.sqrt(0.5)
    risk = root * float(np.mean(np.abs(risks[0] - risks[1])) / max(float(np.mean(risks[0])), 1e-300))
    size = max(float(np.sqrt(np.mean(drifts[0] ** 2))), 1e-300)
    return IntegrationError(risk, root * float(np.sqrt(np.mean((drifts[0] - drifts[1]) ** 2))) / size)


def carry_to_nodes(data: DataLaw, f: Array, x: Array) -> Array:
    """A rotation-invariant function known at the nodes of the reduced law, f [n], at points x [m, d] : [m].

    Projection on Hermite(x_0) times Laguerre(|x_rest|^2 / 2), the orthonormal polynomials of the Gaussian law in block
    coordinates; the coefficients come from the same quadrature.
    """
    block = data.blocks[1]
    radial = len(np.unique(data.x[:, 1]))
    alpha = 0.5 * block - 1.0
    first = quadrature.hermite_functions(PROJECTION_DEGREE, data.x[:, 0])
    second = quadrature.laguerre_functions(radial - 1, alpha, 0.5 * data.x[:, 1] ** 2)
    coefficients = np.einsum("q,kq,lq->kl", data.weights * f, first, second, optimize=False)
    rest = 0.5 * np.sum(x[:, 1:] ** 2, axis=1)
    inner = np.einsum("kl,lm->km", coefficients, quadrature.laguerre_functions(radial - 1, alpha, rest), optimize=False)
    return np.sum(inner * quadrature.hermite_functions(PROJECTION_DEGREE, x[:, 0]), axis=0)


@dataclass(frozen=True, eq=False)
class BatchForce:
    """The gradient on ``batch`` fresh samples in every step: from the population law, or nodes drawn by their weights.

    Samples are functions of (seed, replica, step).
    """

    problem: Problem
    batch: int
    code: int
    hermite: Array
    nodes: NodeLaw | None
    cumulative: Array
    kernels: Kernels = DOUBLE

    @property
    def description(self) -> str:
        source = "the population law" if self.nodes is None else f"{len(self.nodes.target)} data nodes"
        return f"mini-batches of {self.batch} fresh samples from {source}{self.kernels.description}"

    @property
    def fused(self) -> bool:
        """Whether ``advance`` can run: few samples a step, in double precision on the processor."""
        return self.batch <= stochastic_gradient.LARGEST_BATCH and self.kernels == DOUBLE

    @property
    def divisible(self) -> bool:
        """Whether it can work on a share of the particles; the fused kernel moves whole networks."""
        return self.kernels.divisible and not self.fused

    def samples(self, seed: np.uint64, replica: int, step: int, count: int) -> tuple[Array, Array]:
        """Inputs [count, batch, d] and targets [count, batch] of one replica in ``count`` steps from ``step`` on."""
        if self.nodes is not None:
            u = np.empty((1, self.batch, count))
            noise.uniforms_by_step(seed, noise.DATA, replica, step, u)
            index = np.minimum(np.searchsorted(self.cumulative, u[0].T), len(self.cumulative) - 1)
            return self.nodes.x[index], self.nodes.target[index]
        population = self.problem.data.population
        assert population is not None
        z = np.empty((population.dimension + 1, self.batch, count))
        noise.normals_by_step(seed, noise.DATA, replica, step, z)
        if isinstance(population, TwoGaussians):
            label = np.where(z[-1] > 0.0, 1.0, -1.0)
            z[: population.informative] *= 1.0 + population.separation * label
            y = label if self.problem.loss == "square" else 0.5 * (1.0 + label)
        else:
            y = _labels(population, self.problem.loss, z[0], z[-1])
        return np.ascontiguousarray(z[:-1].transpose(2, 1, 0)), np.ascontiguousarray(y.T)

    def draw(self, seed: np.uint64, replica: int, step: int) -> NodeLaw:
        """The mini-batch of one replica and step."""
        x, target = self.samples(seed, replica, step, 1)
        return NodeLaw(x[0], target[0], np.full(self.batch, 1.0 / self.batch), self.problem.loss)

    def advance(self, theta: Array, seed: np.uint64, first: int, step: int, sizes: Array, move: Motion) -> None:
        """Move theta [R, p, N], replicas first, first + 1, …, in place by steps of ``sizes`` [K], the first ``step``.

        What ``gradient`` with Euler's scheme does, fused (core.stochastic_gradient); only where ``fused``.
        """
        rates, decays, sigmas = (_by_group(move.rows, v, theta.shape[1]) for v in (move.rate, move.decay, move.sigma))
        descent = stochastic_gradient.Descent(
            self.problem.scale, self.problem.loss == "logistic", rates, decays, sigmas
        )
        at_once = NUMBERS // (self.batch * theta.shape[1]) // stochastic_gradient.NODES * stochastic_gradient.NODES
        for begin in range(0, len(sizes), max(stochastic_gradient.NODES, at_once)):
            part = sizes[begin : begin + max(stochastic_gradient.NODES, at_once)]
            for k, one in enumerate(theta):
                x, target = self.samples(seed, first + k, step + begin, len(part))
                stochastic_gradient.advance(
                    self.code, self.hermite, one, x, target, part, descent, seed, first + k, step + begin
                )

    def gradient(
        self, theta: Array, seed: np.uint64, first: int, step: int, out: Array, share: Share | None = None
    ) -> None:
        """Gradient at theta [R, p, N], replicas first, first + 1, …, or at the particles of a share of each."""
        scale, f = self.problem.scale, np.empty((1, self.batch))
        for k in range(len(theta)):
            law, one = self.draw(seed, first + k, step), theta[k : k + 1]
            self.kernels.predict(self.code, self.hermite, one, law.x, f, share)
            r = scale * law.weights * node_slopes(law, scale * f)
            self.kernels.pullback(self.code, self.hermite, one, law.x, r, out[k : k + 1])

    def operations(self, width: int) -> float:
        """Evaluations of a neuron on a sample per gradient of one replica."""
        return 2.0 * width * self.batch


def batch_force(problem: Problem, batch: int, nodes: NodeLaw | None, kernels: Kernels = DOUBLE) -> BatchForce:
    """``nodes`` None samples the population law of the problem."""
    code, hermite = activation_arguments(problem)
    cumulative = np.zeros(0) if nodes is None else np.cumsum(nodes.weights)
    return BatchForce(problem, batch, code, hermite, nodes, cumulative, kernels)


def _by_group(rows: NDArray[np.int64], values: Array, count: int) -> Array:
    """Values of the groups a, w, b from those of the moving rows; 0 for a group that rests : [3]."""
    found = np.zeros(3)
    for row, value in zip(rows, values, strict=True):
        found[0 if row == 0 else 2 if row == count - 1 else 1] = value
    return found


def _labels(population: Population, loss: str, x0: Array, xi: Array) -> Array:
    """y for the square loss, the label (y + 1)/2 for the logistic one, from x_0 and standard normals xi."""
    g = target_values(population, x0)
    if loss == "square":
        return g + population.noise * xi
    return np.where(ndtr(xi) < logistic(g), 1.0, 0.0)
