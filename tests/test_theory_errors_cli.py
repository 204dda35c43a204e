"""``mfpde theory errors``: the six terms against second methods, their laws as swept, what is undefined, messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import measured, refused, told, toy_study

from mfpde.core.quadrature import hermite_coefficients
from mfpde.io import config as configs
from mfpde.io.build import build
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate
from mfpde.theory import decomposition
from mfpde.theory.ridge import ridge_coefficients

# the neuron of mfpde.exact.references: 2 Lambda = 1.76035, C_PoC = 0.0826881
TOY = toy_study(time=3.0, noise=0.2)
SHARP, POC = 1.76035, 0.0826881
TERMS = ("time_step", "propagation_of_chaos", "optimization", "statistical", "entropic_bias", "sparse_residual")
NODES = """
[network]
activation = "tanh"
train = ["w"]

[data]
law = "nodes"
x = [[-1.0], [0.5], [2.0]]
y = [-1.0, 1.0, 1.0]

[training]
temperature = 0.1
weight_decay = 0.5
time = 2.0

[initial]
w = { law = "normal", std = 0.5 }

[grid]
cells = [120]

[particles]
widths = [16]
step = 0.1
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("errors")
    (directory / "toy.toml").write_text(TOY, encoding="utf-8")
    (directory / "nodes.toml").write_text(NODES, encoding="utf-8")
    return directory


def term(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["terms"] if one["name"] == name)


def check_sums(found: dict[str, Any]) -> None:
    """The Gram matrix closes to 1e-12, its diagonal holds the terms, both bounds hold; so in the article's terms."""
    gram, defined = np.array(found["gram"]["matrix"]), [t for t in found["terms"] if t["squared"] is not None]
    assert found["closure"] <= 1e-12
    assert found["gram"]["names"] == [t["name"] for t in defined]
    assert np.diagonal(gram) == pytest.approx([t["squared"] for t in defined], rel=1e-12)
    assert np.sum(gram) == pytest.approx(found["total"], abs=1e-12 * np.trace(gram))
    assert found["total"] <= found["triangle_bound"] * (1 + 1e-12)
    assert found["triangle_bound"] <= found["count_bound"] * (1 + 1e-12)
    merged = np.array(found["merged"]["gram"])
    assert np.sum(merged) == pytest.approx(found["total"], abs=1e-12 * np.trace(merged))


