"""The GPU kernels in Numba's simulator against their formulas, and what is said on a machine without a GPU.

The simulator is chosen by an environment variable that Numba reads on import, so the class below runs in a process of
its own. It executes every thread in Python: the cases are small, and chosen for the edges of blocks, spans and pieces.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import naive
import numba
import numpy as np
import pytest

from mfpde.core import cuda
from mfpde.core.activations import CODES
from mfpde.core.quadrature import hermite_coefficients

Array = np.ndarray

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
if SIMULATED and hasattr(os, "sched_setaffinity"):
    # the threads of the simulator take turns with Python's lock; on several processors they fight for it, twice as long
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
HERMITE = np.array([0.2, -0.7, 0.5, 0.3, 0.15])
# the config refuses the other one on a GPU
ON_DEVICE = sorted(CODES.keys() - {"piecewise-linear"})
# largest error over the largest sum of absolute terms
BOUND = {"double": 4e-15, "single": 1e-6}
PAIRS = ("relu", "erf", "sin", "quadratic", "identity", "hermite")


def simulate(marks: str) -> None:
    """Run the class below in the simulator, the tests that ``marks`` selects."""
    if find_spec("numba.cuda") is None:
        pytest.skip("this numba comes without a CUDA target and numba-cuda is not installed")
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", marks, __file__]
    done = subprocess.run(
        command, env={**environment, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def setting(d: int, width: int, nodes: int, replicas: int = 1) -> tuple[Array, Array, Array]:
    """theta [R, d + 2, N], x [n, d], r [R, n]."""
    generator = np.random.default_rng(3)
    theta = generator.normal(size=(replicas, d + 2, width))
    theta[:, 1:-1] *= 0.9 / math.sqrt(d)
    return theta, generator.normal(size=(nodes, d)), generator.normal(size=(replicas, nodes))


def network(name: str, theta: Array, x: Any, r: Array, precision: str = "double") -> tuple[Array, Array]:
    """predict and pullback of the device."""
    from mfpde.core.cuda import interaction

    f, out = np.full_like(r, np.nan), np.full_like(theta, np.nan)
    interaction.predict_batch(CODES[name], HERMITE, theta, x, f, precision)
    interaction.pullback_batch(CODES[name], HERMITE, theta, x, r, out, precision)
    return f, out


def assert_network(name: str, d: int, width: int, nodes: int, precision: str) -> None:
    """Both halves of the interaction against the naive twins."""
    theta, x, r = setting(d, width, nodes)
    f, out = network(name, theta, x, r, precision)
    theta, r = theta[0], r[0]
    z = naive.preactivations(theta, x)
    value, slope = np.abs(naive.activation(name, z, HERMITE)), np.abs(naive.activation_slope(name, z, HERMITE) * r)
    expected = naive.predict(name, HERMITE, theta, np.full(width, 1.0 / width), x)
    assert np.max(np.abs(f[0] - expected)) <= BOUND[precision] * np.max(np.abs(theta[0]) @ value) / width
    errors = np.abs(out[0] - naive.pullback(name, HERMITE, theta, x, r))
    terms = np.vstack([value @ np.abs(r), np.abs(theta[0]) * (slope @ np.abs(x)).T, np.abs(theta[0]) * slope.sum(1)])
    assert np.all(np.max(errors, axis=1) <= BOUND[precision] * np.max(terms, axis=1))


def pair_formulas(name: str, w: Array) -> tuple[Array, Array, Array]:
    """K, K_p, K_q [N, N] as on paper, for w [d, N] in general position; hermite by Mehler's series."""
    p, q = w.T @ w, np.sum(w * w, axis=0)
    own, other = np.broadcast_arrays(q[:, None], q[None, :])
    if name == "erf":
        root = np.sqrt((1.0 + own) * (1.0 + other) - p**2)
        return 2.0 / np.pi * np.arctan2(p, root), 2.0 / np.pi / root, -p / np.pi / root / (1.0 + own)
    if name == "relu":
        root = np.sqrt(np.maximum(own * other - p**2, 0.0))
        t = np.arctan2(root, p)
        return (root + (np.pi - t) * p) / (2 * np.pi), (np.pi - t) / (2 * np.pi), root / own / (4 * np.pi)
    if name == "sin":
        decay = np.exp(-(own + other) / 2.0)
        return decay * np.sinh(p), decay * np.cosh(p), -0.5 * decay * np.sinh(p)
    if name == "quadratic":
        return own * other + 2.0 * p**2, 4.0 * p, other
    if name == "identity":
        return p, np.ones_like(p), np.zeros_like(p)
    # C_k(q) = E[sigma(r Z) h_k(Z)] / r^k solves C_k' = sqrt((k + 1)(k + 2)) C_(k+2) / 2, the heat equation.
    k = np.arange(len(HERMITE) + 2)
    table = [hermite_coefficients(lambda s, r=r: naive.activation(name, r * s, HERMITE), k[-1]) for r in np.sqrt(q)]
    series = np.array(table) / np.sqrt(q)[:, None] ** k
    rising = 0.5 * np.sqrt((k[:-2] + 1.0) * (k[:-2] + 2.0)) * series[:, 2:]
    powers, terms = p[:, :, None] ** k[:-2], series[:, :-2]
    slope = np.einsum("ik,jk,ijk->ij", terms[:, 1:] * k[1:-2], terms[:, 1:], powers[:, :, :-1])
    return np.einsum("ik,jk,ijk->ij", terms, terms, powers), slope, np.einsum("ik,jk,ijk->ij", rising, terms, powers)


