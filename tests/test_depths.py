"""Variety depths by the Jacobian against Alexander and Hirschowitz; orbit depths against networks that prove them."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde.errors import ConfigError, NotConverged
from mfpde.theory.depths import degrees_of, jacobian, law_rank, numerical_rank, orbit_depth, random_atoms, variety_depth
from mfpde.theory.overlaps import gaussian_distance
from mfpde.theory.ridge import Atoms, monomials, ridge_coefficients, tensor_coordinates, tensor_distances
from mfpde.theory.symmetry import same_function
from mfpde.theory.twins import find_twin, generic_depth, twins, worst_case_depth

# variety depths for S = 1, 2, ... unit directions: ranks of Jacobians, by another program
TABLE = {
    2: {"odd": [1, 3, 5, 7], "even": [2, 4, 6, 8], "relu": [1, 2, 4, 6], "all": [1, 2, 3, 4]},
    3: {"odd": [1, 3, 3, 5, 5, 5], "even": [2, 4, 4, 4, 6, 6], "relu": [1, 2, 4, 4, 4, 4], "all": [1, 2, 3, 3, 3, 4]},
    4: {"odd": [1, 3, 3, 3, 3, 5], "even": [2, 4, 4, 4, 4, 4], "relu": [1, 2, 4, 4, 4, 4], "all": [1, 2, 3, 3, 3, 3]},
}
DENSE = (0.3, 0.5, 0.4, 0.2, 0.6, 0.3, 0.2, 0.5)


def alexander_hirschowitz(parity: int, dimension: int, atoms: int) -> int:
    """min D of a parity with C(D + d - 1, D) >= S d and Veronese secants that are not defective."""
    degree = parity or 2
    while True:
        defective = degree == 2 and 2 <= atoms <= dimension - 1
        defective |= (degree, dimension - 1, atoms) in {(3, 4, 7), (4, 2, 5), (4, 3, 9), (4, 4, 14)}
        if comb(degree + dimension - 1, degree) >= atoms * dimension and not defective:
            return degree
        degree += 2


@pytest.mark.parametrize("dimension", TABLE)
@pytest.mark.parametrize("kind", ["odd", "even", "relu", "all"])
def test_the_table_of_variety_depths(dimension: int, kind: str) -> None:
    found = [variety_depth(kind, dimension, s + 1) for s in range(len(TABLE[dimension][kind]))]
    assert [one.depth for one in found] == TABLE[dimension][kind]
    for one in found:
        # ranks are decided by a gap of eight orders of magnitude
        assert min(one.smallest) > 1e-5 and max(one.largest_dropped) < 1e-13
        assert one.ranks[-1] == one.expected and np.all(np.diff(one.ranks) >= 0)
        assert np.all(np.array(one.ranks[:-1]) < one.expected)


def test_the_defective_quartic() -> None:
    """15 coefficients of a ternary quartic for 5 x 3 parameters, and yet one dimension is missing."""
    found = variety_depth("even", 3, 5)
    assert found.depth == 6 and found.ranks[found.degrees.index(4)] == 14 == comb(6, 4) - 1
    cubic = variety_depth("odd", 5, 7)
    assert cubic.depth == 5 and cubic.ranks[cubic.degrees.index(3)] == 34 == comb(7, 3) - 1
    quartic = variety_depth("even", 5, 14)
    assert quartic.depth == 6 and quartic.ranks[quartic.degrees.index(4)] == 69 == comb(8, 4) - 1


@pytest.mark.parametrize("dimension", [2, 3, 4, 5])
@pytest.mark.parametrize(("kind", "parity"), [("odd", 1), ("even", 0)])
def test_variety_depths_are_those_of_secant_varieties(dimension: int, kind: str, parity: int) -> None:
    for atoms in range(1, 10 if dimension > 2 else 6):
        assert variety_depth(kind, dimension, atoms).depth == alexander_hirschowitz(parity, dimension, atoms)


def test_activations_have_the_depths_of_their_parity_class() -> None:
    for dimension, atoms in ((2, 3), (3, 4)):
        odd = variety_depth("odd", dimension, atoms)
        for name in ("tanh", "erf", "sin"):
            assert variety_depth(name, dimension, atoms) == odd
        lines = variety_depth("relu", dimension, atoms)
        for name in ("gelu", "softplus"):
            assert variety_depth(name, dimension, atoms) == lines
        # the scale of a relu neuron is a symmetry: free weights know no more than directions
        assert variety_depth("relu", dimension, atoms, "weight").depth == lines.depth


@pytest.mark.parametrize(("dimension", "depths"), [(1, [3, 7, 11]), (2, [3, 3, 5]), (3, [3, 3, 3])])
def test_free_weights_of_tanh(dimension: int, depths: list[int]) -> None:
    found = [variety_depth("tanh", dimension, s + 1, "weight") for s in range(3)]
    assert [one.depth for one in found] == depths
    assert [one.expected for one in found] == [(s + 1) * (dimension + 1) for s in range(3)]
    assert all(one.smallest[-1] > 1e-6 for one in found)


@pytest.mark.parametrize("free", ["direction", "weight", "weight and bias"])
def test_the_jacobian_is_the_slope_of_the_tensors(free: str, rng: np.random.Generator) -> None:
    atoms, step = random_atoms(3, 2, free, 5), 1e-6  # type: ignore[arg-type]
    for degree in range(6):
        found = jacobian("gelu", atoms, degree, free)  # type: ignore[arg-type]
        scale = ridge_coefficients("gelu", degree)[degree] if free == "direction" else 1.0

        def tensor(one: Atoms, degree: int = degree) -> np.ndarray:
            if free == "direction":
                return one.a @ monomials(one.w / np.linalg.norm(one.w, axis=1)[:, None], degree)
            return tensor_coordinates("gelu", one, degree)

        by_amplitude = [(tensor(Atoms(atoms.a + step * e, atoms.w, atoms.b)) - tensor(atoms)) / step for e in np.eye(2)]
        assert_allclose(found[:, :2], np.transpose(by_amplitude), atol=1e-5)
        slopes = []
        for entry in np.eye(6).reshape(6, 2, 3):
            up, down = (tensor(Atoms(atoms.a, atoms.w + s * entry, atoms.b)) for s in (step, -step))
            slopes.append((up - down) / (2.0 * step))
        span = np.transpose(slopes)
        if free == "direction":  # another basis of the tangent space, the same span
            assert_allclose(np.linalg.norm(found[:, 2:]), np.linalg.norm(span), rtol=1e-6, atol=1e-8)
            assert numerical_rank(np.hstack([found[:, 2:], span]), 1e-6)[0] == numerical_rank(found[:, 2:], 1e-6)[0]
            assert np.isfinite(scale)
        else:
            assert_allclose(found[:, 2:8], span, atol=1e-7)
        if free == "weight and bias":
            for s in range(2):
                up, down = (tensor(Atoms(atoms.a, atoms.w, atoms.b + h * np.eye(2)[s])) for h in (step, -step))
                assert_allclose(found[:, 8 + s], (up - down) / (2.0 * step), atol=1e-7)


def test_finite_rank_caps_the_depth() -> None:
    """Polynomials carry C(D + d, D) numbers at most, a line two directions, an empirical law one number per input."""
    found = variety_depth("quadratic", 3, 2)
    assert found.depth is None and "carry rank 5 of 6" in found.reason
    assert variety_depth("quadratic", 2, 1).depth == 2
    assert variety_depth("identity", 4, 1).depth == 1 and variety_depth("identity", 4, 2).depth is None
    assert variety_depth("hermite", 2, 2, hermite=(0.0, 0.0, 0.0, 1.0)).depth == 3
    assert variety_depth("hermite", 2, 3, hermite=(0.0, 0.0, 0.0, 1.0)).depth is None
    assert variety_depth("relu", 1, 3, "weight").depth is None
    with pytest.raises(NotConverged, match="rank 9 is not reached"):
        variety_depth("tanh", 2, 3, "weight", largest=3)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_empirical_laws_cap_by_their_number_of_inputs(activation: str, rng: np.random.Generator) -> None:
    atoms = Atoms(rng.uniform(0.5, 1.5, 3), rng.standard_normal((3, 2)), np.zeros(3))
    expected = 9 if activation == "tanh" else 6
    many = law_rank(activation, atoms, rng.standard_normal((60, 2)), np.full(60, 1 / 60))
    assert (many.rank, many.expected, many.nodes, many.identifiable) == (expected, expected, 60, True)
    few = rng.standard_normal((5, 2))
    capped = law_rank(activation, atoms, np.concatenate([few, few]), np.full(10, 0.1))
    assert capped.rank <= 5 == capped.nodes and not capped.identifiable
    # inputs on a line see one coordinate of w
    line = np.outer(rng.standard_normal(60), [1.0, 2.0])
    assert law_rank(activation, atoms, line, np.full(60, 1 / 60)).rank <= 6
    directions = Atoms(atoms.a, atoms.w / np.linalg.norm(atoms.w, axis=1)[:, None], atoms.b)
    assert (
        law_rank(activation, directions, rng.standard_normal((60, 2)), np.full(60, 1 / 60), "direction").expected == 6
    )


def test_orbit_depths_in_closed_form() -> None:
    for atoms in range(1, 7):
        for name in ("odd", "tanh", "erf", "sin", "sigmoid"):
            assert (orbit_depth(name, 3, atoms).depth, orbit_depth(name, 3, atoms).exact) == (2 * atoms - 1, True)
        assert orbit_depth("even", 2, atoms).depth == 2 * atoms
        assert orbit_depth("all", 4, atoms).depth == atoms
        for name in ("relu", "gelu", "softplus"):
            found = orbit_depth(name, 3, atoms)
            # with degrees 0, 1 and 2 at hand nothing is missing up to two atoms
            assert (found.depth, found.exact) == ((atoms if atoms <= 2 else 2 * atoms, True))
    # a cubic determines one direction, and 1 < 3 is in it by contraction; two need degree 3, three degree 5
    cubic = [orbit_depth("hermite", 3, s, (0.0, 0.0, 0.0, 1.0)).depth for s in (1, 2, 3)]
    assert cubic == [3, 3, None]
    assert [orbit_depth("hermite", 3, s, DENSE).depth for s in (1, 4, 7, 8)] == [1, 4, 7, None]
    with pytest.raises(ConfigError, match="closed forms need"):
        orbit_depth("tanh", 1, 2)


WITNESSES = [("tanh", ()), ("erf", ()), ("sigmoid", ()), ("relu", ()), ("gelu", ()), ("hermite", DENSE)]
WITNESSES.append(("hermite", (0.3, 0.0, 0.4, 0.0, 0.6, 0.0, 0.2, 0.0, 0.4)))


@pytest.mark.parametrize(("activation", "hermite"), WITNESSES)
@pytest.mark.parametrize("atoms", [1, 2, 3, 4, 5])
def test_twins_prove_the_orbit_depth_from_below(activation: str, hermite: tuple[float, ...], atoms: int) -> None:
    """Equal tensors below the depth, different functions, S irreducible neurons each: relu's bound 2S is sharp."""
    depth = orbit_depth(activation, 3, atoms, hermite).depth
    if depth is None:
        assert atoms == 5 and len(hermite) == 9  # of degree 8 where 10 is needed
        return
    first, second = twins(activation, 3, atoms, hermite)
    difference = Atoms(np.append(first.a, -second.a), np.vstack([first.w, second.w]), np.zeros(2 * atoms))
    for k in range(depth):
        assert np.max(np.abs(tensor_coordinates(activation, difference, k, hermite))) < 1e-13
    assert np.max(np.abs(tensor_coordinates(activation, difference, depth, hermite))) > 1e-6
    found = same_function(activation, first, second, hermite=hermite)
    assert not found.same and not found.orbit_equal
    lines = np.abs(difference.w @ difference.w.T) - np.eye(2 * atoms)
    assert np.max(lines) < 0.9999 and np.min(np.abs(difference.a)) > 1e-3


