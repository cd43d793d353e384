"""Example 12. A number that has been known since 1936: the end correction of a tube in an infinite flange."""

import math

from opsicm.physics.pipette.tip_mesh import Fineness, solve_tip


def main() -> None:
    tube = solve_tip(math.inf, 0.0, None, Fineness(order=5, layers=5, far=1e3))
    correction = tube.resistance * math.pi - tube.tip.top
    print(f"end correction    computed {correction:.4f} radii   expected 0.8217 (King 1936)")


if __name__ == "__main__":
    main()
