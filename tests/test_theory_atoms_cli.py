"""``mfpde theory atoms``: coefficients, certificate, atoms at rest and at falling temperatures; messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import measured, refused

SMALL = ["--set", "grid.cells=[48, 48]"]


def test_the_certificate_touches_one_at_the_atoms_and_nowhere_exceeds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(capsys, "theory", "atoms", "cell-erf", *SMALL, "--penalty", "0.02", "-o", str(tmp_path))
    tv = found["total_variation"]
    assert tv["certificate"] <= 1.0 + 1e-6
    assert abs(tv["gap"]) <= 1e-6 * tv["objective"]
    assert tv["objective"] >= tv["dual"] - 1e-12
    eta = np.array(tv["curve"]["eta"])
    assert np.max(np.abs(eta)) <= 1.0 + 1e-6
    place = np.array(tv["curve"]["place"])
    assert len(tv["atoms"]) > 0
    for atom in tv["atoms"]:
        at = np.arctan2(atom["w"][1], atom["w"][0])
        assert np.interp(at, place, eta) == pytest.approx(np.sign(atom["a"]), abs=1e-3)
    target = found["target"]
    assert target["threshold_number"] == 2
    assert target["residual"] <= 0.02 * target["barron_hermite_norm"]
    assert (tmp_path / "atoms.png").exists()


def test_a_large_penalty_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    largest = measured(capsys, "theory", "atoms", "cell-erf", *SMALL)["total_variation"]["largest_penalty"]
    found = measured(capsys, "theory", "atoms", "cell-erf", *SMALL, "--penalty", str(1.001 * largest))
    assert found["total_variation"]["atoms"] == []
    some = measured(capsys, "theory", "atoms", "cell-erf", *SMALL, "--penalty", str(0.9 * largest))
    assert len(some["total_variation"]["atoms"]) > 0


def test_widths_fall_like_the_root_of_the_temperature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = ["propagation-of-chaos", "--set", "grid.cells=[96, 96]", "--set", "training.temperature=0.001"]
    found = measured(
        capsys,
        "theory",
        "atoms",
        *study,
        "--temperatures",
        "0.001",
        "0.0005",
        "0.00025",
        "0.000125",
        "-o",
        str(tmp_path),
    )
    falling = found["zero_temperature"]
    assert falling["counts"] == [1, 1, 1, 1]
    assert falling["slopes"][0]["slope"] == pytest.approx(0.5, abs=0.05)
    # at the lowest temperature the cluster has the width of tau (Hess Psi)^-1
    assert falling["widths"][0][0] == pytest.approx(falling["laplace"][0][0], rel=0.02)


def test_real_data_have_a_dictionary_and_no_coefficients(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(
        capsys, "theory", "atoms", "diabetes-bmi", "--set", "grid.cells=[16, 16, 16]", "--domain", "sphere"
    )
    assert found["target"] is None
    assert "empirical" in found["target_reason"]
    assert found["total_variation"]["certificate"] <= 1.0 + 1e-6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cell-tanh", "--set", "data.target.coefficients=[0.0, 0.5, 0.3]"], "Hermite degree 2, which tanh"),
        (["ornstein-uhlenbeck"], "explicit interaction"),
        (["cell-tanh", "--penalty", "-1"], "number above 0"),
        (["propagation-of-chaos", "--temperatures", "0.01"], "two or more positive"),
    ],
)
def test_mistakes_are_named_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    refused(capsys, "theory", "atoms", *arguments, words=words)
