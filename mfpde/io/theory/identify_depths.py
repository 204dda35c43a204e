"""Identifiability depths of networks of 1 .. S neurons, each with what proves it, as numbers for JSON.

Three depths are kept apart: ``variety`` (generic neurons, finitely many solutions), ``orbit_generic`` (generic neurons,
one solution) and ``orbit_worst`` (any neurons, one solution); none is smaller than the one before. The evidence of a
depth is "proved", "upper bound", "lower bound", "search" (no other network was found, which proves nothing) or
"unknown"; a depth of None with "proved" is infinite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConfigError, NotConverged
from mfpde.problem import Network
from mfpde.theory.depths import Free, VarietyDepth, law_rank, orbit_depth, random_atoms, variety_depth
from mfpde.theory.overlaps import gaussian_distance
from mfpde.theory.parity import homogeneity
from mfpde.theory.ridge import Atoms, joined, tensor_coordinates
from mfpde.theory.twins import generic_depth, twins, worst_case_depth

Array = NDArray[np.float64]
Pair = tuple[Atoms, Atoms]

STARTS = 12
# the generic network whose twins are looked for, not the one whose Jacobian is taken
SEED = 3
# neurons up to which twins of networks with free weights are looked for: seconds each, minutes beyond
SEARCHED = 2


def free_of(model: Network, dimension: int, wanted: str | None, has_bias: bool) -> Free:
    """What moves: unit directions ("sphere", the default unless the dimension is 1), or all that the study has.

    The scale of a homogeneous activation is a symmetry: without biases its free weights are directions.
    """
    if dimension < 1:
        raise ConfigError("--dimension", f"is {dimension}; it must be at least 1")
    if wanted == "sphere" and dimension == 1:
        raise ConfigError("--free", "is sphere, which is two points in dimension 1", "--free all moves the norms too")
    if wanted == "sphere" or (wanted is None and dimension > 1):
        return "direction"
    if has_bias:
        return "weight and bias"
    return "weight" if homogeneity(model.activation, model.hermite) is None else "direction"


def depth_rows(
    model: Network,
    dimension: int,
    atoms: int,
    free: Free,
    data: tuple[Array, Array] | None,
    report: Callable[[float], None],
) -> tuple[list[dict[str, Any]], dict[int, Pair]]:
    """(one row per number of neurons, pairs of networks that the searches found); ``report(S)`` after each.

    ``data``: inputs [n, d] and weights [n] of a law on finitely many points, whose rank caps what can be identified.
    """
    rows, pairs = [], {}
    for s in range(1, atoms + 1):
        # S neurons span S dimensions: across them the Jacobian repeats one block, present from S + 1 dimensions on
        reduced = min(dimension, s + 1)
        variety = _variety(model, reduced, s, free)
        worst, pair = _worst(model, dimension, s, free, variety)
        if pair is not None:
            pairs[s] = pair
        rows.append(
            {
                "atoms": s,
                "computed_in": reduced,
                "parameters": variety["expected"],
                "variety": variety,
                "orbit_generic": _generic(model, reduced, s, free, variety, worst),
                "orbit_worst": worst,
                "law": None if data is None else _law(model, s, free, *data),
            }
        )
        report(s)
    return rows, pairs


def _variety(model: Network, dimension: int, atoms: int, free: Free) -> dict[str, Any]:
    try:
        found = variety_depth(model.activation, dimension, atoms, free, model.hermite)
    except NotConverged as error:
        found = VarietyDepth(None, 0, (), (), (), (), str(error))
    infinite = found.depth is None and bool(found.degrees)
    return {
        "depth": found.depth,
        "evidence": "unknown" if found.depth is None and not infinite else "numerical rank",
        "expected": found.expected,
        "degrees": list(found.degrees),
        "ranks": list(found.ranks),
        "smallest": min(found.smallest, default=None),
        "largest_dropped": max(found.largest_dropped, default=None),
        "words": f"infinite: {found.reason}" if infinite else found.reason,
    }


def _answer(depth: int | None, evidence: str, words: str) -> dict[str, Any]:
    return {"depth": depth, "evidence": evidence, "words": words}


def _worst(
    model: Network, dimension: int, atoms: int, free: Free, variety: dict[str, Any]
) -> tuple[dict[str, Any], Pair | None]:
    """D*_orb over all networks, and the two networks that a search found equal just below it."""
    if variety["depth"] is None and variety["evidence"] != "unknown":
        return _answer(None, "proved", "infinite, as the variety depth is"), None
    if free == "direction":
        return _closed(model, dimension, atoms), None
    line = _variety(model, 1, atoms, free)["depth"]
    least = max((d for d in (line, variety["depth"]) if d is not None), default=None)
    bound = _answer(least, "unknown" if least is None else "lower bound", "D_var of neurons on one line")
    if free == "weight and bias" or atoms > SEARCHED:
        return bound, None
    try:
        # the worst case lies on a line: S + 1 dimensions hold it, and generic neurons too
        found = worst_case_depth(model.activation, min(dimension, atoms + 1), atoms, free, model.hermite, starts=STARTS)
    except NotConverged:
        return bound, None
    if found.depth is None or (least is not None and found.depth < least):
        return bound, None
    words = f"{found.starts} searches found no equal pair"
    return _answer(found.depth, "search", words), found.twin


def _closed(model: Network, dimension: int, atoms: int) -> dict[str, Any]:
    if dimension == 1:
        return _answer(None, "unknown", "a line has two unit directions")
    known = orbit_depth(model.activation, dimension, atoms, model.hermite)
    if known.depth is None and known.exact:
        return _answer(None, "proved", f"infinite: the activation has no degree as high as {known.reference}")
    if known.depth is None:
        return _answer(None, "unknown", known.reference)
    return _answer(known.depth, "proved" if known.exact else "upper bound", known.reference)


def _generic(
    model: Network, dimension: int, atoms: int, free: Free, variety: dict[str, Any], worst: dict[str, Any]
) -> dict[str, Any]:
    """D*_orb of one generic network: between the other two, or by a search for another network with its tensors."""
    least = variety["depth"]
    if least is None:
        return _answer(None, worst["evidence"], "as the variety depth")
    if worst["depth"] == least and worst["evidence"] in ("proved", "upper bound"):
        return _answer(least, "proved", "the variety depth and the worst case agree")
    searched = {"direction": dimension > 1, "weight": atoms <= SEARCHED, "weight and bias": False}
    if not searched[free]:
        return _answer(least, "lower bound", "the variety depth; not searched")
    try:
        given = random_atoms(dimension, atoms, free, SEED)
        found = generic_depth(model.activation, given, free, model.hermite, starts=STARTS)
    except NotConverged:
        return _answer(least, "lower bound", "the variety depth; the search met weights too steep")
    if found.depth is None:
        return _answer(None, "search", "infinite: another network was found at every degree there is")
    return _answer(found.depth, "search", f"no other network found in {found.starts} searches")


def _law(model: Network, atoms: int, free: Free, x: Array, weights: Array) -> dict[str, Any]:
    """The rank in the span of the inputs: weights across it are never seen."""
    _, values, rows = np.linalg.svd(x, full_matrices=False)
    span = max(1, int(np.sum(values > 1e-12 * max(float(values[0]), 1e-300))))
    given = random_atoms(span, atoms, free, 0)
    found = law_rank(model.activation, given, x @ rows[:span].T, weights, free, model.hermite)
    return {
        "span": span,
        "rank": found.rank,
        "parameters": found.expected,
        "inputs": found.nodes,
        "identifiable": found.identifiable,
        "smallest": found.smallest,
        "largest_dropped": found.largest_dropped,
    }


def separation(model: Network, rows: list[dict[str, Any]], pairs: dict[int, Pair]) -> dict[str, Any] | None:
    """The least number of neurons with D*_var < D*_orb, and two networks equal below D*_orb; None if there is none."""
    for row in rows:
        low, high, s = row["variety"]["depth"], row["orbit_worst"], row["atoms"]
        if low is None or high["depth"] is None or high["evidence"] == "upper bound" or low >= high["depth"]:
            continue
        found = {"atoms": s, "variety": low, "orbit": high["depth"], "evidence": high["evidence"]}
        if s in pairs:
            return found | _witness(model, pairs[s], high["depth"])
        if high["evidence"] == "proved":
            # all their directions lie in one plane, so that the plane shows them whatever the dimension
            return found | _witness(model, twins(model.activation, 2, s, model.hermite), high["depth"])
        return found
    return None


def _witness(model: Network, pair: Pair, depth: int) -> dict[str, Any]:
    difference = joined(*pair)
    gaps = [
        float(np.max(np.abs(tensor_coordinates(model.activation, difference, k, model.hermite))))
        for k in range(depth + 1)
    ]
    return {
        "networks": [{"a": one.a.tolist(), "w": one.w.tolist(), "b": one.b.tolist()} for one in pair],
        "difference_below": max(gaps[:depth]),
        "difference_at": gaps[depth],
        "distance": gaussian_distance(model.activation, *pair, model.hermite).value,
    }
