"""Problems tabulated on grids: features against formulas, the skeleton against all nodes, adjoints, interactions."""

from __future__ import annotations

from itertools import product

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde import problem as problems
from mfpde.core import parallel
from mfpde.errors import ConfigError
from mfpde.evolve import Control, State, evolve
from mfpde.measures import Axis, Grid, Species, normalised
from mfpde.pairwise import gaussian_modes, pairwise_gradient, pairwise_problem
from mfpde.problem import DataLaw, Network, Population, Problem, network_coordinates
from mfpde.stationary import stationary
from mfpde.tabulate import Tabulated, external_potential, interpolative, node_features, plan, tabulate
from mfpde.tabulate.choice import choose
from mfpde.tabulate.features import Cells
from mfpde.tabulate.skeleton import skeleton

SMOOTH = ("tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "quadratic", "identity", "hermite")
HERMITE = (0.2, 1.0, -0.5, 0.3)
ONES = dict.fromkeys("awb", 1.0)


def network(activation: str, law: DataLaw, train: tuple[str, ...], decay: float = 0.3, scale: float = 1.0) -> Problem:
    coordinates = network_coordinates(law.blocks, train, "b" in train, dict.fromkeys("awb", decay), ONES)
    return Problem(Network(activation, HERMITE, scale), law, "square", 0.2, coordinates)


def grid_of(problem: Problem, cells: int, species: Species | None = None) -> Grid:
    if species is None:
        names = tuple(c.name for c in problem.frozen)
        species = Species(names, np.linspace(-1.0, 1.0, 2 * len(names)).reshape(2, -1), np.array([0.4, 0.6]))
    axes = tuple(Axis(c, 0.0 if c.kind == "radius" else -1.5, 2.0, cells + k) for k, c in enumerate(problem.moving))
    return Grid(axes, species)


def random_nodes(rng: np.random.Generator, count: int, dimension: int) -> DataLaw:
    return datalaws.nodes(rng.standard_normal((count, dimension)), rng.standard_normal(count), rng.random(count) + 0.1)


def brute_features(problem: Problem, atoms: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """a sigma(<w, x> + b) averaged over the rotations, atom by atom : [m, n]."""
    x, average = datalaws.rotation_average(problem.data)
    columns = {name: atoms[:, k] for k, name in enumerate(names)}
    z = np.zeros((len(atoms), *x.shape[:2]))
    for k, name in enumerate(n for n in names if n.startswith("w")):
        z += columns[name][:, None, None] * x[None, :, :, k]
    if "b" in columns:
        z += columns["b"][:, None, None]
    model = problem.model
    assert isinstance(model, Network)
    values = naive.activation(model.activation, z, model.hermite) @ average
    return values * columns["a"][:, None]


@given(
    activation=st.sampled_from((*SMOOTH, "relu")),
    train=st.sampled_from((("w",), ("a", "w"), ("w", "b"), ("a", "w", "b"), ("a",))),
    seed=st.integers(0, 2**31),
    scale=st.floats(0.2, 3.0),
)
@settings(max_examples=50, deadline=None)
def test_predictions_and_first_variation_equal_the_sums_over_atoms_and_nodes(
    activation: str, train: tuple[str, ...], seed: int, scale: float
) -> None:
    """All cells, all nodes, frozen species: f = scale E phi and Psi = scale sum_q r_q phi_q + V."""
    rng = np.random.default_rng(seed)
    problem = network(activation, random_nodes(rng, 7, 1), train, scale=scale)
    grid = grid_of(problem, 6)
    table = tabulate(problem, grid)
    measure = normalised(grid, rng.random(grid.shape))
    phi = brute_features(problem, measure.atoms, measure.names)
    f = table.predict(measure.mass)
    assert_allclose(f, scale * (measure.weights @ phi), rtol=1e-10, atol=1e-10)
    r = rng.standard_normal(7)
    decay = sum(0.15 * measure.coordinate(c.name).reshape(-1) ** 2 for c in problem.moving)
    assert_allclose(table.first_variation(r).reshape(-1), scale * (phi @ r) + decay, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("dimension", [1, 2, 3, 20])
def test_the_skeleton_carries_all_nodes_of_a_gaussian_law(
    activation: str, dimension: int, rng: np.random.Generator
) -> None:
    """Predictions and potential through the skeleton nodes against all node features, in every reduction."""
    law = datalaws.gaussian(Population(dimension, "hermite", (0.0, 1.0, 0.0, 0.4)), count=30)
    problem = network(activation, law, ("w",))
    grid = grid_of(problem, 12, Species(("a",), np.array([[0.7]]), np.ones(1)))
    table = tabulate(problem, grid)
    measure = normalised(grid, rng.random(grid.shape))
    full = 0.7 * node_features(problem, measure.atoms[:, [measure.names.index(n) for n in grid.names]])
    f = measure.weights @ full
    scale = np.max(np.abs(full))
    assert_allclose(table.predict(measure.mass), f, atol=1e-10 * scale)
    r = problems.residual(problem, f)
    psi = table.first_variation(r) - table.potential
    assert_allclose(psi.reshape(-1), full @ r, atol=1e-10 * scale * np.max(np.abs(r)))
    assert table.rank <= len(law.y)


def test_node_features_select_a_part() -> None:
    law = datalaws.gaussian(Population(3, "tanh"), count=12)
    problem = network("erf", law, ("w",))
    points = np.array([[0.3, 0.8], [-1.0, 0.1]])
    chosen = np.array([4, 0, 7])
    assert np.array_equal(node_features(problem, points, chosen), node_features(problem, points)[:, chosen])


@pytest.mark.parametrize("loss", ["square", "logistic"])
def test_the_first_variation_is_the_derivative_of_the_risk(loss: str, rng: np.random.Generator) -> None:
    """d/de risk(rho + e nu) = <Psi - V, nu> by central differences."""
    law = random_nodes(rng, 9, 2)
    law = DataLaw(law.x, np.sign(law.y) if loss == "logistic" else law.y, law.weights, law.blocks)
    square = network("tanh", law, ("a", "w"))
    problem = Problem(square.model, law, loss, 0.2, square.coordinates)  # type: ignore[arg-type]
    grid = grid_of(problem, 5, Species((), np.zeros((1, 0)), np.ones(1)))
    table = tabulate(problem, grid)
    mass = normalised(grid, rng.random(grid.shape)).mass
    direction = rng.standard_normal(grid.shape) / mass.size

    def risk(m: np.ndarray) -> float:
        return problems.risk(problem, table.predict(m))

    psi = table.first_variation(problems.residual(problem, table.predict(mass))) - table.potential
    slope = (risk(mass + 1e-4 * direction) - risk(mass - 1e-4 * direction)) / 2e-4
    assert slope == pytest.approx(float(np.sum(psi * direction)), rel=1e-6, abs=1e-9)


INTERACTIONS = {
    "quadratic": (lambda d, s, w: 0.5 * s * np.sum(d * d, axis=-1)),
    "gaussian": (lambda d, s, w: s * np.exp(-0.5 * np.sum(d * d, axis=-1) / w**2)),
    "cosine": (lambda d, s, w: -s * np.cos(d[..., 0])),
}


@pytest.mark.parametrize(("interaction", "dimension"), [("quadratic", 1), ("quadratic", 3), ("gaussian", 1),
                                                        ("gaussian", 2), ("cosine", 1)])  # fmt: skip
@pytest.mark.parametrize("strength", [0.7, -0.4])
def test_an_explicit_interaction_is_its_double_sum(
    interaction: str, dimension: int, strength: float, rng: np.random.Generator
) -> None:
    """Energy half of int int W and potential int W(x - y) rho(dy), pair by pair, up to a constant."""
    potential = "none" if interaction == "cosine" else "double-well"
    problem = pairwise_problem(
        0.3, dimension=dimension, potential=potential, potential_strength=0.6, interaction=interaction,
        strength=strength, width=0.8,
    )  # fmt: skip
    bounds = (-np.pi, np.pi) if interaction == "cosine" else (-1.5, 2.0)
    grid = Grid(tuple(Axis(c, *bounds, 6) for c in problem.moving), Species((), np.zeros((1, 0)), np.ones(1)))
    table = tabulate(problem, grid)
    measure = normalised(grid, rng.random(grid.shape))
    x, p = measure.atoms, measure.weights
    pairs = INTERACTIONS[interaction](x[:, None, :] - x[None, :, :], strength, 0.8)
    square = np.sum(x * x, axis=1)
    outer = 0.6 * (0.25 * square**2 - 0.5 * square) if potential == "double-well" else 0.0 * square
    f = table.predict(measure.mass)
    energy = problems.risk(problem, f) + float(np.sum(measure.mass * table.potential))
    assert energy == pytest.approx(0.5 * float(p @ pairs @ p) + float(p @ outer), rel=1e-11, abs=1e-12)
    psi = table.first_variation(problems.residual(problem, f)).reshape(-1)
    exact = pairs @ p + outer
    assert_allclose(psi - psi[0], exact - exact[0], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("interaction", ["quadratic", "gaussian", "cosine"])
@pytest.mark.parametrize("potential", ["quadratic", "double-well"])
def test_the_force_of_an_explicit_problem_is_the_gradient(
    interaction: str, potential: str, rng: np.random.Generator
) -> None:
    potential = "none" if interaction == "cosine" else potential
    problem = pairwise_problem(0.3, potential=potential, interaction=interaction, strength=0.7, width=0.8)
    r = rng.standard_normal(len(problem.data.y))
    step, at = 1e-5, 0.37

    def psi(x: float) -> float:
        grid = Grid((Axis(problem.moving[0], x - 0.5, x + 0.5, 1),), Species((), np.zeros((1, 0)), np.ones(1)))
        return float(tabulate(problem, grid).first_variation(r)[0, 0])

    force = pairwise_gradient(problem.model, np.array([[at]]), r)[0, 0]  # type: ignore[arg-type]
    assert (psi(at + step) - psi(at - step)) / (2.0 * step) == pytest.approx(force, rel=1e-7)


@pytest.mark.parametrize(("dimension", "width"), [(1, 0.3), (1, 2.0), (2, 0.9)])
def test_gaussian_modes_sum_to_the_gaussian(dimension: int, width: float, rng: np.random.Generator) -> None:
    frequencies, weights = gaussian_modes(dimension, width, 8.0)
    r = rng.uniform(-8.0 / np.sqrt(dimension), 8.0 / np.sqrt(dimension), (50, dimension))
    found = np.cos(r @ frequencies.T) @ weights
    assert_allclose(found, np.exp(-0.5 * np.sum(r * r, axis=1) / width**2), atol=1e-14)


def test_external_potential_is_weight_decay_of_what_moves() -> None:
    decay = {"a": 0.1, "w": 0.4, "b": 0.9}
    coordinates = network_coordinates((1, 3), ("w", "b"), True, decay, ONES)
    problem = Problem(
        Network("tanh"), DataLaw(np.zeros((1, 2)), np.zeros(1), np.ones(1), (1, 3)), "square", 0.1, coordinates
    )
    grid = grid_of(problem, 4, Species(("a",), np.array([[2.0]]), np.ones(1)))
    w0, w1, b = (axis.centers for axis in grid.axes)
    for i, j, k in product(range(4), range(5), range(6)):
        exact = 0.2 * (w0[i] ** 2 + w1[j] ** 2) + 0.45 * b[k] ** 2
        assert external_potential(problem, grid)[0, i, j, k] == pytest.approx(exact, rel=1e-14)


def test_interpolative_columns_reproduce_a_low_rank_matrix(rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 30))
    nodes, coefficients = interpolative(matrix, 1e-12)
    assert len(nodes) == 5
    assert_allclose(matrix[:, nodes] @ coefficients, matrix, atol=1e-11)
    assert_allclose(coefficients[:, nodes], np.eye(5), atol=1e-14)
    zero, _ = interpolative(np.zeros((4, 3)), 1e-12)
    assert len(zero) == 1


def test_the_kink_of_relu_is_averaged_over_the_sphere() -> None:
    """A block of three inputs: t is uniform on [-1, 1], so E relu(R r t) = R r/4."""
    law = DataLaw(np.array([[0.0, 1.3]]), np.zeros(1), np.ones(1), (1, 3))
    problem = network("relu", law, ("w",))
    value = node_features(problem, np.array([[0.0, 0.8]]))[0, 0]
    assert value == pytest.approx(1.3 * 0.8 * 0.25, rel=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"potential": "cubic"},
        {"interaction": "coulomb"},
        {"interaction": "cosine", "potential": "quadratic"},
        {"interaction": "gaussian", "dimension": 3},
    ],
)
def test_explicit_problems_without_meaning_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="pairwise"):
        pairwise_problem(0.1, **arguments)  # type: ignore[arg-type]


