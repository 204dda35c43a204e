r"""
Phase transition of the Desai-Zwanzig model
===========================================

Particles in the double well :math:`x^4/4-x^2/2` are attracted to their mean. Below a critical temperature the limit has
three stationary measures, a symmetric one and two magnetised ones.

Known answer: the mean solves an equation in one variable, and :math:`\tau_c=0.456947`.
"""

import matplotlib.pyplot as plt
import numpy as np

import mfpde
from mfpde import figures
from mfpde.exact import desai_zwanzig
from mfpde.stationary import stationary
from mfpde.tabulate import tabulate


def at_rest(tau, mean):
    """The stationary measure that Newton's iteration finds from a start with this mean."""
    keys = [f"training.temperature={tau}", f'initial.w={{law="normal",mean={mean},std=0.3}}']
    study = mfpde.load_study("desai-zwanzig", keys)
    table = tabulate(study.problem, study.grid)
    return stationary(table, table.predict(mfpde.initial_measure(study.law, study.grid).mass))


# %%
# The order parameter E x is the one prediction f that this interaction has.
temperatures = np.linspace(0.06, 0.6, 10)
branches = {mean: [at_rest(tau, mean) for tau in temperatures] for mean in (0.9, 0.0, -0.9)}
found = np.array([[rest.f[0] for rest in branch] for branch in branches.values()])
roots = np.outer([1, 0, -1], [desai_zwanzig.stationary(1.0, tau).mean for tau in temperatures])
critical = desai_zwanzig.critical_temperature(1.0)
print(f"critical temperature {critical:.6f}, largest error of m {np.max(np.abs(found - roots)):.1e}")
assert np.allclose(found, roots, atol=1e-10)

# %%
# Left the bifurcation, right densities of the upper branch.
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.7))
    tau = np.append(np.linspace(0.02, critical, 80), 0.62)
    root = np.outer([desai_zwanzig.stationary(1.0, one).mean for one in tau], [1, 0, -1])
    left.plot(tau, root, "k-", marker="", label=["roots of the equation", "", ""])
    left.plot(temperatures, found.T, "o", color="#D55E00", label=["Newton on the grid", "", ""])
    left.axvline(critical, color="0.55", linestyle=":", marker="", label=f"$\\tau_c={critical:.4f}$")
    left.set(xlabel="temperature $\\tau$", ylabel="order parameter $m=\\mathrm{E}\\,x$")
    for k in (1, 4, 6):
        measure, state = branches[0.9][k].measure, desai_zwanzig.stationary(1.0, temperatures[k])
        x = measure.grid.axes[0].centers
        right.plot(x, measure.density[0], linestyle="-", marker="", label=f"$\\tau={temperatures[k]:.2f}$")
        exact = desai_zwanzig.density(x, 1.0, temperatures[k], state)
        right.plot(x, exact, "k:", linewidth=0.9, marker="", label="exact" if k == 6 else "")
    right.set(xlabel="$x$", ylabel="stationary density $\\rho$", xlim=(-1.5, 2.0), ylim=(0.0, None))
    left.legend(loc=(0.05, 0.56))
    right.legend()
plt.show()
