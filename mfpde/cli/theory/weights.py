"""``mfpde theory weights``: the maximal admissible weight on the moments, its bracket, its growth, the margin."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.cli.theory import run as runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("mfpde")

PLACES = {"start": "initial", "end": "final", "rest": "stationary"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, whose moments, and how many."""
    runner.add_source(parser)
    parser.add_argument(
        "--block",
        default="all",
        metavar="GROUP",
        help="parameters in the norm: all that move, or a, w, b, or one coordinate such as w0 (default: all)",
    )
    parser.add_argument(
        "--orders",
        type=common.count(1),
        metavar="K",
        help="demand moments up to this order (default: all that the grid or the ensemble carries, up to 24)",
    )
    parser.add_argument(
        "--width",
        type=common.count(1),
        metavar="N",
        help="of an ensemble, networks of N neurons (default: the widest)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and tell."""
    return runner.run(sys.modules[__name__], "weights", args)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The numbers of the source; a study alone is integrated first."""
    from mfpde.io.theory.subject import open_subject
    from mfpde.io.theory.weights import weight_numbers

    subject = open_subject(args.source, args.set)
    if subject.limit is None and subject.ensemble is None and subject.study.on_grid:
        log.info("integrating the limit of %s to t = %g", subject.name, subject.study.times[-1])
    return weight_numbers(subject, args.block, args.orders, args.width)


def table(result: dict[str, Any]) -> str:
    """The weight order by order, then its growth, what certifies and what limits it, and the margin."""
    block = "theta" if result["block"] == "all" else result["block"]
    lines = [f"{result['title']}: maximal admissible weight w*_k = 1/sup_t m_k(t), m_k = int |{block}|^k d rho_t"]
    lines.append("(mfpde's reading of arXiv:2605.24710, of which only the abstract was available)")
    lines += ["", _what(result)]
    lines += [f"{'k':>4}{'M_k':>13}{'at t':>8}{'w_cert':>13}{'w*':>13}{'w_init':>13}{'c_k':>10}{'c_k at rest':>13}"]
    lines += [_row(result, k) for k in range(1, result["largest_order"] + 1)]
    lines += ["  c_k = (M_k / E|Z_p|^k)^(1/k), the Gaussian scale of order k", "", *_growth(result), *_proved(result)]
    lines.append(f"largest order   {result['largest_order']}: {result['largest_order_reason']}")
    if result["w_cert"] is None:
        lines.append(f"certificate     none: {result['certificate_reason']}")
    else:
        drift = f"drift bound {result['drift_bound']:.4g} per unit |a|: {result['certificate_reason']}"
        lines.append(f"certificate     w_cert <= w*, {drift}")
    return "\n".join(lines + _rest(result) + _margin(result["margin"]))


def _what(result: dict[str, Any]) -> str:
    names, p = ", ".join(result["coordinates"]), result["dimension"]
    shown = names if len(result["coordinates"]) <= 6 else f"{len(result['coordinates'])} coordinates"
    return f"from {result['law']}, t = 0 to {result['times'][-1]:g}; |.| over {shown}: p = {p} parameters"


def _row(result: dict[str, Any], k: int) -> str:
    cert, rest = result["w_cert"], result["at_rest"]
    values = [f"{result['moments'][k]:.5g}", f"{result['supremum_time'][k]:g}"]
    values += ["-" if cert is None else f"{cert[k]:.5g}", f"{result['w_star'][k]:.5g}", f"{result['w_init'][k]:.5g}"]
    values += [f"{result['c'][k]:.5g}"]
    values += ["-" if rest is None or k >= len(rest["c"]) else f"{rest['c'][k]:.5g}"]
    return f"{k:>4}" + "".join(f"{v:>{w}}" for v, w in zip(values, (13, 8, 13, 13, 13, 10, 13), strict=True))


def _growth(result: dict[str, Any]) -> list[str]:
    if result["order"] is None:
        return ["growth          not fitted: at least seven orders are needed"]
    low, high = result["order_interval"]
    lines = [f"growth          M_k ~ c^k (k!)^order, order {result['order']:.3f} [{low:.3f}, {high:.3f}]"]
    if result["type"] is None:
        lines.append("                type c: none, the interval of the order excludes 1/2")
    else:
        low, high = result["type_interval"]
        lines.append(f"                type c = {result['type']:.4g} [{low:.4g}, {high:.4g}] at order 1/2")
    return lines


def _proved(result: dict[str, Any]) -> list[str]:
    proved = result["proved"]
    if proved["type"] is None:
        return [f"                nothing proved: {proved['reason']}"]
    return [
        f"                proved: order {proved['order']:g}, type {proved['type']:.4g}"
        f" (start {proved['type_at_start']:.4g}, rest sqrt(tau/lambda) = {proved['type_at_rest']:.4g});",
        f"                {proved['reason']}",
    ]


def _rest(result: dict[str, Any]) -> list[str]:
    rest = result["at_rest"]
    if rest is None or rest["oscillation_over_temperature"] is None:
        return []
    reach = rest["oscillation_over_temperature"]
    where = "the oscillation of the data's part over tau"
    return [f"at rest         |log c_k - log sqrt(tau/lambda)| <= {reach:.4g}/k, {where}"]


def _margin(found: dict[str, Any]) -> list[str]:
    if not found["at"]:
        return [f"margin          none: {found['reason']}"]
    lines = [f"margin          min lambda_a lambda(u) - g(u)^2 over directions u ({found['reason']})"]
    for name, one in found["at"].items():
        kind = "" if one["type"] is None else f", type sqrt(tau/{one['smallest_eigenvalue']:.4g}) = {one['type']:.4g}"
        verdict = "normalisable" if one["normalisable"] else "NOT normalisable: moments grow exponentially there"
        lines.append(f"  {PLACES[name]:<12}  {one['margin']:+.5g}: the Gibbs measure is {verdict}{kind}")
    return lines


def figure(result: dict[str, Any]) -> Figure:
    """log w*_k inside its bracket, and c_k with the types that are proved."""
    from mfpde import figures
    from mfpde.figures import theory_weights

    sheet, axes = figures.sheet(figures.DOUBLE, 2.7, 1, 2)
    k = result["k"]
    theory_weights.bracket(axes[0], k, result["w_star"], result["w_init"], result["w_cert"])
    proved, rest = result["proved"], result["at_rest"]
    levels = {}
    if proved["type_at_rest"] is not None:
        levels["rest, $\\sqrt{\\tau/\\lambda}$"] = proved["type_at_rest"]
    margin = result["margin"]["at"].get("rest")
    if margin is not None and margin["type"] is not None and result["block"] == "all":
        levels["rest, $\\sqrt{\\tau/\\lambda_{\\min}}$"] = margin["type"]
    if proved["type_at_start"]:
        levels["start, $\\sigma_0$"] = proved["type_at_start"]
    theory_weights.types(
        axes[1], k, result["c"], None if rest is None else rest["c"], levels=levels, interval=result["type_interval"]
    )
    return sheet