def assert_pairs(name: str, d: int, width: int, precision: str) -> None:
    """Force and energy of all pairs against dense sums."""
    from mfpde.core.cuda import pairs

    theta = setting(d, width, 1)[0][0]
    a, w = theta[0], theta[1:-1]
    value, by_p, by_q = pair_formulas(name, w)
    out = np.full_like(theta, np.nan)
    pairs.pair_force(CODES[name], HERMITE, theta, out, precision)
    along = np.stack([by_p * row[None, :] + 2.0 * by_q * row[:, None] for row in w]) * a
    expected = np.vstack([value @ a, a * along.sum(axis=2)]) / width
    terms = np.vstack([np.abs(value) @ np.abs(a), np.abs(a) * np.abs(along).sum(axis=2)]) / width
    # q q' - p^2 cancels where i = j: a relative error of the rounding unit becomes its root in the angle
    bound = BOUND[precision] + (math.sqrt(BOUND[precision]) / width if name == "relu" else 0.0)
    assert np.all(out[-1] == 0.0)
    assert np.all(np.max(np.abs(out[:-1] - expected), axis=1) <= bound * np.max(terms, axis=1))
    energy = pairs.pair_energy(CODES[name], HERMITE, a, w, precision)
    assert abs(energy - a @ value @ a / width**2) <= bound * (np.abs(a) @ np.abs(value) @ np.abs(a)) / width**2


