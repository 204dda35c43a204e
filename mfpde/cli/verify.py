"""``mfpde verify``: measure orders, conservation laws, identities and exact solutions, and print them as a table."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from mfpde.cli import common
from mfpde.cli.progress import progress

if TYPE_CHECKING:
    from mfpde.verification import Check

Table = list[tuple[str, list["Check"], float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--only TEXT``."""
    parser.add_argument("--only", metavar="TEXT", default="", help="only the groups whose title contains TEXT")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if every line passes, 1 otherwise."""
    from mfpde import verification  # imports numba and scipy

    groups = [group for group in verification.GROUPS if args.only.lower() in group[0].lower()]
    if not groups:
        titles = ", ".join(title for title, _ in verification.GROUPS)
        raise common.UsageError(f"no group of checks has '{args.only[:60]}' in its title", f"the groups are {titles}")
    table: Table = []
    start = time.perf_counter()
    with progress("verify", len(groups), args.quiet) as update:
        for done, (title, measure) in enumerate(groups, 1):
            before = time.perf_counter()
            rows = measure()
            table.append((title, rows, time.perf_counter() - before))
            update(done)
    failed = sum(not row.passed for _, rows, _ in table for row in rows)
    wall = time.perf_counter() - start
    if args.json:
        groups_out = [
            {"title": title, "wall_s": wall_s, "checks": [asdict(row) for row in rows]} for title, rows, wall_s in table
        ]
        common.print_json({"ok": failed == 0, "failed": failed, "wall_s": wall, "groups": groups_out})
    else:
        print(_text(table, failed, wall))
    return 1 if failed else 0


def _text(table: Table, failed: int, wall: float) -> str:
    rows = [row for _, group, _ in table for row in group]
    width = max(len(row.name) for row in rows)
    lines = []
    for title, group, _ in table:
        lines.append(f"{title}")
        lines += [
            f"  {row.name:<{width}}  {row.measured:>16.10g}  {row.expected:>15.10g}  {row.tolerance:<10}  "
            f"{'pass' if row.passed else 'FAIL'}"
            for row in group
        ]
    verdict = "all passed" if failed == 0 else f"{failed} FAILED"
    heading = f"  {'':<{width}}  {'measured':>16}  {'expected':>15}  {'tolerance':<10}"
    return "\n".join([heading.rstrip(), *lines, f"{len(rows)} checks in {wall:.1f} s: {verdict}"])
