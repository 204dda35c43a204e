"""
Reading an output: mfpde.open, xarray, csv, npz, openPMD
========================================================

The native file is HDF5 that xarray opens with all axes labelled. ``export`` writes what other programs prefer.

Known answer: all five ways give the same numbers, to the last bit; the mean is :math:`2e^{-t}`.
"""

import tempfile

import h5py
import matplotlib.pyplot as plt
import numpy as np
import xarray

import mfpde
from mfpde import figures
from mfpde.figures.style import DENSITY_MAP

scratch = tempfile.TemporaryDirectory()
file = f"{scratch.name}/limit.h5"
mfpde.run("solve", "ornstein-uhlenbeck", "--only=limit", "--no-figures", "-o", scratch.name)
for kind in ("csv", "npz", "openpmd"):
    mfpde.run("export", file, "--to", kind)

# %%
# The native file, and what stands in it.
run = mfpde.open(file)
print(run)
density = run.to_xarray("limit").density

# %%
# The same array by every other way.
with xarray.open_dataset(file, group="limit", engine="h5netcdf") as data:
    assert np.array_equal(data.density, density)
with np.load(f"{scratch.name}/limit.npz") as data:
    assert np.array_equal(data["limit/density"], density)
table = np.genfromtxt(f"{scratch.name}/limit-csv/limit.time-w.csv", delimiter=",", names=True)
assert np.array_equal(table["density"].reshape(density.shape), density)
with h5py.File(f"{scratch.name}/limit-openpmd.h5") as data:
    assert all(np.array_equal(data[f"data/{k}/meshes/density"], density[k]) for k in range(len(density)))

# %%
# Labelled axes make short work of a figure.
mean = (density * density.w).sum("w") * (density.w[1] - density.w[0])
with figures.style():
    figure, ax = plt.subplots(figsize=(4.6, 2.7))
    density.plot(ax=ax, x="time", cmap=DENSITY_MAP, cbar_kwargs={"label": "density $\\rho_t$"})
    mean.plot(ax=ax, color="#D55E00", linestyle="", markevery=2, label="mean, by xarray")
    ax.plot(density.time, 2.0 * np.exp(-density.time), "k--", marker="", label="$2e^{-t}$")
    ax.set(xlabel="time $t$", ylabel="$w$", ylim=(-2.0, 4.0))
    ax.legend()
plt.show()
assert np.allclose(mean, 2.0 * np.exp(-density.time), atol=1e-2)
scratch.cleanup()
