r"""
One gradient step: classification
=================================

Labels :math:`y=\mathrm{sign}\,\langle\theta,x\rangle` and a logistic readout on a first layer with a spike. The share
of wrong signs on new inputs has a limit as well, from equations whose averages are one-dimensional minimisations.

Known answer: 19.4 %, 18.5 % and 16.0 % wrong signs at n/d = 0.5, 1 and 3, and networks of 200 inputs close by; random
features, which know nothing of the spike, are wrong 1.6 to 2 times as often.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import one_step
from mfpde.io.one_step import config
from mfpde.io.one_step.comparison import compare
from mfpde.io.one_step.simulate import run_task, tasks_of
from mfpde.io.one_step.theory import compute_theory

# %%
# ``mfpde one-step one-step-logistic`` does the same with more networks.
keys = ["curve.points=5", "simulation.dimensions=[100,200]", "simulation.seeds=[30,15]", "simulation.spectra=1"]
study = config.load("one-step-logistic", keys)
found = compute_theory(study.config, 1, lambda share: None)
record = {task: run_task(study.config, task) for task in tasks_of(study.config)}
networks = next(one for one in compare(study.config, found, record) if one.quantity == "wrong_sign")

# %%
known = np.array([0.194, 0.185, 0.160])
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.8))
    looks = {"spike": found.lines["sphere"], "random features": found.lines["random features"]}
    lines = {name: line.quantities["wrong_sign"] for name, line in looks.items()}
    points = {"networks, $d=200$": (found.at, networks.mean[-1], networks.sem[-1])}
    one_step.error_curves(left, found.values, lines, points, xlabel="samples $n/d$", ylabel="share of wrong signs")
    left.plot(found.at, known, "kx", linestyle="", label="known")
    left.set_ylim(0.0, 0.5)
    left.legend()
    learned = {"spike": found.learned["sphere"], "random features": found.learned["random features"]}
    one_step.learned_along_spike(right, found.kappa, found.target, learned)

limit = found.expected["sphere"]["wrong_sign"]
print("limit   ", ", ".join(f"{value:.4f}" for value in limit))
print("networks", ", ".join(f"{m:.4f} +- {s:.4f}" for m, s in zip(networks.mean[-1], networks.sem[-1], strict=True)))
assert np.allclose(limit, known, atol=6e-4)
assert np.all(np.abs(networks.mean[-1] - limit) < 5.0 * networks.sem[-1] + 0.005)
plt.show()
