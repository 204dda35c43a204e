"""The densities and particles of a run as bytes small enough to stand in a page: cropped, averaged, quantised."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde import figures
from mfpde.cli import density_rows
from mfpde.cli.arrays import Output
from mfpde.figures.densities import DENSITY_MAP, mass_levels, shared_norm, window

Array = NDArray[np.float64]

# at most so many times, cells per axis, particles and atoms: a page of some megabytes
MOST_TIMES, MOST_CELLS, MOST_DOTS, MOST_ROWS = 61, 80, 400, 4


def film_of(output: Output) -> dict[str, Any] | None:
    """What the page needs to draw the run over time, ready for JSON; None where fewer than two times are stored.

    ``times``; ``colours`` of the densities; ``rows`` of id, names, window (low, high), density bytes over
    (time, cells), particles and atoms as 16-bit places in the window, and outlines of the stationary measure.
    """
    times, rows = density_rows.rows_of(output)
    if len(times) < 2 or not rows:
        return None
    kept = np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_TIMES)).round().astype(int))
    colours = (np.array([DENSITY_MAP(k / 255.0)[:3] for k in range(256)]) * 255.0).round().astype(int)
    return {
        "times": [float(t) for t in times[kept]],
        "colours": colours.tolist(),
        "rows": [_row(row, kept) | {"id": f"row-{k}"} for k, row in enumerate(rows[:MOST_ROWS])],
    }


def _row(row: figures.Row, kept: NDArray[np.int64]) -> dict[str, Any]:
    two = len(row.names) == 2
    if row.density is not None:
        found = _map(row, kept) if two else _curve(row, kept)
    else:
        found = _atoms(row, kept)
    low, high = np.array(found["low"]), np.array(found["high"])
    labels = [_label(name, kind) for name, kind in zip(row.names, row.kinds, strict=True)]
    found["labels"] = labels if two else [labels[0], found.pop("across")]
    found["plane"] = two
    found["label"] = {"limit": "the limit"}.get(row.label, row.label)
    found["tag"] = row.tag.replace("$", "")
    found["particles"], found["count"] = None, 0
    if row.particles is not None:
        chosen = row.particles[kept][:, :MOST_DOTS]
        found["particles"] = _places(chosen, low[: chosen.shape[-1]], high[: chosen.shape[-1]])
        found["count"] = chosen.shape[1]
    return found


def _map(row: figures.Row, kept: NDArray[np.int64]) -> dict[str, Any]:
    """A density over two coordinates on a square-root scale of colours."""
    assert row.density is not None
    maps = row.density[kept]
    seen = maps if row.stationary is None else np.concatenate([maps, row.stationary[None]])
    windows = [window(x, seen.sum(axis=2 - k)) for k, x in enumerate(row.centers)]
    parts, ends = zip(*(_cells(x, w) for x, w in zip(row.centers, windows, strict=True)), strict=True)
    maps = _averaged(maps, parts)
    norm, _ = shared_norm(maps)
    found = {
        "low": [end[0] for end in ends],
        "high": [end[1] for end in ends],
        "shape": list(maps.shape[1:]),
        "density": _bytes(np.ma.getdata(norm(maps))),
        "stationary": [],
    }
    if row.stationary is not None:
        found["stationary"] = _outlines(_averaged(row.stationary[None], parts)[0])
    return found


def _curve(row: figures.Row, kept: NDArray[np.int64]) -> dict[str, Any]:
    """A density over one coordinate; the height of the picture does not follow a narrow start."""
    assert row.density is not None
    curves = row.density[kept]
    seen = curves if row.stationary is None else np.concatenate([curves, row.stationary[None]])
    if row.kinds[0] == "circle":
        part, end = (0, len(row.centers[0]), 1), (-np.pi, np.pi)
    else:
        part, end = _cells(row.centers[0], window(row.centers[0], seen), 4 * MOST_CELLS)
    curves = _averaged(curves, (part,))
    top = 1.1 * float(min(curves.max(), 2.5 * np.median(curves.max(axis=1))))
    found: dict[str, Any] = {"low": [end[0], 0.0], "high": [end[1], top], "across": "density"}
    found |= {"shape": [curves.shape[1]], "density": _bytes(curves / top), "stationary": []}
    if row.stationary is not None:
        rest = _averaged(row.stationary[None], (part,))[0] / top
        found["stationary"] = [[[(k + 0.5) / len(rest), round(float(y), 4)] for k, y in enumerate(rest)]]
    return found


def _atoms(row: figures.Row, kept: NDArray[np.int64]) -> dict[str, Any]:
    """Weighted atoms, the heaviest of them, area as weight; on a line their places beside the largest weight."""
    assert row.atoms is not None and row.weights is not None
    heavy = np.sort(np.argsort(-row.weights, kind="stable")[:MOST_DOTS])
    atoms, share = row.atoms[kept][:, heavy], row.weights[heavy] / row.weights.max()
    visible = atoms[:, share > 1e-3]
    low, high = visible.min(axis=(0, 1)), visible.max(axis=(0, 1))
    margin = 0.06 * np.maximum(high - low, 1e-12)
    low, high = low - margin, high + margin
    if atoms.shape[-1] == 1:
        atoms = np.concatenate([atoms, np.broadcast_to(share[None, :, None], atoms.shape)], axis=-1)
        low, high = np.append(low, 0.0), np.append(high, 1.05)
    return {
        "low": low.tolist(),
        "high": high.tolist(),
        "shape": [],
        "across": "weight of the atom",
        "density": None,
        "stationary": [],
        "atoms": _places(atoms, low, high),
        "weights": [round(1.0 + 7.0 * float(np.sqrt(s)), 2) for s in share],
    }


def _label(name: str, kind: str) -> str:
    return f"|{name}|" if kind == "radius" else name


def _cells(x: Array, seen: tuple[float, float], most: int = MOST_CELLS) -> tuple[tuple[int, int, int], Any]:
    """(first, last, block) of the cells in a window, as many as blocks of them are drawn; and the ends of these."""
    inside = np.flatnonzero((x >= seen[0]) & (x <= seen[1]))
    first, count = int(inside[0]), len(inside)
    block = -(-count // most)
    count -= count % block
    half = 0.5 * (x[1] - x[0])
    return (first, first + count, block), (float(x[first] - half), float(x[first + count - 1] + half))


def _averaged(values: Array, parts: tuple[tuple[int, int, int], ...]) -> Array:
    """values [K, n, ...] cropped and averaged over blocks of cells."""
    for axis, (first, last, block) in enumerate(parts, start=1):
        values = values.take(np.arange(first, last), axis=axis)
        shape = (*values.shape[:axis], (last - first) // block, block, *values.shape[axis + 1 :])
        values = values.reshape(shape).mean(axis=axis + 1)
    return values


def _outlines(density: Array) -> list[list[list[float]]]:
    """Paths around 50 % and 95 % of the mass, in shares of the window."""
    from contourpy import contour_generator

    n, m = density.shape
    generator = contour_generator((np.arange(n) + 0.5) / n, (np.arange(m) + 0.5) / m, density.T)
    paths = [path for level in mass_levels(density) for path in generator.lines(level)]
    return [[[round(x, 4), round(y, 4)] for x, y in np.asarray(path).tolist()] for path in paths]


def _bytes(shares: Array) -> str:
    """Shares of the largest colour or height as bytes in base64."""
    return _text(np.clip(shares * 255.0, 0.0, 255.0).round().astype(np.uint8))


def _places(values: Array, low: Array, high: Array) -> str:
    """Places in a window as 16-bit shares of it and 2 % around it, in base64; what lies farther out ends there."""
    shares = np.clip((values - low) / (high - low), -0.02, 1.02)
    return _text(((shares + 0.02) / 1.04 * 65535.0).round().astype("<u2"))


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
