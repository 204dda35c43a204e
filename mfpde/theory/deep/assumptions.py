"""Do data and activation satisfy what the theorem of Chen, Yang, Zhao, Gu (2025) assumes?

Assumption 4.1, data: <xi_i, xi_j> is not 0 and |<xi_i, xi_j>| differs from |<xi_i, xi_k>| for distinct indices;
duplicates and antipodal points are excluded.  Assumption 4.3, GOOD activation: twice differentiable with bounded phi'
and phi'', sum_i a_i phi(b_i x + c_i) is constant only for degenerate (a, b, c), (r_1 + phi)(r_2 + phi') is never
constant.  Both in the words of secondary sources: the text of the article was not available here.  sigmoid, tanh and
SiLU are called GOOD there, relu not; the verdicts on the others are mfpde's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# differences of cosines below this are taken for equality in floating-point data
RESOLUTION = 1e-9
_LISTED = 20


@dataclass(frozen=True)
class InputCheck:
    """Pairs (i, j) that violate assumption 4.1 (at most 20 of a kind), the number of ``ties``, and the verdict.

    ``smallest_angle``: the least angle, in radians, between the lines through two points.  ``rank`` of the inputs:
    below P the first preactivations, which are linear in them, stay dependent; the assumption does not exclude it.
    """

    holds: bool
    smallest_angle: float
    duplicates: tuple[tuple[int, int], ...]
    antipodal: tuple[tuple[int, int], ...]
    orthogonal: tuple[tuple[int, int], ...]
    ties: int
    rank: int
    sentence: str


@dataclass(frozen=True)
class ActivationCheck:
    """``good``: assumption 4.3 holds; ``sentence`` says why, or what fails."""

    good: bool
    sentence: str


_BOUNDED = "smooth with bounded first and second derivative, and no linear relations between its dilations"
_VERDICTS = {
    "tanh": (True, f"tanh is {_BOUNDED} (named in the article)"),
    "sigmoid": (True, f"sigmoid is {_BOUNDED} (named in the article)"),
    "erf": (True, f"erf is {_BOUNDED}"),
    "sin": (True, f"sin is {_BOUNDED}, as long as no two |b_i| agree"),
    "gelu": (True, "gelu is smooth with bounded first and second derivative; like SiLU, named in the article"),
    "softplus": (True, "softplus is smooth with bounded first and second derivative; its slope is sigmoid"),
    "relu": (False, "relu has no second derivative at 0"),
    "piecewise-linear": (False, "piecewise-linear has no second derivative at its knots"),
    "quadratic": (False, "quadratic has an unbounded first derivative, and its dilations are linearly dependent"),
    "identity": (False, "identity makes a linear network: dilations are linearly dependent"),
    "hermite": (False, "a polynomial has linearly dependent dilations"),
}


def check_activation(name: str, hermite: tuple[float, ...] = ()) -> ActivationCheck:
    """Assumption 4.3 for an activation of the library; a hermite sum is a polynomial, whatever its coefficients."""
    good, sentence = _VERDICTS[name]
    return ActivationCheck(good, sentence)


def check_inputs(inputs: ArrayLike) -> InputCheck:
    """Assumption 4.1 for inputs [P, d], equality read to 1e-9 of the largest |<xi_i, xi_j>| of the row.

    Real data violate it with probability 0 but for duplicates, exact symmetries and zeros; the theorem needs it as a
    sufficient condition only.
    """
    x = np.asarray(inputs, dtype=np.float64)
    products = x @ x.T
    norms = np.sqrt(np.diagonal(products))
    scale = np.outer(norms, norms)
    cosines = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0.0)
    rows, columns = np.triu_indices(len(x), 1)
    pairs = cosines[rows, columns]
    equal = np.linalg.norm(x[rows] - x[columns], axis=1) <= RESOLUTION * norms[rows]
    opposite = np.linalg.norm(x[rows] + x[columns], axis=1) <= RESOLUTION * norms[rows]
    right = np.abs(pairs) <= RESOLUTION
    ties = sum(_ties(np.delete(np.abs(products[i]), i)) for i in range(len(x)))
    duplicates, antipodal, orthogonal = (_listed(rows, columns, mask) for mask in (equal, opposite, right))
    angle = float(np.arccos(min(1.0, float(np.abs(pairs).max())))) if len(pairs) else float(np.pi / 2.0)
    counts = {"duplicate": len(duplicates), "antipodal": len(antipodal), "orthogonal": len(orthogonal)}
    wrong = [f"{n} {kind} pair{'s' if n > 1 else ''}" for kind, n in counts.items() if n]
    if ties:
        wrong.append(f"{ties} tie{'s' if ties > 1 else ''} |<x_i, x_j>| = |<x_i, x_k>|")
    holds = not wrong
    sentence = (
        "no duplicate, antipodal or orthogonal pair and no ties" if holds else "the data hold " + ", ".join(wrong)
    )
    rank = int(np.linalg.matrix_rank(x))
    if rank < len(x):
        sentence += f"; they span {rank} dimensions, so that preactivations of layer 1 are linearly dependent"
    listed = duplicates[:_LISTED], antipodal[:_LISTED], orthogonal[:_LISTED]
    return InputCheck(holds, angle, *listed, ties, rank, sentence)


def _listed(
    rows: NDArray[np.int64], columns: NDArray[np.int64], mask: NDArray[np.bool_]
) -> tuple[tuple[int, int], ...]:
    return tuple((int(i), int(j)) for i, j in zip(rows[mask], columns[mask], strict=True))


def _ties(values: Array) -> int:
    """How many neighbours in order of size agree."""
    if len(values) < 2:
        return 0
    ordered = np.sort(values)
    return int(np.count_nonzero(np.diff(ordered) <= RESOLUTION * ordered[-1]))
