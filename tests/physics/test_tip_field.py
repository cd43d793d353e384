"""The finite-element field and its table: against known numbers, identities, NGSolve and its own left-out points."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opsicm.core.errors import OutsideDomain
from opsicm.physics.pipette.approach import relative_current as compiled_relative_current
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.spectral_element import geometry
from opsicm.physics.pipette.tip_field import (
    CONE_RANGE_DEG,
    DISTANCE_RANGE,
    WALL_RANGE,
    approach_curve,
    hyperbola_bias,
    tip_access,
)
from opsicm.physics.pipette.tip_mesh import Fineness, solve_tip, tip_mesh

REFERENCE = Path(__file__).parent / "tables" / "ngsolve_tip_field.csv"
FINE = Fineness(order=5, layers=5, far=1e3)


def _reference() -> list[dict[str, float]]:
    rows = [row for row in REFERENCE.read_text(encoding="utf-8").splitlines() if not row.startswith("#")]
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(rows)]


def test_the_flanged_tube_has_kings_end_correction() -> None:
    """King 1936 / Karal 1953: an open tube in an infinite flange is longer by 0.8216 radii (goal: ± 0.001)."""
    flanged = solve_tip(math.inf, 0.0, None, FINE)
    assert flanged.resistance * math.pi - flanged.tip.top == pytest.approx(0.82168, abs=2e-4)


@pytest.mark.parametrize("distance", [0.05, 0.3, 0.7, 2.0])
@pytest.mark.parametrize(("wall", "degrees"), [(1.5, 3.0), (1.1, 1.0), (3.0, 20.0)])
def test_the_shape_derivative_is_the_slope(wall: float, degrees: float, distance: float) -> None:
    """int |J|² dA / I² = -dR/dd (derived; goal: 1e-4 for d <= 2a). The secant is of fourth order, step 1 %."""
    angle, h = math.radians(degrees), 0.01 * distance
    at = [solve_tip(wall, angle, distance + k * h, FINE) for k in (-2, -1, 0, 1, 2)]
    R = [s.resistance for s in at]
    secant = (R[0] - 8.0 * R[1] + 8.0 * R[3] - R[4]) / (12.0 * h)
    assert at[2].shape_derivative == pytest.approx(-secant, rel=1e-4)


@pytest.mark.parametrize("distance", [0.2, 5.0])
def test_dR_does_not_see_the_shank_or_the_domain(distance: float) -> None:
    def added(fineness: Fineness) -> float:
        angle = math.radians(3.0)
        return solve_tip(1.5, angle, distance, fineness).resistance - solve_tip(1.5, angle, None, fineness).resistance

    base = added(FINE)
    assert added(replace(FINE, far=100.0)) == pytest.approx(base, rel=2e-5)
    assert added(replace(FINE, inside=12.0)) == pytest.approx(base, rel=2e-5)


@pytest.mark.parametrize("row", _reference(), ids=lambda row: f"{row['wall']}-{row['cone_deg']}-{row['distance']}")
def test_solver_and_table_agree_with_ngsolve(row: dict[str, float]) -> None:
    """Goal: dR within 5e-4 of NGSolve hp. The default (quick) fineness and the spline are held to it as well."""
    angle = math.radians(row["cone_deg"])
    for fineness in (FINE, Fineness()):
        free = solve_tip(row["wall"], angle, None, fineness).resistance
        added = solve_tip(row["wall"], angle, row["distance"], fineness).resistance - free
        assert added == pytest.approx(row["dR"], rel=5e-4)
    pipette = Pipette(radius=1e-7, wall=row["wall"], cone_angle=angle)
    curve = approach_curve(pipette)
    assert curve.added_resistance(np.array(row["distance"] * 1e-7)) * 1e-7 == pytest.approx(row["dR"], rel=5e-4)
    assert curve.access * 1e-7 == pytest.approx(row["R_ac"], rel=1e-4)


def test_left_out_points_of_the_table() -> None:
    """200 points random in all three coordinates, solved anew: the spline is within 5e-4, the goal."""
    rng = np.random.default_rng(20230406)
    fineness, worst = Fineness(order=4, layers=3, far=300.0, growth=2.5), 0.0
    for _ in range(200):
        wall = math.exp(rng.uniform(math.log(WALL_RANGE[0]), math.log(WALL_RANGE[1])))
        angle = math.radians(rng.uniform(CONE_RANGE_DEG[0], CONE_RANGE_DEG[1]))
        distance = math.exp(rng.uniform(math.log(DISTANCE_RANGE[0]), math.log(DISTANCE_RANGE[1])))
        free = solve_tip(wall, angle, None, fineness).resistance
        solved = solve_tip(wall, angle, distance, fineness).resistance - free
        curve = approach_curve(Pipette(radius=1.0, wall=wall, cone_angle=angle, length=1e3))
        worst = max(worst, abs(float(curve.added_resistance(np.array(distance))) / solved - 1.0))
    assert worst < 5e-4, f"worst relative miss {worst:.2e}"


def test_no_geometry_defeats_the_mesh() -> None:
    """1000 random geometries: every quadrilateral is convex and positively oriented, every node numbered."""
    rng = np.random.default_rng(1)
    for _ in range(1000):
        wall = math.exp(rng.uniform(math.log(1.02), math.log(6.0)))
        angle = math.radians(rng.uniform(0.2, 35.0))
        distance = math.exp(rng.uniform(math.log(0.005), math.log(200.0)))
        tip = tip_mesh(wall, angle, distance, Fineness(order=2, layers=3))
        assert float(geometry(tip.mesh)[2].min()) > 0.0
        assert np.unique(tip.mesh.dofs).size == tip.mesh.count


def test_the_default_pipette_reaches_98_percent_where_the_prototype_said() -> None:
    curve = approach_curve(Pipette())
    assert curve.distance(np.array(0.98)) == pytest.approx(33.6e-9, abs=0.2e-9)
    endless = approach_curve(Pipette(length=1.0))
    assert endless.distance(np.array(0.98)) == pytest.approx(32.0e-9, abs=0.5e-9)


def test_inverse_and_slope_belong_to_the_curve_also_beyond_the_table() -> None:
    curve = approach_curve(Pipette())
    distance = np.geomspace(1e-12, 1e-4, 300)
    current = curve.relative_current(distance)
    np.testing.assert_allclose(curve.distance(current[current < 1.0 - 1e-6]), distance[current < 1.0 - 1e-6], rtol=1e-9)
    inside = distance[np.abs(distance - 50e-9 * 50.0) > 1e-7]
    secant = (curve.relative_current(inside * 1.0001) - curve.relative_current(inside * 0.9999)) / (2e-4 * inside)
    np.testing.assert_allclose(curve.slope(inside), secant, rtol=1e-4)
    assert np.all(np.diff(current) > 0.0)
    assert compiled_relative_current(0.0, curve.packed) == 0.0
    assert curve.distance(np.array([-0.1, 1.0])).tolist() == [0.0, math.inf]


@pytest.mark.parametrize("distance", [0.005, 200.0])
def test_the_laws_beyond_the_table_hold(distance: float) -> None:
    """Stated laws against a solve out there: -1.7 % and +1.8 % of dR were found; 2 % is what the page says."""
    angle = math.radians(3.0)
    solved = solve_tip(1.5, angle, distance, FINE).resistance - solve_tip(1.5, angle, None, FINE).resistance
    curve = approach_curve(Pipette(radius=1.0, length=400.0))
    assert curve.added_resistance(np.array(distance)) == pytest.approx(solved, rel=0.02)


def test_the_hyperbola_misses_by_tens_of_nanometres_at_high_setpoints() -> None:
    bias = hyperbola_bias(approach_curve(Pipette()), np.array([0.98, 0.99, 0.995]))
    assert abs(bias[0]) < 1e-15
    assert bias[2] > 10e-9


def test_outside_the_table_is_refused_with_the_way_out() -> None:
    with pytest.raises(OutsideDomain, match=r"wall.*is 4;.*1\.1 to 3\.0;.*solve_tip"):
        approach_curve(Pipette(wall=4.0))
    with pytest.raises(OutsideDomain, match=r"0\.5°.*1\.0° to 20\.0°"):
        tip_access(1.5, math.radians(0.5))
