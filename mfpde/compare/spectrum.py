"""Rates at the end of a run, by eigenproblems on the grid: the Poincare constant and the sharp rate of F - F*.

    A g = -(1/pi) div(pi R grad g),   (K g)(theta) = scale^2 sum_q c_q l''_q phi_q(theta) int phi_q g dpi,

pi the stationary measure and R the learning rates. A perturbation pi (1 + g) decays by g' = -A (tau + K) g, hence
F - F* = 1/2 <g, (tau + K) g> like exp(-2 Lambda t), Lambda the smallest nonzero eigenvalue of A (tau + K); for a convex
risk Lambda >= tau lambda_PI, lambda_PI that of A (derived here; docs/propagation-of-chaos.md). Every species of frozen
parameters keeps its mass, which is one eigenvalue 0 each.

On the grid, tau A holds the exponential rates of the solver. They are in detailed balance, so that A is symmetric in
u = sqrt(pi) g, and this is the exact linearisation of the discrete flow: a Gibbs measure of any potential is at rest.
Solves with A are direct in one and two dimensions, by conjugate gradients in three: scaled by its diagonal, A is as
well conditioned as the bare Laplacian (about 3 steps per cell of an axis), where factors would fill in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, cg, eigsh, splu

from mfpde import meanfield
from mfpde import problem as problems
from mfpde.errors import ConfigError, NotConverged, NumericalError
from mfpde.measures import Grid
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]
Solve = Callable[[Array], Array]

# cells, all species together, that still take a minute or two and a gigabyte
LARGEST = {1: 1_000_000, 2: 400_000, 3: 300_000}
# of eigenvectors, relative: eigenvalues are good to its square
_TOLERANCE = 1e-10
# of a solve by conjugate gradients, relative residual
_SOLVED = 1e-12
# eigenvalues of K below this share of the largest change nothing in double precision
_NEGLIGIBLE = 1e-15
# tau + K within this share of its size from 0: a direction without restoring force
_NEUTRAL = 1e-9


@dataclass(frozen=True, eq=False)
class Spectrum:
    """``poincare``: lambda_PI; ``rates`` [count]: 2 Lambda_1 <= 2 Lambda_2 <= ..., at which modes of F - F* decay.

    ``modes`` [count, K, n_1, ..., n_D]: (tau + K) g of every mode in the coordinates sqrt(pi) g, see ``mode_gaps``.
    ``neutral``: directions without restoring force, left out of ``rates``. They come from a symmetry of the problem
    (turning a synchronised law on the circle), or from a critical temperature, where no exponential rate exists.
    """

    poincare: float
    rates: Array
    modes: Array
    neutral: int

    @property
    def asymptotic(self) -> float:
        """2 Lambda, the rate of F - F* in the end."""
        return float(self.rates[0])


def spectrum(table: Tabulated, rest: Stationary, count: int = 4) -> Spectrum:
    """lambda_PI and the ``count`` lowest rates of ``rest``, a stationary measure on the grid of ``table``.

    A u = Lambda (tau + K)^-1 u by Lanczos on the inverse of A. Raises ConfigError where the grid has more than
    ``LARGEST`` cells, NumericalError where tau + K has a negative eigenvalue: then the second variation of F is not
    positive and the state is a saddle.
    """
    if count < 1:
        raise ConfigError("count", f"is {count}; at least one rate is needed")
    state = _State(table, rest)
    inverse = state.inverse()
    values, modes = _interaction(table, rest, state)
    stiffness = table.problem.temperature + values
    tiny = _NEUTRAL * max(table.problem.temperature, float(np.max(np.abs(values), initial=0.0)))
    if np.any(stiffness < -tiny):
        raise NumericalError(
            f"the stationary state is unstable: the second variation of F has the eigenvalue {np.min(stiffness):.4g}",
            "start the stationary solver from the end of a run",
        )
    neutral = np.abs(stiffness) <= tiny
    # (tau + K)^-1 is 1/tau but where K acts; along what is neutral the inverse below vanishes, and any value serves
    gain = 1.0 / np.where(neutral, 1.0, stiffness) - 1.0 / table.problem.temperature

    def weight(u: Array) -> Array:
        return u / table.problem.temperature + modes @ (gain * (modes.T @ u))

    poincare = _lowest(state, inverse, None, 1)[0]
    decays, vectors = _lowest(state, _restricted(inverse, modes[:, neutral]), weight, count)
    shaped = vectors.T.reshape(-1, *table.grid.shape)
    return Spectrum(float(poincare[0]), 2.0 * decays, shaped, int(np.sum(neutral)))


def mode_gaps(found: Spectrum, rest: Stationary, mass: Array) -> Array:
    """The part of F - F* in every mode, 1/2 (sum over cells of mode (mass - pi)/sqrt(pi))^2 : [count].

    They sum to F - F* near the end, where ``mass`` is close to pi. A mode that the symmetry of a start forbids has
    none: such a run decays faster than ``asymptotic``.
    """
    pi = rest.measure.mass
    deviation = (mass - pi) / np.sqrt(pi)
    amplitudes = np.tensordot(found.modes, deviation, axes=deviation.ndim)
    return np.asarray(0.5 * amplitudes**2)


def poincare_constant(table: Tabulated, rest: Stationary) -> float:
    """lambda_PI of A, learning rates included and tau not; raises ConfigError above ``LARGEST`` cells.

    Only ``rest.f`` is looked at, so it may be any predictions: the constant is that of their Gibbs measure.
    """
    state = _State(table, rest)
    return float(_lowest(state, state.inverse(), None, 1)[0][0])


def asymptotic_rate(table: Tabulated, rest: Stationary) -> float:
    """2 Lambda; raises as ``spectrum`` does."""
    return spectrum(table, rest, 1).asymptotic


class _State:
    """sqrt(pi) flat over all species, the unit zero modes, and A in these coordinates."""

    def __init__(self, table: Tabulated, rest: Stationary) -> None:
        grid, tau = table.grid, table.problem.temperature
        cells, most = int(np.prod(grid.shape)), LARGEST[len(grid.axes)]
        if cells > most:
            raise ConfigError(
                "grid.cells",
                f"gives {cells} cells in {len(grid.axes)} dimensions; the spectrum is offered up to {most}",
                "use a coarser grid: the error of the rates falls with the square of the cell width",
            )
        psi = table.first_variation(problems.residual(table.problem, rest.f))
        self.root = np.sqrt(meanfield.gibbs(table, psi).mass).reshape(len(psi), -1)
        self.unit = self.root / np.linalg.norm(self.root, axis=1, keepdims=True)
        self.generator = _generator(grid, tau, psi)
        self.dimension = len(grid.axes)

    def centred(self, u: Array) -> Array:
        """Without the part along the zero mode of every species; u : [cells] or [cells, columns]."""
        blocks = u.reshape(*self.unit.shape, -1)
        along = np.einsum("kc,kcj->kj", self.unit, blocks)
        return np.asarray((blocks - self.unit[:, :, None] * along[:, None, :]).reshape(u.shape))

    def inverse(self) -> Solve:
        """The pseudo-inverse of A."""
        solve = self._iterative() if self.dimension == 3 else self._direct()
        return lambda u: self.centred(solve(self.centred(u)))

    def _direct(self) -> Solve:
        """By factors of A held at one cell of every species, where its diagonal entry is doubled.

        A solution for a right-hand side without zero modes vanishes there, so that it solves the original system too.
        """
        size = self.unit.shape[1]
        held = np.arange(len(self.unit)) * size + np.argmax(self.unit, axis=1)
        extra = coo_array((self.generator.diagonal()[held], (held, held)), shape=self.generator.shape)
        factors = splu(
            (self.generator + extra).tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        return lambda u: np.asarray(factors.solve(u))

    def _iterative(self) -> Solve:
        diagonal = self.generator.diagonal()
        scaling = LinearOperator(self.generator.shape, matvec=lambda u: u / diagonal, dtype=np.float64)

        def solve(u: Array) -> Array:
            x, failed = cg(self.generator, u, rtol=_SOLVED, maxiter=20_000, M=scaling)
            if failed:
                raise NotConverged("conjugate gradients for the generator of the stationary measure did not converge")
            return np.asarray(x)

        return solve


def _generator(grid: Grid, tau: float, psi: Array) -> csr_array:
    """A in the coordinates sqrt(pi) g: minus the geometric mean of both rates of a face, exit rates on the diagonal."""
    number = np.arange(psi.size).reshape(psi.shape)
    rows, columns, values = [], [], []
    diagonal = np.zeros(psi.size)
    for k, axis in enumerate(grid.axes):
        geometry = axis.face_geometry(tau)
        faces = axis.cells if axis.periodic else axis.cells - 1
        shift, forward, backward = (grid.along(k, np.append(g[:faces], [0.0] * (axis.cells - faces))) for g in geometry)
        this, following = number, np.roll(number, -1, axis=k + 1)
        small, size, rising = _bernoulli((np.roll(psi, -1, axis=k + 1) - psi) / tau - shift)
        there = (forward / tau * (small + np.where(rising, 0.0, size))).reshape(-1)
        back = (backward / tau * (small + np.where(rising, size, 0.0))).reshape(-1)
        mean = np.sqrt(there * back)
        diagonal[this.reshape(-1)] += there
        diagonal[following.reshape(-1)] += back
        rows += [this.reshape(-1), following.reshape(-1)]
        columns += [following.reshape(-1), this.reshape(-1)]
        values += [-mean, -mean]
    every = np.arange(psi.size)
    entries = (np.concatenate([*rows, every]), np.concatenate([*columns, every]))
    return coo_array((np.concatenate([*values, diagonal]), entries), shape=(psi.size, psi.size)).tocsr()


def _bernoulli(y: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """(B(|y|), |y|, y > 0); B(y) = y/(exp(y) - 1) and B(-y) = B(y) + y, so neither loses digits."""
    size = np.abs(y)
    safe = np.where(size > 0.0, size, 1.0)
    return np.where(size > 0.0, safe * np.exp(-safe) / -np.expm1(-safe), 1.0), size, y > 0.0


def _interaction(table: Tabulated, rest: Stationary, state: _State) -> tuple[Array, Array]:
    """Eigenvalues [r] and orthonormal eigenvectors [cells, r] of K in the coordinates sqrt(pi) g.

    K = B S B^T with columns sqrt(pi) scale (phi_q - mean) |c_q l''_q|^1/2 of B and signs S. With the Gram matrix
    G = B^T B, which is the covariance of the features, M = G^1/2 S G^1/2 has the same eigenvalues kappa, and
    B S G^1/2 v/kappa is a unit eigenvector of K where v is one of M.
    """
    problem = table.problem
    curvature = problem.data.weights * problems.loss_curvatures(problem, rest.f)
    size, sign = np.sqrt(np.abs(curvature)), np.sign(curvature)
    mass = (state.root**2).reshape(table.grid.shape)
    gram = problem.scale**2 * size[:, None] * table.covariance(mass) * size
    squares, basis = np.linalg.eigh(gram)
    root = (basis * np.sqrt(np.maximum(squares, 0.0))) @ basis.T
    values, vectors = np.linalg.eigh(root @ (sign[:, None] * root))
    kept = np.abs(values) > _NEGLIGIBLE * max(float(np.max(np.abs(values))), problem.temperature)
    values = values[kept]
    combinations = size[:, None] * (sign[:, None] * (root @ vectors[:, kept])) / values
    fields = [(table.first_variation(column) - table.potential).reshape(-1) for column in combinations.T]
    stacked = np.stack(fields, axis=1) if fields else np.zeros((mass.size, 0))
    return values, state.centred(state.root.reshape(-1, 1) * stacked)


def _restricted(inverse: Solve, without: Array) -> Solve:
    """The inverse of A compressed to the complement of the orthonormal columns ``without`` [cells, m]."""
    if without.shape[1] == 0:
        return inverse
    images = np.stack([inverse(column) for column in without.T], axis=1)
    middle = np.linalg.inv(without.T @ images)
    return lambda u: inverse(u) - images @ (middle @ (images.T @ u))


def _lowest(state: _State, inverse: Solve, weight: Solve | None, count: int) -> tuple[Array, Array]:
    """The ``count`` smallest nonzero eigenvalues of A u = Lambda W u, ascending, with their u; W = I where None.

    The vectors [cells, count] are orthonormal in the scalar product of W.
    """
    cells = state.root.size
    shape = (cells, cells)
    # the same vector in every run, with its weight where pi is
    start = state.centred(state.root.reshape(-1) * np.random.default_rng(20261122).standard_normal(cells))
    try:
        values, vectors = eigsh(
            state.generator,
            k=min(count, cells - len(state.root) - 1),
            M=None if weight is None else LinearOperator(shape, matvec=weight, dtype=np.float64),
            sigma=0.0,
            OPinv=LinearOperator(shape, matvec=inverse, dtype=np.float64),
            v0=start,
            tol=_TOLERANCE,
        )
    except ArpackNoConvergence as error:
        raise NotConverged(f"the eigenvalues of the generator did not converge: {error}") from error
    order = np.argsort(values)
    return values[order], vectors[:, order]
