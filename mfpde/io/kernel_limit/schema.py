"""The shape of a study of the kernel limit: a study of ``solve`` with one more section."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mfpde.io import schema
from mfpde.io.schema import NonNegative, Positive, _Strict

Scale = Annotated[float, Meta(ge=1e-3, le=1e6)]


class KernelLimit(_Strict):
    """What ``mfpde kernel-limit`` does with a study.

    ``scales`` alpha of the finite flows; ``neurons`` drawn pairs (w, b), each with every value of a; ``skewed`` runs
    them once more from a skewed law of a with the same variance; ``ridge`` mu, a decay towards the weights at the
    start; ``test`` the share of rows held out; ``samples`` rows drawn from a Gaussian data law; ``fit_from`` the
    smallest alpha of the fitted slopes; ``rank_tolerance`` the eigenvalue, over the largest, below which H counts as
    singular (None: number of rows times round-off).
    """

    scales: Annotated[tuple[Scale, ...], Meta(min_length=1, max_length=64)] = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    neurons: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    skewed: bool = False
    ridge: NonNegative = 0.0
    test: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.3
    samples: Annotated[int, Meta(ge=2, le=8000)] = 300
    fit_from: Positive = 10.0
    rank_tolerance: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None


class Config(schema.Config):
    """One study: network, data, initial law, time and seed as for ``solve``, and ``kernel_limit``."""

    kernel_limit: KernelLimit = KernelLimit()
