"""What a run of the limit tells: a snapshot per time, stacked over times; the mean over replicates and its error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The limit at one time; Q probes: every training point of a full batch, the first of them under SGD.

    f [P, C]; ``loss``; second moments [L, Q, Q] of the activations (``phi``: E x x), preactivations (``pre``: E h h),
    preactivations at time 0 (rows) and now (``cross``), and backward variables g (``back``; NaN for C > 1).
    ``coefficients`` [P]: c of the step from here, for C > 1 times the norm of the loss slope; 0 off the batch.
    ``readout_step``: E |sum_mu c_mu x^L(mu)|^2, the step of V at multiplier 1 without momentum; 0 at the end.
    ``rank`` [L-1, 2] of the hidden operators (forward, backward), ``dropped`` [L-1, 2] the largest relative residual
    that truncation left out so far, ``columns`` [L] of every space.
    """

    time: int
    f: Array
    loss: float
    phi: Array
    pre: Array
    cross: Array
    back: Array
    readout_step: float
    coefficients: Array
    rank: Counts
    dropped: Array
    columns: Counts


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Snapshots at K times, ``times`` [K]; the fields of ``Snapshot`` with the time as first axis."""

    times: Counts
    f: Array
    loss: Array
    phi: Array
    pre: Array
    cross: Array
    back: Array
    readout_step: Array
    coefficients: Array
    rank: Counts
    dropped: Array
    columns: Counts


@dataclass(frozen=True, eq=False)
class Summary:
    """Mean over R replicates and its standard error (NaN for R = 1); ranks and columns: the largest, error 0."""

    mean: Trajectory
    sem: Trajectory
    replicates: int


_COUNTED = ("times", "rank", "columns")


def collect(snapshots: Iterable[Snapshot]) -> Trajectory:
    """Stack snapshots in their order; at least one."""
    taken = list(snapshots)
    names = [field.name for field in fields(Snapshot)]
    stacked = {name: np.stack([np.asarray(getattr(s, name)) for s in taken]) for name in names}
    return Trajectory(times=stacked.pop("time").astype(np.int64), **stacked)


def summarise(runs: Sequence[Trajectory]) -> Summary:
    """Mean and standard error over the replicates of one problem, recorded at the same times."""
    means, sems = {}, {}
    for field in fields(Trajectory):
        values = np.stack([getattr(run, field.name) for run in runs])
        if field.name in _COUNTED:
            means[field.name] = values.max(axis=0)
            sems[field.name] = values[0] if field.name == "times" else np.zeros_like(values[0])
            continue
        means[field.name] = values.mean(axis=0)
        missing = np.full(values.shape[1:], np.nan)
        sems[field.name] = values.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else missing
    return Summary(Trajectory(**means), Trajectory(**sems), len(runs))
