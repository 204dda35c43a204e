"""Elementary functions, scalar and vector, double and single, against long arithmetic in ulp or absolute error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit
from scipy.special import erf, expit

from mfpde.core import elementary
from mfpde.core.transfers import lanes, load, store

DOUBLE, SINGLE = np.float64, np.float32


def loops(function):
    """(over scalars, over vectors)."""

    @njit
    def scalar(z, out):
        for i in range(z.shape[0]):
            out[i] = function(z[i])

    @njit
    def vector(z, out):
        for i in range(0, z.shape[0], lanes(z)):
            store(out, i, function(load(z, i)))

    return scalar, vector


# name, reference, ranges, absolute error (double, single), relative error (double, single; None where a zero spoils it)
CASES = [
    ("exponential", np.exp, (1e-8, 1.0, 80.0), (None, None), (3e-16, 1.2e-7)),
    (
        "tanh",
        lambda z: np.tanh(z.astype(np.longdouble)),
        (1e-12, 1e-3, 1.0, 8.0, 50.0, 1e3),
        (3e-16, 2e-7),
        (6e-16, 2.5e-7),
    ),
    # 5e-16 of the code, half an ulp of the reference
    ("erf_scaled", lambda z: erf(z / math.sqrt(2.0)), (1e-12, 1e-3, 1.0, 8.0, 1e3), (6e-16, 3e-7), (1e-15, 4e-7)),
    (
        "erf_scaled_slope",
        lambda z: math.sqrt(2.0 / math.pi) * np.exp(-0.5 * z * z),
        (1e-12, 1.0, 8.0, 1e3),
        (3e-16, 1.5e-7),
        (None, None),
    ),
    ("sine", np.sin, (1e-12, 1.0, 50.0, 1e3), (3e-16, 2e-7), (None, None)),
    ("cosine", np.cos, (1e-12, 1.0, 50.0, 1e3), (4e-16, 3e-7), (None, None)),
    ("sigmoid", expit, (1e-12, 1.0, 30.0, 1e3), (4e-16, 2e-7), (None, None)),
    ("softplus", lambda z: np.logaddexp(0.0, z), (1e-12, 1.0, 30.0, 1e3), (None, None), (8e-16, 3e-7)),
]


@pytest.mark.parametrize(("name", "reference", "ranges", "absolute", "relative"), CASES)
def test_accuracy_of_scalars_and_vectors(name: str, reference, ranges, absolute, relative) -> None:
    generator = np.random.default_rng(3)
    z = np.concatenate([generator.uniform(-size, size, 6400) for size in ranges])
    scalar, vector = loops(getattr(elementary, name))
    out, same = np.empty_like(z), np.empty_like(z)
    scalar(z, out)
    vector(z, same)
    assert np.array_equal(out, same)
    _within(out, reference(z), absolute[0], relative[0], 1e-290)
    near = z[np.abs(z) <= 50.0].astype(SINGLE) if name == "sigmoid" else z.astype(SINGLE)
    near = near[: near.size // 64 * 64]
    single = np.empty_like(near)
    vector(near, single)
    _within(single, reference(near.astype(DOUBLE)), absolute[1], relative[1], 1e-30)


def _within(out: np.ndarray, exact: np.ndarray, absolute: float | None, relative: float | None, tiny: float) -> None:
    error = np.abs(out.astype(DOUBLE) - exact)
    if absolute is not None:
        assert np.max(error) < absolute
    if relative is not None:
        seen = np.abs(exact) > tiny
        assert np.max(error[seen] / np.abs(exact[seen])) < relative


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_logarithm_of_one_plus(dtype: type) -> None:
    t = np.concatenate([np.random.default_rng(6).uniform(0.0, 1.0, 6400), np.logspace(-30.0, 0.0, 320)]).astype(dtype)
    out = np.empty_like(t)
    loops(elementary.log_one_plus)[1](t, out)
    assert np.max(np.abs(out / np.log1p(t.astype(DOUBLE)) - 1.0)) < (8e-16 if dtype is DOUBLE else 3e-7)


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
@pytest.mark.parametrize("name", ["exponential", "tanh", "erf_scaled", "erf_scaled_slope", "sigmoid", "softplus"])
def test_infinities_give_the_limit_and_nan_stays(name: str, dtype: type) -> None:
    z = np.zeros(64, dtype)
    z[:3] = -np.inf, np.inf, np.nan
    out = np.empty_like(z)
    loops(getattr(elementary, name))[1](z, out)
    limits = {
        "exponential": (0.0, None),
        "tanh": (-1.0, 1.0),
        "erf_scaled": (-1.0, 1.0),
        "erf_scaled_slope": (0.0, 0.0),
        "sigmoid": (0.0, 1.0),
        "softplus": (0.0, np.inf),
    }
    below, above = limits[name]
    assert out[0] == below
    # the exponential is clamped where it would overflow
    assert out[1] == above if above is not None else out[1] > (1e307 if dtype is DOUBLE else 1e38)
    assert np.isnan(out[2])


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_saturated_values_never_leave_the_unit_interval(dtype: type) -> None:
    z = np.linspace(-12.0, 12.0, 64 * 4000).astype(dtype)
    out = np.empty_like(z)
    for name in ("tanh", "erf_scaled"):
        loops(getattr(elementary, name))[1](z, out)
        assert np.max(np.abs(out)) <= 1.0


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_arcsine_and_cosine_of_its_angle(dtype: type) -> None:
    function = elementary.arcsine_parts

    @njit
    def angles(s, least, angle, cosine):
        for i in range(0, s.shape[0], lanes(s)):
            top, bottom, c = function(load(s, i), load(least, i))
            store(angle, i, load(s, i) * (top / bottom))
            store(cosine, i, c)

    generator = np.random.default_rng(8)
    s = np.sin(generator.uniform(-0.5 * np.pi, 0.5 * np.pi, 6400)).astype(dtype)
    s[1000:2000] *= dtype(10.0) ** generator.uniform(-30, 0, 1000).astype(dtype)
    eps = np.finfo(dtype).eps
    s[:6] = 0.0, 1.0, -1.0, 1.0 + eps, -1.0 - 2.0 * eps, np.nan
    least = np.zeros_like(s)
    s[6:8], least[6:8] = (1.0, -1.0), (1e-18, 2.0 * eps)
    angle, cosine = np.empty_like(s), np.empty_like(s)
    angles(s, least, angle, cosine)
    assert np.array_equal(angle[:3], np.array([0.0, 0.5 * np.pi, -0.5 * np.pi], dtype))
    np.testing.assert_allclose(angle[3:5], [0.5 * np.pi, -0.5 * np.pi], rtol=3 * eps)
    assert np.all(cosine[1:5] == 0.0)
    assert np.isnan(angle[5]) and np.isnan(cosine[5])
    # where rounding left less than there must be, the angle is that of the least cosine
    cosines = np.array([1e-9, np.sqrt(2.0 * eps)])
    np.testing.assert_allclose(cosine[6:8], cosines, rtol=2 * eps)
    np.testing.assert_allclose(angle[6:8], [1.0, -1.0] * np.arccos(cosines), rtol=3 * eps)
    exact = s[8:].astype(np.longdouble)
    np.testing.assert_allclose(angle[8:], np.arcsin(exact), rtol=3 * eps, atol=0)
    np.testing.assert_allclose(cosine[8:], np.sqrt((1 - exact) * (1 + exact)), rtol=2 * eps, atol=0)
