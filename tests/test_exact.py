"""The closed forms of mfpde.exact against second methods: quadrature, Lyapunov equations, dual Newton, residuals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

from mfpde.exact import (
    coupling,
    desai_zwanzig,
    gaussian,
    kuramoto,
    linear_network,
    linear_neuron,
    manufactured,
    ornstein_uhlenbeck,
    references,
)

STIFFNESS = np.array([[1.2, 0.4], [0.4, 0.7]])
TILT = np.array([0.3, -0.5])
MEAN0 = np.array([1.0, -0.6])
COVARIANCE0 = np.array([[0.5, 0.1], [0.1, 0.25]])
LINEAR = {"target": 1.0, "weight_decay": 0.5, "temperature": 0.1}
NEURON = {"second_moment": 1.7, "target": 0.6, "weight_decay": 0.4, "temperature": 0.3}


# --- Gaussian laws


def test_density_is_normalised_and_cell_averages_are_exact_integrals():
    axes = [np.linspace(-6, 6, 121)[:-1] + 0.05, np.linspace(-6, 6, 161)[:-1] + 0.0375]
    averages = gaussian.cell_averages(lambda p: gaussian.density(p, TILT, COVARIANCE0), axes)
    assert_allclose(averages.sum() * 0.1 * 0.075, 1.0, atol=1e-13)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    second = np.einsum("ij,ijk,ijl->kl", averages * 0.1 * 0.075, points - TILT, points - TILT)
    # Sheppard: moving the mass of a cell to its centre adds h²/12 to the variance.
    assert_allclose(second, COVARIANCE0 + np.diag([0.1**2, 0.075**2]) / 12, atol=1e-9)


def test_cell_average_of_a_cubic_is_exact():
    axis = np.array([0.5, 1.5, 2.5])
    averages = gaussian.cell_averages(lambda p: p[..., 0] ** 3, [axis], order=2)
    assert_allclose(averages, ((axis + 0.5) ** 4 - (axis - 0.5) ** 4) / 4, rtol=1e-14)


def test_entropy_moments_and_radius_against_quadrature():
    x = np.linspace(-12, 12, 4001)
    h = x[1] - x[0]
    rho = gaussian.density(x[:, None], [0.4], [[0.7]])
    log_rho = gaussian.log_density(x[:, None], [0.4], [[0.7]])
    assert_allclose(gaussian.entropy_integral([[0.7]]), np.sum(rho * log_rho) * h, rtol=1e-12)
    assert_allclose(gaussian.normal_moments(0.4, 0.7), [np.sum(rho * x**k) * h for k in range(1, 5)], rtol=1e-12)
    for block in (2, 3, 19):
        moments = [
            quad(lambda r, k=k, b=block: r**k * gaussian.radius_density(r, 0.3, b), 0, 9)[0] for k in range(1, 5)
        ]
        assert_allclose(gaussian.radius_moments(0.3, block), moments, rtol=1e-9)


# --- mean-field Ornstein–Uhlenbeck


def test_ornstein_uhlenbeck_solves_its_moment_equations():
    kappa, tau = 0.5, 0.4
    times = np.array([0.0, 0.3, 1.0, 4.0])
    law = ornstein_uhlenbeck.path(
        times, MEAN0, COVARIANCE0, stiffness=STIFFNESS, interaction=kappa, temperature=tau, tilt=TILT
    )
    rate = STIFFNESS + kappa * np.eye(2)

    def derivative(_, y):
        c = y[2:].reshape(2, 2)
        return np.concatenate([-STIFFNESS @ y[:2] - TILT, (-rate @ c - c @ rate + 2 * tau * np.eye(2)).ravel()])

    start = np.concatenate([MEAN0, COVARIANCE0.ravel()])
    solution = solve_ivp(derivative, (0, 4), start, "DOP853", t_eval=times, rtol=1e-11, atol=1e-13)
    assert_allclose(law.mean, solution.y[:2].T, atol=1e-10)
    assert_allclose(law.covariance, solution.y[2:].T.reshape(-1, 2, 2), atol=1e-10)


def test_ornstein_uhlenbeck_free_energy_falls_by_the_dissipation_and_reaches_the_stationary_value():
    problem = {"stiffness": STIFFNESS, "interaction": 0.5, "temperature": 0.4, "tilt": TILT}
    times = np.linspace(0, 3, 3001)
    law = ornstein_uhlenbeck.path(times, MEAN0, COVARIANCE0, **problem)
    # −dF/dt = E|∇(Ψ + τ log ρ)|², an affine field of a Gaussian.
    slope = STIFFNESS + 0.5 * np.eye(2) - 0.4 * np.linalg.inv(law.covariance)
    force = law.mean @ STIFFNESS + TILT
    dissipation = np.einsum("ki,ki->k", force, force) + np.einsum("kij,kjl,kil->k", slope, law.covariance, slope)
    assert_allclose(np.gradient(law.free_energy, times)[1:-1], -dissipation[1:-1], rtol=2e-5)
    end = ornstein_uhlenbeck.path([60.0], MEAN0, COVARIANCE0, **problem)
    state = ornstein_uhlenbeck.stationary(**problem)
    assert_allclose(end.mean[0], state.mean, atol=1e-12)
    assert_allclose(end.covariance[0], state.covariance, atol=1e-12)
    assert_allclose(end.free_energy[0], state.free_energy, atol=1e-13)


def test_ornstein_uhlenbeck_free_energy_against_quadrature():
    x = np.linspace(-10, 10, 2001)
    h = x[1] - x[0]
    rho = gaussian.density(x[:, None], [0.7], [[0.45]])
    energy = np.sum(rho * (0.6 * x**2 - 0.2 * x + 0.3 * np.log(np.maximum(rho, 1e-300)))) * h
    energy += 0.25 * 0.8 * np.einsum("i,j,ij->", rho, rho, (x[:, None] - x) ** 2) * h * h
    assert_allclose(
        ornstein_uhlenbeck.free_energy([0.7], [[0.45]], stiffness=1.2, interaction=0.8, temperature=0.3, tilt=-0.2),
        energy,
        rtol=1e-12,
    )


def test_ornstein_uhlenbeck_without_confinement_diffuses():
    law = ornstein_uhlenbeck.path([2.0], [1.0], [[0.3]], stiffness=0.0, interaction=0.0, temperature=0.25, tilt=0.5)
    assert_allclose([law.mean[0, 0], law.covariance[0, 0, 0]], [0.0, 0.3 + 2 * 0.25 * 2.0], atol=1e-15)


def test_coupling_constant_reproduces_the_reference_numbers():
    problem = {"stiffness": 1.0, "interaction": 1.0, "temperature": 0.5}
    assert_allclose(ornstein_uhlenbeck.coupling_constant([2.0], 0.25, **problem)[0], 0.079168, atol=5e-7)
    assert_allclose(ornstein_uhlenbeck.coupling_constant([50.0], 0.25, **problem)[0], 1 / 12, rtol=1e-13)
    assert_allclose(ornstein_uhlenbeck.stationary_coupling_constant(**problem), 1 / 12, rtol=1e-14)
    assert_allclose(ornstein_uhlenbeck.coupling_constant([0.0], 0.25, **problem)[0], 0.0, atol=1e-16)


def test_coupling_constant_is_the_covariance_of_the_full_particle_system():
    """N = 3 particles and copies in two dimensions: E|X − X̄|² from the 12 × 12 Lyapunov equation."""
    n, kappa, tau, time = 3, 0.8, 0.3, 1.3
    average = np.full((n, n), 1 / n)
    coupled = np.kron(np.eye(n), STIFFNESS + kappa * np.eye(2)) - kappa * np.kron(average, np.eye(2))
    copies = np.kron(np.eye(n), STIFFNESS + kappa * np.eye(2))
    drift = -np.block([[coupled, np.zeros_like(coupled)], [np.zeros_like(coupled), copies]])
    start = np.kron(np.ones((2, 2)), np.kron(np.eye(n), COVARIANCE0))
    noise = 2 * tau * np.kron(np.ones((2, 2)), np.eye(2 * n))
    block = expm(time * np.block([[drift, noise], [np.zeros_like(drift), -drift.T]]))
    flow = block[:12, :12]
    covariance = flow @ start @ flow.T + block[:12, 12:] @ flow.T
    error = covariance[:2, :2] + covariance[6:8, 6:8] - covariance[:2, 6:8] - covariance[6:8, :2]
    expected = ornstein_uhlenbeck.coupling_constant(
        [time], COVARIANCE0, stiffness=STIFFNESS, interaction=kappa, temperature=tau
    )
    assert_allclose(n * np.trace(error), expected[0], rtol=1e-10)


# --- linear network


def test_linear_network_reference_numbers():
    law = linear_network.path([1.0, 4.0], [0.8, 0.5], 0.15 * np.eye(2), **LINEAR)
    assert_allclose(law.overlap[-1, 0], 0.5784805146, atol=6e-11)
    assert_allclose(law.mean[-1], [0.53103345, 0.52426466], atol=6e-9)
    assert_allclose(law.covariance[-1], [[0.40848734, 0.30007844], [0.30007844, 0.40848734]], atol=6e-9)
    state = linear_network.stationary(**LINEAR)
    assert_allclose(state.residual[0], -0.421041590810, atol=6e-13)
    assert_allclose(state.overlap[0], 0.578958409190, atol=6e-13)
    assert_allclose(state.covariance[0, 0], 0.6875311392, atol=6e-11)


def test_linear_network_stationary_is_where_the_path_ends():
    sigma = np.array([[1.0, 0.3, 0.0], [0.3, 0.8, 0.1], [0.0, 0.1, 1.5]])
    problem = {"target": [1.0, -0.5, 0.2], "weight_decay": 0.4, "temperature": 0.05, "input_covariance": sigma}
    state = linear_network.stationary(**problem)
    assert_allclose(sigma @ (state.overlap - problem["target"]), state.residual, atol=1e-13)
    assert_allclose(state.covariance[0, 1:], state.overlap, atol=1e-13)
    law = linear_network.path([0.5, 200.0], [0.5, 0.3, 0.1, -0.2], 0.2 * np.eye(4), **problem)
    assert_allclose(law.second_moment[-1], state.covariance, atol=1e-9)
    assert_allclose(law.free_energy[-1], state.free_energy, atol=1e-11)
    assert law.free_energy[0] > state.free_energy


def test_linear_network_stationary_free_energy_equals_the_dual_by_quadrature():
    """F* = −g²/2 − gβ − τ log ∫ exp(−(a w g + λ|θ|²/2)/τ): another formula, and the integral on a plain grid."""
    state = linear_network.stationary(**LINEAR)
    g = state.residual[0]
    x = np.linspace(-9, 9, 1201)
    exponent = -(g * x[:, None] * x + 0.25 * (x[:, None] ** 2 + x**2)) / 0.1
    partition = np.exp(exponent).sum() * (x[1] - x[0]) ** 2
    assert_allclose(state.free_energy, -0.5 * g**2 - g * 1.0 - 0.1 * np.log(partition), rtol=1e-11)


def test_linear_network_free_energy_falls_by_the_dissipation():
    times = np.linspace(0, 2, 4001)
    law = linear_network.path(times, [0.8, 0.5], 0.15 * np.eye(2), **LINEAR)
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    drift = (law.overlap - 1.0)[:, :, None] * swap + 0.5 * np.eye(2)
    slope = drift - 0.1 * np.linalg.inv(law.covariance)
    force = np.einsum("kij,kj->ki", drift, law.mean)
    dissipation = np.einsum("ki,ki->k", force, force) + np.einsum("kij,kjl,kil->k", slope, law.covariance, slope)
    assert_allclose(np.gradient(law.free_energy, times)[1:-1], -dissipation[1:-1], rtol=1e-5)


def test_linear_network_conserves_the_balance_without_noise_and_decay():
    law = linear_network.path(
        [0.0, 1.0, 5.0], [0.8, 0.5], 0.15 * np.eye(2), target=1.0, weight_decay=0.0, temperature=0.0
    )
    balance = law.second_moment[:, 0, 0] - law.second_moment[:, 1, 1]
    assert_allclose(balance, balance[0], atol=1e-12)
    assert law.risk[-1] < 1e-3 * law.risk[0]


@pytest.mark.parametrize("target", [1e-12, 1e-6, 1e-3, 10.0, 1e4])
def test_linear_network_root_from_tiny_to_large_targets(target):
    g = linear_network.stationary(target=target, weight_decay=0.5, temperature=0.1).residual[0]
    assert abs((g + target) * (0.25 - g**2) + 0.1 * g) < 1e-12 * target
    assert abs(g) < 0.5


def test_paths_asked_only_at_the_start_return_the_start():
    law = linear_network.path([0.0], [0.8, 0.5], 0.15 * np.eye(2), **LINEAR)
    assert_allclose(law.covariance[0], 0.15 * np.eye(2), atol=1e-16)
    modes0 = kuramoto.modes_of(lambda x: 1.0 + 0.5 * np.cos(x))
    assert_allclose(kuramoto.evolve_modes([0.0], modes0, 1.0, 0.5)[0], modes0, atol=1e-16)


def test_linear_network_without_target_is_the_free_gaussian():
    state = linear_network.stationary(target=[0.0, 0.0], weight_decay=0.5, temperature=0.1)
    assert_allclose(state.covariance, 0.2 * np.eye(3), atol=1e-15)
    assert state.risk == 0.0


# --- linear neuron


def test_linear_neuron_variances_solve_the_particle_lyapunov_equation():
    n, time, variance0 = 5, 0.9, 0.6
    k, decay, tau = NEURON["second_moment"], NEURON["weight_decay"], NEURON["temperature"]
    rate = k * np.full((n, n), 1 / n) + decay * np.eye(n)
    copy = decay * np.eye(n)
    drift = -np.block([[rate, np.zeros((n, n))], [np.zeros((n, n)), copy]])
    start, noise = variance0 * np.kron(np.ones((2, 2)), np.eye(n)), 2 * tau * np.kron(np.ones((2, 2)), np.eye(n))
    block = expm(time * np.block([[drift, noise], [np.zeros_like(drift), -drift.T]]))
    flow = block[: 2 * n, : 2 * n]
    covariance = flow @ start @ flow.T + block[: 2 * n, 2 * n :] @ flow.T
    particles = covariance[:n, :n]
    law = linear_neuron.path(time, n, 0.2, variance0, **NEURON)
    assert_allclose(law.particle_variance[0], particles[0, 0], rtol=1e-12)
    assert_allclose(law.mean_variance[0], particles.mean(), rtol=1e-12)
    assert_allclose(law.variance[0], covariance[n, n], rtol=1e-12)
    roots = np.sqrt(np.linalg.eigvalsh(particles))
    assert_allclose(law.joint_distance[0], np.mean((roots - np.sqrt(law.variance[0])) ** 2), rtol=1e-9)
    error = covariance[0, 0] + covariance[n, n] - 2 * covariance[0, n]
    assert_allclose(law.coupling_error[0], error, rtol=1e-11)


def test_linear_neuron_stationary_values_and_orders_in_the_width():
    k, decay, tau = NEURON["second_moment"], NEURON["weight_decay"], NEURON["temperature"]
    law = linear_neuron.path([np.inf], 10, 0.2, 0.6, **NEURON)
    assert_allclose(law.mean, k * 0.6 / (k + decay), rtol=1e-15)
    assert_allclose(law.mean_variance, tau / (10 * (k + decay)), rtol=1e-15)
    assert_allclose(law.particle_variance, tau / decay - tau / 10 * (1 / decay - 1 / (k + decay)), rtol=1e-15)
    assert_allclose(law.joint_distance, (np.sqrt(tau / (k + decay)) - np.sqrt(tau / decay)) ** 2 / 10, rtol=1e-14)
    s = k * tau / decay
    assert_allclose(10 * law.function_error, s / (1 + s / tau), rtol=1e-14)
    constant = coupling.stationary_squared_coupling_error(k + decay, decay, -k, tau)
    assert_allclose(10 * law.coupling_error, constant, rtol=1e-12)
    wide = linear_neuron.path([np.inf], 20, 0.2, 0.6, **NEURON)
    assert 3.8 < law.one_particle_distance[0] / wide.one_particle_distance[0] < 4.2


# --- Desai–Zwanzig


def trapezoid_gibbs(kappa, tau, mean):
    x = np.linspace(-6, 6, 40001)
    exponent = -(0.25 * x**4 - 0.5 * x**2 + 0.5 * kappa * (x - mean) ** 2) / tau
    weight = np.exp(exponent - exponent.max())
    partition = weight.sum()
    log_partition = np.log(partition * (x[1] - x[0])) + exponent.max()
    return (weight @ x) / partition, (weight @ x**2) / partition, log_partition


@pytest.mark.parametrize(("kappa", "critical"), [(0.5, 0.26450487655348), (1.0, 0.45694658104446)])
def test_desai_zwanzig_critical_temperature(kappa, critical):
    tau = desai_zwanzig.critical_temperature(kappa)
    assert_allclose(tau, critical, atol=1e-12)
    assert_allclose(kappa * trapezoid_gibbs(kappa, tau, 0.0)[1], tau, atol=1e-12)
    assert desai_zwanzig.stationary(kappa, 1.001 * tau).mean == 0.0
    assert desai_zwanzig.stationary(kappa, 0.999 * tau).mean > 0.01


@pytest.mark.parametrize(
    ("tau", "mean", "second"),
    [
        (0.1, 0.9410911404347, 0.9250439316),
        (0.2, 0.8514788571765, 0.8264974317),
        (0.3, 0.7054952732089, 0.7004540896),
        (0.4, 0.4471064266634, 0.5508023512),
    ],
)
def test_desai_zwanzig_branch(tau, mean, second):
    state = desai_zwanzig.stationary(1.0, tau)
    assert_allclose(state.mean, mean, atol=1e-12)
    assert_allclose(state.second_moment, second, atol=6e-11)
    first_, second_, log_partition = trapezoid_gibbs(1.0, tau, state.mean)
    assert_allclose([state.mean, state.second_moment], [first_, second_], atol=1e-12)
    assert_allclose(state.log_partition, log_partition, atol=1e-12)


@pytest.mark.parametrize("interaction", [0.5, 1.0, 3.0])
def test_desai_zwanzig_free_energy_and_density(interaction):
    tau = 0.6 * desai_zwanzig.critical_temperature(interaction)
    state = desai_zwanzig.stationary(interaction, tau)
    x = np.linspace(-5, 5, 8001)
    h = x[1] - x[0]
    rho = desai_zwanzig.density(x, interaction, tau, state)
    assert_allclose(rho.sum() * h, 1.0, atol=1e-12)
    energy = np.sum(rho * (0.25 * x**4 - 0.5 * x**2 + tau * np.log(np.maximum(rho, 1e-300)))) * h
    energy += 0.5 * interaction * (np.sum(rho * x**2) * h - (np.sum(rho * x) * h) ** 2)
    assert_allclose(state.free_energy, energy, atol=1e-12)
    other = desai_zwanzig.stationary(interaction, tau, symmetric=True)
    assert other.mean == 0.0
    assert other.free_energy > state.free_energy


def test_desai_zwanzig_at_low_temperature():
    state = desai_zwanzig.stationary(1.0, 1e-3)
    assert_allclose([state.mean, state.second_moment], trapezoid_gibbs(1.0, 1e-3, state.mean)[:2], atol=1e-12)


# --- Kuramoto


@pytest.mark.parametrize(("ratio", "r"), [(1.05, 0.303689343806), (1.1, 0.413388513064), (2.0, 0.831462024754)])
def test_kuramoto_order_parameter(ratio, r):
    tau = 0.35
    root = kuramoto.order_parameter(2 * tau * ratio, tau)
    assert_allclose(root, r, atol=6e-13)
    theta = 2 * np.pi * np.arange(200) / 200
    rho = kuramoto.stationary_density(theta, 2 * tau * ratio, tau)
    assert_allclose(np.mean(rho) * 2 * np.pi, 1.0, atol=1e-14)
    assert_allclose(np.mean(rho * np.cos(theta)) * 2 * np.pi, root, atol=1e-13)


def test_kuramoto_below_the_threshold_is_uniform():
    assert kuramoto.order_parameter(0.69, 0.35) == 0.0
    assert_allclose(kuramoto.stationary_density([0.0, 1.0], 0.69, 0.35), 1 / (2 * np.pi), rtol=1e-15)


def test_kuramoto_stationary_density_does_not_move():
    modes0 = kuramoto.modes_of(lambda x: kuramoto.stationary_density(x, 1.5, 0.5, phase=0.7))
    modes = kuramoto.evolve_modes([3.0], modes0, 1.5, 0.5)
    assert_allclose(modes[0], modes0, atol=1e-12)
    assert_allclose(np.angle(modes0[0]), 0.7, atol=1e-14)


@pytest.mark.parametrize("coupling_strength", [1.5, -1.5])
def test_kuramoto_linear_growth_and_the_decay_of_the_positive_twin(coupling_strength):
    modes0 = kuramoto.modes_of(lambda x: 1.0 + 2e-6 * np.cos(x))
    modes = kuramoto.evolve_modes([0.0, 1.0], modes0, coupling_strength, 0.5)
    rate = np.log(abs(modes[1, 0]) / abs(modes[0, 0]))
    assert_allclose(rate, kuramoto.growth_rate(coupling_strength, 0.5), atol=1e-9)
    assert_allclose(rate, coupling_strength / 2 - 0.5, atol=1e-9)


def test_kuramoto_modes_solve_the_equation_in_angle_space():
    """The time derivative of the density equals ∂(ρ ∂Ψ) + τ ∂²ρ, evaluated by FFT on the circle."""
    k, tau = 1.4, 0.4
    theta = 2 * np.pi * np.arange(512) / 512
    modes0 = kuramoto.modes_of(lambda x: np.exp(0.8 * np.cos(x - 0.3) + 0.4 * np.sin(2 * x)))
    modes = kuramoto.evolve_modes([0.399, 0.4, 0.401], modes0, k, tau)
    before, rho, after = (kuramoto.density_of(z, theta) for z in modes)

    def derivative(values):
        return np.fft.ifft(1j * np.fft.fftfreq(512, 1 / 512) * np.fft.fft(values)).real

    potential = -k * (np.conj(modes[1, 0]) * np.exp(1j * theta)).real
    right = derivative(rho * derivative(potential)) + tau * derivative(derivative(rho))
    assert_allclose((after - before) / 0.002, right, atol=1e-6)
    energies = [kuramoto.free_energy(z, k, tau) for z in modes]
    force = derivative(potential + tau * np.log(rho))
    assert_allclose((energies[2] - energies[0]) / 0.002, -np.mean(rho * force**2) * 2 * np.pi, rtol=1e-5)


def test_kuramoto_density_averages_over_cells():
    modes = kuramoto.modes_of(lambda x: np.exp(np.cos(x) + 0.3 * np.sin(3 * x)))
    width = 2 * np.pi / 20
    fine = kuramoto.density_of(modes, 1.0 + width * (np.arange(4000) + 0.5) / 4000 - width / 2)
    assert_allclose(kuramoto.density_of(modes, [1.0], width)[0], fine.mean(), rtol=1e-8)


# --- manufactured solutions


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_manufactured_potential_solves_the_equation(dimension, rng):
    """∂_t ρ − ∇·(ρ∇Ψ) − τΔρ vanishes at random points, by central differences, with an arbitrary interaction."""
    tau, time, step = 0.3, 0.8, 1e-3
    points = rng.normal(size=(40, dimension))

    def rho(p, t=time):
        return manufactured.profile_density(p, manufactured.breathing_profile(t, dimension))

    def interaction(p):
        return np.cos(p @ np.arange(1, dimension + 1)) + 0.2 * np.sum(p**2, axis=-1)

    def potential(p):
        profile = manufactured.breathing_profile(time, dimension)
        return manufactured.external_potential(p, profile, tau, interaction(p)) + interaction(p)

    residual = (rho(points, time + step) - rho(points, time - step)) / (2 * step)
    for shift in step * np.eye(dimension):
        ahead, behind = points + 0.5 * shift, points - 0.5 * shift
        flux = rho(ahead) * (potential(points + shift) - potential(points)) / step
        flux -= rho(behind) * (potential(points) - potential(points - shift)) / step
        laplacian = (rho(points + shift) - 2 * rho(points) + rho(points - shift)) / step
        residual -= (flux + tau * laplacian) / step
    assert_allclose(residual, 0.0, atol=3e-5)


def test_breathing_profile_rates_are_derivatives():
    before, here, after = (manufactured.breathing_profile(t, 3) for t in (0.4999, 0.5, 0.5001))
    assert_allclose((after.mean - before.mean) / 2e-4, here.mean_rate, atol=1e-8)
    assert_allclose((after.std - before.std) / 2e-4, here.std_rate, atol=1e-8)


# --- reference row


def test_reference_row_by_dual_newton_on_a_trapezoidal_rule():
    row = references.TANH_NEURON
    x, c = np.polynomial.hermite_e.hermegauss(row.nodes)
    c = c / c.sum()
    y = row.target_scale * np.tanh(row.target_gain * x)
    theta = np.linspace(-14, 14, 2001)
    h, tau = theta[1] - theta[0], row.temperature
    features = np.tanh(theta[:, None] * x)
    confinement = 0.5 * row.weight_decay * theta**2
    root = np.sqrt(c)
    g = np.zeros_like(x)
    for _ in range(8):
        exponent = -(features @ (c * g) + confinement) / tau
        weight = np.exp(exponent - exponent.max())
        weight /= weight.sum()
        f = weight @ features
        centered = (features - f) * root
        covariance = (centered.T * weight) @ centered
        g = g + np.linalg.solve(np.eye(x.size) + covariance / tau, root * (f - y - g)) / root
    risk = 0.5 * c @ (f - y) ** 2
    entropy = weight @ np.log(np.maximum(weight / h, 1e-300))
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    assert_allclose(risk + weight @ confinement + tau * entropy, row.free_energy, atol=6e-13)
    assert_allclose([risk, weight @ theta], [row.risk, row.first_moment], rtol=2e-10)
    assert_allclose(weight @ theta**2, row.second_moment, rtol=2e-10)
    assert_allclose(eigenvalues.sum(), row.trace, rtol=6e-10)
    assert_allclose(np.sum(eigenvalues / (1 + eigenvalues / tau)), row.chaos_constant, rtol=6e-10)
    assert_allclose(0.5 * tau * np.log1p(eigenvalues / tau).sum(), row.log_determinant, rtol=6e-10)

    # Spectral gap of the Langevin generator and the sharp rate, in polynomials orthonormal in L²(π).
    degree = 40
    values = np.polynomial.hermite_e.hermevander(theta, degree)
    slopes = np.zeros_like(values)
    slopes[:, 1:] = values[:, :-1] * np.arange(1, degree + 1)
    mass = np.sqrt(weight)[:, None]
    basis, triangle = np.linalg.qr(values * mass)
    basis_slopes = np.linalg.solve(triangle.T, (slopes * mass).T)
    generator = (basis_slopes @ basis_slopes.T)[1:, 1:]
    overlaps = ((features * mass).T @ basis)[:, 1:]
    hessian = tau * np.eye(degree) + overlaps.T @ (c[:, None] * overlaps)
    assert_allclose(np.linalg.eigvalsh(generator)[0], row.poincare_gap, atol=6e-6)
    assert_allclose(2 * np.sort(np.linalg.eigvals(generator @ hessian).real)[0], row.asymptotic_rate, atol=6e-6)
