"""Active component: projections by hand, parity (docs/theory.md), grids and particles, blind laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde import datalaws
from mfpde.errors import ConfigError
from mfpde.measures import Axis, Grid, ParticleMeasure, Species, normalised
from mfpde.pairwise import pairwise_problem
from mfpde.problem import Network, Problem, network_coordinates
from mfpde.tabulate import tabulate
from mfpde.theory.active import active_atoms, active_component, active_part, visible
from mfpde.theory.ridge import Atoms, network, neurons


def circle(count: int) -> np.ndarray:
    angles = 2.0 * np.pi * (np.arange(count) + 0.5) / count
    return np.column_stack([np.cos(angles), np.sin(angles)])


def plane() -> tuple[np.ndarray, np.ndarray]:
    """A product rule for N(0, I_2) that is symmetric under x -> -x."""
    z = np.arange(-40, 41) / 5.0
    weights = np.exp(-0.5 * z**2)
    weights /= weights.sum()
    x = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    return x, np.outer(weights, weights).reshape(-1)


def problem_of(activation: str, law: datalaws.DataLaw, train: tuple[str, ...] = ("a", "w", "b")) -> Problem:
    ones = dict.fromkeys("awb", 1.0)
    return Problem(
        Network(activation), law, "square", 0.2, network_coordinates(law.blocks, train, "b" in train, ones, ones)
    )


# what the half circle sees, and how many of 24 directions' harmonics: odd, even, even and the first moment
@pytest.mark.parametrize(
    ("activation", "parity", "rank"), [("tanh", 1, 12), ("erf", 1, 12), ("quadratic", 0, 3), ("relu", 0, 14)]
)
def test_theorem_a_on_the_circle(activation: str, parity: int, rank: int, rng: np.random.Generator) -> None:
    """Odd activations see the odd part of nu, even ones the even part, relu the even part and the first moment."""
    count = 24
    w = circle(count)
    half = rng.standard_normal(count // 2)
    odd, even = np.append(half, -half), np.append(half, half)
    x, weights = plane()

    def fraction(a: np.ndarray) -> float:
        return active_atoms(activation, Atoms(a, w, np.zeros(count)), x, weights).fraction

    found = active_atoms(activation, Atoms(odd + even, w, np.zeros(count)), x, weights)
    assert found.rank == rank
    if activation == "quadratic":
        assert fraction(odd) < 1e-20 and fraction(even) < 0.9
        return
    if activation == "relu":
        assert fraction(even) == pytest.approx(1.0, abs=1e-10)
        first = w @ (odd @ w)
        assert fraction(first) == pytest.approx(1.0, abs=1e-10)
        moments = w.T @ odd
        invisible = odd - w @ moments * 2.0 / count
        assert fraction(invisible) < 1e-20
        return
    assert fraction(even) < 1e-20
    assert fraction(odd) == pytest.approx(1.0, abs=1e-10)
    assert_allclose(found.representative, odd, atol=1e-9)
    assert parity == 1


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(2, 12), nodes=st.integers(1, 15))
def test_the_representative_is_the_least_of_its_class(activation: str, seed: int, cells: int, nodes: int) -> None:
    """Against the dense Gram matrix: same function, no larger norm than any other member, a projection."""
    rng = np.random.default_rng(seed)
    x, weights, reference = rng.standard_normal((nodes, 2)), rng.random(nodes) + 0.1, rng.random(cells) + 0.1
    atoms = Atoms(rng.standard_normal(cells), rng.standard_normal((cells, 2)), rng.standard_normal(cells))
    features = neurons(activation, atoms, x).T
    found = active_component(features, weights, atoms.a, reference)
    root = np.sqrt(reference)
    gram = (root[:, None] * features * weights) @ (root[:, None] * features).T
    values, vectors = np.linalg.eigh(gram)
    seen = vectors[:, values > 1e-10 * values[-1]]
    assert found.rank == seen.shape[1] <= min(cells, nodes)
    density = atoms.a / root
    assert found.fraction == pytest.approx(float(np.sum((seen.T @ density) ** 2) / np.sum(density**2)), abs=1e-6)
    assert_allclose(found.representative @ features, atoms.a @ features, atol=1e-3 * np.max(np.abs(features)) * cells)
    assert found.function_error < 1e-3
    again = active_component(features, weights, found.representative, reference)
    assert again.fraction == pytest.approx(1.0, abs=1e-9) or found.fraction == 0.0
    assert 0.0 <= found.fraction <= 1.0 + 1e-12


def test_a_symmetric_grid_of_weights_and_biases(rng: np.random.Generator) -> None:
    """On a grid the output weight is integrated out first; nu(w, b) = nu(-w, -b) is what an odd network cannot see."""
    law = datalaws.nodes(np.linspace(-2.0, 2.0, 9)[:, None], np.zeros(9))
    problem = problem_of("tanh", law)
    axes = tuple(Axis(c, -2.0, 2.0, n) for c, n in zip(problem.moving, (6, 4, 2), strict=True))
    grid = Grid(axes, Species((), np.zeros((1, 0)), np.ones(1)))
    mass = rng.random(grid.shape) + 0.1
    even = mass + mass[:, :, ::-1, ::-1]  # the same law of a at (w, b) and (-w, -b)
    odd = mass + mass[:, ::-1, ::-1, ::-1]  # the opposite one
    low = active_part(problem, normalised(grid, even))
    assert low.fraction < 1e-20 and low.rank == 4
    high = active_part(problem, normalised(grid, odd))
    assert high.fraction == pytest.approx(1.0, abs=1e-10)
    table = tabulate(problem, grid, way="precomputed")
    measure = normalised(grid, mass)
    mixed = active_part(problem, measure)
    assert_allclose(mixed.amplitude, table.collapse(measure.mass), rtol=1e-14)
    assert_allclose(mixed.representative @ table.features.table, table.predict(measure.mass), atol=1e-8)  # type: ignore[union-attr]
    assert 0.0 < mixed.fraction < 1.0


def test_radii_carry_the_volume_of_their_shells(rng: np.random.Generator) -> None:
    """The fraction is that of the full-dimensional measure: a block of dimension m weighs cells by r^(m - 1)."""
    for block in (3, 5000):
        law = datalaws.nodes(rng.random((6, 1)) * np.sqrt(block), np.zeros(6))
        law = datalaws.DataLaw(law.x, law.y, law.weights, (block,))
        problem = problem_of("tanh", law, ("a", "w", "b"))
        names = [c.name for c in problem.moving]
        bounds = {"a": (-1.0, 1.0, 3), "w": (0.0 if block == 3 else 1.9, 2.0, 5), "b": (-1.0, 1.0, 4)}
        axes = tuple(Axis(c, *bounds[c.name]) for c in problem.moving)
        grid = Grid(axes, Species((), np.zeros((1, 0)), np.ones(1)))
        measure = normalised(grid, rng.random(grid.shape) + 0.1)
        found = active_part(problem, measure)
        assert names == ["a", "w", "b"] and np.isfinite(found.fraction) and found.rank > 0
        logs = (block - 1) * np.log(axes[1].centers / axes[1].centers.max())
        table = tabulate(problem, grid, way="precomputed").features.table  # type: ignore[union-attr]
        expected = active_component(table, law.weights, found.amplitude, np.repeat(np.exp(np.maximum(logs, -600.0)), 4))
        assert found.fraction == pytest.approx(expected.fraction, rel=1e-9)


def test_particles_are_their_own_reference(rng: np.random.Generator) -> None:
    law = datalaws.nodes(rng.standard_normal((7, 2)), np.zeros(7))
    problem = problem_of("gelu", law)
    atoms = Atoms(rng.standard_normal(30), rng.standard_normal((30, 2)), rng.standard_normal(30))
    shares = rng.random(30)
    shares /= shares.sum()
    columns = {"a": atoms.a, "w0": atoms.w[:, 0], "w1": atoms.w[:, 1], "b": atoms.b}
    found = {}
    for order in (("a", "w0", "w1", "b"), ("b", "w1", "a", "w0")):
        measure = ParticleMeasure(order, np.stack([columns[name] for name in order], axis=1), shares)
        found[order] = active_part(problem, measure)
    one, other = found.values()
    assert one.fraction == other.fraction and one.rank == 7
    assert_allclose(one.amplitude, shares * atoms.a)
    # splitting a particle in two of half its weight is no other measure
    twice = ParticleMeasure(measure.names, np.concatenate([measure.atoms] * 2), np.append(shares, shares) / 2.0)
    assert active_part(problem, twice).fraction == pytest.approx(one.fraction, rel=1e-9)


def test_what_a_law_sees_of_atoms(rng: np.random.Generator) -> None:
    x = np.column_stack([rng.random(20) + 0.5, np.zeros(20)])
    w = np.array([[-1.0, 3.0], [1.0, 2.0], [0.0, 5.0], [2.0, 0.0]])
    atoms = Atoms(np.array([1.0, 2.0, 3.0, 0.0]), w, np.zeros(4))
    seen = visible("relu", atoms, x)
    # dead on x_1 > 0; seen without its second coordinate; sigma(0) = 0; a = 0
    assert_allclose(seen.a, [2.0])
    assert_allclose(seen.w, [[1.0, 0.0]], atol=1e-12)
    assert_allclose(network("relu", seen, x), network("relu", atoms, x), atol=1e-13)
    assert len(visible("tanh", atoms, np.zeros((3, 2))).a) == 0


def test_degenerate_and_bad_requests() -> None:
    nothing = active_component(np.ones((3, 2)), np.ones(2), np.zeros(3), np.ones(3))
    assert nothing.fraction == 0.0 and nothing.rank == 1 and nothing.function_error == 0.0
    blind = active_component(np.zeros((3, 2)), np.ones(2), np.ones(3), np.ones(3))
    assert blind.fraction == 0.0 and blind.rank == 0 and not np.any(blind.representative)
    with pytest.raises(ConfigError, match="do not fit"):
        active_component(np.ones((3, 2)), np.ones(3), np.zeros(3), np.ones(3))
    with pytest.raises(ConfigError, match="must be positive"):
        active_component(np.ones((3, 2)), np.ones(2), np.zeros(3), np.zeros(3))
    explicit = pairwise_problem(0.1)
    with pytest.raises(ConfigError, match="explicit interaction"):
        active_part(explicit, ParticleMeasure(("x",), np.zeros((1, 1)), np.ones(1)))
