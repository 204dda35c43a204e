"""Constants of the finite-width fluctuations: reference numbers, Gaussian closed forms, plain matrices, quadrature."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde.compare.fluctuations import Fluctuations, fluctuations, species_means, variance_trace
from mfpde.core import quadrature
from mfpde.errors import NumericalError
from mfpde.exact import linear_neuron, ornstein_uhlenbeck, references
from mfpde.initial import GroupLaw, InitialLaw, frozen_species
from mfpde.measures import Axis, Grid, GridMeasure, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import DataLaw, Network, Population, Problem, network_coordinates
from mfpde.stationary import Stationary, stationary
from mfpde.tabulate import Tabulated, tabulate
from mfpde.verification import cases

ONES = dict.fromkeys("awb", 1.0)
SIGNS = GroupLaw("rademacher")
ONE = GroupLaw("point", 1.0)


def small_problem(seed: int, loss: str, train: tuple[str, ...], temperature: float, nodes: int = 4) -> Problem:
    """A sigmoid network on a few random nodes: not odd, so that the two signs of a are different species."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((nodes, 1)), rng.standard_normal(nodes)
    law = datalaws.nodes(x, np.where(y > 0.0, 1.0, -1.0) if loss == "logistic" else y, rng.random(nodes) + 0.1)
    coordinates = network_coordinates((1,), train, "b" in train, dict.fromkeys("awb", 0.5), ONES)
    return Problem(Network("sigmoid", scale=1.7), law, loss, temperature, coordinates)  # type: ignore[arg-type]


def rested(
    problem: Problem, a: GroupLaw = ONE, cells: int = 24, way: str | None = None
) -> tuple[Tabulated, Stationary]:
    """The table and the stationary measure on a box of five, frozen a of the given law."""
    law = InitialLaw(a, GroupLaw("normal"), ONE, 1)
    axes = tuple(Axis(c, -5.0, 5.0, cells) for c in problem.moving)
    table = tabulate(problem, Grid(axes, frozen_species(law, problem.frozen)), way)  # type: ignore[arg-type]
    return table, stationary(table, np.zeros(len(problem.data.y)))


def plain_features(problem: Problem, measure: GridMeasure) -> np.ndarray:
    """scale a sigma(w x + b) of every cell : [cells, n]."""
    assert isinstance(problem.model, Network)
    columns = {name: measure.atoms[:, k] for k, name in enumerate(measure.names)}
    z = np.outer(columns["w"], problem.data.x[:, 0]) + columns.get("b", np.zeros(1))[:, None]
    return problem.scale * columns["a"][:, None] * naive.activation(problem.model.activation, z)


def plain_covariances(problem: Problem, measure: GridMeasure) -> tuple[np.ndarray, np.ndarray]:
    """(within, between) the species, from their definition."""
    count = measure.grid.shape[0]
    phi = plain_features(problem, measure).reshape(count, -1, len(problem.data.y))
    weights = measure.mass.reshape(count, -1)
    total = np.einsum("ki,kiq->q", weights, phi)
    within, between = np.zeros((2, len(total), len(total)))
    for w, features in zip(weights, phi, strict=True):
        share = w.sum()
        mean = w @ features / share
        within += np.einsum("i,iq,ir->qr", w, features - mean, features - mean)
        between += share * np.outer(mean - total, mean - total)
    return within, between


def curvature_of(problem: Problem, f: np.ndarray) -> np.ndarray:
    """L = c l''(f), with the second derivative of log(1 + exp(-y f)) as 1/(4 cosh^2(f/2))."""
    return problem.data.weights * (1.0 if problem.loss == "square" else 0.25 / np.cosh(0.5 * f) ** 2)


def plain_constants(problem: Problem, rest: Stationary) -> list[float]:
    """The four formulas of the module, with matrices inverted as they are written."""
    within, between = plain_covariances(problem, rest.measure)
    tau, c, bend = problem.temperature, np.diag(np.abs(problem.data.weights)), np.diag(curvature_of(problem, rest.f))
    relax = np.linalg.inv(np.eye(len(c)) + within @ bend / tau)
    tilted = relax @ within
    gap = 0.5 * tau * np.linalg.slogdet(np.linalg.inv(relax))[1] + 0.5 * np.trace(bend @ relax @ between)
    left = tilted + relax @ between @ relax.T
    return [
        float(np.trace(c @ (within + between))),
        float(np.trace(c @ left)),
        float(gap),
        float((gap - 0.5 * np.trace(bend @ left)) / tau),
    ]


