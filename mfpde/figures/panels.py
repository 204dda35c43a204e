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
from matplotlib.patches import Patch

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
        # nothing to sum out: no copy of what may be most of the memory
        whole = len(keep) == len(names)
        rows.append(
            Row(
                [names[i] for i in keep],
                [kinds[i] for i in keep],
                [centers[i] for i in keep],
                density if whole else np.stack([marginal(values, centers, keep) for values in density]),
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
    figure: Figure | SubFigure,
    times: np.ndarray,
    rows: Sequence[Row],
    chosen: Sequence[int],
    scale: Sequence[int] | None = None,
) -> list[Axes]:
    """Draw rows of panels at the chosen indices of times[K], and below them what the marks mean.

    Colours and axes are those of the indices in ``scale``, if given: the frames of a film share them.
    """
    scale = chosen if scale is None else scale
    grid = figure.subplots(len(rows), len(chosen), squeeze=False, sharex="row", sharey="row")
    for axes, row in zip(grid, rows, strict=True):
        if len(row.names) == 1:
            _curves(axes, row, chosen, scale)
        elif row.density is None:
            _scatter(axes, row, chosen, scale)
        else:
            _maps(axes, row, chosen, scale)
        for ax in axes:
            ax.label_outer()
            # Rows show different parameters, so each needs its own x label.
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(axis_label(row.names[0], row.kinds[0]))
        if row.tag:
            axes[0].set_ylabel(f"{row.tag}\n{axes[0].get_ylabel()}")
    for ax, k in zip(grid[0], chosen, strict=True):
        ax.set_title(f"$t$ = {times[k]:.3g}")
    _share_windows([axes[0] for axes in grid], rows)
    _explain(figure, grid[0][0], rows)
    return list(grid.ravel())


def _share_windows(first: Sequence[Axes], rows: Sequence[Row]) -> None:
    """Rows of the same coordinates, one per species, show the same part of the plane."""
    if len({tuple(row.names) for row in rows}) > 1:
        return
    for get, put in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        ends = np.array([getattr(ax, get)() for ax in first])
        for ax in first:
            getattr(ax, put)(float(ends[:, 0].min()), float(ends[:, 1].max()))


def _maps(axes: Sequence[Axes], row: Row, chosen: Sequence[int], scale: Sequence[int]) -> None:
    assert row.density is not None
    maps = row.density[list(scale)]
    norm, extend = shared_norm(maps)
    for ax, k in zip(axes, chosen, strict=True):
        dots = None if row.particles is None else row.particles[k]
        density_map(
            ax, row.centers[0], row.centers[1], row.density[k],
            particles=dots, stationary=row.stationary, norm=norm, names=row.names, kinds=row.kinds,
        )  # fmt: skip
    seen = maps if row.stationary is None else np.concatenate([maps, row.stationary[None]])
    axes[0].set_xlim(*window(row.centers[0], seen.sum(axis=2)))
    axes[0].set_ylim(*window(row.centers[1], seen.sum(axis=1)))
    colour_bar(axes, extend)


def _scatter(axes: Sequence[Axes], row: Row, chosen: Sequence[int], scale: Sequence[int]) -> None:
    assert row.atoms is not None and row.weights is not None
    for ax, k in zip(axes, chosen, strict=True):
        dots = None if row.particles is None else row.particles[k]
        atom_map(ax, row.atoms[k], row.weights, particles=dots, names=row.names, kinds=row.kinds)
    along, across = _range(row, scale)
    axes[0].set_xlim(*along)
    axes[0].set_ylim(*across)


def _range(row: Row, chosen: Sequence[int]) -> list[tuple[float, float]]:
    """Per coordinate the ends of what atoms of visible weight reach at the chosen times, with a margin."""
    assert row.atoms is not None and row.weights is not None
    seen = row.atoms[list(chosen)][:, row.weights > 1e-3 * row.weights.max()].reshape(-1, len(row.names))
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = 0.06 * np.maximum(high - low, 1e-12)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def _curves(axes: Sequence[Axes], row: Row, chosen: Sequence[int], scale: Sequence[int]) -> None:
    for ax, k in zip(axes, chosen, strict=True):
        dots = None if row.particles is None else np.ravel(row.particles[k])
        if row.density is not None:
            density(
                ax, row.centers[0], row.density[k],
                particles=dots, stationary=row.stationary, name=row.names[0], kind=row.kinds[0], label=row.label,
            )  # fmt: skip
        else:
            assert row.atoms is not None and row.weights is not None
            _distribution(ax, np.ravel(row.atoms[k]), row.weights, dots, row)
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    if row.density is None:
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].set_yticks([0.0, 0.5, 1.0])
        axes[0].set_xlim(*_range(row, scale)[0])
        return
    drawn = row.density[list(scale)]
    if row.kinds[0] != "circle":
        seen = drawn if row.stationary is None else np.vstack([drawn, row.stationary])
        axes[0].set_xlim(*window(row.centers[0], seen))
    # Room for the bars, but a narrow start does not flatten the rest.
    axes[0].set_ylim(0.0, 1.25 * float(min(drawn.max(), 2.5 * np.median(drawn.max(axis=1)))))


