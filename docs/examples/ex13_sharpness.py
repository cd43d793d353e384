"""Example 13. How sharp is the image? The ring, the edge, and a step as the pipette sees it."""

import numpy as np

from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.lateral import apparent_distance, point_spread, view_surface
from opsicm.physics.pipette.tip_field import approach_curve


def main() -> None:
    tip = Pipette()
    d98 = float(approach_curve(tip).distance(np.array(0.98)))
    ring = point_spread(tip, d98)
    print(f"edge, 10 to 90 %  computed {ring.edge_width() * 1e9:.0f} nm   expected 148 nm (prototype), 3 inner radii")
    centre = ring.density[0] / ring.density.max()
    print(f"ring              peak at {ring.peak_radius / tip.radius:.2f} a, centre {centre:.3f} of the peak")
    pixel, step = 10e-9, 0.5e-9
    height = np.zeros((64, 128))
    height[:, 64:] = step
    view = view_surface(height, pixel, tip)
    seen = [d98 - apparent_distance(d98, 32, column, view.levels, view.smoothed, view.peak) for column in (58, 69)]
    expected = ring.edge_response((np.array([58, 69]) - 63.5) * pixel)
    for value, share in zip(seen, expected, strict=True):
        print(f"step of 0.5 nm    computed {100 * value / step:.0f} %   expected {100 * share:.0f} % of it")


if __name__ == "__main__":
    main()
