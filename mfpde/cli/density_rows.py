"""The density figure: what its rows show for a grid, for atoms, and for particles without a limit."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfpde.cli.arrays import Ensemble, Output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mfpde.figures import Row

Array = NDArray[np.float64]

PANELS = 4
# bins of the histogram that stands for the density where there is no limit
POOLED_BINS = 40


def density(output: Output) -> Figure | None:
    """Density snapshots with the particles of one network of the largest width."""
    from mfpde import figures

    if output.grid is not None and not len(output.grid.times):
        return _stationary_density(output)
    times, rows = rows_of(output)
    if not rows:
        return None
    height = (1.9 if len(rows[0].names) == 1 else 1.75) * len(rows) + 0.4
    figure, _ = figures.sheet(figures.DOUBLE, height, rows=0)
    figures.snapshot_rows(figure, times, rows, chosen(output, times))
    return figure


def chosen(output: Output, times: Array) -> list[int]:
    """Snapshots between which the limit moves equally far."""
    from mfpde import figures

    if output.grid is not None:
        return figures.pick_by_change(times, output.grid.density[: len(times)], PANELS)
    if output.atoms is not None:
        return figures.pick_by_change(times, output.atoms.theta[: len(times)], PANELS)
    return figures.pick(times, PANELS)


def rows_of(output: Output) -> tuple[Array, list[Row]]:
    """Times [K] and what the rows of the density figure show at them."""
    from mfpde import figures

    names, kinds = [c.name for c in output.coordinates], [c.kind for c in output.coordinates]
    limit = output.grid or output.atoms
    times = limit.times if limit is not None else output.ensembles[-1].times if output.ensembles else np.zeros(0)
    widest = output.ensembles[-1] if output.ensembles and output.ensembles[-1].values.shape[-1] else None
    if widest is not None and len(widest.times) > 1:  # an unfinished ensemble ends earlier than the limit
        times = times[: len(widest.times)]
    elif limit is not None:
        widest = None
    cloud = None if widest is None else widest.values[: len(times), 0]
    if output.atoms is not None:
        theta = output.atoms.theta[: len(times)]
        return times, figures.atom_rows(names, kinds, theta, output.atoms.weights, particles=cloud)
    if output.grid is not None:
        return times, _grid_rows(output, len(times), cloud, widest)
    return (times, _pooled_rows(widest, names, kinds)) if widest is not None else (times, [])


def _grid_rows(output: Output, count: int, cloud: Array | None, widest: Ensemble | None) -> list[Row]:
    """One row per species of a frozen sign, the sum over species where there are more."""
    from mfpde import figures

    grid = output.grid
    assert grid is not None
    names, kinds = [c.name for c in output.coordinates], [c.kind for c in output.coordinates]
    total, rest = grid.density[:count], grid.stationary
    if total.shape[1] != 2 or len(names) == 3:
        summed = None if rest is None else rest.sum(axis=0)
        return figures.grid_rows(names, kinds, grid.centers, total.sum(axis=1), particles=cloud, stationary=summed)
    rows: list[Row] = []
    for k, probability in enumerate(grid.probabilities):
        members = None if cloud is None or widest is None else cloud[:, widest.species[0] == k]
        tag = ", ".join(f"${name}={values[k]:g}$" for name, values in grid.species.items())
        rows += figures.grid_rows(
            names, kinds, grid.centers, total[:, k] / probability,
            particles=members, stationary=None if rest is None else rest[k] / probability, tag=tag,
        )  # fmt: skip
    return rows


def _pooled_rows(widest: Ensemble, names: list[str], kinds: list[str]) -> list[Row]:
    """Without a limit: the histogram of all replicas of the largest width, under the particles of one."""
    from mfpde import figures

    pooled = widest.values.reshape(len(widest.times), -1, len(names))
    low, high = np.quantile(pooled, 0.001, axis=1).min(axis=0), np.quantile(pooled, 0.999, axis=1).max(axis=0)
    margin = 0.1 * (high - low) + 1e-12
    ends = zip(low - margin, high + margin, strict=True)
    edges = [np.linspace(lo, hi, POOLED_BINS + 1) for lo, hi in ends]
    centers = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
    rows = []
    for keep in combinations(range(len(names)), min(2, len(names))):
        columns, bins = list(keep), [edges[i] for i in keep]
        heights = np.stack([np.histogramdd(values[:, columns], bins, density=True)[0] for values in pooled])
        rows.append(
            figures.Row(
                [names[i] for i in keep],
                [kinds[i] for i in keep],
                [centers[i] for i in keep],
                heights,
                particles=widest.values[:, 0][..., columns],
                label="all replicas",
            )
        )
    return rows


def _stationary_density(output: Output) -> Figure:
    """A stationary measure on its own."""
    from mfpde import figures

    grid = output.grid
    assert grid is not None
    names, kinds = [c.name for c in output.coordinates], [c.kind for c in output.coordinates]
    rows = figures.grid_rows(names, kinds, grid.centers, grid.density.sum(axis=1), label="stationary")
    figure, axes = figures.sheet(figures.SINGLE if len(rows) == 1 else figures.DOUBLE, 2.4, 1, len(rows))
    for ax, row in zip(axes, rows, strict=True):
        assert row.density is not None
        if len(row.names) == 1:
            figures.density(ax, row.centers[0], row.density[0], name=names[0], kind=kinds[0], label="stationary")
        else:
            figures.density_map(ax, row.centers[0], row.centers[1], row.density[0], names=row.names, kinds=row.kinds)
            figures.colour_bar([ax])
    return figure
