"""What a cell is made of, in SI: the frozen input of `Cell`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.cell.electrolyte import Electrolyte
from opsicm.physics.cell.sizes import size_classes
from opsicm.physics.materials.material import STILL, UNKNOWN, Material

Floats = NDArray[np.float64]

_POSITIVE: Final = (
    "area",
    "thickness",
    "loading",
    "active_fraction",
    "bath_depth",
    "disk_radius",
    "vessel_radius",
    "particle_diffusivity",
    "particle_radius",
    "exchange_current_density",
    "viscosity",
    "solvent_density",
    "initial_potential",
    "sei_throttle_thickness",
    "sei_charge_per_nm",
)
_NOT_NEGATIVE: Final = (
    "reference_height",
    "reference_offset",
    "particle_radius_spread",
    "film_resistance",
    "double_layer_capacitance",
    "response_time",
    "swelling_factor",
    "irreversible_factor",
    "density_slope",
    "bruggeman",
    "sei_rate",
    "sei_resistance_per_nm",
    "sei_initial_thickness",
    "sei_formed_thickness",
)


@dataclass(frozen=True, eq=False)
class CellParameters:
    """Half cell: a porous specimen of one `material` at z < 0, a bath of `bath_depth`, a Li counter, a Li reference.

    Lengths [m], `loading` [kg/m²] of coating, `disk_radius` inf for a slab, `vessel_radius` inf for no wall,
    `reference_offset` from the axis, `film_resistance` and `exchange_current_density` per particle surface. Half of the
    volume lies below `particle_radius`, and `particle_radius_spread` [1] is the standard deviation of ln R by volume.
    `response_time` [s] of the potentiostat, `facing` 1 for a specimen that looks up and −1 for one that looks down,
    `counter_above` 1 for a counter parallel to it and 0 for one at the side. SEI numbers are per particle surface:
    `sei_rate` [A/m²] at `sei_potential` [V], `sei_charge_per_nm` [C/m²], `sei_resistance_per_nm` [Ω m²].
    `swelling_factor` [1] turns the material's volume change into thickness, `irreversible_factor` [1] the SEI's volume.
    """

    electrolyte: Electrolyte
    material: Material
    area: float
    thickness: float
    loading: float
    active_fraction: float
    porosity: float
    bruggeman: float
    bath_depth: float
    reference_height: float
    disk_radius: float
    reference_offset: float
    vessel_radius: float
    particle_diffusivity: float
    particle_radius: float
    particle_radius_spread: float
    exchange_current_density: float
    film_resistance: float
    double_layer_capacitance: float
    swelling_factor: float
    irreversible_factor: float
    response_time: float
    viscosity: float
    solvent_density: float
    density_slope: float
    facing: float
    counter_above: float
    sei_rate: float
    sei_potential: float
    sei_throttle_thickness: float
    sei_charge_per_nm: float
    sei_resistance_per_nm: float
    sei_initial_thickness: float
    sei_formed_thickness: float
    initial_potential: float

    def __post_init__(self) -> None:
        problems = []
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, float):
                continue
            if np.isnan(value):
                problems.append(Problem(field.name, "not a number", "it is a number", "give a value"))
            elif field.name in _POSITIVE and not value > 0.0:
                problems.append(Problem(field.name, f"{value:g}", "it is positive", "check its sign and its unit"))
            elif field.name in _NOT_NEGATIVE and value < 0.0:
                problems.append(Problem(field.name, f"{value:g}", "it is not negative", "check its sign"))
        if not 0.0 < self.porosity < 1.0:
            problems.append(Problem("porosity", f"{self.porosity:g}", "it lies between 0 and 1", "check the loading"))
        if not self.reference_height <= self.bath_depth:
            limit = f"the bath is {self.bath_depth * 1e3:g} mm deep"
            height = f"{self.reference_height * 1e3:g} mm"
            problems.append(Problem("reference_height", height, limit, "place it at or below the counter"))
        problems += self._misplaced()
        if self.facing not in (-1.0, 1.0) or self.counter_above not in (0.0, 1.0):
            value = f"{self.facing:g}, {self.counter_above:g}"
            problems.append(Problem("facing, counter_above", value, "±1 and 0 or 1", "choose one of them"))
        if problems:
            raise OutsideDomain(problems)

    def _misplaced(self) -> Iterator[Problem]:
        """What cannot stand in this vessel; a slab's wall is that of its own column."""
        slab = bool(np.isinf(self.disk_radius))
        vessel, offset = f"{self.vessel_radius * 1e3:g} mm", f"{self.reference_offset * 1e3:g} mm"
        if not slab and self.vessel_radius < self.disk_radius:
            limit = f"the disk's radius is {self.disk_radius * 1e3:g} mm"
            yield Problem("vessel_radius", vessel, limit, "make it at least that, or open")
        if np.isfinite(self.vessel_radius):
            if slab:
                limit, remedy = "a slab has the wall of its own column", "state disk_radius too, or write open"
                yield Problem("vessel_radius", vessel, limit, remedy)
            if self.counter_above == 0.0:
                limit, remedy = "only a vessel with its counter above is solved", "write counter: above, or open"
                yield Problem("vessel_radius", vessel, limit, remedy)
        wall = float(np.sqrt(self.area / np.pi)) if slab and self.area > 0.0 else self.vessel_radius
        if self.reference_offset > wall:
            limit = f"the wall is {wall * 1e3:.3g} mm from the axis"
            remedy = "bring it within the wall" + (", or state disk_radius" if slab else "")
            yield Problem("reference_offset", offset, limit, remedy)

    @property
    def reference_salt_height(self) -> float:
        """Height [m] over the axis of which the salt is taken as the reference's.

        Over the specimen its own; beside it mid-depth, which a layer at either electrode reaches last: the salt beside
        a disk is not computed.
        """
        beside = np.isfinite(self.disk_radius) and self.reference_offset > self.disk_radius
        return 0.5 * self.bath_depth if beside else self.reference_height

    @property
    def areal_capacity(self) -> float:
        """Charge [C/m²] between x = 0 and 1."""
        return self.loading * self.active_fraction * self.material.specific_capacity

    @property
    def internal_area(self) -> float:
        """Particle surface per specimen area [1]: 3 V⟨1/R⟩ with V = volume of the material per area."""
        per_radius = 3.0 * self.loading * self.active_fraction / self.material.density / self.particle_radius
        return per_radius * float(np.exp(0.5 * self.particle_radius_spread**2))

    @property
    def sizes(self) -> Floats:
        """The classes of particles, rows of `sizes.size_classes`."""
        return size_classes(self.particle_radius, self.particle_radius_spread)

    @property
    def swelling(self) -> Floats:
        """Rows (x, relative volume) for the cell: the material's; still with a `swelling_factor` of 0; else unknown."""
        if self.material.swelling is not None:
            return self.material.swelling
        return STILL if self.swelling_factor == 0.0 else UNKNOWN
