"""``mfpde one-step``: exact asymptotics after one gradient step, beside networks and models of finite size."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.errors import ConfigError, FileSystemError
from mfpde.io import studies
from mfpde.io.one_step import config as configs
from mfpde.io.tables import to_toml

if TYPE_CHECKING:
    from mfpde.io.one_step.run import Outcome

log = logging.getLogger("mfpde")

FILE, SUMMARY_FILE, FIGURE = "one-step.h5", "summary.json", "one-step.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    default = studies.names(configs.VERB)[0]
    parser.add_argument(
        "study",
        nargs="?",
        default=default,
        metavar="STUDY",
        help=f"a TOML file, - for standard input, or a built-in name (default: {default})",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="where to write (default: a new directory named after it)"
    )
    parser.add_argument("--no-simulation", action="store_true", help="the theory alone, in seconds")
    parser.add_argument(
        "--checkpoint", type=_seconds, default=10.0, metavar="SECONDS", help="save finished seeds this often"
    )
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    common.add_run_flags(parser)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of seconds of at least 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Run the study; returns the exit code."""
    study = configs.load(args.study, common.overrides(args))
    began = time.perf_counter()
    if not args.no_simulation:
        configs.require_simulable(study.config)
    processes = args.threads or os.cpu_count() or 1
    if args.dry_run:
        return _dry_run(args, study, processes)
    directory = _directory(args, study.name)
    _refuse_overwriting(args, directory)

    # from here on the numerics are imported: seconds, that no mistake above should cost
    from threadpoolctl import threadpool_limits

    # BLAS sums differ between thread counts; processes share the seeds instead
    with threadpool_limits(1):
        result = _write(args, study, directory, processes)
    result["wall_s"] = time.perf_counter() - began
    _write_summary(directory, result)
    if args.json:
        common.print_json(result)
    else:
        from mfpde.cli.one_step_table import table

        print(table(result))
    return 0


def _dry_run(args: argparse.Namespace, study: configs.Loaded, processes: int) -> int:
    from mfpde.io.one_step.estimate import estimate

    found = estimate(study.config, processes, not args.no_simulation)
    if args.json:
        common.print_json({"ok": True, "study": study.name, "config": to_toml(study.config), "estimate": found})
        return 0
    print(to_toml(study.config))
    print(
        f"# {found['seeds']} seeds in {found['processes']} processes, about {found['seconds']:.2g} s; "
        f"{found['bytes'] / 2**20:.0f} MiB at a time, libraries included"
    )
    return 0


def _directory(args: argparse.Namespace, name: str) -> Path:
    """As asked, else the study's name with the first free number (the last used to resume)."""
    if args.output is not None:
        return Path(args.output)
    candidates = [Path(name), *(Path(f"{name}-{k}") for k in range(2, 10_000))]
    free = next(k for k, path in enumerate(candidates) if not path.exists())
    return candidates[max(free - 1, 0)] if args.resume or args.overwrite else candidates[free]


def _refuse_overwriting(args: argparse.Namespace, directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise FileSystemError(f"{directory} is not a directory", "name another one with -o")
    if (directory / FILE).exists() and not (args.resume or args.overwrite):
        raise ConfigError(
            "-o",
            f"{directory} already holds {FILE}",
            "--resume keeps its finished seeds, --overwrite replaces it, or name another directory",
        )


def _write(args: argparse.Namespace, study: configs.Loaded, directory: Path, processes: int) -> dict[str, Any]:
    """Everything a run writes but its summary, under a lock; a failure before that leaves no directory behind."""
    from mfpde.cli.progress import progress
    from mfpde.io.atomic import lock
    from mfpde.io.one_step import run as runs

    log.info("%s: %s", study.name, study.config.title)
    with progress("theory", 1.0, args.quiet) as update:
        theory = runs.run_theory(study, processes, update)
    made = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileSystemError(f"cannot make the directory {directory}: {error.strerror}") from None
    try:
        with lock(directory):
            if args.overwrite:
                (directory / FILE).unlink(missing_ok=True)
            total = len(runs.tasks_of(study.config))
            with progress("seeds", float(total), args.quiet or args.no_simulation) as update:
                found = runs.run_study(
                    study,
                    theory,
                    str(directory / FILE),
                    simulate=not args.no_simulation,
                    resume=args.resume,
                    processes=processes,
                    checkpoint=args.checkpoint,
                    report=update,
                )
            return _result(args, study, directory, found)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


def _result(args: argparse.Namespace, study: configs.Loaded, directory: Path, found: Outcome) -> dict[str, Any]:
    from mfpde.io.one_step.numbers import numbers

    result: dict[str, Any] = {"ok": True, "study": study.name, "title": study.config.title}
    result |= {"directory": str(directory), "files": [str(directory / FILE)]}
    result |= numbers(study.config, found)
    if not args.no_figures:
        from mfpde import figures
        from mfpde.cli.one_step_figures import draw

        figures.save(draw(study.config, found), directory / FIGURE)
        result["figures"] = [str(directory / FIGURE)]
    return result


def _write_summary(directory: Path, result: dict[str, Any]) -> None:
    from mfpde.io.atomic import save

    text = json.dumps(common.plain(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    save(directory / SUMMARY_FILE, memoryview(text.encode()))
    result["files"] = [*result["files"], str(directory / SUMMARY_FILE)]
