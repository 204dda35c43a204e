"""Every figure: legible, nothing cut off, legends beside the data, the right numbers, equal bytes when drawn twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import legibility
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mfpde import figures
from mfpde.figures.densities import marginal, mass_levels, window
from mfpde.figures.panels import pick, pick_by_change
from mfpde.figures.style import DENSITY_MAP

TIME = np.linspace(0.0, 20.0, 41)


def _normal(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))


def _bumps(x: np.ndarray, time: float) -> np.ndarray:
    at, std = 1.6 * (1 - np.exp(-time / 3)), 0.25 + 0.3 * (1 - np.exp(-time))
    return 0.5 * (_normal(x, at, std) + _normal(x, -at, std))


X, Y, Z = np.linspace(-4, 4, 96), np.linspace(0.02, 4, 64), np.linspace(-3, 3, 32)
PLANE = np.stack([_bumps(X, t)[:, None] * _normal(Y, 1.4, 0.3) for t in TIME])
SPACE = np.stack(
    [_bumps(X[::3], t)[:, None, None] * _normal(Y[::2], 1.4, 0.3)[:, None] * _normal(Z, 0, 1) for t in TIME]
)


def _particles(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    return rng.normal(size=(len(TIME), count, dimension)) * 0.4 + np.array([0.0, 1.4, 0.0])[:dimension]


def _density(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    curves = np.stack([_bumps(X, t) for t in (0.0, 2.0, 9.0, 20.0)])
    figures.density(ax, X, curves, times=[0, 2, 9, 20], particles=rng.normal(size=200), stationary=_bumps(X, 50.0))
    return figure


def _density_map(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet(3.4, 2.8)
    figures.density_map(ax, X, Y, PLANE[-1], particles=_particles(rng, 1024, 2)[-1])
    figures.colour_bar([ax])
    return figure


def _snapshots(rng: np.random.Generator, dimension: int) -> Figure:
    figure, _ = figures.sheet(figures.DOUBLE, (2.0, 2.1, 5.2)[dimension - 1], rows=0)
    centers = ([X], [X, Y], [X[::3], Y[::2], Z])[dimension - 1]
    density = (PLANE.sum(axis=2) * (Y[1] - Y[0]), PLANE, SPACE)[dimension - 1]
    names = (["w"], ["w0", "w1"], ["a", "w", "b"])[dimension - 1]
    figures.snapshots(figure, TIME, centers, density, names=names, particles=_particles(rng, 256, dimension))
    return figure


def _marginals(rng: np.random.Generator) -> Figure:
    figure, axes = figures.sheet(figures.DOUBLE, 2.2, 1, 3)
    particles = _particles(rng, 64, 3)[-1]
    figures.marginals(axes, [X[::3], Y[::2], Z], SPACE[-1], names=["a", "w", "b"], particles=particles)
    return figure


def _energy(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    time = np.linspace(0, 40, 400)
    free = 0.004 + 0.3 * np.exp(-1.76 * time) + rng.normal(size=time.size) * 1e-17
    gap = 0.6 * np.exp(-1.76 * time) + 2e-14
    figures.energy(ax, time, free, stationary_free_energy=0.004, gap=gap)
    return figure


def _risk(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    limit = 0.002 + 0.5 * np.exp(-0.6 * TIME)
    widths = (64, 256, 1024, 4096)
    figures.risk(ax, TIME, limit, {N: (limit + 0.8 / N, np.full(TIME.size, 0.2 / N)) for N in widths})
    return figure


def _rate(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet(3.4, 2.7)
    widths = np.array([64, 256, 1024, 4096])
    error = 0.6 / widths
    figures.rate(ax, widths, error, 0.08 * error, slope=-1.0, ci=(-1.04, -0.96), label="function error")
    figures.rate(ax, widths, 0.1 * error, 0.01 * error, slope=-1.0, ci=0.02, label="coupling error", reference=None)
    return figure


def _order(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    h = 1 / np.array([16.0, 32, 64, 128, 256])
    figures.order(ax, h, {"one dimension": 0.3 * h**2, "two dimensions": 0.9 * h**2, "three dimensions": 2 * h**2})
    return figure


def _learned(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    x = np.linspace(-3, 3, 200)
    f = 0.8 * np.tanh(1.5 * x)
    data = (x[::2], f[::2] + 0.1 * rng.normal(size=100))
    figures.learned_function(ax, x, 0.9 * f, target=f, networks={64: 0.88 * f, 1024: 0.9 * f}, data=data)
    return figure


def _collapse(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    curve = 0.4 * (1.0 - np.exp(-TIME / 5.0))
    errors = {N: (curve * rng.uniform(0.9, 1.1) / N, 0.1 * curve / N) for N in (32, 128, 512)}
    figures.collapse(ax, TIME, errors, ylabel="$N\\times$ coupling error")
    return figure


def _extrapolation(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    widths = np.array([64, 256, 1024])
    figures.extrapolation(ax, widths, 0.3 + 1.0 / widths, 0.02 / np.sqrt(widths), limit=0.3, value=0.3, value_sem=1e-3)
    return figure


def _species(rng: np.random.Generator) -> Figure:
    figure, _ = figures.sheet(figures.DOUBLE, 3.9, rows=0)
    names, kinds = ["w0", "w1"], ["line", "radius"]
    rows: list[figures.Row] = []
    for sign in (-1, 1):
        cloud = _particles(rng, 60, 2)
        rows += figures.grid_rows(names, kinds, [X, Y], PLANE, particles=cloud, stationary=PLANE[-1], tag=f"$a={sign}$")
    figures.snapshot_rows(figure, TIME, rows, [0, 4, 18, 40])
    return figure


def _circle(rng: np.random.Generator) -> Figure:
    figure, _ = figures.sheet(figures.DOUBLE, 2.3, rows=0)
    angle = -np.pi + (np.arange(64) + 0.5) * np.pi / 32
    values = np.exp(np.outer(np.linspace(0.0, 2.0, len(TIME)), np.cos(angle)))
    values /= values.sum(axis=1, keepdims=True) * np.pi / 32
    cloud = rng.vonmises(0.0, 1.0, size=(len(TIME), 200, 1))
    rows = figures.grid_rows(["w"], ["circle"], [angle], values, particles=cloud, stationary=values[-1])
    figures.snapshot_rows(figure, TIME, rows, [0, 4, 18, 40])
    return figure


def _atoms(rng: np.random.Generator, dimension: int) -> Figure:
    figure, _ = figures.sheet(figures.DOUBLE, 2.3, rows=0)
    atoms, cloud = _particles(rng, 100, dimension), _particles(rng, 50, dimension)
    names, weights = ["a", "w"][:dimension], rng.dirichlet(np.ones(100))
    rows = figures.atom_rows(names, ["line"] * dimension, atoms, weights, particles=cloud)
    figures.snapshot_rows(figure, TIME, rows, [0, 4, 18, 40])
    return figure


def _classes(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    label = rng.choice([-1.0, 1.0], 300)
    figures.class_histogram(ax, label, 1.5 * label + rng.normal(size=300), np.full(300, 1 / 300))
    return figure


def _parity(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    target = rng.normal(size=200)
    figures.parity(ax, target, 0.8 * target + 0.1 * rng.normal(size=200))
    return figure


def _over_time(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    x = np.linspace(-3, 3, 200)
    early = {f"$t$ = {t}": np.tanh(x) * t / 20 for t in (0, 1, 5)}
    figures.learned_function(
        ax, x, 0.8 * np.tanh(x), target=np.tanh(x), earlier=early, stationary=0.9 * np.tanh(x), limit_label="$t$ = 20"
    )
    return figure


def _moments(rng: np.random.Generator) -> Figure:
    figure, (ax,) = figures.sheet()
    limit = {"$E\\,w_0$": 0.02 * np.exp(-TIME), "$E\\,w_0^2$": 2.6 - 2.4 * np.exp(-TIME / 3)}
    measured = {
        key: (value + 0.02 * rng.normal(size=TIME.size), np.full(TIME.size, 0.03)) for key, value in limit.items()
    }
    figures.moments(ax, TIME, limit, ensemble=measured)
    return figure


FIGURES: dict[str, Callable[[np.random.Generator], Figure]] = {
    "density": _density,
    "density_map": _density_map,
    "snapshots_1d": lambda rng: _snapshots(rng, 1),
    "snapshots_2d": lambda rng: _snapshots(rng, 2),
    "snapshots_3d": lambda rng: _snapshots(rng, 3),
    "marginals": _marginals,
    "energy": _energy,
    "risk": _risk,
    "rate": _rate,
    "order": _order,
    "collapse": _collapse,
    "extrapolation": _extrapolation,
    "species": _species,
    "circle": _circle,
    "atoms_1d": lambda rng: _atoms(rng, 1),
    "atoms_2d": lambda rng: _atoms(rng, 2),
    "class_histogram": _classes,
    "parity": _parity,
    "function_over_time": _over_time,
    "learned_function": _learned,
    "moments": _moments,
}


def _draw(name: str, seed: int = 1) -> Figure:
    with figures.style():
        figure = FIGURES[name](np.random.default_rng(seed))
        figures.settle(figure)
        figure.canvas.draw()
    return figure


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_large_enough_inside_the_sheet_and_nowhere_on_top_of_other_text(name: str) -> None:
    assert legibility.faults(_draw(name)) == []


@pytest.mark.parametrize("name", FIGURES)
def test_legend_covers_no_line(name: str) -> None:
    figure = _draw(name)
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is None:
            continue
        box = legend.get_window_extent()
        for line in ax.get_lines():
            points = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
            if len(points) > 1 and line.get_linestyle() != "None":
                # a guide or a fit is only two or three points long: look along it as well
                fine = np.linspace(0, len(points) - 1, 500)
                points = np.column_stack([np.interp(fine, np.arange(len(points)), points[:, k]) for k in (0, 1)])
            assert len(points) == 0 or box.count_contains(points) == 0, f"{line.get_label()} runs under the legend"


@pytest.mark.parametrize("name", ["energy", "snapshots_2d"])
@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_equal_figures_give_equal_bytes(name: str, kind: str) -> None:
    first, second = (figures.render(_draw(name), kind) for _ in range(2))
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])
    if kind == "png":
        width = int.from_bytes(first[16:20], "big")
        assert width == round(300 * _draw(name).get_figwidth())
    assert b"matplotlib" not in first.lower() or kind == "svg"


def test_save_writes_the_whole_file_or_none(tmp_path: Path) -> None:
    figure = _draw("rate")
    figures.save(figure, tmp_path / "rate.png")
    assert (tmp_path / "rate.png").read_bytes() == figures.render(figure)
    with pytest.raises(ValueError, match="jpeg"):
        figures.save(figure, tmp_path / "rate.jpeg")
    assert [path.name for path in tmp_path.iterdir()] == ["rate.png"]


def test_style_ignores_the_users_settings_and_leaves_them_alone() -> None:
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9}):
        changed = figures.render(_draw("rate"))
        assert matplotlib.rcParams["font.size"] == 20
    assert changed == figures.render(_draw("rate"))


def test_threads_do_not_disturb_each_other() -> None:
    alone = {name: figures.render(_draw(name)) for name in ("rate", "order")}
    results: dict[str, bytes] = {}
    threads = [threading.Thread(target=lambda n=name: results.update({n: figures.render(_draw(n))})) for name in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == alone


def test_import_loads_neither_pyplot_nor_a_window_system() -> None:
    unwanted = ("matplotlib.pyplot", "tkinter", "numba", "h5py")
    code = f"import sys, mfpde.figures; print([name for name in {unwanted} if name in sys.modules])"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_density_map_darkens_evenly() -> None:
    rgb = np.array([to_rgb(DENSITY_MAP(value)) for value in np.linspace(0, 1, 11)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126729, 0.7151522, 0.0721750]) - 16
    np.testing.assert_allclose(np.diff(lightness), -8.2, atol=0.4)


def test_marginal_integrates_to_the_same_mass() -> None:
    centers = [X[::3], Y[::2], Z]
    cells = [float(axis[1] - axis[0]) for axis in centers]
    mass = SPACE[5].sum() * np.prod(cells)
    for keep in ((0, 1), (0, 2), (1, 2)):
        values = marginal(SPACE[5], centers, keep)
        assert values.sum() * cells[keep[0]] * cells[keep[1]] == pytest.approx(mass, rel=1e-12)
    np.testing.assert_allclose(marginal(SPACE[5], centers, (1, 2)), SPACE[5].sum(axis=0) * cells[0])


def test_map_shows_the_density_where_it_is() -> None:
    _, (ax,) = figures.sheet()
    values = np.zeros((len(X), len(Y)))
    values[70, 20] = 1.0
    figures.density_map(ax, X, Y, values)
    image = ax.images[0]
    left, right, bottom, top = image.get_extent()
    row, column = np.unravel_index(np.argmax(image.get_array()), image.get_array().shape)
    assert left + (column + 0.5) * (right - left) / len(X) == pytest.approx(X[70])
    assert bottom + (row + 0.5) * (top - bottom) / len(Y) == pytest.approx(Y[20])


def test_histogram_has_the_mass_of_the_particles_in_view(rng: np.random.Generator) -> None:
    _, (ax,) = figures.sheet()
    particles = rng.normal(size=400) * 0.5
    figures.density(ax, X, _bumps(X, 0.0), particles=particles)
    heights, edges, _ = ax.patches[0].get_data()
    seen = np.mean((particles >= edges[0]) & (particles <= edges[-1]))
    assert float(np.sum(heights * np.diff(edges))) == pytest.approx(seen)


def test_energy_marks_the_round_off_and_draws_nothing_in_it() -> None:
    figure = _draw("energy")
    (ax,) = figure.axes
    gap, above = (line.get_ydata() for line in ax.get_lines())
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert np.nanmin(above) > band.y1 > 1e-16
    seen = np.isfinite(above)
    assert np.all(gap[seen] >= above[seen])


def test_rate_draws_the_fit_through_the_points() -> None:
    _, (ax,) = figures.sheet()
    widths = np.array([32, 64, 128, 256])
    figures.rate(ax, widths, 5.0 / widths, 0.1 / widths, slope=-1.0, ci=(-1.02, -0.98), label="error")
    fit = ax.get_lines()[-2]
    np.testing.assert_allclose(fit.get_ydata(), 5.0 / widths)
    assert "−1.000 [−1.020, −0.980]" in ax.get_legend().get_texts()[-1].get_text()
    figures.rate(ax, widths, 5.0 / widths, 0.1 / widths, slope=-1.2, ci=0.05, label="half width")
    figures.rate(ax, widths, 5.0 / widths, 0.1 / widths, slope=-1.2, ci=None, label="no interval")
    assert [text.get_text() for text in ax.get_legend().get_texts()[1:]] == [
        "half width\nslope −1.200 ± 0.050",
        "no interval\nslope −1.20",
    ]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["32", "64", "128", "256"]


def test_order_states_the_observed_order() -> None:
    _, (ax,) = figures.sheet()
    h = np.array([0.1, 0.05, 0.025])
    figures.order(ax, h, {"scheme": 3 * h**1.5})
    assert ax.get_legend().get_texts()[0].get_text() == "scheme: 1.50"


def test_pick_keeps_the_ends_and_favours_the_start() -> None:
    assert pick(TIME, 4) == [0, 4, 18, 40]
    assert pick(TIME[:1], 4) == [0]
    assert pick(TIME[:2], 4) == [0, 1]


def test_change_places_snapshots_at_equal_steps_of_the_path() -> None:
    # a quantity that moves as t up to 10 and then rests: the path 0..10 is cut at 0, 10/3, 20/3, 10
    position = np.minimum(np.arange(41.0), 10.0)[:, None]
    assert pick_by_change(np.arange(41.0), position, 4) == [0, 3, 7, 40]
    assert pick_by_change(np.arange(41.0), np.ones((41, 3)), 4) == pick(np.arange(41.0), 4)
    jump = np.repeat([0.0, 5.0], [1, 40])[:, None]
    assert len(set(pick_by_change(np.arange(41.0), jump, 4))) == 4


def test_contours_hold_their_share_of_the_mass() -> None:
    plane = _normal(X, 0.3, 0.6)[:, None] * _normal(Y, 1.4, 0.3)
    low, high = mass_levels(plane)
    total = plane.sum()
    assert plane[plane >= high].sum() / total == pytest.approx(0.5, abs=0.01)
    assert plane[plane >= low].sum() / total == pytest.approx(0.95, abs=0.01)
    # of a Gaussian the superlevel set of share p is where the density exceeds (1 - p) of its top
    assert low / plane.max() == pytest.approx(0.05, abs=0.005)
    assert mass_levels(np.zeros((3, 3))) == []


def test_extrapolation_line_meets_the_axis_at_the_extrapolated_value() -> None:
    _, (ax,) = figures.sheet()
    widths = np.array([10, 100, 1000])
    figures.extrapolation(ax, widths, 2.0 + 3.0 / widths, np.full(3, 0.1), value=2.0)
    line = next(line for line in ax.get_lines() if len(line.get_xdata()) == 2 and line.get_linestyle() == "-")
    np.testing.assert_allclose(line.get_ydata(), [2.0, 2.3])


def test_collapse_multiplies_by_the_width() -> None:
    _, (ax,) = figures.sheet()
    figures.collapse(ax, TIME, {N: (TIME / N, 0.0 * TIME) for N in (8, 64)})
    first, second = ax.get_lines()
    np.testing.assert_allclose(first.get_ydata(), TIME)
    np.testing.assert_allclose(second.get_ydata(), TIME)


def test_species_share_their_windows() -> None:
    figure, _ = figures.sheet(figures.DOUBLE, 3.9, rows=0)
    shifted = [np.stack([_normal(X, at, 0.3)[:, None] * _normal(Y, 1.4, 0.3)] * 2) for at in (-1.5, 1.5)]
    rows = [row for one in shifted for row in figures.grid_rows(["w0", "w1"], ["line", "line"], [X, Y], one)]
    axes = figures.snapshot_rows(figure, np.array([0.0, 1.0]), rows, [0, 1])
    assert len({ax.get_xlim() for ax in axes}) == 1
    assert axes[0].get_xlim()[0] < -2.0 and axes[0].get_xlim()[1] > 2.0


def test_window_holds_the_mass_and_leaves_out_the_void() -> None:
    low, high = window(X, _normal(X, 1.0, 0.2)[None, :])
    assert X[0] < low < 0.3 and 1.7 < high < 2.2
    assert window(X, np.zeros((1, len(X)))) == pytest.approx((X[0] - (X[1] - X[0]) / 2, X[-1] + (X[1] - X[0]) / 2))
