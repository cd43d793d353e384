"""The independent oracle of the cell: PyBaMM's half-cell DFN with the default parameters of this package.

Run once, by hand, in an environment that has PyBaMM and this package:

    PYBAMM_DISABLE_TELEMETRY=true python oracles/half_cell_dfn.py tests/physics/data/half_cell_dfn.npz

It writes voltammograms at 10, 0.5 and 0.3 mV/s, a concentration profile after 1 h at 0.4 mA/cm², the time each took
and the versions that made them. No parameter of this package is fitted to the result. Geometry: slab, the counter (Li,
fast kinetics) is the reference, no convection, no double layer, no SEI; particles of one size, no hysteresis, the
table's own dilute end. PyBaMM counts lithiation of the half cell's
"positive" electrode as positive current and x from the Li foil; both are turned round here.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np
import pybamm

from benchmarks.dfn_peer import (  # fmt: skip
    BATH,
    COARSE,
    FINE,
    FOIL,
    RATES,
    cell_parameters,
    dfn_parameters,
    interactive_step,
    simulation,
    voltammogram,
)


def profile(cell):
    """Salt [mol/m³] against height [m] after 1 h of lithiation at 0.4 mA/cm²."""
    sim = simulation(dfn_parameters(cell, current_A=4.0 * cell[0].area), "current", FINE)
    solution = sim.solve(np.linspace(0.0, 3600.0, 361))
    z = np.concatenate([np.arange(0.0, 200.1e-6, 5e-6), np.linspace(250e-6, BATH, 76)])
    x = FOIL + BATH - z
    c = solution["Electrolyte concentration [mol.m-3]"](t=3600.0, x=np.clip(x, FOIL, FOIL + BATH))
    E = solution["Voltage [V]"](np.linspace(0.0, 3600.0, 361))
    return z, np.asarray(c).ravel(), np.asarray(E)


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
        "parameters": "graphite-li-ec-dec, bath 4 mm, reference at the counter, no double layer, no SEI, one size of "
        "particles, no hysteresis, the table as it is",
    }
    out["provenance"] = np.frombuffer(json.dumps(note, indent=1).encode(), dtype=np.uint8)
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **out)
    print(json.dumps(note, indent=1), target.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
