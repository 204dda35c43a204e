"""Propagation of chaos in the outputs of a run: the numbers that ``mfpde compare --metric chaos`` prints and draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import meanfield
from mfpde.compare import chaos, laws
from mfpde.compare.laws import Law
from mfpde.compare.rates import Rate
from mfpde.errors import ConfigError
from mfpde.io.build import Study
from mfpde.io.limit import Limit
from mfpde.io.outputs import Output, law
from mfpde.io.rest import at_rest, open_limit
from mfpde.io.summary import sem
from mfpde.tabulate import Tabulated, tabulate
from mfpde.theory.sectors import independent_trace

Array = NDArray[np.float64]

SERIES = {"coupling": "coupling_error", "function": "function_error", "function_iid": "function_error_iid"}
# times at which rates are fitted, equally spaced among the stored ones, the start left out
SHOWN = 5
# replicas whose empirical measures are compared with the limit: their distance varies little
CLOUDS = 64
# KL(rho_t | pi) up to which a time counts as rest, where the constants of the stationary state hold
AT_REST = 1e-3


def propagation(limit_output: Output, ensemble: Output, *, half_width: float, draws: int) -> dict[str, Any]:
    """Errors, exponents, sups over time, gain over independent neurons, constants and oracle, ready for JSON.

    ``half_width``: the wanted 95 % interval of an exponent, for the number of replicas; ``draws`` of the oracle per
    width. Raises ConfigError if the ensemble was not driven by this limit, or has a single width or replica.
    """
    study, limit = open_limit(limit_output)
    _require_own(limit_output, ensemble)
    widths = sorted(ensemble.series)
    paths = {
        kind: [ensemble.series[width][name] for width in widths]
        for kind, name in SERIES.items()
        if all(name in ensemble.series[width] for width in widths)
    }
    table = tabulate(study.problem, limit.grid)
    times = ensemble.times
    shown = np.unique(np.linspace(min(1, len(times) - 1), len(times) - 1, SHOWN).round().astype(int))
    clouds = {width: _distances(study, limit, ensemble, width, shown) for width in widths}
    result: dict[str, Any] = {
        "limit": limit_output.path,
        "particles": ensemble.path,
        "title": study.config.title or study.name,
        "times": times.tolist(),
        "shown": times[shown].tolist(),
        "widths": widths,
        "replicas": int(next(iter(paths.values()))[0].shape[1]),
        "kinds": _kinds(study),
        "errors": [_errors(paths, clouds, widths, times, k, i) for i, k in enumerate(shown)],
        "rates": _rates(paths, clouds, widths, times, shown, study),
        "uniformity": {k: _uniformity(widths, paths[k], times) for k in ("coupling", "function") if k in paths},
        "iid_exact": _independent(table, limit),
        "needed_replicas": {
            kind: _needed(widths, [path[-1] for path in paths[kind]], half_width) for kind in paths if len(widths) > 1
        },
        "wanted_half_width": half_width,
    }
    if "function_iid" in paths:
        gain = chaos.iid_gain(paths["function"], paths["function_iid"])
        result["gain"] = {name: getattr(gain, name)[:, shown].tolist() for name in ("ratio", "low", "high")}
    result["one_particle"] = _one_particle(study, limit, ensemble, widths)
    result["stationary"] = _at_rest(limit, table, paths, widths, times, draws)
    return result


def _require_own(limit: Output, ensemble: Output) -> None:
    if limit.config != ensemble.config:
        raise ConfigError(
            "--metric",
            f"is chaos, which needs an ensemble and the limit that drove it; {limit.path} and {ensemble.path} come"
            " from different studies",
        )
    replicas = {values["risk"].shape[1] for values in ensemble.series.values()}
    if min(replicas) < 2:
        raise ConfigError("particles.replicas", f"is {min(replicas)} in {ensemble.path}; intervals need at least 2")
    if not any("function_error" in series for series in ensemble.series.values()):
        raise ConfigError("--metric", f"is chaos, but {ensemble.path} was run without a limit to compare with")


# ---- distances of empirical measures ---------------------------------------------------------------------------


def _distances(study: Study, limit: Limit, ensemble: Output, width: int, shown: NDArray[np.intp]) -> list[Array]:
    """W2^2 of the first replicas to the limit at the times ``shown``: exact in one dimension, sliced in more."""
    names = [c.name for c in study.problem.moving]
    circles = tuple(c.name for c in study.problem.moving if c.kind == "circle")
    found = []
    for k in shown:
        cloud: Law = law(ensemble, int(k), width)[:CLOUDS]
        against: Law = (limit.measure(int(k)),)
        if len(names) == 1:
            found.append(laws.coordinate_distances(against, cloud, names, circles)[names[0]])
        else:
            found.append(laws.joint_distances(against, cloud, names))
    return found


def _cloud_kind(study: Study) -> str:
    return "empirical" if len(study.problem.moving) == 1 else "sliced"


def _independent(table: Tabulated, limit: Limit) -> list[float] | None:
    """N times the function error of independent neurons at every stored time; None behind an unknown reduction."""
    try:
        return [independent_trace(table, limit.measure(k).mass) for k in range(len(limit.times))]
    except ConfigError:
        return None


def _kinds(study: Study) -> dict[str, Any]:
    known = chaos.kinds(len(study.problem.moving))
    names = ["coupling", "function", "function_iid", _cloud_kind(study), "one_particle"]
    return {name: asdict(known[name]) for name in names}


# ---- over widths and times -------------------------------------------------------------------------------------


def _errors(
    paths: dict[str, list[Array]], clouds: dict[int, list[Array]], widths: list[int], times: Array, k: int, i: int
) -> dict[str, Any]:
    rows = []
    for index, width in enumerate(widths):
        row: dict[str, Any] = {"width": width}
        for kind, path in paths.items():
            row[kind], row[f"{kind}_sem"] = float(path[index][k].mean()), sem(path[index][k])
        cloud = clouds[width][i]
        row["empirical"], row["empirical_sem"] = float(cloud.mean()), sem(cloud)
        rows.append(row)
    return {"time": float(times[k]), "widths": rows}


def _rates(
    paths: dict[str, list[Array]],
    clouds: dict[int, list[Array]],
    widths: list[int],
    times: Array,
    shown: NDArray[np.intp],
    study: Study,
) -> dict[str, Any]:
    """kind -> exponents at the times ``shown``; none where a width is alone or all errors vanish."""
    if len(widths) < 2:
        return {}
    found = {
        kind: chaos.rates_over_time(widths, [path[shown] for path in each], times[shown])
        for kind, each in paths.items()
    }
    found[_cloud_kind(study)] = chaos.rates_over_time(widths, [np.stack(clouds[w]) for w in widths], times[shown])
    return {
        kind: [{"time": float(t)} | _rate(rate) for t, rate in zip(times[shown], rates, strict=True)]
        for kind, rates in found.items()
    }


def _rate(rate: Rate | None) -> dict[str, Any]:
    if rate is None:
        return {"slope": None, "ci": None, "prefactor": None, "method": "the error vanishes"}
    ci = None if rate.ci is None else list(rate.ci)
    return {"slope": rate.slope, "ci": ci, "prefactor": rate.prefactor, "method": rate.method}


def _uniformity(widths: list[int], paths: list[Array], times: Array) -> dict[str, Any]:
    found = chaos.uniformity(widths, paths, times)
    return {
        "scaled": found.scaled.tolist(),
        "sem": found.sem.tolist(),
        "low": found.low.tolist(),
        "high": found.high.tolist(),
        "widths": [asdict(one) for one in found.sups],
        "overall": asdict(found.overall),
        "level": found.level,
    }


def _needed(widths: list[int], samples: Sequence[Array], half_width: float) -> dict[str, Any] | None:
    if any(np.ptp(values) == 0.0 for values in samples):
        return None
    found = chaos.needed_replicas(widths, samples, half_width=half_width)
    return {"for_slope": found.for_slope, "spread": found.spread.tolist(), "for_mean": found.for_mean.tolist()}


def _one_particle(study: Study, limit: Limit, ensemble: Output, widths: list[int]) -> list[dict[str, Any]] | None:
    """The law of one particle at the last time, where it is Gaussian."""
    # fresh samples make the noise depend on the particles
    if study.config.particles.dynamics == "sgd" or not chaos.has_gaussian_law(study.problem, study.law):
        return None
    final = limit.measure(len(limit.times) - 1)
    names = [c.name for c in study.problem.moving]
    points = final.atoms[:, [final.names.index(name) for name in names]]
    mean = final.weights @ points
    covariance = (points - mean).T @ ((points - mean) * final.weights[:, None])
    found = []
    for width in widths:
        cloud = law(ensemble, len(ensemble.times) - 1, width)
        theta = np.stack([one.atoms[:, [one.names.index(name) for name in names]] for one in cloud])
        one = chaos.one_particle_gaussian(theta, mean, covariance)
        found.append({"width": width, **asdict(one), "resolved": bool(one.resolved)})
    return found


# ---- at rest ---------------------------------------------------------------------------------------------------


def _at_rest(
    limit: Limit,
    table: Tabulated,
    paths: dict[str, list[Array]],
    widths: list[int],
    times: Array,
    draws: int,
) -> dict[str, Any] | None:
    """Constants of the stationary measure, the oracle, and the time averages of what was measured near it."""
    if limit.rest is None:
        return None
    rest = limit.rest
    found = at_rest(table, rest, widths, draws)
    if found["constants"] is None:
        return found
    entropy = [meanfield.relative_entropy(limit.measure(k).mass, rest.measure.mass) for k in range(len(limit.times))]
    near = np.flatnonzero(np.array(entropy) > AT_REST)
    after = 0 if near.size == 0 else int(near[-1]) + 1
    found["rest_after"] = float(times[after]) if after < len(times) else None
    found["relative_entropy_at_the_end"] = float(entropy[-1])
    if after < len(times):
        found["averages"] = [
            {"width": width} | _averages({kind: path[index] for kind, path in paths.items()}, times, width, after)
            for index, width in enumerate(widths)
        ]
    return found


def _averages(paths: dict[str, Array], times: Array, width: int, after: int) -> dict[str, float]:
    """N times the time average of every error, with its standard error."""
    found: dict[str, float] = {}
    for kind, path in paths.items():
        average = chaos.stationary_average(width * path, times, float(times[after]))
        found[kind], found[f"{kind}_sem"] = average.mean, average.sem
    return found