def _distribution(ax: Axes, atoms: np.ndarray, weights: np.ndarray, dots: np.ndarray | None, row: Row) -> None:
    """Atoms on a line: both laws by their distribution functions, which need no bins and bear a point mass."""
    if dots is not None:
        ax.ecdf(dots, color=PARTICLE, linestyle="-", linewidth=1.0, marker="", label=f"{len(dots)} particles")
    ax.ecdf(atoms, weights, color=DENSITY_MAP(0.85), linestyle="--", marker="", label=row.label)
    ax.set_xlabel(f"parameter {axis_label(row.names[0], row.kinds[0])}")
    ax.set_ylabel("distribution function")


def _explain(figure: Figure | SubFigure, ax: Axes, rows: Sequence[Row]) -> None:
    """One line under the panels that says what colours, dots and dashes are."""
    # rows of species share the particles, rows of pairs of coordinates show the same ones
    clouds = [row.particles.shape[1] for row in rows if row.particles is not None]
    counts = clouds if rows[0].tag else clouds[:1]
    total, shown = sum(counts), sum(min(count, MOST_PARTICLES) for count in counts)
    if len(rows[0].names) == 1:
        handles, labels = ax.get_legend_handles_labels()
        labels = [f"{total} particles" if label.endswith(" particles") else label for label in labels]
    else:
        dots = f"{total} particles" if shown == total else f"{shown} of {total} particles"
        handles, labels = _map_handles(rows[0], dots)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))


def _map_handles(row: Row, dots: str) -> tuple[list[Artist], list[str]]:
    handles: list[Artist] = [Patch(color=DENSITY_MAP(0.55), linewidth=0)]
    labels = [row.label]
    if row.atoms is not None:
        handles = [Line2D([], [], linestyle="", marker="o", markersize=5, alpha=0.6, color=DENSITY_MAP(0.55))]
        labels = [f"{row.label}: {row.atoms.shape[1]} atoms, area as weight"]
    if row.particles is not None:
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=2.2, markeredgewidth=0, color=PARTICLE))
        labels.append(dots)
    if row.stationary is not None:
        handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 2)), marker="", linewidth=0.8))
        labels.append("50 % and 95 % of the stationary mass")
    return handles, labels


def pick(times: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` times from first to last, quadratically denser near the start, where most happens."""
    last = len(times) - 1
    if last < count:
        return list(range(last + 1))
    wanted = times[0] + (times[last] - times[0]) * np.linspace(0.0, 1.0, count) ** 2
    return sorted({int(np.argmin(np.abs(times - time))) for time in wanted})


def pick_by_change(times: np.ndarray, density: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` times from first to last between which density[K, ...] moves equally far in total variation.

    As ``pick`` where nothing moves.
    """
    last = len(times) - 1
    moves = np.array([np.sum(np.abs(density[k + 1] - density[k])) for k in range(last)])
    if last < count or not moves.sum() > 1e-6 * np.sum(density[0]):
        return pick(times, count)
    path = np.concatenate([[0.0], np.cumsum(moves)])
    chosen = [int(np.argmin(np.abs(path - wanted))) for wanted in np.linspace(0.0, path[-1], count)]
    chosen[-1] = last  # also where it has been at rest for long
    for k in range(1, count):  # distinct
        chosen[k] = min(max(chosen[k], chosen[k - 1] + 1), last - (count - 1 - k))
    return chosen
