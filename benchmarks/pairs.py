"""Throughput of the closed-form pair forces against cache-blocked NumPy, all pairs of N neurons in d = 20, one thread.

Medians of CPU seconds in one process, variants in turn; both give the same numbers. Run: python benchmarks/pairs.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mfpde.core import activations, pairs

Array = NDArray[np.float64]

DIMENSION, BLOCK = 20, 256


def numpy_erf_force(w: Array) -> Array:
    """(2/pi) mean_j (w_j - (p/A_i) w_i)/sqrt(A_i A_j - p^2), A = 1 + |w|^2, p = w_i . w_j; w : [N, d]."""
    a = 1.0 + np.sum(w * w, axis=1)
    out = np.empty_like(w)
    for start in range(0, len(w), BLOCK):
        rows = slice(start, start + BLOCK)
        p = w[rows] @ w.T
        inverse = 1.0 / np.sqrt(a[rows, None] * a - p * p)
        p *= inverse
        out[rows] = inverse @ w - w[rows] * (p.sum(axis=1) / a[rows])[:, None]
    return 2.0 / np.pi / len(w) * out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    with threadpool_limits(1):
        for n in (512, 1024, 2048):
            theta = np.zeros((DIMENSION + 2, n))
            theta[0] = 1.0
            theta[1:-1] = rng.standard_normal((DIMENSION, n)) / np.sqrt(DIMENSION)
            w, out, none = np.ascontiguousarray(theta[1:-1].T), np.empty_like(theta), np.zeros(1)
            pairs.pair_force(activations.CODES["erf"], none, theta, out)
            difference = float(np.max(np.abs(out[1:-1].T - numpy_erf_force(w))))
            seconds: dict[str, list[float]] = {"mfpde": [], "numpy": []}
            for _ in range(args.repeats):
                began = time.process_time()
                pairs.pair_force(activations.CODES["erf"], none, theta, out)
                middle = time.process_time()
                numpy_erf_force(w)
                seconds["mfpde"].append(middle - began)
                seconds["numpy"].append(time.process_time() - middle)
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            rows.append(
                {
                    "neurons": n,
                    "pairs_per_second": n * n / medians["mfpde"],
                    "ratio_to_numpy": medians["numpy"] / medians["mfpde"],
                    "largest_difference": difference,
                }
            )
    if args.json:
        print(json.dumps({"benchmark": "pairs", "rows": rows}))
        return
    for r in rows:
        print(
            f"N = {r['neurons']:>5}: {r['pairs_per_second'] / 1e9:.2f} Gpair/s, {r['ratio_to_numpy']:.2f} times NumPy,"
            f" largest difference {r['largest_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
