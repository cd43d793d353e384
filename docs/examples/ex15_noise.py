"""Example 15. Noise: from kT and the headstage to picoamperes, and from those to nanometres."""

import math

import numpy as np

from opsicm.physics.noise import gaussian, gaussian_block, thermal_current_density
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve


def main() -> None:
    print(f"130 MOhm          computed {thermal_current_density(130e6, 298.15) * 1e15:.1f} fA/√Hz   expected 11")
    print(f"310 MOhm          computed {thermal_current_density(310e6, 298.15) * 1e15:.1f} fA/√Hz   expected 7")
    tip, bias, kappa = Pipette(), 0.7, 0.62
    curve = approach_curve(tip)
    R = curve.far / kappa
    # With the twin's headstage, 15 fA/√Hz. A one-pole low-pass passes as much white noise as an ideal one pi/2 wider.
    rms = math.hypot(thermal_current_density(R, 298.15), 15e-15) * math.sqrt(0.5 * math.pi * 5e3)
    slope = float(curve.slope(curve.distance(np.array(0.98))))
    height = rms * R / bias / slope
    print(
        f"behind 5 kHz      {rms * 1e12:.2f} pA rms of {bias / R * 1e9:.2f} nA: {height * 1e9:.2f} nm of height at 98 %"
    )
    out = np.empty(4, np.float32)
    gaussian_block(7, 0, 1000, out)
    same = all(float(value) == gaussian(7, 0, 1000 + k) for k, value in enumerate(out))
    print(f"sample 1002 of channel 0, seed 7, is {gaussian(7, 0, 1002):+.4f} in whatever order: {same}")


if __name__ == "__main__":
    main()
