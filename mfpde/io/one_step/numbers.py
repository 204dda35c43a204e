"""The numbers of a run, ready for JSON, for the table and for the summary."""

from __future__ import annotations

from typing import Any

from mfpde.io.one_step.comparison import rows
from mfpde.io.one_step.run import Outcome
from mfpde.io.one_step.schema import Config
from mfpde.io.one_step.theory import QUANTITIES


def numbers(config: Config, found: Outcome) -> dict[str, Any]:
    """Layers, curves, learned functions and spectrum of the theory; ``comparison`` rows and the histogram, if any."""
    theory = found.theory
    result: dict[str, Any] = {
        "layers": {
            name: {
                "alignment": layer.alignment,
                "groups": [
                    {
                        "share": group.share,
                        "readout": group.readout,
                        "spike": group.spike,
                        "bulk": group.bulk,
                        "covariance": group.loadings.tolist(),
                    }
                    for group in layer.groups
                ],
            }
            for name, layer in theory.layers.items()
        },
        "main": theory.main,
        "over": config.curve.over,
        "quantities": list(QUANTITIES[config.readout.loss]),
        "values": theory.values.tolist(),
        "curves": {
            name: {"ridge": line.ridge.tolist()} | {q: values.tolist() for q, values in line.quantities.items()}
            for name, line in theory.lines.items()
        },
        "learned": {
            "samples": config.readout.samples,
            "kappa": theory.kappa.tolist(),
            "target": theory.target.tolist(),
            "lines": {name: values.tolist() for name, values in theory.learned.items()},
        },
        "spectrum": {
            "samples": config.readout.samples,
            "eigenvalues": theory.eigenvalues.tolist(),
            "density": theory.density.tolist(),
            "atom": theory.atom,
            "histogram": None,
        },
        "comparison": rows(config, found.comparisons),
    }
    bars = found.histogram
    if bars is not None:
        result["spectrum"]["histogram"] = {
            "dimension": bars.dimension,
            "seeds": bars.seeds,
            "edges": bars.edges.tolist(),
            "density": bars.density.tolist(),
            "beyond": bars.beyond,
        }
    return result
