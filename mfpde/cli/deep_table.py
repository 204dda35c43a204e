"""The table that ``mfpde deep`` prints: assumptions, verdict, limit, finite widths, width law, held-out rows."""

from __future__ import annotations

from typing import Any

# recorded steps that are printed, spread evenly
_ROWS = 9
# an eigenvalue below this part of the largest is round-off
_SINGULAR = 1e-11
_NAMES = {"mup": "muP", "ntk": "NTK", "standard": "standard", "integrable": "integrable"}


def table(result: dict[str, Any]) -> str:
    """The numbers of a run, where it is and what to type next."""
    lines = [f"{result['study']}: {result['title'] or result['data']}", "", *_assumptions(result)]
    if result["limit"] is not None:
        lines += ["", *_verdict(result), "", *_limit(result), *_bound(result)]
    if result["widths"]:
        lines += ["", *_widths(result)]
    if result["width_law"] is not None:
        lines += ["", *_law(result["width_law"])]
    if result["test"] is not None:
        lines += ["", *_test(result["test"])]
    lines += ["", f"done in {result['wall_s']:.1f} s; results in {result['directory']}"]
    if result.get("figures"):
        lines.append("figures: " + ", ".join(path.rsplit("/", 1)[-1] for path in result["figures"]))
    lines.append(f"next: mfpde info {result['files'][0]}")
    return "\n".join(lines)


def _assumptions(result: dict[str, Any]) -> list[str]:
    given = result["assumptions"]
    return [
        f"assumptions of the theorem {'hold' if given['hold'] else 'do NOT hold'}",
        *_wrapped("inputs", given["inputs"]["sentence"]),
        *_wrapped("activation", given["activation"]["sentence"]),
    ]


def _verdict(result: dict[str, Any]) -> list[str]:
    """The answer, what the last step of the readout proves about the residual, how far the numbers can be trusted."""
    one, trust, error = result["verdict"], result["reliability"], result["limit"]["f_error"]
    lines = _wrapped(f"verdict: {one['answer']}", one["sentence"])
    if one["residual_bound"] is not None:
        words = f"rms residual at most {one['residual_bound']:.3g} before the last recorded step, by the step itself"
        lines += _wrapped("certificate", words + ("" if result["certificate"]["holds"] else "; VIOLATED"))
    if trust["unreliable_from"] is not None:
        causes = {
            "spike": "the loss spikes",
            "unstable": "rate times curvature is above 2",
            "crowded": "too few samples",
        }
        told = [f"{words} from step {trust[name]} on" for name, words in causes.items() if trust[name] is not None]
        lines += _wrapped("UNRELIABLE", f"from step {trust['unreliable_from']} on: " + ", ".join(told))
    known = [e for e in error if e is not None]
    if known:
        word = "below the 1e-3 aimed at" if trust["precise"] else "above 1e-3: more limit.samples or limit.replicates"
        at = result["limit"]["steps"][error.index(max(known))]
        lines += _wrapped("error of f", f"at most {max(known):.1e}, at step {at} (standard error of the mean), {word}")
    return lines


def _limit(result: dict[str, Any]) -> list[str]:
    """Loss and, per layer, feature change, smallest eigenvalue and space-time eigenvalue at a few steps."""
    limit = result["limit"]
    how = "exact" if limit["exact"] else f"{limit['replicates']} replicates of {limit['samples']} samples"
    lines = [f"limit of infinite width, {how}"]
    if limit["rank"]:
        lines[0] += "; columns forward + backward " + ", ".join(f"{f} + {b}" for f, b in limit["rank"])
    layers = range(result["depth"])
    wide = max(9 * len(layers) - 1, 18)
    lines.append(
        f"{'step':>6} {'loss':>10} {'+-':>7} {'error f':>8}  {'feature change':<{wide}}  smallest eigenvalue of Phi"
    )
    steps = limit["steps"]
    for k in _spread(len(steps)):
        change = " ".join(f"{limit['feature_change']['mean'][k][layer]:8.4g}" for layer in layers)
        eigen = " ".join(f"{limit['feature_eigenvalue']['mean'][k][layer]:8.3g}" for layer in layers)
        error = limit["f_error"][k]
        lines.append(
            f"{steps[k]:>6} {limit['loss']['mean'][k]:10.5g} {_short(limit['loss']['sem'][k]):>7} {_short(error):>8}"
            f"  {change:<{wide}}  {eigen:<{wide}}"
        )
    last = limit["space_time_eigenvalue"]["mean"][-1]
    lines.append("space-time eigenvalue at the last step: " + " ".join(f"{value:.3g}" for value in last))
    return lines