class TestInSimulator:
    __test__ = SIMULATED

    def test_odd_sizes(self) -> None:
        assert_network("tanh", 1, 1, 1, "double")
        assert_network("erf", 3, 33, 9, "single")
        assert_pairs("erf", 2, 5, "double")

    def test_bits_of_a_replica_are_the_same_in_any_company(self) -> None:
        theta, x, r = setting(2, 5, 3, replicas=2)
        f, out = network("erf", theta, x, r)
        alone = network("erf", theta[1:], x, r[1:])
        assert np.array_equal(f[1:], alone[0]) and np.array_equal(out[1:], alone[1])

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", BOUND)
    @pytest.mark.parametrize("name", ON_DEVICE)
    def test_networks(self, name: str, precision: str) -> None:
        assert_network(name, 2, 33, 9, precision)

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", BOUND)
    @pytest.mark.parametrize("name", PAIRS)
    def test_pairs(self, name: str, precision: str) -> None:
        assert_pairs(name, 3, 35, precision)

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", BOUND)
    def test_more_components_than_a_slab_holds(self, precision: str) -> None:
        assert_network("tanh", 64, 3, 5, precision)
        assert_pairs("sin", 65, 3, precision)

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", BOUND)
    @pytest.mark.parametrize("crowd", [1, 65536])
    def test_spans_in_one_piece_and_in_several(self, crowd: int, precision: str, monkeypatch: Any) -> None:
        from mfpde.core.cuda import sweep

        monkeypatch.setattr(sweep, "CROWD", crowd)
        assert sweep.pieces(3, 2 * sweep.SPAN + 1) == ((3 * sweep.SPAN, 1) if crowd == 1 else (sweep.SPAN, 3))
        assert_network("sin", 1, 3, 2 * sweep.SPAN + 1, precision)
        assert_network("sin", 1, 2 * sweep.SPAN + 1, 3, precision)

    @pytest.mark.slow
    def test_bits_do_not_depend_on_calls_threads_batches_or_where_the_nodes_are(self, monkeypatch: Any) -> None:
        from mfpde.core.cuda import device, interaction, pairs

        theta, x, r = setting(2, 5, 3, replicas=3)
        f, out = network("erf", theta, x, r)
        again = network("erf", theta, x, r)
        assert np.array_equal(f, again[0]) and np.array_equal(out, again[1])
        force = np.empty_like(theta)
        pairs.pair_force_batch(CODES["erf"], HERMITE, theta, force)
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(lambda k: network("erf", theta[k : k + 1], x, r[k : k + 1]), range(3)))
        assert np.array_equal(f, np.concatenate([part[0] for part in parts]))
        assert np.array_equal(out, np.concatenate([part[1] for part in parts]))
        at = interaction.nodes(x)
        assert np.array_equal(out, network("erf", theta, at, r)[1])
        both = np.full_like(out, np.nan)
        interaction.gradient_batch(CODES["erf"], HERMITE, theta, at, lambda f: 0.3 * f - 1.0, both)
        assert np.array_equal(both, network("erf", theta, at, 0.3 * f - 1.0)[1])
        monkeypatch.setattr(device, "ROOM", 1)
        assert np.array_equal(out, network("erf", theta, x, r)[1])
        one = np.asfortranarray(np.empty_like(theta[0]))
        pairs.pair_force(CODES["erf"], HERMITE, theta[2], one)
        assert np.array_equal(one, force[2])

    def test_forces_of_an_ensemble_are_those_of_the_processor(self) -> None:
        from mfpde.steppers.forces import NodeForce, NodeLaw, PairForce
        from mfpde.steppers.kernels import Kernels

        theta, x, r = setting(2, 5, 3, replicas=2)
        theta[:, -1] = 0.0
        law = NodeLaw(x, r[0], np.array([0.2, 0.3, 0.5]), "square")
        target = np.array([0.3, 1.0, -0.4])
        found = []
        for kernels in (Kernels(), Kernels(device="cuda")):
            nodes = NodeForce("nodes", CODES["tanh"], HERMITE, 1.5, law, kernels)
            pair = PairForce("pairs", CODES["erf"], HERMITE, 1.5, target, 1.0, kernels)
            out, force = np.empty_like(theta), np.empty_like(theta)
            nodes.gradient(theta, out)
            pair.gradient(theta, force)
            found.append((out, force, nodes.observe(theta, None)[0], pair.observe(theta, None)[0]))
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)

    @pytest.mark.slow
    def test_gradients_add_up_in_single_precision(self) -> None:
        # equal terms: the rounding of a plain sum of a thousand would drift to 1e-5
        theta, x, r = np.full((1, 3, 1), 0.1), np.full((1024, 1), 0.7), np.full((1, 1024), 0.3)
        _, out = network("identity", theta, x, r, "single")
        np.testing.assert_allclose(out[0, :, 0], [1024 * 0.3 * 0.17, 1024 * 0.021, 1024 * 0.03], rtol=2e-6)

    @pytest.mark.slow
    def test_a_particle_that_diverges_shows_and_harms_no_other(self) -> None:
        theta, x, r = setting(2, 33, 3)
        _, out = network("tanh", theta, x, r)
        theta[0, 1, 7] = np.nan
        lost, found = network("tanh", theta, x, r)
        others = np.arange(33) != 7
        assert np.all(np.isnan(lost)) and np.all(np.isnan(found[0, :, 7]))
        assert np.array_equal(found[0][:, others], out[0][:, others])

    @pytest.mark.slow
    def test_relu_at_coincident_opposite_and_vanishing_weights(self) -> None:
        from mfpde.core.cuda import pairs

        theta = setting(4, 5, 1)[0][0]
        theta[1:-1, 1], theta[1:-1, 2], theta[1:-1, 3] = theta[1:-1, 0], -theta[1:-1, 0], 0.0
        out = np.empty_like(theta)
        pairs.pair_force(CODES["relu"], HERMITE, theta, out)
        assert np.all(np.isfinite(out)) and np.all(out[1:-1, 3] == 0.0)
        energy = pairs.pair_energy(CODES["relu"], HERMITE, theta[0], theta[1:-1])
        assert energy == pytest.approx(naive.pair_energy("relu", (), theta[0], theta[1:-1]), rel=1e-12)

    def test_what_has_no_meaning_is_refused(self) -> None:
        from mfpde.core.cuda import interaction, pairs

        theta, x, r = setting(2, 3, 4)
        with pytest.raises(ValueError, match="no closed-form"):
            pairs.pair_force(CODES["tanh"], HERMITE, theta[0], np.empty_like(theta[0]))
        with pytest.raises(ValueError, match="in single precision, the call asks for double"):
            interaction.predict_batch(CODES["tanh"], HERMITE, theta, interaction.nodes(x, "single"), r)

    def test_the_simulator_counts_as_a_device(self) -> None:
        assert cuda.available() is None


