"""The pipette far from any surface: what lets its current through and what opposes it, in the salt around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.pipette.electroosmosis import flow_conductance_from_table
from opsicm.physics.pipette.ion_current import conductances_from_table
from opsicm.physics.pipette.memory import TipMemory, lags_along
from opsicm.physics.pipette.rectification import GlassCharge, charge_factor, dukhin_number
from opsicm.twin.trajectory import PipetteTrajectory

Floats = NDArray[np.float64]
INSTANT: Final = TipMemory(np.zeros(0), np.zeros(0))
"""A tip that shows what is outside at once."""


@dataclass(frozen=True, slots=True)
class FarPipette:
    """`geometric_resistance` R·kappa [1/m], kappa(c) [S/m] as a table, c inside [mol/m³], and U [V].

    Bath and fill make a reversal potential U ln(c_in/c_ref) between two equal electrodes: `junction` is that U, which
    depends on what the electrodes are (`physics.ion_current.junction_potential`). With a `memory` the tip shows the
    salt outside as late as it diffuses into the mouth; with a `glass` flow and rectification follow the bias.
    """

    geometric_resistance: float
    kappa_table: Floats
    inside: float
    junction: float
    memory: TipMemory = field(default=INSTANT)
    glass: GlassCharge | None = None

    def salt_and_offset(self, concentration: Floats, ohmic_drop: Floats) -> tuple[Floats, Floats]:
        """(salt outside [mol/m³], opposing potentials [V]) at heights with this salt and ohmic drop [V].

        Both have the heights in their first rows and the reference electrode in their last.
        """
        junction = self.junction * np.log(self.inside / concentration[-1])
        return concentration[:-1].ravel(), ohmic_drop[:-1].ravel() + junction

    def trajectory(self, t_ns: tuple[int, ...], salt: Floats, offset: Floats, lags: Floats) -> PipetteTrajectory:
        """What it shows at `t_ns` [n] of the `salt` outside [n] and `offset` [V, n]; `lags` [k] at the first."""
        if self.memory.time.size:
            behind = lags_along(np.array(t_ns), salt, lags, self.memory.time)
            shown = salt - self.memory.lag(behind)
        else:
            behind, shown = np.zeros((salt.size, 0)), salt
        conductance = conductances_from_table(self.geometric_resistance, self.kappa_table, self.inside, shown)
        return PipetteTrajectory(
            t_ns, tuple(conductance.tolist()), tuple(offset.tolist()), tuple(shown.tolist()), behind
        )

    def current(self, conductance: Floats, salt: Floats, driving: Floats, late: Floats | float) -> Floats:
        """Current [A] driven by `driving` [V]; flow and charge of the wall go by that potential less `late` [V]."""
        if self.glass is None:
            return conductance * driving
        across = driving - late
        if self.glass.peclet_per_volt:
            peclet = self.glass.peclet_per_volt * across
            conductance = flow_conductance_from_table(
                self.geometric_resistance, self.kappa_table, self.inside, salt, peclet
            )
        if self.glass.charge:
            dukhin = dukhin_number(self.glass.charge, salt, self.glass.pipette.radius)
            tip = self.glass.pipette, self.glass.transference, self.glass.temperature
            conductance = conductance * charge_factor(across, dukhin, *tip)
        return conductance * driving
