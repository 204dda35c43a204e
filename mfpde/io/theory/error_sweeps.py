"""The law of each term of the error, swept: over the width N, the sample size n, the time t, the temperature tau."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import evolve
from mfpde.compare import spectrum as spectra
from mfpde.compare.chaos import needed_replicas
from mfpde.compare.fluctuations import fluctuations, linear_response
from mfpde.compare.rates import Rate, fit_rate
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare, step_count
from mfpde.errors import ConfigError, NumericalError
from mfpde.io.summary import sem
from mfpde.io.theory.errors import Members, Report
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated
from mfpde.theory import decomposition
from mfpde.theory.decomposition import TermSweep, network_values, sweep_rate

Array = NDArray[np.float64]

WIDTHS = (32, 64, 128, 256, 512, 1024)
# in full dimension forces are sums over pairs of neurons
PAIR_WIDTHS = (16, 32, 64, 128, 256)
# evaluations that a sweep over N may take, and replicas that it then gets
WORK, FEWEST, MOST = 1e11, 24, 400
# sample sizes, and data sets of each by the dimension of the grid
SIZES, DRAWS = (50, 100, 200, 400), {1: 400, 2: 200, 3: 40}
# steps times the rate, steps between two looks at it, most of these
RESOLUTION, SEGMENT, SEGMENTS = 0.2, 20, 40
# a term is followed until its rate changes by less than this share, once it has fallen so far, or at most so far; not
# until it is steadier: what grids let through of a slower mode takes over in the end
STEADY, STEADY_BELOW, FALL = 0.005, 1e-6, 1e-15
# lowest modes of the linearised flow among which the one that carries f is sought
MODES, SEEN = 12, 1e-4
# temperatures halve until cells exceed sqrt(2) widths of the Gibbs measure, whose sums are then off by exp(-pi^2); from
# so many on, after the two that extrapolate, a power is fitted
HALVINGS, PECLET, FITTED = 8, 2.0, 3


def over_width(m: Members, draws: int | None, report: Report) -> dict[str, Any]:
    """E|f^N_t - f_t|^2 over widths, the same data and time: slope -1; N times it in the norm of the data."""
    s, config = m.setting, m.setting.study.config
    problem, widths = s.trained.problem, PAIR_WIDTHS if s.in_full else WIDTHS
    settings = EnsembleSettings(
        widths, 1, m.step, scheme=config.particles.scheme, coupling="independent", seed=config.output.seed
    )
    ensemble = prepare(problem, s.study.law, settings)
    gradients = step_count(m.time, m.step) * (2 if ensemble.scheme == "heun" else 1)
    cost = gradients * sum(ensemble.force.operations(width) for width in widths)
    replicas = int(np.clip(WORK / cost, FEWEST, MOST // 4 if s.in_full else MOST)) if draws is None else draws
    ensemble = replace(ensemble, settings=replace(settings, replicas=replicas))
    parts = min(20, step_count(m.time, m.step))
    for snapshot in evolve_ensemble(ensemble, np.linspace(0.0, m.time, parts + 1)):
        last = snapshot
        report(snapshot.index / parts)
    f = s.trained.predict(m.moved.mass)
    limit = s.carry(s.table.predict(m.moved.mass))
    values, own = [], []
    for width in widths:
        theta = last.state.theta[width]
        values.append((network_values(problem, theta, s.nodes.x) - limit) ** 2 @ s.nodes.weights)
        if not s.in_full:
            own.append((network_values(problem, theta, problem.data.x) - f) ** 2 @ problem.data.weights)
    found = _sweep("propagation_of_chaos", widths, values, -1.0)
    found["replicas"] = replicas
    found["replicas_for_half_width_0.05"] = needed_replicas(widths, values, half_width=0.05).for_slope
    found["scaled_in_own_norm"] = [_scaled(n, v) for n, v in zip(widths, own)]
    found["constant_at_rest"] = None
    if not s.in_full:
        try:
            found["constant_at_rest"] = fluctuations(s.trained, m.rest).propagation_of_chaos
        except NumericalError as error:
            found["reason"] = str(error)
    return found


def over_samples(m: Members, draws: int | None, report: Report) -> dict[str, Any]:
    """E|f^n_oo - f_oo|^2 over n, data sets drawn anew: slope -1, n times it tends to C_stat."""
    s = m.setting
    if "statistical" in s.undefined and s.samples is None and (s.population is None or s.in_full):
        raise ConfigError("--sweeps", f"holds n, but {s.undefined['statistical']}")
    dimension = len(s.table.grid.axes)
    sizes, count = SIZES, DRAWS[dimension] if draws is None else draws
    values: list[Array] = []
    for size in sizes:
        one, _ = decomposition.statistical_sweep(s.table, m.end, [size], count, s.study.config.output.seed)
        values.append(one.samples[0])
        report(sum(sizes[: len(values)]) / sum(sizes))
    found = _sweep("statistical", sizes, values, -1.0)
    found["replicas"] = count
    found["replicas_for_half_width_0.1"] = needed_replicas(sizes, values, half_width=0.1).for_slope
    found["scaled"] = [_scaled(n, v) for n, v in zip(sizes, values)]
    found["constant"] = decomposition.statistical_constant(s.table, m.end)
    return found


def over_time(m: Members, draws: int | None, report: Report) -> dict[str, Any]:
    """|f^n_t - f^n_oo|^2 over t until its rate is steady: in the end like exp(-2 Lambda t), if f sees that mode."""
    s = m.setting
    times, squared, state = _decay(m, report)
    first = max(0, len(times) - 1 - SEGMENT)
    unit = float(np.log(squared[first] / squared[-1]) / (times[-1] - times[first]))
    sweep = TermSweep("optimization", (times[first:] - times[first]) * unit, tuple(v[None] for v in squared[first:]))
    fit = sweep_rate(sweep)
    found: dict[str, Any] = {
        "term": "optimization",
        "times": times.tolist(),
        "squared": squared.tolist(),
        "rate": -fit.slope * unit,
        "interval": None if fit.ci is None else [-fit.ci[1] * unit, -fit.ci[0] * unit],
        "window": [float(times[first]), float(times[-1])],
        "sharp": None,
        "carrier": None,
        "reason": None,
    }
    if len(s.trained.grid.axes) == 3:
        return found | {"reason": "2 Lambda is an eigenvalue problem on the grid: minutes in three dimensions"}
    try:
        modes = spectra.spectrum(s.trained, m.rest, MODES)
    except (ConfigError, NumericalError) as error:
        return found | {"reason": str(error)}
    found["sharp"], seen = modes.asymptotic, _seen(s.trained, m.rest, modes)
    share = np.where(seen > SEEN, seen * spectra.mode_gaps(modes, m.rest, state), 0.0)
    if np.any(share > 0.0):
        found["carrier"] = float(modes.rates[int(np.argmax(share))])
    return found


def _seen(table: Tabulated, rest: Stationary, modes: spectra.Spectrum) -> Array:
    """A lower bound, between 0 and 1, of the share of each mode's F - F* that is |f - f_oo|^2/2 : [modes].

    Modes are (tau + K) g, and f sees g: dividing by tau + |K| undoes it from below.  Grids let f see a little of modes
    that are orthogonal to it in the continuum.
    """
    root = np.sqrt(rest.measure.mass)
    moved = np.array([table.problem.data.weights @ table.predict(root * mode) ** 2 for mode in modes.modes])
    response = linear_response(table, rest)
    return np.asarray(moved / (response.temperature + float(np.max(response.eigenvalues, initial=0.0))) ** 2)


def _decay(m: Members, report: Report) -> tuple[Array, Array, Array]:
    """(times, |f_t - f_oo|^2, last mass), some steps at a time of a length that follows the rate.

    Adaptive steps grow without bound near the end, and rates would be those of the steps.
    """
    s = m.setting
    weights, rested = s.table.problem.data.weights, s.table.predict(m.rest.measure.mass)
    measure, step, before = m.start, m.time / 400.0, np.inf
    times, squared = [0.0], [float(weights @ (s.table.predict(measure.mass) - rested) ** 2)]
    for _ in range(SEGMENTS):
        control, ends = evolve.Control(fixed_step=step, extend=False), np.array([0.0, SEGMENT * step])
        began = times[-1]
        for snapshot in evolve.evolve(s.trained.problem, evolve.State(measure, 0.0), ends, control, s.trained):
            if snapshot.time > 0.0:
                measure = snapshot.measure
                times.append(began + snapshot.time)
                squared.append(float(weights @ (s.table.predict(measure.mass) - rested) ** 2))
        fallen = squared[-1] / max(squared)
        report(min(1.0, np.log(max(fallen, FALL)) / np.log(FALL)))
        rate = float(np.log(squared[-1 - SEGMENT] / squared[-1])) / (times[-1] - began)
        if (fallen < STEADY_BELOW and abs(rate / before - 1.0) < STEADY) or fallen <= FALL:
            break
        before = rate
        if rate > 0.0:  # f may pass its end and come back
            step = float(np.clip(RESOLUTION / rate, 0.5 * step, 4.0 * step))
    return np.array(times), np.array(squared), measure.mass


def over_temperature(m: Members, draws: int | None, report: Report) -> dict[str, Any]:
    """f_oo and its risk at falling temperatures, weight decay held: what temperature adds to f_oo - f_S.

    ``entropic`` = |f_oo(tau) - f_oo(0)|^2 and ``excess`` = (risk + weight decay)(tau) - (the same at 0), the values at
    0 extrapolated from the two lowest temperatures: orders tau^2 and tau where the atoms at 0 are smooth and isolated.
    """
    s = m.setting
    tau, f, energies, functions, temperatures = s.table.problem.temperature, m.end.f, [], [], []
    for k in range(HALVINGS):
        problem = replace(s.table.problem, temperature=tau * 0.5**k)
        table = replace(s.table, problem=problem)
        end = stationary(table, f)
        if k > 0 and evolve.weighted_peclet(table, end.measure.mass) > PECLET * len(table.grid.axes):
            break
        f = end.f
        temperatures.append(problem.temperature)
        functions.append(f)
        energies.append(end.risk + float(np.sum(end.measure.mass * table.potential)))
        report((k + 1) / HALVINGS)
    values = np.array(temperatures)
    found: dict[str, Any] = {
        "term": "entropic_bias",
        "values": temperatures,
        "squared": None,
        "risk_and_decay": energies,
    }
    found |= {"rate": None, "entropic": None, "excess": None, "reason": None}
    weights = s.table.problem.data.weights
    if m.kept is not None:
        sparse = decomposition.sparse_function(s.table.problem.data, m.kept)
        squared = np.array([weights @ (one - sparse) ** 2 for one in functions])
        found["squared"] = squared.tolist()
    if m.kept is not None and len(values) >= FITTED:
        found["rate"] = _rate(sweep_rate(TermSweep("entropic_bias", values, tuple(v[None] for v in squared))))
    if len(values) < FITTED + 2:
        return found | {"reason": f"the grid resolves {len(values)} temperatures; {FITTED + 2} give the values at 0"}
    still, least = 2.0 * functions[-1] - functions[-2], 2.0 * energies[-1] - energies[-2]
    entropic = np.array([weights @ (one - still) ** 2 for one in functions[:-2]])
    excess = np.array(energies[:-2]) - least
    for name, series, law in (("entropic", entropic, 2.0), ("excess", excess, 1.0)):
        positive = bool(np.all(series > 0.0))
        fit = _rate(fit_rate(values[:-2], [v[None] for v in series])) if positive else None
        found[name] = {"values": series.tolist(), "rate": fit, "smooth_law": law}
    return found


def _sweep(term: str, values: tuple[int, ...], samples: list[Array], law: float) -> dict[str, Any]:
    fit = sweep_rate(TermSweep(term, np.array(values, float), tuple(samples)))
    return {
        "term": term,
        "values": list(values),
        "squared": [float(v.mean()) for v in samples],
        "standard_error": [sem(v) for v in samples],
        "rate": _rate(fit),
        "law": law,
        "reason": None,
    }


def _scaled(size: int, values: Array) -> dict[str, Any]:
    return {"value": float(size * values.mean()), "sem": sem(size * values)}


def _rate(fit: Rate) -> dict[str, Any]:
    ci = None if fit.ci is None else list(fit.ci)
    return {"slope": fit.slope, "interval": ci, "prefactor": fit.prefactor, "method": fit.method}


SWEEPS: dict[str, Callable[[Members, int | None, Report], dict[str, Any]]] = {
    "N": over_width,
    "n": over_samples,
    "t": over_time,
    "tau": over_temperature,
}
