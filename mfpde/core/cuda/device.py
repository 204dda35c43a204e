"""What all calls share: one at a time on the device, whose memory for arguments and results stays between them.

A call fills the device by itself where that pays, so a lock costs little and lets the threads of a pool call freely.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from mfpde.core.cuda.sweep import LANES, ROWS, SHARES, depth_for, gather, pieces, sweep
from mfpde.core.passes import Precision

Array = NDArray[np.float64]

REAL: dict[Precision, Any] = {"double": np.float64, "single": np.float32}

# Bytes of theta, partial sums and gradient on the device at once; more replicas than fit go in several batches.
ROOM = 2**31

lock = threading.Lock()
_rooms: dict[tuple[str, type], Any] = {}


def room(name: str, size: int, real: Any) -> Any:
    """[size] uninitialised numbers on the device, the same memory for the same name as long as it is large enough."""
    found = _rooms.get((name, real))
    if found is None or found.size < size:
        _rooms.pop((name, real), None)
        found = _rooms[name, real] = cuda.device_array(size, real)
    return found[:size]


def upload(name: str, values: Array, real: Any) -> Any:
    """``values`` in working precision in the room of this name, flat."""
    flat = np.ascontiguousarray(values, dtype=real).reshape(-1)
    held = room(name, flat.size, real)
    held.copy_to_device(flat)
    return held


def download(held: Any, out: Array) -> None:
    """Copy a flat device array of doubles to ``out``."""
    if out.flags.c_contiguous:
        held.copy_to_host(out.reshape(-1))
    else:
        out[...] = held.copy_to_host().reshape(out.shape)


def batches(replicas: int, numbers: int) -> Iterator[slice]:
    """Cuts of ``replicas`` that need at most ROOM, at least one replica each, for this many doubles per replica."""
    batch = max(1, min(ROOM // (8 * numbers), 65535))
    for first in range(0, replicas, batch):
        yield slice(first, min(first + batch, replicas))


def sums(
    element: Any,
    real: Any,
    owners: tuple[Any, int, int],
    passers: tuple[Any, int, int],
    size: int,
    factor: Any,
    table: Any,
    *,
    gradient: bool,
    radial: bool = False,
) -> Any:
    """Run ``sweep``: partial [pieces, R, rows, M] on the device. ``owners`` and ``passers`` are (array, row, count)."""
    own_values, own_row, count = owners
    pass_values, pass_row, crowd = passers
    replicas = factor.shape[0]
    own = 1 if count <= LANES else 2 if real is np.float64 or count <= 2 * LANES else 4
    piece_size, number = pieces(count, crowd)
    depth = depth_for(size)
    rows, slabs = (1 + size, -(-size // (ROWS * depth))) if gradient else (1, 1)
    partial = room("partial", number * replicas * rows * count, np.float64).reshape(number, replicas, rows, count)
    grid = (-(-count // (LANES * own)) * slabs, number, replicas)
    kernel = sweep(element, real, own, depth, gradient, radial)
    kernel[grid, (LANES, ROWS)](
        own_values, own_row, pass_values, pass_row, crowd, size, factor, table, piece_size, partial
    )
    return partial


def gathered(partial: Any, rows: int, factor: Any, scale: float) -> Any:
    """Run ``gather``: [R * rows * M] on the device."""
    number, replicas, _, count = partial.shape
    out = room("out", replicas * rows * count, np.float64)
    gather[(-(-count // LANES), rows, replicas), (LANES, min(SHARES, number))](
        partial, factor, scale, out.reshape(replicas, rows, count)
    )
    return out
