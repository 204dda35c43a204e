"""Studies: what is read is what was meant, and everything else is one sentence that names the key."""

from __future__ import annotations

import io
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import modules_after
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfpde.errors import ConfigError
from mfpde.io import config, schema, studies

TWO = '[data]\nlaw = "two-gaussians"\n'
PIECES = '[network]\nactivation = "piecewise-linear"\nknots = [0.5, 1.5]\nslopes = [0, 10, 0]\nvalue = -2.5\n'
GAUSSIAN = "[data]\n"
NODES = '[data]\nlaw = "nodes"\nx = [[0.0], [1.0]]\ny = [1.0, -1.0]\n'
EMPIRICAL = '[data]\nlaw = "empirical"\nfile = "x.csv"\ninputs = ["a", "b"]\ntargets = "c"\n'
PAIRWISE = '[pairwise]\npotential = "quadratic"\ninteraction = "quadratic"\n'


def _error(text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, overrides)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", studies.names())
def test_builtin_studies_survive_a_round_trip(name: str) -> None:
    loaded = config.load(name)
    text = config.to_toml(loaded.config)
    assert loaded.name == name
    assert loaded.directory is None
    assert loaded.config.title
    assert config.parse(text) == loaded.config
    assert config.to_toml(config.parse(text)) == text
    assert studies.text(name).startswith("#")


def test_builtin_studies_hold_the_numbers_of_the_design() -> None:
    default = config.load(studies.DEFAULT).config
    assert default.network == schema.Network()
    assert default.data == schema.GaussianData()
    assert default.training == schema.Training(weight_decay=0.1)
    assert default.grid.cells == (128, 128)
    assert default.particles.widths == (32, 128, 512)
    kuramoto = config.load("kuramoto").config
    assert kuramoto.pairwise is not None
    assert kuramoto.pairwise.circle
    assert kuramoto.pairwise.interaction == schema.CosineInteraction(strength=2.0)
    linear = config.load("linear-network").config
    assert isinstance(linear.initial.a, schema.Normal)
    assert isinstance(linear.initial.a.std, float)
    assert linear.initial.a.std**2 == pytest.approx(0.15, rel=1e-15)


def test_defaults_follow_what_is_trained() -> None:
    frozen = config.parse(GAUSSIAN)
    assert frozen.initial == schema.Initial(a=schema.Point(value=1.0), w=schema.Normal())
    moving = config.parse(GAUSSIAN + '[network]\ntrain = ["b", "a"]\n')
    assert moving.network is not None
    assert moving.network.train == ("a", "b")
    assert moving.network.has_bias
    assert moving.initial == schema.Initial(a=schema.Normal(), w=schema.Normal(), b=schema.Normal())
    still = config.parse(GAUSSIAN + "[network]\nbias = true\n")
    assert still.initial.b == schema.Point(value=0.0)
    assert [still.training.decay(group) for group in "awb"] == [0.1, 0.1, 0.1]
    per_group = config.parse(GAUSSIAN + "[training]\nweight_decay = {w = 2}\n")
    assert [per_group.training.decay(group) for group in "awb"] == [0.0, 2.0, 0.0]
    explicit = config.parse(PAIRWISE)
    assert explicit.network is None
    assert explicit.training.decay("w") == 0.0
    assert explicit.pairwise is not None
    assert explicit.pairwise.potential == schema.QuadraticPotential(strength=1.0)
    assert explicit.initial == schema.Initial(w=schema.Normal())


