"""``mfpde theory cell``: the learning cell of activation and data as one table, one figure, JSON and HDF5."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import directory as directories
from mfpde.cli.theory import run as runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "cell.h5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, the penalty and the number of neurons."""
    runner.add_source(parser)
    parser.add_argument(
        "--penalty",
        type=runner.positive,
        metavar="L",
        help="of the total variation, for S_up and S* (default: sqrt(lambda_a lambda_w) of the study)",
    )
    parser.add_argument(
        "--atoms", type=runner.count, default=6, metavar="S", help="depths of up to S neurons (default: 6)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and tell."""
    return runner.run(sys.modules[__name__], "cell", args)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The cell; with -o also as cell.h5."""
    from mfpde.io.theory.cell import cell_numbers, cell_of, write_cell
    from mfpde.io.theory.subject import open_subject

    subject = open_subject(args.source, args.set)
    cell = cell_of(subject, args.penalty, args.atoms)
    if args.output is not None:
        directories.make(Path(args.output))
        write_cell(subject, cell, str(Path(args.output) / FILE))
    return cell_numbers(subject, cell)


def table(result: dict[str, Any]) -> str:
    """The three members of the cell first, then what surrounds them."""
    inputs = "input" if result["dimension"] == 1 else "inputs"
    lines = [f"{result['title']}: learning cell of {result['activation']} and {result['data']}"]
    lines.append("(mfpde's reading of arXiv:2605.24710, of which only the abstract was available)")
    lines += ["", *_weight(result), *_depths(result), *_sparsity(result), "", "around them"]
    if result["active_degrees"]:
        shown = ", ".join(str(k) for k in result["active_degrees"][:8])
        lines.append(f"  active degrees         {shown}{', ...' if len(result['active_degrees']) > 8 else ''}")
    lines.append(f"  parity                 {result['parity']}, {result['dimension']} {inputs}")
    lines += [f"  symmetry               {text}" for text in result["symmetries"]]
    if result["active_fraction"] is None:
        lines.append(f"  active part            not measured: {result['active_reason']}")
    else:
        rank = f"Gram rank {result['active_rank']}"
        lines.append(f"  active part at rest    {result['active_fraction']:.6f} of the amplitude, {rank}")
    if result["margin"] is not None:
        lines.append(f"  admissibility margin   {result['margin']:.4g}")
    return "\n".join(lines)


def _weight(result: dict[str, Any]) -> list[str]:
    w = result["weight"]
    if w is None:
        return [f"w*      not measured: {result['weight_reason']}"]
    if w["order"] is None:
        growth = f"orders up to {w['largest_order']} only: too few for a growth order"
    else:
        low, high = w["order_interval"]
        growth = f"1/w*_k grows like (k!)^{w['order']:.3f} [{low:.2f}, {high:.2f}]"
        if w["type"] is not None:
            growth += f", type {w['type']:.4g} [{w['type_interval'][0]:.3g}, {w['type_interval'][1]:.3g}]"
    certified = "" if w["w_cert"] is not None else f"; no certificate: {w['certificate_reason']}"
    return [f"w*      {growth}, orders up to {w['largest_order']}{certified}"]


def _depths(result: dict[str, Any]) -> list[str]:
    depths = result["depths"]
    if not depths:
        return [f"D*      not defined: {result['depths_reason']}"]
    head = "S       " + "".join(f"{d['atoms']:>8}" for d in depths)
    if depths[0]["rank"] is not None:
        ranks = "".join(f"{d['rank']:>4}/{d['expected']:<3}" for d in depths)
        return [head, f"rank    {ranks}  of the Jacobian at the nodes: {result['depths_reason']}"]
    variety = "".join(f"{_number(d['variety']):>8}" for d in depths)
    orbit = "".join(f"{_orbit(d):>8}" for d in depths)
    note = "worst case, unit weights" if not result["depths_reason"] else result["depths_reason"]
    return [head, f"D*_orb  {orbit}  {note}", f"D*_var  {variety}  generic"]


def _orbit(depth: dict[str, Any]) -> str:
    if depth["orbit"] is None:
        return "inf" if depth["orbit_exact"] else "?"
    return f"{'' if depth['orbit_exact'] else '<='}{depth['orbit']}"


def _number(value: int | None) -> str:
    return "inf" if value is None else str(value)


def _sparsity(result: dict[str, Any]) -> list[str]:
    s = result["sparsity"]
    if s is None:
        return [f"S*      not defined: {result['sparsity_reason']}"]
    norm = "infinite: the activation lacks a degree of the target"
    if s["barron_hermite_norm"] is not None:
        norm = f"{s['barron_hermite_norm']:.6g}"
    lines = [f"S_up    {s['threshold_number']} coefficients above the threshold at penalty {s['penalty']:.4g}"]
    lines[0] += f" (by |c|/|sigma| {s['threshold_number_ratio']}), residual {s['residual']:.4g}"
    depth = s["sparse_depth"]
    if depth is None:
        return [f"S*      {s['sparse_depth_reason']}", *lines, f"Barron-Hermite norm  {norm}"]
    lower, upper = (_number(None if depth[k] is None else int(depth[k])) for k in ("lower", "upper"))
    between = f"{lower}" if lower == upper else f"{lower} (proved) to {upper} (found)"
    return [f"S*      {between} neurons reach that residual", *lines, f"Barron-Hermite norm  {norm}"]


def figure(result: dict[str, Any]) -> Figure | None:
    """w* with its bracket, depths against S, coefficients against the threshold."""
    from mfpde import figures
    from mfpde.figures import theory_cell

    panels: list[tuple[Callable[..., Any], Any]] = [
        (theory_cell.weights, result["weight"]),
        (theory_cell.depths, result["depths"]),
        (theory_cell.coefficients, result["sparsity"]),
    ]
    shown = [(panel, numbers) for panel, numbers in panels if numbers]
    if not shown:
        return None
    sheet, axes = figures.sheet(figures.DOUBLE * len(shown) / 3, 2.5, 1, len(shown))
    for ax, (panel, numbers) in zip(axes, shown, strict=True):
        panel(ax, numbers)
    return sheet
