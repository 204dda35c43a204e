"""The infinite-width limit of an L-layer network under muP, step by step: causal, no fixed point, no table over times.

The first weights w and the readout V are columns of the first and last space, the hidden matrices lazy operators.  One
step is a forward and a backward query of the batch and a rank-one update per point.  For L = 1 the
samples are the particles of the two-layer mean-field system, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.core.activations import CODES, fill
from mfpde.errors import ConfigError, NumericalError
from mfpde.theory.deep.columns import extend, mean_products
from mfpde.theory.deep.losses import loss_slope, loss_value
from mfpde.theory.deep.operator import GaussianOperator
from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.deep.space import LimitSettings, SampledSpace, Space
from mfpde.theory.deep.trajectory import Snapshot, Trajectory, collect

Array = NDArray[np.float64]

# training points whose second moments are told; under SGD they are queried at the start
MOST_PROBES = 256
# points of one temporary query: each may add a column to every space
_CHUNK = 64
# preactivations at the start of points outside the span of the training inputs: singular values below are rounding
_OUTSIDE = 1e-12


class _Pass(NamedTuple):
    """A forward query of k points: h, phi(h), phi'(h) [S, k] per layer, coordinates of the hidden ones, f [k, C]."""

    h: list[Array]
    x: list[Array]
    slope: list[Array]
    a: list[Array]
    f: Array


