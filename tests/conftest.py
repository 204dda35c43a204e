"""A strict world for every test: floating-point accidents raise, and random numbers come from a seeded generator."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (a limit holds for libraries that are loaded)
from threadpoolctl import threadpool_limits


def pytest_collection_finish() -> None:
    """Python's collector leaves alone what was there before the tests: looking through it took 5 % of their time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.fixture(autouse=True)
def _strict_floating_point() -> Iterator[None]:
    """Overflow, division by zero and invalid operations raise; underflow to zero is how a Gaussian tail ends."""
    before = np.seterr(all="raise", under="ignore")
    yield
    np.seterr(**before)


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread() -> Iterator[None]:
    """Products of matrices by one thread, as in every command of mfpde.

    Bits are compared; and threads of processes that share the processors wait for each other, ten times as long as
    they compute where a test multiplies many small blocks.
    """
    with threadpool_limits(1):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """One generator per test, always with the same seed."""
    return np.random.default_rng(20260523)


@pytest.fixture(autouse=True, scope="session")
def _usual_interrupt() -> None:
    """A test run that a script started in the background ignores SIGINT, and so would what the tests start."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    if on_main_thread and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
