"""What an activation does under z -> -z and z -> c z, and which activations are polynomials: facts by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.polynomial.hermite_e import herme2poly
from numpy.typing import NDArray
from scipy.special import gammaln

from mfpde.core.activations import HOMOGENEITY
from mfpde.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reflection:
    """sigma(-z) = 2 offset - sigma(z) ("odd"), sigma(-z) = sigma(z) - 2 offset z ("even"), or neither ("none")."""

    kind: Literal["odd", "even", "none"]
    offset: float = 0.0


_REFLECTIONS = {
    **dict.fromkeys(("tanh", "erf", "sin", "identity"), Reflection("odd")),
    "sigmoid": Reflection("odd", 0.5),
    "quadratic": Reflection("even"),
    **dict.fromkeys(("relu", "softplus", "gelu"), Reflection("even", 0.5)),
}


def reflection(activation: str, hermite: Sequence[float] = ()) -> Reflection:
    """What z -> -z does to the activation."""
    if activation != "hermite":
        return _REFLECTIONS[activation]
    given = np.asarray(hermite, np.float64)
    if not np.any(given[2::2]):
        return Reflection("odd", float(given[0]))
    if not np.any(given[3::2]):
        return Reflection("even", float(given[1]) if len(given) > 1 else 0.0)
    return Reflection("none")


def polynomial(activation: str, hermite: Sequence[float] = ()) -> Array | None:
    """Coefficients of 1, z, z^2, ... if the activation is a polynomial (leading one not zero), else None."""
    if activation in ("identity", "quadratic"):
        return np.eye(HOMOGENEITY[activation] + 1)[-1]
    if activation != "hermite":
        return None
    norms = np.exp(0.5 * gammaln(np.arange(len(hermite)) + 1.0))
    powers = np.asarray(herme2poly(np.trim_zeros(np.asarray(hermite, np.float64), "b") / norms[: _used(hermite)]))
    # sums of Hermite coefficients that cancel, as those of z^3 = He_3 + 3 He_1 do, leave round-off
    return np.where(np.abs(powers) > 1e-14 * np.max(np.abs(powers), initial=0.0), powers, 0.0)


def _used(hermite: Sequence[float]) -> int:
    given = np.flatnonzero(np.asarray(hermite))
    if not len(given):
        raise ConfigError("hermite", "holds no coefficient that is not zero; the activation would be zero")
    return int(given[-1]) + 1


def homogeneity(activation: str, hermite: Sequence[float] = ()) -> int | None:
    """p with sigma(c z) = c^p sigma(z) for all c > 0, or None; p >= 1."""
    powers = polynomial(activation, hermite)
    if powers is None:
        return HOMOGENEITY.get(activation)
    degree = len(powers) - 1
    return degree if degree and not np.any(powers[:-1]) else None
