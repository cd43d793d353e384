"""What one pipette does: approach curve, point-spread function and edge response, in one figure."""

from __future__ import annotations

import math

import numpy as np

from opsicm.figures.view import Axis, Curves, Series, View
from opsicm.physics.approach import hyperbola_constant, hyperbola_relative_current
from opsicm.physics.lateral import PointSpread
from opsicm.physics.tip_field import ApproachCurve

_DISTANCE = Axis("distance from a flat sample", "nm")


def kernel_view(curve: ApproachCurve, spread: PointSpread) -> View:
    """The figure of `curve` and of `spread`, which was taken at the 98 % distance."""
    tip = curve.pipette
    at_98 = spread.distance
    d = np.linspace(0.0, 12.0 * at_98, 600)
    C = hyperbola_constant(at_98)
    quick = np.array([hyperbola_relative_current(float(value), C) for value in d])
    fem = Series("finite elements", d * 1e9, 100.0 * curve.relative_current(d), "pipette")
    hyperbola = Series("hyperbola through 98 %", d * 1e9, 100.0 * quick, "model", "dashed")
    setpoint = Series("98 %", np.array([0.0, d[-1] * 1e9]), np.array([98.0, 98.0]), "limit", "dashed")
    r = np.linspace(0.0, 6.0 * tip.radius, 500)
    density = np.interp(r, spread.radius, spread.density)
    x = np.linspace(-5.0 * tip.radius, 5.0 * tip.radius, 500)
    half = 0.5 * spread.edge_width()
    return View(
        name="kernel",
        title=f"Pipette of {tip.radius * 1e9:g} nm, b/a {tip.wall:g}, {math.degrees(tip.cone_angle):g}°, "
        f"shank {tip.length * 1e6:g} µm",
        panels=(
            Curves(
                _DISTANCE,
                Axis("I over I far away", "%"),
                (fem, hyperbola, setpoint),
                note=f"98 % at {at_98 * 1e9:.1f} nm for a shank of {tip.length * 1e6:g} µm",
                y_limits=(90.0, 100.2),
            ),
            Curves(
                Axis("radius on the sample", "nm"),
                Axis("response", "1/µm²"),
                (Series("point-spread function", r * 1e9, density * 1e-12, "height"),),
                note=f"a ring with its peak at {spread.peak_radius / tip.radius:.2f} a; tip at the 98 % distance",
            ),
            Curves(
                Axis("position across a low step", "nm"),
                Axis("apparent height", "% of step"),
                (
                    Series("edge response", x * 1e9, 100.0 * spread.edge_response(x), "height"),
                    Series("10 % and 90 %", np.array([-half, half]) * 1e9, np.array([10.0, 90.0]), "limit", "points"),
                ),
                note=f"10–90 % over {2e9 * half:.0f} nm = {2.0 * half / tip.radius:.1f} inner radii",
            ),
        ),
        caption="Flat insulating sample, uncharged glass, uniform electrolyte; the shank enters the first panel only.",
    )
