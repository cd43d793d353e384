"""The pipette of an experiment: its shape and its bias."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opsicm.protocol.frozen import Frozen, Number
from opsicm.units import factor, to_si


class PipetteShape(Frozen):
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


class Pipette(PipetteShape):
    """A pipette in use: `bias_V` is V_tip against Li/Li⁺, not the amplifier's command.

    `fill_M` is the salt in the pipette; None is the bath's own, as in every experiment but a calibration.
    """

    bias_V: Annotated[Number, Field(ge=-2, le=2, examples=[0.7])]
    fill_M: Annotated[Number, Field(ge=1e-6, le=10)] | None = None

    @property
    def bias(self) -> float:
        """Bias of the pipette against Li/Li⁺ [V]."""
        return self.bias_V

    def fill(self, bath: float) -> float:
        """Salt concentration in the pipette [mol/m³], that of the `bath` where nothing else is said."""
        return bath if self.fill_M is None else self.fill_M * factor("M")
