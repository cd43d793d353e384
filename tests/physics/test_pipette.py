"""Geometry, resistances and the quick mode: identities, and refusals that say what to do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsicm.core.errors import OutsideDomain
from opsicm.physics.pipette.approach import hyperbola_constant, hyperbola_distance, hyperbola_relative_current
from opsicm.physics.pipette.geometry import (
    Pipette,
    cone_resistance,
    geometric_resistance,
    radius_band,
    radius_from_resistance,
    resistance,
)


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


def test_the_hyperbola_meets_its_point_and_its_inverse() -> None:
    C = hyperbola_constant(33.6e-9)
    assert hyperbola_relative_current(33.6e-9, C) == pytest.approx(0.98, rel=1e-12)
    assert hyperbola_relative_current(-1e-9, C) == 0.0
    for distance in (1e-9, 30e-9, 1e-6):
        current = hyperbola_relative_current(distance, C)
        assert hyperbola_distance(current, C) == pytest.approx(distance, rel=1e-9)
    assert hyperbola_distance(1.0, C) == math.inf


@given(radius=st.floats(5e-9, 2e-6), degrees=st.floats(0.2, 25.0), length=st.floats(1e-6, 1e-3))
def test_resistance_and_geometry_convert_both_ways(radius: float, degrees: float, length: float) -> None:
    angle = math.radians(degrees)
    product = geometric_resistance(Pipette(radius=radius, cone_angle=angle, length=length))
    assert radius_from_resistance(product, angle, length) == pytest.approx(radius, rel=1e-9)


def test_one_resistance_fits_many_tips_and_the_band_says_so() -> None:
    """A wider tip at 2° and a narrower one at 5° have the default tip's resistance; the band must hold both."""
    product = geometric_resistance(Pipette(radius=50e-9))
    for degrees in (2.0, 3.0, 5.0):
        angle = math.radians(degrees)
        twin = Pipette(radius=radius_from_resistance(product, angle), cone_angle=angle)
        assert geometric_resistance(twin) == pytest.approx(product, rel=1e-9)
    band = radius_band(product / 0.62, 0.62, (math.radians(2.0), math.radians(5.0)))
    assert band.low < 0.75 * 50e-9 < 50e-9 < band.high
    assert band.high / band.low > 1.7
    sure = radius_band(product / 0.62, 0.62, (math.radians(3.0), math.radians(3.0)), relative_u=1e-6)
    assert sure.low == pytest.approx(50e-9, rel=1e-4)
    assert sure.high == pytest.approx(50e-9, rel=1e-4)
