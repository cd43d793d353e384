"""Building the table of the tip's field: which geometries, how finely solved, and one column at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.tip_mesh import Fineness
from opsicm.physics.tip_solve import endless_cone, solve_tip

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
