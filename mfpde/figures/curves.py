"""Quantities over time: free energy, risk, moments."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from mfpde.figures.style import GREY, INK, Z95, log_ticks, place_legend, time_axis

LIMIT = "limit $N=\\infty$"


def energy(
    ax: Axes,
    time: np.ndarray,
    free_energy: np.ndarray,
    *,
    stationary_free_energy: float | None = None,
    gap: np.ndarray | None = None,
    gap_label: str = "certified bound $F-D$",
    bound: bool = True,
) -> Axes:
    """Free energy above its stationary value on a logarithmic axis, under the certified gap.

    time[K], free_energy[K]; gap[K] is F − D for some dual value D ≤ F*, so it lies above F − F* at every time; with
    ``bound`` false it is some other measure of distance and nothing is shaded. Without a stationary value the gap
    alone is drawn, without both the free energy itself. What is smaller than 32 units of round-off of F is left out,
    and a grey band marks that region.
    """
    if stationary_free_energy is None and gap is None:
        ax.plot(time, free_energy, color="#0072B2", linestyle="-", marker="")
        time_axis(ax, time[0], time[-1])
        ax.set_ylabel("free energy $F$")
        return ax
    reference = 0.0 if stationary_free_energy is None else stationary_free_energy
    floor = 32 * np.finfo(float).eps * float(np.max(np.abs([reference, *free_energy])))
    above = gap if stationary_free_energy is None else free_energy - stationary_free_energy
    assert above is not None
    if gap is not None:
        if bound and stationary_free_energy is not None:
            band = np.maximum(above, floor), np.maximum(gap, floor)
            ax.fill_between(time, *band, color="#56B4E9", alpha=0.25, linewidth=0)
        ax.plot(time, _over(gap, floor), color="#D55E00", linestyle="--", marker="", label=gap_label)
    if stationary_free_energy is not None:
        ax.plot(time, _over(above, floor), color="#0072B2", linestyle="-", marker="", label="$F-F^*$")
    ax.set_yscale("log")
    if np.min(above) <= floor:
        ax.set_ylim(bottom=floor / 10)
        ax.axhspan(floor / 10, floor, color="0.9", linewidth=0, zorder=0, label="round-off")
    log_ticks(ax.yaxis)
    time_axis(ax, time[0], time[-1])
    ax.set_ylabel("distance to $F^*$")
    place_legend(ax)
    return ax


def _over(values: np.ndarray, floor: float) -> np.ndarray:
    return np.where(values > floor, values, np.nan)


def risk(
    ax: Axes,
    time: np.ndarray,
    limit_risk: np.ndarray | None,
    ensembles: Mapping[int, tuple[np.ndarray, np.ndarray]],
    *,
    limit_time: np.ndarray | None = None,
    ylabel: str = "risk",
) -> Axes:
    """Risk of every width against the limit, the mean over replicas with its 95 % bars (bands without a limit).

    time[K] of the ensembles; ensembles: width → (mean[K], standard error[K]); limit_risk[K], or [K'] on
    limit_time[K'], or None.
    """
    ranges = [mean for mean, _ in ensembles.values()]
    times = time if limit_time is None else limit_time
    if limit_risk is not None:
        ax.plot(times, limit_risk, color=INK, linestyle="-", linewidth=1.6, marker="", zorder=3, label=LIMIT)
        ranges.append(limit_risk)
    every = max(1, len(time) // 8)
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    for index, ((width, (mean, sem)), look) in enumerate(zip(sorted(ensembles.items()), styles, strict=False)):
        start = index * every // max(1, len(ensembles))
        if limit_risk is not None:  # the line that they should lie on is there already
            at = slice(start, None, every)
            look = {**look, "linestyle": "", "label": f"$N={width}$"}
            ax.errorbar(time[at], mean[at], Z95 * sem[at], **look, clip_on=False, zorder=4)
            continue
        ax.plot(time, mean, **look, markevery=(start, every), label=f"$N={width}$")
        ax.fill_between(time, mean - Z95 * sem, mean + Z95 * sem, color=look["color"], alpha=0.2, linewidth=0)
    lowest, highest = min(float(np.min(v)) for v in ranges), max(float(np.max(v)) for v in ranges)
    if 0.0 < 30.0 * lowest < highest:
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
    time_axis(ax, min(time[0], times[0]), max(time[-1], times[-1]))
    ax.set_ylabel(ylabel)
    place_legend(ax, ncols=1 if len(ensembles) < 4 else 2)
    return ax


def extrapolation(
    ax: Axes,
    widths: np.ndarray,
    mean: np.ndarray,
    sem: np.ndarray,
    *,
    limit: float | None = None,
    value: float | None = None,
    value_sem: float = 0.0,
    ylabel: str = "final risk",
) -> Axes:
    """A mean over replicas against 1/N with its straight line to N = ∞, beside the limit.

    widths[K], mean[K], sem[K] (bars: 95 %); limit: the value of the limit; value, value_sem: the extrapolated one.
    """
    inverse = 1.0 / np.asarray(widths, dtype=float)
    ax.errorbar(inverse, mean, Z95 * sem, color="#0072B2", marker="o", linestyle="", zorder=3, label="networks")
    if value is not None:
        weights = 1.0 / np.where(sem > 0.0, sem, 1.0) ** 2
        slope = float(np.sum(weights * inverse * (mean - value)) / np.sum(weights * inverse**2))
        ends = np.array([0.0, inverse.max()])
        ax.plot(ends, value + slope * ends, color="#0072B2", linestyle="-", marker="", linewidth=0.8)
        ax.errorbar(
            [0.0], [value], [Z95 * value_sem], color="#0072B2", marker="o", markerfacecolor="white", linestyle="",
            zorder=3, label="extrapolated", clip_on=False,
        )  # fmt: skip
    if limit is not None:
        ax.axhline(limit, color=INK, linestyle="--", linewidth=0.9, zorder=1, label=LIMIT)
    ax.set_xlim(-0.04 * inverse.max(), 1.06 * inverse.max())
    ax.xaxis.set_major_locator(FixedLocator([0.0, *inverse[_apart(inverse)]]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x == 0.0 else f"1/{1.0 / x:.0f}"))
    ax.set_xlabel("$1/N$")
    ax.set_ylabel(ylabel)
    place_legend(ax)
    return ax


def _apart(inverse: np.ndarray) -> list[int]:
    """Indices of the values of 1/N whose labels do not run into each other or into the one at zero."""
    kept: list[int] = []
    for k in np.argsort(-inverse):
        if all(abs(inverse[k] - inverse[j]) > 0.12 * inverse.max() for j in kept) and inverse[k] > 0.12 * inverse.max():
            kept.append(int(k))
    return kept


def moments(
    ax: Axes,
    time: np.ndarray,
    limit: Mapping[str, np.ndarray],
    *,
    ensemble_time: np.ndarray | None = None,
    ensemble: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    stationary: Mapping[str, float] | None = None,
    ylabel: str = "moment",
    ensemble_label: str = "particles",
) -> Axes:
    """Moments of the limit as lines, those of an ensemble as marks with 95 % bars in the same colour.

    time[K], limit: label → values[K]; ensemble: the same labels → (mean[J], standard error[J]) at ensemble_time[J]
    (default: time); stationary: label → value, a dotted line. Labels are drawn as they are given, mathtext allowed;
    one that only the ensemble has is drawn with its marks joined.
    """
    at = time if ensemble_time is None else ensemble_time
    every = max(1, len(at) // 10)
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    labels = dict.fromkeys([*limit, *(ensemble or {})])
    for label, look in zip(labels, styles, strict=False):
        line = {key: look[key] for key in ("color", "linestyle") if key in look}
        if label in limit:
            ax.plot(time, limit[label], **line, marker="", label=label)
        if ensemble is not None and label in ensemble:
            mean, sem = (np.asarray(part) for part in ensemble[label])
            mark = look.get("marker", "o")
            if label not in limit:
                ax.plot(at, mean, **line, marker="", label=label)
            bars = mean[::every], Z95 * sem[::every]
            ax.errorbar(at[::every], *bars, color=look["color"], linestyle="", marker=mark, clip_on=False)
        if stationary is not None and label in stationary:
            ax.axhline(stationary[label], color=look["color"], linestyle=":", linewidth=0.8, zorder=1)
    if ensemble:
        ax.plot([], [], color=GREY, linestyle="", marker="o", label=ensemble_label)
    if stationary:
        ax.plot([], [], color=GREY, linestyle=":", marker="", linewidth=0.8, label="stationary")
    time_axis(ax, time[0], time[-1])
    ax.set_ylabel(ylabel)
    place_legend(ax, ncols=2)
    return ax
