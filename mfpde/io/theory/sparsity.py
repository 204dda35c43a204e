"""The sparsity of a target as numbers, common to ``theory atoms`` and ``theory cell``."""

from __future__ import annotations

import math
from typing import Any

from mfpde.theory.cell import Sparsity


def sparsity_numbers(s: Sparsity) -> dict[str, Any]:
    """S_up, the Barron-Hermite norm, the tails and what they came from, for JSON; null for what is infinite."""
    return {
        "penalty": s.penalty,
        "coefficients": s.coefficients.tolist(),
        "sigma": s.sigma.tolist(),
        "barron_hermite_norm": s.barron_hermite_norm if math.isfinite(s.barron_hermite_norm) else None,
        "threshold_number": s.threshold_number,
        "threshold_number_ratio": s.threshold_number_ratio,
        "threshold_directions": s.threshold_directions,
        "residual": s.residual,
        "tails": s.tails.tolist(),
        "sparse_depth_reason": s.depth_reason,
    }
