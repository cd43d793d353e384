"""An electrode material as data: its open-circuit curve, how it swells, its stages, what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.materials.open_circuit import open_circuit_potential, stoichiometry_at

Floats = NDArray[np.float64]
UNKNOWN: Final = np.array([[0.0, np.nan], [1.0, np.nan]])
"""Swelling rows of a material whose swelling nobody has stated: every volume is NaN, no number that looks right."""
STILL: Final = np.array([[0.0, 0.0], [1.0, 0.0]])
"""Swelling rows of an electrode that is said not to swell."""

TURN: Final = 0.02
"""Change of x [1] over which a loop turns, where nobody has stated it."""


@dataclass(frozen=True, eq=False)
class Material:
    """A host for lithium, x in 0–1 of its sites filled.

    `ocp` are rows of `open_circuit.ocp_curve`; `swelling` rows (x, (V − V₀)/V₀) [n, 2] with x rising, straight between
    them and constant beyond, V₀ any fixed volume, None where nobody has stated it; `stages` named compositions in
    order of x, empty for a solid solution; `density` [kg/m³]; `specific_capacity` [C/kg] between x = 0 and 1. Curves
    hold, and the host stays one, within `stoichiometry_range`. `ocp` is the middle of a loop whose branches lie
    `hysteresis` [V] above it on delithiation and below it on lithiation, at every x; after `hysteresis_turn` [1] of x
    1/e of the way from one to the other is left.
    """

    name: str
    formula: str
    ocp: Floats
    swelling: Floats | None
    stages: tuple[tuple[str, float], ...]
    density: float
    specific_capacity: float
    stoichiometry_range: tuple[float, float] = (0.0, 1.0)
    hysteresis: float = 0.0
    hysteresis_turn: float = TURN

    def __post_init__(self) -> None:
        problems = [
            Problem(name, f"{value:g}", "it is positive", "check its sign and its unit")
            for name, value in (("solid_density", self.density), ("specific_capacity", self.specific_capacity))
            if not value > 0.0
        ]
        if not self.hysteresis >= 0.0:
            limit = "half of the gap is not negative: delithiation is the upper branch"
            problems.append(Problem("open_circuit_hysteresis", f"{self.hysteresis:g} V", limit, "check its sign"))
        if not self.hysteresis_turn > 0.0:
            value, limit = f"{self.hysteresis_turn:g}", "the change of x that turns it is positive"
            problems.append(Problem("open_circuit_hysteresis_turn", value, limit, "check its sign and its unit"))
        low, high = self.stoichiometry_range
        if not 0.0 <= low < high <= 1.0:
            limit = "the range of x lies within 0–1, its lower end first"
            problems.append(Problem("lowest_stoichiometry", f"{low:g}, highest {high:g}", limit, "correct one of them"))
        if self.swelling is not None and not (self.swelling.shape[0] > 1 and np.all(np.diff(self.swelling[:, 0]) > 0)):
            rows = f"{self.swelling.shape[0]} rows"
            problems.append(Problem("swelling", rows, "two rows at least, x rising strictly", "sort the table"))
        x = [x for _, x in self.stages]
        if x != sorted(set(x)) or any(not 0.0 <= value <= 1.0 for value in x):
            problems.append(Problem("stages", str(x), "their x rises within 0–1", "put them in order"))
        if problems:
            raise OutsideDomain(problems)

    def open_circuit_potential(self, x: ArrayLike) -> Floats:
        """U [V vs Li/Li⁺] at stoichiometry `x` in (0, 1), any shape."""
        return open_circuit_potential(x, self.ocp)

    def stoichiometry_at(self, potential: float) -> float:
        """x at rest at `potential` [V vs Li/Li⁺]; raises where the curve does not reach or is not known."""
        x = stoichiometry_at(potential, self.ocp)
        low, high = self.stoichiometry_range
        if not low <= x <= high:
            limit = f"{self.name} would rest at x = {x:.3f}, and its curve is known for x = {low:g} … {high:g}"
            raise OutsideDomain(Problem("rest potential", f"{potential:g} V", limit, "choose a potential inside"))
        return x

    def volume_change(self, x: ArrayLike) -> Floats:
        """(V − V₀)/V₀ [1] at stoichiometry `x`, any shape; NaN where the swelling is not known."""
        rows = UNKNOWN if self.swelling is None else self.swelling
        return np.asarray(np.interp(np.asarray(x, dtype=np.float64), rows[:, 0], rows[:, 1]))

    def stage_fractions(self, x: ArrayLike) -> Floats:
        """Fraction of each of `stages` [n, *x.shape] by the lever rule between neighbours; they sum to 1.

        Fails in a solid solution, which it calls a mixture, and where stages form late and leave late (Dahn, Phys. Rev.
        B 44 (1991) 9170).
        """
        points = np.asarray(x, dtype=np.float64)
        if points.size and not (points.min() >= 0.0 and points.max() <= 1.0):
            value = f"{points.min():g} … {points.max():g}"
            raise OutsideDomain(Problem("stoichiometry", value, "it lies in 0–1", "clip it"))
        nodes = [x for _, x in self.stages]
        return np.stack([np.interp(points, nodes, row) for row in np.eye(len(nodes))])


@compiled
def volume_change_at(x: float, swelling: Floats) -> float:
    """(V − V₀)/V₀ [1] at stoichiometry `x` on rows of `Material.swelling`; the end values beyond them."""
    if x <= swelling[0, 0]:
        return float(swelling[0, 1])
    for k in range(1, swelling.shape[0]):
        if x <= swelling[k, 0]:
            s = (x - swelling[k - 1, 0]) / (swelling[k, 0] - swelling[k - 1, 0])
            return float(swelling[k - 1, 1] + s * (swelling[k, 1] - swelling[k - 1, 1]))
    return float(swelling[-1, 1])


@compiled
def mean_volume_change(x: Floats, shares: Floats, swelling: Floats) -> float:
    """Σ share·v(x) over the shells of a particle; `shares` (first x.size entries) sum to 1."""
    total = 0.0
    for k in range(x.size):
        total += shares[k] * volume_change_at(x[k], swelling)
    return total
