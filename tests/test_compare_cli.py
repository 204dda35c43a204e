"""``mfpde compare``: as a diff, and as physics against closed forms and second methods."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfpde.cli.main import main
from mfpde.compare import laws, transport
from mfpde.errors import DataFileError
from mfpde.io import config, difference, outputs, store
from mfpde.io.difference import Tolerance, differences
from mfpde.io.store import Group, Variable
from mfpde.measures import Axis, Grid, GridMeasure, ParticleMeasure, Species
from mfpde.problem import Coordinate

# ---- diff ------------------------------------------------------------------------------------------------------

TIMES = np.linspace(0.0, 2.0, 5)


def _groups(**changed: Any) -> dict[str, Group]:
    density = np.arange(15.0).reshape(5, 3) / 7.0
    variables = {
        "time": Variable(("time",), TIMES),
        "w": Variable(("w",), np.arange(3.0), {"kind": "line"}),
        "density": Variable(("time", "w"), density),
        "wall_s": Variable(("time",), np.zeros(5)),
        "name": Variable(("w",), np.array(["a", "b", "c"])),
        "count": Variable(("w",), np.array([1, 2, 2**60])),
        "hole": Variable(("w",), np.array([np.nan, np.inf, -np.inf])),
    }
    variables |= changed
    return {"/limit": Group(variables, {"flux": "limited", "rejected": 3, "wall_s": 1.0}), "/restart/x": Group({})}


def _write(path: Path, groups: dict[str, Group] | None = None, **attributes: Any) -> str:
    root = store.provenance('title = "x"\n', "x", 5, True)
    store.write(path, _groups() if groups is None else groups, root | attributes)
    return str(path)


def test_what_is_no_result_is_no_difference(tmp_path: Path) -> None:
    a = _write(tmp_path / "a.h5")
    groups = _groups(wall_s=Variable(("time",), np.ones(5)))
    groups["/limit"] = replace(groups["/limit"], attributes={"flux": "limited", "rejected": 3, "wall_s": 2.0})
    b = _write(tmp_path / "b.h5", groups, created="1999-01-01T00:00:00Z", source="mfpde 9.9", finished=0)
    assert differences(a, b) == []
    assert differences(a, a) == []


@pytest.mark.parametrize(
    ("changed", "place", "what"),
    [
        ({"density": Variable(("time", "w"), np.zeros((5, 3)))}, "/limit/density", "holds other numbers"),
        (
            {"density": Variable(("time", "w"), np.zeros((5, 3), np.float32))},
            "/limit/density",
            "has the type f8 and f4",
        ),
        ({"more": Variable(("w",), np.zeros(3))}, "/limit/more", "is in the second file only"),
        ({"hole": Variable(("w",), np.array([np.nan, np.inf, 1.0]))}, "/limit/hole", "holds other numbers"),
        ({"hole": Variable(("w",), np.array([0.0, np.inf, -np.inf]))}, "/limit/hole", "holds other numbers"),
        ({"count": Variable(("w",), np.array([1, 2, 2**60 + 1]))}, "/limit/count", "holds other numbers"),
        ({"name": Variable(("w",), np.array(["a", "b", "d"]))}, "/limit/name", "holds other texts"),
        ({"w": Variable(("w",), np.arange(3.0), {"kind": "circle"})}, "/limit/w@kind", "is 'line' and 'circle'"),
        ({"time": Variable(("time",), TIMES * (1 + 2e-16))}, "/limit/time", "holds other numbers"),
    ],
)
def test_one_change_is_one_difference(changed: dict[str, Variable], place: str, what: str, tmp_path: Path) -> None:
    a, b = _write(tmp_path / "a.h5"), _write(tmp_path / "b.h5", _groups(**changed))
    (found,) = differences(a, b)
    assert (found.place, found.what) == (place, what)
    (back,) = differences(b, a)
    assert back.place == place


def test_shapes_groups_and_attributes(tmp_path: Path) -> None:
    a = _write(tmp_path / "a.h5")
    groups = _groups()
    groups["/limit"] = replace(groups["/limit"], attributes={"flux": "exponential", "rejected": 4, "new": 1})
    del groups["/restart/x"]
    other = store.provenance('title = "y"\n', "x", 6, True)
    b = _write(tmp_path / "b.h5", groups, **other)
    found = {d.place: d.what for d in differences(a, b)}
    assert found == {
        "/@config": "is 'title = \"x\"' and 'title = \"y\"'",
        "/@seed": "is 5 and 6",
        "/limit@flux": "is 'limited' and 'exponential'",
        "/limit@rejected": "is 3 and 4",
        "/limit@new": "is in the second file only",
        "/restart": "is in the first file only",
    }
    short = {"/limit": Group({"w": Variable(("w",), np.arange(4.0))})}
    longer = _write(tmp_path / "c.h5", {"/limit": Group({"w": Variable(("w",), np.arange(3.0))})})
    (found_shape,) = differences(_write(tmp_path / "d.h5", short), longer)
    assert found_shape.what == "has the shape (4,) and (3,)"


def test_deviations_are_counted_measured_and_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same whether a variable is read at once or row by row."""
    x = np.ones((7, 4))
    y = x.copy()
    y[2, 1], y[5, 3], y[6, 0] = 1.5, 0.5, 1.0 + 1e-9
    groups = [{"/g": Group({"v": Variable(("time", "w"), v)})} for v in (x, y)]
    a, b = (_write(tmp_path / name, g) for name, g in zip(("a.h5", "b.h5"), groups, strict=True))
    for piece in (8 << 20, 1):
        monkeypatch.setattr(difference, "PIECE", piece)
        (found,) = differences(a, b)
        assert (found.count, found.total) == (3, 28)
        assert found.largest_absolute == 0.5
        assert found.largest_relative == 0.5
        assert found.where == "1.0 and 1.5 at (time 2, w 1)"
        (within,) = differences(a, b, Tolerance(0.4, 0.0))
        assert (within.count, within.where) == (1, "1.0 and 0.5 at (time 5, w 3)")
        assert differences(a, b, Tolerance(0.5, 0.0)) == []
        assert differences(a, b, Tolerance(0.0, 0.5)) == []
        assert len(differences(a, b, Tolerance(0.0, 0.49))) == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    a, b = _write(tmp_path / "a.h5"), tmp_path / "b.h5"
    whole = bytearray((tmp_path / "a.h5").read_bytes())
    whole[whole.index((np.arange(15.0) / 7.0).tobytes()) + 3] ^= 1
    b.write_bytes(whole)
    for pair in ((a, str(b)), (str(b), a)):
        with pytest.raises(DataFileError, match=r"b\.h5 is damaged"):
            differences(*pair)


