"""The figures of a run, drawn from its files alone: which ones there are, what goes into each, and their bytes on disk.

The files are read by ``mfpde.cli.arrays``, the axes are drawn by ``mfpde.figures``; this module joins the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfpde.cli import arrays, density_rows, derived, sources
from mfpde.cli.arrays import Output
from mfpde.cli.derived import mean_sem
from mfpde.errors import FileSystemError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Array = NDArray[np.float64]

# widths in a panel over time
MOST_WIDTHS = 4


def draw(source: Path, target: Path, kind: str = "png") -> list[Path]:
    """Draw what the run in the directory (or behind the file) ``source`` allows into the directory ``target``.

    Returns the paths written, each complete or absent; equal files give equal bytes on one version of matplotlib.
    Raises FileSystemError and DataFileError, in one sentence each.
    """
    return draw_output(arrays.read(sources.find(source)), target, kind)


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

    curves = [output.history.get("risk", ()), *(one.times for one in output.ensembles)]
    if max(map(len, curves)) < 2:
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
    series = _series(output, "risk")
    figures.risk(ax, time, limit, series, limit_time=limit_time, ylabel=_risk_name(output))


def _series(output: Output, name: str) -> dict[int, tuple[Array, Array]]:
    """Width -> mean and standard error over time of one series, for as many widths as one panel bears."""
    known = [one for one in output.ensembles if name in one.series]
    shown = np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_WIDTHS)).round().astype(int))
    return {known[k].width: mean_sem(known[k].series[name]) for k in shown}


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
        _rate_lines(ax, output, {key: LABELS[key] for key in output.rates if key.startswith(name)})
        ax.set_ylabel(f"{_words(name)} {FORMULAS[name]}")
        ax.set_title(f"$t$ = {output.ensembles[0].times[-1]:.3g}")
    series = _series(output, panels[-1])
    figures.collapse(axes[-1], output.ensembles[0].times, series, ylabel=f"$N\\times$ {_words(panels[-1])}")
    axes[-1].set_title("all times")
    return figure


LABELS = {
    "function_error": "networks",
    "function_error_iid": "i.i.d. copies of the limit",
    "coupling_error": "networks to copies",
}
FORMULAS = {"function_error": "$\\mathrm{E}\\,\\|f_N-f\\|^2$", "coupling_error": "$\\mathrm{E}\\,|X-\\bar{X}|^2$"}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _rate_lines(ax: Axes, output: Output, labels: Mapping[str, str]) -> None:
    """Errors by name on one axis, with a guide under the lowest."""
    from mfpde import figures

    lowest = min(labels, key=lambda name: output.rates[name].means[-1])
    for name, label in labels.items():
        fit = output.rates[name]
        sems = np.zeros_like(fit.means) if fit.sems is None else fit.sems
        reference = -1.0 if name == lowest else None
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
        _widen(ax, 0.4 * np.sqrt(max((float(np.max(v)) for v in limit[1].values()), default=0.0)) if k == 0 else 0.0)
    return figure


def _widen(ax: Axes, least: float) -> None:
    """A y axis of at least the given length: zeros of a symmetric law are no picture of their noise."""
    low, high = ax.get_ylim()
    if high - low < least:
        middle = 0.5 * (low + high)
        ax.set_ylim(middle - 0.5 * least, middle + 0.5 * least)


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
        ylabel=f"{what} $\\mathrm{{E}}[f(x)\\,|\\,\\langle u,x\\rangle]$" if line.mean else f"{what} $f(x)$",
    )  # fmt: skip


# ---- all in one ----------------------------------------------------------------------------------------------------


def overview(output: Output) -> Figure | None:
    """The run on one sheet: densities and particles above, energy, risk and error rates below."""
    from mfpde import figures

    panels = _overview_panels(output)
    times, rows = density_rows.rows_of(output) if panels else (np.zeros(0), [])
    if not rows:
        return None
    shown = rows if rows[0].tag else rows[:1]  # both species, but one of three pairs
    above = 0.3 + 1.7 * len(shown)
    figure, _ = figures.sheet(figures.DOUBLE, above + 2.3, rows=0)
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[above, 2.3])[:, 0]
    figures.snapshot_rows(top, times, shown, density_rows.chosen(output, times))
    for ax, panel in zip(np.ravel(bottom.subplots(1, len(panels), squeeze=False)), panels, strict=True):
        panel(ax, output)
    return figure


def _overview_panels(output: Output) -> list[Callable[[Axes, Output], None]]:
    """At most three panels, the first of those that the run allows."""
    found: list[Callable[[Axes, Output], None]] = []
    if len(output.history.get("t", ())) > 1:
        found.append(_energy_panel)
    if len(output.history.get("risk", ())) > 1 or (output.ensembles and len(output.ensembles[0].times) > 1):
        found.append(_risk_panel)
    if "coupling_error" in output.rates:
        found.append(_rates_panel)
    elif len(output.ensembles) > 1:
        found.append(_extrapolation_panel)
    return found[:3]


def _rates_panel(ax: Axes, output: Output) -> None:
    names = [name for name in ("function_error", "coupling_error") if name in output.rates]
    _rate_lines(ax, output, {name: _words(name) for name in names})
    ax.set_ylabel(f"squared error at $t$ = {output.ensembles[0].times[-1]:.3g}")


FIGURES: dict[str, Callable[[Output], Figure | None]] = {
    "overview": overview,
    "density": density_rows.density,
    "energy": energy,
    "risk": risk,
    "rate": rate,
    "moments": moments,
    "function": function,
}
