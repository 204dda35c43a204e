r"""
Propagation of chaos: how fast finite networks approach the limit
=================================================================

The same study at four widths, 100 replicas each.

Known answer: squared distances to the limit fall like :math:`1/N` at all times. At rest
:math:`N\,\mathrm{E}\|f_N-f\|^2` tends to 0.0185, which the stationary measure alone tells; for independent neurons it
is the variance of one neuron, 0.125.
"""

import json
import tempfile

import matplotlib.pyplot as plt

import mfpde

scratch = tempfile.TemporaryDirectory()
keys = ["particles.widths=[32,64,128,256]", "particles.replicas=100", "particles.step=0.1", "grid.cells=[96,96]"]
keys += ["training.time=20.0", "output.snapshots=6"]
mfpde.run("solve", "propagation-of-chaos", "--no-figures", "-o", scratch.name, *(f"--set={key}" for key in keys))
mfpde.run("compare", scratch.name, "--metric", "chaos", "-o", scratch.name)

# %%
# What ``mfpde compare DIR --metric chaos`` draws.
picture = plt.imread(f"{scratch.name}/chaos.png")
plt.figure(figsize=(7.0, 7.0 * len(picture) / len(picture[0])), dpi=300).add_axes((0, 0, 1, 1)).imshow(picture)
plt.axis("off")
plt.show()

# %%
# Exponents with 95 % intervals over replicas, and the constants at rest.
with open(f"{scratch.name}/chaos.json") as file:
    chaos = json.load(file)
scratch.cleanup()
for kind in ("coupling", "function", "function_iid"):
    last = chaos["rates"][kind][-1]
    low, high = last["ci"]
    print(f"{kind:12} ~ N^{last['slope']:.2f} [{low:.2f}, {high:.2f}]")
    assert low < -1.0 < high
constants = chaos["stationary"]["constants"]
print(f"at rest {constants['propagation_of_chaos']:.4f}, independent neurons {constants['iid_trace']:.4f}")
