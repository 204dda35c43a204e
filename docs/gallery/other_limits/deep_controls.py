r"""
When features cannot stay independent
=====================================

The theorem on global minima asks for inputs in general position. Here it must fail: point 1 is point 0 with the
opposite sign and the same label, and point 7 is point 6 with the opposite label. tanh is odd, f(-x) = -f(x), so that
neither pair can be fitted.

Known answer: the loss stays at 1/2 (2 + 2)/8 = 0.25, the smallest eigenvalues of all feature kernels are 0 up to
round-off, and both pairs are named. Without points 1 and 7 the features are independent, and the loss goes to 0.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import deep
from mfpde.io.deep import build, config
from mfpde.io.deep.data import read_samples
from mfpde.theory.deep.assumptions import check_inputs
from mfpde.theory.deep.diagnostics import global_minimum, smallest_eigenvalue
from mfpde.theory.deep.limit import run
from mfpde.theory.deep.trajectory import summarise

# %%
# The limit of all eight points and of six of them, four runs each; ``mfpde deep deep-controls`` answers "no".
study = config.load("deep-controls")
job = build.job(study.config, read_samples(study))
x, y, kept = job.problem.inputs, job.problem.targets, [0, 2, 3, 4, 5, 6]
problems = {"all eight": job.problem, "without 1, 7": replace(job.problem, inputs=x[kept], targets=y[kept])}
limits = {name: summarise([run(p, job.settings, k) for k in range(4)]) for name, p in problems.items()}

# %%
with figures.style():
    figure, axes = plt.subplots(1, 3, figsize=(9.0, 2.7))
    for (name, limit), dash in zip(limits.items(), ("-", "--"), strict=True):
        lowest = np.maximum(smallest_eigenvalue(limit.mean.phi)[:, -1], deep.FLOOR)
        axes[0].semilogy(limit.mean.times, limit.mean.loss, dash, marker="", label=name)
        axes[1].semilogy(limit.mean.times, lowest, dash, marker="", label=name)
    axes[0].axhline(0.25, color="black", linestyle=":", marker="", label="known")
    axes[0].set(xlabel="step $t$", ylabel="loss")
    axes[0].legend()
    axes[1].set(xlabel="step $t$", ylabel=r"smallest eigenvalue of $\Phi^2$", ylim=(1e-17, 10.0))
    phi = limits["all eight"].mean.phi[-1, -1]
    image = deep.kernel(axes[2], phi, r"kernel $\Phi^2$ of the eight points at the end", float(np.abs(phi).max()))
    axes[2].set(xticks=range(8), yticks=range(8))
    figure.colorbar(image, ax=axes[2], shrink=0.9)

found = check_inputs(x)
loss = {name: float(limit.mean.loss[-1]) for name, limit in limits.items()}
print(f"named: {found.antipodal} are antipodal, {found.duplicates} are equal")
print("loss at the end:", ", ".join(f"{name} {value:.3g}" for name, value in loss.items()))
assert abs(loss["all eight"] - 0.25) < 1e-4 and loss["without 1, 7"] < 1e-3
assert smallest_eigenvalue(limits["all eight"].mean.phi).max() < 1e-13
assert not global_minimum(limits["all eight"].mean).holds and global_minimum(limits["without 1, 7"].mean).holds
plt.show()
