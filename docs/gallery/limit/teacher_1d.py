"""
Three parameters per neuron: a three-dimensional grid
=====================================================

A tanh network learns a tanh teacher, and everything in it moves: its density lives on :math:`(a,w,b)`.

Known answer: the certified minimiser of the free energy, to which :math:`F-D` bounds the distance at every time.
"""

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate

keys = ["grid.cells=[44,40,40]", "training.time=40.0", "output.snapshots=9", "grid.tolerance=1e-4"]
study = mfpde.load_study("teacher-1d", keys)
solution = mfpde.solve(study.problem, mfpde.initial_measure(study.law, study.grid), study.times)
final = solution.final
rest = stationary(tabulate(study.problem, final.measure.grid), final.f)
print(f"F - D at the end {final.gap:.1e}, F - F* {final.free_energy - rest.free_energy:.1e}, at rest {rest.gap:.1e}")
assert 0.0 <= final.free_energy - rest.free_energy <= final.gap and rest.gap < 1e-12

# %%
# The density of two parameters each.
centers = [axis.centers for axis in final.measure.grid.axes]
with figures.style():
    figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.2))
    figures.marginals(axes, centers, final.measure.density[0], names=("a", "w", "b"))

# %%
# The certificate over time, and what is learned: f(x) is the mean of a tanh(w x + b) over the density.
time, energy, gap = np.array([[step.time, step.free_energy, step.gap] for step in solution.history]).T
x = np.linspace(-4.0, 4.0, 81)


def learned(measure):
    a, w, b = measure.atoms.T
    return np.tanh(np.outer(x, w) + b) @ (a * measure.weights)


with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.6))
    figures.energy(left, time, energy, stationary_free_energy=rest.free_energy, gap=gap)
    early = {f"$t$ = {shot.time:.3g}": learned(shot.measure) for shot in solution.snapshots[:2]}
    functions = {"target": 0.8 * np.tanh(1.5 * x), "earlier": early, "stationary": learned(rest.measure)}
    figures.learned_function(right, x, learned(final.measure), **functions, limit_label=f"$t$ = {final.time:.0f}")
plt.show()
