"""The pipette: a cone of glass, its resistances, and what a resistance alone does not tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from opsicm.core.errors import OutsideDomain, Problem


@dataclass(frozen=True, slots=True)
class Pipette:
    """The end of a pipette as a frustum.

    Parameters: `radius` [m] inner radius a of the aperture; `wall` [1] outer over inner radius b/a at the
    aperture; `cone_angle` [rad] inner half-cone angle theta; `length` [m] of the shank that is counted as
    resistance. Assumes a round flat aperture and a straight cone; a real pipette bends away from it after
    tens of µm, which is why `length` is a parameter and is stated wherever a 98 % distance is printed.
    """

    radius: float = 50e-9
    wall: float = 1.5
    cone_angle: float = math.radians(3.0)
    length: float = 20e-6

    def __post_init__(self) -> None:
        problems = []
        if not 0.0 < self.radius < math.inf:
            problems.append(
                Problem("pipette radius", f"{self.radius:g} m", "it must be above 0 m", "give the inner radius in m")
            )
        if not 1.0 < self.wall < math.inf:
            problems.append(
                Problem(
                    "pipette wall (outer over inner radius)",
                    f"{self.wall:g}",
                    "it must be above 1",
                    "the outer radius must exceed the inner one; borosilicate pullers give 1.4 to 2",
                )
            )
        if not 0.0 < self.cone_angle < 0.5 * math.pi:
            problems.append(
                Problem(
                    "pipette half-cone angle",
                    f"{math.degrees(self.cone_angle):g}°",
                    "it must lie between 0° and 90°, both excluded",
                    "give the inner half angle; laser-pulled pipettes have 2° to 10°",
                )
            )
        if not 0.0 < self.length < math.inf:
            problems.append(
                Problem(
                    "pipette shank length",
                    f"{self.length:g} m",
                    "it must be above 0 m and finite",
                    "give 20e-6 m unless a micrograph says otherwise",
                )
            )
        if problems:
            raise OutsideDomain(problems)


def cone_resistance(pipette: Pipette) -> float:
    """R·kappa of the shank [1/m]: L / (pi a (a + L tan theta)).

    Assumes current spreading evenly over each cross-section (theta small: the error is about theta²/4, 7e-4 at
    3°, 3 % at 20°; the finite-element table corrects the tip itself). Fails for a shank that bends.
    Source: integral of dz / (pi r(z)²) over a frustum; Ying et al., Phys. Chem. Chem. Phys. 2005, 7, 2859.
    """
    a, L = pipette.radius, pipette.length
    return L / (math.pi * a * (a + L * math.tan(pipette.cone_angle)))


def disk_access_resistance(pipette: Pipette) -> float:
    """R·kappa from the aperture to far away [1/m]: 1 / (4 a), no sample near.

    Assumes an equipotential aperture in an infinite insulating plane. A real tip has less glass behind it and a
    potential that is not even over the aperture. Source: Hall, J. Gen. Physiol. 1975, 66, 531, equation (1).
    """
    return 1.0 / (4.0 * pipette.radius)


def geometric_resistance(pipette: Pipette) -> float:
    """R·kappa far from the sample [1/m]: cone and access in series (see the two functions it adds)."""
    return cone_resistance(pipette) + disk_access_resistance(pipette)


def resistance(pipette: Pipette, kappa: float) -> float:
    """R far from the sample [Ohm] in an electrolyte of conductivity `kappa` [S/m]: geometric_resistance / kappa."""
    if not 0.0 < kappa < math.inf:
        raise OutsideDomain(
            Problem(
                "conductivity", f"{kappa:g} S/m", "it must be above 0 S/m", "1 M LiClO4 in EC:DEC has about 0.6 S/m"
            )
        )
    return geometric_resistance(pipette) / kappa


# -- From a resistance back to a geometry: unique only when the rest is known.
#
# **Degeneracy.** R·kappa of a cone is about 1/(pi a tan theta): the product of radius and angle, nothing more. One
# resistance gives neither; a curve of (a, theta) pairs fits it exactly. The angle must come from a micrograph or from
# breaking the tip on purpose (Caldwell et al., Anal. Chem. 2012, 84, 8980); until then `radius_band` says how wide
# the ignorance is.


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


@dataclass(frozen=True, slots=True)
class RadiusBand:
    """Quantiles of the inner radius [m]: 2.5 %, 50 %, 97.5 %."""

    low: float
    median: float
    high: float


def radius_band(
    resistance: float, kappa: float, cone_angles: tuple[float, float], length: float = 20e-6, relative_u: float = 0.05
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
    products = resistance * kappa * np.exp(relative_u * ndtri(share))
    radii = [radius_from_resistance(float(p), float(t), length) for p in products for t in angles]
    low, median, high = np.quantile(radii, [0.025, 0.5, 0.975])
    return RadiusBand(float(low), float(median), float(high))
