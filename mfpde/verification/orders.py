"""Measured orders of convergence of the grid steppers against exact solutions.

Space: the error against the exact density with the step tied to the cell width.  Time: differences between successive
step sizes on one fine grid.  The propagator adds an error of the order of dt over its largest exit rate, that is
dt h^2, which the same differences on the grid of half as many cells cancel (Richardson): what is left is the error of
the midpoint rule, dt^2.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mfpde.verification import cases
from mfpde.verification.cases import ExactCase
from mfpde.verification.check import Check, near

Array = NDArray[np.float64]

TOLERANCE = 0.1
LIMITED_TOLERANCE = 0.25


def space_order(case: ExactCase, coarse: int, fine: int, flux: str = "exponential") -> float:
    """Order of the total-variation error from ``coarse`` to ``fine`` cells per axis, step proportional to the width.

    The limited flux chooses its own step, the longest positive one.
    """
    errors = [
        cases.total_variation(
            case, cases.run(case, n, case.end * (4.0 / n if flux == "exponential" else 1.0), flux).measure
        )
        for n in (coarse, fine)
    ]
    return float(np.log(errors[0] / errors[1]) / np.log(fine / coarse))


def time_order(case: ExactCase, cells: int, step: float) -> float:
    """Order of the time stepper from the steps ``step``, step/2, step/4 on ``cells`` and cells/2 cells per axis."""
    steps = (step, 0.5 * step, 0.25 * step)
    fine = [halved(cases.run(case, cells, dt).measure.mass[0]) for dt in steps]
    coarse = [cases.run(case, cells // 2, dt).measure.mass[0] for dt in steps]
    limits = [(4.0 * a - b) / 3.0 for a, b in zip(fine, coarse, strict=True)]
    differences = [float(np.sum(np.abs(a - b))) for a, b in pairwise(limits)]
    return float(np.log2(differences[0] / differences[1]))


def halved(mass: Array) -> Array:
    """Masses on the grid of half as many cells per axis: sums of 2^D cells."""
    for k in range(mass.ndim):
        shape = mass.shape
        mass = mass.reshape(*shape[:k], shape[k] // 2, 2, *shape[k + 1 :]).sum(axis=k + 1)
    return mass


def order_in_space() -> list[Check]:
    """Order 2 in space in one, two and three dimensions, on lines, circles and radii."""
    runs = (
        (cases.ornstein_uhlenbeck_case(1), 64, 128),
        (cases.ornstein_uhlenbeck_case(2), 48, 96),
        (cases.ornstein_uhlenbeck_case(3), 32, 48),
        (cases.linear_network_case(), 48, 96),
        (cases.manufactured_case(), 48, 96),
        (cases.circle_case(), 128, 256),
        (cases.radial_case(3), 48, 96),
        (cases.radial_case(20), 48, 96),
        (cases.radial_network_case(5), 24, 40),
    )
    return [near(case.name, space_order(case, coarse, fine), 2.0, TOLERANCE) for case, coarse, fine in runs]


def order_in_time() -> list[Check]:
    """Order 2 in time in one, two and three dimensions."""
    runs = (
        (cases.ornstein_uhlenbeck_case(1), 256, 0.2),
        (cases.ornstein_uhlenbeck_case(2), 96, 0.2),
        (cases.ornstein_uhlenbeck_case(3), 48, 0.4),
        (cases.linear_network_case(), 96, 0.2),
        (cases.manufactured_case(), 96, 0.2),
        (cases.circle_case(), 128, 0.2),
        (cases.radial_case(5), 96, 0.2),
        (cases.radial_network_case(5), 40, 0.4),
    )
    return [near(case.name, time_order(case, cells, step), 2.0, TOLERANCE) for case, cells, step in runs]


def order_of_limited_flux() -> list[Check]:
    """Order 2 within a quarter of the limited flux: its limiter clips the extrema, where it is of order one."""
    case = cases.small_temperature_case()
    return [near(case.name, space_order(case, 200, 400, "limited"), 2.0, LIMITED_TOLERANCE)]
