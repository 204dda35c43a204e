"""How far the flow at finite alpha is from its limit, and the power of alpha with which it approaches.

Theorem 8 of Mei, Misiakiewicz, Montanari (2019) bounds ||u^alpha - u*|| by a constant over alpha. The first correction
is odd in a: it vanishes for a law that is invariant under a -> -a, where the rate is alpha^-2 (derived here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.compare.rates import Rate, fit_rate
from mfpde.errors import NumericalError
from mfpde.theory.kernel_limit.finite_scale import ScalePath
from mfpde.theory.kernel_limit.linearised import Spectrum, predict, residual

Array = NDArray[np.float64]

# distances below this are the integrator's
RESOLUTION = 1e-8


@dataclass(frozen=True, eq=False)
class Distances:
    """Of one scale, at K times: ``data`` ||u^alpha - u*|| in L2 of the data, ``test`` the root mean square on tests.

    The latter is NaN without any.
    """

    data: Array
    test: Array


def distances(path: ScalePath, spectrum: Spectrum, cross: Array, y: Array, decay: float = 0.0) -> Distances:
    """Against the linearised flow of the same measure: its spectrum, cross [m, n] = H(test, data), targets y [n]."""
    u0 = y - path.f[0]
    base = path.f_test[0] if len(path.f_test[0]) else np.zeros(0)
    data, test = [], []
    for k, time in enumerate(path.times):
        off = y - path.f[k] - residual(spectrum, u0, float(time), decay)
        data.append(float(np.sqrt(np.sum((spectrum.roots * off) ** 2))))
        expected = base + predict(spectrum, cross, u0, float(time), decay)
        test.append(float(np.sqrt(np.mean((path.f_test[k] - expected) ** 2))) if len(base) else np.nan)
    return Distances(np.array(data), np.array(test))


def slope_in_scale(scales: Sequence[float], errors: Sequence[float], least: float) -> Rate | None:
    """Power of alpha of an error over the scales of at least ``least`` whose error is above the integrator's own.

    None with fewer than two of them.  The interval comes from the residuals of the fit, of three scales or more.
    """
    kept = [(a, e) for a, e in zip(scales, errors, strict=True) if a >= least and e > RESOLUTION]
    if len(kept) < 2:
        return None
    try:
        return fit_rate([a for a, _ in kept], [[e] for _, e in kept])
    except NumericalError:
        return None
