"""Piecewise-linear activations: their values, and their averages over one sphere and two in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gaussians import FAILURE, TRUNCATED, Pieces
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import roots_jacobi

from mfpde.core import activations, quadrature, sphere
from mfpde.core.activations import flatten_pieces
from mfpde.exact.two_gaussians import gaussian_mean

Array = np.ndarray


def value(pieces: Pieces, z: Array) -> Array:
    """sigma by numpy's interpolation, for activations flat at both ends."""
    knots, slopes, first = pieces
    heights = first + np.concatenate([[0.0], np.cumsum(slopes[1:-1] * np.diff(knots))])
    return np.interp(z, knots, heights)


@pytest.mark.parametrize("pieces", [TRUNCATED, FAILURE])
def test_the_activations_of_mei_montanari_nguyen(pieces: Pieces) -> None:
    z = np.linspace(-3.0, 5.0, 10_007)
    found = activations.evaluate("piecewise-linear", z, flatten_pieces(*pieces))
    np.testing.assert_allclose(found, value(pieces, z), atol=4e-15)
    # saturated values are exact at any size
    far = activations.evaluate("piecewise-linear", np.array([-1e300, 1e300]), flatten_pieces(*pieces))
    assert far.tolist() == [-2.5, 7.5]
    at = activations.derivative("piecewise-linear", pieces[0], flatten_pieces(*pieces))
    assert at.tolist() == pieces[1][:-1].tolist()


def test_relu_is_one_of_them() -> None:
    z = np.linspace(-2.0, 2.0, 4001)
    relu = flatten_pieces([0.0], [0.0, 1.0], 0.0)
    assert np.array_equal(activations.evaluate("piecewise-linear", z, relu), activations.evaluate("relu", z))
    assert np.array_equal(activations.derivative("piecewise-linear", z, relu), activations.derivative("relu", z))


def test_tails_in_two_and_three_dimensions() -> None:
    u = np.linspace(-1.0, 1.0, 1001)
    np.testing.assert_allclose(sphere.tail(3, u), 0.5 * (1.0 - u), atol=2e-15)
    np.testing.assert_allclose(sphere.edge(3, u), 0.25 * (1.0 - u * u), atol=2e-15)
    np.testing.assert_allclose(sphere.tail(2, u), np.arccos(u) / np.pi, atol=2e-15)
    np.testing.assert_allclose(sphere.edge(2, u), np.sqrt(1.0 - u * u) / np.pi, atol=2e-15)


@pytest.mark.parametrize("block", [2, 3, 4, 15, 40, 199, 202, 320, 10_000, 1_000_000])
def test_the_constant_of_the_density_normalises_it(block: int) -> None:
    """Gauss rule of the sphere, which never forms the constant: E |t| = 2 e(0) has a closed form in it."""
    nodes, weights = quadrature.sphere_coordinate(block, 64)
    assert np.sum(weights * nodes**2) == pytest.approx(1.0 / block, rel=1e-12)
    reach = min(0.5 * np.pi, 12.0 / np.sqrt(block))
    mass, _ = quad(lambda a: np.sin(a) ** (block - 2.0), 0.5 * np.pi - reach, 0.5 * np.pi + reach, epsabs=0.0)
    assert sphere.density_constant(block) * mass == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize("pieces", [TRUNCATED, FAILURE])
@pytest.mark.parametrize("block", [2, 3, 5, 40, 320])
def test_one_sphere_by_adaptive_quadrature(pieces: Pieces, block: int) -> None:
    scale = sphere.density_constant(block)
    for shift, size in ((0.0, 0.3), (0.0, 1.0), (0.0, 3.0), (0.0, 20.0), (0.7, 2.5), (-1.1, 4.0), (3.0, 1.0)):
        cuts = [np.arccos((t - shift) / size) for t in pieces[0] if abs(t - shift) < size]

        def integrand(angle: float, shift: float = shift, size: float = size) -> float:
            return float(scale * np.sin(angle) ** (block - 2) * value(pieces, shift + size * np.cos(angle)))

        edges = sorted([0.0, 0.5 * np.pi, np.pi, *cuts])
        expected = sum(quad(integrand, *pair, epsabs=1e-13, epsrel=1e-13)[0] for pair in itertools.pairwise(edges))
        found = sphere.one_sphere(*pieces, block, np.array([shift]), np.array([size]))[0, 0]
        assert found == pytest.approx(expected, abs=3e-12)


@pytest.mark.parametrize("block", [2, 3, 40, 1_000_000])
def test_derivatives_of_one_sphere(block: int, rng: np.random.Generator) -> None:
    shift, size = rng.normal(size=300), np.sqrt(block) * rng.uniform(0.2, 4.0, 300)
    # not where a knot passes an edge of the sphere: in two dimensions the derivative there is that of a root
    clear = np.min(np.abs(np.abs(TRUNCATED[0][:, None] - shift) - size), axis=0) > 0.05
    shift, size, step = shift[clear], size[clear], 1e-5
    found = sphere.one_sphere(*TRUNCATED, block, shift, size)
    for row, moves in ((1, (step, 0.0)), (2, (0.0, step * np.sqrt(block)))):
        up, down = (sphere.one_sphere(*TRUNCATED, block, shift + s * moves[0], size + s * moves[1])[0] for s in (1, -1))
        np.testing.assert_allclose(found[row], (up - down) / (2.0 * sum(moves)), atol=2e-7)


