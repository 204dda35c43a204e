"""The error of training: its terms, their inner products, and the laws they follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.chaos import DASHES, MARKS
from mfpde.figures.rates import rate
from mfpde.figures.style import GREY, INK, Z95, log_ticks, place_legend, time_axis


def terms(ax: Axes, names: Sequence[str], squared: Sequence[float], sem: Sequence[float], *, total: float) -> Axes:
    """Squared norms of the terms on a logarithmic axis, bars of 95 %, and the squared error as a line."""
    y, size = np.arange(len(names))[::-1], np.asarray(squared, float)
    reach = Z95 * np.asarray(sem, float)
    below = np.minimum(reach, 0.95 * size)
    ax.errorbar(size, y, xerr=(below, reach), color="#0072B2", marker="o", linestyle="", zorder=3)
    ax.axvline(total, color=INK, linestyle="--", linewidth=1.0, marker="", label="squared error")
    shown = np.concatenate([size[size > 0.0], [total]])
    ax.set_xscale("log")
    ax.set_xlim(0.2 * np.min(shown), 5.0 * np.max(shown))
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_yticks(y, names)
    ax.grid(axis="y", color="0.92", linewidth=0.6)
    log_ticks(ax.xaxis)
    ax.set_xlabel("squared norm")
    place_legend(ax, loc="upper left")
    return ax


def gram(ax: Axes, names: Sequence[str], matrix: Sequence[Sequence[float]]) -> Axes:
    """Cosines between the terms, written into a map from -1 (orange) to 1 (blue); the diagonal says nothing."""
    inner = np.asarray(matrix, float)
    size = np.sqrt(np.diagonal(inner))
    scale = np.where(size > 0.0, size, 1.0)
    cosine = inner / np.outer(scale, scale)
    ax.imshow(cosine, cmap="PuOr", vmin=-1.6, vmax=1.6, aspect="auto")
    for i, row in enumerate(cosine):
        for j, value in enumerate(row):
            text = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=INK)
    places = np.arange(len(names))
    ax.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title("cosine of the angle between terms")
    return ax


def power(ax: Axes, sweep: Mapping[str, Any], label: str, symbol: str, levels: Mapping[str, float]) -> Axes:
    """A term against a size with its fitted slope, and constants over the size as lines."""
    sizes, fit = np.asarray(sweep["values"], float), sweep["rate"]
    interval = None if fit["interval"] is None else tuple(fit["interval"])
    rate(
        ax, sizes, np.asarray(sweep["squared"]), np.asarray(sweep["standard_error"]), slope=fit["slope"], ci=interval,
        label=label, reference=None, ylabel="squared norm",
    )  # fmt: skip
    for (text, constant), dash in zip(levels.items(), cycle(DASHES)):
        ax.plot(sizes, constant / sizes, color=INK, linestyle=dash, linewidth=1.0, marker="", label=text)
    ax.set_xlabel(symbol)
    place_legend(ax, loc="upper right", handlelength=1.6)
    return ax


def decay(
    ax: Axes,
    time: Sequence[float],
    squared: Sequence[float],
    window: tuple[float, float],
    fitted: float,
    guides: Mapping[str, float],
) -> Axes:
    """The optimization term over time on a logarithmic axis, its fitted rate and exponential guides beside it."""
    t, y = np.asarray(time, float), np.asarray(squared, float)
    ax.axvspan(*window, color="0.93", linewidth=0, zorder=0)
    label = f"optimization\nfitted rate {fitted:.4g}"
    ax.plot(t, y, color="#0072B2", linestyle="-", marker="", label=label, zorder=3)
    for (text, one), dash in zip(guides.items(), cycle(DASHES)):
        line = 30.0 * y[-1] * np.exp(-one * (t - t[-1]))
        ax.plot(t, line, color=INK, linestyle=dash, linewidth=1.0, marker="", label=f"{text}: {one:.4g}")
    ax.set_yscale("log")
    ax.set_ylim(0.3 * np.min(y), 30.0 * np.max(y))
    log_ticks(ax.yaxis)
    time_axis(ax, 0.0, float(t[-1]))
    ax.set_ylabel("squared norm")
    place_legend(ax, loc="upper right")
    return ax


def temperatures(
    ax: Axes, values: Sequence[float], series: Mapping[str, tuple[Sequence[float], Mapping[str, Any] | None]]
) -> Axes:
    """Terms against the temperature on two logarithmic axes with their fitted powers; series: label → (values, fit)."""
    tau = np.asarray(values, float)
    for (label, (numbers, fit)), (colour, mark) in zip(series.items(), cycle(MARKS)):
        x, y = tau[: len(numbers)], np.asarray(numbers, float)
        keep = y > 0.0
        slope = "" if fit is None else f", slope {fit['slope']:.2f}".replace("-", "\N{MINUS SIGN}")
        ax.plot(x[keep], y[keep], color=colour, marker=mark, linestyle="", label=f"{label}{slope}", zorder=3)
        if fit is not None:
            line = fit["prefactor"] * x ** fit["slope"]
            ax.plot(x, line, color=GREY, linestyle="-", linewidth=0.8, marker="", zorder=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_xlabel("temperature $\\tau$")
    ax.set_ylabel("squared norm, energy")
    place_legend(ax, loc="upper left")
    return ax