def numbers(found: Fluctuations) -> list[float]:
    return [found.iid_trace, found.propagation_of_chaos, found.log_determinant_gap, found.relative_entropy]


def test_the_row_of_reference_numbers() -> None:
    row = references.TANH_NEURON
    law = Population(1, "tanh", gain=row.target_gain, scale=row.target_scale)
    problem = cases.network_problem("tanh", law, ("w",), row.temperature, row.weight_decay)
    table = tabulate(problem, cases.box_grid(problem, ((-6.0, 6.0),), 256))
    found = fluctuations(table, stationary(table, np.zeros(len(problem.data.y))))
    assert_allclose(found.iid_trace, row.trace, rtol=1e-9)
    assert_allclose(found.propagation_of_chaos, row.chaos_constant, rtol=1e-9)
    assert_allclose(found.log_determinant_gap, row.log_determinant, rtol=1e-9)
    s = found.eigenvalues / row.temperature
    assert np.all(np.diff(s) <= 0.0)
    assert_allclose(found.relative_entropy, 0.5 * np.sum(np.log1p(s) - s / (1.0 + s)), rtol=1e-12)


@pytest.mark.parametrize(("weight_decay", "temperature"), [(0.5, 0.2), (0.1, 1.0), (3.0, 0.05)])
def test_the_linear_neuron_has_one_mode(weight_decay: float, temperature: float) -> None:
    """s = K tau/lambda; at rest N E|f_N - f|^2 = K tau/(K + lambda) for every N."""
    target = Population(1, "hermite", (0.0, 0.8))
    problem = cases.network_problem("identity", target, ("w",), temperature, weight_decay, count=12)
    reach = 9.0 * np.sqrt(temperature / weight_decay)
    table = tabulate(problem, cases.box_grid(problem, ((0.4 - reach, 0.4 + reach),), 400))
    found = fluctuations(table, stationary(table, np.zeros(len(problem.data.y))))
    moment = float(problem.data.weights @ problem.data.x[:, 0] ** 2)
    constants = {"second_moment": moment, "target": 0.8, "weight_decay": weight_decay, "temperature": temperature}
    exact = linear_neuron.path(np.inf, 7, 0.0, 1.0, **constants)
    ratio = moment / weight_decay
    assert_allclose(found.eigenvalues, [ratio * temperature], rtol=1e-10)
    assert_allclose(found.iid_trace, ratio * temperature, rtol=1e-10)
    assert_allclose(found.propagation_of_chaos, 7.0 * exact.function_error[0], rtol=1e-10)
    assert_allclose(found.log_determinant_gap, 0.5 * temperature * np.log1p(ratio), rtol=1e-10)
    assert_allclose(found.relative_entropy, 0.5 * (np.log1p(ratio) - ratio / (1.0 + ratio)), rtol=1e-9)


@pytest.mark.parametrize("interaction", [0.5, -0.3])
def test_quadratic_attraction_and_repulsion(interaction: float) -> None:
    """The empirical mean has the covariance tau A^-1/N: attraction (c < 0) makes it wider than that of free copies."""
    stiffness, tau = np.array([[1.5, 0.2], [0.2, 0.8]]), 0.3
    problem = pairwise_problem(tau, dimension=2, matrix=stiffness, strength=interaction)
    table = tabulate(problem, cases.box_grid(problem, ((-7.0, 7.0),) * 2, 64))
    rest = stationary(table, np.zeros(2))
    found = fluctuations(table, rest)
    free = ornstein_uhlenbeck.stationary(stiffness=stiffness, interaction=interaction, temperature=tau).covariance
    a = np.linalg.eigvalsh(stiffness)
    assert_allclose(found.eigenvalues, np.sort(-interaction * tau / (a + interaction))[::-1], rtol=1e-9)
    assert_allclose(found.iid_trace, abs(interaction) * np.trace(free), rtol=1e-9)
    assert_allclose(variance_trace(table, rest.measure.mass), found.iid_trace, rtol=1e-12)
    assert_allclose(found.propagation_of_chaos, abs(interaction) * tau * np.sum(1.0 / a), rtol=1e-9)
    assert (found.propagation_of_chaos > found.iid_trace) == (interaction > 0.0)
    assert_allclose(found.log_determinant_gap, 0.5 * tau * np.sum(np.log(a / (a + interaction))), rtol=1e-9)
    entropy = 0.5 * np.sum(np.log(a / (a + interaction)) + interaction / a)
    assert_allclose(found.relative_entropy, entropy, rtol=1e-9)


