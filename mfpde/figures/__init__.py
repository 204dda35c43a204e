"""One function per figure: ``(axes, arrays) → axes``. Knows matplotlib, and neither files nor other parts of mfpde.

with figures.style():
    figure, (ax,) = figures.sheet()
    figures.energy(ax, time, free_energy, stationary_free_energy=value, gap=gap)
figures.save(figure, "energy.pdf")
"""

from mfpde.figures.chaos import decay, rates_over_time, scaled_error, uniform_in_time
from mfpde.figures.curves import energy, extrapolation, moments, risk
from mfpde.figures.densities import atom_map, colour_bar, density, density_map, marginals
from mfpde.figures.functions import class_histogram, learned_function, parity
from mfpde.figures.panels import Row, atom_rows, grid_rows, pick, pick_by_change, snapshot_rows, snapshots
from mfpde.figures.rates import collapse, order, rate
from mfpde.figures.style import DOUBLE, SINGLE, render, save, settle, sheet, style

__all__ = [
    "DOUBLE",
    "SINGLE",
    "Row",
    "atom_map",
    "atom_rows",
    "class_histogram",
    "collapse",
    "colour_bar",
    "decay",
    "density",
    "density_map",
    "energy",
    "extrapolation",
    "grid_rows",
    "learned_function",
    "marginals",
    "moments",
    "order",
    "parity",
    "pick",
    "pick_by_change",
    "rate",
    "rates_over_time",
    "render",
    "risk",
    "save",
    "scaled_error",
    "settle",
    "sheet",
    "snapshot_rows",
    "snapshots",
    "style",
    "uniform_in_time",
]
