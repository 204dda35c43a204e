"""Networks of finite width on the data and data order of the limit, in any abc parametrization, many seeds at a time.

Products are batched over seeds.  Every seed has its own random numbers and its own products, so that a run is the
same however seeds are dealt out; parametrizations share the numbers.  The sensitivities G = gamma df/dh of one output
(or, for C > 1, gamma d(sum over points of the loss)/dh) give every gradient as a product with the activations below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.core.activations import CODES, fill
from mfpde.errors import ConfigError, NumericalError
from mfpde.theory.deep.limit import MOST_PROBES
from mfpde.theory.deep.losses import loss_slope, loss_value
from mfpde.theory.deep.parametrizations import Parametrization
from mfpde.theory.deep.problem import DeepProblem

Array = NDArray[np.float64]

_WEIGHTS, _OUTSIDE = 0, 1
_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class FiniteRuns:
    """B seeds of one width at K times: f [B, K, P, C], loss [B, K], second moments per neuron [B, K, L, Q, Q].

    Moments as in ``trajectory.Snapshot``, with g = N gamma df/dh in ``back`` (NaN for C > 1).  ``test_f`` [B, Q', C] at
    the last time, or None.
    """

    width: int
    parametrization: str
    seeds: NDArray[np.int64]
    times: NDArray[np.int64]
    f: Array
    loss: Array
    phi: Array
    pre: Array
    cross: Array
    back: Array
    test_f: Array | None = None


@dataclass(eq=False)
class _Networks:
    """B networks: parameters by name and the effective scale N^-a, rate and starting size of each."""

    parameters: dict[str, Array]
    scale: dict[str, float]
    rate: dict[str, float]
    velocity: dict[str, Array]


@dataclass(frozen=True, eq=False)
class _Pass:
    """h, phi, phi' [B, N, k] of every layer and f [B, k, C]."""

    h: list[Array]
    x: list[Array]
    slope: list[Array]
    f: Array


def chunk_size(problem: DeepProblem, width: int) -> int:
    """How many seeds ``train_widths`` holds in about 256 MiB; at least 1."""
    points = max(problem.samples, 1)
    numbers = (problem.depth - 1) * width**2 * (3 if problem.momentum else 2) + 5 * problem.depth * width * points
    return max(1, _BYTES // (8 * numbers))


def train_widths(
    problem: DeepProblem,
    parametrization: Parametrization,
    width: int,
    seeds: Sequence[int],
    every: int = 1,
    test: ArrayLike | None = None,
) -> FiniteRuns:
    """Train networks of width N = ``width`` with the given seeds; recorded when ``every`` divides the time, and at T.

    ``test`` [Q', d]: inputs to predict at the end.  A pure function of each seed.  Raises ConfigError for a width below
    1 and NumericalError when a prediction is no longer finite.
    """
    if width < 1 or not len(seeds):
        raise ConfigError("finite.widths", f"holds {width} for {len(seeds)} seeds; both must be at least 1")
    new = None if test is None else _checked(problem, test)
    networks = _draw(problem, parametrization, width, seeds)
    try:
        times, records = _trained(problem, networks, width, every)
    except NumericalError as error:
        raise NumericalError(f"{parametrization.name} networks of width {width}: {error}", error.hint) from None
    stacked: dict[str, Any] = {name: np.stack([r[name] for r in records], axis=1) for name in records[0]}
    return FiniteRuns(
        width=width,
        parametrization=parametrization.name,
        seeds=np.asarray(seeds, dtype=np.int64),
        times=np.array(times),
        test_f=None if new is None else _test(problem, parametrization, networks, width, seeds, new),
        **stacked,
    )


def join(runs: Sequence[FiniteRuns]) -> FiniteRuns:
    """Chunks of seeds of one width and parametrization as one."""
    first = runs[0]
    joined: dict[str, Any] = {}
    for field in fields(FiniteRuns):
        parts = [getattr(run, field.name) for run in runs]
        whole = field.name in ("width", "parametrization", "times") or parts[0] is None
        joined[field.name] = parts[0] if whole else np.concatenate(parts)
    assert all(run.width == first.width and run.parametrization == first.parametrization for run in runs)
    return FiniteRuns(**joined)


def _trained(
    problem: DeepProblem, networks: _Networks, width: int, every: int
) -> tuple[list[int], list[dict[str, Array]]]:
    """Train in place; times recorded and what was seen at each."""
    probes = min(problem.samples, MOST_PROBES)
    times: list[int] = []
    records: list[dict[str, Array]] = []
    start: list[Array] = []
    for time in range(problem.steps + 1):
        last = time == problem.steps
        recorded = last or time % every == 0
        batch = problem.batch(min(time, problem.steps - 1))
        asked = slice(None) if recorded else batch
        passed = _forward(problem, networks, problem.coordinates[asked])
        if not np.isfinite(passed.f).all():
            raise NumericalError(f"the predictions at step {time} are not finite", "lower training.rate")
        g = _backward(problem, networks, passed, problem.targets[asked])
        if recorded:
            start = start or [h[..., :probes] for h in passed.h]
            times.append(time)
            records.append(_record(problem, width, passed, g, start, probes))
            if problem.order is not None:
                passed, g = _part(passed, batch), [back[..., batch] for back in g]
        if not last:
            _step(problem, networks, passed, g, batch)
    return times, records


def _draw(problem: DeepProblem, scaling: Parametrization, width: int, seeds: Sequence[int]) -> _Networks:
    """Parameters drawn seed by seed; biases scale as the first layer, the bias of the output not at all."""
    rank, outputs, size = problem.coordinates.shape[1], problem.outputs, float(width)
    shapes = {"weight1": (width, rank)} | {f"weight{layer}": (width, width) for layer in range(2, problem.depth + 1)}
    shapes |= {"readout": (outputs, width)}
    if problem.bias:
        shapes |= {f"bias{layer}": (width, 1) for layer in range(1, problem.depth + 1)} | {"bias_out": (1, outputs)}
    parameters = {name: np.zeros((len(seeds), *shape)) for name, shape in shapes.items()}
    scale, rate, spread = {}, {}, {}
    rates = problem.multipliers
    for name in shapes:
        kind = 1 if name.startswith("weight") and name != "weight1" else 2 if name == "readout" else 0
        multiplier = rates.bias if name.startswith("bias") else (rates.input, rates.hidden, rates.output)[kind]
        scale[name], rate[name] = size ** -scaling.a[kind], problem.rate * multiplier * size ** -scaling.c[kind]
        spread[name] = size ** -scaling.b[kind] * (problem.bias_std if name.startswith("bias") else 1.0)
        if name == "bias_out":
            scale[name], rate[name], spread[name] = 1.0, problem.rate * multiplier, 0.0
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng([_WEIGHTS, width, int(seed)])
        for name, values in parameters.items():
            if spread[name] > 0.0:
                values[i] = spread[name] * rng.standard_normal(values.shape[1:])
    return _Networks(parameters, scale, rate, {})


def _forward(problem: DeepProblem, networks: _Networks, points: Array, outside: Array | None = None) -> _Pass:
    """Points [k, r]; ``outside`` [B, N, k]: what the first layer adds across the training inputs."""
    weights, scale = networks.parameters, networks.scale
    passed = _Pass([], [], [], np.zeros(0))
    x = points.T
    for layer in range(1, problem.depth + 1):
        h = scale[f"weight{layer}"] * (weights[f"weight{layer}"] @ x)
        if layer == 1 and outside is not None:
            h = h + outside
        if problem.bias:
            h = h + scale[f"bias{layer}"] * weights[f"bias{layer}"]
        x, slope = fill(CODES[problem.activation], problem.hermite or (0.0,), h)
        passed.h.append(h)
        passed.x.append(x)
        passed.slope.append(slope)
    f = scale["readout"] * np.swapaxes(weights["readout"] @ x, 1, 2)
    if problem.bias:
        f = f + weights["bias_out"]
    return _Pass(passed.h, passed.x, passed.slope, f / problem.richness)


def _backward(problem: DeepProblem, networks: _Networks, passed: _Pass, targets: Array) -> list[Array]:
    """G [B, N, k] of every layer."""
    weights, scale = networks.parameters, networks.scale
    readout = scale["readout"] * np.swapaxes(weights["readout"], 1, 2)
    if problem.outputs == 1:
        z = readout
    else:
        z = readout @ np.swapaxes(loss_slope(problem.loss, passed.f, targets), 1, 2)
    g: list[Array] = []
    for layer in range(problem.depth, 0, -1):
        g.append(passed.slope[layer - 1] * z)
        if layer > 1:
            z = scale[f"weight{layer}"] * (np.swapaxes(weights[f"weight{layer}"], 1, 2) @ g[-1])
    return g[::-1]


def _step(problem: DeepProblem, networks: _Networks, passed: _Pass, g: list[Array], batch: NDArray[np.int64]) -> None:
    """One step of descent; rates are relative to gamma^2, as in the limit."""
    slopes = problem.richness / len(batch) * loss_slope(problem.loss, passed.f, problem.targets[batch])
    c = np.swapaxes(slopes, 1, 2) if problem.outputs == 1 else problem.richness / len(batch)
    below = [problem.coordinates[batch]] + [np.swapaxes(x, 1, 2) for x in passed.x[:-1]]
    _descend(problem, networks, "readout", np.swapaxes(passed.x[-1] @ slopes, 1, 2))
    for layer, (back, x) in enumerate(zip(g, below, strict=True), start=1):
        weighted = back * c
        _descend(problem, networks, f"weight{layer}", weighted @ x)
        if problem.bias:
            _descend(problem, networks, f"bias{layer}", weighted.sum(axis=-1, keepdims=True))
    if problem.bias:
        _descend(problem, networks, "bias_out", slopes.sum(axis=1, keepdims=True))


def _descend(problem: DeepProblem, networks: _Networks, name: str, gradient: Array) -> None:
    """w <- w - eta N^-c N^-a dloss/dW, in place: hidden weights are the memory of a run."""
    if problem.momentum:
        if name in networks.velocity:
            gradient += problem.momentum * networks.velocity[name]
        networks.velocity[name] = gradient.copy()
    gradient *= networks.rate[name] * networks.scale[name]
    networks.parameters[name] -= gradient


def _part(passed: _Pass, batch: NDArray[np.int64]) -> _Pass:
    def columns(layers: list[Array]) -> list[Array]:
        return [values[..., batch] for values in layers]

    return _Pass(columns(passed.h), columns(passed.x), columns(passed.slope), passed.f[:, batch])


def _record(
    problem: DeepProblem, width: int, passed: _Pass, g: list[Array], start: list[Array], probes: int
) -> dict[str, Array]:
    def grams(left: list[Array], right: list[Array]) -> Array:
        pairs = zip(left, right, strict=True)
        products = [np.swapaxes(a[..., :probes], 1, 2) @ b[..., :probes] for a, b in pairs]
        return np.stack(products, axis=1) / width

    back = grams(g, g) * float(width) ** 2
    return {
        "f": passed.f,
        "loss": loss_value(problem.loss, passed.f, problem.targets),
        "phi": grams(passed.x, passed.x),
        "pre": grams(passed.h, passed.h),
        "cross": grams(start, passed.h),
        "back": back if problem.outputs == 1 else np.full_like(back, np.nan),
    }


def _test(
    problem: DeepProblem,
    scaling: Parametrization,
    networks: _Networks,
    width: int,
    seeds: Sequence[int],
    x: Array,
) -> Array:
    """Predictions at new inputs x [Q, d]; weights across the training inputs are drawn now and were never trained."""
    d = problem.inputs.shape[1]
    inside = x @ problem.frame
    across = (x - inside @ problem.frame.T) / np.sqrt(d)
    size = float(width) ** -(scaling.a[0] + scaling.b[0])
    outside = np.stack(
        [
            size * np.random.default_rng([_OUTSIDE, width, int(seed)]).standard_normal((width, d)) @ across.T
            for seed in seeds
        ]
    )
    return _forward(problem, networks, inside / np.sqrt(d), outside).f


def _checked(problem: DeepProblem, inputs: ArrayLike) -> Array:
    x, d = np.asarray(inputs, dtype=np.float64), problem.inputs.shape[1]
    if x.ndim != 2 or x.shape[1] != d:
        raise ConfigError("data.test", f"has shape {x.shape}; [Q, {d}] is due")
    return x
