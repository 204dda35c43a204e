"""``mfpde theory atoms``: the sparse dictionary of a target and of a long-time measure, with its certificate."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from mfpde.cli.theory import run as runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, the penalty, the domain of neurons, temperatures."""
    runner.add_source(parser)
    parser.add_argument(
        "--penalty",
        type=runner.positive,
        metavar="L",
        help="of the total variation (default: sqrt(lambda_a lambda_w) of the study, exact for relu and identity)",
    )
    parser.add_argument(
        "--domain", choices=("sphere", "ball"), help="of the weights: unit sphere, or ball of radius 5 (for one input)"
    )
    parser.add_argument(
        "--temperatures",
        type=runner.positive,
        nargs="+",
        default=[],
        metavar="T",
        help="two or more: how the atoms of the stationary measure narrow as the temperature falls",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and tell."""
    return runner.run(sys.modules[__name__], "atoms", args)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The dictionary of the source."""
    from mfpde.io.theory.atoms import sparse_dictionary
    from mfpde.io.theory.subject import open_subject

    return sparse_dictionary(open_subject(args.source, args.set), args.penalty, args.domain, args.temperatures)


def table(result: dict[str, Any]) -> str:
    """Target, penalised problem, atoms of the measure, falling temperatures."""
    lines = [f"{result['title']}: sparse dictionary of {result['activation']} for {result['data']}"]
    lines.append("(mfpde's reading of arXiv:2605.24710, of which only the abstract was available)")
    lines += _target(result) + _total_variation(result["total_variation"]) + _measure(result)
    return "\n".join(lines + _falling(result["zero_temperature"]))


def _target(result: dict[str, Any]) -> list[str]:
    t = result["target"]
    if t is None:
        return ["", f"target: {result['target_reason']}"]
    norm = "infinite" if t["barron_hermite_norm"] is None else f"{t['barron_hermite_norm']:.7g}"
    lower, upper = (
        "inf" if t[f"sparse_depth_{k}"] is None else f"{t[f'sparse_depth_{k}']:g}" for k in ("lower", "upper")
    )
    return [
        "",
        "target in Hermite coefficients",
        f"  Barron-Hermite norm  {norm}",
        f"  S_up                 {t['threshold_number']} at penalty {t['penalty']:.4g}, {t['threshold_directions']}"
        f" directions (by |c|/|sigma|: {t['threshold_number_ratio']})",
        f"  residual E_sparse    {t['residual']:.6g} <= penalty times norm",
        f"  S* at that residual  between {lower} (proved) and {upper} (found) neurons of weight up to 5",
    ]


def _total_variation(tv: dict[str, Any]) -> list[str]:
    where = f"{tv['domain']} of radius {tv['radius']:g} in {tv['inputs']} input{'s' if tv['inputs'] > 1 else ''}"
    lines = ["", f"total-variation problem on the {where}, penalty {tv['penalty']:.4g}"]
    lines.append(f"  objective  {tv['objective']:.10g}, duality gap {tv['gap']:.1e}, {tv['iterations']} iterations")
    lines.append(f"  certificate sup |eta| = 1 {tv['certificate'] - 1.0:+.1e}")
    if not tv["atoms"]:
        lines.append(f"  no atom: from the penalty {tv['largest_penalty']:.4g} on the zero measure is optimal")
        return lines
    return lines + _atoms(tv["atoms"], f"{len(tv['atoms'])} atoms, total variation {tv['total_variation']:.6g}")


def _atoms(atoms: list[dict[str, Any]], title: str) -> list[str]:
    lines = [f"  {title}"]
    for atom in atoms[:SHOWN]:
        w = ", ".join(f"{value:.5g}" for value in atom["w"][:4]) + (", ..." if len(atom["w"]) > 4 else "")
        bias = f"  b = {atom['b']:.5g}" if atom["b"] else ""
        lines.append(f"    a = {atom['a']:>12.6g}  w = ({w}){bias}")
    return lines + ([f"    and {len(atoms) - SHOWN} more"] if len(atoms) > SHOWN else [])


def _measure(result: dict[str, Any]) -> list[str]:
    m = result["measure"]
    if m is None:
        return ["", f"atoms of the stationary measure: {result['measure_reason']}"]
    title = f"{m['count']} atoms, {100 * m['explained']:.1f} % of the amplitude, |f_atoms - f|/|f| = {m['misfit']:.2g}"
    lines = ["", "atoms of the stationary measure (clusters of amplitude, refitted)", *_atoms(m["atoms"], title)]
    widths = ", ".join(f"{value:.3g}" for value in m["widths"][:SHOWN])
    return [*lines, f"    widths of the clusters {widths}"]


def _falling(z: dict[str, Any] | None) -> list[str]:
    if z is None:
        return []
    lines = ["", "as the temperature falls", f"{'temperature':>14}{'atoms':>8}{'widths':>12}"]
    for tau, count, widths in zip(z["temperatures"], z["counts"], z["widths"], strict=True):
        lines.append(f"{tau:>14g}{count:>8}   " + "".join(f"{value:>11.4g}" for value in widths[:SHOWN]))
    for rate in z["slopes"]:
        ci = "" if rate["ci"] is None else f" [{rate['ci'][0]:.3f}, {rate['ci'][1]:.3f}]"
        lines.append(f"  width ~ temperature^{rate['slope']:.3f}{ci}   (expected 1/2)")
    return lines


def figure(result: dict[str, Any]) -> Figure | None:
    """The certificate along weights with the atoms, and the widths against the temperature."""
    from mfpde import figures
    from mfpde.figures import theory_atoms

    tv, falling = result["total_variation"], result["zero_temperature"]
    panels = [tv["curve"] is not None, falling is not None and bool(falling["slopes"])]
    if not any(panels):
        return None
    sheet, axes = figures.sheet(figures.SINGLE * sum(panels), 2.6, 1, sum(panels))
    if panels[0]:
        theory_atoms.certificate(axes[0], tv)
    if panels[1]:
        theory_atoms.widths(axes[-1], falling)
    return sheet
