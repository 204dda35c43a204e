"""Figures from files alone: small outputs of every kind, what is missing, the reduced coordinates, equal bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import legibility
import numpy as np
import pytest
from command_line import modules_after
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mfpde import figures
from mfpde.cli import arrays, density_rows, derived, drawing, plot, sources
from mfpde.cli.main import main
from mfpde.errors import DataFileError, FileSystemError
from mfpde.io import store
from mfpde.io.store import Group, Variable

Array = NDArray[np.float64]

TIMES = np.linspace(0.0, 4.0, 6)
WIDTHS = (8, 32)
REPLICAS = 3
GAUSSIAN = 'title = "small"\n[data]\nlaw = "gaussian"\n'
EMPIRICAL = 'title = "small"\n[data]\nlaw = "empirical"\n'
PAIRWISE = 'title = "small"\n[pairwise.interaction]\nname = "cosine"\n'


# ---- small outputs -----------------------------------------------------------------------------------------------


def _axis(low: float, high: float, cells: int) -> Array:
    return low + (np.arange(cells) + 0.5) * (high - low) / cells


def _normal(x: Array, mean: float, std: float) -> Array:
    return np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))


def _mean(t: float) -> float:
    return 1.0 - float(np.exp(-t))


def _density(axes: dict[str, Array]) -> Array:
    """A Gaussian whose mean moves from 0 to 1 along the first axis; the others rest, a radius around 2."""
    values = np.ones((len(TIMES), *(len(x) for x in axes.values())))
    for k, (name, x) in enumerate(axes.items()):
        shape = [-1 if j == k else 1 for j in range(len(axes))]
        for i, t in enumerate(TIMES):
            mean = _mean(float(t)) if k == 0 else 2.0 if name == "w1" else 0.0
            values[i] = values[i] * _normal(x, mean, 0.4).reshape(shape)
    return values


def _write_limit(
    path: Path,
    kinds: dict[str, str],
    *,
    signs: tuple[float, ...] = (),
    finished: bool = True,
    rest: bool = True,
    config: str = GAUSSIAN,
    blocks: int = 1,
) -> None:
    """limit.h5 with coordinates name -> kind and one species per sign of a frozen a."""
    boxes = {"radius": (0.05, 4.0), "line": (-np.pi, np.pi), "circle": (-np.pi, np.pi)}
    axes = {name: _axis(*boxes[kind], 24) for name, kind in kinds.items()}
    density = _density(axes)
    dims: tuple[str, ...] = tuple(axes)
    coordinates = {name: Variable((name,), x, {"kind": kinds[name]}) for name, x in axes.items()}
    if signs:
        density = np.stack([density / len(signs)] * len(signs), axis=1)
        dims = ("species", *dims)
        coordinates["species_probability"] = Variable(("species",), np.full(len(signs), 1.0 / len(signs)))
        coordinates["species_a"] = Variable(("species",), np.array(signs))
    x0 = np.repeat(np.linspace(-3.0, 3.0, 13), 2)
    x = np.stack([x0, np.tile([1.0, 2.0], 13)], axis=1)[:, :blocks]
    weight = _normal(x0, 0.0, 1.0) / _normal(x0, 0.0, 1.0).sum()
    f = np.stack([_mean(float(t)) * np.tanh(x0) for t in TIMES])
    nodes = {
        "x": Variable(("node", "block"), x),
        "target": Variable(("node",), np.tanh(x0)),
        "weight": Variable(("node",), weight),
    }
    if config == PAIRWISE:
        del nodes["x"]
    steps = np.linspace(0.0, TIMES[-1], 30)
    history = {"t": steps, "free_energy": 0.5 + np.exp(-steps), "gap": 2.0 * np.exp(-steps), "risk": np.exp(-steps)}
    limit = {
        "time": Variable(("time",), TIMES),
        **coordinates,
        "density": Variable(("time", *dims), density),
        "f": Variable(("time", "node"), f),
        **nodes,
    }
    groups = {
        "/limit": Group(limit, {"convex": int(config != PAIRWISE)}),
        "/history": Group({name: Variable(("step",), values) for name, values in history.items()}),
    }
    if rest:
        stationary = {**coordinates, "density": Variable(dims, density[-1]), "f": Variable(("node",), f[-1]), **nodes}
        groups["/stationary"] = Group(stationary, {"free_energy": 0.5, "dual": 0.5, "gap": 0.0})
    store.write(path, groups, {**store.provenance(config, "small", 0, finished), "kind": "limit"})


def _write_particles(
    path: Path,
    parameters: tuple[str, ...],
    *,
    widths: tuple[int, ...] = WIDTHS,
    replicas: int = REPLICAS,
    times: Array = TIMES,
    errors: bool = True,
    signs: tuple[float, ...] = (),
    finished: bool = True,
    config: str = GAUSSIAN,
) -> None:
    rng = np.random.default_rng(5)
    groups = {}
    for width in widths:
        theta = rng.normal(size=(len(times), replicas, width, len(parameters)))
        if signs:
            theta[..., 0] = np.resize(signs, width)
        series = {"risk": np.exp(-times)[:, None] + rng.uniform(0.0, 0.1, (len(times), replicas)) / width}
        if errors:
            grown = (times / TIMES[-1])[:, None] * rng.uniform(0.8, 1.2, (len(times), replicas)) / width
            series |= {
                "function_error": 2.0 * grown,
                "function_error_iid": grown,
                "coupling_error": 0.5 * grown,
            }
        groups[f"/ensemble/N{width:06d}"] = Group(
            {
                "time": Variable(("time",), times),
                "parameter": Variable(("parameter",), np.array(parameters)),
                "theta": Variable(("time", "replica", "particle", "parameter"), theta),
                **{name: Variable(("time", "replica"), values) for name, values in series.items()},
            },
            {"width": width},
        )
    store.write(path, groups, {**store.provenance(config, "small", 0, finished), "kind": "particles"})


def _write_atoms(path: Path, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(6)
    theta = rng.normal(size=(1, 25, len(names))) + TIMES[:, None, None] / 4.0
    theta[..., 0] = 1.0  # a stays where it is
    x = np.linspace(-2.0, 2.0, 9)[:, None]
    limit = {
        "time": Variable(("time",), TIMES),
        "parameter": Variable(("parameter",), np.array(names)),
        "theta": Variable(("time", "atom", "parameter"), theta),
        "atom_weight": Variable(("atom",), rng.dirichlet(np.ones(25))),
        "f": Variable(("time", "node"), TIMES[:, None] * np.tanh(x[:, 0])),
        "x": Variable(("node", "block"), x),
        "weight": Variable(("node",), np.full(9, 1 / 9)),
        "target": Variable(("node",), np.tanh(x[:, 0])),
    }
    history = {"t": TIMES, "free_energy": np.exp(-TIMES), "risk": np.exp(-TIMES)}
    groups = {
        "/limit": Group(limit),
        "/history": Group({name: Variable(("step",), values) for name, values in history.items()}),
    }
    store.write(path, groups, {**store.provenance(EMPIRICAL, "small", 0, True), "kind": "atoms"})


def _line(d: Path) -> None:
    _write_limit(d / "limit.h5", {"w": "line"}, config=EMPIRICAL)
    _write_particles(d / "particles.h5", ("a", "w"), config=EMPIRICAL)


def _plane(d: Path) -> None:
    _write_limit(d / "limit.h5", {"w0": "line", "w1": "radius"}, blocks=2)
    _write_particles(d / "particles.h5", ("a", "w0", "w1", "w2", "w3"))


def _space(d: Path) -> None:
    _write_limit(d / "limit.h5", {"a": "line", "w": "line", "b": "line"})
    _write_particles(d / "particles.h5", ("a", "w", "b"))


def _species(d: Path) -> None:
    _write_limit(d / "limit.h5", {"w0": "line", "w1": "radius"}, signs=(-1.0, 1.0), blocks=2)
    _write_particles(d / "particles.h5", ("a", "w0", "w1", "w2"), signs=(-1.0, 1.0))


def _circle(d: Path) -> None:
    _write_limit(d / "limit.h5", {"w": "circle"}, config=PAIRWISE)
    _write_particles(d / "particles.h5", ("w",), config=PAIRWISE)


def _atoms(d: Path) -> None:
    _write_atoms(d / "limit.h5", ("a", "w0", "w1"))
    _write_particles(d / "particles.h5", ("a", "w0", "w1", "w2"), config=EMPIRICAL)


def _particles(d: Path) -> None:
    names = ("a", *(f"w{k}" for k in range(7)))
    _write_particles(d / "particles.h5", names, errors=False, config=EMPIRICAL)


def _stationary(d: Path) -> None:
    _line(d)
    (d / "particles.h5").unlink()
    contents = store.read(d / "limit.h5", ["/stationary"])
    groups = {"/stationary": contents.groups["/stationary"]}
    store.write(d / "limit.h5", groups, {**store.provenance(EMPIRICAL, "small", 0, True), "kind": "stationary"})


ALL = ["overview", "density", "energy", "risk", "rate", "moments", "function"]
KINDS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "line": (_line, ALL),
    "plane": (_plane, ALL),
    "space": (_space, ALL),
    "species": (_species, ALL),
    "circle": (_circle, ALL[:-1]),
    "atoms": (_atoms, ALL),
    "particles": (_particles, ["overview", "density", "risk", "moments"]),
    "stationary": (_stationary, ["density", "function"]),
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        directory = tmp_path / kind
        directory.mkdir(exist_ok=True)
        KINDS[kind][0](directory)
        return directory

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw everything, but neither lay it out nor encode it."""

    def render(figure: Figure, kind: str = "png") -> bytes:
        figure.set_layout_engine("none")
        figure.draw_without_rendering()
        return kind.encode()

    monkeypatch.setattr(figures, "render", render)


