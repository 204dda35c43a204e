"""``mfpde theory weights``: closed forms and reference numbers through the command line, guards, messages, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import measured, refused, told, toy_study
from scipy.special import gammaln

from mfpde.cli.main import main

# the neuron of mfpde.exact.references: E w^2 = 0.4994619 at rest
TOY = toy_study(tolerance=1e-6, widths=(64, 1024), step=0.2)
SECOND_MOMENT = 0.4994619
FREE = ("--set", "initial.a={law='point', value=0.0}", "--set", "initial.w.std=0.9")
SMALL_LINEAR = ("linear-network", "--set", "grid.cells=[80, 80]", "--set", "grid.tolerance=1e-5")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("weights")
    (directory / "toy.toml").write_text(TOY, encoding="utf-8")
    assert main(["solve", str(directory / "toy.toml"), "-o", str(directory / "run"), "-q", "--no-figures"]) == 0
    return directory


def gaussian_moments(k: np.ndarray) -> np.ndarray:
    """E|Z|^k of one dimension."""
    return np.exp(0.5 * k * np.log(2.0) + gammaln(0.5 * (k + 1)) - gammaln(0.5))


def test_the_bracket_holds_and_the_growth_is_gaussian(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(capsys, "theory", "weights", str(toy / "run"), "-o", str(tmp_path))
    certified, star, start = (np.array(found[name]) for name in ("w_cert", "w_star", "w_init"))
    assert len(star) == found["largest_order"] + 1 >= 15
    assert np.all(certified <= star * (1 + 1e-12))
    assert np.all(star <= start * (1 + 1e-12))
    assert np.all(star[1:-1] ** 2 >= star[:-2] * star[2:] * (1 - 1e-12))  # log-concave: all at one time here
    assert found["supremum_time"][2] == 8.0
    assert found["moments"][2] == pytest.approx(SECOND_MOMENT, rel=1e-3)
    assert found["at_rest"]["moments"][2] == pytest.approx(SECOND_MOMENT, rel=1e-4)
    k = np.arange(len(star))
    assert start == pytest.approx(1.0 / (0.5**k * gaussian_moments(k)), rel=1e-3)
    low, high = found["order_interval"]
    assert low <= 0.5 <= high
    low, high = found["type_interval"]
    assert low <= np.sqrt(0.4) <= high
    assert found["proved"]["type_at_rest"] == pytest.approx(np.sqrt(0.4))
    assert found["proved"]["type_at_start"] == 0.5
    # e^(-osc/tau) <= m_k/m_k(Gauss) <= e^(osc/tau) at rest, for every k
    c = np.array(found["at_rest"]["c"][1:], float)
    reach = found["at_rest"]["oscillation_over_temperature"]
    assert np.all(np.abs(np.log(c / np.sqrt(0.4))) * np.arange(1, len(c) + 1) <= reach * (1 + 1e-3))
    assert "outer 5%" in found["largest_order_reason"]
    assert [Path(file).name for file in found["files"]] == ["weights.json", "weights.png"]
    stored = json.loads((tmp_path / "weights.json").read_text())
    assert {key: found[key] for key in stored} == stored
    assert (tmp_path / "weights.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_study_alone_says_what_its_run_says(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone, run = (measured(capsys, "theory", "weights", str(toy / name)) for name in ("toy.toml", "run"))
    assert alone["moments"] == pytest.approx(run["moments"], rel=1e-9)
    assert alone["w_cert"] == pytest.approx(run["w_cert"], rel=1e-9)


def test_without_data_moments_types_and_certificate_are_closed_forms(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """a = 0: N(0, 0.9^2) shrinks to N(0, 0.4); the sup is the start, and the even certified orders are sharp."""
    found = measured(capsys, "theory", "weights", str(toy / "toy.toml"), *FREE)
    k = np.arange(found["largest_order"] + 1)
    assert found["w_star"] == pytest.approx(found["w_init"], rel=1e-12)
    assert np.array(found["moments"]) == pytest.approx(0.9**k * gaussian_moments(k), rel=1e-3)
    assert np.array(found["c"][2:]) == pytest.approx(0.9, rel=1e-5)
    assert np.array(found["w_cert"][2::2]) == pytest.approx(np.array(found["w_star"][2::2]), rel=1e-3)
    assert found["proved"]["type"] == 0.9
    assert found["drift_bound"] > 0.0  # per unit |a|, and a is 0
    assert found["at_rest"]["oscillation_over_temperature"] == pytest.approx(0.0, abs=1e-12)


def test_an_ensemble_carries_the_orders_of_its_sample(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8 x 1024 neurons: 5 % allows E Z^2k/(E |Z|^k)^2 up to 21, that is k = 4; 8 x 64 atoms not even k = 3."""
    wide = measured(capsys, "theory", "weights", str(toy / "run" / "particles.h5"))
    assert 4 <= wide["largest_order"] <= 5
    assert "8192 atoms" in wide["largest_order_reason"]
    assert wide["law"] == "8 networks of 1024 neurons"
    assert wide["order"] is None
    limit = measured(capsys, "theory", "weights", str(toy / "run"))
    assert wide["moments"][1:4] == pytest.approx(limit["moments"][1:4], rel=0.1)
    assert wide["at_rest"] is None
    assert np.all(np.array(wide["w_cert"]) <= np.array(wide["w_star"]))
    narrow = measured(capsys, "theory", "weights", str(toy / "run" / "particles.h5"), "--width", "64")
    assert narrow["largest_order"] < wide["largest_order"]


