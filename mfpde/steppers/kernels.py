"""Which kernels sum over neurons and data in a finite ensemble: those of the processor or of a GPU, double or single.

Single precision applies to activations and sums (core.interaction, core.pairs); parameters, noise and updates are
double, and so is the limit: its certificate and its adaptive steps resolve more than single precision does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.core import gradient, interaction, pairs
from mfpde.core.gradient import Room
from mfpde.core.passes import Precision
from mfpde.core.ranks import Share
from mfpde.errors import ConfigError

Array = NDArray[np.float64]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Kernels:
    """The kernels of one precision on one device, with the arguments of their namesakes in core.

    ``share``: theta holds the particles of one rank alone; a device has no such kernels.
    """

    precision: Precision = "double"
    device: Device = "cpu"

    @property
    def description(self) -> str:
        """What differs from double precision on the processor, as words to append."""
        words = " in single precision" if self.precision == "single" else ""
        return words + (" on the GPU" if self.device == "cuda" else "")

    @property
    def _interaction(self) -> Any:
        if self.device == "cpu":
            return interaction
        from mfpde.core.cuda import interaction as on_device  # numba-cuda is optional

        return on_device

    @property
    def _pairs(self) -> Any:
        if self.device == "cpu":
            return pairs
        from mfpde.core.cuda import pairs as on_device

        return on_device

    @property
    def divisible(self) -> bool:
        """Whether there are kernels for a share of the particles."""
        return self.device == "cpu"

    def predict(self, code: int, hermite: Array, theta: Array, x: Any, out: Array, share: Share | None = None) -> None:
        """Networks of R replicas, means over neurons: theta [R, d + 2, N], x [n, d] or ``at`` of it, out [R, n]."""
        if self.device == "cuda":
            self._interaction.predict_batch(code, hermite, theta, x, out, self.precision)
            return
        interaction.predict_batch(code, hermite, theta, x, out, self.precision, share)

    def pullback(self, code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array) -> None:
        """Gradients of sum_q r_q a_i sigma(w_i . x_q + b_i): theta, out [R, d + 2, N], x [n, d], r [R, n]."""
        self._interaction.pullback_batch(code, hermite, theta, x, r, out, self.precision)

    def at(self, x: Array) -> Any:
        """Data nodes [n, d] where ``gradient`` reads them: on the device, sent once, or x itself."""
        return x if self.device == "cpu" else self._interaction.nodes(x, self.precision)

    def gradient(
        self,
        code: int,
        hermite: Array,
        theta: Array,
        at: Any,
        residual: Callable[[Array], Array],
        out: Array,
        room: Room,
        share: Share | None = None,
    ) -> None:
        """pullback of residual(predict): ``residual`` maps networks [R', n] to r [R', n]; ``room`` for what is kept."""
        if self.device == "cuda":
            # both halves with the parameters sent once
            self._interaction.gradient_batch(code, hermite, theta, at, residual, out, self.precision)
            return
        gradient.gradient_batch(code, hermite, theta, at, residual, out, room, self.precision, share)

    def pair_forces(self, code: int, hermite: Array, theta: Array, out: Array, share: Share | None = None) -> None:
        """Gradients of the closed-form pair interaction of R replicas: theta, out [R, d + 2, N]."""
        if self.device == "cuda":
            self._pairs.pair_force_batch(code, hermite, theta, out, self.precision)
            return
        for one, force in zip(theta, out, strict=True):
            pairs.pair_force(code, hermite, one, force, self.precision, share)

    def pair_energy(self, code: int, hermite: Array, a: Array, w: Array, share: Share | None = None) -> float:
        """E f_N^2 of one replica under Gaussian inputs: a [N], w [d, N], with a share too."""
        if self.device == "cuda":
            return float(self._pairs.pair_energy(code, hermite, a, w, self.precision))
        return pairs.pair_energy(code, hermite, a, w, self.precision, share)


DOUBLE = Kernels()


def require_device(kernels: Kernels) -> None:
    """Raise ConfigError where the device of the kernels cannot be used here."""
    if kernels.device == "cpu":
        return
    from mfpde.core import cuda

    missing = cuda.available()
    if missing is not None:
        raise ConfigError("numerics.device", f'is "cuda", but {missing}', 'numerics.device = "cpu" runs without')
