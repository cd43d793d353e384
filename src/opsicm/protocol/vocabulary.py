"""Words of the experiment file that are fixed already and that this version does not execute yet.

They are no misspellings: a person who writes one is told so, and what can be used instead.
"""

from __future__ import annotations

from typing import Final

from opsicm.protocol.cell_program import CELL_STEPS
from opsicm.protocol.probe_program import PROBE_STEPS

MODELS: Final = {"cell": CELL_STEPS, "probe": PROBE_STEPS}
STEPS: Final = {program: tuple(models) for program, models in MODELS.items()}
LATER_STEPS: Final = {
    "cell": ("ladder", "gitt", "repeat", "conditioning"),
    "probe": ("raster", "tower", "pipette_sweep", "modulate", "engage", "repeat"),
}
NOT_YET: Final = "this version does not execute it yet"

_STEP_REMEDY: Final = "bound the step with during, for_s or a count instead"
# The model that the key would belong to → key → what to do instead. A step is meant by its word.
LATER_KEYS: Final[dict[str, dict[str, str]]] = {
    "experiment": {"vary": "write one file for each value"},
    "twin": {"faults": "delete it"},
    "until": {"soc_pct": "end the step by potential_V, charge_mAh or for_s"},
    "park": {"at": _STEP_REMEDY},
    "hop": {"at": _STEP_REMEDY},
    "line": {"at": _STEP_REMEDY},
}
