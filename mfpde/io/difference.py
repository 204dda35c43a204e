"""What differs between two output files: groups, variables, axes, shapes, types, attributes and numbers.

Everything in the files is compared, /restart too, variable after variable in pieces of a few MiB. Left out, because
they are no results: wall-clock seconds (variables and attributes named ``wall_s``), and at the root ``created``,
``source`` (the version of mfpde), ``finished`` (the state of an intermediate file) and ``config_sha256`` (follows from
the study, which is compared as text). NaN equals NaN, and an infinity itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import DataFileError
from mfpde.io import store, vet

WALL_CLOCK = "wall_s"
NOT_RESULTS = {"created", "source", "finished", "config_sha256"}
PIECE = 8 << 20


@dataclass(frozen=True)
class Difference:
    """One thing that differs at ``place`` ('/limit/density', '/limit@flux'), told in words by ``what``.

    For numbers: ``count`` of ``total`` entries differ by more than the tolerance, by at most ``largest_absolute`` and
    ``largest_relative`` (of the larger of the two); ``where`` is the entry of the largest absolute deviation.
    """

    place: str
    what: str
    count: int | None = None
    total: int | None = None
    largest_absolute: float | None = None
    largest_relative: float | None = None
    where: str | None = None


@dataclass(frozen=True)
class Tolerance:
    """a and b agree if |a - b| <= absolute + relative max(|a|, |b|)."""

    relative: float = 0.0
    absolute: float = 0.0


def differences(first: str, second: str, tolerance: Tolerance = Tolerance()) -> list[Difference]:
    """All differences between two output files, in stored order; an empty list if there are none.

    Raises DataFileError for a file that is damaged or not one of mfpde's, FileSystemError if it cannot be read.
    """
    for path in (first, second):
        store.outline(path)  # vets it, and refuses what mfpde did not write
    with vet.reading(first) as a, vet.reading(second) as b:
        return list(_groups(a, b, tolerance))


def _groups(a: h5py.Group, b: h5py.Group, tolerance: Tolerance) -> Iterator[Difference]:
    yield from _attributes(a, b, tolerance)
    for name in [*a, *(name for name in b if name not in a)]:
        place = f"{a.name.rstrip('/')}/{name}"
        if name not in a or name not in b:
            yield Difference(place, "is in the first file only" if name in a else "is in the second file only")
        elif isinstance(a[name], h5py.Group) != isinstance(b[name], h5py.Group):
            yield Difference(place, "is a group in one file and a variable in the other")
        elif isinstance(a[name], h5py.Group):
            yield from _groups(a[name], b[name], tolerance)
        elif name != WALL_CLOCK:
            yield from _variables(a[name], b[name], tolerance)


def _attributes(a: h5py.HLObject, b: h5py.HLObject, tolerance: Tolerance) -> Iterator[Difference]:
    ignored = {WALL_CLOCK, *(name.decode() for name in vet.SCALE_ATTRIBUTES)}
    if a.name == "/":
        ignored |= NOT_RESULTS
    for name in dict.fromkeys([*a.attrs, *b.attrs]):
        place = f"{a.name}@{name}"
        if name in ignored:
            continue
        if name not in a.attrs or name not in b.attrs:
            yield Difference(place, "is in the first file only" if name in a.attrs else "is in the second file only")
            continue
        x, y = np.asarray(a.attrs[name]), np.asarray(b.attrs[name])
        if "S" in (x.dtype.kind, y.dtype.kind) or x.dtype.kind != y.dtype.kind or x.shape != y.shape:
            if x.tolist() != y.tolist():
                yield Difference(place, _texts(x.tolist(), y.tolist()))
        elif np.any(_deviations(x, y, tolerance)[0]):
            yield Difference(place, f"is {x.tolist()} and {y.tolist()}")


def _texts(x: Any, y: Any) -> str:
    """The first line in which two attributes differ."""
    one, other = (v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in (x, y))
    lines = zip([*one.splitlines(), ""], [*other.splitlines(), ""], strict=False)
    first, second = next(((p, q) for p, q in lines if p != q), (one, other))
    return f"is {first[:100]!r} and {second[:100]!r}"


def _variables(a: h5py.Dataset, b: h5py.Dataset, tolerance: Tolerance) -> Iterator[Difference]:
    yield from _attributes(a, b, tolerance)
    if a.shape != b.shape:
        yield Difference(a.name, f"has the shape {a.shape} and {b.shape}")
        return
    texts = "S" in (a.dtype.kind, b.dtype.kind)
    if a.dtype != b.dtype and not (texts and a.dtype.kind == b.dtype.kind):
        yield Difference(a.name, f"has the type {a.dtype.str.lstrip('<|')} and {b.dtype.str.lstrip('<|')}")
        return
    found = _numbers(a, b, tolerance)
    if found is not None:
        yield found


def _numbers(a: h5py.Dataset, b: h5py.Dataset, tolerance: Tolerance) -> Difference | None:
    count, largest, relative, where = 0, 0.0, 0.0, ""
    for region in _pieces(a):
        x, y = _read(a, region), _read(b, region)
        bad, gap, share = _deviations(x, y, tolerance)
        number = int(np.count_nonzero(bad))
        if number == 0:
            continue
        worst = int(np.argmax(np.where(bad, gap, -1.0)))
        if count == 0 or gap.flat[worst] > largest:
            largest = float(gap.flat[worst])
            where = _where(a, region, np.unravel_index(worst, x.shape), x.flat[worst], y.flat[worst])
        relative = max(relative, float(np.max(np.where(bad, share, 0.0))))
        count += number
    if count == 0:
        return None
    if a.dtype.kind == "S":
        return Difference(a.name, "holds other texts", count, a.size, None, None, where)
    return Difference(a.name, "holds other numbers", count, a.size, largest, relative, where)


def _deviations(
    x: NDArray[Any], y: NDArray[Any], tolerance: Tolerance
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """(beyond the tolerance, |x - y|, that over the larger of the two) per entry; NaN against a number is infinite."""
    with np.errstate(all="ignore"):
        same = x == y
        if x.dtype.kind == "S":
            gap = np.where(same, 0.0, np.inf)
            return ~same, gap, gap
        p, q = np.asarray(x, float), np.asarray(y, float)
        same |= np.isnan(p) & np.isnan(q)
        # integers beyond 2^53 differ in their own arithmetic only
        apart = np.abs(p - q) if x.dtype.kind == "f" else np.asarray(np.maximum(x, y) - np.minimum(x, y), float)
        gap = np.where(same, 0.0, apart)
        gap[np.isnan(gap)] = np.inf
        size = np.maximum(np.abs(p), np.abs(q))
        share = np.where(same, 0.0, gap / size)
        share[np.isnan(share)] = np.inf
        allowed = tolerance.absolute + tolerance.relative * np.where(np.isfinite(size), size, 0.0)
        return ~same & ~(gap <= allowed), gap, share


def _pieces(item: h5py.Dataset) -> Iterator[slice | tuple[()]]:
    """Regions of whole rows of about PIECE bytes that cover a variable."""
    if item.ndim == 0 or item.size == 0:
        yield ()
        return
    rows = max(1, PIECE // max(1, item.nbytes // item.shape[0]))
    for start in range(0, item.shape[0], rows):
        yield slice(start, min(start + rows, item.shape[0]))


def _read(item: h5py.Dataset, region: slice | tuple[()]) -> NDArray[Any]:
    try:
        return np.asarray(item[region])
    except (OSError, RuntimeError) as error:
        raise DataFileError(f"{item.file.filename} is damaged in {item.name}: {str(error)[:200]}") from error


def _where(item: h5py.Dataset, region: slice | tuple[()], index: tuple[Any, ...], x: Any, y: Any) -> str:
    names = np.asarray(item.attrs["axes"]).item().decode().split()
    first = region.start if isinstance(region, slice) else 0
    places = [int(i) + (first if k == 0 else 0) for k, i in enumerate(index)]
    at = ", ".join(f"{name} {i}" for name, i in zip(names, places, strict=True))
    values = f"{x} and {y}" if not isinstance(x, bytes) else f"{x.decode()!r} and {y.decode()!r}"
    return f"{values} at ({at})" if at else values
