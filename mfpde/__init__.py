"""The mean-field limit of wide two-layer networks: a measure flow on grids, and the finite networks that approach it.

Symbols of the papers and names in the code:

    rho, mu_t      measure                    Psi[rho]     first_variation
    theta, w, a, b parameters of a neuron     F            free_energy
    f_rho(x)       predict                    D            dual_energy
    sigma          activation                 pi           stationary (the Gibbs fixed point)
    tau            temperature                p_rho        gibbs (proximal Gibbs measure)
    lambda         weight_decay               r_q          residual
    alpha          scale (output scale)       N, R         width, replicas

Everything public is imported on first use, so that ``import mfpde`` costs nothing.  Functions that bear the name of
their module are taken from it: ``from mfpde.evolve import evolve``, ``mfpde.stationary``, ``mfpde.tabulate``.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Coordinate": "problem",
    "DataLaw": "problem",
    "Network": "problem",
    "Pairwise": "problem",
    "Population": "problem",
    "Problem": "problem",
    "network_coordinates": "problem",
    "pairwise_problem": "pairwise",
    "gaussian": "datalaws",
    "nodes": "datalaws",
    "GroupLaw": "initial",
    "InitialLaw": "initial",
    "initial_measure": "initial",
    "Axis": "measures",
    "Grid": "measures",
    "GridMeasure": "measures",
    "ParticleMeasure": "measures",
    "deposit": "measures",
    "expect": "measures",
    "moments": "measures",
    "sample": "measures",
    "predict": "meanfield",
    "risk": "meanfield",
    "first_variation": "meanfield",
    "free_energy": "meanfield",
    "dissipation": "meanfield",
    "choose_grid": "domain",
    "Control": "evolve",
    "State": "evolve",
    "solve": "evolve",
    "load_study": "io.build",
    "open": "io.opened",
    "run": "cli.main",
}

# `open` stays out of a star import, where it would hide the one of Python
__all__ = ["__version__", *(name for name in _HOME if name != "open")]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"mfpde.{_HOME[name]}"), name)
    raise AttributeError(f"module 'mfpde' has no attribute {name!r}")
