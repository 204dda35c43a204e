"""What a study will cost, from its kernel: evaluations of the flow, seconds, memory.  An order of magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde.io.kernel_limit.build import build
from mfpde.io.kernel_limit.config import Loaded
from mfpde.io.kernel_limit.records import tasks_of
from mfpde.theory.kernel_limit.kernels import measure_kernel
from mfpde.theory.kernel_limit.start import start

# evaluations of DOP853 to get going, and per unit of time over the fastest decay where stability limits the step; the
# kernel of small scales grows
_FIRST, _PER_DECAY, _GROWTH = 300.0, 2.5, 2.0
# seconds of one core: a neuron on a row, per input
_PAIR, _INPUT = 2e-9, 8e-11
# libraries; arrays of the size of all displacements that the integrator holds; matrices of rows; a number
_PROCESS, _STATES, _MATRICES, _NUMBER = 200 << 20, 30, 12, 8


def estimate(study: Loaded) -> dict[str, Any]:
    """``flows``, ``atoms`` of each, ``evaluations``, ``seconds`` of one core and ``bytes`` at a time.

    Reads the data and looks at the largest eigenvalue of the kernel.  Raises what ``build`` raises.
    """
    config = study.config
    setting = build(study)
    neurons = start(setting.problem, setting.law, config.kernel_limit.neurons, config.output.seed)
    data, flows = setting.problem.data, len(tasks_of(config))
    kernel = measure_kernel(setting.problem, neurons, data.x, data.x)
    # the trace of a matrix of positive entries is not far above its largest eigenvalue
    largest = float(np.linalg.norm(kernel * np.sqrt(np.outer(data.weights, data.weights))))
    evaluations = _GROWTH * (_FIRST + _PER_DECAY * largest * float(setting.times[-1]))
    atoms, parameters = neurons.atoms.shape
    rows = len(data.y)
    seconds = flows * evaluations * atoms * rows * (_PAIR + _INPUT * data.x.shape[1])
    states = (_STATES + len(setting.times)) * atoms * parameters
    held = _NUMBER * (states + _MATRICES * rows * (rows + len(setting.y_test)))
    return {
        "flows": flows,
        "atoms": atoms,
        "evaluations": round(flows * evaluations),
        "seconds": seconds,
        "bytes": _PROCESS + held,
    }
