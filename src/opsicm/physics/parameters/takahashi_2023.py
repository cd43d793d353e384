"""What Takahashi, Takamatsu, Korchev and Fukuma state of their cell: JACS Au 2023, 3, 1089 (10.1021/jacsau.2c00677)."""

from __future__ import annotations

from typing import Final

from opsicm.physics.parameters.leaf import Leaf

_PAPER: Final = "Takahashi et al., JACS Au 2023, 3, 1089, experimental section"

LEAVES: Final = {
    "area": Leaf(0.50, "cm2", None, "literature", _PAPER),
    "thickness": Leaf(28.0, "um", None, "literature", _PAPER),
    "active_fraction": Leaf(0.97, "1", None, "literature", _PAPER + ": 97 wt % graphite, 1 % CMC, 2 % SBR"),
    "concentration": Leaf(1.0, "M", None, "literature", _PAPER + ": LiClO4 in EC:DEC 1:2"),
    "loading": Leaf(
        4.37, "mg/cm2", 0.1, "derived", _PAPER + ": 28 µm × 1.56 g/cm³; the printed 10.2 mg/cm² contradicts both"
    ),
    "porosity": Leaf(
        0.283, "1", 0.03, "derived", _PAPER + ": 1.56 g/cm³ over graphite 2.24, CMC 1.6, SBR 1.0 g/cm³"
    ),
    "swelling_factor": Leaf(
        0.676, "1", 0.05, "derived",
        "volume fraction of graphite, 0.97 × 1.56/2.24: particles grow into thickness, pores keep theirs",
    ),
}  # fmt: skip

# The other reading: the printed loading is right, and then the thickness is not, for 10.2 mg/cm² in 28 µm would be
# denser than graphite.
PRINTED_LOADING: Final = {
    "loading": Leaf(10.2, "mg/cm2", None, "literature", _PAPER + ", as printed (its unit reads 'mg/cm')"),
    "thickness": Leaf(65.4, "um", None, "derived", _PAPER + ": 10.2 mg/cm² over 1.56 g/cm³; the text says 28 µm"),
}