def _read(directory: Path) -> arrays.Output:
    return arrays.read(sources.find(directory))


# ---- drawing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_output_is_drawn(kind: str, run: Callable[[str], Path], tmp_path: Path, quick: None) -> None:
    source, target = run(kind), tmp_path / "figures"
    before = {path: path.read_bytes() for path in source.iterdir()}
    paths = drawing.draw(source, target)
    assert [path.name for path in paths] == [f"{name}.png" for name in KINDS[kind][1]]
    assert sorted(target.iterdir()) == sorted(paths)
    assert {path: path.read_bytes() for path in source.iterdir()} == before


@pytest.mark.parametrize("kind", ["plane", "particles"])
def test_equal_files_give_equal_pictures_as_wide_as_a_page(kind: str, run: Callable[[str], Path]) -> None:
    directory = run(kind)
    first, second = (drawing.draw(directory, directory / name) for name in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        data = one.read_bytes()
        assert data == other.read_bytes(), one.name
        assert data.startswith(b"\x89PNG") and len(data) < 800_000
        width = int.from_bytes(data[16:20], "big")
        assert width in (1020, 2100), f"{one.name} is {width} dots wide, not one or two columns of a page at 300 dpi"


@pytest.mark.parametrize("kind", ["line", "species", "atoms", "particles"])
def test_every_word_is_legible(kind: str, run: Callable[[str], Path]) -> None:
    output = _read(run(kind))
    for name, function in drawing.FIGURES.items():
        with figures.style():
            figure = function(output)
            if figure is not None:
                figures.settle(figure)
                figure.canvas.draw()
                assert legibility.faults(figure) == [], name


def test_densities_show_particles_in_the_right_places(run: Callable[[str], Path]) -> None:
    output = _read(run("plane"))
    times, rows = density_rows.rows_of(output)
    assert np.array_equal(times, TIMES) and len(rows) == 1
    theta = store.read(run("plane") / "particles.h5").groups["/ensemble/N000032"].variables["theta"].data
    assert rows[0].particles is not None
    np.testing.assert_allclose(rows[0].particles[..., 0], theta[:, 0, :, 1])
    np.testing.assert_allclose(rows[0].particles[..., 1], np.linalg.norm(theta[:, 0, :, 2:], axis=-1))


def test_frozen_signs_get_a_row_each_with_their_own_particles(run: Callable[[str], Path]) -> None:
    output = _read(run("species"))
    _, rows = density_rows.rows_of(output)
    assert [row.tag for row in rows] == ["$a=-1$", "$a=1$"]
    cell = np.prod([x[1] - x[0] for x in rows[0].centers])
    for row in rows:
        assert row.density is not None and row.particles is not None
        np.testing.assert_allclose(row.density.sum(axis=(1, 2)) * cell, 1.0, atol=1e-3)
        assert row.particles.shape[1] == WIDTHS[-1] // 2
    widest = output.ensembles[-1]
    assert np.array_equal(widest.species[0], np.resize([0, 1], WIDTHS[-1]))


def test_three_dimensions_show_every_pair(run: Callable[[str], Path]) -> None:
    _, rows = density_rows.rows_of(_read(run("space")))
    assert [tuple(row.names) for row in rows] == [("a", "w"), ("a", "b"), ("w", "b")]


def test_angles_are_wrapped(run: Callable[[str], Path]) -> None:
    directory = run("circle")
    _write_particles(directory / "particles.h5", ("w",), config=PAIRWISE)
    output = _read(directory)
    theta = store.read(directory / "particles.h5").groups["/ensemble/N000008"].variables["theta"].data
    values = output.ensembles[0].values
    assert values.min() >= -np.pi and values.max() < np.pi
    np.testing.assert_allclose(np.exp(1j * values), np.exp(1j * theta), atol=1e-14)


def test_atoms_that_do_not_move_are_no_axis_and_the_last_weight_is_a_radius(run: Callable[[str], Path]) -> None:
    coordinates = _read(run("atoms")).coordinates
    assert [(c.name, c.kind, c.columns) for c in coordinates] == [("w0", "line", (1,)), ("w1", "radius", (2, 3))]


@pytest.mark.parametrize(
    ("parameters", "config", "expected"),
    [
        (("a", *(f"w{k}" for k in range(7))), EMPIRICAL, [("a", "line", 1), ("w", "radius", 7)]),
        (tuple(f"w{k}" for k in range(7)), GAUSSIAN, [("w0", "line", 1), ("w1", "radius", 6)]),
        (("a", "w", "b"), EMPIRICAL, [("a", "line", 1), ("w", "line", 1), ("b", "line", 1)]),
        (("w",), PAIRWISE, [("w", "circle", 1)]),
    ],
)
def test_particles_alone_are_reduced_as_their_law_allows(
    parameters: tuple[str, ...], config: str, expected: list[tuple[str, str, int]], tmp_path: Path, quick: None
) -> None:
    _write_particles(tmp_path / "particles.h5", parameters, config=config)
    found = _read(tmp_path).coordinates
    assert [(c.name, c.kind, len(c.columns)) for c in found] == expected
    assert drawing.draw(tmp_path, tmp_path / "figures")


# ---- numbers behind the curves -----------------------------------------------------------------------------------


def test_moments_of_a_gaussian_and_of_its_particles(run: Callable[[str], Path]) -> None:
    directory = run("line")
    output = _read(directory)
    times, (first, second) = derived.limit_moments(output)
    mean = 1.0 - np.exp(-times)
    # the box cuts the law at 5 standard deviations
    np.testing.assert_allclose(first["$\\mathrm{E}\\,w$"], mean, atol=1e-5)
    np.testing.assert_allclose(second["$\\mathrm{E}\\,w^2$"], mean**2 + 0.16, atol=1e-5)
    theta = store.read(directory / "particles.h5").groups["/ensemble/N000032"].variables["theta"].data[..., 1]
    of_particles, sem = derived.ensemble_moments(output)[1]["$\\mathrm{E}\\,w^2$"]
    np.testing.assert_allclose(of_particles, np.mean(theta**2, axis=(1, 2)))
    np.testing.assert_allclose(sem, np.std(np.mean(theta**2, axis=2), axis=1, ddof=1) / np.sqrt(REPLICAS))
    assert derived.stationary_moments(output)[0]["$\\mathrm{E}\\,w$"] == pytest.approx(mean[-1], abs=1e-5)


def test_the_circle_has_an_order_parameter(run: Callable[[str], Path]) -> None:
    output = _read(run("circle"))
    _, (first, second) = derived.limit_moments(output)
    # of a wrapped normal law: E exp(i theta) = exp(i mean - var/2)
    start = np.exp(-0.08)
    assert first["$\\mathrm{E}\\,\\cos w$"][0] == pytest.approx(start, abs=1e-5)
    np.testing.assert_allclose(second["$|\\mathrm{E}\\,e^{iw}|$"], start, atol=1e-4)


def test_the_function_is_the_mean_given_the_index() -> None:
    x0, r = np.repeat(np.linspace(-2, 2, 9), 2), np.tile([1.0, 3.0], 9)
    weight = np.tile([0.75, 0.25], 9) / 9
    nodes = arrays.Nodes(np.stack([x0, r], 1), x0, weight, np.zeros(1), (x0**2 + r)[None], x0 + 0 * r)
    line = derived.along_index(arrays.Output("", (), nodes=nodes, law="gaussian"))
    assert line is not None and line.mean and line.target is not None and line.f_rest is not None
    np.testing.assert_allclose(line.f[0], line.x**2 + 1.5, atol=1e-12)
    np.testing.assert_allclose(line.target, line.x, atol=1e-12)
    np.testing.assert_allclose(line.f_rest, line.x, atol=1e-12)


def test_classes_of_a_gaussian_law_give_their_log_odds() -> None:
    x = np.tile(np.linspace(-2, 2, 9), 2)[:, None]
    label = np.repeat([1.0, -1.0], 9)
    weight = 1.0 / (1.0 + np.exp(-label * 1.5 * x[:, 0])) / 9
    nodes = arrays.Nodes(x, label, weight, np.zeros(1), 0.5 * x.T, None)
    line = derived.along_index(arrays.Output("", (), nodes=nodes, law="gaussian", logistic=True))
    assert line is not None and line.target is not None and not line.mean
    np.testing.assert_allclose(line.target, 1.5 * line.x, atol=1e-9)


def test_several_inputs_without_an_index_show_targets_or_classes(
    run: Callable[[str], Path], tmp_path: Path, quick: None
) -> None:
    directory = run("plane")
    (directory / "particles.h5").unlink()
    for config in (EMPIRICAL, EMPIRICAL + '[training]\nloss = "logistic"\n'):
        _write_limit(directory / "limit.h5", {"w0": "line", "w1": "line"}, blocks=2, config=config)
        assert derived.along_index(_read(directory)) is None
        assert tmp_path / "f" / "function.png" in drawing.draw(directory, tmp_path / "f")


# ---- what is missing ---------------------------------------------------------------------------------------------


def _cut(path: Path, drop: str) -> None:
    """Remove a group, or one variable of a group, from a file."""
    contents = store.read(path)
    groups = {}
    for name, group in contents.groups.items():
        kept = {key: value for key, value in group.variables.items() if f"{name}/{key}" != drop}
        if name != drop:
            groups[name] = Group(kept, group.attributes)
    store.write(path, groups, contents.attributes)


@pytest.mark.parametrize(
    ("drop", "names"),
    [
        ("/history", ["overview", "density", "risk", "rate", "moments", "function"]),
        ("/history/gap", ALL),
        ("/stationary", ALL),
        ("/limit/x", ALL[:-1]),
    ],
)
def test_what_a_limit_lacks_is_left_out(drop: str, names: list[str], run: Callable[[str], Path], quick: None) -> None:
    directory = run("line")
    _cut(directory / "limit.h5", drop)
    if drop == "/limit/x":
        _cut(directory / "limit.h5", "/stationary")
    assert [path.stem for path in drawing.draw(directory, directory)] == names


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"widths": (16,)}, [name for name in ALL if name != "rate"]),
        ({"replicas": 1}, ALL),
        ({"errors": False}, [name for name in ALL if name != "rate"]),
        ({"times": TIMES[:1], "finished": False}, [name for name in ALL if name != "rate"]),
        ({"times": TIMES[:3], "finished": False}, ALL),
    ],
)
def test_small_ensembles_are_drawn_as_far_as_they_go(
    options: dict[str, Any], names: list[str], run: Callable[[str], Path], quick: None
) -> None:
    directory = run("line")
    _write_particles(directory / "particles.h5", ("a", "w"), config=EMPIRICAL, **{"times": TIMES, **options})
    assert [path.stem for path in drawing.draw(directory, directory)] == names


