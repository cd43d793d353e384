"""Example 31: natural convection sets in above lithiating graphite, and holds the depletion where it is.

The closure in the cell against the 2-D Boussinesq solver (oracles/convection_reference.py) and against diffusion alone,
for 0.2, 0.4, 0.8 and 2 mA/cm². Until the onset all three agree: a pulse of 120 s at 0.8 mA/cm² does not notice. The
solver's two other signs, delithiation facing up and lithiation facing down, are stable and follow diffusion.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.core.constants import FARADAY
from opsicm.experiment.parameter_file import parameter_set
from opsicm.figures.colours import Role
from opsicm.figures.draw import draw, png
from opsicm.figures.view import Axis, CurvePanel, Series, View
from opsicm.physics.cell.cell import Cell, Terms

REFERENCE = Path(__file__).parents[2] / "tests/physics/data/convection_reference.npz"
SHOWN: Final = 1800.0  # [s]
CURRENTS: Final[dict[str, Role]] = {"0.2": "height", "0.4": "pipette", "0.8": "cell", "2.0": "neutral"}
# As in the reference: constant D and an electrode without end.
SET = parameter_set().with_leaves(
    {"diffusivity_slope": 0.0, "loading": 10.0, "double_layer_capacitance": 0.0, "sei_rate": 0.0}
)


def main(target: Path) -> None:
    """Draw, and print plateau against plateau."""
    stored = np.load(REFERENCE)
    p = SET.values
    lines = []
    worst = 0.0
    for name, role in CURRENTS.items():
        time, truth = stored[f"mA_cm2_{name}_time_s"], stored[f"mA_cm2_{name}_depletion"]
        density = 10.0 * float(name)
        cell = Cell(p, initial_potential=0.2, terms=Terms(convection=True), pore_cells=0)
        cell.set_current(-density * p.area)
        depletion = 1000.0 - cell.record(5.0, int(time[-1] / 5.0), [0.0]).concentration[:, 0]
        own_time = 5.0 * np.arange(1, depletion.size + 1)
        flux = (1.0 - p.electrolyte.transference) * density / FARADAY
        early = time[time < 600.0]
        diffusion = 2.0 * flux * np.sqrt(early / (np.pi * 2.6e-10))
        lines += [
            Series(f"{name} mA/cm²: closure", own_time[own_time < SHOWN] / 60.0, depletion[own_time < SHOWN], role),
            Series("2-D flow", time[time < SHOWN] / 60.0, truth[time < SHOWN], role, "points"),
            Series("diffusion", early / 60.0, diffusion, role, "dashed"),
        ]
        late, own_late = truth[time > 0.5 * time[-1]].mean(), depletion[own_time > 0.5 * time[-1]].mean()
        worst = max(worst, abs(own_late / late - 1.0))
        sys.stdout.write(f"{name} mA/cm²: plateau {own_late:.1f} mM, 2-D flow {late:.1f} mM\n")
    y = Axis("salt depletion at the specimen", "mM")
    panel = CurvePanel(Axis("time", "min"), y, tuple(lines), "lithiation, facing up")
    target.write_bytes(png(draw(View("convection_onset", "Onset of natural convection", (panel,)))))
    assert worst < 0.2


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ex31_convection_onset.png"))
