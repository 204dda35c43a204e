r"""
One gradient step: a spike and its peak
=======================================

What one step leaves of the first layer is a spike of size :math:`r` along one direction :math:`v` over a random bulk.
Here the spike is given by its numbers and tilted against the index of the target, :math:`\langle v,\theta\rangle=0.7`.
The ridge is small, so that the error has a peak near as many samples as neurons.

Known answer: test errors 0.2820, 0.3224, 0.3499, 0.2990, 0.2428, 0.1891 at n/d = 0.2, 0.5, 1, 1.5, 2, 3, and
simulations around them. The bulk of the spectrum of the features is that of the limit too.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import one_step
from mfpde.io.one_step import config
from mfpde.io.one_step.comparison import compare, histogram
from mfpde.io.one_step.simulate import run_task, tasks_of
from mfpde.io.one_step.theory import compute_theory

# %%
# ``mfpde one-step one-step-spike`` does the same with more and larger networks.
keys = ["curve.points=40", "simulation.dimensions=[100,200]", "simulation.seeds=[40,20]", "simulation.spectra=4"]
study = config.load("one-step-spike", keys)
found = compute_theory(study.config, 1, lambda share: None)
record = {task: run_task(study.config, task) for task in tasks_of(study.config)}
networks = next(one for one in compare(study.config, found, record) if one.quantity == "test_error")
bars = histogram(study.config, found, record)

# %%
known = [0.2820, 0.3224, 0.3499, 0.2990, 0.2428, 0.1891]
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.8))
    looks = {"spike": found.lines["sphere"], "random features": found.lines["random features"]}
    lines = {name: line.quantities["test_error"] for name, line in looks.items()}
    points = {"networks, $d=200$": (found.at, networks.mean[-1], networks.sem[-1])}
    one_step.error_curves(left, found.values, lines, points, xlabel="samples $n/d$", ylabel="test error")
    left.plot(found.at, known, "kx", linestyle="", label="known")
    left.legend()
    label = f"drawn, $d={bars.dimension}$"
    one_step.bulk(right, found.eigenvalues, found.density, edges=bars.edges, histogram=bars.density, label=label)
    figures.settle(figure)

limit = found.expected["sphere"]["test_error"]
print("n/d     ", ", ".join(f"{value:6.1f}" for value in found.at))
print("limit   ", ", ".join(f"{value:.4f}" for value in limit))
print("networks", ", ".join(f"{value:.4f}" for value in networks.mean[-1]))
assert np.allclose(limit, known, atol=1e-4)
plt.show()
