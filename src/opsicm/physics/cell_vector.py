"""The numbers of a cell in the order that the compiled steps read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opsicm.constants import FARADAY, GAS_CONSTANT
from opsicm.physics import cell_step as k
from opsicm.physics.cell_parameters import CellParameters

Floats = NDArray[np.float64]


def parameter_vector(p: CellParameters, pores: bool, tolerance: float) -> Floats:
    """`p` per specimen area, as `cell_step` wants it; without `pores` the coating's own resistance is left out."""
    e = p.electrolyte
    v = np.zeros(k.PARAMETERS_SIZE)
    v[k.P_THERMAL] = GAS_CONSTANT * e.temperature / FARADAY
    v[k.P_TRANSFERENCE], v[k.P_UD] = e.transference, e.diffusion_potential
    v[k.P_AREAL] = p.areal_capacity
    v[k.P_KINETIC] = p.exchange_current_density * p.internal_area
    v[k.P_C_STANDARD] = 1000.0
    v[k.P_FILM] = p.film_resistance / p.internal_area
    v[k.P_CAPACITANCE] = p.double_layer_capacitance * p.internal_area
    v[k.P_PORE_FACTOR] = p.porosity**p.bruggeman
    if pores:
        v[k.P_PORE_R] = p.thickness / (3.0 * v[k.P_PORE_FACTOR] * float(e.conductivity(e.concentration)))
    v[k.P_Z_REFERENCE] = p.reference_height
    v[k.P_SEI_RATE] = p.sei_rate * p.internal_area
    v[k.P_SEI_POTENTIAL], v[k.P_SEI_THICKNESS] = p.sei_potential, p.sei_throttle_thickness
    v[k.P_SEI_VOLUME] = 1e-9 / p.sei_charge_per_nm / p.internal_area
    v[k.P_SEI_RESISTIVITY] = p.sei_resistance_per_nm / 1e-9 / p.internal_area
    v[k.P_TOLERANCE] = tolerance
    return v
