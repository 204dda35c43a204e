"""The panels of the kernel limit: crossover, learning curves, approach to the limit, the filter of the spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import GREY, INK, log_ticks, place_legend

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_MARKS = "os^vD"
_DASHES = ("--", "-.", ":")


def crossover(ax: Axes, scales: np.ndarray, errors: np.ndarray, levels: Mapping[str, float], *, ylabel: str) -> Axes:
    """An error of the flow against the output scale [K], feature learning on the left, over the kernel's levels."""
    ax.plot(scales, errors, color=_COLOURS[0], marker="o", linestyle="-", label="flow", zorder=3)
    for (name, level), dashes in zip(levels.items(), _DASHES, strict=False):
        ax.axhline(level, color=INK, linestyle=dashes, linewidth=1.0, marker="", label=name, zorder=1)
    ax.set_xscale("log")
    _logarithmic_if_wide(ax, np.append(errors, list(levels.values())))
    ax.set_xlabel("output scale $\\alpha$")
    ax.set_ylabel(ylabel)
    place_legend(ax)
    return ax


def learning_curves(
    ax: Axes,
    times: np.ndarray,
    curves: Mapping[float, np.ndarray],
    limit_times: np.ndarray,
    limit: np.ndarray,
    *,
    ylabel: str,
) -> Axes:
    """Errors over the rescaled time: scale -> [K] at ``times`` (0 left out), and the limit's own curve."""
    ax.plot(limit_times, limit, color=INK, linestyle="--", marker="", label="$\\alpha=N=\\infty$", zorder=4)
    for k, (scale, values) in enumerate(curves.items()):
        ax.plot(times[1:], values[1:], color=_COLOURS[k % 5], linestyle="-", marker="", label=f"$\\alpha={scale:g}$")
    ax.set_xscale("log")
    ax.set_xlim(float(limit_times[0]), float(limit_times[-1]))
    _logarithmic_if_wide(ax, np.concatenate([limit, *(values[1:] for values in curves.values())]))
    ax.set_xlabel("time $\\alpha^2 t$")
    ax.set_ylabel(ylabel)
    place_legend(ax)
    return ax


def approach(
    ax: Axes,
    lines: Mapping[str, tuple[np.ndarray, np.ndarray, tuple[float, float] | None]],
    *,
    fit_from: float,
) -> Axes:
    """Distances against the scale: label -> (scales [K], values [K], (slope, prefactor) of a fit or None)."""
    for k, (label, (scales, values, fit)) in enumerate(lines.items()):
        told = label if fit is None else f"{label}: {fit[0]:.2f}".replace("-", "\N{MINUS SIGN}")
        colour = _COLOURS[k] if fit is not None or k == 0 else GREY
        seen = values > 0.0
        ax.plot(scales[seen], values[seen], color=colour, marker=_MARKS[k], linestyle="", label=told, zorder=3)
        fitted = scales[scales >= fit_from]
        if fit is not None and len(fitted):
            ends = np.array([fitted.min(), fitted.max()])
            ax.plot(ends, fit[1] * ends ** fit[0], color=colour, linestyle="-", linewidth=1.0, marker="")
    ax.set_xscale("log")
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    ax.set_xlabel("output scale $\\alpha$")
    ax.set_ylabel("distance from the limit")
    place_legend(ax)
    return ax


def filters(
    ax: Axes,
    eigenvalues: np.ndarray,
    seen: np.ndarray,
    times: Sequence[tuple[float, np.ndarray, np.ndarray]],
    *,
    scale: float,
) -> Axes:
    """Learned shares of the modes: (time, filter [L] at ``eigenvalues`` [L], measured [J] at ``seen`` [J])."""
    for k, (time, gain, measured) in enumerate(times):
        ax.plot(eigenvalues, gain, color=_COLOURS[k], linestyle="-", marker="", label=f"time {time:.3g}")
        ax.plot(seen, measured, color=_COLOURS[k], linestyle="", marker=_MARKS[k], markersize=3, zorder=3)
    ax.set_xscale("log")
    ax.set_ylim(-0.08, 1.12)
    ax.set_xlabel("eigenvalue $\\lambda_j$ of $H/n$")
    ax.set_ylabel(f"learned share (points: $\\alpha={scale:g}$)")
    place_legend(ax)
    return ax


def _logarithmic_if_wide(ax: Axes, values: np.ndarray) -> None:
    if values.min() > 0.0 and values.max() > 8.0 * values.min():
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
