r"""
Learning cells of five activations
==================================

What can an activation learn on Gaussian inputs, and with how many neurons? The learning cell collects the answers: the
growth of the admissible weight :math:`w^*`, the degree :math:`D^*_{\mathrm{orb}}` up to which moments determine
:math:`S` neurons, and the number :math:`S^*` of neurons that a target takes.

Known answer: :math:`D^*_{\mathrm{orb}}` is :math:`2S-1` for tanh and erf, :math:`S` and from three neurons on
:math:`2S` for relu; a polynomial of degree two tells two neurons apart and no more. The Hermite coefficients
:math:`\sigma_k` of erf and sine are known in closed form (crosses). Where the activation is bounded the moments are
those of a normal law of variance :math:`\tau/\lambda=0.5^2` in the end.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import gamma

from mfpde import figures
from mfpde.io.theory.cell import cell_of
from mfpde.io.theory.subject import open_subject

# %%
# The five built-in cells on coarse grids; ``mfpde theory cell cell-tanh`` prints one of them in full.
cells = {}
for name in ("tanh", "erf", "relu", "polynomial", "cosine"):
    small = [f"grid.cells={[24] * (3 if name == 'relu' else 2)}", "output.snapshots=6"]
    cells[name] = cell_of(open_subject(f"cell-{name}", small), 0.05, 5)

# %%
# With biases, as in the cosine cell, no orbit depth is known; its variety depth is a lower bound.
k = np.arange(1, 16, 2)
roots = np.sqrt(gamma(k + 1.0))
known = {"erf": gamma(0.5 * k) / (np.pi * roots), "cosine": np.exp(-0.5) / roots}
with figures.style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.0, 2.9))
    for name, cell in cells.items():
        which = "variety" if name == "cosine" else "orbit"
        depths = {d.atoms: getattr(d, which) for d in cell.depths if getattr(d, which) is not None}
        (line,) = left.plot(depths.keys(), depths.values(), label=name if which == "orbit" else "cosine, at least")
        degrees = np.flatnonzero(np.abs(cell.sigma[:16]) > 1e-13)
        middle.semilogy(degrees, np.abs(cell.sigma[degrees]), color=line.get_color())
        if name in known:
            middle.semilogy(k, known[name], "kx", linestyle="")
        if name in ("tanh", "erf", "cosine"):
            right.plot(cell.weight.k[1:], cell.weight.c[1:], color=line.get_color(), marker=line.get_marker())
    right.axhline(0.5, color="black", linestyle=":", marker="", label=r"proved, $\sqrt{\tau/\lambda}$")
    left.set(xlabel="neurons $S$", ylabel=r"depth $D^*_{\mathrm{orb}}$")
    middle.set(xlabel="degree $k$", ylabel=r"$|\sigma_k|=|\mathrm{E}\,\sigma(Z)h_k(Z)|$")
    right.set(xlabel="order $k$", ylabel="Gaussian scale $c_k$ of the moments", ylim=(0.45, 0.7))
    left.legend()
    right.legend()

for name, cell in cells.items():
    depth = cell.sparsity.depth
    print(f"{name:<11}S* from {depth.lower:g} (proved) to {depth.upper:g} (found) neurons, parity {cell.parity}")
assert [d.orbit for d in cells["erf"].depths] == [1, 3, 5, 7, 9] == [d.orbit for d in cells["tanh"].depths]
assert all(np.allclose(np.abs(cells[name].sigma[k]), known[name], rtol=1e-10) for name in known)
plt.show()
