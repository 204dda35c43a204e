"""The kernel (lazy) limit of a two-layer network: output scale alpha to infinity in the rescaled clock.

================  =============================================================================================
``duals``         E sigma(u) sigma(v) and E sigma'(u) sigma'(v) under Gaussian weights: closed forms and series
``plane``         the same by quadrature in the plane of two inputs, for the check
``kernels``       the kernel H of a Gaussian initial law, or of any finite measure
``linearised``    spectrum of H on the data; early stopping and decay as filters; ridgeless interpolation
``start``         atoms of an initial law whose output is 0, symmetric or skewed in a
``finite_scale``  the flow at finite alpha in displacements, and what it does to the kernel
``crossover``     distance of the flow to its limit against alpha, with slopes
================  =============================================================================================

Mei, Misiakiewicz, Montanari, COLT 2019, section 5 and appendix H; equations: docs/kernel-limit.md.
"""
