"""
A study of one's own from Python objects
========================================

No file is needed: a network, data, a loss and a temperature make a ``Problem``, and initial laws choose the start. Here
neurons with output weights +1 and -1 that do not move learn a bump; each sign has its own density over :math:`(w,b)`.

Known answer: the certified minimiser of the free energy.
"""

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate

x = np.linspace(-3.0, 3.0, 61)
y = np.exp(-(x**2)) - 0.3
trained = mfpde.network_coordinates(
    blocks=(1,),
    train=("w", "b"),
    bias=True,
    weight_decay={"a": 0.0, "w": 0.05, "b": 0.05},
    rates={"a": 1.0, "w": 1.0, "b": 1.0},
)
problem = mfpde.Problem(mfpde.Network("tanh", scale=4.0), mfpde.nodes(x[:, None], y), "square", 0.01, trained)
sign, normal = mfpde.GroupLaw("rademacher"), mfpde.GroupLaw("normal", std=1.0)
law = mfpde.InitialLaw(a=sign, w=normal, b=normal, dimension=1)
print(problem)

# %%
# Integrate the limit, and find where it ends.
grid = mfpde.choose_grid(problem, law, cells=(96, 96))
solution = mfpde.solve(problem, mfpde.initial_measure(law, grid), np.array([0.0, 0.3, 1.0, 40.0]))
final = solution.final
rest = stationary(tabulate(problem, final.measure.grid), final.f)
print(solution)
assert rest.gap < 1e-12 and 0.0 <= final.free_energy - rest.free_energy <= final.gap

# %%
# The density of either sign at the end, over the one at rest, and the learned bump.
centers = [axis.centers for axis in final.measure.grid.axes]
with figures.style():
    figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.4))
    for ax, sign, density, at_rest in zip(axes, ("-1", "+1"), final.measure.density, rest.measure.density):
        figures.density_map(ax, *centers, density, stationary=at_rest, names=("w", "b"))
        ax.set_title(f"$a={sign}$")
    early = {f"$t$ = {shot.time:.3g}": shot.f for shot in solution.snapshots[:3]}
    figures.learned_function(axes[2], x, final.f, target=y, earlier=early, stationary=rest.f, limit_label="$t$ = 40")
    axes[2].legend(ncols=2, loc="upper center", handlelength=1.2)
    axes[2].set_ylim(-0.4, 1.3)
plt.show()
