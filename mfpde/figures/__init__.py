"""One function per figure: ``(axes, arrays) → axes``. Knows matplotlib, and neither files nor other parts of mfpde.

with figures.style():
    figure, (ax,) = figures.sheet()
    figures.energy(ax, time, free_energy, stationary_free_energy=value, gap=gap)
figures.save(figure, "energy.pdf")
"""

from mfpde.figures.curves import energy, moments, risk
from mfpde.figures.densities import colour_bar, density, density_map, marginals, snapshots
from mfpde.figures.functions import learned_function
from mfpde.figures.rates import order, rate
from mfpde.figures.style import DOUBLE, SINGLE, render, save, sheet, style

__all__ = [
    "DOUBLE",
    "SINGLE",
    "colour_bar",
    "density",
    "density_map",
    "energy",
    "learned_function",
    "marginals",
    "moments",
    "order",
    "rate",
    "render",
    "risk",
    "save",
    "sheet",
    "snapshots",
    "style",
]
