"""``mfpde compare A B``: two outputs against each other; with a tolerance a diff, without one a physical comparison."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from mfpde.cli import common
from mfpde.errors import FileSystemError

if TYPE_CHECKING:
    from mfpde.io.difference import Difference

NAMES = ("limit.h5", "particles.h5")
METRICS = ("w2", "function", "moments", "risk", "all", "ot")
MEASURES = ("chaos", "oracle", "convergence", "step")
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare A, B, the metric and the tolerances."""
    parser.description = (
        "Compare two outputs of solve: files, or run directories, whose files of one name are compared. With --rtol or"
        " --atol this is a diff of every group, variable, axis, attribute and number (wall-clock seconds, date, version"
        " and the mark of a finished run left out): exit 0 if all agree, 1 if not. Without, it is a comparison of the"
        " physics at the common times. The metrics chaos (errors of finite networks over widths and times, with rates,"
        " constants and sups), oracle (finite networks at rest, without time stepping), convergence (decay of F - F*"
        " and its theoretical rates) and step (bias of the time step, from two ensembles) take a run directory alone,"
        " or the files that they need."
    )
    parser.add_argument("first", metavar="A", help="an output file or run directory")
    parser.add_argument("second", metavar="B", nargs="?", help="another; chaos, oracle, convergence need A alone")
    parser.add_argument(
        "--metric",
        choices=(*METRICS, *MEASURES),
        default="all",
        help="what to compare (default: all physics but ot, the exact joint W2 by the package POT)",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="also write the numbers as JSON and a figure there")
    parser.add_argument(
        "--precision",
        type=_tolerance,
        default=0.05,
        metavar="P",
        help="chaos: the half width of an exponent for which the replicas are counted (default: 0.05)",
    )
    parser.add_argument(
        "--draws", type=_draws, default=20_000, metavar="M", help="chaos, oracle: networks per width (default: 20000)"
    )
    parser.add_argument("--widths", type=_draws, nargs="+", metavar="N", help="oracle: widths (default: 4 to 2048)")
    parser.add_argument("--rtol", type=_tolerance, metavar="R", help="diff: allow |a - b| <= A + R max(|a|, |b|)")
    parser.add_argument("--atol", type=_tolerance, metavar="A", help="diff: see --rtol; 0 where left out")


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of at least 0")
    return value


def _draws(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 10**7):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not an integer from 1 to 10 million")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Compare; exit code 1 only for a diff that finds something."""
    for path in (args.first, args.second):
        _require(path)
    if args.metric in MEASURES:
        from mfpde.cli import measure

        return measure.run(args, _measured(args))
    if args.second is None:
        raise common.UsageError("B is missing: name a second output", "chaos, oracle and convergence need A alone")
    if args.rtol is None and args.atol is None:
        return _compare(args)
    return _diff(args)


def _require(path: str | None) -> str:
    if path is not None and not os.path.exists(path):
        raise FileSystemError(f"there is no file or directory {path}")
    return path or ""


def _measured(args: argparse.Namespace) -> list[str]:
    """The files behind A and B that a measure reads: of a directory those of its kind."""
    if args.rtol is not None or args.atol is not None:
        raise common.UsageError(f"--metric {args.metric} is no diff: it takes neither --rtol nor --atol")
    wanted = {"chaos": NAMES, "step": NAMES[1:]}.get(args.metric, NAMES[:1])
    found = []
    for path in (args.first, args.second):
        if path is None:
            continue
        found += [os.path.join(path, n) for n in _inside(path) if n in wanted] if os.path.isdir(path) else [path]
    return found


def _inside(path: str) -> list[str]:
    found = [name for name in NAMES if os.path.isfile(os.path.join(path, name))]
    if not found:
        raise FileSystemError(f"{path} holds no output: neither {' nor '.join(NAMES)}")
    return found


def _pairs(first: str, second: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Files to compare, and files that only one of two directories has; a file meets its namesake in a directory."""
    if os.path.isdir(first) and os.path.isdir(second):
        one, other = _inside(first), _inside(second)
        alone = [os.path.join(first, n) for n in one if n not in other]
        alone += [os.path.join(second, n) for n in other if n not in one]
        return [(os.path.join(first, n), os.path.join(second, n)) for n in one if n in other], alone
    if os.path.isdir(first):
        return [(_require(os.path.join(first, os.path.basename(second))), second)], []
    if os.path.isdir(second):
        return [(first, _require(os.path.join(second, os.path.basename(first))))], []
    return [(first, second)], []


# ---- diff ------------------------------------------------------------------------------------------------------


def _diff(args: argparse.Namespace) -> int:
    from mfpde.io.difference import Tolerance, differences

    tolerance = Tolerance(args.rtol or 0.0, args.atol or 0.0)
    pairs, alone = _pairs(args.first, args.second)
    found = [(a, b, differences(a, b, tolerance)) for a, b in pairs]
    count = len(alone) + sum(len(each) for _, _, each in found)
    if args.json:
        files = [{"a": a, "b": b, "differences": [asdict(d) for d in each]} for a, b, each in found]
        common.print_json({"ok": True, "same": count == 0, "files": files, "without_counterpart": alone})
        return int(count > 0)
    for path in alone:
        print(f"{path} has no counterpart")
    for a, b, each in found:
        _print_differences(a, b, each)
    if count == 0:
        print("equal: every group, variable, axis, attribute and number")
    return int(count > 0)


def _print_differences(first: str, second: str, found: list[Difference]) -> None:
    if found:
        print(f"{first} and {second} differ in {len(found)} place{'s' if len(found) > 1 else ''}:")
    for d in found[:SHOWN]:
        line = f"  {d.place} {d.what}"
        if d.count is not None:
            line += f": {d.count} of {d.total}"
        if d.largest_absolute is not None:
            line += f", by at most {d.largest_absolute:.3e} absolute, {d.largest_relative:.3e} relative"
        print(line + (f"; {d.where}" if d.where else ""))
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN} more")


# ---- physics ---------------------------------------------------------------------------------------------------


def _compare(args: argparse.Namespace) -> int:
    from mfpde.cli import comparison_table
    from mfpde.io.compare_files import METRICS as KNOWN
    from mfpde.io.compare_files import compare_outputs
    from mfpde.io.outputs import open_output

    metrics = [m for m in KNOWN if m != "ot"] if args.metric == "all" else [args.metric]
    pairs, _ = _pairs(args.first, args.second)
    if not pairs:  # a limit alone against particles alone
        pairs = [(os.path.join(args.first, _inside(args.first)[0]), os.path.join(args.second, _inside(args.second)[0]))]
    results = [compare_outputs(open_output(a), open_output(b), metrics) for a, b in pairs]
    if args.json:
        same = all(result["largest"] == 0.0 for result in results)
        common.print_json({"ok": True, "same": same, "comparisons": results})
    else:
        print("\n\n".join(comparison_table.table(result) for result in results))
    return 0
