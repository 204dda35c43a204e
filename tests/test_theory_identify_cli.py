"""``mfpde theory identify``: depths, separation, active component, canonical form and equality, by the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command_line import measured, modules_after, refused

from mfpde.cli.main import main
from mfpde.theory.generators import generators
from mfpde.theory.ridge import Atoms

STUDY = """
[network]
activation = "{activation}"
train = ["w"]
{hermite}

[data]
law = "gaussian"
dimension = {dimension}
target = {{ index = "hermite", coefficients = [0.0, 1.0] }}

[training]
temperature = 0.1
weight_decay = 2.0
time = 0.2

[initial]
a = {{ law = "rademacher" }}
w = {{ law = "normal", std = 1.0 }}

[grid]
cells = {cells}

[particles]
widths = [3, 6]
replicas = 2
step = 0.1

[output]
snapshots = 2
"""


def written(directory: Path, activation: str, dimension: int = 3, hermite: str = "") -> str:
    cells = "[24]" if dimension == 1 else "[24, 24]"
    text = STUDY.format(activation=activation, dimension=dimension, hermite=hermite, cells=cells)
    path = directory / f"{activation}{dimension}.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def depths(found: dict[str, Any], name: str) -> list[int | None]:
    return [row[name]["depth"] for row in found["depths"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solved study of erf neurons in three dimensions."""
    directory = tmp_path_factory.mktemp("identify")
    study = written(directory, "erf")
    assert main(["solve", study, "-o", str(directory / "run"), "-q", "--no-figures"]) == 0
    return directory


# docs/theory.md: (activation, D_var for d = 3, closed form of D_orb)
TABLE = [
    ("tanh", [1, 3, 3, 5], [1, 3, 5, 7]),
    ("relu", [1, 2, 4, 4], [1, 2, 6, 8]),
    ("sigmoid", [1, 3, 3], [1, 3, 5]),
]


@pytest.mark.parametrize(("activation", "variety", "worst"), TABLE)
def test_depths_have_the_closed_forms(
    activation: str, variety: list[int], worst: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(capsys, "theory", "identify", written(tmp_path, activation), "--atoms", str(len(variety)))
    assert found["free"] == "direction" and found["dimension"] == 3
    assert depths(found, "variety") == variety
    assert depths(found, "orbit_worst") == worst
    assert {row["orbit_worst"]["evidence"] for row in found["depths"]} == {"proved"}
    for row, low, high in zip(found["depths"], variety, worst, strict=True):
        generic = row["orbit_generic"]
        assert low <= generic["depth"] <= high
        assert generic["evidence"] == ("proved" if low == high else "search")
        assert row["variety"]["smallest"] > 1e-5 and row["variety"]["largest_dropped"] < 1e-13
        assert row["variety"]["ranks"][-1] == row["parameters"] == row["atoms"] * row["computed_in"]


def test_the_defective_quartic_and_a_dimension_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    even = written(tmp_path, "hermite", hermite="hermite = [0.3, 0, 0.4, 0, 0.6, 0, 0.2, 0, 0.4, 0, 0.3]")
    found = measured(capsys, "theory", "identify", even, "--atoms", "5")
    assert depths(found, "variety") == [2, 4, 4, 4, 6] and depths(found, "orbit_worst") == [2, 4, 6, 8, 10]
    plane = measured(capsys, "theory", "identify", even, "--atoms", "3", "--dimension", "2")
    assert depths(plane, "variety") == [2, 4, 6] and plane["separation"] is None


def test_many_inputs_have_the_depths_of_one_more_than_neurons(capsys: pytest.CaptureFixture[str]) -> None:
    """d = 20 of the default study against the odd columns of test_depths.TABLE in 2, 3 and 4 dimensions."""
    found = measured(
        capsys, "theory", "identify", "teacher-1d", "--dimension", "20", "--free", "sphere", "--atoms", "3"
    )
    assert [row["computed_in"] for row in found["depths"]] == [2, 3, 4]
    assert depths(found, "variety") == [1, 3, 3]


def test_the_separation_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "identify", written(tmp_path, "erf"), "--atoms", "3")["separation"]
    assert (found["atoms"], found["variety"], found["orbit"], found["evidence"]) == (3, 3, 5, "proved")
    assert found["difference_below"] < 1e-14 < 1e-3 < found["difference_at"] < found["distance"]
    first, second = ([np.array(one[key]) for key in ("a", "w")] for one in found["networks"])
    for k in range(5):
        moments = [np.einsum("s,s...->...", a, w[:, :1] ** np.arange(k + 1) * w[:, 1:] ** np.arange(k, -1, -1))
                   for a, w in (first, second)]  # fmt: skip
        # erf sees odd degrees alone
        assert k % 2 == 0 or np.max(np.abs(moments[0] - moments[1])) < 1e-13


