"""Errors against a size on two logarithmic axes: the width of the network, the width of a grid cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from mfpde.figures.style import Z95, label_widths, log_ticks, place_legend, reference_slope, time_axis


def rate(
    ax: Axes,
    widths: Sequence[int] | np.ndarray,
    mean: np.ndarray,
    sem: np.ndarray,
    *,
    slope: float,
    ci: float | tuple[float, float] | None,
    label: str,
    reference: float | None = -1.0,
    ylabel: str = "squared error",
) -> Axes:
    """An error against the width N with its fitted line; call it again on the same axes for a second error.

    widths[K], mean[K], sem[K] over replicas (bars: 95 %); slope of the log–log fit with its 95 % interval, as half
    width or as (low, high), both shown in the legend, or None; reference: slope of a dotted guide under the
    data, or None.
    """
    sizes = np.asarray(widths, dtype=float)
    index = sum(isinstance(one, ErrorbarContainer) for one in ax.containers)
    colour, mark, dash = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."))[index % 3]
    text = f"{label}\n{_slope(slope, ci)}"
    # A bar that reaches zero has no lower end on a logarithmic axis.
    lower = np.minimum(Z95 * sem, 0.95 * mean)
    ax.errorbar(sizes, mean, (lower, Z95 * sem), color=colour, marker=mark, linestyle="", label=text, zorder=3)
    height = float(np.mean(np.log(mean) - slope * np.log(sizes)))
    ax.plot(sizes, np.exp(height + slope * np.log(sizes)), color=colour, linestyle=dash, marker="", linewidth=1.0)
    ax.set_yscale("log")
    label_widths(ax, sizes)
    if reference is not None:
        anchor = 0.4 * float(np.exp(height + slope * np.log(sizes[-1])))
        reference_slope(ax, sizes, anchor, reference)
        middle = float(np.sqrt(sizes[0] * sizes[-1]))
        guide = "$N^{-1}$" if reference == -1.0 else f"$N^{{{reference:g}}}$"
        ax.annotate(
            guide, (middle, anchor * (middle / sizes[-1]) ** reference), (-2, -2), textcoords="offset points",
            ha="right", va="top", color="0.35", fontsize=7,
        )  # fmt: skip
    log_ticks(ax.yaxis)
    ax.set_ylabel(ylabel)
    place_legend(ax, loc="upper right", handlelength=1.2)
    return ax


def _slope(slope: float, ci: float | tuple[float, float] | None) -> str:
    """The slope with its interval, by its half width or, as a bootstrap is lopsided, by its ends."""
    if ci is None:
        text = f"slope {slope:.2f}"
    elif isinstance(ci, tuple):
        digits = 3 if ci[1] - ci[0] < 0.06 else 2
        text = f"slope {slope:.{digits}f} [{ci[0]:.{digits}f}, {ci[1]:.{digits}f}]"
    else:
        text = f"slope {slope:.3f} ± {ci:.3f}"
    return text.replace("-", "\N{MINUS SIGN}")


def collapse(
    ax: Axes,
    time: np.ndarray,
    errors: Mapping[int, tuple[np.ndarray, np.ndarray]],
    *,
    ylabel: str = "$N\\times$ squared error",
) -> Axes:
    """N times an error of order 1/N over time: curves of all widths fall on one if the order holds uniformly in time.

    time[K]; errors: width → (mean[K], standard error[K]), shown with bands of 95 %.
    """
    every = max(1, len(time) // 8)
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    for index, ((width, (mean, sem)), look) in enumerate(zip(sorted(errors.items()), styles, strict=False)):
        start = index * every // max(1, len(errors))
        middle, reach = width * mean, width * Z95 * sem
        ax.plot(time, middle, **{"marker": "o", **look}, markevery=(start, every), label=f"$N={width}$")
        ax.fill_between(time, middle - reach, middle + reach, color=look["color"], alpha=0.15, linewidth=0)
    ax.set_ylim(bottom=0.0)
    time_axis(ax, time[0], time[-1])
    ax.set_ylabel(ylabel)
    place_legend(ax, ncols=1 if len(errors) < 4 else 2)
    return ax


def order(
    ax: Axes,
    sizes: np.ndarray,
    errors: Mapping[str, np.ndarray],
    *,
    reference: float = 2.0,
    xlabel: str = "cell width $h$",
    ylabel: str = "error",
) -> Axes:
    """Errors of a scheme against a step or cell width, with a guide of the stated order.

    sizes[K]; errors: label → values[K]; the observed order of the two finest points stands in the legend.
    """
    sizes = np.asarray(sizes, dtype=float)
    fine = np.argsort(sizes)[:2]
    lowest = np.inf
    for label, values in errors.items():
        first, second = np.asarray(values)[fine]
        observed = np.log(second / first) / np.log(sizes[fine[1]] / sizes[fine[0]])
        ax.plot(sizes, values, label=f"{label}: {observed:.2f}")
        lowest = min(lowest, float(np.asarray(values)[np.argmax(sizes)]))
    reference_slope(ax, sizes, 0.4 * lowest, reference, f"order {reference:g}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    place_legend(ax, title="observed order", alignment="left")
    return ax
