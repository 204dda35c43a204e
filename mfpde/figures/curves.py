"""Quantities over time: free energy, risk, moments."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from mfpde.figures.style import GREY, INK, Z95, log_ticks, place_legend, time_axis


def energy(
    ax: Axes,
    time: np.ndarray,
    free_energy: np.ndarray,
    *,
    stationary_free_energy: float,
    gap: np.ndarray | None = None,
) -> Axes:
    """Free energy above its stationary value on a logarithmic axis, under the certified gap.

    time[K], free_energy[K]; gap[K] is F − D for some dual value D ≤ F*, so it lies above F − F* at every time. What
    is smaller than 32 units of round-off of F is left out, and a grey band marks that region.
    """
    floor = 32 * np.finfo(float).eps * float(np.max(np.abs([stationary_free_energy, *free_energy])))
    above = free_energy - stationary_free_energy
    if gap is not None:
        band = np.maximum(above, floor), np.maximum(gap, floor)
        ax.fill_between(time, *band, color="#56B4E9", alpha=0.25, linewidth=0)
        bound = np.where(gap > floor, gap, np.nan)
        ax.plot(time, bound, color="#D55E00", linestyle="--", marker="", label="certified bound $F-D$")
    meant = np.where(above > floor, above, np.nan)
    ax.plot(time, meant, color="#0072B2", linestyle="-", marker="", label="$F-F^*$")
    ax.set_yscale("log")
    if np.min(above) <= floor:
        ax.set_ylim(bottom=floor / 10)
        ax.axhspan(floor / 10, floor, color="0.9", linewidth=0, zorder=0, label="round-off")
    log_ticks(ax.yaxis)
    time_axis(ax, time[0], time[-1])
    ax.set_ylabel("free energy gap $F-F^*$")
    place_legend(ax)
    return ax


def risk(
    ax: Axes,
    time: np.ndarray,
    limit_risk: np.ndarray,
    ensembles: Mapping[int, tuple[np.ndarray, np.ndarray]],
    *,
    limit_time: np.ndarray | None = None,
) -> Axes:
    """Risk of every width against the limit, with 95 % bands of the mean over replicas.

    time[K] of the ensembles; ensembles: width → (mean[K], standard error[K]); limit_risk[K], or [K'] on limit_time[K'].
    """
    times = time if limit_time is None else limit_time
    ax.plot(times, limit_risk, color=INK, linestyle="-", linewidth=1.6, marker="", zorder=3, label="limit $N=\\infty$")
    every = max(1, len(time) // 8)
    lowest, highest = float(np.min(limit_risk)), float(np.max(limit_risk))
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    for index, ((width, (mean, sem)), look) in enumerate(zip(sorted(ensembles.items()), styles, strict=False)):
        start = index * every // max(1, len(ensembles))
        ax.plot(time, mean, **{"marker": "o", **look}, markevery=(start, every), label=f"$N={width}$")
        ax.fill_between(time, mean - Z95 * sem, mean + Z95 * sem, color=look["color"], alpha=0.2, linewidth=0)
        lowest, highest = min(lowest, float(np.min(mean))), max(highest, float(np.max(mean)))
    if 0.0 < 30.0 * lowest < highest:
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
    time_axis(ax, min(time[0], times[0]), max(time[-1], times[-1]))
    ax.set_ylabel("risk")
    place_legend(ax, ncols=1 if len(ensembles) < 4 else 2)
    return ax


def moments(
    ax: Axes,
    time: np.ndarray,
    limit: Mapping[str, np.ndarray],
    *,
    ensemble_time: np.ndarray | None = None,
    ensemble: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Axes:
    """Moments of the limit as lines, those of an ensemble as marks with 95 % bars in the same colour.

    time[K], limit: label → values[K]; ensemble: the same labels → (mean[J], standard error[J]) at ensemble_time[J]
    (default: time). Labels are drawn as they are given, mathtext allowed.
    """
    at = time if ensemble_time is None else ensemble_time
    every = max(1, len(at) // 10)
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    for (label, values), look in zip(limit.items(), styles, strict=False):
        line = {key: look[key] for key in ("color", "linestyle") if key in look}
        ax.plot(time, values, **line, marker="", label=label)
        if ensemble is not None and label in ensemble:
            mean, sem = (np.asarray(part)[::every] for part in ensemble[label])
            mark = look.get("marker", "o")
            ax.errorbar(at[::every], mean, Z95 * sem, color=look["color"], linestyle="", marker=mark, clip_on=False)
    if ensemble is not None:
        ax.plot([], [], color=GREY, linestyle="", marker="o", label="particles")
    time_axis(ax, time[0], time[-1])
    ax.set_ylabel("moment")
    place_legend(ax, ncols=2)
    return ax
