"""The wiring check of a rig file's instruments, with what its experiment says of pipette and solutions."""

from __future__ import annotations

from collections.abc import Callable

from opsicm.cli.rigs import REGISTRY, Prepared
from opsicm.experiment.rig_file import LoadedRig, RoleName
from opsicm.instruments.wiring_check import Finding, bias_steps
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.pipette.ion_current import junction_potential


def is_instrument(loaded: LoadedRig, role: RoleName) -> bool:
    """Whether a role is played by an instrument, and not by a twin, a stored run or an example."""
    return REGISTRY.find(loaded, role, loaded.role(role).driver).real_time


def check_at_start(
    loaded: LoadedRig, prepared: Prepared, specimen: CellParameters
) -> Callable[[], list[Finding]] | None:
    """What a run looks at before anything moves; None where no instrument reads the current or none can move a tip."""
    moving: tuple[RoleName, ...] = ("hop_controller", "scanner", "coarse_stage")
    if not is_instrument(loaded, "amplifier") or not any(is_instrument(loaded, role) for role in moving):
        return None
    return lambda: bias_findings(loaded, prepared, specimen)


def bias_findings(loaded: LoadedRig, prepared: Prepared, specimen: CellParameters) -> list[Finding]:
    """Steps of the bias: no motion, no cell switched on."""
    rig, wiring, pipette = prepared.rig, loaded.rig.wiring, prepared.parameters["pipette"]
    bath = specimen.electrolyte
    reversal = junction_potential(
        pipette["fill_mol_m3"], bath.concentration, bath.temperature, bath.transference, bath.tdf, wiring.electrodes
    )
    # A twin's cell does not share a reference electrode with a real amplifier.
    grounded = wiring.open_cell_grounded and is_instrument(loaded, "potentiostat")
    return bias_steps(
        rig.amplifier, rig.potentiostat, rig.clock, rig.grounding, pipette["resistance_Ohm"], float(reversal), grounded
    )
