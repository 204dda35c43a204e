"""One linear weight per neuron, φ(x; θ) = θx: every finite-N quantity in closed form.

Inputs have second moment K = E x², targets are y = cx, so f_N(x) = x·(1/N)Σθ_i and

    dθ_i = −K(θ̄ − c) dt − λθ_i dt + √(2τ) dB_i,    θ̄ = (1/N) Σ θ_i.

The mean θ̄ and the deviations θ_i − θ̄ are independent Ornstein–Uhlenbeck processes with rates K + λ and λ. Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mfpde.exact.coupling import squared_coupling_error
from mfpde.exact.gaussian import Array


@dataclass(frozen=True)
class LinearNeuronPath:
    """Exact laws in time, all arrays [K]; the limit is N(``mean``, ``variance``).

    ``mean_variance`` Var θ̄ and ``particle_variance`` Var θ_i of N coupled neurons; ``function_error`` E‖f_N − f‖²;
    ``one_particle_distance`` W2² between the law of θ_1 and the limit, O(1/N²); ``joint_distance`` (1/N) W2² between
    the law of (θ_1 … θ_N) and N independent copies of the limit, O(1/N); ``coupling_error`` E|θ_i − θ̄_i|² for
    synchronous copies.
    """

    time: Array
    mean: Array
    variance: Array
    mean_variance: Array
    particle_variance: Array
    function_error: Array
    one_particle_distance: Array
    joint_distance: Array
    coupling_error: Array


def path(
    time: ArrayLike,
    width: int,
    mean0: float,
    variance0: float,
    *,
    second_moment: float,
    target: float,
    weight_decay: float,
    temperature: float,
) -> LinearNeuronPath:
    """The laws of N = ``width`` neurons at ``time`` [K] (``numpy.inf`` gives the stationary ones).

    Started independently from N(mean0, variance0). With K = ``second_moment``, c = ``target``, λ = ``weight_decay``:
    m' = −K(m − c) − λm, v' = −2λv + 2τ, Var θ̄' = −2(K + λ) Var θ̄ + 2τ/N, Var θ_i = Var θ̄ + (1 − 1/N)v.
    At stationarity Var θ_i = τ/λ − (τ/N)(1/λ − 1/(K + λ)) and the joint distance is
    (1/N)(√(τ/(K + λ)) − √(τ/λ))².
    """
    t = np.atleast_1d(np.asarray(time, float))
    joint_rate = second_moment + weight_decay
    stationary_mean = second_moment * target / joint_rate

    def relaxed(start: float, end: float, rate: float) -> Array:
        return end + (start - end) * np.exp(-rate * t)

    mean = relaxed(mean0, stationary_mean, joint_rate)
    variance = relaxed(variance0, temperature / weight_decay, 2.0 * weight_decay)
    scaled_mean_variance = relaxed(variance0, temperature / joint_rate, 2.0 * joint_rate)
    mean_variance = scaled_mean_variance / width
    particle_variance = mean_variance + (1.0 - 1.0 / width) * variance
    # An infinite time is reached, to round-off, after forty times the slowest relaxation.
    finite = np.minimum(t, 40.0 / weight_decay)
    coupling = squared_coupling_error(finite, joint_rate, weight_decay, -second_moment, temperature, variance0)
    return LinearNeuronPath(
        time=t,
        mean=mean,
        variance=variance,
        mean_variance=mean_variance,
        particle_variance=particle_variance,
        function_error=second_moment * mean_variance,
        one_particle_distance=(np.sqrt(particle_variance) - np.sqrt(variance)) ** 2,
        joint_distance=(np.sqrt(scaled_mean_variance) - np.sqrt(variance)) ** 2 / width,
        coupling_error=coupling / width,
    )
