"""Finite-N ensembles: bitwise determinism, exact constants of propagation of chaos, the limit of wide networks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mfpde import datalaws, ensemble
from mfpde.core import cuda, interaction, parallel
from mfpde.ensemble import EnsembleSettings, EnsembleSnapshot
from mfpde.errors import ConfigError, NumericalError
from mfpde.exact import linear_network, ornstein_uhlenbeck
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.steppers import particles, sampling
from mfpde.steppers.drive import Drive
from mfpde.steppers.forces import NodeForce
from mfpde.steppers.kernels import Kernels

RATES = {"a": 1.0, "w": 1.0, "b": 1.0}
NORMAL = GroupLaw("normal")


def single_index(dimension: int, activation: str = "erf", train: str = "w", bias: bool = False) -> Problem:
    data = datalaws.gaussian(Population(dimension, "hermite", (0.0, 1.0, 0.0, 0.4), noise=0.1))
    decay = dict.fromkeys("awb", 0.1)
    coordinates = network_coordinates(data.blocks, tuple(train), bias, decay, RATES)
    return Problem(Network(activation), data, "square", 0.02, coordinates)


def standing_drive(problem: Problem, end: float) -> Drive:
    """A smooth path of predictions, not the true limit: what determinism and bookkeeping need."""
    f = 0.3 * np.tanh(problem.data.x[:, 0])
    return Drive(np.linspace(0.0, end, 5), np.stack([f * np.cos(t) for t in range(5)]))


def run(
    problem: Problem,
    law: InitialLaw,
    settings: EnsembleSettings,
    times: np.ndarray,
    drive: Drive | None = None,
    threads: int = 1,
) -> list[EnsembleSnapshot]:
    return list(ensemble.evolve_ensemble(ensemble.prepare(problem, law, settings, drive), times, threads=threads))


def same(one: EnsembleSnapshot, two: EnsembleSnapshot) -> bool:
    parts = ("theta", "risk", "function_error", "function_error_iid", "coupling_error")
    pairs = [(getattr(a, n), getattr(b, n)) for a, b in zip(one.records, two.records, strict=True) for n in parts]
    return one.time == two.time and all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)


def cases() -> dict[str, tuple[Problem, InitialLaw, EnsembleSettings]]:
    small = EnsembleSettings((8, 33), 5, 0.1, seed=3)
    plane = InitialLaw(GroupLaw("rademacher"), NORMAL, NORMAL, 4)
    line = InitialLaw(NORMAL, NORMAL, NORMAL, 1)
    return {
        "pairs": (single_index(4), plane, small),
        "nodes": (single_index(1, "tanh", "awb", True), line, small),
        "sobol": (single_index(4, "tanh", "aw", True), plane, replace(small, nodes=128)),
        "sgd": (single_index(4), plane, replace(small, dynamics="sgd", batch=10)),
        "gaussian": (pairwise_problem(0.2, 2, interaction="gaussian"), replace(plane, dimension=2), small),
        "cosine": (pairwise_problem(0.2, potential="none", interaction="cosine"), line, small),
    }


@pytest.mark.parametrize("name", list(cases()))
def test_bits_do_not_depend_on_threads_chunks_or_restart(name: str) -> None:
    problem, law, settings = cases()[name]
    times = np.array([0.0, 0.35, 0.7])
    drive = standing_drive(problem, 0.7)
    prepared = ensemble.prepare(problem, law, settings, drive)
    whole = list(ensemble.evolve_ensemble(prepared, times))
    assert [s.time for s in whole] == list(times) and [s.state.step for s in whole] == [0, 4, 8]
    assert whole[-1].records[0].coupling_error is not None and whole[-1].records[0].coupling_error.min() > 0.0
    threaded = run(problem, law, settings, times, drive, threads=3)
    assert all(same(a, b) for a, b in zip(whole, threaded, strict=True))
    resumed = list(ensemble.evolve_ensemble(prepared, times, whole[1].state))
    assert len(resumed) == 1 and same(resumed[0], whole[2])
    part = replace(prepared, settings=replace(settings, replicas=2, widths=(33,)))
    fewer = list(ensemble.evolve_ensemble(part, times))[-1].records[0]
    assert np.array_equal(fewer.theta, whole[-1].records[1].theta[:2])
    assert np.array_equal(fewer.risk, whole[-1].records[1].risk[:2])


@pytest.mark.parametrize("name", ["nodes", "pairs"])
def test_threads_share_a_single_wide_network(name: str) -> None:
    """One replica of 10 000 neurons: its kernels are cut into spans, and the bits are those of one thread."""
    problem, law, settings = cases()[name]
    settings = replace(settings, widths=(10_000,), replicas=1, scheme="euler")
    times, drive = np.array([0.0, 0.1]), standing_drive(problem, 0.1)
    runs = [run(problem, law, settings, times, drive, threads)[-1] for threads in (1, 2, 4)]
    assert all(same(runs[0], other) for other in runs[1:])


def test_wide_networks_go_to_the_kernels_threads_and_narrow_ones_side_by_side() -> None:
    settings = EnsembleSettings((64, 20_000), 3, 0.1)
    with parallel.team(2):
        whole, shared = ensemble.chunks(settings, lambda width: 100.0 * width)
        assert [(c.width, c.first, c.stop) for c in whole] == [(20_000, k, k + 1) for k in range(3)]
        assert {c.width for c in shared} == {64}
        assert sorted(k for c in shared for k in range(c.first, c.stop)) == [0, 1, 2]
        many, _ = ensemble.chunks(replace(settings, replicas=64), lambda width: 100.0 * width)
        assert many == []  # replicas enough to share
        together, _ = ensemble.chunks(replace(settings, kernels=Kernels(device="cuda")), float)
        assert [(c.first, c.stop) for c in together] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("name", ["pairs", "nodes", "sobol", "sgd"])
def test_single_precision_reaches_every_force(name: str) -> None:
    """Close to double and not the same, for particles and for copies whose field is a sum over nodes."""
    problem, law, settings = cases()[name]
    times, drive = np.array([0.0, 0.7]), standing_drive(problem, 0.7)
    single = replace(settings, kernels=Kernels("single"))
    double, rounded = (run(problem, law, s, times, drive)[-1] for s in (settings, single))
    for one, two in zip(double.records, rounded.records, strict=True):
        for values in ("theta", "risk", "function_error"):
            a, b = getattr(one, values), getattr(two, values)
            assert not np.array_equal(a, b)
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
    assert double.state.copies is not None and rounded.state.copies is not None
    # a table of the field, computed once, is double
    tabulated = name in ("pairs", "sgd")
    assert np.array_equal(double.state.copies[33], rounded.state.copies[33]) == tabulated
    assert "in single precision" in ensemble.prepare(problem, law, single).description


def test_a_device_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, law, settings = cases()["nodes"]
    monkeypatch.setattr(cuda, "available", lambda: "there is no GPU")
    with pytest.raises(ConfigError, match=r'numerics\.device is "cuda", but there is no GPU'):
        ensemble.prepare(problem, law, replace(settings, kernels=Kernels(device="cuda")))


@pytest.mark.parametrize("precision", ["double", "single"])
def test_the_kernels_of_the_device_are_called_with_whole_widths(
    precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels of the processor in their place give its numbers, and see all replicas at once."""
    problem, law, settings = cases()["nodes"]
    seen: list[tuple[str, int, str]] = []

    def watched(name: str) -> Any:
        def kernel(*arguments: Any) -> None:
            seen.append((name, len(arguments[2]), arguments[-1]))
            getattr(interaction, name)(*arguments)

        return kernel

    def gradient_batch(code: int, hermite: Any, theta: Any, x: Any, residual: Any, out: Any, precision: Any) -> None:
        seen.append(("gradient_batch", len(theta), precision))
        f = np.empty((len(theta), len(x)))
        interaction.predict_batch(code, hermite, theta, x, f, precision)
        interaction.pullback_batch(code, hermite, theta, x, residual(f), out, precision)

    fake = SimpleNamespace(
        nodes=lambda x, _: x,
        gradient_batch=gradient_batch,
        **{name: watched(name) for name in ("predict_batch", "pullback_batch")},
    )
    monkeypatch.setattr(cuda, "available", lambda: None)
    monkeypatch.setattr(cuda, "interaction", fake, raising=False)
    times, drive = np.array([0.0, 0.2]), standing_drive(problem, 0.2)
    here, there = (
        run(problem, law, replace(settings, kernels=Kernels(precision, device)), times, drive)[-1]
        for device in ("cpu", "cuda")
    )
    assert same(here, there)
    names = ("predict_batch", "gradient_batch", "pullback_batch")
    assert set(seen) == {(name, settings.replicas, precision) for name in names}
    described = ensemble.prepare(problem, law, replace(settings, kernels=Kernels(precision, "cuda"))).description
    assert "on the GPU" in described


