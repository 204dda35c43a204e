"""The particle kernels on an NVIDIA GPU: ``interaction`` and ``pairs`` here stand in for their namesakes in core.

Arrays in and out stay NumPy's, in double, and mean what they mean there. Arithmetic is double, or single with sums of
128 terms added in double. Every sum has a fixed order that depends on the sizes n, N and d alone: the same bits in
every call, for any number of calling threads, and for a replica in any company.

Importing the package needs no GPU; ``available`` says whether its modules can be used. With NUMBA_ENABLE_CUDASIM=1 in
the environment they run in Numba's simulator, slowly, on any machine.
"""

from __future__ import annotations

from importlib.util import find_spec

_MISSING = "the package numba-cuda is not installed: pip install 'mfpde[cuda]'"


def available() -> str | None:
    """None if the device answers, having run a first kernel and got it right; else one sentence that says why not."""
    try:
        from numba import config, cuda
    except ImportError:
        return _MISSING
    if config.ENABLE_CUDASIM:
        return None
    if find_spec("numba_cuda") is None:
        return _MISSING
    if not cuda.is_available():
        return f"no NVIDIA GPU can be used: {_first_line(cuda.cuda_error() or 'the compiler library NVVM is missing')}"
    try:
        value = _first_kernel()
    except Exception as error:  # whatever a driver, a toolkit or a device may raise
        return f"the NVIDIA GPU does not run a kernel: {_first_line(error)}"
    return None if value == 27.0 else f"the NVIDIA GPU computes wrongly: 3 (2 x + 1)^2 at x = 1 is {value}"


def _first_kernel() -> float:
    """3 (2 x + 1)^2 at x = 1."""
    import numpy as np

    from mfpde.core.activations import QUADRATIC
    from mfpde.core.cuda.interaction import predict_batch

    f = np.empty((1, 1))
    predict_batch(QUADRATIC, np.zeros(1), np.array([[[3.0], [2.0], [1.0]]]), np.ones((1, 1)), f)
    return float(f[0, 0])


def _first_line(error: object) -> str:
    lines = [line.strip(" .:") for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