def test_integers_stand_for_floats_and_nothing_else_converts() -> None:
    assert config.parse(GAUSSIAN + "[training]\ntime = 3\n").training.time == 3.0
    for value in ('"64"', "64.0", "true"):
        error = _error(GAUSSIAN + f"[particles]\nreplicas = {value}\n")
        assert str(error) == f"particles.replicas is {value}; it must be an integer from 1 to 1000000"
    assert "is true" in str(_error(GAUSSIAN + "[training]\ntime = true\n"))


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("", "data", "missing"),
        (GAUSSIAN + "[training]\ntemperature = -1.0\n", "training.temperature", "is -1.0; it must be a number from 0"),
        (GAUSSIAN + "[training]\ntemperature = nan\n", "training.temperature", "finite"),
        (GAUSSIAN + "[training]\ntime = inf\n", "training.time", "finite"),
        (GAUSSIAN + "[training]\ntime = 0\n", "training.time", "above 0"),
        (GAUSSIAN + "[training]\nweight_decay = 0\n", "training.weight_decay", "trained group w"),
        (GAUSSIAN + "[training]\nweight_decay = {a = 1.0}\n", "training.weight_decay", "trained group w"),
        (GAUSSIAN + "[particles]\nwidths = [0]\n", "particles.widths[0]", "from 1"),
        (GAUSSIAN + "[particles]\nwidths = []\n", "particles.widths", "non-empty"),
        (GAUSSIAN + "[particles]\nwidths = [4, 4]\n", "particles.widths", "once"),
        (GAUSSIAN + "[particles]\nreplicas = 0\n", "particles.replicas", "from 1"),
        (GAUSSIAN + "[particles]\nstep = 30.0\n", "particles.step", "training.time, which is 20"),
        (GAUSSIAN + '[particles]\ndynamics = "sgd"\n', "particles.batch", "at least 1"),
        (GAUSSIAN + '[particles]\ndynamics = "gradient"\n', "particles.dynamics", "no noise"),
        ('[data]\nnoise = 1.0\n[training]\nloss = "logistic"\n', "data.noise", "log-odds"),
        (NODES.replace("-1.0", "0.5") + '[training]\nloss = "logistic"\n', "data.y", "0.5"),
        (NODES + "weights = [1.0]\n", "data.weights", "has 1"),
        (NODES + "weights = [1.0, 0.0]\n", "data.weights[1]", "above 0"),
        (NODES.replace("[1.0]]", "[1.0, 2.0]]"), "data.x[1]", "as many as the first"),
        (EMPIRICAL + "rows = [5, 5]\n", "data.rows", "start < stop"),
        (EMPIRICAL + "classes = [1, 1]\n", "data.classes", "differ"),
        (EMPIRICAL.replace('"b"', '"a"'), "data.inputs", "twice"),
        (EMPIRICAL.replace('file = "x.csv"\n', ""), "data.file", "missing"),
        (TWO + "informative = 41\n", "data.informative", "at most data.dimension, which is 40"),
        (TWO + "separation = 1.0\n", "data.separation", "from 0 to 0.999"),
        (TWO + "noise = 0.1\n", "data.noise", 'not used with law = "two-gaussians"'),
        (TWO + '[initial]\nw = { law = "uniform", low = -1, high = 1 }\n', "initial.w.law", "rotation-invariant"),
        (TWO + '[initial]\nw = { law = "normal", mean = 0.5 }\n', "initial.w.mean", "must be 0"),
        (TWO + '[training]\ntemperature = 0\n[grid]\nflux = "exponential"\n', "grid.flux", '"limited"'),
        (TWO + PIECES.replace("[0.5, 1.5]", "[]"), "network.knots", "is empty"),
        (TWO + PIECES.replace("[0.5, 1.5]", "[1.5, 0.5]"), "network.knots", "must increase"),
        (TWO + PIECES.replace("[0, 10, 0]", "[0, 10]"), "network.slopes", "must have 3"),
        (TWO + PIECES + '[numerics]\ndevice = "cuda"\n', "numerics.device", "piecewise-linear"),
        (TWO + "[network]\nknots = [1.0]\n", "network.knots", 'network.activation is "erf"'),
        ('[data]\nlaw = "gauss"\n', "data.law", '"empirical"'),
        ("[data]\ndimension = 0\n", "data.dimension", "from 1"),
        ("[data]\nrows = 3\n", "data.rows", 'not used with law = "gaussian"'),
        (GAUSSIAN + '[network]\nactivation = "hermite"\n', "network.hermite", "non-zero"),
        (GAUSSIAN + "[network]\nhermite = [1.0]\n", "network.hermite", '"erf"'),
        (GAUSSIAN + "[network]\ntrain = []\n", "network.train", "non-empty"),
        (GAUSSIAN + '[network]\nactivation = "quadratic"\ntrain = ["a", "w"]\n', "network.train", "no stationary law"),
        (
            GAUSSIAN + '[network]\nactivation = "hermite"\nhermite = [0, 1, 1]\ntrain = ["a", "w"]\n',
            "network.train",
            "no stationary law",
        ),
        (GAUSSIAN + '[initial]\nw = {law = "uniform", low = -1, high = 1}\n', "initial.w.law", "rotation-invariant"),
        (GAUSSIAN + '[initial]\nw = {law = "normal", mean = 1.0}\n', "initial.w.mean", "symmetry"),
        (GAUSSIAN + '[initial]\na = {law = "uniform", low = 1, high = 1}\n', "initial.a", "below"),
        (GAUSSIAN + '[initial]\na = {law = "normal", mean = [1, 2]}\n', "initial.a.mean", "2 numbers"),
        (GAUSSIAN + '[initial]\na = {law = "point"}\n', "initial.a.value", "missing"),
        (GAUSSIAN + '[initial]\nb = {law = "normal"}\n', "initial.b", "no bias"),
        (GAUSSIAN + "[grid]\ncells = [9, 9]\nbounds = [[0, 1]]\n", "grid.bounds", "agree"),
        (GAUSSIAN + "[grid]\nbounds = [[1, 0]]\n", "grid.bounds[0]", "smaller"),
        (GAUSSIAN + "[grid]\ncells = [100000, 100000]\n", "grid.cells", "at most 100000000"),
        (PAIRWISE + GAUSSIAN, "data", "beside [pairwise]"),
        (PAIRWISE + "[network]\n", "network", "beside [pairwise]"),
        (PAIRWISE + '[particles]\ndynamics = "sgd"\nbatch = 2\n', "particles.dynamics", "no data"),
        ('[pairwise]\ninteraction = "quadratic"\n', "pairwise.potential", "hold the mass"),
        ('[pairwise]\ninteraction = "cosine"\npotential = "quadratic"\n', "pairwise.potential", "periodic"),
        ('[pairwise]\ninteraction = "cosine"\ndimension = 2\n', "pairwise.dimension", "dimension 1"),
        ('[pairwise]\npotential = {name = "quadratic", matrix = [[1, 2], [2, 1]]}\ndimension = 2\n',
         "pairwise.potential.matrix", "positive definite"),
        ('[pairwise]\npotential = {name = "quadratic", matrix = [[1, 2], [0, 1]]}\ndimension = 2\n',
         "pairwise.potential.matrix", "symmetric"),
        ('[pairwise]\npotential = "quadratic"\ninteraction = {name = "quadratic", strength = -1}\n',
         "pairwise.interaction.strength", "no stationary law"),
        (GAUSSIAN + '[numerics]\nprecision = "half"\n', "numerics.precision", 'must be "double" or "single"'),
        (GAUSSIAN + '[numerics]\ndevice = "gpu"\n', "numerics.device", 'must be "cpu" or "cuda"'),
        (GAUSSIAN + "[numerics]\nthreads = 2\n", "numerics.threads", "allowed: device, precision"),
        (PAIRWISE + '[numerics]\nprecision = "single"\n', "numerics.precision", "[pairwise]"),
        (PAIRWISE + '[numerics]\ndevice = "cuda"\n', "numerics.device", 'must be "cpu"'),
        ("a = [" + "[" * 100_000, "config", "deeply"),
        ("a = " + "1" * 5000, "config", "TOML"),
        ("seed = 1\nseed = 2\n", "config", "TOML"),
        ('title = "a\\u0000b"\n[data]\n', "title", "printable"),
        (GAUSSIAN + f"[output]\nseed = {2**63}\n", "output.seed", "64 bits"),
        ("#" * (1 << 20) + "#", "config", "larger"),
    ],
)  # fmt: skip
def test_a_wrong_study_names_its_key(text: str, key: str, part: str) -> None:
    error = _error(text)
    assert error.key == key
    assert part in str(error)


