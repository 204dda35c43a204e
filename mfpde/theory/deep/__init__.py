"""L-layer networks of infinite width under muP, their finite twins, and what a run proves about features.

===================  ==========================================================================================
``problem``          data, layers, loss, steps; ``losses``
``columns``          random variables as columns, block Gram-Schmidt
``space``            one layer's probability space: sampled with matching, or exact coordinates
``operator``         a hidden matrix of infinite width: the lazy Gaussian operator
``limit``            the causal solver, step by step; restartable
``linear``           exact limit of linear networks, closed forms for L = 1
``trajectory``       snapshots, trajectories, means over replicates
``parametrizations`` muP, NTK, standard and integrable scalings by their exponents
``finite``           networks of finite width on the same data and data order
``tangent``          lazy limit: the tangent kernel and kernel gradient descent
``diagnostics``      feature change, independence, certificate of a global minimum, rate, reliability
``assumptions``      what the theorem assumes, checked on data and activation
``width_law``        bias b/N and fluctuation s/sqrt(N) of finite widths
===================  ==========================================================================================
"""
