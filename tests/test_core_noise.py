"""Philox against its published answers, the laws of the numbers, and what they may and may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

from mfpde.core import noise


@njit
def _philox(counter, key):
    return noise.philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1])


def draw(kind, shape, seed=11, stream=noise.BROWNIAN, replica=0, step=0) -> np.ndarray:
    out = np.empty(shape)
    kind(seed, stream, replica, step, out)
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
    assert list(_philox(np.array(counter, dtype=np.uint64), np.array(key, dtype=np.uint64))) == expected


def test_normals_are_box_muller_of_the_documented_counter() -> None:
    seed, stream, replica, step = 2**40 + 5, noise.DATA, 3, 77
    out = draw(noise.normals, (3, 6), seed, stream, replica, step)
    for particle in range(6):
        for pair in range(2):
            counter = np.array([particle, pair + (stream << 24) + (1 << 31), step, replica], dtype=np.uint64)
            key = np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64)
            words = [int(word) for word in _philox(counter, key)]
            first, second = (((high << 32 | low) >> 12) + 0.5 for high, low in (words[:2], words[2:]))
            radius, angle = np.sqrt(-2.0 * np.log(first / 2.0**52)), 2.0 * np.pi * second / 2.0**52
            assert out[2 * pair, particle] == pytest.approx(radius * np.cos(angle), rel=1e-13, abs=1e-15)
            if pair == 0:
                assert out[1, particle] == pytest.approx(radius * np.sin(angle), rel=1e-13, abs=1e-15)


def test_normals_have_the_normal_law() -> None:
    values = draw(noise.normals, (10, 40_000)).ravel()
    count = values.size
    for order, exact, variance in ((1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0), (6, 15.0, 10170.0)):
        assert abs(np.mean(values**order) - exact) < 4.0 * np.sqrt(variance / count)
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert 4.0 < np.max(np.abs(values)) < 6.5


def test_uniforms_have_the_uniform_law_and_miss_the_ends() -> None:
    values = draw(noise.uniforms, (5, 40_000))
    assert values.min() > 0.0 and values.max() < 1.0
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    cells = np.histogram(np.modf(values.ravel() * 2.0**30)[0], bins=16, range=(0.0, 1.0))[0]
    assert stats.chisquare(cells).pvalue > 1e-3


@pytest.mark.parametrize("kind", [noise.normals, noise.uniforms])
def test_values_do_not_depend_on_width_or_component_count(kind) -> None:
    whole = draw(kind, (7, 1000))
    assert np.array_equal(draw(kind, (7, 333)), whole[:, :333])
    assert np.array_equal(draw(kind, (4, 1000)), whole[:4])
    assert np.array_equal(draw(kind, (1, 5)), whole[:1, :5])


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
    out = draw(noise.normals, (2, 4), seed=2**63 - 1, replica=2**32 - 1, step=2**32 - 1)
    assert np.all(np.isfinite(out))
