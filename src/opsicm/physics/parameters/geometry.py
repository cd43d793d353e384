"""The vessel and the potentiostat: the paper shows neither."""

from __future__ import annotations

from typing import Final

from opsicm.physics.parameters.leaf import Leaf

LEAVES: Final = {
    "bath_depth": Leaf(5.0, "mm", None, "assumed", "room for 2.6 mm of travel below a counter"),
    "reference_height": Leaf(4.0, "mm", None, "assumed", "where the Li reference feels the bath"),
    "disk_radius": Leaf(float("inf"), "m", None, "assumed", "inf: slab; 3.99 mm is the disk of 0.50 cm²"),
    "facing": Leaf("up", "word", None, "assumed", "the pipette comes from above"),
    "counter": Leaf("above", "word", None, "assumed", "'above': parallel to the specimen; 'side': vertical"),
    "response_time": Leaf(0.1, "ms", None, "assumed", "1/(2π bandwidth); TM-3000 not stated"),
}