def test_particles_at_their_start_are_drawn(run: Callable[[str], Path], quick: None) -> None:
    directory = run("particles")
    _write_particles(directory / "particles.h5", ("a", "w"), times=TIMES[:1], config=EMPIRICAL)
    assert [path.stem for path in drawing.draw(directory, directory)] == ["overview", "density"]


def test_a_limit_alone_is_drawn(run: Callable[[str], Path], quick: None) -> None:
    directory = run("plane")
    (directory / "particles.h5").unlink()
    names = [path.stem for path in drawing.draw(directory, directory)]
    assert names == ["overview", "density", "energy", "risk", "moments", "function"]


def test_vectors_on_request(run: Callable[[str], Path]) -> None:
    directory = run("stationary")
    paths = drawing.draw(directory, directory, "pdf")
    assert [path.name for path in paths] == ["density.pdf", "function.pdf"]
    assert all(path.read_bytes().startswith(b"%PDF") for path in paths)


def test_one_sentence_for_what_cannot_be_drawn(run: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(FileSystemError, match="there is no"):
        drawing.draw(tmp_path / "nothing", tmp_path)
    with pytest.raises(FileSystemError, match=r"neither limit\.h5 nor particles\.h5"):
        drawing.draw(tmp_path, tmp_path)
    directory = run("line")
    (tmp_path / "taken").write_text("")
    with pytest.raises(FileSystemError, match="cannot make the directory"):
        drawing.draw(directory, tmp_path / "taken" / "x")
    _cut(directory / "limit.h5", "/limit/density")
    with pytest.raises(DataFileError, match="holds no density"):
        drawing.draw(directory, directory)
    _cut(directory / "limit.h5", "/limit")
    _cut(directory / "limit.h5", "/stationary")
    with pytest.raises(DataFileError, match="neither /limit nor /stationary"):
        drawing.draw(directory, directory)
    _write_particles(directory / "particles.h5", ("a", "w"), config=GAUSSIAN)
    with pytest.raises(DataFileError, match="different studies"):
        drawing.draw(directory, directory)
    (directory / "limit.h5").write_bytes(b"no such format")
    with pytest.raises(DataFileError, match=r"limit\.h5"):
        drawing.draw(directory, directory)


# ---- the verb ----------------------------------------------------------------------------------------------------


def test_plot_prints_the_paths_it_wrote(
    run: Callable[[str], Path], capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    directory = run("line")
    assert main(["plot", str(directory), str(directory / "limit.h5")]) == 0  # one run, named twice
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(directory / f"{name}.png") for name in ALL]
    assert err == ""


def test_plot_answers_in_json(
    run: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    target = tmp_path / "deep" / "figures"
    assert main(["plot", str(run("stationary")), "-o", str(target), "--json"]) == 0
    figures = [str(target / "density.png"), str(target / "function.png")]
    assert json.loads(capsys.readouterr().out) == {"ok": True, "figures": figures, "unfinished": []}
    assert main(["plot", str(tmp_path / "absent.h5"), "--json"]) == 6
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False and "absent.h5" in answer["error"]


def test_plot_says_how_far_an_unfinished_run_is(
    run: Callable[[str], Path], capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    directory = run("line")
    half = {"times": TIMES[:3], "finished": False, "config": EMPIRICAL}
    _write_particles(directory / "particles.h5", ("a", "w"), **half)
    assert main(["plot", str(directory), "--json"]) == 0
    out, err = capsys.readouterr()
    assert f"{directory / 'particles.h5'} is an unfinished run: drawn up to t = 1.6" in err
    assert json.loads(out)["unfinished"] == [str(directory / "particles.h5")]


def test_a_file_brings_its_other_half_only_from_the_same_study(run: Callable[[str], Path]) -> None:
    directory = run("line")
    assert sources.find(directory / "limit.h5").particles == directory / "particles.h5"
    assert sources.find(directory / "particles.h5").limit == directory / "limit.h5"
    _write_particles(directory / "particles.h5", ("a", "w"), config=GAUSSIAN)
    assert sources.find(directory / "limit.h5").particles is None
    alone = directory / "renamed.h5"
    (directory / "limit.h5").rename(alone)
    assert sources.find(alone) == sources.Source(alone, None)


def test_runs_do_not_overwrite_each_other(
    run: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    line, stationary = run("line"), run("stationary")
    assert main(["plot", str(line), str(stationary), "-o", str(tmp_path / "out")]) == 0
    written = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "out" / "line" / "density.png") in written
    assert str(tmp_path / "out" / "stationary" / "density.png") in written
    copy = line / "copy.h5"
    copy.write_bytes((stationary / "limit.h5").read_bytes())
    assert main(["plot", str(line), str(copy)]) == 2
    assert "would both write" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["absent"], ["."]])
def test_neither_help_nor_a_mistake_imports_matplotlib(arguments: list[str], tmp_path: Path) -> None:
    held = modules_after(f"from mfpde.cli.main import main; main(['plot', *{arguments!r}])", tmp_path)
    assert not {"matplotlib", "numba", "scipy"} & held


def test_drawing_imports_neither_pyplot_nor_numba(run: Callable[[str], Path]) -> None:
    held = modules_after(f"from mfpde.cli.main import main; assert main(['plot', {str(run('stationary'))!r}]) == 0")
    assert not {"matplotlib.pyplot", "numba"} & held


def test_the_verb_offers_what_can_be_rendered() -> None:
    from mfpde.figures.style import _METADATA

    assert set(plot.KINDS) == set(_METADATA)
