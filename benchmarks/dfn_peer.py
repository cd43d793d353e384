"""The peer of the cell: PyBaMM's half-cell DFN with this package's own numbers.

Used by oracles/half_cell_dfn.py, which made the curves that the tests compare with, and by the benchmark. PyBaMM is the
extra `oracle`; without it `peer()` is None. PyBaMM counts lithiation of the half cell's "positive" electrode as
positive current and x from the Li foil; both are turned round here.
"""

from __future__ import annotations

import importlib
import os
from timeit import default_timer
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.constants import FARADAY
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set
from opsicm.physics.cell.parameters import CellParameters

Floats = NDArray[np.float64]
CellNumbers = tuple[CellParameters, dict[str, float]]

BATH: Final = 4e-3  # [m]: specimen to counter, which is the reference
START: Final = 1.7  # [V]
RATES: Final = (10e-3, 0.5e-3, 0.3e-3)  # [V/s]
FOIL: Final = 1e-4  # [m]


def peer() -> Any | None:
    """The module pybamm, or None where it is not installed."""
    os.environ.setdefault("PYBAMM_DISABLE_TELEMETRY", "true")
    try:
        return importlib.import_module("pybamm")
    except ImportError:
        return None


def cell_parameters(*, particles: bool = False) -> CellNumbers:
    """The package's default set with the reference at the counter and nothing that the DFN lacks.

    With `particles` it keeps its sizes and its hysteresis: what a step costs with them, not what the peer solves.
    """
    changes = {"bath_depth": BATH, "reference_height": BATH, "double_layer_capacitance": 0.0, "sei_rate": 0.0}
    if not particles:
        # One size of particles and one curve for both directions, which is the table's own down to its first point.
        lacking = ("particle_radius_spread", "open_circuit_hysteresis", "open_circuit_dilute_below")
        changes |= dict.fromkeys(lacking, 0.0)
    chosen = parameter_set(DEFAULT_SET).with_leaves(changes)
    return chosen.values, {name: leaf.si for name, leaf in chosen.leaves.items() if isinstance(leaf.value, float)}


def dfn_parameters(cell: CellNumbers, voltage: Any = None, current_A: float | None = None) -> Any:
    """The same numbers under PyBaMM's names."""
    pybamm = importlib.import_module("pybamm")
    p, si = cell
    e = p.electrolyte
    solid_fraction = p.loading * p.active_fraction / p.material.density / p.thickness
    c_max = p.areal_capacity / (FARADAY * solid_fraction * p.thickness)
    logit = np.linspace(-18.0, 12.0, 6001)
    x_grid = 1.0 / (1.0 + np.exp(-logit))
    u_grid = p.material.open_circuit_potential(x_grid)

    def kappa(c: Any, _T: Any) -> Any:
        return si["conductivity_1M"] * (c / 1000) * pybamm.exp((1000 - c) / si["conductivity_maximum_at"])

    def salt_diffusivity(c: Any, _T: Any) -> Any:
        return si["diffusivity_1M"] * pybamm.exp(-si["diffusivity_slope"] * (c / 1000 - 1))

    def exchange(c_e: Any, c_s_surf: Any, c_s_max: Any, _T: Any) -> Any:
        x = c_s_surf / c_s_max
        return p.exchange_current_density * 2 * pybamm.sqrt(x * (1 - x)) * pybamm.sqrt(c_e / 1000.0)

    def ocp(x: Any) -> Any:
        # In ln(x/(1-x)), where the dilute end is a straight line and not a wall.
        return pybamm.Interpolant(logit, u_grid, pybamm.log(x / (1 - x)), interpolator="cubic")

    values = pybamm.ParameterValues("Xu2019")
    values.update(
        {
            "Negative electrode thickness [m]": FOIL,
            "Separator thickness [m]": BATH,
            "Separator porosity": 1.0,
            "Separator Bruggeman coefficient (electrolyte)": 0.0,
            "Positive electrode thickness [m]": p.thickness,
            "Positive electrode porosity": p.porosity,
            "Positive electrode Bruggeman coefficient (electrolyte)": p.bruggeman,
            "Positive electrode Bruggeman coefficient (electrode)": 0.0,
            "Positive electrode active material volume fraction": solid_fraction,
            "Positive particle radius [m]": p.particle_radius,
            "Maximum concentration in positive electrode [mol.m-3]": c_max,
            "Initial concentration in positive electrode [mol.m-3]": c_max * p.material.stoichiometry_at(START),
            "Positive particle diffusivity [m2.s-1]": p.particle_diffusivity,
            "Positive electrode exchange-current density [A.m-2]": exchange,
            "Positive electrode OCP [V]": ocp,
            "Positive electrode conductivity [S.m-1]": 1e4,
            "Negative electrode conductivity [S.m-1]": 1e7,
            "Exchange-current density for lithium metal electrode [A.m-2]": lambda *_: pybamm.Scalar(1e5),
            "Initial concentration in electrolyte [mol.m-3]": e.concentration,
            "Electrolyte conductivity [S.m-1]": kappa,
            "Electrolyte diffusivity [m2.s-1]": salt_diffusivity,
            "Cation transference number": e.transference,
            "Thermodynamic factor": e.tdf,
            "Ambient temperature [K]": e.temperature,
            "Initial temperature [K]": e.temperature,
            "Reference temperature [K]": e.temperature,
            "Electrode height [m]": 1.0,
            "Electrode width [m]": p.area,
            "Number of electrodes connected in parallel to make a cell": 1.0,
            "Number of cells connected in series to make a battery": 1.0,
            "Lower voltage cut-off [V]": -10.0,
            "Upper voltage cut-off [V]": 10.0,
            "Contact resistance [Ohm]": 0.0,
        },
        check_already_exists=False,
    )
    if voltage is not None:
        values.update({"Voltage function [V]": voltage}, check_already_exists=False)
    if current_A is not None:
        values["Current function [A]"] = current_A
    return values


