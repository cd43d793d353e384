"""The words of the steps, and keys that are fixed already and that this version does not execute yet.

Such a key is no misspelling: a person who writes one is told so, and what can be used instead.
"""

from __future__ import annotations

from typing import Final

from opsicm.protocol.cell_program import CELL_STEPS
from opsicm.protocol.probe_program import PROBE_STEPS

MODELS: Final = {"cell": CELL_STEPS, "probe": PROBE_STEPS}
STEPS: Final = {program: tuple(models) for program, models in MODELS.items()}
NOT_YET: Final = "this version does not execute it yet"

# The model that the key would belong to → key → what to do instead. A step is meant by its word.
LATER_KEYS: Final[dict[str, dict[str, str]]] = {
    "twin": {"faults": "delete it"},
}
