"""The output directory of the verbs that run a study: its name, its files, its lock and its summary."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.errors import ConfigError, FileSystemError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY_FILE = "summary.json"


def add_arguments(parser: argparse.ArgumentParser, saved: str) -> None:
    """Flags about what is written and how often ``saved`` ("the state", "finished seeds") is."""
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="where to write (default: a new directory named after the study)"
    )
    parser.add_argument(
        "--checkpoint",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help=f"save {saved} this often (default: 30)",
    )
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of seconds of at least 0")
    return value


def choose(args: argparse.Namespace, name: str) -> Path:
    """The output directory: as asked, else the study's name with the first free number (the last used to resume)."""
    if args.output is not None:
        return Path(args.output)
    candidates = [Path(name), *(Path(f"{name}-{k}") for k in range(2, 10_000))]
    free = next(k for k, path in enumerate(candidates) if not path.exists())
    return candidates[max(free - 1, 0)] if args.resume or args.overwrite else candidates[free]


def refuse_overwriting(args: argparse.Namespace, directory: Path, files: Sequence[str], resumed: str) -> None:
    """Raise where one of ``files`` exists and neither --resume (which does what ``resumed`` says) nor --overwrite is
    given, ConfigError; or where the directory is a file, FileSystemError."""
    if directory.exists() and not directory.is_dir():
        raise FileSystemError(f"{directory} is not a directory", "name another one with -o")
    present = [name for name in files if (directory / name).exists()]
    if present and not (args.resume or args.overwrite):
        raise ConfigError(
            "-o",
            f"{directory} already holds {' and '.join(present)}",
            f"--resume {resumed}, --overwrite replaces it, or name another directory",
        )


def make(directory: Path) -> None:
    """Make the directory if need be; FileSystemError where that fails."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileSystemError(f"cannot make the directory {directory}: {error.strerror}") from None


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Make the directory and hold its lock; a failure before anything was written leaves nothing behind."""
    from mfpde.io.atomic import lock

    made = not directory.exists()
    make(directory)
    try:
        with lock(directory):
            yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


@contextlib.contextmanager
def claimed_for(args: argparse.Namespace, directory: Path, file: str, resumed: str) -> Iterator[None]:
    """``claimed`` for a run that writes ``file``: looked for once more under the lock, removed by --overwrite."""
    with claimed(directory):
        refuse_overwriting(args, directory, (file,), resumed)
        if args.overwrite:
            (directory / file).unlink(missing_ok=True)
        yield


def show_plan(args: argparse.Namespace, study: str, config: str, found: dict[str, Any], lines: Sequence[str]) -> int:
    """What --dry-run prints: the resolved study as TOML and the estimate, as JSON or in ``lines``; exit code 0."""
    if args.json:
        common.print_json({"ok": True, "study": study, "config": config, "estimate": found})
        return 0
    print(config)
    for line in lines:
        print(f"# {line}")
    return 0


def head(study: str, title: str, directory: Path, file: str) -> dict[str, Any]:
    """What the result of every run begins with."""
    return {"ok": True, "study": study, "title": title, "directory": str(directory), "files": [str(directory / file)]}


def draw(directory: Path, figures_by_name: dict[str, Figure]) -> list[str]:
    """Save NAME.png of every figure, complete or not at all; returns their paths."""
    from mfpde import figures
    from mfpde.io.atomic import save

    paths = [directory / f"{name}.png" for name in figures_by_name]
    for path, figure in zip(paths, figures_by_name.values(), strict=True):
        save(path, figures.render(figure, "png"))
    return [str(path) for path in paths]


def save_json(path: Path, result: dict[str, Any]) -> None:
    """Write ``result`` as one JSON file, complete or not at all."""
    from mfpde.io.atomic import save

    text = json.dumps(common.plain(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    save(path, memoryview(text.encode()))


def write_summary(directory: Path, result: dict[str, Any]) -> None:
    """Write ``result`` as summary.json and add its path to ``result["files"]``."""
    save_json(directory / SUMMARY_FILE, result)
    result["files"] = [*result["files"], str(directory / SUMMARY_FILE)]


def write_measured(
    directory: Path, name: str, result: dict[str, Any], draw: Callable[[dict[str, Any]], Figure | None]
) -> list[str]:
    """Write NAME.json and, where ``draw`` returns a figure, NAME.png; returns their paths."""
    from mfpde import figures
    from mfpde.io.atomic import lock, save

    table, picture = directory / f"{name}.json", directory / f"{name}.png"
    with figures.style():
        figure = draw(result)
    make(directory)
    with lock(directory):  # sweeps what a killed process has left
        save_json(table, result)
        if figure is None:
            return [str(table)]
        save(picture, figures.render(figure, "png"))
    return [str(table), str(picture)]
