"""Noise of the pipette's current."""

from __future__ import annotations

import math

from opsicm.constants import BOLTZMANN
from opsicm.errors import OutsideDomain, Problem
from opsicm.physics.gaussian import gaussian, gaussian_block

__all__ = ["gaussian", "gaussian_block", "thermal_current_density"]


def thermal_current_density(R: float, T: float) -> float:
    """Thermal (Johnson) current noise sqrt(4 k T / R) [A/√Hz] of a resistance `R` [Ohm] at `T` [K].

    Assumes equilibrium; a biased pipette adds shot and 1/f noise. Source: Nyquist, Phys. Rev. 1928, 32, 110.
    """
    if not (R > 0.0 and T > 0.0):
        raise OutsideDomain(
            Problem("resistance and temperature", f"{R:g} Ohm, {T:g} K", "both must be above 0", "use Ohm and kelvin")
        )
    return math.sqrt(4.0 * BOLTZMANN * T / R)
