"""Published and closed-form values against this package, in the units of the sources: an accuracy check, no timing.

Linear neurons (E1) with the factor of the noise, quadratic neurons (E2), the phase transition of Mei, Montanari and
Nguyen (2018), radial trajectories, and bumps on the line (E4, the one-dimensional example of Rotskoff et al. 2019).
The papers' risk is E (y - f)^2, twice the one here, and their time half of that here; the tables hold theirs. A value
that is off by more than its tolerance is a defect. Run: python benchmarks/literature.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from harness import Part, Setting, main
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from tables import Table

from mfpde import datalaws, evolve, initial_measure
from mfpde.core.quadrature import gauss_hermite
from mfpde.domain import choose_grid
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare
from mfpde.initial import GroupLaw, InitialLaw
from mfpde.io import build, config
from mfpde.measures import ParticleMeasure, moments
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Pairwise, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.steppers.atoms import evolve_atoms, initial_atoms
from mfpde.tabulate import tabulate

Array = NDArray[np.float64]
COLUMNS = ["value", "source", "mfpde", "difference"]
# knots, slopes and left value of the activation of both papers' examples, recalled, not read in them
TRUNCATED = ((0.5, 1.5), (0.0, 10.0, 0.0), -2.5)


class Check:
    """One table: rows of source against mfpde, and what is off by more than its tolerance."""

    def __init__(self, part: Part, title: str, note: str = "") -> None:
        self._part, self._table = part, Table(title, COLUMNS, [], note)
        part.tables.append(self._table)

    def add(self, name: str, source: float, found: float, tolerance: float) -> None:
        """Enter one value; a difference above ``tolerance`` is a defect."""
        off = abs(found - source)
        self._table.rows.append([name, f"{source:.8g}", f"{found:.8g}", f"{off:.1e}"])
        self._part.measurements.append({"table": self._table.title, "value": name, "source": source, "mfpde": found})
        if not off <= tolerance:
            self._part.defects.append(f"{self._table.title}, {name}: {found:.8g} for {source:.8g}")


def _network(activation: str, x: Array, y: Array, weights: Array, *, temperature: float, decay: float) -> Problem:
    """Neurons of which w alone moves, on weighted nodes."""
    d = x.shape[1]
    rates, decays = dict.fromkeys("awb", 1.0), dict.fromkeys("awb", decay)
    coordinates = network_coordinates((1,) * d, ("w",), False, decays, rates)
    return Problem(Network(activation), datalaws.nodes(x, y, weights), "square", temperature, coordinates)


def linear(part: Part, setting: Setting) -> None:
    """E1: one linear neuron with ridge and noise, lambda = tau = 1: the law stays Gaussian, its variance ends at 1."""
    check = Check(
        part,
        "Linear neurons, ridge and noise (E1)",
        "The step printed in the article, sqrt(2 s tau/D), would end at the variance 0.5; it prints the equation of 1.",
    )
    target, start = 1.5, 0.5
    problem = _network("identity", np.ones((1, 1)), np.array([target]), np.ones(1), temperature=1.0, decay=1.0)
    law = InitialLaw(GroupLaw("point", 1.0), GroupLaw("normal", std=start), GroupLaw("point"), 1)
    grid = choose_grid(problem, law, (setting.pick(400, 120),), None)
    times = np.array([0.0, 0.5, 1.0, 10.0])
    found = evolve.solve(problem, initial_measure(law, grid), times)
    for time, snapshot in zip(times[1:], found.snapshots[1:], strict=True):
        mean, square = moments(snapshot.measure, 2)["w"]
        tolerance = setting.pick(2e-4, 5e-3)
        check.add(f"mean at time {time:g}", 0.75 * (1.0 - np.exp(-2.0 * time)), mean, tolerance)
        check.add(
            f"variance at time {time:g}", 1.0 + (start**2 - 1.0) * np.exp(-2.0 * time), square - mean**2, tolerance
        )
    end = stationary(tabulate(problem, grid), found.final.f)
    mean, square = moments(end.measure, 2)["w"]
    check.add("stationary variance, certified", 1.0, square - mean**2, setting.pick(2e-4, 5e-3))
    ensemble = _langevin(problem, law, setting)
    spread = float(np.var(ensemble))
    check.add("stationary variance, noisy descent", 1.0, spread, 5.0 * np.sqrt(2.0 / ensemble.size))


def _langevin(problem: Problem, law: InitialLaw, setting: Setting) -> Array:
    """Weights of finite networks at time 6, all replicas together; their coupling is far below the sampling error."""
    settings = EnsembleSettings((setting.pick(4096, 512),), setting.pick(16, 4), 0.05, coupling="independent")
    *_, last = evolve_ensemble(prepare(problem, law, settings), np.array([0.0, 6.0]))
    return last.records[0].theta[..., 1].reshape(-1)


def quadratic(part: Part, setting: Setting) -> None:
    """E2: quadratic neurons, Gaussian inputs in d = 3, y = x_1^2: two second moments close, exactly for any start."""
    check = Check(part, "Quadratic neurons, d = 3 (E2)")
    # polynomials of degree 8 in each input: five Gauss nodes suffice
    nodes, shares = gauss_hermite(5)
    x = np.stack([axis.reshape(-1) for axis in np.meshgrid(nodes, nodes, nodes, indexing="ij")], axis=1)
    weights = np.einsum("i,j,k->ijk", shares, shares, shares).reshape(-1)
    problem = _network("quadratic", x, x[:, 0] ** 2, weights, temperature=0.0, decay=0.0)
    scale = np.sqrt(3.0) * np.diag([0.6, 0.4, 0.4])
    hidden = np.concatenate([scale, -scale])
    measure = ParticleMeasure(("a", "w0", "w1", "w2"), np.column_stack([np.ones(6), hidden]), np.full(6, 1.0 / 6.0))
    known = {0.1: (0.76802089, 0.13744692, 0.1850369), 0.5: (0.95839109, 0.05790142, 0.0223776)}
    times = np.array([0.0, *(2.0 * time for time in known)])
    for (time, values), snapshot in zip(known.items(), list(evolve_atoms(problem, measure, times))[1:], strict=True):
        squares = snapshot.measure.weights @ snapshot.measure.atoms[:, 1:] ** 2
        for name, source, found in zip(
            ("s", "q", "risk"), values, (squares[0], squares[1], 2.0 * snapshot.risk), strict=True
        ):
            check.add(f"{name} at t = {time:g}", source, float(found), 2e-7)


def bumps(part: Part, setting: Setting) -> None:
    """E4: bumps N(x; y, 1/2) with coefficient 1 on the line, target (1/3) sum_k c_k N(.; y_k, s_k^2) of Rotskoff et al.

    Neurons repel each other by K(y, z) = N(y - z; 0, 1) and feel F(y) = (1/3) sum_k c_k N(y; y_k, 1/2 + s_k^2): here a
    Gaussian interaction whose target is a law of centres; there two closed forms, integrated on their own.
    """
    check = Check(
        part,
        "Gaussian bumps on the line (E4)",
        "Coefficients stay at 1: neurons here are ridge functions, or points that interact. Energy but for a constant.",
    )
    centres, coefficients, spread = (
        np.array([-2.0, 0.0, 2.0]),
        np.array([1.0, -2.0, 1.0]) / 3.0,
        np.array([0.0, 0.5, 0.0]),
    )
    problem = pairwise_problem(
        0.0, potential="none", interaction="gaussian", strength=1.0 / np.sqrt(2.0 * np.pi), width=1.0, reach=24.0
    )
    assert isinstance(problem.model, Pairwise)
    k = problem.model.frequencies
    damped = coefficients[:, None] * np.exp(-0.5 * spread[:, None] * k[:, 0] ** 2)
    waves = centres[:, None] * k[:, 0]
    target = np.concatenate([np.sum(damped * np.cos(waves), axis=0), np.sum(damped * np.sin(waves), axis=0)])
    problem = replace(problem, data=replace(problem.data, y=target))
    y0, times = np.linspace(-1.5, 2.0, setting.pick(60, 20)), np.array([0.0, 5.0, 20.0])
    measure = ParticleMeasure(("w",), y0[:, None], np.full(len(y0), 1.0 / len(y0)))
    engine = list(evolve_atoms(problem, measure, times))
    constant = 0.5 * float(problem.data.weights @ target**2)

    def bell(x: Array, variance: Array | float) -> Array:
        return np.asarray(np.exp(-0.5 * x**2 / variance) / np.sqrt(2.0 * np.pi * variance))

    def velocity(_: float, y: Array) -> Array:
        apart, off = y[:, None] - y, y[:, None] - centres
        pull = -off * coefficients / (1.0 + spread) * bell(off, 1.0 + spread)
        return np.asarray(pull.sum(axis=1) + np.mean(apart * bell(apart, 1.0), axis=1))

    direct = solve_ivp(velocity, (0.0, times[-1]), y0, "DOP853", t_eval=times, rtol=1e-11, atol=1e-11).y.T
    for time, y, snapshot in zip(times, direct, engine, strict=True):
        energy = 0.5 * np.mean(bell(y[:, None] - y, 1.0)) - np.mean(
            bell(y[:, None] - centres, 1.0 + spread) @ coefficients
        )
        check.add(f"energy at time {time:g}", float(energy), snapshot.risk - constant, 1e-8)
        check.add(f"mean square at time {time:g}", float(np.mean(y**2)), moments(snapshot.measure, 2)["w"][1], 1e-6)


def transitions(part: Part, setting: Setting) -> None:
    """The separations at which one radius stops being optimal, radii up to 400 (docs/dimension-free.md)."""
    from mfpde.theory import phase_transition as phases

    check = Check(part, "Phase transition of two isotropic Gaussians")
    known = {20: 0.377668, 40: 0.431032, 80: 0.453450, 160: 0.464005, 320: 0.469151}
    for dimension in setting.pick(tuple(known), (40,)):
        found = phases.upper_transition(*TRUNCATED, dimension, largest=400.0)
        check.add(f"upper transition, d = {dimension}", known[dimension], found, 1e-5)
    separation, radius = phases.infinite_transition(*TRUNCATED)
    check.add("upper transition, d infinite", 0.474218952, separation, 1e-8)
    check.add("radius there", 1.749455012, radius, 1e-8)


def trajectories(part: Part, setting: Setting) -> None:
    """Radial laws in time: one radius in infinite dimension, and figure 1 of Mei, Montanari and Nguyen (2018)."""
    from mfpde.exact import two_gaussians

    knots, slopes, value = TRUNCATED
    known = {0.1: (1.080254, 0.660339), 0.3: (1.363939, 0.190026), 1.0: (1.509699, 0.139427), 3.0: (1.519832, 0.139238)}
    check = Check(part, "One radius, d infinite, separation 0.3")
    times = 2.0 * np.array([0.0, *known])
    one = two_gaussians.path(
        times, np.array([[0.5]]), np.ones(1), knots=knots, slopes=slopes, value=value, separation=0.3
    )
    for k, (time, (radius, risk)) in enumerate(known.items(), 1):
        check.add(f"radius at t = {time:g}", radius, float(one.radii[k, 0, 0]), 1e-6)
        check.add(f"risk at t = {time:g}", risk, 2.0 * float(one.risk[k]), 1e-6)
    check = Check(part, "Two isotropic Gaussians, d = 40, separation 0.8, 400 atoms")
    table = {
        0.01: (1.631855, 0.82165, 0.08516),
        0.1: (1.338984, 0.97980, 0.06722),
        0.3: (1.180588, 1.15370, 0.05742),
        1.0: (1.070615, 1.42286, 0.06867),
    }
    chosen = setting.pick(tuple(table), (0.01,))
    loaded = config.load("mei-isotropic")
    study = build.build(loaded.config, loaded.name, loaded.directory)
    times = 2.0 * np.array([0.0, *chosen])
    found = list(evolve_atoms(study.problem, initial_atoms(study.problem, study.law), times))[1:]
    for time, snapshot in zip(chosen, found, strict=True):
        risk, mean, std = table[time]
        one_mean, square = moments(snapshot.measure, 2)["w"]
        check.add(f"risk at t = {time:g}", risk, 2.0 * snapshot.risk, 1e-4)
        check.add(f"mean radius at t = {time:g}", mean, one_mean, 1e-4)
        check.add(f"deviation of the radius at t = {time:g}", std, float(np.sqrt(square - one_mean**2)), 0.01 * std)


PARTS: tuple[Callable[[Part, Setting], None], ...] = (linear, quadratic, bumps, transitions, trajectories)


def measure(setting: Setting) -> Part:
    """Every comparison that this installation can make."""
    part = Part()
    for compare in PARTS:
        compare(part, setting)
    return part


if __name__ == "__main__":
    main("literature", measure, __doc__ or "", threads=(1,))
