"""Moments and their guards, the a-priori recursion, the admissible weight and its growth, the relu margin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import gammaincc, gammaln

from mfpde import confinement, datalaws
from mfpde import problem as problems
from mfpde.core import activations
from mfpde.errors import ConfigError
from mfpde.evolve import Control, solve
from mfpde.initial import GroupLaw, InitialLaw, frozen_species, initial_measure
from mfpde.measures import Axis, Grid, GridMeasure, ParticleMeasure
from mfpde.problem import Network, Population, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.tabulate import node_features, tabulate
from mfpde.theory import moments as measured
from mfpde.theory import weights
from mfpde.theory.moments import MomentPath
from mfpde.verification import cases

ONES = dict.fromkeys("awb", 1.0)
ONE = GroupLaw("point", 1.0)
ZERO = GroupLaw("point", 0.0)
FAST = Control(tolerance=1e-4, extend=False)


def normal(std: float, mean: float = 0.0) -> GroupLaw:
    return GroupLaw("normal", mean=(mean,), std=std)


def network(
    activation: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    train: tuple[str, ...] = ("w",),
    decay: float | dict[str, float] = 0.5,
    temperature: float = 0.2,
    loss: str = "square",
    rates: dict[str, float] = ONES,
) -> Problem:
    """A network on equal data nodes."""
    data = datalaws.nodes(np.atleast_2d(x.T).T, y)
    decays = dict.fromkeys("awb", decay) if isinstance(decay, float) else decay
    coordinates = network_coordinates(data.blocks, train, "b" in train, decays, rates)
    return Problem(Network(activation), data, loss, temperature, coordinates)  # type: ignore[arg-type]


def random_network(seed: int, activation: str, **options: object) -> Problem:
    rng = np.random.default_rng(seed)
    y = np.sign(rng.standard_normal(7)) if options.get("loss") == "logistic" else rng.standard_normal(7)
    return network(activation, rng.standard_normal(7), y, **options)  # type: ignore[arg-type]


def start_on(problem: Problem, law: InitialLaw, reach: float, cells: int) -> GridMeasure:
    """The initial law on a box; radii from 0."""
    axes = tuple(Axis(c, 0.0 if c.kind == "radius" else -reach, reach, cells) for c in problem.moving)
    return initial_measure(law, Grid(axes, frozen_species(law, problem.frozen)))


def gaussian_moments(k: np.ndarray, dimension: int) -> np.ndarray:
    """E|Z_p|^k, written once more."""
    return np.exp(0.5 * k * np.log(2.0) + gammaln(0.5 * (k + dimension)) - gammaln(0.5 * dimension))


def path_of(moments: np.ndarray, dimension: int = 1) -> MomentPath:
    """A path of one time with given moments."""
    none = (ParticleMeasure(("w",), np.zeros((1, 1)), np.ones(1)),)
    top = len(moments) - 1
    return MomentPath(np.zeros(1), moments[None], moments[None, None], ("w",), dimension, top, "given", none)


def at_rest(problem: Problem, reach: float, cells: int) -> GridMeasure:
    table = tabulate(problem, cases.box_grid(problem, ((-reach, reach),) * len(problem.moving), cells))
    return stationary(table, np.zeros(len(problem.data.y))).measure


# moments


def test_moments_of_a_gaussian_start_are_exact_in_full_dimension() -> None:
    """w ~ N(0, s^2 I_20) on (w0, |rest|): E|w|^k = s^k E|Z_20|^k although the grid has two coordinates."""
    law = InitialLaw(ONE, normal(np.sqrt(20.0) * 0.7), ZERO, 20)
    data = datalaws.gaussian(Population(20, "hermite", (0.0, 1.0)))
    problem = Problem(Network("tanh"), data, "square", 0.1, network_coordinates(data.blocks, ("w",), False, ONES, ONES))
    path = measured.moment_path(problem, [(start_on(problem, law, 8.0, 160),)], np.zeros(1))
    assert path.dimension == 20
    assert path.largest_order >= 12
    k = np.arange(path.largest_order + 1)
    assert_allclose(path.moments[0], 0.7**k * gaussian_moments(k, 20), rtol=3e-4)
    assert_allclose(path.moments[0, :10], 0.7 ** k[:10] * gaussian_moments(k[:10], 20), rtol=1e-9)


def test_blocks_choose_the_coordinates_of_the_norm() -> None:
    """A standard normal pair (a, w): each block has one-dimensional moments, both together those of the plane."""
    problem = random_network(0, "tanh", train=("a", "w"))
    law = InitialLaw(normal(1.0), normal(1.0), ZERO, 1)
    found = (start_on(problem, law, 8.0, 200),)
    k = np.arange(0, 9, 2)
    for block, dimension in (("all", 2), ("a", 1), ("w", 1)):
        path = measured.moment_path(problem, [found], np.zeros(1), 8, block)
        assert path.dimension == dimension
        assert_allclose(path.moments[0, k], gaussian_moments(k, dimension), rtol=1e-9)
    with pytest.raises(ConfigError, match='block is "a"; this problem moves all, w'):
        measured.moment_path(random_network(0, "tanh"), [found], np.zeros(1), 2, "a")


@pytest.mark.parametrize("reach", [5.0, 6.5, 8.0])
def test_the_box_carries_the_orders_that_an_incomplete_gamma_function_says(reach: float) -> None:
    """The share of int |z|^k beyond 0.9 of the box, of a normal law cut at the box, passes 1e-3 where it should."""
    law = InitialLaw(ONE, normal(1.0), ZERO, 1)
    problem = random_network(0, "tanh")
    path = measured.moment_path(problem, [(start_on(problem, law, reach, 4000),)], np.zeros(1))
    k = np.arange(measured.MOST_ORDERS + 1)
    outer, cut = (gammaincc(0.5 * (k + 1), 0.5 * (part * reach) ** 2) for part in (0.9, 1.0))
    share = (outer - cut) / (1.0 - cut)
    expected = int(np.argmax(share > 1e-3)) - 1
    assert path.largest_order == expected
    assert f"order {expected + 1} the outer 5% of the box" in path.reason
    with pytest.raises(ConfigError, match=f"kmax is 24, but only orders up to {expected} are carried: .*outer 5%"):
        measured.moment_path(problem, [(start_on(problem, law, reach, 400),)], np.zeros(1), 24)


def test_the_ends_of_a_radius_from_zero_and_of_a_circle_are_no_tail() -> None:
    """All mass near r = 0 and a uniform angle pass the guard; the same mass at the outer end does not."""
    radius = problems.Coordinate("w", "w", "radius", 3, weight_decay=1.0)
    circle = problems.Coordinate("w", "w", "circle")
    problem = replace(random_network(0, "tanh"), coordinates=(radius,))
    turning = replace(problem, coordinates=(circle,))
    species = cases.single_species()
    low = GridMeasure(Grid((Axis(radius, 0.0, 1.0, 40),), species), np.r_[1.0, np.full(39, 1e-30)][None])
    angle = GridMeasure(Grid((Axis(circle, -np.pi, np.pi, 40),), species), np.full((1, 40), 1 / 40))
    assert measured.moment_path(problem, [(low,)], np.zeros(1), 2).largest_order == 2
    assert measured.moment_path(turning, [(angle,)], np.zeros(1), 2).largest_order == 2
    with pytest.raises(ConfigError, match="only orders up to"):
        measured.moment_path(problem, [(GridMeasure(low.grid, low.mass[:, ::-1]),)], np.zeros(1), 2)


def test_ratios_that_decide_how_many_particles_an_order_needs() -> None:
    """E Z^2k/(E |Z|^k)^2 = 3, 11.7, 46, 184, 733, 2927 for k = 2, 4 .. 12, Z standard normal."""
    k = np.arange(2.0, 13.0, 2.0)
    ratio = np.exp(weights.log_gaussian_moments(2 * k, 1) - 2.0 * weights.log_gaussian_moments(k, 1))
    assert_allclose(ratio, [3.0, 35 / 3, 46.2, 183.857, 733.159, 2926.576], rtol=2e-6)


def test_a_sample_carries_the_orders_of_its_standard_error(rng: np.random.Generator) -> None:
    """8 x 10000 normal draws: order 6 has 2.4 %, order 8 4.8 % and order 10 9.5 %; 200 draws not even order 4."""
    problem = random_network(0, "tanh")

    def law(replicas: int, count: int) -> tuple[ParticleMeasure, ...]:
        draws = rng.standard_normal((replicas, count, 1))
        atoms = np.concatenate([np.ones_like(draws), draws], axis=2)
        return tuple(ParticleMeasure(("a", "w"), one, np.full(count, 1.0 / count)) for one in atoms)

    path = measured.moment_path(problem, [law(8, 10000)], np.zeros(1))
    assert 7 <= path.largest_order <= 8
    assert path.samples.shape == (1, 8, path.largest_order + 1)
    single = measured.moment_path(problem, [law(1, 80000)], np.zeros(1), 6)
    assert single.samples.shape[1] == measured.PARTS
    assert_allclose(single.moments[0, 1:], gaussian_moments(np.arange(1, 7), 1), rtol=0.1)
    with pytest.raises(ConfigError, match=r"only orders up to 2 are carried: .*standard error over 1000 atoms"):
        measured.moment_path(problem, [law(1, 1000)], np.zeros(1), 4)


# a-priori bounds


def test_the_recursion_is_sharp_without_data() -> None:
    """a = 0: the drift is -lambda theta; even orders of the bound are moments of N(0, tau/lambda), rates or not."""
    for rate, train in ((1.0, ("w",)), (4.0, ("w", "b"))):
        problem = random_network(1, "tanh", train=train, rates=dict.fromkeys("awb", rate))
        law = InitialLaw(ZERO, normal(0.1), normal(0.1), 1)
        start = (start_on(problem, law, 3.0, 120),)
        found = measured.certified_moments(problem, start, 10).moments
        assert found is not None
        k = np.arange(0, 11, 2)
        assert_allclose(found[k], (0.2 / 0.5) ** (k / 2) * gaussian_moments(k, len(train)), rtol=1e-12)


def test_unequal_learning_rates_enter_by_their_sum_and_their_extremes() -> None:
    """Rates 1 and 4, lambda 1/2 and 1/4: M_2 = tau (1 + 4)/(1/2), M_4 = tau (5 + 2 * 4)/(1/2) M_2."""
    decay, rates = {"a": 1.0, "w": 0.5, "b": 0.25}, {"a": 9.0, "w": 1.0, "b": 4.0}
    problem = random_network(1, "tanh", train=("w", "b"), decay=decay, rates=rates)
    start = (start_on(problem, InitialLaw(ZERO, normal(0.1), normal(0.1), 1), 3.0, 120),)
    found = measured.certified_moments(problem, start, 4).moments
    assert found is not None
    assert found[2] == pytest.approx(0.2 * 5.0 / 0.5)
    assert found[4] == pytest.approx(0.2 * 13.0 / 0.5 * found[2])


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("size", [0.3, 1.0, 4.0])
def test_the_bounds_hold_for_the_worst_drift(dimension: int, size: float) -> None:
    """A drift B straight outward rests at exp(-(lambda r^2/2 - B r)/tau) r^(p-1): its moments obey, closely."""
    x = np.zeros((1, dimension))
    x[0, 0] = 1.0
    problem = network("identity", x, np.ones(1), loss="logistic")
    law = InitialLaw(GroupLaw("point", -size), normal(0.01), ZERO, dimension)
    atoms = np.zeros((1, 1 + dimension))
    atoms[0, 0] = law.a.value
    names = tuple(c.name for c in problem.coordinates)
    certificate = measured.certified_moments(problem, (ParticleMeasure(names, atoms, np.ones(1)),), 12)
    assert certificate.drift == pytest.approx(1.0)
    assert certificate.moments is not None

    def integral(k: float) -> float:
        peak = size / 0.5
        shape = lambda r: r ** (k + dimension - 1) * np.exp(-0.25 * (r - peak) ** 2 / 0.2)  # noqa: E731
        return float(quad(shape, 0.0, peak + 12.0, points=[peak], limit=400)[0])

    exact = np.array([integral(k) / integral(0) for k in range(13)])
    assert np.all(exact[1:] <= certificate.moments[1:])
    # only the start loses, by m_1 <= sqrt(m_2): the bound is within twice the standard deviation over the mean
    assert certificate.moments[2] <= exact[2] * (1.0 + 2.0 * np.sqrt(0.4) / np.sqrt(exact[2]))


def test_where_nothing_is_certified_the_reason_says_why() -> None:
    start = (ParticleMeasure(("a", "w"), np.ones((2, 2)), np.full(2, 0.5)),)
    for problem, why in (
        (random_network(0, "tanh", train=("a", "w")), "output weight moves"),
        (random_network(0, "quadratic"), "slope of quadratic is unbounded"),
        (random_network(0, "relu"), "initial free energy is not given"),
        (random_network(0, "tanh", decay=0.0), "no weight decay"),
    ):
        certificate = measured.certified_moments(problem, start, 4)
        assert certificate.moments is None
        assert why in certificate.reason


def test_the_drift_bound_is_the_smaller_of_two_proofs() -> None:
    """Two nodes by hand, scale 2: |f| <= 2 E|a|, or a risk below F(start) + tau log int exp(-V/tau)."""
    x = np.array([1.0, 2.0])
    problem = network("erf", x, np.array([0.0, -0.5]), train=("w", "b"), rates={"a": 1.0, "w": 3.0, "b": 2.0})
    problem = replace(problem, model=Network("erf", scale=2.0))
    atoms = np.array([[-1.5, 0.0, 0.0], [0.5, 0.0, 0.0]])
    start = (ParticleMeasure(("a", "w", "b"), atoms, np.full(2, 0.5)),)
    lever = np.sqrt(9.0 * x**2 + 4.0)
    by_size = 0.5 * ((0.0 + 2.0) * lever[0] + (0.5 + 2.0) * lever[1])
    energy = -0.1
    risk = energy + 2.0 * 0.5 * 0.2 * np.log(2.0 * np.pi * 0.2 / 0.5)
    by_energy = np.sqrt(2.0 * risk * np.mean(lever**2))
    slope = 2.0 * np.sqrt(2.0 / np.pi)
    assert by_energy < by_size
    for free_energy, expected in ((None, by_size), (energy, by_energy), (10.0, by_size)):
        found = measured.certified_moments(problem, start, 2, free_energy)
        assert found.drift == pytest.approx(slope * expected)
        b = found.drift * np.array([1.5, 0.5])
        heat = 0.2 * 5.0
        exact = np.mean(((b + np.sqrt(b**2 + 4.0 * heat)) / 2.0) ** 2)
        assert found.moments is not None
        assert found.moments[2] == pytest.approx(exact)  # the contraction is 2 * 0.5


@pytest.mark.parametrize("activation", sorted(measured.STEEPEST))
def test_the_bounds_of_activations_are_their_suprema(activation: str) -> None:
    z = np.linspace(-12.0, 12.0, 200001)
    largest = float(np.max(np.abs(activations.derivative(activation, z))))
    assert largest <= measured.STEEPEST[activation] * (1.0 + 1e-12)
    assert largest == pytest.approx(measured.STEEPEST[activation], rel=1e-4)
    if activation in measured.SUP_VALUE:
        value = float(np.max(np.abs(activations.evaluate(activation, z))))
        assert value <= measured.SUP_VALUE[activation] * (1.0 + 1e-12)


@given(
    seed=st.integers(0, 2**31),
    activation=st.sampled_from(("tanh", "erf", "sigmoid", "sin", "gelu", "softplus", "relu", "identity")),
    loss=st.sampled_from(("square", "logistic")),
    std=st.floats(0.2, 1.5),
    temperature=st.floats(0.05, 0.6),
    a=st.sampled_from((ONE, GroupLaw("rademacher"), GroupLaw("normal", std=0.8))),
    rate=st.floats(0.5, 3.0),
)
@settings(max_examples=15, deadline=None)
def test_the_three_weights_are_ordered_and_moments_log_convex(
    seed: int, activation: str, loss: str, std: float, temperature: float, a: GroupLaw, rate: float
) -> None:
    """w_cert <= w_star <= w_init on paths of the limit; m_k^2 <= m_(k-1) m_(k+1) at every time."""
    problem = random_network(
        seed, activation, loss=loss, temperature=temperature, rates=dict.fromkeys("awb", rate), decay=0.6
    )
    law = InitialLaw(a, normal(std, 0.3), ZERO, 1)
    start = start_on(problem, law, 6.0 * max(std, np.sqrt(temperature / 0.6)) + 3.0, 96)
    snapshots = solve(problem, start, np.array([0.0, 0.3, 1.0, 3.0]), FAST).snapshots
    path = measured.moment_path(problem, [(s.measure,) for s in snapshots], np.array([s.time for s in snapshots]))
    certificate = measured.certified_moments(problem, path.start, max(2, path.largest_order), snapshots[0].free_energy)
    found = weights.admissible_weight(path, certificate)
    assert found.w_cert is not None, certificate.reason
    assert np.all(found.w_cert[: len(found.k)] <= found.w_star * (1.0 + 1e-12))
    assert np.all(found.w_star <= found.w_init * (1.0 + 1e-12))
    m = path.moments
    assert np.all(m[:, 1:-1] ** 2 <= m[:, :-2] * m[:, 2:] * (1.0 + 1e-12))


# growth


@pytest.mark.parametrize("dimension", [1, 3, 20, 785])
def test_exact_gaussian_moments_have_order_a_half_and_their_type(dimension: int) -> None:
    k = np.arange(13.0)
    found = weights.admissible_weight(path_of(0.8**k * gaussian_moments(k, dimension), dimension))
    assert found.order == pytest.approx(0.5, abs=1e-6)
    assert found.type == pytest.approx(0.8, rel=1e-6)
    assert_allclose(found.c[1:], 0.8, rtol=1e-12)
    assert_allclose(found.w_star * found.moments, 1.0)
    assert found.order_interval is not None
    assert found.order_interval[1] - found.order_interval[0] <= 0.12


def test_heavier_tails_have_a_larger_order_and_no_gaussian_type() -> None:
    """exp(-|x|): M_k = k!, order 1; a bounded support: order 0."""
    k = np.arange(15.0)
    found = weights.admissible_weight(path_of(np.exp(gammaln(k + 1.0))))
    assert found.order == pytest.approx(1.0, abs=1e-6)
    assert found.type is None
    assert found.type_interval is None
    bounded = weights.admissible_weight(path_of(2.0**k / (k + 1.0)))
    assert bounded.order is not None
    assert bounded.order < 0.05


def test_too_few_orders_give_no_growth() -> None:
    found = weights.admissible_weight(path_of(gaussian_moments(np.arange(7.0), 1)))
    assert found.order is None
    assert found.type is None
    assert len(found.w_star) == 7


@pytest.mark.parametrize(("decay", "temperature"), [(0.5, 0.2), (0.5, 0.05), (0.2, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("train", [("w",), ("a", "w")])
def test_intervals_hold_the_growth_that_is_proved(decay: float, temperature: float, train: tuple[str, ...]) -> None:
    """Stationary tanh networks have order 1/2 and type sqrt(tau/lambda), for w alone and with a trained as well."""
    law = Population(1, "tanh", gain=1.5, scale=0.8)
    problem = cases.network_problem("tanh", law, train, temperature, decay)
    std = np.sqrt(temperature / decay)
    measure = at_rest(problem, 8.5 * std + 2.0, 400 if train == ("w",) else 120)
    for block in {"all", *train}:
        path = measured.moment_path(problem, [(measure,)], np.zeros(1), None, block)
        found = weights.admissible_weight(path)
        assert found.order_interval is not None
        assert found.order_interval[0] <= 0.5 <= found.order_interval[1]
        assert found.type_interval is not None
        assert found.type_interval[0] <= std <= found.type_interval[1]
        assert found.order_interval[1] - found.order_interval[0] < 0.35


@pytest.mark.parametrize("activation", ["tanh", "erf", "sigmoid", "sin"])
@pytest.mark.parametrize("a", [ONE, GroupLaw("rademacher")])
def test_moments_stay_in_the_bracket_and_types_approach_the_gaussian_one(activation: str, a: GroupLaw) -> None:
    """e^(-osc/tau) <= m_k/m_k(Gauss) <= e^(osc/tau) for every k, hence |log c_k/c| <= osc/(tau k): like 1/k."""
    problem = random_network(4, activation, temperature=0.3)
    law = InitialLaw(a, normal(1.0), ZERO, 1)
    start = start_on(problem, law, 8.0, 400)
    table = tabulate(problem, start.grid)
    end = stationary(table, table.predict(start.mass))
    path = measured.moment_path(problem, [(end.measure,)], np.zeros(1))
    lower, upper, reference = measured.gaussian_bracket(table, end.f, path.largest_order)
    k = np.arange(path.largest_order + 1)
    assert path.largest_order >= 14
    assert np.all(lower <= path.moments[0] * (1.0 + 1e-12))
    assert np.all(path.moments[0] <= upper * (1.0 + 1e-12))
    assert_allclose(reference[::2], 0.6 ** (k[::2] / 2) * gaussian_moments(k[::2], 1), rtol=1e-4)
    c = weights.gaussian_types(path.moments[0], 1)
    slopes = problems.residual(problem, end.f) @ activations.evaluate(
        activation, np.multiply.outer(problem.data.x[:, 0], start.grid.axes[0].centers)
    )
    oscillation = float(np.ptp(slopes)) / 0.3  # |a| = 1
    assert_allclose([np.log(upper[0]), np.log(lower[0])], [oscillation, -oscillation], rtol=1e-9)
    assert 0.05 < oscillation
    assert np.all(k[1:] * np.abs(np.log(c[1:] / np.sqrt(0.6))) <= oscillation * (1.0 + 1e-3))


def test_the_type_of_a_gaussian_start_relaxes_by_the_formula() -> None:
    """Without data exactly, at every even order and time; with a bounded drift inside the interval of the fit."""
    times = np.array([0.0, 0.2, 0.6, 2.0])
    law = InitialLaw(ZERO, normal(1.1), ZERO, 1)
    problem = random_network(3, "tanh")
    start = start_on(problem, law, 9.0, 360)
    expected = weights.transient_type(1.1, 0.5, 0.2, times)
    free = solve(problem, start, times, Control(tolerance=1e-6, extend=False)).snapshots
    path = measured.moment_path(problem, [(s.measure,) for s in free], times, 8)
    for m, c in zip(path.moments, expected, strict=True):
        assert_allclose(weights.gaussian_types(m, 1)[2::2], c, rtol=2e-3)
    assert_allclose(weights.transient_type(1.1, 0.5, 0.2, [1e3]), np.sqrt(0.4))
    driven = solve(problem, replace_species(start, 1.0), times, FAST).snapshots
    for snapshot, c in zip(driven, expected, strict=True):
        one = weights.admissible_weight(measured.moment_path(problem, [(snapshot.measure,)], np.zeros(1)))
        assert one.type_interval is not None
        assert one.type_interval[0] <= c <= one.type_interval[1]


def replace_species(measure: GridMeasure, value: float) -> GridMeasure:
    species = replace(measure.grid.species, values=np.full_like(measure.grid.species.values, value))
    return GridMeasure(Grid(measure.grid.axes, species), measure.mass)


def test_replicas_widen_the_intervals(rng: np.random.Generator) -> None:
    """8 replicas of 30000 normal draws in three dimensions: 1/2 and 1 are inside, more widely than without noise."""
    problem = replace(random_network(0, "tanh"), coordinates=(problems.Coordinate("w", "w", "radius", 3),))
    radius = np.linalg.norm(rng.standard_normal((8, 30000, 3)), axis=2)
    law = tuple(ParticleMeasure(("w",), one[:, None], np.full(30000, 1 / 30000)) for one in radius)
    path = measured.moment_path(problem, [law], np.zeros(1), 8)
    found = weights.admissible_weight(path)
    quiet = weights.admissible_weight(replace(path, samples=path.moments[:, None]))
    assert found.order_interval is not None
    assert quiet.order_interval is not None
    assert found.order_interval[0] <= 0.5 <= found.order_interval[1]
    assert found.type_interval is not None
    assert found.type_interval[0] <= 1.0 <= found.type_interval[1]
    assert np.ptp(found.order_interval) > np.ptp(quiet.order_interval) + 1e-3


# the margin of homogeneous activations


def test_the_margin_of_the_linear_network_is_a_norm(rng: np.random.Generator) -> None:
    """sigma = identity: sup_u <E r x, u>^2 = |E r x|^2, in one, two and five dimensions."""
    for d in (1, 2, 5):
        x, y = rng.standard_normal((30, d)), rng.standard_normal(30)
        problem = network("identity", x, y, train=("a", "w"), decay={"a": 0.7, "w": 0.4, "b": 1.0})
        r = problems.residual(problem, np.zeros(30))
        found = weights.admissibility_margin(problem, r)
        g = float(np.linalg.norm(r @ x))
        assert found.margin == pytest.approx(0.7 * 0.4 - g**2, abs=1e-10)
        assert found.smallest_eigenvalue == pytest.approx(np.linalg.eigvalsh([[0.7, g], [g, 0.4]])[0], abs=1e-9)
        assert found.direction is not None
        assert abs(found.direction @ (r @ x)) == pytest.approx(g, rel=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_the_relu_margin_is_the_least_over_all_directions(bias: bool, rng: np.random.Generator) -> None:
    """Against 10^5 directions on the circle, or a mesh of the sphere, with unequal weight decays."""
    x, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    decay = {"a": 0.7, "w": 0.4, "b": 0.2}
    problem = network("relu", x, y, train=("a", "w", "b") if bias else ("a", "w"), decay=decay)
    r = problems.residual(problem, np.zeros(40))
    angle = np.linspace(0.0, 2.0 * np.pi, 721 if bias else 100001)
    height = np.linspace(-1.0, 1.0, 601) if bias else np.zeros(1)
    t, z = np.meshgrid(angle, height)
    flat = np.sqrt(1.0 - z**2)
    u = np.stack([flat * np.cos(t), flat * np.sin(t), z], axis=-1).reshape(-1, 3)
    g = np.concatenate(
        [np.maximum(part @ np.column_stack([x, np.ones(40)]).T, 0.0) @ r for part in np.array_split(u, 50)]
    )
    least = float(np.min(0.7 * (u**2 @ [0.4, 0.4, 0.2]) - g**2))
    found = weights.admissibility_margin(problem, r)
    assert found.margin is not None
    assert found.margin <= least + 1e-12
    assert found.margin == pytest.approx(least, abs=2e-4 if bias else 1e-7)


def test_the_margin_before_a_run_is_the_least_over_a_fan_of_directions() -> None:
    """In block coordinates (s, r) of d = 5 inputs, at the residual of the initial law."""
    data = datalaws.gaussian(Population(5, "hermite", (0.0, 1.0, 0.5)), count=8)
    decay = {"a": 0.5, "w": 0.3, "b": 1.0}
    coordinates = network_coordinates(data.blocks, ("a", "w"), False, decay, ONES)
    problem = Problem(Network("relu"), data, "square", 0.1, coordinates)
    law = InitialLaw(ONE, normal(1.0), ZERO, 5)
    atoms = confinement.initial_atoms(problem, law)
    f = confinement.AtomFlow(problem).predict(atoms.atoms, atoms.weights)
    angle = np.linspace(0.0, np.pi, 4001)
    g = node_features(problem, np.stack([np.cos(angle), np.sin(angle)], axis=1)) @ problems.residual(problem, f)
    least = float(np.min(0.5 * 0.3 - g**2))
    found = confinement.initial_margin(problem, law).margin
    assert found is not None
    assert found <= least + 1e-12
    assert found == pytest.approx(least, rel=1e-5)


def test_the_margin_is_positive_at_rest_and_gives_the_type() -> None:
    """A relu network at rest is normalisable; its tail in the worst direction has variance tau/eigenvalue."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(20)
    problem = network("relu", x, np.abs(x) + 0.3 * x, train=("a", "w"), decay=0.5, temperature=0.2)
    table = tabulate(problem, cases.box_grid(problem, ((-12.0, 12.0),) * 2, 160))
    end = stationary(table, np.zeros(20))
    found = weights.admissibility_margin(problem, problems.residual(problem, end.f))
    assert found.margin is not None
    assert found.smallest_eigenvalue is not None
    assert found.direction is not None
    assert found.margin > 0.0
    # along (cos, +-sin) of the eigenvector the potential is quadratic, Psi = eigenvalue rho^2/2 : read off two cells
    psi = table.first_variation(problems.residual(problem, end.f))[0]
    radius = np.add.outer(table.grid.axes[0].centers ** 2, table.grid.axes[1].centers ** 2)
    assert float(np.min(2.0 * psi / radius)) == pytest.approx(found.smallest_eigenvalue, rel=1e-3)


def test_no_margin_where_the_condition_does_not_arise() -> None:
    r = np.zeros(7)
    assert weights.admissibility_margin(random_network(0, "tanh", train=("a", "w")), r).margin is None
    assert weights.admissibility_margin(random_network(0, "relu"), r).margin is None
