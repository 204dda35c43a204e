r"""
The maximal admissible weight
=============================

How fast may a weight :math:`w_k` on the moments :math:`m_k(t)=\int|\theta|^k\,d\rho_t` grow if all :math:`w_k m_k(t)`
are to stay bounded while the network learns? The largest weight is :math:`w^*_k=1/\sup_t m_k(t)`.

Known answer: bounded data terms, weight decay :math:`\lambda` and temperature :math:`\tau` give
:math:`1/w^*_k\sim c^k(k!)^{1/2}` with :math:`c^2=\max(\sigma_0^2,\tau/\lambda)`, here :math:`0.05/0.2=0.5^2`, and a
bound :math:`w^{\mathrm{cert}}_k\le w^*_k\le 1/m_k(0)` that is proved before anything is integrated.
"""

import matplotlib.pyplot as plt

from mfpde import figures
from mfpde.figures import theory_weights
from mfpde.io.theory.subject import open_subject
from mfpde.io.theory.weights import weight_numbers

# %%
# The limit of the study ``cell-tanh`` is integrated and its moments are taken as far as the grid carries them.
# The command line does the same with ``mfpde theory weights cell-tanh``.
found = weight_numbers(open_subject("cell-tanh", ["grid.cells=[36, 36]"]), "all", None, None)
proved = found["proved"]

# %%
# Left: the weight between its two bounds. Right: :math:`c_k`, the standard deviation of the normal law with the same
# :math:`k`-th moment; it rises from the width of the start to that at rest.
with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.DOUBLE, 2.7))
    theory_weights.bracket(left, found["k"], found["w_star"], found["w_init"], found["w_cert"])
    levels = {r"rest, $\sqrt{\tau/\lambda}$": proved["type_at_rest"], r"start, $\sigma_0$": proved["type_at_start"]}
    theory_weights.types(
        right, found["k"], found["c"], found["at_rest"]["c"], levels=levels, interval=found["type_interval"]
    )
    figures.settle(figure)

# %%
# The fitted growth against what is proved.
low, high = found["order_interval"]
print(f"order {found['order']:.3f}, between {low:.2f} and {high:.2f}; proved 1/2")
low, high = found["type_interval"]
print(f"type  {found['type']:.3f}, between {low:.2f} and {high:.2f}; proved {proved['type_at_rest']:.2f} at rest")
assert low <= proved["type_at_rest"] <= high
plt.show()