class CausalLimit:
    """The limit on given spaces, one per layer: ``DeepLimit`` samples them, ``linear.LinearLimit`` is exact.

    ``time``: the step whose parameters it holds, 0 .. T.  ``finished``: time T has been told.
    """

    def __init__(self, problem: DeepProblem, spaces: Sequence[Space], tolerance: float) -> None:
        self.problem, self.time, self.finished = problem, 0, False
        self._spaces = list(spaces)
        self._operators = [
            GaussianOperator(source, target, tolerance, remember=problem.outputs > 1)
            for source, target in zip(self._spaces[:-1], self._spaces[1:], strict=True)
        ]
        self._probes = min(problem.samples, MOST_PROBES)
        self._parameters: dict[str, Array] = {}
        self._velocity: dict[str, Array] = {}
        self._start: list[Array] = []

    def advance(self, record: bool = True) -> Snapshot | None:
        """The snapshot of the current time (None unless ``record``), then one step; at time T no step is taken.

        Raises NumericalError when predictions are no longer finite or columns outnumber samples, ConfigError when
        finished.
        """
        problem, full, time = self.problem, self.problem.order is None, self.time
        if self.finished:
            raise ConfigError("training.steps", f"is {problem.steps}, and all of them have been taken")
        last = time == problem.steps
        moments = self._look() if record and not full else None
        moved, coefficients = 0.0, np.zeros(problem.samples)
        if full or not last:
            batch = problem.batch(time)
            passed = self._forward(problem.coordinates[batch])
            slopes = loss_slope(problem.loss, passed.f, problem.targets[batch])
            g, b = self._backward(passed, slopes)
            if full and record:
                moments = self._moments(passed, g, passed.f)
            if not last:
                weighted = problem.rate * problem.richness / len(batch) * slopes
                moved = self._update(passed, g, b, problem.coordinates[batch], weighted)
                np.add.at(coefficients, batch, weighted[:, 0] if problem.outputs == 1 else _lengths(weighted))
        self.time, self.finished = min(time + 1, problem.steps), last
        return None if moments is None else self._snapshot(time, moments, moved, coefficients)

    def predict(self, inputs: ArrayLike) -> Array:
        """Predictions [Q, C] at new inputs [Q, d] with the parameters of the current time; changes nothing.

        A point is asked about as a training point is, and its columns are forgotten again: the law of one time needs no
        memory.  Raises ConfigError for inputs of another dimension.
        """
        x = np.asarray(inputs, dtype=np.float64)
        d = self.problem.inputs.shape[1]
        if x.ndim != 2 or x.shape[1] != d:
            raise ConfigError("data.test", f"has shape {x.shape}; [Q, {d}] is due")
        frame, values = self.problem.frame, [np.zeros((0, self.problem.outputs))]
        for start in range(0, len(x), _CHUNK):
            block = x[start : start + _CHUNK] / np.sqrt(d)
            inside = block @ frame
            with self._temporarily():
                values.append(self._forward(inside, block - inside @ frame.T).f)
        return np.concatenate(values)

    def state(self) -> dict[str, Array]:
        """Arrays from which ``restore`` continues to the same bits."""
        arrays = {"clock": np.array([self.time, self.finished])}
        for kind, group in (("parameter", self._parameters), ("velocity", self._velocity)):
            arrays |= {f"{kind}/{name}": values.copy() for name, values in group.items()}
        for layer, (space, start) in enumerate(zip(self._spaces, self._start, strict=True), start=1):
            arrays[f"start/{layer}"] = start.copy()
            arrays[f"space/{layer}/basis"] = space.basis.view.copy()
            arrays[f"space/{layer}/counts"] = np.array([space.drawn, space.others])
        for layer, operator in enumerate(self._operators, start=2):
            arrays |= {f"operator/{layer}/{name}": values for name, values in operator.arrays().items()}
        return arrays

    def _restore(self, arrays: dict[str, Array]) -> None:
        self.time, self.finished = int(arrays["clock"][0]), bool(arrays["clock"][1])
        for kind, group in (("parameter", self._parameters), ("velocity", self._velocity)):
            group.clear()
            group |= {name: values.copy() for name, values in _under(arrays, f"{kind}/").items()}
        self._start = []
        for layer, space in enumerate(self._spaces, start=1):
            self._start.append(np.asfortranarray(arrays[f"start/{layer}"]))
            space.basis.cut(0)
            space.basis.append(arrays[f"space/{layer}/basis"])
            space.drawn, space.others = (int(n) for n in arrays[f"space/{layer}/counts"])
        for layer, operator in enumerate(self._operators, start=2):
            operator.restore(_under(arrays, f"operator/{layer}/"))

    def _begin(self) -> None:
        """Draw the first weights, ask about the training points, draw the readout after them: f_0 = 0 there."""
        problem, last = self.problem, self._spaces[-1]
        self._parameters["first"] = self._spaces[0].fresh(problem.coordinates.shape[1])
        if problem.bias:
            for layer, space in enumerate(self._spaces, start=1):
                drawn = space.fresh(1)[:, 0] if problem.bias_std > 0.0 else np.zeros(space.rows)
                self._parameters[f"bias{layer}"] = problem.bias_std * drawn
            self._parameters["bias_out"] = np.zeros(problem.outputs)
        self._parameters["readout"] = np.zeros((last.rows, problem.outputs))
        asked = self._probes if problem.order is not None else problem.samples
        passed = self._forward(problem.coordinates[:asked])
        self._start = [np.asfortranarray(h[:, : self._probes]) for h in passed.h]
        nothing = np.zeros((last.rows, 0))
        last.absorb(extend(nothing, passed.x[-1], last.norm, _OUTSIDE).columns)
        self._parameters["readout"] = last.fresh(problem.outputs)

    def _forward(self, coordinates: Array, outside: Array | None = None) -> _Pass:
        """Ask about points with ``coordinates`` [k, r]; ``outside`` [k, d]: their parts across the training inputs."""
        problem, first = self.problem, self._spaces[0]
        h = self._parameters["first"] @ coordinates.T
        if outside is not None:
            u, sizes, _ = np.linalg.svd(outside, full_matrices=False)
            kept = sizes > _OUTSIDE
            h = h + first.fresh(int(kept.sum())) @ (u[:, kept] * sizes[kept]).T
        passed = _Pass([], [], [], [], np.zeros(0))
        for layer in range(1, problem.depth + 1):
            if layer > 1:
                h, a = self._operators[layer - 2].forward(passed.x[-1])
                passed.a.append(a)
            if problem.bias:
                h = h + self._parameters[f"bias{layer}"][:, None]
            x, slope = fill(CODES[problem.activation], problem.hermite or (0.0,), h.T)
            passed.h.append(h)
            passed.x.append(x.T)
            passed.slope.append(slope.T)
        f = mean_products(passed.x[-1], self._parameters["readout"], self._spaces[-1].norm)
        if problem.bias:
            f = f + self._parameters["bias_out"]
        if not np.isfinite(f).all():
            raise NumericalError(f"the predictions at step {self.time} are not finite", "lower training.rate")
        return passed._replace(f=f / problem.richness)

    def _backward(self, passed: _Pass, slopes: Array) -> tuple[list[Array], list[Array]]:
        """g^l [S, k] of every layer and coordinates b of the hidden ones; for C > 1 g carries the slope of the loss."""
        readout = self._parameters["readout"]
        z = readout * np.ones(len(slopes)) if self.problem.outputs == 1 else readout @ slopes.T
        g: list[Array] = []
        b: list[Array] = []
        for layer in range(self.problem.depth, 0, -1):
            g.append(passed.slope[layer - 1] * z)
            if layer > 1:
                z, found = self._operators[layer - 2].backward(g[-1])
                b.append(found)
        return g[::-1], b[::-1]

    def _update(self, passed: _Pass, g: list[Array], b: list[Array], coordinates: Array, weighted: Array) -> float:
        """One step of descent with the weighted slopes [k, C]; returns E |sum_mu c_mu x^L(mu)|^2."""
        problem, rates = self.problem, self.problem.multipliers
        c = (
            weighted[:, 0]
            if problem.outputs == 1
            else np.full(len(weighted), problem.rate * problem.richness / len(weighted))
        )
        step = passed.x[-1] @ weighted
        self._descend("readout", step, rates.output)
        for operator, a, found in zip(self._operators, passed.a, b, strict=True):
            operator.update(c, a, found, rates.hidden, problem.momentum)
        self._descend("first", (g[0] * c) @ coordinates, rates.input)
        if problem.bias:
            for layer, back in enumerate(g, start=1):
                self._descend(f"bias{layer}", back @ c, rates.bias)
            self._descend("bias_out", weighted.sum(axis=0), rates.bias)
        return float(np.sum(step**2)) / self._spaces[-1].norm

    def _descend(self, name: str, gradient: Array, rate: float) -> None:
        if self.problem.momentum:
            gradient = self._velocity[name] = self.problem.momentum * self._velocity.get(name, 0.0) + gradient
        self._parameters[name] = self._parameters[name] - rate * gradient

    def _look(self) -> dict[str, Array]:
        """Moments at the probes and predictions at all training points, leaving no trace."""
        problem = self.problem
        with self._temporarily():
            passed = self._forward(problem.coordinates[: self._probes])
            slopes = loss_slope(problem.loss, passed.f, problem.targets[: self._probes])
            g, _ = self._backward(passed, slopes)
            rest = self.predict(problem.inputs[self._probes :])
            return self._moments(passed, g, np.concatenate([passed.f, rest]))

    def _moments(self, passed: _Pass, g: list[Array], f: Array) -> dict[str, Array]:
        norms, q = [space.norm for space in self._spaces], self._probes

        def grams(left: list[Array], right: list[Array]) -> Array:
            return np.stack([mean_products(a[:, :q], b[:, :q], n) for a, b, n in zip(left, right, norms, strict=True)])

        back = grams(g, g) if self.problem.outputs == 1 else np.full((len(g), q, q), np.nan)
        return {
            "f": f,
            "phi": grams(passed.x, passed.x),
            "pre": grams(passed.h, passed.h),
            "cross": grams(self._start, passed.h),
            "back": back,
        }

    def _snapshot(self, time: int, moments: dict[str, Array], moved: float, coefficients: Array) -> Snapshot:
        problem = self.problem
        return Snapshot(
            time=time,
            loss=float(loss_value(problem.loss, moments["f"], problem.targets)),
            readout_step=moved,
            coefficients=coefficients,
            rank=np.array([operator.rank for operator in self._operators], dtype=np.int64).reshape(-1, 2),
            dropped=np.array([operator.dropped for operator in self._operators]).reshape(-1, 2),
            columns=np.array([space.columns for space in self._spaces]),
            **moments,
        )

    @contextmanager
    def _temporarily(self) -> Iterator[None]:
        """Forget inside what is asked inside."""
        spaces = [space.mark() for space in self._spaces]
        operators = [operator.mark() for operator in self._operators]
        try:
            yield
        finally:
            for space, mark in zip(self._spaces, spaces, strict=True):
                space.cut(mark)
            for operator, known in zip(self._operators, operators, strict=True):
                operator.cut(known)


