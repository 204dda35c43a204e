"""SGD against its limit: exact constants of independent neurons, coupled steps, fitted exponents, the command line."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import measured, refused
from scipy.integrate import quad

from mfpde import datalaws
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.io import config as configs
from mfpde.io.build import build
from mfpde.io.theory.sgd import in_dimension
from mfpde.measures import ParticleMeasure
from mfpde.problem import Network, Population, Problem, TwoGaussians, network_coordinates
from mfpde.theory.dimension_free import laws, steps, sweeps, widths
from mfpde.theory.dimension_free.limit import follow
from mfpde.theory.dimension_free.widths import Independent

FREE, RATES = dict.fromkeys("awb", 0.0), dict.fromkeys("awb", 1.0)
SMALL = (
    "dimension-free",
    *("--set", "data.dimension=1", "--set", "particles.step=0.01", "--set", "output.snapshots=3"),
    *("--set", "particles.widths=[10, 20, 40, 80]", "--replicas", "40"),
)


def problem_on(
    data: datalaws.DataLaw, activation: str = "erf", temperature: float = 0.0, bias: bool = False
) -> Problem:
    return Problem(
        Network(activation, scale=1.2), data, "square", temperature,
        network_coordinates(data.blocks, ("w",), bias, dict.fromkeys("awb", 0.2 if temperature else 0.0), RATES),
    )  # fmt: skip


def enumerated(problem: Problem, measure: ParticleMeasure, f: np.ndarray) -> tuple[float, float]:
    """(E R_2 - R, Var of the first-order part) of two independent neurons, summed over all pairs of atoms."""
    theta, x, c = measure.atoms, problem.data.x[:, 0], problem.data.weights
    phi = 1.2 * theta[:, :1] * np.tanh(np.outer(theta[:, 1], x))
    excess, first = 0.0, []
    for i, j in itertools.product(range(len(theta)), repeat=2):
        p = measure.weights[i] * measure.weights[j]
        pair = 0.5 * (phi[i] + phi[j])
        excess += p * 0.5 * c @ ((pair - problem.data.y) ** 2 - (f - problem.data.y) ** 2)
        first.append((p, c @ ((f - problem.data.y) * (pair - f))))
    mean = sum(p * v for p, v in first)
    return float(excess), float(sum(p * (v - mean) ** 2 for p, v in first))


def test_bias_and_fluctuation_of_two_neurons_are_exact(rng: np.random.Generator) -> None:
    """N (E R_N - R) = (1/2)[int U(theta, theta) - int int U], by all pairs that two neurons can be."""
    data = datalaws.nodes(rng.normal(size=(7, 1)), rng.normal(size=7), rng.random(7) + 0.1)
    problem = problem_on(data, "tanh")
    measure = ParticleMeasure(("a", "w"), rng.normal(size=(4, 2)), np.array([0.1, 0.2, 0.3, 0.4]))
    f = measure.weights @ (1.2 * measure.atoms[:, :1] * np.tanh(np.outer(measure.atoms[:, 1], data.x[:, 0])))
    found = widths.independent(problem, measure, f)
    excess, variance = enumerated(problem, measure, f)
    assert found.bias / 2.0 == pytest.approx(excess, rel=1e-12)
    assert found.fluctuation / 2.0 == pytest.approx(variance, rel=1e-11)
    # the order in which a measure names its coordinates does not matter
    turned = ParticleMeasure(("w", "a"), measure.atoms[:, ::-1].copy(), measure.weights)
    assert widths.independent(problem, turned, f).bias == pytest.approx(found.bias, rel=1e-14)


def test_self_energies_of_reduced_neurons_are_those_of_the_full_dimension() -> None:
    """erf: E sigma(<w, x>)^2 = (2/pi) arcsin(|w|^2/(1 + |w|^2)) under N(0, I); two Gaussians: the mean of both."""
    atoms = np.array([[0.7, 0.3, 1.1], [-1.5, -2.0, 0.4]])
    length = atoms[:, 1] ** 2 + atoms[:, 2] ** 2
    found = widths.self_energies(problem_on(datalaws.gaussian(Population(9, "hermite", (0.0, 1.0)))), atoms)
    expected = 1.44 * atoms[:, 0] ** 2 * 2.0 / np.pi * np.arcsin(length / (1.0 + length))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    two = problem_on(datalaws.two_gaussians(TwoGaussians(9, 4, 0.5), 6))
    squares = [(s * atoms[:, 1]) ** 2 + atoms[:, 2] ** 2 for s in (1.5, 0.5)]
    expected = 1.44 * atoms[:, 0] ** 2 * np.mean([2.0 / np.pi * np.arcsin(q / (1.0 + q)) for q in squares], axis=0)
    np.testing.assert_allclose(widths.self_energies(two, atoms), expected, rtol=1e-10)


def test_self_energies_with_a_bias_are_shifted() -> None:
    problem = problem_on(datalaws.gaussian(Population(5, "hermite", (0.0, 1.0))), "tanh", bias=True)
    atoms = np.array([[1.0, 0.3, 0.4, 0.8]])
    density = lambda g: np.tanh(0.5 * g + 0.8) ** 2 * np.exp(-0.5 * g * g) / np.sqrt(2.0 * np.pi)  # noqa: E731
    assert widths.self_energies(problem, atoms)[0] == pytest.approx(1.44 * quad(density, -9, 9)[0], rel=1e-9)


@pytest.mark.parametrize("constants", [(0.3, 0.02, 0.1), (0.3, 0.0, 0.5), (1.0, 0.4, 0.0)])
def test_the_needed_width_has_the_wanted_error(constants: tuple[float, float, float]) -> None:
    one = Independent(*constants)
    assert one.error(one.needed(0.003)) == pytest.approx(0.003, rel=1e-12)


def test_exponents_are_fitted_and_judged() -> None:
    rng = np.random.default_rng(0)
    sizes = [10, 40, 160, 640]

    def squares(power: float) -> list[np.ndarray]:
        return [n ** (2.0 * power) * rng.chisquare(1, 400) for n in sizes]

    found = laws.exponent(laws.named("fluctuation"), sizes, squares(-0.5))
    assert found.verdict == "agrees" and found.slope == pytest.approx(-0.5, abs=0.05)
    assert found.interval is not None and found.interval[0] < -0.5 < found.interval[1]
    assert found.errors == pytest.approx(np.array(sizes) ** -0.5, rel=0.2)
    assert laws.exponent(laws.named("particles"), sizes, squares(-0.8)).verdict == "differs"
    assert laws.exponent(laws.named("stochastic_dimension"), sizes, squares(0.1)).verdict == "within the bound"
    assert laws.exponent(laws.named("stochastic_dimension"), sizes, squares(0.9)).verdict == "differs"
    bias = laws.exponent(laws.named("bias"), sizes, [np.full(3, 1.0 / n) for n in sizes], squared=False)
    assert bias.slope == pytest.approx(-1.0, abs=1e-12)


def line(temperature: float) -> tuple[Problem, InitialLaw]:
    data = datalaws.gaussian(Population(1, "hermite", (0.0, 1.0, 0.0, 0.4)), count=16)
    start = InitialLaw(GroupLaw("uniform", low=0.0, high=2.0), GroupLaw("normal", std=0.5), GroupLaw("point"), 1)
    return problem_on(data, temperature=temperature), start


@pytest.mark.parametrize("temperature", [0.0, 0.05])
def test_the_steps_in_one_dimension(temperature: float) -> None:
    """Identities of the first step; the others small, ordered, and growing from a common start."""
    problem, start = line(temperature)
    limit = follow(problem, start, np.array([0.0, 0.5, 1.0]), 1e-5)
    beside = steps.neurons_beside(limit, 0.05, 3)
    found = steps.measured(beside, limit, 40, 150)
    constants = widths.independent(problem, limit.measures[-1], limit.f[-1])
    first, square = found.first_order[-1], 40.0 * found.square[-1]
    assert abs(first.mean()) < 4.0 * first.std() / np.sqrt(150.0) + 1e-4
    assert square.mean() == pytest.approx(constants.bias, abs=4.0 * square.std() / np.sqrt(150.0))
    assert 40.0 * first.var() == pytest.approx(constants.fluctuation, rel=4.0 * np.sqrt(2.0 / 150.0))
    assert np.all(found.pair.displacement[0] == 0.0) and np.all(found.pair.displacement[-1] > 0.0)
    np.testing.assert_allclose(
        found.error[-1], found.first_order[-1] + found.square[-1] + found.pair.risk[-1], rtol=1e-9, atol=1e-12
    )
    plain = steps.descent_beside_particles(problem, start, 40, 10, limit.times, 0.02, 3)
    half = steps.descent_beside_particles(problem, start, 40, 10, limit.times, 0.01, 3)
    ratio = np.sqrt(plain.displacement[-1].mean() / half.displacement[-1].mean())
    assert ratio == pytest.approx(2.0, rel=0.1)
    noisy = [steps.sgd_beside_descent(problem, start, 40, 10, limit.times, h, 3) for h in (0.016, 0.001)]
    ratio = np.sqrt(noisy[0].displacement[-1].mean() / noisy[1].displacement[-1].mean())
    assert 2.5 < ratio < 6.5  # (16)^(1/2) = 4, ten networks
    assert noisy[1].displacement[-1].mean() < 0.01


def test_follow_is_exact_for_linear_neurons() -> None:
    """d = 1, y = x_0: 1.2 mean a w relaxes like exp(-1.44 E a^2 T); the risk is half the squared distance."""
    data = datalaws.gaussian(Population(1, "hermite", (0.0, 1.0)))
    start = InitialLaw(GroupLaw("point", 1.0), GroupLaw("normal", std=0.5), GroupLaw("point"), 1)
    limit = follow(problem_on(data, "identity"), start, np.array([0.0, 1.0]))
    assert limit.risk == pytest.approx([0.5, 0.5 * np.exp(-2.88)], rel=1e-7)


def test_over_width_and_step_report_what_they_fit() -> None:
    problem, start = line(0.0)
    limit, seen = follow(problem, start, np.array([0.0, 0.5])), []
    over = sweeps.over_width(limit, [20, 40, 80], [60, 60, 60], 0.05, 1, seen.append)
    assert [e.law.name for e in over.exponents] == ["fluctuation", "bias", "particles", "particle_displacement"]
    assert seen[-1] == 1.0 and np.all(np.diff(seen) > 0.0)
    assert np.all(np.abs(over.identity - over.constants.bias) < 5.0 * over.identity_sem)
    found = sweeps.over_step(problem, start, 20, 8, [0.005, 0.01, 0.02], 0.5, 1, 1, seen.append)
    by = {e.law.name: e for e in found}
    assert by["descent"].values.tolist() == [0.0025, 0.005, 0.01]
    assert by["descent_displacement"].slope == pytest.approx(1.0, abs=0.1)
    again = sweeps.over_step(problem, start, 20, 8, [0.005, 0.01, 0.02], 0.5, 1, 1, seen.append)
    assert all(np.array_equal(a.errors, b.errors) for a, b in zip(found, again, strict=True))


def test_another_dimension_holds_the_temperature_over_d() -> None:
    loaded = configs.load("dimension-free", ["training.temperature=0.02", "training.weight_decay=0.1"])
    study = build(loaded.config, loaded.name, loaded.directory)
    problem, law = in_dimension(study, 200)
    assert problem.temperature == pytest.approx(0.002) and law.dimension == 200
    assert problem.data.population == replace(study.problem.data.population, dimension=200)
    mean = ["initial.w={law='normal',std=0.5,mean=[0.3" + ",0.0" * 19 + "]}"]
    loaded = configs.load("dimension-free", mean)
    _, law = in_dimension(build(loaded.config, loaded.name, loaded.directory), 50)
    assert law.w.mean_along(0) == 0.3 and law.w.mean_along(7) == 0.0


def test_the_verb_measures_writes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "sgd", *SMALL, "--sweeps", "N,eps,t", "-o", str(tmp_path))
    assert {one["name"] for one in found["exponents"]} == {law.name for law in laws.LAWS if law.variable != "d"}
    assert found["theory_time"] == 0.5 and found["eps"] == 0.005 and found["needed"] is None
    bias = next(one for one in found["exponents"] if one["name"] == "bias")
    assert bias["proved"] == -1.0 and bias["slope"] == pytest.approx(-1.0, abs=0.25)
    assert set(found["over_time"]["errors"]) == {"independent", "particles", "descent", "stochastic"}
    assert {path.name for path in tmp_path.iterdir()} == {"sgd.json", "sgd.png", "sgd.h5"}
    saved = json.loads((tmp_path / "sgd.json").read_text())
    assert saved["exponents"] == found["exponents"]
    with h5py.File(tmp_path / "sgd.h5") as file:
        assert file["theory/bias_errors"][:] == pytest.approx(bias["errors"])
        assert file["theory"].attrs["bias_slope"] == bias["slope"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sweeps", "N,q"), "'q' is none of N, eps, t, d"),
        (("--dimensions", "2,5"), "'2,5' is not a list of two or more integers from 3"),
        (("--dimensions", "5,5"), "names a dimension twice"),
        (("--set", "training.loss='logistic'"), 'training.loss is "logistic"'),
        (("--set", "network.activation='gelu'"), "network.activation has no exact gradient"),
        (("--sweeps", "eps", "--set", "particles.step=0.2"), "particles.step is 0.2; a sweep over eps doubles it"),
        (
            ("--sweeps", "N", "--set", "data.dimension=1", "--set", "particles.widths=[10]"),
            "particles.widths and replicas",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, "theory", "sgd", *arguments, words=words)


def test_other_data_have_one_dimension(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "theory", "sgd", "diabetes-bmi", "--sweeps", "d", words="a sweep over d")
    many = ("digits", "--set", "training.loss='square'", "--sweeps", "N")
    refused(capsys, "theory", "sgd", *many, words="coordinates; the limit takes 1 to 3")


def test_sgd_moves_away_from_descent_like_the_root_of_the_dimension() -> None:
    loaded = configs.load("dimension-free", [])
    study = build(loaded.config, loaded.name, loaded.directory)
    found = sweeps.over_dimension(
        lambda d: in_dimension(study, d), [4, 16, 64], 16, 12, 1e-3, 0.1, 0, 1, lambda share: None
    )
    by = {one.law.name: one for one in found}
    assert by["stochastic_displacement_dimension"].slope == pytest.approx(0.5, abs=0.1)
    assert by["stochastic_dimension"].verdict != "differs"


def test_two_gaussians_need_a_width_that_their_dimension_does_not_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No exact gradient for their kinked neurons: the exact constants alone, here those of the bias."""
    few = ("mei-isotropic", "--set", "training.time=0.6", "--set", "data.quadrature=16")
    found = measured(capsys, "theory", "sgd", *few, "--sweeps", "d", "--dimensions", "20,80", "-o", str(tmp_path))
    needed = found["needed"]
    assert needed["measured"] is None and found["exponents"] == []
    assert max(needed["independent"]) / min(needed["independent"]) < 1.2
    assert (tmp_path / "sgd.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_first_two_steps_fall_as_proved() -> None:
    """N = 100 … 1600 in 20 dimensions: exponents within 0.15, the bias to its exact constant."""
    loaded = configs.load("dimension-free", [])
    study = build(loaded.config, loaded.name, loaded.directory)
    limit = follow(study.problem, study.law, np.array([0.0, 1.0]))
    over = sweeps.over_width(limit, [100, 200, 400, 800, 1600], [128, 128, 96, 48, 24], 0.05, 0, lambda share: None)
    assert [one.verdict for one in over.exponents] == ["agrees"] * 4
    assert np.all(np.abs(over.identity - over.constants.bias) < 4.0 * over.identity_sem)


@pytest.mark.slow
def test_the_width_that_one_percent_needs_does_not_depend_on_the_dimension() -> None:
    """d = 10 … 1000: exact constants of independent neurons within 20 % of their mean; all but flat in log d."""
    loaded = configs.load("dimension-free", [])
    study = build(loaded.config, loaded.name, loaded.directory)
    rows = []
    for d in (10, 100, 1000):
        limit = follow(*in_dimension(study, d), np.array([0.0, 1.0]))
        constants = widths.independent(limit.problem, limit.measures[-1], limit.f[-1])
        rows.append(constants.needed(0.01 * float(limit.risk[0])))
    assert max(rows) / min(rows) < 1.2
    assert rows == pytest.approx([860.0, 829.0, 826.0], rel=0.01)
