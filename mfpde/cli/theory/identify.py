"""``mfpde theory identify``: active part, symmetries and depths of a study, canonical form and equality of networks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from mfpde.cli.theory import run as runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FREE = {
    "direction": "amplitudes and unit directions, no bias",
    "weight": "amplitudes and weights",
    "weight and bias": "amplitudes, weights and biases",
}
MARKS = {"proved": "", "upper bound": "<=", "lower bound": ">=", "search": "~"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, another output to compare with, and which networks."""
    runner.add_source(parser)
    parser.add_argument(
        "other",
        nargs="?",
        metavar="OTHER",
        help="another run directory or particles.h5: are the chosen networks of both one function?",
    )
    parser.add_argument(
        "--atoms", type=runner.count, default=4, metavar="S", help="depths of 1 to S neurons (default: 4)"
    )
    parser.add_argument(
        "--dimension", type=runner.count, metavar="d", help="of the inputs of the depths (default: that of the study)"
    )
    parser.add_argument(
        "--free",
        choices=("sphere", "all"),
        help="what moves in the depths: unit directions, or weights and biases of any size"
        " (default: sphere, and all in dimension 1)",
    )
    parser.add_argument("--width", type=int, metavar="N", help="the network of this width (default: the widest)")
    parser.add_argument("--replica", type=int, default=0, metavar="R", help="and of this replica (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Measure and tell; 0 whether or not two networks are the same."""
    return runner.run(sys.modules[__name__], "identify", args)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The numbers of the source, compared with OTHER if there is one."""
    from mfpde.cli.progress import progress
    from mfpde.io.theory.identify import identification
    from mfpde.io.theory.subject import open_subject

    subject = open_subject(args.source, args.set)
    other = None if args.other is None else open_subject(args.other)
    with progress("identify", args.atoms + 1, args.quiet) as report:
        return identification(
            subject,
            other,
            atoms=args.atoms,
            dimension=args.dimension,
            free=args.free,
            width=args.width,
            replica=args.replica,
            report=report,
        )


def table(result: dict[str, Any]) -> str:
    """The activation, its symmetries, the depths with their evidence, the active component and the networks."""
    inputs = "input" if result["inputs"] == 1 else "inputs"
    lines = [f"{result['title']}: what {result['activation']} networks of {result['inputs']} {inputs} can be told by"]
    lines.append("(mfpde's reading of arXiv:2605.24710, of which only the abstract was available)")
    lines += _activation(result) + _depths(result) + _separation(result) + _active(result)
    return "\n".join(lines + _network(result["network"]) + _equality(result))


def _activation(result: dict[str, Any]) -> list[str]:
    degrees = result["degrees"]
    remainder = {"odd": " up to a constant", "even": " up to a linear function", "none": ""}[result["parity"]]
    facts = [f"{result['parity']}{remainder if result['parity_offset'] else ''}".replace("none", "no parity")]
    if result["polynomial_degree"] is not None:
        facts.append(f"a polynomial of degree {result['polynomial_degree']}")
    if result["homogeneity"] is not None:
        facts.append(f"sigma(c z) = c^{result['homogeneity']} sigma(z) for c > 0")
    lines = ["", f"activation            {', '.join(facts)}", f"active degrees        {degrees['words']}"]
    pairs = [f"{k}: {c:.7g}" for k, c in zip(degrees["active"], degrees["coefficients"], strict=True)]
    for start in range(0, len(pairs), 5):
        lines.append(f"{'  E sigma(Z) h_k(Z)' if start == 0 else '':<22}{', '.join(pairs[start : start + 5])}")
    lines.append(f"seen of unit weights  {degrees['visible_on_the_sphere']} (Gaussian inputs, no bias)")
    lines += ["", "realization symmetry: moves that leave f alone (biases included; measured change of f)"]
    for one in result["symmetries"]:
        lines.append(f"  {one['name']:<18}{one['change']:>8.0e}  {one['description']}")
    return lines


def _depths(result: dict[str, Any]) -> list[str]:
    rows, capped = result["depths"], result["depths"][0]["law"] is not None
    space = f"{result['dimension']} dimension{'s' if result['dimension'] > 1 else ''}"
    lines = ["", f"depths for x ~ N(0, I) in {space}; free: {FREE[result['free']]}"]
    lines.append(
        "  D_var: finitely many generic solutions; D_orb: one orbit; kept / dropped: singular values of the Jacobian"
    )
    head = f"{'S':>4}{'D_var':>8}{'rank':>7}{'kept / dropped':>20}{'D_orb generic':>15}{'D_orb worst':>13}"
    lines.append(head + (f"{'seen by the data':>22}" if capped else "") + "  worst case by")
    for row in rows:
        v, worst = row["variety"], row["orbit_worst"]
        dropped = f"{v['largest_dropped']:.0e}" if v["largest_dropped"] else "none"
        gap = "-" if v["smallest"] is None else f"{v['smallest']:.1e} / {dropped}"
        line = f"{row['atoms']:>4}{_variety(v):>8}{v['ranks'][-1] if v['ranks'] else '-':>7}{gap:>20}"
        line += f"{_depth(row['orbit_generic']):>15}{_depth(worst):>13}"
        if capped:
            line += f"{_rank(row['law']):>22}"
        lines.append(f"{line}  {worst['words'].split(': ', 1)[0]}")
    return lines + _legend(result)


def _legend(result: dict[str, Any]) -> list[str]:
    rows = result["depths"]
    used = {row[name]["evidence"] for row in rows for name in ("orbit_generic", "orbit_worst")}
    words = {
        "search": "~ no other network found (evidence, no proof)",
        "upper bound": "<= proved, perhaps less",
        "lower bound": ">= at least, not searched",
    }
    lines = [f"  {'; '.join(text for kind, text in words.items() if kind in used)}"] if used & words.keys() else []
    if any(row["computed_in"] < result["dimension"] for row in rows):
        lines.append("  ranks are counted in S + 1 dimensions: each further one repeats a block that is there already")
    short = [row for row in rows if row["variety"]["words"]]
    if short:
        lines.append(f"  from S = {short[0]['atoms']} on D_var is {short[0]['variety']['words']}")
    if not result["gaussian"]:
        lines.append("  the data are no Gaussian law and have no Hermite degrees: these are the depths of N(0, I)")
    if rows[0]["law"] is not None:
        law = rows[0]["law"]
        lines.append(
            f"  {law['inputs']} different inputs that span {law['span']} of {result['dimension']} dimensions see this"
            " rank there; below the parameters no degree helps"
        )
    if result["has_bias"] and result["free"] == "direction":
        lines.append("  the neurons of the study have biases, which these depths leave out; --free all lets them move")
    return lines


def _variety(found: dict[str, Any]) -> str:
    if found["depth"] is None:
        return "-" if found["evidence"] == "unknown" else "inf"
    return str(found["depth"])


def _depth(found: dict[str, Any]) -> str:
    if found["depth"] is None:
        return "-" if found["evidence"] == "unknown" else MARKS[found["evidence"]] + "inf"
    return MARKS[found["evidence"]] + str(found["depth"])


def _rank(law: dict[str, Any]) -> str:
    return f"{law['rank']} of {law['parameters']}{'' if law['identifiable'] else ': inf'}"


def _separation(result: dict[str, Any]) -> list[str]:
    found, largest = result["separation"], len(result["depths"])
    if found is None:
        return ["", f"separation: none up to S = {largest}, D_var = D_orb wherever both are known"]
    sign = "=" if found["evidence"] == "proved" else ">="
    lines = [
        "",
        f"separation: S = {found['atoms']} neurons, D_var = {found['variety']} < D_orb {sign} {found['orbit']}",
    ]
    if "networks" in found:
        lines.append(
            f"  two networks equal up to degree {found['orbit'] - 1} (by {found['difference_below']:.0e}), apart by"
            f" {found['difference_at']:.2g} at degree {found['orbit']}, ||f - f'|| = {found['distance']:.3g}"
        )
        for one in found["networks"]:
            neurons = zip(one["a"], one["w"], strict=True)
            lines.append("    " + " ".join(f"{a:+.4f} s({', '.join(f'{c:.4f}' for c in w)})" for a, w in neurons))
    return lines


def _active(result: dict[str, Any]) -> list[str]:
    found = result["active"]
    if found is None:
        return ["", f"active component: not measured, {result['active_reason']}"]
    where = found["measure"] if found["time"] is None else f"{found['measure']} at t = {found['time']:g}"
    return [
        "",
        f"active component of the long-time measure ({where})",
        f"  fraction            {found['fraction']:.6g} of |n|^2, n its density over cells, particles or neurons",
        f"  Gram rank           {found['rank']} of {found['possible']} at {found['tolerance']:.0e} of the largest"
        f" eigenvalue; f changes by {found['function_error']:.1e} without the rest",
    ]


def _network(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    seen = found["seen_by_the_data"]
    steps = [f"{found['neurons']} neurons"]
    steps += [] if seen is None else [f"{seen} seen by the data"]
    which = f"N = {found['width']}, replica {found['replica']}, t = {found['time']:g}"
    lines = ["", f"canonical form of the network {which}"]
    lines.append(f"  {', '.join(steps)}, then {found['words']} (f changes by {found['change']:.0e})")
    return lines


def _equality(result: dict[str, Any]) -> list[str]:
    found = result["same_function"]
    if found is None:
        return []
    verdict = "the same function" if found["same"] else "different functions"
    orbit = "one orbit" if found["orbit_equal"] else "different orbits"
    relative = found["distance"] / found["scale"] if found["scale"] else 0.0
    return [
        "",
        f"against N = {found['width']}, replica {found['replica']}, t = {found['time']:g} of {found['file']}",
        f"  {verdict}, {orbit}: ||f - f'|| = {found['distance']:.6g}, {relative:.1e} of the size of their terms",
        f"  in L2 of {found['law']}",
    ]


def figure(result: dict[str, Any]) -> Figure | None:
    """The depths against the number of neurons, and the spectrum of the active component."""
    from mfpde import figures
    from mfpde.figures import theory_identify

    active = result["active"]
    panels = 1 if active is None else 2
    sheet, axes = figures.sheet(figures.SINGLE if active is None else figures.DOUBLE, 2.6, 1, panels)
    columns = {
        name: [(row[name]["depth"], row[name]["evidence"]) for row in result["depths"]]
        for name in ("variety", "orbit_generic", "orbit_worst")
    }
    theory_identify.depths(axes[0], [row["atoms"] for row in result["depths"]], columns)
    if active is not None:
        theory_identify.spectrum(axes[1], active["spectrum"], active["tolerance"], active["rank"])
    return sheet
