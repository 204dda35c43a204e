"""The figures of the measures of ``mfpde compare``, drawn from their numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

NAMES = {"coupling": "coupling", "function": "function", "function_iid": "independent neurons"}
# widths in a panel over time
MOST_WIDTHS = 4


def chaos(result: dict[str, Any]) -> Figure:
    """N times the function error over widths and over time with its constants, exponents over time, coupling, gain."""
    from mfpde import figures

    panels = [_function_over_widths, _function_over_time, _exponents, _coupling_over_time]
    figure, axes = figures.sheet(figures.DOUBLE, 4.8, 2, 2)
    for ax, panel in zip(axes, panels, strict=True):
        panel(ax, result)
    return figure


def _function_over_widths(ax: Axes, result: dict[str, Any]) -> None:
    from mfpde import figures

    rows, rest = result["errors"][-1]["widths"], result["stationary"]
    widths = np.array([row["width"] for row in rows], float)
    averages = None if rest is None else rest.get("averages")
    measured = {}
    for kind, label in (("function", "networks"), ("function_iid", "independent")):
        if averages is not None and kind in averages[0]:
            values = [(a[kind], a[f"{kind}_sem"]) for a in averages]
        elif kind in rows[0]:
            values = [(row["width"] * row[kind], row["width"] * row[f"{kind}_sem"]) for row in rows]
        else:
            continue
        mean, sem = np.array(values, float).T
        measured[label] = (widths, mean, sem)
    levels: dict[str, float] = {}
    if rest is not None and rest["constants"] is not None:
        levels = {
            "trace, one neuron's variance": rest["constants"]["iid_trace"],
            "$C_{\\mathrm{PoC}}$": rest["constants"]["propagation_of_chaos"],
        }
        oracle = rest["oracle"]["widths"]
        if oracle:
            measured["importance sampling"] = _points(oracle, "function_error")
    figures.scaled_error(ax, measured, levels, ylabel="$N\\,\\mathrm{E}\\,\\|f_N-f\\|^2$")
    ax.set_title("at rest" if averages is not None else f"$t$ = {result['errors'][-1]['time']:g}")


def _function_over_time(ax: Axes, result: dict[str, Any]) -> None:
    from mfpde import figures

    times = np.array(result["times"])
    rest = result["stationary"]
    levels = {}
    if rest is not None and rest["constants"] is not None:
        levels = {"$C_{\\mathrm{PoC}}$": rest["constants"]["propagation_of_chaos"]}
    known = result["iid_exact"]
    exact = None if known is None else (times, np.array(known), "independent, exact")
    figures.uniform_in_time(
        ax, times, _curves(result, "function"), exact=exact, levels=levels, ylabel="$N\\,\\mathrm{E}\\,\\|f_N-f\\|^2$"
    )


def _coupling_over_time(ax: Axes, result: dict[str, Any]) -> None:
    from mfpde import figures

    kind = "coupling" if "coupling" in result["uniformity"] else "function"
    overall = result["uniformity"][kind]["overall"]
    figures.uniform_in_time(
        ax, np.array(result["times"]), _curves(result, kind), supremum=(overall["corrected"], *overall["interval"]),
        ylabel=f"$N\\times$ {NAMES[kind]} error",
    )  # fmt: skip


def _curves(result: dict[str, Any], kind: str) -> dict[int, tuple[Array, Array, Array]]:
    found, widths = result["uniformity"][kind], result["widths"]
    shown = np.unique(np.linspace(0, len(widths) - 1, min(len(widths), MOST_WIDTHS)).round().astype(int))
    scaled, low, high = (np.array(found[name], float) for name in ("scaled", "low", "high"))
    return {widths[k]: (scaled[k], low[k], high[k]) for k in shown}


def _exponents(ax: Axes, result: dict[str, Any]) -> None:
    from mfpde import figures

    lines = {}
    for kind, label in NAMES.items():
        entries = [e for e in result["rates"].get(kind, []) if e["slope"] is not None]
        if entries:
            intervals = [(np.nan, np.nan) if e["ci"] is None else tuple(e["ci"]) for e in entries]
            lines[label] = (
                np.array([e["time"] for e in entries]),
                np.array([e["slope"] for e in entries]),
                np.array(intervals, float),
            )
    if lines:
        figures.rates_over_time(ax, lines)
    else:
        ax.set_axis_off()


def _points(entries: list[dict[str, Any]], name: str) -> tuple[Array, Array, Array]:
    """Widths, values and standard errors of one quantity."""
    columns = [[e[key] for e in entries] for key in ("width", name, f"{name}_sem")]
    return np.array(columns[0], float), np.array(columns[1], float), np.array(columns[2], float)


def oracle(result: dict[str, Any]) -> Figure | None:
    """N times the function error and the gap of the free energy at rest against the width, with their constants."""
    from mfpde import figures

    rest = result["stationary"]
    entries, constants = rest["oracle"]["widths"], rest["constants"]
    if not entries:
        return None
    figure, axes = figures.sheet(figures.DOUBLE, 2.6, 1, 2)
    panels = (
        ("function_error", "$N\\,\\mathrm{E}\\,\\|f_N-f\\|^2$", "propagation_of_chaos", "$C_{\\mathrm{PoC}}$", 1.0),
        ("free_energy_gap", "$F^N_{\\min}-N F^*$", "log_determinant_gap", "log-determinant", 0.5),
    )
    for ax, (name, ylabel, constant, label, share) in zip(axes, panels, strict=True):
        levels = {}
        if constants is not None:
            bound = "trace, an upper bound" if share == 1.0 else "half the trace, an upper bound"
            levels = {label: constants[constant], bound: share * constants["iid_trace"]}
        figures.scaled_error(ax, {"importance sampling": _points(entries, name)}, levels, ylabel=ylabel)
    return figure


def convergence(result: dict[str, Any]) -> Figure:
    """F - F* over time with the sharp, the Poincare and the certified rate."""
    from mfpde import figures

    times, gaps = np.array(result["times"]), np.array(result["gaps"])
    guides = {}
    if result["excited"] not in (None, result["sharp"]):
        guides["slowest mode present"] = result["excited"]
    guides["sharp $2\\Lambda$"] = result["sharp"]
    if abs(result["poincare"] - result["sharp"]) > 1e-3 * result["sharp"]:
        guides["Poincaré $2\\tau\\lambda$"] = result["poincare"]
    bound = result["certified_bound"]
    certified = None if bound is None else (times, np.array(bound))
    figure, (ax,) = figures.sheet(figures.SINGLE, 2.8)
    figures.decay(ax, times, gaps, guides, certified=certified, floor=result["floor"])
    return figure


def step(result: dict[str, Any]) -> Figure | None:
    """N times the function error against the width at both steps and extrapolated to step 0."""
    from mfpde import figures

    shown = [name for name in ("function_error", "coupling_error") if name in result["quantities"]]
    if not shown:
        return None
    figure, axes = figures.sheet(figures.SINGLE * len(shown), 2.6, 1, len(shown))
    for ax, name in zip(axes, shown, strict=True):
        found = result["quantities"][name]
        widths = np.array([row["width"] for row in found["widths"]], float)
        measured = {}
        for k, value in enumerate(result["steps"]):
            mean, sem = np.array([(r["at_steps"][k]["mean"], r["at_steps"][k]["sem"]) for r in found["widths"]]).T
            measured[f"step {value:g}"] = (widths, widths * mean, widths * sem)
        mean, sem = np.array([(r["extrapolated"], r["extrapolated_sem"]) for r in found["widths"]]).T
        measured["step 0, extrapolated"] = (widths, widths * mean, widths * sem)
        figures.scaled_error(ax, measured, {}, ylabel=f"$N\\times$ {name.replace('_', ' ')}")
    return figure
