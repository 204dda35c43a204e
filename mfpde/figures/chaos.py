"""Propagation of chaos: N times an error against its constants, rates over time, decay to the stationary measure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import GREY, INK, Z95, label_widths, log_ticks, place_legend, time_axis

MARKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
# ratio of heights from which on an axis is logarithmic
MOST_ON_ONE_SCALE = 3.0
DASHES = ("--", "-.", ":", (0, (1, 1)))


def scaled_error(
    ax: Axes,
    measured: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    constants: Mapping[str, float],
    *,
    ylabel: str = "$N\\times$ squared error",
) -> Axes:
    """N times errors of order 1/N against the width: level if the order holds, and then at a constant of the theory.

    measured: label → (widths[K], N × mean[K], standard error[K]), bars of 95 %; constants: label → level of a line.
    """
    offsets = 1.04 ** (np.arange(len(measured)) - 0.5 * (len(measured) - 1))
    for (label, (widths, mean, sem)), (colour, mark), shift in zip(measured.items(), cycle(MARKS), offsets):
        ax.errorbar(
            np.asarray(widths) * shift, mean, Z95 * np.asarray(sem), color=colour, marker=mark, linestyle="",
            label=label, zorder=3,
        )  # fmt: skip
    for (label, level), dash in zip(constants.items(), cycle(DASHES)):
        ax.axhline(level, color=INK, linestyle=dash, linewidth=1.0, marker="", label=label, zorder=2)
    label_widths(ax, np.concatenate([np.asarray(widths) for widths, _, _ in measured.values()]))
    heights = np.concatenate([np.asarray(mean) for _, mean, _ in measured.values()] + [np.array([*constants.values()])])
    if np.min(heights) > 0.0 and np.max(heights) > MOST_ON_ONE_SCALE * np.min(heights):
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=0.0)
    ax.set_ylabel(ylabel)
    place_legend(ax)
    return ax


def rates_over_time(
    ax: Axes,
    rates: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    expected: float = -1.0,
) -> Axes:
    """Fitted exponents in the width at several times, with their intervals, about the expected one.

    rates: label → (time[K], slope[K], interval[K, 2] with NaN where there is none).
    """
    ax.axhline(expected, color=GREY, linestyle=":", linewidth=1.0, marker="", zorder=1)
    last = max(float(time[-1]) for time, _, _ in rates.values())
    for k, ((label, (time, slope, interval)), (colour, mark)) in enumerate(zip(rates.items(), cycle(MARKS))):
        shift = 0.012 * last * (k - 0.5 * (len(rates) - 1))
        reach = np.abs(np.asarray(interval) - np.asarray(slope)[:, None]).T
        ax.errorbar(np.asarray(time) + shift, slope, reach, color=colour, marker=mark, linestyle="", label=label)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, expected - 0.2), max(high, expected + 0.2))
    time_axis(ax, 0.0, 1.05 * last)
    ax.set_ylabel("exponent in $N$")
    place_legend(ax)
    return ax


def uniform_in_time(
    ax: Axes,
    time: np.ndarray,
    errors: Mapping[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    supremum: tuple[float, float, float] | None = None,
    exact: tuple[np.ndarray, np.ndarray, str] | None = None,
    levels: Mapping[str, float] | None = None,
    ylabel: str = "$N\\times$ squared error",
) -> Axes:
    """N times an error over time for every width, under its supremum over widths and times.

    time[K]; errors: width → (N × mean[K], low[K], high[K]) with a band that holds the whole curve; supremum: (value,
    low, high), a grey band; exact: (time, value, label) of a curve; levels: label → height of a line.
    """
    if supremum is not None:
        value, low, high = supremum
        ax.axhspan(low, high, color="0.9", linewidth=0, zorder=0)
        ax.axhline(value, color=GREY, linewidth=1.0, marker="", zorder=1, label=f"supremum {value:.3g}")
    every = max(1, len(time) // 8)
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    for index, ((width, (mean, below, above)), look) in enumerate(zip(sorted(errors.items()), styles)):
        start = index * every // max(1, len(errors))
        ax.plot(time, mean, **{"marker": "o", **look}, markevery=(start, every), label=f"$N={width}$")
        ax.fill_between(time, below, above, color=look["color"], alpha=0.15, linewidth=0)
    if exact is not None:
        ax.plot(exact[0], exact[1], color=INK, linewidth=1.0, linestyle="--", marker="", label=exact[2])
    for (label, level), dash in zip((levels or {}).items(), DASHES[1:]):
        ax.axhline(level, color=INK, linewidth=1.0, linestyle=dash, marker="", label=label)
    # bands of few replicas may reach far above what was measured
    ax.set_ylim(0.0, 2.0 * max(float(np.max(mean)) for mean, _, _ in errors.values()))
    time_axis(ax, time[0], time[-1])
    ax.set_ylabel(ylabel)
    place_legend(ax, ncols=2)
    return ax


def decay(
    ax: Axes,
    time: np.ndarray,
    gap: np.ndarray,
    guides: Mapping[str, float],
    *,
    certified: tuple[np.ndarray, np.ndarray] | None = None,
    floor: float = 0.0,
) -> Axes:
    """F − F* over time on a logarithmic axis, with exponential guides that end at the last measured point.

    time[K], gap[K]; guides: label → rate; certified: (time, upper bound of the gap); values up to ``floor`` are
    round-off and left out.
    """
    shown = np.asarray(gap) > floor
    ax.plot(time[shown], gap[shown], color="#0072B2", linestyle="-", marker="", label="$F-F^*$, measured", zorder=3)
    if certified is not None:
        ax.plot(*certified, color="#D55E00", linestyle="-", marker="", linewidth=1.0, label="certified bound")
    end_time, end = float(time[shown][-1]), float(gap[shown][-1])
    for (label, rate), dash in zip(guides.items(), cycle(DASHES)):
        # two thirds of a decade apart at the end, so that parallel lines can be told from the curve
        line = 3.0 * end * np.exp(-rate * (np.asarray(time) - end_time))
        ax.plot(time, line, color=INK, linestyle=dash, linewidth=1.0, marker="", label=f"{label}: {rate:.4g}")
    ax.set_yscale("log")
    largest = float(np.max(gap[shown]))
    ax.set_ylim(0.3 * end, 30.0 * largest)
    log_ticks(ax.yaxis)
    time_axis(ax, time[0], end_time)
    ax.set_ylabel("$F-F^*$")
    place_legend(ax, title="rate of $e^{-rt}$", alignment="left")
    return ax
