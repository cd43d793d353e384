"""Example 10. The resistance of a pipette, and what it does not tell.

A 50 nm tip (b/a 1.5, 3°, shank 20 µm) in 0.62 S/m. The same resistance belongs to a wider tip with a smaller angle.
"""

import math

from opsicm.physics.pipette.geometry import Pipette, radius_band, radius_from_resistance, resistance
from opsicm.physics.pipette.tip_field import approach_curve

KAPPA = 0.62  # S/m


def main() -> None:
    tip = Pipette()
    quick, exact = resistance(tip, KAPPA), approach_curve(tip).far / KAPPA
    print(f"quick form        computed {quick * 1e-6:.1f} MOhm   finite elements {exact * 1e-6:.1f} MOhm")
    for degrees in (2.0, 5.0):
        radius = radius_from_resistance(quick * KAPPA, math.radians(degrees))
        again = resistance(Pipette(radius=radius, cone_angle=math.radians(degrees)), KAPPA)
        name = f"{radius * 1e9:5.1f} nm at {degrees:.0f}°"
        print(f"{name}    computed {again * 1e-6:.1f} MOhm   expected {quick * 1e-6:.1f} MOhm")
    band = radius_band(quick, KAPPA, (math.radians(2.0), math.radians(5.0)))
    print(f"angle 2° to 5°    radius {band.low * 1e9:.0f} to {band.high * 1e9:.0f} nm (95 %)")


if __name__ == "__main__":
    main()