def test_tables_are_values() -> None:
    problem = pairwise_problem(0.3)
    table = tabulate(problem, Grid((Axis(problem.moving[0], -1.0, 1.0, 4),), Species((), np.zeros((1, 0)), np.ones(1))))
    with pytest.raises(AttributeError):
        table.rank = 3  # type: ignore[misc]
    assert isinstance(table, Tabulated)


# ---- ways to keep features ---------------------------------------------------------------------------------------

WAYS = ("compressed", "precomputed", "direct")


def gaussian_law(dimension: int, count: int = 16) -> DataLaw:
    return datalaws.gaussian(Population(dimension, "hermite", (0.0, 1.0, 0.0, 0.4)), count=count)


def settings_of_ways() -> dict[str, tuple[Problem, Grid]]:
    """Rotations, kinks, an a-axis, species that differ in a alone, in a and b, and explicit interactions."""
    mixed = Species(("a", "b"), np.array([[1.0, 0.3], [-1.0, 0.3], [0.5, -0.2]]), np.array([0.3, 0.3, 0.4]))
    many_a = Species(("a",), np.array([[-1.0], [0.5], [2.0]]), np.array([0.2, 0.5, 0.3]))
    decay = dict.fromkeys("awb", 0.3)
    biased = Problem(
        Network("tanh"), gaussian_law(1), "square", 0.2, network_coordinates((1,), ("w",), True, decay, ONES)
    )
    explicit = pairwise_problem(0.3, 2, "double-well", 0.6, interaction="gaussian", strength=0.7, width=0.8)
    circle = pairwise_problem(0.3, potential="none", interaction="cosine")
    line = Species((), np.zeros((1, 0)), np.ones(1))
    found = {
        "rotations": network("erf", gaussian_law(5), ("w",), scale=1.7),
        "kink": network("relu", gaussian_law(2), ("w",)),
        "kink and rotations": network("relu", gaussian_law(4), ("w",)),
        "a-axis": network("tanh", gaussian_law(1), ("a", "w", "b"), scale=0.6),
        "quadratic": network("quadratic", gaussian_law(3), ("w",)),
    }
    grids = {name: (problem, grid_of(problem, 7, many_a if len(problem.moving) < 3 else line))
             for name, problem in found.items()}  # fmt: skip
    grids["species of a and b"] = biased, Grid((Axis(biased.moving[0], -2.0, 2.0, 11),), mixed)
    grids["explicit"] = explicit, grid_of(explicit, 9, line)
    grids["circle"] = circle, Grid((Axis(circle.moving[0], -np.pi, np.pi, 16),), line)
    return grids


