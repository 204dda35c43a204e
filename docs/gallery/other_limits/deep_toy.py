r"""
Three hidden layers of infinite width
=====================================

Eight points, three layers of tanh, gradient descent under muP, the parametrization in which every layer keeps learning
as the width grows. The limit is computed step by step, without networks; networks of finite width lie beside it.

Known answer: the loss of the limit is 0.31968, 0.12469, 0.002766, 0.001286, 0.000437, 0.000160 at steps 1, 2, 5, 10, 20
and 30. The mean over networks is off by a bias like 1/N, one network by a deviation like :math:`1/\sqrt N`. The loss
falls at least as fast as the smallest eigenvalue of the tangent kernel :math:`\Theta` says, a certified rate.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import deep
from mfpde.io.deep import config
from mfpde.io.deep.data import read_samples
from mfpde.io.deep.run import run_study

# %%
# Four runs of the limit in place of 24, fewer networks: ``mfpde deep deep-toy`` runs all of the study.
study = config.load("deep-toy", ["limit.replicates=4", "finite.seeds=[600,400,200,100]"])
flags = {"only": None, "resume": False, "processes": 1, "checkpoint": 60.0, "report": lambda share: None}
with tempfile.TemporaryDirectory() as folder:
    found = run_study(study, read_samples(study), f"{folder}/deep.h5", **flags)
limit, widths, law = found.limit, found.finite["mup"], found.law

# %%
known = {1: 0.31968, 2: 0.12469, 5: 0.002766, 10: 0.001286, 20: 0.000437, 30: 0.000160}
with figures.style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.0, 2.8))
    deep.losses(left, limit.times, {one.width: one.loss for one in widths[::3]}, limit.loss)
    left.plot(known.keys(), known.values(), "kx", linestyle="", label="known")
    left.legend()
    band = limit.layers["feature_eigenvalue"]
    deep.eigenvalues(middle, limit.times, band.mean, band.sem, theta=limit.bound.lowest)
    deep.deviation(right, law.widths, (law.bias, law.bias_sem), (law.fluctuation, law.fluctuation_sem))
    figures.settle(figure)

loss = limit.loss.mean[list(known)]
print("loss at steps 1, 2, 5, 10, 20, 30:", ", ".join(f"{value:.3g}" for value in loss))
print(f"bias ~ N^{law.bias_rate.slope:.2f}, deviation ~ N^{law.fluctuation_rate.slope:.2f}")
assert np.allclose(loss, list(known.values()), rtol=0.03)
assert np.all(limit.bound.rate >= limit.bound.bound)
assert abs(law.bias_rate.slope + 1.0) < 0.3 and abs(law.fluctuation_rate.slope + 0.5) < 0.05
plt.show()
