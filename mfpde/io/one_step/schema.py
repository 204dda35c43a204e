"""The shape of a study of one gradient step: which keys exist, of which type, between which bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
NonNegative = Annotated[float, Meta(ge=0.0, le=1e6)]
Hermite = Annotated[tuple[Number, ...], Meta(max_length=64)]
# (u, share): a share of the neurons has the readout u / sqrt(p) before the step
Values = Annotated[
    tuple[Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)], ...], Meta(min_length=1, max_length=8)
]
Activation = Literal[
    "relu", "tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "quadratic", "identity", "hermite"
]  # fmt: skip
Target = Literal[
    "relu", "tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "quadratic", "identity", "hermite", "absolute", "sign"
]  # fmt: skip
Mapping = Literal["plain", "refined", "measured"]
Variable = Literal["samples", "ridge", "width", "noise", "step", "batch", "spike", "bulk", "alignment"]
Twin = Literal["network", "spiked"]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immutable, keyword-only, unknown keys refused."""


class Model(_Strict):
    """A student on p neurons, labels target(<theta, x>) + noise N(0, 1); ``width`` = p / d."""

    student: Activation = "tanh"
    student_hermite: Hermite = ()
    target: Target = "sin"
    target_hermite: Hermite = ()
    width: Positive = 1.0
    noise: NonNegative = 0.0


class Step(_Strict):
    """One gradient step of ``size`` on n0 = ``batch`` d samples.

    ``maps`` to a spiked layer; None is resolved to those that hold for the student. ``networks`` are stepped at the
    largest simulated dimension for the map ``measured``.
    """

    size: Number = 3.0
    batch: NonNegative = 20.0
    readout: Values = ((1.0, 1.0),)
    maps: Annotated[tuple[Mapping, ...], Meta(min_length=1, max_length=3)] | None = None
    networks: Annotated[int, Meta(ge=1, le=1000)] = 4


class Spiked(_Strict):
    """A first layer by its numbers: W = sqrt(bulk) rows + spike u v^T, <v, theta> = alignment."""

    spike: Number = 2.0
    bulk: Positive = 1.3
    alignment: Annotated[float, Meta(ge=-1.0, le=1.0)] = 0.7
    rows: Literal["sphere", "gaussian"] = "sphere"
    readout: Values = ((1.0, 1.0),)


class Readout(_Strict):
    """The second layer: a convex loss on n = ``samples`` d fresh samples, ridge |a|^2 (half of it but for square)."""

    samples: Positive = 3.0
    ridge: NonNegative = 0.1
    loss: Literal["square", "huber", "logistic"] = "square"
    threshold: Positive = 1.0


class Curve(_Strict):
    """What is swept: ``points`` values over ``range``, at equal ratios for ridge and at equal distances else."""

    over: Variable = "samples"
    range: Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)] | None = None
    points: Annotated[int, Meta(ge=2, le=10_000)] = 40


class Simulation(_Strict):
    """Finite sizes: values ``at`` of what is swept, dimensions d, seeds of each (one number for all).

    ``draws`` of the samples for every first layer; ``twins``: the actual network after its step, or the spiked model
    drawn; ``spectra`` seeds for the histogram of eigenvalues, at the largest dimension.
    """

    at: Annotated[tuple[Number, ...], Meta(min_length=1, max_length=64)] | None = None
    dimensions: Annotated[tuple[Annotated[int, Meta(ge=2, le=20_000)], ...], Meta(min_length=1, max_length=16)] = (
        100,
        200,
        400,
    )
    seeds: (
        Annotated[int, Meta(ge=2, le=100_000)]
        | Annotated[tuple[Annotated[int, Meta(ge=2, le=100_000)], ...], Meta(min_length=1, max_length=16)]
    ) = 40
    draws: Annotated[int, Meta(ge=1, le=1000)] | None = None
    test_samples: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    twins: Annotated[tuple[Twin, ...], Meta(min_length=1, max_length=2)] | None = None
    spectra: Annotated[int, Meta(ge=1, le=1000)] = 8


class Output(_Strict):
    """The seed of every random number."""

    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0


class Config(_Strict):
    """One study: the first layer after a ``step``, or ``spiked`` by its numbers; one of the two is None."""

    title: Annotated[str, Meta(max_length=200)] = ""
    model: Model = Model()
    step: Step | None = None
    spiked: Spiked | None = None
    readout: Readout = Readout()
    curve: Curve = Curve()
    simulation: Simulation = Simulation()
    output: Output = Output()
