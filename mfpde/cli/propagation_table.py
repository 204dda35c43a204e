"""Propagation of chaos, the oracle, convergence in time and the bias of the step as text."""

from __future__ import annotations

from typing import Any

ERRORS = ("coupling", "function", "function_iid", "empirical")
TITLES = {
    "coupling": "coupling",
    "function": "function",
    "function_iid": "independent",
    "empirical": "empirical W2^2",
    "sliced": "sliced W2^2",
}


def chaos(result: dict[str, Any]) -> str:
    """Every kind of error with its law, N times its mean, exponents, sups, gain, constants, oracle, replicas."""
    lines = [f"{result['title']}: {result['particles']} against {result['limit']}", ""]
    lines += ["what is measured, and its law in the width N"]
    lines += [f"  {kind['name']:<14}{kind['meaning']}: {kind['law']}" for kind in result["kinds"].values()]
    lines += _last_errors(result) + _rates(result) + _sups(result) + _gain(result)
    lines += _one_particle(result) + _at_rest(result["stationary"]) + _replicas(result)
    return "\n".join(lines)


def _last_errors(result: dict[str, Any]) -> list[str]:
    last = result["errors"][-1]
    present = [kind for kind in ERRORS if kind in last["widths"][0]]
    cloud = "sliced" if "sliced" in result["kinds"] else "empirical"
    titles = [TITLES[cloud if kind == "empirical" else kind] for kind in present]
    lines = ["", f"N x mean over {result['replicas']} replicas at t = {last['time']:g}"]
    lines.append(f"{'N':>8}" + "".join(f"{title:>22}" for title in titles))
    for row in last["widths"]:
        n = row["width"]
        cells = (_pm(n * row[kind], n * row[f"{kind}_sem"]) for kind in present)
        lines.append(f"{n:>8}" + "".join(f"{cell:>22}" for cell in cells))
    return lines


def _rates(result: dict[str, Any]) -> list[str]:
    if not result["rates"]:
        return []
    kinds = list(result["rates"])
    lines = ["", "exponent in N, with 95 % intervals over replicas"]
    lines.append(f"{'t':>8}" + "".join(f"{TITLES.get(kind, kind):>26}" for kind in kinds))
    for k, time in enumerate(result["shown"]):
        cells = (_interval(result["rates"][kind][k]) for kind in kinds)
        lines.append(f"{time:>8g}" + "".join(f"{cell:>26}" for cell in cells))
    return lines


def _interval(rate: dict[str, Any]) -> str:
    if rate["slope"] is None:
        return "-"
    ci = rate["ci"]
    return f"{rate['slope']:.3f}" if ci is None else f"{rate['slope']:.3f} [{ci[0]:.3f}, {ci[1]:.3f}]"


def _sups(result: dict[str, Any]) -> list[str]:
    lines = [""]
    for kind, found in result["uniformity"].items():
        sup = found["overall"]
        low, high = sup["interval"]
        lines.append(
            f"sup over t and N of N x {kind} error: {sup['value']:.4g} at t = {sup['time']:g}, N = {sup['width']:g}"
            f" (without the bias of a sup {sup['corrected']:.4g}; the true one in [{low:.3g}, {high:.3g}] at 95 %)"
        )
    return lines


def _gain(result: dict[str, Any]) -> list[str]:
    gain = result.get("gain")
    if gain is None:
        return []
    ratio, low, high = (gain[name][-1][-1] for name in ("ratio", "low", "high"))
    width, time = result["widths"][-1], result["shown"][-1]
    return [
        f"independent neurons err {ratio:.2f} times as much as the network [{low:.2f}, {high:.2f}] at N = {width},"
        f" t = {time:g}"
    ]


def _one_particle(result: dict[str, Any]) -> list[str]:
    found = result["one_particle"]
    if found is None:
        return []
    lines = ["", "law of one particle, Gaussian: W2^2 of the fit to the limit"]
    for one in found:
        verdict = f"{one['corrected']:.3e} +- {one['sem']:.0e}" if one["resolved"] else "not resolved"
        lines.append(f"{one['width']:>8}  {one['squared']:.3e}, sampling noise {one['floor']:.3e}: {verdict}")
    return lines