def test_polynomial_activations_are_fine_where_the_gibbs_measure_exists() -> None:
    for name, rest in (
        ("quadratic", ""),
        ("hermite", 'hermite = [1, 1, 0]\ntrain = ["a", "w"]\n'),
        ("quadratic", 'train = ["a", "w"]\n[training]\ntemperature = 0\nweight_decay = 0\n'),
    ):
        study = config.parse(GAUSSIAN + f'[network]\nactivation = "{name}"\n' + rest)
        assert study.network is not None and study.network.activation == name


def test_a_mistyped_key_is_guessed() -> None:
    for text, key, hint in (
        ("[dat]\n", "dat", "data"),
        (GAUSSIAN + "[training]\ntemprature = 1\n", "training.temprature", "temperature"),
        ("[data]\ndimensions = 3\n", "data.dimensions", "dimension"),
        ('[data]\ntarget = {index = "tanh", gains = 3}\n', "data.target.gains", "gain"),
        (GAUSSIAN + '[initial]\nw = {law = "normal", sd = 3}\n', "initial.w.sd", "std"),
        (GAUSSIAN + '[network]\nactivation = "tnah"\n', "network.activation", "tanh"),
    ):
        error = _error(text)
        assert error.key == key
        assert error.hint == f"did you mean '{hint}'?"


