r"""
From the list of studies to a run of one's own
==============================================

``studies`` lists what is built in and shows one as TOML to start from; ``config`` explains keys, ``--dry-run`` the
cost; ``completion`` prints a script for the shell. Here two lines of a built-in study are changed.

Known answer: at rest the linear network has :math:`M=\mathrm{E}[aw]` of a closed form.
"""

import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib.pyplot as plt

import mfpde
from mfpde import figures
from mfpde.cli.main import main
from mfpde.exact import linear_network


def printed(*words):
    with redirect_stdout(StringIO()) as text:
        assert main(words) == 0
    return text.getvalue()


# %%
# Which studies there are, what a key means, and a script for the shell.
print(*printed("studies").splitlines()[:6], sep="\n")
print(printed("config", "--explain", "training.temperature"))
print(len(printed("completion", "bash").splitlines()), "lines of completion for bash")

# %%
# A study of one's own: the linear network, hotter and with less weight decay.
scratch = tempfile.TemporaryDirectory()
mine = Path(scratch.name) / "mine.toml"
text = printed("studies", "show", "linear-network")
mine.write_text(
    text.replace("temperature = 0.1", "temperature = 0.15").replace("weight_decay = 0.5", "weight_decay = 0.3")
)
print(*printed("solve", str(mine), "--dry-run").splitlines()[-2:], sep="\n")
printed("solve", str(mine), "-q", "-o", scratch.name, "--no-figures", "--only=limit", "--set=grid.cells=[96,96]")

run = mfpde.open(f"{scratch.name}/limit.h5")
exact = linear_network.stationary(target=[1.0], weight_decay=0.3, temperature=0.15).overlap[0]
time, x = run["limit/time"], run["limit/x"][0, 0]
with figures.style():
    figure, ax = plt.subplots(figsize=(4.6, 2.7))
    ax.plot(time, run["limit/f"][:, 0] / x, marker="", label="limit on the grid")
    ax.axhline(exact, color="0.55", linestyle=":", marker="", label="at rest, closed form")
    ax.set(xlabel="time $t$", ylabel="$M=\\mathrm{E}\\,[a\\,w]$")
    ax.legend()
plt.show()
print(f"M at rest {run['stationary/f'][0] / x:.5f}, exact {exact:.5f}")
assert abs(run["stationary/f"][0] / x - exact) < 1e-3
scratch.cleanup()
