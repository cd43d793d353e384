"""What Takahashi, Takamatsu, Korchev and Fukuma state of their cell: JACS Au 2023, 3, 1089 (10.1021/jacsau.2c00677)."""

from __future__ import annotations

from typing import Final

from opsicm.physics.parameters.leaf import Leaf

_PAPER: Final = "Takahashi et al., JACS Au 2023, 3, 1089, experimental section"

TAKAHASHI_2023: Final = {
    "area": Leaf(0.50, "cm2", None, "literature", _PAPER),
    "thickness": Leaf(28.0, "um", None, "literature", _PAPER),
    "active_fraction": Leaf(0.97, "1", None, "literature", _PAPER + ": 97 wt % graphite, 1 % CMC, 2 % SBR"),
    "concentration": Leaf(1.0, "M", None, "literature", _PAPER + ": LiClO4 in EC:DEC 1:2"),
    "loading": Leaf(
        4.37, "mg/cm2", 0.1, "derived", _PAPER + ": 28 µm × 1.56 g/cm³; the printed 10.2 mg/cm² contradicts both"
    ),
    "porosity": Leaf(0.283, "1", 0.03, "derived", _PAPER + ": 1.56 g/cm³ over graphite 2.24, CMC 1.6, SBR 1.0 g/cm³"),
    "swelling_factor": Leaf(
        0.676,
        "1",
        0.05,
        "derived",
        "volume fraction of graphite, 0.97 × 1.56/2.24: particles grow into thickness, pores keep theirs",
    ),
}

# The other reading: the printed loading is right, and then the thickness is not, for 10.2 mg/cm² in 28 µm would be
# denser than graphite.
PRINTED_LOADING: Final = {
    "loading": Leaf(10.2, "mg/cm2", None, "literature", _PAPER + ", as printed (its unit reads 'mg/cm')"),
    "thickness": Leaf(65.4, "um", None, "derived", _PAPER + ": 10.2 mg/cm² over 1.56 g/cm³; the text says 28 µm"),
}


# -- 1 M LiClO4 in EC:DEC 1:2: assumed throughout, for nobody has measured this electrolyte.


ELECTROLYTE: Final = {
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
}

PROPORTIONAL_CONDUCTIVITY: Final = {
    "conductivity_curve": Leaf(
        "proportional", "word", None, "assumed", "the paper's linear calibration of current against concentration (E1)"
    )
}


# -- The vessel and the potentiostat: the paper shows neither.


VESSEL: Final = {
    "bath_depth": Leaf(5.0, "mm", None, "assumed", "room for 2.6 mm of travel below a counter"),
    "reference_height": Leaf(4.0, "mm", None, "assumed", "where the Li reference feels the bath"),
    "disk_radius": Leaf(float("inf"), "m", None, "assumed", "inf: slab; 3.99 mm is the disk of 0.50 cm²"),
    "facing": Leaf("up", "word", None, "assumed", "the pipette comes from above"),
    "counter": Leaf("above", "word", None, "assumed", "'above': parallel to the specimen; 'side': vertical"),
    "response_time": Leaf(0.1, "ms", None, "assumed", "1/(2π bandwidth); TM-3000 not stated"),
}


# -- Graphite: constants, and the kinetics nobody has measured for this electrode.


GRAPHITE: Final = {
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
}


# -- The film on graphite: orders of magnitude, for no film of this electrode and electrolyte has been measured.


FILM: Final = {
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
