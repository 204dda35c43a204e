"""The shape of a study: frozen structures that say which keys exist, of which type, between which bounds.

Every number has an upper and a lower bound, so that NaN and infinity never pass. The rules that join two keys are
in ``mfpde.io.rules``; reading, writing and error messages in ``mfpde.io.config``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

GROUPS = ("a", "w", "b")

Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
NonNegative = Annotated[float, Meta(ge=0.0, le=1e6)]
Group = Literal["a", "w", "b"]
Name = Annotated[str, Meta(min_length=1, max_length=1000)]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immutable, keyword-only, unknown keys refused."""


class Network(_Strict):
    """f(x) = scale * mean over neurons of a * activation(<w, x> + b).

    Activation "piecewise-linear": ``slopes`` below, between and above the increasing ``knots``, one more than these;
    ``value`` at the first knot.
    """

    activation: Literal[
        "relu",
        "tanh",
        "erf",
        "sigmoid",
        "gelu",
        "softplus",
        "sin",
        "quadratic",
        "identity",
        "hermite",
        "piecewise-linear",
    ] = "erf"
    hermite: Annotated[tuple[Number, ...], Meta(max_length=64)] = ()
    knots: Annotated[tuple[Number, ...], Meta(max_length=64)] = ()
    slopes: Annotated[tuple[Number, ...], Meta(max_length=65)] = ()
    value: Number = 0.0
    train: Annotated[tuple[Group, ...], Meta(min_length=1, max_length=3)] = ("w",)
    bias: bool = False
    scale: Positive = 1.0

    @property
    def has_bias(self) -> bool:
        """Whether neurons carry a bias: stated, or implied by training it."""
        return self.bias or "b" in self.train


class HermiteTarget(_Strict, tag_field="index", tag="hermite"):
    """y = sum_k coefficients[k] He_k(<u, x>) / sqrt(k!)."""

    index: ClassVar[str] = "hermite"
    coefficients: Annotated[tuple[Number, ...], Meta(min_length=1, max_length=64)] = (0.0, 1.0, 0.0, 0.4)


class TanhTarget(_Strict, tag_field="index", tag="tanh"):
    """y = scale * tanh(gain * <u, x>)."""

    index: ClassVar[str] = "tanh"
    gain: Number = 1.0
    scale: Number = 1.0


class GaussianData(_Strict, tag_field="law", tag="gaussian"):
    """x ~ N(0, I_dimension), a target that depends on <u, x> only, label noise of standard deviation ``noise``.

    For the logistic loss the target is the log-odds of y = +1. ``quadrature`` counts nodes along u.
    """

    law: ClassVar[str] = "gaussian"
    dimension: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    target: HermiteTarget | TanhTarget = HermiteTarget()
    noise: NonNegative = 0.0
    quadrature: Annotated[int, Meta(ge=2, le=1000)] = 60


class TwoGaussiansData(_Strict, tag_field="law", tag="two-gaussians"):
    """y = +1 or -1 with probability 1/2, x | y centred Gaussian of deviation 1 + y separation, 1 for the others.

    ``informative`` counts the inputs that tell the classes apart, all of them if not given; ``quadrature`` counts nodes
    per block radius, 32 for one block and 12 for each of two if not given.
    """

    law: ClassVar[str] = "two-gaussians"
    dimension: Annotated[int, Meta(ge=1, le=1_000_000)] = 40
    informative: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    separation: Annotated[float, Meta(ge=0.0, le=0.999)] = 0.8
    quadrature: Annotated[int, Meta(ge=2, le=1000)] | None = None


class EmpiricalData(_Strict, tag_field="law", tag="empirical"):
    """Equally weighted rows of a file: HDF5, npz, or csv whose first line names the columns.

    ``inputs`` names the columns of x, ``targets`` the one of y. ``rows``: the first so many, or [from, to) counted from
    0. ``standardize`` gives every column, the target too, mean 0 and variance 1; targets of -1 and +1 stay.
    ``classes`` = (negative, positive) keeps the rows whose target is one of the two and maps them to -1 and +1.
    """

    law: ClassVar[str] = "empirical"
    file: Name
    inputs: Name | Annotated[tuple[Name, ...], Meta(min_length=1, max_length=10_000)]
    targets: Name
    rows: (
        Annotated[int, Meta(ge=1, le=10_000_000)]
        | Annotated[tuple[Annotated[int, Meta(ge=0, le=10_000_000)], ...], Meta(min_length=2, max_length=2)]
        | None
    ) = None
    standardize: bool = False
    classes: Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)] | None = None


