"""``mfpde theory errors``: the error of training as a telescoping sum of six terms, and the law of each."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.cli.theory import run as runner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SWEEPS = ("N", "n", "t", "tau")
TITLES = {
    "time_step": "time step",
    "propagation_of_chaos": "propagation of chaos",
    "optimization": "optimization",
    "statistical": "statistical",
    "entropic_bias": "entropic bias",
    "sparse_residual": "sparse residual",
    "rest_to_labels": "rest to labels",
}
REFERENCES = {
    "independent_neurons": "independent neurons",
    "network_at_rest": "C_PoC/N at rest",
    "twice_free_energy_gap": "2 (F - F*)",
    "linear_response": "C_stat/n",
    "closed_form": "E_sparse",
    "barron_hermite_bound": "at most",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, what is trained how long on what, and the sweeps."""
    runner.add_source(parser)
    parser.add_argument(
        "--samples",
        type=_samples,
        metavar="n",
        help="data drawn from the population, or the word population (default: 100 where a grid carries them)",
    )
    parser.add_argument(
        "--width", type=common.count(1), metavar="N", help="neurons (default: the smallest width of the study)"
    )
    parser.add_argument("--time", type=runner.positive, metavar="t", help="of training (default: that of the study)")
    parser.add_argument(
        "--draws",
        type=common.count(2),
        metavar="R",
        help="independent networks, and data sets of a sweep over n (default: 32; in sweeps as the work allows)",
    )
    parser.add_argument(
        "--penalty",
        type=runner.positive,
        metavar="L",
        help="of the sparse part of the target (default: sqrt(lambda_a lambda_w) of the study)",
    )
    parser.add_argument(
        "--sweeps", type=_sweeps, default=(), metavar="NAMES", help="draw laws: any of N,n,t,tau, or all"
    )


def _samples(text: str) -> int:
    if text == "population":
        return 0
    try:
        return int(common.count(1)(text))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is neither an integer of at least 1 nor the word population"
        ) from None


def _sweeps(text: str) -> tuple[str, ...]:
    chosen = SWEEPS if text == "all" else tuple(part.strip() for part in text.split(","))
    wrong = [part for part in chosen if part not in SWEEPS]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0][:40]!r} is none of {', '.join(SWEEPS)}, all")
    return tuple(name for name in SWEEPS if name in chosen)


