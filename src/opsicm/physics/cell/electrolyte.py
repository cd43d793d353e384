"""A binary salt solution: conductivity and diffusivity against concentration, transference, activity.

Curves of concentration are tables on a grid of 1 mol/m³ that starts at zero, read linearly: any measured curve fits
the same compiled code, and a table of a smooth curve errs by less than 2e-6 of its value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import Akima1DInterpolator

from opsicm.core.compiled import compiled
from opsicm.core.constants import FARADAY, GAS_CONSTANT
from opsicm.core.errors import OutsideDomain, Problem

Floats = NDArray[np.float64]
TABLE_STEP = 1.0  # [mol/m³]; the compiled readers below take it as one
TABLE_END = 3000.0  # [mol/m³]; LiClO4 in carbonates is close to saturation beyond


@compiled
def table_value(c: float, table: Floats) -> float:
    """Read a curve that is sampled every 1 mol/m³ from zero, linearly; held constant outside its range."""
    if c <= 0.0:
        return float(table[0])
    k = int(c)
    if k >= table.size - 1:
        return float(table[-1])
    return float(table[k] + (c - k) * (table[k + 1] - table[k]))


@compiled
def conductivity(c: float, kappa_table: Floats) -> float:
    """Conductivity [S/m] at concentration `c` [mol/m³] from a table of `Electrolyte.kappa_table`."""
    return table_value(c, kappa_table)


@compiled
def diffusivity(c: float, diffusivity_table: Floats) -> float:
    """Salt diffusivity [m²/s] at concentration `c` [mol/m³] from a table of `Electrolyte.diffusivity_table`."""
    return table_value(c, diffusivity_table)


def sampled(concentration: ArrayLike, value: ArrayLike) -> Floats:
    """Put a measured curve (`concentration` [mol/m³], rising strictly, `value`) on the grid; constant beyond its ends.

    Joined by cubics with Akima's slopes in the modified form, each a mean over five points in which steep neighbours
    count less. What the pipette sees of the salt is the slope: straight lines would give it a jump at every measured
    point, most of all at 1 M, and a monotone cubic (PCHIP) none at the highest point, wherever that was measured. On
    five points of LiPF6 in EC:DEC dlnκ/dlnc at 1 M is −0.117 so, −0.122 by the fit of Casteel and Amis, 0 by PCHIP.
    A conductivity has to vanish with the salt: a curve that starts above zero concentration is joined to the origin
    by the caller, who knows whether that holds (it does not for a diffusivity). Two points make a straight line.
    """
    grid = np.arange(0.0, TABLE_END + 0.5 * TABLE_STEP, TABLE_STEP)
    x, y = np.asarray(concentration, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if not np.all(np.diff(x) > 0.0):
        problem = Problem("conductivity_curve", f"{x.size} rows", "concentration rises strictly", "sort the table")
        raise OutsideDomain(problem)
    inside = np.clip(grid, x[0], x[-1])
    return np.asarray(Akima1DInterpolator(x, y, method="makima")(inside), dtype=np.float64)


def conductivity_with_maximum(kappa_1M: float, c_max: float) -> Floats:
    """κ(c) = κ₁ (c/c₁) exp((c₁ − c)/c_max), c₁ = 1 mol/L: linear when dilute, greatest at `c_max` [mol/m³].

    Assumes the shape of carbonate electrolytes (Ding et al., J. Electrochem. Soc. 148 (2001) A1196 show such maxima);
    the shape and both numbers are assumed for LiClO4 in EC:DEC. Fails beyond about 2.5 c_max, where viscosity rules.
    """
    c = np.arange(0.0, TABLE_END + 0.5 * TABLE_STEP, TABLE_STEP)
    return np.asarray(kappa_1M * (c / 1000.0) * np.exp((1000.0 - c) / c_max))


def conductivity_proportional(kappa_1M: float) -> Floats:
    """κ(c) = κ₁ c/c₁, c₁ = 1 mol/L: what a linear calibration of pipette current against concentration implies."""
    c = np.arange(0.0, TABLE_END + 0.5 * TABLE_STEP, TABLE_STEP)
    return np.asarray(kappa_1M * c / 1000.0)


def diffusivity_exponential(D_1M: float, slope: float) -> Floats:
    """D(c) = D₁ exp(−slope (c/c₁ − 1)), c₁ = 1 mol/L; `slope` [1]. Assumed shape, as in Valøen and Reimers 2005."""
    c = np.arange(0.0, TABLE_END + 0.5 * TABLE_STEP, TABLE_STEP)
    return np.asarray(D_1M * np.exp(-slope * (c / 1000.0 - 1.0)))


def _read(c: ArrayLike, table: Floats) -> Floats:
    grid = np.arange(table.size, dtype=np.float64)
    return np.asarray(np.interp(np.asarray(c, dtype=np.float64), grid, table), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Electrolyte:
    """One binary 1:1 salt at rest concentration `concentration` [mol/m³] and `temperature` [K].

    `kappa_table` [S/m] and `diffusivity_table` [m²/s] are sampled every 1 mol/m³ from zero. `transference` is the
    cation's, with respect to the solvent; `tdf` the thermodynamic factor 1 + dln f/dln c; both constant.
    """

    kappa_table: Floats
    diffusivity_table: Floats
    transference: float
    tdf: float
    concentration: float
    temperature: float

    def __post_init__(self) -> None:
        problems = []
        if not 0.0 <= self.transference < 1.0:
            problems.append(
                Problem("transference", f"{self.transference:g}", "it lies in 0 ≤ t+ < 1", "give the cation's")
            )
        if not self.kappa_table[1:].min() > 0.0 or self.kappa_table[0] < 0.0:
            lowest = f"{self.kappa_table.min():g} S/m"
            problems.append(
                Problem("conductivity_curve", lowest, "it is positive where there is salt", "check the curve")
            )
        if not self.diffusivity_table.min() > 0.0:
            lowest = f"{self.diffusivity_table.min():g} m²/s"
            problems.append(Problem("diffusivity_1M", lowest, "it is positive", "check the curve"))
        if not 0.0 < self.concentration <= TABLE_END:
            value = f"{self.concentration:g} mol/m³"
            problems.append(Problem("concentration", value, f"it lies in 0–{TABLE_END:g} mol/m³", "give mol/m³"))
        for thing, number in (("tdf", self.tdf), ("temperature", self.temperature)):
            if not number > 0.0:
                problems.append(Problem(thing, f"{number:g}", "it is positive", "correct it"))
        if problems:
            raise OutsideDomain(problems)

    @property
    def diffusion_potential(self) -> float:
        """U_d = (2RT/F)(1 − t⁺) TDF [V]: the diffusion potential per unit of ln c, as a Li electrode sees it."""
        return 2.0 * GAS_CONSTANT * self.temperature / FARADAY * (1.0 - self.transference) * self.tdf

    def conductivity(self, c: ArrayLike) -> Floats:
        """κ [S/m] at `c` [mol/m³], any shape."""
        return _read(c, self.kappa_table)

    def conductivity_sensitivity(self, c: float) -> float:
        """dlnκ/dlnc [1] at `c` [mol/m³], over ± 2 % of it: what a conductance feels of the salt.

        1 for κ ∝ c, 0 at the maximum, negative beyond it. A pipette filled with `c` feels half of it from outside.
        """
        low, high = self.conductivity(0.98 * c), self.conductivity(1.02 * c)
        return float(np.log(high / low) / np.log(1.02 / 0.98))

    def diffusivity(self, c: ArrayLike) -> Floats:
        """D [m²/s] at `c` [mol/m³], any shape."""
        return _read(c, self.diffusivity_table)
