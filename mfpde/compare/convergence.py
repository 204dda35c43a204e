"""The decay of F - F* along a run: measured, in the end by the spectrum, and certified in advance.

    d/dt (F - F*) = -tau^2 I(mu|p_mu) <= -2 tau^2 alpha KL(mu|p_mu) <= -2 tau alpha (F - F*)

where p_mu, the Gibbs measure of Psi[mu], has the log-Sobolev constant alpha, KL(.|p) <= I(.|p)/(2 alpha), and the risk
is convex, F - F* <= tau KL(mu|p_mu) (Nitanda, Wu, Suzuki 2022, arXiv 2201.10469; Chizat 2022, arXiv 2202.01009).
Learning rates R stand in I = int |R^(1/2) grad log(mu/p)|^2 dmu, and alpha is the constant for that I. Under frozen
parameters p is a law per species; KL and I are sums over them, so alpha is the smallest of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from mfpde import problem as problems
from mfpde.compare.spectrum import mode_gaps, spectrum
from mfpde.errors import ConfigError, NumericalError
from mfpde.evolve import Control, State, evolve
from mfpde.measures import Grid, GridMeasure
from mfpde.problem import Coordinate, Network, Pairwise, Problem
from mfpde.stationary import Stationary
from mfpde.tabulate import Tabulated

Array = NDArray[np.float64]

# sup sigma - inf sigma, and sup |sigma'|; activations that are not named have neither
OSCILLATION = {"tanh": 2.0, "erf": 2.0, "sigmoid": 1.0, "sin": 2.0}
STEEPEST = {
    "tanh": 1.0,
    "erf": float(np.sqrt(2.0 / np.pi)),
    "sigmoid": 0.25,
    "sin": 1.0,
    "relu": 1.0,
    "softplus": 1.0,
    "identity": 1.0,
    "gelu": 1.128904146,  # at z = sqrt 2: Phi(z) + z phi(z), rounded up
}
# gaps within this factor of the noise at the end of a run are not used
NOISE_MARGIN = 100.0
# relative entropy that masses keep which were rounded in every sweep: the square of a relative error of 1e-13
ROUND_OFF = 1e-26
# fixed steps times the rate to be measured, and how many e-foldings are followed
RESOLUTION, FALL = 0.2, 60.0
# the asymptotic rate is a slope over this fall of the gap
WINDOW = 10.0
# modes of the spectrum among which the slowest one of a run is sought: symmetries may forbid the first few
MODES = 8
# a mode with less than this share of the gap is taken for round-off, not for a part of the run
EXCITED = 1e-6
# a rate measured on a grid with steps in time is off by both errors: what a comparison with a bound allows for
SLACK = 0.01
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


@dataclass(frozen=True)
class LogSobolevBounds:
    """Lower bounds of alpha, each None where its conditions fail; ``best`` is the largest of them."""

    holley_stroock: float | None
    lipschitz: float | None
    bakry_emery: float | None

    @property
    def best(self) -> float | None:
        found = [b for b in (self.holley_stroock, self.lipschitz, self.bakry_emery) if b is not None]
        return max(found, default=None)


@dataclass(frozen=True, eq=False)
class Decay:
    """``middles``, ``rates`` [K-1]: -d log gap/dt between samples, NaN where a gap is lost in round-off.

    ``asymptotic``: least-squares slope over the samples from ``window[0]`` to ``window[1]``, the last decade above
    ``floor``, or None where fewer than two samples are left; ``spread``: (smallest, largest) local rate in the window.
    """

    middles: Array
    rates: Array
    asymptotic: float | None
    window: tuple[float, float] | None
    spread: tuple[float, float] | None
    floor: float


@dataclass(frozen=True, eq=False)
class Convergence:
    """Four rates of one run side by side, ``times`` [K], ``gaps`` [K] = F - F*.

    ``measured``: the run itself; ``sharp`` = 2 Lambda; ``excited``: 2 Lambda of the slowest mode that the run has
    (``sharp`` unless a symmetry of the start forbids that mode), None if it is none of the lowest ``MODES``;
    ``rates``: those of the lowest modes, which tell how soon the slowest one is alone;
    ``poincare_rate`` = 2 tau lambda_PI; ``certified`` [K] = 2 tau alpha, or None without a certificate, and then
    ``never_slower_than_certified`` is None too: it compares every interval above round-off, up to ``SLACK``.
    """

    times: Array
    gaps: Array
    measured: Decay
    sharp: float
    excited: float | None
    rates: Array
    poincare_rate: float
    certified: Array | None
    never_slower_than_certified: bool | None


def log_sobolev_bounds(problem: Problem, grid: Grid, residual: Array) -> LogSobolevBounds:
    """Bounds of alpha for the Gibbs measure of the residuals ``residual`` [n], on all of the parameter space.

    ``grid`` names the frozen values; no maximum over cells enters, and a block of inputs counts with its dimension.
    In eta = R^(-1/2) theta the learning rates are 1 and weight decay lambda_c gives curvature rate_c lambda_c, so that
    alone it has alpha_0 = min_c rate_c lambda_c / tau (Bakry, Emery). Psi^data = scale sum_q r_q a sigma(<w, x_q> + b).

    holley_stroock: alpha >= alpha_0 exp(-osc(Psi^data)/tau). With U = Psi^data/tau, gamma the Gaussian of weight decay
    and p = e^-U gamma/Z,  Ent_p(g^2) = inf_t int (g^2 log(g^2/t) - g^2 + t) dp <= sup(dp/dgamma) Ent_gamma(g^2)
    <= sup(dp/dgamma) (2/alpha_0) int |grad g|^2 dgamma <= e^osc(U) (2/alpha_0) int |grad g|^2 dp.
    osc <= scale |a| sum|r_q| (sup sigma - inf sigma).

    lipschitz: alpha >= alpha_0 exp(-L^2 - 2L), L^2 = sum_c B_c^2/(tau lambda_c), B_c = sup|d_c Psi^data|. In units of
    the Gaussian, U is L-Lipschitz. Along its Ornstein-Uhlenbeck flow, s^2 = 1 - e^-2t, H_t = Hess log P_t e^-U is
    (e^-2t/s) Cov(Z, -grad U) = (e^-2t/s^2)(Cov(Z) - 1) under a law of Z with std(u.Z) =: v <= 1 + s L from
    v^2 <= 1 + s L v; so H_t <= e^-2t (L^2 + L/s), with integral L^2/2 + L over all t. The heat-flow map of Kim and
    Milman (2012) from the Gaussian to p thus stretches by at most exp(L^2/2 + L), and alpha falls by its square. (With
    4L for 2L: Brigati, Pedrotti 2024, arXiv 2404.15205; Kook et al. 2024, Lemmas 19 and 20, for any convex V.)
    B_w <= scale |a| sum|r_q| sup|sigma'| |x_q| E|t|, t the first coordinate of a uniform point of the block's sphere.

    bakry_emery: Psi with a constant Hessian. Networks where only a moves, or with a linear activation under frozen a:
    alpha_0 itself. Quadratic potentials A and interactions kappa: the smallest eigenvalue of A + min(kappa, 0), in
    eta, over tau. Under attraction, kappa > 0, p_mu has A + kappa, but the risk is concave; F is then convex along
    displacements with modulus A alone, which gives the same decay with that constant (Carrillo, McCann, Villani 2003).
    """
    if isinstance(problem.model, Pairwise):
        return LogSobolevBounds(None, None, _pairwise_convexity(problem, problem.model))
    tau, moving = problem.temperature, problem.moving
    decay = min(c.rate * c.weight_decay for c in moving)
    if tau <= 0.0 or decay <= 0.0 or not problem.convex:
        return LogSobolevBounds(None, None, None)
    plain = decay / tau
    name, groups = _activation(problem.model), {c.group for c in moving}
    if groups == {"a"} or ("a" not in groups and name == "identity"):
        return LogSobolevBounds(None, None, plain)
    if "a" in groups:
        return LogSobolevBounds(None, None, None)
    weight = problem.scale * float(np.max(np.abs(grid.species.values[:, grid.species.names.index("a")])))
    size = weight * np.abs(residual)
    holley_stroock = lipschitz = None
    if name in OSCILLATION:
        holley_stroock = plain * float(np.exp(-OSCILLATION[name] * np.sum(size) / tau))
    if name in STEEPEST:
        slopes = [STEEPEST[name] * float(np.sum(size * reach)) for reach in _reaches(problem, moving)]
        length = np.sqrt(sum(s**2 / (tau * c.weight_decay) for s, c in zip(slopes, moving, strict=True)))
        lipschitz = plain * float(np.exp(-(length**2) - 2.0 * length))
    return LogSobolevBounds(holley_stroock, lipschitz, None)


def _activation(model: Network) -> str:
    """The name; a Hermite series that is linear is the identity to a scale that the bound here does not see."""
    return "identity" if model.activation == "hermite" and not any(model.hermite[2:]) else model.activation


def _reaches(problem: Problem, moving: tuple[Coordinate, ...]) -> list[Array]:
    """|d<w, x> + b| along each moving coordinate w, b, averaged over the rotations of its block : [n] each."""
    reaches = []
    blocks = [c.name for c in problem.coordinates if c.group == "w"]
    for c in moving:
        if c.group == "b":
            reaches.append(np.ones(len(problem.data.y)))
            continue
        # E|t| on the sphere of a block of dimension m; 1 for m = 1
        mean = np.exp(gammaln(0.5 * c.block) - gammaln(0.5 * (c.block + 1))) / np.sqrt(np.pi)
        reaches.append(mean * np.abs(problem.data.x[:, blocks.index(c.name)]))
    return reaches


def _pairwise_convexity(problem: Problem, model: Pairwise) -> float | None:
    """(smallest eigenvalue of A + min(kappa, 0))/tau with learning rates; None unless all is quadratic and convex."""
    if problem.temperature <= 0.0 or model.interaction not in ("quadratic", "none"):
        return None
    if model.potential not in ("quadratic", "none"):
        return None
    repulsion = min(model.strength, 0.0) if model.interaction == "quadratic" else 0.0
    matrix = model.matrix if model.potential == "quadratic" else np.zeros((model.dimension, model.dimension))
    diagonal = np.array([c.weight_decay for c in problem.coordinates]) + repulsion
    root = np.sqrt([c.rate for c in problem.coordinates])
    smallest = float(np.linalg.eigvalsh(root[:, None] * (matrix + np.diag(diagonal)) * root)[0])
    return smallest / problem.temperature if smallest > 0.0 else None


def certified_rates(problem: Problem, grid: Grid, f: Array) -> Array | None:
    """2 tau alpha of the states with predictions ``f`` [K, n] : [K], or None where no bound applies.

    log gap(t) <= log gap(0) - integral of this from 0 to t.
    """
    found = [log_sobolev_bounds(problem, grid, problems.residual(problem, one)).best for one in f]
    rates = [2.0 * problem.temperature * alpha for alpha in found if alpha is not None]
    return np.array(rates) if len(rates) == len(f) else None


def energy_gap(table: Tabulated, mass: Array, f: Array, rest: Stationary) -> float:
    """F(mu) - F(pi) of masses ``mass`` with predictions ``f`` [n], without cancellation and exact on the grid.

    sum_q c_q [l(f_q) - l(f*_q) - l'(f*_q)(f_q - f*_q)] + tau KL(mu|pi), for pi the Gibbs measure of f*; for the square
    loss 1/2 |f - f*|^2 + tau KL, the distance to the end in docs/theory-main.md. Weights c_q of either sign.
    """
    problem = table.problem
    change = f - rest.f
    if problem.loss == "square":
        bregman = 0.5 * change**2
    else:
        bregman = _logistic_bregman(-problem.data.y * rest.f, -problem.data.y * change)
    heat = problem.temperature * _relative_entropy(mass, rest.measure.mass)
    return float(np.sum(problem.data.weights * bregman)) + heat


def _logistic_bregman(z: Array, d: Array) -> Array:
    """s(z + d) - s(z) - s'(z) d for s(z) = log(1 + e^z): where d is small, d^2 int (1 - t) s''(z + t d) dt."""
    t = 0.5 * (_NODES + 1.0)
    inside = z[..., None] + np.clip(d, -1.0, 1.0)[..., None] * t
    curvature = np.exp(-np.logaddexp(0.0, -inside) - np.logaddexp(0.0, inside))
    near = d**2 * (curvature @ (0.5 * _WEIGHTS * (1.0 - t)))
    far = np.logaddexp(0.0, z + d) - np.logaddexp(0.0, z) - np.exp(-np.logaddexp(0.0, -z)) * d
    return np.where(np.abs(d) <= 1.0, near, far)


def _relative_entropy(mass: Array, reference: Array) -> float:
    """sum of pi h(mu/pi - 1), h(x) = (1 + x) log(1 + x) - x = x^2 int (1 - t)/(1 + t x) dt: no term is negative.

    KL itself where both have the same total; an error of the total enters with its square only.
    """
    t = 0.5 * (_NODES + 1.0)
    x = (mass - reference) / reference
    close = np.abs(x) <= 0.5
    few = x[close]
    near = reference[close] * few**2 * ((1.0 / (1.0 + few[:, None] * t)) @ (0.5 * _WEIGHTS * (1.0 - t)))
    m, pi = mass[~close], reference[~close]
    far = m * (np.log(m) - np.log(pi)) - (m - pi)
    return float(np.sum(near) + np.sum(far))


def decay(times: Array, gaps: Array, noise: float = 0.0) -> Decay:
    """Local and asymptotic rates of ``gaps`` [K] at ``times`` [K], increasing; raises NumericalError below two samples.

    F never rises along the flow, so a first rise is round-off, and all gaps from there on are noise. Gaps below
    ``NOISE_MARGIN`` times the largest of them, or times ``noise``, are left out. The rate is that of the run: a fixed
    step that resolves it is needed, adaptive ones grow without bound near the end.
    """
    if len(times) < 2:
        raise NumericalError(f"a rate of decay needs two states or more; there are {len(times)}")
    rises = np.flatnonzero((gaps[1:] >= gaps[:-1]) | (gaps[1:] <= 0.0))
    floor = NOISE_MARGIN * max(noise, float(np.max(gaps[rises[0] + 1 :], initial=0.0)) if len(rises) else 0.0)
    used = gaps > floor
    # only a stretch from the start: what comes back above the floor is no decay
    used &= np.cumprod(used).astype(bool)
    both = used[1:] & used[:-1]
    logs = np.log(np.where(used, gaps, 1.0))
    spans = np.diff(times)
    rates = np.where(both, -np.diff(logs) / spans, np.nan)
    middles = 0.5 * (times[1:] + times[:-1])
    count = int(np.sum(used))
    if count < 2:
        return Decay(middles, rates, None, None, None, floor)
    first = min(count - 2, int(np.argmax(gaps[:count] <= WINDOW * gaps[count - 1])))
    t, y = times[first:count], logs[first:count]
    slope = -float(np.sum((t - t.mean()) * (y - y.mean())) / np.sum((t - t.mean()) ** 2))
    local = rates[first : count - 1]
    return Decay(
        middles, rates, slope, (float(t[0]), float(t[-1])), (float(np.min(local)), float(np.max(local))), floor
    )


def resolved_decay(table: Tabulated, rest: Stationary, start: GridMeasure, rate: float) -> Decay:
    """The decay of F - F* from ``start`` in fixed steps that resolve ``rate``, until round-off or ``FALL`` e-foldings.

    Adaptive steps grow without bound near the end, where the solution hardly changes: the rates of such a run are those
    of its steps. Steps of ``RESOLUTION``/rate are off by 0.3 %.
    """
    step = RESOLUTION / rate
    times, gaps = [], []
    control = Control(fixed_step=step, extend=False)
    for snapshot in evolve(table.problem, State(start, 0.0), np.array([0.0, FALL / rate]), control, table):
        gap = energy_gap(table, snapshot.measure.mass, snapshot.f, rest)
        times.append(snapshot.time)
        gaps.append(gap)
        if len(gaps) > 1 and gaps[-1] >= gaps[-2]:
            break
    return decay(np.array(times), np.array(gaps), ROUND_OFF * table.problem.temperature)


def convergence(table: Tabulated, rest: Stationary, times: Array, masses: Sequence[Array], f: Array) -> Convergence:
    """Rates of a run with ``masses`` [K] of [K_species, n_1, ..., n_D] and predictions ``f`` [K, n] at ``times`` [K].

    Raises ConfigError where the grid of the run is not that of ``table``, and what ``spectrum`` and ``decay`` raise.
    """
    if any(mass.shape != table.grid.shape for mass in masses):
        raise ConfigError("grid.bounds", "grew during the run; decay is measured on one grid", "give them as numbers")
    found = spectrum(table, rest, MODES)
    gaps = np.array([energy_gap(table, mass, one, rest) for mass, one in zip(masses, f, strict=True)])
    measured = decay(times, gaps, ROUND_OFF * table.problem.temperature)
    excited = None
    if measured.window is not None:
        at = int(np.searchsorted(times, measured.window[0]))
        present = np.flatnonzero(mode_gaps(found, rest, masses[at]) > EXCITED * gaps[at])
        excited = float(found.rates[present[0]]) if len(present) else None
    certified = certified_rates(table.problem, table.grid, f)
    kept = None
    if certified is not None:
        known = ~np.isnan(measured.rates)
        bound = np.minimum(certified[1:], certified[:-1])[known]
        kept = bool(np.all(measured.rates[known] >= (1.0 - SLACK) * bound))
    slow = 2.0 * table.problem.temperature * found.poincare
    return Convergence(times, gaps, measured, found.asymptotic, excited, found.rates, slow, certified, kept)