def test_free_weights_are_separated_by_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """tanh with free weights: 4S - 1 on a line, 3, 3, 5 in the plane, where a line is the worst case."""
    line = measured(capsys, "theory", "identify", "propagation-of-chaos", "--atoms", "3")
    assert line["free"] == "weight" and depths(line, "variety") == [3, 7, 11]
    assert [row["orbit_worst"]["evidence"] for row in line["depths"]] == ["search", "search", "lower bound"]
    plane = measured(
        capsys, "theory", "identify", "propagation-of-chaos", "--atoms", "3", "--dimension", "2", "--free", "all"
    )
    assert depths(plane, "variety") == [3, 3, 5] and depths(plane, "orbit_worst") == [3, 7, 11]
    found = plane["separation"]
    assert (found["atoms"], found["variety"], found["orbit"]) == (2, 3, 7)
    assert found["difference_below"] < 1e-11 and found["difference_at"] > 1e3 * found["difference_below"]


def test_polynomials_end_before_their_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "identify", written(tmp_path, "quadratic"), "--atoms", "2")
    assert found["degrees"]["visible_on_the_sphere"].startswith("the spherical harmonics of degree 0, 2 of")
    assert found["degrees"]["active"] == [0, 2] and found["polynomial_degree"] == 2 and found["homogeneity"] == 2
    # quadratic forms of rank 2 in three dimensions: 5 of 6 parameters
    assert depths(found, "variety") == depths(found, "orbit_worst") == depths(found, "orbit_generic") == [2, None]
    last = found["depths"][1]
    assert last["variety"]["ranks"][-1] == 5 and "carry rank 5 of 6" in last["variety"]["words"]
    assert last["orbit_worst"]["evidence"] == "proved"
    assert main(["theory", "identify", written(tmp_path, "quadratic"), "--atoms", "2", "-q"]) == 0
    assert "from S = 2 on D_var is infinite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("activation", "words", "part", "names"),
    [
        ("erf", "every odd degree", "the odd part of the amplitude measure", {"sign"}),
        ("sigmoid", "0 and every odd degree", "the odd part of the amplitude measure and its total mass",
         {"sign and constant"}),
        ("relu", "1 and every even degree", "the even part of the amplitude measure and its first moment",
         {"sign and linear", "linear relation", "scale"}),
    ],
)  # fmt: skip
def test_degrees_and_symmetries(
    activation: str, words: str, part: str, names: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(capsys, "theory", "identify", written(tmp_path, activation), "--atoms", "1")
    assert found["degrees"]["words"] == words and found["degrees"]["visible_on_the_sphere"] == part
    assert {one["name"] for one in found["symmetries"]} == names | {"permutation", "split", "inactive"}
    assert max(one["change"] for one in found["symmetries"]) < 1e-12
    values = dict(zip(found["degrees"]["active"], found["degrees"]["coefficients"], strict=True))
    closed = {"erf": {1: 0.5641896, 3: -0.1151647, 5: 0.0386274}, "relu": {0: 0.3989423, 1: 0.5, 4: -0.0814338}}
    for degree, value in closed.get(activation, {0: 0.5}).items():
        assert values[degree] == pytest.approx(value, abs=5e-8)


def test_the_active_component_of_a_linear_network_is_its_slope(capsys: pytest.CaptureFixture[str]) -> None:
    """f = x int a w: the Gram matrix has rank 1, and nu is seen along w alone."""
    whole = measured(capsys, "theory", "identify", "linear-network", "--atoms", "2", "--set", "grid.cells=[96, 96]")
    # the scale of a and w is a symmetry: on a line two directions are left, and one number
    assert whole["free"] == "direction" and depths(whole, "variety") == [1, None]
    assert whole["depths"][1]["orbit_worst"]["evidence"] == "proved"
    found = whole["active"]
    assert (found["measure"], found["rank"], found["size"]) == ("stationary", 1, 96)
    # nu = int a rho(a, w) da is odd and decays: its share along w is that of one function among 96 cells
    assert 0.0 < found["fraction"] < 0.5 and found["function_error"] < 1e-12
    assert found["spectrum"][0] == 1.0 and found["spectrum"][1] < 1e-14


def test_a_run_and_a_copy_of_it_moved_by_symmetries(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every generator applied to the stored networks: the same function; one weight changed: another."""
    copy = tmp_path / "moved"
    shutil.copytree(run / "run", copy)
    with h5py.File(copy / "particles.h5", "r+") as file:
        theta = file["ensemble/N000006/theta"]
        values = theta[...]
        rng = np.random.default_rng(1)
        last = values[-1, 0]
        atoms = Atoms(last[:, 0], last[:, 1:], np.zeros(len(last)))
        for one in generators("erf"):
            if one.name in ("permutation", "sign"):
                atoms = one.move(atoms, rng)
        values[-1, 0] = np.column_stack([atoms.a, atoms.w])
        values[-1, 1, 0, 1] += 1e-3
        theta[...] = values
    found = measured(capsys, "theory", "identify", str(run / "run"), str(copy), "--atoms", "1")
    network, equal = found["network"], found["same_function"]
    assert (network["width"], network["replica"], network["neurons"], network["canonical"]) == (6, 0, 6, 6)
    assert equal["same"] and equal["orbit_equal"] and equal["distance"] < 1e-14
    changed = measured(
        capsys, "theory", "identify", str(run / "run" / "particles.h5"), str(copy), "--replica", "1", "--atoms", "1"
    )
    equal = changed["same_function"]
    assert not equal["same"] and not equal["orbit_equal"] and 1e-6 < equal["distance"] < 1e-3
    smaller = measured(capsys, "theory", "identify", str(run / "run"), str(run / "run"), "--width", "3", "--atoms", "1")
    assert smaller["network"]["width"] == 3 and smaller["same_function"]["same"]
    assert main(["theory", "identify", str(run / "run"), str(copy), "--replica", "1", "--atoms", "1", "-q"]) == 0
    assert "different functions, different orbits" in capsys.readouterr().out


def test_canonical_forms_of_linear_networks_are_linear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """f = x sum a_i w_i / N has no neuron left, and the slope is that of the stored network."""
    small = ["--set", "particles.widths=[5]", "--set", "particles.replicas=2", "--set", "training.time=0.2"]
    small += ["--set", "output.snapshots=2", "--only", "particles"]
    assert main(["solve", "linear-network", *small, "-o", str(tmp_path), "-q", "--no-figures"]) == 0
    network = measured(capsys, "theory", "identify", str(tmp_path), "--atoms", "1")["network"]
    with h5py.File(tmp_path / "particles.h5") as file:
        theta = file["ensemble/N000005/theta"][-1, 0]
    assert (network["neurons"], network["canonical"]) == (5, 0)
    assert network["linear"] == pytest.approx(abs(np.mean(theta[:, 0] * theta[:, 1])), rel=1e-12)
    assert network["change"] < 1e-14 and "a linear function" in network["words"]


def test_an_empirical_law_caps_the_depths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three inputs on a line of the plane: one direction is seen, and one number of f per input."""
    study = tmp_path / "nodes.toml"
    text = Path(written(tmp_path, "tanh", 1)).read_text()
    data = 'law = "nodes"\nx = [[1.0, 2.0], [-0.5, -1.0], [0.25, 0.5], [0.25, 0.5]]\ny = [1.0, -0.5, 0.2, 0.2]\n'
    start, end = text.index('law = "gaussian"'), text.index("[training]")
    study.write_text((text[:start] + data + "\n" + text[end:]).replace("[24]", "[24, 24]"), encoding="utf-8")
    found = measured(capsys, "theory", "identify", str(study), "--atoms", "2", "--free", "all", "--dimension", "2")
    laws = [row["law"] for row in found["depths"]]
    assert [one["span"] for one in laws] == [1, 1] and [one["inputs"] for one in laws] == [3, 3]
    # amplitude and weight along the line: 2 per neuron, and 3 numbers to tell them by
    assert [(one["rank"], one["parameters"], one["identifiable"]) for one in laws] == [(2, 2, True), (3, 4, False)]
    assert found["gaussian"] is False
    assert main(["theory", "identify", str(study), "--atoms", "2", "-q"]) == 0
    out = capsys.readouterr().out
    assert "no Gaussian law" in out and "span 1 of 2 dimensions" in out and "1 of 2: inf" in out


def test_real_data_of_64_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "theory", "identify", "digits", "--atoms", "3")
    laws = [row["law"] for row in found["depths"]]
    # ten pixels are always empty, and some are lit in an image or two: three neurons are too many for them
    assert [one["span"] for one in laws] == [54] * 3 and laws[0]["inputs"] == 357
    assert [one["rank"] for one in laws] == [54, 108, 160] and [one["identifiable"] for one in laws] == [
        True,
        True,
        False,
    ]
    assert max(one["largest_dropped"] for one in laws) < 1e-12 and min(one["smallest"] for one in laws) > 1e-5
    assert found["active"] is None and "name the output of a run" in found["active_reason"]


def test_files_figure_and_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "identify", str(run / "run"), "-o", str(tmp_path / "out"), "-q"]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) < 140
    for words in ("mfpde's reading", "realization symmetry", "D_orb worst", "separation: S = 3", "Gram rank", "N = 6"):
        assert words in out
    stored = json.loads((tmp_path / "out" / "identify.json").read_text())
    assert stored["active"]["measure"] == "stationary" and 0.0 < stored["active"]["fraction"] < 1.0
    assert stored["active"]["rank"] == sum(
        value > stored["active"]["tolerance"] for value in stored["active"]["spectrum"]
    )
    assert (tmp_path / "out" / "identify.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kuramoto"], "explicit interaction"),
        (["single-index", "--dimension", "1", "--free", "sphere"], "two points in dimension 1"),
        (["teacher-1d", "--width", "3"], "networks of an ensemble, which teacher-1d does not hold"),
        (["teacher-1d", "--replica", "1"], "--replica needs"),
        (["teacher-1d", "run"], "OTHER needs"),
        (["run", "teacher-1d"], "OTHER needs"),
        (["run", "--width", "5"], "holds 3, 6"),
        (["run", "--replica", "2"], "holds 0 to 1"),
        (["run", "--set", "training.time=1"], "changes a study"),
        (["run", "--atoms", "0"], "integer from 1"),
        (["run", "--free", "some"], "invalid choice"),
    ],
)
def test_mistakes_are_named_in_one_sentence(
    run: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(run / "run") if one == "run" else one for one in arguments]
    refused(capsys, "theory", "identify", *paths, words=words, lines=2)


def test_two_networks_of_different_problems(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, study in (("tanh", written(tmp_path, "tanh")), ("plane", written(tmp_path, "erf", 2))):
        arguments = ["solve", study, "-o", str(tmp_path / name), "-q", "--no-figures", "--only", "particles"]
        assert main(arguments) == 0
    capsys.readouterr()
    for name, words in (("tanh", "has the activation tanh, and SOURCE erf"), ("plane", "has 2 inputs, and SOURCE 3")):
        refused(capsys, "theory", "identify", str(run / "run"), str(tmp_path / name), words=words)


def test_help_imports_no_numerics() -> None:
    held = modules_after("from mfpde.cli.main import main; main(['theory', 'identify', '--help'])")
    assert "mfpde.cli.theory.identify" in held and not {"numba", "scipy", "matplotlib"} & held
