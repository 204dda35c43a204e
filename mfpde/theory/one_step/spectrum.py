"""The bulk spectrum of Phi^T Phi / p : the eigenvalues of p features seen at n samples, in the limit.

(1 / p) tr (Phi^T Phi / p + lambda)^-1 -> sum_g V2_g(lambda), whose continuation to lambda = -x - i eta gives the
density Im / pi at x. With fewer samples than neurons an atom 1 - n / p sits at 0; it is taken out exactly. The
outlier of order p, from the mean mu0 of the features, is no part of the bulk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.one_step.resolvent import feedback, traces
from mfpde.theory.one_step.ridge import check_ratio
from mfpde.theory.one_step.tables import Table

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

TOLERANCE = 1e-10
MAX_STEPS = 60
# distance to the real axis, as a share of the upper bound: edges are blurred by that much
BLUR = 1e-6
# the first solution is taken this far above the axis, in units of the upper bound, where one over lambda is close to it
_HIGH = 10.0
_LOWERING = 0.3
_SMALLEST_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Spectrum:
    """``density`` of the bulk at ``eigenvalues`` [X]; it integrates to 1 - ``atom``, the mass at 0."""

    eigenvalues: Array
    density: Array
    atom: float


def upper_bound(table: Table, sample_ratio: float) -> float:
    """A number that no bulk eigenvalue exceeds in the limit; the actual edge is often half of it."""
    check_ratio(sample_ratio)
    alpha, beta = sample_ratio / table.model.width_ratio, table.model.width_ratio
    norm = float(np.max(table.bulks * np.max(table.features.mu1**2, axis=1)))
    largest = norm * (1.0 + np.sqrt(beta)) ** 2 + float(np.max(table.features.mu2_squared))
    return float(largest * (1.0 + np.sqrt(alpha)) ** 2)


def bulk_spectrum(table: Table, sample_ratio: float, eigenvalues: Array) -> Spectrum:
    """The density at ``eigenvalues`` [X] > 0, increasing.  Raises ConfigError for others, NotConverged."""
    bound = upper_bound(table, sample_ratio)
    if not (eigenvalues.min() > 0.0 and (np.diff(eigenvalues) > 0.0).all()):
        raise ConfigError("eigenvalues", "do not increase from a positive number; the bulk lies at positive ones")
    alpha = sample_ratio / table.model.width_ratio
    atom = max(0.0, 1.0 - alpha)
    blur = BLUR * bound
    density = np.zeros(len(eigenvalues))
    state: tuple[ComplexArray, ComplexArray] | None = None
    for k, x in enumerate(eigenvalues[::-1]):
        at = -x - 1j * blur
        state = (None if state is None else _newton(table, alpha, at, *state)) or _descend(table, alpha, x, blur, bound)
        trace = np.sum(state[0][table.pairs.shape[1] :]) - atom / at
        density[len(eigenvalues) - 1 - k] = trace.imag / np.pi
    return Spectrum(eigenvalues, density, atom)


def _descend(table: Table, alpha: float, x: float, blur: float, bound: float) -> tuple[ComplexArray, ComplexArray]:
    """Traces and s at -x - i blur, followed down from high above the axis."""
    height = _HIGH * bound
    at = -x - 1j * height
    start = traces(
        table, at, np.zeros(len(table.multiplicity), dtype=np.complex128), np.full(len(table.shares), 1.0 / at)
    )
    state = _newton(table, alpha, at, start.values, start.resolvents)
    lowering = _LOWERING
    while state is not None:
        if height == blur:
            return state
        following = max(blur, height * lowering)
        found = _newton(table, alpha, -x - 1j * following, *state)
        if found is None:
            lowering = np.sqrt(lowering)
            if 1.0 - lowering < _SMALLEST_STEP:
                break
        else:
            state, height = found, following
    raise NotConverged(f"the spectrum at {x:g} could not be followed to the real axis; it stopped at {height:.1e}")


def _newton(
    table: Table, alpha: float, at: complex, values: ComplexArray, resolvents: ComplexArray
) -> tuple[ComplexArray, ComplexArray] | None:
    """Newton's method for the traces at the complex ridge ``at``; None unless it ends in the upper half-plane."""
    pairs = table.pairs.shape[1]
    for _ in range(MAX_STEPS):
        weight = 1.0 / (1.0 + (table.multiplicity * values) @ table.basis)
        try:
            found = traces(table, at, table.basis @ (alpha * table.weights * weight), resolvents)
        except NotConverged:
            return None
        gap = found.values - values
        resolvents = found.resolvents
        if np.max(np.abs(gap)) <= TOLERANCE * np.max(np.abs(values)):
            physical = resolvents.imag.min() > 0.0 and values[pairs:].imag.min() > 0.0
            return (found.values, resolvents) if physical else None
        curvature = (table.basis * (alpha * table.weights * weight**2)) @ table.basis.T * table.multiplicity
        step = feedback(found.response, curvature, gap)
        if not np.isfinite(step).all():
            return None
        values = values + step
    return None
