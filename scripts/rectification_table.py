"""src/opsicm/physics/tables/rectification.npz: what charge on the glass does to a pipette's current, from the PNP solver.

python -m scripts.rectification_table writes it, in about ten minutes; tests/physics/test_rectification.py compares it
with a solver that shares no code.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from opsicm.core.constants import FARADAY
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.pnp import FINENESS, solve_pnp
from opsicm.physics.tables import path_of

_BIAS: Final = np.array([-1.2, -0.9, -0.6, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.6, 0.9, 1.2])  # [V]
_ANGLES: Final = np.radians([2.0, 4.0, 8.0])
_CHARGE: Final = 0.01  # [C/m²], either sign: small enough for a straight line, a thousand times the solver's error
_SALT: Final = 1000.0  # [mol/m³]
_LENGTH: Final = 400.0  # radii: the default pipette's 20 µm


def main() -> None:
    """Solve every (angle, bias) with both charges and without; the change per Dukhin number is the table."""
    fineness = replace(FINENESS, top=_LENGTH)
    change = np.empty((_ANGLES.size, _BIAS.size))
    for row, angle in enumerate(_ANGLES):
        pipette = Pipette(cone_angle=float(angle))
        dukhin = _CHARGE / (FARADAY * _SALT * pipette.radius)
        # Without charge the current is exactly proportional to the bias: the salt is the same everywhere.
        conductance = solve_pnp(pipette, 0.1, _SALT, _SALT, 0.0, fineness=fineness).current / 0.1
        for column, bias in enumerate(_BIAS):
            positive, negative = (
                solve_pnp(pipette, float(bias), _SALT, _SALT, sign * _CHARGE, fineness=fineness).current
                for sign in (1.0, -1.0)
            )
            change[row, column] = (positive - negative) / (2.0 * dukhin * conductance * bias)
        print(f"{math.degrees(angle):g} degrees:", np.round(change[row], 3).tolist(), flush=True)
    np.savez(path_of("rectification"), angle=_ANGLES, bias=_BIAS, change=change)


main()