class TestOutside:
    __test__ = not SIMULATED

    def test_kernels_in_the_simulator(self) -> None:
        simulate("not slow")

    @pytest.mark.slow
    def test_all_kernels_in_the_simulator(self) -> None:
        simulate("slow")

    @pytest.mark.parametrize(
        ("working", "error", "kernel", "said"),
        [
            (False, "\nCUDA driver library cannot be found.\nEnsure …\n:", None, "no NVIDIA GPU .*: CUDA driver"),
            (False, "Call to cuInit results in CUDA_ERROR_NO_DEVICE", None, "no NVIDIA GPU .* CUDA_ERROR_NO_DEVICE"),
            (False, None, None, "no NVIDIA GPU .*: the compiler library NVVM is missing"),
            (True, None, RuntimeError("\n  linker too old\n(driver)"), "does not run a kernel: linker too old"),
            (True, None, MemoryError(), "does not run a kernel: MemoryError"),
            (True, None, 26.5, "computes wrongly.* is 26.5"),
            (True, None, 27.0, None),
        ],
    )
    def test_what_is_missing_is_told_in_one_sentence(
        self, working: bool, error: str | None, kernel: Any, said: str | None, monkeypatch: Any
    ) -> None:
        def first_kernel() -> float:
            if isinstance(kernel, Exception):
                raise kernel
            return float(kernel)

        fake = SimpleNamespace(is_available=lambda: working, cuda_error=lambda: error)
        monkeypatch.setattr(numba, "cuda", fake, raising=False)
        monkeypatch.setattr(cuda, "find_spec", lambda name: name)
        monkeypatch.setattr(cuda, "_first_kernel", first_kernel)
        found = cuda.available()
        if said is None:
            assert found is None
        else:
            assert found is not None and re.search(said, found) and "\n" not in found

    def test_a_missing_package_is_named(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(cuda, "find_spec", lambda name: None)
        found = cuda.available()
        assert found is not None and "numba-cuda is not installed" in found

    def test_numba_without_its_own_cuda_is_a_missing_package_too(self, monkeypatch: Any) -> None:
        monkeypatch.delattr(numba, "cuda", raising=False)
        monkeypatch.setitem(sys.modules, "numba.cuda", None)
        assert cuda.available() == cuda._MISSING

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", BOUND)
    def test_the_compiler_takes_the_kernels(self, precision: str, monkeypatch: Any) -> None:
        """Types are what the simulator does not check. No GPU is needed, but the libraries that numba-cuda calls."""
        pytest.importorskip("numba_cuda", reason="the package numba-cuda is not installed")
        from numba import cuda as target
        from numba import types
        from numba.cuda import dispatcher

        from mfpde.core.cuda import elements, pairs, sweep

        def accepted(kernel: Any, *arguments: Any) -> None:
            code, _ = target.compile(kernel.py_func, arguments, device=False, abi="numba", cc=(9, 0))
            assert "sm_90" in str(code)

        real, number = (np.float64, types.float64) if precision == "double" else (np.float32, types.float32)
        matrix, table, size = types.Array(number, 2, "C"), types.Array(number, 3, "C"), types.int64
        out, partial = types.Array(types.float64, 3, "C"), types.Array(types.float64, 4, "C")
        try:
            accepted(sweep.gather, partial, matrix, types.float64, out)
        except Exception as error:
            pytest.skip(f"numba-cuda does not find CUDA's compiler: {type(error).__name__}")
        # device functions ask which device they are for
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
        accepted(pairs.tabulate, matrix, size, types.Array(types.float64, 2, "C"), table)
        found = [(elements.activation(code, real), False) for code in (CODES[name] for name in ON_DEVICE)]
        found += [(elements.pair_kernel(CODES[name], real), True) for name in PAIRS]
        for element, radial in found:
            for gradient in (True, False):
                kernel = sweep.sweep(element, real, 2, 4, gradient, radial and gradient)
                accepted(kernel, matrix, size, matrix, size, size, size, matrix, table, size, partial)