class NodesData(_Strict, tag_field="law", tag="nodes"):
    """Explicit data nodes (x, y) with positive weights, equal if not given; users normalise them to sum one."""

    law: ClassVar[str] = "nodes"
    x: Annotated[tuple[Annotated[tuple[Number, ...], Meta(min_length=1)], ...], Meta(min_length=1)]
    y: Annotated[tuple[Number, ...], Meta(min_length=1)]
    weights: Annotated[tuple[Positive, ...], Meta(min_length=1)] | None = None


class NoPotential(_Strict, tag_field="name", tag="none"):
    """V = 0."""

    name: ClassVar[str] = "none"


class QuadraticPotential(_Strict, tag_field="name", tag="quadratic"):
    """V = strength |x|^2 / 2, or <x, matrix x> / 2 when a symmetric matrix is given."""

    name: ClassVar[str] = "quadratic"
    strength: Positive | None = None
    matrix: Annotated[tuple[Annotated[tuple[Number, ...], Meta(min_length=1)], ...], Meta(min_length=1)] | None = None


class DoubleWellPotential(_Strict, tag_field="name", tag="double-well"):
    """V = strength (|x|^4 / 4 - |x|^2 / 2)."""

    name: ClassVar[str] = "double-well"
    strength: Positive = 1.0


class NoInteraction(_Strict, tag_field="name", tag="none"):
    """W = 0."""

    name: ClassVar[str] = "none"


class QuadraticInteraction(_Strict, tag_field="name", tag="quadratic"):
    """W = strength |x - y|^2 / 2."""

    name: ClassVar[str] = "quadratic"
    strength: Number = 1.0


class GaussianInteraction(_Strict, tag_field="name", tag="gaussian"):
    """W = strength exp(-|x - y|^2 / (2 width^2)): repulsive for positive strength."""

    name: ClassVar[str] = "gaussian"
    strength: Number = 1.0
    width: Annotated[float, Meta(ge=1e-6, le=1e6)] = 1.0


class CosineInteraction(_Strict, tag_field="name", tag="cosine"):
    """W = -strength cos(x - y), on the circle [-pi, pi)."""

    name: ClassVar[str] = "cosine"
    strength: Number = 1.0


class Pairwise(_Strict):
    """An explicit McKean-Vlasov problem: Psi(x) = V(x) + integral of W(x, y) d rho(y)."""

    potential: NoPotential | QuadraticPotential | DoubleWellPotential = NoPotential()
    interaction: NoInteraction | QuadraticInteraction | GaussianInteraction | CosineInteraction = NoInteraction()
    dimension: Annotated[int, Meta(ge=1, le=3)] = 1

    @property
    def circle(self) -> bool:
        """Whether the coordinate is an angle."""
        return isinstance(self.interaction, CosineInteraction)


class Decay(_Strict):
    """Weight decay per parameter group."""

    a: NonNegative = 0.0
    w: NonNegative = 0.0
    b: NonNegative = 0.0


class Rates(_Strict):
    """Learning rate per parameter group; multiplies drift and noise variance alike."""

    a: Positive = 1.0
    w: Positive = 1.0
    b: Positive = 1.0


class Training(_Strict):
    """The objective and how long it is descended. ``weight_decay`` is resolved: never None after reading."""

    loss: Literal["square", "logistic"] = "square"
    temperature: NonNegative = 0.02
    weight_decay: NonNegative | Decay | None = None
    rates: Rates = Rates()
    time: Positive = 20.0

    def decay(self, group: str) -> float:
        """Weight decay of group 'a', 'w' or 'b'."""
        if isinstance(self.weight_decay, Decay):
            return float(getattr(self.weight_decay, group))
        return self.weight_decay or 0.0


class Point(_Strict, tag_field="law", tag="point"):
    """All neurons at one value."""

    law: ClassVar[str] = "point"
    value: Number