@pytest.mark.parametrize("name", list(settings_of_ways()))
def test_all_ways_give_the_same_sums(name: str, rng: np.random.Generator) -> None:
    """Predictions, first variation and covariance to 1e-11, and each as its definition has it."""
    problem, grid = settings_of_ways()[name]
    mass = normalised(grid, rng.random(grid.shape)).mass
    r = rng.standard_normal(len(problem.data.y))
    tables = [tabulate(problem, grid, way) for way in WAYS]
    assert [table.choice.taken.way for table in tables][1:] == list(WAYS[1:])
    first = tables[1]
    scale = float(np.max(np.abs(first.features.table))) * problem.scale  # type: ignore[union-attr]
    for table in tables:
        assert_allclose(table.predict(mass), first.predict(mass), atol=1e-11 * scale, rtol=0.0)
        psi, expected = table.first_variation(r), first.first_variation(r)
        assert psi.shape == grid.shape
        assert_allclose(psi, expected, atol=1e-11 * scale * float(np.sum(np.abs(r))), rtol=0.0)
        assert_allclose(table.covariance(mass), first.covariance(mass), atol=1e-11 * scale**2, rtol=0.0)
    values = node_cells(problem, grid)
    f = problem.scale * np.einsum("kc,kcn->n", mass.reshape(len(mass), -1), values)
    assert_allclose(first.predict(mass), f, atol=1e-12 * scale)
    psi = problem.scale * (values @ r).reshape(grid.shape) + first.potential
    assert_allclose(first.first_variation(r), psi, atol=1e-12 * scale * float(np.sum(np.abs(r))))
    exact = np.zeros((len(r), len(r)))
    for share, m, phi in zip(grid.species.probabilities, mass, values, strict=True):
        p, phi = m.reshape(-1) / share, phi.reshape(-1, len(r))
        exact += share * ((phi.T * p) @ phi - np.outer(p @ phi, p @ phi))
    assert_allclose(first.covariance(mass), exact, atol=1e-12 * scale**2, rtol=1e-10)


