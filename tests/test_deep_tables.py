"""The lazy operator against the tables of dynamical mean-field theory, with pathwise and with Stein responses."""

from __future__ import annotations

import numpy as np
import pytest
from naive_deep import Tables, tables, toy

from mfpde.theory.deep.limit import run
from mfpde.theory.deep.problem import DeepProblem
from mfpde.theory.deep.space import LimitSettings

POINTS, STEPS = 3, 10


def by_tables(depth: int, responses: str, samples: int, replicates: int) -> list[Tables]:
    x, y = toy(POINTS, 10)
    gram = x @ x.T / 10.0
    return [tables(gram, 1.5 * y, depth, 1.0, STEPS, samples, seed, responses) for seed in range(replicates)]


def mean_and_error(f: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(f)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("depth", [2, 3])
def test_three_formulations_agree(depth: int) -> None:
    """Rms over t and points within 4 combined standard errors, and the equal-time block of B is not zero."""
    x, y = toy(POINTS, 10)
    case = DeepProblem(x, 1.5 * y, depth=depth, rate=1.0, steps=STEPS)
    ours, error = mean_and_error([run(case, LimitSettings(samples=8192), r).f[..., 0] for r in range(4)])
    stein, pathwise = by_tables(depth, "stein", 5000, 4), by_tables(depth, "pathwise", 800, 4)
    for found in (stein, pathwise):
        other, other_error = mean_and_error([one.f for one in found])
        off, noise = np.sqrt(np.mean((ours - other) ** 2)), np.sqrt(np.mean(error**2 + other_error**2))
        assert off < 4.0 * noise
        assert off < 0.012
    equal_time = np.mean([np.diag(one.backward[0]) for one in pathwise], axis=0).reshape(STEPS + 1, POINTS)
    assert np.abs(equal_time[0]).max() < 0.1
    assert np.abs(equal_time[3]).min() > 0.5


@pytest.mark.parametrize(
    ("depth", "low", "high", "loss"),
    [(2, 0.03, 0.06, 0.365), pytest.param(3, 0.06, 0.10, 0.403, marks=pytest.mark.slow)],
)
def test_responses_matter(depth: int, low: float, high: float, loss: float) -> None:
    """Without them f on eight points is off by .047 (L = 2) and .080 (L = 3), and the loss after one step higher."""
    x, y = toy()
    without = np.mean([tables(x @ x.T / 10.0, y, depth, 2.0, 30, 2000, seed, "none").f for seed in range(2)], axis=0)
    ours = run(DeepProblem(x, y, depth=depth, rate=2.0, steps=30), LimitSettings(samples=2048)).f[..., 0]
    assert low < np.sqrt(np.mean((without - ours) ** 2)) < high
    assert abs(0.5 * np.mean((without[1] - y) ** 2) - loss) < 0.02
