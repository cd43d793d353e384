"""Example 11. Where is 98 %? The finite-element curve, and how far the hyperbola misses it."""

import numpy as np

from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve, hyperbola_bias


def main() -> None:
    curve = approach_curve(Pipette())
    d98 = float(curve.distance(np.array(0.98)))
    print(f"98 % at           computed {d98 * 1e9:.1f} nm   expected 33.6 nm (prototype; shank 20 µm)")
    endless = approach_curve(Pipette(length=1.0))
    d98 = float(endless.distance(np.array(0.98)))
    print(f"endless cone      computed {d98 * 1e9:.1f} nm   expected 32 nm (prototype)")
    current = np.array([0.95, 0.99, 0.995])
    for s, bias in zip(current, hyperbola_bias(curve, current), strict=True):
        print(f"hyperbola at {100 * s:4.1f} % reads {bias * 1e9:+.1f} nm off")
    back = float(curve.relative_current(curve.distance(np.array(0.99))))
    print(f"there and back    computed {back:.12f}   expected 0.99")


if __name__ == "__main__":
    main()
