r"""
When one radius is optimal
==========================

Two isotropic Gaussians of widths :math:`1\pm\Delta` are told apart by neurons whose weights may point anywhere; what
counts is the law of :math:`|w|`. For which :math:`\Delta` is a single radius the best of all laws? Between two numbers
that depend on the dimension (Mei, Montanari and Nguyen 2018).

Known answer: the upper number is 0.377627, 0.431013 and 0.453440 in 20, 40 and 80 dimensions and 0.474219 in infinitely
many; there the best radius is 1.749455. Above it a law with mass at infinity is better: R = 0.03089, 0.01520, 0.00310
at 0.5, 0.6 and 0.8 in 40 dimensions. R is twice the risk of mfpde.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.theory.phase_transition import infinite_transition, radial_minimum, single_radius, upper_transition

# %%
# The piecewise-linear activation of ``mei-isotropic``: -2.5 below 0.5, 7.5 above 1.5. One radius is optimal where the
# excess, the least value of the first variation elsewhere over that at the radius, is not negative.
pieces = [0.5, 1.5], [0.0, 10.0, 0.0], -2.5
separations = np.linspace(0.02, 0.5, 97)
known = {20: 0.377627, 40: 0.431013, 80: 0.453440}
excess = {d: [single_radius(*pieces, d, s).excess for s in separations] for d in known}
upper = {d: upper_transition(*pieces, d) for d in known}
infinite, radius = infinite_transition(*pieces)
best = {s: radial_minimum(*pieces, 40, s) for s in (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)}

# %%
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.8))
    for d, values in excess.items():
        (line,) = left.plot(separations, values, marker="", label=f"$d={d}$")
        left.plot(known[d], 0.0, "x", color="black", linestyle="", label="known" if d == 80 else None)
    left.axhline(0.0, color="0.55", linewidth=0.8, linestyle="-", marker="", zorder=1)
    left.axvline(infinite, color="black", linestyle=":", marker="", label=r"$d=\infty$")
    left.set(xlabel=r"separation $\Delta$", ylabel="excess", ylim=(-0.015, 0.006))
    left.legend(loc="lower center")
    s = np.linspace(0.15, 0.8, 40)
    right.semilogy(s, [2.0 * single_radius(*pieces, 40, one).risk for one in s], marker="", label="best single radius")
    right.semilogy(best.keys(), [2.0 * one.risk for one in best.values()], "s", linestyle="", label="best law")
    right.semilogy([0.5, 0.6, 0.8], [0.03089, 0.01520, 0.00310], "kx", linestyle="", label="known")
    right.set(xlabel=r"separation $\Delta$", ylabel="risk $R$, $d=40$")
    right.legend()

print("upper transition:", ", ".join(f"{value:.6f}" for value in upper.values()), f"and {infinite:.6f} at infinity")
print(f"mass at infinity at 0.5, 0.6, 0.8: {[round(float(best[k].weights[-1]), 2) for k in (0.5, 0.6, 0.8)]}")
assert np.allclose(list(upper.values()), list(known.values()), atol=1e-6) and abs(infinite - 0.474219) < 1e-6
assert abs(radius - 1.749455) < 1e-6 and abs(2.0 * best[0.8].risk - 0.00310) < 1e-5
plt.show()
