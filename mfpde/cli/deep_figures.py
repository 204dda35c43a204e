"""The figures of ``mfpde deep``: parametrizations over width, training beside the limit, kernels before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mfpde.io.deep.data import Samples
    from mfpde.io.deep.findings import Findings, LimitFindings
    from mfpde.io.deep.schema import Config

_PANELS = {
    "feature_change": "feature change $\\Vert h_T-h_0\\Vert/\\Vert h_0\\Vert$",
    "feature_eigenvalue": "smallest eigenvalue of $\\Phi_T$",
    "space_time_eigenvalue": "space-time eigenvalue",
}
# layers whose kernels are drawn, the last ones
_MOST_LAYERS = 4
# widths that are drawn one by one
_MOST_WIDTHS = 4


def draw(config: Config, samples: Samples, found: Findings) -> dict[str, Figure]:
    """Figures by the name of their file, those that the findings allow."""
    from mfpde import figures

    sheets: dict[str, Figure] = {}
    with figures.style():
        if found.finite:
            sheets["deep-widths"] = _widths(config, found)
        if found.limit is not None:
            sheets["deep-training"] = _training(samples, found, found.limit)
            sheets["deep-kernels"] = _kernels(samples, found.limit)
    return sheets


def _widths(config: Config, found: Findings) -> Figure:
    """The four parametrizations, deepest layer."""
    from mfpde import figures
    from mfpde.figures import deep

    figure, axes = figures.sheet(figures.DOUBLE, 2.5, 1, 3)
    for ax, (name, label) in zip(axes, _PANELS.items(), strict=True):
        curves = {}
        for kind, widths in found.finite.items():
            sizes = np.array([one.width for one in widths], dtype=float)
            mean = np.array([one.layers[name].mean[-1, -1] for one in widths])
            sem = np.array([one.layers[name].sem[-1, -1] for one in widths])
            curves[kind] = (sizes, mean, sem)
        limit = None
        if found.limit is not None:
            band = found.limit.layers[name]
            limit = (float(band.mean[-1, -1]), float(band.sem[-1, -1]))
        deep.over_width(ax, curves, limit, ylabel=label, legend=ax is axes[0])
    figure.suptitle(f"layer {config.network.depth} after training")
    return figure


def _training(samples: Samples, found: Findings, limit: LimitFindings) -> Figure:
    """Loss and eigenvalues over steps; width law and held-out predictions where there are any."""
    from mfpde import figures
    from mfpde.figures import deep

    every = found.finite.get("mup", ())
    widths = every[:: max(1, -(-len(every) // _MOST_WIDTHS))]
    has_test = limit.test_f is not None and bool(widths)
    panels = 2 + (found.law is not None) + has_test
    if panels == 4:
        figure, axes = figures.sheet(figures.DOUBLE, 5.0, 2, 2)
    else:
        figure, axes = figures.sheet(figures.DOUBLE, 2.5, 1, panels)
    deep.losses(
        axes[0],
        limit.times,
        {one.width: one.loss for one in widths},
        limit.loss,
        unreliable_from=limit.unreliable_from,
    )
    _eigenvalues(axes[1], found, limit)
    if found.law is not None:
        law = found.law
        deep.deviation(
            axes[2], np.array(law.widths, float), (law.bias, law.bias_sem), (law.fluctuation, law.fluctuation_sem)
        )
    if has_test:
        assert limit.test_f is not None
        ends = {one.width: one.record["test_f"][0, :, 0] for one in (widths[0], widths[-1])}
        deep.predictions(axes[-1], limit.test_f.mean[:, 0], ends, xlabel="held-out inputs, limit")
    return figure


def _eigenvalues(ax: Axes, found: Findings, limit: LimitFindings) -> None:
    from mfpde.figures import deep

    band = limit.layers["feature_eigenvalue"]
    widths = found.finite.get("mup", ())
    finite = [(widths[-1].layers["feature_eigenvalue"].mean, f"$N={widths[-1].width}$")] if widths else []
    theta = None if limit.bound is None else limit.bound.lowest
    deep.eigenvalues(ax, limit.times, band.mean, band.sem, theta=theta, finite=finite)


def _kernels(samples: Samples, limit: LimitFindings) -> Figure:
    """Feature kernels of the last layers before (above) and after training, samples sorted by target."""
    from mfpde import figures
    from mfpde.figures import deep

    phi = limit.summary.mean.phi
    depth = phi.shape[1]
    layers = range(max(0, depth - _MOST_LAYERS), depth)
    y = samples.y[: phi.shape[-1]]
    order = np.argsort(y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1), kind="stable")
    figure, axes = figures.sheet(0.7 + 1.6 * len(layers), 3.4, 2, len(layers))
    reach = float(np.abs(phi[:, layers[0] :][[0, -1]]).max())
    for row, (at, when) in enumerate(((0, "before"), (-1, "after"))):
        for column, layer in enumerate(layers):
            ax = axes[row * len(layers) + column]
            image = deep.kernel(ax, phi[at, layer][np.ix_(order, order)], f"$\\Phi^{layer + 1}$ {when}", reach)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-reach, 0.0, reach])
    bar.ax.set_yticklabels([f"{value:.2g}".replace("-", "\N{MINUS SIGN}") for value in (-reach, 0.0, reach)])
    return figure
