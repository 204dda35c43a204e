"""Limits read back for what can be computed from them: the stationary measure, its rates, its finite-N statistics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.compare.convergence import convergence, resolved_decay
from mfpde.compare.oracle import stationary_width
from mfpde.errors import ConfigError, NumericalError
from mfpde.io.build import Study, build
from mfpde.io.limit import Limit, load_limit
from mfpde.io.outputs import Output
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.theory.sectors import full_fluctuations

Array = NDArray[np.float64]

# eigenvalues of the covariance of a neuron's output that are reported
EIGENVALUES = 20


def open_limit(output: Output) -> tuple[Study, Limit]:
    """The study and the finished limit on a grid behind an output; raises ConfigError for anything else."""
    if output.kind != "limit":
        raise ConfigError("--metric", f"needs a limit on a grid, and {output.path} holds {output.kind}")
    name = os.path.basename(os.path.dirname(os.path.abspath(output.path)))
    study = build(output.config, name, None)
    limit = load_limit(study, output.path)
    if not limit.finished:
        raise ConfigError(
            "--metric",
            f"needs a finished limit; {output.path} stopped at t = {limit.times[-1]:g}",
            "mfpde solve --resume finishes it",
        )
    return study, limit


def convergence_numbers(output: Output) -> dict[str, Any]:
    """The decay of F - F* of a limit with its certified, Poincare and sharp rates, ready for JSON."""
    study, limit = open_limit(output)
    rest = _require_rest(output, limit)
    table = tabulate(study.problem, limit.grid)
    masses = [limit.measure(k).mass for k in range(len(limit.times))]
    found = convergence(table, rest, limit.times, masses, limit.f)
    measured = found.measured
    resolved = resolved_decay(table, rest, limit.measure(0), found.excited or found.sharp)
    return {
        "limit": output.path,
        "title": study.config.title or study.name,
        "times": limit.times.tolist(),
        "gaps": found.gaps.tolist(),
        "middles": measured.middles.tolist(),
        "local_rates": [None if np.isnan(rate) else float(rate) for rate in measured.rates],
        "floor": measured.floor,
        "measured": resolved.asymptotic,
        "measured_spread": resolved.spread,
        "measured_window": resolved.window,
        "sharp": found.sharp,
        "excited": found.excited,
        "poincare": found.poincare_rate,
        "certified": None if found.certified is None else found.certified.tolist(),
        "certified_bound": _bound(limit.times, found.gaps, found.certified),
        "never_slower_than_certified": found.never_slower_than_certified,
    }


def _bound(times: Array, gaps: Array, certified: Array | None) -> list[float] | None:
    """gap(0) exp(-int certified rate): the smaller rate of each interval keeps it an upper bound where rates grow."""
    if certified is None:
        return None
    fall = np.concatenate([[0.0], np.cumsum(np.minimum(certified[1:], certified[:-1]) * np.diff(times))])
    return [float(value) for value in gaps[0] * np.exp(-fall)]


def oracle_numbers(output: Output, widths: Sequence[int], draws: int) -> dict[str, Any]:
    """Networks of the given widths at rest, by importance sampling from the stationary measure of a limit."""
    study, limit = open_limit(output)
    rest = _require_rest(output, limit)
    table = tabulate(study.problem, limit.grid)
    found = {"limit": output.path, "title": study.config.title or study.name}
    return found | {"stationary": at_rest(table, rest, widths, draws)}


def at_rest(table: Tabulated, rest: Stationary, widths: Sequence[int], draws: int) -> dict[str, Any]:
    """Constants of the stationary measure and the oracle; each with the reason where there are none."""
    found: dict[str, Any] = {"constants": None, "reason": None, "oracle": {"widths": [], "reason": None}}
    try:
        constants = full_fluctuations(table, rest)
        names = ("iid_trace", "propagation_of_chaos", "log_determinant_gap", "relative_entropy")
        found["constants"] = {name: getattr(constants, name) for name in names}
        found["constants"]["eigenvalues"] = constants.eigenvalues[:EIGENVALUES].tolist()
    except (ConfigError, NumericalError) as error:
        found["reason"] = str(error)
    for width in widths:
        # a refused width must not cost the others
        try:
            found["oracle"]["widths"].append(asdict(stationary_width(table, rest, width, draws=draws)))
        except (ConfigError, NumericalError) as error:
            found["oracle"]["reason"] = str(error)
    return found


def _require_rest(output: Output, limit: Limit) -> Stationary:
    if limit.rest is None:
        raise ConfigError("--metric", f"needs the stationary measure, which {output.path} lacks")
    return limit.rest
