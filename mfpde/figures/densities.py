"""Densities over the parameters, with the particles of a finite network on top."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from mfpde.figures.style import DENSITY_MAP, GREY, INK, PARTICLE, axis_label, circle_axis

MOST_PARTICLES = 300
"""Particles drawn as dots; the first ones stand for all, since particles are exchangeable."""
LEVELS = (0.5, 0.95)
"""Shares of the mass inside the contours of a stationary density."""


def density(
    ax: Axes,
    x: np.ndarray,
    density: np.ndarray,
    *,
    times: Sequence[float] | np.ndarray | None = None,
    particles: np.ndarray | None = None,
    stationary: np.ndarray | None = None,
    name: str = "w",
    kind: str = "line",
    label: str = "limit",
) -> Axes:
    """One-dimensional densities at one or several times, dark for late.

    x[n] cell centres; density[n] or [K, n] per unit of x; times[K] for the legend, else ``label``; particles[N] are
    drawn as a histogram, and as a rug too if there are at most 300; stationary[n] as a dashed line; name and kind
    ("line", "radius", "circle") of the coordinate.
    """
    curves = np.atleast_2d(density)
    low, high = window(x, curves if stationary is None else np.vstack([curves, stationary]))
    if kind == "circle":
        low, high = _ends(x)
    if particles is not None:
        _histogram(ax, np.asarray(particles), low, high)
    shades = [0.85] if len(curves) == 1 else np.linspace(0.3, 0.95, len(curves))
    for k, (curve, shade) in enumerate(zip(curves, shades, strict=True)):
        text = label if times is None else f"$t$ = {times[k]:.3g}"
        ax.plot(x, curve, color=DENSITY_MAP(shade), linestyle="-", marker="", label=text)
    if stationary is not None:
        ax.plot(x, stationary, color=INK, linestyle=(0, (4, 2)), linewidth=0.9, marker="", label="stationary")
    ax.set_xlim(low, high)
    ax.set_ylim(bottom=0.0)
    if kind == "circle":
        circle_axis(ax)
    ax.set_xlabel(f"parameter {axis_label(name, kind)}")
    ax.set_ylabel("density")
    # Several peaks leave no corner free, so a long legend stands above the axes.
    if len(ax.get_legend_handles_labels()[0]) > 3:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    else:
        ax.legend()
    return ax


def density_map(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    density: np.ndarray,
    *,
    particles: np.ndarray | None = None,
    stationary: np.ndarray | None = None,
    norm: Normalize | None = None,
    names: Sequence[str] = ("w0", "w1"),
    kinds: Sequence[str] = ("line", "line"),
) -> Axes:
    """A two-dimensional density as a colour map; ``colour_bar`` adds its scale.

    x[n], y[m] cell centres of uniform axes; density[n, m]; particles[N, 2] positions, the first 300 drawn;
    stationary[n, m] as dashed contours around 50 and 95 % of its mass; norm for a colour scale shared between axes
    (default: square root, from 0 to the maximum).
    """
    norm = norm if norm is not None else PowerNorm(0.5, 0.0, float(np.max(density)))
    extent = (*_ends(x), *_ends(y))
    # Linear between the cell centres; it cannot overshoot below zero as the smoother ones do.
    ax.imshow(
        density.T, cmap=DENSITY_MAP, norm=norm, origin="lower", extent=extent, aspect="auto", interpolation="bilinear"
    )
    if particles is not None:
        dots = np.asarray(particles)[:MOST_PARTICLES]
        size = float(np.clip(700.0 / max(len(dots), 1), 2.3, 5.0))
        ax.scatter(dots[:, 0], dots[:, 1], s=size, c=PARTICLE, linewidths=0.0, rasterized=True)
    if stationary is not None and (levels := mass_levels(stationary)):
        ax.contour(x, y, stationary.T, levels, colors=INK, linestyles=[(0, (4, 2))], linewidths=0.8)
    ax.set_xlim(*window(x, density.sum(axis=1)[None, :]))
    ax.set_ylim(*window(y, density.sum(axis=0)[None, :]))
    ax.set_xlabel(axis_label(names[0], kinds[0]))
    ax.set_ylabel(axis_label(names[1], kinds[1]))
    return ax


def atom_map(
    ax: Axes,
    atoms: np.ndarray,
    weights: np.ndarray,
    *,
    particles: np.ndarray | None = None,
    names: Sequence[str] = ("w0", "w1"),
    kinds: Sequence[str] = ("line", "line"),
) -> Axes:
    """Weighted atoms[m, 2] as circles whose area is their weight[m], with particles[N, 2] on top."""
    area = 90.0 * weights / np.max(weights)
    ax.scatter(
        atoms[:, 0],
        atoms[:, 1],
        s=area,
        color=DENSITY_MAP(0.55),
        alpha=0.6,
        linewidths=0,
        rasterized=True,
    )
    if particles is not None:
        dots = np.asarray(particles)[:MOST_PARTICLES]
        ax.scatter(dots[:, 0], dots[:, 1], s=2.5, c=PARTICLE, linewidths=0, rasterized=True)
    ax.set_xlabel(axis_label(names[0], kinds[0]))
    ax.set_ylabel(axis_label(names[1], kinds[1]))
    return ax


def marginals(
    axes: Sequence[Axes],
    centers: Sequence[np.ndarray],
    density: np.ndarray,
    *,
    names: Sequence[str],
    particles: np.ndarray | None = None,
) -> list[Axes]:
    """The three two-dimensional marginals of density[n1, n2, n3] on three axes; arguments as in ``snapshots``."""
    for ax, (i, j) in zip(axes, combinations(range(3), 2), strict=True):
        dots = None if particles is None else particles[:, [i, j]]
        values = marginal(density, centers, (i, j))
        density_map(ax, centers[i], centers[j], values, particles=dots, names=(names[i], names[j]))
        colour_bar([ax])
    return list(axes)


def colour_bar(axes: Sequence[Axes], extend: Literal["neither", "max"] = "neither") -> Axes:
    """The colour scale beside axes drawn by ``density_map``, taken from the last of them; returns its own axes."""
    image = axes[-1].images[0]
    figure = axes[-1].figure
    assert isinstance(figure, Figure) or hasattr(figure, "colorbar")
    ticks = _round_ticks(image.get_clim()[1] or 1.0)
    bar = figure.colorbar(image, ax=list(axes), extend=extend, pad=0.02, aspect=18, ticks=ticks, format="%g")
    bar.minorticks_off()
    bar.set_label("density")
    return bar.ax


def _round_ticks(top: float) -> list[float]:
    """1-2-5 numbers up to top that keep their distance on a square-root scale."""
    last = int(np.ceil(np.log10(top)))
    ticks = [0.0]
    for tick in (digit * 10.0**power for power in range(last - 3, last + 1) for digit in (1, 2, 5)):
        if tick <= top and np.sqrt(tick / top) - np.sqrt(ticks[-1] / top) >= 0.13:
            ticks.append(tick)
    return ticks


def marginal(density: np.ndarray, centers: Sequence[np.ndarray], keep: tuple[int, ...]) -> np.ndarray:
    """The density of the kept coordinates: the others summed out with their uniform cell width."""
    away = tuple(axis for axis in range(len(centers)) if axis not in keep)
    cell = float(np.prod([centers[axis][1] - centers[axis][0] for axis in away]))
    return density.sum(axis=away) * cell


def mass_levels(density: np.ndarray, shares: Sequence[float] = LEVELS) -> list[float]:
    """Rising heights whose superlevel sets hold the given shares of the mass of density[n, m]; [] if not distinct."""
    heights = np.sort(density, axis=None)[::-1]
    inside = np.cumsum(heights)
    if inside[-1] <= 0.0:
        return []
    found = {float(heights[np.searchsorted(inside, share * inside[-1])]) for share in shares}
    return sorted(level for level in found if level > 0.0)


def window(x: np.ndarray, curves: np.ndarray, floor: float = 2e-3) -> tuple[float, float]:
    """The part of the axis where any of curves[K, n] exceeds ``floor`` of its maximum, with a small margin.

    The computed domain reaches far into the tails; a picture of all of it would be mostly empty.
    """
    heights = np.max(curves, axis=1, keepdims=True)
    seen = np.flatnonzero(np.any(curves > floor * heights, axis=0))
    cell = x[1] - x[0]
    if seen.size == 0:
        return float(x[0] - cell / 2), float(x[-1] + cell / 2)
    margin = 0.05 * (x[seen[-1]] - x[seen[0]]) + cell / 2
    return float(max(x[seen[0]] - margin, x[0] - cell / 2)), float(min(x[seen[-1]] + margin, x[-1] + cell / 2))


def _histogram(ax: Axes, particles: np.ndarray, low: float, high: float) -> None:
    bins = int(np.clip(4.0 * particles.size ** (1.0 / 3.0), 8, 60))
    counts, edges = np.histogram(particles, bins=bins, range=(low, high))
    heights = counts / (particles.size * (edges[1] - edges[0]))
    text = f"{particles.size} particles"
    ax.stairs(heights, edges, fill=True, facecolor="0.85", edgecolor=GREY, linewidth=0.6, zorder=0, label=text)
    if particles.size <= 300:
        mixed = ax.get_xaxis_transform()
        ax.vlines(particles, 0.0, 0.035, transform=mixed, colors=PARTICLE, linewidths=0.4, zorder=3)


def shared_norm(maps: np.ndarray) -> tuple[Normalize, Literal["neither", "max"]]:
    """One colour scale for maps[K, n, m]; a spike in one of them does not wash out the rest."""
    peaks = maps.max(axis=(1, 2))
    top = float(min(peaks.max(), 2.0 * np.median(peaks)))
    return PowerNorm(0.5, 0.0, top, clip=True), "max" if peaks.max() > top else "neither"


def _ends(x: np.ndarray) -> tuple[float, float]:
    half = 0.5 * (x[1] - x[0])
    return float(x[0] - half), float(x[-1] + half)
