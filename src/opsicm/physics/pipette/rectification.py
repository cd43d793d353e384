"""What charge on the glass does to the current: more in one direction of the bias, less in the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.constants import FARADAY, GAS_CONSTANT
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.pipette.electroosmosis import LARGEST_PECLET
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance

F64 = NDArray[np.float64]
LARGEST: Final = 0.3  # [1] of Du V F/RT: the salt in the mouth then differs by a tenth from that outside


@dataclass(frozen=True, slots=True)
class GlassCharge:
    """What a charged wall does: `peclet_per_volt` [1/V] of the flow that its `zeta` [V] drives, `charge` [C/m²] that
    rectifies.

    Of a `pipette` in a salt of `transference` t+ [1] at `temperature` [K].
    """

    pipette: Pipette
    zeta: float
    peclet_per_volt: float
    charge: float
    transference: float
    temperature: float

    @property
    def largest_flow_bias(self) -> float:
        """The bias [V] of either sign up to which `flow_conductance` describes this glass."""
        return LARGEST_PECLET / abs(self.peclet_per_volt) if self.peclet_per_volt else math.inf

    def largest_charge_bias(self, concentration: float) -> float:
        """The bias [V] of either sign up to which `charge_factor` holds in salt of `concentration` [mol/m³]."""
        dukhin = abs(float(dukhin_number(self.charge, concentration, self.pipette.radius)))
        return LARGEST * GAS_CONSTANT * self.temperature / (FARADAY * dukhin) if dukhin else math.inf


def dukhin_number(charge: float, concentration: ArrayLike, radius: float) -> F64:
    """Du [1] = sigma/(F c a): `charge` sigma [C/m²] of the glass over the salt [mol/m³] in a mouth of `radius` [m]."""
    return np.asarray(charge / (FARADAY * np.asarray(concentration, dtype=np.float64) * radius))


def charge_factor(bias: ArrayLike, dukhin: ArrayLike, pipette: Pipette, transference: float, temperature: float) -> F64:
    """G/G_0 [1] of a charged tip over an uncharged one at `bias` V [V] across it; shapes broadcast.

        G/G_0 = 1 + Du (k V F/RT + b)
        k = (U² (2 (1 - s³)/3 - s (1 - s²)) - x/2) / (2 cos theta),   b = (1 - 2 t+) x / (2 cos theta)
        x = U (1 - s²),   U = 1/(pi a tan theta R_geo),   s = a/(a + L tan theta)

    First order in `dukhin` Du: the wall's charge, spread over each cross-section, is a fixed charge 2 sigma/(F R) in
    the Nernst-Planck equations of the mean (White & Bund, Langmuir 2008, 24, 2212, solve the whole of it). The fixed
    charge drags salt into the tip or out of it, in proportion to the bias: that is k; b is the counter-ion's excess.
    Negative glass (Du < 0) lets less through while the pipette is positive. `transference` t+ [1], `temperature` [K].
    Assumes the same salt inside and outside, a thin double layer, steady state, no flow, no surface near, no charge on
    the rim and the outer wall. Glass that is charged there too rectifies more: `solve_pnp` with charge everywhere finds
    1/0.85 of what this gives at 1 M, 50 nm and 3°, the same at 5, 20 and 50 mC/m², and 1/1.01 of it with charge inside
    only. So it is 15 % low for a pipette of one glass. Fails beyond |Du V F/RT| = 0.3 (refused), and in digits at 1 M,
    where the double layer is as thick as an ion. Derived in docs/explanations/pipette.md, section 6.
    """
    scaled = np.asarray(bias, dtype=np.float64) * FARADAY / (GAS_CONSTANT * temperature)
    strength = np.asarray(dukhin, dtype=np.float64)
    worst = float(np.max(np.abs(strength * scaled), initial=0.0))
    if worst > LARGEST:
        limit = f"the rectification is known to first order, up to {LARGEST:g}"
        raise OutsideDomain(Problem("|Du V F/RT|", f"{worst:.3g}", limit, "use less charge, more salt or a wider tip"))
    k, b = _rectification(pipette, transference)
    return np.asarray(1.0 + strength * (k * scaled + b))


@lru_cache(64)  # of the pipette alone, and asked for at every row of a run
def _rectification(pipette: Pipette, transference: float) -> tuple[float, float]:
    """k and b [1] of `charge_factor`."""
    a, tangent = pipette.radius, math.tan(pipette.cone_angle)
    U = 1.0 / (math.pi * a * tangent * geometric_resistance(pipette))
    s = a / (a + pipette.length * tangent)
    x = U * (1.0 - s**2)
    k = 0.5 * (U**2 * (2.0 * (1.0 - s**3) / 3.0 - s * (1.0 - s**2)) - 0.5 * x) / math.cos(pipette.cone_angle)
    return k, 0.5 * (1.0 - 2.0 * transference) * x / math.cos(pipette.cone_angle)
