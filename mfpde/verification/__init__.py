"""What ``mfpde verify`` measures: the order, the conservation laws and the exact identities of this installation.

==================  ==========================================================================================
``orders``          convergence in space and time in dimension 1, 2, 3 against exact solutions
``structure``       mass, signs, energy decay, stationary measures, radial weight, symmetry reduction
``references``      numbers known to many digits: linear network, Desai-Zwanzig, Kuramoto, tanh neuron
``identities``      Pythagoras, duals, dissipation and virial (docs/theory-main.md); the logistic certificate
``cases``           exact solutions put on grids
``check``           one line of the table
==================  ==========================================================================================

``GROUPS`` is the table: titles and functions without arguments that return lines.
"""

from __future__ import annotations

from collections.abc import Callable

from mfpde.verification import identities, orders, references, structure
from mfpde.verification.check import Check

__all__ = ["GROUPS", "Check"]

GROUPS: tuple[tuple[str, Callable[[], list[Check]]], ...] = (
    ("order in space", orders.order_in_space),
    ("order in time", orders.order_in_time),
    ("order of the limited flux", orders.order_of_limited_flux),
    ("mass, sign, energy for steps 0.01 to 10", structure.mass_sign_energy),
    ("stationary measures do not move", structure.fixed_point),
    ("duality along a run", structure.duality_bound),
    ("radial weight", structure.radial_weight),
    ("symmetry reduction", structure.symmetry_reduction),
    ("linear network", references.linear_network_numbers),
    ("Desai-Zwanzig", references.desai_zwanzig_numbers),
    ("Kuramoto", references.kuramoto_numbers),
    ("tanh neuron", references.tanh_neuron_numbers),
    ("energy gap and duality", identities.gap_identities),
    ("dissipation", identities.dissipation_identity),
    ("virial", identities.virial),
    ("logistic loss", identities.logistic_certificate),
)
