"""Sums over a stored table: exact on integers, to round-off on numbers, the same bits for any number of threads."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfpde.core import parallel
from mfpde.core.table_sums import NARROW, gather, spread
from mfpde.tabulate.features import Stored


def sums(table: np.ndarray, mass: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    over_cells, over_features = np.full(table.shape[1], 7.0), np.full(len(table), 7.0)
    gather(table, mass, over_cells)
    spread(table, r, over_features)
    return over_cells, over_features


@given(cells=st.integers(1, 40), rank=st.integers(1, 80), seed=st.integers(0, 2**32 - 1))
def test_sums_of_integers_are_exact(cells: int, rank: int, seed: int) -> None:
    """No product is rounded and no order matters then, so that what is left out or taken twice shows."""
    rng = np.random.default_rng(seed)
    table, mass, r = (rng.integers(-(2**20), 2**20, size) for size in ((cells, rank), cells, rank))
    over_cells, over_features = sums(table.astype(float), mass.astype(float), r.astype(float))
    assert np.array_equal(over_cells, mass @ table)
    assert np.array_equal(over_features, table @ r)


@pytest.mark.parametrize("rank", [1, NARROW - 1, NARROW, 5 * NARROW + 3])
def test_sums_lose_no_more_than_round_off(rank: int, rng: np.random.Generator) -> None:
    """Against exact rational arithmetic: n terms lose at most n units in the last place of the sum of their sizes."""
    table, mass, r = rng.standard_normal((150, rank)), rng.random(150), rng.standard_normal(rank)
    for found, rows, factors in zip(sums(table, mass, r), (table.T, table), (mass, r), strict=True):
        for value, row in zip(found, rows, strict=True):
            terms = [Fraction(a) * Fraction(b) for a, b in zip(row, factors, strict=True)]
            assert abs(Fraction(value) - sum(terms)) <= len(terms) * Fraction(2) ** -53 * sum(map(abs, terms))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_cell_and_in_its_feature(bad: float, rng: np.random.Generator) -> None:
    table, mass, r = rng.random((30, 45)), rng.random(30), rng.random(45)
    table[17, 41] = bad
    over_cells, over_features = sums(table, mass, r)
    assert np.flatnonzero(~np.isfinite(over_cells)).tolist() == [41]
    assert np.flatnonzero(~np.isfinite(over_features)).tolist() == [17]


@pytest.mark.parametrize("rank", [3, 150])
def test_any_number_of_threads_gives_the_same_bits(rank: int, rng: np.random.Generator) -> None:
    table, r = rng.standard_normal((2**19 // rank, rank)), rng.standard_normal(2 * rank)[::2]
    mass = rng.random(2 * len(table))[::2]  # every other number of an array
    stored = Stored(table)
    first = stored.gather(mass), stored.spread(r)
    np.testing.assert_allclose(first[0], mass @ table, rtol=1e-11)
    np.testing.assert_allclose(first[1], table @ r, rtol=0.0, atol=1e-12)
    for threads in (2, 3):
        with parallel.team(threads):
            assert np.array_equal(stored.gather(mass), first[0]) and np.array_equal(stored.spread(r), first[1])
