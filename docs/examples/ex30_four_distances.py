"""Example 30: what a pipette at four distances sees of a voltammogram, and which part of it is ohmic and which is salt.

A pipette of 50 nm at +0.7 V stands 10, 100, 1000 and 3000 µm above graphite that is cycled 1.7 → 0 → 1.7 V at 10 mV/s.
Both parts are computed for one and the same cell current, with either conductivity of the electrolyte: one with its
maximum near 1 M, one proportional to concentration. The ohmic part changes sign with the cell current and shrinks with
distance; the salt part lags it, and is nearly invisible where the conductivity has its maximum.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.parameter_file import parameter_set
from opsicm.figures.colours import Role
from opsicm.figures.draw import draw, png
from opsicm.figures.view import Axis, CurvePanel, Series, View
from opsicm.physics.cell.cell import Cell, Terms
from opsicm.physics.pipette.ion_current import conductance, pipette_current

Floats = NDArray[np.float64]
HEIGHTS = np.array([10e-6, 100e-6, 1000e-6, 3000e-6])
RATE, BIAS = 10e-3, 0.7
R_GEO = 1.0 / (np.pi * 50e-9 * np.tan(np.radians(3.0))) + 1.0 / (4.0 * 50e-9)  # [1/m] long cone and access
PARTS: Final[dict[str, Terms]] = {"both": Terms(), "ohmic alone": Terms(salt=False), "salt alone": Terms(ohmic=False)}


def changes(set_name: str, terms: Terms) -> tuple[Floats, Floats, Floats]:
    """Time [s], cell current [A] and change of pipette current [time, height] [A] of one cycle."""
    p = parameter_set(set_name).values
    e = p.electrolyte
    cell = Cell(p, initial_potential=1.7, terms=terms)
    traces = []
    for vertex, slope in ((1.7, -RATE), (0.0, RATE)):
        cell.set_potential(vertex, slope)
        traces.append(cell.record(0.1, 1700, HEIGHTS))
    salt = np.concatenate([trace.concentration for trace in traces])
    drop = np.concatenate([trace.ohmic_drop for trace in traces])
    G = conductance(R_GEO, e.conductivity, 1000.0, salt)
    # The reference stays at its rest concentration to 0.1 %, so U_d ln(c_in/c_ref) is left out.
    current = pipette_current(G, BIAS, drop, 1000.0, 1000.0, e.diffusion_potential)
    time = np.concatenate([trace.time for trace in traces])
    return time, np.concatenate([trace.current for trace in traces]), current - current[0]


def view() -> tuple[View, float]:
    """The figure, and the largest mismatch [A] between the whole and the sum of its parts, to first order."""
    panels = []
    mismatch = 0.0
    colours: list[Role] = ["height", "pipette", "cell", "neutral"]
    for set_name, word in (("graphite-li-ec-dec", "maximum"), ("graphite-li-ec-dec-proportional", "∝ c")):
        results = {part: changes(set_name, terms) for part, terms in PARTS.items()}
        time, cell_current, both = results["both"]
        if not panels:
            lines = (Series("cell", time, cell_current * 1e3, "cell"),)
            panels.append(CurvePanel(Axis("time", "s"), Axis("cell current", "mA"), lines, "below zero: lithiation"))
        for part in ("ohmic alone", "salt alone") if panels[1:] else PARTS:
            lines = tuple(
                Series(f"{height * 1e6:.0f} µm", time, results[part][2][:, k] * 1e9, colours[k])
                for k, height in enumerate(HEIGHTS)
            )
            note = f"{part}; κ {word}"
            panels.append(CurvePanel(Axis("time", "s"), Axis("Δ pipette current", "nA"), lines, note))
        parts = results["ohmic alone"][2] + results["salt alone"][2]
        mismatch = max(mismatch, float(np.abs(parts - both).max()))
    title = "A voltammogram at 10 mV/s, seen from four distances"
    return View("four_distances", title, tuple(panels), share_x=True), mismatch


def main(target: Path) -> None:
    """Draw, and compare the first millisecond's step with −i L/R_geo."""
    picture, mismatch = view()
    target.write_bytes(png(draw(picture)))
    p = parameter_set().values
    cell = Cell(p, initial_potential=0.2)
    cell.set_current(-8.0 * p.area)
    cell.advance(1e-3)
    step = -float(cell.ohmic_drop(1e-5)) * 0.62 / R_GEO
    by_hand = 8.0 * (p.reference_height - 1e-5) / R_GEO
    sys.stdout.write(f"step of a pulse of 0.8 mA/cm² at 10 µm: {step * 1e9:.4f} nA, by hand {by_hand * 1e9:.4f} nA\n")
    sys.stdout.write(f"sum of the parts against the whole: within {mismatch * 1e12:.1f} pA\n")
    assert abs(step / by_hand - 1.0) < 1e-3
    assert mismatch < 0.2e-9


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ex30_four_distances.png"))
