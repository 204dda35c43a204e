r"""
The linear network, solvable in closed form
===========================================

:math:`f(x)=\mathrm{E}[aw]\,x` learns :math:`y=x`, both layers trained. A Gaussian law of :math:`(a,w)` stays Gaussian.

Known answer: its moments solve differential equations; :math:`M=\mathrm{E}[aw]` is 0.57848 at time 4, 0.57896 at rest.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.exact import linear_network

scratch = tempfile.TemporaryDirectory()
keys = ["grid.cells=[96,96]", "particles.widths=[64,1024]", "output.snapshots=17"]
mfpde.run("solve", "linear-network", "--no-figures", "-o", scratch.name, *(f"--set={key}" for key in keys))
limit, particles = mfpde.open(f"{scratch.name}/limit.h5"), mfpde.open(f"{scratch.name}/particles.h5")

# %%
# The network is f(x) = M x at every data node, so any of them tells M.
constants = {"target": [1.0], "weight_decay": 0.5, "temperature": 0.1}
time, x = limit["limit/time"], limit["limit/x"][0, 0]
overlap, rest = limit["limit/f"][:, 0] / x, limit["stationary/f"][0] / x
exact = linear_network.path(time, [0.8, 0.5], 0.15 * np.eye(2), **constants)
end = linear_network.stationary(**constants)
print(f"M at time 4: {overlap[-1]:.5f}, exact {exact.overlap[-1, 0]:.5f}")
print(f"M at rest:   {rest:.5f}, exact {end.overlap[0]:.5f}")
assert np.allclose(overlap, exact.overlap[:, 0], atol=1e-3) and abs(rest - end.overlap[0]) < 1e-3

# %%
# Left M over time, right the density at time 1, and dashed where one and two standard deviations are, exact.
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.7))
    left.plot(time, overlap, color="black", linestyle="-", marker="", label="limit on the grid")
    left.plot(time, exact.overlap[:, 0], color="#E69F00", linestyle="--", marker="", label="closed form")
    for width, mark in ((64, "s"), (1024, "^")):
        products = np.prod(particles[f"ensemble/N{width:06d}/theta"], axis=-1).mean(axis=-1)
        bars = 1.96 * products.std(axis=1) / np.sqrt(products.shape[1])
        left.errorbar(time[::2], products.mean(axis=1)[::2], bars[::2], linestyle="", marker=mark, label=f"$N={width}$")
    left.set(xlabel="time $t$", ylabel="$M=\\mathrm{E}\\,[a\\,w]$")
    left.legend()
    k = 4
    figures.density_map(right, limit["limit/a"], limit["limit/w"], limit["limit/density"][k], names=("a", "w"))
    circle, root = np.exp(2j * np.pi * np.linspace(0.0, 1.0, 101)), np.linalg.cholesky(exact.covariance[k])
    for size in (1.0, 2.0):
        right.plot(*(exact.mean[k][:, None] + size * root @ [circle.real, circle.imag]), "k--", marker="")
    figures.colour_bar([right])
    right.set_title(f"$t$ = {time[k]:.3g}")
plt.show()
scratch.cleanup()
