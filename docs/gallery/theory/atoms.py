r"""
Atoms appear as the temperature falls
=====================================

At temperature :math:`\tau` the neurons of a trained network rest in a density over :math:`(a,w)`, positive everywhere.
As :math:`\tau` falls the density gathers into a few points: the network becomes a sparse dictionary. Here it needs two
neurons, seen twice each, since :math:`(a,w)` and :math:`(-a,-w)` are one tanh neuron.

Known answer: near a minimum of the first variation :math:`\Psi` the width of an atom is that of
:math:`\tau(\nabla^2\Psi)^{-1}` and falls like :math:`\sqrt\tau`. Without any noise, a penalty on the total variation
has a sparse answer too, with a certificate: :math:`|\eta|\leq1` everywhere, :math:`|\eta|=1` at its atoms.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures, stationary
from mfpde.figures import theory_atoms
from mfpde.io.theory.atoms import sparse_dictionary
from mfpde.io.theory.subject import open_subject
from mfpde.tabulate import tabulate

# %%
# One input, the target :math:`0.5\,h_1+0.8\,h_3`; output weight and weight of tanh neurons move.
keys = ['data.target={index="hermite",coefficients=[0.0,0.5,0.0,0.8]}', "training.weight_decay=0.02"]
box = ["grid.cells=[240,240]", "grid.bounds=[[-7.0,7.0],[-7.0,7.0]]"]
study = open_subject("propagation-of-chaos", keys + box).study


def at_rest(temperature):
    """The certified stationary density at a temperature."""
    table = tabulate(replace(study.problem, temperature=temperature), study.grid)
    return stationary.stationary(table, np.zeros(len(study.problem.data.y))).measure.density[0]


# %%
# The dictionary and its widths at falling temperatures: ``mfpde theory atoms STUDY --temperatures 0.02 0.01 ...``.
subject, taus = open_subject("propagation-of-chaos", keys), [0.02, 0.01, 0.005, 0.0025, 0.00125]
found = sparse_dictionary(subject, 0.02, "ball", taus)
falling, certified = found["zero_temperature"], found["total_variation"]

# %%
with figures.style():
    figure = plt.figure(figsize=(figures.DOUBLE, 4.8))
    above, below = figure.subfigures(2, 1)
    for ax, tau in zip(above.subplots(1, 4, sharey=True), (0.1, 0.03, 0.01, 0.002), strict=True):
        figures.density_map(ax, *(axis.centers for axis in study.grid.axes), at_rest(tau), names=("a", "w"))
        ax.set(title=rf"$\tau={tau:g}$", xlim=(-4.4, 4.4), ylim=(-4.4, 4.4), ylabel="$w$" if tau == 0.1 else "")
    left, right = below.subplots(1, 2)
    theory_atoms.widths(left, falling)
    theory_atoms.certificate(right, certified)

slopes = [one["slope"] for one in falling["slopes"]]
print("width ~ temperature to the power {:.2f} and {:.2f}, known 1/2".format(*slopes))
assert np.allclose(slopes, [0.5, 0.5], atol=0.05)
assert np.allclose(falling["widths"][0], falling["laplace"][0], rtol=0.03)
plt.show()
