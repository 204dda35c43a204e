"""Plain-text tables of results: what a person reads at the end of a run."""

from __future__ import annotations

from typing import Any


def solve_table(result: dict[str, Any]) -> str:
    """The numbers of a run, where it is and what to type next."""
    lines = [f"{result['study']}: {result['title'] or result['data']}"]
    if result["limit"] or result["stationary"]:
        lines.append("")
    lines += _limit_lines(result["limit"]) if result["limit"] else []
    lines += _stationary_lines(result["stationary"], result["distance_to_stationary"]) if result["stationary"] else []
    if result["particles"]:
        lines += ["", *_particle_lines(result["particles"], result["forces"], result["rates"])]
    lines += ["", f"done in {result['wall_s']:.1f} s; results in {result['directory']}"]
    figures = result.get("figures", [])
    if figures:
        lines.append("figures: " + ", ".join(path.rsplit("/", 1)[-1] for path in figures))
    if result["files"]:
        lines.append(f"next: mfpde info {result['files'][0]}")
    return "\n".join(lines)


# mass at radius 0 from which on it is told
ORIGIN = 1e-6


def _limit_lines(limit: dict[str, Any]) -> list[str]:
    size = " x ".join(str(n) for n in limit["cells"]) if limit["kind"] == "grid" else f"{limit['atoms']} atoms"
    rows = [
        ("limit", f"{size}, {limit['steps']} steps to t = {limit['time']:g} in {limit['wall_s']:.2f} s"),
        ("  free energy", f"{limit['free_energy']:.10g}"),
        ("  risk", f"{limit['risk']:.10g}"),
    ]
    if limit["kind"] == "grid":
        rows += [
            ("  optimality gap", f"{limit['gap']:.3e}"),
            ("  mass error", f"{limit['mass_error']:.1e}, smallest density {limit['min_density']:.1e}"),
            ("  mass at the box", f"{limit['boundary_mass']:.1e}"),
            ("  energy increases", f"{limit['energy_increases']} of {limit['steps']} steps"),
        ]
    if any(mass > ORIGIN for mass in limit["origin_mass"].values()):
        found = ", ".join(f"{mass:.2g} ({name})" for name, mass in limit["origin_mass"].items())
        rows.append(("  mass at r = 0", found))
    if "order_parameter" in limit:
        rows.append(("  order parameter", f"{limit['order_parameter']:.10g}"))
    return _aligned(rows)


def _stationary_lines(rest: dict[str, Any], distance: dict[str, Any] | None) -> list[str]:
    bound = (
        f"dual {rest['dual']:.10g}, gap {rest['gap']:.1e}"
        if rest["certified"]
        else f"tau KL(rho|p_rho) {rest['gap']:.1e}"
    )
    rows = [
        ("stationary", f"{rest['newton_steps']} Newton steps"),
        ("  free energy", f"{rest['free_energy']:.10g} ({bound})"),
        ("  risk", f"{rest['risk']:.10g}"),
    ]
    if "order_parameter" in rest:
        rows.append(("  order parameter", f"{rest['order_parameter']:.10g}"))
    if distance is not None:
        gap, kl, function = distance["free_energy_gap"], distance["kl"], distance["function"]
        rows.append(("  distance", f"F - F* = {gap:.3e}, KL = {kl:.3e}, |f - f*| = {function:.3e}"))
    return _aligned(rows)


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    return [f"{name:<18} {value}" for name, value in rows]


def _particle_lines(particles: list[dict[str, Any]], forces: dict[str, Any], rates: dict[str, Any]) -> list[str]:
    lines = [f"particles: {forces['description']}, {forces['wall_s']:.1f} s"]
    if forces["integration_error"]:
        lines.append(f"  the forces carry a relative integration error of {forces['integration_error']:.1e}")
    lines.append(f"{'width':>8} {'replicas':>8} {'risk':>22} {'function error':>22} {'coupling error':>22} {'W2':>10}")
    for p in particles:
        lines.append(
            f"{p['width']:>8} {p['replicas']:>8} {_pm(p['risk_mean'], p['risk_sem']):>22}"
            f" {_pm(p['function_error'], p.get('function_error_sem')):>22}"
            f" {_pm(p['coupling_error'], p.get('coupling_error_sem')):>22} {_short(p['w2']):>10}"
        )
    for name, rate in rates.items():
        if rate["slope"] is not None:
            interval = "" if rate["ci"] is None else f", 95 % interval [{rate['ci'][0]:.3f}, {rate['ci'][1]:.3f}]"
            lines.append(f"{name.replace('_', ' ')} ~ N^{rate['slope']:.3f}{interval}")
    return lines


def _pm(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4e}" if error is None else f"{value:.4e} +- {error:.0e}"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3e}"


def estimate_table(found: dict[str, Any]) -> str:
    """The estimate of a dry run."""
    lines = []
    if "limit" in found:
        e = found["limit"]
        if "cells" in e:
            box = ", ".join(f"[{lo:.3g}, {hi:.3g}]" for lo, hi in e["bounds"])
            lines.append(f"# limit: {' x '.join(map(str, e['cells']))} cells on {box}, {_cost(e)}")
            lines.append(f"# {e['features']}")
        else:
            lines.append(f"# limit: {e['atoms']} atoms, {_cost(e)}")
    if "particles" in found:
        p = found["particles"]
        lines.append(f"# particles: {p['operations']:.2g} interactions, {_cost(p)}")
        if found["ranks"] > 1:
            lines.append(
                f"# {found['ranks']} ranks: the above is the first one's, {p['others'] / 2**20:.0f} MiB each other"
            )
    lines.append(
        f"# {found['threads']} threads; at most {found['bytes'] / 2**20:.0f} MiB at a time, libraries included"
    )
    return "\n".join(lines)


def _cost(part: dict[str, Any]) -> str:
    seconds = "" if part["seconds"] is None else f"about {part['seconds']:.2g} s, "
    return f"{seconds}{part['bytes'] / 2**20:.0f} MiB"
