"""The tangent kernel, the claims on features and their certificates, assumptions and negative controls."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from naive_deep import toy
from numpy.testing import assert_allclose

from mfpde.theory.deep.assumptions import check_activation, check_inputs
from mfpde.theory.deep.diagnostics import (
    feature_change,
    global_minimum,
    kernel_bound,
    reliability,
    smallest_eigenvalue,
    space_time_eigenvalue,
    spike,
)
from mfpde.theory.deep.finite import FiniteRuns, train_widths
from mfpde.theory.deep.limit import run
from mfpde.theory.deep.parametrizations import PARAMETRIZATIONS
from mfpde.theory.deep.problem import DeepProblem, Multipliers, data_order, prepare_inputs
from mfpde.theory.deep.space import LimitSettings
from mfpde.theory.deep.tangent import lazy_trajectory, tangent_kernel, theta_of
from mfpde.theory.deep.trajectory import Summary, Trajectory, summarise
from mfpde.theory.kernel_limit.kernels import GaussianNeuron, Tangent, gaussian_kernel


def erf_kernel(gram: np.ndarray, depth: int) -> np.ndarray:
    """Theta of docs/deep.md for erf, by the arcsine recursion."""
    phi, slopes = [gram], []
    for _ in range(depth):
        scale = np.outer(1.0 + np.diag(phi[-1]), 1.0 + np.diag(phi[-1]))
        slopes.append(2.0 / np.pi / np.sqrt(scale - phi[-1] ** 2))
        phi.append(2.0 / np.pi * np.arcsin(phi[-1] / np.sqrt(scale)))
    theta, g = phi[-1].copy(), np.ones_like(gram)
    for slope, below in zip(slopes[::-1], phi[-2::-1], strict=True):
        g = g * slope
        theta += g * below
    return theta


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_erf_kernel_in_closed_form(depth: int) -> None:
    x, y = toy()
    case = DeepProblem(x, y, depth=depth, activation="erf")
    assert_allclose(tangent_kernel(case).theta, erf_kernel(case.gram, depth), rtol=1e-12)


@pytest.mark.parametrize("activation", ["erf", "relu", "tanh"])
def test_one_layer_is_the_kernel_of_the_kernel_limit(activation: str) -> None:
    """E a^2 = 1 and w ~ N(0, I/d) on inputs xi: multipliers are the learning rates of a and w, m_b that of b."""
    x, y = toy()
    case = DeepProblem(x, y, 1, activation, multipliers=Multipliers(0.5, 1.0, 2.0))
    neuron = GaussianNeuron(1.0, np.zeros(10), np.sqrt(0.1), np.zeros(1), np.ones(1), 0.0)
    expected = gaussian_kernel(activation, neuron, Tangent(2.0, 0.05, 0.0), x, x)
    assert_allclose(tangent_kernel(case).theta, expected, rtol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_kernels_at_the_start_are_those_of_the_limit(activation: str) -> None:
    """Biases and all: Phi^l, G^l and Theta by Gaussian averages and by samples."""
    x, y = toy(6, 10)
    case = DeepProblem(
        x, y, 3, activation, steps=1, multipliers=Multipliers(0.5, 1.5, 2.0, 0.3), bias=True, bias_std=0.6
    )
    kernel = tangent_kernel(case)
    found = summarise([run(case, LimitSettings(samples=4096), r) for r in range(4)])
    for exact, name in ((kernel.phi, "phi"), (kernel.back, "back")):
        mean, sem = getattr(found.mean, name)[0], getattr(found.sem, name)[0]
        assert np.abs(mean - exact).max() < 0.02 * np.abs(exact).max()
        assert np.sqrt(np.mean((mean - exact) ** 2)) < 3.0 * np.sqrt(np.mean(sem**2)) + 1e-4
    theta = theta_of(case, found.mean.phi[0], found.mean.back[0])
    assert_allclose(theta, kernel.theta, atol=0.02 * kernel.theta.max())


@pytest.mark.parametrize("depth", [2, 3])
def test_small_richness_is_kernel_descent(depth: int) -> None:
    """gamma = .02 against the arcsine kernel within 2 %; gamma = .5 is far from it."""
    x, y = toy(6, 10)
    off = []
    for richness in (0.02, 0.5):
        case = DeepProblem(x, y, depth, "erf", rate=2.0, steps=20, richness=richness)
        lazy = lazy_trajectory(case, erf_kernel(case.gram, depth))
        f = summarise([run(case, LimitSettings(samples=8192), r) for r in range(2)]).mean.f
        off.append(np.abs(f - lazy).max() / np.abs(lazy).max())
    assert off[0] < 0.02
    assert off[1] > 0.1


def test_kernel_descent_with_momentum_and_batches() -> None:
    """Networks that are nearly lazy go the same way."""
    x, y = toy(6, 10)
    case = DeepProblem(
        x,
        y,
        2,
        "erf",
        rate=0.8,
        steps=12,
        richness=0.01,
        momentum=0.5,
        multipliers=Multipliers(0.5, 1.5, 2.0, 0.3),
        bias=True,
        bias_std=0.3,
        order=data_order(6, 2, 12, 0),
    )
    lazy = lazy_trajectory(case, tangent_kernel(case).theta)
    f = summarise([run(case, LimitSettings(samples=4096), r) for r in range(3)]).mean.f
    assert np.abs(f - f[0] - lazy).max() < 0.03 * np.abs(lazy).max()


@cache
def long_run(depth: int) -> tuple[DeepProblem, Trajectory]:
    x, y = toy()
    case = DeepProblem(x, y, depth=depth, rate=2.0, steps=150)
    return case, run(case, LimitSettings(samples=4096, tolerance=1e-2))


@pytest.mark.parametrize(("depth", "loss"), [(1, 1e-7), (2, 1e-7), pytest.param(3, 1e-8, marks=pytest.mark.slow)])
def test_global_convergence(depth: int, loss: float) -> None:
    """Eight points to t = 150, the rate never below .8 of the kernel bound, and at the end 1.033 of it."""
    case, found = long_run(depth)
    assert found.loss[-1] < loss
    bound = kernel_bound(found, case)
    assert bound is not None and bound.unstable_from is None
    assert np.all(bound.rate >= 0.8 * bound.bound)
    assert_allclose(bound.rate[-1] / bound.bound[-1], 1.033, atol=0.01)
    assert np.all(bound.lowest >= smallest_eigenvalue(found.phi[:, -1]))
    certificate = global_minimum(found)
    assert certificate.holds
    assert np.all(certificate.squares <= certificate.bound * (1.0 + 1e-9))
    # the last step is none; the one before says how small the residual is
    assert certificate.bound[-1] == 0.0 and certificate.bound[-2] < 1e-4 * certificate.bound[1]


def test_certificate_is_an_inequality_of_the_step() -> None:
    """E |step of V|^2 = c^T Phi c, with the coefficients told."""
    _, found = long_run(2)
    for t in (0, 3, 40):
        c = found.coefficients[t]
        assert_allclose(c @ found.phi[t, -1] @ c, found.readout_step[t], rtol=1e-10)


def controls() -> list[tuple[str, np.ndarray, np.ndarray]]:
    x, y = toy()
    opposite, twice = x.copy(), x.copy()
    opposite[1] = -opposite[0]
    twice[4] = twice[0]
    return [("antipodal", opposite, y), ("duplicate", twice, y)]


@pytest.mark.parametrize("which", [0, 1])
def test_negative_controls(which: int) -> None:
    """The loss stays at .125, and features are dependent to rounding."""
    name, x, y = controls()[which]
    found = run(DeepProblem(x, y, depth=2, rate=2.0, steps=100), LimitSettings(samples=1024, tolerance=1e-2))
    assert abs(found.loss[-1] - 0.125) < 1e-3
    assert smallest_eigenvalue(found.phi).max() < 1e-12
    assert not global_minimum(found).holds
    check = check_inputs(x)
    assert not check.holds and name in check.sentence
    assert (check.antipodal, check.duplicates) == (((0, 1),), ()) if which == 0 else ((), ((0, 4),))
    assert check.smallest_angle < 1e-7


def test_an_activation_that_is_not_odd_learns_the_antipodal_pair() -> None:
    _, x, y = controls()[0]
    case = DeepProblem(x, y, 2, "gelu", rate=2.0, steps=50)
    found = run(case, LimitSettings(samples=1024, tolerance=1e-2))
    assert found.loss[-1] < 1e-3
    assert smallest_eigenvalue(found.phi).min() > 0.01
    assert global_minimum(found).holds


def test_feature_change_and_space_time_eigenvalue_of_the_reference() -> None:
    """L = 2, t = 30: .4993, 1.2422 and 1.7e-5, 5.0e-3 by another program."""
    x, y = toy()
    runs = [run(DeepProblem(x, y, depth=2, rate=2.0, steps=30), LimitSettings(), r, every=30) for r in range(3)]
    found = summarise(runs).mean
    assert_allclose(feature_change(found.pre, found.cross)[-1], [0.4993, 1.2422], rtol=0.01)
    values = space_time_eigenvalue(found.pre, found.cross)
    assert_allclose(values[-1], [1.7e-5, 5.0e-3], rtol=0.1)
    assert np.abs(values[0]).max() < 1e-12 and np.all(feature_change(found.pre, found.cross)[0] < 1e-7)


def test_a_spike_is_found() -> None:
    times = np.arange(0, 50, 5)
    falling = 0.5 ** np.arange(10.0)
    assert spike(falling, times, noisy=False) is None
    # a 3-class run at too large a rate: .477, .28, .26, .66, .54
    jump = np.concatenate([[0.477, 0.28, 0.26, 0.66, 0.54], 0.1 * falling[:5]])
    assert spike(jump, times, noisy=False) == 15
    assert spike(jump, times, noisy=True) is None
    assert spike(np.where(times == 30, 1.0, falling), times, noisy=True) == 30
    # far below the first loss nothing is spoilt
    assert spike(np.where(times == 45, 3e-4, 1e-4 * falling + falling), times, noisy=False) is None


def test_a_step_beyond_the_edge_of_stability_is_unreliable() -> None:
    x, y = toy()
    stable, unstable = (DeepProblem(x, y, depth=1, rate=rate, steps=8) for rate in (2.0, 16.0))
    settings = LimitSettings(samples=256)
    good, bad = (summarise([run(case, settings, r) for r in range(3)]) for case in (stable, unstable))
    assert reliability(good, stable, settings, precision=1.0).unstable_time is None
    told = reliability(bad, unstable, settings, precision=1e-9)
    assert told.unstable_time == 0 and told.spike_time is not None and not told.precise
    bound = kernel_bound(bad.mean, unstable)
    assert bound is not None
    assert_allclose(bound.sharpness, 2.0 * bound.highest)
    assert kernel_bound(bad.mean, replace(unstable, targets=np.stack([y, y], axis=1))) is None


def test_too_few_samples_are_told() -> None:
    x, y = toy()
    case = DeepProblem(x, y, depth=2, rate=2.0, steps=10)
    settings = LimitSettings(samples=512)
    told = reliability(summarise([run(case, settings, r) for r in range(2)]), case, settings)
    assert told.crowded_time is not None and told.crowded_time > 0
    assert told.error.shape == (11,)
    assert reliability(summarise([run(case, settings)]), case, None).precise


def test_assumptions_on_data() -> None:
    x, _ = toy()
    good = check_inputs(x)
    assert good.holds and good.ties == 0 and good.rank == 8
    wide = check_inputs(np.random.default_rng(0).standard_normal((5, 3)))
    assert wide.holds and wide.rank == 3 and "span 3 dimensions" in wide.sentence
    assert_allclose(np.cos(good.smallest_angle), np.abs(np.corrcoef(x) * 0 + x @ x.T / 10 - np.eye(8)).max(), rtol=1e-9)
    right = check_inputs(np.eye(3))
    assert right.orthogonal == ((0, 1), (0, 2), (1, 2)) and right.ties == 3
    # |<x_0, x_1>| = |<x_0, x_2>| without anything else
    tied = check_inputs([[1.0, 0.0], [0.5, 2.0], [-0.5, 1.0]])
    assert not tied.holds and tied.ties == 1 and not tied.orthogonal and "1 tie " in tied.sentence


def test_assumptions_on_activations() -> None:
    assert [name for name in ("tanh", "sigmoid", "erf", "sin", "gelu") if not check_activation(name).good] == []
    for name in ("relu", "identity", "quadratic", "piecewise-linear"):
        assert not check_activation(name).good
    assert not check_activation("hermite", (0.0, 1.0)).good


def digits(points: int) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(Path(__file__).parents[1] / "data" / "digits.h5") as file:
        pixels, label = file["pixels"][:], file["label"][:points]
    # by the mean of all images: that of the points alone would make them linearly dependent
    return prepare_inputs(pixels[:points], pixels), np.asarray(label, dtype=np.float64)


def ends(found: FiniteRuns) -> dict[str, float]:
    """Mean over seeds at the end, deepest layer."""
    return {
        "change": float(feature_change(found.pre, found.cross)[:, -1, -1].mean()),
        "lowest": float(smallest_eigenvalue(found.pre[:, -1, -1]).mean()),
        "space_time": float(space_time_eigenvalue(found.pre, found.cross)[:, -1, -1].mean()),
    }


@cache
def digits_limit() -> tuple[DeepProblem, Summary]:
    case = DeepProblem(*digits(16), depth=3, rate=2.0, steps=40)
    return case, summarise([run(case, LimitSettings(samples=4096), r) for r in range(2)])


@pytest.mark.slow
def test_features_of_digits_stay_independent() -> None:
    """On real images, at every step and layer."""
    _, summary = digits_limit()
    assert smallest_eigenvalue(summary.mean.phi).min() > 1e-3
    assert smallest_eigenvalue(summary.mean.pre).min() > 1e-3


@pytest.mark.slow
def test_four_parametrizations_on_digits() -> None:
    """N = 256 to 1024: only muP keeps change, diversity and space-time eigenvalue, and tends to the limit."""
    case, summary = digits_limit()
    limit = summary.mean
    change = feature_change(limit.pre, limit.cross)[-1, -1]
    space_time = space_time_eigenvalue(limit.pre, limit.cross)[-1, -1]
    found = {
        name: [ends(train_widths(case, one, width, range(seeds), every=40)) for width, seeds in ((256, 24), (1024, 8))]
        for name, one in PARAMETRIZATIONS.items()
    }
    narrow, wide = found["mup"]
    assert abs(wide["change"] / change - 1.0) < 0.05
    assert wide["space_time"] >= 0.8 * space_time
    for name in ("ntk", "standard"):
        narrow, wide = found[name]
        assert 0.45 < wide["change"] / narrow["change"] < 0.6
        assert wide["space_time"] < 0.7 * narrow["space_time"]
    narrow, wide = found["integrable"]
    assert narrow["lowest"] > 5.0 * wide["lowest"]
    assert wide["change"] > 2.0 * narrow["change"]
