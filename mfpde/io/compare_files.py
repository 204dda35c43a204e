"""Two outputs of any kind against each other at their common times, as the numbers that ``mfpde compare`` prints.

Risk, free energy, predictions at common nodes, moments and Wasserstein distances; between a limit and an ensemble also
the function and coupling errors that were measured while the ensemble ran, and their rates in the width.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.compare import laws
from mfpde.compare.laws import Law
from mfpde.compare.rates import fit_rate
from mfpde.errors import ConfigError, MfpdeError
from mfpde.io.outputs import Output, at_rest, law
from mfpde.io.summary import sem

Array = NDArray[np.float64]

METRICS = ("risk", "function", "moments", "w2", "ot")
TIME_TOLERANCE = 1e-9
ERRORS = ("function_error", "function_error_iid", "coupling_error")


def compare_outputs(a: Output, b: Output, metrics: Collection[str]) -> dict[str, Any]:
    """All numbers of a comparison by ``metrics`` (of METRICS), ready for JSON; ``largest`` is their largest deviation.

    Densities are compared at a third, two thirds and the end of the common times, curves at all of them. Raises
    ConfigError if the outputs have no parameter or no time in common.
    """
    if "stationary" in (a.kind, b.kind):
        a, b = at_rest(a), at_rest(b)
    steps = common_times(a, b)
    chosen = steps if len(steps) < 4 else [steps[round(share * (len(steps) - 1))] for share in (1 / 3, 2 / 3, 1.0)]
    widths = width_pairs(a, b)
    names = _common_names(a, b, steps[-1], widths[-1])
    result: dict[str, Any] = {
        "a": _about(a),
        "b": _about(b),
        "same_study": a.config == b.config,
        "times": [_time(a, b, step) for step in steps],
        "parameters": names,
    }
    if "risk" in metrics:
        result["risk"] = [_risk(a, b, steps, pair) for pair in widths]
        result["free_energy"] = _energies(a, b, steps[-1])
    if "function" in metrics:
        result["function"] = _functions(a, b, chosen)
        shown = chosen[-1:] if a.kind == b.kind else chosen
        measured = [o for o in (a, b) if any(set(ERRORS) & set(series) for series in o.series.values())]
        result["ensemble"] = [_ensemble(o, a, b, step) for o in measured for step in shown]
    if set(metrics) & {"moments", "w2", "ot"}:
        result["laws"] = [_laws(a, b, step, pair, names, metrics) for step in chosen for pair in widths]
    result["largest"] = max(_deviations(result), default=0.0)
    return result


def common_times(a: Output, b: Output) -> list[tuple[int, int]]:
    """Index pairs of the stored times that two outputs share; the last of each where one is a stationary measure."""
    if "stationary" in (a.kind, b.kind):
        return [(len(a.times) - 1, len(b.times) - 1)]
    tolerance = TIME_TOLERANCE * max(1.0, float(a.times[-1]), float(b.times[-1]))
    nearest = np.abs(b.times[None, :] - a.times[:, None]).argmin(axis=1)
    pairs = [(i, int(j)) for i, j in enumerate(nearest) if abs(b.times[j] - a.times[i]) <= tolerance]
    if not pairs:
        raise ConfigError("times", f"of {a.path} and {b.path} have no value in common")
    return pairs


def width_pairs(a: Output, b: Output) -> list[tuple[int, int]]:
    """Widths to compare: every width with a limit, equal widths of two ensembles, the widest if none are equal."""
    if a.kind == b.kind == "particles":
        common = [(width, width) for width in a.widths if width in b.widths]
        return common or [(max(a.widths), max(b.widths))]
    return [(v, w) for v in a.widths for w in b.widths]


def _common_names(a: Output, b: Output, step: tuple[int, int], widths: tuple[int, int]) -> list[str]:
    """Parameters that both have and that move in at least one of them."""
    first, second = (law(o, k, width)[0].names for o, k, width in zip((a, b), step, widths, strict=True))
    names = [name for name in first if name in second]
    if not names:
        raise ConfigError(
            "compare",
            f"finds no parameter in common: {a.path} has {', '.join(first)}, {b.path} has {', '.join(second)}",
        )
    return [name for name in names if name[0] in a.moving or name[0] in b.moving]


def _about(output: Output) -> dict[str, Any]:
    title = output.config.title
    return {"file": output.path, "kind": output.kind, "title": title, "finished": output.finished}


def _time(a: Output, b: Output, step: tuple[int, int]) -> float | None:
    """Time of a comparison; None at rest."""
    t = float(min(a.times[step[0]], b.times[step[1]]))
    return t if np.isfinite(t) else None


# ---- curves ----------------------------------------------------------------------------------------------------


def _risk(a: Output, b: Output, steps: list[tuple[int, int]], widths: tuple[int, int]) -> dict[str, Any]:
    first = a.risk[widths[0]][[i for i, _ in steps]]
    second = b.risk[widths[1]][[j for _, j in steps]]
    gap = np.abs(first.mean(axis=1) - second.mean(axis=1))
    worst = int(gap.argmax())
    return {
        "width_a": widths[0] or None,
        "width_b": widths[1] or None,
        "a": float(first[-1].mean()),
        "a_sem": sem(first[-1]),
        "b": float(second[-1].mean()),
        "b_sem": sem(second[-1]),
        "final_difference": float(gap[-1]),
        "largest_difference": float(gap[worst]),
        "largest_at": _time(a, b, steps[worst]),
    }


def _energies(a: Output, b: Output, step: tuple[int, int]) -> dict[str, Any] | None:
    """Free energies at the last common time, and of the stationary measures."""
    if a.free_energy is None or b.free_energy is None:
        return None
    first, second = float(a.free_energy[step[0]]), float(b.free_energy[step[1]])
    found: dict[str, Any] = {"a": first, "b": second, "difference": abs(first - second)}
    if a.rest is not None and b.rest is not None:
        found |= {"rest_a": a.rest, "rest_b": b.rest, "rest_difference": abs(a.rest - b.rest)}
    return found


def _functions(a: Output, b: Output, steps: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """sqrt(sum_q |c_q| (f_a - f_b)^2) where both predict at the same nodes."""
    if a.f is None or b.f is None or not _same_nodes(a.nodes, b.nodes):
        return []
    weights = np.abs(a.nodes["weight"])
    return [
        {"time": _time(a, b, (i, j)), "difference": float(np.sqrt(np.sum(weights * (a.f[i] - b.f[j]) ** 2)))}
        for i, j in steps
    ]


def _same_nodes(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return first.keys() == second.keys() and all(
        first[name].shape == second[name].shape and np.allclose(first[name], second[name], rtol=1e-12, atol=1e-14)
        for name in first
    )


def _ensemble(output: Output, a: Output, b: Output, step: tuple[int, int]) -> dict[str, Any]:
    """Errors of an ensemble against the limit that drove it, per width, and their exponents in the width."""
    k = step[0] if output is a else step[1]
    widths = []
    for width, series in output.series.items():
        entry: dict[str, Any] = {"width": width}
        for name in ERRORS:
            if name in series:
                entry[name], entry[f"{name}_sem"] = float(series[name][k].mean()), sem(series[name][k])
        widths.append(entry)
    rates = {name: rate for name in ERRORS if (rate := _rate(output, name, k)) is not None}
    return {"of": "a" if output is a else "b", "time": _time(a, b, step), "widths": widths, "rates": rates}


def _rate(output: Output, name: str, k: int) -> dict[str, Any] | None:
    samples = {width: series[name][k] for width, series in output.series.items() if name in series}
    try:
        rate = fit_rate(list(samples), list(samples.values()))
    except MfpdeError:  # a single width, or errors that vanish: at the start copies and particles coincide
        return None
    return {"slope": rate.slope, "ci": None if rate.ci is None else list(rate.ci), "method": rate.method}


# ---- laws ------------------------------------------------------------------------------------------------------


def _laws(
    a: Output, b: Output, step: tuple[int, int], widths: tuple[int, int], names: list[str], metrics: Collection[str]
) -> dict[str, Any]:
    """Distances and moments of two laws at one time; distances are roots of means of W2^2 over replicas."""
    first, second = law(a, step[0], widths[0]), law(b, step[1], widths[1])
    entry: dict[str, Any] = {"time": _time(a, b, step), "width_a": widths[0] or None, "width_b": widths[1] or None}
    if "w2" in metrics:
        entry |= _w2(first, second, names, names if a.circular or b.circular else ())
    if "ot" in metrics:
        entry["w2_exact"] = float(np.sqrt(np.mean(laws.exact_distances(first, second, names))))
        entry["w2_exact_cell_error"] = laws.cell_error(first, second, names)
    if "moments" in metrics:
        entry["moments"] = _moments(first, second)
    return entry


def _w2(first: Law, second: Law, names: list[str], circles: Collection[str]) -> dict[str, Any]:
    each = laws.coordinate_distances(first, second, names, tuple(circles))
    roots = {name: float(np.sqrt(np.mean(values))) for name, values in each.items()}
    joint = next(iter(roots.values())) if len(roots) == 1 else None
    if len(roots) > 1:
        joint = float(np.sqrt(np.mean(laws.joint_distances(first, second, names))))
    return {"w2": joint, "w2_is": "exact" if len(roots) == 1 else "sliced", "w2_coordinates": roots}


def _moments(first: Law, second: Law) -> dict[str, Any]:
    one, other = laws.mean_moments(first), laws.mean_moments(second)
    return {
        name: {
            "a": one[name][0],
            "a_sem": one[name][1],
            "b": other[name][0],
            "b_sem": other[name][1],
            "difference": [abs(x - y) for x, y in zip(one[name][0], other[name][0], strict=True)],
        }
        for name in one
        if name in other
    }


def _deviations(result: dict[str, Any]) -> list[float]:
    """Every deviation in a comparison: all zero if the outputs agree in whatever was compared."""
    found = [entry["largest_difference"] for entry in result.get("risk", [])]
    energies = result.get("free_energy") or {}
    found += [energies[key] for key in ("difference", "rest_difference") if key in energies]
    found += [entry["difference"] for entry in result.get("function", [])]
    for entry in result.get("laws", []):
        found += [entry[key] for key in ("w2", "w2_exact") if key in entry]
        found += list(entry.get("w2_coordinates", {}).values())
        found += [max(m["difference"]) for m in entry.get("moments", {}).values()]
    return found
