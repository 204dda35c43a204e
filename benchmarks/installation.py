"""The machine, the libraries and the environment a benchmark runs in."""

from __future__ import annotations

import importlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

# import name -> name of the distribution
DISTRIBUTIONS = {
    "torch": "torch",
    "jax": "jax",
    "pykeops": "pykeops",
    "pde": "py-pde",
    "fipy": "fipy",
    "fplanck": "fplanck",
    "ot": "POT",
}
ALWAYS = ("mfpde", "numpy", "scipy", "numba", "llvmlite", "jaxlib")
# settings that would make OpenBLAS use code for another processor
BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")


def environment(threads: int) -> dict[str, str]:
    """The environment of a measuring process: BLAS unset from overrides, ``threads`` threads for every library."""
    clean = {key: value for key, value in os.environ.items() if key not in BLAS_OVERRIDES}
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR"):
        clean[f"{name}_NUM_THREADS"] = str(threads)
    # workers that spin after a parallel region would be charged to the variant that runs next
    clean["OMP_WAIT_POLICY"] = "PASSIVE"
    clean["JAX_ENABLE_X64"], clean["JAX_PLATFORMS"] = "1", "cpu"
    if threads == 1:
        clean["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return clean


def blas() -> list[str]:
    """The linear algebra that is loaded: library, version, and the processor whose code it chose."""
    found = {
        f"{info['internal_api']} {info.get('version')} for {info.get('architecture', 'an unstated processor')}"
        for info in threadpool_info()
        if info.get("user_api") == "blas"
    }
    return sorted(found)


def machine() -> dict[str, Any]:
    """Processor, cores, memory and caches, as far as the system tells."""
    described: dict[str, Any] = {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "family": _line("/proc/cpuinfo", "cpu family"),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    memory = _line("/proc/meminfo", "MemTotal")
    if memory:
        described["memory_gib"] = round(int(memory.split()[0]) / 2**20, 1)
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind = (index / "level").read_text().strip(), (index / "type").read_text().strip()
        described[f"L{level}{'' if kind == 'Unified' else kind[0].lower()}"] = (index / "size").read_text().strip()
    return described


def _line(file: str, key: str) -> str:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def versions() -> dict[str, str]:
    """Versions of the libraries that are installed."""
    found = {}
    for name in (*ALWAYS, *DISTRIBUTIONS.values()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "mfpde" not in found:
        found["mfpde"] = importlib.import_module("mfpde").__version__
    return found
