"""``mfpde report DIR``: one self-contained page about a run: numbers, certificate, film, figures, study, provenance."""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.errors import ConfigError, DataFileError, FileSystemError

if TYPE_CHECKING:
    from mfpde.cli.arrays import Output
    from mfpde.cli.report_page import Page

log = logging.getLogger("mfpde")

PAGE, SUMMARY = "report.html", "summary.json"
FOLLOWED = 10  # seconds between two pages about a run that goes on
# entries of a summary that name the machine or repeat the page
_UNTOLD = ("ok", "directory", "files", "figures", "title", "study", "topic", "data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare DIR and where to."""
    parser.description = (
        "Write one HTML page about the output of any verb: its numbers, what is proved about them, the density and the"
        " particles over time under a slider, the figures, the study and where all of it comes from. The page needs"
        " neither a network nor other files: send it, keep it, open it in any browser."
    )
    parser.add_argument("directory", metavar="DIR", help="an output directory of mfpde")
    parser.add_argument("-o", "--output", metavar="PATH", help=f"where to write (default: DIR/{PAGE})")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing page")
    parser.add_argument(
        "--follow",
        nargs="?",
        type=common.count(1),
        const=FOLLOWED,
        metavar="SECONDS",
        help=f"while the run goes on, write the page anew every so often (default: {FOLLOWED}); it reloads itself",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and say where."""
    directory = Path(args.directory)
    target = Path(args.output) if args.output else directory / PAGE
    if not directory.is_dir():
        raise FileSystemError(f"there is no directory {directory}", "name an output directory of mfpde")
    if target.exists() and not args.overwrite:
        raise ConfigError("-o", f"is {target}, which exists", "--overwrite replaces it")

    page, size = _written(directory, target) if args.follow is None else _followed(directory, target, args.follow)
    if args.json:
        found = {"page": str(target), "bytes": size, "figures": list(page.figures), "film": page.film is not None}
        common.print_json({"ok": True, **found})
    else:
        print(f"{target}: {size / 2**20:.1f} MiB, {len(page.figures)} figures")
    return 0


def _written(directory: Path, target: Path, reload: int | None = None) -> tuple[Page, int]:
    """Write the page of a directory as it is now; ``reload`` seconds until a browser should look again."""
    from mfpde.cli import report_page
    from mfpde.io import atomic

    page = page_of(directory, reload)
    data = report_page.render(page).encode()
    atomic.save(target, data)
    return page, len(data)


def _followed(directory: Path, target: Path, seconds: int) -> tuple[Page, int]:
    """Write the page every so many seconds as long as a process writes into the directory, and once after."""
    from mfpde.io import atomic

    told = False
    while atomic.writer(directory) is not None:
        if any(directory.glob("*.h5")):
            _written(directory, target, seconds)
            log.info("%s; it reloads itself", target) if not told else log.debug("%s written anew", target)
            told = True
        time.sleep(seconds)
    return _written(directory, target)


def page_of(directory: Path, reload: int | None = None) -> Page:
    """What a directory allows to tell, ``reload`` seconds before it should be looked at again.

    Raises FileSystemError where nothing of mfpde is in it, else as the readers.
    """
    from mfpde.cli.report_page import Page

    outlines = _outlines(directory)
    summary = _summary(directory)
    figures = {path.stem: path.read_bytes() for path in sorted(directory.glob("*.png"))}
    if not outlines and not summary:
        raise FileSystemError(f"{directory} holds no output of mfpde", "name a directory that a verb has written")
    first: dict[str, Any] = next(iter(outlines.values()), {"attributes": {}})["attributes"]
    title = str(first.get("title") or summary.get("title") or summary.get("topic") or directory.resolve().name)
    output, film = _solved(directory, outlines), None
    if output is not None:
        from mfpde.cli import report_film

        film = report_film.film_of(output)
        figures = figures or _drawn(output)
    unfinished = [name for name, outline in outlines.items() if not outline["attributes"].get("finished")]
    if reload is None:
        warnings = [f"{name} is of an unfinished run; mfpde continues it with --resume." for name in unfinished]
    else:
        warnings = [f"The run goes on: this page looks again every {reload} s as long as mfpde report --follow runs."]
    return Page(
        title=title,
        about=_about(summary, first),
        warnings=warnings,
        reload=reload,
        summary={key: value for key, value in summary.items() if key not in _UNTOLD},
        certificate=list(_certificate(outlines, summary)),
        film=film,
        figures=_ordered(figures),
        study=str(first.get("config", "")),
        provenance=list(_provenance(outlines)),
    )


def _outlines(directory: Path) -> dict[str, dict[str, Any]]:
    from mfpde.io import store  # imports h5py

    return {path.name: store.outline(path) for path in sorted(directory.glob("*.h5"))}


def _summary(directory: Path) -> dict[str, Any]:
    """summary.json, else the numbers of the topics of theory or of compare; several side by side under their names."""
    found: dict[str, Any] = {}
    for path in [directory / SUMMARY] if (directory / SUMMARY).exists() else sorted(directory.glob("*.json")):
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataFileError(f"{path} is no JSON that can be read: {error}") from None
        if isinstance(held, dict):
            found[path.stem] = held
    return next(iter(found.values())) if len(found) == 1 else found


def _solved(directory: Path, outlines: dict[str, dict[str, Any]]) -> Output | None:
    """The arrays of a run of solve; None for other verbs."""
    if not {"limit.h5", "particles.h5"} & outlines.keys():
        return None
    from mfpde.cli import arrays, sources

    return arrays.read(sources.find(directory))


def _drawn(output: Output) -> dict[str, bytes]:
    """The figures of a run that were not drawn when it ran."""
    from mfpde import figures
    from mfpde.cli import drawing

    found = {}
    for name, function in drawing.FIGURES.items():
        with figures.style():
            figure = function(output)
        if figure is not None:
            found[name] = figures.render(figure)
    return found


def _ordered(figures: dict[str, bytes]) -> dict[str, bytes]:
    """The overview first."""
    return {name: figures[name] for name in sorted(figures, key=lambda name: (name != "overview", name))}


def _about(summary: dict[str, Any], attributes: dict[str, Any]) -> str:
    known = (attributes.get("study") or summary.get("study"), summary.get("data"))
    return " · ".join(str(text) for text in known if text)


def _certificate(outlines: dict[str, dict[str, Any]], summary: dict[str, Any]) -> Iterator[str]:
    """What the dual proves about the stationary measure and the end of the run, in words."""
    limit = outlines.get("limit.h5")
    if limit is None:
        return
    if "/stationary" not in limit["groups"]:
        yield "There is no stationary measure in this output (at temperature 0 none is computed), hence no certificate."
        return
    rest = limit["groups"]["/stationary"]["attributes"]
    energy, dual, gap = float(rest["free_energy"]), float(rest["dual"]), float(rest["gap"])
    yield (
        f"The stationary measure that was found has the free energy F = {energy:.10g}, after {rest['newton_steps']}"
        f" Newton steps. {_bound(dual, gap)}"
    )
    end = summary.get("limit") or {}
    if math.isfinite(dual) and isinstance(end.get("gap"), float):
        yield (
            f"The run itself ends at t = {end['time']:g} with the free energy {end['free_energy']:.10g}, which its own"
            f" dual proves to be at most {end['gap']:.2e} above the minimum."
        )
    yield (
        "All this is about the problem on this grid and holds to the rounding of double precision; what the grid costs"
        " is measured by refining it."
    )


def _bound(dual: float, gap: float) -> str:
    if math.isfinite(dual):
        return (
            f"Its dual variables give the value D = {dual:.10g}. The risk is convex, so no measure on this grid has a"
            f" free energy below D: F is the minimum, up to F - D = {gap:.2e} at most."
        )
    return (
        "The risk is not convex in the measure, so nothing excludes other stationary measures. How far this one is from"
        f" its own Gibbs measure: temperature times KL(rho|p_rho) = {gap:.2e}, zero exactly at rest."
    )


def _provenance(outlines: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    first = next(iter(outlines.values()), None)
    if first is None:
        return
    a = first["attributes"]
    for name in ("source", "created", "seed", "config_sha256"):
        if name in a:
            yield {"source": "written by", "config_sha256": "study sha256"}.get(name, name), str(a[name])
    for file, outline in outlines.items():
        groups = ", ".join(outline["groups"])
        state = "finished" if outline["attributes"].get("finished") else "NOT finished"
        yield file, f"{state}; {groups}"
    kind = str(a.get("kind", ""))
    verb = kind if kind in ("one-step", "kernel-limit", "deep") else "" if kind == "theory" else "solve"
    if verb:
        file = next(iter(outlines))
        yield "again", f"mfpde info {file} --config > study.toml; mfpde {verb} study.toml -o again"
