"""What a study will cost: seeds, seconds, memory.  Orders of magnitude, from counts of operations."""

from __future__ import annotations

from typing import Any

from mfpde.io.one_step.config import seeds_at, with_value
from mfpde.io.one_step.schema import Config

# seconds of one core: a multiply-add of a matrix product, one activation, a fit with a loss that needs iterations
_PRODUCT, _ACTIVATION, _ITERATIONS = 1e-10, 2e-8, 20
# a process with its libraries, and rows held at once, as in ``theory.one_step.twins``
_PROCESS, _CHUNK, _NUMBER = 160 << 20, 2048, 8


def estimate(config: Config, processes: int, simulate: bool) -> dict[str, Any]:
    """``seeds``, ``seconds`` with that many processes, ``bytes`` at the largest size in all processes together."""
    s = config.simulation
    seeds, seconds, largest = 0, 0.0, 0
    assert s.twins is not None and s.at is not None
    for dimension, count in zip(s.dimensions, seeds_at(config), strict=True) if simulate else ():
        for twin in s.twins:
            each, size = _twin(config, twin, dimension)
            seeds, seconds, largest = seeds + count, seconds + count * each, max(largest, size)
    workers = max(1, min(processes, seeds))
    # with one worker there is no other process
    memory = (_PROCESS if workers == 1 else (workers + 1) * _PROCESS) + workers * largest
    return {"seeds": seeds, "processes": workers, "seconds": seconds / workers, "bytes": memory}


def _twin(config: Config, twin: str, d: int) -> tuple[float, int]:
    """Seconds and bytes of one seed."""
    s = config.simulation
    assert s.at is not None and s.draws is not None
    varied = [with_value(config, value) for value in s.at]
    shared = config.curve.over in ("samples", "ridge")
    seconds, largest = 0.0, 0
    for one in varied:
        p, n = one.model.width * d, one.readout.samples * d
        fit = min(n, p) ** 2 * max(n, p) + min(n, p) ** 3 / 3.0
        seconds += s.draws * fit * _PRODUCT * (1 if one.readout.loss == "square" else _ITERATIONS)
        largest = max(
            largest, int(_NUMBER * (n * d + 2 * n * p + 3 * p * d + 2 * min(n, p) ** 2 + 2 * _CHUNK * (p + d)))
        )
    for one in varied[-1:] if shared else varied:
        p = one.model.width * d
        rows = s.draws * (s.test_samples + max(v.readout.samples for v in varied) * d)
        batch = one.step.batch * d if twin == "network" and one.step is not None else 0.0
        seconds += (rows + 2.0 * batch) * p * (d * _PRODUCT + _ACTIVATION)
    return seconds, largest
