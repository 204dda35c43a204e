"""Stochastic gradient descent against its limit: the error in four steps, each against the exponent that is proved.

    limit  ->  independent neurons of the limit's law  ->  N neurons, continuous time  ->  gradient descent  ->  SGD

after Mei, Misiakiewicz and Montanari (2019), Theorems 1 and 4 and their proofs: ``laws`` states what is proved,
``limit`` integrates rho_t, ``steps`` couples two neighbours in this chain, ``widths`` has the exact constants of
independent neurons, ``sweeps`` measures everything over N, eps, d and time.
"""
