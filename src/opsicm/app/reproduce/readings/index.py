"""Which reader reads which experiment."""

from __future__ import annotations

from typing import Final

from opsicm.app.reproduce.readings import currents, heights, images, pipettes, towers, voltammograms
from opsicm.app.reproduce.readings.reading import Reader

READERS: Final[dict[str, Reader]] = {
    "E1": pipettes.calibration,
    "E2": voltammograms.distances,
    "E3": voltammograms.rates,
    "E4": currents.constant_current,
    "E5": currents.titration,
    "E6": images.held_potentials,
    "E7": images.charged_and_discharged,
    "E8": images.step_edge,
    "E9": heights.one_point,
    "E10": heights.one_line,
    "E11": towers.tower,
    "E12": pipettes.pipettes,
}