def test_widths_and_seeds_draw_different_numbers() -> None:
    problem, law, settings = cases()["nodes"]
    one = run(problem, law, settings, np.array([0.0]))[0].records
    two = run(problem, law, replace(settings, seed=4), np.array([0.0]))[0].records
    assert not np.any(one[0].theta[0, :, 1] == one[1].theta[0, :8, 1])
    assert not np.any(one[0].theta[..., 1] == two[0].theta[..., 1])
    assert one[0].function_error is None and one[0].coupling_error is None


def test_frozen_groups_stand_still_and_parameters_are_those_that_exist() -> None:
    problem, law, settings = cases()["pairs"]
    first, last = run(problem, law, settings, np.array([0.0, 0.5]))
    assert last.records[1].theta.shape == (5, 33, 5)
    assert np.array_equal(first.records[1].theta[..., 0], last.records[1].theta[..., 0])
    assert np.min(np.abs(first.records[1].theta[..., 1:] - last.records[1].theta[..., 1:])) > 0.0
    assert cases()["nodes"][0].coordinates[-1].name == "b"
    assert run(*cases()["nodes"], np.array([0.0]))[0].records[0].theta.shape == (5, 8, 3)
    angles = run(*cases()["cosine"], np.array([0.0, 0.5]))[-1].records[0].theta
    assert angles.min() >= -np.pi and angles.max() < np.pi


