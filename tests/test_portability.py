"""The same bits from another instruction set: kernels compiled for 256-bit vectors against those of this machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from mfpde.core import transfers

SCRIPT = """
import hashlib
import numpy as np
from mfpde.core import interaction, noise, pairs, stochastic_gradient
from mfpde.core.activations import CODES
from mfpde.measures import Axis, Grid, Species
from mfpde.problem import Coordinate
from mfpde.steppers.grid import Propagator

generator = np.random.default_rng(0)
theta, x, r = generator.normal(size=(7, 3000)), generator.normal(size=(61, 5)), generator.normal(size=61)
digest = hashlib.sha256()
for precision in ("double", "single"):
    for name in ("tanh", "erf", "softplus", "sin"):
        f, gradient = np.empty(61), np.empty_like(theta)
        interaction.predict(CODES[name], np.zeros(1), theta, np.full(3000, 1 / 3000), x, f, precision)
        interaction.pullback(CODES[name], np.zeros(1), theta, x, r, gradient, precision)
        digest.update(f.tobytes() + gradient.tobytes())
    some, force = np.ascontiguousarray(theta[:, :200]), np.empty((7, 200))
    for name in ("relu", "erf"):
        pairs.pair_force(CODES[name], np.zeros(1), some, force, precision)
        digest.update(force.tobytes())
group = np.ones(3)
for sigma in (0.0, 0.1):
    moved, descent = theta.copy(), stochastic_gradient.Descent(1.0, False, group, 0.1 * group, sigma * group)
    samples = generator.normal(size=(9, 2, 5)), generator.normal(size=(9, 2))
    stochastic_gradient.advance(CODES["tanh"], np.zeros(1), moved, *samples, np.full(9, 0.01), descent)
    digest.update(moved.tobytes())
for shape in ((97,), (9000,), (33, 70), (300, 90), (12, 17, 40)):
    axes = tuple(Axis(Coordinate(f"w{k}", "w"), -3.0, 3.0, cells) for k, cells in enumerate(shape))
    propagator = Propagator(Grid(axes, Species((), np.zeros((1, 0)), np.ones(1))), 0.1)
    psi, mass = generator.normal(size=(1, *shape)), generator.exponential(size=(1, *shape))
    for dt in (1e-6, 2e-3):
        mass, stages = propagator(psi, mass, dt)
        digest.update(mass.tobytes())
numbers = np.empty((3, 1000))
noise.normals(3, noise.BROWNIAN, 1, 2, numbers)
print(digest.hexdigest(), hashlib.sha256(numbers.tobytes()).hexdigest())
"""


PIECES = """
from mfpde.core import transfers
transfers._pieces = lambda: {}
"""


def digests(before: str = "", **environment: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", before + SCRIPT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() != "x86_64" or not {"avx512f", "fma"} <= flags(), reason="needs a processor with AVX-512"
)
def test_narrower_vectors_give_the_same_bits(tmp_path: Path) -> None:
    # the kernels of this machine are those that every other test has compiled
    wide = digests()
    narrow = digests(
        NUMBA_CACHE_DIR=str(tmp_path),
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="+avx2,+fma,+bmi,+bmi2,+avx,+sse4.2,+popcnt",
    )
    assert wide == narrow


@pytest.mark.slow
def test_tiles_in_pieces_give_the_same_bits(tmp_path: Path) -> None:
    # what a processor with wider, or with narrower, registers than this one compiles
    other = 4 if transfers.in_one_piece() else 1
    assert digests(PIECES.format(other), NUMBA_CACHE_DIR=str(tmp_path)) == digests()
