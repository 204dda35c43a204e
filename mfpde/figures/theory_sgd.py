"""SGD against its limit: the error of every step over N, eps, d and time, and the width that it needs against d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.chaos import DASHES, MARKS
from mfpde.figures.style import INK, Z95, label_widths, log_ticks, place_legend, time_axis

TITLES = {
    "fluctuation": "independent, fluctuation",
    "bias": "independent, bias",
    "particles": "particles, risk",
    "particle_displacement": "particles, parameters",
    "descent": "gradient descent, risk",
    "descent_displacement": "gradient descent, parameters",
    "stochastic": "SGD, risk",
    "stochastic_displacement": "SGD, parameters",
    "stochastic_dimension": "SGD, risk",
    "stochastic_displacement_dimension": "SGD, parameters",
}
STEPS = {
    "independent": "limit to independent",
    "particles": "independent to particles",
    "descent": "particles to GD",
    "stochastic": "GD to SGD",
}
LABELS = {"N": "width $N$", "eps": "$\\varepsilon$", "d": "inputs $d$"}


def exponents(ax: Axes, found: Sequence[Mapping[str, Any]]) -> Axes:
    """Errors of several steps against one variable, bars of 95 %, each with the line of its proved exponent.

    Where that is only a bound the line is dotted and starts at the first error.
    """
    for one, (colour, mark) in zip(found, cycle(MARKS)):
        x, y = np.asarray(one["values"], float), np.asarray(one["errors"], float)
        reach = Z95 * np.asarray(one["sems"], float)
        slope = f"{one['slope']:.2f}".replace("-", "\N{MINUS SIGN}")
        label = f"{TITLES[one['name']]}: {slope}"
        ax.errorbar(x, y, (np.minimum(reach, 0.95 * y), reach), color=colour, marker=mark, linestyle="", label=label)
        if one["bound"]:
            ax.plot(x, y[0] * (x / x[0]) ** one["proved"], color=colour, linestyle=":", linewidth=0.8, marker="")
            continue
        middle = np.exp(np.mean(np.log(y)) - one["proved"] * np.mean(np.log(x)))
        ax.plot(x, middle * x ** one["proved"], color=colour, linestyle="-", linewidth=0.8, marker="")
    ax.set_yscale("log")
    variable = found[0]["variable"]
    _variable_axis(ax, variable, np.asarray(found[0]["values"], float))
    log_ticks(ax.yaxis)
    ax.set_xlabel(LABELS[variable])
    ax.set_ylabel("error, with lines of the proved exponent")
    place_legend(ax, handlelength=1.0)
    return ax


def _variable_axis(ax: Axes, variable: str, values: np.ndarray) -> None:
    if variable == "eps":
        ax.set_xscale("log")
        log_ticks(ax.xaxis)
    else:
        label_widths(ax, values)


def over_time(ax: Axes, found: Mapping[str, Any]) -> Axes:
    """Root mean square error of the risk by each of the four steps over the theory's time, where it is positive."""
    t = np.asarray(found["theory_times"], float)
    for (name, label), (colour, mark), dash in zip(STEPS.items(), cycle(MARKS), cycle(DASHES)):
        y = np.asarray(found["errors"][name], float)
        shown = y > 0.0
        ax.plot(t[shown], y[shown], color=colour, marker=mark, linestyle=dash, label=label)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    time_axis(ax, 0.0, float(t[-1]))
    ax.set_xlabel("time $t=k\\varepsilon$")
    ax.set_ylabel(f"error of the risk, $N={found['width']}$")
    place_legend(ax)
    return ax


def needed(ax: Axes, found: Mapping[str, Any]) -> Axes:
    """The width that the tolerance needs against d: exact for independent neurons, measured for particles."""
    d = np.asarray(found["dimensions"], float)
    exact = np.asarray(found["independent"], float)
    mean, top = float(np.mean(exact)), float(np.max(exact))
    ax.axhspan(0.8 * mean, 1.2 * mean, color="0.93", linewidth=0, zorder=0, label="mean $\\pm$ 20 %")
    ax.plot(d, exact, color=INK, linestyle="-", marker="o", label="independent, exact")
    if found["measured"] is not None:
        measured, interval = np.asarray(found["measured"], float), np.asarray(found["interval"], float)
        reach = (measured - interval[:, 0], interval[:, 1] - measured)
        ax.errorbar(d, measured, reach, color="#D55E00", marker="s", linestyle="", label="particles, measured")
        top = max(top, float(np.max(interval)))
    label_widths(ax, d)
    ax.set_ylim(0.0, 1.6 * top)
    ax.set_xlabel(LABELS["d"])
    ax.set_ylabel(f"$N$ for {100.0 * found['tolerance']:g} % error of the risk")
    place_legend(ax, loc="upper right")
    return ax
