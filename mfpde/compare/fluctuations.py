"""The constants of the fluctuations of N neurons about the limit, computed from the stationary measure on the grid.

With u = f_N - f_pi, S_w = scale^2 sum_k p_k Cov_k(phi) the covariance within the species of frozen parameters, S_b
that of their means, C = diag(|c|), L = diag(c l''(f_pi)), A = (I + S_w L/tau)^-1 and T = A S_w:

    N E|u|^2 of independent neurons                =  tr C (S_w + S_b)                    for every N
    N E|u|^2 at rest                               -> tr C T + tr C A S_b A^T             sum s/(1 + s/tau) if L = C
    N [(1/N) F^N_min - F]                          -> tau/2 log det(I + S_w L/tau) + 1/2 tr L A S_b
    KL(mu^{1:N} | pi^N) given the frozen values    -> (the last - 1/2 tr L (T + A S_b A^T)) / tau

For u = X + Y with X ~ N(0, S_w/N), and Y ~ N(0, S_b/N) frozen, has at rest the density exp(-N u.L u/(2 tau)) to that
of X; the tilt is exact for the square loss and the leading order for the logistic one. Derived here; the square loss
without frozen parameters is in docs/propagation-of-chaos.md.

Behind a symmetry reduction these are the fluctuations that are invariant under the rotations as well; networks in the
full dimension have others beside them (mfpde.theory.sectors).

Everything is in the coordinates sqrt(|c_q|) u_q and in the modes of S_w: far quadrature nodes weigh 1e-30, and S_w is
not inverted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from mfpde import problem as problems
from mfpde.errors import NumericalError
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]

# 1 + s/tau below this, up to round-off, is a direction that nothing holds back: that of a broken symmetry
SMALLEST_STIFFNESS = 1e-8


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """The four constants of this module, each of order N^0.

    ``iid_trace`` and ``propagation_of_chaos``: N E|f_N - f|^2 of independent neurons and at rest;
    ``log_determinant_gap``: N [(1/N) F^N_min - F]; ``relative_entropy``: KL(mu^{1:N} | pi^N) given the frozen values;
    ``eigenvalues`` [r], descending: s_i of S_w L, those that are zero left out, negative ones for an attraction.
    """

    iid_trace: float
    propagation_of_chaos: float
    log_determinant_gap: float
    relative_entropy: float
    eigenvalues: Array
    temperature: float


@dataclass(frozen=True, eq=False)
class Response:
    """S_w, S_b and L in the coordinates v_q = ``root``_q u_q, root = sqrt(|c|) [n].

    ``curvature`` [n]: sign(c) l''(f_pi); ``modes`` [n, r] with S_w = modes modes^T and modes^T L modes =
    diag(``eigenvalues``); ``between`` [K, n]: rows e_k with S_b = sum_k e_k e_k^T.
    """

    root: Array
    curvature: Array
    modes: Array
    eigenvalues: Array
    between: Array
    temperature: float

    def relaxed(self, v: Array) -> Array:
        """A v for rows v [..., n]: the part of a frozen fluctuation that the moving parameters leave."""
        # Woodbury: (I + m m^T L/tau)^-1 = I - m (tau + m^T L m)^-1 m^T L
        return v - ((v * self.curvature) @ self.modes / (self.temperature + self.eigenvalues)) @ self.modes.T

    def frozen_terms(self, v: Array) -> Array:
        """What a frozen fluctuation v [..., n] adds to N E|u|^2, to the gap and to the relative entropy : [..., 3]."""
        left = self.relaxed(v)
        gap = 0.5 * np.sum(v * self.curvature * left, axis=-1)
        energy = 0.5 * np.sum(left * self.curvature * left, axis=-1)
        return np.stack([np.sum(left**2, axis=-1), gap, (gap - energy) / self.temperature], axis=-1)


def fluctuations(table: Tabulated, rest: Stationary) -> Fluctuations:
    """The constants at the stationary state ``rest`` of the problem of ``table``.

    The tilted law of u is exact for the square loss and the leading order in 1/N for the logistic loss; weights c of
    either sign are allowed.  Raises NumericalError where the state is not a strict minimum: I + S_w L/tau is not
    positive definite, as for the symmetric state below a critical temperature, or where a symmetry is broken.
    """
    response = linear_response(table, rest)
    tau, s = response.temperature, response.eigenvalues
    within = np.sum(response.modes**2, axis=0)
    square, gap, entropy = np.sum(response.frozen_terms(response.between), axis=0)
    logs = np.log1p(s / tau)
    return Fluctuations(
        iid_trace=float(np.sum(within) + np.sum(response.between**2)),
        propagation_of_chaos=float(np.sum(within / (1.0 + s / tau)) + square),
        log_determinant_gap=float(0.5 * tau * np.sum(logs) + gap),
        relative_entropy=float(0.5 * np.sum(logs - s / (tau + s)) + entropy),
        eigenvalues=s,
        temperature=tau,
    )


def linear_response(table: Tabulated, rest: Stationary) -> Response:
    """The covariances and the curvature of the loss at ``rest``; raises NumericalError as ``fluctuations`` does."""
    problem, mass = table.problem, rest.measure.mass
    root = np.sqrt(np.abs(problem.data.weights))
    curvature = np.sign(problem.data.weights) * problems.loss_curvatures(problem, rest.f)
    variances, vectors = eigh(problem.scale**2 * root[:, None] * table.covariance(mass) * root)
    kept = variances > len(root) * np.finfo(float).eps * max(variances[-1], 0.0)
    modes = vectors[:, kept] * np.sqrt(variances[kept])
    s, turn = eigh(modes.T @ (curvature[:, None] * modes))
    stiffness = 1.0 + np.min(s, initial=0.0) / problem.temperature
    if stiffness < SMALLEST_STIFFNESS:
        raise NumericalError(
            f"the stationary state is not a strict minimum (the smallest eigenvalue of I + S L/temperature is"
            f" {stiffness:.3g}), so its fluctuations have no stationary size"
        )
    share = table.grid.species.probabilities
    between = root * (species_means(table, mass) - rest.f) * np.sqrt(share)[:, None]
    return Response(root, curvature, modes @ turn[:, ::-1], s[::-1], between, problem.temperature)


def species_means(table: Tabulated, mass: Array) -> Array:
    """scale E_k phi, the predictions of each species of a grid measure alone : [K, n]."""
    share = table.grid.species.probabilities
    means = np.empty((len(share), len(table.problem.data.y)))
    for k, p in enumerate(share):
        alone = np.zeros_like(mass)
        alone[k] = mass[k] / p
        means[k] = table.predict(alone)
    return means


def variance_trace(table: Tabulated, mass: Array) -> float:
    """scale^2 sum_q |c_q| Var(phi_q) under any grid measure: N E|f_N - f|^2 of N neurons drawn independently from it.

    ``mass`` [K, n_1, ..., n_D], total 1; the part between species is included.
    """
    c = np.abs(table.problem.data.weights)
    combine = table.coefficients
    # the amplitude squared makes collapse integrate a^2
    squared = replace(table, amplitude=table.amplitude**2).collapse(mass)
    gram = None if combine is None else (combine * c) @ combine.T
    total = 0.0
    for cells, phi in table.features.rows(0, len(squared)):
        weighted = phi * c if gram is None else phi @ gram
        total += float(squared[cells] @ np.einsum("ij,ij->i", weighted, phi, optimize=False))
    variance = table.problem.scale**2 * total - float(c @ table.predict(mass) ** 2)
    return max(variance, 0.0)  # a single point has none, but for round-off