FINE: Final = {"x_n": 20, "x_s": 800, "x_p": 20, "r_n": 20, "r_p": 100}
COARSE: Final = {"x_n": 20, "x_s": 100, "x_p": 20, "r_n": 20, "r_p": 30}


def simulation(values: Any, operating_mode: str, points: dict[str, int]) -> Any:
    """A DFN on even meshes.

    Not on Exponential1DSubMesh: with it this PyBaMM converges to another answer. After 1 h at 0.4 mA/cm² it gave
    856.9 and 857.2 mol/m³ at 10 µm with 160 and 640 cells, where even meshes of 160 and 800 give 881.9 and the
    closed form for constant D gives 879.3.
    """
    pybamm = importlib.import_module("pybamm")
    model = pybamm.lithium_ion.DFN({"working electrode": "positive", "operating mode": operating_mode})
    solver = pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-6)
    return pybamm.Simulation(model, parameter_values=values, var_pts=points, solver=solver)


def voltammogram(cell: CellNumbers, rate: float, points: dict[str, int] = FINE) -> tuple[Floats, Floats, Floats, float]:
    """One cycle 1.7 → 0 → 1.7 V: (time, potential, current density > 0 anodic, wall seconds)."""
    half = START / rate

    def sweep(t: Any) -> Any:
        return START - rate * (half - abs(t - half))

    sim = simulation(dfn_parameters(cell, voltage=sweep), "voltage", points)
    times = np.linspace(0.0, 2 * half, 3401)
    sim.build()
    begin = default_timer()
    solution = sim.solve(
        np.array([0.0, half, 2 * half]), t_interp=times
    )  # the vertex is a kink: the solver restarts there
    wall = default_timer() - begin
    begin = default_timer()
    sim.solve(np.array([0.0, half, 2 * half]), t_interp=times)
    wall = min(wall, default_timer() - begin)
    density = -np.asarray(solution["Current [A]"](times)) / cell[0].area
    return times, np.asarray(solution["Voltage [V]"](times)), density, wall


def interactive_step(cell: CellNumbers, steps: int = 200) -> float:
    """Median wall time [s] of sim.step(0.1 s) at constant current."""
    sim = simulation(dfn_parameters(cell, current_A=2.0 * cell[0].area), "current", COARSE)
    walls = []
    for _ in range(steps):
        begin = default_timer()
        sim.step(0.1, save=False)
        walls.append(default_timer() - begin)
    return float(np.median(walls[20:]))
