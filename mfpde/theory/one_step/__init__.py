"""One gradient step on the first layer, then a readout on fresh data: exact asymptotics at n, p, d large in proportion.

===================  ==========================================================================================
``scalar``           activations and targets by name, with their kinks
``model``            groups of neurons, first layer, spiked random features; random features without a spike
``gradient_step``    from a step to a layer: plain (the article's), refined, measured from weights
``averages``         Gaussian averages with kinks, the rule for the spike projection kappa
``tables``           the conditional Gaussian equivalence, tabulated
``resolvent``        traces of the bulk for any p / d and any number of groups
``loadings``         what a readout learns: overlaps, the learned function
``ridge``            ridge regression: test and train error, order parameters
``optimum``          the best ridge
``losses``           averages of square, Huber and logistic losses
``convex``           readouts with these losses
``labels``           labels given kappa, classification error
``spectrum``         bulk spectrum of the features
``curves``           readouts and twins gathered into arrays, z-scores
``fits``, ``twins``  finite sizes: the spiked model drawn, the actual network after its step
===================  ==========================================================================================

From a study to a number:  ``ridge_readout(tabulate(SpikedFeatures(student, target, layer, p / d, noise)), n / d,
ridge)``. Equations, and what is rigorous and what is not: docs/one-step.md.
"""
