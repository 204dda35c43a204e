"""The panels of a learning cell: the admissible weight, the depths, the coefficients of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mfpde.figures.style import GREY, log_ticks, place_legend


def weights(ax: Axes, numbers: Mapping[str, Any]) -> Axes:
    """w*_k against k on a logarithmic axis, between its certified lower and its initial upper bound."""
    k = np.array(numbers["k"])[1:]
    ax.plot(k, np.array(numbers["w_init"])[1:], color=GREY, linestyle=":", marker="", label="$1/m_k(0)$")
    ax.plot(k, np.array(numbers["w_star"])[1:], color="#0072B2", linestyle="-", marker="o", label="$w^*_k$")
    if numbers["w_cert"] is not None:
        certified = np.array(numbers["w_cert"])[1 : len(k) + 1]
        ax.plot(k[: len(certified)], certified, color="#D55E00", linestyle="--", marker="", label="certified")
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("order $k$")
    ax.set_ylabel("admissible weight")
    place_legend(ax)
    return ax


def depths(ax: Axes, numbers: Sequence[Mapping[str, Any]]) -> Axes:
    """Orbit and variety depth against the number of neurons; of an empirical law the rank it sees."""
    size = np.array([d["atoms"] for d in numbers])
    if numbers[0]["rank"] is not None:
        ax.plot(size, [d["expected"] for d in numbers], color=GREY, linestyle=":", marker="", label="parameters")
        ax.plot(
            size, [d["rank"] for d in numbers], color="#0072B2", linestyle="-", marker="o", label="rank at the nodes"
        )
        ax.set_ylabel("rank")
    else:
        # the outer one hollow and larger: the two often agree
        looks: dict[str, dict[str, Any]] = {
            "orbit": {"color": "#D55E00", "marker": "s", "ms": 7, "mfc": "none", "ls": "--"},
            "variety": {"color": "#0072B2", "marker": "o", "ms": 4, "ls": "-"},
        }
        for name, look in looks.items():
            label = "$D^*_{\\mathrm{orb}}$" if name == "orbit" else "$D^*_{\\mathrm{var}}$"
            values = np.array([np.nan if d[name] is None else d[name] for d in numbers], float)
            ax.plot(size, values, label=label, **look)
        ax.set_ylabel("degree")
    ax.set_ylim(bottom=0.0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("neurons $S$")
    place_legend(ax, loc="upper left")
    return ax


def coefficients(ax: Axes, numbers: Mapping[str, Any]) -> Axes:
    """|sigma_k c_k| of every degree against the penalty: what lies above counts for S_up."""
    c, sigma = np.abs(np.array(numbers["coefficients"])), np.abs(np.array(numbers["sigma"]))
    k = np.arange(len(c))
    product, shown = sigma * c, sigma * c > 1e-16
    active = product > numbers["penalty"]
    for chosen, colour, mark, label in (
        (shown & active, "#0072B2", "o", "active"),
        (shown & ~active, "0.6", "x", "below the threshold"),
    ):
        if np.any(chosen):
            ax.plot(k[chosen], product[chosen], color=colour, marker=mark, linestyle="", label=label)
    ax.axhline(numbers["penalty"], color="black", linestyle="--", linewidth=1.0, marker="", label="penalty")
    ax.plot(k[sigma > 1e-16], sigma[sigma > 1e-16], color=GREY, linestyle=":", marker="", label="$|\\sigma_k|$")
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("degree $k$")
    ax.set_ylabel("$|\\sigma_k c_k|$")
    place_legend(ax)
    return ax
