"""The specimen (the battery electrode) and the electrolyte over it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opsicm.protocol.frozen import Frozen, Number, Text
from opsicm.units import factor, to_si


class Specimen(Frozen):
    """The electrode under the probe; `parameters` names a parameter set or a file of one."""

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


class Electrolyte(Frozen):
    """The bath."""

    salt_M: Annotated[Number, Field(ge=1e-6, le=10)] = 1.0

    @property
    def salt(self) -> float:
        """Salt concentration [mol/m³]."""
        return self.salt_M * factor("M")
