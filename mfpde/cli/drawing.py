"""The figures of a run, drawn from its files alone: which ones there are, what goes into each, and their bytes on disk.

The files are read by ``mfpde.cli.arrays``, the axes are drawn by ``mfpde.figures``; this module joins the two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfpde.cli import arrays, derived
from mfpde.cli.arrays import Ensemble, Output
from mfpde.cli.derived import mean_sem
from mfpde.errors import FileSystemError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mfpde.compare.rates import Rate
    from mfpde.figures import Row

Array = NDArray[np.float64]

PANELS = 4
KINDS = ("png", "pdf", "svg")
# bins of the histogram that stands for the density where there is no limit
POOLED_BINS = 40


def draw(source: Path, target: Path, kind: str = "png") -> list[Path]:
    """Draw what the run in the directory (or behind the file) ``source`` allows into the directory ``target``.

    Returns the paths written, each complete or absent; equal files give equal bytes on one version of matplotlib.
    Raises FileSystemError and DataFileError, in one sentence each.
    """
    return draw_output(arrays.read(arrays.find(source)), target, kind)


def draw_output(output: Output, target: Path, kind: str = "png") -> list[Path]:
    """As ``draw``, from arrays."""
    from mfpde import figures
    from mfpde.io import atomic

    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileSystemError(f"cannot make the directory {target}: {error.strerror}") from None
    paths = []
    for name, function in FIGURES.items():
        with figures.style():
            figure = function(output)
        if figure is not None:
            path = target / f"{name}.{kind}"
            atomic.save(path, figures.render(figure, kind))
            paths.append(path)
    return paths


# ---- densities -----------------------------------------------------------------------------------------------------


def density(output: Output) -> Figure | None:
    """Density snapshots with the particles of one network of the largest width."""
    from mfpde import figures

    if output.grid is not None and not len(output.grid.times):
        return _stationary_density(output)
    times, rows = _rows(output)
    if not rows:
        return None
    height = (1.9 if len(rows[0].names) == 1 else 1.75) * len(rows) + 0.4
    figure, _ = figures.sheet(figures.DOUBLE, height, rows=0)
    figures.snapshot_rows(figure, times, rows, _chosen(output, times))
    return figure


def _chosen(output: Output, times: Array) -> list[int]:
    """Snapshots between which the limit moves equally far."""
    from mfpde import figures

    if output.grid is not None:
        return figures.pick_by_change(times, output.grid.density[: len(times)], PANELS)
    if output.atoms is not None:
        return figures.pick_by_change(times, output.atoms.theta[: len(times)], PANELS)
    return figures.pick(times, PANELS)


def _rows(output: Output) -> tuple[Array, list[Row]]:
    """Times [K] and what the rows of the density figure show at them."""
    from mfpde import figures

    names, kinds = [c.name for c in output.coordinates], [c.kind for c in output.coordinates]
    limit = output.grid or output.atoms
    times = limit.times if limit is not None else output.ensembles[-1].times if output.ensembles else np.zeros(0)
    widest = output.ensembles[-1] if output.ensembles and output.ensembles[-1].values.shape[-1] else None
    if widest is not None and len(widest.times) > 1:  # an unfinished ensemble ends earlier than the limit
        times = times[: len(widest.times)]
    elif limit is not None:
        widest = None
    cloud = None if widest is None else widest.values[: len(times), 0]
    if output.atoms is not None:
        theta = output.atoms.theta[: len(times)]
        return times, figures.atom_rows(names, kinds, theta, output.atoms.weights, particles=cloud)
    if output.grid is not None:
        return times, _grid_rows(output, len(times), cloud, widest)
    return (times, _pooled_rows(widest, names, kinds)) if widest is not None else (times, [])


def _grid_rows(output: Output, count: int, cloud: Array | None, widest: Ensemble | None) -> list[Row]:
    """One row per species of a frozen sign, the sum over species where there are more."""
    from mfpde import figures

    grid = output.grid
    assert grid is not None
    names, kinds = [c.name for c in output.coordinates], [c.kind for c in output.coordinates]
    total, rest = grid.density[:count], grid.stationary
    if total.shape[1] != 2 or len(names) == 3:
        summed = None if rest is None else rest.sum(axis=0)
        return figures.grid_rows(names, kinds, grid.centers, total.sum(axis=1), particles=cloud, stationary=summed)
    rows: list[Row] = []
    for k, probability in enumerate(grid.probabilities):
        members = None if cloud is None or widest is None else cloud[:, widest.species[0] == k]
        tag = ", ".join(f"${name}={values[k]:g}$" for name, values in grid.species.items())
        rows += figures.grid_rows(
            names, kinds, grid.centers, total[:, k] / probability,
            particles=members, stationary=None if rest is None else rest[k] / probability, tag=tag,
        )  # fmt: skip
    return rows


def _pooled_rows(widest: Ensemble, names: list[str], kinds: list[str]) -> list[Row]:
    """Without a limit: the histogram of all replicas of the largest width, under the particles of one."""
    from itertools import combinations

    from mfpde import figures

    pooled = widest.values.reshape(len(widest.times), -1, len(names))
    low, high = np.quantile(pooled, [0.0005, 0.9995], axis=(0, 1))
    edges = [np.linspace(lo, hi + 1e-12, POOLED_BINS + 1) for lo, hi in zip(low, high, strict=True)]
    centers = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
    rows = []
    for keep in combinations(range(len(names)), min(2, len(names))):
        columns, bins = list(keep), [edges[i] for i in keep]
        heights = np.stack([np.histogramdd(values[:, columns], bins, density=True)[0] for values in pooled])
        rows.append(
            figures.Row(
                [names[i] for i in keep],
                [kinds[i] for i in keep],
                [centers[i] for i in keep],
                heights,
                particles=widest.values[:, 0][..., columns],
                label="all replicas",
            )
        )
    return rows


def _stationary_density(output: Output) -> Figure:
    """A stationary measure on its own."""
    from mfpde import figures

    grid = output.grid
    assert grid is not None
    names, kinds = [c.name for c in output.coordinates], [c.kind for c in output.coordinates]
    rows = figures.grid_rows(names, kinds, grid.centers, grid.density.sum(axis=1), label="stationary")
    figure, axes = figures.sheet(figures.SINGLE if len(rows) == 1 else figures.DOUBLE, 2.4, 1, len(rows))
    for ax, row in zip(axes, rows, strict=True):
        assert row.density is not None
        if len(row.names) == 1:
            figures.density(ax, row.centers[0], row.density[0], name=names[0], kind=kinds[0], label="stationary")
        else:
            figures.density_map(ax, *row.centers, row.density[0], names=row.names, kinds=row.kinds)
            figures.colour_bar([ax])
    return figure


# ---- curves --------------------------------------------------------------------------------------------------------


def energy(output: Output) -> Figure | None:
    """Free energy above its stationary value, and the certified gap over it."""
    from mfpde import figures

    if not {"t", "free_energy"} <= output.history.keys() or len(output.history["t"]) < 2:
        return None
    figure, (ax,) = figures.sheet()
    _energy_panel(ax, output)
    return figure


def _energy_panel(ax: Axes, output: Output) -> None:
    from mfpde import figures

    h = output.history
    gap = h.get("gap")
    if gap is not None and not np.all(np.isfinite(gap)):
        gap = None
    label = "certified bound $F-D$" if output.convex else "$\\tau\\,\\mathrm{KL}(\\rho|p_\\rho)$"
    figures.energy(
        ax, h["t"], h["free_energy"],
        stationary_free_energy=output.free_energy, gap=gap, gap_label=label, bound=output.convex,
    )  # fmt: skip


def risk(output: Output) -> Figure | None:
    """Risk of every width against the limit over time, and at the end against 1/N."""
    from mfpde import figures

    if not output.ensembles and "risk" not in output.history:
        return None
    two = len(output.ensembles) > 1 and len(output.ensembles[0].times) > 1
    figure, axes = figures.sheet(figures.DOUBLE if two else figures.SINGLE, 2.5, 1, 2 if two else 1)
    _risk_panel(axes[0], output)
    if two:
        _extrapolation_panel(axes[1], output)
    return figure


def _risk_name(output: Output) -> str:
    return "interaction energy" if output.law == "pairwise" else "risk"


def _risk_panel(ax: Axes, output: Output) -> None:
    from mfpde import figures

    limit = output.history.get("risk")
    limit_time = output.history["t"] if limit is not None else None
    time = output.ensembles[0].times if output.ensembles else limit_time
    assert time is not None
    series = {one.width: mean_sem(one.series["risk"]) for one in output.ensembles if "risk" in one.series}
    figures.risk(ax, time, limit, series, limit_time=limit_time, ylabel=_risk_name(output))


def _extrapolation_panel(ax: Axes, output: Output) -> None:
    from mfpde import figures
    from mfpde.compare.rates import extrapolate_in_width

    known = [one for one in output.ensembles if "risk" in one.series]
    samples = [one.series["risk"][-1] for one in known]
    mean, sem = np.array([mean_sem(sample) for sample in samples]).T
    widths = np.array([one.width for one in known])
    value, value_sem = None, 0.0
    if min(len(sample) for sample in samples) > 1:
        found = extrapolate_in_width(widths, samples)
        value, value_sem = float(found.value), float(found.sem)
    last = known[0].times[-1]
    risks = output.history.get("risk")
    limit = None if risks is None else float(np.interp(last, output.history["t"], risks))
    figures.extrapolation(
        ax, widths, mean, sem,
        limit=limit, value=value, value_sem=value_sem, ylabel=f"{_risk_name(output)} at $t$ = {last:.3g}",
    )  # fmt: skip


def rate(output: Output) -> Figure | None:
    """Function and coupling error against the width at the last time, and N times the last of them over time."""
    from mfpde import figures

    panels = [name for name in ("function_error", "coupling_error") if name in output.rates]
    if not panels:
        return None
    figure, axes = figures.sheet(figures.DOUBLE, 2.6, 1, len(panels) + 1)
    for ax, name in zip(axes, panels, strict=False):
        for key in (key for key in output.rates if key.startswith(name)):
            _rate_line(ax, output.rates[key], LABELS[key], guide=key == name)
        ax.set_ylabel(f"{_words(name)} {FORMULAS[name]}")
        ax.set_title(f"$t$ = {output.ensembles[0].times[-1]:.3g}")
    series = {one.width: mean_sem(one.series[panels[-1]]) for one in output.ensembles if panels[-1] in one.series}
    figures.collapse(axes[-1], output.ensembles[0].times, series, ylabel=f"$N\\times$ {_words(panels[-1])}")
    axes[-1].set_title("all times")
    return figure


LABELS = {
    "function_error": "networks",
    "function_error_iid": "i.i.d. copies of the limit",
    "coupling_error": "networks to copies",
}
FORMULAS = {"function_error": "$\\mathbb{E}\\,\\|f_N-f\\|^2$", "coupling_error": "$\\mathbb{E}\\,|X-\\bar{X}|^2$"}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _rate_line(ax: Axes, fit: Rate, label: str, *, guide: bool) -> None:
    from mfpde import figures

    sems = np.zeros_like(fit.means) if fit.sems is None else fit.sems
    reference = -1.0 if guide else None
    figures.rate(ax, fit.widths, fit.means, sems, slope=fit.slope, ci=fit.ci, label=label, reference=reference)


def moments(output: Output) -> Figure | None:
    """First and second moments of every coordinate, of the limit and of the widest networks."""
    from mfpde import figures

    time, limit = derived.limit_moments(output)
    widest = output.ensembles[-1] if output.ensembles else None
    if len(time) < 2 and widest is not None:
        time = widest.times
    if len(time) < 2:
        return None
    ensemble, rest = derived.ensemble_moments(output), derived.stationary_moments(output)
    circle = output.coordinates[0].kind == "circle"
    figure, axes = figures.sheet(figures.DOUBLE, 2.5, 1, 2)
    for k, ax in enumerate(axes):
        figures.moments(
            ax, time, limit[k],
            ensemble_time=None if widest is None else widest.times, ensemble=ensemble[k], stationary=rest[k],
            ylabel=("direction", "order parameter")[k] if circle else ("first moment", "second moment")[k],
            ensemble_label="" if widest is None else f"particles, $N={widest.width}$",
        )  # fmt: skip
    return figure


def function(output: Output) -> Figure | None:
    """The learned function over one input; predictions against targets, or per class, where there are several."""
    from mfpde import figures

    line = derived.along_index(output)
    if output.nodes is None:
        return None
    figure, (ax,) = figures.sheet()
    if line is not None:
        _function_panel(ax, output, line)
        return figure
    prediction = derived.final_prediction(output.nodes)
    if prediction is None:
        return None
    if output.logistic:
        figures.class_histogram(ax, output.nodes.target, prediction, output.nodes.weight)
    else:
        figures.parity(ax, output.nodes.target, prediction)
    return figure


def _function_panel(ax: Axes, output: Output, line: derived.Line) -> None:
    from mfpde import figures

    last = line.f[-1] if len(line.f) else line.f_rest
    assert last is not None
    earlier = [0, 1] if len(line.f) > 2 else [0] if len(line.f) > 1 else []
    if len(line.f) > 2 and len(line.times) > 2:
        earlier = figures.pick_by_change(line.times, line.f, 4)[:-1]
    what = "log-odds" if output.logistic else "output"
    figures.learned_function(
        ax, line.x, last,
        target=line.target, data=line.data,
        earlier={f"$t$ = {line.times[k]:.3g}": line.f[k] for k in earlier},
        limit_label=f"$t$ = {line.times[-1]:.3g}" if len(line.f) else "stationary",
        stationary=line.f_rest if len(line.f) else None,
        xlabel="input along the index, $\\langle u,x\\rangle$" if line.mean else "input $x$",
        ylabel=f"{what} $E[f(x)\\,|\\,\\langle u,x\\rangle]$" if line.mean else f"{what} $f(x)$",
    )  # fmt: skip


# ---- all in one ----------------------------------------------------------------------------------------------------


def overview(output: Output) -> Figure | None:
    """The run on one sheet: densities and particles above, energy, risk and error rates below."""
    from mfpde import figures

    panels = _overview_panels(output)
    times, rows = _rows(output) if panels else (np.zeros(0), [])
    if not rows:
        return None
    figure, _ = figures.sheet(figures.DOUBLE, 4.3, rows=0)
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.0, 2.2])
    figures.snapshot_rows(top, times, rows[:1], _chosen(output, times))
    for ax, panel in zip(np.ravel(bottom.subplots(1, len(panels), squeeze=False)), panels, strict=True):
        panel(ax, output)
    return figure


def _overview_panels(output: Output) -> list[Callable[[Axes, Output], None]]:
    """At most three panels, the first of those that the run allows."""
    found: list[Callable[[Axes, Output], None]] = []
    if len(output.history.get("t", ())) > 1:
        found.append(_energy_panel)
    if output.ensembles and len(output.ensembles[0].times) > 1:
        found.append(_risk_panel)
    if "coupling_error" in output.rates:
        found.append(_rates_panel)
    elif len(output.ensembles) > 1:
        found.append(_extrapolation_panel)
    return found[:3]


def _rates_panel(ax: Axes, output: Output) -> None:
    for name in ("function_error", "coupling_error"):
        if name in output.rates:
            _rate_line(ax, output.rates[name], _words(name), guide=name == "coupling_error")
    ax.set_ylabel(f"squared error at $t$ = {output.ensembles[0].times[-1]:.3g}")


FIGURES: dict[str, Callable[[Output], Figure | None]] = {
    "overview": overview,
    "density": density,
    "energy": energy,
    "risk": risk,
    "rate": rate,
    "moments": moments,
    "function": function,
}
