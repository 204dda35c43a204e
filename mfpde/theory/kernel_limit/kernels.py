"""The kernel of the kernel limit, H(x, z) = int <grad sigma*(x; theta), grad sigma*(z; theta)> rho(d theta).

With sigma*(x; theta) = a sigma(<w, x> + b) and learning rates r of the groups that move (0 for the others)

    H = r_a E[sigma(u) sigma(v)] + (r_w <x, z> + r_b) E[a^2 sigma'(u) sigma'(v)],      u = <w, x> + b,  v = <w, z> + b

(Mei, Misiakiewicz, Montanari 2019, section 5; r = 1 there). H is positive semi-definite for every measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.core.activations import derivative, evaluate
from mfpde.errors import ConfigError
from mfpde.initial import InitialLaw, gauss_nodes
from mfpde.measures import Measure
from mfpde.problem import Network, Problem
from mfpde.theory.kernel_limit.duals import duals
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]

# a law of the bias that is not normal is averaged over this many nodes (two for signs, one for a point)
BIAS_NODES = 32


@dataclass(frozen=True)
class Tangent:
    """Learning rates of a, w and b; 0 for a group that does not move."""

    a: float
    w: float
    b: float


@dataclass(frozen=True, eq=False)
class GaussianNeuron:
    """A law at time zero with a independent of (w, b): E a^2, w ~ N(``mean``, std^2 I_d), b a mixture of normals.

    mean [d]; ``bias`` [B] with ``shares`` [B] (sum 1) the means of the mixture, ``bias_std`` their one deviation.
    """

    a_square: float
    mean: Array
    std: float
    bias: Array
    shares: Array
    bias_std: float


def tangent_of(problem: Problem) -> Tangent:
    """The groups that move in a problem, with their learning rates."""
    rates = {c.group: c.rate for c in problem.moving}
    return Tangent(*(rates.get(group, 0.0) for group in ("a", "w", "b")))


def gaussian_neuron(problem: Problem, law: InitialLaw) -> GaussianNeuron | None:
    """The initial law in the form that ``gaussian_kernel`` takes; None if w is neither normal nor a point."""
    w, b = law.w, law.b
    if w.law not in ("normal", "point"):
        return None
    d = law.dimension
    mean = np.full(d, w.value) if w.law == "point" else np.array([w.mean_along(k) for k in range(d)])
    std = 0.0 if w.law == "point" else w.std / np.sqrt(d)
    bias, shares, bias_std = np.zeros(1), np.ones(1), 0.0
    coordinate = next((c for c in problem.coordinates if c.group == "b"), None)
    if coordinate is not None and b.law == "normal":
        bias, bias_std = np.array([b.mean_along(0)]), b.std
    elif coordinate is not None:
        bias, shares = gauss_nodes(law, coordinate, BIAS_NODES)
    return GaussianNeuron(second_moment(law), mean, float(std), bias, shares, bias_std)


def second_moment(law: InitialLaw) -> float:
    """E a^2 of the initial law."""
    a = law.a
    if a.law == "point":
        return a.value**2
    if a.law == "rademacher":
        return 1.0
    if a.law == "uniform":
        return (a.low**2 + a.low * a.high + a.high**2) / 3.0
    return a.mean_along(0) ** 2 + a.std**2


def gaussian_kernel(
    activation: str, neuron: GaussianNeuron, tangent: Tangent, x: Array, z: Array, hermite: Sequence[float] = ()
) -> Array:
    """H(x_i, z_j) of a Gaussian initial law: inputs x [n, d], z [m, d]; [n, m].

    Closed form for relu and erf, for the others by quadrature; see ``duals``, whose errors it raises.
    """
    found = np.zeros((len(x), len(z)))
    inner = tangent.w * (x @ z.T) + tangent.b
    for offset, share in zip(neuron.bias, neuron.shares, strict=True):
        one, two = (_ridge(neuron, points, float(offset)) for points in (x, z))
        pair = duals(activation, one, two, hermite)
        found += share * (tangent.a * pair.values + neuron.a_square * inner * pair.slopes)
    return found


def _ridge(neuron: GaussianNeuron, x: Array, offset: float) -> Atoms:
    """Inputs as ridge functions of a standard Gaussian in d + 1 dimensions."""
    lifted = np.concatenate([neuron.std * x, np.full((len(x), 1), neuron.bias_std)], axis=1)
    return Atoms(np.ones(len(x)), lifted, x @ neuron.mean + offset)


def measure_kernel(problem: Problem, measure: Measure, x: Array, z: Array) -> Array:
    """H(x_i, z_j) of any measure on the parameters: x [n, d], z [m, d]; [n, m].

    ``measure`` holds atoms in the order of ``problem.coordinates`` (or names them), on a grid too.  ConfigError for
    a problem that is reduced by a symmetry: its radii are no inputs.
    """
    model = problem.model
    if not isinstance(model, Network) or any(c.kind != "line" for c in problem.coordinates):
        raise ConfigError("data.law", "gives a problem without inputs of its own; the kernel needs data nodes")
    tangent = tangent_of(problem)
    a, u, v = (*_seen(problem, measure, x), _seen(problem, measure, z)[1])
    found = np.zeros((len(x), len(z)))
    if tangent.a:
        values = [evaluate(model.activation, points, model.hermite) for points in (u, v)]
        found += tangent.a * ((values[0] * measure.weights) @ values[1].T)
    if tangent.w or tangent.b:
        slopes = [derivative(model.activation, points, model.hermite) for points in (u, v)]
        averaged = (slopes[0] * (measure.weights * a**2)) @ slopes[1].T
        found += (tangent.w * (x @ z.T) + tangent.b) * averaged
    return found


def kernel_trace(problem: Problem, measure: Measure) -> float:
    """sum_q c_q H(x_q, x_q) on the data nodes: no eigenvalue of the kernel there is larger."""
    model, tangent, x = problem.model, tangent_of(problem), problem.data.x
    assert isinstance(model, Network)
    a, u = _seen(problem, measure, x)
    values, slopes = (function(model.activation, u, model.hermite) for function in (evaluate, derivative))
    diagonal = tangent.a * (values**2 @ measure.weights)
    diagonal += (tangent.w * np.sum(x**2, axis=1) + tangent.b) * (slopes**2 @ (measure.weights * a**2))
    return float(problem.data.weights @ diagonal)


def _seen(problem: Problem, measure: Measure, x: Array) -> tuple[Array, Array]:
    """a [N] of the atoms and their pre-activations <w, x> + b at inputs x [n, d] : [n, N]."""
    columns = {name: k for k, name in enumerate(measure.names)}
    atoms = measure.atoms[:, [columns[c.name] for c in problem.coordinates]]
    d = x.shape[1]
    u = x @ atoms[:, 1 : d + 1].T
    return atoms[:, 0], u + atoms[:, d + 1] if atoms.shape[1] > d + 1 else u
