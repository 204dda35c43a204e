"""Identifiability: depths against the number of neurons, the spectrum of the active component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mfpde.figures.style import GREY, INK, log_ticks, place_legend

# name -> label, colour, dash, mark; what is drawn last lies on top
LOOKS = {
    "orbit_worst": ("$D^*_{\\mathrm{orb}}$, worst case", "#D55E00", "--", "s"),
    "orbit_generic": ("$D^*_{\\mathrm{orb}}$, generic", "#009E73", "-.", "^"),
    "variety": ("$D^*_{\\mathrm{var}}$", "#0072B2", "-", "o"),
}
# how far lines of equal depths and their marks are moved apart, in shares of the height and in neurons
APART, ASIDE = 0.008, 0.14
# orders of magnitude below the tolerance that are shown
BELOW = 1e-5


def depths(ax: Axes, atoms: Sequence[int], columns: Mapping[str, Sequence[tuple[int | None, str]]]) -> Axes:
    """Depths as steps against the number of neurons; open marks are bounds and searches, at the top what is infinite.

    columns: "variety", "orbit_generic", "orbit_worst" -> (depth or None, evidence) per number of neurons; a None whose
    evidence is "unknown" is left out.
    """
    known = [depth for column in columns.values() for depth, _ in column if depth is not None]
    top = max(known, default=1) + 1.0
    edges, opened = np.concatenate([[atoms[0] - 0.5], np.asarray(atoms) + 0.5]), False
    for k, name in enumerate(name for name in LOOKS if name in columns):
        label, colour, dash, mark = LOOKS[name]
        shift, aside = APART * top * (1 - k), ASIDE * (k - 1)
        values = np.array([np.nan if depth is None else depth + shift for depth, _ in columns[name]])
        # lines, not patches: the legend is kept off lines
        ax.plot(np.repeat(edges, 2)[1:-1], np.repeat(values, 2), color=colour, linestyle=dash, marker="")
        ax.plot([], [], color=colour, linestyle=dash, marker=mark, label=label)
        for s, (depth, evidence) in zip(atoms, columns[name], strict=True):
            look: dict[str, Any] = {"color": colour, "linestyle": "", "zorder": 3}
            if depth is not None:
                proved = evidence in ("proved", "numerical rank")
                opened |= not proved
                face = colour if proved else "white"
                ax.plot(s + aside, depth + shift, marker=mark, markerfacecolor=face, **look)
            elif evidence != "unknown":
                ax.plot(s + aside, top, marker="$\\infty$", markersize=6.0, markeredgewidth=0.2, **look)
    if opened:
        ax.plot([], [], color=INK, marker="o", markerfacecolor="white", linestyle="", label="open: bound or search")
    ax.set_xlim(atoms[0] - 0.5, atoms[-1] + 0.5)
    ax.set_ylim(0.0, top + 0.6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_xlabel("neurons $S$")
    ax.set_ylabel("Hermite degree")
    place_legend(ax, loc="upper left")
    return ax


def spectrum(ax: Axes, eigenvalues: Sequence[float], tolerance: float, rank: int) -> Axes:
    """Eigenvalues of the Gram matrix over the largest, falling; those below the tolerance are inactive."""
    values = np.asarray(eigenvalues, float)
    index = np.arange(1, len(values) + 1)
    shown = values > BELOW * tolerance
    active = shown & (index <= rank)
    ax.plot(index[active], values[active], color="#0072B2", marker="o", linestyle="", label=f"active: {rank}")
    rest = shown & (index > rank)
    if np.any(rest):
        ax.plot(index[rest], values[rest], color=GREY, marker="x", linestyle="", label="inactive")
    ax.axhline(tolerance, color=INK, linestyle="--", linewidth=1.0, marker="", label="tolerance")
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlim(0.0, max(float(index[shown][-1]) if np.any(shown) else 0.0, 4.0) + 1.0)
    ax.set_xlabel("direction of the amplitude measure")
    ax.set_ylabel("Gram eigenvalue / largest")
    place_legend(ax)
    return ax