def test_oscillators_below_the_critical_coupling() -> None:
    """Uniform law, Var cos = Var sin = 1/2, c = -K: N E|f_N|^2 -> K/(1 - K/(2 tau)), infinite at K = 2 tau."""
    problem = pairwise_problem(0.5, potential="none", interaction="cosine", strength=0.9)
    table = tabulate(problem, cases.box_grid(problem, ((-np.pi, np.pi),), 64))
    found = fluctuations(table, stationary(table, np.zeros(2)))
    assert_allclose(found.eigenvalues, [-0.45, -0.45], rtol=1e-12)
    assert_allclose(found.propagation_of_chaos, 0.9 / (1.0 - 0.9), rtol=1e-11)


@pytest.mark.parametrize(("interaction", "strength", "start"), [("cosine", 1.2, 0.4), ("cosine", 1.2, 0.0)])
def test_no_fluctuations_where_the_state_is_not_a_strict_minimum(
    interaction: str, strength: float, start: float
) -> None:
    """Synchronised oscillators turn freely; the uniform state above the critical coupling is not even stable."""
    problem = pairwise_problem(0.5, potential="none", interaction=interaction, strength=strength)
    table = tabulate(problem, cases.box_grid(problem, ((-np.pi, np.pi),), 64))
    rest = stationary(table, np.array([start, 0.0]))
    assert (np.hypot(*rest.f) > 0.1) == (start > 0.0)
    with pytest.raises(NumericalError, match="not a strict minimum"):
        fluctuations(table, rest)


def test_no_fluctuations_at_the_top_of_a_double_well() -> None:
    problem = pairwise_problem(0.2, potential="double-well")
    table = tabulate(problem, cases.box_grid(problem, ((-3.5, 3.5),), 128))
    well, top = stationary(table, np.array([0.8])), stationary(table, np.zeros(1))
    assert fluctuations(table, well).propagation_of_chaos > 0.0
    with pytest.raises(NumericalError, match="not a strict minimum"):
        fluctuations(table, top)


