"""The independent oracle of the cell: PyBaMM's graphite half-cell DFN with the default parameters of this package.

Run once, by hand, in an environment that has PyBaMM and this package:

    PYBAMM_DISABLE_TELEMETRY=true python oracles/half_cell_dfn.py tests/physics/data/half_cell_dfn.npz

It writes voltammograms at 10, 0.5 and 0.3 mV/s, a concentration profile after 1 h at 0.4 mA/cm², the time each took
and the versions that made them. No parameter of this package is fitted to the result. Geometry: slab, the counter (Li,
fast kinetics) is the reference, no convection, no double layer, no SEI. PyBaMM counts lithiation of the half cell's
"positive" electrode as positive current and x from the Li foil; both are turned round here.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pybamm

from opsicm.constants import FARADAY
from opsicm.physics.graphite import open_circuit_potential, stoichiometry_at
from opsicm.physics.parameters import parameter_set

BATH = 4e-3  # [m]: specimen to counter, which is the reference
START = 1.7  # [V]
RATES = (10e-3, 0.5e-3, 0.3e-3)  # [V/s]
FOIL = 1e-4  # [m]


def cell_parameters():
    """The package's default set with the reference at the counter and nothing that the DFN lacks."""
    changes = {"bath_depth": BATH, "reference_height": BATH, "double_layer_capacitance": 0.0, "sei_rate": 0.0}
    chosen = parameter_set("graphite-li-ec-dec").with_leaves(changes)
    return chosen.values, {name: leaf.si for name, leaf in chosen.leaves.items() if isinstance(leaf.value, float)}


def dfn_parameters(cell, voltage=None, current_A=None):
    """The same numbers under PyBaMM's names."""
    p, si = cell
    e = p.electrolyte
    solid_fraction = p.loading * p.active_fraction / p.solid_density / p.thickness
    c_max = p.areal_capacity / (FARADAY * solid_fraction * p.thickness)
    logit = np.linspace(-18.0, 12.0, 6001)
    x_grid = 1.0 / (1.0 + np.exp(-logit))
    u_grid = open_circuit_potential(x_grid, p.ocp)

    def kappa(c, T):
        return si["conductivity_1M"] * (c / 1000) * pybamm.exp((1000 - c) / si["conductivity_maximum_at"])

    def salt_diffusivity(c, T):
        return si["diffusivity_1M"] * pybamm.exp(-si["diffusivity_slope"] * (c / 1000 - 1))

    def exchange(c_e, c_s_surf, c_s_max, T):
        x = c_s_surf / c_s_max
        return p.exchange_current_density * 2 * pybamm.sqrt(x * (1 - x)) * pybamm.sqrt(c_e / 1000.0)

    def ocp(x):
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
            "Initial concentration in positive electrode [mol.m-3]": c_max * stoichiometry_at(START, p.ocp),
            "Positive particle diffusivity [m2.s-1]": p.particle_diffusivity,
            "Positive electrode exchange-current density [A.m-2]": exchange,
            "Positive electrode OCP [V]": ocp,
            "Positive electrode conductivity [S.m-1]": 1e4,
            "Negative electrode conductivity [S.m-1]": 1e7,
            "Exchange-current density for lithium metal electrode [A.m-2]": lambda c_e, c_Li, T: pybamm.Scalar(1e5),
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


FINE = {"x_n": 20, "x_s": 800, "x_p": 20, "r_n": 20, "r_p": 100}
COARSE = {"x_n": 20, "x_s": 100, "x_p": 20, "r_n": 20, "r_p": 30}


def simulation(values, operating_mode, points):
    """A DFN on even meshes.

    Not on Exponential1DSubMesh: with it this PyBaMM converges to another answer. After 1 h at 0.4 mA/cm² it gave
    856.9 and 857.2 mol/m³ at 10 µm with 160 and 640 cells, where even meshes of 160 and 800 give 881.9 and the
    closed form for constant D gives 879.3.
    """
    model = pybamm.lithium_ion.DFN({"working electrode": "positive", "operating mode": operating_mode})
    solver = pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-6)
    return pybamm.Simulation(model, parameter_values=values, var_pts=points, solver=solver)


