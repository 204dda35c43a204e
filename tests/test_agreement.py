"""Finite networks agree with the limit: the real test of the symmetry reduction, and the O(1/N) laws.

The particles live in R^20 under exact pair kernels, or see fresh samples; the limit lives on a 2-D grid of (s, r).
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from mfpde import datalaws, evolve
from mfpde.compare.rates import extrapolate_in_width, fit_rate
from mfpde.domain import choose_grid
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare
from mfpde.initial import GroupLaw, InitialLaw, initial_measure
from mfpde.measures import Axis
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.steppers.drive import Drive

THREADS = os.cpu_count() or 1
DECAY = {"a": 0.1, "w": 0.1, "b": 0.1}
RATES = {"a": 1.0, "w": 1.0, "b": 1.0}


def single_index(dimension: int = 20) -> tuple[Problem, InitialLaw]:
    population = Population(dimension, "hermite", (0.0, 1.0, 0.0, 0.4))
    data = datalaws.gaussian(population)
    coordinates = network_coordinates(data.blocks, ("w",), False, DECAY, RATES)
    law = InitialLaw(GroupLaw("point", 1.0), GroupLaw("normal", std=1.0), GroupLaw("point"), dimension)
    return Problem(Network("erf"), data, "square", 0.02, coordinates), law


def small_network() -> tuple[Problem, InitialLaw]:
    """f = E a tanh(w x), both trained: a 2-D grid, 40 nodes."""
    data = datalaws.gaussian(Population(1, "tanh", gain=1.5, scale=0.8))
    coordinates = network_coordinates(data.blocks, ("a", "w"), False, DECAY, RATES)
    law = InitialLaw(GroupLaw("normal", std=0.7), GroupLaw("normal", std=0.7), GroupLaw("point"), 1)
    return Problem(Network("tanh"), data, "square", 0.05, coordinates), law


def limit_of(problem: Problem, law: InitialLaw, times: np.ndarray, cells: tuple[int, ...]) -> evolve.Solution:
    grid = choose_grid(problem, law, cells)
    return evolve.solve(problem, initial_measure(law, grid), times)


def drive_of(solution: evolve.Solution) -> Drive:
    return Drive(np.array([s.time for s in solution.history]), np.stack([s.f for s in solution.history]))


def risks(problem: Problem, law: InitialLaw, settings: EnsembleSettings, times: np.ndarray) -> list[np.ndarray]:
    """Risk [replica, time] of every width."""
    found: dict[int, list[np.ndarray]] = {width: [] for width in settings.widths}
    for snapshot in evolve_ensemble(prepare(problem, law, settings), times, threads=THREADS):
        for record in snapshot.records:
            found[record.width].append(record.risk)
    return [np.stack(values, axis=1) for values in found.values()]


def deviations(limit_risk: np.ndarray, widths: tuple[int, ...], samples: list[np.ndarray]) -> np.ndarray:
    """(extrapolated risk - limit)/standard error at every stored time."""
    value, error = extrapolate_in_width(widths, samples)
    return (value - limit_risk) / error


TIMES = np.linspace(0.0, 6.0, 7)


@pytest.fixture(scope="module")
def limit_risk() -> np.ndarray:
    problem, law = single_index()
    return np.array([s.risk for s in limit_of(problem, law, TIMES, (96, 96)).snapshots])


@pytest.mark.slow
def test_pair_kernels_in_twenty_dimensions_reach_the_reduced_limit(
    limit_risk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, law = single_index()
    settings = EnsembleSettings(widths=(512, 1024), replicas=12, step=0.05, coupling="independent", seed=3)
    samples = risks(problem, law, settings, TIMES)
    assert np.all(np.abs(deviations(limit_risk, settings.widths, samples)) < 3.0)
    # the same comparison must fail for a grid that forgets the volume r^(d-2) of the shells
    monkeypatch.setattr(Axis, "power", property(lambda axis: 0))
    wrong = np.array([s.risk for s in limit_of(problem, law, TIMES, (96, 96)).snapshots])
    assert np.max(np.abs(deviations(wrong, settings.widths, samples))) > 10.0


@pytest.mark.slow
def test_sgd_on_fresh_samples_reaches_the_reduced_limit(limit_risk: np.ndarray) -> None:
    problem, law = single_index()
    settings = EnsembleSettings(
        widths=(512, 1024),
        replicas=12,
        step=0.01,
        dynamics="sgd",
        scheme="euler",
        batch=200,
        coupling="independent",
        seed=4,
    )
    samples = risks(problem, law, settings, TIMES)
    assert np.all(np.abs(deviations(limit_risk, settings.widths, samples)) < 3.0)


@pytest.mark.slow
def test_function_and_coupling_error_fall_like_one_over_the_width() -> None:
    problem, law = small_network()
    times = np.array([0.0, 1.0, 3.0, 8.0])
    solution = limit_of(problem, law, np.linspace(0.0, 8.0, 9), (128, 128))
    settings = EnsembleSettings(widths=(32, 64, 128, 256, 512, 1024, 2048), replicas=128, step=0.05, seed=1)
    bounds = {a.name: (a.lower, a.upper) for a in solution.final.measure.grid.axes}
    ensemble = prepare(problem, law, settings, drive_of(solution), bounds)
    for snapshot in evolve_ensemble(ensemble, times, threads=THREADS):
        if snapshot.time == 0.0:
            continue
        for name in ("function_error", "coupling_error"):
            rate = fit_rate(settings.widths, [getattr(record, name) for record in snapshot.records])
            assert rate.ci is not None
            assert rate.ci[0] <= -1.0 <= rate.ci[1], (name, snapshot.time, rate)
            assert rate.ci[1] - rate.ci[0] < 0.3
