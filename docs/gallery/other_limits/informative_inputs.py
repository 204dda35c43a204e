r"""
The network finds the informative inputs
========================================

Two classes differ in 16 of 160 inputs, by 30 % in width; the other 144 inputs say nothing. The limit of training is
transport on two radii, of the weights on the informative inputs and of the others. Along the first the law grows, along
the second it shrinks: the uninformative inputs are forgotten (Mei, Misiakiewicz and Montanari 2019, theorem 6).

Known answer: with infinitely many inputs, a tenth of them informative, one atom stays one. It passes the radii
(1.02653, 0.98835) at t = 1 and (1.43806, 0.39738) at t = 3 and ends in (1.51984, 0). Among 160 inputs the law goes the
same way, later and to a higher risk. Units are those of the article: R is twice the risk of mfpde, and its time half.
"""

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare
from mfpde.exact import two_gaussians
from mfpde.io.theory.subject import open_subject

# %%
# The limit on a coarse grid of the two radii, one network trained by SGD, and the atom of infinite dimension.
study = open_subject("mei-anisotropic", ["grid.cells=[60,48]", "output.snapshots=17", "data.quadrature=6"]).study
start, control = mfpde.initial_measure(study.law, study.grid), mfpde.Control(flux="limited")
solution = mfpde.solve(study.problem, start, study.times, control)
sgd = EnsembleSettings((200,), 1, study.config.particles.step, dynamics="sgd", batch=1, coupling="independent")
networks = list(evolve_ensemble(prepare(study.problem, study.law, sgd), study.times))
pieces = {"knots": [0.5, 1.5], "slopes": [0.0, 10.0, 0.0], "value": -2.5, "separation": 0.3}
time = np.linspace(0.0, study.times[-1], 161)
atom = two_gaussians.path(time, [[0.1**0.5, 0.9**0.5]], [1.0], **pieces)

# %%
# Blue: the density of the limit. Orange: SGD, whose own noise keeps neurons from 0. Black: the way of the atom.
with figures.style():
    figure, axes = plt.subplots(1, 4, figsize=(9.0, 2.6), width_ratios=(1.0, 1.0, 1.0, 1.2))
    for ax, k in zip(axes, (0, 2, 8), strict=False):
        w = networks[k].state.theta[200][0, 1:161]
        radii = np.stack([np.linalg.norm(w[:16], axis=0), np.linalg.norm(w[16:], axis=0)], axis=1)
        centers, density = [axis.centers for axis in study.grid.axes], solution.snapshots[k].measure.density[0]
        figures.density_map(ax, *centers, density, particles=radii, kinds=("radius", "radius"))
        ax.plot(*atom.radii[: 10 * k + 1, 0].T, "k-", linewidth=0.8, marker="")
        ax.plot(*atom.radii[10 * k, 0], "kx", markersize=5)
        ax.set(title=f"$t={study.times[k] / 2:g}$", xlim=(0.0, 1.8), ylim=(0.0, 1.4))
    last = axes[3]
    risk = [2 * network.records[0].risk[0] for network in networks]
    last.plot(study.times / 2, risk, "o", linestyle="", label="SGD, 200 neurons")
    last.plot(study.times / 2, [2 * s.risk for s in solution.snapshots], "-", marker="", label="limit, 160 inputs")
    last.plot(time / 2, 2 * atom.risk, "k--", marker="", label="atom, infinitely many")
    last.set(xlabel="time $t=k\\varepsilon$", ylabel="risk $R$", ylim=(0.0, 1.7))
    last.legend()

ends = [mfpde.expect(solution.snapshots[-1].measure, lambda r, k=k: r[:, k]) for k in (1, 2)]
print("mean radii at t = 8: {:.3f} and {:.3f}; of the atom: {:.3f} and {:.3f}".format(*ends, *atom.radii[-1, 0]))
assert np.allclose(atom.radii[[20, 60], 0], [[1.02653, 0.98835], [1.43806, 0.39738]], atol=1e-5)
assert abs(ends[0] - 1.52) < 0.03 and ends[1] < 0.25 * mfpde.expect(start, lambda r: r[:, 2])
plt.show()
