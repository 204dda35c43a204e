"""The numbers of a run, ready for JSON, for the table and for the summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde.compare.rates import Rate
from mfpde.io.kernel_limit.limit import Errors, Limit
from mfpde.io.kernel_limit.records import IN_TIME, Row
from mfpde.io.kernel_limit.run import Outcome
from mfpde.io.kernel_limit.schema import Config


def numbers(config: Config, found: Outcome) -> dict[str, Any]:
    """Data, kernel, limit, one row for every scale and law, rates.  What cannot be told is None."""
    setting, section = found.setting, config.kernel_limit
    laws = sorted({task.law for task in found.rows})
    return {
        "data": {
            "description": setting.description,
            "train": len(setting.problem.data.y),
            "test": len(setting.y_test),
            "signs": setting.signs,
        },
        "time": float(setting.times[-1]),
        "ridge": section.ridge,
        "kernel": _kernel(found),
        "limit": _limit(found.limit, float(setting.times[-1])),
        "scales": {
            law: [
                {"scale": task.scale} | _row(row)
                for task, row in sorted(found.rows.items(), key=lambda item: item[0])
                if task.law == law
            ]
            for law in laws
        },
        "rates": {law: {name: _rate(fit) for name, fit in fits.items()} for law, fits in found.rates.items()},
        "fit_from": section.fit_from,
    }


def _kernel(found: Outcome) -> dict[str, Any]:
    limit = found.limit
    spectrum = limit.kernels.spectrum
    return {
        "how": limit.how,
        "check": limit.check,
        "rank": spectrum.rank,
        "condition": spectrum.condition,
        "largest": float(spectrum.eigenvalues[0]),
        "width_error": None if limit.how == "neurons" else found.width_error,
    }


def _limit(limit: Limit, last: float) -> dict[str, Any]:
    """Errors at the last time, at the end without decay, and at the best stopping time and decay on the test rows."""
    stopping, decayed = limit.stopping, limit.decayed
    found = {"final": {"time": last} | _errors(limit.ends, 0), "ridgeless": _errors(limit.ends, 1)}
    if np.isfinite(stopping.test).all():
        best, decay = int(np.argmin(stopping.test)), int(np.argmin(decayed.test))
        found["best_stopping"] = {"time": float(limit.times[best])} | _errors(stopping, best)
        found["best_ridge"] = {"ridge": float(limit.ridges[decay])} | _errors(decayed, decay)
    return found


def _errors(errors: Errors, k: int) -> dict[str, Any]:
    return {
        "train_error": float(errors.train[k]),
        "test_error": _number(errors.test[k]),
        "wrong_sign": _number(errors.wrong_sign[k]),
    }


def _row(row: Row) -> dict[str, Any]:
    """The last values, and the smallest test error over time."""
    found: dict[str, Any] = {name: _number(getattr(row, name)[-1]) for name in IN_TIME}
    found["alignment_start"] = float(row.alignment[0])
    found["best_test_error"] = _number(np.min(row.test_error))
    found["evaluations"] = int(row.evaluations[0])
    return found


def _rate(fit: Rate | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {"slope": fit.slope, "ci": fit.ci, "scales": fit.widths.tolist(), "method": fit.method}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
