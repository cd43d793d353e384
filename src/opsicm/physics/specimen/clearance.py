"""How near a swelling surface may come to a pipette that stands still: the one rule of `check` and of a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from opsicm.physics.cell.parameters import CellParameters

SHARE: Final = 0.4
"""Of its height above the last contact, how far the surface may come to a pipette that stands still, by the mean
swelling. A single plate swells up to 2.5 times the mean: it then just reaches the tip."""

WITHDRAWN: Final = 50e-6
"""[m] above the expected surface, where a pipette without a task waits: a tenth of a second of a coarse stage, and
twenty times the swelling of a graphite electrode of 28 µm."""


NEAR_ENOUGH: Final = 1e-6
"""[m] sideways, within which a contact tells how high the surface is: less than a flake across."""


def comes_too_near(height: float, rise: float) -> bool:
    """Whether a surface that has risen by `rise` [m] since the last contact may touch a tip `height` [m] above that."""
    return rise > SHARE * max(height, 0.0)


def clear_height(height: float, rise: float) -> float:
    """Height [m] above the last contact of a tip that is to stand `height` [m] over a surface risen by `rise` [m].

    The rise is expected, not measured: where it is large, the tip stays so far up that 1/SHARE times it is clear.
    """
    risen = max(rise, 0.0)
    return max(risen + height, risen / SHARE * (1.0 + 1e-9))


@dataclass(frozen=True)  # no slots: it keeps what it has computed
class ExpectedSwelling:
    """Thickness [m] gained by the electrode, from the charge that has passed: what a run knows of its surface.

        t(Q) = L f v(x_0 - Q/C),   x between 0 and 1

    `parameters` give thickness L [m], swelling factor f [1], capacity C [C] and the material's volume change v(x) [1];
    `rest_potential` [V vs Li/Li⁺] before the run gives x_0. Q [C] is negative where lithium has gone in. Assumes that
    all charge is intercalated evenly and that the height follows the mean volume; the film on the particles, which
    adds a few nanometres, is left out. Zero where nobody has stated how the material swells.
    """

    parameters: CellParameters
    rest_potential: float

    @cached_property  # a run asks at every row
    def _before(self) -> float:
        return self.parameters.material.stoichiometry_at(self.rest_potential)

    def __call__(self, charge: float) -> float:
        """Thickness gained [m] over the swelling curve's reference, when `charge` [C] has passed since the start."""
        p = self.parameters
        if p.material.swelling is None or p.swelling_factor == 0.0:
            return 0.0
        x = min(max(self._before - charge / (p.areal_capacity * p.area), 0.0), 1.0)
        return p.thickness * p.swelling_factor * float(p.material.volume_change(x))
