"""Scalar functions by name: the activation of the student and the target of the single index.

Every activation of ``core.activations`` can be either; "absolute" |z| and "sign" are targets only, since a gradient
step needs a slope that carries information.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mfpde.core import activations
from mfpde.errors import ConfigError

Array = NDArray[np.float64]
Map = Callable[[Array], Array]

_KINKS: dict[str, tuple[float, ...]] = {"relu": (0.0,), "absolute": (0.0,), "sign": (0.0,)}
_TARGETS_ONLY: dict[str, Map] = {"absolute": np.abs, "sign": np.sign}
# far enough out that a saturating activation is flat, near enough that polynomials stay finite
_FAR = 40.0


@dataclass(frozen=True)
class ScalarFunction:
    """A function of one variable on arrays of any shape.

    ``slope`` is its derivative, None where a gradient step cannot use it; ``kinks`` are the points where it is not
    smooth: quadratures are split there, so leaving one out costs accuracy.
    """

    name: str
    value: Map
    slope: Map | None = None
    kinks: tuple[float, ...] = ()


def activation(name: str, hermite: Sequence[float] = ()) -> ScalarFunction:
    """An activation of ``core.activations``, ``hermite`` its coefficients if that is its name.

    Raises ConfigError for an unknown name.
    """
    if name not in activations.CODES:
        raise ConfigError("activation", f"is {name!r}; allowed are {', '.join(activations.CODES)}")
    coefficients = tuple(float(c) for c in hermite)
    return ScalarFunction(
        name,
        partial(activations.evaluate, name, hermite=coefficients),
        partial(activations.derivative, name, hermite=coefficients),
        _KINKS.get(name, ()),
    )


def target(name: str, hermite: Sequence[float] = ()) -> ScalarFunction:
    """A target: any activation, "absolute" or "sign".  Raises ConfigError for an unknown name."""
    if name in _TARGETS_ONLY:
        return ScalarFunction(name, _TARGETS_ONLY[name], None, _KINKS[name])
    if name not in activations.CODES:
        raise ConfigError("target", f"is {name!r}; allowed are {', '.join((*activations.CODES, *_TARGETS_ONLY))}")
    return activation(name, hermite)


def saturates(function: ScalarFunction) -> bool:
    """Whether the function is bounded and flat far out on both sides."""
    ends = np.array([-_FAR, -0.5 * _FAR, 0.5 * _FAR, _FAR])
    low, near_low, near_high, high = (float(v) for v in function.value(ends))
    scale = 1e-6 * max(abs(low), abs(high))
    return abs(low - near_low) <= scale and abs(high - near_high) <= scale


def is_odd(function: ScalarFunction) -> bool:
    """Whether f(-z) = -f(z) to round-off on a grid of [-8, 8]."""
    z = np.linspace(0.01, 8.0, 200)
    plus, minus = function.value(z), function.value(-z)
    return bool(np.max(np.abs(plus + minus)) <= 1e-12 * max(1.0, float(np.max(np.abs(plus)))))
