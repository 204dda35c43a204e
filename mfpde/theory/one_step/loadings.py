"""What a readout learns: its overlaps with the loadings of the neurons, from a linear system of size 4 K.

The prediction given kappa and z has the mean A(kappa) + z B(kappa),

    A = sum_g m_g mu0_g + theta_g kappa mu1_g + tau_g nu_g,     B = sum_g psi_g mu1_g,

and x = (m, theta, psi, tau) follows from G_jk = E[C_j C_k w], R_j = E[C_j y w] with the weight w of a sample, n / p
times 1 / (1 + V) for the square loss: in the directions t, s, delta, whose size is a free choice of the ridge, x =
beta V2 Gamma xhat with xhat = R - G x; the direction m costs nothing, hence xhat_m = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.theory.one_step.model import SpikedFeatures
from mfpde.theory.one_step.tables import Table, feature_moments

Array = NDArray[np.float64]

# the row of C that multiplies z, and the pairs of rows whose product has an average
_ALONG_ZETA = 2
_SAME_PARITY = np.array([[float((j == _ALONG_ZETA) == (k == _ALONG_ZETA)) for k in range(4)] for j in range(4)])
# singular values below this share of the largest are directions that do not exist: mu0 = 0, or groups with one mu0
_NO_DIRECTION = 1e-13


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What the readout has learned, by group [K].

    ``mean`` m = sum a_i / sqrt(p); ``spike`` theta, ``orthogonal`` psi, ``norm`` tau: sqrt(d / p) times the overlaps of
    a with the loadings t, s and delta.
    """

    mean: Array
    spike: Array
    orthogonal: Array
    norm: Array


def normal_equations(table: Table, density: Array, mean: Array, along: Array) -> tuple[Array, Array]:
    """G = sum C C density : [4 K, 4 K], R = sum C ``mean`` (sum C ``along`` for s) : [4 K], unknowns m, t, s, delta.

    The sums run over kappa: ``density`` [N] is w times the weights of the rule, ``mean`` and ``along`` [N] are the
    averages of y and of z y, times density; or of a force and of z times it, times the weights of the rule.
    """
    size = len(table.shares)
    columns = table.columns.reshape(4 * size, -1)
    gram = (columns * density) @ columns.T * np.kron(_SAME_PARITY, np.ones((size, size)))
    drive = np.stack([part @ (along if j == _ALONG_ZETA else mean) for j, part in enumerate(table.columns)]).reshape(-1)
    return gram, drive


def solve_loadings(table: Table, gram: Array, drive: Array, gains: Array, total: float) -> tuple[Overlaps, Array]:
    """Overlaps x and forces xhat [4, K] for V2 = ``gains`` [K] and the sum ``total`` of the density.

    A direction that does not exist gets the overlap 0; identical groups share theirs equally.
    """
    size = len(table.shares)
    response = np.zeros((4, size, 4, size))
    for g in range(size):
        response[1:, g, 1:, g] = table.model.width_ratio * gains[g] * table.loadings[g]
    flat = response.reshape(4 * size, 4 * size)
    system = flat @ gram + np.eye(4 * size)
    right = flat @ drive
    system[:size], right[:size] = gram[:size] / total, drive[:size] / total
    x = np.linalg.lstsq(system, right, rcond=_NO_DIRECTION)[0]
    return Overlaps(*x.reshape(4, size)), (drive - gram @ x).reshape(4, size)


def loading_noise(table: Table, forces: Array) -> Array:
    """beta xhat Gamma xhat of every group in its place among the conjugates [P + K] of the noise overlaps."""
    own = np.einsum("jg,gjk,kg->g", forces[1:], table.loadings, forces[1:])
    return np.concatenate([np.zeros(table.pairs.shape[1]), table.model.width_ratio * own])


def predictor(table: Table, overlaps: Overlaps) -> tuple[Array, Array]:
    """A and B [N] on the rule for kappa."""
    mu0, along, across, nu = table.columns
    return overlaps.mean @ mu0 + overlaps.spike @ along + overlaps.norm @ nu, overlaps.orthogonal @ across


def learned_function(model: SpikedFeatures, overlaps: Overlaps, kappa: Array) -> tuple[Array, Array]:
    """E[yhat | kappa] and the slope of yhat along zeta at any ``kappa`` [M], by the overlaps of a readout."""
    moments = feature_moments(model, kappa)
    learned = overlaps.mean @ moments.mu0 + overlaps.spike @ (kappa * moments.mu1) + overlaps.norm @ moments.nu
    return learned, overlaps.orthogonal @ moments.mu1
