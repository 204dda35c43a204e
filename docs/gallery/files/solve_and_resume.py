"""
Killed and resumed, to the same bytes
=====================================

A run is killed without warning. ``--resume`` continues it from its last checkpoint.

Known answer: the file is the same, in every number, as that of a run that nothing has disturbed.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt

import mfpde
from mfpde import figures

scratch = tempfile.TemporaryDirectory()
straight, cut = Path(scratch.name) / "straight", Path(scratch.name) / "cut"
keys = ["--set=grid.tolerance=3e-8", "--set=grid.cells=[96,96]"]
command = ["solve", "linear-network", "--only", "limit", "--no-figures", *keys]

# %%
# One run in a process of its own, killed as soon as it has saved something.
process = subprocess.Popen([sys.executable, "-m", "mfpde", *command, "-q", "--checkpoint", "0.2", "-o", str(cut)])
while process.poll() is None and not (cut / "limit.h5").exists():
    time.sleep(0.02)
process.kill()
process.wait()
before = mfpde.open(cut / "limit.h5")["history/t"]

# %%
# The same with --resume, another straight through, and a comparison of every number.
mfpde.run(*command, "-o", straight)
mfpde.run(*command, "-o", cut, "--resume")
assert mfpde.run("compare", straight, cut, "--rtol", "0", "--atol", "0")["ok"]

# %%
once, twice = mfpde.open(straight / "limit.h5"), mfpde.open(cut / "limit.h5")
rest = once.groups["stationary"].attributes["free_energy"]
with figures.style():
    figure, ax = plt.subplots(figsize=(4.6, 2.7))
    for run, look, label in ((once, "-", "undisturbed"), (twice, "k:", "killed and resumed")):
        ax.semilogy(run["history/t"], run["history/free_energy"] - rest, look, marker="", label=label)
    ax.axvline(before[-1], color="#D55E00", linestyle="--", marker="", label=f"last checkpoint, $t$ = {before[-1]:.2f}")
    ax.set(xlabel="time $t$", ylabel="$F-F^*$")
    ax.legend()
plt.show()
scratch.cleanup()