def test_numerics_are_double_on_the_processor_unless_stated() -> None:
    plain = config.parse(GAUSSIAN)
    assert plain.numerics == schema.Numerics(precision="double", device="cpu")
    stated = config.parse(GAUSSIAN, ["numerics.precision=single", "numerics.device=cuda"])
    assert stated.numerics == schema.Numerics(precision="single", device="cuda")
    assert '[numerics]\nprecision = "single"\ndevice = "cuda"\n' in config.to_toml(stated)
    assert config.sha256(plain) != config.sha256(stated)


def test_overrides() -> None:
    read = config.load(
        "single-index",
        [
            "training.time = 3",
            "particles.widths=[8,16]",
            "network.activation=tanh",
            "grid.cells=auto",
            "initial.w.std=2",
        ],
    ).config
    assert read.training.time == 3.0
    assert read.particles.widths == (8, 16)
    assert read.network is not None
    assert read.network.activation == "tanh"
    assert read.grid.cells == "auto"
    assert read.initial.w == schema.Normal(std=2.0)
    bare = config.parse(PAIRWISE, ["pairwise.interaction.strength=2", "pairwise.potential=double-well"])
    assert bare.pairwise == schema.Pairwise(
        potential=schema.DoubleWellPotential(), interaction=schema.QuadraticInteraction(strength=2.0)
    )
    assert _error(GAUSSIAN, "training.tim=3").hint == "did you mean 'time'?"
    assert "KEY=VALUE" in str(_error(GAUSSIAN, "training.time"))
    assert "not a table" in str(_error(GAUSSIAN + "[training]\ntime = 2\n", "training.time.x=1"))
    assert _error(GAUSSIAN, "training.time=5\nseed=1").key == "training.time"


