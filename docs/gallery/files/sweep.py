"""
A sweep over a key
==================

``sweep`` solves a study for several values of a key, or all combinations of several keys, each in a directory of its
own, and writes a table.

Known answer: at rest the risk and the free energy of the linear network are closed forms.
"""

import json
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.exact import linear_network

scratch = tempfile.TemporaryDirectory()
flags = ["--only", "stationary", "--set=grid.cells=[128,128]", "-o", scratch.name, "-q"]
mfpde.run("sweep", "linear-network", "--grid", "training.temperature=0.02,0.1,0.3,0.6", *flags)

# %%
# The table again, from its file, beside the closed form.
with open(f"{scratch.name}/sweep.json") as file:
    runs = json.load(file)["runs"]
scratch.cleanup()
temperatures = [run["values"]["training.temperature"] for run in runs]
found = {name: np.array([run[name] for run in runs]) for name in ("risk", "free_energy")}


def exact(tau):
    return linear_network.stationary(target=[1.0], weight_decay=0.5, temperature=tau)


for name, values in found.items():
    errors = [abs(value - getattr(exact(tau), name)) for tau, value in zip(temperatures, values)]
    print(f"{name}: largest error {max(errors):.1e}")
    assert max(errors) < 1e-3

# %%
tau = np.linspace(0.01, 0.62, 100)
with figures.style():
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.6))
    for ax, (name, values) in zip(axes, found.items()):
        ax.plot(tau, [getattr(exact(one), name) for one in tau], "k-", marker="", label="closed form")
        ax.plot(temperatures, values, "o", color="#D55E00", label="sweep")
        ax.set(xlabel="temperature $\\tau$", ylabel=f"{name.replace('_', ' ')} at rest")
        ax.legend()
plt.show()