def node_cells(problem: Problem, grid: Grid) -> np.ndarray:
    """phi with the output weight on every cell : [K, cells, n], from the atoms of the grid."""
    measure = normalised(grid, np.ones(grid.shape))
    inner = [measure.names.index(c.name) for c in problem.coordinates if c.name != "a"]
    values = node_features(problem, np.ascontiguousarray(measure.atoms[:, inner]))
    if isinstance(problem.model, Network):
        values = values * measure.atoms[:, measure.names.index("a"), None]
    return values.reshape(grid.shape[0], -1, values.shape[1])


@pytest.mark.parametrize("way", WAYS)
def test_the_flow_and_its_end_do_not_depend_on_the_way(way: str) -> None:
    """The steps of the limit iterate over skeleton predictions, Newton uses the covariance: both in every way."""
    problem = network("tanh", gaussian_law(1), ("a", "w"))
    grid = grid_of(problem, 20, Species((), np.zeros((1, 0)), np.ones(1)))
    start = State(normalised(grid, np.ones(grid.shape)), 0.0)
    times = np.array([0.0, 0.3])
    ends = []
    for one in ("precomputed", way):
        table = tabulate(problem, grid, one)  # type: ignore[arg-type]
        last = list(evolve(problem, start, times, Control(fixed_step=0.05, extend=False), table))[-1]
        rest = stationary(table, last.f)
        assert abs(rest.gap) < 1e-12
        ends.append((last.measure.mass, rest.measure.mass))
    for one, two in zip(*ends, strict=True):
        assert_allclose(one, two, atol=1e-11)


