"""One radius for two isotropic Gaussians: both transitions, the least risk over all measures (docs/dimension-free.md).

The tables are those of another program. Risks are those of the papers, twice mfpde's.
"""

from __future__ import annotations

import numpy as np
import pytest
from gaussians import FAILURE, TRUNCATED

from mfpde.theory import phase_transition as phases

# d: upper transition among radii up to 400, radius and risk of the best sphere there; lower transition
TABLE = {
    20: (0.377668, 1.60396, 0.142721, 0.0721),
    40: (0.431032, 1.67419, 0.054556, 0.02982),
    80: (0.453450, 1.71086, 0.024084, 0.01380),
    160: (0.464005, 1.72988, 0.011317, 0.00666),
    320: (0.469151, 1.73959, 0.005485, 0.00327),
}
# Delta: best sphere and least risk for d = 40 (radii up to 300), and for infinite d
MINIMA = {
    0.1: (0.684055, 0.684055, 0.628818, 0.628818),
    0.2: (0.395135, 0.395135, 0.341149, 0.341149),
    0.3: (0.190525, 0.190525, 0.139238, 0.139238),
    0.4: (0.072882, 0.072882, 0.025568, 0.025568),
    0.5: (0.045510, 0.030907, 0.003121, 0.0),
    0.6: (0.112039, 0.015234, 0.074953, 0.0),
    0.8: (0.522674, 0.003150, 0.492828, 0.0),
}


@pytest.mark.parametrize("dimension", TABLE)
def test_the_upper_transition(dimension: int) -> None:
    printed, radius, risk, _ = TABLE[dimension]
    found = phases.upper_transition(*TRUNCATED, dimension, largest=400.0)
    assert found == pytest.approx(printed, abs=1e-6)
    best = phases.single_radius(*TRUNCATED, dimension, found, largest=400.0)
    assert (best.radius, 2.0 * best.risk) == (pytest.approx(radius, abs=1e-5), pytest.approx(risk, abs=1e-6))
    assert best.where == pytest.approx(400.0)
    # with radii up to infinity it is lower, by what psi still falls beyond 400: of order 1/400
    limit = phases.upper_transition(*TRUNCATED, dimension)
    assert 0.0 < found - limit < 5e-5
    assert phases.single_radius(*TRUNCATED, dimension, limit + 1e-6).where == np.inf


@pytest.mark.parametrize("dimension", TABLE)
def test_the_lower_transition(dimension: int) -> None:
    printed = TABLE[dimension][3]
    assert phases.lower_transition(*TRUNCATED, dimension) == pytest.approx(printed, rel=5e-3)


def test_infinite_dimension() -> None:
    separation, radius = phases.infinite_transition(*TRUNCATED)
    assert separation == pytest.approx(0.474218952, abs=1e-9)
    assert radius == pytest.approx(1.749455012, abs=1e-9)
    best = phases.single_radius(*TRUNCATED, np.inf, separation)
    assert best.radius == pytest.approx(radius, abs=1e-6)
    assert best.risk < 1e-15
    # the finite transitions come to it at the rate 1/d
    gaps = [separation - phases.upper_transition(*TRUNCATED, d) for d in (160, 320)]
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.03)


def test_an_activation_that_is_not_monotone_has_a_barrier() -> None:
    """In infinite dimension: the best radius 2.087 with R = .0083, and a barrier at 0.196."""
    best = phases.single_radius(*FAILURE, np.inf, 0.5)
    assert (best.radius, 2.0 * best.risk) == (pytest.approx(2.087, abs=1e-3), pytest.approx(0.00830, abs=5e-6))
    law = phases.Law(*FAILURE, np.inf, 0.5)
    radii = np.linspace(0.05, 0.5, 451)
    highest = radii[np.argmax([law.sphere_risk(r) for r in radii])]
    assert highest == pytest.approx(0.196, abs=1.1e-3)


@pytest.mark.parametrize("separation", MINIMA)
def test_least_risks(separation: float) -> None:
    sphere, least, sphere_infinite, least_infinite = MINIMA[separation]
    best = phases.single_radius(*TRUNCATED, 40, separation)
    assert 2.0 * best.risk == pytest.approx(sphere, abs=1e-6)
    found = phases.radial_minimum(*TRUNCATED, 40, separation, largest=300.0)
    # the grid of radii misses the best one by half a cell
    assert 2.0 * found.risk == pytest.approx(least, abs=2e-6)
    assert found.weights.sum() == pytest.approx(1.0, rel=1e-14)
    assert (best.excess >= 0.0) == (separation < 0.431)
    infinite = phases.single_radius(*TRUNCATED, np.inf, separation)
    assert 2.0 * infinite.risk == pytest.approx(sphere_infinite, abs=1e-6)
    assert 2.0 * phases.radial_minimum(*TRUNCATED, np.inf, separation).risk == pytest.approx(least_infinite, abs=2e-6)


def test_above_the_transition_mass_escapes_to_infinity() -> None:
    """Radii up to infinity: part of the minimiser sits there, below any risk that finite radii reach."""
    near = phases.radial_minimum(*TRUNCATED, 40, 0.6, largest=300.0)
    all_radii = phases.radial_minimum(*TRUNCATED, 40, 0.6)
    assert near.radii[-1] == pytest.approx(300.0) and near.weights[-1] == pytest.approx(0.239, abs=1e-3)
    assert np.isinf(all_radii.radii[-1]) and all_radii.weights[-1] == pytest.approx(0.237, abs=1e-3)
    assert all_radii.risk < near.risk - 1e-5


def test_minimum_is_optimal_to_first_order() -> None:
    """Psi of the minimiser attains its least value on the minimiser's support."""
    found = phases.radial_minimum(*TRUNCATED, 40, 0.5)
    law = phases.Law(*TRUNCATED, 40, 0.5)
    residual = law.weights * (found.weights @ law.features(found.radii) - law.y)
    on, everywhere = (law.features(r) @ residual for r in (found.radii, np.linspace(0.0, 60.0, 3001)))
    np.testing.assert_allclose(on, on[0], atol=1e-10)
    # between the radii of the grid psi may be lower by the square of a cell
    assert everywhere.min() > on[0] - 2e-5
