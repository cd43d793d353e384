"""The pipette far from any surface: its conductance and what opposes its potential, in the salt around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.pipette.ion_current import conductances_from_table


@dataclass(frozen=True, slots=True)
class FarPipette:
    """`geometric_resistance` R·kappa [1/m], kappa(c) [S/m] as a table, c inside [mol/m³], and U [V].

    Bath and fill make a reversal potential U ln(c_in/c_ref) between two equal electrodes: `junction` is that U, which
    depends on what the electrodes are (`physics.ion_current.junction_potential`).
    """

    geometric_resistance: float
    kappa_table: NDArray[np.float64]
    inside: float
    junction: float

    def conductance_and_offset(
        self, concentration: NDArray[np.float64], ohmic_drop: NDArray[np.float64]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(conductances [S], opposing potentials [V]) at heights with this salt [mol/m³] and ohmic drop [V] outside.

        Both have the heights in their first rows and the reference electrode in their last.
        """
        conductance = conductances_from_table(
            self.geometric_resistance, self.kappa_table, self.inside, concentration[:-1].ravel()
        )
        junction = self.junction * np.log(self.inside / concentration[-1])
        return tuple(conductance.tolist()), tuple((ohmic_drop[:-1].ravel() + junction).tolist())
