"""The panels of a study of one gradient step: curves, finite sizes, the learned function, the spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from mfpde.figures.style import GREY, INK, Z95, log_ticks, place_legend

# by map of the first layer: colour, dashes; the baseline is grey
_LOOKS = {
    "plain": ("#E69F00", "--"),
    "refined": ("#0072B2", "-"),
    "measured": ("#009E73", "-."),
    "random features": (GREY, "-"),
}
_OTHER = ("#0072B2", "-")
_POINTS = "#D55E00"


def look(name: str) -> tuple[str, str]:
    """Colour and line style of a line of theory; at the optimal ridge it is dotted."""
    colour, style = _LOOKS.get(name.removesuffix(", optimal ridge"), _OTHER)
    return colour, ":" if name.endswith(", optimal ridge") else style


def error_curves(
    ax: Axes,
    values: np.ndarray,
    lines: Mapping[str, np.ndarray],
    measured: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    logarithmic: bool = False,
) -> Axes:
    """Lines of theory over ``values`` [A] under points of finite size, label -> (at, mean, sem) [S] each, 95 % bars."""
    for name, curve in lines.items():
        colour, style = look(name)
        ax.plot(values, curve, color=colour, linestyle=style, marker="", label=name)
    for (label, (at, mean, sem)), marker in zip(measured.items(), "os^v", strict=False):
        ax.errorbar(
            at, mean, Z95 * sem, color=_POINTS, marker=marker, markersize=4, linestyle="", label=label, zorder=4
        )
    if logarithmic:
        ax.set_xscale("log")
    every = np.concatenate(list(lines.values()))
    if every.min() > 0.0 and every.max() > 8.0 * every.min():
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    place_legend(ax)
    return ax


def excess(
    ax: Axes,
    dimensions: Sequence[int],
    relative: Mapping[str, tuple[np.ndarray, np.ndarray, float | None, float]],
    *,
    against: str,
) -> Axes:
    """simulation / theory - 1 in per cent against 1/d: label -> (mean [D], sem [D], extrapolated or None, its sem)."""
    inverse = 1.0 / np.array(dimensions, dtype=float)
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
    shift = 0.012 * inverse.max()
    for k, (label, (mean, sem, limit, limit_sem)) in enumerate(relative.items()):
        colour, marker = colours[k % len(colours)], "os^vD<"[k % 6]
        x = inverse + (k - 0.5 * (len(relative) - 1)) * shift
        ax.errorbar(x, 100.0 * mean, 100.0 * Z95 * sem, color=colour, marker=marker, linestyle="", label=label)
        if limit is not None:
            weights = 1.0 / np.maximum(sem, 1e-300) ** 2
            slope = float(np.sum(weights * inverse * (mean - limit)) / np.sum(weights * inverse**2))
            ends = np.array([0.0, inverse.max()])
            ax.plot(ends, 100.0 * (limit + slope * ends), color=colour, linestyle="-", linewidth=0.8, marker="")
            at = (k - 0.5 * (len(relative) - 1)) * shift
            ax.errorbar(
                [at], [100.0 * limit], [100.0 * Z95 * limit_sem], color=colour, marker=marker,
                markerfacecolor="white", linestyle="", clip_on=False,
            )  # fmt: skip
    ax.axhline(0.0, color=INK, linestyle="--", linewidth=0.9, marker="", zorder=1)
    ax.set_xlim(-0.06 * inverse.max(), 1.08 * inverse.max())
    ax.xaxis.set_major_locator(FixedLocator([0.0, *inverse.tolist()]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x == 0.0 else f"1/{1.0 / x:.0f}"))
    ax.set_xlabel("$1/d$")
    ax.set_ylabel(f"excess over {against} (%)")
    place_legend(ax)
    return ax


def learned_along_spike(ax: Axes, kappa: np.ndarray, target: np.ndarray, lines: Mapping[str, np.ndarray]) -> Axes:
    """E[yhat | kappa] of every line against the target, all along the spike."""
    ax.plot(kappa, target, color=INK, linestyle="-", linewidth=1.6, marker="", label="target", zorder=1)
    for name, learned in lines.items():
        colour, style = look(name)
        ax.plot(kappa, learned, color=colour, linestyle=style, marker="", label=name, zorder=3)
    ax.set_xlim(float(kappa[0]), float(kappa[-1]))
    ax.set_xlabel("$\\kappa=\\langle v,x\\rangle$")
    ax.set_ylabel("$\\mathrm{E}[\\hat y\\,|\\,\\kappa]$")
    place_legend(ax)
    return ax


def bulk(
    ax: Axes,
    eigenvalues: np.ndarray,
    density: np.ndarray,
    *,
    edges: np.ndarray | None = None,
    histogram: np.ndarray | None = None,
    label: str = "drawn",
) -> Axes:
    """The bulk density of sqrt(eigenvalue), the singular values, over the histogram of drawn features.

    In singular values a density that is infinite at 0 is finite.
    """
    if edges is not None and histogram is not None:
        roots = np.sqrt(edges)
        height = histogram * np.diff(edges) / np.diff(roots)
        ax.stairs(height, roots, fill=True, color="#56B4E9", alpha=0.45, linewidth=0, label=label)
    ax.plot(
        np.sqrt(eigenvalues), density * 2.0 * np.sqrt(eigenvalues), color=INK, linestyle="-", marker="", label="limit"
    )
    ax.set_xlim(0.0, float(np.sqrt(eigenvalues[-1])))
    ax.set_ylim(bottom=0.0)
    # a number of ticks that follows the room would follow the layout, and the layout the ticks
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_xlabel("singular value of $\\Phi/\\sqrt{p}$")
    ax.set_ylabel("density")
    if histogram is not None:
        place_legend(ax)
    return ax
