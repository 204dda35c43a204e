"""
Real data: handwritten digits, 3 against 8
==========================================

Images of 8 x 8 pixels, logistic loss, 65 parameters per neuron: no grid reaches so far, the particles are all there is.

Known answer: networks of different widths train alike, and their risk scatters about that of the limit with a variance
of order :math:`1/N`.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.compare.rates import fit_rate

scratch = tempfile.TemporaryDirectory()
keys = ["particles.widths=[8,16,32,64]", "particles.replicas=64", "particles.step=0.1", "output.snapshots=11"]
mfpde.run("solve", "digits", "--no-figures", "-o", scratch.name, *(f"--set={key}" for key in keys))
particles = mfpde.open(f"{scratch.name}/particles.h5")
widths = (8, 16, 32, 64)
time, risks = particles["ensemble/N000008/time"], [particles[f"ensemble/N{width:06d}/risk"] for width in widths]

# %%
# The variance of the final risk over 64 networks of each width.
final = [risk[-1] for risk in risks]
fit = fit_rate(widths, [(risk - risk.mean()) ** 2 for risk in final])
print(f"variance ~ N^{fit.slope:.2f} [{fit.ci[0]:.2f}, {fit.ci[1]:.2f}]")
assert fit.ci[0] < -1.0 < fit.ci[1]

# %%
# Right: what one network says of the images.
data = mfpde.load_study("digits").problem.data
theta = particles["ensemble/N000064/theta"][-1, 0]  # a, w_1 ... w_64 of every neuron
f = np.tanh(data.x @ theta[:, 1:].T) @ theta[:, 0] / 64
print(f"{np.mean(np.sign(f) == data.y):.1%} of the images on the right side")
with figures.style():
    figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.4))
    series = {n: (r.mean(axis=1), r.std(axis=1, ddof=1) / np.sqrt(64)) for n, r in zip(widths, risks)}
    figures.risk(axes[0], time, None, {n: series[n] for n in (8, 64)})
    label, ylabel = "64 networks each", f"variance of the risk at $t$ = {time[-1]:.0f}"
    figures.rate(axes[1], widths, fit.means, fit.sems, slope=fit.slope, ci=fit.ci, label=label, ylabel=ylabel)
    figures.class_histogram(axes[2], data.y, f, data.weights)
plt.show()
scratch.cleanup()
