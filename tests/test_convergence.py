"""The decay of F - F*: identities of the gap, bounds that hold, and measured rates against the spectrum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mfpde import datalaws, meanfield
from mfpde import problem as problems
from mfpde.compare import convergence, spectrum
from mfpde.core import activations
from mfpde.errors import ConfigError, NumericalError
from mfpde.evolve import Control, State, evolve
from mfpde.exact import linear_neuron, ornstein_uhlenbeck, references
from mfpde.measures import Axis, Grid, Species, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import DataLaw, Network, Population, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate
from mfpde.verification import cases
from mfpde.verification.structure import gaussian_start

Array = np.ndarray
ROW = references.TANH_NEURON
ONES = dict.fromkeys("awb", 1.0)


def toy() -> Problem:
    return cases.network_problem("tanh", cases.TANH_TARGET, ("w",), ROW.temperature, ROW.weight_decay, ROW.nodes)


def followed(
    problem: Problem, grid: Grid, mean: tuple[float, ...], variance: float, time: float, step: float
) -> convergence.Convergence:
    """The rates of one run with fixed steps from a Gaussian."""
    start = gaussian_start(grid, mean, variance)
    control = Control(fixed_step=step, extend=False)
    run = list(evolve(problem, State(start, 0.0), np.array([0.0, time]), control))
    table = tabulate(problem, grid)
    rest = stationary(table, run[-1].f)
    times = np.array([s.state.time for s in run])
    found = convergence.convergence(
        table, rest, times, [s.state.measure.mass for s in run], np.stack([s.f for s in run])
    )
    # the gap is the one of the energies, where those still have digits
    energies = np.array([s.free_energy for s in run]) - rest.free_energy
    assert_allclose(found.gaps[:5], energies[:5], rtol=1e-9, atol=1e-12)
    return found


def test_the_toy_decays_at_the_sharp_rate() -> None:
    """Within 2 % of 2 Lambda in the end, never slower than certified, and the order 2 Lambda >= 2 tau lambda_PI."""
    found = followed(toy(), cases.box_grid(toy(), ((-5.0, 5.0),), 160), (-0.5,), 0.3, 40.0, 0.05)
    assert found.sharp == pytest.approx(ROW.asymptotic_rate, rel=2e-3)
    assert found.poincare_rate == pytest.approx(2.0 * ROW.temperature * ROW.poincare_gap, rel=2e-3)
    assert found.measured.asymptotic == pytest.approx(found.sharp, rel=0.02)
    assert found.excited == found.sharp
    # eighteen digits of the gap are above round-off
    assert found.measured.floor < 1e-22 * found.gaps[0]
    assert found.gaps[-1] < found.measured.floor
    assert found.certified is not None and np.all(found.certified > 0.0)
    assert found.never_slower_than_certified
    known = ~np.isnan(found.measured.rates)
    assert np.all(found.certified[1:][known] < found.measured.rates[known])
    assert np.max(found.certified) <= found.poincare_rate <= found.sharp


def test_a_start_without_the_slowest_mode_decays_faster() -> None:
    """(a, w) -> (-a, -w) leaves tanh networks alone: odd modes decay at 2 tau lambda_PI; an even start lacks them."""
    problem = cases.network_problem("tanh", cases.TANH_TARGET, ("a", "w"), 0.2, 0.3, count=20)
    grid = cases.box_grid(problem, ((-4.5, 4.5),) * 2, 36)
    even = followed(problem, grid, (0.0, 0.0), 0.3, 18.0, 0.1)
    odd = followed(problem, grid, (0.3, 0.5), 0.3, 18.0, 0.1)
    assert odd.sharp == pytest.approx(odd.poincare_rate, rel=1e-6)
    assert odd.excited == odd.sharp
    assert odd.measured.asymptotic == pytest.approx(odd.sharp, rel=0.02)
    assert even.excited is not None and even.excited > 1.5 * even.sharp
    assert even.measured.asymptotic == pytest.approx(even.excited, rel=0.02)
    # both layers move: neither condition of a certificate holds
    assert even.certified is None and even.never_slower_than_certified is None


@pytest.mark.parametrize("shift", [1.0, 0.0])
def test_linear_neuron(shift: float) -> None:
    """K = 1, lambda = 0.8: the mean decays at 2 (K + lambda) = 3.6, the variance at 4 lambda = 3.2; certified 2 lambda.

    F - F* = (K + lambda)(m - m*)^2/2 + lambda (v - v*)/2 - tau log(v/v*)/2 all the way.
    """
    temperature, decay, start, variance = 0.2, 0.8, 1.0 / 1.8 + shift, 0.15
    law = Population(1, "hermite", (0.0, 1.0))
    problem = cases.network_problem("identity", law, ("w",), temperature, decay, count=12)
    found = followed(problem, cases.box_grid(problem, ((-3.5, 4.5),), 160), (start,), variance, 9.0, 0.03)
    exact = linear_neuron.path(
        found.times, 1, start, variance, second_moment=1.0, target=1.0, weight_decay=decay, temperature=temperature
    )
    rest = temperature / decay
    heat = 0.5 * decay * (exact.variance - rest) - 0.5 * temperature * np.log(exact.variance / rest)
    gaps = 0.5 * (1.0 + decay) * (exact.mean - 1.0 / 1.8) ** 2 + heat
    seen = gaps > 1e-6
    assert_allclose(found.gaps[seen], gaps[seen], rtol=4e-2)
    assert found.gaps[0] == pytest.approx(gaps[0], rel=1e-6)
    assert found.certified is not None
    assert_allclose(found.certified, 1.6, rtol=1e-12)
    assert found.never_slower_than_certified
    assert found.rates[:2] == pytest.approx([3.2, 3.6], rel=4e-3)
    # from afar the mean is still the larger part when round-off is reached
    assert found.measured.asymptotic is not None
    assert 3.2 * 0.98 < found.measured.asymptotic < (3.6 if shift else 3.2 * 1.02)


def test_ornstein_uhlenbeck_under_attraction_is_certified_sharply() -> None:
    """F - F* = alpha m^2/2 exactly once the variance is at rest: measured = sharp = certified = 2 alpha."""
    case = cases.ornstein_uhlenbeck_case(1, 0.4, 0.5)
    alpha, variance = 1.5, 0.4 / 2.0
    grid = cases.box_grid(case.problem, ((-4.0, 4.0),), 160)
    found = followed(case.problem, grid, (0.8,), variance, 12.0, 0.02)
    energies = ornstein_uhlenbeck.free_energy(
        np.array([[0.8]]), np.array([[[variance]]]), stiffness=alpha, interaction=0.5, temperature=0.4
    )
    rest = ornstein_uhlenbeck.stationary(stiffness=alpha, interaction=0.5, temperature=0.4)
    assert found.gaps[0] == pytest.approx(float(energies[0]) - rest.free_energy, rel=1e-6)
    assert found.gaps[0] == pytest.approx(0.5 * alpha * 0.8**2, rel=1e-6)
    assert found.certified is not None
    assert_allclose(found.certified, 2.0 * alpha, rtol=1e-12)
    assert found.sharp == pytest.approx(2.0 * alpha, rel=3e-3)
    assert found.measured.asymptotic == pytest.approx(2.0 * alpha, rel=3e-3)
    assert found.never_slower_than_certified
    # the law p_mu of an attraction relaxes faster than the run: its constant would certify too much
    assert found.poincare_rate == pytest.approx(2.0 * (alpha + 0.5), rel=3e-3)


def test_quadratic_certificates_follow_the_sign_of_the_interaction() -> None:
    """Modulus of convexity of F along displacements: A, or A - |kappa|; nothing without convexity."""
    stiffness = np.array([[1.0, 0.6], [0.6, 2.0]])
    smallest = float(np.linalg.eigvalsh(stiffness)[0])
    grid = cases.box_grid(pairwise_problem(0.3, 2), ((-1.0, 1.0),) * 2, 4)

    def constant(**keys: object) -> float | None:
        problem = pairwise_problem(0.3, 2, **keys)  # type: ignore[arg-type]
        return convergence.log_sobolev_bounds(problem, grid, np.zeros(2)).best

    assert constant(matrix=stiffness, strength=0.7) == pytest.approx(smallest / 0.3)
    assert constant(matrix=stiffness, strength=-0.3) == pytest.approx((smallest - 0.3) / 0.3)
    assert constant(matrix=stiffness, interaction="none", strength=-5.0, rate=0.4) == pytest.approx(
        0.4 * smallest / 0.3
    )
    assert constant(matrix=stiffness, strength=-0.9) is None
    assert constant(matrix=stiffness, interaction="gaussian", strength=0.1) is None
    assert constant(potential="double-well") is None
    assert constant(potential="none", weight_decay=0.25, strength=1.0) == pytest.approx(0.25 / 0.3)


def random_problem(seed: int, loss: str = "square", train: tuple[str, ...] = ("w", "b")) -> Problem:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(5)
    law = datalaws.nodes(rng.standard_normal((5, 1)), np.where(y > 0, 1.0, -1.0) if loss == "logistic" else y)
    activation = ("tanh", "erf", "sigmoid", "sin", "relu", "softplus", "gelu", "identity")[seed % 8]
    rates, decay = (
        dict(zip("awb", rng.uniform(0.3, 1.5, 3), strict=True)),
        dict(zip("awb", rng.uniform(0.3, 1.0, 3), strict=True)),
    )
    coordinates = network_coordinates((1,), train, "b" in train, decay, rates)
    model = Network(activation, scale=float(rng.uniform(0.3, 1.5)))
    return Problem(model, law, loss, float(rng.uniform(0.1, 0.6)), coordinates)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(24))
def test_bounds_stay_below_the_poincare_constant_of_every_gibbs_measure(seed: int) -> None:
    """alpha <= lambda_PI, for the residuals of any predictions, whichever of the bounds exists."""
    problem = random_problem(seed, "square" if seed % 2 else "logistic", ("w", "b") if seed % 3 else ("w",))
    rng = np.random.default_rng(100 + seed)
    species = Species(("a",), rng.uniform(-1.0, 1.0, (2, 1)), np.array([0.5, 0.5]))
    if len(problem.moving) == 1 and problem.frozen[-1].name != "a":
        species = Species(("a", "b"), rng.uniform(-1.0, 1.0, (2, 2)), np.array([0.5, 0.5]))
    grid = Grid(tuple(Axis(c, -7.0, 7.0, 70) for c in problem.moving), species)
    table = tabulate(problem, grid)
    rest = stationary(table, np.zeros(5))
    for size in (0.2, 1.0):
        f = rest.f + size * rng.standard_normal(5)
        bounds = convergence.log_sobolev_bounds(problem, grid, problems.residual(problem, f))
        gap = spectrum.poincare_constant(table, replace(rest, f=f))
        found = [b for b in (bounds.holley_stroock, bounds.lipschitz, bounds.bakry_emery) if b is not None]
        assert found and bounds.best == max(found)
        # Bakry-Emery is attained by linear features: then the grid's error shows
        assert 0.0 < bounds.best <= gap * (1.02 if bounds.bakry_emery else 1.0)
        # where nothing is learned the bounds close to what weight decay alone gives, and are sharp
        plain = min(c.rate * c.weight_decay for c in problem.moving) / problem.temperature
        silent = convergence.log_sobolev_bounds(problem, grid, np.zeros(5))
        assert silent.best == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("name", sorted(activations.CODES.keys() - {"piecewise-linear"}))
def test_constants_of_the_activations(name: str) -> None:
    """Oscillation and steepest slope, on a million points; unbounded ones must be missing."""
    z = np.linspace(-60.0, 60.0, 1_200_001)
    values, slopes = activations.evaluate(name, z, (0.0, 0.5, 0.5)), activations.derivative(name, z, (0.0, 0.5, 0.5))
    bounded, lipschitz = name in convergence.OSCILLATION, name in convergence.STEEPEST
    assert bounded == (np.ptp(values) < 3.0)
    assert lipschitz == (np.max(np.abs(slopes)) < 3.0)
    if bounded:
        assert np.ptp(values) == pytest.approx(convergence.OSCILLATION[name], rel=1e-8)
    if lipschitz:
        steepest = np.max(np.abs(slopes))
        assert steepest <= convergence.STEEPEST[name] * (1.0 + 1e-12)
        assert steepest == pytest.approx(convergence.STEEPEST[name], rel=1e-7)


def data_potential(
    law: DataLaw, r: Array, box: tuple[tuple[float, float], ...]
) -> tuple[list[float], list[float], Array]:
    """([holley_stroock, lipschitz] of the module, the same from a dense grid, sup|d_c Psi^data| there)."""
    decay = {"a": 0.1, "w": 0.7, "b": 0.4}
    coordinates = network_coordinates(law.blocks, ("w", "b"), True, decay, {"a": 1.0, "w": 0.5, "b": 2.0})
    problem = Problem(Network("erf", scale=1.3), law, "square", 0.5, coordinates)
    species = Species(("a",), np.array([[0.4], [-0.9]]), np.array([0.5, 0.5]))
    grid = Grid(tuple(Axis(c, *i, 49) for c, i in zip(problem.moving, box, strict=True)), species)
    table = tabulate(problem, grid)
    bounds = convergence.log_sobolev_bounds(problem, grid, r)
    assert bounds.holley_stroock is not None and bounds.lipschitz is not None and bounds.bakry_emery is None
    psi = table.first_variation(r) - table.potential
    steepest = np.array([np.max(np.abs(np.diff(psi, axis=k + 1))) / axis.width for k, axis in enumerate(grid.axes)])
    length = np.sqrt(sum(s**2 / (0.5 * c.weight_decay) for s, c in zip(steepest, problem.moving, strict=True)))
    plain = min(0.5 * 0.7, 2.0 * 0.4) / 0.5
    dense = [
        plain * np.exp(-np.max(np.ptp(psi.reshape(2, -1), axis=1)) / 0.5),
        plain * np.exp(-(length**2) - 2 * length),
    ]
    return [bounds.holley_stroock, bounds.lipschitz], dense, steepest


def test_one_node_attains_what_the_bounds_assume() -> None:
    """Psi^data = -0.9 1.3 r erf((x w + b)/sqrt 2): its oscillation and slopes are the constants, on any fine grid."""
    law = DataLaw(np.array([[0.6]]), np.zeros(1), np.ones(1), (1,))
    bounds, dense, _ = data_potential(law, np.array([0.3]), ((-8.0, 8.0), (-8.0, 8.0)))
    assert_allclose(np.log(bounds), np.log(dense), rtol=1e-2)


def test_bounds_hold_for_many_nodes_and_a_block_of_inputs() -> None:
    rng = np.random.default_rng(3)
    law = DataLaw(np.abs(rng.standard_normal((4, 2))) * [1.0, 2.0], rng.standard_normal(4), np.full(4, 0.25), (1, 6))
    r = rng.standard_normal(4)
    bounds, dense, steepest = data_potential(law, r, ((-6.0, 6.0), (0.0, 6.0), (-6.0, 6.0)))
    assert bounds[0] <= dense[0] and bounds[1] <= dense[1]
    # the first coordinate t of a point of the sphere S^5 has E|t| = 16/(15 pi): a block's slope cannot exceed it
    reaches = np.stack([law.x[:, 0], 16.0 / (15.0 * np.pi) * law.x[:, 1], np.ones(4)])
    largest = 0.9 * 1.3 * np.sqrt(2.0 / np.pi) * reaches @ np.abs(r)
    assert np.all(steepest <= largest) and np.all(steepest > 0.05 * largest)
    length = np.sqrt(np.sum(largest**2 / (0.5 * np.array([0.7, 0.7, 0.4]))))
    assert np.log(bounds[1] / 0.7) == pytest.approx(-(length**2) - 2.0 * length, rel=1e-9)


def test_no_certificate_where_there_is_none() -> None:
    """a trained with w; no weight decay; a polynomial feature; weights of both signs. Only a trained: Bakry-Emery."""
    grid = Grid((), Species(("a", "w"), np.ones((1, 2)), np.ones(1)))

    def best(activation: str, train: tuple[str, ...], **keys: object) -> float | None:
        problem = cases.network_problem(activation, cases.TANH_TARGET, train, 0.2, 0.5, count=10)
        return convergence.log_sobolev_bounds(replace(problem, **keys), grid, np.full(10, 0.1)).best  # type: ignore[arg-type]

    assert best("tanh", ("a", "w")) is None
    assert best("quadratic", ("w",)) is None
    assert best("tanh", ("w",), temperature=0.0) is None
    assert best("tanh", ("a",)) == pytest.approx(0.5 / 0.2)
    free = network_coordinates((1,), ("w",), False, {**ONES, "w": 0.0}, ONES)
    assert best("tanh", ("w",), coordinates=free) is None
    law = DataLaw(np.ones((10, 1)), np.zeros(10), np.linspace(-0.1, 0.3, 10), (1,))
    assert best("tanh", ("w",), data=law) is None
    hermite = cases.network_problem("tanh", cases.TANH_TARGET, ("w",), 0.2, 0.5, count=10)
    linear = replace(hermite, model=Network("hermite", (0.3, 1.0, 0.0)))
    assert convergence.log_sobolev_bounds(linear, grid, np.full(10, 5.0)).best == pytest.approx(0.5 / 0.2)
    curved = replace(hermite, model=Network("hermite", (0.3, 1.0, 0.1)))
    assert convergence.log_sobolev_bounds(curved, grid, np.full(10, 5.0)).best is None


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_the_gap_is_the_difference_of_the_energies_far_away_and_quadratic_close_by(loss: str) -> None:
    problem = random_problem(0, loss)
    grid = cases.box_grid(problem, ((-6.0, 6.0),) * 2, 40)
    table = tabulate(problem, grid)
    rest = stationary(table, np.zeros(5))
    rng = np.random.default_rng(1)
    for spread in (0.3, 2.0):
        far = normalised(
            grid, np.exp(-spread * np.sum((cases.points_of(grid) - rng.uniform(-2, 2, 2)) ** 2, axis=-1))[None]
        )
        f = table.predict(far.mass)
        energy = meanfield.free_energy(table, far.mass, f)
        assert convergence.energy_gap(table, far.mass, f, rest) == pytest.approx(energy - rest.free_energy, rel=1e-11)
    # 1/2 <g, (tau + K) g> with a relative error of the order of the step, down to gaps of 1e-24
    pi = rest.measure.mass
    bump = np.tanh(cases.points_of(grid)[..., 0])[None]
    bump -= np.sum(pi * bump)
    direction = table.predict(pi * bump)
    slopes = [problems.loss_slopes(problem, rest.f + s * 1e-4) for s in (1.0, -1.0)]
    curvature = problem.data.weights * (slopes[0] - slopes[1]) / 2e-4
    form = 0.5 * float(np.sum(curvature * direction**2)) + 0.5 * problem.temperature * float(np.sum(pi * bump**2))
    for step in (1e-3, 1e-6, 1e-11):
        mass = pi * (1.0 + step * bump)
        gap = convergence.energy_gap(table, mass, rest.f + step * direction, rest)
        assert gap / step**2 == pytest.approx(form, rel=3e-3)


def test_decay_of_a_sum_of_exponentials_with_noise() -> None:
    """The last decade above the noise, before the plateau, whether the plateau rises or creeps down."""
    t = np.linspace(0.0, 20.0, 201)
    clean = 3.0 * np.exp(-4.0 * t) + 0.5 * np.exp(-1.5 * t)
    rng = np.random.default_rng(0)
    noisy = clean + 1e-9 * (1.0 + 0.5 * rng.random(201))
    found = convergence.decay(t, noisy)
    assert found.asymptotic == pytest.approx(1.5, rel=0.01)
    assert found.window is not None and found.spread is not None and found.asymptotic is not None
    assert clean[round(found.window[1] * 10)] >= 0.9 * convergence.NOISE_MARGIN * 1e-9
    assert np.isnan(found.rates[-1]) and found.rates[0] == pytest.approx(-np.log(clean[1] / clean[0]) / 0.1)
    assert found.spread[0] <= found.asymptotic <= found.spread[1]
    creeping = clean + 1e-9 * (1.0 + np.exp(-t))
    assert convergence.decay(t, creeping).asymptotic != pytest.approx(1.5, rel=0.01)
    assert convergence.decay(t, creeping, 2e-9).asymptotic == pytest.approx(1.5, rel=0.01)
    exact = convergence.decay(t, clean)
    assert exact.floor == 0.0 and exact.window is not None
    assert exact.window[1] == 20.0 and clean[round(exact.window[0] * 10)] <= 10.0 * clean[-1]


def test_decay_of_almost_nothing() -> None:
    with pytest.raises(NumericalError, match="two states"):
        convergence.decay(np.zeros(1), np.ones(1))
    lost = convergence.decay(np.arange(3.0), np.array([1.0, 2.0, 3.0]))
    assert lost.asymptotic is None and lost.window is None and np.all(np.isnan(lost.rates))
    two = convergence.decay(np.array([0.0, 2.0]), np.array([1.0, np.exp(-6.0)]))
    assert two.asymptotic == pytest.approx(3.0)


def test_a_run_slower_than_its_certificate_is_told() -> None:
    """A deviation that loses a tenth in ten units of time, where 2 lambda = 1.6 is certified."""
    law = Population(1, "hermite", (0.0, 1.0))
    problem = cases.network_problem("identity", law, ("w",), 0.2, 0.8, count=12)
    table = tabulate(problem, cases.box_grid(problem, ((-3.5, 4.5),), 80))
    rest = stationary(table, np.zeros(12))
    pi = rest.measure.mass
    theta = rest.measure.coordinate("w") - float(np.sum(pi * rest.measure.coordinate("w")))
    masses = [pi * (1.0 + size * theta) for size in (1e-3, 0.9e-3)]
    f = np.stack([table.predict(mass) for mass in masses])
    slow = convergence.convergence(table, rest, np.array([0.0, 10.0]), masses, f)
    assert slow.measured.rates[0] == pytest.approx(-0.2 * np.log(0.9), rel=1e-6)
    assert slow.never_slower_than_certified is False
    assert convergence.convergence(table, rest, np.array([0.0, 0.1]), masses, f).never_slower_than_certified


def test_a_run_on_another_grid_is_refused() -> None:
    table = tabulate(toy(), cases.box_grid(toy(), ((-5.0, 5.0),), 40))
    rest = stationary(table, np.zeros(len(table.problem.data.y)))
    with pytest.raises(ConfigError, match="grew"):
        convergence.convergence(table, rest, np.arange(2.0), [np.ones((1, 44)) / 44.0] * 2, np.stack([rest.f] * 2))
