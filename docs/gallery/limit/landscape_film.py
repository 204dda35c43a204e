"""
A density rolls down the free-energy landscape
==============================================

Particles in a double well attract each other. Among all densities of mean :math:`m` the free energy has a least value
:math:`F(m)`, known from integrals in one variable. The flow falls onto this curve and rolls along it into the minimum.

Known answer: it comes to rest at :math:`m^*=0.8515`, the root of an equation in one variable.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from scipy.special import logsumexp

import mfpde
from mfpde import figures
from mfpde.exact import desai_zwanzig

keys = ["initial.w.mean=0.1", "initial.w.std=0.3", "training.temperature=0.2", "output.snapshots=31"]
study = mfpde.load_study("desai-zwanzig", keys)
solution = mfpde.solve(study.problem, mfpde.initial_measure(study.law, study.grid), study.times)

# %%
# The landscape: :math:`F(m)=\max_h\,(hm-\tau\log Z(h))-m^2/2` with :math:`Z(h)=\int e^{-(x^4/4-hx)/\tau}\,dx`.
x, tau, h, m = study.grid.axes[0].centers, 0.2, np.linspace(-4.0, 4.0, 801), np.linspace(-0.3, 1.0, 261)
rest = desai_zwanzig.stationary(1.0, tau)
log_z = logsumexp((h[:, None] * x - 0.25 * x**4) / tau, axis=1, b=x[1] - x[0])
landscape = np.max(h * m[:, None] - tau * log_z, axis=1) - 0.5 * m**2

# %%
# Every step of the flow on the left, the density at the stored times on the right.
means, energies = np.array([[step.f[0], step.free_energy] for step in solution.history]).T
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.6), dpi=100)
    left.plot(m, landscape, color="0.6", marker="", label="least $F$ at this mean")
    left.plot(rest.mean, rest.free_energy, "k+", markersize=9, label="root $m^*$")
    (path,) = left.plot(means, energies, color="#D55E00", linestyle="-", marker="", label="flow $F(\\rho_t)$")
    (ball,) = left.plot(means[:1], energies[:1], "o", color="#D55E00", markersize=5)
    left.set(xlabel="mean $m=\\int x\\,\\rho_t$", ylabel="free energy")
    (curve,) = right.plot(x, 0.0 * x, marker="", label="$\\rho_t$")
    right.plot(x, desai_zwanzig.density(x, 1.0, tau, rest), "k", dashes=(4, 2), marker="", label="at rest, exact")
    right.set(xlabel="$x$", ylabel="density", xlim=(-2.0, 2.0), ylim=(0.0, 1.6))
    figure.legend(loc="outside upper center", ncols=5)


def frame(k):
    shot = solution.snapshots[k]
    path.set_data(means[: shot.state.step + 1], energies[: shot.state.step + 1])
    ball.set_data([shot.f[0]], [shot.free_energy])
    curve.set_ydata(shot.measure.density[0])
    right.title.set_text(f"$t$ = {shot.time:.1f}")


film = FuncAnimation(figure, frame, frames=len(solution.snapshots), interval=120)
page = film.to_jshtml()
print(f"mean at the end {means[-1]:.5f}, root {rest.mean:.5f}")
assert abs(means[-1] - rest.mean) < 1e-3 and max(np.diff(energies)) < 0.0
