"""The table that ``mfpde one-step`` prints: first layers, curves, finite sizes against the limit."""

from __future__ import annotations

from typing import Any

# rows of a curve that are printed, spread over its values
_ROWS = 9
_NAMES = {
    "test_error": "test error (mean square)",
    "train_error": "training error (mean square)",
    "test_loss": "test loss",
    "train_loss": "training loss",
    "wrong_sign": "share of wrong signs",
    "weight_norm": "|a|^2 / p",
}
_SWEPT = {
    "samples": "n/d",
    "width": "p/d",
    "batch": "n0/d",
}


def table(result: dict[str, Any]) -> str:
    """The numbers of a run, where it is and what to type next."""
    lines = [f"{result['study']}: {result['title']}", "", *_layers(result), "", *_curves(result)]
    for quantity in result["quantities"][:2]:
        for twin in dict.fromkeys(row["twin"] for row in result["comparison"]):
            lines += ["", *_comparison(result, twin, quantity)]
    if not result["comparison"]:
        lines += ["", "no finite sizes: --resume without --no-simulation adds them"]
    lines += ["", f"done in {result['wall_s']:.1f} s; results in {result['directory']}"]
    if result.get("figures"):
        lines.append("figures: " + ", ".join(path.rsplit("/", 1)[-1] for path in result["figures"]))
    lines.append(f"next: mfpde info {result['files'][0]}")
    return "\n".join(lines)


def _layers(result: dict[str, Any]) -> list[str]:
    """r, c, <v, theta> and the covariance d cov of the loadings, one row for every map and group."""
    lines = [
        f"{'first layer':<12} {'share':>6} {'spike':>9} {'bulk':>8} {'alignment':>10}"
        f" {'var t':>8} {'var s':>8} {'var delta':>10} {'corr t delta':>13}"
    ]
    for name, layer in result["layers"].items():
        for group in layer["groups"]:
            g = group["covariance"]
            scale = (g[0][0] * g[2][2]) ** 0.5
            correlation = f"{g[0][2] / scale:13.3f}" if scale > 0.0 else f"{'-':>13}"
            lines.append(
                f"{name:<12} {group['share']:6.2f} {group['spike']:9.4f} {group['bulk']:8.4f}"
                f" {layer['alignment']:10.4f} {g[0][0]:8.4f} {g[1][1]:8.4f} {g[2][2]:10.4f} {correlation}"
            )
    return lines


def _curves(result: dict[str, Any]) -> list[str]:
    quantity, over, values = result["quantities"][0], result["over"], result["values"]
    names = list(result["curves"])
    wide = [max(10, len(name)) for name in names]
    best = [name for name in names if name.endswith("optimal ridge")]
    head = "  ".join(f"{name:>{w}}" for name, w in zip(names, wide, strict=True))
    lines = [f"{_NAMES[quantity]} in the limit", f"{_SWEPT.get(over, over):>9}  {head}"]
    lines[-1] += f"  {'its ridge':>10}" if best else ""
    count = len(values)
    for k in sorted({round(i * (count - 1) / (min(_ROWS, count) - 1)) for i in range(min(_ROWS, count))}):
        row = "  ".join(f"{result['curves'][n][quantity][k]:{w}.6f}" for n, w in zip(names, wide, strict=True))
        lines.append(f"{values[k]:9.4g}  {row}")
        lines[-1] += f"  {result['curves'][best[0]]['ridge'][k]:10.3g}" if best else ""
    return lines


def _comparison(result: dict[str, Any], twin: str, quantity: str) -> list[str]:
    """One row per value and size: the mean, and how far every map is from it in standard errors and in per cent."""
    rows = [row for row in result["comparison"] if row["twin"] == twin and row["quantity"] == quantity]
    maps, over = list(rows[0]["theory"]), result["over"]
    what = "networks after their step" if twin == "network" else "spiked model drawn"
    lines = [f"{_NAMES[quantity]}, {what}, against the limit (d = inf: extrapolated in 1/d)"]
    head = "".join(f"  {name:>10} {'z':>6} {'off by':>8}" for name in maps)
    lines.append(f"{_SWEPT.get(over, over):>9} {'d':>6} {'seeds':>6} {'simulated':>10} {'+-':>8}{head}")
    for row in rows:
        size = "inf" if row["dimension"] is None else str(row["dimension"])
        told = "".join(f"  {row['theory'][name]:10.6f} {_told(row['z'][name], row['relative'][name])}" for name in maps)
        lines.append(f"{row[over]:9.4g} {size:>6} {row['seeds']:>6} {row['mean']:10.6f} {row['sem']:8.1e}{told}")
    return lines


def _told(z: float | None, relative: float | None) -> str:
    return f"{'-':>6} {'-':>8}" if z is None or relative is None else f"{z:+6.1f} {100.0 * relative:+7.2f}%"
