"""The coordinates in which neurons are drawn, and the columns of a particle that stand behind each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.io import store


@dataclass(frozen=True)
class Coordinate:
    """A drawn coordinate: name as in the files, kind "line", "radius" or "circle", the particle columns behind it."""

    name: str
    kind: str
    columns: tuple[int, ...] = ()


def two_blocks(study: Mapping[str, Any]) -> dict[str, int]:
    """Inputs behind w0 and w1 of two Gaussians that differ in some inputs only; empty for any other study."""
    data = study.get("data", {})
    first, total = int(data.get("informative") or 0), int(data.get("dimension", 0))
    return {"w0": first, "w1": total - first} if data.get("law") == "two-gaussians" and 1 <= first < total else {}


def atom_coordinates(group: store.Group, names: tuple[str, ...], study: Mapping[str, Any]) -> tuple[Coordinate, ...]:
    """Coordinates in which atoms differ or move; the last w is a radius where the particles have more columns."""
    theta = group.variables["theta"].data
    own = [str(name) for name in group.variables["parameter"].data]
    weights = [name for name in own if name.startswith("w")]
    reduced = len([name for name in names if name.startswith("w")]) > len(weights)
    blocks = two_blocks(study)
    radii = [name for name in weights if blocks[name] > 1] if blocks else weights[-1:]
    spread = np.ptp(theta, axis=(0, 1))
    return tuple(
        Coordinate(name, "radius" if reduced and name in radii else "line")
        for k, name in enumerate(own)
        if spread[k] > 0.0
    )


def with_columns(
    coordinates: tuple[Coordinate, ...], names: tuple[str, ...], study: Mapping[str, Any]
) -> tuple[Coordinate, ...]:
    """The particle columns behind each coordinate: a radius takes all columns of w that no other one takes.

    Of two blocks the first takes those of the informative inputs.
    """
    single = {c.name for c in coordinates if c.kind != "radius"}
    rest = tuple(k for k, name in enumerate(names) if name.startswith("w") and name not in single)
    inputs = tuple(k for k, name in enumerate(names) if name.startswith("w"))
    blocks = two_blocks(study) if sum(c.name.startswith("w") for c in coordinates) == 2 else {}

    def columns(c: Coordinate) -> tuple[int, ...]:
        if c.name in blocks:
            return inputs[: blocks["w0"]] if c.name == "w0" else inputs[blocks["w0"] :]
        return rest if c.kind == "radius" else tuple(k for k, name in enumerate(names) if name == c.name)

    return tuple(Coordinate(c.name, c.kind, columns(c)) for c in coordinates)


def free_coordinates(moving: list[str], study: Mapping[str, Any]) -> tuple[Coordinate, ...]:
    """At most three coordinates of particles without a limit: the columns ``moving``, reduced as the law allows."""
    weights = [name for name in moving if name.startswith("w")]
    circle = study.get("pairwise", {}).get("interaction", {}).get("name") == "cosine"
    if circle or len(moving) <= 3:
        return tuple(Coordinate(name, "circle" if circle else "line") for name in moving)
    blocks = two_blocks(study)
    if blocks and weights:
        reduced = [Coordinate(name, "radius" if size > 1 else "line") for name, size in blocks.items()]
    elif study.get("data", {}).get("law") == "gaussian" and len(weights) > 2:
        reduced = [Coordinate("w0", "line"), Coordinate("w1", "radius")]
    else:
        reduced = [Coordinate("w", "radius")] if weights else []
    before = [Coordinate("a", "line")] if "a" in moving else []
    after = [Coordinate("b", "line")] if "b" in moving else []
    return tuple((*before, *reduced, *after)[:3])
