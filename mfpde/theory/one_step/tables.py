"""The conditional Gaussian equivalence: what the features and the target are, given the spike projection kappa.

    phi_i | kappa, z  =  mu0 + mu1 (t_i kappa + s_i z) + nu delta_i + mu1 sqrt(c) <w_i, x_bulk> + mu2 xi_i,

with z the component of x along zeta and xi_i independent normal numbers; for every group, with h = r kappa,

    mu0 = E sigma(h + sqrt(c) xi),   mu1 = E sigma',   nu = E sigma'' / 2,   mu2^2 = Var sigma - c mu1^2,

and for the target  E[y | kappa], E[z y | kappa], E[y^2 | kappa].  Derivatives enter by Stein's lemma, so that kinks
cost nothing.  Source: the authors' code of Cui et al. (2024); the term nu delta_i: docs/one-step.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.theory.one_step.averages import expand, spike_rule
from mfpde.theory.one_step.model import SpikedFeatures

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """mu0, mu1, nu and mu2^2 of K groups at N values of kappa : [K, N] each."""

    mu0: Array
    mu1: Array
    nu: Array
    mu2_squared: Array


@dataclass(frozen=True, eq=False)
class TargetMoments:
    """E[y | kappa], E[z y | kappa] and E[y^2 | kappa], label noise included in the last : [N] each."""

    mean: Array
    slope: Array
    square: Array


@dataclass(frozen=True, eq=False)
class Table:
    """A model tabulated on the rule for kappa (``kappa``, ``weights`` [N]): all that the solvers integrate.

    ``shares``, ``bulks`` [K] and ``loadings`` [K, 3, 3] repeat the groups.  ``pairs`` [2, P] numbers the pairs g <= h
    of groups, P = K (K + 1) / 2; ``basis`` [P + K, N] holds mu1_g mu1_h by pair, then mu2_g^2, and ``multiplicity``
    [P + K] is 2 for pairs g < h: the variance of a prediction given kappa is sum_i multiplicity_i basis_i x_i.
    ``columns`` [4, K, N] are the coefficients of what is learned along m, t, s, delta; the one of s multiplies z.
    """

    model: SpikedFeatures
    kappa: Array
    weights: Array
    features: FeatureMoments
    target: TargetMoments
    shares: Array
    bulks: Array
    loadings: Array
    pairs: NDArray[np.intp]
    basis: Array
    multiplicity: Array
    columns: Array


def tabulate(model: SpikedFeatures) -> Table:
    """Everything about a model that does not depend on the number of samples, the ridge or the loss."""
    groups = model.layer.groups
    steepness = max(abs(group.spike) / np.sqrt(group.bulk) for group in groups)
    kappa, weights = spike_rule(model.target, model.layer.alignment, steepness)
    features = feature_moments(model, kappa)
    pairs = np.array(np.triu_indices(len(groups)))
    basis = np.concatenate([features.mu1[pairs[0]] * features.mu1[pairs[1]], features.mu2_squared])
    multiplicity = np.concatenate([np.where(pairs[0] == pairs[1], 1.0, 2.0), np.ones(len(groups))])
    return Table(
        model,
        kappa,
        weights,
        features,
        target_moments(model, kappa),
        np.array([group.share for group in groups]),
        np.array([group.bulk for group in groups]),
        np.stack([group.loadings for group in groups]),
        pairs,
        basis,
        multiplicity,
        np.stack([features.mu0, kappa * features.mu1, features.mu1, features.nu]),
    )


def feature_moments(model: SpikedFeatures, kappa: Array) -> FeatureMoments:
    """mu0, mu1, nu, mu2^2 of every group at ``kappa`` [N]."""
    mu0, mu1, nu, mu2_squared = [], [], [], []
    for group in model.layer.groups:
        part = expand(model.student, group.spike * kappa, float(np.sqrt(group.bulk)))
        mu0.append(part.constant)
        mu1.append(part.linear / np.sqrt(group.bulk))
        nu.append(0.5 * part.quadratic / group.bulk)
        mu2_squared.append(part.remainder)
    return FeatureMoments(np.stack(mu0), np.stack(mu1), np.stack(nu), np.stack(mu2_squared))


def target_moments(model: SpikedFeatures, kappa: Array) -> TargetMoments:
    """Moments of the label given ``kappa`` [N]: y = g(gamma kappa + sqrt(1 - gamma^2) z) + noise."""
    gamma = model.layer.alignment
    part = expand(model.target, gamma * kappa, float(np.sqrt(max(0.0, 1.0 - gamma**2))))
    square = part.constant**2 + part.linear**2 + part.remainder + model.noise**2
    return TargetMoments(part.constant, part.linear, square)
