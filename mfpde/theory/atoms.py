"""Atoms of a long-time measure: clusters of amplitude, made one modulo symmetry, refitted and pruned; their widths.

At temperature tau > 0 the stationary measure has a positive density: what is sparse is where its amplitude sits.  A
cluster is what climbs to one mode of |a| rho.  Near a minimum of Psi the stationary measure is Gaussian with covariance
tau (Hess Psi)^(-1), so that widths fall like sqrt(tau) and the number of clusters settles as tau -> 0 (docs/theory.md;
mfpde's reading of arXiv:2605.24710, the article's text was not available).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.compare.rates import Rate, fit_rate
from mfpde.core import activations
from mfpde.errors import ConfigError, NumericalError
from mfpde.measures import GridMeasure, ParticleMeasure
from mfpde.problem import Problem
from mfpde.tabulate import tabulate
from mfpde.theory.clusters import Cluster, apart, clusters, network_of, parameters
from mfpde.theory.ridge import Atoms, network, neurons

Array = NDArray[np.float64]

# clusters with less than this share of the largest contribution |A| |sigma| are pruned unless a threshold is given
PRUNED = 0.02
_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class MeasureAtoms:
    """S_hat = len(atoms.a) atoms of a measure, amplitudes refitted so that sum a sigma is nearest to its function.

    amplitudes [S] before the refit, scale int a drho over each cluster; probabilities [S]; centers [S, p] and
    covariances [S, p, p] of the moving coordinates ``names``; ``threshold`` on |A| |sigma|; ``explained`` the share of
    int |a| drho in the clusters kept; ``misfit`` |f_atoms - f|/|f| in L2 of the data law.
    """

    atoms: Atoms
    names: tuple[str, ...]
    amplitudes: Array
    probabilities: Array
    centers: Array
    covariances: Array
    threshold: float
    explained: float
    misfit: float


@dataclass(frozen=True, eq=False)
class ZeroTemperature:
    """Atoms at falling temperatures [T]: ``counts`` [T] of S_hat, ``widths`` [T, S] of those present at all of them.

    A width is the root mean square over the moving coordinates; ``laplace`` [T, S] the same of tau (Hess Psi)^(-1);
    ``rates`` the fits width ~ tau^slope per atom, expected slope 1/2; ``atoms`` those of the lowest temperature.
    """

    temperatures: Array
    counts: NDArray[np.intp]
    widths: Array
    laplace: Array
    rates: tuple[Rate, ...]
    atoms: Atoms


def atoms_of_measure(
    problem: Problem,
    measure: GridMeasure | ParticleMeasure,
    bandwidth: float | None = None,
    threshold: float | None = None,
) -> MeasureAtoms:
    """Clusters of ``measure`` as atoms of the network: found, joined modulo sign, refitted on the data nodes, pruned.

    ``bandwidth`` (default sqrt(tau/lambda), lambda the smallest decay of moving weights and biases) is how close two
    clusters are one; ``threshold`` how much |A| |sigma| an atom needs (default PRUNED of the largest).  ConfigError for
    an explicit interaction, for block radii, whose measures are no atoms, or where no bandwidth follows from the study.
    """
    model = network_of(problem)
    bandwidth = _bandwidth(problem) if bandwidth is None else bandwidth
    f = _function(problem, measure)
    found = clusters(problem, measure, bandwidth)
    if not found:
        raise NumericalError("the measure carries no amplitude: there is no cluster to take for an atom")
    atoms = _refitted(problem, found, f)
    sizes = np.abs(atoms.a) * np.sqrt(problem.data.weights @ _features(problem, atoms) ** 2)
    limit = PRUNED * float(sizes.max()) if threshold is None else threshold
    kept = [cluster for cluster, size in zip(found, sizes, strict=True) if size > limit]
    atoms = _refitted(problem, kept, f)
    missed = network(model.activation, atoms, problem.data.x, model.hermite) - f
    total = float(np.sum(measure.weights * np.abs(measure.atoms[:, list(measure.names).index("a")])))
    p = len(problem.moving)
    return MeasureAtoms(
        atoms,
        tuple(c.name for c in problem.moving),
        np.array([c.amplitude for c in kept]),
        np.array([c.probability for c in kept]),
        np.array([c.center for c in kept]).reshape(-1, p),
        np.array([c.covariance for c in kept]).reshape(-1, p, p),
        limit,
        sum(c.size for c in kept) / total,
        float(np.sqrt(problem.data.weights @ missed**2 / np.maximum(problem.data.weights @ f**2, 1e-300))),
    )


def zero_temperature_limit(
    problem: Problem, temperatures: Sequence[float], measures: Sequence[GridMeasure | ParticleMeasure]
) -> ZeroTemperature:
    """Widths and numbers of atoms over stationary measures at several temperatures, and the power law of each width.

    Atoms are followed from the lowest temperature upwards to the nearest one of the next.  ConfigError for fewer than
    two temperatures or one that is not positive.
    """
    if len(temperatures) < 2 or len(temperatures) != len(measures) or min(temperatures) <= 0.0:
        raise ConfigError(
            "temperatures",
            f"are {list(temperatures)} for {len(measures)} measures; two or more positive"
            " ones with a measure each are needed",
        )
    order = np.argsort(temperatures)
    studies = [replace(problem, temperature=float(temperatures[k])) for k in order]
    found = [atoms_of_measure(study, measures[k]) for study, k in zip(studies, order, strict=True)]
    widths, laplace = np.full((2, len(found), len(found[0].atoms.a)), np.nan)
    for s in range(widths.shape[1]):
        w, b = found[0].atoms.w[s], found[0].atoms.b[s]
        for t, (study, one, k) in enumerate(zip(studies, found, order, strict=True)):
            if not len(one.atoms.a):
                break
            near = int(np.argmin([apart(problem, w, b, v, c)[0] for v, c in zip(one.atoms.w, one.atoms.b)]))
            w, b = one.atoms.w[near], one.atoms.b[near]
            p = len(one.names)
            widths[t, s] = np.sqrt(np.trace(one.covariances[near]) / p)
            predicted = laplace_covariance(study, _function(study, measures[k]), _full(study, one, near))
            laplace[t, s] = np.sqrt(np.trace(predicted) / p)
    present = ~np.any(np.isnan(widths), axis=0)
    taus = np.array([study.temperature for study in studies])
    rates = tuple(fit_rate(taus, list(column)) for column in widths.T[present])
    counts = np.array([len(one.atoms.a) for one in found])
    return ZeroTemperature(taus, counts, widths[:, present], laplace[:, present], rates, found[0].atoms)


def laplace_covariance(problem: Problem, f: Array, theta: Array) -> Array:
    """tau (Hess Psi)^(-1) over the moving coordinates at the minimum of Psi near ``theta`` [p of all coordinates].

    Psi = scale sum_q r_q a sigma(<w, x_q> + b) + V for predictions f [n]; a few Newton steps reach the minimum.
    NumericalError where the Hessian is not positive there.
    """
    model = network_of(problem)
    theta = theta.copy()
    moving = np.array([c.trained for c in problem.coordinates])
    decay = np.array([c.weight_decay for c in problem.coordinates])
    names = [c.name for c in problem.coordinates]
    r = model.scale * problems.residual(problem, f)
    x = _with_bias(problem, problem.data.x)
    for _ in range(20):
        a, rest = theta[names.index("a")], np.array([theta[k] for k, n in enumerate(names) if n != "a"])
        z = x @ rest
        value, slope = (g(model.activation, z, model.hermite) for g in (activations.evaluate, activations.derivative))
        above, below = (activations.derivative(model.activation, z + s, model.hermite) for s in (_STEP, -_STEP))
        gradient, hessian = decay * theta, np.diag(decay)
        here, others = names.index("a"), [k for k, n in enumerate(names) if n != "a"]
        gradient[here] += r @ value
        gradient[others] += a * (r * slope) @ x
        mixed = (r * slope) @ x
        hessian[here, others] += mixed
        hessian[others, here] += mixed
        hessian[np.ix_(others, others)] += a * (x * (r * (above - below) / (2.0 * _STEP))[:, None]).T @ x
        hessian = hessian[np.ix_(moving, moving)]
        if np.linalg.eigvalsh(hessian)[0] <= 0.0:
            raise NumericalError("Psi has no minimum where the cluster is: its Hessian there is not positive")
        theta[moving] -= np.linalg.solve(hessian, gradient[moving])
    return np.asarray(problem.temperature * np.linalg.inv(hessian))


def _bandwidth(problem: Problem) -> float:
    decays = [c.weight_decay for c in problem.moving if c.group != "a" and c.weight_decay > 0.0]
    if not decays or problem.temperature <= 0.0:
        raise ConfigError(
            "bandwidth",
            "does not follow from the study, which has no temperature or no weight decay of moving weights; give it",
        )
    return float(np.sqrt(problem.temperature / min(decays)))


def _with_bias(problem: Problem, x: Array) -> Array:
    """x [n, d], and a column of ones if the neurons have a bias."""
    return np.column_stack([x, np.ones(len(x))]) if any(c.group == "b" for c in problem.coordinates) else x


def _function(problem: Problem, measure: GridMeasure | ParticleMeasure) -> Array:
    """f of the measure at the nodes : [n]."""
    if isinstance(measure, GridMeasure):
        return tabulate(problem, measure.grid).predict(measure.mass)
    model = network_of(problem)
    a, w, b = parameters(problem, measure.names, measure.atoms)
    return network(model.activation, Atoms(model.scale * a * measure.weights, w, b), problem.data.x, model.hermite)


def _features(problem: Problem, atoms: Atoms) -> Array:
    model = network_of(problem)
    return neurons(model.activation, atoms, problem.data.x, model.hermite)


def _refitted(problem: Problem, found: list[Cluster], f: Array) -> Atoms:
    """Neurons at the clusters with the amplitudes whose function is nearest to f [n]."""
    d = problem.data.x.shape[1]
    atoms = Atoms(
        np.zeros(len(found)),
        np.array([c.w for c in found]).reshape(-1, d),
        np.array([c.b for c in found]),
    )
    root = np.sqrt(problem.data.weights)
    a = np.asarray(np.linalg.lstsq(root[:, None] * _features(problem, atoms), root * f, rcond=1e-12)[0], np.float64)
    return replace(atoms, a=a)


def _full(problem: Problem, found: MeasureAtoms, s: int) -> Array:
    """All coordinates of cluster s, the frozen output weight as it is on average."""
    values = dict(zip(found.names, found.centers[s], strict=True))
    values.setdefault("a", found.amplitudes[s] / (problem.scale * found.probabilities[s]))
    index = iter(found.atoms.w[s])
    rest = {c.name: next(index) for c in problem.coordinates if c.group == "w"} | {"b": found.atoms.b[s]}
    return np.array([values.get(c.name, rest.get(c.name, 0.0)) for c in problem.coordinates])