def test_the_separation_example() -> None:
    """tanh, three directions in R^3: degree 3 is enough for generic ones, coplanar ones need degree 5."""
    assert variety_depth("tanh", 3, 3).depth == 3 and variety_depth("tanh", 3, 3).ranks[-1] == 9
    first, second = twins("tanh", 3, 3)
    gaps = np.sqrt(tensor_distances("tanh", first, second, 5))
    assert np.all(gaps[:5] < 1e-7) and gaps[5] > 0.01
    assert gaussian_distance("tanh", first, second).value > 0.01
    # in the plane there is no separation
    assert all(variety_depth("tanh", 2, s).depth == orbit_depth("tanh", 2, s).depth for s in (1, 2, 3, 4))
    # a generic triple has no twin at degree 3 (Kruskal), a coplanar one has
    assert find_twin("odd", 3, 3, 3, random_atoms(3, 3, "direction", 11), starts=12) is None
    assert find_twin("odd", 3, 3, 3, first, starts=12) is not None


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dimension=st.integers(2, 4),
    atoms=st.integers(1, 4),
    kind=st.sampled_from(["odd", "even", "all", "sigmoid", "relu"]),
    flat=st.booleans(),
)
def test_no_signed_measure_on_2s_points_escapes_the_depth(
    seed: int, dimension: int, atoms: int, kind: str, flat: bool
) -> None:
    """The upper bound: polynomials of degree D_orb separate any 2S points (lines), on a great circle too."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((2 * atoms, dimension))
    points[:, 2:] *= not flat
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    depth = orbit_depth(kind, dimension, atoms).depth
    assert depth is not None
    rows = [monomials(points, k).T for k in degrees_of(kind, depth, "direction")[0]]
    closest = np.sqrt(np.maximum(1.0 - np.max(np.abs(points @ points.T) - np.eye(2 * atoms)), 0.0))
    assert numerical_rank(np.concatenate(rows), 1e-12)[0] == 2 * atoms or closest < 0.02


@pytest.mark.parametrize(("kind", "dimension"), [("odd", 3), ("even", 2), ("all", 3), ("relu", 3)])
def test_searches_find_the_closed_forms(kind: str, dimension: int) -> None:
    for atoms in (1, 2):
        worst = worst_case_depth(kind, dimension, atoms, starts=12)
        generic = generic_depth(kind, random_atoms(dimension, atoms, "direction", 3), starts=12)
        variety = variety_depth(kind, dimension, atoms)
        assert worst.depth == orbit_depth(kind, dimension, atoms).depth
        assert variety.depth is not None and generic.depth is not None and worst.depth is not None
        assert variety.depth <= generic.depth <= worst.depth


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "worst", "generic"), [("odd", 5, 3), ("even", 6, 4), ("all", 3, 3), ("relu", 6, 4)])
def test_worst_and_generic_depths_of_three_atoms_in_space(kind: str, worst: int, generic: int) -> None:
    found = worst_case_depth(kind, 3, 3)
    assert found.depth == worst
    assert generic_depth(kind, random_atoms(3, 3, "direction", 3)).depth == generic
    if found.twin is not None:
        first, second = found.twin
        for k in degrees_of(kind, worst - 1, "direction")[0]:
            assert_allclose(first.a @ monomials(first.w, k), second.a @ monomials(second.w, k), atol=1e-10)


@pytest.mark.slow
def test_free_weights_have_their_worst_case_on_a_line() -> None:
    """Two tanh neurons in the plane: generic ones need degree 3, collinear ones as many as on a line, 4S - 1 = 7."""
    found = worst_case_depth("tanh", 2, 2, "weight")
    assert found.depth == variety_depth("tanh", 1, 2, "weight").depth == 7
    assert generic_depth("tanh", random_atoms(2, 2, "weight", 3), "weight", starts=20).depth == 3
    assert found.twin is not None
    first, second = found.twin
    assert np.all(tensor_distances("tanh", first, second, 6) < 1e-14)
    assert not same_function("tanh", first, second).orbit_equal


def test_a_rescaled_copy_is_no_twin() -> None:
    """relu with free weights: (a, w) and (a/2, 2 w) are one function, so that one neuron has depth 1."""
    assert find_twin("relu", 2, 1, 2, free="weight", starts=6) is None


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be 'direction' for the parity class 'odd'"):
        variety_depth("odd", 2, 2, "weight")
    with pytest.raises(ConfigError, match="at least 1"):
        variety_depth("tanh", 2, 0)
    with pytest.raises(ConfigError, match="no known depth for 3 atoms"):
        twins("hermite", 3, 3, (0.0, 0.0, 0.0, 1.0))
    with pytest.raises(NotConverged, match="too many tensor coordinates"):
        variety_depth("relu", 400, 30)
