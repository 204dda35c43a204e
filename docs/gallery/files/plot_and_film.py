r"""
Figures and a film of a run
===========================

``plot`` draws an output again, as png, pdf or svg, and with ``--animate`` as a film. Here oscillators synchronise.

Known answer: they come to rest at the dashed density :math:`\propto e^{4r\cos w}`, :math:`r=I_1(4r)/I_0(4r)`.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import mfpde
from mfpde.exact import kuramoto

scratch = tempfile.TemporaryDirectory()
keys = ["initial.w.std=2.0", "output.snapshots=9", "training.time=8.0", "particles.widths=[256]"]
mfpde.run("solve", "kuramoto", "-o", scratch.name, "--no-figures", *(f"--set={key}" for key in keys))
mfpde.run("plot", scratch.name, "-o", f"{scratch.name}/figures", "--animate")

# %%
# Four frames of film.gif.
film = Image.open(f"{scratch.name}/figures/film.gif")
figure, axes = plt.subplots(2, 2, figsize=(7.0, 4.8), dpi=200, layout="constrained")
for ax, number in zip(axes.flat, (0, 3, 5, 8)):
    film.seek(number)
    ax.imshow(film.convert("RGB"))
    ax.axis("off")
assert film.n_frames == 9

# %%
# One of the figures: moments over time.
picture = plt.imread(f"{scratch.name}/figures/moments.png")
plt.figure(figsize=(7.0, 7.0 * len(picture) / len(picture[0])), dpi=300).add_axes((0, 0, 1, 1)).imshow(picture)
plt.axis("off")
plt.show()
film.close()

# %%
run = mfpde.open(f"{scratch.name}/limit.h5")
exact = kuramoto.stationary_density(run["stationary/w"], 2.0, 0.5)
print(f"largest error of the density at rest {np.max(np.abs(run['stationary/density'] - exact)):.1e}")
assert np.allclose(run["stationary/density"], exact, atol=1e-4)
scratch.cleanup()
