"""Which kernels sum over neurons and data in a finite ensemble: those of the processor or of a GPU, double or single.

Single precision applies to activations and sums (core.interaction, core.pairs); parameters, noise and updates are
double, and so is the limit: its certificate and its adaptive steps resolve more than single precision does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.core import interaction, pairs
from mfpde.core.interaction import Precision
from mfpde.errors import ConfigError

Array = NDArray[np.float64]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Kernels:
    """The kernels of one precision on one device, with the arguments of their namesakes in core."""

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

    def predict(self, code: int, hermite: Array, theta: Array, x: Array, out: Array) -> None:
        """Networks of R replicas, means over their neurons: theta [R, d + 2, N], x [n, d], out [R, n]."""
        self._interaction.predict_batch(code, hermite, theta, x, out, self.precision)

    def pullback(self, code: int, hermite: Array, theta: Array, x: Array, r: Array, out: Array) -> None:
        """Gradients of sum_q r_q a_i sigma(w_i . x_q + b_i): theta, out [R, d + 2, N], x [n, d], r [R, n]."""
        self._interaction.pullback_batch(code, hermite, theta, x, r, out, self.precision)

    def pair_force(self, code: int, hermite: Array, theta: Array, out: Array) -> None:
        """Gradient of the closed-form pair interaction of one replica: theta, out [d + 2, N]."""
        self._pairs.pair_force(code, hermite, theta, out, self.precision)

    def pair_energy(self, code: int, hermite: Array, a: Array, w: Array) -> float:
        """E f_N^2 of one replica under Gaussian inputs: a [N], w [d, N]."""
        return float(self._pairs.pair_energy(code, hermite, a, w, self.precision))


DOUBLE = Kernels()


def require_device(kernels: Kernels) -> None:
    """Raise ConfigError where the device of the kernels cannot be used here."""
    if kernels.device == "cpu":
        return
    from mfpde.core import cuda

    missing = cuda.available()
    if missing is not None:
        raise ConfigError("numerics.device", f'is "cuda", but {missing}', 'numerics.device = "cpu" runs without')
