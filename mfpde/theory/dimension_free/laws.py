"""What the theorems say of each step, and whether a measured exponent agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.compare.rates import fit_rate

Array = NDArray[np.float64]
Verdict = Literal["agrees", "within the bound", "differs"]

# a measured exponent agrees up to this much
MARGIN = 0.15


@dataclass(frozen=True)
class StepLaw:
    """error ~ variable^exponent for one step; with ``bound`` only at most so, in the direction of smaller errors."""

    name: str
    step: str
    quantity: str
    variable: Literal["N", "eps", "d"]
    exponent: float
    bound: bool = False


LAWS: tuple[StepLaw, ...] = (
    StepLaw("fluctuation", "limit -> independent", "risk, first order", "N", -0.5),
    StepLaw("bias", "limit -> independent", "mean risk", "N", -1.0),
    StepLaw("particles", "independent -> particles", "risk", "N", -0.5),
    StepLaw("particle_displacement", "independent -> particles", "parameters", "N", -0.5),
    StepLaw("descent", "particles -> gradient descent", "risk", "eps", 1.0),
    StepLaw("descent_displacement", "particles -> gradient descent", "parameters", "eps", 1.0),
    StepLaw("stochastic", "gradient descent -> SGD", "risk", "eps", 0.5),
    StepLaw("stochastic_displacement", "gradient descent -> SGD", "parameters", "eps", 0.5),
    StepLaw("stochastic_dimension", "gradient descent -> SGD", "risk", "d", 0.5, bound=True),
    StepLaw("stochastic_displacement_dimension", "gradient descent -> SGD", "parameters", "d", 0.5),
)


@dataclass(frozen=True, eq=False)
class Exponent:
    """The measured exponent of one law, its interval (None where replicas do not give one) and the verdict.

    ``values`` [M] of the variable; ``errors`` and ``sems`` [M]: root mean squares over replicas (means for the bias).
    """

    law: StepLaw
    values: Array
    errors: Array
    sems: Array
    slope: float
    interval: tuple[float, float] | None
    prefactor: float
    verdict: Verdict


def exponent(law: StepLaw, values: ArrayLike, samples: Sequence[ArrayLike], squared: bool = True) -> Exponent:
    """Fit ``samples`` [R] for each of ``values`` [M]; ``squared`` says that they are squares of the error.

    Raises as :func:`mfpde.compare.rates.fit_rate`.
    """
    rate = fit_rate(values, samples)
    power = 0.5 if squared else 1.0
    errors = rate.means**power
    sems = np.zeros_like(errors) if rate.sems is None else power * errors * rate.sems / rate.means
    slope = power * rate.slope
    interval = None if rate.ci is None else (power * rate.ci[0], power * rate.ci[1])
    return Exponent(law, rate.widths, errors, sems, slope, interval, rate.prefactor**power, _verdict(law, slope))


def _verdict(law: StepLaw, slope: float) -> Verdict:
    if abs(slope - law.exponent) <= MARGIN:
        return "agrees"
    smaller = slope > law.exponent if law.variable == "eps" else slope < law.exponent
    return "within the bound" if law.bound and smaller else "differs"


def named(name: str) -> StepLaw:
    """The law called ``name``."""
    return next(law for law in LAWS if law.name == name)
