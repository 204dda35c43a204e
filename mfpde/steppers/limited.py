"""Second-order limited upwind steps on a grid, for temperatures too small for the exponential flux, or 0.

Method of lines with the flux of Carrillo, Chertock and Huang (2015, arXiv 1402.4252), time by SSPRK(3,3) under the
positivity condition dt <= h/(2 D max|u|) and the explicit diffusion bound.  Positive and conservative; the energy
decays for the semi-discrete flow and is checked after every step rather than guaranteed.  At temperature 0 what remains
is transport by -grad Psi: a first-order flux would smear a narrow law over its whole way (docs/dimension-free.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.core import fluxes
from mfpde.errors import NumericalError
from mfpde.measures import SMALLEST_MASS
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]

ORDER = 2
SAFETY = 0.9
MOST_HALVINGS = 50
# below this fraction of the largest mass the logarithm of the mass stays what it is there: log(0) drives nothing. It is
# the mass that is cut, not the density, which is largest where an empty cell has next to no volume (r^(d-1) near r = 0)
MASS_FLOOR = 1e-30


def rate_of_change(table: Tabulated, mass: Array, forcing: Array | None = None) -> tuple[Array, float]:
    """(d mass/dt, largest step that keeps every mass positive); arrays [K, n_1, ..., n_D]."""
    grid, tau = table.grid, table.problem.temperature
    psi = table.first_variation(problems.residual(table.problem, table.predict(mass)))
    psi = psi if forcing is None else psi + forcing
    if tau > 0.0:
        psi = psi + tau * (np.log(np.maximum(mass, MASS_FLOOR * mass.max())) - grid.log_volume)
    mu = psi.reshape(grid.padded_shape)
    change = np.zeros(grid.padded_shape)
    offset = 3 - len(grid.axes)
    inverse = 0.0
    for k, axis in enumerate(grid.axes):
        rate = axis.coordinate.rate
        fastest = fluxes.limited_divergence(
            mass.reshape(grid.padded_shape), mu, offset + k, axis.width, rate, axis.periodic, change
        )
        inverse += 2.0 * fastest / axis.width + 4.0 * rate * tau / axis.width**2
    return change.reshape(mass.shape), SAFETY / max(inverse, 1e-300)


def step(table: Tabulated, mass: Array, limit: float, forcing: Array | None = None) -> tuple[Array, float]:
    """(masses after one SSPRK(3,3) step, its length): the longest positive one, at most ``limit``."""
    change, longest = rate_of_change(table, mass, forcing)
    if not longest > 0.0:
        raise NumericalError("the limited flux met a velocity that is not finite")
    dt = min(limit, longest)
    for _ in range(MOST_HALVINGS):
        first = mass + dt * change
        if np.min(first) >= 0.0:
            first = np.maximum(first, SMALLEST_MASS)
            second = 0.75 * mass + 0.25 * (first + dt * rate_of_change(table, first, forcing)[0])
            if np.min(second) >= 0.0:
                second = np.maximum(second, SMALLEST_MASS)
                third = mass / 3.0 + 2.0 / 3.0 * (second + dt * rate_of_change(table, second, forcing)[0])
                if np.min(third) >= 0.0:
                    return np.maximum(third, SMALLEST_MASS), dt
        # velocities grew within the step: the positivity bound of the first stage did not cover the later ones
        dt *= 0.5
    raise NumericalError(f"the step of the limited flux fell to {dt:.3g}: velocities grow without bound")
