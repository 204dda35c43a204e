r"""
How many moments tell neurons apart
===================================

A network :math:`f(x)=\sum_s a_s\,\sigma(\langle w_s,x\rangle)` on Gaussian inputs is a sequence of moment tensors
:math:`T_k=c_k\sum_s a_s w_s^{\otimes k}`. From which degree on do they determine its :math:`S` neurons, up to order
and sign? In general position from the variety depth :math:`D^*_{\mathrm{var}}` on, and without exception from the
orbit depth :math:`D^*_{\mathrm{orb}}` on.

Known answer on unit weights: :math:`D^*_{\mathrm{orb}}=2S-1` for the odd tanh; for relu :math:`S` up to two neurons
and exactly :math:`2S` from three on. Three tanh neurons in three dimensions separate the two depths, 3 and 5.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfpde import figures
from mfpde.figures import theory_identify
from mfpde.figures.style import circle_axis
from mfpde.theory.depths import orbit_depth, variety_depth
from mfpde.theory.ridge import network, tensor_distances
from mfpde.theory.twins import twins

# %%
# Both depths for one to five neurons in three dimensions: the variety depth is the rank of a Jacobian, the orbit depth
# is proved. The command line prints them with ``mfpde theory identify cell-tanh --dimension 3``.
atoms, columns = [1, 2, 3, 4, 5], {}
for activation in ("tanh", "relu"):
    columns[activation] = {
        "variety": [(variety_depth(activation, 3, s).depth, "numerical rank") for s in atoms],
        "orbit_worst": [(orbit_depth(activation, 3, s).depth, "proved") for s in atoms],
    }

# %%
# Why three tanh neurons need degree 5: two networks whose tensors agree up to degree 4, and yet are two functions.
one, other = twins("tanh", 3, 3)
angle = np.linspace(-np.pi, np.pi, 401)
circle = 4.0 * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
apart = tensor_distances("tanh", one, other, 5)

# %%
with figures.style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.0, 2.8))
    for ax, activation, known in ((left, "tanh", "2S-1"), (middle, "relu", "2S, S\\geq 3")):
        theory_identify.depths(ax, atoms, columns[activation])
        ax.set_title(rf"{activation}: $D^*_{{\mathrm{{orb}}}}={known}$")
    for neurons, label, dash in ((one, "three neurons", "-"), (other, "three others", "--")):
        right.plot(angle, network("tanh", neurons, circle), dash, marker="", label=label)
    circle_axis(right)
    right.set(xlabel="direction of the input $x$, $|x|=4$", ylabel="$f(x)$", title="tanh: $T_0,\\ldots,T_4$ agree")
    right.legend(loc="lower center")

print("distance of the tensors of degree 1, 3, 5:", ", ".join(f"{apart[k]:.1e}" for k in (1, 3, 5)))
assert [depth for depth, _ in columns["tanh"]["orbit_worst"]] == [2 * s - 1 for s in atoms]
assert columns["tanh"]["variety"][2][0] == 3 and apart[3] < 1e-12 < apart[5]
plt.show()
