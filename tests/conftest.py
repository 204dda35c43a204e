"""A strict world for every test: floating-point accidents raise, and random numbers come from a seeded generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _strict_floating_point() -> Iterator[None]:
    """Overflow, division by zero and invalid operations raise; underflow to zero is how a Gaussian tail ends."""
    before = np.seterr(all="raise", under="ignore")
    yield
    np.seterr(**before)


@pytest.fixture
def rng() -> np.random.Generator:
    """One generator per test, always with the same seed."""
    return np.random.default_rng(20260523)
