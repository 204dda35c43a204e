"""Whether a study bears out the theorem: features independent at all times, hence a global minimum where training ends.

Theorem 4.5 and Corollary 4.6 of Chen, Yang, Zhao, Gu (2025), in the quantified form of docs/deep.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde.io.deep.findings import Findings, LimitFindings
from mfpde.io.deep.schema import Config

# training is said to have fitted the data when the loss has fallen by this factor
_FITTED = 1e-3


def verdict(config: Config, found: Findings, limit: LimitFindings) -> dict[str, Any]:
    """``answer`` "yes", "no" or "open", one ``sentence`` that says why, and the numbers it rests on."""
    eigenvalues = limit.layers["feature_eigenvalue"].mean
    step, layer = (int(k) for k in np.unravel_index(int(np.argmin(eigenvalues)), eigenvalues.shape))
    numbers = {
        "smallest_eigenvalue": float(eigenvalues[step, layer]),
        "at_step": int(limit.times[step]),
        "in_layer": layer + 1,
        "loss": [float(limit.loss.mean[0]), float(limit.loss.mean[-1])],
        "residual_bound": _residual_bound(config, found, limit),
        "dependent_samples": [] if limit.dependence is None else [list(pair) for pair in limit.dependence.pairs],
    }
    answer, sentence = _answer(found, limit, numbers)
    return {"answer": answer, "sentence": sentence} | numbers


def _answer(found: Findings, limit: LimitFindings, numbers: dict[str, Any]) -> tuple[str, str]:
    before, after = numbers["loss"]
    fall = f"the loss went from {before:.4g} to {after:.4g}"
    if limit.dependence is not None:
        d = limit.dependence
        pairs = ", ".join(f"{i} and {j}" for i, j in d.pairs[:4]) + (", …" if len(d.pairs) > 4 else "")
        who = f" (samples {pairs})" if pairs else ""
        return "no", f"features of layer {d.layer} are linearly dependent at step {d.step}{who}; {fall}"
    where = f"smallest eigenvalue {numbers['smallest_eigenvalue']:.3g}, layer {numbers['in_layer']}"
    start = limit.unreliable_from
    if start is not None:
        return (
            "open",
            f"features independent at all recorded steps ({where}), but unreliable from step {start} on; {fall}",
        )
    if after > _FITTED * before:
        return "open", f"features independent at all recorded steps ({where}); training has not ended: {fall}"
    assumed = "" if found.inputs.holds and found.activation.good else ", though not all assumptions hold"
    return "yes", f"features independent at all recorded steps ({where}){assumed}; {fall}"


def _residual_bound(config: Config, found: Findings, limit: LimitFindings) -> float | None:
    """Bound on the rms slope of the loss at the last recorded step but one: sqrt(P sum c^2) / (eta gamma).

    None under mini-batches, whose steps do not tell all residuals, and where features are dependent.
    """
    problem, bound = found.job.problem, np.asarray(limit.certificate.bound)
    # no step is taken from the last time
    if problem.order is not None or not np.isfinite(bound[-2]):
        return None
    scale = config.training.rate * config.training.richness
    return float(np.sqrt(problem.samples * bound[-2]) / scale)
