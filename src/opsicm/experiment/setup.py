"""The setup of an experiment: specimen, electrolyte, pipette, what is recorded, and the envelope of limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from opsicm.core.calibration import USUAL
from opsicm.core.units import factor, to_si
from opsicm.experiment.hop_parameters import APPROACH_UM
from opsicm.experiment.refusal import Refusal
from opsicm.experiment.step_model import FileModel, Number, Potential, Text


class SpecimenSettings(FileModel):
    """The electrode under the probe; `parameters` names a parameter set or a file of one.

    `area_u_pct` and `thickness_u_pct` are standard uncertainties; the defaults are those of a punched coating.
    `rest_V` is where it rests before the run, which the rig file states otherwise.
    """

    display_name: ClassVar[str] = "specimen"
    area_cm2: Annotated[Number, Field(ge=1e-6, le=1000)] = 0.5
    thickness_um: Annotated[Number, Field(ge=1e-3, le=10_000)] = 28.0
    loading_mg_cm2: Annotated[Number, Field(ge=1e-6, le=1000)] = 4.4
    area_u_pct: Annotated[Number, Field(ge=0, le=100)] = 100.0 * USUAL.area
    thickness_u_pct: Annotated[Number, Field(ge=0, le=100)] = 100.0 * USUAL.thickness
    parameters: Text = "graphite-li-ec-dec"
    rest_V: Annotated[Number, Field(ge=-1, le=5)] | None = None

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
    """One policy per channel. Heights can be recalculated from the current and z, so these two are kept in full.

    The other channels are in the slow rows and in every hop's record; they are sampled where an experiment says so.
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
        """The policy of a channel by its name; `full` for a channel that is not a key of the file."""
        chosen: Policy = getattr(self, channel, "full") if channel in type(self).model_fields else "full"
        return chosen


# -- The pipette: its shape and its bias.


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
        """Salt concentration in the pipette [mol/m³]: `fill_M`, or that of the `bath`."""
        return bath if self.fill_M is None else self.fill_M * factor("M")


# -- The envelope: `check` compares the plan with it, the runner the run.

READABLE: Final = 0.1e-9  # [A] a smaller far current means that the bias is near zero on purpose
COLLAPSED: Final = 0.1  # of the first far current: less is a touch or a clog, and a run stops


class Envelope(FileModel):
    """Limits of a run. Currents are magnitudes: 20 allows −20 to +20.

    `approach_um` is the longest approach below the height where it began, `run_h` the longest duration of the run,
    `bias_mV` the largest deviation of the pipette electrode from its potential against lithium: of any hop, and for
    longer than 1.5 s of anything else. A current that reaches its cut-off lets the potential jump at an instant that
    nobody knows before; hops wait for it at the top, and a reading that shows the jump is noted.
    """

    cell_V: tuple[Potential, Potential] = (-0.05, 2.0)
    cell_mA: Annotated[Number, Field(gt=0, le=10_000)] = 20.0
    approach_um: Annotated[Number, Field(gt=APPROACH_UM[0], le=APPROACH_UM[1])] = 5.0
    pipette_nA: Annotated[Number, Field(gt=0, le=10_000)] = 20.0
    run_h: Annotated[Number, Field(gt=0, le=10_000)] = 100.0
    bias_mV: Annotated[Number, Field(gt=0, le=10_000)] = 100.0

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The range of potentials is ascending."""
        pair: Sequence[float] = given.get("cell_V") or ()
        if len(pair) == 2 and not pair[0] < pair[1]:
            remedy = f"write the lower one first, as [{min(pair):g}, {max(pair):g}]"
            yield Refusal(("cell_V",), list(pair), "the first potential must be below the second", remedy)

    @property
    def cell_current(self) -> float:
        """Largest magnitude of the cell current [A]."""
        return to_si("cell_mA", self.cell_mA)

    @property
    def approach(self) -> float:
        """Longest approach [m]."""
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
        """Largest magnitude of the pipette electrode's deviation from its potential [V]."""
        return to_si("bias_mV", self.bias_mV)
