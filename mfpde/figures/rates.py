"""Errors against a size on two logarithmic axes: the width of the network, the width of a grid cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import Z95, label_widths, log_ticks, place_legend, reference_slope


def rate(
    ax: Axes,
    widths: Sequence[int] | np.ndarray,
    mean: np.ndarray,
    sem: np.ndarray,
    *,
    slope: float,
    ci: float | tuple[float, float],
    label: str,
    reference: float | None = -1.0,
    ylabel: str = "squared error",
) -> Axes:
    """An error against the width N with its fitted line; call it again on the same axes for a second error.

    widths[K], mean[K], sem[K] over replicas (bars: 95 %); slope of the log–log fit with its 95 % interval, as half
    width or as (low, high), both shown in the legend; reference: slope of a dotted guide under the data, or None.
    """
    sizes = np.asarray(widths, dtype=float)
    index = len(ax.containers)
    colour, mark, dash = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."))[index % 3]
    half = ci if isinstance(ci, float | int) else 0.5 * (ci[1] - ci[0])
    text = f"{label}\nslope {slope:.3f} ± {half:.3f}".replace("-", "\N{MINUS SIGN}")
    # A bar that reaches zero has no lower end on a logarithmic axis.
    lower = np.minimum(Z95 * sem, 0.95 * mean)
    ax.errorbar(sizes, mean, (lower, Z95 * sem), color=colour, marker=mark, linestyle="", label=text, zorder=3)
    height = float(np.mean(np.log(mean) - slope * np.log(sizes)))
    ax.plot(sizes, np.exp(height + slope * np.log(sizes)), color=colour, linestyle=dash, marker="", linewidth=1.0)
    ax.set_yscale("log")
    label_widths(ax, sizes)
    if reference is not None:
        anchor = 0.45 * float(np.exp(height + slope * np.log(sizes[-1])))
        guide = "$N^{-1}$" if reference == -1.0 else f"$N^{{{reference:g}}}$"
        reference_slope(ax, sizes, anchor, reference, guide)
    log_ticks(ax.yaxis)
    ax.set_ylabel(ylabel)
    place_legend(ax, loc="upper right")
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
