"""Philox against its published answers, Box-Muller against long doubles, laws, and what a number may depend on."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import special, stats

from mfpde.core import box_muller, noise, parallel

EPS = np.finfo(np.float64).eps
LOW = 0xFFFFFFFF


@njit
def _philox(counter, key):
    return noise.philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1])


@njit
def _pairs(first, second, x, y):
    for i in range(len(first)):
        x[i], y[i] = box_muller.box_muller(first[i], second[i])


@njit
def _minus_eight_log(u, out):
    for i in range(len(u)):
        out[i] = box_muller.minus_eight_log(u[i])


def words(counter, key) -> tuple[int, int]:
    first, second = _philox(np.array(counter, dtype=np.int64), np.array(key, dtype=np.int64))
    return int(first) & (2**64 - 1), int(second) & (2**64 - 1)


def draw(kind, shape, seed=11, stream=noise.BROWNIAN, replica=0, step=0, first=0) -> np.ndarray:
    out = np.empty(shape)
    kind(seed, stream, replica, step, out, first)
    return out


# Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10).
ANSWERS = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), ANSWERS)
def test_philox_gives_the_published_answers(counter, key, expected) -> None:
    first, second = words(counter, key)
    assert [first >> 32, first & LOW, second >> 32, second & LOW] == expected


def test_upper_halves_of_counter_and_key_do_not_count() -> None:
    counter, key = np.array(ANSWERS[2][0]), np.array(ANSWERS[2][1])
    rest = np.arange(1, 7, dtype=np.int64) << 32
    assert words(counter + rest[:4], key + rest[4:]) == words(counter, key)


@pytest.mark.parametrize("components", [1, 2, 3])
def test_numbers_are_those_of_the_documented_counter(components: int) -> None:
    seed, stream, replica, step, width = 2**63 + 2**40 + 5, noise.DATA, 3, 77, 70
    normal = draw(noise.normals, (components, width), seed, stream, replica, step)
    uniform = draw(noise.uniforms, (components, width), seed, stream, replica, step)
    key = [seed & LOW, seed >> 32]
    for particle in (0, 1, 31, 32, 63, 64, 69):
        for pair in range((components + 1) // 2):
            here, there = 2 * pair, min(2 * pair + 1, components - 1)
            label = pair + (stream << 24)
            first, second = ((word % 2**52 + 0.5) * 2.0**-52 for word in words([step, particle, label, replica], key))
            assert uniform[here, particle] == first
            assert there == here or uniform[there, particle] == second
            a, b = words([step, particle, label + 2**31, replica], key)
            radius = np.sqrt(-2.0 * np.log((a % 2**52 + 0.5) * 2.0**-52))
            angle = np.pi * (b % 2**52 * 2.0**-52 - 0.5)
            cosine = np.cos(angle) * (-1.0 if b >> 63 else 1.0)
            assert normal[here, particle] == pytest.approx(radius * cosine, rel=1e-14, abs=1e-15)
            assert there == here or normal[there, particle] == pytest.approx(radius * np.sin(angle), rel=1e-14)


def test_logarithm_is_exact_to_round_off(rng: np.random.Generator) -> None:
    near_one = 1.0 - rng.uniform(0.01, 1.0, 200_000) * 2.0 ** -rng.uniform(0.0, 46.0, 200_000)
    small = 2.0 ** -rng.uniform(0.0, 53.0, 200_000)
    u = np.concatenate([near_one, rng.random(200_000), small, [2.0**-53, 0.5, np.sqrt(0.5), 1.0 - 2.0**-53]])
    out = np.empty_like(u)
    _minus_eight_log(u, out)
    exact = -8.0 * np.log(u.astype(np.longdouble))
    assert np.max(np.abs(out / exact - 1.0)) < 3.0 * EPS


def test_pairs_lie_on_their_circle_at_their_angle(rng: np.random.Generator) -> None:
    first, second = rng.integers(-(2**63), 2**63, (2, 400_000))
    second[:4] = 0, 2**52 - 1, 2**51, 2**51 - 2**63  # angles -pi/2, almost pi/2, 0 and pi
    x, y = np.empty(len(first)), np.empty(len(first))
    _pairs(first, second, x, y)
    low = 2**52 - 1
    u, v = ((first & low) + 0.5) * 2.0**-52, (second & low) * 2.0**-52 - 0.5
    radius = np.sqrt(-2.0 * np.log(u.astype(np.longdouble)))
    angle = np.pi * v.astype(np.longdouble) + (np.longdouble(1.2246467991473532e-16) * v)
    cosine = np.where(second < 0, -1.0, 1.0) * np.cos(angle)
    assert np.max(np.abs(x / radius - cosine)) < 3.0 * EPS
    sine = np.sin(angle)
    assert np.max(np.abs(y / radius - sine)) < 3.0 * EPS
    assert np.max(np.abs(y / radius - sine) / np.maximum(np.abs(sine), 1e-12)) < 5.0 * EPS


def test_the_largest_radius_reaches_beyond_eight() -> None:
    x, y = np.empty(1), np.empty(1)
    _pairs(np.zeros(1, np.int64), np.array([2**51]), x, y)
    assert x[0] == pytest.approx(np.sqrt(106.0 * np.log(2.0)), rel=1e-15) and x[0] > 8.57
    assert y[0] == 0.0


def test_normals_have_the_normal_law() -> None:
    values = draw(noise.normals, (10, 100_000))
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    assert 4.3 < np.max(np.abs(values)) < 6.5
    for odd in (1, 3, 5):
        spread = np.sqrt(special.factorial2(2 * odd - 1) / values.size)
        assert abs(np.mean(values**odd)) < 4.0 * spread
    for k in range(1, 9):
        mean, square = absolute_moment(k), absolute_moment(2 * k)
        assert abs(np.mean(np.abs(values) ** k) - mean) < 4.0 * np.sqrt((square - mean**2) / values.size)


def absolute_moment(k: int) -> float:
    """E |z|^k."""
    return float(2.0 ** (k / 2.0) * special.gamma((k + 1) / 2.0) / np.sqrt(np.pi))


def test_the_two_numbers_of_a_pair_have_independent_radius_and_angle() -> None:
    x, y = draw(noise.normals, (2, 200_000))
    square, angle = 0.5 * (x**2 + y**2), np.arctan2(y, x) / (2.0 * np.pi) + 0.5
    assert stats.kstest(square, "expon").pvalue > 1e-3
    assert stats.kstest(angle, "uniform").pvalue > 1e-3
    cells = np.histogram2d(np.exp(-square), angle, bins=16, range=((0.0, 1.0), (0.0, 1.0)))[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3


@pytest.mark.slow
def test_tails_are_those_of_the_normal_law() -> None:
    """2^31 numbers: about 1200 beyond 5 standard deviations, 4 beyond 6."""
    block, blocks, levels = np.empty((8, 1 << 18)), 1 << 10, np.array([3.0, 4.0, 4.5, 5.0, 5.5, 6.0])
    counts = np.zeros((2, len(levels)))
    for step in range(blocks):
        noise.normals(3, noise.BROWNIAN, 0, step, block)
        far = block[np.abs(block) > levels[0]]
        counts += [np.sum(far[:, None] > levels, axis=0), np.sum(far[:, None] < -levels, axis=0)]
    expected = blocks * block.size * special.ndtr(-levels)
    assert np.all(np.abs(counts - expected) < 4.0 * np.sqrt(expected) + 1.0)


def test_uniforms_have_the_uniform_law_and_miss_the_ends() -> None:
    values = draw(noise.uniforms, (5, 40_000))
    assert values.min() > 0.0 and values.max() < 1.0
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    cells = np.histogram(np.modf(values.ravel() * 2.0**30)[0], bins=16, range=(0.0, 1.0))[0]
    assert stats.chisquare(cells).pvalue > 1e-3


KINDS = pytest.mark.parametrize("kind", [noise.normals, noise.uniforms])


@KINDS
def test_values_do_not_depend_on_width_or_component_count(kind) -> None:
    whole = draw(kind, (7, 1000))
    for width in (1, 5, 31, 32, 33, 63, 64, 333):
        assert np.array_equal(draw(kind, (7, width)), whole[:, :width])
    assert np.array_equal(draw(kind, (4, 1000)), whole[:4])
    assert np.array_equal(draw(kind, (1, 5)), whole[:1, :5])


@KINDS
def test_a_span_of_particles_has_the_numbers_of_the_whole(kind) -> None:
    whole = draw(kind, (3, 500), replica=2)
    for first, width in ((0, 500), (7, 64), (31, 33), (100, 5), (499, 1)):
        assert np.array_equal(draw(kind, (3, width), replica=2, first=first), whole[:, first : first + width])


@KINDS
def test_any_array_can_be_filled(kind) -> None:
    whole = draw(kind, (3, 100))
    room, single = np.zeros((7, 200)), np.empty((3, 100), np.float32)
    kind(11, noise.BROWNIAN, 0, 0, room[1::2, ::2])
    kind(11, noise.BROWNIAN, 0, 0, single)
    assert np.array_equal(room[1::2, ::2], whole) and np.all(room[::2] == 0.0) and np.all(room[:, 1::2] == 0.0)
    assert np.array_equal(single, whole.astype(np.float32))


@KINDS
def test_several_replicas_at_once_are_the_single_ones(kind) -> None:
    for width in (6, 100):
        several = draw(kind, (4, 3, width), replica=5, first=2)
        for k in range(4):
            assert np.array_equal(several[k], draw(kind, (3, width), replica=5 + k, first=2))


@KINDS
def test_any_number_of_threads_gives_the_same_numbers(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_SHARE", 100)
    for shape in ((5, 1000), (2, 3, 997), (1, 2, 129)):
        alone = draw(kind, shape)
        for threads in (2, 3, 4):
            with parallel.team(threads):
                assert np.array_equal(draw(kind, shape), alone)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 12},
        {"seed": 11 + 2**32},
        {"stream": noise.INITIAL},
        {"stream": noise.DATA},
        {"replica": 1},
        {"step": 1},
    ],
)
def test_every_index_gives_independent_numbers(change) -> None:
    base, other = draw(noise.normals, (6, 20_000)), draw(noise.normals, (6, 20_000), **change)
    assert not np.any(base == other)
    correlation = base @ other.T / 20_000
    assert np.max(np.abs(correlation)) < 4.5 / np.sqrt(20_000)
    squares = (base**2 - 1.0) @ (other**2 - 1.0).T / (2.0 * 20_000)
    assert np.max(np.abs(squares)) < 5.5 / np.sqrt(20_000)


def test_components_and_neighbours_are_uncorrelated() -> None:
    values = draw(noise.normals, (8, 50_000))
    correlation = values @ values.T / 50_000 - np.eye(8)
    assert np.max(np.abs(correlation)) < 5.0 * np.sqrt(2.0 / 50_000)
    lagged = np.mean(values[:, 1:] * values[:, :-1], axis=1)
    assert np.max(np.abs(lagged)) < 4.0 / np.sqrt(50_000)


def test_normals_and_uniforms_do_not_share_bits() -> None:
    normal, uniform = draw(noise.normals, (2, 20_000)), draw(noise.uniforms, (2, 20_000))
    pairs = [(normal[i], uniform[j]) for i in range(2) for j in range(2)]
    assert all(stats.spearmanr(x, y).pvalue > 1e-4 for x, y in pairs)
    assert all(stats.spearmanr(x**2, y).pvalue > 1e-4 for x, y in pairs)


def test_the_largest_indices_are_accepted() -> None:
    out = draw(noise.normals, (2, 4), seed=2**64 - 1, replica=2**32 - 1, step=2**32 - 1)
    assert np.all(np.isfinite(out))
