"""The limit of a study, without any flow: kernel and spectrum of the initial law, stopping, decay, interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.core.activations import derivative, evaluate
from mfpde.io.kernel_limit.build import Setting
from mfpde.io.kernel_limit.schema import Config
from mfpde.measures import ParticleMeasure
from mfpde.problem import Network
from mfpde.theory.expansions import EXPANSIONS
from mfpde.theory.kernel_limit.duals import CLOSED, duals
from mfpde.theory.kernel_limit.kernels import gaussian_kernel, gaussian_neuron, measure_kernel, tangent_of
from mfpde.theory.kernel_limit.linearised import Spectrum, coordinates, decompose, predict, residual
from mfpde.theory.kernel_limit.plane import plane_average
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]

# the stopping curve goes on beyond the last time, to show where it ends
_CURVE, _BEYOND = 121, 1e3
_CHECKED = 6


@dataclass(frozen=True, eq=False)
class Errors:
    """Mean squares and, for targets -1 and +1, shares of wrong signs, each [K]; NaN without rows to test on."""

    train: Array
    test: Array
    wrong_sign: Array


@dataclass(frozen=True, eq=False)
class Kernels:
    """A kernel on the rows: train [n, n], cross [m, n] = H(test, train), and the spectrum of the former."""

    train: Array
    cross: Array
    spectrum: Spectrum


@dataclass(frozen=True, eq=False)
class Limit:
    """``kernels`` of the initial law, ``how`` they were found: "closed form", "quadrature" or "neurons".

    ``check`` their largest relative deviation from quadrature in the plane on a few pairs, None where that has no
    meaning. ``stopping`` errors at ``times`` [K], ``decayed`` errors at infinite time with the decays ``ridges`` [R];
    ``final`` and ``ridgeless`` predictions [m] at the last time of the flow and at infinite time without decay,
    ``ends`` the errors of these two; ``modes`` [n] the components of the targets along the modes.
    """

    how: str
    check: float | None
    kernels: Kernels
    times: Array
    stopping: Errors
    ridges: Array
    decayed: Errors
    ends: Errors
    final: Array
    ridgeless: Array
    modes: Array


def kernels_of(setting: Setting, kernel: Callable[[Array, Array], Array], tolerance: float | None) -> Kernels:
    """Matrices and spectrum of a kernel function on the rows of a setting."""
    data = setting.problem.data
    train = kernel(data.x, data.x)
    return Kernels(train, kernel(setting.x_test, data.x), decompose(train, data.weights, tolerance))


def compute_limit(config: Config, setting: Setting, neurons: ParticleMeasure) -> Limit:
    """All of it.  ``neurons`` stand in for the initial law where its kernel is no Gaussian average."""
    problem, section = setting.problem, config.kernel_limit
    model, y = problem.model, problem.data.y
    assert isinstance(model, Network)
    neuron, tangent = gaussian_neuron(problem, setting.law), tangent_of(problem)
    if neuron is None or model.activation not in EXPANSIONS:
        how = "neurons"
        found = kernels_of(setting, lambda x, z: measure_kernel(problem, neurons, x, z), section.rank_tolerance)
    else:
        how = "closed form" if model.activation in CLOSED and not neuron.mean.any() else "quadrature"
        found = kernels_of(
            setting,
            lambda x, z: gaussian_kernel(model.activation, neuron, tangent, x, z, model.hermite),
            section.rank_tolerance,
        )
    last = float(setting.times[-1])
    times = np.geomspace(1e-4 * last, _BEYOND * last, _CURVE)
    largest = float(found.spectrum.eigenvalues[0])
    ridges = np.geomspace(1e-8 * largest, 10.0 * largest, _CURVE)
    stopping = [_both(found, y, time, section.ridge) for time in times]
    decayed = [_both(found, y, np.inf, ridge) for ridge in ridges]
    ends = [_both(found, y, last, section.ridge), _both(found, y, np.inf, 0.0)]
    return Limit(
        how,
        None if how == "neurons" else _check(model, setting),
        found,
        times,
        _errors(setting, stopping),
        ridges,
        _errors(setting, decayed),
        _errors(setting, ends),
        ends[0][1],
        ends[1][1],
        coordinates(found.spectrum, y),
    )


def errors_at(setting: Setting, found: Kernels, time: float, decay: float) -> Errors:
    """Errors [1] of the linearised flow of a kernel at one time."""
    return _errors(setting, [_both(found, setting.problem.data.y, time, decay)])


def _both(found: Kernels, y: Array, time: float, decay: float) -> tuple[Array, Array]:
    """Predictions on the rows trained on and tested on."""
    spectrum = found.spectrum
    return y - residual(spectrum, y, time, decay), predict(spectrum, found.cross, y, time, decay)


def _errors(setting: Setting, predictions: Sequence[tuple[Array, Array]]) -> Errors:
    return errors(setting, *(np.stack(one) for one in zip(*predictions, strict=True)))


def errors(setting: Setting, f: Array, f_test: Array) -> Errors:
    """Errors of predictions f [K, n] on the rows trained on and f_test [K, m] on the others."""
    data, count = setting.problem.data, len(f)
    train = (f - data.y) ** 2 @ data.weights
    if not len(setting.y_test):
        return Errors(train, np.full(count, np.nan), np.full(count, np.nan))
    test = np.mean((f_test - setting.y_test) ** 2, axis=1)
    wrong = np.mean(f_test * setting.y_test <= 0.0, axis=1) if setting.signs else np.full(count, np.nan)
    return Errors(train, test, wrong)


def _check(model: Network, setting: Setting) -> float | None:
    """The largest deviation of the two Gaussian averages from quadrature in the plane, relative to the diagonal."""
    neuron = gaussian_neuron(setting.problem, setting.law)
    assert neuron is not None
    if neuron.mean.any() or neuron.bias.any():
        return None
    x = setting.problem.data.x[:_CHECKED]
    lifted = np.concatenate([neuron.std * x, np.full((len(x), 1), neuron.bias_std)], axis=1)
    atoms = Atoms(np.ones(len(x)), lifted, np.zeros(len(x)))
    worst = 0.0
    for matrix, function in zip(
        duals(model.activation, atoms, atoms, model.hermite), (evaluate, derivative), strict=True
    ):
        scale = float(np.max(np.diag(matrix))) or 1.0
        for i, one in enumerate(lifted):
            for j, two in enumerate(lifted[: i + 1]):

                def at(z: Array, function: Callable[..., Array] = function) -> Array:
                    return function(model.activation, z, model.hermite)

                worst = max(worst, abs(matrix[i, j] - plane_average(at, at, one, two)) / scale)
    return float(worst)
