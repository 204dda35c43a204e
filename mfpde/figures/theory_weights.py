"""The admissible weight: w*_k within its bracket, and the Gaussian scales c_k with the types they tend to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mfpde.figures.chaos import DASHES
from mfpde.figures.style import GREY, INK, log_ticks, place_legend


def bracket(
    ax: Axes,
    k: Sequence[int],
    w_star: Sequence[float],
    w_init: Sequence[float],
    w_cert: Sequence[float] | None = None,
) -> Axes:
    """w*_k [K] on a logarithmic axis under 1/m_k(0) and, where there is one, above the certified bound."""
    x, star, upper = np.asarray(k), np.asarray(w_star, float), np.asarray(w_init, float)
    finite = np.isfinite(star) & np.isfinite(upper)
    x, star, upper = x[finite], star[finite], upper[finite]
    ax.plot(x, upper, color="#009E73", linestyle="-.", marker="^", label="start, $1/m_k(0)$", markevery=2)
    ax.plot(x, star, color="#0072B2", linestyle="-", marker="o", label="$w^*_k=1/\\sup_t m_k(t)$", zorder=3)
    if w_cert is not None:
        lower = np.asarray(w_cert, float)[: len(finite)][finite]
        ax.plot(x, lower, color="#D55E00", linestyle="--", marker="s", label="certified", markevery=2)
        ax.fill_between(x, lower, upper, color="0.92", linewidth=0, zorder=0)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    _orders(ax)
    ax.set_ylabel("weight on the moment $m_k$")
    place_legend(ax, loc="lower left")
    return ax


def types(
    ax: Axes,
    k: Sequence[int],
    c: Sequence[float],
    at_rest: Sequence[float] | None = None,
    *,
    levels: Mapping[str, float],
    interval: tuple[float, float] | None = None,
) -> Axes:
    """c_k [K] of the suprema and of the stationary measure; levels: label → height; interval: of the fitted type."""
    if interval is not None:
        ax.axhspan(*interval, color="0.9", linewidth=0, zorder=0, label="fitted type, interval")
    ax.plot(k[1:], c[1:], color="#0072B2", linestyle="-", marker="o", label="$c_k$ of $\\sup_t m_k$", zorder=3)
    if at_rest is not None:
        ax.plot(
            k[1 : len(at_rest)], at_rest[1:], color="#D55E00", linestyle="--", marker="s", markerfacecolor="none",
            label="$c_k$ at rest", zorder=2,
        )  # fmt: skip
    for (label, height), dash, colour in zip(levels.items(), cycle(DASHES[1:]), cycle((INK, GREY))):
        ax.axhline(height, color=colour, linestyle=dash, linewidth=1.0, marker="", label=label)
    _orders(ax)
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("Gaussian scale $c_k$")
    place_legend(ax, loc="upper right", ncols=2)
    return ax


def _orders(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.set_xlabel("order $k$")
