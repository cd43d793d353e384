"""Natural convection in the bath, as a multiplier of the salt's diffusivity.

An unstable layer (light liquid under heavy) of depletion Δc and thickness ℓ = ∫(c_mid − c)dz/Δc has the Rayleigh number
Ra = g (dρ/dc) Δc ℓ³ / (μ D). Below `RA_ONSET` it only diffuses. Above, plumes take over and hold it where Ra is
`RA_STEADY`: with D·(1 + (z/δ)³) the steady layer has ℓ = δ = (RA_STEADY μ D / (g (dρ/dc) Δc))^(1/3) and
Δc = 1.209 δ N/D, so δ ∝ |i|^(−1/4). The three numbers were read off the run at 0.4 mA/cm² of the 2-D Boussinesq solver
in oracles/convection_reference.py; its other currents were not used.

A stable layer over a disk slides off its edge. Over a floor that goes on, flow g′ℓ³/(3νa) balances diffusion D/ℓ² where
(g (dρ/dc)/(μ D)) Δc ℓ⁵/a² is a number, `RUN_OFF`: with the same D·(1 + (z/δ)³), δ ∝ (a²/Δc)^(1/5) and Δc ∝ |i|^(5/6).
What in truth leaves the column sideways goes up here and mixes with the bath over it, so that the column keeps its
salt. In a vessel the floor fills up: 1/δ³ is multiplied by (1 − a²/V²)². `RUN_OFF` was read off the run at 0.4 mA/cm²
of oracles/run_off_reference.py, the power of the wall off the one at V = 6 mm; other currents and walls were not used.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.core.constants import STANDARD_GRAVITY
from opsicm.physics.cell.parameters import CellParameters

Floats = NDArray[np.float64]

RA_ONSET: Final = 290.0  # [1]
RA_STEADY: Final = 59.0  # [1]
RUN_OFF: Final = 75.0  # [1]
GROWTH: Final = 0.15  # [1] time in which plumes take over, in units of ℓ²/D
_FADE: Final = 0.1  # [1] a layer this far below RA_STEADY has lost its plumes

# Places in the convection vector: constants, then state.
(ON, BUOYANCY, D_REST, FACING, COUNTER_ABOVE, DEPTH, SLIDING, LAST_TIME, AT_SPECIMEN, AT_COUNTER) = range(10)
CONVECTION_SIZE: Final = 10


def convection_vector(parameters: CellParameters, on: bool) -> Floats:
    """Constants and resting state for `mixing_factors`; `BUOYANCY` = g (dρ/dc)/(μ D) [m⁻³ (mol/m³)⁻¹].

    `SLIDING` is what Δc^(3/5) is multiplied by to give 1/δ³ of a layer that runs off; 0 for a slab.
    """
    e = parameters.electrolyte
    D = float(e.diffusivity(e.concentration))
    vector = np.zeros(CONVECTION_SIZE)
    vector[ON], vector[D_REST], vector[DEPTH] = float(on), D, parameters.bath_depth
    vector[BUOYANCY] = STANDARD_GRAVITY * parameters.density_slope / (parameters.viscosity * D)
    vector[FACING], vector[COUNTER_ABOVE] = parameters.facing, parameters.counter_above
    if np.isfinite(parameters.disk_radius):
        free = 1.0 - (parameters.disk_radius / parameters.vessel_radius) ** 2
        vector[SLIDING] = free**2 * (vector[BUOYANCY] / (RUN_OFF * parameters.disk_radius**2)) ** 0.6
    return vector


@compiled
def layer(c: Floats, faces: Floats, first: int, from_top: bool) -> tuple[float, float]:
    """(Δc, ℓ): how far the salt at an electrode lies below that at mid-depth [mol/m³], and over what thickness [m]."""
    n = c.size
    depth = faces[n]
    middle = first
    while faces[middle + 1] < 0.5 * depth:
        middle += 1
    reference = c[middle]
    end = c[n - 1] if from_top else c[first]
    contrast = reference - end
    if abs(contrast) < 1e-9:
        return 0.0, 0.0
    total = 0.0
    start, stop = (middle, n) if from_top else (first, middle)
    for k in range(start, stop):
        total += (reference - c[k]) * (faces[k + 1] - faces[k])
    return contrast, max(total / contrast, 0.0)


@compiled
def plumes(share: float, elapsed: float, unstable: float, thickness: float, convection: Floats) -> float:
    """Share of the layer that plumes feed after `elapsed` [s]: grows past the onset, fades when too thin or stable."""
    rayleigh = convection[BUOYANCY] * max(unstable, 0.0) * thickness**3
    time = max(GROWTH * thickness * thickness / convection[D_REST], 1.0)
    if rayleigh > RA_ONSET or (share > 0.01 and rayleigh > _FADE * RA_STEADY):
        return 1.0 - (1.0 - share) * float(np.exp(-elapsed / time))
    return share * float(np.exp(-elapsed / time))


@compiled
def mixing_factors(time: float, c: Floats, faces: Floats, convection: Floats, first: int, mixing: Floats) -> None:
    """Multipliers of D at the faces into `mixing` [n + 1]; all 1 while switched off, or stable in a slab.

    A specimen that faces up is unstable when depleted (lithiation), one that faces down when enriched; a parallel
    counter is its mirror image, and each one's plumes stop at the other's wall. A counter at the side convects at any
    current: it stirs the half of the bath that is away from the specimen and is assumed not to reach nearer.
    """
    mixing[:] = 1.0
    if convection[ON] == 0.0:
        return
    elapsed = time - convection[LAST_TIME]
    convection[LAST_TIME] = time
    contrast, thickness = layer(c, faces, first, False)
    unstable = convection[FACING] * contrast
    convection[AT_SPECIMEN] = plumes(convection[AT_SPECIMEN], elapsed, unstable, thickness, convection)
    near = convection[AT_SPECIMEN] * convection[BUOYANCY] * max(unstable, 0.0) / RA_STEADY
    sliding = convection[SLIDING] * max(-unstable, 0.0) ** 0.6 if convection[SLIDING] > 0.0 else 0.0
    contrast, thickness = layer(c, faces, first, True)
    above = convection[COUNTER_ABOVE] > 0.0
    unstable = -convection[FACING] * contrast if above else abs(contrast)
    convection[AT_COUNTER] = plumes(convection[AT_COUNTER], elapsed, unstable, thickness, convection)
    far = convection[AT_COUNTER] * convection[BUOYANCY] * max(unstable, 0.0) / RA_STEADY
    for k in range(first + 1, c.size):
        z, up = faces[k], convection[DEPTH] - faces[k]
        if above:
            mixing[k] = 1.0 + max(near, far) * min(z, up) ** 3
        else:
            mixing[k] = 1.0 + max(near * z**3, far * up**3 if z > up else 0.0)
        if sliding > 0.0:
            mixing[k] = max(mixing[k], 1.0 + sliding * z**3)
