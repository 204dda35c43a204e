r"""
Kuramoto: oscillators synchronise
=================================

Phases on the circle attract each other with strength :math:`K`. Above :math:`K_c=2\tau` they synchronise.

Known answer: at rest :math:`r=I_1(Kr/\tau)/I_0(Kr/\tau)`; before that the Fourier modes solve a system of equations.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.exact import kuramoto

scratch = tempfile.TemporaryDirectory()


def solve(name, *flags):
    mfpde.run("solve", "kuramoto", "--no-figures", "-o", f"{scratch.name}/{name}", *flags)
    return mfpde.open(f"{scratch.name}/{name}/limit.h5")


# %%
# The built-in study, twice the critical strength, from a wide start, and networks: mean and standard deviation of 16.
limit = solve("study", "--set=initial.w.std=2.2", "--set=particles.widths=[64,512]")
time, r = limit["limit/time"], np.linalg.norm(limit["limit/f"], axis=1)  # f holds E cos and E sin
exact = np.abs(kuramoto.evolve_modes(time, np.exp(-0.5 * (2.2 * np.arange(1, 41)) ** 2), 2.0, 0.5)[:, 0])
assert np.allclose(r, exact, atol=1e-4)

# %%
# The order parameter at rest for other strengths.
ratios, fine = [0.6, 0.8, 1.05, 1.2, 1.4, 1.7, 2.0, 2.5], np.linspace(0.5, 2.6, 200)
cases = [solve(k, "--only=stationary", f"--set=pairwise.interaction.strength={k}") for k in ratios]
rest = np.linalg.norm([case["stationary/f"] for case in cases], axis=1)
assert np.allclose(rest, [kuramoto.order_parameter(k, 0.5) for k in ratios], atol=1e-4)
particles = mfpde.open(f"{scratch.name}/study/particles.h5")
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.7))
    for width in (64, 512):
        one = np.abs(np.exp(1j * particles[f"ensemble/N{width:06d}/theta"][::4, ..., 0]).mean(axis=-1))
        left.errorbar(time[::4], one.mean(axis=1), one.std(axis=1), linestyle="", label=f"$N={width}$")
    left.plot(time, r, "k-", marker="", label="limit on the grid")
    left.plot(time, exact, color="#E69F00", linestyle="--", marker="", label="Fourier modes")
    left.set(xlabel="time $t$", ylabel="order parameter $r=|\\mathrm{E}\\,e^{i\\theta}|$", ylim=(0, 1))
    right.plot(fine, [kuramoto.order_parameter(k, 0.5) for k in fine], color="0.55", marker="", label="Bessel root")
    right.plot(ratios, rest, "ko", label="stationary on the grid")
    right.set(xlabel="$K/K_c$", ylabel="$r$ at rest", ylim=(-0.03, 1))
    left.legend()
    right.legend()
plt.show()
scratch.cleanup()
