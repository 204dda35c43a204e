"""What is solved: a network or an explicit interaction, a data law, a loss, a temperature.  No initial measure in it.

    F(rho) = sum_q c_q l(f_q, y_q) + int V drho + tau int rho log rho,      f_q = scale * int phi_q drho
    d rho/dt = div(rho grad Psi) + tau Laplace rho,      Psi(theta) = scale * sum_q r_q phi_q(theta) + V(theta),

with r_q = c_q l'(f_q, y_q).  An explicit McKean-Vlasov problem is the same with features of its own, y = 0,
l(f) = f^2/2 and weights c_q of either sign: an attraction lowers the energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.display import Facts, Shown

Array = NDArray[np.float64]
# activations that a smooth quadrature does not see the kinks of
KINKED = ("relu", "piecewise-linear")
Kind = Literal["line", "radius", "circle"]


@dataclass(frozen=True)
class Coordinate:
    """One reduced coordinate of a neuron.

    A rotation block of x of dimension ``block`` > 1 shows itself through the radius |w_block|; any other coordinate is
    signed (or an angle).  ``rate`` multiplies drift and noise variance, ``weight_decay`` is lambda of lambda/2 theta^2.
    """

    name: str
    group: Literal["a", "w", "b"]
    kind: Kind = "line"
    block: int = 1
    trained: bool = True
    rate: float = 1.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Network:
    """phi = a sigma(<w, x> + b), f = scale * int phi drho; ``hermite``: h_k of sigma = sum h_k He_k/sqrt(k!).

    Activation "piecewise-linear": ``hermite`` holds what core.activations.flatten_pieces makes of knots and slopes.
    """

    activation: str
    hermite: tuple[float, ...] = ()
    scale: float = 1.0

    @property
    def parameters(self) -> Array:
        """Those of the activation, as the kernels take them."""
        return np.asarray(self.hermite or (0.0,), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Pairwise:
    """Explicit McKean-Vlasov problem: external potential V and symmetric interaction W(x - y), energy half of W.

    potential "quadratic": x.matrix.x/2; "double-well": strength (|x|^4/4 - |x|^2/2); "none".
    interaction "quadratic": strength |x-y|^2/2; "gaussian": strength exp(-|x-y|^2/(2 width^2));
    "cosine": -strength cos(x-y) on the circle; "none".
    """

    dimension: int
    potential: str
    potential_strength: float
    matrix: Array
    interaction: str
    strength: float
    width: float
    frequencies: Array  # [modes, D], of the cosine expansion of a gaussian interaction; empty otherwise


@dataclass(frozen=True)
class Population:
    """Gaussian law x ~ N(0, I_d), y = g(x_0) + noise: what full-dimensional particles train on.

    target "hermite": g = sum_k coefficients[k] He_k/sqrt(k!); "tanh": g(z) = scale tanh(gain z).
    """

    dimension: int
    target: str
    coefficients: tuple[float, ...] = ()
    gain: float = 1.0
    scale: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True)
class TwoGaussians:
    """y = +1 or -1 with probability 1/2, x | y centred Gaussian: what full-dimensional particles train on.

    The first ``informative`` of ``dimension`` inputs have the standard deviation 1 + y separation, 0 <= separation < 1,
    the others 1 (Mei, Misiakiewicz, Montanari 2019); ``informative`` = ``dimension`` is the isotropic law.
    """

    dimension: int
    informative: int
    separation: float

    @property
    def blocks(self) -> tuple[int, ...]:
        """Dimensions of the blocks of inputs under whose rotations the law is invariant: one or two."""
        rest = self.dimension - self.informative
        return (self.informative, rest) if rest else (self.dimension,)

    def deviation(self, label: int) -> float:
        """Standard deviation of an informative input given the label, +1 or -1."""
        return 1.0 + label * self.separation


@dataclass(frozen=True, eq=False)
class DataLaw:
    """Weighted nodes in block coordinates.

    x : [n, k] one coordinate per block (a radius for a block larger than 1); y : [n]; weights : [n], sum 1 (signed for
    explicit interactions); blocks : [k] dimensions.  ``offset`` is the part of the risk that no network can change
    (label noise).  ``population`` is the full-dimensional law behind a reduction, if there is one.
    """

    x: Array
    y: Array
    weights: Array
    blocks: tuple[int, ...]
    offset: float = 0.0
    population: Population | TwoGaussians | None = None

    @property
    def single_index(self) -> Population | None:
        """The Gaussian law with a target along one input, if that is what is behind the nodes."""
        return self.population if isinstance(self.population, Population) else None


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Shown):
    """A mean-field problem on the reduced coordinates of one neuron."""

    model: Network | Pairwise
    data: DataLaw
    loss: Literal["square", "logistic"]
    temperature: float
    coordinates: tuple[Coordinate, ...]

    @property
    def scale(self) -> float:
        return self.model.scale if isinstance(self.model, Network) else 1.0

    @property
    def moving(self) -> tuple[Coordinate, ...]:
        return tuple(c for c in self.coordinates if c.trained)

    @property
    def frozen(self) -> tuple[Coordinate, ...]:
        return tuple(c for c in self.coordinates if not c.trained)

    @property
    def convex(self) -> bool:
        """Whether the risk is convex in the measure: then the stationary measure is unique and certified by duality."""
        return bool(np.all(self.data.weights >= 0.0))

    def facts(self) -> Facts:
        """Model, data, loss, temperature, and which coordinates move."""
        m, data = self.model, self.data
        if isinstance(m, Network):
            model = f"network, {m.activation}, scale {m.scale:g}"
        else:
            model = f"potential {m.potential}, interaction {m.interaction} of strength {m.strength:g}"
        inputs = " + ".join(map(str, data.blocks))
        law = "" if data.population is None else f" of a Gaussian law in dimension {data.population.dimension}"
        moving = ", ".join(f"{c.name} ({c.kind}, decay {c.weight_decay:g}, rate {c.rate:g})" for c in self.moving)
        return [
            ("model", model),
            ("data", f"{len(data.y)} nodes{law}, inputs in blocks of {inputs}"),
            ("loss", f"{self.loss}, {'convex' if self.convex else 'not convex'} in the measure"),
            ("temperature", f"{self.temperature:g}"),
            ("moving", moving),
            ("frozen", ", ".join(c.name for c in self.frozen) or "none"),
        ]


def network_coordinates(
    blocks: tuple[int, ...],
    train: tuple[str, ...],
    bias: bool,
    weight_decay: dict[str, float],
    rates: dict[str, float],
) -> tuple[Coordinate, ...]:
    """Reduced coordinates a, w (one per block), b; frozen groups carry no weight decay, a constant anyway."""

    def coordinate(name: str, group: Literal["a", "w", "b"], block: int = 1) -> Coordinate:
        trained = group in train
        decay = weight_decay[group] if trained else 0.0
        return Coordinate(name, group, "radius" if block > 1 else "line", block, trained, rates[group], decay)

    names = ("w",) if len(blocks) == 1 else tuple(f"w{k}" for k in range(len(blocks)))
    weights = tuple(coordinate(name, "w", block) for name, block in zip(names, blocks, strict=True))
    return (coordinate("a", "a"), *weights, *((coordinate("b", "b"),) if bias or "b" in train else ()))


def loss_values(problem: Problem, f: Array) -> Array:
    """l(f_q, y_q) per node: (f - y)^2/2, or log(1 + exp(-y f)) with y = +-1."""
    y = problem.data.y
    if problem.loss == "square":
        return 0.5 * (f - y) ** 2
    return np.logaddexp(0.0, -y * f)


def loss_slopes(problem: Problem, f: Array) -> Array:
    """l'(f_q, y_q) per node."""
    y = problem.data.y
    if problem.loss == "square":
        return f - y
    return -y * _logistic(-y * f)


