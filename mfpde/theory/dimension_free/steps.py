"""Neighbours in the chain from the limit to SGD, coupled: the same start, the same Brownian paths, the same data.

    independent neurons   theta' = -grad Psi(theta; rho_t)               each in the field of the limit
    particles             theta' = -grad Psi(theta; rho^N)               Heun's scheme, order 2 (noise: refined paths)
    gradient descent      theta^(k+1) = theta - 2 eps grad Psi(theta; rho^N)
    SGD                   the same with the gradient at one fresh sample

plus the noise sqrt(4 eps tau) of a positive temperature, in all four.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.core import noise, parallel
from mfpde.ensemble import Ensemble, EnsembleSettings, evolve_ensemble, prepare, step_count
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw
from mfpde.problem import Problem
from mfpde.steppers import particles
from mfpde.steppers.forces import Force, exact_force
from mfpde.theory.dimension_free.limit import Limit

Array = NDArray[np.float64]

# parts of a step of gradient descent in which the noisy particles beside it move
REFINEMENT = 8


@dataclass(frozen=True, eq=False)
class Pair:
    """Two neighbours at K times: difference of their risks, and mean over neurons of |theta - theta'|^2, [K, R]."""

    risk: Array
    displacement: Array


@dataclass(frozen=True, eq=False)
class Neurons:
    """N particles beside N independent neurons, [K, R]: the risk of the latter less that of the limit, in two parts

    (first order, of mean zero, and half the squared distance of the networks); the pair; and the whole error of the
    particles, R(particles) - R(limit).
    """

    width: int
    first_order: Array
    square: Array
    pair: Pair
    error: Array


def require_exact(problem: Problem) -> Force:
    """The force on particles without sampling of the data; ConfigError where there is none, or no square loss."""
    if problem.loss != "square":
        raise ConfigError("training.loss", f'is "{problem.loss}"; the four steps are measured for the square loss')
    force = exact_force(problem)
    if force is None:
        raise ConfigError(
            "network.activation",
            "has no exact gradient of the population risk: steps between gradient descents would drown in sampling",
            "data of full rank, or Gaussian inputs with erf, relu, quadratic, sin, identity or hermite and no bias",
        )
    return force


def neurons_beside(limit: Limit, step: float, seed: int) -> Ensemble:
    """Particles with synchronous copies in the field of the limit; width and replicas are those of ``measured``."""
    require_exact(limit.problem)
    settings = EnsembleSettings((1,), 1, step, seed=seed)
    return prepare(limit.problem, limit.law, settings, limit.drive, limit.bounds)


def measured(beside: Ensemble, limit: Limit, width: int, replicas: int) -> Neurons:
    """One width with so many replicas, along the times of the limit."""
    ensemble = replace(beside, settings=replace(beside.settings, widths=(width,), replicas=replicas))
    rows = []
    for snapshot, risk in zip(evolve_ensemble(ensemble, limit.times), limit.risk, strict=True):
        record, copies = snapshot.records[0], snapshot.state.copies
        assert copies is not None and record.function_error_iid is not None and record.coupling_error is not None
        independent = ensemble.force.observe(copies[width], None)[0]
        square = 0.5 * record.function_error_iid
        error = record.risk - risk
        rows.append((independent - risk - square, square, record.risk - independent, record.coupling_error, error))
    first, square, difference, displacement, error = (np.stack(row) for row in zip(*rows, strict=True))
    return Neurons(width, first, square, Pair(difference, displacement), error)


def descent_beside_particles(
    problem: Problem, law: InitialLaw, width: int, replicas: int, times: Array, step: float, seed: int
) -> Pair:
    """Gradient descent with ``step`` = 2 eps and the particles in continuous time, on common Brownian paths."""
    force, move = require_exact(problem), particles.motion(problem, True)
    key, parts = particles.width_seed(seed, width), REFINEMENT if move.noisy else 1

    def one(replica: int) -> tuple[Array, Array]:
        coarse = particles.draw(problem, law, width, range(replica, replica + 1), key)
        fine, done = coarse.copy(), 0
        risk, displacement = np.zeros(len(times)), np.zeros(len(times))

        def finest(k: int, out: Array) -> None:
            noise.normals(key, noise.BROWNIAN, replica, done * parts + k, out[0])

        def summed(k: int, out: Array) -> None:
            part, total = np.empty_like(out), np.zeros_like(out)
            for j in range(parts):
                finest(k * parts + j, part)
                total += part
            out[:] = total / np.sqrt(parts)

        for k in range(1, len(times)):
            span = float(times[k] - times[k - 1])
            count = step_count(span, step)
            for theta, normals, each, scheme in ((coarse, summed, 1, "euler"), (fine, finest, parts, "heun")):
                system = (theta, lambda own, _, out: force.gradient(own, out))
                size = span / (count * each)
                particles.integrate([system], normals, move, size, count * each, scheme)  # type: ignore[arg-type]
            done += count
            risk[k] = (force.observe(coarse, None)[0] - force.observe(fine, None)[0])[0]
            displacement[k] = mean_displacement(coarse, fine)[0]
        return risk, displacement

    found = parallel.collect(one, range(replicas))
    return Pair(np.stack([f[0] for f in found], axis=1), np.stack([f[1] for f in found], axis=1))


def sgd_beside_descent(
    problem: Problem,
    law: InitialLaw,
    width: int,
    replicas: int,
    times: Array,
    step: float,
    seed: int,
    batch: int = 1,
) -> Pair:
    """SGD on fresh samples and gradient descent with the same ``step`` = 2 eps and the same Brownian numbers."""
    require_exact(problem)
    settings = EnsembleSettings((width,), replicas, step, scheme="euler", coupling="independent", seed=seed)
    runs = [
        evolve_ensemble(prepare(problem, law, one), times)
        for one in (replace(settings, dynamics="sgd", batch=batch), settings)
    ]
    risk, displacement = [], []
    for stochastic, plain in zip(*runs, strict=True):
        risk.append(stochastic.records[0].risk - plain.records[0].risk)
        displacement.append(mean_displacement(stochastic.state.theta[width], plain.state.theta[width]))
    return Pair(np.stack(risk), np.stack(displacement))


def mean_displacement(one: Array, other: Array) -> Array:
    """(1/N) sum_i |theta_i - theta'_i|^2 of each replica: theta [R, p, N] -> [R]."""
    return np.asarray(np.sum((one - other) ** 2, axis=(1, 2)) / one.shape[2])
