"""What a study will cost: seconds and memory.  Orders of magnitude, from counts of operations; no numpy."""

from __future__ import annotations

from typing import Any

from mfpde.io.deep.config import is_linear, recorded, seeds_at
from mfpde.io.deep.schema import Config

# seconds of one core: a multiply-add of a matrix product, one activation with its slope
_PRODUCT, _ACTIVATION = 1.2e-10, 4e-9
# a process with its libraries; a number
_PROCESS, _NUMBER = 180 << 20, 8
LIMIT = "limit"


def estimate(config: Config, shape: tuple[int, int], processes: int, only: str | None) -> dict[str, Any]:
    """``seconds`` with that many processes, ``bytes`` of all together, ``rank`` expected of an operator."""
    tasks = []
    if only != "widths":
        tasks += [(LIMIT, 0, 1)] * (1 if is_linear(config) else config.limit.replicates)
    if only != LIMIT:
        sizes = zip(config.finite.widths, seeds_at(config), strict=True)
        tasks += [(kind, width, seeds) for width, seeds in sizes for kind in config.finite.parametrizations]
    seconds = sum(seconds_of(config, shape, *task) for task in tasks)
    largest = max(_bytes(config, shape, kind, width) for kind, width, _ in tasks)
    workers = max(1, min(processes, len(tasks)))
    memory = (_PROCESS if workers == 1 else (workers + 1) * _PROCESS) + workers * largest + _record(config, shape[0])
    return {
        "tasks": len(tasks),
        "processes": workers,
        "seconds": seconds / workers,
        "bytes": memory,
        "rank": rank(config, shape[0]),
    }


def rank(config: Config, samples: int) -> int:
    """Columns that an operator is expected to keep, forward and backward together.

    Fitted to ranks of two layers on 8 points after 30 steps: 145 + 185 of 248 at the tolerance 1e-6, 81 + 110 at 1e-3,
    43 + 60 at 3e-2.
    """
    seen = (config.training.batch or samples) * (config.training.steps + 1)
    kept = (
        191.0 * samples / 8.0 * (config.limit.tolerance / 1e-3) ** -0.13 * min(1.0, seen / (8.0 * 31.0) * 8.0 / samples)
    )
    return max(1, min(2 * seen, round(kept)))


def seconds_of(config: Config, shape: tuple[int, int], kind: str, width: int, count: int) -> float:
    """Seconds of one replicate of the limit, or of ``count`` seeds of a width, on one core."""
    samples, inputs = shape
    depth, steps = config.network.depth, config.training.steps + 1
    points = config.training.batch or samples
    kernels = recorded(config) * 4.0 * depth * samples**2
    if kind == LIMIT:
        size = rank(config, samples) if is_linear(config) else config.limit.samples
        step = size * points * (12.0 * (depth - 1) * rank(config, samples) + 2.0 * inputs)
        return (steps * step + kernels * size) * _PRODUCT + steps * 2.0 * depth * size * points * _ACTIVATION
    step = width * points * (3.0 * (depth - 1) * width + 2.0 * inputs)
    each = (steps * step + kernels * width) * _PRODUCT + steps * 2.0 * depth * width * points * _ACTIVATION
    return count * each


def _bytes(config: Config, shape: tuple[int, int], kind: str, width: int) -> int:
    depth = config.network.depth
    if kind == LIMIT:
        size = 1 if is_linear(config) else config.limit.samples
        columns = 2 * rank(config, shape[0]) * depth + 8 * depth * shape[0] + shape[1]
        return int(_NUMBER * size * columns)
    # as many seeds at once as fit into 256 MiB, at least one
    return max(256 << 20, int(_NUMBER * (3 * (depth - 1) * width**2 + 8 * depth * width * shape[0])))


def _record(config: Config, samples: int) -> int:
    """All that is kept until the file is written, which is built in memory."""
    kernels = recorded(config) * 4 * config.network.depth * samples**2
    seeds = sum(seeds_at(config)) * len(config.finite.parametrizations)
    predictions = recorded(config) * samples * seeds
    replicates = 1 if is_linear(config) else config.limit.replicates
    return int(2 * _NUMBER * (kernels * (replicates + len(config.finite.widths)) + predictions))
