"""From one gradient step on the first layer to a spiked layer (r, c, alignment, Gamma).

    w_i^1 = w_i^0 + step u_i (1 / n0) sum_mu (y_mu - f0(z_mu)) sigma'(<w_i^0, z_mu>) z_mu,     n0 = batch_ratio d,

from rows w_i^0 on the unit sphere and readouts u_i / sqrt(p), f0 the network at the start.  With h1 = E sigma',
g1 = E[z g(z)], S = E y^2 and Var' = E (sigma' - h1)^2, for every readout value u and eta = step u

    r = eta h1 B,   c = 1 + eta^2 Var' S / batch_ratio,   <v, theta> = g1 / B,   B = sqrt(S / batch_ratio + g1^2).

``plain`` stops there, as the article does, and takes Gamma = diag(c, c, 0).  ``refined`` adds the covariance of the
loadings after the step, where the norm of a row and its part along v move together.  ``measured`` reads everything
off a first layer.  The formulas need E[y - f0] = 0 and E sigma'' = 0, that is an odd activation: ``refined`` refuses
others, for which ``plain`` is the article's extrapolation and ``measured`` is right.  Sources: Cui et al. 2024 and
the authors' code; docs/one-step.md for Gamma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError
from mfpde.theory.one_step.averages import expand, normal_rule
from mfpde.theory.one_step.model import FirstLayer, Group, first_layer, shares_of
from mfpde.theory.one_step.scalar import ScalarFunction, is_odd

Array = NDArray[np.float64]

_ONE_READOUT = ((1.0, 1.0),)


@dataclass(frozen=True)
class GradientStep:
    """One step of size ``step`` on ``batch_ratio`` d samples, labels target + ``noise`` N(0, 1); 0 samples: no step.

    ``readout`` lists (u, share): a share of the neurons has the readout u / sqrt(p).
    """

    student: ScalarFunction
    target: ScalarFunction
    step: float
    batch_ratio: float
    noise: float = 0.0
    readout: Sequence[tuple[float, float]] = _ONE_READOUT

    def __post_init__(self) -> None:
        """Raise ConfigError for values without a meaning."""
        if not np.isfinite(self.step):
            raise ConfigError("step", f"is {self.step:g}; the step size must be finite")
        if not (np.isfinite(self.batch_ratio) and self.batch_ratio >= 0.0):
            raise ConfigError("batch_ratio", f"is {self.batch_ratio:g}; the ratio n0 / d must be at least 0")
        if not (np.isfinite(self.noise) and self.noise >= 0.0):
            raise ConfigError("noise", f"is {self.noise:g}; the standard deviation of the labels must be at least 0")
        if self.student.slope is None:
            raise ConfigError("student", f"is {self.student.name!r}, whose slope gives no gradient step")
        shares_of(self.readout)


def plain(step: GradientStep) -> FirstLayer:
    """The layer of the article: Gamma = diag(c, c, 0) for every group."""
    drive = _drive(step)
    groups = []
    for u, share in shares_of(step.readout):
        bulk = 1.0 + (step.step * u) ** 2 * drive.slope_variance * drive.sigma**2
        spike = step.step * u * drive.slope_mean * drive.size
        groups.append(Group(share, u, spike, bulk, np.diag([bulk, bulk, 0.0])))
    return first_layer(tuple(groups), drive.alignment, "plain")


def refined(step: GradientStep) -> FirstLayer:
    """``plain`` with the covariance Gamma of the loadings to leading order; ConfigError unless the student is odd.

    With q = sigma' - h1 and labels y, sigma^2 = S / batch_ratio, and for a sample its parts zv along v and zz along
    zeta: the terms of every entry come from the fluctuations of <w, v>, <w, zeta> and |w|^2 at order d^(-1/2).
    """
    if not is_odd(step.student):
        raise ConfigError(
            "mapping",
            f"is 'refined' and {step.student.name} is not odd: a step then also rescales the bulk; "
            "allowed are measured and plain",
        )
    drive = _drive(step)
    groups = []
    for group in plain(step).groups:
        loadings = (
            _loadings(step, drive, step.step * group.readout) if step.batch_ratio > 0.0 else np.diag([1.0, 1.0, 0.0])
        )
        groups.append(Group(group.share, group.readout, group.spike, group.bulk, loadings))
    return first_layer(tuple(groups), drive.alignment, "refined")


def measured(before: Array, after: Array, theta: Array, readout: Array) -> FirstLayer:
    """The layer seen in weights ``before`` and ``after`` a step : [p, d]; ``theta`` [d] and ``readout`` u [p].

    v is the direction of the mean of u_i times the change of row i; neurons are grouped by equal u. Within a group r is
    the mean of <w, v>, c that of |w|^2 orthogonal to v, Gamma is d times the covariance of <w, v>, <w, zeta> and
    that |w|^2. Raises ConfigError for shapes that do not fit, non-finite weights, or weights that have not moved.
    """
    p, d = after.shape
    if before.shape != (p, d) or theta.shape != (d,) or readout.shape != (p,):
        raise ConfigError("weights", f"of shape {after.shape} need as many before, theta [{d}] and readout [{p}]")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ConfigError("weights", "hold values that are not finite")
    values, members = np.unique(readout, return_counts=True)
    if members.min() < 2:
        raise ConfigError("readout", f"has the value {values[members.argmin()]:g} once; a covariance needs two neurons")
    direction = readout @ (after - before)
    length = float(np.linalg.norm(direction))
    if length == 0.0:
        raise ConfigError("weights", "are the same before and after; no spike can be measured")
    v = direction / length
    unit = theta / np.linalg.norm(theta)
    alignment = float(np.clip(v @ unit, -1.0, 1.0))
    across = unit - alignment * v
    size = float(np.linalg.norm(across))
    along_zeta = after @ across / size if size > 0.0 else np.zeros(p)
    along = after @ v
    norms = np.sum(after**2, axis=1) - along**2
    groups = []
    for u in values:
        mine = readout == u
        loadings = d * np.cov(np.stack([along[mine], along_zeta[mine], norms[mine]]))
        groups.append(
            Group(float(np.mean(mine)), float(u), float(along[mine].mean()), float(norms[mine].mean()), loadings)
        )
    return first_layer(tuple(groups), alignment, "measured")


@dataclass(frozen=True)
class _Drive:
    """h1, Var sigma', sigma^2 = S / batch_ratio, g1 = E[z g], B and the alignment."""

    slope_mean: float
    slope_variance: float
    sigma: float
    linear: float
    size: float
    alignment: float


