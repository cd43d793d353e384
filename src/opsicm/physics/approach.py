"""The approach curve's quick mode: the hyperbola i = d / (d + C) that everybody knows, its inverse and slope.

It is quick and it is biased: `tip_field` holds the finite-element curve, and `hyperbola_bias` there prints by how
much this one misses it.
"""

from __future__ import annotations

import math
from typing import Final

from opsicm.compiled import compiled
from opsicm.errors import OutsideDomain, Problem
from opsicm.physics.pipette import Pipette

# Finite elements for a = 50 nm, b/a = 1.5, theta = 3°, shank 20 µm; it moves with each of the four.
DISTANCE_98_DEFAULT: Final = 33.6e-9  # [m]


def hyperbola_constant(distance_98: float = DISTANCE_98_DEFAULT) -> float:
    """C [m] such that the relative current is 0.98 at `distance_98` [m]: C = d98 (1/0.98 - 1).

    Assumes that one point fixes the curve; away from it the curve is wrong (it falls too slowly with distance).
    Source: Nitz, Kamp, Fuchs, Probe Microscopy 1998, 1, 187, equation (3), with C fitted instead of computed.
    """
    if not 0.0 < distance_98 < math.inf:
        raise OutsideDomain(
            Problem("98 % distance", f"{distance_98:g} m", "it must be above 0 m", "33.6e-9 m suits a 50 nm pipette")
        )
    return distance_98 * (1.0 / 0.98 - 1.0)


def distance_98(pipette: Pipette) -> float:
    """The distance [m] at which the relative current is 0.98, for the quick mode: 33.6 nm per 50 nm of radius.

    Assumes the shape the number was computed for (b/a = 1.5, theta = 3°, shank 400 a); other shapes reach 98 % anywhere
    between 15 and 93 nm at 50 nm. Source: finite elements, see DISTANCE_98_DEFAULT.
    """
    return DISTANCE_98_DEFAULT * pipette.radius / 50e-9


@compiled
def hyperbola_relative_current(distance: float, C: float) -> float:
    """I/I_far [1] at `distance` [m] for the constant `C` [m]: d / (d + C), and 0 at or below contact.

    Scalar, for use inside other compiled kernels. Source: as `hyperbola_constant`.
    """
    if distance <= 0.0:
        return 0.0
    return distance / (distance + C)


@compiled
def hyperbola_distance(relative_current: float, C: float) -> float:
    """The distance [m] at which I/I_far equals `relative_current` [1]: C s / (1 - s); 0 for s <= 0, inf for s >= 1."""
    if relative_current <= 0.0:
        return 0.0
    if relative_current >= 1.0:
        return math.inf
    return C * relative_current / (1.0 - relative_current)


@compiled
def hyperbola_slope(distance: float, C: float) -> float:
    """d(I/I_far)/dd [1/m] at `distance` [m]: C / (d + C)², and 0 at or below contact."""
    if distance <= 0.0:
        return 0.0
    return C / ((distance + C) * (distance + C))
