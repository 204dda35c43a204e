r"""
Feature learning against the lazy limit
=======================================

Multiply the output of a two-layer network by :math:`\alpha`. As :math:`\alpha` grows neurons move less and less, and
training becomes regression with a fixed kernel; as it falls features are learned. Here 3 and 8 among handwritten digits
are regressed, and at the same rescaled time a small :math:`\alpha` ends with the smaller error on new images.

Known answer: the kernel of the limit in closed form, with it the error at every time, and the rate of approach:
:math:`\Vert u^\alpha-u^*\Vert\sim\alpha^{-2}` from output weights :math:`\pm1`, :math:`\alpha^{-1}` from a skewed law.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import kernel_limit
from mfpde.io.kernel_limit import config
from mfpde.io.kernel_limit.run import run_study

# %%
# Half of the images and of the neurons, a third of the time: ``mfpde kernel-limit`` runs the whole study.
keys = ["data.rows=180", "kernel_limit.neurons=64", "kernel_limit.scales=[0.1,1.0,10.0,100.0,1000.0]"]
study = config.load("kernel-limit-digits", [*keys, "training.time=100.0", "output.snapshots=19"])
with tempfile.TemporaryDirectory() as folder:
    found = run_study(study, f"{folder}/kernel-limit.h5", resume=False, report=lambda flows: None)
flows = {law: sorted((t.scale, row) for t, row in found.rows.items() if t.law == law) for law in ("initial", "skewed")}
scales = np.array([scale for scale, _ in flows["initial"]])

# %%
with figures.style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.0, 2.8))
    levels = {"kernel, closed form": found.limit.ends.test[0], "kernel of these neurons": found.own_end.test[0]}
    error = np.array([row.test_error[-1] for _, row in flows["initial"]])
    kernel_limit.crossover(left, scales, error, levels, ylabel="test error at the last time")
    times, kept = found.setting.times, found.limit.times <= 1.5 * found.setting.times[-1]
    curves = {scale: row.test_error for scale, row in flows["initial"][::2]}
    limit = found.limit.times[kept], found.limit.stopping.test[kept]
    kernel_limit.learning_curves(middle, times, curves, *limit, ylabel="test error")
    lines = {}
    for law, label in (("initial", r"$a=\pm1$"), ("skewed", "$a$ skewed")):
        rate = found.rates[law]["distance"]
        last = np.array([row.distance[-1] for _, row in flows[law]])
        lines[rf"$\Vert u^\alpha-u^*\Vert$, {label}"] = scales, last, (rate.slope, rate.prefactor)
    kernel_limit.approach(right, lines, fit_from=100.0)
    figures.settle(figure)

slopes = {law: found.rates[law]["distance"].slope for law in flows}
print(f"slopes in alpha: {slopes['initial']:.3f} (known -2), {slopes['skewed']:.3f} (known -1)")
print(f"test error: alpha = 0.1 {error[0]:.4f}, alpha = 1000 {error[-1]:.4f}, its limit {found.own_end.test[0]:.4f}")
assert abs(slopes["initial"] + 2.0) < 0.05 and abs(slopes["skewed"] + 1.0) < 0.05
assert error[0] < 0.5 * error[-1] and abs(error[-1] / found.own_end.test[0] - 1.0) < 1e-4
plt.show()
