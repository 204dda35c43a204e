r"""
One gradient step: two groups learn an even function
====================================================

ReLU neurons learn :math:`|\langle\theta,x\rangle|` after one step. Its first-layer gradient has the sign of the output
weight: with equal output weights all neurons move along :math:`+v` and what they learn is a ReLU. With two groups, of
output weights 1 and -1, half of them move along :math:`-v`, and the sum can be even.

Known answer: test errors 0.2533, 0.2883, 0.2149 at n/d = 0.5, 1.2, 3 with two groups, and 0.761, 0.771, 0.585 with one.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.io.one_step import config
from mfpde.io.one_step.comparison import compare
from mfpde.io.one_step.simulate import run_task, tasks_of
from mfpde.io.one_step.theory import compute_theory

# %%
# The same study with two groups and with one; networks of 200 inputs beside the first.
keys = ["curve.points=24", "simulation.dimensions=[100,200]", "simulation.seeds=[30,15]", "simulation.spectra=1"]
study = config.load("one-step-groups", keys)
two = compute_theory(study.config, 1, lambda share: None)
record = {task: run_task(study.config, task) for task in tasks_of(study.config)}
networks = next(one for one in compare(study.config, two, record) if one.quantity == "test_error")
single = config.load("one-step-groups", [*keys, "spiked.readout=[[1,1]]"])
one = compute_theory(single.config, 1, lambda share: None)

# %%
known = {"two groups": [0.2533, 0.2883, 0.2149], "one group": [0.761, 0.771, 0.585]}
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.8))
    shown = {"two groups": two.lines["sphere"], "one group": one.lines["sphere"]}
    shown["random features"] = two.lines["random features"]
    right.plot(two.kappa, two.target, "k-", linewidth=1.6, marker="", label="target")
    for name, line in shown.items():
        colour, dash = ("0.55", ":") if name not in known else (None, "-" if name == "two groups" else "--")
        left.plot(two.values, line.quantities["test_error"], dash, color=colour, marker="", label=name)
        if name in known:
            left.plot(two.at, known[name], "kx", linestyle="", label="known" if dash == "-" else None)
            right.plot(two.kappa, (two if dash == "-" else one).learned["sphere"], dash, marker="", label=name)
    left.errorbar(two.at, networks.mean[-1], 1.96 * networks.sem[-1], fmt="o", label="networks, $d=200$")
    left.set(xlabel="samples $n/d$", ylabel="test error", ylim=(0.0, 1.35))
    right.set(xlabel=r"$\kappa=\langle v,x\rangle$", ylabel=r"$\mathrm{E}[\hat y\,|\,\kappa]$")
    left.legend(ncols=2)
    right.legend()

limits = {"two groups": two.expected["sphere"]["test_error"], "one group": one.expected["sphere"]["test_error"]}
for name, values in limits.items():
    print(f"{name}: {', '.join(f'{value:.4f}' for value in values)}, known {known[name]}")
    assert np.allclose(values, known[name], atol=6e-4)
plt.show()