def test_small_spheres_are_points_and_a_knot_at_the_origin_is_a_cusp() -> None:
    shift = np.array([-1.0, 0.2, 1.0, 2.0])
    found = sphere.one_sphere(*TRUNCATED, 40, shift, np.zeros(4))
    np.testing.assert_allclose(found[0], value(TRUNCATED, shift), atol=1e-15)
    assert not np.any(found[2])
    # slope 0 to the left of the knot at 0, -3 to its right: d/ds E sigma(s t) = -3 E t_+ at s = 0
    cusp = sphere.one_sphere(*FAILURE, 320, np.zeros(1), np.zeros(1))[2, 0]
    assert cusp == pytest.approx(-3.0 * sphere.edge(320, np.zeros(1))[0], rel=1e-13)


def test_a_sphere_of_many_dimensions_is_gaussian() -> None:
    s = np.linspace(0.1, 5.0, 50)
    expected = gaussian_mean(*TRUNCATED, s)[0]
    errors = []
    for block in (10**4, 10**6):
        found = sphere.one_sphere(*TRUNCATED, block, np.zeros(50), s * np.sqrt(block))[0]
        errors.append(np.max(np.abs(found - expected)))
    assert errors[1] < 1e-5
    # to first order in 1/d
    assert errors[0] / errors[1] == pytest.approx(100.0, rel=1e-3)


@pytest.mark.parametrize("blocks", [(2, 3), (3, 2), (2, 60), (5, 9), (8, 100), (16, 16), (20, 30), (60, 260)])
def test_two_spheres_make_up_one(blocks: tuple[int, int]) -> None:
    """t on S^(d-1) along a direction in both blocks is cos(a) sqrt(B) t_1 + sin(a) sqrt(1 - B) t_2, B Beta."""
    total, half = sum(blocks), (0.5 * blocks[0] - 1.0, 0.5 * blocks[1] - 1.0)
    # nodes in B = (1 + x)/2; density (1 - x)^alpha (1 + x)^beta
    x, p = roots_jacobi(120, half[1], half[0])
    share, p = 0.5 * (1.0 + x), p / p.sum()
    for angle in (0.3, 0.8, 1.4):
        for r in (0.4, 1.5, 6.0):
            size = r * np.sqrt(total / 4.0)
            pair = size * np.cos(angle) * np.sqrt(share), size * np.sin(angle) * np.sqrt(1.0 - share)
            found = sphere.two_spheres(*FAILURE, blocks, np.full(120, 0.1), pair)[0] @ p
            expected = sphere.one_sphere(*FAILURE, total, np.array([0.1]), np.array([size]))[0, 0]
            # a Gauss rule in B sees the kinks of small spheres
            assert found == pytest.approx(expected, abs=1e-9 if min(blocks) >= 8 else 3e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(2, 40), st.integers(2, 40)),
    st.floats(-2.0, 2.0),
    st.tuples(st.floats(0.0, 8.0), st.floats(0.0, 8.0)),
)
def test_blocks_can_be_exchanged(blocks: tuple[int, int], shift: float, sizes: tuple[float, float]) -> None:
    one = sphere.two_spheres(*FAILURE, blocks, np.array([shift]), (np.array(sizes[:1]), np.array(sizes[1:])))
    two = sphere.two_spheres(*FAILURE, blocks[::-1], np.array([shift]), (np.array(sizes[1:]), np.array(sizes[:1])))
    np.testing.assert_allclose(one[0], two[0], rtol=0.0, atol=1e-10)
    # a sphere of no size is none
    alone = sphere.two_spheres(*FAILURE, blocks, np.array([shift]), (np.array(sizes[:1]), np.zeros(1)))[0, 0]
    single = sphere.one_sphere(*FAILURE, blocks[0], np.array([shift]), np.array(sizes[:1]))[0, 0]
    assert alone == pytest.approx(single, abs=1e-10)


@pytest.mark.parametrize("blocks", [(3, 5), (8, 40), (40, 8), (60, 260)])
def test_cut_and_uncut_rules_and_derivatives(
    blocks: tuple[int, int], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = rng.normal(size=60) * 0.4
    sizes = tuple(np.sqrt(b) * rng.uniform(0.3, 3.0, 60) for b in blocks)
    found = sphere.two_spheres(*TRUNCATED, blocks, shift, sizes)
    step = 1e-5
    for row, change in ((1, (1, 0, 0)), (2, (0, 1, 0)), (3, (0, 0, 1))):
        moved = [
            sphere.two_spheres(
                *TRUNCATED,
                blocks,
                shift + s * step * change[0],
                (sizes[0] + s * step * change[1], sizes[1] + s * step * change[2]),
            )[0]
            for s in (1, -1)
        ]
        np.testing.assert_allclose(found[row], (moved[0] - moved[1]) / (2.0 * step), atol=3e-6)
    monkeypatch.setattr(sphere, "SMOOTH_DIMENSION", 10**9)
    np.testing.assert_allclose(sphere.two_spheres(*TRUNCATED, blocks, shift, sizes), found, rtol=0.0, atol=2e-10)
