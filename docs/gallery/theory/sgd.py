r"""
From the limit to SGD in four steps
===================================

How far is one run of SGD from the limit? In the chain limit, independent neurons, particles, gradient descent, SGD each
pair of neighbours shares start and samples, so that the error of each step can be measured alone, over the width
:math:`N` or over the step :math:`\varepsilon`.

Known answer (Mei, Misiakiewicz and Montanari 2019, theorem 1): fluctuations and particles :math:`N^{-1/2}`, the bias of
the mean risk exactly :math:`N^{-1}`, with a constant that follows from the limit alone; gradient descent
:math:`\varepsilon`, SGD :math:`\varepsilon^{1/2}`.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import theory_sgd
from mfpde.figures.style import label_widths
from mfpde.io.theory.sgd import exponent_numbers
from mfpde.io.theory.subject import open_subject
from mfpde.theory.dimension_free import sweeps
from mfpde.theory.dimension_free.limit import follow

# %%
# The study ``dimension-free`` in 20 inputs, with fewer networks than ``mfpde theory sgd`` takes.
study = open_subject("dimension-free", ["training.time=0.5", "output.snapshots=3", "data.quadrature=40"]).study
limit = follow(study.problem, study.law, study.times)


def quiet(share):
    """Progress that nobody looks at."""


widths, steps = [50, 100, 200, 400], [2e-3, 4e-3, 8e-3, 16e-3]
over_width = sweeps.over_width(limit, widths, [192, 96, 48, 24], 0.05, 0, quiet)
over_step = sweeps.over_step(study.problem, study.law, 50, 32, steps, 0.5, 0, 1, quiet)

# %%
# Points are measured, lines have the exponents of the theorem. Right: N times the bias, the same for every N.
exact, scaled, sems = over_width.constants.bias, over_width.identity, over_width.identity_sem
with figures.style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.0, 3.2))
    theory_sgd.exponents(left, [exponent_numbers(one) for one in over_width.exponents])
    theory_sgd.exponents(middle, [exponent_numbers(one) for one in over_step])
    middle.set_xlabel(r"step $\varepsilon$")
    right.axhline(exact, color="black", linestyle="--", marker="", label="exact, from the limit")
    right.errorbar(widths, scaled, 1.96 * sems, fmt="o", label="measured")
    label_widths(right, widths)
    right.set(ylabel=r"$N\,\mathrm{E}(R_N-R)$", ylim=(0.0, 0.14))
    right.legend(loc="lower left")
    figures.settle(figure)

for one in (*over_width.exponents, *over_step):
    print(f"{one.law.step:<32}{one.law.quantity:<18}{one.slope:6.2f}, known {one.law.exponent:g}")
assert all(abs(one.slope - one.law.exponent) < 0.25 for one in (*over_width.exponents, *over_step))
assert np.all(np.abs(scaled - exact) < 4.0 * sems)
plt.show()
