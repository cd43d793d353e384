"""The pipette: a cone of glass, its resistances, and what a resistance alone does not tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

from opsicm.errors import OutsideDomain, Problem


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
