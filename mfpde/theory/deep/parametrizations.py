"""Scalings of width: W^l = N^-a_l w^l, w^l ~ N(0, N^-2b_l) at the start, learning rate eta N^-c_l.

Three exponents each: first layer, hidden layers, readout.  Yang and Hu, Tensor Programs IV; the integrable one: Hajjar,
Chizat and Giraud.  Only a + b and c + 2a matter: (a, b, c) -> (a + theta, b - theta, c - 2 theta) trains the same.
"""

from __future__ import annotations

from typing import NamedTuple

Exponents = tuple[float, float, float]


class Parametrization(NamedTuple):
    """Exponents a, b, c of the first layer, the hidden layers and the readout."""

    name: str
    a: Exponents
    b: Exponents
    c: Exponents

    def shifted(self, theta: Exponents) -> Parametrization:
        """The same training, written with a + theta."""
        return Parametrization(
            self.name,
            _plus(self.a, theta, 1.0),
            _plus(self.b, theta, -1.0),
            _plus(self.c, theta, -2.0),
        )


def _plus(exponents: Exponents, theta: Exponents, factor: float) -> Exponents:
    first, hidden, out = (e + factor * t for e, t in zip(exponents, theta, strict=True))
    return first, hidden, out


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "mup": Parametrization("mup", (-0.5, 0.0, 0.5), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)),
    "ntk": Parametrization("ntk", (0.0, 0.5, 0.5), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "standard": Parametrization("standard", (0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (1.0, 1.0, 1.0)),
    "integrable": Parametrization("integrable", (0.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
}
