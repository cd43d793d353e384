"""Example 14. What the current says about the concentration outside, with and without flow in the tip."""

import numpy as np

from opsicm.physics.pipette.electroosmosis import effective_concentration, sensitivity
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.ion_current import log_mean, response_time


def proportional(c):
    return 6.2e-4 * c


def with_maximum(c):
    return 0.62 * c / 1050.0 * np.exp(1.0 - c / 1050.0)


def main() -> None:
    shown, known = float(effective_concentration(1000.0, 500.0, 0.0)), float(log_mean(1000.0, 500.0))
    print(f"1 M in, 0.5 M out computed {shown:.2f} mM   expected {known:.2f} mM (log mean)")
    for peclet, known in ((-10, 0.10), (-5, 0.19), (0, 0.50), (5, 0.81), (10, 0.90)):
        slope = sensitivity(proportional, 1e3, 1e3, peclet)
        print(f"Pe {peclet:+4d}           computed {slope:.2f}   expected {known:.2f} dlnI/dlnc")
    slope = abs(sensitivity(with_maximum, 1e3, 1e3))
    print(f"kappa at its top  computed {slope:.3f}   expected about 0.02: blind at 1 M")
    slow = response_time(Pipette(), 2.6e-10, 0.9)
    print(f"the tip answers to 90 % in {slow * 1e3:.0f} ms: a 67 ms hop is not at steady state")


if __name__ == "__main__":
    main()
