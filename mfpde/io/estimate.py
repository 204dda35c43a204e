"""Memory and time of a study before it runs, for ``--dry-run``.

Memory is the largest resident size: per part what its arrays add, and for the whole run with the interpreter and its
libraries; boxes that grow, and compiling the kernels once, come on top.  Time is an order of magnitude from measured
speeds of one core, since the number of adaptive steps is not known beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde import datalaws, ensemble, tabulate
from mfpde.core import parallel
from mfpde.core.gradient import kept_bytes
from mfpde.core.ranks import ALONE, Part, Ranks, divide
from mfpde.io.build import Study
from mfpde.io.particles import settings_of
from mfpde.measures import Grid
from mfpde.problem import KINKED, Pairwise, TwoGaussians
from mfpde.steppers import atoms, forces, particles, portions, sampling, table
from mfpde.steppers.forces import Force, NodeForce, PairForce
from mfpde.steppers.sampling import BatchForce
from mfpde.tabulate.averages import average_cost, averaged

MIB = 1 << 20
NUMBER = 8
# Python with NumPy, SciPy, Numba and HDF5; matplotlib with a page of figures on top
INTERPRETER, FIGURES = 190 * MIB, 130 * MIB
# freed arrays of a few MiB that the allocator does not give back
HEAP = 64 * MIB
# arrays of the size of the grid that a step holds at its peak, and those that stay while a file is made; and arrays of
# the size of an axis, which in one dimension are as large
STEP_ARRAYS, KEPT_ARRAYS, AXIS_ARRAYS = 13, 8, 8
# what drawing holds: copies of all densities; and per panel, of which there are so many, arrays of the size of a curve
# or of a map
DRAWN_COPIES, PANELS, CURVE_ARRAYS, MAP_ARRAYS = 2, 4, 20, 10
# numbers per pair of nodes in a Newton step of the stationary measure, and in the search for a skeleton
NEWTON_MATRICES, SKELETON_MATRICES = 5, 18
# the fields that drive copies: tables of directions
FIELD_DIRECTIONS = 20

# seconds of one core: a cell of a sweep; a cell of a step outside the sweeps
SWEEP, STEP = 1.5e-9, 1e-7
# sums over features per step; sweeps for a step, as often as it is iterated; steps to grow from the first one, and per
# unit of time, up to one, for a local error of 1
USES_PER_STEP, SWEEPS_PER_STEP, ITERATIONS, FIRST_STEPS, STEPS = 10, 2.0, 5.0, 7, 1.5
# a pair of neurons, and per input the more; a neuron on a node per input, beside its activation; a feature of an
# explicit interaction; a random number with its update; a neuron of a copy in the table of the limit; the share of
# single precision
PAIR, PAIR_INPUT, INPUT, EXPLICIT, NUMBERS, TABLE, SINGLE = 1e-9, 4e-11, 3e-11, 1e-8, 2e-9, 1e-7, 0.4
DOP853_ARRAYS = 30


def estimate(
    study: Study, only: str | None = None, figures: bool = True, driven: bool = True, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """Seconds and bytes of the limit, of the particles and of the whole run, by the threads of core.parallel.

    ``only`` one of the parts; ``driven`` says whether a limit is there to drive copies of the particles.  Bytes are
    those of the first of the ``ranks``, where all output gathers, and under "others" those of each other one.
    """
    found: dict[str, Any] = {"snapshots": len(study.times), "threads": parallel.size(), "ranks": ranks.size}
    kept = drawn = 0
    if study.on_grid and only != "particles":
        found["limit"] = limit = _atoms(study) if study.by_atoms else _grid(study)
        kept, drawn = limit.pop("result"), limit.pop("drawn")
    peaks = [found.get("limit", {}).get("bytes", 0)]
    if only not in ("limit", "stationary"):
        found["particles"] = ensembles = _particles(study, study.on_grid and driven, ranks)
        drawn += ensembles.pop("drawn")
        peaks.append(kept + ensembles["bytes"])
    if figures:
        peaks.append(FIGURES + drawn)
    found["bytes"] = INTERPRETER + max(peaks)
    return found


# ---- the limit -----------------------------------------------------------------------------------------------------


def _grid(study: Study) -> dict[str, Any]:
    problem, grid, times = study.problem, study.grid, len(study.times)
    choice = tabulate.plan(problem, grid)
    cells, nodes, horizon = int(np.prod(grid.shape)), len(problem.data.y), float(study.times[-1])
    steps = times + FIRST_STEPS + STEPS * study.config.grid.tolerance ** (-1.0 / 3.0) * min(1.0, horizon)
    sweeps = ITERATIONS * (_stiffness(study, grid) * horizon + SWEEPS_PER_STEP * steps)
    feature = choice.taken.once + steps * USES_PER_STEP * choice.taken.use
    field, result = NUMBER * cells, NUMBER * cells * times
    history = 3 * NUMBER * int(steps) * nodes
    searching = SKELETON_MATRICES * NUMBER * min(nodes, tabulate.MOST_CANDIDATES) ** 2
    axes = AXIS_ARRAYS * NUMBER * sum(axis.cells for axis in grid.axes)
    stepping = result + STEP_ARRAYS * field + NEWTON_MATRICES * NUMBER * nodes**2
    saving = 2 * result + KEPT_ARRAYS * field
    return {
        "cells": [a.cells for a in grid.axes],
        "bounds": [[a.lower, a.upper] for a in grid.axes],
        "features": choice.description,
        "sweeps": sweeps,
        "seconds": sweeps * cells * SWEEP + steps * cells * STEP + feature,
        "bytes": max(searching, stepping, saving) + axes + choice.taken.nbytes + history + _data(study),
        "result": result + 2 * field,
        "drawn": DRAWN_COPIES * (result + field) + _pictures(grid, times),
    }


def _pictures(grid: Grid, times: int) -> int:
    """Curves of a density in one dimension, maps of two coordinates in more, at some of the stored times."""
    cells = sorted(axis.cells for axis in grid.axes)[-2:]
    arrays = CURVE_ARRAYS if len(cells) == 1 else MAP_ARRAYS
    return min(PANELS, times) * arrays * NUMBER * int(np.prod(cells))


def _stiffness(study: Study, grid: Grid) -> float:
    """The rate at which the fastest cell empties: diffusion, and drift by the external potential at the edge."""
    problem = study.problem
    total = 0.0
    for axis in grid.axes:
        far = max(abs(axis.lower), abs(axis.upper))
        slope = axis.coordinate.weight_decay * far
        if isinstance(problem.model, Pairwise):
            model = problem.model
            growth = {"quadratic": float(np.max(np.diag(model.matrix))) * far, "double-well": far**3 - far, "none": 0.0}
            slope += model.potential_strength * growth[model.potential]
            slope += abs(model.strength) * far if model.interaction == "quadratic" else 0.0
        total += axis.coordinate.rate * (2.0 * problem.temperature / axis.width**2 + slope / axis.width)
    return total


def _atoms(study: Study) -> dict[str, Any]:
    problem = study.problem
    measure = atoms.initial_atoms(problem, study.law)
    state, result = measure.atoms.nbytes, measure.atoms.nbytes * len(study.times)
    one = average_cost(problem) if averaged(problem) else _rotations(study) * _evaluation(study)
    evaluations = 12.0 * 20.0 * len(study.times)
    return {
        "atoms": len(measure.weights),
        "seconds": evaluations * 2.0 * len(measure.weights) * len(problem.data.y) * one / parallel.size(),
        "bytes": DOP853_ARRAYS * state + 3 * result + _data(study),
        "result": result,
        "drawn": result,
    }


def _data(study: Study) -> int:
    """The data, with the copies in which kernels read them."""
    return 4 * study.problem.data.x.nbytes


# ---- the particles -------------------------------------------------------------------------------------------------


def _particles(study: Study, driven: bool, ranks: Ranks) -> dict[str, Any]:
    problem, settings = study.problem, settings_of(study)
    exact = forces.exact_force(problem, settings.kernels)
    moved = sampling.batch_force(problem, settings.batch, None) if settings.dynamics == "sgd" else exact
    copying = driven and settings.coupling == "synchronous"
    heun = settings.scheme == "heun" and settings.dynamics != "sgd"
    stages = (2 if heun else 1) * settings.schedule.count(0.0, float(study.times[-1]), settings.step)

    def operations(force: Force | BatchForce | None, width: int) -> float:
        return 2.0 * width * settings.nodes if force is None else force.operations(width)

    gradients = stages * settings.replicas * sum(operations(moved, w) for w in settings.widths)
    observed = len(study.times) * settings.replicas * sum(operations(exact, w) for w in settings.widths)
    seconds = gradients * _operation(study, moved) + (2 if copying else 1) * observed * _operation(study, exact)
    neurons = sum(settings.widths) * settings.replicas
    move = particles.motion(problem, settings.dynamics != "gradient")
    # without noise a fused step of SGD updates the parameters while it sums
    if move.noisy or not (isinstance(moved, BatchForce) and moved.fused):
        seconds += stages * neurons * len(move.rows) * NUMBERS
    if copying:
        seconds += stages * neurons * _copy(study)
    radial = copying and isinstance(problem.data.population, TwoGaussians)
    divisible = (exact is None or exact.divisible) and (moved is None or moved.divisible) and not radial
    parts = {w: divide(w, settings.replicas, ranks, divisible) for w in settings.widths}
    own = sum(len(part.replicas) * len(part.particles) for part in parts.values())
    whole, shared = portions.chunks(settings, lambda width: operations(moved, width), parts)
    working = [[_scratch(study, c, parts[c.width], heun, moved) for c in some] for some in (whole, shared)]
    scratch = max(max(working[0], default=0), sum(sorted(working[1])[-parallel.size() :]))

    # positions before and after an interval, and what is recorded; then the records and the file made of them
    one = NUMBER * particles.row_count(problem) * (2 if copying else 1)
    state, mine = one * neurons, one * own
    # among ranks the whole state gathers here, beside the part of this one
    gathered, beside = (state, mine) if ranks.size > 1 else (0, 0)
    record, times = NUMBER * neurons * particles.kept_rows(problem), len(study.times)
    stepping = 2 * mine + gathered + scratch + (times - 1) * record
    recording = mine + gathered + max(state, record) + times * record
    saving = 2 * (state + times * record) + beside + min(HEAP, state + scratch)
    nodes = 0 if exact is not None else 4 * NUMBER * settings.nodes * forces.full_dimension(problem)
    fields = _fields(study) if copying and forces.reduced(problem) else 0
    everywhere = nodes + fields + _data(study)
    return {
        "operations": gradients,
        "seconds": None if settings.kernels.device == "cuda" else seconds * own / (neurons * parallel.size()),
        "bytes": max(stepping, recording, saving) + everywhere,
        "others": INTERPRETER + 2 * mine + scratch + everywhere if ranks.size > 1 else 0,
        "drawn": times * record,
    }


def _scratch(study: Study, chunk: portions.Chunk, part: Part, heun: bool, moved: Force | BatchForce | None) -> int:
    """Bytes of a chunk while it moves: noise, slopes and predicted positions, and what its kernels hold beside."""
    width = len(part.particles)
    rows, noise = particles.row_count(study.problem), len(particles.motion(study.problem, True).rows)
    replicas, pairs = chunk.stop - chunk.first, isinstance(moved, PairForce)
    rows_held = replicas * (noise + (2 if heun else 1) * rows) + (2 * rows if pairs else 0) + 4
    # pair forces on a share: all particles, twice while they arrive, and packed
    everyone = 4 * NUMBER * rows * part.width if pairs and part.share is not None else 0
    return NUMBER * width * rows_held + everyone + _kept(study, chunk, width, moved)


def _kept(study: Study, chunk: portions.Chunk, width: int, moved: Force | BatchForce | None) -> int:
    """Bytes of the values that a sum over nodes keeps from its first pass to the second."""
    settings = settings_of(study)
    kernels = settings.kernels
    if isinstance(moved, NodeForce):
        nodes, replicas = len(moved.law.target), chunk.stop - chunk.first
    elif isinstance(moved, BatchForce) and not moved.fused:
        nodes, replicas = settings.batch, 1
    elif moved is None:
        nodes, replicas = settings.nodes, chunk.stop - chunk.first
    else:
        return 0
    if kernels.device == "cuda":
        return 0
    code, _ = forces.activation_arguments(study.problem)
    inputs = forces.full_dimension(study.problem)
    return kept_bytes(code, replicas, width, nodes, inputs, kernels.precision)


def _operation(study: Study, force: Force | BatchForce | None) -> float:
    """Seconds of one operation of a force."""
    problem = study.problem
    if isinstance(problem.model, Pairwise):
        return EXPLICIT
    inputs = forces.full_dimension(problem)
    one = PAIR + PAIR_INPUT * inputs if isinstance(force, PairForce) else _evaluation(study) + INPUT * inputs
    return one * (SINGLE if settings_of(study).kernels.precision == "single" else 1.0)


def _copy(study: Study) -> float:
    """Seconds of the limit's field at one neuron: a table behind a reduction without bias, else sums over nodes."""
    problem = study.problem
    if forces.reduced(problem) and sum(c.group != "a" for c in problem.coordinates) <= 2:
        return TABLE
    return len(problem.data.y) * _rotations(study) * _operation(study, None)


def _evaluation(study: Study) -> float:
    """Seconds of an activation in a sum."""
    model = study.problem.model
    return EXPLICIT if isinstance(model, Pairwise) else tabulate.ACTIVATION[model.activation]


def _rotations(study: Study) -> int:
    """Points over which the feature of a node is averaged."""
    model = study.problem.model
    if isinstance(model, Pairwise):
        return 1
    return len(datalaws.rotation_average(study.problem.data, model.activation not in KINKED)[1])


def _fields(study: Study) -> int:
    """Tables of the limit's field behind a reduction: its directions, and the times of one stretch."""
    cells = 1
    for axis in () if study.by_atoms else study.grid.axes:
        if axis.coordinate.group == "w":
            spacing = max(table.SPACING, (axis.upper - axis.lower) / table.LARGEST_AXIS)
            cells *= int((axis.upper - axis.lower) / spacing) + 8
    return 3 * NUMBER * cells * (FIELD_DIRECTIONS + ensemble.FIELD_STEPS + 1)
