"""The film on graphite: orders of magnitude, for no film of this electrode and electrolyte has been measured."""

from __future__ import annotations

from typing import Final

from opsicm.physics.parameters.leaf import Leaf

LEAVES: Final = {
    "sei_rate": Leaf(0.01, "A/m2", None, "assumed", "per particle surface; gives about 10 nm in the first slow cycle"),
    "sei_potential": Leaf(0.8, "V", 0.05, "literature", "Takahashi 2023: expansion from +0.8 V, onset about 0.75 V"),
    "sei_throttle_thickness": Leaf(1.0, "nm", None, "assumed", "film at which transport through it takes over"),
    "sei_charge_per_nm": Leaf(
        2.0, "C/m2", 0.5, "literature", "2F/9.59e-5 m³/mol (Li2CO3-like; Safari, J. Electrochem. Soc. 156 (2009) A145)"
    ),
    "sei_resistance_per_nm": Leaf(2.0, "Ohm cm2", 2.0, "literature", "2e5 Ω m (Safari 2009)"),
    "sei_initial_thickness": Leaf(0.0, "nm", None, "assumed", "a fresh electrode that starts above sei_potential"),
    "sei_formed_thickness": Leaf(
        10.0, "nm", 10.0, "assumed", "the film of one that starts below: it cannot rest there bare"
    ),
    "irreversible_factor": Leaf(0.3, "1", 0.3, "assumed", "share of the film's volume that shows as thickness"),
}
