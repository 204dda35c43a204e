"""The numbers of a run, ready for JSON, for the table and for the summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mfpde.io.deep.data import Samples
from mfpde.io.deep.findings import PER_LAYER, Array, Band, Findings, LimitFindings, WidthFindings
from mfpde.io.deep.schema import Config
from mfpde.io.deep.verdict import verdict
from mfpde.theory.deep.width_law import WidthLaw


def numbers(config: Config, samples: Samples, found: Findings) -> dict[str, Any]:
    """Assumptions, verdict, limit over steps, one row per parametrization and width, width law, held-out rows."""
    limit = found.limit
    return {
        "depth": config.network.depth,
        "activation": config.network.activation,
        "data": samples.description,
        "assumptions": {
            "hold": bool(found.inputs.holds and found.activation.good),
            "inputs": asdict(found.inputs),
            "activation": asdict(found.activation),
        },
        "verdict": None if limit is None else verdict(config, found, limit),
        "limit": None if limit is None else _limit(config, found, limit),
        "certificate": None if limit is None else _certificate(limit),
        "kernel_bound": None if limit is None else _bound(limit),
        "reliability": None if limit is None else _reliability(limit),
        "widths": [_width(kind, one) for kind, widths in found.finite.items() for one in widths],
        "width_law": None if found.law is None else _law(found.law),
        "test": _test(samples, found),
    }


def _limit(config: Config, found: Findings, limit: LimitFindings) -> dict[str, Any]:
    mean, settings = limit.summary.mean, found.job.settings
    exact = config.network.activation == "identity"
    return {
        "exact": exact,
        "samples": None if exact else settings.samples,
        "replicates": limit.summary.replicates,
        "steps": limit.times.tolist(),
        "loss": _both(limit.loss),
        "f": mean.f[-1].tolist(),
        "f_sem": _clean(limit.summary.sem.f[-1]),
        "f_error": _clean(_largest(limit.summary.sem.f)),
        **{name: _both(limit.layers[name]) for name in PER_LAYER},
        "rank": mean.rank[-1].tolist(),
        "dropped": _clean(mean.dropped[-1]),
        "columns": mean.columns[-1].tolist(),
    }


def _largest(sem: Array) -> Array:
    """The largest standard error of f at every step [K]."""
    return np.asarray(sem.reshape(len(sem), -1).max(axis=1))


def _certificate(limit: LimitFindings) -> dict[str, Any]:
    one = limit.certificate
    return {
        "holds": bool(one.holds),
        "movement": np.asarray(one.movement).tolist(),
        "eigenvalue": np.asarray(one.eigenvalue).tolist(),
        "bound": _clean(np.asarray(one.bound)),
        "squares": np.asarray(one.squares).tolist(),
    }


def _bound(limit: LimitFindings) -> dict[str, Any] | None:
    one = limit.bound
    if one is None:
        return None
    found = {
        name: _clean(np.asarray(getattr(one, name))) for name in ("lowest", "highest", "sharpness", "rate", "bound")
    }
    return found | {"unstable_from": one.unstable_from}


def _reliability(limit: LimitFindings) -> dict[str, Any]:
    one = limit.reliability
    return {
        "unreliable_from": limit.unreliable_from,
        "spike": one.spike_time,
        "unstable": one.unstable_time,
        "crowded": one.crowded_time,
        "precise": bool(one.precise),
    }


def _width(kind: str, one: WidthFindings) -> dict[str, Any]:
    row: dict[str, Any] = {"parametrization": kind, "width": one.width, "seeds": one.seeds}
    row["loss"] = _last(one.loss)
    row |= {name: _last(one.layers[name]) for name in PER_LAYER}
    for name in ("distance", "test_distance"):
        value = getattr(one, name)
        row[name] = None if value is None else {"mean": float(value.mean), "sem": _number(value.sem)}
    return row


def _law(law: WidthLaw) -> dict[str, Any]:
    found: dict[str, Any] = {"widths": np.asarray(law.widths).tolist(), "sentence": law.sentence}
    for name in ("bias", "bias_sem", "fluctuation", "fluctuation_sem"):
        found[name] = _clean(np.asarray(getattr(law, name)))
    for name in ("bias_rate", "fluctuation_rate"):
        rate = getattr(law, name)
        found[name] = None if rate is None else {"slope": rate.slope, "ci": None if rate.ci is None else list(rate.ci)}
    return found


def _test(samples: Samples, found: Findings) -> dict[str, Any] | None:
    """Mean squared error and, for signs and classes, the share that is right: of the limit and of every width."""
    if samples.test_y is None or not len(samples.test):
        return None
    y = samples.test_y
    result: dict[str, Any] = {"rows": len(y), "limit": None, "widths": []}
    if found.limit is not None and found.limit.test_f is not None:
        result["limit"] = _judged(found.limit.test_f.mean[None], y)
    for kind, widths in found.finite.items():
        for one in widths:
            judged = _judged(one.record["test_f"], y)
            result["widths"].append({"parametrization": kind, "width": one.width} | judged)
    return result


def _judged(f: Array, y: Array) -> dict[str, Any]:
    """Of predictions [B, Q, C] : means over the first axis."""
    found: dict[str, Any] = {"mean_square": float(np.mean((f - y) ** 2)), "accuracy": None}
    if y.shape[1] > 1:
        found["accuracy"] = float(np.mean(f.argmax(axis=2) == y.argmax(axis=1)))
    elif np.all(np.abs(y) == 1.0):
        found["accuracy"] = float(np.mean((f > 0.0) == (y > 0.0)))
    return found


def _both(band: Band) -> dict[str, Any]:
    return {"mean": _clean(band.mean), "sem": _clean(band.sem)}


def _last(band: Band) -> dict[str, Any]:
    """The values after the last step."""
    return {"mean": _clean(band.mean[-1]), "sem": _clean(band.sem[-1])}


def _clean(values: Array | float | Sequence[float]) -> Any:
    """Lists with None for what is not a number."""
    known = np.asarray(values, dtype=np.float64)
    found = known.astype(object)
    found[~np.isfinite(known)] = None
    return found.tolist()


def _number(value: Array) -> float | None:
    return float(value) if np.isfinite(value) else None
