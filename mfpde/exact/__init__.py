"""Problems with a closed form, shipped so that tests, ``verify``, benchmarks and tutorials assert the same numbers.

==========================  ===============================================================================
``ornstein_uhlenbeck``      quadratic confinement and attraction in D dimensions: Gaussian for all time
``linear_network``          f(x) = ∫ a ⟨w, x⟩ dρ: the moments close, Gaussians stay Gaussian
``linear_neuron``           φ(x; θ) = θ x: finite-N variances and Wasserstein distances for every N and time
``desai_zwanzig``           double well with attraction: critical temperature and magnetised branch
``kuramoto``                noisy oscillators on the circle: Bessel branch and a Fourier reference in time
``manufactured``            the external potential that makes a chosen moving Gaussian exact
``gaussian_pairs``          quadratic pairs at stationarity: the law of k among N particles, its entropy and distance
``coupling``                the error of synchronous copies when the drift is linear
``two_gaussians``           classes of different width in infinite dimension: two numbers, and the flow of any atoms
``gaussian``                densities, cell averages, entropies, moments, radii
``references``              numbers of one network problem, computed once to many digits
==========================  ===============================================================================

Pure functions of NumPy arrays; time arrays have length K, parameter spaces dimension D.
"""

from __future__ import annotations

from mfpde.exact import (
    coupling,
    desai_zwanzig,
    gaussian,
    gaussian_pairs,
    kuramoto,
    linear_network,
    linear_neuron,
    manufactured,
    ornstein_uhlenbeck,
    references,
    two_gaussians,
)

__all__ = [
    "coupling",
    "desai_zwanzig",
    "gaussian",
    "gaussian_pairs",
    "kuramoto",
    "linear_network",
    "linear_neuron",
    "manufactured",
    "ornstein_uhlenbeck",
    "references",
    "two_gaussians",
]
