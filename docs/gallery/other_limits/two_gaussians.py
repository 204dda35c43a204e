r"""
Two Gaussians: SGD against transport
====================================

Two classes in 40 dimensions differ in the width of their inputs alone, :math:`x\,|\,y\sim N(0,(1+0.8y)^2I)`. A network
of 800 piecewise-linear neurons is trained by SGD, one fresh sample a step, 400 000 times. Its limit is transport of a
law of one radius :math:`r=|w|`, whatever the dimension (Mei, Montanari and Nguyen 2018, figure 1).

What is seen: a long plateau near R = 1, and then the law splits; part of it stays near 0, the rest goes to 4 or 5.
Known answer: the crosses, from 400 equal quantiles and two other integrators. Units are those of the article: R is
twice the risk of mfpde, and its time half.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare
from mfpde.figures.style import DENSITY_MAP
from mfpde.io.theory.subject import open_subject
from mfpde.theory.dimension_free.limit import follow

# %%
# The limit by 400 atoms, and two networks beside it; ``mfpde solve mei-isotropic`` does the same and keeps the files.
study = open_subject("mei-isotropic").study
times = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 73)])
limit = follow(study.problem, study.law, 2.0 * times)
sgd = EnsembleSettings((100, 800), 1, study.config.particles.step, dynamics="sgd", batch=1, coupling="independent")
snapshots = list(evolve_ensemble(prepare(study.problem, study.law, sgd), 2.0 * times))

# %%
known = {0.01: 1.631855, 0.1: 1.338984, 0.3: 1.180588, 1.0: 1.070615, 3.0: 0.949676, 10.0: 0.1753}
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.8))
    left.plot(times[1:], 2.0 * limit.risk[1:], color="black", linestyle="-", marker="", label="limit")
    for k, (width, mark) in enumerate(((100, "s"), (800, "o"))):
        risk = [2.0 * snapshot.records[k].risk[0] for snapshot in snapshots]
        left.plot(times[1::4], risk[1::4], mark, linestyle="", markersize=2.5, label=f"SGD, $N={width}$")
    left.plot(known.keys(), known.values(), "kx", linestyle="", markersize=6, label="known")
    left.set(xscale="log", xlabel="time $t=k\\varepsilon$", ylabel="risk $R$")
    left.legend()
    for k, shade in zip((1, 49, 67, 73), (0.35, 0.55, 0.75, 0.95), strict=True):
        measure, theta = limit.measures[k], snapshots[k].state.theta[800][0]
        radii = np.linalg.norm(theta[1:41], axis=0)
        look = {"color": DENSITY_MAP(shade), "linestyle": "-", "linewidth": 2.2, "marker": ""}
        right.ecdf(measure.atoms[:, 1], measure.weights, **look, label=f"$t={times[k]:.2g}$")
        right.ecdf(radii, color="#D55E00", linestyle="--", marker="", label="SGD, $N=800$" if k == 73 else None)
    right.set(xlabel="radius $|w|$", ylabel="distribution function", xlim=(0.0, 6.0))
    right.legend()

found = np.interp(list(known), times, 2.0 * limit.risk)
last = [float(np.mean(np.linalg.norm(snapshots[-1].state.theta[n][0, 1:41], axis=0))) for n in (100, 800)]
print("R at t = 1 and 10:", ", ".join(f"{value:.5f}" for value in found[[3, 5]]), "known: 1.07062, 0.1753")
print(f"mean radius at t = 10: {last[0]:.2f}, {last[1]:.2f} for N = 100, 800; known limit 3.454")
assert np.allclose(found, list(known.values()), atol=5e-4) and abs(last[1] - 3.454) < 0.3
plt.show()