def voltammogram(cell, rate, points=FINE):
    """One cycle 1.7 → 0 → 1.7 V: (time, potential, current density > 0 anodic, wall seconds)."""
    half = START / rate
    sweep = lambda t: START - rate * (half - abs(t - half))  # noqa: E731
    sim = simulation(dfn_parameters(cell, voltage=sweep), "voltage", points)
    times = np.linspace(0.0, 2 * half, 3401)
    sim.build()
    begin = time.perf_counter()
    solution = sim.solve(
        np.array([0.0, half, 2 * half]), t_interp=times
    )  # the vertex is a kink: the solver restarts there
    wall = time.perf_counter() - begin
    begin = time.perf_counter()
    sim.solve(np.array([0.0, half, 2 * half]), t_interp=times)
    wall = min(wall, time.perf_counter() - begin)
    density = -np.asarray(solution["Current [A]"](times)) / cell[0].area
    return times, np.asarray(solution["Voltage [V]"](times)), density, wall


def profile(cell):
    """Salt [mol/m³] against height [m] after 1 h of lithiation at 0.4 mA/cm²."""
    sim = simulation(dfn_parameters(cell, current_A=4.0 * cell[0].area), "current", FINE)
    solution = sim.solve(np.linspace(0.0, 3600.0, 361))
    z = np.concatenate([np.arange(0.0, 200.1e-6, 5e-6), np.linspace(250e-6, BATH, 76)])
    x = FOIL + BATH - z
    c = solution["Electrolyte concentration [mol.m-3]"](t=3600.0, x=np.clip(x, FOIL, FOIL + BATH))
    E = solution["Voltage [V]"](np.linspace(0.0, 3600.0, 361))
    return z, np.asarray(c).ravel(), np.asarray(E)


def interactive_step(cell, steps=200):
    """Median wall time [s] of sim.step(0.1 s) at constant current."""
    sim = simulation(dfn_parameters(cell, current_A=2.0 * cell[0].area), "current", COARSE)
    walls = []
    for _ in range(steps):
        begin = time.perf_counter()
        sim.step(0.1, save=False)
        walls.append(time.perf_counter() - begin)
    return float(np.median(walls[20:]))


def main(target: Path) -> None:
    p = cell_parameters()
    out, walls, coarse_error = {}, {}, {}
    for rate in RATES:
        key = f"cv_{rate * 1e3:g}mV_s"
        t, E, i, wall = voltammogram(p, rate)
        out[key + "_time_s"], out[key + "_potential_V"], out[key + "_density_A_m2"] = t, E, i
        _, _, rough, walls[key] = voltammogram(p, rate, COARSE)
        coarse_error[key] = float(np.sqrt(np.mean((rough - i) ** 2)))
        walls[key + "_fine"] = wall
        print(key, "wall", wall, "extremes A/m2", i.min(), i.max(), flush=True)
    z, c, E = profile(p)
    out["profile_z_m"], out["profile_c_mol_m3"], out["pulse_potential_V"] = z, c, E
    walls["interactive_step"] = interactive_step(p)
    print("c(10 um)", np.interp(1e-5, z, c), "step", walls["interactive_step"], flush=True)
    note = {
        "made_by": "oracles/half_cell_dfn.py",
        "pybamm": pybamm.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.processor() or platform.machine(),
        "mesh": {"curves and walls marked fine": FINE, "other walls": COARSE},
        "wall_s": walls,
        "coarse_rms_A_m2": coarse_error,
        "parameters": "graphite-li-ec-dec, bath 4 mm, reference at the counter, no double layer, no SEI",
    }
    out["provenance"] = np.frombuffer(json.dumps(note, indent=1).encode(), dtype=np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **out)
    print(json.dumps(note, indent=1), target.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
