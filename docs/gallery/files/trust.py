"""
What to trust: verify, check, info, cite
========================================

``verify`` measures orders and identities on this installation, ``check`` reads a file with all its checksums, ``info``
says where it comes from, ``cite`` what stands behind it.

Known answer: every order is 2, and a file with one bit changed is refused.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import mfpde
from mfpde import figures
from mfpde.errors import DataFileError

# %%
# Orders in space.
verified = mfpde.run("verify", "--only", "order in space")
assert verified["ok"]
points = [(check["measured"], check["name"]) for check in reversed(verified["groups"][0]["checks"])]
with figures.style():
    figure, ax = plt.subplots(figsize=(5.0, 2.6))
    ax.axvspan(1.9, 2.1, color="0.9", label="accepted")
    ax.axvline(2.0, color="0.55", linestyle=":", marker="", label="stated")
    ax.plot(*zip(*points), "o", color="#D55E00", label="measured")
    ax.set(xlabel="order in the cell width", xlim=(1.8, 2.3))
    ax.legend(loc="lower right")
plt.show()

# %%
# A file, where it comes from and what it rests on.
scratch = tempfile.TemporaryDirectory()
mfpde.run("solve", "diabetes-bmi", "-o", scratch.name, "--only", "stationary", "--set=grid.cells=[24,24,24]")
file = Path(scratch.name, "limit.h5")
print(mfpde.run("info", file)["attributes"]["source"])
cited = mfpde.run("cite", scratch.name)["entries"]
print("to cite:", ", ".join(entry["key"] for entry in cited))

assert mfpde.run("check", file)["ok"]

# %%
# One bit changed in the middle: refused, with exit code 4.
damaged = bytearray(file.read_bytes())
damaged[len(damaged) // 2] ^= 1
file.write_bytes(damaged)
try:
    mfpde.run("check", file)
except DataFileError as error:
    print(str(error).replace(scratch.name, ""), "- exit code", error.exit_code)
else:
    raise AssertionError("a damaged file was taken for a sound one")
scratch.cleanup()
