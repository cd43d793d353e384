"""The specimen (the battery electrode) and the electrolyte over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from opsicm.core.units import factor, to_si
from opsicm.experiment.hop_parameters import APPROACH_UM
from opsicm.experiment.refusal import Refusal
from opsicm.experiment.step_model import FileModel, Number, Potential, Text


class SpecimenSettings(FileModel):
    """The electrode under the probe; `parameters` names a parameter set or a file of one."""

    display_name: ClassVar[str] = "specimen"
    area_cm2: Annotated[Number, Field(ge=1e-6, le=1000)] = 0.5
    thickness_um: Annotated[Number, Field(ge=1e-3, le=10_000)] = 28.0
    loading_mg_cm2: Annotated[Number, Field(ge=1e-6, le=1000)] = 4.4
    parameters: Text = "graphite-li-ec-dec"

    @property
    def area(self) -> float:
        """Geometric area [m²]."""
        return to_si("area_cm2", self.area_cm2)

    @property
    def thickness(self) -> float:
        """Thickness of the coating [m]."""
        return to_si("thickness_um", self.thickness_um)

    @property
    def loading(self) -> float:
        """Mass of the coating per area [kg/m²]."""
        return to_si("loading_mg_cm2", self.loading_mg_cm2)


class ElectrolyteSettings(FileModel):
    """The bath."""

    display_name: ClassVar[str] = "electrolyte"
    salt_M: Annotated[Number, Field(ge=1e-6, le=10)] = 1.0

    @property
    def salt(self) -> float:
        """Salt concentration [mol/m³]."""
        return self.salt_M * factor("M")


# -- What is kept of each sampled channel: every sample (`full`), a summary (`decimated`) or nothing (`off`).


Policy = Literal["full", "decimated", "off"]


class RecordingPolicies(FileModel):
    """One policy a channel. Heights are found again from the current and z alone, so these are kept in full.

    The others stand in the slow rows and in every hop's record; they are sampled where an experiment asks for it.
    """

    display_name: ClassVar[str] = "record"
    pipette_current: Policy = "full"
    z: Policy = "full"
    z_command: Policy = "off"
    pipette_bias: Policy = "off"
    cell_potential: Policy = "off"
    cell_current: Policy = "off"
    x: Policy = "off"
    y: Policy = "off"

    def policy(self, channel: str) -> Policy:
        """The policy of a channel by its name; a channel that no experiment can name is kept in full."""
        chosen: Policy = getattr(self, channel, "full") if channel in type(self).model_fields else "full"
        return chosen


# -- The pipette of an experiment: its shape and its bias.


class PipetteShape(FileModel):
    """Shape of the tip: inner radius, outer over inner radius, inner half-cone angle, length of the cone."""

    radius_nm: Annotated[Number, Field(ge=1, le=50_000)] = 50.0
    wall: Annotated[Number, Field(gt=1, le=20)] = 1.5
    cone_deg: Annotated[Number, Field(ge=0.01, lt=60)] = 3.0
    length_um: Annotated[Number, Field(ge=0.01, le=100_000)] = 20.0

    @property
    def radius(self) -> float:
        """Inner radius of the aperture [m]."""
        return to_si("radius_nm", self.radius_nm)

    @property
    def cone_angle(self) -> float:
        """Inner half-cone angle [rad]."""
        return to_si("cone_deg", self.cone_deg)

    @property
    def length(self) -> float:
        """Length of the cone [m]."""
        return to_si("length_um", self.length_um)


class PipetteSettings(PipetteShape):
    """A pipette in use: `bias_V` is V_tip against Li/Li⁺, not the amplifier's command.

    `fill_M` is the salt in the pipette; None is the bath's own, as in every experiment but a calibration.
    """

    display_name: ClassVar[str] = "pipette"
    bias_V: Annotated[Number, Field(ge=-2, le=2, examples=[0.7])]
    fill_M: Annotated[Number, Field(ge=1e-6, le=10)] | None = None

    @property
    def bias(self) -> float:
        """Bias of the pipette against Li/Li⁺ [V]."""
        return self.bias_V

    def fill(self, bath: float) -> float:
        """Salt concentration in the pipette [mol/m³], that of the `bath` where nothing else is said."""
        return bath if self.fill_M is None else self.fill_M * factor("M")


# -- The envelope: what the rig may never leave. `check` holds the plan against it, the watchdog the run.


_PAIR = 2

READABLE: Final = 0.1e-9  # [A] below this a pipette is held near zero bias on purpose
COLLAPSED: Final = 0.1  # of the usual far current: less is a touch or a clog, and a run stops


class Envelope(FileModel):
    """Limits of a run. Currents are magnitudes: 20 allows −20 to +20.

    `approach_um` is how far one fall may go below the height where it began, `run_h` how long the run may last,
    `bias_mV` by how much the pipette wire may miss its potential against lithium.
    """

    cell_V: tuple[Potential, Potential] = (-0.05, 2.0)
    cell_mA: Annotated[Number, Field(gt=0, le=10_000)] = 20.0
    approach_um: Annotated[Number, Field(gt=APPROACH_UM[0], le=APPROACH_UM[1])] = 5.0
    pipette_nA: Annotated[Number, Field(gt=0, le=10_000)] = 20.0
    run_h: Annotated[Number, Field(gt=0, le=10_000)] = 100.0
    bias_mV: Annotated[Number, Field(gt=0, le=10_000)] = 100.0

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The range of potentials goes upwards."""
        pair: Sequence[float] = given.get("cell_V") or ()
        if len(pair) == _PAIR and not pair[0] < pair[1]:
            remedy = f"write the lower one first, as [{min(pair):g}, {max(pair):g}]"
            yield Refusal(("cell_V",), list(pair), "the first potential must be below the second", remedy)

    @property
    def cell_current(self) -> float:
        """Largest magnitude of the cell current [A]."""
        return to_si("cell_mA", self.cell_mA)

    @property
    def approach(self) -> float:
        """Farthest that one fall may go down [m]."""
        return to_si("approach_um", self.approach_um)

    @property
    def pipette_current(self) -> float:
        """Largest magnitude of the pipette current [A]."""
        return to_si("pipette_nA", self.pipette_nA)

    @property
    def duration(self) -> float:
        """Longest run [s]."""
        return to_si("run_h", self.run_h)

    @property
    def bias_residual(self) -> float:
        """Largest magnitude by which the pipette wire may miss its potential [V]."""
        return to_si("bias_mV", self.bias_mV)