@pytest.mark.parametrize("way", ["precomputed", "direct"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_sums_have_the_same_bits_for_any_number_of_threads(way: str, activation: str, rng: np.random.Generator) -> None:
    problem = network(activation, gaussian_law(2, 24), ("w",))
    grid = grid_of(problem, 150, Species(("a",), np.array([[0.7]]), np.ones(1)))
    mass, r = normalised(grid, rng.random(grid.shape)).mass, rng.standard_normal(len(problem.data.y))
    table = tabulate(problem, grid, way)  # type: ignore[arg-type]
    found = []
    for threads in (1, 2, 4):
        with parallel.team(threads):
            found.append((table.predict(mass), table.first_variation(r)))
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_species_of_one_kind_share_their_features() -> None:
    problem, grid = settings_of_ways()["species of a and b"]
    table = tabulate(problem, grid, "precomputed")
    assert table.kinds.tolist() == [0, 0, 1]
    assert table.features.table.shape == (2 * 11, len(problem.data.y))  # type: ignore[union-attr]


# ---- the choice --------------------------------------------------------------------------------------------------


def test_smooth_features_are_compressed_and_kinks_with_two_inputs_are_not() -> None:
    smooth = network("erf", gaussian_law(20, 60), ("w",))
    choice = plan(smooth, grid_of(smooth, 128, Species(("a",), np.ones((1, 1)), np.ones(1))))
    assert choice.taken.way == "compressed"
    assert choice.taken.rank < 0.6 * choice.nodes
    kinked = network("relu", gaussian_law(2, 60), ("w",))
    choice = plan(kinked, grid_of(kinked, 128, Species(("a",), np.ones((1, 1)), np.ones(1))))
    assert choice.taken.way == "direct"
    assert choice.taken.rank > 300
    assert "evaluated at every use" in choice.description
    assert "precomputed" in choice.description


def test_a_table_stays_within_the_memory_allowed() -> None:
    problem = network("erf", gaussian_law(20, 60), ("w",))
    ample, tight = choose(problem, 10**6, 200), choose(problem, 10**6, 200, budget=10**9)
    assert ample.taken.way == "compressed"
    assert tight.taken.way == "direct"
    assert "compressed" in tight.description and "too large" in tight.description
    assert ample.taken.nbytes == 8 * 200 * (10**6 + len(problem.data.y))
    # a cost that grows with the cells, and none that is the least of all and not taken
    assert choose(problem, 2 * 10**6, 200).taken.expected > ample.taken.expected
    assert all(o.expected >= ample.taken.expected for o in ample.others)


def test_more_nodes_than_candidates_are_carried_by_a_sample_of_them(rng: np.random.Generator) -> None:
    """3000 data on a line: few nodes are found among 512 of them, and hold on cells that were not fitted."""
    law = random_nodes(rng, 3000, 1)
    problem = network("tanh", law, ("w", "b"))
    cells = Cells((1, 60, 50), ((1, np.linspace(-2.0, 2.0, 60)), (2, np.linspace(-2.0, 2.0, 50))))
    found = skeleton(problem, cells)
    assert found is not None
    nodes, coefficients = found
    assert len(nodes) < 128
    points = cells.at(np.arange(cells.count))
    assert_allclose(points[60], [np.linspace(-2.0, 2.0, 60)[1], np.linspace(-2.0, 2.0, 50)[10]])
    values = node_features(problem, points)
    assert np.max(np.abs(values - values[:, nodes] @ coefficients)) < 3e-12
    assert_allclose(coefficients[:, nodes], np.eye(len(nodes)), atol=1e-14)


def test_what_a_skeleton_carries_holds_on_every_cell_of_a_kinked_activation() -> None:
    """Sectors between the kinks of two far nodes hold few cells, which samples miss."""
    problem = network("relu", gaussian_law(2, 40), ("w",))
    axis = np.linspace(-4.0, 4.0, 90)
    cells = Cells((1, 90, 90), ((1, axis), (2, axis)))
    found = skeleton(problem, cells)
    if found is not None:
        values = node_features(problem, cells.at(np.arange(cells.count)))
        assert np.max(np.abs(values - values[:, found[0]] @ found[1])) <= 1.1e-12 * np.max(np.abs(values))


def test_features_of_full_rank_have_no_skeleton(rng: np.random.Generator) -> None:
    problem = network("relu", random_nodes(rng, 40, 2), ("w", "b"))
    axis = np.linspace(-1.0, 1.0, 25)
    assert skeleton(problem, Cells((1, 25, 25, 25), ((1, axis), (2, axis), (3, axis)))) is None
    assert tabulate(problem, grid_of(problem, 6, Species(("a",), np.ones((1, 1)), np.ones(1)))).rank == 40
