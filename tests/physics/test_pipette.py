"""Geometry, resistances and the quick mode: identities, and refusals that say what to do."""

from __future__ import annotations

import math

import pytest

from opsicm.errors import OutsideDomain
from opsicm.physics.approach import (
    hyperbola_constant,
    hyperbola_distance,
    hyperbola_relative_current,
    hyperbola_slope,
)
from opsicm.physics.pipette import Pipette, cone_resistance, geometric_resistance, resistance


def test_a_default_pipette_has_the_resistance_of_its_integral() -> None:
    pipette = Pipette()
    slope = math.tan(pipette.cone_angle)
    slices = 200_000
    dz = pipette.length / slices
    integral = sum(dz / (math.pi * (pipette.radius + (k + 0.5) * dz * slope) ** 2) for k in range(slices))
    assert cone_resistance(pipette) == pytest.approx(integral, rel=1e-4)
    assert resistance(pipette, 0.62) == pytest.approx(geometric_resistance(pipette) / 0.62)


def test_an_endless_cone_is_the_limit_of_a_long_one() -> None:
    pipette = Pipette(length=1.0)
    endless = 1.0 / (math.pi * pipette.radius * math.tan(pipette.cone_angle)) + 1.0 / (4.0 * pipette.radius)
    assert geometric_resistance(pipette) == pytest.approx(endless, rel=2e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wall": 1.0}, ["wall", "is 1;", "above 1", "outer radius"]),
        ({"wall": 0.5}, ["0.5", "above 1"]),
        ({"cone_angle": 0.0}, ["0°", "between 0° and 90°"]),
        ({"radius": math.nan}, ["nan", "above 0 m"]),
        ({"length": math.inf}, ["inf", "finite"]),
        ({"radius": -1.0, "wall": math.nan}, ["radius", "wall"]),
    ],
)
def test_bad_geometry_is_refused_with_value_limit_and_remedy(changes: dict[str, float], words: list[str]) -> None:
    with pytest.raises(OutsideDomain) as refusal:
        Pipette(**changes)
    for word in words:
        assert word in str(refusal.value)


def test_the_hyperbola_meets_its_point_its_inverse_and_its_slope() -> None:
    C = hyperbola_constant(33.6e-9)
    assert hyperbola_relative_current(33.6e-9, C) == pytest.approx(0.98, rel=1e-12)
    assert hyperbola_relative_current(-1e-9, C) == 0.0
    for distance in (1e-9, 30e-9, 1e-6):
        current = hyperbola_relative_current(distance, C)
        assert hyperbola_distance(current, C) == pytest.approx(distance, rel=1e-9)
        step = 1e-4 * distance
        secant = (hyperbola_relative_current(distance + step, C) - hyperbola_relative_current(distance - step, C)) / (
            2 * step
        )
        assert hyperbola_slope(distance, C) == pytest.approx(secant, rel=1e-6)
    assert hyperbola_distance(1.0, C) == math.inf
