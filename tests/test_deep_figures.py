"""The panels of ``mfpde deep``: legible, and with the numbers they were given."""

from __future__ import annotations

import legibility
import numpy as np
import pytest
from matplotlib.figure import Figure

from mfpde import figures
from mfpde.figures import deep

STEPS = np.arange(31)
SIZES = np.array([64.0, 256.0, 1024.0])


def _over_width() -> Figure:
    curves = {
        "mup": (SIZES, np.array([1.68, 1.66, 1.64]), np.array([0.02, 0.01, 0.004])),
        "ntk": (SIZES, 2.4 / np.sqrt(SIZES), 0.1 / SIZES),
        "standard": (SIZES, 1.7 / np.sqrt(SIZES), np.full(3, np.nan)),
        "integrable": (SIZES, 1.2 * SIZES, 0.1 * SIZES),
    }
    figure, (ax,) = figures.sheet()
    deep.over_width(ax, curves, (1.636, 0.002), ylabel="feature change", legend=True)
    return figure


def _singular() -> Figure:
    figure, (ax,) = figures.sheet()
    sizes = SIZES[:2]
    deep.over_width(ax, {"mup": (sizes, np.array([-3e-17, 2e-17]), np.full(2, 1e-17))}, (2e-17, 7e-18), ylabel="none")
    return figure


def _losses() -> Figure:
    curve = 0.5 * np.exp(-0.3 * STEPS)
    widths = {n: (curve * (1 + 20 / n), 0.1 * curve / np.sqrt(n)) for n in (64, 256, 1024)}
    figure, (ax,) = figures.sheet()
    deep.losses(ax, STEPS, widths, (curve, 0.0 * curve), unreliable_from=25)
    return figure


def _eigenvalues() -> Figure:
    mean = 0.02 * np.exp(-0.02 * STEPS[:, None] * np.array([1.0, 2.0, 3.0]))
    mean[-1, -1] = -1e-18
    figure, (ax,) = figures.sheet()
    deep.eigenvalues(ax, STEPS, mean, 0.01 * mean, theta=5 * mean[:, 0], finite=[(0.9 * mean, "$N=1024$")])
    return figure


def _deviation() -> Figure:
    figure, (ax,) = figures.sheet()
    bias = np.array([0.4 / 64, 0.4 / 256, -1e-5])
    deep.deviation(ax, SIZES, (bias, np.full(3, 2e-4)), (0.27 / np.sqrt(SIZES), 0.002 / np.sqrt(SIZES)))
    return figure


def _kernel() -> Figure:
    figure, (ax,) = figures.sheet(2.2, 2.0)
    image = deep.kernel(ax, np.eye(8), "$\\Phi^1$ before", 1.0)
    figure.colorbar(image, ax=ax)
    return figure


def _predictions() -> Figure:
    figure, (ax,) = figures.sheet()
    limit = np.linspace(-1.2, 1.1, 30)
    deep.predictions(ax, limit, {64: limit + 0.1 * np.sin(9 * limit), 1024: limit + 0.02 * np.cos(7 * limit)})
    return figure


@pytest.mark.parametrize("draw", [_over_width, _singular, _losses, _eigenvalues, _deviation, _kernel, _predictions])
def test_every_panel_is_legible_and_drawn_alike_twice(draw) -> None:
    with figures.style():
        figure = draw()
    first = figures.render(figure)
    assert legibility.faults(figure) == []
    with figures.style():
        assert figures.render(draw()) == first


def test_values_that_are_not_positive_are_left_out_or_at_the_floor() -> None:
    with figures.style():
        (ax,) = _deviation().axes
        guides = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
        assert len(guides) == 2
        # the guide of slope -1 through a point that is known: 0.4 / N
        x, y = guides[0].get_data()
        assert y[0] * x[0] == pytest.approx(0.4)
        (eigen,) = _eigenvalues().axes
        (singular,) = _singular().axes
    assert singular.get_ylim()[0] < deep.FLOOR and singular.get_ylim()[1] >= 1.0
    drawn = np.concatenate([line.get_ydata() for line in eigen.get_lines()])
    assert drawn.min() == deep.FLOOR
