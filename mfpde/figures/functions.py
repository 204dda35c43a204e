"""The function that the networks compute, beside the one they should learn."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import DENSITY_MAP, GREY, INK, place_legend


def learned_function(
    ax: Axes,
    x: np.ndarray,
    limit: np.ndarray,
    *,
    target: np.ndarray | None = None,
    networks: Mapping[int, np.ndarray] | None = None,
    data: tuple[np.ndarray, np.ndarray] | None = None,
    earlier: Mapping[str, np.ndarray] | None = None,
    stationary: np.ndarray | None = None,
    limit_label: str = "limit $N=\\infty$",
    xlabel: str = "input $x$",
    ylabel: str = "output $f(x)$",
) -> Axes:
    """The learned function of the limit and of finite networks over a line in input space.

    x[n] in rising order; limit[n]; target[n] the function that made the data; networks: width → values[n]; data:
    (inputs[m], outputs[m]) drawn as small circles; earlier: label → the limit's values[n] at earlier times, drawn from
    light to dark; stationary[n] as a dashed line.
    """
    if data is not None:
        ax.plot(*data, linestyle="", marker="o", markersize=2, color="0.65", markeredgewidth=0, zorder=1, label="data")
    if target is not None:
        ax.plot(x, target, color="0.75", linestyle="-", linewidth=3.5, marker="", zorder=1.5, label="target")
    looks = (("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", (0, (1, 1))), ("#E69F00", (0, (5, 1, 1, 1, 1, 1))))
    for (width, values), (colour, dash) in zip(sorted((networks or {}).items()), cycle(looks), strict=False):
        ax.plot(x, values, color=colour, linestyle=dash, marker="", linewidth=1.0, label=f"$N={width}$")
    shades = np.linspace(0.35, 0.7, max(len(earlier or {}), 1))
    for (label, values), shade in zip((earlier or {}).items(), shades, strict=False):
        ax.plot(x, values, color=DENSITY_MAP(shade), linestyle="-", marker="", linewidth=1.0, label=label)
    ax.plot(x, limit, color=INK, linestyle="-", linewidth=1.2, marker="", label=limit_label)
    if stationary is not None:
        ax.plot(x, stationary, color="#D55E00", linestyle=(0, (4, 2)), linewidth=1.0, marker="", label="stationary")
    ax.set_xlim(x[0], x[-1])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if data is None:
        place_legend(ax)
    else:  # a cloud of data leaves no room inside
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def parity(ax: Axes, target: np.ndarray, prediction: np.ndarray, *, label: str = "limit $N=\\infty$") -> Axes:
    """Predictions[n] against targets[n], with the diagonal on which they agree."""
    ends = [float(min(target.min(), prediction.min())), float(max(target.max(), prediction.max()))]
    ax.plot(ends, ends, color=GREY, linestyle="-", marker="", linewidth=0.8, zorder=1)
    ax.plot(target, prediction, linestyle="", marker="o", markersize=2, markeredgewidth=0, color="#0072B2", label=label)
    ax.set_xlabel("target $y$")
    ax.set_ylabel("output $f(x)$")
    place_legend(ax)
    return ax


def class_histogram(ax: Axes, label: np.ndarray, logit: np.ndarray, weight: np.ndarray) -> Axes:
    """The output of a classifier, one histogram per class: label[n] of ±1, logit[n], weight[n]."""
    edges = np.linspace(logit.min() - 1e-9, logit.max() + 1e-9, 41)
    for sign, colour, dash in ((-1.0, "#0072B2", "-"), (1.0, "#D55E00", "--")):
        chosen = label == sign
        heights = np.histogram(logit[chosen], edges, weights=weight[chosen], density=bool(weight[chosen].sum() > 0))[0]
        ax.stairs(heights, edges, fill=True, color=colour, alpha=0.2)
        text = f"$y={sign:+.0f}$"
        ax.stairs(heights, edges, color=colour, linestyle=dash, linewidth=1.0, label=text)
    ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0)
    ax.set_xlabel("log-odds $f(x)$")
    ax.set_ylabel("density")
    ax.set_ylim(bottom=0.0)
    place_legend(ax)
    return ax
