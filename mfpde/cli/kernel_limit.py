"""``mfpde kernel-limit``: the kernel limit of a study, beside the flow at finite output scales."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.cli import directory as directories
from mfpde.io import studies
from mfpde.io.kernel_limit import config as configs
from mfpde.io.tables import to_toml

if TYPE_CHECKING:
    from mfpde.io.kernel_limit.run import Outcome

log = logging.getLogger("mfpde")

FILE, RESUMED = "kernel-limit.h5", "keeps its finished scales"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    common.add_study(parser, studies.names(configs.VERB)[0])
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="where to write (default: a new directory named after the study)"
    )
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    common.add_run_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run the study; returns the exit code."""
    study = configs.load(args.study, common.overrides(args))
    began = time.perf_counter()
    directory = directories.choose(args, study.name)
    if not args.dry_run:
        directories.refuse_overwriting(args, directory, (FILE,), RESUMED)

    # from here on the numerics are imported: seconds, that no mistake above should cost
    from threadpoolctl import threadpool_limits

    from mfpde.core import parallel

    # BLAS sums differ between thread counts; our own threads cut the work in pieces that do not depend on them
    with threadpool_limits(1), parallel.team(args.threads or os.cpu_count() or 1):
        if args.dry_run:
            return _dry_run(args, study)
        result = _write(args, study, directory)
    result["wall_s"] = time.perf_counter() - began
    directories.write_summary(directory, result)
    if args.json:
        common.print_json(result)
    else:
        from mfpde.cli.kernel_limit_table import table

        print(table(result))
    return 0


def _dry_run(args: argparse.Namespace, study: configs.Loaded) -> int:
    from mfpde.io.kernel_limit.estimate import estimate

    found = estimate(study)
    line = (
        f"{found['flows']} flows of {found['atoms']} neurons, about {found['seconds']:.2g} s of one core; "
        f"{found['bytes'] / 2**20:.0f} MiB at a time, libraries included"
    )
    return directories.show_plan(args, study.name, to_toml(study.config), found, [line])


def _write(args: argparse.Namespace, study: configs.Loaded, directory: Path) -> dict[str, Any]:
    """Everything a run writes but its summary, under a lock; a failure before that leaves no directory behind."""
    from mfpde.cli.progress import progress
    from mfpde.io.kernel_limit.records import tasks_of
    from mfpde.io.kernel_limit.run import run_study

    log.info("%s: %s", study.name, study.config.title)
    with directories.claimed_for(args, directory, FILE, RESUMED):
        with progress("flows", float(len(tasks_of(study.config))), args.quiet) as update:
            found = run_study(study, str(directory / FILE), resume=args.resume, report=update)
        return _result(args, study, directory, found)


def _result(args: argparse.Namespace, study: configs.Loaded, directory: Path, found: Outcome) -> dict[str, Any]:
    from mfpde.io.kernel_limit.numbers import numbers

    result = directories.head(study.name, study.config.title, directory, FILE)
    result |= numbers(study.config, found)
    if not args.no_figures:
        from mfpde.cli.kernel_limit_figures import draw

        result["figures"] = directories.draw(directory, {"kernel-limit": draw(study.config, found)})
    return result
