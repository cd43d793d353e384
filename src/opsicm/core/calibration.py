"""How well the instruments and the specimen's dimensions are calibrated: what repeating a run does not show.

A calibration moves every value of a kind by one unknown factor (or offset), so it is stated beside the repeatability
and never mixed into it, and it cancels in ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

from opsicm.core.errors import OutsideDomain, Problem


@dataclass(frozen=True, slots=True)
class Calibration:
    """Standard uncertainties (k = 1): relative ones [1], and that of the cell's potential [V].

    The defaults are what makers state or users reach, not measurements of this rig: a piezo calibrated on a grating is
    known to about 1 % in z and x, y; patch-clamp amplifiers and potentiostats state a gain within 0.5 % (`current` is
    the pipette's, `cell_current` the potentiostat's) and a potential within 1 mV; a coating's thickness by micrometer
    screw varies by 5 % from place to place, a punched area is known to 2 %.
    """

    z: float = 0.01
    xy: float = 0.01
    current: float = 0.005
    cell_current: float = 0.005
    potential: float = 1e-3
    thickness: float = 0.05
    area: float = 0.02

    def relative(self, names: tuple[str, ...]) -> float:
        """u [1] of a product of what these names calibrate, independent of one another."""
        return math.hypot(*(getattr(self, name) for name in names))

    def record(self) -> dict[str, float]:
        """The numbers by name, as a run's parameters keep them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


USUAL: Final = Calibration()


def stored_calibration(stored: Any) -> Calibration:
    """The calibration that a run's parameters keep; the defaults where an older run has none."""
    if not isinstance(stored, dict):
        return USUAL
    known = {field.name for field in fields(Calibration)}
    if strange := sorted(set(stored) - known):
        limit = f"a calibration is of {', '.join(sorted(known))}"
        raise OutsideDomain(Problem("calibration", ", ".join(strange), limit, "analyse with the version that wrote it"))
    return Calibration(**{name: float(value) for name, value in stored.items()})
