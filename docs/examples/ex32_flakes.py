"""Example 32: a slow voltammogram as thickness, stage by stage, and as heights over 20 × 20 µm.

Two sweeps at 0.3 mV/s with 97 % iR compensation on a fresh electrode: the thickness against the electrode potential,
its irreversible part (SEI), and the flakes' heights at the vertex, shared with their neighbours by binder. Once caught
up, the flakes' mean height is the electrode's own expansion.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from opsicm.experiment.parameter_file import parameter_set
from opsicm.figures.colours import Role
from opsicm.figures.draw import draw, png
from opsicm.figures.view import Axis, CurvePanel, ImagePanel, Series, View
from opsicm.physics.cell.cell import Cell
from opsicm.physics.specimen.flakes import FlakeSwelling, stacked_flakes

RATE = 0.3e-3


def main(target: Path) -> None:
    """Draw, and print what the stages and the film contribute."""
    p = parameter_set().values
    cell = Cell(p, initial_potential=1.7)
    stack = stacked_flakes(1.3e-6, 3.5e-6, 20e-6, 128, seed=4)
    _, plate_map = stack.render()
    area = np.bincount(plate_map.ravel(), minlength=len(stack.plates) + 1) / plate_map.size
    flakes = FlakeSwelling(
        area,
        np.random.default_rng(4),
        thickness=p.thickness,
        swelling_factor=p.swelling_factor,
        volume_change=cell.volume_change,
        binder=stack.binder(3.5e-6),
    )
    lines = []
    image = np.zeros((128, 128))
    for vertex, slope in ((1.7, -RATE), (0.0, RATE)):
        cell.set_potential(vertex, slope, ir_compensation=0.97)
        E_set, thickness, volume_change, irreversible = [], [], [], []
        for _ in range(566):
            cell.advance(10.0)
            volume_change.append(cell.volume_change)
            irreversible.append(cell.irreversible)
            E_set.append(cell.set_point)
            thickness.append(cell.expansion * 1e9)
        displacement = flakes.advance(10.0, np.array(volume_change), np.array(irreversible))[-1]
        down = slope < 0.0
        word: Role = "lithiation" if down else "delithiation"
        lines.append(Series(word, np.array(E_set), np.array(thickness), word))
        if down:
            image = displacement[plate_map] * 1e9
            fractions = p.material.stage_fractions(cell.stoichiometry)
            shares = zip(p.material.stages, fractions, strict=True)
            stages = ", ".join(f"{name} {f:.2f}" for (name, _), f in shares if f > 0.005)
            sys.stdout.write(f"at {cell.set_point:.3f} V: x {cell.stoichiometry:.3f}, stages {stages}\n")
            sys.stdout.write(f"thickness +{cell.expansion * 1e9:.0f} nm, ")
            sys.stdout.write(
                f"mean of the lagging flakes +{area @ displacement * 1e9:.0f} nm (they lag by 33 s on average)\n"
            )
    assert abs(area @ displacement - cell.expansion) < 0.02 * cell.expansion + 1e-9  # caught up
    sys.stdout.write(
        f"after the cycle: film {cell.sei_thickness * 1e9:.1f} nm, "
        f"+{cell.irreversible * 1e9:.0f} nm of thickness stay\n"
    )
    curve = CurvePanel(
        Axis("set potential", "V vs Li/Li⁺"), Axis("thickness gained", "nm"), tuple(lines), "97 % iR compensation"
    )
    axis = (0.0, 20.0, 0.0, 20.0)
    x, y = Axis("x", "µm"), Axis("y", "µm")
    picture = ImagePanel(x, y, Axis("height gained", "nm"), image, axis, note="at the vertex")
    target.write_bytes(png(draw(View("flakes", "A slow voltammogram as height", (curve, picture)))))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ex32_flakes.png"))
