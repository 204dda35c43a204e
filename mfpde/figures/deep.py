"""The panels of a study of deep networks: widths against the limit, training, kernels, held-out predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from mfpde.figures.style import DENSITY_MAP, GREY, INK, Z95, label_widths, log_ticks, place_legend, reference_slope

# by parametrization: name, colour, marker
LOOKS = {
    "mup": ("muP", "#0072B2", "o"),
    "ntk": ("NTK", "#D55E00", "s"),
    "standard": ("standard", "#009E73", "^"),
    "integrable": ("integrable", "#CC79A7", "D"),
}
# eigenvalues below are round-off, and drawn here
FLOOR = 1e-16
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKS = "os^Dv<"
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (7, 2)))


def over_width(
    ax: Axes,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    limit: tuple[float, float] | None,
    *,
    ylabel: str,
    legend: bool = False,
) -> Axes:
    """A quantity after training against the width, parametrization -> (widths, mean, sem) [W] with 95 % bars.

    ``limit``: value and standard error of muP at infinite width, a line with its 95 % band. What is below FLOOR is
    drawn there without a bar.
    """
    for kind, (widths, mean, sem) in curves.items():
        name, colour, mark = LOOKS[kind]
        height = np.maximum(mean, FLOOR)
        reach = np.where(mean > FLOOR, Z95 * np.nan_to_num(sem), 0.0)
        bars = (np.minimum(reach, 0.8 * height), reach)
        ax.errorbar(widths, height, bars, color=colour, marker=mark, linestyle="-", linewidth=0.9, label=name)
    every = np.unique(np.concatenate([widths for widths, _, _ in curves.values()]))
    if limit is not None:
        value, half = max(limit[0], FLOOR), Z95 * float(np.nan_to_num(limit[1]))
        ax.axhline(value, color=INK, linestyle="--", linewidth=1.0, marker="", label="limit of muP", zorder=1)
        if limit[0] > FLOOR:
            ax.axhspan(max(value - half, 0.2 * value), value + half, color=GREY, alpha=0.3, linewidth=0, zorder=0)
    _show_floor(ax)
    ax.set_yscale("log")
    label_widths(ax, every)
    log_ticks(ax.yaxis)
    ax.set_ylabel(ylabel)
    if legend:
        place_legend(ax)
    return ax


def losses(
    ax: Axes,
    steps: np.ndarray,
    widths: Mapping[int, tuple[np.ndarray, np.ndarray]],
    limit: tuple[np.ndarray, np.ndarray] | None,
    *,
    unreliable_from: int | None = None,
) -> Axes:
    """Loss over ``steps`` [K]: width -> (mean, sem) [K] with 95 % bands, the limit in black, grey where unreliable."""
    for k, (width, (mean, sem)) in enumerate(sorted(widths.items())):
        colour, dash = _COLOURS[k % 6], _DASHES[k % 6]
        reach = Z95 * np.nan_to_num(sem)
        ax.plot(steps, mean, color=colour, linestyle=dash, marker="", label=f"$N={width}$")
        ax.fill_between(
            steps, np.maximum(mean - reach, 0.05 * mean), mean + reach, color=colour, alpha=0.15, linewidth=0
        )
    if limit is not None:
        ax.plot(steps, limit[0], color=INK, linestyle="-", marker="", linewidth=1.4, label="limit")
    if unreliable_from is not None:
        ax.axvspan(unreliable_from, steps[-1], color="0.9", linewidth=0, zorder=0)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    _step_axis(ax, steps)
    ax.set_ylabel("loss")
    place_legend(ax)
    return ax


def eigenvalues(
    ax: Axes,
    steps: np.ndarray,
    limit: np.ndarray,
    sem: np.ndarray,
    *,
    theta: np.ndarray | None = None,
    finite: Sequence[tuple[np.ndarray, str]] = (),
) -> Axes:
    """Smallest eigenvalues over ``steps`` [K]: feature kernels of the limit [K, L] with bands, ``theta`` [K], widths.

    ``finite``: means [K, L] of a width with their label, in the colours of the layers, thin and dotted. What is below
    FLOOR is drawn there without a band.
    """
    for layer in range(limit.shape[1]):
        colour = _COLOURS[layer % 6]
        mean = np.maximum(limit[:, layer], FLOOR)
        reach = np.where(limit[:, layer] > 10.0 * FLOOR, Z95 * np.nan_to_num(sem[:, layer]), 0.0)
        ax.plot(steps, mean, color=colour, linestyle=_DASHES[layer % 6], marker="", label=f"$\\Phi^{layer + 1}$")
        ax.fill_between(
            steps, np.maximum(mean - reach, 0.05 * mean), mean + reach, color=colour, alpha=0.15, linewidth=0
        )
    if theta is not None:
        ax.plot(steps, np.maximum(theta, FLOOR), color=INK, linestyle="-", marker="", linewidth=1.2, label="$\\Theta$")
    for values, label in finite:
        for layer in range(limit.shape[1]):
            look: dict[str, Any] = {"color": _COLOURS[layer % 6], "linestyle": ":", "linewidth": 0.8, "marker": ""}
            ax.plot(steps, np.maximum(values[:, layer], FLOOR), label=label if layer == 0 else None, **look)
    _show_floor(ax)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    _step_axis(ax, steps)
    ax.set_ylabel("smallest eigenvalue")
    place_legend(ax, ncols=2)
    return ax


def deviation(
    ax: Axes,
    widths: np.ndarray,
    bias: tuple[np.ndarray, np.ndarray],
    fluctuation: tuple[np.ndarray, np.ndarray],
) -> Axes:
    """Bias and fluctuation of f, (value, sem) [W] each, against the width, with guides 1/N and 1/sqrt(N)."""
    looks = (
        ("bias: mean over seeds", bias, "#0072B2", "o", -1.0),
        ("fluctuation of one seed", fluctuation, "#D55E00", "s", -0.5),
    )
    for label, (value, sem), colour, mark, slope in looks:
        shown = np.isfinite(value) & (value > 0.0)
        if not shown.any():
            continue
        x, y, reach = widths[shown], value[shown], Z95 * np.nan_to_num(sem[shown])
        lower = np.minimum(reach, 0.8 * y)
        ax.errorbar(x, y, (lower, reach), color=colour, marker=mark, linestyle="", label=label, zorder=3)
        if len(x) > 1:
            # through the point that is known best
            best = int(np.argmin(reach / y))
            power = "1/N" if slope == -1.0 else "1/\\sqrt{N}"
            reference_slope(ax, x, float(y[best] * (x[-1] / x[best]) ** slope), slope, f"${power}$")
    ax.set_yscale("log")
    label_widths(ax, widths)
    log_ticks(ax.yaxis)
    ax.set_ylabel("rms distance of $f$ to the limit")
    place_legend(ax)
    return ax


def kernel(ax: Axes, matrix: np.ndarray, title: str, reach: float) -> AxesImage:
    """A kernel [P, P] of the samples from -reach (orange) over white to reach (blue)."""
    image = ax.imshow(matrix, cmap="PuOr", vmin=-reach, vmax=reach, interpolation="nearest")
    ax.set_title(title)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def predictions(
    ax: Axes, limit: np.ndarray, widths: Mapping[int, np.ndarray], *, xlabel: str = "limit", ylabel: str = "one network"
) -> Axes:
    """Predictions at held-out inputs [Q] of one network of each width against those of the limit, with the diagonal."""
    shade = [DENSITY_MAP(0.35 + 0.6 * k / max(1, len(widths) - 1)) for k in range(len(widths))]
    low, high = float(limit.min()), float(limit.max())
    for k, (width, values) in enumerate(sorted(widths.items())):
        ax.plot(limit, values, color=shade[k], marker=_MARKS[k % 6], markersize=2.5, linestyle="", label=f"$N={width}$")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    ends = np.array([low, high])
    ax.plot(ends, ends, color=GREY, linestyle="-", linewidth=0.8, marker="", zorder=1)
    for axis in (ax.xaxis, ax.yaxis):
        # a number of ticks that follows the room would follow the layout, and the layout the ticks
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    place_legend(ax, loc="upper left")
    return ax


def _show_floor(ax: Axes) -> None:
    """Where something lies at FLOOR, show it from below and up to 1: nothing is seen of round-off beside round-off."""
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()])
    if heights.min() <= 10.0 * FLOOR:
        ax.set_ylim(0.1 * FLOOR, max(1.0, float(heights.max())))


def _step_axis(ax: Axes, steps: np.ndarray) -> None:
    ax.set_xlim(float(steps[0]), float(steps[-1]))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlabel("step $t$")
