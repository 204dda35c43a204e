"""The figure of ``mfpde kernel-limit``: crossover, learning curves, approach to the limit and filter on one sheet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mfpde.io.kernel_limit.records import Row, Task
    from mfpde.io.kernel_limit.run import Outcome
    from mfpde.io.kernel_limit.schema import Config

# so many learning curves, and times at which the filter is shown
_CURVES, _TIMES = 5, 3


def draw(config: Config, found: Outcome) -> Figure:
    """Two rows of two panels."""
    from mfpde import figures

    with figures.style():
        figure, (crossover, curves, approach, modes) = figures.sheet(figures.DOUBLE, 5.4, 2, 2)
        _crossover(crossover, found)
        _curves(curves, found)
        _approach(approach, config, found)
        _modes(modes, config, found)
    return figure


def _of(found: Outcome, law: str) -> list[tuple[Task, Row]]:
    return sorted((item for item in found.rows.items() if item[0].law == law), key=lambda item: item[0])


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices of ``count``, the ends among them."""
    return sorted({round(k * (count - 1) / max(most - 1, 1)) for k in range(most)})


def _crossover(ax: Axes, found: Outcome) -> None:
    from mfpde.figures import kernel_limit

    which, label = _shown(found)
    flows, ends = _of(found, "initial"), found.limit.ends
    levels = {
        "kernel, same time": float(getattr(ends, which)[0]),
        "kernel of these neurons": float(getattr(found.own_end, which)[0]),
    }
    if which == "test":
        levels["interpolation"] = float(ends.test[1])
    scales = np.array([task.scale for task, _ in flows])
    last = np.array([getattr(row, f"{which}_error")[-1] for _, row in flows])
    kernel_limit.crossover(ax, scales, last, levels, ylabel=label)


def _shown(found: Outcome) -> tuple[str, str]:
    return ("test", "test error") if len(found.setting.y_test) else ("train", "training error")


def _curves(ax: Axes, found: Outcome) -> None:
    from mfpde.figures import kernel_limit

    which, label = _shown(found)
    flows, limit = _of(found, "initial"), found.limit
    chosen = [flows[k] for k in _spread(len(flows), _CURVES)]
    curves = {task.scale: getattr(row, f"{which}_error") for task, row in chosen}
    kept = limit.times <= 1.5 * found.setting.times[-1]
    kernel_limit.learning_curves(
        ax, found.setting.times, curves, limit.times[kept], getattr(limit.stopping, which)[kept], ylabel=label
    )


def _approach(ax: Axes, config: Config, found: Outcome) -> None:
    from mfpde.figures import kernel_limit

    names = {"initial": "$\\|u^\\alpha-u^*\\|$", "skewed": "$\\|u^\\alpha-u^*\\|$, $a$ skewed"}
    lines = {}
    for law, label in names.items():
        flows = _of(found, law)
        if flows:
            fit = found.rates[law]["distance"]
            lines[label] = (
                np.array([task.scale for task, _ in flows]),
                np.array([row.distance[-1] for _, row in flows]),
                None if fit is None else (fit.slope, fit.prefactor),
            )
    flows = _of(found, "initial")
    scales = np.array([task.scale for task, _ in flows])
    changes = np.array([row.kernel_change[-1] for _, row in flows])
    lines["change of the kernel"] = (scales, changes, None)
    kernel_limit.approach(ax, lines, fit_from=config.kernel_limit.fit_from)


def _modes(ax: Axes, config: Config, found: Outcome) -> None:
    """What the flow at the largest scale has learned of each mode, against the filter."""
    from mfpde.figures import kernel_limit
    from mfpde.theory.kernel_limit.linearised import coordinates, gains

    task, row = _of(found, "initial")[-1]
    spectrum, y, times = found.own.spectrum, found.setting.problem.data.y, found.setting.times
    target = coordinates(spectrum, y)
    # a mode that hardly occurs in the targets divides noise by noise
    told = np.abs(target) > 0.02 * np.linalg.norm(target) / np.sqrt(len(target))
    told &= spectrum.eigenvalues > spectrum.tolerance
    lines = np.geomspace(0.7 * spectrum.eigenvalues[told].min(), 1.4 * spectrum.eigenvalues[0], 200)
    everywhere = replace(spectrum, eigenvalues=lines)
    filters = []
    for k in [round(share * (len(times) - 1)) for share in (0.34, 0.67, 1.0)][-_TIMES:]:
        learned = coordinates(spectrum, row.f[k])[told] / target[told]
        filters.append((float(times[k]), gains(everywhere, float(times[k]), config.kernel_limit.ridge), learned))
    kernel_limit.filters(ax, lines, spectrum.eigenvalues[told], filters, scale=task.scale)
