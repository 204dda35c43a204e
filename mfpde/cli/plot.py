"""``mfpde plot FILE_OR_DIR…``: the figures of outputs, drawn from their files."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mfpde.cli import common

log = logging.getLogger("mfpde")

KINDS = ("png", "pdf", "svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE_OR_DIR…, -o, --animate and --kind."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="FILE_OR_DIR",
        help="an output directory of mfpde solve, or one of its files; a file brings the other one of its run along",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="where to write (default: beside the files); a directory each for several"
    )
    parser.add_argument(
        "--animate",
        action="store_true",
        help="also write density and particles over time: film.gif, and film.mp4 where imageio-ffmpeg is installed",
    )
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="format of the figures (default: png)")


def run(args: argparse.Namespace) -> int:
    """Draw every run once and print the paths."""
    from mfpde.cli import arrays, drawing, sources  # imports h5py; matplotlib only once all files are sound

    found = [sources.find(Path(name)) for name in args.sources]
    once = {(_real(source.limit), _real(source.particles)): source for source in found}
    runs = [(source, arrays.read(source)) for source in once.values()]
    targets = _targets([source.directory for source, _ in runs], args.output)
    paths = []
    for (source, output), target in zip(runs, targets, strict=True):
        for file, time in source.unfinished.items():
            log.warning("%s is an unfinished run: drawn up to t = %g", file, time)
        drawn = drawing.draw_output(output, target, args.kind)
        if args.animate:
            from mfpde.cli.film import film

            drawn += film(output, target)
        if not drawn:
            log.warning("%s holds nothing to draw yet", source.directory)
        paths += [str(path) for path in drawn]
    if args.json:
        unfinished = [str(file) for source, _ in runs for file in source.unfinished]
        common.print_json({"ok": True, "figures": paths, "unfinished": unfinished})
    else:
        for path in paths:
            print(path)
    return 0


def _real(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _targets(directories: list[Path], output: str | None) -> list[Path]:
    """Where the figures of each run go; UsageError if two runs would write the same files."""
    if output is None:
        targets = directories
    elif len(directories) == 1:
        targets = [Path(output)]
    else:
        targets = [Path(output) / directory.resolve().name for directory in directories]
    for target in targets:
        if targets.count(target) > 1:
            raise common.UsageError(
                f"two of the runs would both write their figures into {target}", "draw them one at a time, each with -o"
            )
    return targets
