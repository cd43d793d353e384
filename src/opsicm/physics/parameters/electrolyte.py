"""1 M LiClO4 in EC:DEC 1:2: assumed throughout, for nobody has measured this electrolyte."""

from __future__ import annotations

from typing import Final

from opsicm.physics.parameters.leaf import Leaf

LEAVES: Final = {
    "conductivity_curve": Leaf(
        "maximum", "word", None, "assumed", "carbonates show a maximum near 1 M; E1's line implies 'proportional'"
    ),
    "conductivity_1M": Leaf(0.62, "S/m", 0.1, "assumed", "LiClO4 in mixed carbonates, order of magnitude"),
    "conductivity_maximum_at": Leaf(1.05, "M", 0.2, "assumed", "as LiPF6 and LiClO4 in other carbonate mixtures"),
    "diffusivity_1M": Leaf(2.6e-10, "m2/s", 1e-10, "assumed", "3.99e-10 m²/s is published for PC"),
    "diffusivity_slope": Leaf(0.35, "1", None, "assumed", "D = D₁ exp(−slope (c/M − 1))"),
    "transference": Leaf(0.30, "1", 0.1, "assumed", "0.57 was found by Bruce and Vincent's method in EC/PC"),
    "tdf": Leaf(1.3, "1", 0.3, "assumed", "1 + dln f/dln c at 1 M"),
    "temperature": Leaf(298.15, "K", 1.0, "assumed", "glovebox"),
    "viscosity": Leaf(3.0, "mPa s", 1.0, "assumed", "carbonate with 1 M salt"),
    "solvent_density": Leaf(1.15, "g/cm3", 0.05, "assumed", "EC:DEC 1:2 with 1 M salt"),
    "density_slope": Leaf(0.07, "kg/mol", 0.02, "assumed", "dρ/dc of the solution"),
}  # fmt: skip

PROPORTIONAL: Final = {
    "conductivity_curve": Leaf(
        "proportional", "word", None, "assumed", "the paper's linear calibration of current against concentration (E1)"
    ),
}
