"""The shape of a study of a deep network: which keys exist, of which type, between which bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
NonNegative = Annotated[float, Meta(ge=0.0, le=1e6)]
Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Row = Annotated[tuple[Number, ...], Meta(min_length=1)]
Span = Annotated[tuple[Annotated[int, Meta(ge=0, le=10_000_000)], ...], Meta(min_length=2, max_length=2)]
Rows = Annotated[int, Meta(ge=1, le=10_000_000)] | Span
Activation = Literal[
    "relu", "tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "quadratic", "identity", "hermite"
]  # fmt: skip
Parametrization = Literal["mup", "ntk", "standard", "integrable"]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immutable, keyword-only, unknown keys refused."""


class Network(_Strict):
    """``depth`` hidden layers of the same activation; biases, if any, begin as N(0, bias_std^2)."""

    depth: Annotated[int, Meta(ge=1, le=32)] = 2
    activation: Activation = "tanh"
    hermite: Annotated[tuple[Number, ...], Meta(max_length=64)] = ()
    bias: bool = False
    bias_std: NonNegative = 0.0


class EmpiricalData(_Strict, tag_field="law", tag="empirical"):
    """Rows of a file: HDF5, npz or csv; ``rows`` to train on and ``test`` to predict, both counted in the file.

    ``classes`` keeps the rows whose target is one of them: two become -1 and +1, and for the cross-entropy every one an
    output. ``standardize`` subtracts the mean of all rows of the file and scales every row to the norm sqrt(d).
    """

    law: ClassVar[str] = "empirical"
    file: Name
    inputs: Name | Annotated[tuple[Name, ...], Meta(min_length=1, max_length=10_000)]
    targets: Name
    rows: Rows | None = None
    test: Span | None = None
    standardize: bool = True
    classes: Annotated[tuple[Number, ...], Meta(min_length=2, max_length=100)] | None = None


class NodesData(_Strict, tag_field="law", tag="nodes"):
    """Inputs and targets as numbers; ``test`` inputs to predict and, if known, their targets ``test_y``."""

    law: ClassVar[str] = "nodes"
    x: Annotated[tuple[Row, ...], Meta(min_length=1, max_length=10_000)]
    y: Annotated[tuple[Number, ...], Meta(min_length=1)]
    test: Annotated[tuple[Row, ...], Meta(min_length=1, max_length=10_000)] | None = None
    test_y: Annotated[tuple[Number, ...], Meta(min_length=1)] | None = None
    standardize: bool = False


class Multipliers(_Strict):
    """Learning rates of first layer, hidden layers, last layer and biases, as multiples of ``training.rate``."""

    input: NonNegative = 1.0
    hidden: NonNegative = 1.0
    output: NonNegative = 1.0
    bias: NonNegative = 1.0


class Training(_Strict):
    """Gradient descent: loss, ``rate`` eta, steps, samples of a step (0: all), momentum, ``richness`` gamma."""

    loss: Literal["square", "logistic", "cross-entropy"] = "square"
    rate: Positive = 1.0
    steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 30
    batch: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    momentum: Annotated[float, Meta(ge=0.0, le=0.9999)] = 0.0
    richness: Positive = 1.0
    multipliers: Multipliers = Multipliers()


class Limit(_Strict):
    """The limit: ``samples`` of every layer's law, independent ``replicates`` for the error bar.

    Columns of the operators smaller than ``tolerance`` are dropped; ``sampler`` draws the Gaussian columns and
    ``matching`` conditions them on their exact moments.
    """

    samples: Annotated[int, Meta(ge=16, le=16_777_216)] = 4096
    replicates: Annotated[int, Meta(ge=2, le=10_000)] = 24
    tolerance: Annotated[float, Meta(ge=1e-12, le=0.3)] = 1e-3
    sampler: Literal["sobol", "normal"] = "sobol"
    matching: Literal["full", "gauss", "none"] = "full"


class Finite(_Strict):
    """Finite widths N, seeds of each (one number for all), and the parametrizations they are trained in."""

    widths: Annotated[tuple[Annotated[int, Meta(ge=2, le=65_536)], ...], Meta(min_length=1, max_length=32)] = (
        64,
        256,
        1024,
    )
    seeds: Count | Annotated[tuple[Count, ...], Meta(min_length=1, max_length=32)] = 8
    parametrizations: Annotated[tuple[Parametrization, ...], Meta(min_length=1, max_length=4)] = (
        "mup",
        "ntk",
        "standard",
        "integrable",
    )


class Output(_Strict):
    """At most so many steps are recorded, first and last included and evenly spread; the seed of every number."""

    snapshots: Annotated[int, Meta(ge=2, le=10_000)] = 41
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0


class Config(_Strict, kw_only=True):
    """One study of a deep network."""

    title: Annotated[str, Meta(max_length=200)] = ""
    network: Network = Network()
    data: EmpiricalData | NodesData
    training: Training = Training()
    limit: Limit = Limit()
    finite: Finite = Finite()
    output: Output = Output()
