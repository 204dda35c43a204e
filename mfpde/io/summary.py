"""The numbers of a run for summary.json and ``--json``: limit, stationary measure, distance, particles, rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import meanfield
from mfpde.compare import agreement
from mfpde.compare.rates import fit_rate
from mfpde.errors import MfpdeError
from mfpde.io.atoms import AtomLimit
from mfpde.io.limit import ENERGY_ROUND_OFF, Limit
from mfpde.io.particles import Particles, Width
from mfpde.measures import GridMeasure, ParticleMeasure, moments, origin_mass
from mfpde.problem import Pairwise, Problem
from mfpde.stationary import Stationary

Array = NDArray[np.float64]


def limit_numbers(limit: Limit) -> dict[str, Any]:
    """Results of the grid run."""
    h = limit.history
    risen = h["increase"] > ENERGY_ROUND_OFF * h["energy_scale"]
    final = limit.measure(len(limit.times) - 1)
    return {
        "kind": "grid",
        "time": float(limit.times[-1]),
        "free_energy": float(h["free_energy"][-1]),
        "risk": float(h["risk"][-1]),
        "gap": float(h["gap"][-1]),
        "mass_error": float(h["mass_error"].max()),
        "min_density": float(h["min_density"].min()),
        "boundary_mass": float(h["boundary_mass"].max()),
        "origin_mass": _origin_mass(limit.study.problem, final),
        "steps": len(h["t"]) - 1,
        "rejected": limit.rejected,
        "sweeps": int(h["sweeps"].sum()),
        "wall_s": float(h["wall_s"][-1]),
        "energy_increases": int(risen.sum()),
        "largest_increase": float(h["increase"].max()),
        "flux": limit.flux,
        "features": limit.features,
        "cells": [a.cells for a in limit.grid.axes],
        "bounds": [[a.lower, a.upper] for a in limit.grid.axes],
        "moments": moments(final),
        **_order_parameter(limit.study.problem, limit.f[-1]),
    }


def atom_numbers(limit: AtomLimit) -> dict[str, Any]:
    """Results of the deterministic transport of atoms at temperature 0."""
    rise = np.diff(limit.free_energy)
    scale = np.abs(limit.free_energy[1:]) + np.abs(limit.risk[1:])
    return {
        "kind": "atoms",
        "time": float(limit.times[-1]),
        "free_energy": float(limit.free_energy[-1]),
        "risk": float(limit.risk[-1]),
        "mass_error": abs(float(np.sum(limit.weights)) - 1.0),
        "min_density": None,
        "boundary_mass": 0.0,
        "origin_mass": _origin_mass(limit.study.problem, limit.measure(len(limit.times) - 1)),
        "steps": len(limit.times) - 1,
        "evaluations": limit.evaluations,
        "rejected": 0,
        "wall_s": limit.wall,
        # the integrator's own error may lift F by its tolerance once the flow has come to rest
        "energy_increases": int(np.sum(rise > 1e-8 * scale)),
        "atoms": len(limit.weights),
        "moments": moments(limit.measure(len(limit.times) - 1)),
        **_order_parameter(limit.study.problem, limit.f[-1]),
    }


def _origin_mass(problem: Problem, final: GridMeasure | ParticleMeasure) -> dict[str, float]:
    """Mass at radius 0 of every moving block at the final time."""
    return origin_mass(final, tuple(c.name for c in problem.moving if c.kind == "radius"))


def _order_parameter(problem: Problem, f: Array) -> dict[str, float]:
    """|E exp(i theta)| on the circle."""
    if isinstance(problem.model, Pairwise) and problem.model.interaction == "cosine":
        return {"order_parameter": float(np.hypot(f[0], f[1]))}
    return {}


def stationary_numbers(problem: Problem, rest: Stationary) -> dict[str, Any]:
    """Results of the stationary solve; ``dual`` is null where the risk is not convex."""
    return {
        "free_energy": rest.free_energy,
        "dual": rest.dual,
        "gap": rest.gap,
        "certified": rest.dual is not None,
        "risk": rest.risk,
        "newton_steps": rest.newton_steps,
        "moments": moments(rest.measure),
        **_order_parameter(problem, rest.f),
    }


def distance_numbers(limit: Limit, rest: Stationary) -> dict[str, Any]:
    """How far the final state is from the end: F - F*, KL(rho|pi), |f - f*| in L2 of the data."""
    mass = limit.measure(len(limit.times) - 1).mass
    kl = meanfield.relative_entropy(np.maximum(mass, 1e-300), rest.measure.mass)
    weights = np.abs(limit.study.problem.data.weights)
    return {
        "free_energy_gap": float(limit.history["free_energy"][-1]) - rest.free_energy,
        "kl": kl,
        "function": float(np.sqrt(np.sum(weights * (limit.f[-1] - rest.f) ** 2))),
    }


def particle_numbers(particles: Particles, final: GridMeasure | ParticleMeasure | None) -> list[dict[str, Any]]:
    """One entry per width at the final time; means over replicas with standard errors.

    ``w2`` is the root of the mean squared distance to the limit, exact in one dimension, sliced in more;
    ``w2_coordinates`` the exact one per coordinate.
    """
    return [_width_numbers(particles, width, final) for width in particles.widths]


def _width_numbers(particles: Particles, width: Width, final: GridMeasure | ParticleMeasure | None) -> dict[str, Any]:
    problem = particles.study.problem
    atoms = agreement.reduced_atoms(problem, width.parameters, width.theta[-1])
    entry: dict[str, Any] = {"width": width.width, "replicas": width.theta.shape[1]}
    for name, values in width.series.items():
        key = "risk_mean" if name == "risk" else name
        entry[key] = float(np.mean(values[-1]))
        entry["risk_sem" if name == "risk" else f"{name}_sem"] = sem(values[-1])
    for name in ("function_error", "coupling_error"):
        entry.setdefault(name, None)
    entry["w2"] = None
    if final is not None:
        joint, each = agreement.distances_to_limit(problem, final, agreement.replica_laws(problem, atoms))
        entry["w2"] = float(np.sqrt(np.mean(joint)))
        entry["w2_coordinates"] = {name: float(np.sqrt(np.mean(values))) for name, values in each.items()}
    entry["moments"] = {
        name: [float(v) for v in np.mean(values, axis=-1)] for name, values in agreement.particle_moments(atoms).items()
    }
    return entry


def sem(values: Array) -> float | None:
    """Standard error of the mean over replicas [R]; None for a single one."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def rate_numbers(particles: Particles, index: int = -1) -> dict[str, Any]:
    """Fitted exponents in N at a stored time, with 95 % intervals over replicas."""
    found: dict[str, Any] = {}
    for name in ("function_error", "function_error_iid", "coupling_error"):
        samples = [w.series[name][index] for w in particles.widths if name in w.series]
        if len(samples) < 2:
            found[name] = {"slope": None, "ci": None, "method": "needs two widths and a limit to compare with"}
            continue
        try:
            rate = fit_rate([w.width for w in particles.widths], samples)
        except MfpdeError as error:
            found[name] = {"slope": None, "ci": None, "method": str(error)}
            continue
        found[name] = {
            "slope": rate.slope,
            "ci": None if rate.ci is None else list(rate.ci),
            "prefactor": rate.prefactor,
            "method": rate.method,
            "time": float(particles.times[index]),
        }
    return found