def test_without_noise_the_risk_falls_and_copies_of_the_own_limit_stay() -> None:
    """dynamics "gradient" from one common point: every replica is the limit itself."""
    problem = replace(single_index(1, "tanh", "aw"), temperature=0.0)
    law = InitialLaw(GroupLaw("point", 0.5), GroupLaw("point", 0.4), GroupLaw("point"), 1)
    settings = EnsembleSettings((4,), 2, 0.05, dynamics="gradient")
    times = np.linspace(0.0, 3.0, 61)
    free = run(problem, law, settings, times)
    risks = np.array([s.records[0].risk for s in free])
    assert np.all(np.diff(risks, axis=0) < 0.0) and np.array_equal(risks[:, 0], risks[:, 1])
    x = problem.data.x[:, 0]
    f = np.stack([s.records[0].theta[0, 0, 0] * np.tanh(s.records[0].theta[0, 0, 1] * x) for s in free])
    driven = run(problem, law, settings, times, Drive(times, f))[-1].records[0]
    assert driven.coupling_error is not None and driven.function_error is not None
    assert driven.coupling_error.max() < 1e-8 and driven.function_error.max() < 1e-24


def test_coupling_constant_of_mean_field_ornstein_uhlenbeck() -> None:
    """N E|X - copy|^2 = 0.079168 at alpha = kappa = 1, tau = 1/2, v0 = 1/4, T = 2, for every N."""
    exact = ornstein_uhlenbeck.coupling_constant(2.0, 0.25, stiffness=1.0, interaction=1.0, temperature=0.5)[0]
    assert exact == pytest.approx(0.079168, abs=1e-6)
    problem = pairwise_problem(0.5)
    law = InitialLaw(GroupLaw("point"), GroupLaw("normal", mean=(2.0,), std=0.5), GroupLaw("point"), 1)
    times = np.linspace(0.0, 2.0, 41)
    drive = Drive(times, 2.0 * np.exp(-times)[:, None])
    for width, replicas in ((8, 3000), (64, 1200)):
        settings = EnsembleSettings((width,), replicas, 0.02, seed=11)
        record = run(problem, law, settings, np.array([0.0, 2.0]), drive)[-1].records[0]
        assert record.coupling_error is not None and record.function_error_iid is not None
        scaled = width * record.coupling_error
        assert abs(scaled.mean() - exact) < 3.0 * scaled.std() / np.sqrt(replicas)
        assert scaled.std() / np.sqrt(replicas) < 0.05 * exact
        # copies are independent draws from N(2 exp(-t), 1/4): the variance of their mean is 1/(4 N)
        iid = width * record.function_error_iid
        assert abs(iid.mean() - 0.25) < 3.5 * iid.std() / np.sqrt(replicas)


