"""Both passes in one go: the bits of the two passes apart wherever values are kept, and the naive twin's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import naive
import numpy as np
import pytest

from mfpde.core import gradient, interaction, parallel, passes
from mfpde.core.activations import CODES, FROM_VALUE, derivative, evaluate, flatten_pieces
from mfpde.core.gradient import Room, gradient_batch, kept_bytes

PARAMETERS = {
    "hermite": np.array([0.3, -0.2, 0.5, 0.1]),
    "piecewise-linear": flatten_pieces([0.5, 1.5], [0.0, 10.0, 0.0], -2.5),
}
NONE = np.zeros(1)
NAMES = sorted(CODES)


def networks(rng: np.random.Generator, replicas: int, neurons: int, nodes: int, inputs: int) -> tuple[np.ndarray, ...]:
    theta = rng.standard_normal((replicas, inputs + 2, neurons))
    return theta, rng.standard_normal((nodes, inputs)), rng.standard_normal(nodes)


def both(name: str, theta: np.ndarray, x: np.ndarray, y: np.ndarray, precision: str = "double") -> list[np.ndarray]:
    """Gradients of |f - y|^2 / 2n by the passes apart, and in one go."""
    code, parameters = CODES[name], PARAMETERS.get(name, NONE)
    apart, together = np.full(theta.shape, np.nan), np.full(theta.shape, np.nan)
    f = np.empty((len(theta), len(y)))
    interaction.predict_batch(code, parameters, theta, x, f, precision)
    interaction.pullback_batch(code, parameters, theta, x, (f - y) / len(y), apart, precision)
    gradient_batch(code, parameters, theta, x, lambda f: (f - y) / len(y), together, Room(), precision)
    return [apart, together]


def _cases_of_keeping() -> Iterator[Any]:
    """One activation of every kind, near and streamed; the others among the slow tests, cheap ones near at once."""
    kinds = ("tanh", "erf", "hermite")
    for name, precision in (*((name, "double") for name in NAMES), ("tanh", "single"), ("erf", "single")):
        soon = name not in ("sin", "sigmoid", "gelu", "softplus")
        yield pytest.param(name, precision, passes.NEAR, marks=() if soon else (pytest.mark.slow,))
        yield pytest.param(name, precision, passes.FAR, marks=() if name in kinds else (pytest.mark.slow,))


@pytest.mark.parametrize(("name", "precision", "where"), [*_cases_of_keeping()])
def test_keeping_changes_no_bit(
    name: str, precision: str, where: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every activation, odd sizes, several replicas in a group: near and streamed, values alone and with slopes."""
    theta, x, y = networks(rng, 5, 83, 21, 3)
    numbers = (96 * 8 if precision == "double" else 128 * 4) * 24
    for slopes in (False, True)[: 1 if CODES[name] in FROM_VALUE else 2]:
        kept = passes.Keeping(where, slopes), (1 + slopes) * numbers
        monkeypatch.setattr(gradient, "_keeping", lambda *size, kept=kept: kept)
        for near in (1 << 20, 1):
            monkeypatch.setattr(gradient, "NEAR_CACHE", near)
            apart, together = both(name, theta, x, y, precision)
            np.testing.assert_array_equal(together, apart)


def test_the_gradient_is_that_of_the_naive_twin(rng: np.random.Generator) -> None:
    theta, x, y = networks(rng, 2, 50, 30, 4)
    for name in ("tanh", "erf"):
        found = both(name, theta, x, y)[1]
        for one, result in zip(theta, found, strict=True):
            mass = np.full(50, 1.0 / 50)
            r = (naive.predict(name, (), one, mass, x) - y) / len(y)
            expected = naive.pullback(name, (), one, x, r)
            np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(1, 20_000, 40, 2), (3, 9000, 64, 5), (40, 700, 60, 2)])
