"""Traces of the resolvent of the bulk, any p / d and any number of neuron types, without a random matrix.

Neurons of group g have bulk vectors of variance c_g and carry, in the equivalent linear problem, the ridge
l + V2hat_g and the d x d kernel V1hat_gh.  With s_g = (group trace of S^-1) / pi_g, P = beta diag(pi c s),

    J = (1 + V1hat P)^-1,   Xi = J V1hat,   s_g = 1 / (l + V2hat_g + c_g Xi_gg),   V2 = pi s,   V1 = P J / beta.

For one group this is the Marchenko-Pastur law, whose quadratic the tests solve by itself.  s is found by Newton's
method from s = 1 / (l + V2hat): the map is increasing and concave there, so that the iteration comes down
monotonically. Real and complex arguments (for spectra) are treated alike.  Derivation: docs/one-step.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import NotConverged
from mfpde.theory.one_step.tables import Table

Array = NDArray[Any]

TOLERANCE = 1e-14
MAX_STEPS = 100
_ROUND_OFF = 1e-9


@dataclass(frozen=True, eq=False)
class Traces:
    """``values`` [P + K] = (V1 by pair, V2 by group), ``response`` [P + K, P + K] = -d values / d conjugates, s [K]."""

    values: Array
    response: Array
    resolvents: Array


def traces(table: Table, ridge: float | complex, conjugates: Array, start: Array | None = None) -> Traces:
    """Traces at ``conjugates`` [P + K] = (V1hat by pair, V2hat by group) and the ridge l, Re l >= 0 if it is real.

    ``start`` [K] is a first guess of s; complex arguments need one on their branch. Raises NotConverged.
    """
    size, number = len(table.shares), table.pairs.shape[1]
    beta = table.model.width_ratio
    first, second = table.pairs
    kernel = np.empty((size, size), dtype=conjugates.dtype)
    kernel[first, second] = kernel[second, first] = conjugates[:number]
    floor = ridge + conjugates[number:]
    weight = beta * table.shares * table.bulks
    identity = np.eye(size)

    s = 1.0 / floor if start is None else start
    before = np.inf
    for _ in range(MAX_STEPS):
        factor = np.linalg.inv(identity + kernel * (weight * s))
        dressed = factor @ kernel
        image = 1.0 / (floor + table.bulks * dressed.diagonal())
        curvature = identity - (image**2 * table.bulks)[:, None] * dressed**2 * weight
        step = np.linalg.solve(curvature, image - s)
        s = s + step
        change = float(np.max(np.abs(step)) / np.max(np.abs(s)))
        # quadratic convergence ends at round-off, which is above the tolerance where the system is nearly singular
        if change <= TOLERANCE or before <= change <= _ROUND_OFF:
            break
        before = change
    else:
        raise NotConverged(f"the resolvent of the bulk was not found in {MAX_STEPS} Newton steps")

    outer = (weight * s)[:, None] * factor
    values = np.concatenate([outer[first, second] / beta, table.shares * s])
    # one direction per conjugate; the two entries of a pair move together
    direction = np.zeros((number + size, size, size))
    direction[np.arange(number), first, second] = direction[np.arange(number), second, first] = 1.0
    ridges = np.concatenate([np.zeros((number, size)), identity])
    felt = ridges + table.bulks * np.einsum("gh,ahk,gk->ag", factor, direction, factor)
    moved = np.linalg.solve(curvature, -(s**2)[:, None] * felt.T).T
    turned = np.einsum("hg,ah,hk->agk", factor, weight * moved, factor) - outer @ direction @ outer
    response = -np.concatenate([turned[:, first, second] / beta, table.shares * moved], axis=1).T
    return Traces(values, response, s)


def feedback(response: Array, curvature: Array, source: Array) -> Array:
    """(1 - T M)^-1 source : the traces answer with T to conjugates that move by M with them."""
    return np.asarray(np.linalg.solve(np.eye(len(source)) - response @ curvature, source), dtype=source.dtype)
