"""The table that ``mfpde kernel-limit`` prints: the limit, one row per scale, slopes."""

from __future__ import annotations

from typing import Any

_RATES = {"distance": "|u - u*| on data", "test_distance": "|f - f*| on tests", "displacement": "displacement"}


def table(result: dict[str, Any]) -> str:
    """The numbers of a run, where it is and what to type next."""
    lines = [f"{result['study']}: {result['title']}", result["data"]["description"], ""]
    lines += [*_kernel(result), "", *_limit(result)]
    for law, rows in result["scales"].items():
        lines += ["", *_scales(result, law, rows)]
    lines += ["", f"done in {result['wall_s']:.1f} s; results in {result['directory']}"]
    if result.get("figures"):
        lines.append("figures: " + ", ".join(path.rsplit("/", 1)[-1] for path in result["figures"]))
    lines.append(f"next: mfpde info {result['files'][0]}")
    return "\n".join(lines)


def _kernel(result: dict[str, Any]) -> list[str]:
    kernel = result["kernel"]
    check = "" if kernel["check"] is None else f", within {kernel['check']:.0e} of quadrature in the plane"
    lines = [f"kernel of the initial law: {kernel['how']}{check}"]
    lines.append(
        f"  rank {kernel['rank']} of {result['data']['train']}, condition {kernel['condition']:.2g}, "
        f"largest eigenvalue of H/n {kernel['largest']:.4g}"
    )
    if kernel["width_error"] is not None:
        lines.append(f"  the neurons of the flows have it to {100.0 * kernel['width_error']:.1f} %")
    return lines


def _limit(result: dict[str, Any]) -> list[str]:
    limit = result["limit"]
    lines = [f"{'scale to infinity':<24} {'at':>10} {'train error':>12} {'test error':>11} {'wrong sign':>11}"]
    names = {
        "final": ("at the last time", "time"),
        "ridgeless": ("interpolation", None),
        "best_stopping": ("best stopping time", "time"),
        "best_ridge": ("best ridge", "ridge"),
    }
    for name, (label, key) in names.items():
        if name in limit:
            row = limit[name]
            at = f"{row[key]:10.3g}" if key else f"{'-':>10}"
            lines.append(
                f"{label:<24} {at} {row['train_error']:12.5g} {_told(row['test_error'], 11, '.5g')} "
                f"{_told(row['wrong_sign'], 11, '.4f')}"
            )
    return lines


def _scales(result: dict[str, Any], law: str, rows: list[dict[str, Any]]) -> list[str]:
    what = "the initial law" if law == "initial" else "a skewed law of a with the same kernel"
    lines = [
        f"flows without noise from {what}, rescaled time {result['time']:g}",
        f"{'scale':>8} {'train error':>12} {'test error':>11} {'wrong sign':>11} {'|u - u*|':>10} {'on tests':>10}"
        f" {'moved':>10} {'kernel':>9} {'aligned':>8}",
    ]
    for row in rows:
        lines.append(
            f"{row['scale']:8.4g} {row['train_error']:12.5g} {_told(row['test_error'], 11, '.5g')} "
            f"{_told(row['wrong_sign'], 11, '.4f')} {row['distance']:10.2e} {_told(row['test_distance'], 10, '.2e')} "
            f"{row['displacement']:10.2e} {row['kernel_change']:9.2e} {row['alignment']:8.3f}"
        )
    for name, fit in result["rates"][law].items():
        if fit is not None and not (name == "test_distance" and not result["data"]["test"]):
            ends = "" if fit["ci"] is None else f" [{fit['ci'][0]:.3f}, {fit['ci'][1]:.3f}]"
            lines.append(f"  slope of {_RATES[name]} in the scale, from {fit['scales'][0]:g}: {fit['slope']:.3f}{ends}")
    return lines


def _told(value: float | None, width: int, form: str) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}{form}}"