def _at_rest(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = ["", "at rest"]
    constants = found["constants"]
    if constants is None:
        lines.append(f"  no constants: {found['reason']}")
    else:
        lines.append(f"  N x error of independent neurons    {constants['iid_trace']:.7g}  (trace of the covariance)")
        lines.append(f"  N x error of the network, N -> oo   {constants['propagation_of_chaos']:.7g}")
        lines.append(f"  N x gap of the free energy, N -> oo {constants['log_determinant_gap']:.7g}")
        lines.append(f"  KL(law of N neurons | independent)  {constants['relative_entropy']:.7g}")
    lines += _oracle_rows(found["oracle"], {row["width"]: row for row in found.get("averages", [])})
    if "averages" in found:
        lines.append(f"  measured: time averages from t = {found['rest_after']:g} on")
    elif "rest_after" in found:
        entropy = found["relative_entropy_at_the_end"]
        lines.append(f"  the run ends before rest (relative entropy {entropy:.1e}): no time averages of it")
    return lines


def oracle(result: dict[str, Any]) -> str:
    """The stationary statistics of finite networks by importance sampling."""
    return "\n".join([f"{result['title']}: networks at rest from {result['limit']}", *_at_rest(result["stationary"])])


def _oracle_rows(found: dict[str, Any], measured: dict[int, dict[str, Any]]) -> list[str]:
    refused = [] if found["reason"] is None else [f"  no importance sampling at some widths: {found['reason']}"]
    if not found["widths"]:
        return refused
    columns = ["N x function error", "measured", "N x energy gap", "relative entropy"]
    lines = ["", f"{'N':>8}" + "".join(f"{title:>24}" for title in columns) + f"{'effective draws':>18}"]
    for e in found["widths"]:
        own = measured.get(e["width"])
        cells = [
            _pm(e["function_error"], e["function_error_sem"]),
            "-" if own is None else _pm(own["function"], own["function_sem"]),
            _pm(e["free_energy_gap"], e["free_energy_gap_sem"]),
            _pm(e["relative_entropy"], e["relative_entropy_sem"]),
        ]
        share = f"{e['effective_sample_size']:.0f} of {e['draws']}"
        lines.append(f"{e['width']:>8}" + "".join(f"{cell:>24}" for cell in cells) + f"{share:>18}")
    return lines + refused


def _replicas(result: dict[str, Any]) -> list[str]:
    lines = []
    for kind, found in result["needed_replicas"].items():
        if found is not None:
            wanted = f"an exponent within +-{result['wanted_half_width']:g} at 95 %"
            lines.append(f"{TITLES[kind]}: {found['for_slope']} replicas for {wanted}; there are {result['replicas']}")
    return ["", *lines] if lines else []


def convergence(result: dict[str, Any]) -> str:
    """Measured decay of F - F* beside its sharp, Poincare and certified rates."""
    lines = [f"{result['title']}: F - F* of {result['limit']}", ""]
    lines.append(f"{'t':>10}{'F - F*':>14}{'local rate':>14}{'certified':>14}")
    certified = result["certified"]
    for k, (time, gap) in enumerate(zip(result["times"], result["gaps"], strict=True)):
        local = result["local_rates"][k] if k < len(result["local_rates"]) else None
        cells = [f"{gap:.4e}", "-" if local is None else f"{local:.5f}"]
        cells.append("-" if certified is None else f"{certified[k]:.3e}")
        lines.append(f"{time:>10g}" + "".join(f"{cell:>14}" for cell in cells))
    window = result["measured_window"]
    lines += ["", "rate of exp(-r t)"]
    if result["measured"] is None:
        lines.append("  measured    none: the gap is lost in round-off")
    else:
        lines.append(f"  measured    {result['measured']:.6g}  in fixed steps, t = {window[0]:.4g} to {window[1]:.4g}")
    lines.append(f"  sharp       {result['sharp']:.6g}  (2 Lambda, spectrum of the linearised flow)")
    if result["excited"] is not None and result["excited"] != result["sharp"]:
        lines.append(f"  this run    {result['excited']:.6g}  (its start has no share of the slowest mode)")
    lines.append(f"  Poincare    {result['poincare']:.6g}  (2 tau lambda of the stationary measure)")
    if certified is None:
        lines.append("  certified   none: no bound of the log-Sobolev constant applies to this problem")
    else:
        verdict = "never slower" if result["never_slower_than_certified"] else "SLOWER THAN CERTIFIED"
        lines.append(f"  certified   {certified[-1]:.3e} at the end  (2 tau alpha); the run was {verdict}")
    return "\n".join(lines)


def step(result: dict[str, Any]) -> str:
    """Errors at two time steps and extrapolated to step 0."""
    first, second = result["steps"]
    lines = [
        result["title"] or result["a"],
        f"scheme {result['scheme']} of weak order {result['order']}, t = {result['time']:g}",
    ]
    for name, found in result["quantities"].items():
        lines += ["", f"{name.replace('_', ' ')}"]
        lines.append(f"{'N':>8}{f'step {first:g}':>26}{f'step {second:g}':>26}{'step 0':>26}")
        for row in found["widths"]:
            cells = [_pm(e["mean"], e["sem"]) for e in row["at_steps"]]
            cells.append(_pm(row["extrapolated"], row["extrapolated_sem"]))
            lines.append(f"{row['width']:>8}" + "".join(f"{cell:>26}" for cell in cells))
        for value, rate in zip(result["steps"], found.get("rates", []), strict=False):
            if rate is not None:
                lines.append(f"  exponent at step {value:g}: {_interval(rate)}")
        if "constant" in found:
            lines.append(f"  N x error at step 0, N -> oo: {_pm(found['constant'], found['constant_sem'])}")
    return "\n".join(lines)


def _pm(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if error is None else f"{value:.5g} +- {error:.1e}"