class Normal(_Strict, tag_field="law", tag="normal"):
    """Normal law; for w ``std`` is that of the norm (std / sqrt(d) per coordinate), ``mean`` may be a list."""

    law: ClassVar[str] = "normal"
    mean: Number | Annotated[tuple[Number, ...], Meta(min_length=1)] = 0.0
    std: Positive = 1.0


class Uniform(_Strict, tag_field="law", tag="uniform"):
    """Uniform law on [low, high], each coordinate for itself."""

    law: ClassVar[str] = "uniform"
    low: Number
    high: Number


class Rademacher(_Strict, tag_field="law", tag="rademacher"):
    """-1 or +1 with probability one half, each coordinate for itself."""

    law: ClassVar[str] = "rademacher"


InitialLaw = Point | Normal | Uniform | Rademacher


class Initial(_Strict):
    """Product law of a neuron at time zero; a group that the problem lacks is None, no other is after reading."""

    a: InitialLaw | None = None
    w: InitialLaw | None = None
    b: InitialLaw | None = None


class Grid(_Strict):
    """Cells and bounds per reduced coordinate, tolerance of the adaptive time step, flux."""

    cells: (
        Literal["auto"]
        | Annotated[tuple[Annotated[int, Meta(ge=4, le=10_000_000)], ...], Meta(min_length=1, max_length=3)]
    ) = "auto"
    bounds: (
        Literal["auto"]
        | Annotated[
            tuple[Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)], ...],
            Meta(min_length=1, max_length=3),
        ]
    ) = "auto"
    tolerance: Annotated[float, Meta(ge=1e-13, le=1.0)] = 1e-5
    flux: Literal["auto", "exponential", "limited"] = "auto"


class ConstantSchedule(_Strict, tag_field="law", tag="constant"):
    """Steps of equal size."""

    law: ClassVar[str] = "constant"


class PowerSchedule(_Strict, tag_field="law", tag="power"):
    """xi(t) = max(t, cutoff)^exponent in the clock t of SGD, in which every step is particles.step / 2."""

    law: ClassVar[str] = "power"
    exponent: Annotated[float, Meta(ge=-1.0, le=4.0)] = -0.25
    cutoff: Annotated[float, Meta(ge=1e-12, le=1e6)] = 1e-3


class Particles(_Strict):
    """The finite-N ensemble: widths x replicas, time step and scheme, source of noise, quasi-random node count.

    ``schedule`` of the steps of dynamics "sgd".
    """

    widths: Annotated[tuple[Annotated[int, Meta(ge=1, le=10_000_000)], ...], Meta(min_length=1, max_length=64)] = (
        64,
        256,
        1024,
        4096,
    )
    replicas: Annotated[int, Meta(ge=1, le=1_000_000)] = 8
    step: Annotated[float, Meta(gt=0.0, le=1e6)] = 0.02
    dynamics: Literal["langevin", "gradient", "sgd"] = "langevin"
    scheme: Literal["heun", "euler"] = "heun"
    batch: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    schedule: ConstantSchedule | PowerSchedule = ConstantSchedule()
    coupling: Literal["synchronous", "independent"] = "synchronous"
    nodes: Annotated[int, Meta(ge=1, le=16_777_216)] = 4096


class Numerics(_Strict):
    """Arithmetic and device of the sums over neurons and data of the finite networks; the limit is always double."""

    precision: Literal["double", "single"] = "double"
    device: Literal["cpu", "cuda"] = "cpu"


class Output(_Strict):
    """Number of stored times, first and last included, and the seed of every random number."""

    snapshots: Annotated[int, Meta(ge=2, le=1_000_000)] = 41
    seed: Annotated[int, Meta(ge=0, le=9_223_372_036_854_775_807)] = 0


class Config(_Strict):
    """One study. Either ``network`` and ``data`` are set, or ``pairwise``; the others are None."""

    title: Annotated[str, Meta(max_length=200)] = ""
    network: Network | None = None
    data: GaussianData | TwoGaussiansData | EmpiricalData | NodesData | None = None
    pairwise: Pairwise | None = None
    training: Training = Training()
    initial: Initial = Initial()
    grid: Grid = Grid()
    particles: Particles = Particles()
    numerics: Numerics = Numerics()
    output: Output = Output()
