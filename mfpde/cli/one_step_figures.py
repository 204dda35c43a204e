"""The figure of ``mfpde one-step``: error curves, finite sizes, learned function and spectrum on one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mfpde.io.one_step.comparison import Comparison
    from mfpde.io.one_step.run import Outcome
    from mfpde.io.one_step.schema import Config

_X = {
    "samples": "samples $n/d$",
    "ridge": "ridge $\\lambda$",
    "width": "neurons $p/d$",
    "noise": "label noise",
    "step": "step size",
    "batch": "first batch $n_0/d$",
    "spike": "spike $r$",
    "bulk": "bulk $c$",
    "alignment": "alignment $\\langle v,\\theta\\rangle$",
}
_Y = {"test_error": "test error", "wrong_sign": "share of wrong signs"}
_TWINS = {"network": "networks", "spiked": "drawn"}
# values whose excess over the limit is drawn
_MOST = 3


def draw(config: Config, found: Outcome) -> Figure:
    """Two rows of two panels; three in a row without finite sizes."""
    from mfpde import figures

    with figures.style():
        if found.comparisons:
            figure, axes = figures.sheet(figures.DOUBLE, 5.4, 2, 2)
            curves, sizes, learned, spectrum = axes
            _excess(sizes, config, found)
        else:
            figure, (curves, learned, spectrum) = figures.sheet(figures.DOUBLE * 1.4, 2.8, 1, 3)
        _curves(curves, config, found)
        _learned(learned, found)
        _spectrum(spectrum, found)
    return figure


def _curves(ax: Axes, config: Config, found: Outcome) -> None:
    from mfpde.figures import one_step

    theory, quantity = found.theory, next(iter(next(iter(found.theory.lines.values())).quantities))
    measured = {}
    for one in found.comparisons:
        if one.quantity == quantity:
            label = f"{_TWINS[one.kind]}, d = {one.dimensions[-1]}"
            measured[label] = (theory.at, one.mean[-1], one.sem[-1])
    one_step.error_curves(
        ax,
        theory.values,
        {name: line.quantities[quantity] for name, line in theory.lines.items()},
        measured,
        xlabel=_X[config.curve.over],
        ylabel=_Y[quantity],
        logarithmic=config.curve.over == "ridge",
    )


def _excess(ax: Axes, config: Config, found: Outcome) -> None:
    """Relative deviations of the first kind of twin from the line it is told against."""
    from mfpde.figures import one_step

    one: Comparison = found.comparisons[0]
    name = found.theory.main if found.theory.main in one.deviations else next(iter(one.deviations))
    against = one.deviations[name]
    count = len(found.theory.at)
    chosen = (
        sorted({round(k * (count - 1) / (min(_MOST, count) - 1)) for k in range(min(_MOST, count))})
        if count > 1
        else [0]
    )
    relative = {}
    for s in chosen:
        scale = against.expected[s]
        limit = None if against.limit_relative is None else float(against.limit_relative[s])
        limit_sem = 0.0 if one.limit_sem is None else float(one.limit_sem[s] / scale)
        label = f"{_X[config.curve.over].split(' ')[-1]} = {found.theory.at[s]:g}"
        relative[label] = (against.relative[:, s], one.sem[:, s] / scale, limit, limit_sem)
    one_step.excess(ax, one.dimensions, relative, against="the limit" if len(one.deviations) == 1 else name)


def _learned(ax: Axes, found: Outcome) -> None:
    from mfpde.figures import one_step

    theory = found.theory
    one_step.learned_along_spike(ax, theory.kappa, theory.target, theory.learned)


def _spectrum(ax: Axes, found: Outcome) -> None:
    from mfpde.figures import one_step

    theory, bars = found.theory, found.histogram
    if bars is None:
        one_step.bulk(ax, theory.eigenvalues, theory.density)
        return
    label = f"drawn, d = {bars.dimension}, {bars.seeds} seeds"
    one_step.bulk(ax, theory.eigenvalues, theory.density, edges=bars.edges, histogram=bars.density, label=label)
