"""Realization symmetries: generators leave functions alone, the canonical form undoes them, orbits are functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mfpde.core.activations import evaluate
from mfpde.errors import ConfigError
from mfpde.theory.generators import Generator, generators
from mfpde.theory.overlaps import gaussian_distance
from mfpde.theory.parity import homogeneity, polynomial, reflection
from mfpde.theory.ridge import Atoms, network
from mfpde.theory.symmetry import Canonical, canonicalise, realise, same_function

ROOT = float(np.sqrt(6.0))
POLYNOMIALS = {
    "odd": (0.0, 0.5, 0.0, 0.3),
    "odd and constant": (0.2, 0.5, 0.0, 0.3),
    "even": (1.0, 0.0, 0.4, 0.0, 0.2),
    "even and linear": (0.3, 0.6, 0.4, 0.0, 0.2),
    "mixed": (0.1, 0.2, 0.3, 0.4),
    "parabola": (0.1, 0.7, 0.3),
    "affine": (0.2, 0.5),
    "cube": (0.0, 3.0, 0.0, ROOT),
}
NAMED = ("relu", "tanh", "erf", "sigmoid", "gelu", "softplus", "sin", "quadratic", "identity")
CASES = [(name, ()) for name in NAMED] + [("hermite", kind) for kind in POLYNOMIALS.values()]
LABELS = [*NAMED, *(f"hermite {name}" for name in POLYNOMIALS)]
# activations whose canonical form decides: all but polynomials of degree three and more
DECIDED = [case for case in CASES if case[0] != "hermite" or len(case[1]) <= 3]


def irreducible(rng: np.random.Generator, count: int, dimension: int, bias: bool = True) -> Atoms:
    """Neurons in general position, none so far in its tail that Gaussian inputs hardly see it."""
    a = rng.choice([-1.0, 1.0], count) * rng.uniform(0.3, 2.0, count)
    w = rng.standard_normal((count, dimension))
    w *= rng.uniform(0.5, 2.0, (count, 1)) / np.linalg.norm(w, axis=1, keepdims=True)
    return Atoms(a, w, rng.uniform(-0.7, 0.7, count) * bias)


def assert_same_form(one: Canonical, other: Canonical, atol: float) -> None:
    assert one.atoms.w.shape == other.atoms.w.shape
    for x, y in zip(
        (one.atoms.a, one.atoms.w, one.atoms.b), (other.atoms.a, other.atoms.w, other.atoms.b), strict=True
    ):
        assert_allclose(x, y, rtol=0, atol=atol)
    assert_allclose(one.linear, other.linear, rtol=0, atol=atol)
    assert one.constant == pytest.approx(other.constant, abs=atol)


@pytest.mark.parametrize(("activation", "hermite"), CASES, ids=LABELS)
def test_facts_about_the_activation_hold_at_points(activation: str, hermite: tuple[float, ...]) -> None:
    z = np.linspace(-3.0, 3.0, 61)
    values, mirrored = (evaluate(activation, s * z, hermite) for s in (1.0, -1.0))
    mirror = reflection(activation, hermite)
    if mirror.kind == "odd":
        assert_allclose(mirrored, 2.0 * mirror.offset - values, atol=1e-13)
    elif mirror.kind == "even":
        assert_allclose(mirrored, values - 2.0 * mirror.offset * z, atol=1e-13)
    else:
        assert hermite == POLYNOMIALS["mixed"]
    powers, degree = polynomial(activation, hermite), homogeneity(activation, hermite)
    if powers is not None:
        assert_allclose(np.polynomial.polynomial.polyval(z, powers), values, atol=1e-13)
        assert powers[-1] != 0.0
    if degree is not None:
        assert_allclose(evaluate(activation, 1.7 * z, hermite), 1.7**degree * values, rtol=1e-12, atol=1e-12)
    expected = {"relu": 1, "identity": 1, "quadratic": 2}
    assert degree == (3 if hermite == POLYNOMIALS["cube"] else expected.get(activation))


@pytest.mark.parametrize(
    ("activation", "hermite", "generator"),
    [
        pytest.param(*case, generator, id=f"{label}, {generator.name}")
        for case, label in zip(CASES, LABELS, strict=True)
        for generator in generators(*case)
    ],
)
def test_generators_keep_the_function_and_the_orbit(
    activation: str, hermite: tuple[float, ...], generator: Generator, rng: np.random.Generator
) -> None:
    changed = 0
    for trial in range(8):
        atoms = irreducible(rng, 1 + trial % 4, 1 + trial % 3, bias=trial % 2 == 0)
        moved = generator.move(generator.move(atoms, rng), rng) if trial % 4 == 3 else generator.move(atoms, rng)
        x = rng.standard_normal((200, atoms.w.shape[1]))
        values = network(activation, atoms, x, hermite)
        size = max(1.0, float(np.max(np.abs(values))))
        assert_allclose(network(activation, moved, x, hermite), values, rtol=0, atol=1e-12 * size)
        changed += moved.w.shape != atoms.w.shape or not np.array_equal(moved.a, atoms.a) or np.any(moved.w != atoms.w)
        changed += moved.w.shape == atoms.w.shape and bool(np.any(moved.b != atoms.b))
        form = canonicalise(activation, moved, hermite)
        assert_allclose(realise(activation, form, x, hermite), values, rtol=0, atol=1e-12 * size)
        assert_same_form(form, canonicalise(activation, form, hermite), 1e-13)
        if (activation, hermite) in DECIDED:
            assert_same_form(form, canonicalise(activation, atoms, hermite), 1e-11)
        found = same_function(activation, atoms, moved, hermite=hermite)
        assert found.same and found.orbit_equal and found.distance <= 1e-12 * found.scale
    assert changed


@pytest.mark.parametrize(("activation", "hermite"), CASES, ids=LABELS)
def test_different_networks_are_told_apart(
    activation: str, hermite: tuple[float, ...], rng: np.random.Generator
) -> None:
    for trial in range(6):
        atoms = irreducible(rng, 1 + trial % 3, 1 + trial % 3)
        # a third of the changes are small
        size = (0.5, 0.1, 1e-4)[trial % 3]
        other = Atoms(atoms.a * (1.0 + size), atoms.w, atoms.b)
        found = same_function(activation, atoms, other, hermite=hermite)
        assert not found.same and not found.orbit_equal
        x = rng.standard_normal((20000, atoms.w.shape[1]))
        gap = network(activation, atoms, x, hermite) - network(activation, other, x, hermite)
        assert found.distance == pytest.approx(float(np.sqrt(np.mean(gap**2))), rel=0.2)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6), dimension=st.integers(1, 4), how=st.integers(0, 3))
def test_orbits_of_tanh_networks_are_functions(seed: int, count: int, dimension: int, how: int) -> None:
    """Sussmann (1992) on random irreducible networks: same function if and only if same orbit, both ways round."""
    rng = np.random.default_rng(seed)
    atoms = irreducible(rng, count, dimension)
    moved = atoms
    for generator in rng.choice(np.array(generators("tanh"), dtype=object), 4):
        moved = generator.move(moved, rng)
    if how == 1:  # another amplitude
        moved = Atoms(moved.a + 1e-3 * (np.arange(len(moved.a)) == 0), moved.w, moved.b)
    if how == 2:  # another neuron
        moved = Atoms(
            np.append(moved.a, 0.2), np.vstack([moved.w, rng.standard_normal(dimension)]), np.append(moved.b, 0.1)
        )
    if how == 3:  # another network altogether
        moved = irreducible(rng, count, dimension)
    x = rng.standard_normal((64 + 4 * len(moved.a), dimension))
    equal = bool(np.max(np.abs(network("tanh", atoms, x) - network("tanh", moved, x))) < 1e-11)
    forms = canonicalise("tanh", atoms), canonicalise("tanh", moved)
    shapes = forms[0].atoms.w.shape == forms[1].atoms.w.shape
    orbit = (
        shapes
        and bool(np.max(np.abs(forms[0].atoms.w - forms[1].atoms.w)) < 1e-9)
        and bool(np.max(np.abs(forms[0].atoms.a - forms[1].atoms.a)) < 1e-9)
    )
    found = same_function("tanh", atoms, moved)
    assert equal == orbit == found.orbit_equal == found.same == (how == 0)
    if how:
        assert found.distance == pytest.approx(gaussian_distance("tanh", atoms, moved).value, rel=1e-6)


def test_merging_keeps_the_mass_of_equal_neurons_and_drops_what_cancels() -> None:
    w = np.array([[1.0, 2.0], [-1.0, -2.0], [0.5, 0.0], [0.5, 0.0], [0.0, 0.0]])
    atoms = Atoms(np.array([1.0, 3.0, 2.0, -2.0, 5.0]), w, np.array([0.1, -0.1, 0.3, 0.3, 0.4]))
    form = canonicalise("tanh", atoms)
    assert_allclose(form.atoms.a, [-2.0])
    assert_allclose(form.atoms.w, [[1.0, 2.0]])
    assert form.constant == pytest.approx(5.0 * np.tanh(0.4))
    nothing = canonicalise("tanh", Atoms(np.zeros(2), w[:2], np.zeros(2)))
    assert nothing.atoms.w.shape == (0, 2) and not np.any(nothing.linear) and nothing.constant == 0.0


def test_relu_neurons_have_unit_norm_and_reflections_leave_a_line() -> None:
    """a relu(z) = a relu(-z) + a z: the rank-d relation makes sum_I a_i w_i the only thing that a flip of I costs."""
    atoms = Atoms(np.array([2.0, -1.0]), np.array([[-3.0, 0.0], [0.0, 2.0]]), np.array([4.0, 0.0]))
    form = canonicalise("relu", atoms)
    assert_allclose(np.sum(form.atoms.w**2, axis=1) + form.atoms.b**2, 1.0, rtol=1e-15)
    assert_allclose(form.atoms.w, [[0.0, 1.0], [0.6, 0.0]], atol=1e-15)
    assert_allclose(form.atoms.a, [-2.0, 10.0])
    assert_allclose(form.linear, [-6.0, 0.0])
    assert form.constant == pytest.approx(8.0)
    # three neurons with sum a w = 0 equal their own reflections, and no two of the three do
    angles = 2.0 * np.pi * np.arange(3) / 3.0
    star = Atoms(np.ones(3), np.column_stack([np.cos(angles), np.sin(angles)]), np.zeros(3))
    assert same_function("relu", star, Atoms(star.a, -star.w, star.b)).orbit_equal
    partly = Atoms(star.a, star.w * np.array([[-1.0], [-1.0], [1.0]]), star.b)
    found = same_function("relu", star, partly)
    assert not found.same and not found.orbit_equal


def test_sigmoid_flips_cost_a_constant() -> None:
    w = np.array([[1.0], [2.0]])
    atoms = Atoms(np.array([1.0, -1.0]), w, np.zeros(2))
    both = same_function("sigmoid", atoms, Atoms(-atoms.a, -w, atoms.b))
    assert both.same and both.orbit_equal  # the two constants cancel
    one = same_function("sigmoid", atoms, Atoms(atoms.a * [-1.0, 1.0], w * [[-1.0], [1.0]], atoms.b))
    assert not one.same and not one.orbit_equal and one.distance == pytest.approx(1.0)


def test_phases_of_sin_are_folded_without_jumps() -> None:
    w = np.array([[1.3], [1.3], [1.3]])
    for phase in (sign * (0.5 * np.pi + shake) for sign in (1.0, -1.0) for shake in (0.0, -1e-13, 1e-13)):
        form = canonicalise("sin", Atoms(np.ones(1), w[:1], np.array([phase + 2.0 * np.pi])))
        assert form.atoms.b[0] == pytest.approx(0.5 * np.pi, abs=1e-11)
        assert form.atoms.a[0] == pytest.approx(np.sign(phase))
    third = 2.0 * np.pi / 3.0
    assert len(canonicalise("sin", Atoms(np.ones(3), w, third * np.arange(3))).atoms.a) == 0


def test_round_off_neither_splits_neurons_nor_changes_their_order(rng: np.random.Generator) -> None:
    w = np.array([[1.0, 0.3], [1.0, -0.2], [1.0, 0.1], [0.5, 0.1]])
    atoms = Atoms(np.array([1.0, 2.0, 3.0, 4.0]), w, np.array([0.2, 0.1, 0.0, -0.3]))
    for activation in ("tanh", "sin", "gelu"):
        form = canonicalise(activation, atoms)
        for _ in range(20):
            shaken = Atoms(atoms.a, w * (1.0 + 1e-15 * rng.standard_normal(w.shape)), atoms.b)
            order = rng.permutation(4)
            assert_same_form(
                form, canonicalise(activation, Atoms(shaken.a[order], shaken.w[order], shaken.b[order])), 1e-12
            )


def test_a_coordinate_that_is_round_off_decides_no_sign() -> None:
    for noise in (1e-17, -1e-17, 0.0):
        atoms = Atoms(np.ones(1), np.array([[noise, -1.0, 0.5]]), np.array([0.2]))
        form = canonicalise("tanh", atoms)
        assert_allclose(form.atoms.w, [[0.0, 1.0, -0.5]], atol=1e-15)
        assert_allclose(form.atoms.a, [-1.0])


def test_quadratic_networks_are_their_quadratic_form(rng: np.random.Generator) -> None:
    """A rotation inside a degenerate eigenspace is no other function, and the form has at most d neurons."""
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    plain = Atoms(np.array([2.0, 2.0, -1.0]), np.eye(3), np.zeros(3))
    turned = Atoms(
        plain.a, np.vstack([np.linalg.qr(rng.standard_normal((2, 2)))[0] @ np.eye(2, 3), np.eye(3)[2]]), plain.b
    )
    assert same_function("quadratic", plain, turned).orbit_equal
    assert not same_function("quadratic", plain, Atoms(plain.a, rotation, plain.b)).same
    # in the plane across (1, 1, 1) the axes are equally long: round-off must not choose among them
    plane = np.linalg.svd(np.ones((1, 3)))[2][1:]
    forms = []
    for angle in np.linspace(0.0, 3.0, 12):
        spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        forms.append(canonicalise("quadratic", Atoms(np.ones(2), spin @ plane, np.zeros(2))))
        assert_same_form(forms[0], forms[-1], 1e-12)
    many = irreducible(rng, 9, 3)
    form = canonicalise("quadratic", many)
    assert len(form.atoms.a) <= 3
    assert_allclose(form.atoms.w @ form.atoms.w.T, np.eye(len(form.atoms.a)), atol=1e-13)


def test_a_law_that_sees_too_little_makes_different_orbits_the_same(rng: np.random.Generator) -> None:
    x = np.column_stack([rng.standard_normal(50), np.zeros(50)])
    first = irreducible(rng, 2, 2)
    second = Atoms(first.a, first.w + np.array([[0.0, 0.7], [0.0, -0.2]]), first.b)
    blind = same_function("tanh", first, second, nodes=(x, np.full(50, 0.02)))
    assert blind.same and not blind.orbit_equal and blind.resolution == 0.0
    assert not same_function("tanh", first, second).same


def test_differences_far_below_one_are_measured(rng: np.random.Generator) -> None:
    atoms = irreducible(rng, 3, 2)
    gaps = [same_function("tanh", atoms, Atoms(atoms.a + s, atoms.w, atoms.b)).distance for s in (1e-3, 1e-5, 1e-8)]
    assert_allclose(np.array(gaps) / gaps[0], [1.0, 1e-2, 1e-5], rtol=0.1)


def test_bad_requests_are_refused() -> None:
    one = Atoms(np.ones(1), np.ones((1, 2)), np.zeros(1))
    with pytest.raises(ConfigError, match="dimensions 2 and 1"):
        same_function("tanh", one, Atoms(np.ones(1), np.ones((1, 1)), np.zeros(1)))
    with pytest.raises(ConfigError, match="no coefficient that is not zero"):
        canonicalise("hermite", one, (0.0, 0.0))