def _bound(result: dict[str, Any]) -> list[str]:
    """The kernel lower bound on the rate: the eigenvalue of Theta and the smallest ratio of rate to bound."""
    one = result["kernel_bound"]
    if one is None:
        return []
    lowest, highest = one["lowest"], one["highest"]
    if min(lowest) <= _SINGULAR * max(highest):
        return _wrapped("kernel bound", "none: Theta is singular to round-off")
    ratios = [r / b for r, b in zip(one["rate"], one["bound"], strict=True) if r is not None and b]
    words = f"smallest eigenvalue of Theta from {lowest[0]:.3g} to {lowest[-1]:.3g}, never below {min(lowest):.3g}"
    if ratios:
        words += f"; rate / bound at least {min(ratios):.2f}, at last {ratios[-1]:.2f}"
    return _wrapped("kernel bound", words)


def _widths(result: dict[str, Any]) -> list[str]:
    """One row per parametrization and width, the limit below; values after the last step, of the deepest layer."""
    limit = result["limit"]
    lines = [f"after the last step, layer {result['depth']} (standard errors over seeds)"]
    head = ("feature change", "smallest eigenvalue", "space-time")
    lines.append(
        f"{'':<10} {'width':>6} {'seeds':>6} {'loss':>16}"
        + "".join(f" {h:>20}" for h in head)
        + f" {'|f - limit|':>12}"
    )
    names = ("feature_change", "feature_eigenvalue", "space_time_eigenvalue")
    for row in result["widths"]:
        cells = "".join(f" {_pm(row[name]['mean'][-1], row[name]['sem'][-1]):>20}" for name in names)
        away = "-" if row["distance"] is None else f"{row['distance']['mean']:.4f}"
        loss = _pm(row["loss"]["mean"], row["loss"]["sem"])
        kind = _NAMES[row["parametrization"]]
        lines.append(f"{kind:<10} {row['width']:>6} {row['seeds']:>6} {loss:>16}{cells} {away:>12}")
    if limit is not None:
        cells = "".join(f" {_pm(limit[name]['mean'][-1][-1], limit[name]['sem'][-1][-1]):>20}" for name in names)
        loss = _pm(limit["loss"]["mean"][-1], limit["loss"]["sem"][-1])
        lines.append(f"{'limit':<10} {'inf':>6} {'':>6} {loss:>16}{cells} {'0':>12}")
    return lines


def _law(law: dict[str, Any]) -> list[str]:
    lines = [f"{'muP':<10} {'width':>6} {'bias of f':>20} {'N bias':>8} {'fluctuation':>20} {'sqrt(N) sd':>11}"]
    for k, width in enumerate(law["widths"]):
        bias, sd = law["bias"][k], law["fluctuation"][k]
        lines.append(
            f"{'':<10} {width:>6.0f} {_pm(bias, law['bias_sem'][k]):>20} {_scaled(bias, width):>8}"
            f" {_pm(sd, law['fluctuation_sem'][k]):>20} {_scaled(sd, width**0.5):>11}"
        )
    return lines + _wrapped("width law", law["sentence"])


def _test(test: dict[str, Any]) -> list[str]:
    lines = [f"{test['rows']} held-out rows: {'':<6} {'mean square':>12} {'right':>8}"]
    rows = [] if test["limit"] is None else [{"parametrization": "limit", "width": "inf"} | test["limit"]]
    for row in rows + test["widths"]:
        right = "-" if row["accuracy"] is None else f"{100.0 * row['accuracy']:.1f}%"
        kind = _NAMES.get(row["parametrization"], "limit")
        lines.append(f"{kind:<14} {row['width']:>8} {row['mean_square']:12.4f} {right:>8}")
    return lines


def _spread(count: int) -> list[int]:
    """At most _ROWS of ``count`` indices: the first, the last, and between them denser at the beginning."""
    if count <= _ROWS:
        return list(range(count))
    return sorted({round((count - 1) * (k / (_ROWS - 1)) ** 2) for k in range(_ROWS)})


def _wrapped(name: str, words: str, columns: int = 118) -> list[str]:
    """A sentence behind its name, in lines that fit a terminal."""
    import textwrap

    return textwrap.wrap(f"{name:<13} {words}", columns, subsequent_indent=" " * 14)


def _pm(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if error is None else f"{value:.4g} +- {error:.0e}"


def _scaled(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{value * factor:.3f}"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.0e}"