def run(args: argparse.Namespace) -> int:
    """Measure and tell."""
    return runner.run(sys.modules[__name__], "errors", args)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The terms of one training, and every sweep that is asked for; with "all" those that are defined."""
    from mfpde.cli.progress import progress
    from mfpde.errors import ConfigError
    from mfpde.io.theory import error_setting, error_sweeps, errors
    from mfpde.io.theory.subject import open_subject

    subject = open_subject(args.source, args.set)
    setting = error_setting.setting(subject, args.samples)
    with progress("decomposition", 1.0, args.quiet) as report:
        members = errors.members(
            setting, width=args.width, replicas=args.draws, time=args.time, penalty=args.penalty, report=report
        )
    result = errors.error_numbers(subject, members)
    for name in args.sweeps:
        with progress(f"sweep over {name}", 1.0, args.quiet) as report:
            try:
                result["sweeps"][name] = error_sweeps.SWEEPS[name](members, args.draws, report)
            except ConfigError as error:
                if args.sweeps != SWEEPS:
                    raise
                result["sweeps"][name] = {"undefined": str(error)}
    return result


def table(result: dict[str, Any]) -> str:
    """What was trained, the terms with their laws, how they add up, and the laws as swept."""
    lines = [f"{result['title']}: f^(N,n)_(t,dt) - f* in its terms"]
    lines.append("(mfpde's reading of arXiv:2605.24710, of which only the abstract was available)")
    lines += ["", f"{result['replicas']} networks of N = {result['width']} neurons trained on {result['training']}"]
    lines[-1] += f" to t = {result['time']:g} in steps of {result['step']:g}, seed {result['seed']}"
    lines.append(f"norm: {result['norm']}")
    if result["penalty"] is not None:
        lines.append(f"f_S: target soft-thresholded at penalty {result['penalty']:.4g}, |w| = 1, no bias")
    lines += ["", f"{'term':<22}{'squared norm':>24}  law"]
    for term in result["terms"]:
        lines += _term(term)
    return "\n".join([*lines, "", *_sums(result), "", *_gram(result["gram"]), *_sweep_lines(result["sweeps"])])


def _term(term: dict[str, Any]) -> list[str]:
    name = TITLES[term["name"]]
    if term["squared"] is None:
        return _wrapped(f"{name:<22}{'-':>24}  undefined: {term['undefined']}", 48)
    size = f"{term['squared']:.4e}"
    if term["standard_error"] is not None:
        size += f" +- {term['standard_error']:.0e}"
    lines = [f"{name:<22}{size:>24}  {term['law']}"]
    known = [f"{REFERENCES[key]} {value:.4e}" for key, value in (term["reference"] or {}).items() if value is not None]
    return lines + ([f"{'':<48}{', '.join(known)}"] if known else [])


def _wrapped(line: str, indent: int) -> list[str]:
    return textwrap.wrap(line, 132, subsequent_indent=" " * indent, break_on_hyphens=False)


def _sums(result: dict[str, Any]) -> list[str]:
    merged = zip(result["merged"]["names"], result["merged"]["squared"], strict=True)
    count = len(result["gram"]["names"])
    return [
        f"squared error          {result['total']:.6e}; the Gram matrix of the terms sums to it up to"
        f" {result['closure']:.0e} of their size",
        f"bounds                 (sum of norms)^2 = {result['triangle_bound']:.4e},"
        f" {count} x sum of squares = {result['count_bound']:.4e}",
        *_wrapped("in the article's terms " + ", ".join(f"{TITLES[name]} {v:.4e}" for name, v in merged), 23),
        "                       (time step in propagation of chaos, entropic bias in sparse residual)",
    ]


def _gram(gram: dict[str, Any]) -> list[str]:
    names = [TITLES[name] for name in gram["names"]]
    head = "Gram matrix"
    lines = [f"{head:<22}" + "".join(f"{_short(name):>13}" for name in names)]
    for name, row in zip(names, gram["matrix"], strict=True):
        lines.append(f"{name:<22}" + "".join(f"{value:>13.2e}" for value in row))
    return lines


def _short(name: str) -> str:
    shorter = {"propagation of chaos": "chaos", "sparse residual": "sparse", "entropic bias": "bias"}
    return (shorter | {"rest to labels": "labels"}).get(name, name)


def _sweep_lines(sweeps: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, found in sweeps.items():
        lines.append("")
        if "undefined" in found:
            lines += _wrapped(f"sweep over {name}: {found['undefined']}", 14)
        else:
            lines += _DESCRIBED[name](found)
    return lines


def _power(fit: dict[str, Any]) -> str:
    if fit["interval"] is None:
        return f"{fit['slope']:.3f} ({fit['method']})"
    return f"{fit['slope']:.3f} [{fit['interval'][0]:.3f}, {fit['interval'][1]:.3f}]"


def _rows(found: dict[str, Any], title: str, scaled: list[dict[str, float]], label: str) -> list[str]:
    lines = [f"{title:>8}{'squared norm':>24}" + (f"{label:>30}" if scaled else "")]
    for k, value in enumerate(found["values"]):
        size = f"{found['squared'][k]:.4e} +- {found['standard_error'][k]:.0e}"
        more = f"{scaled[k]['value']:.4e} +- {scaled[k]['sem']:.0e}" if scaled else ""
        lines.append(f"{value:>8}{size:>24}" + (f"{more:>30}" if scaled else ""))
    return lines


def _over_width(found: dict[str, Any]) -> list[str]:
    lines = [f"sweep over N: slope {_power(found['rate'])}, law -1; {found['replicas']} networks each"]
    lines[0] += f" ({found['replicas_for_half_width_0.05']} for +- 0.05)"
    lines += _rows(found, "N", found["scaled_in_own_norm"], "N x that of its own data")
    if found["constant_at_rest"] is not None:
        lines.append(f"  N x that of its own data tends, at rest, to C_PoC = {found['constant_at_rest']:.4e}")
    return lines


def _over_samples(found: dict[str, Any]) -> list[str]:
    lines = [f"sweep over n: slope {_power(found['rate'])}, law -1; {found['replicas']} data sets each"]
    lines[0] += f" ({found['replicas_for_half_width_0.1']} for +- 0.1)"
    return [*lines, *_rows(found, "n", found["scaled"], "n x"), f"  C_stat = {found['constant']:.4e}"]


def _over_time(found: dict[str, Any]) -> list[str]:
    low, high = found["window"]
    interval = "" if found["interval"] is None else f" [{found['interval'][0]:.5g}, {found['interval'][1]:.5g}]"
    known = [f"2 Lambda = {found['sharp']:.5g}"] if found["sharp"] is not None else [f"no 2 Lambda: {found['reason']}"]
    if found["sharp"] is not None and found["carrier"] is None:
        known.append("f sees none of the lowest modes")
    elif found["carrier"] != found["sharp"]:
        known.append(f"that of the mode that carries f {found['carrier']:.5g}")
    line = f"sweep over t: rate {found['rate']:.5g}{interval} from t = {low:.4g} to {high:.4g}; {', '.join(known)}"
    return _wrapped(line, 14)


def _over_temperature(found: dict[str, Any]) -> list[str]:
    values = found["values"]
    lines = [f"sweep over tau: {len(values)} temperatures from {values[0]:g} to {values[-1]:g}, weight decay held"]
    if found["rate"] is not None:
        ends = f"{found['squared'][0]:.4e} to {found['squared'][-1]:.4e}"
        lines.append(f"  |f_oo - f_S|^2 from {ends}: slope {_power(found['rate'])}; weight decay keeps it from 0")
    for name, what in (("entropic", "|f_oo(tau) - f_oo(0)|^2"), ("excess", "(risk + weight decay)(tau) - (at 0)")):
        if found[name] is not None and found[name]["rate"] is not None:
            law = found[name]["smooth_law"]
            lines.append(f"  {what}: slope {_power(found[name]['rate'])}; {law:g} for smooth atoms")
    return lines + ([f"  no more fits: {found['reason']}"] if found["reason"] else [])


_DESCRIBED = {"N": _over_width, "n": _over_samples, "t": _over_time, "tau": _over_temperature}


def figure(result: dict[str, Any]) -> Figure:
    """The terms side by side, and a panel for every sweep."""
    from mfpde import figures
    from mfpde.figures import theory_errors

    sweeps = [(name, found) for name, found in result["sweeps"].items() if _drawn(found)]
    rows = 1 + (len(sweeps) + 1) // 2
    sheet, axes = figures.sheet(figures.DOUBLE, 2.5 * rows, rows, 2)
    defined = [term for term in result["terms"] if term["squared"] is not None]
    theory_errors.terms(
        axes[0],
        [TITLES[term["name"]] for term in defined],
        [term["squared"] for term in defined],
        [term["standard_error"] or 0.0 for term in defined],
        total=result["total"],
    )
    gram = result["gram"]
    theory_errors.gram(axes[1], [_short(TITLES[name]) for name in gram["names"]], gram["matrix"])
    for ax, (name, found) in zip(axes[2:], sweeps, strict=False):
        _panel(ax, name, found)
    for ax in axes[2 + len(sweeps) :]:
        ax.set_axis_off()
    return sheet


def _drawn(found: dict[str, Any]) -> bool:
    """Whether a sweep has a curve: over tau it needs a population, or five temperatures."""
    return "undefined" not in found and ("entropic" not in found or bool(found["squared"] or found["entropic"]))


def _panel(ax: Axes, name: str, found: dict[str, Any]) -> None:
    from mfpde.figures import theory_errors

    if name == "t":
        guides = {} if found["sharp"] is None else {"$2\\Lambda$": found["sharp"]}
        if found["carrier"] not in (None, found["sharp"]):
            guides["mode that carries $f$"] = found["carrier"]
        theory_errors.decay(ax, found["times"], found["squared"], found["window"], found["rate"], guides)
    elif name == "tau":
        series = {} if found["squared"] is None else {"$\\|f_\\infty-f_S\\|^2$": (found["squared"], found["rate"])}
        for key, label in (("entropic", "$\\|f_\\infty(\\tau)-f_\\infty(0)\\|^2$"), ("excess", "risk + decay, excess")):
            if found[key] is not None:
                series[label] = (found[key]["values"], found[key]["rate"])
        theory_errors.temperatures(ax, found["values"], series)
    else:
        label = "propagation of chaos" if name == "N" else "statistical"
        symbol = {"N": "width $N$", "n": "samples $n$"}[name]
        constant = found["constant_at_rest"] if name == "N" else found["constant"]
        level = "$C_{\\mathrm{PoC}}/N$ at rest" if name == "N" else "$C_{\\mathrm{stat}}/n$"
        levels = {} if constant is None else {level: constant}
        theory_errors.power(ax, found, label, symbol, levels)
