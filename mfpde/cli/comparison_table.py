"""A comparison of two outputs as text."""

from __future__ import annotations

from typing import Any

SHOWN = 4  # parameters in a table; --json holds all
ERRORS = ("function_error", "function_error_iid", "coupling_error")


def table(result: dict[str, Any]) -> str:
    """Who is compared, then risk, predictions, errors of an ensemble, distances and moments."""
    lines = [_head("A", result["a"]), _head("B", result["b"])]
    if not result["same_study"]:
        own = ": the errors of an ensemble refer to its own limit" if result.get("ensemble") else ""
        lines.append(f"they come from different studies{own}")
    times = result["times"]
    if times[-1] is None:
        lines.append("compared at rest")
    else:
        lines.append(f"{len(times)} common time{'s' if len(times) > 1 else ''}, the last {times[-1]:g}")
    lines += _risk(result) + _functions(result) + _ensembles(result) + _distances(result) + _moments(result)
    return "\n".join(lines)


def _head(letter: str, about: dict[str, Any]) -> str:
    state = "" if about["finished"] else ", NOT finished"
    return f"{letter}  {about['file']} ({about['kind']}{state}): {about['title']}"


def _risk(result: dict[str, Any]) -> list[str]:
    if "risk" not in result:
        return []
    lines = ["", f"{'risk':<14}{'A':>24}{'B':>24}{'difference':>14}{'largest':>14}  at t"]
    for e in result["risk"]:
        at = "rest" if e["largest_at"] is None else f"{e['largest_at']:g}"
        lines.append(
            f"{_widths(e):<14}{_pm(e['a'], e['a_sem']):>24}{_pm(e['b'], e['b_sem']):>24}"
            f"{e['final_difference']:>14.3e}{e['largest_difference']:>14.3e}  {at}"
        )
    energy = result["free_energy"]
    if energy is not None:
        lines.append(f"{'free energy':<14}{energy['a']:>24.12g}{energy['b']:>24.12g}{energy['difference']:>14.3e}")
        if "rest_a" in energy:
            a, b, difference = (energy[f"rest_{key}"] for key in ("a", "b", "difference"))
            lines.append(f"{'  at rest':<14}{a:>24.12g}{b:>24.12g}{difference:>14.3e}")
    return lines


def _functions(result: dict[str, Any]) -> list[str]:
    found = result.get("function", [])
    return [""] * bool(found) + [f"|f_A - f_B| = {e['difference']:.6e}  {_at(e)}" for e in found]


def _ensembles(result: dict[str, Any]) -> list[str]:
    lines = []
    for e in result.get("ensemble", []):
        lines += ["", f"{e['of'].upper()} against its limit {_at(e)}"]
        lines.append(f"{'width':>8}{'E |f_N - f|^2':>24}{'of the copies':>24}{'E |theta - copy|^2':>24}")
        for w in e["widths"]:
            cells = (_pm(w.get(name), w.get(f"{name}_sem")) for name in ERRORS)
            lines.append(f"{w['width']:>8}" + "".join(f"{cell:>24}" for cell in cells))
        for name, rate in e["rates"].items():
            interval = "" if rate["ci"] is None else f"   [{rate['ci'][0]:.3f}, {rate['ci'][1]:.3f}] at 95 %"
            lines.append(f"  {name.replace('_', ' ')} ~ N^{rate['slope']:.3f}{interval}")
    return lines


def _distances(result: dict[str, Any]) -> list[str]:
    found = [e for e in result.get("laws", []) if "w2" in e or "w2_exact" in e]
    if not found:
        return []
    names = list(found[0].get("w2_coordinates", {}))
    joint = [f"W2 {found[0]['w2_is']}"] if "w2" in found[0] else ["W2 by POT"]
    shown = names[:SHOWN] if len(names) > 1 else []
    lines = ["", f"{'':<14}{'t':>10}" + "".join(f"{title:>14}" for title in [*joint, *shown])]
    for e in found:
        values = [e["w2"] if "w2" in e else e["w2_exact"], *(e["w2_coordinates"][name] for name in shown)]
        line = f"{_widths(e):<14}{_t(e):>10}" + "".join(f"{value:>14.5e}" for value in values)
        lines.append(line + (f" +- {e['w2_exact_cell_error']:.1e} (cells at their centres)" if "w2" not in e else ""))
    return lines


def _moments(result: dict[str, Any]) -> list[str]:
    found = [e for e in result.get("laws", []) if "moments" in e]
    if not found:
        return []
    time = found[-1]["time"]
    lines = ["", f"{'moments':<14}{_t(found[-1]):>10}{'A':>24}{'B':>24}{'difference':>14}"]
    for e in (e for e in found if e["time"] == time):
        for name, m in list(e["moments"].items())[:SHOWN]:
            for k in range(2):
                power = name if k == 0 else f"{name}^{k + 1}"
                a, b = (_pm(m[s][k], None if m[f"{s}_sem"] is None else m[f"{s}_sem"][k]) for s in "ab")
                lines.append(f"{_widths(e):<14}{'E ' + power:>10}{a:>24}{b:>24}{m['difference'][k]:>14.3e}")
    return lines


def _widths(e: dict[str, Any]) -> str:
    widths = [w for w in (e["width_a"], e["width_b"]) if w is not None]
    return "" if not widths else "N = " + " / ".join(str(w) for w in dict.fromkeys(widths))


def _at(e: dict[str, Any]) -> str:
    return "at rest" if e["time"] is None else f"at t = {e['time']:g}"


def _t(e: dict[str, Any]) -> str:
    return "rest" if e["time"] is None else f"{e['time']:g}"


def _pm(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.8g}" if error is None else f"{value:.6g} +- {error:.1e}"