def test_diff_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for directory in (one, two):
        directory.mkdir()
        _write(directory / "limit.h5")
        _write(directory / "particles.h5")
    assert main(["compare", str(one), str(two), "--rtol", "0", "--atol", "0"]) == 0
    assert capsys.readouterr().out.startswith("equal")
    _write(two / "particles.h5", _groups(density=Variable(("time", "w"), np.arange(15.0).reshape(5, 3) / 7.001)))
    assert main(["compare", str(one), str(two), "--atol", "0"]) == 1
    out = capsys.readouterr().out
    assert "/limit/density holds other numbers: 14 of 15, by at most" in out
    assert "at (time 4, w 2)" in out
    assert main(["compare", str(one), str(two), "--rtol", "1e-3"]) == 0
    assert main(["compare", str(one / "limit.h5"), str(two), "--rtol", "0"]) == 0
    capsys.readouterr()
    assert main(["compare", str(one), str(two), "--rtol", "0", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["same"] is False
    assert [len(file["differences"]) for file in answer["files"]] == [0, 1]
    assert answer["files"][1]["differences"][0]["count"] == 14
    (two / "particles.h5").unlink()
    assert main(["compare", str(one), str(two), "--rtol", "0"]) == 1
    assert "one/particles.h5 has no counterpart" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--rtol", "0"]])
def test_bad_input(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _write(tmp_path / "good.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other.h5"
    store.save(other, store.image({}, {"Conventions": "CF-1.8", "schema": 1}))
    for wrong, code in (("none.h5", 6), ("text.h5", 4), ("other.h5", 4), ("empty", 6)):
        for pair in ((good, str(tmp_path / wrong)), (str(tmp_path / wrong), good)):
            assert main(["compare", *pair, *flags]) == code
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith("mfpde: ")
            assert "Traceback" not in err
    for arguments in (["--rtol", "-1"], ["--atol", "nan"], ["--metric", "l7"], ["--rtol"]):
        assert main(["compare", good, good, *arguments]) == 2


# ---- laws ------------------------------------------------------------------------------------------------------


def _coordinate(name: str, kind: Any = "line") -> Coordinate:
    return Coordinate(name, "w", kind)


def _grid_measure(*axes: Axis, density: Any) -> GridMeasure:
    grid = Grid(axes, Species((), np.zeros((1, 0)), np.ones(1)))
    mass = density(*np.meshgrid(*(axis.centers for axis in axes), indexing="ij"))
    return GridMeasure(grid, mass[None] / mass.sum())


def _gaussian(mean: tuple[float, float], cells: int) -> GridMeasure:
    axes = (Axis(_coordinate("w0"), -6.0, 7.0, cells), Axis(_coordinate("w1"), -7.0, 6.0, cells))
    return _grid_measure(*axes, density=lambda x, y: np.exp(-0.5 * (x - mean[0]) ** 2 - 2.0 * (y - mean[1]) ** 2))


def test_shifted_densities_are_as_far_apart_as_their_means() -> None:
    """W2 of a translation is its length along every direction, on any two grids to O(h^2)."""
    shift = np.array([0.5, -0.3])
    a, b = _gaussian((0.0, 0.0), 52), _gaussian(tuple(shift), 52)
    each = laws.coordinate_distances((a,), (b,), ("w0", "w1"))
    np.testing.assert_allclose([each["w0"][0], each["w1"][0]], shift**2, rtol=2e-3)
    vectors = transport.directions(2, laws.DIRECTIONS)
    expected = np.mean((vectors @ shift) ** 2)
    np.testing.assert_allclose(laws.joint_distances((a,), (b,), ("w0", "w1")), expected, rtol=2e-3)
    assert laws.joint_distances((a,), (a,), ("w0", "w1"))[0] == 0.0


def test_two_resolutions_of_one_law_meet_as_the_square_of_the_cell_width() -> None:
    """Cells as atoms at their centres would leave h/sqrt(12), first order, between them."""
    fine = (_gaussian((0.0, 0.0), 208),)
    found = [np.sqrt(laws.joint_distances((_gaussian((0.0, 0.0), n),), fine, ("w0", "w1"), 16)[0]) for n in (26, 52)]
    assert found[0] / found[1] > 3.5
    assert found[1] < 0.1 * (13.0 / 52) / math.sqrt(12.0)


def test_a_projection_has_the_mean_and_variance_of_the_boxes(rng: np.random.Generator) -> None:
    axes = (Axis(_coordinate("w0"), -1.0, 2.0, 5), Axis(_coordinate("w1"), 0.0, 1.0, 4))
    measure = _grid_measure(*axes, density=lambda x, y: 1.0 + x**2 + np.abs(np.sin(9.0 * y + x)))
    u = np.array([0.6, -0.8])
    q = laws.projection(measure, ("w0", "w1"), u)
    share = np.diff(q.level)
    mean = np.sum(share * (q.left + q.right)) / 2.0
    square = np.sum(share * (q.left**2 + q.left * q.right + q.right**2)) / 3.0
    z, mass = measure.atoms @ u, measure.weights
    assert mean == pytest.approx(np.sum(mass * z), abs=1e-14)
    variance = np.sum(u**2 * np.array([axis.width for axis in axes]) ** 2) / 12.0
    assert square == pytest.approx(np.sum(mass * z**2) + variance, abs=1e-13)
    assert np.all(np.diff(q.level) > 0.0)


def test_replicas_at_once_are_replicas_one_by_one(rng: np.random.Generator) -> None:
    measure = _gaussian((0.2, 0.1), 40)
    weights = np.full(60, 1.0 / 60)
    many = tuple(ParticleMeasure(("w1", "w0"), rng.normal(size=(60, 2)), weights) for _ in range(5))
    together = laws.joint_distances((measure,), many, ("w0", "w1"))
    singly = [laws.joint_distances((measure,), (one,), ("w0", "w1"))[0] for one in many]
    np.testing.assert_allclose(together, singly, rtol=1e-10)
    np.testing.assert_allclose(laws.joint_distances(many, (measure,), ("w0", "w1")), together, rtol=1e-12)
    uneven = ParticleMeasure(("w1", "w0"), many[0].atoms[:30], rng.dirichlet(np.ones(30)))
    mixed = laws.joint_distances((measure,), (*many, uneven), ("w0", "w1"))
    np.testing.assert_allclose(mixed[:5], together, rtol=1e-10)


def test_ensembles_are_compared_as_pools(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4, 10, 1))
    weights = np.full(10, 0.1)
    law = tuple(ParticleMeasure(("w",), one, weights) for one in draws)
    shuffled = tuple(
        ParticleMeasure(("w",), one, weights) for one in rng.permutation(draws.reshape(40, 1)).reshape(4, 10, 1)
    )
    assert laws.coordinate_distances(law, shuffled, ("w",))["w"] == pytest.approx([0.0], abs=1e-30)
    moved = tuple(ParticleMeasure(("w",), one + 3.0, weights) for one in draws)
    assert laws.coordinate_distances(law, moved, ("w",))["w"] == pytest.approx([9.0], rel=1e-13)
    means, sems = laws.mean_moments(law)["w"]
    assert means[0] == pytest.approx(draws.mean(), abs=1e-15)
    assert sems is not None
    assert sems[0] == pytest.approx(draws.mean(axis=(1, 2)).std(ddof=1) / 2.0)


def test_angles_go_the_short_way_round() -> None:
    weights = np.ones(1)
    a, b = (
        ParticleMeasure(("w",), np.array([[3.1]]), weights),
        ParticleMeasure(("w",), np.array([[-3.1 - 6.0 * np.pi]]), weights),
    )
    short = (2.0 * np.pi - 6.2) ** 2
    assert laws.coordinate_distances((a,), (b,), ("w",), ("w",))["w"] == pytest.approx([short], rel=1e-10)


def test_exact_distance_by_the_network_simplex(rng: np.random.Generator) -> None:
    pytest.importorskip("ot")
    points = rng.normal(size=(12, 1))
    weights = np.full(12, 1.0 / 12)
    a, b = ParticleMeasure(("w",), points, weights), ParticleMeasure(("w",), rng.normal(size=(12, 1)), weights)
    exact = laws.exact_distances((a,), (b,), ("w",))
    np.testing.assert_allclose(exact, laws.coordinate_distances((a,), (b,), ("w",))["w"], rtol=1e-10)


# ---- outputs of runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ornstein-Uhlenbeck from the means 2 and 1, twice as fine, at other times; reduced, frozen, circular studies."""
    base = tmp_path_factory.mktemp("runs")
    before = np.seterr(all="raise", under="ignore")

    def solve(name: str, study: str, *overrides: str, only: str | None = None) -> None:
        arguments = [argument for text in overrides for argument in ("--set", text)]
        arguments += ["--only", only] if only else []
        assert main(["solve", study, "-o", str(base / name), "--no-figures", "-q", *arguments]) == 0

    small = ["particles.widths=[8,16,32]", "particles.replicas=6", "output.snapshots=5", "training.time=1"]
    ou = [*small, "grid.cells=[128]", "grid.bounds=[[-4,6]]"]
    solve("two", "ornstein-uhlenbeck", *ou)
    solve("one", "ornstein-uhlenbeck", *ou, 'initial.w={law="normal",mean=1.0,std=0.5}', "output.seed=1")
    solve("fine", "ornstein-uhlenbeck", *ou, "grid.cells=[256]", only="limit")
    solve("later", "ornstein-uhlenbeck", *ou, "training.time=2", "output.snapshots=3", only="limit")
    solve("rest", "ornstein-uhlenbeck", *ou, only="stationary")
    solve("reduced", "single-index", *small, "grid.cells=[24,24]", "data.dimension=6")
    solve("frozen", "single-index", *small, "grid.cells=[24]", "data.dimension=1", 'initial.a={law="rademacher"}')
    solve("circle", "kuramoto", *small, "grid.cells=[32]")
    solve("atoms", "linear-network", *small, "training.temperature=0", "particles.dynamics=gradient")
    np.seterr(**before)
    return base


def _compared(capsys: pytest.CaptureFixture[str], a: Path, b: Path, *arguments: str) -> dict[str, Any]:
    assert main(["compare", str(a), str(b), *arguments]) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert main(["compare", str(a), str(b), "--json", *arguments]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    answer = json.loads(out)
    assert answer["ok"] is True
    return dict(answer)


def test_two_starts_of_a_linear_flow_stay_one_shift_apart(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Means 2 exp(-t) and exp(-t), the variance 1/4 for ever: W2 = exp(-t), and f, the mean, differs by the same."""
    answer = _compared(capsys, runs / "two" / "limit.h5", runs / "one" / "limit.h5")
    assert answer["same"] is False
    (found,) = answer["comparisons"]
    assert found["times"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [entry["time"] for entry in found["laws"]] == [0.25, 0.75, 1.0]
    for entry, function in zip(found["laws"], found["function"], strict=True):
        distance = math.exp(-entry["time"])
        assert entry["w2"] == pytest.approx(distance, rel=6e-3)
        assert entry["moments"]["w"]["difference"][0] == pytest.approx(distance, rel=6e-3)
        assert function["difference"] == pytest.approx(distance, rel=6e-3)
    # risk = -f^2/2
    assert found["risk"][0]["final_difference"] == pytest.approx(1.5 * math.exp(-2.0), rel=1e-2)
    assert found["risk"][0]["largest_difference"] == pytest.approx(1.5, rel=1e-9)
    assert found["risk"][0]["largest_at"] == 0.0


def test_two_resolutions(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = _compared(capsys, runs / "two" / "limit.h5", runs / "fine" / "limit.h5")["comparisons"]
    assert not found["same_study"]
    assert all(0.0 < entry["w2"] < 5e-3 for entry in found["laws"])
    assert found["free_energy"]["rest_difference"] < 1e-3


def test_only_common_times_count(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = _compared(capsys, runs / "fine" / "limit.h5", runs / "later" / "limit.h5")["comparisons"]
    assert found["times"] == [0.0, 1.0]


def test_limit_against_particles(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same numbers as the summary of the run, from the files alone."""
    answer = _compared(capsys, runs / "two" / "limit.h5", runs / "two" / "particles.h5")
    (found,) = answer["comparisons"]
    summary = json.loads((runs / "two" / "summary.json").read_text())
    last = found["laws"][-3:]
    assert [entry["width_b"] for entry in last] == [8, 16, 32]
    for entry, p, curve in zip(last, summary["particles"], found["risk"], strict=True):
        assert entry["w2"] == pytest.approx(p["w2"], rel=1e-9)
        assert entry["moments"]["w"]["b"] == pytest.approx(p["moments"]["w"], rel=1e-12)
        assert (curve["b"], curve["b_sem"]) == (p["risk_mean"], p["risk_sem"])
    assert [entry["time"] for entry in found["ensemble"]] == [0.25, 0.75, 1.0]
    for name in ("function_error", "coupling_error"):
        rate = found["ensemble"][-1]["rates"][name]
        assert rate["slope"] == pytest.approx(summary["rates"][name]["slope"], rel=1e-12)
        assert rate["ci"] == pytest.approx(summary["rates"][name]["ci"], rel=1e-12)
    reverse = _compared(capsys, runs / "two" / "particles.h5", runs / "two" / "limit.h5")["comparisons"][0]
    assert [entry["w2"] for entry in reverse["laws"]] == [entry["w2"] for entry in found["laws"]]


def test_particles_of_the_full_dimension_are_reduced(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """|w_perp| of w in R^6 meets the radius of the grid: the distance to the limit falls with the width."""
    (found,) = _compared(capsys, runs / "reduced" / "limit.h5", runs / "reduced" / "particles.h5")["comparisons"]
    assert found["parameters"] == ["w0", "w1"]
    final = [entry for entry in found["laws"] if entry["time"] == 1.0]
    assert final[0]["w2"] > final[-1]["w2"]
    assert final[-1]["w2"] < 0.15
    theta = store.read(runs / "reduced" / "particles.h5", ["/ensemble/N000008"]).groups["/ensemble/N000008"]
    w = theta.variables["theta"].data[-1][..., 1:]
    radius = np.mean(np.sqrt(np.sum(w[..., 1:] ** 2, axis=-1)))
    assert final[0]["moments"]["w1"]["b"][0] == pytest.approx(radius, rel=1e-12)


def test_without_the_data_file_parameters_are_coordinates(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "x,y\n" + "".join(f"{x:.3f},{np.tanh(x):.3f}\n" for x in np.linspace(-1.0, 1.0, 9))
    (tmp_path / "table.csv").write_text(rows)
    (tmp_path / "study.toml").write_text(
        '[network]\nactivation = "tanh"\ntrain = ["w"]\n[data]\nlaw = "empirical"\nfile = "table.csv"\n'
        'inputs = ["x"]\ntargets = "y"\n[training]\ntime = 0.2\n[grid]\ncells = [24]\n'
        "[particles]\nwidths = [4]\nreplicas = 2\n[output]\nsnapshots = 2\n"
    )
    assert main(["solve", str(tmp_path / "study.toml"), "-o", str(tmp_path / "run"), "--no-figures", "-q"]) == 0
    (tmp_path / "table.csv").unlink()
    monkeypatch.chdir(runs)
    capsys.readouterr()
    files = tmp_path / "run" / "limit.h5", tmp_path / "run" / "particles.h5"
    (found,) = _compared(capsys, *files)["comparisons"]
    assert found["parameters"] == ["w"]


def test_ensembles(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = runs / "two" / "particles.h5", runs / "one" / "particles.h5"
    (found,) = _compared(capsys, *files, "--metric", "w2")["comparisons"]
    assert [(entry["width_a"], entry["width_b"]) for entry in found["laws"][:3]] == [(8, 8), (16, 16), (32, 32)]
    assert found["laws"][-1]["w2"] == pytest.approx(math.exp(-1.0), abs=0.15)
    assert "risk" not in found


def test_run_directories_pair_their_files(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _compared(capsys, runs / "two", runs / "two")
    assert answer["same"] is True
    assert [c["a"]["kind"] for c in answer["comparisons"]] == ["limit", "particles"]
    assert len(_compared(capsys, runs / "two", runs / "fine")["comparisons"]) == 1


def test_the_stationary_measure(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = _compared(capsys, runs / "rest" / "limit.h5", runs / "two" / "limit.h5")["comparisons"]
    assert found["times"] == [None]
    assert found["laws"][0]["w2"] < 1e-8
    assert found["largest"] < 1e-8
    (found,) = _compared(capsys, runs / "rest" / "limit.h5", runs / "two" / "particles.h5")["comparisons"]
    assert found["times"] == [1.0]
    # the law at time 1 has the mean 2/e and the variance of the stationary one
    assert found["laws"][-1]["w2"] == pytest.approx(2.0 / math.e, abs=0.1)


@pytest.mark.parametrize("name", ["frozen", "circle", "atoms"])
def test_every_kind_agrees_with_itself_and_its_particles(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _compared(capsys, runs / name, runs / name)["same"] is True
    (found,) = _compared(capsys, runs / name / "limit.h5", runs / name / "particles.h5")["comparisons"]
    assert 0.0 < found["laws"][-1]["w2"] < 1.0
    assert found["laws"][-1]["w2"] < found["laws"][-3]["w2"]


def test_exact_metric(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ot")
    files = runs / "two" / "particles.h5", runs / "one" / "particles.h5"
    (exact,) = _compared(capsys, *files, "--metric", "ot")["comparisons"]
    (plain,) = _compared(capsys, *files, "--metric", "w2")["comparisons"]
    assert [e["w2_exact"] for e in exact["laws"]] == pytest.approx([e["w2"] for e in plain["laws"]], rel=1e-9)
    assert {e["w2_exact_cell_error"] for e in exact["laws"]} == {0.0}
    # a density taken at the centres of its cells is off by less than is stated, and by something
    files = runs / "one" / "limit.h5", runs / "one" / "particles.h5"
    (moved,) = _compared(capsys, *files, "--metric", "ot")["comparisons"]
    (exact,) = _compared(capsys, *files, "--metric", "w2")["comparisons"]
    for a, b in zip(moved["laws"], exact["laws"], strict=True):
        assert 0.0 < abs(a["w2_exact"] - b["w2"]) <= a["w2_exact_cell_error"]


def test_nothing_in_common(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(runs / "two" / "limit.h5"), str(runs / "reduced" / "limit.h5")]) == 2
    assert "no parameter in common" in capsys.readouterr().err


def test_a_file_without_a_law_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = config.load("kuramoto").config
    path = tmp_path / "x.h5"
    store.write(path, {"/theory": Group({})}, store.provenance(config.to_toml(study), "", 0, True))
    with pytest.raises(DataFileError, match="neither a limit nor particles"):
        outputs.open_output(str(path))
    store.write(path, {"/limit": Group({})}, store.provenance("nonsense = 1", "", 0, True))
    assert main(["compare", str(path), str(path)]) == 4
    assert "holds no study" in capsys.readouterr().err
