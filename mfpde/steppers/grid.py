"""Reversible-Markov mean-field midpoint steps on a grid: second order, conservative, positive, energy-dissipating.

One step solves rho' = P_dt(Psi*) rho with Psi* the potential of the discrete gradient of the risk between rho and
rho', and P a stochastic matrix that leaves exp(-Psi*/tau) invariant (core.propagation).  At the fixed point

    F(rho') - F(rho) = tau [KL(P rho | pi*) - KL(rho | pi*)] <= 0

for every symmetric interaction, every dt and every dimension (the risk difference is <r*, f' - f> exactly, and the
relative entropy to an invariant measure never grows); the discrete Gibbs measures are the stationary states.  An
iteration stopped early errs by |<r* - r(f, f'), f' - f>|, which is computed: the certificate of the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde import problem as problems
from mfpde.core import parallel, propagation
from mfpde.errors import NumericalError
from mfpde.measures import SMALLEST_MASS, Grid
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]

ORDER = 2
# potentials are cut this many temperatures above their minimum: masses there are below any trace, but not zero
POTENTIAL_CAP = 450.0
MEMORY = 5
MAX_STAGES = 2_000_000
# stage length times the largest exit rate stays below this, so that signs survive round-off
STAGE_MARGIN = 0.95
ROUND_OFF = 1e-14


@dataclass(frozen=True, eq=False)
class Step:
    """Result of one step: masses, skeleton predictions z, predictions f, and how well the step was solved.

    ``defect`` bounds the energy balance left open by the iteration, ``error`` estimates the local error in total
    variation, ``iterations`` counts propagations and ``sweeps`` grid passes.
    """

    mass: Array
    z: Array
    f: Array
    defect: float
    error: float
    iterations: int
    sweeps: int
    converged: bool


class Propagator:
    """Scratch and face geometry of one grid; applies P_dt of a frozen potential, with the team of its caller.

    P_dt = (s-1)/s (I + dt A/(s-1))^s + I/s (Ketcheson 2008, SSPRK(s, 2)): for dt q <= s - 1, q the largest exit rate, a
    convex combination of powers of one stochastic matrix that leaves volume * exp(-Psi/tau) invariant, hence positive,
    conservative, and dissipating the relative entropy.
    """

    def __init__(self, grid: Grid, temperature: float) -> None:
        self.grid, self.temperature = grid, temperature
        offset = 3 - len(grid.axes)
        self._faces = [
            (offset + k, *axis.face_geometry(temperature), axis.periodic) for k, axis in enumerate(grid.axes)
        ]
        self._plans: dict[int, propagation.Plan] = {}

    def __call__(self, psi: Array, mass: Array, dt: float, out: Array | None = None) -> tuple[Array, int]:
        """(P_dt mass, number of sweeps); ``out``, contiguous, is overwritten with the masses, where given."""
        shape, threads = self.grid.padded_shape, parallel.size()
        if threads not in self._plans:
            self._plans = {threads: propagation.plan(shape, self._faces, threads)}
        plan = self._plans[threads]
        potential = propagation.fields(psi.reshape(shape), self.temperature, POTENTIAL_CAP)
        stiffness = propagation.largest_exit_rate(plan, potential)
        if not stiffness * dt < MAX_STAGES:
            raise NumericalError(
                f"a step of {dt:.3g} takes {stiffness * dt:.3g} sweeps: some cell empties at the rate {stiffness:.3g}",
                "use more cells, a tighter box, or a smaller step",
            )
        stages = max(2, int(np.ceil(stiffness * dt / STAGE_MARGIN)) + 1)
        length, weight = dt / (stages - 1), 1.0 / stages
        target = None if out is None else out.reshape(shape)
        new = propagation.propagate(
            plan, potential, mass.reshape(shape), length, stages, weight, SMALLEST_MASS, True, target
        )
        return new.reshape(mass.shape), stages


def step(
    table: Tabulated,
    propagator: Propagator,
    mass: Array,
    z: Array,
    dt: float,
    slope: Array | None,
    forcing: Array | None = None,
    tolerance: float = 1e-15,
    max_iterations: int = 40,
) -> Step:
    """Advance masses by ``dt``.

    z : [R] skeleton predictions of ``mass``; slope : [R] their estimated time derivative, or None on the first step;
    forcing : an extra potential on all cells at the midpoint (time-dependent external potentials).
    The iteration runs until the certificate is below ``tolerance`` times the energy scale; Anderson acceleration over
    the skeleton predictions keeps it convergent where the interaction is stiff (dt * interaction > 2).
    """
    problem = table.problem
    f0 = table.expand(z)
    guess = z if slope is None else z + dt * slope
    z_history: list[Array] = []
    image_history: list[Array] = []
    first: Array | None = None
    spare: Array | None = None
    sweeps = 0
    scale = max(1.0, abs(problems.risk(problem, f0)))
    for iteration in range(1, max_iterations + 1):
        secant = problems.loss_secants(problem, f0, table.expand(guess))
        psi = table.first_variation(problem.data.weights * secant)
        psi = psi if forcing is None else psi + forcing
        new, count = propagator(psi, mass, dt, spare)
        sweeps += count
        image = table.skeleton(new)
        f1 = table.expand(image)
        if first is None:
            first = new
        else:
            spare = new  # a large array costs page faults whenever it is new
        open_balance = problem.data.weights * (secant - problems.loss_secants(problem, f0, f1)) * (f1 - f0)
        defect = abs(float(np.sum(open_balance)))
        drift = float(np.max(np.abs(image - guess)))
        size = max(1.0, float(np.max(np.abs(z))))
        # iterates equal to round-off leave a defect of their own round-off, which no further iteration lowers
        settled = drift <= ROUND_OFF * size
        if iteration > 1 and (settled or (defect <= tolerance * scale and drift <= 1e-9 * size)):
            error = 0.25 * float(np.sum(np.abs(new - first)))
            return Step(new, image, f1, defect, error, iteration, sweeps, True)
        z_history.append(guess)
        image_history.append(image)
        guess = _anderson(z_history[-MEMORY - 1 :], image_history[-MEMORY - 1 :])
    return Step(new, image, f1, defect, np.inf, max_iterations, sweeps, False)


def _anderson(points: list[Array], images: list[Array]) -> Array:
    """Next iterate of Anderson acceleration (type II) for the fixed point image = point."""
    misfits = np.stack([image - point for point, image in zip(points, images, strict=True)])
    if len(misfits) == 1:
        return images[-1]
    differences = np.diff(misfits, axis=0)
    weights, *_ = np.linalg.lstsq(differences.T, misfits[-1], rcond=1e-12)
    return images[-1] - weights @ np.diff(np.stack(images), axis=0)
