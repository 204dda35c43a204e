r"""
One function, many networks
===========================

Neurons may change places, be split into copies, be silent, or (tanh is odd) change the sign of all their parameters:
the function stays the same. All these networks are one orbit, and the canonical form picks one network of it.

Known answer: for tanh there is nothing else (Sussmann 1992). Two networks are one function exactly if their canonical
forms agree, and both statements are checked here against the distance of the functions under Gaussian inputs.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.theory.generators import generators
from mfpde.theory.ridge import Atoms
from mfpde.theory.symmetry import canonicalise, same_function

# %%
# Four neurons with biases in the plane, moved by every symmetry of tanh one after another.
rng = np.random.default_rng(3)
network = Atoms(np.array([1.0, -0.7, 0.5, 0.9]), 1.5 * rng.standard_normal((4, 2)), rng.uniform(-1.0, 1.0, 4))
moved = network
for symmetry in generators("tanh"):
    moved = symmetry.move(moved, rng)
    print(f"{symmetry.name:<12} {len(moved.a)} neurons: {symmetry.description}")

# %%
# The canonical form undoes all of it. A neuron that is truly moved, by a hundredth, is another function.
found = same_function("tanh", network, moved)
other = same_function("tanh", network, Atoms(network.a, network.w + 0.01 * np.eye(4, 2), network.b))
print(f"moved by symmetries: distance {found.distance:.0e}, one orbit: {found.orbit_equal}")
print(f"moved by 0.01:       distance {other.distance:.0e}, one orbit: {other.orbit_equal}")

# %%
# Circles are neurons at their weights, as large as their output weight; orange ones count negative.
with figures.style():
    figure, axes = plt.subplots(1, 3, figsize=(figures.DOUBLE, 2.6), sharex=True, sharey=True)
    shown = {"a network": network, "another one": moved, "canonical form of both": canonicalise("tanh", moved).atoms}
    for ax, (title, atoms) in zip(axes, shown.items(), strict=True):
        colours = np.where(atoms.a > 0.0, "#0072B2", "#D55E00")
        ax.axvspan(-4.0, 0.0, color="0.95" if ax is axes[2] else "white", linewidth=0)
        ax.scatter(*atoms.w.T, s=20.0 + 80.0 * np.abs(atoms.a), c=colours, alpha=0.6, linewidths=0)
        ax.set(title=title, xlabel="$w_1$", xlim=(-4.0, 4.0))
    axes[0].set_ylabel("$w_2$")

assert found.same and found.orbit_equal and not other.same and not other.orbit_equal
assert np.allclose(canonicalise("tanh", moved).atoms.w, canonicalise("tanh", network).atoms.w, atol=1e-12)
plt.show()
