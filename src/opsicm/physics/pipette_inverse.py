"""From a resistance back to a geometry: unique only when the rest is known.

**Degeneracy.** R·kappa of a cone is about 1/(pi a tan theta): the product of radius and angle, nothing more. One
resistance gives neither; a curve of (a, theta) pairs fits it exactly. The angle must come from a micrograph or from
breaking the tip on purpose (Caldwell et al., Anal. Chem. 2012, 84, 8980); until then `radius_band` says how wide
the ignorance is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from opsicm.errors import OutsideDomain, Problem


def _positive(thing: str, value: float, unit: str) -> None:
    if not 0.0 < value < math.inf:
        raise OutsideDomain(
            Problem(thing, f"{value:g} {unit}", f"it must be above 0 {unit} and finite", "check the unit")
        )


def radius_from_resistance(geometric_resistance: float, cone_angle: float, length: float = 20e-6) -> float:
    """Inner radius a [m] for R·kappa [1/m], theta [rad] and shank `length` L [m]: unique, R falls with a.

    Positive root of pi R a² + (pi R L tan theta - pi/4) a - L (1 + pi tan(theta)/4) = 0, from
    `pipette.geometric_resistance`. Assumes and fails as that function.
    """
    _positive("R·kappa", geometric_resistance, "1/m")
    _positive("half-cone angle", cone_angle, "rad")
    _positive("shank length", length, "m")
    t = math.tan(cone_angle)
    A = math.pi * geometric_resistance
    B = A * length * t - 0.25 * math.pi
    C = -length * (1.0 + 0.25 * math.pi * t)
    root = math.sqrt(B * B - 4.0 * A * C)
    # The form without cancellation for either sign of B.
    return -2.0 * C / (B + root) if B > 0.0 else (root - B) / (2.0 * A)


def cone_angle_from_resistance(geometric_resistance: float, radius: float, length: float = 20e-6) -> float:
    """Half-cone angle theta [rad] for R·kappa [1/m], a = `radius` [m] and shank `length` L [m]: unique where it exists.

    tan theta = (L / (pi a (R - 1/(4a))) - a) / L. Refused where no straight cone has this resistance: below access
    alone, or above a cylinder of this radius.
    """
    _positive("R·kappa", geometric_resistance, "1/m")
    _positive("radius", radius, "m")
    _positive("shank length", length, "m")
    access, cylinder = 0.25 / radius, length / (math.pi * radius**2) + 0.25 / radius
    if not access < geometric_resistance < cylinder:
        raise OutsideDomain(
            Problem(
                "R·kappa",
                f"{geometric_resistance:g} 1/m",
                f"at a = {radius:g} m it must lie between {access:g} (access alone) and {cylinder:g} (a cylinder)",
                "check radius, length and conductivity",
            )
        )
    return math.atan((length / (math.pi * radius * (geometric_resistance - access)) - radius) / length)


@dataclass(frozen=True, slots=True)
class RadiusBand:
    """Quantiles of the inner radius [m]: 2.5 %, 50 %, 97.5 %."""

    low: float
    median: float
    high: float


def radius_band(
    resistance: float,
    kappa: float,
    cone_angles: tuple[float, float],
    length: float = 20e-6,
    relative_u: float = 0.05,
) -> RadiusBand:
    """What a measured `resistance` [Ohm] says about the radius when the angle is only known to lie in a range.

    Posterior of a for theta uniform over `cone_angles` [rad] and R·kappa normal in the logarithm with standard
    deviation `relative_u` [1] (resistance and `kappa` [S/m] together); flat in ln a. Assumes a straight cone of
    `length` [m]. Fails by optimism if the shank bends. Source: the change of variables, by quantiles of both.
    """
    _positive("resistance", resistance, "Ohm")
    _positive("kappa", kappa, "S/m")
    if not 0.0 < cone_angles[0] <= cone_angles[1] < 0.5 * math.pi:
        low, high = (math.degrees(angle) for angle in cone_angles)
        raise OutsideDomain(
            Problem("range of half-cone angles", f"{low:g}° to {high:g}°", "0° < low <= high < 90°", "try 2° to 6°")
        )
    share = (np.arange(61) + 0.5) / 61
    angles = cone_angles[0] + share * (cone_angles[1] - cone_angles[0])
    products = resistance * kappa * np.exp(relative_u * norm.ppf(share))
    radii = [radius_from_resistance(float(p), float(t), length) for p in products for t in angles]
    low, median, high = np.quantile(radii, [0.025, 0.5, 0.975])
    return RadiusBand(float(low), float(median), float(high))
