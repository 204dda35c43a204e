"""The theory of a study: curves of every map beside their baselines, the learned function, the bulk spectrum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.io.one_step.build import (
    READOUT_ONLY,
    features,
    layers,
    loss_of,
    main_map,
    measured_layer,
    needs_networks,
    step_variants,
)
from mfpde.io.one_step.config import with_value
from mfpde.io.one_step.pool import run_all
from mfpde.io.one_step.schema import Config
from mfpde.theory.one_step.convex import ConvexReadout, convex_readout
from mfpde.theory.one_step.labels import misclassified
from mfpde.theory.one_step.loadings import learned_function
from mfpde.theory.one_step.model import FirstLayer, random_features
from mfpde.theory.one_step.optimum import optimal_ridge
from mfpde.theory.one_step.ridge import Readout, ridge_readout
from mfpde.theory.one_step.spectrum import bulk_spectrum, upper_bound
from mfpde.theory.one_step.tables import Table, tabulate, target_moments

Array = NDArray[np.float64]

BASELINE = "random features"
OPTIMAL = ", optimal ridge"
# what a readout is judged by: the first is the headline
QUANTITIES = {
    "square": ("test_error", "train_error", "weight_norm"),
    "huber": ("test_error", "test_loss", "train_loss", "weight_norm"),
    "logistic": ("wrong_sign", "test_loss", "train_loss", "test_error", "weight_norm"),
}
_KAPPA = np.linspace(-3.5, 3.5, 141)
_EIGENVALUES = 400
# of the largest density: below it the bulk has ended
_EDGE = 1e-4


@dataclass(frozen=True, eq=False)
class Line:
    """One line over A swept values: quantity -> [A], and the ridge that was used [A]."""

    quantities: Mapping[str, Array]
    ridge: Array


@dataclass(frozen=True, eq=False)
class Theory:
    """All lines of a study by name: its maps, then random features, then both at the optimal ridge (square loss only).

    ``expected`` map or baseline -> quantity -> [S] at the simulated values ``at`` [S]; ``layers`` at the study's own
    values; ``learned`` line -> E[yhat | kappa] on ``kappa``, where ``target`` is E[y | kappa], at n / d =
    readout.samples; ``density`` at ``eigenvalues`` with the ``atom`` at 0.
    """

    values: Array
    lines: Mapping[str, Line]
    at: Array
    expected: Mapping[str, Mapping[str, Array]]
    layers: Mapping[str, FirstLayer]
    main: str
    kappa: Array
    target: Array
    learned: Mapping[str, Array]
    eigenvalues: Array
    density: Array
    atom: float


def swept_values(config: Config) -> Array:
    """The values of the curve."""
    assert config.curve.range is not None
    low, high = config.curve.range
    if config.curve.over == "ridge" and low > 0.0:
        return np.geomspace(low, high, config.curve.points)
    return np.linspace(low, high, config.curve.points)


def compute_theory(config: Config, processes: int, report: Callable[[float], None]) -> Theory:
    """All of it; ``report`` gets the share that is done.  Raises ConfigError, NotConverged, NumericalError."""
    values, at = swept_values(config), np.array(config.simulation.at)
    everywhere = np.concatenate([at, values])
    own = _measured(config, [config], processes)[0]
    seen = [own] * len(everywhere)
    if config.curve.over not in READOUT_ONLY:
        seen = _measured(config, step_variants(config, everywhere.tolist()), processes)
    names = list(layers(config, own))
    main = main_map(names)
    found: dict[str, list[Mapping[str, float]]] = {}
    tables: dict[str, Table] = {}
    for k, value in enumerate(everywhere):
        varied = with_value(config, float(value))
        if k == 0 or config.curve.over not in READOUT_ONLY:
            tables = _tables(varied, seen[k])
        for name, table in tables.items():
            found.setdefault(name, []).append(_numbers(varied, table))
        if k >= len(at) and config.readout.loss == "square":
            for name in (main, BASELINE):
                line = found.setdefault(name + OPTIMAL, [])
                # the best ridge does not depend on the ridge
                reuse = line and config.curve.over == "ridge"
                line.append(line[-1] if reuse else _best(varied, tables[name]))
        report((k + 1) / len(everywhere))
    simulated = {name: _line(rows[: len(at)]).quantities for name, rows in found.items() if not name.endswith(OPTIMAL)}
    lines = {name: _line(rows if name.endswith(OPTIMAL) else rows[len(at) :]) for name, rows in found.items()}
    base = _tables(config, own)
    target = target_moments(base[main].model, _KAPPA).mean
    eigenvalues, density, atom = _spectrum(base[main], config.readout.samples)
    alignment = base[main].model.layer.alignment
    learned = {name: _learned(config, table, alignment if name == BASELINE else 0.0) for name, table in base.items()}
    return Theory(
        values, lines, at, simulated, layers(config, own), main, _KAPPA, target, learned, eigenvalues, density, atom
    )


def _measured(config: Config, variants: Sequence[Config], processes: int) -> list[FirstLayer | None]:
    """Layers of actual networks, one for every variant; None where no map asks for them."""
    found: list[FirstLayer | None] = [None] * len(variants)
    if needs_networks(config):
        for index, layer in run_all(measured_layer, variants, processes):
            found[index] = layer
    return found


def _tables(config: Config, at_size: FirstLayer | None) -> dict[str, Table]:
    tables = {name: tabulate(features(config, layer)) for name, layer in layers(config, at_size).items()}
    return tables | {BASELINE: tabulate(random_features(next(iter(tables.values())).model))}


def _solve(config: Config, table: Table) -> Readout | ConvexReadout:
    r = config.readout
    if r.loss == "square":
        return ridge_readout(table, r.samples, r.ridge)
    return convex_readout(table, r.samples, r.ridge, loss_of(config))


def _numbers(config: Config, table: Table) -> dict[str, float]:
    return _judged(config, table, _solve(config, table))


def _best(config: Config, table: Table) -> dict[str, float]:
    return _judged(config, table, optimal_ridge(table, config.readout.samples).readout)


def _judged(config: Config, table: Table, readout: Readout | ConvexReadout) -> dict[str, float]:
    """The quantities of a readout, and its ridge."""
    found = {"ridge": readout.ridge}
    for name in QUANTITIES[config.readout.loss]:
        found[name] = misclassified(table, readout) if name == "wrong_sign" else float(getattr(readout, name))
    return found


def _line(rows: Sequence[Mapping[str, float]]) -> Line:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Line({name: values for name, values in columns.items() if name != "ridge"}, columns["ridge"])


def _learned(config: Config, table: Table, lean: float) -> Array:
    """E[yhat | <v, x> = kappa] with the v of the main map.

    Along the zeta of ``table`` a prediction is linear; ``lean`` is the cosine between that zeta and v, which is not 0
    for random features: they have no spike, and their zeta is the index itself.
    """
    along, slope = learned_function(table.model, _solve(config, table).overlaps, _KAPPA)
    return np.asarray(along + lean * slope * _KAPPA)


def _spectrum(table: Table, samples: float) -> tuple[Array, Array, float]:
    """The density on a grid that is finer towards 0 and ends where the bulk does."""
    bound = upper_bound(table, samples)
    rough = _towards_zero(bound, _EIGENVALUES // 4)
    density = bulk_spectrum(table, samples, rough).density
    last = int(np.flatnonzero(density > _EDGE * density.max())[-1])
    grid = _towards_zero(float(rough[min(last + 1, len(rough) - 1)]), _EIGENVALUES)
    found = bulk_spectrum(table, samples, grid)
    return grid, np.maximum(found.density, 0.0), found.atom


def _towards_zero(end: float, count: int) -> Array:
    return np.asarray(end * (np.arange(1, count + 1) / count) ** 2)
