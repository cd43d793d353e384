"""Graphite: constants, and the kinetics nobody has measured for this electrode."""

from __future__ import annotations

from typing import Final

from opsicm.physics.parameters.leaf import Leaf

LEAVES: Final = {
    "specific_capacity": Leaf(372.0, "mAh/g", None, "literature", "F/(6 M_C): LiC6"),
    "solid_density": Leaf(2.24, "g/cm3", 0.03, "literature", "graphite, X-ray density 2.26; CRC Handbook 2.2–2.3"),
    "open_circuit_potential": Leaf(
        "ecker-2015", "word", None, "literature", "Ecker et al., J. Electrochem. Soc. 162 (2015) A1836, measured"
    ),
    "particle_diffusivity": Leaf(4e-14, "m2/s", None, "assumed", "order of Ecker 2015 at x < 0.3"),
    "particle_radius": Leaf(2.0, "um", 1.0, "assumed", "the paper shows flakes of 3–4 µm"),
    "exchange_current_density": Leaf(10.0, "A/m2", None, "assumed", "at x = 0.5 and 1 M, per particle surface"),
    "film_resistance": Leaf(0.0, "Ohm cm2", None, "assumed", "per particle surface, of the film at the start"),
    "double_layer_capacitance": Leaf(10.0, "uF/cm2", 5.0, "assumed", "per particle surface; carbons show 5–20"),
    "bruggeman": Leaf(1.5, "1", 0.5, "assumed", "spheres; flakes lying flat have more"),
    "initial_potential": Leaf(1.7, "V", None, "assumed", "the upper end of the paper's sweeps"),
}  # fmt: skip