def test_threads_and_sizes_change_no_bit(shape: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    """Networks that threads share, with spans, and groups that do not divide the replicas."""
    theta, x, y = networks(rng, *shape)
    apart, alone = both("tanh", theta, x, y)
    np.testing.assert_array_equal(alone, apart)
    with parallel.team(3):
        np.testing.assert_array_equal(both("tanh", theta, x, y)[1], apart)


@pytest.mark.parametrize("name", sorted(name for name, code in CODES.items() if code in FROM_VALUE))
def test_slopes_follow_from_values(name: str) -> None:
    """What FROM_VALUE claims, over arguments of all sizes: relu at zero and saturated tanh included."""
    z = np.concatenate([[0.0, -0.0], *(sign * np.logspace(-12, 3, 60) for sign in (1.0, -1.0))])
    value, slope = evaluate(name, z), derivative(name, z)
    expected = {"tanh": 1.0 - value**2, "relu": (value > 0.0) * 1.0, "identity": np.ones_like(z)}[name]
    np.testing.assert_allclose(slope, expected, atol=1e-15)


def test_what_is_kept_is_what_was_stated(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    code = CODES["tanh"]
    monkeypatch.setattr(gradient, "in_one_piece", lambda: True)
    # 20 neurons fill one vector of 32, 10 nodes three blocks of 4
    assert kept_bytes(code, 1, 20, 10, 2) == 32 * 12 * 8
    assert kept_bytes(code, 1, 20, 10, 2, "single") == 64 * 12 * 4
    # replicas go together as long as they fit the near cache
    assert gradient.NEAR_CACHE - 32 * 12 * 8 < kept_bytes(code, 10**6, 20, 10, 2) <= gradient.NEAR_CACHE
    assert kept_bytes(code, 7, 10**5, 256, 10) == 10**5 * 256 * 8
    # relu is cheaper to evaluate twice than to keep, unless it has many inputs; and nothing beyond the largest size
    assert kept_bytes(CODES["relu"], 1, 20, 10, 2) == kept_bytes(CODES["relu"], 1, 10**5, 256, 10) == 0
    assert kept_bytes(CODES["relu"], 1, 10**5, 256, 50) > 0
    assert kept_bytes(code, 1, 10**7, 64, 2) == 0
    # slopes as well, where the value does not tell them and evaluating them costs more than memory; if they fit
    assert kept_bytes(CODES["erf"], 1, 10**6, 64, 2) == 10**6 * 64 * 8
    assert kept_bytes(CODES["erf"], 1, 10**4, 4096, 50) == 2 * 10_016 * 4096 * 8
    assert kept_bytes(CODES["erf"], 1, 10**6, 100, 50) == 10**6 * 100 * 8
    # narrow registers take twice as long for what is evaluated again, and as long for what is kept
    monkeypatch.setattr(gradient, "in_one_piece", lambda: False)
    assert kept_bytes(CODES["erf"], 1, 10**6, 64, 2) == 2 * 10**6 * 64 * 8
    room = Room()
    theta, x, y = networks(rng, 3, 3000, 100, 2)
    gradient_batch(code, NONE, theta, x, lambda f: f - y, np.empty_like(theta), room)
    held = room.of(8, np.float64).base
    assert held is not None and 0 <= held.nbytes - kept_bytes(code, 3, 3000, 100, 2) <= 64


def test_one_room_serves_networks_of_several_widths(rng: np.random.Generator) -> None:
    room = Room()
    for width in (40, 56, 40):
        theta, x, y = networks(rng, 2, width, 12, 2)
        found, fresh = np.empty_like(theta), np.empty_like(theta)
        for out, place in ((found, room), (fresh, Room())):
            gradient_batch(CODES["tanh"], NONE, theta, x, lambda f, y=y: f - y, out, place)
        np.testing.assert_array_equal(found, fresh)


def test_a_network_that_diverged_stays_visible(rng: np.random.Generator) -> None:
    theta, x, y = networks(rng, 2, 40, 12, 2)
    theta[1, 0, 7] = np.nan
    found = both("tanh", theta, x, y)[1]
    assert np.all(np.isfinite(found[0])) and np.all(np.isnan(found[1, 1:]))
