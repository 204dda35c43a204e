"""The vector type: arithmetic lane by lane against NumPy, loads, stores and the folded sum, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from mfpde.core import vector
from mfpde.core.transfers import (
    SUMS,
    add_product,
    filled,
    joined,
    lanes,
    load,
    load_as,
    quarters,
    spread,
    spread_as,
    store,
    zero_piece,
)
from mfpde.core.vector import absolute, bits_of, copysign, fma, of_bits, select, sqrt

PRECISIONS = [np.float64, np.float32]


@njit
def _arithmetic(x, y, out):
    n = lanes(x)
    u, v = load(x, 0), load(y, 0)
    store(out, 0, u + v)
    store(out, n, u - v)
    store(out, 2 * n, u * v)
    store(out, 3 * n, u / v)
    store(out, 4 * n, -u)
    store(out, 5 * n, fma(u, v, 3.0))
    store(out, 6 * n, sqrt(absolute(u)))
    store(out, 7 * n, copysign(v, u))
    store(out, 8 * n, select(u < v, u, 2.0))
    store(out, 9 * n, 2.0 * u + spread(y, 1))
    store(out, 10 * n, of_bits(bits_of(u) ^ bits_of(filled(u, -0.0))))
    store(out, 11 * n, select(u >= 0.0, filled(u, 1.0), -1.0))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_lane_does_what_numpy_does(dtype: type) -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=128).astype(dtype)
    n = lanes(x)
    x, y = x[:n], generator.normal(size=n).astype(dtype)
    out = np.zeros(12 * n, dtype)
    _arithmetic(x, y, out)
    exact = (x.astype(np.longdouble) * y + 3.0).astype(dtype)
    expected = [x + y, x - y, x * y, x / y, -x, exact, np.sqrt(np.abs(x)), np.copysign(y, x)]
    expected += [np.where(x < y, x, dtype(2.0)), 2 * x + y[1], -x, np.where(x >= 0, 1, -1)]
    for got, wanted in zip(out.reshape(12, n), expected, strict=True):
        assert np.array_equal(got, wanted)


@njit
def _not_a_number(x, out):
    u = load(x, 0)
    store(out, 0, select(u < 0.0, 1.0, select(u >= 0.0, filled(u, 2.0), 3.0)))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_comparisons_with_not_a_number_are_false(dtype: type) -> None:
    x = np.full(64, np.nan, dtype)
    out = np.zeros(64, dtype)
    _not_a_number(x, out)
    assert np.all(out[: lanes(x)] == 3.0)


@njit
def _sum(x, y, sums, repeats):
    for _ in range(repeats):
        add_product(sums, SUMS, load(x, 3), load(y, 0))


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_folded_products_add_up(dtype: type) -> None:
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 128)).astype(dtype)
    n = lanes(x)
    sums = np.zeros(3 * SUMS)
    _sum(x, y, sums, 4)
    exact = 4.0 * np.sum(x[3 : 3 + n].astype(float) * y[:n])
    assert np.all(sums[:SUMS] == 0.0) and np.all(sums[2 * SUMS :] == 0.0)
    assert sums.sum() == pytest.approx(exact, abs=64 * float(np.finfo(dtype).eps))
    # lane i of the sums holds the elements that are i modulo SUMS
    lane = 4.0 * np.sum((x[3 : 3 + n].astype(float) * y[:n]).reshape(-1, SUMS), axis=0)
    np.testing.assert_allclose(sums[SUMS : 2 * SUMS], lane, atol=64 * np.finfo(dtype).eps)


@njit
def _pieces(x, out):
    a, b, c, d = quarters(load(x, 0))
    store(out, 0, joined(joined(d, c), joined(b, a)))
    none = zero_piece(x)
    for i in range(0, lanes(x), lanes(none)):
        store(out, lanes(x) + i, none + load_as(none, x, i) * spread_as(none, x, 2))
    return lanes(a), lanes(none)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_vectors_come_apart_and_together(dtype: type) -> None:
    x = np.random.default_rng(3).normal(size=64).astype(dtype)
    n = lanes(x)
    out = np.zeros(2 * n, dtype)
    quarter, piece = _pieces(x, out)
    assert quarter == n // 4 and piece in (n, n // 4)
    assert np.array_equal(out[:n], x[:n].reshape(4, -1)[::-1].ravel())
    assert np.array_equal(out[n:], x[:n] * x[2])


@njit
def _scalars(x, y, z):
    return fma(x, y, z), select(x < y, x, y), copysign(x, y), sqrt(x), absolute(y), of_bits(bits_of(x))


def test_scalars_take_the_same_functions() -> None:
    x, y, z = 1.0 + 2.0**-30, -1.0 + 2.0**-30, 1.0
    # the product has 2^-60 beyond its rounding to double
    assert _scalars(x, y, z) == (2.0**-60, y, -x, np.sqrt(x), -y, x)


def test_lanes_do_not_depend_on_the_machine() -> None:
    assert lanes(np.zeros(1)) == 32
    assert lanes(np.zeros(1, np.float32)) == 64
    assert max(vector.LANES.values()) == 64