class DeepLimit(CausalLimit):
    """The limit sampled as ``settings`` say; replicates differ in their random numbers alone."""

    def __init__(self, problem: DeepProblem, settings: LimitSettings, replicate: int = 0) -> None:
        super().__init__(problem, _sampled(problem, settings, replicate), settings.tolerance)
        self._begin()

    @classmethod
    def restore(
        cls, problem: DeepProblem, settings: LimitSettings, replicate: int, state: dict[str, Array]
    ) -> DeepLimit:
        """The limit whose ``state`` was taken, with the same problem, settings and replicate."""
        limit = cls.__new__(cls)
        CausalLimit.__init__(limit, problem, _sampled(problem, settings, replicate), settings.tolerance)
        limit._restore(state)
        return limit


def snapshots(limit: CausalLimit, every: int = 1) -> Iterator[Snapshot]:
    """Run the limit to its end: snapshots at the times that ``every`` divides, and at T.

    A snapshot comes after the step from its time has been taken, so that ``state`` continues behind it.
    """
    while not limit.finished:
        seen = limit.advance(record=limit.time % every == 0 or limit.time == limit.problem.steps)
        if seen is not None:
            yield seen


def run(problem: DeepProblem, settings: LimitSettings, replicate: int = 0, every: int = 1) -> Trajectory:
    """One replicate of the limit from 0 to T."""
    return collect(snapshots(DeepLimit(problem, settings, replicate), every))


def _sampled(problem: DeepProblem, settings: LimitSettings, replicate: int) -> list[Space]:
    # without hidden matrices a space never gets a column after those of the start
    few = problem.coordinates.shape[1] + problem.outputs + 2
    most = few if problem.depth == 1 else problem.samples * (problem.steps + 1) * 2 + few
    return [SampledSpace(settings, layer, replicate, most) for layer in range(1, problem.depth + 1)]


def _lengths(rows: Array) -> Array:
    return np.asarray(np.linalg.norm(rows, axis=1))


def _under(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
