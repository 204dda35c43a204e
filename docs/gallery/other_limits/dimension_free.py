r"""
The width that one per cent needs
=================================

How many neurons keep the risk within 1 % of its first value, and does the answer depend on the number :math:`d` of
inputs? For independent neurons of the limit the mean square of :math:`R_N-R` is known exactly, so that the width
follows from the limit alone, and the limit costs the same in 10 and in 1000 inputs.

Known answer (Mei, Misiakiewicz and Montanari 2019): no. On two Gaussians 544, 601, 615, 618, 618 neurons at
d = 10, 40, 160, 640 and 1000; for one index and erf neurons 860 at d = 10 and 826 at d = 1000.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures.style import label_widths
from mfpde.io.theory.sgd import in_dimension
from mfpde.io.theory.subject import open_subject
from mfpde.theory.dimension_free.sweeps import needed_widths

# %%
# Both studies at t = 2 and t = 1 in the clock of mfpde; ``mfpde theory sgd --sweeps d`` prints the table.
known = {
    "mei-isotropic": {10: 544, 40: 601, 160: 615, 640: 618, 1000: 618},
    "dimension-free": {10: 860, 1000: 826},
}
ends, widths = {"mei-isotropic": 2.0, "dimension-free": 1.0}, {}
for name, answers in known.items():
    at = partial(in_dimension, open_subject(name, ["data.quadrature=40"]).study)
    rows = needed_widths(at, list(answers), np.array([0.0, ends[name]]), 0.01, 64, 0, 0.05, 0, lambda share: None)
    widths[name] = [row.independent for row in rows]

# %%
labels = {"mei-isotropic": "two Gaussians, piecewise linear", "dimension-free": "one index, erf"}
with figures.style():
    figure, ax = plt.subplots(figsize=(4.4, 3.0))
    for name, answers in known.items():
        ax.plot(answers.keys(), widths[name], label=labels[name])
        ax.plot(
            answers.keys(), answers.values(), "kx", linestyle="", label="known" if name == "dimension-free" else None
        )
    label_widths(ax, list(known["mei-isotropic"])[:4])
    ax.set(xlabel="inputs $d$", ylabel="neurons for 1 % error of the risk", ylim=(0.0, 1100.0))
    ax.legend(loc="lower right")

for name, answers in known.items():
    print(f"{name}: {', '.join(f'{value:.0f}' for value in widths[name])}; known {list(answers.values())}")
    assert np.allclose(widths[name], list(answers.values()), rtol=2e-3)
plt.show()