@given(
    seed=st.integers(0, 2**31),
    loss=st.sampled_from(("square", "logistic")),
    temperature=st.floats(0.05, 2.0),
    train=st.sampled_from((("w",), ("a", "w"), ("a",), ("w", "b"))),
    signs=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_plain_matrices_and_inequalities(
    seed: int, loss: str, temperature: float, train: tuple[str, ...], signs: bool
) -> None:
    """The formulas as they stand; the interaction damps: C_PoC <= iid trace, log-det gap <= half a trace, KL >= 0."""
    problem = small_problem(seed, loss, train, temperature)
    table, rest = rested(problem, SIGNS if signs else ONE)
    found = fluctuations(table, rest)
    plain = plain_constants(problem, rest)
    assert_allclose(numbers(found), plain, rtol=1e-8, atol=1e-12)
    within, between = plain_covariances(problem, rest.measure)
    bend = curvature_of(problem, rest.f)
    top = np.sort(np.linalg.eigvals(within * bend).real)[::-1][: len(found.eigenvalues)]
    assert_allclose(found.eigenvalues, top, rtol=1e-8, atol=1e-13)
    if loss == "square" or not np.any(between > 1e-14):
        assert found.propagation_of_chaos <= found.iid_trace * (1.0 + 1e-12)
    assert found.log_determinant_gap <= 0.5 * float(np.diag(within + between) @ bend) * (1.0 + 1e-12)
    assert found.relative_entropy >= -1e-14
    assert found.log_determinant_gap >= temperature * found.relative_entropy


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_frozen_signs_by_quadrature_of_the_tilted_gaussian(loss: str) -> None:
    """X ~ N(0, S_w) tilted by exp(-|X + Y|_L^2/(2 tau)) given Y ~ N(0, S_b), integrated node by node."""
    problem = small_problem(8, loss, ("w",), 0.2, nodes=3)
    table, rest = rested(problem, SIGNS, cells=48)
    within, between = plain_covariances(problem, rest.measure)
    c, bend, tau = problem.data.weights, curvature_of(problem, rest.f), problem.temperature
    z, p = quadrature.gauss_hermite(36)
    grid = np.stack(np.meshgrid(z, z, z, indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.einsum("i,j,k->ijk", p, p, p).reshape(-1)
    variance, axes = np.linalg.eigh(within)
    x = grid @ (axes * np.sqrt(np.maximum(variance, 0.0))).T
    # two species of equal probability: their means differ from the total by one vector of either sign
    step = np.sqrt(np.diag(between)) * np.sign(between[0])
    assert_allclose(np.outer(step, step), between, atol=1e-14)
    assert np.sum(c * step**2) > 0.1 * float(c @ np.diag(within))
    total = np.zeros(3)
    for zeta, share in zip(z, p, strict=True):
        u = x + zeta * step
        tilt = -0.5 * u**2 @ bend / tau
        density = weights * np.exp(tilt)
        mass = density.sum()
        entropy = density @ tilt / mass - np.log(mass)
        total += share * np.array([density @ (u**2 @ c) / mass, -tau * np.log(mass), entropy])
    assert_allclose(numbers(fluctuations(table, rest))[1:], total, rtol=1e-8)


def test_nodes_of_hardly_any_weight_change_nothing() -> None:
    """Far quadrature nodes weigh 1e-30 and see features of size e^20: they must not spoil the rest."""
    rng = np.random.default_rng(5)
    x, y, c = rng.standard_normal((5, 1)), rng.standard_normal(5), rng.random(5)
    coordinates = network_coordinates((1,), ("w",), False, dict.fromkeys("awb", 0.5), ONES)
    found = []
    for far in (0, 3):
        far_x = np.linspace(30.0, 40.0, far)[:, None]
        data = DataLaw(
            np.concatenate([x, far_x]), np.append(y, np.ones(far)), np.append(c / c.sum(), np.full(far, 1e-30)), (1,)
        )
        problem = Problem(Network("quadratic"), data, "square", 0.2, coordinates)
        table = tabulate(problem, cases.box_grid(problem, ((-5.0, 5.0),), 96))
        found.append(numbers(fluctuations(table, stationary(table, np.zeros(5 + far)))))
    assert_allclose(found[1], found[0], rtol=1e-9)


@pytest.mark.parametrize("way", ["compressed", "precomputed", "direct"])
@pytest.mark.parametrize(
    ("train", "a"), [(("w",), ONE), (("w",), SIGNS), (("a", "w"), ONE), (("w", "b"), GroupLaw("normal"))]
)
def test_variance_of_any_grid_measure(way: str, train: tuple[str, ...], a: GroupLaw) -> None:
    """sum_q c_q Var(phi_q) from the features of all cells, and E|f_N - f|^2 of two neurons summed over all pairs."""
    problem = small_problem(3, "square", train, 0.3)
    table, rest = rested(problem, a, cells=8, way=way)
    c = problem.data.weights
    for measure in (rest.measure, normalised(table.grid, np.random.default_rng(1).random(table.grid.shape))):
        phi, m, f = plain_features(problem, measure), measure.weights, table.predict(measure.mass)
        assert_allclose(variance_trace(table, measure.mass), m @ (phi - f) ** 2 @ c, rtol=1e-10)
        if len(m) <= 64:
            pairs = 0.5 * (phi[:, None] + phi) - f
            assert_allclose(variance_trace(table, measure.mass), 2.0 * m @ (pairs**2 @ c) @ m, rtol=1e-10)
    assert_allclose(fluctuations(table, rest).iid_trace, variance_trace(table, rest.measure.mass), rtol=1e-10)


def test_a_point_has_no_variance_and_species_have_their_means() -> None:
    problem = small_problem(4, "square", ("w",), 0.3)
    table, rest = rested(problem, SIGNS)
    means = species_means(table, rest.measure.mass)
    assert_allclose(0.5 * (means[0] + means[1]), rest.f, rtol=1e-12)
    phi = plain_features(problem, rest.measure).reshape(2, -1, 4)
    assert_allclose(means, 2.0 * np.einsum("ki,kiq->kq", rest.measure.mass, phi), rtol=1e-12)
    lone, _ = rested(problem)
    mass = np.zeros(lone.grid.shape)
    mass[0, 3] = 1.0
    assert 0.0 <= variance_trace(lone, mass) <= 1e-15
