"""The learning cell: worked cells, what an empirical law does not define, files, messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import measured, refused, told

from mfpde.cli.main import main
from mfpde.io import store, studies

SMALL = ["--set", "grid.cells=[24, 24]", "--set", "training.time=2", "--set", "output.snapshots=3"]


def test_the_odd_cell_of_erf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "cell", "cell-erf", *SMALL, "--penalty", "0.05", "-o", str(tmp_path))
    assert found["parity"] == "odd"
    assert found["active_degrees"][:4] == [1, 3, 5, 7]
    # sigma_1 = 1/sqrt(pi) and sigma_3 of erf in closed form, and D_orb = 2 S - 1 (docs/theory.md)
    np.testing.assert_allclose(np.array(found["sigma"])[[1, 3]], [0.5641895835, -0.1151647], rtol=1e-6)
    assert [d["orbit"] for d in found["depths"]] == [1, 3, 5, 7, 9, 11]
    assert all(d["variety"] <= d["orbit"] for d in found["depths"])
    sparsity = found["sparsity"]
    c, sigma = np.array(sparsity["coefficients"]), np.array(sparsity["sigma"])
    above = np.abs(sigma * c) > 0.05
    assert sparsity["threshold_number"] == np.count_nonzero(above)
    residual = np.sum(c[~above] ** 2) + 0.05**2 * np.sum(sigma[above] ** -2.0)
    assert sparsity["residual"] == pytest.approx(residual, rel=1e-12)
    assert sparsity["residual"] <= 0.05 * sparsity["barron_hermite_norm"]
    assert sparsity["sparse_depth"]["lower"] == 1
    w = found["weight"]
    assert np.all(np.array(w["w_star"]) <= np.array(w["w_init"]) * (1 + 1e-12))
    assert np.all(np.array(w["w_cert"])[: len(w["w_star"])] <= np.array(w["w_star"]) * (1 + 1e-9))
    assert 0.0 < found["active_fraction"] <= 1.0
    assert sorted(Path(file).name for file in found["files"]) == ["cell.json", "cell.png"]
    theory = store.read(str(tmp_path / "cell.h5"), ["/theory"]).groups["/theory"]
    np.testing.assert_allclose(theory.variables["sigma"].data, sigma)
    np.testing.assert_allclose(theory.variables["orbit"].data, [1, 3, 5, 7, 9, 11])


def test_the_cell_of_relu_has_a_margin_and_separates_the_depths(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "cell", "cell-relu", "--set", "grid.cells=[14, 14, 14]", *SMALL[2:])
    assert found["parity"] == "even up to a linear function"
    assert found["active_degrees"][:5] == [0, 1, 2, 4, 6]
    assert [d["orbit"] for d in found["depths"]] == [1, 2, 6, 8, 10, 12]
    assert [d["variety"] for d in found["depths"]][:4] == [1, 2, 4, 6]
    assert found["margin"] > 0.0
    assert found["weight"]["w_cert"] is None
    assert any("scale" in text for text in found["symmetries"])


def test_a_polynomial_tells_few_neurons_apart(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "cell", "cell-polynomial", *SMALL)
    assert found["active_degrees"] == [1, 2]
    assert [d["variety"] for d in found["depths"]] == [1, 2, None, None, None, None]


def test_a_degree_that_the_activation_lacks_makes_the_norm_infinite(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "cell", "cell-tanh", *SMALL, "--set", "data.target.coefficients=[0.0, 0.5, 0.3]")
    assert found["sparsity"]["barron_hermite_norm"] is None


def test_an_empirical_law_has_ranks_and_no_degrees(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "grid.cells=[12, 12, 12]", "--set", "training.time=0.5", "--set", "output.snapshots=2"]
    found = measured(capsys, "theory", "cell", "diabetes-bmi", *small, "--atoms", "3")
    assert not found["gaussian"]
    assert found["sigma"] is None
    assert found["sparsity"] is None
    assert "empirical" in found["sparsity_reason"]
    assert [d["rank"] for d in found["depths"]] == [d["expected"] for d in found["depths"]]


def test_tables_say_what_is_not_defined(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("unit weights of one input are two points", "only the abstract was available")
    told(capsys, "theory", "cell", "propagation-of-chaos", *SMALL, words=words, columns=170)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ornstein-uhlenbeck"], "explicit interaction"),
        (["cell-erf", "--penalty", "0"], "number above 0"),
        (["cell-erf", "--atoms", "0"], "integer from 1"),
        (["no-such-study"], "neither a TOML file"),
    ],
)
def test_mistakes_are_named_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    refused(capsys, "theory", "cell", *arguments, words=words)


def test_theory_names_its_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory"]) == 2
    assert "weights, identify, atoms, errors, cell" in capsys.readouterr().err
    assert main(["theory", "sel"]) == 2
    assert "there is no topic 'sel'" in capsys.readouterr().err


def test_every_worked_cell_is_a_study() -> None:
    assert {name for name in studies.names() if name.startswith("cell-")} == {
        "cell-tanh",
        "cell-erf",
        "cell-relu",
        "cell-polynomial",
        "cell-cosine",
    }
