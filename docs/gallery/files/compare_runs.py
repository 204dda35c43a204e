"""
Two outputs compared
====================

``compare A B --rtol 0 --atol 0`` says whether two outputs are the same; without tolerances it compares their physics.

Known answer: threads change nothing; :math:`W_2` falls with the square of the cell, and like :math:`N^{-1/2}`.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures

scratch = tempfile.TemporaryDirectory()


def solve(name, *flags):
    mfpde.run("solve", "ornstein-uhlenbeck", "--no-figures", "-o", f"{scratch.name}/{name}", *flags)
    return f"{scratch.name}/{name}"


def laws(*files):
    return mfpde.run("compare", *files, "--metric=w2")["comparisons"][0]["laws"]


# %%
# The same run on one thread and on two.
few = ["--set=particles.widths=[32,128,512]", "--set=particles.replicas=60", "--set=grid.cells=[128]"]
one, two = solve("one", *few, "--threads=1"), solve("two", *few, "--threads=2")
assert mfpde.run("compare", one, two, "--rtol", "0", "--atol", "0")["ok"]

# %%
# W2 between grids and the finest of them, and between networks and limit.
cells = np.array([32, 64, 128, 256, 1024])
*coarse, finest = (solve(n, "--only=limit", f"--set=grid.cells=[{n}]") for n in cells)
grids = np.array([laws(run, finest)[-1]["w2"] for run in coarse])
networks = laws(f"{one}/limit.h5", f"{one}/particles.h5")
print("from grid to grid the distance falls by", np.round(grids[:-1] / grids[1:], 2))
assert np.allclose(grids[:-1] / grids[1:], 4.0, atol=0.3)
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.7))
    figures.order(left, 1.0 / cells[:-1], {"$W_2$ to 1024 cells": grids}, xlabel="1 / cells", ylabel="$W_2$")
    for three in (networks[:3], networks[3:6], networks[6:]):
        right.semilogy(["32", "128", "512"], [law["w2"] for law in three], label=f"$t$ = {three[0]['time']:.1f}")
    right.semilogy(["32", "512"], 0.8 / np.sqrt([32, 512]), ":", color="0.55", marker="", label="$N^{-1/2}$")
    right.set(xlabel="width $N$", ylabel="$W_2$ to the limit")
    right.legend()
plt.show()
scratch.cleanup()