def linear_problem() -> tuple[Problem, InitialLaw]:
    data = datalaws.gaussian(Population(1, "hermite", (0.0, 1.0)))
    coordinates = network_coordinates(data.blocks, ("a", "w"), False, {"a": 0.5, "w": 0.5, "b": 0.0}, RATES)
    std = np.sqrt(0.15)
    law = InitialLaw(
        GroupLaw("normal", mean=(0.8,), std=std), GroupLaw("normal", mean=(0.5,), std=std), GroupLaw("point"), 1
    )
    return Problem(Network("identity"), data, "square", 0.1, coordinates), law


def test_linear_network_and_its_copies_follow_the_exact_moments() -> None:
    problem, law = linear_problem()
    dense = np.linspace(0.0, 4.0, 81)
    exact = linear_network.path(dense, [0.8, 0.5], 0.15 * np.eye(2), target=1.0, weight_decay=0.5, temperature=0.1)
    drive = Drive(dense, exact.overlap[:, :1] * problem.data.x[:, 0])
    settings = EnsembleSettings((256,), 200, 0.05, seed=5)
    prepared = ensemble.prepare(problem, law, settings, drive)
    for snapshot in ensemble.evolve_ensemble(prepared, np.linspace(0.0, 4.0, 5), threads=2):
        k = int(np.argmin(np.abs(dense - snapshot.time)))
        record = snapshot.records[0]
        assert snapshot.state.copies is not None and record.function_error_iid is not None
        copies = snapshot.state.copies[256]
        for overlap in (
            np.mean(record.theta[..., 0] * record.theta[..., 1], 1),
            np.mean(copies[:, 0] * copies[:, 1], 1),
        ):
            assert abs(overlap.mean() - exact.overlap[k, 0]) < 3.5 * overlap.std() / np.sqrt(200) + 1e-4
        # E x^2 = 1, so N E|f_copies - f|^2 is the variance of a w under the exact Gaussian law
        m, c = exact.mean[k], exact.covariance[k]
        variance = c[0, 0] * c[1, 1] + c[0, 1] ** 2 + m @ (c[::-1, ::-1] * [[1, 1], [1, 1]]) @ m
        iid = 256 * record.function_error_iid
        assert abs(iid.mean() - variance) < 3.5 * iid.std() / np.sqrt(200)
        assert np.mean(record.risk) == pytest.approx(exact.risk[k], abs=0.02)


