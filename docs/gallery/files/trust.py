"""
What to trust: verify, check, info, cite
========================================

``verify`` measures orders and identities on this installation, ``check`` reads a file with all its checksums, ``info``
says where it comes from, ``cite`` what stands behind it.

Known answer: every order is 2, and a file with one bit changed is refused.
"""

import json
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib.pyplot as plt

from mfpde import figures
from mfpde.cli.main import main


def printed(*words):
    with redirect_stdout(StringIO()) as text, redirect_stderr(StringIO()):
        return main(words), text.getvalue()


# %%
# Orders in space.
code, text = printed("verify", "--only", "order in space", "--json")
assert code == 0
points = [(check["measured"], check["name"]) for check in reversed(json.loads(text)["groups"][0]["checks"])]
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
printed("solve", "diabetes-bmi", "-q", "-o", scratch.name, "--only", "stationary", "--set=grid.cells=[24,24,24]")
file = Path(scratch.name, "limit.h5")
print(*printed("info", str(file))[1].splitlines()[1:3], sep="\n")
cited = json.loads(printed("cite", scratch.name, "--json")[1])["entries"]
print("to cite:", ", ".join(entry["key"] for entry in cited))

assert printed("check", str(file))[0] == 0

# %%
# One bit changed in the middle: refused, with exit code 4.
damaged = bytearray(file.read_bytes())
damaged[len(damaged) // 2] ^= 1
file.write_bytes(damaged)
assert printed("check", str(file))[0] == 4
scratch.cleanup()
