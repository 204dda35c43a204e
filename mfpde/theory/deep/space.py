"""One layer's probability space: where its Gaussian columns come from, and how they are matched to what is there.

Matching conditions the sample on what is known of the limit: "gauss" makes the Gaussian columns of a space orthonormal
and of mean zero, "full" makes them orthogonal to every feature column so far as well.  It halves the error of f, and
linear networks become exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mfpde.core.noise import INITIAL, normals
from mfpde.errors import ConfigError, NumericalError
from mfpde.theory.deep.columns import Columns, extend, orthonormalise

Array = NDArray[np.float64]

# Gaussian columns per space that come from a Sobol sequence; later ones are pseudo-random
SOBOL_COLUMNS = 150
# samples per column of a space below which matching distorts the law of what is sampled
SAMPLES_PER_COLUMN = 4
_IN_SPAN = 1e-10


@dataclass(frozen=True)
class LimitSettings:
    """How the limit is sampled: ``samples`` S per layer, ``tolerance`` of the truncation, and where columns come from.

    ``sampler`` "sobol" (scrambled, the first 150 columns of a space; S a power of two) or "normal" (Philox counters).
    ``matching`` "full", "gauss" or "none".  Raises ConfigError.
    """

    samples: int = 4096
    tolerance: float = 1e-3
    sampler: Literal["sobol", "normal"] = "sobol"
    matching: Literal["full", "gauss", "none"] = "full"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError for values without a meaning."""
        if self.samples < 2:
            raise ConfigError("limit.samples", f"is {self.samples}; at least 2 are needed")
        if not 0.0 < self.tolerance < 1.0:
            raise ConfigError("limit.tolerance", f"is {self.tolerance:g}; allowed is above 0 and below 1")
        if self.sampler not in ("sobol", "normal"):
            raise ConfigError("limit.sampler", f'is "{self.sampler}"; allowed are sobol, normal')
        if self.matching not in ("full", "gauss", "none"):
            raise ConfigError("limit.matching", f'is "{self.matching}"; allowed are full, gauss, none')
        if self.sampler == "sobol" and self.samples & (self.samples - 1):
            below = 1 << (self.samples.bit_length() - 1)
            raise ConfigError(
                "limit.samples",
                f"is {self.samples}; a Sobol sequence needs a power of two",
                hint=f'{below} or {2 * below}, or limit.sampler = "normal"',
            )


class SampledSpace:
    """S samples of one layer, ``layer`` 1 .. L, of replicate ``replicate``; ``most`` bounds the columns ever drawn."""

    def __init__(self, settings: LimitSettings, layer: int, replicate: int, most: int) -> None:
        self.rows, self.norm = settings.samples, float(settings.samples)
        self.drawn = 0
        self.others = 0
        self.basis = Columns(self.rows)
        self._settings, self._layer, self._replicate = settings, layer, replicate
        sobol = settings.sampler == "sobol"
        self._sobol = _sobol_normals(settings, layer, replicate, min(SOBOL_COLUMNS, most)) if sobol else None
        if settings.matching != "none":
            self.basis.append(np.ones((self.rows, 1)))

    @property
    def columns(self) -> int:
        """Gaussian and feature columns of the space so far."""
        return self.drawn + self.others

    def fresh(self, count: int) -> Array:
        """New standard Gaussian columns [S, count], independent of everything in the space.  Raises NumericalError."""
        columns = self._draw(count)
        if self._settings.matching != "none" and count:
            if self.basis.count + count >= self.rows:
                raise NumericalError(
                    f"layer {self._layer} needs more than {self.columns + count} columns on {self.rows} samples",
                    "raise limit.samples or limit.tolerance, or take fewer training points or steps",
                )
            columns = orthonormalise(columns, self.basis.view, self.norm)
            self.basis.append(columns)
        self.drawn += count
        return columns

    def absorb(self, features: Array) -> None:
        """Note orthonormal feature columns: under "full" later Gaussian columns will be orthogonal to them."""
        self.others += features.shape[1]
        if self._settings.matching == "full" and self.basis.count + features.shape[1] < self.rows:
            self.basis.append(extend(self.basis.view, features, self.norm, _IN_SPAN).columns)

    def mark(self) -> tuple[int, int, int]:
        """Where the space stands, for ``cut``."""
        return self.drawn, self.others, self.basis.count

    def cut(self, mark: tuple[int, int, int]) -> None:
        """Forget everything since ``mark``."""
        self.drawn, self.others, kept = mark
        self.basis.cut(kept)

    def _draw(self, count: int) -> Array:
        columns = np.empty((count, self.rows))
        for i in range(count):
            number = self.drawn + i
            if self._sobol is not None and number < len(self._sobol):
                columns[i] = self._sobol[number]
            else:
                seed = self._settings.seed
                normals(seed, INITIAL + self._layer, self._replicate, number, columns[i : i + 1])
        return columns.T


class ExactSpace:
    """Coordinates in the Gaussian basis of a layer: a fresh column is the next unit vector, and nothing is sampled."""

    def __init__(self, dimension: int) -> None:
        self.rows, self.norm = dimension, 1.0
        self.drawn = 0
        self.others = 0
        self.basis = Columns(dimension)

    @property
    def columns(self) -> int:
        """Gaussian and feature columns of the space so far."""
        return self.drawn + self.others

    def fresh(self, count: int) -> Array:
        """The next ``count`` unit vectors [dimension, count]."""
        columns = np.zeros((self.rows, count), order="F")
        columns[self.drawn + np.arange(count), np.arange(count)] = 1.0
        self.drawn += count
        return columns

    def absorb(self, features: Array) -> None:
        """Count feature columns; nothing is to be matched."""
        self.others += features.shape[1]

    def mark(self) -> tuple[int, int, int]:
        """Where the space stands, for ``cut``."""
        return self.drawn, self.others, 0

    def cut(self, mark: tuple[int, int, int]) -> None:
        """Forget everything since ``mark``."""
        self.drawn, self.others, _ = mark


Space = SampledSpace | ExactSpace


def _sobol_normals(settings: LimitSettings, layer: int, replicate: int, columns: int) -> Array:
    """Normal numbers [columns, S] from a scrambled Sobol sequence, a function of (seed, replicate, layer)."""
    from scipy.stats import qmc  # a quarter of a second, and exact limits do without

    rng = np.random.default_rng([settings.seed, replicate, layer])
    points = qmc.Sobol(columns, scramble=True, rng=rng).random(settings.samples)
    # the points are multiples of 2^-30: half of that keeps them off 0
    return np.ascontiguousarray(ndtri(points + 2.0**-31).T)
