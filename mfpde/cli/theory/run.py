"""Run one topic of ``mfpde theory``: measure, print, and with -o write its numbers and its figure."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any, Protocol

from mfpde.cli import common
from mfpde.cli import directory as directories
from mfpde.io import studies

log = logging.getLogger("mfpde")


class Topic(Protocol):
    """What a module of this package provides."""

    def measure(self, args: argparse.Namespace) -> dict[str, Any]: ...
    def table(self, result: dict[str, Any]) -> str: ...
    def figure(self, result: dict[str, Any]) -> Any: ...


def add_source(parser: argparse.ArgumentParser, default: str = studies.DEFAULT) -> None:
    """The arguments that topics share: a study or an output, overrides, where to write."""
    parser.add_argument(
        "source",
        nargs="?",
        default=default,
        metavar="SOURCE",
        help=f"a run directory or .h5 file of solve, a TOML file, or a built-in study (default: {default})",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="also write the numbers as JSON and a figure there")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of a study; repeatable"
    )
    parser.add_argument(
        "--threads", type=int, default=None, metavar="N", help="threads; the result does not depend on it"
    )


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e300:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number above 0")
    return value


def count(text: str) -> int:
    """An integer from 1 to 1000, for argparse."""
    if not (text.isdecimal() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not an integer from 1 to 1000")
    return int(text)


def run(topic: Topic, name: str, args: argparse.Namespace) -> int:
    """Measure and tell; returns the exit code."""
    from threadpoolctl import threadpool_limits

    from mfpde.core import parallel

    with threadpool_limits(1), parallel.team(args.threads or os.cpu_count() or 1):
        result = topic.measure(args)
    files = [] if args.output is None else directories.write_measured(Path(args.output), name, result, topic.figure)
    if args.json:
        common.print_json({"ok": True, "topic": name, "files": files} | result)
        return 0
    print(topic.table(result))
    for file in files:
        log.info("wrote %s", file)
    return 0
