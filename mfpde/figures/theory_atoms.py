"""The dual certificate of the penalised problem with its atoms, and the widths of atoms against the temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import GREY, circle_axis, log_ticks, place_legend


def certificate(ax: Axes, numbers: Mapping[str, Any]) -> Axes:
    """eta along a circle of weights or along one weight, within -1 and 1, and touching them where the atoms are."""
    place, eta = np.array(numbers["curve"]["place"]), np.array(numbers["curve"]["eta"])
    for level in (-1.0, 1.0):
        ax.axhline(level, color=GREY, linestyle=":", linewidth=1.0, marker="")
    ax.plot(place, eta, color="#0072B2", linestyle="-", marker="", label="certificate $\\eta$")
    weights = [(atom["a"], np.array(atom["w"])) for atom in numbers["atoms"] if atom["b"] == 0.0]
    if weights:
        at = [float(np.arctan2(w[1], w[0])) if len(w) == 2 else float(w[0]) for _, w in weights]
        signs = [float(np.sign(a)) for a, _ in weights]
        ax.plot(at, signs, color="#D55E00", linestyle="", marker="o", label="atoms, by the sign of $a$")
    ax.set_ylim(-1.35, 1.6)
    if numbers["inputs"] == 2:
        circle_axis(ax)
        ax.set_xlabel("direction of the weight $w$")
    else:
        ax.set_xlabel("weight $w$")
    ax.set_ylabel("$\\eta(w)$")
    place_legend(ax, loc="upper right", ncols=2)
    return ax


def widths(ax: Axes, numbers: Mapping[str, Any]) -> Axes:
    """Root mean square width of each atom against the temperature, with its Laplace prediction."""
    tau, measured = np.array(numbers["temperatures"]), np.array(numbers["widths"])
    predicted = np.array(numbers["laplace"])
    for s in range(measured.shape[1]):
        first = s == 0
        ax.plot(tau, predicted[:, s], color=GREY, linestyle="--", marker="", label="Laplace" if first else None)
        ax.plot(tau, measured[:, s], color="#0072B2", linestyle="", marker="o", label="atoms" if first else None)
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_xlabel("temperature $\\tau$")
    ax.set_ylabel("width of an atom")
    place_legend(ax)
    return ax