def test_every_term_is_what_a_second_method_says(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "errors", str(toy / "toy.toml"), "--samples", "80", "-o", str(tmp_path))
    check_sums(found)
    assert tuple(t["name"] for t in found["terms"]) == TERMS
    assert found["merged"]["names"] == ["statistical", "optimization", "propagation_of_chaos", "sparse_residual"]
    loaded = configs.load(str(toy / "toy.toml"), [])
    study = build(loaded.config, loaded.name, loaded.directory)
    table = tabulate(study.problem, study.grid)
    end = stationary(table, np.zeros(len(study.problem.data.y)))
    sweep, _ = decomposition.statistical_sweep(table, end, [80], 1)
    assert term(found, "statistical")["squared"] == pytest.approx(float(sweep.samples[0][0]), rel=1e-6)
    constant = decomposition.statistical_constant(table, end)
    assert term(found, "statistical")["reference"]["linear_response"] == pytest.approx(constant / 80, rel=1e-6)
    # soft threshold at lambda/sigma_k, by hand
    c = hermite_coefficients(lambda z: 0.8 * np.tanh(1.5 * z), 60)
    sigma = ridge_coefficients("tanh", 60)
    level = np.divide(0.5, np.abs(sigma), out=np.full_like(sigma, np.inf), where=np.abs(sigma) > 1e-13)
    missed = np.minimum(np.abs(c), level)
    assert found["penalty"] == 0.5
    assert term(found, "sparse_residual")["squared"] == pytest.approx(float(np.sum(missed**2)), rel=1e-4)
    reference = term(found, "sparse_residual")["reference"]
    assert reference["closed_form"] == pytest.approx(float(np.sum(missed**2)), rel=1e-4)
    assert reference["closed_form"] <= reference["barron_hermite_bound"]
    # half of the term is below F - F* in the norm of the data, close to that of the population
    bound = term(found, "optimization")["reference"]["twice_free_energy_gap"]
    assert 0.0 < term(found, "optimization")["squared"] < 1.5 * bound
    chaos = term(found, "propagation_of_chaos")
    assert chaos["reference"]["network_at_rest"] < chaos["reference"]["independent_neurons"]
    assert abs(chaos["squared"] - chaos["reference"]["network_at_rest"]) < 5 * chaos["standard_error"]
    assert term(found, "time_step")["squared"] < 0.02 * chaos["squared"]
    assert [Path(file).name for file in found["files"]] == ["errors.json", "errors.png"]
    assert (tmp_path / "errors.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_sparse_term_does_not_see_the_initial_law_and_the_optimization_term_does(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = measured(capsys, "theory", "errors", str(toy / "toy.toml"))
    second = measured(
        capsys, "theory", "errors", str(toy / "toy.toml"), "--set", "initial.w.std=1.0", "--set", "initial.w.mean=-1.0"
    )
    assert term(first, "sparse_residual")["squared"] == term(second, "sparse_residual")["squared"]
    for name in ("statistical", "entropic_bias"):
        # boxes differ with the initial law, by tails of 1e-12
        assert term(second, name)["squared"] == pytest.approx(term(first, name)["squared"], rel=1e-3)
    assert term(second, "optimization")["squared"] > 10.0 * term(first, "optimization")["squared"]
    for found in (first, second):
        check_sums(found)


def test_the_optimization_term_falls_at_twice_lambda(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--samples", "population", "--sweeps", "t,tau")
    found = measured(capsys, "theory", "errors", str(toy / "toy.toml"), *arguments, "--set", "data.noise=0.0")
    assert term(found, "statistical")["squared"] is None
    assert "no samples" in term(found, "statistical")["undefined"]
    sweep = found["sweeps"]["t"]
    assert sweep["sharp"] == pytest.approx(SHARP, rel=2e-3)
    assert sweep["carrier"] == sweep["sharp"]
    assert sweep["rate"] == pytest.approx(SHARP, rel=0.01)
    assert 1e-16 < sweep["squared"][-1] / max(sweep["squared"]) < 1e-6
    # the virial theorem: risk + weight decay rises by tau/2 per parameter and more by what the data add
    tau = found["sweeps"]["tau"]
    assert tau["values"][:3] == [0.2, 0.1, 0.05]
    assert tau["excess"]["rate"]["slope"] == pytest.approx(1.0, abs=0.1)
    assert 1.0 < tau["entropic"]["rate"]["slope"] < 2.2
    assert np.all(np.diff(tau["risk_and_decay"]) < 0.0)
    assert tau["squared"][0] == pytest.approx(term(found, "entropic_bias")["squared"], rel=1e-9)


def test_the_mode_that_carries_f_need_not_be_the_slowest(capsys: pytest.CaptureFixture[str]) -> None:
    """f = M x, M' = 2 (1 - M) s - M, s' = 2 (1 - M) M - s + 1/5: its eigenvalue is -1.23285, that of E a is slower."""
    arguments = ("--time", "2", "--samples", "population", "--draws", "2", "--sweeps", "t")
    found = measured(capsys, "theory", "errors", "linear-network", *arguments)["sweeps"]["t"]
    m = 0.578958409190
    s = m / (2.0 * (1.0 - m))
    jacobian = np.array([[-2.0 * s - 1.0, 2.0 * (1.0 - m)], [2.0 - 4.0 * m, -1.0]])
    assert found["rate"] == pytest.approx(-2.0 * np.max(np.linalg.eigvals(jacobian).real), rel=5e-3)
    # the mean of (a, w) = (1, 1) feels lambda - (1 - M), a difference that the 0.1 % of the cells leaves 0.3 % of
    assert found["sharp"] == pytest.approx(2.0 * (0.5 - (1.0 - m)), rel=5e-3)
    assert found["carrier"] is None


def test_chaos_and_samples_have_slope_minus_one(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Few draws: the intervals hold -1; the slow test below measures -1 to 0.05 and 0.1."""
    arguments = (str(toy / "toy.toml"), "--sweeps", "N,n", "--draws", "40", "-o", str(tmp_path))
    found = measured(capsys, "theory", "errors", *arguments)["sweeps"]
    for name in ("N", "n"):
        low, high = found[name]["rate"]["interval"]
        assert low <= -1.0 <= high
        assert high - low < 0.7
        assert found[name]["replicas"] == 40
    assert found["N"]["replicas_for_half_width_0.05"] > 40
    assert (tmp_path / "errors.png").exists()


@pytest.mark.slow
def test_slopes_and_constants_of_many_draws(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """-1 +- 0.05 over N and -1 +- 0.1 over n; N and n times the terms reach C_PoC and C_stat."""
    arguments = ("--sweeps", "N,n", "--draws", "1000", "--time", "6")
    found = measured(capsys, "theory", "errors", str(toy / "toy.toml"), *arguments)["sweeps"]
    assert found["N"]["rate"]["slope"] == pytest.approx(-1.0, abs=0.05)
    assert found["n"]["rate"]["slope"] == pytest.approx(-1.0, abs=0.1)
    for one in found["N"]["scaled_in_own_norm"][2:]:
        assert abs(one["value"] - found["N"]["constant_at_rest"]) < 4.0 * one["sem"]
    for one in found["n"]["scaled"][2:]:
        assert abs(one["value"] - found["n"]["constant"]) < 4.0 * one["sem"]


def test_networks_on_the_population_reach_its_constant(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--samples", "population", "--sweeps", "N", "--draws", "100", "--time", "6", "--set", "data.noise=0.0")
    found = measured(capsys, "theory", "errors", str(toy / "toy.toml"), *arguments)["sweeps"]["N"]
    assert found["constant_at_rest"] == pytest.approx(POC, rel=1e-3)
    values = np.array([one["value"] for one in found["scaled_in_own_norm"]])
    sems = np.array([one["sem"] for one in found["scaled_in_own_norm"]])
    assert np.all(np.abs(values - POC) < 4.0 * sems)
    # trained on the population, both norms are one
    assert values == pytest.approx(np.array(found["values"]) * np.array(found["squared"]), rel=1e-12)


def test_a_reduced_law_has_every_term_but_the_statistical_one(capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--set", "data.dimension=6", "--set", "grid.cells=[48, 48]", "--set", "particles.widths=[16]")
    arguments = ("--time", "2", "--draws", "4")
    found = measured(capsys, "theory", "errors", "single-index", *small, *arguments)
    check_sums(found)
    assert term(found, "statistical")["squared"] is None
    assert "rotation symmetry" in term(found, "statistical")["undefined"]
    assert found["samples"] is None
    assert "inputs in dimension 6" in found["norm"]
    # h_1 + 0.4 h_3 thresholded at 0.1/sigma_k: the norm is exact for functions of the index
    sparse = term(found, "sparse_residual")
    assert sparse["squared"] == pytest.approx(sparse["reference"]["closed_form"], rel=1e-9)
    sigma = ridge_coefficients("erf", 3)
    closed = (0.1 / sigma[1]) ** 2 + min(0.4, 0.1 / abs(sigma[3])) ** 2
    assert sparse["reference"]["closed_form"] == pytest.approx(closed, rel=1e-12)
    gap = term(found, "optimization")["reference"]["twice_free_energy_gap"]
    assert term(found, "optimization")["squared"] <= 1.03 * gap
    assert term(found, "propagation_of_chaos")["reference"] is None


def test_an_empirical_law_says_what_is_undefined(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--draws", "6", "--sweeps", "all", "-o", str(tmp_path))
    found = measured(capsys, "theory", "errors", str(toy / "nodes.toml"), *arguments)
    check_sums(found)
    for name in ("statistical", "entropic_bias", "sparse_residual"):
        assert term(found, name)["squared"] is None
        assert "no population" in term(found, name)["undefined"]
    assert found["gram"]["names"] == ["time_step", "propagation_of_chaos", "optimization", "rest_to_labels"]
    assert found["merged"]["names"] == ["optimization", "propagation_of_chaos", "rest_to_labels"]
    assert "no population" in found["sweeps"]["n"]["undefined"]
    assert found["sweeps"]["tau"]["squared"] is None
    assert found["sweeps"]["t"]["rate"] == pytest.approx(found["sweeps"]["t"]["carrier"], rel=0.04)
    # a coarse grid resolves too few temperatures: no curve, and no panel
    coarse = ("--set", "grid.cells=[20]", "--draws", "2", "--sweeps", "tau", "-o", str(tmp_path))
    assert (
        "the grid resolves"
        in measured(capsys, "theory", "errors", str(toy / "nodes.toml"), *coarse)["sweeps"]["tau"]["reason"]
    )
    labels = measured(
        capsys, "theory", "errors", str(toy / "nodes.toml"), "--draws", "2", "--set", "training.loss='logistic'"
    )
    check_sums(labels)
    assert labels["gram"]["names"] == ["time_step", "propagation_of_chaos", "optimization"]
    assert "labels" in term(labels, "rest_to_labels")["undefined"]


def test_tables_are_narrow_and_name_the_laws(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reduced = ("single-index", "--set", "data.dimension=6", "--set", "grid.cells=[32, 32]", "--time", "1")
    law = ("C_stat/n", "Gram matrix", "mfpde's reading", "E_sparse", "sweep over t: rate")
    for source, words in (
        ((str(toy / "toy.toml"), "--sweeps", "t,tau"), law),
        ((str(toy / "nodes.toml"), "--sweeps", "all"), ("undefined", "rest to labels", "sweep over tau")),
        (reduced, ("undefined: a data set in 6 inputs", "Gauss nodes along the index")),
    ):
        told(capsys, "theory", "errors", *source, "--draws", "4", words=words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["single-index", "--samples", "50"], "in 20 inputs has not the rotation symmetry"),
        (["nodes.toml", "--samples", "50"], "the law is 3 given nodes"),
        (["nodes.toml", "--sweeps", "n", "--draws", "2"], "no population"),
        (["toy.toml", "--samples", "many"], "neither an integer of at least 1 nor the word population"),
        (["toy.toml", "--sweeps", "N,x"], "'x' is none of N, n, t, tau"),
        (["toy.toml", "--draws", "1"], "at least 2"),
        (["toy.toml", "--time", "0"], "not a number above 0"),
        (["toy.toml", "--set", "training.temperature=0"], "temperature is 0"),
        (["toy.toml", "--set", "training.weight_decay={w=0.5}"], "--penalty is missing"),
        (["toy.toml", "--set", "particles.dynamics='gradient'"], 'is "gradient"'),
        (["single-index", "--set", "network.activation='tanh'", "--set", "grid.cells=[24, 24]"], "no exact force"),
        (["digits"], "moves 65 coordinates"),
        (["kuramoto"], "explicit interaction"),
    ],
)
def test_mistakes_are_named_in_one_sentence(
    toy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    source = str(toy / arguments[0]) if arguments[0].endswith(".toml") else arguments[0]
    refused(capsys, "theory", "errors", source, *arguments[1:], words=words)
