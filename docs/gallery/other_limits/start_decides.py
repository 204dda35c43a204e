r"""
A predictable failure: the start decides
========================================

With an activation that is not monotone the same data, network and algorithm have two ends. Started with
:math:`|w|\approx0.4` all neurons go to one radius and classify well; started with :math:`|w|\approx0.1` all end in
:math:`w=0`, where the network knows nothing (Mei, Montanari and Nguyen 2018, figure 4).

Known answer: R = 0.01430 with the mean radius 2.0882 from the wide start, and R = 7.25 = 1 + 2.5² from the narrow one.
In infinitely many dimensions the barrier between the two lies at the radius 0.196. R is twice the risk of mfpde.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.ensemble import EnsembleSettings, evolve_ensemble, prepare
from mfpde.io.theory.subject import open_subject
from mfpde.theory.dimension_free.limit import follow

# %%
# Both starts, the limit by 400 atoms and one network of 50 neurons; 320 inputs.
times = np.concatenate([[0.0], np.geomspace(2e-3, 5.0, 27)])
ends = {}
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.8))
    for width, colour in ((0.4, "#0072B2"), (0.1, "#D55E00")):
        study = open_subject("mei-failure", [f"initial.w.std={width}"]).study
        limit = follow(study.problem, study.law, 2.0 * times)
        step = study.config.particles.step
        sgd = EnsembleSettings((50,), 1, step, dynamics="sgd", batch=1, coupling="independent")
        networks = list(evolve_ensemble(prepare(study.problem, study.law, sgd), 2.0 * times[:20]))
        radii = np.array([np.linalg.norm(n.state.theta[50][0, 1:321], axis=0) for n in networks])
        means = np.array([m.weights @ m.atoms[:, 1] for m in limit.measures])
        left.loglog(times[1:], 2.0 * limit.risk[1:], "-", color=colour, marker="", label=rf"$\kappa={width}$")
        risk = [2.0 * n.records[0].risk[0] for n in networks]
        left.loglog(times[1:20:2], risk[1::2], "o", color=colour, linestyle="", label=r"SGD, $N=50$")
        right.semilogx(times[1:], means[1:], "-", color=colour, marker="")
        right.semilogx(times[1:20:2], radii.mean(axis=1)[1::2], "o", color=colour, linestyle="")
        ends[width] = 2.0 * limit.risk[-1], means[-1]
    for level in (0.0143, 7.25):
        left.axhline(level, color="black", linestyle=":", marker="", label="known" if level > 1.0 else None)
    right.axhline(2.0882, color="black", linestyle=":", marker="")
    right.axhline(0.196, color="0.5", linestyle="--", linewidth=0.8, marker="", label="barrier")
    left.set(xlabel="time $t=k\\varepsilon$", ylabel="risk $R$")
    right.set(xlabel="time $t=k\\varepsilon$", ylabel="mean radius of the neurons")
    left.legend()
    right.legend()

print("kappa, R, mean radius:", *(f"({k}: {r:.4f}, {m:.3f})" for k, (r, m) in ends.items()))
assert abs(ends[0.1][0] - 7.25) < 1e-6 and ends[0.1][1] < 1e-6
assert abs(ends[0.4][0] - 0.0143) < 1e-3 and abs(ends[0.4][1] - 2.088) < 0.01
plt.show()
