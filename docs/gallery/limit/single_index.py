r"""
Single index in 20 dimensions: one command
==========================================

An erf network learns :math:`y=h_1+0.4\,h_3` (normalised Hermite polynomials) of one direction out of 20. Rotations
reduce the limit to two coordinates, exactly.

Known answer: the gap :math:`F-D` bounds the distance to the least free energy and is zero to round-off at the
stationary measure; the errors of finite networks fall like :math:`1/N`.
"""

import json
import tempfile

import matplotlib.pyplot as plt

import mfpde

scratch = tempfile.TemporaryDirectory()
mfpde.run("solve", "single-index", "-o", scratch.name, "--set=particles.replicas=8", "--set=grid.cells=[96,96]")

# %%
# The first of the figures that the command draws: density and particles, the certificate, the risk, the rates.
picture = plt.imread(f"{scratch.name}/overview.png")
plt.figure(figsize=(7.0, 7.0 * len(picture) / len(picture[0])), dpi=300).add_axes((0, 0, 1, 1)).imshow(picture)
plt.axis("off")
plt.show()

# %%
# What is known: the gap of the stationary measure, energy that never rises, mass to round-off, slope -1 in the width.
with open(f"{scratch.name}/summary.json") as file:
    summary = json.load(file)
scratch.cleanup()
low, high = summary["rates"]["function_error"]["ci"]
assert summary["stationary"]["gap"] < 1e-12
assert summary["limit"]["energy_increases"] == 0 and summary["limit"]["mass_error"] < 1e-13
assert low < -1.0 < high
