"""The function that the networks compute, beside the one they should learn."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import INK, place_legend


def learned_function(
    ax: Axes,
    x: np.ndarray,
    limit: np.ndarray,
    *,
    target: np.ndarray | None = None,
    networks: Mapping[int, np.ndarray] | None = None,
    data: tuple[np.ndarray, np.ndarray] | None = None,
    xlabel: str = "input $x$",
    ylabel: str = "output $f(x)$",
) -> Axes:
    """The learned function of the limit and of finite networks over a line in input space.

    x[n] in rising order; limit[n]; target[n] the function that made the data; networks: width → values[n]; data:
    (inputs[m], outputs[m]) drawn as small circles.
    """
    if data is not None:
        ax.plot(*data, linestyle="", marker="o", markersize=2, color="0.65", markeredgewidth=0, zorder=1, label="data")
    if target is not None:
        ax.plot(x, target, color="0.75", linestyle="-", linewidth=3.5, marker="", zorder=1.5, label="target")
    looks = (("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", (0, (1, 1))), ("#E69F00", (0, (5, 1, 1, 1, 1, 1))))
    for (width, values), (colour, dash) in zip(sorted((networks or {}).items()), cycle(looks), strict=False):
        ax.plot(x, values, color=colour, linestyle=dash, marker="", linewidth=1.0, label=f"$N={width}$")
    ax.plot(x, limit, color=INK, linestyle="-", linewidth=1.2, marker="", label="limit $N=\\infty$")
    ax.set_xlim(x[0], x[-1])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    place_legend(ax)
    return ax
