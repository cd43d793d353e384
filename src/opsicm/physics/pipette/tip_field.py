"""The finite-element approach curve of one pipette, drawn from the shipped table.

    R(d) kappa = R_cone(L) + R_ac(b/a, theta)/a + dR(d/a; b/a, theta)/a;   i(d) = R(inf) / R(d)

R_cone is exact for an ideal cone cut by spherical caps; the shank's length enters there and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.pipette import approach
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_mesh import Fineness, endless_cone, solve_tip
from opsicm.physics.tables import load_table

# -- Building the table of the tip's field: which geometries, how finely solved, and one column at a time.


F64 = NDArray[np.float64]

DISTANCE_RANGE: Final = (0.02, 50.0)  # [1] d/a
WALL_RANGE: Final = (1.1, 3.0)  # [1] b/a
CONE_RANGE_DEG: Final = (1.0, 20.0)  # [deg]
# Chosen so that left-out points agree to 5e-4 (tests/physics/test_tip_field.py measures it).
_DISTANCES, _WALLS, _CONES = 37, 14, 10
# Finer layers cost digits: elements 1e-9 wide and 1e3 long round off at 1e-5 (decision 0011).
TABLE_FINENESS: Final = Fineness(order=5, layers=5, far=1e3)

Column = tuple[float, F64]


def wall_coordinate(wall: float) -> float:
    """ln(b/a - 1): evenly spaced nodes then resolve thin walls, where the thin-gap limit goes as ln ln(b/a)."""
    return math.log(wall - 1.0)


def axes() -> tuple[F64, F64, F64]:
    """Nodes: ln(d/a) [37], ln(b/a - 1) [14], theta in rad [10], each evenly spaced."""
    low, high = (math.log(d) for d in DISTANCE_RANGE)
    wall_low, wall_high = (wall_coordinate(w) for w in WALL_RANGE)
    cone_low, cone_high = (math.radians(t) for t in CONE_RANGE_DEG)
    return (
        np.linspace(low, high, _DISTANCES),
        np.linspace(wall_low, wall_high, _WALLS),
        np.linspace(cone_low, cone_high, _CONES),
    )


def column(geometry: tuple[float, float]) -> Column:
    """For (b/a, theta): the access resistance R_ac·kappa·a without sample, and ln(dR d kappa) at every distance [37].

    R_ac is what an endless cone with spherical caps leaves over. dR = R(d) - R(no sample), both on one grid near
    the corners, so that their discretisation errors cancel.
    """
    wall, cone_angle = geometry
    free = solve_tip(wall, cone_angle, None, TABLE_FINENESS).resistance
    distances = np.exp(axes()[0])
    added = np.array([solve_tip(wall, cone_angle, float(d), TABLE_FINENESS).resistance - free for d in distances])
    return free - endless_cone(cone_angle), np.log(added * distances)


def geometries() -> list[tuple[float, float]]:
    """Every (b/a, theta) of the table, walls outermost."""
    _, walls, cones = axes()
    return [(1.0 + math.exp(float(w)), float(t)) for w in walls for t in cones]


def build(columns: Iterable[Column], done: Callable[[], None] = lambda: None) -> dict[str, F64]:
    """The table's arrays from the columns of `geometries()`, in that order; calls `done` after each."""
    access, curves = [], []
    for R_ac, log_dR_d in columns:
        access.append(R_ac)
        curves.append(log_dR_d)
        done()
    x, walls, cones = axes()
    shape = (walls.size, cones.size)
    return {
        "log_distance": x,
        "wall_coordinate": walls,
        "cone_angle": cones,
        "access": np.array(access).reshape(shape),
        "log_dR_d": np.array(curves).reshape(*shape, x.size),
    }


@cache
def _table() -> Mapping[str, F64]:
    return load_table("tip_field")


def _within_table(wall: float, cone_angle: float) -> None:
    degrees = math.degrees(cone_angle)
    problems = []
    if not WALL_RANGE[0] - 1e-9 <= wall <= WALL_RANGE[1] + 1e-9:
        problems.append(
            Problem(
                "pipette wall (outer over inner radius)",
                f"{wall:g}",
                f"the table covers {WALL_RANGE[0]} to {WALL_RANGE[1]}",
                "use the hyperbola, or solve this geometry with tip_solve.solve_tip",
            )
        )
    if not CONE_RANGE_DEG[0] - 1e-9 <= degrees <= CONE_RANGE_DEG[1] + 1e-9:
        problems.append(
            Problem(
                "pipette half-cone angle",
                f"{degrees:g}°",
                f"the table covers {CONE_RANGE_DEG[0]}° to {CONE_RANGE_DEG[1]}°",
                "use the hyperbola, or solve this geometry with tip_solve.solve_tip",
            )
        )
    if problems:
        raise OutsideDomain(problems)


