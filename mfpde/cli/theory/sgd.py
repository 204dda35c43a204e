"""``mfpde theory sgd``: the error of SGD against its limit in four steps, and the width it needs in any dimension."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.cli import directory as directories
from mfpde.cli.theory import run as runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "sgd.h5"
STUDY = "dimension-free"
SWEEPS = ("N", "eps", "t", "d")
DIMENSIONS = (10, 32, 100, 320, 1000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, which sweeps, and their ranges."""
    runner.add_source(parser, STUDY)
    parser.add_argument(
        "--sweeps", type=_sweeps, default=SWEEPS, metavar="NAMES", help="any of N,eps,t,d (default: all)"
    )
    parser.add_argument(
        "--dimensions",
        type=_dimensions,
        default=DIMENSIONS,
        metavar="D,D",
        help=f"of the inputs, for the sweep over d (default: {','.join(map(str, DIMENSIONS))})",
    )
    parser.add_argument(
        "--replicas",
        type=common.count(2),
        metavar="R",
        help="networks of the largest width, narrower ones get more (default: those of the study)",
    )
    parser.add_argument(
        "--tolerance",
        type=runner.positive,
        default=0.01,
        metavar="E",
        help="error of the risk that asks for the width, as a share of the first risk (default: 0.01)",
    )


def _sweeps(text: str) -> tuple[str, ...]:
    chosen = [part.strip() for part in text.split(",")]
    wrong = [part for part in chosen if part not in SWEEPS]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0][:40]!r} is none of {', '.join(SWEEPS)}")
    return tuple(name for name in SWEEPS if name in chosen)


def _dimensions(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or any(not part.isdecimal() or not 3 <= int(part) <= 100_000 for part in parts):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a list of two or more integers from 3 to 100000")
    values = tuple(sorted({int(part) for part in parts}))
    if len(values) != len(parts):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} names a dimension twice")
    return values


def run(args: argparse.Namespace) -> int:
    """Measure and tell."""
    return runner.run(sys.modules[__name__], "sgd", args)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All sweeps; with -o also as sgd.h5."""
    from mfpde.cli.progress import progress
    from mfpde.io.theory.sgd import Plan, measure_sgd, write_sgd
    from mfpde.io.theory.subject import open_subject

    @contextmanager
    def shown(label: str) -> Iterator[Callable[[float], None]]:
        with progress(label, 1.0, args.quiet) as report:
            yield report

    subject = open_subject(args.source, args.set)
    result = measure_sgd(subject, Plan(args.sweeps, args.dimensions, args.replicas, args.tolerance), shown)
    if args.output is not None:
        directories.make(Path(args.output))
        write_sgd(subject, result, str(Path(args.output) / FILE))
    return result


def table(result: dict[str, Any]) -> str:
    """What is run, the exponents beside what is proved, the bias identity, and the needed widths."""
    noise = f"temperature {result['temperature']:g}" if result["temperature"] > 0.0 else "no noise"
    lines = [
        f"{result['title']}: SGD against its limit",
        f"{result['activation']}, {result['data']}; {noise}, batch {result['batch']}",
        f"t = {result['theory_time']:g} of the theory's clock t = k eps, {result['time']:g} of the limit's;"
        f" eps = {result['eps']:g} is a step of {2.0 * result['eps']:g}",
    ]
    if result["exponents"]:
        lines += ["", f"{'step':<33}{'error of':<20}{'in':<6}{'proved':>8}{'measured':>28}   verdict"]
        lines += [_exponent(one) for one in result["exponents"]]
    if result["identity"] is not None:
        lines += ["", *_identity(result["identity"])]
    if result["over_time"] is not None:
        lines += ["", *_over_time(result["over_time"])]
    if result["needed"] is not None:
        lines += ["", *_needed(result["needed"])]
    return "\n".join([*lines, "", f"measured in {result['wall_s']:.0f} s"])


def _exponent(one: dict[str, Any]) -> str:
    measured = f"{one['slope']:.3f}"
    if one["interval"] is not None:
        measured += f" [{one['interval'][0]:.3f}, {one['interval'][1]:.3f}]"
    proved = f"{'<= ' if one['bound'] else ''}{one['proved']:g}"
    return f"{one['step']:<33}{one['quantity']:<20}{one['variable']:<6}{proved:>8}{measured:>28}   {one['verdict']}"


def _identity(found: dict[str, Any]) -> list[str]:
    lines = [f"N (E R_N - R) of independent neurons: exactly {found['exact']:.6g}"]
    lines.append(f"N Var of the first order: exactly {found['fluctuation_exact']:.6g}")
    lines.append(f"{'N':>8}{'replicas':>10}{'N x bias':>24}{'N x variance':>16}")
    rows = zip(found["widths"], found["replicas"], found["measured"], found["sem"], found["fluctuation"], strict=True)
    for width, replicas, value, sem, variance in rows:
        lines.append(f"{width:>8}{replicas:>10}{f'{value:.5f} +- {sem:.5f}':>24}{variance:>16.5f}")
    return lines


def _over_time(found: dict[str, Any]) -> list[str]:
    names = list(found["errors"])
    lines = [f"root mean square error of the risk over time, N = {found['width']}, {found['replicas']} networks"]
    lines.append(f"{'t = k eps':>10}" + "".join(f"{name:>14}" for name in names))
    for k in _some(len(found["times"])):
        values = "".join(f"{found['errors'][name][k]:>14.3e}" for name in names)
        lines.append(f"{found['theory_times'][k]:>10.4g}{values}")
    return lines


def _some(count: int, most: int = 6) -> list[int]:
    """At most ``most`` indices, the last one among them."""
    return sorted({round(k * (count - 1) / min(most, count - 1)) for k in range(min(most, count - 1) + 1)})


def _needed(found: dict[str, Any]) -> list[str]:
    lines = [f"neurons for an error of {100.0 * found['tolerance']:g} % of the first risk"]
    measured = found["measured"] is not None
    lines.append(f"{'d':>8}{'independent, exact':>22}" + (f"{'particles, measured':>32}" if measured else ""))
    for k, (d, exact) in enumerate(zip(found["dimensions"], found["independent"], strict=True)):
        lines.append(f"{d:>8}{exact:>22.1f}")
        if measured:
            value, (low, high) = found["measured"][k], found["interval"][k]
            lines[-1] += f"{f'{value:.1f} [{low:.1f}, {high:.1f}]':>32}"
    lines.append(f"within {100.0 * found['spread']:.1f} % of their mean; power of d: {found['slope']:.4f}")
    return lines


def figure(result: dict[str, Any]) -> Figure | None:
    """A panel for every sweep: exponents in N, eps and d, errors over time, the needed width against d."""
    from mfpde import figures
    from mfpde.figures import theory_sgd

    panels: list[Callable[[Any], Any]] = []
    for variable in ("N", "eps", "d"):
        mine = [one for one in result["exponents"] if one["variable"] == variable]
        if mine:
            panels.append(partial(theory_sgd.exponents, found=mine))
    if result["over_time"] is not None:
        panels.append(partial(theory_sgd.over_time, found=result["over_time"]))
    if result["needed"] is not None:
        panels.append(partial(theory_sgd.needed, found=result["needed"]))
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    sheet, axes = figures.sheet(figures.DOUBLE * columns / 2, 2.7 * rows, rows, columns)
    for ax, panel in zip(axes, panels, strict=False):
        panel(ax)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    return sheet
