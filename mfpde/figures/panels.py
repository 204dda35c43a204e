"""Densities at a few times side by side, one row per pair of parameters or per species."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from mfpde.figures.densities import (
    MOST_PARTICLES,
    atom_map,
    colour_bar,
    density,
    density_map,
    marginal,
    shared_norm,
    window,
)
from mfpde.figures.style import DENSITY_MAP, INK, PARTICLE, axis_label


@dataclass(frozen=True, eq=False)
class Row:
    """What one row of panels shows: one or two coordinates along stored times.

    names, kinds: one each per coordinate; centers: their cell centres; density[K, n(, m)] per unit of the drawn
    coordinates (a radial volume weight already multiplied in), or None for atoms[K, m, 1 | 2] of weights[m];
    particles[K, N, 1 | 2]; stationary[n(, m)]; label: what is said of the density; tag: text over the row.
    """

    names: Sequence[str]
    kinds: Sequence[str]
    centers: Sequence[np.ndarray] = ()
    density: np.ndarray | None = None
    atoms: np.ndarray | None = None
    weights: np.ndarray | None = None
    particles: np.ndarray | None = None
    stationary: np.ndarray | None = None
    label: str = "limit"
    tag: str = ""


def snapshots(
    figure: Figure | SubFigure,
    times: np.ndarray,
    centers: Sequence[np.ndarray],
    density: np.ndarray,
    *,
    names: Sequence[str],
    particles: np.ndarray | None = None,
    stationary: np.ndarray | None = None,
    panels: int = 4,
) -> list[Axes]:
    """The density at a few times side by side: curves in one dimension, maps in two, the three marginals in three.

    times[K]; centers: one array of uniform cell centres per axis; density[K, n1(, n2(, n3))] per unit of the drawn
    coordinates (a radial volume weight already multiplied in); particles[K, N, p] in the same coordinates and at the
    same times; stationary[n1(, n2(, n3))]. ``panels`` times are drawn, denser where the density changes more, with
    one colour scale per row. Returns the axes row by row, colour bars not included.
    """
    kinds = ["line"] * len(names)
    chosen = pick_by_change(times, density, panels)
    rows = grid_rows(names, kinds, centers, density, particles=particles, stationary=stationary)
    return snapshot_rows(figure, times, rows, chosen)


def grid_rows(
    names: Sequence[str],
    kinds: Sequence[str],
    centers: Sequence[np.ndarray],
    density: np.ndarray,
    *,
    particles: np.ndarray | None = None,
    stationary: np.ndarray | None = None,
    label: str = "limit",
    tag: str = "",
) -> list[Row]:
    """A density on a grid of dimension one or two as one row, of dimension three as one row per pair of coordinates."""
    kept: list[tuple[int, ...]] = [*combinations(range(len(names)), 2)] if len(names) > 1 else [(0,)]
    rows = []
    for keep in kept:
        rows.append(
            Row(
                [names[i] for i in keep],
                [kinds[i] for i in keep],
                [centers[i] for i in keep],
                np.stack([marginal(values, centers, keep) for values in density]),
                particles=None if particles is None else particles[..., list(keep)],
                stationary=None if stationary is None else marginal(stationary, centers, keep),
                label=label,
                tag=tag,
            )
        )
    return rows


def atom_rows(
    names: Sequence[str],
    kinds: Sequence[str],
    atoms: np.ndarray,
    weights: np.ndarray,
    *,
    particles: np.ndarray | None = None,
    label: str = "limit",
) -> list[Row]:
    """Weighted atoms[K, m, D] as rows like those of ``grid_rows``."""
    kept: list[tuple[int, ...]] = [*combinations(range(len(names)), 2)] if len(names) > 1 else [(0,)]
    return [
        Row(
            [names[i] for i in keep],
            [kinds[i] for i in keep],
            atoms=atoms[..., list(keep)],
            weights=weights,
            particles=None if particles is None else particles[..., list(keep)],
            label=label,
        )
        for keep in kept
    ]


def snapshot_rows(
    figure: Figure | SubFigure, times: np.ndarray, rows: Sequence[Row], chosen: Sequence[int]
) -> list[Axes]:
    """Draw rows of panels at the chosen indices of times[K], and below them what the marks mean."""
    grid = figure.subplots(len(rows), len(chosen), squeeze=False, sharex="row", sharey="row")
    for axes, row in zip(grid, rows, strict=True):
        if len(row.names) == 1:
            _curves(axes, row, chosen)
        elif row.density is None:
            _scatter(axes, row, chosen)
        else:
            _maps(axes, row, chosen)
        for ax in axes:
            ax.label_outer()
            # Rows show different parameters, so each needs its own x label.
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(axis_label(row.names[0], row.kinds[0]))
        if row.tag:
            axes[0].text(0.04, 0.96, row.tag, transform=axes[0].transAxes, va="top", zorder=4)
    for ax, k in zip(grid[0], chosen, strict=True):
        ax.set_title(f"$t$ = {times[k]:.3g}")
    _explain(figure, grid[0][0], rows[0])
    return list(grid.ravel())


def _maps(axes: Sequence[Axes], row: Row, chosen: Sequence[int]) -> None:
    assert row.density is not None
    maps = row.density[list(chosen)]
    norm, extend = shared_norm(maps)
    for ax, k, values in zip(axes, chosen, maps, strict=True):
        dots = None if row.particles is None else row.particles[k]
        density_map(
            ax, *row.centers, values,
            particles=dots, stationary=row.stationary, norm=norm, names=row.names, kinds=row.kinds,
        )  # fmt: skip
    axes[0].set_xlim(*window(row.centers[0], maps.sum(axis=2)))
    axes[0].set_ylim(*window(row.centers[1], maps.sum(axis=1)))
    colour_bar(axes, extend)


def _scatter(axes: Sequence[Axes], row: Row, chosen: Sequence[int]) -> None:
    assert row.atoms is not None and row.weights is not None
    seen = row.atoms[list(chosen)][:, row.weights > 1e-3 * row.weights.max()].reshape(-1, 2)
    for ax, k in zip(axes, chosen, strict=True):
        dots = None if row.particles is None else row.particles[k]
        atom_map(ax, row.atoms[k], row.weights, particles=dots, names=row.names, kinds=row.kinds)
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = 0.06 * np.maximum(high - low, 1e-12)
    axes[0].set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes[0].set_ylim(low[1] - margin[1], high[1] + margin[1])


def _curves(axes: Sequence[Axes], row: Row, chosen: Sequence[int]) -> None:
    for ax, k in zip(axes, chosen, strict=True):
        dots = None if row.particles is None else np.ravel(row.particles[k])
        if row.density is not None:
            density(
                ax, row.centers[0], row.density[k],
                particles=dots, stationary=row.stationary, name=row.names[0], kind=row.kinds[0], label=row.label,
            )  # fmt: skip
        else:
            assert row.atoms is not None and row.weights is not None
            _atom_histogram(ax, np.ravel(row.atoms[k]), row.weights, dots, row)
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    if row.density is not None and row.kinds[0] != "circle":
        drawn = row.density[list(chosen)]
        axes[0].set_xlim(
            *window(row.centers[0], drawn if row.stationary is None else np.vstack([drawn, row.stationary]))
        )


def _atom_histogram(ax: Axes, atoms: np.ndarray, weights: np.ndarray, dots: np.ndarray | None, row: Row) -> None:
    """Atoms on a line: both laws as histograms on the same bins."""
    everything = atoms if dots is None else np.concatenate([atoms, dots])
    bins = np.linspace(everything.min() - 1e-9, everything.max() + 1e-9, 31)
    if dots is not None:
        heights = np.histogram(dots, bins, density=True)[0]
        ax.stairs(heights, bins, fill=True, color="0.85", label=f"{len(dots)} particles")
    heights = np.histogram(atoms, bins, weights=weights, density=True)[0]
    ax.stairs(heights, bins, color=DENSITY_MAP(0.85), linewidth=1.2, label=row.label)
    ax.set_xlabel(f"parameter {axis_label(row.names[0], row.kinds[0])}")
    ax.set_ylabel("density")


def _explain(figure: Figure | SubFigure, ax: Axes, row: Row) -> None:
    """One line under the panels that says what colours, dots and dashes are."""
    if len(row.names) == 1:
        handles, labels = ax.get_legend_handles_labels()
    else:
        handles, labels = _map_handles(row)
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))


def _map_handles(row: Row) -> tuple[list[Artist], list[str]]:
    handles: list[Artist] = []
    labels = []
    if row.atoms is not None:
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=5, alpha=0.6, color=DENSITY_MAP(0.55)))
        labels.append(f"{row.label}: {row.atoms.shape[1]} atoms, area as weight")
    if row.particles is not None:
        total = row.particles.shape[1]
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=2.2, markeredgewidth=0, color=PARTICLE))
        labels.append(f"{total} particles" if total <= MOST_PARTICLES else f"{MOST_PARTICLES} of {total} particles")
    if row.stationary is not None:
        handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 2)), marker="", linewidth=0.8))
        labels.append("50 % and 95 % of the stationary mass")
    return handles, labels


def pick(times: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` times from first to last, quadratically denser near the start, where most happens."""
    last = len(times) - 1
    wanted = times[0] + (times[last] - times[0]) * np.linspace(0.0, 1.0, min(count, last + 1)) ** 2
    return sorted({int(np.argmin(np.abs(times - time))) for time in wanted})


def pick_by_change(times: np.ndarray, density: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` times from first to last between which density[K, ...] moves equally far in total variation.

    As ``pick`` where nothing moves.
    """
    last = len(times) - 1
    moves = np.array([np.sum(np.abs(density[k + 1] - density[k])) for k in range(last)])
    if last + 1 <= count or not moves.sum() > 1e-6 * np.sum(density[0]):
        return pick(times, count)
    path = np.concatenate([[0.0], np.cumsum(moves)])
    chosen = [int(np.argmin(np.abs(path - wanted))) for wanted in np.linspace(0.0, path[-1], count)]
    for k in range(1, count):  # distinct, with the last one kept
        chosen[k] = min(max(chosen[k], chosen[k - 1] + 1), last - (count - 1 - k))
    return chosen