def test_the_margin_of_the_linear_network_is_a_closed_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """g(u)^2 = (M - 1)^2: 1/4 - 0.6^2 at the start, 1/4 - (M* - 1)^2 at rest; the type there sqrt(tau/(1/2 - |g|))."""
    found = measured(capsys, "theory", "weights", *SMALL_LINEAR, "-o", str(tmp_path))
    margin = found["margin"]["at"]
    g = 1.0 - 0.578958409190
    assert margin["start"]["margin"] == pytest.approx(0.25 - 0.36, abs=1e-6)
    assert margin["start"]["normalisable"] is False
    assert margin["rest"]["margin"] == pytest.approx(0.25 - g**2, abs=1e-6)
    assert margin["rest"]["type"] == pytest.approx(np.sqrt(0.1 / (0.5 - g)), rel=1e-5)
    assert found["w_cert"] is None
    assert "output weight moves" in found["certificate_reason"]
    assert found["proved"]["type"] is None
    assert (tmp_path / "weights.png").exists()


def test_a_block_has_smaller_moments_than_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    whole, block = (
        measured(capsys, "theory", "weights", *SMALL_LINEAR, "--block", name, "--orders", "6") for name in ("all", "w")
    )
    assert (whole["dimension"], block["dimension"]) == (2, 1)
    assert np.all(np.array(block["moments"][1:]) < np.array(whole["moments"][1:]))
    assert block["largest_order"] == 6
    # E w^2 at the start: mean 1/2, variance 0.15
    assert 1.0 / block["w_init"][2] == pytest.approx(0.4, rel=1e-6)


def test_moments_on_a_circle_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(
        capsys, "theory", "weights", "kuramoto", "--set", "training.time=1.0", "--set", "output.snapshots=3"
    )
    k = np.arange(found["largest_order"] + 1)
    assert np.all(np.array(found["moments"]) <= np.pi**k * (1 + 1e-12))
    assert found["order_interval"][1] < 0.5
    assert "explicit interaction" in found["certificate_reason"]
    assert found["margin"]["at"] == {}


def test_tables_are_narrow_and_say_what_holds(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source, words in (
        ((str(toy / "run"),), ("w_cert", "proved: order 0.5", "mfpde's reading", "largest order", "the free energy")),
        ((str(toy / "run" / "particles.h5"),), ("not fitted", "8 networks of 1024 neurons")),
        (SMALL_LINEAR, ("NOT normalisable", "none: the output weight moves")),
    ):
        told(capsys, "theory", "weights", *source, words=words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--orders", "24"], "--orders is 24, but only orders up to"),
        (["run/particles.h5", "--orders", "9"], "relative standard error over 8192 atoms"),
        (["run/particles.h5", "--width", "65"], "holds 64, 1024"),
        (["run", "--width", "64"], "name its particles.h5"),
        (["run", "--block", "a"], '--block is "a"; this problem moves all, w'),
        (["run", "--orders", "0"], "at least 1"),
        (["run", "--set", "training.time=2"], "is an output"),
        (["toy.toml", "--set", "training.temperature=0"], "temperature is 0"),
        (["digits"], "moves 65 coordinates"),
        (["nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_named_in_one_sentence(
    toy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    source = str(toy / arguments[0]) if arguments[0].startswith(("run", "toy")) else arguments[0]
    refused(capsys, "theory", "weights", source, *arguments[1:], words=words)
