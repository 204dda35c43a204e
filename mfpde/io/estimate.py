"""Memory and time of a study before it runs, for ``--dry-run``: orders of magnitude from measured throughputs."""

from __future__ import annotations

from typing import Any

from mfpde import ensemble
from mfpde.io.build import Study
from mfpde.io.particles import settings_of

# cells per second of one grid sweep, neuron-node or pair evaluations per second, of one core of a common machine
CELLS_PER_SECOND = 4e8
OPERATIONS_PER_SECOND = 3e8
BYTES = 8


def estimate(study: Study) -> dict[str, Any]:
    """Cells, sweeps, seconds and bytes of the limit and of the ensemble."""
    found: dict[str, Any] = {"snapshots": len(study.times)}
    if study.on_grid and study.problem.temperature > 0.0:
        grid = study.grid
        cells = 1
        for count in grid.shape:
            cells *= count
        stiffness = sum(2.0 * study.problem.temperature * a.coordinate.rate / a.width**2 for a in grid.axes)
        sweeps = 4.0 * stiffness * float(study.times[-1]) + 8.0 * len(study.times)
        features = cells // (grid.axes[0].cells if grid.axes[0].name == "a" else 1)
        found["limit"] = {
            "cells": [a.cells for a in grid.axes],
            "bounds": [[a.lower, a.upper] for a in grid.axes],
            "sweeps": sweeps,
            "seconds": sweeps * cells / CELLS_PER_SECOND,
            "bytes": BYTES * (cells * (12 + len(study.times)) + features * len(study.problem.data.y)),
        }
    operations, size = ensemble.estimate_cost(study.problem, settings_of(study), float(study.times[-1]))
    found["particles"] = {
        "operations": operations,
        "seconds": operations / OPERATIONS_PER_SECOND,
        "bytes": int(size * (1 + len(study.times) / 2)),
    }
    return found
