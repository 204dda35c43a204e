"""
Ornstein-Uhlenbeck: everything in closed form
=============================================

Quadratic confinement and attraction to the mean. The law stays Gaussian.

Known answer: mean :math:`2e^{-t}` and variance 1/4; the squared distance of particles to the copies of the limit that
the same noise drives is a closed form too, :math:`0.079168/N` at time 2.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.exact import ornstein_uhlenbeck

scratch = tempfile.TemporaryDirectory()
keys = ["grid.cells=[512]", "particles.widths=[16,64,256]", "particles.replicas=200", "particles.step=0.02"]
mfpde.run("solve", "ornstein-uhlenbeck", "--no-figures", "-o", scratch.name, *(f"--set={key}" for key in keys))
limit, particles = mfpde.open(f"{scratch.name}/limit.h5"), mfpde.open(f"{scratch.name}/particles.h5")
time, x, density = limit["limit/time"], limit["limit/w"], limit["limit/density"]

# %%
# Moments of the density against the closed form.
law = {"stiffness": 1.0, "interaction": 1.0, "temperature": 0.5}
exact = ornstein_uhlenbeck.path(time, [2.0], [[0.25]], **law)
cell = x[1] - x[0]
mean = density @ x * cell
variance = density @ x**2 * cell - mean**2
print(f"largest error of the mean {np.max(np.abs(mean - exact.mean[:, 0])):.1e},")
print(f"of the variance {np.max(np.abs(variance - exact.covariance[:, 0, 0])):.1e}")
assert np.allclose(mean, exact.mean[:, 0], atol=5e-4) and np.allclose(variance, 0.25, atol=5e-4)

# %%
# N times the squared distance to the copies: one curve for all widths.
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.7))
    left.plot(time, mean, marker="o", linestyle="", markevery=2, label="mean on the grid")
    left.plot(time, variance, marker="s", linestyle="", color="#D55E00", markevery=2, label="variance on the grid")
    left.plot(time, exact.mean[:, 0], "k-", marker="", label="closed form")
    left.plot(time, exact.covariance[:, 0, 0], "k-", marker="")
    left.set(xlabel="time $t$", ylabel="moments of the limit", ylim=(0.0, 2.1))
    left.legend()
    constant = ornstein_uhlenbeck.coupling_constant(time, 0.25, **law)
    errors = {n: particles[f"ensemble/N{n:06d}/coupling_error"] for n in (16, 64, 256)}
    series = {n: (error.mean(axis=1), error.std(axis=1) / np.sqrt(200)) for n, error in errors.items()}
    figures.collapse(right, time, series, ylabel="$N\\,\\mathrm{E}\\,|X-\\bar{X}|^2$")
    right.plot(time, constant, "k--", marker="", label="closed form")
    right.legend()
plt.show()
scratch.cleanup()
