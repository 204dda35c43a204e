"""Studies of ``mfpde deep``: keys, refusals in one sentence, samples from files and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfpde.errors import ConfigError, DataFileError, MfpdeError
from mfpde.io import studies
from mfpde.io.deep import config
from mfpde.io.deep.data import Samples, read_samples
from mfpde.io.tables import to_toml

NODES = """
[data]
x = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
y = [1.0, -1.0, 1.0]
"""
FILE = """
[data]
file = "points.csv"
inputs = ["u", "v"]
targets = "t"
rows = 4
test = [4, 6]
"""
POINTS = "u,v,t\n1,2,0\n3,1,1\n-1,0,2\n2,5,1\n0,7,2\n4,4,5\n"


def samples(directory: Path, *overrides: str, text: str = FILE, points: str = POINTS) -> Samples:
    (directory / "points.csv").write_text(points, encoding="utf-8")
    (directory / "study.toml").write_text(text, encoding="utf-8")
    return read_samples(config.load(str(directory / "study.toml"), overrides))


@pytest.mark.parametrize("name", studies.names("deep"))
def test_built_in_studies_survive_a_round_trip(name: str) -> None:
    loaded = config.load(name)
    assert loaded.config.title
    assert config.parse(to_toml(loaded.config)) == loaded.config
    assert studies.text(name).startswith("#")
    found = read_samples(loaded)
    assert np.abs(np.sum(found.x**2, axis=1) / found.x.shape[1] - 1.0).max() < 1e-12


@pytest.mark.parametrize(
    "text, overrides, sentence",
    [
        ("", (), "data is missing"),
        (NODES, ("network.depht=2",), "network.depht is not a known key"),
        (NODES, ("network.depth=0",), "network.depth is 0; it must be an integer from 1 to 32"),
        (NODES, ('network.activation="tanhh"',), 'network.activation is "tanhh"'),
        (NODES, ('network.activation="hermite"',), "network.hermite has no non-zero coefficient"),
        (NODES, ("network.hermite=[0.0,1.0]",), 'network.hermite belongs to activation "hermite" only'),
        (NODES, ("data.x=[[1.0],[1.0,2.0],[0.5]]",), "data.x[1] has 2 numbers"),
        (NODES, ("data.test=[[1.0]]",), "data.test[0] has 1 numbers; every input needs as many as the first: 2"),
        (NODES, ("data.y=[1.0]",), "data.y has 1 numbers; data.x has 3 inputs"),
        (NODES, ("data.test_y=[1.0]",), "data.test_y has 1 numbers; data.test has 0 inputs"),
        (NODES, ('training.loss="cross-entropy"',), "data.y must hold the classes 0, 1"),
        (NODES, ('training.loss="logistic"', "data.y=[1.0,2.0,-1.0]"), "data.y holds a target that is neither"),
        (NODES, ("training.batch=4",), "training.batch is 4; there are 3 samples"),
        (NODES, ("training.rate=0.0",), "training.rate is 0.0; it must be a number above 0"),
        (NODES, ("training.multipliers={input=0.0,hidden=0.0,output=0.0}",), "training.multipliers are all 0"),
        (NODES, ("training.momentum=1.0",), "training.momentum is 1.0"),
        (NODES, ("network.bias_std=0.5",), "network.bias_std is 0.5, but the network has no bias"),
        (NODES, ("limit.replicates=1",), "limit.replicates is 1"),
        (NODES, ("limit.tolerance=2.0",), "limit.tolerance is 2.0"),
        (NODES, ("finite.seeds=[1,2]",), "finite.seeds lists 2 numbers for 3 widths"),
        (NODES, ("finite.widths=[64,64]",), "finite.widths holds a value twice"),
        (NODES, ('finite.parametrizations=["muP"]',), 'finite.parametrizations[0] is "muP"'),
        (NODES, ("output.snapshots=1",), "output.snapshots is 1"),
        (NODES, ("data.file='x.csv'",), 'data.file is not used with law = "nodes"'),
        (NODES, ("data.x=nan",), "data.x is nan"),
        (FILE, ("data.rows=[3,3]",), "data.rows is [3, 3]; [start, stop] must have start < stop"),
        (FILE, ("data.test=[3,6]",), "data.test is [3, 6], which overlaps data.rows, [0, 4]"),
        (FILE, ("data.inputs=['u','u']",), "data.inputs names an input twice"),
        (FILE, ("data.classes=[1.0,1.0]",), "data.classes is [1.0, 1.0]; the classes must differ"),
        (FILE, ("data.classes=[0.0,1.0,2.0]",), "data.classes lists 3; the loss square takes two"),
    ],
)
def test_refusals_are_one_sentence(text: str, overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, overrides)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        (("data.rows=9", "data.test=[9,10]"), "data.rows is 9;"),
        (("data.targets='s'",), 'data.targets names "s"'),
        (("data.file='nowhere.csv'",), 'data.file is "nowhere.csv", which does not exist'),
        (("training.loss='logistic'",), 'training.loss is "logistic", which takes targets -1 and +1'),
        (("training.loss='cross-entropy'", "data.classes=[0.0,5.0]"), "data.classes names 5, which no row"),
        (("training.loss='cross-entropy'", "data.classes=[0.0,1.0]"), "data.test holds no row of the classes"),
        (("data.classes=[1.0,7.0]",), "data.classes names 7, which no row to train on has"),
        (("training.loss='cross-entropy'",), "data.test holds the class 5, which no row to train on has"),
        (("training.batch=5",), "training.batch is 5; there are 4 samples"),
    ],
)
def test_what_only_the_file_can_tell(overrides: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(MfpdeError) as caught:
        samples(tmp_path, *overrides)
    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_code == 2


def test_a_damaged_file_is_one_of_data(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="line 3, column v: holds 'one'"):
        samples(tmp_path, points=POINTS.replace("3,1,1", "3,one,1"))


def test_rows_are_centred_by_the_whole_file_and_scaled(tmp_path: Path) -> None:
    found = samples(tmp_path)
    raw = np.array([[1, 2], [3, 1], [-1, 0], [2, 5], [0, 7], [4, 4]], dtype=float)
    moved = raw - raw.mean(axis=0)
    expected = moved / np.linalg.norm(moved, axis=1, keepdims=True) * np.sqrt(2.0)
    assert np.concatenate([found.x, found.test]) == pytest.approx(expected, abs=1e-14)
    # targets of a regression: mean 0 and variance 1 over the training rows
    t = np.array([0, 1, 2, 1, 2, 5], dtype=float)
    assert found.test_y is not None
    scaled = (t - t[:4].mean()) / t[:4].std()
    assert np.concatenate([found.y, found.test_y])[:, 0] == pytest.approx(scaled, abs=1e-14)
    plain = samples(tmp_path, "data.standardize=false")
    assert np.array_equal(plain.x, raw[:4])
    assert np.array_equal(plain.y[:, 0], t[:4])


def test_a_row_at_the_mean_has_no_direction(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.inputs holds row 1, which equals the mean"):
        samples(tmp_path, "data.rows=3", "data.test=[3,4]", points="u,v,t\n1,1,0\n2,2,1\n3,4,2\n2,1,0\n")


def test_classes_make_signs_or_outputs(tmp_path: Path) -> None:
    signs = samples(tmp_path, "data.classes=[1.0,2.0]")
    assert signs.y[:, 0].tolist() == [-1.0, 1.0, -1.0]
    assert signs.test_y is not None and signs.test_y.tolist() == [[1.0]]
    outputs = samples(tmp_path, "training.loss='cross-entropy'", "data.test=[4,5]")
    assert outputs.y.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert outputs.test_y is not None and outputs.test_y.tolist() == [[0, 0, 1]]
    assert outputs.labels.tolist() == [0, 1, 2]


def test_snapshots_and_linearity() -> None:
    study = config.parse(NODES, ["training.steps=10", "output.snapshots=4"])
    assert (config.every(study), config.recorded(study)) == (4, 4)
    study = config.parse(NODES, ["training.steps=2", "output.snapshots=9"])
    assert (config.every(study), config.recorded(study)) == (1, 3)
    assert not config.is_linear(study)
    assert config.is_linear(config.parse(NODES, ["network.activation='identity'"]))
    assert config.seeds_at(study) == (8, 8, 8)
