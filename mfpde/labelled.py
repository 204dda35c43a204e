"""Measures on a grid as labelled arrays of xarray, which is an extra and imported on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfpde.measures import Grid, GridMeasure

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]


def densities(times: Sequence[float], measures: Sequence[GridMeasure]) -> xarray.Dataset:
    """``density`` over time, species where there are several, and the coordinates of the last grid, cell centres.

    Densities are per unit of the reduced coordinates, joint with the species.  A grid may grow along the way; cells
    added later hold 0 before.  Raises ImportError that says what to install where xarray is absent.
    """
    try:
        import xarray
    except ImportError:
        raise ImportError("labelled arrays need the package xarray: pip install xarray") from None
    grid = measures[-1].grid
    data = np.stack([_on_grid(measure, grid) for measure in measures])
    dims: tuple[str, ...] = ("time", "species", *grid.names)
    coordinates: dict[str, tuple[str, Array]] = {"time": ("time", np.asarray(times))}
    if grid.shape[0] == 1:
        data, dims = data[:, 0], ("time", *grid.names)
    else:
        coordinates["species_probability"] = ("species", grid.species.probabilities)
        for k, name in enumerate(grid.species.names):
            coordinates[f"species_{name}"] = ("species", grid.species.values[:, k])
    coordinates |= {axis.name: (axis.name, axis.centers) for axis in grid.axes}
    return xarray.Dataset({"density": (dims, data)}, coordinates)


def _on_grid(measure: GridMeasure, grid: Grid) -> Array:
    """The density on a grid that continues the cells of its own : [K, n_1, ..., n_D]."""
    inside = [slice(None)]
    for inner, outer in zip(measure.grid.axes, grid.axes, strict=True):
        before = round((inner.lower - outer.lower) / outer.width)
        inside.append(slice(before, before + inner.cells))
    density = np.zeros(grid.shape)
    density[tuple(inside)] = measure.density
    return density