def loss_curvatures(problem: Problem, f: Array) -> Array:
    """l''(f_q, y_q) per node."""
    if problem.loss == "square":
        return np.ones_like(f)
    p = _logistic(f)
    return p * (1.0 - p)


def _logistic(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))


def loss_secants(problem: Problem, f0: Array, f1: Array) -> Array:
    """Discrete gradient of the loss: (l(f1) - l(f0))/(f1 - f0) per node, exactly such that the energy balance closes.

    The losses are separable over nodes, so the secant slope is an exact and second-order discrete gradient; for the
    square loss it is the slope at the midpoint.
    """
    middle = loss_slopes(problem, 0.5 * (f0 + f1))
    if problem.loss == "square":
        return middle
    gap = f1 - f0
    small = np.abs(gap) < 1e-3
    p = _logistic(0.5 * (f0 + f1))
    # below 1e-3 the secant loses digits: midpoint slope + l'''(m) gap^2/24, exact to O(gap^4)
    series = middle + p * (1.0 - p) * (1.0 - 2.0 * p) * gap**2 / 24.0
    secant = (loss_values(problem, f1) - loss_values(problem, f0)) / np.where(small, 1.0, gap)
    return np.where(small, series, secant)


def conjugate_values(problem: Problem, g: Array) -> Array:
    """l*(g) per node: g^2/2 + g y, or the negative entropy of u = -g y in (0, 1)."""
    y = problem.data.y
    if problem.loss == "square":
        return 0.5 * g**2 + g * y
    u = np.clip(-g * y, 0.0, 1.0)
    return _xlogx(u) + _xlogx(1.0 - u)


def _xlogx(u: Array) -> Array:
    return u * np.log(np.where(u > 0.0, u, 1.0))


def conjugate_slopes(problem: Problem, g: Array) -> Array:
    """(l*)'(g): the prediction at which the loss has slope g."""
    y = problem.data.y
    if problem.loss == "square":
        return g + y
    u = -g * y
    return -y * (np.log(u) - np.log1p(-u))


def conjugate_curvatures(problem: Problem, g: Array) -> Array:
    """(l*)''(g)."""
    if problem.loss == "square":
        return np.ones_like(g)
    u = -g * problem.data.y
    return 1.0 / (u * (1.0 - u))


def risk(problem: Problem, f: Array) -> float:
    """sum_q c_q l(f_q, y_q), label noise included; f : [n] predictions at the nodes."""
    return float(np.sum(problem.data.weights * loss_values(problem, f))) + problem.data.offset


def residual(problem: Problem, f: Array) -> Array:
    """r_q = c_q l'(f_q, y_q) : [n], the only channel through which neurons interact."""
    return problem.data.weights * loss_slopes(problem, f)


def risk_increment(problem: Problem, f0: Array, f1: Array) -> float:
    """risk(f1) - risk(f0) without cancellation."""
    return float(np.sum(problem.data.weights * loss_secants(problem, f0, f1) * (f1 - f0)))
