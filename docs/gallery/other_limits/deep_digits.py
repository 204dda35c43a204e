r"""
Handwritten digits in four parametrizations
===========================================

A network of three hidden layers learns to tell 3 from 8. How do its features change as the width grows? It depends on
the scaling of weights and learning rates. Under muP features move, and networks tend to the limit computed here; under
NTK and standard scaling they stop to move, like :math:`1/\sqrt N`; the integrable scaling collapses.

Known answer: the pattern of figure 1 of Chen, Yang, Zhao and Gu (2025), and for the limit of muP in the third layer
after 40 steps a feature change of 1.884 and a smallest eigenvalue of 0.00517.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import deep
from mfpde.io.deep import config
from mfpde.io.deep.data import read_samples
from mfpde.io.deep.run import run_study

# %%
# Two runs of the limit, networks of 64, 192 and 512 neurons; ``mfpde deep deep-digits`` runs the whole study.
keys = ["limit.replicates=2", "limit.samples=2048", "finite.widths=[64,192,512]", "finite.seeds=[24,10,3]"]
study = config.load("deep-digits", keys)
flags = {"only": None, "resume": False, "processes": 1, "checkpoint": 60.0, "report": lambda share: None}
with tempfile.TemporaryDirectory() as folder:
    found = run_study(study, read_samples(study), f"{folder}/deep.h5", **flags)

# %%
panels = {
    "feature_change": r"feature change $\Vert h_T-h_0\Vert/\Vert h_0\Vert$",
    "feature_eigenvalue": r"smallest eigenvalue of $\Phi_T$",
    "space_time_eigenvalue": "space-time eigenvalue",
}
last, known = {}, {"feature_change": 1.884, "feature_eigenvalue": 0.00517, "space_time_eigenvalue": 0.00366}
with figures.style():
    figure, axes = plt.subplots(1, 3, figsize=(9.0, 2.8))
    for ax, (name, label) in zip(axes, panels.items(), strict=True):
        curves = {}
        for kind, widths in found.finite.items():
            bands = [one.layers[name] for one in widths]
            columns = [[one.width for one in widths], [b.mean[-1, -1] for b in bands], [b.sem[-1, -1] for b in bands]]
            curves[kind] = tuple(np.array(column, float) for column in columns)
        limit = found.limit.layers[name]
        last[name] = float(limit.mean[-1, -1])
        deep.over_width(ax, curves, (last[name], float(limit.sem[-1, -1])), ylabel=label, legend=ax is axes[0])
    figures.settle(figure)

print("limit of muP, layer 3:", ", ".join(f"{name} {value:.4g} ({known[name]})" for name, value in last.items()))
change = {kind: [one.layers["feature_change"].mean[-1, -1] for one in w] for kind, w in found.finite.items()}
print("feature change at N = 64, 512:", *(f"{kind} {c[0]:.2f}, {c[-1]:.2f};" for kind, c in change.items()))
assert abs(last["feature_change"] - 1.884) < 0.02 and abs(change["mup"][-1] - 1.884) < 0.1
assert change["ntk"][-1] < 0.5 * change["ntk"][0] and change["standard"][-1] < 0.5 * change["standard"][0]
plt.show()
