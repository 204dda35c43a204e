"""
Real data: body-mass index and diabetes
=======================================

442 patients, body-mass index against the progression of diabetes a year later, both standardised. A tanh network of
infinite width on a three-dimensional grid, and networks of finite width beside it.

Known answer: the certified minimiser of the free energy.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures

scratch = tempfile.TemporaryDirectory()
keys = ["grid.cells=[40,36,36]", "grid.tolerance=1e-4", "particles.widths=[64,512]", "particles.replicas=4"]
mfpde.run("solve", "diabetes-bmi", "--no-figures", "-o", scratch.name, *(f"--set={key}" for key in keys))
limit, particles = mfpde.open(f"{scratch.name}/limit.h5"), mfpde.open(f"{scratch.name}/particles.h5")
x, y, f = limit["limit/x"][:, 0], limit["limit/target"], limit["limit/f"][-1]
history = {name: limit[f"history/{name}"] for name in ("t", "free_energy", "gap")}
rest = limit.groups["stationary"].attributes

# %%
# A finite network is f(x) = mean of a tanh(w x + b) over its neurons: one of each width.
line = np.linspace(x.min(), x.max(), 200)
networks = {}
for width in (64, 512):
    a, w, b = particles[f"ensemble/N{width:06d}/theta"][-1, 0].T
    networks[width] = np.tanh(np.outer(line, w) + b) @ a / width
order = np.argsort(x)
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.9))
    figures.learned_function(left, line, np.interp(line, x[order], f[order]), data=(x, y), networks=networks)
    left.set(xlabel="body-mass index, standardised", ylabel="progression, standardised")
    time, energy, gap = history.values()
    figures.energy(right, time, energy, stationary_free_energy=rest["free_energy"], gap=gap)
plt.show()

# %%
# The certificate, and how much of the variance is explained.
explained = 1.0 - np.mean((y - f) ** 2)
print(f"gap at rest {rest['gap']:.1e}, at the end {gap[-1]:.1e}, variance explained {explained:.3f}")
assert rest["gap"] < 1e-12
assert 0.0 <= energy[-1] - rest["free_energy"] <= gap[-1]
scratch.cleanup()
