"""The flow at a finite output scale alpha, in displacements delta = alpha (theta - theta_0), which stay of order one.

In the rescaled clock s = alpha^2 t (t that of ``solve``; the article's, with 2 xi = 1)

    d theta/ds = (1/alpha) sum_q c_q (y_q - f(x_q)) grad sigma*(x_q; theta),      f = alpha int sigma* d rho,
    d delta/ds = sum_q c_q (y_q - f(x_q)) grad sigma*(x_q; theta_0 + delta/alpha) - mu delta,

so that no digit is lost however large alpha is. mu is a decay towards the weights at time zero. At mu = 0 this is
``solve`` at temperature 0 and without weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mfpde import datalaws
from mfpde.errors import NumericalError
from mfpde.measures import ParticleMeasure
from mfpde.problem import Network, Problem
from mfpde.steppers.atoms import AtomFlow
from mfpde.theory.kernel_limit.kernels import kernel_trace, measure_kernel

Array = NDArray[np.float64]

Velocity = Callable[[float, Array], Array]

TOLERANCE = 1e-9
# activations with a kink, and the step for them over the largest possible decay of a mode
KINKED, STEP = ("relu", "piecewise-linear"), 1.0


@dataclass(frozen=True, eq=False)
class ScalePath:
    """A flow at one ``scale``, at K times: f on n data and m test nodes, and what became of neurons and kernel.

    displacement [K] (int |theta_t - theta_0|^2 d rho)^(1/2); kernel_change [K] ||H_t - H_0||/||H_0|| (Frobenius, data
    weights); alignment [K] <u_0, H_t u_0>/(||H_t|| |u_0|^2) with the residual u_0 at time zero: 1 if H knows nothing
    else; ``evaluations`` of the right-hand side.
    """

    scale: float
    times: Array
    f: Array
    f_test: Array
    displacement: Array
    kernel_change: Array
    alignment: Array
    evaluations: int


def scaled(problem: Problem, scale: float) -> Problem:
    """The problem at another output scale, at temperature 0 and without weight decay."""
    assert isinstance(problem.model, Network)
    still = tuple(replace(c, weight_decay=0.0) for c in problem.coordinates)
    return replace(problem, model=replace(problem.model, scale=scale), temperature=0.0, coordinates=still)


def finite_scale(
    problem: Problem,
    start: ParticleMeasure,
    scale: float,
    times: Array,
    x_test: Array,
    decay: float = 0.0,
    report: Callable[[float], None] | None = None,
    tolerance: float = TOLERANCE,
) -> ScalePath:
    """The flow from ``start`` at K rising ``times`` of the rescaled clock, the first 0; x_test [m, d].

    DOP853 on all displacements with relative and absolute ``tolerance``; steps of their own for activations with a kink
    (see ``_stepped``).  ``report`` gets the time that is reached.  NumericalError if the integrator fails.
    """
    one = scaled(problem, scale)
    flow, probe = AtomFlow(one), AtomFlow(replace(one, data=_points(x_test))) if len(x_test) else None
    first, shape = start.atoms, start.atoms.shape

    def at(delta: Array) -> ParticleMeasure:
        return replace(start, atoms=first + delta.reshape(shape) / scale)

    def velocity(s: float, delta: Array) -> Array:
        if report is not None:
            report(s)
        moving = flow.velocity(at(delta).atoms, start.weights) / scale
        return np.asarray(moving.reshape(-1) - decay * delta)

    if isinstance(one.model, Network) and one.model.activation in KINKED:
        states, evaluations = _stepped(velocity, lambda delta: kernel_trace(one, at(delta)) + decay, first.size, times)
    else:
        states, evaluations = _adaptive(velocity, first.size, times, tolerance)
    if not np.all(np.isfinite(states[-1])):
        raise NumericalError(f"the flow at scale {scale:g} could not be integrated to time {times[-1]:g}")
    measures = [at(state) for state in states]
    f = np.stack([flow.predict(m.atoms, m.weights) for m in measures])
    f_test = np.zeros((len(times), len(x_test)))
    if probe is not None:
        f_test = np.stack([probe.predict(m.atoms, m.weights) for m in measures])
    moved = np.sqrt([float(start.weights @ np.sum((m.atoms - first) ** 2, axis=1)) for m in measures])
    change, alignment = _kernels(problem, measures, problem.data.y - f[0])
    return ScalePath(scale, times, f, f_test, moved, change, alignment, evaluations)


def _adaptive(velocity: Velocity, size: int, times: Array, tolerance: float) -> tuple[list[Array], int]:
    """States [size] at all times and the number of evaluations; a state that is not finite where the steps end."""
    from scipy.integrate import solve_ivp  # a tenth of a second that only this flow needs

    span = (float(times[0]), float(times[-1]))
    found = solve_ivp(velocity, span, np.zeros(size), "DOP853", t_eval=times, rtol=tolerance, atol=tolerance)
    states = list(found.y.T)
    return states if found.success else [*states, np.full(size, np.nan)], int(found.nfev)


def _stepped(velocity: Velocity, bound: Callable[[Array], float], size: int, times: Array) -> tuple[list[Array], int]:
    """The same by the classical Runge-Kutta method with steps of STEP over a ``bound`` of the fastest decay.

    At a kink the velocity jumps, often towards it from both sides: neurons slide along, and a method that controls its
    error there takes steps without end. Fixed steps average over the jump with an error of their own size.
    """
    state, states, evaluations = np.zeros(size), [np.zeros(size)], 0
    for begin, end in pairwise(times):
        s = float(begin)
        while s < end:
            fastest, left = bound(state), float(end - s)
            last = STEP >= 0.999 * fastest * left
            h = left if last else STEP / fastest
            k1 = velocity(s, state)
            k2 = velocity(s + 0.5 * h, state + 0.5 * h * k1)
            k3 = velocity(s + 0.5 * h, state + 0.5 * h * k2)
            k4 = velocity(s + h, state + h * k3)
            state = state + h / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)
            s, evaluations = float(end) if last else s + h, evaluations + 5
        states.append(state)
    return states, evaluations


def _points(x: Array) -> datalaws.DataLaw:
    return datalaws.nodes(x, np.zeros(len(x)))


def _kernels(problem: Problem, measures: list[ParticleMeasure], u0: Array) -> tuple[Array, Array]:
    """Relative change of the kernel since the start, and its alignment with the residual at the start."""
    roots, v = np.sqrt(problem.data.weights), np.sqrt(problem.data.weights) * u0
    norm = float(v @ v) or 1.0
    change, alignment, before = [], [], np.zeros(0)
    for k, measure in enumerate(measures):
        kernel = measure_kernel(problem, measure, problem.data.x, problem.data.x) * np.outer(roots, roots)
        before = kernel if k == 0 else before
        change.append(float(np.linalg.norm(kernel - before) / np.linalg.norm(before)))
        alignment.append(float(v @ kernel @ v / (np.linalg.norm(kernel) * norm)))
    return np.array(change), np.array(alignment)
