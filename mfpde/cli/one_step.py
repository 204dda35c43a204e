"""``mfpde one-step``: exact asymptotics after one gradient step, beside networks and models of finite size."""

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
from mfpde.io.one_step import config as configs
from mfpde.io.tables import to_toml

if TYPE_CHECKING:
    from mfpde.io.one_step.run import Outcome

log = logging.getLogger("mfpde")

FILE, RESUMED = "one-step.h5", "keeps its finished seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    common.add_study(parser, studies.names(configs.VERB)[0])
    parser.add_argument("--no-simulation", action="store_true", help="the theory alone, in seconds")
    directories.add_arguments(parser, "finished seeds")
    common.add_run_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run the study; returns the exit code."""
    study = configs.load(args.study, common.overrides(args))
    began = time.perf_counter()
    if not args.no_simulation:
        configs.require_simulable(study.config)
    processes = args.threads or os.cpu_count() or 1
    if args.dry_run:
        return _dry_run(args, study, processes)
    directory = directories.choose(args, study.name)
    directories.refuse_overwriting(args, directory, (FILE,), RESUMED)

    # from here on the numerics are imported: seconds, that no mistake above should cost
    from threadpoolctl import threadpool_limits

    # BLAS sums differ between thread counts; processes share the seeds instead
    with threadpool_limits(1):
        result = _write(args, study, directory, processes)
    result["wall_s"] = time.perf_counter() - began
    directories.write_summary(directory, result)
    if args.json:
        common.print_json(result)
    else:
        from mfpde.cli.one_step_table import table

        print(table(result))
    return 0


def _dry_run(args: argparse.Namespace, study: configs.Loaded, processes: int) -> int:
    from mfpde.io.one_step.estimate import estimate

    found = estimate(study.config, processes, not args.no_simulation)
    line = (
        f"{found['seeds']} seeds in {found['processes']} processes, about {found['seconds']:.2g} s; "
        f"{found['bytes'] / 2**20:.0f} MiB at a time, libraries included"
    )
    return directories.show_plan(args, study.name, to_toml(study.config), found, [line])


def _write(args: argparse.Namespace, study: configs.Loaded, directory: Path, processes: int) -> dict[str, Any]:
    """Everything a run writes but its summary, under a lock; a failure before that leaves no directory behind."""
    from mfpde.cli.progress import progress
    from mfpde.io.one_step import run as runs

    log.info("%s: %s", study.name, study.config.title)
    with progress("theory", 1.0, args.quiet) as update:
        theory = runs.run_theory(study, processes, update)
    with directories.claimed_for(args, directory, FILE, RESUMED):
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


def _result(args: argparse.Namespace, study: configs.Loaded, directory: Path, found: Outcome) -> dict[str, Any]:
    from mfpde.io.one_step.numbers import numbers

    result = directories.head(study.name, study.config.title, directory, FILE)
    result |= numbers(study.config, found)
    if not args.no_figures:
        from mfpde.cli.one_step_figures import draw

        result["figures"] = directories.draw(directory, {"one-step": draw(study.config, found)})
    return result
