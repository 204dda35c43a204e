"""How functions are compiled, and when machine code that a former process left in Numba's cache still holds.

A HELPER is inlined into what calls it, a ``kernel`` is compiled once per signature and cached. In plain scalar
arithmetic contraction to fused multiply-add is allowed, re-association is not: a result never depends on how a loop was
vectorised. NaN is not assumed away, so that a run that diverges shows.

What a kernel has no register for lies in its stack frame. LLVM starts frames on any multiple of 16 bytes, by the luck
of the process: vectors then lie across two cache lines, which costs up to 1.8 times the time for as long as the process
lives. Hence the frame of a kernel starts on a cache line.

Numba takes a cache for good while the file that defines the kernel stays as it is. Here every source file of core
counts too; so a kernel may inline, or take constants from, core and its own file alone. Kernels for the GPU have no
need of it: what they inline is in their own file or in their closure, whose values Numba looks at.

Numba also keeps a list of entries and the entries in separate files, which it writes one after the other without a
lock. Of two processes that compile a kernel at once, one may find, or leave behind for good, an entry of the other in
the place of its own: another precision, another activation, another release. Hence an entry states what it holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

CACHE_LINE = 64  # bytes

_STRICT: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}
HELPER: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_STRICT}
KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "no_cfunc_wrapper": True, **_STRICT}


def _digest() -> bytes:
    """Of the source files beside this one; empty where there are none to read, as in an archive."""
    folder, digest = os.path.dirname(__file__), sha256()
    try:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb") as file:
                    digest.update(name.encode() + sha256(file.read()).digest())
    except OSError:
        return b""
    return digest.digest()


_SOURCES = _digest()


class _Entries:
    """The cache file of one kernel, whose entries are given out only for the sources and the key they were saved with.

    AttributeError if Numba's own is not the one known from its releases 0.60 to 0.68.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._save, self._load = file.save, file.load
        self._stamp = file._source_stamp = (file._source_stamp, _SOURCES)

    def save(self, key: Any, data: Any) -> None:
        self._save(key, (self._stamp, key, data))

    def load(self, key: Any) -> Any:
        entry = self._load(key)
        return entry[2] if entry is not None and entry[:2] == (self._stamp, key) else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _AlignedFrame(Lower):
    """LLVM's code for a function whose stack frame starts on a cache line."""

    def pre_lower(self) -> None:
        super().pre_lower()
        attributes = self.builder.function.attributes
        attributes.alignstack = CACHE_LINE
        attributes.add("noinline")  # the frame of another function need not be aligned


@register_pass(mutates_CFG=True, analysis_only=False)
class _AlignedLowering(NativeLowering):
    _name = "mfpde_aligned_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        return _AlignedFrame


class _Compiler(CompilerBase):
    """Numba's own pipeline, but for the frame."""

    def define_pipelines(self) -> list[PassManager]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.add_pass_after(_AlignedLowering, NativeLowering)
        manager.passes = [entry for entry in manager.passes if entry[0] is not NativeLowering]
        manager.finalize()
        return [manager]


def kernel(function: Callable[..., Any]) -> Any:
    """Decorator: njit(**KERNEL) with a cache that notices changes in core and in the file of the function."""
    compiled = njit(**KERNEL, pipeline_class=_Compiler)(function)
    with suppress(AttributeError):  # another Numba, or none at work: NUMBA_DISABLE_JIT
        compiled._cache._cache_file = _Entries(compiled._cache._cache_file)
    return compiled
