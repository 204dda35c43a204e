"""Node features behind a symmetry reduction in closed form: piecewise-linear activations, whose kinks no rule sees.

For block coordinates x, blocks (d_1, .., d_k) and points (w_1, .., w_k, b)

    phi = E sigma(b + sum over blocks of 1 of w_j x_j + sum over the others of |w_j| x_j t_j),

t_j the first coordinate of a uniform point of S^(d_j - 1): ``core.sphere``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.core import activations, sphere
from mfpde.problem import Network, Problem

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def averaged(problem: Problem) -> bool:
    """Whether the features of a problem are averages in closed form, and not sums over rotated nodes."""
    return (
        isinstance(problem.model, Network)
        and problem.model.activation == "piecewise-linear"
        and any(block > 1 for block in problem.data.blocks)
    )


def average_cost(problem: Problem) -> float:
    """Seconds of one feature: a table look-up per knot, and as often as the rule of a second sphere has nodes."""
    assert isinstance(problem.model, Network)
    knots = len(activations.pieces(problem.model.parameters)[0])
    spheres = sum(block > 1 for block in problem.data.blocks)
    return 3e-8 * knots * (1.0 if spheres == 1 else sphere.OUTER_NODES)


def averaged_features(problem: Problem, points: Array, select: Index | None = None) -> Array:
    """phi_q and its derivatives in the columns of points [m, p] (columns w, b) : [1 + p, m, n], or nodes in ``select``.

    A radius counts by its size, and its derivative at 0 is the limit from above.
    """
    model, blocks = problem.model, problem.data.blocks
    assert isinstance(model, Network)
    x = problem.data.x if select is None else problem.data.x[select]
    w = points[:, : len(blocks)]
    shape = len(points), len(x)
    shift = np.zeros(shape) if points.shape[1] == len(blocks) else np.broadcast_to(points[:, -1:], shape).copy()
    for j, block in enumerate(blocks):
        if block == 1:
            shift += np.outer(w[:, j], x[:, j])
    round_ = [j for j, block in enumerate(blocks) if block > 1]
    sizes = [np.outer(np.abs(w[:, j]), x[:, j]).reshape(-1) for j in round_]
    law = activations.pieces(model.parameters)
    if len(round_) == 1:
        found = sphere.one_sphere(*law, blocks[round_[0]], shift.reshape(-1), sizes[0])
    elif len(round_) == 2:
        pair = blocks[round_[0]], blocks[round_[1]]
        found = sphere.two_spheres(*law, pair, shift.reshape(-1), (sizes[0], sizes[1]))
    else:
        raise ValueError(f"{len(round_)} rotation blocks; closed averages know one or two")
    values = found.reshape(-1, *shape)
    out = np.empty((1 + points.shape[1], *shape))
    out[0], out[1 + len(blocks) :] = values[0], values[1]
    for j, block in enumerate(blocks):
        if block == 1:
            np.multiply(values[1], x[:, j], out=out[1 + j])
        else:
            sign = np.where(w[:, j : j + 1] < 0.0, -1.0, 1.0)
            np.multiply(values[2 + round_.index(j)], sign * x[:, j], out=out[1 + j])
    return out
