"""The mean-field Ornstein-Uhlenbeck equation as the users of SciPy, py-pde, FiPy and fplanck would solve it.

    d rho/dt = div(rho (A x + kappa (x - m))) + tau Laplace rho,   m = int x rho,   no flux through the box [-L, L]^D

A solver takes the number of cells per axis and a setting of its time steps, prepares what can be prepared (meshes,
compiled right-hand sides, operators that do not change) and gives a call that integrates from the cell averages of the
initial law to the end and returns densities [n, ..., n].
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.integrate import solve_ivp

from mfpde.exact import gaussian, ornstein_uhlenbeck

Array = NDArray[np.float64]
Call = Callable[[], Array]


@dataclass(frozen=True, eq=False)
class Case:
    """A [D, D], attraction, temperature, Gaussian start (mean [D], variance), half-width of the box, final time."""

    matrix: Array
    attraction: float
    temperature: float
    mean: Array
    variance: float
    box: float = 6.0
    time: float = 1.0

    @property
    def dimension(self) -> int:
        return len(self.mean)

    def centers(self, cells: int) -> Array:
        return -self.box + (np.arange(cells) + 0.5) * 2.0 * self.box / cells

    def mesh(self, cells: int) -> Array:
        """[D, n, ..., n]"""
        return np.stack(np.meshgrid(*[self.centers(cells)] * self.dimension, indexing="ij"))

    def density(self, cells: int, time: float) -> Array:
        """Exact cell averages."""
        path = ornstein_uhlenbeck.path(
            np.array([time]),
            self.mean,
            self.variance * np.eye(self.dimension),
            stiffness=self.matrix,
            interaction=self.attraction,
            temperature=self.temperature,
        )
        mean, covariance = path.mean[0], path.covariance[0]
        axes = [self.centers(cells)] * self.dimension
        return gaussian.cell_averages(lambda points: gaussian.density(points, mean, covariance), axes)

    def error(self, density: Array) -> float:
        """L1 distance from the exact law at the end."""
        cells = density.shape[0]
        size = (2.0 * self.box / cells) ** self.dimension
        return float(np.sum(np.abs(density - self.density(cells, self.time)))) * size

    def potential(self, x: Array, mean: Array) -> Array:
        """Psi at x [D, ...] up to a constant."""
        form = self.matrix + self.attraction * np.eye(self.dimension)
        return 0.5 * np.einsum("i...,ij,j...->...", x, form, x) - self.attraction * np.tensordot(mean, x, 1)


def one_dimensional() -> Case:
    """alpha = kappa = 1, tau = 1/2, start N(2, 1/4)."""
    return Case(np.eye(1), 1.0, 0.5, np.array([2.0]), 0.25)


def two_dimensional() -> Case:
    """Not separable on the grid: stiffnesses 1.5 and 0.5 along axes turned by 0.6."""
    c, s = np.cos(0.6), np.sin(0.6)
    turn = np.array([[c, -s], [s, c]])
    return Case(turn @ np.diag([1.5, 0.5]) @ turn.T, 0.5, 0.4, np.array([1.5, 1.0]), 0.25)


def neighbours(cells: int, dimension: int) -> sparse.csr_matrix:
    """The pattern of the Jacobian without the rank of the mean: a cell and its neighbours along each axis."""
    line = sparse.diags([np.ones(cells)] * 3, [-1, 0, 1], shape=(cells, cells))
    one = sparse.identity(cells)
    axes = [reduce(sparse.kron, [line if j == k else one for j in range(dimension)]) for k in range(dimension)]
    return sum(axes[1:], axes[0]).tocsr()


def _ivp_options(method: str, cells: int, dimension: int) -> dict[str, Any]:
    """What a method of solve_ivp must be told to be fast: the band or the pattern of the Jacobian."""
    if method == "LSODA":
        return {"method": method, "lband": 1, "uband": 1}
    return {"method": method, "jac_sparsity": neighbours(cells, dimension)} if method == "BDF" else {"method": method}


def scipy_lines(case: Case, cells: int, method: str, tolerance: float) -> Call:
    """Method of lines with exponential fluxes and the mean inside the right-hand side, integrated by solve_ivp."""
    x, h = case.mesh(cells), 2.0 * case.box / cells
    size, start = h**case.dimension, case.density(cells, 0.0)
    lower = [(*[slice(None)] * k, slice(None, -1)) for k in range(case.dimension)]
    upper = [(*[slice(None)] * k, slice(1, None)) for k in range(case.dimension)]

    def change(_: float, flat: Array) -> Array:
        rho = flat.reshape(start.shape)
        mean = np.tensordot(x, rho, case.dimension) * size
        psi = case.potential(x, mean)
        total = np.zeros_like(rho)
        for below, above in zip(lower, upper, strict=True):
            half = (psi[above] - psi[below]) * (0.5 / case.temperature) + 1e-300
            even = half / np.tanh(half)
            flux = case.temperature / h**2 * ((even - half) * rho[below] - (even + half) * rho[above])
            total[below] -= flux
            total[above] += flux
        return total.ravel()

    options = _ivp_options(method, cells, case.dimension)

    def call() -> Array:
        found = solve_ivp(change, (0.0, case.time), start.ravel(), rtol=tolerance, atol=1e-3 * tolerance, **options)
        return found.y[:, -1].reshape(start.shape)

    return call


def py_pde(pde: ModuleType, case: Case, cells: int, method: str, tolerance: float) -> Call:
    """An expression with integral(...), compiled by py-pde's numba backend once, integrated by its SciPy solver."""
    names = ("x", "y", "z")[: case.dimension]
    form = case.matrix + case.attraction * np.eye(case.dimension)
    terms = []
    for i, name in enumerate(names):
        drift = " + ".join(f"({form[i, j]})*{other}" for j, other in enumerate(names))
        terms.append(f"d_d{name}(({drift} - {case.attraction}*integral({name}*c))*c)")
    expression = " + ".join(terms) + f" + {case.temperature}*laplace(c)"
    grid = pde.CartesianGrid([[-case.box, case.box]] * case.dimension, [cells] * case.dimension)
    equation = pde.PDE({"c": expression}, bc={"derivative": 0})
    state = pde.ScalarField(grid, case.density(cells, 0.0))
    options = _ivp_options(method, cells, case.dimension)
    solver = pde.ScipySolver(equation, backend="numba", rtol=tolerance, atol=1e-3 * tolerance, **options)
    advance = solver.make_stepper(state)

    def call() -> Array:
        end = state.copy()
        advance(end, 0.0, case.time)
        return np.asarray(end.data)

    return call


