"""The linearised flow: residuals decay mode by mode, and every way to stop or to decay is a filter of the spectrum.

On data nodes x_q of weights c_q (1/n for a data set), u = y - f, C = diag(c), H the kernel at time zero:

    u' = -H C u - mu (u - u_0),      C^(1/2) H C^(1/2) = Q diag(lambda) Q^T,
    f(z; t) = f_0(z) + h(z)^T C^(1/2) Q diag(g_t(lambda)/lambda) Q^T C^(1/2) u_0,
    g_t(lambda) = lambda/(lambda + mu) (1 - exp(-(lambda + mu) t)).

mu = 0: early stopping is the filter 1 - exp(-lambda t), and for t to infinity f = h^T H^+ u_0, interpolation without
a ridge (Mei, Misiakiewicz, Montanari 2019, proposition 57; the part of u_0 in the null space of H stays, lemma 7).
mu > 0: decay of the weights towards their values at time zero; exactly the ridge regression
min sum_q c_q (y_q - f(x_q))^2 + mu |f|_H^2 as t to infinity. Not in the article; derived in docs/kernel-limit.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import NumericalError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """C^(1/2) H C^(1/2) = modes diag(eigenvalues) modes^T.

    eigenvalues [n], falling, none negative; modes [n, n], one per column; roots [n] = sqrt(c). Modes up to ``rank``
    have eigenvalues above ``tolerance``; the others count as the null space of H in the limit of infinite time.
    ``lowest`` is the smallest eigenvalue before negative round-off was cut.
    """

    eigenvalues: Array
    modes: Array
    roots: Array
    tolerance: float
    lowest: float

    @property
    def rank(self) -> int:
        """Number of eigenvalues above the tolerance."""
        return int(np.count_nonzero(self.eigenvalues > self.tolerance))

    @property
    def condition(self) -> float:
        """Largest eigenvalue over the smallest that counts."""
        return float(self.eigenvalues[0] / self.eigenvalues[max(self.rank - 1, 0)]) if self.rank else np.inf


def decompose(kernel: Array, weights: Array, tolerance: float | None = None) -> Spectrum:
    """Spectrum of a kernel matrix [n, n] on nodes of weights [n].

    ``tolerance`` relative to the largest eigenvalue; by default n times the round-off, as for a matrix rank.
    NumericalError if the matrix is not positive semi-definite up to 1e-10 of its largest eigenvalue.
    """
    roots = np.sqrt(weights)
    symmetric = 0.5 * (kernel + kernel.T) * np.outer(roots, roots)
    values, modes = np.linalg.eigh(symmetric)
    order = np.argsort(values)[::-1]
    values, modes = values[order], modes[:, order]
    largest = max(float(values[0]), 0.0)
    if not float(values[-1]) >= -1e-10 * largest:
        raise NumericalError(
            f"the kernel matrix has the eigenvalue {values[-1]:.3g} beside {largest:.3g}; a kernel has none below 0"
        )
    relative = len(values) * np.finfo(float).eps if tolerance is None else tolerance
    return Spectrum(np.maximum(values, 0.0), modes, roots, relative * largest, float(values[-1]))


def gains(spectrum: Spectrum, time: float, decay: float = 0.0) -> Array:
    """g_t(lambda_j) in [0, 1]: the part of mode j that the flow has learned at ``time`` (inf allowed) : [n]."""
    return np.asarray(spectrum.eigenvalues * responses(spectrum, time, decay))


def responses(spectrum: Spectrum, time: float, decay: float = 0.0) -> Array:
    """g_t(lambda_j)/lambda_j, finite for lambda_j = 0 too : [n]; at time inf without decay 0 on the null space."""
    rate = spectrum.eigenvalues + decay
    if np.isfinite(time):
        safe = np.where(rate > 0.0, rate, 1.0)
        return np.asarray(np.where(rate > 0.0, -np.expm1(-safe * time) / safe, time))
    counted = rate > spectrum.tolerance if decay == 0.0 else rate > 0.0
    return np.asarray(np.where(counted, 1.0 / np.where(counted, rate, 1.0), 0.0))


def coordinates(spectrum: Spectrum, u: Array) -> Array:
    """Components of a function on the nodes, u [n], along the modes: [n], their squares sum to sum_q c_q u_q^2."""
    return np.asarray(spectrum.modes.T @ (spectrum.roots * u))


def predict(spectrum: Spectrum, cross: Array, u0: Array, time: float, decay: float = 0.0) -> Array:
    """f(z_k; t) - f_0(z_k) from cross [m, n] = H(z_k, x_q) and the residual at time zero u0 [n] : [m]."""
    inner = responses(spectrum, time, decay) * coordinates(spectrum, u0)
    return np.asarray(cross @ (spectrum.roots * (spectrum.modes @ inner)))


def residual(spectrum: Spectrum, u0: Array, time: float, decay: float = 0.0) -> Array:
    """u*_t = y - f on the nodes : [n]; nodes of weight 0 are left out of the data beforehand."""
    left = (1.0 - gains(spectrum, time, decay)) * coordinates(spectrum, u0)
    return np.asarray((spectrum.modes @ left) / spectrum.roots)