def test_load_finds_files_and_guesses_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(studies.text("kuramoto"))
    loaded = config.load(str(path))
    assert (loaded.name, loaded.directory) == ("mine", tmp_path)
    with pytest.raises(ConfigError, match="neither a TOML file nor a built-in study") as caught:
        config.load("kuramotto")
    assert caught.value.hint == "did you mean 'kuramoto'?"
    with pytest.raises(ConfigError):
        config.load(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b'\n\ntitle = "\xe4"\n')
    with pytest.raises(ConfigError, match=r"UTF-8 text \(line 3\)"):
        config.load(str(tmp_path / "latin.toml"))

    class _Stdin(io.StringIO):
        buffer = io.BytesIO(studies.text("kuramoto").encode())

    monkeypatch.setattr(sys, "stdin", _Stdin())
    assert config.load("-").config == loaded.config


def test_digest_follows_the_meaning_and_not_the_spelling() -> None:
    base = config.parse(GAUSSIAN)
    assert config.sha256(base) == config.sha256(config.parse('[training]\ntime = 20\n[data]\nlaw = "gaussian" # c\n'))
    assert config.sha256(base) != config.sha256(config.parse(GAUSSIAN, ["output.seed=1"]))


def test_data_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own.csv").write_text("x\n1\n")
    assert studies.find_data("data/own.csv", tmp_path) == tmp_path / "data" / "own.csv"
    assert studies.find_data(str(tmp_path / "data" / "own.csv"), None).is_file()
    monkeypatch.chdir(tmp_path)
    assert studies.find_data("data/own.csv", None).is_file()
    assert studies.find_data("data/diabetes.csv", None).is_file()
    with pytest.raises(ConfigError, match=r"data\.file is .* does not exist"):
        studies.find_data("data/none.csv", tmp_path)


def test_reading_a_study_imports_nothing_heavy() -> None:
    held = modules_after("from mfpde.io import config; config.load('digits')")
    assert not {"numpy", "scipy", "numba", "h5py", "matplotlib"} & held


# ---- fuzzing ---------------------------------------------------------------------------------------------------

RAW = [tomllib.loads(studies.text(name)) for name in studies.names()]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 40),
    st.floats(),
    st.floats(-2, 2),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(
        "a auto normal point uniform gaussian nodes empirical quadratic cosine none double-well hermite tanh logistic "
        "sgd gradient two-gaussians synchronous".split()
    ),
)
KEYS = st.sampled_from(
    [
        *schema.Config.__struct_fields__,
        *schema.Training.__struct_fields__,
        *schema.Network.__struct_fields__,
        *"a w b law index name mean std value low high x y weights target potential interaction strength".split(),
        *"matrix width dimension cells bounds widths step".split(),
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _slots(table: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    slots = []
    for key, value in table.items():
        slots.append((table, key))
        if isinstance(value, dict):
            slots += _slots(value)
    return slots


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_fuzzed_tables_raise_config_errors_only(data: st.DataObject) -> None:
    raw = _copy(data.draw(st.sampled_from(RAW)))
    for _ in range(data.draw(st.integers(1, 3))):
        table, key = data.draw(st.sampled_from(_slots(raw) or [(raw, "title")]))
        match data.draw(st.integers(0, 2)):
            case 0:
                table.pop(key, None)
            case 1:
                table[data.draw(KEYS)] = data.draw(VALUES)
            case _:
                table[key] = data.draw(VALUES)
    try:
        read = config.convert(raw)
    except ConfigError as error:
        assert error.key
        assert "\n" not in str(error)
    else:
        assert config.parse(config.to_toml(read)) == read


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.text(max_size=60) | st.from_regex(r"\[[a-z]{1,9}\]\n[a-z]{1,9} = [-0-9a-z\"\[\]{}.,= ]{0,12}\n", fullmatch=True),
    st.lists(
        st.text(max_size=20) | st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,2}=[^\n]{0,9}", fullmatch=True), max_size=2
    ),
)
def test_fuzzed_text_raises_config_errors_only(text: str, overrides: list[str]) -> None:
    for base in (text, studies.text("linear-network")):
        try:
            config.parse(base, overrides)
        except ConfigError as error:
            assert error.key
