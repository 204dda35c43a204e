"""``mfpde deep``: the infinite-width limit of L-layer networks under muP, beside networks of finite width."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.cli import directory as directories
from mfpde.errors import ConfigError
from mfpde.io import studies
from mfpde.io.deep import config as configs
from mfpde.io.tables import to_toml

if TYPE_CHECKING:
    from mfpde.io.deep.data import Samples
    from mfpde.io.deep.findings import Findings

log = logging.getLogger("mfpde")

FILE, RESUMED = "deep.h5", "continues that run"
PARTS = ("limit", "widths")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    common.add_study(parser, studies.names(configs.VERB)[0])
    parser.add_argument("--only", choices=PARTS, help="run this part alone; --resume adds the other")
    directories.add_arguments(parser, "the state")
    common.add_run_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run the study; returns the exit code."""
    study = configs.load(args.study, common.overrides(args))
    began = time.perf_counter()
    processes = args.threads or os.cpu_count() or 1
    if not args.dry_run:
        directory = directories.choose(args, study.name)
        directories.refuse_overwriting(args, directory, (FILE,), RESUMED)

    # from here on the numerics are imported: seconds, that no mistake above should cost
    from mfpde.io.deep.data import read_samples

    samples = read_samples(study)
    if args.dry_run:
        return _dry_run(args, study, samples, processes)
    _refuse_too_large(args, study, samples, processes)
    from threadpoolctl import threadpool_limits

    # BLAS sums differ between thread counts; processes share replicates and seeds instead
    with threadpool_limits(1):
        result = _write(args, study, samples, directory, processes)
    result["wall_s"] = time.perf_counter() - began
    directories.write_summary(directory, result)
    if args.json:
        common.print_json(result)
    else:
        from mfpde.cli.deep_table import table

        print(table(result))
    return 0


def _estimate(args: argparse.Namespace, study: configs.Loaded, samples: Samples, processes: int) -> dict[str, Any]:
    from mfpde.io.deep.estimate import estimate

    shape = (len(samples.x), samples.x.shape[1])
    return estimate(study.config, shape, processes, args.only)


def _dry_run(args: argparse.Namespace, study: configs.Loaded, samples: Samples, processes: int) -> int:
    found = _estimate(args, study, samples, processes)
    line = (
        f"{found['tasks']} tasks in {found['processes']} processes, about {found['seconds']:.2g} s; "
        f"{found['bytes'] / 2**20:.0f} MiB at a time, libraries included; operators of about {found['rank']} columns"
    )
    return directories.show_plan(args, study.name, to_toml(study.config), found, [samples.description, line])


def _refuse_too_large(args: argparse.Namespace, study: configs.Loaded, samples: Samples, processes: int) -> None:
    """A run that cannot fit into memory is an error before anything is written, not a crash after hours."""
    from mfpde.tabulate import machine_memory

    needed, memory = _estimate(args, study, samples, processes)["bytes"], machine_memory()
    if needed > memory:
        raise ConfigError(
            "limit.samples" if args.only != "widths" else "finite.widths",
            f"asks for about {needed / 2**30:.3g} GiB, this machine has {memory / 2**30:.3g} GiB",
            "fewer samples, smaller widths, fewer --threads; --dry-run shows the estimate",
        )


def _write(
    args: argparse.Namespace, study: configs.Loaded, samples: Samples, directory: Path, processes: int
) -> dict[str, Any]:
    """Everything a run writes but its summary, under a lock; a failure before that leaves no directory behind."""
    from mfpde.cli.progress import progress
    from mfpde.io.deep.run import run_study

    log.info("%s: %s", study.name, study.config.title or samples.description)
    with directories.claimed_for(args, directory, FILE, RESUMED):
        with progress("deep", 1.0, args.quiet) as update:
            found = run_study(
                study,
                samples,
                str(directory / FILE),
                only=args.only,
                resume=args.resume,
                processes=processes,
                checkpoint=args.checkpoint,
                report=update,
            )
        return _result(args, study, samples, directory, found)


def _result(
    args: argparse.Namespace, study: configs.Loaded, samples: Samples, directory: Path, found: Findings
) -> dict[str, Any]:
    from mfpde.io.deep.numbers import numbers

    result = directories.head(study.name, study.config.title, directory, FILE)
    result |= numbers(study.config, samples, found)
    if not args.no_figures:
        from mfpde.cli.deep_figures import draw

        result["figures"] = directories.draw(directory, draw(study.config, samples, found))
    return result
