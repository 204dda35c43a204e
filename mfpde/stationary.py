"""The stationary measure: damped Newton on the concave dual, with the duality gap as certificate.

For a convex risk  min F = max_g D(g),  D(g) = -sum_q c_q l*(g_q) - tau sum_k p_k log int exp(-Psi_g/tau), attained at
the Gibbs measure of Psi_g.  In the variables h_q = sqrt(c_q) g_q (far quadrature nodes weigh 1e-18 and would make the
plain Hessian singular)

    grad_q = -sqrt(c_q) (l*'(g_q) - f_q[g]),
    -Hess  = diag(l*''(g)) + (scale^2/tau) sqrt(c) C^T Cov(phi) C sqrt(c),

and F(rho_g) - D(g) = sum_q c_q (l(f_q) + l*(g_q) - f_q g_q) >= 0 node by node (Fenchel-Young): no cancellation.
An interaction that is not convex has several fixed points: Newton on z = E_{Gibbs(z)} phi from the given start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from mfpde import meanfield
from mfpde import problem as problems
from mfpde.errors import NotConverged
from mfpde.measures import GridMeasure
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]

GAP_TOLERANCE = 1e-13
MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class Stationary:
    """The Gibbs fixed point: measure, predictions f [n], dual variables g [n], F, D, their gap, Newton steps.

    Without convexity ``dual`` is None and ``gap`` is tau KL(rho | p_rho), zero exactly at a fixed point.
    """

    measure: GridMeasure
    f: Array
    g: Array
    free_energy: float
    dual: float | None
    gap: float
    risk: float
    newton_steps: int


def stationary(table: Tabulated, f_start: Array) -> Stationary:
    """The stationary measure from predictions ``f_start`` [n] as a first guess; raises NotConverged."""
    if table.problem.convex:
        return _dual_newton(table, f_start)
    return _fixed_point_newton(table, f_start)


def _fenchel_young(table: Tabulated, f: Array, g: Array) -> Array:
    """c_q (l(f_q) + l*(g_q) - f_q g_q) >= 0 : [n]; (f - y - g)^2/2 for the square loss, without cancellation."""
    problem = table.problem
    if problem.loss == "square":
        return problem.data.weights * 0.5 * (f - problem.data.y - g) ** 2
    values = problems.loss_values(problem, f) + problems.conjugate_values(problem, g) - f * g
    return problem.data.weights * np.maximum(values, 0.0)


def _dual_newton(table: Tabulated, f_start: Array) -> Stationary:
    problem = table.problem
    c, tau = problem.data.weights, problem.temperature
    root = np.sqrt(c)
    g = problems.loss_slopes(problem, f_start)
    psi = table.first_variation(c * g)
    value = meanfield.dual_energy(table, g, psi)
    polished = False
    newton_steps = 0
    while True:
        mass = meanfield.gibbs(table, psi).mass
        f = table.predict(mass)
        gap = float(np.sum(_fenchel_young(table, f, g)))
        certified = gap <= GAP_TOLERANCE * max(1.0, abs(value)) * 1e-3
        if certified and polished:
            break
        # the gap is quadratic in the misfit of the measure: one more step takes that to round-off as well
        polished = certified
        gradient = -root * (problems.conjugate_slopes(problem, g) - f)
        hessian = (problem.scale**2 / tau) * root[:, None] * table.covariance(mass) * root
        hessian[np.diag_indices_from(hessian)] += problems.conjugate_curvatures(problem, g)
        direction = cho_solve(cho_factor(hessian), gradient) / np.where(root > 0.0, root, 1.0)
        g_new, value_new, psi_new = _line_search(table, g, value, direction, float(gradient @ (root * direction)))
        if value_new <= value and gap <= GAP_TOLERANCE * max(1.0, abs(value)) and not polished:
            break
        if value_new < value - 1e-13 * max(1.0, abs(value)):
            raise NotConverged(f"the dual Newton iteration stalled with a gap of {gap:.3g}")
        g, value, psi = g_new, value_new, psi_new
        newton_steps += 1
        if newton_steps > MAX_STEPS:
            raise NotConverged(f"the dual Newton iteration still has a gap of {gap:.3g} after {MAX_STEPS} steps")
    measure = GridMeasure(table.grid, np.maximum(mass, 1e-300))
    energy = meanfield.free_energy(table, measure.mass, f)
    return Stationary(measure, f, g, energy, energy - gap, gap, problems.risk(problem, f), newton_steps)


def _line_search(
    table: Tabulated, g: Array, value: float, direction: Array, slope: float
) -> tuple[Array, float, Array]:
    """Armijo backtracking along an ascent direction, kept inside the domain of the conjugate loss."""
    problem = table.problem
    step = 1.0
    if problem.loss == "logistic":
        u, du = -g * problem.data.y, -direction * problem.data.y
        room = np.where(du > 0.0, (1.0 - u) / np.where(du > 0.0, du, 1.0), np.inf)
        room = np.minimum(room, np.where(du < 0.0, -u / np.where(du < 0.0, du, 1.0), np.inf))
        step = min(1.0, 0.99 * float(np.min(room)))
    while True:
        trial = g + step * direction
        psi = table.first_variation(problem.data.weights * trial)
        trial_value = meanfield.dual_energy(table, trial, psi)
        if trial_value >= value + 1e-4 * step * slope - 1e-14 * max(1.0, abs(value)) or step < 1e-10:
            return trial, trial_value, psi
        step *= 0.5


def _fixed_point_newton(table: Tabulated, f_start: Array) -> Stationary:
    """Newton for f = f[Gibbs(Psi_f)] with the exact Jacobian, halved while the misfit grows."""
    problem = table.problem
    c, tau = problem.data.weights, problem.temperature
    f = f_start.copy()
    image, mass = _gibbs_image(table, f)
    newton_steps = 0
    while True:
        misfit = image - f
        size = float(np.linalg.norm(misfit))
        if size <= 1e-14 * max(1.0, float(np.linalg.norm(f))):
            break
        curvature = c * problems.loss_curvatures(problem, f)
        jacobian = np.eye(len(f)) + (problem.scale**2 / tau) * table.covariance(mass) * curvature
        direction = np.linalg.solve(jacobian, misfit)
        step = 1.0
        while True:
            trial = f + step * direction
            new_image, new_mass = _gibbs_image(table, trial)
            new_size = float(np.linalg.norm(new_image - trial))
            if new_size < size or step < 1e-4:
                break
            step *= 0.5
        if new_size >= size:
            if size <= 1e-11:
                break
            raise NotConverged(f"Newton for the stationary measure stalled with a misfit of {size:.3g}")
        f, image, mass = trial, new_image, new_mass
        newton_steps += 1
        if newton_steps > MAX_STEPS:
            raise NotConverged(
                f"Newton for the stationary measure still has a misfit of {size:.3g} after {MAX_STEPS} steps"
            )
    measure = GridMeasure(table.grid, np.maximum(mass, 1e-300))
    gap = meanfield.optimality_gap(table, measure.mass, image)
    energy = meanfield.free_energy(table, measure.mass, image)
    g = problems.loss_slopes(problem, image)
    return Stationary(measure, image, g, energy, None, abs(gap), problems.risk(problem, image), newton_steps)


def _gibbs_image(table: Tabulated, f: Array) -> tuple[Array, Array]:
    mass = meanfield.gibbs(table, table.first_variation(problems.residual(table.problem, f))).mass
    return table.predict(mass), mass