def fipy_call(case: Case, cells: int, steps: int) -> Call:
    """Exponential convection and backward Euler with the mean of the last step, SciPy solvers (FIPY_SOLVERS=scipy)."""
    os.environ.setdefault("FIPY_SOLVERS", "scipy")
    import fipy

    h = 2.0 * case.box / cells
    make = {1: lambda: fipy.Grid1D(nx=cells, dx=h), 2: lambda: fipy.Grid2D(nx=cells, ny=cells, dx=h, dy=h)}
    mesh = make[case.dimension]() + [[-case.box]] * case.dimension
    faces, points = np.asarray(mesh.faceCenters), np.asarray(mesh.cellCenters)
    form = case.matrix + case.attraction * np.eye(case.dimension)
    # FiPy numbers cells with the first axis fastest
    start = case.density(cells, 0.0).T.ravel()
    linear, size = form @ faces, h**case.dimension
    solver_of = fipy.LinearLUSolver if case.dimension == 1 else fipy.LinearBicgstabSolver  # the fastest of SciPy's here

    def call() -> Array:
        rho = fipy.CellVariable(mesh=mesh, value=start)
        drift = fipy.FaceVariable(mesh=mesh, rank=1)
        flux = fipy.ExponentialConvectionTerm(coeff=drift)
        equation = fipy.TransientTerm() == fipy.DiffusionTerm(coeff=case.temperature) + flux
        solver = solver_of(tolerance=1e-10)
        for _ in range(steps):
            mean = points @ np.asarray(rho.value) * size
            drift.setValue(linear - case.attraction * mean[:, None])
            equation.solve(var=rho, dt=case.time / steps, solver=solver)
        return np.asarray(rho.value).reshape([cells] * case.dimension).T

    return call


def fplanck_call(fplanck: ModuleType, case: Case, cells: int, steps: int) -> Call:
    """The potential is fixed at construction, so the operator is built anew twice per midpoint step (units k_B = 1)."""
    from scipy import constants

    h = 2.0 * case.box / cells
    start, x = case.density(cells, 0.0), case.mesh(cells)
    dt = case.time / steps

    def advance(density: Array, mean: Array, span: float) -> Array:
        operator = fplanck.fokker_planck(
            temperature=case.temperature / constants.k,
            drag=1.0,
            extent=[2.0 * case.box] * case.dimension,
            resolution=h,
            boundary=fplanck.boundary.reflecting,
            potential=lambda *points: case.potential(np.stack(points), mean),
        )
        return operator.propagate(lambda *_: density, span, normalize=False)

    def call() -> Array:
        density, size = start, h**case.dimension
        for _ in range(steps):
            mean = np.tensordot(x, density, case.dimension) * size
            middle = advance(density, mean, 0.5 * dt)
            density = advance(density, np.tensordot(x, middle, case.dimension) * size, dt)
        return density

    return call