def tip_access(wall: float, cone_angle: float) -> tuple[float, F64]:
    """R_ac·kappa·a [1] and ln(dR·kappa·d) at the table's distances [37], splined to (b/a, theta [rad]).

    Cubic not-a-knot splines in ln(b/a - 1) and theta. Refuses outside the table.
    """
    _within_table(wall, cone_angle)
    table = _table()
    across = np.concatenate((table["access"][..., None], table["log_dR_d"]), axis=-1)
    along_cone = CubicSpline(table["wall_coordinate"], across, axis=0)(wall_coordinate(wall))
    values = CubicSpline(table["cone_angle"], along_cone, axis=0)(cone_angle)
    return float(values[0]), np.asarray(values[1:])


def exact_cone_resistance(pipette: Pipette) -> float:
    """R·kappa [1/m] of the shank between spherical caps: (1/rho_1 - 1/rho_2) / (2 pi (1 - cos theta)).

    rho = r / sin theta at the aperture's rim and at the radius a + L tan theta. It exceeds
    `pipette.cone_resistance` by the factor tan(theta) / (2 tan(theta/2)): 7e-4 at 3°, 3 % at 20°.
    Assumes a straight cone. Source: Laplace's equation in a cone, u ∝ 1/rho.
    """
    top = pipette.radius + pipette.length * math.tan(pipette.cone_angle)
    solid_angle = 2.0 * math.pi * (1.0 - math.cos(pipette.cone_angle))
    return math.sin(pipette.cone_angle) * (1.0 / pipette.radius - 1.0 / top) / solid_angle


@dataclass(frozen=True, slots=True)
class ApproachCurve:
    """One pipette's curve, ready for the compiled functions of `approach`.

    `packed` [n] is what those functions take; `far` [1/m] is R(inf)·kappa, `access` [1/m] the part of it that the
    table gave. The rest is arithmetic on them.
    """

    pipette: Pipette
    far: float
    access: float
    packed: F64

    def relative_current(self, distance: F64) -> F64:
        """I/I_far [1] at `distance` [m], any shape; 0 at or below contact."""
        return approach.over(approach.relative_current, distance, self.packed)

    def distance(self, relative_current: F64) -> F64:
        """The distance [m] at which I/I_far is `relative_current` [1], any shape."""
        return approach.over(approach.distance_at, relative_current, self.packed)

    def slope(self, distance: F64) -> F64:
        """d(I/I_far)/dd [1/m] at `distance` [m], any shape."""
        return approach.over(approach.slope, distance, self.packed)

    def added_resistance(self, distance: F64) -> F64:
        """dR·kappa [1/m] at `distance` [m], any shape."""
        return approach.over(approach.added_resistance, distance, self.packed)


def approach_curve(pipette: Pipette) -> ApproachCurve:
    """The finite-element approach curve of `pipette`.

    Assumptions: as `tip_solve.solve_tip`, and an ideal cone over `pipette.length`. Below d = 0.02 a the law is
    dR d = ln(b/a)/(2 pi kappa) + linear in d (radial flow in a thin gap, exact at d -> 0); above d = 50 a it is
    dR d = constant (image of a point source). Fails for charged glass below a few Debye lengths, tilted or broken tips.
    """
    access, log_dR_d = tip_access(pipette.wall, pipette.cone_angle)
    far = exact_cone_resistance(pipette) + access / pipette.radius
    x = _table()["log_distance"]
    spline = CubicSpline(x, log_dR_d)
    thin_gap = math.log(pipette.wall) / (2.0 * math.pi)
    head = np.array([pipette.radius, far * pipette.radius, x[0], x[1] - x[0], x.size - 1.0, thin_gap])
    return ApproachCurve(pipette, far, access / pipette.radius, np.concatenate((head, spline.c[::-1].T.ravel())))


def distance_98(pipette: Pipette) -> float:
    """The distance [m] at which the relative current is 0.98, on the finite-element curve of `pipette`.

    It depends on every one of the four shape parameters, the shank's length included: state the length beside it.
    """
    return float(approach_curve(pipette).distance(np.array(0.98)))


def hyperbola_bias(curve: ApproachCurve, relative_currents: F64) -> F64:
    """By how much [m] the hyperbola through the curve's 98 % point is too far out at each relative current [n]."""
    C = approach.hyperbola_constant(float(curve.distance(np.array(0.98))))
    quick = np.array([approach.hyperbola_distance(float(s), C) for s in relative_currents])
    return quick - curve.distance(relative_currents)