def test_sgd_with_small_steps_agrees_with_langevin() -> None:
    problem = single_index(3)
    law = InitialLaw(GroupLaw("point", 1.0), NORMAL, GroupLaw("point"), 3)
    times = np.array([0.0, 1.0, 3.0])
    exact = run(problem, law, EnsembleSettings((64,), 60, 0.02), times, threads=2)
    stochastic = EnsembleSettings((64,), 60, 0.01, dynamics="sgd", batch=64, seed=1)
    for one, two in zip(exact, run(problem, law, stochastic, times, threads=2), strict=True):
        a, b = one.records[0], two.records[0]
        for x, y in ((a.risk, b.risk), (a.theta[..., 1].mean(1), b.theta[..., 1].mean(1))):
            assert abs(x.mean() - y.mean()) < 3.5 * np.sqrt((x.var() + y.var()) / 60) + 2e-3


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_a_mini_batch_is_a_sum_over_its_samples(loss: Any) -> None:
    """The gradient of fresh samples is that of the same samples as data nodes, output scale included."""
    problem = single_index(3)
    problem = replace(problem, loss=loss, model=Network("tanh", scale=1.7))
    force = sampling.batch_force(problem, 12, None)
    theta = particles.draw(problem, InitialLaw(NORMAL, NORMAL, NORMAL, 3), 9, range(2), np.uint64(5))
    out, expected = np.empty_like(theta), np.empty_like(theta)
    force.gradient(theta, np.uint64(7), 4, 11, out)
    for k in range(2):
        law = force.draw(np.uint64(7), 4 + k, 11)
        nodes = NodeForce("samples", force.code, force.hermite, 1.7, law)
        nodes.gradient(theta[k : k + 1], expected[k : k + 1])
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)


def test_a_run_that_diverges_names_width_replica_and_time() -> None:
    problem = pairwise_problem(0.5, potential="double-well")
    law = InitialLaw(GroupLaw("point"), GroupLaw("normal", std=30.0), GroupLaw("point"), 1)
    with pytest.raises(NumericalError, match=r"width 16, replica 0 became non-finite before t = 4"):
        run(problem, law, EnsembleSettings((16,), 2, 0.5), np.array([0.0, 2.0, 4.0, 8.0][::2]))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"widths": (0,)}, "particles.widths"),
        ({"replicas": 0}, "particles.replicas"),
        ({"step": 0.0}, "particles.step"),
        ({"dynamics": "sgd"}, "particles.batch"),
    ],
)
def test_settings_without_meaning_are_refused(change: dict[str, object], key: str) -> None:
    problem, law, settings = cases()["nodes"]
    with pytest.raises(ConfigError, match=key):
        ensemble.prepare(problem, law, replace(settings, **change))  # type: ignore[arg-type]
    if key == "particles.batch":
        with pytest.raises(ConfigError, match=r"particles\.dynamics"):
            ensemble.prepare(cases()["cosine"][0], law, replace(settings, dynamics="sgd", batch=4))


def test_descriptions_tell_what_will_run() -> None:
    words = {
        "pairs": "exact erf pair kernel in dimension 4; stochastic Heun",
        "nodes": "quadrature nodes in dimension 1",
        "sobol": "128 scrambled Sobol nodes in dimension 4",
        "sgd": "mini-batches of 10 fresh samples from the population law; Euler-Maruyama",
        "gaussian": "explicit interaction",
    }
    for name, text in words.items():
        problem, law, settings = cases()[name]
        prepared = ensemble.prepare(problem, law, settings)
        assert text in prepared.description
        assert (prepared.integration_error is not None) == (name == "sobol")
    assert ensemble.step_count(1.0, 0.05) == 20 and ensemble.step_count(1.0, 0.3) == 4


def test_a_slip_by_a_whole_turn_is_no_coupling_error() -> None:
    problem = pairwise_problem(0.5, potential="none", interaction="cosine", strength=2.0)
    law = InitialLaw(GroupLaw("point"), GroupLaw("normal", std=1.0), GroupLaw("point"), 1)
    times = np.array([0.0, 1.0])
    drive = Drive(np.linspace(0.0, 1.0, 5), np.tile([0.8, 0.0], (5, 1)))
    settings = EnsembleSettings(widths=(8,), replicas=2, step=0.1)
    prepared = ensemble.prepare(problem, law, settings, drive)
    begun = next(ensemble.evolve_ensemble(prepared, times)).state
    turned = ensemble.EnsembleState(begun.index, begun.step, {8: begun.theta[8] + 2.0 * np.pi}, begun.copies)
    plain, slipped = (next(ensemble.evolve_ensemble(prepared, times, state)).records[0] for state in (begun, turned))
    np.testing.assert_allclose(slipped.coupling_error, plain.coupling_error, rtol=1e-9)