def _drive(step: GradientStep) -> _Drive:
    origin = np.zeros(1)
    response = expand(step.student, origin, 1.0).linear[0]
    label = expand(step.target, origin, 1.0)
    if step.batch_ratio == 0.0:
        return _Drive(float(response), 0.0, 0.0, float(label.linear[0]), 0.0, 0.0)
    slope = expand(_slope_of(step.student), origin, 1.0)
    variance = float(slope.linear[0] ** 2 + slope.remainder[0])
    square = float(label.constant[0] ** 2 + label.linear[0] ** 2 + label.remainder[0]) + step.noise**2
    linear = float(label.linear[0])
    size = float(np.sqrt(square / step.batch_ratio + linear**2))
    if size == 0.0:
        raise ConfigError("target", f"is {step.target.name!r} without a label to learn from: the step is zero")
    return _Drive(float(response), variance, float(np.sqrt(square / step.batch_ratio)), linear, size, linear / size)


def _slope_of(student: ScalarFunction) -> ScalarFunction:
    assert student.slope is not None  # a GradientStep holds no other
    return ScalarFunction(f"slope of {student.name}", student.slope, None, student.kinks)


def _loadings(step: GradientStep, drive: _Drive, eta: float) -> Array:
    """Gamma [3, 3] of neurons with the effective step ``eta``.

    A sample's part along v is zv = (e / batch_ratio + g1 s + sigma g) / B with its label e, its index s and a normal
    number g; along zeta it is (s - alignment zv) / rho.
    """
    alpha0, size, gamma, linear = step.batch_ratio, drive.size, drive.alignment, drive.linear
    rho = drive.sigma / size
    e2, e4, e3s, e2ss = (_label_moment(step, j, k) for j, k in ((2, 0), (4, 0), (3, 1), (2, 2)))
    e2_vv = (e4 / alpha0**2 + linear**2 * e2ss + drive.sigma**2 * e2 + 2.0 * linear / alpha0 * e3s) / size**2
    e2_sv = (e3s / alpha0 + linear * e2ss) / size
    e2_zz = (e2ss - 2.0 * gamma * e2_sv + gamma**2 * e2_vv) / rho**2
    e2_vz = (e2_sv - gamma * e2_vv) / rho
    e3_v = (e4 / alpha0 + linear * e3s) / size
    e3_z = (e3s - gamma * e3_v) / rho

    t, weights = normal_rule(step.student.kinks)
    q = _slope_of(step.student).value(t) - drive.slope_mean
    q2, q3, q4, qtt, q2tt = (float(weights @ part) for part in (q**2, q**3, q**4, q * t**2, q**2 * t**2))
    noise = eta**2 * q2 / alpha0
    cubic = eta**3 * q3 / alpha0**2
    tt, ss, ts = 1.0 + noise * e2_vv, 1.0 + noise * e2_zz, noise * e2_vz
    td = 2.0 * eta * qtt * size + cubic * e3_v
    sd = cubic * e3_z
    dd = (
        4.0 * eta**2 * (qtt**2 * size**2 + drive.sigma**2 * (q2tt - qtt**2))
        + 2.0 * (eta**2 * q2 * drive.sigma**2) ** 2
        + eta**4 * e4 * (q4 - q2**2) / alpha0**3
    )
    return np.array([[tt, ts, td], [ts, ss, sd], [td, sd, dd]])


def _label_moment(step: GradientStep, power: int, index_power: int) -> float:
    """E[y^power s^index_power] of the label y = g(s) + noise, power at most 4."""
    s, weights = normal_rule(step.target.kinks)
    g = step.target.value(s)
    of_noise = (1.0, 0.0, step.noise**2, 0.0, 3.0 * step.noise**4)
    terms = (comb(power, i) * of_noise[i] * g ** (power - i) for i in range(power + 1))
    return float(weights @ (sum(terms) * s**index_power))
