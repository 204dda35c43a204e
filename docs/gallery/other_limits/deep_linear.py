r"""
A deep linear network, exactly
==============================

With the identity as activation the limit of infinite width needs no sample: random variables are kept by their
coefficients. Three linear layers learn four points; what is left between networks and limit is finite width alone.

Known answer: for one layer and one point, gradient descent is a recursion in closed form, and gradient flow
:math:`f=\sinh2s`, :math:`ds/dt=y-f`. The mean over networks is off by a bias like 1/N, one network by
:math:`1/\sqrt N`.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import deep
from mfpde.io.deep import config
from mfpde.io.deep.data import read_samples
from mfpde.io.deep.run import run_study
from mfpde.theory.deep.limit import snapshots
from mfpde.theory.deep.linear import LinearLimit, exact_flow, exact_single
from mfpde.theory.deep.problem import DeepProblem

# %%
# The study, and one layer on one point: the general solver against the closed forms, at two learning rates.
study = config.load("deep-linear", ["finite.widths=[32,64,128]", "finite.seeds=[1500,800,400]"])
flags = {"only": None, "resume": False, "processes": 1, "checkpoint": 60.0, "report": lambda share: None}
with tempfile.TemporaryDirectory() as folder:
    found = run_study(study, read_samples(study), f"{folder}/deep.h5", **flags)
single, worst = {}, 0.0
for rate in (0.4, 0.05):
    problem = DeepProblem(np.array([[1.0]]), np.array([1.0]), 1, "identity", rate=rate, steps=round(2.4 / rate))
    single[rate] = np.array([one.f[0, 0] for one in snapshots(LinearLimit(problem))])
    worst = max(worst, float(np.abs(single[rate] - exact_single(problem.steps, rate, 1.0).f).max()))

# %%
time = np.linspace(0.0, 2.4, 121)
with figures.style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.0, 2.8))
    left.plot(time, [exact_flow(t, 1.0) for t in time], "k-", marker="", label="gradient flow, closed form")
    for (rate, f), mark in zip(single.items(), ("o", "."), strict=True):
        left.plot(rate * np.arange(len(f)), f, mark, linestyle="", label=rf"descent, $\eta={rate}$")
    left.set(xlabel=r"time $\eta t$", ylabel="$f$ of one layer, one point")
    left.legend()
    widths = {one.width: one.loss for one in found.finite["mup"]}
    deep.losses(middle, found.limit.times, widths, found.limit.loss)
    law = found.law
    deep.deviation(right, law.widths, (law.bias, law.bias_sem), (law.fluctuation, law.fluctuation_sem))
    figures.settle(figure)

print(f"one layer, one point: solver and closed form differ by {worst:.0e}")
print(f"bias ~ N^{law.bias_rate.slope:.2f}, deviation ~ N^{law.fluctuation_rate.slope:.2f}")
assert worst < 1e-12 and abs(law.fluctuation_rate.slope + 0.5) < 0.03 and abs(law.bias_rate.slope + 1.0) < 0.3
plt.show()
